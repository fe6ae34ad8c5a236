//! A worker's other thread: takes its reports, sees its end, reaps it, and tells what became of its runs.

use std::cell::Cell;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ExitStatus};
use std::sync::{Arc, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};
use spindle_shared::id::{RunId, WorkerId};
use spindle_shared::limits::MEDIA_SECONDS_MAX;
use spindle_shared::worker::{EXIT_OUT_OF_MEMORY, Report};

use super::channel::{Channel, ReceiveError};
use super::feeder::not_started;
use super::note::{Death, Note};
use super::spawner::{self, Process};
use super::state::{MEASURE_EVERY, Phase, Place, Run, STOP_GRACE, State, Worker};
use super::supervisor::{Shared, pid_number};
use super::tail::Tail;

/// Starts listening to a process; `ready` hears when it has said Hello, and is dropped when it has ended.
pub fn attach(
    shared: &Arc<Shared>,
    id: WorkerId,
    process: Process,
    ready: mpsc::Sender<()>,
) -> io::Result<Arc<Channel>> {
    let Process { mut child, pid, pidfd, socket, stderr } = process;
    let tail = match Tail::follow(stderr, format!("{id}-stderr")) {
        Ok(tail) => tail,
        Err(e) => {
            spawner::kill_and_reap(&mut child, pid);
            return Err(e);
        }
    };
    let channel = Arc::new(Channel::new(socket));
    let ear = Ear {
        shared: Arc::clone(shared),
        id,
        child,
        pid,
        pidfd,
        channel: Arc::clone(&channel),
        tail,
        ready,
        aged: Cell::new(None),
    };
    if let Some(worker) = shared.lock().workers.get_mut(&id) {
        worker.pid = Some(pid);
    }
    match thread::Builder::new().name(format!("{id}-receiver")).spawn(move || ear.listen()) {
        Ok(_) => Ok(channel),
        Err(e) => {
            let mut state = shared.lock();
            // Not reaped yet, so the number is still its own.
            let _ = rustix::process::kill_process_group(pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            if let Some(worker) = state.workers.get_mut(&id) {
                worker.pid = None;
            }
            Err(e)
        }
    }
}

/// Resident memory of a process, if it is there.
pub fn resident_bytes(pid: u32) -> Option<u64> {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?;
    let pages: u64 = statm.split(' ').nth(1)?.parse().ok()?;
    Some(pages * rustix::param::page_size() as u64)
}

struct Ear {
    shared: Arc<Shared>,
    id: WorkerId,
    child: Child,
    pid: Pid,
    pidfd: OwnedFd,
    channel: Arc<Channel>,
    tail: Tail,
    ready: mpsc::Sender<()>,
    /// When its memory was last looked at for the sake of its age.
    aged: Cell<Option<Instant>>,
}

impl Ear {
    fn listen(self) {
        let mut buffer = Vec::new();
        let garbage = loop {
            match self.channel.receive(&mut buffer) {
                Ok(Some(report)) => match self.heard(report) {
                    Ok(Some(note)) => (self.shared.notify)(note),
                    Ok(None) => {}
                    Err(what) => break Some(what),
                },
                Ok(None) => break None,
                Err(ReceiveError::Garbage(what)) => break Some(what),
            }
        };
        self.await_end(garbage);
        self.bury();
    }

    /// What was printed comes before the end of the run that may have printed it.
    fn heard(&self, report: Report) -> Result<Option<Note>, String> {
        if matches!(report, Report::Ended { .. }) {
            let text = self.tail.news();
            if !text.is_empty() {
                let lock = self.shared.lock();
                let runs = lock.workers.get(&self.id).map(|worker| worker.runs.keys().copied().collect());
                drop(lock);
                (self.shared.notify)(Note::Said { runs: runs.unwrap_or_default(), text });
            }
        }
        self.take(report)
    }

    /// Its resident memory; among many runs not looked at anew for every one that ends.
    fn age(&self, now: Instant) -> Option<u64> {
        let busy = self.shared.lock().workers.get(&self.id).is_some_and(|worker| worker.runs.len() > 1);
        if busy && self.aged.get().is_some_and(|at| now.saturating_duration_since(at) < MEASURE_EVERY) {
            return None;
        }
        self.aged.set(Some(now));
        resident_bytes(pid_number(self.pid))
    }

    /// What a report means; `Err` says why no worker sends this.
    fn take(&self, report: Report) -> Result<Option<Note>, String> {
        let now = Instant::now();
        let resident = if matches!(report, Report::Ended { .. }) { self.age(now) } else { None };
        let mut state = self.shared.lock();
        let Some(worker) = state.workers.get_mut(&self.id) else { return Ok(None) };
        if !worker.was_up() && !matches!(report, Report::Hello { .. } | Report::Ended { .. }) {
            return Err("it reported before it said hello".to_owned());
        }
        let note = match report {
            Report::Hello { protocol, role, lacks } => {
                worker.hello(protocol, role, now)?;
                let (model, kind, up) = (worker.model.clone(), worker.kind(), worker.phase == Phase::Up);
                if up {
                    state.back_off.remove(&kind);
                    if !lacks.is_empty() && state.told_of_walls.insert(role) {
                        tracing::warn!(
                            role = role.name(),
                            lacks = lacks.join("; "),
                            "the walls around workers are not whole"
                        );
                    }
                    // Its feeder may be gone only when the process is.
                    let _ = self.ready.send(());
                }
                up.then(|| Note::Up { worker: self.id, role, pid: pid_number(self.pid), model })
            }
            Report::Progress { run, .. } | Report::Asked { run, .. } | Report::Length { run, .. }
                if !worker.knows(run) =>
            {
                return Err(format!("it reported run {run}, which it doesn't have"));
            }
            Report::Progress { done, begun, .. } if !done.is_finite() || !begun.is_finite() => {
                return Err(format!("it reported a progress of {done} from {begun} on"));
            }
            Report::Progress { run, done, begun } => {
                Some(Note::Progress { run, worker: self.id, done: done.clamp(0.0, 1.0), begun: begun.clamp(0.0, 1.0) })
            }
            Report::Length { seconds, .. } if !(0.0..MEDIA_SECONDS_MAX).contains(&seconds) => {
                return Err(format!("it reported a recording of {seconds} s"));
            }
            Report::Length { run, seconds } => Some(Note::Length { run, seconds }),
            Report::Asked { run, usage } => Some(Note::Asked { run, usage }),
            Report::Ended { run, outcome } => {
                let settings = &self.shared.settings;
                let runs_max = (settings.runs_before_recycle)(worker.role);
                worker.note_age(resident, runs_max, settings.memory_growth_bytes);
                let outcome = worker.ended(run, outcome, now)?;
                Some(Note::Ended { run, outcome, worker: Some(self.id) })
            }
        };
        if matches!(note, Some(Note::Up { .. })) {
            drop(state);
            self.shared.announce();
        } else {
            let idle = Duration::from_millis(self.shared.settings.idle_ms);
            let due = state.workers.get(&self.id).and_then(|worker| worker.next_deadline(idle));
            self.shared.went_on(state, due);
        }
        Ok(note)
    }

    /// Its channel is done: it ends now, by itself or by force.
    fn await_end(&self, garbage: Option<String>) {
        let how = match garbage {
            Some(what) => Some(Death::Garbage(what)),
            None if self.ends_within_grace() => None,
            None => Some(Death::Hang),
        };
        if let Some(how) = how
            && let Some(worker) = self.shared.lock().workers.get_mut(&self.id)
        {
            worker.kill(how, None);
        }
        // Waits without reaping: until the lock is held below, the number stays its own.
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        let _ = rustix::io::retry_on_intr(|| rustix::process::waitid(WaitId::PidFd(self.pidfd.as_fd()), options));
    }

    fn ends_within_grace(&self) -> bool {
        let grace = Timespec::try_from(STOP_GRACE).ok();
        let ended = rustix::io::retry_on_intr(|| {
            rustix::event::poll(&mut [PollFd::new(&self.pidfd, PollFlags::IN)], grace.as_ref())
        });
        matches!(ended, Ok(1..))
    }

    /// Reaps it and tells what there is to tell.
    fn bury(mut self) {
        let mut state = self.shared.lock();
        // What it has started itself goes with it.
        let _ = rustix::process::kill_process_group(self.pid, Signal::KILL);
        let status = self.child.wait();
        // Whether a run on its way has got there is known in a moment: a channel without a reader keeps no sender.
        let id = self.id;
        let on_its_way = |state: &mut State| {
            state.workers.get(&id).is_some_and(|worker| worker.runs.values().any(|run| run.place == Place::Sending))
        };
        state = self.shared.changed.wait_while(state, on_its_way).unwrap_or_else(PoisonError::into_inner);
        let Some(worker) = state.workers.remove(&self.id) else { return };
        state.telling += 1;
        let closing = state.closing;
        if !worker.was_up() && !closing {
            state.bump_back_off(worker.kind(), Instant::now());
        }
        drop(state);
        self.shared.announce();
        let obituary = Obituary::of(
            self.id,
            self.pid,
            worker,
            status,
            self.shared.settings.memory_limit_bytes,
            self.tail.finish(),
        );
        obituary.tell(&self.shared, closing);
        self.shared.told();
    }
}

impl Worker {
    /// Whether the process may speak of this run.
    fn knows(&self, run: RunId) -> bool {
        self.runs.get(&run).is_some_and(|held| held.place != Place::Queued)
    }

    /// Retires it when it has done enough or grown too much; it leaves after its last run.
    fn note_age(&mut self, resident: Option<u64>, runs_max: u32, growth_max: u64) {
        if let Some(resident) = resident {
            let first = *self.memory_first.get_or_insert(resident);
            self.retiring |= resident.saturating_sub(first) > growth_max;
        }
        self.retiring |= self.runs_done + 1 >= runs_max;
    }
}

/// What is left of a process.
struct Obituary {
    id: WorkerId,
    pid: u32,
    worker: Worker,
    /// `None` where it left as asked.
    how: Option<Death>,
    cause_run: Option<RunId>,
    stderr_tail: String,
}

impl Obituary {
    fn of(
        id: WorkerId,
        pid: Pid,
        mut worker: Worker,
        status: io::Result<ExitStatus>,
        memory_limit: u64,
        stderr_tail: String,
    ) -> Self {
        let (how, cause_run) = match worker.killed.take() {
            Some((how, cause_run)) => (Some(how), cause_run),
            None => (natural_death(&worker, status, memory_limit), None),
        };
        Obituary { id, pid: pid_number(pid), worker, how, cause_run, stderr_tail }
    }

    fn tell(self, shared: &Arc<Shared>, closing: bool) {
        let Obituary { id, pid, mut worker, how, cause_run, stderr_tail } = self;
        let runs = std::mem::take(&mut worker.runs);
        if !worker.was_up() {
            let what = match &how {
                Some(Death::Hang) => "said no hello in time".to_owned(),
                Some(how) => how.to_string(),
                None => "left".to_owned(),
            };
            let said = if stderr_tail.is_empty() { String::new() } else { format!("; it said: {stderr_tail}") };
            let message = format!("a {} worker {what} before it was ready{said}", worker.role.name());
            for run in runs.into_keys() {
                (shared.notify)(Note::Ended { run, outcome: not_started(&message, closing), worker: None });
            }
            return;
        }
        let (lost, unreached): (Vec<_>, Vec<_>) = runs.into_iter().partition(|(_, held)| reached(held));
        if !lost.is_empty() {
            let runs = lost.into_iter().map(|(run, _)| run).collect();
            let how = how.clone().unwrap_or(Death::SilentExit);
            (shared.notify)(Note::Lost { worker: id, runs, how, cause_run, stderr_tail: stderr_tail.clone() });
        }
        (shared.notify)(Note::Down { worker: id, role: worker.role, pid, model: worker.model, how, stderr_tail });
        for (_, held) in unreached {
            shared.start(held.order, held.missed + 1);
        }
    }
}

/// A run told to stop on its way counts as there, even if it isn't: it must not start elsewhere.
fn reached(held: &Run) -> bool {
    held.place == Place::Sent || held.stop.is_some()
}

fn natural_death(worker: &Worker, status: io::Result<ExitStatus>, memory_limit: u64) -> Option<Death> {
    let asked = matches!(worker.phase, Phase::Leaving { .. }) && !worker.runs.values().any(reached);
    // Reaped by somebody else, which nothing in the daemon does: nothing is known of its end.
    let Ok(status) = status else { return Some(Death::Hang) };
    match (status.signal(), status.code()) {
        (Some(signal), _) => Some(Death::Signal(signal)),
        (None, Some(EXIT_OUT_OF_MEMORY)) => Some(Death::Memory { limit: memory_limit }),
        (None, Some(0)) if asked => None,
        (None, Some(0)) => Some(Death::SilentExit),
        (None, code) => Some(Death::Exit(code.unwrap_or(-1))),
    }
}
