//! `[workers]`: how worker processes live. Starts none.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Workers {
    /// An idle worker leaves, and its model with it, after this long.
    pub idle_seconds: u64,
    /// A worker that decodes or listens makes room for a fresh one after this many runs.
    pub recycle_after: u32,
    /// …or after its memory has grown by this much.
    pub memory_growth_mib: u64,
    /// Memory that one worker may take; default: three quarters of the machine's. 32–16777216.
    pub memory_limit_mib: Option<u64>,
    /// Whether workers are walled in: no file, program, process or network but what their role needs.
    pub sandbox: bool,
    /// The worker program's build for graphics cards; default: none, and the processor does all work.
    pub gpu_program: Option<PathBuf>,
}

impl Default for Workers {
    fn default() -> Self {
        Workers {
            idle_seconds: 120,
            recycle_after: 50,
            memory_growth_mib: 1024,
            memory_limit_mib: None,
            sandbox: true,
            gpu_program: None,
        }
    }
}
