//! Terms: what a batch waits for before its first job, and when it gives the rest up.

use spindle_shared::batch::{After, BatchState};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::time::{MonoMs, WallMs};
use spindle_shared::wire::response::{Refusal, RefusalKind};

use super::Scheduler;
use crate::job::Why;

/// The wall clock is looked at again after this long, because it may leap.
pub(super) const CLOCK_MS_MAX: u64 = 60_000;

impl Scheduler {
    /// What a new batch still waits for; a refusal where it would wait for ever. `ended`: how those ended that have.
    pub(super) fn still_awaited(
        &self,
        after: &[After],
        ended: &[(BatchId, BatchState)],
    ) -> Result<Vec<After>, Refusal> {
        let mut awaited = Vec::new();
        for after in after {
            let id = after.batch;
            let end = ended.iter().find(|(of, _)| *of == id).map(|(_, end)| *end).filter(|end| end.is_terminal());
            match end {
                _ if self.batches.contains_key(&id) => awaited.push(*after),
                Some(end) if after.is_met_by(end) => {}
                Some(end) => {
                    let message = format!("batch {id} ended {}, and this one was to wait for its success", end.name());
                    return Err(Refusal::new(RefusalKind::WrongState, message)
                        .hint(format!("`--after-any {id}` takes any end; or `spindlectl retry {id}` first")));
                }
                None => return Err(Refusal::new(RefusalKind::NotFound, format!("there is no batch {id} to wait for"))),
            }
        }
        Ok(awaited)
    }

    /// Puts a batch before its gate: until these have ended, and this time has come.
    pub(super) fn gate(&mut self, id: BatchId, awaited: Vec<After>, at: Option<WallMs>) {
        let at = at.filter(|at| *at > self.now.wall);
        for after in &awaited {
            self.awaited.entry(after.batch).or_default().insert(id);
        }
        if let Some(at) = at {
            self.timed.insert((at, id));
        }
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.awaited = awaited;
            batch.not_before = at;
        }
        self.touch(id);
    }

    /// Takes up the gate of a recovered batch. Where the other's record is gone, somebody who knew its end took it away.
    pub(super) fn resume_gate(&mut self, id: BatchId, ends: &[(BatchId, Option<BatchState>)]) {
        let Some(batch) = self.batches.get(&id) else { return };
        if batch.started_at.is_some() || batch.counts.ended() > batch.counts.skipped {
            // It has passed, or was retried.
            return;
        }
        let terms = batch.spec.terms.clone();
        let (mut awaited, mut unmet) = (Vec::new(), None);
        for after in terms.after {
            match ends.iter().find(|(of, _)| *of == after.batch).and_then(|(_, end)| *end) {
                Some(end) if after.is_met_by(end) => {}
                Some(end) => unmet = Some((after.batch, end)),
                None if self.batches.contains_key(&after.batch) => awaited.push(after),
                None => {}
            }
        }
        self.gate(id, awaited, terms.at);
        if let Some((other, end)) = unmet {
            self.give_up_waiting(id, other, end);
        }
    }

    /// A batch has ended: who waits for it?
    pub(super) fn pass_gates(&mut self, ended: BatchId, end: BatchState) {
        for id in self.awaited.remove(&ended).unwrap_or_default() {
            let Some(batch) = self.batches.get_mut(&id) else { continue };
            let unmet = batch.awaited.iter().any(|after| after.batch == ended && !after.is_met_by(end));
            batch.awaited.retain(|after| after.batch != ended);
            if unmet {
                self.give_up_waiting(id, ended, end);
            }
            self.look_ahead_soon();
            self.touch(id);
        }
    }

    /// Those whose time has come.
    pub(super) fn pass_timed(&mut self) {
        while let Some((at, id)) = self.timed.first().copied().filter(|(at, _)| *at <= self.now.wall) {
            self.timed.remove(&(at, id));
            if let Some(batch) = self.batches.get_mut(&id) {
                batch.not_before = None;
            }
            self.look_ahead_soon();
            self.touch(id);
        }
    }

    /// When the wall clock is to be looked at for the next of them.
    pub(super) fn next_timed(&self) -> Option<MonoMs> {
        let (at, _) = self.timed.first()?;
        let left = at.0.saturating_sub(self.now.wall.0).clamp(1, CLOCK_MS_MAX);
        Some(self.now.mono.plus(left))
    }

    /// What was waited for will not come: every job fails, and says why.
    fn give_up_waiting(&mut self, id: BatchId, other: BatchId, end: BatchState) {
        let message = format!("batch {other}, for whose success it waited, ended {}", end.name());
        let advice = format!("see `spindlectl failures {other}`; `spindlectl retry {id}` does it all the same");
        self.end_fresh_jobs(id, Some(&Failure::new(FailureKind::Cancelled, message).advise(advice)));
    }

    /// After a job has failed: is it enough to give the rest of its batch up?
    pub(super) fn halt_if_due(&mut self, id: BatchId) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        let Some(halt) = batch.spec.terms.halt.filter(|halt| !batch.given_up && halt.is_due(&batch.counts)) else {
            return;
        };
        batch.given_up = true;
        let failed = batch.counts.failed;
        self.alert(format!("batch {id} is given up: {failed} of its jobs have failed"));
        if halt.now {
            self.cancel_waiting(id);
            let active: Vec<JobId> = self.active_of(id);
            self.stop_runs(active, Why::Cancel);
        } else {
            self.end_fresh_jobs(id, None);
            self.cancel_back(id);
        }
        self.dirty.insert(id);
    }
}
