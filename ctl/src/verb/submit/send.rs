//! A batch's way to the daemon: sent whole, and sent again under its key where the connection broke before the answer came. A daemon that opens no
//! files says which it lacks; they go first.

use std::io::{IsTerminal, Read};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use spindle_shared::batch::BatchSpec;
use spindle_shared::client::{Client, ClientError};
use spindle_shared::job::PathBytes;
use spindle_shared::wire::request::Submission;
use spindle_shared::wire::response::{Response, Submitted};

use super::upload::{Meter, bytes_of, upload};
use crate::Context;
use crate::fault::Fault;
use crate::output::human;

const TRIES: u32 = 3;
/// Once for what is lacking, and once more where something was cleared away meanwhile.
const ROUNDS: u32 = 3;

/// A batch that is durable.
pub struct Sent {
    pub submitted: Submitted,
    /// Its outputs wait at the daemon until they are fetched.
    pub spooled: bool,
}

/// Submits; comes back when the batch is durable.
pub fn send(context: &Context, spec: BatchSpec, inputs: &[Submission]) -> Result<Sent, Fault> {
    let console = context.console;
    let shows = !console.quiet && !console.json && std::io::stderr().is_terminal();
    send_over(&|| context.daemon.connect(), spec, inputs, &mut |wanted| {
        let bytes = bytes_of(wanted);
        console.talk(format_args!("sending {}", files(wanted.len(), bytes)));
        Box::new(Bar::new(bytes, shows))
    })
}

fn files(count: usize, bytes: u64) -> String {
    let count = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    format!("{count}, {}", human::bytes(bytes))
}

/// The same over connections of the caller's; `meter` hears what is sent beforehand.
pub fn send_over(
    connect: &dyn Fn() -> Result<Client, ClientError>,
    mut spec: BatchSpec,
    inputs: &[Submission],
    meter: &mut dyn FnMut(&[PathBytes]) -> Box<dyn Meter>,
) -> Result<Sent, Fault> {
    let key = match &spec.key {
        Some(key) => key.clone(),
        None => spec.key.insert(drawn_key()?).clone(),
    };
    for _ in 0..ROUNDS {
        let responses = submit(connect, &spec, inputs)?;
        let mut wanted: Vec<PathBytes> = Vec::new();
        let (mut spooled, mut submitted) = (false, None);
        for response in responses {
            match response {
                Response::Unsent(paths) => wanted.extend(paths),
                Response::Spool(spool) => spooled = spool.is_some(),
                Response::Submitted(batch) => submitted = Some(batch),
                _ => {}
            }
        }
        if let Some(submitted) = submitted {
            return Ok(Sent { submitted, spooled });
        }
        if wanted.is_empty() {
            return Err(Fault::unexpected("the new batch"));
        }
        let mut meter = meter(&wanted);
        upload(connect, &key, &wanted, inputs, meter.as_mut())?;
    }
    Err(Fault::error("the daemon lacks files that were sent").hint("see whether its disk is full: `spindlectl health`"))
}

fn submit(
    connect: &dyn Fn() -> Result<Client, ClientError>,
    spec: &BatchSpec,
    inputs: &[Submission],
) -> Result<Vec<Response>, Fault> {
    let total = u32::try_from(inputs.len()).map_err(|_| Fault::usage("too many inputs"))?;
    let mut tried = 1;
    loop {
        let sent = connect().and_then(|client| client.submit(spec.clone(), total, false, inputs.iter().cloned()));
        match sent {
            // Whether it was taken isn't known; under the same key it is taken once.
            Err(ClientError::Broken(_)) if tried < TRIES => tried += 1,
            sent => return Ok(sent?),
        }
    }
}

/// For whoever shows nothing of it.
pub fn unseen() -> Box<dyn Meter> {
    Box::new(Bar::new(0, false))
}

/// Bytes on their way, on a terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new(bytes: u64, shows: bool) -> Bar {
        let target = if shows { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let bar = ProgressBar::with_draw_target(Some(bytes), target);
        let style = ProgressStyle::with_template("{bar:30} {bytes} of {total_bytes}, {bytes_per_sec}, {eta}");
        Bar(style.map_or(bar.clone(), |style| bar.with_style(style)))
    }
}

impl Meter for Bar {
    fn sent(&mut self, bytes: u64) {
        self.0.inc(bytes);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn drawn_key() -> Result<String, Fault> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Fault::error(format!("failed to read /dev/urandom: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
