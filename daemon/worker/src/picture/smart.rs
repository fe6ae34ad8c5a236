//! Smart: a picture made small enough, and never larger. Numbers only.

use super::{Size, resize};

pub fn size(size: Size, side: u32) -> Size {
    if size.0.max(size.1) <= side { size } else { resize::within(size, (side, side)) }
}

#[cfg(test)]
mod tests {
    #[test]
    fn what_is_small_enough_stays_as_it_is() {
        assert_eq!(super::size((100, 100), 2_048), (100, 100));
        assert_eq!(super::size((2_048, 1), 2_048), (2_048, 1));
        assert_eq!(super::size((6_000, 4_000), 2_048), (2_048, 1_365));
        assert_eq!(super::size((4_000, 6_000), 2_048), (1_365, 2_048));
    }
}
