//! The feed: watches the house and a window of one batch's jobs, asks, and begins anew when the daemon has gone. Turns all it hears
//! into messages; knows no model and no screen.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use spindle_shared::batch::BatchView;
use spindle_shared::client::{Client, ClientError, Hangup, Heard, Watch, Which};
use spindle_shared::event::Fact;
use spindle_shared::job::PathBytes;
use spindle_shared::metrics::Metric;
use spindle_shared::snapshot::Snapshot;
use spindle_shared::wire::request::{BatchFilter, Request, Scope};
use spindle_shared::wire::response::Response;

use crate::machine::Watcher;
use crate::message::{Message, News};
use crate::terminal::spawn;

/// Jobs of one batch that are watched at once, beside those at work and failed.
pub const JOBS_WINDOW: u32 = 500;
/// Batches that had ended before the dashboard came.
const ENDED_WINDOW: u32 = 200;
/// Between two tries to reach the daemon.
const RETRY: Duration = Duration::from_millis(500);
/// Between two questions for the daemon's own state.
const PULSE: Duration = Duration::from_secs(1);

/// The threads' handle: questions go in here.
pub struct Feed {
    found: Found,
    messages: SyncSender<Message>,
    windows: Sender<Scope>,
    /// Ends the watch of the window that is no longer wanted.
    hangup: Arc<Mutex<Option<Hangup>>>,
}

impl Feed {
    pub fn start(which: Which, messages: SyncSender<Message>) -> Feed {
        let found = Found { which, socket: Arc::default() };
        let (windows, wanted) = mpsc::channel();
        let hangup = Arc::new(Mutex::new(None));
        let (watched, pulse) = (found.clone(), found.clone());
        let window = Windows { found: found.clone(), wanted, hangup: Arc::clone(&hangup) };
        let threads = [
            spawn("watch", messages.clone(), move |messages| watch(&watched, messages)),
            spawn("pulse", messages.clone(), move |messages| feel(&pulse, messages)),
            spawn("window", messages.clone(), move |messages| {
                // The program's end is the only one.
                let _ = window.watch(messages);
            }),
        ];
        for error in threads.into_iter().filter_map(Result::err) {
            // Nobody listens yet, and there is room: this doesn't wait.
            let _ = messages.send(Message::Died(format!("a thread that could not start ({error})")));
        }
        Feed { found, messages, windows, hangup }
    }

    /// The daemon that this one watches.
    pub fn found(&self) -> Found {
        self.found.clone()
    }

    /// Asks; the answer comes as a message. Never waits.
    pub fn ask(&self, request: Request) {
        if let Request::Watch { scope, .. } = request {
            // The thread is gone only when the program ends.
            let _ = self.windows.send(scope);
            if let Some(hangup) = locked(&self.hangup).take() {
                hangup.now();
            }
            return;
        }
        // A cancel is answered when the work has stopped: others don't wait for it. The model bounds how many are under way.
        let (found, messages) = (self.found.clone(), self.messages.clone());
        if let Err(error) = spawn("request", self.messages.clone(), {
            let request = request.clone();
            move |messages| answer(&found, request, messages)
        }) {
            let failed = Message::Answered(Box::new(request), Err(format!("failed to ask: {error}")));
            let _ = messages.try_send(failed);
        }
    }
}

/// Which daemon: looked for once; from then on it is this one, even if another would answer while it is away.
#[derive(Clone)]
pub struct Found {
    which: Which,
    socket: Arc<Mutex<Option<PathBuf>>>,
}

impl Found {
    fn socket(&self) -> Option<PathBuf> {
        locked(&self.socket).clone()
    }

    pub fn connect(&self) -> Result<(PathBuf, Client), ClientError> {
        if let Some(socket) = self.socket() {
            return Client::connect(&socket).map(|client| (socket, client));
        }
        let (socket, client) = self.which.connect()?;
        *locked(&self.socket) = Some(socket.clone());
        Ok((socket, client))
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The program's end, seen from a thread: nobody takes messages any more.
struct Over;

fn send(messages: &SyncSender<Message>, message: Message) -> Result<(), Over> {
    messages.send(message).map_err(|_| Over)
}

fn watch(found: &Found, messages: &SyncSender<Message>) {
    loop {
        let ended = watch_once(found, messages);
        let told = match ended {
            Err(Ended::Over) => return,
            // Too slow for a moment: only a fresh snapshot is needed.
            Ok(()) => Ok(()),
            Err(Ended::Fault(error)) => send(messages, Message::Lost(error.to_string())),
        };
        if told.is_err() {
            return;
        }
        std::thread::sleep(RETRY);
    }
}

enum Ended {
    Over,
    Fault(ClientError),
}

impl From<ClientError> for Ended {
    fn from(error: ClientError) -> Self {
        Ended::Fault(error)
    }
}

impl From<Over> for Ended {
    fn from(_: Over) -> Self {
        Ended::Over
    }
}

/// Watches until the daemon is gone (an error) or has cut us for being slow.
fn watch_once(found: &Found, messages: &SyncSender<Message>) -> Result<(), Ended> {
    let (socket, client) = found.connect()?;
    let build = client.daemon_build().to_owned();
    let mut watch = client.watch(Scope::Overview, 0)?;
    let snapshot = first(&mut watch)?;
    // Asked after the snapshot: what ends in between is told by an event too.
    let ended = ended_batches(found)?;
    send(messages, Message::Watching { socket, build, snapshot, ended, at: Instant::now() })?;
    loop {
        match watch.hear(None)? {
            Heard::Event(event) if event.fact == Fact::Lagged => return Ok(()),
            Heard::Event(event) => send(messages, Message::Event(event))?,
            Heard::Batches(batches) => send(messages, Message::Batches(batches))?,
            Heard::Snapshot(_) => return Err(unexpected("a second snapshot")),
            Heard::Jobs(_) | Heard::Quiet => {}
            Heard::Other(_) => return Ok(()),
        }
    }
}

/// The window's thread: of what has been asked for, the last is watched.
struct Windows {
    found: Found,
    wanted: Receiver<Scope>,
    hangup: Arc<Mutex<Option<Hangup>>>,
}

impl Windows {
    fn watch(&self, messages: &SyncSender<Message>) -> Result<(), Over> {
        let mut scope = self.wanted.recv().map_err(|_| Over)?;
        loop {
            let ended = self.watch_once(&scope, messages);
            // The watch is over, and nobody needs to end it.
            locked(&self.hangup).take();
            let next = match ended {
                Err(Ended::Over) => return Err(Over),
                Ok(Some(newer)) => Ok(newer),
                Err(Ended::Fault(ClientError::Refused(refusal))) => {
                    send(messages, Message::Window(scope.clone(), News::Refused(refusal.message)))?;
                    self.wanted.recv().map_err(|_| RecvTimeoutError::Disconnected)
                }
                // A daemon that is gone is told of by the watch of the house.
                Err(Ended::Fault(_)) | Ok(None) => self.wanted.recv_timeout(RETRY),
            };
            scope = match next {
                Ok(next) => self.wanted.try_iter().last().unwrap_or(next),
                Err(RecvTimeoutError::Timeout) => scope,
                Err(RecvTimeoutError::Disconnected) => return Err(Over),
            };
        }
    }

    /// Watches until the daemon is gone or says no, or has cut us; gives the window that is wanted instead, where that is known.
    fn watch_once(&self, scope: &Scope, messages: &SyncSender<Message>) -> Result<Option<Scope>, Ended> {
        let tell = |news| send(messages, Message::Window(scope.clone(), news));
        let mut watch = self.found.connect()?.1.watch(scope.clone(), 0)?;
        *locked(&self.hangup) = watch.hangup().ok();
        // From here on whoever wants another ends this one; who wanted it before had no hold of it.
        if let Some(newer) = self.wanted.try_iter().last() {
            return Ok(Some(newer));
        }
        tell(News::Snapshot(first(&mut watch)?))?;
        loop {
            match watch.hear(None)? {
                Heard::Event(event) if event.fact == Fact::Lagged => return Ok(None),
                Heard::Event(event) => tell(News::Event(event))?,
                Heard::Jobs(jobs) => tell(News::Jobs(jobs))?,
                Heard::Snapshot(_) => return Err(unexpected("a second snapshot")),
                Heard::Batches(_) | Heard::Quiet => {}
                Heard::Other(_) => return Ok(None),
            }
        }
    }
}

fn first(watch: &mut Watch) -> Result<Box<Snapshot>, Ended> {
    match watch.hear(None)? {
        Heard::Snapshot(snapshot) => Ok(snapshot),
        _ => Err(unexpected("something else than a snapshot")),
    }
}

fn unexpected(what: &str) -> Ended {
    Ended::Fault(ClientError::Protocol(format!("the daemon answered a watch with {what}; restart it")))
}

fn ended_batches(found: &Found) -> Result<Vec<BatchView>, Ended> {
    let list = Request::List { filter: BatchFilter::default(), limit: ENDED_WINDOW };
    let responses = found.connect()?.1.call(&list)?;
    let batches = responses.into_iter().filter_map(|response| match response {
        Response::Batches(batches) => Some(batches),
        _ => None,
    });
    Ok(batches.flatten().collect())
}

/// Asks once a second how the daemon itself is, and feels the machine. Its silence is the model's to notice.
fn feel(found: &Found, messages: &SyncSender<Message>) {
    let (mut watcher, mut state_dir) = (Watcher::default(), None);
    loop {
        if let Some(socket) = found.socket() {
            let ask = |request| Client::connect(&socket).and_then(|client| client.call(request)).unwrap_or_default();
            for response in ask(&Request::House).into_iter().chain(ask(&Request::Metrics)) {
                let told = match response {
                    Response::House(house) => {
                        state_dir = Some(house.state_dir.clone());
                        Message::House(Box::new(house), Instant::now())
                    }
                    Response::Metrics(metrics) => match output_bytes(&metrics) {
                        Some(bytes) => Message::OutputBytes(bytes, Instant::now()),
                        None => continue,
                    },
                    _ => continue,
                };
                if send(messages, told).is_err() {
                    return;
                }
            }
        }
        let machine = watcher.look(state_dir.as_ref().map(PathBytes::as_path));
        if send(messages, Message::Machine(machine)).is_err() {
            return;
        }
        std::thread::sleep(PULSE);
    }
}

fn output_bytes(metrics: &[Metric]) -> Option<f64> {
    let metric = metrics.iter().find(|metric| metric.name == "spindle_output_bytes_total")?;
    metric.samples.first().map(|sample| sample.value)
}

fn answer(found: &Found, request: Request, messages: &SyncSender<Message>) {
    let result = found.connect().and_then(|(_, client)| client.call(&request)).map_err(refused);
    // The loop may be over already.
    let _ = send(messages, Message::Answered(Box::new(request), result));
}

/// Why something wasn't done, for people.
pub fn refused(error: ClientError) -> String {
    match error {
        ClientError::Refused(refusal) => {
            let hint = refusal.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}{hint}", refusal.message)
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::os::unix::net::{UnixListener, UnixStream};

    use spindle_shared::limits::FRAME_BYTES_MAX;
    use spindle_shared::wire::codec;
    use spindle_shared::wire::frame::{FrameDecoder, encode_frame};
    use spindle_shared::wire::hello::Hello;

    use super::*;

    /// A daemon that hangs up on every watch after its snapshot.
    fn fickle(listener: &UnixListener) {
        for mut stream in listener.incoming().map_while(Result::ok) {
            say(&mut stream, &codec::encode(&Hello::ours()));
            let mut decoder = FrameDecoder::new();
            let mut frames = Vec::new();
            let mut buffer = [0; 4096];
            while frames.len() < 2 {
                match stream.read(&mut buffer) {
                    Ok(bytes) if bytes > 0 => decoder.push(&buffer[..bytes]),
                    _ => break,
                }
                while let Ok(Some(frame)) = decoder.next() {
                    frames.push(frame);
                }
            }
            let request = frames.get(1).map(|frame| codec::decode::<Request>(frame, FRAME_BYTES_MAX).unwrap());
            if matches!(request, Some(Request::Watch { .. })) {
                say(&mut stream, &codec::encode(&Response::Snapshot(Box::default())));
            } else {
                say(&mut stream, &codec::encode(&Response::End));
            }
        }
    }

    fn say(stream: &mut UnixStream, payload: &[u8]) {
        // A client that is gone needs no answer.
        let _ = stream.write_all(&encode_frame(payload));
    }

    #[test]
    fn a_watch_that_breaks_is_told_and_begun_anew() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let (sender, messages) = mpsc::sync_channel(16);
        let _feed = Feed::start(Which { socket: Some(socket.clone()), system: false }, sender);
        // The machine is felt all the while.
        let next = || loop {
            match messages.recv_timeout(Duration::from_secs(10)).unwrap() {
                Message::Machine(_) => {}
                other => break other,
            }
        };
        assert!(matches!(next(), Message::Lost(why) if why.contains("no daemon answers")));
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || fickle(&listener));
        let mut watches = 0;
        let mut losses = 0;
        while watches < 2 {
            match next() {
                Message::Watching { socket: found, .. } => {
                    assert_eq!(found, socket);
                    watches += 1;
                }
                Message::Lost(_) => losses += usize::from(watches == 1),
                _ => {}
            }
        }
        assert_eq!(losses, 1, "the end of the first watch is told once");
    }
}
