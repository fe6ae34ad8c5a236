//! `stats`: what has ended in a stretch of time, by recipe, stage and failure.

use serde::Serialize;
use spindle_shared::exit;
use spindle_shared::time::WallMs;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::{RecipeStats, Response, Stats};

use crate::Context;
use crate::fault::Fault;
use crate::named;
use crate::output::human;
use crate::output::table::{Align, Table};

/// Sums up what has ended in the last days: jobs by recipe, time by stage, failures by kind
///
/// Counts the batches that are still remembered; `remove` and cleaning by age take batches out.
#[derive(Debug, clap::Args)]
pub struct StatsOf {
    /// How far to look back
    #[arg(long, value_name = "DUR", default_value = "7d", value_parser = named::duration_ms)]
    since: u64,
}

#[derive(Debug, Serialize)]
struct StatsJson<'s> {
    since: String,
    until: String,
    batches_submitted: u32,
    batches_finished: u32,
    jobs: u32,
    completed: u32,
    skipped: u32,
    failed: u32,
    cancelled: u32,
    /// Of those completed or failed, 0–1; null where there are none.
    success_share: Option<f64>,
    mean_seconds: Option<f64>,
    media_seconds: f64,
    outputs: u64,
    output_bytes: u64,
    /// Of model APIs.
    api_calls: u64,
    tokens: u64,
    /// Null where no price is known.
    cost: Option<f64>,
    peak_memory_bytes: Option<u64>,
    recipes: Vec<RecipeJson<'s>>,
    stages: Vec<StageJson<'s>>,
    failures: Vec<FailuresJson>,
}

#[derive(Debug, Serialize)]
struct RecipeJson<'s> {
    recipe: &'s str,
    completed: u32,
    skipped: u32,
    failed: u32,
    cancelled: u32,
    mean_seconds: Option<f64>,
    media_seconds: f64,
    outputs: u64,
    output_bytes: u64,
    api_calls: u64,
    tokens: u64,
    cost: Option<f64>,
}

#[derive(Debug, Serialize)]
struct StageJson<'s> {
    stage: &'s str,
    jobs: u32,
    total_seconds: f64,
    mean_seconds: Option<f64>,
}

#[derive(Debug, Serialize)]
struct FailuresJson {
    kind: &'static str,
    jobs: u32,
}

impl StatsOf {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let now = human::now();
        let since = WallMs(now.0.saturating_sub(self.since));
        let stats = context
            .daemon
            .ask(&Request::Stats { since })?
            .into_iter()
            .find_map(|response| if let Response::Stats(stats) = response { Some(stats) } else { None })
            .ok_or_else(|| Fault::unexpected("its statistics"))?;
        let document = document(&stats, since, now);
        context.console.either(|| &document, || text(&document, context.console.colour))?;
        Ok(exit::DONE)
    }
}

fn mean(seconds: f64, jobs: u32) -> Option<f64> {
    (jobs > 0).then(|| seconds / f64::from(jobs))
}

fn document(stats: &Stats, since: WallMs, until: WallMs) -> StatsJson<'_> {
    let mut all = RecipeStats::default();
    stats.recipes.iter().for_each(|recipe| all += recipe);
    let decided = all.completed + all.failed;
    StatsJson {
        since: human::time(since),
        until: human::time(until),
        batches_submitted: stats.batches_submitted,
        batches_finished: stats.batches_finished,
        jobs: all.jobs(),
        completed: all.completed,
        skipped: all.skipped,
        failed: all.failed,
        cancelled: all.cancelled,
        success_share: (decided > 0).then(|| f64::from(all.completed) / f64::from(decided)),
        mean_seconds: mean(all.seconds, all.completed),
        media_seconds: all.media_seconds,
        outputs: all.outputs,
        output_bytes: all.output_bytes,
        api_calls: all.api_calls,
        tokens: all.tokens,
        cost: all.cost,
        peak_memory_bytes: stats.peak_memory_bytes,
        recipes: stats
            .recipes
            .iter()
            .map(|recipe| RecipeJson {
                recipe: &recipe.recipe,
                completed: recipe.completed,
                skipped: recipe.skipped,
                failed: recipe.failed,
                cancelled: recipe.cancelled,
                mean_seconds: mean(recipe.seconds, recipe.completed),
                media_seconds: recipe.media_seconds,
                outputs: recipe.outputs,
                output_bytes: recipe.output_bytes,
                api_calls: recipe.api_calls,
                tokens: recipe.tokens,
                cost: recipe.cost,
            })
            .collect(),
        stages: stats
            .stages
            .iter()
            .map(|stage| StageJson {
                stage: &stage.stage,
                jobs: stage.jobs,
                total_seconds: stage.seconds,
                mean_seconds: mean(stage.seconds, stage.jobs),
            })
            .collect(),
        failures: stats.failures.iter().map(|(kind, jobs)| FailuresJson { kind: kind.name(), jobs: *jobs }).collect(),
    }
}

fn text(stats: &StatsJson<'_>, colour: bool) -> String {
    use Align::{Left, Right};
    let or_unknown = |seconds: Option<f64>| seconds.map_or(human::UNKNOWN.to_owned(), human::seconds);
    let share = stats.success_share.map(|share| human::percent(share as f32));
    let mut text = human::block(&[
        ("since", stats.since.clone()),
        ("batches", format!("{} submitted, {} finished", stats.batches_submitted, stats.batches_finished)),
        (
            "jobs",
            format!(
                "{} ended: {} completed, {} skipped, {} failed, {} cancelled",
                stats.jobs, stats.completed, stats.skipped, stats.failed, stats.cancelled
            ),
        ),
        ("success", share.unwrap_or_else(|| human::UNKNOWN.to_owned())),
        ("mean time", or_unknown(stats.mean_seconds)),
        ("recordings", human::seconds(stats.media_seconds)),
        ("outputs", format!("{}, {}", stats.outputs, human::bytes(stats.output_bytes))),
        ("most memory", stats.peak_memory_bytes.map_or(human::UNKNOWN.to_owned(), human::bytes)),
    ]);
    if !stats.recipes.is_empty() {
        let mut table = Table::new(&[
            ("RECIPE", Left),
            ("COMPLETED", Right),
            ("SKIPPED", Right),
            ("FAILED", Right),
            ("CANCELLED", Right),
            ("MEAN TIME", Right),
            ("RECORDINGS", Right),
        ]);
        for recipe in &stats.recipes {
            table.row(vec![
                human::escaped(recipe.recipe).into(),
                recipe.completed.to_string().into(),
                recipe.skipped.to_string().into(),
                recipe.failed.to_string().into(),
                recipe.cancelled.to_string().into(),
                or_unknown(recipe.mean_seconds).into(),
                human::seconds(recipe.media_seconds).into(),
            ]);
        }
        text.push_str(&format!("\n{}", table.render(colour)));
    }
    if !stats.stages.is_empty() {
        let mut table = Table::new(&[("STAGE", Left), ("JOBS", Right), ("MEAN TIME", Right), ("IN ALL", Right)]);
        for stage in &stats.stages {
            table.row(vec![
                human::escaped(stage.stage).into(),
                stage.jobs.to_string().into(),
                or_unknown(stage.mean_seconds).into(),
                human::seconds(stage.total_seconds).into(),
            ]);
        }
        text.push_str(&format!("\n{}", table.render(colour)));
    }
    if !stats.failures.is_empty() {
        let mut table = Table::new(&[("FAILURE", Left), ("JOBS", Right)]);
        for failure in &stats.failures {
            table.row(vec![failure.kind.into(), failure.jobs.to_string().into()]);
        }
        text.push_str(&format!("\n{}", table.render(colour)));
    }
    text
}
