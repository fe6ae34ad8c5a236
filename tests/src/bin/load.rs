//! `load`: puts a daemon under load for tests/bench/queue. Speaks to it as clients do, at $SPINDLE_SOCKET; never looks into its queue.
//!
//! - `load jobs COUNT PARALLEL SCRIPT [BATCHES]`: jobs of one stage whose work the scripted worker makes up (`ok` is nothing at all), in
//!   as many batches; waits for their ends.
//! - `load more COUNT PARALLEL SCRIPT`: the same, and waits for nothing.
//! - `load urgent COUNT PARALLEL SCRIPT`: a batch of the same, more urgent than all others, in a house that is paused: tells how long it
//!   took from the house's going on to its end, and pauses the house again.
//! - `load waiting COUNT`: jobs for subtitles of files that are not there, for a house that is paused.
//! - `load clients CLIENTS WATCHERS STOPPED SECONDS PAUSE_MS`: so many callers and watchers at once, some of the watchers stopped by a
//!   signal; PAUSE_MS between two calls of one caller, on average.
//! - `load watch`: watches, for the one above.
//!
//! Each prints one JSON object.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;
use spindle_shared::batch::{BatchSpec, OnExisting, Priority};
use spindle_shared::client::{Client, ClientError, Heard, Watch};
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::{FileIdentity, Input, OutputPlan, PathBytes};
use spindle_shared::recipe::Recipe;
use spindle_shared::stage::pull::Pull;
use spindle_shared::wire::request::{BatchFilter, Request, Scope, Selection, Submission};
use spindle_shared::wire::response::Response;

type Failed = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let result = match words.as_slice() {
        ["jobs", count, parallel, script] => jobs(count, parallel, script, "1"),
        ["jobs", count, parallel, script, batches] => jobs(count, parallel, script, batches),
        ["urgent", count, parallel, script] => urgent(count, parallel, script),
        ["more", count, parallel, script] => more(count, made_up(parallel.parse().unwrap_or(1)), |_| nothing(script)),
        ["waiting", count] => more(count, subtitles(), recording),
        ["clients", clients, watchers, stopped, seconds, pause_ms] => {
            clients_at_once([clients, watchers, stopped, seconds, pause_ms])
        }
        ["watch"] => watch(&AtomicU64::new(0), None),
        _ => Err("usage: load jobs COUNT PARALLEL SCRIPT [BATCHES] | more COUNT PARALLEL SCRIPT | urgent COUNT PARALLEL SCRIPT | waiting COUNT | clients CLIENTS WATCHERS STOPPED SECONDS PAUSE_MS".into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn socket() -> Result<PathBuf, Failed> {
    std::env::var_os("SPINDLE_SOCKET").map(PathBuf::from).ok_or_else(|| "SPINDLE_SOCKET is not set".into())
}

fn call(request: &Request) -> Result<Vec<Response>, ClientError> {
    let path = std::env::var_os("SPINDLE_SOCKET").map(PathBuf::from).unwrap_or_default();
    Client::connect(&path)?.call(request)
}

fn jobs(count: &str, parallel: &str, script: &str, batches: &str) -> Result<(), Failed> {
    let (count, parallel, batches): (u32, u32, u32) = (count.parse()?, parallel.parse()?, batches.parse()?);
    let socket = socket()?;
    let mut watch = Client::connect(&socket)?.watch(Scope::Overview, 0)?;
    let began = Instant::now();
    let mut open = Vec::new();
    for _ in 0..batches {
        open.push(submit(&socket, made_up(parallel), count, |_| nothing(script))?);
    }
    let submitted = began.elapsed();
    let mut all = open.clone();
    await_ends(&mut watch, &mut open)?;
    let seconds = began.elapsed().as_secs_f64();
    all.sort_unstable();
    println!(
        "{}",
        json!({
            "batches": all.iter().map(|id| id.0).collect::<Vec<_>>(),
            "jobs": u64::from(count) * u64::from(batches),
            "submitted_seconds": submitted.as_secs_f64(),
            "seconds": seconds,
        })
    );
    Ok(())
}

fn urgent(count: &str, parallel: &str, script: &str) -> Result<(), Failed> {
    let (count, parallel): (u32, u32) = (count.parse()?, parallel.parse()?);
    let socket = socket()?;
    let spec = BatchSpec { priority: Priority(0), ..made_up(parallel) };
    let id = submit(&socket, spec, count, |_| nothing(script))?;
    let mut watch = Client::connect(&socket)?.watch(Scope::Overview, 0)?;
    let began = Instant::now();
    Client::connect(&socket)?.call(&Request::Resume(Selection::House))?;
    await_ends(&mut watch, &mut vec![id])?;
    let seconds = began.elapsed().as_secs_f64();
    Client::connect(&socket)?.call(&Request::Pause { what: Selection::House, now: false })?;
    println!("{}", json!({ "batches": [id.0], "jobs": count, "seconds": seconds }));
    Ok(())
}

/// Until none of these batches is open.
fn await_ends(watch: &mut Watch, open: &mut Vec<BatchId>) -> Result<(), Failed> {
    while !open.is_empty() {
        let ended = |batch: &spindle_shared::batch::BatchView| batch.finished_at.is_some().then_some(batch.id);
        let ended: Vec<BatchId> = match watch.hear(None)? {
            Heard::Snapshot(snapshot) => snapshot.batches.values().filter_map(ended).collect(),
            Heard::Event(event) => match event.fact {
                spindle_shared::event::Fact::Batch(batch) => ended(&batch).into_iter().collect(),
                _ => Vec::new(),
            },
            _ => Vec::new(),
        };
        open.retain(|id| !ended.contains(id));
    }
    Ok(())
}

fn more(count: &str, spec: BatchSpec, input: impl Fn(u32) -> Submission) -> Result<(), Failed> {
    let count: u32 = count.parse()?;
    let began = Instant::now();
    let id = submit(&socket()?, spec, count, input)?;
    println!("{}", json!({ "batches": [id.0], "jobs": count, "seconds": began.elapsed().as_secs_f64() }));
    Ok(())
}

fn submit(socket: &Path, spec: BatchSpec, count: u32, input: impl Fn(u32) -> Submission) -> Result<BatchId, Failed> {
    let answer = Client::connect(socket)?.submit(spec, count, false, (1..=count).map(input))?;
    let submitted = answer.into_iter().find_map(|response| match response {
        Response::Submitted(submitted) => Some(submitted.batch.id),
        _ => None,
    });
    submitted.ok_or_else(|| "the daemon did not say which batch it is".into())
}

/// Jobs of one stage that reads nothing and leaves nothing.
fn made_up(parallel: u32) -> BatchSpec {
    let pull = Pull {
        name: "nothing".to_owned(),
        url: String::new(),
        file: "nothing".to_owned(),
        bytes: 0,
        sha256: String::new(),
    };
    spec(Recipe::pull(pull), parallel)
}

fn nothing(script: &str) -> Submission {
    Submission {
        input: Input::Name("nothing".to_owned()),
        output: OutputPlan { directory: PathBytes::default(), stem: PathBytes(script.as_bytes().to_vec()) },
        stages: None,
        taken: Vec::new(),
    }
}

fn subtitles() -> BatchSpec {
    let (decode, transcribe, subtitle, publish) = Default::default();
    spec(Recipe::subtitles(decode, transcribe, subtitle, publish), 4)
}

fn recording(number: u32) -> Submission {
    let stem = format!("recording-{number:07}");
    let directory = PathBytes(b"/srv/media/library/season-03".to_vec());
    let path = PathBytes(format!("/srv/media/library/season-03/{stem}.wav").into_bytes());
    let time_ns = 1_700_000_000_123_456_789;
    let identity =
        FileIdentity { dev: 2049, inode: u64::from(number), bytes: 1 << 20, mtime_ns: time_ns, ctime_ns: time_ns };
    Submission {
        input: Input::File { path, identity },
        output: OutputPlan { directory, stem: PathBytes(stem.into_bytes()) },
        stages: None,
        taken: Vec::new(),
    }
}

fn spec(recipe: Recipe, parallel: u32) -> BatchSpec {
    BatchSpec {
        recipe,
        name: None,
        tags: Vec::new(),
        priority: Priority::NORMAL,
        parallel,
        retries: Some(0),
        timeout: None,
        key: None,
        on_existing: OnExisting::Force,
        terms: Default::default(),
        gather_to: None,
    }
}

/// Counts what it hears, for ever or until `until`.
fn watch(heard: &AtomicU64, until: Option<Instant>) -> Result<(), Failed> {
    let mut watch = Client::connect(&socket()?)?.watch(Scope::House, 10)?;
    while until.is_none_or(|until| Instant::now() < until) {
        match watch.hear(until)? {
            Heard::Quiet => {}
            _ => drop(heard.fetch_add(1, Ordering::Relaxed)),
        }
    }
    Ok(())
}

/// A watcher that takes nothing from its connection any more.
struct Stopped(Child);

impl Stopped {
    fn start() -> Result<Stopped, Failed> {
        let child = Command::new(std::env::current_exe()?).arg("watch").stdout(Stdio::null()).spawn()?;
        Ok(Stopped(child))
    }

    fn stop(&self) -> Result<(), Failed> {
        Ok(kill_process(Pid::from_child(&self.0), Signal::STOP)?)
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // It is our child, and not waited for yet.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn clients_at_once(words: [&str; 5]) -> Result<(), Failed> {
    let [clients, watchers, stopped, seconds, pause_ms] = words.map(str::parse::<u64>);
    let (clients, watchers, stopped, seconds, pause_ms) = (clients?, watchers?, stopped?, seconds?, pause_ms?);
    let socket = socket()?;
    // A first listing tells of a batch to ask about.
    let batch = Client::connect(&socket)?
        .call(&Request::List { filter: BatchFilter::default(), limit: 1 })?
        .into_iter()
        .find_map(
            |response| if let Response::Batches(batches) = response { batches.first().map(|b| b.id) } else { None },
        )
        .ok_or("submit a batch first")?;
    let halted: Vec<Stopped> = (0..stopped).map(|_| Stopped::start()).collect::<Result<_, _>>()?;
    // They are there once they have had their snapshots.
    thread::sleep(Duration::from_millis(500));
    for watcher in &halted {
        watcher.stop()?;
    }
    let until = Instant::now() + Duration::from_secs(seconds);
    let heard = Arc::new(AtomicU64::new(0));
    let taken: Arc<Mutex<Vec<f64>>> = Arc::default();
    let failed = Arc::new(AtomicU64::new(0));
    let mut threads = Vec::new();
    let thread_of = || thread::Builder::new().stack_size(512 << 10);
    let cut = Arc::new(AtomicU64::new(0));
    for _ in 0..watchers.saturating_sub(stopped) {
        let (heard, cut) = (Arc::clone(&heard), Arc::clone(&cut));
        threads.push(thread_of().spawn(move || {
            if watch(&heard, Some(until)).is_err() {
                cut.fetch_add(1, Ordering::Relaxed);
            }
        })?);
    }
    for number in 0..clients {
        let (taken, failed) = (Arc::clone(&taken), Arc::clone(&failed));
        threads.push(thread_of().spawn(move || {
            let mut dice = number.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
            let mut mine = Vec::new();
            loop {
                // Anything between nothing and twice the pause.
                dice ^= dice << 13;
                dice ^= dice >> 7;
                dice ^= dice << 17;
                thread::sleep(Duration::from_millis(dice % (2 * pause_ms + 1)));
                if Instant::now() >= until {
                    break;
                }
                let began = Instant::now();
                match call(&question(dice, batch)) {
                    Ok(_) => mine.push(began.elapsed().as_secs_f64() * 1_000.0),
                    Err(_) => drop(failed.fetch_add(1, Ordering::Relaxed)),
                }
            }
            taken.lock().unwrap_or_else(PoisonError::into_inner).append(&mut mine);
        })?);
    }
    for thread in threads {
        thread.join().map_err(|_| "a client panicked")?;
    }
    let mut taken = std::mem::take(&mut *taken.lock().unwrap_or_else(PoisonError::into_inner));
    taken.sort_by(f64::total_cmp);
    let at =
        |share: f64| taken.get(((taken.len() as f64 * share) as usize).min(taken.len().saturating_sub(1))).copied();
    println!(
        "{}",
        json!({
            "calls": taken.len(),
            "failed": failed.load(Ordering::Relaxed),
            "median_ms": at(0.5),
            "p99_ms": at(0.99),
            "most_ms": taken.last(),
            "heard": heard.load(Ordering::Relaxed),
            "watchers_cut": cut.load(Ordering::Relaxed),
        })
    );
    Ok(())
}

/// What people and scripts ask most.
fn question(dice: u64, batch: BatchId) -> Request {
    match dice % 5 {
        0 => Request::House,
        1 => Request::List { filter: BatchFilter::default(), limit: 50 },
        2 => Request::Batches(vec![batch]),
        3 => Request::Jobs { batch, states: Vec::new(), from: 1, limit: 50 },
        _ => Request::Job(JobId { batch, index: 1 }),
    }
}
