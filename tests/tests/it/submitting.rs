//! What is refused before a batch exists, and what submitting promises.

use std::fs;

use serde_json::Value;
use spindle_tests::harness::Daemon;

#[test]
fn a_missing_input_is_refused_with_its_name() {
    let daemon = Daemon::scripted().start();
    daemon.script("ok");
    let ran = daemon.say("submit subtitles ok.wav nowhere.wav").expect(2);
    ran.says(&["error: ", "nowhere.wav", "no such file"]);
    assert_eq!(daemon.json("list"), Value::Array(vec![]));
}

#[test]
fn mistakes_of_usage_exit_with_2() {
    let daemon = Daemon::scripted().start();
    daemon.script("ok");
    for line in [
        "submit subtitles",
        "submit subtitles ok.wav --no-such-option",
        "submit subtitles ok.wav --language klingon",
        "submit subtitles ok.wav --format doc",
        "submit subtitles ok.wav -p 101",
        "submit subtitles ok.wav -j 0",
        "submit subtitles ok.wav --tag nokey",
        "submit subtitles ok.wav --beam-size 99",
        "submit subtitles ok.wav -o ok.wav",
        "submit subtitles --skip-existing --force ok.wav",
        "cancel",
        "no-such-verb",
        "status twelve",
    ] {
        let ran = daemon.say(line).expect(2);
        assert!(ran.err.starts_with("error: "), "`{line}` said {}", ran.err);
        assert_eq!(ran.out, "", "`{line}`");
    }
    assert_eq!(daemon.json("list"), Value::Array(vec![]));
}

#[test]
fn a_dry_run_writes_nothing() {
    let daemon = Daemon::scripted().start();
    daemon.script("ok");
    let before = daemon.files("");
    let plan = daemon.json("submit subtitles --dry-run --format srt ok.wav");
    assert_eq!(plan["total"], 1);
    assert!(plan["jobs"][0]["outputs"][0].as_str().unwrap().ends_with("ok.en.srt"), "{plan}");
    assert_eq!(daemon.json("list"), Value::Array(vec![]));
    assert_eq!(daemon.files(""), before);
    // The next batch is the first.
    assert_eq!(daemon.submit(["ok.wav"]).0, 1);
}

#[test]
fn the_same_key_gives_the_same_batch() {
    let daemon = Daemon::scripted().start();
    daemon.scripts(2, "ok");
    let first = daemon.json("submit subtitles --key nightly ok001.wav");
    let second = daemon.json("submit subtitles --key nightly ok001.wav");
    let third = daemon.json("submit subtitles --key weekly ok002.wav");
    assert_eq!(first["batch_id"], second["batch_id"]);
    assert_eq!((&first["repeated"], &second["repeated"]), (&Value::Bool(false), &Value::Bool(true)));
    assert_ne!(first["batch_id"], third["batch_id"]);
    assert_eq!(daemon.json("list").as_array().unwrap().len(), 2);
    // When its outputs are there already, too: the key is looked at first.
    daemon.say("wait 1 2").expect(0);
    let late = daemon.json("submit subtitles --key nightly ok001.wav");
    assert_eq!(late["batch_id"], first["batch_id"]);
}

#[test]
fn what_does_not_exist_exits_with_7() {
    let daemon = Daemon::scripted().start();
    daemon.script("ok");
    daemon.say("pause").expect(0);
    daemon.submit(["ok.wav"]);
    for verb in ["status", "jobs", "wait", "result", "cancel", "pause", "resume", "retry", "explain", "remove", "watch"]
    {
        daemon.say(&format!("{verb} 77")).expect(7).says(&["error: there is no batch 77"]);
    }
    for verb in ["status", "wait", "result", "cancel", "explain"] {
        daemon.say(&format!("{verb} 1/9")).expect(7).says(&["there is no job 1/9"]);
    }
    daemon.say("prioritize 77 high").expect(7);
}

#[test]
fn without_a_daemon_every_verb_exits_with_5() {
    let daemon = Daemon::scripted().stopped();
    daemon.script("ok");
    for line in ["list", "status", "health", "submit subtitles ok.wav", "wait 1", "cancel 1", "watch", "models list"] {
        daemon.say(line).expect(5).says(&["error: no daemon answers at ", "hint: "]);
    }
    let ran = daemon.say("--json list").expect(5);
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!((&error["error"]["code"], &error["error"]["kind"]), (&Value::from(5), &Value::from("unreachable")));
}

#[test]
fn lists_bring_inputs_with_parameters_of_their_own() {
    let daemon = Daemon::real().start();
    daemon.sound("a.wav", 1.5);
    daemon.sound("b.wav", 1.5);
    fs::write(daemon.media().join("list.csv"), "input,format\na.wav,txt\nb.wav,\n").unwrap();
    daemon.say("submit subtitles --wait --format srt --from list.csv").expect(0);
    assert_eq!(daemon.files("media"), ["a.en.txt", "a.wav", "b.en.srt", "b.wav", "list.csv"]);
    fs::write(daemon.media().join("bad.csv"), "input,beam-size\na.wav,3\nb.wav,lots\nc.wav,1\n").unwrap();
    let ran = daemon.say("submit subtitles --force --from bad.csv").expect(2);
    assert!(ran.err.contains("bad.csv") && ran.err.contains('4'), "{}", ran.err);
}

#[test]
fn an_upper_limit_of_inputs_is_told() {
    let daemon = Daemon::scripted().set("limits.max_inputs", 2).start();
    daemon.scripts(3, "ok");
    daemon.say("submit subtitles ok001.wav ok002.wav ok003.wav").expect(6).says(&["limits.max_inputs"]);
    daemon.say("submit subtitles --wait ok001.wav ok002.wav").expect(0);
}
