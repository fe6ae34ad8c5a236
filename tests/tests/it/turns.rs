//! Whose turn it is: priorities, and fairness between a large batch and a small one.

use spindle_shared::batch::BatchState;
use spindle_tests::harness::Daemon;

#[test]
fn a_late_batch_that_is_prioritized_overtakes() {
    let daemon = Daemon::scripted().set("lanes.cpu", 1).start();
    for number in 1..=6 {
        daemon.script(&format!("slow-60-{number}x@transcribe"));
    }
    daemon.script("ok");
    let mut line = vec!["-j".to_owned(), "2".to_owned(), "-p".to_owned(), "high".to_owned()];
    line.extend((1..=6).map(|number| format!("slow-60-{number}x@transcribe.wav")));
    let first = daemon.submit(line);
    let late = daemon.submit(["-p", "idle", "ok.wav"]);
    daemon.begun("slow-60-1x@transcribe");
    daemon.say("prioritize 2 urgent").expect(0);
    let mut watcher = daemon.watch(&[first, late]);
    watcher.until("the late one ends", |seen| seen.batches[&late].state.is_terminal().then_some(()));
    assert!(!watcher.snapshot.batches[&first].state.is_terminal());
    assert!(watcher.snapshot.batches[&first].counts.completed < 4, "{:?}", watcher.snapshot.batches[&first].counts);
    assert_eq!(daemon.ended_batch(first).state, BatchState::Completed);
}

#[test]
fn a_small_batch_does_not_wait_for_a_large_one() {
    let daemon = Daemon::scripted().set("lanes.cpu", 2).start();
    daemon.scripts(300, "ok");
    daemon.scripts(3, "small");
    let large = daemon.submit(["-r", ".", "-o", "out"]);
    let mut watcher = daemon.watch(&[large]);
    watcher.until("the large one is at work", |seen| (seen.batches[&large].counts.completed >= 5).then_some(()));
    let small = daemon.submit(["small001.wav", "small002.wav", "small003.wav", "-o", "out2"]);
    let mut watcher = daemon.watch(&[large, small]);
    let before = watcher.started.iter().filter(|job| job.batch == large).count();
    watcher.until("the small one starts", |seen| seen.batches[&small].started_at.is_some().then_some(()));
    let since = watcher.started.iter().filter(|job| job.batch == large).count() - before;
    assert!(since <= 8, "{since} jobs of the large batch started before the small one's first");
    watcher.until("the small one ends", |seen| seen.batches[&small].state.is_terminal().then_some(()));
    let large_done = watcher.snapshot.batches[&large].counts.completed;
    assert!(large_done < 250, "{large_done}");
    assert_eq!(daemon.ended_batch(large).counts.completed, 303);
}
