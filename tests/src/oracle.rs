//! A model API of a test's own: a real HTTP server on this machine that answers as its script says, and remembers who asked what when. Knows
//! nothing of Spindle.

use std::collections::HashMap;
use std::io::{BufReader, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::web::{self, Request};

/// One question, as it came.
#[derive(Debug, Clone)]
pub struct Asked {
    /// From 1.
    pub number: usize,
    pub at: Instant,
    /// Questions that were being answered then, this one counted.
    pub at_once: usize,
    pub headers: HashMap<String, String>,
    pub body: Value,
    pub path: String,
}

impl Asked {
    /// All that was said to it, one text after the other.
    pub fn text(&self) -> String {
        let content = &self.body["messages"][1]["content"];
        let parts = content.as_array().into_iter().flatten().filter_map(|part| part["text"].as_str());
        content.as_str().into_iter().chain(parts).collect::<Vec<_>>().join("\n")
    }

    pub fn pictures(&self) -> usize {
        let content = self.body["messages"][1]["content"].as_array();
        content.into_iter().flatten().filter(|part| part["type"] == "image_url").count()
    }
}

/// How a question is answered.
#[derive(Debug, Clone)]
pub enum Reply {
    /// A model says this.
    Says(String),
    /// Status, headers, body.
    Status(u16, Vec<(&'static str, String)>, String),
    /// As the other, after so long.
    Late(Duration, Box<Reply>),
    /// The connection is cut in the middle of the head.
    Cut,
    /// A byte now and then, for ever.
    Drip,
    /// A head that never ends.
    EndlessHead,
    /// A body of so many bytes.
    Huge(u64),
}

impl Reply {
    pub fn json(value: &Value) -> Self {
        Reply::Says(value.to_string())
    }

    pub fn status(status: u16) -> Self {
        Reply::Status(status, Vec::new(), String::new())
    }
}

type Script = dyn Fn(&Asked) -> Reply + Send + Sync;

/// The server; it goes with the test's process.
pub struct Oracle {
    address: String,
    asked: Arc<Mutex<Vec<Asked>>>,
}

impl Oracle {
    pub fn start(script: impl Fn(&Asked) -> Reply + Send + Sync + 'static) -> Self {
        let asked: Arc<Mutex<Vec<Asked>>> = Arc::default();
        let (known, busy, script): (_, Arc<AtomicUsize>, Arc<Script>) =
            (Arc::clone(&asked), Arc::default(), Arc::new(script));
        let address = web::listen(move |stream| serve(stream, &known, &busy, &*script)).to_string();
        Oracle { address, asked }
    }

    pub fn endpoint(&self) -> String {
        format!("http://{}/v1", self.address)
    }

    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

fn serve(mut stream: TcpStream, known: &Mutex<Vec<Asked>>, busy: &AtomicUsize, script: &Script) {
    let Ok(copy) = stream.try_clone() else { return };
    let mut reader = BufReader::new(copy);
    // One connection may bring several questions.
    while let Some(Request { target: path, headers, body, .. }) = web::receive(&mut reader) {
        let body = serde_json::from_slice(&body).unwrap_or(Value::Null);
        let at_once = busy.fetch_add(1, Ordering::SeqCst) + 1;
        let asked = {
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            let asked = Asked { number: known.len() + 1, at: Instant::now(), at_once, headers, body, path };
            known.push(asked.clone());
            asked
        };
        let goes_on = answer(&mut stream, script(&asked));
        busy.fetch_sub(1, Ordering::SeqCst);
        if !goes_on {
            return;
        }
    }
}

/// Gives whether the connection goes on.
fn answer(stream: &mut TcpStream, reply: Reply) -> bool {
    match reply {
        Reply::Says(text) => {
            let body = json!({
                "choices": [{"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1_000, "completion_tokens": 100},
            });
            answer(stream, Reply::Status(200, Vec::new(), body.to_string()))
        }
        Reply::Status(status, headers, body) => {
            let mut head = format!(
                "HTTP/1.1 {status} Told\r\ncontent-type: application/json\r\ncontent-length: {}\r\n",
                body.len()
            );
            for (name, value) in headers {
                head.push_str(&format!("{name}: {value}\r\n"));
            }
            stream.write_all(format!("{head}\r\n{body}").as_bytes()).is_ok()
        }
        Reply::Late(wait, reply) => {
            thread::sleep(wait);
            answer(stream, *reply)
        }
        Reply::Cut => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-le");
            false
        }
        Reply::Drip => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
            while stream.write_all(b" ").is_ok() {
                thread::sleep(Duration::from_millis(100));
            }
            false
        }
        Reply::EndlessHead => {
            let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n");
            while stream.write_all(b"x-more: and more and more and more and more and more\r\n").is_ok() {}
            false
        }
        Reply::Huge(bytes) => {
            let _ = stream.write_all(format!("HTTP/1.1 200 OK\r\ncontent-length: {bytes}\r\n\r\n").as_bytes());
            let piece = vec![b' '; 1 << 20];
            let mut left = bytes;
            while left > 0 && stream.write_all(&piece[..left.min(1 << 20) as usize]).is_ok() {
                left -= left.min(1 << 20);
            }
            false
        }
    }
}
