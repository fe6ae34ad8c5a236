//! libav, wrapped once: an open descriptor in; facts, samples, pictures and new files out. Knows no queue, no stage and no path.
//!
//! Reading: [`probe`], [`Recording`] (sound as samples), `demuxer` and `decoder`. Writing: `graph` (filters), `encoder`, `packets` (what was
//! encoded, kept), `muxer` (the container).
//!
//! All `unsafe` of this package that touches libav lives in this folder. Nothing here ever opens a file: what a container
//! refers to outside of itself stays closed.

#[allow(dead_code, reason = "used by the stages that make pictures and files")]
mod avio;
#[allow(dead_code, reason = "used by the stages that make pictures and files")]
pub mod decoder;
#[allow(dead_code, reason = "used by the stages that make pictures and files")]
pub mod demuxer;
#[allow(dead_code, reason = "used by the stages that make pictures and files")]
pub mod encoder;
mod error;
mod facts;
#[allow(dead_code, reason = "used by the stages that make pictures and files")]
pub mod graph;
mod logs;
#[allow(dead_code, reason = "used by the stages that make pictures and files")]
pub mod muxer;
#[allow(dead_code, reason = "used by the stages that make pictures and files")]
pub mod packets;
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
pub use resampler::{Form, Sample};

/// What is in a file: its streams, its length, where its clock begins. `name` gives the extension, for the few formats
/// that can't be told by their content.
#[allow(dead_code, reason = "for the stages that need the facts without the samples")]
pub fn probe(file: &File, name: &str, cancel: Arc<AtomicBool>) -> Result<Facts, MediaError> {
    demuxer::Demuxer::open(file, name, cancel).map(|demuxer| demuxer.facts().clone())
}
