//! A container, opened over one descriptor: its facts, then its packets. Opens nothing else, whatever the container says.

use std::ffi::{CStr, CString, c_char, c_int};
use std::fs::File;
use std::path::Path;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ffmpeg_next::ffi;

use super::avio::Source;
use super::error::MediaError;
use super::facts::{Chapter, Facts, PictureFacts, StreamFacts, StreamKind, Turn};
use super::logs;

/// Formats whose content is other files; libav would go and open what they name.
const REFUSED: [&str; 18] = [
    "hls",
    "applehttp",
    "concat",
    "concatf",
    "dash",
    "webm_dash_manifest",
    "imf",
    "sdp",
    "rtp",
    "rtsp",
    "sap",
    "image2",
    "vobsub",
    "lavfi",
    "smoothstreaming",
    "xspf",
    "asx",
    "mpl",
];
/// Formats that any text may pass for, and that hold nothing recorded.
const TEXTS: [&str; 3] = ["ffmetadata", "sbg", "tty"];
/// How much of a file is looked at when its streams show up only as their first packets come, and no audio came at once.
const PATIENT_BYTES: i64 = 48 << 20;
const PATIENT_US: i64 = 90_000_000;

/// An open container.
pub struct Demuxer<'file> {
    context: NonNull<ffi::AVFormatContext>,
    facts: Facts,
    /// Dropped after the context, which reads from it until its end.
    source: Source<'file>,
}

/// What one step of reading gave.
pub enum Step {
    Packet,
    /// libav stumbled here and may go on.
    Damaged,
    End,
}

/// A packet's storage, used again and again.
pub struct Packet(NonNull<ffi::AVPacket>);

// SAFETY: a packet owns or counts its buffers, atomically.
unsafe impl Send for Packet {}

impl<'file> Demuxer<'file> {
    /// `name` gives the extension, for formats without any mark of their own.
    pub fn open(file: &'file File, name: &str, cancel: Arc<AtomicBool>) -> Result<Self, MediaError> {
        let about = file.metadata().map_err(MediaError::Read)?;
        if !about.is_file() {
            return Err(MediaError::NotAFile);
        }
        if about.len() == 0 {
            return Err(MediaError::Empty);
        }
        let quick = Self::open_patiently(file, name, Arc::clone(&cancel), false)?;
        // SAFETY: the context is open.
        let streams_come_late = unsafe { quick.context.as_ref() }.ctx_flags & ffi::AVFMTCTX_NOHEADER != 0;
        if streams_come_late && quick.facts.audio().next().is_none() {
            drop(quick);
            return Self::open_patiently(file, name, cancel, true);
        }
        Ok(quick)
    }

    fn open_patiently(
        file: &'file File,
        name: &str,
        cancel: Arc<AtomicBool>,
        patient: bool,
    ) -> Result<Self, MediaError> {
        logs::begin();
        let mut source = Source::new(file, cancel)?;
        let format = recognise(&mut source, name)?;
        // SAFETY: the context is libav's own until avformat_open_input has taken it (which frees it where it fails) or
        // until this Demuxer owns it; all that is written into it are fields meant for callers. The source outlives it.
        let context = unsafe {
            let context = ffi::avformat_alloc_context();
            let Some(fields) = context.as_mut() else {
                return Err(MediaError::OutOfMemory { doing: "opening the file" });
            };
            fields.pb = source.as_ptr();
            fields.interrupt_callback = source.interrupt();
            fields.io_open = Some(refuse_to_open);
            if patient {
                fields.probesize = PATIENT_BYTES;
                fields.max_analyze_duration = PATIENT_US;
            }
            let mut options = ptr::null_mut();
            // `io_open` stops what asks politely; some demuxers open by name on their own, and those ask this list.
            ffi::av_dict_set(&mut options, c"protocol_whitelist".as_ptr(), c"none".as_ptr(), 0);
            let mut context = context;
            let code = ffi::avformat_open_input(&mut context, c"".as_ptr(), format, &mut options);
            ffi::av_dict_free(&mut options);
            match NonNull::new(context).filter(|_| code >= 0) {
                Some(context) => context,
                None => return Err(unreadable(&mut source, code)),
            }
        };
        let mut demuxer = Demuxer { context, facts: Facts::default(), source };
        // SAFETY: the context is open. A failure here leaves the streams as they are known from the header.
        let code = unsafe { ffi::avformat_find_stream_info(context.as_ptr(), ptr::null_mut()) };
        if let Some(interruption) = demuxer.source.interruption() {
            return Err(interruption);
        }
        // SAFETY: the context is open and nobody else looks at it now.
        demuxer.facts = unsafe { facts_of(context.as_ref()) };
        if demuxer.facts.streams.is_empty() {
            return Err(unreadable(&mut demuxer.source, code.min(0)));
        }
        Ok(demuxer)
    }

    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Leaves all streams unread but these.
    pub fn only(&mut self, wanted: &[usize]) {
        // SAFETY: the context is open, and `stream` gives its valid streams only.
        unsafe {
            for index in 0..self.context.as_ref().nb_streams as usize {
                if let Some(stream) = self.stream(index).as_mut() {
                    stream.discard = if wanted.contains(&index) {
                        ffi::AVDiscard::AVDISCARD_DEFAULT
                    } else {
                        ffi::AVDiscard::AVDISCARD_ALL
                    };
                }
            }
        }
    }

    /// Seconds per tick of a stream's timestamps.
    pub fn time_base(&self, index: usize) -> (i32, i32) {
        // SAFETY: null or a valid stream of the open context.
        unsafe { self.stream(index).as_ref() }.map_or((1, 1), |stream| (stream.time_base.num, stream.time_base.den))
    }

    /// Whether the container's clock may begin anew in the middle.
    pub fn clock_may_leap(&self) -> bool {
        // SAFETY: an open context has its format.
        unsafe { self.context.as_ref().iformat.as_ref() }.is_some_and(|f| f.flags & ffi::AVFMT_TS_DISCONT != 0)
    }

    /// The stream's codec parameters; null where there is no such stream. Valid as long as this demuxer.
    pub fn parameters(&self, index: usize) -> *const ffi::AVCodecParameters {
        // SAFETY: null or a valid stream of the open context.
        unsafe { self.stream(index).as_ref() }.map_or(ptr::null(), |stream| stream.codecpar.cast_const())
    }

    /// What a stream has beside its parameters; empty where it has none of this kind.
    pub fn stream_side_data(&self, index: usize, kind: ffi::AVPacketSideDataType) -> &[u8] {
        let mut length = 0;
        // SAFETY: null or a valid stream of the open context; what comes back is null or `length` bytes of it.
        unsafe {
            let Some(stream) = self.stream(index).as_ref() else { return &[] };
            let data = ffi::av_stream_get_side_data(stream, kind, &mut length);
            if data.is_null() { &[] } else { std::slice::from_raw_parts(data, length) }
        }
    }

    pub fn read(&mut self, packet: &mut Packet) -> Result<Step, MediaError> {
        // SAFETY: both are valid; av_read_frame wants a packet without content, which `unref` makes of it.
        let code = unsafe {
            ffi::av_packet_unref(packet.0.as_ptr());
            ffi::av_read_frame(self.context.as_ptr(), packet.0.as_ptr())
        };
        if let Some(interruption) = self.source.interruption() {
            return Err(interruption);
        }
        Ok(match code {
            0.. => Step::Packet,
            ffi::AVERROR_EOF => Step::End,
            code if code == ffi::AVERROR(ffmpeg_next::error::ENOMEM) => {
                return Err(MediaError::OutOfMemory { doing: "reading the file" });
            }
            _ => Step::Damaged,
        })
    }

    /// Goes to the last point at or before this time of the stream where decoding can begin; in ticks of the stream. `false`
    /// where the container can't.
    pub fn seek(&mut self, index: usize, stamp: i64) -> Result<bool, MediaError> {
        let Ok(stream) = c_int::try_from(index) else { return Ok(false) };
        // SAFETY: the context is open; libav checks the stream's number.
        let code =
            unsafe { ffi::av_seek_frame(self.context.as_ptr(), stream, stamp, ffi::AVSEEK_FLAG_BACKWARD as c_int) };
        match self.source.interruption() {
            Some(interruption) => Err(interruption),
            None => Ok(code >= 0),
        }
    }

    fn stream(&self, index: usize) -> *mut ffi::AVStream {
        // SAFETY: an open context has `nb_streams` pointers in `streams`.
        unsafe {
            let context = self.context.as_ref();
            if index < context.nb_streams as usize { *context.streams.add(index) } else { ptr::null_mut() }
        }
    }
}

// SAFETY: a demuxer is a value of its own; libav ties none to the thread that opened it.
unsafe impl Send for Demuxer<'_> {}

impl Drop for Demuxer<'_> {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: opened in `open_patiently`, closed only here; the source, which it may still touch, is dropped after.
        unsafe { ffi::avformat_close_input(&mut context) };
    }
}

impl Packet {
    pub fn new() -> Result<Self, MediaError> {
        // SAFETY: allocates, or gives null.
        let packet = unsafe { ffi::av_packet_alloc() };
        NonNull::new(packet).map(Packet).ok_or(MediaError::OutOfMemory { doing: "reading the file" })
    }

    fn fields(&self) -> &ffi::AVPacket {
        // SAFETY: allocated in `new`, freed in Drop.
        unsafe { self.0.as_ref() }
    }

    pub fn as_ptr(&self) -> *const ffi::AVPacket {
        self.0.as_ptr()
    }

    pub fn as_mut_ptr(&mut self) -> *mut ffi::AVPacket {
        self.0.as_ptr()
    }

    /// Lets its content go and makes room for these bytes.
    pub fn fill(&mut self, bytes: &[u8]) -> Result<(), MediaError> {
        let out_of_memory = MediaError::OutOfMemory { doing: "copying packets" };
        let Ok(size) = c_int::try_from(bytes.len()) else { return Err(out_of_memory) };
        // SAFETY: the packet is valid; av_new_packet gives it room for `size` bytes and its padding.
        unsafe {
            ffi::av_packet_unref(self.0.as_ptr());
            if ffi::av_new_packet(self.0.as_ptr(), size) < 0 {
                return Err(out_of_memory);
            }
            ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_ref().data, bytes.len());
        }
        Ok(())
    }

    pub fn bytes(&self) -> &[u8] {
        let fields = self.fields();
        match usize::try_from(fields.size) {
            // SAFETY: a packet with a size has that many bytes.
            Ok(size) if size > 0 && !fields.data.is_null() => unsafe { std::slice::from_raw_parts(fields.data, size) },
            _ => &[],
        }
    }

    /// When it is shown, in ticks of its stream.
    pub fn stamp(&self) -> Option<i64> {
        Some(self.fields().pts).filter(|stamp| *stamp != ffi::AV_NOPTS_VALUE)
    }

    pub fn duration(&self) -> i64 {
        self.fields().duration
    }

    /// Decoding can begin here.
    pub fn is_key(&self) -> bool {
        self.fields().flags & ffi::AV_PKT_FLAG_KEY != 0
    }

    /// Its times, in ticks of the stream that it goes to.
    pub fn set_times(&mut self, stamp: i64, decode_stamp: i64, duration: i64) {
        // SAFETY: the packet is valid.
        let fields = unsafe { self.0.as_mut() };
        (fields.pts, fields.dts, fields.duration) = (stamp, decode_stamp, duration);
    }

    pub fn set_key(&mut self, key: bool) {
        // SAFETY: the packet is valid.
        let fields = unsafe { self.0.as_mut() };
        fields.flags = if key { fields.flags | ffi::AV_PKT_FLAG_KEY } else { fields.flags & !ffi::AV_PKT_FLAG_KEY };
    }

    pub fn stream(&self) -> usize {
        usize::try_from(self.fields().stream_index).unwrap_or(usize::MAX)
    }

    /// When it is to be decoded, in ticks of its stream.
    pub fn decode_stamp(&self) -> Option<i64> {
        Some(self.fields().dts).filter(|stamp| *stamp != ffi::AV_NOPTS_VALUE)
    }

    /// The scheme that this packet is encrypted with.
    pub fn encrypted(&self) -> Option<String> {
        let mut length = 0;
        // SAFETY: the packet is valid; what comes back is null or `length` bytes of it.
        let data = unsafe {
            let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_ENCRYPTION_INFO;
            let data = ffi::av_packet_get_side_data(self.as_ptr(), kind, &mut length);
            if data.is_null() {
                return None;
            }
            std::slice::from_raw_parts(data, length)
        };
        // It begins with the scheme's four letters, as a big-endian number.
        Some(four_letters(data.get(..4)).unwrap_or_else(|| "by an unknown scheme".to_owned()))
    }
}

impl Drop for Packet {
    fn drop(&mut self) {
        let mut packet = self.0.as_ptr();
        // SAFETY: allocated in `new`, freed only here.
        unsafe { ffi::av_packet_free(&mut packet) };
    }
}

/// Finds the format by the file's content and, only where that says nothing, by the name's extension.
fn recognise(source: &mut Source<'_>, name: &str) -> Result<*const ffi::AVInputFormat, MediaError> {
    let extension = Path::new(name).extension().and_then(|extension| extension.to_str());
    let hint = extension.filter(|e| e.len() <= 8 && e.chars().all(|c| c.is_ascii_alphanumeric()));
    let mut hints = vec![CString::default()];
    hints.extend(hint.and_then(|hint| CString::new(format!("input.{hint}")).ok()));
    let mut code = 0;
    for hint in hints {
        let mut format = ptr::null();
        // SAFETY: the context is valid, the hint ends with zero; 0 and 0 are libav's own offset and limit. It rewinds.
        code =
            unsafe { ffi::av_probe_input_buffer2(source.as_ptr(), &mut format, hint.as_ptr(), ptr::null_mut(), 0, 0) };
        if let Some(interruption) = source.interruption() {
            return Err(interruption);
        }
        // SAFETY: a format that was found is a constant of libav's, and so is its name.
        let found = unsafe { format.as_ref().map(|format| text_of(format.name)) };
        match found {
            Some(found) if code >= 0 => {
                let refused = found.split(',').find(|name| REFUSED.contains(name)).map(str::to_owned);
                if found.split(',').any(|name| TEXTS.contains(&name)) {
                    return Err(MediaError::Unreadable { reason: "it is a text".to_owned() });
                }
                return match refused {
                    Some(format) => Err(MediaError::Refers { format }),
                    None => Ok(format),
                };
            }
            _ => {}
        }
    }
    Err(unreadable(source, code.min(ffi::AVERROR_INVALIDDATA)))
}

fn unreadable(source: &mut Source<'_>, code: c_int) -> MediaError {
    if let Some(interruption) = source.interruption() {
        return interruption;
    }
    if code == ffi::AVERROR_EXIT {
        return MediaError::Stopped;
    }
    let reason = logs::reason(code);
    MediaError::Unreadable { reason: if reason.is_empty() { "it has no streams".to_owned() } else { reason } }
}

/// The one answer to whatever a container asks to be opened besides itself.
unsafe extern "C" fn refuse_to_open(
    _context: *mut ffi::AVFormatContext,
    opened: *mut *mut ffi::AVIOContext,
    _url: *const c_char,
    _flags: c_int,
    _options: *mut *mut ffi::AVDictionary,
) -> c_int {
    // SAFETY: libav passes the place for its result.
    unsafe { *opened = ptr::null_mut() };
    ffi::AVERROR(ffmpeg_next::error::EPERM)
}

/// # Safety
/// The context is open, and nothing changes it meanwhile.
unsafe fn facts_of(context: &ffi::AVFormatContext) -> Facts {
    let seconds = |us: i64| us as f64 / f64::from(ffi::AV_TIME_BASE);
    let known = |value: i64| Some(value).filter(|value| *value != ffi::AV_NOPTS_VALUE);
    // SAFETY: an open context has its format and `nb_streams` valid streams.
    let (format, streams) = unsafe {
        let streams = (0..context.nb_streams as usize).filter_map(|index| (*context.streams.add(index)).as_ref());
        let streams = streams.zip(0..).map(|(stream, index)| stream_facts(stream, index)).collect();
        (context.iformat.as_ref().map(|format| text_of(format.name)).unwrap_or_default(), streams)
    };
    let mut facts = Facts {
        format,
        duration_seconds: known(context.duration).filter(|us| *us > 0).map(seconds),
        duration_is_guess: context.duration_estimation_method
            == ffi::AVDurationEstimationMethod::AVFMT_DURATION_FROM_BITRATE,
        zero_us: None,
        streams,
        // SAFETY: the context is open.
        chapters: unsafe { chapters(context) },
        // SAFETY: as above.
        tags: unsafe { tags(context.metadata) },
    };
    facts.zero_us = facts.find_zero();
    facts
}

/// # Safety
/// The stream belongs to an open context.
unsafe fn stream_facts(stream: &ffi::AVStream, index: usize) -> StreamFacts {
    // SAFETY: a stream always has its parameters; their names and tags are constants or zero-terminated texts.
    unsafe {
        let parameters = &*stream.codecpar;
        let attached = stream.disposition & ffi::AV_DISPOSITION_ATTACHED_PIC != 0;
        let special = ffi::AV_DISPOSITION_COMMENT
            | ffi::AV_DISPOSITION_HEARING_IMPAIRED
            | ffi::AV_DISPOSITION_VISUAL_IMPAIRED
            | ffi::AV_DISPOSITION_DESCRIPTIONS
            | ffi::AV_DISPOSITION_KARAOKE;
        let known = |ticks: i64| Some(ticks).filter(|ticks| *ticks != ffi::AV_NOPTS_VALUE);
        let microseconds = |ticks: i64| {
            ffi::av_rescale_q(ticks, stream.time_base, ffi::AVRational { num: 1, den: ffi::AV_TIME_BASE as c_int })
        };
        let duration = known(stream.duration)
            .filter(|ticks| *ticks > 0 && stream.time_base.den > 0)
            .map(|ticks| ticks as f64 * f64::from(stream.time_base.num) / f64::from(stream.time_base.den));
        StreamFacts {
            index,
            kind: match parameters.codec_type {
                ffi::AVMediaType::AVMEDIA_TYPE_AUDIO => StreamKind::Audio,
                ffi::AVMediaType::AVMEDIA_TYPE_VIDEO if attached => StreamKind::Picture,
                ffi::AVMediaType::AVMEDIA_TYPE_VIDEO => StreamKind::Video,
                ffi::AVMediaType::AVMEDIA_TYPE_SUBTITLE => StreamKind::Subtitle,
                _ => StreamKind::Other,
            },
            codec: codec_name(parameters),
            decodable: !ffi::avcodec_find_decoder(parameters.codec_id).is_null(),
            encrypted: encryption(stream),
            language: tag(stream.metadata, c"language").filter(|language| !language.is_empty()),
            title: tag(stream.metadata, c"title"),
            default: stream.disposition & ffi::AV_DISPOSITION_DEFAULT as c_int != 0,
            special: stream.disposition & special as c_int != 0,
            channels: u32::try_from(parameters.ch_layout.nb_channels).unwrap_or(0),
            sample_rate: u32::try_from(parameters.sample_rate).unwrap_or(0),
            width: u32::try_from(parameters.width).unwrap_or(0),
            height: u32::try_from(parameters.height).unwrap_or(0),
            bits: u32::try_from(parameters.bits_per_raw_sample.max(parameters.bits_per_coded_sample)).unwrap_or(0),
            start_us: known(stream.start_time).map(microseconds),
            duration_seconds: duration.or_else(|| tag(stream.metadata, c"DURATION").and_then(|text| clock_time(&text))),
            picture: (parameters.codec_type == ffi::AVMediaType::AVMEDIA_TYPE_VIDEO).then(|| picture_facts(stream)),
        }
    }
}

/// # Safety
/// The stream belongs to an open context.
unsafe fn picture_facts(stream: &ffi::AVStream) -> PictureFacts {
    // SAFETY: a stream always has its parameters; a display matrix is nine numbers.
    unsafe {
        let parameters = &*stream.codecpar;
        let aspect =
            ffi::av_guess_sample_aspect_ratio(ptr::null_mut(), ptr::from_ref(stream).cast_mut(), ptr::null_mut());
        let mut length = 0;
        let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX;
        let data = ffi::av_stream_get_side_data(stream, kind, &mut length);
        let turn = if data.is_null() || length < size_of::<[i32; 9]>() {
            Turn::None
        } else {
            let matrix = data.cast::<[i32; 9]>().read_unaligned();
            let angle = ffi::av_display_rotation_get(matrix.as_ptr());
            if angle.is_finite() { Turn::of_matrix(&matrix, -angle) } else { Turn::None }
        };
        let fields = [
            ffi::AVFieldOrder::AV_FIELD_TT,
            ffi::AVFieldOrder::AV_FIELD_BB,
            ffi::AVFieldOrder::AV_FIELD_TB,
            ffi::AVFieldOrder::AV_FIELD_BT,
        ];
        PictureFacts {
            rate: (stream.avg_frame_rate.num, stream.avg_frame_rate.den),
            base_rate: (stream.r_frame_rate.num, stream.r_frame_rate.den),
            sample_aspect: if aspect.num > 0 && aspect.den > 0 { (aspect.num, aspect.den) } else { (1, 1) },
            turn,
            interlaced: fields.contains(&parameters.field_order),
            deep: is_deep(parameters.format),
        }
    }
}

/// Whether a pixel format has more than 8 bits, as libav numbers it.
fn is_deep(format: c_int) -> bool {
    let none = ffi::AVPixelFormat::AV_PIX_FMT_NONE as c_int;
    let last = ffi::AVPixelFormat::AV_PIX_FMT_NB as c_int;
    if format <= none || format >= last {
        return false;
    }
    // SAFETY: the number is within libav's own list, whose values the type has; what comes back is null or a constant.
    let about = unsafe { ffi::av_pix_fmt_desc_get(std::mem::transmute::<c_int, ffi::AVPixelFormat>(format)).as_ref() };
    about.is_some_and(|about| about.comp[0].depth > 8)
}

/// # Safety
/// The context is open, and nothing changes it meanwhile.
unsafe fn chapters(context: &ffi::AVFormatContext) -> Vec<Chapter> {
    const CHAPTERS_MAX: usize = 1_000;
    let microseconds = ffi::AVRational { num: 1, den: ffi::AV_TIME_BASE as c_int };
    (0..(context.nb_chapters as usize).min(CHAPTERS_MAX))
        // SAFETY: an open context has `nb_chapters` valid chapters.
        .filter_map(|at| unsafe { (*context.chapters.add(at)).as_ref() })
        .filter(|chapter| chapter.time_base.num > 0 && chapter.time_base.den > 0)
        // SAFETY: a chapter's tags are null or valid.
        .map(|chapter| unsafe {
            Chapter {
                start_us: ffi::av_rescale_q(chapter.start, chapter.time_base, microseconds),
                end_us: ffi::av_rescale_q(chapter.end, chapter.time_base, microseconds),
                title: tag(chapter.metadata, c"title"),
            }
        })
        .collect()
}

/// # Safety
/// The dictionary is null or valid.
unsafe fn tags(dictionary: *const ffi::AVDictionary) -> Vec<(String, String)> {
    const TAGS_MAX: usize = 100;
    let mut found = Vec::new();
    let mut entry = ptr::null_mut();
    while found.len() < TAGS_MAX {
        // SAFETY: the caller's promise; keys and values are zero-terminated.
        unsafe {
            entry = ffi::av_dict_get(dictionary, c"".as_ptr(), entry, ffi::AV_DICT_IGNORE_SUFFIX as c_int);
            let Some(tag) = entry.as_ref() else { break };
            found.push((text_of(tag.key), text_of(tag.value)));
        }
    }
    found
}

/// # Safety
/// The parameters belong to an open stream.
unsafe fn codec_name(parameters: &ffi::AVCodecParameters) -> String {
    if parameters.codec_id == ffi::AVCodecID::AV_CODEC_ID_NONE {
        let letters = parameters.codec_tag.to_le_bytes();
        return four_letters(Some(&letters)).map_or_else(|| "of unknown kind".to_owned(), |tag| format!("`{tag}`"));
    }
    // SAFETY: the name of a codec is a constant of libav's.
    unsafe { text_of(ffi::avcodec_get_name(parameters.codec_id)) }
}

/// What the header says about encryption: MP4's and WebM's common encryption, and the tag of bought music.
///
/// # Safety
/// The stream belongs to an open context.
unsafe fn encryption(stream: &ffi::AVStream) -> Option<String> {
    // SAFETY: the stream is valid; only whether there is something is looked at.
    let common = unsafe {
        let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_ENCRYPTION_INIT_INFO;
        !ffi::av_stream_get_side_data(stream, kind, ptr::null_mut()).is_null()
    };
    // SAFETY: a stream always has its parameters.
    let letters = unsafe { (*stream.codecpar).codec_tag }.to_le_bytes();
    match &letters {
        _ if common => Some("common encryption, cenc".to_owned()),
        b"enca" => Some("common encryption, cenc".to_owned()),
        b"drms" | b"aavd" => Some(String::from_utf8_lossy(&letters).into_owned()),
        _ => None,
    }
}

fn four_letters(bytes: Option<&[u8]>) -> Option<String> {
    let bytes = bytes.filter(|bytes| bytes.iter().all(|byte| byte.is_ascii_graphic()))?;
    Some(String::from_utf8_lossy(bytes).into_owned())
}

/// # Safety
/// The dictionary is null or valid.
unsafe fn tag(dictionary: *const ffi::AVDictionary, key: &CStr) -> Option<String> {
    // SAFETY: keys and values of a dictionary are zero-terminated.
    unsafe { ffi::av_dict_get(dictionary, key.as_ptr(), ptr::null(), 0).as_ref().map(|entry| text_of(entry.value)) }
}

/// # Safety
/// The text is null or ends with zero.
unsafe fn text_of(text: *const c_char) -> String {
    // SAFETY: the caller's promise.
    if text.is_null() { String::new() } else { unsafe { CStr::from_ptr(text) }.to_string_lossy().into_owned() }
}

/// Matroska's `00:01:02.500000000`.
fn clock_time(text: &str) -> Option<f64> {
    let mut parts = text.trim().split(':').map(|part| part.parse::<f64>().ok());
    let (hours, minutes, seconds) = (parts.next()??, parts.next()??, parts.next()??);
    Some(hours * 3_600.0 + minutes * 60.0 + seconds).filter(|seconds| seconds.is_finite() && *seconds > 0.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_in_a_tag_is_read_or_left() {
        assert_eq!(clock_time("01:02:03.500000000"), Some(3_723.5));
        for wrong in ["", "12", "a:b:c", "0:0:0", "inf:0:0"] {
            assert_eq!(clock_time(wrong), None, "{wrong}");
        }
    }
}
