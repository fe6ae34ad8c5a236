//! The batches: one row each, what is at work first.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Paragraph;
use spindle_shared::batch::{BatchView, Priority};

use super::figures::{bar, eta, percent, span};
use super::style::{Palette, shown};
use super::table::{self, Column, Kind, Rows, first_row};
use crate::model::{Model, Panel};

pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let focused = model.panel == Panel::Batches;
    let batches = model.batches();
    let all = model.snapshot.batches.len();
    let title = super::title_of_list("batches", batches.len(), all, &model.batch_filter);
    let block = super::panel(&title, focused, area, model, palette);
    if batches.is_empty() {
        let text = match (all, model.is_stale()) {
            (0, false) => "no batch yet: `spindlectl submit` makes one",
            (0, true) => "",
            _ => "no batch has these words; Esc shows all again",
        };
        frame.render_widget(Paragraph::new(text).block(block), area);
        return;
    }
    let at = batches.iter().position(|batch| Some(batch.id) == model.batch);
    let rows = super::rows(area);
    // Only what may be seen is made into rows.
    let first = first_row(at, rows, batches.len());
    let seen: Vec<_> = batches.into_iter().skip(first).take(usize::from(rows)).collect();
    let plain = |text: fn(&BatchView) -> String| seen.iter().map(|batch| (text(batch), Style::new())).collect();
    let styled = |text: &dyn Fn(&BatchView) -> String, style: &dyn Fn(&BatchView) -> Style| {
        seen.iter().map(|batch| (text(batch), style(batch))).collect()
    };
    let cells = if area.width < 120 { 6 } else { 20 };
    let columns = vec![
        Column::new("id", 0, 3, plain(|batch| batch.id.to_string())).right(),
        Column::new("name", 0, 14, plain(super::batch_name)).fills(Kind::Name),
        Column::new("recipe", 8, 9, plain(|batch| shown(&batch.recipe))),
        Column::new(
            "state",
            0,
            10,
            styled(&|batch| batch.state.name().to_owned(), &|batch| palette.batch(batch.state)),
        ),
        Column::new("stage", 9, 10, plain(|batch| batch.stage.as_deref().map(shown).unwrap_or_default())),
        Column::new(
            "",
            5,
            cells,
            styled(&|batch| bar(batch.progress, usize::from(cells)), &|batch| palette.batch(batch.state)),
        ),
        Column::new("done", 1, 4, plain(|batch| percent(batch.progress))).right(),
        Column::new("jobs", 3, 5, plain(|batch| format!("{}/{}", batch.counts.ended(), batch.counts.total()))).right(),
        Column::new(
            "failed",
            4,
            6,
            styled(&|batch| batch.counts.failed.to_string(), &|batch| {
                if batch.counts.failed > 0 { palette.bad() } else { palette.faint() }
            }),
        )
        .right(),
        Column::new("time", 7, 11, plain_time(&seen, model)).right(),
        Column::new(
            "left",
            2,
            14,
            plain(|batch| if batch.state.is_terminal() { String::new() } else { eta(batch.eta) }),
        ),
        Column::new("prio", 6, 6, plain(|batch| priority(batch.priority))),
    ];
    let rows = Rows { chosen: at.map(|at| at - first), heads: area.height > 3, focused };
    table::draw(frame, area, columns, &rows, block, palette);
}

fn plain_time(seen: &[&BatchView], model: &Model) -> Vec<(String, Style)> {
    seen.iter().map(|batch| (time(batch, model), Style::new())).collect()
}

/// How long it has been at work, or was.
pub fn time(batch: &BatchView, model: &Model) -> String {
    let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1_000.0;
    let ends = batch.finished_at.unwrap_or(model.wall);
    batch.started_at.map(|begun| span(seconds(begun.0, ends.0))).unwrap_or_default()
}

/// The word for it, where it has one.
pub fn priority(priority: Priority) -> String {
    let word = Priority::WORDS.iter().find(|(_, known)| *known == priority);
    word.map_or_else(|| priority.to_string(), |(word, _)| (*word).to_owned())
}
