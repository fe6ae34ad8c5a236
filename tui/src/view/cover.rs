//! What lies over the panels: the help, one job in full, the question before a cancel.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph, Wrap};
use spindle_shared::id::Target;
use spindle_shared::job::JobView;
use spindle_shared::text::escaped;

use super::style::{Palette, percent, width};
use crate::keys::{Place, TABLE};
use crate::model::{Cover, Model};

pub fn draw(frame: &mut Frame<'_>, body: Rect, model: &Model, palette: Palette) {
    match &model.cover {
        None => {}
        Some(Cover::Help { scroll }) => page(frame, body, " keys ".to_owned(), help(palette), *scroll),
        Some(Cover::Job { scroll }) => {
            if let Some(job) = model.chosen_job() {
                page(frame, body, format!(" job {} ", job.id), in_full(job, palette), *scroll);
            }
        }
        Some(Cover::Cancel { target, yes }) => question(frame, body, *target, *yes, model, palette),
    }
}

fn page(frame: &mut Frame<'_>, area: Rect, title: String, lines: Vec<Line<'static>>, scroll: u16) {
    frame.render_widget(Clear, area);
    let framed = area.height > 4;
    // Wrapped lines are counted by what they need; the last one stays in sight.
    let inner = usize::from(area.width.saturating_sub(2)).max(1);
    let needed: usize = lines.iter().map(|line| line.width().div_ceil(inner).max(1)).sum();
    let last = u16::try_from(needed).unwrap_or(u16::MAX).saturating_sub(1);
    let text = Paragraph::new(lines).wrap(Wrap { trim: false }).scroll((scroll.min(last), 0));
    frame.render_widget(if framed { text.block(Block::bordered().title(title)) } else { text }, area);
}

fn help(palette: Palette) -> Vec<Line<'static>> {
    let label_width = TABLE.iter().map(|binding| width(binding.label)).max().unwrap_or(0);
    let mut lines = Vec::new();
    for (place, title) in
        [(Place::Main, "batches and jobs"), (Place::Page, "pages like this one"), (Place::Question, "questions")]
    {
        lines.push(Line::styled(title, palette.strong()));
        for binding in TABLE.iter().filter(|binding| binding.place == place) {
            let gap = " ".repeat(label_width - width(binding.label) + 2);
            lines.push(Line::from(vec![
                Span::styled(format!("  {}", binding.label), palette.strong()),
                Span::raw(format!("{gap}{}", binding.long)),
            ]));
        }
    }
    lines
}

/// All that is known of a job.
fn in_full(job: &JobView, palette: Palette) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    let mut row = |name: &'static str, value: String| {
        lines.push(Line::from(vec![Span::styled(format!("{name}: "), palette.strong()), Span::raw(value)]));
    };
    if let Some(input) = &job.input {
        row("input", input.to_string());
    }
    row("state", format!("{}, {} done, stage {}", job.state.name(), percent(job.progress), escaped(&job.stage)));
    row("tries", job.attempts.to_string());
    if let Some(worker) = &job.worker {
        row("worker", escaped(worker));
    }
    for (stage, seconds) in &job.timings {
        row("time", format!("{} {seconds:.1} s", escaped(stage)));
    }
    let detail = &job.detail;
    if let Some(seconds) = detail.media_seconds {
        row("length", format!("{seconds:.1} s"));
    }
    if let Some(language) = &detail.language {
        row("language", escaped(language));
    }
    if let Some(reason) = &job.skipped_reason {
        row("skipped", escaped(reason));
    }
    for output in &job.outputs {
        row("output", format!("{} ({}, {} bytes)", output.path, escaped(&output.kind), output.bytes));
    }
    for note in &detail.notes {
        row("note", escaped(note));
    }
    if let Some(failure) = &job.failure {
        lines.extend(super::failures::told(format!("failure: {}", failure.kind), failure, palette));
    }
    lines
}

fn question(frame: &mut Frame<'_>, body: Rect, target: Target, yes: bool, model: &Model, palette: Palette) {
    let what = match target {
        Target::Batch(id) => match model.snapshot.batches.get(&id) {
            Some(batch) => format!("Cancel batch {id} ({})?", super::batch_name(batch)),
            None => format!("Cancel batch {id}?"),
        },
        Target::Job(id) => format!("Cancel job {id}?"),
    };
    let mark = |marked: bool| if marked { palette.chosen(true) } else { palette.plain() };
    let answers = Line::from(vec![Span::styled(" No ", mark(!yes)), Span::raw("  "), Span::styled(" Yes ", mark(yes))]);
    let text_width = u16::try_from(width(&what)).unwrap_or(u16::MAX).saturating_add(4).max(51);
    let area = body.centered(
        ratatui::layout::Constraint::Length(text_width.min(body.width)),
        ratatui::layout::Constraint::Length(5.min(body.height)),
    );
    frame.render_widget(Clear, area);
    let cells = area.width.saturating_sub(2);
    let mut lines = vec![Line::raw(super::style::clipped(&what, cells)), answers];
    if area.height > 4 {
        lines.insert(1, Line::styled("Its work stops for good; finished results stay.", palette.faint()));
    }
    // Where there is no room for a frame, the answers count more than it.
    let question = Paragraph::new(lines);
    let question = if area.height >= 4 { question.block(Block::bordered()) } else { question };
    frame.render_widget(question, area);
}
