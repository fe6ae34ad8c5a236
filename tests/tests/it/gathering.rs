//! Map, then gather: one document of all inputs, by the real programs, from a recipe in a file.

use std::fs;

use spindle_shared::id::BatchId;
use spindle_tests::harness::Daemon;

const RECIPE: &str = "
[[map]]
stage = 'decode'
[[map]]
stage = 'transcribe'
[[map]]
stage = 'subtitle'
format = ['srt', 'txt']
[[map]]
stage = 'publish'
[[gather]]
stage = 'collect'
title = 'All lessons'
[[gather]]
stage = 'publish'
";

fn recipe(daemon: &Daemon) {
    fs::write(daemon.media().join("lessons.toml"), RECIPE).unwrap();
}

#[test]
fn one_document_of_all_that_succeeded_and_again_once_the_rest_has() {
    let daemon = Daemon::real().start();
    recipe(&daemon);
    daemon.sound("one.wav", 2.0);
    daemon.sound("three.wav", 3.0);
    fs::write(daemon.media().join("two.wav"), b"not yet a recording").unwrap();
    let ran = daemon.say("submit custom --recipe lessons.toml -o out --wait one.wav two.wav three.wav").expect(3);
    ran.says(&["2 of 3 completed", "1 failed"]);
    let document = daemon.media().join("out/lessons-1.md");
    let headings =
        |text: &str| -> Vec<String> { text.lines().filter(|line| line.starts_with('#')).map(str::to_owned).collect() };
    let before = fs::read_to_string(&document).unwrap();
    assert_eq!(headings(&before), ["# All lessons", "## one.wav", "## three.wav"]);
    let result = daemon.say("--json result 1").expect(3).json();
    assert_eq!(result["jobs"].as_array().unwrap().len(), 3);
    assert_eq!(
        (&result["gather"]["job_id"], &result["gather"]["index"]),
        (&"1/gather".into(), &serde_json::Value::Null)
    );
    assert_eq!(result["gather"]["outputs"][0]["kind"], "md");
    assert_eq!(daemon.json("status 1/gather")["state"], "completed");
    assert_eq!(
        (&result["gather_state"], &daemon.json("status 1")["gather_state"]),
        (&"completed".into(), &"completed".into())
    );

    daemon.sound("two.wav", 2.5);
    daemon.say("retry 1").expect(0);
    daemon.say("wait 1").expect(0);
    let after = fs::read_to_string(&document).unwrap();
    assert_eq!(
        headings(&after),
        ["# All lessons", "## one.wav", "## two.wav", "## three.wav"],
        "its own file, replaced"
    );
    assert_eq!(daemon.files("media/out").iter().filter(|name| name.ends_with(".md")).count(), 1);

    // Edited since: it is theirs.
    fs::write(&document, "mine").unwrap();
    daemon.say("submit custom --recipe lessons.toml -o out --force --wait one.wav two.wav three.wav").expect(0);
    assert_eq!(fs::read_to_string(&document).unwrap(), "mine");
    assert_eq!(fs::read_to_string(daemon.media().join("out/lessons-2.md")).unwrap(), after);
    daemon.say("submit custom --recipe lessons.toml -o out --skip-existing one.wav").expect(2).says(&["--force"]);
}

#[test]
fn hundreds_of_results_reach_their_run_over_a_restart() {
    let mut daemon = Daemon::scripted().start();
    recipe(&daemon);
    let inputs = daemon.scripts(150, "ok-");
    let names: Vec<String> = inputs.iter().map(|input| input.display().to_string()).collect();
    daemon.say(&format!("submit custom --recipe lessons.toml -o out -j 16 {}", names.join(" "))).expect(0);
    daemon.kill();
    daemon.start();
    daemon.say("wait 1").expect(0);
    let document = fs::read_to_string(daemon.media().join("out/lessons-1.md")).unwrap();
    assert_eq!(document.matches("scripted run").count(), 150);
    assert_eq!(daemon.batch(BatchId(1)).counts.completed, 150, "the gather counts among no inputs");
}

#[test]
fn where_no_input_succeeds_nothing_is_gathered() {
    let daemon = Daemon::scripted().start();
    recipe(&daemon);
    daemon.script("fail-input");
    daemon.say("submit custom --recipe lessons.toml -o out --wait fail-input.wav").expect(4);
    let gather = daemon.json("status 1/gather");
    assert_eq!((&gather["state"], &gather["outputs"]), (&"skipped".into(), &serde_json::json!([])));
}
