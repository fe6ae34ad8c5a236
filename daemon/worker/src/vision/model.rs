//! A model of pictures: its description, its network with a batcher before it, kept while the process lives. Turns pictures into tensors and tensors
//! into masks and pictures; knows no runs.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, Luma, RgbImage};
use thiserror::Error;

use super::batcher::{Announced, Batcher};
use super::description::{self, Activation, Channels, Description, Fit, Layout, Purpose, Scale};
use super::network::{Network, NetworkError, OnProcessor, Open, Tensor};

/// Models that stay loaded.
const KEPT: usize = 2;

#[derive(Debug, Error)]
pub enum ModelError {
    #[error("there is no description beside the model: {0}")]
    NoDescription(String),
    #[error("the model's description {file}: {reason}")]
    Description { file: String, reason: String },
    #[error("the model {0}")]
    WrongPurpose(&'static str),
    #[error(transparent)]
    Network(#[from] NetworkError),
}

/// A model that is ready.
pub struct Model {
    pub description: Description,
    batcher: Arc<Batcher>,
}

/// A model that was read, and the file it was read from as it then was.
struct Loaded {
    path: PathBuf,
    changed: Option<SystemTime>,
    model: Arc<Model>,
}

/// Shares between 0 and 1, one a pixel.
#[derive(Debug, Clone, PartialEq)]
pub struct Shares {
    pub width: u32,
    pub height: u32,
    pub values: Vec<f32>,
}

impl Model {
    /// Of this file, which is read if no earlier run has left it loaded. `name` finds the description of a catalogue's model.
    pub fn open(name: &str, path: &Path, open: &Open<'_>, threads: usize) -> Result<Arc<Model>, ModelError> {
        static LOADED: Mutex<Vec<Loaded>> = Mutex::new(Vec::new());
        let changed = path.metadata().and_then(|meta| meta.modified()).ok();
        let mut loaded = LOADED.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = loaded.iter().find(|known| known.path == path && known.changed == changed) {
            return Ok(Arc::clone(&known.model));
        }
        let description = describe(name, path, open)?;
        let network = OnProcessor::load(path, open, description.output.name.as_deref(), threads)?;
        let model = Arc::new(Model::over(description, Box::new(network)));
        if loaded.len() >= KEPT {
            loaded.remove(0);
        }
        loaded.push(Loaded { path: path.to_owned(), changed, model: Arc::clone(&model) });
        Ok(model)
    }

    pub fn over(description: Description, network: Box<dyn Network>) -> Self {
        Model { description, batcher: Batcher::new(network, super::room::room) }
    }

    pub fn announce(&self) -> Announced {
        self.batcher.announce()
    }

    pub fn batcher(&self) -> &Batcher {
        &self.batcher
    }

    /// What the model makes of a picture, in the picture's proportions but the network's resolution.
    pub fn shares(&self, picture: &DynamicImage, announced: Announced) -> Result<Shares, ModelError> {
        if self.description.purpose != Purpose::Segmentation {
            return Err(ModelError::WrongPurpose("is not for segmentation"));
        }
        let (input, used) = self.input(picture);
        let answer = announced.ask(input)?;
        Ok(self.mask_of(&answer, used)?)
    }

    /// A picture with more pixels, piece by piece; `None` = the run was told to stop.
    pub fn enlarge(&self, picture: &RgbImage, cancelled: &dyn Fn() -> bool) -> Result<Option<RgbImage>, ModelError> {
        /// Pieces that go out together.
        const TOGETHER: usize = 8;
        let (Purpose::Upscaling, Some(factor)) = (self.description.purpose, self.description.output.factor) else {
            return Err(ModelError::WrongPurpose("is not for upscaling"));
        };
        let (tile_width, tile_height) = (self.description.input.width, self.description.input.height);
        // What a piece knows of its neighbours; its edge is thrown away.
        let margin = (tile_width.min(tile_height) / 8).min(16);
        let starts = |whole: u32, tile: u32| -> Vec<u32> {
            let step = (tile - 2 * margin).max(1);
            (0..whole.div_ceil(step)).map(|at| at * step).collect()
        };
        let (width, height) = picture.dimensions();
        let mut enlarged = RgbImage::new(width * factor, height * factor);
        let places: Vec<(u32, u32)> = starts(height, tile_height)
            .into_iter()
            .flat_map(|y| starts(width, tile_width).into_iter().map(move |x| (x, y)))
            .collect();
        for places in places.chunks(TOGETHER) {
            if cancelled() {
                return Ok(None);
            }
            let inputs = places
                .iter()
                .map(|&(x, y)| {
                    let tile = RgbImage::from_fn(tile_width, tile_height, |dx, dy| {
                        // The picture's edge is continued.
                        let x = (x + dx).saturating_sub(margin).min(width - 1);
                        let y = (y + dy).saturating_sub(margin).min(height - 1);
                        *picture.get_pixel(x, y)
                    });
                    self.tensor(&tile)
                })
                .collect();
            let answers = self.announce().ask_all(inputs)?;
            for (&(x, y), answer) in places.iter().zip(&answers) {
                let channels = self.output_of(answer)?;
                if (channels.width, channels.height) != (tile_width * factor, tile_height * factor)
                    || channels.channels < 3
                {
                    return Err(NetworkError::Failed(format!(
                        "a piece of {tile_width}×{tile_height} became {}×{} with {} channels, not {factor} times as large",
                        channels.width, channels.height, channels.channels
                    ))
                    .into());
                }
                for dy in 0..((tile_height - 2 * margin).max(1) * factor).min((height - y) * factor) {
                    for dx in 0..((tile_width - 2 * margin).max(1) * factor).min((width - x) * factor) {
                        let pixel = std::array::from_fn(|channel| {
                            self.byte_of(channels.at(channel, dx + margin * factor, dy + margin * factor))
                        });
                        enlarged.put_pixel(x * factor + dx, y * factor + dy, image::Rgb(pixel));
                    }
                }
            }
        }
        Ok(Some(enlarged))
    }

    fn byte_of(&self, value: f32) -> u8 {
        let value = if self.description.input.scale == Scale::Bytes { value } else { value * 255.0 };
        value.round().clamp(0.0, 255.0) as u8
    }

    /// The network's input, and the part of it that is picture.
    fn input(&self, picture: &DynamicImage) -> (Tensor, (u32, u32)) {
        let wanted = &self.description.input;
        let (width, height) = (wanted.width, wanted.height);
        let used = match wanted.fit {
            Fit::Stretch => (width, height),
            Fit::Letterbox => {
                let scale = (f64::from(width) / f64::from(picture.width()))
                    .min(f64::from(height) / f64::from(picture.height()));
                let side = |of: u32, most: u32| ((f64::from(of) * scale).round() as u32).clamp(1, most);
                (side(picture.width(), width), side(picture.height(), height))
            }
        };
        let fitted = scaled(picture, used);
        let tensor = if used == (width, height) {
            self.tensor(&fitted)
        } else {
            let mut canvas = RgbImage::new(width, height);
            image::imageops::replace(&mut canvas, &fitted, 0, 0);
            self.tensor(&canvas)
        };
        (tensor, used)
    }

    fn tensor(&self, picture: &RgbImage) -> Tensor {
        let wanted = &self.description.input;
        let (width, height) = (picture.width() as usize, picture.height() as usize);
        let full = match wanted.scale {
            Scale::Unit => 255.0,
            Scale::Brightest => f32::from(picture.as_raw().iter().copied().max().unwrap_or(0).max(1)),
            Scale::Bytes => 1.0,
        };
        let count = wanted.channels.count();
        let mut values = vec![0.0; count * width * height];
        for (at, pixel) in picture.pixels().enumerate() {
            let [red, green, blue] = pixel.0.map(f32::from);
            let channels = match wanted.channels {
                Channels::Rgb => [red, green, blue],
                Channels::Bgr => [blue, green, red],
                Channels::Gray => [0.299 * red + 0.587 * green + 0.114 * blue; 3],
            };
            for (channel, value) in channels.into_iter().enumerate().take(count) {
                let value = (value / full - wanted.mean[channel]) / wanted.std[channel];
                let place = match wanted.layout {
                    Layout::Nchw => channel * width * height + at,
                    Layout::Nhwc => at * count + channel,
                };
                values[place] = value;
            }
        }
        let shape = match wanted.layout {
            Layout::Nchw => vec![1, count, height, width],
            Layout::Nhwc => vec![1, height, width, count],
        };
        Tensor { shape, values }
    }

    /// The answer's planes, whatever dimensions of one it was given beside them.
    fn output_of<'t>(&self, answer: &'t Tensor) -> Result<Planes<'t>, NetworkError> {
        let nchw = self.description.output.layout == Layout::Nchw;
        let (channels, height, width) = match *answer.shape.as_slice() {
            [_, height, width] | [height, width] => (1, height, width),
            [_, a, b, c] if nchw => (a, b, c),
            [_, a, b, c] => (c, a, b),
            _ => return Err(NetworkError::Failed(format!("its answer has the shape {:?}", answer.shape))),
        };
        if width == 0 || height == 0 || channels * height * width != answer.values.len() {
            return Err(NetworkError::Failed(format!("its answer has the shape {:?}", answer.shape)));
        }
        Ok(Planes { channels, width: width as u32, height: height as u32, nchw, values: &answer.values })
    }

    fn mask_of(&self, answer: &Tensor, used: (u32, u32)) -> Result<Shares, NetworkError> {
        let output = &self.description.output;
        let planes = self.output_of(answer)?;
        if output.channel >= planes.channels {
            return Err(NetworkError::Failed(format!(
                "it has {} channels, and channel {} is wanted",
                planes.channels, output.channel
            )));
        }
        // The picture's part of a letterbox.
        let part = |all: u32, used: u32, whole: u32| {
            ((f64::from(all) * f64::from(used) / f64::from(whole)).round() as u32).clamp(1, all)
        };
        let width = part(planes.width, used.0, self.description.input.width);
        let height = part(planes.height, used.1, self.description.input.height);
        let mut values = Vec::with_capacity(width as usize * height as usize);
        for y in 0..height {
            for x in 0..width {
                let value = planes.at(output.channel, x, y);
                values.push(match output.activation {
                    Activation::None | Activation::Minmax => value,
                    Activation::Sigmoid => 1.0 / (1.0 + (-value).exp()),
                    Activation::Softmax => {
                        let all = || (0..planes.channels).map(|channel| planes.at(channel, x, y));
                        let greatest = all().fold(f32::MIN, f32::max);
                        (value - greatest).exp() / all().map(|other| (other - greatest).exp()).sum::<f32>()
                    }
                });
            }
        }
        if values.iter().any(|value| !value.is_finite()) {
            return Err(NetworkError::Failed("its answer is not of numbers".to_owned()));
        }
        if output.activation == Activation::Minmax {
            let least = values.iter().copied().fold(f32::MAX, f32::min);
            let range = values.iter().copied().fold(f32::MIN, f32::max) - least;
            for value in &mut values {
                *value = if range > 0.0 { (*value - least) / range } else { 0.0 };
            }
        }
        for value in &mut values {
            *value = value.clamp(0.0, 1.0);
            if let Some(threshold) = output.threshold {
                *value = if *value >= threshold { 1.0 } else { 0.0 };
            }
            if output.invert {
                *value = 1.0 - *value;
            }
        }
        Ok(Shares { width, height, values })
    }
}

/// One answer's numbers by place.
struct Planes<'t> {
    channels: usize,
    width: u32,
    height: u32,
    nchw: bool,
    values: &'t [f32],
}

impl Planes<'_> {
    fn at(&self, channel: usize, x: u32, y: u32) -> f32 {
        let place = y as usize * self.width as usize + x as usize;
        match self.nchw {
            true => self.values[channel * self.width as usize * self.height as usize + place],
            false => self.values[place * self.channels + channel],
        }
    }
}

/// In exactly this size; a picture that has it already is not touched.
pub fn scaled(picture: &DynamicImage, size: (u32, u32)) -> RgbImage {
    if (picture.width(), picture.height()) == size {
        picture.to_rgb8()
    } else if picture.width() >= 2 * size.0 && picture.height() >= 2 * size.1 {
        picture.thumbnail_exact(size.0, size.1).to_rgb8()
    } else {
        picture.resize_exact(size.0, size.1, FilterType::Triangle).to_rgb8()
    }
}

fn describe(name: &str, path: &Path, open: &Open<'_>) -> Result<Description, ModelError> {
    let beside = path.with_extension("toml");
    let file = || spindle_shared::text::escaped(&beside.to_string_lossy());
    let mut text = String::new();
    match open(&beside) {
        Ok(opened) => {
            let wrong = |reason: String| ModelError::Description { file: file(), reason };
            opened.take(description::BYTES_MAX).read_to_string(&mut text).map_err(|e| wrong(e.to_string()))?;
            Description::parse(&text).map_err(wrong)
        }
        Err(_) => Description::built_in(name).ok_or_else(|| ModelError::NoDescription(file())),
    }
}

/// Mask of the picture's size out of a network's shares: along the picture's edges where that is wanted.
///
/// The method is the fast guided filter (K. He and J. Sun, 2015): how the mask follows from the picture's brightness is found at the network's
/// resolution, and applied at the picture's.
pub fn refined(shares: &Shares, picture: &DynamicImage, refine: bool) -> GrayImage {
    let (width, height) = (picture.width(), picture.height());
    if !refine {
        // Hard borders stay hard: the nearest one's value.
        return GrayImage::from_fn(width, height, |x, y| {
            let at = |place: u32, of: u32, to: u32| {
                ((u64::from(place) * 2 + 1) * u64::from(to) / (u64::from(of) * 2)) as u32
            };
            let (x, y) = (at(x, width, shares.width), at(y, height, shares.height));
            Luma([(shares.values[(y * shares.width + x) as usize] * 255.0).round() as u8])
        });
    }
    const RADIUS: usize = 4;
    const EDGE: f32 = 1e-3;
    let (w, h) = (shares.width as usize, shares.height as usize);
    let small = image::imageops::grayscale(&scaled(picture, (shares.width, shares.height)));
    let guide: Vec<f32> = small.as_raw().iter().map(|&value| f32::from(value) / 255.0).collect();
    let mean = |values: &[f32]| boxed(values, w, h, RADIUS);
    let product = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| a * b).collect::<Vec<f32>>();
    let (mean_guide, mean_mask) = (mean(&guide), mean(&shares.values));
    let (mean_both, mean_square) = (mean(&product(&guide, &shares.values)), mean(&product(&guide, &guide)));
    let mut slope = vec![0.0; w * h];
    let mut rest = vec![0.0; w * h];
    for at in 0..w * h {
        let variance = mean_square[at] - mean_guide[at] * mean_guide[at];
        slope[at] = (mean_both[at] - mean_guide[at] * mean_mask[at]) / (variance + EDGE);
        rest[at] = mean_mask[at] - slope[at] * mean_guide[at];
    }
    let (slope, rest) = (mean(&slope), mean(&rest));
    let bright = picture.to_luma8();
    GrayImage::from_fn(width, height, |x, y| {
        let (u, v) = (place(x, width, w), place(y, height, h));
        let guide = f32::from(bright.get_pixel(x, y).0[0]) / 255.0;
        let value = between(&slope, w, h, u, v) * guide + between(&rest, w, h, u, v);
        // What the filter leaves of noise far from any border goes.
        let value = ((value - 0.03) / 0.94).clamp(0.0, 1.0);
        Luma([(value * 255.0).round() as u8])
    })
}

/// A pixel's middle in another grid.
fn place(at: u32, of: u32, to: usize) -> f32 {
    (at as f32 + 0.5) * to as f32 / of as f32 - 0.5
}

fn between(values: &[f32], width: usize, height: usize, x: f32, y: f32) -> f32 {
    let (x, y) = (x.clamp(0.0, (width - 1) as f32), y.clamp(0.0, (height - 1) as f32));
    let (left, top) = (x as usize, y as usize);
    let (right, bottom) = ((left + 1).min(width - 1), (top + 1).min(height - 1));
    let (fx, fy) = (x - left as f32, y - top as f32);
    let row = |y: usize| values[y * width + left] * (1.0 - fx) + values[y * width + right] * fx;
    row(top) * (1.0 - fy) + row(bottom) * fy
}

/// The mean around each place, by running sums.
pub fn boxed(values: &[f32], width: usize, height: usize, radius: usize) -> Vec<f32> {
    let mut across = vec![0.0; values.len()];
    for y in 0..height {
        run(radius, width, |x| values[y * width + x], |x, mean| across[y * width + x] = mean);
    }
    let mut out = vec![0.0; values.len()];
    for x in 0..width {
        run(radius, height, |y| across[y * width + x], |y, mean| out[y * width + x] = mean);
    }
    out
}

fn run(radius: usize, length: usize, value: impl Fn(usize) -> f32, mut put: impl FnMut(usize, f32)) {
    let mut sum = 0.0f64;
    for at in 0..radius.min(length) {
        sum += f64::from(value(at));
    }
    for at in 0..length {
        if at + radius < length {
            sum += f64::from(value(at + radius));
        }
        if at > radius {
            sum -= f64::from(value(at - radius - 1));
        }
        let count = (at + radius + 1).min(length) - at.saturating_sub(radius);
        put(at, (sum / count as f64) as f32);
    }
}

/// A soft border of this width.
pub fn feathered(mask: GrayImage, by: u32) -> GrayImage {
    if by == 0 {
        return mask;
    }
    let (width, height) = mask.dimensions();
    let values: Vec<f32> = mask.as_raw().iter().map(|&value| f32::from(value)).collect();
    let soft = boxed(&values, width as usize, height as usize, by as usize);
    GrayImage::from_fn(width, height, |x, y| Luma([soft[(y * width + x) as usize].round() as u8]))
}

#[cfg(test)]
mod tests {
    use image::Rgb;

    use super::*;

    /// Brightness itself, as a mask or enlarged by repeating.
    struct Echo {
        factor: usize,
        channels: usize,
    }

    impl Network for Echo {
        fn run(&self, input: &Tensor) -> Result<Tensor, NetworkError> {
            let [count, channels, height, width] = input.shape[..] else { panic!("{:?}", input.shape) };
            let mut values = Vec::new();
            for picture in 0..count {
                for channel in 0..self.channels.min(channels) {
                    for y in 0..height * self.factor {
                        for x in 0..width * self.factor {
                            let (x, y) = (x / self.factor, y / self.factor);
                            values.push(input.values[((picture * channels + channel) * height + y) * width + x]);
                        }
                    }
                }
            }
            Ok(Tensor {
                shape: vec![count, self.channels.min(channels), height * self.factor, width * self.factor],
                values,
            })
        }

        fn batch_max(&self) -> usize {
            usize::MAX
        }

        fn device(&self) -> String {
            "fake".to_owned()
        }
    }

    fn model(text: &str, factor: usize, channels: usize) -> Model {
        Model::over(Description::parse(text).unwrap(), Box::new(Echo { factor, channels }))
    }

    fn checked(side: u32) -> RgbImage {
        RgbImage::from_fn(side, side, |x, y| Rgb([(x * 5) as u8, (y * 3) as u8, 200]))
    }

    const SEGMENTATION: &str = "purpose = \"segmentation\"\n[input]\nwidth = 40\nheight = 40\n";

    #[test]
    fn the_mask_is_what_the_network_says_of_the_channel_that_is_named() {
        let picture = DynamicImage::ImageRgb8(checked(40));
        for (more, expected) in [
            ("", 7.0 * 5.0 / 255.0),
            ("channels = \"bgr\"\n", 200.0 / 255.0),
            ("[output]\nchannel = 1\n", 9.0 * 3.0 / 255.0),
            ("[output]\ninvert = true\n", 1.0 - 7.0 * 5.0 / 255.0),
            ("scale = \"brightest\"\n", 7.0 * 5.0 / 200.0),
            ("mean = [0.1, 0, 0]\nstd = [0.5, 1, 1]\n", (7.0 * 5.0 / 255.0 - 0.1) / 0.5),
            ("[output]\nthreshold = 0.5\n", 0.0),
            ("[output]\nactivation = \"minmax\"\n", 7.0 / 39.0),
            ("[output]\nactivation = \"sigmoid\"\n", 1.0 / (1.0 + (-7.0f32 * 5.0 / 255.0).exp())),
        ] {
            let model = model(&format!("{SEGMENTATION}{more}"), 1, 3);
            let shares = model.shares(&picture, model.announce()).unwrap();
            assert!((shares.values[9 * 40 + 7] - expected).abs() < 1e-5, "{more}: {}", shares.values[9 * 40 + 7]);
        }
    }

    #[test]
    fn a_letterboxed_picture_gets_its_own_part_of_the_mask() {
        let text = format!("{SEGMENTATION}fit = \"letterbox\"\n[output]\nrefine = false\n");
        let model = model(&text, 1, 1);
        let wide = DynamicImage::ImageRgb8(RgbImage::from_fn(40, 20, |x, _| Rgb([(x * 6) as u8, 0, 0])));
        let shares = model.shares(&wide, model.announce()).unwrap();
        assert_eq!((shares.width, shares.height), (40, 20));
        let mask = refined(&shares, &wide, false);
        assert_eq!(mask.get_pixel(30, 10).0, [180]);
    }

    #[test]
    fn pieces_of_an_enlarged_picture_fit_together() {
        let model = model("purpose = \"upscaling\"\n[input]\nwidth = 32\nheight = 24\n[output]\nfactor = 3\n", 3, 3);
        let picture = checked(50);
        let enlarged = model.enlarge(&picture, &|| false).unwrap().unwrap();
        assert_eq!(enlarged.dimensions(), (150, 150));
        assert!(enlarged.enumerate_pixels().all(|(x, y, pixel)| pixel == picture.get_pixel(x / 3, y / 3)));
        assert!(model.batcher().counts().largest > 1);
        assert_eq!(model.enlarge(&picture, &|| true).unwrap(), None);
        assert!(model.shares(&DynamicImage::ImageRgb8(picture), model.announce()).is_err());
    }

    #[test]
    fn a_border_that_is_off_by_some_pixels_moves_to_the_edge() {
        let picture =
            DynamicImage::ImageRgb8(RgbImage::from_fn(200, 200, |x, _| Rgb([if x < 100 { 20 } else { 230 }; 3])));
        let shares = Shares {
            width: 50,
            height: 50,
            values: (0..2_500).map(|at| if at % 50 < 26 { 0.0 } else { 1.0 }).collect(),
        };
        let mask = refined(&shares, &picture, true);
        assert!(mask.get_pixel(97, 100).0[0] < 80, "{:?}", mask.get_pixel(97, 100));
        assert!(mask.get_pixel(103, 100).0[0] > 175, "{:?}", mask.get_pixel(103, 100));
        assert_eq!((mask.get_pixel(10, 10).0, mask.get_pixel(190, 10).0), ([0], [255]));
        let soft = feathered(mask, 2);
        assert_eq!((soft.get_pixel(10, 10).0, soft.get_pixel(190, 10).0), ([0], [255]));
    }
}
