//! Decode: any recording or video to 16 kHz mono samples, and the facts of its streams.

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;

/// Which audio track to take.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Decode {
    /// Audio track: a number from 1, or a language as the file names it (`2`, `eng`, `de`); otherwise the file's default
    #[cfg_attr(feature = "cli", arg(long, value_name = "N|LANG"))]
    pub track: Option<String>,
}

/// Name of the artifact's file that holds the samples: signed 16-bit little-endian, 16 kHz, mono, first sample at media time 0.
pub const AUDIO_FILE: &str = "audio.s16";
/// Samples per second of [`AUDIO_FILE`].
pub const SAMPLE_RATE: u32 = 16_000;

impl Decode {
    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        hasher.part(self.track.as_deref().unwrap_or("").as_bytes());
    }
}
