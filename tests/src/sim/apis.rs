//! What reaches the model API of the simulated world: counted where it arrives, never as the scheduler believes.

use std::collections::BTreeMap;

use spindle_core::api::Limits;
use spindle_core::scheduler::ApiConfig;
use spindle_shared::id::RunId;

use super::random::Random;

const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

/// Calls by key, and when each run began to ask.
#[derive(Debug)]
pub struct Asked {
    limits: Limits,
    pub per_day: Option<u32>,
    keys: u32,
    began: BTreeMap<RunId, (u32, u64)>,
    calls: BTreeMap<u32, Vec<u64>>,
    /// Of the latest day that any clock has shown.
    days: BTreeMap<u32, (u64, u32)>,
    /// A daemon that starts after it can't know how long ago the last calls were.
    pub clock_leapt: bool,
}

impl Asked {
    pub fn new(config: &ApiConfig) -> Self {
        Asked {
            limits: config.limits,
            per_day: config.limits.calls_per_day,
            keys: config.keys,
            began: BTreeMap::new(),
            calls: BTreeMap::new(),
            days: BTreeMap::new(),
            clock_leapt: false,
        }
    }

    pub fn reboot(&mut self) {
        self.began.clear();
        if std::mem::take(&mut self.clock_leapt) {
            self.calls.clear();
        }
    }

    /// A run makes its first call.
    pub fn begins(&mut self, run: RunId, key: u32, others: usize, time: u64, wall: u64) -> Result<(), String> {
        if key >= self.keys {
            return Err(format!("run {run} asks with key {key} of {}", self.keys));
        }
        if others as u32 >= self.limits.at_once {
            return Err(format!("run {run} asks with key {key} while {others} others do, of {}", self.limits.at_once));
        }
        self.began.insert(run, (key, time));
        let (day, count) = self.days.entry(key).or_default();
        if wall / DAY_MS > *day {
            (*day, *count) = (wall / DAY_MS, 0);
        }
        *count += 1;
        if let Some(most) = self.per_day.filter(|most| *count > *most) {
            return Err(format!("run {run} makes call {count} of key {key} today, of {most}"));
        }
        self.arrives(key, time)
    }

    /// It has called once more, at some time before now.
    pub fn again(&mut self, run: RunId, now: u64, random: &mut Random) -> Result<(), String> {
        let Some((key, began)) = self.began.remove(&run) else { return Ok(()) };
        if let Some((_, count)) = self.days.get_mut(&key) {
            *count += 1;
        }
        self.arrives(key, random.between(began, now))
    }

    fn arrives(&mut self, key: u32, time: u64) -> Result<(), String> {
        let calls = self.calls.entry(key).or_default();
        calls.push(time);
        calls.sort_unstable();
        let most = self.limits.calls_per_minute.max(1) as usize;
        match calls.windows(most + 1).find(|window| window[most] - window[0] < MINUTE_MS) {
            Some(window) => Err(format!("{} calls of key {key} within a minute, of {most}: {window:?}", most + 1)),
            None => Ok(()),
        }
    }
}
