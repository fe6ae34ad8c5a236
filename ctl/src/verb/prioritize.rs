//! `prioritize`: another priority for batches that wait or run.

use spindle_shared::wire::request::Request;

use super::act::act;
use crate::Context;
use crate::fault::Fault;
use crate::named::{self, Chosen, Filter};

/// Gives batches another priority, from the next dispatch on
#[derive(Debug, clap::Args)]
#[command(override_usage = "spindlectl prioritize [OPTIONS] [ID]... PRIORITY")]
pub struct Prioritize {
    /// Batches (`3`, `5-8`), then the new priority: 0–100, smaller runs first, or urgent, high, normal, low, idle
    #[arg(value_name = "ID|PRIORITY", required = true)]
    words: Vec<String>,
    #[command(flatten)]
    filter: Filter,
}

impl Prioritize {
    pub fn run(mut self, context: &Context) -> Result<u8, Fault> {
        let last = self.words.pop().ok_or_else(|| Fault::usage("no priority is named"))?;
        let priority = named::priority(&last)
            .map_err(|why| Fault::usage(why).hint("the priority comes last: `prioritize 3 5-8 high`"))?;
        let what = Chosen { ids: self.words, filter: self.filter }.required()?;
        act(context, &Request::Prioritize { what, priority }, None)
    }
}
