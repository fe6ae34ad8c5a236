//! How old things are. They are dated by the clock on the wall, which people and networks set; this knows how much of what it shows has not passed.
//! Knows no records and no folders but its own file.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use spindle_shared::limits::LEAPS_MAX;

/// 2024-01-01: nothing of Spindle's is older, so whoever says so had a wrong clock, and its age is unknown.
pub const FIRST_WALL_MS: u64 = 1_704_067_200_000;
/// Clocks that differ by no more were not set.
const LEAP_MS: u64 = 60_000;
/// A machine that has just been started may have a wrong clock; by then a network has set it right, or there is none to do it.
const DOUBT_MS: u64 = 30 * 60_000;
/// What is remembered is renewed so often.
const KEPT_MS: u64 = 3_600_000;
const FILE: &str = "ages.json";

/// The clock was set ahead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Leap {
    /// What is dated until then is younger than it looks …
    until_ms: u64,
    /// … by so much.
    by_ms: u64,
    /// Perhaps it was none: the machine was off meanwhile.
    doubted: bool,
}

/// What is remembered from one start to the next.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    /// The machine's start.
    boot: String,
    /// The wall's clock and that of the machine at one moment; they have gone on together since.
    wall_ms: u64,
    up_ms: u64,
    /// Oldest first.
    leaps: Vec<Leap>,
    /// By so much it was set back and is still behind what it has shown before; last time last.
    behind: Vec<u64>,
}

/// What the clocks show.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    pub boot: String,
    pub wall_ms: u64,
    /// Since the machine's start, sleep included. Nobody sets it.
    pub up_ms: u64,
}

impl Known {
    /// Takes in what the clocks show now; whether there is something to remember.
    fn look(&mut self, shown: &Shown) -> bool {
        let Shown { boot, wall_ms, up_ms } = shown;
        let before = self.leaps.clone();
        let first = self.boot.is_empty();
        let restarted = !first && (self.boot != *boot || *up_ms < self.up_ms);
        // How long the machine was off, the wall's clock alone tells.
        let expected = self.wall_ms.saturating_add(if restarted { *up_ms } else { up_ms.saturating_sub(self.up_ms) });
        let (ahead, behind) = (wall_ms.saturating_sub(expected), expected.saturating_sub(*wall_ms));
        match first {
            true => {}
            false if ahead > LEAP_MS => self.ahead(expected, ahead, restarted.then_some(*wall_ms)),
            false if behind > LEAP_MS => self.back(behind),
            false => {}
        }
        if *up_ms >= DOUBT_MS {
            self.leaps.retain(|leap| !leap.doubted);
        }
        while self.leaps.len() > LEAPS_MAX {
            // As one that is no smaller for anything: too young is what a thing may be taken for.
            let first = self.leaps.remove(0);
            if let Some(second) = self.leaps.first_mut() {
                second.until_ms = second.until_ms.max(first.until_ms);
                second.by_ms = second.by_ms.saturating_add(first.by_ms);
                second.doubted &= first.doubted;
            }
        }
        let moved = first || restarted || ahead.max(behind) > LEAP_MS || up_ms.saturating_sub(self.up_ms) >= KEPT_MS;
        if moved {
            (self.boot, self.wall_ms, self.up_ms) = (boot.clone(), *wall_ms, *up_ms);
        }
        moved || self.leaps != before
    }

    /// The clock shows so much more than expected. First that makes up for what it was set back, last time first: so far it touches only what was
    /// dated since then. `doubted`: until when things may have been dated before, where the rest may have passed.
    fn ahead(&mut self, expected: u64, by_ms: u64, doubted: Option<u64>) {
        // What is remembered may be an hour old.
        let leap = |until_ms: u64, by_ms: u64, doubted: bool| Leap {
            until_ms: until_ms.saturating_add(2 * KEPT_MS),
            by_ms,
            doubted,
        };
        let (mut until_ms, mut left) = (expected, by_ms);
        while let Some(last) = self.behind.last_mut().filter(|_| left > 0) {
            let made_up = left.min(*last);
            self.leaps.push(leap(until_ms, made_up, false));
            (left, *last) = (left - made_up, *last - made_up);
            until_ms = until_ms.saturating_add(made_up);
            if *last == 0 {
                self.behind.pop();
            }
        }
        if left > 0 {
            self.leaps.push(leap(doubted.unwrap_or(until_ms), left, doubted.is_some()));
        }
    }

    /// The clock shows so much less: what it leapt ahead last has been taken back, and beyond that it was set back.
    fn back(&mut self, by_ms: u64) {
        let mut left = by_ms;
        while let Some(last) = self.leaps.last_mut().filter(|_| left > 0) {
            let taken = left.min(last.by_ms);
            (left, last.by_ms) = (left - taken, last.by_ms - taken);
            self.behind.push(taken);
            if last.by_ms == 0 {
                self.leaps.pop();
            }
        }
        if left > 0 {
            self.behind.push(left);
        }
        while self.behind.len() > LEAPS_MAX {
            let first = self.behind.remove(0);
            self.behind[0] = self.behind[0].saturating_add(first);
        }
    }
}

/// The time by which things age, at one moment.
#[derive(Debug, Clone)]
pub struct Now {
    wall_ms: u64,
    leaps: Vec<Leap>,
}

impl Now {
    /// For how long something has been there at least, by its date.
    pub fn age_ms(&self, at_ms: u64) -> u64 {
        if at_ms < FIRST_WALL_MS {
            return 0;
        }
        let leaps = self.leaps.iter().filter(|leap| at_ms <= leap.until_ms);
        leaps.fold(self.wall_ms.saturating_sub(at_ms), |age, leap| age.saturating_sub(leap.by_ms))
    }

    #[cfg(test)]
    pub fn at(wall_ms: u64) -> Now {
        Now { wall_ms, leaps: Vec::new() }
    }
}

/// Looks at the clocks, and remembers what was done to them.
pub struct Ages {
    path: PathBuf,
    clocks: Clocks,
    known: Mutex<Known>,
}

impl Ages {
    /// With what an earlier daemon has seen; where nobody knows, dates are taken as they are.
    pub fn open(state_dir: &Path) -> Ages {
        Ages::with(state_dir, clocks_of_this_machine())
    }

    pub fn with(state_dir: &Path, clocks: Clocks) -> Ages {
        let path = state_dir.join(FILE);
        let known = fs::read(&path).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let ages = Ages { path, clocks, known: Mutex::new(known.unwrap_or_default()) };
        ages.look();
        ages
    }

    /// What the clock is set to and back between two looks is not seen: to be called now and then.
    pub fn look(&self) -> Now {
        let shown = (self.clocks)();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.look(&shown)
            && let Err(error) = self.keep(&known)
        {
            tracing::warn!("what the clock has done can't be kept in {}: {error}", self.path.display());
        }
        Now { wall_ms: shown.wall_ms, leaps: known.leaps.clone() }
    }

    fn keep(&self, known: &Known) -> io::Result<()> {
        let part = self.path.with_extension("part");
        fs::write(&part, serde_json::to_vec(known)?)?;
        fs::File::open(&part)?.sync_data()?;
        fs::rename(part, &self.path)
    }
}

/// Reads the clocks of a machine, both at once.
pub type Clocks = Box<dyn Fn() -> Shown + Send + Sync>;

fn clocks_of_this_machine() -> Clocks {
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned();
    match (boot.is_empty(), uptime_ms()) {
        (false, Some(first)) => {
            Box::new(move || Shown { boot: boot.clone(), wall_ms: wall_ms(), up_ms: uptime_ms().unwrap_or(first) })
        }
        // As if the machine had just been started.
        _ => {
            let (started, boot) = (Instant::now(), format!("process {} at {}", std::process::id(), wall_ms()));
            Box::new(move || Shown {
                boot: boot.clone(),
                wall_ms: wall_ms(),
                up_ms: started.elapsed().as_millis() as u64,
            })
        }
    }
}

fn wall_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// Of the machine, sleep included, by seconds with a fraction.
fn uptime_ms() -> Option<u64> {
    let told = fs::read_to_string("/proc/uptime").ok()?;
    let seconds: f64 = told.split_whitespace().next()?.parse().ok()?;
    (seconds >= 0.0).then_some((seconds * 1_000.0) as u64)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = FIRST_WALL_MS + 1_000 * DAY;
    const HOUR: u64 = 3_600_000;
    const DAY: u64 = 24 * HOUR;

    /// A machine whose clock can be set, with what really goes by.
    struct Machine {
        folder: tempfile::TempDir,
        shown: Arc<Mutex<Shown>>,
        /// How long ago things were dated, and as what.
        things: Vec<(u64, u64)>,
        time: u64,
    }

    impl Machine {
        fn new() -> Machine {
            let shown = Shown { boot: "1".to_owned(), wall_ms: NOW, up_ms: HOUR };
            let folder = tempfile::tempdir().unwrap();
            Machine { folder, shown: Arc::new(Mutex::new(shown)), things: Vec::new(), time: 0 }
        }

        fn shown(&self) -> Shown {
            self.shown.lock().unwrap().clone()
        }

        /// A daemon starts.
        fn ages(&self) -> Ages {
            let shown = Arc::clone(&self.shown);
            Ages::with(self.folder.path(), Box::new(move || shown.lock().unwrap().clone()))
        }

        fn pass(&mut self, ms: u64) {
            let mut shown = self.shown.lock().unwrap();
            shown.wall_ms += ms;
            shown.up_ms += ms;
            self.time += ms;
        }

        fn set(&self, by_ms: i64) {
            let mut shown = self.shown.lock().unwrap();
            shown.wall_ms = shown.wall_ms.saturating_add_signed(by_ms);
        }

        /// Off for so long, and started with a clock that is wrong by so much.
        fn restart(&mut self, off_ms: u64, wrong_by_ms: i64) {
            let mut shown = self.shown.lock().unwrap();
            shown.boot.push('1');
            shown.up_ms = 0;
            shown.wall_ms = (shown.wall_ms + off_ms).saturating_add_signed(wrong_by_ms);
            self.time += off_ms;
        }

        fn date(&mut self) {
            self.things.push((self.time, self.shown().wall_ms));
        }

        /// What each thing is taken for, and how old it is.
        fn ages_of(&self, now: &Now) -> Vec<(u64, u64)> {
            self.things.iter().map(|(at, dated)| (now.age_ms(*dated), self.time - at)).collect()
        }
    }

    #[test]
    fn time_that_passes_is_told_to_the_millisecond_over_restarts_and_with_the_daemon_away() {
        let mut machine = Machine::new();
        machine.date();
        let ages = machine.ages();
        machine.pass(5 * DAY);
        assert_eq!(machine.ages_of(&ages.look()), [(5 * DAY, 5 * DAY)]);
        drop(ages);
        machine.pass(9 * DAY);
        assert_eq!(machine.ages_of(&machine.ages().look()), [(14 * DAY, 14 * DAY)]);
        machine.restart(20 * DAY, 0);
        machine.pass(DOUBT_MS);
        let all = 34 * DAY + DOUBT_MS;
        assert_eq!(machine.ages_of(&machine.ages().look()), [(all, all)]);
        assert_eq!(Now::at(NOW).age_ms(FIRST_WALL_MS - 1), 0, "whoever dates so does not know the time");
        assert_eq!(Now::at(NOW).age_ms(NOW + DAY), 0);
    }

    #[test]
    fn a_clock_that_leaps_ahead_makes_nothing_older_and_no_restart_forgets_it() {
        let mut machine = Machine::new();
        let ages = machine.ages();
        machine.date();
        machine.pass(HOUR);
        machine.set(3_650 * DAY as i64);
        assert_eq!(machine.ages_of(&ages.look()), [(HOUR, HOUR)]);
        drop(ages);
        machine.pass(HOUR);
        machine.date();
        let ages = machine.ages();
        machine.pass(HOUR);
        assert_eq!(machine.ages_of(&ages.look()), [(3 * HOUR, 3 * HOUR), (HOUR, HOUR)]);
        drop(ages);
        // Set while no daemon was there to see it.
        machine.set(-3_650 * DAY as i64);
        let ages = machine.ages();
        assert_eq!(machine.ages_of(&ages.look()), [(3 * HOUR, 3 * HOUR), (0, HOUR)]);
        machine.set(40 * DAY as i64);
        drop(ages);
        assert_eq!(machine.ages_of(&machine.ages().look()), [(3 * HOUR, 3 * HOUR), (0, HOUR)]);
    }

    #[test]
    fn what_is_dated_while_the_clock_was_behind_is_not_old_when_it_is_set_right() {
        let mut machine = Machine::new();
        // A machine without a battery goes on where it was switched off, until it hears what time it is.
        machine.date();
        let mut ages = machine.ages();
        machine.restart(60 * DAY, -60 * DAY as i64);
        drop(ages);
        ages = machine.ages();
        machine.pass(HOUR);
        machine.date();
        machine.set(60 * DAY as i64);
        let told = machine.ages_of(&ages.look());
        assert_eq!(told[1], (0, 0));
        assert!(told[0].0 <= told[0].1, "{told:?}");
        drop(ages);
        machine.pass(DAY);
        assert_eq!(machine.ages_of(&machine.ages().look())[1], (DAY, DAY));
    }

    #[test]
    fn a_machine_that_has_just_been_started_may_have_a_wrong_clock() {
        let mut machine = Machine::new();
        drop(machine.ages());
        machine.date();
        machine.restart(HOUR, 3_650 * DAY as i64);
        let ages = machine.ages();
        assert_eq!(machine.ages_of(&ages.look())[0].0, 0);
        machine.pass(DOUBT_MS - 1);
        assert_eq!(machine.ages_of(&ages.look())[0].0, DOUBT_MS - 1);
        machine.set(-3_650 * DAY as i64);
        let all = HOUR + DOUBT_MS - 1;
        assert!(machine.ages_of(&ages.look())[0].0 <= all);
        machine.pass(1);
        assert_eq!(machine.ages_of(&ages.look()), [(all + 1, all + 1)], "nothing of it is left");
    }

    #[test]
    fn a_file_that_says_nothing_is_as_none() {
        let mut machine = Machine::new();
        machine.date();
        machine.pass(DAY);
        for content in ["", "{", "[]", "{\"boot\":1}"] {
            fs::write(machine.folder.path().join(FILE), content).unwrap();
            assert_eq!(machine.ages_of(&machine.ages().look()), [(DAY, DAY)], "{content}");
        }
        let clocks = clocks_of_this_machine();
        let (first, second) = (clocks(), clocks());
        assert!(first.boot == second.boot && first.up_ms <= second.up_ms && first.wall_ms > FIRST_WALL_MS);
    }

    #[derive(Debug, Clone)]
    enum Happens {
        Passes(u64),
        /// While somebody looks.
        Set(i64),
        /// While no daemon runs.
        SetUnseen(i64),
        Dated,
        Daemon,
        /// With a clock that is right, or behind, since nobody can tell one that is ahead from time that has passed.
        Machine(u64, u64),
    }

    fn happens() -> impl Strategy<Value = Happens> {
        let days = || prop_oneof![1..2_000 * DAY as i64, 1..3 * HOUR as i64];
        prop_oneof![
            (1..40 * DAY).prop_map(Happens::Passes),
            days().prop_map(Happens::Set),
            days().prop_map(|by| Happens::Set(-by)),
            days().prop_map(Happens::SetUnseen),
            days().prop_map(|by| Happens::SetUnseen(-by)),
            Just(Happens::Dated),
            Just(Happens::Dated),
            Just(Happens::Daemon),
            (1..40 * DAY, prop_oneof![Just(0), 0..40 * DAY, 0..900 * DAY])
                .prop_map(|(off, behind)| Happens::Machine(off, behind)),
        ]
    }

    proptest! {
        /// Whatever is done to the clock, and however often everything starts anew.
        #[test]
        fn nothing_is_ever_taken_for_older_than_it_is(all in proptest::collection::vec(happens(), 1..60)) {
            let mut machine = Machine::new();
            // What lies on the disk, and what the daemon knows that runs.
            let (mut kept, mut running) = (Known::default(), None);
            // What a clock is set by less than a minute is not seen; nor that it was off by so much when it is set again.
            let mut slack = 2 * LEAP_MS;
            for one in all {
                match one {
                    Happens::Passes(ms) => machine.pass(ms),
                    Happens::Set(by) => {
                        machine.set(by);
                        slack += LEAP_MS * u64::from(by.unsigned_abs() <= LEAP_MS);
                    }
                    Happens::SetUnseen(by) => {
                        running = None;
                        machine.set(by);
                        slack += LEAP_MS * u64::from(by.unsigned_abs() <= LEAP_MS);
                    }
                    Happens::Dated => machine.date(),
                    Happens::Daemon => running = None,
                    Happens::Machine(off, behind) => {
                        running = None;
                        machine.restart(off, -(behind as i64));
                        machine.pass(1);
                        slack += LEAP_MS;
                    }
                }
                let shown = machine.shown();
                let known = running.get_or_insert_with(|| kept.clone());
                if known.look(&shown) {
                    kept = known.clone();
                }
                let now = Now { wall_ms: shown.wall_ms, leaps: known.leaps.clone() };
                for (told, age) in machine.ages_of(&now) {
                    prop_assert!(told <= age + slack, "{told} for {age}");
                }
            }
        }
    }
}
