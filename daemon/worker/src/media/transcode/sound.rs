//! The sound beside the pictures, encoded whole. Knows no picture.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::super::demuxer::{Demuxer, Packet};
use super::super::encoder::AudioEncoder;
use super::super::error::MediaError;
use super::super::recording::{Piece, Recording};
use super::super::resampler::{Form, Sample};
use super::super::{packets, track};
use super::pieces::Hashed;
use super::{Pieces, Plan, Row, Sound, Source, piece_name};

/// The whole sound in one piece. What can't be heard is told, and the pictures go on without it; a track that was asked for and isn't there is
/// a failure.
pub(super) fn encode_sound(source: &Source<'_>, plan: &Plan<'_>, pieces: &mut dyn Pieces) -> Result<(), MediaError> {
    let Source { file, name, cancel } = source;
    let probe = |channels: u32, rate: u32| Form { rate, channels, sample: Sample::F32 };
    let wished = [Sample::F32, Sample::S16, Sample::S32];
    let sample = AudioEncoder::sample(&plan.audio.encoder, &wished).unwrap_or(Sample::F32);
    let facts = {
        let demuxer = Demuxer::open(file, name, Arc::clone(cancel))?;
        demuxer.facts().clone()
    };
    let track = match track::choose(&facts, plan.track) {
        Ok(tracks) => tracks.first().copied().cloned(),
        Err(error) => return Err(error),
    };
    let channels = track.as_ref().map_or(2, |track| track.channels).clamp(1, 2);
    let rate =
        plan.audio_rate.or(track.as_ref().map(|track| track.sample_rate).filter(|rate| *rate > 0)).unwrap_or(48_000);
    let form = Form { sample, ..probe(channels, rate) };
    let silent = |error: MediaError| match error {
        MediaError::Stopped | MediaError::OutOfMemory { .. } | MediaError::Write(_) | MediaError::Read(_) => Err(error),
        MediaError::NoSuchTrack { .. } | MediaError::NoEncoder { .. } | MediaError::Encode { .. } => Err(error),
        other if plan.track.is_some() => Err(other),
        other => Ok(Some(format!("the copy has no sound: {other}"))),
    };
    match sound(source, plan, form, &pieces.folder().join(piece_name(None)), pieces.outlives()) {
        Ok((content, packets, sound)) => {
            pieces.keep(Row { piece: None, content, packets, seconds: 0.0, sound, damaged: 0, last: false, tail: 0 })
        }
        Err(error) => {
            let note = silent(error)?;
            let file = Hashed::create(&pieces.folder().join(piece_name(None)))?;
            let content = file.finish(pieces.outlives())?;
            let sound = note.map(|note| Sound {
                begins: 0,
                samples: 0,
                rate,
                channels,
                language: None,
                title: None,
                notes: vec![note],
            });
            pieces.keep(Row { piece: None, content, packets: 0, seconds: 0.0, sound, damaged: 0, last: false, tail: 0 })
        }
    }
}

fn sound(
    source: &Source<'_>,
    plan: &Plan<'_>,
    form: Form,
    path: &Path,
    to_disk: bool,
) -> Result<(String, u64, Option<Sound>), MediaError> {
    let mut recording = Recording::open(source.file, source.name, plan.track, form, Arc::clone(&source.cancel))?;
    let (language, title) = (recording.track().language.clone(), recording.track().title.clone());
    let mut encoder = AudioEncoder::open(&plan.audio, form)?;
    let mut file = Hashed::create(path)?;
    let (mut begins, mut samples, mut packets) = (0, 0, 0);
    let mut put = |packet: &mut Packet| {
        packets += 1;
        packets::put(packet, &mut file).map(drop)
    };
    while let Some(piece) = recording.next()? {
        if source.cancel.load(Ordering::Relaxed) {
            return Err(MediaError::Stopped);
        }
        match piece {
            Piece::Silence(count) if samples == 0 => begins += count,
            Piece::Silence(count) => {
                samples += count;
                encoder.push_silence(count, &mut put)?;
            }
            Piece::Samples(bytes) => {
                samples += (bytes.len() / form.block()) as u64;
                encoder.push(&bytes, &mut put)?;
            }
        }
    }
    let summary = recording.finish()?;
    encoder.finish(&mut put)?;
    let content = file.finish(to_disk)?;
    let Form { rate, channels, .. } = form;
    Ok((content, packets, Some(Sound { begins, samples, rate, channels, language, title, notes: summary.notes })))
}
