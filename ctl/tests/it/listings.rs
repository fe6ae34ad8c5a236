//! What is shown of batches and jobs: shapes for scripts, tables for people.

use serde_json::{Value, json};
use spindle_shared::batch::{BatchState, Eta};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::{JobState, Output};
use spindle_shared::made_up;
use spindle_shared::wire::request::{BatchFilter, Request};
use spindle_shared::wire::response::{Explanation, Health, HouseView, Response, WorkerView};

use crate::scripted::*;

fn keys(value: &Value) -> Vec<&str> {
    value.as_object().unwrap().keys().map(String::as_str).collect()
}

#[track_caller]
fn assert_fields(value: &Value, fields: &str) {
    let missing: Vec<&str> = fields.split_whitespace().filter(|field| !keys(value).contains(field)).collect();
    assert!(missing.is_empty(), "{missing:?} are missing in {value}");
}

const BATCH_FIELDS: &str = "batch_id name recipe owner state priority parallel created_at started_at finished_at total \
    completed failed skipped cancelled running pending retrying progress stage elapsed_seconds eta_seconds \
    eta_low_seconds eta_high_seconds tags";
const JOB_FIELDS: &str = "job_id index input state stage progress attempts worker created_at started_at finished_at \
    timings failure skipped_reason outputs detail";

#[test]
fn list_prints_every_field_of_a_batch_and_null_for_the_unknown() {
    let daemon = Daemon::holding(vec![ended(12, 2, 1, 0)], vec![]);
    let listed = daemon.run(&["--json", "list"]).with(0).json();
    let batch = &listed[0];
    assert_fields(batch, BATCH_FIELDS);
    assert_eq!(batch["batch_id"], json!(12));
    assert_eq!(batch["state"], json!("partial"));
    assert_eq!(batch["progress"], json!(1.0));
    assert_eq!(batch["created_at"], json!("2023-11-14T22:13:20.000Z"));
    assert_eq!(batch["elapsed_seconds"], json!(10.0));
    assert_eq!(batch["eta_seconds"], Value::Null);
    assert_eq!(batch["tags"], json!({"course": "b", "a": "x"}));
    assert_eq!(batch["owner"], json!("root"));
}

#[test]
fn list_asks_for_what_was_chosen() {
    let daemon = Daemon::holding(vec![], vec![]);
    let chosen =
        ["list", "--state", "running,failed", "--recipe", "subtitles", "--owner", "7", "--tag", "a=x", "--limit", "5"];
    daemon.run(&chosen).with(0);
    let filter = BatchFilter {
        states: vec![BatchState::Running, BatchState::Failed],
        recipe: Some("subtitles".to_owned()),
        owner: Some(7),
        tags: vec![("a".to_owned(), "x".to_owned())],
    };
    assert_eq!(daemon.requests(), [Request::List { filter, limit: 5 }]);
}

#[test]
fn people_get_an_aligned_table() {
    let mut long = running(3);
    long.name = Some("会议\u{1b}[31m".to_owned());
    long.eta = Some(Eta { seconds: 200.0, low: 100.0, high: 400.0 });
    let ran = Daemon::holding(vec![ended(12, 3, 0, 0), long], vec![]).run(&["list"]).with(0);
    let lines: Vec<&str> = ran.out.lines().map(|line| line.split("  2").next().unwrap()).collect();
    assert_eq!(lines[0], "BATCH  STATE       DONE  ENDED  FAILED  RECIPE     PRIORITY     LEFT  CREATED        NAME");
    assert!(
        lines[1].starts_with("   12  completed  100 %    3/3       0  subtitles        50        –  "),
        "{}",
        lines[1]
    );
    assert!(
        lines[2].starts_with("    3  running     30 %    0/3       0  subtitles        50  1–7 min  "),
        "{}",
        lines[2]
    );
    assert!(ran.out.contains("会议\\u{1b}[31m") && !ran.out.contains('\u{1b}'));
}

#[test]
fn names_that_are_no_text_come_as_bytes_too() {
    let mut odd = job(12, 1, b"/v/caf\xe9\n.mp4", JobState::Completed);
    odd.outputs = vec![Output {
        path: odd.input.clone().map(|_| spindle_shared::job::PathBytes(b"/v/caf\xe9.srt".to_vec())).unwrap(),
        kind: "srt".to_owned(),
        bytes: 9,
    }];
    let daemon = Daemon::holding(vec![ended(12, 1, 0, 0)], vec![odd]);
    let jobs = daemon.run(&["jobs", "12", "--json"]).with(0).json();
    assert_fields(&jobs[0], JOB_FIELDS);
    assert_eq!(jobs[0]["input"], json!("/v/caf\u{fffd}\n.mp4"));
    assert_eq!(jobs[0]["input_bytes"], json!("L3YvY2Fm6QoubXA0"));
    assert_eq!(jobs[0]["outputs"][0]["path_bytes"], json!("L3YvY2Fm6S5zcnQ="));
    assert_eq!(jobs[0]["timings"], json!({"transcribe": 1.5, "decode": 0.25}));
    let text = daemon.run(&["jobs", "12"]).with(0).out;
    assert_eq!(text.lines().count(), 2, "{text}");
}

#[test]
fn jobs_can_be_chosen_by_state() {
    let jobs = vec![
        job(1, 1, b"/a", JobState::Completed),
        failed_job(1, 2, b"/b", Failure::new(FailureKind::Input, "/b is empty")),
    ];
    let daemon = Daemon::holding(vec![ended(1, 1, 1, 0)], jobs);
    let failed = daemon.run(&["--json", "jobs", "1", "--state", "failed"]).with(0).json();
    assert_eq!(failed.as_array().unwrap().len(), 1);
    let failure = &failed[0]["failure"];
    assert_eq!(failure["kind"], json!("input"));
    assert_eq!(failure["message"], json!("/b is empty"));
    assert_eq!(failure["attempts"], json!(1));
    assert!(!failure["advice"].as_str().unwrap().is_empty());
    daemon.run(&["jobs", "1", "--state", "gone"]).with(2);
}

#[test]
fn status_is_of_the_daemon_a_batch_or_a_job() {
    let daemon = Daemon::holding(vec![running(4)], vec![job(4, 2, b"/a.mp4", JobState::Running)]);
    assert_fields(&daemon.run(&["--json", "status", "4"]).with(0).json(), BATCH_FIELDS);
    assert_fields(&daemon.run(&["--json", "status", "4/2"]).with(0).json(), JOB_FIELDS);
    assert_eq!(daemon.run(&["--json", "status", "4", "4/2"]).with(0).json().as_array().unwrap().len(), 2);
    assert!(daemon.run(&["status", "4"]).with(0).out.contains("inputs    3 (1 running, 2 pending)"));
    daemon.run(&["status", "5"]).with(7);
    daemon.run(&["status", "4/9"]).with(7);
    daemon.run(&["status", "four"]).with(2);

    let house = Daemon::saying(vec![Response::House(house())]);
    let status = house.run(&["--json", "status"]).with(0).json();
    assert_fields(
        &status,
        "version pid started_at uptime_seconds paused draining batches_open jobs lanes state_dir model_dir socket",
    );
    assert_eq!(
        house.run(&["--json", "lanes"]).with(0).json(),
        json!([{"lane": "cpu", "used": 1, "slots": 2}, {"lane": "memory", "used": 300, "slots": 18_000}])
    );
    assert!(house.run(&["status"]).with(0).out.contains("lanes         cpu 1/2"));
}

fn house() -> HouseView {
    HouseView {
        pid: 77,
        started_at: spindle_shared::time::WallMs(1_700_000_000_000),
        lanes: vec![("cpu".to_owned(), 1, 2)],
        state_dir: std::path::Path::new("/s").into(),
        model_dir: std::path::Path::new("/m").into(),
        ..made_up::house()
    }
}

#[test]
fn results_exit_as_the_batch_ended() {
    for (batch, code) in [
        (ended(1, 2, 0, 0), 0),
        (ended(1, 1, 1, 0), 3),
        (ended(1, 0, 2, 0), 4),
        (ended(1, 0, 0, 2), 8),
        (ended(1, 1, 0, 1), 8),
        (running(1), 10),
    ] {
        let told = format!("{batch:?}");
        let ran = Daemon::holding(vec![batch], vec![]).run(&["result", "1"]);
        assert_eq!(ran.code, Some(code), "{told}: {ran:#?}");
    }
}

#[test]
fn a_result_has_jobs_and_a_summary() {
    let mut jobs = vec![job(1, 1, b"/a.mp4", JobState::Completed), job(1, 2, b"/b.mp4", JobState::Completed)];
    jobs[1].finished_at = Some(spindle_shared::time::WallMs(1_700_000_007_500));
    jobs[0].detail.media_seconds = Some(60.0);
    let daemon = Daemon::holding(vec![ended(1, 2, 0, 0)], jobs);
    let result = daemon.run(&["result", "1", "--json"]).with(0).json();
    assert_fields(&result, BATCH_FIELDS);
    assert_eq!(result["jobs"].as_array().unwrap().len(), 2);
    assert_eq!(result["gather"], Value::Null);
    let summary = &result["summary"];
    assert_fields(summary, "mean_seconds fastest slowest throughput peak_memory_bytes api_calls tokens cost");
    assert_eq!(summary["mean_seconds"], json!(4.0));
    assert_eq!((&summary["fastest"], &summary["slowest"]), (&json!(2.0), &json!(6.0)));
    assert_eq!(summary["throughput"], json!(0.2));
    assert_eq!(summary["media_throughput"], json!(6.0));
    assert_eq!(summary["cost"], Value::Null);
    assert_eq!(daemon.run(&["--json", "result", "1/2"]).with(0).json()["job_id"], json!("1/2"));
}

#[test]
fn a_job_has_a_result_before_its_batch() {
    let jobs = vec![job(1, 1, b"/a", JobState::Completed), job(1, 2, b"/b", JobState::Running)];
    let daemon = Daemon::holding(vec![running(1)], jobs);
    daemon.run(&["result", "1/1"]).with(0);
    let early = daemon.run(&["result", "1/2"]).with(10);
    assert!(early.out.is_empty() && early.err.contains("not finished"), "{early:#?}");
}

#[test]
fn health_is_its_exit_code() {
    for (healthy, code) in [(true, 0), (false, 1)] {
        let checks = vec![("store".to_owned(), healthy, "writes in 1 ms".to_owned())];
        let daemon = Daemon::saying(vec![Response::Health(Health { healthy, version: "0.1.0".to_owned(), checks })]);
        let health = daemon.run(&["health", "--json"]).with(code).json();
        assert_eq!(health["healthy"], json!(healthy));
        assert_eq!(health["checks"][0], json!({"name": "store", "healthy": healthy, "message": "writes in 1 ms"}));
        assert!(daemon.run(&["health"]).with(code).out.contains("store"));
    }
}

#[test]
fn failures_are_grouped_by_cause() {
    let empty = |index, path: &str| {
        failed_job(1, index, path.as_bytes(), Failure::new(FailureKind::Input, format!("{path} is empty")))
    };
    let jobs = vec![
        empty(1, "/v/a.mp4"),
        empty(2, "/v/b.mp4"),
        failed_job(1, 3, b"/v/c", Failure::new(FailureKind::Timeout, "too slow")),
    ];
    let daemon = Daemon::holding(vec![], jobs);
    let groups = daemon.run(&["--json", "failures"]).with(0).json();
    assert_eq!((&groups[0]["kind"], &groups[0]["count"]), (&json!("input"), &json!(2)));
    assert_eq!((&groups[1]["kind"], &groups[1]["count"]), (&json!("timeout"), &json!(1)));
    assert!(
        daemon.run(&["failures"]).with(0).out.starts_with("2 × input: /v/a.mp4 is empty\n  what to do: check that")
    );
}

#[test]
fn explain_says_why_and_what_to_do() {
    let daemon = Daemon::saying(vec![Response::Explained(vec![Explanation {
        target: "12/3".parse().unwrap(),
        state: "retrying".to_owned(),
        why: "try 1 failed".to_owned(),
        advice: Some("wait".to_owned()),
    }])]);
    let explained = daemon.run(&["--json", "explain", "12/3"]).with(0).json();
    assert_fields(&explained, "id job_id batch_id state why advice also");
    assert_eq!(
        daemon.run(&["explain", "12/3"]).with(0).out,
        "job 12/3 is retrying: try 1 failed\n  what to do: wait\n"
    );
}

#[test]
fn workers_are_listed() {
    let worker = WorkerView {
        id: "w3".to_owned(),
        role: "speech".to_owned(),
        pid: 99,
        model: Some("base".to_owned()),
        runs: vec![spindle_shared::id::RunId { boot: 2, counter: 5 }],
        runs_done: 8,
        resident_bytes: 1 << 20,
        device: None,
    };
    let workers = Daemon::saying(vec![Response::Workers(vec![worker])]).run(&["--json", "workers"]).with(0).json();
    assert_eq!(workers[0]["runs"], json!(["2-5"]));
    assert_eq!(workers[0]["resident_bytes"], json!(1_048_576));
}

#[test]
fn a_reader_that_has_enough_is_no_error() {
    let jobs = (1..=20_000)
        .map(|index| job(1, index, b"/a/long/enough/name/of/a/file.mp4", JobState::Completed))
        .collect::<Vec<_>>();
    let daemon = Daemon::start(move |call| call.answer(jobs.chunks(1_000).map(|jobs| Response::Jobs(jobs.to_vec()))));
    let mut child = daemon.command(&["--json", "jobs", "1"]).spawn().unwrap();
    drop(child.stdout.take());
    let ran = Ran::from(child.wait_with_output().unwrap()).with(0);
    assert_eq!(ran.err, "");
}
