//! Templates of reports: what a model is told, and how what it answers is laid out. Read from TOML; three are built in.

use serde::{Deserialize, Serialize};

use crate::id::AddressHasher;
use crate::limits::{NAME_BYTES_MAX, TEMPLATE_BYTES_MAX, TEMPLATE_PARAMETERS_MAX};

/// One template, whole: it travels with the batch, so that a file edited later changes nothing that was submitted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    pub name: String,
    pub version: String,
    pub description: String,
    /// ISO 639-1; what the document is written in.
    pub language: String,
    #[serde(default)]
    pub parameters: Vec<Parameter>,
    #[serde(default)]
    pub model: ModelSettings,
    /// For the model; `{{ name }}` stands for a parameter or a fact.
    pub prompt: String,
    /// Of the document in Markdown, below its front matter.
    pub layout: String,
}

/// Something that whoever submits may say.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameter {
    pub name: String,
    pub description: String,
    #[serde(default)]
    pub required: bool,
    #[serde(default)]
    pub default: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ModelSettings {
    /// 0–2.
    pub temperature: f32,
    /// Of one answer; 256–65536.
    pub answer_tokens: u32,
}

impl Default for ModelSettings {
    fn default() -> Self {
        ModelSettings { temperature: 0.3, answer_tokens: 8_192 }
    }
}

/// The template where none is named.
pub const DEFAULT: &str = "chinese_transcript";

/// Names and texts of those that come with Spindle.
pub const BUILT_IN: [(&str, &str); 3] = [
    ("chinese_transcript", include_str!("stage/templates/chinese_transcript.toml")),
    ("comprehensive_lesson", include_str!("stage/templates/comprehensive_lesson.toml")),
    ("summary_report", include_str!("stage/templates/summary_report.toml")),
];

impl Template {
    pub(crate) fn address_into(&self, hasher: &mut AddressHasher) {
        for text in [&self.name, &self.version, &self.language, &self.prompt, &self.layout] {
            hasher.part(text.as_bytes());
        }
        hasher.part(&self.model.temperature.to_bits().to_le_bytes()).part(&self.model.answer_tokens.to_le_bytes());
        for parameter in &self.parameters {
            hasher.part(parameter.name.as_bytes()).part(parameter.default.as_deref().unwrap_or("").as_bytes());
        }
    }

    pub fn validate(&self) -> Result<(), String> {
        let told = |what: String| Err(format!("the template `{}`: {what}", crate::text::escaped(&self.name)));
        if !is_name(&self.name) {
            return told(format!("its name is 1–{NAME_BYTES_MAX} of a–z, 0–9 and _"));
        }
        let bytes = self.prompt.len() + self.layout.len() + self.description.len() + self.version.len();
        if bytes > TEMPLATE_BYTES_MAX || self.language.len() > NAME_BYTES_MAX {
            return told(format!("its texts have more than {TEMPLATE_BYTES_MAX} bytes"));
        }
        if self.parameters.len() > TEMPLATE_PARAMETERS_MAX {
            return told(format!("it has more than {TEMPLATE_PARAMETERS_MAX} parameters"));
        }
        if let Some(wrong) = self.parameters.iter().find(|parameter| !is_name(&parameter.name)) {
            let shown = crate::text::escaped(&wrong.name);
            return told(format!("`{shown}` is no name of a parameter: a–z, 0–9 and _"));
        }
        if !(0.0..=2.0).contains(&self.model.temperature) {
            return told(format!("temperature {} is outside 0–2", self.model.temperature));
        }
        if !(256..=65_536).contains(&self.model.answer_tokens) {
            return told(format!("answer_tokens {} is outside 256–65536", self.model.answer_tokens));
        }
        Ok(())
    }

    /// Every parameter with its value, in the template's order; the first that is missing or unknown is named.
    pub fn values(&self, given: &[(String, String)]) -> Result<Vec<(String, String)>, String> {
        if let Some((unknown, _)) =
            given.iter().find(|(name, _)| self.parameters.iter().all(|known| known.name != *name))
        {
            let known: Vec<_> = self.parameters.iter().map(|parameter| parameter.name.as_str()).collect();
            let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
            let unknown = crate::text::escaped(unknown);
            return Err(format!("the template `{}` has no parameter `{unknown}`; its parameters: {known}", self.name));
        }
        self.parameters
            .iter()
            .map(|parameter| {
                let given =
                    given.iter().rev().find(|(name, _)| *name == parameter.name).map(|(_, value)| value.clone());
                match given.filter(|value| !value.is_empty()).or_else(|| parameter.default.clone()) {
                    Some(value) => Ok((parameter.name.clone(), value)),
                    None if !parameter.required => Ok((parameter.name.clone(), String::new())),
                    None => Err(format!(
                        "the template `{}` needs the parameter `{}` ({}): give it with --param {}=…",
                        self.name, parameter.name, parameter.description, parameter.name
                    )),
                }
            })
            .collect()
    }
}

fn is_name(name: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_';
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(fits)
}

/// Reads a template; errors point at the line.
#[cfg(feature = "cli")]
pub fn parse(text: &str) -> Result<Template, String> {
    if text.len() > TEMPLATE_BYTES_MAX {
        return Err(format!("it has {} bytes, more than {TEMPLATE_BYTES_MAX}", text.len()));
    }
    let template: Template = toml::from_str(text).map_err(|error| error.to_string())?;
    template.validate()?;
    Ok(template)
}

#[cfg(all(test, feature = "cli"))]
mod tests {
    use super::*;

    #[test]
    fn the_built_in_ones_are_read_and_bear_their_names() {
        for (name, text) in BUILT_IN {
            assert_eq!(parse(text).unwrap_or_else(|error| panic!("{name}: {error}")).name, name);
        }
        assert!(BUILT_IN.iter().any(|(name, _)| *name == DEFAULT));
    }

    #[test]
    fn a_missing_parameter_is_named() {
        let text = "name = \"own\"\nversion = \"1\"\ndescription = \"\"\nlanguage = \"en\"\nprompt = \"\"\nlayout = \"\"\n\
                    [[parameters]]\nname = \"course\"\ndescription = \"which course\"\nrequired = true\n\
                    [[parameters]]\nname = \"level\"\ndescription = \"\"\ndefault = \"easy\"\n";
        let own = parse(text).unwrap();
        let told = own.values(&[]).unwrap_err();
        assert!(told.contains("`course`") && told.contains("which course"), "{told}");
        let told = own.values(&[("curse".to_owned(), "x".to_owned())]).unwrap_err();
        assert!(told.contains("no parameter `curse`") && told.contains("course, level"), "{told}");
        let pair = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        assert_eq!(own.values(&[pair("course", "7")]).unwrap(), [pair("course", "7"), pair("level", "easy")]);
        for (wrong, told) in [
            ("name = \"own\"", "version"),
            (&text.replace("own", "../own"), "its name is"),
            (&text.replace("\"course\"", "\"co-urse\""), "no name of a parameter"),
            (&text.replace("version", "verison"), "verison"),
        ] {
            let error = parse(wrong).unwrap_err();
            assert!(error.contains(told), "{error}");
        }
    }
}
