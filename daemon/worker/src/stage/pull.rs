//! Pull: a model from its publisher.

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::stage::pull::Pull;
use spindle_shared::worker::Done;

use crate::context::{Context, Halt};

pub fn run(_context: &Context, _stage: &Pull) -> Result<Done, Halt> {
    Err(Failure::new(FailureKind::Internal, "not built yet").into())
}
