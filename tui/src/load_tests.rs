//! What it costs to watch a large batch that moves fast: the real model and the real frames, with the clock of the work alone.

use std::time::{Duration, Instant};

use ratatui::Terminal;
use ratatui::backend::TestBackend;
use spindle_shared::batch::{BatchState, Counts};
use spindle_shared::event::{Event, Fact};
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::JobState;
use spindle_shared::snapshot::Snapshot;
use spindle_shared::time::WallMs;
use spindle_shared::wire::request::Request;

use crate::message::{Message, News};
use crate::model::tests::{batch, fresh, job, press, watching};
use crate::view;

const JOBS: u32 = 100_000;
const EVENTS_PER_SECOND: u64 = 500;
const SECONDS: u64 = 8;
const FRAMES_PER_SECOND: u64 = 10;

/// What this thread has had of a processor, in the kernel's ticks of some milliseconds: others on a busy machine don't count.
fn worked() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(text.split_whitespace().next().unwrap().parse().unwrap())
}

#[test]
fn a_hundred_thousand_jobs_and_five_hundred_events_a_second_are_light() {
    let counts = |completed| Counts { completed, running: 4, pending: JOBS - 4 - completed, ..Counts::default() };
    let mut snapshot = Snapshot::default();
    let large = batch(1, "large", BatchState::Running, 0.1, counts(0));
    snapshot.batches.insert(BatchId(1), large);
    for id in 2..200 {
        let ended = batch(id, "ended", BatchState::Completed, 1.0, Counts { completed: 1, ..Counts::default() });
        snapshot.batches.insert(BatchId(id), ended);
    }
    let mut model = fresh();
    let Some(Request::Watch { mut scope, .. }) = model.update(watching(snapshot, Vec::new())) else {
        panic!("no window is asked for");
    };
    let window = |from: u32| {
        let mut window = Snapshot::default();
        let jobs = (from..from + 500).map(|index| job(1, index, JobState::Pending, &format!("会议录音 {index}.wav")));
        window.jobs.extend(jobs.map(|job| (job.id, job)));
        News::Snapshot(Box::new(window))
    };
    model.update(Message::Window(scope.clone(), window(1)));
    press(&mut model, "3");
    let mut terminal = Terminal::new(TestBackend::new(120, 40)).unwrap();
    let (mut frames, mut seq, began) = (Vec::new(), 10, worked());
    let per_frame = EVENTS_PER_SECOND / FRAMES_PER_SECOND;
    for frame in 0..SECONDS * FRAMES_PER_SECOND {
        for _ in 0..per_frame {
            seq += 1;
            let index = (seq as u32 / 2) % 500 + 1;
            let id = JobId { batch: BatchId(1), index };
            let fact = match seq % 5 {
                0 => Fact::Batch(Box::new(batch(1, "large", BatchState::Running, 0.1, counts(seq as u32)))),
                1 => Fact::Job(Box::new(job(1, index, JobState::Running, "x.wav"))),
                _ => Fact::Progress { job: id, stage: "transcribe".to_owned(), done: 0.5, batch_done: 0.1 },
            };
            let event = Box::new(Event { seq, time: WallMs(seq), fact });
            let message = match seq % 5 {
                0 => Message::Event(event),
                _ => Message::Window(scope.clone(), News::Event(event)),
            };
            if let Some(Request::Watch { scope: wanted, .. }) = model.update(message) {
                scope = wanted;
                model.update(Message::Window(scope.clone(), window(1)));
            }
        }
        // Somebody scrolls through it all the while.
        press(&mut model, if frame % 40 < 20 { "jj" } else { "k" });
        let drawing = Instant::now();
        terminal.draw(|frame| drop(view::draw(frame, &model))).unwrap();
        frames.push(drawing.elapsed());
    }
    let busy = worked() - began;
    frames.sort();
    let median = frames[frames.len() / 2];
    let share = busy.as_secs_f64() / SECONDS as f64;
    println!("median frame {median:?}, slowest {:?}, {:.1} % of a core", frames[frames.len() - 1], share * 100.0);
    // Programs for tests are an order slower than those for people, who get 5 ms and a twentieth of a core.
    let slower = if cfg!(debug_assertions) { 10 } else { 1 };
    assert!(median < Duration::from_millis(5) * slower, "{median:?}");
    assert!(share < 0.05 * f64::from(slower) * 2.0, "{share}");
}
