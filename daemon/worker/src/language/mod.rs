//! Text: transcripts, cues, formats.

pub mod atoms;
pub mod cues;
pub mod formats;
pub mod lines;
pub mod reading;
pub mod script;
pub mod transcript;
