//! The supervisor's face: orders in, notes out. Returns at once; what waits, waits in threads of its own.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{RunId, WorkerId};
use spindle_shared::lane::Role;
use spindle_shared::worker::Outcome;

use super::feeder;
use super::note::{Death, Note, Why, WorkerView};
use super::order::StartOrder;
use super::receiver::resident_bytes;
use super::spawner::{self, Programs, SpawnRequest};
use super::state::{Feed, Kind, MEASURE_EVERY, Phase, Place, Run, STOP_GRACE, State, Worker};

/// What the configuration decides.
pub struct Settings {
    /// Opened once, when the supervisor is made; see [`super::worker_program`].
    pub worker_binary: PathBuf,
    /// Starts where a run is done on a graphics card.
    pub gpu_binary: Option<PathBuf>,
    /// Held shared by every worker; see [`super::await_predecessors`].
    pub lock_file: PathBuf,
    /// Runs at once in one process of a role, on a graphics card or not; at least 1.
    pub capacity: Box<dyn Fn(Role, Option<u8>) -> usize + Send + Sync>,
    pub idle_ms: u64,
    /// Runs after which a process of a role makes room for a fresh one.
    pub runs_before_recycle: Box<dyn Fn(Role) -> u32 + Send + Sync>,
    /// Growth of a process's resident memory, since the end of its first run, after which another takes its place.
    pub memory_growth_bytes: u64,
    /// Memory that one process may take; the kernel refuses it more, and what the kernel doesn't count is watched.
    pub memory_limit_bytes: u64,
    /// Variables that hold keys: of all processes only those that ask model APIs have them.
    pub secret_variables: Vec<String>,
    /// Around a process of a role: where the house is, and what it may start; `None` = no walls.
    pub walls: Option<Walls>,
    /// A new process says hello within this time.
    pub hello_ms: u64,
}

/// What a worker is told of the house, to leave the rest alone.
#[derive(Debug, Clone)]
pub struct Walls {
    pub state_dir: PathBuf,
    pub model_dir: PathBuf,
    /// Programs that the network's role may start.
    pub programs: Vec<PathBuf>,
}

impl Walls {
    /// As the worker's command line says it.
    pub fn arguments(&self, role: Role) -> Vec<OsString> {
        let mut told = vec![
            OsString::from("--state"),
            self.state_dir.clone().into(),
            "--models".into(),
            self.model_dir.clone().into(),
        ];
        for program in self.programs.iter().filter(|_| role == Role::Net) {
            told.extend(["--program".into(), program.clone().into()]);
        }
        told
    }
}

impl Settings {
    pub fn new(worker_binary: PathBuf, lock_file: PathBuf) -> Self {
        Settings {
            worker_binary,
            gpu_binary: None,
            lock_file,
            capacity: Box::new(|_, _| 1),
            idle_ms: 120_000,
            runs_before_recycle: Box::new(|_| 50),
            memory_growth_bytes: 1 << 30,
            memory_limit_bytes: u64::MAX,
            secret_variables: Vec::new(),
            walls: None,
            hello_ms: 10_000,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum SupervisorError {
    #[error("failed to open the worker program {}: {error}", .path.display())]
    Program { path: PathBuf, error: io::Error },
    #[error("failed to start a thread: {0}")]
    Thread(io::Error),
}

/// Dropping it kills all workers and waits for their end.
pub struct Supervisor {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Supervisor {
    /// `notify` is called from several threads, never from one that calls the supervisor's methods.
    pub fn new(settings: Settings, notify: impl Fn(Note) + Send + Sync + 'static) -> Result<Self, SupervisorError> {
        let open = |path: &PathBuf| {
            spawner::open_program(path).map_err(|error| SupervisorError::Program { path: path.clone(), error })
        };
        let programs = Programs {
            usual: open(&settings.worker_binary)?,
            gpu: settings.gpu_binary.as_ref().map(open).transpose()?,
        };
        let (spawner, spawning) =
            spawner::start(programs, settings.lock_file.clone()).map_err(SupervisorError::Thread)?;
        let shared = Arc::new(Shared {
            settings,
            notify: Box::new(notify),
            state: Mutex::new(State::new()),
            changed: Condvar::new(),
            clock: Condvar::new(),
            notes: Condvar::new(),
            spawner: Mutex::new(Some(spawner)),
        });
        let mut supervisor = Supervisor { shared, threads: vec![spawning] };
        supervisor.spawn_own("worker-clock", Shared::keep_time)?;
        supervisor.spawn_own("worker-notes", Shared::tell_untold)?;
        Ok(supervisor)
    }

    /// Gives the run to a worker that can take it, or to a new one.
    pub fn start(&self, order: StartOrder) {
        self.shared.start(Arc::new(order), 0);
    }

    /// Makes a run stop: by message, and after a second by force. Its last note comes when it has; an unknown run has had its.
    pub fn stop(&self, run: RunId) {
        let now = Instant::now();
        let mut state = self.shared.lock();
        if let Some(worker) = state.worker_of(run) {
            state.stop_run(worker, run, Why::Cancel, now, now + STOP_GRACE);
            drop(state);
            self.shared.announce();
        }
    }

    /// Workers without work leave at once, and their models with them: others need the memory.
    pub fn send_idle_away(&self) {
        let now = Instant::now();
        let mut state = self.shared.lock();
        let idle = state.workers.values_mut().filter(|worker| worker.phase == Phase::Up && worker.runs.is_empty());
        for worker in idle {
            worker.leave(now + STOP_GRACE, Why::Recycle);
        }
        drop(state);
        self.shared.announce();
    }

    /// Processes that have said hello and live.
    pub fn count(&self) -> usize {
        self.shared.lock().workers.values().filter(|worker| worker.was_up()).count()
    }

    pub fn workers(&self) -> Vec<WorkerView> {
        let mut views: Vec<WorkerView> =
            self.shared.lock().workers.iter().map(|(id, worker)| view(*id, worker)).collect();
        for view in &mut views {
            view.resident_bytes = view.pid.and_then(resident_bytes);
        }
        views
    }

    /// Stops all runs, gives them `grace_ms`, kills what is left, and returns when the last process is reaped and the last
    /// note told. The one method that waits; not to be called from within `notify`.
    pub fn shutdown(&self, grace_ms: u64) {
        let now = Instant::now();
        let until = now + Duration::from_millis(grace_ms.min(GRACE_MS_MAX));
        let mut state = self.shared.lock();
        state.closing = true;
        let ids: Vec<WorkerId> = state.workers.keys().copied().collect();
        for id in ids {
            let runs: Vec<RunId> = state.workers.get(&id).map_or_else(Vec::new, |w| w.runs.keys().copied().collect());
            for run in runs {
                state.stop_run(id, run, Why::Shutdown, now, until);
            }
            match state.workers.get_mut(&id) {
                Some(worker) if worker.phase == Phase::Up => worker.leave(until, Why::Shutdown),
                Some(Worker { phase: Phase::Leaving { until: at, .. }, .. }) => *at = until.min(*at),
                // Without a process yet: its feeder sees that the house closes.
                Some(worker) if worker.pid.is_some() => worker.kill(Death::Killed(Why::Shutdown), None),
                _ => {}
            }
        }
        self.shared.announce();
        let goes_on = |state: &mut State| !(state.workers.is_empty() && state.untold.is_empty() && state.telling == 0);
        drop(self.shared.changed.wait_while(state, goes_on).unwrap_or_else(PoisonError::into_inner));
    }

    fn spawn_own(&mut self, name: &str, body: fn(&Shared)) -> Result<(), SupervisorError> {
        let shared = Arc::clone(&self.shared);
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || body(&shared));
        self.threads.push(thread.map_err(SupervisorError::Thread)?);
        Ok(())
    }
}

/// An hour: longer than any stop of a service lasts, and short enough to add to any instant.
const GRACE_MS_MAX: u64 = 3_600_000;
/// A run that missed this many workers, all gone before it reached them, is given up.
const MISSED_MAX: u32 = 3;

impl Drop for Supervisor {
    fn drop(&mut self) {
        self.shutdown(0);
        self.shared.lock().closed = true;
        self.shared.announce();
        // The spawner's thread ends here at the earliest: all processes that it started are gone.
        self.shared.spawner.lock().unwrap_or_else(PoisonError::into_inner).take();
        for thread in self.threads.drain(..) {
            // A thread that panicked has printed why.
            let _ = thread.join();
        }
    }
}

fn view(id: WorkerId, worker: &Worker) -> WorkerView {
    WorkerView {
        worker: id,
        role: worker.role,
        pid: worker.pid.map(pid_number),
        model: worker.model.clone(),
        device: worker.device,
        state: worker.state_name(),
        runs: worker.runs.keys().copied().collect(),
        runs_done: worker.runs_done,
        resident_bytes: None,
    }
}

pub(super) fn pid_number(pid: rustix::process::Pid) -> u32 {
    pid.as_raw_nonzero().get().unsigned_abs()
}

/// What the supervisor's threads have in common.
pub(super) struct Shared {
    pub settings: Settings,
    pub notify: Box<dyn Fn(Note) + Send + Sync>,
    state: Mutex<State>,
    /// A worker came or went, or a note was told: feeders and whoever shuts down wait for these.
    pub changed: Condvar,
    /// Something is due sooner than the clock's thread believes.
    clock: Condvar,
    /// There is a note to tell.
    notes: Condvar,
    spawner: Mutex<Option<mpsc::Sender<SpawnRequest>>>,
}

impl Shared {
    pub fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// `missed` counts the workers that have gone before this run reached them.
    pub fn start(self: &Arc<Self>, order: Arc<StartOrder>, missed: u32) {
        let now = Instant::now();
        let mut state = self.lock();
        let (run, timeout) = (order.assignment.run, Duration::from_millis(order.timeout_ms));
        if state.closing {
            state.end_unsent(run, Outcome::Stopped);
        } else if missed >= MISSED_MAX {
            let message = format!("{missed} {} workers in a row ended before the run reached them", order.role.name());
            state.end_unsent(run, Outcome::Failed(Failure::new(FailureKind::Internal, message)));
        } else if state.worker_of(run).is_none() {
            let capacity = (self.settings.capacity)(order.role, order.device);
            let taker = match state.taker(&order, capacity) {
                Some(worker) => Ok(worker),
                None => self.add_worker(&mut state, &order, now),
            };
            match taker {
                Ok(worker) => give(&mut state, worker, order, missed, now),
                Err(e) => {
                    let message = format!("failed to start a thread for a worker: {e}");
                    state.end_unsent(run, Outcome::Failed(Failure::new(FailureKind::Internal, message)));
                }
            }
        }
        // Now its time runs, and the memory of its worker is watched.
        let due = now.checked_add(timeout.min(MEASURE_EVERY));
        self.went_on(state, due);
    }

    /// Something happened that any other thread may wait for.
    pub fn announce(&self) {
        self.changed.notify_all();
        self.clock.notify_all();
        self.notes.notify_all();
    }

    /// Work went on as it does thousands of times a second: nobody is woken but for what is due or to be told.
    pub fn went_on(&self, mut state: MutexGuard<'_, State>, due: Option<Instant>) {
        let sooner = |due: &Instant| state.clock_until.is_none_or(|until| *due < until);
        let due = due.filter(sooner);
        let untold = !state.untold.is_empty();
        if due.is_some() {
            state.clock_until = due;
        }
        drop(state);
        if due.is_some() {
            self.clock.notify_all();
        }
        if untold {
            self.notes.notify_all();
        }
    }

    /// A place for a process, whose feeder starts it as soon as that may be.
    fn add_worker(self: &Arc<Self>, state: &mut State, order: &StartOrder, now: Instant) -> io::Result<WorkerId> {
        let after = state.make_room(order, now);
        let id = WorkerId(state.last_worker + 1);
        let (feed, inbox) = mpsc::channel::<Feed>();
        let shared = Arc::clone(self);
        thread::Builder::new().name(format!("{id}-feeder")).spawn(move || feeder::feed(&shared, id, inbox))?;
        state.last_worker = id.0;
        let worker = Worker {
            role: order.role,
            model: order.model.clone(),
            device: order.device,
            phase: Phase::Starting { until: None },
            pid: None,
            feed,
            runs: std::collections::BTreeMap::new(),
            alone: false,
            retiring: false,
            runs_done: 0,
            idle_since: now,
            memory_first: None,
            killed: None,
            after,
        };
        state.workers.insert(id, worker);
        Ok(id)
    }

    /// Asks the spawner's thread for a process and waits for it.
    pub fn spawn(&self, kind: Kind) -> io::Result<spawner::Process> {
        let gone = || io::Error::other("the daemon stops");
        let (reply, answer) = mpsc::channel();
        let spawner = self.spawner.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or_else(gone)?;
        let memory_limit = self.settings.memory_limit_bytes;
        let (role, device) = kind;
        let without = match role {
            Role::Net => Vec::new(),
            _ => self.settings.secret_variables.clone(),
        };
        let walls = self.settings.walls.as_ref().map_or_else(Vec::new, |walls| walls.arguments(role));
        spawner.send(SpawnRequest { role, device, memory_limit, without, walls, reply }).map_err(|_| gone())?;
        answer.recv().map_err(|_| gone())?
    }

    /// Tells what was counted in [`State::telling`] when it left the books.
    pub fn tell_counted(&self, note: Note) {
        (self.notify)(note);
        self.told();
    }

    pub fn told(&self) {
        self.lock().telling -= 1;
        self.announce();
    }

    fn keep_time(&self) {
        let idle = Duration::from_millis(self.settings.idle_ms);
        let mut state = self.lock();
        while !state.closed {
            let now = Instant::now();
            let next = state.keep_time(now, idle, self.settings.memory_limit_bytes);
            if !state.untold.is_empty() {
                self.notes.notify_all();
            }
            state.clock_until = next;
            state = match next {
                None => self.clock.wait(state).unwrap_or_else(PoisonError::into_inner),
                Some(at) => {
                    let wait = at.saturating_duration_since(now);
                    self.clock.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    fn tell_untold(&self) {
        let mut state = self.lock();
        while !state.closed {
            if let Some(note) = state.untold.pop_front() {
                state.telling += 1;
                drop(state);
                self.tell_counted(note);
                state = self.lock();
            } else {
                state = self.notes.wait(state).unwrap_or_else(PoisonError::into_inner);
            }
        }
    }
}

fn give(state: &mut State, worker: WorkerId, order: Arc<StartOrder>, missed: u32, now: Instant) {
    let Some(holder) = state.workers.get_mut(&worker) else { return };
    let run = order.assignment.run;
    holder.alone = order.alone;
    let deadline = now.checked_add(Duration::from_millis(order.timeout_ms));
    holder.runs.insert(run, Run { order, place: Place::Queued, deadline, stop: None, missed });
    // A feeder that is gone has a process that is gone: its end starts the run elsewhere.
    let _ = holder.feed.send(Feed::Start(run));
}
