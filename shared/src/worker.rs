//! What daemon and worker say to each other, over a SOCK_SEQPACKET socketpair: one message, one packet.
//!
//! The worker's end is its descriptor 3. Descriptors of inputs travel with the packet of their Assignment (SCM_RIGHTS), in
//! the order of [`Assignment::inputs`], behind those of [`Assignment::named`]; those that find no room there follow in
//! [`Order::Inputs`].

use serde::{Deserialize, Serialize};

use crate::failure::Failure;
use crate::id::{ContentHash, RunId};
use crate::job::{Detail, FileIdentity, Output, OutputPlan, PathBytes};
use crate::lane::Role;
use crate::provider::{Call, Usage};
use crate::stage::Stage;

/// Raised when the two sides would misunderstand each other; they come from one build, so a difference is an upgrade half done.
pub const WORKER_PROTOCOL: u32 = 3;

/// Exit code of a worker that was refused memory: it is at its limit.
pub const EXIT_OUT_OF_MEMORY: i32 = 86;

/// Number of the worker's end of the socketpair.
pub const WORKER_FD: i32 = 3;

/// Daemon to worker.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Order {
    Assign(Box<Assignment>),
    /// Stop this run now; a Report with `Outcome::Stopped` follows, or the process is killed.
    Cancel(RunId),
    /// Finish what runs, then exit with 0.
    Leave,
    /// More inputs of a run that was assigned and waits for them.
    Inputs {
        run: RunId,
        inputs: Vec<InputFile>,
    },
}

/// One run: everything the worker needs to know, and nothing of the queue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Assignment {
    pub run: RunId,
    pub stage: Stage,
    /// What the packet's descriptors are.
    pub inputs: Vec<InputFile>,
    /// Inputs that follow in further packets, before it can begin.
    pub more_inputs: u32,
    /// Files that the stage itself names (models, watermarks), opened by the daemon: their descriptors come first in the packet.
    pub named: Vec<PathBytes>,
    /// An empty folder of this run's own, for its artifact's files; made by the daemon, removed by it. Empty for stages without one.
    pub scratch: PathBytes,
    /// Where finished pieces are kept across runs (`checkpoint()`); `None` for stages without.
    pub checkpoint: Option<PathBytes>,
    /// Where outputs go; only `publish` and `pull` look at it.
    pub output: OutputPlan,
    /// Tells this job's partial files from others': `.NAME.spindle-XXXX.part`; the same for every run of the job.
    pub part_tag: String,
    /// What earlier stages found out.
    pub detail: Detail,
    /// Files that may be replaced because they are still as Spindle published them: path and the content's hash.
    pub replaceable: Vec<(PathBytes, ContentHash)>,
    /// Threads this run may use: the slots it holds.
    pub threads: u32,
    /// How to ask the model API that the stage names.
    pub call: Option<Box<Call>>,
}

impl Assignment {
    /// A run of this stage with one thread, and nothing else to work on or to leave.
    pub fn of(run: RunId, stage: Stage) -> Self {
        Assignment {
            run,
            stage,
            inputs: Vec::new(),
            more_inputs: 0,
            named: Vec::new(),
            scratch: PathBytes::default(),
            checkpoint: None,
            output: OutputPlan::default(),
            part_tag: String::new(),
            detail: Detail::default(),
            replaceable: Vec::new(),
            threads: 1,
            call: None,
        }
    }
}

/// A descriptor handed over.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InputFile {
    /// The artifact's file name (`audio.s16`), or the input's own path, for messages and for formats told by extension.
    pub name: PathBytes,
    pub bytes: u64,
    /// Why an original is not there: it is gone, or another than was worked on. Its descriptor is an empty file's. Of other inputs `None`:
    /// without one of those a run doesn't start.
    pub absent: Option<String>,
}

impl InputFile {
    pub fn new(name: impl Into<PathBytes>, bytes: u64) -> Self {
        InputFile { name: name.into(), bytes, absent: None }
    }
}

/// Ending of the folder beside a checkpoint, for pieces that are files of their own.
pub const PIECES_ENDING: &str = ".pieces";

/// Name of a gathering run's first input: the results it works on, as [`Gathered`] rows.
pub const RESULTS_FILE: &str = "results";

/// One input's result, as a gathering stage finds it. Its files follow as inputs of the run, in the order of the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Gathered {
    /// Of the input, from 1.
    pub index: u32,
    /// The input's path, or its name.
    pub input: PathBytes,
    /// Of the artifact that the files belong to.
    pub address: ContentHash,
    pub detail: Detail,
    pub files: Vec<ArtifactFile>,
    /// Why there is no result; then there are no files either.
    pub lost: Option<Failure>,
}

/// Worker to daemon.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Report {
    Hello {
        protocol: u32,
        role: Role,
        /// What of the walls around it this machine could not put up.
        lacks: Vec<String>,
    },
    /// Share of the stage that is done, 0–1; at most 4 a second.
    Progress {
        run: RunId,
        done: f32,
        /// Share that was done before this run began, by one whose checkpoint it goes on from.
        begun: f32,
    },
    Ended {
        run: RunId,
        outcome: Outcome,
    },
    /// What a run has asked of a model API so far, told whenever it has an answer: however it ends, that is paid for.
    Asked {
        run: RunId,
        usage: Usage,
    },
    /// Seconds that the run's recording lasts, as far as its file tells before it is worked through.
    Length {
        run: RunId,
        seconds: f64,
    },
}

/// How a run ended.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Outcome {
    Done(Box<Done>),
    Failed(Failure),
    /// Stopped because it was told to; its checkpoint holds what was finished.
    Stopped,
}

/// What a finished run hands over.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Done {
    /// Content hash of the input (`identify`).
    pub content: Option<ContentHash>,
    /// Identity of the bytes that were read; differs from the submission's where the file has changed since.
    pub identity: Option<FileIdentity>,
    /// The artifact's files, left in the run's scratch folder, flushed.
    pub files: Vec<ArtifactFile>,
    pub detail: Detail,
    /// Files under their final names.
    pub outputs: Vec<Published>,
    /// Work that this very run has done, in the stage's unit; what an earlier run's checkpoint saved it is not counted.
    pub work: f64,
    /// Largest resident memory of the process so far, in bytes.
    pub peak_memory_bytes: u64,
    /// This run's share of it: the most that the process held while it ran, over the most runs that it held then; 0 = not known.
    pub memory_bytes: u64,
    /// What was asked of a model API.
    pub usage: Usage,
}

/// One file under its final name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    pub output: Output,
    pub content: ContentHash,
    /// Of the file as it stood when its content was last known to be this; `None` = somebody was just at it.
    pub identity: Option<FileIdentity>,
}

/// One file of an artifact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ArtifactFile {
    pub name: String,
    pub bytes: u64,
    pub content: ContentHash,
}
