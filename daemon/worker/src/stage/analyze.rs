//! Analyze: what happens in a video and when. Measures pictures and sound, and has an analyzer say what that means.

use std::fs::File;

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::Detail;
use spindle_shared::stage::analyze::{ANALYSIS_FILE, Analyze, Provider};
use spindle_shared::stage::decode::SAMPLE_RATE;
use spindle_shared::worker::Done;

use crate::context::{Context, Halt};
use crate::highlights::analysis::{Analysis, Analyzer, STEP_SECONDS, Signals, Video, scenes};
use crate::highlights::local::Local;
use crate::highlights::scenes::{HEIGHT, Seen, Small, WIDTH, Watcher};
use crate::highlights::sound::{Heard, Listener};
use crate::media::decoder::Frame;
use crate::media::graph::{Feed, Graph, PictureShape};
use crate::media::pictures::Pictures;
use crate::media::{Facts, Form, MediaError, Piece, Recording, Sample};
use crate::stage::compress::halt_for;
use crate::stage::plan::write_json;
use crate::stage::subtitle;

/// Watching is most of the work, listening the rest.
const WATCHING_SHARE: f32 = 0.9;
/// Some codecs have nothing but key pictures.
const KEY_PICTURES_APART_SECONDS: f64 = 0.5;

pub fn run(context: &Context, stage: &Analyze) -> Result<Done, Halt> {
    let (file, name) = context.original()?;
    let measured = measure(context, file, &name, stage.longest_seconds);
    let (video, mut signals, key_pictures, notes) = measured.map_err(|unseen| match unseen {
        Unseen::Halt(halt) => halt,
        Unseen::NoVideo { has } => halt_for(MediaError::NoVideo { has }, &name, None),
    })?;
    let analyzer: &dyn Analyzer = match stage.analyzer {
        Provider::Local => &Local,
    };
    signals.transcript = subtitle::transcript(context)?.map(|transcript| transcript.segments);
    let scenes = scenes(&video, &signals);
    let found = analyzer.analyze(&video, &scenes, &signals)?;
    let seconds = video.seconds;
    let analysis = Analysis {
        provider: analyzer.name().to_owned(),
        video,
        summary: found.summary,
        key_moments: found.key_moments,
        scenes,
        key_pictures,
        raw_answer: found.raw_answer,
        tokens_used: found.tokens_used,
        tokens_saved_share: None,
    };
    let artifact = context.write_artifact(ANALYSIS_FILE, |to| write_json(&analysis, to, context))?;
    Ok(Done {
        files: vec![artifact],
        detail: Detail { media_seconds: Some(seconds), notes, ..Detail::default() },
        work: seconds,
        ..Done::default()
    })
}

/// Why a recording could not be measured.
pub enum Unseen {
    /// What there is instead.
    NoVideo {
        has: String,
    },
    Halt(Halt),
}

impl From<Halt> for Unseen {
    fn from(halt: Halt) -> Self {
        Unseen::Halt(halt)
    }
}

/// Everything that this machine can measure of a video, and what a person should know.
pub fn measure(
    context: &Context,
    file: &File,
    name: &str,
    longest_seconds: u32,
) -> Result<(Video, Signals, Vec<f64>, Vec<String>), Unseen> {
    let halt = |error: MediaError| halt_for(error, name, None);
    let opened = Pictures::open(file, name, context.assignment.threads, context.cancel_flag());
    let mut pictures = opened.map_err(|error| match error {
        MediaError::NoVideo { has } => Unseen::NoVideo { has },
        error => Unseen::Halt(halt(error)),
    })?;
    let facts = pictures.facts().clone();
    let promised = facts.duration_seconds.filter(|_| !facts.duration_is_guess);
    let too_long = |seconds: f64| -> Failure {
        let clock = |seconds: f64| format!("{}:{:02}", seconds as u64 / 60, seconds as u64 % 60);
        let message =
            format!("{name} is too long: {}, more than {}", clock(seconds), clock(f64::from(longest_seconds)));
        Failure::new(FailureKind::Input, message)
            .advise("cut it into pieces, or submit it with a longer --max-duration")
    };
    let limit = f64::from(longest_seconds);
    if let Some(seconds) = promised.filter(|seconds| *seconds > limit) {
        return Err(Unseen::Halt(too_long(seconds).into()));
    }
    context.lasts(promised);
    let watched = watch(context, &mut pictures, promised.unwrap_or(limit), limit).map_err(|error| match error {
        WatchError::Halt(halt) => halt,
        WatchError::Media(error) => halt(error),
        WatchError::TooLong(seconds) => too_long(seconds).into(),
    })?;
    let tally = pictures.tally();
    if watched.seen.pictures == 0 {
        return Err(halt(pictures.nothing()).into());
    }
    let stream = pictures.stream().clone();
    let on_its_side = stream.picture.is_some_and(|picture| picture.turn.is_on_its_side());
    let (width, height) = if on_its_side { (stream.height, stream.width) } else { (stream.width, stream.height) };
    drop(pictures);
    let mut notes = Vec::new();
    if tally.damaged > 0 {
        notes.push(format!("{} damaged pictures or packets", tally.damaged));
    }
    let heard = listen(context, file, name, watched.seconds, &mut notes)?;
    let audio_codec = heard.as_ref().map(|(codec, _)| codec.clone());
    let heard = heard.map(|(_, heard)| heard).unwrap_or_default();
    let steps = (watched.seconds / STEP_SECONDS).ceil() as usize;
    let fitted = |mut list: Vec<f64>, rest: f64| {
        // What is heard after the last picture, or not any more before it.
        if !list.is_empty() {
            list.resize(steps, rest);
        }
        list
    };
    let mut motion = watched.seen.motion;
    motion.resize(steps, 0.0);
    let signals = Signals {
        cuts: watched.seen.cuts,
        motion,
        loudness: fitted(heard.loudness, crate::highlights::sound::LUFS_MIN),
        voices: fitted(heard.voices, 0.0),
        transcript: None,
    };
    let video = Video {
        seconds: watched.seconds,
        width,
        height,
        frame_rate: (watched.seen.pictures as f64 / watched.seconds.max(1e-3) * 1_000.0).round() / 1_000.0,
        frames: watched.seen.pictures,
        video_codec: stream.codec,
        audio_codec,
    };
    Ok((video, signals, watched.key_pictures, notes))
}

struct Watched {
    seen: Seen,
    key_pictures: Vec<f64>,
    /// Where the last picture ends.
    seconds: f64,
}

enum WatchError {
    Halt(Halt),
    Media(MediaError),
    /// It goes on after so many seconds.
    TooLong(f64),
}

impl From<MediaError> for WatchError {
    fn from(error: MediaError) -> Self {
        WatchError::Media(error)
    }
}

/// All pictures, made small.
fn watch(context: &Context, pictures: &mut Pictures<'_>, expected: f64, limit: f64) -> Result<Watched, WatchError> {
    let (time_base, zero) = (pictures.time_base(), zero_seconds(pictures.facts()));
    let seconds_of = |ticks: i64| ticks as f64 * f64::from(time_base.0) / f64::from(time_base.1.max(1));
    let (mut frame, mut small) = (Frame::new()?, Frame::new()?);
    let mut graph: Option<(PictureShape, Graph)> = None;
    let (mut watcher, mut seconds, mut key_pictures) = (Watcher::default(), 0.0_f64, Vec::new());
    let filters = format!("scale={WIDTH}:{HEIGHT}:flags=area,format=rgb24");
    while let Some((time, length)) = pictures.next(&mut frame)? {
        context.go_on().map_err(WatchError::Halt)?;
        let at = seconds_of(time) - zero;
        seconds = seconds.max(at + seconds_of(length));
        if at > limit {
            return Err(WatchError::TooLong(at));
        }
        if frame.is_key() && key_pictures.last().is_none_or(|last| at - last >= KEY_PICTURES_APART_SECONDS) {
            key_pictures.push((at.max(0.0) * 1_000.0).round() / 1_000.0);
        }
        let Some(shape) = frame.picture() else { continue };
        if graph.as_ref().is_none_or(|(present, _)| *present != shape) {
            let threads = context.assignment.threads;
            graph = Some((shape, Graph::new(Feed::Pictures { shape, time_base }, &filters, threads)?));
        }
        let Some((_, graph)) = &mut graph else { continue };
        frame.set_timestamp(Some(time));
        graph.push(Some(&mut frame))?;
        while graph.pull(&mut small)? {
            watcher.take(Small::new(at.max(0.0), &small.packed_rows(3)));
        }
        context.progress(WATCHING_SHARE * (at / expected.max(0.1)) as f32);
    }
    Ok(Watched { seen: watcher.finish(), key_pictures, seconds })
}

/// Where a player shows 0:00, on the container's clock.
pub fn zero_seconds(facts: &Facts) -> f64 {
    facts.zero_us.unwrap_or(0) as f64 / 1e6
}

/// Its sound as far as its pictures go, and the codec; `None` where there is none that can be heard.
fn listen(
    context: &Context,
    file: &File,
    name: &str,
    seconds: f64,
    notes: &mut Vec<String>,
) -> Result<Option<(String, Heard)>, Halt> {
    let form = Form { rate: SAMPLE_RATE, channels: 1, sample: Sample::S16 };
    let mut recording = match Recording::open(file, name, None, form, context.cancel_flag()) {
        Ok(recording) => recording,
        Err(MediaError::Stopped) => return Err(Halt::Stopped),
        Err(MediaError::NoAudio { .. }) => return Ok(None),
        Err(error) => {
            notes.push(format!("its sound was left aside: {error}"));
            return Ok(None);
        }
    };
    let codec = recording.track().codec.clone();
    let (mut listener, mut heard) = (Listener::default(), 0_u64);
    let end = (seconds * f64::from(SAMPLE_RATE)) as u64;
    while heard < end {
        context.go_on()?;
        let piece = match recording.next() {
            Ok(Some(piece)) => piece,
            Ok(None) => break,
            Err(MediaError::Stopped) => return Err(Halt::Stopped),
            Err(error) => {
                notes.push(format!(
                    "its sound was left aside from {:.1} s on: {error}",
                    heard as f64 / f64::from(SAMPLE_RATE)
                ));
                break;
            }
        };
        match piece {
            Piece::Samples(bytes) => {
                for pair in bytes.chunks_exact(2) {
                    listener.take(f64::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0);
                }
                heard += bytes.len() as u64 / 2;
            }
            Piece::Silence(samples) => {
                for _ in 0..samples.min(end.saturating_sub(heard)) {
                    listener.take(0.0);
                }
                heard += samples;
            }
        }
        context.progress(WATCHING_SHARE + (1.0 - WATCHING_SHARE) * (heard as f32 / end.max(1) as f32));
    }
    let heard = listener.finish();
    Ok((!heard.loudness.is_empty()).then_some((codec, heard)))
}
