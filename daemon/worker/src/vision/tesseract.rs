//! The system's tesseract behind one handle: pixels to words with boxes and confidence. Knows no files and no outputs.
//!
//! The library is opened when a picture's text is first asked for, not linked: it brings some forty others along (network and archives
//! among them), which no worker that doesn't read text should carry, and a machine without it does all other work.

use std::collections::BTreeSet;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::ptr::{self, NonNull};
use std::sync::{Mutex, OnceLock, PoisonError};

use image::DynamicImage;
use libloading::Library;
use thiserror::Error;

use super::text::{Frame, Line, Page, Word};

/// What the library is called, newest first; the interface used here has been the same since 4.0.
const NAMES: [&str; 3] = ["libtesseract.so.5", "libtesseract.so.4", "libtesseract.so"];

/// Handles that are kept for the next picture: to make one takes half a second and more.
const KEPT: usize = 2;

/// Why there is no text to be had.
#[derive(Debug, Error)]
pub enum TesseractError {
    #[error("the text recognition library (tesseract) is not installed")]
    NoLibrary,
    #[error("the text recognition library (tesseract) lacks `{0}`: it is older than version 4")]
    TooOld(&'static str),
    #[error("text recognition has no data for `{0}`")]
    NoLanguage(String),
    #[error("text recognition failed on this picture")]
    Failed,
    #[error("stopped")]
    Stopped,
}

/// How a picture is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layout {
    /// A page with columns and paragraphs.
    Page,
    /// Words anywhere, in no order.
    Scattered,
}

/// Iteration levels of the library.
const BLOCK: c_int = 0;
const PARAGRAPH: c_int = 1;
const LINE: c_int = 2;
const WORD: c_int = 3;

type Handle = *mut c_void;
type Bool = c_int;
type CancelFunction = extern "C" fn(*mut c_void, c_int) -> bool;

macro_rules! interface {
    ($($field:ident = $symbol:literal: fn($($argument:ty),*) $(-> $result:ty)?;)*) => {
        /// The functions of the library's C interface that are used.
        struct Interface {
            $($field: unsafe extern "C" fn($($argument),*) $(-> $result)?,)*
            _library: Library,
        }

        impl Interface {
            fn load(library: Library) -> Result<Self, TesseractError> {
                Ok(Interface {
                    // SAFETY: the types are those of tesseract's capi.h, which has kept them since 4.0; the library lives as long as they do.
                    $($field: *unsafe { library.get(concat!($symbol, "\0").as_bytes()) }
                        .map_err(|_| TesseractError::TooOld($symbol))?,)*
                    _library: library,
                })
            }
        }
    };
}

interface! {
    create = "TessBaseAPICreate": fn() -> Handle;
    delete = "TessBaseAPIDelete": fn(Handle);
    init = "TessBaseAPIInit3": fn(Handle, *const c_char, *const c_char) -> c_int;
    loaded = "TessBaseAPIGetLoadedLanguagesAsVector": fn(Handle) -> *mut *mut c_char;
    delete_texts = "TessDeleteTextArray": fn(*mut *mut c_char);
    set_layout = "TessBaseAPISetPageSegMode": fn(Handle, c_int);
    set_image = "TessBaseAPISetImage": fn(Handle, *const u8, c_int, c_int, c_int, c_int);
    set_resolution = "TessBaseAPISetSourceResolution": fn(Handle, c_int);
    recognize = "TessBaseAPIRecognize": fn(Handle, *mut c_void) -> c_int;
    text = "TessBaseAPIGetUTF8Text": fn(Handle) -> *mut c_char;
    delete_text = "TessDeleteText": fn(*mut c_char);
    iterator = "TessBaseAPIGetIterator": fn(Handle) -> Handle;
    delete_iterator = "TessResultIteratorDelete": fn(Handle);
    places = "TessResultIteratorGetPageIterator": fn(Handle) -> Handle;
    next = "TessResultIteratorNext": fn(Handle, c_int) -> Bool;
    text_of = "TessResultIteratorGetUTF8Text": fn(Handle, c_int) -> *mut c_char;
    confidence_of = "TessResultIteratorConfidence": fn(Handle, c_int) -> f32;
    begins = "TessPageIteratorIsAtBeginningOf": fn(Handle, c_int) -> Bool;
    frame_of = "TessPageIteratorBoundingBox": fn(Handle, c_int, *mut c_int, *mut c_int, *mut c_int, *mut c_int) -> Bool;
    clear = "TessBaseAPIClear": fn(Handle);
    create_monitor = "TessMonitorCreate": fn() -> Handle;
    delete_monitor = "TessMonitorDelete": fn(Handle);
    set_cancel = "TessMonitorSetCancelFunc": fn(Handle, CancelFunction);
    set_cancel_this = "TessMonitorSetCancelThis": fn(Handle, *mut c_void);
}

fn interface() -> Result<&'static Interface, TesseractError> {
    static LOADED: OnceLock<Option<Interface>> = OnceLock::new();
    static MISSING: OnceLock<&'static str> = OnceLock::new();
    let loaded = LOADED.get_or_init(|| {
        // SAFETY: opening it runs initialisers of the system's own libraries and nothing else.
        let library = NAMES.iter().find_map(|name| unsafe { Library::new(name) }.ok())?;
        match Interface::load(library) {
            Ok(interface) => Some(interface),
            Err(TesseractError::TooOld(symbol)) => {
                let _ = MISSING.set(symbol);
                None
            }
            Err(_) => None,
        }
    });
    loaded
        .as_ref()
        .ok_or_else(|| MISSING.get().map_or(TesseractError::NoLibrary, |symbol| TesseractError::TooOld(symbol)))
}

/// One handle with its languages.
struct Engine {
    interface: &'static Interface,
    handle: NonNull<c_void>,
    languages: String,
}

// SAFETY: a handle belongs to one thread at a time; the library keeps nothing that is bound to the thread that made it.
unsafe impl Send for Engine {}

impl Engine {
    fn new(languages: &str) -> Result<Self, TesseractError> {
        let interface = interface()?;
        let wanted = CString::new(languages).map_err(|_| TesseractError::NoLanguage(languages.to_owned()))?;
        // SAFETY: makes a handle or gives null.
        let handle = NonNull::new(unsafe { (interface.create)() }).ok_or(TesseractError::Failed)?;
        let engine = Engine { interface, handle, languages: languages.to_owned() };
        // SAFETY: the handle is alive; no path = where the system's data lies; the text outlives the call.
        let failed = unsafe { (interface.init)(handle.as_ptr(), ptr::null(), wanted.as_ptr()) } != 0;
        // Of several languages it is content with any one.
        let loaded = if failed { BTreeSet::new() } else { engine.loaded() };
        match languages.split('+').find(|language| !loaded.contains(*language)) {
            Some(missing) => Err(TesseractError::NoLanguage(missing.to_owned())),
            None => Ok(engine),
        }
    }

    fn loaded(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        // SAFETY: the array ends with null and belongs to the caller; each of its texts ends with 0.
        unsafe {
            let array = (self.interface.loaded)(self.handle.as_ptr());
            if array.is_null() {
                return names;
            }
            let mut at = array;
            while !(*at).is_null() {
                names.insert(CStr::from_ptr(*at).to_string_lossy().into_owned());
                at = at.add(1);
            }
            (self.interface.delete_texts)(array);
        }
        names
    }

    /// Takes over a text that the library has allocated.
    ///
    /// # Safety
    /// `text` is null or a text of this library's that nobody else holds.
    unsafe fn taken(&self, text: *mut c_char) -> Option<String> {
        if text.is_null() {
            return None;
        }
        // SAFETY: as promised by the caller.
        unsafe {
            let owned = CStr::from_ptr(text).to_string_lossy().into_owned();
            (self.interface.delete_text)(text);
            Some(owned)
        }
    }

    fn read(
        &mut self,
        pixels: &Pixels,
        layout: Layout,
        dpi: Option<u32>,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<Page, TesseractError> {
        let (api, handle) = (self.interface, self.handle.as_ptr());
        let mode = match layout {
            Layout::Page => 3,
            Layout::Scattered => 11,
        };
        // A fat pointer's address, so that it fits into one.
        let asked: &&dyn Fn() -> bool = &cancelled;
        // SAFETY: the handle is alive and nobody else's; the pixels have the size that is told and outlive the recognition, as does what the
        // monitor points to; the library copies the picture.
        let result = unsafe {
            (api.set_layout)(handle, mode);
            (api.set_image)(
                handle,
                pixels.bytes.as_ptr(),
                pixels.width as c_int,
                pixels.height as c_int,
                pixels.channels as c_int,
                (pixels.width * pixels.channels) as c_int,
            );
            if let Some(dpi) = dpi {
                (api.set_resolution)(handle, dpi as c_int);
            }
            let monitor = (api.create_monitor)();
            (api.set_cancel)(monitor, is_cancelled);
            (api.set_cancel_this)(monitor, ptr::from_ref(asked).cast_mut().cast());
            let result = (api.recognize)(handle, monitor);
            (api.delete_monitor)(monitor);
            result
        };
        if cancelled() {
            return Err(TesseractError::Stopped);
        }
        if result != 0 {
            return Err(TesseractError::Failed);
        }
        let page = Page {
            width: pixels.width,
            height: pixels.height,
            languages: self.languages.clone(),
            // SAFETY: the text was made for the caller.
            text: unsafe { self.taken((api.text)(handle)) }.unwrap_or_default(),
            lines: self.lines(),
        };
        // SAFETY: the handle is alive; its picture and results are let go.
        unsafe { (api.clear)(handle) };
        Ok(page)
    }

    fn lines(&self) -> Vec<Line> {
        let api = self.interface;
        let mut lines: Vec<Line> = Vec::new();
        let (mut block, mut paragraph) = (0, 0);
        // SAFETY: the iterator is alive until it is deleted, and its page iterator is a view of it; texts are taken over.
        unsafe {
            let iterator = (api.iterator)(self.handle.as_ptr());
            if iterator.is_null() {
                return lines;
            }
            let places = (api.places)(iterator);
            loop {
                block += u32::from((api.begins)(places, BLOCK) != 0);
                paragraph += u32::from((api.begins)(places, PARAGRAPH) != 0);
                if (lines.is_empty() || (api.begins)(places, LINE) != 0)
                    && let Some(frame) = self.frame(places, LINE)
                {
                    lines.push(Line { block, paragraph, frame, words: Vec::new() });
                }
                let text = self.taken((api.text_of)(iterator, WORD)).filter(|text| !text.trim().is_empty());
                if let (Some(text), Some(frame), Some(line)) = (text, self.frame(places, WORD), lines.last_mut()) {
                    let confidence = (api.confidence_of)(iterator, WORD).clamp(0.0, 100.0);
                    line.words.push(Word { text, confidence, frame });
                }
                if (api.next)(iterator, WORD) == 0 {
                    break;
                }
            }
            (api.delete_iterator)(iterator);
        }
        lines.retain(|line| !line.words.is_empty());
        lines
    }

    /// # Safety
    /// `places` is a live iterator of this engine's.
    unsafe fn frame(&self, places: Handle, level: c_int) -> Option<Frame> {
        let (mut left, mut top, mut right, mut bottom) = (0, 0, 0, 0);
        // SAFETY: as promised by the caller; the four numbers outlive the call.
        let known = unsafe {
            (self.interface.frame_of)(places, level, &raw mut left, &raw mut top, &raw mut right, &raw mut bottom)
        };
        (known != 0 && right > left && bottom > top).then(|| Frame {
            left: left.max(0) as u32,
            top: top.max(0) as u32,
            right: right.max(0) as u32,
            bottom: bottom.max(0) as u32,
        })
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        // SAFETY: the handle is alive, and this was its last use.
        unsafe { (self.interface.delete)(self.handle.as_ptr()) };
    }
}

extern "C" fn is_cancelled(asked: *mut c_void, _words: c_int) -> bool {
    // SAFETY: what `Engine::read` has given; it outlives the recognition.
    let asked = unsafe { &*asked.cast::<&dyn Fn() -> bool>() };
    asked()
}

/// A picture as the library takes it: rows without gaps, one byte a channel.
struct Pixels {
    width: u32,
    height: u32,
    channels: u32,
    bytes: Vec<u8>,
}

impl Pixels {
    /// What shines through stands on white.
    fn of(picture: &DynamicImage) -> Self {
        let (width, height) = (picture.width(), picture.height());
        if picture.color().has_color() || picture.color().has_alpha() {
            let mut bytes = Vec::with_capacity(width as usize * height as usize * 3);
            for pixel in picture.to_rgba8().pixels() {
                let [red, green, blue, alpha] = pixel.0.map(u32::from);
                bytes.extend([red, green, blue].map(|value| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8));
            }
            Pixels { width, height, channels: 3, bytes }
        } else {
            Pixels { width, height, channels: 1, bytes: picture.to_luma8().into_raw() }
        }
    }
}

/// Reads the text of a picture. `languages` as tesseract has them: `eng+chi_sim`.
pub fn read(
    picture: &DynamicImage,
    languages: &str,
    layout: Layout,
    dpi: Option<u32>,
    cancelled: &dyn Fn() -> bool,
) -> Result<Page, TesseractError> {
    static IDLE: Mutex<Vec<Engine>> = Mutex::new(Vec::new());
    let idle = || IDLE.lock().unwrap_or_else(PoisonError::into_inner);
    let kept = {
        let mut idle = idle();
        idle.iter().position(|engine| engine.languages == languages).map(|at| idle.swap_remove(at))
    };
    let mut engine = kept.map_or_else(|| Engine::new(languages), Ok)?;
    let page = engine.read(&Pixels::of(picture), layout, dpi, cancelled);
    // What a failure has left in a handle nobody knows.
    if page.is_ok() {
        let mut idle = idle();
        idle.push(engine);
        if idle.len() > KEPT {
            idle.remove(0);
        }
    }
    page
}
