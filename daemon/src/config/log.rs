//! `[log]`: where the daemon's log goes. Writes no line.

use serde::{Deserialize, Serialize};

/// Where the daemon's log goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// As `SPINDLE_LOG`, which outranks it: `info`, `warn,spindled=debug`.
    pub level: String,
    pub to: LogTo,
    /// Of the files; default: `logs` in the state folder.
    pub folder: Option<String>,
    pub keep_days: u64,
    pub file_mib: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogTo {
    /// systemd's journal where that has standard error, else standard error.
    Auto,
    Stderr,
    /// Standard error, an object a line.
    Json,
    Journald,
    Files,
}

impl Default for Log {
    fn default() -> Self {
        Log { level: "info".to_owned(), to: LogTo::Auto, folder: None, keep_days: 14, file_mib: 64 }
    }
}

/// `info`, `spindled=debug`.
pub(super) fn is_level(part: &str) -> bool {
    let (of, level) = part.rsplit_once('=').unwrap_or(("x", part));
    let named = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    !of.is_empty() && of.chars().all(named) && ["error", "warn", "info", "debug", "trace", "off"].contains(&level)
}
