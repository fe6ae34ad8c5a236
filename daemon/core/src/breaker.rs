//! Breaker: things outside that runs need beside their lane (a model, a file system, a service), and which of them are closed just now. Pure; knows
//! jobs by their ids only.
//!
//! Five equal failures in a row close a thing, a full disk the first. Whoever needs it is parked and nothing fails; after a while one job tries,
//! and each time in vain the while doubles.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::JobId;
use spindle_shared::stage::Stage;
use spindle_shared::time::MonoMs;
use spindle_shared::wire::response::ClosedView;

/// Something outside that can be out of order for many jobs at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Resource {
    Model(String),
    /// A file system, by the number of its device.
    Device(u64),
    /// Who wants a key or a login, by the stage that asks it.
    Service(&'static str),
    /// A model API, by its provider's name.
    Api(String),
    /// Room on the disk of the state directory, as the shell measures it: for what may fill it, and for any result at all.
    Room,
    LastRoom,
}

impl Resource {
    /// It is looked at all the time, and nobody has to try it.
    pub fn is_measured(&self) -> bool {
        matches!(self, Resource::Room | Resource::LastRoom)
    }

    /// What a failed run of this stage found out of order, where that is anything of the kind.
    pub fn behind(failure: &Failure, stage: &Stage) -> Option<Self> {
        match failure.kind {
            FailureKind::ModelMissing => stage.model().map(|model| Resource::Model(model.to_owned())),
            // Each input has its own place; what one of them asks for says nothing of the others.
            FailureKind::Auth if matches!(stage, Stage::Fetch(_)) => None,
            FailureKind::Auth => Some(match stage.api() {
                Some((provider, _)) => Resource::Api(provider.name.clone()),
                None => Resource::Service(stage.name()),
            }),
            FailureKind::Permission | FailureKind::DiskFull => failure.device.map(Resource::Device),
            _ => None,
        }
    }
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Resource::Model(model) => write!(f, "the model {model}"),
            Resource::Device(device) => write!(f, "a file system (device {}:{})", device >> 8 & 0xfff, device & 0xff),
            Resource::Api(provider) => write!(f, "the model API {provider}"),
            Resource::Service(stage) => write!(f, "what `{stage}` asks"),
            Resource::Room => write!(f, "room for new work"),
            Resource::LastRoom => write!(f, "room for results"),
        }
    }
}

/// Equal failures in a row that close a thing.
pub const FAILURES_MAX: u32 = 5;
/// First and longest wait before one job tries.
const WAIT_MS: u64 = 60_000;
const WAIT_MS_MAX: u64 = 30 * 60_000;
/// Of a full disk, where somebody may make room at any time.
const FULL_WAIT_MS: u64 = 10_000;
const FULL_WAIT_MS_MAX: u64 = 5 * 60_000;
/// Things whose failures are counted at the same time; beyond it those that come first in their order are forgotten.
const STREAKS_MAX: usize = 1_000;

/// One thing that is out of order.
#[derive(Debug)]
pub struct Closed {
    pub resource: Resource,
    /// The last that was seen of it.
    pub failure: Failure,
    /// When one job may try; [`MonoMs`]'s largest = when the shell says so.
    pub until: MonoMs,
    wait_ms: u64,
    pub parked: BTreeSet<JobId>,
    /// Who is trying.
    pub probe: Option<JobId>,
}

impl Closed {
    /// As people see it.
    pub fn view(&self, now: MonoMs) -> ClosedView {
        let measured = self.resource.is_measured();
        ClosedView {
            what: self.resource.to_string(),
            why: self.failure.message.clone(),
            advice: self.failure.advice.clone(),
            parked: self.parked.len() as u32,
            tries_in_ms: (self.probe.is_none() && !measured).then(|| self.until.since(now)),
        }
    }
}

/// All that is counted, and all that is closed.
#[derive(Debug, Default)]
pub struct Breaker {
    streaks: BTreeMap<Resource, (FailureKind, u32)>,
    closed: BTreeMap<u32, Closed>,
    last: u32,
}

/// What a failure has done to the thing behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is one job's failure so far.
    Open,
    /// It is closed by this very failure.
    Closes(u32),
    /// It was closed before.
    Stays(u32),
}

impl Breaker {
    /// Counts a failure of this job's.
    pub fn fails(&mut self, resource: &Resource, failure: &Failure, job: JobId, now: MonoMs) -> Verdict {
        let full = failure.kind == FailureKind::DiskFull;
        if let Some(number) = self.find(resource) {
            if let Some(closed) = self.closed.get_mut(&number) {
                closed.failure = failure.clone();
                if closed.probe == Some(job) {
                    closed.probe = None;
                    let most = if full { FULL_WAIT_MS_MAX } else { WAIT_MS_MAX };
                    closed.wait_ms = (closed.wait_ms * 2).min(most);
                    closed.until = now.plus(closed.wait_ms);
                }
            }
            return Verdict::Stays(number);
        }
        if self.streaks.len() >= STREAKS_MAX && !self.streaks.contains_key(resource) {
            self.streaks.pop_first();
        }
        let (kind, count) = self.streaks.entry(resource.clone()).or_insert((failure.kind, 0));
        if *kind != failure.kind {
            (*kind, *count) = (failure.kind, 0);
        }
        *count = count.saturating_add(1);
        if *count < FAILURES_MAX && !full {
            return Verdict::Open;
        }
        let wait_ms = if full { FULL_WAIT_MS } else { WAIT_MS };
        Verdict::Closes(self.close(resource.clone(), failure.clone(), now.plus(wait_ms), wait_ms))
    }

    /// Closes a thing until somebody says that it is open again.
    pub fn close_until_told(&mut self, resource: Resource, failure: Failure) {
        self.close(resource, failure, MonoMs(u64::MAX), WAIT_MS_MAX);
    }

    /// Closes a thing until a time that is known, and one job tries then. Gives its number, and whether it was open before.
    pub fn close_until(&mut self, resource: Resource, failure: Failure, until: MonoMs) -> (u32, bool) {
        if let Some(number) = self.find(&resource)
            && let Some(closed) = self.closed.get_mut(&number)
        {
            (closed.failure, closed.until) = (failure, until);
            return (number, false);
        }
        (self.close(resource, failure, until, WAIT_MS), true)
    }

    fn close(&mut self, resource: Resource, failure: Failure, until: MonoMs, wait_ms: u64) -> u32 {
        self.last += 1;
        let closed = Closed { resource, failure, until, wait_ms, parked: BTreeSet::new(), probe: None };
        self.closed.insert(self.last, closed);
        self.last
    }

    /// A run has used it, and well. Gives what was closed until now.
    pub fn works(&mut self, resource: &Resource) -> Option<(u32, Closed)> {
        if self.streaks.is_empty() && self.closed.is_empty() {
            return None;
        }
        self.streaks.remove(resource);
        let number = self.find(resource)?;
        Some((number, self.closed.remove(&number)?))
    }

    /// Whether nothing is counted and nothing closed: there is nothing to look for.
    pub fn is_quiet(&self) -> bool {
        self.streaks.is_empty() && self.closed.is_empty()
    }

    pub fn find(&self, resource: &Resource) -> Option<u32> {
        self.closed.iter().find(|(_, closed)| closed.resource == *resource).map(|(number, _)| *number)
    }

    pub fn get(&self, number: u32) -> Option<&Closed> {
        self.closed.get(&number)
    }

    pub fn get_mut(&mut self, number: u32) -> Option<&mut Closed> {
        self.closed.get_mut(&number)
    }

    /// Forgets a closed thing, and what was counted of it.
    pub fn open(&mut self, number: u32) -> Option<Closed> {
        let closed = self.closed.remove(&number)?;
        self.streaks.remove(&closed.resource);
        Some(closed)
    }

    /// Nobody needs a closed thing any more. What was counted stays: the next failure of the kind closes it again.
    pub fn forget(&mut self, number: u32) {
        self.closed.remove(&number);
    }

    pub fn all(&self) -> impl Iterator<Item = (u32, &Closed)> {
        self.closed.iter().map(|(number, closed)| (*number, closed))
    }

    /// When one job may try the next of them.
    pub fn next_try(&self) -> Option<MonoMs> {
        let waiting = self.closed.values().filter(|closed| closed.probe.is_none() && closed.until.0 < u64::MAX);
        waiting.map(|closed| closed.until).min()
    }
}

#[cfg(test)]
mod tests {
    use spindle_shared::id::BatchId;

    use super::*;

    fn job(index: u32) -> JobId {
        JobId { batch: BatchId(1), index }
    }

    fn failure(kind: FailureKind) -> Failure {
        Failure::new(kind, "as it is")
    }

    const DISK: Resource = Resource::Device(7);

    #[test]
    fn five_equal_failures_in_a_row_close_and_one_success_between_does_not() {
        let mut breaker = Breaker::default();
        let denied = failure(FailureKind::Permission);
        for index in 1..=4 {
            assert_eq!(breaker.fails(&DISK, &denied, job(index), MonoMs(0)), Verdict::Open);
        }
        assert!(breaker.works(&DISK).is_none());
        for index in 1..=4 {
            assert_eq!(breaker.fails(&DISK, &denied, job(index), MonoMs(0)), Verdict::Open);
        }
        assert_eq!(breaker.fails(&DISK, &denied, job(5), MonoMs(0)), Verdict::Closes(1));
        assert_eq!(breaker.fails(&DISK, &denied, job(6), MonoMs(1)), Verdict::Stays(1));
        assert_eq!(breaker.next_try(), Some(MonoMs(60_000)));
        assert_eq!(breaker.fails(&Resource::Device(8), &denied, job(7), MonoMs(1)), Verdict::Open);
    }

    #[test]
    fn a_full_disk_closes_at_once() {
        let mut breaker = Breaker::default();
        let full = failure(FailureKind::DiskFull);
        assert_eq!(breaker.fails(&DISK, &full, job(1), MonoMs(0)), Verdict::Closes(1));
        assert_eq!(breaker.next_try(), Some(MonoMs(10_000)));
    }

    #[test]
    fn each_try_in_vain_doubles_the_wait_up_to_half_an_hour() {
        let mut breaker = Breaker::default();
        let missing = failure(FailureKind::ModelMissing);
        let model = Resource::Model("base".to_owned());
        for index in 1..=5 {
            breaker.fails(&model, &missing, job(index), MonoMs(0));
        }
        let mut waits = Vec::new();
        for _ in 0..7 {
            let at = breaker.next_try().unwrap();
            breaker.get_mut(1).unwrap().probe = Some(job(9));
            assert_eq!(breaker.next_try(), None, "one tries at a time");
            breaker.fails(&model, &missing, job(8), at);
            assert_eq!(breaker.next_try(), None, "another's failure ends no try");
            breaker.fails(&model, &missing, job(9), at);
            waits.push(breaker.next_try().unwrap().since(at) / 60_000);
        }
        assert_eq!(waits, [2, 4, 8, 16, 30, 30, 30]);
        assert!(breaker.works(&model).is_some());
        assert!(breaker.is_quiet());
    }
}
