//! Text: transcripts, cues, formats.

pub mod transcript;
