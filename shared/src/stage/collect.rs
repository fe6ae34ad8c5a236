//! Collect: the texts of all inputs in one document.

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;

/// What the document is written as; its name is its extension.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum DocumentFormat {
    /// Markdown: a heading for each input
    Md,
    /// Plain text: each input's name, underlined
    Txt,
}

impl DocumentFormat {
    pub fn name(self) -> &'static str {
        match self {
            DocumentFormat::Md => "md",
            DocumentFormat::Txt => "txt",
        }
    }
}

/// One document of the texts of all inputs that succeeded, in input order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::Args))]
pub struct Collect {
    /// What the document is written as
    #[cfg_attr(feature = "cli", arg(long, value_name = "FORMAT", default_value = "md"))]
    pub format: DocumentFormat,
    /// Title above everything
    #[cfg_attr(feature = "cli", arg(long, value_name = "TEXT"))]
    pub title: Option<String>,
}

/// Stem of the artifact's file; its extension is the format's name.
pub const DOCUMENT_STEM: &str = "document";

impl Default for Collect {
    fn default() -> Self {
        Collect { format: DocumentFormat::Md, title: None }
    }
}

impl Collect {
    /// Which of the inputs' files it reads.
    pub fn reads(name: &str) -> bool {
        name.ends_with(".txt")
    }

    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        hasher.part(self.format.name().as_bytes()).part(self.title.as_deref().unwrap_or("").as_bytes());
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        let max = crate::limits::NAME_BYTES_MAX;
        match self.title.as_ref().map_or(0, String::len) {
            long if long > max => Err(format!("--title has {long} bytes, more than {max}")),
            _ => Ok(()),
        }
    }
}
