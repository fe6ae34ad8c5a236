//! A picture into a file's bytes: what the target can't hold is settled first, and said. Knows no operation and no path.

use std::io::Cursor;

use image::codecs::png::PngEncoder;
use image::codecs::tiff::TiffEncoder;
use image::codecs::webp::WebPEncoder;
use image::{DynamicImage, GrayImage, ImageEncoder, ImageError};
use spindle_shared::stage::image::PictureFormat;

use super::metadata::Metadata;
use super::{PictureError, avif, colour, jpeg};
use crate::media::still;

/// Of 100, where nobody says.
const JPEG_QUALITY: u32 = 85;
const WEBP_QUALITY: u32 = 80;
const AVIF_QUALITY: u32 = 60;

/// How it is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    pub format: PictureFormat,
    pub quality: Option<u32>,
    pub lossless: bool,
}

/// The file's bytes, and what a person should know of what was lost.
pub fn write(image: DynamicImage, target: Target, metadata: &Metadata) -> Result<(Vec<u8>, Vec<String>), PictureError> {
    let mut notes = Vec::new();
    let image = fitting(image, target.format, &mut notes);
    let bytes = match target.format {
        PictureFormat::Jpeg => jpeg::write(&image, target.quality.unwrap_or(JPEG_QUALITY), metadata)?,
        PictureFormat::Png => {
            let mut bytes = Vec::new();
            let mut encoder = PngEncoder::new(&mut bytes);
            if let Some(exif) = &metadata.exif {
                // A format that can't would be another's fault; PNG can.
                let _ = encoder.set_exif_metadata(exif.clone());
            }
            encode(encoder, &image, target.format)?;
            with_xmp_in_png(bytes, metadata)
        }
        PictureFormat::Webp if target.lossless => {
            let mut bytes = Vec::new();
            encode(WebPEncoder::new_lossless(&mut bytes), &image, target.format)?;
            in_webp(bytes, &image, metadata)
        }
        PictureFormat::Webp => {
            let bytes = still::webp(&image, target.quality.unwrap_or(WEBP_QUALITY)).map_err(|e| lost(target, &e))?;
            in_webp(bytes, &image, metadata)
        }
        PictureFormat::Tiff => {
            let mut bytes = Cursor::new(Vec::new());
            encode(TiffEncoder::new(&mut bytes), &image, target.format)?;
            untold(metadata, target.format, &mut notes);
            bytes.into_inner()
        }
        PictureFormat::Avif => {
            let quality = target.quality.unwrap_or(AVIF_QUALITY);
            let coded = |image: &DynamicImage| still::av1(image, quality).map_err(|e| lost(target, &e));
            let mask = image.color().has_alpha().then(|| coded(&alpha_of(&image))).transpose()?;
            let size = (image.width(), image.height());
            let colours = coded(&DynamicImage::ImageRgb8(image.into_rgb8()))?;
            avif::file(size, colours, mask, metadata)?
        }
    };
    Ok((bytes, notes))
}

fn lost(target: Target, error: &dyn std::fmt::Display) -> PictureError {
    PictureError::Write { format: target.format.name(), reason: error.to_string() }
}

fn untold(metadata: &Metadata, format: PictureFormat, notes: &mut Vec<String>) {
    if !metadata.is_empty() {
        notes.push(format!("EXIF, XMP and IPTC were left out: they are not written into {} here", format.name()));
    }
}

fn encode(encoder: impl ImageEncoder, image: &DynamicImage, format: PictureFormat) -> Result<(), PictureError> {
    image
        .write_with_encoder(encoder)
        .map_err(|error: ImageError| PictureError::Write { format: format.name(), reason: error.to_string() })
}

/// What the format can hold of a picture.
fn fitting(image: DynamicImage, format: PictureFormat, notes: &mut Vec<String>) -> DynamicImage {
    let deep = matches!(
        image,
        DynamicImage::ImageLuma16(_)
            | DynamicImage::ImageLumaA16(_)
            | DynamicImage::ImageRgb16(_)
            | DynamicImage::ImageRgba16(_)
    );
    if deep && !matches!(format, PictureFormat::Png | PictureFormat::Tiff) {
        notes.push(format!("{} has 8 bits for a colour here: the picture had 16", format.name()));
    }
    match format {
        PictureFormat::Jpeg => match colour::on_white(image) {
            DynamicImage::ImageLuma16(grey) => DynamicImage::ImageLuma8(DynamicImage::ImageLuma16(grey).into_luma8()),
            grey @ DynamicImage::ImageLuma8(_) => grey,
            other => DynamicImage::ImageRgb8(other.into_rgb8()),
        },
        PictureFormat::Webp | PictureFormat::Avif if image.color().has_alpha() => {
            DynamicImage::ImageRgba8(image.into_rgba8())
        }
        PictureFormat::Webp | PictureFormat::Avif => DynamicImage::ImageRgb8(image.into_rgb8()),
        PictureFormat::Png => image,
        PictureFormat::Tiff => match image {
            // TIFF's encoder knows no grey with alpha.
            DynamicImage::ImageLumaA8(_) => DynamicImage::ImageRgba8(image.into_rgba8()),
            DynamicImage::ImageLumaA16(_) => DynamicImage::ImageRgba16(image.into_rgba16()),
            other => other,
        },
    }
}

/// How little shines through, as grey.
fn alpha_of(image: &DynamicImage) -> DynamicImage {
    let rgba = image.to_rgba8();
    let alpha = rgba.pixels().map(|pixel| pixel[3]).collect();
    GrayImage::from_raw(rgba.width(), rgba.height(), alpha).map_or_else(DynamicImage::default, DynamicImage::ImageLuma8)
}

/// XMP stands in a text chunk of its own name, behind the header (the extension of PNG that XMP's specification asks for).
fn with_xmp_in_png(png: Vec<u8>, metadata: &Metadata) -> Vec<u8> {
    const HEADER_END: usize = 8 + 25;
    let Some(xmp) = metadata.xmp.as_ref().filter(|_| png.len() > HEADER_END) else { return png };
    let mut chunk = b"iTXtXML:com.adobe.xmp\0\0\0\0\0".to_vec();
    chunk.extend(xmp);
    let Ok(length) = u32::try_from(chunk.len() - 4) else { return png };
    let mut file = png[..HEADER_END].to_vec();
    file.extend(length.to_be_bytes());
    file.extend(&chunk);
    file.extend(crc(&chunk).to_be_bytes());
    file.extend(&png[HEADER_END..]);
    file
}

/// PNG's check sum (ISO 3309).
fn crc(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(!0_u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| (crc >> 1) ^ (0xedb8_8320 & 0_u32.wrapping_sub(crc & 1)))
    })
}

/// WebP's extended form, where there is something to tell: a header with flags, the picture, EXIF and XMP.
fn in_webp(webp: Vec<u8>, image: &DynamicImage, metadata: &Metadata) -> Vec<u8> {
    const EXIF: u8 = 8;
    const XMP: u8 = 4;
    const ALPHA: u8 = 16;
    if metadata.exif.is_none() && metadata.xmp.is_none() {
        return webp;
    }
    let Some(mut chunks) = webp.get(12..) else { return webp };
    let mut flags = 0;
    // One that is extended already has its own header; it is made anew.
    if chunks.starts_with(b"VP8X") {
        flags |= chunks.get(8).copied().unwrap_or(0) & ALPHA;
        chunks = chunks.get(18..).unwrap_or_default();
    } else if image.color().has_alpha() {
        flags |= ALPHA;
    }
    let texts = [(EXIF, b"EXIF", &metadata.exif), (XMP, b"XMP ", &metadata.xmp)];
    let mut body = b"WEBPVP8X\x0a\0\0\0".to_vec();
    flags |= texts.iter().filter(|(_, _, text)| text.is_some()).map(|(flag, ..)| flag).sum::<u8>();
    body.extend([flags, 0, 0, 0]);
    for side in [image.width(), image.height()] {
        body.extend(&(side.max(1) - 1).to_le_bytes()[..3]);
    }
    body.extend(chunks);
    for (_, name, text) in texts {
        if let Some(text) = text
            && let Ok(length) = u32::try_from(text.len())
        {
            body.extend(name);
            body.extend(length.to_le_bytes());
            body.extend(text);
            body.extend(&[0][..text.len() % 2]);
        }
    }
    let Ok(length) = u32::try_from(body.len()) else { return webp };
    let mut file = b"RIFF".to_vec();
    file.extend(length.to_le_bytes());
    file.extend(body);
    file
}
