//! Gather: once all inputs of a batch have ended, one job works on the results of those that succeeded.

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, ContentHash, JobId, RunId};
use spindle_shared::job::JobState;

use super::Scheduler;
use crate::batch::Place;
use crate::change::OpenJob;
use crate::effect::Effect;
use crate::job::Step;

impl Scheduler {
    /// Lets those gathers begin whose inputs have all ended.
    pub(super) fn begin_gathers(&mut self) {
        let due = |id: &&BatchId| self.batches.get(id).is_some_and(|batch| batch.gather_is_due());
        let due: Vec<BatchId> = self.dirty.iter().filter(due).copied().collect();
        for id in due {
            let Some(batch) = self.batches.get_mut(&id) else { continue };
            let gather = JobId::gather(id);
            if batch.counts.completed == 0 {
                // The inputs' own failures say why.
                self.end_fresh(gather, JobState::Skipped, None, true);
                continue;
            }
            let job = batch.new_job(gather.index, OpenJob::default());
            batch.activate(gather.index, job);
            self.touch(id);
        }
    }

    /// Asks the store for the results of a batch's inputs; the answer may come much later, as there may be many.
    pub(super) fn look_up_results(&mut self, id: JobId) {
        let look = RunId { boot: self.boot, counter: self.run_counter + 1 };
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        if batch.change(id.index, |job| job.place = Place::Checking(look)).is_none() {
            return;
        }
        self.run_counter += 1;
        self.effects.push(Effect::LookupResults { look, job: id });
        self.touch(id.batch);
    }

    /// What there is to gather is known by its hash, or it is not all there.
    pub(super) fn results_found(&mut self, look: RunId, id: JobId, results: Result<ContentHash, Failure>) {
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        if job.place != Place::Checking(look) {
            return;
        }
        match results {
            Ok(content) => {
                let facts = batch.gather_facts();
                let before = batch.change(id.index, |job| job.facts.replace(facts));
                self.identified(id, content);
                self.want_no_more(before.flatten().unwrap_or_default());
            }
            Err(failure) => self.end_job(id, Step::Fail, Some(failure)),
        }
    }

    /// Whether inputs of this batch may be tried again: not while their results are being gathered.
    pub(super) fn may_retry(&self, id: BatchId) -> bool {
        self.batches.get(&id).is_none_or(|batch| !batch.is_gathering())
    }
}

/// A result that was there when its input ended is gone.
pub fn result_is_gone(index: u32, batch: BatchId) -> Failure {
    Failure::new(
        FailureKind::Internal,
        format!("the result of job {batch}/{index} is no longer in the artifact folder"),
    )
    .advise("submit the batch again with --force: what is still there is not done again")
}
