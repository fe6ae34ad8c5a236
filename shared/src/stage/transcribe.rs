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

/// How to listen.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Transcribe {
    pub model: ModelRef,
    /// `None` = detect.
    pub language: Option<String>,
    /// Detection chooses among these; empty = all the model knows.
    pub languages: Vec<String>,
    /// Translate to English.
    pub translate: bool,
    /// Text that sets the style and the spelling of names; given to every window.
    pub prompt: Option<String>,
    /// Beams of the search at temperature 0; 1–8.
    pub beam_size: u32,
    /// Candidates at higher temperatures; 1–8.
    pub best_of: u32,
    /// First temperature of the fallback ladder; 0–1.
    pub temperature: f32,
    /// Cut at silences and skip what is not speech.
    pub vad: bool,
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
