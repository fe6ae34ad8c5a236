//! A server of HTTP for tests: does with each connection what its script says, and cuts, lies and drips as told.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

/// What the server does with one connection.
pub enum Step {
    /// Serves ranges, and breaks off after so many bytes of the body.
    Serve { cut_after: usize },
    /// As `Serve`, of this version of the body, which is told: whoever wants the rest of another version gets all of this one.
    Version { tag: &'static str, body: Vec<u8>, cut_after: usize },
    /// Sends all of it whatever was asked, chunked, so that no length is told.
    Chunked(Vec<u8>),
    /// Sends these bytes as they are and closes.
    Raw(String),
    /// Sends the head and half of the body, tells so, and then keeps silent until the client is gone.
    HalfThenSilence,
    /// Says nothing at all until the client is gone.
    Silence,
    /// Sends a byte now and then.
    Drip,
}

pub const WHOLE: Step = Step::Serve { cut_after: usize::MAX };

pub struct Server {
    pub url: String,
    /// The `Range` of each request, in order.
    asked: Arc<Mutex<Vec<Option<String>>>>,
    pub half_sent: Receiver<()>,
    thread: Option<JoinHandle<()>>,
    address: SocketAddr,
    /// Steps that no connection has come for yet.
    left: Arc<AtomicUsize>,
}

impl Server {
    /// Serves `body` with one step for each connection, then refuses.
    pub fn start(body: &[u8], steps: impl IntoIterator<Item = Step>) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let (half, half_sent) = channel();
        let mut steps: VecDeque<Step> = steps.into_iter().collect();
        let left = Arc::new(AtomicUsize::new(steps.len()));
        let (body, log, counter) = (body.to_vec(), Arc::clone(&asked), Arc::clone(&left));
        let thread = std::thread::spawn(move || {
            while let Some(step) = steps.pop_front() {
                let (stream, _) = listener.accept().unwrap();
                counter.fetch_sub(1, Ordering::SeqCst);
                serve(stream, &body, step, &log, &half);
            }
        });
        Server { url: format!("http://{address}/model"), asked, half_sent, thread: Some(thread), address, left }
    }

    pub fn asked(&self) -> Vec<Option<String>> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for Server {
    /// Unused steps are used up, so that no thread is left behind.
    fn drop(&mut self) {
        for _ in 0..self.left.load(Ordering::SeqCst) {
            drop(TcpStream::connect(self.address));
        }
        self.thread.take().unwrap().join().unwrap();
    }
}

/// Writes fail where the client has gone: that is part of the play.
fn serve(mut stream: TcpStream, body: &[u8], step: Step, log: &Mutex<Vec<Option<String>>>, half: &Sender<()>) {
    let mut lines = BufReader::new(stream.try_clone().unwrap()).lines();
    let head: Vec<String> = lines.by_ref().map_while(Result::ok).take_while(|line| !line.is_empty()).collect();
    if head.is_empty() {
        return;
    }
    let range = head.iter().find_map(|line| line.to_lowercase().strip_prefix("range: ").map(str::to_owned));
    log.lock().unwrap().push(range.clone());
    let until_the_client_is_gone = |stream: &mut TcpStream| while stream.read(&mut [0; 64]).is_ok_and(|n| n > 0) {};
    let _ = match step {
        Step::Serve { cut_after } => {
            let from =
                range.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()).unwrap_or(0);
            let rest = body.get(from..).unwrap_or_default();
            let head = if rest.is_empty() {
                "HTTP/1.1 416 Range Not Satisfiable\r\nContent-Length: 0\r\n\r\n".to_owned()
            } else if from > 0 {
                let range = format!("Content-Range: bytes {from}-{}/{}", body.len() - 1, body.len());
                format!("HTTP/1.1 206 Partial Content\r\n{range}\r\nContent-Length: {}\r\n\r\n", rest.len())
            } else {
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", rest.len())
            };
            let sent = &rest[..cut_after.min(rest.len())];
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(sent))
        }
        Step::Version { tag, body, cut_after } => {
            let asked = head.iter().find_map(|line| line.to_lowercase().strip_prefix("if-range: ").map(str::to_owned));
            let from = range.filter(|_| asked.is_none_or(|asked| asked == tag));
            let from =
                from.and_then(|range| range.strip_prefix("bytes=")?.strip_suffix('-')?.parse().ok()).unwrap_or(0);
            let (rest, whole) = (&body[from..], body.len());
            let line = if from > 0 { "206 Partial Content" } else { "200 OK" };
            let range = format!("Content-Range: bytes {from}-{}/{whole}", whole - 1);
            let tagged = format!("ETag: {tag}\r\nContent-Length: {}", rest.len());
            let head = format!("HTTP/1.1 {line}\r\n{range}\r\n{tagged}\r\n\r\n");
            stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&rest[..cut_after.min(rest.len())]))
        }
        Step::Chunked(content) => {
            let head = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned();
            let mut answer = head.into_bytes();
            for chunk in content.chunks(10_000) {
                answer.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
                answer.extend_from_slice(chunk);
                answer.extend_from_slice(b"\r\n");
            }
            answer.extend_from_slice(b"0\r\n\r\n");
            stream.write_all(&answer)
        }
        Step::Raw(answer) => stream.write_all(answer.as_bytes()),
        Step::HalfThenSilence => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let sent = stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body[..body.len() / 2]));
            let _ = half.send(());
            until_the_client_is_gone(&mut stream);
            sent
        }
        Step::Silence => {
            let _ = half.send(());
            until_the_client_is_gone(&mut stream);
            Ok(())
        }
        Step::Drip => {
            let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
            let mut sent = stream.write_all(head.as_bytes());
            for byte in body {
                if sent.is_err() {
                    break;
                }
                std::thread::sleep(Duration::from_millis(10));
                sent = stream.write_all(&[*byte]);
            }
            sent
        }
    };
}
