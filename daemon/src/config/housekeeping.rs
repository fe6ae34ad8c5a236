//! `[housekeeping]`: how long things are kept. Removes nothing.

use serde::{Deserialize, Serialize};

/// How long things are kept.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Housekeeping {
    /// Between two cleanings, the first of which comes so long after the start.
    pub every_minutes: u64,
    /// What is quickly made again.
    pub temporary_hours: u64,
    /// Transcripts and their like.
    pub artifacts_days: u64,
    /// Records of batches that have ended.
    pub records_days: u64,
}

impl Default for Housekeeping {
    fn default() -> Self {
        Housekeeping { every_minutes: 30, temporary_hours: 24, artifacts_days: 30, records_days: 30 }
    }
}
