//! Logs: what the daemon says, and what happened to each job.

use std::fs;

use spindle_tests::harness::Daemon;

#[test]
fn a_batchs_log_tells_stages_tries_and_what_workers_printed() {
    let daemon = Daemon::scripted().start();
    for name in ["ok", "segfault-once@transcribe", "fail-input@decode"] {
        daemon.script(name);
    }
    let id = daemon.submit(["ok.wav", "segfault-once@transcribe.wav", "fail-input@decode.wav"]);
    let following = daemon.beside(&format!("--json logs {id} -f"));
    daemon.ended_batch(id);
    // Whoever follows is let go at the batch's end, and has heard everything.
    let followed = following.join().unwrap().expect(0).lines();
    let shown = daemon.say(&format!("--json logs {id} -n 2000")).expect(0).lines();
    assert_eq!(followed, shown);
    let of = |job: &str, event: &str| {
        shown.iter().filter(|line| line["job"] == format!("{id}/{job}") && line["event"] == event).count()
    };
    assert!(of("1", "started") >= 4 && of("1", "ended") == 1, "{shown:?}");
    assert!(of("2", "lost") == 1 && of("2", "ended") == 1, "{shown:?}");
    assert!(of("3", "failed") == 1, "{shown:?}");
    let one = daemon.say(&format!("--json logs {id}/3")).expect(0).lines();
    assert!(!one.is_empty() && one.iter().all(|line| line["job"] == format!("{id}/3")), "{one:?}");
    assert!(daemon.say(&format!("logs {id}/3")).expect(0).out.contains("failed"));
    assert!(daemon.say("logs").expect(0).out.contains("ready"), "the daemon's own");
    daemon.say("logs 99").expect(7);
    // It goes with the batch.
    assert_eq!(daemon.files("state/logs/batches"), [format!("{id}.jsonl")]);
    daemon.say(&format!("remove {id}")).expect(0);
    daemon.say("submit subtitles --wait ok.wav --force").expect(0);
    spindle_tests::harness::eventually("its log is gone", || {
        (!daemon.files("state/logs/batches").contains(&format!("{id}.jsonl"))).then_some(())
    });
}

#[test]
fn files_take_the_log_where_the_configuration_says_so() {
    let daemon = Daemon::scripted().env("SPINDLE_LOG__TO", "files").start();
    let files: Vec<_> = daemon.files("state/logs").into_iter().filter(|name| name.starts_with("spindled.")).collect();
    assert_eq!(files.len(), 1, "{files:?}");
    let text = fs::read_to_string(daemon.state().join("logs").join(&files[0])).unwrap();
    assert!(text.lines().any(|line| {
        let line: serde_json::Value = serde_json::from_str(line).unwrap();
        line["message"] == "ready" && line["level"] == "info"
    }));
    assert!(!daemon.log().contains("ready"), "standard error is silent");
}
