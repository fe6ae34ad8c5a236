//! Changes: what must be durable before anybody is told. The store applies them; recovery reads back what they left.

use spindle_shared::batch::{BatchSpec, BatchState, Counts, Priority};
use spindle_shared::failure::Failure;
use spindle_shared::id::{BatchId, ContentHash, JobId, Owner};
use spindle_shared::job::{Detail, FileIdentity, JobSpec, JobState, Output, PathBytes};
use spindle_shared::packed::Packed;
use spindle_shared::time::WallMs;
use spindle_shared::worker::ArtifactFile;

use crate::api::Used;
use crate::outbox::Delivery;
use crate::rates::{Rate, RateKey};

/// One thing to write down. Changes of one turn are applied in order, in one transaction.
#[derive(Debug, Clone, PartialEq)]
pub enum Change {
    BatchAdded(Box<NewBatch>),
    /// How a batch stands now; of several in one turn only the last matters.
    BatchChanged(BatchId, BatchStatus),
    /// A job that is not at its end, beyond what its submission says.
    JobOpen(JobId, Box<OpenJob>),
    /// A job at its end; it is open no more.
    JobEnded(JobId, Box<EndedJob>),
    BatchRemoved(BatchId),
    /// These bytes have this hash.
    InputKnown(FileIdentity, ContentHash),
    ArtifactStored(ContentHash, StoredArtifact),
    ArtifactDropped(ContentHash),
    Published(PathBytes, PublishedFile),
    HousePaused(bool),
    /// Media-seconds that an owner has had of this day (days since 1970, UTC).
    Spent(Owner, u64, f64),
    /// What of a model API's limits is used up, by its name and the number of its key.
    ApiUsed(String, u32, Used),
    /// A notification that is to be delivered.
    DeliveryAdded(Box<Delivery>),
    /// A try has failed.
    DeliveryTried {
        id: u64,
        tries: u32,
        next_at: WallMs,
        why: String,
    },
    /// It is delivered, or given up.
    DeliveryOver(u64),
    /// A folder is watched from now on, and no more.
    FolderAdded(Box<Folder>),
    FolderRemoved(u64),
    /// Files of a watched folder are about to be submitted together, under this key.
    FolderSends {
        folder: u64,
        key: String,
        files: Vec<(PathBytes, FileIdentity)>,
    },
    /// That is over: they were taken, or not.
    FolderSent {
        folder: u64,
        taken: bool,
    },
    /// How fast one kind of work goes; `None` = it is remembered no more.
    RateLearned(RateKey, Option<Rate>),
    /// A job's outputs go to this bucket, and stay with it.
    Placed(JobId, String),
    Stored(Box<Stored>),
}

/// What one job has put into a bucket.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored {
    pub bucket: String,
    /// Each object's place and bytes, sent just now or there already.
    pub objects: Vec<(PathBytes, u64)>,
    /// Bytes that were sent, and the seconds that took.
    pub sent: (f64, f64),
    pub at: WallMs,
}

/// A watched folder, and what is done with what comes there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    pub id: u64,
    pub path: PathBytes,
    /// Where relative paths among the arguments begin.
    pub working: PathBytes,
    pub owner: Owner,
    /// Behind `submit`.
    pub arguments: Vec<String>,
    /// Of files that are taken; lower case.
    pub extensions: Vec<String>,
    pub recursive: bool,
}

/// A batch as it is submitted, with all its jobs.
#[derive(Debug, Clone, PartialEq)]
pub struct NewBatch {
    pub id: BatchId,
    pub owner: Owner,
    pub spec: BatchSpec,
    pub created_at: WallMs,
    pub status: BatchStatus,
    /// In input order; job 1 first. Those with a skip reason are ended already.
    pub jobs: Packed<JobSpec>,
    /// KiB of each job's input, for estimates; 0 = unknown.
    pub sizes: Vec<u32>,
    /// The gather's own job, where the recipe has one.
    pub gather: Option<JobSpec>,
}

/// What changes in a batch's life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BatchStatus {
    pub priority: Priority,
    pub paused: bool,
    pub cancelling: bool,
    pub started_at: Option<WallMs>,
    pub finished_at: Option<WallMs>,
    pub counts: Counts,
    /// How the gather job stands; `None` = there is none.
    pub gather: Option<JobState>,
    /// What its model APIs have cost so far, in the unit of the configured prices.
    pub cost: f64,
}

/// What an unfinished job has behind it. A job that never started has the default, which is not written.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct OpenJob {
    /// Tries begun of the stage it is at, those that cost nothing not counted.
    pub attempts: u32,
    /// Times it killed its own worker.
    pub deaths: u32,
    /// Not before this time.
    pub ready_at: Option<WallMs>,
    pub started_at: Option<WallMs>,
    /// Of the last try.
    pub failure: Option<Failure>,
    /// Must run alone in its worker: it was there when one died.
    pub alone: bool,
    /// 0–1, as shown last.
    pub progress: f32,
    /// Stage and seconds, in order.
    pub timings: Vec<(String, f64)>,
    pub detail: Detail,
}

/// How a job ended.
#[derive(Debug, Clone, PartialEq)]
pub struct EndedJob {
    /// A terminal state.
    pub state: JobState,
    pub stage: String,
    pub attempts: u32,
    pub progress: f32,
    pub started_at: Option<WallMs>,
    pub finished_at: WallMs,
    pub timings: Vec<(String, f64)>,
    pub failure: Option<Failure>,
    pub skipped_reason: Option<String>,
    pub outputs: Vec<Output>,
    pub detail: Detail,
    pub peak_memory_bytes: u64,
    /// Of the last artifact on its way, where a gather is going to read it.
    pub artifact: Option<ContentHash>,
}

/// A stage's result in the artifact folder.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredArtifact {
    pub stage: String,
    pub files: Vec<ArtifactFile>,
    /// What the stage found out, for jobs that reuse it.
    pub detail: Detail,
    pub created_at: WallMs,
}

/// A file that Spindle gave a final name.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishedFile {
    /// Of the bytes as published; differs once somebody edits the file.
    pub content: ContentHash,
    /// Of the file as published: while it is this, the content is known without reading it. `None` = not known.
    pub identity: Option<FileIdentity>,
    /// The input it was made from, as it was then.
    pub input: Option<FileIdentity>,
    /// Of the parameters it was made with, the input left out.
    pub parameters: ContentHash,
    pub job: JobId,
    pub published_at: WallMs,
}

/// What recovery hands to the scheduler.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Recovered {
    /// Number of this boot, never given before; fences runs of dead daemons.
    pub boot: u64,
    pub next_batch: u64,
    pub paused: bool,
    /// Batches that are not at their end, oldest first.
    pub batches: Vec<RecoveredBatch>,
    pub rates: Vec<(RateKey, Rate)>,
    /// What owners have had: day and media-seconds.
    pub spent: Vec<(Owner, u64, f64)>,
    /// What of model APIs is used up, by name and number of the key.
    pub apis: Vec<(String, u32, Used)>,
    /// Notifications that are not delivered, and the number of the next.
    pub deliveries: Vec<Delivery>,
    pub next_delivery: u64,
}

/// An unfinished batch.
#[derive(Debug, Clone, PartialEq)]
pub struct RecoveredBatch {
    pub id: BatchId,
    pub owner: Owner,
    pub spec: BatchSpec,
    pub created_at: WallMs,
    pub status: BatchStatus,
    pub total: u32,
    /// Indexes of its unfinished jobs in input order, with what they have behind them (`None` = never started).
    pub open: Vec<(u32, Option<Box<OpenJob>>)>,
    /// How the batches ended that it waits for; `None` = open still, or gone.
    pub after: Vec<(BatchId, Option<BatchState>)>,
    /// As in [`NewBatch`]; empty where an earlier Spindle kept none.
    pub sizes: Vec<u32>,
}
