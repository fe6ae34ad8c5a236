//! Random turns: the store, closed and opened between them, stays equal to the model.

use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use spindle_core::api::Used;
use spindle_core::change::{BatchStatus, Change, NewBatch, OpenJob, Stored};
use spindle_shared::batch::{Counts, Priority};
use spindle_shared::failure::FailureKind;
use spindle_shared::id::{BatchId, ContentHash, JobId, Owner};
use spindle_shared::job::{Input, JobSpec, JobState, OutputPlan, PathBytes};
use spindle_shared::stage::Stage;
use spindle_shared::stage::identify::Identify;
use spindle_shared::time::WallMs;

use super::model::Model;
use super::samples;
use crate::store::{Store, StoreError};

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn the_store_equals_its_model(turns in vec((vec(wish(), 1..6), any::<bool>()), 1..12)) {
        let folder = tempfile::tempdir().unwrap();
        let mut model = Model::new();
        let mut store = Store::open(folder.path()).unwrap();
        prop_assert_eq!(store.load().unwrap(), model.recover());
        for (wishes, reopen) in turns {
            let changes = changes(&model, wishes);
            match (store.commit(&changes), model.commit(&changes)) {
                (Ok(()), Ok(())) | (Err(StoreError::Inconsistent(_)), Err(())) => {}
                (got, expected) => prop_assert!(false, "{got:?} and not {expected:?}"),
            }
            if reopen {
                drop(store);
                store = Store::open(folder.path()).unwrap();
                prop_assert_eq!(store.load().unwrap(), model.recover());
            }
        }
        model.check(&store.reader());
    }
}

/// A change to come; which batch or job it is about is settled when it is known what there is.
#[derive(Debug, Clone)]
pub(super) enum Wish {
    Add {
        owner: Owner,
        key: Option<String>,
        jobs: Vec<JobSpec>,
    },
    Status(Index, BatchStatus),
    Open(Index, Box<OpenJob>),
    End(Index, JobState),
    Remove(Index),
    Other(Change),
    /// About a job or a batch that isn't there.
    Astray(Change),
}

pub(super) fn changes(model: &Model, wishes: Vec<Wish>) -> Vec<Change> {
    let mut ahead = model.clone();
    let mut changes = Vec::new();
    for wish in wishes {
        let ids: Vec<BatchId> = ahead.batches.keys().copied().collect();
        let jobs: Vec<JobId> = (ahead.batches.iter())
            .flat_map(|(id, batch)| batch.standings.keys().map(|index| JobId { batch: *id, index: *index }))
            .collect();
        let change = match wish {
            Wish::Add { owner, key, jobs } => {
                let id = ahead.next_batch;
                let batch = samples::batch(id, key.as_deref(), jobs);
                Change::BatchAdded(Box::new(NewBatch { owner, ..batch }))
            }
            Wish::Status(at, status) if !ids.is_empty() => Change::BatchChanged(*at.get(&ids), status),
            Wish::Open(at, job) if !jobs.is_empty() => Change::JobOpen(*at.get(&jobs), job),
            Wish::End(at, state) if !jobs.is_empty() => {
                Change::JobEnded(*at.get(&jobs), Box::new(samples::ended_job(state)))
            }
            Wish::Remove(at) if !ids.is_empty() => Change::BatchRemoved(*at.get(&ids)),
            Wish::Other(change) | Wish::Astray(change) => change,
            _ => continue,
        };
        let _ = ahead.commit(std::slice::from_ref(&change));
        changes.push(change);
    }
    changes
}

pub(super) fn wish() -> impl Strategy<Value = Wish> {
    let key = proptest::option::of(prop_oneof!["a", "b", "c"]);
    let owner = prop_oneof![Just(Owner(0)), Just(Owner(1000))];
    prop_oneof![
        4 => (owner, key, vec(job_spec(), 0..5)).prop_map(|(owner, key, jobs)| Wish::Add { owner, key, jobs }),
        3 => (any::<Index>(), status()).prop_map(|(at, status)| Wish::Status(at, status)),
        4 => (any::<Index>(), open_job()).prop_map(|(at, job)| Wish::Open(at, Box::new(job))),
        6 => (any::<Index>(), terminal()).prop_map(|(at, state)| Wish::End(at, state)),
        1 => any::<Index>().prop_map(Wish::Remove),
        3 => other().prop_map(Wish::Other),
        1 => astray().prop_map(Wish::Astray),
    ]
}

fn job_spec() -> impl Strategy<Value = JobSpec> {
    let input = prop_oneof![
        4 => ("(/[a-z .]{0,4}){0,3}", 0..4_u64).prop_map(|(path, number)| Input::File {
            path: samples::path(&path),
            identity: samples::identity(number),
        }),
        1 => "[a-z]{0,5}".prop_map(Input::Name),
    ];
    let text = || "(/?[a-z.]{0,3}){0,2}".prop_map(|text| PathBytes(text.into_bytes()));
    let skip = proptest::option::weighted(0.2, "[a-z ]{0,9}");
    let stages = proptest::option::weighted(0.2, Just(vec![Stage::Identify(Identify {})]));
    (input, text(), text(), skip, stages, any::<bool>()).prop_map(|(input, directory, stem, skip, stages, beside)| {
        let own = match &input {
            Input::File { path, .. } if beside => Some(path.as_path().to_owned()),
            _ => None,
        };
        let output = OutputPlan {
            directory: own.as_ref().and_then(|path| path.parent()).map_or(directory, PathBytes::from),
            stem: own.as_ref().and_then(|path| path.file_stem()).map_or(stem, PathBytes::from),
        };
        let replace = match beside {
            true => Vec::new(),
            false => vec![(samples::path("/out/old.srt"), ContentHash::of(b"old"))],
        };
        JobSpec { input, output, stages, skip, replace }
    })
}

fn status() -> impl Strategy<Value = BatchStatus> {
    let time = || proptest::option::of((1..9_u64).prop_map(WallMs));
    (any::<[bool; 2]>(), time(), time(), proptest::array::uniform7(0..3_u32)).prop_map(
        |([paused, cancelling], started_at, finished_at, counts)| {
            let [pending, running, retrying, completed, skipped, failed, cancelled] = counts;
            let counts = Counts { pending, running, retrying, completed, skipped, failed, cancelled };
            let priority = Priority(pending as u8);
            BatchStatus { priority, paused, cancelling, started_at, finished_at, counts, gather: None, cost: 0.0 }
        },
    )
}

fn open_job() -> impl Strategy<Value = OpenJob> {
    let kind = proptest::sample::select(FailureKind::ALL.to_vec());
    (0..3_u32, any::<bool>(), any::<bool>(), kind).prop_map(|(attempts, default, failed, kind)| {
        if default {
            return OpenJob::default();
        }
        let mut job = samples::open_job();
        job.attempts = attempts;
        job.failure =
            job.failure.filter(|_| failed).map(|failure| spindle_shared::failure::Failure { kind, ..failure });
        job
    })
}

fn terminal() -> impl Strategy<Value = JobState> {
    prop_oneof![Just(JobState::Completed), Just(JobState::Failed), Just(JobState::Cancelled), Just(JobState::Skipped)]
}

fn other() -> impl Strategy<Value = Change> {
    prop_oneof![
        (0..4_u64, any::<bool>()).prop_map(|(number, newer)| {
            let mut identity = samples::identity(number);
            identity.ctime_ns += i128::from(newer);
            Change::InputKnown(identity, ContentHash::of(&[newer.into(), number as u8]))
        }),
        (0..4_u64, 0..9_u64).prop_map(|(number, bytes)| {
            Change::ArtifactStored(ContentHash::of(&number.to_le_bytes()), samples::artifact(bytes))
        }),
        (0..4_u64).prop_map(|number| Change::ArtifactDropped(ContentHash::of(&number.to_le_bytes()))),
        (0..4_u64, 0..9_u32).prop_map(|(number, index)| {
            let job = JobId { batch: BatchId(number), index };
            Change::Published(samples::path(&format!("/out/{number}.srt")), samples::published(job))
        }),
        any::<bool>().prop_map(Change::HousePaused),
        (0..3_u32, 0..9_u64).prop_map(|(owner, day)| Change::Spent(Owner(owner), day, day as f64 + 0.5)),
        (0..2_u32, 0..9_u64).prop_map(|(key, day)| {
            let used = Used { day, calls: key + 7, recent: [(WallMs(day), 40)].into() };
            Change::ApiUsed("gemini".to_owned(), key, used)
        }),
        (0..4_u64, 1..4_u32, 0..2_u8).prop_map(|(batch, index, bucket)| {
            let job = JobId { batch: BatchId(batch), index };
            Change::Placed(job, format!("bucket {bucket}"))
        }),
        (0..2_u8, vec((0..3_u8, 0..9_u64), 0..3), 0..3_u32).prop_map(|(bucket, objects, seconds)| {
            let bucket = format!("bucket {bucket}");
            let place = |(number, bytes)| (samples::path(&format!("s3://{bucket}/{number}")), bytes);
            let objects = objects.into_iter().map(place).collect();
            Change::Stored(Box::new(Stored { bucket, objects, sent: (1e6, seconds.into()), at: WallMs(7) }))
        }),
        (0..4_u64, any::<bool>()).prop_map(|(number, known)| {
            let (key, rate) = samples::rate(number);
            Change::RateLearned(key, known.then_some(rate))
        }),
    ]
}

fn astray() -> impl Strategy<Value = Change> {
    let nowhere = JobId { batch: BatchId(1), index: 99 };
    prop_oneof![
        Just(Change::BatchRemoved(BatchId(99))),
        Just(Change::BatchChanged(BatchId(99), samples::fresh_status(&[]))),
        Just(Change::JobOpen(nowhere, Box::default())),
        Just(Change::JobEnded(nowhere, Box::new(samples::ended_job(JobState::Completed)))),
        Just(Change::JobEnded(JobId { index: 1, ..nowhere }, Box::new(samples::ended_job(JobState::Running)))),
        Just(Change::BatchAdded(Box::new(samples::batch(1, None, Vec::new())))),
    ]
}
