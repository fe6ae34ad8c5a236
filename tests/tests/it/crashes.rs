//! Workers that crash, hang, lie or are killed: what it costs the run, its neighbours, and nobody else.

use rustix::process::{Signal, kill_process};
use spindle_shared::failure::FailureKind;
use spindle_shared::id::BatchId;
use spindle_shared::job::JobState;
use spindle_tests::harness::Daemon;

#[test]
fn a_killed_speech_worker_costs_its_three_runs_nothing() {
    let daemon = Daemon::scripted().set("lanes.cpu", 3).start();
    let names = ["slow-60000-once-a@transcribe", "slow-60000-once-b@transcribe", "slow-60000-once-c@transcribe"];
    for name in names {
        daemon.script(name);
    }
    let id =
        daemon.submit(["-j".to_owned(), "3".to_owned()].into_iter().chain(names.map(|name| format!("{name}.wav"))));
    names.iter().for_each(|name| daemon.begun(name));
    let speech = daemon.workers("speech");
    assert_eq!(speech.len(), 1, "three runs over one model");
    kill_process(speech[0], Signal::KILL).unwrap();
    daemon.say("wait 1").expect(0);
    for job in daemon.jobs(id) {
        assert_eq!((job.attempts, &job.failure), (1, &None), "{job:#?}");
    }
}

#[test]
fn an_input_that_crashes_its_worker_twice_is_poison_and_its_neighbours_are_well() {
    let daemon = Daemon::scripted().set("lanes.cpu", 3).start();
    let names = ["segfault@transcribe.wav", "slow-250-a@transcribe.wav", "slow-250-b@transcribe.wav"];
    for name in names {
        daemon.script(name.trim_end_matches(".wav"));
    }
    let id = daemon.submit(["-j", "3"].into_iter().chain(names));
    daemon.say("wait 1").expect(3);
    let jobs = daemon.jobs(id);
    let states: Vec<JobState> = jobs.iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Failed, JobState::Completed, JobState::Completed]);
    let failure = jobs[0].failure.as_ref().unwrap();
    assert_eq!(failure.kind, FailureKind::Poison, "{failure:?}");
    assert!(failure.message.contains("SIGSEGV") || failure.message.contains("signal"), "{failure:?}");
    for job in &jobs[1..] {
        assert_eq!(job.attempts, 1, "a neighbour's death is not charged: {job:#?}");
    }
}

#[test]
fn every_misfortune_of_a_worker_is_survived() {
    let daemon = Daemon::scripted().set("lanes.cpu", 4).start();
    let modes = ["segfault", "abort", "exit-3", "silent", "garbage", "liar", "deaf"];
    let names: Vec<String> = modes.iter().map(|mode| format!("{mode}-once@transcribe.wav")).collect();
    for name in &names {
        daemon.script(name.trim_end_matches(".wav"));
    }
    // Deaths that several share, and then each its own.
    let id = daemon.submit(["-j", "4"].into_iter().chain(names.iter().map(String::as_str)));
    daemon.say("wait 1").expect(0);
    for job in daemon.jobs(id) {
        assert_eq!((job.state, job.attempts), (JobState::Completed, 1), "{job:#?}");
    }
    assert_eq!(daemon.json("health")["healthy"], true);
    assert!(daemon.partial_files().is_empty());
    assert_eq!(daemon.files("state/scratch"), [""; 0]);
}

#[test]
fn each_kind_of_death_is_told_in_its_own_words() {
    let daemon = Daemon::scripted().set("lanes.cpu", 4).start();
    let cases = [("exit-3", "3"), ("silent", "without"), ("garbage", "garbage"), ("abort", "signal 6")];
    for (mode, _) in cases {
        daemon.script(&format!("{mode}@transcribe"));
    }
    for (mode, words) in cases {
        let id = daemon.submit(["--retries", "0", &format!("{mode}@transcribe.wav")]);
        daemon.ctl(["wait", &id.to_string()]).expect(4);
        let failure = daemon.job(id, 1).failure.unwrap();
        assert_eq!(failure.kind, FailureKind::Crash, "{mode}: {failure:?}");
        assert!(failure.message.contains(words), "{mode}: {failure:?}");
    }
}

#[test]
fn a_report_that_comes_twice_counts_once() {
    let daemon = Daemon::scripted().start();
    for name in ["twice@publish", "twice@transcribe", "twice@identify"] {
        daemon.script(name);
    }
    let id = daemon.submit(["twice@publish.wav", "twice@transcribe.wav", "twice@identify.wav"]);
    let batch = daemon.ended_batch(id);
    assert_eq!((batch.counts.ended(), batch.counts.total()), (3, 3));
    assert!(daemon.jobs(id).iter().all(|job| job.state == JobState::Completed), "{:#?}", daemon.jobs(id));
}

#[test]
fn a_worker_whose_memory_has_grown_makes_room_for_a_fresh_one() {
    let daemon = Daemon::scripted().set("workers.memory_growth_mib", 16).start();
    daemon.script("hog-64@transcribe");
    daemon.scripts(2, "ok");
    // What it needs for its model is not growth.
    daemon.say("submit subtitles --wait ok001.wav").expect(0);
    let before = daemon.workers("speech");
    daemon.say("submit subtitles --wait hog-64@transcribe.wav").expect(0);
    daemon.say("submit subtitles --wait ok002.wav").expect(0);
    let after = daemon.workers("speech");
    assert!(!after.iter().any(|worker| before.contains(worker)), "{before:?} {after:?}");
}

#[test]
fn a_memory_hog_fails_as_out_of_memory_and_nobody_else_notices() {
    let daemon = Daemon::scripted().set("workers.memory_limit_mib", 128).start();
    daemon.script("hog-400@transcribe");
    daemon.scripts(3, "ok");
    let id = daemon.submit(["--retries", "0", "hog-400@transcribe.wav", "ok001.wav", "ok002.wav", "ok003.wav"]);
    daemon.say("wait 1").expect(3);
    let hog = daemon.job(id, 1);
    let failure = hog.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::OutOfMemory, "{failure:?}");
    assert!(failure.message.contains("memory limit of 128 MiB"), "{failure:?}");
    assert!(daemon.jobs(id).iter().skip(1).all(|job| job.state == JobState::Completed && job.failure.is_none()));
}

#[test]
fn a_run_that_takes_too_long_is_stopped_and_tried_again() {
    let daemon = Daemon::scripted().start();
    daemon.script("hang-once@transcribe");
    daemon.script("hang@transcribe");
    let id = daemon.submit(["--timeout", "300ms", "hang-once@transcribe.wav"]);
    daemon.say("wait 1").expect(0);
    assert_eq!(daemon.job(id, 1).state, JobState::Completed);
    daemon.say("submit subtitles --timeout 300ms --retries 0 --wait hang@transcribe.wav").expect(4);
    let failure = daemon.job(BatchId(2), 1).failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Timeout, "{failure:?}");
}

#[test]
fn a_worker_that_does_not_speak_our_protocol_is_told() {
    let daemon = Daemon::scripted().stopped();
    drop(daemon);
    let setup = Daemon::scripted();
    let stranger = setup.state().join("../worker-stranger");
    std::fs::copy(spindle_tests::harness::program("scripted-worker"), &stranger).unwrap();
    let daemon = setup.env("SPINDLE_WORKER", stranger.to_str().unwrap()).start();
    daemon.script("ok");
    let id = daemon.submit(["--retries", "0", "ok.wav"]);
    daemon.say("wait 1 --timeout 20s").expect(4);
    let failure = daemon.job(id, 1).failure.unwrap();
    assert!(failure.message.contains("protocol"), "{failure:?}");
}
