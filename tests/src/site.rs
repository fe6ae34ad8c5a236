//! A web site of a test's own on loopback, which serves ranges, cuts connections, holds them open and leads astray as told.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// One request as it came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Asked {
    pub path: String,
    /// First byte of the range that is wanted.
    pub from: Option<usize>,
    /// Its head, line by line, as it came.
    pub head: Vec<String>,
}

/// What is answered.
pub enum Reply {
    /// A file, of which ranges are served while its version is the one that is wanted.
    File {
        bytes: Arc<[u8]>,
        /// The connection breaks after so many bytes.
        cut_after: usize,
        /// It isn't closed then, but held while the site lives.
        holds: bool,
    },
    Redirect(String),
    /// These bytes as they are; then the connection is closed.
    Raw(Vec<u8>),
    /// Some bytes, and then others over and over while anybody takes them.
    Endless(Vec<u8>, Vec<u8>),
}

impl Reply {
    pub fn file(bytes: &Arc<[u8]>) -> Reply {
        Reply::File { bytes: Arc::clone(bytes), cut_after: usize::MAX, holds: false }
    }

    pub fn page(status: &str, kind: &str, text: &str) -> Reply {
        let head = format!(
            "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nConnection: close\r\nContent-Length: {}\r\n\r\n",
            text.len()
        );
        Reply::Raw(format!("{head}{text}").into_bytes())
    }
}

/// Serves until it is dropped.
pub struct Site {
    address: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    over: Arc<AtomicBool>,
}

impl Site {
    /// `answer`: by the request and its number, from 0.
    pub fn start(answer: impl Fn(&Asked, usize) -> Reply + Send + Sync + 'static) -> Site {
        let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a port for us");
        let address = listener.local_addr().expect("it is bound");
        let (asked, over) = (Arc::new(Mutex::new(Vec::new())), Arc::new(AtomicBool::new(false)));
        let (log, ends, answer) = (Arc::clone(&asked), Arc::clone(&over), Arc::new(answer));
        thread::spawn(move || {
            // Held ones are let go with the site.
            let mut held = Vec::new();
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                held.extend(stream.try_clone());
                let (log, answer) = (Arc::clone(&log), Arc::clone(&answer));
                thread::spawn(move || {
                    // Whoever has gone needs no answer.
                    let _ = serve(stream, &log, answer.as_ref());
                });
            }
        });
        Site { address, asked, over }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl Drop for Site {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
        drop(TcpStream::connect(self.address));
    }
}

fn serve(
    mut stream: TcpStream,
    log: &Mutex<Vec<Asked>>,
    answer: &(dyn Fn(&Asked, usize) -> Reply + Send + Sync),
) -> std::io::Result<()> {
    let lines = BufReader::new(stream.try_clone()?).lines();
    let head: Vec<String> = lines.map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    let Some(path) = head.first().and_then(|line| line.split(' ').nth(1)).map(str::to_owned) else { return Ok(()) };
    let header =
        |name: &str| head.iter().find_map(|line| line.to_lowercase().strip_prefix(name).map(|it| it.trim().to_owned()));
    let range = header("range:").and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok());
    let if_range = header("if-range:");
    let asked = Asked { path, from: range, head };
    let number = {
        let mut log = log.lock().unwrap_or_else(PoisonError::into_inner);
        log.push(asked.clone());
        log.len() - 1
    };
    match answer(&asked, number) {
        Reply::Raw(bytes) => stream.write_all(&bytes)?,
        Reply::Endless(begin, more) => {
            stream.write_all(&begin)?;
            loop {
                stream.write_all(&more)?;
            }
        }
        Reply::Redirect(to) => {
            stream.write_all(
                format!("HTTP/1.1 302 Found\r\nLocation: {to}\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
                    .as_bytes(),
            )?;
        }
        Reply::File { bytes, cut_after, holds } => {
            let version = format!("\"{}\"", bytes.len());
            let from = range.filter(|_| if_range.is_none_or(|wanted| wanted == version)).unwrap_or(0);
            let rest = bytes.get(from..).unwrap_or_default();
            let (line, range) = match from {
                0 => ("200 OK", String::new()),
                _ => (
                    "206 Partial Content",
                    format!("Content-Range: bytes {from}-{}/{}\r\n", bytes.len() - 1, bytes.len()),
                ),
            };
            let head = format!(
                "HTTP/1.1 {line}\r\nETag: {version}\r\n{range}Connection: close\r\nContent-Length: {}\r\n\r\n",
                rest.len()
            );
            stream.write_all(head.as_bytes())?;
            stream.write_all(&rest[..cut_after.min(rest.len())])?;
            if holds {
                // A clone is held elsewhere: it stays open.
                return Ok(());
            }
        }
    }
    stream.shutdown(std::net::Shutdown::Both)
}
