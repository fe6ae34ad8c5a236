//! The history: what has ended, by day and recipe, as far back as batches are remembered.

use std::collections::BTreeMap;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;
use ratatui::widgets::Paragraph;
use spindle_shared::wire::response::{RecipeStats, Stats};

use super::Hits;
use super::figures::{UNKNOWN, bar, bytes, percent, real_time, span};
use super::style::shown;
use super::table::{self, Column, Kind, Rows, first_row};
use crate::model::{Model, View};
use crate::spent::{count, price};

/// What a recipe has done on a day; no recipe = all of them.
struct Line {
    day: String,
    recipe: Option<String>,
    stats: RecipeStats,
}

/// How many lines there are.
pub fn rows(model: &Model) -> usize {
    lines(model).len()
}

pub fn draw(frame: &mut Frame<'_>, body: Rect, model: &Model, hits: &mut Hits) {
    let look = model.look;
    let lines = lines(model);
    let title = look.t("the last 7 days, by day and recipe");
    if lines.is_empty() {
        let text = match model.history.at {
            None if model.is_stale() => "",
            None => "…",
            Some(_) => look.t("nothing has ended in these days"),
        };
        frame.render_widget(Paragraph::new(format!(" {text}")).block(super::panel(title, true, body, model)), body);
        return;
    }
    let failures = failure_text(model);
    let below = if failures.is_empty() || body.height < 12 { 0 } else { 4 };
    let needed = u16::try_from(lines.len()).unwrap_or(u16::MAX).saturating_add(3);
    let upper = needed.min(body.height.saturating_sub(below));
    let [list, lower] = Layout::vertical([Constraint::Length(upper), Constraint::Fill(1)]).areas(body);
    let at = model.rows[View::History as usize].min(lines.len() - 1);
    let room = super::rows(list);
    let first = first_row(Some(at), room, lines.len());
    let most = lines.iter().map(|line| line.stats.completed + line.stats.failed).max().unwrap_or(0);
    let seen: Vec<Line> = lines.into_iter().skip(first).take(usize::from(room)).collect();
    let cells = |text: &dyn Fn(&RecipeStats) -> String| {
        let style = |line: &Line| if line.recipe.is_none() { look.strong() } else { Style::new() };
        seen.iter().map(|line| (text(&line.stats), style(line))).collect::<Vec<_>>()
    };
    let failed = seen
        .iter()
        .map(|line| {
            let style = if line.stats.failed > 0 { look.bad() } else { look.faint() };
            (line.stats.failed.to_string(), style)
        })
        .collect();
    // How much of the busiest day's work each did, failures too.
    let jobs = |line: &Line| line.stats.completed + line.stats.failed;
    let bars = seen
        .iter()
        .map(|line| (bar(jobs(line) as f32 / most.max(1) as f32, usize::from(BAR_CELLS)), look.busy()))
        .collect();
    let columns = vec![
        Column::new("day", 0, 10, seen.iter().map(|line| (line.day.clone(), look.strong())).collect()),
        Column::new(
            "recipe",
            0,
            12,
            seen.iter()
                .map(|line| match &line.recipe {
                    Some(recipe) => (format!("  {}", shown(recipe)), Style::new()),
                    None => (look.t("all").to_owned(), look.strong()),
                })
                .collect(),
        )
        .fills(Kind::Name),
        Column::new("ok", 0, 7, cells(&|stats| stats.completed.to_string())).right(),
        Column::new("failed", 0, 6, failed).right(),
        Column::new("skipped", 6, 7, cells(&|stats| stats.skipped.to_string())).right(),
        Column::new("cancelled", 7, 9, cells(&|stats| stats.cancelled.to_string())).right(),
        Column::new("success", 1, 7, cells(&success)).right(),
        Column::new("mean time", 2, 11, cells(&mean)).right(),
        Column::new("speed", 3, 7, cells(&speed)).right(),
        Column::new("recordings", 5, 11, cells(&|stats| span(stats.media_seconds))).right(),
        Column::new("files", 8, 7, cells(&|stats| stats.outputs.to_string())).right(),
        Column::new("disk", 4, 8, cells(&|stats| bytes(stats.output_bytes as f64))).right(),
        Column::new("tokens", 9, 7, cells(&tokens)).right(),
        Column::new("cost", 10, 8, cells(&|stats| stats.cost.map_or(UNKNOWN.to_owned(), price))).right(),
        Column::new("", 11, BAR_CELLS, bars),
    ];
    let rows = Rows { first, chosen: Some(at - first), heads: list.height > 3, focused: true };
    table::draw(frame, list, columns, &rows, super::panel(title, true, list, model), look, hits);
    if below > 0 {
        let block = super::panel(look.t("failures of these days"), false, lower, model);
        let text = super::style::wrapped(&failures, lower.width.saturating_sub(2), 3);
        let text: Vec<_> = text.into_iter().map(|line| ratatui::text::Line::from(format!(" {line}"))).collect();
        frame.render_widget(Paragraph::new(text).block(block), lower);
    }
}

const BAR_CELLS: u16 = 24;

/// Of models that count them.
fn tokens(stats: &RecipeStats) -> String {
    if stats.api_calls == 0 { UNKNOWN.to_owned() } else { count(stats.tokens as f64) }
}

fn success(stats: &RecipeStats) -> String {
    let decided = stats.completed + stats.failed;
    if decided == 0 { UNKNOWN.to_owned() } else { percent(stats.completed as f32 / decided as f32) }
}

fn mean(stats: &RecipeStats) -> String {
    if stats.completed == 0 { UNKNOWN.to_owned() } else { span(stats.seconds / f64::from(stats.completed)) }
}

/// Of one job, in the mean.
fn speed(stats: &RecipeStats) -> String {
    let known = stats.media_seconds > 0.0 && stats.seconds > 0.0;
    real_time(known.then(|| stats.media_seconds / stats.seconds))
}

/// Each day is the difference of two sums: of what has ended since its midnight, and since the next.
fn lines(model: &Model) -> Vec<Line> {
    let mut lines = Vec::new();
    let mut later: Option<&Stats> = None;
    for (midnight, day) in model.days() {
        let Some(stats) = model.history.value.get(&midnight) else { break };
        let recipes = difference(stats, later);
        later = Some(stats);
        if recipes.is_empty() {
            continue;
        }
        let mut all = RecipeStats::default();
        recipes.values().for_each(|recipe| all += recipe);
        lines.push(Line { day, recipe: None, stats: all });
        lines.extend(recipes.into_iter().map(|(recipe, stats)| Line {
            day: String::new(),
            recipe: Some(recipe),
            stats,
        }));
    }
    lines
}

fn difference(since: &Stats, later: Option<&Stats>) -> BTreeMap<String, RecipeStats> {
    let of_later = |name: &str| later.and_then(|stats| stats.recipes.iter().find(|recipe| recipe.recipe == name));
    let mut recipes = BTreeMap::new();
    for recipe in &since.recipes {
        let mut day = recipe.clone();
        if let Some(later) = of_later(&recipe.recipe) {
            // A batch that is forgotten between two questions must not make a day of less than nothing.
            day.completed = day.completed.saturating_sub(later.completed);
            day.skipped = day.skipped.saturating_sub(later.skipped);
            day.failed = day.failed.saturating_sub(later.failed);
            day.cancelled = day.cancelled.saturating_sub(later.cancelled);
            day.seconds = (day.seconds - later.seconds).max(0.0);
            day.media_seconds = (day.media_seconds - later.media_seconds).max(0.0);
            day.outputs = day.outputs.saturating_sub(later.outputs);
            day.output_bytes = day.output_bytes.saturating_sub(later.output_bytes);
            day.api_calls = day.api_calls.saturating_sub(later.api_calls);
            day.tokens = day.tokens.saturating_sub(later.tokens);
            day.cost = day.cost.map(|cost| (cost - later.cost.unwrap_or(0.0)).max(0.0));
        }
        if day.jobs() > 0 {
            recipes.insert(recipe.recipe.clone(), day);
        }
    }
    recipes
}

/// Of the oldest sum: it has all of them in it.
fn failure_text(model: &Model) -> String {
    let look = model.look;
    let Some((_, stats)) = model.history.value.first_key_value() else { return String::new() };
    let kinds: Vec<_> =
        stats.failures.iter().map(|(kind, jobs)| format!("{jobs} × {}", look.word(kind.name()))).collect();
    kinds.join(" · ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_is_the_difference_of_two_sums() {
        let stats = |completed, failed, seconds| {
            let recipe =
                RecipeStats { recipe: "subtitles".to_owned(), completed, failed, seconds, ..RecipeStats::default() };
            Stats { recipes: vec![recipe], ..Stats::default() }
        };
        let (today, both) = (stats(3, 1, 30.0), stats(10, 1, 100.0));
        let yesterday = difference(&both, Some(&today));
        let day = &yesterday["subtitles"];
        assert_eq!((day.completed, day.failed, day.seconds), (7, 0, 70.0));
        assert!(difference(&today, Some(&both)).is_empty(), "never less than nothing");
        assert_eq!((success(day), mean(day)), ("100%".to_owned(), "10 s".to_owned()));
    }
}
