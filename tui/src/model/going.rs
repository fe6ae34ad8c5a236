//! Keys that only change what is looked at: from view to view, marks, order, colours, the way back. Asks for nothing to be done.

use spindle_shared::batch::BatchView;
use spindle_shared::id::BatchId;
use spindle_shared::job::JobState;

use super::{Cover, Model, View};
use crate::causes::Row;

impl Model {
    pub(super) fn go(&mut self, view: View) {
        let here = self.view == View::Batch || self.view == View::Results;
        self.view = view;
        self.finding = false;
        if view == View::Results && !here && !self.chosen_batch().is_some_and(has_results) {
            // What has something to show is shown.
            let first = self.batches().into_iter().find(|batch| has_results(batch)).map(|batch| batch.id);
            self.go_to(first.or(self.batch));
        }
        // What a view shows is asked for as soon as it is there.
        if let Some(now) = self.now.filter(|_| !self.is_stale()) {
            self.read(now);
        }
        self.want_pictures();
    }

    pub(super) fn open(&mut self) {
        match self.view {
            View::Batches => self.go(View::Batch),
            View::Batch => match self.chosen_job().cloned() {
                Some(job) => self.cover = Some(Cover::Job { job: Box::new(job), scroll: 0 }),
                None => self.say(self.look.t("no job is chosen").to_owned(), true),
            },
            View::Failures => match self.failure_row() {
                Some(Row::Cause(at)) => self.failures.value[at].open ^= true,
                Some(Row::Job(cause, job)) => {
                    let job = Box::new(self.failures.value[cause].jobs[job].clone());
                    self.cover = Some(Cover::Job { job, scroll: 0 });
                }
                None => {}
            },
            View::Results if self.results.value.chosen().is_some() => {
                self.cover = Some(Cover::Zoom { scroll: 0 });
                self.want_text();
                self.want_pictures();
            }
            View::Results | View::Overview | View::Workers | View::History => {}
        }
    }

    /// One thing after another: the search, the marks, the way back.
    pub(super) fn back(&mut self) {
        if self.finding || self.searching || !self.filter().is_empty() {
            (self.finding, self.searching) = (false, false);
            self.filter().clear();
        } else if self.view == View::Batches && !self.marked_batches.is_empty() {
            self.marked_batches.clear();
        } else if self.view == View::Batch && !self.marked_jobs.is_empty() {
            self.marked_jobs.clear();
        } else if self.view == View::Results && !self.results.value.marked.is_empty() {
            self.results.value.marked.clear();
        } else {
            match self.view {
                View::Batch => self.go(View::Batches),
                View::Results => self.go(View::Batch),
                _ => {}
            }
        }
    }

    pub(super) fn mark(&mut self) {
        match self.view {
            View::Batches => {
                if let Some(batch) = self.batch
                    && !self.marked_batches.remove(&batch)
                {
                    self.marked_batches.insert(batch);
                }
                self.step(|at, last| (at + 1).min(last));
            }
            View::Batch => {
                if let Some(job) = self.job
                    && !self.marked_jobs.remove(&job)
                {
                    self.marked_jobs.insert(job);
                }
                self.step(|at, last| (at + 1).min(last));
            }
            View::Results => {
                let path = self.results.value.chosen().map(|item| item.path.clone());
                if let Some(path) = path
                    && !self.results.value.marked.remove(&path)
                {
                    self.results.value.marked.insert(path);
                }
                self.step(|at, last| (at + 1).min(last));
            }
            View::Overview | View::Failures | View::Workers | View::History => {}
        }
    }

    /// The results of another batch that has some.
    pub(super) fn other_batch(&mut self, on: bool) {
        let ids: Vec<BatchId> =
            self.batches().into_iter().filter(|batch| has_results(batch)).map(|batch| batch.id).collect();
        let at = ids.iter().position(|id| Some(*id) == self.batch);
        let next = match (at, on) {
            (None, _) => ids.first(),
            (Some(at), true) => ids.get(at + 1),
            (Some(at), false) => at.checked_sub(1).and_then(|at| ids.get(at)),
        };
        if let Some(next) = next.copied() {
            self.go_to(Some(next));
            self.go(View::Results);
        }
    }
}

pub(super) fn has_results(batch: &BatchView) -> bool {
    batch.counts.completed > 0 || batch.gather == Some(JobState::Completed)
}
