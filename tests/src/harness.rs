//! A daemon of a test's own, in a folder of its own: start, ask, kill, look. Speaks to it as users do; never looks into its queue.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use spindle_shared::batch::BatchView;
use spindle_shared::client::{Client, ClientError, Heard, Watch};
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::JobView;
use spindle_shared::language::LANGUAGES;
use spindle_shared::snapshot::Snapshot;
use spindle_shared::wire::request::{Request, Scope};
use spindle_shared::wire::response::Response;
use tempfile::TempDir;

use crate::parrot;

/// Nothing in these tests takes longer, on a busy machine either; what does hangs.
pub const PATIENCE: Duration = Duration::from_secs(120);
/// Between two looks where nothing tells by itself.
const STEP: Duration = Duration::from_millis(5);

/// A program of this build: it lies beside the test's own.
pub fn program(name: &str) -> PathBuf {
    let own = std::env::current_exe().expect("a test knows its own path");
    let folder = own.ancestors().find(|folder| folder.join(name).is_file());
    let Some(folder) = folder.filter(|_| own.components().any(|part| part.as_os_str() == "deps")) else {
        panic!("{name} is not built beside {}: `cargo build --workspace` comes before these tests", own.display());
    };
    folder.join(name)
}

/// Waits for what nothing tells of; events are awaited with [`Watcher::until`].
pub fn eventually<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "in vain: {what}");
        thread::sleep(STEP);
    }
}

/// A daemon that was not started yet.
pub struct Setup {
    root: TempDir,
    environment: Vec<(String, String)>,
    scripted: bool,
}

impl Setup {
    /// Runs `scripted-worker` in the worker's place: inputs are scripts, their content is of no matter.
    pub fn scripted(mut self) -> Self {
        self.scripted = true;
        self
    }

    /// A key of the configuration, `lanes.cpu` say.
    pub fn set(self, key: &str, value: u32) -> Self {
        let (section, key) = key.split_once('.').expect("a key is SECTION.KEY");
        self.env(&format!("SPINDLE_{}__{}", section.to_uppercase(), key.to_uppercase()), &value.to_string())
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.environment.push((name.to_owned(), value.to_owned()));
        self
    }

    /// A model that says `words` in every window, in this language.
    pub fn parrot(self, name: &str, language: &str, words: &[&str]) -> Self {
        let number = LANGUAGES.iter().position(|(code, _)| *code == language).expect("a language whisper knows");
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        let path = self.models().join(format!("ggml-{name}.bin"));
        let mut bytes = Vec::new();
        parrot::write(&mut bytes, number, &words, 2.0).expect("a vector takes all");
        fs::write(path, bytes).expect("the model folder is ours");
        self
    }

    /// The demonstration model, under this name.
    pub fn demonstration(self, name: &str) -> Self {
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/demo/ggml-mini-tts.en.bin");
        let model = model.canonicalize().expect("the demonstration model belongs to the checkout");
        symlink(model, self.models().join(format!("ggml-{name}.bin"))).expect("the model folder is ours");
        self
    }

    pub fn models(&self) -> PathBuf {
        self.root.path().join("models")
    }

    pub fn state(&self) -> PathBuf {
        self.root.path().join("state")
    }

    pub fn start(self) -> Daemon {
        let mut daemon = self.stopped();
        daemon.start();
        daemon
    }

    /// The house without its daemon: for what happens before and instead of one.
    pub fn stopped(self) -> Daemon {
        Daemon { setup: self, child: None }
    }
}

/// A daemon with its folders; it and its workers are gone when this is dropped.
pub struct Daemon {
    setup: Setup,
    child: Option<Child>,
}

impl Daemon {
    pub fn setup() -> Setup {
        let root = tempfile::Builder::new().prefix("spindle-it-").tempdir().expect("a temporary folder can be made");
        for folder in ["state", "models", "run", "home", "media", "marks"] {
            fs::DirBuilder::new().mode(0o700).create(root.path().join(folder)).expect("the folder is new and ours");
        }
        Setup { root, environment: Vec::new(), scripted: false }
    }

    /// With the scripted worker and a model named `base`.
    pub fn scripted() -> Setup {
        Daemon::setup().scripted().demonstration("base")
    }

    /// With the true worker and a model named `base` that says `hello world`.
    pub fn real() -> Setup {
        Daemon::setup().parrot("base", "en", &[" hello", " world"])
    }

    pub fn root(&self) -> &Path {
        self.setup.root.path()
    }

    pub fn state(&self) -> PathBuf {
        self.setup.state()
    }

    pub fn models(&self) -> PathBuf {
        self.setup.models()
    }

    pub fn socket(&self) -> PathBuf {
        self.root().join("run/s")
    }

    pub fn media(&self) -> PathBuf {
        self.root().join("media")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.root().join("spindled.log")).unwrap_or_default()
    }

    /// A command of this house: its environment and nothing of the caller's but PATH.
    pub fn command(&self, name: &str) -> Command {
        self.command_at(&program(name))
    }

    /// The same of a program that lies elsewhere.
    pub fn command_at(&self, program_path: &Path) -> Command {
        let root = self.root();
        let mut command = Command::new(program_path);
        command.env_clear().current_dir(self.media()).stdin(Stdio::null());
        for inherited in ["PATH", "TMPDIR", "LD_LIBRARY_PATH", "SPINDLE_LOG"] {
            if let Some(value) = std::env::var_os(inherited) {
                command.env(inherited, value);
            }
        }
        let folders = [
            ("HOME", "home"),
            ("XDG_RUNTIME_DIR", "run"),
            ("XDG_STATE_HOME", "home/state"),
            ("XDG_DATA_HOME", "home/data"),
            ("XDG_CONFIG_HOME", "home/config"),
            ("SPINDLE_STATE_DIR", "state"),
            ("SPINDLE_MODEL_DIR", "models"),
            ("SPINDLE_SOCKET", "run/s"),
            ("SPINDLE_SCRIPT_MARKS", "marks"),
        ];
        for (name, folder) in folders {
            command.env(name, root.join(folder));
        }
        // Threads that wait don't spin: many tests share few cores.
        command.env("OMP_WAIT_POLICY", "passive");
        if self.setup.scripted {
            command.env("SPINDLE_WORKER", program("scripted-worker"));
        }
        command.envs(self.setup.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Starts it and waits until it answers.
    pub fn start(&mut self) {
        assert!(self.child.is_none(), "it runs already");
        let log = File::options().create(true).append(true).open(self.root().join("spindled.log"));
        let mut command = self.command("spindled");
        // Its own group, so that a signal to the test's is not its signal too.
        command.process_group(0).stdout(Stdio::null()).stderr(log.expect("the log is ours"));
        self.child = Some(command.spawn().expect("spindled can be started"));
        self.await_answer();
    }

    fn await_answer(&mut self) {
        let socket = self.socket();
        eventually("the daemon answers", || {
            if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().expect("it is our child")) {
                panic!("the daemon ended at its start with {status}:\n{}", self.log());
            }
            Client::connect(&socket).ok()
        });
    }

    /// Starts it where it must refuse: how it ended, and what it said.
    pub fn start_refused(&self) -> (ExitStatus, String) {
        let output = deadline_output(self.command("spindled"), "spindled, which should refuse to start");
        (output.status, String::from_utf8_lossy(&output.stderr).into_owned())
    }

    pub fn pid(&self) -> Pid {
        Pid::from_child(self.child.as_ref().expect("it runs"))
    }

    /// Kills it as a power cut would, as far as a process can be cut.
    pub fn kill(&mut self) {
        let mut child = self.child.take().expect("it runs");
        child.kill().expect("it is our child");
        child.wait().expect("it is our child");
    }

    /// Asks it to stop, and gives how it ended.
    pub fn stop(&mut self) -> ExitStatus {
        kill_process(self.pid(), Signal::TERM).expect("it runs");
        self.ended()
    }

    /// Waits for its end, which something else has caused.
    pub fn ended(&mut self) -> ExitStatus {
        let mut child = self.child.take().expect("it runs");
        eventually("the daemon ends", || child.try_wait().expect("it is our child"))
    }

    /// Its workers of one role (`speech` …).
    pub fn workers(&self, role: &str) -> Vec<Pid> {
        self.call(&Request::Workers)
            .into_iter()
            .filter_map(|response| if let Response::Workers(workers) = response { Some(workers) } else { None })
            .flatten()
            .filter(|worker| worker.role == role)
            .filter_map(|worker| Pid::from_raw(i32::try_from(worker.pid).ok()?))
            .collect()
    }

    /// The most memory that any worker of this role has held, in KiB.
    pub fn peak_kib(&self, role: &str) -> u64 {
        let peak = |pid: Pid| {
            let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero())).ok()?;
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
            line.split_whitespace().next()?.parse().ok()
        };
        self.workers(role).into_iter().filter_map(peak).max().expect("a worker of this role runs")
    }

    /// Runs spindlectl to its end.
    pub fn ctl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Ran {
        let mut command = self.command("spindlectl");
        command.args(arguments);
        Ran::of(command)
    }

    /// Runs `spindlectl` with a line of words.
    pub fn say(&self, line: &str) -> Ran {
        self.ctl(line.split_whitespace())
    }

    /// Runs it with `--json`; it must go well.
    pub fn json(&self, line: &str) -> Value {
        self.ctl(["--json"].into_iter().chain(line.split_whitespace())).expect(0).json()
    }

    /// Starts spindlectl and lets it run beside the test.
    pub fn beside(&self, line: &str) -> JoinHandle<Ran> {
        let mut command = self.command("spindlectl");
        command.args(line.split_whitespace());
        thread::spawn(move || Ran::of(command))
    }

    /// Submits for subtitles; the batch's number.
    pub fn submit<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> BatchId {
        self.submit_to("subtitles", arguments)
    }

    /// Submits to another recipe; the batch's number.
    pub fn submit_to<S: AsRef<OsStr>>(&self, recipe: &str, arguments: impl IntoIterator<Item = S>) -> BatchId {
        let mut command = self.command("spindlectl");
        command.args(["-q", "submit", recipe]).args(arguments);
        let ran = Ran::of(command).expect(0);
        BatchId(ran.out.trim().parse().unwrap_or_else(|_| panic!("no batch number: {ran:?}")))
    }

    pub fn client(&self) -> Client {
        self.try_client().expect("the daemon takes clients")
    }

    pub fn try_client(&self) -> Result<Client, ClientError> {
        Client::connect(&self.socket())
    }

    pub fn call(&self, request: &Request) -> Vec<Response> {
        self.client().call(request).unwrap_or_else(|error| panic!("{request:?}: {error}"))
    }

    pub fn batch(&self, id: BatchId) -> BatchView {
        let mut views = self.call(&Request::Batches(vec![id])).into_iter().filter_map(|response| match response {
            Response::Batches(mut batches) => batches.pop(),
            _ => None,
        });
        views.next().unwrap_or_else(|| panic!("there is no batch {id}"))
    }

    /// All jobs of a batch, in input order.
    pub fn jobs(&self, batch: BatchId) -> Vec<JobView> {
        self.call(&Request::Jobs { batch, states: Vec::new(), from: 1, limit: u32::MAX })
            .into_iter()
            .filter_map(|response| if let Response::Jobs(jobs) = response { Some(jobs) } else { None })
            .flatten()
            .collect()
    }

    pub fn job(&self, batch: BatchId, index: u32) -> JobView {
        self.jobs(batch).swap_remove(index as usize - 1)
    }

    /// Watches these batches and their jobs; none = the house.
    pub fn watch(&self, batches: &[BatchId]) -> Watcher {
        let scope = if batches.is_empty() { Scope::House } else { Scope::Batches(batches.to_vec()) };
        let watch = self.client().watch(scope, 10_000).expect("the daemon is to be watched");
        let mut watcher = Watcher { watch, snapshot: Snapshot::default(), started: Vec::new() };
        watcher.hear("its first snapshot", Instant::now() + PATIENCE);
        watcher
    }

    /// Waits for a batch's end.
    pub fn ended_batch(&self, id: BatchId) -> BatchView {
        self.watch(&[id]).until("the batch ends", |seen| {
            seen.batches.get(&id).filter(|batch| batch.state.is_terminal() && batch.finished_at.is_some()).cloned()
        })
    }

    /// Waits until the scripted worker has begun with this script at its stage. Each beginning is seen once.
    pub fn begun(&self, script: &str) {
        let mark = self.root().join("marks").join(format!("{script}.begun"));
        eventually(&format!("{script} begins"), || fs::remove_file(&mark).ok());
    }

    /// A small file whose name is its script.
    pub fn script(&self, name: &str) -> PathBuf {
        let path = self.media().join(format!("{name}.wav"));
        // Content of its own: nothing is found in the cache unless a test wants it.
        fs::write(&path, name).expect("the media folder is ours");
        path
    }

    pub fn scripts(&self, count: usize, prefix: &str) -> Vec<PathBuf> {
        (1..=count).map(|number| self.script(&format!("{prefix}{number:03}"))).collect()
    }

    /// A wav file with sound in it.
    pub fn sound(&self, name: &str, seconds: f64) -> PathBuf {
        let path = self.media().join(name);
        fs::create_dir_all(path.parent().expect("it has a folder")).expect("the media folder is ours");
        // The name makes the content: no two are alike.
        let pitch = 180.0 + f64::from(name.bytes().map(u32::from).sum::<u32>() % 400);
        fs::write(&path, wav(seconds, pitch)).expect("the media folder is ours");
        path
    }

    /// Every file below a folder of the house, by name, hidden ones too.
    pub fn files(&self, folder: &str) -> Vec<String> {
        let root = self.root().join(folder);
        let mut found = Vec::new();
        let mut open = vec![root.clone()];
        while let Some(folder) = open.pop() {
            for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
                let path = entry.path();
                if path.is_dir() {
                    open.push(path);
                } else if let Ok(below) = path.strip_prefix(&root) {
                    found.push(below.to_string_lossy().into_owned());
                }
            }
        }
        found.sort();
        found
    }

    /// Names of partial files anywhere among the media.
    pub fn partial_files(&self) -> Vec<String> {
        self.files("media").into_iter().filter(|name| name.ends_with(".part")).collect()
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            // Its workers die with it.
            let _ = child.kill();
            let _ = child.wait();
        }
        if thread::panicking() {
            eprintln!("--- spindled.log\n{}---", self.log());
        }
    }
}

/// Hears what the daemon tells, and folds it as every watcher does.
pub struct Watcher {
    watch: Watch,
    pub snapshot: Snapshot,
    /// Jobs in the order in which they were first seen running.
    pub started: Vec<JobId>,
}

impl Watcher {
    /// Waits until what is known fits. The snapshot that is there already may.
    pub fn until<T>(&mut self, what: &str, mut fits: impl FnMut(&Snapshot) -> Option<T>) -> T {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if let Some(found) = fits(&self.snapshot) {
                return found;
            }
            self.hear(what, deadline);
        }
    }

    fn hear(&mut self, what: &str, deadline: Instant) {
        match self.watch.hear(Some(deadline)) {
            Ok(Heard::Event(event)) => self.snapshot.apply(&event),
            Ok(Heard::Snapshot(snapshot)) => self.snapshot = *snapshot,
            Ok(Heard::Batches(batches)) => {
                self.snapshot.batches.extend(batches.into_iter().map(|batch| (batch.id, batch)));
            }
            Ok(Heard::Jobs(jobs)) => self.snapshot.jobs.extend(jobs.into_iter().map(|job| (job.id, job))),
            Ok(Heard::Other(other)) => panic!("while waiting for: {what}: {other:?}"),
            Ok(Heard::Quiet) => panic!("in vain: {what}; known is {:#?}", self.snapshot),
            Err(error) => panic!("while waiting for: {what}: {error}"),
        }
        for job in self.snapshot.jobs.values() {
            if job.started_at.is_some() && !self.started.contains(&job.id) {
                self.started.push(job.id);
            }
        }
    }
}

/// What a program said, and how it ended.
#[derive(Debug, Clone)]
pub struct Ran {
    pub code: i32,
    pub out: String,
    pub err: String,
    pub took: Duration,
    line: String,
}

impl Ran {
    pub fn of(command: Command) -> Ran {
        let line = command.get_args().map(|argument| argument.to_string_lossy()).collect::<Vec<_>>().join(" ");
        let began = Instant::now();
        let Output { status, stdout, stderr } = deadline_output(command, &line);
        let code = status.code().unwrap_or_else(|| panic!("`{line}` was ended by signal {:?}", status.signal()));
        let text = |bytes| String::from_utf8(bytes).expect("what is printed is UTF-8");
        Ran { code, out: text(stdout), err: text(stderr), took: began.elapsed(), line }
    }

    /// It must have ended with this code.
    #[track_caller]
    pub fn expect(self, code: u8) -> Ran {
        assert_eq!(self.code, i32::from(code), "`{}` said\n{}{}", self.line, self.out, self.err);
        self
    }

    /// Standard output as one JSON document.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("`{}`: {e}:\n{}{}", self.line, self.out, self.err))
    }

    /// Standard output as one JSON document a line.
    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        self.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}"))).collect()
    }

    /// What was said on standard error must have all of these in it.
    #[track_caller]
    pub fn says(self, words: &[&str]) -> Ran {
        for word in words {
            assert!(self.err.contains(word), "`{}` does not say `{word}`, but\n{}", self.line, self.err);
        }
        self
    }
}

/// Runs a program to its end; one that hangs is killed.
pub fn deadline_output(mut command: Command, what: &str) -> Output {
    let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the program can be started");
    let pid = Pid::from_child(&child);
    let (sender, ended) = mpsc::channel();
    thread::spawn(move || sender.send(child.wait_with_output()));
    match ended.recv_timeout(PATIENCE) {
        Ok(output) => output.unwrap_or_else(|error| panic!("`{what}`: {error}")),
        Err(_) => {
            // Not reaped yet: the number is still its own.
            let _ = kill_process(pid, Signal::KILL);
            let said = ended.recv_timeout(PATIENCE);
            panic!("`{what}` hangs; it had said {said:?}");
        }
    }
}

/// 16 kHz mono: phrases of a buzz in syllables, each a second long with half a second of silence before it.
pub fn wav(seconds: f64, pitch: f64) -> Vec<u8> {
    const RATE: f64 = 16_000.0;
    let samples = (seconds * RATE) as u32;
    let mut bytes = Vec::with_capacity(44 + samples as usize * 2);
    bytes.extend_from_slice(b"RIFF");
    bytes.extend_from_slice(&(36 + samples * 2).to_le_bytes());
    bytes.extend_from_slice(b"WAVEfmt \x10\0\0\0\x01\0\x01\0");
    bytes.extend_from_slice(&(RATE as u32).to_le_bytes());
    bytes.extend_from_slice(&(RATE as u32 * 2).to_le_bytes());
    bytes.extend_from_slice(b"\x02\0\x10\0data");
    bytes.extend_from_slice(&(samples * 2).to_le_bytes());
    for at in 0..samples {
        let time = f64::from(at) / RATE;
        let loudness = if time % 1.5 > 0.5 { 0.6 + 0.4 * (time * 25.0).sin() } else { 0.0 };
        let harmonic = |n: i32| (time * pitch * f64::from(n) * std::f64::consts::TAU).sin() / f64::from(n);
        let buzz: f64 = (1..=8).map(harmonic).sum();
        bytes.extend_from_slice(&((loudness * buzz * 6_000.0) as i16).to_le_bytes());
    }
    bytes
}
