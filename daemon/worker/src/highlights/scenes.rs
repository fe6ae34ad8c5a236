//! Scene changes and movement, from small pictures in order of time. Knows no decoder.
//!
//! The measure: for each picture, how far it is from the one before, as the geometric mean of two distances that fail in different ways:
//! the mean difference of pixels (luma and two colour differences; large for movement, too) and the distance of histograms (luma, and
//! hue against saturation; small for movement). A cut is a picture whose distance stands out from its neighbours' on both sides, the
//! adaptive threshold of PySceneDetect's `AdaptiveDetector` (a ratio to the rolling mean, and a floor), so that a fast pan is none; and
//! that is no flash: the pictures after it do not look like those before it. Fades and dissolves have no such picture and are not found.

use std::collections::VecDeque;

use super::analysis::STEP_SECONDS;

/// The size of the pictures that are compared.
pub const WIDTH: usize = 64;
pub const HEIGHT: usize = 36;

/// Neighbours looked at on either side.
const NEIGHBOURS: usize = 6;
/// So many times above the mean of its neighbours, and of the largest one.
const RATIO: f64 = 3.0;
const RATIO_TO_LARGEST: f64 = 1.4;
/// Nothing below it is a cut, however still the pictures around it.
const FLOOR: f64 = 0.05;
/// Of two nearer cuts the larger is one.
const SCENE_SECONDS_MIN: f64 = 0.25;
/// A picture this much nearer to what was before the change shows that it was a flash.
const FLASH_SHARE: f64 = 0.5;
const FLASH_PICTURES: usize = 4;

const LUMA_BINS: usize = 32;
const COLOUR_BINS: usize = 8;

/// A picture, made small.
#[derive(Debug, Clone)]
pub struct Small {
    seconds: f64,
    /// Luma, and blue and red less luma, of each pixel.
    pixels: Vec<[i16; 3]>,
    luma: [f64; LUMA_BINS],
    colour: Vec<f64>,
}

impl Small {
    /// Of [`WIDTH`]×[`HEIGHT`] pixels, red, green and blue.
    pub fn new(seconds: f64, rgb: &[u8]) -> Self {
        let count = (WIDTH * HEIGHT) as f64;
        let (mut luma, mut colour) = ([0.0; LUMA_BINS], vec![0.0; COLOUR_BINS * COLOUR_BINS]);
        let pixels = rgb
            .chunks_exact(3)
            .map(|pixel| {
                let [r, g, b] = [pixel[0], pixel[1], pixel[2]].map(i32::from);
                let y = (299 * r + 587 * g + 114 * b) / 1_000;
                let (u, v) = ((b - y) / 2, (r - y) / 2);
                luma[(y as usize * LUMA_BINS / 256).min(LUMA_BINS - 1)] += 1.0 / count;
                let bin = |value: i32| ((value + 128).clamp(0, 255) as usize * COLOUR_BINS / 256).min(COLOUR_BINS - 1);
                colour[bin(u) * COLOUR_BINS + bin(v)] += 1.0 / count;
                [y as i16, u as i16, v as i16]
            })
            .collect();
        Small { seconds, pixels, luma, colour }
    }

    /// Mean difference of pixels, 0–1: what is told as movement.
    fn movement(&self, other: &Small) -> f64 {
        let sum: u32 = self
            .pixels
            .iter()
            .zip(&other.pixels)
            .map(|(a, b)| {
                let [y, u, v] = std::array::from_fn(|at| u32::from(a[at].abs_diff(b[at])));
                2 * y + u + v
            })
            .sum();
        f64::from(sum) / (4 * 255 * self.pixels.len().max(1)) as f64
    }

    /// 0–1.
    fn distance(&self, other: &Small) -> f64 {
        let apart = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).sum::<f64>() / 2.0;
        let histograms = (apart(&smooth(&self.luma), &smooth(&other.luma)) + apart(&self.colour, &other.colour)) / 2.0;
        (self.movement(other) * histograms).sqrt()
    }
}

/// A little brighter is not another picture.
fn smooth(bins: &[f64; LUMA_BINS]) -> [f64; LUMA_BINS] {
    std::array::from_fn(|at| {
        let around = &bins[at.saturating_sub(1)..(at + 2).min(LUMA_BINS)];
        around.iter().sum::<f64>() / around.len() as f64
    })
}

/// Takes pictures one by one, and holds no more of them than it compares.
#[derive(Debug, Default)]
pub struct Watcher {
    /// The pictures not decided on and their neighbours, with their distances from the one before.
    held: VecDeque<(Small, f64)>,
    /// Place in `held` of the next one to decide on.
    next: usize,
    cuts: Vec<(f64, f64)>,
    /// Sum and number of the movement in each step.
    motion: Vec<(f64, u32)>,
    pictures: u64,
}

/// What was seen.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Seen {
    /// Where a new scene begins, in seconds.
    pub cuts: Vec<f64>,
    /// Mean movement of each step, 0–1; cuts are none.
    pub motion: Vec<f64>,
    pub pictures: u64,
}

impl Watcher {
    pub fn take(&mut self, picture: Small) {
        self.pictures += 1;
        let distance = self.held.back().map_or(0.0, |(before, _)| picture.distance(before));
        self.held.push_back((picture, distance));
        while self.next + NEIGHBOURS < self.held.len() {
            self.decide();
        }
    }

    pub fn finish(mut self) -> Seen {
        while self.next < self.held.len() {
            self.decide();
        }
        let motion = self.motion.iter().map(|(sum, count)| sum / f64::from((*count).max(1))).collect();
        Seen { cuts: self.cuts.into_iter().map(|(seconds, _)| seconds).collect(), motion, pictures: self.pictures }
    }

    fn decide(&mut self) {
        let at = self.next;
        let distance = self.held[at].1;
        let is_cut = at > 0 && self.stands_out(at) && !self.is_flash(at);
        let seconds = self.held[at].0.seconds;
        if is_cut {
            match self.cuts.last_mut() {
                Some((last, size)) if seconds - *last < SCENE_SECONDS_MIN => {
                    if distance > *size {
                        (*last, *size) = (seconds, distance);
                    }
                }
                _ => self.cuts.push((seconds, distance)),
            }
        } else if at > 0 {
            self.moved(seconds, self.held[at].0.movement(&self.held[at - 1].0));
        }
        self.next += 1;
        // One more before the neighbours: what their first is compared with, and what a flash comes back to.
        while self.next > NEIGHBOURS + 1 {
            self.held.pop_front();
            self.next -= 1;
        }
    }

    fn moved(&mut self, seconds: f64, movement: f64) {
        let step = (seconds / STEP_SECONDS).max(0.0) as usize;
        if step >= self.motion.len() && step < self.motion.len() + 200_000 {
            self.motion.resize(step + 1, (0.0, 0));
        }
        if let Some((sum, count)) = self.motion.get_mut(step) {
            *sum += movement;
            *count += 1;
        }
    }

    fn stands_out(&self, at: usize) -> bool {
        let distance = self.held[at].1;
        let around = at.saturating_sub(NEIGHBOURS)..(at + NEIGHBOURS + 1).min(self.held.len());
        let (mut sum, mut count, mut largest) = (0.0, 0.0, 0.0_f64);
        for other in around.filter(|other| *other != at) {
            let distance = self.held[other].1;
            sum += distance;
            count += 1.0;
            largest = largest.max(distance);
        }
        distance >= FLOOR && distance * count >= RATIO * sum && distance >= RATIO_TO_LARGEST * largest
    }

    /// Whether what follows soon is again what was before.
    fn is_flash(&self, at: usize) -> bool {
        let before = &self.held[at - 1].0;
        let after = at + 1..(at + 1 + FLASH_PICTURES).min(self.held.len());
        after.into_iter().any(|other| self.held[other].0.distance(before) < FLASH_SHARE * self.held[at].1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATE: f64 = 25.0;

    /// A picture with a pattern that depends on the scene, and moves.
    fn picture(frame: usize, scene: usize, shift: usize) -> Small {
        let mut rgb = Vec::with_capacity(WIDTH * HEIGHT * 3);
        for y in 0..HEIGHT {
            for x in 0..WIDTH {
                let wave = ((x + shift) * (3 + scene % 5) + y * (1 + scene % 3)) % 64;
                rgb.extend(
                    [wave + 31 * scene % 128, 2 * wave + 17 * scene % 100, 90 + 11 * scene % 100]
                        .map(|v| (v % 256) as u8),
                );
            }
        }
        Small::new(frame as f64 / RATE, &rgb)
    }

    const NONE: [usize; 0] = [];

    fn cuts(pictures: impl IntoIterator<Item = Small>) -> Vec<usize> {
        let mut watcher = Watcher::default();
        pictures.into_iter().for_each(|picture| watcher.take(picture));
        watcher.finish().cuts.iter().map(|seconds| (seconds * RATE).round() as usize).collect()
    }

    #[test]
    fn cuts_are_found_at_their_very_frame_and_movement_is_none() {
        let known = [40, 75, 90, 160, 161 + 40];
        let scene = |frame| known.iter().filter(|cut| **cut <= frame).count();
        assert_eq!(cuts((0..260).map(|frame| picture(frame, scene(frame), 0))), known);
        assert_eq!(cuts((0..260).map(|frame| picture(frame, scene(frame), frame))), known, "with movement");
        assert_eq!(cuts((0..260).map(|frame| picture(frame, 0, frame * 3))), NONE, "movement alone");
        assert_eq!(cuts((0..3).map(|frame| picture(frame, frame, 0))), NONE, "too short for scenes");
        assert_eq!(cuts([]), NONE);
    }

    #[test]
    fn a_flash_is_no_cut() {
        for length in 1..=3 {
            let flash = |frame| if (50..50 + length).contains(&frame) { 7 } else { 0 };
            assert_eq!(cuts((0..100).map(|frame| picture(frame, flash(frame), 0))), NONE, "{length}");
        }
    }

    #[test]
    fn movement_is_told_for_each_step() {
        let mut watcher = Watcher::default();
        (0..100).for_each(|frame| watcher.take(picture(frame, 0, if frame < 50 { 0 } else { frame })));
        let seen = watcher.finish();
        assert_eq!((seen.motion.len(), seen.pictures), (8, 100));
        assert!(seen.motion[..4].iter().all(|motion| *motion == 0.0), "{:?}", seen.motion);
        assert!(seen.motion[5..].iter().all(|motion| *motion > 0.01), "{:?}", seen.motion);
    }
}
