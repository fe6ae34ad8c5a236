//! A contact sheet: many pictures small beside each other, each with its number. Knows no job.

use std::fs::File;

use image::{DynamicImage, Rgb, RgbImage};
use spindle_shared::stage::image::{Fit, Operation};

use super::{PictureError, chain, colour, digits, read};

/// Pictures on one sheet.
pub const PICTURES_MAX: usize = 1_000;
const CELL: u32 = 160;
/// Between the pictures, and around them.
const GAP: u32 = 6;
const COLUMNS_MIN: u32 = 4;
const GROUND: Rgb<u8> = Rgb([24, 24, 24]);

pub struct Sheet {
    canvas: RgbImage,
    columns: u32,
    taken: u32,
}

impl Sheet {
    /// With room for so many.
    pub fn new(pictures: usize) -> Self {
        let count = pictures.clamp(1, PICTURES_MAX) as u32;
        let columns = f64::from(count).sqrt().ceil() as u32;
        let columns = columns.clamp(COLUMNS_MIN.min(count), count);
        let side = |cells: u32| cells * (CELL + GAP) + GAP;
        Sheet { canvas: RgbImage::from_pixel(side(columns), side(count.div_ceil(columns)), GROUND), columns, taken: 0 }
    }

    /// The next picture; one that can't be read leaves its place empty but for the number.
    pub fn add(&mut self, number: u32, file: &File) -> Result<(), PictureError> {
        let (column, row) = (self.taken % self.columns, self.taken / self.columns);
        self.taken += 1;
        let corner = (GAP + column * (CELL + GAP), GAP + row * (CELL + GAP));
        let small = small(file);
        if let Ok(small) = &small {
            let inside = (corner.0 + (CELL - small.width()) / 2, corner.1 + (CELL - small.height()) / 2);
            image::imageops::replace(&mut self.canvas, small, inside.0.into(), inside.1.into());
        }
        digits::write(&mut self.canvas, corner, (CELL, CELL), &number.to_string());
        small.map(|_| ())
    }

    pub fn finish(self) -> DynamicImage {
        self.canvas.into()
    }
}

fn small(file: &File) -> Result<RgbImage, PictureError> {
    let fitted = [Operation::Resize { width: CELL, height: CELL, fit: Fit::Contain, pad: None }];
    let mut picture = read(file, &|size| chain::scale_needed(size, fitted.iter()))?;
    chain::run(&mut picture.canvas, fitted.iter())?;
    Ok(colour::on_white(picture.canvas.finish()?).into_rgb8())
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    #[test]
    fn every_picture_has_its_place_and_a_broken_one_leaves_it() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"P6 2 1 255\n\xff\0\0\xff\0\0").unwrap();
        let mut sheet = Sheet::new(6);
        for number in 1..=5 {
            sheet.add(number, &file).unwrap();
        }
        assert!(sheet.add(6, &tempfile::tempfile().unwrap()).is_err());
        let sheet = sheet.finish().into_rgb8();
        assert_eq!(sheet.dimensions(), (4 * 166 + 6, 2 * 166 + 6));
        let middle = |column: u32, row: u32| sheet.get_pixel(6 + column * 166 + 80, 6 + row * 166 + 80).0;
        assert_eq!((middle(0, 0), middle(0, 1), middle(1, 1)), ([255, 0, 0], [255, 0, 0], GROUND.0));
        assert_eq!(sheet.get_pixel(86, 20), &GROUND);
    }
}
