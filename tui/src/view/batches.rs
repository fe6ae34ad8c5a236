//! The batches: one row each, open ones first.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::widgets::{Cell, Row, Table, TableState};
use spindle_shared::text::escaped;

use super::style::{Palette, bar, clipped, percent};
use crate::model::{Model, Panel};

/// Everything but the name and the bar, gaps included.
const FIXED: u16 = 5 + 9 + 10 + 5 + 11 + 6 + 4 + 7;
const NAME_MIN: u16 = 10;

pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let focused = model.panel == Panel::Batches;
    let batches = model.batches();
    let at = batches.iter().position(|batch| Some(batch.id) == model.batch);
    let block = super::panel(&format!("batches {}", batches.len()), focused, area, model, palette);
    if batches.is_empty() {
        let text = if model.is_stale() { "" } else { "no batch yet: `spindlectl submit` makes one" };
        frame.render_widget(ratatui::widgets::Paragraph::new(text).block(block), area);
        return;
    }
    let cells = if area.width < 100 { 5 } else { 20 };
    let wide = area.width >= FIXED + cells + NAME_MIN;
    let name_width = if wide { area.width - FIXED - cells } else { area.width.saturating_sub(5 + 10 + 5 + 3) };
    // Only what may be seen is made into rows.
    let first = super::jobs::window(at, super::rows(area), batches.len());
    let rows = batches.iter().skip(first).take(usize::from(area.height)).map(|batch| {
        let id = Cell::from(batch.id.to_string());
        let name = Cell::from(clipped(&super::batch_name(batch), name_width));
        let state = Cell::from(batch.state.name()).style(palette.batch(batch.state));
        if !wide {
            return Row::new([id, state, Cell::from(percent(batch.progress)), name]);
        }
        let counts = &batch.counts;
        let failed = Cell::from(format!("{:>6}", counts.failed));
        Row::new([
            id,
            name,
            Cell::from(clipped(&escaped(&batch.recipe), 9)),
            state,
            Cell::from(format!("{} {:>4}", bar(batch.progress, usize::from(cells)), percent(batch.progress))),
            Cell::from(format!("{:>11}", format!("{}/{}", counts.ended(), counts.total()))),
            if counts.failed > 0 { failed.style(palette.bad()) } else { failed },
            Cell::from(format!("{:>4}", batch.priority)),
        ])
    });
    let length = Constraint::Length;
    let (widths, heads) = if wide {
        let widths = vec![
            length(5),
            length(name_width),
            length(9),
            length(10),
            length(cells + 5),
            length(11),
            length(6),
            length(4),
        ];
        (widths, vec!["id", "name", "recipe", "state", "progress", "ended/total", "failed", "prio"])
    } else {
        (vec![length(5), length(10), length(5), length(name_width)], vec!["id", "state", "done", "name"])
    };
    let table = Table::new(rows, widths)
        .header(super::heads(heads, area, palette).unwrap_or_default())
        .row_highlight_style(palette.chosen(focused))
        .block(block);
    let mut state = TableState::new().with_selected(at.map(|at| at - first));
    frame.render_stateful_widget(table, area, &mut state);
}
