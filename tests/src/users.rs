//! Several users of this machine and one daemon: programs run as them, and threads that talk as them. For root alone; whoever isn't is told so.

use std::ffi::OsStr;
use std::fs::{self, Permissions};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::thread;

use rustix::process::{Gid, Uid};

use crate::harness::{Daemon, Ran, Setup, program};

/// Two who are in no database of this machine, so that nobody else is.
pub const ANN: u32 = 60_001;
pub const BOB: u32 = 60_002;
/// User and group `daemon` of every Debian: here the administrators' group and who is in it.
pub const ADMIN: u32 = 1;
pub const ADMIN_GROUP: &str = "daemon";
pub const ROOT: u32 = 0;

/// Whether this process may become others; says loudly where it may not.
pub fn may_become_others(test: &str) -> bool {
    let root = rustix::process::geteuid().is_root();
    if !root {
        eprintln!("SKIPPED: {test} needs root, to be several users");
    }
    root
}

/// A daemon that all users of this machine may talk to.
pub fn service(setup: Setup) -> Service {
    let setup = setup.env("SPINDLE_DAEMON__SOCKET_MODE", "0666").env("SPINDLE_DAEMON__ADMIN_GROUP", ADMIN_GROUP);
    let mut daemon = setup.stopped();
    // What is in them is closed; they only have to be passed.
    for folder in ["", "run", "media"] {
        mode(&daemon.root().join(folder), 0o711);
    }
    let programs = daemon.root().join("bin");
    fs::create_dir(&programs).expect("the folder is new and ours");
    mode(&programs, 0o755);
    let (built, here) = (program("spindlectl"), programs.join("spindlectl"));
    // The build may lie where others can't come.
    fs::hard_link(&built, &here).or_else(|_| fs::copy(&built, &here).map(drop)).expect("the program can be copied");
    mode(&here, 0o755);
    daemon.start();
    let service = Service { daemon };
    for user in [ANN, BOB, ADMIN, ROOT] {
        let home = service.home(user);
        fs::create_dir(&home).expect("the folder is new and ours");
        chown(&home, Some(user), Some(user)).expect("root may");
        mode(&home, 0o700);
    }
    service
}

fn mode(path: &Path, mode: u32) {
    fs::set_permissions(path, Permissions::from_mode(mode)).expect("it is ours");
}

pub struct Service {
    pub daemon: Daemon,
}

impl Service {
    /// A folder of the user's alone.
    pub fn home(&self, user: u32) -> PathBuf {
        self.daemon.media().join(user.to_string())
    }

    /// A file of the user's alone.
    pub fn file(&self, user: u32, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.home(user).join(name);
        fs::write(&path, bytes).expect("root may");
        chown(&path, Some(user), Some(user)).expect("root may");
        mode(&path, 0o600);
        path
    }

    /// Runs spindlectl as this user, in the user's folder.
    pub fn ctl<S: AsRef<OsStr>>(&self, user: u32, arguments: impl IntoIterator<Item = S>) -> Ran {
        let mut command = self.daemon.command_at(&self.daemon.root().join("bin/spindlectl"));
        command.uid(user).gid(user).current_dir(self.home(user)).env("HOME", self.home(user)).args(arguments);
        Ran::of(command)
    }

    pub fn say(&self, user: u32, line: &str) -> Ran {
        self.ctl(user, line.split_whitespace())
    }

    /// Submits for subtitles as this user; the batch's number.
    pub fn submit(&self, user: u32, line: &str) -> u64 {
        let ran = self.say(user, &format!("-q submit subtitles {line}")).expect(0);
        ran.out.trim().parse().unwrap_or_else(|_| panic!("no batch number: {ran:?}"))
    }
}

/// Does something in a thread that is this user: what it opens and whom it talks to sees that one.
pub fn as_user<T: Send + 'static>(user: u32, work: impl FnOnce() -> T + Send + 'static) -> T {
    let become_and_work = move || {
        let (uid, gid) = (Uid::from_raw(user), Gid::from_raw(user));
        // The calling thread alone; the others stay root.
        rustix::thread::set_thread_groups(&[]).expect("root may");
        rustix::thread::set_thread_res_gid(gid, gid, gid).expect("root may");
        rustix::thread::set_thread_res_uid(uid, uid, uid).expect("root may");
        work()
    };
    match thread::spawn(become_and_work).join() {
        Ok(done) => done,
        Err(panic) => std::panic::resume_unwind(panic),
    }
}
