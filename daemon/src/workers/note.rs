//! What the supervisor tells: how runs go and how processes ended. Knows nothing of what follows from it.

use std::fmt;

use spindle_shared::id::{RunId, WorkerId};
use spindle_shared::job::{FileIdentity, PathBytes};
use spindle_shared::lane::Role;
use spindle_shared::provider::Usage;
use spindle_shared::worker::Outcome;

/// To the conductor; called from the supervisor's threads, which wait while the call does.
#[derive(Debug, Clone, PartialEq)]
pub enum Note {
    /// Share of the stage done, and done before this run began, 0–1.
    Progress {
        run: RunId,
        worker: WorkerId,
        done: f32,
        begun: f32,
    },
    /// What a run has asked of a model API so far.
    Asked {
        run: RunId,
        usage: Usage,
    },
    Length {
        run: RunId,
        seconds: f64,
    },
    /// The run is over and its process lives on, or it never reached one (`worker` is then `None`).
    Ended {
        run: RunId,
        outcome: Outcome,
        worker: Option<WorkerId>,
    },
    /// What a process has printed while these runs were at work in it.
    Said {
        runs: Vec<RunId>,
        text: String,
    },
    /// The input is not the file that was submitted, but this one; the run did not start.
    Changed {
        run: RunId,
        identity: FileIdentity,
    },
    /// A process is gone, and these are all the runs it had not reported.
    Lost {
        worker: WorkerId,
        runs: Vec<RunId>,
        how: Death,
        /// The run for whose sake the supervisor killed it; the others are bystanders.
        cause_run: Option<RunId>,
        /// The end of what it said on its standard error, control characters escaped.
        stderr_tail: String,
    },
    /// A process is ready for runs.
    Up {
        worker: WorkerId,
        role: Role,
        pid: u32,
        model: Option<PathBytes>,
    },
    /// A process that was up is gone, after [`Note::Lost`] if it had runs; `how` is `None` where it left as asked.
    Down {
        worker: WorkerId,
        role: Role,
        pid: u32,
        model: Option<PathBytes>,
        how: Option<Death>,
        stderr_tail: String,
    },
}

/// How a process ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Death {
    /// It exited with a code other than 0.
    Exit(i32),
    /// A signal that the supervisor did not send; 9 is most often the kernel being out of memory.
    Signal(i32),
    /// It closed its channel or asked for none and went on living, so it was killed.
    Hang,
    /// It sent what no worker sends, and was killed.
    Garbage(String),
    /// It reached its memory limit, in bytes: it was refused more, or killed.
    Memory { limit: u64 },
    /// It exited with 0 and left runs unreported, or was not asked to go.
    SilentExit,
    /// The supervisor ended it.
    Killed(Why),
}

/// Why the supervisor killed a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// A cancelled run did not stop within its second.
    Cancel,
    /// A run past its time did not stop within its second.
    Timeout,
    /// It was asked to leave and did not.
    Recycle,
    Shutdown,
}

impl fmt::Display for Death {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Death::Exit(code) => write!(f, "exited with code {code}"),
            Death::Signal(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "was ended by signal {signal} ({name})"),
                None => write!(f, "was ended by signal {signal}"),
            },
            Death::Hang => f.write_str("stopped reacting"),
            Death::Garbage(what) => write!(f, "spoke garbage: {what}"),
            Death::Memory { limit } => write!(f, "reached its memory limit of {} MiB", limit >> 20),
            Death::SilentExit => f.write_str("exited without a report"),
            Death::Killed(Why::Cancel) => f.write_str("was killed because a cancelled run did not stop"),
            Death::Killed(Why::Timeout) => f.write_str("was killed because a run took too long and did not stop"),
            Death::Killed(Why::Recycle) => f.write_str("was killed because it did not leave when asked"),
            Death::Killed(Why::Shutdown) => f.write_str("was killed because the daemon stops"),
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    Some(match signal {
        4 => "illegal instruction",
        6 => "abort",
        7 => "bus error",
        8 => "arithmetic error",
        9 => "killed, perhaps for want of memory",
        11 => "segmentation fault",
        15 => "terminated",
        31 => "forbidden system call",
        _ => return None,
    })
}

/// One process, as shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WorkerView {
    pub worker: WorkerId,
    pub role: Role,
    /// `None` until the process is there.
    pub pid: Option<u32>,
    pub model: Option<PathBytes>,
    /// The graphics card that it works on.
    pub device: Option<u8>,
    /// `starting`, `idle`, `busy`, `leaving`, `killed`.
    pub state: &'static str,
    pub runs: Vec<RunId>,
    /// Runs it has ended.
    pub runs_done: u32,
    pub resident_bytes: Option<u64>,
}
