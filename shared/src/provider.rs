//! Providers: model APIs by name, what of them a stage knows, and where their keys are found. Holds no key and opens no connection.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;
use crate::job::PathBytes;

/// A provider as a stage names it; which models that means the daemon fills in when it accepts the batch.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ProviderRef {
    pub name: String,
    /// Sees pictures.
    pub model: String,
    /// Reads and writes texts; where there is no other, the same.
    pub text_model: String,
}

impl ProviderRef {
    pub fn named(name: impl Into<String>) -> Self {
        ProviderRef { name: name.into(), ..ProviderRef::default() }
    }

    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        hasher.part(self.name.as_bytes()).part(self.model.as_bytes()).part(self.text_model.as_bytes());
    }
}

/// Where a key is read, by the process that needs it and by no other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum KeySource {
    /// A variable of the daemon's environment.
    Environment(String),
    /// The first line of a file, by its absolute path.
    File(PathBytes),
    /// A file in `$CREDENTIALS_DIRECTORY`, where systemd puts what it was told to hand over.
    Credential(String),
}

impl std::str::FromStr for KeySource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let name =
            |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"_.-".contains(&b));
        match text.split_once(':') {
            Some(("env", variable)) if name(variable) => Ok(KeySource::Environment(variable.to_owned())),
            Some(("file", path)) if path.starts_with('/') => Ok(KeySource::File(PathBytes(path.as_bytes().to_vec()))),
            Some(("credential", file)) if name(file) && !file.starts_with('.') => {
                Ok(KeySource::Credential(file.to_owned()))
            }
            // What stands there may be a key: it is not repeated.
            _ => Err("a key is named by where it is: env:VARIABLE, file:/PATH or credential:NAME".to_owned()),
        }
    }
}

impl fmt::Display for KeySource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            KeySource::Environment(variable) => write!(f, "env:{variable}"),
            KeySource::File(path) => write!(f, "file:{path}"),
            KeySource::Credential(name) => write!(f, "credential:{name}"),
        }
    }
}

/// What a run needs to ask a provider.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Call {
    pub provider: String,
    /// What `/chat/completions` is put behind.
    pub endpoint: String,
    /// `None` = it wants none.
    pub key: Option<KeySource>,
    /// Whether it takes a schema that its answer has to follow.
    pub structured: bool,
    /// For one exchange, from connection to the answer's last byte.
    pub timeout_ms: u64,
    /// Tokens of one answer at most.
    pub answer_tokens: u32,
    /// Calls that this run may make.
    pub calls: u32,
}

/// What a run has asked of a provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Usage {
    pub calls: u32,
    pub tokens_in: u64,
    pub tokens_out: u64,
}

impl Usage {
    pub fn tokens(self) -> u64 {
        self.tokens_in.saturating_add(self.tokens_out)
    }
}

impl std::ops::AddAssign for Usage {
    fn add_assign(&mut self, more: Usage) {
        self.calls = self.calls.saturating_add(more.calls);
        self.tokens_in = self.tokens_in.saturating_add(more.tokens_in);
        self.tokens_out = self.tokens_out.saturating_add(more.tokens_out);
    }
}

/// A provider as people see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProviderView {
    pub name: String,
    pub endpoint: String,
    pub model: String,
    pub text_model: String,
    /// Where its keys are looked for, and whether something is there.
    pub keys: Vec<(String, bool)>,
    pub at_once: u32,
    pub calls_per_minute: Option<u32>,
    pub tokens_per_minute: Option<u64>,
    pub calls_per_day: Option<u32>,
    /// For a million tokens; `None` = nobody said.
    pub price_in: Option<f64>,
    pub price_out: Option<f64>,
    /// Whether it stands in the configuration, or is one that Spindle knows.
    pub configured: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_named_by_their_place_and_never_repeated() {
        for text in ["env:DASHSCOPE_API_KEY", "file:/run/keys/a", "credential:openai.key"] {
            assert_eq!(text.parse::<KeySource>().unwrap().to_string(), text);
        }
        for wrong in ["sk-secret", "env:", "env:A B", "file:relative", "credential:../x", "credential:.hidden", "x:y"] {
            let told = wrong.parse::<KeySource>().unwrap_err();
            assert!(!told.contains("secret") && !told.contains("hidden"), "{told}");
        }
    }
}
