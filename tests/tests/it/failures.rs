//! What goes wrong in a job: which kind it is, what is said, what it costs the others, and what the exit code tells.

use std::fs;

use serde_json::Value;
use spindle_shared::failure::FailureKind;
use spindle_shared::id::BatchId;
use spindle_shared::job::JobState;
use spindle_tests::harness::Daemon;

#[test]
fn one_bad_input_fails_alone() {
    let daemon = Daemon::real().start();
    daemon.sound("good.wav", 2.0);
    fs::write(daemon.media().join("bad.wav"), b"this is no sound at all, whatever its name says").unwrap();
    fs::write(daemon.media().join("empty.mp4"), b"").unwrap();
    daemon.sound("fine.wav", 2.0);
    let ran = daemon.say("submit subtitles --wait good.wav bad.wav empty.mp4 fine.wav").expect(3);
    ran.says(&["partial", "2 of 4 completed", "2 failed"]);
    let result = daemon.say("--json result 1").expect(3).json();
    let jobs = result["jobs"].as_array().unwrap();
    let states: Vec<&Value> = jobs.iter().map(|job| &job["state"]).collect();
    assert_eq!(states, ["completed", "failed", "failed", "completed"]);
    for (job, name) in [(&jobs[1], "bad.wav"), (&jobs[2], "empty.mp4")] {
        let failure = &job["failure"];
        assert_eq!(failure["kind"], "input", "{failure}");
        assert!(failure["message"].as_str().unwrap().contains(name), "{failure}");
        assert!(!failure["advice"].as_str().unwrap().is_empty(), "{failure}");
        assert_eq!(failure["attempts"], 1, "{failure}");
    }
    let outputs = daemon.files("media");
    assert!(outputs.contains(&"good.en.srt".to_owned()) && outputs.contains(&"fine.en.srt".to_owned()), "{outputs:?}");
    // The same by the other ways to ask.
    daemon.say("explain 1/2").expect(0);
    let explained = daemon.json("explain 1/2");
    assert_eq!(explained["state"], "failed");
    assert!(explained["why"].as_str().unwrap().contains("bad.wav"), "{explained}");
    assert!(explained["advice"].is_string(), "{explained}");
    let failures = daemon.say("failures").expect(0);
    assert!(failures.out.contains("input") && failures.out.contains("1/2"), "{}", failures.out);
    daemon.say("wait 1").expect(3);
    daemon.say("result 1/2").expect(4);
}

#[test]
fn all_failed_is_an_exit_code_of_its_own() {
    let daemon = Daemon::scripted().start();
    daemon.scripts(2, "fail-permission-");
    daemon.say("submit subtitles --wait fail-permission-001.wav fail-permission-002.wav").expect(4).says(&["failed"]);
    daemon.say("submit subtitles --wait --force fail-permission-001.wav").expect(4);
    daemon.script("ok");
    daemon.say("submit subtitles --wait ok.wav").expect(0);
    daemon.say("wait 1 2").expect(4);
    daemon.say("wait 1 3").expect(3);
    daemon.say("wait 3").expect(0);
}

#[test]
fn a_model_that_is_not_there_is_told_at_submission() {
    let daemon = Daemon::setup().parrot("base", "en", &[" hello"]).start();
    daemon.sound("talk.wav", 1.0);
    let ran = daemon.say("submit subtitles --model small talk.wav").expect(9);
    ran.says(&["error: the model `small` is not installed", "hint:", "models pull small"]);
    daemon.say("submit subtitles --model no-such-model talk.wav").expect(9).says(&["installed: base"]);
    daemon.say("submit subtitles --model /no/such/model.bin talk.wav").expect(9).says(&["/no/such/model.bin"]);
    let ran = daemon.say("--json submit subtitles --model small talk.wav").expect(9);
    let error: Value = serde_json::from_str(&ran.err).unwrap();
    assert_eq!(error["error"]["code"], 9);
    assert_eq!(error["error"]["kind"], "model_missing");
    assert!(error["error"]["hint"].as_str().unwrap().contains("models pull"), "{error}");
    assert_eq!(daemon.json("list"), Value::Array(vec![]));
}

#[test]
fn a_model_that_is_a_web_page_fails_the_job() {
    let daemon = Daemon::setup().start();
    let page = "<!DOCTYPE html><html><head><title>Not found</title></head><body>Not found</body></html>";
    fs::write(daemon.models().join("ggml-base.bin"), page).unwrap();
    daemon.sound("talk.wav", 1.5);
    daemon.say("submit subtitles --wait talk.wav").expect(4);
    let failure = daemon.job(BatchId(1), 1).failure.unwrap();
    assert_eq!(failure.kind, FailureKind::ModelMissing, "{failure:?}");
    assert!(failure.message.contains("ggml-base.bin") || failure.message.contains("base"), "{failure:?}");
    assert!(failure.advice.contains("models"), "{failure:?}");
}

#[test]
fn a_model_cut_short_fails_the_job() {
    let daemon = Daemon::real().start();
    let model = daemon.models().join("ggml-base.bin");
    let whole = fs::read(&model).unwrap();
    fs::write(&model, &whole[..whole.len() / 2]).unwrap();
    daemon.sound("talk.wav", 1.5);
    daemon.say("submit subtitles --wait talk.wav").expect(4);
    let failure = daemon.job(BatchId(1), 1).failure.unwrap();
    assert_eq!(failure.kind, FailureKind::ModelMissing, "{failure:?}");
}

#[test]
fn retry_does_the_failed_jobs_of_a_closed_batch_again() {
    let daemon = Daemon::real().start();
    daemon.sound("good.wav", 2.0);
    let bad = daemon.media().join("late.wav");
    fs::write(&bad, b"not yet a recording").unwrap();
    daemon.say("submit subtitles --wait good.wav late.wav").expect(3);
    let good = daemon.job(BatchId(1), 1);
    daemon.say("retry 1/1").expect(1).says(&["neither failed"]);
    daemon.sound("late.wav", 2.0);
    daemon.say("retry 1").expect(0);
    daemon.say("wait 1").expect(0);
    let batch = daemon.batch(BatchId(1));
    assert_eq!((batch.counts.completed, batch.counts.failed), (2, 0));
    assert_eq!(daemon.job(BatchId(1), 1), good, "what was finished stays as it was");
    let late = daemon.job(BatchId(1), 2);
    assert_eq!(late.failure, None);
    assert!(late.detail.notes.iter().any(|note| note.contains("changed")), "{late:#?}");
    daemon.say("retry 1").expect(1).says(&["no failed or cancelled job"]);
    daemon.say("retry 7").expect(7);
}

#[test]
fn an_input_that_vanishes_while_it_waits_fails_with_its_name() {
    let daemon = Daemon::scripted().start();
    daemon.say("pause").expect(0);
    let path = daemon.script("gone");
    let batch = daemon.submit(["gone.wav"]);
    fs::remove_file(path).unwrap();
    daemon.say("resume").expect(0);
    daemon.say("wait 1").expect(4);
    let job = daemon.job(batch, 1);
    assert_eq!(job.state, JobState::Failed);
    let failure = job.failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Input);
    assert!(failure.message.contains("gone.wav is missing"), "{failure:?}");
}

#[test]
fn an_input_that_changes_while_it_waits_is_noticed() {
    let daemon = Daemon::scripted().start();
    daemon.say("pause").expect(0);
    let path = daemon.script("ok");
    let batch = daemon.submit(["ok.wav"]);
    fs::write(path, "quite another content").unwrap();
    daemon.say("resume").expect(0);
    daemon.say("wait 1").expect(0);
    let job = daemon.job(batch, 1);
    assert!(job.detail.notes.iter().any(|note| note.contains("changed after it was submitted")), "{job:#?}");
}

#[test]
fn an_output_that_appears_while_the_job_waits_is_not_overwritten() {
    let daemon = Daemon::real().start();
    daemon.say("pause").expect(0);
    daemon.sound("talk.wav", 1.5);
    let batch = daemon.submit(["--format", "srt", "talk.wav"]);
    let mine = daemon.media().join("talk.en.srt");
    fs::write(&mine, "mine").unwrap();
    daemon.say("resume").expect(0);
    daemon.say("wait 1").expect(4);
    let failure = daemon.job(batch, 1).failure.unwrap();
    assert_eq!(failure.kind, FailureKind::Exists);
    assert!(failure.message.contains("talk.en.srt"), "{failure:?}");
    assert_eq!(fs::read_to_string(&mine).unwrap(), "mine");
    assert!(daemon.partial_files().is_empty());
}
