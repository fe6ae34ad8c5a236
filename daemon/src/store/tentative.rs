//! A file whose writes are held back in memory until it has been understood. Knows bytes and their order, not what they mean.
//!
//! redb writes while it opens: it marks the file as in use and repairs it after a crash. A file that turns out to be damaged, or a
//! newer Spindle's, must stay as it is to the last byte (law 9), so these writes reach the disk only once all is well.

use std::fmt;
use std::io;
use std::ops::Bound;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use redb::{BackendError, StorageBackend};

/// Two handles of one file: redb has one, who opens it the other.
#[derive(Debug)]
pub(super) struct Tentative<B: StorageBackend>(Arc<Shared<B>>);

struct Shared<B: StorageBackend> {
    file: B,
    released: AtomicBool,
    held: Mutex<Vec<Step>>,
}

impl<B: StorageBackend> fmt::Debug for Shared<B> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.file.fmt(f)
    }
}

enum Step {
    Write { offset: u64, bytes: Vec<u8> },
    SetLen(u64),
    Sync,
}

impl<B: StorageBackend> Clone for Tentative<B> {
    fn clone(&self) -> Self {
        Tentative(Arc::clone(&self.0))
    }
}

impl<B: StorageBackend> Tentative<B> {
    pub(super) fn new(file: B) -> Self {
        Tentative(Arc::new(Shared { file, released: AtomicBool::new(false), held: Mutex::new(Vec::new()) }))
    }

    /// Writes what was held back, in its order and with its flushes, so that a crash half-way leaves what it would have left
    /// without this file; from now on everything goes through. After an error nothing more is ever written.
    pub(super) fn release(&self) -> io::Result<()> {
        let mut held = self.0.held.lock().unwrap_or_else(PoisonError::into_inner);
        for step in held.iter() {
            match step {
                Step::Write { offset, bytes } => self.0.file.write(*offset, bytes)?,
                Step::SetLen(len) => self.0.file.set_len(*len)?,
                Step::Sync => self.0.file.sync_data()?,
            }
        }
        *held = Vec::new();
        self.0.released.store(true, Ordering::Release);
        Ok(())
    }

    /// The file itself, once released.
    fn through(&self) -> Option<&B> {
        self.0.released.load(Ordering::Acquire).then_some(&self.0.file)
    }

    fn hold(&self, step: Step) {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner).push(step);
    }
}

impl<B: StorageBackend> StorageBackend for Tentative<B> {
    fn len(&self) -> io::Result<u64> {
        let mut len = self.0.file.len()?;
        for step in self.0.held.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            match step {
                Step::SetLen(set) => len = *set,
                Step::Write { offset, bytes } => len = len.max(offset + bytes.len() as u64),
                Step::Sync => {}
            }
        }
        Ok(len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        if let Some(file) = self.through() {
            return file.read(offset, out);
        }
        let end = offset + out.len() as u64;
        if end > self.len()? {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file is shorter than it says"));
        }
        let on_disk = self.0.file.len()?.clamp(offset, end) - offset;
        let (present, beyond) = out.split_at_mut(on_disk as usize);
        if !present.is_empty() {
            self.0.file.read(offset, present)?;
        }
        beyond.fill(0);
        for step in self.0.held.lock().unwrap_or_else(PoisonError::into_inner).iter() {
            match step {
                Step::Write { offset: at, bytes } => {
                    let (from, to) = ((*at).max(offset), (at + bytes.len() as u64).min(end));
                    if from < to {
                        out[(from - offset) as usize..(to - offset) as usize]
                            .copy_from_slice(&bytes[(from - at) as usize..(to - at) as usize]);
                    }
                }
                Step::SetLen(len) => out[(*len).clamp(offset, end).abs_diff(offset) as usize..].fill(0),
                Step::Sync => {}
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        match self.through() {
            Some(file) => file.set_len(len),
            None => {
                self.hold(Step::SetLen(len));
                Ok(())
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        match self.through() {
            Some(file) => file.sync_data(),
            None => {
                self.hold(Step::Sync);
                Ok(())
            }
        }
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        match self.through() {
            Some(file) => file.write(offset, data),
            None => {
                self.hold(Step::Write { offset, bytes: data.to_vec() });
                Ok(())
            }
        }
    }

    fn close(&self) -> io::Result<()> {
        self.0.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_range(start, end)
    }

    fn lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.lock_shared_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.0.file.unlock_range(start, end)
    }

    fn query_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.0.file.query_lock_range(start, end)
    }
}
