//! What lies over the views: the help, one job in full, a text, the question before what can't be undone, the form of a new batch.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Block, Clear, Paragraph};
use spindle_shared::id::Target;
use spindle_shared::job::JobView;
use spindle_shared::wire::request::{Request, Selection};

use super::Hits;
use super::figures::{percent, span};
use super::style::{clipped, shown, width, wrapped};
use crate::keys::{Place, TABLE};
use crate::look::Look;
use crate::model::{Cover, Model, View};
use crate::spent::price;

pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, hits: &mut Hits) {
    let look = model.look;
    match &model.cover {
        None => {}
        Some(Cover::Help { scroll }) => page(frame, area, look.t("keys"), |cells| help(cells, model), *scroll, look),
        Some(Cover::Job { job, scroll }) => {
            let now = model.known_jobs().find(|known| known.id == job.id).unwrap_or(job);
            let title = look.fill("job {}", &[&job.id]);
            page(frame, area, &title, |cells| in_full(now, model, cells), *scroll, look);
        }
        Some(Cover::Page { title, text, scroll }) => text_page(frame, area, title, text, *scroll, model),
        Some(Cover::Zoom { scroll }) => super::results::zoom(frame, area, model, *scroll),
        Some(Cover::Question { request, yes }) => question(frame, area, request, *yes, model),
        Some(Cover::Archive { batch, path }) => {
            let width = area.width.min(70);
            let area = area.centered(Constraint::Length(width), Constraint::Length(3.min(area.height)));
            frame.render_widget(Clear, area);
            let title = look.fill(" export batch {} into ", &[batch]);
            let block = Block::bordered().title(Span::styled(title, look.title()));
            let inside = block.inner(area);
            frame.render_widget(block, area);
            super::write_line(frame, if area.height > 2 { inside } else { area }, path, look);
        }
        Some(Cover::Form(form)) => super::form::draw(frame, area, form, model, hits),
    }
}

/// A text as it is, in lines.
pub fn text_page(frame: &mut Frame<'_>, area: Rect, title: &str, text: &str, scroll: u16, model: &Model) {
    let lines = |cells: u16| {
        let tabs = |line: &str| shown(&line.replace('\t', "    "));
        let lines = text.lines().take(TEXT_LINES_MAX).flat_map(|line| wrapped(&tabs(line), cells, usize::MAX));
        lines.map(Line::from).collect()
    };
    page(
        frame,
        area,
        &super::style::clipped_middle(&shown(title), area.width.saturating_sub(16)),
        lines,
        scroll,
        model.look,
    );
}

const TEXT_LINES_MAX: usize = 9_000;

/// Lines that may be more than there is room for.
fn page(
    frame: &mut Frame<'_>,
    area: Rect,
    title: &str,
    lines: impl Fn(u16) -> Vec<Line<'static>>,
    scroll: u16,
    look: Look,
) {
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
    let mut block = Block::bordered()
        .title(Span::styled(format!(" {title} "), look.title()))
        .padding(ratatui::widgets::Padding::horizontal(1));
    if first > 0 {
        block = block.title_top(Line::from(look.t(" ↑ more ")).right_aligned());
    }
    if first < last {
        block = block.title_bottom(Line::from(look.t(" ↓ more ")).right_aligned());
    }
    frame.render_widget(text.block(block), area);
}

fn help(cells: u16, model: &Model) -> Vec<Line<'static>> {
    let look = model.look;
    let label_width = TABLE.iter().map(|binding| width(super::key_name(binding.label, look))).max().unwrap_or(0);
    let mut lines = Vec::new();
    // What is of use where one is comes first.
    let here = Place::In(model.view);
    let everywhere = |places: &[Place]| View::ALL.iter().all(|view| places.contains(&Place::In(*view)));
    type Fits<'f> = Box<dyn Fn(&[Place]) -> bool + 'f>;
    let mut parts: Vec<(String, Fits<'_>)> = vec![
        (look.t(model.view.name()).to_owned(), Box::new(move |places| places.contains(&here) && !everywhere(places))),
        (look.t("everywhere").to_owned(), Box::new(everywhere)),
    ];
    for view in View::ALL.into_iter().filter(|view| *view != model.view) {
        let of_view = move |places: &[Place]| places.contains(&Place::In(view)) && !everywhere(places);
        parts.push((look.t(view.name()).to_owned(), Box::new(of_view)));
    }
    for (place, title) in [
        (Place::Form, "the form of a new batch"),
        (Place::Files, "choosing files"),
        (Place::Line, "writing a value"),
        (Place::Find, "writing what to find"),
        (Place::Page, "pages like this one"),
        (Place::Zoom, "a result in full"),
        (Place::Plan, "the preview"),
        (Place::Question, "questions"),
    ] {
        parts.push((look.t(title).to_owned(), Box::new(move |places| places.contains(&place) && !everywhere(places))));
    }
    let mut told: Vec<&str> = Vec::new();
    for (title, fits) in parts {
        let bindings: Vec<_> = TABLE.iter().filter(|binding| fits(binding.places)).collect();
        if bindings.is_empty() {
            continue;
        }
        // What was said of pages isn't said again of each kind of them.
        let bindings: Vec<_> = bindings.into_iter().filter(|binding| !told.contains(&binding.long)).collect();
        if bindings.is_empty() {
            continue;
        }
        lines.push(Line::styled(title, look.title()));
        for binding in bindings {
            if binding.places.contains(&Place::Page) {
                told.push(binding.long);
            }
            let label = super::key_name(binding.label, look);
            let indent = label_width + 3;
            let room = cells.saturating_sub(indent as u16).max(10);
            for (nth, text) in wrapped(look.t(binding.long), room, usize::MAX).into_iter().enumerate() {
                let label = if nth == 0 { label } else { "" };
                let gap = " ".repeat(label_width - width(label) + 2);
                lines.push(Line::from(vec![
                    Span::styled(format!(" {label}"), look.strong()),
                    Span::raw(format!("{gap}{text}")),
                ]));
            }
        }
    }
    lines
}

/// All that is known of a job.
fn in_full(job: &JobView, model: &Model, cells: u16) -> Vec<Line<'static>> {
    let look = model.look;
    let mut lines = Vec::new();
    let mut row = |name: &str, value: &str| {
        let text = wrapped(&format!("{name}: {value}"), cells, usize::MAX);
        lines.extend(text.into_iter().map(Line::from));
    };
    if let Some(input) = &job.input {
        row(look.t("input"), &shown(&input.to_string()));
    }
    let (state, done) = (look.word(job.state.name()), percent(job.progress));
    row(look.t("state"), &look.fill("{}, {} done, at stage {}", &[&state, &done, &shown(&job.stage)]));
    row(look.t("tries"), &job.attempts.to_string());
    if let Some(worker) = &job.worker {
        row(look.t("worker"), &shown(worker));
    }
    let time = super::jobs::time(job, model);
    if !time.is_empty() {
        row(look.t("time"), &time);
    }
    for (stage, seconds) in &job.timings {
        row(&format!("  {}", shown(stage)), &span(*seconds));
    }
    let detail = &job.detail;
    if let Some(seconds) = detail.media_seconds {
        row(look.t("length"), &span(seconds));
    }
    if let Some(language) = &detail.language {
        let sure = detail.language_probability.map(|share| look.fill(" ({} sure)", &[&percent(share as f32)]));
        row(look.t("language"), &format!("{}{}", shown(language), sure.unwrap_or_default()));
    }
    if let Some(bytes) = job.peak_memory_bytes {
        row(look.t("most memory"), &super::figures::bytes(bytes as f64));
    }
    for (name, figure) in &detail.figures {
        let value = match figure {
            spindle_shared::job::Figure::Number(number) if name == "cost" => price(*number),
            spindle_shared::job::Figure::Number(number) => format!("{}", (number * 100.0).round() / 100.0),
            spindle_shared::job::Figure::Text(text) => shown(text),
            spindle_shared::job::Figure::Flag(flag) => look.t(if *flag { "yes" } else { "no" }).to_owned(),
        };
        row(&shown(&name.replace('_', " ")), &value);
    }
    if let Some(reason) = &job.skipped_reason {
        row(look.t("skipped"), &shown(reason));
    }
    for output in &job.outputs {
        let path = shown(&output.path.to_string());
        row(
            look.t("output"),
            &format!("{path} ({}, {})", shown(&output.kind), super::figures::bytes(output.bytes as f64)),
        );
    }
    for note in &detail.notes {
        row(look.t("note"), &shown(note));
    }
    if let Some(failure) = &job.failure {
        let cause = look.fill("failure: {}", &[&look.word(failure.kind.name())]);
        lines.extend(super::detail::told(&cause, &failure.message, failure, cells, usize::MAX, look));
    }
    lines
}

fn question(frame: &mut Frame<'_>, area: Rect, request: &Request, yes: bool, model: &Model) {
    let look = model.look;
    let (ask, what, consequence) = match request {
        Request::Cancel(what) => ("Cancel {}?", what, "Their work stops for good; finished results stay."),
        Request::Remove { what, .. } => {
            ("Forget {}?", what, "They leave the lists and the history; published files stay.")
        }
        _ => return,
    };
    let targets = match what {
        Selection::Targets(targets) => targets.as_slice(),
        _ => &[],
    };
    let batch_of = |target: &Target| model.snapshot.batches.get(&target.batch());
    let (subject, consequence) = match targets {
        [Target::Batch(id)] => match batch_of(&Target::Batch(*id)) {
            Some(batch) if matches!(request, Request::Cancel(_)) => {
                let open = batch.counts.total() - batch.counts.ended();
                let text = look.fill("{} of its jobs stop for good; finished results stay.", &[&open]);
                (look.fill("batch {} ({})", &[id, &super::batch_name(batch)]), text)
            }
            Some(batch) => {
                (look.fill("batch {} ({})", &[id, &super::batch_name(batch)]), look.t(consequence).to_owned())
            }
            None => (look.fill("batch {}", &[id]), look.t(consequence).to_owned()),
        },
        [one] => (one.to_string(), look.t(consequence).to_owned()),
        [Target::Batch(_), ..] => (look.fill("{} batches", &[&targets.len()]), look.t(consequence).to_owned()),
        _ => (look.fill("{} jobs", &[&targets.len()]), look.t(consequence).to_owned()),
    };
    let what = look.fill(ask, &[&subject]);
    let mark = |marked: bool| if marked { look.chosen(true) } else { look.plain() };
    // Brackets mark the answer where nothing is shown reversed.
    let answer =
        |word: &str, marked| Span::styled(if marked { format!("[{word}]") } else { format!(" {word} ") }, mark(marked));
    let answers = Line::from(vec![answer(look.t("No"), !yes), Span::raw("  "), answer(look.t("Yes"), yes)]);
    let text_width = width(&what).max(width(&consequence)).max(40) + 4;
    let text_width = u16::try_from(text_width).unwrap_or(u16::MAX).min(area.width);
    let area = area.centered(Constraint::Length(text_width), Constraint::Length(5.min(area.height)));
    frame.render_widget(Clear, area);
    let cells = area.width.saturating_sub(4);
    let mut lines = vec![Line::from(clipped(&what, cells)), answers];
    if area.height > 4 {
        lines.insert(1, Line::styled(clipped(&consequence, cells), look.faint()));
    }
    let text = Paragraph::new(lines);
    let block = Block::bordered().padding(ratatui::widgets::Padding::horizontal(1));
    frame.render_widget(if area.height > 3 { text.block(block) } else { text }, area);
}
