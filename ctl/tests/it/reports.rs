//! The report on a batch, as a document and as a file.

use serde_json::{Value, json};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::{JobState, JobView, Output, PathBytes};
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::Response;

use crate::scripted::*;

fn jobs() -> Vec<JobView> {
    let mut good = job(12, 1, b"/v/a.mp4", JobState::Completed);
    good.detail.media_seconds = Some(30.0);
    good.detail.notes = vec!["from the cache: transcribe".to_owned()];
    good.outputs = vec![Output { path: PathBytes(b"/v/a.srt".to_vec()), kind: "srt".to_owned(), bytes: 2_048 }];
    good.peak_memory_bytes = Some(300 << 20);
    let mut slow = job(12, 2, b"/v/b.mp4", JobState::Completed);
    slow.finished_at = slow.finished_at.map(|at| spindle_shared::time::WallMs(at.0 + 4_000));
    slow.peak_memory_bytes = Some(200 << 20);
    let mut skipped = job(12, 6, b"/v/f.mp4", JobState::Skipped);
    skipped.skipped_reason = Some("f.srt is there already".to_owned());
    vec![
        good,
        slow,
        failed_job(12, 3, b"/v/c|d.mp4", Failure::new(FailureKind::Input, "/v/c|d.mp4 ends after 3 s of 10")),
        failed_job(12, 4, b"/v/e\n# x.mp4", Failure::new(FailureKind::Input, r"/v/e\n# x.mp4 ends after 4 s of 11")),
        failed_job(12, 5, b"/v/g.mp4", Failure::new(FailureKind::Crash, "the worker died")),
        skipped,
    ]
}

fn daemon() -> Daemon {
    let mut batch = ended(12, 2, 3, 0);
    batch.counts.skipped = 1;
    Daemon::holding(vec![batch, running(4)], jobs())
}

#[test]
fn a_report_is_markdown_that_no_name_breaks() {
    let text = daemon().run(&["report", "12"]).with(0).out;
    for part in [
        "# Batch 12: meetings\n",
        "3 of 6 inputs failed.",
        "| completed | 2 | 33.3 % |",
        "| failed | 3 | 50.0 % |",
        "- mean time of a completed job: 4.0 s\n",
        "- fastest: 2.0 s (job 12/1)\n- slowest: 6.0 s (job 12/2)\n",
        "- throughput: 12.0 jobs per minute\n",
        "- speed: 3.0 × real time\n",
        "- most memory of one worker: 300 MiB\n",
        "- outputs: 1 files, 2.0 KiB\n",
        "| transcribe | 6 | 1.5 s | 1.5 s | 9.0 s |\n",
        "| 1 | f.srt is there already |\n",
        "### 2 × input: /v/c\\|d.mp4 ends after 3 s of 10\n",
        "What to do: check that the file plays; replace it, then retry.\n",
        "| 12/3 | /v/c\\|d.mp4 | publish | 1 | /v/c\\|d.mp4 ends after 3 s of 10 |\n",
        "| 12/4 | /v/e\\\\n\\# x.mp4 |",
        "### 1 × crash: the worker died\n",
    ] {
        assert!(text.contains(part), "{part:?} is missing in\n{text}");
    }
    assert!(text.find("2 × input") < text.find("1 × crash"), "the most frequent first");
    assert!(!text.contains("cost") && !text.contains("tokens"), "what is unknown is not told");
}

#[test]
fn a_report_is_json_on_wish() {
    let report = daemon().run(&["--json", "report", "12"]).with(0).json();
    assert_eq!(report["batch_id"], json!(12));
    assert_eq!(report["shares"], json!({"completed": 0.3333, "failed": 0.5, "skipped": 0.1667, "cancelled": 0.0}));
    let summary = &report["summary"];
    assert_eq!((&summary["mean_seconds"], &summary["slowest_job"]), (&json!(4.0), &json!("12/2")));
    assert_eq!(summary["peak_memory_bytes"], json!(300 << 20));
    assert_eq!(summary["cost"], Value::Null);
    assert_eq!(report["failures"][0]["count"], json!(2));
    assert_eq!(report["failures"][0]["unnamed"], json!(0));
    assert_eq!(report["failures"][0]["jobs"][1]["input"], json!("/v/e\n# x.mp4"));
    assert_eq!(report["failures"][1]["jobs"][0]["attempts"], json!(1));
    assert_eq!(report["skipped_reasons"], json!([{"text": "f.srt is there already", "jobs": 1}]));
}

#[test]
fn a_report_goes_into_a_file_and_replaces_none_unasked() {
    let daemon = daemon();
    let ran = daemon.run(&["report", "12", "-o", "r.md"]).with(0);
    assert_eq!(ran.out, "");
    let path = daemon.path().join("r.md");
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("# Batch 12"));
    daemon.file("r.md", "mine");
    let refused = daemon.run(&["report", "12", "-o", "r.md"]).with(2);
    assert!(refused.err.contains("r.md is there already") && refused.err.contains("--force"), "{refused:?}");
    assert_eq!(std::fs::read_to_string(&path).unwrap(), "mine");
    daemon.run(&["report", "12", "-o", "r.md", "--force"]).with(0);
    assert!(std::fs::read_to_string(&path).unwrap().starts_with("# Batch 12"));
    for (arguments, name) in
        [(["report", "12", "-o", "r.json"].as_slice(), "r.json"), (&["--json", "report", "12", "-o", "r"], "r")]
    {
        daemon.run(arguments).with(0);
        let report: Value = serde_json::from_slice(&std::fs::read(daemon.path().join(name)).unwrap()).unwrap();
        assert_eq!(report["total"], json!(6));
    }
    let left: Vec<_> = std::fs::read_dir(daemon.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(left.len(), 4, "three reports, the socket and nothing half: {left:?}");
}

#[test]
fn there_is_no_report_on_what_goes_on_or_is_not_there() {
    let daemon = daemon();
    daemon.run(&["report", "4"]).with(10);
    daemon.run(&["report", "99"]).with(7);
    daemon.run(&["report", "12/3"]).with(2);
    daemon.run(&["report", "12", "--force"]).with(2);
}

#[test]
fn a_large_batch_is_asked_for_page_by_page() {
    let daemon = Daemon::start(|call| match call.request.clone() {
        Request::Batches(_) => call.answer([Response::Batches(vec![ended(1, 25_000, 0, 0)])]),
        Request::Jobs { from, limit, .. } => {
            let page = (from..=25_000).take(limit as usize).map(|index| job(1, index, b"/a", JobState::Completed));
            let page: Vec<JobView> = page.collect();
            call.answer(page.chunks(1_000).map(|chunk| Response::Jobs(chunk.to_vec())));
        }
        other => panic!("nothing is written for {other:?}"),
    });
    let report = daemon.run(&["--json", "report", "1"]).with(0).json();
    assert_eq!(report["stages"][0]["jobs"], json!(25_000));
    assert_eq!(daemon.requests().len(), 4);
}
