//! A made-up daemon for tests: it greets, shows its house, takes down what it is asked to do, and tells what the test has happen.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{self, Receiver, Sender};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

use serde::Serialize;
use spindle_shared::batch::{BatchState, BatchView, Counts};
use spindle_shared::event::{Event, Fact};
use spindle_shared::job::{JobView, PathBytes};
use spindle_shared::limits::FRAME_BYTES_MAX;
use spindle_shared::snapshot::Snapshot;
use spindle_shared::time::WallMs;
use spindle_shared::wire::codec;
use spindle_shared::wire::frame::{FrameDecoder, encode_frame};
use spindle_shared::wire::hello::Hello;
use spindle_shared::wire::request::{Request, Scope, Selection, Submission};
use spindle_shared::wire::response::{Acted, Explanation, PlannedJob, Response, Submitted};

use crate::model::tests::house;

pub struct Fake {
    /// What it was asked to do, in order.
    pub asked: Receiver<Request>,
    inside: Arc<Inside>,
    door: JoinHandle<()>,
}

struct Inside {
    socket: PathBuf,
    batches: Vec<BatchView>,
    jobs: Vec<JobView>,
    asked: Mutex<Sender<Request>>,
    /// Every connection; those that watch with their scope.
    streams: Mutex<Vec<(UnixStream, Option<Scope>)>>,
    seq: Mutex<u64>,
    gone: AtomicBool,
    mute: AtomicBool,
}

impl Fake {
    pub fn start(socket: &Path, batches: Vec<BatchView>, jobs: Vec<JobView>) -> Fake {
        let listener = UnixListener::bind(socket).unwrap();
        let (sender, asked) = mpsc::channel();
        let inside = Arc::new(Inside {
            socket: socket.to_owned(),
            batches,
            jobs,
            asked: Mutex::new(sender),
            streams: Mutex::default(),
            seq: Mutex::new(0),
            gone: AtomicBool::new(false),
            mute: AtomicBool::new(false),
        });
        let door = std::thread::spawn({
            let inside = Arc::clone(&inside);
            move || {
                for stream in listener.incoming().map_while(Result::ok) {
                    if inside.gone.load(Ordering::SeqCst) {
                        return;
                    }
                    let inside = Arc::clone(&inside);
                    std::thread::spawn(move || inside.serve(stream));
                }
            }
        });
        Fake { asked, inside, door }
    }

    /// Tells every watcher whom it concerns; gives to how many.
    pub fn tell(&self, fact: Fact) -> usize {
        let mut seq = self.inside.seq.lock().unwrap();
        *seq += 1;
        let event = Response::Event(Box::new(Event { seq: *seq, time: WallMs(0), fact: fact.clone() }));
        let mut streams = self.inside.streams.lock().unwrap();
        let concerned = streams.iter_mut().filter(|(_, scope)| match (scope, &fact) {
            (Some(Scope::Overview), fact) => !matches!(fact, Fact::Job(_)),
            (Some(Scope::Window { batch, .. }), fact) => fact.batch() == Some(*batch),
            _ => false,
        });
        concerned.filter_map(|(stream, _)| say(stream, &event)).count()
    }

    /// From here on it answers nobody, and hangs up on nobody.
    pub fn fall_silent(&self) {
        self.inside.mute.store(true, Ordering::SeqCst);
    }

    /// Ends as a killed daemon does: its socket stays, and nobody is behind it.
    pub fn die(self) {
        self.inside.gone.store(true, Ordering::SeqCst);
        drop(UnixStream::connect(&self.inside.socket).unwrap());
        self.door.join().unwrap();
        for (stream, _) in self.inside.streams.lock().unwrap().drain(..) {
            // It may have hung up itself.
            let _ = stream.shutdown(Shutdown::Both);
        }
        std::fs::remove_file(&self.inside.socket).unwrap();
    }
}

impl Inside {
    fn serve(&self, mut stream: UnixStream) {
        say(&mut stream, &Hello::ours());
        let Some(request) = read_request(&mut stream) else { return };
        let silent = self.mute.load(Ordering::SeqCst);
        let frames = match &request {
            _ if silent => vec![],
            Request::Watch { scope, .. } => {
                let mut snapshot = Snapshot { seq: *self.seq.lock().unwrap(), ..Snapshot::default() };
                match scope {
                    Scope::Overview => snapshot.batches.extend(self.batches.iter().map(|view| (view.id, view.clone()))),
                    Scope::Window { batch, .. } => {
                        let jobs = self.jobs.iter().filter(|view| view.id.batch == *batch);
                        snapshot.jobs.extend(jobs.map(|view| (view.id, view.clone())));
                    }
                    other => panic!("a dashboard doesn't watch {other:?}"),
                }
                vec![Response::Snapshot(Box::new(snapshot))]
            }
            Request::House => vec![Response::House(house()), Response::End],
            Request::List { .. } | Request::Metrics | Request::Workers | Request::Stats { .. } => vec![Response::End],
            Request::Jobs { batch, states, .. } => {
                let fits = |view: &&JobView| view.id.batch == *batch && states.contains(&view.state);
                vec![Response::Jobs(self.jobs.iter().filter(fits).cloned().collect()), Response::End]
            }
            Request::Failures { .. } => {
                let failed = self.jobs.iter().filter(|view| view.failure.is_some()).cloned().collect();
                vec![Response::Jobs(failed), Response::End]
            }
            Request::Explain(target) => {
                self.asked.lock().unwrap().send(request.clone()).unwrap();
                let (state, why) = ("running".to_owned(), "a worker is at it".to_owned());
                let advice = Some("wait for its end".to_owned());
                vec![Response::Explained(vec![Explanation { target: *target, state, why, advice }]), Response::End]
            }
            Request::Submit { dry_run, total, .. } => {
                let inputs = read_inputs(&mut stream, *total);
                self.asked.lock().unwrap().send(request.clone()).unwrap();
                let told = if *dry_run { planned(inputs) } else { submitted(inputs.len()) };
                vec![told, Response::End]
            }
            other => {
                self.asked.lock().unwrap().send(other.clone()).unwrap();
                vec![Response::Acted(done(other)), Response::End]
            }
        };
        let scope = if let Request::Watch { scope, .. } = request { Some(scope) } else { None };
        // Whoever has seen the snapshot is told what follows.
        let mut streams = self.streams.lock().unwrap();
        for frame in &frames {
            say(&mut stream, frame);
        }
        if scope.is_some() || silent {
            streams.push((stream, scope));
        }
    }
}

/// What was sent behind a submission.
fn read_inputs(stream: &mut UnixStream, total: u32) -> Vec<Submission> {
    let (mut decoder, mut buffer, mut inputs) = (FrameDecoder::new(), [0; 4096], Vec::new());
    while inputs.len() < total as usize {
        match stream.read(&mut buffer) {
            Ok(bytes) if bytes > 0 => decoder.push(&buffer[..bytes]),
            _ => break,
        }
        while let Ok(Some(frame)) = decoder.next() {
            if let Request::Inputs(more) = codec::decode(&frame, FRAME_BYTES_MAX).unwrap() {
                inputs.extend(more);
            }
        }
    }
    inputs
}

/// The first is skipped.
fn planned(inputs: Vec<Submission>) -> Response {
    let plan = |(nth, submission): (usize, Submission)| PlannedJob {
        index: nth as u32 + 1,
        input: submission.input,
        outputs: vec![PathBytes(b"/out/made.srt".to_vec())],
        skipped_reason: (nth == 0).then(|| "it is there already".to_owned()),
        estimated_seconds: None,
        estimated_bytes: None,
    };
    Response::Planned(inputs.into_iter().enumerate().map(plan).collect())
}

fn submitted(inputs: usize) -> Response {
    let counts = Counts { pending: inputs as u32, ..Counts::default() };
    let batch = crate::model::tests::batch(77, "new", BatchState::Pending, 0.0, counts);
    Response::Submitted(Submitted { batch, estimated_seconds: None, repeated: false })
}

fn done(request: &Request) -> Vec<Acted> {
    match request {
        Request::Cancel(what)
        | Request::Pause { what, .. }
        | Request::Resume(what)
        | Request::Retry(what)
        | Request::Prioritize { what, .. }
        | Request::Remove { what, .. } => match what {
            Selection::Targets(targets) => {
                targets.iter().map(|target| Acted { target: *target, what: "done".to_owned() }).collect()
            }
            _ => vec![],
        },
        _ => vec![],
    }
}

/// `None` = the other side has hung up.
fn say<T: Serialize>(stream: &mut UnixStream, value: &T) -> Option<()> {
    stream.write_all(&encode_frame(&codec::encode(value))).ok()
}

/// Byte by byte: what follows the request is for another.
fn read_request(stream: &mut UnixStream) -> Option<Request> {
    let (mut decoder, mut byte, mut hello) = (FrameDecoder::new(), [0], false);
    loop {
        while let Ok(Some(frame)) = decoder.next() {
            if hello {
                return Some(codec::decode(&frame, FRAME_BYTES_MAX).unwrap());
            }
            hello = true;
        }
        match stream.read(&mut byte) {
            Ok(1) => decoder.push(&byte),
            _ => return None,
        }
    }
}
