//! Graphics cards as whisper.cpp sees them: which there are, and which one this process works on. Knows no model and no run.

use std::ffi::{CStr, c_char};
use std::ptr;
use std::sync::OnceLock;

use spindle_shared::lane::{Device, Role};
use whisper_rs::whisper_rs_sys as sys;

static CHOSEN: OnceLock<Option<u8>> = OnceLock::new();

/// The card that this process works on, by its number among [`all`]; `None` = the processor. Once, at the start.
pub fn choose(device: Option<u8>) {
    let _ = CHOSEN.set(device);
}

pub fn chosen() -> Option<u8> {
    CHOSEN.get().copied().flatten()
}

/// All that this build can work on; none where it was built for no card.
pub fn all() -> Vec<Device> {
    handles().map(described).collect()
}

/// Whether the chosen card is there and takes work: whisper.cpp would go on on the processor without a word.
pub fn is_there(number: u8) -> bool {
    let Some(handle) = handles().nth(usize::from(number)) else { return false };
    // SAFETY: the handle is one that the library has just given; what comes of it is freed at once.
    unsafe {
        let backend = sys::ggml_backend_dev_init(handle, ptr::null());
        if !backend.is_null() {
            sys::ggml_backend_free(backend);
        }
        !backend.is_null()
    }
}

/// In the order in which whisper.cpp counts them.
fn handles() -> impl Iterator<Item = sys::ggml_backend_dev_t> {
    // SAFETY: plain questions of the library, which finds its devices at the first of them; each number is below the count.
    let all = (0..unsafe { sys::ggml_backend_dev_count() }).map(|at| unsafe { sys::ggml_backend_dev_get(at) });
    all.filter(|handle| {
        // SAFETY: as above.
        let kind = unsafe { sys::ggml_backend_dev_type(*handle) };
        let cards = [
            sys::ggml_backend_dev_type_GGML_BACKEND_DEVICE_TYPE_GPU,
            sys::ggml_backend_dev_type_GGML_BACKEND_DEVICE_TYPE_IGPU,
        ];
        cards.contains(&kind)
    })
}

fn described(handle: sys::ggml_backend_dev_t) -> Device {
    let (mut free, mut total) = (0, 0);
    // SAFETY: the handle is the library's own, for ever; its texts live as long as it does.
    let (name, api) = unsafe {
        sys::ggml_backend_dev_memory(handle, &mut free, &mut total);
        let api = sys::ggml_backend_reg_name(sys::ggml_backend_dev_backend_reg(handle));
        (text(sys::ggml_backend_dev_description(handle)), text(api))
    };
    let roles = vec![Role::Speech.name().to_owned()];
    Device { name, api, memory_bytes: total as u64, free_bytes: free as u64, roles }
}

/// # Safety
/// Null, or a text that ends with NUL.
unsafe fn text(text: *const c_char) -> String {
    if text.is_null() {
        return String::new();
    }
    // SAFETY: as promised by the caller.
    unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_for_the_processor_finds_no_card_and_says_so() {
        if cfg!(any(feature = "cuda", feature = "vulkan")) {
            return;
        }
        assert_eq!(all(), []);
        assert!(!is_there(0) && chosen().is_none());
    }
}
