//! Analyze: what happens in a video and when, found by a provider.

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;

/// Who looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Provider {
    /// This machine, by measuring: scene changes, loudness, voices, movement. Needs no network
    #[default]
    Local,
}

impl Provider {
    pub fn name(self) -> &'static str {
        match self {
            Provider::Local => "local",
        }
    }
}

/// How to look at a video.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Analyze {
    // Models are asked by a stage of their own, `ask`.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub analyzer: Provider,
    /// Longest video that is taken, in seconds; 1–86,400
    #[cfg_attr(feature = "cli", arg(long = "max-duration", value_name = "SECONDS", default_value_t = LONGEST_SECONDS))]
    pub longest_seconds: u32,
}

/// Videos beyond it are refused unless the user says otherwise.
const LONGEST_SECONDS: u32 = 600;

/// Name of the artifact's file: the analysis as JSON.
pub const ANALYSIS_FILE: &str = "analysis.json";

impl Default for Analyze {
    fn default() -> Self {
        Analyze { analyzer: Provider::Local, longest_seconds: LONGEST_SECONDS }
    }
}

impl Analyze {
    // The longest duration is no part of it: a video that is taken is analysed alike.
    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        hasher.part(self.analyzer.name().as_bytes());
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        let range = 1..=86_400;
        match range.contains(&self.longest_seconds) {
            true => Ok(()),
            false => {
                Err(format!("--max-duration {} is outside {}–{}", self.longest_seconds, range.start(), range.end()))
            }
        }
    }
}
