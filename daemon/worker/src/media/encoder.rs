//! Codecs the other way: pictures or samples in, packets out. Knows no container.
//!
//! [`VideoEncoder`] takes frames that already have its size and pixel format (see [`super::graph::Graph`]); its time base is
//! one frame of its rate, so a frame's timestamp is the number of its place. [`AudioEncoder`] takes samples as bytes and counts
//! for itself. Both give packets by [`emit`](VideoEncoder::push) as they come, and know the [`Codec`] that a muxer needs.

use std::ffi::{CString, c_int};
use std::ops::RangeInclusive;
use std::ptr::{self, NonNull};

use ffmpeg_next::ffi;

use super::decoder::{Answer, Colour, Frame, Shape, answer};
use super::demuxer::{Demuxer, Packet};
use super::error::MediaError;
use super::logs;
use super::resampler::{Form, Sample};
use super::texts::TextForm;

/// Takes each packet that an encoder gives.
pub type Emit<'e> = &'e mut dyn FnMut(&mut Packet) -> Result<(), MediaError>;

/// How pictures are encoded.
#[derive(Debug, Clone, PartialEq)]
pub struct VideoSettings {
    /// libav's name of the encoder (`libx264`).
    pub encoder: String,
    pub width: u32,
    pub height: u32,
    /// Frames per second, as a fraction; the time base is its inverse.
    pub rate: (u32, u32),
    /// libav's name (`yuv420p`).
    pub pixel_format: String,
    /// Of a pixel; 1/1 = square.
    pub sample_aspect: (u32, u32),
    /// Bits per second to aim at; `None` where the quality decides.
    pub bit_rate: Option<u64>,
    /// Never more bits per second than this, over [`VideoSettings::buffer_bits`].
    pub bit_rate_max: Option<u64>,
    pub buffer_bits: Option<u64>,
    /// Frames between key frames at most; `None` = the encoder's own.
    pub group: Option<u32>,
    /// The encoder's own options (`preset`, `crf`), by name.
    pub options: Vec<(String, String)>,
    pub colour: Option<Colour>,
    pub threads: u32,
}

/// How sound is encoded; what goes in is [`Form`].
#[derive(Debug, Clone, PartialEq)]
pub struct AudioSettings {
    /// libav's name of the encoder (`aac`).
    pub encoder: String,
    /// Bits per second; `None` = the encoder's own, or none where it loses nothing.
    pub bit_rate: Option<u64>,
}

/// What a container has to know of a stream's codec. Outlives the encoder or demuxer that it came from.
pub struct Codec(NonNull<ffi::AVCodecParameters>);

// SAFETY: plain data of its own.
unsafe impl Send for Codec {}

impl Codec {
    fn new() -> Result<Self, MediaError> {
        // SAFETY: allocates, or gives null.
        let parameters = unsafe { ffi::avcodec_parameters_alloc() };
        NonNull::new(parameters).map(Codec).ok_or(MediaError::OutOfMemory { doing: "encoding" })
    }

    /// Of a stream whose packets are copied.
    pub fn of_stream(demuxer: &Demuxer<'_>, index: usize) -> Result<Self, MediaError> {
        let codec = Codec::new()?;
        let parameters = demuxer.parameters(index);
        // SAFETY: both are valid; a tag belongs to the container it came from, so the new one chooses its own.
        unsafe {
            if parameters.is_null() || ffi::avcodec_parameters_copy(codec.0.as_ptr(), parameters) < 0 {
                return Err(MediaError::OutOfMemory { doing: "copying packets" });
            }
            (*codec.0.as_ptr()).codec_tag = 0;
        }
        Ok(codec)
    }

    /// Text as a container has it; in MP4 one white line or two at the lower edge.
    pub fn text(form: TextForm) -> Result<Self, MediaError> {
        // Display flags, justification (centre, bottom), no background, an empty box; style: from 0 to 0, font 1, plain, 18,
        // white; a table with one font.
        const SAMPLE_DESCRIPTION: &[u8] =
            b"\0\0\0\0\x01\xff\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01\0\x12\xff\xff\xff\xff\
            \0\0\0\x12ftab\0\x01\0\x01\x05Serif";
        let codec = Codec::new()?;
        let (id, about): (_, &[u8]) = match form {
            TextForm::Mp4 => (ffi::AVCodecID::AV_CODEC_ID_MOV_TEXT, SAMPLE_DESCRIPTION),
            TextForm::SubRip => (ffi::AVCodecID::AV_CODEC_ID_SUBRIP, b""),
            TextForm::WebVtt => (ffi::AVCodecID::AV_CODEC_ID_WEBVTT, b""),
        };
        // SAFETY: the parameters are valid; the extra data gets its padding and is freed with them.
        unsafe {
            let fields = &mut *codec.0.as_ptr();
            fields.codec_type = ffi::AVMediaType::AVMEDIA_TYPE_SUBTITLE;
            fields.codec_id = id;
            let room = about.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize;
            fields.extradata = ffi::av_mallocz(room).cast();
            if fields.extradata.is_null() {
                return Err(MediaError::OutOfMemory { doing: "encoding" });
            }
            ptr::copy_nonoverlapping(about.as_ptr(), fields.extradata, about.len());
            fields.extradata_size = about.len() as c_int;
        }
        Ok(codec)
    }

    pub(super) fn as_ptr(&self) -> *const ffi::AVCodecParameters {
        self.0.as_ptr()
    }
}

impl Drop for Codec {
    fn drop(&mut self) {
        let mut parameters = self.0.as_ptr();
        // SAFETY: allocated in `new`, freed only here.
        unsafe { ffi::avcodec_parameters_free(&mut parameters) };
    }
}

/// An open encoder and the storage it gives its packets in.
struct Encoder {
    context: NonNull<ffi::AVCodecContext>,
    name: String,
    packet: Packet,
}

// SAFETY: a codec is a value of its own; libav ties none to the thread that opened it.
unsafe impl Send for Encoder {}

impl Encoder {
    fn allocate(name: &str) -> Result<(Self, *const ffi::AVCodec), MediaError> {
        let missing =
            || MediaError::NoEncoder { encoder: name.to_owned(), reason: "it has none of that name".to_owned() };
        let text = CString::new(name).map_err(|_| missing())?;
        logs::begin();
        // SAFETY: the codec is a constant of libav's; the context is owned from its allocation on.
        unsafe {
            let codec = ffi::avcodec_find_encoder_by_name(text.as_ptr());
            if codec.is_null() {
                return Err(missing());
            }
            let context = NonNull::new(ffi::avcodec_alloc_context3(codec))
                .ok_or(MediaError::OutOfMemory { doing: "opening the encoder" })?;
            Ok((Encoder { context, name: name.to_owned(), packet: Packet::new()? }, codec))
        }
    }

    fn option(&mut self, name: &str, value: &str) -> Result<(), MediaError> {
        let refused = |reason: String| MediaError::NoEncoder { encoder: self.name.clone(), reason };
        let wrong = || refused(format!("{name}={value}"));
        let (key, text) = (CString::new(name).map_err(|_| wrong())?, CString::new(value).map_err(|_| wrong())?);
        // SAFETY: the context is valid and not open yet; libav copies both texts.
        let code = unsafe {
            ffi::av_opt_set(
                self.context.as_ptr().cast(),
                key.as_ptr(),
                text.as_ptr(),
                ffi::AV_OPT_SEARCH_CHILDREN as c_int,
            )
        };
        if code < 0 { Err(refused(format!("{name}={value}: {}", logs::code_text(code)))) } else { Ok(()) }
    }

    fn open(&mut self, codec: *const ffi::AVCodec) -> Result<(), MediaError> {
        // SAFETY: the context was allocated for this codec.
        let code = unsafe { ffi::avcodec_open2(self.context.as_ptr(), codec, ptr::null_mut()) };
        match code {
            0.. => Ok(()),
            code if code == ffi::AVERROR(ffmpeg_next::error::ENOMEM) => {
                Err(MediaError::OutOfMemory { doing: "opening the encoder" })
            }
            code => Err(MediaError::NoEncoder { encoder: self.name.clone(), reason: logs::reason(code) }),
        }
    }

    /// `None` ends it. Every packet that is ready goes to `emit`.
    fn push(&mut self, frame: Option<&mut Frame>, emit: Emit<'_>) -> Result<(), MediaError> {
        let frame = frame.map_or(ptr::null_mut(), Frame::as_mut_ptr);
        loop {
            // SAFETY: the context is open; a null frame begins the flush.
            let sent = answer(unsafe { ffi::avcodec_send_frame(self.context.as_ptr(), frame) })?;
            loop {
                // SAFETY: both are valid; what the packet held is let go by libav.
                let code = unsafe { ffi::avcodec_receive_packet(self.context.as_ptr(), self.packet.as_mut_ptr()) };
                match answer(code)? {
                    Answer::Ok => emit(&mut self.packet)?,
                    Answer::More | Answer::End => break,
                    Answer::Damaged => return Err(self.gave_up(code)),
                }
            }
            match sent {
                Answer::Ok | Answer::End => return Ok(()),
                // It was full, and isn't any more.
                Answer::More => {}
                Answer::Damaged => return Err(self.gave_up(0)),
            }
        }
    }

    fn gave_up(&self, code: c_int) -> MediaError {
        MediaError::Encode { encoder: self.name.clone(), reason: logs::reason(code) }
    }

    fn codec(&self) -> Result<Codec, MediaError> {
        let codec = Codec::new()?;
        // SAFETY: both are valid, the context is open.
        let code = unsafe { ffi::avcodec_parameters_from_context(codec.0.as_ptr(), self.context.as_ptr()) };
        if code < 0 { Err(MediaError::OutOfMemory { doing: "encoding" }) } else { Ok(codec) }
    }
}

impl Drop for Encoder {
    fn drop(&mut self) {
        let mut context = self.context.as_ptr();
        // SAFETY: allocated in `allocate`, freed only here.
        unsafe { ffi::avcodec_free_context(&mut context) };
    }
}

/// Pictures to packets. Timestamps count frames of the settings' rate; gaps are allowed.
pub struct VideoEncoder(Encoder);

impl VideoEncoder {
    pub fn open(settings: &VideoSettings) -> Result<Self, MediaError> {
        let (mut encoder, codec) = Encoder::allocate(&settings.encoder)?;
        let format = pixel_format(&settings.pixel_format)?;
        let int = |number: u32| c_int::try_from(number).unwrap_or(c_int::MAX);
        let bits = |number: u64| i64::try_from(number).unwrap_or(i64::MAX);
        {
            // SAFETY: allocated above, not open yet: its fields are the caller's.
            let context = unsafe { encoder.context.as_mut() };
            context.width = int(settings.width);
            context.height = int(settings.height);
            context.pix_fmt = format;
            context.time_base = ffi::AVRational { num: int(settings.rate.1), den: int(settings.rate.0) };
            context.framerate = ffi::AVRational { num: int(settings.rate.0), den: int(settings.rate.1) };
            context.sample_aspect_ratio =
                ffi::AVRational { num: int(settings.sample_aspect.0), den: int(settings.sample_aspect.1) };
            context.thread_count = int(settings.threads.max(1));
            // Parameters go into the container's header once, so that pieces encoded apart can be joined.
            context.flags |= ffi::AV_CODEC_FLAG_GLOBAL_HEADER as c_int;
            if let Some(rate) = settings.bit_rate {
                context.bit_rate = bits(rate);
            }
            if let Some(rate) = settings.bit_rate_max {
                context.rc_max_rate = bits(rate);
            }
            if let Some(buffer) = settings.buffer_bits {
                context.rc_buffer_size = c_int::try_from(buffer).unwrap_or(c_int::MAX);
            }
            if let Some(group) = settings.group {
                context.gop_size = int(group);
            }
            if let Some(colour) = settings.colour {
                context.color_range = colour.range;
                context.color_primaries = colour.primaries;
                context.color_trc = colour.transfer;
                context.colorspace = colour.space;
            }
        }
        for (name, value) in &settings.options {
            encoder.option(name, value)?;
        }
        encoder.open(codec)?;
        Ok(VideoEncoder(encoder))
    }

    /// The frame's timestamp is its place in the output; it must be above the last one's.
    pub fn push(&mut self, frame: &mut Frame, emit: Emit<'_>) -> Result<(), MediaError> {
        frame.forget_picture_type();
        self.0.push(Some(frame), emit)
    }

    /// Gives what it still holds.
    pub fn finish(mut self, emit: Emit<'_>) -> Result<(), MediaError> {
        self.0.push(None, emit)
    }

    pub fn codec(&self) -> Result<Codec, MediaError> {
        self.0.codec()
    }
}

/// Samples to packets, whose times count samples; the first may begin below zero, by what the codec needs to run in.
pub struct AudioEncoder {
    encoder: Encoder,
    form: Form,
    shape: Shape,
    planar: bool,
    /// Bytes of one frame as the codec wants it.
    frame_bytes: usize,
    pending: Vec<u8>,
    /// Where in `pending` the next frame begins.
    taken: usize,
    frame: Frame,
    next: i64,
}

impl AudioEncoder {
    /// What samples an encoder takes, as this wrapper can give them; the first one of those wished for.
    pub fn sample(encoder: &str, wished: &[Sample]) -> Option<Sample> {
        let text = CString::new(encoder).ok()?;
        // SAFETY: a codec is a constant of libav's, and so is its list of formats, which ends with NONE.
        let codec = unsafe { ffi::avcodec_find_encoder_by_name(text.as_ptr()).as_ref() }?;
        wished.iter().copied().find(|sample| format_for(codec, *sample).is_some())
    }

    /// Bits per second that an encoder takes of sound in this form; it refuses others, or makes something else of them.
    pub fn bit_rates(encoder: &str, form: Form) -> RangeInclusive<u64> {
        let mono = form.channels < 2;
        let kilobits = match (encoder, form.rate) {
            // As libvorbis' tables of modes have it, tried with 1.3.7.
            ("libvorbis", ..10_000) => {
                if mono {
                    16..=40
                } else {
                    16..=80
                }
            }
            ("libvorbis", ..16_000) => {
                if mono {
                    16..=48
                } else {
                    16..=96
                }
            }
            ("libvorbis", ..22_050) => {
                if mono {
                    16..=96
                } else {
                    24..=192
                }
            }
            ("libvorbis", ..32_000) => {
                if mono {
                    16..=80
                } else {
                    32..=160
                }
            }
            ("libvorbis", ..44_100) => {
                if mono {
                    32..=160
                } else {
                    40..=320
                }
            }
            ("libvorbis", _) => {
                if mono {
                    32..=240
                } else {
                    48..=320
                }
            }
            ("libopus", _) => {
                if mono {
                    6..=240
                } else {
                    6..=510
                }
            }
            _ => 1..=1_000,
        };
        kilobits.start() * 1_000..=kilobits.end() * 1_000
    }

    /// Where the encoder does not take the bit rate asked for, it gets the nearest.
    pub fn open(settings: &AudioSettings, form: Form) -> Result<Self, MediaError> {
        let (mut encoder, codec) = Encoder::allocate(&settings.encoder)?;
        // SAFETY: as in `sample`.
        let format = unsafe { codec.as_ref() }.and_then(|codec| format_for(codec, form.sample));
        let (format, planar) = format.ok_or_else(|| MediaError::NoEncoder {
            encoder: settings.encoder.clone(),
            reason: format!("it takes no samples of {:?}", form.sample),
        })?;
        {
            // SAFETY: allocated above, not open yet: its fields are the caller's.
            let context = unsafe { encoder.context.as_mut() };
            context.sample_fmt = format;
            context.sample_rate = c_int::try_from(form.rate).unwrap_or(c_int::MAX);
            context.time_base = ffi::AVRational { num: 1, den: context.sample_rate };
            // SAFETY: the layout is empty.
            unsafe { ffi::av_channel_layout_default(&mut context.ch_layout, form.channels as c_int) };
            context.flags |= ffi::AV_CODEC_FLAG_GLOBAL_HEADER as c_int;
            context.thread_count = 1;
            if let Some(rate) = settings.bit_rate {
                let known = Self::bit_rates(&settings.encoder, form);
                let rate = rate.clamp(*known.start(), *known.end());
                context.bit_rate = i64::try_from(rate).unwrap_or(i64::MAX);
            }
            if form.sample == Sample::S32 {
                context.bits_per_raw_sample = 24;
            }
        }
        encoder.open(codec)?;
        // SAFETY: open now; a codec without frames of its own size takes any.
        let samples = unsafe { encoder.context.as_ref() }.frame_size;
        let samples = usize::try_from(samples).ok().filter(|samples| *samples > 0).unwrap_or(4_096);
        Ok(AudioEncoder {
            encoder,
            form,
            shape: Shape { rate: form.rate, channels: form.channels, format: format as i32, speakers: 0 },
            planar: planar && form.channels > 1,
            frame_bytes: samples * form.block(),
            pending: Vec::new(),
            taken: 0,
            frame: Frame::new()?,
            next: 0,
        })
    }

    /// Samples in the form it was opened with; any number of whole ones.
    pub fn push(&mut self, bytes: &[u8], emit: Emit<'_>) -> Result<(), MediaError> {
        self.pending.extend_from_slice(bytes);
        while self.pending.len() - self.taken >= self.frame_bytes {
            self.encode(self.frame_bytes, emit)?;
        }
        self.pending.drain(..self.taken);
        self.taken = 0;
        Ok(())
    }

    /// So many samples of silence, a second at a time.
    pub fn push_silence(&mut self, samples: u64, emit: Emit<'_>) -> Result<(), MediaError> {
        let second = vec![0; self.form.rate as usize * self.form.block()];
        let mut left = usize::try_from(samples).unwrap_or(usize::MAX).saturating_mul(self.form.block());
        while left > 0 {
            let step = left.min(second.len());
            self.push(&second[..step], emit)?;
            left -= step;
        }
        Ok(())
    }

    /// Gives what it still holds.
    pub fn finish(mut self, emit: Emit<'_>) -> Result<(), MediaError> {
        if self.pending.len() >= self.form.block() {
            self.encode(self.pending.len(), emit)?;
        }
        self.encoder.push(None, emit)
    }

    pub fn codec(&self) -> Result<Codec, MediaError> {
        self.encoder.codec()
    }

    fn encode(&mut self, bytes: usize, emit: Emit<'_>) -> Result<(), MediaError> {
        let block = self.form.block();
        let part = &self.pending[self.taken..self.taken + bytes];
        self.frame.fill(self.shape, part, block, self.planar)?;
        self.frame.set_timestamp(Some(self.next));
        self.taken += bytes;
        self.next += (bytes / block) as i64;
        self.encoder.push(Some(&mut self.frame), emit)
    }
}

/// The codec's own format for these samples, packed or in planes.
fn format_for(codec: &ffi::AVCodec, sample: Sample) -> Option<(ffi::AVSampleFormat, bool)> {
    use ffi::AVSampleFormat::*;
    let (packed, planar) = match sample {
        Sample::S16 => (AV_SAMPLE_FMT_S16, AV_SAMPLE_FMT_S16P),
        Sample::S32 => (AV_SAMPLE_FMT_S32, AV_SAMPLE_FMT_S32P),
        Sample::F32 => (AV_SAMPLE_FMT_FLT, AV_SAMPLE_FMT_FLTP),
    };
    let mut at = codec.sample_fmts;
    if at.is_null() {
        return Some((packed, false));
    }
    let mut found = None;
    // SAFETY: the list ends with NONE.
    unsafe {
        while *at != AV_SAMPLE_FMT_NONE {
            if *at == packed {
                return Some((packed, false));
            }
            if *at == planar {
                found = Some((planar, true));
            }
            at = at.add(1);
        }
    }
    found
}

/// libav's pixel format of this name.
pub fn pixel_format(name: &str) -> Result<ffi::AVPixelFormat, MediaError> {
    let unknown = || MediaError::Shape { reason: format!("libav knows no pixel format `{name}`") };
    let text = CString::new(name).map_err(|_| unknown())?;
    // SAFETY: the text ends with zero.
    match unsafe { ffi::av_get_pix_fmt(text.as_ptr()) } {
        ffi::AVPixelFormat::AV_PIX_FMT_NONE => Err(unknown()),
        format => Ok(format),
    }
}

/// Whether an encoder really makes pictures here: it is opened with these settings and given a few.
pub fn works(settings: &VideoSettings) -> Result<(), MediaError> {
    const PICTURES: i64 = 5;
    let mut encoder = VideoEncoder::open(settings)?;
    let mut packets = 0;
    let mut count = |_: &mut Packet| {
        packets += 1;
        Ok(())
    };
    for place in 0..PICTURES {
        let mut frame = Frame::blank(settings.width, settings.height, pixel_format(&settings.pixel_format)?)?;
        frame.set_timestamp(Some(place));
        encoder.push(&mut frame, &mut count)?;
    }
    encoder.finish(&mut count)?;
    match packets {
        0 => Err(MediaError::Encode { encoder: settings.encoder.clone(), reason: "it gave nothing".to_owned() }),
        _ => Ok(()),
    }
}
