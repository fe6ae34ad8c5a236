//! One batch: what it is, its jobs with the stages they have gone through, and all there is to say of the chosen job.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;
use spindle_shared::batch::BatchView;
use spindle_shared::job::{JobState, JobView};

use super::figures::{UNKNOWN, bar, eta, percent, span};
use super::style::{clipped, shown};
use super::table::{self, Column, Kind, Rows, first_row};
use super::{Hits, batch_name, detail};
use crate::model::{Model, View, file_name};

/// Room from which on the jobs and what there is to say of one stand side by side.
const WIDE: u16 = 150;

pub fn draw_view(frame: &mut Frame<'_>, body: Rect, model: &Model, hits: &mut Hits) {
    let Some(batch) = model.chosen_batch() else {
        let block = super::panel(model.look.t("batch"), true, body, model);
        let text = if model.is_stale() { "" } else { model.look.t("no batch yet: press n to make one") };
        frame.render_widget(Paragraph::new(text).block(block), body);
        return;
    };
    match body.height {
        0..8 => draw(frame, body, model, hits),
        8..13 => {
            let [top, lower] = Layout::vertical([Constraint::Length(2), Constraint::Fill(1)]).areas(body);
            head(frame, top, batch, model);
            draw(frame, lower, model, hits);
        }
        _ if body.width >= WIDE => {
            let [top, lower] = Layout::vertical([Constraint::Length(3), Constraint::Fill(1)]).areas(body);
            let [left, right] = Layout::horizontal([Constraint::Fill(5), Constraint::Fill(2)]).spacing(1).areas(lower);
            head(frame, top, batch, model);
            draw(frame, left, model, hits);
            detail::draw(frame, right, model);
        }
        _ => {
            // The jobs take what they need, and leave the rest to say something of one of them.
            let needed = u16::try_from(model.jobs().len()).unwrap_or(u16::MAX).saturating_add(2).max(4);
            let told = ((body.height - 3) * 3 / 8).max(7);
            let listed = needed.min(body.height - 3 - told);
            let [top, middle, lower] =
                Layout::vertical([Constraint::Length(3), Constraint::Length(listed), Constraint::Fill(1)]).areas(body);
            head(frame, top, batch, model);
            draw(frame, middle, model, hits);
            detail::draw(frame, lower, model);
        }
    }
}

/// What the batch is, and how far it has come.
fn head(frame: &mut Frame<'_>, area: Rect, batch: &BatchView, model: &Model) {
    let look = model.look;
    let counts = &batch.counts;
    let mut facts = vec![look.word(batch.state.name()), percent(batch.progress)];
    facts.push(format!("{}/{}", counts.ended(), counts.total()));
    if counts.failed > 0 {
        facts.push(look.fill("{} failed", &[&counts.failed]));
    }
    if !batch.state.is_terminal() {
        facts.push(look.fill("left {}", &[&eta(batch.eta)]));
    }
    if let Some(gather) = batch.gather {
        facts.push(look.fill("gather: {}", &[&look.word(gather.name())]));
    }
    let title = format!("{} {} · {}", look.t("batch"), batch.id, batch_name(batch));
    let block = super::panel(&title, false, area, model);
    let cells = usize::from((area.width / 4).clamp(6, 40));
    let mut first = vec![
        ratatui::text::Span::styled(bar(batch.progress, cells), look.batch(batch.state)),
        ratatui::text::Span::raw("  "),
    ];
    let room = area.width.saturating_sub(cells as u16 + 2);
    first.push(ratatui::text::Span::styled(clipped(&facts.join(" · "), room), look.batch(batch.state)));
    let lines = vec![
        Line::from(first),
        Line::styled(clipped(&detail::facts(batch, model).join(" · "), area.width), look.plain()),
    ];
    frame.render_widget(Paragraph::new(lines).block(block), area);
}

pub fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, hits: &mut Hits) {
    let look = model.look;
    let focused = model.view == View::Batch;
    let jobs = model.jobs();
    let block = super::panel(&title(jobs.len(), model), focused, area, model);
    if jobs.is_empty() {
        let text = match model.batch {
            Some(_) if !model.arrived && !model.is_stale() => "…",
            Some(_) if model.arrived && !model.job_filter.is_empty() => {
                look.t("no job here has these words; Esc shows all again")
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
    let stages = stages(&seen);
    let plain =
        |text: &dyn Fn(&JobView) -> String| seen.iter().map(|job| (text(job), Style::new())).collect::<Vec<_>>();
    let in_state =
        |text: &dyn Fn(&JobView) -> String| seen.iter().map(|job| (text(job), look.job(job.state))).collect::<Vec<_>>();
    let cells = if area.width < 100 { 6 } else { 12 };
    let mut columns = vec![
        Column::new("id", 0, 5, plain(&|job| job.id.to_string())).right(),
        Column::new("input", 0, 24, plain(&|job| shown(&file_name(job)))).fills(Kind::FileName),
        Column::new("state", 0, 9, in_state(&|job| look.word(job.state.name()))),
        Column::new("stage", 3, 10, plain(&|job| shown(&job.stage))),
        Column::new("stages", 5, stages.len() as u16, in_state(&|job| strip(job, &stages))),
        Column::new("", 6, cells, in_state(&|job| bar(job.progress, usize::from(cells)))),
        Column::new("done", 1, 4, plain(&|job| percent(job.progress))).right(),
        Column::new("time", 2, 11, plain(&|job| time(job, model))).right(),
        Column::new("length", 7, 11, plain(&|job| job.detail.media_seconds.map_or(UNKNOWN.to_owned(), span))).right(),
        Column::new("tries", 4, 5, plain(&|job| job.attempts.to_string())).right(),
        Column::new("worker", 8, 10, plain(&|job| job.worker.as_deref().map(shown).unwrap_or_default())),
    ];
    if !model.marked_jobs.is_empty() {
        let mark = |job: &JobView| if model.marked_jobs.contains(&job.id) { "■".to_owned() } else { String::new() };
        let marks = seen.iter().map(|job| (mark(job), look.held())).collect();
        columns.insert(0, Column::new("", 0, 1, marks));
    }
    let rows = Rows { first, chosen: at.map(|at| at - first), heads: area.height > 3, focused };
    table::draw(frame, area, columns, &rows, block, look, hits);
}

/// The stages that these jobs go through, in their order: as the one that has gone furthest tells.
fn stages(jobs: &[&JobView]) -> Vec<String> {
    let furthest = jobs.iter().max_by_key(|job| job.timings.len());
    let mut stages: Vec<String> =
        furthest.map(|job| job.timings.iter().map(|(stage, _)| stage.clone()).collect()).unwrap_or_default();
    for job in jobs {
        if !stages.contains(&job.stage) && !job.stage.is_empty() {
            stages.push(job.stage.clone());
        }
    }
    stages.truncate(STAGES_MAX);
    stages
}

const STAGES_MAX: usize = 12;

/// A mark for each stage: done, at work, failed, still to come.
fn strip(job: &JobView, stages: &[String]) -> String {
    let done = job.state == JobState::Completed;
    let here = stages.iter().position(|stage| *stage == job.stage);
    let mark = |(nth, stage): (usize, &String)| {
        let timed = job.timings.iter().any(|(known, _)| known == stage);
        match here {
            _ if done => '●',
            Some(here) if nth == here && job.state == JobState::Failed => '×',
            Some(here) if nth == here && job.state == JobState::Running => '◐',
            Some(here) if nth < here || timed => '●',
            _ => '○',
        }
    };
    stages.iter().enumerate().map(mark).collect()
}

fn title(shown: usize, model: &Model) -> String {
    let look = model.look;
    let Some(batch) = model.chosen_batch() else { return look.t("jobs").to_owned() };
    let total = batch.counts.total() as usize;
    let name = look.fill("jobs of {}", &[&batch.id]);
    let mut title = super::title_of_list(&name, shown, total, &model.job_filter, look);
    if !model.marked_jobs.is_empty() {
        title = format!("{title} · {}", look.fill("{} marked", &[&model.marked_jobs.len()]));
    }
    match model.window() {
        Some(window) => {
            format!("{title} · {}", look.fill("at work, failed, and {}–{}", &[window.start(), window.end()]))
        }
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
