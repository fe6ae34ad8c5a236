//! How fast the house works, from counters that only rise: now, and over the last minutes. Knows no clock; it is told the time.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use spindle_shared::time::WallMs;
use spindle_shared::wire::response::{HouseView, WorkDone};

/// Recordings are heard in pieces of half a minute: a shorter look would jump.
const NOW: Duration = Duration::from_secs(15);
/// Jobs are counted over this time.
const MINUTE: Duration = Duration::from_secs(60);
/// Nothing is said of a shorter time.
const LEAST: Duration = Duration::from_millis(900);
/// What one bar stands for.
const BAR: Duration = Duration::from_secs(5);
/// Bars kept: ten minutes.
pub const BARS_MAX: usize = 120;

/// One counter over the last minutes.
#[derive(Debug, Default)]
struct Trend {
    samples: VecDeque<(Instant, f64)>,
    /// Where the bar begins that isn't full yet, and what was done by then.
    bar: Option<(Instant, f64)>,
    /// Per second.
    bars: VecDeque<f64>,
}

#[derive(Debug, Default)]
pub struct Pace {
    /// Whose counters these are: process and start.
    daemon: Option<(u32, WallMs)>,
    media: Trend,
    jobs: Trend,
    bytes: Trend,
}

impl Pace {
    pub fn note(&mut self, house: &HouseView, at: Instant) {
        let daemon = Some((house.pid, house.started_at));
        if self.daemon != daemon {
            // Its counters begin at nothing.
            *self = Pace { daemon, ..Pace::default() };
        }
        let WorkDone { jobs, media_seconds } = house.done;
        self.media.note(media_seconds, at);
        self.jobs.note(jobs as f64, at);
    }

    pub fn note_bytes(&mut self, bytes: f64, at: Instant) {
        if self.bytes.samples.back().is_some_and(|(_, before)| bytes < *before) {
            self.bytes = Trend::default();
        }
        self.bytes.note(bytes, at);
    }

    /// Seconds of recordings worked through per second; `None` = not known yet.
    pub fn real_time(&self) -> Option<f64> {
        self.media.per_second(NOW)
    }

    pub fn jobs_per_minute(&self) -> Option<f64> {
        Some(self.jobs.per_second(MINUTE)? * 60.0)
    }

    /// Bytes of outputs.
    pub fn bytes_per_minute(&self) -> Option<f64> {
        Some(self.bytes.per_second(MINUTE)? * 60.0)
    }

    /// × real time of the last so many spans of five seconds, oldest first; fewer where fewer are known.
    pub fn bars(&self, count: usize) -> Vec<f64> {
        self.media.last(count)
    }

    /// As [`Pace::bars`], jobs per minute.
    pub fn job_bars(&self, count: usize) -> Vec<f64> {
        self.jobs.last(count).into_iter().map(|rate| rate * 60.0).collect()
    }

    /// As [`Pace::bars`], bytes per minute.
    pub fn byte_bars(&self, count: usize) -> Vec<f64> {
        self.bytes.last(count).into_iter().map(|rate| rate * 60.0).collect()
    }
}

impl Trend {
    fn note(&mut self, value: f64, at: Instant) {
        if let Some(&(before, last)) = self.samples.back() {
            if at <= before {
                return;
            }
            self.fill_bars((before, last), (at, value));
        }
        self.bar.get_or_insert((at, value));
        self.samples.push_back((at, value));
        while self.samples.get(1).is_some_and(|(second, _)| at.duration_since(*second) >= MINUTE) {
            self.samples.pop_front();
        }
    }

    /// Between two samples the work is taken as even.
    fn fill_bars(&mut self, (before, from): (Instant, f64), (after, to): (Instant, f64)) {
        let per_second = (to - from) / after.duration_since(before).as_secs_f64();
        let Some((mut begins, mut behind)) = self.bar else { return };
        // After a long silence only the last of its bars would be kept.
        let skipped = after.duration_since(begins).as_secs() / BAR.as_secs();
        if let Some(surplus) = skipped.checked_sub(BARS_MAX as u64 + 1).filter(|surplus| *surplus > 0) {
            begins += BAR * u32::try_from(surplus).unwrap_or(u32::MAX);
            behind = from + per_second * begins.saturating_duration_since(before).as_secs_f64();
        }
        while after >= begins + BAR {
            let ends = begins + BAR;
            let by_then = from + per_second * ends.saturating_duration_since(before).as_secs_f64();
            self.bars.push_back((by_then - behind).max(0.0) / BAR.as_secs_f64());
            (begins, behind) = (ends, by_then);
        }
        let surplus = self.bars.len().saturating_sub(BARS_MAX);
        self.bars.drain(..surplus);
        self.bar = Some((begins, behind));
    }

    /// Over this time, or as much of it as is known.
    fn per_second(&self, time: Duration) -> Option<f64> {
        let &(now, after) = self.samples.back()?;
        let &(then, before) =
            self.samples.iter().rev().find(|(at, _)| now.duration_since(*at) >= time).or(self.samples.front())?;
        let between = now.duration_since(then);
        (between >= LEAST).then(|| (after - before).max(0.0) / between.as_secs_f64())
    }

    /// With the one that isn't full yet, or what is told as now could be above all that is shown.
    fn last(&self, count: usize) -> Vec<f64> {
        let bars = self.bars.iter().copied().chain(self.begun());
        bars.skip((self.bars.len() + usize::from(self.begun().is_some())).saturating_sub(count)).collect()
    }

    /// What the bar that isn't full yet would be, were it to end now.
    fn begun(&self) -> Option<f64> {
        let ((begins, behind), &(now, value)) = (self.bar?, self.samples.back()?);
        let time = now.saturating_duration_since(begins);
        (time >= LEAST).then(|| (value - behind).max(0.0) / time.as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::tests::house;

    fn view(pid: u32, jobs: u64, media_seconds: f64) -> HouseView {
        HouseView { pid, done: WorkDone { jobs, media_seconds }, ..house() }
    }

    #[test]
    fn a_rate_is_a_difference_over_the_time_between() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut pace = Pace::default();
        assert_eq!((pace.real_time(), pace.jobs_per_minute()), (None, None));
        pace.note(&view(1, 10, 1_000.0), at(0));
        assert_eq!(pace.real_time(), None, "one answer tells no rate");
        for second in 1..=10 {
            pace.note(&view(1, 10, 1_000.0 + 12.0 * second as f64), at(second));
        }
        assert_eq!(pace.real_time(), Some(12.0));
        assert_eq!(pace.bars(9), [12.0, 12.0]);
        pace.note(&view(1, 10, 1_150.0), at(12));
        assert_eq!(pace.bars(2), [12.0, 15.0], "what has begun is shown, too");
        let mut pace = Pace::default();
        for second in 0..=10 {
            pace.note(&view(1, 10, 1_000.0 + 12.0 * second as f64), at(second));
        }
        for second in 11..=60 {
            pace.note(&view(1, 10 + second / 30, 1_120.0), at(second));
        }
        assert_eq!((pace.real_time(), pace.jobs_per_minute()), (Some(0.0), Some(2.0)));
        assert_eq!(pace.bars(4), [0.0; 4]);
        pace.note(&view(2, 0, 0.0), at(61));
        assert_eq!((pace.real_time(), pace.bars(9)), (None, vec![]), "another daemon counts from nothing");
    }

    #[test]
    fn a_silence_of_any_length_is_bridged() {
        let start = Instant::now();
        let mut pace = Pace::default();
        pace.note(&view(1, 0, 0.0), start);
        pace.note(&view(1, 0, 10.0), start + Duration::from_secs(10));
        pace.note(&view(1, 0, 10.0 + 2.0 * 90_000.0), start + Duration::from_secs(90_010));
        let bars = pace.bars(usize::MAX);
        assert_eq!(bars.len(), BARS_MAX);
        assert!(bars.iter().all(|bar| (bar - 2.0).abs() < 1e-6), "{bars:?}");
        assert_eq!(pace.real_time(), Some(2.0));
        assert!(pace.media.samples.len() < 10);
    }
}
