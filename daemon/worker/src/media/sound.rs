//! The sound of a file in another format. Knows no job.

use std::fs::File;
use std::sync::Arc;

use super::demuxer::Packet;
use super::encoder::{AudioEncoder, AudioSettings};
use super::error::MediaError;
use super::facts::Facts;
use super::logs;
use super::muxer::{Muxer, StreamAbout, rescale};
use super::recording::{Piece, Recording};
use super::resampler::Form;
use super::transcode::Source;

/// What is made.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    pub settings: AudioSettings,
    pub form: Form,
}

pub struct Made {
    pub seconds: f64,
    pub notes: Vec<String>,
}

/// One track, from media time 0 on.
pub fn convert(
    source: &Source<'_>,
    facts: &Facts,
    track: Option<&str>,
    plan: &Plan,
    container: &str,
    output: &File,
    progress: &(dyn Fn(f32) + Sync),
) -> Result<Made, MediaError> {
    let form = plan.form;
    let mut recording = Recording::open(source.file, source.name, track, form, Arc::clone(&source.cancel))?;
    let expected = recording.expected_seconds().filter(|seconds| *seconds > 0.0);
    let mut notes = Vec::new();
    if recording.track().channels > form.channels {
        notes.push(format!("{} channels were mixed down to {}", recording.track().channels, form.channels));
    }
    let about = StreamAbout {
        language: recording.track().language.clone(),
        title: recording.track().title.clone(),
        default: true,
    };
    let mut encoder = AudioEncoder::open(&plan.settings, form)?;
    logs::begin();
    let mut muxer = Muxer::new(output, container, Arc::clone(&source.cancel))?;
    let base = (1, form.rate.cast_signed());
    let stream = muxer.add(&encoder.codec()?, base, &about)?;
    for (key, value) in &facts.tags {
        muxer.tag(key, value);
    }
    let mut writing = muxer.begin(super::INDEX_FIRST)?;
    let to = writing.time_base(stream);
    let mut put = |packet: &mut Packet| {
        let at = |ticks: i64| rescale(ticks, base, to);
        let stamp = packet.stamp().or(packet.decode_stamp()).unwrap_or(0);
        let decode = packet.decode_stamp().unwrap_or(stamp);
        packet.set_times(at(stamp), at(decode), at(packet.duration()));
        writing.write(stream, packet)
    };
    let mut samples = 0u64;
    while let Some(piece) = recording.next()? {
        match piece {
            Piece::Silence(count) => {
                samples += count;
                encoder.push_silence(count, &mut put)?;
            }
            Piece::Samples(bytes) => {
                samples += (bytes.len() / form.block()) as u64;
                encoder.push(&bytes, &mut put)?;
            }
        }
        if let Some(expected) = expected {
            progress((samples as f64 / f64::from(form.rate) / expected) as f32);
        }
    }
    let summary = recording.finish()?;
    encoder.finish(&mut put)?;
    writing.finish()?;
    notes.extend(summary.notes);
    Ok(Made { seconds: samples as f64 / f64::from(form.rate), notes })
}
