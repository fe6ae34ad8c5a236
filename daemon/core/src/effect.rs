//! What can wake the scheduler, and what it wants done. Two closed enums: nothing else goes in or out.

use spindle_shared::batch::{BatchSpec, BatchState, BatchView, Priority};
use spindle_shared::event::Event;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, ContentHash, JobId, Owner, RunId, Target, WorkerId};
use spindle_shared::job::{Detail, FileIdentity, JobSpec, JobState, JobView};
use spindle_shared::lane::Lane;
use spindle_shared::packed::Packed;
use spindle_shared::provider::Usage;
use spindle_shared::stage::Stage;
use spindle_shared::stage::publish::Publish;
use spindle_shared::wire::request::{Scope, Selection};
use spindle_shared::wire::response::{Refusal, RefusalKind, Response};
use spindle_shared::worker::{ArtifactFile, Outcome, Published};

use crate::alert::Turn;
use crate::change::{Change, RecoveredBatch, StoredArtifact};
use crate::scheduler::Config;

/// A question that waits for its answer; numbered by the shell.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Who asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Peer {
    pub owner: Owner,
    /// Root, the daemon's own user or one of its administrators: sees everybody's batches and may act on them.
    pub admin: bool,
}

impl Peer {
    /// Whose batches this peer sees; `None` = everybody's.
    pub fn only(self) -> Option<Owner> {
        (!self.admin).then_some(self.owner)
    }

    pub fn sees(self, owner: Owner) -> bool {
        self.admin || owner == self.owner
    }

    /// A refusal for all others; `what` goes on "only … may".
    pub fn must_be_admin(self, what: &str) -> Result<(), Refusal> {
        match self.admin {
            true => Ok(()),
            false => {
                let message = format!("only root, the daemon's user and its administrators may {what}");
                Err(Refusal::new(RefusalKind::NotPermitted, message))
            }
        }
    }
}

/// Everything that can wake the scheduler.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    Command {
        client: ClientId,
        peer: Peer,
        command: Command,
    },
    /// Answers [`Effect::LookupInput`]. Until every lookup of a turn is answered nothing starts, so each must be, within the turn.
    InputFound {
        job: JobId,
        found: FoundInput,
    },
    /// Answers [`Effect::LookupArtifacts`], in the order asked.
    ArtifactsFound {
        job: JobId,
        found: Vec<Option<StoredArtifact>>,
    },
    /// Answers [`Effect::LookupOutputs`]; `None` = not all of them are there.
    OutputsFound {
        look: RunId,
        job: JobId,
        outputs: Option<Vec<Published>>,
    },
    /// Answers [`Effect::LookupResults`]: the hash of all that is to be gathered, or what of it is missing.
    ResultsFound {
        look: RunId,
        job: JobId,
        results: Result<ContentHash, Failure>,
    },
    Progress {
        run: RunId,
        /// Who has it.
        worker: WorkerId,
        /// Share of the stage that is done.
        done: f32,
        /// Share that was done when this run began.
        begun: f32,
    },
    /// Seconds that the run's recording lasts, told before it is worked through.
    Length {
        run: RunId,
        seconds: f64,
    },
    Ended {
        run: RunId,
        outcome: Outcome,
    },
    /// The input is another file, or has another content, than at submission; the run did not start.
    InputChanged {
        run: RunId,
        identity: FileIdentity,
    },
    /// What a run has asked of its model API so far.
    Asked {
        run: RunId,
        usage: Usage,
    },
    /// A worker is gone with these runs unreported.
    Lost {
        runs: Vec<RunId>,
        cause: Option<RunId>,
        death: Death,
    },
    /// Bytes free on the disk of the state directory. Told when it has changed enough to matter.
    Room(u64),
    /// Whether the machine is short of memory.
    Memory {
        short: bool,
    },
    /// A rule of [`crate::alert`] has begun to hold, or holds no more.
    Alert(Turn),
    /// The configuration has changed; what it says of slots, quotas and model APIs counts from now on.
    Configured(Box<Config>),
    /// The time of `next_wakeup` has come.
    Tick,
}

/// How a worker died, as far as the core treats it differently.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Death {
    /// By its own fault; the kind a single run of it is charged with, and what is known of it.
    Fault { kind: FailureKind, message: String },
    /// We killed it, for the sake of the run in `cause` (its time was up, it was cancelled) or of none (shutdown).
    Killed { timeout: bool },
}

/// What clients ask of the scheduler. What comes along from the store (`repeats`, `Retry`, `Remove`) is read when all that was stepped before
/// is committed; otherwise two submissions with one key in one turn are two batches, and a job that has just ended comes back.
#[derive(Debug, Clone, PartialEq)]
pub enum Command {
    /// `repeats`: the batch that this owner's key stands for already; `after`: how the batches ended that it waits for, of those that have.
    Submit {
        spec: Box<BatchSpec>,
        jobs: Packed<JobSpec>,
        repeats: Option<Box<BatchView>>,
        after: Vec<(BatchId, BatchState)>,
    },
    Cancel(Selection),
    Pause {
        what: Selection,
        now: bool,
    },
    Resume(Selection),
    Prioritize {
        what: Selection,
        priority: Priority,
    },
    /// Jobs at a bad end, by batch; batches that are closed come along as the store has them.
    Retry(Vec<RetryItem>),
    /// Ended batches to forget, with their owners; open ones are refused.
    Remove(Vec<(BatchId, Option<Owner>)>),
    /// Artifacts that nobody needs any more; those that a job on its way makes or may read stay.
    Purge(Vec<ContentHash>),
    Explain(Target),
    /// Open batches and their jobs at work, to lay over what the store has.
    Overlay {
        batches: Option<Vec<BatchId>>,
        jobs: bool,
    },
    House,
    Watch(Scope),
    Drain,
    Shutdown,
}

/// Jobs of one batch to try again, with how they ended.
#[derive(Debug, Clone, PartialEq)]
pub struct RetryItem {
    pub batch: RecoveredBatch,
    pub jobs: Vec<(u32, JobState)>,
}

/// What the store knows of a job's input.
#[derive(Debug, Clone, PartialEq)]
pub struct FoundInput {
    /// Whether there is a file to identify at all.
    pub is_file: bool,
    pub bytes: u64,
    /// Hash of these very bytes, if they were read before.
    pub content: Option<ContentHash>,
    pub stages: Option<Vec<Stage>>,
}

/// Everything the scheduler can want done, in this order within a turn: commits first, then the rest.
#[derive(Debug, Clone, PartialEq)]
pub enum Effect {
    Commit(Vec<Change>),
    Answer {
        client: ClientId,
        answer: Answer,
    },
    Publish(Event),
    LookupInput {
        job: JobId,
        identity: Option<FileIdentity>,
    },
    LookupArtifacts {
        job: JobId,
        addresses: Vec<ContentHash>,
    },
    /// Are the files that a job would publish all there already, as published and with these contents? Asked of disks that may be slow,
    /// so the answer, [`Input::OutputsFound`], may come much later.
    LookupOutputs(Box<LookupOutputs>),
    /// What has come of the inputs of this gather job's batch? Asked of many records, so the answer, [`Input::ResultsFound`], may come
    /// much later.
    LookupResults {
        look: RunId,
        job: JobId,
    },
    Start(Box<Start>),
    Stop(RunId),
    /// Pieces of work that nobody will go on with.
    DropCheckpoint(ContentHash),
    /// Its record is gone; so may its files.
    DropArtifact(ContentHash),
    /// Nothing runs any more and nothing will: the daemon may end.
    Exit,
}

/// An answer on its way to a client's session.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    Frames(Vec<Response>),
    Overlay {
        batches: Vec<BatchView>,
        jobs: Vec<JobView>,
    },
    /// The state of the house at `seq`; events after it follow.
    Watching {
        seq: u64,
        paused: bool,
        batches: Vec<BatchView>,
        jobs: Vec<JobView>,
        alerts: Vec<String>,
    },
}

/// What a job would publish.
#[derive(Debug, Clone, PartialEq)]
pub struct LookupOutputs {
    pub look: RunId,
    pub job: JobId,
    pub stage: Publish,
    pub language: Option<String>,
    pub files: Vec<ArtifactFile>,
}

/// One run to start.
#[derive(Debug, Clone, PartialEq)]
pub struct Start {
    pub run: RunId,
    pub job: JobId,
    pub stage: Stage,
    /// Whose slots it holds; a graphics card's: it is done there.
    pub lane: Lane,
    /// Where its artifact belongs; `None` = it leaves none.
    pub address: Option<ContentHash>,
    /// The artifact it works on; `None` = the job's own input, or the results that it gathers.
    pub feed: Option<(ContentHash, Vec<ArtifactFile>)>,
    /// The input as it is now, where that was found to differ from the submission.
    pub identity: Option<FileIdentity>,
    pub detail: Detail,
    /// Alone in its worker.
    pub alone: bool,
    /// Of its lane; held until its end.
    pub slots: u32,
    /// Memory that it is expected to take, in MiB; held like the slots.
    pub memory_mib: u32,
    pub timeout_ms: u64,
    /// Number of the key of the model API that it asks.
    pub key: Option<u32>,
}
