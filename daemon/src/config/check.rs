//! What may stand in a configuration: every number's range, and all that has the right shape and is wrong nevertheless. Tells all of it at
//! once, and mends nothing.

use std::collections::BTreeMap;
use std::path::Path;

use spindle_shared::catalogue::Mirror;
use spindle_shared::limits::{ALLOWED_HOSTS_MAX, HOOKS_MAX, PROFILES_MAX, PROVIDERS_MAX, SITES_MAX};
use spindle_shared::stage::compress::{DYNAMIC, Profile};
use spindle_shared::url;

use super::Config;
use super::error::Fault;
use super::log::is_level;
use super::secret::check_place;
use crate::providers;

impl Config {
    /// Everything that is wrong although it has the right shape.
    pub(super) fn check(&self) -> Vec<Fault> {
        let mut faults: Vec<Fault> = Vec::new();
        let mut wrong = |key: &str, message: String| faults.push((key.to_owned(), message));
        for (key, value, valid) in self.numbers() {
            if let Some(value) = value.filter(|value| !valid.contains(value)) {
                wrong(key, format!("{value} is outside {}–{}", valid.start(), valid.end()));
            }
        }
        if let Some(Err(error)) = self.models.mirror.as_deref().map(Mirror::parse) {
            wrong("models.mirror", error.to_string());
        }
        if self.providers.len() > PROVIDERS_MAX {
            wrong("providers", format!("{} providers are more than {PROVIDERS_MAX}", self.providers.len()));
        }
        for (name, own) in &self.providers {
            let one = BTreeMap::from([(name.clone(), own.clone())]);
            if let Err(why) = providers::all(&one) {
                wrong(&format!("providers.{name}"), why);
            }
        }
        if self.remote.allow.len() > ALLOWED_HOSTS_MAX {
            wrong("remote.allow", format!("it has more than {ALLOWED_HOSTS_MAX} hosts"));
        }
        if let Some(why) = self.remote.allow.iter().find_map(|entry| url::check_allowed(entry).err()) {
            wrong("remote.allow", why);
        }
        if let Some(odd) = self.log.level.split(',').find(|part| !is_level(part)) {
            wrong(
                "log.level",
                format!("`{odd}` is not like info, or spindled=debug: error, warn, info, debug, trace, off"),
            );
        }
        if self.log.folder.as_ref().is_some_and(|folder| !folder.starts_with('/')) {
            wrong("log.folder", "it is an absolute path".to_owned());
        }
        if self.hooks.len() > HOOKS_MAX {
            wrong("hooks", format!("{} hooks are more than {HOOKS_MAX}", self.hooks.len()));
        }
        for (name, hook) in &self.hooks {
            if let Err((key, why)) = hook.check() {
                wrong(&format!("hooks.{name}.{key}"), why);
            }
        }
        if let Some(Err(why)) = self.notifications.secret.as_deref().map(check_place) {
            wrong("notifications.secret", why);
        }
        if let Err((key, why)) = self.metrics.check() {
            wrong(&format!("metrics.{key}"), why);
        }
        if self.remote.ytdlp.len() > SITES_MAX {
            wrong("remote.ytdlp", format!("it has more than {SITES_MAX} sites"));
        }
        if let Some(why) = self.remote.ytdlp.iter().find_map(|entry| url::check_site(entry).err()) {
            wrong("remote.ytdlp", why);
        }
        let program = Path::new(&self.remote.ytdlp_program);
        if program.as_os_str().is_empty() || (program.components().count() > 1 && program.is_relative()) {
            wrong("remote.ytdlp_program", "it is a name in PATH, or a path from /".to_owned());
        }
        for (name, store) in &self.stores {
            if let Err((key, why)) = store.check() {
                wrong(&format!("stores.{name}.{key}"), why);
            }
        }
        if self.profiles.len() > PROFILES_MAX {
            wrong("profiles", format!("{} profiles are more than {PROFILES_MAX}", self.profiles.len()));
        }
        for profile in self.profiles() {
            let key = format!("profiles.{}", profile.name);
            if profile.name == DYNAMIC || Profile::built_in().iter().any(|known| known.name == profile.name) {
                wrong(&key, format!("profile `{}` is built in: take another name", profile.name));
            } else if let Err(why) = profile.validate() {
                wrong(&key, why);
            }
        }
        faults
    }

    /// Numbers with the range that they must be in.
    pub(super) fn numbers(&self) -> Vec<(&'static str, Option<u64>, std::ops::RangeInclusive<u64>)> {
        let Config { spool, lanes, workers, housekeeping, remote, limits, alerts, metrics, log, folders, .. } = self;
        vec![
            ("spool.user_mib", Some(spool.user_mib), 1..=16_777_216),
            ("spool.input_max_mib", Some(spool.input_max_mib), 1..=16_777_216),
            ("spool.keep_days", Some(spool.keep_days), 1..=365),
            ("lanes.cpu", lanes.cpu.map(u64::from), 1..=1024),
            ("lanes.io", Some(u64::from(lanes.io)), 1..=64),
            ("lanes.net", Some(u64::from(lanes.net)), 1..=64),
            ("lanes.gpu", Some(u64::from(lanes.gpu)), 1..=64),
            ("lanes.memory_mib", lanes.memory_mib, 32..=16_777_216),
            ("lanes.disk_reserve_mib", lanes.disk_reserve_mib, 8..=16_777_216),
            ("workers.idle_seconds", Some(workers.idle_seconds), 1..=86_400),
            ("workers.recycle_after", Some(u64::from(workers.recycle_after)), 1..=1_000_000),
            ("workers.memory_growth_mib", Some(workers.memory_growth_mib), 16..=1_048_576),
            ("workers.memory_limit_mib", workers.memory_limit_mib, 32..=16_777_216),
            ("housekeeping.every_minutes", Some(housekeeping.every_minutes), 1..=1_440),
            ("housekeeping.temporary_hours", Some(housekeeping.temporary_hours), 1..=168),
            ("housekeeping.artifacts_days", Some(housekeeping.artifacts_days), 1..=36_500),
            ("housekeeping.records_days", Some(housekeeping.records_days), 1..=36_500),
            ("remote.input_max_mib", Some(remote.input_max_mib), 1..=16_777_216),
            ("alerts.failures_percent", Some(alerts.failures_percent), 1..=100),
            ("alerts.failures_jobs", Some(alerts.failures_jobs), 1..=1_000_000),
            ("alerts.failures_seconds", Some(alerts.failures_seconds), 0..=86_400),
            ("alerts.no_workers_seconds", Some(alerts.no_workers_seconds), 0..=86_400),
            ("alerts.queue_jobs", Some(alerts.queue_jobs), 1..=100_000_000),
            ("alerts.queue_seconds", Some(alerts.queue_seconds), 0..=86_400),
            ("alerts.store_seconds", Some(alerts.store_seconds), 0..=86_400),
            ("alerts.out_of_order_seconds", Some(alerts.out_of_order_seconds), 0..=86_400),
            ("folders.stable_seconds", Some(folders.stable_seconds), 1..=86_400),
            ("folders.rescan_seconds", Some(folders.rescan_seconds), 1..=86_400),
            ("log.keep_days", Some(log.keep_days), 1..=3_650),
            ("log.file_mib", Some(log.file_mib), 1..=65_536),
            ("metrics.every_seconds", Some(metrics.every_seconds), 1..=86_400),
            ("limits.max_inputs", limits.max_inputs.map(u64::from), 1..=1_000_000),
            ("limits.user_batches", limits.user_batches.map(u64::from), 1..=1_000_000),
            ("limits.user_jobs", limits.user_jobs.map(u64::from), 1..=100_000_000),
            ("limits.user_media_hours", limits.user_media_hours.map(u64::from), 1..=1_000_000),
        ]
    }
}
