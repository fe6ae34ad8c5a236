//! Where a key may be, and how it is read from there. What it opens it neither keeps nor tells but to who asked.

use std::path::Path;

use spindle_shared::object_store::{Secret, names_a_key};

/// Whether this names a place where a key may be. The key itself in its place's stead must not be told.
pub(super) fn check_place(key: &str) -> Result<(), String> {
    if !["env:", "file:", "credential:"].iter().any(|source| key.starts_with(source)) {
        return Err("a key is given as env:NAME, file:PATH or credential:NAME, never itself".to_owned());
    }
    // Workers get all of the environment but what is called so.
    match key.strip_prefix("env:") {
        Some(name) if !names_a_key(name) => {
            Err("a variable with a key has a name that ends with _KEY, _SECRET, _TOKEN or _PASSWORD".to_owned())
        }
        _ => Ok(()),
    }
}

/// What stands in an environment variable, a file, or one of systemd's credentials.
pub fn secret(source: &str) -> Result<Secret, String> {
    let read = |path: &Path| {
        std::fs::read_to_string(path).map_err(|error| format!("failed to read {}: {error}", path.display()))
    };
    let text = match source.split_once(':') {
        Some(("env", name)) => std::env::var(name).map_err(|_| format!("the environment has no {name}"))?,
        Some(("file", path)) => read(Path::new(path))?,
        Some(("credential", name)) => {
            let folder = std::env::var_os("CREDENTIALS_DIRECTORY").ok_or("systemd gave no credentials")?;
            read(&Path::new(&folder).join(name))?
        }
        _ => return Err("a key is given as env:NAME, file:PATH or credential:NAME".to_owned()),
    };
    match text.trim() {
        "" => Err(format!("{source} is empty")),
        key => Ok(Secret::new(key)),
    }
}
