//! spindletop: gives the terminal to the dashboard, starts its threads, and turns how it ended into an exit code. Knows no key and no panel.

mod feed;
mod keys;
mod message;
mod model;
mod screen;
mod view;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc;

use clap::Parser;
use spindle_shared::client::Which;
use spindle_shared::exit;

use feed::Feed;
use message::Message;
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
    // Its panic hook gives the terminal back before the panic is told.
    let result = ratatui::try_init().map_err(ScreenError::Terminal).and_then(|mut terminal| {
        let (sender, messages) = mpsc::sync_channel(MESSAGES_MAX);
        let feed = Feed::start(Which { socket: cli.socket, system: cli.system }, sender.clone());
        screen::listen(sender).map_err(ScreenError::Terminal)?;
        let mut model = Model::new(!forbidden);
        screen::run(&mut terminal, &mut model, &messages, |request| feed.ask(request))
    });
    let restored = ratatui::try_restore();
    match result.and(restored.map_err(ScreenError::Terminal)) {
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

/// Runs a part of the program on its own thread; should it panic, the loop is told and ends instead of showing what is no longer true.
fn spawn(
    name: &'static str,
    messages: mpsc::SyncSender<Message>,
    body: impl FnOnce(&mpsc::SyncSender<Message>) + Send + 'static,
) -> io::Result<()> {
    struct Watched(&'static str, mpsc::SyncSender<Message>);
    impl Drop for Watched {
        fn drop(&mut self) {
            if std::thread::panicking() {
                // The loop may be over already.
                let _ = self.1.send(Message::Died(self.0.to_owned()));
            }
        }
    }
    std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let watched = Watched(name, messages);
        body(&watched.1);
    })?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    #[test]
    fn the_definition_holds_together() {
        super::Cli::command().debug_assert();
    }
}
