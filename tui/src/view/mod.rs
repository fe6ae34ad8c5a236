//! The view: a picture of the model, and nothing else. Asks nobody, changes nothing, fits any size.

mod batches;
mod cover;
mod failures;
mod header;
mod jobs;
mod style;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Borders, Row};
use spindle_shared::text::escaped;

use crate::keys::TABLE;
use crate::model::{Model, Panel};
use style::Palette;

pub fn draw(frame: &mut Frame<'_>, model: &Model) {
    let area = frame.area();
    let palette = Palette { colour: model.colour };
    let small = area.height < 8;
    let header_lines = if small { 1 } else { 2 };
    let status_lines = if small && model.status.is_none() { 0 } else { 1 };
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

/// What doesn't fit is left out whole: first the failures, then the panel without the keyboard.
fn panels(frame: &mut Frame<'_>, body: Rect, model: &Model, palette: Palette) {
    let focused = |frame: &mut Frame<'_>, area| match model.panel {
        Panel::Batches => batches::draw(frame, area, model, palette),
        Panel::Jobs => jobs::draw(frame, area, model, palette),
    };
    match body.height {
        0..8 => focused(frame, body),
        8..13 => {
            let [top, bottom] = Layout::vertical([Constraint::Fill(1), Constraint::Fill(1)]).areas(body);
            batches::draw(frame, top, model, palette);
            jobs::draw(frame, bottom, model, palette);
        }
        _ => {
            let [top, middle, bottom] =
                Layout::vertical([Constraint::Fill(4), Constraint::Fill(5), Constraint::Fill(3)]).areas(body);
            batches::draw(frame, top, model, palette);
            jobs::draw(frame, middle, model, palette);
            failures::draw(frame, bottom, model, palette);
        }
    }
}

/// A panel's frame: a line with its title, marked where the keyboard is; none where its rows need the room.
fn panel(title: &str, focused: bool, area: Rect, model: &Model, palette: Palette) -> Block<'static> {
    if area.height < 3 {
        return Block::new();
    }
    let mark = if focused { '▸' } else { ' ' };
    let stale = if model.is_stale() && model.socket.is_some() { " · stale" } else { "" };
    let title =
        Span::styled(format!(" {mark} {title}{stale} "), if focused { palette.strong() } else { palette.plain() });
    Block::new().borders(Borders::TOP).border_style(palette.faint()).title(title)
}

/// The names of a table's columns, where its rows leave room for them.
fn heads(names: Vec<&'static str>, area: Rect, palette: Palette) -> Option<Row<'static>> {
    (area.height > 3).then(|| Row::new(names).style(palette.faint()))
}

/// How many rows a table of this size shows, under its title and its heads.
fn rows(area: Rect) -> u16 {
    match area.height {
        height @ 0..3 => height,
        3 => 2,
        height => height - 2,
    }
}

fn status_line(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    if let Some(status) = &model.status {
        let look = if status.bad { palette.bad() } else { palette.plain() };
        frame.render_widget(Line::styled(style::clipped(&status.text, area.width), look), area);
    }
}

/// The keys of this place, as many as fit whole.
fn key_line(model: &Model, width: u16, palette: Palette) -> Line<'static> {
    let place = model.place();
    let (mut spans, mut left) = (Vec::new(), usize::from(width));
    for (binding, short) in
        TABLE.iter().filter(|binding| binding.place == place).filter_map(|binding| Some((binding, binding.short?)))
    {
        let word = format!(" {short}  ");
        let needs = style::width(binding.label) + style::width(&word);
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
fn batch_name(batch: &spindle_shared::batch::BatchView) -> String {
    escaped(batch.name.as_deref().unwrap_or(&batch.recipe))
}

#[cfg(test)]
mod tests;
