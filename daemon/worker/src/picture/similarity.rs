//! How like its original a picture looks (SSIMULACRA2, by libjxl's definition). Knows pixels and no file.

use fast_image_resize as fir;
use image::DynamicImage;
use spindle_shared::stage::image::{Fit, Operation};
use ssimulacra2::{ColorPrimaries, Rgb, TransferCharacteristic};

use super::{PictureError, Size, colour};

/// Smaller pictures have too few pixels for the measure.
const SIDE_MIN: u32 = 8;
/// Proportions may differ by what rounding to whole pixels does.
const PROPORTION: f64 = 0.01;

/// Whether both show the same: nothing was cut off, laid around, turned or stretched.
pub fn can_be_told<'o>(before: Size, after: Size, mut operations: impl Iterator<Item = &'o Operation>) -> bool {
    let whole = operations.all(|operation| match operation {
        Operation::Crop { .. } => false,
        Operation::Resize { fit: Fit::Cover, .. } => false,
        Operation::Orient(turn) => super::orient::by(*turn).is_none(),
        Operation::Background { .. } | Operation::Style { .. } | Operation::RemoveText { .. } => false,
        _ => true,
    });
    let proportion = |(width, height): Size| f64::from(width) / f64::from(height);
    let alike = (proportion(before) / proportion(after) - 1.0).abs();
    whole && alike < PROPORTION && after.0.min(after.1) >= SIDE_MIN && before.0.min(before.1) >= SIDE_MIN
}

/// 100 = the same; both are compared in the smaller one's size, on white.
pub fn of(original: DynamicImage, made: DynamicImage) -> Result<f64, PictureError> {
    let pixels = |image: &DynamicImage| u64::from(image.width()) * u64::from(image.height());
    let smaller = if pixels(&original) < pixels(&made) { &original } else { &made };
    let size = (smaller.width(), smaller.height());
    let failed = |error: &dyn std::fmt::Display| PictureError::OutOfMemory(format!("the comparison ({error})"));
    let prepared = |image: DynamicImage| -> Result<Rgb, PictureError> {
        let rgb = DynamicImage::ImageRgb8(colour::on_white(image).into_rgb8());
        let rgb = if (rgb.width(), rgb.height()) == size {
            rgb
        } else {
            let mut fitted = DynamicImage::new(size.0, size.1, rgb.color());
            fir::Resizer::new().resize(&rgb, &mut fitted, None).map_err(|error| failed(&error))?;
            fitted
        };
        let values = rgb.as_bytes().chunks_exact(3).map(|p| [p[0], p[1], p[2]].map(|value| f32::from(value) / 255.0));
        let (width, height) = (size.0 as usize, size.1 as usize);
        Rgb::new(values.collect(), width, height, TransferCharacteristic::SRGB, ColorPrimaries::BT709)
            .map_err(|error| failed(&error))
    };
    ssimulacra2::compute_frame_ssimulacra2(prepared(original)?, prepared(made)?).map_err(|error| failed(&error))
}

#[cfg(test)]
mod tests {
    use image::RgbImage;
    use spindle_shared::stage::image::parse_operations;

    use super::*;

    #[test]
    fn the_same_is_100_and_losses_cost() {
        let image = RgbImage::from_fn(96, 64, |x, y| image::Rgb([(x * 2) as u8, (y * 3) as u8, (x * y) as u8]));
        let of = |made: RgbImage| of(image.clone().into(), made.into()).unwrap();
        assert!((of(image.clone()) - 100.0).abs() < 1e-6);
        let blurred = |sigma: f32| image::imageops::blur(&image, sigma);
        assert!(of(blurred(0.6)) < 100.0 && of(blurred(2.0)) < of(blurred(0.6)));
    }

    #[test]
    fn what_shows_something_else_is_not_compared() {
        let told = |text: &str, after| can_be_told((600, 400), after, parse_operations(text).unwrap().iter());
        assert!(told("smart=300;convert=jpeg", (300, 200)));
        assert!(told("resize=301x301,pad=none", (301, 201)));
        assert!(!told("resize=300x300", (300, 300)));
        assert!(!told("crop=3:2", (600, 400)));
        assert!(!told("orient=180", (600, 400)));
        assert!(!told("resize=600x400,cover", (600, 400)));
        assert!(!told("smart=7", (7, 5)));
    }
}
