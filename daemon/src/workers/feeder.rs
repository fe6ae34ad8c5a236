//! A worker's own thread: starts the process, opens files for its runs, sends. May wait for disks and pipes, so that nobody else has to.

use std::io;
use std::os::fd::OwnedFd;
use std::sync::{Arc, PoisonError, mpsc};
use std::time::{Duration, Instant};

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{RunId, WorkerId};
use spindle_shared::limits::DESCRIPTORS_PER_MESSAGE_MAX;
use spindle_shared::worker::{Assignment, Order, Outcome};

use super::channel::{Channel, SendError};
use super::note::{Death, Note, Why};
use super::open::{self, Refused};
use super::order::StartOrder;
use super::receiver;
use super::state::{Feed, Kind, Phase, Place};
use super::supervisor::Shared;

/// Runs until the worker is gone.
pub fn feed(shared: &Arc<Shared>, id: WorkerId, inbox: mpsc::Receiver<Feed>) {
    let Some((kind, after)) = shared.lock().workers.get(&id).map(|w| (w.kind(), w.after.clone())) else { return };
    let channel = match bring_up(shared, id, kind, &after) {
        Ok(Some(channel)) => channel,
        // It ended before it was ready; the receiver has told.
        Ok(None) => return,
        Err(e) => return give_up(shared, id, kind, &format!("failed to start a {} worker: {e}", kind.0.name())),
    };
    for wish in inbox {
        match wish {
            Feed::Start(run) => start(shared, id, &channel, run),
            // If it doesn't get there the process is gone or its time runs out: both are seen elsewhere.
            Feed::Cancel(run) => drop(channel.send(&Order::Cancel(run), &[])),
            Feed::Leave => drop(channel.send(&Order::Leave, &[])),
        }
    }
}

/// The channel of a process that has said Hello; `None` if it ended before.
fn bring_up(shared: &Arc<Shared>, id: WorkerId, kind: Kind, after: &[WorkerId]) -> io::Result<Option<Arc<Channel>>> {
    await_turn(shared, kind, after);
    if shared.lock().closing {
        return Err(io::Error::other("the daemon stops"));
    }
    let process = shared.spawn(kind)?;
    let pid = process.pid;
    let (ready, is_ready) = mpsc::channel();
    let channel = receiver::attach(shared, id, process, ready)?;
    {
        let mut state = shared.lock();
        let closing = state.closing;
        if let Some(worker) = state.workers.get_mut(&id) {
            if let Phase::Starting { until } = &mut worker.phase {
                *until = Instant::now().checked_add(Duration::from_millis(shared.settings.hello_ms));
            }
            debug_assert!(worker.pid.is_none_or(|known| known == pid));
            if closing {
                worker.kill(Death::Killed(Why::Shutdown), None);
            }
        }
    }
    shared.announce();
    Ok(is_ready.recv().ok().map(|()| channel))
}

/// Waits for those that must leave first, and for the end of a back-off.
fn await_turn(shared: &Shared, kind: Kind, after: &[WorkerId]) {
    let mut state = shared.lock();
    loop {
        let now = Instant::now();
        let not_before = state.back_off.get(&kind).map(|back_off| back_off.until).filter(|until| *until > now);
        let blocked = after.iter().any(|other| state.workers.contains_key(other));
        state = match (state.closing, blocked, not_before) {
            (true, ..) | (false, false, None) => return,
            (false, true, _) => shared.changed.wait(state).unwrap_or_else(PoisonError::into_inner),
            (false, false, Some(until)) => {
                let wait = until.saturating_duration_since(now);
                shared.changed.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0
            }
        };
    }
}

/// There is no process and there will be none: all its runs end.
fn give_up(shared: &Shared, id: WorkerId, kind: Kind, message: &str) {
    let mut state = shared.lock();
    let Some(worker) = state.workers.remove(&id) else { return };
    let closing = state.closing;
    if !closing {
        state.bump_back_off(kind, Instant::now());
    }
    for run in worker.runs.into_keys() {
        state.end_unsent(run, not_started(message, closing));
    }
    drop(state);
    shared.announce();
}

/// How a run ends whose worker never got ready.
pub(super) fn not_started(message: &str, closing: bool) -> Outcome {
    if closing {
        return Outcome::Stopped;
    }
    let failure = Failure::new(FailureKind::Crash, message)
        .advise("run `spindlectl doctor`: the worker program may be missing, damaged or of another version");
    Outcome::Failed(failure)
}

/// Opens what the run reads, and sends it off.
fn start(shared: &Arc<Shared>, id: WorkerId, channel: &Channel, run: RunId) {
    // A run stopped in the meantime has been told already.
    let Some(order) = order_of(shared, id, run) else { return };
    let opened = match open::open_all(&order.open) {
        Ok(opened) => opened,
        Err(Refused::Failed(failure)) => return end(shared, id, run, failure),
        Err(Refused::Changed(identity)) => {
            if forget(shared, id, run) {
                shared.tell_counted(Note::Changed { run, identity });
            }
            return;
        }
    };
    if !place(shared, id, run, Place::Queued, Place::Sending) {
        return;
    }
    let mut assignment = order.assignment.clone();
    let (named, named_files) = open::open_named(&assignment).into_iter().unzip();
    assignment.named = named;
    let (files, absent): (Vec<OwnedFd>, Vec<Option<String>>) = opened.into_iter().unzip();
    for (input, absent) in assignment.inputs.iter_mut().zip(absent) {
        input.absent = absent;
    }
    match assign(channel, &assignment, named_files, files) {
        Ok(()) => settle(shared, id, run, Place::Sent),
        // Its end is seen by the receiver, which starts the run elsewhere.
        Err(SendError::Gone) => settle(shared, id, run, Place::Queued),
        Err(e) => {
            // Should it wait for the rest of its inputs, it waits no more.
            let _ = channel.send(&Order::Cancel(run), &[]);
            let message = format!("failed to hand {} over: {e}", order.assignment.stage.name());
            end(shared, id, run, Failure::new(FailureKind::Internal, message));
        }
    }
}

/// An assignment with its files, in as many packets as that takes.
fn assign(
    channel: &Channel,
    assignment: &Assignment,
    mut named: Vec<OwnedFd>,
    mut files: Vec<OwnedFd>,
) -> Result<(), SendError> {
    let first = files.len().min(DESCRIPTORS_PER_MESSAGE_MAX.saturating_sub(named.len()));
    let (inputs, more) = assignment.inputs.split_at(first.min(assignment.inputs.len()));
    let more_inputs = u32::try_from(more.len()).unwrap_or(u32::MAX);
    let order = Assignment { inputs: inputs.to_vec(), more_inputs, ..assignment.clone() };
    let rest = files.split_off(first);
    named.append(&mut files);
    channel.send(&Order::Assign(Box::new(order)), &named)?;
    let chunks = more.chunks(DESCRIPTORS_PER_MESSAGE_MAX).zip(rest.chunks(DESCRIPTORS_PER_MESSAGE_MAX));
    for (inputs, files) in chunks {
        channel.send(&Order::Inputs { run: assignment.run, inputs: inputs.to_vec() }, files)?;
    }
    Ok(())
}

fn order_of(shared: &Shared, id: WorkerId, run: RunId) -> Option<Arc<StartOrder>> {
    Some(Arc::clone(&shared.lock().workers.get(&id)?.runs.get(&run)?.order))
}

/// Moves a run that is still there on; its time counts from now.
fn place(shared: &Shared, id: WorkerId, run: RunId, from: Place, to: Place) -> bool {
    let mut state = shared.lock();
    let held = state.workers.get_mut(&id).and_then(|worker| worker.runs.get_mut(&run));
    let Some(held) = held.filter(|held| held.place == from) else { return false };
    held.place = to;
    held.deadline = Instant::now().checked_add(Duration::from_millis(held.order.timeout_ms));
    let due = held.deadline;
    shared.went_on(state, due);
    true
}

/// Says whether a run on its way has got there, for which the receiver waits where the process has ended.
fn settle(shared: &Shared, id: WorkerId, run: RunId, to: Place) {
    place(shared, id, run, Place::Sending, to);
    shared.changed.notify_all();
}

/// Ends a run that did not reach the worker, unless that has been told already.
fn end(shared: &Shared, id: WorkerId, run: RunId, failure: Failure) {
    if forget(shared, id, run) {
        shared.tell_counted(Note::Ended { run, outcome: Outcome::Failed(failure), worker: None });
    }
}

/// Takes a run out of the books; where it was there, exactly one note has to be told with `tell_counted`.
fn forget(shared: &Shared, id: WorkerId, run: RunId) -> bool {
    let mut state = shared.lock();
    let held = state.workers.get_mut(&id).and_then(|worker| worker.forget_run(run, Instant::now()));
    state.telling += usize::from(held.is_some());
    drop(state);
    shared.announce();
    held.is_some()
}
