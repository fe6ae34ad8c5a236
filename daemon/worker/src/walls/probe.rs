//! Tries the walls from within: what a worker of a role that has been taken over would try first. It never knows a stage.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::net::{AddressFamily, SocketType};
use serde::Serialize;
use spindle_shared::lane::Role;

use super::Places;

/// One thing that was tried.
#[derive(Debug, Serialize)]
pub struct Attempt {
    pub what: &'static str,
    /// Whether the role should be able to.
    pub allowed: bool,
    /// What came of it: `None` = it was done.
    pub refused: Option<String>,
}

impl Attempt {
    pub fn is_right(&self) -> bool {
        self.allowed == self.refused.is_none()
    }
}

/// Tries everything, behind walls that are up already. `outside`: a folder that is not the house's, with a file `theirs` in it.
pub fn attempts(role: Role, places: &Places, outside: &Path) -> Vec<Attempt> {
    let models = matches!(role, Role::Speech | Role::Vision | Role::Net);
    let mut tried = Vec::new();
    let mut attempt = |what, allowed, done: io::Result<()>| {
        tried.push(Attempt { what, allowed, refused: done.err().map(|e| e.to_string()) });
    };
    attempt("read a library", true, read(Path::new("/proc/self/exe")));
    attempt("write into scratch", true, write(&places.state.join("scratch")));
    attempt("write a checkpoint", true, write(&places.state.join("checkpoints")));
    attempt("read the models", models, fs::read_dir(&places.models).map(drop));
    attempt("write among the models", role == Role::Net, write(&places.models));
    attempt("read /etc/shadow", false, read(Path::new("/etc/shadow")));
    attempt("read /etc/passwd", false, read(Path::new("/etc/passwd")));
    attempt("read another's file", false, read(&outside.join("theirs")));
    attempt("write outside its folders", false, write(outside));
    attempt("replace another's file", false, fs::rename(outside.join("theirs"), outside.join("mine")));
    attempt("list the queue's folder", false, fs::read_dir(&places.state).map(drop));
    attempt("start a program", false, Command::new("/bin/true").status().map(drop));
    attempt("open a socket", role == Role::Net, socket(AddressFamily::INET));
    attempt("reach a process by its name", role == Role::Net, socket(AddressFamily::UNIX));
    attempt("read raw packets", false, socket(AddressFamily::PACKET));
    attempt("trace its parent", false, trace());
    attempt("signal its parent", false, signal());
    attempt("read its parent's memory", false, parent("mem").and_then(|path| read(&path)));
    attempt("read its parent's environment", false, parent("environ").and_then(|path| read(&path)));
    attempt("make a world of its own", false, unshare());
    tried
}

fn read(path: &Path) -> io::Result<()> {
    File::open(path).map(drop)
}

fn write(folder: &Path) -> io::Result<()> {
    let path = folder.join(format!(".spindle-probe-{}", std::process::id()));
    File::create(&path)?;
    fs::remove_file(path)
}

fn socket(family: AddressFamily) -> io::Result<()> {
    Ok(rustix::net::socket(family, SocketType::DGRAM, None).map(drop)?)
}

fn parent(file: &str) -> io::Result<PathBuf> {
    let parent = rustix::process::getppid().ok_or(io::ErrorKind::NotFound)?;
    Ok(PathBuf::from(format!("/proc/{}/{file}", parent.as_raw_nonzero())))
}

fn errno(result: libc::c_long) -> io::Result<()> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

fn trace() -> io::Result<()> {
    let parent = rustix::process::getppid().map_or(1, |pid| pid.as_raw_nonzero().get());
    // SAFETY: PTRACE_SEIZE takes no pointer; where it worked, the end of this process lets go.
    errno(unsafe { libc::syscall(libc::SYS_ptrace, libc::PTRACE_SEIZE, parent, 0, 0) })
}

fn signal() -> io::Result<()> {
    let parent = rustix::process::getppid().ok_or(io::ErrorKind::NotFound)?;
    Ok(rustix::process::test_kill_process(parent)?)
}

fn unshare() -> io::Result<()> {
    // SAFETY: takes no pointer; of this process alone, which ends here.
    errno(unsafe { libc::syscall(libc::SYS_unshare, libc::CLONE_NEWUSER) })
}
