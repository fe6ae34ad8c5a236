//! The jobs of the chosen batch: what is at work first, then what failed.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::widgets::{Cell, Row, Table, TableState};
use spindle_shared::job::{Input, JobView, PathBytes};
use spindle_shared::text::escaped;

use super::style::{Palette, clipped, percent};
use crate::model::{Model, Panel};

const FIXED: u16 = 10 + 10 + 10 + 5 + 4;

pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let focused = model.panel == Panel::Jobs;
    let jobs = model.jobs();
    let at = jobs.iter().position(|job| Some(job.id) == model.job);
    let title = match model.chosen_batch() {
        Some(batch) if (jobs.len() as u64) < u64::from(batch.counts.total()) => {
            format!("jobs of {} · {} of {} shown", batch.id, jobs.len(), batch.counts.total())
        }
        Some(batch) => format!("jobs of {} · {}", batch.id, jobs.len()),
        None => "jobs".to_owned(),
    };
    let first = window(at, super::rows(area), jobs.len());
    let wide = area.width > FIXED + 8;
    let name_width = area.width.saturating_sub(if wide { FIXED } else { 10 + 5 + 2 });
    let rows = jobs.iter().skip(first).take(usize::from(area.height)).map(|job| {
        let id = Cell::from(job.id.to_string());
        let done = Cell::from(format!("{:>4}", percent(job.progress)));
        let name = Cell::from(clipped(&file_name(job), name_width));
        if !wide {
            return Row::new([id, done, name]);
        }
        let state = Cell::from(job.state.name()).style(palette.job(job.state));
        Row::new([id, state, Cell::from(clipped(&escaped(&job.stage), 10)), done, name])
    });
    let length = Constraint::Length;
    let (widths, heads) = if wide {
        let widths = vec![length(10), length(10), length(10), length(5), length(name_width)];
        (widths, vec!["id", "state", "stage", "done", "input"])
    } else {
        (vec![length(10), length(5), length(name_width)], vec!["id", "done", "input"])
    };
    let table = Table::new(rows, widths)
        .header(super::heads(heads, area, palette).unwrap_or_default())
        .row_highlight_style(palette.chosen(focused))
        .block(super::panel(&title, focused, area, model, palette));
    let mut state = TableState::new().with_selected(at.map(|at| at - first));
    frame.render_stateful_widget(table, area, &mut state);
}

/// The first row to show so that the chosen one is seen, near the middle in a long list.
pub fn window(chosen: Option<usize>, rows: u16, total: usize) -> usize {
    let rows = usize::from(rows).max(1);
    chosen.unwrap_or(0).saturating_sub(rows / 2).min(total.saturating_sub(rows))
}

/// The last part of the input's path: folders are alike, names differ.
fn file_name(job: &JobView) -> String {
    match &job.input {
        Some(Input::File { path, .. }) => match path.as_path().file_name() {
            Some(name) => PathBytes::from(name).to_string(),
            None => path.to_string(),
        },
        Some(input) => input.to_string(),
        None => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::window;

    #[test]
    fn the_chosen_row_is_always_in_the_window() {
        for total in 1..40 {
            for rows in 1..12_u16 {
                for chosen in 0..total {
                    let first = window(Some(chosen), rows, total);
                    assert!(first <= chosen && chosen < first + usize::from(rows), "{chosen} of {total} in {rows}");
                }
            }
        }
    }
}
