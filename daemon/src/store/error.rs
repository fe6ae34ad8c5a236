//! What can go wrong with the queue, as far as the daemon acts differently; knows no row and no table.

use std::io;
use std::path::PathBuf;

/// Every message says what to do; none of these is answered by making a new queue.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error("another spindled{} uses the queue {path}; stop it first, or give this one its own state folder", pid_words(*.pid))]
    Locked { path: PathBuf, pid: Option<u32> },
    #[error(
        "there is no queue.redb in {folder}, although the folder holds `{found}`; restore queue.redb from a backup, or move what \
         is in the folder aside by hand to begin with an empty queue"
    )]
    Missing { folder: PathBuf, found: String },
    #[error(
        "the queue {path} is not what it should be: {reason}; it was left as it is: restore it from a backup, or move it aside \
         by hand to begin with an empty queue"
    )]
    Damaged { path: PathBuf, reason: String },
    #[error(
        "the queue {path} was written by a newer Spindle (schema {found}, this one knows up to {known}); upgrade Spindle, or \
         restore a backup from before the upgrade"
    )]
    Newer { path: PathBuf, found: u64, known: u64 },
    #[error(
        "failed to {doing} {path}: {source}; check that the folder exists, is writable and belongs to the daemon's user"
    )]
    Files { doing: &'static str, path: PathBuf, source: io::Error },
    #[error("{path} is there already, and nothing is written over it; name another file")]
    Taken { path: PathBuf },
    #[error("the disk that holds the queue is full; free some space")]
    Full,
    #[error("the queue has stopped after a failed write; restart the daemon to read back what reached the disk")]
    Stopped,
    /// The scheduler's fault: a change that fits nothing in the queue. Nothing of its turn was applied.
    #[error("a change does not fit the queue: {0}; nothing was written")]
    Inconsistent(String),
    #[error("a row of the queue's table `{table}` can't be understood: {reason}; restore queue.redb from a backup")]
    Row { table: &'static str, reason: String },
    #[error("the queue failed: {0}")]
    Engine(#[source] Box<redb::Error>),
}

fn pid_words(pid: Option<u32>) -> String {
    pid.map(|pid| format!(" (pid {pid})")).unwrap_or_default()
}

/// Whether this is the disk's, the user's or the group's limit.
pub(super) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge)
}

impl From<redb::Error> for StoreError {
    fn from(error: redb::Error) -> Self {
        match error {
            redb::Error::Io(source) if is_full(&source) => StoreError::Full,
            redb::Error::PreviousIo => StoreError::Stopped,
            other => StoreError::Engine(Box::new(other)),
        }
    }
}

impl From<redb::StorageError> for StoreError {
    fn from(error: redb::StorageError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::TableError> for StoreError {
    fn from(error: redb::TableError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::TransactionError> for StoreError {
    fn from(error: redb::TransactionError) -> Self {
        redb::Error::from(error).into()
    }
}

impl From<redb::CommitError> for StoreError {
    fn from(error: redb::CommitError) -> Self {
        redb::Error::from(error).into()
    }
}
