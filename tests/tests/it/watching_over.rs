//! Alerts and metrics: what a person should look at is told everywhere, and what is measured can be collected.

use std::fs;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use spindle_tests::harness::{Daemon, eventually};

/// An address of this machine that nobody has just now.
fn free_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// All that is answered.
fn ask(address: &str, request: &str) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
fn a_queue_that_is_too_long_is_told_everywhere_until_it_is_shorter() {
    let daemon = Daemon::scripted() // Three of the five are at work at the same time.
        .set("alerts.queue_jobs", 1)
        .set("alerts.queue_seconds", 0)
        .set("lanes.cpu", 1)
        .start();
    daemon.script("slow-90000");
    for name in ["a", "b", "c", "d"] {
        daemon.script(name);
    }
    let mut watcher = daemon.watch(&[]);
    daemon.submit(["slow-90000.wav", "a.wav", "b.wav", "c.wav", "d.wav"]);
    watcher.until("the alert", |seen| seen.alerts.iter().any(|text| text.starts_with("queue: ")).then_some(()));
    let health = daemon.say("health").expect(1);
    assert!(health.out.contains("alert queue") && health.out.contains("not healthy"), "{health:?}");
    let status = daemon.json("status");
    assert_eq!(status["alerts"][0]["rule"], "queue", "{status}");
    let metrics = daemon.say("metrics").expect(0).out;
    assert!(metrics.contains("spindle_alert_firing{rule=\"queue\"} 1\n"), "{metrics}");
    assert!(daemon.log().contains("jobs wait, which is more than 1"), "{}", daemon.log());
    daemon.say("cancel --all").expect(0);
    watcher.until("its end", |seen| seen.alerts.iter().any(|text| text == "queue: it is over").then_some(()));
    daemon.say("health").expect(0);
}

#[test]
fn metrics_come_to_a_file_and_to_who_asks_on_this_machine() {
    let daemon = Daemon::scripted().stopped();
    let (address, file) = (free_address(), daemon.root().join("spindle.prom"));
    let path = daemon.root().join("home/config/spindle/spindled.toml");
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let text = format!("[metrics]\nlisten = \"{address}\"\nfile = \"{}\"\nevery_seconds = 1\n", file.display());
    fs::write(&path, text).unwrap();
    let mut daemon = daemon;
    daemon.start();
    eventually("the file", || fs::read_to_string(&file).ok().filter(|text| text.contains("spindle_build_info")));
    let answer = ask(&address, "GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("text/plain; version=0.0.4"), "{answer}");
    assert!(answer.contains("\nspindle_jobs_open{state=\"pending\"} 0\n"), "{answer}");
    assert!(ask(&address, "POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
    assert!(ask(&address, "GET /../etc/passwd HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
    // Who sends without end is cut off.
    let endless = "GET /".to_owned() + &"a".repeat(20_000);
    let mut stream = TcpStream::connect(&address).unwrap();
    drop(stream.write_all(endless.as_bytes()));
    let mut rest = Vec::new();
    drop(stream.read_to_end(&mut rest));
    assert!(rest.is_empty());
    daemon.say("health").expect(0);
}
