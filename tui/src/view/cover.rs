//! What lies over the panels: the help, one job in full, the question before a cancel.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};
use spindle_shared::id::Target;
use spindle_shared::job::JobView;

use super::figures::{percent, span};
use super::style::{Palette, clipped, shown, width, wrapped};
use crate::keys::{Place, TABLE};
use crate::model::{Cover, Model};

pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, palette: Palette) {
    match &model.cover {
        None => {}
        Some(Cover::Help { scroll }) => page(frame, area, "keys", |cells| help(cells, palette), *scroll),
        Some(Cover::Job { scroll }) => {
            if let Some(job) = model.chosen_job() {
                let title = format!("job {}", job.id);
                page(frame, area, &title, |cells| in_full(job, model, cells, palette), *scroll);
            }
        }
        Some(Cover::Cancel { target, yes }) => question(frame, area, *target, *yes, model, palette),
    }
}

/// Lines that may be more than there is room for.
fn page(frame: &mut Frame<'_>, area: Rect, title: &str, lines: impl Fn(u16) -> Vec<Line<'static>>, scroll: u16) {
    frame.render_widget(Clear, area);
    let framed = area.height > 4;
    let (edge, cells) = if framed { (2, area.width.saturating_sub(4)) } else { (0, area.width) };
    let lines = lines(cells);
    let rows = usize::from(area.height.saturating_sub(edge));
    let last = lines.len().saturating_sub(rows);
    let first = usize::from(scroll).min(last);
    let shown: Vec<_> = lines.into_iter().skip(first).take(rows).collect();
    let text = Paragraph::new(shown);
    if !framed {
        frame.render_widget(text, area);
        return;
    }
    let mut block = Block::bordered().title(format!(" {title} ")).padding(ratatui::widgets::Padding::horizontal(1));
    if first > 0 {
        block = block.title_top(Line::from(" ↑ more ").right_aligned());
    }
    if first < last {
        block = block.title_bottom(Line::from(" ↓ more ").right_aligned());
    }
    frame.render_widget(text.block(block), area);
}

fn help(cells: u16, palette: Palette) -> Vec<Line<'static>> {
    let label_width = TABLE.iter().map(|binding| width(binding.label)).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (place, title) in [
        (Place::Main, "batches and jobs"),
        (Place::Find, "writing what to find"),
        (Place::Page, "pages like this one"),
        (Place::Question, "questions"),
    ] {
        lines.push(Line::styled(title, palette.strong()));
        for binding in TABLE.iter().filter(|binding| binding.place == place) {
            let indent = label_width + 3;
            let room = cells.saturating_sub(indent as u16).max(10);
            for (nth, text) in wrapped(binding.long, room, usize::MAX).into_iter().enumerate() {
                let label = if nth == 0 { binding.label } else { "" };
                let gap = " ".repeat(label_width - width(label) + 2);
                lines.push(Line::from(vec![
                    Span::styled(format!(" {label}"), palette.strong()),
                    Span::raw(format!("{gap}{text}")),
                ]));
            }
        }
    }
    lines
}

/// All that is known of a job.
fn in_full(job: &JobView, model: &Model, cells: u16, palette: Palette) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut row = |name: &str, value: &str| {
        let text = wrapped(&format!("{name}: {value}"), cells, usize::MAX);
        lines.extend(text.into_iter().map(Line::from));
    };
    if let Some(input) = &job.input {
        row("input", &shown(&input.to_string()));
    }
    row("state", &format!("{}, {} done, at stage {}", job.state.name(), percent(job.progress), shown(&job.stage)));
    row("tries", &job.attempts.to_string());
    if let Some(worker) = &job.worker {
        row("worker", &shown(worker));
    }
    let time = super::jobs::time(job, model);
    if !time.is_empty() {
        row("time", &time);
    }
    for (stage, seconds) in &job.timings {
        row(&format!("  {}", shown(stage)), &span(*seconds));
    }
    let detail = &job.detail;
    if let Some(seconds) = detail.media_seconds {
        row("length", &span(seconds));
    }
    if let Some(language) = &detail.language {
        let sure = detail.language_probability.map(|share| format!(" ({} sure)", percent(share as f32)));
        row("language", &format!("{}{}", shown(language), sure.unwrap_or_default()));
    }
    if let Some(reason) = &job.skipped_reason {
        row("skipped", &shown(reason));
    }
    for output in &job.outputs {
        let path = shown(&output.path.to_string());
        row("output", &format!("{path} ({}, {} bytes)", shown(&output.kind), output.bytes));
    }
    for note in &detail.notes {
        row("note", &shown(note));
    }
    if let Some(failure) = &job.failure {
        let cause = format!("failure: {}", failure.kind);
        lines.extend(super::detail::told(&cause, failure, cells, usize::MAX, palette));
    }
    lines
}

fn question(frame: &mut Frame<'_>, area: Rect, target: Target, yes: bool, model: &Model, palette: Palette) {
    let batch = model.snapshot.batches.get(&target.batch());
    let (what, stops) = match (target, batch) {
        (Target::Batch(id), Some(batch)) => {
            let open = batch.counts.total() - batch.counts.ended();
            let jobs = if open == 1 { "1 job stops".to_owned() } else { format!("{open} jobs stop") };
            (format!("Cancel batch {id} ({})?", super::batch_name(batch)), jobs)
        }
        (target, _) => (format!("Cancel {target}?"), "Its work stops".to_owned()),
    };
    let consequence = format!("{stops} for good; finished results stay.");
    let mark = |marked: bool| if marked { palette.chosen(true) } else { palette.plain() };
    // Brackets mark the answer where nothing is shown reversed.
    let answer =
        |word: &str, marked| Span::styled(if marked { format!("[{word}]") } else { format!(" {word} ") }, mark(marked));
    let answers = Line::from(vec![answer("No", !yes), Span::raw("  "), answer("Yes", yes)]);
    let text_width = width(&what).max(width(&consequence)).max(40) + 4;
    let text_width = u16::try_from(text_width).unwrap_or(u16::MAX).min(area.width);
    let area = area.centered(Constraint::Length(text_width), Constraint::Length(5.min(area.height)));
    frame.render_widget(Clear, area);
    let cells = area.width.saturating_sub(4);
    let mut lines = vec![Line::from(clipped(&what, cells)), answers];
    if area.height > 4 {
        lines.insert(1, Line::styled(clipped(&consequence, cells), palette.faint()));
    }
    let text = Paragraph::new(lines);
    let block = Block::bordered().padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(if area.height > 3 { text.block(block) } else { text }, area);
}
