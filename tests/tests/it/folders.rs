//! Watched folders: what is dropped there is submitted once, when it has stopped growing, over restarts, too.

use std::fs;
use std::io::Write;

use spindle_tests::harness::{Daemon, eventually};

fn taken(daemon: &Daemon, count: u64) {
    eventually(&format!("{count} files are taken"), || (daemon.json("folder list")[0]["taken"] == count).then_some(()));
}

fn quick() -> Daemon {
    let daemon = Daemon::scripted().set("folders.stable_seconds", 1).set("folders.rescan_seconds", 1).start();
    fs::create_dir(daemon.media().join("inbox")).unwrap();
    daemon
}

#[test]
fn what_is_dropped_is_submitted_once_and_outputs_are_no_inputs() {
    let mut daemon = quick();
    let inbox = daemon.media().join("inbox");
    daemon.say("folder add inbox subtitles --wait").expect(2).says(&["--wait"]);
    daemon.say("folder add nowhere subtitles").expect(2);
    daemon.say("folder add inbox subtitles --tag from=inbox").expect(0);
    daemon.say("folder add inbox subtitles").expect(2).says(&["watched already"]);
    fs::write(inbox.join("ok.wav"), "one").unwrap();
    fs::write(inbox.join("notes.txt"), "no recording").unwrap();
    fs::write(inbox.join(".hidden.wav"), "hidden").unwrap();
    taken(&daemon, 1);
    let batches = daemon.json("list");
    assert_eq!((batches.as_array().unwrap().len(), &batches[0]["total"]), (1, &1.into()), "{batches}");
    assert_eq!(
        (&batches[0]["tags"]["folder"], &batches[0]["tags"]["from"]),
        (&"1".into(), &"inbox".into()),
        "{batches}"
    );
    daemon.ended_batch(spindle_shared::id::BatchId(1));
    assert!(inbox.join("ok.srt").is_file());

    // Over a kill: nothing again, and what came meanwhile.
    daemon.kill();
    fs::write(inbox.join("ok2.wav"), "two").unwrap();
    daemon.start();
    taken(&daemon, 2);
    assert_eq!(daemon.json("list").as_array().unwrap().len(), 2);

    // The same name with other content is another recording.
    fs::write(inbox.join("ok.wav"), "three, and longer").unwrap();
    eventually("a third batch", || (daemon.json("list").as_array().unwrap().len() == 3).then_some(()));

    daemon.say("folder remove 1").expect(0);
    assert_eq!(daemon.json("folder list"), serde_json::json!([]));
    daemon.say("folder remove 1").expect(7);
}

#[test]
fn a_file_that_grows_is_left_alone_and_a_folder_that_is_gone_is_told_and_taken_up_again() {
    let daemon = quick();
    let inbox = daemon.media().join("inbox");
    daemon.say("folder add inbox subtitles").expect(0);
    let mut file = fs::File::create(inbox.join("ok.wav")).unwrap();
    for round in 0..3_u8 {
        // It is seen, and it grows before it has been still for long enough; should the machine be so slow that it is taken, it is taken whole once more.
        file.write_all(&[round; 100]).unwrap();
        file.sync_all().unwrap();
    }
    taken(&daemon, 1);
    // Whoever still works there makes the folder of its outputs where it is missing.
    eventually("nobody works there", || {
        daemon.json("list").as_array().unwrap().iter().all(|batch| batch["state"] == "completed").then_some(())
    });
    let moved = daemon.media().join("elsewhere");
    fs::rename(&inbox, &moved).unwrap();
    eventually("it is told", || (daemon.json("folder list")[0]["state"] == "unwell").then_some(()));
    let health = daemon.say("health").expect(1);
    assert!(health.out.contains("folder 1"), "{health:?}");
    fs::rename(&moved, &inbox).unwrap();
    fs::write(inbox.join("ok2.wav"), "two").unwrap();
    taken(&daemon, 2);
    daemon.say("health").expect(0);
}

#[test]
fn more_than_a_submission_may_have_goes_in_several_and_what_was_refused_is_forgotten_with_its_files() {
    let limited = Daemon::scripted().set("folders.stable_seconds", 1).set("folders.rescan_seconds", 1);
    let daemon = limited.set("limits.max_inputs", 2).set("limits.user_jobs", 3).start();
    let inbox = daemon.media().join("inbox");
    fs::create_dir(&inbox).unwrap();
    for name in ["1", "2", "3"] {
        fs::write(inbox.join(format!("ok{name}.wav")), name).unwrap();
    }
    // It will never be anything; nothing waits for it.
    fs::write(inbox.join("empty.wav"), "").unwrap();
    daemon.say("folder add inbox subtitles").expect(0);
    taken(&daemon, 3);
    let totals: u64 =
        daemon.json("list").as_array().unwrap().iter().map(|batch| batch["total"].as_u64().unwrap()).sum();
    assert_eq!((totals, daemon.json("list").as_array().unwrap().len()), (3, 2));

    // As many as that may never be open.
    daemon.say("pause").expect(0);
    for name in ["4", "5", "6", "7"] {
        fs::write(inbox.join(format!("ok{name}.wav")), name).unwrap();
    }
    let trouble = || daemon.json("folder list")[0]["trouble"].as_str().map(str::to_owned);
    assert!(eventually("the folder is unwell", &trouble).contains("user_jobs"), "{:?}", trouble());
    let left = daemon.json("folder list")[0]["taken"].as_u64().unwrap();
    for name in ["4", "5", "6", "7"] {
        fs::remove_file(inbox.join(format!("ok{name}.wav"))).unwrap();
    }
    eventually("the folder is well again", || trouble().is_none().then_some(()));
    assert_eq!(daemon.json("folder list")[0]["taken"], left);
}
