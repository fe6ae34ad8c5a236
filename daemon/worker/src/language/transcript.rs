//! The transcript: what was said when; the artifact that `transcribe` leaves and `subtitle` reads, as JSON.

use serde::{Deserialize, Serialize};

/// Everything heard in one recording.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Transcript {
    /// ISO 639-1 (or whisper's own code); `und` where detection was unsure.
    pub language: String,
    /// 0–1; 1 where the language was given.
    pub language_probability: f32,
    /// Length of the recording in seconds.
    pub duration: f64,
    /// In order of time, never overlapping, inside 0..duration.
    pub segments: Vec<Segment>,
}

/// A phrase.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Segment {
    /// Seconds from the start of the media.
    pub start: f64,
    pub end: f64,
    /// As the model wrote it, without leading and trailing space.
    pub text: String,
    /// The same text in pieces with times; joined they give `text` (each piece keeps its own leading space). Empty where the model gave none.
    pub words: Vec<Word>,
    /// Mean log probability of the tokens; 0 is certain.
    pub avg_logprob: f32,
    /// 0–1: how likely the window held no speech.
    pub no_speech_prob: f32,
}

/// A word with its times; in CJK text a character or a few.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Word {
    pub start: f64,
    pub end: f64,
    /// With its leading space, where the script has spaces.
    pub text: String,
    /// 0–1.
    pub probability: f32,
}
