//! The whole dashboard in the real loop: keys from a script, a made-up daemon behind a real socket, frames as they are drawn.

use std::convert::Infallible;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::JoinHandle;

use ratatui::backend::{ClearType, TestBackend, WindowSize};
use ratatui::buffer::Cell;
use ratatui::layout::{Position, Size};
use ratatui_image::picker::Picker;
use spindle_shared::batch::{BatchState, BatchView, Counts, Priority};
use spindle_shared::client::Which;
use spindle_shared::event::Fact;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, JobId, Target};
use spindle_shared::job::{JobState, JobView};
use spindle_shared::wire::request::{Request, Selection};

use super::*;
use crate::errand::Errands;
use crate::fake::Fake;
use crate::feed::Feed;
use crate::look::{Look, Theme};
use crate::model::View;
use crate::model::tests::{batch, job, stroke};

/// Nothing in these tests takes longer, on a busy machine either.
const PATIENCE: Duration = Duration::from_secs(20);

/// A screen that tells what is on it whenever something has been drawn.
struct Shown {
    screen: TestBackend,
    frames: mpsc::Sender<(Instant, String)>,
}

impl Backend for Shown {
    type Error = Infallible;

    fn draw<'a, I: Iterator<Item = (u16, u16, &'a Cell)>>(&mut self, content: I) -> Result<(), Infallible> {
        self.screen.draw(content)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        // The test may have seen enough.
        let _ = self.frames.send((Instant::now(), self.screen.to_string()));
        self.screen.flush()
    }

    fn hide_cursor(&mut self) -> Result<(), Infallible> {
        self.screen.hide_cursor()
    }

    fn show_cursor(&mut self) -> Result<(), Infallible> {
        self.screen.show_cursor()
    }

    fn get_cursor_position(&mut self) -> Result<Position, Infallible> {
        self.screen.get_cursor_position()
    }

    fn set_cursor_position<P: Into<Position>>(&mut self, position: P) -> Result<(), Infallible> {
        self.screen.set_cursor_position(position)
    }

    fn clear(&mut self) -> Result<(), Infallible> {
        self.screen.clear()
    }

    fn clear_region(&mut self, clear_type: ClearType) -> Result<(), Infallible> {
        self.screen.clear_region(clear_type)
    }

    fn size(&self) -> Result<Size, Infallible> {
        self.screen.size()
    }

    fn window_size(&mut self) -> Result<WindowSize, Infallible> {
        self.screen.window_size()
    }
}

/// A dashboard at work, and the person before it.
struct Dashboard {
    keys: SyncSender<Message>,
    frames: Receiver<(Instant, String)>,
    /// The last frame that was looked at.
    seen: String,
    /// What was done for it, one after another.
    errands: Receiver<Errand>,
    over: JoinHandle<Result<(), String>>,
}

impl Dashboard {
    fn start(socket: &Path) -> Dashboard {
        let (sender, messages) = mpsc::sync_channel(64);
        let (frames, drawn) = mpsc::channel();
        let (done, told) = mpsc::channel();
        let feed = Feed::start(Which { socket: Some(socket.to_owned()), system: false }, sender.clone());
        let errands = Errands::start(feed, sender.clone(), Picker::halfblocks()).unwrap();
        let over = std::thread::spawn(move || {
            let mut terminal = Terminal::new(Shown { screen: TestBackend::new(80, 24), frames }).unwrap();
            let look = Look { theme: Theme::Plain, ..Look::default() };
            let mut model = Model::new(look, jiff::tz::TimeZone::UTC);
            model.view = View::Batches;
            let run_errand = |errand: Errand| {
                // The test may have seen enough.
                let _ = done.send(errand.clone());
                // The terminal and the folder of the tests stay as they are.
                if !matches!(errand, Errand::Copy(_) | Errand::Save(..) | Errand::Export(_)) {
                    errands.run(errand);
                }
            };
            run(&mut terminal, &mut model, &messages, run_errand).map_err(|error| error.to_string())
        });
        Dashboard { keys: sender, frames: drawn, seen: String::new(), errands: told, over }
    }

    fn press(&self, keys: &str) {
        for key in keys.chars() {
            self.keys.send(Message::Key(stroke(key))).unwrap();
        }
    }

    /// Waits for such a frame; gives when it was drawn.
    fn until(&mut self, what: &str, fits: impl Fn(&str) -> bool) -> Instant {
        let deadline = Instant::now() + PATIENCE;
        while let Ok((at, frame)) = self.frames.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            self.seen = frame;
            if fits(&self.seen) {
                return at;
            }
        }
        panic!("in vain: {what}; last on the screen was\n{}", self.seen);
    }

    /// What is on the screen by now.
    fn look(&mut self) {
        while let Ok((_, frame)) = self.frames.try_recv() {
            self.seen = frame;
        }
    }

    fn shows(&mut self, text: &str) -> Instant {
        self.until(text, |frame| frame.contains(text))
    }
}

fn twelve(state: BatchState, completed: u32) -> BatchView {
    let counts = Counts { running: 1, pending: 19 - completed.min(19), completed, ..Counts::default() };
    batch(12, "night", state, completed as f32 / 20.0, counts)
}

fn jobs() -> Vec<JobView> {
    let state = |index| if index <= 3 { JobState::Running } else { JobState::Pending };
    (1..=20).map(|index| job(12, index, state(index), &format!("{index}.wav"))).collect()
}

fn place() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let socket = folder.path().join("s");
    (folder, socket)
}

#[test]
fn keys_become_requests_and_their_answers_are_shown() {
    let (_folder, socket) = place();
    let mut jobs = jobs();
    for (at, name) in [(3, "empty"), (4, "also empty")] {
        jobs[at].state = JobState::Failed;
        jobs[at].failure = Some(Failure::new(FailureKind::Input, format!("`{name}` is empty")));
    }
    let daemon = Fake::start(&socket, vec![twelve(BatchState::Running, 0)], jobs);
    let mut dashboard = Dashboard::start(&socket);
    dashboard.shows("batches · 1");
    let whole = || Selection::Targets(vec![Target::Batch(BatchId(12))]);
    let asked = || daemon.asked.recv_timeout(PATIENCE).unwrap();
    dashboard.press("p");
    assert_eq!(asked(), Request::Pause { what: whole(), now: false });
    dashboard.shows("12: done");
    dashboard.press("c\r");
    dashboard.shows("cancelling 12: left as it is");
    dashboard.press("c\t\r");
    assert_eq!(asked(), Request::Cancel(whole()), "and nothing was asked for before");
    dashboard.press("r");
    assert_eq!(asked(), Request::Retry(whole()));
    dashboard.press("+");
    assert_eq!(asked(), Request::Prioritize { what: whole(), priority: Priority(25) });
    dashboard.press("P");
    assert_eq!(asked(), Request::Pause { what: Selection::House, now: false });
    dashboard.press("e");
    assert_eq!(asked(), Request::Explain(Target::Batch(BatchId(12))));
    dashboard.shows("12 is running: a worker is at it");
    dashboard.press("\u{1b} c");
    dashboard.shows("Cancel batch 12 (night)?");
    dashboard.press("n\u{1b}3/7.wav\r");
    dashboard.shows("jobs of 12 · 2 of 20 with `7.wav`");
    dashboard.press("\ncy");
    let seventeen = JobId { batch: BatchId(12), index: 17 };
    assert_eq!(asked(), Request::Cancel(Selection::Targets(vec![Target::Job(seventeen)])));
    dashboard.shows("12/17: done");
    dashboard.press("\u{1b}g  r");
    let both = [1, 2].map(|index| Target::Job(JobId { batch: BatchId(12), index })).to_vec();
    assert_eq!(asked(), Request::Retry(Selection::Targets(both)), "all that are marked");
    dashboard.shows("12/1: done; 12/2: done");
    let failed = |indices: &[u32]| {
        let targets = indices.iter().map(|index| Target::Job(JobId { batch: BatchId(12), index: *index }));
        Request::Retry(Selection::Targets(targets.collect()))
    };
    dashboard.press("4");
    dashboard.shows("failures · jobs: 2 · causes: 1");
    dashboard.press("r");
    assert_eq!(asked(), failed(&[4, 5]));
    dashboard.press("\rjjr");
    assert_eq!(asked(), failed(&[5]), "one of its jobs");
    dashboard.press("R");
    assert_eq!(asked(), failed(&[4, 5]));
    dashboard.press("?");
    dashboard.shows("show these keys");
    dashboard.press("qq");
    assert_eq!(dashboard.over.join().unwrap(), Ok(()));
}

#[test]
fn a_batch_is_submitted_with_keys_alone() {
    let (_folder, socket) = place();
    let daemon = Fake::start(&socket, vec![twelve(BatchState::Running, 0)], jobs());
    let mut dashboard = Dashboard::start(&socket);
    dashboard.shows("batches · 1");
    dashboard.press("n");
    dashboard.shows("new batch");
    dashboard.press("S");
    dashboard.shows("no inputs are chosen");
    // The list begins where the program was started: for tests that is this package.
    dashboard.press("j\r");
    dashboard.shows("Cargo.toml");
    // The folder itself stands before what is in it.
    dashboard.press("j\r");
    dashboard.shows("causes.rs");
    dashboard.press("h");
    dashboard.shows("Cargo.toml");
    dashboard.press("j\r");
    dashboard.shows("causes.rs");
    // So do two folders.
    dashboard.press("jjj  t");
    dashboard.shows("causes.rs +1");
    dashboard.press("v");
    dashboard.shows("preview · 2 inputs, 1 skipped");
    assert!(matches!(daemon.asked.recv_timeout(PATIENCE), Ok(Request::Submit { dry_run: true, total: 2, .. })));
    dashboard.press("\u{1b}S");
    let asked = daemon.asked.recv_timeout(PATIENCE).unwrap();
    assert!(matches!(&asked, Request::Submit { dry_run: false, spec, .. } if spec.key.is_some()), "{asked:?}");
    dashboard.shows("batch 77: 2 inputs, 0 skipped");
    dashboard.shows("batch 77 · new");
}

/// Jobs that end one after another, each waited for.
const ENDS: u32 = 100;

#[test]
fn every_jobs_end_comes_to_the_screen() {
    let (_folder, socket) = place();
    let daemon = Fake::start(&socket, vec![twelve(BatchState::Running, 0)], jobs());
    let mut dashboard = Dashboard::start(&socket);
    dashboard.press("3");
    dashboard.shows("12/1 ");
    let at = |completed: u32| {
        let counts = Counts { running: 1, pending: ENDS - completed, completed, ..Counts::default() };
        batch(12, "night", BatchState::Running, 0.5, counts)
    };
    let mut took: Vec<Duration> = (1..=ENDS)
        .map(|nth| {
            let began = Instant::now();
            // The first picture may be drawn before its window is watched.
            while daemon.tell(Fact::Job(Box::new(job(12, nth, JobState::Completed, "x")))) == 0 {
                assert!(began.elapsed() < PATIENCE, "nobody watches the window");
                std::thread::yield_now();
            }
            daemon.tell(Fact::Batch(Box::new(at(nth))));
            dashboard.shows(&format!(" {nth}/{} ", ENDS + 1)).duration_since(began)
        })
        .collect();
    took.sort();
    // How soon is measured where nothing else runs, by tests/bench/dash; here each must come, and in its order.
    println!("half of them within {:?}, the last of them {:?}", took[took.len() / 2], took[took.len() - 1]);
}

#[test]
fn a_killed_daemon_is_told_of_at_once_and_its_successor_is_shown() {
    let (_folder, socket) = place();
    let daemon = Fake::start(&socket, vec![twelve(BatchState::Running, 3)], jobs());
    let mut dashboard = Dashboard::start(&socket);
    dashboard.press("3");
    dashboard.shows("12/1 ");
    daemon.die();
    dashboard.until("it says so", |frame| frame.contains("STALE") && frame.contains("no daemon"));
    dashboard.press("p");
    dashboard.shows("not done: no daemon answers");
    let daemon = Fake::start(&socket, vec![twelve(BatchState::Running, 4)], jobs());
    dashboard.until("it goes on", |frame| !frame.contains("STALE") && frame.contains("4/20"));
    dashboard.press("p");
    assert!(matches!(daemon.asked.recv_timeout(PATIENCE), Ok(Request::Pause { .. })));
    // The window is watched anew too.
    dashboard.shows("12: done");
    let began = Instant::now();
    while daemon.tell(Fact::Job(Box::new(job(12, 7, JobState::Failed, "x")))) == 0 {
        assert!(began.elapsed() < PATIENCE, "nobody watches the window anew");
        std::thread::yield_now();
    }
    dashboard.shows("failed    transcribe");
}

#[test]
fn a_daemon_that_answers_no_more_is_told_of() {
    let (_folder, socket) = place();
    let daemon = Fake::start(&socket, vec![twelve(BatchState::Running, 3)], jobs());
    let mut dashboard = Dashboard::start(&socket);
    dashboard.shows("now 0.0×");
    daemon.fall_silent();
    dashboard.shows("STALE · the daemon does not answer");
}

#[test]
fn a_part_that_fails_ends_the_program() {
    let (_folder, socket) = place();
    let dashboard = Dashboard::start(&socket);
    dashboard.keys.send(Message::Died("thread watch panicked".to_owned())).unwrap();
    let told = dashboard.over.join().unwrap();
    assert_eq!(told, Err("a part of spindletop failed: thread watch panicked".to_owned()));
}

#[path = "every_action_tests.rs"]
mod every_action_tests;
