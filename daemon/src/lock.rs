//! One daemon per state folder: a lock that the kernel gives back whatever way a daemon ends.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};

#[derive(Debug, thiserror::Error)]
pub enum LockError {
    #[error("another spindled{pid} uses {}; stop it with `spindlectl shutdown`, or name another folder in SPINDLE_STATE_DIR", .dir.display())]
    Taken { dir: PathBuf, pid: String },
    #[error("failed to lock {}: {error}", .dir.display())]
    Io { dir: PathBuf, error: io::Error },
}

/// Held for as long as the file is open; the process's number is in it for people.
pub fn take(state_dir: &Path) -> Result<File, LockError> {
    let failed = |error: io::Error| LockError::Io { dir: state_dir.to_owned(), error };
    let path = state_dir.join("spindled.lock");
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => {
            let mut pid = String::new();
            file.read_to_string(&mut pid).map_err(failed)?;
            let pid = pid.trim().parse::<u32>().map_or_else(|_| String::new(), |pid| format!(" (process {pid})"));
            return Err(LockError::Taken { dir: state_dir.to_owned(), pid });
        }
        Err(error) => return Err(failed(error.into())),
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()))
        .map_err(failed)?;
    Ok(file)
}
