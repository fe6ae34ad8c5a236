//! The sound of all pieces, one after the other, as one stream of packets in a file that has no name. What has no sound is silence.

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::os::unix::fs::FileExt;

use spindle_shared::stage::assemble::{SOUND_CHANNELS, SOUND_RATE};

use super::film::{Fade, Shown};
use super::{Quality, Source, Taken, unnamed};
use crate::context::{Context, Halt, disk_failure};
use crate::media::encoder::{AudioEncoder, AudioSettings, Codec};
use crate::media::{Form, MediaError, Piece, Recording, Sample, packets};

const RATE: u32 = SOUND_RATE;
const CHANNELS: usize = SOUND_CHANNELS as usize;
/// Of one sample of both channels, as it is kept.
const BLOCK: usize = 2 * CHANNELS;

/// The stream; its times count samples.
pub struct Score {
    pub packets: File,
    pub codec: Codec,
    pub time_base: (i32, i32),
}

/// `None` where no source has any sound.
pub fn record(
    context: &Context,
    sources: &[Source<'_>],
    pieces: &[Taken],
    shown: &[Shown],
    quality: Quality,
    fade: Option<Fade>,
    notes: &mut Vec<String>,
) -> Result<Option<Score>, Halt> {
    if !pieces.iter().any(|piece| sources[piece.source].sound) {
        return Ok(None);
    }
    // What is not written stays a hole, which reads as silence.
    let tape = unnamed(context)?;
    let length = shown.last().map_or(0, |last| samples(last.end_seconds));
    tape.set_len(length * BLOCK as u64).map_err(|error| disk_failure(&error, context.scratch()))?;
    for (number, source) in sources.iter().enumerate().filter(|(_, source)| source.sound) {
        let wanted: Vec<Wanted> = pieces
            .iter()
            .zip(shown)
            .filter(|(piece, _)| piece.source == number)
            .map(|(_, shown)| {
                let to = samples(shown.start_seconds);
                Wanted { from: samples(shown.from_seconds), to, count: samples(shown.end_seconds) - to }
            })
            .collect();
        if !wanted.is_empty() {
            play(context, source, &wanted, &tape, notes)?;
        }
    }
    encode(context, &tape, shown, quality, fade).map(Some)
}

/// Samples of a source, and where they go.
struct Wanted {
    from: u64,
    to: u64,
    count: u64,
}

fn samples(seconds: f64) -> u64 {
    (seconds.max(0.0) * f64::from(RATE)).round() as u64
}

/// Goes through a source once, and writes down what is wanted of it.
fn play(
    context: &Context,
    source: &Source<'_>,
    wanted: &[Wanted],
    tape: &File,
    notes: &mut Vec<String>,
) -> Result<(), Halt> {
    let form = Form { rate: RATE, channels: CHANNELS as u32, sample: Sample::S16 };
    let mut left_aside = |error: MediaError| match error {
        MediaError::Stopped => Err(Halt::Stopped),
        error => {
            notes.push(format!("sound of {} was left aside: {error}", source.name));
            Ok(())
        }
    };
    let mut recording = match Recording::open(source.file, &source.name, None, form, context.cancel_flag()) {
        Ok(recording) => recording,
        Err(error) => return left_aside(error),
    };
    let end = wanted.iter().map(|wanted| wanted.from + wanted.count).max().unwrap_or(0);
    let mut at = 0_u64;
    while at < end {
        context.go_on()?;
        match recording.next() {
            Ok(None) => break,
            Err(error) => return left_aside(error),
            Ok(Some(Piece::Silence(samples))) => at += samples,
            Ok(Some(Piece::Samples(bytes))) => {
                let count = (bytes.len() / BLOCK) as u64;
                for wanted in wanted {
                    let (from, to) = (wanted.from.max(at), (wanted.from + wanted.count).min(at + count));
                    if from < to {
                        let part = &bytes[(from - at) as usize * BLOCK..(to - at) as usize * BLOCK];
                        let place = (wanted.to + from - wanted.from) * BLOCK as u64;
                        tape.write_all_at(part, place).map_err(|error| disk_failure(&error, context.scratch()))?;
                    }
                }
                at += count;
            }
        }
    }
    Ok(())
}

fn encode(
    context: &Context,
    tape: &File,
    shown: &[Shown],
    quality: Quality,
    fade: Option<Fade>,
) -> Result<Score, Halt> {
    let failed = |error: MediaError| super::halt(error, "the sound");
    let form = Form { rate: RATE, channels: CHANNELS as u32, sample: Sample::F32 };
    let settings = AudioSettings { encoder: "aac".to_owned(), bit_rate: Some(quality.sound_bit_rate().into()) };
    let mut encoder = AudioEncoder::open(&settings, form).map_err(failed)?;
    let codec = encoder.codec().map_err(failed)?;
    let file = unnamed(context)?;
    let mut writer = BufWriter::with_capacity(256 << 10, &file);
    let mut reader = BufReader::with_capacity(256 << 10, tape);
    let (mut bytes, mut floats) = (vec![0; BLOCK * RATE as usize / 4], Vec::new());
    for piece in shown {
        let (start, end) = (samples(piece.start_seconds), samples(piece.end_seconds));
        let faded = fade.map_or(0.0, |fade| fade.of(piece.end_seconds - piece.start_seconds) * f64::from(RATE));
        let mut at = start;
        while at < end {
            context.go_on()?;
            let count = (end - at).min((bytes.len() / BLOCK) as u64);
            let part = &mut bytes[..count as usize * BLOCK];
            reader.read_exact(part).map_err(|error| disk_failure(&error, context.scratch()))?;
            floats.clear();
            for (number, pair) in part.chunks_exact(2).enumerate() {
                let place = at + (number / CHANNELS) as u64;
                let edge = (place - start).min(end - 1 - place) as f64;
                let gain = if edge < faded { edge / faded } else { 1.0 };
                let value = f64::from(i16::from_le_bytes([pair[0], pair[1]])) / 32_768.0 * gain;
                floats.extend_from_slice(&(value as f32).to_le_bytes());
            }
            encoder.push(&floats, &mut |packet| packets::put(packet, &mut writer).map(drop)).map_err(failed)?;
            at += count;
        }
    }
    encoder.finish(&mut |packet| packets::put(packet, &mut writer).map(drop)).map_err(failed)?;
    writer.flush().map_err(|error| disk_failure(&error, context.scratch()))?;
    drop(writer);
    Ok(Score { packets: file, codec, time_base: (1, RATE as i32) })
}
