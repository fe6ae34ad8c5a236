//! The dashboard before a true daemon, in a true terminal: it shows, steers, outlives its daemon, and leaves nothing behind.

use std::fs;
use std::time::Instant;

use spindle_shared::batch::BatchState;
use spindle_shared::client::{ClientError, Heard};
use spindle_shared::event::Fact;
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::JobState;
use spindle_shared::wire::request::Scope;
use spindle_tests::harness::{Daemon, PATIENCE, eventually};
use spindle_tests::terminal::Terminal;

fn dashboard(daemon: &Daemon, columns: u16, rows: u16) -> Terminal {
    Terminal::start(daemon.command("spindletop"), columns, rows)
}

/// In which column the state of each job stands.
fn state_columns(screen: &str) -> Vec<usize> {
    let width = |text: &str| text.chars().map(|letter| if letter > '\u{2e80}' { 2 } else { 1 }).sum();
    let jobs = screen.lines().filter(|line| line.contains(".wav "));
    jobs.filter_map(|line| {
        ["running ", "failed ", "pending ", "completed "]
            .iter()
            .find_map(|state| line.find(state))
            .map(|at| width(&line[..at]))
    })
    .collect()
}

#[test]
fn it_shows_what_happens_and_steers_it() {
    let daemon = Daemon::scripted().set("lanes.cpu", 1).start();
    for name in ["slow-60000@transcribe", "会议录音-第三季度-北京", "fail-input"] {
        daemon.script(name);
    }
    let id = daemon.submit(["-r", ".", "-o", "out", "--name", "会议"]);
    daemon.begun("slow-60000@transcribe");
    let mut terminal = dashboard(&daemon, 80, 24);
    terminal.shows("slow-60000@transcribe.wav");
    terminal.press("2");
    terminal.until("why one failed", |screen| {
        ["1 failed", "check that the file plays"].iter().all(|text| screen.contains(text))
    });
    terminal.press("3");
    terminal.until("its jobs", |screen| {
        ["会议录音-第三季度-北京.wav", "slow-60000@transcribe.wav"].iter().all(|text| screen.contains(text))
            && state_columns(screen).len() == 3
    });
    let columns = state_columns(&terminal.text());
    assert!(columns.len() == 3 && columns.iter().all(|at| *at == columns[0]), "{columns:?}\n{}", terminal.text());
    terminal.press("2");
    terminal.shows("batches ·");
    terminal.press("p");
    // The answer, and behind it the fact, before the bar.
    terminal.until("it is paused", |screen| screen.contains("1: paused") && screen.contains("paused     █"));
    assert_eq!(daemon.batch(id).state, BatchState::Paused);
    terminal.press("p");
    terminal.shows("1: resumed");
    terminal.press("+");
    terminal.shows("1: priority 25");
    assert_eq!(daemon.batch(id).priority.0, 25);
    terminal.press("c\r");
    terminal.shows("cancelling 1: left as it is");
    terminal.press("cy");
    terminal.shows("1: cancelled");
    assert_eq!(daemon.ended_batch(id).state, BatchState::Cancelled);
    terminal.press("r");
    terminal.shows(" queued again");
    terminal.press("q");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn it_says_that_its_daemon_is_gone_and_goes_on_with_the_next() {
    let mut daemon = Daemon::scripted().start();
    daemon.script("hang@transcribe");
    daemon.submit(["hang@transcribe.wav"]);
    daemon.begun("hang@transcribe");
    let mut terminal = dashboard(&daemon, 80, 24);
    terminal.shows("hang@transcribe.wav");
    terminal.press("2");
    terminal.shows("batches ·");
    daemon.kill();
    terminal.shows("STALE · no daemon");
    daemon.start();
    terminal.until("it goes on by itself", |screen| !screen.contains("STALE") && screen.contains("running"));
    daemon.script("ok");
    daemon.submit(["ok.wav"]);
    terminal.shows("batches · 2");
}

#[test]
fn any_size_will_do_and_it_may_change() {
    let daemon = Daemon::scripted().start();
    daemon.script("hang@transcribe");
    daemon.submit(["hang@transcribe.wav"]);
    let mut terminal = dashboard(&daemon, 20, 5);
    terminal.shows("running");
    for (columns, rows) in [(200, 50), (1, 1), (20, 5), (80, 24), (2, 60), (150, 9)] {
        terminal.resize(columns, rows);
        terminal.press("\t?q/x\x7f\rcn");
    }
    terminal.resize(80, 24);
    // Whatever lies over the views is left by this.
    terminal.press("qn");
    terminal.shows("new batch");
    terminal.press("q3");
    terminal.shows("jobs/min");
    terminal.shows("hang@transcribe.wav");
    terminal.press("cn");
    terminal.shows("left as it is");
    terminal.press("q");
    assert_eq!(terminal.ended().code(), Some(0));
}

#[test]
fn a_signal_to_end_gives_the_terminal_back() {
    let daemon = Daemon::scripted().start();
    let mut terminal = dashboard(&daemon, 80, 24);
    terminal.shows("nothing yet");
    terminal.signal(rustix::process::Signal::TERM);
    assert_eq!(terminal.ended().code(), Some(0));
}

/// As somebody goes who has read nothing: from no daemon to a result, and on the way a file that doesn't play.
#[test]
fn a_new_user_finds_the_way_with_keys_alone() {
    let mut daemon = Daemon::real().stopped();
    daemon.sound("talks/good.wav", 2.0);
    let broken = daemon.media().join("talks/broken.wav");
    fs::write(&broken, "").unwrap();
    let mut terminal = dashboard(&daemon, 80, 24);
    // Nobody is there: what to do is said, and it goes on by itself.
    terminal.shows("start one with `spindled &`");
    daemon.start();
    terminal.shows("nothing yet: press n to submit the first batch");
    // Submit a folder.
    terminal.press("n");
    terminal.shows("none yet: Enter");
    terminal.press("j\r");
    terminal.shows("talks/");
    terminal.press("jt");
    terminal.shows("/talks ");
    terminal.press("v");
    terminal.until("what would be done", |screen| {
        ["preview · 2 inputs, 0 skipped", "good", "S submit"].iter().all(|text| screen.contains(text))
    });
    terminal.press("S");
    // Watch it.
    terminal.shows("batch 1: 2 inputs, 0 skipped");
    terminal.until("one has failed and one not", |screen| screen.contains("partial · 100% · 2/2 · 1 failed"));
    // Find why one failed: the failed ones stand above, and what to do beside it.
    terminal.press("g");
    terminal.until("why, and what to do", |screen| {
        ["broken.wav: the file is empty", "→ copy or record it again", "e explain", "r retry"]
            .iter()
            .all(|text| screen.contains(text))
    });
    terminal.press("e");
    terminal.shows("why 1/1 is as it is");
    terminal.press("\u{1b}");
    terminal.until("the page is gone", |screen| !screen.contains("why 1/1 is as it is"));
    // Mend it, and try again.
    fs::copy(daemon.media().join("talks/good.wav"), &broken).unwrap();
    terminal.press("r");
    terminal.until("it has come through", |screen| screen.contains("completed · 100% · 2/2"));
    // See the result.
    terminal.press("v");
    terminal.shows("›broken.en.srt");
    terminal.press("l");
    terminal.shows("›broken.en.vtt");
    terminal.press("\r");
    terminal.until("the text in full", |screen| screen.contains("hello") && screen.contains("Esc close"));
    terminal.press("q");
    terminal.until("back to the cards", |screen| screen.contains("results of 1 · 4 files"));
    // And an archive of all of it.
    terminal.press("\u{1b}");
    terminal.shows("[3 Batch]");
    terminal.press("x");
    terminal.shows("export batch 1 into");
    terminal.press("\r");
    eventually("the archive is there", || {
        daemon.media().join("batch-1.zip").metadata().ok().filter(|meta| meta.len() > 0)
    });
    terminal.press("q");
    assert_eq!(terminal.ended().code(), Some(0));
}

/// A window of a batch tells of its jobs, and of the others only while they are at work or failed.
#[test]
fn a_window_keeps_what_is_elsewhere_to_itself() {
    let daemon = Daemon::scripted().set("lanes.cpu", 2).start();
    let scripts = daemon.scripts(40, "ok");
    daemon.say("pause").expect(0);
    let id = daemon.submit(scripts.iter().map(|path| path.as_os_str()).chain(["-o".as_ref(), "out".as_ref()]));
    let scope = Scope::Window { batch: id, from: 11, len: 5 };
    let mut watch = daemon.client().watch(scope, 0).unwrap();
    let Heard::Snapshot(mut seen) = watch.hear(None).unwrap() else { panic!("a snapshot comes first") };
    let indices = |seen: &spindle_shared::snapshot::Snapshot| seen.jobs.keys().map(|job| job.index).collect::<Vec<_>>();
    assert_eq!(indices(&seen), [11, 12, 13, 14, 15]);
    daemon.say("resume").expect(0);
    let deadline = Some(Instant::now() + PATIENCE);
    let in_window = |id: JobId| (11..=15).contains(&id.index);
    while !seen.batches[&id].state.is_terminal() || seen.batches[&id].finished_at.is_none() {
        match watch.hear(deadline).unwrap() {
            Heard::Event(event) => {
                if let Fact::Job(job) = &event.fact {
                    let known = in_window(job.id) || seen.jobs.contains_key(&job.id);
                    assert!(known || job.state == JobState::Running, "{job:?} is nobody's business");
                }
                seen.apply(&event);
            }
            other => panic!("{other:?}"),
        }
    }
    assert!(seen.jobs.values().all(|job| job.state == JobState::Completed), "nothing is left as running");
    assert_eq!(seen.jobs.keys().filter(|id| in_window(**id)).count(), 5);
    for (batch, len) in [(BatchId(99), 5), (id, u32::MAX)] {
        let refused = daemon.client().watch(Scope::Window { batch, from: 1, len }, 0).unwrap().hear(None);
        assert!(matches!(refused, Err(ClientError::Refused(_))), "{batch} {len}: {refused:?}");
    }
}
