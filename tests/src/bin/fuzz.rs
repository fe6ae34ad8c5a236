//! `fuzz [--seconds N] [--seed S] [TARGET…]`: throws mutated bytes at whatever takes bytes from outside, until one of them panics. The same
//! seed mutates the same way; the input that did it is left in a file.
//!
//! Targets: `frames` (the stream decoder), `requests` and `messages` (the codec with all that goes over the socket and to the worker),
//! `lists` (text, CSV, JSON lines), `configuration`, `recipes` (files of own recipes).

#[path = "../../../daemon/src/config/mod.rs"]
#[allow(dead_code, unused_imports, reason = "only its reading is of interest here")]
mod config;
#[path = "../../../daemon/src/providers.rs"]
#[allow(dead_code, reason = "as above")]
mod providers;

use std::fs;
use std::hint::black_box;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde::Serialize;
use serde::de::DeserializeOwned;
use spindle_shared::batch::{After, BatchSpec, BatchState, Halt, HaltAt, OnExisting, Priority, Terms, TimeLimit};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, ContentHash, JobId, RunId, Target as Id};
use spindle_shared::intake::{Intake, ListFile};
use spindle_shared::job::{FileIdentity, Input, JobState, OutputPlan, PathBytes};
use spindle_shared::lane::Role;
use spindle_shared::limits::{FRAME_BYTES_MAX, WORKER_MESSAGE_BYTES_MAX};
use spindle_shared::paths::Service;
use spindle_shared::recipe::Recipe;
use spindle_shared::stage::Stage;
use spindle_shared::stage::identify::Identify;
use spindle_shared::time::WallMs;
use spindle_shared::wire::codec;
use spindle_shared::wire::frame::{FrameDecoder, encode_frame};
use spindle_shared::wire::hello::Hello;
use spindle_shared::wire::request::{BatchFilter, Request, Scope, Selection, Submission, TakenName};
use spindle_shared::wire::response::{Refusal, RefusalKind, Response};
use spindle_shared::worker::{Assignment, Done, InputFile, Order, Outcome, Report, WORKER_PROTOCOL};
use tempfile::TempDir;

const USAGE: &str = "usage: fuzz [--seconds N] [--seed S] [frames|requests|messages|lists|configuration|recipes …]";
const NAMES: [&str; 6] = ["frames", "requests", "messages", "lists", "configuration", "recipes"];
/// A mutant grows no longer than this.
const BYTES_MAX: usize = 64 << 10;

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(message) => {
            eprintln!("{message}\n{USAGE}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<ExitCode, String> {
    let (mut seconds, mut seed, mut names) = (10, 1, Vec::new());
    let mut given = std::env::args().skip(1);
    while let Some(word) = given.next() {
        let mut number =
            || given.next().and_then(|word| word.parse::<u64>().ok()).ok_or(format!("{word} needs a number"));
        match word.as_str() {
            "--seconds" => seconds = number()?,
            "--seed" => seed = number()?,
            name => names.push(*NAMES.iter().find(|known| **known == name).ok_or(format!("`{word}` is not known"))?),
        }
    }
    if names.is_empty() {
        names.extend(NAMES);
    }
    // What is found is told below, with its input; a trace of each catch would bury it.
    std::panic::set_hook(Box::new(|_| {}));
    for name in names {
        let folder = memory_folder().map_err(|error| error.to_string())?;
        let mut target = Target::named(name, &folder);
        let mut dice = Dice(seed | 1);
        let until = Instant::now() + Duration::from_secs(seconds);
        let (mut tried, mut understood) = (0_u64, 0_u64);
        while Instant::now() < until {
            let input = target.mutant(&mut dice);
            match catch_unwind(AssertUnwindSafe(|| (target.take)(&input))) {
                Ok(sound) => understood += u64::from(sound),
                Err(panic) => {
                    let said = panic.downcast_ref::<String>().cloned();
                    let said = said.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
                    let path = PathBuf::from(format!("fuzz-{name}-{seed}-{tried}.bin"));
                    fs::write(&path, &input).map_err(|error| error.to_string())?;
                    println!("{name}: panicked after {tried} tries: {}", said.unwrap_or_default());
                    println!("its input is in {}", path.display());
                    return Ok(ExitCode::FAILURE);
                }
            }
            tried += 1;
        }
        println!("{name}: {tried} tries, {understood} of them understood, no panic (seed {seed})");
    }
    Ok(ExitCode::SUCCESS)
}

/// In memory where there is such a place: files are written by the thousand.
fn memory_folder() -> std::io::Result<TempDir> {
    let shared = Path::new("/dev/shm");
    if shared.is_dir() { tempfile::tempdir_in(shared) } else { tempfile::tempdir() }
}

/// Takes bytes; gives whether it made sense of them.
type Taker = Box<dyn FnMut(&[u8]) -> bool>;

/// Something that takes bytes, with examples of what it understands.
struct Target {
    corpus: Vec<Vec<u8>>,
    /// Pieces that mean something to it.
    words: &'static [&'static str],
    take: Taker,
}

impl Target {
    fn named(name: &str, folder: &TempDir) -> Target {
        match name {
            "frames" => Target { corpus: streams(), words: &[], take: Box::new(frames) },
            "requests" => Target { corpus: encoded(&requests()), words: &[], take: Box::new(understands::<Request>) },
            "messages" => Target { corpus: messages(), words: &[], take: Box::new(any_message) },
            "lists" => Target { corpus: lists(folder.path()), words: LIST_WORDS, take: list_reader(folder.path()) },
            "recipes" => Target { corpus: recipes(), words: RECIPE_WORDS, take: Box::new(recipe_file) },
            _ => Target { corpus: configurations(), words: CONFIG_WORDS, take: config_reader(folder.path()) },
        }
    }

    fn mutant(&self, dice: &mut Dice) -> Vec<u8> {
        let mut bytes = self.corpus[dice.below(self.corpus.len())].clone();
        for _ in 0..1 + dice.below(6) {
            self.mutate(&mut bytes, dice);
        }
        bytes.truncate(BYTES_MAX);
        bytes
    }

    fn mutate(&self, bytes: &mut Vec<u8>, dice: &mut Dice) {
        let at = dice.below(bytes.len() + 1);
        let len = dice.below(16).min(bytes.len() - at);
        match dice.below(10) {
            0 if at < bytes.len() => bytes[at] ^= 1 << dice.below(8),
            1 if at < bytes.len() => bytes[at] = [0, 1, 0x7f, 0x80, 250, 251, 252, 253, 254, 255][dice.below(10)],
            2 => drop(bytes.drain(at..at + len)),
            3 => bytes.truncate(at),
            4 => {
                let piece: Vec<u8> = bytes[at..at + len].to_vec();
                let times = 1 + dice.below(40);
                bytes.splice(at..at, piece.repeat(times));
            }
            5 => {
                let other = &self.corpus[dice.below(self.corpus.len())];
                let from = dice.below(other.len() + 1);
                bytes.splice(at.., other[from..].iter().copied());
            }
            6 => {
                let number = [0, u64::MAX, 1 << 31, 1 << 63, dice.next()][dice.below(5)].to_le_bytes();
                // As bincode writes large numbers: a mark, then the bytes.
                let (mark, width) = [(251, 2), (252, 4), (253, 8)][dice.below(3)];
                bytes.splice(at..at + len, std::iter::once(mark).chain(number.into_iter().take(width)));
            }
            7 if !self.words.is_empty() => {
                let word = self.words[dice.below(self.words.len())];
                bytes.splice(at..at + len, word.bytes());
            }
            8 => {
                let to = dice.below(bytes.len() + 1);
                let piece: Vec<u8> = bytes[at..at + len].to_vec();
                bytes.splice(to..to, piece);
            }
            _ => {
                let noise: Vec<u8> = (0..1 + dice.below(8)).map(|_| dice.next() as u8).collect();
                bytes.splice(at..at, noise);
            }
        }
    }
}

/// A generator that gives the same numbers for the same seed.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, limit: usize) -> usize {
        (self.next() >> 16) as usize % limit.max(1)
    }
}

/// The stream in pieces of any length, as a socket gives it; the first byte says which.
fn frames(bytes: &[u8]) -> bool {
    let Some((cut, stream)) = bytes.split_first() else { return true };
    let mut decoder = FrameDecoder::new();
    for piece in stream.chunks(usize::from(*cut).max(1)) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(frame)) => assert!(frame.len() <= FRAME_BYTES_MAX, "a frame of {} bytes", frame.len()),
                Ok(None) => break,
                Err(_) => return false,
            }
        }
    }
    !decoder.is_mid_frame()
}

/// What is understood is the same when it is written and read again.
fn understands<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> bool {
    let Ok(value) = codec::decode::<T>(bytes, FRAME_BYTES_MAX) else { return false };
    let written = codec::encode(&value);
    let again: T = codec::decode(&written, FRAME_BYTES_MAX).expect("what was written is read");
    assert!(codec::encode(&again) == written, "it is another value when it is read again");
    true
}

fn any_message(bytes: &[u8]) -> bool {
    let Some((which, rest)) = bytes.split_first() else { return false };
    match which % 4 {
        0 => understands::<Hello>(rest),
        1 => understands::<Response>(rest),
        2 => understands::<Order>(rest),
        _ => rest.len() <= WORKER_MESSAGE_BYTES_MAX && understands::<Report>(rest),
    }
}

fn list_reader(folder: &Path) -> Taker {
    let paths = ["list.txt", "list.csv", "list.jsonl", "list"].map(|name| folder.join(name));
    Box::new(move |bytes| {
        let Some((which, rest)) = bytes.split_first() else { return false };
        let path = &paths[usize::from(*which) % paths.len()];
        fs::write(path, rest).expect("the folder is ours");
        let columns = ["language".to_owned(), "model".to_owned()];
        // Never into folders: a mutant may name any.
        let intake = Intake { recurse: false, extensions: &["wav"], columns: &columns };
        match intake.take(&[], &[ListFile::File(path.clone())]) {
            Ok(inputs) => black_box(inputs.found.len()) > 0,
            Err(problems) => {
                assert!(!problems.is_empty(), "refused without a reason");
                black_box(problems.iter().map(ToString::to_string).collect::<String>());
                false
            }
        }
    })
}

fn config_reader(folder: &Path) -> Taker {
    let path = folder.join("spindled.toml");
    Box::new(move |bytes| {
        fs::write(&path, bytes).expect("the folder is ours");
        match config::Config::load(Some(&path), Service::User) {
            Ok(config) => {
                assert!(config.slots(2).values().all(|slots| *slots > 0), "a lane without slots");
                true
            }
            Err(error) => {
                black_box(error.to_string());
                false
            }
        }
    })
}

/// What is understood can be submitted: the daemon's own check finds nothing in it.
fn recipe_file(bytes: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(bytes) else { return false };
    match spindle_ctl::recipe_of_text(text) {
        Ok(recipe) => {
            assert_eq!(recipe.validate(), Ok(()), "a recipe that no daemon takes");
            true
        }
        Err(wrong) => {
            assert!(!wrong.is_empty(), "refused without a reason");
            false
        }
    }
}

fn encoded<T: Serialize>(values: &[T]) -> Vec<Vec<u8>> {
    values.iter().map(codec::encode).collect()
}

fn streams() -> Vec<Vec<u8>> {
    let requests = encoded(&requests());
    let mut streams: Vec<Vec<u8>> = requests.iter().map(|request| [vec![7], encode_frame(request)].concat()).collect();
    let all: Vec<u8> = requests.iter().flat_map(|request| encode_frame(request)).collect();
    streams.push([vec![255], all].concat());
    streams.push(vec![1, 0, 0, 0, 0, 0, 0, 0, 0]);
    streams
}

fn path(text: &str) -> PathBytes {
    PathBytes(text.as_bytes().to_vec())
}

fn identity() -> FileIdentity {
    FileIdentity { dev: 1, inode: 2, bytes: 3, mtime_ns: 4, ctime_ns: -5 }
}

fn recipe() -> Recipe {
    Recipe::subtitles(Default::default(), Default::default(), Default::default(), Default::default())
}

fn requests() -> Vec<Request> {
    let spec = BatchSpec {
        recipe: recipe(),
        name: Some("talks".to_owned()),
        tags: vec![("year".to_owned(), "2026".to_owned())],
        priority: Priority::NORMAL,
        parallel: 4,
        retries: Some(2),
        timeout: Some(TimeLimit::TimesMedia(2.0)),
        key: Some("key".to_owned()),
        on_existing: OnExisting::Skip,
        terms: Terms {
            after: vec![After { batch: BatchId(1), any_end: true }],
            at: Some(WallMs(1_800_000_000_000)),
            halt: Some(Halt { now: true, failed: HaltAt::Percent(10) }),
            auto_priority: true,
            max_cost: Some(1.5),
            notify: Vec::new(),
        },
        gather_to: Some(OutputPlan { directory: path("/media"), stem: path("talks") }),
    };
    let submission = Submission {
        input: Input::File { path: path("/media/talk.mp4"), identity: identity() },
        output: OutputPlan { directory: path("/media"), stem: path("talk") },
        stages: Some(recipe().map),
        taken: vec![TakenName { path: path("/media/talk.srt"), identity: identity() }],
    };
    let named = Submission { input: Input::Name("base".to_owned()), stages: None, ..submission.clone() };
    let job = JobId { batch: BatchId(3), index: 2 };
    let what = Selection::Targets(vec![Id::Batch(BatchId(1)), Id::Job(job)]);
    let filter = BatchFilter {
        states: vec![BatchState::Running],
        recipe: Some("subtitles".to_owned()),
        owner: Some(1_000),
        tags: vec![("k".to_owned(), "v".to_owned())],
    };
    vec![
        Request::Health,
        Request::Submit { spec: Box::new(spec), total: 2, dry_run: false },
        Request::Inputs(vec![submission, named]),
        Request::List { filter: filter.clone(), limit: 50 },
        Request::Batches(vec![BatchId(1), BatchId(u64::MAX)]),
        Request::Jobs { batch: BatchId(1), states: vec![JobState::Failed], from: 1, limit: u32::MAX },
        Request::Job(job),
        Request::Cancel(what.clone()),
        Request::Pause { what: Selection::House, now: true },
        Request::Retry(Selection::Matching(filter)),
        Request::Prioritize { what: what.clone(), priority: Priority(3) },
        Request::Remove { what, purge: true },
        Request::Explain(Id::Job(job)),
        Request::Failures { limit: 10 },
        Request::Watch { scope: Scope::Window { batch: BatchId(1), from: 1, len: 50 }, jobs: 10 },
        Request::Watch { scope: Scope::Batches(vec![BatchId(1)]), jobs: 10 },
    ]
}

fn messages() -> Vec<Vec<u8>> {
    let run = RunId { boot: 1, counter: 2 };
    let assignment = Assignment {
        inputs: vec![InputFile::new(path("a.wav"), 10)],
        scratch: path("/scratch"),
        checkpoint: Some(path("/checkpoint")),
        output: OutputPlan { directory: path("/media"), stem: path("talk") },
        part_tag: "0123abcd".to_owned(),
        replaceable: vec![(path("/media/talk.srt"), ContentHash::of(b"x"))],
        ..Assignment::of(run, Stage::Identify(Identify {}))
    };
    let failure = Failure::new(FailureKind::Input, "it is empty").advise("look at it");
    let done = Done { content: Some(ContentHash::of(b"x")), identity: Some(identity()), ..Done::default() };
    let refusal = Refusal::new(RefusalKind::Limit, "too many").hint("fewer");
    let prefixed = |which: u8, bytes: Vec<Vec<u8>>| bytes.into_iter().map(move |bytes| [vec![which], bytes].concat());
    let orders = [Order::Assign(Box::new(assignment)), Order::Cancel(run), Order::Leave];
    let reports = [
        Report::Hello { protocol: WORKER_PROTOCOL, role: Role::Files, lacks: Vec::new() },
        Report::Progress { run, done: 0.5, begun: 0.1 },
        Report::Length { run, seconds: 60.0 },
        Report::Ended { run, outcome: Outcome::Done(Box::new(done)) },
        Report::Ended { run, outcome: Outcome::Failed(failure) },
    ];
    prefixed(0, encoded(&[Hello::ours()]))
        .chain(prefixed(1, encoded(&[Response::End, Response::Refused(refusal)])))
        .chain(prefixed(2, encoded(&orders)))
        .chain(prefixed(3, encoded(&reports)))
        .collect()
}

const LIST_WORDS: &[&str] = &[
    "input", "path", "language", "model", "\"", "\"\"", ",", "\n", "\r\n", "\r", "{", "}", "[", "]", ":", "null", "#",
    "\u{feff}", "../", "file://", "\\u0000", "\\ud800", "1e999", "\t",
];

fn lists(folder: &Path) -> Vec<Vec<u8>> {
    let known = folder.join("known.wav");
    fs::write(&known, b"sound").expect("the folder is ours");
    let known = known.display();
    [
        format!("\0# talks\n{known}\n\n/missing.wav\n"),
        format!("\0{known}\0/missing.wav\0"),
        format!("\u{1}input,language\n\"{known}\",de\n\"a \"\"b\"\".wav\",\n"),
        format!("\u{1}path,Model\r\n{known},base\r\n"),
        format!("\u{2}{{\"input\":\"{known}\",\"language\":\"de\"}}\n{{\"path\":\"b\",\"model\":[\"x\",\"y\"]}}\n"),
        format!("\u{3}{{\"file\":\"{known}\",\"language\":null,\"model\":1.5}}"),
        format!("\u{3}\u{feff}{known}\n"),
    ]
    .map(String::into_bytes)
    .to_vec()
}

const CONFIG_WORDS: &[&str] = &[
    "[lanes]",
    "[workers]",
    "[limits]",
    "[models]",
    "cpu",
    "io",
    "net",
    "idle_seconds",
    "recycle_after",
    "mirror",
    "=",
    "\"",
    "'''",
    "\n",
    "-1",
    "0",
    "9223372036854775807",
    "1e9",
    "nan",
    "inf",
    "true",
    "[[lanes]]",
    "lanes.cpu",
    "{ cpu = 1 }",
    "1979-05-27T07:32:00Z",
    "\\u0000",
];

fn configurations() -> Vec<Vec<u8>> {
    [
        "",
        "[lanes]\ncpu = 2\nio = 4\nnet = 2\n",
        "[workers]\nidle_seconds = 60\nrecycle_after = 50\nmemory_growth_mib = 64\nmemory_limit_mib = 512\n",
        "[limits]\nmax_inputs = 1000\n[models]\nmirror = \"https://example.org/\"\n",
        "lanes = { cpu = 1 }\nlimits.max_inputs = 5\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}

const RECIPE_WORDS: &[&str] = &[
    "[[map]]\n",
    "[[gather]]\n",
    "stage = ",
    "\"decode\"",
    "\"transcribe\"",
    "\"subtitle\"",
    "\"publish\"",
    "\"collect\"",
    "\"compress\"",
    "\"convert\"",
    "\"preview\"",
    "format",
    "model",
    "true",
    "-1",
    "1e999",
    "nan",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "\"\"\"",
    "\n",
    "\\u0000",
    "=",
];

fn recipes() -> Vec<Vec<u8>> {
    [
        spindle_ctl::RECIPE_FILE,
        "name = \"small\"\n[[map]]\nstage = \"compress\"\nprofile = \"high\"\n[[map]]\nstage = \"publish\"\n",
        "[[map]]\nstage = \"preview\"\n[[map]]\nstage = \"publish\"\n",
        "[[map]]\nstage = \"convert\"\nto = \"mp3\"\n[[map]]\nstage = \"publish\"\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .to_vec()
}
