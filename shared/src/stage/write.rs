//! Write: a report on a recording: by a model that is asked, or without one from the transcript and the scenes.

use serde::{Deserialize, Serialize};

use super::sight::{PICTURES_MAX, picture_file};
use crate::id::AddressHasher;
use crate::limits::{NAME_BYTES_MAX, TAGS_MAX};
use crate::provider::ProviderRef;
use crate::template::Template;

/// A form of the document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "cli", derive(clap::ValueEnum))]
pub enum DocumentFormat {
    /// Markdown with YAML front matter
    Md,
    /// One page with its pictures in it
    Html,
    /// The data it was made from
    Json,
}

impl DocumentFormat {
    pub fn name(self) -> &'static str {
        match self {
            DocumentFormat::Md => "md",
            DocumentFormat::Html => "html",
            DocumentFormat::Json => "json",
        }
    }
}

/// What to write.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Write {
    pub template: Template,
    /// Values of the template's parameters.
    pub parameters: Vec<(String, String)>,
    /// `None` = without a model.
    pub provider: Option<ProviderRef>,
    pub formats: Vec<DocumentFormat>,
    /// `None` = as the model says, or as the file is called.
    pub title: Option<String>,
    /// Where the recording can be watched: times become links there.
    pub link: Option<String>,
    pub tags: Vec<String>,
    /// What the outputs' names begin with, by which the document names its pictures; filled in by the daemon.
    pub stem: String,
}

/// A title is no longer.
pub const TITLE_CHARS_MAX: usize = 200;

impl Write {
    /// What its files are called in the artifact.
    pub fn file(format: DocumentFormat) -> String {
        format!("document.report.{}", format.name())
    }

    pub(crate) fn endings(&self) -> Vec<String> {
        let documents = self.formats.iter().map(|format| Write::file(*format));
        let pictures = (1..=PICTURES_MAX).map(picture_file);
        let endings = documents.chain(pictures).filter_map(|name| Some(name.split_once('.')?.1.to_owned()));
        endings.collect()
    }

    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        self.template.address_into(hasher);
        for (name, value) in &self.parameters {
            hasher.part(name.as_bytes()).part(value.as_bytes());
        }
        match &self.provider {
            Some(provider) => provider.address_into(hasher),
            None => drop(hasher.part(b"")),
        }
        for format in &self.formats {
            hasher.part(format.name().as_bytes());
        }
        for text in [&self.title, &self.link] {
            hasher.part(text.as_deref().unwrap_or("").as_bytes());
        }
        hasher.part(self.tags.join("\n").as_bytes()).part(self.stem.as_bytes());
    }

    pub(crate) fn validate(&self) -> Result<(), String> {
        self.template.validate()?;
        self.template.values(&self.parameters)?;
        if self.formats.is_empty() {
            return Err("--format names nothing: md, html, json".to_owned());
        }
        if self.title.as_ref().is_some_and(|title| title.chars().count() > TITLE_CHARS_MAX) {
            return Err(format!("--title has more than {TITLE_CHARS_MAX} characters"));
        }
        let is_link = |link: &str| link.starts_with("https://") || link.starts_with("http://");
        if let Some(link) = self.link.as_ref().filter(|link| !is_link(link) || link.len() > 2_000) {
            return Err(format!("--link `{}` is no http or https address", crate::text::escaped(link)));
        }
        if self.tags.len() > TAGS_MAX || self.tags.iter().any(|tag| tag.is_empty() || tag.len() > NAME_BYTES_MAX) {
            return Err(format!("--report-tag: at most {TAGS_MAX}, each of 1–{NAME_BYTES_MAX} bytes"));
        }
        Ok(())
    }
}
