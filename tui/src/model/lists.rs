//! The lists of batches and jobs: their order, what of them fits the search, and what is chosen. Asks nobody.

use std::borrow::Cow;
use std::cmp::Reverse;

use spindle_shared::batch::{BatchState, BatchView};
use spindle_shared::event::{Event, Fact};
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::{Input, JobState, JobView, PathBytes};
use spindle_shared::snapshot::Snapshot;
use spindle_shared::text::escaped;

use super::{Model, Sort, View};
use crate::causes;
use crate::feed::JOBS_WINDOW;
use crate::spent::Spent;

/// Ended batches kept; the oldest go first.
pub(super) const ENDED_MAX: usize = 1_000;

impl Model {
    /// What is open in the order in which it will go on, then what has ended, the newest end first; of these what fits the search.
    pub fn batches(&self) -> Vec<&BatchView> {
        let words = self.batch_filter.words();
        let mut batches: Vec<_> =
            self.snapshot.batches.values().filter(|batch| words.fit(|| texts_of_batch(batch))).collect();
        let newest = |batch: &BatchView| Reverse(batch.id);
        match self.sort {
            Sort::Course => batches.sort_by_key(|batch| course(batch)),
            Sort::Newest => batches.sort_by_key(|batch| newest(batch)),
            Sort::Name => batches.sort_by_cached_key(|batch| {
                (batch.name.as_deref().unwrap_or(&batch.recipe).to_lowercase(), newest(batch))
            }),
            Sort::Recipe => batches
                .sort_by(|one, other| one.recipe.cmp(&other.recipe).then_with(|| newest(one).cmp(&newest(other)))),
            Sort::Progress => {
                batches.sort_by(|one, other| {
                    other.progress.total_cmp(&one.progress).then_with(|| newest(one).cmp(&newest(other)))
                });
            }
            Sort::Failed => batches.sort_by_key(|batch| (Reverse(batch.counts.failed), newest(batch))),
        }
        batches
    }

    pub fn chosen_batch(&self) -> Option<&BatchView> {
        self.snapshot.batches.get(&self.batch?)
    }

    pub fn chosen_job(&self) -> Option<&JobView> {
        self.window.jobs.get(&self.job?)
    }

    /// The chosen batch's jobs that are known: at work, failed, then the others, each in input order; of these what fits the search.
    pub fn jobs(&self) -> Vec<&JobView> {
        let words = self.job_filter.words();
        let mut jobs: Vec<_> = self.known_jobs().filter(|job| words.fit(|| texts_of_job(job))).collect();
        jobs.sort_by_key(|job| rank(job.state));
        jobs
    }

    /// All batches' jobs at work: those that a worker has first, then those that wait between two stages.
    pub fn jobs_at_work(&self) -> Vec<&JobView> {
        let mut jobs: Vec<_> = self.at_work.value.values().flatten().collect();
        jobs.sort_by_key(|job| (job.worker.is_none(), job.state == JobState::Retrying));
        jobs
    }

    /// What model APIs have cost the chosen batch; `None` = nothing, or not all of its jobs are known here.
    pub fn spent(&self) -> Option<Spent> {
        let total = self.chosen_batch()?.counts.total() as usize;
        let all = self.known_jobs().filter(|job| !job.id.is_gather()).count() == total;
        if all { Spent::of(self.known_jobs()) } else { None }
    }

    /// Without regard to the search.
    pub fn known_jobs(&self) -> impl Iterator<Item = &JobView> {
        let batch = self.batch.unwrap_or(BatchId(0));
        let all = JobId { batch, index: 0 }..=JobId { batch, index: u32::MAX };
        self.window.jobs.range(all).map(|(_, job)| job)
    }

    pub(super) fn event(&mut self, event: &Event) {
        let before = self.chosen_batch().map(|batch| batch.state);
        self.snapshot.apply(event);
        match &event.fact {
            Fact::Batch(batch) => {
                if Some(batch.id) == self.batch && before != Some(batch.state) {
                    // Of many jobs that change at once not every one is told.
                    self.outdated |= batch.counts.total() > JOBS_WINDOW;
                }
                if batch.state.is_terminal() {
                    self.forget_batches();
                }
            }
            Fact::Alert(text) => self.say(escaped(text), true),
            _ => {}
        }
    }

    pub(super) fn forget_batches(&mut self) {
        let ended = self.snapshot.batches.values().filter(|batch| batch.state.is_terminal());
        let mut ended: Vec<_> = ended.map(|batch| (batch.finished_at, batch.id)).collect();
        ended.sort_unstable_by_key(|ended| Reverse(*ended));
        for (_, id) in ended.into_iter().skip(ENDED_MAX).filter(|(_, id)| Some(*id) != self.batch) {
            self.snapshot.batches.remove(&id);
        }
    }

    /// Something is chosen where there is something to choose.
    pub(super) fn choose(&mut self) {
        let words = self.batch_filter.words();
        let stays =
            |batch: &BatchView| words.fit(|| texts_of_batch(batch)) && (self.moved || !batch.state.is_terminal());
        if !self.chosen_batch().is_some_and(stays) {
            // Nobody is there yet, or what was shown has ended unlooked at.
            self.go_to(self.batches().first().map(|batch| batch.id));
        }
        // Until somebody goes to the jobs none is chosen: what is at work stays in sight.
        let words = self.job_filter.words();
        if self.view != View::Batch {
            self.job = None;
        } else if self.landing.is_none() && !self.chosen_job().is_some_and(|job| words.fit(|| texts_of_job(job))) {
            self.job = self.jobs().first().map(|job| job.id);
        }
    }

    pub(super) fn go_to(&mut self, batch: Option<BatchId>) {
        if batch == self.batch {
            return;
        }
        (self.batch, self.job) = (batch, None);
        self.marked_jobs.clear();
        (self.window, self.asked) = (Snapshot::default(), None);
        (self.arrived, self.landing, self.searching) = (false, None, false);
        self.from = self.front();
    }

    pub(super) fn step(&mut self, to: impl Fn(usize, usize) -> usize) {
        match self.view {
            View::Batches => {
                let ids: Vec<_> = self.batches().iter().map(|batch| batch.id).collect();
                let at = ids.iter().position(|id| Some(*id) == self.batch).unwrap_or(0);
                self.go_to(ids.get(to(at, ids.len().saturating_sub(1))).copied());
            }
            View::Batch => {
                let ids: Vec<_> = self.jobs().iter().map(|job| job.id).collect();
                let at = ids.iter().position(|id| Some(*id) == self.job).unwrap_or(0);
                let next = to(at, ids.len().saturating_sub(1));
                self.job = ids.get(next).copied();
                if next == at && self.landing.is_none() {
                    let on = to(1, 2) > 1;
                    self.searching = self.move_window(on) && on && !self.job_filter.is_empty();
                }
            }
            View::Results => {
                let last = self.results.value.shown().len().saturating_sub(1);
                self.results.value.at = to(self.results.value.at.min(last), last).min(last);
                self.want_pictures();
            }
            view => {
                let last = self.row_count(view).saturating_sub(1);
                let row = &mut self.rows[view as usize];
                *row = to((*row).min(last), last);
            }
        }
    }

    pub(super) fn row_count(&self, view: View) -> usize {
        match view {
            View::Failures => causes::rows(&self.failures.value).len(),
            View::Workers => self.workers.value.len(),
            View::Overview => self.jobs_at_work().len(),
            View::History => crate::view::history_rows(self),
            View::Batches | View::Batch | View::Results => 0,
        }
    }
}

/// What goes on first, and then what has ended last.
pub fn course(batch: &BatchView) -> (u8, u64, u64) {
    match batch.state {
        BatchState::Running | BatchState::Cancelling => (0, u64::from(batch.priority.0), batch.id.0),
        BatchState::Pending => (1, u64::from(batch.priority.0), batch.id.0),
        BatchState::Paused => (2, u64::from(batch.priority.0), batch.id.0),
        BatchState::Completed | BatchState::Partial | BatchState::Failed | BatchState::Cancelled => {
            (3, u64::MAX - batch.finished_at.unwrap_or_default().0, u64::MAX - batch.id.0)
        }
    }
}

/// The order of a batch's jobs on the screen.
pub(super) fn rank(state: JobState) -> u8 {
    match state {
        JobState::Running => 0,
        JobState::Retrying => 1,
        JobState::Failed => 2,
        JobState::Pending => 3,
        JobState::Completed | JobState::Skipped | JobState::Cancelled => 4,
    }
}

pub(super) fn texts_of_batch(batch: &BatchView) -> Vec<Cow<'_, str>> {
    let tags = batch.tags.iter().map(|(key, value)| format!("{key}={value}").into());
    [batch.id.to_string().into(), batch.recipe.as_str().into(), batch.state.name().into()]
        .into_iter()
        .chain(batch.name.as_deref().map(Cow::from))
        .chain(tags)
        .collect()
}

pub(super) fn texts_of_job(job: &JobView) -> Vec<Cow<'_, str>> {
    vec![job.id.to_string().into(), job.state.name().into(), file_name(job).into()]
}

/// The last part of the input's path: folders are alike, names differ.
pub fn file_name(job: &JobView) -> String {
    match &job.input {
        Some(Input::File { path, .. }) => match path.as_path().file_name() {
            Some(name) => PathBytes::from(name).to_string(),
            None => path.to_string(),
        },
        Some(Input::Url(url)) => PathBytes(url.file_name().into_bytes()).to_string(),
        Some(input) => input.to_string(),
        None => String::new(),
    }
}
