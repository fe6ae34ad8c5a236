//! The clip plan: which pieces of which videos, as JSON an interface. Checked before anything is cut, repaired where that can be done,
//! and rated. Knows no video but by number and length.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::language::{lenient, moments};

/// A piece of a video.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Piece {
    /// Of the input in its batch, from 1.
    pub video_index: u32,
    /// Seconds from the video's beginning.
    pub start_time: f64,
    pub end_time: f64,
    pub duration: f64,
    pub reason: String,
    /// 1–10; larger comes first.
    pub weight: f64,
}

/// What is to be cut.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipPlan {
    pub strategy: String,
    pub total_duration: f64,
    pub segments: Vec<Piece>,
    pub reasoning: String,
}

/// A video that pieces may be taken from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Source {
    pub video_index: u32,
    pub seconds: f64,
}

/// A total may be off the sum of its pieces by this share of it.
const SUM_SHARE: f64 = 0.05;
/// Nobody sees less.
const PIECE_SECONDS_MIN: f64 = 0.04;
const DEFAULT_SECONDS: f64 = 30.0;
const DEFAULT_WEIGHT: f64 = 5.0;
/// Pieces of one plan.
pub const PIECES_MAX: usize = 10_000;
const REASON_CHARS_MAX: usize = 500;

impl Piece {
    /// With times in whole milliseconds.
    pub fn new(video_index: u32, start: f64, end: f64, reason: impl Into<String>, weight: f64) -> Self {
        let (start_time, end_time) = (milliseconds(start), milliseconds(end));
        Piece {
            video_index,
            start_time,
            end_time,
            duration: milliseconds(end_time - start_time),
            reason: reason.into(),
            weight,
        }
    }
}

fn milliseconds(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
}

impl ClipPlan {
    /// Pieces in the order they are shown in: by weight, then by input, then by time.
    pub fn new(strategy: &str, mut segments: Vec<Piece>, reasoning: impl Into<String>) -> Self {
        segments.sort_by(|a, b| {
            (b.weight.total_cmp(&a.weight))
                .then(a.video_index.cmp(&b.video_index))
                .then(a.start_time.total_cmp(&b.start_time))
        });
        let total_duration = milliseconds(sum(&segments));
        ClipPlan { strategy: strategy.to_owned(), total_duration, segments, reasoning: reasoning.into() }
    }

    /// What is wrong with it, in words.
    pub fn check(&self, videos: &[Source]) -> Result<(), String> {
        if self.segments.is_empty() || self.segments.len() > PIECES_MAX {
            return Err(format!("it has {} segments, not 1–{PIECES_MAX}", self.segments.len()));
        }
        for (number, piece) in (1..).zip(&self.segments) {
            let Some(video) = videos.iter().find(|video| video.video_index == piece.video_index) else {
                return Err(format!("segment {number} is of video {}, which there isn't", piece.video_index));
            };
            let (start, end) = (piece.start_time, piece.end_time);
            // A millisecond is what rounding may have added.
            let whole = start >= 0.0 && end > start && end <= video.seconds + 0.001;
            if !whole {
                return Err(format!("segment {number} goes from {start} s to {end} s of {} s", video.seconds));
            }
        }
        let sum = sum(&self.segments);
        match (self.total_duration - sum).abs() <= SUM_SHARE * self.total_duration.abs() {
            true => Ok(()),
            false => Err(format!("its segments are {sum:.1} s together, and not {:.1} s", self.total_duration)),
        }
    }

    /// A plan that somebody wrote as text, repaired as far as that goes.
    pub fn from_text(text: &str, videos: &[Source]) -> Option<Self> {
        let value = lenient::find(text, |value| value.get("segments").is_some_and(Value::is_array))?;
        let plan = Self::repaired(&value, videos)?;
        plan.check(videos).is_ok().then_some(plan)
    }

    /// Pieces that make sense, clamped to their videos; the total is what they are together.
    fn repaired(value: &Value, videos: &[Source]) -> Option<Self> {
        let texts = |key: &str| value.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
        let read = |piece: &Value| {
            let video_index = number(piece.get("video_index")?)? as u32;
            let video = videos.iter().find(|video| video.video_index == video_index)?;
            let start = number(piece.get("start_time")?)?;
            let end = match piece.get("end_time").and_then(number) {
                Some(end) => end,
                None => start + piece.get("duration").and_then(number)?,
            };
            let end = end.min(video.seconds);
            if start < 0.0 || end - start < PIECE_SECONDS_MIN {
                return None;
            }
            let weight =
                ["weight", "priority"].iter().find_map(|key| number(piece.get(*key)?)).unwrap_or(DEFAULT_WEIGHT);
            let reason = piece.get("reason").and_then(Value::as_str).unwrap_or_default();
            let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
            Some(Piece::new(video_index, start, end, reason, weight.clamp(1.0, 10.0)))
        };
        let segments: Vec<Piece> =
            value.get("segments")?.as_array()?.iter().take(PIECES_MAX).filter_map(read).collect();
        (!segments.is_empty()).then(|| ClipPlan::new(&texts("strategy"), segments, texts("reasoning")))
    }

    /// What is shown where nothing better is known: the beginning of every video.
    pub fn default_of(videos: &[Source], why: &str) -> Self {
        let piece = |video: &Source| {
            Piece::new(video.video_index, 0.0, video.seconds.min(DEFAULT_SECONDS), "the beginning", DEFAULT_WEIGHT)
        };
        ClipPlan::new("default", videos.iter().map(piece).collect(), format!("The beginning of every video: {why}"))
    }

    /// 0–1: how good it is, as far as figures tell. `analysed`: how many videos there were; `target`: the length asked for.
    pub fn quality(&self, analysed: usize, target: Option<f64>) -> f64 {
        if self.segments.is_empty() {
            return 0.0;
        }
        let count = self.segments.len() as f64;
        let mut videos: Vec<u32> = self.segments.iter().map(|piece| piece.video_index).collect();
        videos.sort_unstable();
        videos.dedup();
        let coverage = videos.len() as f64 / analysed.max(1) as f64;
        let seconds = sum(&self.segments);
        let duration = match target.filter(|target| *target > 0.0) {
            Some(target) => {
                let (off, tolerance) = ((seconds - target).abs(), 0.1 * target);
                if off <= tolerance { 1.0 } else { 1.0 - (off - tolerance) / target }
            }
            None if seconds < 60.0 => seconds / 60.0,
            None if seconds > 300.0 => (600.0 - seconds) / 300.0,
            None => 1.0,
        };
        let diversity = match self.segments.len() {
            5.. => 1.0,
            3..5 => 0.8,
            2 => 0.6,
            _ => 0.4,
        };
        let heavy = self.segments.iter().filter(|piece| piece.weight >= 7.0).count() as f64 / count;
        let mean = self.segments.iter().map(|piece| piece.weight).sum::<f64>() / count;
        let weight = 0.6 * heavy + 0.4 * mean / 10.0;
        let reasoning = match self.reasoning.chars().count() {
            0..=20 => 0.05,
            _ => {
                let lower = self.reasoning.to_lowercase();
                let words = ["精彩", "高潮", "重点", "关键", "亮点", "highlight"];
                0.10 * clamped(0.5 + 0.1 * words.iter().filter(|word| lower.contains(**word)).count() as f64)
            }
        };
        let parts = 0.30 * clamped(coverage) + 0.25 * clamped(duration) + 0.20 * diversity + 0.15 * clamped(weight);
        clamped(parts + reasoning)
    }
}

fn clamped(value: f64) -> f64 {
    if value.is_nan() { 0.0 } else { value.clamp(0.0, 1.0) }
}

fn sum(pieces: &[Piece]) -> f64 {
    pieces.iter().map(|piece| piece.end_time - piece.start_time).sum()
}

/// A number, or a text that is one, or a time.
fn number(value: &Value) -> Option<f64> {
    let number = match value {
        Value::Number(number) => number.as_f64(),
        Value::String(text) => moments::time(text),
        _ => None,
    };
    number.filter(|number| number.is_finite() && number.abs() < 1e9)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const VIDEOS: [Source; 3] = [
        Source { video_index: 1, seconds: 60.0 },
        Source { video_index: 2, seconds: 20.0 },
        Source { video_index: 4, seconds: 100.0 },
    ];

    fn plan(total: f64, pieces: &[(u32, f64, f64)]) -> ClipPlan {
        let segments = pieces.iter().map(|(video, start, end)| Piece {
            video_index: *video,
            start_time: *start,
            end_time: *end,
            duration: end - start,
            reason: String::new(),
            weight: 5.0,
        });
        ClipPlan {
            strategy: "highlights".to_owned(),
            total_duration: total,
            segments: segments.collect(),
            reasoning: String::new(),
        }
    }

    #[test]
    fn a_plan_is_checked_before_anything_is_cut() {
        for (plan, told) in [
            (plan(10.0, &[(1, 0.0, 10.0)]), ""),
            (plan(160.0, &[(1, 0.0, 60.0), (4, 0.0, 100.0)]), ""),
            (plan(10.5, &[(1, 0.0, 10.0)]), ""),
            (plan(10.6, &[(1, 0.0, 10.0)]), "its segments are 10.0 s together, and not 10.6 s"),
            (plan(9.5, &[(1, 0.0, 10.0)]), "its segments are 10.0 s together, and not 9.5 s"),
            (plan(0.0, &[]), "it has 0 segments, not 1–10000"),
            (plan(10.0, &[(3, 0.0, 10.0)]), "segment 1 is of video 3, which there isn't"),
            (plan(10.0, &[(0, 0.0, 10.0)]), "segment 1 is of video 0, which there isn't"),
            (plan(10.0, &[(2, 15.0, 25.0)]), "segment 1 goes from 15 s to 25 s of 20 s"),
            (plan(10.0, &[(2, -1.0, 9.0)]), "segment 1 goes from -1 s to 9 s of 20 s"),
            (plan(0.0, &[(2, 5.0, 5.0)]), "segment 1 goes from 5 s to 5 s of 20 s"),
            (plan(-1.0, &[(2, 5.0, 4.0)]), "segment 1 goes from 5 s to 4 s of 20 s"),
            (plan(f64::NAN, &[(1, 0.0, 10.0)]), "its segments are 10.0 s together, and not NaN s"),
            (plan(10.0, &[(1, f64::NAN, 10.0)]), "segment 1 goes from NaN s to 10 s of 60 s"),
        ] {
            assert_eq!(plan.check(&VIDEOS).err().unwrap_or_default(), told);
        }
    }

    #[test]
    fn what_a_model_wrote_is_repaired_or_refused() {
        let emoji = format!(
            "{} {{\"segments\": [{{\"video_index\": 1, \"start_time\": 1, \"end_time\": 3}}]}}",
            "🎬".repeat(30_000)
        );
        for (text, pieces) in [
            (
                r#"{"segments": [{"video_index": 1, "start_time": 1, "end_time": 3, "weight": 8}]}"#,
                vec![(1, 1.0, 3.0, 8.0)],
            ),
            (
                "```json\n{'segments': [{video_index: 1, start_time: '00:01', end_time: '00:03',},],}\n```",
                vec![(1, 1.0, 3.0, 5.0)],
            ),
            (emoji.as_str(), vec![(1, 1.0, 3.0, 5.0)]),
            // Sorted by weight, then by input.
            (
                r#"{"segments": [{"video_index": 4, "start_time": 0, "end_time": 2, "priority": 3}, {"video_index": 2, "start_time": 0, "end_time": 2, "priority": 9}, {"video_index": 1, "start_time": 0, "end_time": 2, "priority": 3}]}"#,
                vec![(2, 0.0, 2.0, 9.0), (1, 0.0, 2.0, 3.0), (4, 0.0, 2.0, 3.0)],
            ),
            // Beyond the end: clamped; wholly beyond it, of no video, backwards, or without a number: left out.
            (r#"{"segments": [{"video_index": 2, "start_time": 15, "end_time": 99}]}"#, vec![(2, 15.0, 20.0, 5.0)]),
            (
                r#"{"segments": [{"video_index": 2, "start_time": 30, "end_time": 40}, {"video_index": 9, "start_time": 1, "end_time": 2}, {"video_index": 1, "start_time": 5, "end_time": 4}, {"video_index": 1, "start_time": -5, "end_time": 4}, {"video_index": 1, "start_time": "soon", "end_time": 4}, {"video_index": 1, "start_time": 7, "end_time": 9}]}"#,
                vec![(1, 7.0, 9.0, 5.0)],
            ),
            (
                r#"{"segments": [{"video_index": "1", "start_time": "7s", "duration": 2, "weight": 99}]}"#,
                vec![(1, 7.0, 9.0, 10.0)],
            ),
            // Cut off: what is whole stays.
            (
                r#"{"strategy": "x", "segments": [{"video_index": 1, "start_time": 1, "end_time": 3}, {"video_index": 1, "start_time": 5, "end_ti"#,
                vec![(1, 1.0, 3.0, 5.0)],
            ),
            // Not repairable.
            ("I am sorry, but I can't do that.", vec![]),
            (r#"{"segments": []}"#, vec![]),
            (r#"{"segments": "none"}"#, vec![]),
            (r#"{"segments": [{"video_index": 7, "start_time": 1, "end_time": 3}]}"#, vec![]),
            (r#"{"clips": [{"video_index": 1, "start_time": 1, "end_time": 3}]}"#, vec![]),
            (r#"{"segments": [{"video_index": 1, "start_time": 1e300, "end_time": 3}]}"#, vec![]),
        ] {
            let plan = ClipPlan::from_text(text, &VIDEOS);
            let found: Vec<_> = plan
                .iter()
                .flat_map(|plan| &plan.segments)
                .map(|p| (p.video_index, p.start_time, p.end_time, p.weight))
                .collect();
            assert_eq!(found, pieces, "{}", text.chars().take(100).collect::<String>());
        }
    }

    #[test]
    fn the_default_is_the_beginning_of_every_video() {
        let plan = ClipPlan::default_of(&VIDEOS, "why");
        let pieces: Vec<_> =
            plan.segments.iter().map(|p| (p.video_index, p.start_time, p.end_time, p.weight)).collect();
        assert_eq!(pieces, [(1, 0.0, 30.0, 5.0), (2, 0.0, 20.0, 5.0), (4, 0.0, 30.0, 5.0)]);
        assert_eq!((plan.total_duration, plan.check(&VIDEOS)), (80.0, Ok(())));
    }

    #[test]
    fn quality_is_the_sum_of_its_parts() {
        // Pieces as (video, seconds, weight); videos analysed; target; reasoning; the score.
        let even = |videos: &[u32], seconds: f64, weight: f64| -> Vec<(u32, f64, f64)> {
            videos.iter().map(|video| (*video, seconds, weight)).collect()
        };
        let long = "long enough to be called a reason";
        for (pieces, analysed, target, reasoning, score) in [
            // Nothing.
            (vec![], 3, Some(60.0), long, 0.0),
            (vec![], 0, None, "", 0.0),
            // Everything: .30 + .25 + .20 + .15 + .10.
            (even(&[1, 2, 3, 4, 5], 20.0, 10.0), 5, Some(100.0), "精彩 高潮 重点 关键 亮点 highlight, and so on", 1.0),
            // Coverage.
            (even(&[1, 1, 1, 1, 1], 20.0, 10.0), 5, Some(100.0), long, 0.06 + 0.25 + 0.20 + 0.15 + 0.05),
            (even(&[1, 2, 1, 2, 1], 20.0, 10.0), 4, Some(100.0), long, 0.15 + 0.25 + 0.20 + 0.15 + 0.05),
            (even(&[1, 2, 3, 4, 5], 20.0, 10.0), 0, Some(100.0), long, 0.30 + 0.25 + 0.20 + 0.15 + 0.05),
            (even(&[1, 2, 3, 4, 5], 20.0, 10.0), 2, Some(100.0), long, 0.30 + 0.25 + 0.20 + 0.15 + 0.05),
            // Duration with a target: 1 within ±10 %, then falling.
            (even(&[1, 2, 3, 4, 5], 22.0, 10.0), 5, Some(100.0), long, 0.30 + 0.25 + 0.20 + 0.15 + 0.05),
            (even(&[1, 2, 3, 4, 5], 18.0, 10.0), 5, Some(100.0), long, 0.30 + 0.25 + 0.20 + 0.15 + 0.05),
            (even(&[1, 2, 3, 4, 5], 26.0, 10.0), 5, Some(100.0), long, 0.30 + 0.25 * 0.8 + 0.20 + 0.15 + 0.05),
            (even(&[1, 2, 3, 4, 5], 10.0, 10.0), 5, Some(100.0), long, 0.30 + 0.25 * 0.6 + 0.20 + 0.15 + 0.05),
            (even(&[1, 2, 3, 4, 5], 100.0, 10.0), 5, Some(100.0), long, 0.30 + 0.20 + 0.15 + 0.05),
            // Without one: 60–300 s.
            (even(&[1, 2, 3, 4, 5], 12.0, 10.0), 5, None, long, 0.30 + 0.25 + 0.20 + 0.15 + 0.05),
            (even(&[1, 2, 3, 4, 5], 60.0, 10.0), 5, None, long, 0.30 + 0.25 + 0.20 + 0.15 + 0.05),
            (even(&[1, 2, 3, 4, 5], 6.0, 10.0), 5, None, long, 0.30 + 0.25 * 0.5 + 0.20 + 0.15 + 0.05),
            (even(&[1, 2, 3, 4, 5], 90.0, 10.0), 5, None, long, 0.30 + 0.25 * 0.5 + 0.20 + 0.15 + 0.05),
            (even(&[1, 2, 3, 4, 5], 200.0, 10.0), 5, None, long, 0.30 + 0.20 + 0.15 + 0.05),
            // Diversity: 1, 2, 3 and 4, 5 segments.
            (even(&[1], 100.0, 10.0), 1, Some(100.0), long, 0.30 + 0.25 + 0.08 + 0.15 + 0.05),
            (even(&[1, 1], 50.0, 10.0), 1, Some(100.0), long, 0.30 + 0.25 + 0.12 + 0.15 + 0.05),
            (even(&[1, 1, 1], 33.0, 10.0), 1, Some(100.0), long, 0.30 + 0.25 + 0.16 + 0.15 + 0.05),
            (even(&[1, 1, 1, 1], 25.0, 10.0), 1, Some(100.0), long, 0.30 + 0.25 + 0.16 + 0.15 + 0.05),
            // Weight: .6 × the share of 7 and above, .4 × mean ÷ 10.
            (even(&[1, 2, 3, 4, 5], 20.0, 6.9), 5, Some(100.0), long, 0.30 + 0.25 + 0.20 + 0.15 * 0.276 + 0.05),
            (even(&[1, 2, 3, 4, 5], 20.0, 7.0), 5, Some(100.0), long, 0.30 + 0.25 + 0.20 + 0.15 * 0.88 + 0.05),
            (vec![(1, 50.0, 8.0), (2, 50.0, 2.0)], 2, Some(100.0), long, 0.30 + 0.25 + 0.12 + 0.15 * 0.5 + 0.05),
            (even(&[1, 2, 3, 4, 5], 20.0, 1_000.0), 5, Some(100.0), long, 0.30 + 0.25 + 0.20 + 0.15 + 0.05),
            // Reasoning: flat up to 20 characters, then by key words.
            (even(&[1, 2, 3, 4, 5], 20.0, 10.0), 5, Some(100.0), "", 0.30 + 0.25 + 0.20 + 0.15 + 0.05),
            (
                even(&[1, 2, 3, 4, 5], 20.0, 10.0),
                5,
                Some(100.0),
                "highlight 精彩 高潮 重点",
                0.30 + 0.25 + 0.20 + 0.15 + 0.05,
            ),
            (
                even(&[1, 2, 3, 4, 5], 20.0, 10.0),
                5,
                Some(100.0),
                "The HIGHLIGHTS of the day",
                0.30 + 0.25 + 0.20 + 0.15 + 0.06,
            ),
            (
                even(&[1, 2, 3, 4, 5], 20.0, 10.0),
                5,
                Some(100.0),
                "精彩精彩精彩精彩精彩精彩精彩精彩精彩精彩精彩",
                0.30 + 0.25 + 0.20 + 0.15 + 0.06,
            ),
            (
                even(&[1, 2, 3, 4, 5], 20.0, 10.0),
                5,
                Some(100.0),
                "关键 亮点 and more than twenty",
                0.30 + 0.25 + 0.20 + 0.15 + 0.07,
            ),
        ] {
            let segments: Vec<Piece> =
                pieces.iter().map(|(video, seconds, weight)| Piece::new(*video, 0.0, *seconds, "", *weight)).collect();
            let plan = ClipPlan::new("highlights", segments, reasoning);
            let quality = plan.quality(analysed, target);
            assert!(
                (quality - score).abs() < 1e-9,
                "{pieces:?} of {analysed}, {target:?}, {reasoning}: {quality}, not {score}"
            );
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_a_plan_that_would_not_be_cut(text in "\\PC*", at in proptest::collection::vec((0..6_u32, -10.0..200.0f64, -10.0..200.0f64), 0..8)) {
            let pieces: Vec<String> = at.iter().map(|(video, start, end)| format!("{{\"video_index\": {video}, \"start_time\": {start}, \"end_time\": {end}}}")).collect();
            for text in [text.clone(), format!("{text}{{\"segments\": [{}]}}", pieces.join(","))] {
                if let Some(plan) = ClipPlan::from_text(&text, &VIDEOS) {
                    prop_assert_eq!(plan.check(&VIDEOS), Ok(()));
                    prop_assert!((0.0..=1.0).contains(&plan.quality(3, Some(50.0))));
                }
            }
        }

        #[test]
        fn quality_is_always_a_share(weights in proptest::collection::vec(any::<f64>(), 0..5), analysed in any::<usize>(), target in any::<Option<f64>>()) {
            let pieces = weights.iter().map(|weight| Piece::new(1, 0.0, 9.0, "", *weight)).collect();
            let plan = ClipPlan { strategy: String::new(), total_duration: 0.0, segments: pieces, reasoning: String::new() };
            prop_assert!((0.0..=1.0).contains(&plan.quality(analysed, target)));
        }
    }
}
