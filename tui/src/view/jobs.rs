//! The chosen batch's jobs: what is at work first, then what has failed.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::style::Style;
use ratatui::widgets::Paragraph;
use spindle_shared::job::{JobState, JobView};

use super::figures::{UNKNOWN, bar, percent, span};
use super::style::{Palette, shown};
use super::table::{self, Column, Kind, Rows, first_row};
use crate::model::{Model, Panel, file_name};

pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let focused = model.panel == Panel::Jobs;
    let jobs = model.jobs();
    let block = super::panel(&title(jobs.len(), model), focused, area, model, palette);
    if jobs.is_empty() {
        let text = match model.batch {
            Some(_) if !model.arrived && !model.is_stale() => "…",
            Some(_) if model.arrived && !model.job_filter.is_empty() => {
                "no job here has these words; Esc shows all again"
            }
            _ => "",
        };
        frame.render_widget(Paragraph::new(text).block(block), area);
        return;
    }
    let at = jobs.iter().position(|job| Some(job.id) == model.job);
    let rows = super::rows(area);
    let first = first_row(at, rows, jobs.len());
    let seen: Vec<_> = jobs.into_iter().skip(first).take(usize::from(rows)).collect();
    let plain = |text: &dyn Fn(&JobView) -> String| seen.iter().map(|job| (text(job), Style::new())).collect();
    let in_state =
        |text: &dyn Fn(&JobView) -> String| seen.iter().map(|job| (text(job), palette.job(job.state))).collect();
    let cells = if area.width < 100 { 6 } else { 12 };
    let columns = vec![
        Column::new("id", 0, 5, plain(&|job| job.id.to_string())).right(),
        Column::new("input", 0, 30, plain(&|job| shown(&file_name(job)))).fills(Kind::FileName),
        Column::new("state", 0, 9, in_state(&|job| job.state.name().to_owned())),
        Column::new("stage", 3, 10, plain(&|job| shown(&job.stage))),
        Column::new("", 5, cells, in_state(&|job| bar(job.progress, usize::from(cells)))),
        Column::new("done", 1, 4, plain(&|job| percent(job.progress))).right(),
        Column::new("time", 2, 11, plain(&|job| time(job, model))).right(),
        Column::new("length", 6, 11, plain(&|job| job.detail.media_seconds.map_or(UNKNOWN.to_owned(), span))).right(),
        Column::new("tries", 4, 5, plain(&|job| job.attempts.to_string())).right(),
        Column::new("worker", 7, 10, plain(&|job| job.worker.as_deref().map(shown).unwrap_or_default())),
    ];
    let rows = Rows { chosen: at.map(|at| at - first), heads: area.height > 3, focused };
    table::draw(frame, area, columns, &rows, block, palette);
}

fn title(shown: usize, model: &Model) -> String {
    let Some(batch) = model.chosen_batch() else { return "jobs".to_owned() };
    let total = batch.counts.total() as usize;
    let title = super::title_of_list(&format!("jobs of {}", batch.id), shown, total, &model.job_filter);
    match model.window() {
        Some(window) => format!("{title} · at work, failed, and {}–{}", window.start(), window.end()),
        None => title,
    }
}

/// How long it has been at work, or was.
pub fn time(job: &JobView, model: &Model) -> String {
    let over = job.state.is_terminal() || job.state == JobState::Pending;
    let ends = job.finished_at.or((!over).then_some(model.wall));
    match (job.started_at, ends) {
        (Some(begun), Some(ends)) => span(ends.0.saturating_sub(begun.0) as f64 / 1_000.0),
        _ => String::new(),
    }
}
