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

/// The options of this stage; what is left out comes from the preset.
#[cfg(feature = "cli")]
#[derive(Debug, Clone, PartialEq, clap::Args)]
pub struct SubtitleOptions {
    /// Formats to write: srt, vtt, txt, json, lrc, csv, tsv; `both` = srt,vtt
    #[arg(long, value_name = "FORMAT,…", default_value = "both", value_parser = formats)]
    format: std::vec::Vec<Format>,
    /// Shape of cues: `standard` (two lines of 42, up to 7 s) or `short` (up to 8 words, 50 characters, 4 s)
    #[arg(long, value_name = "NAME", default_value = "standard", value_parser = preset)]
    preset: Shape,
    /// Lines per cue; 1–4
    #[arg(long, value_name = "N")]
    max_lines: Option<u32>,
    /// Characters per line; 10–100
    #[arg(long, value_name = "N")]
    max_line_chars: Option<u32>,
    /// Characters per line of Chinese, Japanese or Korean text; 5–50
    #[arg(long, value_name = "N")]
    max_line_chars_cjk: Option<u32>,
    /// Words per cue; 1–100
    #[arg(long, value_name = "N")]
    max_words: Option<u32>,
    /// Characters per cue over all its lines; 10–400
    #[arg(long, value_name = "N")]
    max_cue_chars: Option<u32>,
    /// Longest time on screen in milliseconds; 500–30000
    #[arg(long, value_name = "MS")]
    max_cue_ms: Option<u32>,
    /// Shortest time on screen in milliseconds where there is room; 0–5000
    #[arg(long, value_name = "MS")]
    min_cue_ms: Option<u32>,
    /// Reading speed that cues are stretched towards, characters per second; 5–60
    #[arg(long, value_name = "N")]
    max_cps: Option<u32>,
    /// Gap between cues that follow each other closely, in milliseconds; 0–1000
    #[arg(long, value_name = "MS")]
    gap_ms: Option<u32>,
}

#[cfg(feature = "cli")]
impl From<SubtitleOptions> for Subtitle {
    fn from(options: SubtitleOptions) -> Self {
        let preset = options.preset;
        Subtitle {
            formats: options.format,
            shape: Shape {
                lines_max: options.max_lines.unwrap_or(preset.lines_max),
                line_chars_max: options.max_line_chars.unwrap_or(preset.line_chars_max),
                line_cjk_max: options.max_line_chars_cjk.unwrap_or(preset.line_cjk_max),
                words_max: options.max_words.or(preset.words_max),
                cue_chars_max: options.max_cue_chars.or(preset.cue_chars_max),
                cue_ms_max: options.max_cue_ms.unwrap_or(preset.cue_ms_max),
                cue_ms_min: options.min_cue_ms.unwrap_or(preset.cue_ms_min),
                chars_per_second_max: options.max_cps.unwrap_or(preset.chars_per_second_max),
                gap_ms: options.gap_ms.unwrap_or(preset.gap_ms),
            },
        }
    }
}

#[cfg(feature = "cli")]
fn preset(text: &str) -> Result<Shape, String> {
    match text {
        "standard" => Ok(Shape::STANDARD),
        "short" => Ok(Shape::SHORT),
        _ => Err("known presets are standard, short".to_owned()),
    }
}

/// Each format once, in the order named.
#[cfg(feature = "cli")]
fn formats(text: &str) -> Result<Vec<Format>, String> {
    let mut formats = Vec::new();
    for name in text.split(',').map(|name| name.trim().to_lowercase()).filter(|name| !name.is_empty()) {
        let named = match name.as_str() {
            "both" => vec![Format::Srt, Format::Vtt],
            name => vec![Format::from_name(name).ok_or_else(|| {
                format!("`{name}` is no format; known are {}, both", Format::ALL.map(Format::name).join(", "))
            })?],
        };
        for format in named {
            if !formats.contains(&format) {
                formats.push(format);
            }
        }
    }
    if formats.is_empty() { Err("names no format".to_owned()) } else { Ok(formats) }
}

#[cfg(all(test, feature = "cli"))]
mod cli_tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn parsed(options: &[&str]) -> Result<Subtitle, clap::Error> {
        let command = SubtitleOptions::augment_args(clap::Command::new("test").no_binary_name(true));
        SubtitleOptions::from_arg_matches(&command.try_get_matches_from(options)?).map(Subtitle::from)
    }

    #[test]
    fn without_options_the_defaults_stand() {
        assert_eq!(parsed(&[]).unwrap(), Subtitle::default());
    }

    #[test]
    fn options_go_over_the_preset() {
        let shape = parsed(&["--preset", "short", "--max-words", "5"]).unwrap().shape;
        assert_eq!(shape, Shape { words_max: Some(5), ..Shape::SHORT });
        assert!(parsed(&["--preset", "tall"]).is_err());
    }

    #[test]
    fn formats_are_named_once_each() {
        use Format::*;
        for (text, formats) in
            [("both", vec![Srt, Vtt]), ("vtt,srt", vec![Vtt, Srt]), ("JSON, both,srt", vec![Json, Srt, Vtt])]
        {
            assert_eq!(parsed(&["--format", text]).unwrap().formats, formats, "{text}");
        }
        assert!(parsed(&["--format", "doc"]).is_err());
        assert!(parsed(&["--format", ","]).is_err());
    }
}
