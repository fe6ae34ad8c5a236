//! The one thread that starts processes. It outlives them all: the kernel kills a worker when the thread that started it ends.

use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::mem::ManuallyDrop;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::sync::mpsc;
use std::thread::{self, JoinHandle};

use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags};
use rustix::net::{AddressFamily, SocketFlags, SocketType};
use rustix::process::{Pid, PidfdFlags, Resource, Rlimit, Signal};
use spindle_shared::lane::Role;
use spindle_shared::object_store::names_a_key;
use spindle_shared::worker::WORKER_FD;

use super::lock;

/// The worker program of this installation: `$SPINDLE_WORKER`, else `spindle-worker` beside the daemon itself.
pub fn worker_program() -> io::Result<PathBuf> {
    match std::env::var_os("SPINDLE_WORKER") {
        Some(path) if !path.is_empty() => Ok(PathBuf::from(path)),
        _ => Ok(std::env::current_exe()?.with_file_name("spindle-worker")),
    }
}

/// A process just started.
pub struct Process {
    pub child: Child,
    pub pid: Pid,
    /// Readable once the process has ended.
    pub pidfd: OwnedFd,
    /// Our end of its channel.
    pub socket: OwnedFd,
    pub stderr: ChildStderr,
}

/// The worker program, and its build for graphics cards. Each was opened once, so an upgrade on disk mixes no builds.
pub struct Programs {
    pub usual: OwnedFd,
    pub gpu: Option<OwnedFd>,
}

pub struct SpawnRequest {
    pub role: Role,
    /// The graphics card that it works on.
    pub device: Option<u8>,
    /// In bytes.
    pub memory_limit: u64,
    /// Variables of the daemon's environment that it must not see.
    pub without: Vec<String>,
    /// What it is told of the walls to put up around itself, as its command line says it.
    pub walls: Vec<OsString>,
    pub reply: mpsc::Sender<io::Result<Process>>,
}

/// Number of the lock's descriptor in the worker.
const LOCK_FD: RawFd = WORKER_FD + 1;
/// No number from here on is promised to a worker.
const OUT_OF_THE_WAY: RawFd = 10;

/// Starts the thread; it ends when the sender is dropped.
pub fn start(programs: Programs, lock_file: PathBuf) -> io::Result<(mpsc::Sender<SpawnRequest>, JoinHandle<()>)> {
    keep_to_ourselves()?;
    let (sender, requests) = mpsc::channel::<SpawnRequest>();
    let handle = thread::Builder::new().name("worker-spawner".to_owned()).spawn(move || {
        let mut reserved = Vec::new();
        for request in requests {
            let started = spawn(&programs, &lock_file, &request, &mut reserved);
            // Whoever asked has given up: nobody would ever feed or reap this process.
            if let Err(mpsc::SendError(Ok(mut process))) = request.reply.send(started) {
                kill_and_reap(&mut process.child, process.pid);
            }
        }
    })?;
    Ok((sender, handle))
}

/// The program as a descriptor that can only be executed, out of the way of those that a worker gets.
pub fn open_program(path: &Path) -> io::Result<OwnedFd> {
    let program = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    Ok(rustix::io::fcntl_dupfd_cloexec(program, OUT_OF_THE_WAY)?)
}

/// Descriptors that the daemon was itself started with go no further; all that it opens close at exec anyway.
fn keep_to_ourselves() -> io::Result<()> {
    for entry in std::fs::read_dir("/proc/self/fd")? {
        let Some(number) = entry?.file_name().to_str().and_then(|name| name.parse::<RawFd>().ok()) else { continue };
        if number > 2 {
            // SAFETY: only a flag is set. Where the number is closed meanwhile, or another's, nothing comes of it: there
            // all descriptors have the flag.
            let _ = rustix::io::fcntl_setfd(unsafe { BorrowedFd::borrow_raw(number) }, FdFlags::CLOEXEC);
        }
    }
    Ok(())
}

/// Kills and reaps a process that nobody has got to know.
pub fn kill_and_reap(child: &mut Child, pid: Pid) {
    // Not reaped yet, so the number is still its own.
    let _ = rustix::process::kill_process_group(pid, Signal::KILL);
    let _ = child.wait();
}

fn spawn(
    programs: &Programs,
    lock_file: &Path,
    request: &SpawnRequest,
    reserved: &mut Vec<OwnedFd>,
) -> io::Result<Process> {
    let mut tries = 0;
    loop {
        tries += 1;
        match spawn_once(programs, lock_file, request, reserved) {
            // Another thread has closed the descriptor we stood on; see `Standing`.
            Err(e) if Errno::from_io_error(&e) == Some(Errno::AGAIN) && tries < 5 => {}
            result => return result,
        }
    }
}

fn spawn_once(
    programs: &Programs,
    lock_file: &Path,
    request: &SpawnRequest,
    reserved: &mut Vec<OwnedFd>,
) -> io::Result<Process> {
    let memory_limit = request.memory_limit;
    let program = match request.device {
        None => &programs.usual,
        Some(_) => programs.gpu.as_ref().ok_or_else(|| io::Error::other("there is no program for graphics cards"))?,
    };
    let standing = Standing::take(reserved)?;
    let lock: File = lock::shared(lock_file)?;
    let (ours, theirs) =
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let (socket_fd, lock_fd) = (theirs.as_raw_fd(), lock.as_raw_fd());
    let parent = rustix::process::getpid();

    let mut command = Command::new(format!("/proc/self/fd/{}", program.as_raw_fd()));
    command.arg0("spindle-worker").arg("--role").arg(request.role.name());
    if let Some(device) = request.device {
        command.arg("--device").arg(device.to_string());
    }
    command.args(&request.walls);
    command.current_dir("/").process_group(0);
    // The daemon alone speaks for the service.
    for own in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
        command.env_remove(own);
    }
    // A thread of ggml that waits for another sleeps. Spinning, two of them on busy cores took fifty times as long.
    command.env("OMP_WAIT_POLICY", "passive");
    for variable in &request.without {
        command.env_remove(variable);
    }
    // Keys, and where they lie, are for whoever uses them; a decoder with its inputs from anywhere has no use for any.
    if request.role != Role::Net {
        command.env_remove("CREDENTIALS_DIRECTORY");
        for (name, _) in std::env::vars_os().filter(|(name, _)| names_a_key(&name.to_string_lossy())) {
            command.env_remove(name);
        }
    }
    // Reading text, several pages at once: more threads a page only wait for each other.
    if request.role != Role::Speech {
        command.env("OMP_THREAD_LIMIT", "1");
    }
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    // SAFETY: between fork and exec only system calls are made: no allocation, no lock.
    unsafe {
        command.pre_exec(move || {
            standing.still_there()?;
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
            if rustix::process::getppid() != Some(parent) {
                // The daemon died before the signal was asked for.
                return Err(Errno::SRCH.into());
            }
            no_core_files();
            limit_memory(memory_limit);
            hand_over(socket_fd, lock_fd)?;
            Ok(())
        });
    }
    let mut child = command.spawn()?;
    let pid = Pid::from_child(&child);
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty());
    match (pidfd, child.stderr.take()) {
        (Ok(pidfd), Some(stderr)) => Ok(Process { child, pid, pidfd, socket: ours, stderr }),
        (pidfd, _) => {
            kill_and_reap(&mut child, pid);
            Err(pidfd.err().map_or_else(|| io::Error::other("the worker has no standard error"), io::Error::from))
        }
    }
}

/// Limit 1, not 0: where cores go to a program, the kernel asks only for 1 whether to dump at all.
fn no_core_files() {
    let limit = rustix::process::getrlimit(Resource::Core);
    let least = limit.maximum.map_or(1, |hard| hard.min(1));
    // A worker with core files is better than none.
    let _ = rustix::process::setrlimit(Resource::Core, Rlimit { current: Some(least), maximum: Some(least) });
}

/// Of what the process has for itself alone; the system's own limit may be lower.
fn limit_memory(bytes: u64) {
    let maximum = rustix::process::getrlimit(Resource::Data).maximum;
    let least = Some(maximum.map_or(bytes, |hard| hard.min(bytes)));
    // A worker that is only watched is better than none.
    let _ = rustix::process::setrlimit(Resource::Data, Rlimit { current: least, maximum: least });
}

/// In the child: the socket becomes descriptor 3, the lock 4, both open across exec; the others close by themselves.
fn hand_over(socket_fd: RawFd, lock_fd: RawFd) -> io::Result<()> {
    // SAFETY: both were open when the process forked, and this is its only thread.
    let (socket, lock) = unsafe { (BorrowedFd::borrow_raw(socket_fd), BorrowedFd::borrow_raw(lock_fd)) };
    let socket = rustix::io::fcntl_dupfd_cloexec(socket, OUT_OF_THE_WAY)?;
    let lock = rustix::io::fcntl_dupfd_cloexec(lock, OUT_OF_THE_WAY)?;
    for (from, to) in [(&socket, WORKER_FD), (&lock, LOCK_FD)] {
        // SAFETY: the number is not owned here: it is never closed through this value.
        let mut target = ManuallyDrop::new(unsafe { OwnedFd::from_raw_fd(to) });
        rustix::io::dup2(from, &mut target)?;
    }
    Ok(())
}

/// What stands at descriptors 3 and 4 of the daemon while it forks.
///
/// The child puts its own things there. Were one of the numbers free, the pipe through which the child tells a failed exec
/// could get it and be overwritten; so they are kept taken, and the child checks that nothing new has come to them.
#[derive(Clone, Copy)]
struct Standing([(u64, u64); 2]);

impl Standing {
    fn take(reserved: &mut Vec<OwnedFd>) -> io::Result<Self> {
        loop {
            let filler = rustix::fs::open("/dev/null", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
            if filler.as_raw_fd() > LOCK_FD {
                break;
            }
            reserved.push(filler);
        }
        Standing::now().map_err(|_| Errno::AGAIN.into())
    }

    fn now() -> Result<Self, Errno> {
        Ok(Standing([identity(WORKER_FD)?, identity(LOCK_FD)?]))
    }

    fn still_there(self) -> io::Result<()> {
        if Standing::now()?.0 == self.0 { Ok(()) } else { Err(Errno::AGAIN.into()) }
    }
}

fn identity(fd: RawFd) -> Result<(u64, u64), Errno> {
    // SAFETY: fstat of a number that is open or not; nothing is kept of it.
    let stat = rustix::fs::fstat(unsafe { BorrowedFd::borrow_raw(fd) })?;
    Ok((stat.st_dev, stat.st_ino))
}
