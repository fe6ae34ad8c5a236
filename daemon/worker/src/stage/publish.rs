//! Publish: an artifact's files under their final names.

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::stage::publish::Publish;
use spindle_shared::worker::Done;

use crate::context::{Context, Halt};

pub fn run(_context: &Context, _stage: &Publish) -> Result<Done, Halt> {
    Err(Failure::new(FailureKind::Internal, "not built yet").into())
}
