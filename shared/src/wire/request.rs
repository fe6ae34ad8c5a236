//! What a client may ask. One connection carries one call, one watch, or files one after another.

use serde::{Deserialize, Serialize};

use super::piece::Piece;
use crate::batch::{BatchSpec, BatchState, Priority};
use crate::id::{BatchId, ContentHash, JobId, Target};
use crate::job::{FileIdentity, Input, JobState, OutputPlan, PathBytes};
use crate::stage::Stage;
use crate::time::WallMs;

/// The first variants are frozen for ever: any protocol number can ask for health, drain and shutdown. New ones go to the end.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Request {
    Health,
    /// Start nothing new; answer when nothing runs any more.
    Drain,
    /// Stop what runs at its checkpoints, then end.
    Shutdown,
    /// A new batch; its inputs follow in [`Request::Inputs`] frames, `total` in all.
    Submit {
        spec: Box<BatchSpec>,
        total: u32,
        dry_run: bool,
    },
    Inputs(Vec<Submission>),
    /// Newest first.
    List {
        filter: BatchFilter,
        limit: u32,
    },
    Batches(Vec<BatchId>),
    House,
    /// In input order, from this index (1-based); empty `states` = all.
    Jobs {
        batch: BatchId,
        states: Vec<JobState>,
        from: u32,
        limit: u32,
    },
    Job(JobId),
    Cancel(Selection),
    /// `now`: running work stops at its checkpoint; otherwise it runs to the end of its stage.
    Pause {
        what: Selection,
        now: bool,
    },
    Resume(Selection),
    Retry(Selection),
    Prioritize {
        what: Selection,
        priority: Priority,
    },
    /// Forgets ended batches; `purge`: their artifacts too.
    Remove {
        what: Selection,
        purge: bool,
    },
    Explain(Target),
    /// Failed jobs, newest batch first.
    Failures {
        limit: u32,
    },
    Models,
    Workers,
    /// A snapshot, then every event of the scope. `jobs`: how many of each batch's jobs the snapshot holds besides those at work.
    Watch {
        scope: Scope,
        jobs: u32,
    },
    /// What the daemon measures.
    Metrics,
    /// What has ended since then, as far as it is remembered.
    Stats {
        since: WallMs,
    },
    /// A copy of the queue into a new file of the daemon's machine, by its absolute path; the daemon writes it.
    Backup(PathBytes),
    /// Removes what is too old, or only tells of it.
    Collect {
        dry_run: bool,
    },
    /// What videos can be made into.
    Profiles,
    /// Which model APIs can be named.
    Providers,
    /// Reads the configuration again, and takes up what can change.
    Reload,
    /// Whether this daemon takes inputs and gives outputs over the socket alone, and how much room it has for the asker's.
    Spool,
    /// A file for a batch that is going to be submitted: answered with [`Response::Sending`](super::response::Response::Sending), then it
    /// follows in [`Request::Piece`] frames and [`Request::Sent`], which is answered; then the next may follow.
    Upload(Upload),
    Piece(Piece),
    /// The hash of the whole file.
    Sent(ContentHash),
    /// One output of a job, by its place in the job's list: answered with its length, then in pieces.
    Fetch {
        job: JobId,
        output: u32,
    },
    /// Which object stores there are.
    Stores,
    Folders,
    /// Watches a folder: what comes there is submitted with these arguments, from this working folder.
    FolderAdd {
        path: PathBytes,
        working: PathBytes,
        arguments: Vec<String>,
        /// Of files that are taken; lower case.
        extensions: Vec<String>,
        recursive: bool,
    },
    FolderRemove(Vec<u64>),
    /// The last lines of the daemon's log, or of a batch's or a job's; `follow`: and what comes behind them.
    Logs {
        of: Option<Target>,
        lines: u32,
        follow: bool,
    },
}

/// A file on its way into the spool.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Upload {
    /// Of the batch it is for.
    pub key: String,
    /// As its user names it, absolute; the daemon opens nothing of this name.
    pub path: PathBytes,
    pub bytes: u64,
    /// When its content was last changed, in nanoseconds since the epoch.
    pub mtime_ns: i128,
}

/// One input of a submission, as the client found it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Submission {
    pub input: Input,
    pub output: OutputPlan,
    /// This input's own parameters, where they differ from the batch's.
    pub stages: Option<Vec<Stage>>,
    /// Output names that are taken already.
    pub taken: Vec<TakenName>,
}

/// A file that has the name of an output.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TakenName {
    pub path: PathBytes,
    pub identity: FileIdentity,
}

/// What an action is about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Selection {
    /// The whole daemon (pause, resume).
    House,
    Targets(Vec<Target>),
    Matching(BatchFilter),
}

/// All conditions must hold; an empty filter matches every batch the caller may see.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct BatchFilter {
    pub states: Vec<BatchState>,
    pub recipe: Option<String>,
    /// Numeric user id.
    pub owner: Option<u32>,
    pub tags: Vec<(String, String)>,
}

/// What a watcher sees.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Every batch, no jobs but running and newly ended ones as they change.
    House,
    Batches(Vec<BatchId>),
    /// For a screen: every batch and no jobs. A slow watcher is told how things stand now, not each step on the way.
    Overview,
    /// For a screen, and told as the overview is: so many of one batch's jobs in input order, `from` on (1-based), and wherever
    /// they stand those at work and as many failed ones.
    Window {
        batch: BatchId,
        from: u32,
        len: u32,
    },
}
