//! The header: how the daemon is heard, what is open, which lanes are in use, how fast it goes and how long it will take.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span, Text};
use spindle_shared::batch::Counts;
use spindle_shared::job::PathBytes;

use super::figures::{eta, per_minute, real_time, span, sparkline};
use super::style::{Palette, clipped, shown, width};
use crate::model::{Link, Model};
use crate::pace::Pace;

pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let mut lines = vec![daemon_line(area.width, model, palette)];
    match area.height {
        0 | 1 => {}
        2 => lines.push(pace_line(area.width, model, palette)),
        _ => {
            lines.push(Line::styled(fitting(&house(model), " · ", area.width), palette.plain()));
            lines.push(pace_line(area.width, model, palette));
        }
    }
    frame.render_widget(Text::from(lines), area);
}

fn daemon_line(cells: u16, model: &Model, palette: Palette) -> Line<'static> {
    let (state, look) = daemon(model, palette);
    let build = if model.build.is_empty() { String::new() } else { format!(" {}", shown(&model.build)) };
    // Where there is little room, how it is counts more than who it is.
    let lead = if cells < 40 { String::new() } else { format!("spindled{build} ") };
    let state = clipped(&state, cells.saturating_sub(width(&lead) as u16));
    let room = usize::from(cells).saturating_sub(width(&lead) + width(&state));
    let mut line = vec![Span::styled(lead, palette.strong()), Span::styled(state, look)];
    let socket = model.socket.as_ref().map(|path| PathBytes::from(path.as_path()).to_string()).unwrap_or_default();
    if width(&socket) + 2 <= room {
        line.push(Span::raw(" ".repeat(room - width(&socket))));
        line.push(Span::styled(socket, palette.faint()));
    }
    Line::from(line)
}

fn daemon(model: &Model, palette: Palette) -> (String, Style) {
    let stale = if model.snapshot.batches.is_empty() { "" } else { "STALE · " };
    let ago = if model.silent_for > 0 { format!(" for {} s", model.silent_for) } else { String::new() };
    match &model.link {
        Link::Connecting => (format!("connecting{ago}"), palette.held()),
        Link::Silent => (format!("{stale}the daemon does not answer{ago}"), palette.bad()),
        Link::Lost(why) => (format!("{stale}no daemon{ago}, trying again: {}", shown(why)), palette.bad()),
        Link::Live if model.house.as_ref().is_some_and(|house| house.draining) => {
            ("draining".to_owned(), palette.held())
        }
        Link::Live if model.snapshot.paused => ("paused".to_owned(), palette.held()),
        Link::Live => match &model.house {
            Some(house) => {
                let up = model.wall.0.saturating_sub(house.started_at.0) / 60_000;
                let up = if up > 0 { format!(", up {}", up_time(up)) } else { String::new() };
                (format!("running{up}"), palette.good())
            }
            None => ("running".to_owned(), palette.good()),
        },
    }
}

fn up_time(minutes: u64) -> String {
    if minutes < 60 { format!("{minutes} min") } else { span(minutes as f64 * 60.0) }
}

/// Lanes and open work.
fn house(model: &Model) -> Vec<String> {
    let lanes = model.house.iter().flat_map(|house| &house.lanes);
    let lanes: Vec<_> = lanes.map(|(name, used, slots)| format!("{} {used}/{slots}", shown(name))).collect();
    let open: Vec<_> = model.snapshot.batches.values().filter(|batch| !batch.state.is_terminal()).collect();
    let sum = |count: fn(&Counts) -> u32| open.iter().map(|batch| u64::from(count(&batch.counts))).sum::<u64>();
    let jobs = format!(
        "{} open: {} running, {} waiting, {} failed",
        open.len(),
        sum(|counts| counts.running),
        sum(|counts| counts.pending + counts.retrying),
        sum(|counts| counts.failed),
    );
    let lanes = (!lanes.is_empty()).then(|| lanes.join("  "));
    [jobs].into_iter().chain(lanes).collect()
}

/// How fast it goes, and how long it will take.
fn pace_line(cells: u16, model: &Model, palette: Palette) -> Line<'static> {
    // What was measured of a daemon that is gone says nothing of now.
    let known = |rate| if model.is_stale() { None } else { rate };
    let left = format!("left {}", eta(model.house.as_ref().filter(|_| !model.is_stale()).and_then(|house| house.eta)));
    let rate = format!("now {} real time", real_time(known(model.pace.real_time())));
    let jobs = format!("{} jobs/min", per_minute(known(model.pace.jobs_per_minute())));
    let text = fitting(&[rate.clone(), jobs, left], " · ", cells);
    let room = usize::from(cells).saturating_sub(width(&text));
    let (trend, peak) = trend(room, &model.pace);
    let after = text.strip_prefix(&rate).unwrap_or_default().to_owned();
    Line::from(vec![
        Span::raw(clipped(&rate, cells)),
        Span::styled(trend, palette.busy()),
        Span::styled(peak, palette.faint()),
        Span::raw(after),
    ])
}

/// The last minutes as bars, and what the highest stands for, where there is room.
fn trend(room: usize, pace: &Pace) -> (String, String) {
    let bars = pace.bars(room.saturating_sub(1).min(BARS_MAX));
    let peak = bars.iter().copied().fold(0.0, f64::max);
    let scale = format!(" peak {}", real_time(Some(peak)));
    let bars = pace.bars(room.saturating_sub(1 + width(&scale)).min(BARS_MAX));
    if bars.len() < BARS_MIN { Default::default() } else { (format!(" {}", sparkline(&bars)), scale) }
}

/// Each bar stands for five seconds.
const BARS_MAX: usize = 60;
const BARS_MIN: usize = 2;

/// As many of the parts as have room whole; of the first what has.
fn fitting(parts: &[String], between: &str, cells: u16) -> String {
    let mut text = parts.first().map(|first| clipped(first, cells)).unwrap_or_default();
    for part in parts.iter().skip(1) {
        if width(&text) + width(between) + width(part) > usize::from(cells) {
            break;
        }
        text.push_str(between);
        text.push_str(part);
    }
    text
}
