//! An open batch in memory: its jobs as small cells, the few at work in full, and its counts, which always agree with the cells.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use spindle_shared::batch::{After, BatchSpec, BatchState, BatchView, Counts, Eta, Priority, state_of};
use spindle_shared::id::{BatchId, ContentHash, GATHER_INDEX, JobId, Owner, RunId};
use spindle_shared::job::{FileIdentity, JobState, JobView, Output};
use spindle_shared::lane::Lane;
use spindle_shared::stage::Stage;
use spindle_shared::time::{MonoMs, WallMs};
use spindle_shared::worker::ArtifactFile;

use crate::change::{BatchStatus, OpenJob, RecoveredBatch};
use crate::job::{State, Step};
use crate::queue::Standing;
use crate::rates::{Pace, Rate};
use crate::retry::Budget;

/// The gather's share of a batch's progress.
const GATHER_SHARE: f64 = 0.1;
/// Cells that are looked through for jobs that come next.
const LOOKED_AHEAD_MAX: usize = 1_000;

/// A job as a batch of a million holds it: sixteen bytes unless there is more to say.
#[derive(Debug)]
pub enum Cell {
    Fresh,
    Active(Box<Job>),
    /// How, where that is known: of what ended before this daemon began, the store knows.
    Ended(Option<JobState>),
}

/// Where an active job waits, or that it works.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// For admission, like one that never started.
    Waiting,
    /// For the store's answer, which comes within the turn.
    Looking,
    /// For a word whether its outputs are there already; the number tells one look from another.
    Checking(RunId),
    /// For a slot.
    Ready(Lane),
    /// For its time; `keeps`: it keeps its place among the batch's parallel jobs.
    Delayed {
        until: MonoMs,
        keeps: bool,
    },
    /// For its turn at the model API that it is to ask.
    Asking,
    /// For another job that is just making the same artifact.
    Held(ContentHash),
    /// For something outside that is closed, by its number there; `all`: everything else of the batch will need it too.
    Parked {
        at: u32,
        all: bool,
    },
    Working,
}

/// Where a ready job stands among its batch's: its group, the longest first, then as submitted.
type Turn = (u32, Reverse<u64>, u32);

/// A job with something behind it.
#[derive(Debug)]
pub struct Job {
    pub state: State,
    pub place: Place,
    pub open: OpenJob,
    /// Index of the stage it is at; not known after a restart, and when the input has changed, until the job is looked at.
    pub stage: usize,
    pub stage_known: bool,
    pub facts: Option<Facts>,
    /// Of the input as it is now, where it changed since submission.
    pub identity: Option<FileIdentity>,
    pub outputs: Vec<Output>,
    pub peak_memory_bytes: u64,
    pub worker: Option<String>,
    /// Times in a row that a service asked it to wait.
    pub limited: u32,
    /// Why a graphics card did not do its stage: the processor does.
    pub fallback: Option<String>,
    /// Jobs of one batch with equal numbers want the same model: they go one after the other.
    pub group: u32,
}

/// What is known of a job's way once its input is identified.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// Its own stages; `None` = the batch's.
    pub stages: Option<Vec<Stage>>,
    pub content: Option<ContentHash>,
    /// Of each stage's artifact.
    pub addresses: Vec<Option<ContentHash>>,
    /// What lies in the artifact folder for each stage.
    pub artifacts: Vec<Option<Vec<ArtifactFile>>>,
}

impl Job {
    pub fn new(open: OpenJob) -> Self {
        Job {
            state: State::Pending,
            place: Place::Waiting,
            open,
            stage: 0,
            stage_known: false,
            facts: None,
            identity: None,
            outputs: Vec::new(),
            peak_memory_bytes: 0,
            worker: None,
            limited: 0,
            fallback: None,
            group: 0,
        }
    }

    /// As people see it.
    pub fn shown(&self) -> JobState {
        match (self.state, self.place) {
            (State::Running { .. } | State::Stopping { .. }, _) => JobState::Running,
            (State::Completed, _) => JobState::Completed,
            (State::Failed, _) => JobState::Failed,
            (State::Cancelled, _) => JobState::Cancelled,
            (State::Pending, _) if self.open.failure.is_some() => JobState::Retrying,
            // Between two stages.
            (
                State::Pending,
                Place::Looking | Place::Checking(_) | Place::Ready(_) | Place::Asking | Place::Held(_),
            ) if self.open.started_at.is_some() => JobState::Running,
            (State::Pending, _) => JobState::Pending,
        }
    }

    /// Its progress in billionths: a sum of them is exact.
    fn parts(&self) -> u64 {
        (f64::from(self.open.progress) * 1e9) as u64
    }

    /// Milliseconds of media, by which those that wait for a core are put in order; more than any while nobody knows.
    fn length(&self) -> u64 {
        self.open.detail.media_seconds.map_or(u64::MAX, |seconds| (seconds * 1_000.0) as u64)
    }

    /// The lane it waits for, and where it stands there among the batch's jobs: those of one model together, so that each is loaded once; of
    /// these the longest first where they take their time, so that no long one is left to run alone at the end; what is not known yet is found
    /// out before. Otherwise as submitted.
    fn turn(&self, index: u32) -> Option<(Lane, Turn)> {
        match self.place {
            Place::Ready(lane @ (Lane::Cpu | Lane::Gpu(_))) => {
                Some((lane, (self.group, Reverse(self.length()), index)))
            }
            Place::Ready(lane) => Some((lane, (0, Reverse(0), index))),
            _ => None,
        }
    }

    /// Whether it counts among the batch's parallel jobs.
    pub fn is_at_work(&self) -> bool {
        !matches!(self.place, Place::Waiting | Place::Parked { .. } | Place::Delayed { keeps: false, .. })
    }
}

/// An open batch.
#[derive(Debug)]
pub struct Batch {
    pub id: BatchId,
    pub owner: Owner,
    pub spec: BatchSpec,
    pub created_at: WallMs,
    pub priority: Priority,
    pub paused: bool,
    pub cancelling: bool,
    pub started_at: Option<WallMs>,
    pub finished_at: Option<WallMs>,
    pub counts: Counts,
    /// Of the inputs, in order.
    pub cells: Vec<Cell>,
    /// Of the gather job, whose index is 0. It counts among none of the inputs' counts.
    gather: Option<Cell>,
    /// Index (0-based) up to which fresh jobs were admitted.
    next_fresh: usize,
    /// Jobs that wait for admission again.
    back: BTreeSet<u32>,
    ready: BTreeMap<Lane, BTreeSet<Turn>>,
    /// Active cells.
    pub active: BTreeSet<u32>,
    pub at_work: u32,
    /// Numbers of the last times a job of it was admitted, and started.
    pub admitted: u64,
    pub started: u64,
    /// Of these, how many the store is asked about.
    pub looking: u32,
    /// Of these, how many the queue counts for the owner already.
    pub at_work_counted: u32,
    /// Index of the stage that is most of a job's work, and where it is done.
    heaviest: usize,
    pub lane: Lane,
    pub running: BTreeSet<u32>,
    /// Jobs at work; few.
    pub busy: BTreeSet<u32>,
    /// KiB of each job's input; 0 = unknown.
    sizes: Vec<u32>,
    /// Of the open jobs that are not at work.
    waiting_kib: u64,
    pub course: Course,
    /// Remaining time as told last; changes only with an event.
    pub eta: Option<Eta>,
    /// Jobs that look otherwise than told; told at the end of the step.
    pub changed: BTreeSet<u32>,
    /// Sum of the active jobs' progress, in billionths.
    parts: u64,
    /// Largest share ever shown.
    shown_progress: f32,
    /// Jobs that wait for something closed which all others will need.
    pub parked: u32,
    /// Its owner has had today's share.
    pub over_quota: bool,
    /// What its model APIs have cost.
    pub cost: f64,
    /// Batches that it still waits for, and the time before which it doesn't begin.
    pub awaited: Vec<After>,
    pub not_before: Option<WallMs>,
    /// Its terms have ended it: so much of it has failed.
    pub given_up: bool,
    /// Tries that may still be repeated; begins anew with the daemon. `None` = no try has failed yet.
    pub budget: Option<Budget>,
}

/// What a batch's own jobs have shown of it since this daemon began.
#[derive(Debug, Default)]
pub struct Course {
    pub pace: Pace,
    /// How long its recordings are, by KiB.
    pub length: Rate,
    /// Jobs that came to a good or a bad end by themselves; by stage, those of them that had it done.
    pub ended: u32,
    pub ran: BTreeMap<&'static str, u32>,
    /// The latest time that a job of it waits for.
    pub delayed_until: MonoMs,
}

impl Batch {
    pub fn new(
        id: BatchId,
        owner: Owner,
        spec: BatchSpec,
        created_at: WallMs,
        skipped: &[bool],
        sizes: Vec<u32>,
    ) -> Self {
        let cell = |skip: &bool| if *skip { Cell::Ended(Some(JobState::Skipped)) } else { Cell::Fresh };
        let cells: Vec<Cell> = skipped.iter().map(cell).collect();
        let skipped = skipped.iter().filter(|skip| **skip).count() as u32;
        let counts = Counts { pending: cells.len() as u32 - skipped, skipped, ..Counts::default() };
        let stages = spec.recipe.map.iter().map(Stage::facts).enumerate();
        let heaviest = stages.max_by_key(|(_, facts)| facts.weight);
        let waiting_kib = sizes.iter().zip(&cells).filter(|(_, cell)| matches!(cell, Cell::Fresh));
        let waiting_kib = waiting_kib.map(|(kib, _)| u64::from(*kib)).sum();
        let gather = (!spec.recipe.gather.is_empty()).then_some(Cell::Fresh);
        Batch {
            id,
            owner,
            heaviest: heaviest.map_or(0, |(at, _)| at),
            lane: spec.recipe.lane(),
            at_work_counted: 0,
            looking: 0,
            admitted: 0,
            started: 0,
            priority: spec.priority,
            spec,
            created_at,
            paused: false,
            cancelling: false,
            started_at: None,
            finished_at: None,
            counts,
            cells,
            gather,
            next_fresh: 0,
            back: BTreeSet::new(),
            ready: BTreeMap::new(),
            active: BTreeSet::new(),
            at_work: 0,
            running: BTreeSet::new(),
            busy: BTreeSet::new(),
            sizes,
            waiting_kib,
            course: Course::default(),
            eta: None,
            changed: BTreeSet::new(),
            parts: 0,
            shown_progress: 0.0,
            parked: 0,
            over_quota: false,
            cost: 0.0,
            awaited: Vec::new(),
            not_before: None,
            given_up: false,
            budget: None,
        }
    }

    /// As it was when the last daemon ended; what ran then waits now.
    pub fn recovered(stored: RecoveredBatch) -> Self {
        let RecoveredBatch { id, owner, spec, created_at, status, total, open, sizes, after: _ } = stored;
        let mut batch = Batch::new(id, owner, spec, created_at, &[], sizes);
        batch.cells.resize_with(total as usize, || Cell::Ended(None));
        batch.priority = status.priority;
        batch.paused = status.paused;
        batch.cancelling = status.cancelling;
        batch.cost = status.cost;
        batch.started_at = status.started_at;
        batch.finished_at = status.finished_at;
        batch.counts = Counts { pending: 0, running: 0, retrying: 0, ..status.counts };
        batch.gather = batch.gather.map(|_| Cell::Ended(status.gather.filter(|state| state.is_terminal())));
        for (index, behind) in open {
            let kib = u64::from(batch.kib(index));
            if batch.cell(index).is_none() {
                continue;
            }
            batch.waiting_kib += kib;
            let counted = index != GATHER_INDEX;
            let behind = behind.filter(|behind| **behind != OpenJob::default());
            let cell = match behind {
                None => {
                    batch.counts.pending += u32::from(counted);
                    Cell::Fresh
                }
                Some(behind) => {
                    let job = batch.new_job(index, *behind);
                    if counted {
                        *batch.counts.slot(job.shown()) += 1;
                        batch.parts += job.parts();
                    }
                    batch.active.insert(index);
                    batch.back.insert(index);
                    Cell::Active(Box::new(job))
                }
            };
            if let Some(place) = batch.cell(index) {
                *place = cell;
            }
        }
        batch
    }

    /// A job at this place with this behind it.
    pub fn new_job(&self, index: u32, open: OpenJob) -> Job {
        let mut job = Job::new(open);
        if index == GATHER_INDEX {
            job.facts = Some(self.gather_facts());
        }
        job
    }

    /// What is known of the gather's way before its results are.
    pub fn gather_facts(&self) -> Facts {
        Facts { stages: Some(self.spec.recipe.gather.clone()), ..Facts::default() }
    }

    /// How the gather job stands, as people see it; `None` = there is none.
    pub fn gather(&self) -> Option<JobState> {
        Some(match self.gather.as_ref()? {
            Cell::Fresh => JobState::Pending,
            Cell::Active(job) => job.shown(),
            // Of a record that says nothing, that it is over is all that is known.
            Cell::Ended(state) => state.unwrap_or(JobState::Completed),
        })
    }

    /// All inputs have ended, and it is the gather's turn.
    pub fn gather_is_due(&self) -> bool {
        self.counts.all_ended() && matches!(self.gather, Some(Cell::Fresh))
    }

    /// The gather job is on its way: nothing that it reads may change.
    pub fn is_gathering(&self) -> bool {
        matches!(self.gather, Some(Cell::Active(_)))
    }

    /// All of it has ended, the gather too.
    pub fn is_over(&self) -> bool {
        self.counts.all_ended() && self.gather().is_none_or(JobState::is_terminal)
    }

    /// Every job's place, the gather's first.
    pub fn all_cells(&self) -> impl Iterator<Item = (u32, &Cell)> {
        let gather = self.gather.iter().map(|cell| (GATHER_INDEX, cell));
        gather.chain((1..).zip(&self.cells))
    }

    /// KiB of a job's input; 0 = unknown.
    pub fn kib(&self, index: u32) -> u32 {
        (index as usize).checked_sub(1).and_then(|at| self.sizes.get(at).copied()).unwrap_or(0)
    }

    /// The input of a job at work is as large as this now.
    pub fn resize(&mut self, index: u32, bytes: u64) {
        let waits = self.job(index).is_none_or(|job| !job.is_at_work());
        if let Some(kib) = (index as usize).checked_sub(1).and_then(|at| self.sizes.get_mut(at)).filter(|_| !waits) {
            *kib = crate::estimate::kib(bytes);
        }
    }

    /// Open jobs of inputs that are not at work, and the KiB of their inputs.
    pub fn waiting(&self) -> (u32, u64) {
        let at_work = self.at_work - u32::from(self.busy.contains(&GATHER_INDEX));
        (self.counts.total() - self.counts.ended() - at_work, self.waiting_kib)
    }

    /// What is counted of jobs at work and of those that wait agrees with the jobs.
    pub fn check_waiting(&self) -> Result<(), String> {
        let mut busy = BTreeSet::new();
        let mut waiting = (0, 0);
        for (index, cell) in self.all_cells() {
            match cell {
                Cell::Active(job) if job.is_at_work() => drop(busy.insert(index)),
                _ if index == GATHER_INDEX => {}
                Cell::Fresh | Cell::Active(_) => {
                    waiting.0 += 1;
                    waiting.1 += u64::from(self.kib(index));
                }
                Cell::Ended(_) => {}
            }
        }
        if busy != self.busy || waiting != self.waiting() {
            let id = self.id;
            return Err(format!("batch {id} counts {:?} busy, {:?} wait", self.busy, self.waiting())
                + &format!("; recounted {busy:?}, {waiting:?}"));
        }
        Ok(())
    }

    /// Open jobs that are not at work, as far as they come first: those that came back, then fresh ones, in input order.
    pub fn first_waiting(&self, most: usize) -> Vec<u32> {
        let back = self.back.iter().copied().take(most);
        let cells = self.cells.iter().enumerate().skip(self.next_fresh).take(LOOKED_AHEAD_MAX);
        let fresh = cells.filter(|(_, cell)| matches!(cell, Cell::Fresh)).map(|(at, _)| at as u32 + 1).take(most);
        let mut first: Vec<u32> = back.filter(|index| *index != GATHER_INDEX).chain(fresh).collect();
        first.sort_unstable();
        first.truncate(most);
        first
    }

    pub fn total(&self) -> u32 {
        self.cells.len() as u32
    }

    pub fn job_id(&self, index: u32) -> JobId {
        JobId { batch: self.id, index }
    }

    pub fn cell(&mut self, index: u32) -> Option<&mut Cell> {
        match (index as usize).checked_sub(1) {
            Some(at) => self.cells.get_mut(at),
            None => self.gather.as_mut(),
        }
    }

    pub fn job(&self, index: u32) -> Option<&Job> {
        let cell = match (index as usize).checked_sub(1) {
            Some(at) => self.cells.get(at),
            None => self.gather.as_ref(),
        };
        match cell? {
            Cell::Active(job) => Some(job),
            Cell::Fresh | Cell::Ended(_) => None,
        }
    }

    /// Changes an active job and everything counted from it, in one place.
    pub fn change<T>(&mut self, index: u32, change: impl FnOnce(&mut Job) -> T) -> Option<T> {
        let counted = index != GATHER_INDEX;
        let Some(Cell::Active(job)) = self.cell(index) else { return None };
        let before = (job.shown(), job.place, job.is_at_work(), job.parts());
        let turn_before = job.turn(index);
        let result = change(job);
        let after = (job.shown(), job.place, job.is_at_work(), job.parts());
        let turn_after = job.turn(index);
        let runs = job.state.run().is_some();
        if runs {
            self.running.insert(index);
        } else {
            self.running.remove(&index);
        }
        self.changed.insert(index);
        if counted {
            self.parts = self.parts + after.3 - before.3;
            *self.counts.slot(before.0) -= 1;
            *self.counts.slot(after.0) += 1;
        }
        self.at_work = self.at_work + u32::from(after.2) - u32::from(before.2);
        match (before.2, after.2) {
            (false, true) => {
                self.busy.insert(index);
                self.waiting_kib -= u64::from(self.kib(index));
            }
            (true, false) => {
                self.busy.remove(&index);
                self.waiting_kib += u64::from(self.kib(index));
            }
            _ => {}
        }
        if before.1 != after.1 {
            self.looking = self.looking + u32::from(after.1 == Place::Looking) - u32::from(before.1 == Place::Looking);
            let parks = |place| u32::from(matches!(place, Place::Parked { all: true, .. }));
            self.parked = self.parked + parks(after.1) - parks(before.1);
            if before.1 == Place::Waiting {
                self.back.remove(&index);
            }
            if after.1 == Place::Waiting {
                self.back.insert(index);
            }
        }
        if turn_before != turn_after {
            if let Some((lane, turn)) = turn_before
                && let Some(ready) = self.ready.get_mut(&lane)
            {
                ready.remove(&turn);
            }
            if let Some((lane, turn)) = turn_after {
                self.ready.entry(lane).or_default().insert(turn);
            }
        }
        Some(result)
    }

    /// Raises an active job's progress, which an event of its own tells; gives it.
    pub fn advance(&mut self, index: u32, share: f32) -> Option<f32> {
        let known = self.changed.contains(&index);
        let progress = self.change(index, |job| {
            job.open.progress = job.open.progress.max(share);
            job.open.progress
        });
        if !known {
            self.changed.remove(&index);
        }
        progress
    }

    /// Takes an ended job's weight off: only its count stays.
    pub fn close(&mut self, index: u32) -> Option<Job> {
        self.change(index, |job| job.place = Place::Delayed { until: MonoMs(u64::MAX), keeps: false })?;
        self.active.remove(&index);
        self.changed.remove(&index);
        self.waiting_kib -= u64::from(self.kib(index));
        let cell = self.cell(index)?;
        let shown = match cell {
            Cell::Active(job) => job.shown(),
            Cell::Fresh | Cell::Ended(_) => return None,
        };
        match std::mem::replace(cell, Cell::Ended(Some(shown))) {
            Cell::Active(job) => {
                self.parts -= if index == GATHER_INDEX { 0 } else { job.parts() };
                Some(*job)
            }
            Cell::Fresh | Cell::Ended(_) => None,
        }
    }

    /// Makes a fresh cell active.
    pub fn activate(&mut self, index: u32, job: Job) {
        if index != GATHER_INDEX {
            self.counts.pending -= 1;
            *self.counts.slot(job.shown()) += 1;
            self.parts += job.parts();
        }
        self.active.insert(index);
        self.changed.insert(index);
        debug_assert!(!job.is_at_work(), "a job comes to work by a change");
        if job.place == Place::Waiting {
            self.back.insert(index);
        }
        if let Some(cell) = self.cell(index) {
            *cell = Cell::Active(Box::new(job));
        }
    }

    /// Ends a job that never started.
    pub fn end_fresh(&mut self, index: u32, state: JobState) -> bool {
        match self.cell(index) {
            Some(cell @ Cell::Fresh) => *cell = Cell::Ended(Some(state)),
            _ => return false,
        }
        if index != GATHER_INDEX {
            self.waiting_kib -= u64::from(self.kib(index));
            self.counts.pending -= 1;
            *self.counts.slot(state) += 1;
        }
        true
    }

    /// A job at a bad end waits again as if it were new; `stored`: how the store says it ended. Gives whether it does.
    pub fn retry(&mut self, index: u32, stored: JobState) -> bool {
        let Some(Cell::Ended(known)) = self.cell(index) else { return false };
        let state = known.unwrap_or(stored);
        let legal = match state {
            JobState::Failed => State::Failed.after(Step::Retry).is_ok(),
            JobState::Cancelled => State::Cancelled.after(Step::Retry).is_ok(),
            _ => false,
        };
        if legal && index == GATHER_INDEX {
            return self.gather_again();
        }
        if legal && let Some(cell) = self.cell(index) {
            *cell = Cell::Fresh;
            *self.counts.slot(state) -= 1;
            self.counts.pending += 1;
            self.waiting_kib += u64::from(self.kib(index));
            self.next_fresh = self.next_fresh.min(index as usize - 1);
        }
        legal
    }

    /// A gather that has ended will be done again, once all inputs have ended; gives whether there is one.
    pub fn gather_again(&mut self) -> bool {
        let ended = matches!(self.gather, Some(Cell::Ended(_)));
        if ended {
            self.gather = Some(Cell::Fresh);
        }
        ended
    }

    /// An ended batch goes on: whatever halted it then is over.
    pub fn reopen(&mut self) {
        self.finished_at = None;
        self.cancelling = false;
        self.paused = false;
        self.given_up = false;
    }

    /// The next job to bring to work: one that came back, else the next fresh one, in input order.
    pub fn next_waiting(&mut self) -> Option<u32> {
        while self.cells.get(self.next_fresh).is_some_and(|cell| !matches!(cell, Cell::Fresh)) {
            self.next_fresh += 1;
        }
        let fresh = (self.next_fresh < self.cells.len()).then_some(self.next_fresh as u32 + 1);
        let back = self.back.first().copied();
        match (fresh, back) {
            (Some(fresh), Some(back)) => Some(fresh.min(back)),
            (fresh, back) => fresh.or(back),
        }
    }

    /// Fresh jobs that a cancel ends at once.
    pub fn fresh(&self) -> impl Iterator<Item = u32> {
        self.all_cells().filter(|(_, cell)| matches!(cell, Cell::Fresh)).map(|(index, _)| index)
    }

    pub fn is_halted(&self) -> bool {
        self.paused || self.cancelling || self.over_quota || !self.awaited.is_empty() || self.not_before.is_some()
    }

    /// Where it stands among those that want to bring a job to work.
    pub fn admission(&mut self) -> Option<Standing> {
        let may = !self.is_halted() && self.parked == 0 && self.at_work < self.spec.parallel;
        (may && self.next_waiting().is_some()).then_some(Standing {
            priority: self.priority,
            owner: self.owner,
            busy: self.at_work,
            served: self.admitted,
        })
    }

    /// The job that gets the next slot of this lane.
    pub fn next_ready(&self, lane: Lane) -> Option<u32> {
        self.ready.get(&lane)?.first().map(|(_, _, index)| *index)
    }

    /// Where it stands among those that want a slot of this lane.
    pub fn slot(&self, lane: Lane) -> Option<Standing> {
        (!self.is_halted() && self.next_ready(lane).is_some()).then_some(Standing {
            priority: self.priority,
            owner: self.owner,
            busy: self.running.len() as u32,
            served: self.started,
        })
    }

    /// The stage that is most of its jobs' work.
    pub fn heaviest_stage(&self) -> Option<&Stage> {
        self.spec.recipe.map.get(self.heaviest)
    }

    /// Jobs at work that are going to need slots of a lane, or need one now, with the runs they have on their way. `most_is_here`: most of their
    /// work is done there; `is_here`: whether who waits for that lane waits for this one.
    pub fn coming<'b>(
        &'b self,
        most_is_here: bool,
        is_here: impl Fn(Lane) -> bool + 'b,
    ) -> impl Iterator<Item = Option<RunId>> + 'b {
        let ahead = move |index: &&u32| most_is_here && self.job(**index).is_some_and(|job| job.stage < self.heaviest);
        let running = self.running.iter().filter(ahead).filter_map(|index| match self.job(*index)?.state {
            State::Running { run } => Some(Some(run)),
            _ => None,
        });
        let ready =
            self.ready.iter().flat_map(|(needed, ready)| ready.iter().map(move |(_, _, index)| (*needed, index)));
        let ready = ready.filter(move |(needed, index)| is_here(*needed) || ahead(index)).map(|_| None);
        running.chain(ready)
    }

    pub fn status(&self) -> BatchStatus {
        BatchStatus {
            priority: self.priority,
            paused: self.paused,
            cancelling: self.cancelling,
            started_at: self.started_at,
            finished_at: self.finished_at,
            counts: self.counts,
            gather: self.gather(),
            cost: self.cost,
        }
    }

    pub fn state(&self) -> BatchState {
        state_of(&self.counts, self.gather(), self.paused, self.cancelling)
    }

    /// The stages of one job.
    pub fn stages_of<'a>(&'a self, job: &'a Job) -> &'a [Stage] {
        job.facts.as_ref().and_then(|facts| facts.stages.as_deref()).unwrap_or(&self.spec.recipe.map)
    }

    /// 0–1, by jobs ended and shares of those at work.
    pub fn progress(&mut self) -> f32 {
        let total = self.cells.len();
        let inputs = if total == 0 {
            1.0
        } else {
            ((f64::from(self.counts.ended()) + self.parts as f64 / 1e9) / total as f64).min(1.0)
        };
        let now = match &self.gather {
            None => inputs,
            Some(Cell::Fresh) => (1.0 - GATHER_SHARE) * inputs,
            Some(Cell::Active(job)) => (1.0 - GATHER_SHARE) * inputs + GATHER_SHARE * f64::from(job.open.progress),
            Some(Cell::Ended(_)) => inputs,
        };
        self.shown_progress = self.shown_progress.max(now as f32);
        self.shown_progress
    }

    pub fn view(&mut self) -> BatchView {
        let progress = self.progress();
        let mut stages: BTreeMap<&'static str, u32> = BTreeMap::new();
        for job in self.running.iter().filter_map(|index| self.job(*index)) {
            if let Some(stage) = self.stages_of(job).get(job.stage) {
                *stages.entry(stage.name()).or_default() += 1;
            }
        }
        BatchView {
            id: self.id,
            name: self.spec.name.clone(),
            recipe: self.spec.recipe.name.clone(),
            owner: self.owner,
            state: self.state(),
            priority: self.priority,
            parallel: self.spec.parallel,
            created_at: self.created_at,
            started_at: self.started_at,
            finished_at: self.finished_at,
            counts: self.counts,
            gather: self.gather(),
            progress,
            stage: stages.into_iter().max_by_key(|(_, jobs)| *jobs).map(|(stage, _)| stage.to_owned()),
            eta: self.eta,
            tags: self.spec.tags.clone(),
        }
    }

    /// A job without anything behind it, as shown.
    pub fn plain_view(&self, index: u32, state: JobState) -> JobView {
        JobView { state, ..self.view_of(index, &self.new_job(index, OpenJob::default())) }
    }

    /// An active job as shown; its input is in the store.
    pub fn job_view(&self, index: u32) -> Option<JobView> {
        let job = self.job(index)?;
        Some(self.view_of(index, job))
    }

    pub fn view_of(&self, index: u32, job: &Job) -> JobView {
        JobView {
            id: self.job_id(index),
            input: None,
            state: job.shown(),
            stage: self.stages_of(job).get(job.stage).map_or("", |stage| stage.name()).to_owned(),
            progress: job.open.progress,
            attempts: job.open.attempts,
            worker: job.worker.clone(),
            created_at: self.created_at,
            started_at: job.open.started_at,
            finished_at: None,
            timings: job.open.timings.clone(),
            failure: job.open.failure.clone(),
            skipped_reason: None,
            outputs: job.outputs.clone(),
            detail: job.open.detail.clone(),
            peak_memory_bytes: Some(job.peak_memory_bytes).filter(|bytes| *bytes > 0),
        }
    }
}
