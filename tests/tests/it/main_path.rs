//! From recordings to subtitles: the path that everybody walks.

use std::fs;

use spindle_shared::job::JobState;
use spindle_tests::harness::Daemon;

#[test]
fn recordings_become_subtitles_beside_them() {
    let daemon = Daemon::real().start();
    daemon.sound("talk.wav", 3.0);
    daemon.sound("other.wav", 2.5);
    let ran = daemon.say("submit subtitles --wait talk.wav other.wav").expect(0);
    assert_eq!(ran.out, "1\n");
    ran.says(&["batch 1: completed", "2 of 2 completed"]);
    assert_eq!(
        daemon.files("media"),
        ["other.en.srt", "other.en.vtt", "other.wav", "talk.en.srt", "talk.en.vtt", "talk.wav"]
    );
    let srt = fs::read_to_string(daemon.media().join("talk.en.srt")).unwrap();
    assert!(
        srt.starts_with("1\n00:00:0") && srt.contains(" --> ") && srt.to_lowercase().contains("hello world"),
        "{srt}"
    );
    let vtt = fs::read_to_string(daemon.media().join("talk.en.vtt")).unwrap();
    assert!(vtt.starts_with("WEBVTT\n") && vtt.to_lowercase().contains("hello world"), "{vtt}");
    assert!(daemon.partial_files().is_empty());
    assert!(daemon.files("state/scratch").is_empty());
    assert!(
        daemon.jobs(daemon.batch(spindle_shared::id::BatchId(1)).id).iter().all(|job| job.state == JobState::Completed)
    );
}
