//! Stores: which object store the next output goes to, and what is known of each from what was put there. Pure; knows no job, asks no store.

use spindle_shared::time::WallMs;

/// How stores share what is put into all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Balance {
    /// One after the other.
    #[default]
    Turns,
    /// The one with the most room left; between equals one after the other.
    Room,
}

/// Bytes after which what was measured before counts 1/e.
const MEMORY_BYTES: f64 = 256.0 * 1_024.0 * 1_024.0;
/// What comes of fewer is mostly the way there and back, and says little of a large output.
const KNOWN_BYTES: f64 = 256.0 * 1_024.0;

/// What is known of one store. Only what Spindle itself has put there is counted: what others write or remove it doesn't see.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Known {
    /// Of all objects that Spindle has put there, each as it was put there last.
    pub bytes: u64,
    /// As they count now: bytes sent, and the seconds that took, one upload's share where several were under way.
    pub sent_bytes: f64,
    pub sent_seconds: f64,
    pub sent_at: WallMs,
}

impl Known {
    /// So much more was sent; what can't be a measurement teaches nothing.
    pub fn learn(&mut self, bytes: f64, seconds: f64, at: WallMs) {
        if !(bytes.is_finite() && seconds.is_finite() && bytes > 0.0 && seconds > 0.0) {
            return;
        }
        let kept = (-bytes / MEMORY_BYTES).exp();
        self.sent_bytes = self.sent_bytes * kept + bytes;
        self.sent_seconds = self.sent_seconds * kept + seconds;
        self.sent_at = at;
    }

    /// How fast one upload goes there; `None` = too little was sent to tell.
    pub fn bytes_per_second(&self) -> Option<f64> {
        (self.sent_bytes >= KNOWN_BYTES && self.sent_seconds > 0.0).then(|| self.sent_bytes / self.sent_seconds)
    }
}

/// One that an output may go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    pub bucket: &'a str,
    /// Bytes that Spindle may have there; `None` = any number.
    pub quota: Option<u64>,
    /// What it has there, and what is on its way.
    pub taken: u64,
}

impl Candidate<'_> {
    /// Bytes that may still come.
    pub fn room(&self) -> u64 {
        self.quota.map_or(u64::MAX, |quota| quota.saturating_sub(self.taken))
    }
}

/// Where an output of so many bytes goes; those that lack the room are passed over. `last` had the turn before. `None` = nobody has room.
pub fn choose<'a>(candidates: &[Candidate<'a>], bytes: u64, balance: Balance, last: Option<&str>) -> Option<&'a str> {
    let turn = candidates.iter().position(|one| Some(one.bucket) == last).map_or(0, |at| at + 1);
    let in_turn = candidates.iter().cycle().skip(turn).take(candidates.len());
    let mut fitting = in_turn.filter(|one| one.room() >= bytes);
    let chosen = match balance {
        Balance::Turns => fitting.next(),
        // Of equals the first in turn.
        Balance::Room => fitting.min_by_key(|one| std::cmp::Reverse(one.room())),
    };
    chosen.map(|one| one.bucket)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;

    fn store(bucket: &'static str, quota: Option<u64>, taken: u64) -> Candidate<'static> {
        Candidate { bucket, quota, taken }
    }

    #[test]
    fn turns_pass_over_who_is_full_and_leave_the_others_even() {
        let all = [store("a", None, 0), store("b", Some(10), 8), store("c", None, 0)];
        let (mut last, mut given) = (None, BTreeMap::new());
        for _ in 0..6 {
            last = choose(&all, 3, Balance::Turns, last);
            *given.entry(last.unwrap()).or_insert(0) += 1;
        }
        assert_eq!(given, [("a", 3), ("c", 3)].into());
        // What fits still goes there.
        assert_eq!(choose(&all, 2, Balance::Turns, Some("a")), Some("b"));
        // Whoever had the turn last and is gone from the configuration leaves it to the first.
        assert_eq!(choose(&all, 1, Balance::Turns, Some("gone")), Some("a"));
    }

    #[test]
    fn the_most_room_comes_first_and_between_equals_the_next_in_turn() {
        let all = [store("a", Some(100), 60), store("b", Some(50), 0), store("c", Some(50), 0)];
        assert_eq!(choose(&all, 1, Balance::Room, None), Some("b"));
        assert_eq!(choose(&all, 1, Balance::Room, Some("b")), Some("c"));
        assert_eq!(choose(&all, 50, Balance::Room, Some("c")), Some("b"));
        let endless = [store("a", Some(u64::MAX), 1), store("b", None, 7)];
        assert_eq!(choose(&endless, 1, Balance::Room, None), Some("b"));
    }

    #[test]
    fn where_nobody_has_room_nobody_is_chosen() {
        let all = [store("a", Some(10), 9), store("b", Some(10), 12)];
        for balance in [Balance::Turns, Balance::Room] {
            assert_eq!(choose(&all, 2, balance, None), None);
            assert_eq!(choose(&all, 1, balance, None), Some("a"));
            assert_eq!(choose(&[], 1, balance, None), None);
        }
    }

    proptest! {
        #[test]
        fn no_quota_is_ever_passed_and_with_room_all_fill_alike(
            quotas in proptest::collection::vec(proptest::option::of(1..200_u64), 1..5),
            outputs in proptest::collection::vec(1..40_u64, 1..60),
            by_room in any::<bool>(),
        ) {
            const NAMES: [&str; 5] = ["a", "b", "c", "d", "e"];
            let balance = if by_room { Balance::Room } else { Balance::Turns };
            let mut all: Vec<Candidate<'_>> = quotas.iter().zip(NAMES).map(|(quota, name)| store(name, *quota, 0)).collect();
            let mut last = None;
            for bytes in outputs {
                let most = all.iter().map(Candidate::room).max().unwrap();
                let Some(chosen) = choose(&all, bytes, balance, last) else {
                    prop_assert!(most < bytes, "one has room for it");
                    continue;
                };
                let one = all.iter_mut().find(|one| one.bucket == chosen).unwrap();
                prop_assert!(!by_room || one.room() == most);
                one.taken += bytes;
                prop_assert!(one.quota.is_none_or(|quota| one.taken <= quota));
                last = Some(chosen);
            }
        }
    }

    #[test]
    fn what_is_measured_follows_the_line_and_little_is_no_measurement() {
        let mut known = Known::default();
        known.learn(1_000.0, 0.5, WallMs(1));
        assert_eq!(known.bytes_per_second(), None);
        for odd in [(0.0, 1.0), (1e6, 0.0), (f64::NAN, 1.0), (1e6, f64::INFINITY), (-1e6, 1.0)] {
            known.learn(odd.0, odd.1, WallMs(2));
        }
        assert_eq!(known.sent_at, WallMs(1));
        let mut known = Known::default();
        known.learn(8e6, 4.0, WallMs(3));
        assert_eq!(known.bytes_per_second(), Some(2e6));
        // The line has become ten times as fast: after a gigabyte little of what was before is left.
        for _ in 0..100 {
            known.learn(1e7, 0.5, WallMs(4));
        }
        let now = known.bytes_per_second().unwrap();
        assert!((1.9e7..=2e7).contains(&now), "{now}");
    }
}
