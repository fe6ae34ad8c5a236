//! The header: how the daemon is heard, whether it is paused, what is open and which lanes are in use.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span, Text};
use spindle_shared::batch::Counts;
use spindle_shared::job::PathBytes;
use spindle_shared::text::escaped;

use super::style::{Palette, clipped};
use crate::model::{Link, Model};

pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let (state, look) = daemon(model, palette);
    let build = if model.build.is_empty() { String::new() } else { format!(" {}", escaped(&model.build)) };
    // Where there is little room, how it is counts more than who it is.
    let lead = if area.width < 40 { String::new() } else { format!("spindled{build} ") };
    let left = usize::from(area.width).saturating_sub(super::style::width(&lead));
    let mut state = clipped(&state, u16::try_from(left).unwrap_or(u16::MAX));
    let room = left.saturating_sub(super::style::width(&state));
    let socket = model.socket.as_ref().map(|path| PathBytes::from(path.as_path()).to_string()).unwrap_or_default();
    if super::style::width(&socket) + 2 <= room {
        state.push_str("  ");
    }
    let mut first = vec![Span::styled(lead, palette.strong()), Span::styled(state, look)];
    if super::style::width(&socket) + 2 <= room {
        first.push(Span::styled(socket, palette.faint()));
    }
    let second = Line::styled(clipped(&figures(model), area.width), palette.plain());
    frame.render_widget(Text::from(vec![Line::from(first), second]), area);
}

fn daemon(model: &Model, palette: Palette) -> (String, Style) {
    let stale = if model.snapshot.batches.is_empty() { "" } else { "STALE, " };
    match &model.link {
        Link::Connecting => ("connecting".to_owned(), palette.held()),
        Link::Silent => (format!("{stale}the daemon does not answer"), palette.bad()),
        Link::Lost(why) => (format!("{stale}trying again: {}", escaped(why)), palette.bad()),
        Link::Live if model.house.as_ref().is_some_and(|house| house.draining) => {
            ("draining".to_owned(), palette.held())
        }
        Link::Live if model.snapshot.paused => ("paused".to_owned(), palette.held()),
        Link::Live => ("running".to_owned(), palette.good()),
    }
}

fn figures(model: &Model) -> String {
    let open: Vec<_> = model.snapshot.batches.values().filter(|batch| !batch.state.is_terminal()).collect();
    let sum = |count: fn(&Counts) -> u32| open.iter().map(|batch| u64::from(count(&batch.counts))).sum::<u64>();
    let mut text = format!(
        "{} open · jobs {} running, {} pending, {} failed",
        open.len(),
        sum(|counts| counts.running),
        sum(|counts| counts.pending + counts.retrying),
        sum(|counts| counts.failed),
    );
    if let Some(house) = &model.house {
        for (name, used, slots) in &house.lanes {
            text.push_str(&format!(" · {} {used}/{slots}", escaped(name)));
        }
    }
    text
}
