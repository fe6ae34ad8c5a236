//! A container being written over one descriptor: streams and tags first, then packets, then its index. Opens nothing else.
//!
//! ```text
//! let mut muxer = Muxer::new(&file, "mp4", cancel)?;
//! let video = muxer.add(&encoder.codec()?, time_base, &StreamAbout::default())?;
//! muxer.chapter(..)?; muxer.tag("title", ..)?;
//! let mut writing = muxer.begin(&[("movflags", "+faststart")])?;
//! writing.write(video, &mut packet)?;   // times in `writing.time_base(video)`
//! writing.finish()?;
//! ```

use std::ffi::{CString, c_int};
use std::fs::File;
use std::ptr::{self, NonNull};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use ffmpeg_next::ffi;

use super::avio::Sink;
use super::demuxer::{Demuxer, Packet};
use super::encoder::Codec;
use super::error::MediaError;
use super::logs;

/// What people are told of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StreamAbout {
    pub language: Option<String>,
    pub title: Option<String>,
    /// To be taken where nobody chooses.
    pub default: bool,
}

/// A container whose streams are being named.
pub struct Muxer<'file> {
    context: NonNull<ffi::AVFormatContext>,
    format: String,
    /// Dropped after the context, which writes to it.
    sink: Sink<'file>,
}

/// A container whose header is written.
pub struct Writing<'file> {
    muxer: Muxer<'file>,
    /// How far each stream has come, in its own ticks: what goes back would be refused by libav.
    last: Vec<Option<i64>>,
}

impl<'file> Muxer<'file> {
    /// `format`: libav's name of the container (`mp4`, `matroska`, `webm`, `mov`, `ogg`, `mp3`, `wav`, `flac`, `ipod`). The file
    /// is written from its beginning on; it should be empty.
    pub fn new(file: &'file File, format: &str, cancel: Arc<AtomicBool>) -> Result<Self, MediaError> {
        logs::begin();
        let refused = |reason: String| MediaError::Mux { format: format.to_owned(), reason };
        let name = CString::new(format).map_err(|_| refused("no such format".to_owned()))?;
        let sink = Sink::new(file, cancel)?;
        let mut context = ptr::null_mut();
        // SAFETY: what is allocated here is owned by the muxer from here on; the fields are meant for callers. The sink
        // outlives the context.
        unsafe {
            let code = ffi::avformat_alloc_output_context2(&mut context, ptr::null(), name.as_ptr(), c"".as_ptr());
            let mut context = NonNull::new(context).ok_or_else(|| refused(logs::reason(code)))?;
            let (open, close) = Sink::read_back();
            let fields = context.as_mut();
            fields.pb = sink.as_ptr();
            fields.opaque = sink.opaque();
            fields.io_open = Some(open);
            fields.io_close2 = Some(close);
            // The same input gives the same bytes: no times, no versions.
            fields.flags |= ffi::AVFMT_FLAG_BITEXACT as c_int;
            fields.avoid_negative_ts = ffi::AVFMT_AVOID_NEG_TS_DISABLED as c_int;
            Ok(Muxer { context, format: format.to_owned(), sink })
        }
    }

    /// Another stream; its number is given back. `time_base`: what its packets' times are likely to be in; the container may
    /// choose another ([`Writing::time_base`]).
    pub fn add(&mut self, codec: &Codec, time_base: (i32, i32), about: &StreamAbout) -> Result<usize, MediaError> {
        let out_of_memory = || MediaError::OutOfMemory { doing: "writing" };
        // SAFETY: the context is valid and its header not written; the stream belongs to it.
        unsafe {
            let stream =
                ffi::avformat_new_stream(self.context.as_ptr(), ptr::null()).as_mut().ok_or_else(out_of_memory)?;
            if ffi::avcodec_parameters_copy(stream.codecpar, codec.as_ptr()) < 0 {
                return Err(out_of_memory());
            }
            stream.time_base = ffi::AVRational { num: time_base.0, den: time_base.1 };
            if about.default {
                stream.disposition |= ffi::AV_DISPOSITION_DEFAULT as c_int;
            }
            for (key, value) in [("language", &about.language), ("title", &about.title)] {
                if let Some(value) = value {
                    set(&mut stream.metadata, key, value);
                }
            }
            Ok(usize::try_from(stream.index).unwrap_or(0))
        }
    }

    /// The rate that a video stream says it has, for readers that don't count.
    pub fn says_rate(&mut self, stream: usize, rate: (u32, u32)) {
        let int = |number: u32| c_int::try_from(number).unwrap_or(c_int::MAX);
        let rate = ffi::AVRational { num: int(rate.0), den: int(rate.1) };
        // SAFETY: null or a valid stream of the context.
        if let Some(stream) = unsafe { self.stream(stream).as_mut() } {
            stream.avg_frame_rate = rate;
            stream.r_frame_rate = rate;
        }
    }

    /// The pictures of a copied stream are turned as their source's are.
    pub fn turn_like(&mut self, stream: usize, demuxer: &Demuxer<'_>, index: usize) -> Result<(), MediaError> {
        let kind = ffi::AVPacketSideDataType::AV_PKT_DATA_DISPLAYMATRIX;
        let matrix = demuxer.stream_side_data(index, kind);
        if matrix.is_empty() {
            return Ok(());
        }
        // SAFETY: null or a valid stream of the context; libav gives room for as many bytes.
        unsafe {
            let room = ffi::av_stream_new_side_data(self.stream(stream), kind, matrix.len());
            if room.is_null() {
                return Err(MediaError::OutOfMemory { doing: "writing" });
            }
            ptr::copy_nonoverlapping(matrix.as_ptr(), room, matrix.len());
        }
        Ok(())
    }

    /// Of the whole file (`title`, `artist`).
    pub fn tag(&mut self, key: &str, value: &str) {
        // SAFETY: the context is valid.
        unsafe { set(&mut self.context.as_mut().metadata, key, value) };
    }

    /// A chapter from here to there, in milliseconds of the output.
    pub fn chapter(&mut self, start_ms: i64, end_ms: i64, title: Option<&str>) -> Result<(), MediaError> {
        let out_of_memory = || MediaError::OutOfMemory { doing: "writing" };
        // SAFETY: libav frees chapters with the context; the list is grown as libav grows it, its count after it.
        unsafe {
            let chapter = ffi::av_mallocz(size_of::<ffi::AVChapter>()).cast::<ffi::AVChapter>();
            let fields = chapter.as_mut().ok_or_else(out_of_memory)?;
            let context = self.context.as_mut();
            fields.id = i64::from(context.nb_chapters);
            fields.time_base = ffi::AVRational { num: 1, den: 1_000 };
            (fields.start, fields.end) = (start_ms, end_ms);
            if let Some(title) = title {
                set(&mut fields.metadata, "title", title);
            }
            let list = ffi::av_realloc_array(
                context.chapters.cast(),
                context.nb_chapters as usize + 1,
                size_of::<*mut ffi::AVChapter>(),
            );
            if list.is_null() {
                ffi::av_dict_free(&mut fields.metadata);
                ffi::av_free(chapter.cast());
                return Err(out_of_memory());
            }
            context.chapters = list.cast();
            *context.chapters.add(context.nb_chapters as usize) = chapter;
            context.nb_chapters += 1;
        }
        Ok(())
    }

    /// Writes the header. `options`: the container's own.
    pub fn begin(mut self, options: &[(&str, &str)]) -> Result<Writing<'file>, MediaError> {
        let mut dictionary = ptr::null_mut();
        // SAFETY: the context is valid, the dictionary is freed right after its use.
        let (code, streams) = unsafe {
            for (key, value) in options {
                set(&mut dictionary, key, value);
            }
            let code = ffi::avformat_write_header(self.context.as_ptr(), &mut dictionary);
            ffi::av_dict_free(&mut dictionary);
            (code, self.context.as_ref().nb_streams as usize)
        };
        self.check(code)?;
        Ok(Writing { muxer: self, last: vec![None; streams] })
    }

    fn check(&mut self, code: c_int) -> Result<(), MediaError> {
        if let Some(interruption) = self.sink.interruption() {
            return Err(interruption);
        }
        match code {
            0.. => Ok(()),
            code if code == ffi::AVERROR(ffmpeg_next::error::ENOMEM) => {
                Err(MediaError::OutOfMemory { doing: "writing" })
            }
            code => Err(MediaError::Mux { format: self.format.clone(), reason: logs::reason(code) }),
        }
    }

    fn stream(&self, index: usize) -> *mut ffi::AVStream {
        // SAFETY: a context has `nb_streams` pointers in `streams`.
        unsafe {
            let context = self.context.as_ref();
            if index < context.nb_streams as usize { *context.streams.add(index) } else { ptr::null_mut() }
        }
    }
}

impl Drop for Muxer<'_> {
    fn drop(&mut self) {
        // SAFETY: allocated in `new`, freed only here; the sink's own context isn't the format's to free.
        unsafe {
            self.context.as_mut().pb = ptr::null_mut();
            ffi::avformat_free_context(self.context.as_ptr());
        }
    }
}

impl Writing<'_> {
    /// Seconds per tick of a stream's packets.
    pub fn time_base(&self, stream: usize) -> (i32, i32) {
        // SAFETY: null or a valid stream of the context.
        let stream = unsafe { self.muxer.stream(stream).as_ref() };
        stream.map_or((1, 1), |stream| (stream.time_base.num, stream.time_base.den))
    }

    /// The stream's next packet, with its times in [`Writing::time_base`]. Packets come in the order of their decoding times over all
    /// streams (libav holds nothing back here), and the packet's content is let go.
    pub fn write(&mut self, stream: usize, packet: &mut Packet) -> Result<(), MediaError> {
        // SAFETY: the packet is valid.
        let fields = unsafe { &mut *packet.as_mut_ptr() };
        fields.stream_index = c_int::try_from(stream).unwrap_or(0);
        fields.pos = -1;
        // A container that rounds may make two times one; it wants them to rise.
        if let Some(last) = self.last.get_mut(stream) {
            if let Some(before) = last.filter(|before| fields.dts <= *before) {
                fields.dts = before + 1;
                fields.pts = fields.pts.max(fields.dts);
            }
            *last = Some(fields.dts);
        }
        // SAFETY: both are valid and the header is written.
        let code = unsafe {
            let code = ffi::av_write_frame(self.muxer.context.as_ptr(), fields);
            ffi::av_packet_unref(fields);
            code
        };
        self.muxer.check(code)
    }

    /// As [`Writing::write`], in whatever order the streams come: libav keeps packets until it knows theirs.
    pub fn write_between(&mut self, stream: usize, packet: &mut Packet) -> Result<(), MediaError> {
        // SAFETY: the packet is valid; libav takes its content over and leaves it empty.
        let code = unsafe {
            let fields = &mut *packet.as_mut_ptr();
            fields.stream_index = c_int::try_from(stream).unwrap_or(0);
            fields.pos = -1;
            ffi::av_interleaved_write_frame(self.muxer.context.as_ptr(), fields)
        };
        self.muxer.check(code)
    }

    /// Writes what belongs at the end, and the index to the front where that was asked for.
    pub fn finish(mut self) -> Result<(), MediaError> {
        // SAFETY: the header is written; what is still buffered is flushed to the sink.
        let code = unsafe {
            let code = ffi::av_write_trailer(self.muxer.context.as_ptr());
            ffi::avio_flush(self.muxer.sink.as_ptr());
            let own = (*self.muxer.sink.as_ptr()).error;
            if code < 0 { code } else { own.min(0) }
        };
        self.muxer.check(code)
    }
}

/// # Safety
/// The dictionary is null or valid.
unsafe fn set(dictionary: &mut *mut ffi::AVDictionary, key: &str, value: &str) {
    let (Ok(key), Ok(value)) = (CString::new(key), CString::new(value.replace('\0', ""))) else { return };
    // SAFETY: the caller's promise; libav copies both texts.
    unsafe { ffi::av_dict_set(dictionary, key.as_ptr(), value.as_ptr(), 0) };
}

/// `ticks` of one clock in ticks of another, rounded to the nearest.
pub fn rescale(ticks: i64, from: (i32, i32), to: (i32, i32)) -> i64 {
    let up = i128::from(ticks) * i128::from(from.0) * i128::from(to.1);
    let per = (i128::from(from.1) * i128::from(to.0)).max(1);
    let rounded = (up + up.signum() * (per / 2)) / per;
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}
