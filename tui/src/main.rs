//! spindletop: gives the terminal to the dashboard, starts its threads, and turns how it ended into an exit code. Knows no key and no panel.

#[cfg(test)]
mod fake;
mod feed;
mod filter;
mod keys;
mod message;
mod model;
mod pace;
mod screen;
mod terminal;
mod view;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;

use clap::Parser;
use spindle_shared::client::Which;
use spindle_shared::exit;

use feed::Feed;
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
    let forbidden = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let result = terminal::take().map_err(ScreenError::Terminal).and_then(|mut taken| {
        let (sender, messages) = mpsc::sync_channel(MESSAGES_MAX);
        let feed = Feed::start(Which { socket: cli.socket, system: cli.system }, sender.clone());
        terminal::listen(sender).map_err(ScreenError::Terminal)?;
        let mut model = Model::new(!forbidden);
        let result = screen::run(&mut taken.terminal, &mut model, &messages, |request| feed.ask(request));
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
