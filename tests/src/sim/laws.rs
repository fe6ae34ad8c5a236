//! The laws, watched from outside: a ledger of what the scheduler has said and been told, never of what it thinks.

use std::collections::{BTreeMap, BTreeSet};

use spindle_core::change::{BatchStatus, Change, OpenJob};
use spindle_core::effect::{Command, Death, Effect, Input, Start};
use spindle_core::retry::Policy;
use spindle_core::scheduler::Config;
use spindle_shared::batch::{BatchSpec, BatchState, BatchView, Eta};
use spindle_shared::event::{Event, Fact};
use spindle_shared::failure::FailureKind;
use spindle_shared::id::{BatchId, ContentHash, GATHER_INDEX, JobId, Owner, RunId};
use spindle_shared::job::{JobState, JobView};
use spindle_shared::lane::{Device, Lane};
use spindle_shared::snapshot::Snapshot;
use spindle_shared::stage::Stage;
use spindle_shared::wire::request::Selection;
use spindle_shared::worker::Outcome;

use super::disk::Disk;

/// What the scheduler was told of a run that it had to take as true.
#[derive(Debug)]
enum Accepted {
    Done(JobId),
    Failed { job: JobId, stage: &'static str, kind: FailureKind, killed_its_worker: bool, parks: Parks },
}

/// Whether a failure is of something outside that is out of order, so that its job waits instead of failing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Parks {
    Yes,
    No,
    /// Somebody has had some of what was closed tried again.
    Unsure,
}

/// What was seen of something outside: equal failures in a row, and whether they closed it. `None` = not known any more.
type Streak = Option<(FailureKind, u32, bool)>;

/// A run that is current, as the scheduler must see it.
#[derive(Debug)]
struct Current {
    job: JobId,
    stage: &'static str,
    lane: Lane,
    slots: u32,
    memory_mib: u32,
    card_mib: u32,
    model: Option<String>,
    api: Option<String>,
    stopping: bool,
}

/// A batch as the scheduler has said it stands.
#[derive(Debug)]
struct Known {
    spec: BatchSpec,
    status: BatchStatus,
    /// The turn since which nothing but the queue keeps its jobs from starting.
    free_since: u64,
    /// First job that waits, and whether it begins by being identified.
    first_lane: Option<Lane>,
}

/// Of one boot.
#[derive(Debug, Default)]
pub struct Boot {
    current: BTreeMap<RunId, Current>,
    last_counter: u64,
    known: BTreeMap<BatchId, Known>,
    pub looked: BTreeSet<JobId>,
    /// Of these, jobs whose artifacts were asked for: only then are their addresses known.
    traced: BTreeSet<JobId>,
    house_paused: bool,
    draining: bool,
    stopping: bool,
    seq: u64,
    /// What owners have had of a day, and the day of the present step.
    spent: BTreeMap<Owner, (u64, f64)>,
    pub today: u64,
    /// Nothing that fills the disk may begin.
    no_room: bool,
    /// Nothing that leaves a result may begin.
    no_last_room: bool,
    /// By what a failure was about.
    streaks: BTreeMap<String, Streak>,
    pub watcher: Option<Snapshot>,
    shown: BTreeMap<JobId, f32>,
    shown_batches: BTreeMap<BatchId, f32>,
    accepted: Vec<Accepted>,
    /// Jobs that a graphics card has failed, with the stage.
    failed_by_a_card: BTreeMap<JobId, &'static str>,
    /// Jobs with a failed try that was durable.
    failed_tries: BTreeSet<JobId>,
    pub retried: BTreeSet<JobId>,
    pub turn: u64,
}

/// Of the whole life of a disk.
#[derive(Debug, Default)]
pub struct Laws {
    pub boot: Boot,
    slots: BTreeMap<Lane, u32>,
    memory_mib: u32,
    devices: Vec<Device>,
    reserve_bytes: u64,
    pub media_hours: Option<u32>,
    /// Tries that cost something, since the job's last success.
    charged: BTreeMap<JobId, u32>,
    charged_at: BTreeMap<(JobId, &'static str), u32>,
    killed_own_worker: BTreeMap<JobId, u32>,
    /// In which boot transient artifacts were stored.
    pub transient: BTreeMap<ContentHash, u64>,
    /// Some job ended before its artifacts were asked for since the boot, or its file was edited: nobody can know of what it had made before
    /// the last restart, and housekeeping must.
    pub lost_sight: bool,
}

impl Known {
    /// Since when a batch with terms could have had a slot, the ledger doesn't know: it is left out.
    fn is_halted(&self) -> bool {
        let terms = !self.spec.terms.after.is_empty() || self.spec.terms.at.is_some();
        terms || self.status.paused || self.status.cancelling || self.status.finished_at.is_some()
    }
}

impl Laws {
    pub fn new(config: &Config) -> Self {
        Laws {
            slots: config.slots.clone(),
            memory_mib: config.memory_mib,
            devices: config.gpus.devices.clone(),
            reserve_bytes: config.disk_reserve_bytes,
            media_hours: config.quota.media_hours,
            ..Laws::default()
        }
    }

    /// A new boot: of the old one, nothing is current.
    pub fn reboot(&mut self, disk: &Disk) {
        self.boot = Boot { house_paused: disk.paused, spent: disk.spent.clone(), ..Boot::default() };
        for (id, batch) in &disk.batches {
            let (spec, status) = (batch.new.spec.clone(), batch.status);
            let first_lane = spec.recipe.map.first().map(|stage| stage.facts().lane);
            self.boot.known.insert(*id, Known { spec, status, free_since: 0, first_lane });
            let failed = batch.open.iter().filter(|(_, open)| open.as_ref().is_some_and(|open| open.failure.is_some()));
            self.boot.failed_tries.extend(failed.map(|(index, _)| JobId { batch: *id, index: *index }));
        }
    }

    fn slots_of(&self, lane: Lane) -> u32 {
        self.slots.get(&lane).copied().unwrap_or(0)
    }

    pub fn is_current(&self, run: RunId) -> bool {
        self.boot.current.contains_key(&run)
    }

    /// Whether this input is about runs only that are not current: then it must change nothing.
    pub fn is_stale(&self, input: &Input) -> bool {
        match input {
            Input::Progress { run, .. }
            | Input::Asked { run, .. }
            | Input::Length { run, .. }
            | Input::Ended { run, .. }
            | Input::InputChanged { run, .. } => !self.is_current(*run),
            Input::Lost { runs, .. } => !runs.iter().any(|run| self.is_current(*run)),
            _ => false,
        }
    }

    pub fn runs_of(&self, batch: BatchId, index: Option<u32>) -> impl Iterator<Item = RunId> + '_ {
        let fits = move |job: JobId| job.batch == batch && index.is_none_or(|index| index == job.index);
        self.boot.current.iter().filter(move |(_, current)| fits(current.job)).map(|(run, _)| *run)
    }

    pub fn is_cancelling(&self, batch: BatchId) -> bool {
        self.boot.known.get(&batch).is_some_and(|known| known.status.cancelling)
    }

    pub fn all_runs(&self) -> impl Iterator<Item = RunId> + '_ {
        self.boot.current.keys().copied()
    }

    /// Before a step: what the scheduler is about to learn.
    pub fn told(&mut self, input: &Input) {
        match input {
            Input::Ended { run, outcome } => {
                let Some(current) = self.boot.current.remove(run) else { return };
                let (kind, device) = match outcome {
                    Outcome::Done(done) => {
                        let devices = done.outputs.iter().filter_map(|output| output.identity);
                        let devices = devices.map(|identity| format!("device {}", identity.dev));
                        let own = [format!("service {}", current.stage), format!("model {:?}", current.model)];
                        for used in devices.chain(own) {
                            self.boot.streaks.remove(&used);
                        }
                        return self.boot.accepted.push(Accepted::Done(current.job));
                    }
                    Outcome::Failed(failure) if failure.kind != FailureKind::Cancelled => {
                        (failure.kind, failure.device)
                    }
                    Outcome::Failed(_) | Outcome::Stopped => (FailureKind::Timeout, None),
                };
                if self.is_a_cards(&current, kind) {
                    return;
                }
                let parks = self.closes(&current, kind, device);
                self.charge(current, kind, false, parks);
            }
            Input::InputChanged { run, .. } => {
                if let Some(current) = self.boot.current.remove(run) {
                    // Its stages are another file's now.
                    self.boot.failed_by_a_card.remove(&current.job);
                }
            }
            Input::Lost { runs, cause, death } => {
                for run in runs {
                    let Some(current) = self.boot.current.remove(run) else { continue };
                    match death {
                        Death::Killed { timeout: true } if *cause == Some(*run) => {
                            self.charge(current, FailureKind::Timeout, false, Parks::No);
                        }
                        Death::Fault { kind, .. } if self.is_a_cards(&current, *kind) => {}
                        Death::Fault { kind, .. } if runs.len() == 1 => {
                            self.charge(current, *kind, *kind == FailureKind::Crash, Parks::No);
                        }
                        _ => {}
                    }
                }
            }
            Input::Command { peer, command, .. } => match command {
                Command::Retry(items) => {
                    for item in items {
                        if item.jobs.iter().any(|(index, _)| *index != GATHER_INDEX) {
                            self.boot.retried.insert(JobId::gather(item.batch.id));
                        }
                        for (index, state) in &item.jobs {
                            if matches!(state, JobState::Failed | JobState::Cancelled) {
                                self.boot.failed_by_a_card.remove(&JobId { batch: item.batch.id, index: *index });
                                self.boot.retried.insert(JobId { batch: item.batch.id, index: *index });
                            }
                        }
                    }
                }
                Command::Drain if peer.admin => self.boot.draining = true,
                Command::Shutdown if peer.admin => self.boot.stopping = true,
                Command::Resume(Selection::House) if peer.admin => {
                    self.boot.draining = false;
                    self.boot.streaks.clear();
                }
                Command::Resume(_) => self.boot.streaks.values_mut().for_each(|streak| *streak = None),
                _ => {}
            },
            Input::Room(free) => {
                self.boot.no_room = *free < self.reserve_bytes;
                self.boot.no_last_room = *free < self.reserve_bytes / 4 * 3;
            }
            _ => {}
        }
    }

    /// Counts a failure of something outside: the fifth in a row closes it, and a full disk does at once.
    fn closes(&mut self, current: &Current, kind: FailureKind, device: Option<u64>) -> Parks {
        let about = match kind {
            _ if current.stopping => None,
            FailureKind::ModelMissing if current.model.is_some() => Some(format!("model {:?}", current.model)),
            // Its limits may have closed it as well, of which the ledger doesn't know.
            FailureKind::Auth if current.api.is_some() => return Parks::Unsure,
            FailureKind::Auth => Some(format!("service {}", current.stage)),
            FailureKind::Permission | FailureKind::DiskFull => device.map(|device| format!("device {device}")),
            _ => None,
        };
        let Some(about) = about else { return Parks::No };
        let Some(streak) = self.boot.streaks.entry(about).or_insert(Some((kind, 0, false))) else {
            return Parks::Unsure;
        };
        if streak.0 != kind && streak.2 {
            return Parks::Unsure;
        }
        let count = if streak.0 == kind { streak.1 + 1 } else { 1 };
        *streak = (kind, count, count >= 5 || kind == FailureKind::DiskFull);
        if streak.2 { Parks::Yes } else { Parks::No }
    }

    fn charge(&mut self, current: Current, kind: FailureKind, killed_its_worker: bool, parks: Parks) {
        // Waiting until a service allows more, or until there is room, is no try.
        let waits = matches!(kind, FailureKind::RateLimited | FailureKind::DiskFull)
            || (kind == FailureKind::Quota && current.api.is_some());
        if !current.stopping && !waits {
            let Current { job, stage, .. } = current;
            self.boot.accepted.push(Accepted::Failed { job, stage, kind, killed_its_worker, parks });
        }
    }

    /// After a step: what the scheduler has decided.
    pub fn decided(&mut self, effects: &[Effect], disk: &Disk) -> Result<(), String> {
        for effect in effects {
            match effect {
                Effect::Commit(changes) => changes.iter().for_each(|change| self.learn(change)),
                Effect::Start(start) => self.starts(start, disk)?,
                Effect::Stop(run) => match self.boot.current.get_mut(run) {
                    Some(current) => current.stopping = true,
                    None => return Err(format!("run {run} is stopped and not current")),
                },
                Effect::LookupInput { job, .. } => drop(self.boot.looked.insert(*job)),
                Effect::LookupArtifacts { job, .. } => drop(self.boot.traced.insert(*job)),
                _ => {}
            }
        }
        Ok(())
    }

    fn learn(&mut self, change: &Change) {
        let turn = self.boot.turn;
        match change {
            Change::BatchAdded(new) => {
                let spec = new.spec.clone();
                let first_lane = spec.recipe.map.first().map(|stage| stage.facts().lane);
                self.boot.known.insert(new.id, Known { spec, status: new.status, free_since: turn, first_lane });
            }
            Change::BatchChanged(id, status) => {
                if let Some(known) = self.boot.known.get_mut(id) {
                    let same = |a: &BatchStatus| (a.paused, a.cancelling, a.priority, a.finished_at.is_some());
                    if same(&known.status) != same(status) {
                        known.free_since = turn;
                    }
                    known.status = *status;
                }
            }
            Change::BatchRemoved(id) => drop(self.boot.known.remove(id)),
            Change::HousePaused(paused) => self.boot.house_paused = *paused,
            Change::Spent(owner, day, seconds) => drop(self.boot.spent.insert(*owner, (*day, *seconds))),
            _ => {}
        }
    }

    fn starts(&mut self, start: &Start, disk: &Disk) -> Result<(), String> {
        let Start { run, job, .. } = start;
        let facts = start.stage.facts();
        if run.boot != disk.boot || run.counter <= self.boot.last_counter {
            return Err(format!("run {run} is not new in boot {}", disk.boot));
        }
        self.boot.last_counter = run.counter;
        if let Some((other, _)) = self.boot.current.iter().find(|(_, current)| current.job == *job) {
            return Err(format!("job {job} has two runs at once: {other} and {run}"));
        }
        if self.boot.house_paused || self.boot.draining || self.boot.stopping {
            return Err(format!("run {run} starts in a house that is paused, draining or stopping"));
        }
        let lane = start.lane;
        let here = self.boot.current.values().filter(|current| current.lane == lane);
        let held = here.map(|current| current.slots).sum::<u32>();
        if start.slots == 0 || held + start.slots > self.slots_of(lane) {
            return Err(format!("run {run} takes {} slots of lane {lane}; {held} are held", start.slots));
        }
        self.suits(start)?;
        let owner = disk.batches.get(&job.batch).map(|batch| batch.new.owner);
        let spent = owner.and_then(|owner| self.boot.spent.get(&owner)).filter(|(day, _)| *day == self.boot.today);
        if let (Some(hours), Some((_, seconds))) = (self.media_hours, spent)
            && *seconds >= f64::from(hours) * 3_600.0
        {
            return Err(format!("run {run} of job {job} starts, and its owner has had {seconds} s today"));
        }
        let others = self.boot.current.values().map(|current| current.memory_mib);
        let others = others.filter(|_| start.memory_mib > 0).sum::<u32>();
        if others > 0 && others + start.memory_mib > self.memory_mib {
            let (memory, limit) = (start.memory_mib, self.memory_mib);
            return Err(format!("run {run} takes {memory} MiB where {others} are taken of {limit}"));
        }
        if (facts.fills && self.boot.no_room) || (facts.artifact && self.boot.no_last_room) {
            return Err(format!("run {run} starts {} where there is no room", facts.name));
        }
        if start.slots > 1 && !facts.spreads {
            return Err(format!("run {run} takes {} slots and can use one", start.slots));
        }
        let Some(known) = self.boot.known.get(&job.batch) else {
            return Err(format!("run {run} starts for the unknown batch {}", job.batch));
        };
        if known.status.paused || known.status.cancelling || known.status.finished_at.is_some() {
            return Err(format!("run {run} of job {job} starts in a halted batch: {:?}", known.status));
        }
        let running = self.boot.current.values().filter(|current| current.job.batch == job.batch).count() as u32;
        if running >= known.spec.parallel {
            return Err(format!("batch {} runs {} jobs of {} allowed", job.batch, running + 1, known.spec.parallel));
        }
        self.in_turn(start, lane, disk)?;
        // Who will need a card is brought to work like who will need a core.
        let admits = if lane.gpu().is_some() { facts.lane } else { lane };
        self.leaves_nobody_waiting(start, admits, disk)?;
        let current = Current {
            job: *job,
            stage: facts.name,
            lane,
            card_mib: start.stage.memory_mib() * u32::from(lane.gpu().is_some()),
            slots: start.slots,
            memory_mib: start.memory_mib,
            model: start.stage.model().map(str::to_owned),
            api: start.stage.api().map(|(provider, _)| provider.name.clone()),
            stopping: false,
        };
        self.boot.current.insert(*run, current);
        Ok(())
    }

    /// What a graphics card does it can do, in the memory that it has; and what one has failed goes to none again.
    fn suits(&mut self, start: &Start) -> Result<(), String> {
        let Start { run, job, lane, .. } = start;
        let facts = start.stage.facts();
        let Some(number) = lane.gpu() else {
            self.boot.failed_by_a_card.retain(|other, stage| other != job || *stage == facts.name);
            return match *lane == facts.lane {
                true => Ok(()),
                false => Err(format!("run {run} of {} starts in the lane {lane}", facts.name)),
            };
        };
        let Some(device) = self.devices.get(usize::from(number)).filter(|device| facts.gpu && device.does(facts.role))
        else {
            return Err(format!("run {run} of {} starts on {lane}, which can't do it", facts.name));
        };
        let here = self.boot.current.values().filter(|current| current.lane == *lane);
        let (held, own) = (here.map(|current| current.card_mib).sum::<u32>(), start.stage.memory_mib());
        if u64::from(held + own) > device.free_bytes >> 20 {
            return Err(format!(
                "run {run} takes {own} MiB of {lane}, where {held} are taken of {}",
                device.free_bytes >> 20
            ));
        }
        match self.boot.failed_by_a_card.get(job) {
            Some(stage) if *stage == facts.name => {
                Err(format!("run {run} of job {job} goes back to {lane} with {stage}, which a card has failed"))
            }
            _ => Ok(()),
        }
    }

    /// Whether a failure may be a graphics card's doing: then it costs nothing, and the job goes on on the processor.
    fn is_a_cards(&mut self, current: &Current, kind: FailureKind) -> bool {
        let may = matches!(kind, FailureKind::OutOfMemory | FailureKind::Crash | FailureKind::Internal);
        let is = may && current.lane.gpu().is_some();
        if is && !current.stopping {
            self.boot.failed_by_a_card.insert(current.job, current.stage);
        }
        is
    }

    /// Nobody more urgent, who could have had this slot since an earlier turn, is passed over. Looks only at batches of which no job has
    /// come to work in this boot: of those alone the ledger knows for sure what they wait for.
    fn in_turn(&self, start: &Start, lane: Lane, disk: &Disk) -> Result<(), String> {
        let Some(own) = self.boot.known.get(&start.job.batch) else { return Ok(()) };
        // Whoever tries what is out of order does so before its turn, so that all others learn of it.
        if self.boot.streaks.values().any(|streak| streak.is_none_or(|(_, _, closed)| closed)) {
            return Ok(());
        }
        for (id, other) in &self.boot.known {
            // Whose owner has had enough today the ledger doesn't know.
            let halted = other.is_halted() || self.media_hours.is_some();
            if other.status.priority >= own.status.priority || halted || other.free_since >= self.boot.turn {
                continue;
            }
            let Some(stored) = disk.batches.get(id).filter(|_| other.first_lane == Some(lane)) else { continue };
            let Some((first, None)) = stored.open_inputs().next() else { continue };
            let unknown = disk
                .find_input(JobId { batch: *id, index: *first }, None)
                .is_some_and(|found| found.content.is_none() && (found.is_file || lane == Lane::Net));
            let at_work = |job: &&JobId| {
                disk.is_open(**job)
                    && self.boot.known.get(&job.batch).is_some_and(|known| {
                        known.status.priority <= other.status.priority && known.first_lane == other.first_lane
                    })
            };
            let heaviest = if lane == Lane::Net { Lane::Net } else { Lane::Cpu };
            let cards = self.slots.iter().filter(|(card, _)| heaviest == Lane::Cpu && card.gpu().is_some());
            let here = self.slots_of(heaviest) + cards.map(|(_, slots)| slots).sum::<u32>();
            let ahead_max = 2 * here + self.slots_of(Lane::Io);
            let untouched = self.boot.looked.iter().all(|job| job.batch != *id);
            // A gather is at work once its inputs have ended, and nobody looked for an input of it.
            let gathers = disk.batches.iter().filter(|(id, batch)| {
                let known = self.boot.known.get(id).map(|known| known.status.priority);
                batch.open.keys().eq([&GATHER_INDEX]) && known.is_some_and(|priority| priority <= other.status.priority)
            });
            let ahead = (self.boot.looked.iter().filter(at_work).count() + gathers.count()) as u32;
            if unknown && untouched && ahead < ahead_max {
                return Err(format!("{} starts before the more urgent batch {id}", start.job));
            }
        }
        Ok(())
    }

    /// More than one slot is taken only where no batch waits that will need one. Looks only at batches of which no job has come to work in
    /// this boot, as above.
    fn leaves_nobody_waiting(&self, start: &Start, lane: Lane, disk: &Disk) -> Result<(), String> {
        let waits = |id: &BatchId, other: &Known| {
            let halted = other.is_halted() || self.media_hours.is_some();
            let heaviest = other.spec.recipe.map.iter().map(Stage::facts).max_by_key(|facts| facts.weight);
            !halted
                && other.free_since < self.boot.turn
                && heaviest.is_some_and(|facts| facts.lane == lane)
                && self.boot.looked.iter().all(|job| job.batch != *id)
                && disk.batches.get(id).is_some_and(|stored| stored.open_inputs().any(|(_, open)| open.is_none()))
        };
        match self.boot.known.iter().find(|(id, other)| waits(id, other)) {
            Some((id, _)) if start.slots > 1 => {
                Err(format!("{} takes {} slots while batch {id} waits", start.job, start.slots))
            }
            _ => Ok(()),
        }
    }

    /// A job was told what lies in the artifact folder for its stages: tries of another stage than it is at now count no more.
    pub fn goes_on_at(&mut self, job: JobId, stage: &'static str) {
        self.charged_at.retain(|(charged, at), _| *charged != job || *at == stage);
    }

    /// After a commit: the ends and the tries on disk fit what was reported.
    pub fn committed(&mut self, changes: &[Change], disk: &Disk) -> Result<(), String> {
        let retried = std::mem::take(&mut self.boot.retried);
        for change in changes {
            if let Change::JobOpen(job, open) = change
                && retried.contains(job)
                && **open == OpenJob::default()
            {
                self.forget_tries(*job);
                self.boot.shown.remove(job);
                self.killed_own_worker.remove(job);
            }
        }
        for accepted in std::mem::take(&mut self.boot.accepted) {
            match accepted {
                Accepted::Done(job) => self.forget_tries(job),
                Accepted::Failed { job, stage, kind, killed_its_worker, parks } => {
                    self.charged(job, stage, kind, killed_its_worker, parks, disk)?;
                }
            }
        }
        for change in changes {
            match change {
                Change::JobEnded(job, ended) => {
                    if !self.boot.traced.contains(job) && !job.is_gather() {
                        self.lost_sight = true;
                    }
                    let Some(failure) = ended.failure.as_ref().filter(|_| ended.state == JobState::Failed) else {
                        continue;
                    };
                    if failure.kind == FailureKind::DiskFull {
                        return Err(format!("job {job} failed of a full disk"));
                    }
                    let killed = self.killed_own_worker.get(job).copied().unwrap_or(0);
                    let charged = self.charged.get(job).copied().unwrap_or(0);
                    let needed = tries(disk, *job, failure.kind);
                    if failure.kind == FailureKind::Poison && killed < 2 {
                        return Err(format!("job {job} is poison after {killed} deaths of its own"));
                    }
                    // What it waited for came to the wrong end: it never began.
                    let kept_back = ended.started_at.is_none() && failure.kind == FailureKind::Cancelled;
                    let kept_back = kept_back
                        && disk.batches.get(&job.batch).is_some_and(|batch| !batch.new.spec.terms.after.is_empty());
                    if failure.kind != FailureKind::Poison && charged < needed && !kept_back {
                        return Err(format!("job {job} failed ({failure}) after {charged} tries of {needed}"));
                    }
                }
                Change::JobOpen(job, open) if open.failure.is_some() => drop(self.boot.failed_tries.insert(*job)),
                Change::ArtifactStored(address, artifact) if artifact.stage == "decode" => {
                    self.transient.insert(*address, disk.boot);
                }
                _ => {}
            }
        }
        Ok(())
    }

    fn forget_tries(&mut self, job: JobId) {
        self.charged.remove(&job);
        self.charged_at.retain(|(charged, _), _| *charged != job);
    }

    fn charged(
        &mut self,
        job: JobId,
        stage: &'static str,
        kind: FailureKind,
        death: bool,
        parks: Parks,
        disk: &Disk,
    ) -> Result<(), String> {
        let failed = || disk.ended(job).is_some_and(|ended| ended.failure.as_ref().is_some_and(|f| f.kind == kind));
        match parks {
            Parks::Yes if failed() => {
                return Err(format!("job {job} failed ({kind}) of what was out of order already"));
            }
            Parks::Yes => return Ok(()),
            Parks::Unsure if !failed() => return Ok(()),
            Parks::Unsure | Parks::No => {}
        }
        *self.charged.entry(job).or_default() += 1;
        let here = self.charged_at.entry((job, stage)).or_default();
        *here += 1;
        let deaths = self.killed_own_worker.entry(job).or_default();
        *deaths += u32::from(death);
        let ended = disk.ended(job).and_then(|ended| Some((ended.state, ended.failure.as_ref()?.kind)));
        if death && *deaths >= 2 {
            return match ended {
                Some((JobState::Failed, FailureKind::Poison)) => Ok(()),
                _ => Err(format!("job {job} has killed its own worker {deaths} times and is no poison: {ended:?}")),
            };
        }
        if *here >= tries(disk, job, kind) && ended != Some((JobState::Failed, kind)) {
            return Err(format!("job {job} failed ({kind}) {here} times at {stage} and is not at its end: {ended:?}"));
        }
        Ok(())
    }

    /// An event on its way out: it follows the last one, and the disk has what it says.
    pub fn event(&mut self, event: &Event, disk: &Disk) -> Result<(), String> {
        if event.seq != self.boot.seq + 1 {
            return Err(format!("event {} follows {}", event.seq, self.boot.seq));
        }
        self.boot.seq = event.seq;
        match &event.fact {
            Fact::Job(view) => self.job_event(view, disk)?,
            Fact::Batch(view) => self.batch_event(view, disk)?,
            Fact::Progress { job, done, batch_done, .. } => {
                self.shows(*job, *done)?;
                self.batch_shows(job.batch, *batch_done)?;
            }
            Fact::Removed(id) if disk.batches.contains_key(id) => return Err(format!("batch {id} is not removed")),
            Fact::Removed(_) | Fact::Paused(_) | Fact::Alert(_) => {}
            Fact::Lagged => return Err("the scheduler lags".to_owned()),
        }
        if let Some(watcher) = &mut self.boot.watcher {
            watcher.apply(event);
        }
        Ok(())
    }

    fn job_event(&mut self, view: &JobView, disk: &Disk) -> Result<(), String> {
        let job = view.id;
        let stored = disk.ended(job).map(|ended| ended.state);
        let durable = match view.state {
            state if state.is_terminal() => stored == Some(state),
            JobState::Retrying => {
                let open = disk.batches.get(&job.batch).and_then(|batch| batch.open.get(&job.index));
                let failed = open.is_some_and(|open| open.as_ref().is_some_and(|open| open.failure.is_some()));
                // Or had when it happened, and a later change of the same transaction took it back.
                failed || stored.is_some() || self.boot.failed_tries.contains(&job)
            }
            _ => disk.is_open(job) || stored.is_some(),
        };
        if !durable {
            return Err(format!("job {job} is told to be {:?}; the disk has {stored:?}", view.state));
        }
        self.shows(job, view.progress)
    }

    fn batch_event(&mut self, view: &BatchView, disk: &Disk) -> Result<(), String> {
        let id = view.id;
        let Some(stored) = disk.batches.get(&id) else { return Err(format!("batch {id} is told and not on disk")) };
        let kept = stored.status.counts;
        if view.counts.completed > kept.completed || view.counts.skipped > kept.skipped {
            return Err(format!("batch {id} is told with {:?}; the disk has {kept:?}", view.counts));
        }
        if view.state.is_terminal() && stored.status.finished_at.is_none() {
            return Err(format!("batch {id} is told to be {:?}; the disk has it open", view.state));
        }
        if view.counts.total() != stored.new.jobs.len() as u32 {
            return Err(format!("batch {id} is told with {:?} of {} jobs", view.counts, stored.new.jobs.len()));
        }
        if let Some(eta) = view.eta {
            // As the event itself says: what came later in its turn may be on disk already.
            if view.state.is_terminal() || matches!(view.state, BatchState::Paused | BatchState::Cancelling) {
                return Err(format!("batch {id} is {:?} and told to end in {eta:?}", view.state));
            }
            sound(eta)?;
        }
        let result = self.batch_shows(id, view.progress);
        if view.state.is_terminal() {
            // A retry begins anew.
            self.boot.shown_batches.remove(&id);
        }
        result
    }

    fn shows(&mut self, job: JobId, done: f32) -> Result<(), String> {
        let shown = self.boot.shown.entry(job).or_default();
        if !(0.0..=1.0).contains(&done) || done < *shown {
            return Err(format!("progress of job {job} goes from {shown} to {done}"));
        }
        *shown = done;
        Ok(())
    }

    fn batch_shows(&mut self, id: BatchId, done: f32) -> Result<(), String> {
        let shown = self.boot.shown_batches.entry(id).or_default();
        if !(0.0..=1.0).contains(&done) || done < *shown {
            return Err(format!("progress of batch {id} goes from {shown} to {done}"));
        }
        *shown = done;
        Ok(())
    }

    /// A watcher's fold of the events and the scheduler's own view are the same.
    pub fn same_view(&mut self, seq: u64, paused: bool, batches: &[BatchView], jobs: &[JobView]) -> Result<(), String> {
        let halted = paused || self.boot.draining || self.boot.stopping;
        if let Some(view) = batches.iter().find(|view| halted && view.eta.is_some()) {
            return Err(format!("the house is halted and batch {} is told to end in {:?}", view.id, view.eta));
        }
        let Some(watcher) = &self.boot.watcher else {
            let batches = batches.iter().map(|view| (view.id, view.clone())).collect();
            let jobs = jobs.iter().map(|view| (view.id, view.clone())).collect();
            self.boot.watcher = Some(Snapshot { seq, paused, batches, jobs, alerts: Vec::new() });
            return Ok(());
        };
        if (watcher.seq, watcher.paused) != (seq, paused) {
            return Err(format!("a watcher is at {} ({}), the house at {seq} ({paused})", watcher.seq, watcher.paused));
        }
        let open: Vec<_> = watcher.batches.values().filter(|view| !view.state.is_terminal()).collect();
        if open.len() != batches.len() {
            return Err(format!("a watcher sees {} open batches of {}", open.len(), batches.len()));
        }
        for view in batches {
            if watcher.batches.get(&view.id) != Some(view) {
                return Err(format!(
                    "a watcher sees {:?}\nwhere the house has {view:?}",
                    watcher.batches.get(&view.id)
                ));
            }
        }
        for view in jobs {
            if watcher.jobs.get(&view.id) != Some(view) {
                return Err(format!("a watcher sees {:?}\nwhere the house has {view:?}", watcher.jobs.get(&view.id)));
            }
        }
        let told: BTreeSet<JobId> = jobs.iter().map(|view| view.id).collect();
        match watcher.jobs.values().find(|view| view.state == JobState::Running && !told.contains(&view.id)) {
            Some(ghost) => Err(format!("a watcher sees job {} running; the house does not", ghost.id)),
            None => Ok(()),
        }
    }
}

/// An estimate is a number of seconds within its own range.
pub fn sound(eta: Eta) -> Result<(), String> {
    let Eta { seconds, low, high } = eta;
    match high.is_finite() && 0.0 <= low && low <= seconds && seconds <= high {
        true => Ok(()),
        false => Err(format!("the estimate {eta:?} is none")),
    }
}

fn tries(disk: &Disk, job: JobId, kind: FailureKind) -> u32 {
    let retries = disk.batches.get(&job.batch).and_then(|batch| batch.new.spec.retries);
    Policy::of(kind).with_retries(retries).tries
}
