//! One HTTP GET at a time, as a stream of pieces that can be stopped at any moment. Knows nothing of what it fetches.
//!
//! The exchange happens on a thread of its own, so that the run can look at its wish to stop every few milliseconds while a
//! name is looked up, a connection is made or a server is silent. A stopped exchange's socket is shut down; the thread ends
//! with it, or, in the middle of a look-up or a connect, at the connect timeout.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use spindle_shared::catalogue::{self, UrlError};
use thiserror::Error;
use ureq::http::{HeaderMap, Response, StatusCode};

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

/// How often a waiting run looks whether it is to stop.
pub(super) const LOOK_EVERY: Duration = Duration::from_millis(50);
const REDIRECTS_MAX: usize = 5;
const PIECE_BYTES: usize = 64 << 10;
/// Pieces between the thread that receives and the run that writes.
const PIECES_WAITING_MAX: usize = 4;

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
    #[error("more than {REDIRECTS_MAX} redirects")]
    RedirectLoop,
    #[error("a redirect leads nowhere: {0}")]
    Redirect(String),
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

/// Asks for `url` from byte `from` on and waits for the answer's head; what the status means is the caller's to say.
pub fn get(url: &str, from: u64, patience: &Patience, stop: &dyn Fn() -> bool) -> Result<Answer, Trouble> {
    catalogue::check_url(url)?;
    let agent = agent(url, patience);
    let (sender, events) = sync_channel(PIECES_WAITING_MAX);
    let mut answer = Answer {
        head: Head { status: StatusCode::OK, headers: HeaderMap::new() },
        events,
        agent: Some(agent.clone()),
        patience: *patience,
        waited: Duration::ZERO,
        received: 0,
    };
    let url = url.to_owned();
    std::thread::Builder::new()
        .name("http".to_owned())
        .spawn(move || exchange(&agent, url, from, &sender))
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

fn agent(url: &str, patience: &Patience) -> ureq::Agent {
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
    // Unencrypted addresses are on this machine; no proxy stands between.
    let config = if url.starts_with("https") { config } else { config.proxy(None) };
    config.build().new_agent()
}

/// The thread: request, redirects, body. A send that fails means that nobody listens any more.
fn exchange(agent: &ureq::Agent, url: String, from: u64, events: &SyncSender<Event>) {
    let _ = match follow(agent, url, from) {
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
fn follow(agent: &ureq::Agent, mut url: String, from: u64) -> Result<Response<ureq::Body>, Trouble> {
    for _ in 0..=REDIRECTS_MAX {
        let mut request = agent.get(&url);
        if from > 0 {
            request = request.header("range", format!("bytes={from}-"));
        }
        let response = request.call().map_err(|e| Trouble::Network(e.to_string()))?;
        if !matches!(response.status().as_u16(), 301 | 302 | 303 | 307 | 308) {
            return Ok(response);
        }
        let location = response
            .headers()
            .get("location")
            .and_then(|value| value.to_str().ok())
            .ok_or_else(|| Trouble::Redirect("it names no address".to_owned()))?;
        let next = joined(&url, location);
        catalogue::check_url(&next)?;
        if is_encrypted(&url) && !is_encrypted(&next) {
            return Err(UrlError::NotEncrypted { url: host_of(&next).to_owned() }.into());
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
