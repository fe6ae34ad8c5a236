//! Forecast: when the batches that share a lane come to their ends, from the work each has left. Pure; knows seconds and slots, not what is done
//! in them.
//!
//! What comes next is laid out piece by piece, by the rules of the queue: priority, then the owner with the fewest running, then the batch with the
//! fewest, of equals the one served longest ago. What lies too far ahead for that is poured on top as if it were a fluid, shared by the same rules.

use std::collections::{BTreeMap, BTreeSet};

use spindle_shared::batch::Priority;
use spindle_shared::id::Owner;

/// What one batch has left to do in one lane.
#[derive(Debug, Clone, PartialEq)]
pub struct Load {
    pub priority: Priority,
    pub owner: Owner,
    /// Number of the last time it was served; 0 = never.
    pub served: u64,
    /// Slots it may hold at once.
    pub limit: f64,
    /// Seconds until each of its runs ends, and the slots it holds until then.
    pub running: Vec<(f64, f64)>,
    /// Whether a piece that begins where others leave slots free takes them too, and is done so much sooner.
    pub spreads: bool,
    /// Slot-seconds of the next pieces, in order; each holds one slot, unless it spreads.
    pub next: Vec<f64>,
    /// Pieces after those, and their seconds.
    pub later: (f64, f64),
    /// Nothing is known of what waits; it takes its share and no end of it is seen.
    pub endless: bool,
}

impl Load {
    fn waiting(&self) -> f64 {
        if self.endless { f64::INFINITY } else { self.next.iter().sum::<f64>() + self.later.1 }
    }

    fn running_work(&self) -> f64 {
        self.running.iter().map(|(seconds, slots)| seconds * slots).sum()
    }

    /// Slot-seconds left, of what is known.
    pub fn work(&self) -> f64 {
        self.running_work() + self.next.iter().sum::<f64>() + self.later.1
    }

    /// Slots that it can hold of so many.
    fn slots_max(&self, slots: f64) -> f64 {
        if self.spreads { slots } else { self.limit.min(slots) }
    }

    fn runs_end(&self) -> f64 {
        self.running.iter().map(|(seconds, _)| *seconds).fold(0.0, f64::max)
    }
}

/// Batches that are followed one by one; those behind them are taken one after the other.
const FOLLOWED_MAX: usize = 100;
/// Pieces that are laid out one by one.
const LAID_OUT_MAX: usize = 1_000;
/// Seconds that are as good as for ever.
const NEVER: f64 = 1e9;
/// Below this nothing is left.
const NOTHING: f64 = 1e-9;

/// Seconds until each load is done, in a lane with this many slots; infinite where no end is seen.
pub fn ends(slots: f64, loads: &[Load]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..loads.len()).collect();
    order.sort_by_key(|at| loads[*at].priority);
    let (followed, behind) = order.split_at(order.len().min(FOLLOWED_MAX));
    let mut ends = vec![0.0; loads.len()];
    let mut layout = Layout::new(slots, followed.iter().map(|at| &loads[*at]).collect());
    for (at, end) in followed.iter().zip(layout.ends()) {
        ends[*at] = end;
    }
    let mut before: f64 = followed.iter().map(|at| loads[*at].running_work() + loads[*at].waiting()).sum();
    for at in behind {
        before += loads[*at].running_work() + loads[*at].waiting();
        ends[*at] = before / slots.max(1.0);
    }
    ends
}

/// Slots and what is laid out in them so far.
struct Layout<'l> {
    slots: f64,
    loads: Vec<&'l Load>,
    standings: Vec<Standing>,
    owners: BTreeMap<Owner, Standing>,
    served: u64,
    now: f64,
    /// Ends of what runs, in billionths of a second: which load's, and the slots it holds.
    runs: BTreeSet<(u64, usize, u64)>,
    laid_out: usize,
}

/// How one load, or all of one owner, stands while the slots are filled.
#[derive(Debug, Clone, Copy, Default)]
struct Standing {
    /// Listed pieces that are laid out, and others.
    next: usize,
    later: f64,
    held: f64,
    served: u64,
    end: f64,
}

impl<'l> Layout<'l> {
    fn new(slots: f64, loads: Vec<&'l Load>) -> Self {
        let standings = loads.iter().map(|load| Standing { served: load.served, ..Standing::default() }).collect();
        let mut owners: BTreeMap<Owner, Standing> = BTreeMap::new();
        for load in &loads {
            let owner = owners.entry(load.owner).or_default();
            owner.served = load.served.max(owner.served);
        }
        let served = loads.iter().map(|load| load.served).max().unwrap_or(0);
        let mut layout =
            Layout { slots, loads, standings, owners, served, now: 0.0, runs: BTreeSet::new(), laid_out: 0 };
        for at in 0..layout.loads.len() {
            for (seconds, slots) in &layout.loads[at].running {
                layout.hold(at, *seconds, *slots);
            }
        }
        layout
    }

    fn ends(&mut self) -> Vec<f64> {
        loop {
            while self.laid_out < LAID_OUT_MAX
                && self.free() >= 1.0
                && let Some(at) = self.first()
            {
                self.lay_out(at);
            }
            if self.laid_out >= LAID_OUT_MAX {
                return self.pour_the_rest();
            }
            let Some((end, at, slots)) = self.runs.pop_first() else { break };
            self.now = end as f64 / 1e9;
            if self.now >= NEVER {
                break;
            }
            self.held(at, -(slots as f64));
        }
        (0..self.loads.len()).map(|at| if self.has_more(at) { f64::INFINITY } else { self.standings[at].end }).collect()
    }

    fn held(&mut self, at: usize, change: f64) {
        self.standings[at].held += change;
        self.owners.entry(self.loads[at].owner).or_default().held += change;
    }

    fn free(&self) -> f64 {
        self.slots - self.standings.iter().map(|standing| standing.held).sum::<f64>()
    }

    fn hold(&mut self, at: usize, seconds: f64, slots: f64) {
        let (end, slots) = (self.now + seconds.max(0.0), slots.max(1.0).round());
        self.held(at, slots);
        self.standings[at].end = self.standings[at].end.max(end);
        // Equal ends of one load are told apart by a billionth of a second.
        let mut key = (end.min(NEVER) * 1e9) as u64;
        while !self.runs.insert((key, at, slots as u64)) {
            key += 1;
        }
    }

    /// The load whose piece comes next, if any can.
    fn first(&self) -> Option<usize> {
        let rank = |standing: Standing| (standing.held.round() as u64, standing.served);
        (0..self.loads.len())
            .filter(|at| self.has_more(*at) && self.standings[*at].held < self.loads[*at].limit)
            .min_by_key(|at| {
                let (load, standing) = (self.loads[*at], self.standings[*at]);
                let owner = self.owners.get(&load.owner).copied().unwrap_or_default();
                (load.priority, rank(owner), load.owner, rank(standing), *at)
            })
    }

    fn has_more(&self, at: usize) -> bool {
        let (load, standing) = (self.loads[at], self.standings[at]);
        load.endless || standing.next < load.next.len() || standing.later + 0.5 < load.later.0
    }

    fn lay_out(&mut self, at: usize) {
        let load = self.loads[at];
        self.served += 1;
        self.laid_out += 1;
        self.owners.entry(load.owner).or_default().served = self.served;
        let standing = &mut self.standings[at];
        standing.served = self.served;
        let seconds = match load.next.get(standing.next) {
            Some(seconds) => {
                standing.next += 1;
                *seconds
            }
            None if load.endless => f64::INFINITY,
            None => {
                standing.later += 1.0;
                load.later.1 / load.later.0.max(1.0)
            }
        };
        let slots = if load.spreads { self.share(at) } else { 1.0 };
        self.hold(at, seconds / slots, slots);
    }

    /// Slots for a piece of this load that begins now, as the scheduler gives them: what is free, shared with all that could begin as well.
    fn share(&self, at: usize) -> f64 {
        let free = self.free().max(1.0);
        let mut others = 0.0;
        for (other, load) in self.loads.iter().enumerate() {
            let standing = self.standings[other];
            let left = (load.next.len() - standing.next) as f64 + load.later.0 - standing.later;
            let held = standing.held + if other == at { 1.0 } else { 0.0 };
            others += if load.endless { free } else { left.min(load.limit - held).max(0.0) };
            if others >= free {
                return 1.0;
            }
        }
        (free / (1.0 + others)).floor().clamp(1.0, free)
    }

    /// Ends where what was not laid out is a fluid.
    fn pour_the_rest(&self) -> Vec<f64> {
        let rest: Vec<Load> = (0..self.loads.len()).map(|at| self.rest_of(at)).collect();
        let poured = pour(self.slots, &rest.iter().collect::<Vec<_>>());
        let ends = self.standings.iter().zip(poured).zip(&rest);
        ends.map(|((standing, end), rest)| match rest.waiting() > 0.0 {
            true => standing.end.max(self.now + end + idle(self.slots, rest)),
            false => standing.end,
        })
        .collect()
    }

    fn rest_of(&self, at: usize) -> Load {
        let (load, standing) = (self.loads[at], self.standings[at]);
        let mine = self.runs.iter().filter(|(_, of, _)| *of == at);
        let running = mine.map(|(end, _, slots)| ((*end as f64 / 1e9 - self.now).max(0.0), *slots as f64)).collect();
        let left = (load.later.0 - standing.later).max(0.0);
        let later = (left, if load.later.0 > 0.0 { load.later.1 * left / load.later.0 } else { 0.0 });
        Load { running, next: load.next[standing.next..].to_vec(), later, ..load.clone() }
    }
}

/// How much longer pieces take than a fluid: where the last ones end is chance, and on average each slot but one idles for half a piece.
fn idle(slots: f64, load: &Load) -> f64 {
    let (pieces, slots) = (load.next.len() as f64 + load.later.0, load.slots_max(slots).max(1.0));
    if load.endless || pieces < 1.0 { 0.0 } else { (slots - 1.0) / slots * load.waiting() / pieces / 2.0 }
}

/// Ends of the loads if what waits were a fluid.
fn pour(slots: f64, loads: &[&Load]) -> Vec<f64> {
    let mut left: Vec<f64> = loads.iter().map(|load| load.waiting()).collect();
    let mut ends: Vec<f64> = loads.iter().map(|load| load.runs_end()).collect();
    let mut now = 0.0;
    // Each turn of the loop sees a run or a load come to its end.
    let turns = loads.iter().map(|load| load.running.len() + 1).sum::<usize>();
    for _ in 0..turns {
        let held = |load: &Load| -> f64 {
            load.running.iter().filter(|(end, _)| *end > now + NOTHING).map(|(_, slots)| slots).sum()
        };
        let free = (slots - loads.iter().map(|load| held(load)).sum::<f64>()).max(0.0);
        let claims: Vec<Claim> = loads
            .iter()
            .zip(&left)
            .map(|(load, left)| Claim {
                priority: load.priority,
                owner: load.owner,
                room: if *left > NOTHING { (load.slots_max(slots) - held(load)).max(0.0) } else { 0.0 },
            })
            .collect();
        let shares = share(free, &claims);
        let runs = loads.iter().flat_map(|load| &load.running).map(|(end, _)| *end).filter(|end| *end > now + NOTHING);
        let pours = left.iter().zip(&shares).filter(|(_, share)| **share > 0.0).map(|(left, share)| now + left / share);
        let next = runs.chain(pours).fold(f64::INFINITY, f64::min);
        if !next.is_finite() {
            break;
        }
        for ((left, share), end) in left.iter_mut().zip(&shares).zip(&mut ends) {
            if *share > 0.0 {
                *left -= share * (next - now);
                if *left <= NOTHING {
                    *left = 0.0;
                    *end = end.max(next);
                }
            }
        }
        now = next;
    }
    for (left, end) in left.iter().zip(&mut ends) {
        if *left > NOTHING {
            *end = f64::INFINITY;
        }
    }
    ends
}

/// A wish for slots.
struct Claim {
    priority: Priority,
    owner: Owner,
    /// Slots it can use.
    room: f64,
}

/// Who holds how much of the free slots, by the rules of the queue.
fn share(free: f64, claims: &[Claim]) -> Vec<f64> {
    let mut shares = vec![0.0; claims.len()];
    let mut free = free;
    let mut wishing: Vec<usize> = (0..claims.len()).filter(|at| claims[*at].room > 0.0).collect();
    wishing.sort_by_key(|at| (claims[*at].priority, claims[*at].owner));
    for urgent in wishing.chunk_by(|one, other| claims[*one].priority == claims[*other].priority) {
        let owners: Vec<&[usize]> = urgent.chunk_by(|one, other| claims[*one].owner == claims[*other].owner).collect();
        let room = |batches: &[usize]| -> Vec<f64> { batches.iter().map(|at| claims[*at].room).collect() };
        let wished: Vec<f64> = owners.iter().map(|batches| room(batches).iter().sum()).collect();
        for (batches, given) in owners.iter().zip(fill(free, &wished)) {
            for (at, given) in batches.iter().zip(fill(given, &room(batches))) {
                shares[*at] = given;
                free -= given;
            }
        }
        free = free.max(0.0);
    }
    shares
}

/// The same for everybody, but for nobody more than wished.
fn fill(given: f64, wished: &[f64]) -> Vec<f64> {
    let mut order: Vec<usize> = (0..wished.len()).collect();
    order.sort_by(|one, other| wished[*one].total_cmp(&wished[*other]));
    let (mut left, mut filled) = (given, vec![0.0; wished.len()]);
    for (nth, at) in order.iter().enumerate() {
        filled[*at] = wished[*at].min(left / (wished.len() - nth) as f64);
        left -= filled[*at];
    }
    filled
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(next: &[f64]) -> Load {
        Load {
            priority: Priority::NORMAL,
            owner: Owner(1),
            served: 0,
            limit: 64.0,
            running: Vec::new(),
            spreads: false,
            next: next.to_vec(),
            later: (0.0, 0.0),
            endless: false,
        }
    }

    fn near(ends: &[f64], expected: &[f64]) {
        assert_eq!(ends.len(), expected.len());
        assert!(
            ends.iter().zip(expected).all(|(end, expected)| (end - expected).abs() < 1e-6),
            "{ends:?}, not {expected:?}"
        );
    }

    #[test]
    fn one_batch_is_laid_out_over_its_slots() {
        for (slots, pieces, end) in [
            (2.0, &[10.0, 10.0, 10.0, 10.0][..], 20.0),
            (2.0, &[10.0, 10.0, 10.0], 20.0),
            // The last one is long, and nobody can help it.
            (2.0, &[1.0, 1.0, 1.0, 1.0, 100.0], 102.0),
            (2.0, &[100.0, 1.0, 1.0, 1.0, 1.0], 100.0),
            (4.0, &[7.0], 7.0),
            (4.0, &[], 0.0),
        ] {
            near(&ends(slots, &[load(pieces)]), &[end]);
        }
    }

    #[test]
    fn a_batch_takes_no_more_slots_than_it_may() {
        near(&ends(4.0, &[Load { limit: 1.0, ..load(&[10.0, 10.0, 10.0]) }]), &[30.0]);
        near(&ends(4.0, &[Load { limit: 2.0, ..load(&[10.0, 10.0, 10.0, 10.0]) }]), &[20.0]);
    }

    #[test]
    fn a_piece_that_spreads_takes_what_nobody_else_needs() {
        let spread = |limit: f64, next: &[f64]| Load { limit, spreads: true, ..load(next) };
        near(&ends(4.0, &[spread(1.0, &[12.0, 12.0])]), &[6.0]);
        near(&ends(4.0, &[spread(64.0, &[12.0, 12.0])]), &[6.0]);
        // As many as there are slots: one each. The last one begins where one slot is free.
        near(&ends(2.0, &[spread(64.0, &[10.0, 11.0, 10.0])]), &[20.0]);
        near(&ends(2.0, &[spread(64.0, &[10.0]), spread(64.0, &[10.0])]), &[10.0, 10.0]);
        let endless = Load { endless: true, ..load(&[]) };
        near(&ends(2.0, &[spread(1.0, &[10.0]), endless])[..1], &[10.0]);
    }

    #[test]
    fn what_runs_holds_its_slot_until_it_ends() {
        near(&ends(2.0, &[Load { running: vec![(30.0, 1.0), (4.0, 1.0)], ..load(&[10.0, 10.0]) }]), &[30.0]);
        near(&ends(2.0, &[Load { running: vec![(30.0, 2.0)], ..load(&[10.0]) }]), &[40.0]);
        // Somebody else's run, too, however urgent the one that waits.
        let idle = Load { priority: Priority(100), running: vec![(30.0, 1.0)], ..load(&[]) };
        let urgent = Load { priority: Priority(0), ..load(&[5.0]) };
        near(&ends(1.0, &[idle, urgent]), &[30.0, 35.0]);
    }

    #[test]
    fn the_more_urgent_comes_first_and_equals_share() {
        let urgent = Load { priority: Priority(0), ..load(&[10.0; 4]) };
        near(&ends(2.0, &[load(&[10.0; 4]), urgent.clone()]), &[40.0, 20.0]);
        near(&ends(2.0, &[load(&[10.0; 4]), load(&[10.0; 8])]), &[40.0, 60.0]);
        // One that may hold one slot only leaves the other to whoever is next.
        near(&ends(2.0, &[load(&[10.0; 4]), Load { limit: 1.0, ..urgent }]), &[40.0, 40.0]);
    }

    #[test]
    fn batches_of_one_piece_come_one_after_the_other() {
        let loads: Vec<Load> = (0..6).map(|_| load(&[10.0])).collect();
        near(&ends(2.0, &loads), &[10.0, 10.0, 20.0, 20.0, 30.0, 30.0]);
        let late = Load { served: 3, ..load(&[10.0]) };
        near(&ends(1.0, &[late, load(&[10.0])]), &[20.0, 10.0]);
    }

    #[test]
    fn owners_share_before_batches_do() {
        let mine = || Load { owner: Owner(1), ..load(&[1.0; 40]) };
        let yours = Load { owner: Owner(2), ..load(&[1.0; 40]) };
        let ends = ends(2.0, &[mine(), mine(), yours]);
        near(&ends, &[60.0, 60.0, 40.0]);
    }

    #[test]
    fn pieces_too_far_ahead_are_poured_on_top() {
        for later in [90.0, 9_000.0, 900_000.0] {
            let end = ends(2.0, &[Load { later: (later, later * 10.0), ..load(&[10.0; 10]) }])[0];
            let expected = (later + 10.0) * 5.0;
            assert!((end / expected - 1.0).abs() < 0.01, "{end} and {expected}");
        }
        // Two that are both too large, and a small one that is not kept waiting by them.
        let large = || Load { later: (50_000.0, 50_000.0), ..load(&[]) };
        let ends = ends(3.0, &[large(), large(), load(&[1.0; 5])]);
        assert!((ends[0] - 33_335.0).abs() < 5.0 && (ends[1] - 33_335.0).abs() < 5.0, "{ends:?}");
        assert!((5.0..8.0).contains(&ends[2]), "{ends:?}");
    }

    #[test]
    fn behind_something_endless_no_end_is_seen_and_beside_it_one_is() {
        let endless = Load { endless: true, ..load(&[]) };
        assert_eq!(ends(2.0, &[Load { priority: Priority(0), ..endless.clone() }, load(&[10.0])])[1], f64::INFINITY);
        near(&ends(2.0, &[endless, load(&[10.0; 4])])[1..], &[40.0]);
    }

    #[test]
    fn a_thousand_batches_are_told_in_order() {
        let loads: Vec<Load> = (0..1_000).map(|_| load(&[10.0])).collect();
        let ends = ends(2.0, &loads);
        assert!(ends.iter().zip(1..).all(|(end, nth)| (end - f64::from(nth) * 5.0).abs() <= 5.1), "{ends:?}");
    }

    #[test]
    fn shares_never_exceed_what_there_is() {
        for (given, wished) in [(2.0, &[1.0, 5.0, 0.5][..]), (10.0, &[1.0, 2.0]), (0.0, &[1.0]), (3.0, &[])] {
            let filled = fill(given, wished);
            let sum: f64 = filled.iter().sum();
            assert!(sum <= given + 1e-9 && (sum - given.min(wished.iter().sum())).abs() < 1e-9, "{filled:?}");
            assert!(filled.iter().zip(wished).all(|(given, wished)| given <= wished));
        }
    }
}
