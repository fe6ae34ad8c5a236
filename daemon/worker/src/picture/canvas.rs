//! A picture that operations are done to: its pixels, and which part of them is meant. Knows no file and no operation by name.

use fast_image_resize as fir;
use image::metadata::Orientation;
use image::{DynamicImage, GenericImage};
use spindle_shared::stage::image::Colour;

use super::{PictureError, Rect, Size, orient};

pub struct Canvas {
    pixels: DynamicImage,
    /// What the operations take it for; the pixels may be fewer, where it was decoded smaller than it is.
    size: Size,
    /// Which part of the pixels it is; the rest was cut off.
    part: Rect,
}

impl Canvas {
    /// `size`: of the picture that these are the pixels of, as it stands upright.
    pub fn new(pixels: DynamicImage, size: Size) -> Self {
        let part = Rect::whole((pixels.width(), pixels.height()));
        Canvas { pixels, size, part }
    }

    pub fn copy(&self) -> Canvas {
        Canvas { pixels: self.pixels.clone(), size: self.size, part: self.part }
    }

    pub fn size(&self) -> Size {
        self.size
    }

    pub fn turn(&mut self, orientation: Orientation) -> Result<(), PictureError> {
        self.settle()?;
        orient::turn(&mut self.pixels, orientation);
        self.size = (self.pixels.width(), self.pixels.height());
        self.part = Rect::whole(self.size);
        Ok(())
    }

    /// Keeps a part, in the picture's own measure.
    pub fn crop(&mut self, kept: Rect) {
        self.part = self.on_pixels(kept);
        self.size = (whole(kept.width), whole(kept.height));
    }

    /// Makes a part, in the picture's own measure, this large.
    pub fn resample(&mut self, part: Rect, to: Size) -> Result<(), PictureError> {
        self.part = self.on_pixels(part);
        self.size = to;
        self.settle()
    }

    /// Lays the picture on a ground.
    pub fn lay(&mut self, ground: Size, corner: (u32, u32), colour: Colour) -> Result<(), PictureError> {
        self.settle()?;
        let [r, g, b, alpha] = colour.0;
        if alpha < 255 || self.pixels.color().has_alpha() {
            self.pixels = with_alpha(std::mem::take(&mut self.pixels));
        }
        if (r, g) != (g, b) {
            self.pixels = with_colour(std::mem::take(&mut self.pixels));
        }
        let mut laid = DynamicImage::new(ground.0, ground.1, self.pixels.color());
        fill(&mut laid, colour);
        copy(&mut laid, &self.pixels, corner)?;
        *self = Canvas::new(laid, ground);
        Ok(())
    }

    /// Takes the pixels, as many as the picture has, to make others of them.
    pub fn take(&mut self) -> Result<DynamicImage, PictureError> {
        self.settle()?;
        Ok(std::mem::take(&mut self.pixels))
    }

    /// The pixels, as many as the picture has.
    pub fn finish(mut self) -> Result<DynamicImage, PictureError> {
        self.settle()?;
        Ok(self.pixels)
    }

    fn on_pixels(&self, part: Rect) -> Rect {
        let (x, y) = (self.part.width / f64::from(self.size.0), self.part.height / f64::from(self.size.1));
        Rect {
            left: self.part.left + part.left * x,
            top: self.part.top + part.top * y,
            width: part.width * x,
            height: part.height * y,
        }
    }

    /// Makes the pixels what the picture is.
    fn settle(&mut self) -> Result<(), PictureError> {
        let (width, height) = self.size;
        let here = (self.pixels.width(), self.pixels.height());
        if here == self.size && self.part == Rect::whole(here) {
            return Ok(());
        }
        let Rect { left, top, width: wide, height: high } = self.part;
        let even = [left, top, wide, high].iter().all(|value| value.fract() == 0.0);
        self.pixels = if even && (whole(wide), whole(high)) == self.size {
            self.pixels.crop_imm(left as u32, top as u32, width, height)
        } else {
            let failed = |why: String| PictureError::OutOfMemory(format!("{width}×{height} pixels ({why})"));
            let mut made = DynamicImage::new(width, height, self.pixels.color());
            // Rounding may have led a hair over the edge.
            let (left, top) = (left.max(0.0), top.max(0.0));
            let (wide, high) = (wide.min(f64::from(here.0) - left), high.min(f64::from(here.1) - top));
            let options = fir::ResizeOptions::new()
                .resize_alg(fir::ResizeAlg::Convolution(fir::FilterType::Lanczos3))
                .crop(left, top, wide, high);
            fir::Resizer::new().resize(&self.pixels, &mut made, &options).map_err(|error| failed(error.to_string()))?;
            made
        };
        self.part = Rect::whole(self.size);
        Ok(())
    }
}

fn whole(side: f64) -> u32 {
    (side.round() as u32).max(1)
}

pub fn with_alpha(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageLuma8(_) => DynamicImage::ImageLumaA8(image.into_luma_alpha8()),
        DynamicImage::ImageRgb8(_) => DynamicImage::ImageRgba8(image.into_rgba8()),
        DynamicImage::ImageLuma16(_) => DynamicImage::ImageLumaA16(image.into_luma_alpha16()),
        DynamicImage::ImageRgb16(_) => DynamicImage::ImageRgba16(image.into_rgba16()),
        other => other,
    }
}

fn with_colour(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageLuma8(_) => DynamicImage::ImageRgb8(image.into_rgb8()),
        DynamicImage::ImageLumaA8(_) => DynamicImage::ImageRgba8(image.into_rgba8()),
        DynamicImage::ImageLuma16(_) => DynamicImage::ImageRgb16(image.into_rgb16()),
        DynamicImage::ImageLumaA16(_) => DynamicImage::ImageRgba16(image.into_rgba16()),
        other => other,
    }
}

fn fill(image: &mut DynamicImage, colour: Colour) {
    let [r, g, b, a] = colour.0;
    let wide = |value: u8| u16::from(value) * 257;
    fn set<P: image::Pixel>(image: &mut image::ImageBuffer<P, Vec<P::Subpixel>>, pixel: P) {
        image.pixels_mut().for_each(|place| *place = pixel);
    }
    match image {
        DynamicImage::ImageLuma8(image) => set(image, image::Luma([r])),
        DynamicImage::ImageLumaA8(image) => set(image, image::LumaA([r, a])),
        DynamicImage::ImageRgb8(image) => set(image, image::Rgb([r, g, b])),
        DynamicImage::ImageRgba8(image) => set(image, image::Rgba([r, g, b, a])),
        DynamicImage::ImageLuma16(image) => set(image, image::Luma([wide(r)])),
        DynamicImage::ImageLumaA16(image) => set(image, image::LumaA([wide(r), wide(a)])),
        DynamicImage::ImageRgb16(image) => set(image, image::Rgb([r, g, b].map(wide))),
        DynamicImage::ImageRgba16(image) => set(image, image::Rgba([r, g, b, a].map(wide))),
        _ => {}
    }
}

fn copy(ground: &mut DynamicImage, picture: &DynamicImage, (x, y): (u32, u32)) -> Result<(), PictureError> {
    let failed = |error: image::ImageError| PictureError::TooLarge(error.to_string());
    match (ground, picture) {
        (DynamicImage::ImageLuma8(to), DynamicImage::ImageLuma8(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageLumaA8(to), DynamicImage::ImageLumaA8(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageRgb8(to), DynamicImage::ImageRgb8(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageRgba8(to), DynamicImage::ImageRgba8(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageLuma16(to), DynamicImage::ImageLuma16(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageLumaA16(to), DynamicImage::ImageLumaA16(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageRgb16(to), DynamicImage::ImageRgb16(from)) => to.copy_from(from, x, y),
        (DynamicImage::ImageRgba16(to), DynamicImage::ImageRgba16(from)) => to.copy_from(from, x, y),
        // Both were made of the same colours, so that this is never reached with others; 8 bits serve for all.
        (to, from) => to.copy_from(from, x, y),
    }
    .map_err(failed)
}
