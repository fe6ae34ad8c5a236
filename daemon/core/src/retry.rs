//! Retry: how often each kind of failure is tried again, and after how long. Pure; jitter comes from the run's number.

use spindle_shared::failure::FailureKind;
use spindle_shared::id::{AddressHasher, RunId};
use spindle_shared::time::MonoMs;

/// Tries in all, and the waits between them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Policy {
    /// Tries in all, the first counted.
    pub tries: u32,
    pub first_wait_ms: u64,
    pub growth: f64,
    pub wait_ms_max: u64,
}

impl Policy {
    const NONE: Policy = Policy { tries: 1, first_wait_ms: 0, growth: 1.0, wait_ms_max: 0 };

    /// The policy of a kind of failure.
    pub fn of(kind: FailureKind) -> Self {
        match kind {
            FailureKind::Network => Policy { tries: 5, first_wait_ms: 2_000, growth: 1.5, wait_ms_max: 30_000 },
            FailureKind::Server => Policy { tries: 4, first_wait_ms: 5_000, growth: 2.0, wait_ms_max: 60_000 },
            // Waiting until a service allows more is no try.
            FailureKind::RateLimited => {
                Policy { tries: u32::MAX, first_wait_ms: 5_000, growth: 2.0, wait_ms_max: 300_000 }
            }
            // Nor is waiting for room.
            FailureKind::DiskFull => {
                Policy { tries: u32::MAX, first_wait_ms: 10_000, growth: 2.0, wait_ms_max: 300_000 }
            }
            FailureKind::OutOfMemory | FailureKind::Crash | FailureKind::Timeout => {
                Policy { tries: 3, first_wait_ms: 1_000, growth: 2.0, wait_ms_max: 30_000 }
            }
            FailureKind::Quota
            | FailureKind::Auth
            | FailureKind::Input
            | FailureKind::Exists
            | FailureKind::Permission
            | FailureKind::Poison
            | FailureKind::ModelMissing
            | FailureKind::Cancelled
            | FailureKind::Internal => Policy::NONE,
        }
    }

    /// The batch's `--retries` takes the place of the count for kinds that are tried again at all.
    pub fn with_retries(self, retries: Option<u32>) -> Self {
        match retries {
            Some(retries) if self.tries > 1 && self.tries < u32::MAX => {
                Policy { tries: retries.saturating_add(1), ..self }
            }
            _ => self,
        }
    }

    /// How long to wait after try number `attempts` failed; `None` = that was the last.
    pub fn wait_ms(self, attempts: u32, run: RunId) -> Option<u64> {
        if attempts >= self.tries {
            return None;
        }
        let grown = self.first_wait_ms as f64 * self.growth.powi(attempts.saturating_sub(1).min(60) as i32);
        let wait = grown.min(self.wait_ms_max as f64);
        Some((wait * (1.0 + jitter(run))) as u64)
    }
}

/// What a service asks for, a little later, so that not all come back at once.
pub fn asked_wait_ms(asked: u64, run: RunId) -> u64 {
    let asked = asked.min(ASKED_WAIT_MS_MAX);
    asked + (asked as f64 * (jitter(run) - 0.1)) as u64
}

/// A day: longer than any service's window.
const ASKED_WAIT_MS_MAX: u64 = 86_400_000;

/// Tries that may still be repeated, of those that one batch has in an hour: a cause that fails everything is told of soon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Budget {
    left: f64,
    at: MonoMs,
}

impl Budget {
    /// Repeated tries in an hour; they come back evenly.
    pub const PER_HOUR: u32 = 100;

    pub fn new(now: MonoMs) -> Self {
        Budget { left: f64::from(Self::PER_HOUR), at: now }
    }

    /// Takes one, if there is one.
    pub fn take(&mut self, now: MonoMs) -> bool {
        let most = f64::from(Self::PER_HOUR);
        self.left = (self.left + now.since(self.at) as f64 / 3_600_000.0 * most).min(most);
        self.at = now;
        let taken = self.left >= 1.0;
        if taken {
            self.left -= 1.0;
        }
        taken
    }
}

/// 0.1–0.3, from the run's number: many jobs that failed together don't come back together.
fn jitter(run: RunId) -> f64 {
    let mut hasher = AddressHasher::default();
    hasher.part(&run.boot.to_le_bytes()).part(&run.counter.to_le_bytes());
    let byte = hasher.finish().0[0];
    0.1 + 0.2 * f64::from(byte) / 255.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(kind: FailureKind, retries: Option<u32>) -> Vec<u64> {
        let policy = Policy::of(kind).with_retries(retries);
        (1..).map_while(|attempts| policy.wait_ms(attempts, RunId { boot: 1, counter: 7 })).take(30).collect()
    }

    #[test]
    fn each_kind_has_its_number_of_tries() {
        for (kind, tries) in [
            (FailureKind::Network, 5),
            (FailureKind::Server, 4),
            (FailureKind::Crash, 3),
            (FailureKind::Timeout, 3),
            (FailureKind::Input, 1),
            (FailureKind::Auth, 1),
            (FailureKind::Exists, 1),
            (FailureKind::ModelMissing, 1),
        ] {
            assert_eq!(waits(kind, None).len() + 1, tries, "{kind}");
        }
        assert_eq!(waits(FailureKind::Network, Some(0)).len(), 0);
        assert_eq!(waits(FailureKind::Network, Some(9)).len(), 9);
        assert_eq!(waits(FailureKind::Input, Some(9)).len(), 0);
    }

    #[test]
    fn waiting_for_a_service_costs_no_try() {
        assert_eq!(waits(FailureKind::RateLimited, Some(0)).len(), 30, "as many as are looked at");
        let asked = asked_wait_ms(10_000, RunId { boot: 1, counter: 7 });
        assert!((10_000..=12_000).contains(&asked), "{asked}");
        assert!(asked_wait_ms(u64::MAX, RunId { boot: 1, counter: 7 }) < 2 * ASKED_WAIT_MS_MAX);
    }

    #[test]
    fn a_hundred_tries_an_hour_are_repeated() {
        let mut budget = Budget::new(MonoMs(0));
        let taken = |budget: &mut Budget, at: u64| (0..1_000).take_while(|_| budget.take(MonoMs(at))).count();
        assert_eq!(taken(&mut budget, 0), 100);
        assert_eq!(taken(&mut budget, 36_000), 1);
        assert_eq!(taken(&mut budget, 3_636_000), 100);
        assert_eq!(taken(&mut budget, 1_000_000_000), 100);
    }

    #[test]
    fn waits_grow_to_their_limit_with_10_to_30_per_cent_on_top() {
        let waits = waits(FailureKind::Network, Some(20));
        assert!((2_200..=2_600).contains(&waits[0]), "{waits:?}");
        assert!((3_300..=3_900).contains(&waits[1]), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= 39_000));
    }
}
