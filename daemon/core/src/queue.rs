//! The queue: which batch is served next. Priority, then the owner with the fewest at work, then the batch with the fewest; of equals the one
//! that was served longest ago, or never and is older: where one slot is all there is, nobody has anything at work when it is given away.
//!
//! Holds batches only, never jobs; each look and each change costs the logarithm of the batches of one priority.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use spindle_shared::batch::Priority;
use spindle_shared::id::{BatchId, Owner};
use spindle_shared::lane::Lane;

/// What a batch can be waiting for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// To bring one more job to work, of which most will be done in this lane.
    Admission(Lane),
    /// A slot for a job at work.
    Slot(Lane),
}

/// Where a batch stands among the others.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    pub priority: Priority,
    pub owner: Owner,
    /// Jobs it has at work (for admission) or running (for a slot).
    pub busy: u32,
    /// Number of the last time it was served; 0 = never.
    pub served: u64,
}

/// Batches waiting for one need.
type Waiting = BTreeMap<Priority, BTreeMap<Owner, BTreeSet<(u32, u64, BatchId)>>>;

/// All batches that wait for something.
#[derive(Debug, Default)]
pub struct Queue {
    waiting: HashMap<Need, Waiting>,
    standings: HashMap<(Need, BatchId), Standing>,
    at_work: HashMap<Owner, u32>,
    running: HashMap<Owner, u32>,
    /// When each owner was last served; a machine has few.
    admitted: HashMap<Owner, u64>,
    started: HashMap<Owner, u64>,
}

impl Queue {
    /// Puts a batch where it belongs now; `None` = it needs nothing of this.
    pub fn place(&mut self, need: Need, batch: BatchId, standing: Option<Standing>) {
        let before = match standing {
            Some(standing) => self.standings.insert((need, batch), standing),
            None => self.standings.remove(&(need, batch)),
        };
        if before == standing {
            return;
        }
        let waiting = self.waiting.entry(need).or_default();
        if let Some(old) = before
            && let Some(owners) = waiting.get_mut(&old.priority)
        {
            if let Some(batches) = owners.get_mut(&old.owner) {
                batches.remove(&(old.busy, old.served, batch));
                if batches.is_empty() {
                    owners.remove(&old.owner);
                }
            }
            if owners.is_empty() {
                waiting.remove(&old.priority);
            }
        }
        if let Some(new) = standing {
            waiting
                .entry(new.priority)
                .or_default()
                .entry(new.owner)
                .or_default()
                .insert((new.busy, new.served, batch));
        }
    }

    /// An owner's jobs at work changed by this many.
    pub fn owner_at_work(&mut self, owner: Owner, change: i32) {
        count(&mut self.at_work, owner, change);
    }

    /// An owner's runs changed by this many.
    pub fn owner_running(&mut self, owner: Owner, change: i32) {
        count(&mut self.running, owner, change);
    }

    /// An owner was served for the time with this number.
    pub fn serve(&mut self, need: Need, owner: Owner, number: u64) {
        match need {
            Need::Admission(_) => self.admitted.insert(owner, number),
            Need::Slot(_) => self.started.insert(owner, number),
        };
    }

    /// Who is served next.
    pub fn first(&self, need: Need) -> Option<BatchId> {
        let owners = self.waiting.get(&need)?.first_key_value()?.1;
        let (busy, served) = match need {
            Need::Admission(_) => (&self.at_work, &self.admitted),
            Need::Slot(_) => (&self.running, &self.started),
        };
        let rank = |owner: &Owner| (busy.get(owner).copied().unwrap_or(0), served.get(owner).copied().unwrap_or(0));
        let (_, batches) =
            owners.iter().min_by_key(|(owner, batches)| (rank(owner), batches.first().map(|(_, _, batch)| *batch)))?;
        batches.first().map(|(_, _, batch)| *batch)
    }
}

fn count(owners: &mut HashMap<Owner, u32>, owner: Owner, change: i32) {
    let busy = owners.entry(owner).or_default();
    *busy = busy.saturating_add_signed(change);
    if *busy == 0 {
        owners.remove(&owner);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn standing(priority: u8, owner: u32, busy: u32) -> Option<Standing> {
        Some(Standing { priority: Priority(priority), owner: Owner(owner), busy, served: 0 })
    }

    #[test]
    fn priority_then_owner_then_batch_then_age() {
        let need = Need::Admission(Lane::Cpu);
        let mut queue = Queue::default();
        queue.place(need, BatchId(1), standing(50, 1, 3));
        queue.place(need, BatchId(2), standing(50, 1, 0));
        queue.place(need, BatchId(3), standing(50, 2, 5));
        queue.owner_at_work(Owner(1), 3);
        queue.owner_running(Owner(2), 9);
        assert_eq!(queue.first(need), Some(BatchId(3)), "the owner with the fewest");
        queue.owner_at_work(Owner(2), 5);
        assert_eq!(queue.first(need), Some(BatchId(2)), "the batch with the fewest");
        queue.place(need, BatchId(2), standing(50, 1, 3));
        assert_eq!(queue.first(need), Some(BatchId(1)), "the older");
        queue.place(need, BatchId(4), standing(25, 9, 9));
        assert_eq!(queue.first(need), Some(BatchId(4)), "the more urgent");
        queue.place(need, BatchId(4), None);
        let served = standing(50, 1, 3).map(|standing| Standing { served: 7, ..standing });
        queue.place(need, BatchId(1), served);
        assert_eq!(queue.first(need), Some(BatchId(2)), "the one served longest ago");
        for batch in 1..=4 {
            queue.place(need, BatchId(batch), None);
        }
        assert_eq!(queue.first(need), None);
        assert_eq!(queue.first(Need::Slot(Lane::Cpu)), None);
    }
}
