//! Fair use: how many hours of recordings each owner may have worked through in a day.

use spindle_shared::id::{BatchId, Owner};
use spindle_shared::time::MonoMs;

use super::Scheduler;
use super::terms::CLOCK_MS_MAX;
use crate::change::Change;

const DAY_MS: u64 = 86_400_000;

impl Scheduler {
    fn today(&self) -> u64 {
        self.now.wall.0 / DAY_MS
    }

    /// Whether this owner has had today's share. What was had on another day, before or after a leap of the clock, is over.
    pub(super) fn has_had_enough(&self, owner: Owner) -> bool {
        let Some(hours) = self.config.quota.media_hours else { return false };
        let spent = self.spent.get(&owner).filter(|(day, _)| *day == self.today());
        spent.is_some_and(|(_, seconds)| *seconds >= f64::from(hours) * 3_600.0)
    }

    /// A new or recovered batch is held back if its owner has had enough.
    pub(super) fn apply_quota(&mut self, id: BatchId) {
        let Some(owner) = self.batches.get(&id).map(|batch| batch.owner) else { return };
        let enough = self.has_had_enough(owner);
        if enough {
            self.held_back.insert(owner);
        }
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.over_quota = enough;
        }
    }

    /// A recording of this batch has been worked through.
    pub(super) fn spend(&mut self, id: BatchId, media_seconds: f64) {
        let Some(hours) = self.config.quota.media_hours else { return };
        let Some(owner) = self.batches.get(&id).map(|batch| batch.owner) else { return };
        let today = self.today();
        let (day, spent) = self.spent.entry(owner).or_insert((today, 0.0));
        if *day != today {
            (*day, *spent) = (today, 0.0);
        }
        if media_seconds.is_finite() && media_seconds > 0.0 {
            *spent += media_seconds;
        }
        let spent = *spent;
        self.changes.push(Change::Spent(owner, today, spent));
        if self.has_had_enough(owner) {
            let held: Vec<BatchId> = self.of_owner(owner, false);
            if !held.is_empty() {
                self.alert(format!(
                    "user {} has had {:.1} h of recordings today, and {hours} h are allowed \
                     (limits.user_media_hours): the rest goes on at 00:00 UTC",
                    owner.0,
                    spent / 3_600.0
                ));
            }
            self.held_back.insert(owner);
            self.hold(&held, true);
        }
    }

    fn of_owner(&self, owner: Owner, held: bool) -> Vec<BatchId> {
        let own = self.batches.values().filter(|batch| batch.owner == owner && batch.over_quota == held);
        own.map(|batch| batch.id).collect()
    }

    fn hold(&mut self, batches: &[BatchId], hold: bool) {
        for id in batches {
            if hold {
                self.forget_eta(*id);
                self.step_back(*id);
            }
            if let Some(batch) = self.batches.get_mut(id) {
                batch.over_quota = hold;
            }
            self.dirty.insert(*id);
            self.touch(*id);
        }
        self.look_ahead_soon();
    }

    /// A new day has come for those that were held back.
    pub(super) fn pass_day(&mut self) {
        let free: Vec<Owner> = self.held_back.iter().copied().filter(|owner| !self.has_had_enough(*owner)).collect();
        for owner in free {
            // So that a clock that leaps back takes nothing back.
            let today = self.today();
            self.spent.insert(owner, (today, 0.0));
            self.changes.push(Change::Spent(owner, today, 0.0));
            self.held_back.remove(&owner);
            self.hold(&self.of_owner(owner, true), false);
        }
    }

    /// When the wall clock is to be looked at for the next day.
    pub(super) fn next_day(&self) -> Option<MonoMs> {
        self.held_back.first()?;
        let left = DAY_MS - self.now.wall.0 % DAY_MS;
        Some(self.now.mono.plus(left.clamp(1, CLOCK_MS_MAX)))
    }
}
