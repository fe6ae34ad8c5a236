//! Subtitle: timed text to cues, written in each format asked for.

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;

/// A format of subtitles or transcripts; its name is its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Format {
    Srt,
    Vtt,
    Txt,
    Json,
    Lrc,
    Csv,
    Tsv,
}

impl Format {
    pub const ALL: [Format; 7] =
        [Format::Srt, Format::Vtt, Format::Txt, Format::Json, Format::Lrc, Format::Csv, Format::Tsv];

    pub fn name(self) -> &'static str {
        match self {
            Format::Srt => "srt",
            Format::Vtt => "vtt",
            Format::Txt => "txt",
            Format::Json => "json",
            Format::Lrc => "lrc",
            Format::Csv => "csv",
            Format::Tsv => "tsv",
        }
    }

    pub fn from_name(name: &str) -> Option<Self> {
        Format::ALL.into_iter().find(|format| format.name() == name)
    }
}

/// How cues are shaped. Lengths in characters are columns: a CJK character in a Latin line counts two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Shape {
    /// Lines per cue; 1–4.
    pub lines_max: u32,
    /// Characters per line of alphabetic text; 10–100.
    pub line_chars_max: u32,
    /// Characters per line of Chinese, Japanese or Korean text; 5–50.
    pub line_cjk_max: u32,
    /// Words per cue; `None` = as many as fit.
    pub words_max: Option<u32>,
    /// Characters per cue over all lines; `None` = lines × line length.
    pub cue_chars_max: Option<u32>,
    /// Longest time on screen in milliseconds; 500–30,000.
    pub cue_ms_max: u32,
    /// Shortest time on screen in milliseconds where the next cue leaves room; 0–5,000.
    pub cue_ms_min: u32,
    /// Reading speed that cues are stretched towards, characters per second; 5–60.
    pub chars_per_second_max: u32,
    /// Gap kept between cues that follow each other closely, in milliseconds; 0–1,000.
    pub gap_ms: u32,
}

impl Shape {
    /// The default: what broadcasters ask for (two lines of 42, 0.83–7 s, 20 characters per second).
    pub const STANDARD: Shape = Shape {
        lines_max: 2,
        line_chars_max: 42,
        line_cjk_max: 18,
        words_max: None,
        cue_chars_max: None,
        cue_ms_max: 7_000,
        cue_ms_min: 830,
        chars_per_second_max: 20,
        gap_ms: 80,
    };

    /// Short cues for clips: at most 4 s, 8 words, 50 characters.
    pub const SHORT: Shape = Shape {
        lines_max: 2,
        line_chars_max: 42,
        line_cjk_max: 18,
        words_max: Some(8),
        cue_chars_max: Some(50),
        cue_ms_max: 4_000,
        cue_ms_min: 830,
        chars_per_second_max: 20,
        gap_ms: 80,
    };
}

/// Which formats, in which shape.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Subtitle {
    pub formats: Vec<Format>,
    pub shape: Shape,
}

/// Stem of the artifact's files; each has its format's extension.
pub const SUBTITLE_STEM: &str = "subtitles";

impl Default for Subtitle {
    fn default() -> Self {
        Subtitle { formats: vec![Format::Srt, Format::Vtt], shape: Shape::STANDARD }
    }
}

impl Subtitle {
    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        let shape = &self.shape;
        for format in &self.formats {
            hasher.part(format.name().as_bytes());
        }
        for number in [
            shape.lines_max,
            shape.line_chars_max,
            shape.line_cjk_max,
            shape.words_max.unwrap_or(0),
            shape.cue_chars_max.unwrap_or(0),
            shape.cue_ms_max,
            shape.cue_ms_min,
            shape.chars_per_second_max,
            shape.gap_ms,
        ] {
            hasher.part(&number.to_le_bytes());
        }
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        let shape = &self.shape;
        if self.formats.is_empty() {
            return Err("--format names no format".to_owned());
        }
        for (flag, value, range) in [
            ("--max-lines", shape.lines_max, 1..=4),
            ("--max-line-chars", shape.line_chars_max, 10..=100),
            ("--max-line-chars-cjk", shape.line_cjk_max, 5..=50),
            ("--max-words", shape.words_max.unwrap_or(1), 1..=100),
            ("--max-cue-chars", shape.cue_chars_max.unwrap_or(10), 10..=400),
            ("--max-cue-ms", shape.cue_ms_max, 500..=30_000),
            ("--min-cue-ms", shape.cue_ms_min, 0..=5_000),
            ("--max-cps", shape.chars_per_second_max, 5..=60),
            ("--gap-ms", shape.gap_ms, 0..=1_000),
        ] {
            if !range.contains(&value) {
                return Err(format!("{flag} {value} is outside {}–{}", range.start(), range.end()));
            }
        }
        if shape.cue_ms_min > shape.cue_ms_max {
            return Err("--min-cue-ms is above --max-cue-ms".to_owned());
        }
        Ok(())
    }
}
