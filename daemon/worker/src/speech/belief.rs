//! What of a model's answer is believed: nothing without sound under it, no loops, times in order and inside. Knows text and levels, no model.

use crate::language::transcript::{Segment, Word};

use super::voice::FRAME_SECONDS;
use super::words::effort;

/// The sound under a window's text.
pub struct Ground<'a> {
    /// dB of each frame of the window.
    pub levels: &'a [f32],
    /// Noise floor in dB.
    pub floor: f32,
    /// Where speech was found, in seconds from the window's start.
    pub speech: &'a [(f64, f64)],
    /// Length of the window in seconds.
    pub seconds: f64,
}

/// Sound is what is this much louder than the floor.
const SOUND_DB: f32 = 3.5;
/// Times of a model are rarely off by more.
const TIME_ERROR_SECONDS: f64 = 0.4;
/// Nobody says more letters, or words, in a second of sound.
const LETTERS_PER_SECOND_MAX: f64 = 35.0;
const WORDS_PER_SECOND_MAX: f64 = 9.0;

impl Ground<'_> {
    /// Seconds of sound between two times.
    fn sound(&self, start: f64, end: f64) -> f64 {
        let first = super::window::frame_at(start).min(self.levels.len());
        let last = ((end.max(0.0) / FRAME_SECONDS).ceil() as usize).clamp(first, self.levels.len());
        let loud = self.levels[first..last].iter().filter(|level| **level > self.floor + SOUND_DB).count();
        loud as f64 * FRAME_SECONDS
    }

    fn holds_speech(&self, start: f64, end: f64) -> bool {
        let (start, end) = (start - TIME_ERROR_SECONDS, end + TIME_ERROR_SECONDS);
        self.speech.iter().any(|(from, until)| *from < end && start < *until) && self.sound(start, end) > 0.0
    }
}

/// Leaves what may be believed; segments are in seconds from the window's start, before and after.
pub fn believed(segments: Vec<Segment>, ground: &Ground<'_>) -> Vec<Segment> {
    let mut segments: Vec<Segment> = segments
        .into_iter()
        .filter(|segment| segment.text.chars().any(char::is_alphanumeric))
        .filter(|segment| !(segment.no_speech_prob > 0.6 && segment.avg_logprob < -1.0))
        .filter(|segment| ground.holds_speech(segment.start, segment.end))
        .collect();
    segments.iter_mut().for_each(|segment| without_loop(segment, ground));
    in_order(without_echoes(segments, ground), ground.seconds)
}

/// A phrase that can't have been said in its time loses its repetitions; so does one that says the same long thing over and over.
fn without_loop(segment: &mut Segment, ground: &Ground<'_>) {
    let sound = ground.sound(segment.start, segment.end).max(0.2);
    let hurried = impossible(&segment.text, segment.words.len(), sound);
    let mut words = std::mem::take(&mut segment.words);
    let before = words.len();
    for length in 1..=12 {
        let (copies, enough) = if hurried { (3, true) } else { (5, length >= 4) };
        if enough {
            words = without_repeats(words, length, copies);
        }
    }
    if words.len() < before {
        segment.text = words.iter().map(|word| word.text.as_str()).collect::<String>().trim().to_owned();
    }
    segment.words = words;
}

fn impossible(text: &str, words: usize, sound_seconds: f64) -> bool {
    effort(text) / sound_seconds > LETTERS_PER_SECOND_MAX || words as f64 / sound_seconds > WORDS_PER_SECOND_MAX
}

/// Runs of at least `copies` equal stretches of `length` words become one stretch.
fn without_repeats(words: Vec<Word>, length: usize, copies: usize) -> Vec<Word> {
    let equal = |a: usize, b: usize| same(&words[a].text, &words[b].text);
    let mut kept = Vec::with_capacity(words.len());
    let mut at = 0;
    while at < words.len() {
        let repeated = (at + length..words.len()).take_while(|next| equal(*next, next - length)).count() / length;
        let stretch = length.min(words.len() - at);
        kept.extend_from_slice(&words[at..at + if repeated + 1 >= copies { stretch } else { 1 }]);
        at += if repeated + 1 >= copies { length * (repeated + 1) } else { 1 };
    }
    kept
}

/// The same phrase three times or more in a time that is too short for it is kept once.
fn without_echoes(segments: Vec<Segment>, ground: &Ground<'_>) -> Vec<Segment> {
    let mut kept: Vec<Segment> = Vec::with_capacity(segments.len());
    let mut rest = segments.as_slice();
    while let Some(first) = rest.first() {
        let run = rest.iter().take_while(|segment| same(&segment.text, &first.text)).count();
        let end = rest[run - 1].end;
        let sound = ground.sound(first.start, end).max(0.2);
        let text: String = rest[..run].iter().map(|segment| segment.text.as_str()).collect();
        let words = rest[..run].iter().map(|segment| segment.words.len()).sum();
        if run >= 3 && impossible(&text, words, sound) {
            kept.push(first.clone());
        } else {
            kept.extend_from_slice(&rest[..run]);
        }
        rest = &rest[run..];
    }
    kept
}

fn same(a: &str, b: &str) -> bool {
    let letters =
        |text: &str| text.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect::<String>();
    letters(a) == letters(b)
}

/// Clips times to `0..seconds` and to each other, so that nothing overlaps and nothing ends before it starts.
pub fn in_order(mut segments: Vec<Segment>, seconds: f64) -> Vec<Segment> {
    /// The shortest time that anyone could read.
    const SEGMENT_SECONDS_MIN: f64 = 0.1;
    segments.sort_by(|a, b| a.start.total_cmp(&b.start));
    let starts: Vec<f64> = segments.iter().map(|segment| segment.start).collect();
    let mut free_from = 0.0;
    for (at, segment) in segments.iter_mut().enumerate() {
        let next = starts.get(at + 1).copied().unwrap_or(seconds).clamp(0.0, seconds);
        segment.start = segment.start.max(free_from).min(seconds);
        segment.end = segment.end.min(next).max(segment.start + SEGMENT_SECONDS_MIN).min(seconds);
        free_from = segment.end;
        let (start, end) = (segment.start, segment.end);
        let mut from = start;
        for word in &mut segment.words {
            word.start = word.start.clamp(from, end);
            word.end = word.end.clamp(word.start, end);
            from = word.end;
        }
    }
    segments
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn segment(start: f64, end: f64, text: &str) -> Segment {
        let words = text
            .split_whitespace()
            .map(|word| Word { start, end, text: format!(" {word}"), probability: 1.0 })
            .collect();
        Segment { start, end, text: text.to_owned(), words, avg_logprob: -0.2, no_speech_prob: 0.0 }
    }

    /// Ten seconds, sound and speech from 2 to 6.
    fn check(segments: Vec<Segment>, wanted: &[&str]) {
        let mut levels = vec![-70.0; 313];
        levels[63..188].fill(-20.0);
        let ground = Ground { levels: &levels, floor: -70.0, speech: &[(2.0, 6.0)], seconds: 10.0 };
        let texts: Vec<String> = believed(segments, &ground).into_iter().map(|segment| segment.text).collect();
        assert_eq!(texts, wanted);
    }

    #[test]
    fn text_without_sound_under_it_is_dropped() {
        check(vec![segment(2.0, 3.0, "heard"), segment(7.5, 9.0, "Thank you for watching")], &["heard"]);
    }

    #[test]
    fn text_the_model_itself_doubts_is_dropped() {
        let doubtful = Segment { no_speech_prob: 0.9, avg_logprob: -1.5, ..segment(2.0, 3.0, "maybe") };
        check(vec![doubtful, segment(3.0, 4.0, "...")], &[]);
    }

    #[test]
    fn loops_in_impossible_time_are_collapsed() {
        check(vec![segment(2.0, 3.0, &"you are ".repeat(20))], &["you are"]);
        check(vec![segment(2.0, 2.2, "so so"), segment(2.2, 2.3, "so so"), segment(2.3, 2.4, "so so")], &["so so"]);
    }

    #[test]
    fn long_loops_are_collapsed_at_any_pace() {
        check(vec![segment(2.0, 6.0, &"we go on now ".repeat(5))], &["we go on now"]);
    }

    #[test]
    fn what_people_do_repeat_stays() {
        check(vec![segment(2.0, 4.0, "five five five five five")], &["five five five five five"]);
        check(vec![segment(2.0, 3.0, "no"), segment(3.0, 4.0, "no"), segment(4.0, 5.0, "no")], &["no", "no", "no"]);
    }

    proptest! {
        #[test]
        fn times_never_overlap_or_leave(times in prop::collection::vec((-5f64..40.0, -5f64..40.0), 0..20)) {
            let segments = times.iter().map(|(start, end)| segment(*start, *end, "a b")).collect();
            let ordered = in_order(segments, 30.0);
            prop_assert_eq!(ordered.len(), times.len());
            prop_assert!(ordered.iter().all(|s| 0.0 <= s.start && s.start <= s.end && s.end <= 30.0));
            prop_assert!(ordered.windows(2).all(|pair| pair[0].end <= pair[1].start));
            prop_assert!(ordered.iter().all(|s| s.words.iter().all(|w| s.start <= w.start && w.start <= w.end && w.end <= s.end)));
        }
    }
}
