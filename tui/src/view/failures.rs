//! Failures by cause: how often, what happened, what to do; and the jobs of a cause where they are wanted.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use spindle_shared::job::JobView;

use super::Hits;
use super::style::{clipped, clipped_middle, shown, wrapped};
use super::table::{self, Column, Kind, Rows, first_row};
use crate::causes::{Cause, Row, rows};
use crate::model::{Model, View, file_name};

pub fn draw(frame: &mut Frame<'_>, body: Rect, model: &Model, hits: &mut Hits) {
    let look = model.look;
    let causes = &model.failures.value;
    let listed = rows(causes);
    let failed: usize = causes.iter().map(|cause| cause.jobs.len()).sum();
    let mut title = look.fill("failures · jobs: {} · causes: {}", &[&failed, &causes.len()]);
    if let Some(age) = model.age(&model.failures).filter(|age| *age >= 10) {
        title = format!("{title} · {}", look.fill("{} s old", &[&age]));
    }
    if listed.is_empty() {
        let block = super::panel(&title, true, body, model);
        let text = match model.failures.at {
            None if model.is_stale() => "",
            None => "…",
            Some(_) => look.t("no failures"),
        };
        frame.render_widget(Paragraph::new(format!(" {text}")).block(block), body);
        return;
    }
    let least = (body.height / 3).max(7).min(body.height);
    let needed = u16::try_from(listed.len()).unwrap_or(u16::MAX).saturating_add(3).max(5);
    let upper = if body.height < 13 { body.height } else { needed.min(body.height - least) };
    let [list, lower] = Layout::vertical([Constraint::Length(upper), Constraint::Fill(1)]).areas(body);
    let at = model.rows[View::Failures as usize].min(listed.len() - 1);
    let count = super::rows(list);
    let first = first_row(Some(at), count, listed.len());
    let seen: Vec<Row> = listed.iter().copied().skip(first).take(usize::from(count)).collect();
    let cells = |of_cause: &dyn Fn(&Cause) -> (String, Style), of_job: &dyn Fn(&Cause, usize) -> (String, Style)| {
        seen.iter()
            .map(|row| match *row {
                Row::Cause(at) => of_cause(&causes[at]),
                Row::Job(at, job) => of_job(&causes[at], job),
            })
            .collect::<Vec<_>>()
    };
    let none = || (String::new(), Style::new());
    let columns = vec![
        Column::new(
            "jobs",
            0,
            6,
            cells(
                &|cause| (format!("{} {}", if cause.open { "↓" } else { "▸" }, cause.jobs.len()), look.strong()),
                &|_, _| none(),
            ),
        )
        .right(),
        Column::new(
            "kind",
            0,
            13,
            cells(&|cause| (look.word(cause.kind.name()), look.bad()), &|cause, job| {
                (cause.jobs[job].id.to_string(), Style::new())
            }),
        ),
        Column::new(
            "what happened",
            0,
            30,
            cells(&|cause| (shown(&brief(&cause.failure.message, cause.jobs.first())), Style::new()), &|cause, job| {
                (shown(&file_name(&cause.jobs[job])), Style::new())
            }),
        )
        .fills(Kind::Text),
        Column::new(
            "stage",
            2,
            10,
            cells(
                &|cause| (cause.jobs.first().map(|job| shown(&job.stage)).unwrap_or_default(), Style::new()),
                &|cause, job| (shown(&cause.jobs[job].stage), Style::new()),
            ),
        ),
        Column::new(
            "last",
            3,
            11,
            cells(
                &|cause| {
                    let last = cause.jobs.iter().filter_map(|job| job.finished_at).max();
                    (last.map(|at| model.clock(at)).unwrap_or_default(), look.faint())
                },
                &|cause, job| (cause.jobs[job].finished_at.map(|at| model.clock(at)).unwrap_or_default(), look.faint()),
            ),
        ),
    ];
    let block = super::panel(&title, true, list, model);
    let shown_rows = Rows { first, chosen: Some(at - first), heads: list.height > 3, focused: true };
    table::draw(frame, list, columns, &shown_rows, block, look, hits);
    if lower.height > 0 {
        told(frame, lower, listed[at], model);
    }
}

/// The message with the input called by its name: its folder says nothing of what happened, and takes the room.
pub fn brief(message: &str, job: Option<&JobView>) -> String {
    let input = job.and_then(|job| job.input.as_ref()).map(ToString::to_string);
    match (job, input) {
        (Some(job), Some(input)) if !input.is_empty() => message.replace(&input, &file_name(job)),
        _ => message.to_owned(),
    }
}

/// The jobs of a cause: each with its file where there is room for all of them, else their numbers in a line.
fn others(cause: &Cause, rows: usize, cells: u16, model: &Model) -> Vec<Line<'static>> {
    let look = model.look;
    if cause.jobs.len() < 2 {
        return Vec::new();
    }
    if rows <= cause.jobs.len() {
        let ids: Vec<_> = cause.jobs.iter().map(|job| job.id.to_string()).collect();
        let ids = look.fill("jobs: {}", &[&ids.join(" ")]);
        return vec![Line::styled(format!(" {}", clipped(&ids, cells)), look.faint())];
    }
    let ids: Vec<_> = cause.jobs.iter().map(|job| job.id.to_string()).collect();
    let widest = ids.iter().map(|id| super::width(id)).max().unwrap_or(0);
    let named = cause.jobs.iter().zip(&ids).map(|(job, id)| {
        let room = cells.saturating_sub(widest as u16 + 4);
        Line::styled(format!("   {id:>widest$} {}", clipped_middle(&shown(&file_name(job)), room)), look.faint())
    });
    let head = look.fill("jobs: {}", &[&cause.jobs.len()]);
    [Line::styled(format!(" {head}"), look.faint())].into_iter().chain(named).collect()
}

/// All of the chosen cause.
fn told(frame: &mut Frame<'_>, area: Rect, row: Row, model: &Model) {
    let look = model.look;
    let causes = &model.failures.value;
    let (cause, job) = match row {
        Row::Cause(at) => (&causes[at], causes[at].jobs.first()),
        Row::Job(at, job) => (&causes[at], causes[at].jobs.get(job)),
    };
    let failure = job.and_then(|job| job.failure.as_ref()).unwrap_or(&cause.failure);
    let cells = area.width.saturating_sub(2);
    let mut lines: Vec<Line<'static>> = Vec::new();
    for line in wrapped(&shown(&failure.message), cells, 4) {
        lines.push(Line::styled(format!(" {line}"), look.bad()));
    }
    for (nth, line) in wrapped(&shown(&failure.advice), cells.saturating_sub(2), 3).into_iter().enumerate() {
        lines.push(Line::from(format!(" {} {line}", if nth == 0 { "→" } else { " " })));
    }
    if let Some(job) = job {
        let input = job.input.as_ref().map(|input| shown(&input.to_string())).unwrap_or_default();
        let example = look.fill("for example {} (tries: {}): ", &[&job.id, &job.attempts]);
        let room = cells.saturating_sub(super::width(&example) as u16);
        lines.push(Line::styled(format!(" {example}{}", clipped_middle(&input, room)), look.plain()));
    }
    let rows = usize::from(area.height.saturating_sub(1)).saturating_sub(lines.len());
    lines.extend(others(cause, rows, cells, model));
    let title = look.word(cause.kind.name());
    frame.render_widget(Paragraph::new(lines).block(super::panel(&title, false, area, model)), area);
}
