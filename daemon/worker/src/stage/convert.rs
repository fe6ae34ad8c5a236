//! Convert: a recording, a video or subtitles into another format. Knows formats and failures; libav is `media`'s, texts are `language`'s.

use std::fs::File;
use std::path::Path;

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::Detail;
use spindle_shared::stage::convert::{CONVERTED_STEM, Convert, Target, TargetKind};
use spindle_shared::stage::subtitle::{Format, Shape};
use spindle_shared::worker::{ArtifactFile, Done};

use super::compress::{Kept, halt_for, length};
use crate::context::{Context, Halt, disk_failure};
use crate::files::hash::{ReadError, hash_pieces};
use crate::language::formats;
use crate::language::reading::{self, TextFormat};
use crate::media::encoder::{AudioEncoder, AudioSettings};
use crate::media::pictures::Pictures;
use crate::media::remux::{self, Copies};
use crate::media::texts::{self, TextForm};
use crate::media::transcode::{self, Coder, Plan, Source};
use crate::media::{Facts, Form, MediaError, Sample, StreamKind, sound};

/// A file of subtitles; a week of them has some ten.
const TEXT_BYTES_MAX: u64 = 64 << 20;

pub fn run(context: &Context, stage: &Convert) -> Result<Done, Halt> {
    let (file, name) = context.input()?;
    let input = context.assignment.inputs.first().map_or(Path::new(""), |input| input.name.as_path());
    let artifact = format!("{CONVERTED_STEM}.{}", stage.ending(input));
    let bytes = file.metadata().map_err(|e| halt_for(MediaError::Read(e), &name, None))?.len();
    let (artifact, detail) = match stage.to {
        Target::Text(format) => text(context, stage, format, file, &name, &artifact)?,
        to => media(context, stage, to, file, &name, &artifact)?,
    };
    Ok(Done { files: vec![artifact], detail, work: bytes as f64, ..Done::default() })
}

/// Subtitles of a file of their own, or of a track in a video.
fn text(
    context: &Context,
    stage: &Convert,
    format: Format,
    file: &File,
    name: &str,
    artifact: &str,
) -> Result<(ArtifactFile, Detail), Halt> {
    let mut detail = Detail::default();
    let input = |message: String| Halt::from(Failure::new(FailureKind::Input, message));
    let cues = match TextFormat::of_name(name) {
        Some(kind) => {
            let mut bytes = Vec::new();
            hash_pieces(file, TEXT_BYTES_MAX, |piece| {
                bytes.extend_from_slice(piece);
                context.go_on()
            })
            .map_err(|error| match error {
                ReadError::Io(error) => halt_for(MediaError::Read(error), name, None),
                ReadError::Halted(halt) => halt,
            })?;
            if bytes.len() as u64 > TEXT_BYTES_MAX {
                return Err(input(format!("{name} is larger than subtitles ever are ({TEXT_BYTES_MAX} bytes)")));
            }
            let (text, encoding) = reading::decoded(&bytes);
            if encoding != "UTF-8" {
                detail.notes.push(format!("read as {encoding}"));
            }
            let (cues, left_out) = reading::cues(kind, &text);
            if left_out > 0 {
                detail.notes.push(format!("{left_out} cues without readable times or text were left out"));
            }
            if cues.is_empty() {
                return Err(Failure::new(FailureKind::Input, format!("{name} holds no subtitles"))
                    .advise("check that it is a subtitle file: SubRip, WebVTT, ASS or LRC")
                    .into());
            }
            cues
        }
        None => track(context, stage, file, name, &mut detail)?,
    };
    let steps = reading::Steps {
        shift_ms: stage.shift_ms,
        rewrap: stage.rewrap,
        merge: stage.merge,
        split: stage.split,
        shape: Shape::STANDARD,
    };
    let cues = reading::in_order(cues, &steps);
    if cues.is_empty() {
        return Err(input(format!("{name} holds no subtitles after --shift-ms {}", stage.shift_ms)));
    }
    let transcript = reading::transcript(&cues);
    let file = context.write_artifact(artifact, |to| {
        formats::write(format, &transcript, &cues, to)
            .map_err(|error| disk_failure(&error, &context.scratch().join(artifact)).into())
    })?;
    detail.cues = Some(u32::try_from(cues.len()).unwrap_or(u32::MAX));
    Ok((file, detail))
}

/// The subtitles that lie in a video.
fn track(
    context: &Context,
    stage: &Convert,
    file: &File,
    name: &str,
    detail: &mut Detail,
) -> Result<Vec<crate::language::cues::Cue>, Halt> {
    let halt = |error: MediaError| halt_for(error, name, None);
    let facts = crate::media::probe(file, name, context.cancel_flag()).map_err(halt)?;
    let source = Source { file, name, cancel: context.cancel_flag() };
    let all: Vec<usize> = facts.of(StreamKind::Subtitle).map(|track| track.index).collect();
    let (tracks, notes) = texts::read(&source, &facts, &all, facts.zero_us.unwrap_or(0)).map_err(halt)?;
    let wanted = stage.track.as_deref().map(str::trim).filter(|wanted| !wanted.is_empty());
    let found = match wanted.map(|wanted| (wanted, wanted.parse::<usize>())) {
        None => tracks.iter().position(|track| track.about.default).or(if tracks.is_empty() { None } else { Some(0) }),
        Some((_, Ok(number))) => number.checked_sub(1).filter(|at| *at < tracks.len()),
        Some((wanted, Err(_))) => tracks.iter().position(|track| track.about.language.as_deref() == Some(wanted)),
    };
    let Some(track) = found.and_then(|at| tracks.into_iter().nth(at)) else {
        let why = if notes.is_empty() { String::new() } else { format!("; {}", notes.join("; ")) };
        let failure = Failure::new(FailureKind::Input, format!("{name} has no such subtitles{why}"));
        return Err(failure.advise("make them of what is said, with the recipe `subtitles`").into());
    };
    detail.notes.extend(notes);
    Ok(reading::of_track(track.cues.into_iter().map(|cue| (cue.start_ms, cue.end_ms, cue.text))))
}

fn media(
    context: &Context,
    stage: &Convert,
    to: Target,
    file: &File,
    name: &str,
    artifact: &str,
) -> Result<(ArtifactFile, Detail), Halt> {
    let track = stage.track.as_deref();
    let halt = |error: MediaError| halt_for(error, name, track);
    let facts = crate::media::probe(file, name, context.cancel_flag()).map_err(halt)?;
    if facts.format.ends_with("_pipe") {
        let failure = Failure::new(FailureKind::Input, format!("{name} is a picture"));
        return Err(failure
            .advise("this recipe converts audio, video and subtitles; leave pictures out of the batch")
            .into());
    }
    let path = context.scratch().join(artifact);
    let open = || {
        File::options()
            .read(true)
            .write(true)
            .create(true)
            .truncate(true)
            .open(&path)
            .map_err(|e| Halt::from(disk_failure(&e, &path)))
    };
    let source = Source { file, name, cancel: context.cancel_flag() };
    let container = container(to);
    let progress = |share: f32| context.progress(share);
    let mut detail = Detail { media_seconds: length(&facts, None), ..Detail::default() };
    context.lasts(detail.media_seconds);
    let copied = copies(&facts, stage, to);
    if let Some(copies) = &copied {
        let output = open()?;
        match remux::remux(&source, &facts, copies, container, options(to), &output, &progress) {
            Ok(left_out) => {
                drop(output);
                detail.notes.push("copied without encoding anew".to_owned());
                detail.notes.extend(left_out);
                detail.figure("copied", true);
                return Ok((context.adopt_artifact(artifact)?, detail));
            }
            // What can't be copied for want of times or parameters is made anew.
            Err(MediaError::Mux { .. }) => {}
            Err(error) => return Err(halt(error)),
        }
    }
    detail.figure("copied", false);
    let output = open()?;
    match to.kind() {
        TargetKind::Audio => {
            let plan = audio_plan(&facts, stage, to);
            let made = sound::convert(&source, &facts, track, &plan, container, &output, &progress).map_err(halt)?;
            detail.media_seconds = Some(made.seconds);
            detail.notes.extend(unlike_asked(stage, &plan));
            detail.notes.extend(made.notes);
        }
        _ => {
            let pictures =
                Pictures::open(file, name, context.assignment.threads.max(1), context.cancel_flag()).map_err(halt)?;
            let seconds = length(&facts, pictures.stream().duration_seconds);
            let (coder, audio) = video_plan(stage, to);
            let audio_rate = (audio.encoder == "libopus").then_some(48_000);
            let plan = Plan {
                fit: None,
                rate: None,
                coder,
                audio,
                audio_rate,
                track,
                container,
                options: options(to),
                texts: TextForm::of_container(container),
                sound: true,
                threads: context.assignment.threads.max(1),
                in_pieces: false,
                seconds,
            };
            let mut pieces = Kept::open(context, false)?;
            let made = transcode::transcode(&source, pictures, &plan, &mut pieces, &output, &progress).map_err(halt)?;
            pieces.go();
            detail.media_seconds = Some(made.seconds);
            detail.notes.extend(made.notes);
        }
    }
    drop(output);
    Ok((context.adopt_artifact(artifact)?, detail))
}

fn container(to: Target) -> &'static str {
    match to {
        Target::Mp3 => "mp3",
        Target::Aac => "adts",
        Target::M4a => "ipod",
        Target::Flac => "flac",
        Target::Wav => "wav",
        Target::Opus => "opus",
        Target::Ogg => "ogg",
        Target::Mkv => "matroska",
        Target::Webm => "webm",
        Target::Mov => "mov",
        Target::Mp4 | Target::Text(_) => "mp4",
    }
}

fn options(to: Target) -> &'static [(&'static str, &'static str)] {
    match to {
        Target::Mp4 | Target::Mov | Target::M4a => &[("movflags", "+faststart")],
        _ => &[],
    }
}

/// Where all sound and pictures that are wanted fit the container as they are.
fn copies(facts: &Facts, stage: &Convert, to: Target) -> Option<Copies> {
    if stage.audio_kbps.is_some() || facts.streams.iter().any(|stream| stream.encrypted.is_some()) {
        return None;
    }
    let fits: &[&str] = match to {
        Target::Mp3 => &["mp3"],
        Target::Aac | Target::M4a => &["aac"],
        Target::Flac => &["flac"],
        Target::Opus => &["opus"],
        Target::Ogg => &["vorbis", "opus", "flac"],
        Target::Mp4 => &["h264", "hevc", "av1", "mpeg4", "aac", "mp3", "ac3", "eac3", "flac", "opus", "mov_text"],
        Target::Mov => &["h264", "hevc", "mpeg4", "prores", "mjpeg", "aac", "mp3", "alac", "pcm_s16le", "mov_text"],
        Target::Webm => &["vp8", "vp9", "av1", "opus", "vorbis", "webvtt"],
        Target::Mkv => &[
            "h264",
            "hevc",
            "av1",
            "mpeg4",
            "mpeg2video",
            "vp8",
            "vp9",
            "mjpeg",
            "theora",
            "aac",
            "mp3",
            "ac3",
            "eac3",
            "dts",
            "flac",
            "opus",
            "vorbis",
            "pcm_s16le",
            "pcm_s24le",
            "subrip",
            "ass",
            "webvtt",
            "hdmv_pgs_subtitle",
            "dvd_subtitle",
        ],
        Target::Wav | Target::Text(_) => &[],
    };
    let audio = match stage.track.as_deref() {
        Some(_) => vec![crate::media::chosen(facts, stage.track.as_deref()).ok()?],
        None if to.kind() == TargetKind::Audio => vec![crate::media::chosen(facts, None).ok()?],
        None => facts.audio().map(|stream| stream.index).collect(),
    };
    let as_it_is =
        |index: &usize| facts.streams.get(*index).is_some_and(|stream| fits.contains(&stream.codec.as_str()));
    let (mut streams, mut texts) = (audio, Vec::new());
    if to.kind() == TargetKind::Video {
        facts.of(StreamKind::Video).next()?;
        streams.extend(facts.of(StreamKind::Video).map(|stream| stream.index));
        let subtitles = facts.of(StreamKind::Subtitle).map(|stream| stream.index);
        let (copied, written): (Vec<usize>, Vec<usize>) = subtitles.partition(as_it_is);
        streams.extend(copied);
        texts = written;
    }
    streams.sort_unstable();
    (!streams.is_empty() && streams.iter().all(as_it_is)).then_some(Copies { streams, texts })
}

/// Encoder, bits and samples of a format of sound.
fn audio_plan(facts: &Facts, stage: &Convert, to: Target) -> sound::Plan {
    let track = crate::media::chosen(facts, stage.track.as_deref()).ok().and_then(|index| facts.streams.get(index));
    let rate = track.map(|track| track.sample_rate).filter(|rate| *rate > 0).unwrap_or(44_100);
    let channels = track.map_or(2, |track| track.channels).clamp(1, 2);
    let deep = track.is_some_and(|track| track.bits > 16);
    let nearest =
        |rates: &[u32]| rates.iter().copied().find(|known| *known >= rate).or(rates.last().copied()).unwrap_or(rate);
    const VORBIS: [u32; 8] = [8_000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
    const MP3: [u32; 9] = [8_000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000];
    let (encoder, kbps, rate, sample) = match to {
        Target::Mp3 => ("libmp3lame", Some(192), nearest(&MP3), Sample::F32),
        Target::Opus => ("libopus", Some(96), 48_000, Sample::F32),
        Target::Ogg => ("libvorbis", Some(160), nearest(&VORBIS), Sample::F32),
        Target::Flac if deep => ("flac", None, rate.min(384_000), Sample::S32),
        Target::Flac => ("flac", None, rate.min(384_000), Sample::S16),
        Target::Wav if deep => ("pcm_s24le", None, rate, Sample::S32),
        Target::Wav => ("pcm_s16le", None, rate, Sample::S16),
        _ => ("aac", Some(160), nearest(&spindle_shared::stage::compress::AUDIO_RATES), Sample::F32),
    };
    let bit_rate = kbps.map(|kbps| u64::from(stage.audio_kbps.unwrap_or(kbps)) * 1_000);
    let sample = AudioEncoder::sample(encoder, &[sample, Sample::F32, Sample::S16, Sample::S32]).unwrap_or(sample);
    sound::Plan {
        settings: AudioSettings { encoder: encoder.to_owned(), bit_rate },
        form: Form { rate, channels, sample },
    }
}

/// Where the format can't have the bit rate that was asked for.
fn unlike_asked(stage: &Convert, plan: &sound::Plan) -> Option<String> {
    let asked = u64::from(stage.audio_kbps?) * 1_000;
    plan.settings.bit_rate?;
    let known = AudioEncoder::bit_rates(&plan.settings.encoder, plan.form);
    let given = asked.clamp(*known.start(), *known.end());
    let Form { rate, channels, .. } = plan.form;
    (given != asked).then(|| {
        let sound = format!("{} of {rate} Hz and {channels} channels", stage.to.name());
        format!("{} kbit/s instead of {}: {sound} takes no others", given / 1_000, asked / 1_000)
    })
}

fn video_plan(stage: &Convert, to: Target) -> (Coder, AudioSettings) {
    let option = |name: &str, value: &str| (name.to_owned(), value.to_owned());
    let bits = |usual: u32| Some(u64::from(stage.audio_kbps.unwrap_or(usual)) * 1_000);
    let (encoder, options, audio, kbps) = match to {
        Target::Webm => {
            let options =
                vec![option("crf", "32"), option("deadline", "good"), option("cpu-used", "4"), option("row-mt", "1")];
            ("libvpx-vp9", options, "libopus", 128)
        }
        _ => ("libx264", vec![option("preset", "medium"), option("crf", "20")], "aac", 160),
    };
    let coder = Coder {
        encoder: encoder.to_owned(),
        pixel_format: "yuv420p".to_owned(),
        options,
        // VP9 takes its quality for all there is only where no rate is named.
        bit_rate: (encoder == "libvpx-vp9").then_some(0),
        bit_rate_max: None,
        buffer_bits: None,
    };
    (coder, AudioSettings { encoder: audio.to_owned(), bit_rate: bits(kbps) })
}

#[cfg(test)]
mod tests;
