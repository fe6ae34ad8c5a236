//! JSON: the whole transcript with words and probabilities, in the field names that tools around whisper use.

use std::io::{self, BufRead, Write};

use serde::Serialize;

use crate::language::transcript::Transcript;

#[derive(Serialize)]
struct Document<'a> {
    language: &'a str,
    language_probability: f32,
    duration: f64,
    segments: Vec<Segment<'a>>,
}

#[derive(Serialize)]
struct Segment<'a> {
    id: usize,
    start: f64,
    end: f64,
    text: &'a str,
    avg_logprob: f32,
    no_speech_prob: f32,
    words: Vec<Word<'a>>,
}

#[derive(Serialize)]
struct Word<'a> {
    start: f64,
    end: f64,
    word: &'a str,
    probability: f32,
}

pub fn write(transcript: &Transcript, to: &mut impl Write) -> io::Result<()> {
    let document = Document {
        language: &transcript.language,
        language_probability: transcript.language_probability,
        duration: to_ms(transcript.duration),
        segments: transcript
            .segments
            .iter()
            .enumerate()
            .map(|(id, segment)| Segment {
                id,
                start: to_ms(segment.start),
                end: to_ms(segment.end),
                text: &segment.text,
                avg_logprob: segment.avg_logprob,
                no_speech_prob: segment.no_speech_prob,
                words: segment
                    .words
                    .iter()
                    .map(|word| Word {
                        start: to_ms(word.start),
                        end: to_ms(word.end),
                        word: &word.text,
                        probability: word.probability,
                    })
                    .collect(),
            })
            .collect(),
    };
    serde_json::to_writer(&mut *to, &document)?;
    writeln!(to)
}

/// Times end at milliseconds; more digits would be noise.
fn to_ms(seconds: f64) -> f64 {
    (seconds * 1000.0).round() / 1000.0
}

/// Whether this is one JSON document.
pub fn check(file: impl BufRead) -> Result<(), String> {
    serde_json::from_reader::<_, serde::de::IgnoredAny>(file).map(|_| ()).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::language::transcript;

    #[test]
    fn everything_that_was_heard_is_there_under_its_usual_name() {
        let words = vec![transcript::Word { start: 0.1, end: 0.500_04, text: " Hi".to_owned(), probability: 0.9 }];
        let segments = vec![transcript::Segment {
            start: 0.1,
            end: 0.5,
            text: "Hi".to_owned(),
            words,
            avg_logprob: -0.25,
            no_speech_prob: 0.01,
        }];
        let transcript =
            Transcript { language: "en".to_owned(), language_probability: 0.75, duration: 12.345_6, segments };
        let mut out = Vec::new();
        write(&transcript, &mut out).unwrap();
        assert_eq!(
            String::from_utf8(out.clone()).unwrap(),
            concat!(
                r#"{"language":"en","language_probability":0.75,"duration":12.346,"segments":[{"id":0,"start":0.1,"end":0.5,"#,
                r#""text":"Hi","avg_logprob":-0.25,"no_speech_prob":0.01,"#,
                r#""words":[{"start":0.1,"end":0.5,"word":" Hi","probability":0.9}]}]}"#,
                "\n"
            )
        );
        assert_eq!(check(&out[..]), Ok(()));
        assert!(check(&out[..out.len() - 3]).is_err());
    }
}
