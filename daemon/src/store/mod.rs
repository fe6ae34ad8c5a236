//! The store: the queue on disk. Sole owner of redb; knows no scheduler, no clock and no client.
//!
//! One [`Store`] writes, on the conductor's thread; any number of [`Reader`]s read, each call from a snapshot of its own. What
//! [`Store::commit`] has confirmed survives a cut of the power.

mod backup;
mod compact;
mod error;
mod file;
mod load;
mod read;
mod rows;
mod stats;
mod tables;
mod tentative;
mod write;

#[cfg(test)]
pub(crate) mod tests;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use redb::Database;
use spindle_core::change::{Change, Recovered};

pub use backup::Copied;
pub use error::StoreError;
pub use read::Reader;

/// The only writer of the queue.
pub struct Store {
    database: Arc<Database>,
    /// Where free space is looked up before a commit.
    state_dir: PathBuf,
    /// A write has failed half-way: what is on disk is known again only after opening anew.
    stopped: bool,
}

impl Store {
    /// Opens the queue of this folder, or makes one where there is nothing yet. Nothing that can't be opened is replaced, and not
    /// one byte of it is changed.
    pub fn open(state_dir: &Path) -> Result<Store, StoreError> {
        Ok(Store { database: Arc::new(file::open(state_dir)?), state_dir: state_dir.to_owned(), stopped: false })
    }

    /// Counts this boot and reads what is unfinished; costs nothing for what has ended.
    pub fn load(&mut self) -> Result<Recovered, StoreError> {
        load::load(&self.database)
    }

    /// Applies the changes in order, all or none; they are durable when this returns.
    ///
    /// After [`StoreError::Full`] and [`StoreError::Inconsistent`] nothing has changed. After any other error it is open whether the
    /// changes reached the disk, and every further commit is refused with [`StoreError::Stopped`].
    pub fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if self.stopped {
            return Err(StoreError::Stopped);
        }
        if changes.is_empty() {
            return Ok(());
        }
        if !self.has_room(changes) {
            return Err(StoreError::Full);
        }
        let result = write::commit(&self.database, changes);
        self.stopped = result.as_ref().is_err_and(|error| !matches!(error, StoreError::Inconsistent(_)));
        result
    }

    /// Whether the disk has room for these changes.
    pub fn has_room(&self, changes: &[Change]) -> bool {
        changes.is_empty() || file::check_room(&self.state_dir, write::room_bytes(changes)).is_ok()
    }

    /// For other threads. The queue stays open, and locked, until the last reader is gone too.
    pub fn reader(&self) -> Reader {
        Reader::new(Arc::clone(&self.database), &self.state_dir)
    }
}
