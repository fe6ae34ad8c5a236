//! `resume`: lets batches, or the whole daemon, go on.

use spindle_shared::wire::request::{Request, Selection};

use super::act::act;
use crate::Context;
use crate::fault::Fault;
use crate::named::Chosen;

/// Lets paused batches go on; with no id, the whole daemon
#[derive(Debug, clap::Args)]
pub struct Resume {
    #[command(flatten)]
    chosen: Chosen,
}

impl Resume {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let what = self.chosen.selection()?;
        let of_house = what.is_none().then_some("the daemon goes on");
        act(context, &Request::Resume(what.unwrap_or(Selection::House)), of_house)
    }
}
