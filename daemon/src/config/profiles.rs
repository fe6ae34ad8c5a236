//! `[profiles]`: what videos can be made into besides the built-in profiles. Knows no encoder.

use serde::{Deserialize, Serialize};
use spindle_shared::stage::compress::Profile;

use super::Config;

/// A profile of compression; what is left out is as in `balanced`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct OwnProfile {
    pub width: Option<u32>,
    pub height: Option<u32>,
    pub fps: Option<u32>,
    /// 18–28.
    pub crf: Option<u32>,
    pub video_kbps: Option<u32>,
    pub audio_kbps: Option<u32>,
    pub audio_hz: Option<u32>,
    pub preset: Option<String>,
}

impl OwnProfile {
    fn settings(&self, name: &str) -> Profile {
        let [_, usual, _] = Profile::built_in();
        let bits = |kbps: Option<u32>, usual: u32| kbps.map_or(usual, |kbps| kbps.saturating_mul(1_000));
        Profile {
            name: name.to_owned(),
            width: self.width.unwrap_or(usual.width),
            height: self.height.unwrap_or(usual.height),
            rate: self.fps.unwrap_or(usual.rate),
            crf: self.crf.unwrap_or(usual.crf),
            bit_rate: bits(self.video_kbps, usual.bit_rate),
            audio_bit_rate: bits(self.audio_kbps, usual.audio_bit_rate),
            audio_rate: self.audio_hz.unwrap_or(usual.audio_rate),
            preset: self.preset.clone().unwrap_or(usual.preset),
        }
    }
}

impl Config {
    /// The configuration's own profiles, by name.
    pub fn profiles(&self) -> Vec<Profile> {
        self.profiles.iter().map(|(name, own)| own.settings(name)).collect()
    }
}
