//! Words from a model's tokens: bytes joined to text, text to words, and when each was said. Knows no model and no window.

use super::model::Token;

/// A word on its way: its text with the space before it, and how sure the model was.
#[derive(Debug, Clone, PartialEq)]
pub struct Piece {
    pub text: String,
    pub probability: f32,
}

/// Joins tokens to words. A character may be spread over tokens; bytes that make no character are left out.
pub fn words(tokens: &[Token]) -> Vec<Piece> {
    let mut words: Vec<Piece> = Vec::new();
    for piece in pieces(tokens) {
        match words.last_mut() {
            Some(last) if !begins_word(&last.text, &piece.text) => {
                last.text.push_str(&piece.text);
                last.probability = last.probability.min(piece.probability);
            }
            _ => words.push(piece),
        }
    }
    if let Some(last) = words.last_mut() {
        last.text.truncate(last.text.trim_end().len());
        if last.text.is_empty() {
            words.pop();
        }
    }
    words
}

/// Whole characters with the least probability of the tokens they came from.
fn pieces(tokens: &[Token]) -> Vec<Piece> {
    let mut pieces = Vec::with_capacity(tokens.len());
    let mut pending: Vec<u8> = Vec::new();
    let mut probability = f32::MAX;
    let mut emit = |bytes: &[u8], probability: f32| {
        let text: String =
            String::from_utf8_lossy(bytes).chars().filter(|c| *c != '\u{fffd}' && !c.is_control()).collect();
        if !text.is_empty() {
            pieces.push(Piece { text, probability });
        }
    };
    for token in tokens {
        pending.extend_from_slice(&token.bytes);
        probability = probability.min(token.probability);
        let whole = match std::str::from_utf8(&pending) {
            Ok(_) => pending.len(),
            Err(error) => match error.error_len() {
                // The rest of a character may come with the next token.
                None => error.valid_up_to(),
                Some(_) => match pending.utf8_chunks().last().map(|chunk| chunk.invalid()) {
                    Some(tail) if std::str::from_utf8(tail).is_err_and(|e| e.error_len().is_none()) => {
                        pending.len() - tail.len()
                    }
                    _ => pending.len(),
                },
            },
        };
        if whole > 0 {
            emit(&pending[..whole], probability);
            pending.drain(..whole);
            probability = if pending.is_empty() { f32::MAX } else { token.probability };
        }
    }
    emit(&pending, probability);
    pieces
}

fn begins_word(before: &str, piece: &str) -> bool {
    let (Some(last), Some(first)) = (before.chars().last(), piece.chars().next()) else { return true };
    if before.trim().is_empty() {
        return false;
    }
    if first.is_whitespace() {
        return true;
    }
    let opening = before.trim_start().chars().all(|c| "「『（【《〈“‘([{¿¡\"".contains(c));
    !opening && (unspaced(first) || (unspaced(last) && first.is_alphanumeric()))
}

/// Characters of scripts that put no space between words: Thai, Lao, Burmese, Khmer, kana, Han.
fn unspaced(c: char) -> bool {
    matches!(u32::from(c),
        0x0e00..=0x0eff | 0x1000..=0x109f | 0x1780..=0x17ff | 0x3040..=0x30fb | 0x30fd..=0x30ff | 0x31f0..=0x31ff
        | 0x3400..=0x4dbf | 0x4e00..=0x9fff | 0xf900..=0xfaff | 0x20000..=0x3134f)
}

/// About how long a text takes to say, relative to others; punctuation takes none.
pub fn effort(text: &str) -> f64 {
    text.chars()
        .map(|c| match c {
            _ if unspaced(c) => 3.0,
            '0'..='9' => 3.0,
            _ if c.is_alphabetic() => 1.0,
            _ => 0.0,
        })
        .sum::<f64>()
        .max(0.5)
}

/// When each word of a phrase was said: the time that has sound is shared out by effort, and borders move to the nearest quiet moment.
/// `levels` are those of the phrase's frames, each `frame` seconds long, the first at `start`; sound is what is louder than `loud`.
pub fn times(words: &[Piece], start: f64, end: f64, levels: &[f32], loud: f32, frame: f64) -> Vec<(f64, f64)> {
    let weights: Vec<f64> = levels.iter().map(|level| if *level > loud { 1.0 } else { 0.05 }).collect();
    let sound: f64 = weights.iter().sum();
    let total: f64 = words.iter().map(|word| effort(&word.text)).sum();
    let mut said = 0.0;
    // Where each word but the first would begin if nothing but effort counted.
    let mut shares = vec![start];
    for word in &words[..words.len().saturating_sub(1)] {
        said += effort(&word.text);
        let share = said / total;
        let at = match sound > 0.0 {
            true => start + frame_of_share(&weights, share * sound) as f64 * frame,
            false => start + share * (end - start),
        };
        shares.push(at.min(end));
    }
    shares.push(end);
    let mut borders = vec![(start, start)];
    for around in shares.windows(3).take(words.len().saturating_sub(1)) {
        let [last, at, next] = [around[0], around[1], around[2]];
        let (before, after) = quiet_near(levels, ((at - start) / frame).round() as usize, loud);
        // A border takes at most half of either word.
        let before = (start + before as f64 * frame).clamp(at - (at - last) / 2.0, at);
        let after = (start + after as f64 * frame).clamp(before, at + (next - at) / 2.0);
        borders.push((before, after));
    }
    borders.push((end, end));
    borders.windows(2).take(words.len()).map(|pair| (pair[0].1, pair[1].0)).collect()
}

fn frame_of_share(weights: &[f64], share: f64) -> usize {
    let mut sum = 0.0;
    weights
        .iter()
        .position(|weight| {
            sum += weight;
            sum >= share
        })
        .unwrap_or(weights.len().saturating_sub(1))
}

/// The pause nearest to a frame, as its first frame and the one after it; without one, the quietest frame around, as a point.
fn quiet_near(levels: &[f32], at: usize, loud: f32) -> (usize, usize) {
    const REACH: usize = 5;
    let around = at.saturating_sub(REACH)..(at + REACH + 1).min(levels.len());
    let quiet = |at: usize| levels[at] <= loud;
    match around.clone().filter(|frame| quiet(*frame)).min_by_key(|frame| frame.abs_diff(at)) {
        Some(frame) => {
            let before = (0..frame).rev().take_while(|at| quiet(*at)).last().unwrap_or(frame);
            let after = (frame..levels.len()).take_while(|at| quiet(*at)).last().map_or(frame, |at| at + 1);
            (before, after)
        }
        None => {
            let near = at.saturating_sub(2)..(at + 3).min(levels.len());
            let point = near.min_by(|a, b| levels[*a].total_cmp(&levels[*b])).unwrap_or(at);
            (point, point)
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn token(bytes: &[u8]) -> Token {
        Token { bytes: bytes.to_vec(), probability: 0.5, log_probability: -0.7 }
    }

    fn texts(tokens: &[&[u8]]) -> Vec<String> {
        let tokens: Vec<Token> = tokens.iter().map(|bytes| token(bytes)).collect();
        words(&tokens).into_iter().map(|word| word.text).collect()
    }

    #[test]
    fn words_begin_at_spaces() {
        assert_eq!(texts(&[b" Hel", b"lo", b",", b" world", b"!"]), [" Hello,", " world!"]);
        assert_eq!(texts(&[b" don", b"'t", b" ", b"stop", b" "]), [" don't", " stop"]);
        assert_eq!(texts(&[]), [""; 0]);
        assert_eq!(texts(&[b" "]), [""; 0]);
    }

    #[test]
    fn characters_spread_over_tokens_are_put_together() {
        let ni = "你".as_bytes();
        let hao = "好".as_bytes();
        assert_eq!(texts(&[&ni[..1], &ni[1..], &hao[..2], &hao[2..], "。".as_bytes()]), ["你", "好。"]);
        assert_eq!(texts(&[b" caf", &"é".as_bytes()[..1], &"é".as_bytes()[1..]]), [" café"]);
    }

    #[test]
    fn bytes_that_make_no_character_are_left_out() {
        assert_eq!(texts(&[b" a", b"\xff", b"b", b"\xe4\xbd"]), [" ab"]);
    }

    #[test]
    fn scripts_without_spaces_go_by_character_and_keep_their_brackets() {
        assert_eq!(
            texts(&["「".as_bytes(), "今日".as_bytes(), "」".as_bytes(), "は".as_bytes(), b"AI"]),
            ["「今日」", "は", "AI"]
        );
        assert_eq!(texts(&["コー".as_bytes(), "ヒー".as_bytes()]).concat(), "コーヒー");
    }

    #[test]
    fn borders_fall_into_pauses() {
        let said = [Piece { text: " one".into(), probability: 1.0 }, Piece { text: " two".into(), probability: 1.0 }];
        let mut levels = vec![-20.0; 30];
        levels[12..16].fill(-70.0);
        let times = times(&said, 5.0, 6.0, &levels, -50.0, 1.0 / 30.0);
        let near = |a: f64, b: f64| (a - b).abs() < 0.01;
        assert!(near(times[0].1, 5.4) && near(times[1].0, 5.0 + 16.0 / 30.0), "{times:?}");
        assert!(times[0].0 == 5.0 && times[1].1 == 6.0);
    }

    proptest! {
        #[test]
        fn any_tokens_give_their_own_text(parts in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..4), 0..12)) {
            let tokens: Vec<Token> = parts.iter().map(|bytes| token(bytes)).collect();
            let words = words(&tokens);
            prop_assert!(words.iter().all(|word| !word.text.trim().is_empty()));
        }

        #[test]
        fn any_text_comes_back_whole(text in "[a-zé 你好。ก]{0,20}", cut in 1usize..4) {
            let tokens: Vec<Token> = text.as_bytes().chunks(cut).map(token).collect();
            let joined: String = words(&tokens).into_iter().map(|word| word.text).collect();
            prop_assert_eq!(joined.trim(), text.trim());
        }

        #[test]
        fn times_are_in_order(
            count in 0usize..12,
            levels in prop::collection::vec(-75f32..0.0, 0..60),
        ) {
            let words: Vec<Piece> = (0..count).map(|i| Piece { text: "x".repeat(i + 1), probability: 1.0 }).collect();
            let times = times(&words, 1.0, 3.0, &levels, -40.0, 0.032);
            prop_assert_eq!(times.len(), words.len());
            let flat: Vec<f64> = times.iter().flat_map(|t| [t.0, t.1]).collect();
            prop_assert!(flat.windows(2).all(|pair| pair[0] <= pair[1]), "{:?}", flat);
            prop_assert!(flat.iter().all(|t| (1.0..=3.0).contains(t)));
        }
    }
}
