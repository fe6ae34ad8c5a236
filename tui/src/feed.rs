//! The feed: watches the daemon, asks it, and begins anew when it has gone. Turns all it hears into messages; knows no model and no screen.

use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender, SyncSender};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use spindle_shared::batch::BatchView;
use spindle_shared::client::{Client, ClientError, Heard, Watch, Which};
use spindle_shared::event::Fact;
use spindle_shared::snapshot::Snapshot;
use spindle_shared::wire::request::{BatchFilter, Request, Scope};
use spindle_shared::wire::response::Response;

use crate::message::Message;
use crate::spawn;

/// Jobs of one batch that are asked for at once.
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
    readings: Sender<Request>,
}

impl Feed {
    pub fn start(which: Which, messages: SyncSender<Message>) -> Feed {
        let found = Found { which, socket: Arc::default() };
        let (readings, wanted) = mpsc::channel();
        let (watched, pulse, reader) = (found.clone(), found.clone(), found.clone());
        let threads = [
            spawn("watch", messages.clone(), move |messages| watch(&watched, messages)),
            spawn("pulse", messages.clone(), move |messages| feel(&pulse, messages)),
            spawn("reader", messages.clone(), move |messages| read(&reader, &wanted, messages)),
        ];
        for error in threads.into_iter().filter_map(Result::err) {
            // Nobody listens yet, and there is room: this doesn't wait.
            let _ = messages.send(Message::Died(format!("a thread that could not start ({error})")));
        }
        Feed { found, messages, readings }
    }

    /// Asks; the answer comes as a message. Never waits.
    pub fn ask(&self, request: Request) {
        if matches!(request, Request::Jobs { .. }) {
            // The reader is gone only when the program ends.
            let _ = self.readings.send(request);
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
struct Found {
    which: Which,
    socket: Arc<Mutex<Option<PathBuf>>>,
}

impl Found {
    fn socket(&self) -> Option<PathBuf> {
        self.socket.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn connect(&self) -> Result<(PathBuf, Client), ClientError> {
        if let Some(socket) = self.socket() {
            return Client::connect(&socket).map(|client| (socket, client));
        }
        let (socket, client) = self.which.connect()?;
        *self.socket.lock().unwrap_or_else(PoisonError::into_inner) = Some(socket.clone());
        Ok((socket, client))
    }
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
    let mut watch = client.watch(Scope::House, JOBS_WINDOW)?;
    let snapshot = first(&mut watch)?;
    // Asked after the snapshot: what ends in between is told by an event too.
    let ended = ended_batches(found)?;
    send(messages, Message::Watching { socket, build, snapshot, ended, at: Instant::now() })?;
    loop {
        match watch.hear(None)? {
            Heard::Event(event) if event.fact == Fact::Lagged => return Ok(()),
            Heard::Event(event) => send(messages, Message::Event(event))?,
            Heard::Jobs(jobs) => send(messages, Message::Jobs(jobs))?,
            Heard::Quiet => {}
            Heard::Snapshot(_) => return Err(unexpected("a second snapshot")),
            Heard::Other(_) => return Ok(()),
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

/// Asks once a second how the daemon itself is. Its silence is the model's to notice.
fn feel(found: &Found, messages: &SyncSender<Message>) {
    loop {
        if let Some(socket) = found.socket()
            && let Ok(responses) = Client::connect(&socket).and_then(|client| client.call(&Request::House))
        {
            for response in responses {
                if let Response::House(house) = response
                    && send(messages, Message::House(Box::new(house), Instant::now())).is_err()
                {
                    return;
                }
            }
        }
        std::thread::sleep(PULSE);
    }
}

/// Reads what the dashboard wants to show; of what has piled up only the last.
fn read(found: &Found, wanted: &Receiver<Request>, messages: &SyncSender<Message>) {
    while let Ok(mut request) = wanted.recv() {
        while let Ok(newer) = wanted.try_recv() {
            request = newer;
        }
        answer(found, request, messages);
    }
}

fn answer(found: &Found, request: Request, messages: &SyncSender<Message>) {
    let result = found.connect().and_then(|(_, client)| client.call(&request)).map_err(|error| match error {
        ClientError::Refused(refusal) => {
            let hint = refusal.hint.map(|hint| format!(" ({hint})")).unwrap_or_default();
            format!("{}{hint}", refusal.message)
        }
        other => other.to_string(),
    });
    // The loop may be over already.
    let _ = send(messages, Message::Answered(Box::new(request), result));
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
        let next = || messages.recv_timeout(Duration::from_secs(10)).unwrap();
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
