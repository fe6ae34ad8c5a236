//! The end of memory, told apart from other crashes: a process that aborts because an allocation was refused exits with a code of its
//! own. Knows no run and no limit; the daemon sets that.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::io;

use signal_hook::consts::SIGABRT;
use spindle_shared::worker::EXIT_OUT_OF_MEMORY;

/// The system's allocator, which remembers that it had to refuse. What is refused is still the caller's to handle.
pub struct Remembering;

thread_local! {
    /// Bytes that this thread was refused, and has not been given since; 0 = none.
    static REFUSED: Cell<usize> = const { Cell::new(0) };
}

// SAFETY: every call goes to the system's allocator as it came, and its answer back.
unsafe impl GlobalAlloc for Remembering {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promises are passed on.
        noted(unsafe { System.alloc(layout) }, layout.size())
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as above.
        noted(unsafe { System.alloc_zeroed(layout) }, layout.size())
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        // SAFETY: as above.
        noted(unsafe { System.realloc(pointer, layout, bytes) }, bytes)
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        // SAFETY: as above.
        unsafe { System.dealloc(pointer, layout) }
    }
}

fn noted(pointer: *mut u8, bytes: usize) -> *mut u8 {
    // A thread that is just ending has no place to remember; it allocates nothing large either.
    let _ = REFUSED.try_with(|refused| match (pointer.is_null(), refused.get()) {
        (true, _) => refused.set(bytes),
        (false, 0) => {}
        // Small ones are still given while the message about a large one is written.
        (false, before) if bytes >= before => refused.set(0),
        (false, _) => {}
    });
    pointer
}

/// From here on an abort for want of memory is an exit with [`EXIT_OUT_OF_MEMORY`].
pub fn tell_its_end() -> io::Result<()> {
    // SAFETY: the action looks at a flag of its own thread and may end the process; neither allocates nor locks.
    unsafe { signal_hook::low_level::register(SIGABRT, after_a_refusal)? };
    Ok(())
}

/// Rust aborts when an allocation is refused that nobody asked about.
fn after_a_refusal() {
    if REFUSED.try_with(Cell::get).unwrap_or(0) > 0 {
        out_of_memory();
    }
}

/// Ends the process as one without memory.
pub extern "C" fn out_of_memory() {
    let _ = rustix::io::write(io::stderr(), b"an allocation was refused: the memory limit is reached\n");
    // SAFETY: ends the process, running nothing of it.
    unsafe { _exit(EXIT_OUT_OF_MEMORY) }
}

unsafe extern "C" {
    /// POSIX: ends the process at once; no handler of an exit runs.
    fn _exit(code: i32) -> !;
}
