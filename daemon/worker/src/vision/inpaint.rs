//! Holes in pictures filled from what stands around them. Knows pixels and rectangles, and not why there is a hole.
//!
//! The method is A. Telea's, "An Image Inpainting Technique Based on the Fast Marching Method" (2004): from its border inwards, nearest first, each
//! pixel becomes the weighted mean of what its known neighbours and their slopes foretell.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use image::{DynamicImage, ImageBuffer, Pixel, Primitive};
use num_traits::ToPrimitive;

use super::text::Frame;

/// How far a pixel looks around for what it should be.
const REACH: i32 = 5;
/// Steps between two looks at whether to go on.
const STEPS: usize = 4_096;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unfilled {
    /// The holes leave nothing to fill them from.
    NothingAround,
    Stopped,
}

/// Fills all that lies in one of the frames; every other pixel stays as it is, to the bit.
pub fn fill(picture: &mut DynamicImage, frames: &[Frame], cancelled: &dyn Fn() -> bool) -> Result<(), Unfilled> {
    match picture {
        DynamicImage::ImageLuma8(pixels) => fill_pixels(pixels, frames, cancelled),
        DynamicImage::ImageLumaA8(pixels) => fill_pixels(pixels, frames, cancelled),
        DynamicImage::ImageRgb8(pixels) => fill_pixels(pixels, frames, cancelled),
        DynamicImage::ImageRgba8(pixels) => fill_pixels(pixels, frames, cancelled),
        DynamicImage::ImageLuma16(pixels) => fill_pixels(pixels, frames, cancelled),
        DynamicImage::ImageLumaA16(pixels) => fill_pixels(pixels, frames, cancelled),
        DynamicImage::ImageRgb16(pixels) => fill_pixels(pixels, frames, cancelled),
        DynamicImage::ImageRgba16(pixels) => fill_pixels(pixels, frames, cancelled),
        DynamicImage::ImageRgb32F(pixels) => fill_pixels(pixels, frames, cancelled),
        DynamicImage::ImageRgba32F(pixels) => fill_pixels(pixels, frames, cancelled),
        other => {
            let mut pixels = other.to_rgba8();
            fill_pixels(&mut pixels, frames, cancelled)?;
            *other = DynamicImage::ImageRgba8(pixels);
            Ok(())
        }
    }
}

/// A frame with so many pixels more on each side, within the picture.
pub fn widened(frame: &Frame, by: u32, width: u32, height: u32) -> Frame {
    Frame {
        left: frame.left.saturating_sub(by),
        top: frame.top.saturating_sub(by),
        right: (frame.right + by).min(width),
        bottom: (frame.bottom + by).min(height),
    }
}

fn fill_pixels<P>(
    picture: &mut ImageBuffer<P, Vec<P::Subpixel>>,
    frames: &[Frame],
    cancelled: &dyn Fn() -> bool,
) -> Result<(), Unfilled>
where
    P: Pixel,
    P::Subpixel: Primitive,
{
    let (width, height) = picture.dimensions();
    for window in windows(frames, width, height) {
        let mut region = Region::cut(picture, window, frames);
        region.fill(cancelled)?;
        region.put_back(picture);
    }
    Ok(())
}

/// Rectangles that hold the frames with all that their pixels look at, none touching another: each is worked on for itself.
fn windows(frames: &[Frame], width: u32, height: u32) -> Vec<Frame> {
    let around = REACH as u32 + 2;
    let mut windows: Vec<Frame> = Vec::new();
    for frame in frames {
        let mut window = widened(frame, around, width, height);
        while let Some(at) = windows.iter().position(|other| touch(&window, other)) {
            window = window.joined(windows.swap_remove(at));
        }
        windows.push(window);
    }
    windows
}

fn touch(a: &Frame, b: &Frame) -> bool {
    a.left <= b.right && b.left <= a.right && a.top <= b.bottom && b.top <= a.bottom
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Known,
    /// Known, with a neighbour that may not be.
    Band,
    Hole,
}

/// A pixel of the front, the nearest first.
struct Front {
    distance: f32,
    at: usize,
}

impl PartialEq for Front {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Front {}

impl PartialOrd for Front {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Front {
    fn cmp(&self, other: &Self) -> Ordering {
        other.distance.total_cmp(&self.distance).then(other.at.cmp(&self.at))
    }
}

/// A piece of the picture as numbers, with a border of one known-to-be-outside pixel left out by the checks on coordinates.
struct Region {
    window: Frame,
    width: i32,
    height: i32,
    channels: usize,
    values: Vec<f32>,
    state: Vec<State>,
    hole: Vec<bool>,
    /// From the hole's border: positive inside, negative outside.
    distance: Vec<f32>,
}

const FAR: f32 = 1e6;

impl Region {
    fn cut<P>(picture: &ImageBuffer<P, Vec<P::Subpixel>>, window: Frame, frames: &[Frame]) -> Self
    where
        P: Pixel,
        P::Subpixel: Primitive,
    {
        let (width, height) = (window.right - window.left, window.bottom - window.top);
        let pixels = width as usize * height as usize;
        let mut values = Vec::with_capacity(pixels * P::CHANNEL_COUNT as usize);
        for y in window.top..window.bottom {
            for x in window.left..window.right {
                values.extend(picture.get_pixel(x, y).channels().iter().map(|value| value.to_f32().unwrap_or(0.0)));
            }
        }
        let mut hole = vec![false; pixels];
        for frame in frames.iter().filter(|frame| touch(frame, &window)) {
            for y in frame.top.max(window.top)..frame.bottom.min(window.bottom) {
                let row = ((y - window.top) * width) as usize;
                let span = frame.left.max(window.left)..frame.right.min(window.right);
                for x in span {
                    hole[row + (x - window.left) as usize] = true;
                }
            }
        }
        Region {
            window,
            width: width as i32,
            height: height as i32,
            channels: P::CHANNEL_COUNT as usize,
            values,
            state: hole.iter().map(|&hole| if hole { State::Hole } else { State::Known }).collect(),
            hole,
            distance: vec![FAR; pixels],
        }
    }

    fn put_back<P>(&self, picture: &mut ImageBuffer<P, Vec<P::Subpixel>>)
    where
        P: Pixel,
        P::Subpixel: Primitive,
    {
        // What rounds for whole numbers stays as it is for others.
        let whole = P::Subpixel::DEFAULT_MAX_VALUE.to_f32().is_some_and(|max| max > 1.5);
        for (at, _) in self.hole.iter().enumerate().filter(|(_, hole)| **hole) {
            let (x, y) = (at as u32 % self.width as u32, at as u32 / self.width as u32);
            let target = picture.get_pixel_mut(self.window.left + x, self.window.top + y);
            let values = &self.values[at * self.channels..][..self.channels];
            for (to, &value) in target.channels_mut().iter_mut().zip(values) {
                let value = if whole { value.round() } else { value };
                *to = num_traits::NumCast::from(value).unwrap_or(*to);
            }
        }
    }

    fn at(&self, x: i32, y: i32) -> Option<usize> {
        ((0..self.width).contains(&x) && (0..self.height).contains(&y)).then(|| (y * self.width + x) as usize)
    }

    fn place(&self, at: usize) -> (i32, i32) {
        (at as i32 % self.width, at as i32 / self.width)
    }

    fn neighbours(&self, at: usize) -> impl Iterator<Item = usize> + use<> {
        let (x, y) = self.place(at);
        let all = [self.at(x - 1, y), self.at(x + 1, y), self.at(x, y - 1), self.at(x, y + 1)];
        all.into_iter().flatten()
    }

    fn fill(&mut self, cancelled: &dyn Fn() -> bool) -> Result<(), Unfilled> {
        let border: Vec<usize> = (0..self.hole.len())
            .filter(|&at| !self.hole[at] && self.neighbours(at).any(|near| self.hole[near]))
            .collect();
        if border.is_empty() && self.hole.contains(&true) {
            return Err(Unfilled::NothingAround);
        }
        self.measure_outside(&border);
        let mut front = BinaryHeap::new();
        for at in border {
            self.distance[at] = 0.0;
            self.state[at] = State::Band;
            front.push(Front { distance: 0.0, at });
        }
        let mut steps = 0;
        while let Some(Front { at, .. }) = front.pop() {
            if self.state[at] == State::Known {
                continue;
            }
            self.state[at] = State::Known;
            steps += 1;
            if steps % STEPS == 0 && cancelled() {
                return Err(Unfilled::Stopped);
            }
            for near in self.neighbours(at) {
                if self.state[near] == State::Known {
                    continue;
                }
                self.distance[near] =
                    self.distance[near].min(self.eikonal(near, |region, at| region.state[at] == State::Known));
                if self.state[near] == State::Hole {
                    self.foretell(near);
                    self.state[near] = State::Band;
                }
                front.push(Front { distance: self.distance[near], at: near });
            }
        }
        Ok(())
    }

    /// The same march outwards, as far as anybody looks: the weights know by it which pixels lie along the border.
    fn measure_outside(&mut self, border: &[usize]) {
        let mut done = vec![false; self.hole.len()];
        let mut front = BinaryHeap::new();
        for &at in border {
            self.distance[at] = 0.0;
            front.push(Front { distance: 0.0, at });
        }
        while let Some(Front { at, distance }) = front.pop() {
            if done[at] || distance > (2 * REACH) as f32 {
                continue;
            }
            done[at] = true;
            for near in self.neighbours(at) {
                if done[near] || self.hole[near] {
                    continue;
                }
                let distance = self.eikonal(near, |_, at| done[at]);
                if distance < self.distance[near] {
                    self.distance[near] = distance;
                    front.push(Front { distance, at: near });
                }
            }
        }
        for (at, distance) in self.distance.iter_mut().enumerate() {
            if !self.hole[at] && *distance < FAR {
                *distance = -*distance;
            }
        }
    }

    /// Solves |∇T| = 1 from the settled neighbours.
    fn eikonal(&self, at: usize, settled: impl Fn(&Region, usize) -> bool) -> f32 {
        let (x, y) = self.place(at);
        let of = |x: i32, y: i32| self.at(x, y).filter(|&at| settled(self, at)).map_or(FAR, |at| self.distance[at]);
        let across = of(x - 1, y).min(of(x + 1, y));
        let along = of(x, y - 1).min(of(x, y + 1));
        let difference = across - along;
        if across < FAR && along < FAR && difference.abs() < 1.0 {
            (across + along + (2.0 - difference * difference).sqrt()) / 2.0
        } else {
            1.0 + across.min(along)
        }
    }

    /// What is known beside a pixel, along one axis: its slope.
    fn slope(&self, value: impl Fn(usize) -> f32, before: Option<usize>, at: usize, after: Option<usize>) -> f32 {
        let known = |at: Option<usize>| at.filter(|&at| self.state[at] != State::Hole);
        match (known(before), known(after)) {
            (Some(before), Some(after)) => (value(after) - value(before)) / 2.0,
            (Some(before), None) => value(at) - value(before),
            (None, Some(after)) => value(after) - value(at),
            (None, None) => 0.0,
        }
    }

    fn foretell(&mut self, at: usize) {
        let (x, y) = self.place(at);
        let distance = |at: usize| self.distance[at];
        let inward = (
            self.slope(distance, self.at(x - 1, y), at, self.at(x + 1, y)),
            self.slope(distance, self.at(x, y - 1), at, self.at(x, y + 1)),
        );
        let mut sums = [0.0f32; 4];
        let (mut least, mut most) = ([f32::MAX; 4], [f32::MIN; 4]);
        let mut weights = 0.0;
        for (dx, dy) in (-REACH..=REACH).flat_map(|dy| (-REACH..=REACH).map(move |dx| (dx, dy))) {
            let length = dx * dx + dy * dy;
            if length == 0 || length > REACH * REACH {
                continue;
            }
            let Some(other) = self.at(x + dx, y + dy).filter(|&other| self.state[other] != State::Hole) else {
                continue;
            };
            // From the known pixel to this one.
            let (to_x, to_y) = (-dx as f32, -dy as f32);
            let length = length as f32;
            let direction = ((to_x * inward.0 + to_y * inward.1) / length.sqrt()).abs().max(1e-3);
            let level = 1.0 / (1.0 + (self.distance[other] - self.distance[at]).abs());
            let weight = direction * level / length;
            weights += weight;
            let (ox, oy) = (x + dx, y + dy);
            for channel in 0..self.channels.min(4) {
                let value = |at: usize| self.values[at * self.channels + channel];
                let slope = (
                    self.slope(value, self.at(ox - 1, oy), other, self.at(ox + 1, oy)),
                    self.slope(value, self.at(ox, oy - 1), other, self.at(ox, oy + 1)),
                );
                sums[channel] += weight * (value(other) + slope.0 * to_x + slope.1 * to_y);
                least[channel] = least[channel].min(value(other));
                most[channel] = most[channel].max(value(other));
            }
        }
        if weights > 0.0 {
            for channel in 0..self.channels.min(4) {
                // Slopes of noise would run away over a wide hole.
                self.values[at * self.channels + channel] =
                    (sums[channel] / weights).clamp(least[channel], most[channel]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage, Rgba, RgbaImage};

    use super::*;

    fn gradient(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| Rgb([(x * 2) as u8, (y * 2) as u8, 100]))
    }

    fn never() -> bool {
        false
    }

    #[test]
    fn a_hole_in_a_gradient_is_filled_with_it_and_nothing_else_changes() {
        let original = gradient(100, 80);
        let frame = Frame { left: 30, top: 20, right: 60, bottom: 40 };
        let mut marked = original.clone();
        for (x, y) in (30..60).flat_map(|x| (20..40).map(move |y| (x, y))) {
            marked.put_pixel(x, y, Rgb([255, 0, 255]));
        }
        let mut filled = DynamicImage::ImageRgb8(marked);
        fill(&mut filled, &[frame], &never).unwrap();
        let filled = filled.into_rgb8();
        let mut worst = 0;
        for (x, y, pixel) in filled.enumerate_pixels() {
            let expected = original.get_pixel(x, y);
            if (30..60).contains(&x) && (20..40).contains(&y) {
                for (a, b) in pixel.0.iter().zip(expected.0) {
                    worst = worst.max(a.abs_diff(b));
                }
            } else {
                assert_eq!(pixel, expected, "{x},{y}");
            }
        }
        assert!(worst <= 24, "{worst}");
    }

    #[test]
    fn holes_at_the_border_and_side_by_side_leave_no_trace_of_what_was_there() {
        let mut picture = RgbaImage::from_pixel(64, 64, Rgba([10, 20, 30, 255]));
        let frames = [
            Frame { left: 0, top: 0, right: 20, bottom: 9 },
            Frame { left: 18, top: 5, right: 40, bottom: 12 },
            Frame { left: 50, top: 50, right: 64, bottom: 64 },
        ];
        for frame in &frames {
            for (x, y) in (frame.left..frame.right).flat_map(|x| (frame.top..frame.bottom).map(move |y| (x, y))) {
                picture.put_pixel(x, y, Rgba([255, 255, 255, 0]));
            }
        }
        let mut picture = DynamicImage::ImageRgba8(picture);
        fill(&mut picture, &frames, &never).unwrap();
        assert!(picture.into_rgba8().pixels().all(|pixel| pixel.0 == [10, 20, 30, 255]));
    }

    #[test]
    fn sixteen_bits_stay_and_a_picture_that_is_all_hole_is_told() {
        let mut wide = DynamicImage::ImageLuma16(image::ImageBuffer::from_fn(40, 40, |x, y| {
            image::Luma([if (10..20).contains(&x) && (10..20).contains(&y) { 0 } else { 51_234 }])
        }));
        let frame = Frame { left: 10, top: 10, right: 20, bottom: 20 };
        fill(&mut wide, &[frame], &never).unwrap();
        assert!(wide.as_luma16().unwrap().pixels().all(|pixel| pixel.0 == [51_234]));
        let all = Frame { left: 0, top: 0, right: 40, bottom: 40 };
        assert_eq!(fill(&mut wide, &[all], &never), Err(Unfilled::NothingAround));
        assert_eq!(fill(&mut wide, &[frame], &|| true), Ok(()), "too small to be asked");
    }
}
