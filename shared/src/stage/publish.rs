//! Publish: the last artifact's files under their final names, whole or not at all.

use serde::{Deserialize, Serialize};

/// How final names are made and what may be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publish {
    /// `talk.en.srt`; otherwise `talk.srt`.
    pub language_suffix: bool,
    /// Replace whatever has the name.
    pub force: bool,
}

impl Default for Publish {
    fn default() -> Self {
        Publish { language_suffix: true, force: false }
    }
}
