//! libav, wrapped once: an open descriptor in; facts, samples, pictures and new files out. Knows no queue, no stage and no path.
//!
//! Reading: [`probe`], [`Recording`] (sound as samples), `demuxer` and `decoder`. Writing: `graph` (filters), `encoder`, `packets` (what was
//! encoded, kept), `muxer` (the container).
//!
//! All `unsafe` of this package that touches libav lives in this folder. Nothing here ever opens a file: what a container
//! refers to outside of itself stays closed.

mod avio;
pub mod copying;
pub mod decoder;
pub mod demuxer;
pub mod encoder;
mod error;
mod facts;
pub mod graph;
pub mod h264;
mod logs;
pub mod muxer;
pub mod pace;
pub mod packets;
pub mod pictures;
mod recording;
pub mod remux;
mod resampler;
pub mod sheet;
pub mod sound;
pub mod still;
pub mod texts;
mod timeline;
mod track;
pub mod transcode;

use std::ffi::CString;
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ffmpeg_next::ffi;

pub use error::MediaError;
pub use facts::{Facts, StreamFacts, StreamKind};
pub use recording::{Piece, Recording};
pub use resampler::{Form, Sample};

/// For MP4 and its kin: the index goes to the front, so that a file plays while it is still loading. Other containers ignore it.
const INDEX_FIRST: &[(&str, &str)] = &[("movflags", "+faststart")];

/// The audio track that is meant: a number from 1, a language, or the file's default.
pub fn chosen(facts: &Facts, wanted: Option<&str>) -> Result<usize, MediaError> {
    let tracks = track::choose(facts, wanted)?;
    tracks.first().map(|track| track.index).ok_or(MediaError::NoAudio { has: String::new() })
}

/// Whether the library of this machine can encode so.
pub fn has_encoder(name: &str) -> bool {
    // SAFETY: the name is text with an end; what comes back is a constant of libav's, or nothing.
    CString::new(name).is_ok_and(|name| unsafe { !ffi::avcodec_find_encoder_by_name(name.as_ptr()).is_null() })
}

/// Whether the library of this machine can decode so.
pub fn has_decoder(name: &str) -> bool {
    // SAFETY: as above.
    CString::new(name).is_ok_and(|name| unsafe { !ffi::avcodec_find_decoder_by_name(name.as_ptr()).is_null() })
}

/// Of libavcodec: `59.37.100`.
pub fn library_version() -> String {
    // SAFETY: takes nothing, answers a number.
    let version = unsafe { ffi::avcodec_version() };
    format!("{}.{}.{}", version >> 16, version >> 8 & 0xff, version & 0xff)
}

/// What is in a file: its streams, its length, where its clock begins. `name` gives the extension, for the few formats
/// that can't be told by their content.
pub fn probe(file: &File, name: &str, cancel: Arc<AtomicBool>) -> Result<Facts, MediaError> {
    demuxer::Demuxer::open(file, name, cancel).map(|demuxer| demuxer.facts().clone())
}
