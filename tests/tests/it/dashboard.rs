//! The dashboard before a true daemon, in a true terminal: it shows, steers, outlives its daemon, and leaves nothing behind.

use std::time::{Duration, Instant};

use spindle_shared::batch::BatchState;
use spindle_shared::client::{ClientError, Heard};
use spindle_shared::event::Fact;
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::JobState;
use spindle_shared::wire::request::Scope;
use spindle_tests::harness::{Daemon, PATIENCE};
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
    let killed = Instant::now();
    daemon.kill();
    let told = terminal.shows("STALE · no daemon");
    assert!(told.duration_since(killed) < Duration::from_secs(2), "{:?}", told.duration_since(killed));
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
