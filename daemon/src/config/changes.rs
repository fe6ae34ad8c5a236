//! What differs between two configurations, key by key, and what of that a daemon takes up only at its start. Changes nothing itself.

use std::collections::BTreeMap;

use spindle_shared::wire::response::ConfigChange;

use super::Config;

/// Keys that are read once, at the start.
pub const AT_START: &[&str] = &[
    "lanes.disk_reserve_mib",
    "workers.idle_seconds",
    "workers.gpu_program",
    "workers.memory_growth_mib",
    "workers.memory_limit_mib",
    "metrics.listen",
    "metrics.open_to_network",
    "log.to",
    "log.folder",
    "log.keep_days",
    "log.file_mib",
];

/// From `before` to `after`; `started` is what the daemon began with, so that what waits for a restart is told until it has come.
pub fn between(started: &Config, before: &Config, after: &Config) -> Vec<ConfigChange> {
    let (started, before, after) = (leaves(started), leaves(before), leaves(after));
    let mut changes = Vec::new();
    let mut keys: Vec<&String> = started.keys().chain(before.keys()).chain(after.keys()).collect();
    keys.sort_unstable();
    keys.dedup();
    for key in keys {
        let restart = AT_START.contains(&key.as_str());
        let old = if restart { started.get(key) } else { before.get(key) };
        let new = after.get(key);
        if old != new {
            changes.push(ConfigChange { key: key.clone(), before: old.cloned(), after: new.cloned(), restart });
        }
    }
    changes
}

/// Every key that has a value, as `section.key`.
pub fn leaves(config: &Config) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    if let Ok(value) = toml::Value::try_from(config) {
        gather(&value, String::new(), &mut found);
    }
    found
}

fn gather(value: &toml::Value, path: String, found: &mut BTreeMap<String, String>) {
    match value {
        toml::Value::Table(table) => {
            for (key, below) in table {
                let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                gather(below, path, found);
            }
        }
        value => drop(found.insert(path, value.to_string())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(text: &str) -> Config {
        toml::from_str(text).unwrap()
    }

    #[test]
    fn each_key_that_differs_is_told_with_both_values() {
        let (before, after) = (
            config("[lanes]\ncpu = 2\n[remote]\nallow = [\"a:1\"]\n"),
            config("[lanes]\nio = 9\n[remote]\nallow = [\"a:1\", \"b:2\"]\n[profiles.x]\ncrf = 20\n"),
        );
        let told: Vec<_> = between(&before, &before, &after)
            .into_iter()
            .map(|change| (change.key, change.before.unwrap_or_default(), change.after.unwrap_or_default()))
            .collect();
        let expected = [
            ("lanes.cpu", "2", ""),
            ("lanes.io", "4", "9"),
            ("profiles.x.crf", "", "20"),
            ("remote.allow", "[\"a:1\"]", "[\"a:1\", \"b:2\"]"),
        ];
        assert_eq!(told, expected.map(|(key, old, new)| (key.to_owned(), old.to_owned(), new.to_owned())));
        assert_eq!(between(&before, &after, &after), []);
    }

    #[test]
    fn what_waits_for_a_restart_is_told_until_it_has_come() {
        let (started, changed) = (config(""), config("[workers]\nidle_seconds = 5\n"));
        let told = between(&started, &changed, &changed);
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].restart && told[0].before.as_deref() == Some("120"), "{told:?}");
        assert_eq!(between(&started, &changed, &started), [], "it is as at the start again");
    }
}
