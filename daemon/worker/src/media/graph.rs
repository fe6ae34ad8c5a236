//! A filter graph: frames of one shape in, other frames out, by libav's own filters. Knows no codec and no container.

use std::ffi::{CString, c_int};
use std::ptr::{self, NonNull};

use ffmpeg_next::ffi;

use super::decoder::{Frame, Shape};
use super::error::MediaError;
use super::logs;

/// What a run of pictures has in common; another shape needs another graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PictureShape {
    pub width: i32,
    pub height: i32,
    /// libav's number of the pixel format.
    pub format: i32,
    /// Width of a pixel divided by its height; 0/1 where unknown.
    pub sample_aspect: (i32, i32),
}

/// What the frames that go in look like.
#[derive(Debug, Clone, Copy)]
pub enum Feed {
    Sound(Shape),
    /// With the seconds per tick of the frames' timestamps, which come out in [`Graph::time_base`].
    Pictures {
        shape: PictureShape,
        time_base: (i32, i32),
    },
}

/// One source, the filters, one sink.
///
/// Push frames with [`Graph::push`], `None` at the end, and [`Graph::pull`] until it has none after each.
pub struct Graph {
    _graph: Owned,
    /// Both belong to the graph.
    source: NonNull<ffi::AVFilterContext>,
    sink: NonNull<ffi::AVFilterContext>,
}

// SAFETY: a graph is a value of its own that no other thread knows of; libav ties none to the thread that made it.
unsafe impl Send for Graph {}

impl Graph {
    /// `filters` as the `ffmpeg` program's `-vf` and `-af` have them: one chain.
    pub fn new(feed: Feed, filters: &str, threads: u32) -> Result<Self, MediaError> {
        let what = match feed {
            Feed::Sound(shape) => format!("{} channels at {} Hz", shape.channels, shape.rate),
            Feed::Pictures { shape, .. } => format!("pictures of {}×{}", shape.width, shape.height),
        };
        let failed = |code: c_int| MediaError::Shape { reason: format!("{what}: {}", logs::reason(code)) };
        let out_of_memory = || MediaError::OutOfMemory { doing: "filtering" };
        let filters = CString::new(filters).map_err(|_| failed(0))?;
        let (source_name, sink_name) = match feed {
            Feed::Sound(_) => (c"abuffer", c"abuffersink"),
            Feed::Pictures { .. } => (c"buffer", c"buffersink"),
        };
        // SAFETY: the graph is freed by `Owned` on every way out, and with it its filters; the parameters and the two
        // lists of pads are freed here, right after their use.
        unsafe {
            let graph = Owned(NonNull::new(ffi::avfilter_graph_alloc()).ok_or_else(out_of_memory)?);
            (*graph.0.as_ptr()).nb_threads = c_int::try_from(threads).unwrap_or(1).max(1);
            // What the `ffmpeg` program scales with, too.
            (*graph.0.as_ptr()).scale_sws_opts = ffi::av_strdup(c"flags=bicubic".as_ptr());
            let add = |filter: &std::ffi::CStr, name: &std::ffi::CStr| {
                let filter = ffi::avfilter_get_by_name(filter.as_ptr());
                let context = if filter.is_null() {
                    ptr::null_mut()
                } else {
                    ffi::avfilter_graph_alloc_filter(graph.0.as_ptr(), filter, name.as_ptr())
                };
                NonNull::new(context).ok_or_else(out_of_memory)
            };
            let source = add(source_name, c"in")?;
            let sink = add(sink_name, c"out")?;
            let mut parameters = NonNull::new(ffi::av_buffersrc_parameters_alloc()).ok_or_else(out_of_memory)?;
            describe(parameters.as_mut(), feed);
            let code = ffi::av_buffersrc_parameters_set(source.as_ptr(), parameters.as_ptr());
            ffi::av_free(parameters.as_ptr().cast());
            check(code, &failed)?;
            check(ffi::avfilter_init_str(source.as_ptr(), ptr::null()), &failed)?;
            check(ffi::avfilter_init_str(sink.as_ptr(), ptr::null()), &failed)?;

            // Seen from the filters between: their input comes from our source, their output goes to our sink.
            let mut outputs = pad(c"in", source).ok_or_else(out_of_memory)?;
            let Some(mut inputs) = pad(c"out", sink) else {
                ffi::avfilter_inout_free(&mut outputs);
                return Err(out_of_memory());
            };
            let parsed = ffi::avfilter_graph_parse_ptr(
                graph.0.as_ptr(),
                filters.as_ptr(),
                &mut inputs,
                &mut outputs,
                ptr::null_mut(),
            );
            ffi::avfilter_inout_free(&mut inputs);
            ffi::avfilter_inout_free(&mut outputs);
            check(parsed, &failed)?;
            check(ffi::avfilter_graph_config(graph.0.as_ptr(), ptr::null_mut()), &failed)?;
            Ok(Graph { _graph: graph, source, sink })
        }
    }

    /// Takes over the frame's content and leaves it empty; `None` says that no more will come.
    pub fn push(&mut self, frame: Option<&mut Frame>) -> Result<(), MediaError> {
        let frame = frame.map_or(ptr::null_mut(), Frame::as_mut_ptr);
        // SAFETY: the source is valid and the frame, too; a null frame is the end.
        let code = unsafe { ffi::av_buffersrc_add_frame(self.source.as_ptr(), frame) };
        check(code, &failed_inside)
    }

    /// Fills the frame with what is ready next; `false` where nothing is.
    pub fn pull(&mut self, frame: &mut Frame) -> Result<bool, MediaError> {
        // SAFETY: both are valid, and the frame is let go before it is filled again.
        let code = unsafe {
            ffi::av_frame_unref(frame.as_mut_ptr());
            ffi::av_buffersink_get_frame(self.sink.as_ptr(), frame.as_mut_ptr())
        };
        if code == ffi::AVERROR_EOF || code == ffi::AVERROR(ffmpeg_next::error::EAGAIN) {
            return Ok(false);
        }
        check(code, &failed_inside)?;
        Ok(true)
    }

    /// Seconds per tick of what comes out.
    pub fn time_base(&self) -> (i32, i32) {
        // SAFETY: the sink belongs to the configured graph.
        let base = unsafe { ffi::av_buffersink_get_time_base(self.sink.as_ptr()) };
        (base.num, base.den)
    }
}

/// # Safety
/// The parameters are freshly allocated.
unsafe fn describe(fields: &mut ffi::AVBufferSrcParameters, feed: Feed) {
    match feed {
        Feed::Sound(shape) => {
            fields.format = shape.format;
            fields.time_base = ffi::AVRational { num: 1, den: shape.rate as c_int };
            fields.sample_rate = shape.rate as c_int;
            // SAFETY: the layout is empty, and libav fills it.
            unsafe {
                if shape.speakers != 0 {
                    ffi::av_channel_layout_from_mask(&mut fields.ch_layout, shape.speakers);
                } else {
                    ffi::av_channel_layout_default(&mut fields.ch_layout, shape.channels as c_int);
                }
            }
        }
        Feed::Pictures { shape, time_base: (num, den) } => {
            fields.format = shape.format;
            fields.width = shape.width;
            fields.height = shape.height;
            fields.time_base = ffi::AVRational { num, den };
            let (num, den) = shape.sample_aspect;
            fields.sample_aspect_ratio = ffi::AVRational { num, den };
        }
    }
}

/// Frees a graph, half built or whole.
struct Owned(NonNull<ffi::AVFilterGraph>);

impl Drop for Owned {
    fn drop(&mut self) {
        let mut graph = self.0.as_ptr();
        // SAFETY: owned by this value alone.
        unsafe { ffi::avfilter_graph_free(&mut graph) };
    }
}

/// # Safety
/// The filter is valid as long as what comes back is used.
unsafe fn pad(name: &std::ffi::CStr, filter: NonNull<ffi::AVFilterContext>) -> Option<*mut ffi::AVFilterInOut> {
    // SAFETY: allocated by libav, freed by the caller with avfilter_inout_free, which frees the copied name too.
    unsafe {
        let mut pad = NonNull::new(ffi::avfilter_inout_alloc())?;
        let fields = pad.as_mut();
        fields.name = ffi::av_strdup(name.as_ptr());
        fields.filter_ctx = filter.as_ptr();
        fields.pad_idx = 0;
        fields.next = ptr::null_mut();
        Some(pad.as_ptr())
    }
}

fn check(code: c_int, failed: &dyn Fn(c_int) -> MediaError) -> Result<(), MediaError> {
    match code {
        0.. => Ok(()),
        code if code == ffi::AVERROR(ffmpeg_next::error::ENOMEM) => Err(MediaError::OutOfMemory { doing: "filtering" }),
        code => Err(failed(code)),
    }
}

fn failed_inside(code: c_int) -> MediaError {
    MediaError::Shape { reason: logs::reason(code) }
}
