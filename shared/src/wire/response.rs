//! What the daemon answers: a sequence of frames that ends with [`Response::End`] or [`Response::Refused`].

use serde::{Deserialize, Serialize};

use super::piece::Piece;
use crate::batch::BatchView;
use crate::event::Event;
use crate::exit;
use crate::failure::FailureKind;
use crate::id::{ContentHash, Owner, Target};
use crate::job::{Input, JobView, PathBytes};
use crate::metrics::Metric;
use crate::object_store::StoreView;
use crate::provider::ProviderView;
use crate::snapshot::Snapshot;
use crate::stage::compress::Profile;
use crate::time::WallMs;

/// One frame of an answer. The first variants are frozen for ever; new ones go to the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Response {
    /// Nothing more follows.
    End,
    Refused(Refusal),
    Health(Health),
    Submitted(Submitted),
    /// A dry run: what each input would become, in chunks.
    Planned(Vec<PlannedJob>),
    Batches(Vec<BatchView>),
    Jobs(Vec<JobView>),
    House(HouseView),
    /// What an action did: each thing named, and what happened to it.
    Acted(Vec<Acted>),
    Explained(Vec<Explanation>),
    Models(Vec<ModelView>),
    Workers(Vec<WorkerView>),
    Snapshot(Box<Snapshot>),
    Event(Box<Event>),
    Metrics(Vec<Metric>),
    Stats(Box<Stats>),
    BackedUp(BackedUp),
    Collected(Collected),
    /// The built-in ones first.
    Profiles(Vec<Profile>),
    Providers(Vec<ProviderView>),
    Reloaded(Vec<ConfigChange>),
    /// `None` = files are opened where they lie.
    Spool(Option<SpoolView>),
    /// Of a file that is going to be sent so many bytes are there; of one that is fetched, so many follow.
    Sending(Sending),
    Piece(Piece),
    /// A file has arrived whole.
    Arrived,
    /// Nothing was submitted: these files are to be uploaded first, and then the batch is submitted again.
    Unsent(Vec<PathBytes>),
    Stores(Vec<StoreView>),
    Folders(Vec<FolderView>),
    /// Lines of a log, each an object in JSON.
    Log(Vec<String>),
}

/// The asker's room in the spool.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolView {
    pub used_bytes: u64,
    pub user_bytes_max: u64,
    pub input_bytes_max: u64,
}

/// A file on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sending {
    pub bytes: u64,
    /// What it must be when it has arrived; `None` = not known.
    pub content: Option<ContentHash>,
}

/// Why a request was not done; nothing has changed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Refusal {
    pub kind: RefusalKind,
    pub message: String,
    pub hint: Option<String>,
}

impl Refusal {
    pub fn new(kind: RefusalKind, message: impl Into<String>) -> Self {
        Refusal { kind, message: message.into(), hint: None }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

/// What a client would do differently; each has its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum RefusalKind {
    Usage,
    Limit,
    NotFound,
    NotPermitted,
    ModelMissing,
    NotFinished,
    /// The thing is not in a state for this: a finished batch can't be cancelled.
    WrongState,
    /// The daemon is stopping.
    Stopping,
    Internal,
}

impl RefusalKind {
    pub fn name(self) -> &'static str {
        match self {
            RefusalKind::Usage => "usage",
            RefusalKind::Limit => "limit",
            RefusalKind::NotFound => "not_found",
            RefusalKind::NotPermitted => "not_permitted",
            RefusalKind::ModelMissing => "model_missing",
            RefusalKind::NotFinished => "not_finished",
            RefusalKind::WrongState => "wrong_state",
            RefusalKind::Stopping => "stopping",
            RefusalKind::Internal => "internal",
        }
    }

    pub fn exit_code(self) -> u8 {
        match self {
            RefusalKind::Usage => exit::USAGE,
            RefusalKind::Limit => exit::REFUSED,
            RefusalKind::NotFound => exit::NOT_FOUND,
            RefusalKind::NotPermitted => exit::NOT_PERMITTED,
            RefusalKind::ModelMissing => exit::MISSING,
            RefusalKind::NotFinished => exit::NOT_FINISHED,
            RefusalKind::WrongState | RefusalKind::Internal => exit::ERROR,
            RefusalKind::Stopping => exit::UNREACHABLE,
        }
    }
}

/// Whether all is well, and what is not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    pub healthy: bool,
    pub version: String,
    /// What was looked at: name, whether it is well, and a word about it.
    pub checks: Vec<(String, bool, String)>,
}

/// A batch that is durable now.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submitted {
    pub batch: BatchView,
    /// `None` = unknown.
    pub estimated_seconds: Option<f64>,
    /// The key was known: this is the earlier batch, nothing new was queued.
    pub repeated: bool,
}

/// What one input would become; with the number 0, what the gather needs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PlannedJob {
    pub index: u32,
    pub input: Input,
    /// Names its outputs would have; `{lang}` stands for a language not yet known.
    pub outputs: Vec<PathBytes>,
    pub skipped_reason: Option<String>,
    pub estimated_seconds: Option<f64>,
    /// Bytes it takes of Spindle's own disk while it is at work; `None` = unknown.
    pub estimated_bytes: Option<f64>,
}

/// One thing an action touched.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acted {
    pub target: Target,
    /// `cancelled`, `paused`, `nothing to do: …`.
    pub what: String,
}

/// Why something is as it is, and what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Explanation {
    pub target: Target,
    pub state: String,
    pub why: String,
    pub advice: Option<String>,
}

/// A model of the catalogue or of the model folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ModelView {
    pub name: String,
    /// Where it lies; `None` = not installed.
    pub path: Option<PathBytes>,
    pub bytes: u64,
    /// From the catalogue.
    pub sha256: Option<String>,
    pub english_only: bool,
    pub about: String,
    /// `speech`, `voice activity`, `segmentation`; `pictures` for one that only its own description tells of.
    pub purpose: String,
    /// The terms it is given away under, where they are known.
    pub licence: Option<String>,
}

/// A worker process.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WorkerView {
    pub id: String,
    pub role: String,
    pub pid: u32,
    /// Model it holds.
    pub model: Option<String>,
    /// What it does now: runs, as the supervisor knows them.
    pub runs: Vec<crate::id::RunId>,
    pub runs_done: u64,
    pub resident_bytes: u64,
    /// The graphics card that it works on.
    pub device: Option<String>,
}

/// The daemon itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct HouseView {
    pub version: String,
    pub pid: u32,
    pub started_at: WallMs,
    pub paused: bool,
    pub draining: bool,
    pub batches_open: u32,
    /// Jobs of open batches, by state.
    pub counts: crate::batch::Counts,
    /// Name, slots in use, slots.
    pub lanes: Vec<(String, u32, u32)>,
    /// MiB that runs are expected to take, and that all together may.
    pub memory_mib: (u32, u32),
    /// What is out of order, so that work which needs it waits.
    pub closed: Vec<ClosedView>,
    /// Rules of alerts that hold just now.
    pub alerts: Vec<AlertView>,
    pub done: WorkDone,
    /// Until all open batches are through; `None` = unknown, or nothing is open.
    pub eta: Option<crate::batch::Eta>,
    pub state_dir: PathBytes,
    pub model_dir: PathBytes,
    pub devices: Vec<DeviceView>,
    /// Why there is no graphics card although one was asked for.
    pub no_device: Option<String>,
}

/// A graphics card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceView {
    /// `gpu:0`.
    pub lane: String,
    pub name: String,
    /// `CUDA`, `Vulkan`.
    pub api: String,
    /// What it can do, by the names of roles.
    pub roles: Vec<String>,
    /// MiB that runs are expected to take, and that all together may: what was free when it was found.
    pub used_mib: u32,
    pub memory_mib: u32,
    /// Why it is left alone for a while, if it is.
    pub closed: Option<String>,
}

/// A key of the configuration that has another value than before; no value = what counts without one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ConfigChange {
    pub key: String,
    pub before: Option<String>,
    pub after: Option<String>,
    /// It counts from the daemon's next start on.
    pub restart: bool,
}

/// A watched folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderView {
    pub id: u64,
    pub path: PathBytes,
    pub owner: Owner,
    /// Behind `submit`.
    pub arguments: Vec<String>,
    pub recursive: bool,
    /// Why it can't be watched just now, or what was refused.
    pub trouble: Option<String>,
    /// Files that are seen and not submitted yet.
    pub waiting: u32,
    /// Files that were submitted.
    pub taken: u64,
}

/// A rule that holds, and has for its time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AlertView {
    /// `failures`, `no_workers`, `queue`, `store`, `out_of_order`.
    pub rule: String,
    pub since: WallMs,
    pub text: String,
}

/// Something outside that is out of order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClosedView {
    /// `the model base`, `a file system (device 8:1)`, `room for new work`.
    pub what: String,
    /// The last that was seen of it, and what to do.
    pub why: String,
    pub advice: String,
    /// Jobs that wait for it.
    pub parked: u32,
    /// Until one of them tries; `None` = one is trying, or it is looked at all the time.
    pub tries_in_ms: Option<u64>,
}

/// Work done since the daemon began. Only ever rises: the difference of two answers over the time between them is the throughput.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct WorkDone {
    /// Jobs that came to an end.
    pub jobs: u64,
    /// Seconds of recordings worked through; a run counts as it goes, so that long ones show.
    pub media_seconds: f64,
}

/// What has ended in a stretch of time, over the batches that are remembered.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Stats {
    pub batches_submitted: u32,
    pub batches_finished: u32,
    pub recipes: Vec<RecipeStats>,
    pub stages: Vec<StageStats>,
    /// Failed jobs by kind, the most frequent first.
    pub failures: Vec<(FailureKind, u32)>,
    pub peak_memory_bytes: Option<u64>,
}

/// Jobs of one recipe.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct RecipeStats {
    pub recipe: String,
    pub completed: u32,
    pub skipped: u32,
    pub failed: u32,
    pub cancelled: u32,
    /// Of completed jobs, from first start to end.
    pub seconds: f64,
    /// Of recordings, in completed jobs.
    pub media_seconds: f64,
    pub outputs: u64,
    pub output_bytes: u64,
    /// Of model APIs, by all jobs and gathers, failed ones too.
    pub api_calls: u64,
    pub tokens: u64,
    /// In whatever the configuration's prices are; `None` = no price was known of any call.
    pub cost: Option<f64>,
}

impl RecipeStats {
    pub fn jobs(&self) -> u32 {
        self.completed + self.skipped + self.failed + self.cancelled
    }
}

/// All but the recipe's name, which stays.
impl std::ops::AddAssign<&RecipeStats> for RecipeStats {
    fn add_assign(&mut self, more: &RecipeStats) {
        self.completed += more.completed;
        self.skipped += more.skipped;
        self.failed += more.failed;
        self.cancelled += more.cancelled;
        self.seconds += more.seconds;
        self.media_seconds += more.media_seconds;
        self.outputs += more.outputs;
        self.output_bytes += more.output_bytes;
        self.api_calls += more.api_calls;
        self.tokens += more.tokens;
        if let Some(cost) = more.cost {
            self.cost = Some(self.cost.unwrap_or(0.0) + cost);
        }
    }
}

/// Jobs that went through one stage themselves, and their seconds in it.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct StageStats {
    pub stage: String,
    pub jobs: u32,
    pub seconds: f64,
}

/// A copy of the queue that is whole and on the disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BackedUp {
    pub path: PathBytes,
    pub bytes: u64,
    pub batches: u64,
    pub jobs: u64,
}

/// What a cleaning has removed, or would remove.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Collected {
    pub dry_run: bool,
    /// Artifacts, unfinished pieces and records looked at.
    pub scanned: u64,
    pub artifacts: u64,
    pub artifact_bytes: u64,
    /// Unfinished pieces of artifacts.
    pub checkpoints: u64,
    pub checkpoint_bytes: u64,
    /// Records of batches, with their jobs.
    pub batches: u64,
    pub jobs: u64,
    /// Old enough, and kept for a job that is not at its end.
    pub in_use: u64,
    /// Could not be removed.
    pub failed: u64,
    /// Folders of the spool, of batches that ended or never came to be.
    pub spooled: u64,
    pub spool_bytes: u64,
}
