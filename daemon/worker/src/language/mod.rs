//! Text: transcripts, cues, formats.

pub mod atoms;
pub mod cues;
pub mod formats;
pub mod lenient;
pub mod lines;
pub mod moments;
pub mod script;
pub mod transcript;
