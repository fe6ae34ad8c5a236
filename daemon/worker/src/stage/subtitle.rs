//! Subtitle: a transcript to cues in each format.

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::stage::subtitle::Subtitle;
use spindle_shared::worker::Done;

use crate::context::{Context, Halt};

pub fn run(_context: &Context, _stage: &Subtitle) -> Result<Done, Halt> {
    Err(Failure::new(FailureKind::Internal, "not built yet").into())
}
