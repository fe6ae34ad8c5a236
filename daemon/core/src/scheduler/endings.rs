//! Endings: of runs, jobs and batches; what each failure costs, and what is written down.

use spindle_shared::event::Fact;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, JobId, RunId};
use spindle_shared::job::{Detail, FileIdentity, JobState, JobView};
use spindle_shared::lane::Lane;
use spindle_shared::stage::Stage;
use spindle_shared::time::WallMs;
use spindle_shared::worker::{Done, Published};

use super::{Scheduler, TOLD_AT_ONCE_MAX};
use crate::batch::{Batch, Facts, Place};
use crate::cache;
use crate::change::{Change, EndedJob, PublishedFile, StoredArtifact};
use crate::effect::{Death, Effect};
use crate::job::{State, Step, Why};
use crate::retry::{Budget, Policy, asked_wait_ms};

/// Why a gather job is skipped.
const NOTHING_TO_GATHER: &str = "no input has a result to gather";
/// A job that waits longer than this gives its place among the batch's parallel jobs up.
const KEEPS_PLACE_MS_MAX: u64 = 10_000;
/// An input that killed its own worker this often is not tried again.
const DEATHS_MAX: u32 = 2;
/// What took longer is worth a record of its own before the job's end.
const WORTH_WRITING_SECONDS: f64 = 1.0;

impl Scheduler {
    /// A stage has ended well.
    /// `figures`: what it has asked of a model API; no part of its artifact, as whoever finds that asks nobody.
    pub(super) fn done(&mut self, id: JobId, run: RunId, mut done: Done, seconds: f64, lane: Lane, figures: Detail) {
        let wall = self.now.wall;
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        debug_assert_eq!(job.state.run(), Some(run));
        let (at, stages) = (job.stage, batch.stages_of(job).to_vec());
        let Some(stage) = stages.get(at) else { return };
        let address = job.facts.as_ref().and_then(|facts| facts.addresses.get(at).copied().flatten());
        let content = match stage {
            Stage::Fetch(_) => cache::fetched_content(&done.files),
            Stage::Identify(_) => done.content,
            _ => None,
        };
        if content.is_none() && matches!(stage, Stage::Identify(_) | Stage::Fetch(_)) {
            self.failed(id, run, Failure::new(FailureKind::Crash, "the worker did not say what the input contains"));
            return;
        }
        self.note_device(id, lane, stage, &mut done.detail);
        if let (Some(identity), Some(content)) = (done.identity, content) {
            self.changes.push(Change::InputKnown(identity, content));
        }
        if let Some(address) = address {
            let artifact = StoredArtifact {
                stage: stage.name().to_owned(),
                files: done.files.clone(),
                detail: done.detail.clone(),
                created_at: wall,
            };
            self.changes.push(Change::ArtifactStored(address, artifact));
            if let Some(wanted) = self.wanted.get_mut(&address) {
                wanted.stored = true;
            }
        }
        let written: u64 = done.files.iter().map(|file| file.bytes).sum();
        self.largest_result = self.largest_result.max(written);
        self.proven(stage, &done);
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        if matches!(stage, Stage::Fetch(_)) {
            batch.resize(id.index, written);
        }
        let Some(job) = batch.job(id.index) else { return };
        let last = at + 1 == stages.len();
        let name = stage.name().to_owned();
        // What the record says of failed tries is no longer so.
        let tried = job.open.failure.is_some() || job.open.alone;
        let changed = batch.change(id.index, |job| {
            job.open.detail.absorb(done.detail);
            job.open.detail.absorb(figures);
            job.open.timings.retain(|(known, _)| *known != name);
            job.open.timings.push((name, seconds));
            job.peak_memory_bytes = job.peak_memory_bytes.max(done.peak_memory_bytes);
            if let Some(facts) = &mut job.facts
                && let Some(slot) = facts.artifacts.get_mut(at)
            {
                *slot = Some(done.files);
            }
            if !last {
                job.open.attempts = 0;
            }
            job.open.failure = None;
            job.limited = 0;
            job.open.alone = false;
            job.open.ready_at = None;
            job.worker = None;
        });
        if changed.is_none() {
            return;
        }
        self.record_outputs(id, done.outputs);
        if last {
            self.end_job(id, Step::Finish, None);
            return;
        }
        if !self.between_stages(id, Step::NextStage) {
            return;
        }
        if tried || seconds >= WORTH_WRITING_SECONDS {
            self.write_open(id);
        }
        match content {
            Some(content) => self.identified(id, content),
            None => self.make_ready(id, at + 1),
        }
    }

    /// These are the job's outputs now, whoever gave them their names.
    pub(super) fn record_outputs(&mut self, id: JobId, outputs: Vec<Published>) {
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        let (parameters, input) = (cache::parameters(batch.stages_of(job)), job.identity);
        for Published { output, content, identity } in &outputs {
            let (content, identity) = (*content, *identity);
            let file = PublishedFile { content, identity, input, parameters, job: id, published_at: self.now.wall };
            self.changes.push(Change::Published(output.path.clone(), file));
        }
        batch.change(id.index, |job| job.outputs.extend(outputs.into_iter().map(|published| published.output)));
    }

    /// A run is over and its job goes on, unless it was to be cancelled: then it ends here. Gives whether it goes on.
    fn between_stages(&mut self, id: JobId, step: Step) -> bool {
        let Some(batch) = self.batches.get_mut(&id.batch) else { return false };
        let Some(Ok(state)) = batch.job(id.index).map(|job| job.state.after(step)) else { return false };
        if state == State::Cancelled {
            self.end_job(id, step, None);
            return false;
        }
        batch.change(id.index, |job| {
            job.state = state;
            job.place = Place::Waiting;
            job.worker = None;
        });
        self.dirty.insert(id.batch);
        true
    }

    pub(super) fn stopped(&mut self, id: JobId, run: RunId) {
        let Some(state) = self.batches.get(&id.batch).and_then(|batch| batch.job(id.index)).map(|job| job.state) else {
            return;
        };
        match state {
            // Nobody wished it: its time was up.
            State::Running { .. } => self.failed(id, run, timeout_failure()),
            _ => self.give_back(id, Step::Stopped, false),
        }
    }

    /// The run cost nothing: it was stopped, or lost through no fault of its own.
    pub(super) fn give_back(&mut self, id: JobId, step: Step, alone: bool) {
        if !self.between_stages(id, step) {
            return;
        }
        if let Some(batch) = self.batches.get_mut(&id.batch) {
            batch.change(id.index, |job| {
                job.open.attempts = job.open.attempts.saturating_sub(1);
                job.open.alone |= alone;
            });
        }
        if alone {
            self.write_open(id);
        }
        self.touch(id.batch);
    }

    /// A try has failed.
    pub(super) fn failed(&mut self, id: JobId, run: RunId, failure: Failure) {
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let retries = batch.spec.retries;
        let Some(job) = batch.job(id.index) else { return };
        if matches!(job.state, State::Stopping { .. }) {
            // It was being stopped anyway; the failure is of the stopping, and costs nothing.
            self.give_back(id, Step::Stopped, false);
            return;
        }
        if self.parked_by(id, &failure) {
            return;
        }
        if failure.kind == FailureKind::OutOfMemory {
            // Its own slot is free already.
            self.refused_memory(self.used_of(Lane::Cpu) + 1);
        }
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        // A service that asks to wait takes no try away, nor does a full disk.
        let limited = matches!(failure.kind, FailureKind::RateLimited | FailureKind::DiskFull);
        let tried = if limited { job.limited + 1 } else { job.open.attempts };
        let wait = match failure.retry_after_ms.filter(|_| limited) {
            Some(asked) => Some(asked_wait_ms(asked, run)),
            None => Policy::of(failure.kind).with_retries(retries).wait_ms(tried, run),
        };
        let Some(wait) = wait else {
            self.end_job(id, Step::Fail, Some(failure));
            return;
        };
        let now = self.now.mono;
        if !limited && !batch.budget.get_or_insert_with(|| Budget::new(now)).take(now) {
            let advice = format!(
                "{} tries of this batch were repeated within an hour, and no more are: mend what makes them fail, then \
                 `spindlectl retry {}`",
                Budget::PER_HOUR,
                id.batch
            );
            self.end_job(id, Step::Fail, Some(failure.advise(advice)));
            return;
        }
        let Some(job) = batch.job(id.index) else { return };
        let Ok(state) = job.state.after(Step::TryAgain) else { return };
        let until = self.now.mono.plus(wait);
        let ready_at = WallMs(self.now.wall.0.saturating_add(wait));
        batch.change(id.index, |job| {
            job.state = state;
            job.place = Place::Delayed { until, keeps: wait <= KEEPS_PLACE_MS_MAX };
            job.open.failure = Some(failure);
            job.open.attempts -= u32::from(limited && job.open.attempts > 0);
            job.limited = if limited { job.limited + 1 } else { 0 };
            job.open.ready_at = Some(ready_at);
            job.worker = None;
        });
        batch.course.delayed_until = batch.course.delayed_until.max(until);
        self.delayed.insert((until, id));
        self.dirty.insert(id.batch);
        self.write_open(id);
        self.touch(id.batch);
    }

    /// The file behind a job is another than at submission: it is identified anew, and the job says so.
    pub(super) fn input_changed(&mut self, run: RunId, identity: FileIdentity) {
        let address = self.address_of(run);
        let Some((id, ..)) = self.release(run) else { return };
        if let Some(batch) = self.batches.get_mut(&id.batch) {
            batch.change(id.index, |job| {
                job.identity = Some(identity);
                job.stage_known = false;
                let note =
                    "the input changed after it was submitted; this is made from the file as it is now".to_owned();
                job.open.detail.absorb(Detail { notes: vec![note], ..Detail::default() });
            });
        }
        self.give_back(id, Step::TryAgain, false);
        self.wake_held(address);
    }

    /// A worker is gone. Only a death that one run alone can have caused is charged to it.
    pub(super) fn lost(&mut self, runs: &[RunId], cause: Option<RunId>, death: &Death) {
        let mut current = Vec::new();
        for run in runs {
            let address = self.address_of(*run);
            if let Some((id, _, lane)) = self.release(*run) {
                current.push((*run, id, lane, address));
            }
        }
        let only = runs.len() == 1;
        for (run, id, lane, address) in current {
            let stopping = self
                .batches
                .get(&id.batch)
                .and_then(|batch| batch.job(id.index))
                .is_some_and(|job| matches!(job.state, State::Stopping { .. }));
            match death {
                _ if stopping => self.give_back(id, Step::Stopped, false),
                Death::Killed { timeout: true } if cause == Some(run) => self.failed(id, run, timeout_failure()),
                Death::Killed { .. } => self.give_back(id, Step::TryAgain, false),
                Death::Fault { kind, message } if self.falls_back(id, lane, *kind, message) => {}
                Death::Fault { kind, message } if only => self.charge(id, run, *kind, message),
                Death::Fault { .. } => self.give_back(id, Step::TryAgain, true),
            }
            self.touch(id.batch);
            self.wake_held(address);
        }
    }

    /// This job's own run killed its worker.
    fn charge(&mut self, id: JobId, run: RunId, kind: FailureKind, message: &str) {
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let deaths = batch.change(id.index, |job| {
            job.open.deaths += u32::from(kind == FailureKind::Crash);
            job.open.deaths
        });
        if deaths.is_some_and(|deaths| deaths >= DEATHS_MAX) {
            let text = format!("this input killed its own worker {DEATHS_MAX} times; the last time: {message}");
            self.end_job(id, Step::Fail, Some(Failure::new(FailureKind::Poison, text)));
        } else {
            self.failed(id, run, Failure::new(kind, message));
        }
    }

    /// Takes a job to a terminal state and everything it held with it.
    pub(super) fn end_job(&mut self, id: JobId, step: Step, failure: Option<Failure>) {
        let wall = self.now.wall;
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let Some(Ok(state)) = batch.job(id.index).map(|job| job.state.after(step)) else { return };
        debug_assert!(state.is_terminal());
        let checkpoint = batch
            .job(id.index)
            .filter(|_| state == State::Cancelled)
            .and_then(|job| job.facts.as_ref()?.addresses.get(job.stage).copied().flatten());
        batch.change(id.index, |job| {
            job.state = state;
            job.open.failure = failure;
            if state == State::Completed {
                job.open.progress = 1.0;
            }
            job.worker = None;
        });
        let mut view = batch.job_view(id.index);
        let gathers = !id.is_gather() && batch.gather().is_some();
        let Some(mut job) = batch.close(id.index) else { return };
        let facts = job.facts.take();
        if let Some(view) = &mut view {
            view.finished_at = Some(wall);
        }
        let shown = job.shown();
        let stage = view.as_ref().map(|view| view.stage.clone()).unwrap_or_default();
        let ended = EndedJob {
            state: shown,
            stage,
            attempts: job.open.attempts,
            progress: job.open.progress,
            started_at: job.open.started_at,
            finished_at: wall,
            timings: job.open.timings,
            failure: job.open.failure,
            skipped_reason: None,
            outputs: job.outputs,
            detail: job.open.detail,
            peak_memory_bytes: job.peak_memory_bytes,
            artifact: facts
                .as_ref()
                .filter(|_| gathers && state == State::Completed)
                .and_then(|facts| facts.addresses.iter().rev().copied().flatten().next()),
        };
        if state != State::Cancelled && !id.is_gather() {
            self.note_end(id.batch, &ended);
        }
        if state == State::Completed && !id.is_gather() {
            self.spend(id.batch, ended.detail.media_seconds.unwrap_or(0.0));
        }
        self.changes.push(Change::JobEnded(id, Box::new(ended)));
        self.done.jobs += u64::from(!id.is_gather());
        self.want_no_more(facts.unwrap_or_default());
        self.dirty.insert(id.batch);
        if let Some(view) = view {
            self.publish(Fact::Job(Box::new(view)));
        }
        if let Some(address) = checkpoint.filter(|address| !self.making.contains_key(address)) {
            self.effects.push(Effect::DropCheckpoint(address));
        }
        self.touch(id.batch);
        if state == State::Failed && !id.is_gather() {
            self.halt_if_due(id.batch);
        }
    }

    /// A job has these on its way no more. What is transient goes with the last that wanted it.
    pub(super) fn want_no_more(&mut self, facts: Facts) {
        for address in facts.addresses.into_iter().flatten() {
            let Some(wanted) = self.wanted.get_mut(&address) else { continue };
            wanted.jobs -= 1;
            if wanted.jobs > 0 {
                continue;
            }
            let drop = wanted.transient && wanted.stored;
            self.wanted.remove(&address);
            if drop {
                self.changes.push(Change::ArtifactDropped(address));
                self.effects.push(Effect::DropArtifact(address));
            }
        }
    }

    /// Ends at once all jobs of a batch that nothing runs for.
    pub(super) fn cancel_waiting(&mut self, id: BatchId) {
        let Some(batch) = self.batches.get(&id) else { return };
        let active: Vec<u32> = batch.active.iter().copied().collect();
        self.end_fresh_jobs(id, None);
        for index in active {
            if self.batches.get(&id).and_then(|batch| batch.job(index)).is_some_and(|job| job.state == State::Pending) {
                self.end_job(JobId { batch: id, index }, Step::Cancel, None);
            }
        }
    }

    /// Ends all jobs of a batch that never started, as failed where there is a failure, else as cancelled.
    pub(super) fn end_fresh_jobs(&mut self, id: BatchId, failure: Option<&Failure>) {
        let fresh: Vec<u32> = self.batches.get(&id).into_iter().flat_map(Batch::fresh).collect();
        let state = if failure.is_some() { JobState::Failed } else { JobState::Cancelled };
        for (nth, index) in fresh.into_iter().enumerate() {
            self.end_fresh(JobId { batch: id, index }, state, failure, nth < TOLD_AT_ONCE_MAX);
        }
        self.touch(id);
    }

    /// Cancels jobs that wait to come to work again, such as those that wait for their next try.
    pub(super) fn cancel_back(&mut self, id: BatchId) {
        let active: Vec<u32> =
            self.batches.get(&id).into_iter().flat_map(|batch| batch.active.iter().copied()).collect();
        for index in active {
            let job = self.batches.get(&id).and_then(|batch| batch.job(index));
            if job.is_some_and(|job| job.state == State::Pending && !job.is_at_work()) {
                self.end_job(JobId { batch: id, index }, Step::Cancel, None);
            }
        }
    }

    /// Ends a job that never started; `tell`: with an event.
    pub(super) fn end_fresh(&mut self, id: JobId, state: JobState, failure: Option<&Failure>, tell: bool) {
        let wall = self.now.wall;
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        if !batch.end_fresh(id.index, state) {
            return;
        }
        let failure = failure.cloned();
        let skipped_reason = (state == JobState::Skipped).then(|| NOTHING_TO_GATHER.to_owned());
        let view = JobView {
            finished_at: Some(wall),
            failure: failure.clone(),
            skipped_reason: skipped_reason.clone(),
            ..batch.plain_view(id.index, state)
        };
        let ended = EndedJob {
            state,
            stage: view.stage.clone(),
            attempts: 0,
            progress: 0.0,
            started_at: None,
            finished_at: wall,
            timings: Vec::new(),
            failure,
            skipped_reason,
            outputs: Vec::new(),
            detail: Detail::default(),
            peak_memory_bytes: 0,
            artifact: None,
        };
        self.changes.push(Change::JobEnded(id, Box::new(ended)));
        self.dirty.insert(id.batch);
        if tell {
            self.publish(Fact::Job(Box::new(view)));
        }
    }

    /// Asks for every run of these jobs to be stopped; gives the runs.
    pub(super) fn stop_runs(&mut self, jobs: impl IntoIterator<Item = JobId>, why: Why) -> Vec<RunId> {
        let mut stopped = Vec::new();
        for id in jobs {
            let Some(batch) = self.batches.get_mut(&id.batch) else { continue };
            let Some(job) = batch.job(id.index) else { continue };
            let (Some(run), Ok(state)) = (job.state.run(), job.state.after(Step::Stop(why))) else { continue };
            batch.change(id.index, |job| job.state = state);
            // One that was lost in this very step has nobody left to stop it.
            if self.runs.contains_key(&run) {
                self.effects.push(Effect::Stop(run));
                stopped.push(run);
            }
        }
        stopped
    }

    pub(super) fn write_open(&mut self, id: JobId) {
        if let Some(job) = self.batches.get(&id.batch).and_then(|batch| batch.job(id.index)) {
            self.changes.push(Change::JobOpen(id, Box::new(job.open.clone())));
        }
    }
}

fn timeout_failure() -> Failure {
    Failure::new(FailureKind::Timeout, "the stage took longer than its time limit")
}
