//! The doctor finds an installation well that is, and says what is wrong with one that isn't.

use serde_json::Value;
use spindle_tests::harness::Daemon;

fn findings(daemon: &Daemon, words: &[&str]) -> (i32, Vec<Value>) {
    let ran = daemon.ctl([&["--json", "doctor"], words].concat());
    let found: Value = serde_json::from_str(&ran.out).unwrap_or_else(|e| panic!("{e}: {}", ran.out));
    (ran.code, found.as_array().unwrap().clone())
}

#[test]
fn each_recipe_is_tried_and_nothing_is_left() {
    let daemon = Daemon::real().start();
    let (code, found) = findings(&daemon, &[]);
    let tried: Vec<_> = found.iter().filter(|finding| finding["part"] == "jobs").collect();
    for finding in &tried {
        assert_eq!(finding["verdict"], "well", "{finding:#}");
    }
    let names: Vec<_> = tried.iter().map(|finding| finding["what"].as_str().unwrap()).collect();
    assert_eq!(names, ["subtitles", "compress", "convert", "preview", "highlights", "report", "images"]);
    assert_eq!(code, 0, "{found:#?}");
    assert_eq!(daemon.json("list").as_array().map(Vec::len), Some(0));
}

#[test]
fn without_a_daemon_the_rest_is_looked_at() {
    let daemon = Daemon::real().stopped();
    let ran = daemon.say("--json doctor").expect(5);
    let found: Value = serde_json::from_str(&ran.out).unwrap();
    let of = |what: &str| found.as_array().unwrap().iter().find(|finding| finding["what"] == what).cloned().unwrap();
    assert_eq!((of("answers")["verdict"].as_str(), of("program")["verdict"].as_str()), (Some("wrong"), Some("well")));
    assert!(of("answers")["hint"].as_str().unwrap().contains("start"));
}
