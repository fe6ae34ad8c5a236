//! A batch's way to the daemon: sent whole, and sent again under its key where the connection broke before the answer came.

use std::io::Read;

use spindle_shared::batch::BatchSpec;
use spindle_shared::client::ClientError;
use spindle_shared::wire::request::Submission;
use spindle_shared::wire::response::{Response, Submitted};

use crate::Context;
use crate::fault::Fault;

const TRIES: u32 = 3;

/// Submits; comes back when the batch is durable.
pub fn send(context: &Context, mut spec: BatchSpec, inputs: &[Submission]) -> Result<Submitted, Fault> {
    if spec.key.is_none() {
        spec.key = Some(drawn_key()?);
    }
    let total = u32::try_from(inputs.len()).map_err(|_| Fault::usage("too many inputs"))?;
    let mut tried = 1;
    let responses = loop {
        let sent = context
            .daemon
            .connect()
            .and_then(|client| client.submit(spec.clone(), total, false, inputs.iter().cloned()));
        match sent {
            // Whether it was taken isn't known; under the same key it is taken once.
            Err(ClientError::Broken(_)) if tried < TRIES => tried += 1,
            sent => break sent?,
        }
    };
    responses
        .into_iter()
        .find_map(|response| match response {
            Response::Submitted(submitted) => Some(submitted),
            _ => None,
        })
        .ok_or_else(|| Fault::unexpected("the new batch"))
}

fn drawn_key() -> Result<String, Fault> {
    let mut bytes = [0; 16];
    std::fs::File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .map_err(|error| Fault::error(format!("failed to read /dev/urandom: {error}")))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
