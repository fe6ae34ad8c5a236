//! What this build and this machine can do, for whoever checks an installation (`spindlectl doctor`). It never does any work.

use image::DynamicImage;
use serde_json::{Value, json};

use crate::media;
use crate::vision::tesseract::{self, Layout};

/// Encoders that a recipe names, and what is lost without each.
const ENCODERS: [(&str, &str); 8] = [
    ("libx264", "H.264: compress, convert, preview, highlights"),
    ("aac", "AAC: compress, convert, highlights"),
    ("libmp3lame", "convert to MP3"),
    ("libopus", "convert to Opus"),
    ("flac", "convert to FLAC"),
    ("h264_nvenc", "H.264 by an NVIDIA card, where there is one"),
    ("h264_qsv", "H.264 by an Intel card, where there is one"),
    ("mov_text", "subtitles in MP4"),
];

const DECODERS: [&str; 12] =
    ["h264", "hevc", "libdav1d", "vp9", "mpeg4", "aac", "mp3", "opus", "vorbis", "flac", "pcm_s16le", "ac3"];

const LANGUAGES: [&str; 2] = ["eng", "chi_sim"];

/// As one JSON document.
pub fn told() -> Value {
    let encoders: Vec<Value> = ENCODERS
        .iter()
        .map(|(name, what)| json!({ "name": name, "there": media::has_encoder(name), "needed_for": what }))
        .collect();
    let decoders: Vec<Value> =
        DECODERS.iter().map(|name| json!({ "name": name, "there": media::has_decoder(name) })).collect();
    let blank = DynamicImage::new_luma8(64, 32);
    let text: Vec<Value> = LANGUAGES
        .iter()
        .map(|language| {
            let problem = tesseract::read(&blank, language, Layout::Page, None, &|| false).err();
            json!({ "language": language, "problem": problem.map(|e| e.to_string()) })
        })
        .collect();
    json!({
        "version": env!("CARGO_PKG_VERSION"),
        "libavcodec": media::library_version(),
        "encoders": encoders,
        "decoders": decoders,
        "text": text,
    })
}
