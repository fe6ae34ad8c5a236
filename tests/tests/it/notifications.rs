//! Notifications: whoever is to be told is told, whatever happens in between, and a target that is broken harms nothing.

use std::collections::BTreeSet;
use std::fs;
use std::io::Write;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use serde_json::Value;
use spindle_tests::ear::{Ear, Heard};
use spindle_tests::harness::{Daemon, PATIENCE, eventually};

const KEY: &str = "a key that nobody knows";

/// What another program says the signature is.
fn signed_by_openssl(body: &[u8]) -> String {
    let mut openssl = Command::new("openssl")
        .args(["dgst", "-sha256", "-hmac", KEY, "-r"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("openssl is there: apt-get install openssl");
    openssl.stdin.take().unwrap().write_all(body).unwrap();
    let output = openssl.wait_with_output().unwrap();
    String::from_utf8(output.stdout).unwrap().split(' ').next().unwrap().to_owned()
}

fn house(ear: &Ear) -> Daemon {
    Daemon::real()
        .env("SPINDLE_REMOTE__ALLOW", &format!("[\"{}\"]", ear.address()))
        .env("SPINDLE_NOTIFICATIONS__SECRET", "env:TEST_HOOK_SECRET")
        .env("TEST_HOOK_SECRET", KEY)
        .start()
}

fn body(heard: &Heard) -> Value {
    serde_json::from_slice(&heard.body).unwrap()
}

#[test]
fn an_address_is_told_until_it_has_understood_and_can_trust_what_it_hears() {
    let ear = Ear::start(|heard| if heard.number == 1 { 500 } else { 204 });
    let daemon = house(&ear);
    daemon.sound("a.wav", 1.0);
    let url = format!("http://{}/done?token=SECRETTOKEN", ear.address());
    daemon.submit(["a.wav", "--name", "talk", "--tag", "who=me", "--notify", &url]);
    let heard = ear.hears(2, PATIENCE);
    let told = body(&heard[0]);
    assert_eq!(heard[0].body, heard[1].body, "the same is told again");
    assert_eq!(heard[0].headers["x-spindle-id"], heard[1].headers["x-spindle-id"]);
    assert_eq!(told["id"].as_str().unwrap(), heard[0].headers["x-spindle-id"]);
    assert_eq!(heard[0].headers["x-spindle-event"], "batch");
    let batch = &told["batch"];
    assert_eq!(
        (&batch["batch_id"], &batch["state"], &batch["completed"]),
        (&1.into(), &"completed".into(), &1.into()),
        "{told}"
    );
    assert_eq!((&batch["name"], &batch["tags"]["who"]), (&"talk".into(), &"me".into()), "{told}");
    for heard in &heard {
        assert_eq!(heard.headers["x-spindle-signature"], format!("sha256={}", signed_by_openssl(&heard.body)));
    }
    // Neither what signs nor what the address keeps secret is said anywhere.
    let log = daemon.log() + &daemon.say("logs -n 2000").expect(0).out;
    assert!(!log.contains(KEY) && !log.contains("SECRETTOKEN"), "{log}");
}

#[test]
fn a_kill_at_any_time_loses_no_notification() {
    let well = Arc::new(AtomicBool::new(false));
    let understood: Arc<Mutex<BTreeSet<u64>>> = Arc::default();
    let ear = Ear::start({
        let (well, understood) = (Arc::clone(&well), Arc::clone(&understood));
        move |heard| {
            if !well.load(Ordering::SeqCst) {
                return 503;
            }
            understood.lock().unwrap().insert(body(heard)["batch"]["batch_id"].as_u64().unwrap());
            200
        }
    });
    let mut daemon = house(&ear);
    daemon.sound("a.wav", 1.0);
    let url = format!("http://{}/x", ear.address());
    for round in 1..=3_usize {
        let before = ear.heard().len();
        let batch = daemon.submit(["a.wav", "--force", "--notify", &url]);
        daemon.ended_batch(batch);
        if round == 2 {
            // In the middle of a try, too.
            ear.hears(before + 1, PATIENCE);
        }
        daemon.kill();
        daemon.start();
    }
    well.store(true, Ordering::SeqCst);
    // Each try waits twice as long as the one before.
    while understood.lock().unwrap().len() < 3 {
        ear.hears(ear.heard().len() + 1, 4 * PATIENCE);
    }
    assert_eq!(*understood.lock().unwrap(), BTreeSet::from([1, 2, 3]));
    // What came again is told by its number.
    let ids: BTreeSet<String> = ear.heard().iter().map(|heard| heard.headers["x-spindle-id"].clone()).collect();
    assert_eq!(ids.len(), 3);
}

#[test]
fn what_is_not_public_is_not_told_unless_the_configuration_says_so() {
    let ear = Ear::start(|_| 200);
    let daemon = Daemon::real().start();
    daemon.sound("a.wav", 1.0);
    let batch = daemon.submit(["a.wav", "--notify", &format!("http://{}/x", ear.address())]);
    assert_eq!(daemon.ended_batch(batch).counts.completed, 1, "the job is not harmed");
    eventually("the refusal is logged", || {
        daemon
            .log()
            .contains("this machine itself")
            .then_some(())
            .or_else(|| daemon.log().contains("public machines").then_some(()))
    });
    assert!(ear.heard().is_empty());
}

#[test]
fn commands_are_told_of_batches_failures_and_alerts_and_a_broken_one_harms_nothing() {
    let daemon = Daemon::scripted().stopped();
    let out = daemon.root().join("told");
    let path = daemon.root().join("home/config/spindle/spindled.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let script =
        format!("echo \\\"$SPINDLE_EVENT $SPINDLE_BATCH_ID $SPINDLE_STATE $SPINDLE_KIND\\\" >>{}", out.display());
    let hooks = format!(
        "[hooks.all]\non = [\"batch\", \"failure\"]\ncommand = [\"/bin/sh\", \"-c\", \"{script}\"]\n\n\
         [hooks.broken]\non = [\"batch\"]\ncommand = [\"/no/such/program\"]\n"
    );
    fs::write(&path, hooks).unwrap();
    let mut daemon = daemon;
    daemon.start();
    for name in ["ok", "fail-input@decode"] {
        daemon.script(name);
    }
    let own = format!("/bin/sh -c 'echo own $SPINDLE_BATCH_ID >>{}'", out.display());
    let batch = daemon.submit(["ok.wav", "fail-input@decode.wav", "--notify", &own]);
    daemon.ended_batch(batch);
    let mut lines = eventually("three lines", || {
        let text = fs::read_to_string(&out).ok()?;
        let lines: Vec<String> = text.lines().map(str::to_owned).collect();
        (lines.len() >= 3).then_some(lines)
    });
    lines.sort();
    assert_eq!(lines, ["batch 1 partial ", "failure 1  input", "own 1"]);
    eventually("the broken one is logged", || daemon.log().contains("failed to start /no/such/program").then_some(()));
    daemon.say("submit subtitles --wait ok.wav --force").expect(0);
    daemon.say("submit subtitles ok.wav --force --notify ftp://x.example/").expect(2);
    daemon.say("submit subtitles ok.wav --force --notify 'open").expect(2);
}
