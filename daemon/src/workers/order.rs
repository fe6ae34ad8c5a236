//! What the conductor asks for: one run, the files it reads, and the process it needs.

use std::sync::Arc;

use spindle_shared::job::{FileIdentity, PathBytes};
use spindle_shared::lane::Role;
use spindle_shared::worker::Assignment;

/// Start one run.
#[derive(Debug, Clone)]
pub struct StartOrder {
    pub assignment: Assignment,
    /// Opened in this order and handed over with the assignment, one for each of its inputs.
    pub open: Vec<ToOpen>,
    pub role: Role,
    /// Which model a `speech` worker must hold; other roles have none.
    pub model: Option<PathBytes>,
    /// The graphics card that it is done on, by its number; the program for those then does it.
    pub device: Option<u8>,
    /// In a process that has no other run while this one lasts.
    pub alone: bool,
    /// Counted from the moment the run reaches its worker.
    pub timeout_ms: u64,
}

/// A file to open for a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ToOpen {
    /// The user's file, which must still be the one that was submitted.
    Input { path: PathBytes, identity: FileIdentity },
    /// The user's file, worked on before, which must still be that one; `Err` = it is known to be another, and why. Where it isn't there the
    /// run is told so, and does without or fails.
    Original { path: PathBytes, identity: Result<FileIdentity, String> },
    /// Spindle's own.
    Artifact { path: PathBytes },
    /// No file yet: these bytes, in memory.
    Bytes(Arc<[u8]>),
}
