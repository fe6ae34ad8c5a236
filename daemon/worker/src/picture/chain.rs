//! The operations of a picture, one after the other: what each asks for in numbers, done to the canvas. Opens nothing.

use spindle_shared::stage::image::Operation;

use super::canvas::Canvas;
use super::{PictureError, Rect, Size, crop, orient, resize, smart, upscale};

/// Does them in order, as far as none looks at the pixels.
pub fn run<'o>(canvas: &mut Canvas, operations: impl Iterator<Item = &'o Operation>) -> Result<(), PictureError> {
    for operation in operations {
        step(canvas, operation)?;
    }
    Ok(())
}

pub fn step(canvas: &mut Canvas, operation: &Operation) -> Result<(), PictureError> {
    let size = canvas.size();
    match *operation {
        Operation::Orient(turn) => match orient::by(turn) {
            Some(orientation) => canvas.turn(orientation),
            None => Ok(()),
        },
        Operation::Resize { width, height, fit, pad } => {
            let placing = resize::place(size, (width, height), fit, pad);
            canvas.resample(placing.part, placing.size)?;
            match placing.ground {
                Some((ground, corner, colour)) => canvas.lay(ground, corner, colour),
                None => Ok(()),
            }
        }
        Operation::Smart { side } => canvas.resample(Rect::whole(size), smart::size(size, side)),
        Operation::Crop { ratio, anchor } => {
            canvas.crop(crop::part(size, ratio, anchor));
            Ok(())
        }
        Operation::Upscale { factor, .. } => canvas.resample(Rect::whole(size), upscale::size(size, factor)?),
        // What it is written as is for the end; what looks at the pixels is done elsewhere.
        Operation::Convert { .. }
        | Operation::ReadText { .. }
        | Operation::RemoveText { .. }
        | Operation::Background { .. }
        | Operation::Style { .. }
        | Operation::Watermark { .. } => Ok(()),
    }
}

/// The size of a picture made so many times as large.
pub fn enlarged(size: Size, factor: u32) -> Result<Size, PictureError> {
    upscale::size(size, factor)
}

/// The share of its size that a picture needs to be decoded in, 1 = all of it, so that the first operation that makes it smaller has what it
/// asks for. `size`: as it stands upright.
pub fn scale_needed<'o>(mut size: Size, operations: impl Iterator<Item = &'o Operation>) -> f64 {
    let mut cropped = false;
    for operation in operations {
        let (part, to) = match *operation {
            Operation::Convert { .. } => continue,
            Operation::Orient(turn) => match orient::by(turn) {
                None => continue,
                // A part of a smaller picture isn't turned exactly.
                Some(_) => return 1.0,
            },
            Operation::Crop { ratio, anchor } => {
                let part = crop::part(size, ratio, anchor);
                size = (part.width as u32, part.height as u32);
                cropped = true;
                continue;
            }
            Operation::Resize { width, height, fit, pad } => {
                let placing = resize::place(size, (width, height), fit, pad);
                (placing.part, placing.size)
            }
            Operation::Smart { side } => (Rect::whole(size), smart::size(size, side)),
            Operation::Upscale { .. }
            | Operation::ReadText { .. }
            | Operation::RemoveText { .. }
            | Operation::Background { .. }
            | Operation::Style { .. }
            | Operation::Watermark { .. } => return 1.0,
        };
        if !cropped && to == size {
            // Nothing is done by it; the next one counts.
            continue;
        }
        return (f64::from(to.0) / part.width).max(f64::from(to.1) / part.height).min(1.0);
    }
    1.0
}

#[cfg(test)]
mod tests {
    use image::{DynamicImage, GenericImageView, Rgb, RgbImage};
    use spindle_shared::stage::image::parse_operations;

    use super::*;

    fn after(image: DynamicImage, operations: &str) -> DynamicImage {
        let size = (image.width(), image.height());
        let mut canvas = Canvas::new(image, size);
        run(&mut canvas, parse_operations(operations).unwrap().iter()).unwrap();
        canvas.finish().unwrap()
    }

    fn red(width: u32, height: u32) -> DynamicImage {
        RgbImage::from_pixel(width, height, Rgb([200, 10, 10])).into()
    }

    #[test]
    fn sizes_are_those_that_the_operations_say() {
        for (size, operations, expected) in [
            ((1_000, 500), "resize=800x800,contain", (800, 800)),
            ((1_000, 500), "resize=800x800,contain,pad=none", (800, 400)),
            ((1_000, 500), "resize=800x800,cover", (800, 800)),
            ((1_000, 500), "resize=800x600,fill", (800, 600)),
            ((1_000, 500), "resize=800x600,stretch", (800, 600)),
            ((1_000, 1_000), "crop=16:9", (1_000, 562)),
            ((100, 100), "smart", (100, 100)),
            ((100, 100), "smart=50", (50, 50)),
            ((100, 50), "orient=90", (50, 100)),
            ((100, 50), "orient=90;crop=1:1;upscale=2", (100, 100)),
            ((100, 50), "crop=1:1;orient=270;resize=10x20", (10, 20)),
            ((100, 50), "crop=1:1;crop=16:9;crop=9:16", (15, 28)),
            ((100, 50), "instagram", (0, 0)),
        ] {
            match parse_operations(operations) {
                Ok(_) => assert_eq!(after(red(size.0, size.1), operations).dimensions(), expected, "{operations}"),
                Err(_) => assert_eq!(expected, (0, 0)),
            }
        }
    }

    #[test]
    fn a_contained_picture_begins_at_200_and_white_is_above_it() {
        let image = after(red(1_000, 500), "resize=800x800,contain").into_rgb8();
        let white = |y: u32| *image.get_pixel(400, y) == Rgb([255, 255, 255]);
        assert!(white(0) && white(199) && !white(200) && !white(599) && white(600) && white(799));
        assert_eq!(*image.get_pixel(400, 200), Rgb([200, 10, 10]));
    }

    #[test]
    fn a_part_of_a_smaller_copy_is_the_same_part() {
        // Left half black, right half white; as if decoded at a quarter.
        let image = |width: u32, height: u32| -> DynamicImage {
            RgbImage::from_fn(width, height, |x, _| if x < width / 2 { Rgb([0; 3]) } else { Rgb([255; 3]) }).into()
        };
        let mut small = Canvas::new(image(100, 75), (400, 300));
        run(&mut small, parse_operations("crop=2:3,left;resize=20x30").unwrap().iter()).unwrap();
        let small = small.finish().unwrap();
        let large = after(image(400, 300), "crop=2:3,left;resize=20x30");
        assert_eq!(small.dimensions(), (20, 30));
        let difference = |x: u32, y: u32| small.get_pixel(x, y).0[0].abs_diff(large.get_pixel(x, y).0[0]);
        assert!((0..20).all(|x| difference(x, 15) < 40));
    }

    #[test]
    fn alpha_of_the_picture_stays_and_the_ground_is_what_was_asked_for() {
        let glass: DynamicImage = image::RgbaImage::from_pixel(100, 50, image::Rgba([10, 20, 30, 0])).into();
        let image = after(glass.clone(), "resize=100x100");
        assert_eq!((image.get_pixel(50, 0).0, image.get_pixel(50, 50).0[3]), ([255; 4], 0));
        let image = after(red(100, 50), "resize=100x100,pad=transparent");
        assert_eq!((image.get_pixel(50, 0).0[3], image.get_pixel(50, 50).0), (0, [200, 10, 10, 255]));
        let grey: DynamicImage = image::GrayImage::from_pixel(100, 50, image::Luma([90])).into();
        assert_eq!(after(grey.clone(), "resize=100x100").color(), image::ColorType::L8);
        let image = after(grey, "resize=100x100,pad=#ff0000");
        assert_eq!((image.get_pixel(0, 0).0, image.get_pixel(50, 50).0), ([255, 0, 0, 255], [90, 90, 90, 255]));
        let deep: DynamicImage = image::ImageBuffer::from_pixel(100, 50, Rgb([40_001_u16, 2, 3])).into();
        let image = after(deep, "resize=100x100;crop=1:1").into_rgb16();
        assert_eq!((image.get_pixel(0, 0).0, image.get_pixel(50, 50).0[0]), ([65_535; 3], 40_001));
    }

    #[test]
    fn what_is_needed_of_a_picture_is_known_beforehand() {
        let needed = |size, text: &str| scale_needed(size, parse_operations(text).unwrap().iter());
        assert_eq!(needed((6_000, 4_000), "resize=600x600"), 0.1);
        assert_eq!(needed((6_000, 4_000), "resize=600x600,cover"), 0.15);
        assert_eq!(needed((6_000, 4_000), "convert=png;smart=600"), 0.1);
        assert_eq!(needed((6_000, 4_000), "crop=1:1;resize=400x400"), 0.1);
        assert_eq!(needed((6_000, 4_000), "smart=8;resize=4000x4000"), 8.0 / 6_000.0);
        for text in ["convert=png", "resize=4096x4096,stretch", "orient=90;resize=8x8", "upscale=2;resize=8x8"] {
            assert_eq!(needed((600, 400), text), 1.0, "{text}");
        }
        assert_eq!(needed((100, 100), "smart;resize=50x50"), 0.5);
    }
}
