//! The object in front of a plain background, without any model. Knows pixels only, and says where the background isn't plain.
//!
//! A plane of colour over the picture, in CIELAB, is fitted to the picture's border by iteratively reweighted least squares (Tukey's weights), so
//! that lighting may fall off and the object may reach the border. Seeded region growing (Adams and Bischof, 1994) from the border over what is near
//! that plane is the background; what it doesn't reach is the object.

use image::{DynamicImage, GrayImage, Luma, RgbImage};

/// Why there is no mask.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoMask {
    /// The border is of many colours.
    NotPlain,
    /// All of the picture is like its border.
    NothingThere,
    Stopped,
}

/// Samples of the border.
const SAMPLES_MAX: usize = 6_000;
/// A sample this near to the plane (ΔE) is of the background.
const NEAR: f32 = 8.0;
/// Share of the border that must be background.
const PLAIN_SHARE: f32 = 0.7;
/// Noise of a background that still counts as plain.
const NOISE_MAX: f32 = 5.0;
/// Shadows are darker than the background and of its colour: being darker counts less.
const DARKER: f32 = 0.6;

type Lab = [f32; 3];

/// Finds the object; 255 where it is, 0 where it isn't.
pub fn segment(picture: &DynamicImage, cancelled: &dyn Fn() -> bool) -> Result<GrayImage, NoMask> {
    let pixels = flattened(picture);
    let convert = Converter::new();
    let background = Background::of(&pixels, &convert).ok_or(NoMask::NotPlain)?;
    if cancelled() {
        return Err(NoMask::Stopped);
    }
    let (width, height) = pixels.dimensions();
    // Tenths of ΔE: finer than anybody sees, and a byte a pixel.
    let mut far = vec![0u8; width as usize * height as usize];
    for (row, out) in
        pixels.rows().zip(far.chunks_mut(width as usize)).enumerate().map(|(y, (row, out))| ((y, row), out))
    {
        let (y, row) = row;
        for (x, (pixel, out)) in row.zip(out).enumerate() {
            let expected = background.at(background.place(x as u32, y as u32));
            *out = (distance(convert.lab(pixel.0), expected) * 10.0).min(255.0) as u8;
        }
    }
    if cancelled() {
        return Err(NoMask::Stopped);
    }
    let near = (background.noise * 3.5).clamp(3.0, 15.0);
    let mask =
        grow(&far, width, height, (near * 15.0).min(250.0) as u8, (background.noise * 15.0 + 10.0).min(250.0) as u8);
    tidy(mask)
}

fn flattened(picture: &DynamicImage) -> RgbImage {
    if !picture.color().has_alpha() {
        return picture.to_rgb8();
    }
    let pixels = picture.to_rgba8();
    RgbImage::from_fn(pixels.width(), pixels.height(), |x, y| {
        let [red, green, blue, alpha] = pixels.get_pixel(x, y).0.map(u32::from);
        image::Rgb([red, green, blue].map(|value| ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8))
    })
}

/// sRGB to CIELAB under D65.
struct Converter {
    linear: [f32; 256],
}

impl Converter {
    fn new() -> Self {
        let linear = std::array::from_fn(|value| {
            let value = value as f32 / 255.0;
            if value <= 0.040_45 { value / 12.92 } else { ((value + 0.055) / 1.055).powf(2.4) }
        });
        Converter { linear }
    }

    fn lab(&self, rgb: [u8; 3]) -> Lab {
        let [red, green, blue] = rgb.map(|value| self.linear[usize::from(value)]);
        let x = (0.412_456 * red + 0.357_576 * green + 0.180_437 * blue) / 0.950_47;
        let y = 0.212_673 * red + 0.715_152 * green + 0.072_175 * blue;
        let z = (0.019_334 * red + 0.119_192 * green + 0.950_304 * blue) / 1.088_83;
        let [x, y, z] =
            [x, y, z].map(|value| if value > 0.008_856 { value.cbrt() } else { 7.787 * value + 16.0 / 116.0 });
        [116.0 * y - 16.0, 500.0 * (x - y), 200.0 * (y - z)]
    }
}

fn distance(colour: Lab, background: Lab) -> f32 {
    let light = colour[0] - background[0];
    let light = if light < 0.0 { light * DARKER } else { light };
    let (a, b) = (colour[1] - background[1], colour[2] - background[2]);
    (light * light + a * a + b * b).sqrt()
}

/// A plane of colour: for each channel a value in the middle and its slopes to the right and down.
struct Background {
    size: (f32, f32),
    planes: [[f32; 3]; 3],
    noise: f32,
}

impl Background {
    fn of(pixels: &RgbImage, convert: &Converter) -> Option<Self> {
        let samples = border(pixels, convert);
        let (width, height) = pixels.dimensions();
        let mut background = Background { size: (width as f32, height as f32), planes: [[0.0; 3]; 3], noise: NEAR };
        for (channel, plane) in background.planes.iter_mut().enumerate() {
            plane[0] = median(samples.iter().map(|(_, lab)| lab[channel]).collect());
        }
        for _ in 0..12 {
            let residuals: Vec<f32> = samples
                .iter()
                .map(|&(place, lab)| distance(lab, background.at(background.place(place.0, place.1))))
                .collect();
            // Never sharper than what a camera's noise and JPEG leave.
            let spread = (1.4826 * median(residuals.clone())).clamp(0.7, NEAR);
            let cut = 4.685 * spread;
            let weights: Vec<f32> = residuals
                .iter()
                .map(|residual| {
                    let share = residual / cut;
                    if share < 1.0 { (1.0 - share * share).powi(2) } else { 0.0 }
                })
                .collect();
            background.noise = spread;
            background.fit(&samples, &weights)?;
        }
        let near = samples
            .iter()
            .filter(|&&(place, lab)| {
                distance(lab, background.at(background.place(place.0, place.1))) < NEAR.max(3.0 * background.noise)
            })
            .count();
        (near as f32 >= PLAIN_SHARE * samples.len() as f32 && background.noise <= NOISE_MAX).then_some(background)
    }

    /// Normal equations of the weighted plane, per channel.
    fn fit(&mut self, samples: &[((u32, u32), Lab)], weights: &[f32]) -> Option<()> {
        let mut matrix = [[0.0f64; 3]; 3];
        let mut right = [[0.0f64; 3]; 3];
        for (&((x, y), lab), &weight) in samples.iter().zip(weights) {
            let (x, y) = self.place(x, y);
            let row = [1.0, f64::from(x), f64::from(y)];
            for i in 0..3 {
                for j in 0..3 {
                    matrix[i][j] += f64::from(weight) * row[i] * row[j];
                }
                for (right, value) in right.iter_mut().zip(lab) {
                    right[i] += f64::from(weight) * row[i] * f64::from(value);
                }
            }
        }
        // A little of "no slope", for borders that say nothing of it.
        let total = matrix[0][0];
        matrix[1][1] += 1e-4 * total;
        matrix[2][2] += 1e-4 * total;
        for (plane, right) in self.planes.iter_mut().zip(right) {
            *plane = solve(matrix, right)?.map(|value| value as f32);
        }
        Some(())
    }

    /// −1 to 1 over the picture.
    fn place(&self, x: u32, y: u32) -> (f32, f32) {
        (2.0 * x as f32 / self.size.0 - 1.0, 2.0 * y as f32 / self.size.1 - 1.0)
    }

    fn at(&self, (x, y): (f32, f32)) -> Lab {
        self.planes.map(|[middle, right, down]| middle + right * x + down * y)
    }
}

fn solve(mut matrix: [[f64; 3]; 3], mut right: [f64; 3]) -> Option<[f64; 3]> {
    for pivot in 0..3 {
        let best = (pivot..3).max_by(|&a, &b| matrix[a][pivot].abs().total_cmp(&matrix[b][pivot].abs()))?;
        if matrix[best][pivot].abs() < 1e-12 {
            return None;
        }
        matrix.swap(pivot, best);
        right.swap(pivot, best);
        for row in (0..3).filter(|&row| row != pivot) {
            let factor = matrix[row][pivot] / matrix[pivot][pivot];
            let above = matrix[pivot];
            for (value, above) in matrix[row].iter_mut().zip(above).skip(pivot) {
                *value -= factor * above;
            }
            right[row] -= factor * right[pivot];
        }
    }
    Some([right[0] / matrix[0][0], right[1] / matrix[1][1], right[2] / matrix[2][2]])
}

fn border(pixels: &RgbImage, convert: &Converter) -> Vec<((u32, u32), Lab)> {
    let (width, height) = pixels.dimensions();
    let deep = (width.min(height) / 100).clamp(1, 8);
    let mut places = Vec::new();
    for depth in 0..deep.min(width.min(height) / 2).max(1) {
        places.extend((0..width).flat_map(|x| [(x, depth), (x, height - 1 - depth)]));
        places.extend((0..height).flat_map(|y| [(depth, y), (width - 1 - depth, y)]));
    }
    let step = places.len().div_ceil(SAMPLES_MAX).max(1);
    places.into_iter().step_by(step).map(|(x, y)| ((x, y), convert.lab(pixels.get_pixel(x, y).0))).collect()
}

fn median(mut values: Vec<f32>) -> f32 {
    let middle = values.len() / 2;
    if values.is_empty() {
        return 0.0;
    }
    *values.select_nth_unstable_by(middle, f32::total_cmp).1
}

const UNKNOWN: u8 = 0;
const GROUND: u8 = 1;
const OBJECT: u8 = 2;

/// Background is what can be reached from the border without leaving it, and windows through the object that show nothing else.
fn grow(far: &[u8], width: u32, height: u32, limit: u8, strict: u8) -> GrayImage {
    let mut state = vec![UNKNOWN; far.len()];
    let (w, h) = (width as usize, height as usize);
    let edge = (0..w).flat_map(|x| [x, (h - 1) * w + x]).chain((0..h).flat_map(|y| [y * w, y * w + w - 1]));
    let mut todo: Vec<usize> = edge.filter(|&at| far[at] < limit).collect();
    flood(&mut state, &mut todo, w, GROUND, |at| far[at] < limit);
    let window_min = (far.len() / 2_000).max(64);
    for at in 0..far.len() {
        if state[at] == UNKNOWN && far[at] < limit {
            let mut todo = vec![at];
            // First as part of the object, so that it is visited once.
            let window = flood(&mut state, &mut todo, w, OBJECT, |at| far[at] < limit);
            let mean = window.iter().map(|&at| u64::from(far[at])).sum::<u64>() / window.len().max(1) as u64;
            if window.len() >= window_min && mean <= u64::from(strict) {
                for at in window {
                    state[at] = GROUND;
                }
            }
        }
    }
    GrayImage::from_fn(width, height, |x, y| Luma([if state[(y * width + x) as usize] == GROUND { 0 } else { 255 }]))
}

/// Visits all that hangs together with what is to do and belongs; gives what was visited.
fn flood(
    state: &mut [u8],
    todo: &mut Vec<usize>,
    width: usize,
    mark: u8,
    belongs: impl Fn(usize) -> bool,
) -> Vec<usize> {
    let mut visited = Vec::new();
    todo.retain(|&at| {
        let new = state[at] == UNKNOWN;
        state[at] = mark;
        new
    });
    while let Some(at) = todo.pop() {
        visited.push(at);
        let x = at % width;
        let neighbours = [
            (x > 0).then(|| at - 1),
            (x + 1 < width).then(|| at + 1),
            at.checked_sub(width),
            Some(at + width).filter(|&at| at < state.len()),
        ];
        for near in neighbours.into_iter().flatten() {
            if state[near] == UNKNOWN && belongs(near) {
                state[near] = mark;
                todo.push(near);
            }
        }
    }
    visited
}

/// Takes away specks, and refuses a mask of nothing or of everything.
fn tidy(mut mask: GrayImage) -> Result<GrayImage, NoMask> {
    let width = mask.width() as usize;
    let pixels = mask.as_raw().clone();
    let mut state: Vec<u8> = pixels.iter().map(|&value| if value == 0 { GROUND } else { UNKNOWN }).collect();
    let mut pieces: Vec<Vec<usize>> = Vec::new();
    let mut largest = 0;
    for at in 0..pixels.len() {
        if state[at] == UNKNOWN {
            let piece = flood(&mut state, &mut vec![at], width, OBJECT, |_| true);
            largest = largest.max(piece.len());
            // Large ones stay in any case.
            if piece.len() < pixels.len() / 500 {
                pieces.push(piece);
            }
        }
    }
    let raw: &mut [u8] = &mut mask;
    for piece in pieces.into_iter().filter(|piece| piece.len() < largest / 200) {
        for at in piece {
            raw[at] = 0;
        }
    }
    let object = mask.as_raw().iter().filter(|&&value| value > 0).count();
    if object < (pixels.len() / 2_000).max(4) {
        return Err(NoMask::NothingThere);
    }
    if object as f32 > 0.98 * pixels.len() as f32 {
        return Err(NoMask::NotPlain);
    }
    Ok(mask)
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// Reproducible noise, −1 to 1.
    fn noise(seed: u32) -> f32 {
        let mut value = seed.wrapping_mul(0x9E37_79B9) ^ 0x85EB_CA6B;
        value ^= value >> 15;
        value = value.wrapping_mul(0x2C1B_3C6D);
        value ^= value >> 12;
        value as f32 / u32::MAX as f32 * 2.0 - 1.0
    }

    type Shape = fn(f32, f32) -> bool;

    const SHAPES: [(&str, Shape); 6] = [
        ("disc", |x, y| x * x + y * y < 0.3),
        ("ring", |x, y| (0.12..0.4).contains(&(x * x + y * y))),
        ("star", |x, y| {
            let angle = y.atan2(x);
            (x * x + y * y).sqrt() < 0.45 + 0.2 * (angle * 5.0).cos()
        }),
        ("bottle on the border", |x, y| (x.abs() < 0.12 && y > -0.7) || (x.abs() < 0.3 && y > -0.3)),
        ("two", |x, y| (x - 0.5).powi(2) + y * y < 0.08 || (x.abs() < 0.9 && (y - 0.6).abs() < 0.1 && x < 0.0)),
        ("slanted bar", |x, y| (x - y).abs() < 0.15 && x.abs() < 0.7),
    ];

    type Ground = fn(f32, f32) -> [f32; 3];

    const GROUNDS: [(&str, Ground, f32); 4] = [
        ("white", |_, _| [250.0, 250.0, 250.0], 2.0),
        ("grey falling off", |x, y| [190.0 + 25.0 * x - 20.0 * y; 3], 4.0),
        ("green", |_, _| [60.0, 180.0, 90.0], 6.0),
        ("dark", |x, _| [40.0 + 8.0 * x, 42.0, 50.0], 3.0),
    ];

    fn made(shape: Shape, ground: Ground, grain: f32, side: u32) -> (RgbImage, Vec<bool>) {
        let place = |at: u32| 2.0 * at as f32 / side as f32 - 1.0;
        let mut inside = Vec::new();
        let picture = RgbImage::from_fn(side, side, |x, y| {
            let (u, v) = (place(x), place(y));
            let mut colour = ground(u, v);
            if shape(u, v) {
                // Stripes of three colours.
                colour =
                    [[180.0, 60.0, 40.0], [70.0, 60.0, 150.0], [210.0, 150.0, 60.0]][((u + 1.0) * 6.0) as usize % 3];
            }
            Rgb(std::array::from_fn(|channel| {
                let seed = (y * side + x) * 3 + channel as u32;
                (colour[channel] + grain * noise(seed)).clamp(0.0, 255.0) as u8
            }))
        });
        for (y, x) in (0..side).flat_map(|y| (0..side).map(move |x| (y, x))) {
            inside.push(shape(place(x), place(y)));
        }
        (picture, inside)
    }

    #[test]
    fn objects_before_plain_backgrounds_are_found_almost_to_the_pixel() {
        let mut worst: f32 = 1.0;
        for (shape_name, shape) in SHAPES {
            for (ground_name, ground, grain) in GROUNDS {
                let (picture, inside) = made(shape, ground, grain, 320);
                let mask = segment(&DynamicImage::ImageRgb8(picture), &|| false)
                    .unwrap_or_else(|e| panic!("{shape_name} before {ground_name}: {e:?}"));
                let (mut both, mut either) = (0, 0);
                for (value, &inside) in mask.as_raw().iter().zip(&inside) {
                    both += u32::from(*value > 127 && inside);
                    either += u32::from(*value > 127 || inside);
                }
                let overlap = both as f32 / either as f32;
                worst = worst.min(overlap);
                assert!(overlap >= 0.95, "{shape_name} before {ground_name}: {overlap}");
            }
        }
        println!("worst intersection over union: {worst}");
    }

    #[test]
    fn no_plain_background_no_mask() {
        let noisy = RgbImage::from_fn(200, 200, |x, y| {
            Rgb(std::array::from_fn(|channel| {
                (128.0 + 127.0 * noise((y / 8 * 200 + x / 8) * 3 + channel as u32)) as u8
            }))
        });
        assert_eq!(segment(&DynamicImage::ImageRgb8(noisy), &|| false), Err(NoMask::NotPlain));
        let empty = RgbImage::from_pixel(100, 100, Rgb([240, 240, 240]));
        assert_eq!(segment(&DynamicImage::ImageRgb8(empty), &|| false), Err(NoMask::NothingThere));
        let dot = RgbImage::from_pixel(1, 1, Rgb([1, 2, 3]));
        assert!(segment(&DynamicImage::ImageRgb8(dot), &|| false).is_err());
        let half = RgbImage::from_fn(100, 100, |x, _| Rgb(if x < 50 { [0, 0, 0] } else { [255, 255, 255] }));
        assert_eq!(segment(&DynamicImage::ImageRgb8(half), &|| false), Err(NoMask::NotPlain));
    }
}
