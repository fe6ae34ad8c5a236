//! Commands: what clients ask for, checked whole before anything changes.

use spindle_shared::batch::{BatchSpec, BatchState, BatchView, Counts, Priority, TimeLimit};
use spindle_shared::event::Fact;
use spindle_shared::id::{BatchId, ContentHash, GATHER_INDEX, JobId, RunId, Target};
use spindle_shared::job::{Input, JobSpec, JobState, OutputPlan, PathBytes};
use spindle_shared::lane::Lane;
use spindle_shared::limits;
use spindle_shared::packed::Packed;
use spindle_shared::recipe::Recipe;
use spindle_shared::wire::request::{BatchFilter, Scope, Selection};
use spindle_shared::wire::response::{
    Acted, ClosedView, Explanation, HouseView, Refusal, RefusalKind, Response, Submitted, WorkDone,
};

use super::{Awaiting, Quota, Scheduler, TOLD_AT_ONCE_MAX};
use crate::batch::{Batch, Cell, Job, Place};
use crate::breaker::Resource;
use crate::change::{Change, NewBatch};
use crate::effect::{Answer, ClientId, Command, Effect, Peer, RetryItem};
use crate::estimate;
use crate::job::{State, Step, Why};

impl Scheduler {
    pub(super) fn command(&mut self, client: ClientId, peer: Peer, command: Command) {
        let result = match command {
            Command::Submit { spec, jobs, repeats, after } => {
                self.submit(peer, *spec, jobs, repeats, &after).map(|frame| (vec![frame], vec![]))
            }
            Command::Cancel(what) => self.each(peer, &what, Self::cancel),
            Command::Pause { what: Selection::House, now } => self.pause_house(peer, now),
            Command::Resume(Selection::House) => self.resume_house(peer),
            Command::Pause { what, now } => self.each(peer, &what, |scheduler, target| scheduler.pause(target, now)),
            Command::Resume(what) => self.each(peer, &what, Self::resume),
            Command::Prioritize { what, priority } => {
                self.each(peer, &what, |scheduler, target| scheduler.prioritize(target, priority))
            }
            Command::Retry(items) => self.retry(peer, items),
            Command::Remove(batches) => self.remove(peer, &batches),
            Command::Purge(addresses) => Ok((self.purge(addresses), vec![])),
            Command::Explain(target) => self.explain(peer, target).map(|frame| (vec![frame], vec![])),
            Command::Overlay { batches, jobs } => return self.overlay(client, batches.as_deref(), jobs),
            Command::House => Ok((vec![Response::House(self.house(peer))], vec![])),
            Command::Watch(scope) => return self.watch(client, peer, &scope),
            Command::Drain => self.drain(peer),
            Command::Shutdown => self.shutdown(peer),
        };
        match result {
            Ok((mut frames, runs)) => {
                frames.push(Response::End);
                if runs.is_empty() {
                    self.answer(client, frames);
                } else {
                    self.awaiting.push(Awaiting { client, runs: runs.into_iter().collect(), frames });
                }
            }
            Err(refusal) => self.answer(client, vec![Response::Refused(refusal)]),
        }
    }

    fn submit(
        &mut self,
        peer: Peer,
        mut spec: BatchSpec,
        jobs: Packed<JobSpec>,
        repeats: Option<Box<BatchView>>,
        after: &[(BatchId, BatchState)],
    ) -> Result<Response, Refusal> {
        if let Some(view) = repeats {
            let batch = self.batches.get_mut(&view.id).map_or(*view, Batch::view);
            return Ok(Response::Submitted(Submitted { batch, estimated_seconds: None, repeated: true }));
        }
        if self.stopping || self.draining {
            return Err(Refusal::new(RefusalKind::Stopping, "the daemon is stopping and takes nothing new"));
        }
        check_spec(&spec, jobs.len())?;
        let Survey { bytes, skipped, sizes } = Survey::of(&spec, &jobs)?;
        self.within_quota(peer, jobs.len())?;
        let awaited = self.still_awaited(&spec.terms.after, after)?;
        if spec.terms.auto_priority {
            spec.priority = Priority::of_size(bytes / jobs.len().max(1) as u64);
        }
        let at = spec.terms.at;
        let id = BatchId(self.next_batch);
        self.next_batch += 1;
        let wall = self.now.wall;
        let work = skipped.iter().filter(|skip| !**skip).count() as u32;
        let mut batch = Batch::new(id, peer.owner, spec.clone(), wall, &skipped, sizes.clone());
        let estimated_seconds = estimate::batch(&spec, &jobs, work, self.slots_for(&batch), &self.rates, &self.gpus);
        if work == 0 {
            batch.started_at = Some(wall);
            batch.finished_at = Some(wall);
        }
        let gather = spec.gather_to.as_ref().map(|to| gather_job(id, to, &spec.recipe));
        let status = batch.status();
        let new = NewBatch { id, owner: peer.owner, spec, created_at: wall, status, jobs, sizes, gather };
        self.changes.push(Change::BatchAdded(Box::new(new)));
        let view = batch.view();
        self.batches.insert(id, batch);
        self.apply_quota(id);
        if work > 0 {
            self.gate(id, awaited, at);
        }
        self.look_ahead_soon();
        self.dirty.insert(id);
        self.touch(id);
        Ok(Response::Submitted(Submitted { batch: view, estimated_seconds, repeated: false }))
    }

    /// Whether this owner may have so many jobs more.
    fn within_quota(&self, peer: Peer, jobs: usize) -> Result<(), Refusal> {
        let Quota { batches: batches_max, jobs: jobs_max, media_hours: _ } = self.config.quota;
        if batches_max.is_none() && jobs_max.is_none() {
            return Ok(());
        }
        let own = self.batches.values().filter(|batch| batch.owner == peer.owner);
        let (mut batches, mut open) = (0, 0);
        for batch in own {
            batches += 1;
            open += u64::from(batch.counts.total() - batch.counts.ended());
        }
        let refused =
            |message: String| Err(Refusal::new(RefusalKind::Limit, message).hint("wait until some have ended"));
        if let Some(most) = batches_max.filter(|most| batches >= *most) {
            return refused(format!("you have {batches} open batches; limits.user_batches allows {most}"));
        }
        if let Some(most) = jobs_max.filter(|most| open + jobs as u64 > u64::from(*most)) {
            let message =
                format!("you have {open} open jobs and {jobs} more are too many; limits.user_jobs allows {most}");
            return refused(message);
        }
        Ok(())
    }

    /// Does something to each thing selected. One thing named and refused is a refusal; of many, each tells for itself.
    fn each(
        &mut self,
        peer: Peer,
        what: &Selection,
        mut action: impl FnMut(&mut Self, Target) -> Result<(String, Vec<RunId>), Refusal>,
    ) -> Result<(Vec<Response>, Vec<RunId>), Refusal> {
        let targets = match what {
            Selection::House => {
                return Err(Refusal::new(RefusalKind::Usage, "no batch or job is named")
                    .hint("name ids (`3 5-8 12/3`), --all, --state or --tag"));
            }
            Selection::Targets(targets) => targets.clone(),
            Selection::Matching(filter) => self.matching(peer, filter),
        };
        if targets.len() > limits::TARGETS_MAX {
            let message = format!("{} ids are named, more than {}", targets.len(), limits::TARGETS_MAX);
            return Err(Refusal::new(RefusalKind::Limit, message));
        }
        let (mut acted, mut runs, mut refused) = (Vec::new(), Vec::new(), Vec::new());
        for target in targets {
            let done = self.open_to(peer, target).and_then(|()| action(self, target));
            match done {
                Ok((what, stopped)) => {
                    acted.push(Acted { target, what });
                    runs.extend(stopped);
                }
                Err(refusal) => {
                    acted.push(Acted { target, what: format!("nothing done: {refusal}") });
                    refused.push(refusal);
                }
            }
        }
        told(acted, refused).map(|frames| (frames, runs))
    }

    fn matching(&self, peer: Peer, filter: &BatchFilter) -> Vec<Target> {
        let fits = |batch: &&Batch| {
            peer.sees(batch.owner)
                && (filter.states.is_empty() || filter.states.contains(&batch.state()))
                && filter.recipe.as_ref().is_none_or(|recipe| *recipe == batch.spec.recipe.name)
                && filter.owner.is_none_or(|owner| owner == batch.owner.0)
                && filter.tags.iter().all(|tag| batch.spec.tags.contains(tag))
        };
        self.batches.values().filter(fits).map(|batch| Target::Batch(batch.id)).collect()
    }

    /// Whether this peer may act on this open thing.
    fn open_to(&self, peer: Peer, target: Target) -> Result<(), Refusal> {
        let id = target.batch();
        let Some(batch) = self.batches.get(&id) else {
            return Err(if id.0 < self.next_batch {
                Refusal::new(RefusalKind::WrongState, format!("batch {id} is finished already"))
                    .hint(format!("`spindlectl status {id}` shows how it ended"))
            } else {
                Refusal::new(RefusalKind::NotFound, format!("there is no batch {id}"))
            });
        };
        if !peer.sees(batch.owner) {
            return Err(Refusal::new(RefusalKind::NotPermitted, format!("batch {id} is somebody else's")));
        }
        match target {
            Target::Job(job) if job.is_gather() && batch.gather().is_none() => {
                Err(Refusal::new(RefusalKind::NotFound, format!("there is no job {job}: batch {id} gathers nothing")))
            }
            Target::Job(job) if job.index > batch.total() => {
                let message = format!("there is no job {job}: batch {id} has {} jobs", batch.total());
                Err(Refusal::new(RefusalKind::NotFound, message))
            }
            _ => Ok(()),
        }
    }

    fn cancel(&mut self, target: Target) -> Result<(String, Vec<RunId>), Refusal> {
        let id = target.batch();
        let runs = match target {
            Target::Batch(_) => {
                if let Some(batch) = self.batches.get_mut(&id) {
                    batch.cancelling = true;
                }
                self.forget_eta(id);
                self.cancel_waiting(id);
                let active = self.active_of(id);
                self.stop_runs(active, Why::Cancel)
            }
            Target::Job(job) => {
                let Some(batch) = self.batches.get_mut(&id) else { return Ok((String::new(), vec![])) };
                match batch.cell(job.index) {
                    Some(Cell::Fresh) => {
                        self.end_fresh(job, JobState::Cancelled, None, true);
                        vec![]
                    }
                    Some(Cell::Active(active)) if active.state == State::Pending => {
                        self.end_job(job, Step::Cancel, None);
                        vec![]
                    }
                    Some(Cell::Active(_)) => self.stop_runs([job], Why::Cancel),
                    Some(Cell::Ended(_)) | None => {
                        return Err(Refusal::new(RefusalKind::WrongState, format!("job {job} is finished already")));
                    }
                }
            }
        };
        self.dirty.insert(id);
        self.touch(id);
        Ok(("cancelled".to_owned(), runs))
    }

    pub(super) fn active_of(&self, id: BatchId) -> Vec<JobId> {
        let active = self.batches.get(&id).into_iter().flat_map(|batch| &batch.active);
        active.map(|index| JobId { batch: id, index: *index }).collect()
    }

    fn batch_target(target: Target, verb: &str) -> Result<BatchId, Refusal> {
        match target {
            Target::Batch(id) => Ok(id),
            Target::Job(job) => {
                Err(Refusal::new(RefusalKind::Usage, format!("{verb} works on batches, not on the job {job}"))
                    .hint(format!("`spindlectl {verb} {}`", job.batch)))
            }
        }
    }

    fn pause(&mut self, target: Target, now: bool) -> Result<(String, Vec<RunId>), Refusal> {
        let id = Self::batch_target(target, "pause")?;
        let Some(batch) = self.batches.get_mut(&id) else { return Ok((String::new(), vec![])) };
        if batch.cancelling {
            return Err(Refusal::new(RefusalKind::WrongState, format!("batch {id} is being cancelled")));
        }
        batch.paused = true;
        self.forget_eta(id);
        self.step_back(id);
        let active = self.active_of(id);
        let runs = if now { self.stop_runs(active, Why::Pause) } else { vec![] };
        self.dirty.insert(id);
        self.touch(id);
        Ok(("paused".to_owned(), runs))
    }

    /// Jobs between two stages wait for admission again; nothing of a halted batch is ready.
    pub(super) fn step_back(&mut self, id: BatchId) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        for index in batch.active.clone() {
            batch.change(index, |job| {
                if matches!(job.place, Place::Checking(_) | Place::Ready(_) | Place::Asking | Place::Held(_)) {
                    job.place = Place::Waiting;
                }
            });
        }
    }

    fn resume(&mut self, target: Target) -> Result<(String, Vec<RunId>), Refusal> {
        let id = Self::batch_target(target, "resume")?;
        let tried = self.try_again_now(Some(id));
        let Some(batch) = self.batches.get_mut(&id) else { return Ok((String::new(), vec![])) };
        if !batch.paused && tried {
            self.dirty.insert(id);
            return Ok(("tries again what was out of order".to_owned(), vec![]));
        }
        if !batch.paused {
            return Ok(("was not paused".to_owned(), vec![]));
        }
        batch.paused = false;
        self.look_ahead_soon();
        self.dirty.insert(id);
        self.touch(id);
        Ok(("resumed".to_owned(), vec![]))
    }

    fn pause_house(&mut self, peer: Peer, now: bool) -> Result<(Vec<Response>, Vec<RunId>), Refusal> {
        peer.must_be_admin("pause the whole daemon")?;
        self.paused = true;
        self.changes.push(Change::HousePaused(true));
        self.publish(Fact::Paused(true));
        self.forget_etas();
        let ids: Vec<BatchId> = self.at_work.iter().copied().collect();
        let mut runs = Vec::new();
        for id in ids {
            self.step_back(id);
            if now {
                let active = self.active_of(id);
                runs.extend(self.stop_runs(active, Why::Pause));
            }
            self.touch(id);
        }
        Ok((vec![Response::Acted(vec![])], runs))
    }

    fn resume_house(&mut self, peer: Peer) -> Result<(Vec<Response>, Vec<RunId>), Refusal> {
        peer.must_be_admin("resume the whole daemon")?;
        self.paused = false;
        self.draining = false;
        self.try_again_now(None);
        self.changes.push(Change::HousePaused(false));
        self.publish(Fact::Paused(false));
        self.look_ahead_soon();
        Ok((vec![Response::Acted(vec![])], vec![]))
    }

    fn prioritize(&mut self, target: Target, priority: Priority) -> Result<(String, Vec<RunId>), Refusal> {
        let id = Self::batch_target(target, "prioritize")?;
        if let Some(batch) = self.batches.get_mut(&id) {
            batch.priority = priority;
        }
        self.look_ahead_soon();
        self.dirty.insert(id);
        self.touch(id);
        Ok((format!("priority {priority}"), vec![]))
    }

    /// **Invariant:** a terminal state is left only here.
    fn retry(&mut self, peer: Peer, items: Vec<RetryItem>) -> Result<(Vec<Response>, Vec<RunId>), Refusal> {
        if let Some(item) = items.iter().find(|item| !peer.sees(item.batch.owner)) {
            return Err(Refusal::new(RefusalKind::NotPermitted, format!("batch {} is somebody else's", item.batch.id)));
        }
        let (mut acted, mut refused) = (Vec::new(), Vec::new());
        for item in items {
            let target = Target::Batch(item.batch.id);
            match self.retry_batch(item) {
                Ok(0) => acted.push(Acted { target, what: "nothing to retry".to_owned() }),
                Ok(again) => acted.push(Acted { target, what: format!("{again} queued again") }),
                Err(refusal) => {
                    acted.push(Acted { target, what: format!("nothing done: {refusal}") });
                    refused.push(refusal);
                }
            }
        }
        told(acted, refused).map(|frames| (frames, vec![]))
    }

    fn retry_batch(&mut self, item: RetryItem) -> Result<usize, Refusal> {
        let RetryItem { batch: stored, jobs } = item;
        let id = stored.id;
        if !self.may_retry(id) {
            return Err(Refusal::new(RefusalKind::WrongState, format!("the results of batch {id} are being gathered"))
                .hint(format!("wait for its end, or `spindlectl cancel {id}/gather`")));
        }
        let mut batch = match self.batches.get(&id) {
            Some(open) if open.cancelling => {
                return Err(Refusal::new(RefusalKind::WrongState, format!("batch {id} is being cancelled"))
                    .hint("retry it once it is finished"));
            }
            Some(_) => None,
            // Read before it ended: what it says is not so any more.
            None if stored.status.finished_at.is_none() || !stored.open.is_empty() => {
                return Err(Refusal::new(RefusalKind::WrongState, format!("batch {id} is just ending"))
                    .hint("retry it once it is finished"));
            }
            None => {
                let mut batch = Batch::recovered(stored);
                batch.reopen();
                Some(batch)
            }
        };
        let Some(batch_now) = batch.as_mut().or_else(|| self.batches.get_mut(&id)) else { return Ok(0) };
        let mut again: Vec<u32> =
            jobs.into_iter().filter(|(index, state)| batch_now.retry(*index, *state)).map(|(index, _)| index).collect();
        if again.iter().any(|index| *index != GATHER_INDEX) && batch_now.gather_again() {
            again.push(GATHER_INDEX);
        }
        if again.is_empty() {
            return Ok(0);
        }
        let views = again.iter().take(TOLD_AT_ONCE_MAX);
        let views: Vec<_> = views.map(|index| batch_now.plain_view(*index, JobState::Pending)).collect();
        self.batches.extend(batch.map(|batch| (id, batch)));
        self.apply_quota(id);
        for index in &again {
            self.changes.push(Change::JobOpen(JobId { batch: id, index: *index }, Box::default()));
        }
        for view in views {
            self.publish(Fact::Job(Box::new(view)));
        }
        if let Some(batch) = self.batches.get_mut(&id).filter(|batch| batch.spec.terms.auto_priority) {
            batch.priority = Priority(batch.priority.0.saturating_add(Priority::RETRIED).min(100));
        }
        self.dirty.insert(id);
        self.touch(id);
        Ok(again.len())
    }

    fn remove(
        &mut self,
        peer: Peer,
        batches: &[(BatchId, Option<spindle_shared::id::Owner>)],
    ) -> Result<(Vec<Response>, Vec<RunId>), Refusal> {
        for (id, owner) in batches {
            let Some(owner) = owner else {
                return Err(Refusal::new(RefusalKind::NotFound, format!("there is no batch {id}")));
            };
            if !peer.sees(*owner) {
                return Err(Refusal::new(RefusalKind::NotPermitted, format!("batch {id} is somebody else's")));
            }
            if self.batches.contains_key(id) {
                return Err(Refusal::new(RefusalKind::WrongState, format!("batch {id} is not finished"))
                    .hint(format!("`spindlectl cancel {id}` first")));
            }
        }
        let mut acted = Vec::new();
        for (id, _) in batches {
            self.changes.push(Change::BatchRemoved(*id));
            self.publish(Fact::Removed(*id));
            acted.push(Acted { target: Target::Batch(*id), what: "removed".to_owned() });
        }
        Ok((vec![Response::Acted(acted)], vec![]))
    }

    fn purge(&mut self, addresses: Vec<ContentHash>) -> Vec<Response> {
        for address in addresses {
            if !self.wanted.contains_key(&address) && !self.making.contains_key(&address) {
                self.changes.push(Change::ArtifactDropped(address));
                self.effects.push(Effect::DropArtifact(address));
                self.effects.push(Effect::DropCheckpoint(address));
            }
        }
        vec![]
    }

    /// Why an open thing is as it is; the store knows of closed ones.
    fn explain(&mut self, peer: Peer, target: Target) -> Result<Response, Refusal> {
        let id = target.batch();
        if let Some(batch) = self.batches.get(&id).filter(|batch| !peer.sees(batch.owner)) {
            return Err(Refusal::new(RefusalKind::NotPermitted, format!("batch {} is somebody else's", batch.id)));
        }
        let (paused, draining) = (self.paused, self.draining || self.stopping);
        let lanes: Vec<String> = self
            .lanes()
            .filter(|lane| self.used_of(*lane) >= self.slots_of(*lane) && *lane != Lane::Api)
            .map(|lane| format!("{lane} ({} of {} busy)", self.used_of(lane), self.slots_of(lane)))
            .collect();
        let full =
            if lanes.is_empty() { "no lane is full".to_owned() } else { format!("full lanes: {}", lanes.join(", ")) };
        let (mono, wall) = (self.now.mono, self.now.wall);
        let before = self
            .batches
            .values()
            .filter(|other| self.batches.get(&id).is_some_and(|own| other.priority < own.priority))
            .count();
        let before = match (peer.admin, before) {
            (true, count) => format!("{count} batches are more urgent"),
            // How many others have is not theirs to know.
            (false, 0) => "none is more urgent".to_owned(),
            (false, _) => "others are more urgent".to_owned(),
        };
        let asks = match target {
            Target::Job(job) => self.asks(job),
            Target::Batch(_) => None,
        };
        let done_on = match target {
            Target::Job(job) => self.done_on(job),
            Target::Batch(_) => None,
        };
        let cores_are_free = self.used_of(Lane::Cpu) < self.allowed_of(Lane::Cpu);
        let Some(batch) = self.batches.get_mut(&id) else {
            return Err(Refusal::new(RefusalKind::NotFound, format!("batch {id} is not open")));
        };
        let parked_at = |job: &Job| match job.place {
            Place::Parked { at, .. } => self.breaker.get(at).map(|closed| told_of(peer, closed.view(mono))),
            _ => None,
        };
        let room = [Resource::Room, Resource::LastRoom].map(|resource| resource.to_string());
        let waits_for = |closed: ClosedView| {
            let when = match closed.tries_in_ms {
                Some(ms) => format!("it is tried again in {:.0} s", ms as f64 / 1e3),
                None => "it is being tried".to_owned(),
            };
            let when = if room.contains(&closed.what) { "it goes on by itself".to_owned() } else { when };
            (format!("it waits for {}: {}; {when}", closed.what, closed.why), Some(closed.advice))
        };
        let halted = if batch.cancelling {
            Some(("it is being cancelled".to_owned(), None))
        } else if batch.over_quota {
            let hours = self.config.quota.media_hours.unwrap_or(0);
            Some((
                format!(
                    "its owner has had today's {hours} h of recordings (limits.user_media_hours); it goes on at 00:00 UTC"
                ),
                None,
            ))
        } else if let Some(after) = batch.awaited.first() {
            let how = if after.any_end { "end" } else { "success" };
            Some((
                format!("it waits for the {how} of batch {}", after.batch),
                Some(format!("`spindlectl status {}` tells how that one stands", after.batch)),
            ))
        } else if let Some(at) = batch.not_before {
            let left = at.0.saturating_sub(wall.0) as f64 / 60_000.0;
            Some((format!("it was submitted to begin in {left:.0} min (--at)"), None))
        } else if batch.paused {
            Some(("the batch is paused".to_owned(), Some(format!("`spindlectl resume {id}`"))))
        } else if paused {
            Some(("the whole daemon is paused".to_owned(), Some("`spindlectl resume`".to_owned())))
        } else if draining {
            Some((
                "the daemon is draining and starts nothing".to_owned(),
                Some("`spindlectl resume` ends a drain".to_owned()),
            ))
        } else {
            None
        };
        let (state, why, advice) = match target {
            Target::Batch(_) => {
                let counts = batch.counts;
                let state = batch.state().name().to_owned();
                match halted {
                    Some((why, advice)) => (state, why, advice),
                    None if !batch.running.is_empty() => {
                        (state, format!("{} of its jobs run, {} wait", batch.running.len(), counts.pending), None)
                    }
                    None if batch.parked > 0 => {
                        let parked = batch.active.iter().filter_map(|index| batch.job(*index)).find_map(parked_at);
                        let (why, advice) = parked.map_or(("it waits".to_owned(), None), waits_for);
                        (state, why, advice)
                    }
                    None => (
                        state,
                        format!("none of its jobs has a slot: {full}; {before}"),
                        Some(format!("`spindlectl prioritize {id} urgent` lets it go first")),
                    ),
                }
            }
            Target::Job(job) => {
                if job.index > batch.total() || (job.is_gather() && batch.gather().is_none()) {
                    return Err(Refusal::new(RefusalKind::NotFound, format!("there is no job {job}")));
                }
                let (at_work, parallel) = (batch.at_work, batch.spec.parallel);
                if matches!(batch.cell(job.index), Some(Cell::Ended(_))) {
                    return Err(Refusal::new(RefusalKind::NotFound, format!("job {job} has ended")));
                }
                let waits = |at_work| {
                    if at_work >= parallel {
                        (format!("{at_work} of its batch's jobs are at work, as many as --parallel allows"), None)
                    } else {
                        (format!("it waits for its turn: {full}; {before}"), None)
                    }
                };
                match batch.job(job.index) {
                    Some(active) if active.state.run().is_some() => {
                        let stage = batch.stages_of(active).get(active.stage).map_or("", |stage| stage.name());
                        let why = format!(
                            "its stage {stage} runs{}; {:.0} % of the job are done",
                            done_on.unwrap_or_default(),
                            active.open.progress * 100.0
                        );
                        (active.shown().name().to_owned(), why, None)
                    }
                    Some(active) => {
                        let state = active.shown().name().to_owned();
                        let (why, advice) = match (active.place, halted, &active.open.failure) {
                            (_, Some(halted), _) => halted,
                            (Place::Delayed { until, .. }, None, Some(failure)) => (
                                format!(
                                    "try {} failed ({failure}); the next is in {:.0} s",
                                    active.open.attempts,
                                    until.since(mono) as f64 / 1e3
                                ),
                                Some(failure.advice.clone()),
                            ),
                            (Place::Parked { .. }, None, _) if parked_at(active).is_some() => {
                                parked_at(active).map_or((String::new(), None), waits_for)
                            }
                            (Place::Ready(Lane::Cpu), None, _) if cores_are_free => {
                                let (used, limit) = (self.memory_used, self.config.memory_mib);
                                (format!("it waits for memory: {used} of {limit} MiB are taken by what runs"), None)
                            }
                            (Place::Ready(lane), None, _) => {
                                (format!("it waits for a slot of the lane {lane}: {full}"), None)
                            }
                            (Place::Asking, None, _) => (
                                asks.unwrap_or_else(|| "it waits for its turn at a model API".to_owned()),
                                Some("limits stand in the daemon's configuration, as [providers.NAME]".to_owned()),
                            ),
                            (Place::Checking(_), None, _) if job.is_gather() => {
                                ("the results of its batch's inputs are being looked up".to_owned(), None)
                            }
                            (Place::Checking(_), None, _) => {
                                ("its outputs' folder is looked at: whether they are there already".to_owned(), None)
                            }
                            (Place::Held(_), None, _) => {
                                ("another job is just doing the same work; its result will serve both".to_owned(), None)
                            }
                            _ => waits(at_work),
                        };
                        (state, why, advice)
                    }
                    None if job.is_gather() => {
                        let open = batch.counts.total() - batch.counts.ended();
                        let why = format!("it waits until all inputs have ended; {open} have not");
                        (JobState::Pending.name().to_owned(), why, None)
                    }
                    None => {
                        let (why, advice) = halted.unwrap_or_else(|| waits(at_work));
                        (JobState::Pending.name().to_owned(), why, advice)
                    }
                }
            }
        };
        Ok(Response::Explained(vec![Explanation { target, state, why, advice }]))
    }

    fn overlay(&mut self, client: ClientId, asked: Option<&[BatchId]>, with_jobs: bool) {
        let ids: Vec<BatchId> = match asked {
            Some(ids) => ids.to_vec(),
            None => self.batches.keys().copied().collect(),
        };
        let (mut batches, mut jobs) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(batch) = self.batches.get_mut(&id) else { continue };
            batches.push(batch.view());
            if with_jobs {
                jobs.extend(batch.active.iter().filter_map(|index| batch.job_view(*index)));
            }
        }
        self.effects.push(Effect::Answer { client, answer: Answer::Overlay { batches, jobs } });
    }

    fn watch(&mut self, client: ClientId, peer: Peer, scope: &Scope) {
        let ids: Vec<BatchId> = match scope {
            Scope::House | Scope::Overview => self.batches.keys().copied().collect(),
            Scope::Batches(ids) => ids.clone(),
            Scope::Window { batch, .. } => vec![*batch],
        };
        let (mut batches, mut jobs) = (Vec::new(), Vec::new());
        for id in ids {
            let Some(batch) = self.batches.get_mut(&id).filter(|batch| peer.sees(batch.owner)) else { continue };
            batches.push(batch.view());
            if *scope == Scope::Overview {
                continue;
            }
            jobs.extend(batch.active.iter().filter_map(|index| batch.job_view(*index)));
        }
        // What is out of order may speak of anybody's files.
        let alerts = if peer.admin { self.alerts.clone() } else { Vec::new() };
        let answer = Answer::Watching { seq: self.seq, paused: self.paused, batches, jobs, alerts };
        self.effects.push(Effect::Answer { client, answer });
    }

    /// The house as this peer sees it: batches are counted that are its own to see, lanes and memory are the machine's.
    pub(super) fn house(&self, peer: Peer) -> HouseView {
        let mut counts = Counts::default();
        let mut batches_open = 0;
        for batch in self.batches.values().filter(|batch| peer.sees(batch.owner)) {
            batches_open += 1;
            let own = batch.counts;
            counts.pending += own.pending;
            counts.running += own.running;
            counts.retrying += own.retrying;
            counts.completed += own.completed;
            counts.skipped += own.skipped;
            counts.failed += own.failed;
            counts.cancelled += own.cancelled;
        }
        HouseView {
            version: self.config.version.clone(),
            pid: self.config.pid,
            started_at: self.config.started_at,
            paused: self.paused,
            draining: self.draining || self.stopping,
            batches_open,
            counts,
            lanes: self
                .lanes()
                .filter(|lane| *lane != Lane::Api)
                .map(|lane| (lane.to_string(), self.used_of(lane), self.slots_of(lane)))
                .chain(self.api_lanes())
                .collect(),
            memory_mib: (self.memory_used, self.config.memory_mib),
            closed: self
                .breaker
                .all()
                .map(|(_, closed)| closed.view(self.now.mono))
                .map(|closed| told_of(peer, closed))
                .collect(),
            alerts: self.firing.values().filter(|_| peer.admin).cloned().collect(),
            done: if peer.admin { self.done } else { WorkDone::default() },
            eta: self.house_eta().filter(|_| peer.admin || batches_open as usize == self.batches.len()),
            state_dir: self.config.state_dir.clone(),
            model_dir: self.config.model_dir.clone(),
            devices: self.gpus.views(),
            no_device: self.gpus.none(),
        }
    }

    fn drain(&mut self, peer: Peer) -> Result<(Vec<Response>, Vec<RunId>), Refusal> {
        peer.must_be_admin("drain the daemon")?;
        self.draining = true;
        self.forget_etas();
        let ids: Vec<BatchId> = self.at_work.iter().copied().collect();
        for id in ids {
            self.step_back(id);
            self.touch(id);
        }
        Ok((vec![], self.runs.keys().copied().collect()))
    }

    fn shutdown(&mut self, peer: Peer) -> Result<(Vec<Response>, Vec<RunId>), Refusal> {
        peer.must_be_admin("stop the daemon")?;
        self.stopping = true;
        self.forget_etas();
        let ids: Vec<BatchId> = self.at_work.iter().copied().collect();
        let mut runs = Vec::new();
        for id in ids {
            self.step_back(id);
            let active = self.active_of(id);
            runs.extend(self.stop_runs(active, Why::Drain));
            self.touch(id);
        }
        Ok((vec![], self.runs.keys().copied().collect()))
    }
}

/// The last that was seen of it may have been seen of anybody's file.
fn told_of(peer: Peer, closed: ClosedView) -> ClosedView {
    match peer.admin {
        true => closed,
        false => ClosedView { why: "it failed again and again".to_owned(), parked: 0, ..closed },
    }
}

/// What was done to each thing named. Where nothing was done at all: why, with the code that fits.
fn told(acted: Vec<Acted>, refused: Vec<Refusal>) -> Result<Vec<Response>, Refusal> {
    let nothing = refused.len() == acted.len();
    match refused.into_iter().next().filter(|_| nothing) {
        Some(first) => Err(first),
        None => Ok(vec![Response::Acted(acted)]),
    }
}

/// The job that gathers a batch's results; its outputs carry the batch's number.
fn gather_job(id: BatchId, to: &OutputPlan, recipe: &Recipe) -> JobSpec {
    let stem = [to.stem.0.as_slice(), format!("-{id}").as_bytes()].concat();
    JobSpec {
        input: Input::Name("gather".to_owned()),
        output: OutputPlan { directory: to.directory.clone(), stem: PathBytes(stem) },
        stages: Some(recipe.gather.clone()),
        skip: None,
        replace: Vec::new(),
    }
}

/// What is told of a submission's inputs by looking at each.
struct Survey {
    /// Of all inputs together.
    bytes: u64,
    skipped: Vec<bool>,
    /// KiB of each, for estimates.
    sizes: Vec<u32>,
}

impl Survey {
    fn of(spec: &BatchSpec, jobs: &Packed<JobSpec>) -> Result<Self, Refusal> {
        let (skipped, sizes) = (Vec::with_capacity(jobs.len()), Vec::with_capacity(jobs.len()));
        let mut survey = Survey { bytes: 0, skipped, sizes };
        for job in jobs.iter() {
            if let Some(own) = &job.stages {
                let recipe = Recipe { name: spec.recipe.name.clone(), map: own.clone(), gather: Vec::new() };
                recipe.validate().map_err(|message| Refusal::new(RefusalKind::Usage, message))?;
            }
            survey.bytes = survey.bytes.saturating_add(job.input.bytes());
            survey.skipped.push(job.skip.is_some());
            survey.sizes.push(estimate::size_of(&job, job.stages.as_ref().unwrap_or(&spec.recipe.map)));
        }
        Ok(survey)
    }
}

fn check_spec(spec: &BatchSpec, jobs: usize) -> Result<(), Refusal> {
    let usage = |message: String| Err(Refusal::new(RefusalKind::Usage, message));
    if let Err(message) = spec.recipe.validate() {
        return usage(message);
    }
    if jobs == 0 {
        return usage("there are no inputs".to_owned());
    }
    if jobs > limits::INPUTS_MAX {
        let message = format!("{jobs} inputs are more than {}", limits::INPUTS_MAX);
        return Err(Refusal::new(RefusalKind::Limit, message).hint("submit them as several batches"));
    }
    if spec.recipe.gather.is_empty() == spec.gather_to.is_some() {
        return usage("a recipe that gathers needs a place for it, and no other does".to_owned());
    }
    if spec.gather_to.is_some() && jobs > limits::GATHERED_MAX {
        let message = format!("{jobs} inputs are more than {} whose results are gathered", limits::GATHERED_MAX);
        return Err(Refusal::new(RefusalKind::Limit, message).hint("submit them as several batches"));
    }
    if !(1..=limits::PARALLEL_MAX).contains(&spec.parallel) {
        return usage(format!("--parallel {} is outside 1–{}", spec.parallel, limits::PARALLEL_MAX));
    }
    if spec.terms.after.len() > limits::AFTER_MAX {
        return usage(format!("{} batches to wait for are more than {}", spec.terms.after.len(), limits::AFTER_MAX));
    }
    if let Some(TimeLimit::TimesMedia(times)) = spec.timeout
        && !(0.01..=1_000.0).contains(&times)
    {
        return usage(format!("--timeout {times}x is outside 0.01x–1000x"));
    }
    if spec.priority.0 > 100 {
        return usage(format!("priority {} is outside 0–100", spec.priority));
    }
    if spec.tags.len() > limits::TAGS_MAX {
        return usage(format!("{} tags are more than {}", spec.tags.len(), limits::TAGS_MAX));
    }
    let texts = spec.tags.iter().flat_map(|(key, value)| [key, value]).chain(&spec.name).chain(&spec.key);
    if let Some(long) = texts.into_iter().find(|text| text.len() > limits::NAME_BYTES_MAX) {
        return usage(format!("a name, key or tag has {} bytes, more than {}", long.len(), limits::NAME_BYTES_MAX));
    }
    Ok(())
}
