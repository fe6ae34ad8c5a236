//! Keys and messages against a made-up house.

use crossterm::event::{KeyCode, KeyModifiers};
use spindle_shared::batch::{Counts, Eta};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::wire::response::WorkDone;

use crossterm::event::{KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use spindle_shared::batch::{BatchState, BatchView, Priority};
use spindle_shared::event::{Event, Fact};
use spindle_shared::id::Target;
use spindle_shared::job::JobState;
use spindle_shared::made_up;
use spindle_shared::wire::request::Selection;
use spindle_shared::wire::response::{Acted, Response};

use super::acting::ACTIONS_MAX;
use super::lists::ENDED_MAX;
use super::window::ELSEWHERE_MAX;
use super::*;
use crate::feed::JOBS_WINDOW;
use crate::keys::Action;
use crate::look::Language;
use crate::message::News;

pub fn batch(id: u64, name: &str, state: BatchState, progress: f32, counts: Counts) -> BatchView {
    BatchView { name: (!name.is_empty()).then(|| name.to_owned()), progress, ..made_up::batch(id, state, counts) }
}

pub fn job(batch: u64, index: u32, state: JobState, name: &str) -> JobView {
    JobView {
        input: Some(made_up::file(format!("/media/recordings/{name}"))),
        progress: if state == JobState::Running { 0.42 } else { 0.0 },
        ..made_up::job(batch, index, state)
    }
}

pub fn watching(snapshot: Snapshot, ended: Vec<BatchView>) -> Message {
    let socket = PathBuf::from("/run/user/1000/spindle/spindled.sock");
    Message::Watching { socket, build: "0.1.0".to_owned(), snapshot: Box::new(snapshot), ended, at: Instant::now() }
}

fn snapshot(batches: impl IntoIterator<Item = BatchView>, jobs: impl IntoIterator<Item = JobView>) -> Snapshot {
    made_up::snapshot(10, batches, jobs)
}

pub fn window(batch: u64, from: u32) -> Scope {
    Scope::Window { batch: BatchId(batch), from, len: JOBS_WINDOW }
}

/// Tells of a window what the daemon would.
fn hear(model: &mut Model, scope: Scope, news: News) -> Option<Request> {
    model.update(Message::Window(scope, news))
}

/// The jobs of a window, as the daemon first tells them.
fn jobs(jobs: impl IntoIterator<Item = JobView>) -> News {
    News::Snapshot(Box::new(snapshot([], jobs)))
}

fn told_of(seq: u64, fact: Fact) -> Box<Event> {
    Box::new(Event { seq, time: WallMs(0), fact })
}

pub fn house() -> HouseView {
    HouseView {
        batches_open: 2,
        lanes: vec![("cpu".to_owned(), 2, 2), ("io".to_owned(), 0, 4), ("net".to_owned(), 0, 2)],
        eta: Some(Eta { seconds: 1_500.0, low: 1_100.0, high: 2_000.0 }),
        ..made_up::house()
    }
}

/// A dashboard of a person who looks at the batches.
pub fn fresh() -> Model {
    Model { view: View::Batches, ..Model::new(Look::default(), TimeZone::UTC) }
}

/// A house at work: three open batches, two ended; CJK names and a name that would move the cursor.
pub fn busy() -> Model {
    let counts = Counts { pending: 3, running: 2, completed: 4, failed: 2, ..Counts::default() };
    let mut open = [
        batch(12, "会议录音 第三季度 全体员工大会 (北京)", BatchState::Running, 0.57, counts),
        batch(11, "", BatchState::Paused, 0.0, Counts { pending: 7, ..Counts::default() }),
        batch(
            13,
            "👨\u{200d}👩\u{200d}👧 family 2026",
            BatchState::Pending,
            0.0,
            Counts { pending: 1_200, ..Counts::default() },
        ),
    ];
    open[0].started_at = Some(WallMs(60_000));
    open[0].stage = Some("transcribe".to_owned());
    open[0].eta = Some(Eta { seconds: 250.0, low: 185.0, high: 350.0 });
    open[0].tags = vec![("quarter".to_owned(), "3".to_owned())];
    open[2].priority = Priority(25);
    let mut ended = vec![
        batch(9, "ポッドキャスト", BatchState::Completed, 1.0, Counts { completed: 3, ..Counts::default() }),
        batch(8, "a\u{1b}[2Jb", BatchState::Failed, 1.0, Counts { failed: 1, ..Counts::default() }),
    ];
    ended[0].started_at = Some(WallMs(1_000));
    ended[0].finished_at = Some(WallMs(41_000));
    let mut known = vec![
        job(12, 1, JobState::Completed, "一.wav"),
        job(12, 2, JobState::Running, "李明-发言-第二场-下午-主会场-完整版-未剪辑-高清-立体声-备份.mp4"),
        job(12, 3, JobState::Failed, "坏的.mp3"),
        job(12, 4, JobState::Running, "interview with a very long name that goes on and on and on and on, part 3.mp4"),
        job(12, 5, JobState::Failed, "bad\n.mp3"),
        job(12, 6, JobState::Pending, "六.wav"),
    ];
    for at in [2, 4] {
        let input = known[at].input.as_ref().map(ToString::to_string).unwrap_or_default();
        known[at].failure = Some(Failure::new(FailureKind::Input, format!("{input}: no sound in it")));
        known[at].started_at = Some(WallMs(70_000));
        known[at].finished_at = Some(WallMs(72_500));
    }
    for at in [1, 3] {
        known[at].started_at = Some(WallMs(100_000));
        known[at].worker = Some("speech-1".to_owned());
        known[at].detail.media_seconds = Some(4_000.0);
    }
    let mut model = fresh();
    let asked = model.update(watching(snapshot(open, []), ended));
    assert_eq!(asked, Some(Request::Watch { scope: window(12, 1), jobs: 0 }));
    hear(&mut model, window(12, 1), jobs(known));
    let begun = Instant::now();
    for second in 0..=40_u32 {
        let done = WorkDone { jobs: u64::from(second / 18), media_seconds: f64::from(second.pow(2)) / 3.0 };
        let at = begun + Duration::from_secs(u64::from(second));
        model.update(Message::House(Box::new(HouseView { done, ..house() }), at));
        model.update(Message::Tick(at, WallMs(160_000 + u64::from(second) * 1_000)));
    }
    model
}

/// A house with one batch of so many jobs, and the first window that was asked for.
fn with_many(counts: Counts) -> (Model, Scope) {
    let mut model = fresh();
    let asked = model.update(watching(snapshot([batch(1, "", BatchState::Running, 0.5, counts)], []), Vec::new()));
    let Some(Request::Watch { scope, .. }) = asked else { panic!("no window is asked for") };
    (model, scope)
}

/// All jobs that belong into a window of a batch of `total`.
fn all_of(scope: &Scope, total: u32, state: JobState) -> Vec<JobView> {
    let Scope::Window { batch, from, len } = scope else { panic!("{scope:?} is no window") };
    (*from..(*from + *len).min(total + 1)).map(|index| job(batch.0, index, state, &format!("{index}.wav"))).collect()
}

/// Presses keys one after another; gives what the last one asked for.
pub fn press(model: &mut Model, keys: &str) -> Option<Request> {
    keys.chars().fold(None, |_, key| model.update(Message::Key(stroke(key))))
}

/// The key that makes this letter; `\n` is the arrow down.
pub fn stroke(letter: char) -> KeyEvent {
    let code = match letter {
        '\t' => KeyCode::Tab,
        '\r' => KeyCode::Enter,
        '\n' => KeyCode::Down,
        '\u{8}' => KeyCode::Backspace,
        '\u{1b}' => KeyCode::Esc,
        '←' => KeyCode::Left,
        '→' => KeyCode::Right,
        '⇟' => KeyCode::PageDown,
        '⇞' => KeyCode::PageUp,
        '⇤' => KeyCode::BackTab,
        '⌦' => KeyCode::Delete,
        other => KeyCode::Char(other),
    };
    KeyEvent::new(code, KeyModifiers::NONE)
}

fn targets(target: Target) -> Selection {
    Selection::Targets(vec![target])
}

const TWELVE: Target = Target::Batch(BatchId(12));

fn index(model: &Model) -> Option<u32> {
    model.job.map(|job| job.index)
}

fn order(model: &Model) -> Vec<u64> {
    model.batches().iter().map(|batch| batch.id.0).collect()
}

#[test]
fn moving_chooses_and_asks_for_the_jobs() {
    let mut model = busy();
    assert_eq!(
        order(&model),
        [12, 13, 11, 9, 8],
        "at work, waiting, held, and then what has ended, the newest end first"
    );
    assert_eq!(model.batch, Some(BatchId(12)));
    assert_eq!(press(&mut model, "j"), Some(Request::Watch { scope: window(13, 1), jobs: 0 }));
    assert_eq!(press(&mut model, "G"), Some(Request::Watch { scope: window(8, 1), jobs: 0 }));
    assert_eq!(press(&mut model, "j"), None, "there is nothing below the last");
    assert_eq!(press(&mut model, "g"), Some(Request::Watch { scope: window(12, 1), jobs: 0 }));
    let running = [2, 4].map(|index| job(12, index, JobState::Running, "x"));
    hear(&mut model, window(12, 1), jobs(running));
    press(&mut model, "\rj");
    assert_eq!((model.view, index(&model)), (View::Batch, Some(4)));
    press(&mut model, "\r");
    assert!(matches!(&model.cover, Some(Cover::Job { job, .. }) if job.id.index == 4));
    press(&mut model, "\u{1b}\u{1b}");
    assert!(model.cover.is_none() && model.view == View::Batches);
}

#[test]
fn cancel_asks_and_no_is_the_default() {
    let mut model = busy();
    assert_eq!(press(&mut model, "c\r"), None);
    assert_eq!(press(&mut model, "c\u{1b}"), None);
    assert_eq!(press(&mut model, "cq"), None);
    assert!(model.ending.is_none(), "q in a question is a no");
    assert_eq!(press(&mut model, "cy"), Some(Request::Cancel(targets(TWELVE))));
    assert_eq!(press(&mut model, "c\t\r"), Some(Request::Cancel(targets(TWELVE))));
    let job = JobId { batch: BatchId(12), index: 2 };
    assert_eq!(press(&mut model, "3cy"), Some(Request::Cancel(targets(Target::Job(job)))));
}

#[test]
fn every_action_asks_for_what_its_key_says() {
    let mut model = busy();
    assert_eq!(press(&mut model, "p"), Some(Request::Pause { what: targets(TWELVE), now: false }));
    assert_eq!(press(&mut model, "P"), Some(Request::Pause { what: Selection::House, now: false }));
    assert_eq!(press(&mut model, "r"), Some(Request::Retry(targets(TWELVE))));
    let prioritize = |priority| Some(Request::Prioritize { what: targets(TWELVE), priority: Priority(priority) });
    assert_eq!(press(&mut model, "+"), prioritize(25));
    assert_eq!(press(&mut model, "-"), prioritize(75));
    let eleven = Target::Batch(BatchId(11));
    assert_eq!(press(&mut model, "jjp"), Some(Request::Resume(targets(eleven))), "it is paused");
    press(&mut model, "q");
    assert_eq!(model.ending, Some(Ok(())));
}

#[test]
fn a_search_shows_what_has_all_its_words() {
    let mut model = busy();
    press(&mut model, "/会议q");
    assert!(model.ending.is_none() && model.batches().is_empty(), "q is a letter here");
    assert_eq!((model.batch, model.jobs().len()), (None, 0));
    let asked = press(&mut model, "\u{8}");
    assert_eq!(order(&model), [12]);
    assert_eq!(asked, Some(Request::Watch { scope: window(12, 1), jobs: 0 }), "its jobs had been let go");
    press(&mut model, "\r");
    assert_eq!(press(&mut model, "p"), Some(Request::Pause { what: targets(TWELVE), now: false }), "keys act again");
    press(&mut model, "\u{1b}");
    for (words, found) in
        [("SUBTITLES paused", &[11][..]), ("quarter=3", &[12]), ("completed", &[9]), ("", &[12, 13, 11, 9, 8])]
    {
        press(&mut model, &format!("/{words}"));
        assert_eq!(order(&model), found, "{words}");
        press(&mut model, "\u{1b}");
    }
    let mut model = busy();
    press(&mut model, "3/mp3\r");
    assert_eq!(model.jobs().iter().map(|job| job.id.index).collect::<Vec<_>>(), [3, 5]);
    assert_eq!(index(&model), Some(3), "what is chosen is seen");
    assert_eq!(model.batches().len(), 5, "each panel has its own search");
}

#[test]
fn what_came_of_an_action_is_told() {
    let mut model = busy();
    let asked = press(&mut model, "r").unwrap();
    let acted = Response::Acted(vec![Acted { target: TWELVE, what: "2 queued again".to_owned() }]);
    model.update(Message::Answered(Box::new(asked), Ok(vec![acted])));
    assert_eq!(model.status, Some(Status { text: "12: 2 queued again".to_owned(), bad: false }));
    let asked = press(&mut model, "r").unwrap();
    model.update(Message::Answered(Box::new(asked), Err("no\u{7}".to_owned())));
    assert_eq!(model.status, Some(Status { text: "no\\u{7}".to_owned(), bad: true }));
}

#[test]
fn a_held_key_does_not_flood_the_daemon() {
    let mut model = busy();
    assert_eq!((0..50).filter(|_| press(&mut model, "r").is_some()).count(), ACTIONS_MAX);
}

#[test]
fn a_daemon_that_goes_is_noticed_and_what_is_known_stays() {
    let mut model = busy();
    let heard = model.heard_at.unwrap();
    model.changed = false;
    model.update(Message::Tick(heard, WallMs(0)));
    assert!(!model.is_stale() && !model.changed, "nothing changed, nothing is drawn");
    model.update(Message::Tick(heard + Duration::from_millis(1_900), WallMs(0)));
    assert_eq!((&model.link, model.changed), (&Link::Silent, true));
    model.changed = false;
    let wall = model.wall;
    model.update(Message::Tick(heard + Duration::from_secs(7), WallMs(1_000_000)));
    assert_eq!(model.wall, wall, "no time goes on over what is stale");
    assert_eq!((model.silent_for, model.changed), (7, true), "how old it is can be seen");
    model.update(Message::Event(told_of(11, Fact::Paused(true))));
    assert!(!model.is_stale(), "whoever tells is there");
    model.update(Message::Tick(heard + Duration::from_secs(10), wall));
    model.update(Message::Lost("gone".to_owned()));
    assert!(model.is_stale());
    assert_eq!((model.batches().len(), model.jobs().len()), (5, 6));
    assert_eq!(press(&mut model, "p"), None);
    assert!(model.status.as_ref().is_some_and(|status| status.bad), "and says why not");
    let asked = model.update(watching(model.snapshot.clone(), Vec::new()));
    assert_eq!((model.is_stale(), model.silent_for), (false, 0));
    assert_eq!(asked, Some(Request::Watch { scope: window(12, 1), jobs: 0 }), "the jobs are asked for anew");
}

#[test]
fn what_is_heard_of_another_window_is_old() {
    let mut model = busy();
    press(&mut model, "j");
    hear(&mut model, window(12, 1), jobs([job(12, 1, JobState::Running, "x")]));
    assert!(model.jobs().is_empty() && !model.arrived);
    hear(&mut model, window(13, 1), jobs([job(13, 1, JobState::Running, "x")]));
    assert_eq!(model.jobs().len(), 1);
}

#[test]
fn a_removed_batch_leaves_another_chosen() {
    let mut model = busy();
    let asked = model.update(Message::Event(told_of(11, Fact::Removed(BatchId(12)))));
    assert_eq!((model.batch, model.job), (Some(BatchId(13)), None));
    assert_eq!(asked, Some(Request::Watch { scope: window(13, 1), jobs: 0 }));
}

#[test]
fn the_chosen_job_stays_chosen_and_an_unchosen_one_does_not() {
    let mut model = busy();
    let ends = |model: &mut Model, index, seq| {
        let fact = Fact::Job(Box::new(job(12, index, JobState::Completed, "x")));
        hear(model, window(12, 1), News::Event(told_of(seq, fact)));
    };
    assert_eq!(index(&model), None);
    ends(&mut model, 2, 11);
    press(&mut model, "3");
    assert_eq!(index(&model), Some(4), "what is at work comes first");
    ends(&mut model, 4, 12);
    assert_eq!(index(&model), Some(4), "it was looked at");
}

#[test]
fn a_window_of_a_large_batch_begins_where_its_work_is_and_goes_with_it() {
    let counts = Counts { completed: 30_000, running: 2, pending: 69_998, ..Counts::default() };
    let (mut model, scope) = with_many(counts);
    assert_eq!(scope, window(1, 29_875));
    assert_eq!(model.window(), Some(29_875..=30_374));
    let on = Counts { completed: 30_400, pending: 69_598, ..counts };
    let fact = |counts| Fact::Batch(Box::new(batch(1, "", BatchState::Running, 0.6, counts)));
    let asked = model.update(Message::Event(told_of(11, fact(on))));
    assert_eq!(asked, Some(Request::Watch { scope: window(1, 30_275), jobs: 0 }));
    hear(&mut model, window(1, 30_275), jobs(all_of(&window(1, 30_275), 100_000, JobState::Pending)));
    press(&mut model, "3");
    let far = Counts { completed: 50_000, pending: 49_998, ..counts };
    assert_eq!(model.update(Message::Event(told_of(12, fact(far)))), None, "somebody looks at a job of it");
}

#[test]
fn beyond_a_windows_ends_others_follow() {
    let (mut model, first) = with_many(Counts { pending: 1_200, ..Counts::default() });
    assert_eq!(first, window(1, 1));
    hear(&mut model, first.clone(), jobs(all_of(&first, 1_200, JobState::Pending)));
    assert_eq!(press(&mut model, "3G"), None);
    assert_eq!(index(&model), Some(500));
    assert_eq!(press(&mut model, "j"), Some(Request::Watch { scope: window(1, 501), jobs: 0 }));
    assert_eq!(press(&mut model, "jjj"), None, "one at a time");
    hear(&mut model, window(1, 501), jobs(all_of(&window(1, 501), 1_200, JobState::Pending)));
    assert_eq!(index(&model), Some(501));
    assert_eq!(
        press(&mut model, "Gj"),
        Some(Request::Watch { scope: window(1, 701), jobs: 0 }),
        "the last is full too"
    );
    hear(&mut model, window(1, 701), jobs(all_of(&window(1, 701), 1_200, JobState::Pending)));
    assert_eq!(index(&model), Some(1_001), "and goes on behind what was seen");
    assert_eq!(press(&mut model, "Gjj"), None, "there is nothing below the last");
    assert_eq!(press(&mut model, "gk"), Some(Request::Watch { scope: window(1, 201), jobs: 0 }));
    hear(&mut model, window(1, 201), jobs(all_of(&window(1, 201), 1_200, JobState::Pending)));
    assert_eq!(index(&model), Some(700));
}

#[test]
fn a_search_goes_through_all_windows() {
    let (mut model, first) = with_many(Counts { pending: 1_200, ..Counts::default() });
    hear(&mut model, first.clone(), jobs(all_of(&first, 1_200, JobState::Pending)));
    assert_eq!(press(&mut model, "3/1100.wav\r"), Some(Request::Watch { scope: window(1, 501), jobs: 0 }));
    let part = all_of(&window(1, 501), 1_200, JobState::Pending);
    let (one, other) = part.split_at(200);
    assert_eq!(hear(&mut model, window(1, 501), jobs(one.to_vec())), None, "all of a window is looked at");
    let next = hear(&mut model, window(1, 501), News::Jobs(other.to_vec()));
    assert_eq!(next, Some(Request::Watch { scope: window(1, 701), jobs: 0 }));
    hear(&mut model, window(1, 701), jobs(all_of(&window(1, 701), 1_200, JobState::Pending)));
    assert_eq!((model.jobs().len(), index(&model)), (1, Some(1_100)));
    press(&mut model, "/0\r");
    let status = model.status.as_ref().map(|status| status.text.as_str());
    assert_eq!(status, None, "it is looked for from the first window on");
    for from in [1, 501, 701] {
        hear(&mut model, window(1, from), jobs(all_of(&window(1, from), 1_200, JobState::Pending)));
    }
    assert_eq!(model.status.as_ref().map(|status| status.text.as_str()), Some("no job has these words"));
}

#[test]
fn a_large_batch_that_changes_at_once_is_asked_for_anew() {
    let counts = Counts { pending: 100_000, ..Counts::default() };
    let (mut model, scope) = with_many(counts);
    hear(&mut model, scope.clone(), jobs(all_of(&scope, 100_000, JobState::Pending)));
    let cancelled = Counts { cancelled: 100_000, ..Counts::default() };
    let fact = Fact::Batch(Box::new(batch(1, "", BatchState::Cancelled, 0.0, cancelled)));
    assert_eq!(model.update(Message::Event(told_of(11, fact))), Some(Request::Watch { scope, jobs: 0 }));
}

#[test]
fn jobs_beside_the_window_are_those_at_work_and_failed_and_have_an_end() {
    let (mut model, scope) = with_many(Counts { pending: 100_000, ..Counts::default() });
    hear(&mut model, scope.clone(), jobs(all_of(&scope, 100_000, JobState::Pending)));
    let tell = |model: &mut Model, seq, index, state| {
        hear(model, scope.clone(), News::Event(told_of(seq, Fact::Job(Box::new(job(1, index, state, "x"))))));
    };
    tell(&mut model, 11, 9_000, JobState::Running);
    assert_eq!(model.jobs().first().map(|job| job.id.index), Some(9_000));
    tell(&mut model, 12, 9_000, JobState::Completed);
    assert_eq!(model.jobs().len(), 500);
    for seq in 13..10_000 {
        tell(&mut model, seq, 10_000 + seq as u32, JobState::Failed);
    }
    tell(&mut model, 10_000, 50_000, JobState::Running);
    assert!(model.jobs().len() <= 500 + ELSEWHERE_MAX + 1, "{}", model.jobs().len());
    assert_eq!(model.jobs().iter().filter(|job| job.state == JobState::Pending).count(), 500);
    assert_eq!(model.jobs().first().map(|job| job.state), Some(JobState::Running));
}

#[test]
fn ended_batches_do_not_pile_up_without_end() {
    let mut model = busy();
    for id in 100..100 + 2 * ENDED_MAX as u64 {
        let mut ended = batch(id, "", BatchState::Completed, 1.0, Counts { completed: 1, ..Counts::default() });
        ended.finished_at = Some(WallMs(1_000_000 + id));
        model.update(Message::Event(told_of(id, Fact::Batch(Box::new(ended)))));
    }
    assert_eq!(model.batches().len(), 3 + ENDED_MAX);
    assert_eq!(order(&model)[3], 99 + 2 * ENDED_MAX as u64, "the newest stay");
}

#[test]
fn until_somebody_moves_what_is_at_work_is_shown() {
    let ends = |model: &mut Model, seq| {
        let counts = Counts { completed: 1, ..Counts::default() };
        let ended = batch(12, "", BatchState::Completed, 1.0, counts);
        model.update(Message::Event(told_of(seq, Fact::Batch(Box::new(ended)))));
    };
    let mut model = busy();
    ends(&mut model, 11);
    assert_eq!(model.batch, Some(BatchId(13)));
    let mut model = busy();
    press(&mut model, "g");
    ends(&mut model, 11);
    assert_eq!(model.batch, Some(BatchId(12)), "it is looked at");
}

#[test]
fn marks_make_actions_be_about_many() {
    let mut model = busy();
    press(&mut model, "  ");
    let both = Selection::Targets(vec![TWELVE, Target::Batch(BatchId(13))]);
    assert_eq!(press(&mut model, "p"), Some(Request::Pause { what: both.clone(), now: false }));
    assert_eq!(press(&mut model, "c\t\r"), Some(Request::Cancel(both.clone())));
    assert_eq!(press(&mut model, "r"), Some(Request::Retry(both.clone())));
    assert_eq!(press(&mut model, "+"), Some(Request::Prioritize { what: both.clone(), priority: Priority(25) }));
    let delete = KeyEvent::new(KeyCode::Delete, KeyModifiers::NONE);
    assert_eq!(model.update(Message::Key(delete)), None, "it asks first");
    assert_eq!(press(&mut model, "y"), Some(Request::Remove { what: both, purge: false }));
    press(&mut model, "\u{1b}");
    assert!(model.marked_batches.is_empty());
}

#[test]
fn what_is_asked_of_others_than_the_daemon_is_an_errand() {
    let mut model = busy();
    press(&mut model, "x");
    assert!(model.cover.is_none() && model.status.as_ref().is_some_and(|status| status.bad), "it has not ended yet");
    press(&mut model, "jjjx");
    assert!(matches!(&model.cover, Some(Cover::Archive { path, .. }) if path == "batch-9.zip"));
    press(&mut model, "\u{8}\r");
    let exported = model.errands.drain(..).find_map(|errand| match errand {
        Errand::Export(line) => Some(line),
        _ => None,
    });
    let line: Vec<_> = exported.unwrap().into_iter().map(|word| word.into_string().unwrap()).collect();
    assert_eq!(line[1..4], ["export", "9", "--output=batch-9.zi"]);
    let failed =
        JobView { failure: Some(Failure::new(FailureKind::Input, "empty")), ..job(12, 3, JobState::Failed, "x") };
    press(&mut model, "4y");
    assert!(!model.errands.iter().any(|errand| matches!(errand, Errand::Copy(_))), "there is nothing to copy");
    model.update(Message::Answered(Box::new(Request::Failures { limit: 1 }), Ok(vec![Response::Jobs(vec![failed])])));
    press(&mut model, "yw");
    let copied = model.errands.iter().any(|errand| matches!(errand, Errand::Copy(text) if text.contains("12/3")));
    let saved = model.errands.iter().any(|errand| matches!(errand, Errand::Save(_, text) if text.contains("12/3")));
    assert!(copied && saved, "{:?}", model.errands);
}

#[test]
fn order_colours_and_language_are_keys_too() {
    let mut model = busy();
    press(&mut model, "s");
    assert_eq!(order(&model), [13, 12, 11, 9, 8], "the newest first");
    press(&mut model, "ssss");
    assert_eq!((model.sort, order(&model)[0]), (Sort::Failed, 12));
    press(&mut model, "sTL");
    assert_eq!((model.sort, model.look.theme), (Sort::Course, crate::look::Theme::Light));
    assert_eq!(model.look.language, Language::Chinese);
}

#[test]
fn views_go_around_and_back() {
    let mut model = busy();
    for number in '1'..='7' {
        press(&mut model, &number.to_string());
        assert_eq!(model.view as usize, number as usize - '1' as usize);
    }
    press(&mut model, "\t");
    assert_eq!(model.view, View::Overview, "behind the last comes the first");
    model.update(Message::Key(KeyEvent::new(KeyCode::BackTab, KeyModifiers::SHIFT)));
    assert_eq!(model.view, View::History);
    press(&mut model, "2v");
    assert_eq!((model.view, model.batch), (View::Results, Some(BatchId(12))), "of this batch");
    press(&mut model, "\u{1b}\u{1b}");
    assert_eq!(model.view, View::Batches);
}

#[test]
fn the_mouse_does_what_keys_do() {
    let mut model = busy();
    let mouse = |kind, row| MouseEvent { kind, column: 3, row, modifiers: KeyModifiers::NONE };
    let click = |row| Message::Mouse(mouse(MouseEventKind::Down(MouseButton::Left), row));
    model.hits = vec![
        (Rect::new(0, 1, 10, 1), Hit::Go(View::Workers)),
        (Rect::new(0, 5, 80, 1), Hit::Row(1)),
        (Rect::new(0, 23, 10, 1), Hit::Act(Action::Help)),
    ];
    model.changed = false;
    assert_eq!(model.update(click(9)), None);
    assert!(!model.changed, "there is nothing");
    assert_eq!(model.update(click(5)), Some(Request::Watch { scope: window(13, 1), jobs: 0 }));
    model.update(click(5));
    assert_eq!((model.view, model.batch), (View::Batch, Some(BatchId(13))), "a second click opens");
    model.update(click(1));
    assert_eq!(model.view, View::Workers);
    press(&mut model, "2");
    model.update(Message::Mouse(mouse(MouseEventKind::ScrollDown, 9)));
    assert_eq!(model.batch, Some(BatchId(11)));
    model.update(click(23));
    assert!(matches!(model.cover, Some(Cover::Help { .. })));
}

#[test]
fn what_came_of_an_action_is_told_for_a_while() {
    let mut model = busy();
    let now = model.now.unwrap();
    press(&mut model, "r");
    model.update(Message::Event(told_of(50, Fact::Paused(false))));
    model.update(Message::Tick(now + Duration::from_secs(1), WallMs(0)));
    assert!(model.status.is_some());
    model.heard_at = Some(now + READ);
    model.update(Message::Tick(now + READ, WallMs(0)));
    assert_eq!(model.status, None);
}
