//! Governor: how many processor slots may be used just now. Fewer while the machine is short of memory, more again when it is not. Pure.

use spindle_shared::time::MonoMs;

/// Between two changes, so that each can show what it does.
const PACE_MS: u64 = 10_000;

/// Of one lane.
#[derive(Debug, Default)]
pub struct Governor {
    /// `None` = all.
    allowed: Option<u32>,
    changed_at: Option<MonoMs>,
    short: bool,
}

/// What it has changed: slots allowed from now on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    Fewer(u32),
    More(u32),
    All,
}

impl Governor {
    pub fn allowed(&self, slots: u32) -> u32 {
        self.allowed.map_or(slots, |allowed| allowed.min(slots))
    }

    /// Whether the machine is short of memory, as the shell sees it.
    pub fn told(&mut self, short: bool) {
        self.short = short;
    }

    /// When something is due by itself.
    pub fn next(&self) -> Option<MonoMs> {
        (self.short || self.allowed.is_some()).then_some(self.changed_at?.plus(PACE_MS))
    }

    /// A run was refused memory, or killed for want of it; `busy`: slots in use before it ended.
    pub fn refused(&mut self, now: MonoMs, busy: u32) -> Option<Step> {
        if self.changed_at.is_some_and(|at| now.since(at) < PACE_MS) {
            return None;
        }
        self.fewer(now, busy)
    }

    /// Whatever is due now; `busy`: slots in use.
    pub fn tick(&mut self, now: MonoMs, busy: u32, slots: u32) -> Option<Step> {
        if self.changed_at.is_some_and(|at| now.since(at) < PACE_MS) {
            return None;
        }
        if self.short {
            return self.fewer(now, busy);
        }
        let more = self.allowed? + 1;
        self.changed_at = Some(now);
        if more >= slots {
            self.allowed = None;
            return Some(Step::All);
        }
        self.allowed = Some(more);
        Some(Step::More(more))
    }

    fn fewer(&mut self, now: MonoMs, busy: u32) -> Option<Step> {
        self.changed_at = Some(now);
        let fewer = (busy / 2).max(1);
        // Nothing to take away: one at a time is the least.
        if self.allowed.is_some_and(|allowed| allowed <= fewer) || busy <= 1 {
            return None;
        }
        self.allowed = Some(fewer);
        Some(Step::Fewer(fewer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_at_once_while_it_is_short_and_one_more_at_a_time_afterwards() {
        let mut governor = Governor::default();
        let at = |seconds: u64| MonoMs(seconds * 1_000);
        assert_eq!(governor.tick(at(0), 8, 8), None);
        governor.told(true);
        assert_eq!(governor.tick(at(1), 8, 8), Some(Step::Fewer(4)));
        assert_eq!(governor.tick(at(2), 8, 8), None, "not before it shows");
        assert_eq!(governor.next(), Some(at(11)));
        assert_eq!(governor.tick(at(11), 4, 8), Some(Step::Fewer(2)));
        assert_eq!(governor.tick(at(21), 1, 8), None, "one is the least");
        governor.told(false);
        let grown: Vec<_> = (4..20).filter_map(|step| governor.tick(at(step * 10 + 1), 2, 8)).collect();
        let more = (3..8).map(Step::More).chain([Step::All]).collect::<Vec<_>>();
        assert_eq!(grown, more);
        assert_eq!(governor.next(), None);
        assert_eq!(governor.allowed(8), 8);
    }

    #[test]
    fn a_run_without_memory_makes_fewer_and_many_of_them_only_once() {
        let mut governor = Governor::default();
        assert_eq!(governor.refused(MonoMs(1), 6), Some(Step::Fewer(3)));
        assert_eq!(governor.refused(MonoMs(2), 5), None);
        assert_eq!(governor.refused(MonoMs(10_001), 1), None, "a single run is not one too many");
    }
}
