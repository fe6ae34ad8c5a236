//! Reading: the file, and the environment laid over it. What a value means it leaves to the sections, and what it may be to `check.rs`.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;
use spindle_shared::paths::{self, Service};

use super::error::{Origin, Wrong, helpful};
use super::{Config, ConfigError, place};

impl Config {
    /// The named file, which must exist; else the default place, where nothing is as good as defaults.
    pub fn load(named: Option<&Path>, service: Service) -> Result<Config, ConfigError> {
        let path = named.map_or_else(|| paths::configuration(service), Path::to_owned);
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && named.is_none() => String::new(),
            Err(error) => return Err(ConfigError::Read { path, error }),
        };
        Config::parse(&path, &text, std::env::vars())
    }

    pub(super) fn parse(
        path: &Path,
        text: &str,
        environment: impl Iterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let in_file = |error: &toml::de::Error| {
            let span = error.span();
            let line = span.as_ref().map(|span| place::line_at(text, span.start));
            let key = span.map(|span| place::key_at(text, &span)).unwrap_or_default();
            let origin = Origin::File { path: path.to_owned(), line };
            ConfigError::Wrong(vec![Wrong { origin, key, message: helpful(error.message()) }])
        };
        let mut table: toml::Table = toml::from_str(text).map_err(|error| in_file(&error))?;
        // The file alone first, so that its errors keep their line; the environment is laid over it afterwards.
        let mut config: Config = toml::from_str(text).map_err(|error| in_file(&error))?;
        let mut variables: BTreeMap<String, String> = BTreeMap::new();
        for (name, value) in environment {
            let Some(rest) = name.strip_prefix("SPINDLE_").filter(|rest| rest.contains("__")) else { continue };
            let key = rest.to_lowercase().replace("__", ".");
            let value = match (value.parse::<i64>(), value.as_str()) {
                (Ok(number), _) => toml::Value::Integer(number),
                (_, "true" | "false") => toml::Value::Boolean(value == "true"),
                _ => list(&value).unwrap_or(toml::Value::String(value)),
            };
            let wrong = |message: String| {
                let origin = Origin::Environment(name.clone());
                ConfigError::Wrong(vec![Wrong { origin, key: key.clone(), message }])
            };
            insert(&mut table, &key, value).map_err(wrong)?;
            config = Config::deserialize(toml::Value::Table(table.clone()))
                .map_err(|error| wrong(helpful(error.message())))?;
            variables.insert(key, name);
        }
        let faults = config.check();
        if faults.is_empty() {
            return Ok(config);
        }
        let wrongs = faults.into_iter().map(|(key, message)| {
            let origin = match variables.get(&key) {
                Some(name) => Origin::Environment(name.clone()),
                None => Origin::File { path: path.to_owned(), line: place::line_of(text, &key) },
            };
            Wrong { origin, key, message }
        });
        Err(ConfigError::Wrong(wrongs.collect()))
    }
}

/// Puts a value where its key belongs, in sections that are made as needed.
fn insert(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<(), String> {
    match key.split_once('.') {
        None => drop(table.insert(key.to_owned(), value)),
        Some((section, rest)) => {
            let below = table.entry(section).or_insert_with(|| toml::Value::Table(toml::Table::new()));
            let toml::Value::Table(below) = below else { return Err(format!("`{section}` is no section")) };
            insert(below, rest, value)?;
        }
    }
    Ok(())
}

/// A list, written as in the file: `["a", "b"]`.
pub(super) fn list(text: &str) -> Option<toml::Value> {
    let text = Some(text).filter(|text| text.trim_start().starts_with('['))?;
    toml::from_str::<toml::Table>(&format!("list = {text}")).ok()?.remove("list")
}
