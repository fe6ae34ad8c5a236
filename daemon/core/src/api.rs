//! Limits of a model API: calls and tokens per minute, calls at once, calls per day, and how far the service itself lets them be used. Pure;
//! knows neither jobs nor what is asked.
//!
//! A call takes a permit before it goes out and gives it back however it ends. Permits are tokens of buckets, each of which comes back a minute
//! after it was taken: in no minute there are more calls than allowed, which a bucket that refills evenly does not promise.

use std::collections::VecDeque;

use spindle_shared::time::{MonoMs, Now, WallMs};

const MINUTE_MS: u64 = 60_000;
/// So much later than a minute a token comes back: a call may take longer on its way than the one before it.
const SLACK_MS: u64 = 1_000;
const DAY_MS: u64 = 86_400_000;
/// How many calls are looked at before the pace is changed.
const WINDOW: usize = 10;
/// Below this share of successes, or above this mean time, fewer calls go out at once …
const SUCCESS_LOW: f64 = 0.8;
const SLOW_MS: f64 = 120_000.0;
/// … and above this share and below this time more.
const SUCCESS_HIGH: f64 = 0.95;
const QUICK_MS: f64 = 60_000.0;
const SLOWER: f64 = 0.9;
const FASTER: f64 = 1.1;
const PACE_MIN: f64 = 0.5;
const PACE_MAX: f64 = 2.0;
/// Of a day's calls, this share used is worth a warning.
const WARN_AT: f64 = 0.9;

/// What one service allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Calls under way at the same time.
    pub at_once: u32,
    pub calls_per_minute: u32,
    /// `None` = any number.
    pub tokens_per_minute: Option<u64>,
    /// By the calendar day in UTC.
    pub calls_per_day: Option<u32>,
}

impl Default for Limits {
    fn default() -> Self {
        Limits { at_once: 5, calls_per_minute: 60, tokens_per_minute: None, calls_per_day: Some(1_000) }
    }
}

/// What of a service's limits is used up; outlives the daemon.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Used {
    /// Number of the day since the epoch, and calls on it.
    pub day: u64,
    pub calls: u32,
    /// When the calls of the last minute went out, the oldest first, and the tokens of each.
    pub recent: VecDeque<(WallMs, u64)>,
}

/// Why a call may not go out yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wait {
    /// Until then, whatever else happens.
    Until(MonoMs),
    /// Until another call is over.
    ForAnother,
    /// The day's calls are used up; so many milliseconds are left of it.
    Tomorrow { in_ms: u64 },
}

/// How a call ended, as far as its limits are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Call {
    pub succeeded: bool,
    /// Calls that it came to, of those that its permit was for.
    pub calls: u32,
    pub took_ms: u64,
    /// As the service counted them; `None` = as was expected.
    pub tokens: Option<u64>,
}

/// A permit: a call that is under way, and those that may have to follow it one after the other. Has to be given back, which
/// [`Api::give_back`] does.
#[derive(Debug, PartialEq, Eq)]
#[must_use = "a permit that is not given back is lost"]
pub struct Permit {
    at: MonoMs,
    tokens: u64,
    /// Calls that may follow the first.
    more: u32,
}

/// One service.
#[derive(Debug)]
pub struct Api {
    limits: Limits,
    day: u64,
    calls: u32,
    /// Taken tokens of the last minute: when, and how many of the tokens that a model counts.
    recent: VecDeque<(MonoMs, WallMs, u64)>,
    under_way: u32,
    /// Calls that were under way when fewer were allowed from then on; falls as they end.
    excess: u32,
    /// Calls that those under way may still make: nobody knows when, so their tokens are held all the time.
    held: u32,
    /// Factor to the calls at once, by how the last ones ended.
    pace: f64,
    window: Vec<Call>,
    /// The service asked for silence until then.
    silent_until: MonoMs,
    warned: bool,
}

impl Api {
    /// Goes on where the last daemon was. Times to come, as after a leap of the clock, count as now.
    pub fn new(limits: Limits, used: &Used, now: Now) -> Self {
        let taken = used.recent.iter().map(|(at, tokens)| {
            let ago = now.wall.0.saturating_sub(at.0);
            (MonoMs(now.mono.0.saturating_sub(ago)), *at, *tokens, ago)
        });
        Api {
            limits,
            day: used.day,
            calls: used.calls,
            // The monotonic clock may have begun with this daemon: what was before its zero is over only when the wall clock says so.
            recent: taken
                .filter(|(.., ago)| *ago < MINUTE_MS + SLACK_MS)
                .map(|(at, wall, tokens, _)| (at, wall, tokens))
                .collect(),
            under_way: 0,
            excess: 0,
            held: 0,
            pace: 1.0,
            window: Vec::new(),
            silent_until: MonoMs(0),
            warned: false,
        }
    }

    /// What the next daemon has to know.
    pub fn used(&self) -> Used {
        let recent = self.recent.iter().map(|(_, wall, tokens)| (*wall, *tokens)).collect();
        Used { day: self.day, calls: self.calls, recent }
    }

    /// Calls that may be under way at the same time just now: what is allowed, or less.
    pub fn at_once(&self) -> u32 {
        // The configured number is a promise to the service; a pace above 1 only makes up for one below.
        ((f64::from(self.limits.at_once) * self.pace.min(1.0)) as u32).clamp(1, self.limits.at_once.max(1))
    }

    pub fn under_way(&self) -> u32 {
        self.under_way
    }

    pub fn pace(&self) -> f64 {
        self.pace
    }

    /// Whether such a call could go out now.
    pub fn may(&mut self, tokens: u64, calls: u32, now: Now) -> Result<(), Wait> {
        self.let_go(now);
        // Of calls that may follow, as many as there can be at all.
        let calls = calls.clamp(1, self.limits.calls_per_minute.max(1));
        let per_day = self.limits.calls_per_day;
        if per_day.is_some_and(|most| self.calls.saturating_add(self.held).saturating_add(calls.min(most)) > most) {
            // What those under way don't need comes back.
            let held = per_day.is_some_and(|most| self.calls.saturating_add(calls.min(most)) <= most);
            if held {
                return Err(Wait::ForAnother);
            }
            return Err(Wait::Tomorrow { in_ms: DAY_MS - now.wall.0 % DAY_MS });
        }
        if self.silent_until > now.mono {
            return Err(Wait::Until(self.silent_until));
        }
        if self.under_way >= self.at_once() {
            return Err(Wait::ForAnother);
        }
        match self.room_for(tokens, calls) {
            None => Ok(()),
            Some(MonoMs(u64::MAX)) => Err(Wait::ForAnother),
            Some(until) => Err(Wait::Until(until)),
        }
    }

    /// A call that is expected to cost so many tokens wants to go out; with those that may follow it there are so many.
    pub fn take(&mut self, tokens: u64, calls: u32, now: Now) -> Result<Permit, Wait> {
        self.may(tokens, calls, now)?;
        let more = calls.clamp(1, self.limits.calls_per_minute.max(1)) - 1;
        self.calls = self.calls.saturating_add(1);
        self.under_way += 1;
        self.held += more;
        self.recent.push_back((now.mono, now.wall, tokens));
        Ok(Permit { at: now.mono, tokens, more })
    }

    /// When enough of the minute's tokens are back; `None` = now, the largest = when another call is over.
    fn room_for(&self, tokens: u64, calls: u32) -> Option<MonoMs> {
        let back = |at: MonoMs| at.plus(MINUTE_MS + SLACK_MS);
        let Some(most) =
            self.limits.calls_per_minute.max(1).checked_sub(self.held + calls - 1).filter(|most| *most > 0)
        else {
            return Some(MonoMs(u64::MAX));
        };
        let most = most as usize;
        let call = self.recent.len().checked_sub(most).and_then(|over| self.recent.get(over)).map(|(at, ..)| back(*at));
        let words = self.limits.tokens_per_minute.and_then(|most| {
            let mut over =
                (self.recent.iter().map(|(.., tokens)| tokens).sum::<u64>() + tokens).checked_sub(most + 1)? + 1;
            // A call of more than a minute's tokens goes out alone.
            let needed = self.recent.iter().find(|(.., tokens)| {
                over = over.saturating_sub(*tokens);
                over == 0
            });
            needed.or(self.recent.back()).map(|(at, ..)| back(*at))
        });
        call.into_iter().chain(words).max()
    }

    /// A call is over, however it ended; `None` = nobody knows how.
    pub fn give_back(&mut self, permit: Permit, call: Option<Call>, now: Now) {
        self.under_way = self.under_way.saturating_sub(1);
        self.excess = self.excess.min(self.under_way);
        self.held = self.held.saturating_sub(permit.more);
        // Where nobody knows how it went, it may have made all that it was allowed.
        let more = call.map_or(permit.more, |call| call.calls.saturating_sub(1).min(permit.more));
        self.calls = self.calls.saturating_add(more);
        // They went out at the latest now.
        self.recent.extend((0..more).map(|_| (now.mono, now.wall, 0)));
        let Some(call) = call else { return };
        if let Some(tokens) = call.tokens
            && let Some(taken) =
                self.recent.iter_mut().find(|(at, _, taken)| (*at, *taken) == (permit.at, permit.tokens))
        {
            taken.2 = tokens;
        }
        self.window.push(call);
        if self.window.len() < WINDOW {
            return;
        }
        let share = self.window.iter().filter(|call| call.succeeded).count() as f64 / WINDOW as f64;
        let mean_ms = self.window.iter().map(|call| call.took_ms as f64).sum::<f64>() / WINDOW as f64;
        self.window.clear();
        if share < SUCCESS_LOW || mean_ms > SLOW_MS {
            self.pace = (self.pace * SLOWER).max(PACE_MIN);
        } else if share > SUCCESS_HIGH && mean_ms < QUICK_MS {
            self.pace = (self.pace * FASTER).min(PACE_MAX);
        }
    }

    /// The service asked for no calls for so long. Never sooner than it has asked before.
    pub fn be_silent(&mut self, for_ms: u64, now: Now) {
        self.silent_until = self.silent_until.max(now.mono.plus(for_ms.min(DAY_MS)));
    }

    /// Whatever the service asked for, somebody wishes to try.
    pub fn try_anyway(&mut self) {
        self.silent_until = MonoMs(0);
    }

    /// Calls so far today, and how many there may be.
    pub fn today(&self) -> (u32, Option<u32>) {
        (self.calls, self.limits.calls_per_day)
    }

    /// Other limits count from now on; calls under way stay so.
    pub fn limit(&mut self, limits: Limits) {
        self.limits = limits;
        self.excess = self.under_way;
    }

    /// More calls than this are never under way.
    pub fn at_once_most(&self) -> u32 {
        self.limits.at_once.max(self.excess)
    }

    /// Once a day, when little of it is left: calls so far, and of how many.
    pub fn warning(&mut self) -> Option<(u32, u32)> {
        let most = self.limits.calls_per_day?;
        let due = !self.warned && f64::from(self.calls) >= f64::from(most) * WARN_AT;
        self.warned |= due;
        due.then_some((self.calls, most))
    }

    /// What is over: tokens that are back, and yesterday.
    fn let_go(&mut self, now: Now) {
        while self.recent.front().is_some_and(|(at, ..)| now.mono.since(*at) >= MINUTE_MS + SLACK_MS) {
            self.recent.pop_front();
        }
        let today = now.wall.0 / DAY_MS;
        // Forwards only: a clock that leaps back gives nobody a day again.
        if today > self.day {
            (self.day, self.calls, self.warned) = (today, 0, false);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn at(ms: u64) -> Now {
        Now { wall: WallMs(1_800_000_000_000 + ms), mono: MonoMs(ms) }
    }

    fn fresh(limits: Limits) -> Api {
        Api::new(limits, &Used::default(), at(0))
    }

    const WELL: Option<Call> = Some(Call { succeeded: true, calls: 1, took_ms: 1_000, tokens: None });

    #[test]
    fn no_more_calls_go_out_at_once_than_allowed() {
        let mut api = fresh(Limits { at_once: 2, ..Limits::default() });
        let first = api.take(0, 1, at(0)).unwrap();
        let _second = api.take(0, 1, at(0)).unwrap();
        assert_eq!(api.take(0, 1, at(0)), Err(Wait::ForAnother));
        api.give_back(first, None, at(0));
        assert!(api.take(0, 1, at(1)).is_ok());
    }

    #[test]
    fn a_minutes_calls_come_back_one_by_one() {
        let mut api = fresh(Limits { at_once: 100, calls_per_minute: 3, ..Limits::default() });
        for ms in [0, 10, 20] {
            let permit = api.take(0, 1, at(ms)).unwrap();
            api.give_back(permit, WELL, at(0));
        }
        assert_eq!(api.take(0, 1, at(30)), Err(Wait::Until(MonoMs(61_000))));
        assert!(api.take(0, 1, at(61_000)).is_ok());
        assert_eq!(api.take(0, 1, at(61_000)), Err(Wait::Until(MonoMs(61_010))));
    }

    #[test]
    fn tokens_are_counted_as_the_service_did_and_a_call_of_too_many_goes_alone() {
        let limits = Limits { at_once: 100, tokens_per_minute: Some(1_000), ..Limits::default() };
        let mut api = fresh(limits);
        let first = api.take(600, 1, at(0)).unwrap();
        assert_eq!(api.take(600, 1, at(10)), Err(Wait::Until(MonoMs(61_000))));
        api.give_back(first, Some(Call { tokens: Some(100), ..WELL.unwrap() }), at(0));
        let _second = api.take(600, 1, at(20)).unwrap();
        assert_eq!(api.take(5_000, 1, at(30)), Err(Wait::Until(MonoMs(61_020))));
        assert!(api.take(5_000, 1, at(61_020)).is_ok());
    }

    #[test]
    fn a_day_ends_at_midnight_and_its_count_outlives_the_daemon() {
        let limits = Limits { calls_per_day: Some(2), ..Limits::default() };
        let mut api = fresh(limits);
        for _ in 0..2 {
            let permit = api.take(0, 1, at(0)).unwrap();
            api.give_back(permit, WELL, at(0));
        }
        assert_eq!(api.warning(), Some((2, 2)));
        assert_eq!(api.warning(), None);
        let mut next = Api::new(limits, &api.used(), at(5_000));
        let left = DAY_MS - at(5_000).wall.0 % DAY_MS;
        assert_eq!(next.take(0, 1, at(5_000)), Err(Wait::Tomorrow { in_ms: left }));
        assert!(next.take(0, 1, at(5_000 + left)).is_ok());
        // The clock leaps back by two days: today's stays today's.
        let back = Now { wall: WallMs(at(0).wall.0 - 2 * DAY_MS), mono: MonoMs(10_000) };
        let mut leapt = Api::new(limits, &api.used(), back);
        assert!(matches!(leapt.take(0, 1, back), Err(Wait::Tomorrow { .. })));
    }

    #[test]
    fn the_minute_outlives_the_daemon_too() {
        let limits = Limits { at_once: 10, calls_per_minute: 2, ..Limits::default() };
        let mut api = fresh(limits);
        let (_a, _b) = (api.take(0, 1, at(0)).unwrap(), api.take(0, 1, at(100)).unwrap());
        // Another process, whose monotonic clock goes on as the machine's does.
        let mut next = Api::new(limits, &api.used(), at(2_000));
        assert_eq!(next.take(0, 1, at(2_000)), Err(Wait::Until(MonoMs(61_000))));
    }

    #[test]
    fn a_call_that_may_need_another_holds_room_for_it() {
        let mut api = fresh(Limits { at_once: 10, calls_per_minute: 4, calls_per_day: Some(5), ..Limits::default() });
        let first = api.take(0, 2, at(0)).unwrap();
        let second = api.take(0, 2, at(0)).unwrap();
        assert_eq!(api.take(0, 1, at(10)), Err(Wait::Until(MonoMs(61_000))));
        // It asked once more, just now, so that one comes back a minute from here; the other did not.
        api.give_back(first, Some(Call { calls: 2, ..WELL.unwrap() }), at(50_000));
        api.give_back(second, WELL, at(50_000));
        assert_eq!(api.today(), (3, Some(5)));
        let third = api.take(0, 1, at(50_000)).unwrap();
        // Of the day one is left, which is too few for a call that may need another.
        assert!(matches!(api.take(0, 2, at(50_010)), Err(Wait::Tomorrow { .. })));
        let fourth = api.take(0, 1, at(61_000)).unwrap();
        assert!(matches!(api.take(0, 1, at(61_001)), Err(Wait::Tomorrow { .. })));
        // Lost: it may have asked as often as it was allowed, which was once.
        api.give_back(third, None, at(62_000));
        api.give_back(fourth, None, at(62_000));
        assert_eq!((api.today(), api.under_way()), ((5, Some(5)), 0));
    }

    #[test]
    fn what_the_service_asks_for_is_kept() {
        let mut api = fresh(Limits::default());
        api.be_silent(20_000, at(0));
        api.be_silent(5_000, at(100));
        assert_eq!(api.take(0, 1, at(200)), Err(Wait::Until(MonoMs(20_000))));
        assert!(api.take(0, 1, at(20_000)).is_ok());
    }

    #[test]
    fn the_pace_follows_the_service_within_its_bounds() {
        let mut api = fresh(Limits { at_once: 10, calls_per_minute: 100_000, ..Limits::default() });
        let mut ms = 0;
        let mut ten = |api: &mut Api, succeeded: bool, took_ms: u64| {
            for _ in 0..WINDOW {
                ms += 1;
                let permit = api.take(0, 1, at(ms)).unwrap();
                api.give_back(permit, Some(Call { succeeded, calls: 1, took_ms, tokens: None }), at(0));
            }
        };
        ten(&mut api, false, 100);
        assert_eq!((api.pace(), api.at_once()), (0.9, 9));
        ten(&mut api, true, 130_000);
        assert!((api.pace() - 0.81).abs() < 1e-9);
        ten(&mut api, true, 90_000);
        assert!((api.pace() - 0.81).abs() < 1e-9);
        for _ in 0..20 {
            ten(&mut api, false, 100);
        }
        assert_eq!((api.pace(), api.at_once()), (PACE_MIN, 5));
        for _ in 0..40 {
            ten(&mut api, true, 100);
        }
        assert_eq!((api.pace(), api.at_once()), (PACE_MAX, 10));
    }

    proptest! {
        /// Whoever comes when, and however long calls take: no window of a minute has more calls or tokens than allowed, and never are more
        /// under way; and whoever waits until he is told to may go.
        #[test]
        fn limits_hold_at_all_times(
            steps in prop::collection::vec((0..8_000_u64, 0..400_u64, any::<bool>()), 1..200),
            per_minute in 1..20_u32,
            at_once in 1..6_u32,
        ) {
            let limits = Limits {
                at_once, calls_per_minute: per_minute, tokens_per_minute: Some(1_000), calls_per_day: None,
            };
            let mut api = fresh(limits);
            let mut ms = 0;
            let mut out: Vec<(u64, u64)> = Vec::new();
            let mut permits = Vec::new();
            for (pause, tokens, over) in steps {
                ms += pause;
                if over && let Some(permit) = permits.pop() {
                    api.give_back(permit, WELL, at(ms));
                }
                let taken = match api.take(tokens, 1, at(ms)) {
                    Err(Wait::Until(until)) => {
                        prop_assert!(until.0 > ms);
                        ms = until.0;
                        api.take(tokens, 1, at(ms))
                    }
                    other => other,
                };
                match taken {
                    Ok(permit) => {
                        permits.push(permit);
                        out.push((ms, tokens));
                    }
                    Err(wait) => prop_assert_eq!(wait, Wait::ForAnother),
                }
                prop_assert!(permits.len() <= at_once as usize);
                let minute: Vec<_> = out.iter().filter(|(at, _)| at + MINUTE_MS > ms).collect();
                prop_assert!(minute.len() <= per_minute as usize);
                prop_assert!(minute.iter().map(|(_, tokens)| tokens).sum::<u64>() <= 1_000);
            }
        }
    }
}
