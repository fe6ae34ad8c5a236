//! What there is to say of what is chosen: of a batch its failures by cause, with advice; of a job its own.

use std::collections::HashMap;

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use spindle_shared::batch::BatchView;
use spindle_shared::failure::Failure;
use spindle_shared::job::JobView;

use super::style::{clipped, clipped_middle, shown, wrapped};
use super::{batches, figures};
use crate::look::Look;
use crate::model::{Model, View, file_name};
use crate::spent::Spent;

pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let look = model.look;
    let (title, lines) = match (model.view, model.chosen_batch(), model.chosen_job()) {
        (View::Batch, _, Some(job)) => (look.fill("job {}", &[&job.id]), of_job(job, model, area)),
        (_, Some(batch), _) => of_batch(batch, model, area),
        _ => (look.t("failures").to_owned(), Vec::new()),
    };
    frame.render_widget(Paragraph::new(lines).block(super::panel(&title, false, area, model)), area);
}

/// Rows that all there is to say would fill, its title among them.
pub fn needed(area: Rect, model: &Model) -> u16 {
    let lines = model.chosen_batch().map_or(0, |batch| of_batch(batch, model, area).1.len());
    u16::try_from(lines).unwrap_or(u16::MAX).saturating_add(1)
}

/// Failures with one cause.
struct Cause<'m> {
    count: usize,
    first: &'m JobView,
    failure: &'m Failure,
}

fn of_batch(batch: &BatchView, model: &Model, area: Rect) -> (String, Vec<Line<'static>>) {
    let look = model.look;
    let causes = causes(model);
    let known: usize = causes.iter().map(|cause| cause.count).sum();
    let failed = batch.counts.failed as usize;
    let title = match failed {
        0 => look.fill("batch {}", &[&batch.id]),
        _ if known < failed && model.arrived => {
            look.fill("batch {} · {} failed, causes of {}", &[&batch.id, &failed, &known])
        }
        _ => look.fill("batch {} · {} failed", &[&batch.id, &failed]),
    };
    let rows = usize::from(if area.height < 3 { area.height } else { area.height - 1 });
    let facts = in_lines(&facts(batch, model), area.width, if rows < 8 { 1 } else { 3 });
    let mut lines: Vec<_> = facts.into_iter().map(Line::from).collect();
    if failed == 0 {
        lines.push(Line::styled(look.t("no failures"), look.faint()));
    }
    // With room for it, all that is told of a cause; in little room a line of each. None is begun that has no room.
    let each = (rows.saturating_sub(lines.len()) / causes.len().max(1)).clamp(2, 9);
    for (nth, cause) in causes.iter().enumerate() {
        let (count, kind, first) = (cause.count, cause.failure.kind, cause.first);
        let kind = look.word(kind.name());
        let named = if count > 1 {
            look.fill("{} × {} (first {})", &[&count, &kind, &first.id])
        } else {
            format!("{kind} ({})", first.id)
        };
        let message = super::failures::brief(&cause.failure.message, Some(first));
        let told = told(&named, &message, cause.failure, area.width, each / 2, look);
        let last = nth + 1 == causes.len();
        if lines.len() + told.len() + usize::from(!last) > rows {
            let more = look.fill("{} more causes: 4 shows them all", &[&(causes.len() - nth)]);
            lines.push(Line::styled(clipped(&more, area.width), look.faint()));
            break;
        }
        lines.extend(told);
    }
    (title, lines)
}

fn causes(model: &Model) -> Vec<Cause<'_>> {
    let mut causes: Vec<Cause<'_>> = Vec::new();
    let mut known: HashMap<_, usize> = HashMap::new();
    for job in model.known_jobs().filter(|job| job.state.is_terminal()) {
        let Some(failure) = &job.failure else { continue };
        let input = job.input.as_ref().map(ToString::to_string);
        let at = *known.entry((failure.kind, failure.shape(input.as_deref()))).or_insert_with(|| {
            causes.push(Cause { count: 0, first: job, failure });
            causes.len() - 1
        });
        causes[at].count += 1;
    }
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
    causes
}

/// What a batch is, in a line.
pub fn facts(batch: &BatchView, model: &Model) -> Vec<String> {
    let look = model.look;
    let mut facts = vec![shown(&batch.recipe)];
    if !batch.state.is_terminal() {
        facts.extend(batch.stage.as_deref().map(shown));
        facts.push(look.fill("{} at once", &[&batch.parallel]));
        facts.push(look.fill("priority {}", &[&batches::priority(batch.priority, look)]));
    }
    let time = batches::time(batch, model);
    if !time.is_empty() {
        facts.push(look.fill(if batch.state.is_terminal() { "took {}" } else { "for {}" }, &[&time]));
    }
    let counts = &batch.counts;
    for (count, name) in [(counts.retrying, "retrying"), (counts.skipped, "skipped"), (counts.cancelled, "cancelled")] {
        if count > 0 {
            facts.push(format!("{count} {}", look.word(name)));
        }
    }
    facts.extend(model.spent().map(|spent| spent.told(look)));
    facts.extend(batch.tags.iter().map(|(key, value)| shown(&format!("{key}={value}"))));
    facts
}

fn of_job(job: &JobView, model: &Model, area: Rect) -> Vec<Line<'static>> {
    let (look, cells) = (model.look, area.width);
    let path = job.input.as_ref().map_or_else(|| file_name(job), ToString::to_string);
    let mut facts = vec![look.word(job.state.name()), shown(&job.stage), figures::percent(job.progress)];
    let time = super::jobs::time(job, model);
    if !time.is_empty() {
        facts.push(time);
    }
    if job.attempts > 1 {
        facts.push(look.fill("{} tries", &[&job.attempts]));
    }
    facts.extend(job.worker.as_deref().map(|worker| look.fill("worker {}", &[&shown(worker)])));
    facts.extend(job.detail.media_seconds.map(|seconds| look.fill("{} long", &[&figures::span(seconds)])));
    facts.extend(job.detail.language.as_deref().map(|language| look.fill("language {}", &[&shown(language)])));
    facts.extend(Spent::of([job]).map(|spent| spent.told(look)));
    let mut lines = vec![Line::styled(clipped_middle(&shown(&path), cells), look.plain())];
    lines.extend(in_lines(&facts, cells, 2).into_iter().map(|line| Line::styled(line, look.plain())));
    let rows = usize::from(if area.height < 3 { area.height } else { area.height - 1 });
    let why: Vec<Line<'static>> = match (&job.failure, &job.skipped_reason) {
        (Some(failure), _) => {
            let message = super::failures::brief(&failure.message, Some(job));
            told(&look.word(failure.kind.name()), &message, failure, cells, 3, look)
        }
        (None, Some(reason)) => {
            wrapped(&look.fill("skipped: {}", &[&shown(reason)]), cells, 2).into_iter().map(Line::from).collect()
        }
        (None, None) => Vec::new(),
    };
    // What to do matters more than how long each stage took.
    let timings: Vec<_> =
        job.timings.iter().map(|(stage, seconds)| format!("{} {}", shown(stage), figures::span(*seconds))).collect();
    let room = rows.saturating_sub(lines.len() + why.len()).min(3);
    lines.extend(in_lines(&timings, cells, room).into_iter().map(|line| Line::styled(line, look.faint())));
    lines.extend(why);
    lines
}

/// Facts side by side, none of them broken, in so many lines at most.
fn in_lines(facts: &[String], cells: u16, most: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for fact in facts {
        match lines.last_mut() {
            Some(line) if super::width(line) + 3 + super::width(fact) <= usize::from(cells) => {
                line.push_str(" · ");
                line.push_str(fact);
            }
            _ => lines.push(clipped(fact, cells)),
        }
    }
    lines.truncate(most);
    lines
}

/// What happened, and what to do, in so many lines each.
pub fn told(cause: &str, message: &str, failure: &Failure, cells: u16, most: usize, look: Look) -> Vec<Line<'static>> {
    let message = wrapped(&format!("{cause}: {}", shown(message)), cells, most);
    let mut lines: Vec<_> = message.into_iter().map(|line| Line::styled(line, look.bad())).collect();
    if !failure.advice.is_empty() {
        let advice = wrapped(&shown(&failure.advice), cells.saturating_sub(2), most);
        let begins = |nth| if nth == 0 { "→ " } else { "  " };
        lines.extend(
            advice.into_iter().enumerate().map(|(nth, line)| Line::from(vec![Span::raw(begins(nth)), Span::raw(line)])),
        );
    }
    lines
}
