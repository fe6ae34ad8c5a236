//! Rules for clips: which scenes of a video are wanted, as a small language in TOML. Knows no video; whoever measured the scenes applies them.
//!
//! [`EXAMPLE`] shows all of it.
//!
//! A scene is taken by the first rule all of whose conditions hold. A condition on something that was not measured (sound in a silent
//! video, text without a transcript) does not hold.

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;
use crate::limits::{RULE_TEXTS_MAX, RULES_MAX};

/// Every key there is.
pub const EXAMPLE: &str = r#"# Clips are cut from scenes: what lies between two scene changes.
[[clip]]
name = "applause"          # told as the reason of the clips that it finds
weight = 9                 # 1–10, larger comes first; 5 if left out
sound = { min = -25 }      # loudness of the scene in LUFS
sound-rise = { min = 6 }   # how much louder it gets than it was before, in dB
speech = { max = 0.2 }     # share of the time that somebody speaks, 0–1
motion = { min = 0.5 }     # movement, 0–1, 1 = the liveliest of this video
length = { min = 2, max = 60 }   # of the scene, in seconds
position = { min = 0.5 }   # where in the video it begins, 0–1
text = ["bravo", "encore"] # one of these is said; needs a transcript: `submit highlights --model NAME`
without-text = ["advert"]  # none of these is said; likewise
longest = 12               # the clip, in seconds: the liveliest part of a longer scene; 15 if left out
"#;

/// A file of rules, in its order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Rules {
    pub clips: Vec<ClipRule>,
}

/// What a scene must be like to become a clip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClipRule {
    pub name: String,
    /// 1–10.
    pub weight: f64,
    /// Longest clip in seconds.
    pub longest: f64,
    /// Loudness in LUFS.
    pub sound: Option<Range>,
    /// In dB above what was before.
    pub sound_rise: Option<Range>,
    /// Share of the time, 0–1.
    pub speech: Option<Range>,
    /// 0–1.
    pub motion: Option<Range>,
    /// Of the scene in seconds.
    pub length: Option<Range>,
    /// Of the scene's beginning in the video, 0–1.
    pub position: Option<Range>,
    /// One of these is said; empty = whatever is said.
    pub text: Vec<String>,
    /// None of these is said.
    pub without_text: Vec<String>,
}

/// Both ends belong to it; an end that is left out is open.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Range {
    pub min: Option<f64>,
    pub max: Option<f64>,
}

/// A scene as it was measured.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Measured<'a> {
    pub sound: Option<f64>,
    pub sound_rise: Option<f64>,
    pub speech: Option<f64>,
    pub motion: Option<f64>,
    pub length: f64,
    pub position: f64,
    /// `None` = nobody listened.
    pub text: Option<&'a str>,
}

impl Range {
    pub fn holds(self, value: f64) -> bool {
        self.min.is_none_or(|min| value >= min) && self.max.is_none_or(|max| value <= max)
    }
}

impl Rules {
    /// The first rule that takes this scene.
    pub fn take(&self, scene: &Measured<'_>) -> Option<&ClipRule> {
        self.clips.iter().find(|rule| rule.takes(scene))
    }

    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        hasher.part(&crate::wire::codec::encode(self));
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.clips.is_empty() || self.clips.len() > RULES_MAX {
            return Err(format!("a file of rules has 1–{RULES_MAX} `[[clip]]`, this one {}", self.clips.len()));
        }
        self.clips.iter().try_for_each(|rule| rule.validate().map_err(|(key, message)| format!("{key}: {message}")))
    }
}

impl ClipRule {
    /// Whether it takes a transcript to say if it holds.
    pub fn asks_texts(&self) -> bool {
        !self.text.is_empty() || !self.without_text.is_empty()
    }

    fn takes(&self, scene: &Measured<'_>) -> bool {
        let holds = |range: Option<Range>, value: Option<f64>| {
            range.is_none_or(|range| value.is_some_and(|value| range.holds(value)))
        };
        let said = scene.text.map(str::to_lowercase);
        let says = |word: &String| said.as_ref().is_some_and(|said| said.contains(&word.to_lowercase()));
        holds(self.sound, scene.sound)
            && holds(self.sound_rise, scene.sound_rise)
            && holds(self.speech, scene.speech)
            && holds(self.motion, scene.motion)
            && holds(self.length, Some(scene.length))
            && holds(self.position, Some(scene.position))
            && (self.text.is_empty() || self.text.iter().any(says))
            && (self.without_text.is_empty() || said.is_some() && !self.without_text.iter().any(says))
    }

    /// The key that is wrong, and why.
    fn validate(&self) -> Result<(), (&'static str, String)> {
        if self.name.is_empty() || self.name.len() > crate::limits::NAME_BYTES_MAX {
            return Err(("name", format!("has 1–{} bytes", crate::limits::NAME_BYTES_MAX)));
        }
        if !(1.0..=10.0).contains(&self.weight) {
            return Err(("weight", format!("{} is outside 1–10", self.weight)));
        }
        if !(0.5..=600.0).contains(&self.longest) {
            return Err(("longest", format!("{} is outside 0.5–600", self.longest)));
        }
        let ranges = [
            ("sound", self.sound, -100.0, 20.0),
            ("sound-rise", self.sound_rise, -100.0, 100.0),
            ("speech", self.speech, 0.0, 1.0),
            ("motion", self.motion, 0.0, 1.0),
            ("length", self.length, 0.0, 86_400.0),
            ("position", self.position, 0.0, 1.0),
        ];
        for (key, range, least, most) in ranges {
            let Some(Range { min, max }) = range else { continue };
            if min.is_none() && max.is_none() {
                return Err((key, "says neither min nor max".to_owned()));
            }
            if let Some(wrong) = min.iter().chain(&max).find(|value| !(least..=most).contains(*value)) {
                return Err((key, format!("{wrong} is outside {least}–{most}")));
            }
            if let (Some(min), Some(max)) = (min, max)
                && min > max
            {
                return Err((key, format!("min {min} is above max {max}")));
            }
        }
        for (key, texts) in [("text", &self.text), ("without-text", &self.without_text)] {
            if texts.len() > RULE_TEXTS_MAX {
                return Err((key, format!("{} texts are more than {RULE_TEXTS_MAX}", texts.len())));
            }
            if texts.iter().any(|text| text.trim().is_empty() || text.len() > crate::limits::NAME_BYTES_MAX) {
                return Err((key, format!("every text has 1–{} bytes", crate::limits::NAME_BYTES_MAX)));
            }
        }
        Ok(())
    }
}

#[cfg(feature = "cli")]
pub use file::{WrongRules, parse};

/// The file as people write it.
#[cfg(feature = "cli")]
mod file {
    use serde::Deserialize;
    use toml::Spanned;

    use super::{ClipRule, Range, Rules};

    const WEIGHT: f64 = 5.0;
    const LONGEST_SECONDS: f64 = 15.0;

    /// What is wrong with a file of rules, and where.
    #[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
    #[error("{line}: {message}")]
    pub struct WrongRules {
        pub line: usize,
        /// Names the key.
        pub message: String,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct RulesFile {
        #[serde(default)]
        clip: Vec<Spanned<toml::Table>>,
    }

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields, rename_all = "kebab-case")]
    struct ClipFile {
        name: Option<String>,
        weight: Option<f64>,
        longest: Option<f64>,
        sound: Option<Range>,
        sound_rise: Option<Range>,
        speech: Option<Range>,
        motion: Option<Range>,
        length: Option<Range>,
        position: Option<Range>,
        #[serde(default)]
        text: Vec<String>,
        #[serde(default)]
        without_text: Vec<String>,
    }

    /// Every mistake is told with its line and key.
    pub fn parse(text: &str) -> Result<Rules, WrongRules> {
        let line =
            |offset: usize| text.as_bytes()[..offset.min(text.len())].iter().filter(|byte| **byte == b'\n').count() + 1;
        let told = |error: toml::de::Error| WrongRules {
            line: error.span().map_or(1, |span| line(span.start)),
            message: error.message().to_owned(),
        };
        let file: RulesFile = toml::from_str(text).map_err(told)?;
        let mut clips = Vec::new();
        for (number, table) in (1..).zip(file.clip) {
            let span = table.span();
            // The line of a key in its table; of the table's own where it stands otherwise than plainly.
            let of_key = |key: &str| {
                let body = &text[span.start.min(text.len())..];
                let after = body.find('\n').map_or("", |end| &body[end..]);
                let own = after.find("\n[[").map_or(after, |next| &after[..next]);
                let at = own.lines().position(|line| {
                    let name = line.split('=').next().unwrap_or_default();
                    line.contains('=') && name.trim().trim_matches(['"', '\'']) == key
                });
                line(span.start) + at.unwrap_or(0)
            };
            let wrong =
                |key: &str, message: String| WrongRules { line: of_key(key), message: format!("{key}: {message}") };
            let table = table.get_ref().clone();
            for (key, value) in &table {
                // One key at a time, so that a mistake is told of the key it is in.
                let alone = toml::Table::from_iter([(key.clone(), value.clone())]);
                if let Err(error) = alone.try_into::<ClipFile>() {
                    return Err(wrong(key, error.message().to_owned()));
                }
            }
            let clip: ClipFile =
                table.try_into().map_err(|error: toml::de::Error| wrong("clip", error.message().to_owned()))?;
            let rule = ClipRule {
                name: clip.name.unwrap_or_else(|| format!("rule {number}")),
                weight: clip.weight.unwrap_or(WEIGHT),
                longest: clip.longest.unwrap_or(LONGEST_SECONDS),
                sound: clip.sound,
                sound_rise: clip.sound_rise,
                speech: clip.speech,
                motion: clip.motion,
                length: clip.length,
                position: clip.position,
                text: clip.text,
                without_text: clip.without_text,
            };
            rule.validate().map_err(|(key, message)| wrong(key, message))?;
            clips.push(rule);
        }
        let rules = Rules { clips };
        rules.validate().map_err(|message| WrongRules { line: 1, message })?;
        Ok(rules)
    }

    #[cfg(test)]
    mod tests {
        use proptest::prelude::*;

        use super::super::{EXAMPLE, Measured};
        use super::*;

        #[test]
        fn the_documented_example_is_read() {
            let rules = parse(EXAMPLE).unwrap();
            let [rule] = rules.clips.as_slice() else { panic!("{rules:?}") };
            assert_eq!((rule.name.as_str(), rule.weight, rule.longest), ("applause", 9.0, 12.0));
            assert_eq!(rule.sound, Some(Range { min: Some(-25.0), max: None }));
            assert_eq!(rule.text, ["bravo", "encore"]);
        }

        #[test]
        fn mistakes_are_told_with_line_and_key() {
            for (text, told) in [
                ("", "1: a file of rules has 1–100 `[[clip]]`, this one 0"),
                ("clip = 3", "1: invalid type: integer `3`, expected a sequence"),
                ("[[clip]]\nweight = 11", "2: weight: 11 is outside 1–10"),
                (
                    "[[clip]]\n\n# quick\nspeach = { min = 1 }",
                    "4: speach: unknown field `speach`, expected one of `name`, `weight`, `longest`, `sound`, `sound-rise`, `speech`, `motion`, `length`, `position`, `text`, `without-text`",
                ),
                ("[[clip]]\nname = 'a'\n[[clip]]\nname = 'b'\nspeech = { min = 2 }", "5: speech: 2 is outside 0–1"),
                ("[[clip]]\nmotion = { }", "2: motion: says neither min nor max"),
                ("[[clip]]\nlength = { min = 9, max = 3 }", "2: length: min 9 is above max 3"),
                ("[[clip]]\nlength = { from = 9 }", "2: length: unknown field `from`, expected `min` or `max`"),
                ("[[clip]]\nsound = 'loud'", "2: sound: invalid type: string \"loud\", expected struct Range"),
                ("[[clip]]\ntext = ['']", "2: text: every text has 1–200 bytes"),
                ("[[clip]]\nname = 'x", "2: invalid literal string, expected `'`"),
                ("[other]\nx = 1", "1: unknown field `other`, expected `clip`"),
            ] {
                assert_eq!(parse(text).unwrap_err().to_string(), told, "{text}");
            }
        }

        #[test]
        fn a_scene_is_taken_by_the_first_rule_whose_conditions_all_hold() {
            let rules = parse(
                "[[clip]]\nname = 'loud'\nsound = { min = -20 }\n[[clip]]\nname = 'said'\ntext = ['Tor']\n\
                 [[clip]]\nname = 'long and calm'\nlength = { min = 10 }\nmotion = { max = 0.2 }\nwithout-text = ['advert']",
            )
            .unwrap();
            let of = |scene: Measured<'_>| rules.take(&scene).map(|rule| rule.name.clone());
            let scene = |text| Measured { length: 12.0, motion: Some(0.1), text, ..Measured::default() };
            assert_eq!(of(Measured { sound: Some(-20.0), ..scene(Some("ein TOR!")) }).as_deref(), Some("loud"));
            assert_eq!(of(scene(Some("ein TOR!"))).as_deref(), Some("said"));
            assert_eq!(of(scene(Some("nothing"))).as_deref(), Some("long and calm"));
            assert_eq!(of(scene(Some("an Advert"))), None);
            assert_eq!(of(scene(None)), None, "nobody listened");
            assert_eq!(of(Measured { length: 9.9, ..scene(Some("")) }), None);
        }

        proptest! {
            #[test]
            fn no_file_brings_it_down(text in "\\PC*", at in 0..900_usize) {
                let _ = parse(&text);
                let at = (0..=at.min(EXAMPLE.len())).rev().find(|at| EXAMPLE.is_char_boundary(*at)).unwrap_or(0);
                let _ = parse(&format!("{}{text}{}", &EXAMPLE[..at], &EXAMPLE[at..]));
            }
        }
    }
}
