//! Text: transcripts, cues, formats.

pub mod atoms;
pub mod cues;
pub mod formats;
#[allow(dead_code, reason = "for the analyzers and planners that ask a model; until there is one, the tests use it")]
pub mod lenient;
pub mod lines;
#[allow(dead_code, reason = "for the analyzers that ask a model; the local one takes what it needs")]
pub mod moments;
pub mod reading;
pub mod script;
pub mod transcript;
