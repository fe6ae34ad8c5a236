//! A web address of a test's own: a real HTTP server on this machine that answers as its script says, and keeps what was sent as it came, byte
//! for byte. Knows nothing of Spindle.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// One request, as it came.
#[derive(Debug, Clone)]
pub struct Heard {
    /// From 1.
    pub number: usize,
    pub path: String,
    /// Names in lower case.
    pub headers: HashMap<String, String>,
    pub body: Vec<u8>,
}

type Script = dyn Fn(&Heard) -> u16 + Send + Sync;

/// The server; it goes with the test's process.
pub struct Ear {
    address: String,
    heard: Arc<(Mutex<Vec<Heard>>, Condvar)>,
}

impl Ear {
    /// Answers each request with the status that the script gives it.
    pub fn start(script: impl Fn(&Heard) -> u16 + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let heard: Arc<(Mutex<Vec<Heard>>, Condvar)> = Arc::default();
        let (known, script): (_, Arc<Script>) = (Arc::clone(&heard), Arc::new(script));
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (known, script) = (Arc::clone(&known), Arc::clone(&script));
                thread::spawn(move || serve(stream, &known, &*script));
            }
        });
        Ear { address, heard }
    }

    /// `HOST:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    pub fn heard(&self) -> Vec<Heard> {
        self.heard.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until so many requests have come.
    pub fn hears(&self, count: usize, patience: Duration) -> Vec<Heard> {
        let (heard, came) = &*self.heard;
        let heard = heard.lock().unwrap_or_else(PoisonError::into_inner);
        let (heard, out) = came
            .wait_timeout_while(heard, patience, |heard| heard.len() < count)
            .unwrap_or_else(PoisonError::into_inner);
        assert!(!out.timed_out(), "{} of {count} requests have come: {heard:?}", heard.len());
        heard.clone()
    }
}

fn serve(mut stream: TcpStream, known: &(Mutex<Vec<Heard>>, Condvar), script: &Script) {
    let Ok(copy) = stream.try_clone() else { return };
    let mut reader = BufReader::new(copy);
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).unwrap_or(0) == 0 {
            return;
        }
        let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
        let mut headers = HashMap::new();
        loop {
            let mut line = String::new();
            if reader.read_line(&mut line).unwrap_or(0) == 0 {
                return;
            }
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            headers.insert(name.to_ascii_lowercase(), value.trim().to_owned());
        }
        let length = headers.get("content-length").and_then(|length| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        if reader.read_exact(&mut body).is_err() {
            return;
        }
        let heard = {
            let mut all = known.0.lock().unwrap_or_else(PoisonError::into_inner);
            let heard = Heard { number: all.len() + 1, path, headers, body };
            all.push(heard.clone());
            heard
        };
        let status = script(&heard);
        let answered = write!(stream, "HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        known.1.notify_all();
        if answered.is_err() {
            return;
        }
    }
}
