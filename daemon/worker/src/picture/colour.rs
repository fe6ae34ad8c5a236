//! Colours as everybody understands them: by the profile of a picture, or its inks, to sRGB. Knows pixels and no file.

use image::{DynamicImage, GrayImage, ImageBuffer, RgbImage};
use moxcms::{ColorProfile, DataColorSpace, Layout, RenderingIntent, TransformOptions};

use super::PictureError;

/// Pixels come in strips this large to the profile's tables, so that a large picture isn't held twice.
const STRIP_PIXELS: usize = 1 << 16;

fn options() -> TransformOptions {
    // As programs that show pictures do: what the target can show stays as it is, black is black.
    TransformOptions { rendering_intent: RenderingIntent::RelativeColorimetric, ..TransformOptions::default() }
}

/// A picture whose numbers mean what this profile says, in sRGB; as it is, with a remark, where the profile can't be used.
pub fn by_profile(image: DynamicImage, profile: &[u8]) -> (DynamicImage, Option<String>) {
    let profile = match read(profile) {
        Ok(profile) => profile,
        Err(error) => return (image, Some(unused(&error))),
    };
    let wanted = if image.color().has_color() { DataColorSpace::Rgb } else { DataColorSpace::Gray };
    if profile.color_space != wanted {
        return (image, Some(unused("it is for other colours than the picture has")));
    }
    if is_srgb(&profile) {
        return (image, None);
    }
    match transformed(image, &profile) {
        Ok(image) => (image, None),
        Err((image, why)) => (image, Some(unused(&why))),
    }
}

/// A profile with tables for one intent has them for all: what is not there is as A2B0 (ICC.1:2022, 8.10.2).
fn read(profile: &[u8]) -> Result<ColorProfile, String> {
    let mut profile = ColorProfile::new_from_slice(profile).map_err(|error| error.to_string())?;
    if profile.lut_a_to_b_colorimetric.is_none() {
        profile.lut_a_to_b_colorimetric.clone_from(&profile.lut_a_to_b_perceptual);
    }
    Ok(profile)
}

fn unused(why: &str) -> String {
    format!("its colour profile could not be applied: {why}")
}

/// Whether applying it would change nothing that can be seen.
fn is_srgb(profile: &ColorProfile) -> bool {
    let srgb = ColorProfile::new_srgb();
    let Ok(transform) = profile.create_transform_8bit(Layout::Rgb, &srgb, Layout::Rgb, options()) else { return false };
    // Corners, greys and some between: a profile that leaves them is sRGB, whatever it calls itself.
    let probe: Vec<u8> = [0_u8, 32, 96, 160, 224, 255]
        .into_iter()
        .flat_map(|r| [0_u8, 64, 128, 255].into_iter().flat_map(move |g| [0_u8, 90, 200, 255].map(|b| [r, g, b])))
        .flatten()
        .collect();
    let mut changed = vec![0; probe.len()];
    transform.transform(&probe, &mut changed).is_ok() && probe.iter().zip(&changed).all(|(a, b)| a.abs_diff(*b) <= 1)
}

fn transformed(mut image: DynamicImage, profile: &ColorProfile) -> Result<DynamicImage, (DynamicImage, String)> {
    let srgb = ColorProfile::new_srgb();
    macro_rules! strips {
        ($make:ident, $pixels:expr, $layout:expr, $channels:expr) => {{
            let made = profile.$make($layout, &srgb, $layout, options());
            let done = made.and_then(|transform| {
                let mut strip = Vec::new();
                for part in $pixels.chunks_mut(STRIP_PIXELS * $channels) {
                    strip.clear();
                    strip.extend_from_slice(part);
                    transform.transform(&strip, part)?;
                }
                Ok(())
            });
            done.map_err(|error| error.to_string())
        }};
    }
    macro_rules! grey {
        ($make:ident, $pixels:expr, $channels:expr, $type:ty) => {{
            // Grey is made RGB, all three alike, and one of them is what is wanted.
            let made = profile.$make(Layout::Gray, &srgb, Layout::Rgb, options());
            let done = made.and_then(|transform| {
                let (mut strip, mut out): (Vec<$type>, Vec<$type>) = (Vec::new(), Vec::new());
                for part in $pixels.chunks_mut(STRIP_PIXELS * $channels) {
                    strip.clear();
                    strip.extend(part.iter().step_by($channels));
                    out.resize(strip.len() * 3, 0);
                    transform.transform(&strip, &mut out)?;
                    for (place, rgb) in part.iter_mut().step_by($channels).zip(out.chunks_exact(3)) {
                        *place = rgb[1];
                    }
                }
                Ok(())
            });
            done.map_err(|error| error.to_string())
        }};
    }
    let done = match &mut image {
        DynamicImage::ImageRgb8(pixels) => strips!(create_transform_8bit, pixels, Layout::Rgb, 3),
        DynamicImage::ImageRgba8(pixels) => strips!(create_transform_8bit, pixels, Layout::Rgba, 4),
        DynamicImage::ImageRgb16(pixels) => strips!(create_transform_16bit, pixels, Layout::Rgb, 3),
        DynamicImage::ImageRgba16(pixels) => strips!(create_transform_16bit, pixels, Layout::Rgba, 4),
        DynamicImage::ImageLuma8(pixels) => grey!(create_transform_8bit, pixels, 1, u8),
        DynamicImage::ImageLumaA8(pixels) => grey!(create_transform_8bit, pixels, 2, u8),
        DynamicImage::ImageLuma16(pixels) => grey!(create_transform_16bit, pixels, 1, u16),
        DynamicImage::ImageLumaA16(pixels) => grey!(create_transform_16bit, pixels, 2, u16),
        _ => Err("the picture has unusual pixels".to_owned()),
    };
    match done {
        Ok(()) => Ok(image),
        Err(why) => Err((image, why)),
    }
}

/// Inks (0 = none, 255 = all of it) as sRGB: by their profile, or by the plain rule where there is none that can be used.
pub fn of_inks(
    inks: &[u8],
    (width, height): (u32, u32),
    profile: Option<&[u8]>,
) -> Result<(DynamicImage, Option<String>), PictureError> {
    let mut rgb = vec![0; inks.len() / 4 * 3];
    let by_profile = profile.map(|profile| -> Result<(), String> {
        let profile = read(profile)?;
        if profile.color_space != DataColorSpace::Cmyk {
            return Err("it is for other colours than the picture has".to_owned());
        }
        let srgb = ColorProfile::new_srgb();
        let transform = profile
            .create_transform_8bit(Layout::Rgba, &srgb, Layout::Rgb, options())
            .map_err(|error| error.to_string())?;
        for (part, out) in inks.chunks(STRIP_PIXELS * 4).zip(rgb.chunks_mut(STRIP_PIXELS * 3)) {
            transform.transform(part, out).map_err(|error| error.to_string())?;
        }
        Ok(())
    });
    let remark = match by_profile {
        Some(Ok(())) => None,
        other => {
            for (ink, out) in inks.chunks_exact(4).zip(rgb.chunks_exact_mut(3)) {
                let light = |ink: u8, black: u8| {
                    let product = u32::from(255 - ink) * u32::from(255 - black);
                    ((product + 127) / 255) as u8
                };
                out.copy_from_slice(&[light(ink[0], ink[3]), light(ink[1], ink[3]), light(ink[2], ink[3])]);
            }
            other.and_then(Result::err).map(|why| unused(&why))
        }
    };
    let image = RgbImage::from_raw(width, height, rgb)
        .ok_or_else(|| PictureError::OutOfMemory(format!("{width}×{height} pixels")))?;
    Ok((image.into(), remark))
}

/// Light as it is measured, as sRGB of 16 bits; what is brighter than white is white.
pub fn of_light(image: DynamicImage) -> DynamicImage {
    let curve = |light: f32| {
        let light = if light.is_nan() { 0.0 } else { light.clamp(0.0, 1.0) };
        let value = if light <= 0.003_130_8 { 12.92 * light } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 };
        (value * 65_535.0 + 0.5) as u16
    };
    match image {
        DynamicImage::ImageRgb32F(light) => {
            let (width, height) = light.dimensions();
            let pixels = light.into_raw().into_iter().map(curve).collect();
            ImageBuffer::from_raw(width, height, pixels).map_or_else(DynamicImage::default, DynamicImage::ImageRgb16)
        }
        DynamicImage::ImageRgba32F(light) => {
            let (width, height) = light.dimensions();
            let mut pixels: Vec<u16> = Vec::with_capacity(light.as_raw().len());
            for pixel in light.into_raw().chunks_exact(4) {
                pixels.extend(pixel[..3].iter().map(|light| curve(*light)));
                pixels.push((pixel[3].clamp(0.0, 1.0) * 65_535.0 + 0.5) as u16);
            }
            ImageBuffer::from_raw(width, height, pixels).map_or_else(DynamicImage::default, DynamicImage::ImageRgba16)
        }
        other => other,
    }
}

/// What shines through is white, for formats that know no transparency.
pub fn on_white(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageRgba8(pixels) => {
            let (width, height) = pixels.dimensions();
            let rgb = pixels.as_raw().chunks_exact(4).flat_map(|p| [0, 1, 2].map(|c| over_white(p[c], p[3]))).collect();
            RgbImage::from_raw(width, height, rgb).map_or_else(DynamicImage::default, Into::into)
        }
        DynamicImage::ImageLumaA8(pixels) => {
            let (width, height) = pixels.dimensions();
            let grey = pixels.as_raw().chunks_exact(2).map(|p| over_white(p[0], p[1])).collect();
            GrayImage::from_raw(width, height, grey).map_or_else(DynamicImage::default, Into::into)
        }
        DynamicImage::ImageRgba16(_) => on_white(DynamicImage::ImageRgba8(image.into_rgba8())),
        DynamicImage::ImageLumaA16(_) => on_white(DynamicImage::ImageLumaA8(image.into_luma_alpha8())),
        other => other,
    }
}

fn over_white(value: u8, alpha: u8) -> u8 {
    let (value, alpha) = (u32::from(value), u32::from(alpha));
    ((value * alpha + 255 * (255 - alpha) + 127) / 255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wider_profile_makes_colours_stronger_and_srgb_leaves_them() {
        let image = || DynamicImage::from(RgbImage::from_pixel(4, 4, image::Rgb([180, 60, 60])));
        let profile = |profile: ColorProfile| profile.encode().unwrap();
        let (same, remark) = by_profile(image(), &profile(ColorProfile::new_srgb()));
        assert_eq!((same, remark), (image(), None));
        let (wide, remark) = by_profile(image(), &profile(ColorProfile::new_display_p3()));
        let [r, g, _] = wide.into_rgb8().get_pixel(0, 0).0;
        assert!(remark.is_none() && r > 185 && g < 55, "{r} {g}");
        let (same, remark) = by_profile(image(), b"no profile");
        assert_eq!(same, image());
        assert!(remark.unwrap().contains("could not be applied"));
    }

    /// Of an old scanner's program: a table of L*a*b*, and none but the one for what looks best.
    #[test]
    fn a_profile_with_tables_for_one_intent_serves_for_all() {
        let Some(assets) = std::env::var_os("SPINDLE_TEST_ASSETS") else {
            eprintln!("SKIPPED: SPINDLE_TEST_ASSETS is not set");
            return;
        };
        let path = std::path::Path::new(&assets).join("image/pillow/icc_profile_big.jpg");
        let picture = crate::picture::from_bytes(std::fs::read(path).unwrap()).unwrap();
        assert_eq!(picture.notes, [""; 0]);
    }

    #[test]
    fn inks_without_a_profile_follow_the_plain_rule() {
        let (image, remark) = of_inks(&[0, 0, 0, 0, 255, 0, 0, 0, 0, 0, 0, 255, 0, 51, 0, 51], (2, 2), None).unwrap();
        assert_eq!(image.as_bytes(), [255, 255, 255, 0, 255, 255, 0, 0, 0, 204, 163, 204]);
        assert!(remark.is_none());
    }

    #[test]
    fn what_shines_through_is_white() {
        let glass = image::RgbaImage::from_pixel(1, 1, image::Rgba([10, 20, 30, 0]));
        assert_eq!(on_white(glass.into()).as_bytes(), [255; 3]);
        let half = image::RgbaImage::from_pixel(1, 1, image::Rgba([0, 0, 255, 128]));
        assert_eq!(on_white(half.into()).as_bytes(), [127, 127, 255]);
    }
}
