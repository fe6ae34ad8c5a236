//! Crop: the largest part of a picture that has a ratio. Numbers only.

use spindle_shared::stage::image::Anchor;

use super::{Rect, Size};

/// Whole pixels; what doesn't come out even is rounded down, but to one pixel at least.
pub fn part((width, height): Size, (wide, high): (u32, u32), anchor: Anchor) -> Rect {
    let (width64, height64) = (u64::from(width), u64::from(height));
    let (wide, high) = (u64::from(wide), u64::from(high));
    let (kept_width, kept_height) = if width64 * high > height64 * wide {
        ((height64 * wide / high).max(1), height64)
    } else {
        (width64, (width64 * high / wide).max(1))
    };
    let (over_x, over_y) = (width64 - kept_width, height64 - kept_height);
    let (left, top) = match anchor {
        Anchor::Centre => (over_x / 2, over_y / 2),
        Anchor::Top => (over_x / 2, 0),
        Anchor::Bottom => (over_x / 2, over_y),
        Anchor::Left => (0, over_y / 2),
        Anchor::Right => (over_x, over_y / 2),
    };
    Rect { left: left as f64, top: top as f64, width: kept_width as f64, height: kept_height as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_part_with_the_ratio_is_kept_where_it_is_asked_for() {
        let rect = |left: u32, top: u32, width: u32, height: u32| Rect {
            left: left.into(),
            top: top.into(),
            width: width.into(),
            height: height.into(),
        };
        for (size, ratio, anchor, kept) in [
            ((1_000, 1_000), (16, 9), Anchor::Centre, rect(0, 219, 1_000, 562)),
            ((1_000, 1_000), (16, 9), Anchor::Top, rect(0, 0, 1_000, 562)),
            ((1_000, 1_000), (16, 9), Anchor::Bottom, rect(0, 438, 1_000, 562)),
            ((1_000, 1_000), (16, 9), Anchor::Left, rect(0, 219, 1_000, 562)),
            ((1_000, 1_000), (9, 16), Anchor::Right, rect(438, 0, 562, 1_000)),
            ((1_600, 900), (16, 9), Anchor::Centre, rect(0, 0, 1_600, 900)),
            ((3, 1), (2, 3), Anchor::Centre, rect(1, 0, 1, 1)),
            ((65_535, 1), (1, 1), Anchor::Right, rect(65_534, 0, 1, 1)),
        ] {
            assert_eq!(part(size, ratio, anchor), kept, "{size:?} {ratio:?}");
        }
    }
}
