//! Publish: the last artifact's files under their final names, whole or not at all.

use serde::{Deserialize, Serialize};

/// How final names are made and what may be replaced.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Publish {
    /// Name outputs `talk.srt` instead of `talk.en.srt`
    #[cfg_attr(feature = "cli", arg(long = "no-language-suffix", action = clap::ArgAction::SetFalse))]
    pub language_suffix: bool,
    // Replace whatever has the name: `--force`, which every recipe has.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub force: bool,
}

impl Default for Publish {
    fn default() -> Self {
        Publish { language_suffix: true, force: false }
    }
}
