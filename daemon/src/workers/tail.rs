//! The end of what a process says on its standard error. Keeps bytes, never interprets them.

use std::io::Read;
use std::process::ChildStderr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use std::{io, thread};

use spindle_shared::limits::STDERR_TAIL_BYTES_MAX;
use spindle_shared::text;

pub struct Tail {
    kept: Arc<Mutex<Kept>>,
    /// Its sender goes when the last writer has closed the pipe.
    ended: mpsc::Receiver<()>,
}

impl Tail {
    /// Reads in a thread of its own, so that the process never waits for a full pipe.
    pub fn follow(mut stderr: ChildStderr, name: String) -> io::Result<Self> {
        let kept: Arc<Mutex<Kept>> = Arc::default();
        let (sender, ended) = mpsc::channel();
        let into = Arc::clone(&kept);
        thread::Builder::new().name(name).spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                match stderr.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(len) => into.lock().unwrap_or_else(PoisonError::into_inner).keep(&chunk[..len]),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            drop(sender);
        })?;
        Ok(Tail { kept, ended })
    }

    /// What it has said since this was asked last, as far as it is kept.
    pub fn news(&self) -> String {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let new = std::mem::take(&mut kept.new).min(kept.bytes.len());
        shown(&kept.bytes[kept.bytes.len() - new..])
    }

    /// After the process has gone. A process of its own that lives on may hold the pipe: no longer wait than needed.
    pub fn finish(self) -> String {
        // Nothing is ever sent: this waits for the sender's end.
        let _ = self.ended.recv_timeout(LAST_WORDS);
        shown(&self.kept.lock().unwrap_or_else(PoisonError::into_inner).bytes)
    }
}

const LAST_WORDS: Duration = Duration::from_millis(300);

#[derive(Default)]
struct Kept {
    bytes: Vec<u8>,
    /// So many at its end nobody has asked for yet; some of them may be gone.
    new: usize,
}

impl Kept {
    fn keep(&mut self, new: &[u8]) {
        self.bytes.extend_from_slice(new);
        self.new = self.new.saturating_add(new.len());
        if self.bytes.len() > 2 * STDERR_TAIL_BYTES_MAX {
            self.bytes.drain(..self.bytes.len() - STDERR_TAIL_BYTES_MAX);
        }
    }
}

/// Lines stay lines; every other control character is escaped.
fn shown(kept: &[u8]) -> String {
    let tail = &kept[kept.len().saturating_sub(STDERR_TAIL_BYTES_MAX)..];
    let lines: Vec<String> = String::from_utf8_lossy(tail).trim_end().lines().map(text::escaped).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_end_is_kept() {
        let mut kept = Kept::default();
        for line in 0..10_000 {
            kept.keep(format!("line {line}\n").as_bytes());
            assert!(kept.bytes.len() <= 2 * STDERR_TAIL_BYTES_MAX);
        }
        let shown = shown(&kept.bytes);
        assert!(shown.ends_with("line 9998\nline 9999"), "{shown}");
        assert!(shown.len() <= STDERR_TAIL_BYTES_MAX);
    }

    #[test]
    fn escape_sequences_are_shown_not_obeyed() {
        assert_eq!(shown(b"\x1b[31mred\nnext\xff\n"), "\\u{1b}[31mred\nnext\u{fffd}");
    }
}
