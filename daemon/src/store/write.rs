//! Changes to rows, in one transaction. Knows what each change means for the tables, and no reason for any of them.

use std::collections::BTreeMap;

use redb::{Database, ReadableTable, Table, WriteTransaction};
use spindle_core::change::{BatchStatus, Change, EndedJob, NewBatch, OpenJob, Stored};
use spindle_shared::id::{BatchId, GATHER_INDEX, JobId};
use spindle_shared::job::{Detail, JobState};

use super::{StoreError, rows, tables};

/// All of `changes` or nothing.
pub(super) fn commit(database: &Database, changes: &[Change]) -> Result<(), StoreError> {
    let transaction = begin(database)?;
    let mut writer = Writer::open(&transaction)?;
    for change in changes {
        writer.apply(change)?;
    }
    writer.finish()?;
    transaction.commit()?;
    Ok(())
}

/// A transaction of two phases. With one, redb after a crash takes a rotten last commit for one that was cut off, and falls back
/// to the one before without a word; with two it knows that the last was confirmed, and refuses.
pub(super) fn begin(database: &Database) -> Result<WriteTransaction, StoreError> {
    let mut transaction = database.begin_write()?;
    transaction.set_two_phase_commit(true);
    Ok(transaction)
}

/// Makes every table that is not there yet.
pub(super) fn create_tables(transaction: &WriteTransaction) -> Result<(), StoreError> {
    Writer::open(transaction).map(drop)
}

/// Free space worth asking for before these changes are written: pages are copied before they are changed, but neighbours share them.
pub(super) fn room_bytes(changes: &[Change]) -> u64 {
    const PER_CHANGE: u64 = 1 << 10;
    const PER_JOB: u64 = 512;
    let jobs = changes.iter().map(|change| match change {
        Change::BatchAdded(batch) => batch.jobs.len() as u64,
        _ => 0,
    });
    changes.len() as u64 * PER_CHANGE + jobs.sum::<u64>() * PER_JOB
}

struct Writer<'t> {
    meta: Table<'t, &'static str, u64>,
    batches: Table<'t, tables::BatchKey, &'static [u8]>,
    statuses: Table<'t, tables::BatchKey, &'static [u8]>,
    unfinished: Table<'t, tables::BatchKey, ()>,
    jobs: Table<'t, tables::JobKey, &'static [u8]>,
    open: Table<'t, tables::JobKey, &'static [u8]>,
    ended: Table<'t, tables::JobKey, &'static [u8]>,
    failed: Table<'t, tables::JobKey, ()>,
    keys: Table<'t, (u32, &'static str), tables::BatchKey>,
    inputs: Table<'t, (u64, u64), &'static [u8]>,
    outputs: Table<'t, &'static [u8], &'static [u8]>,
    artifacts: Table<'t, &'static [u8; 32], &'static [u8]>,
    sizes: Table<'t, tables::BatchKey, &'static [u8]>,
    rates: Table<'t, (&'static str, &'static str), &'static [u8]>,
    quotas: Table<'t, u32, (u64, f64)>,
    apis: Table<'t, (&'static str, u32), &'static [u8]>,
    stores: Table<'t, &'static str, &'static [u8]>,
    objects: Table<'t, &'static [u8], u64>,
    places: Table<'t, tables::JobKey, &'static str>,
    deliveries: Table<'t, u64, &'static [u8]>,
    folders: Table<'t, u64, &'static [u8]>,
    folder_files: Table<'t, (u64, &'static [u8]), &'static [u8]>,
    folder_sends: Table<'t, u64, &'static [u8]>,
    /// Written at the end, once per batch.
    statuses_due: BTreeMap<BatchId, BatchStatus>,
}

impl<'t> Writer<'t> {
    fn open(transaction: &'t WriteTransaction) -> Result<Self, StoreError> {
        Ok(Writer {
            meta: transaction.open_table(tables::META)?,
            batches: transaction.open_table(tables::BATCHES)?,
            statuses: transaction.open_table(tables::STATUSES)?,
            unfinished: transaction.open_table(tables::UNFINISHED)?,
            jobs: transaction.open_table(tables::JOBS)?,
            open: transaction.open_table(tables::OPEN)?,
            ended: transaction.open_table(tables::ENDED)?,
            failed: transaction.open_table(tables::FAILED)?,
            keys: transaction.open_table(tables::KEYS)?,
            inputs: transaction.open_table(tables::INPUTS)?,
            outputs: transaction.open_table(tables::OUTPUTS)?,
            artifacts: transaction.open_table(tables::ARTIFACTS)?,
            sizes: transaction.open_table(tables::SIZES)?,
            rates: transaction.open_table(tables::RATES)?,
            quotas: transaction.open_table(tables::QUOTAS)?,
            apis: transaction.open_table(tables::APIS)?,
            stores: transaction.open_table(tables::STORES)?,
            objects: transaction.open_table(tables::OBJECTS)?,
            places: transaction.open_table(tables::PLACES)?,
            deliveries: transaction.open_table(tables::DELIVERIES)?,
            folders: transaction.open_table(tables::FOLDERS)?,
            folder_files: transaction.open_table(tables::FOLDER_FILES)?,
            folder_sends: transaction.open_table(tables::FOLDER_SENDS)?,
            statuses_due: BTreeMap::new(),
        })
    }

    fn apply(&mut self, change: &Change) -> Result<(), StoreError> {
        match change {
            Change::BatchAdded(batch) => self.add_batch(batch)?,
            Change::BatchChanged(batch, status) => {
                if self.batches.get(batch.0)?.is_none() {
                    return Err(StoreError::Inconsistent(format!("batch {batch} changes and is not there")));
                }
                self.statuses_due.insert(*batch, *status);
            }
            Change::JobOpen(job, open) => self.open_job(*job, open)?,
            Change::JobEnded(job, ended) => self.end_job(*job, ended)?,
            Change::BatchRemoved(batch) => self.remove_batch(*batch)?,
            Change::InputKnown(identity, content) => {
                let row = rows::write_input(identity, *content);
                self.inputs.insert((identity.dev, identity.inode), row.as_slice())?;
            }
            Change::ArtifactStored(address, artifact) => {
                self.artifacts.insert(&address.0, rows::write_artifact(artifact).as_slice())?;
            }
            Change::ArtifactDropped(address) => {
                self.artifacts.remove(&address.0)?;
            }
            Change::Published(path, file) => {
                self.outputs.insert(path.0.as_slice(), rows::write_published(file).as_slice())?;
            }
            Change::RateLearned(key, rate) => {
                let key = (key.kind.as_str(), key.model.as_str());
                match rate {
                    Some(rate) => drop(self.rates.insert(key, rows::write_rate(rate).as_slice())?),
                    None => drop(self.rates.remove(key)?),
                }
            }
            Change::Spent(owner, day, seconds) => {
                self.quotas.insert(owner.0, (*day, *seconds))?;
            }
            Change::ApiUsed(name, key, used) => {
                self.apis.insert((name.as_str(), *key), rows::write_api(used).as_slice())?;
            }
            Change::DeliveryAdded(delivery) => {
                self.deliveries.insert(delivery.id, rows::write_delivery(delivery).as_slice())?;
                let next = self.meta.get(tables::META_NEXT_DELIVERY)?.map_or(0, |value| value.value());
                self.meta.insert(tables::META_NEXT_DELIVERY, next.max(delivery.id.saturating_add(1)))?;
            }
            Change::DeliveryTried { id, tries, next_at, why: _ } => {
                let row = self.deliveries.get(*id)?.map(|row| rows::read_delivery(*id, row.value())).transpose()?;
                let mut delivery = row
                    .ok_or_else(|| StoreError::Inconsistent(format!("notification {id} is tried and is not there")))?;
                (delivery.tries, delivery.next_at) = (*tries, *next_at);
                self.deliveries.insert(*id, rows::write_delivery(&delivery).as_slice())?;
            }
            Change::DeliveryOver(id) => {
                self.deliveries.remove(*id)?;
            }
            Change::FolderAdded(folder) => {
                self.folders.insert(folder.id, rows::write_folder(folder).as_slice())?;
                let next = self.meta.get(tables::META_NEXT_FOLDER)?.map_or(1, |value| value.value());
                self.meta.insert(tables::META_NEXT_FOLDER, next.max(folder.id.saturating_add(1)))?;
            }
            Change::FolderRemoved(id) => {
                self.folders.remove(*id)?;
                self.folder_sends.remove(*id)?;
                let end = id.saturating_add(1);
                self.folder_files.retain_in((*id, [].as_slice())..(end, [].as_slice()), |_, _| false)?;
            }
            Change::FolderSends { folder, key, files } => {
                self.folder_sends.insert(*folder, rows::write_sending(key, files).as_slice())?;
            }
            Change::FolderSent { folder, taken } => {
                let sent = self.folder_sends.remove(*folder)?.map(|row| rows::read_sending(row.value())).transpose()?;
                let (_, files) = sent.unwrap_or_default();
                // A folder that was removed meanwhile needs to know nothing more.
                if *taken && self.folders.get(*folder)?.is_some() {
                    for (path, identity) in files {
                        let row = rows::write_folder_file(&identity);
                        self.folder_files.insert((*folder, path.0.as_slice()), row.as_slice())?;
                    }
                }
            }
            Change::Placed(job, bucket) => {
                self.places.insert((job.batch.0, job.index), bucket.as_str())?;
            }
            Change::Stored(stored) => self.count_stored(stored)?,
            Change::HousePaused(paused) => {
                self.meta.insert(tables::META_PAUSED, u64::from(*paused))?;
            }
        }
        Ok(())
    }

    fn add_batch(&mut self, batch: &NewBatch) -> Result<(), StoreError> {
        let id = batch.id.0;
        let total = u32::try_from(batch.jobs.len())
            .map_err(|_| StoreError::Inconsistent(format!("batch {id} has {} jobs", batch.jobs.len())))?;
        if self.batches.insert(id, rows::write_batch(batch, total).as_slice())?.is_some() {
            return Err(StoreError::Inconsistent(format!("batch {id} is added and is there already")));
        }
        self.statuses_due.insert(batch.id, batch.status);
        let next = self.meta.get(tables::META_NEXT_BATCH)?.map_or(1, |value| value.value());
        self.meta.insert(tables::META_NEXT_BATCH, next.max(id.saturating_add(1)))?;
        if let Some(key) = &batch.spec.key {
            self.keys.insert((batch.owner.0, key.as_str()), id)?;
        }
        self.sizes.insert(id, rows::write_sizes(&batch.sizes).as_slice())?;
        if let Some(spec) = &batch.gather {
            self.jobs.insert((id, GATHER_INDEX), rows::write_job(spec).as_slice())?;
            self.open.insert((id, GATHER_INDEX), [].as_slice())?;
        }
        // One table after the other: keys rise, so each insertion finds its page still at hand.
        let mut reasons = Vec::new();
        for (index, spec) in (1..).zip(batch.jobs.iter()) {
            self.jobs.insert((id, index), rows::write_job(&spec).as_slice())?;
            reasons.extend(spec.skip.map(|reason| (index, reason)));
        }
        let mut skips = reasons.iter().peekable();
        for index in 1..=total {
            match skips.next_if(|(at, _)| *at == index) {
                None => {
                    self.open.insert((id, index), [].as_slice())?;
                }
                Some((_, reason)) => {
                    let row = rows::write_ended(&skipped(batch, reason)).expect("skipped is an end");
                    self.ended.insert((id, index), row.as_slice())?;
                }
            }
        }
        Ok(())
    }

    /// Also takes an ended job back (retry).
    fn open_job(&mut self, job: JobId, open: &OpenJob) -> Result<(), StoreError> {
        let key = (job.batch.0, job.index);
        if self.open.insert(key, rows::write_open(open).as_slice())?.is_some() {
            return Ok(());
        }
        if self.ended.remove(key)?.is_none() {
            return Err(StoreError::Inconsistent(format!("job {job} opens and is not there")));
        }
        self.failed.remove(key)?;
        Ok(())
    }

    fn end_job(&mut self, job: JobId, ended: &EndedJob) -> Result<(), StoreError> {
        let key = (job.batch.0, job.index);
        let row = rows::write_ended(ended)
            .ok_or_else(|| StoreError::Inconsistent(format!("job {job} ends as {}", ended.state.name())))?;
        let was_open = self.open.remove(key)?.is_some();
        let was_ended = self.ended.insert(key, row.as_slice())?.is_some();
        if !was_open && !was_ended {
            return Err(StoreError::Inconsistent(format!("job {job} ends and is not there")));
        }
        if ended.state == JobState::Failed {
            self.failed.insert(key, ())?;
        } else {
            self.failed.remove(key)?;
        }
        Ok(())
    }

    /// What was put where something of ours lay already counts for the difference.
    fn count_stored(&mut self, stored: &Stored) -> Result<(), StoreError> {
        let bucket = stored.bucket.as_str();
        let known = self.stores.get(bucket)?.map(|row| rows::read_store(row.value())).transpose()?;
        let mut known = known.unwrap_or_default();
        for (path, bytes) in &stored.objects {
            let before = self.objects.insert(path.0.as_slice(), bytes)?.map_or(0, |bytes| bytes.value());
            known.bytes = known.bytes.saturating_sub(before).saturating_add(*bytes);
        }
        let (bytes, seconds) = stored.sent;
        known.learn(bytes, seconds, stored.at);
        self.stores.insert(bucket, rows::write_store(&known).as_slice())?;
        Ok(())
    }

    /// What it published stays known: the files are still there.
    fn remove_batch(&mut self, batch: BatchId) -> Result<(), StoreError> {
        self.statuses_due.remove(&batch);
        let Some(row) = self.batches.remove(batch.0)?.map(|value| rows::read_batch(value.value())).transpose()? else {
            return Ok(());
        };
        if let Some(key) = &row.spec.key {
            let key = (row.owner.0, key.as_str());
            if self.keys.get(key)?.is_some_and(|value| value.value() == batch.0) {
                self.keys.remove(key)?;
            }
        }
        self.statuses.remove(batch.0)?;
        self.sizes.remove(batch.0)?;
        self.unfinished.remove(batch.0)?;
        let range = (batch.0, 0)..=(batch.0, u32::MAX);
        self.jobs.retain_in(range.clone(), |_, _| false)?;
        self.open.retain_in(range.clone(), |_, _| false)?;
        self.ended.retain_in(range.clone(), |_, _| false)?;
        self.failed.retain_in(range.clone(), |_, _| false)?;
        self.places.retain_in(range, |_, _| false)?;
        Ok(())
    }

    fn finish(mut self) -> Result<(), StoreError> {
        for (batch, status) in std::mem::take(&mut self.statuses_due) {
            self.statuses.insert(batch.0, rows::write_status(&status).as_slice())?;
            if status.finished_at.is_none() || !status.counts.all_ended() {
                self.unfinished.insert(batch.0, ())?;
            } else {
                self.unfinished.remove(batch.0)?;
            }
        }
        Ok(())
    }
}

fn skipped(batch: &NewBatch, reason: &str) -> EndedJob {
    EndedJob {
        state: JobState::Skipped,
        stage: String::new(),
        attempts: 0,
        progress: 0.0,
        started_at: None,
        finished_at: batch.created_at,
        timings: Vec::new(),
        failure: None,
        skipped_reason: Some(reason.to_owned()),
        outputs: Vec::new(),
        detail: Detail::default(),
        peak_memory_bytes: 0,
        artifact: None,
    }
}
