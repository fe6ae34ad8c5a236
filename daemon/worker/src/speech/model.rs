//! whisper.cpp, wrapped once: one loaded model for the process, listeners over it, the voice detector. The only unsafe code of this
//! crate's speech; knows no run, no window, no file but the models'.

use std::cell::RefCell;
use std::ffi::{CStr, CString, c_char, c_int, c_void};
use std::fs::File;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::ptr::{self, NonNull};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Condvar, Mutex, Once, PoisonError};
use std::time::Duration;

use spindle_shared::job::FileIdentity;
use spindle_shared::processor::Instructions;
use whisper_rs::whisper_rs_sys as sys;

use crate::memory;

use super::device;
use super::header::{self, HeaderError, SpeechHeader};
use super::voice::FRAME;

/// Why no model could be had.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("there is no file")]
    Missing,
    #[error("reading it is not permitted")]
    Permission,
    #[error(transparent)]
    Header(#[from] HeaderError),
    #[error("whisper.cpp refused it: {0}")]
    Refused(String),
    /// The graphics card that this process works on is not there any more, or takes no work.
    #[error("the graphics card gpu:{0} is not there or takes no work")]
    CardLost(u8),
    /// Most often for want of the card's memory; whether it is the file the processor finds out.
    #[error("it could not be loaded on the graphics card gpu:{0}: {1}")]
    CardRefused(u8, String),
    #[error("too little memory to listen with it")]
    Memory,
    /// Another model was in use, and the run was told to stop while it waited.
    #[error("stopped")]
    Stopped,
}

/// What ggml was compiled for, in its own words: each answer is a constant of the build, so that asking needs none of them.
pub fn built_for() -> Vec<Instructions> {
    unsafe extern "C" {
        safe fn ggml_cpu_has_avx() -> c_int;
        safe fn ggml_cpu_has_avx2() -> c_int;
        safe fn ggml_cpu_has_fma() -> c_int;
        safe fn ggml_cpu_has_f16c() -> c_int;
        safe fn ggml_cpu_has_bmi2() -> c_int;
        safe fn ggml_cpu_has_avx_vnni() -> c_int;
        safe fn ggml_cpu_has_avx512() -> c_int;
        safe fn ggml_cpu_has_avx512_vbmi() -> c_int;
        safe fn ggml_cpu_has_avx512_vnni() -> c_int;
        safe fn ggml_cpu_has_avx512_bf16() -> c_int;
    }
    [
        (Instructions::Avx, ggml_cpu_has_avx()),
        (Instructions::Avx2, ggml_cpu_has_avx2()),
        (Instructions::Fma, ggml_cpu_has_fma()),
        (Instructions::F16c, ggml_cpu_has_f16c()),
        (Instructions::Bmi2, ggml_cpu_has_bmi2()),
        (Instructions::AvxVnni, ggml_cpu_has_avx_vnni()),
        (Instructions::Avx512, ggml_cpu_has_avx512()),
        (Instructions::Avx512Vbmi, ggml_cpu_has_avx512_vbmi()),
        (Instructions::Avx512Vnni, ggml_cpu_has_avx512_vnni()),
        (Instructions::Avx512Bf16, ggml_cpu_has_avx512_bf16()),
    ]
    .into_iter()
    .filter_map(|(instructions, compiled)| (compiled != 0).then_some(instructions))
    .collect()
}

/// Why a listener gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    #[error("stopped")]
    Stopped,
    #[error("whisper.cpp failed with {code}: {message}")]
    Failed { code: i32, message: String },
}

/// A model in memory, shared by all runs of the process that use it.
pub struct Model {
    context: NonNull<sys::whisper_context>,
    pub header: SpeechHeader,
}

// SAFETY: after loading, whisper.cpp only reads the context; everything that changes is in states, each owned by one listener.
unsafe impl Send for Model {}
// SAFETY: as above.
unsafe impl Sync for Model {}

impl Drop for Model {
    fn drop(&mut self) {
        // SAFETY: the pointer came from whisper_init and is freed once; listeners hold the model alive beyond their states.
        unsafe { sys::whisper_free(self.context.as_ptr()) }
    }
}

#[derive(PartialEq)]
struct Key {
    path: PathBuf,
    identity: FileIdentity,
}

/// The one model of the process.
static LOADED: Mutex<Option<(Key, Arc<Model>)>> = Mutex::new(None);
/// Told when a lease ends.
static RETURNED: Condvar = Condvar::new();

/// The right to use the loaded model; another model is loaded only when no lease is left.
pub struct Lease(Option<Arc<Model>>);

impl Lease {
    /// The model at `path`, loaded if it is not the one in memory. Waits while another is in use: two never lie in memory together.
    pub fn take(
        path: &Path,
        open: &dyn Fn(&Path) -> std::io::Result<File>,
        stop: &AtomicBool,
    ) -> Result<Self, ModelError> {
        let file = open(path).map_err(|e| match e.kind() {
            std::io::ErrorKind::NotFound => ModelError::Missing,
            std::io::ErrorKind::PermissionDenied => ModelError::Permission,
            _ => HeaderError::Io(e).into(),
        })?;
        let identity = FileIdentity::of(&file.metadata().map_err(HeaderError::Io)?);
        let key = Key { path: path.to_owned(), identity };
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        loop {
            match &*loaded {
                Some((of, model)) if *of == key => return Ok(Lease(Some(Arc::clone(model)))),
                Some((_, model)) if Arc::strong_count(model) > 1 => {
                    if stop.load(Ordering::Relaxed) {
                        return Err(ModelError::Stopped);
                    }
                    // The time limit is for the wish to stop, which has no condition variable.
                    let waited = RETURNED.wait_timeout(loaded, Duration::from_millis(100));
                    loaded = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
                _ => break,
            }
        }
        *loaded = None;
        let model = Arc::new(Model::load(&file)?);
        *loaded = Some((key, Arc::clone(&model)));
        Ok(Lease(Some(model)))
    }

    pub fn model(&self) -> &Model {
        self.0.as_ref().expect("a lease holds its model until it is dropped")
    }

    /// One more for the same model.
    pub fn share(&self) -> Self {
        Lease(self.0.clone())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0 = None;
        // Under the lock, so that no one who is about to wait misses it.
        let _loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        RETURNED.notify_all();
    }
}

impl Model {
    fn load(file: &File) -> Result<Self, ModelError> {
        let header = SpeechHeader::read(file)?;
        prepare_library();
        let card = device::chosen();
        if let Some(lost) = card.filter(|number| !device::is_there(*number)) {
            return Err(ModelError::CardLost(lost));
        }
        let mut loader = Loader::new(file)?;
        // SAFETY: plain data; the loader lives over the call, and its file was just checked from head to tail.
        let context = unsafe {
            let mut params = sys::whisper_context_default_params();
            // On a processor, attention by plain matrices is the faster one, and it alone is exact: the other pads keys with zeros, and
            // with what an earlier pass of another length has left there.
            params.flash_attn = false;
            params.use_gpu = card.is_some();
            params.gpu_device = c_int::from(card.unwrap_or(0));
            sys::whisper_init_with_params_no_state(&mut loader.calls(), params)
        };
        match (NonNull::new(context), card) {
            (Some(context), _) => Ok(Model { context, header }),
            (None, Some(card)) => Err(ModelError::CardRefused(card, last_error())),
            (None, None) => Err(ModelError::Refused(last_error())),
        }
    }

    /// The last `max` tokens of a text.
    pub fn tokens(&self, text: &str, max: usize) -> (Vec<i32>, bool) {
        let Ok(text) = CString::new(text.replace('\0', " ")) else { return (Vec::new(), false) };
        let mut tokens = vec![0; text.as_bytes().len() + 8];
        // SAFETY: a token covers at least one byte, so the buffer holds them all; its length is given.
        let count = unsafe {
            sys::whisper_tokenize(self.context.as_ptr(), text.as_ptr(), tokens.as_mut_ptr(), tokens.len() as c_int)
        };
        tokens.truncate(count.max(0) as usize);
        let cut = tokens.len().saturating_sub(max);
        tokens.drain(..cut);
        (tokens, cut > 0)
    }

    /// Most tokens of a prompt that whisper takes.
    pub fn prompt_tokens_max(&self) -> usize {
        (self.header.text_context / 2 - 1).max(0) as usize
    }
}

/// How to listen.
#[derive(Debug, Clone)]
pub struct Manner {
    /// whisper's own code.
    pub language: String,
    pub translate: bool,
    pub prompt: Vec<i32>,
    pub beam_size: u32,
    pub best_of: u32,
    pub temperature: f32,
    pub threads: u32,
}

/// One phrase as the model gave it, in centiseconds from the first sample.
#[derive(Debug, Clone, PartialEq)]
pub struct Phrase {
    pub start: i64,
    pub end: i64,
    pub tokens: Vec<Token>,
    pub no_speech: f32,
}

/// One piece of text; its bytes may be part of a character.
#[derive(Debug, Clone, PartialEq)]
pub struct Token {
    pub bytes: Vec<u8>,
    pub probability: f32,
    pub log_probability: f32,
}

/// A state of its own over the shared model.
pub struct Listener {
    state: Option<NonNull<sys::whisper_state>>,
    /// It is as when it was made, its random numbers too.
    fresh: bool,
    lease: Lease,
}

// SAFETY: a state is used through `&mut self` by one thread at a time and is bound to no thread.
unsafe impl Send for Listener {}

impl Drop for Listener {
    fn drop(&mut self) {
        if let Some(state) = self.state {
            // SAFETY: the state came from whisper_init_state, was not freed, and its context is still held by the lease.
            unsafe { sys::whisper_free_state(state.as_ptr()) }
        }
    }
}

/// The shortest sound that whisper.cpp is given; below 201 samples it reads past the end.
const SAMPLES_MIN: usize = 16_000;
/// The code for "no memory for the search": the state is freed already.
const STATE_LOST: i32 = -7;
/// The codes for "stopped", and for any other failure, while encoding, before the first word, and between words.
const ABORTED: [i32; 3] = [-6, -8, -9];

impl Listener {
    pub fn new(lease: Lease) -> Result<Self, ModelError> {
        let mut listener = Listener { state: None, fresh: false, lease };
        listener.renew()?;
        Ok(listener)
    }

    pub fn model(&self) -> &Model {
        self.lease.model()
    }

    /// Another listener over the same model.
    pub fn another(&self) -> Result<Self, ModelError> {
        Listener::new(self.lease.share())
    }

    /// Forgets everything, the state of its random numbers too: what follows is the same whatever was heard before.
    pub fn renew(&mut self) -> Result<(), ModelError> {
        if self.fresh {
            return Ok(());
        }
        if let Some(state) = self.state.take() {
            // SAFETY: as in drop; the field is empty from here on, so nothing frees it again.
            unsafe { sys::whisper_free_state(state.as_ptr()) }
        }
        // SAFETY: the context is loaded and held by the lease.
        let state = unsafe { sys::whisper_init_state(self.lease.model().context.as_ptr()) };
        self.state = NonNull::new(state);
        self.fresh = self.state.is_some();
        if self.fresh { Ok(()) } else { Err(ModelError::Memory) }
    }

    /// How likely each language is, by whisper's number of it; from the first 30 s of `samples`.
    pub fn languages(&mut self, samples: &[f32], threads: u32) -> Result<Vec<f32>, ListenError> {
        let state = self.state()?;
        let samples = long_enough(samples);
        let context = self.model().context.as_ptr();
        let threads = threads.max(1) as c_int;
        // SAFETY: no arguments.
        let mut probabilities = vec![0.0; unsafe { sys::whisper_lang_max_id() } as usize + 1];
        // SAFETY: context and state belong together; the buffers have the lengths that are given or that whisper_lang_max_id asks for.
        let code = unsafe {
            let code =
                sys::whisper_pcm_to_mel_with_state(context, state, samples.as_ptr(), samples.len() as c_int, threads);
            if code == 0 {
                sys::whisper_lang_auto_detect_with_state(context, state, 0, threads, probabilities.as_mut_ptr())
            } else {
                code
            }
        };
        if code < 0 {
            return Err(ListenError::Failed { code, message: last_error() });
        }
        // whisper.cpp asks for a hundred languages of any model; where it has 99, the last one is another token.
        probabilities.truncate(self.model().header.languages());
        let sum: f32 = probabilities.iter().sum();
        probabilities.iter_mut().for_each(|p| *p = if sum > 0.0 { *p / sum } else { 0.0 });
        Ok(probabilities)
    }

    /// One pass of the model over at most 30 s of `samples` from `from` on; the search ends at `until` (both in centiseconds).
    ///
    /// The encoder is given as much sound as there is, and not 30 s, which is what it was taught with and what costs most of the time of a
    /// short pass. Where the model then finds no answer it is sure of, it hears the whole 30 s as it was taught.
    pub fn listen(
        &mut self,
        samples: &[f32],
        from: i64,
        until: i64,
        manner: &Manner,
        stop: &AtomicBool,
    ) -> Result<Vec<Phrase>, ListenError> {
        if let Some(frames) = fitting_frames(until - from, self.model().header.audio_state) {
            let answer = self.pass(samples, from..until, Some(frames), manner, stop)?;
            if let Some(phrases) = answer {
                return Ok(phrases);
            }
            self.renew().map_err(|_| lost())?;
        }
        Ok(self.pass(samples, from..until, None, manner, stop)?.unwrap_or_default())
    }

    /// As [`Self::listen`]. `frames`: what the encoder is given, 50 to a second; with them, `None` = the first temperature failed.
    fn pass(
        &mut self,
        samples: &[f32],
        time: Range<i64>,
        frames: Option<c_int>,
        manner: &Manner,
        stop: &AtomicBool,
    ) -> Result<Option<Vec<Phrase>>, ListenError> {
        let state = self.state()?;
        self.fresh = false;
        let samples = long_enough(samples);
        let language = CString::new(manner.language.as_str())
            .map_err(|_| ListenError::Failed { code: 0, message: "a language's code holds a NUL".to_owned() })?;
        let rungs_max = if frames.is_some() { 1 } else { u32::MAX };
        let pass = Pass { stop, begun: AtomicBool::new(false), rungs: AtomicU32::new(0), rungs_max };
        // SAFETY: a plain call that fills a struct.
        let mut params =
            unsafe { sys::whisper_full_default_params(sys::whisper_sampling_strategy_WHISPER_SAMPLING_BEAM_SEARCH) };
        params.n_threads = manner.threads.max(1) as c_int;
        params.audio_ctx = frames.unwrap_or(0);
        params.offset_ms = (time.start * 10) as c_int;
        params.duration_ms = ((time.end - time.start).max(0) * 10) as c_int;
        params.translate = manner.translate;
        params.language = language.as_ptr();
        params.print_progress = false;
        params.print_timestamps = false;
        params.no_context = true;
        // Room for the prompt and for nothing else: no text goes from one pass to the next.
        params.n_max_text_ctx = if manner.prompt.is_empty() { 0 } else { manner.prompt.len() as c_int + 1 };
        params.carry_initial_prompt = true;
        params.prompt_tokens = if manner.prompt.is_empty() { ptr::null() } else { manner.prompt.as_ptr() };
        params.prompt_n_tokens = manner.prompt.len() as c_int;
        params.suppress_nst = true;
        params.temperature = manner.temperature;
        params.temperature_inc = 0.2;
        params.logprob_thold = -1.0;
        params.entropy_thold = 2.4;
        params.no_speech_thold = 0.6;
        params.greedy.best_of = manner.best_of as c_int;
        params.beam_search.beam_size = manner.beam_size as c_int;
        let user_data = (&raw const pass).cast_mut().cast::<c_void>();
        params.abort_callback = Some(asked_to_abort);
        params.abort_callback_user_data = user_data;
        params.encoder_begin_callback = Some(about_to_encode);
        params.encoder_begin_callback_user_data = user_data;
        params.logits_filter_callback = Some(about_to_choose);
        params.logits_filter_callback_user_data = user_data;
        // SAFETY: context and state belong together; samples, language, prompt and `pass` outlive the call, which keeps none of them.
        let code = unsafe {
            sys::whisper_full_with_state(
                self.model().context.as_ptr(),
                state,
                params,
                samples.as_ptr(),
                samples.len() as c_int,
            )
        };
        if code == STATE_LOST {
            self.state = None;
        }
        match code {
            code if ABORTED.contains(&code) && stop.load(Ordering::Relaxed) => Err(ListenError::Stopped),
            code if (code == 0 || ABORTED.contains(&code)) && pass.has_failed() => Ok(None),
            0 => Ok(Some(self.phrases(state))),
            code => Err(ListenError::Failed { code, message: last_error() }),
        }
    }

    fn state(&self) -> Result<*mut sys::whisper_state, ListenError> {
        self.state.map(NonNull::as_ptr).ok_or_else(lost)
    }

    fn phrases(&self, state: *mut sys::whisper_state) -> Vec<Phrase> {
        let context = self.model().context.as_ptr();
        // SAFETY: indexes stay below the counts that the state gives; texts are copied before anything else is called.
        unsafe {
            let text_end = sys::whisper_token_eot(context);
            (0..sys::whisper_full_n_segments_from_state(state))
                .map(|segment| Phrase {
                    start: sys::whisper_full_get_segment_t0_from_state(state, segment),
                    end: sys::whisper_full_get_segment_t1_from_state(state, segment),
                    no_speech: sys::whisper_full_get_segment_no_speech_prob_from_state(state, segment),
                    tokens: (0..sys::whisper_full_n_tokens_from_state(state, segment))
                        .map(|token| sys::whisper_full_get_token_data_from_state(state, segment, token))
                        .filter(|data| data.id < text_end)
                        .map(|data| Token {
                            bytes: copied(sys::whisper_token_to_str(context, data.id)),
                            probability: data.p,
                            log_probability: data.plog,
                        })
                        .collect(),
                })
                .collect()
        }
    }
}

fn lost() -> ListenError {
    ListenError::Failed { code: STATE_LOST, message: "too little memory for the search".to_owned() }
}

/// What the encoder is given for a pass of so many centiseconds, by a model of this width; `None` = all of it.
fn fitting_frames(length: i64, audio_state: i32) -> Option<c_int> {
    /// Of 30 s.
    const FRAMES_ALL: u64 = 1_500;
    /// Silence behind the sound, by which the model knows that it is over: three seconds.
    const FRAMES_BEHIND: u64 = 150;
    /// With less than 15 s, OpenAI's models say their last words twice and mistake figures. None of them is narrower than tiny.
    const FRAMES_MIN: u64 = 768;
    const TINY_STATE: i32 = 384;
    /// What the fast products of matrices take.
    const MULTIPLE: u64 = 32;
    let least = if audio_state < TINY_STATE { 0 } else { FRAMES_MIN };
    let frames = (length.max(0).unsigned_abs().div_ceil(2) + FRAMES_BEHIND).div_ceil(MULTIPLE) * MULTIPLE;
    Some(frames.max(least)).filter(|frames| *frames < FRAMES_ALL).map(|frames| frames as c_int)
}

/// What whisper.cpp's callbacks look at during one pass.
struct Pass<'a> {
    stop: &'a AtomicBool,
    begun: AtomicBool,
    /// Temperatures begun, and the most that are to be tried.
    rungs: AtomicU32,
    rungs_max: u32,
}

impl Pass<'_> {
    fn has_failed(&self) -> bool {
        self.rungs.load(Ordering::Relaxed) > self.rungs_max
    }
}

unsafe extern "C" fn asked_to_abort(user_data: *mut c_void) -> bool {
    // SAFETY: it points to the `Pass` of the call that asks, which outlives the call; all threads of the call may look at it.
    let pass = unsafe { &*user_data.cast::<Pass<'_>>() };
    pass.stop.load(Ordering::Relaxed) || pass.has_failed()
}

/// Is told of every choice of a next token; with none before it, another temperature begins.
unsafe extern "C" fn about_to_choose(
    _: *mut sys::whisper_context,
    _: *mut sys::whisper_state,
    _: *const sys::whisper_token_data,
    tokens_before: c_int,
    _: *mut f32,
    user_data: *mut c_void,
) {
    if tokens_before == 0 {
        // SAFETY: as in `asked_to_abort`.
        unsafe { &*user_data.cast::<Pass<'_>>() }.rungs.fetch_add(1, Ordering::Relaxed);
    }
}

/// Lets the first pass begin and no other: where to listen again is for the caller to say.
unsafe extern "C" fn about_to_encode(
    _: *mut sys::whisper_context,
    _: *mut sys::whisper_state,
    user_data: *mut c_void,
) -> bool {
    // SAFETY: as in `asked_to_abort`.
    let pass = unsafe { &*user_data.cast::<Pass<'_>>() };
    !pass.begun.swap(true, Ordering::Relaxed)
}

/// Silero's detector through whisper.cpp; each run has its own.
pub struct VoiceModel {
    context: NonNull<sys::whisper_vad_context>,
}

// SAFETY: used through `&mut self` by one thread at a time, bound to no thread.
unsafe impl Send for VoiceModel {}

impl Drop for VoiceModel {
    fn drop(&mut self) {
        // SAFETY: the pointer came from whisper_vad_init and is freed once.
        unsafe { sys::whisper_vad_free(self.context.as_ptr()) }
    }
}

impl VoiceModel {
    pub fn load(file: File) -> Result<Self, ModelError> {
        header::check_voice_model(&file)?;
        prepare_library();
        let mut loader = Loader::new(&file)?;
        // SAFETY: plain data; the loader lives over the call, and its file was just checked from head to tail.
        let context = unsafe {
            let mut params = sys::whisper_vad_default_context_params();
            params.n_threads = 1;
            sys::whisper_vad_init_with_params(&mut loader.calls(), params)
        };
        match NonNull::new(context) {
            Some(context) => Ok(VoiceModel { context }),
            None => Err(ModelError::Refused(last_error())),
        }
    }

    /// How likely each [`FRAME`] holds speech. The detector forgets what it heard before at each call.
    pub fn hear(&mut self, samples: &[f32]) -> Result<Vec<f32>, ListenError> {
        let frames = samples.len().div_ceil(FRAME);
        let failed = || ListenError::Failed { code: -1, message: last_error() };
        // SAFETY: the buffer's length is given; the probabilities are copied before the next call changes them.
        unsafe {
            if !sys::whisper_vad_detect_speech(self.context.as_ptr(), samples.as_ptr(), samples.len() as c_int) {
                return Err(failed());
            }
            let count = usize::try_from(sys::whisper_vad_n_probs(self.context.as_ptr())).unwrap_or(0);
            let probabilities = sys::whisper_vad_probs(self.context.as_ptr());
            if count != frames || probabilities.is_null() {
                return Err(failed());
            }
            Ok(std::slice::from_raw_parts(probabilities, count).to_vec())
        }
    }
}

/// Samples with silence behind them where there are too few.
fn long_enough(samples: &[f32]) -> std::borrow::Cow<'_, [f32]> {
    if samples.len() >= SAMPLES_MIN {
        return samples.into();
    }
    let mut longer = samples.to_vec();
    longer.resize(SAMPLES_MIN, 0.0);
    longer.into()
}

/// # Safety
/// `text` is null or ends with NUL.
unsafe fn copied(text: *const c_char) -> Vec<u8> {
    if text.is_null() {
        return Vec::new();
    }
    // SAFETY: the caller's promise.
    unsafe { CStr::from_ptr(text) }.to_bytes().to_vec()
}

/// Lets whisper.cpp read a model through an open descriptor: the walls around this process let nobody open it by its path.
struct Loader {
    reader: BufReader<File>,
    ended: bool,
}

impl Loader {
    /// From the file's beginning, wherever it stands now.
    fn new(file: &File) -> Result<Self, ModelError> {
        let mut file = file.try_clone().map_err(HeaderError::Io)?;
        file.seek(SeekFrom::Start(0)).map_err(HeaderError::Io)?;
        Ok(Loader { reader: BufReader::with_capacity(1 << 20, file), ended: false })
    }

    /// What the library calls; good as long as the loader is.
    fn calls(&mut self) -> sys::whisper_model_loader {
        unsafe extern "C" fn read(loader: *mut c_void, output: *mut c_void, bytes: usize) -> usize {
            // SAFETY: the library gives back what it was given, and a buffer with room for so many bytes.
            let (loader, output) =
                unsafe { (&mut *loader.cast::<Loader>(), std::slice::from_raw_parts_mut(output.cast::<u8>(), bytes)) };
            let mut filled = 0;
            while filled < bytes {
                match loader.reader.read(&mut output[filled..]) {
                    Ok(0) => break,
                    Ok(count) => filled += count,
                    Err(e) if e.kind() == std::io::ErrorKind::Interrupted => {}
                    // The library checks what it got; a file cut off reads like this.
                    Err(_) => break,
                }
            }
            loader.ended |= filled < bytes;
            // What isn't there reads as zeros, not as whatever lay there.
            output[filled..].fill(0);
            filled
        }
        unsafe extern "C" fn eof(loader: *mut c_void) -> bool {
            // SAFETY: as above.
            unsafe { &*loader.cast::<Loader>() }.ended
        }
        unsafe extern "C" fn close(_: *mut c_void) {}
        let context = std::ptr::from_mut(self).cast();
        sys::whisper_model_loader { context, read: Some(read), eof: Some(eof), close: Some(close) }
    }
}

thread_local! {
    /// What the library last complained of on this thread.
    static COMPLAINT: RefCell<String> = const { RefCell::new(String::new()) };
}

/// Takes the last complaint; libraries say why only in their logs.
fn last_error() -> String {
    let text = COMPLAINT.with(|complaint| std::mem::take(&mut *complaint.borrow_mut()));
    if text.is_empty() { "it gave no reason".to_owned() } else { text }
}

/// Once per process: keeps whisper.cpp and ggml from writing to standard error (what they call errors is kept for the failure's text), and
/// keeps memory from growing by the hour.
fn prepare_library() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: the callback is a plain function that lives as long as the process.
        unsafe { sys::whisper_log_set(Some(on_log), ptr::null_mut()) };
        // SAFETY: the handler is a function for ever, and C++ lets any thread set it.
        unsafe { set_new_handler(memory::out_of_memory) };
        large_buffers_apart();
    });
}

unsafe extern "C" {
    /// `std::set_new_handler` of the C++ library that whisper.cpp brings along. C++ asks it before it throws, and a throw through C ends
    /// as an abort.
    #[link_name = "_ZSt15set_new_handlerPFvvE"]
    fn set_new_handler(handler: extern "C" fn()) -> Option<extern "C" fn()>;
}

/// glibc raises the size from which a buffer is mapped on its own whenever one is freed; each window's buffers, of ever other sizes, then
/// leave holes in the heap: measured, a megabyte a minute. A fixed size gives them back whole.
#[cfg(target_env = "gnu")]
fn large_buffers_apart() {
    const M_MMAP_THRESHOLD: c_int = -3;
    const BYTES: c_int = 256 << 10;
    unsafe extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
    // SAFETY: glibc's own signature; it takes its lock and changes a number. A refusal costs memory only.
    unsafe { mallopt(M_MMAP_THRESHOLD, BYTES) };
}

#[cfg(not(target_env = "gnu"))]
fn large_buffers_apart() {}

unsafe extern "C" fn on_log(level: sys::ggml_log_level, text: *const c_char, _: *mut c_void) {
    if level != sys::ggml_log_level_GGML_LOG_LEVEL_ERROR {
        return;
    }
    // SAFETY: the library gives a text that ends with NUL, or null.
    let text = unsafe { copied(text) };
    let text = String::from_utf8_lossy(&text).trim().to_owned();
    // A thread that is ending has no complaint any more; its text is lost.
    let _ = COMPLAINT.try_with(|complaint| *complaint.borrow_mut() = text);
}
