//! What the store should be: the same queue in plain maps. Knows no disk.

use std::collections::BTreeMap;

use spindle_core::api::Used;
use spindle_core::change::{
    BatchStatus, Change, EndedJob, NewBatch, OpenJob, PublishedFile, Recovered, RecoveredBatch, StoredArtifact,
};
use spindle_core::outbox::Delivery;
use spindle_core::rates::{Rate, RateKey};
use spindle_core::stores::Known;
use spindle_shared::batch::{BatchState, BatchView};
use spindle_shared::id::{BatchId, ContentHash, GATHER_INDEX, JobId, Owner};
use spindle_shared::job::{FileIdentity, Input, JobSpec, JobState, JobView, PathBytes};

use crate::store::Reader;

#[derive(Debug, Clone, Default)]
pub(super) struct Model {
    pub boot: u64,
    pub next_batch: u64,
    pub paused: bool,
    pub batches: BTreeMap<BatchId, ModelBatch>,
    pub keys: BTreeMap<(Owner, String), BatchId>,
    pub inputs: BTreeMap<(u64, u64), (FileIdentity, ContentHash)>,
    pub artifacts: BTreeMap<ContentHash, StoredArtifact>,
    pub published: BTreeMap<PathBytes, PublishedFile>,
    pub rates: BTreeMap<RateKey, Rate>,
    pub spent: BTreeMap<Owner, (u64, f64)>,
    pub apis: BTreeMap<(String, u32), Used>,
    pub deliveries: BTreeMap<u64, Delivery>,
    pub next_delivery: u64,
    pub stores: BTreeMap<String, Known>,
    pub objects: BTreeMap<PathBytes, u64>,
    pub places: BTreeMap<JobId, String>,
}

#[derive(Debug, Clone)]
pub(super) struct ModelBatch {
    pub added: NewBatch,
    /// Its inputs, unpacked.
    inputs: Vec<JobSpec>,
    pub status: BatchStatus,
    pub standings: BTreeMap<u32, Standing>,
}

#[derive(Debug, Clone)]
pub(super) enum Standing {
    Open(OpenJob),
    Ended(EndedJob),
}

impl Model {
    pub(super) fn new() -> Self {
        Model { next_batch: 1, ..Model::default() }
    }

    /// All of the turn, or nothing where one change doesn't fit.
    pub(super) fn commit(&mut self, changes: &[Change]) -> Result<(), ()> {
        let mut next = self.clone();
        for change in changes {
            next.apply(change)?;
        }
        *self = next;
        Ok(())
    }

    fn apply(&mut self, change: &Change) -> Result<(), ()> {
        match change {
            Change::BatchAdded(batch) => {
                if self.batches.contains_key(&batch.id) {
                    return Err(());
                }
                self.next_batch = self.next_batch.max(batch.id.0 + 1);
                if let Some(key) = &batch.spec.key {
                    self.keys.insert((batch.owner, key.clone()), batch.id);
                }
                let inputs: Vec<JobSpec> = batch.jobs.iter().collect();
                let jobs = batch.gather.iter().map(|job| (GATHER_INDEX, job)).chain((1..).zip(&inputs));
                let standings = jobs.map(|(index, job)| (index, first_standing(batch, job))).collect();
                let batch = ModelBatch { added: (**batch).clone(), inputs, status: batch.status, standings };
                self.batches.insert(batch.added.id, batch);
            }
            Change::BatchChanged(id, status) => self.batches.get_mut(id).ok_or(())?.status = *status,
            Change::JobOpen(id, job) => *self.standing(*id).ok_or(())? = Standing::Open((**job).clone()),
            Change::JobEnded(_, job) if !job.state.is_terminal() => return Err(()),
            Change::JobEnded(id, job) => *self.standing(*id).ok_or(())? = Standing::Ended((**job).clone()),
            Change::BatchRemoved(id) => {
                self.batches.remove(id);
                self.keys.retain(|_, batch| batch != id);
                self.places.retain(|job, _| job.batch != *id);
            }
            Change::InputKnown(identity, content) => {
                self.inputs.insert((identity.dev, identity.inode), (*identity, *content));
            }
            Change::ArtifactStored(address, artifact) => {
                self.artifacts.insert(*address, artifact.clone());
            }
            Change::ArtifactDropped(address) => {
                self.artifacts.remove(address);
            }
            Change::Published(path, file) => {
                self.published.insert(path.clone(), file.clone());
            }
            Change::HousePaused(paused) => self.paused = *paused,
            Change::RateLearned(key, Some(rate)) => drop(self.rates.insert(key.clone(), *rate)),
            Change::RateLearned(key, None) => drop(self.rates.remove(key)),
            Change::Spent(owner, day, seconds) => drop(self.spent.insert(*owner, (*day, *seconds))),
            // Their own test looks at them.
            Change::FolderAdded(_)
            | Change::FolderRemoved(_)
            | Change::FolderSends { .. }
            | Change::FolderSent { .. } => {}
            Change::DeliveryAdded(delivery) => {
                self.next_delivery = self.next_delivery.max(delivery.id + 1);
                self.deliveries.insert(delivery.id, (**delivery).clone());
            }
            Change::DeliveryTried { id, tries, next_at, why: _ } => {
                let delivery = self.deliveries.get_mut(id).ok_or(())?;
                (delivery.tries, delivery.next_at) = (*tries, *next_at);
            }
            Change::DeliveryOver(id) => drop(self.deliveries.remove(id)),
            Change::Placed(job, bucket) => drop(self.places.insert(*job, bucket.clone())),
            Change::Stored(stored) => {
                self.objects.extend(stored.objects.iter().map(|(path, bytes)| (path.clone(), *bytes)));
                let (bytes, seconds) = stored.sent;
                self.stores.entry(stored.bucket.clone()).or_default().learn(bytes, seconds, stored.at);
            }
            Change::ApiUsed(name, key, used) => drop(self.apis.insert((name.clone(), *key), used.clone())),
        }
        Ok(())
    }

    fn standing(&mut self, id: JobId) -> Option<&mut Standing> {
        self.batches.get_mut(&id.batch)?.standings.get_mut(&id.index)
    }

    /// What the next load gives back.
    pub(super) fn recover(&mut self) -> Recovered {
        self.boot += 1;
        let unfinished = |batch: &&ModelBatch| batch.status.finished_at.is_none() || !batch.status.counts.all_ended();
        Recovered {
            boot: self.boot,
            next_batch: self.next_batch,
            paused: self.paused,
            batches: self.batches.values().filter(unfinished).map(ModelBatch::recovered).collect(),
            rates: self.rates.iter().map(|(key, rate)| (key.clone(), *rate)).collect(),
            spent: self.spent.iter().map(|(owner, (day, seconds))| (*owner, *day, *seconds)).collect(),
            deliveries: self.deliveries.values().cloned().collect(),
            next_delivery: self.next_delivery,
            apis: self.apis.iter().map(|((name, key), used)| (name.clone(), *key, used.clone())).collect(),
        }
    }

    /// Everything a reader can be asked gives what this model has.
    pub(super) fn check(&self, reader: &Reader) {
        let views: Vec<BatchView> = self.batches.values().rev().map(ModelBatch::view).collect();
        assert_eq!(reader.batches(usize::MAX, |_| true).unwrap(), views);
        let done = |view: &BatchView| view.finished_at.is_some();
        let kept: Vec<BatchView> = views.iter().filter(|view| done(view)).take(2).cloned().collect();
        assert_eq!(reader.batches(2, done).unwrap(), kept);

        for id in (0..=self.next_batch).map(BatchId) {
            let batch = self.batches.get(&id);
            assert_eq!(reader.batch(id).unwrap(), batch.map(ModelBatch::view));
            let jobs = batch.map(ModelBatch::jobs).unwrap_or_default();
            for choice in STATES {
                for (from, limit) in [(0, 1_000), (1, 2), (2, 1), (3, 1_000), (1, 0)] {
                    let wanted =
                        |job: &&JobView| job.id.index >= from && (choice.is_empty() || choice.contains(&job.state));
                    let expected: Vec<JobView> = jobs.iter().filter(wanted).take(limit as usize).cloned().collect();
                    assert_eq!(reader.jobs(id, choice, from, limit).unwrap(), expected, "{choice:?} {from} {limit}");
                }
            }
            for index in 0..=jobs.len() as u32 + 1 {
                let job = JobId { batch: id, index };
                let view = batch.and_then(|batch| Some(batch.job(index, batch.standings.get(&index)?)));
                assert_eq!(reader.job(job).unwrap(), view);
                assert_eq!(reader.place(job).unwrap().as_ref(), self.places.get(&job));
                assert_eq!(reader.job_spec(job).unwrap().as_ref(), batch.and_then(|batch| batch.spec(index)));
            }
            let completed = batch.map(ModelBatch::completed);
            let read = reader.completed(id).unwrap();
            let read = read
                .map(|(_, rows)| rows.into_iter().map(|row| (row.index, row.input, row.artifact)).collect::<Vec<_>>());
            assert_eq!(read, completed);
        }
        let failed: Vec<JobView> = (self.batches.values().rev())
            .flat_map(|batch| batch.jobs().into_iter().filter(|job| job.state == JobState::Failed))
            .collect();
        for limit in [0, 1, 2, 3, usize::MAX] {
            let expected: Vec<JobView> = failed.iter().take(limit).cloned().collect();
            assert_eq!(reader.failures(limit, None).unwrap(), expected);
        }
        for owner in [Owner(0), Owner(1000)] {
            for key in ["a", "b", "c"] {
                let expected = self.keys.get(&(owner, key.to_owned())).copied();
                assert_eq!(reader.batch_of_key(owner, key).unwrap(), expected);
            }
        }
        // What a bucket holds is what its objects hold.
        let known = self.stores.iter().map(|(bucket, known)| {
            let place = format!("s3://{bucket}/");
            let ours = self.objects.iter().filter(|(path, _)| path.0.starts_with(place.as_bytes()));
            (bucket.clone(), Known { bytes: ours.map(|(_, bytes)| bytes).sum(), ..*known })
        });
        assert_eq!(reader.stores().unwrap(), known.collect());
        for (identity, content) in self.inputs.values() {
            assert_eq!(reader.content_of(identity).unwrap(), Some(*content));
            let touched = FileIdentity { mtime_ns: identity.mtime_ns + 1, ..*identity };
            assert_eq!(reader.content_of(&touched).unwrap(), None);
        }
        for number in 0..4_u64 {
            let address = ContentHash::of(&number.to_le_bytes());
            assert_eq!(reader.artifact(&address).unwrap().as_ref(), self.artifacts.get(&address));
            let path = super::samples::path(&format!("/out/{number}.srt"));
            assert_eq!(reader.published(&path).unwrap().as_ref(), self.published.get(&path));
        }
    }
}

const STATES: [&[JobState]; 6] = [
    &[],
    &[JobState::Failed],
    &[JobState::Pending, JobState::Running, JobState::Retrying],
    &[JobState::Completed, JobState::Skipped],
    &[JobState::Retrying, JobState::Failed],
    &[JobState::Running],
];

fn first_standing(batch: &NewBatch, job: &JobSpec) -> Standing {
    let Some(reason) = &job.skip else { return Standing::Open(OpenJob::default()) };
    Standing::Ended(EndedJob {
        artifact: None,
        state: JobState::Skipped,
        stage: String::new(),
        attempts: 0,
        progress: 0.0,
        started_at: None,
        finished_at: batch.created_at,
        timings: Vec::new(),
        failure: None,
        skipped_reason: Some(reason.clone()),
        outputs: Vec::new(),
        detail: Default::default(),
        peak_memory_bytes: 0,
    })
}

impl ModelBatch {
    fn recovered(&self) -> RecoveredBatch {
        let open = self.standings.iter().filter_map(|(index, standing)| match standing {
            Standing::Open(job) => Some((*index, (*job != OpenJob::default()).then(|| Box::new(job.clone())))),
            Standing::Ended(_) => None,
        });
        RecoveredBatch {
            id: self.added.id,
            owner: self.added.owner,
            spec: self.added.spec.clone(),
            created_at: self.added.created_at,
            status: self.status,
            total: self.added.jobs.len() as u32,
            open: open.collect(),
            sizes: self.added.sizes.clone(),
            // The samples wait for batch 1 only, which is never at its end.
            after: self.added.spec.terms.after.iter().map(|after| (after.batch, None)).collect(),
        }
    }

    fn view(&self) -> BatchView {
        let BatchStatus { priority, paused, cancelling, started_at, finished_at, counts, gather, cost: _ } =
            self.status;
        let good = counts.completed + counts.skipped;
        let bad = counts.failed + counts.cancelled;
        let state = match (finished_at.is_some(), cancelling, paused) {
            (true, true, _) => BatchState::Cancelled,
            (true, ..) if bad == 0 => BatchState::Completed,
            (true, ..) if good == 0 => BatchState::Failed,
            (true, ..) => BatchState::Partial,
            (false, true, _) => BatchState::Cancelling,
            (false, false, true) => BatchState::Paused,
            (false, ..) if started_at.is_some() => BatchState::Running,
            (false, ..) => BatchState::Pending,
        };
        let share = counts.ended() as f32 / self.added.jobs.len().max(1) as f32;
        BatchView {
            gather,
            id: self.added.id,
            name: self.added.spec.name.clone(),
            recipe: self.added.spec.recipe.name.clone(),
            owner: self.added.owner,
            state,
            priority,
            parallel: self.added.spec.parallel,
            created_at: self.added.created_at,
            started_at,
            finished_at,
            counts,
            progress: if finished_at.is_some() { 1.0 } else { share },
            stage: None,
            eta: None,
            tags: self.added.spec.tags.clone(),
        }
    }

    fn jobs(&self) -> Vec<JobView> {
        let inputs = self.standings.iter().filter(|(index, _)| **index != GATHER_INDEX);
        inputs.map(|(index, standing)| self.job(*index, standing)).collect()
    }

    fn spec(&self, index: u32) -> Option<&JobSpec> {
        match (index as usize).checked_sub(1) {
            Some(at) => self.inputs.get(at),
            None => self.added.gather.as_ref(),
        }
    }

    fn completed(&self) -> Vec<(u32, Input, Option<ContentHash>)> {
        let ended = self.standings.iter().filter_map(|(index, standing)| match standing {
            Standing::Ended(ended) if ended.state == JobState::Completed => Some((*index, ended.artifact)),
            _ => None,
        });
        ended
            .filter_map(|(index, artifact)| {
                Some((index, self.inputs.get((index as usize).checked_sub(1)?)?.input.clone(), artifact))
            })
            .collect()
    }

    fn job(&self, index: u32, standing: &Standing) -> JobView {
        let spec = self.spec(index).expect("a standing has its job");
        let blank = JobView {
            id: JobId { batch: self.added.id, index },
            input: Some(spec.input.clone()),
            state: JobState::Pending,
            stage: String::new(),
            progress: 0.0,
            attempts: 0,
            worker: None,
            created_at: self.added.created_at,
            started_at: None,
            finished_at: None,
            timings: Vec::new(),
            failure: None,
            skipped_reason: None,
            outputs: Vec::new(),
            detail: Default::default(),
            peak_memory_bytes: None,
        };
        match standing.clone() {
            Standing::Open(job) => {
                let stages = spec.stages.as_ref().unwrap_or(&self.added.spec.recipe.map);
                let done = job.timings.len().min(stages.len() - 1);
                JobView {
                    state: match job.failure {
                        Some(_) if job.attempts > 0 => JobState::Retrying,
                        _ => JobState::Pending,
                    },
                    stage: stages[done].name().to_owned(),
                    progress: job.progress,
                    attempts: job.attempts,
                    started_at: job.started_at,
                    timings: job.timings,
                    failure: job.failure,
                    detail: job.detail,
                    ..blank
                }
            }
            Standing::Ended(job) => JobView {
                state: job.state,
                stage: job.stage,
                progress: job.progress,
                attempts: job.attempts,
                started_at: job.started_at,
                finished_at: Some(job.finished_at),
                timings: job.timings,
                failure: job.failure,
                skipped_reason: job.skipped_reason,
                outputs: job.outputs,
                detail: job.detail,
                peak_memory_bytes: Some(job.peak_memory_bytes).filter(|bytes| *bytes > 0),
                ..blank
            },
        }
    }
}
