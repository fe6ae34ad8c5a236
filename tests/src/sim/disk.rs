//! The disk: what a store would hold after these changes, and nothing of how. Refuses changes that no store should ever be asked to make.

use std::collections::{BTreeMap, BTreeSet};

use spindle_core::api::Used;
use spindle_core::change::{
    BatchStatus, Change, EndedJob, NewBatch, OpenJob, PublishedFile, Recovered, RecoveredBatch, StoredArtifact,
};
use spindle_core::effect::{FoundInput, RetryItem};
use spindle_core::rates::{Rate, RateKey};
use spindle_shared::batch::{BatchSpec, BatchState, BatchView, Counts, Terms, state_of};
use spindle_shared::id::{BatchId, ContentHash, GATHER_INDEX, JobId, Owner};
use spindle_shared::job::{Detail, FileIdentity, Input, JobSpec, JobState, PathBytes};
use spindle_shared::time::WallMs;

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
    pub spent: BTreeMap<Owner, (u64, f64)>,
    pub apis: BTreeMap<(String, u32), Used>,
}

/// A batch with all its jobs, open or ended.
#[derive(Debug, Clone)]
pub struct DiskBatch {
    pub new: NewBatch,
    /// Its inputs, unpacked.
    pub jobs: Vec<JobSpec>,
    pub status: BatchStatus,
    pub open: BTreeMap<u32, Option<Box<OpenJob>>>,
    pub ended: BTreeMap<u32, EndedJob>,
}

impl DiskBatch {
    pub fn spec_of(&self, index: u32) -> &JobSpec {
        let gather = self.new.gather.as_ref().filter(|_| index == GATHER_INDEX);
        gather.unwrap_or_else(|| &self.jobs[index as usize - 1])
    }

    /// Inputs that are open.
    pub fn open_inputs(&self) -> impl Iterator<Item = (&u32, &Option<Box<OpenJob>>)> {
        self.open.iter().filter(|(index, _)| **index != GATHER_INDEX)
    }

    /// What its completed inputs have left to be gathered, in input order.
    pub fn results(&self) -> impl Iterator<Item = (u32, Option<ContentHash>)> + '_ {
        let inputs = self.ended.iter().filter(|(index, _)| **index != GATHER_INDEX);
        let completed = inputs.filter(|(_, ended)| ended.state == JobState::Completed);
        completed.map(|(index, ended)| (*index, ended.artifact))
    }

    /// The counters must agree with the jobs; which of the open ones run is not the disk's to know.
    fn recount(&self) -> Result<(), String> {
        let id = self.new.id;
        let mut counts = Counts::default();
        for (_, ended) in self.ended.iter().filter(|(index, _)| **index != GATHER_INDEX) {
            *counts.slot(ended.state) += 1;
        }
        let kept = self.status.counts;
        let ends = |counts: &Counts| (counts.completed, counts.skipped, counts.failed, counts.cancelled);
        let waiting = kept.pending + kept.running + kept.retrying;
        if ends(&counts) != ends(&kept) || waiting != self.open_inputs().count() as u32 {
            return Err(format!("counters of batch {id} are {kept:?}; recounted {counts:?}, {} open", self.open.len()));
        }
        if self.status.finished_at.is_some() != self.open.is_empty() {
            return Err(format!("batch {id} has {} open jobs and {:?}", self.open.len(), self.status));
        }
        let gather = self.ended.get(&GATHER_INDEX).map(|ended| ended.state);
        if self.status.gather.is_some() != self.new.gather.is_some()
            || self.status.gather.filter(|state| state.is_terminal()) != gather
        {
            return Err(format!("the gather of batch {id} is kept as {:?}; it is {gather:?}", self.status.gather));
        }
        let gathered = counts.completed > 0;
        if matches!(gather, Some(JobState::Completed) if !gathered)
            || matches!(gather, Some(JobState::Skipped) if gathered)
        {
            return Err(format!("the gather of batch {id} is {gather:?} over {counts:?}"));
        }
        if self.new.gather.is_some() && self.results().any(|(_, artifact)| artifact.is_none()) {
            return Err(format!("an input of batch {id} completed and left nothing to gather"));
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
            after: Vec::new(),
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
                    jobs: new.jobs.iter().collect(),
                    status: new.status,
                    open: BTreeMap::new(),
                    ended: BTreeMap::new(),
                };
                if new.gather.is_some() {
                    batch.open.insert(GATHER_INDEX, None);
                }
                for (index, job) in (1..).zip(new.jobs.iter()) {
                    if job.skip.is_some() {
                        batch.ended.insert(index, skipped(&job, new));
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
                    // With any of its inputs, the gather is done again.
                    let legal = matches!(ended.state, JobState::Failed | JobState::Cancelled) || id.is_gather();
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
            Change::Spent(owner, day, seconds) => drop(self.spent.insert(*owner, (*day, *seconds))),
            // The scheduler makes none of these.
            Change::DeliveryAdded(_)
            | Change::DeliveryTried { .. }
            | Change::DeliveryOver(_)
            | Change::FolderAdded(_)
            | Change::FolderRemoved(_)
            | Change::FolderSends { .. }
            | Change::FolderSent { .. }
            | Change::Placed(..)
            | Change::Stored(_) => {}
            Change::ApiUsed(name, key, used) => drop(self.apis.insert((name.clone(), *key), used.clone())),
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
            batches: open
                .map(|batch| RecoveredBatch { after: self.ends_of(&batch.new.spec), ..batch.recovered() })
                .collect(),
            rates: self.rates.iter().map(|(key, rate)| (key.clone(), *rate)).collect(),
            spent: self.spent.iter().map(|(owner, (day, seconds))| (*owner, *day, *seconds)).collect(),
            deliveries: Vec::new(),
            next_delivery: 0,
            apis: self.apis.iter().map(|((name, key), used)| (name.clone(), *key, used.clone())).collect(),
        }
    }

    fn ends_of(&self, spec: &BatchSpec) -> Vec<(BatchId, Option<BatchState>)> {
        let end = |id| self.view(id).map(|view| view.state).filter(|state| state.is_terminal());
        spec.terms.after.iter().map(|after| (after.batch, end(after.batch))).collect()
    }

    /// The terms of a batch that has done nothing yet.
    fn terms_of_untouched(&self, id: BatchId) -> Option<&Terms> {
        let batch = self.batches.get(&id)?;
        let untouched = batch.ended.values().all(|ended| ended.state == JobState::Skipped);
        (batch.status.started_at.is_none() && untouched).then_some(&batch.new.spec.terms)
    }

    /// Which other batch keeps one back that has done nothing yet.
    pub fn kept_back(&self, id: BatchId) -> Option<String> {
        let unmet = self.terms_of_untouched(id)?.after.iter().find(|after| {
            let end = self.view(after.batch).map(|view| view.state);
            end.is_some_and(|end| !end.is_terminal() || !after.is_met_by(end))
        });
        unmet.map(|after| format!("batch {} has not ended as it should", after.batch))
    }

    /// Whether it is too early for a batch that has done nothing yet.
    pub fn is_early(&self, id: BatchId, wall: WallMs) -> bool {
        self.terms_of_untouched(id).and_then(|terms| terms.at).is_some_and(|at| at > wall)
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
            Input::Name(_) | Input::Url(_) => (false, None),
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
            state: state_of(&status.counts, status.gather, status.paused, status.cancelling),
            priority: status.priority,
            parallel: new.spec.parallel,
            created_at: new.created_at,
            started_at: status.started_at,
            finished_at: status.finished_at,
            counts: status.counts,
            gather: status.gather,
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
        artifact: None,
    }
}
