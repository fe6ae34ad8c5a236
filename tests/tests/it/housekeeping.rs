//! What is too old goes, and nothing else does.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

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
