//! A service manager hears when the daemon is ready, how things stand, that it still answers, and that it stops.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use spindle_tests::harness::Daemon;

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
