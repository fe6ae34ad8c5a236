//! Check: whether an object store does what outputs and inputs need of it, tried out with one small object; and how fast it takes a larger one. Touches no
//! other.

use std::time::{Duration, Instant};

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::Detail;
use spindle_shared::object_store::{SENT_BYTES, SENT_SECONDS};
use spindle_shared::stage::check::Check;
use spindle_shared::text::escaped;
use spindle_shared::worker::Done;

use crate::context::{Context, Halt};
use crate::remote::s3::Bucket;

/// Sent to see how fast that goes, behind a first object: the connection stands by then.
const SPEED_BYTES: usize = 1 << 20;
const TEXT: &str = "spindle was here to see whether it can write; this may be removed";
/// A link lives so long while it is tried out, and is tried again so long after its end: the store's clock has whole seconds.
const LINK_LIVES: Duration = Duration::from_secs(1);
const LINK_IS_OVER: Duration = Duration::from_secs(2);

pub fn run(context: &Context, stage: &Check) -> Result<Done, Halt> {
    let store = stage.store.as_ref();
    let store = store.ok_or_else(|| Failure::new(FailureKind::Internal, "the run came without its store"))?;
    let bucket = Bucket::new(store)?;
    let key = format!("spindle-check-{}-{}", context.assignment.part_tag, context.assignment.run.counter);
    let mut detail = Detail::default();
    detail.figure("endpoint", store.endpoint.as_str());
    detail.figure("bucket", store.bucket.as_str());
    let checked = check(context, &bucket, &key, &mut detail);
    // However it went, what was written goes.
    let removed = bucket.remove(&key);
    checked?;
    if let Err(failure) = removed.and_then(|()| match bucket.look(&key)? {
        None => Ok(()),
        Some(_) => Err(Failure::new(FailureKind::Server, "it is there still")),
    }) {
        // Outputs are never removed: nothing else depends on it.
        let message = format!("the small object {} stays there: {}", escaped(&key), failure.message);
        detail.notes.push(message);
        detail.figure("removes", false);
    } else {
        detail.figure("removes", true);
    }
    Ok(Done { detail, work: TEXT.len() as f64, ..Done::default() })
}

fn check(context: &Context, bucket: &Bucket<'_>, key: &str, detail: &mut Detail) -> Result<(), Halt> {
    let mut step = |name: &str, begun: Instant| detail.figure(name, begun.elapsed().as_secs_f64());
    context.go_on()?;
    let begun = Instant::now();
    bucket.put(key, &blake3::hash(TEXT.as_bytes()).to_string(), TEXT.as_bytes())?;
    step("write_seconds", begun);
    let begun = Instant::now();
    let link = bucket.link(key, LINK_LIVES + Duration::from_secs(60));
    let read = bucket.read(key, &link, TEXT.len())?;
    if read != TEXT.as_bytes() {
        let message = format!("the store gives {} bytes back that are not those it was given", read.len());
        return Err(Failure::new(FailureKind::Server, message).into());
    }
    step("read_seconds", begun);
    let short = bucket.link(key, LINK_LIVES);
    context.wait(LINK_LIVES + LINK_IS_OVER)?;
    match bucket.read(key, &short, TEXT.len()) {
        Err(failure) if failure.kind == FailureKind::Auth => detail.figure("links_expire", true),
        Err(failure) => return Err(failure.into()),
        Ok(_) => {
            let message = "the store serves a link whose time is over: whoever has one can read for ever";
            let failure = Failure::new(FailureKind::Server, message);
            return Err(failure.advise("set link_minutes = 0 for it, or mend the store (its clock?)").into());
        }
    }
    context.go_on()?;
    // Nothing on the way can make it smaller.
    let mut noise = vec![0; SPEED_BYTES];
    blake3::Hasher::new().update(key.as_bytes()).finalize_xof().fill(&mut noise);
    let begun = Instant::now();
    bucket.put(key, &blake3::hash(&noise).to_string(), &noise)?;
    detail.figure(SENT_SECONDS, begun.elapsed().as_secs_f64());
    detail.figure(SENT_BYTES, SPEED_BYTES as f64);
    Ok(())
}
