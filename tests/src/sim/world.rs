//! The world: simulated time, the conductor's turn, and the faults. Does with the scheduler's effects what the daemon would do.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use spindle_core::api::Limits;
use spindle_core::change::Change;
use spindle_core::effect::{Answer, ClientId, Command, Death, Effect, Input, LookupOutputs, Peer, RetryItem, Start};
use spindle_core::gpus::Found;
use spindle_core::scheduler::{ApiConfig, Config, Quota, Scheduler};
use spindle_core::turn;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{AddressHasher, BatchId, ContentHash, JobId, Owner, RunId, Target, WorkerId};
use spindle_shared::job::{Input as JobInput, JobState, Output, PathBytes};
use spindle_shared::lane::{Device, Lane};
use spindle_shared::stage::Stage;
use spindle_shared::time::{MonoMs, Now, WallMs};
use spindle_shared::wire::request::{Scope, Selection};
use spindle_shared::wire::response::{Response, Submitted};
use spindle_shared::worker::{Outcome, Published};

use super::apis::Asked;
use super::clients::{Clients, File, PROVIDER, Question, Request, identity};
use super::disk::Disk;
use super::laws::Laws;
use super::random::Random;
use super::workers::{Plan, Workers, length_of, result_of};

/// In which order a turn's effects are done. Only the first is right; the other shows that the laws are watched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    CommitFirst,
    TellFirst,
}

#[derive(Debug, Clone)]
pub struct Options {
    pub order: Order,
    /// Events kept for the report of a failure; 0 = none, which is quicker.
    pub log: usize,
}

impl Default for Options {
    fn default() -> Self {
        Options { order: Order::CommitFirst, log: 0 }
    }
}

/// What a seed came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Summary {
    pub jobs: u64,
    pub runs: u64,
    pub boots: u64,
    pub turns: u64,
    pub simulated_ms: u64,
}

/// A law that was broken.
#[derive(Debug, Clone, thiserror::Error)]
#[error("seed {seed}: {law}")]
pub struct Broken {
    pub seed: u64,
    pub law: String,
    /// What happened last.
    pub log: Vec<String>,
}

/// Faults end at the latest here.
const FAULTS_MS_MAX: u64 = 90_000;
/// Everything has ended this long after the last fault.
const CALM_MS_MAX: u64 = 6 * 3_600_000;
const STEPS_MAX: u64 = 200_000;
/// What stays free of the disk.
const RESERVE_BYTES: u64 = 1_000;
/// What the wall clock says at the beginning.
pub const EPOCH_MS: u64 = 1_700_000_000_000;

/// One life of the world that this seed decides.
pub fn run(seed: u64, options: &Options) -> Result<Summary, Broken> {
    let mut world = World::new(seed, options.clone());
    match world.live() {
        Ok(()) => Ok(world.summary),
        Err(law) => Err(Broken { seed, law, log: world.log.into() }),
    }
}

/// What the world has in store.
#[derive(Debug, Clone)]
enum Event {
    Turn,
    /// A client asks something.
    Ask,
    Progress(RunId),
    /// A run comes to the end its plan says.
    Finish(RunId),
    /// A run's time is up.
    Deadline(RunId),
    /// A run that was told to stop does.
    Quit(RunId, bool),
    /// The supervisor loses patience.
    Kill(RunId, bool),
    /// A message reaches the inbox.
    Arrive(Box<Input>),
    Leap,
    Edit,
    /// The disk fills, or there is room again; so many bytes are free.
    Disk(u64),
    Memory(bool),
    KillDaemon,
    Boot,
    Calm,
}

/// What waits in the conductor's inbox.
#[derive(Debug)]
enum Message {
    Report(Input),
    Ask(ClientId, Peer, Request),
}

/// Whether the daemon still lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Lives,
    Dead,
}

/// Why a turn is not brought to its end.
enum Halt {
    Dead,
    Broken(String),
}

impl From<String> for Halt {
    fn from(law: String) -> Self {
        Halt::Broken(law)
    }
}

struct Daemon {
    scheduler: Scheduler,
    inbox: VecDeque<Message>,
    started_at: u64,
    turn_at: Option<u64>,
}

struct World {
    random: Random,
    options: Options,
    time: u64,
    wall_offset: u64,
    events: BTreeMap<(u64, u64), Event>,
    scheduled: u64,
    daemon: Option<Daemon>,
    config: Config,
    disk: Disk,
    files: Vec<File>,
    poison: ContentHash,
    workers: Workers,
    clients: Clients,
    laws: Laws,
    asked: Asked,
    calm: bool,
    /// Found where nobody can be told.
    broken: Option<String>,
    trouble: u64,
    summary: Summary,
    log: VecDeque<String>,
    /// Decided and told, and not written yet; empty but where [`Order::TellFirst`] breaks the law.
    late: Vec<Change>,
    /// Batches that have begun, whose awaited ones have ended once, or that were told to by a retry.
    ungated: BTreeSet<BatchId>,
    retried: BTreeSet<BatchId>,
    /// The latest time that the scheduler has been told; a time that has come once has come.
    wall_max: WallMs,
}

impl World {
    fn new(seed: u64, options: Options) -> Self {
        let mut random = Random::new(seed);
        let devices: Vec<Device> = (0..random.below(3)).map(|_| device(&mut random)).collect();
        let mut slots: BTreeMap<Lane, u32> = [
            (Lane::Cpu, random.between(1, 3) as u32),
            (Lane::Io, random.between(1, 3) as u32),
            (Lane::Net, random.between(1, 2) as u32),
            (Lane::Api, 8),
        ]
        .into();
        slots.extend((0..devices.len() as u8).map(|number| (Lane::Gpu(number), random.between(1, 2) as u32)));
        let contents = random.between(2, 8);
        let files = (0..random.between(3, 10))
            .map(|inode| File { identity: identity(inode), content: content(random.below(contents)) })
            .collect();
        let config = Config {
            slots: slots.clone(),
            quota: Quota {
                batches: random.permille(100).then_some(2),
                jobs: random.permille(100).then_some(10),
                media_hours: random.permille(100).then_some(1),
            },
            providers: [(PROVIDER.to_owned(), oracle(&mut random))].into(),
            memory_mib: *random.pick(&[1 << 20, 1_000, 200]),
            gpus: Found { devices, none: None },
            disk_reserve_bytes: RESERVE_BYTES,
            version: "0".to_owned(),
            pid: 1,
            started_at: WallMs(0),
            state_dir: PathBytes::default(),
            model_dir: PathBytes::default(),
        };
        World {
            poison: content(random.below(contents * 3)),
            trouble: *random.pick(&[0, 50, 200, 400]),
            random,
            options,
            time: 0,
            wall_offset: EPOCH_MS,
            events: BTreeMap::new(),
            scheduled: 0,
            daemon: None,
            config: config.clone(),
            disk: Disk::default(),
            files,
            workers: Workers::default(),
            clients: Clients::default(),
            laws: Laws::new(&config),
            asked: Asked::new(&config.providers[PROVIDER]),
            calm: false,
            broken: None,
            summary: Summary::default(),
            log: VecDeque::new(),
            late: Vec::new(),
            ungated: BTreeSet::new(),
            retried: BTreeSet::new(),
            wall_max: WallMs(0),
        }
    }

    fn live(&mut self) -> Result<(), String> {
        self.disk.next_batch = 1;
        self.boot()?;
        self.after(1, Event::Ask);
        let calm_at = self.random.between(10_000, FAULTS_MS_MAX);
        self.after(calm_at, Event::Calm);
        let faults = [
            (600, Event::KillDaemon),
            (500, Event::Leap),
            (500, Event::Edit),
            (300, Event::Disk(0)),
            (300, Event::Disk(RESERVE_BYTES - 1)),
            (400, Event::Disk(RESERVE_BYTES + 50)),
            (400, Event::Disk(u64::MAX)),
            (300, Event::Memory(true)),
            (300, Event::Memory(false)),
        ];
        for (often, fault) in faults {
            while self.random.permille(often) {
                let at = self.random.below(calm_at);
                self.after(at, fault.clone());
            }
        }
        let mut steps = 0;
        while let Some(((time, _), event)) = self.events.pop_first() {
            self.time = time;
            self.happen(event)?;
            if let Some(law) = self.broken.take() {
                return Err(law);
            }
            steps += 1;
            if self.calm && self.is_over() {
                break;
            }
            if steps > STEPS_MAX || time > calm_at + CALM_MS_MAX {
                return Err(format!(
                    "no end {} ms after the last fault: {}",
                    time.saturating_sub(calm_at),
                    self.open()
                ));
            }
        }
        self.summary.simulated_ms = self.time;
        self.summary.jobs = self.disk.batches.values().map(|batch| batch.new.jobs.len() as u64).sum();
        self.end()
    }

    fn open(&self) -> String {
        let open = self.disk.batches.values().filter(|batch| !batch.open.is_empty());
        let open: Vec<_> = open.map(|batch| format!("batch {}: {:?}", batch.new.id, batch.status)).collect();
        format!("{} open: {}; asked: {:?}", open.len(), open.join("; "), self.clients.waiting.keys())
    }

    fn is_over(&self) -> bool {
        let idle = self.daemon.as_ref().is_some_and(|daemon| daemon.inbox.is_empty());
        let coming = |event: &Event| matches!(event, Event::Arrive(_) | Event::Ask);
        idle && !self.events.values().any(coming)
            && self.workers.runs.is_empty()
            && self.disk.batches.values().all(|batch| batch.open.is_empty())
    }

    /// What must hold once all is done.
    fn end(&mut self) -> Result<(), String> {
        if self.disk.batches.values().any(|batch| !batch.open.is_empty()) {
            return Err(format!("nothing more happens, and not all has ended: {}", self.open()));
        }
        if let Some((client, question)) = self.clients.waiting.first_key_value() {
            return Err(format!("client {} never got an answer to {:?}", client.0, question.request));
        }
        if let Some((job, stage)) = self.disk.batches.values().find_map(|batch| {
            let (index, ended) = batch.ended.iter().find(|(_, ended)| {
                ended.state == JobState::Completed && (ended.outputs.is_empty() || ended.progress < 1.0)
            })?;
            Some((JobId { batch: batch.new.id, index: *index }, ended.stage.clone()))
        }) {
            return Err(format!("job {job} completed at {stage} without an output"));
        }
        for (address, boot) in &self.laws.transient {
            let excused = *boot < self.disk.boot && self.laws.lost_sight;
            if self.disk.artifacts.contains_key(address) && !excused {
                return Err(format!(
                    "the transient artifact {address} of boot {boot} is left although nobody reads it"
                ));
            }
        }
        self.probe()?;
        let now = self.now();
        let Some(daemon) = &mut self.daemon else { return Err("the daemon is not there at the end".to_owned()) };
        let client = self.clients.next_id();
        let peer = Peer { owner: Owner(0), admin: true };
        let effects = daemon.scheduler.step(now, Input::Command { client, peer, command: Command::Shutdown });
        if !effects.contains(&Effect::Exit) {
            return Err("an idle daemon does not end when it is told to".to_owned());
        }
        Ok(())
    }

    fn now(&self) -> Now {
        let started_at = self.daemon.as_ref().map_or(self.time, |daemon| daemon.started_at);
        Now { wall: WallMs(self.wall_offset + self.time), mono: MonoMs(1_000 + self.time - started_at) }
    }

    fn after(&mut self, ms: u64, event: Event) {
        self.scheduled += 1;
        self.events.insert((self.time + ms, self.scheduled), event);
    }

    fn note(&mut self, what: impl FnOnce() -> String) {
        if self.options.log > 0 {
            if self.log.len() == self.options.log {
                self.log.pop_front();
            }
            let line = format!("{:>8} {}", self.time, what());
            self.log.push_back(line);
        }
    }

    fn happen(&mut self, event: Event) -> Result<(), String> {
        if !matches!(event, Event::Turn) {
            self.note(|| format!("{event:?}"));
        }
        match event {
            Event::Turn => return self.turns(),
            Event::Ask => self.ask(),
            Event::Progress(run) => {
                if self.workers.runs.contains_key(&run) {
                    let mut share = || match self.random.below(12) {
                        0 => f32::NAN,
                        1 => -3.0,
                        2 => 1e30,
                        _ => self.random.below(1_000) as f32 / 1_000.0,
                    };
                    let (done, begun) = (share(), share());
                    let begun = if self.random.permille(100) { begun } else { 0.0 };
                    self.report(Input::Progress { run, worker: WorkerId(1), done, begun });
                    if self.random.permille(300) {
                        let seconds = [60.0, 3_600.0, -1.0, f64::INFINITY, f64::NAN][self.random.below(5) as usize];
                        self.report(Input::Length { run, seconds });
                    }
                    let again = self.random.between(50, 2_000);
                    self.after(again, Event::Progress(run));
                }
            }
            Event::Finish(run) => self.finish(run),
            Event::Deadline(run) => {
                if self.workers.runs.contains_key(&run) {
                    self.request_stop(run, true);
                }
            }
            Event::Quit(run, timeout) => {
                if let Some(live) = self.workers.end(run) {
                    // It may have come to its end by itself just then, one way or the other.
                    let outcome = match self.random.below(6) {
                        0 if !timeout => Outcome::Done(Box::new(self.result(&live.start))),
                        1 => Outcome::Failed(Failure::new(FailureKind::Cancelled, "stopped on request")),
                        _ => Outcome::Stopped,
                    };
                    self.report(Input::Ended { run, outcome });
                }
            }
            Event::Kill(run, timeout) => {
                if self.workers.runs.contains_key(&run) {
                    let runs = self.workers.take_down(run);
                    self.report(Input::Lost { runs, cause: Some(run), death: Death::Killed { timeout } });
                }
            }
            Event::Arrive(input) => self.arrive(Message::Report(*input)),
            Event::Leap => {
                let by = self.random.between(0, 100_000_000);
                let ahead = self.random.permille(500);
                self.asked.clock_leapt = true;
                self.wall_offset = if ahead { self.wall_offset + by } else { self.wall_offset - by };
            }
            Event::Edit => {
                self.laws.lost_sight = true;
                let at = self.random.below(self.files.len() as u64) as usize;
                let number = 1_000 + self.scheduled;
                self.files[at] = File { identity: identity(number), content: content(self.random.below(8)) };
            }
            Event::Disk(free) => self.arrive(Message::Report(Input::Room(free))),
            Event::Memory(short) => self.arrive(Message::Report(Input::Memory { short })),
            Event::KillDaemon => self.kill(),
            Event::Boot => return self.boot(),
            Event::Calm => return self.calm_down(),
        }
        Ok(())
    }

    /// Something for the inbox; a turn follows soon.
    fn arrive(&mut self, message: Message) {
        let soon = self.random.below(30);
        let Some(daemon) = &mut self.daemon else { return };
        daemon.inbox.push_back(message);
        self.wake_in(soon);
    }

    fn wake_in(&mut self, ms: u64) {
        let at = self.time + ms;
        let Some(daemon) = &mut self.daemon else { return };
        if daemon.turn_at.is_none_or(|turn| turn > at) {
            daemon.turn_at = Some(at);
            self.after(ms, Event::Turn);
        }
    }

    fn ask(&mut self) {
        if self.calm {
            return;
        }
        let newest = self.disk.next_batch - 1;
        let request = self.clients.request(&mut self.random, newest, &self.files, 6);
        let peer = Clients::peer(&mut self.random);
        self.question(peer, request);
        let next = if self.random.permille(300) { self.random.below(40) } else { self.random.between(100, 6_000) };
        self.after(next, Event::Ask);
    }

    fn question(&mut self, peer: Peer, request: Request) {
        if self.daemon.is_none() {
            return;
        }
        let client = self.clients.next_id();
        self.note(|| format!("client {} ({peer:?}) asks {request:?}", client.0));
        self.clients.waiting.insert(client, Question { request: request.clone(), runs: BTreeSet::new() });
        self.arrive(Message::Ask(client, peer, request));
    }

    /// No more faults, and everything that was halted goes on.
    fn calm_down(&mut self) -> Result<(), String> {
        self.calm = true;
        // The clock is set right, so that times to come do come.
        self.wall_offset = EPOCH_MS;
        self.note(|| "calm".to_owned());
        let daily = self.config.providers.values_mut().filter_map(|api| api.limits.calls_per_day.take()).count() > 0;
        self.asked.per_day = None;
        if self.config.quota.media_hours.take().is_some() || daily {
            // Nobody waits for days here.
            self.laws.media_hours = None;
            self.kill();
        }
        if self.daemon.is_none() {
            self.boot()?;
        }
        let fault = |event: &Event| {
            let kills = matches!(event, Event::Boot | Event::KillDaemon | Event::Leap | Event::Edit);
            kills || matches!(event, Event::Disk(_) | Event::Memory(_))
        };
        self.events.retain(|_, event| !fault(event));
        self.arrive(Message::Report(Input::Room(u64::MAX)));
        self.arrive(Message::Report(Input::Memory { short: false }));
        self.go_on();
        Ok(())
    }

    fn go_on(&mut self) {
        let peer = Peer { owner: Owner(0), admin: true };
        self.question(peer, Request::Resume(Selection::House));
        let paused: Vec<_> = self.disk.batches.values().filter(|b| b.status.finished_at.is_none()).collect();
        let paused: Vec<_> = paused.into_iter().map(|batch| Target::Batch(batch.new.id)).collect();
        if !paused.is_empty() {
            self.question(peer, Request::Resume(Selection::Targets(paused)));
        }
    }

    // Workers.

    /// A message on its way from a worker: late, twice, or not at all in time.
    fn report(&mut self, input: Input) {
        let late = if self.random.permille(50) { self.random.below(5_000) } else { self.random.below(20) };
        if !self.calm && self.random.permille(50) {
            let later = late + self.random.below(3_000);
            self.after(later, Event::Arrive(Box::new(input.clone())));
        }
        self.after(late, Event::Arrive(Box::new(input)));
    }

    fn start(&mut self, start: Start) -> Result<(), String> {
        let Start { run, job, lane, .. } = start;
        if self.workers.slots_held(lane) + start.slots > self.config.slots[&lane] {
            return Err(format!("run {run} starts where the lane {lane} is full of living runs"));
        }
        if let Some(other) = self.workers.runs.values().find(|live| live.start.job == job) {
            return Err(format!("job {job} has two living runs: {} and {run}", other.start.run));
        }
        if !self.disk.is_open(job) {
            return Err(format!("run {run} starts for job {job}, which is not open"));
        }
        if !self.ungated.contains(&job.batch)
            && let Some(why) = self.disk.kept_back(job.batch)
        {
            return Err(format!("run {run} of job {job} starts, and {why}"));
        }
        if !self.retried.contains(&job.batch) && self.disk.is_early(job.batch, self.wall_max) {
            return Err(format!("run {run} of job {job} starts before its time"));
        }
        self.ungated.insert(job.batch);
        if job.is_gather()
            && let Some(batch) = self.disk.batches.get(&job.batch)
            && (batch.open_inputs().next().is_some() || batch.results().next().is_none())
        {
            return Err(format!("run {run} gathers what is not there: {:?}", batch.status));
        }
        if let Some(address) = start.address.filter(|address| self.disk.artifacts.contains_key(address)) {
            return Err(format!("run {run} of job {job} does again what is done: {address}"));
        }
        if let Some((address, files)) = &start.feed
            && self.disk.artifacts.get(address).is_none_or(|artifact| artifact.files != *files)
        {
            return Err(format!("run {run} of job {job} works on {address}, which is not there"));
        }
        if start.stage.api().is_some() != start.key.is_some() {
            return Err(format!("run {run} asks {:?} with key {:?}", start.stage.api(), start.key));
        }
        if let Some(key) = start.key {
            let others = self.workers.runs.values().filter(|live| live.start.key == Some(key)).count();
            let wall = self.wall_offset + self.time;
            self.asked.begins(run, key, others, self.time, wall)?;
        }
        self.summary.runs += 1;
        let mut poisoned = false;
        if start.feed.is_none()
            && let Some(file) = self.file_of(job)
        {
            let batch = &self.disk.batches[&job.batch];
            let JobInput::File { identity, .. } = &batch.spec_of(job.index).input else {
                return Err(format!("job {job} has a file and none"));
            };
            if file.identity != start.identity.unwrap_or(*identity) {
                self.report(Input::InputChanged { run, identity: file.identity });
                return Ok(());
            }
            poisoned = file.content == self.poison && matches!(start.stage, Stage::Decode(_));
        }
        let plan = self.plan(poisoned);
        let (length, timeout) = (length_of(&start.stage, &mut self.random), start.timeout_ms);
        self.note(|| format!("run {run} of {job} at {} will take {length} ms, {plan:?}", start.stage.name()));
        self.workers.start(start, plan)?;
        if plan != Plan::Hang {
            self.after(length, Event::Finish(run));
        }
        self.after(timeout, Event::Deadline(run));
        if self.random.permille(300) {
            let soon = self.random.below(1_000);
            self.after(soon, Event::Progress(run));
        }
        Ok(())
    }

    fn plan(&mut self, poisoned: bool) -> Plan {
        if poisoned {
            return Plan::Crash(FailureKind::Crash);
        }
        if self.calm || !self.random.permille(self.trouble) {
            return Plan::Done;
        }
        match self.random.below(10) {
            0..5 => {
                // That an input is poison is the daemon's to say.
                let kind = *self.random.pick(&FailureKind::ALL);
                let kind = if kind == FailureKind::Poison { FailureKind::Input } else { kind };
                Plan::Fail(kind, self.random.permille(800).then(|| self.random.between(1, 2)))
            }
            5..7 => Plan::Hang,
            7 => Plan::Crash(FailureKind::OutOfMemory),
            _ => Plan::Crash(FailureKind::Crash),
        }
    }

    fn finish(&mut self, run: RunId) {
        let Some(live) = self.workers.runs.get(&run) else { return };
        match live.plan {
            Plan::Hang => {}
            Plan::Crash(kind) => {
                let runs = self.workers.take_down(run);
                self.report(Input::Lost {
                    runs,
                    cause: None,
                    death: Death::Fault { kind, message: "it died".to_owned() },
                });
            }
            Plan::Fail(kind, device) => {
                self.workers.end(run);
                let asked_wait = self.random.permille(500).then(|| self.random.below(200_000));
                let failure = Failure::new(kind, "as the script says").on_device(device).retry_after(asked_wait);
                let outcome = Outcome::Failed(failure);
                self.report(Input::Ended { run, outcome });
            }
            Plan::Done => {
                if let Some(live) = self.workers.end(run) {
                    if self.result(&live.start).usage.calls > 1
                        && let Err(law) = self.asked.again(run, self.time, &mut self.random)
                    {
                        self.broken = Some(law);
                    }
                    let outcome = Outcome::Done(Box::new(self.result(&live.start)));
                    self.report(Input::Ended { run, outcome });
                }
            }
        }
    }

    fn result(&self, start: &Start) -> spindle_shared::worker::Done {
        let source = self.file_of(start.job).map(|file| (file.identity, file.content));
        result_of(start, source, &self.output_of(start.job).unwrap_or_default())
    }

    fn file_of(&self, job: JobId) -> Option<File> {
        match &self.disk.batches.get(&job.batch)?.spec_of(job.index).input {
            JobInput::File { path, .. } => {
                let number: usize = String::from_utf8_lossy(&path.0).rsplit('/').next()?.parse().ok()?;
                self.files.get(number).copied()
            }
            JobInput::Name(_) | JobInput::Url(_) => None,
        }
    }

    fn request_stop(&mut self, run: RunId, timeout: bool) {
        if self.random.permille(700) {
            let soon = self.random.below(900);
            self.after(soon, Event::Quit(run, timeout));
        }
        self.after(1_000, Event::Kill(run, timeout));
    }

    // The daemon.

    fn boot(&mut self) -> Result<(), String> {
        if self.daemon.is_some() {
            return Ok(());
        }
        self.summary.boots += 1;
        self.asked.reboot();
        let recovered = self.disk.open_again();
        let now = Now { wall: WallMs(self.wall_offset + self.time), mono: MonoMs(1_000) };
        self.laws.reboot(&self.disk);
        self.laws.boot.today = now.wall.0 / 86_400_000;
        self.wall_max = self.wall_max.max(now.wall);
        let boot = recovered.boot;
        self.note(|| format!("boot {boot}: {recovered:?}"));
        let (scheduler, effects) = Scheduler::recover(self.config.clone(), recovered, now);
        scheduler.check()?;
        self.daemon = Some(Daemon { scheduler, inbox: VecDeque::new(), started_at: self.time, turn_at: None });
        self.laws.decided(&effects, &self.disk)?;
        if self.settle(effects)? == Fate::Lives && self.calm {
            self.go_on();
        }
        Ok(())
    }

    /// The daemon is gone between two instructions, and its workers with it. What they had sent may still turn up at the next one's.
    fn kill(&mut self) {
        if self.daemon.take().is_none() {
            return;
        }
        self.late.clear();
        self.note(|| "the daemon is dead".to_owned());
        let runs: Vec<RunId> = self.workers.runs.keys().copied().collect();
        for run in runs {
            if let Some(live) = self.workers.end(run)
                && self.random.permille(300)
            {
                let outcome = Outcome::Done(Box::new(self.result(&live.start)));
                self.report(Input::Ended { run, outcome });
            }
        }
        self.clients.waiting.clear();
        let later = self.random.between(1, 3_000);
        self.after(later, Event::Boot);
    }

    /// Turns until nothing waits that came before now.
    fn turns(&mut self) -> Result<(), String> {
        let time = self.time;
        match &mut self.daemon {
            Some(daemon) if daemon.turn_at == Some(time) => daemon.turn_at = None,
            _ => return Ok(()),
        }
        loop {
            if self.turn()? == Fate::Dead {
                return Ok(());
            }
            match &self.daemon {
                Some(daemon) if !daemon.inbox.is_empty() => {}
                _ => break,
            }
        }
        if self.random.permille(200) {
            self.probe()?;
        }
        let now = self.now();
        if let Some(due) = self.daemon.as_ref().and_then(|daemon| daemon.scheduler.next_wakeup()) {
            self.wake_in(due.since(now.mono).max(1));
        }
        Ok(())
    }

    /// One turn: some inputs are stepped, their changes committed as one, and then the rest is done.
    fn turn(&mut self) -> Result<Fate, String> {
        self.laws.boot.turn += 1;
        self.summary.turns += 1;
        let most = self.random.between(1, 8);
        let (mut effects, mut taken) = (Vec::new(), 0);
        let (mut keys, mut removed) = (BTreeSet::new(), false);
        while taken < most {
            let Some(daemon) = &mut self.daemon else { return Ok(Fate::Dead) };
            let Some(message) = daemon.inbox.pop_front() else { break };
            // What a command needs from the disk is read when all that came before it is there.
            let waits = match &message {
                Message::Ask(_, _, Request::Retry(_) | Request::Remove(_)) => taken > 0,
                Message::Ask(_, peer, Request::Submit(spec, _)) => {
                    removed
                        || (taken > 0 && !spec.terms.after.is_empty())
                        || spec.key.clone().is_some_and(|key| !keys.insert((peer.owner, key)))
                }
                _ => false,
            };
            if waits {
                daemon.inbox.push_front(message);
                break;
            }
            removed |= matches!(message, Message::Ask(_, _, Request::Remove(_)));
            let input = self.resolve(message);
            effects.extend(self.decide(input)?);
            taken += 1;
        }
        if taken == 0 {
            effects.extend(self.decide(Input::Tick)?);
        }
        self.settle(effects)
    }

    fn resolve(&mut self, message: Message) -> Input {
        let (client, peer, request) = match message {
            Message::Report(input) => return input,
            Message::Ask(client, peer, request) => (client, peer, request),
        };
        let targets = |what: &Selection| match what {
            Selection::Targets(targets) => targets.clone(),
            _ => self.disk.batches.keys().map(|id| Target::Batch(*id)).collect(),
        };
        let mut runs = BTreeSet::new();
        let command = match request {
            Request::Submit(spec, jobs) => {
                let key = spec.key.clone().map(|key| (peer.owner, key));
                let repeats =
                    key.and_then(|key| self.disk.keys.get(&key)).and_then(|id| self.disk.view(*id)).map(Box::new);
                let after =
                    spec.terms.after.iter().filter_map(|after| Some((after.batch, self.disk.view(after.batch)?.state)));
                let after = after.collect();
                Command::Submit { spec, jobs: jobs.into(), repeats, after }
            }
            Request::Cancel(what) => {
                let what_runs = targets(&what).into_iter().filter(|target| self.may(peer, *target));
                runs.extend(what_runs.flat_map(|target| self.runs_of(target)));
                Command::Cancel(what)
            }
            Request::Pause(what, now) => {
                if now && what == Selection::House && peer.admin {
                    runs.extend(self.laws.all_runs());
                } else if now && what != Selection::House {
                    let batches = targets(&what).into_iter().filter(|t| matches!(t, Target::Batch(_)));
                    let batches =
                        batches.filter(|target| self.may(peer, *target) && !self.laws.is_cancelling(target.batch()));
                    runs.extend(batches.flat_map(|target| self.runs_of(target)));
                }
                Command::Pause { what, now }
            }
            Request::Resume(what) => Command::Resume(what),
            Request::Prioritize(what, priority) => Command::Prioritize { what, priority },
            Request::Retry(target) => {
                let only = match target {
                    Target::Batch(_) => None,
                    Target::Job(job) => Some(job.index),
                };
                self.ungated.insert(target.batch());
                self.retried.insert(target.batch());
                let items: Vec<RetryItem> = self.disk.retry_item(target.batch(), only).into_iter().collect();
                Command::Retry(items)
            }
            Request::Remove(id) => Command::Remove(vec![(id, self.disk.batches.get(&id).map(|batch| batch.new.owner))]),
            Request::Explain(target) => Command::Explain(target),
            Request::House => Command::House,
            Request::Overlay => Command::Overlay { batches: None, jobs: true },
            Request::Drain => {
                runs.extend(self.laws.all_runs().filter(|_| peer.admin));
                Command::Drain
            }
            Request::Shutdown => {
                runs.extend(self.laws.all_runs().filter(|_| peer.admin));
                Command::Shutdown
            }
        };
        if let Some(question) = self.clients.waiting.get_mut(&client) {
            question.runs = runs;
        }
        Input::Command { client, peer, command }
    }

    fn may(&self, peer: Peer, target: Target) -> bool {
        peer.admin || self.disk.batches.get(&target.batch()).is_some_and(|batch| batch.new.owner == peer.owner)
    }

    fn runs_of(&self, target: Target) -> Vec<RunId> {
        let index = match target {
            Target::Batch(_) => None,
            Target::Job(job) => Some(job.index),
        };
        self.laws.runs_of(target.batch(), index).collect()
    }

    fn decide(&mut self, input: Input) -> Result<Vec<Effect>, String> {
        let now = self.now();
        self.wall_max = self.wall_max.max(now.wall);
        self.laws.boot.today = now.wall.0 / 86_400_000;
        self.note(|| format!("  step {input:?}"));
        let stale = self.laws.is_stale(&input);
        let Some(daemon) = &mut self.daemon else { return Ok(Vec::new()) };
        let effects = if stale {
            let due = daemon.scheduler.step(now, Input::Tick);
            let before = format!("{:?}", daemon.scheduler);
            let told = format!("{input:?}");
            let effects = daemon.scheduler.step(now, input);
            if !effects.is_empty() || format!("{:?}", daemon.scheduler) != before {
                return Err(format!("a stale report changes something: {told} → {effects:?}"));
            }
            due
        } else {
            self.laws.told(&input);
            daemon.scheduler.step(now, input)
        };
        daemon.scheduler.check()?;
        if self.options.log > 0 {
            for effect in &effects {
                self.note(|| format!("    → {effect:?}"));
            }
        }
        self.laws.decided(&effects, &self.disk)?;
        Ok(effects)
    }

    /// The folder of the outputs is looked at; the answer comes when its disk likes.
    fn look_for_outputs(&mut self, asked: &LookupOutputs) {
        let LookupOutputs { look, job, .. } = asked;
        let known = self.output_of(*job).and_then(|path| Some((self.disk.published.get(&path)?.clone(), path)));
        // Somebody may have edited or removed it.
        let outputs = known.filter(|_| !self.random.permille(300)).map(|(file, path)| {
            let output = Output { path, kind: "srt".to_owned(), bytes: 100 };
            vec![Published { output, content: file.content, identity: file.identity }]
        });
        let late = if self.random.permille(100) { self.random.below(5_000) } else { self.random.below(5) };
        self.after(late, Event::Arrive(Box::new(Input::OutputsFound { look: *look, job: *job, outputs })));
    }

    /// The results of a batch's inputs are looked for, among however many.
    fn look_for_results(&mut self, look: RunId, job: JobId) -> Result<(), String> {
        let Some(batch) = self.disk.batches.get(&job.batch) else { return Ok(()) };
        let mut hasher = AddressHasher::default();
        for (index, artifact) in batch.results() {
            let artifact = artifact.filter(|address| self.disk.artifacts.contains_key(address));
            let address = artifact.ok_or_else(|| format!("the result of {}/{index} is gone", job.batch))?;
            hasher.part(&index.to_le_bytes()).part(&address.0);
        }
        let results = Ok(hasher.finish());
        let late = if self.random.permille(100) { self.random.below(5_000) } else { self.random.below(5) };
        self.after(late, Event::Arrive(Box::new(Input::ResultsFound { look, job, results })));
        Ok(())
    }

    fn output_of(&self, job: JobId) -> Option<PathBytes> {
        let plan = &self.disk.batches.get(&job.batch)?.spec_of(job.index).output;
        Some(PathBytes([plan.directory.0.as_slice(), b"/", &plan.stem.0].concat()))
    }

    /// Brings what a turn has decided to its end, by the very rule that the conductor follows.
    fn settle(&mut self, effects: Vec<Effect>) -> Result<Fate, String> {
        let settled = turn::settle(self, effects).and_then(|()| self.write_late());
        match settled {
            Ok(()) => Ok(Fate::Lives),
            Err(Halt::Dead) => Ok(Fate::Dead),
            Err(Halt::Broken(law)) => Err(law),
        }
    }

    fn write(&mut self, changes: &[Change]) -> Result<(), Halt> {
        if !self.calm && self.random.permille(4) {
            // The disk is full, or gone: memory ahead of it never lives.
            self.note(|| "the commit fails".to_owned());
            self.kill();
            return Err(Halt::Dead);
        }
        self.disk.commit(changes, &self.laws.boot.retried)?;
        // What was waited for once has come, whatever becomes of it.
        for id in self.disk.batches.keys() {
            if self.disk.kept_back(*id).is_none() {
                self.ungated.insert(*id);
            }
        }
        self.laws.committed(changes, &self.disk)?;
        Ok(())
    }

    /// [`Order::TellFirst`] breaks the law here: what was to be written first comes after what depends on it.
    fn write_late(&mut self) -> Result<(), Halt> {
        let late = std::mem::take(&mut self.late);
        if late.is_empty() { Ok(()) } else { self.write(&late) }
    }

    fn look_up(&mut self, lookup: Effect) -> Option<Input> {
        match lookup {
            Effect::LookupInput { job, identity } => {
                Some(Input::InputFound { job, found: self.disk.find_input(job, identity)? })
            }
            Effect::LookupArtifacts { job, addresses } => {
                let found: Vec<_> = addresses.iter().map(|address| self.disk.artifacts.get(address).cloned()).collect();
                let spec = self.disk.batches.get(&job.batch)?;
                let stages = spec.spec_of(job.index).stages.as_ref().unwrap_or(&spec.new.spec.recipe.map);
                let made = stages.iter().filter(|stage| stage.facts().artifact).count();
                let done = found.iter().rposition(Option::is_some).map_or(0, |last| last + 1);
                let next = stages.iter().filter(|stage| stage.facts().artifact).nth(done);
                let next = if done < made { next } else { stages.last() };
                if let Some(next) = next {
                    self.laws.goes_on_at(job, next.name());
                }
                Some(Input::ArtifactsFound { job, found })
            }
            _ => None,
        }
    }

    /// A client gets its one answer, and what it says is true.
    fn answered(&mut self, client: ClientId, answer: &Answer) -> Result<(), String> {
        let Some(Question { request, runs }) = self.clients.waiting.remove(&client) else {
            return Err(format!("client {} is answered and did not ask", client.0));
        };
        let Answer::Frames(frames) = answer else {
            return match (request, answer) {
                (Request::Overlay, Answer::Overlay { .. }) => Ok(()),
                (request, answer) => Err(format!("{request:?} is answered by {answer:?}")),
            };
        };
        match frames.last() {
            Some(Response::Refused(_)) => return Ok(()),
            Some(Response::End) => {}
            other => return Err(format!("an answer ends with {other:?}")),
        }
        if let Some(run) = runs.iter().find(|run| self.workers.runs.contains_key(run)) {
            return Err(format!("{request:?} is answered while run {run} lives"));
        }
        for frame in frames {
            match frame {
                Response::House(house) => house.eta.map_or(Ok(()), super::laws::sound)?,
                Response::Submitted(Submitted { estimated_seconds: Some(seconds), .. })
                    if !(seconds.is_finite() && *seconds >= 0.0) =>
                {
                    return Err(format!("a batch is said to take {seconds} s"));
                }
                Response::Submitted(submitted) if !self.disk.batches.contains_key(&submitted.batch.id) => {
                    return Err(format!("batch {} is promised and not on disk", submitted.batch.id));
                }
                Response::Acted(acted) if matches!(request, Request::Cancel(_)) => {
                    for acted in acted.iter().filter(|acted| acted.what == "cancelled") {
                        let durable = match acted.target {
                            Target::Batch(id) => self
                                .disk
                                .batches
                                .get(&id)
                                .is_some_and(|batch| batch.status.cancelling && batch.open.is_empty()),
                            Target::Job(job) => self.disk.ended(job).is_some(),
                        };
                        // Retried or removed by somebody else while the answer waited for other runs.
                        let alone = matches!(&request, Request::Cancel(Selection::Targets(t)) if t.len() == 1);
                        if !durable && alone {
                            return Err(format!("{} is said to be cancelled and is not on disk", acted.target));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// What a watcher has folded together equals what the house would tell a new one.
    fn probe(&mut self) -> Result<(), String> {
        let now = self.now();
        let client = self.clients.next_id();
        let Some(daemon) = &mut self.daemon else { return Ok(()) };
        let command = Command::Watch(Scope::House);
        let peer = Peer { owner: Owner(0), admin: true };
        let mut effects = daemon.scheduler.step(now, Input::Command { client, peer, command });
        let watching = effects.iter().position(|effect| matches!(effect, Effect::Answer { .. }));
        match watching.map(|at| effects.remove(at)) {
            Some(Effect::Answer { answer: Answer::Watching { seq, paused, batches, jobs, .. }, .. }) => {
                if !effects.is_empty() {
                    // Something came due in this very step; compared another time.
                    self.laws.decided(&effects, &self.disk)?;
                    return self.settle(effects).map(|_| ());
                }
                self.laws.same_view(seq, paused, &batches, &jobs)
            }
            other => Err(format!("a watcher gets {other:?}")),
        }
    }
}

impl turn::Shell for World {
    type Error = Halt;

    fn commit(&mut self, changes: Vec<Change>) -> Result<(), Halt> {
        match self.options.order {
            Order::CommitFirst => self.write(&changes),
            Order::TellFirst => {
                self.late.extend(changes);
                Ok(())
            }
        }
    }

    fn act(&mut self, effect: Effect) -> Result<Option<Input>, Halt> {
        if !self.calm && self.random.permille(2) {
            self.note(|| format!("killed before {effect:?}"));
            self.kill();
            return Err(Halt::Dead);
        }
        match effect {
            Effect::Commit(_) => return Err(Halt::Broken("a commit among the rest".to_owned())),
            Effect::LookupInput { .. } | Effect::LookupArtifacts { .. } => return Ok(self.look_up(effect)),
            Effect::LookupOutputs(asked) => self.look_for_outputs(&asked),
            Effect::LookupResults { look, job } => self.look_for_results(look, job)?,
            Effect::Answer { client, answer } => self.answered(client, &answer)?,
            Effect::Publish(event) => self.laws.event(&event, &self.disk)?,
            Effect::Start(start) => self.start(*start)?,
            Effect::Stop(run) => self.request_stop(run, false),
            Effect::DropCheckpoint(address) => {
                if let Some(live) = self.workers.runs.values().find(|live| live.start.address == Some(address)) {
                    return Err(Halt::Broken(format!("run {} loses the checkpoint it works on", live.start.run)));
                }
            }
            Effect::DropArtifact(address) => {
                if self.disk.artifacts.contains_key(&address) {
                    return Err(Halt::Broken(format!("the files of {address} are dropped before their record")));
                }
                let reads = |start: &Start| start.feed.as_ref().is_some_and(|(feed, _)| *feed == address);
                if let Some(live) = self.workers.runs.values().find(|live| reads(&live.start)) {
                    return Err(Halt::Broken(format!("run {} loses {address}, which it reads", live.start.run)));
                }
            }
            Effect::Exit => {
                if let Some(run) = self.workers.runs.keys().next() {
                    return Err(Halt::Broken(format!("the daemon ends while run {run} lives")));
                }
                self.kill();
                return Err(Halt::Dead);
            }
        }
        Ok(None)
    }

    fn step(&mut self, input: Input) -> Result<Vec<Effect>, Halt> {
        self.write_late()?;
        Ok(self.decide(input)?)
    }
}

/// A model API with narrow limits.
/// A card that is large enough for some models, or for none.
fn device(random: &mut Random) -> Device {
    let memory_bytes = *random.pick(&[100, 300, 100_000]) << 20;
    let roles = if random.permille(800) { vec!["speech".to_owned()] } else { Vec::new() };
    let name = if random.permille(500) { "one kind" } else { "another" }.to_owned();
    Device { name, api: "CUDA".to_owned(), memory_bytes, free_bytes: memory_bytes, roles }
}

fn oracle(random: &mut Random) -> ApiConfig {
    let limits = Limits {
        at_once: random.between(1, 3) as u32,
        calls_per_minute: random.between(2, 12) as u32,
        tokens_per_minute: random.permille(300).then_some(5_000),
        calls_per_day: random.permille(300).then(|| random.between(3, 30) as u32),
    };
    ApiConfig { limits, keys: random.between(1, 2) as u32, price_in: Some(1.0), price_out: Some(2.0) }
}

fn content(number: u64) -> ContentHash {
    ContentHash::of(&number.to_le_bytes())
}
