//! The inbox: everything that can wake the conductor, in one bounded queue. Whoever sends into a full one waits.

use std::sync::Arc;

use spindle_core::alert::{Turn, Vitals};
use spindle_core::change::Change;
use spindle_core::effect::{Answer, Command, Peer};
use spindle_core::outbox::Tried;
use spindle_core::stores::Balance;
use spindle_shared::failure::Failure;
use spindle_shared::id::{ContentHash, JobId, RunId};
use spindle_shared::object_store::ObjectStore;
use spindle_shared::stage::fetch::Fetch;
use spindle_shared::worker::Published;
use tokio::sync::{mpsc, oneshot};

use crate::gather::Results;
use crate::hooks::Hooks;
use crate::providers::Provider;
use crate::server::watch::Watcher;
use crate::telemetry::Tally;
use crate::workers::Note;

/// One thing to take notice of.
pub enum Message {
    Command {
        peer: Peer,
        command: Command,
        reply: oneshot::Sender<Answer>,
    },
    /// As [`Command::Watch`]; from the answer on, the watcher gets every event of its scope.
    Watch {
        peer: Peer,
        watcher: Arc<Watcher>,
        reply: oneshot::Sender<Answer>,
    },
    Note(Note),
    /// Answers [`spindle_core::effect::Effect::LookupOutputs`].
    OutputsFound {
        look: RunId,
        job: JobId,
        outputs: Option<Vec<Published>>,
    },
    /// How much has happened since the start.
    Tally(oneshot::Sender<Tally>),
    /// Answers [`spindle_core::effect::Effect::LookupResults`]: the rows, and their hash.
    ResultsFound {
        look: RunId,
        job: JobId,
        results: Result<(ContentHash, Arc<Results>), Failure>,
    },
    /// As [`spindle_core::effect::Input::Room`].
    Room(u64),
    /// As [`spindle_core::effect::Input::Memory`].
    Memory {
        short: bool,
    },
    /// Changes that nobody has to decide about; answered when they are durable.
    Write {
        changes: Vec<Change>,
        reply: oneshot::Sender<()>,
    },
    /// A command that tells somebody has ended.
    Told {
        delivery: u64,
        tried: Tried,
    },
    /// How the house stands, as far as alerts go.
    Vitals(oneshot::Sender<Vitals>),
    /// As [`spindle_core::effect::Input::Alert`].
    Alert(Turn),
    /// The configuration has changed.
    Configured(Box<Configured>),
    /// A signal asks for the end.
    Stop,
}

/// What the conductor goes by of a configuration.
pub struct Configured {
    pub core: spindle_core::scheduler::Config,
    pub providers: Vec<Provider>,
    pub fetching: Fetch,
    pub stores: Arc<[ObjectStore]>,
    pub balance: Balance,
    pub hooks: Hooks,
}

#[derive(Clone)]
pub struct Inbox(mpsc::Sender<Message>);

/// The conductor has ended; so does the daemon.
#[derive(Debug, thiserror::Error)]
#[error("the daemon is stopping")]
pub struct Closed;

impl Inbox {
    pub fn new() -> (Inbox, mpsc::Receiver<Message>) {
        let (sender, receiver) = mpsc::channel(spindle_shared::limits::INBOX_LEN_MAX);
        (Inbox(sender), receiver)
    }

    /// From threads outside the runtime.
    pub fn send_blocking(&self, message: Message) -> Result<(), Closed> {
        self.0.blocking_send(message).map_err(|_| Closed)
    }

    /// `false` = it is full; nobody waits.
    pub fn try_send(&self, message: Message) -> bool {
        self.0.try_send(message).is_ok()
    }

    pub async fn send(&self, message: Message) -> Result<(), Closed> {
        self.0.send(message).await.map_err(|_| Closed)
    }

    /// Sends a command and waits for its answer.
    pub async fn ask(&self, peer: Peer, command: Command) -> Result<Answer, Closed> {
        let (reply, answer) = oneshot::channel();
        self.send(Message::Command { peer, command, reply }).await?;
        answer.await.map_err(|_| Closed)
    }
}
