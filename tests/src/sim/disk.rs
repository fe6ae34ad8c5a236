//! The disk: what a store would hold after these changes, and nothing of how. Refuses changes that no store should ever be asked to make.

use std::collections::{BTreeMap, BTreeSet};

use spindle_core::change::{
    BatchStatus, Change, EndedJob, NewBatch, OpenJob, PublishedFile, Recovered, RecoveredBatch, StoredArtifact,
};
use spindle_core::effect::{FoundInput, RetryItem};
use spindle_core::rates::{Rate, RateKey};
use spindle_shared::batch::{BatchView, Counts, state_of};
use spindle_shared::id::{BatchId, ContentHash, JobId, Owner};
use spindle_shared::job::{Detail, FileIdentity, Input, JobSpec, JobState, PathBytes};

/// All that is durable.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    pub boot: u64,
    pub next_batch: u64,
    pub paused: bool,
    pub batches: BTreeMap<BatchId, DiskBatch>,
    pub keys: BTreeMap<(Owner, String), BatchId>,
    pub inputs: BTreeMap<FileIdentity, ContentHash>,
    pub artifacts: BTreeMap<ContentHash, StoredArtifact>,
    pub published: BTreeMap<PathBytes, PublishedFile>,
    pub rates: BTreeMap<RateKey, Rate>,
}

/// A batch with all its jobs, open or ended.
#[derive(Debug, Clone)]
pub struct DiskBatch {
    pub new: NewBatch,
    pub status: BatchStatus,
    pub open: BTreeMap<u32, Option<Box<OpenJob>>>,
    pub ended: BTreeMap<u32, EndedJob>,
}

impl DiskBatch {
    pub fn spec_of(&self, index: u32) -> &JobSpec {
        &self.new.jobs[index as usize - 1]
    }

    /// The counters must agree with the jobs; which of the open ones run is not the disk's to know.
    fn recount(&self) -> Result<(), String> {
        let id = self.new.id;
        let mut counts = Counts::default();
        for ended in self.ended.values() {
            *counts.slot(ended.state) += 1;
        }
        let kept = self.status.counts;
        let ends = |counts: &Counts| (counts.completed, counts.skipped, counts.failed, counts.cancelled);
        let waiting = kept.pending + kept.running + kept.retrying;
        if ends(&counts) != ends(&kept) || waiting != self.open.len() as u32 {
            return Err(format!("counters of batch {id} are {kept:?}; recounted {counts:?}, {} open", self.open.len()));
        }
        if self.status.finished_at.is_some() != self.open.is_empty() {
            return Err(format!("batch {id} has {} open jobs and {:?}", self.open.len(), self.status));
        }
        Ok(())
    }

    fn recovered(&self) -> RecoveredBatch {
        RecoveredBatch {
            id: self.new.id,
            owner: self.new.owner,
            spec: self.new.spec.clone(),
            created_at: self.new.created_at,
            status: self.status,
            total: self.new.jobs.len() as u32,
            open: self.open.iter().map(|(index, behind)| (*index, behind.clone())).collect(),
            sizes: self.new.sizes.clone(),
        }
    }
}

impl Disk {
    /// One transaction. `retried`: what a client's retry has named since the last one.
    pub fn commit(&mut self, changes: &[Change], retried: &BTreeSet<JobId>) -> Result<(), String> {
        let mut touched = BTreeSet::new();
        for change in changes {
            self.apply(change, retried)?;
            match change {
                Change::BatchAdded(new) => drop(touched.insert(new.id)),
                Change::BatchChanged(id, _) => drop(touched.insert(*id)),
                Change::JobOpen(id, _) | Change::JobEnded(id, _) => drop(touched.insert(id.batch)),
                _ => {}
            }
        }
        touched.iter().filter_map(|id| self.batches.get(id)).try_for_each(DiskBatch::recount)
    }

    fn apply(&mut self, change: &Change, retried: &BTreeSet<JobId>) -> Result<(), String> {
        match change {
            Change::BatchAdded(new) => {
                if new.id.0 < self.next_batch {
                    return Err(format!("the number of batch {} is given a second time", new.id));
                }
                self.next_batch = new.id.0 + 1;
                if let Some(key) = &new.spec.key
                    && let Some(known) = self.keys.insert((new.owner, key.clone()), new.id)
                {
                    return Err(format!("batches {known} and {} have the same key", new.id));
                }
                let mut batch = DiskBatch {
                    new: (**new).clone(),
                    status: new.status,
                    open: BTreeMap::new(),
                    ended: BTreeMap::new(),
                };
                for (at, job) in new.jobs.iter().enumerate() {
                    let index = at as u32 + 1;
                    if job.skip.is_some() {
                        batch.ended.insert(index, skipped(job, new));
                    } else {
                        batch.open.insert(index, None);
                    }
                }
                self.batches.insert(new.id, batch);
            }
            Change::BatchChanged(id, status) => self.batch(*id)?.status = *status,
            Change::JobOpen(id, open) => {
                let batch = self.batch(id.batch)?;
                if let Some(ended) = batch.ended.remove(&id.index) {
                    let legal = matches!(ended.state, JobState::Failed | JobState::Cancelled);
                    if !legal || !retried.contains(id) {
                        return Err(format!("job {id} leaves its end {:?} without a retry", ended.state));
                    }
                }
                batch.open.insert(id.index, Some(open.clone()));
            }
            Change::JobEnded(id, ended) => {
                let batch = self.batch(id.batch)?;
                if batch.open.remove(&id.index).is_none() {
                    return Err(format!("job {id} ends ({:?}) and is not open", ended.state));
                }
                if !ended.state.is_terminal() {
                    return Err(format!("job {id} ends as {:?}", ended.state));
                }
                batch.ended.insert(id.index, (**ended).clone());
            }
            Change::BatchRemoved(id) => {
                let batch = self.batch(*id)?;
                if !batch.open.is_empty() {
                    return Err(format!("batch {id} is removed and has open jobs"));
                }
                self.batches.remove(id);
                self.keys.retain(|_, batch| batch != id);
            }
            Change::InputKnown(identity, content) => drop(self.inputs.insert(*identity, *content)),
            Change::ArtifactStored(address, artifact) => drop(self.artifacts.insert(*address, artifact.clone())),
            Change::ArtifactDropped(address) => {
                if self.artifacts.remove(address).is_none() {
                    return Err(format!("artifact {address} is dropped and not there"));
                }
            }
            Change::Published(path, file) => drop(self.published.insert(path.clone(), file.clone())),
            Change::HousePaused(paused) => self.paused = *paused,
            Change::RateLearned(key, Some(rate)) => drop(self.rates.insert(key.clone(), *rate)),
            Change::RateLearned(key, None) => drop(self.rates.remove(key)),
        }
        Ok(())
    }

    fn batch(&mut self, id: BatchId) -> Result<&mut DiskBatch, String> {
        self.batches.get_mut(&id).ok_or_else(|| format!("batch {id} is changed and not there"))
    }

    /// A new boot: its number is durable before anything starts.
    pub fn open_again(&mut self) -> Recovered {
        self.boot += 1;
        let open = self.batches.values().filter(|batch| batch.status.finished_at.is_none());
        Recovered {
            boot: self.boot,
            next_batch: self.next_batch,
            paused: self.paused,
            batches: open.map(DiskBatch::recovered).collect(),
            rates: self.rates.iter().map(|(key, rate)| (key.clone(), *rate)).collect(),
        }
    }

    pub fn is_open(&self, id: JobId) -> bool {
        self.batches.get(&id.batch).is_some_and(|batch| batch.open.contains_key(&id.index))
    }

    pub fn ended(&self, id: JobId) -> Option<&EndedJob> {
        self.batches.get(&id.batch)?.ended.get(&id.index)
    }

    pub fn find_input(&self, id: JobId, identity: Option<FileIdentity>) -> Option<FoundInput> {
        let spec = self.batches.get(&id.batch)?.spec_of(id.index);
        let (is_file, identity) = match &spec.input {
            Input::File { identity: submitted, .. } => (true, Some(identity.unwrap_or(*submitted))),
            Input::Name(_) => (false, None),
        };
        let content = identity.and_then(|identity| self.inputs.get(&identity).copied());
        Some(FoundInput { is_file, bytes: spec.input.bytes(), content, stages: spec.stages.clone() })
    }

    /// The jobs of a batch that a retry names (`None` = all).
    pub fn retry_item(&self, id: BatchId, only: Option<u32>) -> Option<RetryItem> {
        let batch = self.batches.get(&id)?;
        let jobs = batch.ended.iter().filter(|(index, _)| only.is_none_or(|only| only == **index));
        Some(RetryItem { batch: batch.recovered(), jobs: jobs.map(|(index, ended)| (*index, ended.state)).collect() })
    }

    pub fn view(&self, id: BatchId) -> Option<BatchView> {
        let DiskBatch { new, status, .. } = self.batches.get(&id)?;
        Some(BatchView {
            id,
            name: new.spec.name.clone(),
            recipe: new.spec.recipe.name.clone(),
            owner: new.owner,
            state: state_of(&status.counts, status.paused, status.cancelling),
            priority: status.priority,
            parallel: new.spec.parallel,
            created_at: new.created_at,
            started_at: status.started_at,
            finished_at: status.finished_at,
            counts: status.counts,
            progress: 0.0,
            stage: None,
            eta: None,
            tags: new.spec.tags.clone(),
        })
    }
}

fn skipped(job: &JobSpec, new: &NewBatch) -> EndedJob {
    EndedJob {
        state: JobState::Skipped,
        stage: String::new(),
        attempts: 0,
        progress: 0.0,
        started_at: None,
        finished_at: new.created_at,
        timings: Vec::new(),
        failure: None,
        skipped_reason: job.skip.clone(),
        outputs: Vec::new(),
        detail: Detail::default(),
        peak_memory_bytes: 0,
    }
}
