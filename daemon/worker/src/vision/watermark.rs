//! A sign on a picture: another picture, some of it shining through, in a corner, in the middle or all over. Knows pixels only.

use image::imageops::FilterType;
use image::{DynamicImage, Pixel, RgbaImage};

use super::style::lay;

/// Where a sign stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    TopLeft,
    TopRight,
    BottomLeft,
    BottomRight,
    Centre,
    Tile,
}

/// Space to the edge, in percent of the picture's shorter side.
const MARGIN: u32 = 3;

/// Lays the sign over the picture. `size`: its width in percent of the picture's; `opacity` in percent.
pub fn lay_over(picture: &mut DynamicImage, sign: &DynamicImage, place: Place, size: u32, opacity: u32) {
    let (width, height) = (picture.width(), picture.height());
    let wide = (u64::from(width) * u64::from(size) / 100).clamp(1, u64::from(width)) as u32;
    let high = (u64::from(sign.height()) * u64::from(wide) / u64::from(sign.width().max(1))).max(1);
    // A tall sign doesn't stand over.
    let (wide, high) = match high > u64::from(height) {
        true => ((u64::from(wide) * u64::from(height) / high).max(1) as u32, height),
        false => (wide, high as u32),
    };
    let mut sign = image::imageops::resize(&sign.to_rgba8(), wide, high, FilterType::CatmullRom);
    for pixel in sign.pixels_mut() {
        pixel.0[3] = (u32::from(pixel.0[3]) * opacity.min(100) / 100) as u8;
    }
    let margin = width.min(height) * MARGIN / 100;
    let (right, bottom) = (width - wide, height - high);
    let (left, top) = (margin.min(right), margin.min(bottom));
    let (right, bottom) = (right.saturating_sub(margin), bottom.saturating_sub(margin));
    let corners: Vec<(u32, u32)> = match place {
        Place::TopLeft => vec![(left, top)],
        Place::TopRight => vec![(right, top)],
        Place::BottomLeft => vec![(left, bottom)],
        Place::BottomRight => vec![(right, bottom)],
        Place::Centre => vec![((width - wide) / 2, (height - high) / 2)],
        Place::Tile => {
            let step = |side: u32| side as usize * 3 / 2 + 1;
            (0..height).step_by(step(high)).flat_map(|y| (0..width).step_by(step(wide)).map(move |x| (x, y))).collect()
        }
    };
    match picture {
        DynamicImage::ImageRgba8(pixels) => corners.iter().for_each(|&at| over(pixels, &sign, at)),
        // Two bytes a channel stay two: only what lies under the sign is mixed.
        DynamicImage::ImageRgb16(_)
        | DynamicImage::ImageRgba16(_)
        | DynamicImage::ImageLuma16(_)
        | DynamicImage::ImageLumaA16(_) => {
            let alpha = picture.color().has_alpha();
            let mut pixels = picture.to_rgba16();
            for &(x, y) in &corners {
                for (dx, dy, pixel) in sign.enumerate_pixels() {
                    if x + dx < width && y + dy < height {
                        let wide = image::Rgba(pixel.0.map(|value| u16::from(value) * 257));
                        pixels.get_pixel_mut(x + dx, y + dy).blend(&wide);
                    }
                }
            }
            let wide = DynamicImage::ImageRgba16(pixels);
            *picture = if alpha { wide } else { DynamicImage::ImageRgb16(wide.to_rgb16()) };
        }
        _ => {
            let alpha = picture.color().has_alpha();
            let mut pixels = picture.to_rgba8();
            corners.iter().for_each(|&at| over(&mut pixels, &sign, at));
            let pixels = DynamicImage::ImageRgba8(pixels);
            *picture = if alpha { pixels } else { DynamicImage::ImageRgb8(pixels.to_rgb8()) };
        }
    }
}

fn over(pixels: &mut RgbaImage, sign: &RgbaImage, (x, y): (u32, u32)) {
    for (dx, dy, pixel) in sign.enumerate_pixels() {
        if x + dx < pixels.width() && y + dy < pixels.height() {
            lay(pixels.get_pixel_mut(x + dx, y + dy), *pixel);
        }
    }
}

#[cfg(test)]
mod tests {
    use image::{ImageBuffer, Luma, Rgb, RgbImage, Rgba};

    use super::*;

    fn changed(place: Place) -> Vec<(u32, u32)> {
        let mut picture = DynamicImage::ImageRgb8(RgbImage::from_pixel(200, 100, Rgb([100, 100, 100])));
        let sign = DynamicImage::ImageRgba8(RgbaImage::from_pixel(4, 2, Rgba([255, 0, 0, 255])));
        lay_over(&mut picture, &sign, place, 10, 50);
        let pixels = picture.into_rgb8();
        let marked: Vec<_> = pixels.enumerate_pixels().filter(|(.., pixel)| pixel.0 != [100, 100, 100]).collect();
        assert!(marked.iter().all(|(.., pixel)| pixel.0 == [177, 50, 50]), "{:?}", marked.first());
        marked.into_iter().map(|(x, y, _)| (x, y)).collect()
    }

    #[test]
    fn it_stands_where_it_should_in_its_size() {
        for (place, corner) in [
            (Place::TopLeft, (3, 3)),
            (Place::TopRight, (177, 3)),
            (Place::BottomLeft, (3, 87)),
            (Place::BottomRight, (177, 87)),
            (Place::Centre, (90, 45)),
        ] {
            let marked = changed(place);
            assert_eq!((marked.len(), marked.first()), (200, Some(&corner)), "{place:?}");
        }
        assert!(changed(Place::Tile).len() > 200 * 20);
    }

    #[test]
    fn sixteen_bits_stay_sixteen_and_a_sign_is_never_larger_than_the_picture() {
        let mut picture = DynamicImage::ImageLuma16(ImageBuffer::from_pixel(50, 50, Luma([1_234])));
        let sign = DynamicImage::ImageRgba8(RgbaImage::from_pixel(1, 90, Rgba([255, 255, 255, 255])));
        lay_over(&mut picture, &sign, Place::Centre, 100, 100);
        let pixels = picture.as_rgb16().unwrap();
        assert_eq!(pixels.get_pixel(0, 0).0, [1_234; 3]);
        assert_eq!(pixels.get_pixel(24, 25).0, [65_535; 3]);
    }
}
