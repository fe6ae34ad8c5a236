//! Rates: how long each kind of work takes on this machine, learned from its own finished runs. Pure; knows no batch, no clock, no store.
//!
//! A rate is a line: so much for a run as such (a model is set up, a window is paid whole however short its speech), and so much for each unit.
//! How far single runs lie from what was expected of them is learned too, and makes a range of an estimate. Older runs count less and less.

use std::collections::{BTreeMap, BTreeSet};

use spindle_shared::limits::RATES_MAX;
use spindle_shared::stage::{Stage, Unit};
use spindle_shared::time::WallMs;

/// What a rate is of.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct RateKey {
    /// A stage's name, or [`LENGTH`].
    pub kind: String,
    /// Empty where the work is done without one.
    pub model: String,
}

/// Begins the key's kind for memory.
const MEMORY: &str = "memory of ";
/// The key's kind for how long recordings are by their bytes.
pub const LENGTH: &str = "length";

impl RateKey {
    pub fn of(stage: &Stage) -> Self {
        RateKey { kind: stage.name().to_owned(), model: stage.model().unwrap_or_default().to_owned() }
    }

    /// As it goes on a kind of graphics card; `None` = on the processor.
    pub fn on(self, kind: Option<&str>) -> Self {
        match kind {
            Some(kind) => RateKey { kind: format!("{} on {kind}", self.kind), ..self },
            None => self,
        }
    }

    /// For the memory that a run of this stage takes, in MiB.
    pub fn memory_of(stage: &Stage) -> Self {
        RateKey { kind: format!("{MEMORY}{}", stage.name()), ..RateKey::of(stage) }
    }

    /// Of how large copies become by the size of what they are made of; none where a stage makes no copy.
    pub fn copies(stage: &Stage) -> Option<Self> {
        let copies = matches!(stage, Stage::Compress(_) | Stage::Convert(_) | Stage::Preview(_) | Stage::Image(_));
        copies.then(|| RateKey {
            kind: format!("{}-size", stage.name()),
            model: stage.model().unwrap_or_default().to_owned(),
        })
    }

    pub fn length() -> Self {
        RateKey { kind: LENGTH.to_owned(), model: String::new() }
    }
}

/// Runs after which an earlier one counts 1/e.
const MEMORY_RUNS: f64 = 40.0;
/// Work below this is all the same: most of its time is the run as such. Media-seconds; KiB.
const SMALL_MEDIA: f64 = 10.0;
const SMALL_KIB: f64 = 1_024.0;
/// How much it counts that a run without work should take no time; keeps runs of one size from claiming that all is overhead.
const ORIGIN_WEIGHT: f64 = 0.02;
/// How far runs lie from what is expected of them, as a share of it, before anything is known of that; counted as so many runs.
const SPREAD_UNKNOWN: f64 = 0.25;
const SPREAD_UNKNOWN_RUNS: f64 = 2.0;
/// One run, however odd, says no more than this.
const SURPRISE_MAX: f64 = 2.0;
/// Long runs decide when all is over, and short ones vary most: an error counts by the run's length, up to this many times the mean.
const WEIGHT_MAX: f64 = 2.0;
/// Beyond these, a figure is no measurement.
const SENSIBLE: std::ops::RangeInclusive<f64> = 1e-6..=1e12;
/// A rate is known after this many runs, or after this much media in fewer.
const KNOWN_RUNS: u64 = 3;
const KNOWN_MEDIA_SECONDS: f64 = 30.0;

/// What a run's work is measured in, as numbers of a handy size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    MediaSeconds,
    Kib,
}

impl Scale {
    pub fn of(unit: Unit) -> Self {
        match unit {
            Unit::MediaSeconds => Scale::MediaSeconds,
            Unit::InputBytes | Unit::OutputBytes => Scale::Kib,
        }
    }

    /// Of work as a worker reports it.
    pub fn amount(self, work: f64) -> f64 {
        match self {
            Scale::MediaSeconds => work,
            Scale::Kib => work / 1_024.0,
        }
    }

    fn small(self) -> f64 {
        match self {
            Scale::MediaSeconds => SMALL_MEDIA,
            Scale::Kib => SMALL_KIB,
        }
    }
}

/// What `y` comes with `x`: seconds of a slot with work, or seconds of media with KiB.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Rate {
    /// Ever learned from.
    pub count: u64,
    /// As they count now, with the sums of their work and of what it came to.
    pub runs: f64,
    pub x: f64,
    pub y: f64,
    /// Sums for the line, each run weighted by 1 / (x + small)²: what is told of it is relative.
    pub w: f64,
    pub wx: f64,
    pub wy: f64,
    pub wxx: f64,
    pub wxy: f64,
    /// Runs of which something was expected, and the sum of their squared relative errors, both weighted by length.
    pub judged: f64,
    pub scatter: f64,
    pub learned_at: WallMs,
}

impl Rate {
    /// One more run. What is no number, or nothing, teaches nothing; gives whether it did.
    pub fn learn(&mut self, scale: Scale, x: f64, y: f64, at: WallMs) -> bool {
        if !(SENSIBLE.contains(&x) && SENSIBLE.contains(&y)) {
            return false;
        }
        let surprise = self.is_known(scale).then(|| (y / self.expect(scale, x) - 1.0).min(SURPRISE_MAX));
        // A short run tells little, and makes little forgotten.
        let mean = if self.runs > 0.0 { self.x / self.runs } else { x };
        let kept = (-(x / mean).min(1.0) / MEMORY_RUNS).exp();
        for sum in [
            &mut self.runs,
            &mut self.x,
            &mut self.y,
            &mut self.w,
            &mut self.wx,
            &mut self.wy,
            &mut self.wxx,
            &mut self.wxy,
            &mut self.judged,
            &mut self.scatter,
        ] {
            *sum *= kept;
        }
        let w = (x + scale.small()).powi(-2);
        self.count += 1;
        self.runs += 1.0;
        self.x += x;
        self.y += y;
        self.w += w;
        self.wx += w * x;
        self.wy += w * y;
        self.wxx += w * x * x;
        self.wxy += w * x * y;
        if let Some(surprise) = surprise {
            let weight = (x / mean).min(WEIGHT_MAX);
            self.judged += weight;
            self.scatter += weight * surprise * surprise;
        }
        self.learned_at = at;
        true
    }

    pub fn is_known(&self, scale: Scale) -> bool {
        self.count >= KNOWN_RUNS || (scale == Scale::MediaSeconds && self.x >= KNOWN_MEDIA_SECONDS)
    }

    /// What a run as such comes to, and each unit of its work.
    pub fn line(&self, scale: Scale) -> (f64, f64) {
        let w = self.w + ORIGIN_WEIGHT * scale.small().powi(-2);
        let determinant = w * self.wxx - self.wx * self.wx;
        let through_origin = (0.0, if self.wxx > 0.0 { self.wxy / self.wxx } else { 0.0 });
        if determinant <= 0.0 {
            return through_origin;
        }
        let base = (self.wxx * self.wy - self.wx * self.wxy) / determinant;
        let slope = (w * self.wxy - self.wx * self.wy) / determinant;
        match () {
            () if base < 0.0 => through_origin,
            () if slope < 0.0 => (self.wy / self.w, 0.0),
            () => (base, slope),
        }
    }

    pub fn expect(&self, scale: Scale, x: f64) -> f64 {
        let (base, slope) = self.line(scale);
        base + slope * x
    }

    /// Of a run of which nothing is known.
    pub fn mean(&self) -> f64 {
        if self.runs > 0.0 { self.y / self.runs } else { 0.0 }
    }

    /// How far a single run lies from what is expected of it, as a standard deviation, relative.
    pub fn spread(&self) -> f64 {
        spread(self.scatter, self.judged, SPREAD_UNKNOWN)
    }
}

fn spread(scatter: f64, judged: f64, unknown: f64) -> f64 {
    ((scatter + SPREAD_UNKNOWN_RUNS * unknown * unknown) / (judged + SPREAD_UNKNOWN_RUNS)).sqrt()
}

/// How one batch goes, compared with what the rates say of it: its recordings are of one kind, its options are its own, and the machine is as busy
/// as it is just now.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pace {
    /// As they count now.
    runs: f64,
    took: f64,
    expected: f64,
    judged: f64,
    scatter: f64,
}

/// The batch's last runs count; those before are forgotten.
const PACE_RUNS: f64 = 10.0;
/// How much the rates are believed against the batch's own runs, counted in runs.
pub const PACE_PRIOR_RUNS: f64 = 3.0;

impl Pace {
    /// A run took this long where so much was expected of it.
    pub fn learn(&mut self, took: f64, expected: f64) {
        if !(SENSIBLE.contains(&took) && SENSIBLE.contains(&expected)) {
            return;
        }
        let surprise = (took / (expected * self.factor(0.0, 0.0)) - 1.0).min(SURPRISE_MAX);
        let mean = if self.runs > 0.0 { self.expected / self.runs } else { expected };
        let kept = (-(expected / mean).min(1.0) / PACE_RUNS).exp();
        for sum in [&mut self.runs, &mut self.took, &mut self.expected, &mut self.judged, &mut self.scatter] {
            *sum *= kept;
        }
        let weight = (expected / mean).min(WEIGHT_MAX);
        self.runs += 1.0;
        self.took += took;
        self.expected += expected;
        self.judged += weight;
        self.scatter += weight * surprise * surprise;
    }

    /// What the rates' seconds are to be multiplied by. What runs just now counts as far as it has come.
    pub fn factor(&self, taking: f64, expecting: f64) -> f64 {
        let expected = self.expected + expecting;
        let prior = if self.runs > 0.0 { PACE_PRIOR_RUNS * self.expected / self.runs } else { expecting };
        if expected + prior > 0.0 { (self.took + taking + prior) / (expected + prior) } else { 1.0 }
    }

    pub fn runs(&self) -> f64 {
        self.runs
    }

    /// How far its single runs lie apart; `before`: what the rates say of that.
    pub fn spread(&self, before: f64) -> f64 {
        spread(self.scatter, self.judged, before)
    }
}

/// All that is learned.
#[derive(Debug, Default)]
pub struct Rates {
    rates: BTreeMap<RateKey, Rate>,
    /// Learned since they were written down.
    unwritten: BTreeSet<RateKey>,
}

/// A change to write down; `None` = forgotten.
pub type RateChange = (RateKey, Option<Rate>);

impl Rates {
    pub fn new(rates: impl IntoIterator<Item = (RateKey, Rate)>) -> Self {
        Rates { rates: rates.into_iter().collect(), unwritten: BTreeSet::new() }
    }

    /// What is known well enough to be told.
    pub fn known(&self, key: &RateKey, scale: Scale) -> Option<&Rate> {
        self.rates.get(key).filter(|rate| rate.is_known(scale))
    }

    /// Whatever is known, even from a single run.
    pub fn get(&self, key: &RateKey) -> Option<&Rate> {
        self.rates.get(key)
    }

    /// How long recordings are, by KiB.
    pub fn length(&self) -> Option<&Rate> {
        self.rates.get(&RateKey::length())
    }

    pub fn learn(&mut self, key: RateKey, scale: Scale, x: f64, y: f64, at: WallMs) {
        let known = self.rates.get(&key).copied();
        let mut rate = known.unwrap_or_default();
        if !rate.learn(scale, x, y, at) {
            return;
        }
        if known.is_none()
            && self.rates.len() >= RATES_MAX
            && let Some(oldest) =
                self.rates.iter().min_by_key(|(_, rate)| rate.learned_at).map(|(oldest, _)| oldest.clone())
        {
            self.rates.remove(&oldest);
            self.unwritten.insert(oldest);
        }
        self.rates.insert(key.clone(), rate);
        self.unwritten.insert(key);
    }

    /// What was learned since the last call.
    pub fn take_unwritten(&mut self) -> Vec<RateChange> {
        let unwritten = std::mem::take(&mut self.unwritten);
        unwritten.into_iter().map(|key| (key.clone(), self.rates.get(&key).copied())).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MEDIA: Scale = Scale::MediaSeconds;

    fn learned(runs: impl IntoIterator<Item = (f64, f64)>) -> Rate {
        let mut rate = Rate::default();
        for (x, y) in runs {
            rate.learn(MEDIA, x, y, WallMs(0));
        }
        rate
    }

    fn near(value: f64, expected: f64, share: f64) {
        assert!((value / expected - 1.0).abs() <= share, "{value} is not within {share} of {expected}");
    }

    #[test]
    fn the_line_has_what_a_run_costs_as_such_and_what_each_second_costs() {
        let rate = learned([10.0, 300.0, 40.0, 150.0, 5.0, 220.0].map(|x| (x, 1.0 + 0.1 * x)));
        near(rate.expect(MEDIA, 100.0), 11.0, 0.01);
        near(rate.expect(MEDIA, 3_600.0), 361.0, 0.02);
    }

    #[test]
    fn short_runs_alone_say_little_of_long_ones() {
        let rate = learned([5.0, 6.0, 4.5, 5.5, 7.0, 5.0, 6.5].map(|x| (x, 1.0 + 0.1 * x)));
        near(rate.expect(MEDIA, 6.0), 1.6, 0.05);
        // Somewhere between "all of it by the second" (80 s) and the truth.
        let long = rate.expect(MEDIA, 300.0);
        assert!((25.0..85.0).contains(&long), "{long}");
    }

    #[test]
    fn runs_of_one_size_are_taken_by_the_second() {
        let rate = learned([(60.0, 6.0); 5]);
        near(rate.expect(MEDIA, 60.0), 6.0, 0.02);
        near(rate.expect(MEDIA, 600.0), 60.0, 0.15);
    }

    #[test]
    fn nothing_is_known_before_three_runs_or_half_a_minute() {
        assert!(!learned([(5.0, 1.0); 2]).is_known(MEDIA));
        assert!(learned([(5.0, 1.0); 3]).is_known(MEDIA));
        assert!(learned([(31.0, 1.0); 1]).is_known(MEDIA));
        assert!(!learned([(31.0, 1.0); 1]).is_known(Scale::Kib));
    }

    #[test]
    fn what_is_no_number_teaches_nothing() {
        let mut rate = learned([(60.0, 6.0); 5]);
        let before = rate;
        for bad in [0.0, -1.0, f64::NAN, f64::INFINITY, f64::MIN_POSITIVE, f64::MAX] {
            assert!(!rate.learn(MEDIA, bad, 1.0, WallMs(9)) && !rate.learn(MEDIA, 1.0, bad, WallMs(9)));
        }
        assert_eq!(rate, before);
        for odd in [(1e-6, 1e12), (1e12, 1e-6), (1e-6, 1e-6), (1e12, 1e12)] {
            let rate = learned([(60.0, 6.0), odd, (60.0, 6.0), odd]);
            let (expected, spread) = (rate.expect(MEDIA, 60.0), rate.spread());
            assert!(expected >= 0.0 && expected.is_finite() && spread.is_finite(), "{odd:?}: {expected} ± {spread}");
        }
    }

    #[test]
    fn steady_runs_have_a_narrow_spread_and_wild_ones_a_wide_one() {
        let steady = learned((0..30).map(|n| (100.0, 10.0 + f64::from(n % 2) * 0.2)));
        let wild = learned((0..30).map(|n| (100.0, if n % 2 == 0 { 5.0 } else { 15.0 })));
        assert!(steady.spread() < 0.1, "{}", steady.spread());
        assert!(wild.spread() > 0.4, "{}", wild.spread());
    }

    #[test]
    fn an_old_pace_is_forgotten() {
        let rate = learned((0..200).map(|n| (100.0, if n < 100 { 10.0 } else { 30.0 })));
        near(rate.expect(MEDIA, 100.0), 30.0, 0.1);
    }

    #[test]
    fn a_batch_that_goes_slower_is_believed_after_few_runs() {
        let mut pace = Pace::default();
        assert_eq!(pace.factor(0.0, 0.0), 1.0);
        for _ in 0..4 {
            pace.learn(20.0, 10.0);
        }
        near(pace.factor(0.0, 0.0), 1.54, 0.01);
        // And as it goes, before it has ended.
        near(pace.factor(40.0, 20.0), 1.65, 0.01);
        pace.learn(f64::NAN, 1.0);
        pace.learn(1.0, 0.0);
        near(pace.factor(0.0, 0.0), 1.54, 0.01);
    }

    #[test]
    fn no_more_kinds_of_work_are_remembered_than_the_limit() {
        let key = |n: usize| RateKey { kind: "transcribe".to_owned(), model: n.to_string() };
        let mut rates = Rates::default();
        for n in 0..=RATES_MAX {
            rates.learn(key(n), MEDIA, 60.0, 6.0, WallMs(n as u64));
        }
        assert_eq!(rates.known(&key(0), MEDIA), None);
        assert!(rates.known(&key(1), MEDIA).is_some() && rates.known(&key(RATES_MAX), MEDIA).is_some());
        let changes = rates.take_unwritten();
        assert_eq!(changes.iter().filter(|(_, rate)| rate.is_none()).count(), 1);
        assert_eq!(changes.len(), RATES_MAX + 1);
        assert!(rates.take_unwritten().is_empty());
    }
}
