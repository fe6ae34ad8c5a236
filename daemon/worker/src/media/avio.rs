//! The only way libav gets at bytes: positioned reads and writes on one open descriptor. Knows no container and no other file.

use std::ffi::{c_char, c_int, c_void};
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

// SAFETY: both ends belong to this value alone; libav ties neither to the thread that made it.
unsafe impl Send for Source<'_> {}

impl<'file> Source<'file> {
    pub fn new(file: &'file File, cancel: Arc<AtomicBool>) -> Result<Self, MediaError> {
        let state = Box::new(State { file, position: 0, cancel, failure: None });
        let state = NonNull::from(Box::leak(state));
        // SAFETY: the state lives until Drop, which frees the context first.
        match unsafe { context_over(state, false) } {
            Some(context) => Ok(Source { context, state }),
            None => {
                // SAFETY: leaked above and given to nobody.
                drop(unsafe { Box::from_raw(state.as_ptr()) });
                Err(MediaError::OutOfMemory { doing: "opening the file" })
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
        // SAFETY: both were made in `new` and are freed only here.
        unsafe {
            free_context(self.context.as_ptr());
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

/// An `AVIOContext` that writes to a borrowed file, wherever libav wants to be in it. libav may read what it wrote
/// ([`Sink::read_back`]), to move an index to the front.
pub struct Sink<'file> {
    context: NonNull<ffi::AVIOContext>,
    state: NonNull<State<'file>>,
}

// SAFETY: both ends belong to this value alone; libav ties neither to the thread that made it.
unsafe impl Send for Sink<'_> {}

impl<'file> Sink<'file> {
    pub fn new(file: &'file File, cancel: Arc<AtomicBool>) -> Result<Self, MediaError> {
        let state = Box::new(State { file, position: 0, cancel, failure: None });
        let state = NonNull::from(Box::leak(state));
        // SAFETY: the state lives until Drop, which frees the context first.
        match unsafe { context_over(state, true) } {
            Some(context) => Ok(Sink { context, state }),
            None => {
                // SAFETY: leaked above and given to nobody.
                drop(unsafe { Box::from_raw(state.as_ptr()) });
                Err(MediaError::OutOfMemory { doing: "writing" })
            }
        }
    }

    pub fn as_ptr(&self) -> *mut ffi::AVIOContext {
        self.context.as_ptr()
    }

    /// For a muxer's `opaque`: what its callbacks need to read back what was written.
    pub fn opaque(&self) -> *mut c_void {
        self.state.as_ptr().cast()
    }

    /// Why writing failed: told to stop, or the disk did.
    pub fn interruption(&mut self) -> Option<MediaError> {
        // SAFETY: as in `Source::interruption`.
        let state = unsafe { self.state.as_mut() };
        if state.cancel.load(Ordering::Relaxed) {
            return Some(MediaError::Stopped);
        }
        state.failure.take().map(MediaError::Write)
    }

    /// The callbacks of a muxer whose `opaque` is this sink's: the only file it may open is its own, to read.
    pub fn read_back() -> (OpenCallback, CloseCallback) {
        (open_for_reading, close_again)
    }
}

impl Drop for Sink<'_> {
    fn drop(&mut self) {
        // SAFETY: both were made in `new` and are freed only here.
        unsafe {
            free_context(self.context.as_ptr());
            drop(Box::from_raw(self.state.as_ptr()));
        }
    }
}

pub type OpenCallback = unsafe extern "C" fn(
    *mut ffi::AVFormatContext,
    *mut *mut ffi::AVIOContext,
    *const c_char,
    c_int,
    *mut *mut ffi::AVDictionary,
) -> c_int;
pub type CloseCallback = unsafe extern "C" fn(*mut ffi::AVFormatContext, *mut ffi::AVIOContext) -> c_int;

/// # Safety
/// `muxer` is valid and its `opaque` is a sink's.
unsafe extern "C" fn open_for_reading(
    muxer: *mut ffi::AVFormatContext,
    opened: *mut *mut ffi::AVIOContext,
    _url: *const c_char,
    flags: c_int,
    _options: *mut *mut ffi::AVDictionary,
) -> c_int {
    // SAFETY: the caller's promise; the second state is freed by `close_again`, which libav calls for every success.
    unsafe {
        *opened = ptr::null_mut();
        if flags & ffi::AVIO_FLAG_WRITE != 0 {
            return ffi::AVERROR(ffmpeg_next::error::EPERM);
        }
        let state = &*(*muxer).opaque.cast::<State<'_>>();
        let own = Box::new(State { file: state.file, position: 0, cancel: Arc::clone(&state.cancel), failure: None });
        let own = NonNull::from(Box::leak(own));
        match context_over(own, false) {
            Some(context) => {
                *opened = context.as_ptr();
                0
            }
            None => {
                drop(Box::from_raw(own.as_ptr()));
                ffi::AVERROR(ffmpeg_next::error::ENOMEM)
            }
        }
    }
}

/// # Safety
/// `context` is one that `open_for_reading` made.
unsafe extern "C" fn close_again(_muxer: *mut ffi::AVFormatContext, context: *mut ffi::AVIOContext) -> c_int {
    // SAFETY: the caller's promise: its opaque is a leaked state of its own.
    unsafe {
        if !context.is_null() {
            let state = (*context).opaque.cast::<State<'_>>();
            free_context(context);
            drop(Box::from_raw(state));
        }
    }
    0
}

/// # Safety
/// The state outlives the context.
unsafe fn context_over(state: NonNull<State<'_>>, write: bool) -> Option<NonNull<ffi::AVIOContext>> {
    // SAFETY: the buffer comes from av_malloc, as avio_alloc_context wants it, and belongs to the context from then on;
    // where there is no context it is freed here.
    unsafe {
        let buffer = ffi::av_malloc(BUFFER_BYTES).cast::<u8>();
        if buffer.is_null() {
            return None;
        }
        let context = ffi::avio_alloc_context(
            buffer,
            BUFFER_BYTES as c_int,
            c_int::from(write),
            state.as_ptr().cast(),
            Some(read),
            if write { Some(self::write) } else { None },
            Some(seek),
        );
        if context.is_null() {
            ffi::av_free(buffer.cast());
        }
        NonNull::new(context)
    }
}

/// # Safety
/// The context was made by `avio_alloc_context` and is freed only here.
unsafe fn free_context(mut context: *mut ffi::AVIOContext) {
    // SAFETY: the caller's promise. libav may have replaced the buffer, so the context's present one is freed.
    unsafe {
        ffi::av_freep(ptr::addr_of_mut!((*context).buffer).cast());
        ffi::avio_context_free(&mut context);
    }
}

/// # Safety
/// `opaque` is the state given to `avio_alloc_context`; `buffer` holds `size` bytes.
unsafe extern "C" fn write(opaque: *mut c_void, buffer: *mut u8, size: c_int) -> c_int {
    // SAFETY: the caller's promise; libav runs one callback of a context at a time.
    let state = unsafe { &mut *opaque.cast::<State<'_>>() };
    let Ok(length) = usize::try_from(size) else { return 0 };
    // SAFETY: the caller's promise.
    let mut left = unsafe { std::slice::from_raw_parts(buffer.cast_const(), length) };
    while !left.is_empty() {
        if state.cancel.load(Ordering::Relaxed) {
            return ffi::AVERROR_EXIT;
        }
        match rustix::io::pwrite(state.file, left, state.position) {
            Ok(0) => return ffi::AVERROR(ffmpeg_next::error::EIO),
            Ok(written) => {
                state.position += written as u64;
                left = &left[written..];
            }
            Err(Errno::INTR) => {}
            Err(e) => {
                state.failure.get_or_insert(e.into());
                return ffi::AVERROR(e.raw_os_error());
            }
        }
    }
    size
}

/// # Safety
/// `opaque` is the state given to `interrupt`.
unsafe extern "C" fn interrupted(opaque: *mut c_void) -> c_int {
    // SAFETY: the caller's promise; only the flag is looked at, and it never moves.
    let cancel = unsafe { &(*opaque.cast::<State<'_>>()).cancel };
    c_int::from(cancel.load(Ordering::Relaxed))
}
