//! The failures: with the keyboard on the batches those of the batch, by cause; with it on the jobs the chosen job's own.

use std::collections::BTreeMap;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Wrap};
use spindle_shared::failure::Failure;
use spindle_shared::id::JobId;
use spindle_shared::text::escaped;

use super::style::Palette;
use crate::model::{Model, Panel};

pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    let (title, lines) = match model.panel {
        Panel::Batches => of_batch(model, palette),
        Panel::Jobs => of_job(model, palette),
    };
    let text = Paragraph::new(lines).wrap(Wrap { trim: true }).block(super::panel(&title, false, area, model, palette));
    frame.render_widget(text, area);
}

fn of_batch(model: &Model, palette: Palette) -> (String, Vec<Line<'static>>) {
    let Some(batch) = model.chosen_batch() else { return ("failures".to_owned(), Vec::new()) };
    let title = format!("failures of {} · {}", batch.id, batch.counts.failed);
    if batch.counts.failed == 0 {
        return (title, vec![Line::styled("none", palette.faint())]);
    }
    let mut causes: BTreeMap<_, (u32, JobId, &Failure)> = BTreeMap::new();
    for job in model.jobs() {
        if let (true, Some(failure)) = (job.state.is_terminal(), &job.failure) {
            causes.entry(failure.kind).or_insert((0, job.id, failure)).0 += 1;
        }
    }
    let mut causes: Vec<_> = causes.into_values().collect();
    causes.sort_by_key(|(count, ..)| std::cmp::Reverse(*count));
    let lines = causes.into_iter().flat_map(|(count, job, failure)| {
        let times = if count > 1 {
            format!("{count} × {}, first {job}", failure.kind)
        } else {
            format!("{job} {}", failure.kind)
        };
        told(times, failure, palette)
    });
    (title, lines.collect())
}

fn of_job(model: &Model, palette: Palette) -> (String, Vec<Line<'static>>) {
    let Some(job) = model.chosen_job() else { return ("failure".to_owned(), Vec::new()) };
    let lines = match (&job.failure, &job.skipped_reason) {
        (Some(failure), _) => told(failure.kind.to_string(), failure, palette),
        (None, Some(reason)) => vec![Line::raw(format!("skipped: {}", escaped(reason)))],
        (None, None) => vec![Line::styled("none", palette.faint())],
    };
    (format!("failure of {}", job.id), lines)
}

/// What happened, and what to do.
pub fn told(cause: String, failure: &Failure, palette: Palette) -> Vec<Line<'static>> {
    let mut lines = vec![Line::styled(format!("{cause}: {}", escaped(&failure.message)), palette.bad())];
    if !failure.advice.is_empty() {
        lines.push(Line::raw(format!("→ {}", escaped(&failure.advice))));
    }
    lines
}
