//! Starting: what a daemon refuses, and what it leaves alone.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;

use spindle_tests::harness::{Daemon, deadline_output};

#[test]
fn a_second_daemon_on_the_same_folder_is_refused() {
    let daemon = Daemon::scripted().start();
    let (status, said) = daemon.start_refused();
    assert_eq!(status.code(), Some(1), "{said}");
    let pid = daemon.pid().as_raw_nonzero().to_string();
    assert!(said.contains("another spindled") && said.contains(&pid) && said.contains("shutdown"), "{said}");
    daemon.say("health").expect(0);
}

#[test]
fn the_socket_of_a_dead_daemon_is_replaced() {
    let mut daemon = Daemon::scripted().start();
    let mode = fs::metadata(daemon.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    daemon.kill();
    assert!(daemon.socket().exists());
    daemon.start();
    daemon.say("health").expect(0);
}

#[test]
fn the_socket_of_a_daemon_that_lives_is_left_to_it() {
    let daemon = Daemon::scripted().start();
    let mut command = daemon.command("spindled");
    command.env("SPINDLE_STATE_DIR", daemon.root().join("home/elsewhere"));
    let output = deadline_output(command, "the second spindled");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1), "{said}");
    assert!(said.contains("run/s") && said.contains("answers"), "{said}");
    daemon.say("health").expect(0);
}

#[test]
fn a_file_where_the_socket_should_be_is_not_deleted() {
    let daemon = Daemon::scripted().stopped();
    fs::write(daemon.socket(), "somebody's").unwrap();
    let (status, said) = daemon.start_refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("not a socket"), "{said}");
    assert_eq!(fs::read_to_string(daemon.socket()).unwrap(), "somebody's");
}

#[test]
fn a_damaged_queue_is_refused_and_stays_as_it_is() {
    let mut daemon = Daemon::scripted().start();
    daemon.script("ok");
    daemon.say("submit subtitles --wait ok.wav").expect(0);
    daemon.stop();
    let queue = daemon.state().join("queue.redb");
    let mut bytes = fs::read(&queue).unwrap();
    for byte in &mut bytes[..4096] {
        *byte ^= 0x5a;
    }
    fs::write(&queue, &bytes).unwrap();
    let (status, said) = daemon.start_refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("error: ") && said.contains("queue.redb"), "{said}");
    assert_eq!(fs::read(&queue).unwrap(), bytes);
    assert!(!daemon.socket().exists());
    daemon.say("health").expect(5);
}

#[test]
fn a_queue_that_is_gone_is_not_taken_for_a_new_one() {
    let mut daemon = Daemon::scripted().start();
    daemon.script("ok");
    daemon.say("submit subtitles --wait ok.wav").expect(0);
    daemon.stop();
    fs::remove_file(daemon.state().join("queue.redb")).unwrap();
    let (status, said) = daemon.start_refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("queue"), "{said}");
    assert!(!daemon.files("state/artifacts").is_empty());
}

#[test]
fn a_wrong_configuration_is_told_with_its_line() {
    let daemon = Daemon::scripted().stopped();
    let path = daemon.root().join("spindled.toml");
    fs::write(&path, "[lanes]\ncpu = 2\nspeed = 3\n").unwrap();
    let mut command = daemon.command("spindled");
    command.arg("--check-config").arg("--config").arg(&path);
    let output = deadline_output(command, "spindled --check-config");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("line 3") && said.contains("speed"), "{said}");
}

#[test]
fn a_worker_program_that_is_missing_is_told_at_the_start() {
    let daemon = Daemon::scripted().env("SPINDLE_WORKER", "/no/such/worker").stopped();
    let (status, said) = daemon.start_refused();
    assert_eq!(status.code(), Some(1), "{said}");
    assert!(said.contains("/no/such/worker"), "{said}");
}

#[test]
fn what_the_daemon_writes_is_its_users_alone() {
    let daemon = Daemon::scripted().start();
    daemon.script("ok");
    daemon.say("submit subtitles --wait ok.wav").expect(0);
    for name in daemon.files("state") {
        let meta = fs::metadata(daemon.state().join(&name)).unwrap();
        assert_eq!(meta.mode() & 0o077, 0, "{name} is open to others");
    }
}

#[test]
fn a_client_says_which_side_is_too_old() {
    use spindle_shared::wire::codec;
    use spindle_shared::wire::frame::encode_frame;
    use spindle_shared::wire::hello::{Hello, PROTOCOL};
    use std::io::{Read, Write};
    let daemon = Daemon::scripted().stopped();
    for (protocol, older) in [(PROTOCOL + 1, "client"), (PROTOCOL - 1, "daemon")] {
        let _ = fs::remove_file(daemon.socket());
        let listener = UnixListener::bind(daemon.socket()).unwrap();
        let asked = daemon.beside("list");
        let (mut stream, _) = listener.accept().unwrap();
        let hello = Hello { protocol, ..Hello::ours() };
        stream.write_all(&encode_frame(&codec::encode(&hello))).unwrap();
        let mut heard = Vec::new();
        let _ = stream.read_to_end(&mut heard);
        let ran = asked.join().unwrap();
        assert!(
            ran.code != 0 && ran.err.contains(&format!("the {older} is older")) && ran.err.contains("upgrade"),
            "{ran:?}"
        );
    }
}
