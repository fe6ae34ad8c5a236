//! The daemon dies or is stopped, and comes back: nothing is lost, nothing done twice.

use std::collections::BTreeMap;

use spindle_shared::batch::BatchState;
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::{JobState, JobView};
use spindle_tests::harness::{Daemon, eventually};

#[test]
fn a_batch_survives_several_deaths_of_the_daemon() {
    let mut daemon = Daemon::scripted().set("lanes.cpu", 3).start();
    for number in 1..=60 {
        daemon.script(&format!("slow-10-x{number}@transcribe"));
    }
    let id = daemon.submit(["-r", ".", "-o", "out", "-j", "6"]);
    let mut done: BTreeMap<JobId, JobView> = BTreeMap::new();
    for target in [8, 20, 32, 44] {
        daemon
            .watch(&[id])
            .until("some more are done", |seen| (seen.batches[&id].counts.completed >= target).then_some(()));
        done.extend(daemon.jobs(id).into_iter().filter(|job| job.state.is_terminal()).map(|job| (job.id, job)));
        daemon.kill();
        daemon.start();
        let counts = daemon.batch(id).counts;
        assert_eq!(counts.total(), 60);
        assert!(counts.completed as usize >= done.len(), "{counts:?}, {} were done", done.len());
    }
    daemon.say("wait 1").expect(0);
    let jobs = daemon.jobs(id);
    for job in &jobs {
        assert_eq!((job.state, job.attempts, &job.failure), (JobState::Completed, 1, &None), "{job:#?}");
        if let Some(before) = done.get(&job.id) {
            assert_eq!(before, job, "what was told as done is as it was told");
        }
    }
    assert_eq!(daemon.batch(id).counts.completed, 60);
    assert_eq!(daemon.files("media/out").len(), 120, "one srt and one vtt each, and no partial file");
    assert_eq!(daemon.files("state/scratch"), [""; 0]);
}

#[test]
fn a_transcription_goes_on_where_the_dead_daemon_left_it() {
    let undisturbed = Daemon::real().start();
    undisturbed.sound("long.wav", 65.0);
    undisturbed.say("submit subtitles --wait --format srt long.wav").expect(0);
    let expected = std::fs::read_to_string(undisturbed.media().join("long.en.srt")).unwrap();

    let mut daemon = Daemon::real().start();
    // Some windows of up to thirty seconds.
    daemon.sound("long.wav", 65.0);
    let id = daemon.submit(["--format", "srt", "long.wav"]);
    eventually("a window's text is in the checkpoint", || {
        let pieces = daemon.files("state/checkpoints");
        let path = daemon.state().join("checkpoints").join(pieces.first()?);
        String::from_utf8_lossy(&std::fs::read(path).ok()?).contains("hello").then_some(())
    });
    daemon.kill();
    let pieces = daemon.files("state/checkpoints");
    assert_eq!(pieces.len(), 1, "{pieces:?}");
    let size = std::fs::metadata(daemon.state().join("checkpoints").join(&pieces[0])).unwrap().len();
    assert!(size > 0);
    daemon.start();
    daemon.say("wait 1").expect(0);
    let job = daemon.job(id, 1);
    assert_eq!((job.attempts, &job.failure), (1, &None), "{job:#?}");
    assert_eq!(daemon.files("state/checkpoints"), [""; 0]);
    let srt = std::fs::read_to_string(daemon.media().join("long.en.srt")).unwrap();
    assert_eq!(srt, expected);
}

#[test]
fn a_graceful_stop_loses_nothing_and_who_waits_waits_on() {
    let mut daemon = Daemon::scripted().set("lanes.cpu", 2).start();
    daemon.script("slow-60000-once@transcribe");
    daemon.scripts(5, "ok");
    let waiting = daemon.beside("submit subtitles --wait --progress-file progress -r .");
    let progress = daemon.media().join("progress");
    eventually("it waits", || progress.exists().then_some(()));
    daemon.begun("slow-60000-once@transcribe");
    let status = daemon.stop();
    assert!(status.success(), "{status}");
    assert!(!daemon.socket().exists());
    assert_eq!(daemon.files("state/scratch"), [""; 0]);
    daemon.start();
    waiting.join().unwrap().expect(0);
    let jobs = daemon.jobs(BatchId(1));
    assert_eq!(jobs.len(), 6);
    for job in jobs {
        assert_eq!((job.state, job.attempts), (JobState::Completed, 1), "{job:#?}");
    }
}

#[test]
fn shutdown_answers_and_ends_the_daemon() {
    let mut daemon = Daemon::scripted().start();
    daemon.script("hang@transcribe");
    let id = daemon.submit(["hang@transcribe.wav"]);
    daemon.begun("hang@transcribe");
    daemon.say("shutdown").expect(0);
    // It answers when nobody is there any more: another may begin at once.
    assert!(daemon.try_client().is_err() && !daemon.socket().exists());
    assert!(daemon.ended().success());
    daemon.start();
    daemon.begun("hang@transcribe");
    assert_eq!(daemon.batch(id).counts.running, 1);
    daemon.say("cancel 1").expect(0);
}

#[test]
fn workers_die_with_their_daemon() {
    let mut daemon = Daemon::scripted().start();
    daemon.script("hang@transcribe");
    let id = daemon.submit(["hang@transcribe.wav"]);
    daemon.begun("hang@transcribe");
    let workers = [daemon.workers("speech"), daemon.workers("files")].concat();
    assert!(workers.len() >= 2);
    daemon.kill();
    for worker in workers {
        eventually("the worker is gone", || {
            let stat = std::fs::read_to_string(format!("/proc/{}/stat", worker.as_raw_nonzero()));
            stat.map_or(true, |stat| stat.contains(") Z ")).then_some(())
        });
    }
    daemon.start();
    daemon.begun("hang@transcribe");
    assert_eq!(daemon.batch(id).state, BatchState::Running);
    daemon.say("cancel 1").expect(0);
}

#[test]
fn a_cancel_in_progress_outlives_the_daemon() {
    let mut daemon = Daemon::scripted().start();
    daemon.scripts(3, "ok");
    daemon.say("pause").expect(0);
    let id = daemon.submit(["ok001.wav", "ok002.wav", "ok003.wav"]);
    daemon.say("cancel 1/2").expect(0);
    daemon.kill();
    daemon.start();
    assert_eq!(daemon.job(id, 2).state, JobState::Cancelled);
    daemon.say("resume").expect(0);
    daemon.say("wait 1").expect(8);
}
