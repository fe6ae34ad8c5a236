//! A report without a model: the recording's own sentences, put in order by its scenes and pauses, and the most telling of them. Says nothing
//! that was not said.

use std::collections::HashMap;

use super::lesson::{Lesson, Section, Timestamp, one_line};
use super::rank;
use crate::highlights::analysis::Scene;
use crate::language::atoms::{Border, Widths, atoms};
use crate::language::script::is_cjk;
use crate::language::transcript::Transcript;

/// A sentence is over where nobody speaks for so long, whatever signs there are.
const PAUSE_SECONDS: f64 = 1.5;
/// Without a sign of its end it ends with a clause or a phrase after so long, and with any word after twice that.
const SENTENCE_SECONDS: f64 = 15.0;
/// Longer than any word: nothing is broken in lines here.
const UNBROKEN: Widths = Widths { spaced: 10_000, cjk: 10_000 };
const SECTIONS_MAX: usize = 12;
const SECTION_SECONDS_MIN: f64 = 20.0;
/// Two sections for each so many seconds, more or less.
const SECTION_SECONDS: f64 = 90.0;
const POINTS: usize = 3;
const SUMMARY_SENTENCES: usize = 4;
const KEYWORDS: usize = 6;
const TITLE_CHARS: usize = 60;
/// A pause of the speech counts for a border as a scene change does where it is so long.
const PAUSE_WORTH_SECONDS: f64 = 2.0;

#[derive(Debug, Clone, PartialEq)]
struct Sentence {
    start: f64,
    end: f64,
    text: String,
}

/// What is made of it without a model. `title`: what the recording is called.
pub fn lesson(title: &str, seconds: f64, scenes: &[Scene], transcript: &Transcript) -> Lesson {
    let sentences = sentences(transcript);
    let borders = borders(seconds, scenes, &sentences);
    let content_sections = sections(&borders, &sentences);
    let best = best(&sentences, SUMMARY_SENTENCES);
    let summary: Vec<&str> = best.iter().map(|at| sentences[*at].text.as_str()).collect();
    let mut important_timestamps: Vec<Timestamp> = match sentences.is_empty() {
        false => best.iter().map(|at| moment(&sentences[*at])).collect(),
        true => scenes
            .iter()
            .take(SECTIONS_MAX)
            .map(|scene| Timestamp { seconds: scene.start_time, description: seen(scene) })
            .collect(),
    };
    important_timestamps.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    Lesson {
        title: one_line(title),
        duration: seconds,
        summary: joined(&summary),
        content_sections,
        important_timestamps,
        tags: keywords(&sentences),
        takeaways: summary.iter().map(|text| one_line(text)).collect(),
        ..Lesson::default()
    }
}

fn moment(sentence: &Sentence) -> Timestamp {
    Timestamp { seconds: sentence.start, description: one_line(&sentence.text) }
}

fn seen(scene: &Scene) -> String {
    match scene.motion {
        lively if lively > 0.6 => "a lively scene".to_owned(),
        _ => "a new scene".to_owned(),
    }
}

/// Texts one after the other, with a space where their script has one.
fn joined(texts: &[&str]) -> String {
    let mut whole = String::new();
    for text in texts {
        let glued = whole.chars().next_back().is_some_and(|last| is_cjk(&last.to_string()));
        if !whole.is_empty() && !glued {
            whole.push(' ');
        }
        whole.push_str(text.trim());
    }
    whole
}

/// Whole sentences: a phrase of the transcript may hold several, and end in the middle of one.
fn sentences(transcript: &Transcript) -> Vec<Sentence> {
    let mut sentences: Vec<Sentence> = Vec::new();
    let mut open: Option<Sentence> = None;
    for atom in atoms(transcript, UNBROKEN) {
        let (start, end) = (atom.start_ms as f64 / 1_000.0, atom.end_ms as f64 / 1_000.0);
        let mut sentence = match open.take() {
            Some(sentence) if start - sentence.end < PAUSE_SECONDS => sentence,
            before => {
                sentences.extend(before);
                Sentence { start, end, text: String::new() }
            }
        };
        if atom.space_before && !sentence.text.is_empty() {
            sentence.text.push(' ');
        }
        sentence.text.push_str(&atom.text);
        sentence.end = end;
        let seconds = end - sentence.start;
        let is_over = match atom.after {
            Border::Sentence => true,
            Border::Clause | Border::Segment => seconds > SENTENCE_SECONDS,
            _ => seconds > 2.0 * SENTENCE_SECONDS,
        };
        match is_over {
            true => sentences.push(sentence),
            false => open = Some(sentence),
        }
    }
    sentences.extend(open);
    sentences
}

/// Where sections begin: the strongest of scene changes and pauses, far enough apart.
fn borders(seconds: f64, scenes: &[Scene], sentences: &[Sentence]) -> Vec<f64> {
    let pauses = sentences.windows(2).map(|pair| (pair[1].start, pair[1].start - pair[0].end));
    let mut found: Vec<(f64, f64)> = pauses.filter(|(_, pause)| *pause >= PAUSE_SECONDS).collect();
    for scene in scenes.iter().filter(|scene| scene.start_time > 0.0) {
        // A scene that changes in the middle of a sentence begins nothing.
        let inside = sentences.iter().any(|s| s.start + 0.3 < scene.start_time && scene.start_time < s.end - 0.3);
        match found.iter_mut().find(|(at, _)| (*at - scene.start_time).abs() < PAUSE_SECONDS) {
            Some((_, worth)) => *worth += PAUSE_WORTH_SECONDS,
            None if !inside => found.push((scene.start_time, PAUSE_WORTH_SECONDS / 2.0)),
            None => {}
        }
    }
    found.sort_by(|a, b| b.1.total_cmp(&a.1).then(a.0.total_cmp(&b.0)));
    let wanted = ((seconds / SECTION_SECONDS).ceil() as usize * 2).clamp(1, SECTIONS_MAX);
    let apart = SECTION_SECONDS_MIN.max(seconds / (2.0 * SECTIONS_MAX as f64)).min(seconds / 2.0);
    let mut borders = vec![0.0];
    for (at, _) in found {
        if borders.len() < wanted
            && borders.iter().all(|border| (border - at).abs() >= apart)
            && seconds - at >= apart / 2.0
        {
            borders.push(at);
        }
    }
    borders.sort_by(f64::total_cmp);
    borders
}

fn sections(borders: &[f64], sentences: &[Sentence]) -> Vec<Section> {
    let ends = borders.iter().skip(1).copied().chain([f64::INFINITY]);
    let sections = borders.iter().zip(ends).map(|(start, end)| {
        let inside: Vec<Sentence> =
            sentences.iter().filter(|sentence| (*start..end).contains(&sentence.start)).cloned().collect();
        let best = best(&inside, POINTS);
        let texts: Vec<&str> = inside.iter().map(|sentence| sentence.text.as_str()).collect();
        let heaviest = heaviest(&inside);
        Section {
            title: heaviest.map(|at| clipped(&inside[at].text)).unwrap_or_default(),
            content: joined(&texts),
            timestamp_seconds: *start,
            key_points: match inside.len() > POINTS {
                true => best.iter().map(|at| one_line(&inside[*at].text)).collect(),
                // They are all of it.
                false => Vec::new(),
            },
        }
    });
    sections.filter(|section| !section.content.is_empty()).collect()
}

fn clipped(text: &str) -> String {
    let text = one_line(text);
    match text.char_indices().nth(TITLE_CHARS) {
        Some((cut, _)) => {
            let whole_words = text[..cut].rfind(' ').filter(|space| *space > cut / 2).unwrap_or(cut);
            format!("{}…", &text[..whole_words])
        }
        None => text,
    }
}

fn ranks(sentences: &[Sentence]) -> Vec<f64> {
    rank::rank(&sentences.iter().map(|sentence| rank::words(&sentence.text)).collect::<Vec<_>>())
}

fn heaviest(sentences: &[Sentence]) -> Option<usize> {
    let ranks = ranks(sentences);
    (0..sentences.len()).max_by(|a, b| ranks[*a].total_cmp(&ranks[*b]).then(b.cmp(a)))
}

/// The most telling sentences, in order of time.
fn best(sentences: &[Sentence], most: usize) -> Vec<usize> {
    let ranks = ranks(sentences);
    let mut order: Vec<usize> = (0..sentences.len()).collect();
    order.sort_by(|a, b| ranks[*b].total_cmp(&ranks[*a]).then(a.cmp(b)));
    order.truncate(most);
    order.sort_unstable();
    order
}

/// The words that most sentences have.
fn keywords(sentences: &[Sentence]) -> Vec<String> {
    let mut counts: HashMap<String, usize> = HashMap::new();
    for word in sentences.iter().flat_map(|sentence| rank::words(&sentence.text)) {
        *counts.entry(word).or_default() += 1;
    }
    let mut words: Vec<(String, usize)> = counts.into_iter().filter(|(_, count)| *count > 1).collect();
    words.sort_by(|a, b| b.1.cmp(&a.1).then(a.0.cmp(&b.0)));
    words.into_iter().take(KEYWORDS).map(|(word, _)| word).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::transcript::Segment;

    fn said(texts: &[(f64, f64, &str)]) -> Transcript {
        let segments = texts.iter().map(|(start, end, text)| Segment {
            start: *start,
            end: *end,
            text: (*text).to_owned(),
            ..Segment::default()
        });
        Transcript { segments: segments.collect(), ..Transcript::default() }
    }

    #[test]
    fn sections_begin_at_pauses_and_scenes_and_hold_every_sentence_once() {
        let transcript = said(&[
            (0.0, 4.0, "Glaciers carry stones"),
            (4.0, 8.0, "down the valley."),
            (8.5, 20.0, "The stones are round."),
            (50.0, 55.0, "Now to the rivers."),
            (55.0, 62.0, "A river carries sand and stones."),
        ]);
        let scene = |start_time: f64| Scene { start_time, ..Scene::default() };
        let lesson = lesson("talk: one\n", 100.0, &[scene(0.0), scene(6.0), scene(49.5)], &transcript);
        assert_eq!(lesson.title, "talk: one");
        let starts: Vec<f64> = lesson.content_sections.iter().map(|section| section.timestamp_seconds).collect();
        assert_eq!(starts, [0.0, 50.0]);
        assert_eq!(lesson.content_sections[0].content, "Glaciers carry stones down the valley. The stones are round.");
        assert!(lesson.tags.contains(&"stones".to_owned()), "{:?}", lesson.tags);
        assert!(
            !lesson.summary.is_empty() && lesson.important_timestamps.windows(2).all(|w| w[0].seconds <= w[1].seconds)
        );
    }

    #[test]
    fn key_sentences_are_whole_however_the_model_cut_its_phrases() {
        let transcript = said(&[
            (0.0, 6.0, "Dr. Agassiz looked at glaciers. A glacier moves"),
            (6.0, 12.0, "about 3.5 metres a day! Nobody"),
            (12.0, 14.0, "believed him?"),
        ]);
        let texts: Vec<String> = sentences(&transcript).into_iter().map(|sentence| sentence.text).collect();
        let whole =
            ["Dr. Agassiz looked at glaciers.", "A glacier moves about 3.5 metres a day!", "Nobody believed him?"];
        assert_eq!(texts, whole);
        let starts: Vec<f64> = sentences(&transcript).iter().map(|sentence| sentence.start.floor()).collect();
        assert!(starts[0] == 0.0 && (3.0..6.0).contains(&starts[1]) && (9.0..12.0).contains(&starts[2]), "{starts:?}");
        let chinese = said(&[(0.0, 5.0, "冰川搬运石头。河流"), (5.0, 9.0, "穿过山谷。")]);
        let texts: Vec<String> = sentences(&chinese).into_iter().map(|sentence| sentence.text).collect();
        assert_eq!(texts, ["冰川搬运石头。", "河流穿过山谷。"]);
        // Without any sign none goes on for ever.
        let endless: Vec<(f64, f64, &str)> =
            (0..40).map(|at| (f64::from(at) * 3.0, f64::from(at) * 3.0 + 3.0, "and so it goes")).collect();
        let long = sentences(&said(&endless));
        assert!(long.iter().all(|sentence| sentence.end - sentence.start <= 19.0) && long.len() > 5, "{long:?}");
    }

    #[test]
    fn silence_leaves_the_scenes() {
        let scene = |start_time: f64, motion: f64| Scene { start_time, motion, ..Scene::default() };
        let lesson = lesson("x", 30.0, &[scene(0.0, 1.0), scene(10.0, 0.1)], &Transcript::default());
        assert!(lesson.content_sections.is_empty() && lesson.summary.is_empty());
        assert_eq!(lesson.important_timestamps.len(), 2);
    }
}
