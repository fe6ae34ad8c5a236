//! Where things are: socket, state, models, configuration, of a user's daemon and of the system's. Reads the environment, touches no file.

use std::env;
use std::path::PathBuf;

/// Whose daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    User,
    System,
}

fn variable(name: &str) -> Option<PathBuf> {
    env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from)
}

fn home() -> PathBuf {
    variable("HOME").unwrap_or_else(|| PathBuf::from("/"))
}

/// An XDG base folder: the variable where it is absolute, else the standard's place under HOME.
fn base(name: &str, under_home: &str) -> PathBuf {
    variable(name).filter(|path| path.is_absolute()).unwrap_or_else(|| home().join(under_home))
}

/// The numeric user id of this process.
pub fn user_id() -> u32 {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata("/proc/self").map_or(0, |meta| meta.uid())
}

pub fn socket(service: Service) -> PathBuf {
    if service == Service::System {
        return PathBuf::from("/run/spindle/spindled.sock");
    }
    if let Some(path) = variable("SPINDLE_SOCKET") {
        return path;
    }
    match variable("XDG_RUNTIME_DIR").filter(|path| path.is_absolute()) {
        Some(run) => run.join("spindle/spindled.sock"),
        None => PathBuf::from(format!("/tmp/spindle-{}/spindled.sock", user_id())),
    }
}

/// Queue and artifacts.
pub fn state(service: Service) -> PathBuf {
    if service == Service::System {
        return PathBuf::from("/var/lib/spindle");
    }
    variable("SPINDLE_STATE_DIR").unwrap_or_else(|| base("XDG_STATE_HOME", ".local/state").join("spindle"))
}

pub fn models(service: Service) -> PathBuf {
    if service == Service::System {
        return PathBuf::from("/var/lib/spindle/models");
    }
    variable("SPINDLE_MODEL_DIR").unwrap_or_else(|| base("XDG_DATA_HOME", ".local/share").join("spindle/models"))
}

pub fn configuration(service: Service) -> PathBuf {
    if service == Service::System {
        return PathBuf::from("/etc/spindle/spindled.toml");
    }
    variable("SPINDLE_CONFIG").unwrap_or_else(|| base("XDG_CONFIG_HOME", ".config").join("spindle/spindled.toml"))
}
