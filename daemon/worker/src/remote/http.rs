//! One HTTP GET at a time, as a stream of pieces that can be stopped at any moment. Knows nothing of what it fetches.
//!
//! The exchange happens on a thread of its own, so that the run can look at its wish to stop every few milliseconds while a
//! name is looked up, a connection is made or a server is silent. A stopped exchange's socket is shut down; the thread ends
//! with it, or, in the middle of a look-up or a connect, at the connect timeout.

use std::fmt;
use std::io::{self, Read};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use spindle_shared::catalogue::{self, UrlError};
use spindle_shared::url::{self, Url};
use thiserror::Error;
use ureq::http::{HeaderMap, Response, StatusCode, Uri};
use ureq::unversioned::resolver::{DefaultResolver, ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};

use crate::context::LOOK_EVERY;

/// How long to wait for what.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// Look-up, connection and encryption together.
    pub connect: Duration,
    /// From the request to the end of the answer's head.
    pub answer: Duration,
    /// A body has to bring `drip_bytes` in each of these.
    pub drip_window: Duration,
    pub drip_bytes: u64,
}

impl Default for Patience {
    fn default() -> Self {
        Patience {
            connect: Duration::from_secs(10),
            answer: Duration::from_secs(30),
            drip_window: Duration::from_secs(60),
            drip_bytes: 60 * 1_000,
        }
    }
}

/// How a download that is cut goes on: what a test can't wait for.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    pub patience: Patience,
    /// Before the first reconnection; doubles with each.
    pub backoff: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Pace { patience: Patience::default(), backoff: Duration::from_millis(500) }
    }
}

const REDIRECTS_MAX: usize = 5;
const PIECE_BYTES: usize = 64 << 10;
/// Pieces between the thread that receives and the run that writes.
const PIECES_WAITING_MAX: usize = 4;

/// Where an exchange may lead, on every hop.
#[derive(Debug, Clone)]
pub enum Reach {
    /// A model's publisher: encrypted, or this machine itself.
    Publisher,
    /// An address that anybody may have named: public machines, and these (`HOST:PORT`).
    Public { allow: Arc<[String]> },
}

/// What to ask for.
#[derive(Debug, Clone)]
pub struct Ask {
    pub url: String,
    /// First byte that is wanted.
    pub from: u64,
    /// The rest is wanted only while it is of this version (an ETag, or a time of change); else all of it.
    pub if_range: Option<String>,
    /// `user:password`; goes to the origin of `url` and nowhere else.
    pub login: Option<String>,
    pub reach: Reach,
}

impl Ask {
    /// All of what a model's publisher has, or the rest of it.
    pub fn publisher(url: &str, from: u64) -> Ask {
        Ask { url: url.to_owned(), from, if_range: None, login: None, reach: Reach::Publisher }
    }
}

/// Why an exchange ended early.
#[derive(Debug, Error)]
pub enum Trouble {
    /// The run was told to stop.
    #[error("stopped")]
    Stopped,
    /// Not reached, not answered, or broken off: another try may do.
    #[error("{0}")]
    Network(String),
    /// Fewer bytes than patience allows.
    #[error("the server sends too slowly ({0} bytes in {1} s)")]
    TooSlow(u64, u64),
    #[error(transparent)]
    Address(#[from] UrlError),
    #[error(transparent)]
    Forbidden(#[from] Forbidden),
    #[error("more than {REDIRECTS_MAX} redirects")]
    RedirectLoop,
    #[error("a redirect is not followed: {0}")]
    Redirect(String),
}

/// A machine that no input comes from.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("`{host}` is {address}, {place}: inputs come from public machines")]
pub struct Forbidden {
    /// `HOST:PORT`, as it would have to be allowed.
    pub host: String,
    address: std::net::IpAddr,
    place: &'static str,
}

impl Forbidden {
    /// `host`: as it would have to be allowed.
    pub(super) fn new(host: String, address: std::net::IpAddr, place: &'static str) -> Self {
        Forbidden { host, address, place }
    }
}

/// Looks names up, and gives only addresses that may be connected to: what is connected to is what was looked at.
pub(super) struct PublicOnly {
    allow: Arc<[String]>,
    names: DefaultResolver,
}

impl PublicOnly {
    pub(super) fn new(allow: Arc<[String]>) -> Self {
        PublicOnly { allow, names: DefaultResolver::default() }
    }
}

impl fmt::Debug for PublicOnly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("PublicOnly")
    }
}

impl Resolver for PublicOnly {
    fn resolve(
        &self,
        uri: &Uri,
        config: &ureq::config::Config,
        timeout: NextTimeout,
    ) -> Result<ResolvedSocketAddrs, ureq::Error> {
        let found = self.names.resolve(uri, config, timeout)?;
        let port = found.iter().map(std::net::SocketAddr::port).next().unwrap_or_default();
        let host = format!("{}:{port}", uri.host().unwrap_or_default().to_ascii_lowercase());
        if self.allow.contains(&host) {
            return Ok(found);
        }
        // One that is not public spoils them all: a name that leads to both is no accident.
        match found.iter().find_map(|found| Some((found.ip(), url::not_public(found.ip())?))) {
            Some((address, place)) => Err(ureq::Error::Other(Box::new(Forbidden { host, address, place }))),
            None => Ok(found),
        }
    }
}

/// The head of an answer, redirects followed.
#[derive(Debug)]
pub struct Head {
    pub status: StatusCode,
    headers: HeaderMap,
}

impl Head {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// What the answer is of: a strong ETag, else a time of change. `None` = nobody can say whether another answer is of the same.
    pub fn version(&self) -> Option<String> {
        let etag = self.header("etag").map(str::trim).filter(|etag| etag.starts_with('"'));
        etag.or_else(|| self.header("last-modified").map(str::trim)).map(str::to_owned)
    }

    pub fn content_length(&self) -> Option<u64> {
        self.header("content-length")?.trim().parse().ok()
    }

    /// First byte and whole size of a partial answer: `bytes 100-999/1000`.
    pub fn content_range(&self) -> Option<(u64, Option<u64>)> {
        let (range, whole) = self.header("content-range")?.trim().strip_prefix("bytes ")?.split_once('/')?;
        Some((range.split_once('-')?.0.trim().parse().ok()?, whole.trim().parse().ok()))
    }
}

enum Event {
    Head(Head),
    Piece(Vec<u8>),
    End,
    Trouble(Trouble),
}

/// An answer whose body is still on its way.
pub struct Answer {
    pub head: Head,
    events: Receiver<Event>,
    agent: Option<ureq::Agent>,
    patience: Patience,
    /// Time spent waiting, and bytes that came, in the present window; our own writing doesn't count against the server.
    waited: Duration,
    received: u64,
}

impl Answer {
    /// The next piece of the body; `None` at its end.
    pub fn next(&mut self, stop: &dyn Fn() -> bool) -> Result<Option<Vec<u8>>, Trouble> {
        loop {
            if stop() {
                return Err(Trouble::Stopped);
            }
            let since = Instant::now();
            let event = self.events.recv_timeout(LOOK_EVERY);
            self.waited += since.elapsed();
            match event {
                Ok(Event::Piece(piece)) => {
                    self.received += piece.len() as u64;
                    self.look_at_pace()?;
                    return Ok(Some(piece));
                }
                Ok(Event::End) => return Ok(None),
                Ok(Event::Trouble(trouble)) => return Err(trouble),
                Ok(Event::Head(_)) => {}
                Err(RecvTimeoutError::Timeout) => self.look_at_pace()?,
                Err(RecvTimeoutError::Disconnected) => return Err(receiver_gone()),
            }
        }
    }

    fn look_at_pace(&mut self) -> Result<(), Trouble> {
        if self.waited < self.patience.drip_window {
            return Ok(());
        }
        if self.received < self.patience.drip_bytes {
            return Err(Trouble::TooSlow(self.received, self.waited.as_secs()));
        }
        (self.waited, self.received) = (Duration::ZERO, 0);
        Ok(())
    }
}

impl Drop for Answer {
    /// Wakes the thread where it is still reading.
    fn drop(&mut self) {
        if let Some(agent) = self.agent.take() {
            agent.shutdown();
        }
    }
}

/// Asks and waits for the answer's head; what the status means is the caller's to say.
pub fn get(ask: &Ask, patience: &Patience, stop: &dyn Fn() -> bool) -> Result<Answer, Trouble> {
    if let Reach::Publisher = ask.reach {
        catalogue::check_url(&ask.url)?;
    }
    let agent = agent(ask, patience);
    let (sender, events) = sync_channel(PIECES_WAITING_MAX);
    let mut answer = Answer {
        head: Head { status: StatusCode::OK, headers: HeaderMap::new() },
        events,
        agent: Some(agent.clone()),
        patience: *patience,
        waited: Duration::ZERO,
        received: 0,
    };
    let ask = ask.clone();
    std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || exchange(&agent, ask, &sender))
        .map_err(|e| Trouble::Network(format!("no thread for the exchange: {e}")))?;
    loop {
        if stop() {
            return Err(Trouble::Stopped);
        }
        match answer.events.recv_timeout(LOOK_EVERY) {
            Ok(Event::Head(head)) => {
                answer.head = head;
                return Ok(answer);
            }
            Ok(Event::Trouble(trouble)) => return Err(trouble),
            Ok(Event::Piece(_) | Event::End) | Err(RecvTimeoutError::Disconnected) => return Err(receiver_gone()),
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
}

fn receiver_gone() -> Trouble {
    Trouble::Network("the exchange ended unexpectedly".to_owned())
}

fn agent(ask: &Ask, patience: &Patience) -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .timeout_resolve(Some(patience.connect))
        .timeout_connect(Some(patience.connect))
        .timeout_send_request(Some(patience.answer))
        .timeout_recv_response(Some(patience.answer))
        // The run gives up earlier, by its window; this ends the thread where nobody waits any more.
        .timeout_per_read(Some(patience.drip_window.max(patience.answer) + LOOK_EVERY * 2))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        // What is hashed is what the publisher stores, not a compressed form of it.
        .accept_encoding("identity")
        .user_agent(concat!("spindle/", env!("CARGO_PKG_VERSION")));
    match &ask.reach {
        // Unencrypted addresses are on this machine; no proxy stands between.
        Reach::Publisher if !is_encrypted(&ask.url) => config.proxy(None).build().new_agent(),
        Reach::Publisher => config.build().new_agent(),
        // A proxy would look names up itself, and reach what must not be reached.
        Reach::Public { allow } => {
            let names = PublicOnly::new(Arc::clone(allow));
            ureq::Agent::with_parts(config.proxy(None).build(), DefaultConnector::default(), names)
        }
    }
}

/// The thread: request, redirects, body. A send that fails means that nobody listens any more.
fn exchange(agent: &ureq::Agent, ask: Ask, events: &SyncSender<Event>) {
    let _ = match follow(agent, ask) {
        Err(trouble) => events.send(Event::Trouble(trouble)),
        Ok(response) => {
            let (parts, body) = response.into_parts();
            let head = Head { status: parts.status, headers: parts.headers };
            events.send(Event::Head(head)).and_then(|()| receive(body.into_reader(), events))
        }
    };
}

fn receive(mut body: impl Read, events: &SyncSender<Event>) -> Result<(), std::sync::mpsc::SendError<Event>> {
    loop {
        let mut piece = vec![0; PIECE_BYTES];
        match body.read(&mut piece) {
            Ok(0) => return events.send(Event::End),
            Ok(len) => {
                piece.truncate(len);
                events.send(Event::Piece(piece))?;
            }
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return events.send(Event::Trouble(Trouble::Network(format!("the connection broke: {e}")))),
        }
    }
}

/// Redirects are followed here and not by the library: an encrypted exchange stays encrypted on every hop.
fn follow(agent: &ureq::Agent, ask: Ask) -> Result<Response<ureq::Body>, Trouble> {
    let Ask { mut url, from, if_range, mut login, reach } = ask;
    for _ in 0..=REDIRECTS_MAX {
        let mut request = agent.get(&url);
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
            if let Some(version) = &if_range {
                request = request.header("if-range", version);
            }
        }
        if let Some(login) = &login {
            request = request.header("authorization", format!("Basic {}", STANDARD.encode(login)));
        }
        let response = request.call().map_err(|error| match error {
            ureq::Error::Other(other) => match other.downcast::<Forbidden>() {
                Ok(forbidden) => Trouble::Forbidden(*forbidden),
                Err(other) => Trouble::Network(other.to_string()),
            },
            other => Trouble::Network(other.to_string()),
        })?;
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(response);
        }
        let location = response
            .headers()
            .get("location")
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| Trouble::Redirect("it names no address".to_owned()))?;
        let next = match reach {
            Reach::Publisher => {
                let next = joined(&url, location);
                catalogue::check_url(&next)?;
                next
            }
            Reach::Public { .. } => {
                let next = Url::stored(url.clone()).join(location).map_err(|e| Trouble::Redirect(e.to_string()))?;
                next.without_login()
            }
        };
        if is_encrypted(&url) && !is_encrypted(&next) {
            if let Reach::Public { .. } = reach {
                return Err(Trouble::Redirect("from an encrypted address to one that is not".to_owned()));
            }
            return Err(UrlError::NotEncrypted { url: host_of(&next).to_owned() }.into());
        }
        if host_of(&url) != host_of(&next) {
            login = None;
        }
        url = next;
    }
    Err(Trouble::RedirectLoop)
}

fn is_encrypted(url: &str) -> bool {
    url.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https:"))
}

/// Scheme and host; what follows may hold a signature that belongs into no message.
pub(super) fn host_of(url: &str) -> &str {
    let start = url.find("://").map_or(0, |at| at + 3);
    let end = url[start..].find(['/', '?', '#']).map_or(url.len(), |at| start + at);
    &url[..end]
}

/// A redirect's target as a whole address; it may come relative to the one that was asked.
fn joined(base: &str, location: &str) -> String {
    let location = location.split('#').next().unwrap_or_default();
    let origin = host_of(base);
    let has_scheme = location.split(['/', '?']).next().is_some_and(|start| start.contains(':'));
    if has_scheme {
        location.to_owned()
    } else if let Some(rest) = location.strip_prefix("//") {
        let scheme = base.split("//").next().unwrap_or_default();
        format!("{scheme}//{rest}")
    } else if location.starts_with('/') {
        format!("{origin}{location}")
    } else {
        let path = base[origin.len()..].split(['?', '#']).next().unwrap_or_default();
        let folder = path.rfind('/').map_or("/", |at| &path[..=at]);
        format!("{origin}{folder}{location}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_may_be_relative() {
        let base = "https://a.example:8443/x/y/model.bin?download=true";
        for (location, whole) in [
            ("https://b.example/z?sig=a:b", "https://b.example/z?sig=a:b"),
            ("//b.example/z", "https://b.example/z"),
            ("/cache/z?v=1#part", "https://a.example:8443/cache/z?v=1"),
            ("z?v=1:2", "https://a.example:8443/x/y/z?v=1:2"),
        ] {
            assert_eq!(joined(base, location), whole, "{location}");
        }
        assert_eq!(joined("https://a.example", "z"), "https://a.example/z");
        assert_eq!(joined("https://a.example", "javascript:x"), "javascript:x");
    }

    #[test]
    fn a_partial_answer_says_where_it_begins() {
        let range = |text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert("content-range", text.parse().unwrap());
            Head { status: StatusCode::PARTIAL_CONTENT, headers }.content_range()
        };
        assert_eq!(range("bytes 100-999/1000"), Some((100, Some(1000))));
        assert_eq!(range("bytes 0-9/*"), Some((0, None)));
        assert_eq!(range("bytes */1000"), None);
        assert_eq!(range("lines 1-2/3"), None);
    }
}
