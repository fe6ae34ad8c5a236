//! Queues that were written by earlier builds open for ever and say what they said.

use std::fs;
use std::path::PathBuf;

use spindle_core::change::{Change, EndedJob, PublishedFile};
use spindle_core::rates::RateKey;
use spindle_shared::batch::{After, Counts, Halt, HaltAt, Terms, TimeLimit};
use spindle_shared::id::{BatchId, ContentHash, JobId, Owner};
use spindle_shared::job::{Input, JobSpec, JobState};
use spindle_shared::stage::Stage;
use spindle_shared::stage::collect::Collect;
use spindle_shared::stage::pull::Pull;
use spindle_shared::time::WallMs;

use super::model::Model;
use super::samples;
use crate::store::Store;

const PUBLISHER: JobId = JobId { batch: BatchId(1), index: 4 };

/// Every table, every kind of row, every optional field once set and once not. `published`: as far as the schema knows it.
fn turns(published: PublishedFile) -> Vec<Vec<Change>> {
    let job = |batch, index| JobId { batch: BatchId(batch), index };
    let odd = JobSpec {
        input: Input::Name("base.en".to_owned()),
        output: samples::job(1).output,
        stages: Some(vec![Stage::Pull(Pull {
            name: "base.en".to_owned(),
            url: "https://models.example/base.en.bin".to_owned(),
            file: "base.en.bin".to_owned(),
            bytes: 147_964_211,
            sha256: "a03779c86df3323075f5e796cb2ce5029f00ec8869eee3fdfb897afe36c6d002".to_owned(),
        })]),
        skip: None,
        replace: vec![(samples::path("/media/talks/talk 5.srt"), ContentHash::of(b"old"))],
    };
    let skipped = JobSpec { skip: Some("talk 6.srt is there already".to_owned()), ..samples::job(6) };
    let jobs = (1..=4).map(samples::job).chain([odd, skipped]).collect();
    let mut running = samples::batch(2, Some("b"), (1..=3).map(samples::job).collect());
    running.status.started_at = Some(WallMs(3_000));
    let finished = samples::batch(3, None, vec![samples::job(7)]);
    let mut status = finished.status;
    status.finished_at = Some(WallMs(60_000));
    status.counts.pending = 0;
    status.counts.completed = 1;
    vec![
        vec![Change::BatchAdded(Box::new(samples::batch(1, Some("a"), jobs))), Change::BatchAdded(Box::new(running))],
        vec![
            Change::JobOpen(job(1, 2), Box::new(samples::open_job())),
            Change::JobEnded(job(1, 3), Box::new(samples::ended_job(JobState::Failed))),
            Change::JobEnded(job(1, 4), Box::new(samples::ended_job(JobState::Completed))),
            Change::JobEnded(job(2, 1), Box::new(samples::ended_job(JobState::Cancelled))),
        ],
        vec![
            Change::BatchAdded(Box::new(finished)),
            Change::JobEnded(job(3, 1), Box::new(samples::ended_job(JobState::Completed))),
            Change::BatchChanged(BatchId(3), status),
            Change::InputKnown(samples::identity(1), ContentHash::of(b"talk 1")),
            Change::ArtifactStored(ContentHash::of(&1_u64.to_le_bytes()), samples::artifact(1)),
            Change::Published(samples::path("/out/1.srt"), published),
            Change::BatchAdded(Box::new(samples::batch(7, None, Vec::new()))),
            Change::BatchRemoved(BatchId(7)),
            Change::HousePaused(true),
        ],
    ]
}

/// Before what was published was looked at, and before the sizes of inputs and rates were kept.
fn turns_v1() -> Vec<Vec<Change>> {
    let mut turns = turns(PublishedFile { identity: None, ..samples::published(PUBLISHER) });
    for change in turns.iter_mut().flatten() {
        if let Change::BatchAdded(batch) = change {
            batch.sizes.clear();
        }
    }
    turns
}

fn turns_v2() -> Vec<Vec<Change>> {
    let (forgotten, rate) = samples::rate(1);
    let (known, other) = samples::rate(2);
    let learned = |key: &RateKey, rate| Change::RateLearned(key.clone(), rate);
    let mut turns = turns(samples::published(PUBLISHER));
    for change in turns.iter_mut().flatten() {
        if let Change::BatchAdded(batch) = change
            && batch.id == BatchId(2)
        {
            batch.spec.terms = Terms {
                after: vec![After { batch: BatchId(1), any_end: true }],
                at: Some(WallMs(70_000)),
                halt: Some(Halt { now: true, failed: HaltAt::Percent(10) }),
                auto_priority: true,
                max_cost: None,
                notify: Vec::new(),
            };
            batch.spec.timeout = Some(TimeLimit::TimesMedia(2.5));
        }
    }
    turns.push(gathered());
    turns.push(vec![learned(&forgotten, Some(rate)), learned(&known, Some(rate)), learned(&known, Some(other))]);
    turns.push(vec![learned(&forgotten, None)]);
    turns.push(vec![Change::Spent(Owner(1_000), 19_675, 1_800.5)]);
    turns
}

/// A batch whose gather is done, and one whose gather waits.
fn gathered() -> Vec<Change> {
    let job = |batch, index| JobId { batch: BatchId(batch), index };
    let gathering = |id| {
        let mut batch = samples::batch(id, None, vec![samples::job(20), samples::job(21)]);
        batch.spec.recipe.gather =
            vec![Stage::Collect(Collect { title: Some("Talks".to_owned()), ..Default::default() })];
        batch.spec.gather_to = Some(samples::job(1).output);
        batch.gather = Some(JobSpec {
            input: Input::Name("gather".to_owned()),
            stages: Some(batch.spec.recipe.gather.clone()),
            ..samples::job(1)
        });
        batch.status.gather = Some(JobState::Pending);
        batch
    };
    let ended = |artifact| EndedJob { artifact, ..samples::ended_job(JobState::Completed) };
    let done = gathering(10);
    let mut status = done.status;
    status.gather = Some(JobState::Completed);
    status.finished_at = Some(WallMs(90_000));
    status.counts = Counts { completed: 2, ..Counts::default() };
    vec![
        Change::BatchAdded(Box::new(gathering(9))),
        Change::BatchAdded(Box::new(done)),
        Change::JobEnded(job(9, 1), Box::new(ended(Some(ContentHash::of(b"9/1"))))),
        Change::JobEnded(job(10, 1), Box::new(ended(Some(ContentHash::of(b"10/1"))))),
        Change::JobEnded(job(10, 2), Box::new(ended(Some(ContentHash::of(b"10/2"))))),
        Change::JobEnded(job(10, 0), Box::new(ended(None))),
        Change::BatchChanged(BatchId(10), status),
    ]
}

#[test]
fn the_queue_of_schema_1_opens() {
    opens("v1.redb", turns_v1());
}

#[test]
fn the_queue_of_schema_2_opens() {
    opens("v2.redb", turns_v2());
}

fn opens(name: &str, turns: Vec<Vec<Change>>) {
    let golden = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/store/golden").join(name);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("queue.redb");
    let mut model = Model::new();
    model.recover();
    for turn in &turns {
        model.commit(turn).unwrap();
    }
    if !golden.exists() {
        let mut store = Store::open(folder.path()).unwrap();
        store.load().unwrap();
        for turn in &turns {
            store.commit(turn).unwrap();
        }
        drop(store);
        fs::copy(&copy, &golden).unwrap();
        panic!("{} was missing and has been written; it must be committed", golden.display());
    }
    fs::copy(&golden, &copy).unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    assert_eq!(store.load().unwrap(), model.recover());
    model.check(&store.reader());
    store.commit(&[Change::BatchRemoved(BatchId(1))]).unwrap();
    drop(store);
    assert!(Store::open(folder.path()).is_ok(), "once opened, it stays so");
}
