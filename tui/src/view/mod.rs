//! The view: a picture of the model, and nothing else. Asks nobody, changes nothing, fits any size.

mod batches;
mod cover;
mod detail;
mod figures;
mod header;
mod jobs;
mod style;
mod table;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders};
use spindle_shared::batch::BatchView;

use crate::filter::Filter;
use crate::keys::{Place, TABLE};
use crate::model::{Model, Panel};
use style::{Palette, clipped, shown, width};

pub fn draw(frame: &mut Frame<'_>, model: &Model) {
    let area = frame.area();
    let palette = Palette { colour: model.colour };
    let header_lines = match area.height {
        0..8 => 1,
        8..15 => 2,
        _ => 3,
    };
    let status_lines = if area.height < 8 && model.status.is_none() && !model.finding { 0 } else { 1 };
    let [header, body, status, keys] = Layout::vertical([
        Constraint::Length(header_lines),
        Constraint::Fill(1),
        Constraint::Length(status_lines),
        Constraint::Length(1),
    ])
    .areas(area);
    header::draw(frame, header, model, palette);
    panels(frame, body, model, palette);
    status_line(frame, status, model, palette);
    frame.render_widget(key_line(model, keys.width, palette), keys);
    cover::draw(frame, body, model, palette);
}

/// Room from which on the jobs and what there is to say of them stand side by side.
const WIDE: u16 = 150;

/// What doesn't fit is left out whole: first the failures, then the panel without the keyboard.
fn panels(frame: &mut Frame<'_>, body: Rect, model: &Model, palette: Palette) {
    // The batches take what they need, and leave the jobs their share.
    let needed = u16::try_from(model.batches().len()).unwrap_or(u16::MAX).saturating_add(2).max(4);
    let top = |share: u16| Constraint::Length(needed.min(share));
    match body.height {
        0..8 => match model.panel {
            Panel::Batches => batches::draw(frame, body, model, palette),
            Panel::Jobs => jobs::draw(frame, body, model, palette),
        },
        8..13 => {
            let [upper, lower] = Layout::vertical([top(body.height / 2), Constraint::Fill(1)]).areas(body);
            batches::draw(frame, upper, model, palette);
            jobs::draw(frame, lower, model, palette);
        }
        height if body.width >= WIDE => {
            let [upper, lower] = Layout::vertical([top(height * 2 / 5), Constraint::Fill(1)]).areas(body);
            let [left, right] = Layout::horizontal([Constraint::Fill(3), Constraint::Fill(2)]).spacing(1).areas(lower);
            batches::draw(frame, upper, model, palette);
            jobs::draw(frame, left, model, palette);
            detail::draw(frame, right, model, palette);
        }
        height => {
            let [upper, middle, lower] =
                Layout::vertical([top(height / 3), Constraint::Fill(5), Constraint::Fill(3)]).areas(body);
            batches::draw(frame, upper, model, palette);
            jobs::draw(frame, middle, model, palette);
            detail::draw(frame, lower, model, palette);
        }
    }
}

/// A panel's frame: a line with its title, marked where the keyboard is; none where its rows need the room.
fn panel(title: &str, focused: bool, area: Rect, model: &Model, palette: Palette) -> Block<'static> {
    if area.height < 3 {
        return Block::new();
    }
    let mark = if focused { '▸' } else { ' ' };
    let stale = if model.is_stale() && model.socket.is_some() { " · STALE" } else { "" };
    let title = clipped(&format!(" {mark} {title}{stale} "), area.width);
    let title = Span::styled(title, if focused { palette.strong() } else { palette.plain() });
    Block::new().borders(Borders::TOP).border_style(palette.faint()).title(title)
}

/// How many there are, and why not all of them are seen.
fn title_of_list(name: &str, shown: usize, all: usize, filter: &Filter) -> String {
    let count = if shown == all { all.to_string() } else { format!("{shown} of {all}") };
    let words = if filter.is_empty() { String::new() } else { format!(" with `{}`", filter.text().trim()) };
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
fn status_line(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    if area.height == 0 {
        return;
    }
    if model.place() == Place::Find {
        let (what, filter) = match model.panel {
            Panel::Batches => ("batches", &model.batch_filter),
            Panel::Jobs => ("jobs", &model.job_filter),
        };
        // The end is what is being written.
        let text = shown(&format!("{what} with: {}", filter.text()));
        let room = usize::from(area.width.saturating_sub(1));
        let skipped = (0..=text.len()).find(|at| text.is_char_boundary(*at) && width(&text[*at..]) <= room);
        let text = text[skipped.unwrap_or(text.len())..].to_owned();
        let column = area.x + u16::try_from(width(&text)).unwrap_or(0).min(area.width.saturating_sub(1));
        frame.render_widget(Line::styled(text, palette.strong()), area);
        frame.set_cursor_position((column, area.y));
    } else if let Some(status) = &model.status {
        let look = if status.bad { palette.bad() } else { palette.plain() };
        frame.render_widget(Line::styled(clipped(&shown(&status.text), area.width), look), area);
    }
}

/// The keys of this place, as many as fit whole.
fn key_line(model: &Model, cells: u16, palette: Palette) -> Line<'static> {
    let place = model.place();
    let (mut spans, mut left) = (Vec::new(), usize::from(cells));
    for (binding, short) in
        TABLE.iter().filter(|binding| binding.place == place).filter_map(|binding| Some((binding, binding.short?)))
    {
        let word = format!(" {short}  ");
        let needs = width(binding.label) + width(&word);
        // The last one's gap may lie beyond the edge.
        if needs > left + 2 {
            break;
        }
        left = left.saturating_sub(needs);
        spans.push(Span::styled(binding.label, palette.strong()));
        spans.push(Span::styled(word, palette.faint()));
    }
    Line::from(spans)
}

/// A batch as people call it: its name, else its recipe.
fn batch_name(batch: &BatchView) -> String {
    shown(batch.name.as_deref().unwrap_or(&batch.recipe))
}

#[cfg(test)]
mod tests;
