//! Clients that speak garbage, or stop in the middle, or never read: it is nobody's trouble but theirs.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use spindle_shared::batch::BatchState;
use spindle_shared::wire::codec;
use spindle_shared::wire::frame::{FrameDecoder, encode_frame};
use spindle_shared::wire::hello::{Hello, PROTOCOL};
use spindle_shared::wire::request::{Request, Scope};
use spindle_shared::wire::response::Response;
use spindle_tests::harness::Daemon;

/// Fifty milliseconds are promised; the machines of tests are busy.
const AT_ONCE: Duration = Duration::from_millis(250);

fn connect(daemon: &Daemon) -> UnixStream {
    let stream = UnixStream::connect(daemon.socket()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    stream
}

fn frame<T: serde::Serialize>(value: &T) -> Vec<u8> {
    encode_frame(&codec::encode(value))
}

/// The quickest of a few calls: what the daemon needs, not what the machine is busy with.
fn answer_time(daemon: &Daemon) -> Duration {
    let one = || {
        let began = Instant::now();
        daemon.call(&Request::House);
        began.elapsed()
    };
    (0..5).map(|_| one()).min().unwrap()
}

#[test]
fn bad_clients_harm_nobody() {
    let daemon = Daemon::scripted().start();
    daemon.scripts(60, "ok");
    let mut bad: Vec<UnixStream> = Vec::new();
    for _ in 0..20 {
        let payloads: [Vec<u8>; 7] = [
            vec![],
            vec![0xff; 64],
            u32::MAX.to_le_bytes().to_vec(),
            (1_u32 << 20).to_le_bytes().to_vec(),
            frame(&Hello::ours())[..5].to_vec(),
            [frame(&Hello::ours()), vec![3, 0, 0, 0, 0xff, 0xff, 0xff]].concat(),
            [frame(&Hello::ours()), frame(&Request::Watch { scope: Scope::House, jobs: 1_000 })].concat(),
        ];
        for payload in payloads {
            let mut stream = connect(&daemon);
            // It may have hung up on us already.
            let _ = stream.write_all(&payload);
            bad.push(stream);
        }
    }
    let quick = answer_time(&daemon);
    assert!(quick < AT_ONCE, "{quick:?}");
    let id = daemon.submit(["-r", ".", "-o", "out"]);
    let mut slowest = Duration::ZERO;
    while !daemon.batch(id).state.is_terminal() {
        slowest = slowest.max(answer_time(&daemon));
    }
    assert!(slowest < AT_ONCE, "{slowest:?}");
    assert_eq!(daemon.batch(id).state, BatchState::Completed);
    drop(bad);
    daemon.say("health").expect(0);
}

#[test]
fn garbage_is_hung_up_on() {
    let daemon = Daemon::scripted().start();
    for payload in [vec![0xff_u8; 64], u32::MAX.to_le_bytes().to_vec(), encode_frame(b"GET / HTTP/1.1\r\n\r\n")] {
        let mut stream = connect(&daemon);
        stream.write_all(&payload).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap_or(0);
        assert_eq!(heard, b"", "{payload:?}");
    }
}

#[test]
fn a_newer_client_may_ask_what_is_frozen_and_nothing_else() {
    let daemon = Daemon::scripted().start();
    let newer = Hello { protocol: PROTOCOL + 1, build: "9.9.9".to_owned(), ..Hello::ours() };
    for (request, answered) in [(Request::Health, true), (Request::House, false)] {
        let mut stream = connect(&daemon);
        stream.write_all(&[frame(&newer), frame(&request)].concat()).unwrap();
        let mut bytes = Vec::new();
        stream.read_to_end(&mut bytes).unwrap();
        let mut decoder = FrameDecoder::new();
        decoder.push(&bytes);
        let hello: Hello = codec::decode(&decoder.next().unwrap().unwrap(), 1 << 20).unwrap();
        assert_eq!(hello.protocol, PROTOCOL, "each side says who it is, so that the other can tell its user");
        let answer: Option<Response> = decoder.next().unwrap().map(|frame| codec::decode(&frame, 1 << 20).unwrap());
        assert_eq!(matches!(answer, Some(Response::Health(_))), answered, "{request:?}: {answer:?}");
    }
}

#[test]
fn half_a_submission_leaves_no_batch() {
    let daemon = Daemon::scripted().start();
    daemon.script("ok");
    let plan = daemon.json("submit subtitles --dry-run ok.wav");
    assert_eq!(plan["total"], 1);
    let spec = spindle_shared::batch::BatchSpec {
        recipe: spindle_shared::recipe::Recipe::subtitles(
            Default::default(),
            Default::default(),
            Default::default(),
            Default::default(),
        ),
        name: None,
        tags: vec![],
        priority: spindle_shared::batch::Priority::NORMAL,
        parallel: 1,
        retries: None,
        timeout_ms: None,
        key: None,
        on_existing: spindle_shared::batch::OnExisting::Refuse,
        terms: Default::default(),
        gather_to: None,
    };
    for (total, more) in [(5, vec![]), (5, vec![7_u8; 300]), (u32::MAX, vec![]), (2, frame(&Request::House))] {
        let mut stream = connect(&daemon);
        let request = Request::Submit { spec: Box::new(spec.clone()), total, dry_run: false };
        stream.write_all(&[frame(&Hello::ours()), frame(&request), more].concat()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut heard = Vec::new();
        stream.read_to_end(&mut heard).unwrap();
    }
    assert_eq!(daemon.json("list"), serde_json::Value::Array(vec![]));
    assert_eq!(daemon.submit(["ok.wav"]).0, 1, "no number was given away");
}

#[test]
fn a_client_that_goes_away_while_it_waits_stops_nothing() {
    let daemon = Daemon::scripted().start();
    daemon.script("slow-300@transcribe");
    let id = daemon.submit(["slow-300@transcribe.wav"]);
    daemon.begun("slow-300@transcribe");
    let mut stream = connect(&daemon);
    stream.write_all(&[frame(&Hello::ours()), frame(&Request::Drain)].concat()).unwrap();
    drop(stream);
    daemon.watch(&[id]).until("the stage ends", |seen| (seen.batches[&id].counts.running == 0).then_some(()));
    daemon.say("resume").expect(0);
    assert_eq!(daemon.ended_batch(id).state, BatchState::Completed);
}
