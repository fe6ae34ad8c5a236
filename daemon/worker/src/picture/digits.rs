//! Numbers written on pictures, without a font: digits and the colon of a few dots each. Knows no meaning of them.

use image::{Rgb, RgbImage};

/// Digits and the colon, five rows of three dots each, from the top.
const GLYPHS: [[u8; 5]; 11] = [
    [7, 5, 5, 5, 7],
    [2, 6, 2, 2, 7],
    [7, 1, 7, 4, 7],
    [7, 1, 7, 1, 7],
    [5, 5, 7, 1, 1],
    [7, 4, 7, 1, 7],
    [7, 4, 7, 5, 7],
    [7, 1, 1, 2, 2],
    [7, 5, 7, 5, 7],
    [7, 5, 7, 1, 7],
    [0, 2, 0, 2, 0],
];

/// White on a dark ground, in the lower right corner of the part of this size that begins at this corner; not at all where there is no room.
pub fn write(canvas: &mut RgbImage, corner: (u32, u32), size: (u32, u32), text: &str) {
    let dot = (size.1 / 90).clamp(1, 4);
    let (wide, high) = ((text.len() as u32 * 4 + 1) * dot, 7 * dot);
    if wide > size.0 || high > size.1 {
        return;
    }
    let (left, top) = (corner.0 + size.0 - wide, corner.1 + size.1 - high);
    for (x, y) in (0..wide).flat_map(|x| (0..high).map(move |y| (x, y))) {
        let (column, row) = (x / dot, y / dot);
        let lit = (1..6).contains(&row) && column % 4 != 0 && {
            let digit = text
                .as_bytes()
                .get(column as usize / 4)
                .map_or(10, |byte| usize::from(byte.wrapping_sub(b'0')).min(10));
            GLYPHS[digit][row as usize - 1] >> (3 - column % 4) & 1 == 1
        };
        let pixel = canvas.get_pixel_mut(left + x, top + y);
        *pixel = if lit { Rgb([255, 255, 255]) } else { Rgb(pixel.0.map(|value| value / 4)) };
    }
}
