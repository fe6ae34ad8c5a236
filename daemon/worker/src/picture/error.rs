//! Why a picture can't be read or written, one variant for each thing that people are told differently. Knows no job.

use std::io;

/// Each message continues "failed to read NAME: " or "failed to write NAME: ".
#[derive(Debug, thiserror::Error)]
pub enum PictureError {
    #[error("the file is empty")]
    Empty,
    #[error("the file could not be read: {0}")]
    Read(#[source] io::Error),
    /// Something else altogether, or a kind of picture that isn't read here.
    #[error("{0}")]
    NotRead(String),
    #[error("{0}")]
    TooLarge(String),
    /// It begins as what it should be, and then isn't.
    #[error("the {kind} is damaged or cut off: {reason}")]
    Damaged { kind: &'static str, reason: String },
    #[error("it can't be written as {format}: {reason}")]
    Write { format: &'static str, reason: String },
    #[error("there was no memory for {0}")]
    OutOfMemory(String),
}
