//! What libav says about the file at hand, kept per thread for the text of a failure. Nothing reaches standard error.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Once;

use ffmpeg_next::ffi;

/// Lines kept; the last ones name the cause, the first ones often the place.
const LINES_MAX: usize = 3;
const LINE_BYTES: usize = 256;
/// No single block of libav's is larger: a lying header can't make it take the machine's memory. An index of two days of
/// packets stays below.
const BLOCK_BYTES_MAX: usize = 512 << 20;

thread_local! {
    static LINES: RefCell<VecDeque<String>> = const { RefCell::new(VecDeque::new()) };
}

/// Takes libav's messages over for this process, and forgets what this thread has heard.
pub fn begin() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        // SAFETY: both set a process-wide value of libav's; `on_line` is a function that lives for ever.
        unsafe {
            ffi::av_log_set_callback(Some(on_line));
            ffi::av_max_alloc(BLOCK_BYTES_MAX);
        }
    });
    LINES.with_borrow_mut(VecDeque::clear);
}

/// The last errors of this thread, then libav's name for `code`; `""` where both are empty.
pub fn reason(code: c_int) -> String {
    let mut parts: Vec<String> = LINES.with_borrow(|lines| lines.iter().cloned().collect());
    if code < 0 {
        parts.push(code_text(code));
    }
    parts.join("; ")
}

/// libav's own words for an error code.
pub fn code_text(code: c_int) -> String {
    let mut text = [0; LINE_BYTES];
    // SAFETY: the buffer's length is passed along, and av_strerror ends the text with a zero within it.
    unsafe {
        ffi::av_strerror(code, text.as_mut_ptr(), text.len());
        shown(text.as_ptr())
    }
}

/// # Safety
/// `text` points at a zero-terminated string.
unsafe fn shown(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    let text = unsafe { CStr::from_ptr(text) }.to_string_lossy();
    spindle_shared::text::escaped(text.trim().trim_end_matches('.'))
}

#[cfg(target_arch = "x86_64")]
type Arguments = *mut ffi::__va_list_tag;
#[cfg(not(target_arch = "x86_64"))]
type Arguments = ffi::va_list;

/// May be called by any thread of libav's, in any state: so it never panics and never waits.
unsafe extern "C" fn on_line(object: *mut c_void, level: c_int, format: *const c_char, arguments: Arguments) {
    if level > ffi::AV_LOG_ERROR {
        return;
    }
    let mut text = [0; LINE_BYTES];
    // Without the prefix: it holds an address, which would make every message different.
    let mut prefix = 0;
    // SAFETY: all four come from av_log itself; the buffer's length is passed along and the text ends within it.
    let line = unsafe {
        ffi::av_log_format_line2(object, level, format, arguments, text.as_mut_ptr(), LINE_BYTES as c_int, &mut prefix);
        shown(text.as_ptr())
    };
    if line.is_empty() {
        return;
    }
    let _ = LINES.try_with(|lines| {
        if let Ok(mut lines) = lines.try_borrow_mut() {
            if lines.contains(&line) {
                return;
            }
            if lines.len() == LINES_MAX {
                lines.pop_front();
            }
            lines.push_back(line);
        }
    });
}
