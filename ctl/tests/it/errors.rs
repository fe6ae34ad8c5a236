//! What goes wrong, as people and scripts are told.

use serde_json::{Value, json};
use spindle_shared::wire::hello::{Hello, PROTOCOL};
use spindle_shared::wire::response::{Health, Refusal, RefusalKind, Response};

use crate::scripted::*;

fn told(ran: &Ran) -> Value {
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(lines.len(), 1, "{ran:#?}");
    serde_json::from_str::<Value>(lines[0]).unwrap()["error"].clone()
}

#[test]
fn every_refusal_has_its_exit_code() {
    for (kind, code) in [
        (RefusalKind::Usage, 2),
        (RefusalKind::Limit, 6),
        (RefusalKind::NotFound, 7),
        (RefusalKind::NotPermitted, 11),
        (RefusalKind::ModelMissing, 9),
        (RefusalKind::NotFinished, 10),
        (RefusalKind::WrongState, 1),
        (RefusalKind::Stopping, 5),
        (RefusalKind::Internal, 1),
    ] {
        let daemon = Daemon::start(move |call| call.send(Response::Refused(Refusal::new(kind, "no").hint("do this"))));
        let ran = daemon.run(&["cancel", "1"]).with(code);
        assert_eq!(ran.err, "error: no\nhint: do this\n");
        let error = told(&daemon.run(&["--json", "cancel", "1"]).with(code));
        assert_eq!(error, json!({"code": code, "kind": kind.name(), "message": "no", "hint": "do this"}));
    }
}

#[test]
fn no_daemon_is_five_with_a_hint() {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("none.sock");
    let ran = Ran::from(command(&["--socket", socket.to_str().unwrap(), "list"]).output().unwrap()).with(5);
    assert!(
        ran.err.starts_with("error: no daemon answers at ") && ran.err.contains("\nhint: start it with"),
        "{ran:#?}"
    );
    let ran = Ran::from(command(&["list", "--json", "--socket", socket.to_str().unwrap()]).output().unwrap()).with(5);
    assert_eq!(told(&ran)["kind"], json!("unreachable"));
}

#[test]
fn usage_errors_are_two_and_json_where_asked() {
    for arguments in [
        &["frobnicate"][..],
        &["list", "--limit", "0"],
        &["wait"],
        &["cancel"],
        &["cancel", "x"],
        &["cancel", "3", "--all"],
        &["prioritize", "3", "very"],
        &["submit", "subtitles"],
        &["submit", "subtitles", "--beam-size", "9", "Cargo.toml"],
        &["submit", "subtitles", "--priority", "101", "Cargo.toml"],
        &["submit", "subtitles", "-j", "65", "Cargo.toml"],
        &["submit", "subtitles", "--force", "--skip-existing", "Cargo.toml"],
    ] {
        let ran = Ran::from(command(arguments).output().unwrap()).with(2);
        assert!(ran.out.is_empty() && ran.err.starts_with("error: "), "{ran:#?}");
        let json: Vec<&str> = ["--json"].iter().chain(arguments).copied().collect();
        let ran = Ran::from(command(&json).output().unwrap()).with(2);
        let error = told(&ran);
        assert_eq!((&error["code"], &error["kind"]), (&json!(2), &json!("usage")), "{arguments:?}");
        assert!(!error["message"].as_str().unwrap().contains("Usage:"));
    }
}

#[test]
fn help_and_version_are_data() {
    for arguments in
        [&["--help"][..], &["--version"], &["submit", "subtitles", "--help"], &["--json", "list", "--help"]]
    {
        let ran = Ran::from(command(arguments).output().unwrap()).with(0);
        assert!(!ran.out.is_empty() && ran.err.is_empty(), "{ran:#?}");
    }
}

#[test]
fn a_daemon_of_another_protocol_can_still_be_asked_what_is_frozen() {
    let hello = Hello { protocol: PROTOCOL + 1, ..Hello::ours() };
    let health = Health { healthy: true, version: "9.0.0".to_owned(), checks: vec![] };
    let daemon = Daemon::start_as(hello, move |call| call.answer([Response::Health(health.clone())]));
    daemon.run(&["health"]).with(0);
    let ran = daemon.run(&["list"]).with(1);
    assert!(ran.err.contains("the client is older"), "{ran:#?}");
}

#[test]
fn what_is_no_daemon_is_said() {
    let daemon = Daemon::start_as(Hello { magic: *b"whatever", ..Hello::ours() }, |_| {});
    assert!(daemon.run(&["list"]).with(1).err.contains("not Spindle"));
}

#[test]
fn a_connection_that_breaks_is_an_error() {
    let daemon = Daemon::start(|call| call.send(Response::Batches(vec![])));
    assert!(daemon.run(&["list"]).with(5).err.contains("broke"));
}

#[test]
fn completions_and_the_manual_come_from_the_same_definition() {
    for shell in ["bash", "zsh", "fish"] {
        let ran = Ran::from(command(&["completions", shell]).output().unwrap()).with(0);
        assert!(ran.out.contains("prioritize") && ran.out.contains("beam-size"), "{shell}");
    }
    assert!(Ran::from(command(&["man"]).output().unwrap()).with(0).out.contains("spindlectl"));
    let folder = tempfile::tempdir().unwrap();
    Ran::from(command(&["man", "--dir", folder.path().to_str().unwrap()]).output().unwrap()).with(0);
    assert!(folder.path().join("spindlectl-submit-subtitles.1").exists());
}
