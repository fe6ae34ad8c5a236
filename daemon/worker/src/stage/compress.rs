//! Compress: a video by its profile. Knows jobs, checkpoints and failures; how pictures and sound are made is `media`'s.

use std::fs::File;
use std::path::{Path, PathBuf};

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::Detail;
use spindle_shared::stage::compress::{Compress, Profile, VIDEO_EXTENSION, VIDEO_STEM, VideoEncoder};
use spindle_shared::worker::Done;

use crate::context::{Context, Halt, disk_failure_kind};
use crate::media::encoder::{self, AudioSettings, VideoSettings};
use crate::media::pace::per_second;
use crate::media::pictures::{Pictures, is_large};
use crate::media::texts::TextForm;
use crate::media::transcode::{self, Coder, Made, Pieces, Plan, Row, Source};
use crate::media::{Facts, MediaError, StreamFacts, StreamKind};

/// Longer ones are encoded in pieces, each of which outlives its run.
const PIECES_FROM_SECONDS: f64 = 300.0;

const X264: &str = "libx264";
const HEVC: &str = "hevc";
/// Pictures that x264 looks ahead where the source is larger than 1080p; where its codec is HEVC, which refers to more of them; and where they have
/// more than 8 bits.
const LARGE_LOOKAHEAD: u32 = 8;
const HEVC_LOOKAHEAD: u32 = 4;
const DEEP_LOOKAHEAD: u32 = 2;

/// As x264's presets have it.
fn lookahead(preset: &str) -> u32 {
    match preset {
        "ultrafast" | "superfast" => 0,
        "veryfast" => 10,
        "faster" => 20,
        "fast" => 30,
        "medium" => 40,
        _ => 50,
    }
}

/// Options that let x264 hold fewer pictures, since those of the source that have to be held are large already: a shorter look ahead, and no
/// queue before it. With more than 8 bits they are twice as large: then no second picture is encoded at once, and one is referred to; and with HEVC
/// none is encoded out of its turn.
fn sparing(source: &StreamFacts, preset: &str) -> Vec<(String, String)> {
    let deep = source.picture.is_some_and(|picture| picture.deep);
    let (most, parameters) = match (deep, source.codec == HEVC) {
        (true, true) => (DEEP_LOOKAHEAD, "sync-lookahead=0:sliced-threads=1:ref=1:bframes=0"),
        (true, false) => (DEEP_LOOKAHEAD, "sync-lookahead=0:sliced-threads=1:ref=1"),
        (false, true) => (HEVC_LOOKAHEAD, "sync-lookahead=0"),
        (false, false) => (LARGE_LOOKAHEAD, "sync-lookahead=0"),
    };
    let parameters = if preset == "ultrafast" { "sync-lookahead=0" } else { parameters };
    vec![
        ("rc-lookahead".to_owned(), most.min(lookahead(preset)).to_string()),
        ("x264-params".to_owned(), parameters.to_owned()),
    ]
}

pub fn run(context: &Context, stage: &Compress) -> Result<Done, Halt> {
    let (file, name) = context.input()?;
    let halt = |error: MediaError| halt_for(error, &name, stage.track.as_deref());
    let source = Source { file, name: &name, cancel: context.cancel_flag() };
    let threads = context.assignment.threads.max(1);
    let pictures = Pictures::open(file, &name, threads, context.cancel_flag()).map_err(halt)?;
    let facts = pictures.facts().clone();
    let seconds = length(&facts, pictures.stream().duration_seconds);
    context.lasts(seconds);
    let (profile, chosen) = profile(stage, seconds);
    let (mut coder, told) = coder(stage.encoder, &profile);
    if coder.encoder == X264 && is_large(pictures.stream()) {
        coder.options.extend(sparing(pictures.stream(), &profile.preset));
    }
    let plan = Plan {
        fit: Some((profile.width, profile.height)),
        rate: Some((profile.rate, 1)),
        coder,
        audio: AudioSettings { encoder: "aac".to_owned(), bit_rate: Some(profile.audio_bit_rate.into()) },
        audio_rate: Some(profile.audio_rate),
        track: stage.track.as_deref(),
        container: VIDEO_EXTENSION,
        options: &[("movflags", "+faststart")],
        texts: Some(TextForm::Mp4),
        sound: true,
        threads,
        in_pieces: seconds.is_none_or(|seconds| seconds > PIECES_FROM_SECONDS),
        seconds,
    };
    let mut pieces = Kept::open(context, plan.in_pieces)?;
    let begun = pieces.seconds() / seconds.unwrap_or(f64::INFINITY);
    if begun > 0.0 {
        context.goes_on_from((begun as f32).min(1.0));
    }
    let artifact_name = format!("{VIDEO_STEM}.{}.{VIDEO_EXTENSION}", profile.name);
    let path = context.scratch().join(&artifact_name);
    let output = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
        .map_err(|e| crate::context::disk_failure(&e, &path))?;
    let progress = |share: f32| context.progress(share);
    let made = transcode::transcode(&source, pictures, &plan, &mut pieces, &output, &progress).map_err(halt)?;
    drop(output);
    pieces.go();

    let original = file.metadata().map_err(|e| halt(MediaError::Read(e)))?.len();
    let artifact = context.adopt_artifact(&artifact_name)?;
    let smaller = artifact.bytes < original;
    let mut detail = told_of(&facts, &profile, &plan.coder, &made, original, artifact.bytes);
    detail.notes.extend(told);
    if let Some((bytes, why)) = chosen {
        detail.figure("upload_budget_bytes", bytes as f64);
        detail.notes.push(why);
    }
    let kept = smaller || !stage.keep_only_if_smaller;
    detail.figure("published", kept);
    if !kept {
        detail.notes.push("the copy is not smaller than the original: nothing was written".to_owned());
        std::fs::remove_file(&path).map_err(|e| crate::context::disk_failure(&e, &path))?;
    } else if !smaller {
        detail.notes.push("the copy is not smaller than the original".to_owned());
    }
    let work = original as f64 * made.done_share.clamp(0.0, 1.0);
    Ok(Done { files: if kept { vec![artifact] } else { Vec::new() }, detail, work, ..Done::default() })
}

/// By which it is made; and where that follows from the time of an upload, how many bytes that has, and why it is this one.
fn profile(stage: &Compress, seconds: Option<f64>) -> (Profile, Option<(u64, String)>) {
    if let Some(profile) = &stage.settings {
        return (profile.clone(), None);
    }
    let (Some(bytes), Some(ms)) = (stage.upload_bytes, stage.upload_ms) else {
        return (Profile::for_length(seconds.unwrap_or(0.0)), None);
    };
    let (profile, fits) = Profile::for_upload(seconds, bytes);
    let (mb, time) = (|bytes: f64| format!("{:.1} MB", bytes / 1e6), ms as f64 / 1e3);
    let budget = format!("{time} s of upload take {}, at {}/s as measured", mb(bytes as f64), mb(bytes as f64 / time));
    let most = seconds.map(|seconds| (seconds, profile.bytes_at_most(seconds)));
    let why = match most {
        Some((seconds, most)) if fits => {
            format!("{}: {seconds:.0} s of it are {} at most; {budget}", profile.name, mb(most))
        }
        Some((seconds, most)) => {
            format!(
                "{}, the smallest: {seconds:.0} s of it may be {}, which is too much; {budget}",
                profile.name,
                mb(most)
            )
        }
        None => format!("{}, the smallest: the file does not tell its length; {budget}", profile.name),
    };
    (profile, Some((bytes, why)))
}

/// In seconds, as far as the file tells.
pub fn length(facts: &Facts, stream: Option<f64>) -> Option<f64> {
    let whole = facts.duration_seconds.filter(|_| !facts.duration_is_guess);
    stream.or(whole).or(facts.duration_seconds).filter(|seconds| seconds.is_finite() && *seconds > 0.0)
}

/// What encodes the pictures: x264, or hardware that has shown that it works; and what a person should know of the choice.
fn coder(wanted: VideoEncoder, profile: &Profile) -> (Coder, Option<String>) {
    let rate = u64::from(profile.bit_rate);
    let option = |name: &str, value: String| (name.to_owned(), value);
    let base = |encoder: &str, pixel_format: &str, options: Vec<(String, String)>| Coder {
        encoder: encoder.to_owned(),
        pixel_format: pixel_format.to_owned(),
        options,
        bit_rate: None,
        bit_rate_max: Some(rate),
        buffer_bits: Some(2 * rate),
    };
    let crf = profile.crf.to_string();
    let x264 = base(X264, "yuv420p", vec![option("preset", profile.preset.clone()), option("crf", crf.clone())]);
    let nvenc = || base("h264_nvenc", "yuv420p", vec![option("rc", "vbr".to_owned()), option("cq", crf.clone())]);
    let qsv = || Coder { bit_rate: Some(rate), ..base("h264_qsv", "nv12", Vec::new()) };
    let candidates = match wanted {
        VideoEncoder::Software => return (x264, None),
        VideoEncoder::Nvenc => vec![nvenc()],
        VideoEncoder::Qsv => vec![qsv()],
        VideoEncoder::Auto => vec![nvenc(), qsv()],
    };
    let mut reasons = Vec::new();
    for candidate in candidates {
        let settings = VideoSettings {
            encoder: candidate.encoder.clone(),
            width: 640,
            height: 360,
            rate: (25, 1),
            pixel_format: candidate.pixel_format.clone(),
            sample_aspect: (1, 1),
            bit_rate: candidate.bit_rate,
            bit_rate_max: candidate.bit_rate_max,
            buffer_bits: candidate.buffer_bits,
            group: None,
            options: candidate.options.clone(),
            colour: None,
            threads: 1,
        };
        match encoder::works(&settings) {
            Ok(()) => {
                let note = format!("encoded by {}", candidate.encoder);
                return (candidate, Some(note));
            }
            Err(error) => reasons.push(error.to_string()),
        }
    }
    (x264, Some(format!("encoded by libx264, as no hardware works here: {}", reasons.join("; "))))
}

fn told_of(facts: &Facts, profile: &Profile, coder: &Coder, made: &Made, original: u64, compressed: u64) -> Detail {
    let mut detail = Detail { media_seconds: Some(made.seconds), notes: made.notes.clone(), ..Detail::default() };
    detail.figure("profile", profile.name.as_str());
    detail.figure("encoder", coder.encoder.as_str());
    detail.figure("original_bytes", original as f64);
    detail.figure("compressed_bytes", compressed as f64);
    detail.figure("removed_share", if original > 0 { 1.0 - compressed as f64 / original as f64 } else { 0.0 });
    detail.figure("seconds", made.seconds);
    let (width, height) = made.source_size;
    detail.figure("original_resolution", format!("{width}x{height}"));
    detail.figure("compressed_resolution", format!("{}x{}", made.size.0, made.size.1));
    if let Some(rate) = made.source_rate {
        detail.figure("original_fps", rounded(rate));
    }
    detail.figure("compressed_fps", rounded(per_second(made.rate)));
    detail.figure("frames", made.frames as f64);
    detail.figure("audio", made.audio);
    if let Some(saving) = profile.expected_token_saving() {
        detail.figure("expected_token_saving", saving);
    }
    let subtitles = facts.of(StreamKind::Subtitle).count();
    if subtitles > 0 {
        detail.figure("subtitle_tracks", made.subtitles as f64);
    }
    if !facts.chapters.is_empty() {
        detail.figure("chapters", made.chapters as f64);
    }
    detail
}

fn rounded(rate: f64) -> f64 {
    (rate * 1_000.0).round() / 1_000.0
}

/// Pieces on the disk: beside the checkpoint where they shall outlive the run, else in scratch.
pub struct Kept<'c> {
    context: &'c Context,
    folder: PathBuf,
    checkpoint: Option<crate::checkpoint::Checkpoint>,
    rows: Vec<Row>,
}

impl<'c> Kept<'c> {
    pub fn open(context: &'c Context, in_pieces: bool) -> Result<Self, Halt> {
        let folder = match context.pieces_folder().filter(|_| in_pieces) {
            Some(folder) => folder,
            None => context.scratch().join("pieces"),
        };
        let disk = |e: std::io::Error| crate::context::disk_failure(&e, &folder);
        let checkpoint = if in_pieces { context.checkpoint()? } else { None };
        let mut rows = Vec::new();
        for piece in checkpoint.iter().flat_map(|checkpoint| checkpoint.pieces()) {
            // What an older build wrote otherwise is done again.
            let Ok(row) = serde_json::from_slice::<Row>(piece) else { continue };
            if is_whole(&folder, &row) {
                rows.push(row);
            }
            context.go_on()?;
        }
        std::fs::create_dir_all(&folder).map_err(disk)?;
        Ok(Kept { context, folder, checkpoint, rows })
    }

    /// Of the pictures that earlier runs have done.
    fn seconds(&self) -> f64 {
        self.rows.iter().map(|row| row.seconds).sum()
    }

    /// Pieces in scratch are no part of the artifact; those beside a checkpoint go with it.
    pub fn go(self) {
        let _ = std::fs::remove_dir_all(self.context.scratch().join("pieces"));
    }
}

fn is_whole(folder: &Path, row: &Row) -> bool {
    let Ok(file) = File::open(folder.join(row.file_name())) else { return false };
    let mut hasher = blake3::Hasher::new();
    hasher.update_reader(file).is_ok() && hasher.finalize().to_hex().as_str() == row.content
}

impl Pieces for Kept<'_> {
    fn folder(&self) -> &Path {
        &self.folder
    }

    fn done(&self) -> &[Row] {
        &self.rows
    }

    fn keep(&mut self, row: Row) -> Result<(), MediaError> {
        if let Some(checkpoint) = &mut self.checkpoint {
            let bytes = serde_json::to_vec(&row).map_err(|e| MediaError::Write(e.into()))?;
            checkpoint.append(&bytes).map_err(MediaError::Write)?;
        }
        self.rows.push(row);
        Ok(())
    }

    fn outlives(&self) -> bool {
        self.checkpoint.is_some()
    }
}

/// What an error of libav's is for a stage that makes videos.
pub fn halt_for(error: MediaError, name: &str, track: Option<&str>) -> Halt {
    let message = match &error {
        MediaError::Write(_) | MediaError::Encode { .. } | MediaError::Mux { .. } | MediaError::NoEncoder { .. } => {
            format!("failed to make a new file of {name}: {error}")
        }
        _ => format!("failed to decode {name}: {error}"),
    };
    let failure = |kind| Failure::new(kind, message.clone());
    Halt::Failed(match error {
        MediaError::NoVideo { .. } => {
            failure(FailureKind::Input).advise("there are no pictures in it; leave this input out of the batch")
        }
        MediaError::NoVideoDecoder { .. } => {
            failure(FailureKind::Input).advise("convert the video to a common codec (H.264, VP9) elsewhere first")
        }
        MediaError::NoPicture { .. } => failure(FailureKind::Input)
            .advise("check that the file plays; where it was cut off or damaged, get it again"),
        MediaError::Write(error) => failure(disk_failure_kind(&error)),
        MediaError::NoEncoder { .. } => failure(FailureKind::Internal)
            .advise("install a libav with this encoder (Debian's has it), or take another format"),
        MediaError::Encode { .. } | MediaError::Mux { .. } => failure(FailureKind::Internal),
        other => return super::decode::halt_of(other, name, track),
    })
}

#[cfg(test)]
mod tests;
