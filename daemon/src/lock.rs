//! One daemon per state folder: a lock that the kernel gives back whatever way a daemon ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::{FlockOperation, flock};

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("another spindled{pid} uses {}; stop it with `spindlectl shutdown`, or name another folder in SPINDLE_STATE_DIR", .dir.display())]
    Taken { dir: PathBuf, pid: String },
    #[error("failed to lock {}: {error}", .dir.display())]
    Io { dir: PathBuf, error: io::Error },
}

/// A daemon that was killed while it started a worker leaves, for a moment, a copy of itself that is not a worker yet and holds what it
/// held; that it ends with its parent is certain.
const ORPHANS_LAST: Duration = Duration::from_secs(5);
const ASKED_EVERY: Duration = Duration::from_millis(5);

/// Held for as long as the file is open; the process's number is in it for people.
pub fn take(state_dir: &Path) -> Result<File, LockError> {
    let failed = |error: io::Error| LockError::Io { dir: state_dir.to_owned(), error };
    let path = state_dir.join("spindled.lock");
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
    let until = Instant::now() + ORPHANS_LAST;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => break,
            Err(rustix::io::Errno::WOULDBLOCK) => {}
            Err(error) => return Err(failed(error.into())),
        }
        let mut pid = String::new();
        file.rewind().and_then(|()| file.read_to_string(&mut pid)).map_err(failed)?;
        let pid = pid.trim().parse::<u32>().ok();
        let is_dead = pid.is_some_and(|pid| !Path::new(&format!("/proc/{pid}")).exists());
        if !is_dead || Instant::now() >= until {
            let pid = pid.map_or_else(String::new, |pid| format!(" (process {pid})"));
            return Err(LockError::Taken { dir: state_dir.to_owned(), pid });
        }
        thread::sleep(ASKED_EVERY);
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(file)
}
