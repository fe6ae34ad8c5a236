//! The only way libav gets at bytes: positioned reads on one open descriptor. Knows no container and no other file.

use std::ffi::{c_int, c_void};
use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use ffmpeg_next::ffi;
use rustix::io::Errno;

use super::error::MediaError;

/// One read of the file; large enough for a disk that is far away, small enough to be thrown away at a seek.
const BUFFER_BYTES: usize = 64 << 10;
const SEEK_SET: c_int = 0;
const SEEK_CUR: c_int = 1;
const SEEK_END: c_int = 2;
/// `AVSEEK_FORCE` may be set on top of any of them and asks for nothing we don't do anyway.
const SEEK_FORCE: c_int = 0x20000;
const SEEK_SIZE: c_int = 0x10000;

/// An `AVIOContext` over a borrowed file, with its own position and the wish to stop.
pub struct Source<'file> {
    context: NonNull<ffi::AVIOContext>,
    state: NonNull<State<'file>>,
}

struct State<'file> {
    file: &'file File,
    position: u64,
    cancel: Arc<AtomicBool>,
    /// What the descriptor said first; libav keeps the number only, and sometimes takes it for the end of the file.
    failure: Option<io::Error>,
}

impl<'file> Source<'file> {
    pub fn new(file: &'file File, cancel: Arc<AtomicBool>) -> Result<Self, MediaError> {
        let out_of_memory = || MediaError::OutOfMemory { doing: "opening the file" };
        let state = Box::new(State { file, position: 0, cancel, failure: None });
        // SAFETY: the buffer comes from av_malloc, as avio_alloc_context wants it, and belongs to the context from then
        // on; where there is no context it is freed here. The state outlives the context: Drop frees the context first.
        unsafe {
            let buffer = ffi::av_malloc(BUFFER_BYTES).cast::<u8>();
            if buffer.is_null() {
                return Err(out_of_memory());
            }
            let state = NonNull::from(Box::leak(state));
            let context = ffi::avio_alloc_context(
                buffer,
                BUFFER_BYTES as c_int,
                0,
                state.as_ptr().cast(),
                Some(read),
                None,
                Some(seek),
            );
            match NonNull::new(context) {
                Some(context) => Ok(Source { context, state }),
                None => {
                    ffi::av_free(buffer.cast());
                    drop(Box::from_raw(state.as_ptr()));
                    Err(out_of_memory())
                }
            }
        }
    }

    pub fn as_ptr(&self) -> *mut ffi::AVIOContext {
        self.context.as_ptr()
    }

    /// For libav's loops that don't read; valid as long as this source.
    pub fn interrupt(&self) -> ffi::AVIOInterruptCB {
        ffi::AVIOInterruptCB { callback: Some(interrupted), opaque: self.state.as_ptr().cast() }
    }

    pub fn cancelled(&self) -> bool {
        // SAFETY: the state lives as long as self; callbacks run only inside calls into libav on this same thread, so
        // none has a reference to it now.
        unsafe { self.state.as_ref() }.cancel.load(Ordering::Relaxed)
    }

    /// Why the outcome of a call into libav isn't the file's fault: told to stop, or the descriptor failed.
    pub fn interruption(&mut self) -> Option<MediaError> {
        if self.cancelled() {
            return Some(MediaError::Stopped);
        }
        // SAFETY: as in `cancelled`.
        unsafe { self.state.as_mut() }.failure.take().map(MediaError::Read)
    }
}

impl Drop for Source<'_> {
    fn drop(&mut self) {
        // SAFETY: both were made in `new` and are freed only here. libav may have replaced the buffer, so the context's
        // present one is freed.
        unsafe {
            ffi::av_freep(ptr::addr_of_mut!((*self.context.as_ptr()).buffer).cast());
            let mut context = self.context.as_ptr();
            ffi::avio_context_free(&mut context);
            drop(Box::from_raw(self.state.as_ptr()));
        }
    }
}

/// # Safety
/// `opaque` is the state given to `avio_alloc_context`; `buffer` has room for `size` bytes.
unsafe extern "C" fn read(opaque: *mut c_void, buffer: *mut u8, size: c_int) -> c_int {
    // SAFETY: the caller's promise; libav runs one callback of a context at a time.
    let state = unsafe { &mut *opaque.cast::<State<'_>>() };
    let Some(size) = usize::try_from(size).ok().filter(|size| *size > 0) else { return ffi::AVERROR_EOF };
    // SAFETY: the caller's promise. The bytes may be uninitialised, as their type says; and where nothing is read they must
    // stay as they are: at the end of a file libav seeks back into what this buffer held.
    let buffer = unsafe { std::slice::from_raw_parts_mut(buffer.cast::<MaybeUninit<u8>>(), size) };
    loop {
        if state.cancel.load(Ordering::Relaxed) {
            return ffi::AVERROR_EXIT;
        }
        match rustix::io::pread(state.file, &mut *buffer, state.position) {
            Ok(([], _)) => return ffi::AVERROR_EOF,
            Ok((read, _)) => {
                state.position += read.len() as u64;
                // Never above `size`, which came as a c_int.
                return read.len() as c_int;
            }
            Err(Errno::INTR) => {}
            Err(e) => {
                state.failure.get_or_insert(e.into());
                return ffi::AVERROR(e.raw_os_error());
            }
        }
    }
}

/// # Safety
/// `opaque` is the state given to `avio_alloc_context`.
unsafe extern "C" fn seek(opaque: *mut c_void, offset: i64, whence: c_int) -> i64 {
    // SAFETY: the caller's promise; libav runs one callback of a context at a time.
    let state = unsafe { &mut *opaque.cast::<State<'_>>() };
    let invalid = i64::from(ffi::AVERROR(ffmpeg_next::error::EINVAL));
    // Asked each time: a file that is still being written grows.
    let length = || state.file.metadata().map(|facts| facts.len()).ok().and_then(|length| i64::try_from(length).ok());
    let base = match whence & !SEEK_FORCE {
        SEEK_SIZE => return length().unwrap_or(invalid),
        SEEK_SET => Some(0),
        SEEK_CUR => i64::try_from(state.position).ok(),
        SEEK_END => length(),
        _ => None,
    };
    match base.and_then(|base| base.checked_add(offset)).and_then(|target| u64::try_from(target).ok()) {
        Some(target) => {
            state.position = target;
            target as i64
        }
        None => invalid,
    }
}

/// # Safety
/// `opaque` is the state given to `interrupt`.
unsafe extern "C" fn interrupted(opaque: *mut c_void) -> c_int {
    // SAFETY: the caller's promise; only the flag is looked at, and it never moves.
    let cancel = unsafe { &(*opaque.cast::<State<'_>>()).cancel };
    c_int::from(cancel.load(Ordering::Relaxed))
}
