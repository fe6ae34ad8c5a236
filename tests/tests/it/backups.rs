//! The queue is copied while the daemon works, and a daemon that starts from the copy goes on with it.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use spindle_shared::job::JobState;
use spindle_tests::harness::Daemon;

#[test]
fn a_daemon_that_starts_from_a_backup_goes_on_with_its_batches() {
    let mut daemon = Daemon::scripted().set("lanes.cpu", 2).start();
    for number in 1..=30 {
        daemon.script(&format!("slow-20-x{number}@transcribe"));
    }
    let id = daemon.submit(["--name", "kept", "-r", ".", "-o", "out", "-j", "4"]);
    daemon.watch(&[id]).until("some are done", |seen| (seen.batches[&id].counts.completed >= 5).then_some(()));

    let told = daemon.json("backup ../copy.redb");
    let copy = daemon.root().join("copy.redb");
    assert_eq!((told["path"].as_str(), &told["batches"], &told["jobs"]), (copy.to_str(), &1.into(), &30.into()));
    let meta = fs::metadata(&copy).unwrap();
    assert_eq!((meta.len(), meta.permissions().mode() & 0o777), (told["bytes"].as_u64().unwrap(), 0o600));
    let refused = daemon.say("backup ../copy.redb").expect(2);
    assert!(refused.err.contains("is there already"), "{refused:?}");
    daemon.say("backup nowhere/copy.redb").expect(2);
    assert_eq!(fs::metadata(&copy).unwrap().len(), meta.len());
    daemon.submit(["--name", "later", "slow-20-x1@transcribe.wav", "-o", "later"]);
    daemon.kill();

    fs::remove_dir_all(daemon.state()).unwrap();
    fs::create_dir(daemon.state()).unwrap();
    fs::copy(&copy, daemon.state().join("queue.redb")).unwrap();
    daemon.start();
    daemon.say("wait 1").expect(0);
    assert_eq!(daemon.json("list").as_array().unwrap().len(), 1, "what came after the copy is not in it");
    assert_eq!(daemon.batch(id).name.as_deref(), Some("kept"));
    let jobs = daemon.jobs(id);
    assert!(jobs.len() == 30 && jobs.iter().all(|job| job.state == JobState::Completed), "{jobs:#?}");
    assert_eq!(daemon.files("media/out").len(), 60, "each output once, also those that were published after the copy");
}
