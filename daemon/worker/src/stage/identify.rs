//! Identify: the content hash of an input.

use spindle_shared::failure::{Failure, FailureKind};

use spindle_shared::worker::Done;

use crate::context::{Context, Halt};

pub fn run(_context: &Context) -> Result<Done, Halt> {
    Err(Failure::new(FailureKind::Internal, "not built yet").into())
}
