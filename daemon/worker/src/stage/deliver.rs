//! Deliver: one try to tell a web address. Whether there is another is the daemon's to say.

use std::sync::Arc;

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::stage::deliver::Deliver;
use spindle_shared::worker::Done;

use crate::context::{Context, Halt};
use crate::remote::http::Trouble;
use crate::remote::webhook::{post, signature};

pub fn run(context: &Context, stage: &Deliver) -> Result<Done, Halt> {
    let mut headers = vec![("x-spindle-id", stage.id.clone()), ("x-spindle-event", stage.event.clone())];
    if let Some(secret) = &stage.secret {
        let signed = signature(secret.told().as_bytes(), stage.body.as_bytes());
        headers.push(("x-spindle-signature", format!("sha256={signed}")));
    }
    let allow: Arc<[String]> = stage.allow.clone().into();
    let answered = match post(&stage.url, headers, stage.body.clone(), allow, &|| context.cancelled()) {
        Ok(answered) => answered,
        Err(Trouble::Stopped) => return Err(Halt::Stopped),
        Err(trouble) => return Err(Failure::new(FailureKind::Network, trouble.to_string()).into()),
    };
    match answered.status {
        200..=299 => Ok(Done::default()),
        status => {
            let mut failure = Failure::new(FailureKind::Server, format!("it was answered with {status}"));
            failure.retry_after_ms = answered.retry_after_s.map(|seconds| seconds.saturating_mul(1_000));
            Err(failure.into())
        }
    }
}
