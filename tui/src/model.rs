//! The model: all the dashboard knows, and the one function that changes it. Knows no terminal, no socket and no clock.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossterm::event::{KeyEvent, MouseButton, MouseEvent, MouseEventKind};
use jiff::Timestamp;
use jiff::tz::TimeZone;
use ratatui::layout::{Position, Rect};
use spindle_shared::batch::{BatchState, BatchView, Priority};
use spindle_shared::event::{Event, Fact};
use spindle_shared::id::{BatchId, JobId, Target};
use spindle_shared::job::{Input, JobState, JobView, PathBytes};
use spindle_shared::snapshot::Snapshot;
use spindle_shared::text::escaped;
use spindle_shared::time::WallMs;
use spindle_shared::wire::request::{Request, Scope, Selection};
use spindle_shared::wire::response::{Acted, Explanation, HouseView, Response, Stats, Submitted, WorkerView};

use crate::causes::{self, Cause, Row};
use crate::errand::{COPY_BYTES_MAX, Errand, PictureKey};
use crate::feed::JOBS_WINDOW;
use crate::filter::Filter;
use crate::form::{Form, Plan};
use crate::keys::{self, Action, Place};
use crate::look::{Language, Look};
use crate::machine::Machine;
use crate::message::{Message, News};
use crate::pace::Pace;
use crate::results::{self, Grid, QUALITIES, Results};

/// A daemon that hasn't answered for this long is said to be silent. It is asked once a second.
const SILENCE: Duration = Duration::from_millis(1_800);
/// Actions under way at once; a key held down must not flood the daemon.
const ACTIONS_MAX: usize = 8;
/// Jobs kept beside the window: those at work, and failed ones.
const ELSEWHERE_MAX: usize = 1_000;
/// Ended batches kept; the oldest go first.
const ENDED_MAX: usize = 1_000;
/// Rows that PgUp and PgDn go.
const PAGE: usize = 10;

/// How the daemon is heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Link {
    Connecting,
    Live,
    /// The connection stands and nobody answers.
    Silent,
    /// Why.
    Lost(String),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum View {
    Overview,
    Batches,
    Batch,
    Failures,
    Workers,
    Results,
    History,
}

impl View {
    pub const ALL: [View; 7] =
        [View::Overview, View::Batches, View::Batch, View::Failures, View::Workers, View::Results, View::History];

    pub fn name(self) -> &'static str {
        match self {
            View::Overview => "Overview",
            View::Batches => "Batches",
            View::Batch => "Batch",
            View::Failures => "Failures",
            View::Workers => "Workers",
            View::Results => "Results",
            View::History => "History",
        }
    }

    fn step(self, by: usize) -> View {
        View::ALL[(self as usize + by) % View::ALL.len()]
    }
}

/// The column that batches are sorted by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sort {
    /// As they will go on, then the newest end first.
    Course,
    Newest,
    Name,
    Recipe,
    Progress,
    Failed,
}

impl Sort {
    const ORDER: [Sort; 6] = [Sort::Course, Sort::Newest, Sort::Name, Sort::Recipe, Sort::Progress, Sort::Failed];

    pub fn name(self) -> &'static str {
        match self {
            Sort::Course => "by course",
            Sort::Newest => "newest first",
            Sort::Name => "by name",
            Sort::Recipe => "by recipe",
            Sort::Progress => "by progress",
            Sort::Failed => "by failures",
        }
    }
}

/// What lies over the view.
#[derive(Debug)]
pub enum Cover {
    Help {
        scroll: u16,
    },
    Job {
        job: Box<JobView>,
        scroll: u16,
    },
    /// Something told in full.
    Page {
        title: String,
        text: String,
        scroll: u16,
    },
    /// Is this really to be done?
    Question {
        request: Request,
        yes: bool,
    },
    /// A result in full.
    Zoom {
        scroll: u16,
    },
    /// The file that a batch is to be exported into.
    Archive {
        batch: BatchId,
        path: String,
    },
    Form(Box<Form>),
}

/// What is asked for again and again while it is looked at.
#[derive(Debug)]
pub struct Read<T> {
    pub value: T,
    /// When it was told.
    pub at: Option<Instant>,
    asked: Option<Instant>,
    open: usize,
}

impl<T: Default> Default for Read<T> {
    fn default() -> Self {
        Read { value: T::default(), at: None, asked: None, open: 0 }
    }
}

impl<T> Read<T> {
    /// Whether it is time to ask, so many questions at once; from here on it is asked.
    fn is_due(&mut self, now: Instant, every: Duration, questions: usize) -> bool {
        let due = self.open == 0 && self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= every);
        if due {
            self.asked = Some(now);
            self.open = questions;
        }
        due
    }

    fn told(&mut self, now: Option<Instant>) {
        self.open = self.open.saturating_sub(1);
        self.at = now;
    }

    /// Asked for anew at once.
    fn stale(&mut self) {
        self.asked = None;
    }
}

/// Where the mouse meets what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hit {
    Go(View),
    Act(Action),
    /// A row of the view's list, or of what lies over it.
    Row(usize),
}

/// The line that tells what came of the last action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    pub text: String,
    pub bad: bool,
}

#[derive(Debug)]
pub struct Model {
    /// The house as it is watched: every batch, no jobs.
    pub snapshot: Snapshot,
    /// The chosen batch's jobs as they are watched.
    window: Snapshot,
    /// The window that was asked for; what is heard of another is old.
    asked: Option<Scope>,
    /// Whether its jobs have come.
    pub arrived: bool,
    /// The window's first index.
    from: u32,
    /// To be chosen when the window comes.
    landing: Option<u32>,
    /// One window after another is asked for until something fits the search.
    searching: bool,
    /// So much has changed at once that the window must be asked for anew.
    outdated: bool,
    pub house: Option<HouseView>,
    pub pace: Pace,
    pub link: Link,
    pub socket: Option<PathBuf>,
    pub build: String,
    pub view: View,
    pub look: Look,
    zone: TimeZone,
    /// The terminal, in cells.
    pub size: (u16, u16),
    /// Of the last frame.
    pub hits: Vec<(Rect, Hit)>,
    pub sort: Sort,
    pub marked_batches: BTreeSet<BatchId>,
    pub marked_jobs: BTreeSet<JobId>,
    pub machine: Machine,
    pub workers: Read<Vec<WorkerView>>,
    /// Jobs at work, by batch.
    pub at_work: Read<BTreeMap<BatchId, Vec<JobView>>>,
    pub failures: Read<Vec<Cause>>,
    pub results: Read<Results>,
    /// Whose results they are.
    pub results_of: Option<BatchId>,
    /// What has ended since these midnights.
    pub history: Read<BTreeMap<WallMs, Stats>>,
    /// The chosen row of views whose rows have no names.
    pub rows: [usize; View::ALL.len()],
    /// What is to be done, beside the one request that `update` gives back.
    pub errands: Vec<Errand>,
    pub batch: Option<BatchId>,
    pub job: Option<JobId>,
    /// Somebody has gone somewhere: what was chosen stays chosen.
    moved: bool,
    pub batch_filter: Filter,
    pub job_filter: Filter,
    /// The words to find in this panel are being written.
    pub finding: bool,
    pub cover: Option<Cover>,
    pub status: Option<Status>,
    said_at: Option<Instant>,
    /// Something is to be drawn.
    pub changed: bool,
    /// Set when the program is to end; an error says why.
    pub ending: Option<Result<(), String>>,
    /// What the clock said last.
    pub wall: WallMs,
    now: Option<Instant>,
    /// Since when nothing has been heard, in whole seconds.
    pub silent_for: u64,
    heard_at: Option<Instant>,
    under_way: usize,
}

impl Model {
    pub fn new(look: Look, zone: TimeZone) -> Model {
        Model {
            snapshot: Snapshot::default(),
            window: Snapshot::default(),
            asked: None,
            arrived: false,
            from: 1,
            landing: None,
            searching: false,
            outdated: false,
            house: None,
            pace: Pace::default(),
            link: Link::Connecting,
            socket: None,
            build: String::new(),
            view: View::Overview,
            look,
            zone,
            size: (80, 24),
            hits: Vec::new(),
            sort: Sort::Course,
            marked_batches: BTreeSet::new(),
            marked_jobs: BTreeSet::new(),
            machine: Machine::default(),
            workers: Read::default(),
            at_work: Read::default(),
            failures: Read::default(),
            results: Read::default(),
            results_of: None,
            history: Read::default(),
            rows: [0; View::ALL.len()],
            errands: Vec::new(),
            batch: None,
            job: None,
            moved: false,
            batch_filter: Filter::default(),
            job_filter: Filter::default(),
            finding: false,
            cover: None,
            status: None,
            said_at: None,
            changed: true,
            ending: None,
            wall: WallMs(0),
            now: None,
            silent_for: 0,
            heard_at: None,
            under_way: 0,
        }
    }

    /// Takes one message in; gives what is to be asked of the daemon.
    pub fn update(&mut self, message: Message) -> Option<Request> {
        self.changed |= !matches!(
            message,
            Message::Tick(..) | Message::Machine(..) | Message::OutputBytes(..) | Message::Mouse(..)
        );
        let wanted = match message {
            Message::Watching { socket, build, snapshot, ended, at } => {
                self.snapshot = *snapshot;
                for batch in ended {
                    // What the watch tells is kept current by its events.
                    self.snapshot.batches.entry(batch.id).or_insert(batch);
                }
                (self.socket, self.build, self.link) = (Some(socket), build, Link::Live);
                // Its jobs are as old as the house was.
                self.outdated = true;
                self.heard(Some(at));
                None
            }
            Message::Batches(batches) => {
                self.snapshot.batches.extend(batches.into_iter().map(|batch| (batch.id, batch)));
                None
            }
            Message::Event(event) => {
                self.event(&event);
                self.heard(self.now);
                None
            }
            Message::Lost(why) => {
                self.link = Link::Lost(why);
                None
            }
            Message::Window(scope, news) => {
                if Some(&scope) == self.asked.as_ref() {
                    self.hear(news);
                }
                None
            }
            Message::House(house, at) => {
                self.pace.note(&house, at);
                self.house = Some(*house);
                self.heard(Some(at));
                None
            }
            Message::Answered(request, result) => {
                self.answered(&request, result);
                None
            }
            Message::Machine(machine) => {
                self.changed |= self.view == View::Overview || self.view == View::Workers;
                self.machine = machine;
                None
            }
            Message::OutputBytes(bytes, at) => {
                self.pace.note_bytes(bytes, at);
                None
            }
            Message::Picture(key, picture) => {
                self.results.value.album.put(key, picture);
                self.want_pictures();
                None
            }
            Message::Text(path, text) => {
                self.results.value.text = Some((path, text));
                None
            }
            Message::Files(folder, entries) => {
                if let Some(Cover::Form(form)) = &mut self.cover
                    && let Some(files) = form.files.as_mut().filter(|files| files.folder == folder)
                {
                    files.entries = Some(entries);
                }
                None
            }
            Message::Planned(planned) => {
                if let Some(Cover::Form(form)) = &mut self.cover
                    && let Some(plan) = &mut form.plan
                {
                    plan.jobs = Some(planned);
                }
                None
            }
            Message::Submitted(submitted) => {
                self.submitted(submitted);
                None
            }
            Message::Done(done) => {
                match done {
                    Ok(text) => self.say(escaped(&text), false),
                    Err(why) => self.say(escaped(&why), true),
                }
                None
            }
            Message::Key(key) => {
                let action = keys::meaning(self.place(), key);
                action.and_then(|action| self.do_it(action))
            }
            Message::Mouse(mouse) => self.mouse(mouse),
            Message::Resized => None,
            Message::Tick(at, wall) => {
                self.tick(at, wall);
                None
            }
            Message::Quit => {
                self.ending = Some(Ok(()));
                None
            }
            Message::Deaf(why) => {
                self.ending = Some(Err(format!("failed to read the keyboard: {why}")));
                None
            }
            Message::Died(what) => {
                self.ending = Some(Err(format!("a part of spindletop failed: {what}")));
                None
            }
        };
        self.choose();
        self.search_on();
        wanted.or_else(|| self.wanted_window())
    }

    /// Whether what is shown may be out of date.
    pub fn is_stale(&self) -> bool {
        self.link != Link::Live
    }

    /// What is open in the order in which it will go on, then what has ended, the newest end first; of these what fits the search.
    pub fn batches(&self) -> Vec<&BatchView> {
        let words = self.batch_filter.words();
        let mut batches: Vec<_> =
            self.snapshot.batches.values().filter(|batch| words.fit(|| texts_of_batch(batch))).collect();
        let course = |batch: &BatchView| match batch.state {
            BatchState::Running | BatchState::Cancelling => (0, u64::from(batch.priority.0), batch.id.0),
            BatchState::Pending => (1, u64::from(batch.priority.0), batch.id.0),
            BatchState::Paused => (2, u64::from(batch.priority.0), batch.id.0),
            BatchState::Completed | BatchState::Partial | BatchState::Failed | BatchState::Cancelled => {
                (3, u64::MAX - batch.finished_at.unwrap_or_default().0, u64::MAX - batch.id.0)
            }
        };
        let newest = |batch: &BatchView| Reverse(batch.id);
        match self.sort {
            Sort::Course => batches.sort_by_key(|batch| course(batch)),
            Sort::Newest => batches.sort_by_key(|batch| newest(batch)),
            Sort::Name => batches.sort_by_cached_key(|batch| {
                (batch.name.as_deref().unwrap_or(&batch.recipe).to_lowercase(), newest(batch))
            }),
            Sort::Recipe => batches
                .sort_by(|one, other| one.recipe.cmp(&other.recipe).then_with(|| newest(one).cmp(&newest(other)))),
            Sort::Progress => {
                batches.sort_by(|one, other| {
                    other.progress.total_cmp(&one.progress).then_with(|| newest(one).cmp(&newest(other)))
                });
            }
            Sort::Failed => batches.sort_by_key(|batch| (Reverse(batch.counts.failed), newest(batch))),
        }
        batches
    }

    pub fn chosen_batch(&self) -> Option<&BatchView> {
        self.snapshot.batches.get(&self.batch?)
    }

    pub fn chosen_job(&self) -> Option<&JobView> {
        self.window.jobs.get(&self.job?)
    }

    /// The chosen batch's jobs that are known: at work, failed, then the others, each in input order; of these what fits the search.
    pub fn jobs(&self) -> Vec<&JobView> {
        let words = self.job_filter.words();
        let mut jobs: Vec<_> = self.known_jobs().filter(|job| words.fit(|| texts_of_job(job))).collect();
        jobs.sort_by_key(|job| rank(job.state));
        jobs
    }

    /// Without regard to the search.
    pub fn known_jobs(&self) -> impl Iterator<Item = &JobView> {
        let batch = self.batch.unwrap_or(BatchId(0));
        let all = JobId { batch, index: 0 }..=JobId { batch, index: u32::MAX };
        self.window.jobs.range(all).map(|(_, job)| job)
    }

    /// Indices of the jobs that are shown whatever their state; `None` = all are.
    pub fn window(&self) -> Option<RangeInclusive<u32>> {
        let total = self.chosen_batch()?.counts.total();
        (total > JOBS_WINDOW).then(|| self.from..=total.min(self.from.saturating_add(JOBS_WINDOW - 1)))
    }

    pub fn place(&self) -> Place {
        match &self.cover {
            None if self.finding => Place::Find,
            None => Place::In(self.view),
            Some(Cover::Help { .. } | Cover::Job { .. } | Cover::Page { .. } | Cover::Zoom { .. }) => Place::Page,
            Some(Cover::Question { .. }) => Place::Question,
            Some(Cover::Archive { .. }) => Place::Line,
            Some(Cover::Form(form)) if form.line.is_some() => Place::Line,
            Some(Cover::Form(form)) if form.files.is_some() => Place::Files,
            Some(Cover::Form(form)) if form.plan.is_some() => Place::Page,
            Some(Cover::Form(_)) => Place::Form,
        }
    }

    /// The search of the list that has the keyboard.
    pub fn filter(&mut self) -> &mut Filter {
        if self.view == View::Batch { &mut self.job_filter } else { &mut self.batch_filter }
    }

    /// A time as people here write it: the hour today, the day before.
    pub fn clock(&self, time: WallMs) -> String {
        let zoned = |ms: WallMs| {
            let stamp = Timestamp::from_millisecond(i64::try_from(ms.0).unwrap_or(i64::MAX));
            stamp.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone())
        };
        let (then, now) = (zoned(time), zoned(self.wall));
        if then.date() == now.date() {
            then.strftime("%H:%M:%S").to_string()
        } else {
            then.strftime("%m-%d %H:%M").to_string()
        }
    }

    /// The last midnights, today's first, with their dates.
    pub fn days(&self) -> Vec<(WallMs, String)> {
        let now = Timestamp::from_millisecond(i64::try_from(self.wall.0).unwrap_or(i64::MAX));
        let today = now.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone()).date();
        let day = |back: i64| {
            let date = today.checked_sub(jiff::Span::new().days(back)).ok()?;
            let begins = date.to_zoned(self.zone.clone()).ok()?.timestamp().as_millisecond();
            Some((WallMs(u64::try_from(begins).unwrap_or(0)), date.to_string()))
        };
        (0..DAYS).filter_map(day).collect()
    }

    /// Where the view's own content is drawn.
    pub fn body(&self) -> Rect {
        crate::view::body(Rect::new(0, 0, self.size.0, self.size.1), self)
    }

    /// For how many seconds what was read has not been read anew.
    pub fn age<T>(&self, read: &Read<T>) -> Option<u64> {
        Some(self.now?.saturating_duration_since(read.at?).as_secs())
    }

    #[cfg(test)]
    pub fn heard_for_tests(&self) -> Instant {
        self.heard_at.unwrap_or_else(Instant::now)
    }

    fn heard(&mut self, at: Option<Instant>) {
        self.heard_at = at;
        self.silent_for = 0;
        if self.link == Link::Silent {
            self.link = Link::Live;
        }
    }

    fn tick(&mut self, at: Instant, wall: WallMs) {
        self.now = Some(at);
        if !self.is_stale() {
            // Nobody knows what still goes on behind what is stale.
            self.wall = wall;
        }
        let silence = at.saturating_duration_since(*self.heard_at.get_or_insert(at));
        if silence > SILENCE && self.link == Link::Live {
            self.link = Link::Silent;
            self.changed = true;
        }
        if self.is_stale() && silence.as_secs() != self.silent_for {
            self.silent_for = silence.as_secs();
            self.changed = true;
        }
        let read = |said: Instant| at.saturating_duration_since(said) >= READ;
        if self.status.is_some() && self.said_at.is_some_and(read) && !self.is_stale() {
            self.status = None;
            self.changed = true;
        }
        if !self.is_stale() {
            self.read(at);
        }
        self.want_pictures();
    }

    /// Asks for what the view shows and no watch tells.
    fn read(&mut self, now: Instant) {
        let ask = |errands: &mut Vec<Errand>, request| errands.push(Errand::Ask(request));
        match self.view {
            View::Overview | View::Workers => {
                if self.workers.is_due(now, EVERY, 1) {
                    ask(&mut self.errands, Request::Workers);
                }
                let running = |batch: &&BatchView| batch.counts.running + batch.counts.retrying > 0;
                let running: Vec<BatchId> =
                    self.snapshot.batches.values().filter(running).map(|batch| batch.id).take(RUNNING_MAX).collect();
                self.at_work.value.retain(|batch, _| running.contains(batch));
                if self.at_work.is_due(now, EVERY, running.len()) {
                    for batch in running {
                        let states = vec![JobState::Running, JobState::Retrying];
                        ask(&mut self.errands, Request::Jobs { batch, states, from: 1, limit: AT_WORK_MAX });
                    }
                }
            }
            View::Failures => {
                if self.failures.is_due(now, 3 * EVERY, 1) {
                    ask(&mut self.errands, Request::Failures { limit: FAILURES_MAX });
                }
            }
            View::Results => {
                let Some((batch, gathers)) = self.chosen_batch().map(|batch| (batch.id, batch.gather.is_some())) else {
                    return;
                };
                if self.results_of != Some(batch) {
                    self.results_of = Some(batch);
                    self.results = Read::default();
                }
                if self.results.is_due(now, 3 * EVERY, 1 + usize::from(gathers)) {
                    let states = vec![JobState::Completed];
                    ask(&mut self.errands, Request::Jobs { batch, states, from: 1, limit: RESULTS_MAX });
                    if gathers {
                        ask(&mut self.errands, Request::Job(JobId::gather(batch)));
                    }
                }
            }
            View::History => {
                let days = self.days();
                if self.history.is_due(now, 60 * EVERY, days.len()) {
                    for (since, _) in days {
                        ask(&mut self.errands, Request::Stats { since });
                    }
                }
            }
            View::Batches | View::Batch => {}
        }
    }

    /// Pictures that are in sight and not here yet.
    fn want_pictures(&mut self) {
        if self.view != View::Results || self.size.0 == 0 {
            return;
        }
        let body = self.body();
        let keys: Vec<PictureKey> = match &self.cover {
            Some(Cover::Zoom { .. }) => self.zoomed(body).into_iter().collect(),
            None => {
                let area = crate::view::grid_area(body);
                let grid = Grid::of(area);
                let (width, height) = grid.picture();
                let shown = self.results.value.shown();
                let first = grid.first(self.results.value.at);
                let seen = shown.into_iter().skip(first).take(grid.columns * grid.rows);
                seen.filter(|item| item.look == results::Look::Picture)
                    .map(|item| PictureKey { path: item.path.clone(), width, height })
                    .collect()
            }
            Some(_) => Vec::new(),
        };
        while let Some(key) = self.results.value.album.want(keys.iter().cloned()) {
            self.errands.push(Errand::Picture(key));
        }
    }

    /// The chosen picture as large as there is room.
    pub fn zoomed(&self, body: Rect) -> Option<PictureKey> {
        let item = self.results.value.chosen().filter(|item| item.look == results::Look::Picture)?;
        let (width, height) = (body.width.saturating_sub(4), body.height.saturating_sub(3));
        (width > 0 && height > 0).then(|| PictureKey { path: item.path.clone(), width, height })
    }

    fn event(&mut self, event: &Event) {
        let before = self.chosen_batch().map(|batch| batch.state);
        self.snapshot.apply(event);
        match &event.fact {
            Fact::Batch(batch) => {
                if Some(batch.id) == self.batch && before != Some(batch.state) {
                    // Of many jobs that change at once not every one is told.
                    self.outdated |= batch.counts.total() > JOBS_WINDOW;
                }
                if batch.state.is_terminal() {
                    self.forget_batches();
                }
            }
            Fact::Alert(text) => self.say(escaped(text), true),
            _ => {}
        }
    }

    fn forget_batches(&mut self) {
        let ended = self.snapshot.batches.values().filter(|batch| batch.state.is_terminal());
        let mut ended: Vec<_> = ended.map(|batch| (batch.finished_at, batch.id)).collect();
        ended.sort_unstable_by_key(|ended| Reverse(*ended));
        for (_, id) in ended.into_iter().skip(ENDED_MAX).filter(|(_, id)| Some(*id) != self.batch) {
            self.snapshot.batches.remove(&id);
        }
    }

    fn hear(&mut self, news: News) {
        match news {
            News::Snapshot(snapshot) => {
                self.window = *snapshot;
                self.arrived = true;
                if let (Some(batch), Some(index)) = (self.batch, self.landing.take()) {
                    self.job = Some(JobId { batch, index });
                }
            }
            News::Jobs(jobs) => self.window.jobs.extend(jobs.into_iter().map(|job| (job.id, job))),
            News::Event(event) => {
                self.window.apply(&event);
                if let Fact::Job(job) = &event.fact {
                    self.forget_job(job);
                }
            }
            News::Refused(why) => self.say(format!("its jobs can't be shown: {}", escaped(&why)), true),
        }
    }

    fn is_inside(&self, index: u32) -> bool {
        index.checked_sub(self.from).is_some_and(|at| at < JOBS_WINDOW)
    }

    /// Beside the window only what is at work or has failed is shown.
    fn forget_job(&mut self, job: &JobView) {
        let stays = matches!(job.state, JobState::Running | JobState::Retrying | JobState::Failed);
        if !stays && !self.is_inside(job.id.index) {
            self.window.jobs.remove(&job.id);
        }
        if self.window.jobs.len() > JOBS_WINDOW as usize + ELSEWHERE_MAX {
            let mut jobs = std::mem::take(&mut self.window.jobs);
            let mut surplus = ELSEWHERE_MAX / 2;
            jobs.retain(|id, job| {
                let goes = surplus > 0 && job.state != JobState::Running && !self.is_inside(id.index);
                surplus -= usize::from(goes);
                !goes
            });
            self.window.jobs = jobs;
        }
    }

    fn answered(&mut self, request: &Request, result: Result<Vec<Response>, String>) {
        let now = self.now;
        match request {
            Request::Workers => {
                self.workers.told(now);
                let Ok(responses) = result else { return };
                let told = responses.into_iter().filter_map(|response| match response {
                    Response::Workers(workers) => Some(workers),
                    _ => None,
                });
                self.workers.value = told.flatten().collect();
            }
            Request::Jobs { batch, states, .. } if states.contains(&JobState::Running) => {
                self.at_work.told(now);
                self.at_work.value.insert(*batch, jobs_of(result));
            }
            Request::Jobs { batch, .. } => self.made(*batch, jobs_of(result), false),
            Request::Job(id) => self.made(id.batch, jobs_of(result), true),
            Request::Failures { .. } => {
                self.failures.told(now);
                if result.is_ok() {
                    self.failed(jobs_of(result));
                }
            }
            Request::Stats { since } => {
                self.history.told(now);
                let told = result.ok().into_iter().flatten().find_map(|response| match response {
                    Response::Stats(stats) => Some(*stats),
                    _ => None,
                });
                self.history.value.extend(told.map(|stats| (*since, stats)));
                let days = self.days();
                self.history.value.retain(|known, _| days.iter().any(|(day, _)| day == known));
            }
            Request::Explain(target) => {
                self.under_way = self.under_way.saturating_sub(1);
                match result {
                    Ok(responses) => self.explained(*target, responses),
                    Err(why) => self.say(escaped(&why), true),
                }
            }
            _ => self.acted(request, result),
        }
    }

    fn acted(&mut self, request: &Request, result: Result<Vec<Response>, String>) {
        self.under_way = self.under_way.saturating_sub(1);
        match result {
            Ok(responses) => {
                let acted: Vec<Acted> = responses
                    .into_iter()
                    .filter_map(|response| match response {
                        Response::Acted(acted) => Some(acted),
                        _ => None,
                    })
                    .flatten()
                    .collect();
                self.say(told(request, &acted, self.look), false);
                // Of many jobs changed at once not every one is told.
                self.outdated |= self.chosen_batch().is_some_and(|batch| batch.counts.total() > JOBS_WINDOW);
                self.failures.stale();
            }
            Err(why) => self.say(escaped(&why), true),
        }
    }

    /// Jobs that have completed; or the one that gathers.
    fn made(&mut self, batch: BatchId, jobs: Vec<JobView>, gather: bool) {
        if self.results_of != Some(batch) {
            return;
        }
        self.results.told(self.now);
        let Results { items, at, .. } = &mut self.results.value;
        let chosen = items.get(*at).map(|item| item.path.clone());
        items.retain(|item| item.job.is_gather() != gather);
        items.extend(results::items(&jobs));
        // What was gathered comes first: it is what the batch was for.
        items.sort_by_key(|item| item.job);
        if let Some(found) = items.iter().position(|item| Some(&item.path) == chosen.as_ref()) {
            *at = found;
        }
        self.bound_result();
    }

    fn bound_result(&mut self) {
        let last = self.results.value.shown().len().saturating_sub(1);
        self.results.value.at = self.results.value.at.min(last);
    }

    fn failed(&mut self, jobs: Vec<JobView>) {
        let open: Vec<_> = self
            .failures
            .value
            .iter()
            .filter(|cause| cause.open)
            .map(|cause| (cause.kind, cause.shape.clone()))
            .collect();
        let mut causes = causes::grouped(jobs);
        for cause in &mut causes {
            cause.open = open.iter().any(|(kind, shape)| *kind == cause.kind && *shape == cause.shape);
        }
        self.failures.value = causes;
    }

    fn explained(&mut self, target: Target, responses: Vec<Response>) {
        let explained: Vec<Explanation> = responses
            .into_iter()
            .filter_map(|response| match response {
                Response::Explained(explained) => Some(explained),
                _ => None,
            })
            .flatten()
            .collect();
        let mut text = String::new();
        for Explanation { target, state, why, advice } in explained {
            let state = self.look.word(&state);
            text.push_str(&self.look.fill("{} is {}: {}", &[&target, &state, &escaped(&why)]));
            text.push('\n');
            if let Some(advice) = advice {
                text.push_str(&format!("→ {}\n", escaped(&advice)));
            }
            text.push('\n');
        }
        let title = self.look.fill("why {} is as it is", &[&target]);
        self.status = None;
        self.cover = Some(Cover::Page { title, text, scroll: 0 });
    }

    fn submitted(&mut self, submitted: Result<Box<Submitted>, String>) {
        match submitted {
            Ok(submitted) => {
                let Submitted { batch, repeated, .. } = *submitted;
                let (total, skipped) = (batch.counts.total(), batch.counts.skipped);
                self.say(self.look.fill("batch {}: {} inputs, {} skipped", &[&batch.id, &total, &skipped]), false);
                if !repeated {
                    self.snapshot.batches.entry(batch.id).or_insert_with(|| batch.clone());
                }
                if matches!(&self.cover, Some(Cover::Form(form)) if form.sent) {
                    self.cover = None;
                    self.moved = true;
                    self.batch_filter.clear();
                    self.go_to(Some(batch.id));
                    self.go(View::Batch);
                }
            }
            Err(why) => {
                if let Some(Cover::Form(form)) = &mut self.cover {
                    form.sent = false;
                }
                self.say(escaped(&why), true);
            }
        }
    }

    fn say(&mut self, text: String, bad: bool) {
        self.status = Some(Status { text, bad });
        self.said_at = self.now;
    }

    /// Something is chosen where there is something to choose.
    fn choose(&mut self) {
        let words = self.batch_filter.words();
        let stays =
            |batch: &BatchView| words.fit(|| texts_of_batch(batch)) && (self.moved || !batch.state.is_terminal());
        if !self.chosen_batch().is_some_and(stays) {
            // Nobody is there yet, or what was shown has ended unlooked at.
            self.go_to(self.batches().first().map(|batch| batch.id));
        }
        // Until somebody goes to the jobs none is chosen: what is at work stays in sight.
        let words = self.job_filter.words();
        if self.view != View::Batch {
            self.job = None;
        } else if self.landing.is_none() && !self.chosen_job().is_some_and(|job| words.fit(|| texts_of_job(job))) {
            self.job = self.jobs().first().map(|job| job.id);
        }
    }

    fn go_to(&mut self, batch: Option<BatchId>) {
        if batch == self.batch {
            return;
        }
        (self.batch, self.job) = (batch, None);
        self.marked_jobs.clear();
        (self.window, self.asked) = (Snapshot::default(), None);
        (self.arrived, self.landing, self.searching) = (false, None, false);
        self.from = self.front();
    }

    /// Where the window begins that has in it what comes next, if the jobs go in input order.
    fn front(&self) -> u32 {
        let Some(counts) = self.chosen_batch().map(|batch| batch.counts) else { return 1 };
        let last = counts.total().saturating_sub(JOBS_WINDOW - 1).max(1);
        if counts.all_ended() { 1 } else { counts.ended().saturating_sub(JOBS_WINDOW / 4).clamp(1, last) }
    }

    fn wanted_window(&mut self) -> Option<Request> {
        let batch = self.batch?;
        let ahead = self.front();
        if self.job.is_none() && self.landing.is_none() && ahead >= self.from.saturating_add(JOBS_WINDOW / 2) {
            // Nobody looks at a job of it: the window goes with the work.
            self.from = ahead;
        }
        let scope = Scope::Window { batch, from: self.from, len: JOBS_WINDOW };
        if matches!(self.link, Link::Connecting | Link::Lost(_))
            || (self.asked.as_ref() == Some(&scope) && !self.outdated)
        {
            return None;
        }
        self.outdated = false;
        self.asked = Some(scope.clone());
        Some(Request::Watch { scope, jobs: 0 })
    }

    fn mouse(&mut self, mouse: MouseEvent) -> Option<Request> {
        let at = Position::new(mouse.column, mouse.row);
        match mouse.kind {
            MouseEventKind::ScrollDown => self.roll(Action::Down),
            MouseEventKind::ScrollUp => self.roll(Action::Up),
            MouseEventKind::Down(MouseButton::Left) => {
                let hit = self.hits.iter().rev().find(|(area, _)| area.contains(at)).map(|(_, hit)| *hit)?;
                self.changed = true;
                match hit {
                    Hit::Go(view) => self.do_it(Action::Go(view)),
                    Hit::Act(action) => self.do_it(action),
                    Hit::Row(row) => self.pick(row),
                }
            }
            _ => None,
        }
    }

    /// The wheel does what the arrow keys do, where they do something.
    fn roll(&mut self, action: Action) -> Option<Request> {
        let code = if action == Action::Down { crossterm::event::KeyCode::Down } else { crossterm::event::KeyCode::Up };
        let bound = keys::meaning(self.place(), KeyEvent::from(code)) == Some(action);
        self.changed |= bound;
        if bound { self.do_it(action) } else { None }
    }

    /// A click chooses a row; a click on the chosen one opens it.
    fn pick(&mut self, row: usize) -> Option<Request> {
        match &mut self.cover {
            Some(Cover::Form(form)) => match &mut form.files {
                Some(files) if files.at == row => return self.do_it(Action::Open),
                Some(files) => files.at = row,
                None if form.at == row => return self.do_it(Action::Change),
                None => form.at = row,
            },
            Some(_) => {}
            None => {
                let before = (self.batch, self.job, self.rows, self.results.value.at, self.moved);
                self.moved = true;
                self.step(|_, last| row.min(last));
                let same = (self.batch, self.job, self.rows, self.results.value.at)
                    == (before.0, before.1, before.2, before.3);
                let opens = matches!(self.view, View::Batches | View::Batch | View::Failures | View::Results);
                if same && opens && before.4 {
                    return self.do_it(Action::Open);
                }
            }
        }
        None
    }

    /// Does what was wanted, where it is wanted.
    fn do_it(&mut self, action: Action) -> Option<Request> {
        if action == Action::Quit {
            self.ending = Some(Ok(()));
            return None;
        }
        match self.cover.take() {
            None => self.act(action),
            Some(Cover::Question { request, yes }) => match action {
                Action::Toggle => {
                    self.cover = Some(Cover::Question { request, yes: !yes });
                    None
                }
                Action::Yes => self.start(request),
                Action::Answer if yes => self.start(request),
                _ => {
                    self.say(self.look.fill("{}: left as it is", &[&named(&request, self.look)]), false);
                    None
                }
            },
            Some(Cover::Archive { batch, mut path }) => {
                match action {
                    Action::Type(letter) => path.push(letter),
                    Action::Erase => drop(path.pop()),
                    Action::Keep if !path.is_empty() => {
                        self.say(self.look.fill("exporting batch {} …", &[&batch]), false);
                        let line = [
                            "spindlectl".to_owned(),
                            "export".to_owned(),
                            batch.to_string(),
                            format!("--output={path}"),
                        ];
                        let socket = self.socket.iter().map(|socket| {
                            let mut option = std::ffi::OsString::from("--socket=");
                            option.push(socket);
                            option
                        });
                        let line = line.into_iter().map(Into::into).chain(socket).collect();
                        self.errands.push(Errand::Export(line));
                        return None;
                    }
                    _ => return None,
                }
                self.cover = Some(Cover::Archive { batch, path });
                None
            }
            Some(Cover::Form(form)) => {
                self.fill_in(form, action);
                None
            }
            Some(Cover::Zoom { .. }) if matches!(action, Action::Left | Action::Right) => {
                self.act(action);
                self.cover = Some(Cover::Zoom { scroll: 0 });
                self.want_text();
                self.want_pictures();
                None
            }
            Some(mut page) => {
                if let Cover::Help { scroll }
                | Cover::Job { scroll, .. }
                | Cover::Page { scroll, .. }
                | Cover::Zoom { scroll } = &mut page
                {
                    *scroll = scrolled(*scroll, action);
                }
                self.cover = (action != Action::Close).then_some(page);
                None
            }
        }
    }

    /// The form of a new batch, and what lies over it.
    fn fill_in(&mut self, mut form: Box<Form>, action: Action) {
        if let Some(line) = &mut form.line {
            match action {
                Action::Type(letter) => line.push(letter),
                Action::Erase => drop(line.pop()),
                Action::Keep => form.keep(),
                _ => form.line = None,
            }
        } else if let Some(files) = &mut form.files {
            let last = files.entries().len().saturating_sub(1);
            match action {
                Action::Open => {
                    let folder = files.entries().get(files.at).is_some_and(|entry| entry.folder);
                    match files.path(files.at) {
                        Some(path) if folder => self.show_files(&mut form, path),
                        Some(path) => {
                            files.marked.insert(path);
                            form.inputs = files.marked.iter().cloned().collect();
                            form.files = None;
                        }
                        None => {}
                    }
                }
                Action::Mark => {
                    files.mark();
                    files.at = (files.at + 1).min(last);
                }
                Action::Take => {
                    if files.marked.is_empty() {
                        files.mark();
                    }
                    form.inputs = files.marked.iter().cloned().collect();
                    form.files = None;
                }
                Action::Left => {
                    if let Some(above) = files.folder.parent().map(std::path::Path::to_owned) {
                        self.show_files(&mut form, above);
                    }
                }
                Action::Close => form.files = None,
                other => files.at = moved(files.at, last, other),
            }
        } else if let Some(plan) = &mut form.plan {
            match action {
                Action::Close => form.plan = None,
                other => plan.scroll = usize::from(scrolled(u16::try_from(plan.scroll).unwrap_or(u16::MAX), other)),
            }
        } else {
            let last = form.fields.len().saturating_sub(1);
            match action {
                Action::Close => return,
                Action::Change => {
                    if let Some(folder) = form.change() {
                        self.errands.push(Errand::Files(folder));
                    }
                }
                Action::Preview | Action::Submit if form.inputs.is_empty() => {
                    self.say(self.look.t("no inputs are chosen: go to `inputs` and press Enter").to_owned(), true);
                }
                Action::Preview | Action::Submit if matches!(self.link, Link::Connecting | Link::Lost(_)) => {
                    self.say(self.look.t("not done: no daemon answers").to_owned(), true);
                }
                Action::Preview => {
                    form.plan = Some(Plan { jobs: None, scroll: 0 });
                    self.errands.push(Errand::Plan(form.command_line()));
                }
                Action::Submit if !form.sent => {
                    form.sent = true;
                    self.say(self.look.t("submitting …").to_owned(), false);
                    self.errands.push(Errand::Submit(form.command_line()));
                }
                other => form.at = moved(form.at, last, other),
            }
        }
        self.cover = Some(Cover::Form(form));
    }

    fn show_files(&mut self, form: &mut Form, folder: PathBuf) {
        if let Some(files) = &mut form.files {
            (files.folder, files.entries, files.at) = (folder.clone(), None, 0);
        }
        self.errands.push(Errand::Files(folder));
    }

    fn go(&mut self, view: View) {
        let here = self.view == View::Batch || self.view == View::Results;
        self.view = view;
        self.finding = false;
        if view == View::Results && !here && !self.chosen_batch().is_some_and(has_results) {
            // What has something to show is shown.
            let first = self.batches().into_iter().find(|batch| has_results(batch)).map(|batch| batch.id);
            self.go_to(first.or(self.batch));
        }
        // What a view shows is asked for as soon as it is there.
        if let Some(now) = self.now.filter(|_| !self.is_stale()) {
            self.read(now);
        }
        self.want_pictures();
    }

    fn act(&mut self, action: Action) -> Option<Request> {
        self.moved |= !matches!(action, Action::Help | Action::PauseOrResumeHouse | Action::Theme | Action::Language);
        match action {
            Action::Down if self.view == View::Results => self.step_rows(1),
            Action::Up if self.view == View::Results => self.step_rows(-1),
            Action::Left if self.view == View::Results => self.step(|at, _| at.saturating_sub(1)),
            Action::Right if self.view == View::Results => self.step(|at, last| (at + 1).min(last)),
            Action::Down => self.step(|at, last| (at + 1).min(last)),
            Action::Up => self.step(|at, _| at.saturating_sub(1)),
            Action::PageDown => self.step(|at, last| (at + PAGE).min(last)),
            Action::PageUp => self.step(|at, _| at.saturating_sub(PAGE)),
            Action::First => self.step(|_, _| 0),
            Action::Last => self.step(|_, last| last),
            Action::Go(view) => self.go(view),
            Action::NextView => self.go(self.view.step(1)),
            Action::LastView => self.go(self.view.step(View::ALL.len() - 1)),
            Action::Open => self.open(),
            Action::Results => self.go(View::Results),
            Action::NextBatch | Action::LastBatch => self.other_batch(action == Action::NextBatch),
            Action::Quality => {
                self.results.value.quality = (self.results.value.quality + 1) % QUALITIES.len();
                self.bound_result();
                self.want_pictures();
            }
            Action::Theme => {
                self.look.theme = self.look.theme.next();
                self.say(self.look.fill("colours: {}", &[&self.look.t(self.look.theme.name())]), false);
            }
            Action::Language => {
                self.look.language = match self.look.language {
                    Language::English if !self.look.ascii => Language::Chinese,
                    _ => Language::English,
                };
            }
            Action::Sort => {
                let at = Sort::ORDER.iter().position(|sort| *sort == self.sort).unwrap_or(0);
                self.sort = Sort::ORDER[(at + 1) % Sort::ORDER.len()];
                self.say(self.look.fill("sorted {}", &[&self.look.t(self.sort.name())]), false);
            }
            Action::Mark => self.mark(),
            Action::New => self.cover = Some(Cover::Form(Box::new(Form::new()))),
            Action::Help => self.cover = Some(Cover::Help { scroll: 0 }),
            Action::Find => self.finding = true,
            Action::Type(letter) => self.filter().push(letter),
            Action::Erase => self.filter().pop(),
            Action::Keep => {
                self.finding = false;
                if self.view == View::Batch && self.jobs().is_empty() && !self.job_filter.is_empty() {
                    // Not here: then from the first window on.
                    self.searching = true;
                    self.arrived &= self.from == 1;
                    self.from = 1;
                }
            }
            Action::ShowAll => self.back(),
            Action::Cancel => {
                let what = Selection::Targets(self.targets()?);
                self.cover = Some(Cover::Question { request: Request::Cancel(what), yes: false });
            }
            Action::Remove => {
                let what = Selection::Targets(self.targets()?);
                self.cover = Some(Cover::Question { request: Request::Remove { what, purge: false }, yes: false });
            }
            Action::Retry | Action::RetryAll if self.view == View::Failures => {
                let jobs = self.failed_jobs(action == Action::RetryAll)?;
                return self.start(Request::Retry(Selection::Targets(jobs)));
            }
            Action::Retry | Action::RetryAll => {
                let what = Selection::Targets(self.targets()?);
                return self.start(Request::Retry(what));
            }
            Action::PauseOrResume => {
                let (what, batches) = self.whole_batches()?;
                let paused = batches.iter().all(|batch| batch.state == BatchState::Paused);
                return self.start(pause_or_resume(what, paused));
            }
            Action::PauseOrResumeHouse => return self.start(pause_or_resume(Selection::House, self.snapshot.paused)),
            Action::Sooner | Action::Later => return self.prioritize(action == Action::Sooner),
            Action::Explain => {
                let target = match self.view {
                    View::Failures => Target::Job(self.failed_job()?.id),
                    _ => *self.targets()?.first()?,
                };
                return self.start(Request::Explain(target));
            }
            Action::Export => {
                let batch = self.whole_batches()?.1.first().map(|batch| (batch.id, batch.state.is_terminal()));
                let (batch, ended) = batch?;
                if !ended {
                    self.say(self.look.fill("batch {} has not ended yet", &[&batch]), true);
                    return None;
                }
                self.cover = Some(Cover::Archive { batch, path: format!("batch-{batch}.zip") });
            }
            Action::Copy => self.copy(),
            Action::Save => {
                if self.failures.value.is_empty() {
                    self.say(self.look.t("no failures").to_owned(), false);
                    return None;
                }
                let report = causes::report(&self.failures.value, &self.build);
                let stamp = Timestamp::from_millisecond(i64::try_from(self.wall.0).unwrap_or(i64::MAX));
                let stamp = stamp.unwrap_or(Timestamp::UNIX_EPOCH).to_zoned(self.zone.clone());
                let name = format!("spindle-failures-{}.txt", stamp.strftime("%Y%m%d-%H%M%S"));
                let path = std::path::absolute(&name).unwrap_or_else(|_| name.into());
                self.errands.push(Errand::Save(path, report));
            }
            Action::Left | Action::Right => {}
            Action::Quit
            | Action::Close
            | Action::Yes
            | Action::No
            | Action::Toggle
            | Action::Answer
            | Action::Change
            | Action::Preview
            | Action::Submit
            | Action::Take => {}
        }
        None
    }

    fn open(&mut self) {
        match self.view {
            View::Batches => self.go(View::Batch),
            View::Batch => match self.chosen_job().cloned() {
                Some(job) => self.cover = Some(Cover::Job { job: Box::new(job), scroll: 0 }),
                None => self.say(self.look.t("no job is chosen").to_owned(), true),
            },
            View::Failures => match self.failure_row() {
                Some(Row::Cause(at)) => self.failures.value[at].open ^= true,
                Some(Row::Job(cause, job)) => {
                    let job = Box::new(self.failures.value[cause].jobs[job].clone());
                    self.cover = Some(Cover::Job { job, scroll: 0 });
                }
                None => {}
            },
            View::Results if self.results.value.chosen().is_some() => {
                self.cover = Some(Cover::Zoom { scroll: 0 });
                self.want_text();
                self.want_pictures();
            }
            View::Results | View::Overview | View::Workers | View::History => {}
        }
    }

    fn want_text(&mut self) {
        let Results { text, .. } = &self.results.value;
        let wanted = self.results.value.chosen().filter(|item| item.look == results::Look::Text);
        if let Some(item) = wanted.filter(|item| text.as_ref().is_none_or(|(path, _)| *path != item.path)) {
            self.errands.push(Errand::Text(item.path.clone()));
        }
    }

    /// One thing after another: the search, the marks, the way back.
    fn back(&mut self) {
        if self.finding || self.searching || !self.filter().is_empty() {
            (self.finding, self.searching) = (false, false);
            self.filter().clear();
        } else if self.view == View::Batches && !self.marked_batches.is_empty() {
            self.marked_batches.clear();
        } else if self.view == View::Batch && !self.marked_jobs.is_empty() {
            self.marked_jobs.clear();
        } else if self.view == View::Results && !self.results.value.marked.is_empty() {
            self.results.value.marked.clear();
        } else {
            match self.view {
                View::Batch => self.go(View::Batches),
                View::Results => self.go(View::Batch),
                _ => {}
            }
        }
    }

    fn mark(&mut self) {
        match self.view {
            View::Batches => {
                if let Some(batch) = self.batch
                    && !self.marked_batches.remove(&batch)
                {
                    self.marked_batches.insert(batch);
                }
                self.step(|at, last| (at + 1).min(last));
            }
            View::Batch => {
                if let Some(job) = self.job
                    && !self.marked_jobs.remove(&job)
                {
                    self.marked_jobs.insert(job);
                }
                self.step(|at, last| (at + 1).min(last));
            }
            View::Results => {
                let path = self.results.value.chosen().map(|item| item.path.clone());
                if let Some(path) = path
                    && !self.results.value.marked.remove(&path)
                {
                    self.results.value.marked.insert(path);
                }
                self.step(|at, last| (at + 1).min(last));
            }
            View::Overview | View::Failures | View::Workers | View::History => {}
        }
    }

    /// The results of another batch that has some.
    fn other_batch(&mut self, on: bool) {
        let ids: Vec<BatchId> =
            self.batches().into_iter().filter(|batch| has_results(batch)).map(|batch| batch.id).collect();
        let at = ids.iter().position(|id| Some(*id) == self.batch);
        let next = match (at, on) {
            (None, _) => ids.first(),
            (Some(at), true) => ids.get(at + 1),
            (Some(at), false) => at.checked_sub(1).and_then(|at| ids.get(at)),
        };
        if let Some(next) = next.copied() {
            self.go_to(Some(next));
            self.go(View::Results);
        }
    }

    fn copy(&mut self) {
        let text = match self.view {
            View::Failures if !self.failures.value.is_empty() => causes::report(&self.failures.value, &self.build),
            View::Results => {
                let Results { marked, .. } = &self.results.value;
                let chosen = self.results.value.chosen().map(|item| item.path.to_string());
                match marked.is_empty() {
                    true => chosen.unwrap_or_default(),
                    false => marked.iter().map(PathBytes::to_string).collect::<Vec<_>>().join("\n"),
                }
            }
            _ => String::new(),
        };
        if text.is_empty() {
            self.say(self.look.t("there is nothing to copy").to_owned(), false);
        } else if text.len() > COPY_BYTES_MAX {
            self.say(self.look.t("too much for a clipboard: w writes it into a file").to_owned(), true);
        } else {
            self.say(self.look.fill("copied: {} lines", &[&text.lines().count()]), false);
            self.errands.push(Errand::Copy(text));
        }
    }

    pub fn failure_row(&self) -> Option<Row> {
        let rows = causes::rows(&self.failures.value);
        let at = self.rows[View::Failures as usize].min(rows.len().saturating_sub(1));
        rows.get(at).copied()
    }

    /// The job of the row, or the first of its cause.
    fn failed_job(&mut self) -> Option<&JobView> {
        match self.failure_row() {
            Some(Row::Cause(cause)) => self.failures.value[cause].jobs.first(),
            Some(Row::Job(cause, job)) => self.failures.value[cause].jobs.get(job),
            None => {
                self.say(self.look.t("no failures").to_owned(), false);
                None
            }
        }
    }

    fn failed_jobs(&mut self, all: bool) -> Option<Vec<Target>> {
        let causes = &self.failures.value;
        let jobs: Vec<&JobView> = match self.failure_row() {
            _ if all => causes.iter().flat_map(|cause| &cause.jobs).collect(),
            Some(Row::Cause(cause)) => causes[cause].jobs.iter().collect(),
            Some(Row::Job(cause, job)) => causes[cause].jobs.get(job).into_iter().collect(),
            None => Vec::new(),
        };
        let targets: Vec<Target> = jobs.iter().map(|job| Target::Job(job.id)).collect();
        if targets.is_empty() {
            self.say(self.look.t("no failures").to_owned(), false);
        }
        (!targets.is_empty()).then_some(targets)
    }

    /// What actions are about: what is marked, else what is chosen.
    fn targets(&mut self) -> Option<Vec<Target>> {
        let targets: Vec<Target> = match self.view {
            View::Batches if !self.marked_batches.is_empty() => {
                self.marked_batches.iter().copied().map(Target::Batch).collect()
            }
            View::Batch if !self.marked_jobs.is_empty() => self.marked_jobs.iter().copied().map(Target::Job).collect(),
            View::Batch => self.job.map(Target::Job).into_iter().collect(),
            _ => self.batch.map(Target::Batch).into_iter().collect(),
        };
        if targets.is_empty() {
            self.say(self.look.t("nothing is chosen").to_owned(), true);
        }
        (!targets.is_empty()).then_some(targets)
    }

    fn whole_batches(&mut self) -> Option<(Selection, Vec<&BatchView>)> {
        let ids: Vec<BatchId> = match self.view {
            View::Batches if !self.marked_batches.is_empty() => self.marked_batches.iter().copied().collect(),
            _ => self.batch.into_iter().collect(),
        };
        let batches: Vec<BatchId> = ids.into_iter().filter(|id| self.snapshot.batches.contains_key(id)).collect();
        if batches.is_empty() {
            self.say(self.look.t("no batch is chosen").to_owned(), true);
            return None;
        }
        let what = Selection::Targets(batches.iter().copied().map(Target::Batch).collect());
        Some((what, batches.iter().filter_map(|id| self.snapshot.batches.get(id)).collect()))
    }

    fn prioritize(&mut self, sooner: bool) -> Option<Request> {
        let (what, batches) = self.whole_batches()?;
        let first = batches.first()?;
        let (id, now) = (first.id, first.priority);
        let words = Priority::WORDS;
        let next = match sooner {
            true => words.iter().rev().find(|(_, priority)| *priority < now),
            false => words.iter().find(|(_, priority)| *priority > now),
        };
        let Some((_, priority)) = next else {
            self.say(self.look.fill("{}: its priority is {} already", &[&id, &now]), false);
            return None;
        };
        self.start(Request::Prioritize { what, priority: *priority })
    }

    fn start(&mut self, request: Request) -> Option<Request> {
        if matches!(self.link, Link::Connecting | Link::Lost(_)) {
            self.say(self.look.t("not done: no daemon answers").to_owned(), true);
            return None;
        }
        if self.under_way >= ACTIONS_MAX {
            self.say(self.look.t("not done: earlier actions are still under way").to_owned(), true);
            return None;
        }
        self.under_way += 1;
        self.say(format!("{} …", named(&request, self.look)), false);
        Some(request)
    }

    /// In the grid of results one row is many items.
    fn step_rows(&mut self, by: isize) {
        let columns = Grid::of(crate::view::grid_area(self.body())).columns;
        self.step(move |at, last| {
            if by > 0 && at + columns <= last {
                at + columns
            } else if by < 0 && at >= columns {
                at - columns
            } else {
                at
            }
        });
    }

    fn step(&mut self, to: impl Fn(usize, usize) -> usize) {
        match self.view {
            View::Batches => {
                let ids: Vec<_> = self.batches().iter().map(|batch| batch.id).collect();
                let at = ids.iter().position(|id| Some(*id) == self.batch).unwrap_or(0);
                self.go_to(ids.get(to(at, ids.len().saturating_sub(1))).copied());
            }
            View::Batch => {
                let ids: Vec<_> = self.jobs().iter().map(|job| job.id).collect();
                let at = ids.iter().position(|id| Some(*id) == self.job).unwrap_or(0);
                let next = to(at, ids.len().saturating_sub(1));
                self.job = ids.get(next).copied();
                if next == at && self.landing.is_none() {
                    let on = to(1, 2) > 1;
                    self.searching = self.move_window(on) && on && !self.job_filter.is_empty();
                }
            }
            View::Results => {
                let last = self.results.value.shown().len().saturating_sub(1);
                self.results.value.at = to(self.results.value.at.min(last), last).min(last);
                self.want_pictures();
            }
            view => {
                let last = self.row_count(view).saturating_sub(1);
                let row = &mut self.rows[view as usize];
                *row = to((*row).min(last), last);
            }
        }
    }

    fn row_count(&self, view: View) -> usize {
        match view {
            View::Failures => causes::rows(&self.failures.value).len(),
            View::Workers => self.workers.value.len(),
            View::Overview => self.at_work.value.values().map(Vec::len).sum(),
            View::History => crate::view::history_rows(self),
            View::Batches | View::Batch | View::Results => 0,
        }
    }

    /// Beyond the last row the next window begins, and beyond the first the one before. `false` = there is none.
    fn move_window(&mut self, on: bool) -> bool {
        let Some(total) = self.chosen_batch().map(|batch| batch.counts.total()) else { return false };
        let last = total.saturating_sub(JOBS_WINDOW - 1).max(1);
        let from = if on { self.from.saturating_add(JOBS_WINDOW) } else { self.from.saturating_sub(JOBS_WINDOW) };
        let from = from.clamp(1, last);
        if from == self.from {
            return false;
        }
        self.landing = Some(if on { (self.from + JOBS_WINDOW).max(from) } else { self.from - 1 });
        self.from = from;
        self.arrived = false;
        true
    }

    /// What is looked for may stand in another window.
    fn search_on(&mut self) {
        let whole = self.arrived
            && self.window().is_none_or(|window| {
                let known = self.known_jobs().filter(|job| window.contains(&job.id.index)).count();
                known == window.count()
            });
        if !self.searching || !whole {
            return;
        }
        self.searching = self.jobs().is_empty() && self.move_window(true);
        if !self.searching && self.jobs().is_empty() {
            self.say(self.look.t("no job has these words").to_owned(), true);
        }
    }
}

/// No page has more lines.
const SCROLL_MAX: u16 = 10_000;

/// The order of a batch's jobs on the screen.
fn rank(state: JobState) -> u8 {
    match state {
        JobState::Running => 0,
        JobState::Retrying => 1,
        JobState::Failed => 2,
        JobState::Pending => 3,
        JobState::Completed | JobState::Skipped | JobState::Cancelled => 4,
    }
}

fn texts_of_batch(batch: &BatchView) -> Vec<Cow<'_, str>> {
    let tags = batch.tags.iter().map(|(key, value)| format!("{key}={value}").into());
    [batch.id.to_string().into(), batch.recipe.as_str().into(), batch.state.name().into()]
        .into_iter()
        .chain(batch.name.as_deref().map(Cow::from))
        .chain(tags)
        .collect()
}

fn texts_of_job(job: &JobView) -> Vec<Cow<'_, str>> {
    vec![job.id.to_string().into(), job.state.name().into(), file_name(job).into()]
}

/// The last part of the input's path: folders are alike, names differ.
pub fn file_name(job: &JobView) -> String {
    match &job.input {
        Some(Input::File { path, .. }) => match path.as_path().file_name() {
            Some(name) => PathBytes::from(name).to_string(),
            None => path.to_string(),
        },
        Some(Input::Url(url)) => PathBytes(url.file_name().into_bytes()).to_string(),
        Some(input) => input.to_string(),
        None => String::new(),
    }
}

fn jobs_of(result: Result<Vec<Response>, String>) -> Vec<JobView> {
    let told = result.unwrap_or_default().into_iter().filter_map(|response| match response {
        Response::Jobs(jobs) => Some(jobs),
        _ => None,
    });
    told.flatten().collect()
}

fn has_results(batch: &BatchView) -> bool {
    batch.counts.completed > 0 || batch.gather == Some(JobState::Completed)
}

fn pause_or_resume(what: Selection, paused: bool) -> Request {
    if paused { Request::Resume(what) } else { Request::Pause { what, now: false } }
}

fn scrolled(scroll: u16, action: Action) -> u16 {
    match action {
        Action::Down => scroll.saturating_add(1).min(SCROLL_MAX),
        Action::Up => scroll.saturating_sub(1),
        Action::PageDown => scroll.saturating_add(PAGE as u16).min(SCROLL_MAX),
        Action::PageUp => scroll.saturating_sub(PAGE as u16),
        Action::Last => SCROLL_MAX,
        _ => 0,
    }
}

fn moved(at: usize, last: usize, action: Action) -> usize {
    match action {
        Action::Down => (at + 1).min(last),
        Action::Up => at.saturating_sub(1),
        Action::PageDown => (at + PAGE).min(last),
        Action::PageUp => at.saturating_sub(PAGE),
        Action::First => 0,
        Action::Last => last,
        _ => at,
    }
}

/// What is under way, for people.
pub fn named(request: &Request, look: Look) -> String {
    let (verb, what) = match request {
        Request::Cancel(what) => ("cancelling", what),
        Request::Pause { what, .. } => ("pausing", what),
        Request::Resume(what) => ("resuming", what),
        Request::Retry(what) => ("retrying", what),
        Request::Remove { what, .. } => ("forgetting", what),
        Request::Prioritize { what, .. } => ("changing the priority of", what),
        _ => return look.t("asking").to_owned(),
    };
    let verb = look.word(verb);
    match what {
        Selection::Targets(targets) if targets.len() > NAMED_MAX => {
            look.fill("{} {} and {} more", &[&verb, &targets[0], &(targets.len() - 1)])
        }
        Selection::Targets(targets) => {
            let targets: Vec<_> = targets.iter().map(Target::to_string).collect();
            format!("{verb} {}", targets.join(", "))
        }
        Selection::House => format!("{verb} {}", look.t("the daemon")),
        Selection::Matching(_) => verb,
    }
}

/// Targets that are named one by one.
const NAMED_MAX: usize = 4;

/// What an action did, for people.
fn told(request: &Request, acted: &[Acted], look: Look) -> String {
    if acted.len() > NAMED_MAX {
        // Of many only how it went.
        let mut kinds: Vec<(&str, usize)> = Vec::new();
        for acted in acted {
            match kinds.iter_mut().find(|(what, _)| *what == acted.what) {
                Some((_, count)) => *count += 1,
                None => kinds.push((&acted.what, 1)),
            }
        }
        let kinds: Vec<_> = kinds
            .iter()
            .take(NAMED_MAX)
            .map(|(what, count)| format!("{count} × {}", look.word(&escaped(what))))
            .collect();
        return kinds.join("; ");
    }
    let lines: Vec<_> =
        acted.iter().map(|acted| format!("{}: {}", acted.target, look.word(&escaped(&acted.what)))).collect();
    match request {
        _ if !lines.is_empty() => lines.join("; "),
        Request::Pause { what: Selection::House, .. } => look.t("the daemon is paused").to_owned(),
        Request::Resume(Selection::House) => look.t("the daemon goes on").to_owned(),
        _ => look.t("nothing to do").to_owned(),
    }
}

/// What came of an action is told for so long.
const READ: Duration = Duration::from_secs(20);
/// Days of the history.
const DAYS: i64 = 7;
/// Between two questions for what no watch tells.
const EVERY: Duration = Duration::from_secs(1);
/// Batches whose jobs at work are asked for.
const RUNNING_MAX: usize = 8;
/// Jobs at work of one batch.
const AT_WORK_MAX: u32 = 64;
/// Failed jobs, from the newest batch on.
const FAILURES_MAX: u32 = 2_000;
/// Completed jobs whose files are shown.
const RESULTS_MAX: u32 = 500;

#[cfg(test)]
#[path = "model_tests.rs"]
pub mod tests;
