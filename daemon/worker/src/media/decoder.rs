//! A codec: packets in, frames of samples out. Knows no container and no output.

use std::ffi::c_int;
use std::ptr::{self, NonNull};

use ffmpeg_next::ffi;

use super::demuxer::{Demuxer, Packet};
use super::error::MediaError;
use super::facts::StreamFacts;
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
            context.as_mut().thread_count = 1;
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
}

impl Drop for Decoder {
    fn drop(&mut self) {
        let mut context = self.0.as_ptr();
        // SAFETY: allocated in `open`, freed only here.
        unsafe { ffi::avcodec_free_context(&mut context) };
    }
}

fn answer(code: c_int) -> Result<Answer, MediaError> {
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

/// A frame's storage, used again and again.
pub struct Frame(NonNull<ffi::AVFrame>);

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
