//! `watch`: what happens, as it happens.

use std::io::IsTerminal;

use spindle_shared::exit;

use crate::Context;
use crate::console::Console;
use crate::fault::Fault;
use crate::follow::{Course, Display, Ending, detach_on_interrupt, follow};
use crate::named;
use crate::output::progress::{Bars, EventLines, Lines, Stream};

/// Jobs of each batch whose names the display may need.
pub const JOBS_SHOWN: u32 = 1_000;

/// Shows progress live: until the named batches have ended, or for ever where none is named
#[derive(Debug, clap::Args)]
pub struct Watch {
    /// Batches (`12`, `5-8`) or jobs (`12/3`); without one, everything
    #[arg(value_name = "ID")]
    ids: Vec<String>,
}

impl Watch {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let targets = named::targets(&self.ids)?;
        detach_on_interrupt(context, "let go; the work goes on".to_owned())?;
        let jobs = if targets.is_empty() { 0 } else { JOBS_SHOWN };
        let course = Course { targets, jobs, ..Course::default() };
        match follow(context, &course, &mut [display(context.console, Stream::Out)])? {
            Ending::Ended(outcome) => Ok(outcome.exit_code()),
            Ending::TimedOut | Ending::FailedFast(_) => Ok(exit::DONE),
        }
    }
}

/// The display that fits: JSON where it was asked for, bars on a terminal, lines elsewhere.
pub fn display(console: Console, stream: Stream) -> Box<dyn Display> {
    let terminal = match stream {
        Stream::Out => std::io::stdout().is_terminal(),
        Stream::Err => std::io::stderr().is_terminal(),
    };
    let dumb = std::env::var_os("TERM").is_some_and(|value| value == "dumb");
    match (console.json, terminal && !dumb) {
        (true, _) => Box::new(EventLines { console }),
        (false, true) => Box::new(Bars::new(stream)),
        (false, false) => Box::new(Lines::new(console, stream)),
    }
}
