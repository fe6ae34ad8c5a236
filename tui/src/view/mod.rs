//! The views: a picture of the model, and nothing else. Asks nobody, changes nothing, fits any size.

mod batches;
mod cover;
mod detail;
mod failures;
mod figures;
mod form;
mod header;
mod history;
mod jobs;
mod overview;
mod results;
mod style;
mod table;
mod workers;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders};
use spindle_shared::batch::BatchView;

use crate::filter::Filter;
use crate::keys::{Place, TABLE};
use crate::look::Look;
use crate::model::{Hit, Model, View};
pub use history::rows as history_rows;
use style::{clipped, shown, width};

/// Where the mouse meets what.
pub type Hits = Vec<(Rect, Hit)>;

/// Draws the model; gives what can be clicked.
pub fn draw(frame: &mut Frame<'_>, model: &Model) -> Hits {
    let look = model.look;
    let mut hits = Vec::new();
    let [header, body, status, keys] = areas(frame.area(), model);
    header::draw(frame, header, model, &mut hits);
    match model.view {
        View::Overview => overview::draw(frame, body, model, &mut hits),
        View::Batches => batches::draw_view(frame, body, model, &mut hits),
        View::Batch => jobs::draw_view(frame, body, model, &mut hits),
        View::Failures => failures::draw(frame, body, model, &mut hits),
        View::Workers => workers::draw(frame, body, model, &mut hits),
        View::Results => results::draw(frame, body, model, &mut hits),
        View::History => history::draw(frame, body, model, &mut hits),
    }
    status_line(frame, status, model);
    cover::draw(frame, body, model, &mut hits);
    let keys_shown = key_line(model, keys, &mut hits);
    frame.render_widget(keys_shown, keys);
    if look.ascii {
        style::to_ascii(frame.buffer_mut());
    }
    hits
}

fn areas(area: Rect, model: &Model) -> [Rect; 4] {
    let header_lines = match area.height {
        0..8 => 1,
        8..15 => 2,
        _ if model.view == View::Overview => 2,
        _ => 3,
    };
    let status_lines = if area.height < 8 && model.status.is_none() && !model.finding { 0 } else { 1 };
    Layout::vertical([
        Constraint::Length(header_lines),
        Constraint::Fill(1),
        Constraint::Length(status_lines),
        Constraint::Length(1),
    ])
    .areas(area)
}

/// Where the view's own content is, on a screen of this size.
pub fn body(area: Rect, model: &Model) -> Rect {
    areas(area, model)[1]
}

/// Of the results' body, where the cards are.
pub fn grid_area(body: Rect) -> Rect {
    let title = if body.height < 3 { 0 } else { 1 };
    Rect { y: body.y + title, height: body.height - title, ..body }
}

/// A panel's frame: a line with its title, marked where the keyboard is; none where its rows need the room.
fn panel(title: &str, focused: bool, area: Rect, model: &Model) -> Block<'static> {
    if area.height < 3 {
        return Block::new();
    }
    let look = model.look;
    let mark = if focused { '▸' } else { ' ' };
    let stale =
        if model.is_stale() && model.socket.is_some() { format!(" · {}", look.t("STALE")) } else { String::new() };
    let title = clipped(&format!(" {mark} {title}{stale} "), area.width);
    let title = Span::styled(title, if focused { look.title() } else { look.strong() });
    Block::new().borders(Borders::TOP).border_style(look.faint()).title(title)
}

/// How many there are, and why not all of them are seen.
fn title_of_list(name: &str, shown: usize, all: usize, filter: &Filter, look: Look) -> String {
    let count = if shown == all { all.to_string() } else { look.fill("{} of {}", &[&shown, &all]) };
    let words = if filter.is_empty() { String::new() } else { look.fill(" with `{}`", &[&filter.text().trim()]) };
    format!("{name} · {count}{words}")
}

/// How many rows a table of this size shows, under its title and its heads.
fn rows(area: Rect) -> u16 {
    match area.height {
        height @ 0..3 => height,
        3 => 2,
        height => height - 2,
    }
}

/// What came of the last action; or the words to find, while they are being written.
fn status_line(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    if area.height == 0 {
        return;
    }
    let look = model.look;
    if model.place() == Place::Find {
        let (what, filter) = if model.view == View::Batch {
            (look.t("jobs with:"), &model.job_filter)
        } else {
            (look.t("batches with:"), &model.batch_filter)
        };
        write_line(frame, area, &format!("{what} {}", filter.text()), look);
    } else if let Some(status) = &model.status {
        let style = if status.bad { look.bad() } else { look.plain() };
        frame.render_widget(Line::styled(clipped(&shown(&status.text), area.width), style), area);
    }
}

/// A line that is being written: its end is what matters, and the cursor stands behind it.
fn write_line(frame: &mut Frame<'_>, area: Rect, text: &str, look: Look) {
    let text = shown(text);
    let room = usize::from(area.width.saturating_sub(1));
    let skipped = (0..=text.len()).find(|at| text.is_char_boundary(*at) && width(&text[*at..]) <= room);
    let text = text[skipped.unwrap_or(text.len())..].to_owned();
    let column = area.x + u16::try_from(width(&text)).unwrap_or(0).min(area.width.saturating_sub(1));
    frame.render_widget(Line::styled(text, look.strong()), area);
    frame.set_cursor_position((column, area.y));
}

/// The keys of this place, as many as fit whole.
fn key_line(model: &Model, area: Rect, hits: &mut Hits) -> Line<'static> {
    let (place, look) = (model.place(), model.look);
    if model.cover.is_some() && !matches!(place, Place::Form | Place::Files) {
        // What lies below can't be reached.
        hits.clear();
    }
    let (mut spans, mut left) = (Vec::new(), usize::from(area.width));
    for (binding, short) in TABLE
        .iter()
        .filter(|binding| binding.places.contains(&place) && model.is_of_use(binding.action))
        .filter_map(|binding| Some((binding, binding.short?)))
    {
        let label = key_name(binding.label, look);
        let word = format!(" {}  ", look.t(short));
        let needs = width(label) + width(&word);
        // The last one's gap may lie beyond the edge.
        if needs > left + 2 {
            break;
        }
        let x = area.x + (usize::from(area.width) - left) as u16;
        hits.push((Rect::new(x, area.y, needs.saturating_sub(2) as u16, 1), Hit::Act(binding.action)));
        left = left.saturating_sub(needs);
        spans.push(Span::styled(label, look.strong()));
        spans.push(Span::styled(word, look.faint()));
    }
    Line::from(spans)
}

/// Arrows have no letters in ASCII.
fn key_name(label: &'static str, look: Look) -> &'static str {
    if !look.ascii {
        return label;
    }
    match label {
        "j ↓" => "j Down",
        "k ↑" => "k Up",
        "l →" => "l Right",
        "h ←" => "h Left",
        "Tab ← →" => "Tab",
        "←" => "Left",
        other => other,
    }
}

/// Cells that a terminal gives this text.
#[cfg(test)]
pub fn cells(text: &str) -> usize {
    width(text)
}

/// A batch as people call it: its name, else its recipe.
fn batch_name(batch: &BatchView) -> String {
    shown(batch.name.as_deref().unwrap_or(&batch.recipe))
}

#[cfg(test)]
pub mod tests;
