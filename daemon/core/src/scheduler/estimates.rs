//! Estimates while work goes on: what finished runs teach, and when the open batches will be through. Decides nothing: what runs next doesn't
//! depend on it.

use std::collections::BTreeMap;

use spindle_shared::batch::{Eta, Priority};
use spindle_shared::id::{BatchId, JobId, RunId};
use spindle_shared::lane::Lane;
use spindle_shared::stage::{Stage, Unit};
use spindle_shared::worker::Done;

use super::{Heard, Run, Scheduler};
use crate::batch::{Batch, Job, Place};
use crate::change::{Change, EndedJob};
use crate::estimate::is_weighty;
use crate::forecast::{self, Load};
use crate::rates::{PACE_PRIOR_RUNS, Rate, RateKey, Rates, Scale};

/// Between two forecasts, and between two records of what was learned.
const FORECAST_EVERY_MS: u64 = 1_000;
/// Far ends are told less often: this part of the nearest one's distance.
const FORECAST_EVERY_PART: f64 = 0.01;
const FORECAST_EVERY_MS_MAX: u64 = 10_000;
/// As many batches as this may be looked at in a millisecond.
const BATCHES_PER_MS: u64 = 1;
/// An estimate that differs by less than this, in seconds and as a share, is not told anew.
const SAME_SECONDS: f64 = 0.9;
const SAME_SHARE: f64 = 0.02;
/// Batches that are looked at; of those that come long after them nothing is told.
const FORESEEN_MAX: usize = 1_000;
/// What a kind of work must have shown before its first runs have ended.
const UNDERWAY_MEDIA_SECONDS: f64 = 30.0;
const UNDERWAY_SECONDS: f64 = 5.0;
/// Jobs of a batch that are weighed one by one.
const WEIGHED_MAX: usize = 100;
/// How much a running stage is believed to go like its batch, against how it has gone itself; counted in stages.
const OWN_PRIOR: f64 = 0.3;
/// What a run that is over its time still takes, as a share of what it is over.
const OVERDUE_SHARE: f64 = 0.1;
/// Jobs that are believed to need a stage before any has shown whether it does.
const NEED_PRIOR: f64 = 2.0;
/// An estimate's error for reasons that no run tells of beforehand, relative; and of a batch that has not shown anything of itself.
const ERROR_ALWAYS: f64 = 0.1;
const ERROR_UNSEEN: f64 = 0.25;
/// Of a rate that no run has shown to its end.
const ERROR_UNDERWAY: f64 = 0.4;
/// Standard deviations to each side of the range.
const RANGE: f64 = 1.5;

/// What a stage takes in this house, by its rate.
#[derive(Debug, Clone, Copy)]
struct Cost {
    lane: Lane,
    spreads: bool,
    unit: Unit,
    /// Too much of a job to be left out where nothing is known of it.
    weighty: bool,
    rate: Option<Known>,
    /// Share of the batch's jobs that turn out to need it.
    need: f64,
}

/// A rate, as far as an estimate needs it.
#[derive(Debug, Clone, Copy)]
struct Known {
    base: f64,
    slope: f64,
    mean: f64,
    spread: f64,
}

impl Known {
    fn of(rate: &Rate, scale: Scale) -> Self {
        let (base, slope) = rate.line(scale);
        Known { base, slope, mean: rate.mean(), spread: rate.spread() }
    }

    fn expect(&self, amount: f64) -> f64 {
        self.base + self.slope * amount
    }
}

impl Cost {
    /// The work of the whole stage, as far as it is known before it is done.
    fn amount(&self, media: Option<f64>, kib: u32) -> Option<f64> {
        match self.unit {
            Unit::MediaSeconds => media,
            Unit::InputBytes => (kib > 0).then_some(f64::from(kib)),
            Unit::OutputBytes => None,
        }
    }

    fn seconds(&self, media: Option<f64>, kib: u32) -> f64 {
        match (&self.rate, self.amount(media, kib)) {
            (Some(rate), Some(amount)) => rate.expect(amount),
            (Some(rate), None) => rate.mean,
            (None, _) => 0.0,
        }
    }

    fn is_unknown(&self) -> bool {
        self.weighty && self.rate.is_none()
    }
}

/// What one job has left, by lane.
#[derive(Debug, Clone, Default)]
struct Left {
    waiting: BTreeMap<Lane, f64>,
    /// Of its run: lane, seconds, slots.
    running: Option<(Lane, f64, f64)>,
    /// Lanes where something is left of which nothing is known.
    unknown: Vec<Lane>,
    /// Whether the length of its recording is guessed.
    guessed: bool,
}

impl Left {
    /// Seconds until it is done, if nothing kept it waiting; `wide`: slots that it has in this lane.
    fn chain(&self, lane: Lane, wide: f64) -> f64 {
        let waiting = self.waiting.iter().map(|(of, seconds)| if *of == lane { seconds / wide } else { *seconds });
        waiting.sum::<f64>() + self.running.map_or(0.0, |(_, seconds, _)| seconds)
    }
}

/// Slot-seconds and work that runs of today have shown, by what they are of.
type Underway = BTreeMap<RateKey, (f64, f64)>;

/// What one batch has left.
#[derive(Debug)]
struct Outlook {
    id: BatchId,
    halted: bool,
    unknown: bool,
    loads: BTreeMap<Lane, Load>,
    /// Its jobs as wholes, over the places that `--parallel` gives.
    whole: Load,
    /// After the last job has left the batch's main lane.
    tail: f64,
    /// Not before this, in seconds.
    not_before: f64,
    /// Squared error of the estimate, relative.
    error: f64,
}

impl Scheduler {
    /// What a worker says of a run's progress.
    pub(super) fn hear(&mut self, run: RunId, done: f32, begun: f32) {
        let at = self.now.mono;
        let Some(run) = self.runs.get_mut(&run) else { return };
        let share = |value: f32| if value.is_finite() { f64::from(value.clamp(0.0, 1.0)) } else { 0.0 };
        let before = run.heard.map_or(0.0, |heard| heard.done);
        run.begun = share(begun);
        // One that goes back says nothing.
        if share(done) > before {
            run.heard = Some(Heard { done: share(done), at });
            run.first_heard = run.first_heard.or(run.heard);
        }
    }

    /// A run has ended well. What an earlier run had done of it is not its own work and teaches nothing; nor does a run that failed.
    pub(super) fn learn(&mut self, run: RunId, done: &Done) {
        let (wall, mono) = (self.now.wall, self.now.mono);
        let Some(run) = self.runs.get(&run) else { return };
        let (id, took) = (run.job, run.slot_seconds(run.since, mono));
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        let stages = batch.stages_of(job);
        let Some(stage) = stages.get(job.stage) else { return };
        let (key, scale) = (self.gpus.rate_key(stage, run.lane), Scale::of(stage.facts().unit));
        let copies = RateKey::copies(stage);
        let weighty = is_weighty(stage, stages);
        let first_heard = job.open.detail.media_seconds.is_none();
        let amount = scale.amount(done.work);
        if let Some(rate) = self.rates.known(&key, scale).filter(|_| weighty) {
            batch.course.pace.learn(took, rate.expect(scale, amount));
        }
        self.rates.learn(key, scale, amount, took, wall);
        if let Some(key) = copies {
            let kib = done.files.iter().map(|file| file.bytes as f64 / 1_024.0).sum();
            self.rates.learn(key, Scale::Kib, f64::from(batch.kib(id.index)), kib, wall);
        }
        if let Some(seconds) = done.detail.media_seconds.filter(|_| first_heard) {
            self.learn_length(id, seconds);
        }
    }

    /// How long recordings of so many bytes are, in this batch and in the house.
    fn learn_length(&mut self, id: JobId, seconds: f64) {
        let wall = self.now.wall;
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let kib = f64::from(batch.kib(id.index));
        batch.course.length.learn(Scale::Kib, kib, seconds, wall);
        self.rates.learn(RateKey::length(), Scale::Kib, kib, seconds, wall);
    }

    /// A run has told how long its recording is, before it has worked through it.
    pub(super) fn measured(&mut self, run: RunId, seconds: f64) {
        let Some(id) = self.runs.get(&run).map(|run| run.job) else { return };
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let unknown = batch.job(id.index).is_some_and(|job| job.open.detail.media_seconds.is_none());
        if !unknown || !seconds.is_finite() || seconds <= 0.0 {
            return;
        }
        batch.change(id.index, |job| job.open.detail.media_seconds = Some(seconds));
        self.changed.insert(id.batch);
        self.learn_length(id, seconds);
    }

    /// What a run has taken of the machine's memory, one run's share of its process.
    pub(super) fn learn_memory(&mut self, id: JobId, run: RunId, bytes: u64) {
        let wall = self.now.wall;
        let Some(lane) = self.runs.get(&run).map(|run| run.lane) else { return };
        let Some(batch) = self.batches.get(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        let Some(stage) = batch.stages_of(job).get(job.stage).filter(|stage| stage.memory_mib() > 0) else { return };
        self.rates.learn(self.gpus.memory_key(stage, lane), Scale::Kib, 1.0, bytes as f64 / f64::from(1 << 20), wall);
    }

    /// Counts the media behind a run, as far as it has come.
    pub(super) fn credit_progress(&mut self, id: JobId, run: RunId) {
        let job = self.batches.get(&id.batch).and_then(|batch| batch.job(id.index));
        let Some(seconds) = job.and_then(|job| job.open.detail.media_seconds) else { return };
        let Some(share) = self.runs.get(&run).and_then(|run| Some(run.heard?.done - run.begun)) else { return };
        self.credit(id, run, seconds * share);
    }

    /// Counts the media behind a run that has ended well.
    pub(super) fn credit_end(&mut self, id: JobId, run: RunId, done: &Done) {
        let job = self.batches.get(&id.batch).and_then(|batch| Some((batch, batch.job(id.index)?)));
        let Some((stage, known)) = job.and_then(|(batch, job)| {
            Some((batch.stages_of(job).get(job.stage)?.clone(), job.open.detail.media_seconds))
        }) else {
            return;
        };
        let begun = self.runs.get(&run).map_or(0.0, |run| run.begun);
        let seconds = match stage.facts().unit {
            Unit::MediaSeconds => done.work,
            _ => done.detail.media_seconds.or(known).unwrap_or(0.0) * (1.0 - begun),
        };
        self.credit(id, run, seconds);
    }

    /// Counts media-seconds that a run has behind it, if its stage is most of its recipe's work.
    fn credit(&mut self, id: JobId, run: RunId, seconds: f64) {
        let Some(batch) = self.batches.get(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        let stages = batch.stages_of(job);
        let heaviest = stages.iter().map(Stage::facts).max_by_key(|facts| facts.weight);
        let counts =
            heaviest.is_some_and(|heaviest| stages.get(job.stage).is_some_and(|own| own.name() == heaviest.name));
        let (Some(run), true) = (self.runs.get_mut(&run), counts && seconds.is_finite()) else { return };
        self.done.media_seconds += (seconds - run.credited).max(0.0);
        run.credited = run.credited.max(seconds);
    }

    /// A job has come to its end by itself: which stages did it need?
    pub(super) fn note_end(&mut self, id: BatchId, ended: &EndedJob) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        batch.course.ended += 1;
        for stage in &batch.spec.recipe.map {
            if ended.timings.iter().any(|(timed, _)| timed == stage.name()) {
                *batch.course.ran.entry(stage.name()).or_default() += 1;
            }
        }
    }

    /// Adds what was learned to a commit that comes anyway: at most every second, and before the house falls silent.
    pub(super) fn write_rates(&mut self) {
        let due = self.now.mono.since(self.rates_written) >= FORECAST_EVERY_MS || self.runs.is_empty();
        if due && !self.changes.is_empty() {
            let learned = self.rates.take_unwritten();
            self.changes.extend(learned.into_iter().map(|(key, rate)| Change::RateLearned(key, rate)));
            self.rates_written = self.now.mono;
        }
    }

    /// Nothing is foreseen of this batch any more.
    pub(super) fn forget_eta(&mut self, id: BatchId) {
        if self.batches.get_mut(&id).is_some_and(|batch| batch.eta.take().is_some()) {
            self.changed.insert(id);
            self.look_ahead_soon();
        }
    }

    /// Until all open batches are through, those that are halted left out.
    pub(super) fn house_eta(&self) -> Option<Eta> {
        self.eta.filter(|_| self.batches.values().any(|batch| batch.eta.is_some()))
    }

    /// Nothing is foreseen of the whole house, which is halted.
    pub(super) fn forget_etas(&mut self) {
        let ids: Vec<BatchId> = self.batches.keys().copied().collect();
        ids.into_iter().for_each(|id| self.forget_eta(id));
        self.eta = None;
        self.forecast_at = None;
    }

    /// Something has changed that far ends, too, are to be told of soon.
    pub(super) fn look_ahead_soon(&mut self) {
        let soon = self.forecast_last.map_or(self.now.mono, |last| last.plus(FORECAST_EVERY_MS).max(self.now.mono));
        self.forecast_at = Some(self.forecast_at.map_or(soon, |at| at.min(soon)));
    }

    fn is_house_halted(&self) -> bool {
        self.paused || self.draining || self.stopping
    }

    /// Tells how much time the open batches have left, where that has become known, unknown, or another time. In steady work this happens once a
    /// second, whatever the number of events.
    pub(super) fn look_ahead(&mut self) {
        let due = self.forecast_at.map_or(!self.runs.is_empty(), |at| at <= self.now.mono);
        if self.is_house_halted() {
            self.forecast_at = None;
            return;
        }
        if !due {
            return;
        }
        self.tell_etas();
        let nearest = self.batches.values().filter_map(|batch| batch.eta).map(|eta| eta.seconds).reduce(f64::min);
        let pause = (nearest.unwrap_or(0.0) * FORECAST_EVERY_PART * 1_000.0) as u64;
        let pause = pause.clamp(FORECAST_EVERY_MS, FORECAST_EVERY_MS_MAX);
        let pause = pause.max(self.batches.len() as u64 / BATCHES_PER_MS);
        let goes_on = nearest.is_some() || !self.runs.is_empty();
        self.forecast_last = Some(self.now.mono);
        self.forecast_at = goes_on.then(|| self.now.mono.plus(pause));
    }

    fn tell_etas(&mut self) {
        let underway = self.underway();
        let outlooks: Vec<Outlook> =
            self.foreseen().iter().filter_map(|id| Some(self.outlook(self.batches.get(id)?, &underway))).collect();
        let etas: BTreeMap<BatchId, Option<Eta>> =
            outlooks.iter().map(|outlook| outlook.id).zip(self.foresee(&outlooks)).collect();
        let mut house: Option<Eta> = None;
        let mut all_known = true;
        for (id, batch) in &mut self.batches {
            let eta = etas.get(id).copied().flatten();
            if !batch.is_halted() {
                all_known &= eta.is_some();
                house = house.map_or(eta, |house| Some(later(house, eta?)));
            }
            if !is_same(batch.eta, eta) {
                batch.eta = eta;
                self.changed.insert(*id);
            }
        }
        self.eta = house.filter(|_| all_known);
    }

    /// Batches that are looked at: those at work, then those that come next.
    fn foreseen(&self) -> Vec<BatchId> {
        if self.batches.len() <= FORESEEN_MAX {
            return self.batches.keys().copied().collect();
        }
        let mut next: Vec<_> =
            self.batches.values().map(|batch| (batch.at_work == 0, batch.priority, batch.id)).collect();
        next.sort_unstable();
        next.truncate(FORESEEN_MAX);
        next.into_iter().map(|(_, _, id)| id).collect()
    }

    /// What the runs of today have shown so far of kinds of work of which nothing is known yet: slot-seconds, work, and its scale.
    fn underway(&self) -> Underway {
        let mut underway: Underway = BTreeMap::new();
        for run in self.runs.values() {
            let Some((share, seconds)) = run.stretch() else { continue };
            let Some(batch) = self.batches.get(&run.job.batch) else { continue };
            let Some(job) = batch.job(run.job.index) else { continue };
            let Some(stage) = batch.stages_of(job).get(job.stage) else { continue };
            let whole = match stage.facts().unit {
                Unit::MediaSeconds => job.open.detail.media_seconds,
                Unit::InputBytes => Some(f64::from(batch.kib(run.job.index))),
                Unit::OutputBytes => None,
            };
            let Some(whole) = whole.filter(|whole| *whole > 0.0) else { continue };
            let (took, amount) = underway.entry(self.gpus.rate_key(stage, run.lane)).or_default();
            *took += seconds;
            *amount += whole * share;
        }
        underway
    }

    /// A rate of finished runs; before there are enough of them, what runs just now stands in.
    fn known(&self, stage: &Stage, lane: Lane, underway: &Underway) -> Option<Known> {
        let (key, scale) = (self.gpus.rate_key(stage, lane), Scale::of(stage.facts().unit));
        if let Some(rate) = self.rates.known(&key, scale) {
            return Some(Known::of(rate, scale));
        }
        let (took, amount) = *underway.get(&key)?;
        let enough = match scale {
            Scale::MediaSeconds => amount >= UNDERWAY_MEDIA_SECONDS,
            Scale::Kib => took >= UNDERWAY_SECONDS,
        };
        enough.then(|| Known { base: 0.0, slope: took / amount, mean: took, spread: ERROR_UNDERWAY })
    }

    fn foresee(&self, outlooks: &[Outlook]) -> Vec<Option<Eta>> {
        let unknown = outlooks.iter().any(|outlook| outlook.unknown);
        let likely = self.ends(outlooks, true);
        // As if what is unknown were nothing.
        let soonest = if unknown { self.ends(outlooks, false) } else { likely.clone() };
        let errors = errors(outlooks);
        outlooks
            .iter()
            .zip(likely.iter().zip(&soonest))
            .map(|(outlook, (seconds, soonest))| {
                let error = errors.range(..=outlook.whole.priority).next_back().map_or(0.0, |(_, error)| *error);
                let wide = (RANGE * error.sqrt()).exp();
                let tenths = |seconds: f64| (seconds * 10.0).round() / 10.0;
                let eta = Eta {
                    // What is still open is not over.
                    seconds: tenths(seconds.max(0.1)),
                    low: tenths(soonest.min(*seconds) / wide),
                    high: tenths(seconds.max(0.1) * wide),
                };
                Some(eta).filter(|eta| !outlook.halted && !outlook.unknown && eta.high.is_finite())
            })
            .collect()
    }

    /// Seconds until each batch is through.
    fn ends(&self, outlooks: &[Outlook], with_unknown: bool) -> Vec<f64> {
        let mut ends: Vec<f64> = outlooks.iter().map(|outlook| outlook.not_before).collect();
        for lane in self.lanes() {
            let busy = |outlook: &&Outlook| outlook.loads.contains_key(&lane);
            let at: Vec<usize> = (0..outlooks.len()).filter(|at| busy(&&outlooks[*at])).collect();
            let loads: Vec<Load> = outlooks
                .iter()
                .filter_map(|outlook| outlook.loads.get(&lane))
                .map(|load| Load { endless: load.endless && with_unknown, ..load.clone() })
                .collect();
            for (at, end) in at.into_iter().zip(forecast::ends(f64::from(self.slots_open_to(lane)), &loads)) {
                ends[at] = ends[at].max(end + outlooks[at].tail);
            }
        }
        for (end, outlook) in ends.iter_mut().zip(outlooks) {
            let whole = forecast::ends(outlook.whole.limit, std::slice::from_ref(&outlook.whole));
            *end = end.max(whole.first().copied().unwrap_or(0.0));
        }
        ends
    }

    fn costs(&self, batch: &Batch, stages: &[Stage], underway: &Underway) -> Vec<Cost> {
        stages.iter().map(|stage| self.cost(batch, stage, stages, self.gpus.lane_for(stage), underway)).collect()
    }

    /// What a stage takes in this lane.
    fn cost(&self, batch: &Batch, stage: &Stage, stages: &[Stage], lane: Lane, underway: &Underway) -> Cost {
        let (course, facts) = (&batch.course, stage.facts());
        let ran = f64::from(course.ran.get(facts.name).copied().unwrap_or(0));
        Cost {
            lane,
            spreads: facts.spreads,
            unit: facts.unit,
            weighty: is_weighty(stage, stages),
            rate: self.known(stage, lane, underway),
            need: (ran + NEED_PRIOR) / (f64::from(course.ended) + NEED_PRIOR),
        }
    }

    /// Slots that a batch's jobs may have for most of their work.
    pub(super) fn slots_for(&self, batch: &Batch) -> u32 {
        let main = batch.heaviest_stage().map_or(batch.lane, |stage| self.gpus.lane_for(stage));
        self.lanes().filter(|own| self.gpus.serves(*own, main)).map(|own| self.slots_of(own)).sum()
    }

    /// Slots that may be used by those who wait for this lane.
    fn slots_open_to(&self, lane: Lane) -> u32 {
        self.lanes().filter(|own| self.gpus.serves(*own, lane)).map(|own| self.allowed_of(own)).sum()
    }

    fn outlook(&self, batch: &Batch, underway: &Underway) -> Outlook {
        let costs = self.costs(batch, &batch.spec.recipe.map, underway);
        let halted = batch.is_halted();
        let length = Length::of(batch, &self.rates);
        let factor = self.factor(batch, &costs, &length);
        let load = |limit: f64, spreads: bool| Load {
            spreads,
            priority: batch.priority,
            owner: batch.owner,
            served: batch.started,
            limit,
            running: Vec::new(),
            next: Vec::new(),
            later: (0.0, 0.0),
            endless: false,
        };
        let parallel = f64::from(batch.spec.parallel);
        let main = batch.heaviest_stage().map_or(batch.lane, |stage| self.gpus.lane_for(stage));
        let spreads = |lane: Lane| costs.iter().any(|cost| cost.lane == lane && cost.spreads);
        // Where few may be at work at once, each has several slots for the stages that spread.
        let open = f64::from(batch.counts.total() - batch.counts.ended()).max(1.0);
        let wide = (f64::from(self.slots_open_to(main)) / parallel.min(open)).floor().max(1.0);
        let wide = if spreads(main) { wide } else { 1.0 };
        let mut outlook = Outlook {
            id: batch.id,
            halted,
            // When what it waits for is in order again, nobody knows.
            unknown: batch.parked > 0,
            loads: BTreeMap::new(),
            whole: load(parallel, false),
            tail: 0.0,
            not_before: 0.0,
            error: 0.0,
        };
        let mut guessed = 0.0;
        let mut add = |outlook: &mut Outlook, left: &Left| {
            outlook.unknown |= !left.unknown.is_empty();
            for lane in &left.unknown {
                outlook.loads.entry(*lane).or_insert_with(|| load(parallel, spreads(*lane))).endless = true;
            }
            for (lane, seconds) in left.waiting.iter().filter(|(_, seconds)| **seconds > 0.0) {
                outlook.loads.entry(*lane).or_insert_with(|| load(parallel, spreads(*lane))).next.push(*seconds);
            }
            if let Some((lane, seconds, slots)) = left.running {
                outlook
                    .loads
                    .entry(lane)
                    .or_insert_with(|| load(parallel, spreads(lane)))
                    .running
                    .push((seconds, slots));
            }
            if left.guessed {
                guessed += left.chain(main, wide);
            }
        };
        let busy = batch.busy.iter().filter_map(|index| Some((*index, batch.job(*index)?)));
        let mut at_work: Vec<Left> = busy
            .map(|(index, job)| {
                let own = job.facts.as_ref().and_then(|facts| facts.stages.as_deref());
                let own = own.map(|own| self.costs(batch, own, underway));
                let left = self.left_of(batch, index, job, own.as_deref().unwrap_or(&costs), &length, factor, underway);
                // In a halted batch, what runs holds its slots to the end of its stage, and nothing follows.
                if halted { Left { running: left.running, ..Left::default() } } else { left }
            })
            .collect();
        // Of those at work the longest has the next slot.
        at_work.sort_by(|one, other| other.chain(main, wide).total_cmp(&one.chain(main, wide)));
        for left in &at_work {
            add(&mut outlook, left);
            outlook.whole.running.push((left.chain(main, wide), 1.0));
        }
        if halted {
            return outlook;
        }
        let (mut jobs, mut kib) = batch.waiting();
        for index in batch.first_waiting(if batch.at_work > 0 { WEIGHED_MAX } else { 0 }) {
            let own = batch.kib(index);
            let left = fresh(&costs, &length, own, factor);
            add(&mut outlook, &left);
            outlook.whole.next.push(left.chain(main, wide));
            jobs = jobs.saturating_sub(1);
            kib = kib.saturating_sub(u64::from(own));
        }
        if jobs > 0 {
            let mean = u32::try_from(kib / u64::from(jobs)).unwrap_or(u32::MAX);
            let left = fresh(&costs, &length, mean, factor);
            add(&mut outlook, &Left { waiting: BTreeMap::new(), ..left.clone() });
            let jobs = f64::from(jobs);
            for (lane, seconds) in left.waiting.iter().filter(|(_, seconds)| **seconds > 0.0) {
                outlook.loads.entry(*lane).or_insert_with(|| load(parallel, spreads(*lane))).later =
                    (jobs, jobs * seconds);
            }
            outlook.whole.later = (jobs, jobs * left.chain(main, wide));
            if left.guessed {
                guessed += jobs * left.chain(main, wide);
            }
        }
        let last_in_lane = costs.iter().rposition(|cost| cost.lane == main).unwrap_or(costs.len());
        outlook.tail = costs.iter().skip(last_in_lane + 1).map(|cost| cost.seconds(None, 0) * factor).sum();
        if batch.counts.retrying > 0 && batch.course.delayed_until > self.now.mono {
            outlook.not_before = batch.course.delayed_until.since(self.now.mono) as f64 / 1_000.0;
        }
        outlook.error = error_of(batch, main, &outlook.whole, &costs, &length, guessed);
        outlook
    }

    /// How the batch goes against its rates: its ended runs, and those it has at work as far as they have come.
    fn factor(&self, batch: &Batch, costs: &[Cost], length: &Length) -> f64 {
        let (mut taking, mut expecting) = (0.0, 0.0);
        for job in batch.running.iter().filter_map(|index| batch.job(*index)) {
            let Some(run) = job.state.run().and_then(|run| self.runs.get(&run)) else { continue };
            let Some(cost) = costs.get(job.stage).filter(|_| job.facts.as_ref().is_none_or(|f| f.stages.is_none()))
            else {
                continue;
            };
            if !self.gpus.serves(run.lane, cost.lane) {
                // Done on the processor for once: no measure of how a card goes.
                continue;
            }
            let (Some((share, seconds)), Some(rate)) = (run.stretch(), &cost.rate) else { continue };
            let media = job.open.detail.media_seconds.or_else(|| length.of_kib(batch.kib(run.job.index)));
            if let Some(amount) = cost.amount(media, batch.kib(run.job.index)) {
                taking += seconds;
                expecting += rate.slope * amount * share;
            }
        }
        batch.course.pace.factor(taking, expecting)
    }

    #[allow(clippy::too_many_arguments)]
    fn left_of(
        &self,
        batch: &Batch,
        index: u32,
        job: &Job,
        costs: &[Cost],
        length: &Length,
        factor: f64,
        underway: &Underway,
    ) -> Left {
        let kib = batch.kib(index);
        let known = job.open.detail.media_seconds;
        let media = known.or_else(|| length.of_kib(kib));
        let mut left = Left { guessed: known.is_none(), ..Left::default() };
        let mut from = if job.stage_known { job.stage } else { 0 };
        if let (Some(run), Some(cost)) = (job.state.run().and_then(|run| self.runs.get(&run)), costs.get(job.stage)) {
            let stages = batch.stages_of(job);
            let elsewhere = stages.get(job.stage).filter(|_| !self.gpus.serves(run.lane, cost.lane));
            let cost = &elsewhere.map_or(*cost, |stage| self.cost(batch, stage, stages, run.lane, underway));
            let seconds = self.run_left(run, cost, cost.amount(media, kib), factor) / run.slots();
            if cost.is_unknown() {
                left.unknown.push(cost.lane);
            }
            left.running = Some((cost.lane, seconds, run.slots()));
            from = job.stage + 1;
        } else if matches!(job.place, Place::Held(_)) {
            // Another job is just doing this stage.
            from += 1;
        }
        for cost in costs.iter().skip(from) {
            if cost.is_unknown() {
                left.unknown.push(cost.lane);
            }
            *left.waiting.entry(cost.lane).or_default() += cost.seconds(media, kib) * factor;
        }
        left
    }

    /// Slot-seconds that a run has left.
    fn run_left(&self, run: &Run, cost: &Cost, amount: Option<f64>, factor: f64) -> f64 {
        let Some(rate) = &cost.rate else { return 0.0 };
        let whole = match amount {
            Some(amount) => rate.expect(amount * (1.0 - run.begun)),
            None => rate.mean * (1.0 - run.begun),
        };
        let (left, since) = match run.heard.filter(|heard| heard.done > run.begun) {
            None => (whole * factor, run.since),
            Some(heard) => {
                // What a run costs as such it has behind it.
                let base = amount.map_or(0.0, |_| rate.base.min(whole));
                let stage = (whole - base) / (1.0 - run.begun).max(1e-6);
                let (share, took) = run.stretch().unwrap_or_default();
                let prior = OWN_PRIOR * whole;
                let own = (took + prior * factor) / (stage * share + prior).max(1e-9);
                (stage * (1.0 - heard.done) * own, heard.at)
            }
        };
        let gone = run.slot_seconds(since, self.now.mono);
        (left - gone).max(OVERDUE_SHARE * (gone - left)).max(0.0)
    }
}

/// What a job has left that waits to come to work.
fn fresh(costs: &[Cost], length: &Length, kib: u32, factor: f64) -> Left {
    let media = length.of_kib(kib);
    let mut left = Left { guessed: true, ..Left::default() };
    for cost in costs {
        if cost.is_unknown() {
            left.unknown.push(cost.lane);
        }
        *left.waiting.entry(cost.lane).or_default() += cost.need * cost.seconds(media, kib) * factor;
    }
    left
}

/// How long recordings are: as the batch's own have shown, else as those of the house.
struct Length {
    rate: Option<Rate>,
}

impl Length {
    fn of(batch: &Batch, rates: &Rates) -> Self {
        let own = Some(&batch.course.length).filter(|own| own.count > 0);
        Length { rate: own.or(rates.length()).copied() }
    }

    fn of_kib(&self, kib: u32) -> Option<f64> {
        let rate = self.rate.as_ref()?;
        Some(if kib > 0 { rate.expect(Scale::Kib, f64::from(kib)) } else { rate.mean() })
    }
}

/// Squared error of a batch's estimate, relative.
fn error_of(batch: &Batch, lane: Lane, whole: &Load, costs: &[Cost], length: &Length, guessed: f64) -> f64 {
    let pieces = whole.running.iter().map(|(seconds, _)| *seconds).chain(whole.next.iter().copied());
    let (mut sum, mut squares) = pieces.fold((0.0, 0.0), |(sum, squares), one| (sum + one, squares + one * one));
    sum += whole.later.1;
    squares += if whole.later.0 > 0.0 { whole.later.1 * whole.later.1 / whole.later.0 } else { 0.0 };
    if sum <= 0.0 {
        return ERROR_ALWAYS * ERROR_ALWAYS;
    }
    // Few pieces vary more in sum than many do.
    let few = (squares / (sum * sum)).min(1.0);
    let main = costs.iter().filter(|cost| cost.lane == lane).max_by(|one, other| {
        let seconds = |cost: &Cost| cost.rate.map_or(0.0, |rate| rate.mean);
        seconds(one).total_cmp(&seconds(other))
    });
    let before = main.and_then(|cost| cost.rate).map_or(ERROR_UNSEEN, |rate| rate.spread);
    let (runs, spread) = (batch.course.pace.runs(), batch.course.pace.spread(before));
    let unseen = ERROR_UNSEEN / (1.0 + runs);
    // Of how many of the jobs to come a stage is spared isn't known either.
    let need = main.map_or(1.0, |cost| cost.need);
    let waiting = whole.next.len() as f64 + whole.later.0;
    let waiting_share = (whole.next.iter().sum::<f64>() + whole.later.1) / sum;
    let ended = f64::from(batch.course.ended) + NEED_PRIOR;
    let needs = waiting_share * waiting_share * (1.0 - need) / need * (1.0 / waiting.max(1.0) + 1.0 / ended);
    let lengths = length.rate.map_or(ERROR_UNSEEN, |rate| rate.spread());
    let seen = batch.course.length.runs;
    ERROR_ALWAYS.powi(2)
        + unseen * unseen
        + needs
        + spread * spread * (1.0 / (PACE_PRIOR_RUNS + runs) + few)
        + (lengths * guessed / sum).powi(2) * (1.0 / (1.0 + seen) + few)
}

/// By priority, the mean squared error of all work that is as urgent or more: what comes before a batch or beside it delays it.
fn errors(outlooks: &[Outlook]) -> BTreeMap<Priority, f64> {
    let mut sums: BTreeMap<Priority, (f64, f64)> = BTreeMap::new();
    for outlook in outlooks.iter().filter(|outlook| !outlook.halted) {
        let (work, errors) = sums.entry(outlook.whole.priority).or_default();
        *work += outlook.whole.work();
        *errors += outlook.whole.work() * outlook.error;
    }
    let (mut work, mut errors) = (0.0, 0.0);
    sums.into_iter()
        .map(|(priority, sums)| {
            work += sums.0;
            errors += sums.1;
            (priority, if work > 0.0 { errors / work } else { ERROR_ALWAYS * ERROR_ALWAYS })
        })
        .collect()
}

/// Until both are over.
fn later(one: Eta, other: Eta) -> Eta {
    Eta { seconds: one.seconds.max(other.seconds), low: one.low.max(other.low), high: one.high.max(other.high) }
}

/// Whether a watcher would hardly see a difference.
fn is_same(told: Option<Eta>, now: Option<Eta>) -> bool {
    let (Some(told), Some(now)) = (told, now) else { return told == now };
    let near = |one: f64, other: f64| (one - other).abs() <= SAME_SECONDS.max(SAME_SHARE * other);
    near(told.seconds, now.seconds) && near(told.low, now.low) && near(told.high, now.high)
}

#[cfg(test)]
mod tests;
