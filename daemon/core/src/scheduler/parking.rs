//! Parking: jobs whose next stage needs something that is closed just now wait for it, and one at a time tries. Nothing of it fails a job.

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::stage::Stage;
use spindle_shared::time::MonoMs;
use spindle_shared::worker::Done;

use super::Scheduler;
use crate::batch::Place;
use crate::breaker::{Closed, Resource, Verdict};
use crate::governor;
use crate::job::Step;

/// When nobody who is parked may try (their batches are paused or at their limit), it is looked at again after this long.
const LOOK_AGAIN_MS: u64 = 5_000;

impl Scheduler {
    /// What this stage needs and is closed; a job that is trying it may go on.
    pub(super) fn closed_for(&self, id: JobId, stage: &Stage) -> Option<u32> {
        if self.breaker.is_quiet() {
            return None;
        }
        let model = stage.model().map(|model| Resource::Model(model.to_owned()));
        let room = stage.facts().fills.then_some(Resource::Room);
        let last = stage.facts().artifact.then_some(Resource::LastRoom);
        let api = stage.api().map(|(provider, _)| Resource::Api(provider.name.clone()));
        let needs = model.into_iter().chain(api).chain([Resource::Service(stage.name())]).chain(room).chain(last);
        needs
            .filter_map(|resource| self.breaker.find(&resource))
            .find(|number| self.breaker.get(*number).is_some_and(|closed| closed.probe != Some(id)))
    }

    /// Lets a job wait for something closed. `failure`: how it found that out itself.
    pub(super) fn park(&mut self, id: JobId, number: u32, failure: Option<Failure>) {
        let Some(closed) = self.breaker.get_mut(number) else { return };
        closed.parked.insert(id);
        if closed.probe == Some(id) {
            closed.probe = None;
        }
        let resource = closed.resource.clone();
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let all = match &resource {
            Resource::Model(model) => {
                batch.spec.recipe.map.iter().chain(&batch.spec.recipe.gather).any(|stage| stage.model() == Some(model))
            }
            Resource::Api(name) => {
                batch.spec.recipe.map.iter().any(|stage| stage.api().is_some_and(|(p, _)| p.name == *name))
            }
            _ => true,
        };
        let told = failure.is_some();
        batch.change(id.index, |job| {
            job.place = Place::Parked { at: number, all };
            if let Some(failure) = failure {
                job.open.failure = Some(failure);
                job.open.attempts = job.open.attempts.saturating_sub(1);
            }
        });
        self.dirty.insert(id.batch);
        if told {
            self.write_open(id);
        }
        self.touch(id.batch);
    }

    /// A try has failed: is something outside out of order, so that the job waits for that? Gives whether it does.
    pub(super) fn parked_by(&mut self, id: JobId, failure: &Failure) -> bool {
        let Some(batch) = self.batches.get(&id.batch) else { return false };
        let Some(job) = batch.job(id.index) else { return false };
        let Some(stage) = batch.stages_of(job).get(job.stage) else { return false };
        let Some(resource) = Resource::behind(failure, stage) else { return false };
        let Ok(state) = job.state.after(Step::TryAgain) else { return false };
        let number = match self.breaker.fails(&resource, failure, id, self.now.mono) {
            Verdict::Open => return false,
            Verdict::Closes(number) => {
                self.alert(format!(
                    "{resource} is out of order, and what needs it waits: {}; {}",
                    failure.message, failure.advice
                ));
                number
            }
            Verdict::Stays(number) => number,
        };
        if let Some(batch) = self.batches.get_mut(&id.batch) {
            batch.change(id.index, |job| {
                job.state = state;
                job.worker = None;
            });
        }
        self.park(id, number, Some(failure.clone()));
        true
    }

    /// A run has ended well: what it has used is in order.
    pub(super) fn proven(&mut self, stage: &Stage, done: &Done) {
        if self.breaker.is_quiet() {
            return;
        }
        let model = stage.model().map(|model| Resource::Model(model.to_owned()));
        let devices = done.outputs.iter().filter_map(|output| Some(Resource::Device(output.identity?.dev)));
        let api = stage.api().map(|(provider, _)| Resource::Api(provider.name.clone()));
        let used: Vec<_> = devices.chain(model).chain(api).chain([Resource::Service(stage.name())]).collect();
        for resource in used {
            if let Some((number, closed)) = self.breaker.works(&resource) {
                self.unpark(number, closed);
            }
        }
    }

    /// Takes something closed for open again.
    pub(super) fn open_again(&mut self, number: u32) {
        if let Some(closed) = self.breaker.open(number) {
            self.unpark(number, closed);
        }
    }

    fn unpark(&mut self, number: u32, closed: Closed) {
        self.alert(format!("{} is in order again", closed.resource));
        for id in closed.parked {
            let Some(batch) = self.batches.get_mut(&id.batch) else { continue };
            if batch.job(id.index).is_some_and(|job| matches!(job.place, Place::Parked { at, .. } if at == number)) {
                batch.change(id.index, |job| job.place = Place::Waiting);
                self.touch(id.batch);
            }
        }
        self.look_ahead_soon();
    }

    /// All that is closed, or what jobs of this batch wait for, is tried by whoever needs it. Gives whether there was anything.
    pub(super) fn try_again_now(&mut self, of: Option<BatchId>) -> bool {
        let waits = |closed: &Closed| of.is_none_or(|id| closed.parked.iter().any(|job| job.batch == id));
        // Room is measured, not tried.
        let closed = self.breaker.all().filter(|(_, closed)| !closed.resource.is_measured() && waits(closed));
        let numbers: Vec<u32> = closed.map(|(number, _)| number).collect();
        for number in &numbers {
            if let Some(Resource::Api(name)) = self.breaker.get(*number).map(|closed| closed.resource.clone()) {
                self.ask_anyway(&name);
            }
            self.open_again(*number);
        }
        !numbers.is_empty()
    }

    /// Where a time has come, one of the parked jobs tries.
    pub(super) fn try_closed(&mut self) {
        if self.breaker.is_quiet() || self.paused || self.draining || self.stopping {
            return;
        }
        let numbers: Vec<u32> = self.breaker.all().map(|(number, _)| number).collect();
        for number in numbers {
            self.try_one(number);
        }
    }

    fn try_one(&mut self, number: u32) {
        let batches = &self.batches;
        let job = |id: &JobId| batches.get(&id.batch).and_then(|batch| batch.job(id.index));
        let Some(closed) = self.breaker.get_mut(number) else { return };
        closed
            .parked
            .retain(|id| job(id).is_some_and(|job| matches!(job.place, Place::Parked { at, .. } if at == number)));
        if closed.probe.is_some_and(|id| job(&id).is_none_or(|job| !job.is_at_work())) {
            // It has ended otherwise, or was halted: that says nothing.
            closed.probe = None;
        }
        if closed.probe.is_some() || closed.until > self.now.mono {
            return;
        }
        if closed.parked.is_empty() {
            self.breaker.forget(number);
            return;
        }
        let may = |id: &&JobId| {
            batches.get(&id.batch).is_some_and(|batch| !batch.is_halted() && batch.at_work < batch.spec.parallel)
        };
        match closed.parked.iter().find(may).copied() {
            Some(id) => {
                closed.parked.remove(&id);
                closed.probe = Some(id);
                self.look_up(id);
            }
            None => closed.until = self.now.mono.plus(LOOK_AGAIN_MS),
        }
    }

    /// When anything closed is to be tried.
    pub(super) fn next_try(&self) -> Option<MonoMs> {
        self.breaker.next_try().filter(|_| !(self.paused || self.draining || self.stopping))
    }

    /// So much is free on the disk that all work is done on. Below the reserve nothing begins that writes much, and below three quarters of
    /// it nothing that leaves a result: the rest is for the queue's own records. It goes on when a stage's result has room beside that.
    pub(super) fn room(&mut self, free: u64) {
        let reserve = self.config.disk_reserve_bytes;
        for (resource, least) in [(Resource::Room, reserve), (Resource::LastRoom, reserve / 4 * 3)] {
            match self.breaker.find(&resource) {
                None if free < least => {
                    let message = format!("{} MiB are free on the disk of the state directory", free >> 20);
                    let failure = Failure::new(FailureKind::DiskFull, message);
                    self.alert(format!(
                        "there is no {resource}, and it waits: {}; {}",
                        failure.message, failure.advice
                    ));
                    self.breaker.close_until_told(resource, failure);
                }
                Some(number) if free >= least.saturating_add(self.largest_result) => self.open_again(number),
                _ => {}
            }
        }
    }

    /// Fewer processor slots while memory is short, more when it is not; each change is told with its reason.
    pub(super) fn govern(&mut self) {
        let lane = spindle_shared::lane::Lane::Cpu;
        let (busy, slots) = (self.used_of(lane), self.slots_of(lane));
        let step = self.governor.tick(self.now.mono, busy, slots);
        self.tell_governed(step, "the machine is short of memory");
    }

    pub(super) fn refused_memory(&mut self, busy: u32) {
        let step = self.governor.refused(self.now.mono, busy);
        self.tell_governed(step, "a run found no memory");
    }

    fn tell_governed(&mut self, step: Option<governor::Step>, why: &str) {
        match step {
            Some(governor::Step::Fewer(slots)) => {
                self.alert(format!("{why}: {slots} processor slots are used from now on"))
            }
            Some(governor::Step::More(slots)) => {
                self.alert(format!("memory is there again: {slots} processor slots are used"))
            }
            Some(governor::Step::All) => self.alert("memory is there again: all processor slots are used".to_owned()),
            None => {}
        }
    }
}
