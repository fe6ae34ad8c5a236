//! The verbs, one file each: its options, its help and what it does, side by side.

mod health;
mod jobs;
mod list;
mod result;
mod status;
mod submit;
pub mod wait;
pub mod watch;

use clap::Subcommand;

use crate::Context;
use crate::fault::Fault;

#[derive(Debug, Subcommand)]
pub enum Verb {
    Submit(submit::Submit),
    List(list::List),
    Status(status::Status),
    Jobs(jobs::Jobs),
    Watch(watch::Watch),
    Wait(wait::Wait),
    Result(result::ResultOf),
    Health(health::Health),
}

impl Verb {
    /// Does it; the exit code of what came of it.
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        match self {
            Verb::Submit(verb) => verb.run(context),
            Verb::List(verb) => verb.run(context),
            Verb::Status(verb) => verb.run(context),
            Verb::Jobs(verb) => verb.run(context),
            Verb::Watch(verb) => verb.run(context),
            Verb::Wait(verb) => verb.run(context),
            Verb::Result(verb) => verb.run(context),
            Verb::Health(verb) => verb.run(context),
        }
    }
}
