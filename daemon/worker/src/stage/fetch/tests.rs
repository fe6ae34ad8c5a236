//! Fetch against servers that cut, lie, drip and lead astray.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use spindle_shared::id::RunId;
use spindle_shared::job::PathBytes;
use spindle_shared::stage::Stage;
use spindle_shared::worker::{Assignment, InputFile};
use tempfile::TempDir;

use super::*;
use crate::remote::scripted::{Server, Step, WHOLE};

/// A job's folders, against one address.
struct Scene {
    folder: TempDir,
    stop: Arc<AtomicBool>,
    url: String,
    allow: Vec<String>,
    bytes_max: u64,
}

fn body() -> Vec<u8> {
    (0..300_000u32).flat_map(|i| (i.wrapping_mul(2_654_435_761) >> 8).to_le_bytes()).take(300_000).collect()
}

impl Scene {
    fn new(server: &Server) -> Scene {
        let url = server.url.replace("/model", "/v/talk%201.mp4?sig=s3cret");
        Scene {
            folder: tempfile::tempdir().unwrap(),
            stop: Arc::new(AtomicBool::new(false)),
            allow: vec![Url::parse(&url).unwrap().host_and_port().to_owned()],
            url,
            bytes_max: 1 << 20,
        }
    }

    fn run(&self) -> Result<Done, Halt> {
        let patience = http::Patience {
            connect: Duration::from_secs(5),
            answer: Duration::from_secs(5),
            drip_window: Duration::from_millis(300),
            drip_bytes: 1_000,
        };
        let pace = Pace { patience, backoff: Duration::from_millis(1) };
        let stage =
            Fetch { bytes_max: self.bytes_max, allow: self.allow.clone(), store: None, pages: Default::default() };
        let scratch = self.folder.path().join("scratch");
        let _ = std::fs::remove_dir_all(&scratch);
        std::fs::create_dir(&scratch).unwrap();
        let assignment = Assignment {
            inputs: vec![InputFile::new(PathBytes(self.url.clone().into_bytes()), 0)],
            scratch: scratch.into(),
            checkpoint: Some(self.folder.path().join("checkpoint").into()),
            part_tag: "tag".to_owned(),
            ..Assignment::of(RunId { boot: 1, counter: 1 }, Stage::Fetch(stage.clone()))
        };
        let context = Context::new(assignment, Vec::new(), Arc::clone(&self.stop), Arc::new(|_| {}));
        fetch(&context, &stage, &pace)
    }

    fn fails(&self) -> Failure {
        match self.run() {
            Err(Halt::Failed(failure)) => {
                assert!(!format!("{failure} {}", failure.advice).contains("s3cret"), "{failure}");
                failure
            }
            other => panic!("no failure: {other:?}"),
        }
    }

    /// It is in scratch under this name, whole, and the report says so.
    fn is_fetched(&self, name: &str, content: &[u8]) {
        let done = self.run().unwrap();
        let [file] = done.files.as_slice() else { panic!("{:?}", done.files) };
        assert_eq!((file.name.as_str(), file.bytes), (name, content.len() as u64));
        assert_eq!(file.content, ContentHash::of(content));
        let scratch = self.folder.path().join("scratch");
        assert_eq!(std::fs::read(scratch.join(name)).unwrap(), content);
        assert_eq!(std::fs::read_dir(scratch).unwrap().count(), 1);
    }
}

fn version(tag: &'static str, body: &[u8], cut_after: usize) -> Step {
    Step::Version { tag, body: body.to_vec(), cut_after }
}

fn raw(line: &str, headers: &str, body: &str) -> Step {
    Step::Raw(format!("HTTP/1.1 {line}\r\n{headers}Connection: close\r\nContent-Length: {}\r\n\r\n{body}", body.len()))
}

fn from(bytes: u32) -> Option<String> {
    Some(format!("bytes={bytes}-"))
}

#[test]
fn a_whole_answer_becomes_the_input() {
    for step in [WHOLE, Step::Chunked(body())] {
        let server = Server::start(&body(), [step]);
        Scene::new(&server).is_fetched("talk 1.mp4", &body());
        assert_eq!(server.asked(), [None]);
    }
}

#[test]
fn the_servers_own_name_is_made_safe() {
    let disposition = "Content-Disposition: attachment; filename=\"../../.ssh/lecture 3.mkv\"\r\n";
    let server = Server::start(&body(), [raw("200 OK", disposition, "media")]);
    Scene::new(&server).is_fetched("lecture 3.mkv", b"media");
}

#[test]
fn cuts_cost_nothing_that_came() {
    let cut = || version("\"v1\"", &body(), 70_000);
    let server = Server::start(&body(), [cut(), cut(), cut(), version("\"v1\"", &body(), usize::MAX)]);
    Scene::new(&server).is_fetched("talk 1.mp4", &body());
    assert_eq!(server.asked(), [None, from(70_000), from(140_000), from(210_000)]);
}

#[test]
fn what_has_changed_between_two_connections_is_fetched_anew() {
    let new: Vec<u8> = body().iter().rev().copied().collect();
    let server = Server::start(&[], [version("\"v1\"", &body(), 70_000), version("\"v2\"", &new, usize::MAX)]);
    Scene::new(&server).is_fetched("talk 1.mp4", &new);
    assert_eq!(server.asked(), [None, from(70_000)]);
}

#[test]
fn a_server_that_gives_the_rest_of_another_file_is_found_out() {
    let lie = format!(
        "HTTP/1.1 206 OK\r\nETag: \"v2\"\r\nContent-Range: bytes 70000-299999/300000\r\n\r\n{}",
        "x".repeat(230_000)
    );
    let server = Server::start(&body(), [version("\"v1\"", &body(), 70_000), Step::Raw(lie), WHOLE]);
    Scene::new(&server).is_fetched("talk 1.mp4", &body());
    assert_eq!(server.asked(), [None, from(70_000), None]);
}

#[test]
fn a_later_run_goes_on_with_what_an_earlier_one_left() {
    let cuts: Vec<Step> = (0..6).map(|_| version("\"v1\"", &body(), 10_000)).collect();
    let server = Server::start(&[], cuts);
    let mut scene = Scene::new(&server);
    let failure = scene.fails();
    assert_eq!(failure.kind, FailureKind::Network, "{failure}");
    assert!(failure.message.contains("60000 of 300000 bytes are kept"), "{failure}");
    let server = Server::start(&[], [version("\"v1\"", &body(), usize::MAX)]);
    let other = Scene::new(&server);
    (scene.url, scene.allow) = (other.url.clone(), other.allow.clone());
    scene.is_fetched("talk 1.mp4", &body());
    assert_eq!(server.asked(), [from(60_000)]);
    // A kill before the daemon had the artifact: nothing is asked for again.
    scene.is_fetched("talk 1.mp4", &body());
    assert_eq!(server.asked().len(), 1);
}

#[test]
fn what_is_torn_or_has_no_version_is_fetched_anew() {
    for (tag, torn) in [("\"v1\"", true), ("W/\"weak\"", false)] {
        let cuts: Vec<Step> = (0..6).map(|_| version(tag, &body(), 10_000)).collect();
        let server = Server::start(&[], cuts);
        let mut scene = Scene::new(&server);
        scene.fails();
        if torn {
            let part = scene.folder.path().join("checkpoint.pieces/.part");
            let mut bytes = std::fs::read(&part).unwrap();
            bytes[30_000] ^= 1;
            std::fs::write(&part, bytes).unwrap();
        }
        let server = Server::start(&body(), [WHOLE]);
        let other = Scene::new(&server);
        (scene.url, scene.allow) = (other.url.clone(), other.allow.clone());
        scene.is_fetched("talk 1.mp4", &body());
        assert_eq!(server.asked(), [None]);
    }
}

#[test]
fn a_page_in_the_files_place_is_no_input() {
    let page = "\n<!DOCTYPE html><title>404</title>";
    for step in [
        raw("200 OK", "Content-Type: text/html; charset=utf-8\r\n", page),
        raw("200 OK", "Content-Type: video/mp4\r\n", page),
    ] {
        let server = Server::start(&body(), [step]);
        let failure = Scene::new(&server).fails();
        assert_eq!(failure.kind, FailureKind::Input, "{failure}");
        assert!(failure.message.contains("web page") && failure.advice.contains("browser"), "{failure}");
    }
}

#[test]
fn lengths_that_are_lies_are_told() {
    // More was announced than comes, over and over.
    let short = || Step::Raw("HTTP/1.1 200 OK\r\nContent-Length: 5000\r\n\r\nmedia".to_owned());
    let server = Server::start(&[], (0..7).map(|_| short()));
    let failure = Scene::new(&server).fails();
    assert_eq!(failure.kind, FailureKind::Network, "{failure}");
    assert!(failure.message.contains("of 5000 bytes are kept"), "{failure}");
    // Nothing at all.
    let server = Server::start(&[], [raw("200 OK", "", "")]);
    assert_eq!(Scene::new(&server).fails().kind, FailureKind::Input);
    // Compressed, although nobody asked.
    let server = Server::start(&[], [raw("200 OK", "Content-Encoding: br\r\n", "media")]);
    assert_eq!(Scene::new(&server).fails().kind, FailureKind::Server);
}

#[test]
fn nothing_grows_past_its_limit() {
    for step in [WHOLE, Step::Chunked(body())] {
        let server = Server::start(&body(), [step]);
        let mut scene = Scene::new(&server);
        scene.bytes_max = 100_000;
        let failure = scene.fails();
        assert_eq!(failure.kind, FailureKind::Input, "{failure}");
        assert!(failure.advice.contains("input_max_mib"), "{failure}");
        let kept = std::fs::metadata(scene.folder.path().join("checkpoint.pieces/.part")).unwrap().len();
        assert!(kept <= 100_000, "{kept}");
    }
    let endless = format!("HTTP/1.1 200 OK\r\n{}", "X-Padding: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\r\n".repeat(20_000));
    let server = Server::start(&[], [Step::Raw(endless)]);
    assert_eq!(Scene::new(&server).fails().kind, FailureKind::Network);
}

#[test]
fn what_the_server_says_decides_the_kind() {
    for (line, kind) in [
        ("401 Unauthorized", FailureKind::Auth),
        ("403 Forbidden", FailureKind::Auth),
        ("404 Not Found", FailureKind::Input),
        ("429 Too Many Requests", FailureKind::RateLimited),
        ("503 Service Unavailable", FailureKind::Server),
    ] {
        let server = Server::start(&[], [raw(line, "Retry-After: 7\r\n", "")]);
        let failure = Scene::new(&server).fails();
        assert_eq!((failure.kind, failure.retry_after_ms), (kind, Some(7_000)), "{failure}");
        assert!(failure.message.contains("/v/talk%201.mp4?…: the server answered"), "{failure}");
    }
}

#[test]
fn redirects_are_followed_to_public_places_and_not_for_ever() {
    let to = |location: &str| raw("302 Found", &format!("Location: {location}\r\n"), "");
    let server = Server::start(&body(), [to("/elsewhere?signed=1"), to("again"), WHOLE]);
    Scene::new(&server).is_fetched("talk 1.mp4", &body());

    let server = Server::start(&[], (0..6).map(|_| to("/round")));
    let failure = Scene::new(&server).fails();
    assert_eq!(failure.kind, FailureKind::Input);
    assert!(failure.message.contains("redirects"), "{failure}");

    for place in [
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:169.254.169.254]/",
        "http://127.0.0.1:1/",
        "http://localhost:1/",
        "http://0x7f.1:1/",
        "http://2130706433:1/",
        "http://[::1]:1/",
        "http://0.0.0.0:1/",
        "http://10.0.0.1/",
        "http://100.64.0.1/",
    ] {
        let server = Server::start(&[], [to(place)]);
        let failure = Scene::new(&server).fails();
        assert_eq!(failure.kind, FailureKind::Permission, "{place}: {failure}");
        assert!(failure.advice.contains("allow = [\""), "{failure}");
    }
    for place in ["file:///etc/passwd", "gopher://127.0.0.1/", "http://a@b@c/"] {
        let server = Server::start(&[], [to(place)]);
        assert_eq!(Scene::new(&server).fails().kind, FailureKind::Input, "{place}");
    }
}

#[test]
fn this_machine_is_out_of_reach_unless_it_is_allowed() {
    let server = Server::start(&[], []);
    let mut scene = Scene::new(&server);
    scene.allow.clear();
    let failure = scene.fails();
    assert_eq!(failure.kind, FailureKind::Permission, "{failure}");
    assert!(failure.message.contains("this machine"), "{failure}");
    assert!(server.asked().is_empty());
    // Another port of an allowed host is another place.
    scene.allow = vec!["127.0.0.1:1".to_owned()];
    assert_eq!(scene.fails().kind, FailureKind::Permission);
}

#[test]
fn a_drip_and_a_silence_end_in_time() {
    for step in [Step::Drip, Step::HalfThenSilence] {
        let server = Server::start(&body(), [step]);
        let failure = Scene::new(&server).fails();
        assert_eq!(failure.kind, FailureKind::Network, "{failure}");
        assert!(failure.message.contains("too slowly"), "{failure}");
    }
}

#[test]
fn a_wish_to_stop_is_heard_while_the_server_is_silent() {
    let server = Server::start(&body(), [Step::HalfThenSilence]);
    let scene = Scene::new(&server);
    std::thread::scope(|scope| {
        let run = scope.spawn(|| scene.run());
        server.half_sent.recv().unwrap();
        scene.stop.store(true, Ordering::Relaxed);
        assert!(matches!(run.join().unwrap(), Err(Halt::Stopped)));
    });
}
