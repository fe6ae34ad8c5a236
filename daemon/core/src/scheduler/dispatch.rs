//! Dispatch: which job comes to work next, and which run starts.

use spindle_shared::batch::Priority;
use spindle_shared::event::Fact;
use spindle_shared::failure::FailureKind;
use spindle_shared::id::{AddressHasher, BatchId, ContentHash, JobId, RunId, WorkerId};
use spindle_shared::job::Detail;
use spindle_shared::lane::Lane;
use spindle_shared::stage::Stage;
use spindle_shared::worker::{Outcome, Published};

use super::{Run, Scheduler, apis};
use crate::batch::{Batch, Facts, Job, Place};
use crate::cache;
use crate::change::{OpenJob, StoredArtifact};
use crate::effect::{Effect, FoundInput, LookupOutputs, Start};
use crate::job::Step;
use crate::queue::Need;
use crate::rates::Scale;

/// Begins the note that says which stages another job's work has saved.
const FROM_THE_CACHE: &str = "from the cache: ";
/// The stage whose saving is worth no word: a job finds what was fetched for itself alone.
const FETCH: &str = "fetch";
/// A wait after a restart is never longer than this, whatever the clock says.
const WAIT_AFTER_RESTART_MS_MAX: u64 = 3_600_000;

impl Scheduler {
    /// Starts whatever can start.
    pub(super) fn dispatch(&mut self) {
        if self.paused || self.draining || self.stopping {
            return;
        }
        for lane in self.lanes() {
            while let Some(id) = self.queue.first(Need::Admission(lane)) {
                let Some(priority) = self.batches.get(&id).map(|batch| batch.priority) else { break };
                if self.ahead_of(lane, priority) >= self.ahead_max(lane) {
                    break;
                }
                self.admit(id);
            }
        }
        if self.is_looking() {
            // The answers come within the turn; whoever is more urgent, or had less, may be among them.
            return;
        }
        // Who starts in one lane may bring another to the front in the next.
        loop {
            while let Some((id, lane)) = self.next_of_all() {
                self.start(id, lane);
            }
            if !self.wake_asking() {
                break;
            }
        }
    }

    /// Who starts next, and where.
    fn next_of_all(&self) -> Option<(JobId, Lane)> {
        let mut lanes = Lane::ALWAYS.into_iter().chain(self.gpus.smallest_first());
        lanes.find_map(|lane| Some((self.next_start(lane)?, lane)))
    }

    /// Who gets the next slot of this lane, if there is one and the memory that the run is expected to take. Where memory is what is missing
    /// nobody smaller goes before: a large one would wait for ever.
    pub(super) fn next_start(&self, lane: Lane) -> Option<JobId> {
        if self.used_of(lane) >= self.allowed_of(lane) {
            return None;
        }
        let (wish, batch) = self.first_of(lane)?;
        let index = batch.next_ready(wish)?;
        let job = batch.job(index)?;
        let stage = batch.stages_of(job).get(job.stage)?;
        let memory = self.memory_of(stage, lane);
        let fits = self.memory_used == 0 || memory == 0 || self.memory_used + memory <= self.config.memory_mib;
        let fits = fits && self.gpus.may(lane, stage) && self.gpus.has_room(lane, stage);
        fits.then_some(batch.job_id(index))
    }

    /// Who is served next in this lane, and the lane that it waits for: a graphics card serves those who wait for a smaller one, too, and of equals
    /// those whom no smaller one can.
    fn first_of(&self, lane: Lane) -> Option<(Lane, &Batch)> {
        let wishes = self.lanes().filter(|wish| self.gpus.serves(lane, *wish));
        let first = wishes.filter_map(|wish| Some((wish, self.batches.get(&self.queue.first(Need::Slot(wish))?)?)));
        first.min_by_key(|(wish, batch)| (batch.priority, std::cmp::Reverse(self.gpus.memory_mib(*wish).1)))
    }

    /// Memory that a run of this stage is expected to take, in MiB: as runs of it on this machine took, a little more rather than less, or as
    /// the registry says.
    pub(super) fn memory_of(&self, stage: &Stage, lane: Lane) -> u32 {
        let unknown = stage.memory_mib();
        if unknown == 0 {
            return 0;
        }
        let learned = self.rates.get(&self.gpus.memory_key(stage, lane)).filter(|rate| rate.count > 0);
        learned.map_or(unknown, |rate| (rate.expect(Scale::Kib, 1.0) * (1.0 + rate.spread())).clamp(1.0, 1e9) as u32)
    }

    /// Whether the store is asked about any job.
    pub(super) fn is_looking(&self) -> bool {
        self.at_work.iter().filter_map(|id| self.batches.get(id)).any(|batch| batch.looking > 0)
    }

    /// Jobs at work for this lane that are at least as urgent; what is prepared ahead of a lane is bounded house-wide.
    fn ahead_of(&self, lane: Lane, priority: Priority) -> u32 {
        self.at_work
            .iter()
            .filter_map(|id| self.batches.get(id))
            .filter(|batch| batch.lane == lane && batch.priority <= priority && !batch.is_halted())
            .map(|batch| batch.at_work)
            .sum()
    }

    fn ahead_max(&self, lane: Lane) -> u32 {
        // What a card works on the processor has prepared.
        let cards = self.lanes().filter(|card| lane == Lane::Cpu && card.gpu().is_some());
        2 * (self.slots_of(lane) + cards.map(|card| self.slots_of(card)).sum::<u32>()) + self.slots_of(Lane::Io)
    }

    /// Brings a batch's next waiting job to work: what is known of its input is looked up first.
    fn admit(&mut self, id: BatchId) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        let Some(index) = batch.next_waiting() else { return };
        if batch.job(index).is_none() {
            let job = batch.new_job(index, OpenJob::default());
            batch.activate(index, job);
        }
        self.served += 1;
        batch.admitted = self.served;
        self.queue.serve(Need::Admission(batch.lane), batch.owner, self.served);
        self.look_up(JobId { batch: id, index });
    }

    /// Asks the store about a job's input; the answer comes within the turn. What it wanted before it wants until then.
    pub(super) fn look_up(&mut self, id: JobId) {
        if id.is_gather() {
            return self.look_up_results(id);
        }
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let identity = batch.change(id.index, |job| {
            job.place = Place::Looking;
            job.identity
        });
        if let Some(identity) = identity {
            self.effects.push(Effect::LookupInput { job: id, identity });
        }
        self.touch(id.batch);
    }

    pub(super) fn input_found(&mut self, id: JobId, found: FoundInput) {
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        if batch.job(id.index).is_none_or(|job| job.place != Place::Looking) {
            return;
        }
        let is_file = found.is_file;
        let content = found.content;
        if is_file {
            batch.resize(id.index, found.bytes);
        }
        let facts = Facts { stages: found.stages, ..Facts::default() };
        let before = batch.change(id.index, |job| job.facts.replace(facts)).flatten();
        match content {
            Some(content) => self.identified(id, content),
            None if self.first_stage(id).is_some_and(|stage| matches!(stage, Stage::Fetch(_))) => {
                // Perhaps it is here already: its content then is what was fetched.
                self.want(id, vec![Some(cache::fetched(id))], None);
            }
            None => {
                // Unknown content: the first stage finds it out. Nothing to identify: the first stage does the work.
                let identifies = self.first_stage(id).is_some_and(|stage| matches!(stage, Stage::Identify(_)));
                let skip = usize::from(!is_file && identifies);
                self.make_ready(id, skip);
            }
        }
        self.want_no_more(before.unwrap_or_default());
    }

    fn first_stage(&self, id: JobId) -> Option<&Stage> {
        let batch = self.batches.get(&id.batch)?;
        batch.stages_of(batch.job(id.index)?).first()
    }

    /// The input's content is known: what of the way is done already?
    pub(super) fn identified(&mut self, id: JobId, content: ContentHash) {
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        let addresses = cache::addresses(id, batch.stages_of(job), content);
        self.want(id, addresses, Some(content));
    }

    /// A job has these on its way from now on, instead of what it had; the store is asked which of them are there. `content`: of its input.
    fn want(&mut self, id: JobId, addresses: Vec<Option<ContentHash>>, content: Option<ContentHash>) {
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        // The gather works on the inputs once more, long after their jobs have ended.
        let rereads = batch.spec.recipe.gather.iter().any(Stage::rereads_inputs);
        for (stage, address) in batch.stages_of(job).iter().zip(&addresses) {
            if let Some(address) = address {
                let wanted = self.wanted.entry(*address).or_default();
                wanted.jobs += 1;
                wanted.transient = stage.facts().transient && !(rereads && matches!(stage, Stage::Fetch(_)));
            }
        }
        let asked: Vec<_> = addresses.iter().copied().flatten().collect();
        let before = batch.change(id.index, |job| {
            job.place = Place::Looking;
            let facts = job.facts.get_or_insert_default();
            let stages = facts.stages.take();
            // What its own run has just left is there, whatever a look says.
            let known = |(at, address): (usize, &Option<_>)| match facts.addresses.get(at) == Some(address) {
                true => facts.artifacts.get(at).cloned().flatten(),
                false => None,
            };
            let artifacts = addresses.iter().enumerate().map(known).collect();
            std::mem::replace(facts, Facts { stages, content, addresses, artifacts })
        });
        self.effects.push(Effect::LookupArtifacts { job: id, addresses: asked });
        self.want_no_more(before.unwrap_or_default());
    }

    pub(super) fn artifacts_found(&mut self, id: JobId, found: Vec<Option<StoredArtifact>>) {
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        if batch.job(id.index).is_none_or(|job| job.place != Place::Looking) {
            return;
        }
        let identify = batch
            .job(id.index)
            .map_or(0, |job| usize::from(matches!(batch.stages_of(job).first(), Some(Stage::Identify(_)))));
        let asked: Vec<_> = batch.job(id.index).and_then(|job| job.facts.as_ref()).into_iter().collect();
        for (address, found) in asked.iter().flat_map(|facts| facts.addresses.iter().flatten()).zip(&found) {
            if let Some(wanted) = self.wanted.get_mut(address) {
                wanted.stored = found.is_some();
            }
        }
        // Nothing but what was fetched was asked for: now that it is here, its content is known, and all the rest by that.
        let content =
            batch.job(id.index).and_then(|job| job.facts.as_ref()).map_or(Some(None), |facts| facts.content.map(Some));
        if content.is_none() {
            return self.fetched_found(id, found.into_iter().next().flatten());
        }
        let next = batch.change(id.index, |job| {
            let mut next = identify;
            let mut found = found.into_iter();
            let mut reused: Vec<String> = Vec::new();
            let Some(facts) = &mut job.facts else { return next };
            for stage in 0..facts.addresses.len() {
                if facts.addresses[stage].is_none() {
                    continue;
                }
                if let Some(artifact) = found.next().flatten() {
                    next = stage + 1;
                    if artifact.stage != FETCH && !job.open.timings.iter().any(|(done, _)| *done == artifact.stage) {
                        reused.push(artifact.stage.clone());
                    }
                    facts.artifacts[stage] = Some(artifact.files);
                    job.open.detail.absorb(artifact.detail);
                } else if facts.artifacts[stage].is_some() {
                    next = stage + 1;
                }
            }
            if !reused.is_empty() {
                let notes = &mut job.open.detail.notes;
                notes.retain(|note| !note.starts_with(FROM_THE_CACHE));
                notes.push(format!("{FROM_THE_CACHE}{}", reused.join(", ")));
            }
            next
        });
        if let Some(next) = next
            && !self.look_at_outputs(id, next)
        {
            self.make_ready(id, next);
        }
    }

    /// An input from elsewhere is here, or has to be fetched.
    fn fetched_found(&mut self, id: JobId, found: Option<StoredArtifact>) {
        let Some((content, files)) = found.and_then(|found| Some((cache::fetched_content(&found.files)?, found.files)))
        else {
            return self.make_ready(id, 0);
        };
        if let Some(batch) = self.batches.get_mut(&id.batch) {
            batch.resize(id.index, files.iter().map(|file| file.bytes).sum());
        }
        self.identified(id, content);
    }

    /// Everything but publishing is done already: perhaps that is, too. Gives whether it asks.
    fn look_at_outputs(&mut self, id: JobId, next: usize) -> bool {
        let Some(batch) = self.batches.get_mut(&id.batch) else { return false };
        let Some(job) = batch.job(id.index) else { return false };
        let stages = batch.stages_of(job);
        let Some(Stage::Publish(stage)) = stages.get(next).filter(|_| next + 1 == stages.len()) else { return false };
        let feed = job.facts.as_ref().and_then(|facts| facts.artifacts.get(next.checked_sub(1)?)?.clone());
        let Some(files) = feed else { return false };
        let look = RunId { boot: self.boot, counter: self.run_counter + 1 };
        let asked =
            LookupOutputs { look, job: id, stage: stage.clone(), language: job.open.detail.language.clone(), files };
        batch.change(id.index, |job| job.place = Place::Checking(look));
        self.run_counter += 1;
        self.effects.push(Effect::LookupOutputs(Box::new(asked)));
        self.touch(id.batch);
        true
    }

    /// The outputs are there, and the job is done; or they are not, and publishing waits for its slot.
    pub(super) fn outputs_found(&mut self, look: RunId, id: JobId, outputs: Option<Vec<Published>>) {
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        if job.place != Place::Checking(look) {
            return;
        }
        let last = batch.stages_of(job).len().saturating_sub(1);
        let Some(outputs) = outputs else { return self.make_ready(id, last) };
        let started_at = self.now.wall;
        batch.change(id.index, |job| {
            job.stage = last;
            job.stage_known = true;
            job.open.started_at = job.open.started_at.or(Some(started_at));
            if let Some(note) = job.open.detail.notes.iter_mut().find(|note| note.starts_with(FROM_THE_CACHE)) {
                note.push_str(", publish");
            }
        });
        if batch.started_at.is_none() {
            batch.started_at = Some(started_at);
        }
        self.record_outputs(id, outputs);
        self.end_job(id, Step::Finish, None);
    }

    /// Waits for a slot of the stage's lane from here on.
    pub(super) fn make_ready(&mut self, id: JobId, stage: usize) {
        let Some(batch) = self.batches.get(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        let goes_on = job.stage_known && job.stage == stage;
        let fell_back = goes_on && job.fallback.is_some();
        let Some(lane) = batch.stages_of(job).get(stage).map(|stage| self.lane_for(stage, fell_back)) else {
            self.end_job(id, Step::Finish, None);
            return;
        };
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        let halted = batch.is_halted() || self.paused || self.draining || self.stopping;
        let group = group_of(batch, job, stage);
        let passed = batch.change(id.index, |job| {
            job.group = group;
            if !goes_on {
                job.fallback = None;
            }
            // Tries are of one stage; those from before a restart count for the stage it goes on at.
            let passed = job.stage_known && job.stage != stage && job.open.failure.take().is_some();
            if job.stage_known && job.stage != stage {
                job.open.attempts = 0;
            }
            job.stage = stage;
            job.stage_known = true;
            job.place = if halted { Place::Waiting } else { Place::Ready(lane) };
            passed
        });
        if passed == Some(true) {
            self.write_open(id);
            self.dirty.insert(id.batch);
        }
        self.note_progress(id, 0.0);
        self.touch(id.batch);
    }

    /// Starts the next stage of a ready job in this lane, unless another run is just making the same artifact.
    fn start(&mut self, id: JobId, lane: Lane) {
        let run = RunId { boot: self.boot, counter: self.run_counter + 1 };
        let wall = self.now.wall;
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        let stages = batch.stages_of(job);
        let (at, Some(stage)) = (job.stage, stages.get(job.stage).cloned()) else { return };
        let facts = job.facts.clone().unwrap_or_default();
        let address = facts.addresses.get(at).copied().flatten();
        if let Some(number) = self.closed_for(id, &stage) {
            return self.park(id, number, None);
        }
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let Some(job) = batch.job(id.index) else { return };
        if let Some(address) = address.filter(|address| self.making.contains_key(address)) {
            batch.change(id.index, |job| job.place = Place::Held(address));
            self.held.entry(address).or_default().insert(id);
            self.touch(id.batch);
            return;
        }
        if address.and_then(|address| self.wanted.get(&address)).is_some_and(|wanted| wanted.stored) {
            // Somebody has made it since this job looked.
            self.look_up(id);
            return;
        }
        // The last artifact before this stage; without one, the input itself.
        let feed = (0..at.min(facts.addresses.len()))
            .rev()
            .find(|earlier| facts.addresses[*earlier].is_some())
            .and_then(|earlier| Some((facts.addresses[earlier]?, facts.artifacts[earlier].clone()?)));
        let length = job.open.detail.media_seconds;
        let timeout_ms = batch.spec.timeout.and_then(|limit| limit.ms(length)).unwrap_or(stage.facts().timeout_ms);
        let Ok(state) = job.state.after(Step::Start(run)) else { return };
        // From here on the run begins, and with it the permit has an owner.
        let Ok(asked) = self.take_permit(id, &stage) else { return };
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let started = batch.change(id.index, |job| {
            job.state = state;
            job.place = Place::Working;
            job.open.attempts += 1;
            job.open.started_at = job.open.started_at.or(Some(wall));
            (job.open.detail.clone(), job.open.alone, job.identity)
        });
        let Some((detail, alone, identity)) = started else { return };
        self.run_counter += 1;
        self.queue.owner_running(batch.owner, 1);
        self.served += 1;
        batch.started = self.served;
        self.queue.serve(Need::Slot(lane), batch.owner, self.served);
        if batch.started_at.is_none() {
            batch.started_at = Some(wall);
        }
        self.touch(id.batch);
        let slots = if stage.facts().spreads { self.share_of(lane) } else { 1 };
        *self.used.entry(lane).or_default() += slots;
        let memory_mib = self.memory_of(&stage, lane);
        self.memory_used += memory_mib;
        let card_mib = if lane.gpu().is_some() { stage.memory_mib() } else { 0 };
        self.gpus.take(lane, card_mib);
        let since = self.now.mono;
        let (begun, first_heard, heard) = (0.0, None, None);
        let credited = 0.0;
        let key = asked.as_ref().map(apis::Asked::key);
        self.runs.insert(
            run,
            Run {
                job: id,
                lane,
                slots,
                memory_mib,
                card_mib,
                since,
                address,
                credited,
                begun,
                first_heard,
                heard,
                asked,
            },
        );
        if let Some(address) = address {
            self.making.insert(address, run);
        }
        // That it runs promises nothing: it is told at once, and written with what it leads to.
        self.effects.push(Effect::Start(Box::new(Start {
            run,
            job: id,
            stage,
            lane,
            address,
            feed,
            identity,
            detail,
            alone,
            slots,
            memory_mib,
            timeout_ms,
            key,
        })));
    }

    pub(super) fn progress(&mut self, run: RunId, worker: WorkerId, done: f32, begun: f32) {
        let Some(id) = self.runs.get(&run).map(|run| run.job) else { return };
        self.note_worker(id, worker);
        self.hear(run, done, begun);
        self.credit_progress(id, run);
        let Some(before) = self.batches.get(&id.batch).and_then(|batch| batch.job(id.index)) else { return };
        let before = before.open.progress;
        let Some(share) = self.note_progress(id, done).filter(|share| *share > before) else { return };
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        let stage = batch.job_view(id.index).map(|view| view.stage).unwrap_or_default();
        let batch_done = batch.progress();
        self.publish(Fact::Progress { job: id, stage, done: share, batch_done });
    }

    /// Slots for a run that can use any number of them and starts now in this lane, which has at least one free: all that are free where nobody
    /// else is going to need one, and an even share where there are others.
    fn share_of(&self, lane: Lane) -> u32 {
        let free = self.allowed_of(lane).saturating_sub(self.used_of(lane)).max(1);
        let admission = if lane.gpu().is_some() { Lane::Cpu } else { lane };
        if self.queue.first(Need::Admission(admission)).is_some() {
            // More jobs than are prepared at once.
            return 1;
        }
        let (mut others, mut theirs) = (0, 0);
        let open = self.at_work.iter().filter_map(|id| self.batches.get(id)).filter(|batch| !batch.is_halted());
        let coming =
            open.flat_map(|batch| batch.coming(self.is_mostly_in(batch, lane), |wish| self.gpus.serves(lane, wish)));
        for run in coming {
            others += 1;
            // What it holds on its way it will have to spend there.
            theirs += run.and_then(|run| self.runs.get(&run)).filter(|run| run.lane == lane).map_or(0, |run| run.slots);
        }
        ((free + theirs) / (1 + others)).clamp(1, free)
    }

    /// The first that is heard of a run tells who has it; short ones are over before.
    fn note_worker(&mut self, id: JobId, worker: WorkerId) {
        let Some(batch) = self.batches.get_mut(&id.batch) else { return };
        if batch.job(id.index).is_some_and(|job| job.worker.is_none()) {
            batch.change(id.index, |job| job.worker = Some(worker.to_string()));
            self.changed.insert(id.batch);
        }
    }

    /// Takes the share of the present stage over into the job's; gives the job's. It never goes back.
    fn note_progress(&mut self, id: JobId, done: f32) -> Option<f32> {
        let batch = self.batches.get_mut(&id.batch)?;
        let job = batch.job(id.index)?;
        let weights: Vec<u32> = batch.stages_of(job).iter().map(|stage| stage.facts().weight).collect();
        let before: u32 = weights.iter().take(job.stage).sum();
        let own = weights.get(job.stage).copied().unwrap_or(0) as f32;
        let total: u32 = weights.iter().sum();
        let done = if done.is_finite() { done.clamp(0.0, 1.0) } else { 0.0 };
        let share = (before as f32 + own * done) / total.max(1) as f32;
        batch.advance(id.index, share)
    }

    /// What waited for its time and has it now.
    pub(super) fn wake_delayed(&mut self) {
        while let Some((at, id)) = self.delayed.first().copied() {
            if at > self.now.mono {
                break;
            }
            self.delayed.remove(&(at, id));
            let Some(batch) = self.batches.get_mut(&id.batch) else { continue };
            let Some(Place::Delayed { until, keeps }) = batch.job(id.index).map(|job| job.place) else { continue };
            if until != at {
                continue;
            }
            let halted = batch.is_halted() || self.paused || self.draining || self.stopping;
            if keeps && !halted {
                self.look_up(id);
            } else {
                batch.change(id.index, |job| job.place = Place::Waiting);
                self.touch(id.batch);
            }
        }
    }

    /// Puts the waits of a recovered batch back, by what the wall clock says is left of them.
    pub(super) fn resume_waits(&mut self, id: BatchId) {
        let Some(batch) = self.batches.get_mut(&id) else { return };
        for index in batch.active.clone() {
            let Some(ready_at) = batch.job(index).and_then(|job| job.open.ready_at) else { continue };
            let left = ready_at.0.saturating_sub(self.now.wall.0).min(WAIT_AFTER_RESTART_MS_MAX);
            if left > 0 {
                let until = self.now.mono.plus(left);
                batch.change(index, |job| job.place = Place::Delayed { until, keeps: false });
                batch.course.delayed_until = batch.course.delayed_until.max(until);
                self.delayed.insert((until, JobId { batch: id, index }));
            }
        }
    }

    /// Ends a run's hold on its slots and its address. Gives its job, its seconds and its lane; `None` = it is not current.
    ///
    /// **Invariant:** a report whose RunId is not current is ignored.
    pub(super) fn release(&mut self, run: RunId) -> Option<(JobId, f64, Lane)> {
        let ended = self.runs.remove(&run)?;
        if let Some(asked) = ended.asked {
            self.give_permit_back(asked);
        }
        if let Some(used) = self.used.get_mut(&ended.lane) {
            *used -= ended.slots;
            if let Some(excess) = self.excess.get_mut(&ended.lane) {
                *excess = (*excess).min(*used);
            }
        }
        self.memory_used -= ended.memory_mib;
        self.memory_excess = self.memory_excess.min(self.memory_used);
        self.gpus.give_back(ended.lane, ended.card_mib);
        if let Some(batch) = self.batches.get(&ended.job.batch) {
            self.queue.owner_running(batch.owner, -1);
        }
        if let Some(address) = ended.address {
            self.making.remove(&address);
        }
        Some((ended.job, self.now.mono.since(ended.since) as f64 / 1_000.0, ended.lane))
    }

    /// Jobs that waited for an artifact look again, after its maker's result is written.
    pub(super) fn wake_held(&mut self, address: Option<ContentHash>) {
        for id in address.and_then(|address| self.held.remove(&address)).unwrap_or_default() {
            if self
                .batches
                .get(&id.batch)
                .and_then(|batch| batch.job(id.index))
                .is_some_and(|job| matches!(job.place, Place::Held(_)))
            {
                self.look_up(id);
            }
        }
    }

    pub(super) fn address_of(&self, run: RunId) -> Option<ContentHash> {
        self.runs.get(&run).and_then(|run| run.address)
    }

    /// What a run that came to nothing has asked stays with its job.
    pub(super) fn spent(&mut self, id: JobId, figures: &Detail) {
        if figures.figures.is_empty() {
            return;
        }
        if let Some(batch) = self.batches.get_mut(&id.batch) {
            batch.change(id.index, |job| job.open.detail.absorb(figures.clone()));
            self.write_open(id);
        }
    }

    pub(super) fn ended(&mut self, run: RunId, outcome: Outcome) {
        let address = self.address_of(run);
        if let (Some(of), Outcome::Done(done)) = (self.runs.get(&run).map(|run| run.job), &outcome) {
            self.learn_memory(of, run, done.memory_bytes);
            self.learn(run, done);
            self.credit_end(of, run, done);
        }
        let asked = self.key_of(run);
        let figures = match &outcome {
            Outcome::Done(done) => self.note_call(run, Some(true), Some(done.usage)),
            // What the input is to blame for says nothing of the service.
            Outcome::Failed(failure) => self.note_call(run, Some(failure.kind == FailureKind::Input), None),
            Outcome::Stopped => self.note_call(run, None, None),
        };
        let Some((id, seconds, lane)) = self.release(run) else { return };
        if !matches!(outcome, Outcome::Done(_)) {
            self.spent(id, &figures);
        }
        match outcome {
            Outcome::Done(done) => self.done(id, run, *done, seconds, lane, figures),
            Outcome::Failed(failure) if self.falls_back(id, lane, failure.kind, &failure.message) => {}
            Outcome::Failed(failure) if asked.is_some() && self.refused_by_api(id, asked, &failure) => {}
            // As the worker sees it; whether anybody wished it is known here.
            Outcome::Failed(failure) if failure.kind == FailureKind::Cancelled => self.stopped(id, run),
            Outcome::Failed(failure) => self.failed(id, run, failure),
            Outcome::Stopped => self.stopped(id, run),
        }
        self.touch(id.batch);
        self.wake_held(address);
    }
}

/// Jobs with this number want the model that their batch names; those with an own one are together by it.
fn group_of(batch: &Batch, job: &Job, stage: usize) -> u32 {
    let model = |stages: &[Stage]| stages.get(stage).and_then(Stage::model).map(str::to_owned);
    match model(batch.stages_of(job)) {
        own if own == model(&batch.spec.recipe.map) => 0,
        None => 0,
        Some(own) => {
            let mut hasher = AddressHasher::default();
            hasher.part(own.as_bytes());
            let [a, b, c, ..] = hasher.finish().0;
            1 + u32::from_le_bytes([a, b, c, 0])
        }
    }
}
