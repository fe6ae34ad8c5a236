//! The supervisor with real processes that crash, hang and lie as scripted. Waits on notes, never on time.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};
use spindle_shared::failure::FailureKind;
use spindle_shared::id::{ContentHash, RunId, WorkerId};
use spindle_shared::job::{FileIdentity, OutputPlan, PathBytes};
use spindle_shared::lane::Role;
use spindle_shared::stage::Stage;
use spindle_shared::stage::identify::Identify;
use spindle_shared::stage::transcribe::Transcribe;
use spindle_shared::worker::{Assignment, InputFile, Outcome};

use super::*;

/// Far longer than anything here takes; reached only by a test that fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// A supervisor with the scripted worker, and the notes it tells.
struct House {
    supervisor: Supervisor,
    notes: Receiver<Note>,
    folder: tempfile::TempDir,
    runs: u64,
}

impl House {
    fn new() -> Self {
        House::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut Settings)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut settings = Settings::new(scripted_worker(), folder.path().join("workers.lock"));
        settings.capacity = Box::new(|role, _| if role == Role::Files { 4 } else { 1 });
        change(&mut settings);
        let (sender, notes) = mpsc::channel();
        let supervisor = Supervisor::new(settings, move |note| {
            let _ = sender.send(note);
        });
        House { supervisor: supervisor.unwrap(), notes, folder, runs: 0 }
    }

    fn order(&mut self, script: &str) -> StartOrder {
        self.runs += 1;
        let assignment = Assignment {
            scratch: self.folder.path().into(),
            output: OutputPlan { directory: self.folder.path().into(), stem: PathBytes(script.into()) },
            part_tag: "0000".to_owned(),
            ..Assignment::of(RunId { boot: 1, counter: self.runs }, Stage::Identify(Identify {}))
        };
        StartOrder {
            assignment,
            open: Vec::new(),
            role: Role::Files,
            model: None,
            device: None,
            alone: false,
            timeout_ms: 60_000,
        }
    }

    fn speech(&mut self, script: &str, model: &str) -> StartOrder {
        let mut order = self.order(script);
        order.role = Role::Speech;
        order.assignment.stage = Stage::Transcribe(Transcribe::default());
        order.model = Some(PathBytes(model.into()));
        order
    }

    fn start(&mut self, script: &str) -> RunId {
        let order = self.order(script);
        self.give(order)
    }

    fn give(&self, order: StartOrder) -> RunId {
        let run = order.assignment.run;
        self.supervisor.start(order);
        run
    }

    /// The next note but progress and comings.
    fn next(&self) -> Note {
        loop {
            match self.any() {
                Note::Progress { .. } | Note::Asked { .. } | Note::Up { .. } => {}
                note => return note,
            }
        }
    }

    fn any(&self) -> Note {
        self.notes.recv_timeout(PATIENCE).expect("a note comes")
    }

    /// Waits until these runs are with their worker and at work.
    fn await_progress(&self, runs: &[RunId]) {
        let mut missing = runs.to_vec();
        while !missing.is_empty() {
            match self.any() {
                Note::Progress { run, .. } => missing.retain(|other| *other != run),
                Note::Up { .. } => {}
                other => panic!("{other:?} before {missing:?} came to work"),
            }
        }
    }

    fn failure(&self, run: RunId) -> (FailureKind, String) {
        match self.next() {
            Note::Ended { run: ended, outcome: Outcome::Failed(failure), .. } if ended == run => {
                (failure.kind, failure.message)
            }
            other => panic!("no failure of {run}: {other:?}"),
        }
    }

    fn done(&self, run: RunId) -> WorkerId {
        match self.next() {
            Note::Ended { run: ended, outcome: Outcome::Done(_), worker: Some(worker) } if ended == run => worker,
            other => panic!("{run} isn't done: {other:?}"),
        }
    }

    fn lost(&self) -> (Vec<RunId>, Death, Option<RunId>, String) {
        match self.next() {
            Note::Lost { runs, how, cause_run, stderr_tail, .. } => (runs, how, cause_run, stderr_tail),
            other => panic!("nothing lost: {other:?}"),
        }
    }

    fn down(&self) -> (WorkerId, Option<Death>) {
        match self.next() {
            Note::Down { worker, how, .. } => (worker, how),
            other => panic!("nobody went: {other:?}"),
        }
    }

    fn only_pid(&self) -> Pid {
        let pids: Vec<u32> = self.supervisor.workers().iter().filter_map(|view| view.pid).collect();
        assert_eq!(pids.len(), 1, "{pids:?}");
        Pid::from_raw(i32::try_from(pids[0]).unwrap()).unwrap()
    }

    fn no_more_notes(&self) {
        assert_eq!(self.notes.try_recv().ok(), None);
    }
}

/// Built by Cargo as an example of this package, beside this test's own folder.
fn scripted_worker() -> PathBuf {
    let test = std::env::current_exe().unwrap();
    let built = test.parent().and_then(Path::parent).unwrap().join("examples/scripted-worker");
    assert!(built.is_file(), "{} is missing: run the tests without --bin or --bins", built.display());
    built
}

#[test]
fn a_run_goes_to_a_worker_and_comes_back_and_the_next_takes_the_same() {
    let mut house = House::new();
    let run = house.start("ok");
    assert!(matches!(house.any(), Note::Up { worker: WorkerId(1), role: Role::Files, model: None, .. }));
    assert_eq!(house.done(run), WorkerId(1));
    let again = house.start("ok");
    assert_eq!(house.done(again), WorkerId(1));
    let views = house.supervisor.workers();
    assert_eq!(views.len(), 1);
    assert_eq!((views[0].state, views[0].runs_done, views[0].runs.len()), ("idle", 2, 0));
    assert!(views[0].resident_bytes > Some(100_000), "{views:?}");
}

#[test]
fn descriptors_of_inputs_arrive_in_order() {
    let mut house = House::new();
    let mut order = house.order("ok");
    let (one, two) = (house.folder.path().join("one"), house.folder.path().join("two"));
    fs::write(&one, "first").unwrap();
    fs::write(&two, "second").unwrap();
    order.open = vec![input(&one), ToOpen::Artifact { path: two.as_path().into() }];
    order.assignment.inputs = [(one, 5), (two, 6)].map(|(name, bytes)| InputFile::new(name, bytes)).into();
    house.give(order);
    match house.next() {
        Note::Ended { outcome: Outcome::Done(done), .. } => assert_eq!(done.content, Some(ContentHash::of(b"first"))),
        other => panic!("{other:?}"),
    }
}

fn input(path: &Path) -> ToOpen {
    ToOpen::Input { path: path.into(), identity: FileIdentity::of(&fs::metadata(path).unwrap()) }
}

#[test]
fn several_runs_share_a_process_and_are_lost_with_it_together() {
    let mut house = House::new();
    let runs = ["slow", "hang", "slow"].map(|script| house.start(script));
    house.await_progress(&runs);
    rustix::process::kill_process(house.only_pid(), Signal::KILL).unwrap();
    let (lost, how, cause_run, _) = house.lost();
    assert_eq!((lost, how, cause_run), (runs.to_vec(), Death::Signal(9), None));
    assert_eq!(house.down(), (WorkerId(1), Some(Death::Signal(9))));
    house.no_more_notes();
    assert!(house.supervisor.workers().is_empty());
}

#[test]
fn a_run_that_obeys_is_stopped_and_its_neighbour_goes_on() {
    let mut house = House::new();
    let (stopped, other) = (house.start("slow"), house.start("slow-400"));
    house.await_progress(&[stopped, other]);
    house.supervisor.stop(stopped);
    match house.next() {
        Note::Ended { run, outcome: Outcome::Stopped, worker: Some(WorkerId(1)) } => assert_eq!(run, stopped),
        note => panic!("{note:?}"),
    }
    assert_eq!(house.done(other), WorkerId(1));
}

#[test]
fn a_run_that_hangs_is_killed_after_its_second_and_bystanders_are_named() {
    let mut house = House::new();
    let (hung, bystander) = (house.start("hang"), house.start("slow"));
    house.await_progress(&[hung, bystander]);
    let pid = house.only_pid();
    let told = Instant::now();
    house.supervisor.stop(hung);
    let (lost, how, cause_run, _) = house.lost();
    let took = told.elapsed();
    assert!(took.as_millis() >= 1000, "{took:?}");
    assert_eq!((lost, how, cause_run), (vec![hung, bystander], Death::Killed(Why::Cancel), Some(hung)));
    // Law 8: told only when the process is gone and reaped.
    assert!(rustix::process::test_kill_process(pid).is_err());
}

#[test]
fn a_run_past_its_time_fails_where_it_obeys_and_is_killed_where_it_does_not() {
    let mut house = House::new();
    let mut obeys = house.order("slow");
    obeys.timeout_ms = 200;
    let run = house.give(obeys);
    assert_eq!(house.failure(run), (FailureKind::Timeout, "identify took longer than 0.2 s".to_owned()));
    let mut hangs = house.order("hang");
    hangs.timeout_ms = 200;
    let run = house.give(hangs);
    let (lost, how, cause_run, _) = house.lost();
    assert_eq!((lost, how, cause_run), (vec![run], Death::Killed(Why::Timeout), Some(run)));
}

#[test]
fn each_way_to_die_has_its_name() {
    let mut house = House::new();
    for (script, expected, said) in [
        ("segfault", Death::Signal(11), "about to touch what isn't there"),
        ("abort", Death::Signal(6), ""),
        ("exit-7", Death::Exit(7), ""),
        ("silent", Death::SilentExit, ""),
        ("deaf", Death::Hang, ""),
        ("garbage", Death::Garbage("a message can't be understood: a number in it is malformed".into()), ""),
        ("liar", Death::Garbage("it reported run 18446744073709551615-1, which it doesn't have".into()), ""),
    ] {
        let run = house.start(script);
        let (lost, how, cause_run, tail) = house.lost();
        assert_eq!((lost, how, cause_run), (vec![run], expected.clone(), None), "{script}");
        assert_eq!(tail, said, "{script}");
        assert_eq!(house.down().1, Some(expected), "{script}");
    }
}

#[test]
fn an_end_reported_twice_is_garbage_and_loses_nothing() {
    let mut house = House::new();
    let run = house.start("twice");
    house.done(run);
    let (_, how) = house.down();
    assert_eq!(how, Some(Death::Garbage("it reported run 1-1, which it doesn't have".into())));
}

#[test]
fn inputs_that_are_not_as_submitted_never_reach_a_worker() {
    let mut house = House::new();
    let folder = house.folder.path().to_owned();
    let there = folder.join("there");
    fs::write(&there, "as submitted").unwrap();
    let identity = FileIdentity::of(&fs::metadata(&there).unwrap());
    let fifo = folder.join("fifo");
    rustix::fs::mknodat(rustix::fs::CWD, &fifo, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
    let missing = folder.join("missing\n");

    for (path, message) in [
        (missing.as_path(), format!("{}/missing\\n is missing", folder.display())),
        (fifo.as_path(), format!("{} is not a regular file", fifo.display())),
        (folder.as_path(), format!("{} is not a regular file", folder.display())),
        (Path::new("/dev/zero"), "/dev/zero is not a regular file".to_owned()),
    ] {
        let mut order = house.order("ok");
        order.open = vec![ToOpen::Input { path: path.into(), identity }];
        let run = house.give(order);
        assert_eq!(house.failure(run), (FailureKind::Input, message));
    }

    fs::write(&there, "changed since").unwrap();
    let found = FileIdentity::of(&fs::metadata(&there).unwrap());
    let mut order = house.order("ok");
    order.open = vec![ToOpen::Input { path: there.as_path().into(), identity }];
    let run = house.give(order);
    assert_eq!(house.next(), Note::Changed { run, identity: found });

    let mut order = house.order("ok");
    order.open = vec![ToOpen::Artifact { path: missing.as_path().into() }];
    let run = house.give(order);
    assert_eq!(house.failure(run).0, FailureKind::Internal);
    // The worker is none the worse for it.
    let run = house.start("ok");
    assert_eq!(house.done(run), WorkerId(1));
}

#[test]
fn an_input_that_may_not_be_read_is_a_matter_of_permission() {
    if rustix::process::geteuid().is_root() {
        println!("skipped: root may read everything");
        return;
    }
    let mut house = House::new();
    let secret = house.folder.path().join("secret");
    fs::write(&secret, "x").unwrap();
    let mut order = house.order("ok");
    order.open = vec![input(&secret)];
    rustix::fs::chmod(&secret, 0.into()).unwrap();
    let run = house.give(order);
    assert_eq!(house.failure(run).0, FailureKind::Permission);
}

#[test]
fn a_run_that_is_too_long_to_tell_fails_alone() {
    let mut house = House::new();
    let mut order = house.order("ok");
    order.assignment.replaceable = vec![(PathBytes(vec![b'x'; 4000]), ContentHash([0; 32])); 40];
    let run = house.give(order);
    let (kind, message) = house.failure(run);
    assert_eq!(kind, FailureKind::Internal);
    assert!(message.contains("more than the 131072 a worker takes"), "{message}");
}

#[test]
fn a_run_alone_has_no_neighbour() {
    let mut house = House::new();
    let ordinary = house.start("slow");
    let mut order = house.order("slow-300");
    order.alone = true;
    let alone = house.give(order);
    house.await_progress(&[ordinary, alone]);
    // The first has room for this one; the second, whose run is alone, has not.
    house.supervisor.stop(ordinary);
    assert!(matches!(house.next(), Note::Ended { outcome: Outcome::Stopped, worker: Some(WorkerId(1)), .. }));
    let third = house.start("ok");
    assert_eq!(house.done(third), WorkerId(1));
    assert_eq!(house.done(alone), WorkerId(2));
}

#[test]
fn runs_beyond_the_capacity_get_another_process() {
    let mut house = House::new();
    let runs = ["slow"; 5].map(|script| house.start(script));
    house.await_progress(&runs);
    let loads: Vec<usize> = house.supervisor.workers().iter().map(|view| view.runs.len()).collect();
    assert_eq!(loads, [4, 1]);
}

#[test]
fn a_worker_leaves_when_it_has_been_idle() {
    let mut house = House::with(|settings| settings.idle_ms = 50);
    let run = house.start("ok");
    house.done(run);
    assert_eq!(house.down(), (WorkerId(1), None));
}

#[test]
fn a_worker_is_replaced_after_its_number_of_runs() {
    let mut house = House::with(|settings| settings.runs_before_recycle = Box::new(|_| 2));
    for worker in [1, 1, 2] {
        let run = house.start("ok");
        assert_eq!(house.done(run), WorkerId(worker));
        if house.runs == 2 {
            assert_eq!(house.down(), (WorkerId(1), None));
        }
    }
}

#[test]
fn a_worker_that_has_grown_is_replaced() {
    let mut house = House::with(|settings| settings.memory_growth_bytes = 32 << 20);
    for script in ["ok", "hog-64"] {
        let run = house.start(script);
        assert_eq!(house.done(run), WorkerId(1));
    }
    assert_eq!(house.down(), (WorkerId(1), None));
}

#[test]
fn a_worker_at_its_memory_limit_ends_and_no_other_does() {
    const LIMIT: u64 = 96 << 20;
    let mut house = House::with(|settings| settings.memory_limit_bytes = LIMIT);
    // Refused by the kernel; and what the kernel lets pass, seen by the supervisor.
    for (number, script) in [(1, "hog-200"), (2, "share-200")] {
        let run = house.start(script);
        let Note::Lost { worker, runs, how, cause_run, .. } = house.next() else { panic!("{script} was not lost") };
        assert_eq!((worker, runs, cause_run), (WorkerId(number), vec![run], None), "{script}");
        assert_eq!(how, Death::Memory { limit: LIMIT }, "{script}");
        assert_eq!(house.down(), (WorkerId(number), Some(Death::Memory { limit: LIMIT })));
    }
    let run = house.start("ok");
    assert_eq!(house.done(run), WorkerId(3));
}

#[test]
fn an_idle_model_leaves_before_another_comes_and_a_busy_one_stays() {
    let mut house = House::new();
    let small = house.speech("ok", "small");
    let small = house.give(small);
    assert_eq!(house.done(small), WorkerId(1));
    let first = house.only_pid();
    let large = house.speech("slow", "large");
    let large = house.give(large);
    // Reaped before the other is up: both models never stand in memory together.
    let coming = [house.any(), house.any()];
    assert!(coming.iter().any(|note| matches!(note, Note::Down { worker: WorkerId(1), how: None, .. })), "{coming:?}");
    assert!(coming.iter().any(|note| matches!(note, Note::Up { worker: WorkerId(2), .. })), "{coming:?}");
    assert!(rustix::process::test_kill_process(first).is_err());
    house.await_progress(&[large]);
    let again = house.speech("ok", "small");
    let again = house.give(again);
    assert_eq!(house.done(again), WorkerId(3));
    assert_eq!(house.supervisor.workers().len(), 2);
}

#[test]
fn a_program_that_is_no_worker_fails_its_runs_and_is_not_tried_at_once_again() {
    let mut house = House::with(|settings| settings.worker_binary = "/bin/false".into());
    let run = house.start("ok");
    let (kind, message) = house.failure(run);
    assert_eq!(kind, FailureKind::Crash);
    assert_eq!(message, "a files worker exited with code 1 before it was ready");
    let begun = Instant::now();
    let run = house.start("ok");
    house.failure(run);
    assert!(begun.elapsed() > Duration::from_millis(900), "{:?}", begun.elapsed());
    // While it waits for the next try, a run can be stopped at once.
    let run = house.start("ok");
    house.supervisor.stop(run);
    assert_eq!(house.next(), Note::Ended { run, outcome: Outcome::Stopped, worker: None });
}

#[test]
fn a_program_that_cannot_be_executed_says_why() {
    let mut house = House::with(|settings| settings.worker_binary = "/etc/passwd".into());
    let run = house.start("ok");
    let (kind, message) = house.failure(run);
    assert_eq!(kind, FailureKind::Crash);
    assert!(message.starts_with("failed to start a files worker: "), "{message}");
}

#[test]
fn a_worker_without_hello_or_of_another_protocol_is_not_used() {
    for (ending, expected) in [
        ("mute", "a files worker said no hello in time before it was ready"),
        (
            "stranger",
            "a files worker spoke garbage: it speaks protocol 4, the daemon 3: finish the upgrade and restart the daemon before it was ready",
        ),
    ] {
        let folder = tempfile::tempdir().unwrap();
        let program = folder.path().join(format!("worker-{ending}"));
        fs::copy(scripted_worker(), &program).unwrap();
        let mut house = House::with(|settings| {
            settings.worker_binary = program;
            settings.hello_ms = 300;
        });
        let run = house.start("ok");
        assert_eq!(house.failure(run), (FailureKind::Crash, expected.to_owned()));
    }
}

#[test]
fn a_missing_program_is_told_when_the_supervisor_is_made() {
    let settings = Settings::new("/nowhere/spindle-worker".into(), "/nowhere/lock".into());
    let error = Supervisor::new(settings, |_| {}).err().map(|e| e.to_string());
    assert_eq!(
        error.as_deref(),
        Some("failed to open the worker program /nowhere/spindle-worker: No such file or directory (os error 2)")
    );
}

#[test]
fn shutdown_stops_what_obeys_kills_the_rest_and_waits() {
    let mut house = House::new();
    let (obeys, hangs) = (house.speech("slow", "m"), house.order("hang"));
    let (obeys, hangs) = (house.give(obeys), house.give(hangs));
    house.await_progress(&[obeys, hangs]);
    house.supervisor.shutdown(300);
    assert!(house.supervisor.workers().is_empty());
    let mut notes: Vec<Note> = house.notes.try_iter().filter(|n| !matches!(n, Note::Progress { .. })).collect();
    notes.retain(|note| !matches!(note, Note::Down { .. }));
    assert!(
        matches!(&notes[..], [
            Note::Ended { run, outcome: Outcome::Stopped, .. },
            Note::Lost { runs, how: Death::Killed(Why::Shutdown), cause_run: None, .. },
        ] if *run == obeys && *runs == [hangs]),
        "{notes:?}"
    );
    let late = house.start("ok");
    house.supervisor.shutdown(0);
    assert_eq!(house.next(), Note::Ended { run: late, outcome: Outcome::Stopped, worker: None });
}

#[test]
fn what_a_worker_has_started_goes_with_it() {
    let mut house = House::new();
    let run = house.start("child");
    house.await_progress(&[run]);
    let worker = house.only_pid();
    let children = format!("/proc/{}/task", worker.as_raw_nonzero());
    let child = fs::read_dir(children)
        .unwrap()
        .find_map(|task| fs::read_to_string(task.unwrap().path().join("children")).ok()?.trim().parse::<i32>().ok())
        .unwrap();
    house.supervisor.stop(run);
    assert_eq!(house.lost().1, Death::Killed(Why::Cancel));
    await_gone(Pid::from_raw(child).unwrap());
}

/// Until nothing but perhaps a zombie is left of a process.
fn await_gone(pid: Pid) {
    let Ok(pidfd) = rustix::process::pidfd_open(pid, rustix::process::PidfdFlags::empty()) else { return };
    let limit = rustix::event::Timespec { tv_sec: 1, tv_nsec: 0 };
    let mut ended = [rustix::event::PollFd::new(&pidfd, rustix::event::PollFlags::IN)];
    assert_eq!(rustix::event::poll(&mut ended, Some(&limit)), Ok(1), "{pid:?} lives on");
}

/// Set in a copy of this test program that plays the daemon: the folder of its house.
const DAEMON_ENV: &str = "SPINDLE_TEST_DAEMON_FOLDER";

#[test]
fn a_killed_daemon_takes_its_workers_along_and_frees_their_lock() {
    let folder = tempfile::tempdir().unwrap();
    let lock = folder.path().join("workers.lock");
    let mut daemon = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "workers::tests::plays_the_daemon_that_is_killed", "--nocapture"])
        .env(DAEMON_ENV, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(daemon.stdout.take().unwrap()).lines().map(Result::unwrap);
    let worker = lines.filter_map(|line| line.strip_prefix("worker ")?.parse::<i32>().ok()).next().unwrap();
    let worker = Pid::from_raw(worker).unwrap();
    assert!(!await_predecessors(&lock, 0).unwrap(), "a living worker holds the lock");

    daemon.kill().unwrap();
    let killed = Instant::now();
    daemon.wait().unwrap();
    await_gone(worker);
    assert!(await_predecessors(&lock, 30_000).unwrap());
    assert!(killed.elapsed() < Duration::from_secs(30), "{:?}", killed.elapsed());
}

/// Not a test of its own: what the one above starts and kills.
#[test]
fn plays_the_daemon_that_is_killed() {
    let Some(folder) = std::env::var_os(DAEMON_ENV) else { return };
    let mut house = House::with(|settings| settings.lock_file = Path::new(&folder).join("workers.lock"));
    let run = house.start("hang");
    house.await_progress(&[run]);
    println!("\nworker {}", house.only_pid().as_raw_nonzero());
    loop {
        std::thread::park();
    }
}

#[test]
fn the_program_opened_at_the_start_is_the_one_that_runs() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("worker");
    fs::copy(scripted_worker(), &program).unwrap();
    let mut house = House::with(|settings| settings.worker_binary = program.clone());
    fs::remove_file(&program).unwrap();
    fs::copy("/bin/false", &program).unwrap();
    let run = house.start("ok");
    house.done(run);
}

#[test]
fn workers_are_found_in_a_group_of_their_own_with_the_lock_and_nothing_else_open() {
    let mut house = House::new();
    // What this process has open must not leak.
    let _leaked = File::open("/dev/null").unwrap();
    let run = house.start("slow");
    house.await_progress(&[run]);
    let pid = house.only_pid();
    assert_eq!(rustix::process::getpgid(Some(pid)), Ok(pid));
    let mut open: Vec<i32> = fs::read_dir(format!("/proc/{}/fd", pid.as_raw_nonzero()))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().to_string_lossy().parse().unwrap())
        .collect();
    open.sort_unstable();
    assert_eq!(open, [0, 1, 2, 3, 4]);
    let limits = fs::read_to_string(format!("/proc/{}/limits", pid.as_raw_nonzero())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core file size")).unwrap();
    let soft: u64 = core.split_whitespace().nth(4).unwrap().parse().unwrap();
    assert!(soft <= 1, "{core}");
}
