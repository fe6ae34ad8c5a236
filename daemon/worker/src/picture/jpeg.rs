//! JPEG through libjpeg-turbo: decoded at a fraction of its size where less is needed, inks as inks, and what its segments tell. Knows no
//! operation.

use image::{DynamicImage, GrayImage, RgbImage};
use spindle_shared::limits::{JPEG_SCANS_MAX, METADATA_BYTES_MAX};
use turbojpeg::{Colorspace, Compressor, Decompressor, PixelFormat, ScalingFactor, Subsamp};

use super::metadata::Metadata;
use super::read::{Read, within_limits};
use super::{PictureError, Size, colour, exif};

const KIND: &str = "JPEG";
/// What is left for the resampling after the decoder has made a picture smaller: decoders do it less well.
const MARGIN: f64 = 1.5;

/// What the segments before the picture tell.
#[derive(Debug, Default, PartialEq, Eq)]
struct Segments {
    metadata: Metadata,
    profile: Option<Vec<u8>>,
    /// Written by Adobe's programs, or like them: inks are stored as the light that they leave.
    adobe: bool,
}

const EXIF: &[u8] = b"Exif\0\0";
const XMP: &[u8] = b"http://ns.adobe.com/xap/1.0/\0";
const PROFILE: &[u8] = b"ICC_PROFILE\0";
const PHOTOSHOP: &[u8] = b"Photoshop 3.0\0";

/// `needed`: the share of its size that is needed, for a picture of this size as it stands upright; 1 = all of it.
pub fn read(bytes: &[u8], needed: &dyn Fn(Size) -> f64) -> Result<Read, PictureError> {
    let damaged = |reason: String| PictureError::Damaged { kind: KIND, reason };
    let failed = |error: turbojpeg::Error| damaged(told(&error));
    let Segments { metadata, profile, adobe } = segments(bytes);
    let mut decoder = Decompressor::new().map_err(failed)?;
    decoder.set_scan_limit(JPEG_SCANS_MAX).map_err(failed)?;
    let header = decoder.read_header(bytes).map_err(failed)?;
    let side = |side: usize| u32::try_from(side).unwrap_or(u32::MAX);
    let stored = (side(header.width), side(header.height));
    let orientation = metadata.exif.as_deref().and_then(exif::orientation).unwrap_or(1);
    let upright = if orientation >= 5 { (stored.1, stored.0) } else { stored };
    let (format, channels) = match header.colorspace {
        Colorspace::Gray => (PixelFormat::GRAY, 1),
        Colorspace::CMYK | Colorspace::YCCK => (PixelFormat::CMYK, 4),
        _ => (PixelFormat::RGB, 3),
    };
    let eighths = if header.is_lossless { 8 } else { eighths(needed(upright)) };
    let scale = ScalingFactor::new(eighths, 8);
    let (width, height) = (scale.scale(header.width), scale.scale(header.height));
    // A progressive one is held whole, as coefficients of two bytes.
    let beside =
        if header.is_progressive { header.width as u64 * header.height as u64 * 2 * channels as u64 } else { 0 };
    within_limits(stored, width as u64 * height as u64 * channels as u64 + beside)?;
    decoder.set_scaling_factor(scale).map_err(failed)?;
    let mut pixels = vec![0; width * height * channels];
    let output = turbojpeg::Image { pixels: &mut pixels[..], width, pitch: width * channels, height, format };
    let mut notes = Vec::new();
    if let Err(error) = decoder.decompress(bytes, output) {
        let reason = told(&error);
        if !is_harmless(&reason) {
            return Err(damaged(reason));
        }
        notes.push(format!("the file is odd, and its picture is whole: {reason}"));
    }
    let (width, height) = (side(width), side(height));
    let missing = || PictureError::OutOfMemory(format!("{width}×{height} pixels"));
    let pixels: DynamicImage = match format {
        PixelFormat::GRAY => GrayImage::from_raw(width, height, pixels).ok_or_else(missing)?.into(),
        PixelFormat::CMYK => {
            if adobe {
                pixels.iter_mut().for_each(|ink| *ink = 255 - *ink);
            }
            let (image, remark) = colour::of_inks(&pixels, (width, height), profile.as_deref())?;
            notes.extend(remark);
            image
        }
        _ => RgbImage::from_raw(width, height, pixels).ok_or_else(missing)?.into(),
    };
    let profile = profile.filter(|_| channels < 4);
    Ok(Read { pixels, stored, orientation, metadata, profile, notes })
}

/// Eighths of its size to decode a picture in; only those for which the decoder has quick ways.
fn eighths(needed: f64) -> usize {
    [1, 2, 4].into_iter().find(|eighths| *eighths as f64 / 8.0 >= needed * MARGIN).unwrap_or(8)
}

fn told(error: &turbojpeg::Error) -> String {
    match error {
        turbojpeg::Error::TurboJpegError(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Warnings of the decoder after which every pixel is there.
fn is_harmless(reason: &str) -> bool {
    [
        "extraneous bytes before marker",
        "Unknown Adobe color transform",
        "thumbnail",
        "Inconsistent progression sequence",
    ]
    .iter()
    .any(|known| reason.contains(known))
}

fn segments(bytes: &[u8]) -> Segments {
    let mut found = Segments::default();
    let mut parts: Vec<(u8, &[u8])> = Vec::new();
    let mut at = 2;
    while let Some(rest) = bytes.get(at..) {
        let Some(marker_at) = rest.iter().position(|byte| *byte == 0xff) else { break };
        let Some(marker) = rest.get(marker_at + 1) else { break };
        at += marker_at + 1;
        match marker {
            // Filling, or no marker at all.
            0xff => continue,
            0x00 | 0x01 | 0xd0..=0xd8 => {
                at += 1;
                continue;
            }
            // The picture itself, or the end.
            0xd9 | 0xda => break,
            _ => {}
        }
        let length = match bytes.get(at + 1..at + 3) {
            Some(two) => usize::from(u16::from_be_bytes([two[0], two[1]])),
            None => break,
        };
        let Some(body) = bytes.get(at + 3..at + 1 + length.max(2)) else { break };
        match marker {
            0xe1 => {
                if let Some(exif) = body.strip_prefix(EXIF) {
                    found.metadata.exif.get_or_insert_with(|| exif.to_vec());
                } else if let Some(xmp) = body.strip_prefix(XMP) {
                    found.metadata.xmp.get_or_insert_with(|| xmp.to_vec());
                }
            }
            0xe2 => {
                if let Some([nth, _, part @ ..]) = body.strip_prefix(PROFILE) {
                    parts.push((*nth, part));
                }
            }
            0xed => {
                if let Some(resources) = body.strip_prefix(PHOTOSHOP) {
                    found.metadata.iptc.get_or_insert_with(|| resources.to_vec());
                }
            }
            0xee => found.adobe |= body.starts_with(b"Adobe"),
            _ => {}
        }
        at += 1 + length.max(2);
    }
    parts.sort_by_key(|(nth, _)| *nth);
    let profile: Vec<u8> = parts.into_iter().flat_map(|(_, part)| part).copied().collect();
    found.profile = Some(profile).filter(|profile| !profile.is_empty() && profile.len() <= METADATA_BYTES_MAX);
    found
}

/// A picture without transparency, of 8 bits.
pub fn write(image: &DynamicImage, quality: u32, metadata: &Metadata) -> Result<Vec<u8>, PictureError> {
    let failed = |error: turbojpeg::Error| PictureError::Write { format: KIND, reason: told(&error) };
    let (width, height) = (image.width() as usize, image.height() as usize);
    let (format, channels, subsamp) = match image {
        DynamicImage::ImageLuma8(_) => (PixelFormat::GRAY, 1, Subsamp::Gray),
        // Who asks for the best asks for all of the colours, too.
        _ if quality >= 90 => (PixelFormat::RGB, 3, Subsamp::None),
        _ => (PixelFormat::RGB, 3, Subsamp::Sub2x2),
    };
    let mut encoder = Compressor::new().map_err(failed)?;
    encoder.set_quality(quality as i32).map_err(failed)?;
    encoder.set_subsamp(subsamp).map_err(failed)?;
    encoder.set_optimize(true).map_err(failed)?;
    let pixels = turbojpeg::Image { pixels: image.as_bytes(), width, pitch: width * channels, height, format };
    let jpeg = encoder.compress_to_vec(pixels).map_err(failed)?;
    Ok(with_segments(&jpeg, metadata))
}

/// The file with what it tells, behind its first marker and the JFIF header.
fn with_segments(jpeg: &[u8], metadata: &Metadata) -> Vec<u8> {
    let mut at = 2;
    if jpeg.get(2..4) == Some(&[0xff, 0xe0])
        && let Some(length) = jpeg.get(4..6)
    {
        at += 2 + usize::from(u16::from_be_bytes([length[0], length[1]]));
    }
    let at = at.min(jpeg.len());
    let mut file = jpeg[..at].to_vec();
    let texts = [(0xe1, EXIF, &metadata.exif), (0xe1, XMP, &metadata.xmp), (0xed, PHOTOSHOP, &metadata.iptc)];
    for (marker, prefix, body) in texts {
        // A segment holds 64 KiB; what is longer was several, which nobody but its own program puts together.
        if let Some(body) = body
            && let Ok(length) = u16::try_from(2 + prefix.len() + body.len())
        {
            file.extend([0xff, marker]);
            file.extend(length.to_be_bytes());
            file.extend(prefix);
            file.extend(body);
        }
    }
    file.extend(&jpeg[at..]);
    file
}

#[cfg(test)]
mod tests {
    use super::*;

    fn photo(width: u32, height: u32) -> DynamicImage {
        RgbImage::from_fn(width, height, |x, y| image::Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 90]))
            .into()
    }

    #[test]
    fn what_is_written_is_read_with_all_that_it_tells() {
        let metadata = Metadata {
            exif: Some(b"II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0".to_vec()),
            xmp: Some(b"<x/>".to_vec()),
            iptc: Some(b"8BIM".to_vec()),
        };
        let jpeg = write(&photo(64, 48), 95, &metadata).unwrap();
        let read = read(&jpeg, &|_| 1.0).unwrap();
        assert_eq!((read.metadata, read.orientation, read.stored), (metadata, 6, (64, 48)));
        let (one, other) = (read.pixels.into_rgb8(), photo(64, 48).into_rgb8());
        assert!(one.as_raw().iter().zip(other.as_raw()).all(|(a, b)| a.abs_diff(*b) < 8));
    }

    #[test]
    fn only_as_much_is_decoded_as_is_needed() {
        let jpeg = write(&photo(801, 600), 90, &Metadata::default()).unwrap();
        let size = |needed: f64| {
            let read = read(&jpeg, &|_| needed).unwrap();
            (read.pixels.width(), read.pixels.height())
        };
        assert_eq!(size(0.05), (101, 75));
        assert_eq!(size(0.1), (201, 150));
        assert_eq!(size(0.3), (401, 300));
        assert_eq!(size(0.5), (801, 600));
    }

    #[test]
    fn one_that_is_cut_off_is_told() {
        let jpeg = write(&photo(200, 200), 90, &Metadata::default()).unwrap();
        for cut in [3, 30, 600, jpeg.len() / 2, jpeg.len() - 20] {
            let error = read(&jpeg[..cut], &|_| 1.0).map(|_| ()).unwrap_err();
            assert!(error.to_string().contains("damaged or cut off"), "{cut}: {error}");
        }
    }
}
