//! Statistics over what is stored: which jobs belong to a stretch of time, and what is summed up of them.

use spindle_core::change::{Change, EndedJob};
use spindle_shared::failure::FailureKind;
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::JobState;
use spindle_shared::limits::STATS_ROWS_MAX;
use spindle_shared::time::WallMs;

use super::samples;
use crate::store::Store;

#[test]
fn what_model_apis_cost_is_summed_up_whatever_came_of_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    let batch = samples::batch(1, None, (1..=2).map(samples::job).collect());
    let asked = |index, state, cost: Option<f64>| {
        let mut ended = EndedJob { finished_at: WallMs(70_000), ..samples::ended_job(state) };
        let figures = [("api_calls", Some(2.0)), ("tokens", Some(1_500.0)), ("cost", cost)];
        ended.detail.figures =
            figures.into_iter().filter_map(|(name, number)| Some((name.to_owned(), number?.into()))).collect();
        Change::JobEnded(JobId { batch: BatchId(1), index }, Box::new(ended))
    };
    let changes = [
        Change::BatchAdded(Box::new(batch)),
        asked(1, JobState::Completed, Some(0.25)),
        asked(2, JobState::Failed, None),
    ];
    store.commit(&changes).unwrap();
    let stats = store.reader().stats(WallMs(0), None).unwrap();
    let [recipe] = stats.recipes.as_slice() else { panic!("{stats:?}") };
    assert_eq!((recipe.api_calls, recipe.tokens, recipe.cost), (4, 3_000, Some(0.25)));
}

fn ended(batch: u64, index: u32, state: JobState, finished_at: u64) -> Change {
    let ended = EndedJob { finished_at: WallMs(finished_at), ..samples::ended_job(state) };
    Change::JobEnded(JobId { batch: BatchId(batch), index }, Box::new(ended))
}

#[test]
fn only_what_ended_since_counts() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    let old = samples::batch(1, None, vec![samples::job(1)]);
    let batch_owner = old.owner;
    let mut finished = old.status;
    finished.finished_at = Some(WallMs(69_999));
    let mixed = samples::batch(80, None, (1..=4).map(samples::job).collect());
    let changes = [
        Change::BatchAdded(Box::new(old)),
        ended(1, 1, JobState::Completed, 69_999),
        Change::BatchChanged(BatchId(1), finished),
        Change::BatchAdded(Box::new(mixed)),
        ended(80, 1, JobState::Completed, 69_999),
        ended(80, 2, JobState::Completed, 70_000),
        ended(80, 3, JobState::Failed, 90_000),
    ];
    store.commit(&changes).unwrap();
    let stats = store.reader().stats(WallMs(70_000), None).unwrap();
    assert_eq!((stats.batches_submitted, stats.batches_finished), (1, 0));
    let [recipe] = stats.recipes.as_slice() else { panic!("{stats:?}") };
    assert_eq!((recipe.completed, recipe.failed, recipe.outputs, recipe.output_bytes), (1, 1, 1, 4_321));
    assert_eq!((recipe.seconds, recipe.media_seconds), (20.0, 61.5));
    assert_eq!(stats.failures, [(FailureKind::OutOfMemory, 1)]);
    assert_eq!(stats.stages[1].jobs, 2);
    assert_eq!(stats.peak_memory_bytes, Some(412 << 20));
    assert_eq!(store.reader().stats(WallMs(70_000), Some(batch_owner)).unwrap(), stats);
    let strangers = Some(spindle_shared::id::Owner(batch_owner.0 + 1));
    assert_eq!(store.reader().stats(WallMs(70_000), strangers).unwrap(), Default::default());
    assert!(store.reader().failures(9, strangers).unwrap().is_empty());
    assert_eq!(store.reader().failures(9, Some(batch_owner)).unwrap().len(), 1);
    let all = store.reader().stats(WallMs(0), None).unwrap();
    assert_eq!((all.recipes[0].completed, all.batches_finished), (3, 1));
}

#[test]
fn recipes_beyond_the_limit_go_together() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    let many = STATS_ROWS_MAX as u64 + 5;
    for id in 1..=many {
        let mut batch = samples::batch(id, None, vec![samples::job(1)]);
        batch.spec.recipe.name = format!("mine {id}");
        store.commit(&[Change::BatchAdded(Box::new(batch)), ended(id, 1, JobState::Completed, 70_000)]).unwrap();
    }
    let stats = store.reader().stats(WallMs(0), None).unwrap();
    assert_eq!(stats.recipes.len(), STATS_ROWS_MAX);
    assert_eq!(stats.recipes.last().map(|recipe| (recipe.recipe.as_str(), recipe.completed)), Some(("others", 6)));
}
