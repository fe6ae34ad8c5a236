//! Keys and messages against a made-up house.

use crossterm::event::{KeyCode, KeyModifiers};
use spindle_shared::batch::Counts;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::Owner;
use spindle_shared::job::{Detail, FileIdentity, Input, PathBytes};
use spindle_shared::time::WallMs;

use super::*;

fn batch(id: u64, name: &str, state: BatchState, progress: f32, counts: Counts) -> BatchView {
    BatchView {
        id: BatchId(id),
        name: (!name.is_empty()).then(|| name.to_owned()),
        recipe: "subtitles".to_owned(),
        owner: Owner(1000),
        state,
        priority: Priority::NORMAL,
        parallel: 2,
        created_at: WallMs(0),
        started_at: None,
        finished_at: state.is_terminal().then_some(WallMs(9)),
        counts,
        progress,
        stage: None,
        eta: None,
        tags: Vec::new(),
    }
}

fn job(batch: u64, index: u32, state: JobState, name: &str) -> JobView {
    let identity = FileIdentity { dev: 1, inode: 1, bytes: 1, mtime_ns: 0, ctime_ns: 0 };
    let path = PathBytes(format!("/media/recordings/{name}").into_bytes());
    JobView {
        id: JobId { batch: BatchId(batch), index },
        input: Some(Input::File { path, identity }),
        state,
        stage: "transcribe".to_owned(),
        progress: if state == JobState::Running { 0.42 } else { 0.0 },
        attempts: 1,
        worker: None,
        created_at: WallMs(0),
        started_at: None,
        finished_at: None,
        timings: Vec::new(),
        failure: None,
        skipped_reason: None,
        outputs: Vec::new(),
        detail: Detail::default(),
    }
}

fn watching(snapshot: Snapshot, ended: Vec<BatchView>) -> Message {
    let socket = PathBuf::from("/run/user/1000/spindle/spindled.sock");
    Message::Watching { socket, build: "0.1.0".to_owned(), snapshot: Box::new(snapshot), ended, at: Instant::now() }
}

/// A house at work: two open batches, two ended; CJK names and a name that would move the cursor.
pub fn busy() -> Model {
    let counts = Counts { pending: 3, running: 2, completed: 4, failed: 2, ..Counts::default() };
    let open = [
        batch(12, "会议录音 第三季度 全体员工大会 (北京)", BatchState::Running, 0.57, counts),
        batch(11, "", BatchState::Paused, 0.0, Counts { pending: 7, ..Counts::default() }),
    ];
    let ended = vec![
        batch(9, "ポッドキャスト", BatchState::Completed, 1.0, Counts { completed: 3, ..Counts::default() }),
        batch(8, "a\u{1b}[2Jb", BatchState::Failed, 1.0, Counts { failed: 1, ..Counts::default() }),
    ];
    let mut jobs = vec![
        job(12, 1, JobState::Completed, "一.wav"),
        job(12, 2, JobState::Running, "李明-发言-第二场-下午-主会场-完整版-未剪辑-高清-立体声-备份.mp4"),
        job(12, 3, JobState::Failed, "坏的.mp3"),
        job(12, 4, JobState::Running, "interview with a very long name that goes on and on and on and on.mp4"),
        job(12, 5, JobState::Failed, "bad\n.mp3"),
        job(12, 6, JobState::Pending, "六.wav"),
    ];
    for at in [2, 4] {
        jobs[at].failure = Some(Failure::new(FailureKind::Input, "坏的.mp3: no sound in it"));
    }
    let snapshot = Snapshot {
        seq: 10,
        paused: false,
        batches: open.into_iter().map(|batch| (batch.id, batch)).collect(),
        jobs: jobs.into_iter().map(|job| (job.id, job)).collect(),
        alerts: Vec::new(),
    };
    let mut model = Model::new(true);
    model.update(watching(snapshot, ended));
    let house = HouseView {
        version: "0.1.0".to_owned(),
        pid: 1,
        started_at: WallMs(0),
        paused: false,
        draining: false,
        batches_open: 2,
        counts: Counts::default(),
        lanes: vec![("cpu".to_owned(), 2, 2), ("io".to_owned(), 0, 4), ("net".to_owned(), 0, 2)],
        done: Default::default(),
        eta: None,
        state_dir: PathBytes::default(),
        model_dir: PathBytes::default(),
    };
    model.update(Message::House(Box::new(house), Instant::now()));
    model
}

/// Presses keys one after another; gives what the last one asked for.
pub fn press(model: &mut Model, keys: &str) -> Option<Request> {
    keys.chars().fold(None, |_, key| {
        let code = match key {
            '\t' => KeyCode::Tab,
            '\r' => KeyCode::Enter,
            '\u{1b}' => KeyCode::Esc,
            other => KeyCode::Char(other),
        };
        model.update(Message::Key(KeyEvent::new(code, KeyModifiers::NONE)))
    })
}

fn targets(target: Target) -> Selection {
    Selection::Targets(vec![target])
}

const TWELVE: Target = Target::Batch(BatchId(12));

#[test]
fn moving_chooses_and_asks_for_the_jobs() {
    let mut model = busy();
    assert_eq!(model.batch, Some(BatchId(12)), "the newest open batch comes first");
    assert!(matches!(press(&mut model, "j"), Some(Request::Jobs { batch: BatchId(11), .. })));
    assert!(matches!(press(&mut model, "j"), Some(Request::Jobs { batch: BatchId(9), .. })), "ended ones follow");
    assert!(matches!(press(&mut model, "G"), Some(Request::Jobs { batch: BatchId(8), .. })));
    assert_eq!(press(&mut model, "j"), None, "there is nothing below the last");
    press(&mut model, "g\tj");
    assert_eq!((model.panel, model.job.map(|job| job.index)), (Panel::Jobs, Some(4)), "running jobs come first");
    press(&mut model, "\r");
    assert_eq!(model.cover, Some(Cover::Job { scroll: 0 }));
    press(&mut model, "\u{1b}\t");
    assert_eq!((model.cover.clone(), model.panel), (None, Panel::Batches));
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
    assert_eq!(press(&mut model, "\tcy"), Some(Request::Cancel(targets(Target::Job(job)))));
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
    assert_eq!(press(&mut model, "jp"), Some(Request::Resume(targets(eleven))), "it is paused");
    press(&mut model, "q");
    assert_eq!(model.ending, Some(Ok(())));
}

#[test]
fn what_came_of_an_action_is_told() {
    let mut model = busy();
    let asked = press(&mut model, "r").unwrap();
    let acted = Response::Acted(vec![Acted { target: TWELVE, what: "2 jobs queued again".to_owned() }]);
    let next = model.update(Message::Answered(Box::new(asked), Ok(vec![acted])));
    assert_eq!(model.status, Some(Status { text: "12: 2 jobs queued again".to_owned(), bad: false }));
    assert!(matches!(next, Some(Request::Jobs { batch: BatchId(12), .. })), "its jobs are read again");
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
    let heard = Instant::now();
    model.changed = false;
    model.update(Message::Tick(heard));
    assert!(!model.is_stale() && !model.changed, "nothing changed, nothing is drawn");
    model.update(Message::Tick(heard + Duration::from_secs(2)));
    assert_eq!((&model.link, model.changed), (&Link::Silent, true));
    model.update(Message::Lost("gone".to_owned()));
    assert!(model.is_stale());
    assert_eq!(model.batches().len(), 4);
    assert_eq!(press(&mut model, "p"), None);
    assert!(model.status.as_ref().is_some_and(|status| status.bad), "and says why not");
    let asked = model.update(watching(model.snapshot.clone(), Vec::new()));
    assert!(!model.is_stale());
    assert!(matches!(asked, Some(Request::Jobs { .. })), "the jobs are read anew");
}

#[test]
fn an_answer_never_undoes_a_newer_event() {
    let mut model = busy();
    let ended = job(12, 2, JobState::Completed, "x");
    let fact = Fact::Job(Box::new(JobView { input: None, ..ended }));
    model.update(Message::Event(Box::new(Event { seq: 11, time: WallMs(0), fact })));
    let request = Request::Jobs { batch: BatchId(12), states: Vec::new(), from: 1, limit: JOBS_WINDOW };
    let old = vec![job(12, 2, JobState::Running, "x"), job(12, 7, JobState::Pending, "seven")];
    model.update(Message::Answered(Box::new(request), Ok(vec![Response::Jobs(old)])));
    let state = |index| model.snapshot.jobs.get(&JobId { batch: BatchId(12), index }).map(|job| job.state);
    assert_eq!((state(2), state(7)), (Some(JobState::Completed), Some(JobState::Pending)));
}

#[test]
fn a_removed_batch_leaves_another_chosen() {
    let mut model = busy();
    let fact = Fact::Removed(BatchId(12));
    let asked = model.update(Message::Event(Box::new(Event { seq: 11, time: WallMs(0), fact })));
    assert_eq!((model.batch, model.job), (Some(BatchId(11)), None));
    assert!(matches!(asked, Some(Request::Jobs { batch: BatchId(11), .. })));
}

#[test]
fn the_chosen_job_stays_chosen_and_an_unchosen_one_does_not() {
    let index = |model: &Model| model.job.map(|job| job.index);
    let ends = |index, seq| {
        let fact = Fact::Job(Box::new(job(12, index, JobState::Completed, "x")));
        Message::Event(Box::new(Event { seq, time: WallMs(0), fact }))
    };
    let mut model = busy();
    assert_eq!(index(&model), None);
    model.update(ends(2, 11));
    press(&mut model, "\t");
    assert_eq!(index(&model), Some(4), "what is at work comes first");
    model.update(ends(4, 12));
    assert_eq!(index(&model), Some(4), "it was looked at");
}

#[test]
fn failed_jobs_beyond_the_window_are_asked_for() {
    let counts = Counts { completed: 2_000, failed: 1, ..Counts::default() };
    let mut model = Model::new(false);
    let asked = model.update(watching(Snapshot::default(), vec![batch(1, "", BatchState::Partial, 1.0, counts)]));
    let next = model.update(Message::Answered(Box::new(asked.unwrap()), Ok(vec![])));
    assert_eq!(next, Some(failed_jobs(BatchId(1))));
    assert_eq!(model.update(Message::Answered(Box::new(next.unwrap()), Ok(vec![]))), None);
}

#[test]
fn jobs_do_not_pile_up_without_end() {
    let mut model = busy();
    for index in 0..3 * JOBS_MAX as u32 {
        let fact = Fact::Job(Box::new(job(12, index + 10, JobState::Completed, "x")));
        model.update(Message::Event(Box::new(Event { seq: u64::from(index) + 11, time: WallMs(0), fact })));
    }
    assert!(model.snapshot.jobs.len() <= JOBS_MAX);
    assert_eq!(model.jobs().iter().filter(|job| job.state == JobState::Failed).count(), 2, "failures are kept");
    for index in 0..2 * JOBS_MAX as u32 {
        let fact = Fact::Job(Box::new(job(12, index + 10, JobState::Failed, "x")));
        model.update(Message::Event(Box::new(Event { seq: u64::from(index) + 100_000, time: WallMs(0), fact })));
    }
    assert!(model.snapshot.jobs.len() <= JOBS_MAX, "but not without end");
}
