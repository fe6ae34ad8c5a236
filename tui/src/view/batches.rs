//! The batches: one row each, what is at work first; and below them what there is to say of the chosen one.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::widgets::Paragraph;
use spindle_shared::batch::{BatchView, Priority};

use super::figures::{bar, eta, percent, span};
use super::style::shown;
use super::table::{self, Column, Kind, Rows, first_row};
use super::{Hits, detail, jobs};
use crate::look::Look;
use crate::model::{Model, Sort, View, course};

pub fn draw_view(frame: &mut Frame<'_>, body: Rect, model: &Model, hits: &mut Hits) {
    if body.height < 12 {
        return draw(frame, body, model, hits);
    }
    let (list, beside) = if body.width >= WIDE {
        let [left, right] = Layout::horizontal([Constraint::Fill(5), Constraint::Fill(2)]).spacing(1).areas(body);
        (left, Some(right))
    } else {
        (body, None)
    };
    // The batches take what they need, and leave the rest to say something of one of them.
    let needed = u16::try_from(model.batches().len()).unwrap_or(u16::MAX).saturating_add(3);
    let least = (body.height / 3).max(6);
    let upper = needed.clamp(4, body.height - least);
    let [upper, lower] = Layout::vertical([Constraint::Length(upper), Constraint::Fill(1)]).areas(list);
    draw(frame, upper, model, hits);
    let lower = match beside {
        Some(beside) => {
            detail::draw(frame, beside, model);
            lower
        }
        None if lower.height < ROOMY => return detail::draw(frame, lower, model),
        None => {
            let told = detail::needed(lower, model).clamp(4, lower.height / 2);
            let [upper, lower] = Layout::vertical([Constraint::Length(told), Constraint::Fill(1)]).areas(lower);
            detail::draw(frame, upper, model);
            lower
        }
    };
    if model.chosen_batch().is_some() {
        jobs::draw(frame, lower, model, &mut Hits::new());
    }
}

/// Room from which on the list and what there is to say of one stand side by side.
const WIDE: u16 = 200;
/// Rows from which on a batch's jobs are seen below what there is to say of it.
const ROOMY: u16 = 16;

/// What is open, as it will go on.
pub fn open(model: &Model) -> Vec<&BatchView> {
    let mut open: Vec<_> = model.snapshot.batches.values().filter(|batch| !batch.state.is_terminal()).collect();
    open.sort_by_key(|batch| course(batch));
    open
}

/// A list of them that is only looked at.
pub fn draw_open(frame: &mut Frame<'_>, area: Rect, open: &[&BatchView], model: &Model) {
    let rows = super::rows(area);
    let title = format!("{} · {}", model.look.t("open batches"), open.len());
    let block = super::panel(&title, false, area, model);
    let seen: Vec<_> = open.iter().copied().take(usize::from(rows)).collect();
    let rows = Rows { first: 0, chosen: None, heads: area.height > 3, focused: false };
    table::draw(frame, area, columns(&seen, area.width, model), &rows, block, model.look, &mut Hits::new());
}

fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, hits: &mut Hits) {
    let look = model.look;
    let focused = model.view == View::Batches;
    let batches = model.batches();
    let all = model.snapshot.batches.len();
    let mut title = super::title_of_list(look.t("batches"), batches.len(), all, &model.batch_filter, look);
    if model.sort != Sort::Course {
        title = format!("{title} · {}", look.t(model.sort.name()));
    }
    if !model.marked_batches.is_empty() {
        title = format!("{title} · {}", look.fill("{} marked", &[&model.marked_batches.len()]));
    }
    let block = super::panel(&title, focused, area, model);
    if batches.is_empty() {
        let text = match (all, model.is_stale()) {
            (0, false) => look.t("no batch yet: press n to make one"),
            (0, true) => "",
            _ => look.t("no batch has these words; Esc shows all again"),
        };
        frame.render_widget(Paragraph::new(text).block(block), area);
        return;
    }
    let at = batches.iter().position(|batch| Some(batch.id) == model.batch);
    let rows = super::rows(area);
    // Only what may be seen is made into rows.
    let first = first_row(at, rows, batches.len());
    let seen: Vec<_> = batches.into_iter().skip(first).take(usize::from(rows)).collect();
    let mut columns = columns(&seen, area.width, model);
    if !model.marked_batches.is_empty() {
        let mark = |batch: &BatchView| model.marked_batches.contains(&batch.id);
        let marks = seen.iter().map(|batch| (if mark(batch) { "■" } else { "" }.to_owned(), look.held())).collect();
        columns.insert(0, Column::new("", 0, 1, marks));
    }
    let rows = Rows { first, chosen: at.map(|at| at - first), heads: area.height > 3, focused };
    table::draw(frame, area, columns, &rows, block, look, hits);
}

fn columns(seen: &[&BatchView], cells: u16, model: &Model) -> Vec<Column> {
    let look = model.look;
    let plain =
        |text: &dyn Fn(&BatchView) -> String| seen.iter().map(|batch| (text(batch), Style::new())).collect::<Vec<_>>();
    let styled = |text: &dyn Fn(&BatchView) -> String, style: &dyn Fn(&BatchView) -> Style| {
        seen.iter().map(|batch| (text(batch), style(batch))).collect()
    };
    let cells = if cells < 120 { 6 } else { 20 };
    vec![
        Column::new("id", 0, 3, plain(&|batch| batch.id.to_string())).right(),
        Column::new("name", 0, 14, plain(&|batch| super::batch_name(batch))).fills(Kind::Name),
        Column::new("recipe", 8, 9, plain(&|batch| shown(&batch.recipe))),
        Column::new("state", 0, 10, styled(&|batch| look.word(batch.state.name()), &|batch| look.batch(batch.state))),
        Column::new("stage", 9, 10, plain(&|batch| batch.stage.as_deref().map(shown).unwrap_or_default())),
        Column::new(
            "",
            5,
            cells,
            styled(&|batch| bar(batch.progress, usize::from(cells)), &|batch| look.batch(batch.state)),
        ),
        Column::new("done", 1, 4, plain(&|batch| percent(batch.progress))).right(),
        Column::new("jobs", 3, 5, plain(&|batch| format!("{}/{}", batch.counts.ended(), batch.counts.total()))).right(),
        Column::new(
            "failed",
            4,
            6,
            styled(&|batch| batch.counts.failed.to_string(), &|batch| {
                if batch.counts.failed > 0 { look.bad() } else { look.faint() }
            }),
        )
        .right(),
        Column::new("time", 7, 11, plain(&|batch| time(batch, model))).right(),
        Column::new(
            "left",
            2,
            14,
            plain(&|batch| if batch.state.is_terminal() { String::new() } else { eta(batch.eta) }),
        ),
        Column::new("prio", 6, 6, plain(&|batch| priority(batch.priority, look))),
        Column::new("ended", 10, 11, plain(&|batch| batch.finished_at.map(|at| model.clock(at)).unwrap_or_default())),
    ]
}

/// How long it has been at work, or was.
pub fn time(batch: &BatchView, model: &Model) -> String {
    let seconds = |from: u64, to: u64| to.saturating_sub(from) as f64 / 1_000.0;
    let ends = batch.finished_at.unwrap_or(model.wall);
    batch.started_at.map(|begun| span(seconds(begun.0, ends.0))).unwrap_or_default()
}

/// The word for it, where it has one.
pub fn priority(priority: Priority, look: Look) -> String {
    let word = Priority::WORDS.iter().find(|(_, known)| *known == priority);
    word.map_or_else(|| priority.to_string(), |(word, _)| look.word(word))
}
