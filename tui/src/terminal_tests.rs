//! The terminal is given back, seen from the terminal: this test starts itself anew in a terminal of its own, and panics there.

use std::fs::File;
use std::io::{Read, Write};
use std::process::{Command, ExitStatus};
use std::sync::mpsc;
use std::time::Duration;

use rustix::fs::OFlags;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};

use super::*;
use crate::model::tests::busy;

/// Tells the child that it is one, and what is to happen in it.
const CHILD: &str = "SPINDLETOP_TEST_CHILD";
const PATIENCE: Duration = Duration::from_secs(20);

/// Runs the test of this name again, in a terminal of 80×24: presses `keys` once the dashboard is there; gives all that was written,
/// and how it ended.
fn in_a_terminal(name: &str, happens: &str, keys: &str) -> (String, ExitStatus) {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&master).unwrap();
    unlockpt(&master).unwrap();
    tcsetwinsize(&master, Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let path = ptsname(&master, Vec::new()).unwrap();
    let open = || {
        File::from(rustix::fs::open(path.as_c_str(), OFlags::RDWR | OFlags::NOCTTY, rustix::fs::Mode::empty()).unwrap())
    };
    // Held open, so that the terminal and its modes outlive the child.
    let held = open();
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(CHILD, happens)
        .env("RUST_BACKTRACE", "0")
        .stdin(open())
        .stdout(open())
        .stderr(open())
        .spawn()
        .unwrap();
    let mut reader = File::from(rustix::io::fcntl_dupfd_cloexec(&master, 0).unwrap());
    let (sender, written) = mpsc::channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(count) = reader.read(&mut buffer) {
            if sender.send(String::from_utf8_lossy(&buffer[..count]).into_owned()).is_err() {
                return;
            }
        }
    });
    let mut all = String::new();
    let mut until = |text: &str| {
        while !all.contains(text) {
            let more = written.recv_timeout(PATIENCE);
            all.push_str(&more.unwrap_or_else(|_| panic!("in vain: {text:?}; written was\n{all:?}")));
        }
        all.clone()
    };
    until("Space");
    assert!(!is_plain(&held), "while it is ours, it is raw");
    File::from(master).write_all(keys.as_bytes()).unwrap();
    // The test's own closing line: nothing comes after it.
    let all = until("test result:");
    let status = child.wait().unwrap();
    assert!(is_plain(&held), "lines and their echo are back");
    (all, status)
}

fn is_plain(terminal: &File) -> bool {
    let modes = tcgetattr(terminal).unwrap().local_modes;
    modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG)
}

/// The screen that was there before comes back, with its cursor, and only then something is told.
fn check_order(all: &str, told: &str) {
    let at = |what: &str| all.find(what).unwrap_or_else(|| panic!("{what:?} is missing in\n{all:?}"));
    let (taken, given, cursor, told) = (at("\u{1b}[?1049h"), at("\u{1b}[?1049l"), at("\u{1b}[?25h"), at(told));
    assert!(taken < given && given < told && cursor < told, "{all:?}");
    assert_eq!(all.matches("\u{1b}[?1049l").count(), 1, "{all:?}");
    let drawn_after = all[given..].contains("batches");
    assert!(!drawn_after, "nothing is drawn over what was there before: {all:?}");
}

/// What the program does, with one thing going wrong.
fn dashboard(happens: &str) -> Result<(), String> {
    let mut taken = take(true).unwrap();
    let (sender, messages) = mpsc::sync_channel(64);
    listen(sender.clone()).unwrap();
    let mut model = busy();
    let result = crate::screen::run(&mut taken.terminal, &mut model, &messages, |_| match happens {
        "a panic of the loop" => panic!("injected"),
        _ => spawn("feed", sender.clone(), |_| panic!("injected")).unwrap(),
    });
    taken.give_back().unwrap();
    result.map_err(|error| error.to_string())
}

#[test]
fn a_panic_gives_the_terminal_back() {
    if let Ok(happens) = std::env::var(CHILD) {
        let result = dashboard(&happens);
        panic!("told at the end: {result:?}");
    }
    let name = "terminal::tests::a_panic_gives_the_terminal_back";
    let (all, status) = in_a_terminal(name, "a panic of the loop", "p");
    check_order(&all, "injected");
    assert!(!status.success());
    let (all, _) = in_a_terminal(name, "a panic of another thread", "p");
    check_order(&all, "told at the end: Err(\"a part of spindletop failed: thread feed panicked at");
    assert_eq!(all.matches("injected").count(), 1, "{all:?}");
    let (all, _) = in_a_terminal(name, "nothing", "q");
    check_order(&all, "told at the end: Ok(())");
}

#[test]
fn a_terminals_name_tells_how_it_shows_pictures() {
    assert_eq!(pictures("xterm-kitty", "", false), Some(ProtocolType::Kitty));
    assert_eq!(pictures("xterm-256color", "", true), Some(ProtocolType::Kitty));
    assert_eq!(pictures("xterm-256color", "iTerm.app", false), Some(ProtocolType::Iterm2));
    assert_eq!(pictures("foot", "", false), Some(ProtocolType::Sixel));
    assert_eq!(pictures("xterm-256color", "", false), None);
}
