//! `[daemon]` and `[limits]`: who may talk to the daemon, and how much each may have open. Reads no group and asks for nobody's rights.

use serde::{Deserialize, Deserializer, Serialize};
use spindle_shared::paths::Service;

use super::Config;

/// Group of the administrators of the system's service: packages make it, with nobody in it.
pub const ADMINISTRATORS: &str = "spindle-admin";

/// Who may talk to the daemon.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Daemon {
    /// Group of the socket; default: the daemon's own.
    pub socket_group: Option<String>,
    /// Who may connect; default: 0660 for the system's service and where a group is named, else 0600.
    #[serde(deserialize_with = "socket_mode")]
    pub socket_mode: Option<u32>,
    /// Whoever is in it may do what the daemon's user and root may, but name files of this machine; default: [`ADMINISTRATORS`] for the system's
    /// service.
    pub admin_group: Option<String>,
}

/// The three that mean something for a socket, as text (`"0660"`) or, from the environment, as the number with these digits.
fn socket_mode<'de, D: Deserializer<'de>>(value: D) -> Result<Option<u32>, D::Error> {
    let digits = match toml::Value::deserialize(value)? {
        toml::Value::String(text) => text,
        toml::Value::Integer(number) => number.to_string(),
        _ => String::new(),
    };
    match u32::from_str_radix(&digits, 8) {
        Ok(mode @ (0o600 | 0o660 | 0o666)) => Ok(Some(mode)),
        _ => Err(serde::de::Error::custom("a socket's mode is \"0600\", \"0660\" or \"0666\"")),
    }
}

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// Inputs of one batch; default: none but the house's own million.
    pub max_inputs: Option<u32>,
    /// Batches and jobs that one user may have open at the same time; default: any number.
    pub user_batches: Option<u32>,
    pub user_jobs: Option<u32>,
    /// Hours of recordings that are worked through for one user in a day (UTC); default: any number.
    pub user_media_hours: Option<u32>,
}

impl Config {
    /// Mode of the socket. The system's service is there for those in its group.
    pub fn socket_mode(&self, service: Service) -> u32 {
        let to_a_group = service == Service::System || self.daemon.socket_group.is_some();
        self.daemon.socket_mode.unwrap_or(if to_a_group { 0o660 } else { 0o600 })
    }

    /// The group of administrators. Where the machine has no such group, nobody is in it.
    pub fn admin_group(&self, service: Service) -> Option<String> {
        let usual = (service == Service::System).then(|| ADMINISTRATORS.to_owned());
        self.daemon.admin_group.clone().or(usual)
    }

    /// Whether inputs and outputs go through the spool: always where others than its own user may reach the daemon, because it opens no file that
    /// they name.
    pub fn spools(&self, service: Service) -> bool {
        service == Service::System || self.socket_mode(service) & 0o077 != 0
    }
}
