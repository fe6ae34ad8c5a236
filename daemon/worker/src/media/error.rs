//! Why a recording can't be decoded or its copy not be made, one variant for each thing a stage tells people differently. Knows no job.

use std::io;

use super::facts::clock;

/// Each message continues "failed to decode NAME: ".
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("told to stop")]
    Stopped,
    #[error("the file is empty")]
    Empty,
    #[error("it is not a regular file")]
    NotAFile,
    #[error("the file could not be read: {0}")]
    Read(#[source] io::Error),
    #[error("not a media file libav can read: {reason}")]
    Unreadable { reason: String },
    #[error("it is a {format} list or script that names other files, not a recording")]
    Refers { format: String },
    #[error("no audio track{}", also(.has))]
    NoAudio { has: String },
    #[error("no audio track `{wanted}`; the file has {tracks}")]
    NoSuchTrack { wanted: String, tracks: String },
    #[error("the audio is {codec}, which the installed libav can't decode{}", because(.reason))]
    NoDecoder { codec: String, reason: String },
    #[error("the audio is encrypted ({scheme})")]
    Encrypted { scheme: String },
    #[error("none of its audio could be decoded ({codec}, packets tried: {packets}){}", because(.reason))]
    NothingDecoded { codec: String, packets: u64, reason: String },
    #[error("its header promises {} of audio, but there is none in the file{}", clock(*.promised_seconds), because(.reason))]
    NothingThere { promised_seconds: f64, reason: String },
    #[error("its audio can't be resampled: {reason}")]
    Shape { reason: String },
    #[error("too long: its audio goes on after {} hours", .limit_seconds / 3_600)]
    TooLong { limit_seconds: u64 },
    #[error("no video{}", also(.has))]
    NoVideo { has: String },
    #[error("the video is {codec}, which the installed libav can't decode{}", because(.reason))]
    NoVideoDecoder { codec: String, reason: String },
    #[error("none of its video could be decoded ({codec}, packets tried: {packets}){}", because(.reason))]
    NoPicture { codec: String, packets: u64, reason: String },
    #[error("the installed libav can't encode with {encoder} as asked{}", because(.reason))]
    NoEncoder { encoder: String, reason: String },
    #[error("the encoder {encoder} gave up: {reason}")]
    Encode { encoder: String, reason: String },
    #[error("libav can't write this into a {format} file: {reason}")]
    Mux { format: String, reason: String },
    #[error("what was made of it could not be written: {0}")]
    Write(#[source] io::Error),
    #[error("libav ran out of memory {doing}")]
    OutOfMemory { doing: &'static str },
}

fn because(reason: &str) -> String {
    if reason.is_empty() { String::new() } else { format!(": {reason}") }
}

fn also(has: &str) -> String {
    if has.is_empty() { String::new() } else { format!("; the file has {has}") }
}
