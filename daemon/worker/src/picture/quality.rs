//! How good a picture is, as a number that is computed: sharpness, exposure, contrast, noise and resolution. Knows pixels and no file.
//!
//! Each part is 0–1, of the picture's brightness Y (0–255) but for the first of exposure's:
//!
//! - sharpness: 1 − the blur effect (Crété-Roffet, Dolmiere, Ladret, Nicolas 2007): how much less neighbours differ after a mean over nine, in the
//!   worse of the two directions;
//! - exposure: how high the brightest channel reaches (its 99.9th percentile) ÷ (1 + 4 × the root of the share of pixels that lie at that top: what is
//!   burnt out stays a heap, however it is darkened) × the share of pixels that have a channel of 4 or more × how near the mean is to 48 % (none at 60 % from it, a
//!   root of a parabola);
//! - contrast: the root of the RMS contrast (Peli 1990), full from a quarter of the range on;
//! - noise: 1 ÷ (1 + σ ÷ 3), σ by the mask of Immerkær 1996 in blocks of 16 × 16, at the tenth percentile of those that are neither black nor white: so
//!   that what is rough by nature isn't taken for noise as long as there is something even beside it (Amer and Dubois 2005 choose such blocks, too);
//! - resolution: the logarithm of the pixels, none at 100 and full at 100 million.
//!
//! The score is 100 × their weighted geometric mean: what is bad in one way is not made good by another.

use image::DynamicImage;

/// The parts, 0–1.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Quality {
    pub sharpness: f64,
    pub exposure: f64,
    pub contrast: f64,
    pub noise: f64,
    pub resolution: f64,
}

const WEIGHTS: [f64; 5] = [1.0, 0.8, 0.1, 0.5, 0.8];

/// Large pictures are measured on so many squares of this side, spread evenly.
const SQUARE: usize = 512;
const SQUARES_MAX: usize = 16;

const BLACK: usize = 4;
/// The brightest channel's top: over so many of the pixels, and so many levels deep.
const TOP_SHARE: f64 = 0.999;
const TOP_DEPTH: usize = 3;
/// Noise is looked for in squares of this side, whose mean is neither black nor white.
const BLOCK: usize = 16;
const GREYS: std::ops::RangeInclusive<f32> = 8.0..=247.0;
/// As many blocks at least, or all are taken; and which of them tells, counted from the most even.
const BLOCKS_MIN: usize = 9;
const EVEN_SHARE: f64 = 0.1;
/// Over which the blur effect's mean is taken.
const MEAN_OVER: usize = 9;

impl Quality {
    pub fn score(&self) -> f64 {
        let parts = [self.sharpness, self.exposure, self.contrast, self.noise, self.resolution];
        let logarithm: f64 = parts.iter().zip(WEIGHTS).map(|(part, weight)| weight * part.max(0.01).ln()).sum();
        100.0 * (logarithm / WEIGHTS.iter().sum::<f64>()).exp()
    }

    pub fn of(image: &DynamicImage) -> Quality {
        let (width, height) = (image.width() as usize, image.height() as usize);
        let mut sums = Sums::default();
        for (left, top, wide, high) in squares(width, height) {
            let part = match (wide, high) == (width, height) {
                true => None,
                false => Some(image.crop_imm(left as u32, top as u32, wide as u32, high as u32)),
            };
            let part = part.as_ref().unwrap_or(image);
            for pixel in part.to_rgb8().pixels() {
                sums.brightest[usize::from(pixel.0.into_iter().max().unwrap_or(0))] += 1;
            }
            sums.add(&Square::of(part));
        }
        sums.quality(width * height)
    }
}

/// Corners and sizes of the parts that are measured.
fn squares(width: usize, height: usize) -> Vec<(usize, usize, usize, usize)> {
    let (columns, rows) = (width.div_ceil(SQUARE), height.div_ceil(SQUARE));
    let all = columns * rows;
    if all <= SQUARES_MAX {
        return vec![(0, 0, width, height)];
    }
    let place = |nth: usize| {
        let at = (2 * nth + 1) * all / (2 * SQUARES_MAX);
        let (left, top) = (at % columns * SQUARE, at / columns * SQUARE);
        let (wide, high) = (SQUARE.min(width), SQUARE.min(height));
        (left.min(width - wide), top.min(height - high), wide, high)
    };
    (0..SQUARES_MAX).map(place).collect()
}

/// Brightness, row by row.
struct Square {
    values: Vec<f32>,
    width: usize,
    height: usize,
}

/// Differences between neighbours, and how much of them is gone after the mean.
#[derive(Default, Clone, Copy)]
struct Blur {
    all: f64,
    lost: f64,
}

struct Sums {
    histogram: [u64; 256],
    /// Of each pixel's strongest channel.
    brightest: [u64; 256],
    across: Blur,
    down: Blur,
    /// Of each block: its mean, and that of the noise mask.
    blocks: Vec<(f32, f32)>,
}

impl Default for Sums {
    fn default() -> Self {
        Sums {
            histogram: [0; 256],
            brightest: [0; 256],
            across: Blur::default(),
            down: Blur::default(),
            blocks: Vec::new(),
        }
    }
}

impl Square {
    fn of(part: &DynamicImage) -> Self {
        let grey = part.to_luma8();
        let (width, height) = (grey.width() as usize, grey.height() as usize);
        Square { values: grey.into_raw().into_iter().map(f32::from).collect(), width, height }
    }

    fn turned(&self) -> Self {
        let values =
            (0..self.width).flat_map(|x| (0..self.height).map(move |y| self.values[y * self.width + x])).collect();
        Square { values, width: self.height, height: self.width }
    }

    /// Along the rows.
    fn blur(&self) -> Blur {
        let mut blur = Blur::default();
        let half = MEAN_OVER / 2;
        let mut mean = vec![0.0_f32; self.width];
        for row in self.values.chunks_exact(self.width) {
            // At the edges the row goes on as its mirror image.
            let at = |x: isize| {
                let last = self.width as isize - 1;
                let x = if x < 0 {
                    -x - 1
                } else if x > last {
                    2 * last + 1 - x
                } else {
                    x
                };
                row[x.clamp(0, last) as usize]
            };
            let mut sum: f32 = (-(half as isize)..=half as isize).map(at).sum();
            for (x, place) in mean.iter_mut().enumerate() {
                *place = sum / MEAN_OVER as f32;
                sum += at((x + half + 1) as isize) - at(x as isize - half as isize);
            }
            for x in 1..self.width {
                let before = (row[x] - row[x - 1]).abs();
                let after = (mean[x] - mean[x - 1]).abs();
                blur.all += f64::from(before);
                blur.lost += f64::from((before - after).max(0.0));
            }
        }
        blur
    }

    /// The mask is of the pixels that have all their neighbours; what is left over beside whole blocks is left out.
    fn blocks(&self) -> Vec<(f32, f32)> {
        let (wide, high) = (self.width.saturating_sub(2), self.height.saturating_sub(2));
        if wide == 0 || high == 0 {
            return Vec::new();
        }
        let (block_wide, block_high) = (BLOCK.min(wide), BLOCK.min(high));
        let mut blocks = Vec::with_capacity((wide / block_wide) * (high / block_high));
        for top in (0..=high - block_high).step_by(block_high) {
            for left in (0..=wide - block_wide).step_by(block_wide) {
                let (mut mean, mut noise) = (0.0, 0.0);
                for y in top..top + block_high {
                    let row = |down: usize| &self.values[(y + down) * self.width + left..][..block_wide + 2];
                    let (above, here, below) = (row(0), row(1), row(2));
                    for x in 0..block_wide {
                        let corners = above[x] + above[x + 2] + below[x] + below[x + 2];
                        let sides = above[x + 1] + here[x] + here[x + 2] + below[x + 1];
                        noise += (corners - 2.0 * sides + 4.0 * here[x + 1]).abs();
                        mean += here[x + 1];
                    }
                }
                let pixels = (block_wide * block_high) as f32;
                blocks.push((mean / pixels, noise / pixels));
            }
        }
        blocks
    }
}

impl Sums {
    fn add(&mut self, square: &Square) {
        for value in &square.values {
            self.histogram[*value as usize & 255] += 1;
        }
        for (blur, of) in [(&mut self.across, square.blur()), (&mut self.down, square.turned().blur())] {
            blur.all += of.all;
            blur.lost += of.lost;
        }
        self.blocks.extend(square.blocks());
    }

    fn quality(&self, pixels: usize) -> Quality {
        let count = self.histogram.iter().sum::<u64>().max(1) as f64;
        let share = |value: usize| self.histogram[value] as f64 / count;
        let mean: f64 = (0..256).map(|value| value as f64 * share(value)).sum::<f64>() / 255.0;
        let square: f64 = (0..256).map(|value| (value as f64 / 255.0 - mean).powi(2) * share(value)).sum();
        let black: f64 = self.brightest[..BLACK].iter().sum::<u64>() as f64 / count;
        let (top, heap) = self.top(count);
        let middling = (1.0 - ((mean - 0.48) / 0.6).powi(2)).max(0.0).sqrt();
        let kept = |blur: Blur| if blur.all > 0.0 { blur.lost / blur.all } else { 0.0 };
        let part = |value: f64| value.clamp(0.0, 1.0);
        Quality {
            sharpness: part(kept(self.across).min(kept(self.down))),
            exposure: part(top / (1.0 + 4.0 * heap.sqrt()) * (1.0 - black) * middling),
            contrast: part(square.sqrt() / 0.25).sqrt(),
            noise: part(1.0 / (1.0 + self.sigma() / 3.0)),
            resolution: part((pixels as f64 / 100.0).log10() / 6.0),
        }
    }

    /// How high the brightest channel reaches, 0–1, and the share of the pixels that lie there.
    fn top(&self, count: f64) -> (f64, f64) {
        let mut below = 0;
        let reaches = |value: &usize| {
            below += self.brightest[*value];
            below as f64 >= TOP_SHARE * count
        };
        let top = (0..256).find(reaches).unwrap_or(255);
        let heap: u64 = self.brightest[top.saturating_sub(TOP_DEPTH)..].iter().sum();
        (top as f64 / 255.0, heap as f64 / count)
    }

    /// Standard deviation of the noise, in levels of 0–255.
    fn sigma(&self) -> f64 {
        let mut masks: Vec<f32> =
            self.blocks.iter().filter(|(mean, _)| GREYS.contains(mean)).map(|(_, mask)| *mask).collect();
        if masks.len() < BLOCKS_MIN {
            masks = self.blocks.iter().map(|(_, mask)| *mask).collect();
        }
        let nth = (masks.len() as f64 * EVEN_SHARE) as usize;
        if nth >= masks.len() {
            return 0.0;
        }
        let (_, mask, _) = masks.select_nth_unstable_by(nth, f32::total_cmp);
        (std::f64::consts::PI / 2.0).sqrt() / 6.0 * f64::from(*mask)
    }
}

#[cfg(test)]
mod tests {
    use image::{GrayImage, Luma};

    use super::*;

    /// Fields with sharp edges, and waves of many lengths over them; as bright as a photo.
    fn scene(width: u32, height: u32) -> GrayImage {
        GrayImage::from_fn(width, height, |x, y| {
            let field = if (x / 23 + y / 17) % 2 == 0 { 40.0 } else { -40.0 };
            let (x, y) = (f64::from(x), f64::from(y));
            let waves = (x / 3.0).sin() + (y / 5.0).cos() + ((x + y) / 17.0).sin() + (x * y / 900.0).sin();
            Luma([(118.0 + field + 10.0 * waves) as u8])
        })
    }

    fn score(image: &GrayImage) -> f64 {
        Quality::of(&image.clone().into()).score()
    }

    #[test]
    fn every_way_to_spoil_a_picture_costs_and_more_of_it_costs_more() {
        let scene = scene(400, 300);
        let map = |change: &dyn Fn(u8, u32) -> f64| {
            let mut at = 0_u32;
            let mut image = scene.clone();
            image.pixels_mut().for_each(|pixel| {
                at = at.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                pixel.0[0] = change(pixel.0[0], at).clamp(0.0, 255.0) as u8;
            });
            image
        };
        let ways: [(&str, Vec<GrayImage>); 5] = [
            ("blur", [1.0, 2.0, 4.0].map(|sigma| image::imageops::blur(&scene, sigma)).to_vec()),
            (
                "noise",
                [6.0, 15.0, 40.0]
                    .map(|most| map(&|v, r| f64::from(v) + most * (f64::from(r >> 8) / 8_388_608.0 - 1.0)))
                    .to_vec(),
            ),
            ("over", [1.5, 2.0, 3.0].map(|gain| map(&|v, _| f64::from(v) * gain)).to_vec()),
            ("under", [1.5, 2.0, 4.0].map(|loss| map(&|v, _| f64::from(v) / loss)).to_vec()),
            ("shrunken", [2, 3, 5].map(|by| image::imageops::thumbnail(&scene, 400 / by, 300 / by)).to_vec()),
        ];
        for (way, images) in ways {
            let scores: Vec<f64> = std::iter::once(&scene).chain(&images).map(score).collect();
            assert!(scores.windows(2).all(|pair| pair[1] < pair[0]), "{way}: {scores:?}");
        }
    }

    #[test]
    fn any_picture_has_a_score_between_0_and_100() {
        for (width, height) in [(1, 1), (2, 2), (1, 4_000), (4_000, 1), (9_000, 600)] {
            for value in [0, 90, 255] {
                let score = score(&GrayImage::from_pixel(width, height, Luma([value])));
                assert!((0.0..=100.0).contains(&score), "{width}×{height} {value}: {score}");
            }
        }
        assert_eq!(squares(9_000, 600).len(), SQUARES_MAX);
        assert!(squares(9_000, 600).iter().all(|(left, top, wide, high)| left + wide <= 9_000 && top + high <= 600));
    }
}
