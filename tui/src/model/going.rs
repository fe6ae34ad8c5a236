//! Keys that only change what is looked at: from view to view, marks, order, colours, the way back. Asks for nothing to be done.

use spindle_shared::batch::BatchView;
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::JobState;

use super::{Cover, Model, View};
use crate::causes::Row;
use crate::feed::JOBS_WINDOW;
use crate::keys::Action;

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
            View::Overview => {
                let at = self.rows[View::Overview as usize].min(self.row_count(View::Overview).saturating_sub(1));
                match self.jobs_at_work().get(at).map(|job| job.id) {
                    Some(job) => self.go_to_job(job),
                    None => self.say(self.look.t("nothing is at work").to_owned(), false),
                }
            }
            View::Results | View::Workers | View::History => {}
        }
    }

    /// Into its batch, with the job chosen; its window is asked for where it isn't here.
    fn go_to_job(&mut self, job: JobId) {
        self.go_to(Some(job.batch));
        self.go(View::Batch);
        self.job_filter.clear();
        if self.known_jobs().any(|known| known.id == job) {
            self.job = Some(job);
        } else {
            let total = self.chosen_batch().map_or(0, |batch| batch.counts.total());
            let last = total.saturating_sub(JOBS_WINDOW - 1).max(1);
            self.from = if self.is_inside(job.index) { self.from } else { job.index.clamp(1, last) };
            (self.landing, self.outdated) = (Some(job.index), true);
        }
    }

    /// Whether the key line needs to offer this: what would only say that it can't be done has no room there.
    pub fn is_of_use(&self, action: Action) -> bool {
        if self.view == View::Failures && self.failures.value.is_empty() {
            let of_failures =
                [Action::Open, Action::Retry, Action::RetryAll, Action::Copy, Action::Save, Action::Explain];
            return !of_failures.contains(&action);
        }
        let some_marked = match self.view {
            View::Batches => !self.marked_batches.is_empty(),
            View::Batch => !self.marked_jobs.is_empty(),
            _ => false,
        };
        let Some(batch) = self.chosen_batch().filter(|_| !some_marked) else { return true };
        let (counts, ended) = (&batch.counts, batch.state.is_terminal());
        match action {
            Action::Cancel | Action::PauseOrResume | Action::Sooner
                if matches!(self.view, View::Batches | View::Batch) =>
            {
                !ended
            }
            Action::Retry if matches!(self.view, View::Batches | View::Batch) => counts.failed + counts.cancelled > 0,
            Action::Export => ended,
            Action::Results => has_results(batch),
            _ => true,
        }
    }

    /// One thing after another: the search, the marks, the way back.
    pub(super) fn back(&mut self) {
        let listed = matches!(self.view, View::Batches | View::Batch);
        if self.finding || self.searching || (listed && !self.filter().is_empty()) {
            (self.finding, self.searching) = (false, false);
            self.filter().clear();
        } else if self.view == View::Batches && !self.marked_batches.is_empty() {
            self.marked_batches.clear();
        } else if self.view == View::Batch && !self.marked_jobs.is_empty() {
            self.marked_jobs.clear();
        } else if self.view == View::Results && !self.results.value.marked.is_empty() {
            self.results.value.marked.clear();
        } else {
            self.go(match self.view {
                View::Batch => View::Batches,
                View::Results => View::Batch,
                _ => View::Overview,
            });
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
