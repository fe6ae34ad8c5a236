//! Configuration: what is wrong is told with its place, and what changes counts without a restart.

use std::fs;

use rustix::process::{Signal, kill_process};
use spindle_tests::harness::{Daemon, eventually};

#[test]
fn a_reload_takes_up_what_can_change_and_names_what_can_not() {
    let daemon = Daemon::scripted().stopped();
    let path = daemon.root().join("home/config/spindle/spindled.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(&path, "[lanes]\ncpu = 1\n").unwrap();
    let mut daemon = daemon;
    daemon.start();
    assert_eq!(daemon.json("reload"), serde_json::json!({ "changed": [], "restart": false }));

    fs::write(&path, "[lanes]\ncpu = 3\n[limits]\nmax_inputs = 1\n[workers]\nidle_seconds = 77\n").unwrap();
    let told = daemon.json("reload");
    let keys: Vec<_> = told["changed"].as_array().unwrap().iter().map(|change| change["key"].clone()).collect();
    assert_eq!(keys, ["lanes.cpu", "limits.max_inputs", "workers.idle_seconds"], "{told}");
    assert_eq!((&told["changed"][0]["after"], &told["restart"]), (&"3".into(), &true.into()), "{told}");
    let lanes = daemon.json("lanes");
    let cpu = lanes.as_array().unwrap().iter().find(|lane| lane["lane"] == "cpu").unwrap();
    assert_eq!(cpu["slots"], 3, "{lanes}");
    for name in ["a", "b"] {
        daemon.script(name);
    }
    daemon.say("submit subtitles a.wav b.wav").expect(6).says(&["limits.max_inputs = 1"]);

    // A wrong one changes nothing, and says so.
    fs::write(&path, "[lanes]\ncpu = 0\ni0 = 3\n").unwrap();
    daemon.say("reload").expect(2).says(&["spindled.toml, line 3", "did you mean `io`", "goes on as it was"]);
    assert_eq!(daemon.json("lanes"), lanes);

    // A signal does the same, and the log tells of it.
    fs::write(&path, "[lanes]\ncpu = 2\n").unwrap();
    kill_process(daemon.pid(), Signal::HUP).unwrap();
    eventually("two slots", || {
        let lanes = daemon.json("lanes");
        lanes.as_array().unwrap().iter().find(|lane| lane["lane"] == "cpu" && lane["slots"] == 2).map(drop)
    });
    assert!(daemon.log().contains("lanes.cpu"), "{}", daemon.log());
    daemon.say("submit subtitles --wait a.wav b.wav").expect(0);
}
