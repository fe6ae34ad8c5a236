//! The person's terminal: taken at the start, and given back however the program ends; its keys, its size and the signals as
//! messages. Knows no model.

use std::cell::RefCell;
use std::io::{self, Stdout, stdout};
use std::panic;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::SyncSender;
use std::thread;

use crossterm::cursor::Show;
use crossterm::event::{self, DisableMouseCapture, EnableMouseCapture, Event, MouseEventKind};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui_image::FontSize;
use ratatui_image::picker::{Picker, ProtocolType};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use crate::message::Message;
use crate::pieces::Pieces;

/// The terminal while it is ours.
pub struct Taken {
    pub terminal: Terminal<CrosstermBackend<Pieces<Stdout>>>,
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
        .and_then(|()| Terminal::new(CrosstermBackend::new(Pieces::new(stdout()))));
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

/// How the terminal can show pictures, as far as its name and its size in pixels tell. It isn't asked: one that doesn't answer would have
/// the first keys lost. Where nothing is known, and in terminals inside others (tmux, screen), half blocks do.
pub fn picker() -> Picker {
    let variable = |name: &str| std::env::var(name).unwrap_or_default();
    let inside = !variable("TMUX").is_empty() || !variable("STY").is_empty();
    let protocol = pictures(&variable("TERM"), &variable("TERM_PROGRAM"), !variable("KITTY_WINDOW_ID").is_empty());
    let cell = crossterm::terminal::window_size().ok().and_then(|size| {
        let (width, height) = (size.width.checked_div(size.columns)?, size.height.checked_div(size.rows)?);
        (width > 0 && height > 0).then_some((width, height))
    });
    match (protocol, cell) {
        (Some(protocol), Some((width, height))) if !inside => {
            #[expect(deprecated, reason = "the way that isn't asks the terminal")]
            let mut picker = Picker::from_fontsize(FontSize::new(width, height));
            picker.set_protocol_type(protocol);
            picker
        }
        _ => Picker::halfblocks(),
    }
}

/// What terminals of these names are known to show.
fn pictures(term: &str, program: &str, kitty: bool) -> Option<ProtocolType> {
    match (term, program) {
        _ if kitty => Some(ProtocolType::Kitty),
        ("xterm-kitty" | "xterm-ghostty", _) | (_, "ghostty") => Some(ProtocolType::Kitty),
        (_, "iTerm.app" | "WezTerm") => Some(ProtocolType::Iterm2),
        ("foot" | "foot-extra" | "mlterm" | "yaft-256color", _) => Some(ProtocolType::Sixel),
        _ => None,
    }
}

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
