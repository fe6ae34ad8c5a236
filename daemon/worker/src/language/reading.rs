//! Subtitle files read: encodings, formats with all their sloppiness, and cues put in order. Pure; knows no file and no stage.

use encoding_rs::{GB18030, UTF_16BE, UTF_16LE, WINDOWS_1252};
use spindle_shared::stage::subtitle::Shape;

use super::atoms::{Widths, atoms};
use super::cues::{Cue, cues as shaped};
use super::lines::{joined, lines};
use super::transcript::{Segment, Transcript};

/// No file of subtitles has more.
const CUES_MAX: usize = 200_000;
/// What follows this closely may be joined.
const CLOSE_MS: u64 = 500;

/// What a subtitle file may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TextFormat {
    /// SubRip and WebVTT: one has commas in its times and the other has not, and neither is sure to.
    Timed,
    Ass,
    Lrc,
}

impl TextFormat {
    pub fn of_name(name: &str) -> Option<Self> {
        match name.rsplit_once('.')?.1.to_lowercase().as_str() {
            "srt" | "vtt" => Some(TextFormat::Timed),
            "ass" | "ssa" => Some(TextFormat::Ass),
            "lrc" => Some(TextFormat::Lrc),
            _ => None,
        }
    }
}

/// What is done with cues on the way.
#[derive(Debug, Clone, PartialEq)]
pub struct Steps {
    pub shift_ms: i64,
    pub rewrap: bool,
    pub merge: bool,
    pub split: bool,
    pub shape: Shape,
}

/// The text and the encoding it was in: what its first bytes say, else UTF-8 where it is that, else Chinese where its high bytes come in pairs,
/// else Western.
pub fn decoded(bytes: &[u8]) -> (String, &'static str) {
    let with_mark = encoding_rs::Encoding::for_bom(bytes);
    if let Some((encoding, mark)) = with_mark {
        return (encoding.decode_without_bom_handling(&bytes[mark..]).0.into_owned(), encoding.name());
    }
    let head = &bytes[..bytes.len().min(4_096)];
    let zeros = |odd: usize| head.iter().skip(odd).step_by(2).filter(|byte| **byte == 0).count();
    for (encoding, zeros) in [(UTF_16LE, zeros(1)), (UTF_16BE, zeros(0))] {
        if zeros * 4 > head.len() {
            return (encoding.decode_without_bom_handling(bytes).0.into_owned(), encoding.name());
        }
    }
    if let Ok(text) = std::str::from_utf8(bytes) {
        return (text.to_owned(), "UTF-8");
    }
    let high = |at: usize| bytes.get(at).is_some_and(|byte| *byte >= 0x80);
    let all = (0..bytes.len()).filter(|at| high(*at)).count();
    let paired =
        (0..bytes.len()).filter(|at| high(*at) && (high(at + 1) || at.checked_sub(1).is_some_and(high))).count();
    if paired * 5 >= all * 4
        && let Some(text) = GB18030.decode_without_bom_handling_and_without_replacement(bytes)
    {
        return (text.into_owned(), GB18030.name());
    }
    (WINDOWS_1252.decode_without_bom_handling(bytes).0.into_owned(), WINDOWS_1252.name())
}

/// The cues as the file has them, and how many could not be read.
pub fn cues(format: TextFormat, text: &str) -> (Vec<Cue>, usize) {
    match format {
        TextFormat::Timed => timed(text),
        TextFormat::Ass => ass(text),
        TextFormat::Lrc => lrc(text),
    }
}

/// Of a track that lies in a video.
pub fn of_track(track: impl Iterator<Item = (i64, i64, String)>) -> Vec<Cue> {
    track.filter_map(|(start, end, text)| cue(start.max(0).unsigned_abs(), end.max(0).unsigned_abs(), &text)).collect()
}

fn cue(start_ms: u64, end_ms: u64, text: &str) -> Option<Cue> {
    let lines: Vec<String> = text.lines().map(without_tags).filter(|line| !line.is_empty()).collect();
    (!lines.is_empty() && end_ms > start_ms).then(|| Cue { start_ms, end_ms, text: lines.join(" "), lines })
}

fn timed(text: &str) -> (Vec<Cue>, usize) {
    let lines: Vec<&str> = text.lines().collect();
    let arrows: Vec<usize> = (0..lines.len()).filter(|at| lines[*at].contains("-->")).collect();
    let (mut found, mut left_out) = (Vec::new(), 0);
    for (number, at) in arrows.iter().enumerate().take(CUES_MAX) {
        let end = arrows.get(number + 1).copied().unwrap_or(lines.len());
        // A blank line ends a cue; where there is none, so does the number before the next one's times.
        let body = &lines[at + 1..end];
        let body = &body[..body.iter().position(|line| line.trim().is_empty()).unwrap_or(body.len())];
        let runs_into_next = end < lines.len() && body.len() == end - at - 1;
        let body = match body.split_last() {
            Some((last, before)) if runs_into_next && last.trim().bytes().all(|b| b.is_ascii_digit()) => before,
            _ => body,
        };
        let times = lines[*at].split_once("-->").and_then(|(start, end)| {
            // WebVTT's settings stand behind the second time.
            Some((clock(start)?, clock(end.split_whitespace().next()?)?))
        });
        match times.and_then(|(start, end)| cue(start, end, &body.join("\n"))) {
            Some(cue) => found.push(cue),
            None => left_out += 1,
        }
    }
    (found, left_out)
}

fn ass(text: &str) -> (Vec<Cue>, usize) {
    let (mut found, mut left_out) = (Vec::new(), 0);
    for line in text.lines().filter_map(|line| line.trim_start().strip_prefix("Dialogue:")).take(CUES_MAX) {
        let mut parts = line.splitn(10, ',');
        let (start, end) = (parts.nth(1).and_then(clock), parts.next().and_then(clock));
        let text = parts.nth(6).map(without_marks);
        match (start, end, text) {
            (Some(start), Some(end), Some(text)) => match cue(start, end, &text) {
                Some(cue) => found.push(cue),
                None => left_out += 1,
            },
            _ => left_out += 1,
        }
    }
    (found, left_out)
}

/// A line is shown until the next one, the last for five seconds.
fn lrc(text: &str) -> (Vec<Cue>, usize) {
    let mut lines: Vec<(u64, String)> = Vec::new();
    for line in text.lines().take(CUES_MAX) {
        let (mut rest, mut times) = (line.trim(), Vec::new());
        while let Some((mark, after)) = rest.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let Some(time) = clock(mark) else { break };
            times.push(time);
            rest = after;
        }
        lines.extend(times.into_iter().map(|time| (time, rest.trim().to_owned())));
    }
    lines.sort_by_key(|(time, _)| *time);
    let ends: Vec<u64> = lines.iter().skip(1).map(|(time, _)| *time).chain([u64::MAX]).collect();
    let found =
        lines.iter().zip(ends).filter_map(|((start, text), end)| cue(*start, end.min(start + 5_000), text)).collect();
    (found, 0)
}

/// `1:02:03,456`, `02:03.45`, `02:03`: milliseconds.
fn clock(text: &str) -> Option<u64> {
    let text = text.trim();
    let (whole, part) = text.split_once(['.', ',']).unwrap_or((text, "0"));
    let digits = |text: &str| {
        (!text.is_empty() && text.len() <= 6 && text.bytes().all(|b| b.is_ascii_digit()))
            .then(|| text.parse::<u64>().ok())
            .flatten()
    };
    let mut seconds = 0;
    let parts: Vec<&str> = whole.split(':').collect();
    if !(2..=3).contains(&parts.len()) {
        return None;
    }
    for part in parts {
        seconds = seconds * 60 + digits(part.trim())?;
    }
    let part: String = part.chars().chain("000".chars()).take(3).collect();
    Some(seconds * 1_000 + digits(&part)?)
}

/// A line of SubRip or WebVTT as it is read: without tags, with its entities resolved.
fn without_tags(line: &str) -> String {
    let mut out = String::with_capacity(line.len());
    let mut rest = line;
    while let Some(at) = rest.find('<') {
        let (before, after) = rest.split_at(at);
        out.push_str(before);
        let is_tag = after[1..].starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
        match after.find('>').filter(|_| is_tag) {
            Some(end) => rest = &after[end + 1..],
            None => {
                out.push('<');
                rest = &after[1..];
            }
        }
    }
    out.push_str(rest);
    let out = without_marks(&out);
    let out = out.replace("&nbsp;", " ").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&");
    out.trim().to_owned()
}

/// A text of ASS without its marks; SubRip files borrow some.
pub fn without_marks(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut characters = text.chars().peekable();
    while let Some(c) = characters.next() {
        match (c, characters.peek()) {
            ('{', Some('\\')) => while characters.next().is_some_and(|c| c != '}') {},
            ('\\', Some('N' | 'n')) => {
                characters.next();
                out.push('\n');
            }
            ('\\', Some('h')) => {
                characters.next();
                out.push(' ');
            }
            _ => out.push(c),
        }
    }
    out
}

/// Shifted, in order, without overlaps, and shaped as was asked for.
pub fn in_order(mut cues: Vec<Cue>, steps: &Steps) -> Vec<Cue> {
    let shift =
        |ms: u64| u64::try_from(i64::try_from(ms).unwrap_or(i64::MAX).saturating_add(steps.shift_ms)).unwrap_or(0);
    for cue in &mut cues {
        (cue.start_ms, cue.end_ms) = (shift(cue.start_ms), shift(cue.end_ms));
    }
    cues.retain(|cue| cue.end_ms > cue.start_ms);
    cues.sort_by_key(|cue| cue.start_ms);
    let mut cues = without_overlaps(cues);
    if steps.merge {
        cues = merged(cues, &steps.shape);
    }
    if steps.split {
        cues = cues.into_iter().flat_map(|cue| split(cue, &steps.shape)).collect();
    }
    if steps.rewrap {
        for cue in &mut cues {
            rewrap(cue, &steps.shape);
        }
    }
    cues
}

/// Players show one cue at a time: an earlier one ends where the next begins, and what begins together stands together.
fn without_overlaps(cues: Vec<Cue>) -> Vec<Cue> {
    let mut kept: Vec<Cue> = Vec::with_capacity(cues.len());
    for cue in cues {
        match kept.last_mut() {
            Some(before) if before.start_ms == cue.start_ms => {
                before.end_ms = before.end_ms.max(cue.end_ms);
                before.lines.extend(cue.lines);
                before.text = before.lines.join(" ");
            }
            Some(before) => {
                before.end_ms = before.end_ms.min(cue.start_ms);
                kept.push(cue);
            }
            None => kept.push(cue),
        }
    }
    kept
}

fn merged(cues: Vec<Cue>, shape: &Shape) -> Vec<Cue> {
    let room = (shape.lines_max * shape.line_chars_max) as usize;
    let mut kept: Vec<Cue> = Vec::with_capacity(cues.len());
    for cue in cues {
        match kept.last_mut() {
            Some(before)
                if cue.start_ms - before.end_ms.min(cue.start_ms) <= CLOSE_MS
                    && columns(&before.text) + 1 + columns(&cue.text) <= room
                    && cue.end_ms - before.start_ms <= u64::from(shape.cue_ms_max) =>
            {
                before.end_ms = cue.end_ms;
                before.lines.extend(cue.lines);
                before.text = joined_texts(&before.text, &cue.text);
                if before.lines.len() > shape.lines_max as usize {
                    rewrap(before, shape);
                }
            }
            _ => kept.push(cue),
        }
    }
    kept
}

fn joined_texts(one: &str, other: &str) -> String {
    format!("{one} {other}")
}

fn columns(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}

fn split(cue: Cue, shape: &Shape) -> Vec<Cue> {
    let room = (shape.lines_max * shape.line_chars_max) as usize;
    let long = cue.end_ms - cue.start_ms > u64::from(shape.cue_ms_max) || cue.lines.len() > shape.lines_max as usize;
    if !long && columns(&cue.text) <= room {
        return vec![cue];
    }
    let parts = shaped(&transcript(std::slice::from_ref(&cue)), shape);
    if parts.is_empty() { vec![cue] } else { parts }
}

fn rewrap(cue: &mut Cue, shape: &Shape) {
    let widths = Widths { spaced: shape.line_chars_max as usize, cjk: 2 * shape.line_cjk_max as usize };
    let atoms = atoms(&transcript(std::slice::from_ref(cue)), widths);
    if atoms.is_empty() {
        return;
    }
    let all = atoms.iter().map(|atom| atom.columns + usize::from(atom.space_before)).sum();
    let width = widths.of(all, atoms.iter().map(|atom| atom.cjk_columns).sum());
    cue.lines = lines(&atoms, width);
    cue.text = joined(&atoms);
}

/// One segment for each cue, for the formats that hold transcripts.
pub fn transcript(cues: &[Cue]) -> Transcript {
    let seconds = |ms: u64| ms as f64 / 1_000.0;
    Transcript {
        language: "und".to_owned(),
        duration: cues.last().map_or(0.0, |cue| seconds(cue.end_ms)),
        segments: cues
            .iter()
            .map(|cue| Segment {
                start: seconds(cue.start_ms),
                end: seconds(cue.end_ms),
                text: cue.text.clone(),
                ..Segment::default()
            })
            .collect(),
        ..Transcript::default()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn told(cues: &[Cue]) -> Vec<(u64, u64, String)> {
        cues.iter().map(|cue| (cue.start_ms, cue.end_ms, cue.lines.join("|"))).collect()
    }

    fn steps() -> Steps {
        Steps { shift_ms: 0, rewrap: false, merge: false, split: false, shape: Shape::STANDARD }
    }

    #[test]
    fn encodings_are_told_apart() {
        let chinese = "你好，世界。这是字幕";
        let (gb, _, _) = GB18030.encode(chinese);
        let (western, _, _) = WINDOWS_1252.encode("Félicité, où es-tu? Être à la forêt");
        let utf16: Vec<u8> = "Hello, 世界 subtitle".encode_utf16().flat_map(u16::to_le_bytes).collect();
        let marked: Vec<u8> = [0xfe, 0xff].into_iter().chain("é".encode_utf16().flat_map(u16::to_be_bytes)).collect();
        for (bytes, text, encoding) in [
            (chinese.as_bytes(), chinese, "UTF-8"),
            (&gb, chinese, "gb18030"),
            (&western, "Félicité, où es-tu? Être à la forêt", "windows-1252"),
            (&utf16, "Hello, 世界 subtitle", "UTF-16LE"),
            (&marked, "é", "UTF-16BE"),
            ("\u{feff}a".as_bytes(), "a", "UTF-8"),
        ] {
            assert_eq!(decoded(bytes), (text.to_owned(), encoding));
        }
    }

    #[test]
    fn formats_are_read_with_their_sloppiness() {
        let srt = "\u{feff}1\r\n00:00:01,000 --> 00:00:02,5\r\n<i>Hi</i> {\\an8}there\r\n2 < 3\r\n\r\n2\r\n0:1:0,000-->0:1:1,000\r\nno blank\r\n3\r\n00:02:00,000 --> 00:02:01,000\r\nend";
        let (cues, left_out) = cues(TextFormat::Timed, srt);
        assert_eq!(left_out, 0);
        assert_eq!(
            told(&cues),
            [
                (1_000, 2_500, "Hi there|2 < 3".to_owned()),
                (60_000, 61_000, "no blank".to_owned()),
                (120_000, 121_000, "end".to_owned())
            ]
        );
        let vtt = "WEBVTT\n\nNOTE a --\n\nid\n01:00.500 --> 01:02.000 line:0 position:20%\n<v Ann>A &amp; B</v>\n\n00:05.000 --> 00:04.000\nback\n";
        let (found, left_out) = super::cues(TextFormat::Timed, vtt);
        assert_eq!((told(&found), left_out), (vec![(60_500, 62_000, "A & B".to_owned())], 1));
        let ass = "[Events]\nDialogue: 0,0:00:01.50,0:00:03.00,Default,,0,0,0,,{\\b1}One,{\\b0} two\\Nthree\nComment: 0,0:00:01.50,0:00:03.00,,,0,0,0,,no";
        assert_eq!(told(&super::cues(TextFormat::Ass, ass).0), [(1_500, 3_000, "One, two|three".to_owned())]);
        let lrc = "[ti:Song]\n[00:02.00][00:10.50]La\n[00:04.00]Lo";
        let wanted =
            [(2_000, 4_000, "La".to_owned()), (4_000, 9_000, "Lo".to_owned()), (10_500, 15_500, "La".to_owned())];
        assert_eq!(told(&super::cues(TextFormat::Lrc, lrc).0), wanted);
    }

    #[test]
    fn cues_are_shifted_merged_split_and_rewrapped() {
        let (found, _) = cues(
            TextFormat::Timed,
            "00:00:01,000 --> 00:00:02,000\na\n\n00:00:02,100 --> 00:00:03,000\nb\n\n00:00:02,500 --> 00:00:09,000\nc\n",
        );
        let shifted = in_order(found.clone(), &Steps { shift_ms: -1_500, ..steps() });
        assert_eq!(told(&shifted), [(0, 500, "a".into()), (600, 1_000, "b".into()), (1_000, 7_500, "c".into())]);
        let merged = in_order(found, &Steps { merge: true, ..steps() });
        assert_eq!(told(&merged), [(1_000, 2_500, "a|b".into()), (2_500, 9_000, "c".into())]);
        let long = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen, and more of it";
        let (found, _) = cues(TextFormat::Timed, &format!("00:00:00,000 --> 00:00:12,000\n{long}\n"));
        let split = in_order(found.clone(), &Steps { split: true, ..steps() });
        assert!(split.len() > 1 && split.iter().all(|cue| cue.end_ms - cue.start_ms <= 7_000), "{split:?}");
        assert_eq!(split.iter().map(|cue| cue.text.as_str()).collect::<Vec<_>>().join(" "), long);
        let wrapped = in_order(found, &Steps { rewrap: true, ..steps() });
        assert!(wrapped[0].lines.len() > 1 && wrapped[0].lines.iter().all(|line| columns(line) <= 42), "{wrapped:?}");
    }

    proptest! {
        #[test]
        fn whatever_is_read_comes_out_in_order(bytes in proptest::collection::vec(any::<u8>(), 0..300), text in "([0-9]{1,2}:[0-9]{2},[0-9]{1,3} --> [0-9]{1,2}:[0-9]{2}\n.{0,20}\n{0,2}){0,6}", shift in -9_999..9_999i64) {
            let _ = decoded(&bytes);
            for format in [TextFormat::Timed, TextFormat::Ass, TextFormat::Lrc] {
                let (found, _) = cues(format, &text);
                let all = Steps { shift_ms: shift, rewrap: true, merge: true, split: true, shape: Shape::STANDARD };
                let found = in_order(found, &all);
                prop_assert!(found.iter().all(|cue| cue.end_ms > cue.start_ms && !cue.lines.is_empty()));
                prop_assert!(found.windows(2).all(|pair| pair[0].end_ms <= pair[1].start_ms));
            }
        }
    }
}
