//! Alerts: rules over how the house stands, with the time each must hold before somebody is told. Pure: the clock and the facts come from outside.
//!
//! A rule fires once, when what it watches has held without a break for its time, and is over as soon as it no longer holds. The same rules
//! stand in packaging/prometheus/spindle.rules.yml.

use std::collections::{BTreeMap, VecDeque};

use spindle_shared::time::MonoMs;

/// The failures of so long a time are counted together.
const WINDOW_MS: u64 = 300_000;
/// Looks that are remembered of it.
const LOOKS_MAX: usize = 600;

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rule {
    /// Too many jobs fail.
    Failures,
    /// Work is there and no process to do it.
    NoWorkers,
    /// More jobs wait than should.
    Queue,
    /// The queue can't be read or written.
    Store,
    /// Something outside is out of order, and work waits for it.
    OutOfOrder,
}

impl Rule {
    pub const ALL: [Rule; 5] = [Rule::Failures, Rule::NoWorkers, Rule::Queue, Rule::Store, Rule::OutOfOrder];

    /// For people, metrics and scripts; stays as it is.
    pub fn name(self) -> &'static str {
        match self {
            Rule::Failures => "failures",
            Rule::NoWorkers => "no_workers",
            Rule::Queue => "queue",
            Rule::Store => "store",
            Rule::OutOfOrder => "out_of_order",
        }
    }
}

/// When each rule fires.
#[derive(Debug, Clone, PartialEq)]
pub struct Thresholds {
    /// Share of failed jobs, 0–1; more fires.
    pub failures: f64,
    /// With fewer jobs ended in five minutes a share says nothing.
    pub failures_jobs: u32,
    pub failures_ms: u64,
    pub no_workers_ms: u64,
    /// Jobs that wait; more fires.
    pub queue: u32,
    pub queue_ms: u64,
    pub store_ms: u64,
    pub out_of_order_ms: u64,
}

impl Default for Thresholds {
    fn default() -> Self {
        const MINUTE: u64 = 60_000;
        Thresholds {
            failures: 0.1,
            failures_jobs: 10,
            failures_ms: 5 * MINUTE,
            no_workers_ms: MINUTE,
            queue: 100,
            queue_ms: 10 * MINUTE,
            store_ms: MINUTE,
            out_of_order_ms: 5 * MINUTE,
        }
    }
}

impl Thresholds {
    fn holds_ms(&self, rule: Rule) -> u64 {
        match rule {
            Rule::Failures => self.failures_ms,
            Rule::NoWorkers => self.no_workers_ms,
            Rule::Queue => self.queue_ms,
            Rule::Store => self.store_ms,
            Rule::OutOfOrder => self.out_of_order_ms,
        }
    }
}

/// How the scheduler stands, as far as alerts go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Vitals {
    /// Jobs that could begin, and wait for a place.
    pub queue: u32,
    /// Runs under way.
    pub runs: u32,
    /// Things outside that are out of order, with work waiting for them.
    pub closed: u32,
    /// Paused, draining or stopping.
    pub halted: bool,
    /// Jobs that ended since the daemon's start, those that were skipped or cancelled not among them; and those that failed.
    pub ended: u64,
    pub failed: u64,
}

/// What one look has found. Without `vitals` the scheduler didn't answer, which is the store's fault: it waits for nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Facts {
    pub vitals: Option<Vitals>,
    pub workers: u32,
    pub store_is_usable: bool,
}

/// A rule has begun to hold for its time, or holds no more.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    pub rule: Rule,
    pub fires: bool,
    pub text: String,
}

#[derive(Debug)]
pub struct Alerts {
    thresholds: Thresholds,
    /// Since when a rule's condition holds.
    since: BTreeMap<Rule, MonoMs>,
    /// Those that were told, with what was said last.
    firing: BTreeMap<Rule, String>,
    /// When, ended and failed jobs until then; the oldest at the front is the last from before the window.
    looks: VecDeque<(MonoMs, u64, u64)>,
    last: Option<Vitals>,
}

impl Alerts {
    pub fn new(thresholds: Thresholds) -> Self {
        Alerts { thresholds, since: BTreeMap::new(), firing: BTreeMap::new(), looks: VecDeque::new(), last: None }
    }

    /// What fires goes on firing by the new rules; nothing that has held so far begins anew.
    pub fn set(&mut self, thresholds: Thresholds) {
        self.thresholds = thresholds;
    }

    pub fn firing(&self) -> impl Iterator<Item = (Rule, &str)> {
        self.firing.iter().map(|(rule, text)| (*rule, text.as_str()))
    }

    /// Takes a look in, and gives what turns with it.
    pub fn look(&mut self, now: MonoMs, facts: &Facts) -> Vec<Turn> {
        if let Some(vitals) = facts.vitals {
            self.remember(now, vitals);
        }
        let turns = Rule::ALL.into_iter().filter_map(|rule| {
            let Some(text) = self.finds(rule, facts) else {
                self.since.remove(&rule);
                self.firing.remove(&rule)?;
                return Some(Turn { rule, fires: false, text: "it is over".to_owned() });
            };
            let since = *self.since.entry(rule).or_insert(now);
            if now.since(since) < self.thresholds.holds_ms(rule) {
                return None;
            }
            match self.firing.insert(rule, text.clone()) {
                Some(_) => None,
                None => Some(Turn { rule, fires: true, text }),
            }
        });
        turns.collect()
    }

    fn remember(&mut self, now: MonoMs, vitals: Vitals) {
        self.last = Some(vitals);
        // A rate needs no finer steps than these.
        let step = WINDOW_MS / LOOKS_MAX as u64;
        if self.looks.back().is_none_or(|(at, ..)| now.since(*at) >= step) {
            self.looks.push_back((now, vitals.ended, vitals.failed));
        }
        while self.looks.get(1).is_some_and(|(at, ..)| now.since(*at) >= WINDOW_MS) {
            self.looks.pop_front();
        }
    }

    /// What the rule finds, in words; `None` = all is well.
    fn finds(&self, rule: Rule, facts: &Facts) -> Option<String> {
        // Of a scheduler that doesn't answer, what it said last.
        let vitals = self.last.unwrap_or_default();
        match rule {
            Rule::Failures => {
                let (_, ended, failed) = *self.looks.front()?;
                let (ended, failed) = (vitals.ended.saturating_sub(ended), vitals.failed.saturating_sub(failed));
                let enough = ended >= u64::from(self.thresholds.failures_jobs.max(1));
                let share = failed as f64 / ended.max(1) as f64;
                (enough && share > self.thresholds.failures).then(|| {
                    format!("{failed} of the {ended} jobs that ended in the last five minutes failed: `spindlectl failures` has the causes")
                })
            }
            Rule::NoWorkers => (facts.workers == 0 && !vitals.halted && vitals.queue + vitals.runs > 0).then(|| {
                let waiting = vitals.queue + vitals.runs;
                format!("{waiting} jobs could go on and no worker process is there: the log says why none starts")
            }),
            Rule::Queue => (vitals.queue > self.thresholds.queue)
                .then(|| format!("{} jobs wait, which is more than {}", vitals.queue, self.thresholds.queue)),
            Rule::Store => (!facts.store_is_usable || facts.vitals.is_none())
                .then(|| "the queue can't be read or written: look at its disk".to_owned()),
            Rule::OutOfOrder => (vitals.closed > 0).then(|| {
                format!("{} things that work waits for are out of order: `spindlectl lanes` names them", vitals.closed)
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: u64 = 1_000;

    /// Looks once a second, as the daemon does.
    struct Watch {
        alerts: Alerts,
        now: u64,
        told: Vec<(u64, Rule, bool)>,
    }

    impl Watch {
        fn new() -> Self {
            Watch { alerts: Alerts::new(Thresholds::default()), now: 0, told: Vec::new() }
        }

        fn well() -> Facts {
            Facts { vitals: Some(Vitals::default()), workers: 1, store_is_usable: true }
        }

        /// For so many seconds; `facts` gets the second.
        fn look(&mut self, seconds: u64, facts: impl Fn(u64) -> Facts) {
            for _ in 0..=seconds {
                for turn in self.alerts.look(MonoMs(self.now), &facts(self.now / SECOND)) {
                    self.told.push((self.now / SECOND, turn.rule, turn.fires));
                }
                self.now += SECOND;
            }
        }
    }

    /// A hundred jobs a minute, of which so many in a hundred fail, from then on.
    fn failing(percent: u64) -> impl Fn(u64) -> Facts {
        move |second| {
            let ended = second * 100 / 60;
            Facts {
                vitals: Some(Vitals { ended, failed: ended * percent / 100, ..Vitals::default() }),
                ..Watch::well()
            }
        }
    }

    #[test]
    fn eleven_percent_failing_for_five_minutes_fires_once_and_clears() {
        let mut watch = Watch::new();
        watch.look(5 * 60 - 1, failing(11));
        assert_eq!(watch.told, [], "not before five minutes");
        watch.look(20 * 60, failing(11));
        assert_eq!(watch.told.len(), 1, "{:?}", watch.told);
        let (at, rule, fires) = watch.told[0];
        // The share is above the tenth once ten jobs have ended and the first of them is counted as failed.
        assert!((5 * 60..6 * 60).contains(&at) && rule == Rule::Failures && fires, "{:?}", watch.told);
        assert_eq!(watch.alerts.firing().count(), 1);
        // From now on all goes well.
        let (ended, failed) = (watch.now / SECOND * 100 / 60, watch.now / SECOND * 100 / 60 * 11 / 100);
        let since = watch.now / SECOND;
        watch.look(10 * 60, move |second| {
            let vitals = Vitals { ended: ended + (second - since) * 100 / 60, failed, ..Vitals::default() };
            Facts { vitals: Some(vitals), ..Watch::well() }
        });
        assert_eq!(watch.told.len(), 2, "{:?}", watch.told);
        assert!(!watch.told[1].2 && watch.alerts.firing().count() == 0);
    }

    #[test]
    fn nine_percent_failing_never_fires() {
        let mut watch = Watch::new();
        watch.look(60 * 60, failing(9));
        assert_eq!(watch.told, []);
    }

    #[test]
    fn a_few_failures_are_no_rate() {
        let mut watch = Watch::new();
        watch.look(60 * 60, |second| {
            // One job in a minute, and all fail.
            let ended = second / 60;
            Facts { vitals: Some(Vitals { ended, failed: ended, ..Vitals::default() }), ..Watch::well() }
        });
        assert_eq!(watch.told, []);
    }

    #[test]
    fn a_minute_without_workers_fires_and_59_seconds_do_not() {
        let without = |_| Facts { vitals: Some(Vitals { queue: 3, ..Vitals::default() }), workers: 0, ..Watch::well() };
        let mut watch = Watch::new();
        watch.look(59, without);
        assert_eq!(watch.told, []);
        watch.look(0, |_| Watch::well());
        watch.look(59, without);
        assert_eq!(watch.told, [], "it began anew");
        watch.look(2, without);
        assert!(matches!(watch.told[..], [(_, Rule::NoWorkers, true)]), "{:?}", watch.told);
        watch.look(0, |_| Watch::well());
        assert!(matches!(watch.told[..], [_, (_, Rule::NoWorkers, false)]), "{:?}", watch.told);
    }

    #[test]
    fn nobody_is_missed_where_there_is_nothing_to_do_or_nothing_may_be_done() {
        let mut watch = Watch::new();
        watch.look(10 * 60, |_| Facts { workers: 0, ..Watch::well() });
        let vitals = Some(Vitals { queue: 3, halted: true, ..Vitals::default() });
        watch.look(10 * 60, |_| Facts { workers: 0, vitals, ..Watch::well() });
        assert_eq!(watch.told, []);
    }

    #[test]
    fn more_than_a_hundred_waiting_for_ten_minutes_fires() {
        let waiting = |queue| move |_| Facts { vitals: Some(Vitals { queue, ..Vitals::default() }), ..Watch::well() };
        let mut watch = Watch::new();
        watch.look(30 * 60, waiting(100));
        watch.look(10 * 60 - 1, waiting(101));
        assert_eq!(watch.told, []);
        watch.look(60, waiting(101));
        watch.look(60, waiting(100));
        let turns: Vec<_> = watch.told.iter().map(|(_, rule, fires)| (*rule, *fires)).collect();
        assert_eq!(turns, [(Rule::Queue, true), (Rule::Queue, false)]);
    }

    #[test]
    fn a_store_that_is_of_no_use_for_a_minute_fires() {
        let broken = [Facts { store_is_usable: false, ..Watch::well() }, Facts { vitals: None, ..Watch::well() }];
        for facts in broken {
            let mut watch = Watch::new();
            watch.look(59, move |_| facts);
            assert_eq!(watch.told, []);
            watch.look(1, move |_| facts);
            assert!(matches!(watch.told[..], [(60, Rule::Store, true)]), "{:?}", watch.told);
            watch.look(0, |_| Watch::well());
            assert!(matches!(watch.told[..], [_, (_, Rule::Store, false)]), "{:?}", watch.told);
        }
    }

    #[test]
    fn what_is_out_of_order_for_five_minutes_fires() {
        let closed = |_| Facts { vitals: Some(Vitals { closed: 1, ..Vitals::default() }), ..Watch::well() };
        let mut watch = Watch::new();
        watch.look(299, closed);
        assert_eq!(watch.told, []);
        watch.look(1, closed);
        assert!(matches!(watch.told[..], [(_, Rule::OutOfOrder, true)]), "{:?}", watch.told);
    }

    #[test]
    fn memory_of_looks_stays_small_at_any_pace() {
        let mut alerts = Alerts::new(Thresholds::default());
        for at in 0..100_000 {
            drop(alerts.look(MonoMs(at * 10), &Watch::well()));
            assert!(alerts.looks.len() <= LOOKS_MAX + 2);
        }
    }
}
