//! The scheduler: one step per input, pure. Decides what runs, what waits and what is told; does none of it.
//!
//! Dispatch: priority → owner with the fewest running → batch with the fewest running (of equals, served longest ago) → input order (those
//! that wait for a core: the longest first), bounded by lanes and by each batch's `parallel`, which counts jobs from their first start to
//! their end.

mod apis;
mod cards;
mod commands;
mod dispatch;
mod endings;
mod estimates;
mod fair_use;
pub mod gather;
mod parking;
mod terms;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};

use spindle_shared::batch::Eta;
use spindle_shared::event::{Event, Fact};
use spindle_shared::id::{BatchId, ContentHash, GATHER_INDEX, JobId, Owner, RunId};
use spindle_shared::job::PathBytes;
use spindle_shared::lane::Lane;
use spindle_shared::time::{MonoMs, Now, WallMs};
use spindle_shared::wire::response::{AlertView, Response, WorkDone};

use crate::alert::{Rule, Turn, Vitals};
use crate::batch::{Batch, Cell, Place};
use crate::breaker::Breaker;
use crate::change::{Change, Recovered};
use crate::effect::{Answer, ClientId, Effect, Input};
use crate::governor::Governor;
use crate::gpus::{Found, Gpus};
use crate::queue::{Need, Queue};
use crate::rates::Rates;

/// Jobs that never started are told of one by one up to here, when many of them change at once; of the rest the counts tell.
const TOLD_AT_ONCE_MAX: usize = spindle_shared::limits::ROWS_PER_FRAME_MAX;

/// The last alerts are told to whoever comes later.
const ALERTS_MAX: usize = spindle_shared::snapshot::ALERTS_MAX;

/// What one owner may have open at the same time; `None` = any number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Quota {
    pub batches: Option<u32>,
    pub jobs: Option<u32>,
    /// Hours of recordings that are worked through in a day (UTC).
    pub media_hours: Option<u32>,
}

/// A model API, as far as its limits and prices go.
#[derive(Debug, Clone, PartialEq)]
pub struct ApiConfig {
    /// For each of its keys.
    pub limits: crate::api::Limits,
    /// How many keys there are; one that wants none counts as one.
    pub keys: u32,
    /// For a million tokens; `None` = nobody said.
    pub price_in: Option<f64>,
    pub price_out: Option<f64>,
}

/// What the scheduler is told of its house, at its start and when that changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Slots of each lane.
    pub slots: BTreeMap<Lane, u32>,
    pub quota: Quota,
    /// Model APIs by name.
    pub providers: BTreeMap<String, ApiConfig>,
    /// Memory that all runs together may be expected to take, in MiB.
    pub memory_mib: u32,
    /// Graphics cards; each has its lane in `slots`.
    pub gpus: Found,
    /// Of the disk that all work is done on, so much stays free.
    pub disk_reserve_bytes: u64,
    pub version: String,
    pub pid: u32,
    pub started_at: WallMs,
    pub state_dir: PathBytes,
    pub model_dir: PathBytes,
}

/// A run that holds its lane slots.
#[derive(Debug)]
struct Run {
    job: JobId,
    lane: Lane,
    slots: u32,
    memory_mib: u32,
    /// Of a graphics card's memory.
    card_mib: u32,
    since: MonoMs,
    /// Of the artifact it makes.
    address: Option<ContentHash>,
    /// Media-seconds of it that are counted as done.
    credited: f64,
    /// Share of the stage that was done before it.
    begun: f64,
    /// What it has told of its progress, first and last.
    first_heard: Option<Heard>,
    heard: Option<Heard>,
    /// Its permit to ask a model API.
    asked: Option<apis::Asked>,
}

/// How far a run has come, 0–1 of its stage, and when that was heard.
#[derive(Debug, Clone, Copy)]
struct Heard {
    done: f64,
    at: MonoMs,
}

impl Run {
    /// Slots of its lane that it holds.
    fn slots(&self) -> f64 {
        f64::from(self.slots)
    }

    /// Slot-seconds between two times; the one place where seconds meet slots.
    fn slot_seconds(&self, from: MonoMs, until: MonoMs) -> f64 {
        until.since(from) as f64 / 1_000.0 * self.slots()
    }

    /// The share of its stage that it has done between its first word and its last, and the slot-seconds that took. What comes before the first
    /// word, a model to load or a recording to survey, tells nothing of the pace.
    fn stretch(&self) -> Option<(f64, f64)> {
        let (first, last) = (self.first_heard?, self.heard?);
        Some((last.done - first.done, self.slot_seconds(first.at, last.at))).filter(|(share, _)| *share > 0.0)
    }
}

/// An artifact as the jobs see it that have it on their way.
#[derive(Debug, Default, PartialEq, Eq)]
struct Wanted {
    jobs: u32,
    /// Goes when the last of them ends.
    transient: bool,
    stored: bool,
}

/// An answer that waits for runs to be over.
#[derive(Debug)]
struct Awaiting {
    client: ClientId,
    runs: BTreeSet<RunId>,
    frames: Vec<Response>,
}

/// All that is open, and who is served next.
#[derive(Debug)]
pub struct Scheduler {
    config: Config,
    boot: u64,
    run_counter: u64,
    /// Times that anybody was served, for the queue's ties.
    served: u64,
    next_batch: u64,
    seq: u64,
    paused: bool,
    draining: bool,
    stopping: bool,
    /// Said that the daemon may end.
    exited: bool,
    batches: BTreeMap<BatchId, Batch>,
    /// Batches with jobs at work; few.
    at_work: BTreeSet<BatchId>,
    runs: HashMap<RunId, Run>,
    used: BTreeMap<Lane, u32>,
    memory_used: u32,
    /// What runs held of a lane, and of the memory, when it was made smaller than that; falls as they end.
    excess: BTreeMap<Lane, u32>,
    memory_excess: u32,
    breaker: Breaker,
    governor: Governor,
    gpus: Gpus,
    /// Model APIs by name.
    services: BTreeMap<String, apis::Service>,
    /// Bytes of the largest artifact that came of a run since the start.
    largest_result: u64,
    /// What each owner has had of a day: its number, and media-seconds.
    spent: BTreeMap<Owner, (u64, f64)>,
    /// Those who have had enough for today.
    held_back: BTreeSet<Owner>,
    queue: Queue,
    delayed: BTreeSet<(MonoMs, JobId)>,
    /// Runs by the address they make.
    making: HashMap<ContentHash, RunId>,
    held: HashMap<ContentHash, BTreeSet<JobId>>,
    /// Artifacts that jobs on their way may make or read.
    wanted: HashMap<ContentHash, Wanted>,
    awaiting: Vec<Awaiting>,
    /// Batches by the one they wait for, and those that wait for a time of the wall clock.
    awaited: BTreeMap<BatchId, BTreeSet<BatchId>>,
    timed: BTreeSet<(WallMs, BatchId)>,
    alerts: Vec<String>,
    /// Rules that hold just now.
    firing: BTreeMap<Rule, AlertView>,
    done: WorkDone,
    rates: Rates,
    /// When what was learned was written last.
    rates_written: MonoMs,
    /// When the open batches' ends are foreseen anew; `None` = nothing runs.
    forecast_at: Option<MonoMs>,
    forecast_last: Option<MonoMs>,
    /// Until all open batches are through.
    eta: Option<Eta>,
    /// Of the step in progress.
    now: Now,
    changes: Vec<Change>,
    effects: Vec<Effect>,
    /// Batches to write down, and those that only look otherwise.
    dirty: BTreeSet<BatchId>,
    changed: BTreeSet<BatchId>,
}

impl Scheduler {
    /// Takes up where the last daemon ended. What ran then waits again, and is charged nothing.
    pub fn recover(config: Config, recovered: Recovered, now: Now) -> (Self, Vec<Effect>) {
        let services = Scheduler::services(&config.providers, &recovered, now);
        let mut scheduler = Scheduler {
            services,
            gpus: Gpus::new(config.gpus.clone()),
            config,
            boot: recovered.boot,
            run_counter: 0,
            served: 0,
            next_batch: recovered.next_batch.max(1),
            seq: 0,
            paused: recovered.paused,
            draining: false,
            stopping: false,
            exited: false,
            batches: BTreeMap::new(),
            at_work: BTreeSet::new(),
            runs: HashMap::new(),
            used: BTreeMap::new(),
            memory_used: 0,
            excess: BTreeMap::new(),
            memory_excess: 0,
            breaker: Breaker::default(),
            governor: Governor::default(),
            largest_result: 0,
            spent: recovered.spent.into_iter().map(|(owner, day, seconds)| (owner, (day, seconds))).collect(),
            held_back: BTreeSet::new(),
            queue: Queue::default(),
            delayed: BTreeSet::new(),
            making: HashMap::new(),
            held: HashMap::new(),
            wanted: HashMap::new(),
            awaiting: Vec::new(),
            awaited: BTreeMap::new(),
            timed: BTreeSet::new(),
            alerts: Vec::new(),
            firing: BTreeMap::new(),
            done: WorkDone::default(),
            rates: Rates::new(recovered.rates),
            rates_written: now.mono,
            forecast_at: None,
            forecast_last: None,
            eta: None,
            now,
            changes: Vec::new(),
            effects: Vec::new(),
            dirty: BTreeSet::new(),
            changed: BTreeSet::new(),
        };
        let mut gates = Vec::new();
        for mut stored in recovered.batches {
            scheduler.next_batch = scheduler.next_batch.max(stored.id.0 + 1);
            gates.push((stored.id, std::mem::take(&mut stored.after)));
            let batch = Batch::recovered(stored);
            let id = batch.id;
            let (cancelling, ended) = (batch.cancelling, batch.is_over() || batch.gather_is_due());
            scheduler.batches.insert(id, batch);
            scheduler.apply_quota(id);
            scheduler.resume_waits(id);
            if cancelling {
                // The cancel was durable; only its jobs' ends were not.
                scheduler.cancel_waiting(id);
            }
            if ended {
                scheduler.dirty.insert(id);
            }
            scheduler.touch(id);
        }
        for (id, after) in gates {
            scheduler.resume_gate(id, &after);
        }
        let effects = scheduler.finish_step();
        (scheduler, effects)
    }

    /// Decides what follows from one input. Reads no clock, no randomness, no environment.
    ///
    /// **Invariant:** a run's lane slots are held from Start until its process has ended or reported.
    pub fn step(&mut self, now: Now, input: Input) -> Vec<Effect> {
        self.now = now;
        match input {
            Input::Command { client, peer, command } => self.command(client, peer, command),
            Input::InputFound { job, found } => self.input_found(job, found),
            Input::ArtifactsFound { job, found } => self.artifacts_found(job, found),
            Input::OutputsFound { look, job, outputs } => self.outputs_found(look, job, outputs),
            Input::ResultsFound { look, job, results } => self.results_found(look, job, results),
            Input::Progress { run, worker, done, begun } => self.progress(run, worker, done, begun),
            Input::Length { run, seconds } => self.measured(run, seconds),
            Input::Asked { run, usage } => self.asked(run, usage),
            Input::Ended { run, outcome } => self.ended(run, outcome),
            Input::InputChanged { run, identity } => self.input_changed(run, identity),
            Input::Lost { runs, cause, death } => self.lost(&runs, cause, &death),
            Input::Room(free) => self.room(free),
            Input::Memory { short } => self.governor.told(short),
            Input::Alert(turn) => self.turn(turn),
            Input::Configured(config) => self.configure(*config),
            Input::Tick => {}
        }
        self.try_cards();
        self.wake_delayed();
        self.pass_timed();
        self.pass_day();
        self.govern();
        self.try_closed();
        self.finish_step()
    }

    /// When something will be due by itself.
    pub fn next_wakeup(&self) -> Option<MonoMs> {
        let delayed = self.delayed.first().map(|(at, _)| *at);
        let others = [
            self.forecast_at,
            self.next_timed(),
            self.next_day(),
            self.governor.next(),
            self.next_try(),
            self.next_ask(),
            self.gpus.next(),
        ];
        delayed.into_iter().chain(others.into_iter().flatten()).min()
    }

    /// Whether a run is still the current one of its job; anything else of it is stale.
    pub fn is_current(&self, run: RunId) -> bool {
        self.runs.contains_key(&run)
    }

    /// Every law that can be checked on the whole state; for tests and the simulator.
    pub fn check(&self) -> Result<(), String> {
        let mut used: BTreeMap<Lane, u32> = BTreeMap::new();
        for run in self.runs.values() {
            *used.entry(run.lane).or_default() += run.slots;
        }
        for lane in self.lanes() {
            let (counted, kept) = (used.get(&lane).copied().unwrap_or(0), self.used_of(lane));
            if counted != kept {
                return Err(format!("lane {lane}: runs hold {counted} slots, and {kept} are counted"));
            }
            if counted > self.slots_of(lane).max(self.excess.get(&lane).copied().unwrap_or(0)) {
                return Err(format!("lane {lane}: runs hold {counted} slots of {}", self.slots_of(lane)));
            }
        }
        if let Some(at) = self.next_wakeup().filter(|at| *at <= self.now.mono) {
            return Err(format!("the scheduler wants to be woken at {at:?} and has just been, at {:?}", self.now.mono));
        }
        self.check_apis()?;
        self.check_cards()?;
        let memory = self.runs.values().map(|run| run.memory_mib).sum::<u32>();
        let holders = self.runs.values().filter(|run| run.memory_mib > 0).count();
        let memory_most = self.config.memory_mib.max(self.memory_excess);
        if memory != self.memory_used || (memory > memory_most && holders > 1) {
            let (kept, limit) = (self.memory_used, self.config.memory_mib);
            return Err(format!("{holders} runs hold {memory} MiB of {limit}, and {kept} are counted"));
        }
        let halted = self.paused || self.draining || self.stopping || self.is_looking();
        for lane in self.lanes().filter(|_| !halted) {
            if let Some(id) = self.next_start(lane) {
                return Err(format!("lane {lane} has a free slot and job {id} is ready for it"));
            }
        }
        let mut wanted: HashMap<ContentHash, u32> = HashMap::new();
        let jobs = self.batches.values().flat_map(|batch| batch.active.iter().filter_map(|index| batch.job(*index)));
        for address in jobs.filter_map(|job| job.facts.as_ref()).flat_map(|facts| facts.addresses.iter().flatten()) {
            *wanted.entry(*address).or_default() += 1;
        }
        if wanted.len() != self.wanted.len()
            || wanted.iter().any(|(address, jobs)| self.wanted.get(address).is_none_or(|kept| kept.jobs != *jobs))
        {
            let counted = self.wanted.values().map(|wanted| wanted.jobs).sum::<u32>();
            return Err(format!("artifacts are wanted {counted} times; recounted {}", wanted.values().sum::<u32>()));
        }
        for (id, batch) in &self.batches {
            let mut counts = spindle_shared::batch::Counts::default();
            let (mut at_work, mut running) = (0, BTreeSet::new());
            for (index, cell) in batch.all_cells() {
                let counted = u32::from(index != GATHER_INDEX);
                match cell {
                    Cell::Fresh => counts.pending += counted,
                    Cell::Active(job) => {
                        *counts.slot(job.shown()) += counted;
                        at_work += u32::from(job.is_at_work());
                        if job.state.run().is_some() {
                            running.insert(index);
                        }
                        match job.state.run() {
                            Some(run) if self.runs.get(&run).is_none_or(|known| known.job.batch != *id) => {
                                return Err(format!("batch {id} has a job in the unknown run {run}"));
                            }
                            Some(_) if job.place != Place::Working => {
                                return Err(format!("batch {id} has a running job at {:?}", job.place));
                            }
                            None if matches!(job.place, Place::Held(address) if !self.making.contains_key(&address)) => {
                                return Err(format!("batch {id} has a job held by nobody"));
                            }
                            None if matches!(job.place, Place::Parked { at, .. }
                                if self.breaker.get(at).is_none_or(|closed| !closed.parked.contains(&batch.job_id(index)))) =>
                            {
                                return Err(format!("batch {id} has a job parked at nothing"));
                            }
                            None if job.place == Place::Working => {
                                return Err(format!("batch {id} has a job at work without a run"));
                            }
                            _ => {}
                        }
                    }
                    Cell::Ended(_) => {}
                }
            }
            let open = |c: &spindle_shared::batch::Counts| (c.pending, c.running, c.retrying);
            if open(&counts) != open(&batch.counts) || batch.counts.total() != batch.total() {
                return Err(format!(
                    "batch {id} counts {:?} of {} jobs; recounted {counts:?}",
                    batch.counts,
                    batch.total()
                ));
            }
            let parked = batch.active.iter().filter_map(|index| batch.job(*index));
            let parked = parked.filter(|job| matches!(job.place, Place::Parked { all: true, .. })).count();
            if parked as u32 != batch.parked {
                return Err(format!("batch {id} counts {} parked jobs; recounted {parked}", batch.parked));
            }
            batch.check_waiting()?;
            if batch.is_gathering() && !counts.all_ended() {
                return Err(format!("batch {id} gathers while {counts:?} of its inputs are open"));
            }
            if at_work != batch.at_work || running != batch.running {
                return Err(format!(
                    "batch {id} counts {} at work, {:?} running; recounted {at_work}, {running:?}",
                    batch.at_work, batch.running
                ));
            }
            if batch.at_work > batch.spec.parallel {
                return Err(format!(
                    "batch {id} has {} jobs at work of {} allowed",
                    batch.at_work, batch.spec.parallel
                ));
            }
        }
        Ok(())
    }

    /// What runs keeps what it holds; where that is more than there is now, nothing begins until it has ended.
    fn configure(&mut self, config: Config) {
        self.configure_apis(&config.providers);
        self.config = config;
        for lane in self.lanes().collect::<Vec<_>>() {
            self.excess.insert(lane, self.used_of(lane));
        }
        self.memory_excess = self.memory_used;
        for id in self.batches.keys().copied().collect::<Vec<_>>() {
            self.apply_quota(id);
            self.touch(id);
        }
    }

    fn lanes(&self) -> impl Iterator<Item = Lane> + use<> {
        Lane::all(self.gpus.count())
    }

    fn slots_of(&self, lane: Lane) -> u32 {
        self.config.slots.get(&lane).copied().unwrap_or(0)
    }

    /// Slots of a lane that may be used just now.
    fn allowed_of(&self, lane: Lane) -> u32 {
        match lane {
            Lane::Cpu => self.governor.allowed(self.slots_of(lane)),
            Lane::Io | Lane::Net | Lane::Api | Lane::Gpu(_) => self.slots_of(lane),
        }
    }

    fn used_of(&self, lane: Lane) -> u32 {
        self.used.get(&lane).copied().unwrap_or(0)
    }

    /// Puts a batch where it belongs in the queue after any change of it.
    fn touch(&mut self, id: BatchId) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        if !batch.changed.is_empty() {
            self.changed.insert(id);
        }
        if batch.at_work > 0 {
            self.at_work.insert(id);
        } else {
            self.at_work.remove(&id);
        }
        self.queue.owner_at_work(batch.owner, batch.at_work as i32 - batch.at_work_counted as i32);
        batch.at_work_counted = batch.at_work;
        self.queue.place(Need::Admission(batch.lane), id, batch.admission());
        for lane in Lane::all(self.gpus.count()) {
            self.queue.place(Need::Slot(lane), id, batch.slot(lane));
        }
    }

    fn publish(&mut self, fact: Fact) {
        self.seq += 1;
        self.effects.push(Effect::Publish(Event { seq: self.seq, time: self.now.wall, fact }));
    }

    /// Something a person should look at.
    fn alert(&mut self, text: String) {
        self.alerts.push(text.clone());
        let surplus = self.alerts.len().saturating_sub(ALERTS_MAX);
        self.alerts.drain(..surplus);
        self.publish(Fact::Alert(text));
    }

    fn turn(&mut self, turn: Turn) {
        let Turn { rule, fires, text } = turn;
        let told = format!("{}: {text}", rule.name());
        match fires {
            true => {
                drop(self.firing.insert(rule, AlertView { rule: rule.name().to_owned(), since: self.now.wall, text }))
            }
            false => drop(self.firing.remove(&rule)),
        }
        self.alert(told);
    }

    /// For the rules of [`crate::alert`]; what has ended the shell counts.
    pub fn vitals(&self) -> Vitals {
        let may = self.batches.values().filter(|batch| !batch.is_halted());
        let waiting = |batch: &Batch| (batch.counts.pending + batch.counts.retrying).saturating_sub(batch.parked);
        Vitals {
            queue: may.map(waiting).sum(),
            runs: self.runs.len() as u32,
            closed: self.breaker.all().count() as u32,
            halted: self.paused || self.draining || self.stopping,
            ..Vitals::default()
        }
    }

    fn answer(&mut self, client: ClientId, frames: Vec<Response>) {
        self.effects.push(Effect::Answer { client, answer: Answer::Frames(frames) });
    }

    /// Starts what can start, closes batches that are through, and puts the step's effects in order: what must be durable first.
    fn finish_step(&mut self) -> Vec<Effect> {
        self.begin_gathers();
        self.dispatch();
        self.look_ahead();
        while self.tell_batches() {
            // Others waited for those that have ended.
            self.begin_gathers();
            self.dispatch();
            self.look_ahead();
        }
        self.settle_awaiting();
        self.write_rates();
        let mut effects = Vec::with_capacity(self.effects.len() + 1);
        if !self.changes.is_empty() {
            effects.push(Effect::Commit(std::mem::take(&mut self.changes)));
        }
        effects.append(&mut self.effects);
        effects
    }

    /// Tells of every batch that has changed, and closes those that are through; gives whether any other waited for one of these.
    fn tell_batches(&mut self) -> bool {
        let mut closed = Vec::new();
        let dirty = std::mem::take(&mut self.dirty);
        let mut changed = std::mem::take(&mut self.changed);
        changed.extend(&dirty);
        for id in changed {
            let Some(batch) = self.batches.get_mut(&id) else { continue };
            let jobs = std::mem::take(&mut batch.changed);
            let jobs: Vec<_> = jobs.into_iter().filter_map(|index| batch.job_view(index)).collect();
            let ended = batch.is_over();
            if ended {
                batch.finished_at = batch.finished_at.or(Some(self.now.wall));
                batch.eta = None;
            }
            if dirty.contains(&id) {
                self.changes.push(Change::BatchChanged(id, batch.status()));
            }
            let view = batch.view();
            for job in jobs {
                self.publish(Fact::Job(Box::new(job)));
            }
            self.publish(Fact::Batch(Box::new(view)));
            if ended {
                self.touch(id);
                if let Some(batch) = self.batches.remove(&id) {
                    self.timed.retain(|(_, of)| *of != id);
                    closed.push((id, batch.state()));
                }
                self.at_work.remove(&id);
            }
        }
        let waited_for = closed.iter().any(|(id, _)| self.awaited.contains_key(id));
        for (id, end) in closed {
            self.pass_gates(id, end);
        }
        waited_for
    }

    /// Answers those whose runs are all over.
    fn settle_awaiting(&mut self) {
        let runs = &self.runs;
        let (done, waiting) = std::mem::take(&mut self.awaiting)
            .into_iter()
            .partition(|awaiting: &Awaiting| awaiting.runs.iter().all(|run| !runs.contains_key(run)));
        self.awaiting = waiting;
        for awaiting in done {
            self.answer(awaiting.client, awaiting.frames);
        }
        if self.stopping && self.runs.is_empty() && !self.exited {
            self.exited = true;
            self.effects.push(Effect::Exit);
        }
    }
}
