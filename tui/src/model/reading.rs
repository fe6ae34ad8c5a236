//! What no watch tells and is asked for again and again while it is looked at, and what the answers change. Knows no key.

use std::time::{Duration, Instant};

use spindle_shared::batch::BatchView;
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::{JobState, JobView};
use spindle_shared::text::escaped;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::Response;

use super::{Model, Read, View};
use crate::errand::Errand;
use crate::results::Results;
use crate::{causes, results};

/// Between two questions for what no watch tells.
pub(super) const EVERY: Duration = Duration::from_secs(1);
/// Batches whose jobs at work are asked for.
pub(super) const RUNNING_MAX: usize = 8;
/// Jobs at work of one batch.
pub(super) const AT_WORK_MAX: u32 = 64;
/// Failed jobs, from the newest batch on.
pub(super) const FAILURES_MAX: u32 = 2_000;
/// Completed jobs whose files are shown.
pub(super) const RESULTS_MAX: u32 = 500;

impl Model {
    /// Asks for what the view shows and no watch tells.
    pub(super) fn read(&mut self, now: Instant) {
        let ask = |errands: &mut Vec<Errand>, request| errands.push(Errand::Ask(request));
        match self.view {
            View::Overview | View::Workers => {
                if self.workers.is_due(now, EVERY, 1) {
                    ask(&mut self.errands, Request::Workers);
                }
                let running = |batch: &&BatchView| batch.counts.running + batch.counts.retrying > 0;
                let running: Vec<BatchId> =
                    self.snapshot.batches.values().filter(running).map(|batch| batch.id).take(RUNNING_MAX).collect();
                self.at_work.value.retain(|batch, _| running.contains(batch));
                if self.at_work.is_due(now, EVERY, running.len()) {
                    for batch in running {
                        let states = vec![JobState::Running, JobState::Retrying];
                        ask(&mut self.errands, Request::Jobs { batch, states, from: 1, limit: AT_WORK_MAX });
                    }
                }
            }
            View::Failures => {
                if self.failures.is_due(now, 3 * EVERY, 1) {
                    ask(&mut self.errands, Request::Failures { limit: FAILURES_MAX });
                }
            }
            View::Results => {
                let Some((batch, gathers)) = self.chosen_batch().map(|batch| (batch.id, batch.gather.is_some())) else {
                    return;
                };
                if self.results_of != Some(batch) {
                    self.results_of = Some(batch);
                    self.results = Read::default();
                }
                if self.results.is_due(now, 3 * EVERY, 1 + usize::from(gathers)) {
                    let states = vec![JobState::Completed];
                    ask(&mut self.errands, Request::Jobs { batch, states, from: 1, limit: RESULTS_MAX });
                    if gathers {
                        ask(&mut self.errands, Request::Job(JobId::gather(batch)));
                    }
                }
            }
            View::History => {
                let days = self.days();
                if self.history.is_due(now, 60 * EVERY, days.len()) {
                    for (since, _) in days {
                        ask(&mut self.errands, Request::Stats { since });
                    }
                }
            }
            View::Batches | View::Batch => {}
        }
    }

    pub(super) fn answered(&mut self, request: &Request, result: Result<Vec<Response>, String>) {
        let now = self.now;
        match request {
            Request::Workers => {
                self.workers.told(now);
                let Ok(responses) = result else { return };
                let told = responses.into_iter().filter_map(|response| match response {
                    Response::Workers(workers) => Some(workers),
                    _ => None,
                });
                self.workers.value = told.flatten().collect();
            }
            Request::Jobs { batch, states, .. } if states.contains(&JobState::Running) => {
                self.at_work.told(now);
                self.at_work.value.insert(*batch, jobs_of(result));
            }
            Request::Jobs { batch, .. } => self.made(*batch, jobs_of(result), false),
            Request::Job(id) => self.made(id.batch, jobs_of(result), true),
            Request::Failures { .. } => {
                self.failures.told(now);
                if result.is_ok() {
                    self.failed(jobs_of(result));
                }
            }
            Request::Stats { since } => {
                self.history.told(now);
                let told = result.ok().into_iter().flatten().find_map(|response| match response {
                    Response::Stats(stats) => Some(*stats),
                    _ => None,
                });
                self.history.value.extend(told.map(|stats| (*since, stats)));
                let days = self.days();
                self.history.value.retain(|known, _| days.iter().any(|(day, _)| day == known));
            }
            Request::Explain(target) => {
                self.under_way = self.under_way.saturating_sub(1);
                match result {
                    Ok(responses) => self.explained(*target, responses),
                    Err(why) => self.say(escaped(&why), true),
                }
            }
            _ => self.acted(request, result),
        }
    }

    /// Jobs that have completed; or the one that gathers.
    pub(super) fn made(&mut self, batch: BatchId, jobs: Vec<JobView>, gather: bool) {
        if self.results_of != Some(batch) {
            return;
        }
        self.results.told(self.now);
        let Results { items, at, .. } = &mut self.results.value;
        let chosen = items.get(*at).map(|item| item.path.clone());
        items.retain(|item| item.job.is_gather() != gather);
        items.extend(results::items(&jobs));
        // What was gathered comes first: it is what the batch was for.
        items.sort_by_key(|item| item.job);
        if let Some(found) = items.iter().position(|item| Some(&item.path) == chosen.as_ref()) {
            *at = found;
        }
        self.bound_result();
        self.land_on_result();
    }

    /// Who came from a job sees what that job has made.
    pub(super) fn land_on_result(&mut self) {
        let Some(job) = self.result_of else { return };
        if let Some(at) = self.results.value.shown().iter().position(|item| item.job == job) {
            self.results.value.at = at;
            self.result_of = None;
        }
    }

    pub(super) fn bound_result(&mut self) {
        let last = self.results.value.shown().len().saturating_sub(1);
        self.results.value.at = self.results.value.at.min(last);
    }

    pub(super) fn failed(&mut self, jobs: Vec<JobView>) {
        let open: Vec<_> = self
            .failures
            .value
            .iter()
            .filter(|cause| cause.open)
            .map(|cause| (cause.kind, cause.shape.clone()))
            .collect();
        let mut causes = causes::grouped(jobs);
        for cause in &mut causes {
            cause.open = open.iter().any(|(kind, shape)| *kind == cause.kind && *shape == cause.shape);
        }
        self.failures.value = causes;
    }
}

pub(super) fn jobs_of(result: Result<Vec<Response>, String>) -> Vec<JobView> {
    let told = result.unwrap_or_default().into_iter().filter_map(|response| match response {
        Response::Jobs(jobs) => Some(jobs),
        _ => None,
    });
    told.flatten().collect()
}
