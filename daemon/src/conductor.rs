//! THE LOOP: its own thread, owner of the scheduler and the store. Waits only for its inbox, its timer and the disk, and alone writes.
//!
//! A turn takes what waits in the inbox, steps the scheduler through it, commits every change of the turn at once, and only then does the rest.

mod clock;
mod endings;
mod job_logs;
mod lookups;
mod messages;
mod notifications;
mod placing;
mod start;
mod watchers;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use spindle_core::change::Change;
use spindle_core::effect::{Answer, ClientId, Effect, Input};
use spindle_core::outbox::Outbox;
use spindle_core::scheduler::Scheduler;
use spindle_core::turn;
use spindle_shared::id::{BatchId, JobId, Owner, RunId};
use spindle_shared::job::{Input as JobInput, JobSpec, PathBytes};
use spindle_shared::limits;
use spindle_shared::stage::fetch::Fetch;
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use crate::artifacts::Artifacts;
use crate::gather;
use crate::hooks::Hooks;
use crate::inbox::{Inbox, Message};
use crate::logs::jobs::JobLog;
use crate::providers::Provider;
use crate::server::watch::Watcher;
use crate::spool::Spool;
use crate::store::{Reader, Store, StoreError};
use crate::stores::{self, Stores};
use crate::telemetry::Tally;
use crate::workers::Supervisor;

pub use clock::Clock;

use endings::Leaves;
use messages::reads_the_store;

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

/// How often a full disk is looked at.
const ROOM_AGAIN: Duration = Duration::from_millis(200);

/// Time that workers have to leave when the daemon ends; what runs was stopped before.
const WORKERS_GRACE_MS: u64 = 2_000;
