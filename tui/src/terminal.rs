//! The person's terminal: taken at the start, and given back however the program ends; its keys, its size and the signals as
//! messages. Knows no model.

use std::cell::RefCell;
use std::io::{self, BufWriter, Stdout, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;
use std::time::Duration;

use crossterm::cursor::Show;
use crossterm::event::{self, DisableMouseCapture, EnableMouseCapture, Event, MouseEventKind};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui_image::picker::Picker;
use ratatui_image::picker::cap_parser::QueryStdioOptions;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::message::Message;

/// The terminal while it is ours.
pub struct Taken {
    /// A frame goes out in one piece.
    pub terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

static TAKEN: AtomicBool = AtomicBool::new(false);

/// Takes the terminal. From here on a panic of this thread gives it back before it is told.
pub fn take(mouse: bool) -> io::Result<Taken> {
    let tell = panic::take_hook();
    let screen = thread::current().id();
    panic::set_hook(Box::new(move |panic| {
        if thread::current().id() == screen {
            // It is told all the same, on whatever screen.
            let _ = give_back();
            tell(panic);
        } else {
            // The screen is still in use: the loop is told, ends, and tells it then.
            LAST_WORDS.replace(Some(panic.to_string()));
        }
    }));
    TAKEN.store(true, Ordering::SeqCst);
    let taken = enable_raw_mode()
        .and_then(|()| execute!(stdout(), EnterAlternateScreen))
        .and_then(|()| if mouse { execute!(stdout(), EnableMouseCapture) } else { Ok(()) })
        .and_then(|()| Terminal::new(CrosstermBackend::new(BufWriter::with_capacity(FRAME_BYTES, stdout()))));
    match taken {
        Ok(terminal) => Ok(Taken { terminal }),
        Err(error) => {
            let _ = give_back();
            Err(error)
        }
    }
}

impl Taken {
    /// Gives it back, and says whether that went well.
    pub fn give_back(self) -> io::Result<()> {
        give_back()
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        // Nobody is left to tell.
        let _ = give_back();
    }
}

/// Once: a second time would move the cursor over what has been told meanwhile.
fn give_back() -> io::Result<()> {
    if !TAKEN.swap(false, Ordering::SeqCst) {
        return Ok(());
    }
    let screen = execute!(stdout(), DisableMouseCapture, LeaveAlternateScreen, Show);
    disable_raw_mode().and(screen)
}

/// The largest frame of a large screen fits.
const FRAME_BYTES: usize = 256 * 1_024;

/// How the terminal can show pictures. It is asked, and keys that are pressed before it answers are lost: so it isn't asked for long, and
/// one inside another (tmux, screen), which seldom lets pictures through, not at all.
pub fn picker() -> Picker {
    let inside = std::env::var_os("TMUX").is_some() || std::env::var_os("STY").is_some();
    if inside {
        return Picker::halfblocks();
    }
    let options = QueryStdioOptions { timeout: ANSWER, ..QueryStdioOptions::default() };
    Picker::from_query_stdio_with_options(options).unwrap_or_else(|_| Picker::halfblocks())
}

const ANSWER: Duration = Duration::from_millis(500);

/// Starts what listens to the keyboard and to signals.
pub fn listen(messages: SyncSender<Message>) -> io::Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP])?;
    spawn("signals", messages.clone(), move |messages| {
        for _ in signals.forever() {
            if messages.send(Message::Quit).is_err() {
                return;
            }
        }
    })?;
    spawn("keyboard", messages, |messages| {
        loop {
            let message = match event::read() {
                Ok(Event::Key(key)) => Message::Key(key),
                Ok(Event::Mouse(mouse)) if !matches!(mouse.kind, MouseEventKind::Moved) => Message::Mouse(mouse),
                Ok(Event::Resize(..)) => Message::Resized,
                Ok(_) => continue,
                Err(error) => Message::Deaf(error.to_string()),
            };
            let deaf = matches!(message, Message::Deaf(_));
            if messages.send(message).is_err() || deaf {
                return;
            }
        }
    })
}

thread_local! {
    /// What the panic of this thread said.
    static LAST_WORDS: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// Runs a part of the program on its own thread; should it panic, the loop is told and ends instead of showing what is no longer true.
pub fn spawn(
    name: &'static str,
    messages: SyncSender<Message>,
    body: impl FnOnce(&SyncSender<Message>) + Send + 'static,
) -> io::Result<()> {
    struct Watched(&'static str, SyncSender<Message>);
    impl Drop for Watched {
        fn drop(&mut self) {
            if thread::panicking() {
                let words = LAST_WORDS.take().unwrap_or_default().replace('\n', " ");
                // The loop may be over already.
                let _ = self.1.send(Message::Died(format!("thread {} {words}", self.0)));
            }
        }
    }
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        let watched = Watched(name, messages);
        body(&watched.1);
    })?;
    Ok(())
}

#[cfg(test)]
#[path = "terminal_tests.rs"]
mod tests;
