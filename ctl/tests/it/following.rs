//! `wait`, `watch` and `submit --wait`: from a snapshot over events to an end.

use std::io::{BufRead, BufReader};
use std::sync::atomic::{AtomicU32, Ordering};

use serde_json::json;
use spindle_shared::event::Fact;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::JobState;
use spindle_shared::wire::request::{Request, Scope};
use spindle_shared::wire::response::{Refusal, RefusalKind, Response};

use crate::scripted::*;

/// A daemon whose watch begins with batch 1 at work and goes on with these facts.
fn telling(facts: Vec<Fact>) -> Daemon {
    Daemon::start(move |call| match call.request {
        Request::Watch { .. } => {
            call.send(snapshot(7, &[running(1)], &[]));
            for (seq, fact) in (8..).zip(&facts) {
                call.send(event(seq, fact.clone()));
            }
            call.until_gone();
        }
        _ => answer_from(call, &[running(1)], &[job(1, 2, b"/b.mp4", JobState::Running)]),
    })
}

#[test]
fn wait_is_quiet_on_standard_output_and_exits_as_the_batch_ends() {
    for (ended, code) in
        [(ended(1, 3, 0, 0), 0), (ended(1, 2, 1, 0), 3), (ended(1, 0, 3, 0), 4), (ended(1, 0, 0, 3), 8)]
    {
        let daemon = telling(vec![Fact::Batch(Box::new(ended))]);
        let ran = daemon.run(&["wait", "1"]).with(code);
        assert!(ran.out.is_empty() && ran.err.starts_with("batch 1: "), "{ran:#?}");
        assert_eq!(
            daemon.requests(),
            [Request::Watch {
                scope: Scope::Batches(vec!["1".parse::<spindle_shared::id::Target>().unwrap().batch()]),
                jobs: 0
            }]
        );
        let ran = daemon.run(&["-q", "wait", "1"]).with(code);
        assert_eq!((ran.out.as_str(), ran.err.as_str()), ("", ""));
    }
}

#[test]
fn several_batches_exit_by_the_worst_that_is_not_all() {
    for (batches, code) in [
        (vec![ended(1, 1, 0, 0), ended(2, 1, 0, 0)], 0),
        (vec![ended(1, 0, 1, 0), ended(2, 0, 2, 0)], 4),
        (vec![ended(1, 0, 1, 0), ended(2, 2, 0, 0)], 3),
        (vec![ended(1, 1, 1, 0), ended(2, 0, 0, 1)], 3),
        (vec![ended(1, 1, 0, 0), ended(2, 0, 0, 1)], 8),
    ] {
        Daemon::holding(batches, vec![]).run(&["wait", "1", "2"]).with(code);
    }
}

#[test]
fn a_batch_that_ended_long_ago_is_asked_for_and_one_that_never_was_is_told() {
    let daemon = Daemon::start(|call| match &call.request {
        Request::Watch { .. } => {
            call.send(snapshot(7, &[], &[]));
            call.until_gone();
        }
        _ => answer_from(call, &[ended(1, 1, 0, 0)], &[]),
    });
    daemon.run(&["wait", "1"]).with(0);
    daemon.run(&["wait", "1", "9"]).with(7);
}

#[test]
fn a_job_can_be_waited_for() {
    let daemon = telling(vec![Fact::Job(Box::new(job(1, 2, b"/b.mp4", JobState::Completed)))]);
    daemon.run(&["wait", "1/2"]).with(0);
    let daemon = telling(vec![Fact::Job(Box::new(failed_job(
        1,
        2,
        b"/b.mp4",
        Failure::new(FailureKind::Input, "it is empty"),
    )))]);
    assert!(daemon.run(&["wait", "1/2"]).with(4).err.contains("input: it is empty"));
}

#[test]
fn time_runs_out_with_124_and_the_first_failure_with_3() {
    assert!(telling(vec![]).run(&["wait", "1", "--timeout", "0.2"]).with(124).err.contains("the work goes on"));
    let failed = Fact::Job(Box::new(failed_job(1, 2, b"/b.mp4", Failure::new(FailureKind::Input, "it is empty"))));
    let daemon = telling(vec![failed]);
    assert!(daemon.run(&["wait", "--fail-fast", "1"]).with(3).err.contains("job 1/2 failed"));
}

#[test]
fn interrupting_lets_go_and_cancels_nothing() {
    let daemon = telling(vec![]);
    let child = daemon.command(&["wait", "1"]).spawn().unwrap();
    while daemon.requests().is_empty() {
        std::thread::yield_now();
    }
    let pid = rustix::process::Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let ran = Ran::from(child.wait_with_output().unwrap()).with(130);
    assert!(ran.err.contains("let go; the work goes on"), "{ran:#?}");
    assert!(daemon.requests().iter().all(|request| matches!(request, Request::Watch { .. })));
}

#[test]
fn a_daemon_that_restarts_is_waited_for() {
    let calls = AtomicU32::new(0);
    let daemon = Daemon::start(move |call| match calls.fetch_add(1, Ordering::SeqCst) {
        0 => call.send(snapshot(70, &[running(1)], &[])),
        1 => call.send(Response::Refused(Refusal::new(RefusalKind::Stopping, "the daemon is stopping"))),
        _ => {
            call.send(snapshot(2, &[running(1)], &[]));
            call.send(event(3, Fact::Batch(Box::new(ended(1, 3, 0, 0)))));
            call.until_gone();
        }
    });
    assert!(daemon.run(&["wait", "1"]).with(0).err.contains("waiting for it to come back"));
}

#[test]
fn a_daemon_that_stops_before_its_first_answer_is_waited_for_too() {
    let calls = AtomicU32::new(0);
    let daemon = Daemon::start(move |call| match calls.fetch_add(1, Ordering::SeqCst) {
        // Hangs up.
        0 => {}
        _ => call.send(snapshot(2, &[ended(1, 3, 0, 0)], &[])),
    });
    assert!(daemon.run(&["wait", "1"]).with(0).err.contains("waiting for it to come back"));
}

#[test]
fn a_snapshot_may_come_in_parts() {
    let daemon = Daemon::start(|call| {
        call.send(snapshot(7, &[running(1)], &[]));
        call.send(Response::Jobs(vec![job(1, 2, b"/b.mp4", JobState::Running)]));
        let progress = Fact::Progress {
            job: job(1, 2, b"", JobState::Running).id,
            stage: "decode".to_owned(),
            done: 0.9,
            batch_done: 0.9,
        };
        call.send(event(8, progress));
        call.send(event(
            9,
            Fact::Job(Box::new(spindle_shared::job::JobView { input: None, ..job(1, 2, b"", JobState::Completed) })),
        ));
        call.send(event(10, Fact::Batch(Box::new(ended(1, 3, 0, 0)))));
        call.until_gone();
    });
    let text = daemon.run(&["watch", "1"]).with(0).out;
    assert!(
        text.contains("job 1/2: /b.mp4 completed\n"),
        "the event's name comes from the snapshot's second part: {text}"
    );
}

#[test]
fn a_watcher_that_lagged_asks_again() {
    let calls = AtomicU32::new(0);
    let daemon = Daemon::start(move |call| {
        let seq = if calls.fetch_add(1, Ordering::SeqCst) == 0 { 7 } else { 90 };
        call.send(snapshot(seq, &[if seq == 7 { running(1) } else { ended(1, 3, 0, 0) }], &[]));
        call.send(event(seq + 1, Fact::Lagged));
        call.until_gone();
    });
    daemon.run(&["wait", "1"]).with(0);
    assert_eq!(daemon.requests().len(), 2);
}

#[test]
fn a_removed_batch_is_not_waited_for() {
    let ran = telling(vec![Fact::Removed(spindle_shared::id::BatchId(1))]).run(&["wait", "1"]).with(7);
    assert!(ran.err.contains("batch 1 was removed"));
}

#[test]
fn watch_streams_a_snapshot_and_then_every_event() {
    let progress = Fact::Progress {
        job: spindle_shared::id::JobId { batch: spindle_shared::id::BatchId(1), index: 2 },
        stage: "decode".to_owned(),
        done: 0.5,
        batch_done: 0.4,
    };
    let failed = Fact::Job(Box::new(failed_job(1, 2, b"/b.mp4", Failure::new(FailureKind::Input, "it is empty"))));
    let done = Fact::Job(Box::new(job(1, 3, b"/c.mp4", JobState::Completed)));
    let facts = vec![
        progress,
        failed,
        done,
        Fact::Alert("disk full".to_owned()),
        Fact::Paused(true),
        Fact::Batch(Box::new(ended(1, 2, 1, 0))),
    ];
    let lines = telling(facts.clone()).run(&["--json", "watch", "1"]).with(3).json_lines();
    let kinds: Vec<_> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert_eq!(kinds, ["snapshot", "progress", "failure", "job", "alert", "paused", "batch"]);
    assert_eq!(lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect::<Vec<_>>(), [7, 8, 9, 10, 11, 12, 13]);
    assert_eq!(lines[0]["snapshot"]["batches"][0]["batch_id"], json!(1));
    assert_eq!(
        lines[1]["progress"],
        json!({"job_id": "1/2", "batch_id": 1, "stage": "decode", "progress": 0.5, "batch_progress": 0.4})
    );
    assert_eq!(lines[2]["job"]["failure"]["kind"], json!("input"));
    assert_eq!(lines[1]["time"], json!("2023-11-14T22:13:22.000Z"));
    assert_eq!(lines[6]["batch"]["state"], json!("partial"));

    let text = telling(facts).run(&["watch", "1"]).with(3).out;
    let expected = "batch 1: running, 30 %, 0 of 3 ended\nbatch 1: running, 40 %, 0 of 3 ended\n\
        job 1/2: /b.mp4 failed: input: it is empty\njob 1/3: /c.mp4 completed\nalert: disk full\nthe daemon is paused\n\
        batch 1: partial, 100 %, 3 of 3 ended, 1 failed\n";
    assert_eq!(text, expected);
}

#[test]
fn watching_the_house_goes_on_until_it_is_let_go() {
    let daemon = telling(vec![Fact::Batch(Box::new(ended(1, 3, 0, 0)))]);
    let mut child = daemon.command(&["--json", "watch"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.next().unwrap().unwrap().contains("\"snapshot\""));
    assert!(lines.next().unwrap().unwrap().contains("\"completed\""));
    assert_eq!(child.try_wait().unwrap(), None);
    child.kill().unwrap();
    child.wait().unwrap();
}

fn submitting(end: spindle_shared::batch::BatchView) -> Daemon {
    let daemon = Daemon::start(move |call| match call.request {
        Request::Watch { .. } => {
            call.send(snapshot(7, &[running(1)], &[]));
            call.send(event(8, Fact::Batch(Box::new(end.clone()))));
            call.until_gone();
        }
        _ => answer_from(call, &[running(1)], &[]),
    });
    daemon.file("a.mp4", "x");
    daemon
}

#[test]
fn submit_wait_exits_as_wait_does() {
    let daemon = submitting(ended(1, 2, 1, 0));
    let ran = daemon.run(&["submit", "subtitles", "a.mp4", "--wait"]).with(3);
    assert_eq!(ran.out, "1\n");
    let document = daemon.run(&["--json", "submit", "subtitles", "a.mp4", "--wait"]).with(3).json();
    assert_eq!(
        (&document["batch_id"], &document["state"], &document["failed"]),
        (&json!(1), &json!("partial"), &json!(1))
    );
    assert_eq!(document["estimated_seconds"], json!(120.0));
}

#[test]
fn submit_follow_streams() {
    let daemon = submitting(ended(1, 3, 0, 0));
    let ran = daemon.run(&["submit", "subtitles", "a.mp4", "--follow"]).with(0);
    assert_eq!(ran.out, "1\n");
    assert!(ran.err.contains("batch 1: completed, 100 %"), "{ran:#?}");
    let lines = daemon.run(&["--json", "submit", "subtitles", "a.mp4", "--follow"]).with(0).json_lines();
    assert_eq!(lines[0]["batch_id"], json!(1));
    assert_eq!((&lines[1]["kind"], &lines[2]["kind"]), (&json!("snapshot"), &json!("batch")));
    assert_eq!(lines[3]["state"], json!("completed"));
}

#[test]
fn the_progress_file_holds_the_end() {
    let daemon = submitting(ended(1, 3, 0, 0));
    daemon.run(&["submit", "subtitles", "a.mp4", "--progress-file", "progress.json"]).with(0);
    let text = std::fs::read(daemon.path().join("progress.json")).unwrap();
    let document: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!((&document["batch_id"], &document["state"]), (&json!(1), &json!("completed")));
    let left = std::fs::read_dir(daemon.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().contains(".part"))
        .count();
    assert_eq!(left, 0);
    for (path, why) in [("none/p.json", "folder"), (".", "no file"), ("/dev/null", "no file")] {
        let ran = daemon.run(&["submit", "subtitles", "a.mp4", "--progress-file", path]).with(2);
        assert!(ran.err.contains(why), "{path}: {ran:#?}");
    }
    assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
}

#[test]
fn a_progress_file_that_cannot_be_written_stops_nothing() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("gone");
    std::fs::create_dir(&folder).unwrap();
    let gone = folder.clone();
    let daemon = Daemon::start(move |call| match call.request {
        Request::Watch { .. } => {
            call.send(snapshot(7, &[running(1)], &[]));
            call.send(event(8, Fact::Batch(Box::new(ended(1, 3, 0, 0)))));
            call.until_gone();
        }
        _ => {
            // Between the look at the folder and the first state, the folder goes.
            let _ = std::fs::remove_dir(&gone);
            answer_from(call, &[running(1)], &[]);
        }
    });
    daemon.file("a.mp4", "x");
    let path = folder.join("p.json");
    let arguments = ["submit", "subtitles", "a.mp4", "--progress-file", path.to_str().unwrap()];
    let ran = daemon.run(&arguments).with(0);
    assert!(ran.err.contains("failed to write the progress file"), "{ran:#?}");
}
