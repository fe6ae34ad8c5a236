//! The verbs, one file each: its options, its help and what it does, side by side.

mod act;
mod cancel;
mod completions;
mod drain;
mod explain;
mod failures;
mod health;
mod jobs;
mod lanes;
mod list;
mod man;
mod models;
mod pause;
mod prioritize;
mod recipes;
mod remove;
mod report;
mod result;
mod resume;
mod retry;
mod shutdown;
mod status;
mod submit;
mod wait;
mod watch;
mod workers;

use clap::Subcommand;

use crate::Context;
use crate::fault::Fault;

macro_rules! verbs {
    ($($name:ident($args:ty)),* $(,)?) => {
        #[derive(Debug, Subcommand)]
        pub enum Verb {
            $($name($args),)*
        }

        impl Verb {
            /// Does it; the exit code of what came of it.
            pub fn run(self, context: &Context) -> Result<u8, Fault> {
                match self {
                    $(Verb::$name(verb) => verb.run(context),)*
                }
            }
        }
    };
}

verbs! {
    Submit(submit::Submit),
    List(list::List),
    Status(status::Status),
    Jobs(jobs::Jobs),
    Watch(watch::Watch),
    Wait(wait::Wait),
    Result(result::ResultOf),
    Cancel(cancel::Cancel),
    Pause(pause::Pause),
    Resume(resume::Resume),
    Retry(retry::Retry),
    Prioritize(prioritize::Prioritize),
    Remove(remove::Remove),
    Explain(explain::Explain),
    Report(report::Report),
    Failures(failures::Failures),
    Models(models::Models),
    Recipes(recipes::Recipes),
    Health(health::Health),
    Workers(workers::Workers),
    Lanes(lanes::Lanes),
    Drain(drain::Drain),
    Shutdown(shutdown::Shutdown),
    Completions(completions::Completions),
    Man(man::Man),
}
