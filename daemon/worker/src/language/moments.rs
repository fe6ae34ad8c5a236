//! Key moments from free text: lines that name a time of the video and say what happens then. Knows no model and no JSON.

use serde::{Deserialize, Serialize};

/// Something worth seeing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Moment {
    /// From the beginning of the video.
    pub seconds: f64,
    pub description: String,
    /// 0–1.
    pub confidence: f64,
}

/// Two moments have at least so many seconds between them.
pub const APART_SECONDS: f64 = 5.0;
/// Shorter lines are headings and numbers.
const LINE_CHARS_MIN: usize = 10;
const DESCRIPTION_CHARS_LONG: usize = 30;
const CONFIDENCE: f64 = 0.5;
const FOR_A_WORD: f64 = 0.3;
const FOR_LENGTH: f64 = 0.2;
/// Moments of one text; nobody cuts more out of one video.
const MOMENTS_MAX: usize = 1_000;

const WORDS_CJK: [&str; 7] = ["精彩", "高潮", "亮点", "关键", "重要", "特写", "转折"];
const WORDS: [&str; 5] = ["highlight", "key", "important", "climax", "peak"];

/// The moments that a text names within a video of this length, in order of time.
pub fn from_text(text: &str, duration_seconds: f64) -> Vec<Moment> {
    let mut moments: Vec<Moment> = text
        .lines()
        .filter_map(|line| moment(line.trim()))
        .filter(|moment| moment.seconds < duration_seconds)
        .take(MOMENTS_MAX)
        .collect();
    moments.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    let mut last = f64::NEG_INFINITY;
    moments.retain(|moment| {
        let keep = moment.seconds - last >= APART_SECONDS;
        if keep {
            last = moment.seconds;
        }
        keep
    });
    moments
}

fn moment(line: &str) -> Option<Moment> {
    if line.chars().count() < LINE_CHARS_MIN {
        return None;
    }
    let (seconds, from, to) = first_time(line)?;
    let ornament = |c: char| c.is_whitespace() || c.is_ascii_punctuation() || "，。：；、—–·•（）【】「」".contains(c);
    let before = line[..from].trim_matches(ornament);
    // A list's own number says nothing.
    let before = if before.chars().all(|c| c.is_ascii_digit()) { "" } else { before };
    let after = line[to..].trim_matches(ornament);
    let description = [before, after].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(" ");
    let confidence = CONFIDENCE
        + if has_key_word(&description) { FOR_A_WORD } else { 0.0 }
        + if description.chars().count() > DESCRIPTION_CHARS_LONG { FOR_LENGTH } else { 0.0 };
    Some(Moment { seconds, description, confidence })
}

/// Whether a word stands there that tells of something worth seeing.
pub fn has_key_word(text: &str) -> bool {
    WORDS_CJK.iter().any(|word| text.contains(word))
        || text.split(|c: char| !c.is_ascii_alphabetic()).any(|word| {
            let word = word.to_ascii_lowercase();
            WORDS.iter().any(|key| word == *key || word.strip_suffix('s') == Some(key))
        })
}

/// Seconds of a time that is alone in its text: `01:02:03`, `02:03.5`, `12 s`, `12.5`.
pub fn time(text: &str) -> Option<f64> {
    let text = text.trim();
    match first_time(text) {
        Some((seconds, 0, to)) if to == text.len() => Some(seconds),
        _ => text.parse::<f64>().ok().filter(|seconds| seconds.is_finite()),
    }
}

/// The first time in a line: its seconds, and the bytes it takes.
fn first_time(line: &str) -> Option<(f64, usize, usize)> {
    let bytes = line.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        if !bytes[at].is_ascii_digit() {
            at += 1;
            continue;
        }
        let (group, mut end) = digits(line, at);
        let found = clock(line, group, end).or_else(|| seconds(line, at, end));
        if let Some((seconds, to)) = found {
            return Some((seconds, at, to));
        }
        // The fields of what was no time (`99:99:99`) are none, either.
        while let Some(next) = colon(line, end).filter(|next| line[*next..].starts_with(|c: char| c.is_ascii_digit())) {
            end = digits(line, next).1;
        }
        at = end;
    }
    None
}

/// The digits that begin here, as text, and where they end.
fn digits(line: &str, at: usize) -> (&str, usize) {
    let end = line[at..].find(|c: char| !c.is_ascii_digit()).map_or(line.len(), |end| at + end);
    (&line[at..end], end)
}

/// Where it goes on after a colon of either width.
fn colon(line: &str, at: usize) -> Option<usize> {
    let c = line[at..].chars().next().filter(|c| matches!(c, ':' | '：'))?;
    Some(at + c.len_utf8())
}

/// `HH:MM:SS` or `MM:SS`, with a fraction.
fn clock(line: &str, first: &str, end: usize) -> Option<(f64, usize)> {
    let two = |at: usize| {
        let (group, end) = digits(line, at);
        (group.len() == 2).then(|| Some((group.parse::<f64>().ok()?, end))).flatten().filter(|(value, _)| *value < 60.0)
    };
    let first: f64 = (first.len() <= 3).then(|| first.parse().ok()).flatten()?;
    let (second, end) = two(colon(line, end)?)?;
    let more = colon(line, end).filter(|at| line[*at..].starts_with(|c: char| c.is_ascii_digit()));
    let (whole, end) = match more {
        Some(at) => {
            let (third, end) = two(at)?;
            if colon(line, end).is_some_and(|at| line[at..].starts_with(|c: char| c.is_ascii_digit())) {
                return None;
            }
            (first * 3_600.0 + second * 60.0 + third, end)
        }
        None => (first * 60.0 + second, end),
    };
    let (fraction, end) = fraction(line, end);
    Some((whole + fraction, end))
}

/// `12秒`, `12 s`, `12.5s`, `12 seconds`.
fn seconds(line: &str, at: usize, end: usize) -> Option<(f64, usize)> {
    // `v2.5s` and `3.14.15s` are no times.
    let before = line[..at].chars().next_back();
    if before.is_some_and(|c| c.is_ascii_alphanumeric() || matches!(c, '.' | ':' | '：')) {
        return None;
    }
    let (fraction, after) = fraction(line, end);
    let value = line[at..end].parse::<f64>().ok()? + fraction;
    let unit = line[after..].trim_start_matches(' ');
    let skipped = line.len() - unit.len();
    if unit.starts_with('秒') {
        return Some((value, skipped + '秒'.len_utf8()));
    }
    let word = unit.find(|c: char| !c.is_alphabetic()).map_or(unit, |end| &unit[..end]);
    let known = ["s", "sec", "secs", "second", "seconds"].iter().any(|name| word.eq_ignore_ascii_case(name));
    known.then_some((value, skipped + word.len()))
}

/// `.5` or `,500` behind a number.
fn fraction(line: &str, at: usize) -> (f64, usize) {
    let rest = &line[at..];
    if !rest.starts_with(['.', ',']) || !rest[1..].starts_with(|c: char| c.is_ascii_digit()) {
        return (0.0, at);
    }
    let (group, end) = digits(line, at + 1);
    // Nine places are a nanosecond.
    let places = &group[..group.len().min(9)];
    (places.parse::<f64>().unwrap_or(0.0) / 10_f64.powi(places.len() as i32), end)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Of a line in a video of ten minutes: seconds and confidence.
    fn of(line: &str) -> Option<(f64, f64)> {
        from_text(line, 600.0).first().map(|moment| (moment.seconds, (moment.confidence * 10.0).round() / 10.0))
    }

    #[test]
    fn times_are_found_in_lines_as_people_and_models_write_them() {
        let prose = format!("{} 03:00 a peak", "blah ".repeat(20_000));
        for (line, found) in [
            // The forms.
            ("00:01:30 the goal", Some((90.0, 0.5))),
            ("1:30 the goal falls", Some((90.0, 0.5))),
            ("01:30 - the goal falls", Some((90.0, 0.5))),
            ("90秒 进球的那一刻发生了", Some((90.0, 0.5))),
            ("90 s: the goal", Some((90.0, 0.5))),
            ("90s: the goal", Some((90.0, 0.5))),
            ("at 90 seconds the goal", Some((90.0, 0.5))),
            ("at 12.5 s the goal", Some((12.5, 0.5))),
            ("[00:00:05] opening", Some((5.0, 0.5))),
            ("**02:15** – opening", Some((135.0, 0.5))),
            ("（01：05）开场白介绍内容", Some((65.0, 0.5))),
            ("00:01:30,500 --> 00:01:32", Some((90.5, 0.5))),
            ("  3. 01:05 third point", Some((65.0, 0.5))),
            ("00:10 - 00:20 dancing", Some((10.0, 0.5))),
            ("0:00 the beginning", Some((0.0, 0.5))),
            // Confidence.
            ("01:30 the key scene", Some((90.0, 0.8))),
            ("01:30 KEY SCENE", Some((90.0, 0.8))),
            ("01:30 two highlights", Some((90.0, 0.8))),
            ("01:30 the monkey", Some((90.0, 0.5))),
            ("01:30 keyboard solo", Some((90.0, 0.5))),
            ("90秒 全场的高潮部分来了", Some((90.0, 0.8))),
            ("90秒 重要转折在这里出现", Some((90.0, 0.8))),
            ("01:30 somebody walks slowly through a garden", Some((90.0, 0.7))),
            ("01:30 the climax: somebody walks slowly through", Some((90.0, 1.0))),
            ("01:30 exactly thirty characters here", Some((90.0, 0.5))),
            ("01:30 exactly thirty-one characters..!a", Some((90.0, 0.7))),
            ("01:30 🔥🔥🔥🔥🔥 fire", Some((90.0, 0.5))),
            (prose.as_str(), Some((180.0, 1.0))),
            // None.
            ("01:30 goal", Some((90.0, 0.5))),
            ("01:30 goa", None),
            ("1:30 goal", None),
            ("nothing happens here at all", None),
            ("10:00 beyond the end", None),
            ("09:59 before the end", Some((599.0, 0.5))),
            ("99:99:99 that is no time", None),
            ("01:75 that is no time, either", None),
            ("a picture of 16:9 and 4:3", None),
            ("1:2:3:4 is something else", None),
            ("12:34:56:07 a time code", None),
            ("it scores 12 points in a row", None),
            ("version 2.5s of the program", Some((2.5, 0.5))),
            ("version v2.5s of the program", None),
            ("12 stories about something", None),
            ("1234:56 of no clock known", None),
            ("99999999999999999999 s of time", None),
            ("", None),
        ] {
            assert_eq!(of(line), found, "{}", line.chars().take(60).collect::<String>());
        }
    }

    #[test]
    fn descriptions_are_what_is_left_of_the_line() {
        for (line, description) in [
            ("- [01:30] The goal.", "The goal"),
            ("3. 01:30: The goal", "The goal"),
            ("The goal (01:30) falls", "The goal falls"),
            ("90秒：进球的那一刻发生了。", "进球的那一刻发生了"),
            ("01:30 https://example.org/a", "https://example.org/a"),
        ] {
            assert_eq!(from_text(line, 600.0)[0].description, description, "{line}");
        }
    }

    #[test]
    fn moments_are_five_seconds_apart_and_in_order() {
        let text = "01:00 the second one\n00:10 the first one\n00:14.9 too near to it\n00:15 just far enough\n\n01:04 too near again";
        let seconds: Vec<f64> = from_text(text, 600.0).iter().map(|moment| moment.seconds).collect();
        assert_eq!(seconds, [10.0, 15.0, 60.0]);
    }

    #[test]
    fn a_time_alone_is_read() {
        for (text, seconds) in [
            ("01:30", Some(90.0)),
            (" 12.5 ", Some(12.5)),
            ("7s", Some(7.0)),
            ("1:00:00", Some(3_600.0)),
            ("soon", None),
            ("inf", None),
            ("1:30 x", None),
        ] {
            assert_eq!(time(text), seconds, "{text}");
        }
    }

    proptest! {
        #[test]
        fn no_text_brings_it_down(text in "\\PC*", duration in any::<f64>()) {
            let _ = from_text(&text, duration);
        }

        #[test]
        fn whatever_is_found_is_in_the_video_apart_and_surely_no_surer_than_sure(
            lines in proptest::collection::vec("[0-9]{1,3}[:：.,s秒 ]{0,2}[0-9]{0,2}[:s秒 ]{0,2}[0-9]{0,2}.{0,50}", 0..40),
            duration in 0.0..4_000.0f64,
        ) {
            let moments = from_text(&lines.join("\n"), duration);
            for moment in &moments {
                prop_assert!((0.0..duration).contains(&moment.seconds));
                prop_assert!((0.5..=1.0).contains(&moment.confidence));
            }
            prop_assert!(moments.windows(2).all(|pair| pair[1].seconds - pair[0].seconds >= APART_SECONDS));
        }
    }
}
