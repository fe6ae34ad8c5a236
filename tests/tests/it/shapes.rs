//! The JSON that scripts hold on to, and what the verbs print that need no work of their own.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use serde_json::Value;
use spindle_tests::harness::Daemon;

const BATCH: [&str; 24] = [
    "batch_id",
    "name",
    "recipe",
    "owner",
    "state",
    "priority",
    "parallel",
    "created_at",
    "started_at",
    "finished_at",
    "total",
    "completed",
    "failed",
    "skipped",
    "cancelled",
    "running",
    "pending",
    "retrying",
    "progress",
    "stage",
    "elapsed_seconds",
    "eta_seconds",
    "eta_low_seconds",
    "tags",
];
const JOB: [&str; 16] = [
    "job_id",
    "index",
    "input",
    "state",
    "stage",
    "progress",
    "attempts",
    "worker",
    "created_at",
    "started_at",
    "finished_at",
    "timings",
    "failure",
    "skipped_reason",
    "outputs",
    "detail",
];

#[track_caller]
fn has(value: &Value, fields: &[&str]) {
    for field in fields {
        assert!(value.get(field).is_some(), "there is no `{field}` in {value:#}");
    }
}

#[test]
fn every_answer_has_its_fields() {
    let daemon = Daemon::scripted().start();
    daemon.scripts(2, "ok");
    let submitted = daemon.json("submit subtitles --name evening --tag show=news -p high -j 1 ok001.wav ok002.wav");
    let fields =
        ["batch_id", "recipe", "state", "total", "estimated_seconds", "priority", "parallel", "skipped", "created_at"];
    has(&submitted, &fields);
    assert_eq!((&submitted["batch_id"], &submitted["total"], &submitted["skipped"]), (&1.into(), &2.into(), &0.into()));
    daemon.say("wait 1").expect(0);

    let batch = daemon.json("status 1");
    has(&batch, &BATCH);
    has(&batch, &["eta_high_seconds"]);
    assert_eq!(batch["name"], "evening");
    assert_eq!(batch["tags"]["show"], "news");
    assert_eq!((&batch["parallel"], &batch["completed"]), (&1.into(), &2.into()));
    assert_eq!(batch["progress"].as_f64(), Some(1.0));
    assert!(batch["finished_at"].as_str().unwrap().ends_with('Z'), "{batch}");

    let list = daemon.json("list");
    has(&list[0], &BATCH);
    for (filter, count) in
        [("--state completed", 1), ("--state failed", 0), ("--recipe subtitles", 1), ("--limit 1", 1)]
    {
        assert_eq!(daemon.json(&format!("list {filter}")).as_array().unwrap().len(), count, "{filter}");
    }

    let jobs = daemon.json("jobs 1");
    assert_eq!(jobs.as_array().unwrap().len(), 2);
    has(&jobs[0], &JOB);
    assert_eq!((&jobs[1]["job_id"], &jobs[1]["index"]), (&"1/2".into(), &2.into()));
    has(&jobs[0]["outputs"][0], &["path", "kind", "bytes"]);
    assert!(jobs[0]["timings"]["transcribe"].is_number(), "{}", jobs[0]);
    assert_eq!(daemon.json("jobs 1 --state failed"), Value::Array(vec![]));
    has(&daemon.json("status 1/2"), &JOB);

    let result = daemon.json("result 1");
    has(&result, &BATCH);
    has(&result, &["jobs", "gather", "summary"]);
    let figures =
        ["mean_seconds", "fastest", "slowest", "throughput", "peak_memory_bytes", "api_calls", "tokens", "cost"];
    has(&result["summary"], &figures);

    let house = daemon.json("status");
    has(&house, &["version", "pid", "paused", "draining", "batches_open", "jobs", "lanes", "state_dir", "model_dir"]);
    assert_eq!(house["batches_open"], 0);
    let health = daemon.json("health");
    assert_eq!(health["healthy"], true);
    let workers = daemon.json("workers");
    has(&workers[0], &["worker", "role", "pid", "runs_done"]);
    has(&daemon.json("lanes")[0], &["lane", "used", "slots"]);
    let explained = daemon.json("explain 1");
    has(&explained, &["id", "state", "why", "advice"]);
}

#[test]
fn a_submission_that_waits_prints_how_the_batch_ended() {
    let daemon = Daemon::scripted().start();
    daemon.script("ok");
    let ended = daemon.json("submit subtitles --wait ok.wav");
    has(&ended, &BATCH);
    assert_eq!((&ended["state"], &ended["completed"]), (&"completed".into(), &1.into()));
}

#[test]
fn a_watch_prints_a_snapshot_and_then_every_event() {
    let daemon = Daemon::scripted().start();
    daemon.script("slow-150@transcribe");
    daemon.say("pause").expect(0);
    let batch = daemon.submit(["slow-150@transcribe.wav"]);
    let mut command = daemon.command("spindlectl");
    let mut watch = command.args(["--json", "watch", "1"]).stdout(Stdio::piped()).spawn().unwrap();
    let mut lines = Vec::new();
    for line in BufReader::new(watch.stdout.take().unwrap()).lines() {
        if lines.is_empty() {
            daemon.say("resume").expect(0);
        }
        lines.push(serde_json::from_str::<Value>(&line.unwrap()).unwrap());
    }
    assert!(watch.wait().unwrap().success());
    for line in &lines {
        has(line, &["seq", "time", "kind"]);
    }
    assert_eq!(lines[0]["kind"], "snapshot");
    has(&lines[0]["snapshot"]["batches"][0], &BATCH);
    assert_eq!(lines[0]["snapshot"]["batches"][0]["batch_id"], batch.0);
    let seqs: Vec<u64> = lines.iter().map(|line| line["seq"].as_u64().unwrap()).collect();
    assert!(seqs.is_sorted(), "{seqs:?}");
    let kinds: Vec<&str> = lines.iter().map(|line| line["kind"].as_str().unwrap()).collect();
    assert!(kinds.contains(&"job") && kinds.contains(&"batch"), "{kinds:?}");
    let last = lines.iter().rfind(|line| line["kind"] == "batch").unwrap();
    assert_eq!(last["batch"]["state"], "completed");
    let job = lines.iter().rfind(|line| line["kind"] == "job").unwrap();
    has(&job["job"], &JOB);
    assert_eq!(job["job"]["state"], "completed");
}

#[test]
fn an_unfinished_batch_has_no_result_yet() {
    let daemon = Daemon::scripted().start();
    daemon.script("ok");
    daemon.say("pause").expect(0);
    daemon.submit(["ok.wav"]);
    daemon.say("result 1").expect(10).says(&["batch 1 is not finished", "hint:"]);
    daemon.say("result 1/1").expect(10);
    daemon.say("wait 1 --timeout 50ms").expect(124).says(&["the time ran out"]);
    daemon.say("remove 1").expect(1).says(&["not finished"]);
}

#[test]
fn a_waiting_job_is_explained() {
    let daemon = Daemon::scripted().set("lanes.cpu", 1).start();
    daemon.script("ok");
    daemon.script("hang@decode");
    daemon.submit(["hang@decode.wav"]);
    daemon.begun("hang@decode");
    let second = daemon.submit(["ok.wav"]);
    daemon.watch(&[second]).until("it waits for a slot", |seen| {
        seen.jobs.values().any(|job| job.id.batch == second && job.stage == "decode").then_some(())
    });
    for id in ["1", "1/1", "2", "2/1"] {
        let explained = daemon.json(&format!("explain {id}"));
        assert!(!explained["why"].as_str().unwrap().is_empty(), "{explained}");
    }
    assert!(daemon.json("explain 1/1")["why"].as_str().unwrap().contains("runs"));
    daemon.say("pause 2").expect(0);
    let explained = daemon.json("explain 2");
    assert!(explained["why"].as_str().unwrap().contains("paused"), "{explained}");
    assert!(explained["advice"].as_str().unwrap().contains("resume 2"), "{explained}");
}

#[test]
fn a_removed_batch_is_gone_and_its_outputs_stay() {
    let daemon = Daemon::scripted().start();
    daemon.script("ok");
    daemon.say("submit subtitles --wait ok.wav").expect(0);
    let before = daemon.files("media");
    daemon.say("remove 1").expect(0);
    daemon.say("status 1").expect(7);
    assert_eq!(daemon.json("list"), Value::Array(vec![]));
    assert_eq!(daemon.files("media"), before);
    // A number is never given twice.
    assert_eq!(daemon.submit(["--force", "ok.wav"]).0, 2);
}

#[test]
fn catalogues_and_generated_texts_are_printed() {
    let daemon = Daemon::real().start();
    let models = daemon.json("models list");
    let base = models.as_array().unwrap().iter().find(|model| model["name"] == "base").unwrap();
    has(base, &["name", "installed", "path", "bytes", "sha256", "english_only", "about"]);
    assert_eq!(base["installed"], true);
    let small = models.as_array().unwrap().iter().find(|model| model["name"] == "small").unwrap();
    assert_eq!((&small["installed"], &small["path"]), (&false.into(), &Value::Null));
    // It is no model of the publisher's, whatever its name.
    daemon.say("models verify base").expect(1);
    assert!(daemon.say("models languages").expect(0).out.contains("zh"));
    assert!(daemon.say("recipes list").expect(0).out.contains("subtitles"));
    assert!(daemon.say("recipes show subtitles").expect(0).out.contains("transcribe"));
    for shell in ["bash", "zsh", "fish"] {
        assert!(daemon.say(&format!("completions {shell}")).expect(0).out.contains("spindlectl"), "{shell}");
    }
    assert!(daemon.say("man").expect(0).out.contains(".TH"));
    for line in ["--help", "--version", "submit subtitles --help"] {
        assert!(!daemon.say(line).expect(0).out.is_empty(), "{line}");
    }
}

#[test]
fn a_running_job_tells_which_worker_has_it() {
    let daemon = Daemon::scripted().start();
    daemon.script("hang@transcribe");
    let id = daemon.submit(["hang@transcribe.wav"]);
    daemon.watch(&[id]).until("its worker is known", |seen| {
        seen.jobs.values().find_map(|job| job.worker.clone().filter(|_| job.stage == "transcribe"))
    });
    let workers = daemon.json("workers");
    let speech = workers.as_array().unwrap().iter().find(|worker| worker["role"] == "speech").unwrap();
    assert_eq!(daemon.json("status 1/1")["worker"], speech["worker"]);
    daemon.say("cancel 1").expect(0);
    assert_eq!(daemon.json("status 1/1")["worker"], Value::Null);
}

#[test]
fn a_report_statistics_and_metrics_tell_of_real_work() {
    let daemon = Daemon::real().start();
    daemon.sound("talk.wav", 3.0);
    std::fs::write(daemon.media().join("empty.wav"), b"RIFF").unwrap();
    daemon.say("submit subtitles --wait talk.wav empty.wav").expect(3);

    let report = daemon.json("report 1");
    has(&report, &BATCH);
    has(&report, &["generated_at", "shares", "summary", "stages", "outputs", "failures", "skipped_reasons", "notes"]);
    assert_eq!((&report["shares"]["completed"], &report["failures"][0]["kind"]), (&0.5.into(), &"input".into()));
    let peak = report["summary"]["peak_memory_bytes"].as_u64();
    assert!(peak.is_some_and(|bytes| bytes > 1 << 20), "{report}");
    assert_eq!(daemon.json("jobs 1")[0]["peak_memory_bytes"].as_u64(), peak);

    let stats = daemon.json("stats --since 1h");
    has(&stats, &["since", "until", "success_share", "mean_seconds", "recipes", "stages", "failures"]);
    assert_eq!((&stats["completed"], &stats["failed"], &stats["success_share"]), (&1.into(), &1.into(), &0.5.into()));
    assert_eq!(stats["peak_memory_bytes"].as_u64(), peak);
    assert_eq!((&stats["recipes"][0]["recipe"], &stats["outputs"]), (&"subtitles".into(), &2.into()));
    assert_eq!(stats["failures"][0], serde_json::json!({"kind": "input", "jobs": 1}));
    assert_eq!(daemon.json("stats --since 1ms")["jobs"], 0, "it has ended before");

    let text = daemon.say("metrics").expect(0).out;
    for line in [
        "# TYPE spindle_jobs_ended_total counter",
        "spindle_jobs_ended_total{state=\"completed\"} 1",
        "spindle_jobs_ended_total{state=\"cancelled\"} 0",
        "spindle_job_failures_total{kind=\"input\"} 1",
        "spindle_job_failures_total{kind=\"crash\"} 0",
        "spindle_stage_jobs_total{stage=\"transcribe\"} 1",
        "spindle_outputs_total 2",
        "spindle_jobs_open{state=\"pending\"} 0",
        "spindle_lane_slots_used{lane=\"cpu\"} 0",
        "spindle_paused 0",
    ] {
        assert!(text.lines().any(|known| known == line), "{line} is missing in\n{text}");
    }
    check_exposition(&text);
    let metrics = daemon.json("metrics");
    let names: Vec<_> = metrics.as_array().unwrap().iter().map(|metric| metric["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"spindle_media_seconds_total"), "{names:?}");
}

/// Each family once, its HELP and TYPE before its samples, each sample once, and a number behind it.
fn check_exposition(text: &str) {
    let (mut families, mut samples) = (std::collections::BTreeSet::new(), std::collections::BTreeSet::new());
    let mut family = "";
    for line in text.lines() {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            family = rest.split(' ').next().unwrap();
            assert!(families.insert(family), "{family} comes twice");
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').unwrap();
            assert_eq!(name, family);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{name} is a {kind}");
        } else {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            assert_eq!(sample.split('{').next().unwrap(), family);
            assert!(value.parse::<f64>().is_ok(), "{line}");
            assert!(samples.insert(sample), "{sample} comes twice");
        }
    }
}
