//! Decode: a recording's chosen audio track to 16 kHz mono samples. Knows jobs and failures; how to decode is `media`'s.

use std::io::{self, Write};
use std::path::Path;

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::Detail;
use spindle_shared::stage::decode::{AUDIO_FILE, Decode, SAMPLE_RATE};
use spindle_shared::worker::Done;

use crate::context::{Context, Halt, disk_failure};
use crate::media::{Form, MediaError, Piece, Recording, Sample};

/// What whisper listens to.
const FORM: Form = Form { rate: SAMPLE_RATE, channels: 1, sample: Sample::S16 };

/// A second of silence; a longer one is written in as many steps, so that it can be stopped.
static SILENCE: [u8; 2 * SAMPLE_RATE as usize] = [0; 2 * SAMPLE_RATE as usize];

pub fn run(context: &Context, stage: &Decode) -> Result<Done, Halt> {
    run_or_silence(context, stage, false)
}

/// `silence`: a recording without sound leaves no samples, instead of a failure.
pub fn run_or_silence(context: &Context, stage: &Decode, silence: bool) -> Result<Done, Halt> {
    let (file, name) = context.input()?;
    let halt = |error: MediaError| halt_for(error, &name, stage);
    let mut recording = match Recording::open(file, &name, stage.track.as_deref(), FORM, context.cancel_flag()) {
        Ok(recording) => recording,
        Err(MediaError::NoAudio { .. }) if silence => {
            let notes = vec!["there is nothing to hear: it has no audio".to_owned()];
            let files = vec![context.write_artifact(AUDIO_FILE, |_| Ok(()))?];
            return Ok(Done { files, detail: Detail { notes, ..Detail::default() }, ..Done::default() });
        }
        Err(error) => return Err(halt(error)),
    };
    let expected_seconds = recording.expected_seconds();
    context.lasts(expected_seconds);
    let path = context.scratch().join(AUDIO_FILE);
    let artifact = context.write_artifact(AUDIO_FILE, |writer| {
        let mut bytes = 0;
        while let Some(piece) = recording.next().map_err(halt)? {
            bytes += match piece {
                Piece::Samples(samples) => write_samples(writer, &samples, &path)?,
                Piece::Silence(samples) => write_silence(context, writer, samples, &path)?,
            };
            context.go_on()?;
            if let Some(expected) = expected_seconds.filter(|expected| *expected > 0.0) {
                context.progress((seconds(bytes) / expected) as f32);
            }
        }
        Ok(())
    })?;
    let summary = recording.finish().map_err(halt)?;
    debug_assert_eq!(summary.seconds, seconds(artifact.bytes));
    Ok(Done {
        files: vec![artifact],
        detail: Detail { media_seconds: Some(summary.seconds), notes: summary.notes, ..Detail::default() },
        work: summary.seconds,
        peak_memory_bytes: peak_memory_bytes(),
        ..Done::default()
    })
}

fn seconds(bytes: u64) -> f64 {
    bytes as f64 / 2.0 / f64::from(SAMPLE_RATE)
}

fn write_samples(writer: &mut impl Write, samples: &[u8], path: &Path) -> Result<u64, Halt> {
    writer.write_all(samples).map_err(|e: io::Error| disk_failure(&e, path))?;
    Ok(samples.len() as u64)
}

fn write_silence(context: &Context, writer: &mut impl Write, samples: u64, path: &Path) -> Result<u64, Halt> {
    let mut left = samples.saturating_mul(2);
    while left > 0 {
        context.go_on()?;
        let step = left.min(SILENCE.len() as u64);
        write_samples(writer, &SILENCE[..step as usize], path)?;
        left -= step;
    }
    Ok(samples.saturating_mul(2))
}

fn halt_for(error: MediaError, name: &str, stage: &Decode) -> Halt {
    halt_of(error, name, stage.track.as_deref())
}

/// What an error of libav's is for a stage that listens.
pub fn halt_of(error: MediaError, name: &str, track: Option<&str>) -> Halt {
    let message = format!("failed to decode {name}: {error}");
    let failure = |kind| Failure::new(kind, message.clone());
    Halt::Failed(match error {
        MediaError::Stopped => return Halt::Stopped,
        MediaError::OutOfMemory { .. } => failure(FailureKind::OutOfMemory),
        MediaError::Empty => failure(FailureKind::Input).advise("copy or record it again: it has 0 bytes"),
        MediaError::NotAFile => {
            failure(FailureKind::Input).advise("submit the recording itself, not a folder or a pipe")
        }
        MediaError::Read(_) => failure(FailureKind::Input)
            .advise("check the disk or the network drive it lies on, then `spindlectl retry` the job"),
        MediaError::Refers { .. } => failure(FailureKind::Input).advise("submit the recordings it names, one by one"),
        MediaError::NoAudio { .. } => {
            failure(FailureKind::Input).advise("there is nothing to listen to; leave this input out of the batch")
        }
        MediaError::NoSuchTrack { .. } => {
            let shown = spindle_shared::text::escaped(track.unwrap_or_default());
            failure(FailureKind::Input)
                .advise(format!("take one of these instead of --track {shown}, or leave --track out"))
        }
        MediaError::NoDecoder { .. } => failure(FailureKind::Input)
            .advise("convert the audio to a common codec (AAC, Opus, FLAC), or take another --track"),
        MediaError::Encrypted { .. } => failure(FailureKind::Input).advise("get a copy without copy protection"),
        MediaError::TooLong { .. } => failure(FailureKind::Input)
            .advise("split the recording; if it is shorter in truth, its header or clock is broken: repair it first"),
        MediaError::Unreadable { .. }
        | MediaError::NothingDecoded { .. }
        | MediaError::NothingThere { .. }
        | MediaError::Shape { .. } => failure(FailureKind::Input),
        // What only those meet that look at pictures, or write.
        MediaError::NoVideo { .. } | MediaError::NoVideoDecoder { .. } | MediaError::NoPicture { .. } => {
            failure(FailureKind::Input)
        }
        MediaError::NoEncoder { .. } | MediaError::Encode { .. } | MediaError::Mux { .. } | MediaError::Write(_) => {
            failure(FailureKind::Internal)
        }
    })
}

/// The most memory this process ever held, as the kernel counts it; 0 where it doesn't say.
fn peak_memory_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()).and_then(|number| number.parse::<u64>().ok());
    kibibytes.map_or(0, |kibibytes| kibibytes.saturating_mul(1_024))
}

#[cfg(test)]
mod tests;
