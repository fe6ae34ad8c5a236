//! `list`: batches, newest first.

use spindle_shared::batch::BatchState;
use spindle_shared::exit;
use spindle_shared::limits::LIST_DEFAULT;
use spindle_shared::wire::request::{BatchFilter, Request};

use crate::Context;
use crate::daemon::batches_of;
use crate::fault::Fault;
use crate::named;
use crate::output::human;
use crate::output::json::BatchJson;

/// Lists batches, newest first
#[derive(Debug, clap::Args)]
pub struct List {
    /// Only batches in this state; may be given several times
    #[arg(long, value_name = "STATE", value_parser = named::batch_state, value_delimiter = ',')]
    state: Vec<BatchState>,
    /// Only batches of this recipe
    #[arg(long, value_name = "RECIPE")]
    recipe: Option<String>,
    /// Only batches of this user: a name or a number
    #[arg(long, value_name = "USER", value_parser = named::user)]
    owner: Option<u32>,
    /// Only batches with this tag; may be given several times, all must fit
    #[arg(long, value_name = "K=V", value_parser = named::tag)]
    tag: Vec<(String, String)>,
    /// At most so many
    #[arg(long, value_name = "N", default_value_t = LIST_DEFAULT, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

impl List {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let filter = BatchFilter { states: self.state, recipe: self.recipe, owner: self.owner, tags: self.tag };
        let batches = batches_of(context.daemon.ask(&Request::List { filter, limit: self.limit })?);
        let now = human::now();
        if batches.is_empty() && !context.console.json {
            context.console.talk("no batches");
            return Ok(exit::DONE);
        }
        context.console.either(
            || batches.iter().map(|batch| BatchJson::new(batch, now)).collect::<Vec<_>>(),
            || human::batch_table(&batches, now, context.console.colour),
        )?;
        Ok(exit::DONE)
    }
}
