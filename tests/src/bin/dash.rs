//! `dash [SECONDS]`: what it costs to leave the dashboard open. A made-up daemon with 100,000 jobs tells 500 events a second to the real
//! `spindletop`, which lies beside this program and runs in a terminal of 120×40 of its own. Prints what was measured, and exits 1 where a
//! promise is broken. Meant for a release build on a machine that does nothing else.

use std::collections::VecDeque;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::{Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use serde::Serialize;
use spindle_shared::batch::{BatchState, BatchView, Counts};
use spindle_shared::event::{Event, Fact};
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::{JobState, JobView};
use spindle_shared::limits::FRAME_BYTES_MAX;
use spindle_shared::made_up;
use spindle_shared::time::WallMs;
use spindle_shared::wire::codec;
use spindle_shared::wire::frame::{FrameDecoder, encode_frame};
use spindle_shared::wire::hello::Hello;
use spindle_shared::wire::request::{Request, Scope};
use spindle_shared::wire::response::Response;
use spindle_tests::terminal::Terminal;

const JOBS: u32 = 100_000;
const EVENTS_PER_SECOND: u64 = 500;
/// Seconds that the house is busy, unless told otherwise; half as many more it is idle.
const SECONDS: u64 = 60;

const SETTLING: Duration = Duration::from_secs(3);

/// What is promised.
const CORE_MOST: f64 = 0.05;
const FRAME_MOST: Duration = Duration::from_millis(5);
const MEMORY_MOST: u64 = 80_000_000;
const END_TO_SCREEN_MOST: Duration = Duration::from_millis(150);
const BYTES_PER_SECOND_MOST: f64 = 20_000.0;
/// An idle house's machine has figures that change.
const IDLE_BYTES_PER_SECOND_MOST: f64 = 100.0;

fn main() -> ExitCode {
    let seconds = match std::env::args().nth(1).map(|word| word.parse::<u64>()) {
        None => SECONDS,
        Some(Ok(seconds)) if seconds > 1 => seconds,
        Some(_) => {
            eprintln!("usage: dash [SECONDS]");
            return ExitCode::from(2);
        }
    };
    match measure(Duration::from_secs(seconds)) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all that is promised is kept.
fn measure(time: Duration) -> Result<bool, std::io::Error> {
    let folder = tempfile::tempdir()?;
    let socket = folder.path().join("s");
    let house = House::start(UnixListener::bind(&socket)?);
    let program = std::env::current_exe()?.with_file_name("spindletop");
    let mut command = Command::new(program);
    command.env_clear().env("HOME", folder.path()).env("LANG", "C.UTF-8").arg("--socket").arg(&socket);
    let mut terminal = Terminal::start(command, 120, 40);
    terminal.shows("running");
    let pid = terminal.pid();

    // Nothing happens.
    terminal.press("2");
    terminal.shows("[2 Batches]");
    // What the first pictures cost is not what it costs to leave it open.
    watch(&mut terminal, pid, SETTLING, |_| {});
    let idle = watch(&mut terminal, pid, time / 2, |_| {});

    // Much happens, and somebody scrolls through it.
    terminal.press("3");
    terminal.shows("jobs of 1");
    watch(&mut terminal, pid, SETTLING, |_| {});
    let (mut told, mut scrolled, mut sent) = (0, 0_u32, VecDeque::new());
    let mut late: Vec<Duration> = Vec::new();
    let began = Instant::now();
    let busy = watch(&mut terminal, pid, time, |terminal| {
        let due = (began.elapsed().as_secs_f64() * EVENTS_PER_SECOND as f64) as u64;
        while told < due {
            told += 1;
            if let Some(completed) = house.tell(told) {
                sent.push_back((completed, Instant::now()));
            }
        }
        if began.elapsed() > Duration::from_millis(200) * scrolled {
            scrolled += 1;
            terminal.press(if scrolled % 40 < 30 { "j" } else { "k" });
        }
        let seen = shown(&terminal.text());
        while sent.front().is_some_and(|(completed, _)| seen.is_some_and(|seen| *completed <= seen)) {
            late.extend(sent.pop_front().map(|(_, at)| at.elapsed()));
        }
    });
    let memory = status(pid, "VmHWM:").unwrap_or(u64::MAX) * 1_024;

    late.sort();
    let p99 = late.get(late.len() * 99 / 100).copied().unwrap_or(Duration::MAX);
    let mut frames = busy.frames.clone();
    frames.sort();
    let frame = frames.get(frames.len() / 2).copied().unwrap_or(Duration::MAX);
    let rate = |watched: &Watched, time: Duration| watched.bytes as f64 / time.as_secs_f64();
    let share = |watched: &Watched, time: Duration| watched.worked.as_secs_f64() / time.as_secs_f64();
    println!("{told} events in {} s to a batch of {JOBS} jobs, {} frames at 120×40", time.as_secs(), frames.len());
    let mut kept = true;
    let mut check = |what: &str, text: String, most: String, fits: bool| {
        println!("{}  {what}: {text} (at most {most})", if fits { "ok    " } else { "BROKEN" });
        kept &= fits;
    };
    let core = share(&busy, time);
    check("share of a core", format!("{:.2} %", core * 100.0), format!("{} %", CORE_MOST * 100.0), core < CORE_MOST);
    check(
        "processor time of a frame with its events, median",
        format!("{frame:?}"),
        format!("{FRAME_MOST:?}"),
        frame < FRAME_MOST,
    );
    check(
        "memory, its peak",
        format!("{} MB", memory / 1_000_000),
        format!("{} MB", MEMORY_MOST / 1_000_000),
        memory < MEMORY_MOST,
    );
    let fits = p99 < END_TO_SCREEN_MOST && late.len() as u64 > told / 10;
    let text = format!("{p99:?} of {}", late.len());
    check("from a job's end to the screen, 99 %", text, format!("{END_TO_SCREEN_MOST:?}"), fits);
    let bytes = rate(&busy, time);
    check(
        "bytes a second, busy",
        format!("{bytes:.0}"),
        format!("{BYTES_PER_SECOND_MOST}"),
        bytes < BYTES_PER_SECOND_MOST,
    );
    let bytes = rate(&idle, time / 2);
    let most = IDLE_BYTES_PER_SECOND_MOST;
    check("bytes a second, idle", format!("{bytes:.0}"), format!("{most}"), bytes < most);
    println!("idle: {:.2} % of a core, {} frames", share(&idle, time / 2) * 100.0, idle.frames.len());
    terminal.press("q");
    terminal.ended();
    Ok(kept)
}

/// What was seen of the program for a while.
#[derive(Default)]
struct Watched {
    bytes: usize,
    /// Processor time of all its threads.
    worked: Duration,
    /// Processor time of the thread that draws, from one frame to the next.
    frames: Vec<Duration>,
}

fn watch(terminal: &mut Terminal, pid: u32, time: Duration, mut act: impl FnMut(&mut Terminal)) -> Watched {
    let mut watched = Watched::default();
    let (began, before, mut drawn) = (Instant::now(), worked(pid, false), worked(pid, true));
    while began.elapsed() < time {
        if let Some(text) = terminal.read(Duration::from_millis(5)) {
            watched.bytes += text.len();
            if text.contains("\u{1b}[?2026h") {
                let now = worked(pid, true);
                watched.frames.push(now - drawn);
                drawn = now;
            }
        }
        act(terminal);
    }
    watched.worked = worked(pid, false) - before;
    watched
}

/// What the program's first thread, or all of them, have had of a processor.
fn worked(pid: u32, first: bool) -> Duration {
    let of = |thread: &str| {
        let text = fs::read_to_string(format!("/proc/{pid}/task/{thread}/schedstat")).unwrap_or_default();
        Duration::from_nanos(text.split_whitespace().next().and_then(|figure| figure.parse().ok()).unwrap_or(0))
    };
    if first {
        return of(&pid.to_string());
    }
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.map(|thread| of(&thread.file_name().to_string_lossy())).sum()
}

fn status(pid: u32, key: &str) -> Option<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    text.lines().find_map(|line| line.strip_prefix(key))?.split_whitespace().next()?.parse().ok()
}

/// How many of the batch's jobs the screen says have ended.
fn shown(screen: &str) -> Option<u32> {
    let before = screen.split_once(&format!("/{JOBS}"))?.0;
    let digits = before.len() - before.trim_end_matches(|letter: char| letter.is_ascii_digit()).len();
    before[before.len() - digits..].parse().ok()
}

/// The made-up daemon.
struct House {
    /// Who watches, and what.
    watchers: Arc<Mutex<Vec<(UnixStream, Scope)>>>,
    over: Arc<AtomicBool>,
}

impl House {
    fn start(listener: UnixListener) -> House {
        let house = House { watchers: Arc::default(), over: Arc::default() };
        let (watchers, over) = (Arc::clone(&house.watchers), Arc::clone(&house.over));
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                if over.load(Ordering::SeqCst) {
                    return;
                }
                let watchers = Arc::clone(&watchers);
                thread::spawn(move || serve(stream, &watchers));
            }
        });
        house
    }

    /// Has the next thing happen; gives how many jobs have ended, where that is what is told.
    fn tell(&self, seq: u64) -> Option<u32> {
        let index = (seq / 2) as u32 % 500 + 1;
        let (fact, completed) = match seq % 5 {
            0 => {
                let completed = (seq / 5) as u32;
                (Fact::Batch(Box::new(large(completed))), Some(completed))
            }
            1 => (Fact::Job(Box::new(job(index, JobState::Running))), None),
            _ => {
                let job = JobId { batch: BatchId(1), index };
                (Fact::Progress { job, stage: "transcribe".to_owned(), done: 0.5, batch_done: 0.1 }, None)
            }
        };
        let concerns = |scope: &Scope| matches!(scope, Scope::Window { .. }) || !matches!(fact, Fact::Job(_));
        let event = Response::Event(Box::new(Event { seq: seq + 1, time: WallMs(seq), fact: fact.clone() }));
        let mut watchers = self.watchers.lock().unwrap_or_else(PoisonError::into_inner);
        watchers.retain_mut(|(stream, scope)| !concerns(scope) || say(stream, &event).is_some());
        completed
    }
}

impl Drop for House {
    fn drop(&mut self) {
        self.over.store(true, Ordering::SeqCst);
    }
}

fn serve(mut stream: UnixStream, watchers: &Mutex<Vec<(UnixStream, Scope)>>) {
    if say(&mut stream, &Hello::ours()).is_none() {
        return;
    }
    let Some(request) = request(&mut stream) else { return };
    match request {
        Request::Watch { scope, .. } => {
            let snapshot = match &scope {
                Scope::Window { from, len, .. } => {
                    let jobs = (*from..from.saturating_add(*len)).map(|index| job(index, JobState::Pending));
                    made_up::snapshot(1, [], jobs)
                }
                _ => {
                    let counts = Counts { completed: 1, ..Counts::default() };
                    let ended = (2..200).map(|id| batch(id, BatchState::Completed, counts));
                    made_up::snapshot(1, ended.chain([large(0)]), [])
                }
            };
            // Whoever has seen the snapshot is told what follows.
            let mut watchers = watchers.lock().unwrap_or_else(PoisonError::into_inner);
            if say(&mut stream, &Response::Snapshot(Box::new(snapshot))).is_some() {
                watchers.push((stream, scope));
            }
        }
        Request::House => {
            say(&mut stream, &Response::House(made_up::house()));
            say(&mut stream, &Response::End);
        }
        // It has nothing else to say.
        _ => {
            say(&mut stream, &Response::End);
        }
    }
}

fn request(stream: &mut UnixStream) -> Option<Request> {
    let (mut decoder, mut buffer, mut hello) = (FrameDecoder::new(), [0; 4096], false);
    loop {
        while let Some(frame) = decoder.next().ok()? {
            if hello {
                return codec::decode(&frame, FRAME_BYTES_MAX).ok();
            }
            hello = true;
        }
        match stream.read(&mut buffer) {
            Ok(bytes) if bytes > 0 => decoder.push(&buffer[..bytes]),
            _ => return None,
        }
    }
}

/// `None` = the other side has hung up.
fn say<T: Serialize>(stream: &mut UnixStream, value: &T) -> Option<()> {
    stream.write_all(&encode_frame(&codec::encode(value))).ok()
}

fn large(completed: u32) -> BatchView {
    batch(1, BatchState::Running, Counts { completed, running: 4, pending: JOBS - 4 - completed, ..Counts::default() })
}

fn batch(id: u64, state: BatchState, counts: Counts) -> BatchView {
    BatchView {
        name: Some(format!("批次 {id}")),
        parallel: 4,
        started_at: Some(WallMs(1)),
        progress: 0.1,
        stage: Some("transcribe".to_owned()),
        ..made_up::batch(id, state, counts)
    }
}

fn job(index: u32, state: JobState) -> JobView {
    let input = made_up::file(format!("/media/recordings/会议录音 {index}.wav"));
    JobView { input: Some(input), ..made_up::job(1, index, state) }
}
