//! systemd's journal, by its native protocol: one datagram for each line, its fields as fields. Knows nothing of files.

use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use serde_json::Value;
use spindle_shared::text;
use tracing::Level;

use super::{Line, cut};

const SOCKET: &str = "/run/systemd/journal/socket";

/// Whether standard error is the journal's, as `JOURNAL_STREAM` (device:inode) says.
pub fn is_ours() -> bool {
    let Some(told) = std::env::var("JOURNAL_STREAM").ok() else { return false };
    std::fs::metadata("/proc/self/fd/2").is_ok_and(|meta| told == format!("{}:{}", meta.dev(), meta.ino()))
}

pub struct Journal(UnixDatagram);

impl Journal {
    pub fn connect() -> Option<Self> {
        Journal::at(Path::new(SOCKET))
    }

    fn at(path: &Path) -> Option<Self> {
        let socket = UnixDatagram::unbound().ok()?;
        socket.connect(path).ok()?;
        // A journal that doesn't listen makes nobody wait.
        socket.set_nonblocking(true).ok()?;
        Some(Journal(socket))
    }

    /// What it can't take is lost.
    pub fn send(&self, line: &Line) {
        drop(self.0.send(&datagram(line)));
    }
}

fn datagram(line: &Line) -> Vec<u8> {
    let priority = match line.level {
        Level::ERROR => "3",
        Level::WARN => "4",
        Level::INFO => "6",
        Level::DEBUG | Level::TRACE => "7",
    };
    let mut bytes = Vec::with_capacity(256);
    put(&mut bytes, "MESSAGE", &cut(text::redacted(&line.message)));
    put(&mut bytes, "PRIORITY", priority);
    put(&mut bytes, "SYSLOG_IDENTIFIER", "spindled");
    for (name, value) in &line.fields {
        // The journal takes capitals, digits and underscores, and keeps a leading one for itself.
        let name: String = name
            .chars()
            .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
            .take(50)
            .collect();
        let said = match value {
            Value::String(said) => cut(text::redacted(said)),
            other => other.to_string(),
        };
        put(&mut bytes, &format!("SPINDLE_{name}"), &said);
    }
    bytes
}

/// `NAME=value`, or with its length before it where the value has lines.
fn put(bytes: &mut Vec<u8>, name: &str, value: &str) {
    bytes.extend_from_slice(name.as_bytes());
    if value.contains('\n') {
        bytes.push(b'\n');
        bytes.extend_from_slice(&(value.len() as u64).to_le_bytes());
    } else {
        bytes.push(b'=');
    }
    bytes.extend_from_slice(value.as_bytes());
    bytes.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_fields_and_lines_are_told_with_their_length() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal");
        let ear = UnixDatagram::bind(&path).unwrap();
        let fields = [("job".to_owned(), "1/2".into()), ("run-id".to_owned(), 7.into())].into_iter().collect();
        let line = Line { level: Level::WARN, message: "two\nlines".to_owned(), fields };
        Journal::at(&path).unwrap().send(&line);
        let mut heard = [0; 1_024];
        let length = ear.recv(&mut heard).unwrap();
        let expected = b"MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\nPRIORITY=4\nSYSLOG_IDENTIFIER=spindled\nSPINDLE_JOB=1/2\nSPINDLE_RUN_ID=7\n";
        assert_eq!(String::from_utf8_lossy(&heard[..length]), String::from_utf8_lossy(expected));
        assert!(Journal::at(&folder.path().join("none")).is_none());
    }
}
