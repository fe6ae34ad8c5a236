//! What is wrong with a configuration, and where it stands. Finds nothing wrong itself.

use std::fmt;
use std::path::PathBuf;

use super::place;

#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    #[error("failed to read the configuration {}: {error}", .path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Wrong(Vec<Wrong>),
}

/// One thing that is wrong, and where it stands.
#[derive(Debug)]
pub struct Wrong {
    pub(super) origin: Origin,
    /// `section.key`; empty where there is none.
    pub(super) key: String,
    pub(super) message: String,
}

#[derive(Debug)]
pub(super) enum Origin {
    File { path: PathBuf, line: Option<usize> },
    Environment(String),
}

impl fmt::Display for Wrong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.origin {
            Origin::File { path, line: Some(line) } => write!(f, "{}, line {line}: ", path.display())?,
            Origin::File { path, line: None } => write!(f, "{}: ", path.display())?,
            Origin::Environment(name) => write!(f, "the environment's {name}: ")?,
        }
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        f.write_str(&self.message)
    }
}

/// A key, and what is wrong with its value.
pub(super) type Fault = (String, String);

/// What serde says of a key that doesn't exist, said so that it helps.
pub(super) fn helpful(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let unknown = message.strip_prefix("unknown field").and_then(|_| quoted.next());
    let Some(unknown) = unknown else { return message.trim_end().to_owned() };
    let known: Vec<&str> = quoted.collect();
    match place::nearest(unknown, known.iter().copied()) {
        Some(near) => format!("there is no key `{unknown}`; did you mean `{near}`?"),
        None => format!("there is no key `{unknown}`; there are {}", known.join(", ")),
    }
}
