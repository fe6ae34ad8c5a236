//! Pull: a model from its publisher into the model folder, checked against its hash.

use serde::{Deserialize, Serialize};

/// One model to fetch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pull {
    pub name: String,
    pub url: String,
    /// Final file name inside the model folder.
    pub file: String,
    pub bytes: u64,
    pub sha256: String,
}

impl Pull {
    pub(crate) fn validate(&self) -> Result<(), String> {
        if self.file.is_empty() || self.file.contains('/') || self.file.starts_with('.') {
            return Err(format!("`{}` is no file name for a model", self.file));
        }
        Ok(())
    }
}
