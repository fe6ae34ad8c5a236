//! The analyzer that needs nobody: says of a video what its measurements say, and no more.

use spindle_shared::failure::Failure;

use super::analysis::{Analyzer, Findings, STEP_SECONDS, Scene, Signals, Video, mean, mean_loudness, rise, said};
use crate::language::moments::{APART_SECONDS, Moment, has_key_word};

pub struct Local;

/// Moments of one video.
const MOMENTS_MAX: usize = 20;
/// A moment below it is told only where there is no other.
const SCORE_MIN: f64 = 0.2;
/// A rise of so many dB counts in full.
const RISE_DB: f64 = 15.0;
/// What each sign counts; a key word comes on top.
const FOR_RISE: f64 = 0.45;
const FOR_MOTION: f64 = 0.35;
const FOR_VOICES: f64 = 0.2;
const FOR_A_WORD: f64 = 0.3;
const QUOTE_CHARS_MAX: usize = 120;

impl Analyzer for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn analyze(&self, video: &Video, scenes: &[Scene], signals: &Signals) -> Result<Findings, Failure> {
        let key_moments = moments(video, scenes, signals);
        Ok(Findings { summary: summary(video, scenes, signals), key_moments, raw_answer: None, tokens_used: 0 })
    }
}

fn moments(video: &Video, scenes: &[Scene], signals: &Signals) -> Vec<Moment> {
    let steps = ((video.seconds / STEP_SECONDS).ceil() as usize).max(1);
    let liveliest = signals.motion.iter().copied().fold(0.0, f64::max);
    let mut signs: Vec<Signs> = (0..steps).map(|step| Signs::of(step, liveliest, signals)).collect();
    signs.sort_by(|a, b| b.score().total_cmp(&a.score()).then(a.step.cmp(&b.step)));
    let mut chosen: Vec<&Signs> = Vec::new();
    for sign in &signs {
        let apart = |other: &&Signs| (other.seconds() - sign.seconds()).abs() >= APART_SECONDS;
        if chosen.len() < MOMENTS_MAX && chosen.iter().all(apart) && (sign.score() >= SCORE_MIN || chosen.is_empty()) {
            chosen.push(sign);
        }
    }
    chosen.sort_by_key(|sign| sign.step);
    let told = chosen.into_iter().map(|sign| Moment {
        seconds: sign.seconds().min(video.seconds),
        description: sign.told(scenes),
        confidence: ((0.3 + 0.7 * sign.score()).min(1.0) * 100.0).round() / 100.0,
    });
    told.collect()
}

/// What speaks for one step.
struct Signs {
    step: usize,
    /// dB above what was before.
    rise: f64,
    /// 0–1, 1 = the liveliest of this video.
    motion: f64,
    voices: f64,
    text: String,
}

impl Signs {
    fn of(step: usize, liveliest: f64, signals: &Signals) -> Self {
        let at = |list: &[f64]| list.get(step).copied().unwrap_or(0.0);
        let start = step as f64 * STEP_SECONDS;
        Signs {
            step,
            rise: if step < signals.loudness.len() { rise(&signals.loudness, step) } else { 0.0 },
            motion: if liveliest > 0.0 { at(&signals.motion) / liveliest } else { 0.0 },
            voices: at(&signals.voices),
            text: signals.transcript.as_ref().map_or(String::new(), |text| said(text, start, start + STEP_SECONDS)),
        }
    }

    fn seconds(&self) -> f64 {
        (self.step as f64 + 0.5) * STEP_SECONDS
    }

    fn score(&self) -> f64 {
        let word = if has_key_word(&self.text) { FOR_A_WORD } else { 0.0 };
        FOR_RISE * (self.rise / RISE_DB).clamp(0.0, 1.0) + FOR_MOTION * self.motion + FOR_VOICES * self.voices + word
    }

    fn told(&self, scenes: &[Scene]) -> String {
        let mut parts = Vec::new();
        if self.rise >= 3.0 {
            parts.push(format!("the sound rises by {:.0} dB", self.rise));
        }
        if self.motion >= 0.5 {
            parts.push("much movement".to_owned());
        }
        if self.voices >= 0.5 {
            parts.push("voices".to_owned());
        }
        let new = |scene: &Scene| scene.start_time > 0.0 && (0.0..1.5).contains(&(self.seconds() - scene.start_time));
        if scenes.iter().any(new) {
            parts.push("a new scene begins".to_owned());
        }
        if !self.text.is_empty() {
            parts.push(format!("said: {}", quoted(&self.text)));
        }
        if parts.is_empty() {
            parts.push("nothing stands out".to_owned());
        }
        parts.join(", ")
    }
}

fn summary(video: &Video, scenes: &[Scene], signals: &Signals) -> String {
    let clock = |seconds: f64| format!("{}:{:02}", seconds as u64 / 60, seconds as u64 % 60);
    let count = |count: usize, one: &str| if count == 1 { format!("1 {one}") } else { format!("{count} {one}s") };
    let mut parts = vec![format!(
        "{} of video, {}×{}, {}",
        clock(video.seconds.round()),
        video.width,
        video.height,
        count(scenes.len(), "scene")
    )];
    match mean_loudness(&signals.loudness) {
        None => parts.push("no sound".to_owned()),
        Some(lufs) => {
            let voices = mean(&signals.voices).unwrap_or(0.0);
            parts.push(format!("{lufs:.0} LUFS, voices in {:.0} % of the time", 100.0 * voices));
        }
    }
    if let Some(liveliest) = (0..signals.motion.len()).max_by(|a, b| signals.motion[*a].total_cmp(&signals.motion[*b]))
    {
        parts.push(format!("liveliest at {}", clock(liveliest as f64 * STEP_SECONDS)));
    }
    let said = signals.transcript.as_ref().map(|text| said(text, 0.0, f64::INFINITY)).unwrap_or_default();
    if !said.is_empty() {
        parts.push(format!("it begins with: {}", quoted(&said)));
    }
    format!("{}.", parts.join("; "))
}

fn quoted(text: &str) -> String {
    let short: String = text.chars().take(QUOTE_CHARS_MAX).collect();
    if short.len() < text.len() { format!("“{short}…”") } else { format!("“{short}”") }
}

#[cfg(test)]
mod tests {
    use super::super::analysis::scenes;
    use super::*;
    use crate::language::transcript::Segment;

    #[test]
    fn what_stands_out_is_a_moment_and_is_told_why() {
        let video = Video { seconds: 60.0, width: 640, height: 360, ..Video::default() };
        let mut signals = Signals {
            cuts: vec![29.6],
            motion: vec![0.01; 120],
            loudness: vec![-40.0; 120],
            voices: vec![0.0; 120],
            transcript: Some(vec![Segment {
                start: 50.1,
                end: 50.3,
                text: " the key moment".to_owned(),
                ..Segment::default()
            }]),
        };
        signals.motion[20] = 0.2;
        signals.loudness[60] = -20.0;
        signals.voices[60] = 1.0;
        let scenes = scenes(&video, &signals);
        let found = Local.analyze(&video, &scenes, &signals).unwrap();
        let told: Vec<_> =
            found.key_moments.iter().map(|m| (m.seconds, m.description.as_str(), m.confidence)).collect();
        assert_eq!(
            told,
            [
                (10.25, "much movement", 0.54),
                (30.25, "the sound rises by 20 dB, voices, a new scene begins", 0.77),
                (50.25, "said: “the key moment”", 0.52),
            ]
        );
        assert_eq!(
            found.summary,
            "1:00 of video, 640×360, 2 scenes; -37 LUFS, voices in 1 % of the time; liveliest at 0:10; it begins with: “the key moment”."
        );
    }

    #[test]
    fn a_video_in_which_nothing_happens_has_one_moment_of_little_confidence() {
        let video = Video { seconds: 30.0, ..Video::default() };
        let signals = Signals { motion: vec![0.0; 60], ..Signals::default() };
        let found = Local.analyze(&video, &scenes(&video, &signals), &signals).unwrap();
        let [moment] = found.key_moments.as_slice() else { panic!("{found:?}") };
        assert_eq!((moment.description.as_str(), moment.confidence), ("nothing stands out", 0.3));
        assert!(found.summary.contains("no sound"), "{}", found.summary);
    }
}
