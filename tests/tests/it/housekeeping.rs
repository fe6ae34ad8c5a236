//! What is too old goes, and nothing else does.

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use spindle_tests::harness::Daemon;

const DAY: Duration = Duration::from_secs(86_400);

fn aged(path: &Path, age: Duration) {
    File::open(path).unwrap().set_modified(SystemTime::now() - age).unwrap();
}

#[test]
fn leftovers_go_by_their_age_and_what_others_have_made_stays() {
    let daemon = Daemon::scripted().start();
    daemon.script("ok");
    daemon.say("submit subtitles --wait ok.wav").expect(0);
    let (artifacts, checkpoints) = (daemon.state().join("artifacts"), daemon.state().join("checkpoints"));
    let before = daemon.files("state/artifacts");
    assert!(!before.is_empty(), "a transcript is kept");

    // As a daemon that died between a run's end and its record would leave it.
    let (old, young) = ("ab".repeat(32), "cd".repeat(32));
    for (name, age) in [(&old, 2 * DAY), (&young, DAY / 2)] {
        let folder = artifacts.join(&name[..2]).join(name);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join("samples.f32"), [0; 5_000]).unwrap();
        aged(&folder, age);
        let piece = checkpoints.join(name);
        fs::write(&piece, [0; 300]).unwrap();
        aged(&piece, age * 20);
    }
    let foreign = artifacts.join("ab").join("notes");
    fs::create_dir_all(&foreign).unwrap();
    fs::write(foreign.join("mine.txt"), "mine").unwrap();
    aged(&foreign, 400 * DAY);

    let told = daemon.json("gc --dry-run");
    let expected = [("dry_run", 1), ("artifacts", 1), ("artifact_bytes", 5_000), ("checkpoints", 1), ("batches", 0)];
    for (field, value) in expected {
        let found = told[field].as_u64().unwrap_or_else(|| u64::from(told[field] == true));
        assert_eq!(found, value, "{field} of {told}");
    }
    assert!(artifacts.join("ab").join(&old).exists() && checkpoints.join(&old).exists(), "only told");
    let done = daemon.json("gc");
    assert_eq!((&done["deleted"], &done["failed"], &done["bytes"]), (&2.into(), &0.into(), &5_300.into()), "{done}");
    assert!(!artifacts.join("ab").join(&old).exists() && !checkpoints.join(&old).exists());
    assert!(artifacts.join("cd").join(&young).exists() && checkpoints.join(&young).exists(), "too young");
    assert!(foreign.join("mine.txt").exists(), "not the daemon's");
    for file in before {
        assert!(daemon.files("state/artifacts").contains(&file), "{file} is known and young");
    }
    assert_eq!(daemon.json("gc")["deleted"], 0);
    assert_eq!(daemon.files("media"), ["ok.srt", "ok.vtt", "ok.wav"], "published files are never touched");
}

/// A leftover as a daemon that died would leave it.
fn leftover(daemon: &Daemon, name: &str, age: Duration) -> PathBuf {
    let folder = daemon.state().join("artifacts").join(&name[..2]).join(name);
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("samples.f32"), [0; 5_000]).unwrap();
    aged(&folder, age);
    folder
}

#[test]
fn a_clock_that_was_set_while_no_daemon_ran_makes_nothing_old() {
    let mut daemon = Daemon::scripted().start();
    daemon.stop();
    // As if the machine's clock had stood forty days back when the daemon ran, and was set since.
    let remembered = daemon.state().join("ages.json");
    let mut ages: Value = serde_json::from_slice(&fs::read(&remembered).unwrap()).unwrap();
    let then = ages["wall_ms"].as_u64().unwrap() - 40 * 86_400_000;
    ages["wall_ms"] = then.into();
    fs::write(&remembered, ages.to_string()).unwrap();
    let made_then = leftover(&daemon, &"ab".repeat(32), 40 * DAY);
    daemon.start();
    let done = daemon.json("gc");
    assert_eq!((&done["scanned"], &done["deleted"], &done["failed"]), (&1.into(), &0.into(), &0.into()), "{done}");
    daemon.stop();
    daemon.start();
    assert_eq!(daemon.json("gc")["deleted"], 0, "it is remembered");
    daemon.stop();
    // Where nothing is known of the clock, dates are taken as they are.
    fs::remove_file(&remembered).unwrap();
    daemon.start();
    assert_eq!(daemon.json("gc")["deleted"], 1);
    assert!(!made_then.exists());
}

/// Keeps everybody, root too, from taking anything out of a folder. Whether that can be done here.
fn locked(folder: &Path, locked: bool) -> bool {
    if rustix::process::geteuid().is_root() {
        let flag = if locked { "+i" } else { "-i" };
        return Command::new("chattr").arg(flag).arg(folder).status().is_ok_and(|status| status.success());
    }
    let mode = if locked { 0o500 } else { 0o700 };
    fs::set_permissions(folder, fs::Permissions::from_mode(mode)).is_ok()
}

#[test]
fn what_can_t_be_removed_is_counted_and_hinders_nothing_else() {
    let daemon = Daemon::scripted().start();
    let (stuck, loose) = (leftover(&daemon, &"ab".repeat(32), 2 * DAY), leftover(&daemon, &"cd".repeat(32), 2 * DAY));
    if !locked(&stuck, true) {
        eprintln!("SKIPPED: no folder can be locked on this file system");
        return;
    }
    let told = daemon.json("gc --dry-run");
    let ran = [daemon.ctl(["--json", "gc"]), daemon.ctl(["--json", "gc"])];
    assert!(locked(&stuck, false));
    let [done, again] = ran.map(|ran| ran.expect(1).json());
    assert_eq!((&told["deleted"], &told["failed"]), (&2.into(), &0.into()), "{told}");
    assert_eq!((&done["scanned"], &done["deleted"], &done["failed"]), (&2.into(), &1.into(), &1.into()), "{done}");
    assert_eq!((&again["deleted"], &again["failed"]), (&0.into(), &1.into()), "{again}");
    assert!(stuck.exists() && !loose.exists());
    assert!(daemon.log().contains("failed to remove an artifact"), "{}", daemon.log());
    assert_eq!(daemon.json("gc")["deleted"], 1);
}

#[test]
fn scratch_of_others_keeps_no_daemon_from_starting_and_stays() {
    let mut daemon = Daemon::scripted().start();
    daemon.stop();
    let scratch = daemon.state().join("scratch");
    fs::write(scratch.join("note.txt"), "mine").unwrap();
    for folder in ["1-1", "mine"] {
        fs::create_dir_all(scratch.join(folder).join("below")).unwrap();
        fs::write(scratch.join(folder).join("file"), "text").unwrap();
    }
    let stuck = scratch.join("1-2");
    fs::create_dir(&stuck).unwrap();
    fs::write(stuck.join("file"), "text").unwrap();
    let was_locked = locked(&stuck, true);
    daemon.start();
    daemon.script("ok");
    daemon.say("submit subtitles --wait ok.wav").expect(0);
    assert!(!was_locked || (stuck.exists() && locked(&stuck, false)));
    assert!(scratch.join("note.txt").exists() && scratch.join("mine/file").exists() && !scratch.join("1-1").exists());
}
