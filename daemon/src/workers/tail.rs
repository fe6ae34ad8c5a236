//! The end of what a process says on its standard error. Keeps bytes, never interprets them.

use std::io::Read;
use std::process::ChildStderr;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;
use std::{io, thread};

use spindle_shared::limits::STDERR_TAIL_BYTES_MAX;
use spindle_shared::text;

pub struct Tail {
    kept: Arc<Mutex<Vec<u8>>>,
    /// Its sender goes when the last writer has closed the pipe.
    ended: mpsc::Receiver<()>,
}

impl Tail {
    /// Reads in a thread of its own, so that the process never waits for a full pipe.
    pub fn follow(mut stderr: ChildStderr, name: String) -> io::Result<Self> {
        let kept = Arc::new(Mutex::new(Vec::new()));
        let (sender, ended) = mpsc::channel();
        let into = Arc::clone(&kept);
        thread::Builder::new().name(name).spawn(move || {
            let mut chunk = [0; 4096];
            loop {
                match stderr.read(&mut chunk) {
                    Ok(0) => break,
                    Ok(len) => keep(&mut into.lock().unwrap_or_else(PoisonError::into_inner), &chunk[..len]),
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(_) => break,
                }
            }
            drop(sender);
        })?;
        Ok(Tail { kept, ended })
    }

    /// After the process has gone. A process of its own that lives on may hold the pipe: no longer wait than needed.
    pub fn finish(self) -> String {
        // Nothing is ever sent: this waits for the sender's end.
        let _ = self.ended.recv_timeout(LAST_WORDS);
        shown(&self.kept.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

const LAST_WORDS: Duration = Duration::from_millis(300);

fn keep(kept: &mut Vec<u8>, new: &[u8]) {
    kept.extend_from_slice(new);
    if kept.len() > 2 * STDERR_TAIL_BYTES_MAX {
        kept.drain(..kept.len() - STDERR_TAIL_BYTES_MAX);
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
        let mut kept = Vec::new();
        for line in 0..10_000 {
            keep(&mut kept, format!("line {line}\n").as_bytes());
            assert!(kept.len() <= 2 * STDERR_TAIL_BYTES_MAX);
        }
        let shown = shown(&kept);
        assert!(shown.ends_with("line 9998\nline 9999"), "{shown}");
        assert!(shown.len() <= STDERR_TAIL_BYTES_MAX);
    }

    #[test]
    fn escape_sequences_are_shown_not_obeyed() {
        assert_eq!(shown(b"\x1b[31mred\nnext\xff\n"), "\\u{1b}[31mred\nnext\u{fffd}");
    }
}
