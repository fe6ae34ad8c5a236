//! Windows: stretches of at most 30 s that a model hears at once, cut in pauses. Knows frames and regions, no samples, no model.

use std::ops::Range;

use serde::{Deserialize, Serialize};

use super::recording::seconds;
use super::voice::{FRAME, FRAME_SECONDS, Region, Survey};

/// What one pass of a model hears, in samples of the recording. Windows are in order and never overlap.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Window {
    pub start: u64,
    pub end: u64,
    /// Where the speech in it is.
    pub speech: Vec<Range<u64>>,
    /// Noise floor in dB of full scale.
    pub floor: f32,
}

impl Window {
    pub fn samples(&self) -> u64 {
        self.end - self.start
    }

    pub fn speech_seconds(&self) -> f64 {
        seconds(self.speech.iter().map(|speech| speech.end - speech.start).sum())
    }
}

/// Frames in this many seconds.
const fn frames(milliseconds: usize) -> usize {
    milliseconds * 16 / FRAME
}

/// Just under the 30 s that whisper hears.
const WINDOW_FRAMES: usize = frames(29_600);
/// Sound before the first speech of a window; more than 1 s would make its first time stamp wrong.
const LEAD_FRAMES: usize = frames(320);
/// Sound after its last speech: a phrase that touches the window's end is taken for unfinished.
const TAIL_FRAMES: usize = frames(640);
const SPEECH_FRAMES: usize = WINDOW_FRAMES - LEAD_FRAMES - TAIL_FRAMES;
/// A pause this long ends a window that is at least `FILLED_FRAMES` long …
const PAUSE_FRAMES: usize = frames(2_000);
const FILLED_FRAMES: usize = frames(12_000);
/// … and this long ends any: nothing is gained by listening to it.
const LONG_PAUSE_FRAMES: usize = frames(6_000);

/// Cuts the recording into windows around `regions`.
pub fn plan(survey: &Survey, regions: &[Region], samples: u64) -> Vec<Window> {
    let regions = split(survey, regions);
    let mut groups: Vec<&[Region]> = Vec::new();
    let mut rest = regions.as_slice();
    while !rest.is_empty() {
        let (group, after) = rest.split_at(group_length(rest));
        groups.push(group);
        rest = after;
    }
    let mut windows = Vec::with_capacity(groups.len());
    for (at, group) in groups.iter().enumerate() {
        let (first, last) = (group[0].start, group[group.len() - 1].end);
        let before = at.checked_sub(1).map(|at| groups[at][groups[at].len() - 1].end);
        let start = before.map_or(first.saturating_sub(LEAD_FRAMES), |before| border(before, first).1);
        let end =
            groups.get(at + 1).map_or(last + TAIL_FRAMES, |next| border(last, next[0].start).0).min(survey.frames());
        let sample = |frame: usize| ((frame * FRAME) as u64).min(samples);
        windows.push(Window {
            start: sample(start),
            end: sample(end),
            speech: group.iter().map(|region| sample(region.start)..sample(region.end)).collect(),
            floor: median(&survey.floors[start..end]),
        });
    }
    windows
}

/// All of the recording as one region: for those who want no part of it left out.
pub fn everything(survey: &Survey) -> Vec<Region> {
    match survey.frames() {
        0 => Vec::new(),
        end => vec![Region { start: 0, end }],
    }
}

/// Where one window ends and the next begins between speech that ends at `end` and goes on at `start`.
fn border(end: usize, start: usize) -> (usize, usize) {
    let pause = start - end;
    if pause >= TAIL_FRAMES + LEAD_FRAMES {
        (end + TAIL_FRAMES, start - LEAD_FRAMES)
    } else {
        let cut = end + pause * TAIL_FRAMES / (TAIL_FRAMES + LEAD_FRAMES);
        (cut, cut)
    }
}

/// How many of `regions` make the next window.
fn group_length(regions: &[Region]) -> usize {
    let start = regions[0].start;
    let pause_after = |at: usize| regions[at + 1].start - regions[at].end;
    let mut count = 1;
    while count < regions.len() {
        let pause = pause_after(count - 1);
        let filled = regions[count - 1].end - start >= FILLED_FRAMES;
        if pause >= LONG_PAUSE_FRAMES || (pause >= PAUSE_FRAMES && filled) {
            return count;
        }
        if regions[count].end - start > SPEECH_FRAMES {
            break;
        }
        count += 1;
    }
    if count == regions.len() {
        return count;
    }
    // It is full: the cut goes into a long pause, and rather late than early; up to a second a longer pause is a better one.
    let worth = |at: usize| {
        let pause = pause_after(at).min(frames(1_000)) as f64;
        pause + 0.03 * (regions[at].end - start) as f64
    };
    (0..count).max_by(|a, b| worth(*a).total_cmp(&worth(*b))).map_or(count, |at| at + 1)
}

/// Regions none of which is too long for a window: stretches without a pause are cut where they are quietest.
fn split(survey: &Survey, regions: &[Region]) -> Vec<Region> {
    let mut pieces = Vec::with_capacity(regions.len());
    for region in regions {
        let mut start = region.start;
        while region.end - start > SPEECH_FRAMES {
            let cut = quietest(&survey.levels, start + SPEECH_FRAMES * 6 / 10..start + SPEECH_FRAMES);
            pieces.push(Region { start, end: cut });
            start = cut;
        }
        pieces.push(Region { start, end: region.end });
    }
    pieces
}

/// The middle of the quietest 160 ms.
fn quietest(levels: &[f32], range: Range<usize>) -> usize {
    const HALF: usize = 2;
    let loudness = |at: usize| -> f32 {
        let around = at.saturating_sub(HALF)..(at + HALF + 1).min(levels.len());
        levels[around].iter().map(|level| 10f32.powf(level / 10.0)).sum()
    };
    range.clone().min_by(|a, b| loudness(*a).total_cmp(&loudness(*b))).unwrap_or(range.end)
}

fn median(values: &[f32]) -> f32 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f32::total_cmp);
    sorted.get(sorted.len() / 2).copied().unwrap_or(super::voice::SILENCE_DB)
}

/// Frame of a window in which `second` of it lies.
pub fn frame_at(second: f64) -> usize {
    (second.max(0.0) / FRAME_SECONDS) as usize
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn region(start: f64, end: f64) -> Region {
        Region { start: frame_at(start), end: frame_at(end) }
    }

    fn survey(frames: usize) -> Survey {
        Survey { levels: vec![-30.0; frames], floors: vec![-70.0; frames], probabilities: Vec::new() }
    }

    fn planned(regions: &[Region], total_seconds: f64) -> Vec<Window> {
        let frames = frame_at(total_seconds);
        plan(&survey(frames), regions, (frames * FRAME) as u64)
    }

    #[test]
    fn neighbours_share_a_window_and_long_silence_parts_them() {
        let regions = [region(1.0, 3.0), region(4.0, 6.0), region(20.0, 22.0)];
        let windows = planned(&regions, 30.0);
        assert_eq!(windows.iter().map(|w| w.speech.len()).collect::<Vec<_>>(), [2, 1]);
        assert!((seconds(windows[0].start) - 0.68).abs() < 0.1, "{windows:?}");
        assert!((seconds(windows[1].start) - 19.68).abs() < 0.1, "{windows:?}");
    }

    #[test]
    fn a_full_window_ends_in_its_longest_pause() {
        let regions = [region(0.0, 14.0), region(14.2, 20.0), region(20.9, 28.0), region(28.2, 40.0)];
        let windows = planned(&regions, 41.0);
        assert_eq!(windows.iter().map(|w| w.speech.len()).collect::<Vec<_>>(), [2, 2]);
    }

    #[test]
    fn a_stretch_without_pause_is_cut_where_it_is_quietest() {
        let mut survey = survey(frame_at(45.0));
        let quiet = frame_at(21.0);
        survey.levels[quiet] = -60.0;
        let regions = [region(0.0, 45.0)];
        let windows = plan(&survey, &regions, (survey.frames() * FRAME) as u64);
        assert_eq!(windows.len(), 2);
        assert!((seconds(windows[0].end) - 21.0).abs() < 0.1, "{windows:?}");
        assert_eq!(windows[0].end, windows[1].start);
    }

    proptest! {
        /// Whatever the speech: every frame of it is in exactly one window, none is longer than whisper hears, none overlaps.
        #[test]
        fn nothing_is_lost_or_doubled(lengths in prop::collection::vec((1usize..1_500, 5usize..300), 0..40)) {
            let mut at = 0;
            let mut regions = Vec::new();
            for (length, pause) in lengths {
                regions.push(Region { start: at + pause, end: at + pause + length });
                at += pause + length;
            }
            let survey = survey(at + 3);
            let windows = plan(&survey, &regions, (survey.frames() * FRAME) as u64);
            let wanted: u64 = regions.iter().map(|r| ((r.end - r.start) * FRAME) as u64).sum();
            let got: u64 = windows.iter().flat_map(|w| &w.speech).map(|s| s.end - s.start).sum();
            prop_assert_eq!(wanted, got);
            for window in &windows {
                prop_assert!(seconds(window.end - window.start) <= 29.7);
                prop_assert!(window.speech.iter().all(|s| window.start <= s.start && s.end <= window.end));
            }
            prop_assert!(windows.windows(2).all(|pair| pair[0].end <= pair[1].start));
        }
    }
}
