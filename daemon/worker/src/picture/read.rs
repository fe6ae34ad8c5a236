//! A picture out of a file's bytes: by its content, within limits, in sRGB. Knows no operation and no path.

use std::fs::File;
use std::io::Cursor;
use std::os::unix::fs::FileExt;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageError, ImageFormat, ImageReader, Limits};
use spindle_shared::limits::{PICTURE_BYTES_MAX, PICTURE_FILE_BYTES_MAX, PICTURE_PIXELS_MAX, PICTURE_READ_SIDE_MAX};

use super::canvas::Canvas;
use super::kind::{self, Kind};
use super::metadata::Metadata;
use super::{PictureError, Size, colour, heif, jpeg, lab, orient};

/// What came out of a file, as it is stored there.
pub struct Read {
    /// Perhaps fewer than the picture has, where fewer were needed.
    pub pixels: DynamicImage,
    /// Size of the picture as it is stored.
    pub stored: Size,
    /// How it is to be turned to stand upright, 1–8 as EXIF has it.
    pub orientation: u8,
    pub metadata: Metadata,
    /// Its colour profile.
    pub profile: Option<Vec<u8>>,
    /// What a person should know of it.
    pub notes: Vec<String>,
}

/// A picture that stands upright, in sRGB.
pub struct Picture {
    pub kind: Kind,
    pub canvas: Canvas,
    /// Upright.
    pub size: Size,
    pub metadata: Metadata,
    pub notes: Vec<String>,
}

/// `needed`: the share of its size that is needed, for a picture of this size as it stands upright; 1 = all of it.
pub fn read(file: &File, needed: &dyn Fn(Size) -> f64) -> Result<Picture, PictureError> {
    let length = file.metadata().map_err(PictureError::Read)?.len();
    if length == 0 {
        return Err(PictureError::Empty);
    }
    let mut head = [0; 64];
    let got = file.read_at(&mut head, 0).map_err(PictureError::Read)?;
    let kind = kind::of(&head[..got])?;
    if length > PICTURE_FILE_BYTES_MAX {
        let most = PICTURE_FILE_BYTES_MAX >> 20;
        return Err(PictureError::TooLarge(format!("its {} MiB are more than {most} for one picture", length >> 20)));
    }
    let mut bytes = vec![0; length as usize];
    file.read_exact_at(&mut bytes, 0).map_err(PictureError::Read)?;
    decode(kind, bytes, needed)
}

/// One that was just written.
pub fn from_bytes(bytes: Vec<u8>) -> Result<Picture, PictureError> {
    decode(kind::of(&bytes)?, bytes, &|_| 1.0)
}

fn decode(kind: Kind, bytes: Vec<u8>, needed: &dyn Fn(Size) -> f64) -> Result<Picture, PictureError> {
    let read = match kind {
        Kind::Jpeg => jpeg::read(&bytes, needed)?,
        Kind::Avif | Kind::Heic => heif::read(kind, &bytes)?,
        Kind::Tiff => tiff(&bytes)?,
        other => by_the_image_crate(other, &bytes)?,
    };
    let more = kind::has_more(kind, &bytes);
    drop(bytes);
    let Read { pixels, stored, orientation, metadata, profile, mut notes } = read;
    if more {
        notes.push("there is more than one picture in the file: the first was taken".to_owned());
    }
    let mut pixels = settled(pixels);
    if let Some(profile) = profile {
        let (image, remark) = colour::by_profile(pixels, &profile);
        pixels = image;
        notes.extend(remark);
    }
    let mut size = stored;
    if let Some(turn) = Orientation::from_exif(orientation).filter(|turn| *turn != Orientation::NoTransforms) {
        orient::turn(&mut pixels, turn);
        if orient::is_on_its_side(turn) {
            size = (size.1, size.0);
        }
    }
    Ok(Picture { kind, canvas: Canvas::new(pixels, size), size, metadata, notes })
}

/// What a picture says of itself is checked before it gets any memory.
pub fn within_limits((width, height): Size, bytes: u64) -> Result<(), PictureError> {
    if width == 0 || height == 0 {
        return Err(PictureError::NotRead(format!("it has no pixels: it says that it is {width}×{height}")));
    }
    let large = |most: String| Err(PictureError::TooLarge(format!("it says that it is {width}×{height}: {most}")));
    if width > PICTURE_READ_SIDE_MAX || height > PICTURE_READ_SIDE_MAX {
        return large(format!("a side may have {PICTURE_READ_SIDE_MAX} pixels at most"));
    }
    if u64::from(width) * u64::from(height) > PICTURE_PIXELS_MAX {
        return large(format!("{} megapixels are the most", PICTURE_PIXELS_MAX / 1_000_000));
    }
    if bytes > PICTURE_BYTES_MAX {
        return large(format!("it would take {} MiB of memory, more than {}", bytes >> 20, PICTURE_BYTES_MAX >> 20));
    }
    Ok(())
}

fn tiff(bytes: &[u8]) -> Result<Read, PictureError> {
    let Some((rgb, how)) = lab::as_rgb(bytes) else { return by_the_image_crate(Kind::Tiff, bytes) };
    let read = by_the_image_crate(Kind::Tiff, &rgb)?;
    // A profile there says nothing that L*a*b* doesn't.
    Ok(Read { pixels: lab::to_srgb(read.pixels, how), profile: None, ..read })
}

fn by_the_image_crate(kind: Kind, bytes: &[u8]) -> Result<Read, PictureError> {
    let format = match kind {
        Kind::Png => ImageFormat::Png,
        Kind::Gif => ImageFormat::Gif,
        Kind::Webp => ImageFormat::WebP,
        Kind::Bmp => ImageFormat::Bmp,
        Kind::Tiff => ImageFormat::Tiff,
        Kind::Ico => ImageFormat::Ico,
        Kind::Pnm => ImageFormat::Pnm,
        Kind::Hdr => ImageFormat::Hdr,
        Kind::Exr => ImageFormat::OpenExr,
        Kind::Jpeg | Kind::Avif | Kind::Heic => return Err(PictureError::NotRead("read elsewhere".to_owned())),
    };
    let failed = |error: ImageError| failure(kind, error);
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::no_limits();
    limits.max_image_width = Some(PICTURE_READ_SIDE_MAX);
    limits.max_image_height = Some(PICTURE_READ_SIDE_MAX);
    limits.max_alloc = Some(PICTURE_BYTES_MAX);
    reader.limits(limits);
    let mut decoder = reader.into_decoder().map_err(failed)?;
    let stored = decoder.dimensions();
    within_limits(stored, decoder.total_bytes())?;
    // None of these is worth failing for.
    let metadata = Metadata {
        exif: decoder.exif_metadata().ok().flatten(),
        xmp: decoder.xmp_metadata().ok().flatten(),
        iptc: None,
    };
    let orientation = decoder.orientation().map_or(1, Orientation::to_exif);
    let profile = decoder.icc_profile().ok().flatten().filter(|profile| !of_inks(profile));
    let pixels = DynamicImage::from_decoder(decoder).map_err(failed)?;
    Ok(Read { pixels, stored, orientation, metadata, profile, notes: Vec::new() })
}

/// The decoder has made RGB of inks already; their profile says nothing of that.
fn of_inks(profile: &[u8]) -> bool {
    profile.get(16..20) == Some(b"CMYK")
}

/// Pixels of the eight layouts that everything here knows.
fn settled(image: DynamicImage) -> DynamicImage {
    match image {
        DynamicImage::ImageRgb32F(_) | DynamicImage::ImageRgba32F(_) => colour::of_light(image),
        other => other,
    }
}

fn failure(kind: Kind, error: ImageError) -> PictureError {
    let kind = kind.name();
    match error {
        ImageError::Unsupported(error) => PictureError::NotRead(format!("this {kind} isn't read here: {error}")),
        ImageError::Limits(error) => match error.kind() {
            image::error::LimitErrorKind::DimensionError => {
                PictureError::TooLarge(format!("a side of it has more than {PICTURE_READ_SIDE_MAX} pixels"))
            }
            _ => PictureError::TooLarge(format!("it would take more than {} MiB of memory", PICTURE_BYTES_MAX >> 20)),
        },
        other => PictureError::Damaged { kind, reason: other.to_string() },
    }
}
