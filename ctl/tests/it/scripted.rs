//! A daemon that says what a test has written for it, over a real socket; and views to write with.

use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::{Arc, Mutex};

use spindle_shared::batch::{BatchState, BatchView, Counts};
use spindle_shared::event::{Event, Fact};
use spindle_shared::failure::Failure;
use spindle_shared::id::Owner;
use spindle_shared::job::{JobState, JobView};
use spindle_shared::limits::FRAME_BYTES_MAX;
use spindle_shared::made_up;
use spindle_shared::time::WallMs;
use spindle_shared::wire::codec;
use spindle_shared::wire::frame::{FrameDecoder, encode_frame};
use spindle_shared::wire::hello::Hello;
use spindle_shared::wire::request::{Request, Submission};
use spindle_shared::wire::response::{Response, Submitted};

/// One connection, greeted, with its request read.
pub struct Call {
    stream: UnixStream,
    decoder: FrameDecoder,
    pub request: Request,
    /// Of a submission.
    pub inputs: Vec<Submission>,
}

impl Call {
    fn take(mut stream: UnixStream, hello: &Hello) -> Option<Call> {
        let mut decoder = FrameDecoder::new();
        let _: Hello = receive(&mut stream, &mut decoder)?;
        stream.write_all(&encode_frame(&codec::encode(hello))).ok()?;
        let request = receive(&mut stream, &mut decoder)?;
        let mut call = Call { stream, decoder, request, inputs: Vec::new() };
        if let Request::Submit { total, .. } = call.request {
            while call.inputs.len() < total as usize {
                match receive(&mut call.stream, &mut call.decoder)? {
                    Request::Inputs(more) => call.inputs.extend(more),
                    other => panic!("inputs were due, not {other:?}"),
                }
            }
        }
        Some(call)
    }

    pub fn send(&mut self, response: Response) {
        // A client may leave before it has heard all.
        let _ = self.stream.write_all(&encode_frame(&codec::encode(&response)));
    }

    pub fn answer(&mut self, responses: impl IntoIterator<Item = Response>) {
        responses.into_iter().for_each(|response| self.send(response));
        self.send(Response::End);
    }

    /// Waits until the client hangs up.
    pub fn until_gone(&mut self) {
        let mut buffer = [0; 1024];
        while self.stream.read(&mut buffer).is_ok_and(|bytes| bytes > 0) {}
    }
}

fn receive<T: serde::de::DeserializeOwned>(stream: &mut UnixStream, decoder: &mut FrameDecoder) -> Option<T> {
    let mut buffer = [0; 4096];
    loop {
        if let Some(frame) = decoder.next().unwrap() {
            return Some(codec::decode(&frame, FRAME_BYTES_MAX).unwrap());
        }
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return None,
            Ok(bytes) => decoder.push(&buffer[..bytes]),
        }
    }
}

/// What was asked, with the inputs of a submission.
type Heard = Arc<Mutex<Vec<(Request, Vec<Submission>)>>>;

pub struct Daemon {
    pub folder: tempfile::TempDir,
    pub socket: PathBuf,
    requests: Heard,
}

impl Daemon {
    /// `script` answers every call, each on its own thread.
    pub fn start(script: impl Fn(&mut Call) + Send + Sync + 'static) -> Daemon {
        Daemon::start_as(Hello::ours(), script)
    }

    pub fn start_as(hello: Hello, script: impl Fn(&mut Call) + Send + Sync + 'static) -> Daemon {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("spindled.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let requests = Heard::default();
        let heard = Arc::clone(&requests);
        let script = Arc::new(script);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let (hello, heard, script) = (hello.clone(), Arc::clone(&heard), Arc::clone(&script));
                std::thread::spawn(move || {
                    if let Some(mut call) = Call::take(stream, &hello) {
                        heard.lock().unwrap().push((call.request.clone(), call.inputs.clone()));
                        script(&mut call);
                    }
                });
            }
        });
        Daemon { folder, socket, requests }
    }

    /// Answers every call with these.
    pub fn saying(responses: Vec<Response>) -> Daemon {
        Daemon::start(move |call| call.answer(responses.clone()))
    }

    /// Answers questions about these batches and jobs, and watches with a snapshot of them.
    pub fn holding(batches: Vec<BatchView>, jobs: Vec<JobView>) -> Daemon {
        Daemon::start(move |call| answer_from(call, &batches, &jobs))
    }

    pub fn requests(&self) -> Vec<Request> {
        self.requests.lock().unwrap().iter().map(|(request, _)| request.clone()).collect()
    }

    pub fn inputs(&self) -> Vec<Submission> {
        self.requests.lock().unwrap().iter().flat_map(|(_, inputs)| inputs.clone()).collect()
    }

    pub fn path(&self) -> &Path {
        self.folder.path()
    }

    /// A file in the daemon's folder, which is the program's current folder too.
    pub fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, content).unwrap();
        path
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.env("SPINDLE_SOCKET", &self.socket).current_dir(self.folder.path());
        command
    }

    pub fn run(&self, arguments: &[&str]) -> Ran {
        Ran::from(self.command(arguments).output().unwrap())
    }
}

pub fn answer_from(call: &mut Call, batches: &[BatchView], jobs: &[JobView]) {
    match call.request.clone() {
        Request::List { .. } => call.answer([Response::Batches(batches.to_vec())]),
        Request::Batches(ids) => {
            let named = batches.iter().filter(|batch| ids.contains(&batch.id)).cloned().collect();
            call.answer([Response::Batches(named)]);
        }
        Request::Jobs { batch, states, .. } => {
            let fits = |job: &&JobView| job.id.batch == batch && (states.is_empty() || states.contains(&job.state));
            call.answer([Response::Jobs(jobs.iter().filter(fits).cloned().collect())]);
        }
        Request::Job(id) => call.answer([Response::Jobs(jobs.iter().filter(|job| job.id == id).cloned().collect())]),
        Request::Failures { .. } => call.answer([Response::Jobs(jobs.to_vec())]),
        Request::Watch { .. } => {
            call.send(snapshot(7, batches, jobs));
            call.until_gone();
        }
        Request::Submit { .. } => {
            let submitted = Submitted { batch: batches[0].clone(), estimated_seconds: Some(120.0), repeated: false };
            call.answer([Response::Submitted(submitted)]);
        }
        other => panic!("nothing is written for {other:?}"),
    }
}

/// The program without a terminal, without a home and without colours.
pub fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_spindlectl"));
    command
        .args(arguments)
        .env_remove("XDG_RUNTIME_DIR")
        .env_remove("SPINDLE_MODELS__MIRROR")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    command
}

#[derive(Debug)]
pub struct Ran {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

impl From<Output> for Ran {
    fn from(output: Output) -> Self {
        Ran {
            code: output.status.code(),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl Ran {
    /// Ended with this code.
    #[track_caller]
    pub fn with(self, code: u8) -> Ran {
        assert_eq!(self.code, Some(i32::from(code)), "{self:#?}");
        self
    }

    #[track_caller]
    pub fn json(&self) -> serde_json::Value {
        serde_json::from_str(&self.out).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    #[track_caller]
    pub fn json_lines(&self) -> Vec<serde_json::Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

pub fn batch(id: u64, state: BatchState, counts: Counts) -> BatchView {
    let ended = state.is_terminal();
    BatchView {
        name: Some("meetings".to_owned()),
        owner: Owner(0),
        parallel: 3,
        created_at: WallMs(1_700_000_000_000),
        started_at: Some(WallMs(1_700_000_001_500)),
        finished_at: ended.then_some(WallMs(1_700_000_011_500)),
        progress: if ended { 1.0 } else { 0.3 },
        stage: Some("transcribe".to_owned()),
        tags: vec![("course".to_owned(), "b".to_owned()), ("a".to_owned(), "x".to_owned())],
        ..made_up::batch(id, state, counts)
    }
}

/// Ended with these numbers of completed, failed and cancelled jobs.
pub fn ended(id: u64, completed: u32, failed: u32, cancelled: u32) -> BatchView {
    let state = match (completed, failed, cancelled) {
        (_, 0, 0) => BatchState::Completed,
        (0, 0, _) => BatchState::Cancelled,
        (0, _, 0) => BatchState::Failed,
        _ => BatchState::Partial,
    };
    batch(id, state, Counts { completed, failed, cancelled, ..Counts::default() })
}

pub fn running(id: u64) -> BatchView {
    batch(id, BatchState::Running, Counts { running: 1, pending: 2, ..Counts::default() })
}

pub fn job(batch: u64, index: u32, path: &[u8], state: JobState) -> JobView {
    JobView {
        input: Some(made_up::file(path)),
        stage: "publish".to_owned(),
        progress: if state.is_terminal() { 1.0 } else { 0.25 },
        created_at: WallMs(1_700_000_000_000),
        started_at: Some(WallMs(1_700_000_001_500)),
        finished_at: state.is_terminal().then_some(WallMs(1_700_000_003_500)),
        timings: vec![("transcribe".to_owned(), 1.5), ("decode".to_owned(), 0.25)],
        ..made_up::job(batch, index, state)
    }
}

pub fn failed_job(batch: u64, index: u32, path: &[u8], failure: Failure) -> JobView {
    JobView { failure: Some(failure), ..job(batch, index, path, JobState::Failed) }
}

pub fn snapshot(seq: u64, batches: &[BatchView], jobs: &[JobView]) -> Response {
    Response::Snapshot(Box::new(made_up::snapshot(seq, batches.to_vec(), jobs.to_vec())))
}

pub fn event(seq: u64, fact: Fact) -> Response {
    Response::Event(Box::new(Event { seq, time: WallMs(1_700_000_002_000), fact }))
}
