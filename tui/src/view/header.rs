//! The header: how the daemon is heard, the views, how fast it goes and how long it will take.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::text::{Line, Span, Text};
use spindle_shared::job::PathBytes;

use super::Hits;
use super::figures::{eta, per_minute, real_time, span, sparkline};
use super::style::{clipped, shown, width};
use crate::look::Look;
use crate::model::{Hit, Link, Model, View};
use crate::pace::Pace;

pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, hits: &mut Hits) {
    let mut lines = vec![daemon_line(area.width, model)];
    if area.height > 1 {
        lines.push(tabs(area, model, hits));
    }
    if area.height > 2 {
        lines.push(pace_line(area.width, model));
    }
    frame.render_widget(Text::from(lines), area);
}

/// The views with their numbers; the open one is marked.
fn tabs(area: Rect, model: &Model, hits: &mut Hits) -> Line<'static> {
    let look = model.look;
    let mut spans = Vec::new();
    let mut x = area.x;
    // With little room only the open one has its name.
    let whole: usize = View::ALL.iter().map(|view| width(look.t(view.name())) + 4).sum();
    let whole = whole <= usize::from(area.width);
    for (nth, view) in View::ALL.into_iter().enumerate() {
        let open = view == model.view;
        let name = look.t(view.name());
        let text = match (open, whole) {
            (true, _) => format!("[{} {name}]", nth + 1),
            (false, true) => format!(" {} {name} ", nth + 1),
            (false, false) => format!(" {} ", nth + 1),
        };
        let cells = u16::try_from(width(&text)).unwrap_or(u16::MAX);
        hits.push((Rect::new(x, area.y + 1, cells, 1).intersection(area), Hit::Go(view)));
        x = x.saturating_add(cells);
        spans.push(Span::styled(text, if open { look.title() } else { look.faint() }));
    }
    Line::from(spans)
}

fn daemon_line(cells: u16, model: &Model) -> Line<'static> {
    let look = model.look;
    let (state, style) = daemon(model);
    let build = if model.build.is_empty() { String::new() } else { format!(" {}", shown(&model.build)) };
    // Where there is little room, how it is counts more than who it is.
    let lead = if cells < 40 { String::new() } else { format!("spindled{build} ") };
    let state = clipped(&state, cells.saturating_sub(width(&lead) as u16));
    let room = usize::from(cells).saturating_sub(width(&lead) + width(&state));
    let mut line = vec![Span::styled(lead, look.strong()), Span::styled(state, style)];
    let socket = model.socket.as_ref().map(|path| PathBytes::from(path.as_path()).to_string()).unwrap_or_default();
    if width(&socket) + 2 <= room {
        line.push(Span::raw(" ".repeat(room - width(&socket))));
        line.push(Span::styled(socket, look.faint()));
    }
    Line::from(line)
}

fn daemon(model: &Model) -> (String, Style) {
    let look = model.look;
    let stale = if model.snapshot.batches.is_empty() { String::new() } else { format!("{} · ", look.t("STALE")) };
    let ago = if model.silent_for > 0 { look.fill(" for {} s", &[&model.silent_for]) } else { String::new() };
    match &model.link {
        Link::Connecting => (look.fill("connecting{}", &[&ago]), look.held()),
        Link::Silent => (look.fill("{}the daemon does not answer{}", &[&stale, &ago]), look.bad()),
        Link::Lost(why) => (look.fill("{}no daemon{}, trying again: {}", &[&stale, &ago, &shown(why)]), look.bad()),
        Link::Live if model.house.as_ref().is_some_and(|house| house.draining) => {
            (look.t("draining").to_owned(), look.held())
        }
        Link::Live if model.snapshot.paused => (look.t("paused").to_owned(), look.held()),
        Link::Live => match &model.house {
            Some(house) => {
                let up = model.wall.0.saturating_sub(house.started_at.0) / 60_000;
                let up = if up > 0 { look.fill(", up {}", &[&up_time(up)]) } else { String::new() };
                (look.fill("running{}", &[&up]), look.good())
            }
            None => (look.t("running").to_owned(), look.good()),
        },
    }
}

fn up_time(minutes: u64) -> String {
    if minutes < 60 { format!("{minutes} min") } else { span(minutes as f64 * 60.0) }
}

/// How fast it goes, and how long it will take.
fn pace_line(cells: u16, model: &Model) -> Line<'static> {
    let look = model.look;
    // What was measured of a daemon that is gone says nothing of now.
    let known = |rate: Option<f64>| rate.filter(|_| !model.is_stale());
    let eta = eta(model.house.as_ref().filter(|_| !model.is_stale()).and_then(|house| house.eta));
    let left = look.fill("left {}", &[&eta]);
    let rate = look.fill("now {} real time", &[&real_time(known(model.pace.real_time()))]);
    let jobs = look.fill("{} jobs/min", &[&per_minute(known(model.pace.jobs_per_minute()))]);
    let text = fitting(&[rate.clone(), jobs, left], " · ", cells);
    let room = usize::from(cells).saturating_sub(width(&text));
    let (trend, peak) = trend(room, &model.pace, look);
    let after = text.strip_prefix(&rate).unwrap_or_default().to_owned();
    Line::from(vec![
        Span::raw(clipped(&rate, cells)),
        Span::styled(trend, look.busy()),
        Span::styled(peak, look.faint()),
        Span::raw(after),
    ])
}

/// The last minutes as bars, and what the highest stands for, where there is room.
fn trend(room: usize, pace: &Pace, look: Look) -> (String, String) {
    let bars = pace.bars(room.saturating_sub(1).min(BARS_MAX));
    let peak = bars.iter().copied().fold(0.0, f64::max);
    let scale = format!(" {}", look.fill("peak {}", &[&real_time(Some(peak))]));
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
