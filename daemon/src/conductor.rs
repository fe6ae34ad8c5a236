//! THE LOOP: its own thread, owner of the scheduler and the store. Waits only for its inbox, its timer and the disk, and alone writes.
//!
//! A turn takes what waits in the inbox, steps the scheduler through it, commits every change of the turn at once, and only then does the rest.

use std::collections::{BTreeMap, HashMap};
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use spindle_core::alert::Vitals;
use spindle_core::cache;
use spindle_core::change::{Change, EndedJob};
use spindle_core::effect::{
    Answer, ClientId, Command, Death, Effect, FoundInput, Input, LookupOutputs, Peer, RetryItem, Start,
};
use spindle_core::outbox::{Outbox, Tried, Verdict};
use spindle_core::scheduler::Scheduler;
use spindle_core::turn;
use spindle_shared::batch::{BatchSpec, BatchState, BatchView};
use spindle_shared::event::{Event, Fact};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{AddressHasher, BatchId, ContentHash, JobId, Owner, RunId};
use spindle_shared::job::{Detail, FileIdentity, Input as JobInput, JobSpec, JobState, Output, OutputPlan, PathBytes};
use spindle_shared::notify::Notify;
use spindle_shared::object_store::{self, ANY};
use spindle_shared::stage::Stage;
use spindle_shared::stage::deliver::Deliver;
use spindle_shared::stage::fetch::Fetch;
use spindle_shared::stage::publish::Publish;
use spindle_shared::stage::upload::Upload;
use spindle_shared::time::{MonoMs, Now, WallMs};
use spindle_shared::worker::{ArtifactFile, Assignment, InputFile, Outcome, Published};
use spindle_shared::{limits, output};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::artifacts::Artifacts;
use crate::gather;
use crate::hooks::{self, Hooks};
use crate::inbox::{Configured, Inbox, Message};
use crate::logs::jobs::JobLog;
use crate::providers::Provider;
use crate::server::watch::{Told, Watcher};
use crate::spool::Spool;
use crate::store::{Reader, Store, StoreError};
use crate::stores::{self, Stores};
use crate::telemetry::Tally;
use crate::workers::{self, Note, StartOrder, Supervisor, ToOpen};

/// Reads both clocks; the only place that does for the scheduler.
pub struct Clock {
    start: Instant,
}

impl Clock {
    pub fn new() -> Self {
        Clock { start: Instant::now() }
    }

    pub fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64);
        Now { wall: WallMs(wall), mono: MonoMs(self.start.elapsed().as_millis() as u64) }
    }
}

/// Why the loop ended otherwise than asked.
#[derive(Debug, thiserror::Error)]
pub enum Fatal {
    /// **Invariant:** if a commit fails, the daemon stops: memory ahead of disk never lives.
    #[error("failed to write the queue: {0}; what was not written was told to nobody, and the daemon stops now")]
    Commit(StoreError),
}

pub struct Conductor {
    scheduler: Scheduler,
    store: Store,
    reader: Reader,
    supervisor: Arc<Supervisor>,
    artifacts: Artifacts,
    clock: Clock,
    inbox: mpsc::Receiver<Message>,
    /// For answers of its own threads, which look at disks that may be slow.
    own_inbox: Inbox,
    runtime: Handle,
    clients: HashMap<ClientId, Client>,
    last_client: u64,
    watchers: Vec<Arc<Watcher>>,
    /// Of batches that were told of, for watchers who hear of their own only.
    owners: HashMap<BatchId, Owner>,
    /// What was submitted for jobs at work.
    specs: HashMap<JobId, Arc<JobSpec>>,
    /// What gather jobs at work have before them.
    gathered: HashMap<JobId, Arc<gather::Results>>,
    /// What each run leaves: where its files will belong, and whether it has a scratch folder for them.
    runs: HashMap<RunId, Leaves>,
    /// Salts the names of partial files, so that two daemons never take each other's.
    house: PathBytes,
    /// Where files of several users lie, whose names for them are told.
    spool: Option<Arc<Spool>>,
    providers: Vec<Provider>,
    /// Of what became durable since the start.
    tally: Tally,
    /// What the configuration says about fetching.
    fetching: Fetch,
    stores: Stores,
    /// What happens to jobs, for whoever asks later.
    log: JobLog,
    /// Jobs at work, by their runs, for the log alone.
    logged: HashMap<RunId, JobId>,
    hooks: Hooks,
    outbox: Outbox,
    /// What is to be written of notifications with the end of this turn.
    noted: Vec<Change>,
    /// Who waits for these to be durable.
    noting: Vec<oneshot::Sender<()>>,
    exit: bool,
}

#[derive(Debug, Default)]
struct Leaves {
    address: Option<ContentHash>,
    scratch: bool,
    /// Where it notes what is uploaded.
    uploads: Option<ContentHash>,
    /// The bucket that it brings so many bytes to.
    bringing: Option<(String, u64)>,
}

struct Client {
    reply: oneshot::Sender<Answer>,
    watcher: Option<Arc<Watcher>>,
}

/// What the conductor is made of.
pub struct Parts {
    pub scheduler: Scheduler,
    pub store: Store,
    pub supervisor: Arc<Supervisor>,
    pub artifacts: Artifacts,
    pub clock: Clock,
    pub inbox: mpsc::Receiver<Message>,
    pub own_inbox: Inbox,
    pub runtime: Handle,
    pub house: PathBytes,
    pub spool: Option<Arc<Spool>>,
    /// Model APIs that can be named.
    pub providers: Vec<Provider>,
    pub fetching: Fetch,
    pub stores: Stores,
    pub log: JobLog,
    pub hooks: Hooks,
    pub outbox: Outbox,
}

impl Conductor {
    pub fn new(parts: Parts) -> Self {
        let Parts {
            scheduler,
            store,
            supervisor,
            artifacts,
            clock,
            inbox,
            own_inbox,
            runtime,
            house,
            spool,
            providers,
            fetching,
            stores,
            log,
            hooks,
            outbox,
        } = parts;
        Conductor {
            providers,
            scheduler,
            reader: store.reader(),
            store,
            supervisor,
            artifacts,
            clock,
            inbox,
            own_inbox,
            runtime,
            clients: HashMap::new(),
            last_client: 0,
            watchers: Vec::new(),
            owners: HashMap::new(),
            specs: HashMap::new(),
            gathered: HashMap::new(),
            runs: HashMap::new(),
            house,
            spool,
            tally: Tally::default(),
            fetching,
            stores,
            log,
            logged: HashMap::new(),
            hooks,
            outbox,
            noted: Vec::new(),
            noting: Vec::new(),
            exit: false,
        }
    }

    /// Runs until told to stop or the disk fails. `effects`: what recovery left to do.
    pub fn run(mut self, effects: Vec<Effect>) -> Result<(), Fatal> {
        let result = self.turns(effects);
        self.supervisor.shutdown(WORKERS_GRACE_MS);
        result
    }

    fn turns(&mut self, effects: Vec<Effect>) -> Result<(), Fatal> {
        turn::settle(self, effects)?;
        self.tell_due();
        let mut messages = Vec::with_capacity(limits::TURN_INPUTS_MAX);
        while !self.exit {
            self.wait(&mut messages);
            let mut effects = Vec::new();
            for mut message in messages.drain(..) {
                if let Message::Command { peer, command, .. } = &mut message
                    && reads_the_store(command)
                {
                    // What it was prepared from may be older than what this turn has decided.
                    let decided = std::mem::take(&mut effects);
                    turn::settle(self, decided)?;
                    self.refresh(*peer, command);
                }
                if let Some(input) = self.input_of(message) {
                    effects.extend(self.scheduler.step(self.clock.now(), input));
                }
            }
            effects.extend(self.scheduler.step(self.clock.now(), Input::Tick));
            if !self.noted.is_empty() {
                effects.push(Effect::Commit(std::mem::take(&mut self.noted)));
            }
            turn::settle(self, effects)?;
            for reply in self.noting.drain(..) {
                // Whoever asked and has gone needs no answer.
                let _ = reply.send(());
            }
            self.tell_due();
        }
        Ok(())
    }

    /// Blocks until a message comes or the scheduler's time has; takes all that wait, up to a turn's limit.
    fn wait(&mut self, messages: &mut Vec<Message>) {
        let now = self.clock.now().mono;
        let due = self.scheduler.next_wakeup().map(|at| Duration::from_millis(at.since(now)));
        let wall = self.clock.now().wall;
        let tell = self.outbox.next_due().map(|at| Duration::from_millis(at.0.saturating_sub(wall.0).max(1)));
        let due = due.into_iter().chain(tell).min();
        let inbox = &mut self.inbox;
        let count = self.runtime.block_on(async {
            match due {
                None => inbox.recv_many(messages, limits::TURN_INPUTS_MAX).await,
                Some(due) => tokio::time::timeout(due, inbox.recv_many(messages, limits::TURN_INPUTS_MAX))
                    .await
                    .unwrap_or(usize::MAX),
            }
        });
        if count == 0 {
            // Every sender is gone: there is nobody left to work for.
            self.exit = true;
        }
    }

    /// Reads again what a command says of the store; the session read it some turns ago.
    fn refresh(&mut self, peer: Peer, command: &mut Command) {
        let refreshed = match command {
            Command::Submit { spec, repeats, after, .. } => self.refresh_submit(peer, spec, repeats, after),
            Command::Retry(items) => self.refresh_retry(items),
            Command::Remove(batches) => batches.iter_mut().try_for_each(|(id, owner)| {
                *owner = self.reader.batch(*id)?.map(|view| view.owner);
                // Once it is removed nobody else knows.
                self.owners.extend(owner.map(|owner| (*id, owner)));
                Ok(())
            }),
            _ => Ok(()),
        };
        if let Err::<(), StoreError>(error) = refreshed {
            tracing::error!("failed to read the queue: {error}");
        }
    }

    fn refresh_submit(
        &self,
        peer: Peer,
        spec: &BatchSpec,
        repeats: &mut Option<Box<BatchView>>,
        after: &mut Vec<(BatchId, BatchState)>,
    ) -> Result<(), StoreError> {
        if let Some(key) = &spec.key {
            let known = self.reader.batch_of_key(peer.owner, key)?;
            *repeats = known.map(|id| self.reader.batch(id)).transpose()?.flatten().map(Box::new);
        }
        for awaited in &spec.terms.after {
            after.extend(self.reader.batch(awaited.batch)?.map(|view| (view.id, view.state)));
        }
        Ok(())
    }

    fn refresh_retry(&self, items: &mut Vec<RetryItem>) -> Result<(), StoreError> {
        for item in items.iter_mut() {
            let id = item.batch.id;
            let Some(batch) = self.reader.recovered(id)? else {
                item.jobs.clear();
                continue;
            };
            item.batch = batch;
            let bad = self.reader.jobs(id, &[JobState::Failed, JobState::Cancelled], 1, u32::MAX)?;
            let gather = self.reader.job(JobId::gather(id))?;
            let bad = bad.into_iter().chain(gather).map(|view| (view.id.index, view.state));
            let bad: HashMap<u32, JobState> = bad.filter(|(_, state)| state.is_terminal()).collect();
            item.jobs.retain_mut(|(index, state)| bad.get(index).map(|now| *state = *now).is_some());
        }
        items.retain(|item| !item.jobs.is_empty());
        Ok(())
    }

    fn input_of(&mut self, message: Message) -> Option<Input> {
        match message {
            Message::Command { peer, command, reply } => {
                let client = self.client(reply, None);
                Some(Input::Command { client, peer, command })
            }
            Message::Watch { peer, watcher, reply } => {
                let command = Command::Watch(watcher.scope().clone());
                let client = self.client(reply, Some(watcher));
                Some(Input::Command { client, peer, command })
            }
            Message::Stop => {
                let (reply, _) = oneshot::channel();
                let client = self.client(reply, None);
                let peer = Peer { owner: Owner(0), admin: true };
                Some(Input::Command { client, peer, command: Command::Shutdown })
            }
            Message::Tally(reply) => {
                // Whoever asked and has gone needs no answer.
                drop(reply.send(self.tally.clone()));
                None
            }
            Message::OutputsFound { look, job, outputs } => Some(Input::OutputsFound { look, job, outputs }),
            Message::ResultsFound { look, job, results } => {
                let results = results.map(|(content, gathered)| {
                    self.gathered.insert(job, gathered);
                    content
                });
                Some(Input::ResultsFound { look, job, results })
            }
            Message::Vitals(reply) => {
                let (ended, failed) = self.tally.ended_and_failed();
                // Whoever asked and has gone needs no answer.
                let _ = reply.send(Vitals { ended, failed, ..self.scheduler.vitals() });
                None
            }
            Message::Write { changes, reply } => {
                self.noted.extend(changes);
                self.noting.push(reply);
                None
            }
            Message::Told { delivery, tried } => {
                self.told(delivery, &tried);
                None
            }
            Message::Alert(turn) => {
                let targets: Vec<Notify> = self.hooks.of_event(hooks::Event::Alert).cloned().collect();
                let about = hooks::alert(&turn);
                for target in targets {
                    let composed = self.compose(None, target, hooks::Event::Alert, &about);
                    self.noted.extend(composed);
                }
                Some(Input::Alert(turn))
            }
            Message::Configured(configured) => {
                let Configured { core, providers, fetching, stores, balance, hooks } = *configured;
                self.hooks = hooks;
                // One that is gone is still asked for the batches that name it.
                let gone = |old: &Provider| providers.iter().all(|new| new.name != old.name);
                self.providers.retain(gone);
                self.providers.extend(providers);
                self.fetching = fetching;
                self.stores.configure(stores, balance);
                Some(Input::Configured(Box::new(core)))
            }
            Message::Room(free) => Some(Input::Room(free)),
            Message::Memory { short } => Some(Input::Memory { short }),
            Message::Note(note) => self.input_of_note(note),
        }
    }

    fn client(&mut self, reply: oneshot::Sender<Answer>, watcher: Option<Arc<Watcher>>) -> ClientId {
        self.last_client += 1;
        let client = ClientId(self.last_client);
        self.clients.insert(client, Client { reply, watcher });
        client
    }

    fn input_of_note(&mut self, note: Note) -> Option<Input> {
        match note {
            Note::Progress { run, worker, done, begun } => Some(Input::Progress { run, worker, done, begun }),
            Note::Asked { run, usage } => Some(Input::Asked { run, usage }),
            Note::Said { runs, text } => {
                let jobs: std::collections::BTreeSet<JobId> =
                    runs.iter().filter_map(|run| self.logged.get(run).copied()).collect();
                for job in jobs {
                    self.log.say(job, "printed", &[("printed", text.clone().into())]);
                }
                None
            }
            Note::Ended { run, outcome, .. } if run.boot == TELLING => {
                let tried = match outcome {
                    Outcome::Done(_) => Tried::Delivered,
                    Outcome::Stopped => Tried::Stopped,
                    Outcome::Failed(failure) => Tried::Failed { why: failure.message, wait_ms: failure.retry_after_ms },
                };
                self.told(run.counter, &tried);
                None
            }
            Note::Ended { run, outcome, worker } => {
                self.log_end(run, &outcome, worker);
                let outcome = self.keep_files(run, outcome);
                Some(Input::Ended { run, outcome })
            }
            Note::Changed { run, identity } => {
                if let Some(job) = self.logged.remove(&run) {
                    self.log.say(job, "changed", &[("message", "the input is another file than was submitted".into())]);
                }
                self.end_run(run);
                Some(Input::InputChanged { run, identity })
            }
            Note::Lost { worker, runs, how, cause_run, stderr_tail } => {
                tracing::warn!(%worker, runs = runs.len(), "a worker {how}");
                for run in runs.iter().filter(|run| run.boot == TELLING) {
                    self.told(run.counter, &Tried::Failed { why: format!("the worker {how}"), wait_ms: None });
                }
                for run in &runs {
                    if let Some(job) = self.logged.remove(run) {
                        let fields = [
                            ("worker", worker.to_string().into()),
                            ("message", format!("the worker {how}").into()),
                            ("printed", stderr_tail.clone().into()),
                        ];
                        self.log.say(job, "lost", &fields);
                    }
                    self.end_run(*run);
                }
                Some(Input::Lost { runs, cause: cause_run, death: death_of(&how, &stderr_tail) })
            }
            Note::Up { worker, role, pid, .. } => {
                tracing::debug!(%worker, role = role.name(), pid, "a worker is up");
                None
            }
            Note::Down { worker, role, pid, how, .. } => {
                match how {
                    Some(how) => tracing::warn!(%worker, role = role.name(), pid, "a worker {how}"),
                    None => tracing::debug!(%worker, role = role.name(), pid, "a worker left"),
                }
                None
            }
        }
    }

    /// A notification, ready to be written. What there is no room for is lost, and the log says so.
    fn compose(
        &mut self,
        batch: Option<BatchId>,
        target: Notify,
        event: hooks::Event,
        about: &serde_json::Value,
    ) -> Option<Change> {
        let now = self.clock.now().wall;
        let house = self.house_tag();
        let text = |id: u64| hooks::body(&format!("{house}-{id}"), event, now, about);
        let composed = self.outbox.compose(now, batch, target, event.name(), text);
        if composed.is_none() {
            tracing::error!("too many notifications wait: one is lost");
        }
        composed.map(|delivery| Change::DeliveryAdded(Box::new(delivery)))
    }

    /// Who is to be told of what these changes mean; written with them, so that it is told whatever happens.
    fn notifications(&mut self, changes: &[Change]) -> Vec<Change> {
        let mut found = Vec::new();
        for change in changes {
            match change {
                Change::JobEnded(job, ended) if ended.state == JobState::Failed => {
                    let targets: Vec<Notify> = self.hooks.of_event(hooks::Event::Failure).cloned().collect();
                    if targets.is_empty() {
                        continue;
                    }
                    let about = hooks::failure(*job, ended);
                    for target in targets {
                        found.extend(self.compose(Some(job.batch), target, hooks::Event::Failure, &about));
                    }
                }
                Change::BatchChanged(id, status) if status.finished_at.is_some() && status.counts.all_ended() => {
                    let known = self.reader.batch(*id).ok().flatten();
                    if known.as_ref().is_some_and(|known| known.state.is_terminal()) {
                        continue;
                    }
                    let mut targets: Vec<Notify> = self.hooks.of_event(hooks::Event::Batch).cloned().collect();
                    let added = changes.iter().find_map(|change| match change {
                        Change::BatchAdded(batch) if batch.id == *id => Some(batch),
                        _ => None,
                    });
                    let own = match added {
                        Some(batch) => batch.spec.terms.notify.clone(),
                        None => self.reader.notify_of(*id).unwrap_or_default(),
                    };
                    targets.extend(own.iter().map(|target| self.hooks.signed(target)));
                    targets.dedup();
                    let Some(about) = known
                        .map(|view| hooks::batch(&(&view).into(), status))
                        .or_else(|| added.map(|batch| hooks::batch(&(&**batch).into(), status)))
                    else {
                        continue;
                    };
                    for target in targets {
                        found.extend(self.compose(Some(*id), target, hooks::Event::Batch, &about));
                    }
                }
                _ => {}
            }
        }
        found
    }

    /// What is due goes out; nobody waits for it here.
    fn tell_due(&mut self) {
        let now = self.clock.now().wall;
        for delivery in self.outbox.take_due(now) {
            let inbox = self.own_inbox.clone();
            let id = delivery.id;
            match delivery.target {
                Notify::Command(words) => {
                    // A thread of its own: it may take a minute.
                    let run = move || {
                        let tried = hooks::run(&words, &delivery.body);
                        // The conductor has ended when nobody takes this.
                        drop(inbox.send_blocking(Message::Told { delivery: id, tried }));
                    };
                    self.runtime.spawn_blocking(run);
                }
                Notify::Webhook { url, secret } => {
                    let (supervisor, allow) = (Arc::clone(&self.supervisor), self.fetching.allow.clone());
                    let tag = self.house_tag();
                    let run = move || {
                        let secret = match secret.as_deref().map(crate::config::secret).transpose() {
                            Ok(secret) => secret,
                            Err(why) => {
                                let tried = Tried::Failed { why, wait_ms: None };
                                drop(inbox.send_blocking(Message::Told { delivery: id, tried }));
                                return;
                            }
                        };
                        let (body, event) = (delivery.body, delivery.event);
                        let deliver = Deliver { url, body, id: format!("{tag}-{id}"), event, secret, allow };
                        supervisor.start(telling(id, Stage::Deliver(deliver)));
                    };
                    self.runtime.spawn_blocking(run);
                }
            }
        }
    }

    fn told(&mut self, delivery: u64, tried: &Tried) {
        let now = self.clock.now().wall;
        let Some((verdict, change)) = self.outbox.ended(now, delivery, tried) else { return };
        let why = if let Tried::Failed { why, .. } = tried { why.as_str() } else { "" };
        match verdict {
            Verdict::Delivered => tracing::debug!(delivery, "somebody was told"),
            Verdict::Again { in_ms } => tracing::warn!(delivery, in_ms, "a notification was not delivered: {why}"),
            Verdict::GivenUp => tracing::error!(delivery, "a notification is given up: {why}"),
        }
        self.noted.push(change);
    }

    /// Tells this daemon's notifications from others'.
    fn house_tag(&self) -> String {
        ContentHash::of(&self.house.0).to_string()[..8].to_owned()
    }

    fn log_end(&mut self, run: RunId, outcome: &Outcome, worker: Option<spindle_shared::id::WorkerId>) {
        let Some(job) = self.logged.remove(&run) else { return };
        let worker = ("worker", worker.map_or(serde_json::Value::Null, |worker| worker.to_string().into()));
        match outcome {
            Outcome::Done(done) => {
                let notes = ("notes", done.detail.notes.clone().into());
                self.log.say(job, "done", &[worker, notes, ("peak_memory_bytes", done.peak_memory_bytes.into())]);
            }
            Outcome::Failed(failure) => {
                let (kind, message) = (failure.kind.name(), failure.message.as_str());
                self.log.say(job, "failed", &[worker, ("kind", kind.into()), ("message", message.into())]);
            }
            Outcome::Stopped => self.log.say(job, "stopped", &[worker]),
        }
    }

    fn log_job_end(&self, job: JobId, ended: &EndedJob) {
        let mut fields = vec![("state", ended.state.name().into()), ("attempts", ended.attempts.into())];
        if let Some(failure) = &ended.failure {
            fields.push(("message", failure.to_string().into()));
        }
        if let Some(reason) = &ended.skipped_reason {
            fields.push(("message", reason.clone().into()));
        }
        let outputs: Vec<String> = ended.outputs.iter().map(|output| output.path.to_string()).collect();
        if !outputs.is_empty() {
            fields.push(("outputs", outputs.into()));
        }
        self.log.say(job, "ended", &fields);
    }

    /// A finished run's files get their address before anybody counts on them.
    fn keep_files(&mut self, run: RunId, outcome: Outcome) -> Outcome {
        let current = self.scheduler.is_current(run);
        let Leaves { address, scratch, uploads, bringing: _ } = self.runs.remove(&run).unwrap_or_default();
        if let (Outcome::Done(_), Some(uploads)) = (&outcome, uploads) {
            self.artifacts.drop_checkpoint(&uploads);
        }
        let kept = match (&outcome, address) {
            (Outcome::Done(_), Some(address)) if current => self.artifacts.keep(run, &address),
            _ => Ok(()),
        };
        if scratch {
            self.artifacts.drop_scratch(run);
        }
        match kept {
            Ok(()) => outcome,
            Err(error) => Outcome::Failed(disk_failure(&error, "keep the result of a stage", self.house.as_path())),
        }
    }

    fn end_run(&mut self, run: RunId) {
        if self.runs.remove(&run).is_some_and(|leaves| leaves.scratch) {
            self.artifacts.drop_scratch(run);
        }
    }

    /// A disk that somebody else has filled is waited for: what this turn has decided is told to nobody until there is room for it.
    fn await_room(&self, changes: &[Change]) {
        let mut waits = false;
        while !self.store.has_room(changes) {
            if !waits {
                tracing::error!("the disk of the queue is full: everything waits until there is room");
            }
            waits = true;
            crate::manager::waits("the disk of the queue is full: everything waits until there is room");
            std::thread::sleep(ROOM_AGAIN);
        }
        if waits {
            tracing::info!("there is room for the queue again");
        }
    }

    /// Adds what only the shell knows: which input a published file was made from.
    fn complete(&mut self, changes: &mut [Change]) {
        for change in changes {
            if let Change::Published(_, published) = change
                && published.input.is_none()
                && let Some(JobInput::File { identity, .. }) = self.spec(published.job).map(|spec| spec.input.clone())
            {
                published.input = Some(identity);
            }
        }
    }

    fn publish(&mut self, mut event: Event) {
        if let Fact::Alert(text) = &event.fact {
            tracing::warn!("{text}");
        }
        if let Fact::Job(view) = &mut event.fact {
            if view.input.is_none() {
                view.input = self.specs.get(&view.id).map(|spec| spec.input.clone());
            }
            if view.state.is_terminal() {
                self.gathered.remove(&view.id);
            }
            if view.state.is_terminal()
                && let Some(spec) = self.specs.remove(&view.id)
                && view.state == JobState::Cancelled
            {
                self.drop_parts(view.id, &spec);
            }
        }
        if self.watchers.is_empty() {
            return;
        }
        if let (Some(spool), Fact::Job(view)) = (&self.spool, &mut event.fact) {
            spool.show_job(view);
        }
        let owner = self.owner_of(&event.fact);
        let told = Arc::new(Told::new(event, owner));
        self.watchers.retain(|watcher| watcher.push(&told));
    }

    /// Whose batch a fact is about, where somebody watches who must not hear of others'.
    fn owner_of(&mut self, fact: &Fact) -> Option<Owner> {
        let batch = fact.batch().filter(|_| self.watchers.iter().any(|watcher| watcher.only().is_some()))?;
        if self.owners.len() > OWNERS_MAX {
            self.owners.clear();
        }
        match fact {
            Fact::Removed(_) => return self.owners.remove(&batch),
            Fact::Batch(view) => drop(self.owners.insert(batch, view.owner)),
            _ if self.owners.contains_key(&batch) => {}
            _ => {
                let found = self.reader.batch(batch).ok().flatten();
                self.owners.extend(found.map(|view| (batch, view.owner)));
            }
        }
        self.owners.get(&batch).copied()
    }

    fn spec(&mut self, job: JobId) -> Option<Arc<JobSpec>> {
        if let Some(spec) = self.specs.get(&job) {
            return Some(Arc::clone(spec));
        }
        let spec = match self.reader.job_spec(job) {
            Ok(spec) => Arc::new(self.as_placed(job, spec?)),
            Err(error) => {
                tracing::error!(%job, "failed to read a job: {error}");
                return None;
            }
        };
        self.specs.insert(job, Arc::clone(&spec));
        Some(spec)
    }

    fn look_up_input(&mut self, job: JobId, identity: Option<spindle_shared::job::FileIdentity>) -> Input {
        let mut found = FoundInput { is_file: false, bytes: 0, content: None, stages: None };
        if let Some(spec) = self.spec(job) {
            found.stages.clone_from(&spec.stages);
            if let JobInput::File { identity: submitted, .. } = &spec.input {
                let identity = identity.unwrap_or(*submitted);
                found.is_file = true;
                found.bytes = identity.bytes;
                found.content = self.reader.content_of(&identity).ok().flatten();
            }
        }
        Input::InputFound { job, found }
    }

    /// Whether a job's outputs are there as published. Where the records say no, that is the answer; else the files are looked at, in a
    /// thread of its own: their folder may be anywhere.
    fn look_for_outputs(&mut self, asked: LookupOutputs) -> Option<Input> {
        let LookupOutputs { look, job, stage, language, files } = asked;
        let Some(recorded) = self.recorded(job, &stage, language.as_deref(), &files) else {
            return Some(Input::OutputsFound { look, job, outputs: None });
        };
        let inbox = self.own_inbox.clone();
        self.runtime.spawn_blocking(move || {
            let unchanged = recorded.iter().all(|published| is_still(&published.output.path, published.identity));
            let outputs = unchanged.then_some(recorded);
            // The conductor has ended when nobody takes this.
            drop(inbox.send_blocking(Message::OutputsFound { look, job, outputs }));
        });
        None
    }

    /// Finds what has come of the inputs of a batch, in a thread of its own: there may be many.
    fn look_for_results(&self, look: RunId, job: JobId) {
        let (reader, artifacts, inbox) = (self.reader.clone(), self.artifacts.clone(), self.own_inbox.clone());
        let spool = self.spool.clone();
        self.runtime.spawn_blocking(move || {
            let results = gather::results(&reader, &artifacts, spool.as_deref(), job.batch);
            // The conductor has ended when nobody takes this.
            drop(inbox.send_blocking(Message::ResultsFound { look, job, results }));
        });
    }

    /// What the records say of these files' final names; `None` where one of them has another content, or none that is known.
    fn recorded(
        &mut self,
        job: JobId,
        stage: &Publish,
        language: Option<&str>,
        files: &[ArtifactFile],
    ) -> Option<Vec<Published>> {
        let spec = self.spec(job)?;
        let names = files.iter().map(|file| Path::new(&file.name));
        let names = output::published_as(&spec.output, stage, language, names)?;
        let recorded = names.into_iter().zip(files).map(|((path, kind), file)| {
            let known = self.reader.published(&path).ok()??;
            known.identity.filter(|_| known.content == file.content)?;
            let output = Output { path, kind: kind.to_owned(), bytes: file.bytes };
            Some(Published { output, content: file.content, identity: known.identity })
        });
        recorded.collect()
    }

    /// Where outputs for an object store go, settled when their size is known. `Some` = nowhere.
    ///
    /// **Invariant:** which store that is, is durable before anything is sent: whoever goes on after a kill goes on there.
    fn place(&mut self, start: &Start) -> Result<Option<Input>, Fatal> {
        let (Stage::Upload(_), Ok(Some(spec))) = (&start.stage, self.reader.job_spec(start.job)) else {
            // What can't be read is told where it is needed.
            return Ok(None);
        };
        let Some((wanted, prefix)) = object_store::folder(&spec.output.directory.0) else { return Ok(None) };
        let bytes = start.feed.iter().flat_map(|(_, files)| files).map(|file| file.bytes).sum();
        let mut on_its_way: BTreeMap<&str, u64> = BTreeMap::new();
        for (bucket, bytes) in self.runs.values().filter_map(|leaves| leaves.bringing.as_ref()) {
            *on_its_way.entry(bucket).or_default() += bytes;
        }
        let before = self.reader.place(start.job).unwrap_or_default();
        // Where it has begun it goes on, while there is room.
        let there = before.as_ref().and_then(|bucket| self.stores.choose(bucket, bytes, &on_its_way).ok());
        let chosen = match there.map_or_else(|| self.stores.choose(wanted, bytes, &on_its_way), Ok) {
            Ok(chosen) => chosen,
            Err(failure) => return Ok(Some(Input::Ended { run: start.run, outcome: Outcome::Failed(failure) })),
        };
        if wanted == ANY && before.as_ref() != Some(&chosen) {
            let placed = Change::Placed(start.job, chosen.clone());
            turn::Shell::commit(self, vec![placed])?;
        }
        let directory = PathBytes(format!("s3://{chosen}/{prefix}").into_bytes());
        let output = OutputPlan { directory, ..spec.output.clone() };
        self.specs.insert(start.job, Arc::new(JobSpec { output, ..spec }));
        Ok(None)
    }

    /// With the place that its outputs were given.
    fn as_placed(&self, job: JobId, mut spec: JobSpec) -> JobSpec {
        if let Some((ANY, prefix)) = object_store::folder(&spec.output.directory.0)
            && let Ok(Some(bucket)) = self.reader.place(job)
        {
            spec.output.directory = PathBytes(format!("s3://{bucket}/{prefix}").into_bytes());
        }
        spec
    }

    /// Hands a run to the supervisor. `Some` = it could not even be prepared.
    fn start(&mut self, start: Start) -> Option<Input> {
        let Start {
            run,
            job,
            mut stage,
            lane,
            address,
            feed,
            identity,
            detail,
            alone,
            slots,
            memory_mib: _,
            timeout_ms,
            key,
        } = start;
        self.log.say(
            job,
            "started",
            &[("run", run.to_string().into()), ("stage", stage.name().into()), ("slots", slots.into())],
        );
        self.logged.insert(run, job);
        let internal = |message: String| {
            Some(Input::Ended { run, outcome: Outcome::Failed(Failure::new(FailureKind::Internal, message)) })
        };
        let Some(spec) = self.spec(job) else { return internal("the job's record can't be read".to_owned()) };
        let (mut inputs, mut open) = (Vec::new(), Vec::new());
        match (&feed, &spec.input) {
            (Some((address, files)), _) => {
                let folder = self.artifacts.folder(address);
                for file in files {
                    inputs.push(InputFile::new(PathBytes(file.name.clone().into_bytes()), file.bytes));
                    open.push(ToOpen::Artifact { path: folder.join(&file.name).into() });
                }
            }
            (None, JobInput::File { path, identity: submitted }) => {
                let identity = identity.unwrap_or(*submitted);
                inputs.push(InputFile::new(self.shown(path), identity.bytes));
                open.push(ToOpen::Input { path: path.clone(), identity });
            }
            // Whoever fetches it is told where from; there is nothing to open.
            (None, JobInput::Url(url)) if matches!(stage, Stage::Fetch(_)) => {
                inputs.push(InputFile::new(PathBytes(url.as_str().as_bytes().to_vec()), 0));
                open.push(ToOpen::Bytes(Arc::from([])));
                let store = url.in_store().and_then(|(bucket, _)| self.stores.of(bucket)).cloned();
                stage = Stage::Fetch(Fetch { store, ..self.fetching.clone() });
            }
            (None, JobInput::Url(url)) => return internal(format!("{url} was not fetched")),
            (None, JobInput::Name(_)) => {
                if let Some(reads) = stage.gathers() {
                    let Some(gathered) = self.gathered.get(&job) else {
                        return internal("what is to be gathered was not looked up".to_owned());
                    };
                    (inputs, open) = gather::inputs(&self.artifacts, gathered, reads, stage.tells_lost());
                }
            }
        }
        if let Some((before, _)) = &feed
            && stage.rereads_inputs()
            && !job.is_gather()
        {
            match &spec.input {
                JobInput::File { path, identity: submitted } => {
                    let identity = identity.unwrap_or(*submitted);
                    inputs.push(InputFile::new(self.shown(path), identity.bytes));
                    open.push(ToOpen::Input { path: path.clone(), identity });
                }
                // Where it was just fetched it came along.
                JobInput::Url(_) if *before == cache::fetched(job) => {}
                JobInput::Url(url) => {
                    let fetched = cache::fetched(job);
                    let found = self.reader.artifact(&fetched).ok().flatten();
                    let Some(files) =
                        found.filter(|found| self.artifacts.has(&fetched, found)).map(|found| found.files)
                    else {
                        return internal(format!("{url} is not there any more"));
                    };
                    let folder = self.artifacts.folder(&fetched);
                    for file in files {
                        inputs.push(InputFile::new(PathBytes(file.name.clone().into_bytes()), file.bytes));
                        open.push(ToOpen::Artifact { path: folder.join(&file.name).into() });
                    }
                }
                JobInput::Name(_) => {}
            }
        }
        if stage.rereads_inputs() && job.is_gather() {
            let Some(results) = self.gathered.get(&job) else {
                return internal("what is to be gathered was not looked up".to_owned());
            };
            let (more_inputs, more_open) = gather::originals(results);
            inputs.extend(more_inputs.into_iter().map(|input| InputFile { name: self.shown(&input.name), ..input }));
            open.extend(more_open);
        }
        let mut replaceable = spec.replace.clone();
        if job.is_gather()
            && let Stage::Publish(publish) | Stage::Upload(Upload { publish, .. }) = &stage
        {
            replaceable.extend(self.own_outputs(job, publish, &detail, &inputs));
        }
        if let (Stage::Check(check), JobInput::Name(name)) = (&mut stage, &spec.input) {
            check.store = self.stores.named(name).cloned();
            if check.store.is_none() {
                return internal(format!("there is no store `{name}` any more"));
            }
        }
        let mut bringing = None;
        if let Stage::Upload(upload) = &mut stage {
            let bucket = object_store::folder(&spec.output.directory.0).map(|(bucket, _)| bucket);
            upload.store = bucket.and_then(|bucket| self.stores.of(bucket)).cloned();
            bringing = bucket.map(|bucket| (bucket.to_owned(), inputs.iter().map(|input| input.bytes).sum()));
        }
        // What leaves no artifact needs no folder for it.
        let scratch = stage.facts().artifact.then(|| self.artifacts.make_scratch(run)).transpose();
        let scratch = match scratch {
            Ok(scratch) => scratch,
            Err(error) => {
                let failure = disk_failure(&error, "make the run's scratch folder", self.house.as_path());
                return Some(Input::Ended { run, outcome: Outcome::Failed(failure) });
            }
        };
        // What is uploaded goes on where it was broken off, too.
        let uploads = matches!(stage, Stage::Upload(_)).then(|| cache::uploaded(job));
        self.runs.insert(run, Leaves { address, scratch: scratch.is_some(), uploads, bringing });
        let (role, model) = match &stage {
            Stage::Transcribe(transcribe) => (stage.facts().role, Some(transcribe.model.path.clone())),
            _ => (stage.facts().role, None),
        };
        let call = stage.api().zip(key).and_then(|((named, _), key)| {
            let provider = self.providers.iter().find(|provider| provider.name == named.name)?;
            Some(Box::new(provider.call(key, &stage)))
        });
        let assignment = Assignment {
            run,
            inputs,
            more_inputs: 0,
            named: Vec::new(),
            scratch: scratch.map(PathBytes::from).unwrap_or_default(),
            checkpoint: address.or(uploads).map(|address| self.artifacts.checkpoint(&address).into()),
            output: spec.output.clone(),
            part_tag: self.part_tag(job),
            detail,
            replaceable,
            threads: slots,
            call,
            stage,
        };
        self.supervisor.start(StartOrder { assignment, open, role, model, device: lane.gpu(), alone, timeout_ms });
        None
    }

    /// An input's name as its user knows it, which results may speak of.
    fn shown(&self, path: &PathBytes) -> PathBytes {
        self.spool.as_ref().map_or_else(|| path.clone(), |spool| spool.shown(path))
    }

    /// What this very job has published under the names it is about to publish: the gather of a batch may be done again.
    fn own_outputs(
        &mut self,
        job: JobId,
        stage: &Publish,
        detail: &Detail,
        inputs: &[InputFile],
    ) -> Vec<(PathBytes, ContentHash)> {
        let Some(spec) = self.spec(job) else { return Vec::new() };
        let names = inputs.iter().map(|input| input.name.as_path());
        let names = output::published_as(&spec.output, stage, detail.language.as_deref(), names).unwrap_or_default();
        let known = names.into_iter().filter_map(|(path, _)| {
            let known = self.reader.published(&path).ok().flatten().filter(|known| known.job == job)?;
            Some((path, known.content))
        });
        known.collect()
    }

    /// What a cancelled job left beside its outputs goes. In a thread of its own: the folder may be anywhere.
    fn drop_parts(&self, job: JobId, spec: &JobSpec) {
        let suffix = format!(".spindle-{}.part", self.part_tag(job));
        let folder = spec.output.directory.as_path().to_owned();
        self.runtime.spawn_blocking(move || {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_name().as_encoded_bytes().ends_with(suffix.as_bytes())
                    && let Err(error) = std::fs::remove_file(entry.path())
                {
                    tracing::warn!("failed to remove a partial file: {error}");
                }
            }
        });
    }

    fn part_tag(&self, job: JobId) -> String {
        let mut hasher = AddressHasher::default();
        hasher.part(&self.house.0).part(&job.batch.0.to_le_bytes()).part(&job.index.to_le_bytes());
        hasher.finish().to_string()[..8].to_owned()
    }
}

/// The order in which these are called is [`turn::settle`]'s, which the simulator lives by too.
impl turn::Shell for Conductor {
    type Error = Fatal;

    fn commit(&mut self, mut changes: Vec<Change>) -> Result<(), Fatal> {
        self.complete(&mut changes);
        let notifications = self.notifications(&changes);
        changes.extend(notifications);
        let counted = stores::counted(&changes);
        let counts = !counted.is_empty();
        changes.extend(counted);
        self.await_room(&changes);
        self.store.commit(&changes).map_err(Fatal::Commit)?;
        if counts {
            match self.reader.stores() {
                Ok(known) => self.stores.count(known),
                Err(error) => tracing::error!("failed to read what stores hold: {error}"),
            }
        }
        self.tally.count(&changes);
        for change in &changes {
            match change {
                Change::JobEnded(job, ended) => self.log_job_end(*job, ended),
                Change::BatchRemoved(batch) => self.log.forget(*batch),
                Change::DeliveryAdded(delivery) => self.outbox.enter((**delivery).clone()),
                _ => {}
            }
        }
        Ok(())
    }

    fn act(&mut self, effect: Effect) -> Result<Option<Input>, Fatal> {
        Ok(match effect {
            Effect::Commit(_) => None,
            Effect::Answer { client, answer } => {
                if let Some(Client { reply, watcher }) = self.clients.remove(&client) {
                    self.watchers.extend(watcher);
                    // A client that has gone needs no answer.
                    let _ = reply.send(answer);
                }
                None
            }
            Effect::Publish(event) => {
                self.publish(event);
                None
            }
            Effect::LookupInput { job, identity } => Some(self.look_up_input(job, identity)),
            Effect::LookupArtifacts { job, addresses } => {
                let found = addresses
                    .iter()
                    .map(|address| {
                        self.reader.artifact(address).ok().flatten().filter(|found| self.artifacts.has(address, found))
                    })
                    .collect();
                Some(Input::ArtifactsFound { job, found })
            }
            Effect::LookupOutputs(asked) => self.look_for_outputs(*asked),
            Effect::LookupResults { look, job } => {
                self.look_for_results(look, job);
                None
            }
            Effect::Start(start) => match self.place(&start)? {
                Some(nowhere) => Some(nowhere),
                None => self.start(*start),
            },
            Effect::Stop(run) => {
                self.supervisor.stop(run);
                None
            }
            Effect::DropCheckpoint(address) => {
                self.artifacts.drop_checkpoint(&address);
                None
            }
            Effect::DropArtifact(address) => {
                self.artifacts.drop_artifact(&address);
                None
            }
            Effect::Exit => {
                self.exit = true;
                None
            }
        })
    }

    fn step(&mut self, input: Input) -> Result<Vec<Effect>, Fatal> {
        Ok(self.scheduler.step(self.clock.now(), input))
    }
}

/// Whether the file that has this name, and not what a link leads to, is still this one.
fn is_still(path: &PathBytes, identity: Option<FileIdentity>) -> bool {
    let now = std::fs::symlink_metadata(path.as_path()).ok().filter(std::fs::Metadata::is_file);
    now.is_some_and(|meta| Some(FileIdentity::of(&meta)) == identity)
}

/// An error on the daemon's own files; a full disk is waited for.
fn disk_failure(error: &std::io::Error, doing: &str, state_dir: &Path) -> Failure {
    use std::os::unix::fs::MetadataExt;
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    let kind = if full { FailureKind::DiskFull } else { FailureKind::Internal };
    let device = std::fs::metadata(state_dir).ok().map(|meta| meta.dev());
    Failure::new(kind, format!("failed to {doing}: {error}")).on_device(device.filter(|_| full))
}

fn reads_the_store(command: &Command) -> bool {
    match command {
        Command::Submit { spec, .. } => spec.key.is_some() || !spec.terms.after.is_empty(),
        Command::Retry(_) | Command::Remove(_) => true,
        _ => false,
    }
}

/// Owners that are remembered; of others the store is asked again.
const OWNERS_MAX: usize = 10_000;

/// Stands for the boot of runs that tell somebody: no daemon starts so often.
const TELLING: u64 = u64::MAX;

/// One try to tell an address, as a run of no job.
fn telling(id: u64, stage: Stage) -> StartOrder {
    let assignment = Assignment {
        run: RunId { boot: TELLING, counter: id },
        inputs: Vec::new(),
        more_inputs: 0,
        named: Vec::new(),
        scratch: PathBytes::default(),
        checkpoint: None,
        output: spindle_shared::job::OutputPlan::default(),
        part_tag: String::new(),
        detail: Detail::default(),
        replaceable: Vec::new(),
        threads: 1,
        call: None,
        stage,
    };
    StartOrder {
        assignment,
        open: Vec::new(),
        role: spindle_shared::lane::Role::Net,
        model: None,
        alone: false,
        device: None,
        timeout_ms: TELLING_MS,
    }
}

/// Longest time for that; the exchange itself ends sooner.
const TELLING_MS: u64 = 60_000;

/// How often a full disk is looked at.
const ROOM_AGAIN: Duration = Duration::from_millis(200);

/// Time that workers have to leave when the daemon ends; what runs was stopped before.
const WORKERS_GRACE_MS: u64 = 2_000;

/// What a death means to the core.
fn death_of(how: &workers::Death, stderr_tail: &str) -> Death {
    let message = |text: String| {
        let last = stderr_tail.lines().rev().find(|line| !line.trim().is_empty());
        match last {
            Some(line) => format!("{text}; it last said: {line}"),
            None => text,
        }
    };
    match how {
        workers::Death::Killed(why) => Death::Killed { timeout: *why == workers::Why::Timeout },
        workers::Death::Memory { .. } => {
            Death::Fault { kind: FailureKind::OutOfMemory, message: message(format!("the worker {how}")) }
        }
        workers::Death::Signal(9) => Death::Fault {
            kind: FailureKind::OutOfMemory,
            message: message("the worker was killed from outside, most often for want of memory".to_owned()),
        },
        other => Death::Fault { kind: FailureKind::Crash, message: message(format!("the worker {other}")) },
    }
}
