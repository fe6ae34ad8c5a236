//! What the styles look like: an object that was cut out, on a background, with its shadow, margin and size. Knows pixels and masks, not where
//! the mask is from.

use image::imageops::FilterType;
use image::{DynamicImage, GrayImage, Rgba, RgbaImage};
use spindle_shared::style::Style;

use super::model::boxed;

type Rgb = [u8; 3];

/// What is behind the object.
enum Ground {
    Flat(Rgb),
    /// From the upper left corner to the lower right one.
    Slanted(Rgb, Rgb),
    /// From a place (shares of width and height) outwards.
    Round {
        at: (f32, f32),
        inner: Rgb,
        outer: Rgb,
    },
    /// A wall, and below this share of the height a floor; each lighter in the middle.
    Room {
        wall: Rgb,
        floor: Rgb,
        line: f32,
    },
}

/// Shares of the canvas' shorter side.
struct Shadow {
    down: f32,
    blur: f32,
    strength: f32,
}

/// One style's parts.
struct Look {
    ground: Ground,
    shadow: Option<Shadow>,
    /// Free space on each side, as a share of that side.
    margin: f32,
    /// Where the object stands: its middle, or its foot where it stands on something.
    foot: Option<f32>,
}

fn look(style: Style) -> Look {
    let shadow = |down, blur, strength| Some(Shadow { down, blur, strength });
    let look = |ground, shadow, margin| Look { ground, shadow, margin, foot: None };
    match style {
        Style::MinimalWhite => look(Ground::Flat([255, 255, 255]), shadow(0.012, 0.02, 0.25), 0.1),
        Style::ModernHome => Look {
            ground: Ground::Room { wall: [236, 226, 212], floor: [176, 137, 98], line: 0.72 },
            shadow: shadow(0.015, 0.02, 0.4),
            margin: 0.14,
            foot: Some(0.86),
        },
        Style::Business => look(
            Ground::Round { at: (0.5, 0.45), inner: [226, 231, 237], outer: [146, 158, 172] },
            shadow(0.02, 0.025, 0.35),
            0.12,
        ),
        Style::Natural => look(
            Ground::Round { at: (0.5, 0.1), inner: [243, 248, 226], outer: [143, 178, 128] },
            shadow(0.02, 0.03, 0.3),
            0.13,
        ),
        Style::AmazonStandard => look(Ground::Flat([255, 255, 255]), None, 0.075),
        Style::TiktokVibrant => look(Ground::Slanted([255, 0, 110], [0, 220, 230]), shadow(0.025, 0.03, 0.5), 0.12),
        Style::InstagramLifestyle => look(
            Ground::Round { at: (0.3, 0.25), inner: [255, 238, 222], outer: [240, 176, 182] },
            shadow(0.018, 0.03, 0.3),
            0.13,
        ),
        Style::ShopifyCustom => look(Ground::Flat([246, 246, 247]), shadow(0.008, 0.015, 0.18), 0.1),
    }
}

/// Why there is nothing to show.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NothingCut;

/// The object in its style; `size` is the style's own, or a small one for a look at it.
pub fn show(picture: &DynamicImage, mask: &GrayImage, style: Style, size: (u32, u32)) -> Result<RgbaImage, NothingCut> {
    let look = look(style);
    let (object, x, y) = placed(picture, mask, &look, size)?;
    let mut canvas = ground(&look.ground, size);
    if let Some(shadow) = &look.shadow {
        cast(&mut canvas, &object, (x, y), shadow);
    }
    for (dx, dy, pixel) in object.enumerate_pixels() {
        lay(canvas.get_pixel_mut(x + dx, y + dy), *pixel);
    }
    Ok(canvas)
}

/// Takes the background away: the mask becomes what doesn't shine through, within what did so already.
pub fn cut_out(picture: &DynamicImage, mask: &GrayImage) -> RgbaImage {
    let mut pixels = picture.to_rgba8();
    for (pixel, mask) in pixels.pixels_mut().zip(mask.pixels()) {
        pixel.0[3] = (u32::from(pixel.0[3]) * u32::from(mask.0[0]) / 255) as u8;
    }
    pixels
}

/// In front of a colour.
pub fn before(picture: &DynamicImage, mask: &GrayImage, colour: [u8; 4]) -> RgbaImage {
    let object = cut_out(picture, mask);
    let mut canvas = RgbaImage::from_pixel(object.width(), object.height(), Rgba(colour));
    for (under, over) in canvas.pixels_mut().zip(object.pixels()) {
        lay(under, *over);
    }
    canvas
}

/// The object alone, as large as the margin allows, and where its corner belongs.
fn placed(
    picture: &DynamicImage,
    mask: &GrayImage,
    look: &Look,
    size: (u32, u32),
) -> Result<(RgbaImage, u32, u32), NothingCut> {
    let solid = mask.enumerate_pixels().filter(|(.., value)| value.0[0] > 24);
    let (mut left, mut top, mut right, mut bottom) = (u32::MAX, u32::MAX, 0, 0);
    for (x, y, _) in solid {
        (left, right) = (left.min(x), right.max(x + 1));
        (top, bottom) = (top.min(y), bottom.max(y + 1));
    }
    if right <= left || bottom <= top {
        return Err(NothingCut);
    }
    let (wide, high) = (right - left, bottom - top);
    let part = picture.crop_imm(left, top, wide, high);
    let mask = image::imageops::crop_imm(mask, left, top, wide, high).to_image();
    let mut object = cut_out(&part, &mask);
    let room = |side: u32| side as f32 * (1.0 - 2.0 * look.margin);
    let foot = look.foot.map_or(size.1 as f32 * (1.0 - look.margin), |foot| foot * size.1 as f32);
    let height = room(size.1).min(foot - size.1 as f32 * look.margin);
    let scale = (room(size.0) / wide as f32).min(height / high as f32);
    let target = |side: u32, most: u32| ((side as f32 * scale).round() as u32).clamp(1, most);
    let (wide, high) = (target(wide, size.0), target(high, size.1));
    premultiply(&mut object);
    let mut object = image::imageops::resize(&object, wide, high, FilterType::CatmullRom);
    divide(&mut object);
    let x = (size.0 - wide) / 2;
    let y = match look.foot {
        Some(_) => (foot as u32).saturating_sub(high),
        None => (size.1 - high) / 2,
    };
    Ok((object, x, y))
}

/// So that colours behind nothing don't come forward when pixels are mixed.
fn premultiply(pixels: &mut RgbaImage) {
    for pixel in pixels.pixels_mut() {
        let alpha = u32::from(pixel.0[3]);
        for value in &mut pixel.0[..3] {
            *value = ((u32::from(*value) * alpha + 127) / 255) as u8;
        }
    }
}

fn divide(pixels: &mut RgbaImage) {
    for pixel in pixels.pixels_mut() {
        let alpha = u32::from(pixel.0[3]);
        for value in &mut pixel.0[..3] {
            let whole = (u32::from(*value) * 255 + alpha / 2).checked_div(alpha);
            *value = whole.unwrap_or(0).min(255) as u8;
        }
    }
}

fn mixed(a: Rgb, b: Rgb, share: f32) -> Rgba<u8> {
    let share = share.clamp(0.0, 1.0);
    let [red, green, blue] = std::array::from_fn(|channel| {
        (f32::from(a[channel]) + (f32::from(b[channel]) - f32::from(a[channel])) * share).round() as u8
    });
    Rgba([red, green, blue, 255])
}

fn ground(ground: &Ground, (width, height): (u32, u32)) -> RgbaImage {
    let place = |x: u32, y: u32| ((x as f32 + 0.5) / width as f32, (y as f32 + 0.5) / height as f32);
    RgbaImage::from_fn(width, height, |x, y| {
        let (u, v) = place(x, y);
        match *ground {
            Ground::Flat(colour) => mixed(colour, colour, 0.0),
            Ground::Slanted(from, to) => mixed(from, to, (u + v) / 2.0),
            Ground::Round { at, inner, outer } => {
                let (du, dv) = (u - at.0, v - at.1);
                mixed(inner, outer, (du * du + dv * dv).sqrt() / 0.85)
            }
            Ground::Room { wall, floor, line } => {
                let dark = |colour: Rgb| colour.map(|value| (f32::from(value) * 0.86) as u8);
                let side = (2.0 * u - 1.0).abs();
                match v < line {
                    true => mixed(wall, dark(wall), side * side),
                    false => mixed(floor, dark(floor), side * side + (v - line)),
                }
            }
        }
    })
}

/// The object's outline below it, blurred by three boxes, which is near enough to a bell curve.
fn cast(canvas: &mut RgbaImage, object: &RgbaImage, (x, y): (u32, u32), shadow: &Shadow) {
    let (width, height) = canvas.dimensions();
    let side = width.min(height) as f32;
    let down = (shadow.down * side).round() as u32;
    let radius = ((shadow.blur * side).round() as usize).max(1);
    let mut outline = vec![0.0; width as usize * height as usize];
    for (dx, dy, pixel) in object.enumerate_pixels() {
        let (x, y) = (x + dx, y + dy + down);
        if x < width && y < height {
            outline[(y * width + x) as usize] = f32::from(pixel.0[3]) / 255.0;
        }
    }
    for _ in 0..3 {
        outline = boxed(&outline, width as usize, height as usize, radius);
    }
    for (pixel, dark) in canvas.pixels_mut().zip(outline) {
        let left = 1.0 - dark * shadow.strength;
        for value in &mut pixel.0[..3] {
            *value = (f32::from(*value) * left).round() as u8;
        }
    }
}

/// One pixel over another.
pub fn lay(under: &mut Rgba<u8>, over: Rgba<u8>) {
    let [over_alpha, under_alpha] = [over.0[3], under.0[3]].map(u32::from);
    let rest = under_alpha * (255 - over_alpha);
    let alpha = 255 * over_alpha + rest;
    if alpha == 0 {
        return;
    }
    for channel in 0..3 {
        let (top, bottom) = (u32::from(over.0[channel]), u32::from(under.0[channel]));
        under.0[channel] = ((top * 255 * over_alpha + bottom * rest + alpha / 2) / alpha) as u8;
    }
    under.0[3] = ((alpha + 127) / 255) as u8;
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use image::{Luma, RgbImage};

    use super::*;

    /// A striped vase before something else, and its mask.
    fn vase() -> (DynamicImage, GrayImage) {
        let inside = |x: u32, y: u32| {
            let (u, v) = (x as f32 / 120.0 - 0.5, y as f32 / 160.0);
            (0.1..0.95).contains(&v) && u.abs() < 0.14 + 0.2 * (v * 1.4).min(1.0) * (1.0 - v)
        };
        let picture = RgbImage::from_fn(120, 160, |x, y| {
            image::Rgb(match (inside(x, y), y / 12 % 2) {
                (true, 0) => [30, 90, 160],
                (true, _) => [240, 200, 60],
                (false, _) => [0, 255, 0],
            })
        });
        let mask = GrayImage::from_fn(120, 160, |x, y| Luma([if inside(x, y) { 255 } else { 0 }]));
        (DynamicImage::ImageRgb8(picture), mask)
    }

    /// Held by pictures beside this file; `SPINDLE_SNAPSHOTS=write` makes them anew.
    #[test]
    fn each_style_looks_as_its_picture() {
        let (picture, mask) = vase();
        let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("src/vision/styles");
        for style in Style::ALL {
            let (width, height) = style.size();
            let small = (width / 10, height / 10);
            let shown = show(&picture, &mask, style, small).unwrap();
            let file = folder.join(format!("{}.png", style.name()));
            if std::env::var_os("SPINDLE_SNAPSHOTS").is_some_and(|value| value == "write") {
                std::fs::create_dir_all(&folder).unwrap();
                DynamicImage::ImageRgba8(shown.clone()).to_rgb8().save(&file).unwrap();
            }
            let held = image::open(&file).unwrap().to_rgba8();
            assert_eq!(held.dimensions(), shown.dimensions(), "{}", style.name());
            let worst = held.as_raw().iter().zip(shown.as_raw()).map(|(a, b)| a.abs_diff(*b)).max().unwrap();
            // Rounding may differ by one between processors.
            assert!(worst <= 2, "{} differs by {worst}", style.name());
            let green = shown.pixels().filter(|pixel| pixel.0[..3] == [0, 255, 0]).count();
            assert_eq!(green, 0, "{} shows what was cut away", style.name());
        }
    }

    #[test]
    fn amazons_object_fills_85_percent_before_pure_white() {
        let (picture, mask) = vase();
        let shown = show(&picture, &mask, Style::AmazonStandard, (200, 200)).unwrap();
        let rows: Vec<u32> =
            (0..200).filter(|&y| (0..200).any(|x| shown.get_pixel(x, y).0[..3] != [255, 255, 255])).collect();
        assert_eq!(rows.len(), 170);
        assert_eq!(shown.get_pixel(0, 0).0, [255; 4]);
    }

    #[test]
    fn what_is_cut_out_shines_through_and_colours_come_behind_it() {
        let (picture, mask) = vase();
        let cut = cut_out(&picture, &mask);
        assert_eq!(cut.get_pixel(0, 0).0[3], 0);
        assert_eq!(cut.get_pixel(60, 80).0[3], 255);
        let red = before(&picture, &mask, [255, 0, 0, 255]);
        assert_eq!(red.get_pixel(0, 0).0, [255, 0, 0, 255]);
        assert_eq!(red.get_pixel(60, 80).0[..3], picture.to_rgb8().get_pixel(60, 80).0);
        let nothing = GrayImage::new(120, 160);
        assert_eq!(show(&picture, &nothing, Style::Natural, (50, 50)), Err(NothingCut));
    }
}
