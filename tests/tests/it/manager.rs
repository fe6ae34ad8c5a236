//! A service manager hears when the daemon is ready, how things stand, that it still answers, and that it stops.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use nix::sys::ptrace;
use nix::sys::wait::{WaitPidFlag, waitpid};
use nix::unistd::Pid;
use spindle_tests::harness::{Daemon, PATIENCE};

/// A manager's end of the line.
struct Manager {
    socket: UnixDatagram,
    heard: Vec<String>,
}

impl Manager {
    /// Reads on until it has heard this.
    fn hears(&mut self, what: &str) {
        let until = Instant::now() + Duration::from_secs(30);
        let mut buffer = [0; 4_096];
        while !self.heard.iter().any(|line| line.contains(what)) {
            assert!(Instant::now() < until, "never heard {what:?}, but {:?}", self.heard);
            if let Ok(length) = self.socket.recv(&mut buffer) {
                self.heard.extend(String::from_utf8_lossy(&buffer[..length]).lines().map(str::to_owned));
            }
        }
    }

    fn forget(&mut self) {
        self.heard.clear();
    }
}

#[test]
fn a_manager_hears_how_things_stand_until_the_end() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(Duration::from_secs(1))).unwrap();
    let mut manager = Manager { socket, heard: Vec::new() };
    let setup = Daemon::scripted().env("NOTIFY_SOCKET", path.to_str().unwrap()).env("WATCHDOG_USEC", "300000");
    let mut daemon = setup.start();
    manager.hears("READY=1");
    assert_eq!(manager.heard.first().map(String::as_str), Some("READY=1"), "nothing comes before");
    manager.hears("STATUS=nothing to do");

    daemon.script("hang@transcribe");
    daemon.say("submit subtitles hang@transcribe.wav").expect(0);
    daemon.begun("hang@transcribe");
    manager.hears("STATUS=1 batch open: 1 running, 0 waiting, 0 failed");
    daemon.say("pause").expect(0);
    manager.hears("; paused");
    for _ in 0..3 {
        manager.forget();
        manager.hears("WATCHDOG=1");
    }
    manager.forget();
    assert!(daemon.stop().success());
    manager.hears("STOPPING=1");
    let after = manager.heard.iter().skip_while(|line| *line != "STOPPING=1");
    assert!(!after.clone().any(|line| line == "READY=1"), "{:?}", manager.heard);
}

#[test]
fn a_conductor_that_hangs_gets_no_more_time_from_the_watchdog() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let socket = UnixDatagram::bind(&path).unwrap();
    socket.set_read_timeout(Some(SILENCE)).unwrap();
    let mut manager = Manager { socket, heard: Vec::new() };
    let setup = Daemon::scripted().env("NOTIFY_SOCKET", path.to_str().unwrap()).env("WATCHDOG_USEC", "300000");
    let daemon = setup.start();
    manager.hears("WATCHDOG=1");
    let Some(conductor) = thread_of(daemon.pid().as_raw_nonzero().get(), "conductor") else {
        panic!("the conductor has no thread of its name");
    };
    // Only this thread stops; the others go on and could say that all is well.
    if let Err(error) = ptrace::seize(conductor, ptrace::Options::empty()) {
        eprintln!("SKIPPED: a conductor that hangs: this machine lets nobody be traced: {error}");
        return;
    }
    ptrace::interrupt(conductor).unwrap();
    waitpid(conductor, Some(WaitPidFlag::__WALL)).unwrap();
    let until = Instant::now() + PATIENCE;
    let mut buffer = [0; 4_096];
    // What was answered before is still on its way.
    while manager.socket.recv(&mut buffer).is_ok() {
        assert!(Instant::now() < until, "it is said to be alive though it hangs");
    }
    daemon.say("health").expect(1);
    assert!(manager.socket.recv(&mut buffer).is_err(), "others' questions are no sign of life");
    manager.forget();
    ptrace::detach(conductor, None).unwrap();
    manager.hears("WATCHDOG=1");
}

/// Ten pings that should have come.
const SILENCE: Duration = Duration::from_secs(1);

fn thread_of(process: i32, name: &str) -> Option<Pid> {
    let threads = std::fs::read_dir(format!("/proc/{process}/task")).ok()?.flatten();
    let mut named = threads
        .filter(|thread| std::fs::read_to_string(thread.path().join("comm")).is_ok_and(|comm| comm.trim() == name));
    named.next()?.file_name().to_str()?.parse().ok().map(Pid::from_raw)
}
