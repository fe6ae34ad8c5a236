//! Assemble: the pieces of a plan, cut from the original videos and joined to one.

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;

/// How good the result looks, and how long making it takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum Quality {
    /// 500 kbit/s, quick
    Low,
    /// 1500 kbit/s
    Medium,
    /// 3000 kbit/s, slow
    #[default]
    High,
    /// As the sources are: what can be is copied, the rest is encoded anew
    Source,
}

impl Quality {
    pub fn name(self) -> &'static str {
        match self {
            Quality::Low => "low",
            Quality::Medium => "medium",
            Quality::High => "high",
            Quality::Source => "source",
        }
    }

    /// Of the pictures; `None` = as good as the sources.
    pub fn bit_rate(self) -> Option<u32> {
        match self {
            Quality::Low => Some(500_000),
            Quality::Medium => Some(1_500_000),
            Quality::High => Some(3_000_000),
            Quality::Source => None,
        }
    }

    pub fn sound_bit_rate(self) -> u32 {
        match self {
            Quality::Low => 96_000,
            Quality::Medium => 128_000,
            Quality::High | Quality::Source => 192_000,
        }
    }
}

/// Samples per second and channels of the result's sound.
pub const SOUND_RATE: u32 = 48_000;
pub const SOUND_CHANNELS: u32 = 2;
/// Of the sound before it is encoded, as it waits on the disk: two bytes a sample.
pub const SOUND_BYTES_PER_SECOND: f64 = (SOUND_RATE * SOUND_CHANNELS * 2) as f64;

/// How the pieces are joined.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Assemble {
    /// Quality of the result
    #[cfg_attr(feature = "cli", arg(long, value_enum, value_name = "QUALITY", default_value = "high"))]
    pub quality: Quality,
    /// Fade every piece in and out; in seconds, 0.1–5
    #[cfg_attr(feature = "cli", arg(long, value_name = "SECONDS", num_args = 0..=1, require_equals = true, default_missing_value = "0.5"))]
    pub fade: Option<f64>,
}

/// Stem of the artifact's files: the video and its description as JSON.
pub const HIGHLIGHTS_STEM: &str = "highlights";

const FADE_SECONDS_RANGE: std::ops::RangeInclusive<f64> = 0.1..=5.0;

impl Assemble {
    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        hasher.part(self.quality.name().as_bytes()).part(&self.fade.map_or(0, f64::to_bits).to_le_bytes());
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        match self.fade {
            Some(fade) if !FADE_SECONDS_RANGE.contains(&fade) => {
                Err(format!("--fade {fade} is outside {}–{}", FADE_SECONDS_RANGE.start(), FADE_SECONDS_RANGE.end()))
            }
            _ => Ok(()),
        }
    }
}
