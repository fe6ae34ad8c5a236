//! Shapes a transcript into cues: what stands on the screen from when to when. Pure; knows no format.
//!
//! The text is cut where the sum of all costs is least (a shortest path over the places where it may be cut): every cue has its
//! price, a cut at the end of a sentence is free, at a clause cheap, within a phrase dear, and a longer silence makes any cut
//! cheaper. What a cue may hold at most is no cost but a wall.

use spindle_shared::stage::subtitle::Shape;

use super::atoms::{Atom, Border, Widths, atoms, duration_ms};
use super::lines::{Filler, joined, lines};
use super::transcript::Transcript;

/// What stands on the screen from when to when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cue {
    pub start_ms: u64,
    pub end_ms: u64,
    /// Never empty, and no line is.
    pub lines: Vec<String>,
    /// The lines as one.
    pub text: String,
}

/// Every word of the transcript, in order, in cues that keep to the shape.
///
/// A recording too short to give every cue a millisecond of its own is treated as long enough for that.
pub fn cues(transcript: &Transcript, shape: &Shape) -> Vec<Cue> {
    let limits = Limits::of(shape);
    let atoms = atoms(transcript, limits.piece);
    let duration = duration_ms(transcript);
    let spans = spans(&atoms, &limits, shape, duration);
    let times = times(&atoms, &spans, shape, duration);
    spans
        .iter()
        .zip(times)
        .map(|(&(from, to), (start_ms, end_ms))| {
            let atoms = &atoms[from..to];
            let width = limits.line.of(columns(atoms), atoms.iter().map(|atom| atom.cjk_columns).sum());
            Cue { start_ms, end_ms, lines: lines(atoms, width), text: joined(atoms) }
        })
        .collect()
}

/// The shape's lengths, in columns.
struct Limits {
    line: Widths,
    /// What one atom may have: a line that is no longer than a cue.
    piece: Widths,
    lines: usize,
    cue: Option<usize>,
    half_words: u32,
}

impl Limits {
    fn of(shape: &Shape) -> Limits {
        let line = Widths { spaced: shape.line_chars_max as usize, cjk: 2 * shape.line_cjk_max as usize };
        let cue = shape.cue_chars_max.map(|chars| chars as usize);
        let within = |width: usize| cue.map_or(width, |cue| width.min(cue)).max(1);
        Limits {
            line,
            piece: Widths { spaced: within(line.spaced), cjk: within(line.cjk) },
            lines: shape.lines_max.max(1) as usize,
            cue,
            half_words: shape.words_max.map_or(u32::MAX, |words| words.saturating_mul(2)),
        }
    }
}

/// A silence this long ends a cue: nobody reads what will be said only then.
const SILENCE_MS_MAX: u64 = 3_000;

/// What a cue costs by being one.
const CUE_COST: i64 = 70;
/// What a full cue costs beyond an empty one; grows with the square, so even cues are cheapest.
const FULL_COST: i64 = 60;
/// A sentence's end that doesn't end a cue.
const SENTENCE_INSIDE_COST: i64 = 45;
/// A cue too short to be noticed, at its worst.
const SHORT_COST: i64 = 200;
/// A cue too fast to be read, at its worst.
const FAST_COST: i64 = 60;

/// Which atoms make each cue: from, to.
fn spans(atoms: &[Atom], limits: &Limits, shape: &Shape, duration: u64) -> Vec<(usize, usize)> {
    let next_start = |at: usize| atoms.get(at).map_or(duration, |atom| atom.start_ms);
    // best[to]: the least cost of all cues before `to`, and where the last of them begins.
    let mut best: Vec<Option<(i64, usize)>> = vec![None; atoms.len() + 1];
    best[0] = Some((0, 0));
    for from in 0..atoms.len() {
        let Some((before, _)) = best[from] else { continue };
        let mut spaced = Filler::new(limits.line.spaced);
        let mut cjk = Filler::new(limits.line.cjk);
        let (mut columns, mut cjk_columns, mut half_words, mut inside) = (0, 0, 0u32, 0);
        for to in from + 1..=atoms.len() {
            let atom = &atoms[to - 1];
            columns += atom.columns + usize::from(to - 1 > from && atom.space_before);
            cjk_columns += atom.cjk_columns;
            half_words = half_words.saturating_add(atom.half_words);
            spaced.add(atom);
            cjk.add(atom);
            let width = limits.line.of(columns, cjk_columns);
            let count = if width == limits.line.cjk { cjk.lines } else { spaced.lines };
            let room = limits.cue.unwrap_or(limits.lines * width);
            let alone = to - from == 1;
            if !alone {
                let silence = atom.start_ms.saturating_sub(atoms[to - 2].end_ms);
                let wide = spaced.lines > limits.lines && cjk.lines > limits.lines;
                let many = half_words > limits.half_words || limits.cue.is_some_and(|cue| columns > cue);
                let long = atom.end_ms - atoms[from].start_ms > u64::from(shape.cue_ms_max);
                if wide || many || long || silence >= SILENCE_MS_MAX {
                    break;
                }
                inside += inside_cost(&atoms[to - 2], silence);
                if count > limits.lines {
                    // Not this way, but a longer cue may count as another script.
                    continue;
                }
            }
            let visible = next_start(to).saturating_sub(atoms[from].start_ms);
            let cost = before
                + CUE_COST
                + FULL_COST * square(columns.min(room)) / square(room).max(1)
                + inside
                + time_cost(columns, visible, shape)
                + if to < atoms.len() { border_cost(atom, next_start(to)) } else { 0 };
            if best[to].is_none_or(|(known, _)| cost < known) {
                best[to] = Some((cost, from));
            }
        }
    }
    let mut spans = Vec::new();
    let mut to = atoms.len();
    while to > 0 {
        // Every atom may stand alone, so every place can be reached.
        let from = best[to].map_or(to - 1, |(_, from)| from);
        spans.push((from, to));
        to = from;
    }
    spans.reverse();
    spans
}

fn square(columns: usize) -> i64 {
    (columns * columns) as i64
}

fn columns(atoms: &[Atom]) -> usize {
    let spaces = atoms.iter().skip(1).filter(|atom| atom.space_before).count();
    atoms.iter().map(|atom| atom.columns).sum::<usize>() + spaces
}

/// What it costs to cut behind this atom.
fn border_cost(atom: &Atom, next_start: u64) -> i64 {
    let base = match atom.after {
        Border::Sentence => return 0,
        Border::Clause => 30,
        Border::Segment => 45,
        Border::Phrase => 80,
        Border::Word => 110,
        Border::Close => 140,
        Border::Inside => return 1_000,
    };
    let silence = next_start.saturating_sub(atom.end_ms);
    base - i64::try_from(silence / 6).unwrap_or(i64::MAX).min(base * 3 / 4)
}

/// What it costs not to cut behind this atom.
fn inside_cost(atom: &Atom, silence: u64) -> i64 {
    let sentence = if atom.after == Border::Sentence { SENTENCE_INSIDE_COST } else { 0 };
    sentence + i64::try_from(silence.saturating_sub(300) / 10).unwrap_or(i64::MAX).min(300)
}

/// What it costs that a cue can't stay as long as it should.
fn time_cost(columns: usize, visible: u64, shape: &Shape) -> i64 {
    let short = |wanted: u64, cost: i64| {
        let missing = wanted.saturating_sub(visible);
        (missing * cost as u64 / wanted.max(1)) as i64
    };
    short(u64::from(shape.cue_ms_min) + u64::from(shape.gap_ms), SHORT_COST)
        + short(reading_ms(columns, shape).min(u64::from(shape.cue_ms_max)), FAST_COST)
}

/// How long a reader needs.
fn reading_ms(columns: usize, shape: &Shape) -> u64 {
    columns as u64 * 1_000 / u64::from(shape.chars_per_second_max.max(1))
}

/// A cue stays at least this long even where words are said to have no length; later ones give way.
const FLASH_MS: u64 = 100;

/// From when to when each cue stays: in order, never overlapping, with a gap where they are close.
fn times(atoms: &[Atom], spans: &[(usize, usize)], shape: &Shape, duration: u64) -> Vec<(u64, u64)> {
    let count = spans.len() as u64;
    let duration = duration.max(count);
    let flash = FLASH_MS.min(duration.checked_div(count).unwrap_or(0));
    let mut starts: Vec<u64> = spans.iter().map(|&(from, _)| atoms[from].start_ms).collect();
    let mut earliest = 0;
    for start in &mut starts {
        *start = (*start).max(earliest);
        earliest = *start + flash;
    }
    let mut latest = duration;
    for start in starts.iter_mut().rev() {
        *start = (*start).min(latest - flash);
        latest = *start;
    }
    spans
        .iter()
        .enumerate()
        .map(|(at, &(from, to))| {
            let start = starts[at];
            let room = match starts.get(at + 1) {
                // In a hurry the gap takes no more than a quarter.
                Some(next) => next - u64::from(shape.gap_ms).min((next - start) / 4),
                None => duration,
            };
            let wanted = reading_ms(columns(&atoms[from..to]), shape).max(u64::from(shape.cue_ms_min));
            let end = atoms[to - 1].end_ms.max(start + wanted);
            (start, end.min(start + u64::from(shape.cue_ms_max)).min(room).max(start + 1))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use unicode_segmentation::UnicodeSegmentation;

    use super::super::atoms::{text_of, visible};
    use super::super::script;
    use super::super::transcript::{Segment, Word};
    use super::*;

    fn segment(start: f64, end: f64, text: &str) -> Segment {
        Segment { start, end, text: text.to_owned(), ..Segment::default() }
    }

    /// With words of equal length from `start` to `end`.
    fn worded(start: f64, end: f64, text: &str) -> Segment {
        let words: Vec<&str> = text.split_inclusive(' ').collect();
        let step = (end - start) / words.len() as f64;
        let word = |(at, text): (usize, &&str)| Word {
            start: start + step * at as f64,
            end: start + step * (at + 1) as f64,
            text: format!(" {}", text.trim_end()),
            probability: 1.0,
        };
        Segment { words: words.iter().enumerate().map(word).collect(), ..segment(start, end, text) }
    }

    fn transcript(language: &str, duration: f64, segments: Vec<Segment>) -> Transcript {
        Transcript { language: language.to_owned(), language_probability: 1.0, duration, segments }
    }

    /// One line a cue: `start-end line/line`.
    fn shaped(transcript: &Transcript, shape: &Shape) -> Vec<String> {
        cues(transcript, shape)
            .iter()
            .map(|cue| format!("{}-{} {}", cue.start_ms, cue.end_ms, cue.lines.join("/")))
            .collect()
    }

    fn texts(transcript: &Transcript, shape: &Shape) -> Vec<String> {
        cues(transcript, shape).iter().map(|cue| cue.lines.join("/")).collect()
    }

    #[test]
    fn seconds_are_rounded_to_milliseconds_once() {
        for (seconds, ms) in
            [(59.9995, 60_000), (0.0004, 0), (1.0006, 1_001), (3_599.999_6, 3_600_000), (360_000.25, 360_000_250)]
        {
            let heard = transcript("en", seconds + 5.0, vec![segment(seconds, seconds + 2.0, "word")]);
            assert_eq!(cues(&heard, &Shape::STANDARD)[0].start_ms, ms, "{seconds}");
        }
    }

    #[test]
    fn nothing_said_is_no_cue() {
        assert_eq!(cues(&transcript("en", 5.0, vec![]), &Shape::STANDARD), []);
        assert_eq!(cues(&transcript("en", 5.0, vec![segment(0.0, 1.0, " \n\u{200b}")]), &Shape::STANDARD), []);
    }

    #[test]
    fn twenty_words_in_ten_seconds_make_three_short_cues_or_more() {
        let text = "one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen \
                    seventeen eighteen nineteen twenty";
        for segment in [segment(0.0, 10.0, text), worded(0.0, 10.0, text)] {
            let cues = cues(&transcript("en", 10.0, vec![segment]), &Shape::SHORT);
            assert!(cues.len() >= 3, "{cues:?}");
            assert!(cues.iter().all(|cue| cue.text.split(' ').count() <= 8 && cue.text.len() <= 50), "{cues:?}");
            assert!(cues.iter().all(|cue| cue.end_ms - cue.start_ms <= 4_000), "{cues:?}");
            let all: Vec<_> = cues.iter().map(|cue| cue.text.as_str()).collect();
            assert_eq!(all.join(" "), text);
        }
    }

    #[test]
    fn chinese_is_split_without_spaces() {
        let text = "今天我们来谈谈人工智能在日常生活中的应用和影响";
        let heard = transcript("zh", 8.0, vec![segment(0.0, 8.0, text)]);
        let short = texts(&heard, &Shape::SHORT);
        assert!(short.len() >= 2, "{short:?}");
        assert_eq!(short.concat().replace('/', ""), text);
        let standard = texts(&heard, &Shape::STANDARD);
        assert!(standard.iter().flat_map(|cue| cue.split('/')).all(|line| line.chars().count() <= 18), "{standard:?}");
        assert_eq!(standard.concat().replace('/', ""), text);
    }

    #[test]
    fn cues_end_where_sentences_do() {
        let heard = transcript(
            "en",
            20.0,
            vec![
                worded(
                    0.0,
                    9.0,
                    "Good evening and welcome to the programme. Tonight we talk to three people about their",
                ),
                worded(9.0, 14.0, "work in the mountains, and about what they found there."),
            ],
        );
        assert_eq!(
            texts(&heard, &Shape::STANDARD),
            [
                "Good evening and welcome to the programme.",
                "Tonight we talk to three people/about their work in the mountains,",
                "and about what they found there."
            ]
        );
    }

    #[test]
    fn short_sentences_share_a_cue_rather_than_flash_by() {
        let heard = transcript("en", 5.0, vec![worded(0.0, 0.9, "Yes. No. Maybe.")]);
        assert_eq!(shaped(&heard, &Shape::STANDARD), ["0-900 Yes. No. Maybe."]);
    }

    #[test]
    fn a_cue_stays_as_long_as_reading_needs_and_the_next_one_allows() {
        let heard = transcript(
            "en",
            20.0,
            vec![
                worded(1.0, 1.2, "Hi."),
                worded(6.0, 7.0, "This takes two seconds to read, at least."),
                worded(12.0, 13.0, "Close."),
                worded(13.0, 19.9, "Closer still, up to the very end of it all."),
            ],
        );
        assert_eq!(
            shaped(&heard, &Shape::STANDARD),
            [
                "1000-1830 Hi.",
                "6000-8050 This takes two seconds to read, at least.",
                "12000-12920 Close.",
                "13000-19900 Closer still, up/to the very end of it all."
            ]
        );
    }

    #[test]
    fn a_long_silence_parts_what_a_sentence_holds_together() {
        let heard = transcript("en", 20.0, vec![worded(0.0, 1.0, "And then"), worded(6.0, 7.0, "nothing came.")]);
        assert_eq!(texts(&heard, &Shape::STANDARD), ["And then", "nothing came."]);
    }

    #[test]
    fn japanese_lines_never_begin_with_what_closes() {
        let text = "「それは、本当ですか？」と彼女は聞きました。私は、ちょっと待ってください、と言っただけでした。";
        let heard = transcript("ja", 12.0, vec![segment(0.0, 12.0, text)]);
        let cues = texts(&heard, &Shape { line_cjk_max: 8, ..Shape::STANDARD });
        assert_eq!(cues.concat().replace('/', ""), text);
        for line in cues.iter().flat_map(|cue| cue.split('/')) {
            assert!(!line.starts_with(['、', '。', '」', '？', 'っ', 'ょ', 'ー']), "{cues:?}");
            assert!(!line.ends_with('「') && line.chars().count() <= 8, "{cues:?}");
        }
    }

    #[test]
    fn japanese_is_broken_after_particles_and_never_after_an_honorific() {
        let text = "夜には雨が降るでしょう。お出かけの際は傘をお持ちください。";
        let heard = transcript("ja", 7.0, vec![segment(0.0, 6.9, text)]);
        assert_eq!(texts(&heard, &Shape::STANDARD), ["夜には雨が降るでしょう。/お出かけの際は傘をお持ちください。"]);
    }

    #[test]
    fn mixed_scripts_keep_their_words_and_get_no_new_spaces() {
        let heard =
            transcript("zh", 9.0, vec![segment(0.0, 3.0, "我用Python写代码"), segment(3.0, 6.0, "Rust也很好用。")]);
        assert_eq!(texts(&heard, &Shape::STANDARD), ["我用Python写代码Rust也很好用。"]);
        let narrow = Shape { line_cjk_max: 5, line_chars_max: 10, ..Shape::STANDARD };
        let cues = texts(&heard, &narrow);
        assert_eq!(cues.concat().replace('/', ""), "我用Python写代码Rust也很好用。");
        assert!(
            cues.iter().any(|cue| cue.contains("Python")) && cues.iter().any(|cue| cue.contains("Rust")),
            "{cues:?}"
        );
    }

    #[test]
    fn thai_fits_although_it_has_no_spaces() {
        let text = "สวัสดีครับวันนี้เราจะมาพูดคุยกันเกี่ยวกับเรื่องของการเดินทางท่องเที่ยวในประเทศไทยและวัฒนธรรมที่น่าสนใจมากมาย";
        let heard = transcript("th", 14.0, vec![segment(0.0, 14.0, text)]);
        let cues = texts(&heard, &Shape::STANDARD);
        assert_eq!(cues.concat().replace('/', ""), text);
        for line in cues.iter().flat_map(|cue| cue.split('/')) {
            assert!(line.graphemes(true).map(script::columns).sum::<usize>() <= 42, "{line}");
            assert!(!line.ends_with(['เ', 'แ', 'โ', 'ใ', 'ไ']), "{line}");
        }
    }

    #[test]
    fn french_marks_stay_with_their_word() {
        let heard = transcript("fr", 9.0, vec![segment(0.0, 4.0, "Bonjour à tous les amis du monde entier ici !")]);
        let cues = texts(&heard, &Shape { line_chars_max: 43, ..Shape::STANDARD });
        assert!(cues.iter().flat_map(|cue| cue.split('/')).all(|line| !line.starts_with('!')), "{cues:?}");
    }

    #[test]
    fn only_a_word_longer_than_a_line_is_broken() {
        let text = "see https://example.org/a/very/long/path/that/goes/on now";
        let heard = transcript("en", 9.0, vec![segment(0.0, 4.0, text)]);
        let lines: Vec<String> = cues(&heard, &Shape { line_chars_max: 30, ..Shape::STANDARD })
            .into_iter()
            .flat_map(|cue| cue.lines)
            .collect();
        assert_eq!(lines, ["see", "https://example.org/a/very/", "long/path/that/goes/on now"]);
        let donau = "Donaudampfschifffahrtsgesellschaftskapitän";
        let heard = transcript("de", 9.0, vec![segment(0.0, 4.0, &format!("Der {donau} kam."))]);
        assert!(texts(&heard, &Shape::STANDARD).iter().any(|cue| cue.contains(donau)));
    }

    #[test]
    fn words_without_length_still_make_valid_cues() {
        let heard = transcript(
            "en",
            6.0,
            vec![Segment {
                words: "a b c d e f g h i j k l"
                    .split(' ')
                    .map(|text| Word { start: 5.0, end: 5.0, text: format!(" {text}"), probability: 0.0 })
                    .collect(),
                ..segment(5.0, 5.0, "")
            }],
        );
        let cues = cues(&heard, &Shape { words_max: Some(1), ..Shape::STANDARD });
        assert_eq!(cues.len(), 12);
        assert!(cues.windows(2).all(|pair| pair[0].end_ms <= pair[1].start_ms));
        assert!(cues.iter().all(|cue| cue.start_ms < cue.end_ms && cue.end_ms <= 6_000));
    }

    fn word_text() -> impl Strategy<Value = String> {
        prop_oneof![
            6 => "[a-zA-Z]{1,12}[.,!?]?",
            1 => "[a-z\\-/]{40,130}",
            3 => "[一-龥]{1,30}[。，！？]?",
            2 => "[ぁ-んァ-ヶー]{1,20}[、。]?",
            1 => "[가-힣]{1,6}",
            1 => "[ก-ฮเแา-ู]{1,60}",
            1 => proptest::sample::select(vec!["-->", "👩‍👩‍👧‍👦", "🇩🇪🇫🇷🇯🇵", "e\u{301}\u{323}", "\u{301}", "\n\n", "\0", "\u{200b}", "<b>&", "", " ", "1\n00:00:01,000 --> 00:00:02,000", "\u{202e}abc", "ﷺ", "مرحبا", "!", "...", "(", "「", "」", "\u{2028}"]).prop_map(str::to_owned),
            1 => any::<String>(),
        ]
    }

    fn moment() -> impl Strategy<Value = f64> {
        prop_oneof![8 => 0.0..40.0f64, 1 => Just(5.0), 1 => proptest::sample::select(vec![f64::NAN, f64::INFINITY, -3.0, 1e12])]
    }

    fn any_segment() -> impl Strategy<Value = Segment> {
        let orderly = (0.0..40.0f64, 0.0..8.0f64, proptest::collection::vec(word_text(), 0..25)).prop_map(
            |(start, length, words)| {
                let words: Vec<String> = words.into_iter().map(|word| format!(" {word}")).collect();
                let step = length / words.len().max(1) as f64;
                Segment {
                    text: words.concat(),
                    words: words
                        .into_iter()
                        .enumerate()
                        .map(|(at, text)| Word {
                            start: start + step * at as f64,
                            end: start + step * (at + 1) as f64,
                            text,
                            probability: 0.5,
                        })
                        .collect(),
                    ..segment(start, start + length, "")
                }
            },
        );
        let wild =
            (moment(), moment(), word_text(), proptest::collection::vec((moment(), moment(), word_text()), 0..12))
                .prop_map(|(start, end, text, words)| Segment {
                    words: words
                        .into_iter()
                        .map(|(start, end, text)| Word { start, end, text, probability: 0.5 })
                        .collect(),
                    ..segment(start, end, &text)
                });
        let plain = (0.0..40.0f64, 0.0..30.0f64, proptest::collection::vec(word_text(), 0..30))
            .prop_map(|(start, length, words)| segment(start, start + length, &words.join(" ")));
        prop_oneof![4 => orderly, 1 => wild, 2 => plain]
    }

    fn any_shape() -> impl Strategy<Value = Shape> {
        let numbers =
            (1..=4u32, 10..=100u32, 5..=50u32, proptest::option::of(1..=20u32), proptest::option::of(10..=400u32));
        let times = (830..=30_000u32, 0..=830u32, 5..=60u32, 0..=1_000u32);
        prop_oneof![
            Just(Shape::STANDARD),
            Just(Shape::SHORT),
            (numbers, times).prop_map(
                |(
                    (lines_max, line_chars_max, line_cjk_max, words_max, cue_chars_max),
                    (cue_ms_max, cue_ms_min, chars_per_second_max, gap_ms),
                )| Shape {
                    lines_max,
                    line_chars_max,
                    line_cjk_max,
                    words_max,
                    cue_chars_max,
                    cue_ms_max,
                    cue_ms_min,
                    chars_per_second_max,
                    gap_ms,
                }
            )
        ]
    }

    fn solid(text: &str) -> String {
        text.split_whitespace().collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 400, ..ProptestConfig::default() })]
        #[test]
        fn words_in_are_words_out_and_every_limit_holds(
            segments in proptest::collection::vec(any_segment(), 0..8),
            duration in prop_oneof![4 => Just(60.0), 1 => 0.0..60.0f64],
            shape in any_shape(),
        ) {
            let heard = transcript("en", duration, segments);
            let cues = cues(&heard, &shape);

            // Words.
            let said: Vec<String> = heard.segments.iter().map(text_of).collect();
            let shown: Vec<&str> = cues.iter().flat_map(|cue| &cue.lines).map(String::as_str).collect();
            prop_assert_eq!(solid(&shown.concat()), solid(&said.concat()));
            prop_assert!(shown.iter().all(|line| !line.is_empty() && visible(line) == **line));
            for cue in &cues {
                prop_assert_eq!(solid(&cue.text), solid(&cue.lines.concat()));
            }
            // No line begins inside what a reader sees as one character, and no space is lost inside one.
            let mut borders = std::collections::BTreeSet::new();
            let mut at = 0;
            for word in said.iter().flat_map(|text| text.split(' ')) {
                borders.extend(word.grapheme_indices(true).map(|(offset, _)| at + offset));
                at += word.len();
            }
            let mut at = 0;
            for line in &shown {
                prop_assert!(borders.contains(&at), "a line begins inside a character: {:?}", line);
                at += solid(line).len();
            }

            // Lengths.
            for cue in &cues {
                let clusters: Vec<&str> = cue.lines.iter().flat_map(|line| line.split(' ').flat_map(|word| word.graphemes(true))).collect();
                // A mark without a letter would hide in the space before it.
                let word_columns = |word: &str| word.graphemes(true).map(script::columns).sum::<usize>();
                let columns = |line: &str| {
                    line.split(' ').map(word_columns).sum::<usize>() + line.matches(' ').count()
                };
                let cjk: usize = clusters.iter().filter(|c| script::is_cjk(c)).map(|c| script::columns(c)).sum();
                prop_assert!(cue.lines.len() <= shape.lines_max as usize);
                let latin_limit = shape.line_chars_max as usize;
                let cjk_limit = 2 * shape.line_cjk_max as usize;
                let limit = if cjk * 2 >= columns(&cue.text) { cjk_limit } else { latin_limit };
                for line in &cue.lines {
                    prop_assert!(columns(line) <= limit || line.graphemes(true).count() == 1, "{} columns in {:?}", columns(line), cue);
                }
                if let Some(max) = shape.cue_chars_max {
                    prop_assert!(columns(&cue.text) <= max as usize || clusters.len() == 1, "{:?}", cue);
                }
                if let Some(max) = shape.words_max {
                    let words = cue.lines.iter().flat_map(|line| line.split(' ')).filter(|word| word.chars().any(char::is_alphabetic)).count();
                    prop_assert!(words <= 2 * max as usize, "{:?}", cue);
                    if cjk == 0 && cue.text.is_ascii() {
                        prop_assert!(words <= max as usize, "{:?}", cue);
                    }
                }
            }

            // Times.
            let end = duration_ms(&heard).max(cues.len() as u64);
            let starts: Vec<u64> = cues.iter().map(|cue| cue.start_ms).chain([end]).collect();
            for (cue, next) in cues.iter().zip(&starts[1..]) {
                prop_assert!(cue.start_ms < cue.end_ms && cue.end_ms <= *next, "{:?} before {}", cue, next);
                prop_assert!(cue.end_ms - cue.start_ms <= u64::from(shape.cue_ms_max));
                let room = (next - cue.start_ms).saturating_sub(u64::from(shape.gap_ms));
                prop_assert!(cue.end_ms - cue.start_ms >= room.min(u64::from(shape.cue_ms_min)), "{:?} before {}", cue, next);
            }
        }
    }
}
