//! Who is there and what each has: the supervisor's book-keeping. Pure but for signals and messages sent; calls nobody back.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{RunId, WorkerId};
use spindle_shared::job::PathBytes;
use spindle_shared::lane::Role;
use spindle_shared::worker::{Outcome, WORKER_PROTOCOL};

use super::note::{Death, Note, Why};
use super::order::StartOrder;
use super::receiver::resident_bytes;
use super::supervisor::pid_number;

/// How long a run that was told to stop may take before its process is killed.
pub const STOP_GRACE: Duration = Duration::from_secs(1);
/// How long an idle worker that was told to leave may take.
pub const LEAVE_GRACE: Duration = Duration::from_secs(5);
/// How often the memory of workers that work is looked at.
pub const MEASURE_EVERY: Duration = Duration::from_millis(100);
/// After a worker that couldn't be started, its role waits this long, doubling to the maximum.
const BACK_OFF_FIRST: Duration = Duration::from_secs(1);
const BACK_OFF_MAX: Duration = Duration::from_secs(30);

pub struct State {
    pub workers: BTreeMap<WorkerId, Worker>,
    pub last_worker: u64,
    /// By role and graphics card.
    pub back_off: BTreeMap<Kind, BackOff>,
    /// Roles whose processes have said that their walls are not whole.
    pub told_of_walls: BTreeSet<Role>,
    /// Notes that arose in the caller's thread or the clock's; another thread tells them.
    pub untold: VecDeque<Note>,
    /// Notes being told right now whose runs and workers are no longer in the books.
    pub telling: usize,
    /// When the workers' memory was last looked at.
    pub measured: Option<Instant>,
    /// When the clock's thread looks again by itself; `None` = not before it is woken.
    pub clock_until: Option<Instant>,
    /// Nothing is started any more.
    pub closing: bool,
    /// All is over; the threads may end.
    pub closed: bool,
}

/// What a process is for, and the graphics card that it works on.
pub type Kind = (Role, Option<u8>);

#[derive(Clone, Copy)]
pub struct BackOff {
    pub failures: u32,
    pub until: Instant,
}

/// One process, from the wish for it until it is reaped.
pub struct Worker {
    pub role: Role,
    pub model: Option<PathBytes>,
    pub device: Option<u8>,
    pub phase: Phase,
    /// `Some` while there is a process that is not reaped, so that the number can't be another's.
    pub pid: Option<Pid>,
    pub feed: mpsc::Sender<Feed>,
    pub runs: BTreeMap<RunId, Run>,
    /// One of the runs wants no other beside it.
    pub alone: bool,
    /// Takes no new runs and leaves after its last.
    pub retiring: bool,
    pub runs_done: u32,
    pub idle_since: Instant,
    /// Resident memory after its first run, when its model is loaded.
    pub memory_first: Option<u64>,
    /// Why the supervisor killed it, and for which run's sake.
    pub killed: Option<(Death, Option<RunId>)>,
    /// Processes that must be gone before this one starts: they hold the memory it needs.
    pub after: Vec<WorkerId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// No Hello yet; the time is set once there is a process.
    Starting {
        until: Option<Instant>,
    },
    Up,
    Leaving {
        until: Instant,
        why: Why,
    },
    Killed {
        was_up: bool,
    },
}

pub struct Run {
    pub order: Arc<StartOrder>,
    pub place: Place,
    pub deadline: Option<Instant>,
    pub stop: Option<Stop>,
    /// How many workers have gone before it reached them.
    pub missed: u32,
}

/// How far a run has come on its way to the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// Waits for the worker, or for its files to be opened: the worker doesn't know it.
    Queued,
    /// On its way: it may or may not have got there.
    Sending,
    Sent,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stop {
    pub why: Why,
    pub kill_at: Instant,
}

/// To a worker's feeder thread.
pub enum Feed {
    Start(RunId),
    Cancel(RunId),
    Leave,
}

impl State {
    pub fn new() -> Self {
        State {
            workers: BTreeMap::new(),
            last_worker: 0,
            back_off: BTreeMap::new(),
            told_of_walls: BTreeSet::new(),
            untold: VecDeque::new(),
            telling: 0,
            measured: None,
            clock_until: None,
            closing: false,
            closed: false,
        }
    }

    /// Ends a run that no worker knows of.
    pub fn end_unsent(&mut self, run: RunId, outcome: Outcome) {
        self.untold.push_back(Note::Ended { run, outcome, worker: None });
    }

    /// The living worker that can take this order now; the oldest, so that the younger can become idle and leave.
    pub fn taker(&self, order: &StartOrder, capacity: usize) -> Option<WorkerId> {
        let fits = |worker: &Worker| {
            worker.role == order.role
                && worker.model == order.model
                && worker.device == order.device
                && matches!(worker.phase, Phase::Starting { .. } | Phase::Up)
                && !worker.retiring
                && !worker.alone
                && if order.alone { worker.runs.is_empty() } else { worker.runs.len() < capacity.max(1) }
        };
        self.workers.iter().find(|(_, worker)| fits(worker)).map(|(id, _)| *id)
    }

    /// Makes idle workers with another model leave, and tells whom a new one has to wait for. Of a graphics card's memory, who works on it has
    /// what its idle ones hold, whatever they are for.
    pub fn make_room(&mut self, order: &StartOrder, now: Instant) -> Vec<WorkerId> {
        let other = |worker: &Worker| {
            let same_role = worker.role == order.role;
            let in_the_way = (same_role && worker.model != order.model) || (order.device.is_some() && !same_role);
            worker.device == order.device && in_the_way
        };
        for worker in self.workers.values_mut().filter(|worker| other(worker)) {
            if worker.phase == Phase::Up && worker.runs.is_empty() {
                worker.leave(now + LEAVE_GRACE, Why::Recycle);
            }
        }
        let going = |worker: &Worker| matches!(worker.phase, Phase::Leaving { .. } | Phase::Killed { .. });
        self.workers.iter().filter(|(_, worker)| other(worker) && going(worker)).map(|(id, _)| *id).collect()
    }

    pub fn worker_of(&self, run: RunId) -> Option<WorkerId> {
        self.workers.iter().find(|(_, worker)| worker.runs.contains_key(&run)).map(|(id, _)| *id)
    }

    /// Makes a run stop: at once where its worker doesn't know it, else by message, and by force at `kill_at`.
    pub fn stop_run(&mut self, worker: WorkerId, run: RunId, why: Why, now: Instant, kill_at: Instant) {
        let Some(holder) = self.workers.get_mut(&worker) else { return };
        let Some(held) = holder.runs.get_mut(&run) else { return };
        if held.place == Place::Queued {
            let outcome = match why {
                Why::Timeout => Outcome::Failed(timed_out(&held.order)),
                Why::Cancel | Why::Recycle | Why::Shutdown => Outcome::Stopped,
            };
            holder.forget_run(run, now);
            self.end_unsent(run, outcome);
            return;
        }
        match &mut held.stop {
            // Only ever sooner.
            Some(stop) => stop.kill_at = stop.kill_at.min(kill_at),
            None => {
                held.stop = Some(Stop { why, kill_at });
                // A feeder that is gone has a process that is gone: its end tells of the run.
                let _ = holder.feed.send(Feed::Cancel(run));
            }
        }
    }

    /// Does what is due and tells when to come again.
    pub fn keep_time(&mut self, now: Instant, idle: Duration, memory_limit: u64) -> Option<Instant> {
        let measure_again = self.watch_memory(now, memory_limit);
        let overdue: Vec<(WorkerId, RunId)> = self
            .workers
            .iter()
            .flat_map(|(id, worker)| worker.runs.iter().map(move |(run, held)| (*id, *run, held)))
            .filter(|(_, _, held)| held.stop.is_none() && held.deadline.is_some_and(|at| at <= now))
            .map(|(id, run, _)| (id, run))
            .collect();
        for (worker, run) in overdue {
            self.stop_run(worker, run, Why::Timeout, now, now + STOP_GRACE);
        }
        let due = self.workers.values_mut().filter_map(|worker| worker.keep_time(now, idle));
        due.chain(measure_again).min()
    }

    /// Kills who has more memory than the limit, shared memory included, which the kernel's own limit leaves out. Tells when to look again.
    fn watch_memory(&mut self, now: Instant, limit: u64) -> Option<Instant> {
        let busy = |worker: &&mut Worker| !worker.runs.is_empty() && !matches!(worker.phase, Phase::Killed { .. });
        let mut busy = self.workers.values_mut().filter(busy).peekable();
        busy.peek()?;
        if self.measured.is_none_or(|at| now.saturating_duration_since(at) >= MEASURE_EVERY) {
            self.measured = Some(now);
            for worker in busy {
                let resident = worker.pid.and_then(|pid| resident_bytes(pid_number(pid)));
                if resident.is_some_and(|resident| resident > limit) {
                    worker.kill(Death::Memory { limit }, None);
                }
            }
        }
        self.measured.and_then(|at| at.checked_add(MEASURE_EVERY))
    }

    pub fn bump_back_off(&mut self, kind: Kind, now: Instant) {
        let failures = self.back_off.get(&kind).map_or(0, |back_off| back_off.failures);
        let wait = BACK_OFF_FIRST.saturating_mul(1 << failures.min(10)).min(BACK_OFF_MAX);
        self.back_off.insert(kind, BackOff { failures: failures + 1, until: now + wait });
    }
}

impl Worker {
    pub fn kind(&self) -> Kind {
        (self.role, self.device)
    }

    /// The name of its state, for people.
    pub fn state_name(&self) -> &'static str {
        match self.phase {
            Phase::Starting { .. } => "starting",
            Phase::Up if self.runs.is_empty() => "idle",
            Phase::Up => "busy",
            Phase::Leaving { .. } => "leaving",
            Phase::Killed { .. } => "killed",
        }
    }

    /// Whether it ever said Hello.
    pub fn was_up(&self) -> bool {
        matches!(self.phase, Phase::Up | Phase::Leaving { .. } | Phase::Killed { was_up: true })
    }

    /// Asks a worker that is up to go; what it has it may finish.
    pub fn leave(&mut self, until: Instant, why: Why) {
        self.phase = Phase::Leaving { until, why };
        let _ = self.feed.send(Feed::Leave);
    }

    /// Kills its whole group, once; what it held is told when it is reaped.
    pub fn kill(&mut self, how: Death, cause_run: Option<RunId>) {
        if matches!(self.phase, Phase::Killed { .. }) {
            return;
        }
        self.killed = Some((how, cause_run));
        self.phase = Phase::Killed { was_up: self.was_up() };
        if let Some(pid) = self.pid {
            // It can only be gone already; the receiver sees that.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
        }
    }

    /// A run is no longer its business.
    pub fn forget_run(&mut self, run: RunId, now: Instant) -> Option<Run> {
        let held = self.runs.remove(&run)?;
        if held.order.alone {
            self.alone = false;
        }
        if self.runs.is_empty() {
            self.idle_since = now;
            if self.retiring && self.phase == Phase::Up {
                self.leave(now + LEAVE_GRACE, Why::Recycle);
            }
        }
        Some(held)
    }

    fn keep_time(&mut self, now: Instant, idle: Duration) -> Option<Instant> {
        match self.phase {
            Phase::Starting { until: Some(until) } if until <= now => self.kill(Death::Hang, None),
            Phase::Leaving { until, why } if until <= now && self.runs.is_empty() => {
                self.kill(Death::Killed(why), None);
            }
            Phase::Up if self.runs.is_empty() && self.idle_since.checked_add(idle).is_some_and(|at| at <= now) => {
                self.leave(now + LEAVE_GRACE, Why::Recycle)
            }
            _ => {}
        }
        let overstayed = self.runs.iter().find_map(|(run, held)| Some((*run, held.stop.filter(|s| s.kill_at <= now)?)));
        if let Some((run, stop)) = overstayed {
            let cause_run = (stop.why != Why::Shutdown).then_some(run);
            self.kill(Death::Killed(stop.why), cause_run);
        }
        self.next_deadline(idle)
    }

    /// When something is due with it by itself.
    pub fn next_deadline(&self, idle: Duration) -> Option<Instant> {
        let own = match self.phase {
            Phase::Starting { until } => until,
            Phase::Up if self.runs.is_empty() => self.idle_since.checked_add(idle),
            Phase::Leaving { until, .. } if self.runs.is_empty() => Some(until),
            // Nothing more can be done to it; its runs wait for its end.
            Phase::Killed { .. } => return None,
            Phase::Up | Phase::Leaving { .. } => None,
        };
        let of_run = |run: &Run| run.stop.map_or(run.deadline, |stop| Some(stop.kill_at));
        own.into_iter().chain(self.runs.values().filter_map(of_run)).min()
    }

    /// Takes Hello; `Err` says what is wrong with it.
    pub fn hello(&mut self, protocol: u32, role: Role, now: Instant) -> Result<(), String> {
        if protocol != WORKER_PROTOCOL {
            return Err(format!(
                "it speaks protocol {protocol}, the daemon {WORKER_PROTOCOL}: finish the upgrade and restart the daemon"
            ));
        }
        if role != self.role {
            return Err(format!("it was started as {} and says it is {}", self.role.name(), role.name()));
        }
        match self.phase {
            Phase::Starting { .. } => {
                self.phase = Phase::Up;
                self.idle_since = now;
                Ok(())
            }
            // Its end is on the way already.
            Phase::Killed { .. } => Ok(()),
            Phase::Up | Phase::Leaving { .. } => Err("it said hello twice".to_owned()),
        }
    }

    /// Takes a report's outcome and makes of it what is told of the run.
    pub fn ended(&mut self, run: RunId, outcome: Outcome, now: Instant) -> Result<Outcome, String> {
        let known = self.runs.get(&run).is_some_and(|held| held.place != Place::Queued);
        let held = known.then(|| self.forget_run(run, now)).flatten();
        let held = held.ok_or_else(|| format!("it reported run {run}, which it doesn't have"))?;
        self.runs_done += 1;
        Ok(match (outcome, held.stop.map(|stop| stop.why)) {
            (Outcome::Stopped, Some(Why::Timeout)) => Outcome::Failed(timed_out(&held.order)),
            (Outcome::Stopped, None) => {
                Outcome::Failed(Failure::new(FailureKind::Internal, "the run stopped without being told to"))
            }
            (outcome, _) => outcome,
        })
    }
}

fn timed_out(order: &StartOrder) -> Failure {
    let seconds = order.timeout_ms as f64 / 1000.0;
    Failure::new(FailureKind::Timeout, format!("{} took longer than {seconds} s", order.assignment.stage.name()))
}
