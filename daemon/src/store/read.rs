//! Lists and history, read by any thread from snapshots. Knows what was stored, not what runs right now: callers overlay that.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use redb::{Database, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable};
use spindle_core::cache;
use spindle_core::change::{BatchStatus, EndedJob, Folder, OpenJob, PublishedFile, RecoveredBatch, StoredArtifact};
use spindle_core::rates::Rates;
use spindle_core::stores::Known;
use spindle_shared::batch::{BatchState, BatchView};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, ContentHash, GATHER_INDEX, JobId, Owner};
use spindle_shared::job::{Detail, FileIdentity, Input, JobSpec, JobState, JobView, PathBytes};
use spindle_shared::notify::Notify;
use spindle_shared::recipe::Recipe;
use spindle_shared::stage::Stage;
use spindle_shared::time::WallMs;
use spindle_shared::wire::response::Stats;

use super::rows::StoredBatch;
use super::{Copied, StoreError, rows, tables};
use crate::telemetry::Disk;

/// Reads the queue. Each call sees one moment, and holds nothing when it returns.
#[derive(Clone)]
pub struct Reader {
    database: Arc<Database>,
    state_dir: Arc<Path>,
}

impl Reader {
    pub(super) fn new(database: Arc<Database>, state_dir: &Path) -> Self {
        Reader { database, state_dir: state_dir.into() }
    }

    /// How large the queue's file is, and what its disk has left.
    pub fn disk(&self) -> Disk {
        super::file::disk(&self.state_dir)
    }

    /// Newest first, at most `limit` of those that `keep` accepts.
    pub fn batches(
        &self,
        limit: usize,
        mut keep: impl FnMut(&BatchView) -> bool,
    ) -> Result<Vec<BatchView>, StoreError> {
        let transaction = self.database.begin_read()?;
        let statuses = transaction.open_table(tables::STATUSES)?;
        let mut views = Vec::new();
        if limit == 0 {
            return Ok(views);
        }
        for entry in transaction.open_table(tables::BATCHES)?.iter()?.rev() {
            let (id, row) = entry?;
            let view = batch_view(BatchId(id.value()), rows::read_batch(row.value())?, status(&statuses, id.value())?);
            if keep(&view) {
                views.push(view);
                if views.len() == limit {
                    break;
                }
            }
        }
        Ok(views)
    }

    pub fn batch(&self, id: BatchId) -> Result<Option<BatchView>, StoreError> {
        let transaction = self.database.begin_read()?;
        let Some(batch) = batch(&transaction, id)? else { return Ok(None) };
        Ok(Some(batch_view(id, batch, status(&transaction.open_table(tables::STATUSES)?, id.0)?)))
    }

    /// A batch with what is open of it, ended or not; as recovery reads it.
    pub fn recovered(&self, id: BatchId) -> Result<Option<RecoveredBatch>, StoreError> {
        super::load::batch(&self.database.begin_read()?, id.0)
    }

    /// In input order from index `from`, at most `limit` in one of `states`; no states = all. Nothing is stored as running: what
    /// runs is found as pending or retrying.
    pub fn jobs(&self, id: BatchId, states: &[JobState], from: u32, limit: u32) -> Result<Vec<JobView>, StoreError> {
        let transaction = self.database.begin_read()?;
        let mut views = Vec::new();
        let Some(batch) = batch(&transaction, id)? else { return Ok(views) };
        if limit == 0 {
            return Ok(views);
        }
        let jobs = Jobs::open(&transaction)?;
        for index in jobs.candidates(&transaction, id, states, from)? {
            let job = JobId { batch: id, index: index? };
            let Some(standing) = jobs.standing(job)? else { continue };
            if !states.is_empty() && !states.contains(&standing.state()) {
                continue;
            }
            views.push(jobs.view(job, &batch, standing)?);
            if views.len() == limit as usize {
                break;
            }
        }
        Ok(views)
    }

    pub fn job(&self, id: JobId) -> Result<Option<JobView>, StoreError> {
        let transaction = self.database.begin_read()?;
        let Some(batch) = batch(&transaction, id.batch)? else { return Ok(None) };
        let jobs = Jobs::open(&transaction)?;
        let Some(standing) = jobs.standing(id)? else { return Ok(None) };
        jobs.view(id, &batch, standing).map(Some)
    }

    pub fn job_spec(&self, id: JobId) -> Result<Option<JobSpec>, StoreError> {
        let table = self.database.begin_read()?.open_table(tables::JOBS)?;
        table.get((id.batch.0, id.index))?.map(|row| rows::read_job(row.value())).transpose()
    }

    /// Watched folders, in the order they came.
    pub fn folders(&self) -> Result<Vec<Folder>, StoreError> {
        let table = self.database.begin_read()?.open_table(tables::FOLDERS)?;
        let rows = table.iter()?.map(|entry| {
            let (id, row) = entry?;
            rows::read_folder(id.value(), row.value())
        });
        rows.collect()
    }

    pub fn next_folder(&self) -> Result<u64, StoreError> {
        let meta = self.database.begin_read()?.open_table(tables::META)?;
        Ok(meta.get(tables::META_NEXT_FOLDER)?.map_or(1, |value| value.value()))
    }

    /// How many files a folder has had submitted.
    pub fn folder_files(&self, id: u64) -> Result<u64, StoreError> {
        let table = self.database.begin_read()?.open_table(tables::FOLDER_FILES)?;
        let range = (id, [].as_slice())..(id.saturating_add(1), [].as_slice());
        Ok(table.range(range)?.count() as u64)
    }

    /// The file that was submitted from this place.
    pub fn folder_file(&self, id: u64, path: &PathBytes) -> Result<Option<FileIdentity>, StoreError> {
        let table = self.database.begin_read()?.open_table(tables::FOLDER_FILES)?;
        table.get((id, path.0.as_slice()))?.map(|row| rows::read_folder_file(row.value())).transpose()
    }

    /// What is being submitted from a folder: the key, and the files.
    #[allow(clippy::type_complexity, reason = "a key and its files, once")]
    pub fn folder_sending(&self, id: u64) -> Result<Option<(String, Vec<(PathBytes, FileIdentity)>)>, StoreError> {
        let table = self.database.begin_read()?.open_table(tables::FOLDER_SENDS)?;
        table.get(id)?.map(|row| rows::read_sending(row.value())).transpose()
    }

    /// Who is told of a batch's end.
    pub fn notify_of(&self, id: BatchId) -> Result<Vec<Notify>, StoreError> {
        let transaction = self.database.begin_read()?;
        Ok(batch(&transaction, id)?.map(|stored| stored.spec.terms.notify).unwrap_or_default())
    }

    pub fn batch_of_key(&self, owner: Owner, key: &str) -> Result<Option<BatchId>, StoreError> {
        let table = self.database.begin_read()?.open_table(tables::KEYS)?;
        Ok(table.get((owner.0, key))?.map(|id| BatchId(id.value())))
    }

    /// The batch of every key there is, by owner.
    pub fn each_key(&self, mut take: impl FnMut(Owner, &str, BatchId)) -> Result<(), StoreError> {
        for entry in self.database.begin_read()?.open_table(tables::KEYS)?.iter()? {
            let (key, id) = entry?;
            let (owner, key) = key.value();
            take(Owner(owner), key, BatchId(id.value()));
        }
        Ok(())
    }

    /// The content of a file that is still in this state.
    pub fn content_of(&self, identity: &FileIdentity) -> Result<Option<ContentHash>, StoreError> {
        let table = self.database.begin_read()?.open_table(tables::INPUTS)?;
        match table.get((identity.dev, identity.inode))? {
            Some(row) => rows::read_input(row.value(), identity),
            None => Ok(None),
        }
    }

    /// How fast each kind of work goes, as far as it is written down.
    pub fn rates(&self) -> Result<Rates, StoreError> {
        super::load::rates(&self.database.begin_read()?).map(Rates::new)
    }

    pub fn artifact(&self, address: &ContentHash) -> Result<Option<StoredArtifact>, StoreError> {
        let table = self.database.begin_read()?.open_table(tables::ARTIFACTS)?;
        table.get(&address.0)?.map(|row| rows::read_artifact(row.value())).transpose()
    }

    pub fn each_artifact(&self, mut take: impl FnMut(ContentHash, StoredArtifact)) -> Result<(), StoreError> {
        for entry in self.database.begin_read()?.open_table(tables::ARTIFACTS)?.iter()? {
            let (address, row) = entry?;
            take(ContentHash(*address.value()), rows::read_artifact(row.value())?);
        }
        Ok(())
    }

    /// Where the work of every job that is not at its end lies or will lie, as far as its input's content is known; and the results that a gather
    /// is still going to read.
    pub fn each_open_address(&self, mut take: impl FnMut(ContentHash)) -> Result<(), StoreError> {
        let transaction = self.database.begin_read()?;
        let (open, jobs) = (transaction.open_table(tables::OPEN)?, transaction.open_table(tables::JOBS)?);
        let inputs = transaction.open_table(tables::INPUTS)?;
        let artifacts = transaction.open_table(tables::ARTIFACTS)?;
        let mut known: Option<(BatchId, StoredBatch)> = None;
        for entry in open.iter()? {
            let key = entry?.0.value();
            let id = BatchId(key.0);
            if known.as_ref().is_none_or(|(known, _)| *known != id) {
                known = batch(&transaction, id)?.map(|row| (id, row));
            }
            let (Some((_, batch)), Some(row)) = (&known, jobs.get(key)?) else { return Err(orphan("open", id)) };
            let spec = rows::read_job(row.value())?;
            let job = JobId { batch: id, index: key.1 };
            let content = match &spec.input {
                Input::File { identity, .. } => match inputs.get((identity.dev, identity.inode))? {
                    Some(row) => rows::read_input(row.value(), identity)?,
                    None => None,
                },
                Input::Url(_) => {
                    let address = cache::fetched(job);
                    take(address);
                    let artifact =
                        artifacts.get(&address.0)?.map(|row| rows::read_artifact(row.value())).transpose()?;
                    artifact.and_then(|artifact| cache::fetched_content(&artifact.files))
                }
                Input::Name(_) => None,
            };
            let Some(content) = content else { continue };
            let stages = spec.stages.as_deref().unwrap_or(&batch.spec.recipe.map);
            cache::addresses(job, stages, content).into_iter().flatten().for_each(&mut take);
        }
        let ended = transaction.open_table(tables::ENDED)?;
        for entry in transaction.open_table(tables::UNFINISHED)?.iter()? {
            let id = entry?.0.value();
            if batch(&transaction, BatchId(id))?.is_none_or(|batch| batch.spec.recipe.gather.is_empty()) {
                continue;
            }
            for entry in ended.range((id, GATHER_INDEX + 1)..=(id, u32::MAX))? {
                let (key, row) = entry?;
                rows::read_ended(row.value())?.artifact.into_iter().for_each(&mut take);
                // Where nothing was fetched for it, nothing lies there.
                take(cache::fetched(JobId { batch: BatchId(id), index: key.value().1 }));
            }
        }
        Ok(())
    }

    /// Batches at their end, oldest first: when they ended, and how many jobs they have.
    pub fn each_ended_batch(&self, mut take: impl FnMut(BatchId, WallMs, u32)) -> Result<(), StoreError> {
        let transaction = self.database.begin_read()?;
        let unfinished = transaction.open_table(tables::UNFINISHED)?;
        for entry in transaction.open_table(tables::STATUSES)?.iter()? {
            let (id, row) = entry?;
            let status = rows::read_status(row.value())?;
            if let Some(finished_at) = status.finished_at
                && unfinished.get(id.value())?.is_none()
            {
                take(BatchId(id.value()), finished_at, status.counts.total());
            }
        }
        Ok(())
    }

    pub fn published(&self, path: &PathBytes) -> Result<Option<PublishedFile>, StoreError> {
        let table = self.database.begin_read()?.open_table(tables::OUTPUTS)?;
        table.get(path.0.as_slice())?.map(|row| rows::read_published(row.value())).transpose()
    }

    /// What is known of each bucket.
    pub fn stores(&self) -> Result<BTreeMap<String, Known>, StoreError> {
        let table = self.database.begin_read()?.open_table(tables::STORES)?;
        let rows = table.iter()?.map(|entry| {
            let (bucket, row) = entry?;
            Ok((bucket.value().to_owned(), rows::read_store(row.value())?))
        });
        rows.collect()
    }

    /// The bucket that a job's outputs were given to.
    pub fn place(&self, job: JobId) -> Result<Option<String>, StoreError> {
        let table = self.database.begin_read()?.open_table(tables::PLACES)?;
        Ok(table.get((job.batch.0, job.index))?.map(|bucket| bucket.value().to_owned()))
    }

    /// Copies the queue as it stands now into a new file, while the daemon goes on.
    pub fn back_up(&self, path: &Path) -> Result<Copied, StoreError> {
        let room = self.disk().queue_bytes.unwrap_or(0);
        super::backup::write_to(&self.database.begin_read()?, path, room)
    }

    /// What has ended since then, over the batches that are still remembered; `only`: of this owner.
    pub fn stats(&self, since: WallMs, only: Option<Owner>) -> Result<Stats, StoreError> {
        super::stats::since(&self.database.begin_read()?, since, only)
    }

    /// A batch's recipe, and its inputs that completed, in input order: what each is, and what it left to be gathered. `None` = there is no batch.
    pub fn completed(&self, id: BatchId) -> Result<Option<(Recipe, Vec<Completed>)>, StoreError> {
        let transaction = self.database.begin_read()?;
        let Some(stored) = batch(&transaction, id)? else { return Ok(None) };
        let jobs = transaction.open_table(tables::JOBS)?;
        let mut completed = Vec::new();
        for entry in transaction.open_table(tables::ENDED)?.range((id.0, GATHER_INDEX + 1)..=(id.0, u32::MAX))? {
            let (key, row) = entry?;
            let ended = rows::read_ended(row.value())?;
            if ended.state != JobState::Completed {
                continue;
            }
            let spec = rows::read_job(jobs.get(key.value())?.ok_or_else(|| orphan("jobs", id))?.value())?;
            let EndedJob { detail, artifact, .. } = ended;
            completed.push(Completed {
                index: key.value().1,
                input: spec.input,
                stages: spec.stages,
                detail,
                artifact,
            });
        }
        Ok(Some((stored.spec.recipe, completed)))
    }

    /// The inputs of a batch that came to no good end, in input order, and why.
    pub fn lost(&self, id: BatchId) -> Result<Vec<(u32, Input, Failure)>, StoreError> {
        let transaction = self.database.begin_read()?;
        let jobs = transaction.open_table(tables::JOBS)?;
        let mut lost = Vec::new();
        for entry in transaction.open_table(tables::ENDED)?.range((id.0, GATHER_INDEX + 1)..=(id.0, u32::MAX))? {
            let (key, row) = entry?;
            let ended = rows::read_ended(row.value())?;
            if ended.state == JobState::Completed {
                continue;
            }
            let spec = rows::read_job(jobs.get(key.value())?.ok_or_else(|| orphan("jobs", id))?.value())?;
            let failure = ended.failure.unwrap_or_else(|| {
                let why = ended.skipped_reason.unwrap_or_else(|| format!("it was {}", ended.state.name()));
                Failure::new(FailureKind::Cancelled, why)
            });
            lost.push((key.value().1, spec.input, failure));
        }
        Ok(lost)
    }

    /// Failed jobs, newest batch first, in input order within a batch; `only`: of this owner.
    pub fn failures(&self, limit: usize, only: Option<Owner>) -> Result<Vec<JobView>, StoreError> {
        let transaction = self.database.begin_read()?;
        let failed = transaction.open_table(tables::FAILED)?;
        let jobs = Jobs::open(&transaction)?;
        let mut views = Vec::new();
        let mut below = (u64::MAX, u32::MAX);
        while views.len() < limit {
            let Some(last) = failed.range(..below)?.next_back().transpose()? else { break };
            let id = BatchId(last.0.value().0);
            let row = batch(&transaction, id)?.ok_or_else(|| orphan("failed", id))?;
            if only.is_some_and(|only| row.owner != only) {
                below = (id.0, 0);
                continue;
            }
            for entry in failed.range((id.0, 0)..=(id.0, u32::MAX))?.take(limit - views.len()) {
                let job = JobId { batch: id, index: entry?.0.value().1 };
                let standing = jobs.standing(job)?.ok_or_else(|| orphan("failed", id))?;
                views.push(jobs.view(job, &row, standing)?);
            }
            below = (id.0, 0);
        }
        Ok(views)
    }
}

/// An input that has come to a good end.
pub struct Completed {
    pub index: u32,
    pub input: Input,
    /// Its own, where they are not the batch's.
    pub stages: Option<Vec<Stage>>,
    pub detail: Detail,
    /// Address of its last artifact.
    pub artifact: Option<ContentHash>,
}

fn batch(transaction: &ReadTransaction, id: BatchId) -> Result<Option<StoredBatch>, StoreError> {
    let table = transaction.open_table(tables::BATCHES)?;
    table.get(id.0)?.map(|row| rows::read_batch(row.value())).transpose()
}

fn status(table: &ReadOnlyTable<u64, &'static [u8]>, id: u64) -> Result<BatchStatus, StoreError> {
    let row = table.get(id)?.ok_or_else(|| orphan("batches", BatchId(id)))?;
    rows::read_status(row.value())
}

fn orphan(table: &'static str, id: BatchId) -> StoreError {
    StoreError::Row { table, reason: format!("the rest of batch {id} is missing") }
}

fn batch_view(id: BatchId, batch: StoredBatch, status: BatchStatus) -> BatchView {
    let StoredBatch { owner, created_at, total, spec } = batch;
    let progress = match status.finished_at {
        Some(_) => 1.0,
        None => status.counts.ended() as f32 / total.max(1) as f32,
    };
    BatchView {
        id,
        name: spec.name,
        recipe: spec.recipe.name,
        owner,
        state: batch_state(&status),
        priority: status.priority,
        parallel: spec.parallel,
        created_at,
        started_at: status.started_at,
        finished_at: status.finished_at,
        counts: status.counts,
        gather: status.gather,
        progress,
        stage: None,
        eta: None,
        tags: spec.tags,
    }
}

fn batch_state(status: &BatchStatus) -> BatchState {
    let counts = &status.counts;
    if status.finished_at.is_none() {
        return match status.started_at {
            _ if status.cancelling => BatchState::Cancelling,
            _ if status.paused => BatchState::Paused,
            Some(_) => BatchState::Running,
            None => BatchState::Pending,
        };
    }
    let spoiled = status.gather == Some(JobState::Cancelled);
    if status.cancelling {
        BatchState::Cancelled
    } else if status.gather == Some(JobState::Failed) {
        BatchState::Failed
    } else if counts.failed + counts.cancelled == 0 && !spoiled {
        BatchState::Completed
    } else if counts.completed + counts.skipped == 0 {
        BatchState::Failed
    } else {
        BatchState::Partial
    }
}

type Indexes<'t> = Box<dyn Iterator<Item = Result<u32, StoreError>> + 't>;

/// The tables a job is spread over.
struct Jobs {
    jobs: ReadOnlyTable<tables::JobKey, &'static [u8]>,
    open: ReadOnlyTable<tables::JobKey, &'static [u8]>,
    ended: ReadOnlyTable<tables::JobKey, &'static [u8]>,
}

impl Jobs {
    fn open(transaction: &ReadTransaction) -> Result<Self, StoreError> {
        Ok(Jobs {
            jobs: transaction.open_table(tables::JOBS)?,
            open: transaction.open_table(tables::OPEN)?,
            ended: transaction.open_table(tables::ENDED)?,
        })
    }

    /// Indexes in order, from the smallest table that has all jobs in these states.
    fn candidates(
        &self,
        transaction: &ReadTransaction,
        id: BatchId,
        states: &[JobState],
        from: u32,
    ) -> Result<Indexes<'static>, StoreError> {
        let range = (id.0, from.max(GATHER_INDEX + 1))..=(id.0, u32::MAX);
        let all = |wanted: fn(JobState) -> bool| !states.is_empty() && states.iter().all(|state| wanted(*state));
        Ok(if all(|state| state == JobState::Running) {
            Box::new(std::iter::empty())
        } else if all(|state| state == JobState::Failed) {
            Box::new(transaction.open_table(tables::FAILED)?.range(range)?.map(|entry| Ok(entry?.0.value().1)))
        } else if all(|state| !state.is_terminal()) {
            Box::new(self.open.range(range)?.map(|entry| Ok(entry?.0.value().1)))
        } else if all(JobState::is_terminal) {
            Box::new(self.ended.range(range)?.map(|entry| Ok(entry?.0.value().1)))
        } else {
            Box::new(self.jobs.range(range)?.map(|entry| Ok(entry?.0.value().1)))
        })
    }

    fn standing(&self, id: JobId) -> Result<Option<Standing>, StoreError> {
        let key = (id.batch.0, id.index);
        if let Some(row) = self.open.get(key)? {
            return Ok(Some(Standing::Open(rows::read_open(row.value())?.unwrap_or_default())));
        }
        Ok(self
            .ended
            .get(key)?
            .map(|row| rows::read_ended(row.value()))
            .transpose()?
            .map(Box::new)
            .map(Standing::Ended))
    }

    fn view(&self, id: JobId, batch: &StoredBatch, standing: Standing) -> Result<JobView, StoreError> {
        let row = self.jobs.get((id.batch.0, id.index))?.ok_or_else(|| orphan("jobs", id.batch))?;
        let spec = rows::read_job(row.value())?;
        let state = standing.state();
        Ok(match standing {
            Standing::Open(open) => JobView {
                id,
                stage: next_stage(batch, &spec, &open),
                input: Some(spec.input),
                state,
                progress: open.progress,
                attempts: open.attempts,
                worker: None,
                created_at: batch.created_at,
                started_at: open.started_at,
                finished_at: None,
                timings: open.timings,
                failure: open.failure,
                skipped_reason: None,
                outputs: Vec::new(),
                detail: open.detail,
                peak_memory_bytes: None,
            },
            Standing::Ended(ended) => JobView {
                id,
                input: Some(spec.input),
                state,
                stage: ended.stage,
                progress: ended.progress,
                attempts: ended.attempts,
                worker: None,
                created_at: batch.created_at,
                started_at: ended.started_at,
                finished_at: Some(ended.finished_at),
                timings: ended.timings,
                failure: ended.failure,
                skipped_reason: ended.skipped_reason,
                outputs: ended.outputs,
                detail: ended.detail,
                peak_memory_bytes: Some(ended.peak_memory_bytes).filter(|bytes| *bytes > 0),
            },
        })
    }
}

enum Standing {
    Open(Box<OpenJob>),
    Ended(Box<EndedJob>),
}

impl Standing {
    fn state(&self) -> JobState {
        match self {
            Standing::Open(open) if open.attempts > 0 && open.failure.is_some() => JobState::Retrying,
            Standing::Open(_) => JobState::Pending,
            Standing::Ended(ended) => ended.state,
        }
    }
}

/// The first stage that has no time yet.
fn next_stage(batch: &StoredBatch, spec: &JobSpec, open: &OpenJob) -> String {
    let stages = spec.stages.as_ref().unwrap_or(&batch.spec.recipe.map);
    let timed = |name: &str| open.timings.iter().any(|(stage, _)| stage == name);
    let next = stages.iter().find(|stage| !timed(stage.name())).or(stages.last());
    next.map(|stage| stage.name().to_owned()).unwrap_or_default()
}
