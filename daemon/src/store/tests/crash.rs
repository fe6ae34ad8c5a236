//! Cut power and failing disks: what was confirmed is there, what was not is there whole or not at all.

use std::io;
use std::sync::{Arc, Mutex};

use proptest::collection::vec;
use proptest::prelude::*;
use redb::{Builder, Database, StorageBackend};
use spindle_core::change::{Change, Recovered};

use super::model::Model;
use super::samples;
use super::turns::{Wish, changes, wish};
use crate::store::{Store, StoreError, compact, tables, write};

/// A disk that remembers what was flushed, and gives up after so many steps.
#[derive(Debug, Clone)]
struct Disk(Arc<Mutex<Platter>>);

#[derive(Debug)]
struct Platter {
    flushed: Vec<u8>,
    seen: Vec<u8>,
    unflushed: Vec<Step>,
    steps_left: u64,
    fault: io::ErrorKind,
}

#[derive(Debug, Clone)]
enum Step {
    Write(usize, Vec<u8>),
    SetLen(usize),
}

impl Step {
    fn apply(&self, image: &mut Vec<u8>) {
        match self {
            Step::Write(offset, bytes) => {
                let end = offset + bytes.len();
                image.resize(image.len().max(end), 0);
                image[*offset..end].copy_from_slice(bytes);
            }
            Step::SetLen(len) => image.resize(*len, 0),
        }
    }
}

impl Disk {
    fn new() -> Self {
        Disk(Arc::new(Mutex::new(Platter {
            flushed: Vec::new(),
            seen: Vec::new(),
            unflushed: Vec::new(),
            steps_left: u64::MAX,
            fault: io::ErrorKind::Other,
        })))
    }

    /// A disk with something on it already.
    fn holding(image: &[u8]) -> Self {
        let disk = Disk::new();
        let mut platter = disk.0.lock().unwrap();
        (platter.flushed, platter.seen) = (image.to_vec(), image.to_vec());
        drop(platter);
        disk
    }

    fn fail_after(&self, steps: u64, fault: io::ErrorKind) {
        let mut platter = self.0.lock().unwrap();
        platter.steps_left = steps;
        platter.fault = fault;
    }

    /// What lies on the disk after the power was cut: of what was not flushed, any part.
    fn after_cut(&self, kept: &[bool]) -> Vec<u8> {
        let platter = self.0.lock().unwrap();
        let mut image = platter.flushed.clone();
        for (step, kept) in platter.unflushed.iter().zip(kept.iter().cycle()) {
            if *kept {
                step.apply(&mut image);
            }
        }
        image
    }

    fn step(&self) -> io::Result<std::sync::MutexGuard<'_, Platter>> {
        let mut platter = self.0.lock().unwrap();
        match platter.steps_left.checked_sub(1) {
            Some(left) => platter.steps_left = left,
            None => return Err(platter.fault.into()),
        }
        Ok(platter)
    }

    fn change(&self, step: Step) -> io::Result<()> {
        let mut platter = self.step()?;
        step.apply(&mut platter.seen);
        platter.unflushed.push(step);
        Ok(())
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.0.lock().unwrap().seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        out.copy_from_slice(&self.0.lock().unwrap().seen[offset as usize..][..out.len()]);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.change(Step::SetLen(len as usize))
    }

    fn sync_data(&self) -> io::Result<()> {
        let mut platter = self.step()?;
        platter.flushed = platter.seen.clone();
        platter.unflushed.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.change(Step::Write(offset as usize, data.to_vec()))
    }
}

fn database(disk: &Disk) -> Database {
    let database = Builder::new().create_with_backend(disk.clone()).unwrap();
    let transaction = database.begin_write().unwrap();
    write::create_tables(&transaction).unwrap();
    transaction.open_table(tables::META).unwrap().insert(tables::META_SCHEMA, tables::SCHEMA).unwrap();
    transaction.commit().unwrap();
    database
}

/// Opened as a daemon would that starts after the cut.
fn recovered(image: &[u8]) -> (tempfile::TempDir, Store, Recovered) {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("queue.redb"), image).unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    let recovered = store.load().unwrap();
    (folder, store, recovered)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn cut_power_loses_nothing_that_was_confirmed(
        turns in vec(vec(wish(), 1..6), 1..10),
        steps in 0..120_u64,
        kept in vec(any::<bool>(), 1..40),
    ) {
        let disk = Disk::new();
        let database = database(&disk);
        disk.fail_after(steps, io::ErrorKind::Other);
        let mut model = Model::new();
        let mut in_flight = None;
        for wishes in turns {
            // A step can fail at any turn, but only a fitting turn is written.
            let wishes = wishes.into_iter().filter(|wish| !matches!(wish, Wish::Astray(_))).collect();
            let turn = changes(&model, wishes);
            if write::commit(&database, &turn).is_err() {
                in_flight = Some(turn);
                break;
            }
            model.commit(&turn).unwrap();
        }
        let (_folder, store, found) = recovered(&disk.after_cut(&kept));
        let mut with_it = model.clone();
        with_it.commit(&in_flight.unwrap_or_default()).unwrap();
        if found == model.clone().recover() {
            // Where both look the same to recovery, the rest tells them apart; each check is whole.
            let same = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| model.check(&store.reader())));
            if same.is_err() {
                with_it.check(&store.reader());
            }
        } else {
            prop_assert_eq!(found, with_it.recover());
            with_it.check(&store.reader());
        }
    }
}

fn add(id: u64) -> [Change; 1] {
    [Change::BatchAdded(Box::new(samples::batch(id, None, vec![samples::job(1), samples::job(2)])))]
}

#[test]
fn a_queue_copied_while_it_is_written_opens_with_all_that_was_confirmed() {
    let folder = tempfile::tempdir().unwrap();
    let mut model = Model::new();
    let mut store = Store::open(folder.path()).unwrap();
    store.load().unwrap();
    model.recover();
    for id in 1..20 {
        store.commit(&add(id)).unwrap();
        model.commit(&add(id)).unwrap();
    }
    let image = std::fs::read(folder.path().join("queue.redb")).unwrap();
    let (_folder, after, found) = recovered(&image);
    assert_eq!(found, model.recover());
    model.check(&after.reader());
}

#[test]
fn a_disk_that_fills_up_half_way_is_told_and_stops_the_queue() {
    let disk = Disk::new();
    let database = database(&disk);
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store { database: Arc::new(database), state_dir: folder.path().to_owned(), stopped: false };
    store.commit(&add(1)).unwrap();
    disk.fail_after(0, io::ErrorKind::StorageFull);
    assert!(matches!(store.commit(&add(2)), Err(StoreError::Full)));
    disk.fail_after(u64::MAX, io::ErrorKind::Other);
    assert!(matches!(store.commit(&add(2)), Err(StoreError::Stopped)));

    let (_folder, mut after, found) = recovered(&disk.after_cut(&[true]));
    assert_eq!(found.batches.len(), 1);
    after.commit(&add(2)).unwrap();
}

#[test]
fn a_failing_disk_is_not_called_full() {
    let disk = Disk::new();
    let database = database(&disk);
    disk.fail_after(0, io::ErrorKind::Other);
    assert!(matches!(write::commit(&database, &add(1)), Err(StoreError::Engine(_))));
}

#[test]
fn a_turn_that_does_not_fit_leaves_the_store_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = Store::open(folder.path()).unwrap();
    store.commit(&add(1)).unwrap();
    let turn = [add(2), add(1)].concat();
    assert!(matches!(store.commit(&turn), Err(StoreError::Inconsistent(_))));
    assert_eq!(store.reader().batches(9, |_| true).unwrap().len(), 1);
    store.commit(&add(2)).unwrap();
    assert_eq!(store.load().unwrap().next_batch, 3);
}

/// A queue most of which was removed again, closed properly; and what is left in it.
fn mostly_free() -> (Model, Vec<u8>) {
    let disk = Disk::new();
    let database = database(&disk);
    let mut model = Model::new();
    let jobs = |id: u64| (1..=40).map(|index| samples::job(id * 100 + index)).collect();
    let mut turn = |changes: &[Change]| {
        write::commit(&database, changes).unwrap();
        model.commit(changes).unwrap();
    };
    for id in 1..=40 {
        turn(&[Change::BatchAdded(Box::new(samples::batch(id, None, jobs(id))))]);
    }
    for id in (1..=40).filter(|id| id % 13 != 0) {
        turn(&[Change::BatchRemoved(spindle_shared::id::BatchId(id))]);
    }
    drop(database);
    let image = disk.0.lock().unwrap().flushed.clone();
    (model, image)
}

#[test]
fn compaction_shrinks_the_file_and_keeps_everything() {
    let (model, image) = mostly_free();
    let disk = Disk::holding(&image);
    let mut database = Builder::new().create_with_backend(disk.clone()).unwrap();
    assert!(compact::used_bytes(&database).unwrap() < image.len() as u64 / 2);
    assert!(compact::run(&mut database));
    drop(database);
    let after = disk.0.lock().unwrap().flushed.clone();
    assert!(after.len() < image.len() / 2, "{} of {} bytes are left", after.len(), image.len());
    let (_folder, store, found) = recovered(&after);
    assert_eq!(found, model.clone().recover());
    model.check(&store.reader());
}

#[test]
fn a_cut_in_the_middle_of_compaction_loses_nothing() {
    let (model, image) = mostly_free();
    let mut cuts = 0;
    // Every fifth step: each opens a queue on a real disk.
    for steps in (0..).step_by(5) {
        let disk = Disk::holding(&image);
        let mut database = Builder::new().create_with_backend(disk.clone()).unwrap();
        disk.fail_after(steps, io::ErrorKind::Other);
        let whole = compact::run(&mut database);
        drop(database);
        let kept = [[false, false, false], [true, false, true]];
        for kept in kept {
            let (_folder, store, found) = recovered(&disk.after_cut(&kept));
            assert_eq!(found, model.clone().recover(), "cut after {steps} steps");
            model.check(&store.reader());
        }
        if whole {
            break;
        }
        cuts += 1;
    }
    assert!(cuts > 4, "it took {cuts} steps only");
}
