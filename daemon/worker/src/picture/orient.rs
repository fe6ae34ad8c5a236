//! Orient: a picture turned or mirrored. Knows neither files nor what they say of their orientation.

use image::DynamicImage;
use image::metadata::Orientation;
use spindle_shared::stage::image::Turn;

/// How the pixels are moved; `None` = not at all.
pub fn by(turn: Turn) -> Option<Orientation> {
    match turn {
        Turn::Upright => None,
        Turn::Right => Some(Orientation::Rotate90),
        Turn::Around => Some(Orientation::Rotate180),
        Turn::Left => Some(Orientation::Rotate270),
        Turn::Mirror => Some(Orientation::FlipHorizontal),
        Turn::Flip => Some(Orientation::FlipVertical),
    }
}

/// Whether width and height change places.
pub fn is_on_its_side(orientation: Orientation) -> bool {
    use Orientation::{Rotate90, Rotate90FlipH, Rotate270, Rotate270FlipH};
    matches!(orientation, Rotate90 | Rotate270 | Rotate90FlipH | Rotate270FlipH)
}

pub fn turn(image: &mut DynamicImage, orientation: Orientation) {
    image.apply_orientation(orientation);
}
