//! Pictures: read by their content, changed by operations, written. Knows no job, no queue and no path; every operation is a module of its own.
//!
//! Reading: `read` (which kind it is: `kind`; JPEG: `jpeg`; AVIF and HEIC: `heif`; L\*a\*b\*: `lab`; all others: the image crate), `colour` (profiles and CMYK to
//! sRGB), `metadata` with `exif`. Operations: `orient`, `crop`, `resize`, `smart`, `upscale` say what is to be done in numbers, [`canvas`] does
//! it to pixels, [`chain`] one after the other. Writing: `write`. Judging: [`quality`], [`similarity`].

mod avif;
pub mod canvas;
pub mod chain;
mod colour;
mod crop;
pub mod digits;
mod error;
mod exif;
mod heif;
mod jpeg;
mod kind;
mod lab;
pub mod metadata;
mod orient;
pub mod quality;
pub mod read;
mod resize;
pub mod sheet;
pub mod similarity;
mod smart;
mod upscale;
pub mod write;

pub use error::PictureError;
pub use read::{from_bytes, read};

/// Width and height in pixels.
pub type Size = (u32, u32);

/// A part of a picture, in its pixels; not always whole ones, where the picture was decoded smaller than it is.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Rect {
    pub left: f64,
    pub top: f64,
    pub width: f64,
    pub height: f64,
}

impl Rect {
    pub fn whole((width, height): Size) -> Self {
        Rect { left: 0.0, top: 0.0, width: width.into(), height: height.into() }
    }
}
