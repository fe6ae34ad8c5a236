//! Where each decoded frame belongs in the output: gaps become silence, overlaps are cut, broken clocks are joined. Pure:
//! knows numbers only.

/// Timestamps are rounded, some containers to 20 ms and more; nothing is cut or filled within this part of a second.
const TOLERANCE_PER_SECOND: i64 = 10;
/// After damaged packets the place is looked up again, as exactly as milliseconds allow.
const TOLERANCE_AFTER_DAMAGE_PER_SECOND: i64 = 200;
/// A leap that is longer, where nothing else in the file vouches for it, is a new clock and not a pause.
const LEAP_SECONDS: i64 = 10;
/// The longest pause believed in a file that doesn't tell its length.
const PAUSE_SECONDS_MAX: i64 = 30 * 60;

/// Counts in samples of the output, from media time 0.
pub struct Timeline {
    /// Samples of the output per second.
    output_rate: i64,
    /// Seconds per tick of the stream's timestamps.
    time_base: (i64, i64),
    zero_us: Option<i64>,
    /// Where the file says it ends.
    end: Option<i64>,
    /// The container's clock may begin anew in the middle (broadcasts, chained streams).
    clock_may_leap: bool,
    /// Added to every timestamp, since the clock leapt.
    shift: i64,
    /// The run of frames without a gap: where it began, and what was fed to it.
    run_start: i64,
    fed: i64,
    rate: i64,
    tolerance: i64,
    /// The last frame's timestamp and length.
    last: Option<(i64, i64)>,
}

/// What to do with a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// It follows what was before.
    Follow,
    /// Silence up to this sample of the output, then the frame.
    After { silence_until: u64 },
    /// Its first samples, counted at its own rate, lie before the end of what was before.
    Cut { samples: u64 },
}

/// Why a frame follows although its timestamp says otherwise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Joined {
    /// The clock leapt by so many seconds.
    Leap(f64),
    /// The clock goes on by less than half of what is heard meanwhile: it measures something else.
    SlowClock,
}

/// A frame's place.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Placed {
    pub place: Place,
    pub joined: Option<Joined>,
}

impl Timeline {
    pub fn new(
        time_base: (i32, i32),
        zero_us: Option<i64>,
        end_seconds: Option<f64>,
        clock_may_leap: bool,
        output_rate: u32,
    ) -> Self {
        let output_rate = i64::from(output_rate).max(1);
        Timeline {
            output_rate,
            time_base: (i64::from(time_base.0).max(1), i64::from(time_base.1).max(1)),
            zero_us,
            end: end_seconds.map(|seconds| (seconds * output_rate as f64) as i64),
            clock_may_leap,
            shift: 0,
            run_start: 0,
            fed: 0,
            rate: output_rate,
            tolerance: 0,
            last: None,
        }
    }

    /// Where the next frame is expected.
    pub fn position(&self) -> i64 {
        self.run_start.saturating_add(scaled(self.fed, self.output_rate, self.rate))
    }

    /// Packets were lost here: the next timestamp counts.
    pub fn damaged(&mut self) {
        self.tolerance = self.tolerance.min(self.output_rate / TOLERANCE_AFTER_DAMAGE_PER_SECOND);
    }

    /// The frames from here on have another rate or another shape.
    pub fn new_shape(&mut self, rate: u32) {
        self.run_start = self.position();
        self.fed = 0;
        self.rate = i64::from(rate).max(1);
    }

    /// Finds the place of a frame of `samples` at the shape's rate. `vouched_us`: how far another stream's clock
    /// went on meanwhile. The frame still has to be `feed`, as far as it isn't cut.
    pub fn place(&mut self, timestamp: Option<i64>, samples: u64, vouched_us: i64) -> Placed {
        let follow = Placed { place: Place::Follow, joined: None };
        let Some(stamp) = timestamp else { return follow };
        let stamp = scaled(stamp, self.time_base.0.saturating_mul(self.output_rate), self.time_base.1);
        // Nothing told where the clock begins: then this frame does.
        let zero = *self.zero_us.get_or_insert(scaled(stamp, 1_000_000, self.output_rate));
        let stamp = stamp.saturating_sub(scaled(zero, self.output_rate, 1_000_000));
        let length = scaled(i64::try_from(samples).unwrap_or(i64::MAX), self.output_rate, self.rate);
        let before = self.last.replace((stamp, length));
        let expected = self.position();
        let target = stamp.saturating_add(self.shift);
        let off = target.saturating_sub(expected);
        if off.unsigned_abs() <= self.tolerance.unsigned_abs() {
            self.tolerance = self.usual_tolerance();
            return follow;
        }
        let joined = if self.is_leap(off, target, vouched_us) {
            Some(Joined::Leap(off as f64 / self.output_rate as f64))
        } else {
            Some(Joined::SlowClock).filter(|_| off < 0 && expected > 0 && is_slow(before, stamp))
        };
        if joined.is_some() {
            self.shift = expected.saturating_sub(stamp);
            self.tolerance = self.usual_tolerance();
            return Placed { joined, ..follow };
        }
        if off > 0 {
            self.tolerance = self.usual_tolerance();
            self.run_start = target;
            self.fed = 0;
            return Placed { place: Place::After { silence_until: target.max(0) as u64 }, joined: None };
        }
        let cut = scaled(off.saturating_neg(), self.rate, self.output_rate).max(0) as u64;
        if cut < samples {
            self.tolerance = self.usual_tolerance();
        }
        Placed { place: Place::Cut { samples: cut.min(samples) }, joined: None }
    }

    /// So many samples, at the shape's rate, went into the output.
    pub fn feed(&mut self, samples: u64) {
        self.fed = self.fed.saturating_add(i64::try_from(samples).unwrap_or(i64::MAX));
    }

    fn usual_tolerance(&self) -> i64 {
        self.output_rate / TOLERANCE_PER_SECOND
    }

    fn leap(&self) -> i64 {
        LEAP_SECONDS * self.output_rate
    }

    fn is_leap(&self, off: i64, target: i64, vouched_us: i64) -> bool {
        if off.unsigned_abs() <= self.leap().unsigned_abs() {
            return false;
        }
        if off < 0 {
            // Cutting would lose more than ten seconds of speech; before the first frame it is what the edit list wants.
            return self.position() > 0;
        }
        let vouched = scaled(vouched_us, self.output_rate, 1_000_000);
        let believed = match self.end {
            Some(end) => target <= end.saturating_add(self.leap()),
            None => off <= PAUSE_SECONDS_MAX * self.output_rate,
        };
        !believed || (self.clock_may_leap && off.saturating_sub(vouched) > self.leap())
    }
}

/// Whether the clock went on, but by less than half of the frame before. A real overlap goes back once and then keeps step.
fn is_slow(before: Option<(i64, i64)>, stamp: i64) -> bool {
    before.is_some_and(|(last, length)| stamp >= last && stamp.saturating_sub(last) < length / 2)
}

/// `value * by / per`, rounded, saturating.
fn scaled(value: i64, by: i64, per: i64) -> i64 {
    let (product, per) = (i128::from(value) * i128::from(by), i128::from(per.max(1)));
    let rounded = (product + product.signum() * (per / 2)) / per;
    i64::try_from(rounded).unwrap_or(if rounded < 0 { i64::MIN } else { i64::MAX })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Timestamps in milliseconds, 8 kHz, an hour long.
    fn timeline(clock_may_leap: bool) -> Timeline {
        let mut timeline = Timeline::new((1, 1_000), Some(0), Some(3_600.0), clock_may_leap, 16_000);
        timeline.new_shape(8_000);
        timeline
    }

    fn follow(timeline: &mut Timeline, ms: i64, samples: u64) {
        let placed = timeline.place(Some(ms), samples, 0);
        assert_eq!(placed, Placed { place: Place::Follow, joined: None });
        timeline.feed(samples);
    }

    #[test]
    fn a_late_start_is_silence_and_an_early_one_is_cut_exactly() {
        let placed = timeline(false).place(Some(3), 800, 0);
        assert_eq!(placed.place, Place::After { silence_until: 48 });
        let placed = timeline(false).place(Some(-20), 800, 0);
        assert_eq!(placed.place, Place::Cut { samples: 160 });
        let placed = timeline(false).place(Some(-20_000), 800, 0);
        assert_eq!(placed.place, Place::Cut { samples: 800 });
    }

    #[test]
    fn jitter_is_ignored_and_a_gap_is_filled() {
        let mut timeline = timeline(false);
        follow(&mut timeline, 0, 8_000);
        follow(&mut timeline, 1_060, 8_000);
        follow(&mut timeline, 1_950, 8_000);
        assert_eq!(timeline.place(Some(3_500), 8_000, 0).place, Place::After { silence_until: 56_000 });
        timeline.feed(8_000);
        assert_eq!(timeline.position(), 72_000);
    }

    #[test]
    fn an_overlap_is_cut_until_it_is_over() {
        let mut timeline = timeline(false);
        follow(&mut timeline, 0, 80_000);
        assert_eq!(timeline.place(Some(8_000), 8_000, 0).place, Place::Cut { samples: 8_000 });
        assert_eq!(timeline.place(Some(9_000), 9_600, 0).place, Place::Cut { samples: 8_000 });
        timeline.feed(1_600);
        follow(&mut timeline, 10_200, 8_000);
    }

    #[test]
    fn a_clock_that_measures_something_else_costs_no_audio() {
        let mut timeline = timeline(false);
        for n in 0..100 {
            let placed = timeline.place(Some(n), 800, 0);
            assert_eq!(placed.place, Place::Follow, "{n}");
            timeline.feed(800);
        }
        assert_eq!(timeline.position(), 160_000);
    }

    #[test]
    fn after_damage_the_place_is_looked_up_again() {
        let mut timeline = timeline(false);
        follow(&mut timeline, 0, 8_000);
        timeline.damaged();
        assert_eq!(timeline.place(Some(1_023), 8_000, 0).place, Place::After { silence_until: 16_368 });
    }

    #[test]
    fn a_clock_that_begins_anew_is_joined() {
        let mut timeline = timeline(true);
        follow(&mut timeline, 0, 160_000);
        let placed = timeline.place(Some(1_000_000), 8_000, 0);
        assert_eq!(placed, Placed { place: Place::Follow, joined: Some(Joined::Leap(980.0)) });
        timeline.feed(8_000);
        follow(&mut timeline, 1_001_000, 8_000);
        let placed = timeline.place(Some(0), 8_000, 0);
        assert_eq!(placed, Placed { place: Place::Follow, joined: Some(Joined::Leap(-1_002.0)) });
    }

    #[test]
    fn a_pause_that_the_video_vouches_for_is_silence() {
        let mut timeline = timeline(true);
        follow(&mut timeline, 0, 8_000);
        let placed = timeline.place(Some(61_000), 8_000, 59_000_000);
        assert_eq!(placed.place, Place::After { silence_until: 976_000 });
    }

    #[test]
    fn a_pause_beyond_the_file_s_end_is_not_believed() {
        let mut timeline = timeline(false);
        follow(&mut timeline, 0, 8_000);
        assert_eq!(timeline.place(Some(100_000_000), 8_000, 0).place, Place::Follow);
        let mut unknown = Timeline::new((1, 1_000), Some(0), None, false, 16_000);
        unknown.new_shape(8_000);
        follow(&mut unknown, 0, 8_000);
        assert_eq!(unknown.place(Some(100_000_000), 8_000, 0).place, Place::Follow);
    }

    #[test]
    fn without_a_known_start_the_first_frame_is_the_start() {
        let mut timeline = Timeline::new((1, 1_000), None, None, false, 16_000);
        timeline.new_shape(8_000);
        follow(&mut timeline, 77_000, 8_000);
        follow(&mut timeline, 78_000, 8_000);
    }

    proptest! {
        #[test]
        fn no_timestamp_and_no_header_can_break_it(
            base in any::<(i32, i32)>(),
            zero in any::<Option<i64>>(),
            end in any::<Option<f64>>(),
            leaps in any::<bool>(),
            frames in proptest::collection::vec((any::<Option<i64>>(), 0u64..100_000, any::<i64>(), any::<u32>()), 0..20),
        ) {
            let mut timeline = Timeline::new(base, zero, end, leaps, 16_000);
            for (stamp, samples, vouched, rate) in frames {
                timeline.new_shape(rate);
                let before = timeline.position();
                let placed = timeline.place(stamp, samples, vouched);
                let cut = match placed.place {
                    Place::Follow => 0,
                    Place::After { silence_until } => {
                        prop_assert!(silence_until as i64 > before);
                        0
                    }
                    Place::Cut { samples: cut } => cut,
                };
                prop_assert!(cut <= samples);
                timeline.feed(samples - cut);
                prop_assert!(timeline.position() >= before);
            }
        }
    }
}
