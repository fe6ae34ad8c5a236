//! A codec: packets in, frames of samples out. Knows no container and no output.

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use ffmpeg_next::ffi;

use super::demuxer::{Demuxer, Packet};
use super::error::MediaError;
use super::facts::StreamFacts;
use super::graph::PictureShape;
use super::logs;

pub struct Decoder(NonNull<ffi::AVCodecContext>);

/// What the codec answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    Ok,
    /// It wants more before it gives anything.
    More,
    End,
    /// It couldn't make sense of what it had.
    Damaged,
}

impl Decoder {
    pub fn open(demuxer: &Demuxer<'_>, stream: &StreamFacts) -> Result<Self, MediaError> {
        Self::open_with(demuxer, stream, 1)
    }

    /// `threads`: how many the codec may use where it can; each holds pictures of its own.
    pub fn open_with(demuxer: &Demuxer<'_>, stream: &StreamFacts, threads: u32) -> Result<Self, MediaError> {
        let refused = |code: c_int| MediaError::NoDecoder {
            codec: stream.codec.clone(),
            reason: if code < 0 { logs::reason(code) } else { String::new() },
        };
        let parameters = demuxer.parameters(stream.index);
        let (num, den) = demuxer.time_base(stream.index);
        // SAFETY: the parameters live as long as the demuxer and are copied; the context is owned from its allocation on,
        // and its fields are set before it is opened, as libav wants it.
        unsafe {
            let Some(id) = parameters.as_ref().map(|parameters| parameters.codec_id) else { return Err(refused(0)) };
            let codec = ffi::avcodec_find_decoder(id);
            if codec.is_null() {
                return Err(refused(0));
            }
            let Some(mut context) = NonNull::new(ffi::avcodec_alloc_context3(codec)) else {
                return Err(MediaError::OutOfMemory { doing: "opening the codec" });
            };
            let decoder = Decoder(context);
            let code = ffi::avcodec_parameters_to_context(context.as_ptr(), parameters);
            if code < 0 {
                return Err(refused(code));
            }
            // Without it the decoder can't move timestamps when it drops a codec's run-in.
            context.as_mut().pkt_timebase = ffi::AVRational { num, den };
            context.as_mut().thread_count = c_int::try_from(threads).unwrap_or(1).max(1);
            let code = ffi::avcodec_open2(context.as_ptr(), codec, ptr::null_mut());
            if code < 0 {
                return Err(refused(code));
            }
            Ok(decoder)
        }
    }

    /// For a picture that stands alone, without a container: `setup` is what its container said of the codec; larger pictures than so many
    /// pixels are refused before they get memory.
    pub fn of_still(id: ffi::AVCodecID, setup: &[u8], pixels_max: u64) -> Result<Self, MediaError> {
        let refused = |code: c_int| MediaError::NoDecoder {
            codec: format!("{id:?}").trim_start_matches("AV_CODEC_ID_").to_owned(),
            reason: if code < 0 { logs::reason(code) } else { String::new() },
        };
        let out_of_memory = || MediaError::OutOfMemory { doing: "opening the codec" };
        // SAFETY: the context is owned from its allocation on, and its fields are set before it is opened; the setup is copied into memory of
        // libav's own, with the padding it wants, which goes with the context.
        unsafe {
            let codec = ffi::avcodec_find_decoder(id);
            if codec.is_null() {
                return Err(refused(0));
            }
            let mut context = NonNull::new(ffi::avcodec_alloc_context3(codec)).ok_or_else(out_of_memory)?;
            let decoder = Decoder(context);
            let size = c_int::try_from(setup.len()).map_err(|_| out_of_memory())?;
            if size > 0 {
                let room = ffi::av_mallocz(setup.len() + ffi::AV_INPUT_BUFFER_PADDING_SIZE as usize);
                let room = NonNull::new(room.cast::<u8>()).ok_or_else(out_of_memory)?;
                ptr::copy_nonoverlapping(setup.as_ptr(), room.as_ptr(), setup.len());
                context.as_mut().extradata = room.as_ptr();
                context.as_mut().extradata_size = size;
            }
            context.as_mut().thread_count = 1;
            context.as_mut().max_pixels = i64::try_from(pixels_max).unwrap_or(i64::MAX);
            let code = ffi::avcodec_open2(context.as_ptr(), codec, ptr::null_mut());
            if code < 0 {
                return Err(refused(code));
            }
            Ok(decoder)
        }
    }

    /// `None` says that no more will come.
    pub fn send(&mut self, packet: Option<&Packet>) -> Result<Answer, MediaError> {
        // SAFETY: the context is open; a null packet begins the flush.
        let code = unsafe { ffi::avcodec_send_packet(self.0.as_ptr(), packet.map_or(ptr::null(), Packet::as_ptr)) };
        answer(code)
    }

    pub fn receive(&mut self, frame: &mut Frame) -> Result<Answer, MediaError> {
        // SAFETY: both are valid; the frame's old content is let go by libav.
        answer(unsafe { ffi::avcodec_receive_frame(self.0.as_ptr(), frame.as_mut_ptr()) })
    }

    /// Forgets everything it was sent: the demuxer has gone elsewhere.
    pub fn flush(&mut self) {
        // SAFETY: the context is open.
        unsafe { ffi::avcodec_flush_buffers(self.0.as_ptr()) };
    }
}

// SAFETY: a codec is a value of its own; libav ties none to the thread that opened it.
unsafe impl Send for Decoder {}

impl Drop for Decoder {
    fn drop(&mut self) {
        let mut context = self.0.as_ptr();
        // SAFETY: allocated in `open`, freed only here.
        unsafe { ffi::avcodec_free_context(&mut context) };
    }
}

pub(super) fn answer(code: c_int) -> Result<Answer, MediaError> {
    Ok(match code {
        0.. => Answer::Ok,
        ffi::AVERROR_EOF => Answer::End,
        code if code == ffi::AVERROR(ffmpeg_next::error::EAGAIN) => Answer::More,
        code if code == ffi::AVERROR(ffmpeg_next::error::ENOMEM) => {
            return Err(MediaError::OutOfMemory { doing: "decoding" });
        }
        _ => Answer::Damaged,
    })
}

/// What a run of frames has in common; another shape needs another resampler.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    pub rate: u32,
    pub channels: u32,
    /// libav's number of the sample format.
    pub format: i32,
    /// Which speakers, as libav's mask; 0 where they are only counted.
    pub speakers: u64,
}

/// Colours as libav numbers them (ITU-T H.273).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Colour {
    pub range: ffi::AVColorRange,
    pub primaries: ffi::AVColorPrimaries,
    pub transfer: ffi::AVColorTransferCharacteristic,
    pub space: ffi::AVColorSpace,
}

impl Colour {
    /// Brighter and wider than a standard screen: PQ or HLG.
    pub fn is_hdr(&self) -> bool {
        use ffi::AVColorTransferCharacteristic::{AVCOL_TRC_ARIB_STD_B67, AVCOL_TRC_SMPTE2084};
        matches!(self.transfer, AVCOL_TRC_SMPTE2084 | AVCOL_TRC_ARIB_STD_B67)
    }

    /// What is to be said of pictures in YUV: those that were RGB were made so by the usual rule for small pictures.
    pub fn as_written(self) -> Self {
        match self.space {
            ffi::AVColorSpace::AVCOL_SPC_RGB => Colour { space: ffi::AVColorSpace::AVCOL_SPC_SMPTE170M, ..self },
            _ => self,
        }
    }
}

/// A frame's storage, used again and again.
pub struct Frame(NonNull<ffi::AVFrame>);

// SAFETY: a frame owns or counts its buffers, atomically.
unsafe impl Send for Frame {}

impl Frame {
    pub fn new() -> Result<Self, MediaError> {
        // SAFETY: allocates, or gives null.
        let frame = unsafe { ffi::av_frame_alloc() };
        NonNull::new(frame).map(Frame).ok_or(MediaError::OutOfMemory { doing: "decoding" })
    }

    fn fields(&self) -> &ffi::AVFrame {
        // SAFETY: allocated in `new`, freed in Drop.
        unsafe { self.0.as_ref() }
    }

    pub fn as_mut_ptr(&mut self) -> *mut ffi::AVFrame {
        self.0.as_ptr()
    }

    pub fn samples(&self) -> u64 {
        u64::try_from(self.fields().nb_samples).unwrap_or(0)
    }

    /// When it is heard, in ticks of its stream.
    pub fn timestamp(&self) -> Option<i64> {
        let (best, own) = (self.fields().best_effort_timestamp, self.fields().pts);
        [best, own].into_iter().find(|stamp| *stamp != ffi::AV_NOPTS_VALUE)
    }

    /// The timestamp that a filter gave it.
    pub fn filtered_timestamp(&self) -> Option<i64> {
        Some(self.fields().pts).filter(|stamp| *stamp != ffi::AV_NOPTS_VALUE)
    }

    /// How long it is shown, in ticks of its stream; 0 where nothing tells.
    pub fn length(&self) -> i64 {
        self.fields().pkt_duration
    }

    pub fn set_timestamp(&mut self, stamp: Option<i64>) {
        // SAFETY: the frame is valid.
        unsafe { self.0.as_mut() }.pts = stamp.unwrap_or(ffi::AV_NOPTS_VALUE);
    }

    /// A picture of whatever the memory held.
    pub fn blank(width: u32, height: u32, format: ffi::AVPixelFormat) -> Result<Self, MediaError> {
        let mut frame = Frame::new()?;
        let side = |side: u32| c_int::try_from(side).unwrap_or(c_int::MAX);
        // SAFETY: the frame is valid and empty; its buffer is asked for with its own size.
        let code = unsafe {
            let fields = frame.0.as_mut();
            fields.format = format as c_int;
            (fields.width, fields.height) = (side(width), side(height));
            ffi::av_frame_get_buffer(frame.as_mut_ptr(), 0)
        };
        if code < 0 { Err(MediaError::OutOfMemory { doing: "encoding" }) } else { Ok(frame) }
    }

    /// Another reference to the same picture or sound.
    pub fn another(&self) -> Result<Frame, MediaError> {
        // SAFETY: the frame is valid; what comes back is owned.
        let frame = unsafe { ffi::av_frame_clone(self.0.as_ptr()) };
        NonNull::new(frame).map(Frame).ok_or(MediaError::OutOfMemory { doing: "decoding" })
    }

    /// Takes over another frame's content, and leaves it empty.
    pub fn take(&mut self, other: &mut Frame) {
        // SAFETY: both are valid; what this one had is let go first.
        unsafe {
            ffi::av_frame_unref(self.0.as_ptr());
            ffi::av_frame_move_ref(self.0.as_ptr(), other.0.as_ptr());
        }
    }

    /// What picture it is; `None` for a frame that isn't one.
    pub fn picture(&self) -> Option<PictureShape> {
        let fields = self.fields();
        let aspect = fields.sample_aspect_ratio;
        (fields.width > 0 && fields.height > 0 && fields.format >= 0).then_some(PictureShape {
            width: fields.width,
            height: fields.height,
            format: fields.format,
            sample_aspect: (aspect.num, aspect.den),
        })
    }

    /// Decoding can begin with it.
    pub fn is_key(&self) -> bool {
        self.fields().key_frame != 0
    }

    /// The codec saw damage in it.
    pub fn damaged(&self) -> bool {
        self.fields().decode_error_flags != 0 || self.fields().flags & ffi::AV_FRAME_FLAG_CORRUPT != 0
    }

    /// What it says of its colours.
    pub fn colour(&self) -> Colour {
        let fields = self.fields();
        Colour {
            range: fields.color_range,
            primaries: fields.color_primaries,
            transfer: fields.color_trc,
            space: fields.colorspace,
        }
    }

    /// The encoder chooses for itself where a group of pictures begins.
    pub fn forget_picture_type(&mut self) {
        // SAFETY: the frame is valid.
        unsafe { self.0.as_mut() }.pict_type = ffi::AVPictureType::AV_PICTURE_TYPE_NONE;
    }

    /// A picture's rows, without padding, where it is of packed pixels of so many bytes.
    pub fn packed_rows(&self, pixel_bytes: usize) -> Vec<u8> {
        let fields = self.fields();
        let (Ok(width), Ok(height)) = (usize::try_from(fields.width), usize::try_from(fields.height)) else {
            return Vec::new();
        };
        let mut rows = Vec::with_capacity(width * height * pixel_bytes);
        for row in 0..height as isize {
            // SAFETY: a packed picture has `height` rows of `linesize` bytes in its first plane, each at least as long.
            let bytes = unsafe {
                let start = fields.data[0].offset(row * fields.linesize[0] as isize);
                std::slice::from_raw_parts(start, width * pixel_bytes)
            };
            rows.extend_from_slice(bytes);
        }
        rows
    }

    /// Puts rows without padding into a picture of packed pixels of so many bytes.
    pub fn fill_rows(&mut self, rows: &[u8], pixel_bytes: usize) {
        let fields = self.fields();
        let (Ok(width), Ok(height)) = (usize::try_from(fields.width), usize::try_from(fields.height)) else { return };
        let row_bytes = (width * pixel_bytes).max(1);
        for (at, row) in rows.chunks_exact(row_bytes).take(height).enumerate() {
            // SAFETY: a packed picture has `height` rows of `linesize` bytes in its first plane, each at least `row_bytes` long; nobody else
            // has a picture that was just made.
            unsafe {
                let start = fields.data[0].offset(at as isize * fields.linesize[0] as isize);
                ptr::copy_nonoverlapping(row.as_ptr(), start, row_bytes);
            }
        }
    }

    /// Makes it a frame of sound with these packed samples, of `block` bytes for all channels; `planar`: as two planes.
    pub fn fill(&mut self, shape: Shape, bytes: &[u8], block: usize, planar: bool) -> Result<(), MediaError> {
        let out_of_memory = MediaError::OutOfMemory { doing: "encoding" };
        let samples = bytes.len() / block.max(1);
        // SAFETY: the frame is valid; its buffer is asked for with the shape's own size, and only so many bytes go in.
        unsafe {
            ffi::av_frame_unref(self.0.as_ptr());
            let frame = self.0.as_mut();
            frame.format = shape.format;
            frame.sample_rate = shape.rate as c_int;
            frame.nb_samples = c_int::try_from(samples).map_err(|_| MediaError::OutOfMemory { doing: "encoding" })?;
            ffi::av_channel_layout_default(&mut frame.ch_layout, shape.channels as c_int);
            if ffi::av_frame_get_buffer(self.0.as_ptr(), 0) < 0 {
                return Err(out_of_memory);
            }
            if !planar {
                ptr::copy_nonoverlapping(bytes.as_ptr(), self.0.as_ref().data[0], samples * block);
                return Ok(());
            }
            let width = block / 2;
            for (channel, plane) in self.0.as_ref().data[..2].iter().enumerate() {
                for (at, sample) in bytes.chunks_exact(block).enumerate() {
                    ptr::copy_nonoverlapping(sample[channel * width..].as_ptr(), plane.add(at * width), width);
                }
            }
        }
        Ok(())
    }

    /// Packed sound as bytes: `block` for each sample of all channels.
    pub fn packed_samples(&self, block: usize) -> &[u8] {
        let fields = self.fields();
        if fields.data[0].is_null() {
            return &[];
        }
        // SAFETY: packed samples lie in the first plane, `block` bytes for each; the caller built the graph that made them.
        unsafe { std::slice::from_raw_parts(fields.data[0], self.samples() as usize * block) }
    }

    /// Settles which speakers the channels are: those the file names, or else the usual ones for their number. `None` for a
    /// frame that isn't sound.
    pub fn settle_shape(&mut self) -> Option<Shape> {
        // SAFETY: the frame is valid; its layout is replaced by libav's own means.
        unsafe {
            let frame = self.0.as_mut();
            let channels = frame.ch_layout.nb_channels;
            if channels <= 0 || frame.nb_samples < 0 || frame.sample_rate <= 0 || frame.format < 0 {
                return None;
            }
            if frame.ch_layout.order != ffi::AVChannelOrder::AV_CHANNEL_ORDER_NATIVE {
                ffi::av_channel_layout_uninit(&mut frame.ch_layout);
                ffi::av_channel_layout_default(&mut frame.ch_layout, channels);
            }
            let native = frame.ch_layout.order == ffi::AVChannelOrder::AV_CHANNEL_ORDER_NATIVE;
            Some(Shape {
                rate: u32::try_from(frame.sample_rate).ok()?,
                channels: u32::try_from(channels).ok()?,
                format: frame.format,
                speakers: if native { frame.ch_layout.u.mask } else { 0 },
            })
        }
    }

    /// Drops the first `count` samples; `false` where that couldn't be done.
    pub fn drop_first(&mut self, count: u64) -> bool {
        // SAFETY: the frame is valid and made writable first; the copy stays within its `nb_samples`, and libav moves
        // overlapping samples rightly.
        unsafe {
            let pointer = self.0.as_ptr();
            let Some(count) = c_int::try_from(count).ok().filter(|count| *count <= (*pointer).nb_samples) else {
                return false;
            };
            if ffi::av_frame_make_writable(pointer) < 0 {
                return false;
            }
            let frame = self.0.as_mut();
            let left = frame.nb_samples - count;
            let channels = frame.ch_layout.nb_channels;
            let Some(format) = sample_format(frame.format) else { return false };
            if left > 0 {
                ffi::av_samples_copy(frame.extended_data, frame.extended_data, 0, count, left, channels, format);
            }
            frame.nb_samples = left;
            true
        }
    }
}

impl Drop for Frame {
    fn drop(&mut self) {
        let mut frame = self.0.as_ptr();
        // SAFETY: allocated in `new`, freed only here.
        unsafe { ffi::av_frame_free(&mut frame) };
    }
}

/// The number as the enumeration it is, where libav knows it.
pub fn sample_format(number: i32) -> Option<ffi::AVSampleFormat> {
    use ffi::AVSampleFormat::*;
    [
        AV_SAMPLE_FMT_U8,
        AV_SAMPLE_FMT_S16,
        AV_SAMPLE_FMT_S32,
        AV_SAMPLE_FMT_FLT,
        AV_SAMPLE_FMT_DBL,
        AV_SAMPLE_FMT_U8P,
        AV_SAMPLE_FMT_S16P,
        AV_SAMPLE_FMT_S32P,
        AV_SAMPLE_FMT_FLTP,
        AV_SAMPLE_FMT_DBLP,
        AV_SAMPLE_FMT_S64,
        AV_SAMPLE_FMT_S64P,
    ]
    .into_iter()
    .find(|format| *format as i32 == number)
}
