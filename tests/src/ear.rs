//! A web address of a test's own: a real HTTP server on this machine that answers as its script says, and keeps what was sent as it came, byte
//! for byte. Knows nothing of Spindle.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::web::{self, Request};

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
        let heard: Arc<(Mutex<Vec<Heard>>, Condvar)> = Arc::default();
        let (known, script): (_, Arc<Script>) = (Arc::clone(&heard), Arc::new(script));
        let address = web::listen(move |stream| serve(stream, &known, &*script)).to_string();
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
    while let Some(Request { target: path, headers, body, .. }) = web::receive(&mut reader) {
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
