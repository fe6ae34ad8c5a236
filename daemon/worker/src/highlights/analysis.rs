//! What is known of a video: its facts, what was measured, and what an analyzer makes of it. As JSON the artifact of `analyze`, so names
//! here are an interface.

use serde::{Deserialize, Serialize};
use spindle_shared::failure::Failure;

use crate::language::moments::Moment;
use crate::language::transcript::Segment;

/// Seconds of one step of what is measured all along.
pub const STEP_SECONDS: f64 = 0.5;

/// A video as its file says, and as long as its pictures last.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Video {
    pub seconds: f64,
    pub width: u32,
    pub height: u32,
    /// Pictures per second, counted.
    pub frame_rate: f64,
    pub frames: u64,
    pub video_codec: String,
    /// `None` = no sound.
    pub audio_codec: Option<String>,
}

/// What was measured. Lists have an entry for each [`STEP_SECONDS`].
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Signals {
    /// Where a new scene begins, in seconds; the first begins at 0 and isn't listed.
    pub cuts: Vec<f64>,
    /// Mean change from picture to picture, 0–1.
    pub motion: Vec<f64>,
    /// Loudness in LUFS; empty without sound.
    pub loudness: Vec<f64>,
    /// Share of each step in which there are voices, 0–1; empty without sound.
    pub voices: Vec<f64>,
    /// What is said, where somebody listened.
    pub transcript: Option<Vec<Segment>>,
}

/// A stretch between two scene changes.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Scene {
    pub start_time: f64,
    pub end_time: f64,
    /// Mean loudness in LUFS; null without sound.
    pub loudness: Option<f64>,
    /// How much louder its loudest second is than the ten before it, in dB.
    pub loudness_rise: Option<f64>,
    /// Share of its time with voices, 0–1.
    pub speech_share: Option<f64>,
    /// 0–1, 1 = the liveliest of this video.
    pub motion: f64,
    /// The middle of its liveliest second.
    pub peak_time: f64,
    /// What is said in it; null where nobody listened.
    pub text: Option<String>,
}

/// The artifact.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Analysis {
    pub provider: String,
    pub video: Video,
    pub summary: String,
    pub key_moments: Vec<Moment>,
    pub scenes: Vec<Scene>,
    /// Where decoding can begin, in seconds, at least half a second apart: pieces that begin there can be copied as they are.
    pub key_pictures: Vec<f64>,
    /// As the model wrote it; null where no model was asked.
    pub raw_answer: Option<String>,
    pub tokens_used: u64,
    /// Share of tokens that a smaller copy saved; null where nobody counts tokens.
    pub tokens_saved_share: Option<f64>,
}

/// What an analyzer has to say.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Findings {
    pub summary: String,
    pub key_moments: Vec<Moment>,
    pub raw_answer: Option<String>,
    pub tokens_used: u64,
}

/// Somebody who can say what happens in a video: this machine, or a model elsewhere. Gets what was measured, and nothing else.
pub trait Analyzer {
    fn name(&self) -> &'static str;

    fn analyze(&self, video: &Video, scenes: &[Scene], signals: &Signals) -> Result<Findings, Failure>;
}

/// Measures each scene by what was measured all along.
pub fn scenes(video: &Video, signals: &Signals) -> Vec<Scene> {
    let inner = signals.cuts.iter().copied().filter(|cut| *cut > 0.0 && *cut < video.seconds);
    let borders: Vec<f64> = [0.0].into_iter().chain(inner).chain([video.seconds]).collect();
    let liveliest = signals.motion.iter().copied().fold(0.0, f64::max).max(f64::MIN_POSITIVE);
    borders
        .windows(2)
        .map(|pair| {
            let (start, end) = (pair[0], pair[1]);
            let steps = steps(start, end);
            let motion = mean(part(&signals.motion, &steps)).unwrap_or(0.0) / liveliest;
            let loudest = loudest(&signals.loudness, &steps);
            let liveliest_step =
                steps.clone().max_by(|a, b| at(&signals.motion, *a).total_cmp(&at(&signals.motion, *b)));
            let peak = loudest.map(|(step, _)| step).or(liveliest_step).unwrap_or(steps.start);
            Scene {
                start_time: start,
                end_time: end,
                loudness: mean_loudness(part(&signals.loudness, &steps)),
                loudness_rise: loudest.map(|(_, rise)| rise),
                speech_share: mean(part(&signals.voices, &steps)),
                motion,
                peak_time: ((peak as f64 + 0.5) * STEP_SECONDS).clamp(start, end),
                text: signals.transcript.as_ref().map(|segments| said(segments, start, end)),
            }
        })
        .collect()
}

/// What is said between two times.
pub fn said(segments: &[Segment], start: f64, end: f64) -> String {
    // A phrase belongs where its middle is.
    let inside = segments.iter().filter(|segment| (start..end).contains(&((segment.start + segment.end) / 2.0)));
    inside.map(|segment| segment.text.trim()).collect::<Vec<_>>().join(" ")
}

fn steps(start: f64, end: f64) -> std::ops::Range<usize> {
    let first = (start / STEP_SECONDS) as usize;
    first..((end / STEP_SECONDS).ceil() as usize).max(first + 1)
}

fn part<'l>(list: &'l [f64], steps: &std::ops::Range<usize>) -> &'l [f64] {
    &list[steps.start.min(list.len())..steps.end.min(list.len())]
}

fn at(list: &[f64], step: usize) -> f64 {
    list.get(step).copied().unwrap_or(0.0)
}

pub fn mean(values: &[f64]) -> Option<f64> {
    (!values.is_empty()).then(|| values.iter().sum::<f64>() / values.len() as f64)
}

/// Loudness adds up as power.
pub fn mean_loudness(values: &[f64]) -> Option<f64> {
    let power: Vec<f64> = values.iter().map(|lufs| 10_f64.powf(lufs / 10.0)).collect();
    mean(&power).map(|power| 10.0 * power.log10())
}

/// The step that rises most above what was before it, and by how many dB.
fn loudest(loudness: &[f64], steps: &std::ops::Range<usize>) -> Option<(usize, f64)> {
    let inside = steps.clone().filter(|step| *step < loudness.len());
    inside.map(|step| (step, rise(loudness, step))).max_by(|a, b| a.1.total_cmp(&b.1))
}

/// How much louder a step is than the ten seconds before it.
pub fn rise(loudness: &[f64], step: usize) -> f64 {
    const BEFORE_STEPS: usize = (10.0 / STEP_SECONDS) as usize;
    let before = &loudness[step.saturating_sub(BEFORE_STEPS)..step];
    match mean_loudness(before) {
        Some(before) => loudness[step] - before,
        None => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scenes_are_measured_by_what_happens_in_them() {
        let video = Video { seconds: 12.0, ..Video::default() };
        let mut loudness = vec![-40.0; 24];
        loudness[15] = -10.0;
        let mut motion = vec![0.01; 24];
        motion[16..24].fill(0.04);
        let signals = Signals {
            cuts: vec![4.0, 8.0, 99.0],
            motion,
            loudness,
            voices: vec![0.5; 24],
            transcript: Some(vec![
                Segment { start: 1.0, end: 2.0, text: "one".to_owned(), ..Segment::default() },
                Segment { start: 3.5, end: 5.5, text: "two".to_owned(), ..Segment::default() },
            ]),
        };
        let scenes = scenes(&video, &signals);
        let times: Vec<_> = scenes.iter().map(|scene| (scene.start_time, scene.end_time)).collect();
        assert_eq!(times, [(0.0, 4.0), (4.0, 8.0), (8.0, 12.0)]);
        assert_eq!(scenes.iter().map(|scene| scene.text.as_deref().unwrap()).collect::<Vec<_>>(), ["one", "two", ""]);
        assert_eq!((scenes[0].motion, scenes[2].motion), (0.25, 1.0));
        let rise = scenes[1].loudness_rise.unwrap();
        assert!((29.0..31.0).contains(&rise), "{rise}");
        assert_eq!(scenes[1].peak_time, 7.75);
        assert_eq!(scenes[1].speech_share, Some(0.5));
    }

    #[test]
    fn a_silent_video_has_no_loudness_and_one_scene() {
        let video = Video { seconds: 0.3, ..Video::default() };
        let scenes = scenes(&video, &Signals { motion: vec![0.0], ..Signals::default() });
        let [scene] = scenes.as_slice() else { panic!("{scenes:?}") };
        assert_eq!((scene.loudness, scene.loudness_rise, scene.speech_share), (None, None, None));
        assert_eq!((scene.motion, scene.end_time, scene.text.as_deref()), (0.0, 0.3, None));
    }
}
