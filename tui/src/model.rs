//! The model: all the dashboard knows, and the one function that changes it. Knows no terminal, no socket and no clock.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossterm::event::KeyEvent;
use spindle_shared::batch::{BatchState, BatchView, Priority};
use spindle_shared::event::{Event, Fact};
use spindle_shared::id::{BatchId, JobId, Target};
use spindle_shared::job::{Input, JobState, JobView, PathBytes};
use spindle_shared::snapshot::Snapshot;
use spindle_shared::text::escaped;
use spindle_shared::time::WallMs;
use spindle_shared::wire::request::{Request, Scope, Selection};
use spindle_shared::wire::response::{Acted, HouseView, Response};

use crate::feed::JOBS_WINDOW;
use crate::filter::Filter;
use crate::keys::{self, Action, Place};
use crate::message::{Message, News};
use crate::pace::Pace;

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

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Panel {
    Batches,
    Jobs,
}

/// What lies over the panels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cover {
    Help { scroll: u16 },
    Job { scroll: u16 },
    Cancel { target: Target, yes: bool },
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
    pub panel: Panel,
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
    pub colour: bool,
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
    pub fn new(colour: bool) -> Model {
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
            panel: Panel::Batches,
            batch: None,
            job: None,
            moved: false,
            batch_filter: Filter::default(),
            job_filter: Filter::default(),
            finding: false,
            cover: None,
            status: None,
            colour,
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
        self.changed |= !matches!(message, Message::Tick(..));
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
            Message::Key(key) => self.key(key),
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
        batches.sort_by_key(|batch| match batch.state {
            BatchState::Running | BatchState::Cancelling => (0, u64::from(batch.priority.0), batch.id.0),
            BatchState::Pending => (1, u64::from(batch.priority.0), batch.id.0),
            BatchState::Paused => (2, u64::from(batch.priority.0), batch.id.0),
            BatchState::Completed | BatchState::Partial | BatchState::Failed | BatchState::Cancelled => {
                (3, u64::MAX - batch.finished_at.unwrap_or_default().0, u64::MAX - batch.id.0)
            }
        });
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
        match self.cover {
            None if self.finding => Place::Find,
            None => Place::Main,
            Some(Cover::Help { .. } | Cover::Job { .. }) => Place::Page,
            Some(Cover::Cancel { .. }) => Place::Question,
        }
    }

    /// The search of the panel that has the keyboard.
    pub fn filter(&mut self) -> &mut Filter {
        match self.panel {
            Panel::Batches => &mut self.batch_filter,
            Panel::Jobs => &mut self.job_filter,
        }
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
                self.say(told(request, &acted), false);
                // Of many jobs changed at once not every one is told.
                self.outdated |= self.chosen_batch().is_some_and(|batch| batch.counts.total() > JOBS_WINDOW);
            }
            Err(why) => self.say(escaped(&why), true),
        }
    }

    fn say(&mut self, text: String, bad: bool) {
        self.status = Some(Status { text, bad });
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
        if self.panel == Panel::Batches {
            self.job = None;
        } else if self.landing.is_none() && !self.chosen_job().is_some_and(|job| words.fit(|| texts_of_job(job))) {
            self.job = self.jobs().first().map(|job| job.id);
        }
        if self.chosen_job().is_none() && matches!(self.cover, Some(Cover::Job { .. })) {
            self.cover = None;
        }
    }

    fn go_to(&mut self, batch: Option<BatchId>) {
        if batch == self.batch {
            return;
        }
        (self.batch, self.job) = (batch, None);
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

    fn key(&mut self, key: KeyEvent) -> Option<Request> {
        let action = keys::meaning(self.place(), key)?;
        if action == Action::Quit {
            self.ending = Some(Ok(()));
            return None;
        }
        match self.cover.take() {
            None => self.act(action),
            Some(Cover::Cancel { target, yes }) => match action {
                Action::Toggle => {
                    self.cover = Some(Cover::Cancel { target, yes: !yes });
                    None
                }
                Action::Yes => self.start(Request::Cancel(Selection::Targets(vec![target]))),
                Action::Answer if yes => self.start(Request::Cancel(Selection::Targets(vec![target]))),
                _ => {
                    self.say(format!("{target}: not cancelled"), false);
                    None
                }
            },
            Some(mut page) => {
                if let Cover::Help { scroll } | Cover::Job { scroll } = &mut page {
                    *scroll = match action {
                        Action::Down => scroll.saturating_add(1).min(SCROLL_MAX),
                        Action::Up => scroll.saturating_sub(1),
                        Action::PageDown => scroll.saturating_add(PAGE as u16).min(SCROLL_MAX),
                        Action::PageUp => scroll.saturating_sub(PAGE as u16),
                        _ => 0,
                    };
                }
                self.cover = (action != Action::Close).then_some(page);
                None
            }
        }
    }

    fn act(&mut self, action: Action) -> Option<Request> {
        self.moved |= !matches!(action, Action::Help | Action::PauseOrResumeHouse);
        match action {
            Action::Down => self.step(|at, last| (at + 1).min(last)),
            Action::Up => self.step(|at, _| at.saturating_sub(1)),
            Action::PageDown => self.step(|at, last| (at + PAGE).min(last)),
            Action::PageUp => self.step(|at, _| at.saturating_sub(PAGE)),
            Action::First => self.step(|_, _| 0),
            Action::Last => self.step(|_, last| last),
            Action::OtherPanel => {
                self.panel = match self.panel {
                    Panel::Batches => Panel::Jobs,
                    Panel::Jobs => Panel::Batches,
                }
            }
            Action::Open => match self.panel {
                Panel::Batches => self.panel = Panel::Jobs,
                Panel::Jobs if self.chosen_job().is_some() => self.cover = Some(Cover::Job { scroll: 0 }),
                Panel::Jobs => self.say("no job is chosen".to_owned(), true),
            },
            Action::Help => self.cover = Some(Cover::Help { scroll: 0 }),
            Action::Find => self.finding = true,
            Action::Type(letter) => self.filter().push(letter),
            Action::Erase => self.filter().pop(),
            Action::Keep => {
                self.finding = false;
                if self.panel == Panel::Jobs && self.jobs().is_empty() && !self.job_filter.is_empty() {
                    // Not here: then from the first window on.
                    self.searching = true;
                    self.arrived &= self.from == 1;
                    self.from = 1;
                }
            }
            Action::ShowAll => {
                (self.finding, self.searching) = (false, false);
                self.filter().clear();
            }
            Action::Cancel => {
                let target = self.target()?;
                self.cover = Some(Cover::Cancel { target, yes: false });
            }
            Action::Retry => {
                let target = self.target()?;
                return self.start(Request::Retry(Selection::Targets(vec![target])));
            }
            Action::PauseOrResume => {
                let (what, paused) =
                    self.whole_batch().map(|batch| (only(batch), batch.state == BatchState::Paused))?;
                return self.start(pause_or_resume(what, paused));
            }
            Action::PauseOrResumeHouse => return self.start(pause_or_resume(Selection::House, self.snapshot.paused)),
            Action::Sooner | Action::Later => {
                let (what, id, now) = self.whole_batch().map(|batch| (only(batch), batch.id, batch.priority))?;
                let words = Priority::WORDS;
                let next = match action {
                    Action::Sooner => words.iter().rev().find(|(_, priority)| *priority < now),
                    _ => words.iter().find(|(_, priority)| *priority > now),
                };
                let Some((_, priority)) = next else {
                    self.say(format!("{id}: its priority is {now} already"), false);
                    return None;
                };
                return self.start(Request::Prioritize { what, priority: *priority });
            }
            Action::Quit | Action::Close | Action::Yes | Action::No | Action::Toggle | Action::Answer => {}
        }
        None
    }

    /// What cancel and retry are about: the batch, or with the jobs' panel the job.
    fn target(&mut self) -> Option<Target> {
        let target = match self.panel {
            Panel::Batches => self.batch.map(Target::Batch),
            Panel::Jobs => self.job.map(Target::Job),
        };
        if target.is_none() {
            self.say("nothing is chosen".to_owned(), true);
        }
        target
    }

    fn whole_batch(&mut self) -> Option<&BatchView> {
        if self.chosen_batch().is_none() {
            self.say("no batch is chosen".to_owned(), true);
        }
        self.chosen_batch()
    }

    fn start(&mut self, request: Request) -> Option<Request> {
        if matches!(self.link, Link::Connecting | Link::Lost(_)) {
            self.say("not done: no daemon answers".to_owned(), true);
            return None;
        }
        if self.under_way >= ACTIONS_MAX {
            self.say("not done: earlier actions are still under way".to_owned(), true);
            return None;
        }
        self.under_way += 1;
        self.say(format!("{} …", named(&request)), false);
        Some(request)
    }

    fn step(&mut self, to: impl Fn(usize, usize) -> usize) {
        match self.panel {
            Panel::Batches => {
                let ids: Vec<_> = self.batches().iter().map(|batch| batch.id).collect();
                let at = ids.iter().position(|id| Some(*id) == self.batch).unwrap_or(0);
                self.go_to(ids.get(to(at, ids.len().saturating_sub(1))).copied());
            }
            Panel::Jobs => {
                let ids: Vec<_> = self.jobs().iter().map(|job| job.id).collect();
                let at = ids.iter().position(|id| Some(*id) == self.job).unwrap_or(0);
                let next = to(at, ids.len().saturating_sub(1));
                self.job = ids.get(next).copied();
                if next == at && self.landing.is_none() {
                    let on = to(1, 2) > 1;
                    self.searching = self.move_window(on) && on && !self.job_filter.is_empty();
                }
            }
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
            self.say("no job has these words".to_owned(), true);
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

fn only(batch: &BatchView) -> Selection {
    Selection::Targets(vec![Target::Batch(batch.id)])
}

fn pause_or_resume(what: Selection, paused: bool) -> Request {
    if paused { Request::Resume(what) } else { Request::Pause { what, now: false } }
}

/// What is under way, for people.
fn named(request: &Request) -> String {
    let (verb, what) = match request {
        Request::Cancel(what) => ("cancelling", what),
        Request::Pause { what, .. } => ("pausing", what),
        Request::Resume(what) => ("resuming", what),
        Request::Retry(what) => ("retrying", what),
        Request::Prioritize { what, .. } => ("changing the priority of", what),
        _ => return "asking".to_owned(),
    };
    match what {
        Selection::Targets(targets) => {
            let targets: Vec<_> = targets.iter().map(Target::to_string).collect();
            format!("{verb} {}", targets.join(", "))
        }
        Selection::House => format!("{verb} the daemon"),
        Selection::Matching(_) => verb.to_owned(),
    }
}

/// What an action did, for people.
fn told(request: &Request, acted: &[Acted]) -> String {
    let lines: Vec<_> = acted.iter().map(|acted| format!("{}: {}", acted.target, escaped(&acted.what))).collect();
    match request {
        _ if !lines.is_empty() => lines.join("; "),
        Request::Pause { what: Selection::House, .. } => "the daemon is paused".to_owned(),
        Request::Resume(Selection::House) => "the daemon goes on".to_owned(),
        _ => "nothing to do".to_owned(),
    }
}

#[cfg(test)]
#[path = "model_tests.rs"]
pub mod tests;
