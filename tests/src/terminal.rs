//! A program in a terminal of its own: what a person would see of it, and the keys they press. Knows no program.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use avt::ScreenKind;
use rustix::fs::{Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use crate::harness::{PATIENCE, eventually};

pub struct Terminal {
    child: Child,
    master: File,
    /// The program's end, held open so that the terminal's modes outlive the program.
    held: File,
    written: Receiver<(Instant, String)>,
    screen: avt::Terminal,
}

impl Terminal {
    /// Runs a program in a terminal of this size.
    pub fn start(mut command: Command, columns: u16, rows: u16) -> Terminal {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("there are terminals");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("it is ours");
        let path = ptsname(&master, Vec::new()).expect("it has a name");
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = || File::from(rustix::fs::open(path.as_c_str(), flags, Mode::empty()).expect("it can be opened"));
        let held = open();
        tcsetwinsize(&master, size(columns, rows)).expect("it takes any size");
        command.env("TERM", "xterm-256color").stdin(open()).stdout(open()).stderr(open());
        let child = command.spawn().expect("the program can be started");
        let master = File::from(master);
        let mut reader = master.try_clone().expect("descriptors can be cloned");
        let (sender, written) = mpsc::channel();
        thread::spawn(move || {
            let (mut buffer, mut cut) = ([0; 16 << 10], Vec::new());
            while let Ok(count) = reader.read(&mut buffer) {
                cut.extend_from_slice(&buffer[..count]);
                // A character may come in two pieces.
                let whole = match std::str::from_utf8(&cut) {
                    Ok(_) => cut.len(),
                    Err(error) if error.error_len().is_none() => error.valid_up_to(),
                    Err(_) => cut.len(),
                };
                let text = String::from_utf8_lossy(&cut[..whole]).into_owned();
                cut.drain(..whole);
                if sender.send((Instant::now(), text)).is_err() {
                    return;
                }
            }
        });
        let screen = avt::Terminal::new(usize::from(columns), usize::from(rows)).expect("it has a size");
        Terminal { child, master, held, written, screen }
    }

    /// What stands on the screen, a line each.
    pub fn text(&self) -> String {
        self.screen.screen().visible_lines().map(|line| line.text() + "\n").collect()
    }

    /// The next piece of what is written, which is on the screen then; `None` = nothing came so soon.
    pub fn read(&mut self, wait: Duration) -> Option<String> {
        let (_, text) = self.written.recv_timeout(wait).ok()?;
        self.screen.feed(text.as_str());
        Some(text)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).expect("somebody reads the keys");
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).expect("it runs");
    }

    /// Gives the terminal another size, and tells the program as a terminal does.
    pub fn resize(&mut self, columns: u16, rows: u16) {
        tcsetwinsize(&self.master, size(columns, rows)).expect("it takes any size");
        self.screen.resize(usize::from(columns), usize::from(rows));
        self.signal(Signal::WINCH);
    }

    /// Waits until the screen is so; gives when it became so.
    pub fn until(&mut self, what: &str, fits: impl Fn(&str) -> bool) -> Instant {
        let deadline = Instant::now() + PATIENCE;
        let mut at = Instant::now();
        while !fits(&self.text()) {
            match self.written.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok((when, text)) => {
                    self.screen.feed(text.as_str());
                    at = when;
                }
                Err(RecvTimeoutError::Timeout | RecvTimeoutError::Disconnected) => {
                    panic!("in vain: {what}; on the screen is\n{}", self.text())
                }
            }
        }
        at
    }

    pub fn shows(&mut self, text: &str) -> Instant {
        self.until(text, |screen| screen.contains(text))
    }

    /// Waits for the program's end. The terminal must be as it was before.
    pub fn ended(&mut self) -> ExitStatus {
        let status = eventually("the program ends", || self.child.try_wait().expect("it is our child"));
        let modes = tcgetattr(&self.held).expect("it is a terminal").local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG), "{modes:?}");
        while self.screen.active_screen_kind() != ScreenKind::Primary {
            let (_, text) = self.written.recv_timeout(PATIENCE).expect("the screen from before comes back");
            self.screen.feed(text.as_str());
        }
        status
    }
}

impl Drop for Terminal {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}
