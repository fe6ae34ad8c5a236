//! One exhaustive match: which code does which stage.

pub mod analyze;
pub mod ask;
pub mod assemble;
pub mod check;
pub mod collect;
pub mod compress;
pub mod convert;
pub mod decode;
mod deliver;
pub mod fetch;
pub mod identify;
pub mod image;
pub mod listen;
pub mod pack;
pub mod plan;
pub mod preview;
pub mod propose;
pub mod publish;
pub mod pull;
pub mod sight;
pub mod subtitle;
pub mod transcribe;
pub mod upload;
pub mod write;

use spindle_shared::stage::Stage;
use spindle_shared::worker::Done;

use crate::context::{Context, Halt};

/// Does the run's work; a panic inside is caught by the caller and reported as a crash.
pub fn run(context: &Context) -> Result<Done, Halt> {
    match &context.assignment.stage {
        Stage::Identify(_) => identify::run(context),
        Stage::Decode(stage) => decode::run(context, stage),
        Stage::Transcribe(stage) => transcribe::run(context, stage),
        Stage::Subtitle(stage) => subtitle::run(context, stage),
        Stage::Publish(stage) => publish::run(context, stage),
        Stage::Pull(stage) => pull::run(context, stage),
        Stage::Collect(stage) => collect::run(context, stage),
        Stage::Compress(stage) => compress::run(context, stage),
        Stage::Convert(stage) => convert::run(context, stage),
        Stage::Preview(stage) => preview::run(context, stage),
        Stage::Analyze(stage) => analyze::run(context, stage),
        Stage::Plan(stage) => plan::run(context, stage),
        Stage::Assemble(stage) => assemble::run(context, stage),
        Stage::Image(stage) => image::run(context, stage),
        Stage::Pack(stage) => pack::run(context, stage),
        Stage::Listen(stage) => listen::run(context, stage),
        Stage::Sight(stage) => sight::run(context, stage),
        Stage::Write(stage) => write::run(context, stage),
        Stage::Ask(stage) => ask::run(context, stage),
        Stage::Propose(stage) => propose::run(context, stage),
        Stage::Fetch(stage) => fetch::run(context, stage),
        Stage::Upload(stage) => upload::run(context, stage),
        Stage::Check(stage) => check::run(context, stage),
        Stage::Deliver(stage) => deliver::run(context, stage),
    }
}
