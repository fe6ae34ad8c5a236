//! Outputs that are there already: refused, skipped, redone or replaced, as the submission says; edited ones are the user's.

use std::fs;

use spindle_shared::id::BatchId;
use spindle_shared::job::JobState;
use spindle_tests::harness::Daemon;

fn with_a_finished_talk() -> Daemon {
    let daemon = Daemon::real().start();
    daemon.sound("talk.wav", 2.0);
    daemon.say("submit subtitles --wait talk.wav").expect(0);
    daemon
}

#[test]
fn existing_outputs_are_refused_by_name() {
    let daemon = with_a_finished_talk();
    let ran = daemon.say("submit subtitles talk.wav").expect(2);
    ran.says(&["2 outputs exist already", "talk.en.srt", "talk.en.vtt", "--skip-existing", "--force"]);
    assert_eq!(daemon.json("list").as_array().unwrap().len(), 1);
}

#[test]
fn what_is_up_to_date_is_skipped() {
    let daemon = with_a_finished_talk();
    daemon.say("submit subtitles --wait --skip-existing talk.wav").expect(0);
    let job = daemon.job(BatchId(2), 1);
    assert_eq!(job.state, JobState::Skipped);
    assert!(job.skipped_reason.as_deref().unwrap().contains("up to date"), "{job:#?}");
    let explained = daemon.json("explain 2/1");
    assert!(explained["why"].as_str().unwrap().contains("up to date"), "{explained}");
}

#[test]
fn what_was_made_otherwise_is_redone() {
    let daemon = with_a_finished_talk();
    let srt = daemon.media().join("talk.en.srt");
    let before = fs::read_to_string(&srt).unwrap();
    daemon.say("submit subtitles --wait --skip-existing --max-words 1 talk.wav").expect(0);
    assert_eq!(daemon.job(BatchId(2), 1).state, JobState::Completed);
    let after = fs::read_to_string(&srt).unwrap();
    assert!(after != before && after.matches("-->").count() == 2, "{after}");
    // Another input under the same name counts as well.
    daemon.sound("talk.wav", 2.5);
    daemon.say("submit subtitles --wait --skip-existing talk.wav").expect(0);
    assert_eq!(daemon.job(BatchId(3), 1).state, JobState::Completed);
}

#[test]
fn what_somebody_has_edited_since_is_kept() {
    let daemon = with_a_finished_talk();
    for name in ["talk.en.srt", "talk.en.vtt"] {
        fs::write(daemon.media().join(name), "better words").unwrap();
    }
    daemon.say("submit subtitles --wait --skip-existing --max-words 1 talk.wav").expect(0);
    let job = daemon.job(BatchId(2), 1);
    assert_eq!(job.state, JobState::Skipped);
    assert!(job.skipped_reason.as_deref().unwrap().contains("edited since"), "{job:#?}");
    assert_eq!(fs::read_to_string(daemon.media().join("talk.en.srt")).unwrap(), "better words");
}

#[test]
fn a_missing_format_is_made_beside_a_kept_one() {
    let daemon = with_a_finished_talk();
    fs::remove_file(daemon.media().join("talk.en.vtt")).unwrap();
    let srt = daemon.media().join("talk.en.srt");
    fs::write(&srt, "better words").unwrap();
    daemon.say("submit subtitles --wait --skip-existing talk.wav").expect(0);
    assert_eq!(daemon.job(BatchId(2), 1).state, JobState::Completed);
    assert!(daemon.media().join("talk.en.vtt").is_file());
    assert_eq!(fs::read_to_string(&srt).unwrap(), "better words");
}

#[test]
fn force_replaces_whatever_is_there() {
    let daemon = with_a_finished_talk();
    let srt = daemon.media().join("talk.en.srt");
    fs::write(&srt, "mine").unwrap();
    daemon.say("submit subtitles --wait --force talk.wav").expect(0);
    assert!(fs::read_to_string(&srt).unwrap().contains("hello world"));
}

#[test]
fn the_same_again_starts_no_worker_and_says_so() {
    let mut daemon = with_a_finished_talk();
    let srt = daemon.media().join("talk.en.srt");
    let before = fs::metadata(&srt).unwrap().modified().unwrap();
    daemon.stop();
    daemon.start();
    daemon.say("submit subtitles --wait --force talk.wav").expect(0);
    let job = daemon.job(BatchId(2), 1);
    assert_eq!((job.state, job.outputs.len(), job.timings.len()), (JobState::Completed, 2, 0), "{job:#?}");
    assert_eq!(job.detail.notes, ["from the cache: transcribe, subtitle, publish"]);
    for role in ["files", "media", "speech", "net"] {
        assert!(daemon.workers(role).is_empty(), "a {role} worker was started");
    }
    assert_eq!(fs::metadata(&srt).unwrap().modified().unwrap(), before);
    // Once edited, it is no longer what was published.
    fs::write(&srt, "mine").unwrap();
    daemon.say("submit subtitles --wait --force talk.wav").expect(0);
    assert!(fs::read_to_string(&srt).unwrap().contains("hello world"));
}

#[test]
fn a_second_run_over_a_folder_finds_nothing_new() {
    let daemon = Daemon::real().start();
    daemon.sound("talks/a.wav", 1.5);
    daemon.sound("talks/b.wav", 1.5);
    daemon.say("submit subtitles --wait -r talks").expect(0);
    let before = daemon.files("media");
    daemon.say("submit subtitles --wait --skip-existing -r talks").expect(0);
    assert_eq!(daemon.batch(BatchId(2)).counts.skipped, 2);
    assert_eq!(daemon.files("media"), before);
}
