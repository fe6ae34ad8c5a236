//! Resize: where a picture goes in a box. Numbers only.

use spindle_shared::stage::image::{Colour, Fit};

use super::{Rect, Size};

/// What of a picture becomes how large, and what it is laid upon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placing {
    pub part: Rect,
    pub size: Size,
    /// Size of the ground, and where on it the picture has its corner.
    pub ground: Option<(Size, (u32, u32), Colour)>,
}

pub fn place(size: Size, into: Size, fit: Fit, pad: Option<Colour>) -> Placing {
    let whole = Rect::whole(size);
    match fit {
        Fit::Fill | Fit::Stretch => Placing { part: whole, size: into, ground: None },
        Fit::Contain => {
            let fitted = within(size, into);
            let corner = ((into.0 - fitted.0) / 2, (into.1 - fitted.1) / 2);
            let ground = pad.filter(|_| fitted != into).map(|colour| (into, corner, colour));
            Placing { part: whole, size: fitted, ground }
        }
        Fit::Cover => {
            let scale = (f64::from(into.0) / whole.width).max(f64::from(into.1) / whole.height);
            let (width, height) = (f64::from(into.0) / scale, f64::from(into.1) / scale);
            let (width, height) = (width.min(whole.width), height.min(whole.height));
            let part = Rect { left: (whole.width - width) / 2.0, top: (whole.height - height) / 2.0, width, height };
            Placing { part, size: into, ground: None }
        }
    }
}

/// The largest size of these proportions in the box.
pub fn within((width, height): Size, into: Size) -> Size {
    let (wide, high) = (f64::from(width), f64::from(height));
    let scale = (f64::from(into.0) / wide).min(f64::from(into.1) / high);
    let side = |side: f64, most: u32| ((side * scale).round() as u32).clamp(1, most);
    (side(wide, into.0), side(high, into.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_contained_picture_is_in_the_middle_of_its_ground() {
        let white = Some(Colour::WHITE);
        let place = |size, into, pad| place(size, into, Fit::Contain, pad);
        let told = place((1_000, 500), (800, 800), white);
        assert_eq!((told.size, told.ground), ((800, 400), Some(((800, 800), (0, 200), Colour::WHITE))));
        let told = place((500, 1_000), (800, 800), white);
        assert_eq!((told.size, told.ground), ((400, 800), Some(((800, 800), (200, 0), Colour::WHITE))));
        assert_eq!(place((500, 1_000), (800, 800), None).ground, None);
        let told = place((10, 10), (800, 800), white);
        assert_eq!((told.size, told.ground), ((800, 800), None));
        assert_eq!(place((10_000, 1), (800, 800), white).size, (800, 1));
        assert_eq!(place((1, 1), (1, 1), white).size, (1, 1));
    }

    #[test]
    fn a_covering_picture_loses_what_stands_over() {
        let told = place((1_000, 500), (800, 800), Fit::Cover, None);
        assert_eq!(told.part, Rect { left: 250.0, top: 0.0, width: 500.0, height: 500.0 });
        assert_eq!((told.size, told.ground), ((800, 800), None));
        let told = place((1_000, 500), (800, 800), Fit::Stretch, None);
        assert_eq!((told.part, told.size), (Rect::whole((1_000, 500)), (800, 800)));
    }
}
