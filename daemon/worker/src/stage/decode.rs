//! Decode: a recording's chosen audio track to 16 kHz mono samples.

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::stage::decode::Decode;
use spindle_shared::worker::Done;

use crate::context::{Context, Halt};

pub fn run(_context: &Context, _stage: &Decode) -> Result<Done, Halt> {
    Err(Failure::new(FailureKind::Internal, "not built yet").into())
}
