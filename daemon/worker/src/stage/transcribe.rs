//! Transcribe: samples to a transcript.

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::stage::transcribe::Transcribe;
use spindle_shared::worker::Done;

use crate::context::{Context, Halt};

pub fn run(_context: &Context, _stage: &Transcribe) -> Result<Done, Halt> {
    Err(Failure::new(FailureKind::Internal, "not built yet").into())
}
