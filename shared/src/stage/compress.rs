//! Compress: a video made smaller by a profile: H.264 and AAC in an MP4 that plays while it still loads.

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;

/// What a video is made into. Its pictures fit the box and are never enlarged, its rate is never raised.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// Part of the output's name (`talk.balanced.mp4`).
    pub name: String,
    /// The box, in pixels.
    pub width: u32,
    pub height: u32,
    /// Frames per second at most.
    pub rate: u32,
    /// 18–28; lower is better.
    pub crf: u32,
    /// Bits per second of video at most, over two seconds.
    pub bit_rate: u32,
    /// Bits per second of sound.
    pub audio_bit_rate: u32,
    /// Samples per second.
    pub audio_rate: u32,
    /// How much time x264 takes for it.
    pub preset: String,
}

/// Chooses the profile by the video's length.
pub const DYNAMIC: &str = "dynamic";

/// What x264 knows, quickest first; `placebo` is left out, as it costs hours for nothing that can be seen.
pub const PRESETS: [&str; 9] =
    ["ultrafast", "superfast", "veryfast", "faster", "fast", "medium", "slow", "slower", "veryslow"];

/// Sample rates that AAC has.
pub const AUDIO_RATES: [u32; 12] =
    [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 64_000, 88_200, 96_000];

impl Profile {
    /// The built-in profiles, smallest result first.
    pub fn built_in() -> [Profile; 3] {
        let profile =
            |name: &str, (width, height), rate, crf, kbits, (audio_kbits, audio_rate), preset: &str| Profile {
                name: name.to_owned(),
                width,
                height,
                rate,
                crf,
                bit_rate: kbits * 1_000_u32,
                audio_bit_rate: audio_kbits * 1_000_u32,
                audio_rate,
                preset: preset.to_owned(),
            };
        [
            profile("aggressive", (854, 480), 10, 28, 500, (64, 22_050), "ultrafast"),
            profile("balanced", (1_280, 720), 15, 23, 1_500, (128, 44_100), "fast"),
            profile("conservative", (1_920, 1_080), 24, 20, 3_000, (192, 44_100), "medium"),
        ]
    }

    /// What `dynamic` means for a video of this length.
    pub fn for_length(seconds: f64) -> Profile {
        let [aggressive, balanced, conservative] = Profile::built_in();
        match seconds {
            short if short < 180.0 => conservative,
            middle if middle < 420.0 => balanced,
            _ => aggressive,
        }
    }

    /// The best of the built-in ones whose copy of a video of this length is sure to have no more bytes, as it keeps to its rates; and whether there
    /// is one: where none is, or the length isn't known, it is the smallest.
    pub fn for_upload(seconds: Option<f64>, bytes: u64) -> (Profile, bool) {
        let [aggressive, balanced, conservative] = Profile::built_in();
        let fits = |profile: &Profile| seconds.is_some_and(|seconds| profile.bytes_at_most(seconds) <= bytes as f64);
        match [conservative, balanced].into_iter().find(fits) {
            Some(best) => (best, true),
            None => (aggressive.clone(), fits(&aggressive)),
        }
    }

    /// Of a copy of this length: its rates bound it, and most copies are much smaller.
    pub fn bytes_at_most(&self, seconds: f64) -> f64 {
        (f64::from(self.bit_rate) + f64::from(self.audio_bit_rate)) / 8.0 * seconds
    }

    /// Share of a model's tokens that is expected to be saved by looking at the copy instead of the original.
    pub fn expected_token_saving(&self) -> Option<f64> {
        match self.name.as_str() {
            "aggressive" => Some(0.80),
            "balanced" => Some(0.65),
            "conservative" => Some(0.50),
            _ => None,
        }
    }

    pub fn validate(&self) -> Result<(), String> {
        let Profile { name, .. } = self;
        let wrong = |what: String| Err(format!("profile `{name}`: {what}"));
        let letters = name.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'_'));
        if name.is_empty() || name.len() > 32 || !letters {
            return wrong("a name is 1–32 of a–z, 0–9, - and _".to_owned());
        }
        for (key, value, range) in [
            ("width", self.width, 16..=7_680),
            ("height", self.height, 16..=4_320),
            ("fps", self.rate, 1..=120),
            ("crf", self.crf, 18..=28),
            ("video_kbps", self.bit_rate / 1_000, 50..=100_000),
            ("audio_kbps", self.audio_bit_rate / 1_000, 16..=512),
        ] {
            if !range.contains(&value) {
                return wrong(format!("{key} = {value} is outside {}–{}", range.start(), range.end()));
            }
        }
        if !AUDIO_RATES.contains(&self.audio_rate) {
            let known = AUDIO_RATES.map(|rate| rate.to_string()).join(", ");
            return wrong(format!("audio_hz = {} is none of {known}", self.audio_rate));
        }
        if !PRESETS.contains(&self.preset.as_str()) {
            return wrong(format!("preset `{}` is none of {}", self.preset, PRESETS.join(", ")));
        }
        Ok(())
    }

    fn address_into(&self, hasher: &mut AddressHasher) {
        hasher.part(self.name.as_bytes()).part(self.preset.as_bytes());
        for number in
            [self.width, self.height, self.rate, self.crf, self.bit_rate, self.audio_bit_rate, self.audio_rate]
        {
            hasher.part(&number.to_le_bytes());
        }
    }
}

/// What encodes the pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum VideoEncoder {
    /// x264 on the processor: the best picture for its bytes
    #[default]
    Software,
    /// The first hardware encoder that works, else x264
    Auto,
    /// NVIDIA's, else x264
    Nvenc,
    /// Intel's Quick Sync, else x264
    Qsv,
}

impl VideoEncoder {
    pub fn name(self) -> &'static str {
        match self {
            VideoEncoder::Software => "software",
            VideoEncoder::Auto => "auto",
            VideoEncoder::Nvenc => "nvenc",
            VideoEncoder::Qsv => "qsv",
        }
    }
}

/// By which profile a video is made smaller.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Compress {
    /// Profile: aggressive, balanced, conservative, one of the configuration's, or `dynamic`, which chooses by the video's length (under 3
    /// minutes conservative, under 7 balanced, else aggressive); `spindlectl profiles` lists them
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", default_value = DYNAMIC))]
    pub profile: String,
    // What the name stands for; the daemon fills it in, but for `dynamic`.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub settings: Option<Profile>,
    /// Write nothing where the copy would not be smaller than the original
    #[cfg_attr(feature = "cli", arg(long))]
    pub keep_only_if_smaller: bool,
    /// What encodes the pictures
    #[cfg_attr(feature = "cli", arg(long, value_name = "NAME", default_value = "software"))]
    pub encoder: VideoEncoder,
    /// Audio track to keep: a number from 1, or a language as the file names it (`2`, `eng`, `de`); otherwise the file's default
    #[cfg_attr(feature = "cli", arg(long, value_name = "N|LANG"))]
    pub track: Option<String>,
    // `--max-upload-time`: longest time for the copy's way to its store, in milliseconds; chooses the profile. Of `compress` on the command line.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub upload_ms: Option<u64>,
    // What goes there in this time; the daemon fills it in, by what it has measured.
    #[cfg_attr(feature = "cli", arg(skip))]
    pub upload_bytes: Option<u64>,
}

/// First part of the artifact's file name; then follow the profile's name and [`VIDEO_EXTENSION`].
pub const VIDEO_STEM: &str = "video";
pub const VIDEO_EXTENSION: &str = "mp4";

impl Default for Compress {
    fn default() -> Self {
        Compress {
            profile: DYNAMIC.to_owned(),
            settings: None,
            keep_only_if_smaller: false,
            encoder: VideoEncoder::Software,
            track: None,
            upload_ms: None,
            upload_bytes: None,
        }
    }
}

impl Compress {
    /// The endings that its output may have: one, or for `dynamic` one for each built-in profile.
    pub fn endings(&self) -> Vec<String> {
        let ending = |name: &str| format!("{name}.{VIDEO_EXTENSION}");
        if self.profile == DYNAMIC {
            Profile::built_in().iter().map(|profile| ending(&profile.name)).collect()
        } else {
            vec![ending(&self.profile)]
        }
    }

    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        match &self.settings {
            Some(profile) => profile.address_into(hasher),
            None => {
                hasher.part(self.profile.as_bytes());
                if let Some(bytes) = self.upload_bytes {
                    hasher.part(&bytes.to_le_bytes());
                }
            }
        }
        hasher
            .part(&[u8::from(self.keep_only_if_smaller)])
            .part(self.encoder.name().as_bytes())
            .part(self.track.as_deref().unwrap_or("").as_bytes());
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.upload_ms.is_some() && self.profile != DYNAMIC {
            return Err("--max-upload-time chooses the profile itself: leave --profile out".to_owned());
        }
        match &self.settings {
            Some(profile) => profile.validate(),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_profiles_are_sound_and_chosen_by_length() {
        assert!(Profile::built_in().iter().all(|profile| profile.validate().is_ok()));
        for (seconds, name) in [
            (0.0, "conservative"),
            (179.9, "conservative"),
            (180.0, "balanced"),
            (419.9, "balanced"),
            (420.0, "aggressive"),
            (600.0, "aggressive"),
            (1e9, "aggressive"),
        ] {
            assert_eq!(Profile::for_length(seconds).name, name, "{seconds}");
        }
    }

    #[test]
    fn for_an_upload_it_is_the_best_that_is_sure_to_fit() {
        // A minute of it has 23.94, 12.21 and 4.23 MB at most.
        for (seconds, bytes, name, fits) in [
            (Some(60.0), 23_940_000, "conservative", true),
            (Some(60.0), 23_939_999, "balanced", true),
            (Some(60.0), 12_210_000, "balanced", true),
            (Some(60.0), 12_209_999, "aggressive", true),
            (Some(60.0), 4_229_999, "aggressive", false),
            (Some(0.0), 0, "conservative", true),
            (None, u64::MAX, "aggressive", false),
        ] {
            let (profile, is_sure) = Profile::for_upload(seconds, bytes);
            assert_eq!((profile.name.as_str(), is_sure), (name, fits), "{seconds:?} {bytes}");
        }
        let named = Compress { profile: "balanced".to_owned(), upload_ms: Some(1), ..Compress::default() };
        assert!(named.validate().unwrap_err().contains("--profile"));
    }

    #[test]
    fn what_a_profile_can_t_be_is_told() {
        let [_, balanced, _] = Profile::built_in();
        for (wrong, told) in [
            (Profile { crf: 17, ..balanced.clone() }, "crf = 17 is outside 18–28"),
            (Profile { crf: 29, ..balanced.clone() }, "crf = 29"),
            (Profile { name: "../x".to_owned(), ..balanced.clone() }, "a name is"),
            (Profile { audio_rate: 44_000, ..balanced.clone() }, "audio_hz = 44000"),
            (Profile { preset: "placebo".to_owned(), ..balanced.clone() }, "placebo"),
            (Profile { rate: 0, ..balanced.clone() }, "fps = 0"),
        ] {
            assert!(wrong.validate().unwrap_err().contains(told), "{wrong:?}");
        }
    }
}
