//! Transcribe: samples to timed text, by a whisper model.

use serde::{Deserialize, Serialize};

use crate::id::{AddressHasher, ContentHash};

/// A model of speech: the name the user gave, and where the daemon found it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ModelRef {
    pub name: String,
    /// Absolute path; filled in by the daemon when it accepts the batch.
    pub path: crate::job::PathBytes,
    /// Identity of the file's content; filled in by the daemon.
    pub hash: Option<ContentHash>,
    /// Knows English only; filled in by the daemon from the file's header.
    pub english_only: bool,
}

// A type written with its whole path is no `Option` or `Vec` to clap's derive, but one value with a parser of its own.
/// How to listen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Transcribe {
    /// Model of speech: a name from `spindlectl models list`, or the path of a ggml file
    #[cfg_attr(feature = "cli", arg(long, value_name = "MODEL", default_value = "base", value_parser = cli::model))]
    pub model: ModelRef,
    /// Language spoken: a code (`de`), an English name (`german`), or `auto` to detect it
    #[cfg_attr(feature = "cli", arg(long, value_name = "LANG", default_value = "auto", value_parser = cli::language))]
    // `None` = detect.
    pub language: std::option::Option<String>,
    /// Languages that detection chooses among (`de,en`); all that the model knows, if left out
    #[cfg_attr(feature = "cli", arg(long, value_name = "LANG,…", default_value = "", hide_default_value = true, value_parser = cli::languages))]
    pub languages: std::vec::Vec<String>,
    /// Translate to English
    #[cfg_attr(feature = "cli", arg(long))]
    pub translate: bool,
    /// Text that sets the style and the spelling of names; given to every window
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT"))]
    pub prompt: Option<String>,
    /// Beams of the search at temperature 0; 1–8
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = 5))]
    pub beam_size: u32,
    /// Candidates at higher temperatures; 1–8
    #[cfg_attr(feature = "cli", arg(long, value_name = "N", default_value_t = 5))]
    pub best_of: u32,
    /// First temperature of the fallback ladder; 0–1
    #[cfg_attr(feature = "cli", arg(long, value_name = "T", default_value_t = 0.0))]
    pub temperature: f32,
    /// Take silence and noise as they are, instead of cutting at silences and skipping what is not speech
    #[cfg_attr(feature = "cli", arg(long = "no-vad", action = clap::ArgAction::SetFalse))]
    pub vad: bool,
}

/// Values of options as people write them.
#[cfg(feature = "cli")]
mod cli {
    use super::ModelRef;

    pub(super) fn model(text: &str) -> Result<ModelRef, String> {
        match text.trim() {
            "" => Err("names no model".to_owned()),
            name => Ok(ModelRef { name: name.to_owned(), ..ModelRef::default() }),
        }
    }

    pub(super) fn language(text: &str) -> Result<Option<String>, String> {
        match text.trim() {
            "auto" => Ok(None),
            text => code(text).map(Some),
        }
    }

    pub(super) fn languages(text: &str) -> Result<Vec<String>, String> {
        text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(code).collect()
    }

    fn code(text: &str) -> Result<String, String> {
        let unknown = || format!("`{text}` is no language whisper knows (`spindlectl models languages` lists them)");
        crate::language::code_of(text).map(str::to_owned).ok_or_else(unknown)
    }
}

/// Name of the artifact's file: the transcript as JSON.
pub const TRANSCRIPT_FILE: &str = "transcript.json";

impl Default for Transcribe {
    fn default() -> Self {
        Transcribe {
            model: ModelRef { name: "base".to_owned(), ..ModelRef::default() },
            language: None,
            languages: Vec::new(),
            translate: false,
            prompt: None,
            beam_size: 5,
            best_of: 5,
            temperature: 0.0,
            vad: true,
        }
    }
}

impl Transcribe {
    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        let model = self.model.hash.map_or([0; 32], |hash| hash.0);
        hasher
            .part(&model)
            .part(self.language.as_deref().unwrap_or("auto").as_bytes())
            .part(self.languages.join(",").as_bytes())
            .part(&[u8::from(self.translate), u8::from(self.vad)])
            .part(self.prompt.as_deref().unwrap_or("").as_bytes())
            .part(&self.beam_size.to_le_bytes())
            .part(&self.best_of.to_le_bytes())
            .part(&self.temperature.to_bits().to_le_bytes());
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        if !(1..=8).contains(&self.beam_size) {
            return Err(format!("--beam-size {} is outside 1–8", self.beam_size));
        }
        if !(1..=8).contains(&self.best_of) {
            return Err(format!("--best-of {} is outside 1–8", self.best_of));
        }
        if !(0.0..=1.0).contains(&self.temperature) {
            return Err(format!("--temperature {} is outside 0–1", self.temperature));
        }
        if let Some(prompt) = &self.prompt
            && prompt.len() > crate::limits::PROMPT_BYTES_MAX
        {
            return Err(format!("--prompt has {} bytes, more than {}", prompt.len(), crate::limits::PROMPT_BYTES_MAX));
        }
        if let Some(bad) = self.language.iter().chain(&self.languages).find(|code| !crate::language::is_known(code)) {
            return Err(format!("language `{bad}` is none whisper knows (`spindlectl models languages` lists them)"));
        }
        if self.model.english_only && self.language.as_deref().is_some_and(|code| code != "en") {
            return Err(format!("model `{}` knows English only; take one without `.en`", self.model.name));
        }
        Ok(())
    }
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;

    fn parsed(options: &[&str]) -> Result<Transcribe, clap::Error> {
        let command = Transcribe::augment_args(clap::Command::new("test").no_binary_name(true));
        Transcribe::from_arg_matches(&command.try_get_matches_from(options)?)
    }

    #[test]
    fn without_options_the_defaults_stand() {
        assert_eq!(parsed(&[]).unwrap(), Transcribe::default());
    }

    #[test]
    fn languages_are_named_by_code_or_name() {
        for (text, code) in [("de", Some("de")), ("German", Some("de")), ("auto", None), ("haitian creole", Some("ht"))]
        {
            assert_eq!(parsed(&["--language", text]).unwrap().language.as_deref(), code, "{text}");
        }
        assert_eq!(parsed(&["--languages", "de, English"]).unwrap().languages, ["de", "en"]);
        assert!(parsed(&["--language", "klingon"]).is_err());
        assert!(!parsed(&["--no-vad"]).unwrap().vad);
    }
}
