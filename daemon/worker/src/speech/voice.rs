//! Where speech is: level, noise floor and likelihood of speech for each frame of a recording, and the regions they make. Knows no model of
//! words.

use std::io;

use super::model::{ListenError, VoiceModel};
use super::recording::Recording;
use super::spread::spread;

/// Samples of one frame: 32 ms, as Silero has them.
pub const FRAME: usize = 512;
/// Seconds of one frame.
pub const FRAME_SECONDS: f64 = FRAME as f64 / 16_000.0;

/// Frames read at once: 33 s.
const BLOCK_FRAMES: u64 = 1_024;
/// Frames the detector hears again before each block, since it forgets between calls.
const WARM_UP_FRAMES: u64 = 64;
/// Level of digital silence and of all that is no louder, in dB of full scale.
pub const SILENCE_DB: f32 = -75.0;
/// A frame this much above the noise floor may be speech.
const OPEN_DB: f32 = 6.0;
/// Speech goes on while frames are this much above the floor.
const HOLD_DB: f32 = 3.5;
/// Speech by the detector: from here on, and down to there while it lasts.
const OPEN_PROBABILITY: f32 = 0.4;
const HOLD_PROBABILITY: f32 = 0.2;
/// Length of the stretch before and after a frame whose quiet tenth is the noise floor.
const FLOOR_FRAMES: usize = 375;

/// A recording frame by frame.
#[derive(Debug, Default)]
pub struct Survey {
    /// dB of full scale, low frequencies damped.
    pub levels: Vec<f32>,
    /// Of the noise around each frame.
    pub floors: Vec<f32>,
    /// By the detector; empty without one.
    pub probabilities: Vec<f32>,
}

/// Frames `start..end` with speech.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Region {
    pub start: usize,
    pub end: usize,
}

/// Why a survey ended early.
#[derive(Debug, thiserror::Error)]
pub enum SurveyError {
    #[error(transparent)]
    Io(#[from] std::io::Error),
    #[error(transparent)]
    Detector(#[from] ListenError),
}

/// Reads the recording once, block by block, in as many threads as there are detectors, all of one kind or none. `go_on` is told the share
/// that is done and says whether to go on.
pub fn survey<E: Send + From<SurveyError> + From<io::Error>>(
    recording: &Recording<'_>,
    detectors: &mut [Option<VoiceModel>],
    mut go_on: impl FnMut(f64) -> Result<(), E>,
) -> Result<Survey, E> {
    let blocks = blocks(recording);
    let mut parts: Vec<(Vec<f32>, Vec<f32>)> = vec![Default::default(); blocks];
    let mut done = 0;
    go_on(0.0)?;
    spread(
        detectors,
        blocks,
        |detector, at| Ok(block(recording, at as u64, detector.as_mut())?),
        |at, part| {
            parts[at] = part;
            done += 1;
            go_on(done as f64 / blocks as f64)
        },
    )?;
    let (levels, probabilities): (Vec<_>, Vec<_>) = parts.into_iter().unzip();
    let levels = levels.concat();
    Ok(Survey { floors: floors(&levels), levels, probabilities: probabilities.concat() })
}

/// Pieces in which a recording is read.
pub fn blocks(recording: &Recording<'_>) -> usize {
    recording.samples().div_ceil(BLOCK_FRAMES * FRAME as u64) as usize
}

/// Levels and probabilities of one block. The detector hears a little of what comes before it, too.
fn block(
    recording: &Recording<'_>,
    number: u64,
    detector: Option<&mut VoiceModel>,
) -> Result<(Vec<f32>, Vec<f32>), SurveyError> {
    let frame = FRAME as u64;
    let at = number * BLOCK_FRAMES * frame;
    let end = (at + BLOCK_FRAMES * frame).min(recording.samples());
    let warm_up = WARM_UP_FRAMES.min(at / frame);
    let samples = recording.read(at - warm_up * frame..end)?;
    let levels = levels(&samples, warm_up as usize * FRAME).collect();
    let probabilities = match detector {
        None => Vec::new(),
        Some(detector) => detector.hear(&samples)?.split_off(warm_up as usize),
    };
    Ok((levels, probabilities))
}

/// The level of each frame from sample `from` on. The first difference damps hum and rumble, which would hide pauses.
pub fn levels(samples: &[f32], from: usize) -> impl Iterator<Item = f32> {
    (from..samples.len()).step_by(FRAME).map(move |start| {
        let frame = &samples[start..(start + FRAME).min(samples.len())];
        let mut before = if start > 0 { samples[start - 1] } else { frame[0] };
        let energy: f32 =
            frame.iter().map(|sample| (sample - 0.95 * std::mem::replace(&mut before, *sample)).powi(2)).sum();
        (10.0 * (energy / frame.len() as f32).log10()).max(SILENCE_DB)
    })
}

/// The higher of the quiet tenths before and after each frame: noise that begins or ends is followed from both sides, and a phrase with
/// silence on either side never becomes its own floor.
fn floors(levels: &[f32]) -> Vec<f32> {
    let mut floors = quiet_tenths(levels.iter());
    let mut after = quiet_tenths(levels.iter().rev());
    after.reverse();
    for (floor, after) in floors.iter_mut().zip(after) {
        *floor = floor.max(after);
    }
    floors
}

/// For each level, the quiet tenth of those from [`FLOOR_FRAMES`] before it up to it; at the start, of the first ones.
fn quiet_tenths<'a>(levels: impl ExactSizeIterator<Item = &'a f32> + Clone) -> Vec<f32> {
    const STEPS_PER_DB: f32 = 2.0;
    let bin = |level: &f32| ((level - SILENCE_DB).max(0.0) * STEPS_PER_DB) as usize;
    let mut counts = [0u32; (-SILENCE_DB * STEPS_PER_DB) as usize + 24];
    let last = counts.len() - 1;
    let length = FLOOR_FRAMES.min(levels.len());
    let mut leaving = levels.clone();
    let mut entering = levels.clone();
    for level in entering.by_ref().take(length) {
        counts[bin(level).min(last)] += 1;
    }
    levels
        .enumerate()
        .map(|(at, _)| {
            if at >= length
                && let (Some(new), Some(old)) = (entering.next(), leaving.next())
            {
                counts[bin(new).min(last)] += 1;
                counts[bin(old).min(last)] -= 1;
            }
            let wanted = length as u32 / 10;
            let mut below = 0;
            let tenth = counts.iter().position(|count| {
                below += count;
                below > wanted
            });
            SILENCE_DB + tenth.unwrap_or(0) as f32 / STEPS_PER_DB
        })
        .collect()
}

impl Survey {
    pub fn frames(&self) -> usize {
        self.levels.len()
    }

    /// Stretches of speech with a little room around them, in order, apart from each other.
    pub fn regions(&self) -> Vec<Region> {
        /// Pauses shorter than this belong to speech: 160 ms.
        const PAUSE_MIN: usize = 5;
        /// Shorter sounds are no speech: 96 ms.
        const SPEECH_MIN: usize = 3;
        /// Where the detector hears speech, it begins and ends with the sound, at most this far away: 320 ms.
        const REACH: usize = 10;
        let detected = !self.probabilities.is_empty();
        let mut regions = if detected {
            let raw = hysteresis(&self.probabilities, |_| OPEN_PROBABILITY, |_| HOLD_PROBABILITY);
            raw.into_iter().map(|region| self.grown(region, REACH)).collect()
        } else {
            hysteresis(&self.levels, |at| self.floors[at] + OPEN_DB, |at| self.floors[at] + HOLD_DB)
        };
        regions = joined(regions, PAUSE_MIN);
        regions.retain(|region| region.end - region.start >= SPEECH_MIN);
        regions
    }

    /// The region up to where its sound begins and ends.
    fn grown(&self, region: Region, reach: usize) -> Region {
        let loud = |at: usize| self.levels[at] > self.floors[at] + HOLD_DB;
        let start = (region.start.saturating_sub(reach)..region.start).rev().take_while(|at| loud(*at)).last();
        let end = (region.end..(region.end + reach).min(self.frames())).take_while(|at| loud(*at)).last();
        Region { start: start.unwrap_or(region.start), end: end.map_or(region.end, |at| at + 1) }
    }
}

/// Runs that reach `open` somewhere and stay over `hold`.
fn hysteresis(values: &[f32], open: impl Fn(usize) -> f32, hold: impl Fn(usize) -> f32) -> Vec<Region> {
    let mut regions = Vec::new();
    let mut at = 0;
    while at < values.len() {
        if values[at] <= hold(at) {
            at += 1;
            continue;
        }
        let start = at;
        let mut opened = false;
        while at < values.len() && values[at] > hold(at) {
            opened |= values[at] > open(at);
            at += 1;
        }
        if opened {
            regions.push(Region { start, end: at });
        }
    }
    regions
}

/// Regions with less than `pause` frames between them become one.
fn joined(regions: Vec<Region>, pause: usize) -> Vec<Region> {
    let mut joined: Vec<Region> = Vec::with_capacity(regions.len());
    for region in regions {
        match joined.last_mut() {
            Some(last) if region.start < last.end + pause => last.end = last.end.max(region.end),
            _ => joined.push(region),
        }
    }
    joined
}
