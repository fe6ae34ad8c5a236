//! TIFF in L\*a\*b\*, as scanners and prepress write it: read as if it were RGB, and then made RGB. Knows bytes and pixels, no file.
//!
//! Layouts by TIFF 6.0, section 23 (a\* and b\* signed), and TIFF Technical Note 4 (ICC L\*a\*b\*: both offset by half the range); white is D50 as in
//! print, and colours go to sRGB's D65 by Bradford's matrix.

use image::{DynamicImage, Rgb};

/// The tag `PhotometricInterpretation`, a number of 16 bits, and those of its values that matter here.
const PHOTOMETRIC: u16 = 262;
const SHORT: u16 = 3;
const RGB: u16 = 2;
const CIE_LAB: u16 = 8;
const ICC_LAB: u16 = 9;

/// X and Z of D50's white; Y is 1.
const WHITE: (f64, f64) = (0.964_22, 0.825_21);

/// How a\* and b\* are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lab {
    Signed,
    Offset,
}

/// The same file, said to be RGB, where its first picture is in L\*a\*b\*.
pub fn as_rgb(bytes: &[u8]) -> Option<(Vec<u8>, Lab)> {
    let little = match bytes.get(..4)? {
        [b'I', b'I', 42, 0] => true,
        [b'M', b'M', 0, 42] => false,
        _ => return None,
    };
    let short = |at: usize| {
        let two: [u8; 2] = bytes.get(at..at.checked_add(2)?)?.try_into().ok()?;
        Some(if little { u16::from_le_bytes(two) } else { u16::from_be_bytes(two) })
    };
    let four: [u8; 4] = bytes.get(4..8)?.try_into().ok()?;
    let directory = if little { u32::from_le_bytes(four) } else { u32::from_be_bytes(four) } as usize;
    let entries = directory.checked_add(2)?;
    let at = (0..usize::from(short(directory)?))
        .map(|entry| entries.saturating_add(12 * entry))
        .find(|at| short(*at) == Some(PHOTOMETRIC))?;
    if short(at.checked_add(2)?)? != SHORT {
        return None;
    }
    let value = at.checked_add(8)?;
    let lab = match short(value)? {
        CIE_LAB => Lab::Signed,
        ICC_LAB => Lab::Offset,
        _ => return None,
    };
    let mut bytes = bytes.to_vec();
    let rgb = if little { RGB.to_le_bytes() } else { RGB.to_be_bytes() };
    bytes.get_mut(value..value + 2)?.copy_from_slice(&rgb);
    Some((bytes, lab))
}

/// What was read as RGB and is not, as sRGB; as it is where it has other pixels than L\*a\*b\* can have.
pub fn to_srgb(image: DynamicImage, lab: Lab) -> DynamicImage {
    match image {
        DynamicImage::ImageRgb8(mut pixels) => {
            for pixel in pixels.pixels_mut() {
                let [l, a, b] = pixel.0;
                let side = |value: u8| match lab {
                    Lab::Signed => f64::from(value as i8),
                    Lab::Offset => f64::from(value) - 128.0,
                };
                let rgb = srgb(f64::from(l) / 2.55, side(a), side(b));
                *pixel = Rgb(rgb.map(|value| (value * 255.0).round() as u8));
            }
            pixels.into()
        }
        DynamicImage::ImageRgb16(mut pixels) => {
            for pixel in pixels.pixels_mut() {
                let [l, a, b] = pixel.0;
                let side = |value: u16| match lab {
                    Lab::Signed => f64::from(value as i16) / 256.0,
                    Lab::Offset => (f64::from(value) - 32_768.0) / 256.0,
                };
                let full = match lab {
                    Lab::Signed => 65_535.0,
                    Lab::Offset => 65_280.0,
                };
                let rgb = srgb(f64::from(l) / full * 100.0, side(a), side(b));
                *pixel = Rgb(rgb.map(|value| (value * 65_535.0).round() as u16));
            }
            pixels.into()
        }
        other => other,
    }
}

/// L\* 0–100, a\* and b\* about ±128; each of the three 0–1. CIE 15, and IEC 61966-2-1.
fn srgb(l: f64, a: f64, b: f64) -> [f64; 3] {
    let root = (l + 16.0) / 116.0;
    let cube = |t: f64| if t > 6.0 / 29.0 { t.powi(3) } else { (t - 4.0 / 29.0) * 3.0 * (6.0_f64 / 29.0).powi(2) };
    let (x, y, z) = (WHITE.0 * cube(root + a / 500.0), cube(root), WHITE.1 * cube(root - b / 200.0));
    // From D50, adapted: <http://www.brucelindbloom.com/index.html?Eqn_RGB_XYZ_Matrix.html>.
    [
        3.133_856_1 * x - 1.616_866_7 * y - 0.490_614_6 * z,
        -0.978_768_4 * x + 1.916_141_5 * y + 0.033_454_0 * z,
        0.071_945_3 * x - 0.228_991_4 * y + 1.405_242_7 * z,
    ]
    .map(|light| {
        let light = light.clamp(0.0, 1.0);
        if light <= 0.003_130_8 { 12.92 * light } else { 1.055 * light.powf(1.0 / 2.4) - 0.055 }
    })
}

#[cfg(test)]
mod tests {
    use image::ImageBuffer;

    use super::*;

    /// One pixel, little-endian, uncompressed.
    fn tiff(photometric: u16, pixel: [u8; 3]) -> Vec<u8> {
        let mut bytes = b"II*\0\x08\0\0\0".to_vec();
        let entries: [(u16, u16, u32, u32); 9] = [
            (256, 3, 1, 1),
            (257, 3, 1, 1),
            (258, 3, 3, 8 + 2 + 9 * 12 + 4),
            (259, 3, 1, 1),
            (262, 3, 1, photometric.into()),
            (273, 4, 1, 8 + 2 + 9 * 12 + 4 + 6),
            (277, 3, 1, 3),
            (278, 3, 1, 1),
            (279, 4, 1, 3),
        ];
        bytes.extend(9_u16.to_le_bytes());
        for (tag, kind, count, value) in entries {
            bytes.extend(tag.to_le_bytes());
            bytes.extend(kind.to_le_bytes());
            bytes.extend(count.to_le_bytes());
            bytes.extend(value.to_le_bytes());
        }
        bytes.extend([0; 4]);
        bytes.extend([8, 0, 8, 0, 8, 0]);
        bytes.extend(pixel);
        bytes
    }

    #[test]
    fn a_scan_in_lab_has_the_colours_it_means() {
        // sRGB's corners in L*a*b* of D50; in whole numbers they lie a little beside.
        for (lab, rgb) in [
            ([100.0, 0.0, 0.0], [255, 255, 255]),
            ([0.0, 0.0, 0.0], [0, 0, 0]),
            ([54.29, 80.81, 69.89], [255, 0, 0]),
            ([87.82, -79.29, 80.99], [0, 255, 0]),
            ([29.57, 68.30, -112.03], [0, 0, 255]),
            ([53.59, 0.0, 0.0], [128, 128, 128]),
        ] {
            let [l, a, b] = lab;
            let bytes = [(l * 2.55_f64).round() as u8, a.round() as i8 as u8, b.round() as i8 as u8];
            for (photometric, pixel) in [(8, bytes), (9, [bytes[0], bytes[1] ^ 128, bytes[2] ^ 128])] {
                let read = crate::picture::from_bytes(tiff(photometric, pixel)).unwrap();
                let got = read.canvas.finish().unwrap().into_rgb8().get_pixel(0, 0).0;
                assert!(
                    got.iter().zip(rgb).all(|(a, b): (&u8, u8)| a.abs_diff(b) <= 12),
                    "{lab:?}: {got:?}, not {rgb:?}"
                );
            }
        }
    }

    #[test]
    fn sixteen_bits_keep_more_than_eight() {
        let deep = ImageBuffer::from_pixel(1, 1, Rgb([32_768_u16, 300, 0]));
        let DynamicImage::ImageRgb16(made) = to_srgb(deep.into(), Lab::Signed) else { panic!("other pixels") };
        assert!(made.get_pixel(0, 0).0[0] > made.get_pixel(0, 0).0[1]);
    }

    #[test]
    fn what_is_not_in_lab_is_left_alone() {
        assert_eq!(as_rgb(&tiff(2, [1, 2, 3])), None);
        let whole = tiff(8, [1, 2, 3]);
        for length in 0..whole.len() {
            let _ = as_rgb(&whole[..length]);
        }
        assert_eq!(as_rgb(b"II*\0\xff\xff\xff\xff"), None);
        let grey = DynamicImage::new_luma8(1, 1);
        assert_eq!(to_srgb(grey.clone(), Lab::Signed), grey);
    }
}
