//! Configuration: one TOML file and the environment, defaults for everything. Errors point at the file, the line and the key. Knows what each
//! section holds; starts nothing and opens nothing but the files that it names.

mod alerts;
pub mod changes;
mod check;
mod daemon;
mod error;
mod folders;
mod hooks;
mod housekeeping;
mod lanes;
mod load;
mod log;
mod metrics;
mod place;
mod profiles;
mod remote;
mod secret;
mod spool;
mod stores;
#[cfg(test)]
mod tests;
mod workers;

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::providers::{self, OwnProvider, Provider};

pub use alerts::AlertRules;
pub use daemon::{Daemon, Limits};
pub use error::ConfigError;
pub use folders::WatchedFolders;
pub use hooks::{Hook, Notifications};
pub use housekeeping::Housekeeping;
pub use lanes::Lanes;
pub use log::{Log, LogTo};
pub use metrics::Metrics;
pub use profiles::OwnProfile;
pub use remote::{Models, Remote};
pub use secret::secret;
pub use spool::Spool;
pub use stores::Store;
pub use workers::Workers;

/// Everything that can be set. Each key may also come from the environment as `SPINDLE_<SECTION>__<KEY>`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    pub daemon: Daemon,
    pub spool: Spool,
    pub lanes: Lanes,
    pub workers: Workers,
    pub limits: Limits,
    pub models: Models,
    pub housekeeping: Housekeeping,
    pub remote: Remote,
    pub alerts: AlertRules,
    pub metrics: Metrics,
    pub log: Log,
    pub notifications: Notifications,
    pub folders: WatchedFolders,
    /// Who is told of what, by name.
    pub hooks: BTreeMap<String, Hook>,
    /// Buckets that inputs come from and outputs go to, by name.
    pub stores: BTreeMap<String, Store>,
    /// What videos can be made into besides the built-in profiles, by name.
    pub profiles: BTreeMap<String, OwnProfile>,
    /// Model APIs besides those that Spindle knows, or those otherwise, by name.
    pub providers: BTreeMap<String, OwnProvider>,
}

impl Config {
    /// Every model API that can be named.
    pub fn providers(&self) -> Vec<Provider> {
        providers::all(&self.providers).unwrap_or_default()
    }

    /// Runs that may ask model APIs at the same time; each API has its own limit below that.
    pub fn api_slots(&self) -> u32 {
        self.providers().iter().map(|provider| provider.limits.at_once * provider.api().keys).sum()
    }
}
