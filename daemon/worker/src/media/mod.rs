//! libav, wrapped once: an open descriptor in, facts and samples out. Knows no queue, no stage and no path.
//!
//! All `unsafe` of this package that touches libav lives in this folder. Nothing here ever opens a file: what a container
//! refers to outside of itself stays closed.

mod avio;
mod decoder;
mod demuxer;
mod error;
mod facts;
mod logs;
mod recording;
mod resampler;
mod timeline;
mod track;

use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

pub use error::MediaError;
#[allow(unused_imports, reason = "the parts of `Facts`, for the stages that look at streams other than audio")]
pub use facts::{Facts, StreamFacts, StreamKind};
pub use recording::{Piece, Recording};

/// What is in a file: its streams, its length, where its clock begins. `name` gives the extension, for the few formats
/// that can't be told by their content.
#[allow(dead_code, reason = "for the stages that need the facts without the samples")]
pub fn probe(file: &File, name: &str, cancel: Arc<AtomicBool>) -> Result<Facts, MediaError> {
    demuxer::Demuxer::open(file, name, cancel).map(|demuxer| demuxer.facts().clone())
}
