//! The model: all the dashboard knows, and the one function that changes it. Knows no terminal, no socket and no clock.

use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crossterm::event::KeyEvent;
use spindle_shared::batch::{BatchState, BatchView, Priority};
use spindle_shared::event::{Event, Fact};
use spindle_shared::id::{BatchId, JobId, Target};
use spindle_shared::job::{JobState, JobView};
use spindle_shared::snapshot::Snapshot;
use spindle_shared::text::escaped;
use spindle_shared::wire::request::{Request, Selection};
use spindle_shared::wire::response::{Acted, HouseView, Response};

use crate::feed::JOBS_WINDOW;
use crate::keys::{self, Action, Place};
use crate::message::Message;

/// A daemon that hasn't answered for this long is said to be silent. It is asked once a second.
const SILENCE: Duration = Duration::from_millis(1_800);
/// Actions under way at once; a key held down must not flood the daemon.
const ACTIONS_MAX: usize = 8;
/// Jobs kept; beyond it those of other batches are forgotten, then ended ones.
const JOBS_MAX: usize = 5_000;

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
    pub snapshot: Snapshot,
    pub house: Option<HouseView>,
    pub link: Link,
    pub socket: Option<PathBuf>,
    pub build: String,
    pub panel: Panel,
    pub batch: Option<BatchId>,
    pub job: Option<JobId>,
    pub cover: Option<Cover>,
    pub status: Option<Status>,
    pub colour: bool,
    /// Something is to be drawn.
    pub changed: bool,
    /// Set when the program is to end; an error says why.
    pub ending: Option<Result<(), String>>,
    heard_at: Option<Instant>,
    /// The batch whose jobs were asked for.
    loaded: Option<BatchId>,
    /// Jobs told by events since then: newer than the answer.
    told: BTreeSet<JobId>,
    under_way: usize,
}

impl Model {
    pub fn new(colour: bool) -> Model {
        Model {
            snapshot: Snapshot::default(),
            house: None,
            link: Link::Connecting,
            socket: None,
            build: String::new(),
            panel: Panel::Batches,
            batch: None,
            job: None,
            cover: None,
            status: None,
            colour,
            changed: true,
            ending: None,
            heard_at: None,
            loaded: None,
            told: BTreeSet::new(),
            under_way: 0,
        }
    }

    /// Takes one message in; gives what is to be asked of the daemon.
    pub fn update(&mut self, message: Message) -> Option<Request> {
        self.changed |= !matches!(message, Message::Tick(_));
        let wanted = match message {
            Message::Watching { socket, build, snapshot, ended, at } => {
                self.begin(*snapshot, ended);
                (self.socket, self.build, self.heard_at, self.link) = (Some(socket), build, Some(at), Link::Live);
                None
            }
            Message::Jobs(jobs) => {
                self.merge(jobs);
                None
            }
            Message::Event(event) => {
                self.event(&event);
                None
            }
            Message::Lost(why) => {
                self.link = Link::Lost(why);
                None
            }
            Message::House(house, at) => {
                self.house = Some(*house);
                self.heard_at = Some(at);
                if self.link == Link::Silent {
                    self.link = Link::Live;
                }
                None
            }
            Message::Answered(request, result) => self.answered(&request, result),
            Message::Key(key) => self.key(key),
            Message::Resized => None,
            Message::Tick(now) => {
                let silent = self.heard_at.is_some_and(|at| now.saturating_duration_since(at) > SILENCE);
                if silent && self.link == Link::Live {
                    self.link = Link::Silent;
                    self.changed = true;
                }
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
            Message::Died(thread) => {
                self.ending = Some(Err(format!("a part of spindletop failed: {thread}")));
                None
            }
        };
        self.choose();
        wanted.or_else(|| self.wanted_jobs())
    }

    /// Whether what is shown may be out of date.
    pub fn is_stale(&self) -> bool {
        self.link != Link::Live
    }

    /// Open batches, newest first, then ended ones, newest first.
    pub fn batches(&self) -> Vec<&BatchView> {
        let mut batches: Vec<_> = self.snapshot.batches.values().collect();
        batches.sort_by_key(|batch| (batch.state.is_terminal(), Reverse(batch.id)));
        batches
    }

    pub fn chosen_batch(&self) -> Option<&BatchView> {
        self.snapshot.batches.get(&self.batch?)
    }

    pub fn chosen_job(&self) -> Option<&JobView> {
        self.snapshot.jobs.get(&self.job?)
    }

    /// The chosen batch's known jobs: at work, failed, then the others, each in input order.
    pub fn jobs(&self) -> Vec<&JobView> {
        let Some(batch) = self.batch else { return Vec::new() };
        let mut jobs: Vec<_> = self.snapshot.jobs.range(span(batch)).map(|(_, job)| job).collect();
        jobs.sort_by_key(|job| rank(job.state));
        jobs
    }

    pub fn place(&self) -> Place {
        match self.cover {
            None => Place::Main,
            Some(Cover::Help { .. } | Cover::Job { .. }) => Place::Page,
            Some(Cover::Cancel { .. }) => Place::Question,
        }
    }

    fn begin(&mut self, snapshot: Snapshot, ended: Vec<BatchView>) {
        self.snapshot = snapshot;
        for batch in ended {
            // What the watch tells is kept current by its events.
            self.snapshot.batches.entry(batch.id).or_insert(batch);
        }
        self.loaded = None;
    }

    fn event(&mut self, event: &Event) {
        self.snapshot.apply(event);
        match &event.fact {
            Fact::Job(job) => {
                if Some(job.id.batch) == self.loaded {
                    self.told.insert(job.id);
                }
                self.forget_jobs();
            }
            // Of many jobs that end or begin at once not every one is told.
            Fact::Batch(batch) if Some(batch.id) == self.loaded && batch.state.is_terminal() => self.loaded = None,
            Fact::Alert(text) => self.say(escaped(text), true),
            _ => {}
        }
    }

    fn merge(&mut self, jobs: Vec<JobView>) {
        for mut job in jobs {
            match self.snapshot.jobs.get_mut(&job.id) {
                Some(known) if self.told.contains(&job.id) => known.input = known.input.take().or(job.input),
                Some(known) => {
                    job.input = job.input.or_else(|| known.input.take());
                    *known = job;
                }
                None => {
                    self.snapshot.jobs.insert(job.id, job);
                }
            }
        }
        self.forget_jobs();
    }

    fn forget_jobs(&mut self) {
        if self.snapshot.jobs.len() <= JOBS_MAX {
            return;
        }
        let chosen = self.batch;
        self.snapshot.jobs.retain(|id, job| Some(id.batch) == chosen || !job.state.is_terminal());
        // Failures are what people look for: they go last.
        for failures_too in [false, true] {
            if self.snapshot.jobs.len() <= JOBS_MAX {
                return;
            }
            let mut surplus = self.snapshot.jobs.len() - JOBS_MAX / 2;
            self.snapshot.jobs.retain(|_, job| {
                let ended = job.state.is_terminal() && (failures_too || job.state != JobState::Failed);
                let forgotten = surplus > 0 && ended;
                surplus -= usize::from(forgotten);
                !forgotten
            });
        }
    }

    fn answered(&mut self, request: &Request, result: Result<Vec<Response>, String>) -> Option<Request> {
        if let Request::Jobs { batch, states, .. } = request {
            let jobs = match result {
                Ok(responses) => responses.into_iter().filter_map(|response| match response {
                    Response::Jobs(jobs) => Some(jobs),
                    _ => None,
                }),
                // Chosen or connected again, they are asked for again.
                Err(why) => {
                    self.say(format!("jobs of {batch}: {}", escaped(&why)), true);
                    return None;
                }
            };
            if self.snapshot.batches.contains_key(batch) {
                self.merge(jobs.flatten().collect());
            }
            let counts = self.snapshot.batches.get(batch)?.counts;
            let beyond = states.is_empty() && counts.total() > JOBS_WINDOW && counts.failed > 0;
            return (beyond && self.batch == Some(*batch)).then(|| failed_jobs(*batch));
        }
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
                self.loaded = None;
            }
            Err(why) => self.say(escaped(&why), true),
        }
        None
    }

    fn say(&mut self, text: String, bad: bool) {
        self.status = Some(Status { text, bad });
    }

    /// Something is chosen where there is something to choose.
    fn choose(&mut self) {
        if !self.batch.is_some_and(|id| self.snapshot.batches.contains_key(&id)) {
            self.batch = self.batches().first().map(|batch| batch.id);
        }
        // Until somebody goes to the jobs none is chosen: what is at work stays in sight.
        let fits = self.job.is_some_and(|id| Some(id.batch) == self.batch && self.snapshot.jobs.contains_key(&id));
        if self.panel == Panel::Batches {
            self.job = None;
        } else if !fits {
            self.job = self.jobs().first().map(|job| job.id);
            if matches!(self.cover, Some(Cover::Job { .. })) {
                self.cover = None;
            }
        }
    }

    fn wanted_jobs(&mut self) -> Option<Request> {
        if self.is_stale() || self.batch == self.loaded {
            return None;
        }
        self.loaded = self.batch;
        self.told.clear();
        Some(Request::Jobs { batch: self.batch?, states: Vec::new(), from: 1, limit: JOBS_WINDOW })
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
                        _ => 0,
                    };
                }
                self.cover = (action != Action::Close).then_some(page);
                None
            }
        }
    }

    fn act(&mut self, action: Action) -> Option<Request> {
        match action {
            Action::Down => self.step(|at, last| (at + 1).min(last)),
            Action::Up => self.step(|at, _| at.saturating_sub(1)),
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
        fn stepped<T: Copy + PartialEq>(ids: &[T], now: Option<T>, to: impl Fn(usize, usize) -> usize) -> Option<T> {
            let at = ids.iter().position(|id| Some(*id) == now).unwrap_or(0);
            ids.get(to(at, ids.len().saturating_sub(1))).copied()
        }
        match self.panel {
            Panel::Batches => {
                let ids: Vec<_> = self.batches().iter().map(|batch| batch.id).collect();
                self.batch = stepped(&ids, self.batch, to);
            }
            Panel::Jobs => {
                let ids: Vec<_> = self.jobs().iter().map(|job| job.id).collect();
                self.job = stepped(&ids, self.job, to);
            }
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

fn span(batch: BatchId) -> std::ops::RangeInclusive<JobId> {
    JobId { batch, index: 0 }..=JobId { batch, index: u32::MAX }
}

fn failed_jobs(batch: BatchId) -> Request {
    Request::Jobs { batch, states: vec![JobState::Failed], from: 1, limit: JOBS_WINDOW }
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
