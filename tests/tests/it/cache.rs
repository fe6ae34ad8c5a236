//! Work that was done once is not done again.

use spindle_shared::id::BatchId;
use spindle_shared::job::JobView;
use spindle_tests::harness::Daemon;

fn ran(job: &JobView, stage: &str) -> bool {
    job.timings.iter().any(|(name, _)| name == stage)
}

#[test]
fn the_same_inputs_into_another_folder_come_from_the_cache() {
    let daemon = Daemon::real().start();
    daemon.sound("a.wav", 2.0);
    daemon.sound("b.wav", 2.0);
    daemon.say("submit subtitles --wait a.wav b.wav -o one").expect(0);
    daemon.say("submit subtitles --wait a.wav b.wav -o two").expect(0);
    for job in daemon.jobs(BatchId(2)) {
        assert!(job.detail.notes.iter().any(|note| note.starts_with("from the cache")), "{job:#?}");
        assert!(!ran(&job, "decode") && !ran(&job, "transcribe"), "{job:#?}");
        assert!(job.detail.words.is_some_and(|words| words >= 2), "{job:#?}");
        assert_eq!(job.detail.language.as_deref(), Some("en"));
    }
    assert_eq!(daemon.files("media/one"), daemon.files("media/two"));
    // One input changed, and another shape of the cues: the first costs everything, the second only the cues.
    daemon.sound("b.wav", 2.5);
    daemon.say("submit subtitles --wait --max-words 1 a.wav b.wav -o three").expect(0);
    let jobs = daemon.jobs(BatchId(3));
    assert!(!ran(&jobs[0], "transcribe") && ran(&jobs[0], "subtitle"), "{:#?}", jobs[0]);
    assert!(ran(&jobs[1], "decode") && ran(&jobs[1], "transcribe"), "{:#?}", jobs[1]);
}

#[test]
fn a_hit_needs_no_worker() {
    let daemon = Daemon::real().start();
    daemon.sound("a.wav", 2.0);
    daemon.say("submit subtitles --wait a.wav -o one").expect(0);
    // A model that can't be loaded any more is not missed.
    daemon.say("submit subtitles --wait a.wav -o two").expect(0);
    let timings = daemon.job(BatchId(2), 1).timings;
    assert!(timings.iter().all(|(stage, _)| stage == "publish"), "{timings:?}");
}

#[test]
fn equal_contents_are_transcribed_once() {
    let daemon = Daemon::real().set("lanes.cpu", 2).start();
    let first = daemon.sound("a.wav", 2.0);
    for copy in ["b.wav", "c.wav", "d.wav"] {
        std::fs::copy(&first, daemon.media().join(copy)).unwrap();
    }
    daemon.say("submit subtitles --wait a.wav b.wav c.wav d.wav").expect(0);
    let transcribed = daemon.jobs(BatchId(1)).iter().filter(|job| ran(job, "transcribe")).count();
    assert_eq!(transcribed, 1);
    assert_eq!(daemon.files("media").iter().filter(|name| name.ends_with(".srt")).count(), 4);
}

#[test]
fn purge_removes_what_was_kept() {
    let daemon = Daemon::real().start();
    daemon.sound("a.wav", 2.0);
    daemon.say("submit subtitles --wait a.wav -o one").expect(0);
    assert!(!daemon.files("state/artifacts").is_empty());
    daemon.say("remove --purge 1").expect(0);
    assert_eq!(daemon.files("state/artifacts"), [""; 0]);
    assert_eq!(daemon.files("media/one").len(), 2);
    daemon.say("submit subtitles --wait a.wav -o two").expect(0);
    assert!(ran(&daemon.job(BatchId(2), 1), "transcribe"));
}
