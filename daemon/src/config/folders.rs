//! `[folders]`: how watched folders are looked at. Which they are stands in the queue, not here.

use serde::{Deserialize, Serialize};

/// How watched folders are looked at.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct WatchedFolders {
    /// A file that has been the same for so long has stopped growing.
    pub stable_seconds: u64,
    /// Between two looks where nobody tells of a change.
    pub rescan_seconds: u64,
}

impl Default for WatchedFolders {
    fn default() -> Self {
        WatchedFolders { stable_seconds: 10, rescan_seconds: 60 }
    }
}
