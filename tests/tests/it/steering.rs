//! Cancel, pause, resume: what they promise, and when they answer.

use std::time::Duration;

use spindle_shared::batch::BatchState;
use spindle_shared::id::BatchId;
use spindle_shared::job::JobState;
use spindle_tests::harness::{Daemon, eventually};

/// What is stopped would run for a minute or for ever. Two seconds are promised, and measured by a benchmark: a machine
/// whose cores are all taken may need several to see a killed process out.
const PROMPT: Duration = Duration::from_secs(20);

#[test]
fn cancel_stops_a_run_that_obeys_and_one_that_does_not() {
    let daemon = Daemon::scripted().set("lanes.cpu", 1).start();
    for (script, number) in [("slow-60000@transcribe", 1), ("hang@decode", 2), ("hang@transcribe", 3)] {
        daemon.script(script);
        let id = daemon.submit([format!("{script}.wav")]);
        assert_eq!(id, BatchId(number));
        daemon.begun(script);
        let ran = daemon.ctl(["cancel", &id.to_string()]).expect(0);
        assert!(ran.took < PROMPT, "{script}: {:?}", ran.took);
        let batch = daemon.batch(id);
        assert_eq!((batch.state, batch.counts.cancelled), (BatchState::Cancelled, 1), "{script}");
        assert_eq!(daemon.job(id, 1).state, JobState::Cancelled);
        assert_eq!(daemon.files("state/scratch"), [""; 0], "{script}");
        daemon.ctl(["wait", &id.to_string()]).expect(8);
        daemon.ctl(["result", &id.to_string()]).expect(8);
    }
    assert!(daemon.partial_files().is_empty());
    daemon.say("cancel 1").expect(1).says(&["batch 1 is finished already", "hint: "]);
    daemon.say("cancel 1/1").expect(1).says(&["finished already"]);
}

#[test]
fn a_cancelled_run_makes_room_for_who_waits() {
    let daemon = Daemon::scripted().set("lanes.cpu", 1).start();
    daemon.script("hang@transcribe");
    daemon.script("ok");
    daemon.submit(["hang@transcribe.wav"]);
    daemon.begun("hang@transcribe");
    let second = daemon.submit(["ok.wav"]);
    assert_eq!(daemon.json("status")["lanes"][0]["used"], 1);
    daemon.say("cancel 1").expect(0);
    assert_eq!(daemon.ended_batch(second).state, BatchState::Completed);
}

#[test]
fn one_job_is_cancelled_alone() {
    let daemon = Daemon::scripted().set("lanes.cpu", 1).start();
    daemon.script("slow-60000@transcribe");
    daemon.scripts(2, "ok");
    let id = daemon.submit(["-j", "1", "slow-60000@transcribe.wav", "ok001.wav", "ok002.wav"]);
    daemon.begun("slow-60000@transcribe");
    daemon.say("cancel 1/1 1/3").expect(0);
    // Nothing failed: the code says that some were cancelled.
    daemon.say("wait 1").expect(8);
    let states: Vec<JobState> = daemon.jobs(id).iter().map(|job| job.state).collect();
    assert_eq!(states, [JobState::Cancelled, JobState::Completed, JobState::Cancelled]);
    daemon.say("retry 1/3").expect(0);
    daemon.say("wait 1/3").expect(0);
    assert_eq!(daemon.job(id, 3).state, JobState::Completed);
}

#[test]
fn cancel_leaves_no_process_behind() {
    let daemon = Daemon::scripted().start();
    daemon.script("child@transcribe");
    daemon.submit(["child@transcribe.wav"]);
    daemon.begun("child@transcribe");
    let speech = daemon.workers("speech")[0].as_raw_nonzero().get();
    eventually("the worker has a child", || (group_members(speech).len() == 2).then_some(()));
    daemon.say("cancel 1").expect(0);
    eventually("the worker's whole group is gone", || group_members(speech).is_empty().then_some(()));
}

/// Processes of a group, those that are dead and not yet reaped left out.
fn group_members(group: i32) -> Vec<i32> {
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter_map(|entry| {
            let id: i32 = entry.file_name().to_str()?.parse().ok()?;
            let stat = std::fs::read_to_string(entry.path().join("stat")).ok()?;
            // The name may hold anything; what follows it doesn't.
            let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
            (fields[0] != "Z" && fields[2].parse() == Ok(group)).then_some(id)
        })
        .collect()
}

#[test]
fn pause_lets_the_stage_end_and_resume_goes_on() {
    let daemon = Daemon::scripted().set("lanes.cpu", 1).start();
    for name in ["slow-200-a@transcribe", "slow-200-b@transcribe"] {
        daemon.script(name);
    }
    let id = daemon.submit(["-j", "1", "slow-200-a@transcribe.wav", "slow-200-b@transcribe.wav"]);
    daemon.begun("slow-200-a@transcribe");
    daemon.say("pause 1").expect(0);
    let mut watcher = daemon.watch(&[id]);
    let batch = watcher.until("nothing runs", |seen| {
        let batch = &seen.batches[&id];
        (batch.state == BatchState::Paused && batch.counts.running == 0).then(|| batch.clone())
    });
    assert_eq!(batch.counts.ended(), 0);
    // The transcription that ran has ended, and its result is not lost.
    assert!(daemon.job(id, 1).timings.iter().any(|(stage, _)| stage == "transcribe"));
    daemon.say("resume 1").expect(0);
    daemon.say("wait 1").expect(0);
}

#[test]
fn pause_now_stops_at_once_and_costs_no_try() {
    let daemon = Daemon::scripted().start();
    daemon.script("slow-60000-once@transcribe");
    let id = daemon.submit(["slow-60000-once@transcribe.wav"]);
    daemon.begun("slow-60000-once@transcribe");
    let ran = daemon.say("pause --now 1").expect(0);
    assert!(ran.took < PROMPT, "{:?}", ran.took);
    let batch = daemon.batch(id);
    assert_eq!((batch.state, batch.counts.running), (BatchState::Paused, 0));
    assert_eq!(daemon.files("state/scratch"), [""; 0]);
    daemon.say("resume 1").expect(0);
    daemon.say("wait 1").expect(0);
    let job = daemon.job(id, 1);
    assert_eq!((job.attempts, job.failure), (1, None));
}

#[test]
fn a_paused_house_takes_batches_and_starts_none() {
    let mut daemon = Daemon::scripted().start();
    daemon.script("ok");
    daemon.say("pause").expect(0).says(&["paused"]);
    let id = daemon.submit(["ok.wav"]);
    assert_eq!(daemon.json("status")["paused"], true);
    // It is a fact of the house, and outlives the daemon.
    daemon.kill();
    daemon.start();
    assert_eq!(daemon.json("status")["paused"], true);
    assert_eq!(daemon.batch(id).counts.pending, 1);
    assert!(daemon.json("explain 1")["why"].as_str().unwrap().contains("the whole daemon is paused"));
    daemon.say("resume").expect(0);
    daemon.say("wait 1").expect(0);
}

#[test]
fn drain_ends_what_runs_and_takes_nothing_new() {
    let daemon = Daemon::scripted().start();
    daemon.script("slow-200@transcribe");
    daemon.script("ok");
    let id = daemon.submit(["slow-200@transcribe.wav"]);
    daemon.begun("slow-200@transcribe");
    daemon.say("drain").expect(0);
    assert_eq!(daemon.batch(id).counts.running, 0);
    let ran = daemon.say("submit subtitles ok.wav");
    assert!(ran.code != 0 && ran.err.contains("stopping"), "{ran:?}");
    daemon.say("resume").expect(0);
    daemon.say("wait 1").expect(0);
}

#[test]
fn many_batches_are_steered_with_one_word() {
    let daemon = Daemon::scripted().start();
    daemon.say("pause").expect(0);
    daemon.scripts(4, "ok");
    for number in 1..=4 {
        let tag = if number < 3 { "kind=old" } else { "kind=new" };
        daemon.submit(["--tag".to_owned(), tag.to_owned(), format!("ok{number:03}.wav")]);
    }
    daemon.say("cancel --tag kind=old").expect(0);
    daemon.say("prioritize 3-4 urgent").expect(0);
    let states: Vec<_> = (1..=4).map(|id| daemon.batch(BatchId(id)).state).collect();
    assert_eq!(states[..2], [BatchState::Cancelled; 2]);
    assert!(states[2..].iter().all(|state| !state.is_terminal()), "{states:?}");
    assert_eq!(daemon.json("status 3")["priority"], 0);
    daemon.say("resume").expect(0);
    daemon.say("wait 3 4").expect(0);
    daemon.say("wait 1-4").expect(8);
    daemon.say("remove --state cancelled").expect(0);
    assert_eq!(daemon.json("list").as_array().unwrap().len(), 2);
}
