//! The outbox: notifications that are durable and not delivered yet; what is due, in which order, and when a try is repeated. Pure: times come from
//! outside, and what is to be written goes out as changes.
//!
//! For one batch and one target they go out one after the other, in the order in which they came about; a target that doesn't answer holds up
//! its own alone.

use std::collections::{BTreeMap, BTreeSet};

use spindle_shared::id::{AddressHasher, BatchId};
use spindle_shared::limits::{DELIVERIES_AT_ONCE_MAX, DELIVERIES_MAX, FAILURE_TEXT_BYTES_MAX};
use spindle_shared::notify::Notify;
use spindle_shared::time::WallMs;

use crate::change::Change;

const SECOND_MS: u64 = 1_000;
const FIRST_WAIT_MS: u64 = 5 * SECOND_MS;
const LONGEST_WAIT_MS: u64 = 3_600 * SECOND_MS;
/// An endpoint that is down for so long has lost what was meant for it.
const GIVE_UP_MS: u64 = 72 * LONGEST_WAIT_MS;
/// … and has been tried as often as in two days at least: a clock that is set ahead gives nothing up, nor does a daemon that was away for days.
const GIVE_UP_TRIES: u32 = 48;
/// A command that fails is tried so often: what is wrong with it is on this machine, and a person's to mend.
const COMMAND_TRIES: u32 = 3;

/// One notification on its way to one target.
#[derive(Debug, Clone, PartialEq)]
pub struct Delivery {
    /// Never given again.
    pub id: u64,
    /// Of an alert there is none.
    pub batch: Option<BatchId>,
    pub target: Notify,
    /// `batch`, `failure`, `alert`.
    pub event: String,
    /// What is told, as JSON; the same in every try.
    pub body: String,
    pub created_at: WallMs,
    /// Tries that have failed.
    pub tries: u32,
    /// Not before this time.
    pub next_at: WallMs,
}

/// How a try ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Tried {
    Delivered,
    /// Why not, and how long the target asks to be left alone.
    Failed {
        why: String,
        wait_ms: Option<u64>,
    },
    /// It was broken off, by nobody's fault.
    Stopped,
}

/// What follows from a try.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    Delivered,
    Again { in_ms: u64 },
    GivenUp,
}

#[derive(Debug, Default)]
pub struct Outbox {
    next: u64,
    waiting: BTreeMap<u64, Delivery>,
    /// Those of one batch for one target, in order; the first is the one that goes out.
    lanes: BTreeMap<(Option<BatchId>, Notify), BTreeSet<u64>>,
    under_way: BTreeSet<u64>,
    /// Firsts of their lanes that are not under way, by when they are due.
    due: BTreeSet<(WallMs, u64)>,
}

impl Outbox {
    /// As the last daemon left it. Whatever was under way may have been delivered: its number tells the target.
    pub fn recover(next: u64, deliveries: Vec<Delivery>) -> Self {
        let mut outbox = Outbox { next, ..Outbox::default() };
        for delivery in deliveries {
            outbox.next = outbox.next.max(delivery.id + 1);
            outbox.enter(delivery);
        }
        outbox
    }

    /// A new one, which is to be written before it goes out. `None` = there is no room for more.
    pub fn compose(
        &mut self,
        now: WallMs,
        batch: Option<BatchId>,
        target: Notify,
        event: &str,
        body: impl FnOnce(u64) -> String,
    ) -> Option<Delivery> {
        if self.waiting.len() >= DELIVERIES_MAX {
            return None;
        }
        let id = self.next;
        self.next += 1;
        let (event, body) = (event.to_owned(), body(id));
        Some(Delivery { id, batch, target, event, body, created_at: now, tries: 0, next_at: now })
    }

    /// It is durable now.
    pub fn enter(&mut self, delivery: Delivery) {
        let lane = self.lanes.entry((delivery.batch, delivery.target.clone())).or_default();
        let first = lane.first().copied();
        lane.insert(delivery.id);
        match first {
            Some(first) if first < delivery.id => {}
            other => {
                if let Some(second) = other.and_then(|id| self.waiting.get(&id)) {
                    self.due.remove(&(second.next_at, second.id));
                }
                self.due.insert((delivery.next_at, delivery.id));
            }
        }
        self.waiting.insert(delivery.id, delivery);
    }

    /// Those that are to be tried now; they count as under way.
    pub fn take_due(&mut self, now: WallMs) -> Vec<Delivery> {
        let mut taken = Vec::new();
        while self.under_way.len() < DELIVERIES_AT_ONCE_MAX {
            let Some(&(at, id)) = self.due.first() else { break };
            // A clock that has leapt back makes nobody wait longer than the longest wait.
            if at > now && at.0 - now.0 <= LONGEST_WAIT_MS * 2 {
                break;
            }
            self.due.remove(&(at, id));
            self.under_way.insert(id);
            taken.extend(self.waiting.get(&id).cloned());
        }
        taken
    }

    /// When the next is due; `None` = not before one that is under way has ended.
    pub fn next_due(&self) -> Option<WallMs> {
        let free = self.under_way.len() < DELIVERIES_AT_ONCE_MAX;
        self.due.first().map(|(at, _)| *at).filter(|_| free)
    }

    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// A try has ended; `None` = nobody knows of it.
    pub fn ended(&mut self, now: WallMs, id: u64, tried: &Tried) -> Option<(Verdict, Change)> {
        if !self.under_way.remove(&id) {
            return None;
        }
        let delivery = self.waiting.get_mut(&id)?;
        let (in_ms, why) = match tried {
            Tried::Delivered => {
                self.leave(id);
                return Some((Verdict::Delivered, Change::DeliveryOver(id)));
            }
            Tried::Stopped => (0, None),
            Tried::Failed { why, wait_ms } => {
                delivery.tries += 1;
                let late = now.0.saturating_sub(delivery.created_at.0) >= GIVE_UP_MS && delivery.tries >= GIVE_UP_TRIES;
                let spent = matches!(delivery.target, Notify::Command(_)) && delivery.tries >= COMMAND_TRIES;
                if late || spent {
                    self.leave(id);
                    return Some((Verdict::GivenUp, Change::DeliveryOver(id)));
                }
                (wait_of(delivery, *wait_ms), Some(why))
            }
        };
        delivery.next_at = WallMs(now.0.saturating_add(in_ms));
        let (next_at, tries) = (delivery.next_at, delivery.tries);
        self.due.insert((next_at, id));
        let mut why = why.cloned().unwrap_or_default();
        why.truncate((0..=FAILURE_TEXT_BYTES_MAX).rev().find(|at| why.is_char_boundary(*at)).unwrap_or(0));
        Some((Verdict::Again { in_ms }, Change::DeliveryTried { id, tries, next_at, why }))
    }

    fn leave(&mut self, id: u64) {
        let Some(gone) = self.waiting.remove(&id) else { return };
        let key = (gone.batch, gone.target);
        let Some(lane) = self.lanes.get_mut(&key) else { return };
        lane.remove(&id);
        match lane.first().and_then(|next| self.waiting.get(next)) {
            Some(next) => drop(self.due.insert((next.next_at, next.id))),
            None => drop(self.lanes.remove(&key)),
        }
    }
}

/// Twice as long with each try, a tenth to three tenths of it by chance that the number decides.
fn wait_of(delivery: &Delivery, asked_ms: Option<u64>) -> u64 {
    let doubled =
        FIRST_WAIT_MS.saturating_mul(1_u64 << (delivery.tries.saturating_sub(1)).min(20)).min(LONGEST_WAIT_MS);
    let mut hasher = AddressHasher::default();
    hasher.part(&delivery.id.to_le_bytes()).part(&delivery.tries.to_le_bytes());
    let chance = u64::from(hasher.finish().0[0]);
    let wait = doubled + doubled / 10 + doubled / 5 * chance / 255;
    wait.max(asked_ms.unwrap_or(0).min(LONGEST_WAIT_MS))
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;
    const HOUR: u64 = 60 * MINUTE;

    fn url(path: &str) -> Notify {
        Notify::Webhook { url: format!("https://hooks.example/{path}"), secret: None }
    }

    /// A store's rows, and an endpoint that notes what has come.
    struct World {
        outbox: Outbox,
        rows: BTreeMap<u64, Delivery>,
        next: u64,
        now: u64,
        came: Vec<Delivery>,
        tries: u32,
    }

    impl World {
        fn new() -> Self {
            World { outbox: Outbox::default(), rows: BTreeMap::new(), next: 0, now: 0, came: Vec::new(), tries: 0 }
        }

        fn tell(&mut self, batch: u64, target: &Notify, event: &str) {
            let composed =
                self.outbox.compose(WallMs(self.now), Some(BatchId(batch)), target.clone(), event, |id| id.to_string());
            let delivery = composed.unwrap();
            self.rows.insert(delivery.id, delivery.clone());
            self.next = delivery.id + 1;
            self.outbox.enter(delivery);
        }

        fn restart(&mut self) {
            self.outbox = Outbox::recover(self.next, self.rows.values().cloned().collect());
        }

        /// Until then, with what is due tried as it comes due.
        fn run(&mut self, until: u64, answers: impl Fn(&Delivery, u64) -> Tried) {
            loop {
                for delivery in self.outbox.take_due(WallMs(self.now)) {
                    self.tries += 1;
                    let tried = answers(&delivery, self.now);
                    let (_, change) = self.outbox.ended(WallMs(self.now), delivery.id, &tried).unwrap();
                    match change {
                        Change::DeliveryOver(id) => drop(self.rows.remove(&id)),
                        Change::DeliveryTried { id, tries, next_at, .. } => {
                            let row = self.rows.get_mut(&id).unwrap();
                            (row.tries, row.next_at) = (tries, next_at);
                        }
                        other => panic!("{other:?}"),
                    }
                    if tried == Tried::Delivered {
                        self.came.push(delivery);
                    }
                }
                match self.outbox.next_due() {
                    Some(at) if at.0 <= until => self.now = self.now.max(at.0),
                    _ => break,
                }
            }
            self.now = until;
        }
    }

    fn failed() -> Tried {
        Tried::Failed { why: "answered 503".to_owned(), wait_ms: None }
    }

    #[test]
    fn an_endpoint_that_is_down_for_an_hour_gets_everything_in_order_over_restarts() {
        let mut world = World::new();
        let (down, well) = (url("down"), url("well"));
        let answers = |delivery: &Delivery, now: u64| {
            let is_down = now < HOUR && delivery.target == url("down");
            if is_down { failed() } else { Tried::Delivered }
        };
        for (step, minute) in (0..60).step_by(10).enumerate() {
            world.run(minute * MINUTE, answers);
            for batch in 1..=3 {
                world.tell(batch, &down, &format!("event {step}"));
                world.tell(batch, &well, &format!("event {step}"));
            }
            if step % 2 == 1 {
                world.restart();
            }
        }
        world.run(50 * MINUTE, answers);
        assert!(world.came.iter().all(|delivery| delivery.target == well), "the other is not held up");
        assert_eq!(world.came.len(), 18);
        world.restart();
        world.run(4 * HOUR, answers);
        assert_eq!((world.came.len(), world.rows.len(), world.outbox.len()), (36, 0, 0));
        for batch in 1..=3 {
            for target in [&down, &well] {
                let own = world.came.iter().filter(|d| d.batch == Some(BatchId(batch)) && d.target == *target);
                let ids: Vec<u64> = own.map(|delivery| delivery.id).collect();
                assert!(ids.len() == 6 && ids.is_sorted(), "{ids:?}");
            }
        }
        let mut ids: Vec<u64> = world.came.iter().map(|delivery| delivery.id).collect();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), 36, "each has a number of its own");
        assert!(world.tries < 36 + 3 * 20, "{} tries: waits grow", world.tries);
    }

    #[test]
    fn waits_double_to_an_hour_and_three_days_are_enough() {
        let mut world = World::new();
        world.tell(1, &url("gone"), "batch");
        let mut times = Vec::new();
        let seen = std::cell::RefCell::new(&mut times);
        world.run(100 * HOUR, |_, now| {
            seen.borrow_mut().push(now);
            failed()
        });
        assert!(world.rows.is_empty() && world.came.is_empty());
        let waits: Vec<u64> = times.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert!((5_500..=6_500).contains(&waits[0]), "{waits:?}");
        assert!(waits.windows(2).all(|pair| pair[1] > pair[0] || pair[1] >= HOUR), "{waits:?}");
        assert!(waits.iter().all(|wait| *wait <= HOUR * 13 / 10), "{waits:?}");
        assert!((72 * HOUR..75 * HOUR).contains(times.last().unwrap()), "{times:?}");
    }

    #[test]
    fn a_clock_that_is_set_ahead_gives_nothing_up() {
        let mut world = World::new();
        world.tell(1, &url("down"), "batch");
        world.run(HOUR, |_, _| failed());
        // A year ahead; the endpoint is down for another day.
        let set = 365 * 24 * HOUR;
        world.now = set;
        world.restart();
        world.run(set + 24 * HOUR, |_, _| failed());
        assert_eq!((world.rows.len(), world.came.len()), (1, 0));
        world.run(set + 26 * HOUR, |_, _| Tried::Delivered);
        assert_eq!((world.rows.len(), world.came.len()), (0, 1));
    }

    #[test]
    fn a_command_is_tried_three_times_and_a_target_may_ask_for_time() {
        let mut world = World::new();
        world.tell(1, &Notify::Command(vec!["/bin/false".to_owned()]), "batch");
        world.run(HOUR, |_, _| failed());
        assert_eq!((world.tries, world.rows.len()), (3, 0));
        let mut world = World::new();
        world.tell(1, &url("busy"), "batch");
        world.run(0, |_, _| Tried::Failed { why: String::new(), wait_ms: Some(20 * MINUTE) });
        assert_eq!(world.outbox.next_due(), Some(WallMs(20 * MINUTE)));
        // What was broken off is charged nothing.
        let taken = world.outbox.take_due(WallMs(20 * MINUTE));
        let (verdict, _) = world.outbox.ended(WallMs(20 * MINUTE), taken[0].id, &Tried::Stopped).unwrap();
        assert_eq!(verdict, Verdict::Again { in_ms: 0 });
        assert_eq!(world.outbox.ended(WallMs(0), taken[0].id, &Tried::Delivered), None, "it is not under way");
    }

    #[test]
    fn no_more_wait_than_there_is_room_for_and_few_go_at_once() {
        let mut outbox = Outbox::default();
        for number in 0..DELIVERIES_MAX as u64 {
            let target = url("x");
            let delivery = outbox.compose(WallMs(0), Some(BatchId(number)), target, "batch", |_| String::new());
            outbox.enter(delivery.unwrap());
        }
        assert_eq!(outbox.compose(WallMs(0), None, url("x"), "alert", |_| String::new()), None);
        assert_eq!(outbox.take_due(WallMs(0)).len(), DELIVERIES_AT_ONCE_MAX);
        assert_eq!((outbox.take_due(WallMs(0)).len(), outbox.next_due()), (0, None));
    }
}
