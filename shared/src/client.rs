//! The client's end of the local socket: connect, one call or one watch, and every way that can go wrong. Blocking; knows no runtime.

use std::io::{self, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use interprocess::ConnectWaitMode;
use interprocess::local_socket::traits::Stream as _;
use interprocess::local_socket::{ConnectOptions, GenericFilePath, Stream, ToFsName};

use crate::batch::{BatchSpec, BatchView};
use crate::event::Event;
use crate::id::{ContentHash, ContentHasher, JobId};
use crate::job::{JobView, PathBytes};
use crate::limits::{FRAME_BYTES_MAX, INPUTS_PER_FRAME_MAX};
use crate::paths::{self, Service};
use crate::snapshot::Snapshot;
use crate::wire::codec;
use crate::wire::frame::{FrameDecoder, encode_frame};
use crate::wire::hello::{BadHello, Hello};
use crate::wire::request::{Request, Scope, Submission};
use crate::wire::response::{Refusal, Response, Sending};

/// Connecting and both hellos take no longer than this; a daemon that hangs is as good as none.
const GREETING: Duration = Duration::from_secs(5);
/// Between two tries at a crowded door.
const CROWDED: Duration = Duration::from_millis(20);

/// What a caller does differently.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Nobody listens there.
    #[error("no daemon answers at {path}: {source}")]
    Unreachable { path: PathBytes, source: io::Error },
    /// The folder could be anybody's; nothing was sent.
    #[error("{folder} {why}: not trusted with a socket")]
    Untrusted { folder: PathBytes, why: &'static str },
    /// The two sides don't understand each other.
    #[error("{0}")]
    Protocol(String),
    /// The daemon understood and says no.
    #[error(transparent)]
    Refused(Refusal),
    /// The connection ended in the middle of an answer.
    #[error("the connection to the daemon broke: {0}")]
    Broken(io::Error),
}

/// Which daemon a person means.
#[derive(Debug, Clone, Default)]
pub struct Which {
    /// This one and no other.
    pub socket: Option<PathBuf>,
    /// The system's and no other.
    pub system: bool,
}

impl Which {
    /// Connects: the socket named; the system's; else the user's if it answers, else the system's. Gives back whom it found.
    pub fn connect(&self) -> Result<(PathBuf, Client), ClientError> {
        let at = |path: PathBuf| Client::connect(&path).map(|client| (path, client));
        if let Some(path) = &self.socket {
            return at(path.clone());
        }
        let system = paths::socket(Service::System);
        if self.system {
            return at(system);
        }
        let user = paths::socket(Service::User);
        let named = std::env::var_os("SPINDLE_SOCKET").is_some_and(|value| !value.is_empty());
        if !named {
            trusted(&user)?;
        }
        match at(user) {
            // What the environment names is meant as it is named.
            Err(ClientError::Unreachable { path, source }) if !named => {
                at(system).map_err(|error| match error {
                    // The user's own is the one to start: that is the one to speak of.
                    ClientError::Unreachable { .. } => ClientError::Unreachable { path, source },
                    other => other,
                })
            }
            found => found,
        }
    }
}

/// Anybody may make a folder under /tmp: it must be ours, closed to others, and no link.
fn trusted(socket: &Path) -> Result<(), ClientError> {
    use std::os::unix::fs::MetadataExt;
    let Some(folder) = socket.parent().filter(|folder| folder.starts_with("/tmp")) else { return Ok(()) };
    // A folder that isn't there holds no socket: connecting says so in its own words.
    let Ok(meta) = std::fs::symlink_metadata(folder) else { return Ok(()) };
    let why = if !meta.is_dir() {
        "is not a folder"
    } else if meta.uid() != rustix::process::geteuid().as_raw() {
        "belongs to somebody else"
    } else if meta.mode() & 0o077 != 0 {
        "is open to others (chmod 0700 it)"
    } else {
        return Ok(());
    };
    Err(ClientError::Untrusted { folder: folder.into(), why })
}

/// One connection, greeted, with nothing asked yet. It carries one call or one watch.
#[derive(Debug)]
pub struct Client {
    link: Link,
    /// Our hello couldn't be sent.
    unsent: Option<io::Error>,
    /// Said by a daemon of another protocol number; only what is frozen may be asked then.
    stranger: Option<BadHello>,
    build: String,
}

impl Client {
    /// Connects and exchanges hellos, within five seconds.
    pub fn connect(path: &Path) -> Result<Client, ClientError> {
        let deadline = Instant::now() + GREETING;
        let unreachable = |source| ClientError::Unreachable { path: path.into(), source };
        let stream = loop {
            let name = path.to_fs_name::<GenericFilePath>().map_err(unreachable)?;
            match ConnectOptions::new().name(name).wait_mode(ConnectWaitMode::Timeout(GREETING)).connect_sync() {
                // The daemon lives, and more clients are at its door than it has let in yet.
                Err(error) if error.kind() == io::ErrorKind::WouldBlock && Instant::now() < deadline => {
                    std::thread::sleep(CROWDED);
                }
                connected => break connected.map_err(unreachable)?,
            }
        };
        let mut link = Link { stream, decoder: FrameDecoder::new(), buffer: vec![0; READ_BYTES].into() };
        link.stream.set_send_timeout(Some(GREETING)).map_err(unreachable)?;
        // A daemon that has hung up already may have said why before.
        let unsent = link.send(&codec::encode(&Hello::ours())).err();
        let frame = match link.frame(Some(deadline)) {
            Ok(Got::Frame(frame)) => frame,
            Ok(Got::Quiet) => return Err(unreachable(io::Error::new(io::ErrorKind::TimedOut, "it says no hello"))),
            Err(ClientError::Broken(error)) => return Err(unreachable(error)),
            Err(error) => return Err(error),
            Ok(Got::End) => {
                let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up without a hello");
                return Err(unreachable(unsent.unwrap_or_else(cut)));
            }
        };
        let hello: Hello =
            codec::decode(&frame, FRAME_BYTES_MAX).map_err(|_| protocol(BadHello::NotSpindle.to_string()))?;
        let stranger = match hello.check("daemon") {
            Ok(()) => None,
            Err(BadHello::NotSpindle) => return Err(protocol(BadHello::NotSpindle.to_string())),
            Err(other) => Some(other),
        };
        // From here on a request may take as long as it takes.
        link.stream.set_send_timeout(None).map_err(ClientError::Broken)?;
        Ok(Client { link, unsent, stranger, build: hello.build })
    }

    /// The daemon's version.
    pub fn daemon_build(&self) -> &str {
        &self.build
    }

    /// Asks, and gives the whole answer at once; a refusal is an error.
    pub fn call(self, request: &Request) -> Result<Vec<Response>, ClientError> {
        self.ask(request)?.collect()
    }

    /// Asks, and gives the answer frame by frame: for listings that may be long.
    pub fn ask(mut self, request: &Request) -> Result<Answer, ClientError> {
        if let Some(stranger) = self.stranger.take()
            && !matches!(request, Request::Health | Request::Drain | Request::Shutdown)
        {
            return Err(protocol(stranger.to_string()));
        }
        let bytes = codec::encode(request);
        if bytes.len() > FRAME_BYTES_MAX {
            return Err(protocol(format!("a request of {} bytes is more than one frame holds", bytes.len())));
        }
        // A daemon that refuses early hangs up while we still write; what it said before counts.
        let unsent = self.unsent.take().or_else(|| self.link.send(&bytes).err());
        Ok(Answer { link: self.link, unsent, ended: false })
    }

    /// Submits a batch: the request, then its inputs in frames of bounded length.
    pub fn submit(
        self,
        spec: BatchSpec,
        total: u32,
        dry_run: bool,
        inputs: impl IntoIterator<Item = Submission>,
    ) -> Result<Vec<Response>, ClientError> {
        let mut answer = self.ask(&Request::Submit { spec: Box::new(spec), total, dry_run })?;
        let mut frame: Vec<Submission> = Vec::new();
        let mut bytes = 0;
        for input in inputs {
            let more = codec::encode(&input).len();
            if !frame.is_empty() && (frame.len() == INPUTS_PER_FRAME_MAX || bytes + more > FRAME_BYTES_MAX / 2 - 64) {
                answer.send_inputs(std::mem::take(&mut frame));
                bytes = 0;
            }
            if answer.unsent.is_some() {
                break;
            }
            frame.push(input);
            bytes += more;
        }
        if !frame.is_empty() {
            answer.send_inputs(frame);
        }
        answer.collect()
    }

    /// One output of a job, to be read.
    pub fn fetch(self, job: JobId, output: u32) -> Result<Fetched, ClientError> {
        let mut answer = self.ask(&Request::Fetch { job, output })?;
        match answer.next() {
            Some(Ok(Response::Sending(Sending { bytes, content }))) => {
                let hasher = ContentHasher::default();
                Ok(Fetched { answer, bytes, content, piece: Vec::new(), read: 0, left: bytes, hasher })
            }
            Some(Err(error)) => Err(error),
            _ => Err(protocol("the daemon's answer lacks the file".to_owned())),
        }
    }

    /// Watches: the daemon's snapshot, then its events as they happen.
    pub fn watch(self, scope: Scope, jobs: u32) -> Result<Watch, ClientError> {
        Ok(Watch { answer: self.ask(&Request::Watch { scope, jobs })? })
    }
}

/// An answer as it comes: frames up to the end. After an error or the end nothing more comes.
#[derive(Debug)]
pub struct Answer {
    link: Link,
    /// The request couldn't be sent whole; told only where the daemon has said nothing about it.
    unsent: Option<io::Error>,
    ended: bool,
}

impl Answer {
    /// Says more on a line of several files. `false` = it couldn't be said; why, the next answer tells.
    pub fn say(&mut self, request: &Request) -> bool {
        if self.unsent.is_none() {
            self.unsent = self.link.send(&codec::encode(request)).err();
        }
        self.unsent.is_none()
    }

    fn send_inputs(&mut self, inputs: Vec<Submission>) {
        self.say(&Request::Inputs(inputs));
    }

    /// The next frame; `Got::Quiet` after the deadline.
    fn response(&mut self, deadline: Option<Instant>) -> Result<Heard, ClientError> {
        let frame = match self.link.frame(deadline) {
            Ok(Got::Frame(frame)) => frame,
            Ok(Got::Quiet) => return Ok(Heard::Quiet),
            Ok(Got::End) => {
                let cut = io::Error::new(io::ErrorKind::UnexpectedEof, "the daemon hung up before its answer's end");
                return Err(ClientError::Broken(self.unsent.take().unwrap_or(cut)));
            }
            Err(ClientError::Broken(error)) => return Err(ClientError::Broken(self.unsent.take().unwrap_or(error))),
            Err(error) => return Err(error),
        };
        match codec::decode(&frame, FRAME_BYTES_MAX).map_err(|error| protocol(error.to_string()))? {
            Response::Refused(refusal) => Err(ClientError::Refused(refusal)),
            Response::Snapshot(snapshot) => Ok(Heard::Snapshot(snapshot)),
            Response::Event(event) => Ok(Heard::Event(event)),
            Response::Batches(batches) => Ok(Heard::Batches(batches)),
            Response::Jobs(jobs) => Ok(Heard::Jobs(jobs)),
            other => Ok(Heard::Other(Box::new(other))),
        }
    }
}

impl Iterator for Answer {
    type Item = Result<Response, ClientError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        let heard = self.response(None);
        self.ended = heard.is_err();
        match heard {
            Ok(Heard::Other(response)) if *response == Response::End => {
                self.ended = true;
                None
            }
            Ok(Heard::Other(response)) => Some(Ok(*response)),
            Ok(Heard::Snapshot(snapshot)) => Some(Ok(Response::Snapshot(snapshot))),
            Ok(Heard::Event(event)) => Some(Ok(Response::Event(event))),
            Ok(Heard::Batches(batches)) => Some(Ok(Response::Batches(batches))),
            Ok(Heard::Jobs(jobs)) => Some(Ok(Response::Jobs(jobs))),
            Ok(Heard::Quiet) => None,
            Err(error) => Some(Err(error)),
        }
    }
}

/// A file as it comes. Its end is told only where it is whole and what it should be; anything else is an error of reading.
#[derive(Debug)]
pub struct Fetched {
    answer: Answer,
    pub bytes: u64,
    /// What it should be, where that is known.
    pub content: Option<ContentHash>,
    piece: Vec<u8>,
    /// Of the piece.
    read: usize,
    left: u64,
    hasher: ContentHasher,
}

impl Read for Fetched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.read == self.piece.len() && self.left > 0 {
            let piece = match self.answer.next() {
                Some(Ok(Response::Piece(piece))) => piece.0,
                Some(Err(error)) => return Err(io::Error::other(error)),
                _ => return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "the file ends too early")),
            };
            if piece.is_empty() || piece.len() as u64 > self.left {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "a piece of the file has a wrong length"));
            }
            self.hasher.write_all(&piece)?;
            self.left -= piece.len() as u64;
            (self.piece, self.read) = (piece, 0);
        }
        let there = &self.piece[self.read..];
        if there.is_empty() && self.content.is_some_and(|content| self.hasher.finish() != content) {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file is not what was published"));
        }
        let count = there.len().min(buffer.len());
        buffer[..count].copy_from_slice(&there[..count]);
        self.read += count;
        Ok(count)
    }
}

/// What a watcher hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Heard {
    /// How things stand; comes first.
    Snapshot(Box<Snapshot>),
    /// More of the snapshot's batches, where they don't fit into one frame.
    Batches(Vec<BatchView>),
    /// More of the snapshot's jobs likewise.
    Jobs(Vec<JobView>),
    Event(Box<Event>),
    /// Nothing until the deadline. The watch goes on.
    Quiet,
    /// The daemon has closed the watch in good order, or answered what is no watch.
    Other(Box<Response>),
}

/// A watch under way.
#[derive(Debug)]
pub struct Watch {
    answer: Answer,
}

impl Watch {
    /// What comes next, waiting no longer than to the deadline.
    pub fn hear(&mut self, deadline: Option<Instant>) -> Result<Heard, ClientError> {
        self.answer.response(deadline)
    }

    /// What ends this watch from another thread, while it waits to hear.
    pub fn hangup(&self) -> io::Result<Hangup> {
        let Stream::UdSocket(socket) = &self.answer.link.stream;
        Ok(Hangup(socket.as_fd().try_clone_to_owned()?))
    }
}

/// Ends a watch: whoever waits to hear from it hears that the connection has ended.
#[derive(Debug)]
pub struct Hangup(OwnedFd);

impl Hangup {
    pub fn now(self) {
        // A connection that has ended by itself needs no end.
        let _ = rustix::net::shutdown(&self.0, rustix::net::Shutdown::Both);
    }
}

/// The stream with its frames.
#[derive(Debug)]
struct Link {
    stream: Stream,
    decoder: FrameDecoder,
    /// What a read fills; made once, as to clear it for each frame costs more than the frame.
    buffer: Box<[u8]>,
}

/// Bytes that one read takes at most.
const READ_BYTES: usize = 64 << 10;

enum Got {
    Frame(Vec<u8>),
    /// The deadline has passed.
    Quiet,
    /// The other side has hung up between two frames.
    End,
}

impl Link {
    fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        (&self.stream).write_all(&encode_frame(payload))
    }

    fn frame(&mut self, deadline: Option<Instant>) -> Result<Got, ClientError> {
        loop {
            if let Some(frame) = self.decoder.next().map_err(|error| protocol(error.to_string()))? {
                return Ok(Got::Frame(frame));
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return Ok(Got::Quiet);
            }
            self.stream.set_recv_timeout(left).map_err(ClientError::Broken)?;
            match (&self.stream).read(&mut self.buffer) {
                Ok(0) if self.decoder.is_mid_frame() => {
                    return Err(ClientError::Broken(io::Error::new(
                        io::ErrorKind::UnexpectedEof,
                        "it ended in the middle of a message",
                    )));
                }
                Ok(0) => return Ok(Got::End),
                Ok(bytes) => self.decoder.push(&self.buffer[..bytes]),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
                Err(error) => return Err(ClientError::Broken(error)),
            }
        }
    }
}

fn protocol(message: String) -> ClientError {
    ClientError::Protocol(message)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::{UnixListener, UnixStream};

    use super::*;
    use crate::id::BatchId;
    use crate::wire::request::BatchFilter;
    use crate::wire::response::RefusalKind;

    /// A daemon that takes one connection, does this with it, and hangs up.
    fn daemon(script: impl FnOnce(UnixStream) + Send + 'static) -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("s");
        let listener = UnixListener::bind(&socket).unwrap();
        std::thread::spawn(move || script(listener.accept().unwrap().0));
        (folder, socket)
    }

    fn say<T: serde::Serialize>(stream: &mut UnixStream, value: &T) {
        let _ = stream.write_all(&encode_frame(&codec::encode(value)));
    }

    fn listing() -> Request {
        Request::List { filter: BatchFilter::default(), limit: 1 }
    }

    #[test]
    fn answers_come_whole_and_in_order() {
        let (_folder, socket) = daemon(|mut stream| {
            say(&mut stream, &Hello::ours());
            let both = [codec::encode(&Response::Batches(vec![])), codec::encode(&Response::End)];
            // Frames arrive cut anywhere.
            for byte in both.iter().flat_map(|payload| encode_frame(payload)) {
                stream.write_all(&[byte]).unwrap();
            }
            let _ = stream.read(&mut [0; 64]);
        });
        let client = Client::connect(&socket).unwrap();
        assert_eq!(client.daemon_build(), env!("CARGO_PKG_VERSION"));
        assert_eq!(client.call(&listing()).unwrap(), [Response::Batches(vec![])]);
    }

    #[test]
    fn every_way_to_fail_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let nobody = folder.path().join("none");
        assert!(matches!(Client::connect(&nobody), Err(ClientError::Unreachable { .. })));
        drop(UnixListener::bind(&nobody).unwrap());
        assert!(
            matches!(Client::connect(&nobody), Err(ClientError::Unreachable { .. })),
            "a socket somebody left behind"
        );
        let too_long = folder.path().join("x".repeat(200));
        assert!(matches!(Client::connect(&too_long), Err(ClientError::Unreachable { .. })));

        let (_folder, socket) = daemon(drop);
        assert!(matches!(Client::connect(&socket), Err(ClientError::Unreachable { .. })), "it hangs up");
        let (_folder, socket) = daemon(|mut stream| {
            let _ = stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n");
        });
        assert!(matches!(Client::connect(&socket), Err(ClientError::Protocol(_))), "another service");

        let refusal = Refusal::new(RefusalKind::Limit, "full");
        let said = Response::Refused(refusal.clone());
        let (_folder, socket) = daemon(move |mut stream| {
            say(&mut stream, &Hello::ours());
            say(&mut stream, &said);
        });
        let refused = Client::connect(&socket).unwrap().call(&listing());
        assert!(matches!(refused, Err(ClientError::Refused(told)) if told == refusal));

        let (_folder, socket) = daemon(|mut stream| {
            say(&mut stream, &Hello::ours());
            let _ = stream.read(&mut [0; 64]);
            let _ = stream.write_all(&[9, 0, 0, 0, 1]);
        });
        assert!(
            matches!(Client::connect(&socket).unwrap().call(&listing()), Err(ClientError::Broken(_))),
            "cut in a frame"
        );
    }

    #[test]
    fn a_watch_is_quiet_until_its_deadline_and_goes_on() {
        let (_folder, socket) = daemon(|mut stream| {
            say(&mut stream, &Hello::ours());
            say(&mut stream, &Response::Snapshot(Box::default()));
            let _ = stream.read_exact(&mut [0; 1]);
            // Until the watcher leaves.
            while stream.read(&mut [0; 64]).is_ok_and(|bytes| bytes > 0) {}
        });
        let mut watch = Client::connect(&socket).unwrap().watch(Scope::Batches(vec![BatchId(1)]), 0).unwrap();
        assert_eq!(watch.hear(None).unwrap(), Heard::Snapshot(Box::default()));
        for _ in 0..2 {
            assert_eq!(watch.hear(Some(Instant::now() + Duration::from_millis(20))).unwrap(), Heard::Quiet);
        }
    }

    #[test]
    fn a_watch_that_waits_is_ended_from_another_thread() {
        let (_folder, socket) = daemon(|mut stream| {
            say(&mut stream, &Hello::ours());
            while stream.read(&mut [0; 64]).is_ok_and(|bytes| bytes > 0) {}
        });
        let mut watch = Client::connect(&socket).unwrap().watch(Scope::Overview, 0).unwrap();
        let hangup = watch.hangup().unwrap();
        let waiting = std::thread::spawn(move || watch.hear(None));
        hangup.now();
        assert!(matches!(waiting.join().unwrap(), Err(ClientError::Broken(_))));
    }

    #[test]
    fn a_folder_under_tmp_must_be_ours_alone() {
        let folder = tempfile::Builder::new().prefix("spindle-test-").tempdir_in("/tmp").unwrap();
        let mode = |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
        let socket = folder.path().join("spindled.sock");
        mode(0o700);
        assert!(trusted(&socket).is_ok());
        mode(0o750);
        assert!(matches!(trusted(&socket), Err(ClientError::Untrusted { .. })));
        mode(0o700);
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(folder.path(), &link).unwrap();
        assert!(matches!(trusted(&link.join("spindled.sock")), Err(ClientError::Untrusted { .. })));
        assert!(trusted(Path::new("/tmp/spindle-no-such-folder/spindled.sock")).is_ok(), "connecting says so");
        assert!(trusted(Path::new("/run/user/0/spindle/spindled.sock")).is_ok());
    }
}
