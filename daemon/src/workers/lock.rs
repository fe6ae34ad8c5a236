//! The lock that all workers share and the next daemon waits for: no old process may write beside a new one.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::FlockOperation;

/// Waits until no worker of an earlier daemon lives; `Ok(false)` where some still does after `timeout_ms`.
///
/// Call it before the first [`super::Supervisor`] of a boot and after the lock on the queue is taken.
pub fn await_predecessors(lock_file: &Path, timeout_ms: u64) -> io::Result<bool> {
    let file = open(lock_file)?;
    let until = Instant::now() + Duration::from_millis(timeout_ms);
    loop {
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(true),
            Err(rustix::io::Errno::WOULDBLOCK) if Instant::now() >= until => return Ok(false),
            // A blocking flock knows no time limit; this one is asked for some moments at a daemon's start only.
            Err(rustix::io::Errno::WOULDBLOCK) => thread::sleep(ASKED_EVERY),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

const ASKED_EVERY: Duration = Duration::from_millis(20);

/// An open file of its own with the lock shared; whoever inherits the descriptor holds it.
pub(super) fn shared(lock_file: &Path) -> io::Result<File> {
    let file = open(lock_file)?;
    rustix::io::retry_on_intr(|| rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared))?;
    Ok(file)
}

fn open(lock_file: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(lock_file)
}
