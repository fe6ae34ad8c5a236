//! Many calls of a model API against a made-up clock: what reaches the service is counted where it arrives, not as the scheduler believes.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use spindle_shared::provider::{ProviderRef, Usage};
use spindle_shared::stage::write::{DocumentFormat, Write};
use spindle_shared::template::Template;

use super::*;
use crate::api::Limits;
use crate::batch::Place;
use crate::scheduler::ApiConfig;

const NAME: &str = "oracle";
const MINUTE_MS: u64 = 60_000;
const DAY_MS: u64 = 86_400_000;

fn recipe() -> Recipe {
    let template = Template {
        name: "own".to_owned(),
        version: "1".to_owned(),
        description: String::new(),
        language: "en".to_owned(),
        parameters: Vec::new(),
        model: Default::default(),
        prompt: String::new(),
        layout: String::new(),
    };
    let write = Write {
        template,
        parameters: Vec::new(),
        provider: Some(ProviderRef::named(NAME)),
        formats: vec![DocumentFormat::Md],
        title: None,
        link: None,
        tags: Vec::new(),
        stem: String::new(),
    };
    Recipe::report(Default::default(), None, Default::default(), write, Default::default())
}

fn with(limits: Limits) -> Config {
    let api = ApiConfig { limits, keys: 1, price_in: None, price_out: None };
    Config { providers: [(NAME.to_owned(), api)].into(), ..config(64) }
}

/// An hour before midnight.
const LATE: Now = Now { wall: WallMs(20_000 * DAY_MS + 23 * 60 * MINUTE_MS), mono: MonoMs(1_000) };

/// Inputs that are known, each another, for the jobs of this batch.
fn inputs(batch: BatchId, jobs: u32) -> BTreeMap<JobId, ContentHash> {
    (1..=jobs).map(|index| (job(batch, index), ContentHash::of(&[batch.0 as u8, index as u8]))).collect()
}

/// A house with this many jobs that ask.
fn submitted(limits: Limits, jobs: u32) -> (House, BatchId) {
    let recovered = Recovered { boot: 1, next_batch: 1, ..Recovered::default() };
    let mut house = House::at(with(limits), recovered, LATE, inputs(BatchId(1), jobs));
    let batch = house.submit_with(1, recipe(), 50, 64, &vec![false; jobs as usize]);
    (house, batch)
}

/// The service as it sees itself.
#[derive(Default)]
struct Service {
    arrived: Vec<u64>,
    gone: Vec<u64>,
    /// How often each job has been tried.
    tries: BTreeMap<JobId, u32>,
    billed: u32,
}

/// How a run ends, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Answered { calls: u32 },
    Slower { retry_after_ms: Option<u64> },
    Broken,
    Cut,
    Died,
}

impl Service {
    /// A run begins at `now`: what arrives of it, and when and how it ends.
    fn serve(&mut self, start: &Start, now: u64) -> (u64, Ending) {
        let noise = |salt: u64, below: u64| {
            let hash = ContentHash::of(&(start.run.counter ^ (salt << 40)).to_le_bytes());
            u64::from_le_bytes(hash.0[..8].try_into().unwrap()) % below
        };
        let tries = self.tries.entry(start.job).or_default();
        *tries += 1;
        let (first, index) = (*tries == 1, start.job.index);
        let mut visit = |arrives: u64, takes: u64| {
            self.arrived.push(arrives);
            self.gone.push(arrives + takes);
            arrives + takes
        };
        // A question is up to 800 ms on its way, an answer up to 200.
        let answered = visit(now + noise(1, 800), 500 + noise(2, 12_000));
        let back = |at: u64| at + noise(3, 200);
        match index {
            // More often than anything is tried that fails.
            index if index.is_multiple_of(11) && *tries <= 6 => {
                let retry_after_ms = index.is_multiple_of(2).then_some(3_000);
                (back(answered), Ending::Slower { retry_after_ms })
            }
            index if index.is_multiple_of(13) && first => (back(answered), Ending::Broken),
            index if index.is_multiple_of(17) && first => (back(answered), Ending::Cut),
            index if index.is_multiple_of(19) && first => (back(answered), Ending::Died),
            // Its first answer is none, and it asks once more.
            index if index.is_multiple_of(7) => {
                self.billed += 2;
                let again = visit(back(answered) + noise(4, 800), 500 + noise(5, 12_000));
                (back(again), Ending::Answered { calls: 2 })
            }
            _ => {
                self.billed += 1;
                (back(answered), Ending::Answered { calls: 1 })
            }
        }
    }

    /// The most calls in any minute, and the most at the same time.
    fn most(&self) -> (usize, usize) {
        let mut arrived = self.arrived.clone();
        arrived.sort_unstable();
        let in_a_minute = |from: &u64| arrived.iter().filter(|at| (*from..from + MINUTE_MS).contains(at)).count();
        let at_once = |now: &u64| {
            self.arrived.iter().zip(&self.gone).filter(|(arrived, gone)| (**arrived..**gone).contains(now)).count()
        };
        let most = |count: &dyn Fn(&u64) -> usize| arrived.iter().map(count).max().unwrap_or(0);
        (most(&in_a_minute), most(&at_once))
    }
}

impl House {
    /// Lives until no job is open, or to `until`; whatever needs no service ends at once.
    fn live(&mut self, service: &mut Service, until: Option<u64>) {
        let mut ends: BinaryHeap<Reverse<(u64, JobId, Ending)>> = BinaryHeap::new();
        let mut seen = BTreeSet::new();
        loop {
            while let Some(start) = self.running.iter().find(|start| start.stage.api().is_none()) {
                self.done(start.job);
            }
            for start in &self.running {
                if seen.insert(start.run) {
                    let (at, ending) = service.serve(start, self.now.mono.0);
                    ends.push(Reverse((at, start.job, ending)));
                }
            }
            let due = ends.peek().map(|Reverse((at, ..))| *at);
            let wakes = self.scheduler.next_wakeup().map(|at| at.0);
            if ends.is_empty() && self.batches.values().all(|state| state.is_terminal()) {
                return;
            }
            let Some(next) = due.into_iter().chain(wakes).min() else { panic!("nothing will ever happen again") };
            if let Some(until) = until.filter(|until| next > *until) {
                return self.wait(until.saturating_sub(self.now.mono.0));
            }
            self.wait(next.saturating_sub(self.now.mono.0));
            while let Some(Reverse((_, job, ending))) = ends.peek().copied().filter(|Reverse((at, ..))| *at <= next) {
                ends.pop();
                self.end_call(job, ending);
            }
        }
    }

    fn end_call(&mut self, job: JobId, ending: Ending) {
        let failed = |kind, wait| Outcome::Failed(Failure::new(kind, "as told").retry_after(wait));
        match ending {
            Ending::Died => self.die(job),
            Ending::Slower { retry_after_ms } => self.end(job, failed(FailureKind::RateLimited, retry_after_ms)),
            Ending::Broken => self.end(job, failed(FailureKind::Server, None)),
            Ending::Cut => self.end(job, failed(FailureKind::Network, None)),
            Ending::Answered { calls } => {
                let files = vec![ArtifactFile { name: "a".to_owned(), bytes: 1, content: ContentHash::of(b"a") }];
                let usage = Usage { calls, tokens_in: 1_000, tokens_out: 100 };
                self.end(job, Outcome::Done(Box::new(Done { files, usage, ..Done::default() })));
            }
        }
    }

    fn under_way(&self) -> u32 {
        self.scheduler.api_lanes().iter().map(|(_, under_way, _)| under_way).sum()
    }
}

#[test]
fn two_hundred_jobs_pass_neither_limit_whatever_becomes_of_their_calls() {
    let limits = Limits { at_once: 5, calls_per_minute: 60, tokens_per_minute: None, calls_per_day: None };
    let (mut house, batch) = submitted(limits, 200);
    let mut service = Service::default();
    house.live(&mut service, None);
    assert_eq!(house.batches[&batch], BatchState::Completed);
    assert_eq!(house.ended.values().filter(|(state, _)| *state == JobState::Completed).count(), 200);
    let (in_a_minute, at_once) = service.most();
    assert!(service.arrived.len() > 300, "{} calls", service.arrived.len());
    assert!((40..=60).contains(&in_a_minute), "{in_a_minute} calls in a minute");
    assert_eq!(at_once, 5);
    // No permit is lost: none is out, and after a minute's silence as many go out at once as the pace of a service that failed so often lets.
    assert_eq!(house.under_way(), 0);
    house.wait(2 * MINUTE_MS);
    house.contents.extend(inputs(BatchId(2), 9));
    house.submit_with(1, recipe(), 50, 64, &[false; 9]);
    while let Some(start) = house.running.iter().find(|start| start.stage.api().is_none()) {
        house.done(start.job);
    }
    let lanes = house.scheduler.api_lanes();
    assert!(lanes[0].2 >= 2 && house.under_way() == lanes[0].2, "{lanes:?}");
}

#[test]
fn a_minute_is_used_up_to_its_last_call_and_no_further() {
    let limits = Limits { at_once: 5, calls_per_minute: 60, tokens_per_minute: None, calls_per_day: None };
    let (mut house, batch) = submitted(limits, 200);
    // Answers come at once, so that only the minute holds.
    let (mut arrived, begun) = (Vec::new(), house.now.mono.0);
    while !house.batches[&batch].is_terminal() {
        match house.running.first().map(|start| (start.job, start.stage.api().is_some())) {
            Some((job, true)) => {
                arrived.push(house.now.mono.0);
                house.end_call(job, Ending::Answered { calls: 1 });
            }
            Some((job, false)) => house.done(job),
            None => {
                let next = house.scheduler.next_wakeup().expect("somebody waits for his minute");
                house.wait(next.since(house.now.mono));
            }
        }
    }
    assert_eq!(arrived.len(), 200);
    assert!(arrived.windows(61).all(|window| window[60] - window[0] >= MINUTE_MS));
    // Room for a second call is held while one is under way, no longer: all but that is used.
    let took = house.now.mono.0 - begun;
    assert!((3 * MINUTE_MS..=4 * MINUTE_MS).contains(&took), "{took} ms");
}

#[test]
fn a_spent_day_parks_its_jobs_and_they_go_on_at_midnight_though_the_daemon_was_another() {
    let limits = Limits { at_once: 2, calls_per_minute: 60, tokens_per_minute: None, calls_per_day: Some(6) };
    let (mut house, batch) = submitted(limits, 7);
    let mut service = Service::default();
    let now = house.now.mono.0;
    house.live(&mut service, Some(now + 30 * MINUTE_MS));
    let asked = service.arrived.len();
    assert!((4..=6).contains(&asked), "{asked}");
    assert_eq!(house.under_way(), 0);
    let parked = |house: &House| {
        let batch = &house.scheduler.batches[&batch];
        let parked = |index: &u32| batch.job(*index).is_some_and(|job| matches!(job.place, Place::Parked { .. }));
        (1..=7).filter(parked).count()
    };
    assert!(parked(&house) > 0);
    // Killed; the next one knows from the disk what is used up and who is left.
    let apis = house.apis.iter().map(|((name, key), used)| (name.clone(), *key, used.clone())).collect();
    let open: Vec<_> = (1..=7).filter(|index| !house.ended.contains_key(&job(batch, *index))).collect();
    let counts = Counts { completed: 7 - open.len() as u32, pending: open.len() as u32, ..Counts::default() };
    let open = open.into_iter().map(|index| (index, house.open.get(&job(batch, index)).cloned().map(Box::new)));
    let status = BatchStatus { finished_at: None, ..status(counts) };
    let batches =
        vec![RecoveredBatch { spec: spec(recipe(), 50, 64), open: open.collect(), ..stored(batch, 7, status) }];
    let recovered = Recovered { boot: 2, next_batch: 2, batches, apis, ..Recovered::default() };
    let mut next = House::at(with(limits), recovered, house.now, house.contents.clone());
    next.live(&mut service, Some(now + 50 * MINUTE_MS));
    assert_eq!(service.arrived.len(), asked, "nobody is asked before midnight");
    assert!(parked(&next) > 0);
    // Ten minutes later it is midnight, and nobody says a word.
    next.live(&mut service, Some(now + 90 * MINUTE_MS));
    assert_eq!(next.batches[&batch], BatchState::Completed, "{} asked", service.arrived.len());
    assert_eq!(service.billed, 8, "seven jobs, one of which had to ask twice");
}
