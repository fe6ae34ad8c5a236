//! The loop: messages into the model, the model onto the terminal, at most ten times a second and only when something changed.
//! Knows no panel.

use std::fmt::Display;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ratatui::Terminal;
use ratatui::backend::Backend;
use ratatui::layout::{Position, Rect};
use spindle_shared::time::WallMs;

use crate::errand::Errand;
use crate::message::Message;
use crate::model::Model;
use crate::view;

/// Between two frames.
const FRAME: Duration = Duration::from_millis(100);
/// The model is told the time this often, to notice a silent daemon.
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
    mut run: impl FnMut(Errand),
) -> Result<(), ScreenError<B::Error>> {
    let (mut next_frame, mut next_tick) = (Instant::now(), Instant::now());
    loop {
        if model.changed && Instant::now() >= next_frame {
            let mut hits = Vec::new();
            let drawn = terminal.draw(|frame| hits = view::draw(frame, model)).map_err(ScreenError::Terminal)?;
            (model.size, model.hits) = ((drawn.area.width, drawn.area.height), hits);
            model.changed = false;
            next_frame = Instant::now() + FRAME;
        }
        let patience = if model.changed {
            // What comes before the next frame goes into it; to wake for each of it would cost more than the frame does.
            std::thread::sleep(next_frame.saturating_duration_since(Instant::now()));
            Duration::ZERO
        } else {
            next_tick.saturating_duration_since(Instant::now())
        };
        let mut next = match messages.recv_timeout(patience) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => {
                return Err(ScreenError::Stopped("nothing is heard any more".to_owned()));
            }
        };
        let now = Instant::now();
        if now >= next_tick {
            next_tick = now + TICK;
            serve(model, Message::Tick(now, wall()), &mut run);
        }
        while let Some(message) = next {
            if matches!(message, Message::Resized) {
                // It may have its old size again, and have lost on the way what stood beyond its edges. (`clear` would ask the
                // terminal where its cursor is, and the answer would come as keys.)
                let size = terminal.size().map_err(ScreenError::Terminal)?;
                terminal.resize(Rect::from((Position::ORIGIN, size))).map_err(ScreenError::Terminal)?;
            }
            serve(model, message, &mut run);
            if let Some(ending) = model.ending.take() {
                return ending.map_err(ScreenError::Stopped);
            }
            // What has piled up goes into one frame, but the frame isn't kept waiting.
            next = if now.elapsed() < FRAME { messages.try_recv().ok() } else { None };
        }
    }
}

/// Tells the model, and has done what it wants.
fn serve(model: &mut Model, message: Message, run: &mut impl FnMut(Errand)) {
    if let Some(request) = model.update(message) {
        run(Errand::Ask(request));
    }
    model.errands.drain(..).for_each(run);
}

fn wall() -> WallMs {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    WallMs(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
#[path = "screen_tests.rs"]
mod tests;
