//! Frames of sound of one shape to samples of the form asked for. Knows no time.

use super::decoder::{Frame, Shape};
use super::error::MediaError;
use super::graph::{Feed, Graph};

/// Below, one second of file could swell to hours; above, the filter's own tables would take gigabytes.
const RATES: std::ops::RangeInclusive<u32> = 1_000..=3_100_000;
/// What libav can mix down.
const CHANNELS_MAX: u32 = 64;

/// What samples are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    pub rate: u32,
    /// 1 or 2; two are interleaved.
    pub channels: u32,
    pub sample: Sample,
}

/// How one sample is written, always little-endian.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sample {
    /// Signed, 16 bit.
    S16,
    /// Signed, 32 bit.
    S32,
    /// Float, 32 bit.
    F32,
}

impl Form {
    /// Bytes of one sample of all channels.
    pub fn block(self) -> usize {
        let sample = match self.sample {
            Sample::S16 => 2,
            Sample::S32 | Sample::F32 => 4,
        };
        sample * self.channels as usize
    }

    fn filters(self) -> String {
        let sample = match self.sample {
            Sample::S16 => "s16",
            Sample::S32 => "s32",
            Sample::F32 => "flt",
        };
        let layout = if self.channels == 1 { "mono" } else { "stereo" };
        format!("aresample={},aformat=sample_fmts={sample}:channel_layouts={layout}", self.rate)
    }
}

pub struct Resampler {
    graph: Graph,
    form: Form,
    output: Frame,
}

impl Resampler {
    pub fn new(shape: Shape, form: Form) -> Result<Self, MediaError> {
        let unfit = |reason: String| Err(MediaError::Shape { reason });
        if !RATES.contains(&shape.rate) {
            return unfit(format!("{} samples per second is outside {}–{}", shape.rate, RATES.start(), RATES.end()));
        }
        if shape.channels > CHANNELS_MAX {
            return unfit(format!("{} channels are more than {CHANNELS_MAX}", shape.channels));
        }
        let wanted = form.filters();
        let graph = Graph::new(Feed::Sound(shape), &wanted, 1).or_else(|_| {
            // No rule for mixing these speakers: all of them alike.
            let share = 1.0 / f64::from(shape.channels);
            let terms: Vec<String> = (0..shape.channels).map(|channel| format!("{share}*c{channel}")).collect();
            Graph::new(Feed::Sound(shape), &format!("pan=mono|c0={},{wanted}", terms.join("+")), 1)
        })?;
        Ok(Resampler { graph, form, output: Frame::new()? })
    }

    /// Takes the frame's samples; `emit` gets what is ready, as bytes of the output.
    pub fn push(&mut self, frame: &mut Frame, emit: &mut dyn FnMut(&[u8])) -> Result<(), MediaError> {
        // Its timestamp is of no use here, since every run of frames is without gaps.
        frame.set_timestamp(None);
        self.graph.push(Some(frame))?;
        self.pull(emit)
    }

    /// No more frames come: gives what the filter still holds.
    pub fn finish(mut self, emit: &mut dyn FnMut(&[u8])) -> Result<(), MediaError> {
        self.graph.push(None)?;
        self.pull(emit)
    }

    fn pull(&mut self, emit: &mut dyn FnMut(&[u8])) -> Result<(), MediaError> {
        while self.graph.pull(&mut self.output)? {
            let bytes = self.output.packed_samples(self.form.block());
            if cfg!(target_endian = "big") {
                let width = self.form.block() / self.form.channels as usize;
                let swapped: Vec<u8> =
                    bytes.chunks_exact(width).flat_map(|sample| sample.iter().rev().copied()).collect();
                emit(&swapped);
            } else {
                emit(bytes);
            }
        }
        Ok(())
    }
}
