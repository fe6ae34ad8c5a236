//! `[hooks]` and `[notifications]`: who is told of what. Tells nobody, and holds where a secret is, never the secret.

use serde::{Deserialize, Serialize};
use spindle_shared::notify::Notify;

use super::secret::check_place;

/// How what submissions name is told.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Notifications {
    /// Where what signs them is.
    pub secret: Option<String>,
}

/// Somebody who is told of everything of a kind.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Hook {
    /// `batch`, `failure`, `alert`.
    pub on: Vec<String>,
    /// A program and its arguments; without a shell.
    pub command: Vec<String>,
    pub url: Option<String>,
    /// Where what signs it is; default: `notifications.secret`.
    pub secret: Option<String>,
}

impl Hook {
    pub(super) fn check(&self) -> Result<(), (&'static str, String)> {
        if self.on.is_empty() {
            return Err(("on", "it names at least one of batch, failure, alert".to_owned()));
        }
        if let Some(odd) = self.on.iter().find(|on| !["batch", "failure", "alert"].contains(&on.as_str())) {
            return Err(("on", format!("`{odd}` is none of batch, failure, alert")));
        }
        if self.url.is_some() != self.command.is_empty() {
            return Err(("command", "a hook has a command or a url, and not both".to_owned()));
        }
        if let Some(secret) = &self.secret {
            check_place(secret).map_err(|why| ("secret", why))?;
        }
        match &self.url {
            Some(url) => Notify::Webhook { url: url.clone(), secret: None }.validate().map_err(|why| ("url", why)),
            None => Notify::Command(self.command.clone()).validate().map_err(|why| ("command", why)),
        }
    }
}
