//! A service for several users: each sees and steers what is theirs, administrators and root see all, and nobody gets the daemon to read or write
//! what they can't.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use rustix::fs::{CWD, Mode, RenameFlags, mkfifoat, renameat_with};
use spindle_shared::batch::{BatchSpec, OnExisting, Priority};
use spindle_shared::client::{Client, ClientError, Heard};
use spindle_shared::event::Fact;
use spindle_shared::id::{BatchId, ContentHash, JobId};
use spindle_shared::job::{FileIdentity, Input, OutputPlan, PathBytes};
use spindle_shared::recipe::Recipe;
use spindle_shared::stage::subtitle::Subtitle;
use spindle_shared::stage::transcribe::Transcribe;
use spindle_shared::wire::piece::Piece;
use spindle_shared::wire::request::{Request, Scope, Submission, TakenName, Upload};
use spindle_shared::wire::response::{RefusalKind, Response};
use spindle_tests::harness::{Daemon, PATIENCE, eventually};
use spindle_tests::users::{ADMIN, ANN, BOB, ROOT, Service, as_user, may_become_others, service};

/// Exit codes for a batch's owner, another user, an administrator and root.
type Codes = [u8; 4];
const WHO: [u32; 4] = [ANN, BOB, ADMIN, ROOT];

/// A batch of Ann's as a verb needs it.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Need {
    /// It has ended well; the same for all.
    Ended,
    /// It is long at its decoding, which takes one slot of many; the same for all.
    Open,
    /// One of its own for each who tries.
    OwnOpen,
    OwnFailed,
    OwnEnded,
}

/// A batch is named by `ID`, a folder of the caller's by `DIR`.
const OF_A_BATCH: [(&str, Need, Codes); 34] = [
    ("status ID", Need::Open, [0, 11, 0, 0]),
    ("status ID/1", Need::Open, [0, 11, 0, 0]),
    ("status ID", Need::Ended, [0, 11, 0, 0]),
    ("jobs ID", Need::Open, [0, 11, 0, 0]),
    ("jobs ID", Need::Ended, [0, 11, 0, 0]),
    ("explain ID", Need::Open, [0, 11, 0, 0]),
    ("explain ID/1", Need::Open, [0, 11, 0, 0]),
    ("explain ID/1", Need::Ended, [0, 11, 0, 0]),
    ("logs ID", Need::Ended, [0, 11, 0, 0]),
    ("logs ID/1", Need::Open, [0, 11, 0, 0]),
    ("watch ID", Need::Ended, [0, 11, 0, 0]),
    ("wait ID", Need::Ended, [0, 11, 0, 0]),
    ("wait ID --timeout 1", Need::Open, [124, 11, 124, 124]),
    ("result ID", Need::Ended, [0, 11, 0, 0]),
    ("result ID", Need::Open, [10, 11, 10, 10]),
    ("report ID", Need::Ended, [0, 11, 0, 0]),
    ("fetch ID -o DIR", Need::Ended, [0, 11, 0, 0]),
    ("fetch ID/1 -o DIR", Need::Ended, [0, 11, 0, 0]),
    ("fetch ID -o DIR", Need::Open, [10, 11, 10, 10]),
    ("export ID --force -o DIR/all.zip", Need::Ended, [0, 11, 3, 0]),
    ("pause ID", Need::OwnOpen, [0, 11, 0, 0]),
    ("pause --now ID", Need::OwnOpen, [0, 11, 0, 0]),
    ("resume ID", Need::OwnOpen, [0, 11, 0, 0]),
    ("prioritize ID urgent", Need::OwnOpen, [0, 11, 0, 0]),
    ("cancel ID", Need::OwnOpen, [0, 11, 0, 0]),
    ("cancel ID/1", Need::OwnOpen, [0, 11, 0, 0]),
    ("cancel ID", Need::Ended, [1, 11, 1, 1]),
    ("prioritize ID 3", Need::Ended, [1, 11, 1, 1]),
    ("retry ID", Need::OwnFailed, [0, 11, 0, 0]),
    ("retry ID/1", Need::OwnFailed, [0, 11, 0, 0]),
    ("remove ID", Need::Open, [1, 11, 1, 1]),
    ("remove ID", Need::OwnEnded, [0, 11, 0, 0]),
    ("remove --purge ID", Need::OwnEnded, [0, 11, 0, 0]),
    ("submit subtitles --after ID --dry-run x.wav", Need::Open, [0, 11, 0, 0]),
];

/// What is about the house; those that end it come last.
const OF_THE_HOUSE: [(&str, Codes); 25] = [
    ("list", [0, 0, 0, 0]),
    ("status", [0, 0, 0, 0]),
    ("failures", [0, 0, 0, 0]),
    ("stats", [0, 0, 0, 0]),
    ("health", [0, 0, 0, 0]),
    ("workers", [0, 0, 0, 0]),
    ("lanes", [0, 0, 0, 0]),
    ("models list", [0, 0, 0, 0]),
    ("models pull --no-wait tiny", [11, 11, 0, 0]),
    ("profiles", [0, 0, 0, 0]),
    ("providers list", [0, 0, 0, 0]),
    ("recipes list", [0, 0, 0, 0]),
    ("stores list", [0, 0, 0, 0]),
    ("logs", [11, 11, 0, 0]),
    ("folder list", [0, 0, 0, 0]),
    // What is watched is read as the daemon.
    ("folder remove 9", [11, 11, 11, 7]),
    ("metrics", [11, 11, 0, 0]),
    ("gc --dry-run", [11, 11, 0, 0]),
    ("gc", [11, 11, 0, 0]),
    ("reload", [11, 11, 0, 0]),
    // An administrator is not the daemon's user: what that one may write is not theirs to have written.
    ("backup DIR/queue.redb", [11, 11, 11, 0]),
    ("pause", [11, 11, 0, 0]),
    ("resume", [11, 11, 0, 0]),
    ("drain", [11, 11, 0, 0]),
    ("shutdown", [11, 11, 0, 0]),
];

/// They ask no daemon, or whatever daemon there is for its health.
const OF_NOBODY: [&str; 4] = ["completions", "man", "help", "doctor"];
/// Goes on for ten minutes, and obeys.
const OPEN: &str = "slow-600000@decode";

struct Matrix {
    service: Service,
    ended: u64,
    open: u64,
    made: u32,
}

impl Matrix {
    fn new() -> Matrix {
        let setup = Daemon::scripted().set("lanes.cpu", 64).env("SPINDLE_MODELS__MIRROR", "http://127.0.0.1:9");
        let mut matrix = Matrix { service: service(setup), ended: 0, open: 0, made: 0 };
        for user in WHO {
            matrix.service.file(user, "x.wav", b"x");
        }
        matrix.ended = matrix.batch("ok");
        matrix.open = matrix.batch(OPEN);
        matrix
    }

    /// A new batch of Ann's, at its end unless it is the long one.
    fn batch(&mut self, script: &str) -> u64 {
        self.made += 1;
        // A folder of its own: the script is all of the name.
        let folder = self.service.home(ANN).join(format!("batch{}", self.made));
        as_user(ANN, {
            let folder = folder.clone();
            move || fs::create_dir(folder).unwrap()
        });
        let content = format!("batch {}", self.made);
        let file = self.service.file(ANN, &format!("batch{}/{script}.wav", self.made), content.as_bytes());
        let id = self.service.submit(ANN, &format!("--retries 0 {}", file.display()));
        if script == OPEN {
            self.service.daemon.begun(script);
        } else {
            self.service.daemon.ended_batch(BatchId(id));
        }
        id
    }

    fn needed(&mut self, need: Need) -> u64 {
        match need {
            Need::Ended => self.ended,
            Need::Open => self.open,
            Need::OwnOpen => self.batch(OPEN),
            Need::OwnFailed => self.batch("fail-input@transcribe"),
            Need::OwnEnded => self.batch("ok"),
        }
    }

    fn try_it(&self, user: u32, line: &str, id: u64, code: u8) {
        let folder = self.service.home(user).join(format!("out{}", line.len() + usize::from(line.contains("/1"))));
        as_user(user, {
            let folder = folder.clone();
            move || fs::create_dir_all(folder).unwrap()
        });
        let line = line.replace("ID", &id.to_string()).replace("DIR", folder.to_str().unwrap());
        let ran = self.service.say(user, &line);
        assert_eq!(ran.code, i32::from(code), "{user} says `{line}`\n{}{}", ran.out, ran.err);
        if code == 11 {
            assert!(!ran.out.contains("batch"), "{user} says `{line}` and is told {}", ran.out);
        }
    }
}

#[test]
fn every_verb_is_for_whom_it_should_be() {
    if !may_become_others("every verb by owner, other, administrator and root") {
        return;
    }
    let mut matrix = Matrix::new();
    for (line, need, codes) in OF_A_BATCH {
        for (user, code) in WHO.into_iter().zip(codes) {
            let id = matrix.needed(need);
            matrix.try_it(user, line, id, code);
            if need == Need::OwnOpen {
                matrix.service.say(ROOT, &format!("cancel {id}"));
            }
        }
    }
    for (line, codes) in OF_THE_HOUSE {
        if line == "drain" {
            // It waits for what runs.
            matrix.service.say(ROOT, "cancel --all").expect(0);
        }
        for (user, code) in WHO.into_iter().zip(codes) {
            matrix.try_it(user, line, 0, code);
            if line == "shutdown" && code == 0 {
                matrix.service.daemon.ended();
                matrix.service.daemon.start();
            }
        }
    }
    let lines = OF_A_BATCH.iter().map(|(line, ..)| *line).chain(OF_THE_HOUSE.iter().map(|(line, _)| *line));
    let tried: BTreeSet<&str> = lines.filter_map(|line| line.split(' ').next()).chain(OF_NOBODY).collect();
    let help = matrix.service.say(ANN, "--help").expect(0).out;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1);
    let verbs: Vec<&str> = commands
        .take_while(|line| !line.is_empty())
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .collect();
    assert!(verbs.len() > 25, "{help}");
    for verb in verbs {
        assert!(tried.contains(verb), "`{verb}` is in no line of the table");
    }
}

#[test]
fn nobody_sees_or_counts_anothers_batches() {
    if !may_become_others("what two users see of each other") {
        return;
    }
    let mut matrix = Matrix::new();
    let failed = matrix.batch("fail-input@transcribe");
    let bobs = matrix.service.file(BOB, "ok.wav", b"bob's");
    let own = matrix.service.submit(BOB, bobs.to_str().unwrap());
    matrix.service.daemon.ended_batch(BatchId(own));
    let service = &matrix.service;
    let json = |user: u32, line: &str| service.say(user, &format!("--json {line}")).expect(0).json();
    let listed = |user: u32| -> BTreeSet<u64> {
        json(user, "list").as_array().unwrap().iter().map(|batch| batch["batch_id"].as_u64().unwrap()).collect()
    };
    let anns = BTreeSet::from([matrix.ended, matrix.open, failed]);
    let all = anns.iter().copied().chain([own]).collect();
    assert_eq!((listed(ANN), listed(BOB)), (anns, BTreeSet::from([own])));
    assert_eq!((listed(ADMIN), listed(ROOT)), (all, listed(ADMIN)));
    // A filter for somebody else's finds nothing, and does nothing.
    assert_eq!(json(BOB, &format!("list --owner {ANN}")).as_array().unwrap().len(), 0);
    service.say(BOB, &format!("cancel --all --owner {ANN}"));
    service.say(BOB, "cancel --all");
    service.say(BOB, "retry --all");
    service.say(BOB, "remove --all");
    assert_eq!(json(ANN, &format!("status {}", matrix.open))["state"], "running");
    assert_eq!(json(ANN, &format!("status {failed}"))["state"], "failed");

    let failures = |user: u32| json(user, "failures").to_string().contains("fail-input");
    assert_eq!([ANN, BOB, ADMIN, ROOT].map(failures), [true, false, true, true]);
    let house = |user: u32| {
        let client = as_user(user, {
            let socket = service.daemon.socket();
            move || Client::connect(&socket).unwrap().call(&Request::House).unwrap()
        });
        client.into_iter().find_map(|frame| if let Response::House(view) = frame { Some(view) } else { None }).unwrap()
    };
    let open = |user: u32| (house(user).batches_open, house(user).counts.running);
    assert_eq!([ANN, BOB, ADMIN, ROOT].map(open), [(1, 1), (0, 0), (1, 1), (1, 1)]);
    let runs = |user: u32| json(user, "workers").to_string().contains("\"runs\":[{");
    assert!(!runs(BOB));
    // Bob has removed his.
    let submitted = |user: u32| json(user, "stats")["batches_submitted"].as_u64().unwrap();
    assert_eq!([ANN, BOB, ADMIN, ROOT].map(submitted), [3, 0, 3, 3]);
}

#[test]
fn events_reach_only_those_whose_they_are() {
    if !may_become_others("events of two users") {
        return;
    }
    let service = service(Daemon::scripted());
    let anns = service.file(ANN, "ok.wav", b"ann's");
    let socket = service.daemon.socket();
    let (ready, go) = std::sync::mpsc::channel();
    let listener = std::thread::spawn(move || {
        as_user(BOB, move || {
            let mut watches: Vec<_> = [Scope::House, Scope::Overview]
                .map(|scope| Client::connect(&socket).unwrap().watch(scope, 100).unwrap())
                .into();
            for watch in &mut watches {
                assert!(matches!(watch.hear(None).unwrap(), Heard::Snapshot(snapshot) if snapshot.batches.is_empty()));
            }
            ready.send(()).unwrap();
            let mut heard = Vec::new();
            for watch in &mut watches {
                let until = Instant::now() + PATIENCE;
                loop {
                    match watch.hear(Some(until)).unwrap() {
                        Heard::Event(event) => {
                            heard.extend(event.fact.batch());
                            if matches!(&event.fact, Fact::Batch(batch) if batch.state.is_terminal()) {
                                break;
                            }
                        }
                        other => panic!("{other:?}"),
                    }
                }
            }
            heard
        })
    });
    go.recv().unwrap();
    let first = service.submit(ANN, anns.to_str().unwrap());
    service.daemon.ended_batch(BatchId(first));
    service.say(ANN, &format!("remove {first}")).expect(0);
    let bobs = service.file(BOB, "ok.wav", b"bob's");
    let own = service.submit(BOB, bobs.to_str().unwrap());
    let heard = listener.join().unwrap();
    assert!(heard.len() > 2 && heard.iter().all(|batch| batch.0 == own), "{heard:?}");
    // Nor may one be named.
    let second = service.submit(ANN, service.file(ANN, "hang@transcribe.wav", b"more").to_str().unwrap());
    let socket = service.daemon.socket();
    let refused = as_user(BOB, move || {
        [Scope::Batches(vec![BatchId(second)]), Scope::Window { batch: BatchId(second), from: 1, len: 9 }].map(
            |scope| {
                let mut watch = Client::connect(&socket).unwrap().watch(scope, 9).unwrap();
                match watch.hear(None) {
                    Err(ClientError::Refused(refusal)) => refusal.kind,
                    other => panic!("{other:?}"),
                }
            },
        )
    });
    assert_eq!(refused, [RefusalKind::NotPermitted; 2]);
}

#[test]
fn inputs_go_and_outputs_come_over_the_socket() {
    if !may_become_others("inputs and outputs of a user") {
        return;
    }
    let service = service(Daemon::real());
    let sound = fs::read(service.daemon.sound("talk.wav", 2.0)).unwrap();
    let talk = service.file(ANN, "talk.wav", &sound);
    service.say(ANN, "submit subtitles --dry-run talk.wav").expect(0);
    assert_eq!(service.daemon.files("state/spool"), [] as [String; 0], "nothing is sent for a dry run");

    service.say(ANN, "submit subtitles --wait talk.wav").expect(0).says(&["sending 1 file", "2 outputs written"]);
    for name in ["talk.en.srt", "talk.en.vtt"] {
        let meta = fs::metadata(service.home(ANN).join(name)).unwrap();
        assert_eq!((meta.uid(), meta.len() > 0), (ANN, true), "{name}");
    }
    let files = || fs::read_dir(service.home(ANN)).unwrap().count();
    assert_eq!(files(), 3, "no part is left");
    // Names are the user's own.
    let job = service.say(ANN, "--json status 1/1").expect(0).json();
    assert_eq!(job["input"], talk.to_str().unwrap());
    assert_eq!(job["outputs"][0]["path"], service.home(ANN).join("talk.en.srt").to_str().unwrap());
    assert!(!job.to_string().contains("spool"), "{job}");

    // What is there is kept: the same stays, another is refused before anything is written.
    service.say(ANN, "submit subtitles talk.wav").expect(2).says(&["2 outputs exist already"]);
    let again = service.say(ANN, "--json fetch 1").expect(0).json();
    assert_eq!(again["files"][0]["unchanged"], true);
    fs::write(service.home(ANN).join("talk.en.srt"), "better words").unwrap();
    fs::remove_file(service.home(ANN).join("talk.en.vtt")).unwrap();
    service.say(ANN, "fetch 1").expect(2).says(&["talk.en.srt", "--force"]);
    assert!(!service.home(ANN).join("talk.en.vtt").exists());
    service.say(ANN, "fetch 1 -o elsewhere").expect(0);
    let words = fs::read_to_string(service.home(ANN).join("elsewhere/talk.en.srt")).unwrap();
    assert!(words.contains("-->"), "{words}");
    service.say(ANN, "fetch 1 --force").expect(0);
    assert_eq!(fs::read_to_string(service.home(ANN).join("talk.en.srt")).unwrap(), words);
    service.say(ANN, "export 1 -o all.zip").expect(0);
    service.say(ANN, "report 1").expect(0);

    // Another's outputs go where root says, and never where another says.
    service.say(ROOT, "fetch 1").expect(2).says(&["somebody else's", "-o"]);
    service.say(ROOT, "fetch 1 -o here").expect(0);

    // With -o and a folder that climbs, into the user's own folder; skipped names aren't sent.
    service.ctl(ANN, ["submit", "subtitles", "--wait", "-o", "elsewhere/../new", "talk.wav"]).expect(0);
    assert!(service.home(ANN).join("new/talk.en.vtt").exists());
    service.say(ANN, "submit subtitles --wait --skip-existing talk.wav").expect(0);
    service.say(ANN, "submit subtitles --wait --force --max-words 1 talk.wav").expect(0);
    assert_ne!(fs::read_to_string(service.home(ANN).join("talk.en.srt")).unwrap(), words);

    // What a batch has in the spool goes with it.
    service.say(ANN, "remove 1-4").expect(0);
    assert_eq!(service.daemon.files("state/spool"), [] as [String; 0]);
}

#[test]
fn outputs_wait_over_a_restart_and_parts_are_taken_up() {
    if !may_become_others("what waits in the spool") {
        return;
    }
    let mut service = service(Daemon::scripted());
    let file = service.file(ANN, "ok.wav", b"some words");
    let id = service.submit(ANN, file.to_str().unwrap());
    service.daemon.ended_batch(BatchId(id));
    service.daemon.kill();
    service.daemon.start();
    service.say(ANN, &format!("fetch {id}")).expect(0);

    // A client that dies on the way leaves a part, which is no input, and is not sent twice.
    let bytes: Vec<u8> = (0..600_000_u32).map(|byte| byte as u8).collect();
    let path = service.file(ANN, "talk.wav", &bytes);
    let upload = Upload {
        key: "mine".to_owned(),
        path: path.as_path().into(),
        bytes: bytes.len() as u64,
        mtime_ns: FileIdentity::of(&fs::metadata(&path).unwrap()).mtime_ns,
    };
    let (socket, first) = (service.daemon.socket(), bytes[..256 << 10].to_vec());
    as_user(ANN, move || {
        let mut line = Client::connect(&socket).unwrap().ask(&Request::Upload(upload)).unwrap();
        assert!(matches!(line.next(), Some(Ok(Response::Sending(there))) if there.bytes == 0));
        assert!(line.say(&Request::Piece(Piece(first))));
    });
    let parts = || service.daemon.files("state/spool").into_iter().filter(|name| name.contains("/parts/")).count();
    eventually("the part is written", || (parts() == 1).then_some(()));
    eventually("the dead client is gone", || {
        let ran = service.ctl(ANN, ["-q", "submit", "subtitles", "--key", "mine", path.to_str().unwrap()]);
        (ran.code == 0).then_some(())
    });
    assert_eq!(parts(), 0);
    let sent: Vec<String> =
        service.daemon.files("state/spool").into_iter().filter(|name| name.ends_with("talk.wav")).collect();
    assert_eq!(fs::read(service.daemon.state().join("spool").join(&sent[0])).unwrap(), bytes);
}

#[test]
fn a_user_has_so_much_room_and_no_more() {
    if !may_become_others("a user's quota") {
        return;
    }
    let service = service(Daemon::scripted().set("spool.user_mib", 1));
    let small = service.file(ANN, "ok.wav", &[1; 900_000]);
    let id = service.submit(ANN, small.to_str().unwrap());
    service.daemon.ended_batch(BatchId(id));
    let more = service.file(ANN, "ok-1.wav", &[2; 900_000]);
    let ran = service.ctl(ANN, ["submit".as_ref(), "subtitles".as_ref(), more.as_os_str()]).expect(6);
    ran.says(&["spool.user_mib = 1", "remove"]);
    let bobs = service.file(BOB, "ok.wav", &[3; 900_000]);
    service.submit(BOB, bobs.to_str().unwrap());
    service.say(ANN, &format!("remove {id}")).expect(0);
    service.submit(ANN, more.to_str().unwrap());
}

/// What only root may read, and a mark to find it by.
const SECRET: &[u8] = b"the secret of root: 0x5eC3e7";

fn is_anywhere(folder: &Path, mark: &[u8]) -> bool {
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(kind) if kind.is_file() => {
                    let bytes = fs::read(entry.path()).unwrap_or_default();
                    if bytes.windows(mark.len()).any(|window| window == mark) {
                        return true;
                    }
                }
                _ => {}
            }
        }
    }
    false
}

#[test]
fn what_a_user_cannot_read_is_never_sent() {
    if !may_become_others("inputs that a user can't read") {
        return;
    }
    let service = service(Daemon::scripted());
    let home = service.home(ANN);
    let secret = service.file(ROOT, "secret.wav", SECRET);
    let bobs = service.file(BOB, "private.wav", SECRET);
    symlink(&secret, home.join("link.wav")).unwrap();
    // Root made it, by mistake: the name is Ann's, the file is not.
    fs::hard_link(&secret, home.join("hard.wav")).unwrap();
    mkfifoat(CWD, home.join("pipe.wav"), Mode::from_raw_mode(0o666)).unwrap();
    symlink("/proc/self/fd/0", home.join("fd.wav")).unwrap();
    symlink("/proc/1/environ", home.join("environ.wav")).unwrap();
    let daemon = service.daemon.pid().as_raw_nonzero();
    for name in [
        "link.wav".to_owned(),
        "hard.wav".to_owned(),
        "pipe.wav".to_owned(),
        "fd.wav".to_owned(),
        "environ.wav".to_owned(),
        bobs.to_str().unwrap().to_owned(),
        "/etc/shadow".to_owned(),
        "/proc/1/environ".to_owned(),
        format!("/proc/{daemon}/environ"),
        format!("/proc/{daemon}/root{}", secret.display()),
        format!("/proc/{daemon}/fd/0"),
    ] {
        let ran = service.ctl(ANN, ["submit", "subtitles", &name]);
        assert_eq!(ran.code, 2, "{name}: {}", ran.err);
    }
    // A name that is now a file of Ann's, now a link to root's.
    let target = home.join("ok.wav");
    service.file(ANN, "ok.wav", b"harmless");
    let other = home.join("other.wav");
    symlink(&secret, &other).unwrap();
    let over = Arc::new(AtomicBool::new(false));
    let swapper = std::thread::spawn({
        let over = Arc::clone(&over);
        move || {
            while !over.load(Ordering::Relaxed) {
                renameat_with(CWD, &target, CWD, &other, RenameFlags::EXCHANGE).unwrap();
            }
        }
    });
    let mut codes = BTreeSet::new();
    for number in 0..30 {
        codes.insert(service.say(ANN, &format!("submit subtitles --force --key k{number} ok.wav")).code);
    }
    over.store(true, Ordering::Relaxed);
    swapper.join().unwrap();
    assert!(codes.is_subset(&BTreeSet::from([0, 1, 2])), "{codes:?}");
    assert!(!is_anywhere(&service.daemon.state(), SECRET), "{codes:?}");
}

#[test]
fn what_a_user_cannot_write_is_never_written() {
    if !may_become_others("outputs where a user can't write") {
        return;
    }
    let service = service(Daemon::scripted());
    let file = service.file(ANN, "ok.wav", b"some words");
    let (home, bobs) = (service.home(ANN), service.home(BOB));
    symlink(&bobs, home.join("out")).unwrap();
    for folder in ["out", "/etc", bobs.to_str().unwrap()] {
        let ran = service.ctl(ANN, ["submit", "subtitles", "-o", folder, "ok.wav"]);
        assert_eq!(ran.code, 2, "{folder}: {}", ran.err);
    }
    // What the name means is a matter of her own program, and of no other.
    let ran = service.ctl(ANN, ["submit", "subtitles", "--wait", "-o", "/proc/self/fd", "ok.wav"]);
    assert_eq!(ran.code, 1, "{}", ran.err);
    // It was hers when she submitted, and leads to his when it is fetched.
    let own = home.join("own");
    as_user(ANN, {
        let own = own.clone();
        move || fs::create_dir(own).unwrap()
    });
    let line = ["-q", "submit", "subtitles", "-o", "own", file.to_str().unwrap()];
    let id: u64 = service.ctl(ANN, line).expect(0).out.trim().parse().unwrap();
    service.daemon.ended_batch(BatchId(id));
    fs::remove_dir(&own).unwrap();
    symlink(&bobs, &own).unwrap();
    let ran = service.say(ANN, &format!("fetch {id}"));
    assert_eq!(ran.code, 1, "{}", ran.err);
    // And one that is in the way and leads elsewhere is not followed.
    fs::remove_file(&own).unwrap();
    as_user(ANN, {
        let own = own.clone();
        move || fs::create_dir(own).unwrap()
    });
    let theirs = service.file(BOB, "theirs.srt", b"bob's own words");
    symlink(&theirs, own.join("ok.srt")).unwrap();
    service.say(ANN, &format!("fetch {id}")).expect(2);
    service.say(ANN, &format!("fetch --force {id}")).expect(2).says(&["no regular file"]);
    assert_eq!(fs::read(&theirs).unwrap(), b"bob's own words");
    let names: Vec<_> = fs::read_dir(&bobs).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(names, ["theirs.srt"]);
}

fn spec(key: &str, on_existing: OnExisting) -> BatchSpec {
    BatchSpec {
        recipe: Recipe::subtitles(Default::default(), Transcribe::default(), Subtitle::default(), Default::default()),
        name: None,
        tags: Vec::new(),
        priority: Priority::NORMAL,
        parallel: 1,
        retries: None,
        timeout: None,
        key: Some(key.to_owned()),
        on_existing,
        terms: Default::default(),
        gather_to: None,
    }
}

fn submission(path: &str, folder: &str, stem: &str) -> Submission {
    let identity = FileIdentity { dev: 1, inode: 1, bytes: 3, mtime_ns: 1, ctime_ns: 1 };
    Submission {
        input: Input::File { path: PathBytes(path.into()), identity },
        output: OutputPlan { directory: PathBytes(folder.into()), stem: PathBytes(stem.into()) },
        stages: None,
        taken: Vec::new(),
    }
}

/// Asks as Ann, by the wire and past everything that spindlectl checks.
fn asked(service: &Service, spec: BatchSpec, input: Submission) -> Result<Vec<Response>, ClientError> {
    let socket = service.daemon.socket();
    as_user(ANN, move || Client::connect(&socket)?.submit(spec, 1, false, [input]))
}

#[test]
fn a_client_of_ones_own_making_gets_no_further() {
    if !may_become_others("a hostile client") {
        return;
    }
    let service = service(Daemon::scripted());
    let secret = service.file(ROOT, "secret.wav", SECRET);
    let shadow = secret.to_str().unwrap();
    // Files are not opened where they lie: they are asked for.
    for path in [shadow, "/etc/shadow", "/proc/self/fd/3", "/proc/1/root/etc/shadow", "/a/../../../etc/shadow"] {
        let answer = asked(&service, spec("a", OnExisting::Refuse), submission(path, "/home/ann", "x")).unwrap();
        assert_eq!(answer, [Response::Unsent(vec![PathBytes(path.into())])], "{path}");
    }
    // Names that lead out of where they belong, or nowhere.
    for (path, folder, stem) in [
        ("etc/shadow", "/home/ann", "x"),
        ("/x\0y", "/home/ann", "x"),
        ("/x", "relative", "x"),
        ("/x", "/a\0b", "x"),
        ("/x", "/home/ann", "../../../../../../etc/cron.d/x"),
        ("/x", "/home/ann", "a/b"),
        ("/x", "/home/ann", ""),
        ("/x", "/home/ann", "a\0b"),
    ] {
        match asked(&service, spec("b", OnExisting::Force), submission(path, folder, stem)) {
            Err(ClientError::Refused(refusal)) => {
                assert_eq!(refusal.kind, RefusalKind::Usage, "{path} {folder} {stem}")
            }
            other => panic!("{path} {folder} {stem}: {other:?}"),
        }
    }
    let send = |path: &str, bytes: &'static [u8], say: &'static [u8]| {
        let upload =
            Upload { key: "c".to_owned(), path: PathBytes(path.into()), bytes: bytes.len() as u64, mtime_ns: 1 };
        let socket = service.daemon.socket();
        as_user(ANN, move || {
            let mut line = Client::connect(&socket)?.ask(&Request::Upload(upload))?;
            line.next().unwrap()?;
            line.say(&Request::Piece(Piece(say.to_vec())));
            line.say(&Request::Sent(ContentHash::of(bytes)));
            line.next().unwrap()
        })
    };
    for path in ["x", "", "/x\0"] {
        assert!(matches!(send(path, b"abc", b"abc"), Err(ClientError::Refused(_))), "{path}");
    }
    assert!(matches!(send("/x", b"abc", b"ab"), Err(ClientError::Refused(_))), "too short");
    assert!(matches!(send("/x", b"abc", b"abcd"), Err(ClientError::Refused(_))), "too long");
    assert!(matches!(send("/x", b"abc", b"abd"), Err(ClientError::Refused(_))), "something else");
    assert_eq!(send("/etc/passwd", b"abc", b"abc").unwrap(), Response::Arrived, "a name is a name");
    assert!(fs::read_to_string("/etc/passwd").unwrap().contains("root:"));

    // Names that are taken are not looked at: a pipe would be waited for.
    let pipe = service.home(ANN).join("pipe");
    mkfifoat(CWD, &pipe, Mode::from_raw_mode(0o666)).unwrap();
    let mut input = submission("/etc/passwd", "/home/ann", "x");
    for path in [pipe.as_path(), &secret] {
        let identity = FileIdentity { dev: 1, inode: 1, bytes: 3, mtime_ns: 1, ctime_ns: 1 };
        input.taken.push(TakenName { path: path.into(), identity });
    }
    let answer = asked(&service, spec("c", OnExisting::Skip), input).unwrap();
    assert!(answer.iter().any(|frame| matches!(frame, Response::Submitted(_))), "{answer:?}");

    // Folders anywhere are folders in the spool.
    assert_eq!(send("/y", b"abc", b"abc").unwrap(), Response::Arrived);
    let answer = asked(&service, spec("c2", OnExisting::Force), submission("/y", "/etc", "x")).unwrap();
    assert!(matches!(answer[..], [Response::Unsent(_)]), "another key, another folder");
    let mut other = spec("c", OnExisting::Force);
    other.key = Some("c".to_owned());
    let answer = asked(&service, other, submission("/y", "/etc/../../etc/cron.d", "x")).unwrap();
    assert!(answer.iter().any(|frame| matches!(frame, Response::Submitted(batch) if batch.repeated)), "{answer:?}");

    // A model by its path, one to be installed, and a copy of the queue.
    let mut by_path = spec("d", OnExisting::Force);
    by_path.recipe.map[2..3].iter_mut().for_each(|stage| {
        if let spindle_shared::stage::Stage::Transcribe(stage) = stage {
            stage.model.name = shadow.to_owned();
        }
    });
    let refused = |answer: Result<Vec<Response>, ClientError>| match answer {
        Err(ClientError::Refused(refusal)) => refusal.kind,
        other => panic!("{other:?}"),
    };
    assert_eq!(refused(asked(&service, by_path, submission("/y", "/", "x"))), RefusalKind::NotPermitted);
    for user in [ANN, ADMIN] {
        let (socket, copy) = (service.daemon.socket(), service.home(user).join("copy"));
        let answer = as_user(user, move || Client::connect(&socket)?.call(&Request::Backup(copy.into())));
        assert_eq!(refused(answer), RefusalKind::NotPermitted);
    }

    // Nobody's outputs but one's own.
    let bobs = service.file(BOB, "ok.wav", b"bob's");
    let id = service.submit(BOB, bobs.to_str().unwrap());
    service.daemon.ended_batch(BatchId(id));
    let fetch = |user: u32, index: u32, output: u32| {
        let (socket, job) = (service.daemon.socket(), JobId { batch: BatchId(id), index });
        as_user(user, move || Client::connect(&socket)?.fetch(job, output).map(|file| file.bytes))
    };
    assert!(fetch(BOB, 1, 0).unwrap() > 0);
    for (user, index, output, kind) in [
        (ANN, 1, 0, RefusalKind::NotPermitted),
        (BOB, 1, 99, RefusalKind::NotFound),
        (BOB, 9, 0, RefusalKind::NotFound),
    ] {
        match fetch(user, index, output) {
            Err(ClientError::Refused(refusal)) => assert_eq!(refusal.kind, kind),
            other => panic!("{other:?}"),
        }
    }
    assert!(!is_anywhere(&service.daemon.state(), SECRET));
    assert!(!Path::new("/etc/cron.d/x").exists());
}

/// A user's daemon that root runs: its socket is root's, and where somebody has opened it, it still opens no file for others.
#[test]
fn a_users_daemon_opens_files_for_its_own_user_only() {
    if !may_become_others("another user at a user's daemon") {
        return;
    }
    let daemon = Daemon::scripted().start();
    let secret = daemon.script("ok");
    let socket = daemon.socket();
    let knock = {
        let socket = socket.clone();
        move || as_user(ANN, move || Client::connect(&socket).is_ok())
    };
    assert!(!knock.clone()(), "its folder and its mode keep others out");
    for folder in [daemon.root().to_owned(), daemon.root().join("run"), socket.clone()] {
        fs::set_permissions(folder, fs::Permissions::from_mode(0o777)).unwrap();
    }
    assert!(knock());
    let input = submission(secret.to_str().unwrap(), daemon.media().to_str().unwrap(), "ok");
    let answer =
        as_user(ANN, move || Client::connect(&socket)?.submit(spec("e", OnExisting::Force), 1, false, [input]));
    match answer {
        Err(ClientError::Refused(refusal)) => assert_eq!(refusal.kind, RefusalKind::NotPermitted),
        other => panic!("{other:?}"),
    }
}
