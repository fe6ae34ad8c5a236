//! `cancel`: stops work for good; what is finished stays.

use spindle_shared::wire::request::Request;

use super::act::act;
use crate::Context;
use crate::fault::Fault;
use crate::named::Chosen;

/// Cancels batches or jobs; answers when they have stopped, and keeps finished results
#[derive(Debug, clap::Args)]
pub struct Cancel {
    #[command(flatten)]
    chosen: Chosen,
}

impl Cancel {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        act(context, &Request::Cancel(self.chosen.required()?), None)
    }
}
