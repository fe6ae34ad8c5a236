//! The window of a batch's jobs that is watched: where it begins, what is heard of it, and how a search goes through all of them.

use std::ops::RangeInclusive;

use spindle_shared::event::Fact;
use spindle_shared::id::JobId;
use spindle_shared::job::{JobState, JobView};
use spindle_shared::text::escaped;
use spindle_shared::wire::request::{Request, Scope};

use super::{Link, Model};
use crate::feed::JOBS_WINDOW;
use crate::message::News;

/// Jobs kept beside the window: those at work, and failed ones.
pub(super) const ELSEWHERE_MAX: usize = 1_000;

impl Model {
    /// Indices of the jobs that are shown whatever their state; `None` = all are.
    pub fn window(&self) -> Option<RangeInclusive<u32>> {
        let total = self.chosen_batch()?.counts.total();
        (total > JOBS_WINDOW).then(|| self.from..=total.min(self.from.saturating_add(JOBS_WINDOW - 1)))
    }

    pub(super) fn hear(&mut self, news: News) {
        match news {
            News::Snapshot(snapshot) => {
                self.window = *snapshot;
                self.arrived = true;
                if let (Some(batch), Some(index)) = (self.batch, self.landing.take()) {
                    self.job = Some(JobId { batch, index });
                }
            }
            News::Jobs(jobs) => self.window.jobs.extend(jobs.into_iter().map(|job| (job.id, job))),
            News::Event(event) => {
                self.window.apply(&event);
                if let Fact::Job(job) = &event.fact {
                    self.forget_job(job);
                }
            }
            News::Refused(why) => self.say(format!("its jobs can't be shown: {}", escaped(&why)), true),
        }
    }

    pub(super) fn is_inside(&self, index: u32) -> bool {
        index.checked_sub(self.from).is_some_and(|at| at < JOBS_WINDOW)
    }

    /// Beside the window only what is at work or has failed is shown.
    pub(super) fn forget_job(&mut self, job: &JobView) {
        let stays = matches!(job.state, JobState::Running | JobState::Retrying | JobState::Failed);
        if !stays && !self.is_inside(job.id.index) {
            self.window.jobs.remove(&job.id);
        }
        if self.window.jobs.len() > JOBS_WINDOW as usize + ELSEWHERE_MAX {
            let mut jobs = std::mem::take(&mut self.window.jobs);
            let mut surplus = ELSEWHERE_MAX / 2;
            jobs.retain(|id, job| {
                let goes = surplus > 0 && job.state != JobState::Running && !self.is_inside(id.index);
                surplus -= usize::from(goes);
                !goes
            });
            self.window.jobs = jobs;
        }
    }

    /// Where the window begins that has in it what comes next, if the jobs go in input order.
    pub(super) fn front(&self) -> u32 {
        let Some(counts) = self.chosen_batch().map(|batch| batch.counts) else { return 1 };
        let last = counts.total().saturating_sub(JOBS_WINDOW - 1).max(1);
        if counts.all_ended() { 1 } else { counts.ended().saturating_sub(JOBS_WINDOW / 4).clamp(1, last) }
    }

    pub(super) fn wanted_window(&mut self) -> Option<Request> {
        let batch = self.batch?;
        let ahead = self.front();
        if self.job.is_none() && self.landing.is_none() && ahead >= self.from.saturating_add(JOBS_WINDOW / 2) {
            // Nobody looks at a job of it: the window goes with the work.
            self.from = ahead;
        }
        let scope = Scope::Window { batch, from: self.from, len: JOBS_WINDOW };
        if matches!(self.link, Link::Connecting | Link::Lost(_))
            || (self.asked.as_ref() == Some(&scope) && !self.outdated)
        {
            return None;
        }
        self.outdated = false;
        self.asked = Some(scope.clone());
        Some(Request::Watch { scope, jobs: 0 })
    }

    /// Beyond the last row the next window begins, and beyond the first the one before. `false` = there is none.
    pub(super) fn move_window(&mut self, on: bool) -> bool {
        let Some(total) = self.chosen_batch().map(|batch| batch.counts.total()) else { return false };
        let last = total.saturating_sub(JOBS_WINDOW - 1).max(1);
        let from = if on { self.from.saturating_add(JOBS_WINDOW) } else { self.from.saturating_sub(JOBS_WINDOW) };
        let from = from.clamp(1, last);
        if from == self.from {
            return false;
        }
        self.landing = Some(if on { (self.from + JOBS_WINDOW).max(from) } else { self.from - 1 });
        self.from = from;
        self.arrived = false;
        true
    }

    /// What is looked for may stand in another window.
    pub(super) fn search_on(&mut self) {
        let whole = self.arrived
            && self.window().is_none_or(|window| {
                let known = self.known_jobs().filter(|job| window.contains(&job.id.index)).count();
                known == window.count()
            });
        if !self.searching || !whole {
            return;
        }
        self.searching = self.jobs().is_empty() && self.move_window(true);
        if !self.searching && self.jobs().is_empty() {
            self.say(self.look.t("no job has these words").to_owned(), true);
        }
    }
}
