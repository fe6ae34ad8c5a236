//! Upscale: a picture made larger by a whole factor. Numbers only.

use spindle_shared::limits::{PICTURE_PIXELS_MAX, PICTURE_READ_SIDE_MAX};

use super::{PictureError, Size};

pub fn size((width, height): Size, factor: u32) -> Result<Size, PictureError> {
    let side = |side: u32| side.checked_mul(factor).filter(|side| *side <= PICTURE_READ_SIDE_MAX);
    match (side(width), side(height)) {
        (Some(wide), Some(high)) if u64::from(wide) * u64::from(high) <= PICTURE_PIXELS_MAX => Ok((wide, high)),
        _ => Err(PictureError::TooLarge(format!("{width}×{height} can't be made {factor} times as large"))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn sides_are_multiplied_within_limits() {
        assert_eq!(super::size((100, 50), 4).ok(), Some((400, 200)));
        assert!(super::size((30_000, 1), 4).is_err());
        assert!(super::size((16_000, 16_000), 2).is_err());
    }
}
