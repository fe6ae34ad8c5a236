//! Convert: a recording, a video or a subtitle file into another format.

use std::path::Path;

use serde::{Deserialize, Serialize};

use super::subtitle::Format;
use crate::id::AddressHasher;

/// A format to convert to; its name is its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    Mp3,
    Aac,
    M4a,
    Flac,
    Wav,
    Opus,
    Ogg,
    Mp4,
    Mkv,
    Webm,
    Mov,
    Text(Format),
}

/// What kind of thing a format holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TargetKind {
    Audio,
    Video,
    Text,
}

impl Target {
    pub const MEDIA: [Target; 11] = [
        Target::Mp3,
        Target::Aac,
        Target::M4a,
        Target::Flac,
        Target::Wav,
        Target::Opus,
        Target::Ogg,
        Target::Mp4,
        Target::Mkv,
        Target::Webm,
        Target::Mov,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Target::Mp3 => "mp3",
            Target::Aac => "aac",
            Target::M4a => "m4a",
            Target::Flac => "flac",
            Target::Wav => "wav",
            Target::Opus => "opus",
            Target::Ogg => "ogg",
            Target::Mp4 => "mp4",
            Target::Mkv => "mkv",
            Target::Webm => "webm",
            Target::Mov => "mov",
            Target::Text(format) => format.name(),
        }
    }

    pub fn kind(self) -> TargetKind {
        match self {
            Target::Mp3 | Target::Aac | Target::M4a | Target::Flac | Target::Wav | Target::Opus | Target::Ogg => {
                TargetKind::Audio
            }
            Target::Mp4 | Target::Mkv | Target::Webm | Target::Mov => TargetKind::Video,
            Target::Text(_) => TargetKind::Text,
        }
    }

    /// Pictures are no business of this recipe, and are told so.
    pub fn from_name(name: &str) -> Result<Self, String> {
        let name = name.trim().trim_start_matches('.').to_lowercase();
        let known = Target::MEDIA.into_iter().find(|target| target.name() == name);
        known.or(Format::from_name(&name).map(Target::Text)).ok_or_else(|| {
            if ["jpg", "jpeg", "png", "webp", "avif", "tiff"].contains(&name.as_str()) {
                return format!("`{name}` is a format of pictures: `submit images --op convert={name}` makes it");
            }
            let texts = Format::ALL.map(Format::name).join(", ");
            format!("`{name}` is no format; known are {}, {texts}", Target::MEDIA.map(Target::name).join(", "))
        })
    }
}

/// What is converted to, and how texts are put in order on the way.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Convert {
    /// Format to convert to: mp3, aac, m4a, flac, wav, opus, ogg; mp4, mkv, webm, mov; srt, vtt, txt, json, lrc, csv, tsv
    #[cfg_attr(feature = "cli", arg(long, value_name = "FORMAT", value_parser = Target::from_name))]
    pub to: Target,
    /// Track to take: a number from 1, or a language as the file names it (`2`, `eng`, `de`); otherwise the file's default
    #[cfg_attr(feature = "cli", arg(long, value_name = "N|LANG"))]
    pub track: Option<String>,
    /// Kilobits per second of sound; 16–512; otherwise the format's usual
    #[cfg_attr(feature = "cli", arg(long, value_name = "N"))]
    pub audio_kbps: Option<u32>,
    /// Move subtitles by so many milliseconds, later or (negative) earlier
    #[cfg_attr(feature = "cli", arg(long, value_name = "MS", default_value = "0", allow_negative_numbers = true))]
    pub shift_ms: i64,
    /// Break the lines of subtitles anew: two of 42 characters at most, or of 18 Chinese ones
    #[cfg_attr(feature = "cli", arg(long))]
    pub rewrap: bool,
    /// Join subtitles that follow each other closely and fit on the screen together
    #[cfg_attr(feature = "cli", arg(long))]
    pub merge: bool,
    /// Cut subtitles that are too long to be read at once
    #[cfg_attr(feature = "cli", arg(long))]
    pub split: bool,
}

/// First part of the artifact's file name; then follows the format's extension, after `converted` where the input has that one too.
pub const CONVERTED_STEM: &str = "media";
const SAME: &str = "converted";

impl Convert {
    /// What the output's name ends with.
    pub fn ending(&self, input: &Path) -> String {
        let extension = self.to.name();
        let same = input.extension().is_some_and(|own| own.to_string_lossy().to_lowercase() == extension);
        if same { format!("{SAME}.{extension}") } else { extension.to_owned() }
    }

    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        hasher
            .part(self.to.name().as_bytes())
            .part(self.track.as_deref().unwrap_or("").as_bytes())
            .part(&self.audio_kbps.unwrap_or(0).to_le_bytes())
            .part(&self.shift_ms.to_le_bytes())
            .part(&[u8::from(self.rewrap), u8::from(self.merge), u8::from(self.split)]);
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        const SHIFT_MS_MAX: i64 = 7 * 24 * 3_600_000;
        let text = self.to.kind() == TargetKind::Text;
        if let Some(kbps) = self.audio_kbps.filter(|kbps| !(16..=512).contains(kbps)) {
            return Err(format!("--audio-kbps {kbps} is outside 16–512"));
        }
        if text && self.audio_kbps.is_some() {
            return Err(format!("--audio-kbps: {} has no sound", self.to.name()));
        }
        if self.shift_ms.abs() > SHIFT_MS_MAX {
            return Err(format!("--shift-ms {} is more than a week", self.shift_ms));
        }
        if !text && (self.shift_ms != 0 || self.rewrap || self.merge || self.split) {
            return Err(format!(
                "--shift-ms, --rewrap, --merge and --split are for subtitles, not for {}",
                self.to.name()
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_extension_and_pictures_are_told() {
        assert_eq!(Target::from_name(".MP3"), Ok(Target::Mp3));
        assert_eq!(Target::from_name("vtt"), Ok(Target::Text(Format::Vtt)));
        assert!(Target::from_name("png").unwrap_err().contains("pictures"));
        assert!(Target::from_name("doc").unwrap_err().contains("known are mp3"));
    }

    #[test]
    fn an_output_of_the_same_extension_is_told_apart() {
        let convert = Convert {
            to: Target::Mp3,
            track: None,
            audio_kbps: None,
            shift_ms: 0,
            rewrap: false,
            merge: false,
            split: false,
        };
        assert_eq!(convert.ending(Path::new("/a/talk.mp4")), "mp3");
        assert_eq!(convert.ending(Path::new("/a/talk.MP3")), "converted.mp3");
        assert!(convert.validate().is_ok());
        assert!(Convert { rewrap: true, ..convert.clone() }.validate().is_err());
        assert!(Convert { audio_kbps: Some(8), ..convert }.validate().is_err());
    }
}
