//! One window, heard: the model's passes over it, and the segments that are believed. Knows no run and no file.

use std::sync::atomic::AtomicBool;

use spindle_shared::stage::decode::SAMPLE_RATE;

use crate::language::transcript::{Segment, Word};

use super::belief::{self, Ground};
use super::model::{ListenError, Listener, Manner, Phrase};
use super::recording::seconds;
use super::voice::{self, FRAME_SECONDS};
use super::window::{Window, frame_at};
use super::words;

/// A second pass is worth its time where this much speech is left.
const LEFT_SECONDS_MIN: f64 = 0.5;
/// Sound before the speech that a later pass begins with.
const LEAD_SECONDS: f64 = 0.3;
/// Passes over one window; each goes on behind what the one before it heard.
const PASSES_MAX: usize = 4;
/// A phrase's time may reach this far beyond its sound.
const MARGIN_SECONDS: f64 = 0.06;
/// Louder than the floor by this is sound.
const SOUND_DB: f32 = 4.0;
/// Quieter than a phrase's loudest moment by this is none of its sound, whatever the floor is.
const PHRASE_DB: f32 = 35.0;

/// The segments of a window, in seconds of the recording. `samples` are the window's.
pub fn window(
    listener: &mut Listener,
    samples: &[f32],
    window: &Window,
    manner: &Manner,
    stop: &AtomicBool,
) -> Result<Vec<Segment>, ListenError> {
    let offset = seconds(window.start);
    let length = samples.len() as f64 / f64::from(SAMPLE_RATE);
    let speech: Vec<(f64, f64)> =
        window.speech.iter().map(|range| (seconds(range.start) - offset, seconds(range.end) - offset)).collect();
    let levels: Vec<f32> = voice::levels(samples, 0).collect();

    let mut segments: Vec<Segment> = Vec::new();
    let mut from = 0.0;
    for _ in 0..PASSES_MAX {
        let phrases = listener.listen(samples, centiseconds(from), centiseconds(length), manner, stop)?;
        let Some(last) = phrases.last() else { break };
        let heard_until = (last.end as f64 / 100.0).max(from);
        segments.extend(phrases.iter().map(|phrase| segment(phrase, &levels, window.floor, length)));
        let left: f64 =
            speech.iter().map(|(start, end)| (end - start.max(heard_until + MARGIN_SECONDS)).max(0.0)).sum();
        let next = speech.iter().find(|(_, end)| *end > heard_until + MARGIN_SECONDS);
        match next {
            Some((start, _)) if left >= LEFT_SECONDS_MIN && heard_until > from => {
                from = heard_until.max(start - LEAD_SECONDS);
            }
            _ => break,
        }
    }
    let ground = Ground { levels: &levels, floor: window.floor, speech: &speech, seconds: length };
    let mut segments = belief::believed(segments, &ground);
    // In whole milliseconds, which come back from a checkpoint exactly as they were.
    let placed = |time: &mut f64| *time = ((*time + offset) * 1_000.0).round() / 1_000.0;
    for segment in &mut segments {
        placed(&mut segment.start);
        placed(&mut segment.end);
        for word in &mut segment.words {
            placed(&mut word.start);
            placed(&mut word.end);
        }
    }
    Ok(segments)
}

/// A phrase with its words, its times drawn in to where the sound is.
fn segment(phrase: &Phrase, levels: &[f32], floor: f32, length: f64) -> Segment {
    let pieces = words::words(&phrase.tokens);
    let (start, end) = drawn_in(phrase.start as f64 / 100.0, phrase.end as f64 / 100.0, levels, floor, length);
    let own = &levels[frame_at(start).min(levels.len())..frame_at(end).min(levels.len())];
    // A pause between words is far below the phrase's own loudness, whatever the floor is.
    let loudest = own.iter().copied().fold(voice::SILENCE_DB, f32::max);
    let times = words::times(&pieces, start, end, own, (loudest - 30.0).max(floor + SOUND_DB), FRAME_SECONDS);
    let log_probabilities = phrase.tokens.iter().map(|token| token.log_probability);
    Segment {
        start,
        end,
        text: pieces.iter().map(|piece| piece.text.as_str()).collect::<String>().trim().to_owned(),
        avg_logprob: log_probabilities.sum::<f32>() / phrase.tokens.len().max(1) as f32,
        no_speech_prob: phrase.no_speech,
        words: pieces
            .into_iter()
            .zip(times)
            .map(|(piece, (start, end))| Word { start, end, text: piece.text, probability: piece.probability })
            .collect(),
    }
}

/// Silence at a phrase's ends is none of it, nor is the last sound of the phrase before: whisper.cpp lets a phrase begin where the one before
/// it ended.
fn drawn_in(start: f64, end: f64, levels: &[f32], floor: f32, length: f64) -> (f64, f64) {
    /// What sounds no longer than this at the very start, with a pause behind it, was the phrase before: 190 ms.
    const REMNANT_FRAMES: usize = 6;
    /// And that pause is at least this long: 100 ms.
    const PAUSE_FRAMES: usize = 3;
    let start = start.clamp(0.0, length);
    let end = end.clamp(start, length);
    let first = frame_at(start).min(levels.len());
    let last = frame_at(end).clamp(first, levels.len());
    let loudest = levels[first..last].iter().copied().fold(voice::SILENCE_DB, f32::max);
    let sound = (loudest - PHRASE_DB).max(floor + SOUND_DB);
    let loud = |at: &usize| levels[*at] > sound;
    let remnant = (first..last.min(first + REMNANT_FRAMES)).take_while(loud).count();
    let pause = (first + remnant..last).take_while(|at| !loud(at)).count();
    let from = if remnant < REMNANT_FRAMES && pause >= PAUSE_FRAMES { first + remnant } else { first };
    let found = ((from..last).find(loud).or((first..last).find(loud)), (first..last).rev().find(loud));
    match found {
        (Some(from), Some(until)) => (
            start.max(from as f64 * FRAME_SECONDS - MARGIN_SECONDS),
            end.min((until + 1) as f64 * FRAME_SECONDS + MARGIN_SECONDS),
        ),
        _ => (start, end),
    }
}

fn centiseconds(seconds: f64) -> i64 {
    (seconds * 100.0).round() as i64
}
