//! A filter graph that makes 16 kHz mono samples of frames of one shape. Knows no time.

use std::ffi::{CString, c_int};
use std::ptr::{self, NonNull};

use ffmpeg_next::ffi;
use spindle_shared::stage::decode::SAMPLE_RATE;

use super::decoder::{Frame, Shape, sample_format};
use super::error::MediaError;
use super::logs;

/// Below, one second of file could swell to hours; above, the filter's own tables would take gigabytes.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=3_100_000;
/// What libav can mix down.
const CHANNELS_MAX: u32 = 64;

pub struct Resampler {
    graph: NonNull<ffi::AVFilterGraph>,
    /// Both belong to the graph.
    source: NonNull<ffi::AVFilterContext>,
    sink: NonNull<ffi::AVFilterContext>,
    output: Frame,
}

impl Resampler {
    pub fn new(shape: Shape) -> Result<Self, MediaError> {
        let unfit = |reason: String| Err(MediaError::Shape { reason });
        if !RATES.contains(&shape.rate) {
            return unfit(format!("{} samples per second is outside {}–{}", shape.rate, RATES.start(), RATES.end()));
        }
        if shape.channels > CHANNELS_MAX {
            return unfit(format!("{} channels are more than {CHANNELS_MAX}", shape.channels));
        }
        let mono = format!("aresample={SAMPLE_RATE},aformat=sample_fmts=s16:channel_layouts=mono");
        Self::build(shape, &mono).or_else(|_| {
            // No rule for mixing these speakers: all of them alike.
            let share = 1.0 / f64::from(shape.channels);
            let terms: Vec<String> = (0..shape.channels).map(|channel| format!("{share}*c{channel}")).collect();
            Self::build(shape, &format!("pan=mono|c0={},{mono}", terms.join("+")))
        })
    }

    fn build(shape: Shape, filters: &str) -> Result<Self, MediaError> {
        let failed = |code: c_int| MediaError::Shape {
            reason: format!("{} channels at {} Hz: {}", shape.channels, shape.rate, logs::reason(code)),
        };
        let out_of_memory = || MediaError::OutOfMemory { doing: "resampling" };
        let filters = CString::new(filters).map_err(|_| failed(0))?;
        let output = Frame::new()?;
        // SAFETY: the graph is freed by `Graph` on every way out, and with it its filters; the parameters and the two
        // lists of pads are freed here, right after their use.
        unsafe {
            let graph = Graph(NonNull::new(ffi::avfilter_graph_alloc()).ok_or_else(out_of_memory)?);
            (*graph.0.as_ptr()).nb_threads = 1;
            let add = |filter: &std::ffi::CStr, name: &std::ffi::CStr| {
                let filter = ffi::avfilter_get_by_name(filter.as_ptr());
                let context = if filter.is_null() {
                    ptr::null_mut()
                } else {
                    ffi::avfilter_graph_alloc_filter(graph.0.as_ptr(), filter, name.as_ptr())
                };
                NonNull::new(context).ok_or_else(out_of_memory)
            };
            let source = add(c"abuffer", c"in")?;
            let sink = add(c"abuffersink", c"out")?;

            let mut parameters = NonNull::new(ffi::av_buffersrc_parameters_alloc()).ok_or_else(out_of_memory)?;
            let fields = parameters.as_mut();
            fields.format = shape.format;
            fields.time_base = ffi::AVRational { num: 1, den: shape.rate as c_int };
            fields.sample_rate = shape.rate as c_int;
            if shape.speakers != 0 {
                ffi::av_channel_layout_from_mask(&mut fields.ch_layout, shape.speakers);
            } else {
                ffi::av_channel_layout_default(&mut fields.ch_layout, shape.channels as c_int);
            }
            let code = ffi::av_buffersrc_parameters_set(source.as_ptr(), fields);
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
            let graph = graph.keep();
            Ok(Resampler { graph, source, sink, output })
        }
    }

    /// Takes the frame's samples; `emit` gets what is ready, as bytes of the output.
    pub fn push(&mut self, frame: &mut Frame, emit: &mut dyn FnMut(&[u8])) -> Result<(), MediaError> {
        // SAFETY: both are valid; the graph takes over the frame's content and leaves it empty. Its timestamp is of no
        // use here, since every run of frames is without gaps.
        let code = unsafe {
            (*frame.as_mut_ptr()).pts = ffi::AV_NOPTS_VALUE;
            ffi::av_buffersrc_add_frame(self.source.as_ptr(), frame.as_mut_ptr())
        };
        check(code, &failed_inside)?;
        self.pull(emit)
    }

    /// No more frames come: gives what the filter still holds.
    pub fn finish(mut self, emit: &mut dyn FnMut(&[u8])) -> Result<(), MediaError> {
        // SAFETY: the source is valid; a null frame is the end.
        let code = unsafe { ffi::av_buffersrc_add_frame(self.source.as_ptr(), ptr::null_mut()) };
        check(code, &failed_inside)?;
        self.pull(emit)
    }

    fn pull(&mut self, emit: &mut dyn FnMut(&[u8])) -> Result<(), MediaError> {
        loop {
            // SAFETY: both are valid, and the frame is let go before it is filled again.
            let code = unsafe {
                ffi::av_frame_unref(self.output.as_mut_ptr());
                ffi::av_buffersink_get_frame(self.sink.as_ptr(), self.output.as_mut_ptr())
            };
            if code == ffi::AVERROR_EOF || code == ffi::AVERROR(ffmpeg_next::error::EAGAIN) {
                return Ok(());
            }
            check(code, &failed_inside)?;
            let samples = self.output.samples() as usize;
            // SAFETY: the graph ends in packed s16 mono, so the first plane holds two bytes for each sample.
            let bytes = unsafe {
                let frame = &*self.output.as_mut_ptr();
                debug_assert_eq!(sample_format(frame.format), Some(ffi::AVSampleFormat::AV_SAMPLE_FMT_S16));
                std::slice::from_raw_parts(frame.data[0], samples * 2)
            };
            if cfg!(target_endian = "big") {
                let swapped: Vec<u8> = bytes.chunks_exact(2).flat_map(|pair| [pair[1], pair[0]]).collect();
                emit(&swapped);
            } else {
                emit(bytes);
            }
        }
    }
}

impl Drop for Resampler {
    fn drop(&mut self) {
        drop(Graph(self.graph));
    }
}

/// Frees a graph, half built or whole.
struct Graph(NonNull<ffi::AVFilterGraph>);

impl Graph {
    fn keep(self) -> NonNull<ffi::AVFilterGraph> {
        let graph = self.0;
        std::mem::forget(self);
        graph
    }
}

impl Drop for Graph {
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
        code if code == ffi::AVERROR(ffmpeg_next::error::ENOMEM) => {
            Err(MediaError::OutOfMemory { doing: "resampling" })
        }
        code => Err(failed(code)),
    }
}

fn failed_inside(code: c_int) -> MediaError {
    MediaError::Shape { reason: logs::reason(code) }
}
