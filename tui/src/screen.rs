//! The loop: messages into the model, the model onto the terminal, at most ten times a second and only when something changed. Knows no panel.

use std::fmt::Display;
use std::io;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event};
use ratatui::Terminal;
use ratatui::backend::Backend;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use spindle_shared::wire::request::Request;

use crate::message::Message;
use crate::model::Model;
use crate::{spawn, view};

/// Between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// Without messages the model is told the time this often, to notice a silent daemon.
const TICK: Duration = Duration::from_millis(100);

/// Why the dashboard ended before anybody wanted it to.
#[derive(Debug, thiserror::Error)]
pub enum ScreenError<E: Display> {
    #[error("the terminal failed: {0}")]
    Terminal(E),
    #[error("{0}")]
    Stopped(String),
}

/// Runs until somebody leaves.
pub fn run<B: Backend>(
    terminal: &mut Terminal<B>,
    model: &mut Model,
    messages: &Receiver<Message>,
    mut ask: impl FnMut(Request),
) -> Result<(), ScreenError<B::Error>> {
    let mut next_frame = Instant::now();
    loop {
        let now = Instant::now();
        if model.changed && now >= next_frame {
            terminal.draw(|frame| view::draw(frame, model)).map_err(ScreenError::Terminal)?;
            model.changed = false;
            next_frame = now + FRAME;
        }
        let wait = if model.changed { next_frame.saturating_duration_since(now) } else { TICK };
        let first = match messages.recv_timeout(wait) {
            Ok(message) => message,
            Err(RecvTimeoutError::Timeout) => Message::Tick(Instant::now()),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(ScreenError::Stopped("nothing is heard any more".to_owned()));
            }
        };
        // What has piled up goes into one frame, but the frame isn't kept waiting.
        let mut next = Some(first);
        let until = Instant::now() + FRAME;
        while let Some(message) = next.take() {
            if let Some(request) = model.update(message) {
                ask(request);
            }
            if let Some(ending) = model.ending.take() {
                return ending.map_err(ScreenError::Stopped);
            }
            if Instant::now() < until {
                next = messages.try_recv().ok();
            }
        }
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
