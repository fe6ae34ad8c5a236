//! Backups: a copy has all of one moment, is private, and takes nobody's place.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use redb::{Builder, ReadableDatabase, TableHandle};
use spindle_core::change::Change;
use spindle_shared::id::{BatchId, ContentHash, JobId};
use spindle_shared::job::JobState;

use super::model::Model;
use super::samples;
use crate::store::{Store, StoreError};

fn filled() -> (tempfile::TempDir, Store, Model) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    store.load().unwrap();
    let mut model = Model::new();
    model.recover();
    let job = |index| JobId { batch: BatchId(1), index };
    let (key, rate) = samples::rate(1);
    let turn = [
        Change::BatchAdded(Box::new(samples::batch(1, Some("key"), (1..=3).map(samples::job).collect()))),
        Change::JobOpen(job(1), Box::new(samples::open_job())),
        Change::JobEnded(job(2), Box::new(samples::ended_job(JobState::Failed))),
        Change::InputKnown(samples::identity(1), ContentHash::of(b"1")),
        Change::ArtifactStored(ContentHash::of(&1_u64.to_le_bytes()), samples::artifact(1)),
        Change::Published(samples::path("/out/1.srt"), samples::published(job(2))),
        Change::RateLearned(key, Some(rate)),
        Change::HousePaused(true),
    ];
    store.commit(&turn).unwrap();
    model.commit(&turn).unwrap();
    (folder, store, model)
}

fn names(folder: &std::path::Path) -> Vec<String> {
    let mut names: Vec<_> =
        fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn a_copy_is_a_queue_with_everything_in_it() {
    let (_folder, mut store, mut model) = filled();
    let elsewhere = tempfile::tempdir().unwrap();
    let path = elsewhere.path().join("queue.redb");
    let copied = store.reader().back_up(&path).unwrap();
    assert_eq!((copied.batches, copied.jobs), (1, 3));
    let meta = fs::metadata(&path).unwrap();
    assert_eq!((meta.len(), meta.permissions().mode() & 0o777), (copied.bytes, 0o600));
    assert_eq!(names(elsewhere.path()), ["queue.redb"]);
    // What comes later belongs to the original alone.
    store.commit(&[Change::BatchRemoved(BatchId(1))]).unwrap();

    let mut restored = Store::open(elsewhere.path()).unwrap();
    assert_eq!(restored.load().unwrap(), model.recover());
    model.check(&restored.reader());
    restored.commit(&[Change::BatchAdded(Box::new(samples::batch(2, None, vec![samples::job(1)])))]).unwrap();
}

#[test]
fn no_table_is_forgotten() {
    let (folder, store, _) = filled();
    let path = folder.path().join("copy");
    store.reader().back_up(&path).unwrap();
    drop(store);
    let tables = |path| {
        let database = Builder::new().open(path).unwrap();
        let transaction = database.begin_read().unwrap();
        let mut names: Vec<_> = transaction.list_tables().unwrap().map(|table| table.name().to_owned()).collect();
        names.sort();
        names
    };
    assert_eq!(tables(path), tables(folder.path().join("queue.redb")));
}

#[test]
fn a_copy_replaces_nothing_and_leaves_nothing_half() {
    let (folder, store, _) = filled();
    let reader = store.reader();
    let taken = folder.path().join("taken");
    fs::write(&taken, "mine").unwrap();
    let link = folder.path().join("link");
    std::os::unix::fs::symlink("nowhere", &link).unwrap();
    let before = names(folder.path());
    for path in [&taken, &link, &folder.path().join("queue.redb")] {
        assert!(matches!(reader.back_up(path), Err(StoreError::Taken { .. })), "{}", path.display());
    }
    assert!(matches!(reader.back_up(&folder.path().join("none/copy")), Err(StoreError::Files { .. })));
    assert_eq!(fs::read_to_string(&taken).unwrap(), "mine");
    assert_eq!(names(folder.path()), before);
}
