//! Graphics cards: which kind of work goes to which, what they have left, and which are out of order just now. Pure; knows no jobs and no slots.
//!
//! Work waits for the smallest card that is large enough; larger ones serve those who wait for it, too. What a card could not do is done by the
//! processor, and the card is left alone: for a model that did not fit at once, for everything after two failures in a row, a minute first and
//! each time in vain twice as long.

use std::collections::BTreeMap;

use spindle_shared::lane::{Device, Lane};
use spindle_shared::stage::Stage;
use spindle_shared::time::MonoMs;
use spindle_shared::wire::response::DeviceView;

use crate::rates::RateKey;

/// Failures in a row after which a card is left alone.
const FAILURES_MAX: u32 = 2;
/// First and longest time that it is left alone.
const WAIT_MS: u64 = 60_000;
const WAIT_MS_MAX: u64 = 30 * 60_000;
/// Models that are counted for one card; more are not told apart from the card itself.
const MODELS_MAX: usize = 100;

/// What the house has been told of its cards.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// `gpu:0`, `gpu:1` …
    pub devices: Vec<Device>,
    /// Why there is none although one was asked for.
    pub none: Option<String>,
}

/// All cards of the house.
#[derive(Debug, Default)]
pub struct Gpus {
    cards: Vec<Card>,
    /// The smallest first: a larger one is for those whom it alone can serve, as long as there is a choice.
    order: Vec<Lane>,
    none: Option<String>,
}

#[derive(Debug)]
struct Card {
    device: Device,
    used_mib: u32,
    /// What goes wrong on it: with a model, or (`None`) with anything.
    troubles: BTreeMap<Option<String>, Trouble>,
}

#[derive(Debug, Default)]
struct Trouble {
    in_a_row: u32,
    wait_ms: u64,
    /// It is left alone so long.
    until: Option<MonoMs>,
    why: String,
}

impl Card {
    fn memory_mib(&self) -> u32 {
        u32::try_from(self.device.free_bytes >> 20).unwrap_or(u32::MAX)
    }

    /// Why it is left alone with this model, if it is.
    fn closed_for(&self, model: Option<&str>) -> Option<&Trouble> {
        let own = model.and_then(|model| self.troubles.get(&Some(model.to_owned())));
        [self.troubles.get(&None), own].into_iter().flatten().find(|trouble| trouble.until.is_some())
    }

    /// Why it can't do this; `None` = it can.
    fn refuses(&self, stage: &Stage) -> Option<String> {
        let (role, needed) = (stage.facts().role, stage.memory_mib());
        if !self.device.does(role) {
            return Some(format!("the worker for it can't do `{}`", stage.name()));
        }
        if needed > self.memory_mib() {
            return Some(format!("{needed} MiB are needed, and it has {}", self.memory_mib()));
        }
        self.closed_for(stage.model()).map(|trouble| format!("it is left alone for a while: {}", trouble.why))
    }
}

impl Gpus {
    pub fn new(found: Found) -> Self {
        let card = |device| Card { device, used_mib: 0, troubles: BTreeMap::new() };
        // A lane has a number of one byte.
        let cards: Vec<Card> = found.devices.into_iter().take(usize::from(u8::MAX)).map(card).collect();
        let mut order: Vec<Lane> = (0..cards.len() as u8).map(Lane::Gpu).collect();
        order.sort_by_key(|lane| lane.gpu().map(|number| cards[usize::from(number)].memory_mib()));
        Gpus { cards, order, none: found.none }
    }

    pub fn count(&self) -> u8 {
        self.cards.len() as u8
    }

    pub fn smallest_first(&self) -> impl Iterator<Item = Lane> + '_ {
        self.order.iter().copied()
    }

    /// Whether anybody cares what work is done on.
    pub fn is_asked_for(&self) -> bool {
        !self.cards.is_empty() || self.none.is_some()
    }

    fn card(&self, lane: Lane) -> Option<&Card> {
        self.cards.get(usize::from(lane.gpu()?))
    }

    fn card_mut(&mut self, lane: Lane) -> Option<&mut Card> {
        self.cards.get_mut(usize::from(lane.gpu()?))
    }

    /// The lane that work of this kind waits for: of the cards that can do it, the smallest; else its own.
    pub fn lane_for(&self, stage: &Stage) -> Lane {
        let facts = stage.facts();
        let able = self.cards.iter().zip(0..).filter(|(card, _)| facts.gpu && card.refuses(stage).is_none());
        able.min_by_key(|(card, _)| card.memory_mib()).map_or(facts.lane, |(_, number)| Lane::Gpu(number))
    }

    /// Whether this lane is for those who wait for that one.
    pub fn serves(&self, lane: Lane, wish: Lane) -> bool {
        match (self.card(lane), self.card(wish)) {
            (Some(own), Some(wished)) => own.memory_mib() >= wished.memory_mib(),
            _ => lane == wish,
        }
    }

    /// Whether work of this kind may be done here.
    pub fn may(&self, lane: Lane, stage: &Stage) -> bool {
        self.card(lane).is_none_or(|card| card.refuses(stage).is_none())
    }

    /// Whether so much more has room in a card's memory; one run always has.
    pub fn has_room(&self, lane: Lane, stage: &Stage) -> bool {
        let room = |card: &Card| card.used_mib == 0 || card.used_mib + stage.memory_mib() <= card.memory_mib();
        self.card(lane).is_none_or(room)
    }

    pub fn take(&mut self, lane: Lane, mib: u32) {
        if let Some(card) = self.card_mut(lane) {
            card.used_mib += mib;
        }
    }

    pub fn give_back(&mut self, lane: Lane, mib: u32) {
        if let Some(card) = self.card_mut(lane) {
            card.used_mib -= mib;
        }
    }

    /// What is taken of a card's memory, and what it has.
    pub fn memory_mib(&self, lane: Lane) -> (u32, u32) {
        self.card(lane).map_or((0, 0), |card| (card.used_mib, card.memory_mib()))
    }

    /// As results and people name it.
    pub fn name(&self, lane: Lane) -> String {
        match self.card(lane) {
            Some(card) => format!("{lane} {}", card.device.name),
            None => lane.to_string(),
        }
    }

    /// Why no card does this now; `None` = one does, or nobody asked for any.
    pub fn why_not(&self, stage: &Stage) -> Option<String> {
        let refusals = || self.cards.iter().zip(0..).map(|(card, at)| Some((Lane::Gpu(at), card.refuses(stage)?)));
        let (lane, why) = match refusals().collect::<Option<Vec<_>>>()?.into_iter().next() {
            Some(refusal) => refusal,
            None => return self.none.clone(),
        };
        Some(format!("{}: {why}", self.name(lane)))
    }

    /// What is learned of work is learned of the card's kind.
    pub fn rate_key(&self, stage: &Stage, lane: Lane) -> RateKey {
        RateKey::of(stage).on(self.kind(lane))
    }

    pub fn memory_key(&self, stage: &Stage, lane: Lane) -> RateKey {
        RateKey::memory_of(stage).on(self.kind(lane))
    }

    fn kind(&self, lane: Lane) -> Option<&str> {
        self.card(lane).map(|card| card.device.name.as_str())
    }

    /// A card has failed a run with this model; `fits`: it is not that the model was too large. Gives whether it is left alone from now on.
    pub fn fails(&mut self, lane: Lane, model: Option<&str>, fits: bool, why: &str, now: MonoMs) -> bool {
        let Some(card) = self.card_mut(lane) else { return false };
        let known = card.troubles.len() < MODELS_MAX;
        let what = model.filter(|_| !fits && known).map(str::to_owned);
        let most = if what.is_some() { 1 } else { FAILURES_MAX };
        let trouble = card.troubles.entry(what).or_default();
        trouble.in_a_row += 1;
        trouble.why = why.to_owned();
        if trouble.until.is_some() || trouble.in_a_row < most {
            return false;
        }
        trouble.wait_ms = (trouble.wait_ms * 2).clamp(WAIT_MS, WAIT_MS_MAX);
        trouble.until = Some(now.plus(trouble.wait_ms));
        true
    }

    /// A run with this model has ended well: nothing is held against the card any more.
    pub fn works(&mut self, lane: Lane, model: Option<&str>) {
        if let Some(card) = self.card_mut(lane) {
            card.troubles.remove(&None);
            card.troubles.remove(&model.map(str::to_owned));
        }
    }

    /// Lets cards be tried again whose time has come; gives whether there are any.
    pub fn reopen(&mut self, now: MonoMs) -> bool {
        let troubles = self.cards.iter_mut().flat_map(|card| card.troubles.values_mut());
        let due = troubles.filter(|trouble| trouble.until.is_some_and(|until| until <= now));
        due.map(|trouble| trouble.until = None).count() > 0
    }

    /// When the next one may be tried.
    pub fn next(&self) -> Option<MonoMs> {
        self.cards.iter().flat_map(|card| card.troubles.values()).filter_map(|trouble| trouble.until).min()
    }

    pub fn views(&self) -> Vec<DeviceView> {
        let view = |(card, number): (&Card, u8)| {
            let closed = card.troubles.iter().find(|(_, trouble)| trouble.until.is_some());
            DeviceView {
                lane: Lane::Gpu(number).to_string(),
                name: card.device.name.clone(),
                api: card.device.api.clone(),
                roles: card.device.roles.clone(),
                used_mib: card.used_mib,
                memory_mib: card.memory_mib(),
                closed: closed.map(|(model, trouble)| match model {
                    Some(model) => format!("the model {model}: {}", trouble.why),
                    None => trouble.why.clone(),
                }),
            }
        };
        self.cards.iter().zip(0..).map(view).collect()
    }

    /// Why there is no card although one was asked for.
    pub fn none(&self) -> Option<String> {
        self.none.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spindle_shared::stage::decode::Decode;
    use spindle_shared::stage::transcribe::{ModelRef, Transcribe};

    fn device(name: &str, mib: u64) -> Device {
        let roles = vec!["speech".to_owned()];
        let (name, api) = (name.to_owned(), "Vulkan".to_owned());
        Device { name, api, memory_bytes: mib << 20, free_bytes: mib << 20, roles }
    }

    fn transcribe(model: &str) -> Stage {
        let model = ModelRef { name: model.to_owned(), ..ModelRef::default() };
        Stage::Transcribe(Transcribe { model, ..Transcribe::default() })
    }

    fn house() -> Gpus {
        Gpus::new(Found { devices: vec![device("large", 80_000), device("small", 1_000)], none: None })
    }

    #[test]
    fn work_waits_for_the_smallest_card_that_is_large_enough() {
        let gpus = house();
        assert_eq!(gpus.smallest_first().collect::<Vec<_>>(), [Lane::Gpu(1), Lane::Gpu(0)]);
        assert_eq!(gpus.lane_for(&transcribe("tiny")), Lane::Gpu(1));
        assert_eq!(gpus.lane_for(&transcribe("large-v3")), Lane::Gpu(0));
        assert_eq!(gpus.lane_for(&Stage::Decode(Decode::default())), Lane::Cpu);
        assert!(gpus.serves(Lane::Gpu(0), Lane::Gpu(1)) && !gpus.serves(Lane::Gpu(1), Lane::Gpu(0)));
        assert!(!gpus.serves(Lane::Gpu(0), Lane::Cpu) && gpus.serves(Lane::Cpu, Lane::Cpu));
        assert!(gpus.may(Lane::Gpu(0), &transcribe("tiny")) && !gpus.may(Lane::Gpu(1), &transcribe("large-v3")));
    }

    #[test]
    fn what_no_card_can_do_the_processor_does_and_the_reason_is_known() {
        let small = Gpus::new(Found { devices: vec![device("small", 100)], none: None });
        assert_eq!(small.lane_for(&transcribe("large-v3")), Lane::Cpu);
        assert!(small.why_not(&transcribe("large-v3")).unwrap().contains("it has 100"));
        let silent = Device { roles: Vec::new(), ..device("silent", 9_000) };
        let silent = Gpus::new(Found { devices: vec![silent], none: None });
        assert_eq!(
            silent.why_not(&transcribe("tiny")).unwrap(),
            "gpu:0 silent: the worker for it can't do `transcribe`"
        );
        let none = Gpus::new(Found { devices: Vec::new(), none: Some("nothing found".to_owned()) });
        assert_eq!(none.why_not(&transcribe("tiny")).as_deref(), Some("nothing found"));
        assert!(none.is_asked_for() && !Gpus::default().is_asked_for());
        assert_eq!((Gpus::default().why_not(&transcribe("tiny")), house().why_not(&transcribe("tiny"))), (None, None));
    }

    #[test]
    fn a_model_that_did_not_fit_is_left_alone_at_once_and_a_card_after_two_failures() {
        let mut gpus = house();
        assert!(gpus.fails(Lane::Gpu(1), Some("tiny"), false, "no memory", MonoMs(0)));
        assert_eq!(
            (gpus.lane_for(&transcribe("tiny")), gpus.lane_for(&transcribe("base"))),
            (Lane::Gpu(0), Lane::Gpu(1))
        );
        assert!(!gpus.fails(Lane::Gpu(1), Some("base"), true, "lost", MonoMs(0)));
        assert_eq!(gpus.lane_for(&transcribe("base")), Lane::Gpu(1));
        assert!(gpus.fails(Lane::Gpu(1), Some("base"), true, "lost", MonoMs(0)));
        assert!(!gpus.fails(Lane::Gpu(1), Some("base"), true, "lost", MonoMs(1)), "told once");
        assert_eq!(gpus.lane_for(&transcribe("base")), Lane::Gpu(0));
        assert_eq!(gpus.next(), Some(MonoMs(60_000)));
        assert!(!gpus.reopen(MonoMs(59_999)) && gpus.reopen(MonoMs(60_000)) && !gpus.reopen(MonoMs(60_000)));
        assert_eq!(gpus.lane_for(&transcribe("base")), Lane::Gpu(1));
        // Once more in vain: at once, and twice as long.
        assert!(gpus.fails(Lane::Gpu(1), Some("base"), true, "lost", MonoMs(60_000)));
        assert_eq!(gpus.next(), Some(MonoMs(180_000)));
        assert!(gpus.reopen(MonoMs(180_000)));
        gpus.works(Lane::Gpu(1), Some("base"));
        assert!(!gpus.fails(Lane::Gpu(1), Some("base"), true, "lost", MonoMs(200_000)), "all is forgotten");
    }

    #[test]
    fn memory_of_a_card_is_counted_and_one_run_always_has_room() {
        let mut gpus = house();
        let (lane, stage) = (Lane::Gpu(1), transcribe("base"));
        assert!(gpus.has_room(lane, &stage));
        gpus.take(lane, 900);
        assert!(!gpus.has_room(lane, &stage) && gpus.has_room(Lane::Gpu(0), &stage));
        assert_eq!(gpus.memory_mib(lane), (900, 1_000));
        gpus.give_back(lane, 900);
        assert!(gpus.has_room(lane, &stage));
    }

    #[test]
    fn what_is_learned_on_a_card_is_learned_of_its_kind() {
        let gpus = house();
        let stage = transcribe("base");
        let key = gpus.rate_key(&stage, Lane::Gpu(0));
        assert_eq!((key.kind.as_str(), key.model.as_str()), ("transcribe on large", "base"));
        assert_eq!(gpus.rate_key(&stage, Lane::Cpu), RateKey::of(&stage));
        assert_ne!(gpus.memory_key(&stage, Lane::Gpu(0)), gpus.memory_key(&stage, Lane::Gpu(1)));
    }
}
