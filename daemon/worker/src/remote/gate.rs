//! The one way out of a program that fetches for us: a proxy on this machine that looks names up itself and connects to public machines only, or to
//! those that are allowed. Reads nothing of what passes and knows nothing of who asks.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use spindle_shared::url;

use super::http::Forbidden;

/// Of a request's head.
const HEAD_BYTES_MAX: u64 = 64 << 10;
const CONNECTIONS_MAX: usize = 32;
const CONNECT: Duration = Duration::from_secs(10);
/// Neither side says anything for so long.
const SILENCE: Duration = Duration::from_secs(60);

/// Open while it lives.
pub struct Gate {
    address: SocketAddr,
    shared: Arc<Shared>,
}

struct Shared {
    allow: Vec<String>,
    closed: AtomicBool,
    open: AtomicUsize,
    /// The first machine that was refused.
    refused: Mutex<Option<Forbidden>>,
}

impl Gate {
    /// `allow`: `HOST:PORT` that may be connected to although they are not public.
    pub fn open(allow: Vec<String>) -> io::Result<Gate> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            allow,
            closed: AtomicBool::new(false),
            open: AtomicUsize::new(0),
            refused: Mutex::new(None),
        });
        let inner = Arc::clone(&shared);
        thread::Builder::new().name("gate".to_owned()).spawn(move || {
            for client in listener.incoming() {
                if inner.closed.load(Ordering::SeqCst) {
                    return;
                }
                let Ok(client) = client else { continue };
                if inner.open.fetch_add(1, Ordering::SeqCst) >= CONNECTIONS_MAX {
                    inner.open.fetch_sub(1, Ordering::SeqCst);
                    continue;
                }
                let shared = Arc::clone(&inner);
                let spawned = thread::Builder::new().name("gate".to_owned()).spawn(move || {
                    // Whoever breaks off has told the client by that.
                    let _ = shared.pass(client);
                    shared.open.fetch_sub(1, Ordering::SeqCst);
                });
                if spawned.is_err() {
                    inner.open.fetch_sub(1, Ordering::SeqCst);
                }
            }
        })?;
        Ok(Gate { address, shared })
    }

    /// As programs are told of a proxy.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The first machine that somebody was not let through to.
    pub fn refused(&self) -> Option<Forbidden> {
        self.shared.refused.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Gate {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        // Wakes who waits for the next client.
        drop(TcpStream::connect_timeout(&self.address, CONNECT));
    }
}

/// What a client wants of the gate.
#[derive(Debug, PartialEq, Eq)]
struct Wish {
    host: String,
    port: u16,
    /// What goes to the server before all else; empty = the client speaks to it itself, encrypted.
    head: Vec<u8>,
    /// Bytes of the request's body.
    body: u64,
}

impl Shared {
    fn pass(&self, client: TcpStream) -> io::Result<()> {
        client.set_read_timeout(Some(SILENCE))?;
        client.set_write_timeout(Some(SILENCE))?;
        let mut from_client = BufReader::new(client.try_clone()?);
        let mut to_client = client;
        let Some(wish) = read_wish(&mut from_client)? else {
            return to_client.write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        };
        let server = match self.connect(&wish.host, wish.port) {
            Ok(server) => server,
            Err(Refusal::Forbidden(forbidden)) => {
                self.refused.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(forbidden);
                return to_client
                    .write_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
            Err(Refusal::NotReached) => {
                return to_client
                    .write_all(b"HTTP/1.1 502 Bad Gateway\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
            }
        };
        server.set_read_timeout(Some(SILENCE))?;
        server.set_write_timeout(Some(SILENCE))?;
        let (mut to_server, mut from_server) = (server.try_clone()?, server);
        let tunnel = wish.head.is_empty();
        let upwards = thread::Builder::new().name("gate".to_owned());
        if tunnel {
            to_client.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n")?;
        } else {
            to_server.write_all(&wish.head)?;
        }
        let upwards = upwards.spawn(move || {
            // Of an open request nothing follows its body: what came next would be for another server.
            let most = if tunnel { u64::MAX } else { wish.body };
            let copied = io::copy(&mut from_client.take(most), &mut to_server);
            if tunnel || copied.is_err() {
                let _ = to_server.shutdown(std::net::Shutdown::Write);
            }
        })?;
        let copied = io::copy(&mut from_server, &mut to_client);
        // Each side hears of the other's end.
        let _ = to_client.shutdown(std::net::Shutdown::Both);
        let _ = from_server.shutdown(std::net::Shutdown::Both);
        let _ = upwards.join();
        copied.map(drop)
    }

    /// Connects to an address that was looked at, and to no other that the name may have by then.
    fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Refusal> {
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let found = (bare, port).to_socket_addrs().map_err(|_| Refusal::NotReached)?;
        let found: Vec<SocketAddr> = found.collect();
        let name = format!("{}:{port}", host.to_ascii_lowercase());
        if !self.allow.contains(&name)
            && let Some((address, place)) =
                found.iter().find_map(|found| Some((found.ip(), url::not_public(found.ip())?)))
        {
            return Err(Refusal::Forbidden(Forbidden::new(name, address, place)));
        }
        let mut reached = found.iter().filter_map(|address| TcpStream::connect_timeout(address, CONNECT).ok());
        reached.next().ok_or(Refusal::NotReached)
    }
}

enum Refusal {
    Forbidden(Forbidden),
    /// No such name, or nobody answers there.
    NotReached,
}

/// `None` = it is no request for a proxy.
fn read_wish(client: &mut impl BufRead) -> io::Result<Option<Wish>> {
    let mut head = client.by_ref().take(HEAD_BYTES_MAX);
    let mut lines: Vec<String> = Vec::new();
    loop {
        let mut line = Vec::new();
        head.read_until(b'\n', &mut line)?;
        if line.pop() != Some(b'\n') {
            return Ok(None);
        }
        let Ok(line) = String::from_utf8(line) else { return Ok(None) };
        match line.trim_end_matches('\r') {
            "" => break,
            line => lines.push(line.to_owned()),
        }
    }
    Ok(wish(&lines))
}

fn wish(lines: &[String]) -> Option<Wish> {
    let (first, headers) = lines.split_first()?;
    let mut words = first.split(' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() || !version.starts_with("HTTP/1.") {
        return None;
    }
    if method == "CONNECT" {
        let (host, port) = target.rsplit_once(':')?;
        return Some(Wish { host: host.to_owned(), port: port.parse().ok()?, head: Vec::new(), body: 0 });
    }
    let url = url::Url::parse(target).ok().filter(|url| url.scheme() == "http")?;
    let named = url.host_and_port().rsplit_once(':').filter(|(_, port)| !port.contains(']'));
    let (host, port) =
        named.map_or(Some((url.host_and_port(), 80)), |(host, port)| Some((host, port.parse().ok()?)))?;
    let rest = target.split_once("://")?.1;
    let path = rest.find(['/', '?']).map_or("", |at| &rest[at..]);
    let slash = if path.starts_with('/') { "" } else { "/" };
    let mut head = format!("{method} {slash}{path} {version}\r\n");
    let mut body = 0;
    for header in headers {
        let (name, value) = header.split_once(':')?;
        match name.trim().to_ascii_lowercase().as_str() {
            // One question, one answer: the next may be for another server.
            "connection" | "keep-alive" | "proxy-connection" | "proxy-authorization" => continue,
            "content-length" => body = value.trim().parse().ok()?,
            "transfer-encoding" => return None,
            _ => {}
        }
        head.push_str(&format!("{header}\r\n"));
    }
    head.push_str("Connection: close\r\n\r\n");
    Some(Wish { host: host.to_owned(), port, head: head.into_bytes(), body })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remote::scripted::{Server, WHOLE};

    fn through(gate: &Gate, request: &str) -> String {
        let mut stream = TcpStream::connect(gate.address).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        let _ = stream.read_to_string(&mut answer);
        answer
    }

    #[test]
    fn only_public_machines_and_allowed_ones_are_reached() {
        let server = Server::start(b"media", [WHOLE, WHOLE]);
        let host = server.url.trim_start_matches("http://").trim_end_matches("/model").to_owned();
        let closed = Gate::open(Vec::new()).unwrap();
        let ask =
            |host: &str| format!("GET http://{host}/model HTTP/1.1\r\nHost: {host}\r\nProxy-Connection: x\r\n\r\n");
        assert!(through(&closed, &ask(&host)).starts_with("HTTP/1.1 403"));
        assert_eq!(closed.refused().map(|refused| refused.host), Some(host.clone()));
        for place in ["localhost:1", "169.254.169.254", "[::1]:1", "0x7f.1:1", "2130706433:1"] {
            assert!(through(&closed, &ask(place)).starts_with("HTTP/1.1 403"), "{place}");
        }
        assert!(through(&closed, &format!("CONNECT {host} HTTP/1.1\r\n\r\n")).starts_with("HTTP/1.1 403"));
        assert!(server.asked().is_empty());
        let open = Gate::open(vec![host.clone()]).unwrap();
        let answer = through(&open, &ask(&host));
        assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("media"), "{answer}");
        let tunnel = format!("CONNECT {host} HTTP/1.1\r\n\r\nGET /model HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let answer = through(&open, &tunnel);
        assert!(answer.starts_with("HTTP/1.1 200 Connection") && answer.ends_with("media"), "{answer}");
        assert_eq!(open.refused(), None);
    }

    #[test]
    fn what_is_no_wish_for_a_proxy_is_refused() {
        let lines = |text: &str| text.lines().map(str::to_owned).collect::<Vec<_>>();
        let told = wish(&lines("GET http://a.example?x=1 HTTP/1.1\nHost: a.example\nConnection: keep-alive")).unwrap();
        assert_eq!((told.host.as_str(), told.port), ("a.example", 80));
        assert_eq!(told.head, b"GET /?x=1 HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n");
        for wrong in [
            "GET /x HTTP/1.1",
            "GET file:///etc/passwd HTTP/1.1",
            "GET https://a.example/ HTTP/1.1",
            "CONNECT a.example HTTP/1.1",
            "CONNECT a.example:99999 HTTP/1.1",
            "POST http://a.example/ HTTP/1.1\nTransfer-Encoding: chunked",
            "GET http://a.example/ HTTP/1.1 x",
            "",
        ] {
            assert_eq!(wish(&lines(wrong)), None, "{wrong}");
        }
    }
}
