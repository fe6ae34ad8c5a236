//! What a character is to somebody who breaks lines: which side it holds on to, how wide it is, what it ends. Knows no times.

use unicode_width::UnicodeWidthStr;

/// How text may be broken beside a grapheme cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// Latin and its like: broken at spaces only.
    Spaced,
    /// Han and other wide characters: broken anywhere.
    Han,
    /// Broken anywhere; a phrase often ends where hiragana ends.
    Hiragana,
    /// Broken anywhere, unwillingly: it spells words.
    Katakana,
    /// Thai, Lao, Khmer, Burmese: words without spaces, which only a dictionary could tell.
    Unspaced,
}

impl Class {
    pub fn of(cluster: &str) -> Class {
        match first(cluster) {
            '\u{3041}'..='\u{309f}' => Class::Hiragana,
            '\u{30a0}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{ff65}'..='\u{ff9f}' => Class::Katakana,
            '\u{2e80}'..='\u{303f}'
            | '\u{3100}'..='\u{312f}'
            | '\u{3190}'..='\u{31ef}'
            | '\u{3200}'..='\u{9fff}'
            | '\u{f900}'..='\u{faff}'
            | '\u{fe30}'..='\u{fe4f}'
            | '\u{ff01}'..='\u{ff64}'
            | '\u{20000}'..='\u{3ffff}' => Class::Han,
            '\u{0e00}'..='\u{0eff}'
            | '\u{1000}'..='\u{109f}'
            | '\u{1780}'..='\u{17ff}'
            | '\u{1950}'..='\u{19df}'
            | '\u{1a20}'..='\u{1aaf}'
            | '\u{a9e0}'..='\u{a9ff}'
            | '\u{aa60}'..='\u{aa7f}' => Class::Unspaced,
            _ => Class::Spaced,
        }
    }

    pub fn is_unbroken_by_spaces(self) -> bool {
        self != Class::Spaced
    }

    /// Han or kana: never a space put beside it.
    pub fn is_han_or_kana(self) -> bool {
        matches!(self, Class::Han | Class::Hiragana | Class::Katakana)
    }
}

/// Whether the cluster counts as Chinese, Japanese or Korean text, whose lines are shorter.
pub fn is_cjk(cluster: &str) -> bool {
    Class::of(cluster).is_han_or_kana()
        || matches!(first(cluster), '\u{1100}'..='\u{11ff}' | '\u{3130}'..='\u{318f}' | '\u{a960}'..='\u{a97f}' | '\u{ac00}'..='\u{d7ff}')
}

/// Columns on a terminal; a cluster that shows nothing by itself still counts one, so that nothing is endless and free.
pub fn columns(cluster: &str) -> usize {
    cluster.width().max(1)
}

/// Closing marks, small kana and signs of repetition don't begin a line.
pub fn may_not_begin(cluster: &str) -> bool {
    matches!(
        first(cluster),
        '.' | ','
            | '!'
            | '?'
            | ':'
            | ';'
            | ')'
            | ']'
            | '}'
            | '%'
            | '"'
            | '\''
            | '…'
            | '‥'
            | '’'
            | '”'
            | '»'
            | '›'
            | '—'
            | '–'
            | '‼'
            | '⁇'
            | '⁈'
            | '⁉'
            | '°'
            | '′'
            | '″'
            | '℃'
            | '、'
            | '。'
            | '〃'
            | '々'
            | '〉'
            | '》'
            | '」'
            | '』'
            | '】'
            | '〕'
            | '〗'
            | '〙'
            | '〛'
            | '〜'
            | '〟'
            | '〻'
            | 'ぁ'
            | 'ぃ'
            | 'ぅ'
            | 'ぇ'
            | 'ぉ'
            | 'っ'
            | 'ゃ'
            | 'ゅ'
            | 'ょ'
            | 'ゎ'
            | 'ゕ'
            | 'ゖ'
            | 'ゝ'
            | 'ゞ'
            | '゠'
            | 'ァ'
            | 'ィ'
            | 'ゥ'
            | 'ェ'
            | 'ォ'
            | 'ッ'
            | 'ャ'
            | 'ュ'
            | 'ョ'
            | 'ヮ'
            | 'ヵ'
            | 'ヶ'
            | '・'
            | 'ー'
            | 'ヽ'
            | 'ヾ'
            | '\u{31f0}'
            ..='\u{31ff}'
                | '！'
                | '％'
                | '）'
                | '，'
                | '．'
                | '：'
                | '；'
                | '？'
                | '］'
                | '｝'
                | '～'
                | '｠'
                | '｡'
                | '｣'
                | '､'
                | '･'
                | 'ｰ'
                | '·'
                | '،'
                | '؛'
                | '؟'
                | '۔'
                | '।'
                | '॥'
                | '။'
                | '၊'
                | '។'
                | '៕'
                | 'ๆ'
                | 'ฯ'
                | 'ໆ'
                | 'ຯ'
    )
}

/// Opening marks don't end a line, nor do the vowels that Thai and Lao write before their consonant.
pub fn may_not_end(cluster: &str) -> bool {
    matches!(
        first(cluster),
        '(' | '[' | '{' | '"' | '\'' | '‘' | '“' | '«' | '‹' | '¿' | '¡' | '$' | '£' | '€' | '¥' | '〈' | '《' | '「' | '『' | '【'
            | '〔' | '〖' | '〘' | '〚' | '〝' | '（' | '［' | '｛' | '｟' | '｢' | '＄' | '￥' | '￡' | '#' | '＃' | 'เ'..='ไ' | 'ເ'..='ໄ'
    )
}

/// How a piece of text ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    Sentence,
    Clause,
    Open,
}

/// Judges a word (or a character with its marks) by its last sign; quotes and brackets that close after it don't count.
pub fn ending_of(text: &str) -> Ending {
    let bare = text.trim_end_matches([
        '"', '\'', ')', ']', '}', '’', '”', '»', '›', '」', '』', '】', '）', '］', '〉', '》', '〕',
    ]);
    match bare.chars().next_back() {
        Some('.') if is_abbreviation(bare) => Ending::Open,
        Some(
            '.' | '!' | '?' | '。' | '．' | '！' | '？' | '｡' | '‼' | '⁇' | '⁈' | '⁉' | '؟' | '۔' | '।' | '॥' | '။'
            | '។' | '៕' | '։' | '።',
        ) => Ending::Sentence,
        Some('…') => Ending::Sentence,
        Some(',' | ';' | ':' | '、' | '，' | '；' | '：' | '､' | '،' | '؛' | '၊' | '፣' | '—' | '–') => {
            Ending::Clause
        }
        _ => Ending::Open,
    }
}

/// A title, an initial or the like, after which a sentence goes on.
fn is_abbreviation(text: &str) -> bool {
    let stem = text.trim_end_matches('.').trim_start_matches(['(', '[', '"', '\'', '“', '«', '„']);
    let mut letters = stem.chars();
    let initial = matches!((letters.next(), letters.next()), (Some(letter), None) if letter.is_uppercase());
    const TITLES: [&str; 16] =
        ["Mr", "Mrs", "Ms", "Dr", "Prof", "St", "Sr", "Jr", "vs", "z.B", "d.h", "e.g", "i.e", "bzw", "Nr", "Mme"];
    (initial || TITLES.contains(&stem)) && !text.ends_with("..")
}

fn first(cluster: &str) -> char {
    cluster.chars().next().unwrap_or(' ')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sentences_end_where_a_reader_says() {
        for text in ["end.", "end?", "end!\"", "end.)", "好。", "」。」", "¿qué?", "है।", "wait..."] {
            assert_eq!(ending_of(text), Ending::Sentence, "{text}");
        }
        for text in ["and,", "so;", "dann:", "好，", "である、"] {
            assert_eq!(ending_of(text), Ending::Clause, "{text}");
        }
        for text in ["Mr.", "J.", "word", "(Dr.", "z.B.", "", "\"", "3.5"] {
            assert_eq!(ending_of(text), Ending::Open, "{text}");
        }
    }

    #[test]
    fn scripts_are_told_by_their_characters() {
        for (text, class) in [
            ("a", Class::Spaced),
            ("한", Class::Spaced),
            ("字", Class::Han),
            ("。", Class::Han),
            ("𠀀", Class::Han),
            ("か", Class::Hiragana),
            ("カ", Class::Katakana),
            ("ท", Class::Unspaced),
            ("ລ", Class::Unspaced),
            ("👩‍👩‍👧", Class::Spaced),
        ] {
            assert_eq!(Class::of(text), class, "{text}");
        }
        assert!(is_cjk("한") && is_cjk("字") && is_cjk("カ") && !is_cjk("a") && !is_cjk("ท"));
    }
}
