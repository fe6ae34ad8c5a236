//! `pause`: holds batches, or the whole daemon.

use spindle_shared::wire::request::{Request, Selection};

use super::act::act;
use crate::Context;
use crate::fault::Fault;
use crate::named::Chosen;

/// Pauses batches; with no id, the whole daemon
#[derive(Debug, clap::Args)]
pub struct Pause {
    #[command(flatten)]
    chosen: Chosen,
    /// Stop running work at its checkpoint, instead of letting it run to the end of its stage
    #[arg(long)]
    now: bool,
}

impl Pause {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let what = self.chosen.selection()?;
        let of_house = what.is_none().then_some("the daemon is paused");
        act(context, &Request::Pause { what: what.unwrap_or(Selection::House), now: self.now }, of_house)
    }
}
