//! A transcript as the smallest pieces that lines and cues are made of, each with its times. Knows no cues.

use unicode_segmentation::UnicodeSegmentation;

use super::script::{self, Class, Ending};
use super::transcript::{Segment, Transcript};

/// Text that stays in one line: a word with its punctuation, or one character of a script without spaces with the marks that
/// hold on to it. A word longer than a line comes in several.
#[derive(Debug, Clone, PartialEq)]
pub struct Atom {
    pub text: String,
    /// A space stands before it where it doesn't begin a line.
    pub space_before: bool,
    pub columns: usize,
    /// How many of the columns are Chinese, Japanese or Korean.
    pub cjk_columns: usize,
    /// How much it counts towards the words of a cue: 2 for a word, 1 for a character of a script without spaces, whose
    /// words have about two.
    pub half_words: u32,
    pub start_ms: u64,
    pub end_ms: u64,
    pub after: Border,
}

/// What stands between an atom and the next one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Border {
    Sentence,
    Clause,
    /// The model ended a phrase.
    Segment,
    /// A place where a reader takes breath: before a conjunction, after a Japanese particle.
    Phrase,
    Word,
    /// Between two characters of which nobody knows whether they are one word; after an article or a preposition.
    Close,
    /// Inside a word longer than a line.
    Inside,
}

/// Longest line in columns, by script.
#[derive(Debug, Clone, Copy)]
pub struct Widths {
    pub spaced: usize,
    pub cjk: usize,
}

impl Widths {
    /// For text of which `cjk` of `columns` are Chinese, Japanese or Korean.
    pub fn of(&self, columns: usize, cjk: usize) -> usize {
        if cjk * 2 >= columns.max(1) { self.cjk } else { self.spaced }
    }
}

/// Length of the recording in whole milliseconds, and at least what its segments claim where it isn't known.
pub fn duration_ms(transcript: &Transcript) -> u64 {
    let known = ms(transcript.duration);
    if known > 0 { known } else { transcript.segments.iter().map(|segment| ms(segment.end)).max().unwrap_or(0) }
}

/// All text in order; times are in order, never overlap and stay inside the recording, whatever the transcript says.
pub fn atoms(transcript: &Transcript, widths: Widths) -> Vec<Atom> {
    let mut all: Vec<Atom> = Vec::new();
    for segment in &transcript.segments {
        let timed = Timed::of(segment);
        let first = all.len();
        for token in timed.tokens() {
            take_token(&mut all, first, &timed, token, widths);
        }
        if let Some(atom) = all.get_mut(first) {
            atom.space_before = false;
        }
        if first > 0 && first < all.len() {
            let (before, new) = all.split_at_mut(first);
            let (last, next) = (&mut before[first - 1], &mut new[0]);
            next.space_before = !touches_han(&last.text, &next.text);
            if last.after == Border::Word || last.after == Border::Close {
                last.after = Border::Segment;
            }
        }
    }
    judge_borders(&mut all, &transcript.language);
    straighten(&mut all, duration_ms(transcript));
    all
}

/// The text that readers see of `text`: without control characters and invisible breaks, white space as single spaces.
pub fn visible(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for word in text.split(char::is_whitespace) {
        let before = out.len();
        out.extend(word.chars().filter(|c| !is_dropped(*c)));
        if out.len() > before && before > 0 {
            out.insert(before, ' ');
        }
    }
    out
}

/// A segment's text, from its words where it has no text of its own.
pub fn text_of(segment: &Segment) -> String {
    let text = visible(&segment.text);
    if text.is_empty() {
        visible(&segment.words.iter().map(|word| word.text.as_str()).collect::<String>())
    } else {
        text
    }
}

fn is_dropped(c: char) -> bool {
    c.is_control() || matches!(c, '\u{200b}' | '\u{feff}')
}

fn ms(seconds: f64) -> u64 {
    // Saturates: NaN and what is negative become 0.
    (seconds * 1000.0).round() as u64
}

/// A segment's visible text, and when which part of it was said.
struct Timed {
    text: String,
    /// In order: where a piece with its own times begins and ends in the text.
    pieces: Vec<Piece>,
}

struct Piece {
    from: usize,
    to: usize,
    start_ms: f64,
    end_ms: f64,
}

struct Token {
    from: usize,
    to: usize,
    space_before: bool,
}

impl Timed {
    fn of(segment: &Segment) -> Timed {
        let solid = |text: &str| text.chars().filter(|c| !c.is_whitespace() && !is_dropped(*c)).collect::<String>();
        let words: String = segment.words.iter().map(|word| solid(&word.text)).collect();
        let said = solid(&segment.text);
        // Words with times are used where they are the segment's text, and say when.
        let timed = segment.words.iter().any(|word| word.end > word.start);
        let mut out = Timed { text: String::new(), pieces: Vec::new() };
        if !words.is_empty() && (said.is_empty() || said == words) && timed {
            for word in &segment.words {
                out.push(&word.text, word.start, word.end);
            }
        } else {
            out.push(if said.is_empty() { "" } else { &segment.text }, segment.start, segment.end);
            if said.is_empty() {
                let joined: String = segment.words.iter().map(|word| word.text.as_str()).collect();
                out.push(&joined, segment.start, segment.end);
            }
        }
        out
    }

    fn push(&mut self, text: &str, start: f64, end: f64) {
        let body = visible(text);
        let spaced = |c: Option<char>| c.is_some_and(char::is_whitespace);
        if !self.text.is_empty() && spaced(text.chars().next()) && !self.text.ends_with(' ') {
            self.text.push(' ');
        }
        let from = self.text.len();
        if !body.is_empty() {
            self.text.push_str(&body);
            let (start_ms, end_ms) = (ms(start) as f64, ms(end) as f64);
            self.pieces.push(Piece { from, to: self.text.len(), start_ms, end_ms: end_ms.max(start_ms) });
        }
        if !self.text.is_empty() && spaced(text.chars().next_back()) && !self.text.ends_with(' ') {
            self.text.push(' ');
        }
    }

    fn tokens(&self) -> Vec<Token> {
        let mut from = 0;
        let mut tokens = Vec::new();
        for token in self.text.split(' ') {
            if !token.is_empty() {
                tokens.push(Token { from, to: from + token.len(), space_before: from > 0 });
            }
            from += token.len() + 1;
        }
        tokens
    }

    /// When the text from one place to another was said; inside a piece time goes by its length.
    fn times(&self, from: usize, to: usize) -> (u64, u64) {
        let moment = |piece: &Piece, at: usize| {
            let share = (at - piece.from) as f64 / (piece.to - piece.from).max(1) as f64;
            (piece.start_ms + (piece.end_ms - piece.start_ms) * share).round() as u64
        };
        let first = self.pieces.partition_point(|piece| piece.to <= from);
        let last = self.pieces.partition_point(|piece| piece.from < to).saturating_sub(1);
        match (self.pieces.get(first), self.pieces.get(last)) {
            (Some(one), Some(other)) => {
                (moment(one, from.clamp(one.from, one.to)), moment(other, to.clamp(other.from, other.to)))
            }
            _ => (0, 0),
        }
    }

    /// Whether a piece of the model's begins here.
    fn is_piece_start(&self, at: usize) -> bool {
        self.pieces.binary_search_by_key(&at, |piece| piece.from).is_ok()
    }
}

/// Cuts a token (text between spaces) into atoms.
fn take_token(all: &mut Vec<Atom>, segment_first: usize, timed: &Timed, token: Token, widths: Widths) {
    let text = &timed.text[token.from..token.to];
    let clusters: Vec<(usize, &str)> = text.grapheme_indices(true).collect();
    // Marks that stand alone but may not begin a line ("Bonjour !") stay with what is before them.
    if token.space_before && all.len() > segment_first && clusters.iter().all(|(_, cluster)| may_hang(cluster)) {
        let (columns, cjk_columns) = measure(&clusters);
        if let Some(last) = all.last_mut()
            && last.columns + 1 + columns <= widths.of(last.columns + 1 + columns, last.cjk_columns + cjk_columns)
        {
            last.text.push(' ');
            last.text.push_str(text);
            last.columns += 1 + columns;
            last.cjk_columns += cjk_columns;
            last.end_ms = timed.times(token.from, token.to).1;
            return;
        }
    }
    let mut from = 0;
    for at in 1..=clusters.len() {
        let border = match clusters.get(at) {
            None => Border::Word,
            Some((offset, cluster)) => match border_between(clusters[at - 1].1, cluster) {
                None => continue,
                // The model's pieces are a hint at words.
                Some(Border::Close) if timed.is_piece_start(token.from + offset) => Border::Word,
                Some(border) => border,
            },
        };
        take_piece(all, timed, &token, &clusters[from..at], from == 0, border, widths);
        from = at;
    }
}

fn may_hang(cluster: &str) -> bool {
    script::may_not_begin(cluster)
        && !script::may_not_end(cluster)
        && !matches!(cluster, "—" | "–" | "%" | "°" | "·")
        && !cluster.contains(char::is_alphanumeric)
}

/// Whether a line may be broken between two clusters that no space parts, and how gladly.
fn border_between(left: &str, right: &str) -> Option<Border> {
    let (one, other) = (Class::of(left), Class::of(right));
    if !(one.is_unbroken_by_spaces() || other.is_unbroken_by_spaces())
        || script::may_not_begin(right)
        || script::may_not_end(left)
    {
        return None;
    }
    Some(match (one, other) {
        // The honorific belongs to what follows.
        (Class::Hiragana, _) if matches!(left, "お" | "ご") => Border::Close,
        (Class::Hiragana, Class::Han | Class::Katakana) => Border::Phrase,
        (Class::Spaced, _) | (_, Class::Spaced) => Border::Word,
        (Class::Han, Class::Katakana) | (Class::Katakana, Class::Han | Class::Hiragana) => Border::Word,
        _ => Border::Close,
    })
}

/// Makes one atom of the clusters, or several where they are longer than a line.
fn take_piece(
    all: &mut Vec<Atom>,
    timed: &Timed,
    token: &Token,
    clusters: &[(usize, &str)],
    begins_token: bool,
    border: Border,
    widths: Widths,
) {
    let mut rest = clusters;
    while !rest.is_empty() {
        let count = line_full(rest, widths);
        let (these, after) = rest.split_at(count);
        let (columns, cjk_columns) = measure(these);
        let from = token.from + these[0].0;
        let text: String = these.iter().map(|(_, cluster)| *cluster).collect();
        let (start_ms, end_ms) = timed.times(from, from + text.len());
        let signs = these.iter().filter(|(_, cluster)| !script::may_not_begin(cluster)).count();
        let unspaced = Class::of(these[0].1).is_unbroken_by_spaces();
        all.push(Atom {
            space_before: token.space_before && begins_token && rest.len() == clusters.len(),
            columns,
            cjk_columns,
            half_words: if unspaced { u32::from(signs > 0) } else { 2 },
            start_ms,
            end_ms,
            after: if after.is_empty() { border } else { Border::Inside },
            text,
        });
        rest = after;
    }
}

/// Columns, and those of them that are Chinese, Japanese or Korean.
fn measure(clusters: &[(usize, &str)]) -> (usize, usize) {
    clusters.iter().fold((0, 0), |(columns, cjk), (_, cluster)| {
        let own = script::columns(cluster);
        (columns + own, cjk + if script::is_cjk(cluster) { own } else { 0 })
    })
}

/// How many of the clusters make a line: all where they fit; else what fits, rather ending behind a hyphen or a slash.
fn line_full(clusters: &[(usize, &str)], widths: Widths) -> usize {
    let (mut columns, mut cjk, mut count, mut soft) = (0, 0, 0, 0);
    for (_, cluster) in clusters {
        let own = script::columns(cluster);
        columns += own;
        cjk += if script::is_cjk(cluster) { own } else { 0 };
        // Both limits hold wherever the piece may end up.
        if columns > widths.of(columns, cjk).min(if cjk > 0 { widths.cjk } else { widths.spaced }) {
            let half = count / 2;
            return if soft > half { soft } else { count.max(1) };
        }
        count += 1;
        if matches!(*cluster, "-" | "/" | "_" | "." | "‐" | "&" | "=") {
            soft = count;
        }
    }
    count
}

/// Whether text of two segments belongs together without a space.
fn touches_han(left: &str, right: &str) -> bool {
    let (Some(left), Some(right)) = (left.graphemes(true).next_back(), right.graphemes(true).next()) else {
        return false;
    };
    // A segment that begins with a lone mark would put it on the other's last character.
    let apart = format!("{left}{right}").graphemes(true).count() > 1;
    apart && (Class::of(left).is_han_or_kana() || Class::of(right).is_han_or_kana())
}

/// Sees each border with what stands on both its sides.
fn judge_borders(all: &mut [Atom], language: &str) {
    let (leads, leans) = function_words(language);
    for at in 0..all.len() {
        let next = all.get(at + 1).map(|atom| atom.text.as_str()).unwrap_or("");
        let next_is_lower = next.chars().find(|c| c.is_alphanumeric()).is_some_and(char::is_lowercase);
        let atom = &all[at];
        if atom.after == Border::Inside {
            continue;
        }
        let after = match script::ending_of(&atom.text) {
            // "… and then" and "approx. three" go on.
            Ending::Sentence if next_is_lower && !atom.text.ends_with(['!', '?']) => Border::Clause,
            Ending::Sentence => Border::Sentence,
            Ending::Clause => Border::Clause,
            Ending::Open if atom.after != Border::Word => continue,
            Ending::Open if leads.contains(&bare(next).as_str()) => Border::Phrase,
            Ending::Open if leans.contains(&bare(&atom.text).as_str()) => Border::Close,
            Ending::Open => continue,
        };
        all[at].after = after;
    }
}

fn bare(word: &str) -> String {
    word.trim_matches(|c: char| !c.is_alphanumeric()).to_lowercase()
}

/// Words that begin a clause, and words that lean on the next one.
fn function_words(language: &str) -> (&'static [&'static str], &'static [&'static str]) {
    match language {
        "en" => (
            &[
                "and", "but", "or", "because", "that", "which", "who", "when", "where", "while", "if", "so",
                "although", "than", "then",
            ],
            &[
                "the", "a", "an", "of", "to", "in", "on", "at", "for", "with", "by", "from", "my", "your", "his",
                "her", "our", "their", "its", "very", "not", "is", "are", "was",
            ],
        ),
        "de" => (
            &["und", "aber", "oder", "dass", "weil", "wenn", "denn", "sondern", "ob", "als", "damit"],
            &[
                "der", "die", "das", "den", "dem", "des", "ein", "eine", "einen", "einem", "einer", "in", "im", "am",
                "an", "auf", "von", "vom", "zu", "zum", "zur", "mit", "für", "nicht", "sehr",
            ],
        ),
        "fr" => (
            &["et", "mais", "ou", "que", "qui", "parce", "quand", "si", "donc", "car", "où"],
            &[
                "le", "la", "les", "un", "une", "des", "de", "du", "à", "au", "aux", "en", "dans", "sur", "pour",
                "avec", "ne", "très",
            ],
        ),
        "es" => (
            &["y", "pero", "o", "que", "porque", "cuando", "si", "aunque", "donde"],
            &["el", "la", "los", "las", "un", "una", "de", "del", "a", "al", "en", "por", "para", "con", "no", "muy"],
        ),
        _ => (&[], &[]),
    }
}

/// A single sound is rarely longer; what a model claims beyond is silence that it gave to the word before.
fn sound_ms_max(columns: usize) -> u64 {
    2_000 + 100 * columns as u64
}

/// Puts times into order, ends them at the next one's start, and keeps them inside the recording.
fn straighten(all: &mut [Atom], duration: u64) {
    let mut earliest = 0;
    for atom in all.iter_mut() {
        atom.start_ms = atom.start_ms.clamp(earliest, duration.max(earliest));
        earliest = atom.start_ms;
    }
    let mut latest = duration;
    for atom in all.iter_mut().rev() {
        let longest = atom.start_ms.saturating_add(sound_ms_max(atom.columns));
        atom.end_ms = atom.end_ms.min(longest).min(latest).max(atom.start_ms);
        latest = atom.start_ms;
    }
}
