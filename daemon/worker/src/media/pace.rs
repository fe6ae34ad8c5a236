//! At which pace pictures go out: a rate that is never above the source's, and the place of each picture in it. Pure.

/// Frames per second as a fraction.
pub type Rate = (u32, u32);

/// Above it a stream's base rate is a clock, not a pace.
const RATE_MAX: f64 = 1_000.0;
/// Where nothing tells.
const USUAL: Rate = (25, 1);

/// The rate to write with: the source's own where it is below `limit`, else that one. `average` and `base` as the container tells
/// them, 0 where it doesn't.
pub fn rate(average: (i32, i32), base: (i32, i32), limit: Option<Rate>) -> Rate {
    let known = |(num, den): (i32, i32)| match (u32::try_from(num), u32::try_from(den)) {
        (Ok(num), Ok(den)) if num > 0 && den > 0 && per_second((num, den)) <= RATE_MAX => Some((num, den)),
        _ => None,
    };
    let own = match (known(base), known(average)) {
        // An average is short by the last frame's length, or long by a frame; the base is exact, where it isn't far too low.
        (Some(base), Some(average)) if per_second(base) < per_second(average) * 0.95 => Some(average),
        (Some(base), _) => Some(base),
        (None, average) => average,
    };
    match (own, limit) {
        (Some(own), Some(limit)) if per_second(own) > per_second(limit) => limit,
        (Some(own), _) => own,
        (None, limit) => limit.unwrap_or(USUAL),
    }
}

pub fn per_second(rate: Rate) -> f64 {
    f64::from(rate.0) / f64::from(rate.1.max(1))
}

/// Places in the output, one for each tick of its rate, counted from the first picture of the source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    /// Seconds per tick of the source's timestamps.
    pub time_base: (i32, i32),
    /// The first picture's timestamp.
    pub first: i64,
    pub rate: Rate,
}

impl Grid {
    /// The place that is nearest to a timestamp. Two pictures may have one place: then the later is shown.
    pub fn place(&self, stamp: i64) -> i64 {
        let ticks = i128::from(stamp) - i128::from(self.first);
        let (up, per) = self.ratio();
        let nearest = ticks.saturating_mul(2).saturating_mul(up).saturating_add(per).div_euclid(per.saturating_mul(2));
        i64::try_from(nearest).unwrap_or(if nearest < 0 { i64::MIN } else { i64::MAX })
    }

    /// The earliest timestamp that may have this place.
    pub fn stamp(&self, place: i64) -> i64 {
        let (up, per) = self.ratio();
        // What divides is never negative, so this rounds up.
        let twice = (2 * i128::from(place) - 1).saturating_mul(per);
        let ticks = -(twice.saturating_neg().div_euclid(up.saturating_mul(2)));
        i64::try_from(ticks.saturating_add(i128::from(self.first))).unwrap_or(if ticks < 0 {
            i64::MIN
        } else {
            i64::MAX
        })
    }

    /// Places for each tick, as a fraction.
    fn ratio(&self) -> (i128, i128) {
        let up = i128::from(self.time_base.0) * i128::from(self.rate.0);
        let per = i128::from(self.time_base.1) * i128::from(self.rate.1);
        (up.max(1), per.max(1))
    }

    /// Seconds from the first picture to a place.
    pub fn seconds(&self, places: i64) -> f64 {
        places as f64 / per_second(self.rate)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_rate_is_the_sources_or_the_limit_and_never_more_than_either() {
        for (average, base, limit, wanted) in [
            ((25, 1), (25, 1), Some((24, 1)), (24, 1)),
            ((12_475, 498), (25, 1), Some((10, 1)), (10, 1)),
            ((12_475, 498), (25, 1), Some((30, 1)), (25, 1)),
            ((24_000, 1_001), (24_000, 1_001), Some((24, 1)), (24_000, 1_001)),
            ((30_000, 1_001), (30_000, 1_001), Some((15, 1)), (15, 1)),
            // A screen that seldom changes, on a fast clock.
            ((7, 1), (60, 1), Some((24, 1)), (24, 1)),
            ((0, 0), (90_000, 1), Some((24, 1)), (24, 1)),
            ((5, 1), (90_000, 1), Some((24, 1)), (5, 1)),
            ((25, 1), (0, 1), None, (25, 1)),
            ((50, 1), (25, 1), Some((60, 1)), (50, 1)),
            ((0, 0), (0, 0), None, (25, 1)),
            ((-1, 1), (i32::MAX, 1), Some((10, 1)), (10, 1)),
        ] {
            assert_eq!(rate(average, base, limit), wanted, "{average:?} {base:?} {limit:?}");
        }
    }

    #[test]
    fn every_frame_of_an_even_source_has_its_own_place() {
        // Matroska's milliseconds, 23.976 frames a second.
        let grid = Grid { time_base: (1, 1_000), first: 7, rate: (24_000, 1_001) };
        for frame in 0..100_000i64 {
            let stamp = 7 + (frame as f64 * 1_001.0 / 24.0).round() as i64;
            assert_eq!(grid.place(stamp), frame);
        }
        assert_eq!(Grid { rate: (10, 1), ..grid }.seconds(25), 2.5);
    }

    proptest! {
        #[test]
        fn places_rise_with_stamps_and_borders_are_exact(
            first in -1_000_000..1_000_000i64,
            stamp in -1_000_000_000..1_000_000_000i64,
            step in 0..100_000i64,
            rate in (1..60_000u32, 1..2_000u32),
            base in prop_oneof![Just((1, 1_000)), Just((1, 90_000)), Just((1, 12_800)), Just((1_001, 30_000))],
        ) {
            let grid = Grid { time_base: base, first, rate };
            let place = grid.place(stamp);
            prop_assert!(grid.place(stamp + step) >= place);
            prop_assert!(grid.stamp(place) <= stamp);
            prop_assert!(grid.place(grid.stamp(place) - 1) < place);
            prop_assert_eq!(grid.place(grid.stamp(place)), place);
        }

        #[test]
        fn no_clock_can_break_it(first in any::<i64>(), stamp in any::<i64>(), rate in any::<(u32, u32)>(), base in any::<(i32, i32)>()) {
            let grid = Grid { time_base: base, first, rate };
            grid.stamp(grid.place(stamp));
        }
    }
}
