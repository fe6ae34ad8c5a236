//! What is told of the time that work takes: from this machine's own history, which outlives the daemon.

use std::fs;

use serde_json::Value;
use spindle_tests::harness::Daemon;

#[test]
fn what_was_learned_outlives_the_daemon() {
    let mut daemon = Daemon::real().start();
    for name in ["a.wav", "b.wav", "c.wav", "d.wav"] {
        daemon.sound(name, 4.0);
    }
    let before = daemon.json("submit subtitles --dry-run a.wav");
    // By the table: nothing was ever transcribed here.
    assert_eq!((&before["estimated_seconds"], &before["estimated_bytes"]), (&Value::from(60.0), &Value::Null));
    daemon.say("submit subtitles --wait a.wav b.wav c.wav").expect(0);
    daemon.kill();
    daemon.start();
    let after = daemon.json("submit subtitles --dry-run d.wav");
    let seconds = after["estimated_seconds"].as_f64().unwrap();
    assert!((0.001..45.0).contains(&seconds), "{after}");
    // 4 s of sound, as samples of two bytes, 16,000 a second.
    let bytes = after["estimated_bytes"].as_f64().unwrap();
    assert!((bytes / 128_000.0 - 1.0).abs() < 0.1, "{after}");
    assert_eq!(after["jobs"][0]["estimated_seconds"], after["estimated_seconds"]);
    let submitted = daemon.json("submit subtitles d.wav");
    assert_eq!(submitted["estimated_seconds"], after["estimated_seconds"]);
    daemon.say("wait 2").expect(0);
}

#[test]
fn the_house_and_a_batch_tell_what_is_left_and_what_was_done() {
    let daemon = Daemon::scripted().set("lanes.cpu", 1).start();
    daemon.scripts(4, "ok");
    let script = daemon.script("slow-60000@transcribe");
    // As long as five minutes of sound, so that the scripted decoder finds a length.
    fs::write(&script, vec![0; 9_600_000]).unwrap();
    let idle = daemon.json("status");
    assert_eq!((&idle["eta_seconds"], &idle["jobs_done"]), (&Value::Null, &Value::from(0)));
    let id = daemon.submit(["ok001.wav", "ok002.wav", "ok003.wav", "ok004.wav", "slow-60000@transcribe.wav"]);
    let mut watcher = daemon.watch(&[id]);
    // Four runs have ended: enough to tell.
    let eta = watcher.until("an estimate", |snapshot| snapshot.batches.get(&id)?.eta);
    assert!(0.0 <= eta.low && eta.low <= eta.seconds && eta.seconds <= eta.high, "{eta:?}");
    let batch = daemon.json("status 1");
    for (low, high) in [("eta_low_seconds", "eta_seconds"), ("eta_seconds", "eta_high_seconds")]
        .map(|(low, high)| (&batch[low], &batch[high]))
    {
        assert!(low.as_f64().unwrap() <= high.as_f64().unwrap(), "{batch}");
    }
    let house = daemon.json("status");
    assert!(house["eta_seconds"].as_f64().unwrap() > 0.0 && house["jobs_done"].as_u64().unwrap() >= 3, "{house}");
    daemon.say("pause 1").expect(0);
    assert_eq!(daemon.json("status 1")["eta_seconds"], Value::Null);
    assert_eq!(daemon.json("status")["eta_seconds"], Value::Null);
    daemon.say("cancel 1").expect(0);
}
