//! spindletop: gives the terminal to the dashboard, starts its threads, and turns how it ended into an exit code. Knows no key and no panel.

mod causes;
mod errand;
#[cfg(test)]
mod fake;
mod feed;
mod filter;
mod form;
mod keys;
mod look;
mod machine;
mod message;
mod model;
mod pace;
mod pieces;
mod results;
mod screen;
mod spent;
mod terminal;
mod texts;
mod view;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;

use clap::Parser;
use spindle_shared::client::Which;
use spindle_shared::exit;

use errand::Errands;
use feed::Feed;
use jiff::tz::TimeZone;
use look::{Language, Look, Surroundings, Theme};
use model::Model;
use screen::ScreenError;

/// Messages waiting for the loop. Senders wait beyond it; a watch that waits too long is cut by the daemon and begun anew.
const MESSAGES_MAX: usize = 1_024;

/// Shows batches, jobs and failures of a running spindled as they happen, and steers them.
#[derive(Debug, Parser)]
#[command(name = "spindletop", version, max_term_width = 100, after_help = AFTER_HELP)]
struct Cli {
    /// Socket of the daemon; otherwise the user's if it answers, else the system's
    #[arg(long, value_name = "PATH")]
    socket: Option<PathBuf>,
    /// Watch the system's daemon
    #[arg(long, conflicts_with = "socket")]
    system: bool,
    /// Colours [default: dark; none where NO_COLOR is set]
    #[arg(long, value_enum)]
    theme: Option<Theme>,
    /// Language of the texts [default: as LC_ALL, LC_MESSAGES or LANG say]
    #[arg(long, value_enum, value_name = "LANGUAGE")]
    lang: Option<Language>,
    /// Draw with ASCII alone
    #[arg(long)]
    ascii: bool,
    /// Leave the mouse to the terminal, so that it marks text
    #[arg(long)]
    no_mouse: bool,
}

const AFTER_HELP: &str = "Press ? for the keys. NO_COLOR=1 does without colours.";

fn main() -> ExitCode {
    let cli = Cli::parse();
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        tell(
            "error: spindletop needs a terminal for its input and output\nhint: for scripts there is `spindlectl watch`",
        );
        return ExitCode::from(exit::USAGE);
    }
    let look = look(&cli);
    let result = terminal::take(!cli.no_mouse).map_err(ScreenError::Terminal).and_then(|mut taken| {
        let picker = terminal::picker();
        let (sender, messages) = mpsc::sync_channel(MESSAGES_MAX);
        let feed = Feed::start(Which { socket: cli.socket, system: cli.system }, sender.clone());
        let errands = Errands::start(feed, sender.clone(), picker).map_err(ScreenError::Terminal)?;
        terminal::listen(sender).map_err(ScreenError::Terminal)?;
        let mut model = Model::new(look, TimeZone::system());
        let result = screen::run(&mut taken.terminal, &mut model, &messages, |errand| errands.run(errand));
        result.and(taken.give_back().map_err(ScreenError::Terminal))
    });
    match result {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) => {
            tell(&format!("error: {error}"));
            ExitCode::from(exit::ERROR)
        }
    }
}

/// As was asked for, else as the surroundings say.
fn look(cli: &Cli) -> Look {
    let variable = |name: &str| std::env::var(name).ok();
    let first = |names: [&str; 3]| names.into_iter().filter_map(variable).find(|value| !value.is_empty());
    let (no_color, colorterm, term) = (variable("NO_COLOR"), variable("COLORTERM"), variable("TERM"));
    let (ctype, messages) = (first(["LC_ALL", "LC_CTYPE", "LANG"]), first(["LC_ALL", "LC_MESSAGES", "LANG"]));
    let fitting = Look::fitting(&Surroundings {
        no_color: no_color.as_deref(),
        colorterm: colorterm.as_deref(),
        term: term.as_deref(),
        ctype: ctype.as_deref(),
        messages: messages.as_deref(),
    });
    Look {
        theme: cli.theme.unwrap_or(fitting.theme),
        language: cli.lang.unwrap_or(fitting.language),
        ascii: cli.ascii || fitting.ascii,
        ..fitting
    }
}

fn tell(text: &str) {
    // Nobody is left to tell where standard error is gone.
    let _ = writeln!(io::stderr().lock(), "{text}");
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds_together() {
        super::Cli::command().debug_assert();
    }
}
