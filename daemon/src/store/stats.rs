//! Statistics: what has ended since a time, summed up over the rows of one moment. Knows nothing of what runs.

use std::collections::BTreeMap;

use redb::{ReadTransaction, ReadableTable};
use spindle_core::change::EndedJob;
use spindle_shared::failure::FailureKind;
use spindle_shared::id::{GATHER_INDEX, Owner};
use spindle_shared::job::JobState;
use spindle_shared::limits::STATS_ROWS_MAX;
use spindle_shared::time::WallMs;
use spindle_shared::wire::response::{RecipeStats, StageStats, Stats};

use super::{StoreError, rows, tables};

/// Goes through the batches that may have a job in it, and no others.
pub(super) fn since(transaction: &ReadTransaction, since: WallMs, only: Option<Owner>) -> Result<Stats, StoreError> {
    let mut stats = Stats::default();
    let mut failures: BTreeMap<FailureKind, u32> = BTreeMap::new();
    let statuses = transaction.open_table(tables::STATUSES)?;
    let ended = transaction.open_table(tables::ENDED)?;
    for entry in transaction.open_table(tables::BATCHES)?.iter()? {
        let (id, row) = entry?;
        let id = id.value();
        let batch = rows::read_batch(row.value())?;
        if only.is_some_and(|only| batch.owner != only) {
            continue;
        }
        stats.batches_submitted += u32::from(batch.created_at >= since);
        let Some(status) = statuses.get(id)?.map(|row| rows::read_status(row.value())).transpose()? else { continue };
        if status.finished_at.is_some_and(|finished| finished < since) {
            continue;
        }
        stats.batches_finished += u32::from(status.finished_at.is_some());
        let mut recipe = RecipeStats { recipe: batch.spec.recipe.name, ..RecipeStats::default() };
        for entry in ended.range((id, 0)..=(id, u32::MAX))? {
            let (key, row) = entry?;
            let job = rows::read_ended(row.value())?;
            if job.finished_at < since {
                continue;
            }
            add_spent(&mut recipe, &job);
            // Counts are of inputs; a gather's time and failure count all the same.
            if key.value().1 != GATHER_INDEX {
                add_job(&mut recipe, &job);
            }
            stats.peak_memory_bytes =
                stats.peak_memory_bytes.max(Some(job.peak_memory_bytes).filter(|bytes| *bytes > 0));
            for (stage, seconds) in &job.timings {
                add_stage(&mut stats.stages, stage, *seconds);
            }
            if let Some(failure) = job.failure.filter(|_| job.state == JobState::Failed) {
                *failures.entry(failure.kind).or_default() += 1;
            }
        }
        add_recipe(&mut stats.recipes, recipe);
    }
    stats.failures = failures.into_iter().collect();
    stats.failures.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    Ok(stats)
}

fn add_job(recipe: &mut RecipeStats, job: &EndedJob) {
    match job.state {
        JobState::Completed => {
            recipe.completed += 1;
            let seconds = job.started_at.map_or(0, |started| job.finished_at.0.saturating_sub(started.0));
            recipe.seconds += seconds as f64 / 1_000.0;
            recipe.media_seconds += job.detail.media_seconds.unwrap_or(0.0);
        }
        JobState::Skipped => recipe.skipped += 1,
        JobState::Failed => recipe.failed += 1,
        JobState::Cancelled => recipe.cancelled += 1,
        JobState::Pending | JobState::Running | JobState::Retrying => {}
    }
    recipe.outputs += job.outputs.len() as u64;
    recipe.output_bytes += job.outputs.iter().map(|output| output.bytes).sum::<u64>();
}

/// What was asked is paid for, whatever came of it.
fn add_spent(recipe: &mut RecipeStats, job: &EndedJob) {
    let number = |name| job.detail.number(name);
    recipe.api_calls += number("api_calls").unwrap_or(0.0) as u64;
    recipe.tokens += number("tokens").unwrap_or(0.0) as u64;
    if let Some(cost) = number("cost") {
        recipe.cost = Some(recipe.cost.unwrap_or(0.0) + cost);
    }
}

fn add_stage(stages: &mut Vec<StageStats>, name: &str, seconds: f64) {
    match stages.iter().position(|stage| stage.stage == name) {
        Some(at) => {
            stages[at].jobs += 1;
            stages[at].seconds += seconds;
        }
        None if stages.len() < STATS_ROWS_MAX => {
            stages.push(StageStats { stage: name.to_owned(), jobs: 1, seconds });
        }
        None => {}
    }
}

/// Recipes beyond the limit go together into the last row.
fn add_recipe(recipes: &mut Vec<RecipeStats>, more: RecipeStats) {
    if more.jobs() == 0 {
        return;
    }
    let known = recipes.iter().position(|recipe| recipe.recipe == more.recipe);
    let at = match known {
        Some(at) => at,
        None if recipes.len() < STATS_ROWS_MAX => {
            recipes.push(RecipeStats { recipe: more.recipe.clone(), ..RecipeStats::default() });
            recipes.len() - 1
        }
        None => {
            recipes[STATS_ROWS_MAX - 1].recipe = "others".to_owned();
            STATS_ROWS_MAX - 1
        }
    };
    recipes[at] += &more;
}
