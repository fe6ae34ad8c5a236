//! `spindle-worker`: one process of one role, started by the daemon only. Frames in, reports out; dies freely.

mod channel;
mod checkpoint;
mod context;
mod features;
mod files;
mod highlights;
mod language;
mod media;
mod memory;
mod picture;
mod remote;
mod report;
mod speech;
mod stage;
mod vision;
mod walls;

use std::any::Any;
use std::collections::HashMap;
use std::ffi::CString;
use std::mem::ManuallyDrop;
use std::os::fd::{AsFd, FromRawFd, OwnedFd};
use std::panic::{self, AssertUnwindSafe};
use std::path::Path;
use std::process::{self, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::{env, fs, io, thread};

use rustix::fs::Mode;
use rustix::process::{Resource, Rlimit, Signal};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::RunId;
use spindle_shared::lane::Role;
use spindle_shared::processor;
use spindle_shared::stage::Stage;
use spindle_shared::worker::{Assignment, InputFile, Order, Outcome, Report, WORKER_PROTOCOL};

use crate::channel::Channel;
use crate::context::{Context, Halt, Reporter};
use crate::walls::{Asked, Places};

#[global_allocator]
static ALLOCATOR: memory::Remembering = memory::Remembering;

fn main() -> ExitCode {
    // Said now, because the first instruction that is missing kills without a word.
    if let Some(why) = processor::refusal(&speech::model::built_for(), processor::has) {
        eprintln!("error: {why}");
        return ExitCode::FAILURE;
    }
    let mut arguments = env::args_os().skip(1).peekable();
    if arguments.next_if(|argument| argument == "--features").is_some() {
        println!("{}", features::told());
        return ExitCode::SUCCESS;
    }
    if arguments.next_if(|argument| argument == "--devices").is_some() {
        return tell_devices();
    }
    let probing = arguments.next_if(|argument| argument == "--probe").is_some();
    let outside = probing.then(|| arguments.next()).flatten();
    let Some((Asked { role, device }, places)) = walls::arguments(arguments) else {
        eprintln!(
            "error: spindle-worker is started by spindled, with --role and a channel; --devices and --features tell what it can do"
        );
        return ExitCode::from(2);
    };
    if let (Some(outside), Some(places)) = (&outside, &places) {
        return probe(role, places, Path::new(outside));
    }
    speech::device::choose(device);
    let channel = match Channel::inherited() {
        Ok(channel) => channel,
        Err(e) => {
            eprintln!("error: spindle-worker is started by spindled only: no channel at its descriptor 3: {e}");
            return ExitCode::from(2);
        }
    };
    settle(role);
    // The last thing before the first order; what came before is of this program alone.
    let lacks =
        places.as_ref().map_or_else(|| vec!["they are switched off".to_owned()], |places| walls::put_up(role, places));
    let worker = Arc::new(Worker { role, places, lacks, channel, desk: Mutex::new(Desk::default()) });
    match worker.serve() {
        Ok(()) => worker.vanish(),
        Err(e) => {
            eprintln!("error: the daemon's orders can't be read: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Puts the walls up and tells in JSON what they keep from this process. 1 = they let through what they should not.
fn probe(role: Role, places: &Places, outside: &Path) -> ExitCode {
    let mut lacks = walls::put_up(role, places);
    if role == Role::Files {
        lacks.extend(walls::narrow(places, &[]).err());
    }
    let attempts = walls::probe::attempts(role, places, outside);
    let right = lacks.is_empty() && attempts.iter().all(walls::probe::Attempt::is_right);
    println!("{}", serde_json::json!({ "role": role.name(), "lacks": lacks, "attempts": attempts }));
    if right { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Writes the cards as JSON to where stdout was, and what drivers have to say to stderr.
fn tell_devices() -> ExitCode {
    let told = || -> io::Result<()> {
        let stdout = io::stdout().as_fd().try_clone_to_owned()?;
        stdout_to_stderr()?;
        let text = serde_json::to_string(&speech::device::all())?;
        io::Write::write_all(&mut fs::File::from(stdout), format!("{text}\n").as_bytes())
    };
    match told() {
        Ok(()) => ExitCode::SUCCESS,
        Err(e) => {
            eprintln!("error: failed to tell the graphics cards: {e}");
            ExitCode::FAILURE
        }
    }
}

/// Makes this process a good neighbour. None of it is worth failing for.
fn settle(role: Role) {
    // C libraries that print to stdout end in the tail of stderr, too.
    told("point stdout at stderr", stdout_to_stderr());
    // Scratch and checkpoints are nobody else's; what is published gets its mode by itself.
    rustix::process::umask(Mode::from_raw_mode(0o077));
    // The queue and the person at the machine come first.
    // A gathering run has a file open for every input of its batch.
    told("allow more open files", allow_open_files());
    told("lower the priority", rustix::process::nice(5).map(drop));
    told("tell the end of memory from a crash", memory::tell_its_end());
    if role == Role::Media {
        told("give large blocks back at once", give_back_large_blocks());
    }
    told("volunteer for want of memory", fs::write("/proc/self/oom_score_adj", "500"));
    if let Ok(name) = CString::new(format!("spindle-{}", role.name())) {
        told("set the name", rustix::thread::set_name(&name));
    }
}

/// Blocks of a MiB and more come from the kernel one by one, and go back when they are let go. Without it the C library raises this limit to the
/// largest block it was ever given back, and a worker that has seen large pictures keeps what it needed for them in pieces that fit nothing else.
fn give_back_large_blocks() -> io::Result<()> {
    const M_MMAP_THRESHOLD: i32 = -3;
    const LARGE_BYTES: i32 = 1 << 20;
    // SAFETY: sets a number of the C library's.
    match unsafe { mallopt(M_MMAP_THRESHOLD, LARGE_BYTES) } {
        0 => Err(io::ErrorKind::Unsupported.into()),
        _ => Ok(()),
    }
}

unsafe extern "C" {
    /// The GNU C library's: how it gives out memory; 0 = it doesn't.
    fn mallopt(parameter: i32, value: i32) -> i32;
}

fn allow_open_files() -> io::Result<()> {
    let Rlimit { maximum, .. } = rustix::process::getrlimit(Resource::Nofile);
    Ok(rustix::process::setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum })?)
}

fn stdout_to_stderr() -> io::Result<()> {
    // SAFETY: the number is not owned here: it is never closed through this value.
    let mut stdout = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(1) });
    Ok(rustix::io::dup2(io::stderr().as_fd(), &mut stdout)?)
}

fn told<E: std::fmt::Display>(what: &str, result: Result<(), E>) {
    if let Err(e) = result {
        eprintln!("failed to {what}: {e}");
    }
}

/// The process.
struct Worker {
    role: Role,
    /// `None` = no walls are wanted.
    places: Option<Places>,
    /// What of the walls could not be put up.
    lacks: Vec<String>,
    channel: Channel,
    desk: Mutex<Desk>,
}

/// What it has to do.
#[derive(Default)]
struct Desk {
    runs: HashMap<RunId, Arc<AtomicBool>>,
    /// Runs whose inputs have not all come yet.
    waiting: HashMap<RunId, (Assignment, Vec<OwnedFd>)>,
    leaving: bool,
    /// The most runs it has had at the same time, since it last had none.
    most_at_once: u32,
}

impl Desk {
    fn begin(&mut self, role: Role, run: RunId, cancel: Arc<AtomicBool>) {
        if self.runs.is_empty() && matches!(role, Role::Media | Role::Speech | Role::Vision) {
            self.most_at_once = 0;
            // The kernel measures the most memory anew from here on; where it can't, the figure is the larger one of all runs so far.
            let _ = fs::write("/proc/self/clear_refs", "5");
        }
        self.runs.insert(run, cancel);
        self.most_at_once = self.most_at_once.max(self.runs.len() as u32);
    }
}

impl Worker {
    /// Takes orders until the daemon closes the channel or dies.
    fn serve(self: &Arc<Self>) -> io::Result<()> {
        self.report(&Report::Hello { protocol: WORKER_PROTOCOL, role: self.role, lacks: self.lacks.clone() });
        while let Some((order, files)) = self.channel.receive()? {
            match order {
                Order::Assign(assignment) if assignment.more_inputs > 0 => {
                    self.desk().waiting.insert(assignment.run, (*assignment, files));
                }
                Order::Assign(assignment) => self.begin(*assignment, files),
                Order::Inputs { run, inputs } => self.add_inputs(run, inputs, files),
                Order::Cancel(run) => {
                    if self.desk().waiting.remove(&run).is_some() {
                        self.end(run, Outcome::Stopped);
                        continue;
                    }
                    // A run that has just ended is no longer there: its report is on the way.
                    if let Some(cancel) = self.desk().runs.get(&run) {
                        cancel.store(true, Ordering::Relaxed);
                    }
                }
                Order::Leave => {
                    let mut desk = self.desk();
                    desk.leaving = true;
                    leave_if_done(&desk);
                }
            }
        }
        Ok(())
    }

    fn begin(self: &Arc<Self>, assignment: Assignment, files: Vec<OwnedFd>) {
        let run = assignment.run;
        if let Err(failure) = self.check(&assignment, files.len()) {
            return self.report(&Report::Ended { run, outcome: Outcome::Failed(failure) });
        }
        let cancel = Arc::new(AtomicBool::new(false));
        self.desk().begin(self.role, run, Arc::clone(&cancel));
        let worker = Arc::clone(self);
        let body = move || worker.perform(assignment, files, cancel);
        let thread = thread::Builder::new().name(format!("run-{run}")).stack_size(RUN_STACK_BYTES).spawn(body);
        if let Err(e) = thread {
            let failure = Failure::new(FailureKind::Internal, format!("failed to start a thread for the run: {e}"));
            self.end(run, Outcome::Failed(failure));
        }
    }

    /// More of what a waiting run works on; with the last of it, it begins.
    fn add_inputs(self: &Arc<Self>, run: RunId, inputs: Vec<InputFile>, files: Vec<OwnedFd>) {
        let mut desk = self.desk();
        // It may have been cancelled while they were on their way.
        let Some((assignment, known)) = desk.waiting.get_mut(&run) else { return };
        assignment.more_inputs = assignment.more_inputs.saturating_sub(inputs.len() as u32);
        assignment.inputs.extend(inputs);
        known.extend(files);
        if assignment.more_inputs == 0
            && let Some((assignment, files)) = desk.waiting.remove(&run)
        {
            drop(desk);
            self.begin(assignment, files);
        }
    }

    fn check(&self, assignment: &Assignment, files: usize) -> Result<(), Failure> {
        let wanted = assignment.stage.facts().role;
        let message = if wanted != self.role {
            format!("a {} worker was given work for a {} worker", self.role.name(), wanted.name())
        } else if files != assignment.inputs.len() + assignment.named.len() {
            format!("the run has {} inputs and came with {files} open files", assignment.inputs.len())
        } else {
            return Ok(());
        };
        Err(Failure::new(FailureKind::Internal, message))
    }

    /// One run, in its own thread.
    fn perform(self: Arc<Self>, assignment: Assignment, files: Vec<OwnedFd>, cancel: Arc<AtomicBool>) {
        let run = assignment.run;
        let reporter: Reporter = {
            let worker = Arc::clone(&self);
            Arc::new(move |report| worker.report(&report))
        };
        self.narrow(&assignment);
        let context = Context::new(assignment, files, cancel, reporter);
        let outcome = match panic::catch_unwind(AssertUnwindSafe(|| stage::run(&context))) {
            Ok(Ok(mut done)) => {
                done.peak_memory_bytes = peak_memory_bytes().unwrap_or(done.peak_memory_bytes);
                done.memory_bytes = done.peak_memory_bytes / u64::from(self.desk().most_at_once.max(1));
                Outcome::Done(Box::new(done))
            }
            Ok(Err(Halt::Stopped)) => Outcome::Stopped,
            Ok(Err(Halt::Failed(failure))) => {
                if failure.kind == FailureKind::DiskFull {
                    // Whoever waits for room should have what this has filled.
                    empty(context.scratch());
                }
                Outcome::Failed(failure)
            }
            Err(payload) => {
                let name = context.assignment.stage.name();
                let message = format!("{name} gave up in the middle: {}", panic_text(payload.as_ref()));
                Outcome::Failed(Failure::new(FailureKind::Crash, message))
            }
        };
        // Its files are closed before the daemon hears of the end.
        drop(context);
        self.end(run, outcome);
    }

    /// A run that writes where its user wants it goes nowhere else.
    fn narrow(&self, assignment: &Assignment) {
        let Some(places) = self.places.as_ref().filter(|_| self.role == Role::Files) else { return };
        let folder = assignment.output.directory.as_path().to_owned();
        let outputs = if matches!(assignment.stage, Stage::Publish(_)) { vec![folder] } else { Vec::new() };
        told("wall the run in", walls::narrow(places, &outputs));
    }

    fn end(&self, run: RunId, outcome: Outcome) {
        self.report(&Report::Ended { run, outcome });
        let mut desk = self.desk();
        desk.runs.remove(&run);
        leave_if_done(&desk);
    }

    /// A daemon that is gone is noticed where orders are read.
    fn report(&self, report: &Report) {
        if let Err(e) = self.channel.send(report)
            && e.kind() != io::ErrorKind::BrokenPipe
        {
            eprintln!("failed to report: {e}");
        }
    }

    fn desk(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nobody listens any more: ends at once, in the middle of whatever runs, without a library's farewell.
    fn vanish(&self) -> ExitCode {
        let own_group = rustix::process::getpgrp() == rustix::process::getpid();
        if own_group && !self.desk().runs.is_empty() {
            let _ = rustix::process::kill_current_process_group(Signal::KILL);
        }
        ExitCode::SUCCESS
    }
}

/// As a process's first thread has; C libraries are used to that.
const RUN_STACK_BYTES: usize = 8 << 20;

/// The last thing this process does, while it holds the desk: no run can begin.
fn leave_if_done(desk: &Desk) {
    if desk.leaving && desk.runs.is_empty() && desk.waiting.is_empty() {
        process::exit(0);
    }
}

fn panic_text(payload: &(dyn Any + Send)) -> &str {
    payload
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| payload.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("a panic without a message")
}

/// Removes what a run has left in its scratch folder. What can't be removed the daemon removes with the folder.
fn empty(scratch: &Path) {
    for entry in fs::read_dir(scratch).into_iter().flatten().flatten() {
        drop(fs::remove_file(entry.path()));
    }
}

/// Largest resident memory of this process, since it last began to work.
fn peak_memory_bytes() -> Option<u64> {
    let status = fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kibibytes: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    Some(kibibytes * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use spindle_shared::job::PathBytes;
    use spindle_shared::limits::WORKER_MESSAGE_BYTES_MAX;
    use spindle_shared::stage::Stage;
    use spindle_shared::stage::decode::Decode;
    use spindle_shared::stage::identify::Identify;
    use spindle_shared::wire::codec;
    use spindle_shared::worker::InputFile;

    /// A worker served in a thread, and the daemon's end of its channel.
    fn serving(role: Role) -> (OwnedFd, thread::JoinHandle<io::Result<()>>) {
        use rustix::net::{AddressFamily, SocketFlags, SocketType};
        let pair = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
        let (ours, theirs) = pair.unwrap();
        let worker = Arc::new(Worker {
            role,
            places: None,
            lacks: Vec::new(),
            channel: Channel::over(theirs),
            desk: Mutex::new(Desk::default()),
        });
        (ours, thread::spawn(move || worker.serve()))
    }

    fn heard(daemon: &OwnedFd) -> Report {
        let mut buffer = vec![0; WORKER_MESSAGE_BYTES_MAX];
        let (bytes, _) = rustix::net::recv(daemon, &mut buffer[..], rustix::net::RecvFlags::empty()).unwrap();
        codec::decode(&buffer[..bytes], WORKER_MESSAGE_BYTES_MAX).unwrap()
    }

    fn order(daemon: &OwnedFd, order: &Order) {
        rustix::net::send(daemon, &codec::encode(order), rustix::net::SendFlags::NOSIGNAL).unwrap();
    }

    fn assignment(stage: Stage, inputs: usize) -> Assignment {
        let input = InputFile::new(PathBytes(b"talk.mp4".to_vec()), 1);
        Assignment { inputs: vec![input; inputs], ..Assignment::of(RunId { boot: 1, counter: 2 }, stage) }
    }

    #[test]
    fn work_that_does_not_fit_the_process_is_refused_and_the_next_is_taken() {
        let (daemon, serving) = serving(Role::Files);
        let hello = Report::Hello { protocol: WORKER_PROTOCOL, role: Role::Files, lacks: Vec::new() };
        assert_eq!(heard(&daemon), hello);
        for (stage, message) in [
            (Stage::Decode(Decode::default()), "a files worker was given work for a media worker"),
            (Stage::Identify(Identify::default()), "the run has 1 inputs and came with 0 open files"),
        ] {
            // Of a run that it doesn't have.
            order(&daemon, &Order::Cancel(RunId { boot: 9, counter: 9 }));
            order(&daemon, &Order::Assign(Box::new(assignment(stage, 1))));
            match heard(&daemon) {
                Report::Ended { run: RunId { boot: 1, counter: 2 }, outcome: Outcome::Failed(failure) } => {
                    assert_eq!((failure.kind, failure.message.as_str()), (FailureKind::Internal, message));
                }
                other => panic!("{other:?}"),
            }
        }
        drop(daemon);
        assert!(serving.join().unwrap().is_ok(), "a daemon that is gone ends the service");
    }

    #[test]
    fn orders_that_make_no_sense_end_the_service() {
        let (daemon, serving) = serving(Role::Net);
        rustix::net::send(&daemon, &[0xff; 9], rustix::net::SendFlags::NOSIGNAL).unwrap();
        assert_eq!(serving.join().unwrap().unwrap_err().kind(), io::ErrorKind::InvalidData);
    }

    #[test]
    fn a_panics_message_is_found() {
        for (caught, text) in [
            (panic::catch_unwind(|| panic!("a {}", 1)), "a 1"),
            (panic::catch_unwind(|| panic!("plain")), "plain"),
            (panic::catch_unwind(|| panic::panic_any(3)), "a panic without a message"),
        ] {
            assert_eq!(panic_text(caught.unwrap_err().as_ref()), text);
        }
    }

    #[test]
    fn the_peak_is_at_least_what_is_held() {
        let held = vec![1_u8; 8 << 20];
        assert!(peak_memory_bytes().unwrap() >= held.iter().map(|b| u64::from(*b)).sum::<u64>());
    }
}
