//! What `open` makes, takes and refuses; and that what it refuses stays as it was, byte for byte.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use redb::{Database, TableDefinition};
use spindle_core::change::Change;
use spindle_shared::job::JobState;

use super::model::Model;
use super::samples;
use crate::store::{Store, StoreError, file, tables};

fn queue(folder: &tempfile::TempDir) -> PathBuf {
    folder.path().join("queue.redb")
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn refusal(folder: &tempfile::TempDir) -> StoreError {
    match Store::open(folder.path()) {
        Ok(_) => panic!("it was opened"),
        Err(error) => error,
    }
}

/// Refused, and the file is what it was.
fn check_refused(image: &[u8]) -> StoreError {
    let folder = tempfile::tempdir().unwrap();
    fs::write(queue(&folder), image).unwrap();
    let error = refusal(&folder);
    assert!(fs::read(queue(&folder)).unwrap() == image, "{error} and changed the file");
    assert!(error.to_string().contains("queue.redb"), "{error}");
    error
}

fn turn(id: u64) -> Vec<Change> {
    let job = |index| spindle_shared::id::JobId { batch: spindle_shared::id::BatchId(id), index };
    vec![
        Change::BatchAdded(Box::new(samples::batch(id, Some("a"), (1..9).map(samples::job).collect()))),
        Change::JobOpen(job(2), Box::new(samples::open_job())),
        Change::JobEnded(job(3), Box::new(samples::ended_job(JobState::Failed))),
        Change::JobEnded(job(4), Box::new(samples::ended_job(JobState::Completed))),
    ]
}

/// A queue with something in it: closed properly, and as a crash leaves it.
fn images() -> (Model, [Vec<u8>; 2]) {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    let mut store = Store::open(folder.path()).unwrap();
    store.load().unwrap();
    model.recover();
    for id in 1..4 {
        store.commit(&turn(id)).unwrap();
        model.commit(&turn(id)).unwrap();
    }
    let crashed = fs::read(queue(&folder)).unwrap();
    drop(store);
    (model, [fs::read(queue(&folder)).unwrap(), crashed])
}

#[test]
fn a_new_queue_is_its_owners_alone() {
    let folder = tempfile::tempdir().unwrap();
    let state_dir = folder.path().join("state/spindle");
    let mut store = Store::open(&state_dir).unwrap();
    assert_eq!((mode(&state_dir), mode(&state_dir.join("queue.redb"))), (0o700, 0o600));
    let names: Vec<_> = fs::read_dir(&state_dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["queue.redb"]);
    assert_eq!((store.load().unwrap().boot, store.load().unwrap().boot), (1, 2));
}

#[test]
fn a_folder_that_had_a_queue_gets_no_new_one() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("artifacts/ab")).unwrap();
    let error = refusal(&folder);
    assert!(matches!(&error, StoreError::Missing { found, .. } if found == "artifacts"), "{error}");
    assert!(!queue(&folder).exists());
}

#[test]
fn what_a_first_start_may_leave_is_no_hindrance() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(folder.path().join("artifacts")).unwrap();
    fs::write(folder.path().join("workers.lock"), "").unwrap();
    fs::write(folder.path().join(".queue.redb.12345.new"), "half a queue").unwrap();
    Store::open(folder.path()).unwrap();
    assert!(!folder.path().join(".queue.redb.12345.new").exists());
    assert!(folder.path().join("artifacts").exists());
}

#[test]
fn a_second_opening_is_refused_and_names_the_first() {
    let folder = tempfile::tempdir().unwrap();
    let first = Store::open(folder.path()).unwrap();
    let reader = first.reader();
    let StoreError::Locked { pid, .. } = refusal(&folder) else { panic!("it is locked") };
    // Not every file system lets the kernel's list of locks name the file.
    assert!(pid.is_none_or(|pid| pid == std::process::id()), "{pid:?}");
    drop(first);
    assert!(matches!(refusal(&folder), StoreError::Locked { .. }), "a reader keeps it open");
    drop(reader);
    Store::open(folder.path()).unwrap();
}

#[test]
fn what_is_no_queue_is_refused_untouched() {
    for image in [&b""[..], b"x", b"redb", &[0; 100_000], "just some text\n".repeat(10_000).as_bytes()] {
        assert!(matches!(check_refused(image), StoreError::Damaged { .. }));
    }
}

#[test]
fn neither_folders_nor_pipes_are_opened() {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir(queue(&folder)).unwrap();
    assert!(matches!(refusal(&folder), StoreError::Damaged { .. }));
    let folder = tempfile::tempdir().unwrap();
    rustix::fs::mknodat(rustix::fs::CWD, queue(&folder), rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    assert!(matches!(refusal(&folder), StoreError::Damaged { .. }));
}

#[test]
fn a_queue_that_is_cut_off_is_refused_untouched() {
    let (_, images) = images();
    for image in &images {
        for part in 1..16 {
            let error = check_refused(&image[..image.len() * part / 16]);
            assert!(matches!(error, StoreError::Damaged { .. }), "{error}");
        }
    }
}

#[test]
fn a_rotten_byte_is_refused_untouched_or_does_no_harm() {
    let (model, images) = images();
    let mut refused = 0;
    for image in &images {
        for at in (0..64).chain((64..image.len()).step_by(image.len() / 60)) {
            // The one byte without a checksum: which of the file's last two commits counts.
            if at == 9 {
                continue;
            }
            let mut rotten = image.clone();
            rotten[at] ^= 0x41;
            let folder = tempfile::tempdir().unwrap();
            fs::write(queue(&folder), &rotten).unwrap();
            match Store::open(folder.path()) {
                Ok(mut store) => {
                    assert!(store.load().unwrap() == model.clone().recover(), "byte {at}: opened with something else");
                    model.check(&store.reader());
                }
                Err(error) => {
                    refused += 1;
                    assert!(matches!(error, StoreError::Damaged { .. }), "byte {at}: {error}");
                    assert!(fs::read(queue(&folder)).unwrap() == rotten, "byte {at}: refused and changed");
                }
            }
        }
    }
    assert!(refused > 10, "only {refused} refused");
}

#[test]
fn a_newer_queue_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    Store::open(folder.path()).unwrap();
    let database = Database::open(queue(&folder)).unwrap();
    let transaction = database.begin_write().unwrap();
    transaction.open_table(tables::META).unwrap().insert(tables::META_SCHEMA, 9).unwrap();
    transaction.commit().unwrap();
    let crashed = fs::read(queue(&folder)).unwrap();
    drop(database);
    for image in [fs::read(queue(&folder)).unwrap(), crashed] {
        let error = check_refused(&image);
        assert!(matches!(error, StoreError::Newer { found: 9, known: tables::SCHEMA, .. }), "{error}");
    }
}

#[test]
fn another_programs_database_is_refused_untouched() {
    let folder = tempfile::tempdir().unwrap();
    for foreign in ["meta", "other"] {
        let path = folder.path().join(foreign);
        let database = Database::create(&path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(TableDefinition::<u64, u64>::new(foreign)).unwrap().insert(1, 1).unwrap();
        transaction.commit().unwrap();
        drop(database);
        assert!(matches!(check_refused(&fs::read(path).unwrap()), StoreError::Damaged { .. }));
    }
}

#[test]
fn a_disk_without_room_is_told_before_anything_is_written() {
    let folder = tempfile::tempdir().unwrap();
    assert!(matches!(file::check_room(folder.path(), u64::MAX), Err(StoreError::Full)));
    assert!(file::check_room(folder.path(), 1).is_ok());
}

#[test]
fn a_queue_that_is_mostly_free_is_smaller_after_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    let mut store = Store::open(folder.path()).unwrap();
    store.load().unwrap();
    model.recover();
    let heavy = |number| spindle_shared::job::JobSpec { skip: Some("x".repeat(1 << 20)), ..samples::job(number) };
    let turns = [
        vec![Change::BatchAdded(Box::new(samples::batch(9, None, (1..=40).map(heavy).collect())))],
        turn(1),
        vec![Change::BatchRemoved(spindle_shared::id::BatchId(9))],
        // What a commit frees is free from the next but one on.
        vec![Change::HousePaused(true)],
        vec![Change::HousePaused(false)],
    ];
    for turn in &turns {
        store.commit(turn).unwrap();
        model.commit(turn).unwrap();
    }
    // As a crash leaves it: a good end gives back what is free at the file's end.
    let image = fs::read(queue(&folder)).unwrap();
    drop(store);
    fs::write(queue(&folder), &image).unwrap();
    let before = image.len() as u64;
    let mut store = Store::open(folder.path()).unwrap();
    let after = fs::metadata(queue(&folder)).unwrap().len();
    assert!(before > 40 << 20 && after < before / 8, "{before} bytes became {after}");
    assert_eq!(mode(&queue(&folder)), 0o600);
    assert_eq!(store.load().unwrap(), model.recover());
    model.check(&store.reader());
    store.commit(&turn(2)).unwrap();
    model.commit(&turn(2)).unwrap();
    model.check(&store.reader());
}
