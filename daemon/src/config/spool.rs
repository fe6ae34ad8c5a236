//! `[spool]`: what users of a system service may have lying in its folder, and how long. Knows no folder.

use serde::{Deserialize, Serialize};

/// What users of a system service have lying in its folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Spool {
    /// What one user's inputs and outputs may take together.
    pub user_mib: u64,
    /// Largest input that is taken.
    pub input_max_mib: u64,
    /// After a batch's end its outputs, and the inputs of what failed, stay so long.
    pub keep_days: u64,
}

impl Default for Spool {
    fn default() -> Self {
        Spool { user_mib: 51_200, input_max_mib: 20_480, keep_days: 7 }
    }
}
