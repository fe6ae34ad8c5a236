//! Loudness and voices, from 16 kHz mono samples in order of time. Knows no decoder.
//!
//! Loudness is ITU-R BS.1770-4's: K-weighting (two filters, here for 16 kHz), mean square, −0.691 dB; over [`STEP_SECONDS`], ungated, and
//! of one channel, so it is what EBU R 128 calls short-term loudness only nearly. Voices are told by pitch: the share of frames of 32 ms
//! whose normalised autocorrelation has a clear peak between 75 and 400 Hz. Music with one clear pitch passes for a voice; whoever needs to
//! know better gives a transcript.

use super::analysis::STEP_SECONDS;

const RATE: f64 = 16_000.0;
const STEP_SAMPLES: usize = (RATE * STEP_SECONDS) as usize;
/// Loudness of silence.
pub const LUFS_MIN: f64 = -70.0;
const FRAME_SAMPLES: usize = 512;
/// Every second sample is enough for pitch.
const PITCH_RATE: usize = 8_000;
const PITCH_HZ: (usize, usize) = (75, 400);
/// How like itself a frame is, one period later, if it is voiced.
const VOICED: f64 = 0.6;
/// Below it nobody is heard, whatever the pitch.
const VOICED_LUFS_MIN: f64 = -50.0;

/// A filter of second order, in direct form 1.
#[derive(Debug, Clone, Copy)]
struct Biquad {
    b: [f64; 3],
    a: [f64; 2],
    x: [f64; 2],
    y: [f64; 2],
}

impl Biquad {
    /// BS.1770's first filter, for the head, designed anew for this rate.
    fn shelf() -> Self {
        let (frequency, gain_db, q) = (1_681.974_450_955_533, 3.999_843_853_973_347, 0.707_175_236_955_419_6);
        let k = (std::f64::consts::PI * frequency / RATE).tan();
        let high = 10_f64.powf(gain_db / 20.0);
        let band = high.powf(0.499_666_774_154_541_6);
        let scale = 1.0 + k / q + k * k;
        Biquad::new(
            [high + band * k / q + k * k, 2.0 * (k * k - high), high - band * k / q + k * k].map(|b| b / scale),
            [2.0 * (k * k - 1.0), 1.0 - k / q + k * k].map(|a| a / scale),
        )
    }

    /// Its second one, which takes the lowest tones away.
    fn high_pass() -> Self {
        let (frequency, q) = (38.135_470_876_024_44, 0.500_327_037_323_877_3);
        let k = (std::f64::consts::PI * frequency / RATE).tan();
        let scale = 1.0 + k / q + k * k;
        Biquad::new([1.0, -2.0, 1.0], [2.0 * (k * k - 1.0), 1.0 - k / q + k * k].map(|a| a / scale))
    }

    fn new(b: [f64; 3], a: [f64; 2]) -> Self {
        Biquad { b, a, x: [0.0; 2], y: [0.0; 2] }
    }

    fn pass(&mut self, x: f64) -> f64 {
        let y = self.b[0] * x + self.b[1] * self.x[0] + self.b[2] * self.x[1]
            - self.a[0] * self.y[0]
            - self.a[1] * self.y[1];
        self.x = [x, self.x[0]];
        self.y = [y, self.y[0]];
        y
    }
}

/// Takes samples as they come.
#[derive(Debug)]
pub struct Listener {
    shelf: Biquad,
    high_pass: Biquad,
    /// Of the step that is being heard.
    power: f64,
    samples: usize,
    frame: Vec<f64>,
    voiced: u32,
    frames: u32,
    heard: Heard,
}

/// What was heard, step by step.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Heard {
    /// LUFS.
    pub loudness: Vec<f64>,
    /// Share of voiced frames, 0–1.
    pub voices: Vec<f64>,
}

impl Default for Listener {
    fn default() -> Self {
        Listener {
            shelf: Biquad::shelf(),
            high_pass: Biquad::high_pass(),
            power: 0.0,
            samples: 0,
            frame: Vec::with_capacity(FRAME_SAMPLES),
            voiced: 0,
            frames: 0,
            heard: Heard::default(),
        }
    }
}

impl Listener {
    /// One sample, −1 to 1.
    pub fn take(&mut self, sample: f64) {
        let weighted = self.high_pass.pass(self.shelf.pass(sample));
        self.power += weighted * weighted;
        self.samples += 1;
        self.frame.push(sample);
        if self.frame.len() == FRAME_SAMPLES {
            self.frames += 1;
            self.voiced += u32::from(is_voiced(&self.frame));
            self.frame.clear();
        }
        if self.samples == STEP_SAMPLES {
            self.end_step();
        }
    }

    pub fn finish(mut self) -> Heard {
        if self.samples > 0 {
            self.end_step();
        }
        self.heard
    }

    fn end_step(&mut self) {
        let lufs = (-0.691 + 10.0 * (self.power / self.samples as f64).log10()).max(LUFS_MIN);
        let voices = f64::from(self.voiced) / f64::from(self.frames.max(1));
        self.heard.loudness.push(lufs);
        self.heard.voices.push(if lufs < VOICED_LUFS_MIN { 0.0 } else { voices });
        (self.power, self.samples, self.voiced, self.frames) = (0.0, 0, 0, 0);
    }
}

fn is_voiced(frame: &[f64]) -> bool {
    let half: Vec<f64> = frame.chunks_exact(2).map(|pair| (pair[0] + pair[1]) / 2.0).collect();
    let energy = |part: &[f64]| part.iter().map(|x| x * x).sum::<f64>();
    let (shortest, longest) = (PITCH_RATE / PITCH_HZ.1, PITCH_RATE / PITCH_HZ.0);
    let likeness = |lag: usize| {
        let (now, later) = (&half[..half.len() - lag], &half[lag..]);
        let both = (energy(now) * energy(later)).sqrt();
        if both < 1e-9 { 0.0 } else { now.iter().zip(later).map(|(a, b)| a * b).sum::<f64>() / both }
    };
    let likenesses: Vec<f64> = (shortest - 1..=longest.min(half.len() - 32) + 1).map(likeness).collect();
    // A peak, not the slope of something lower than any voice.
    likenesses.windows(3).any(|three| three[1] >= VOICED && three[1] >= three[0] && three[1] > three[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(seconds: f64, sample: impl Fn(f64) -> f64) -> Heard {
        let mut listener = Listener::default();
        (0..(seconds * RATE) as usize).for_each(|n| listener.take(sample(n as f64 / RATE)));
        listener.finish()
    }

    fn tone(hz: f64, amplitude: f64) -> impl Fn(f64) -> f64 {
        move |t| amplitude * (2.0 * std::f64::consts::PI * hz * t).sin()
    }

    #[test]
    fn loudness_is_what_the_standard_says() {
        // BS.1770-4: a full-scale sine of 997 Hz in one channel has −3.01 LUFS.
        for (amplitude, lufs) in [(1.0, -3.01), (0.1, -23.01), (0.01, -43.01)] {
            let loudness = heard(2.0, tone(997.0, amplitude)).loudness;
            assert_eq!(loudness.len(), 4);
            assert!((loudness[2] - lufs).abs() < 0.1, "{loudness:?}");
        }
        assert_eq!(heard(1.0, |_| 0.0).loudness, [LUFS_MIN; 2]);
        assert_eq!(heard(0.7, |_| 0.0).loudness.len(), 2, "a step that was begun counts");
    }

    #[test]
    fn what_has_a_pitch_is_a_voice_and_noise_is_none() {
        // A buzz of 120 Hz with its overtones, as a throat makes it.
        let buzz =
            heard(2.0, |t| (1..12).map(|n| 0.05 * (2.0 * std::f64::consts::PI * 120.0 * f64::from(n) * t).sin()).sum());
        assert!(buzz.voices.iter().all(|share| *share > 0.9), "{:?}", buzz.voices);
        let mut state = 1_u64;
        let mut listener = Listener::default();
        for _ in 0..32_000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            listener.take((state >> 40) as f64 / f64::from(1 << 24) - 0.5);
        }
        let noise = listener.finish();
        assert!(noise.voices.iter().all(|share| *share < 0.1), "{:?}", noise.voices);
        assert!(heard(1.0, |_| 0.0).voices.iter().all(|share| *share == 0.0));
        assert!(heard(1.0, tone(120.0, 0.0005)).voices.iter().all(|share| *share == 0.0), "too quiet to be heard");
    }
}
