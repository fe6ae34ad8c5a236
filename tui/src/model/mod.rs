//! The model: all the dashboard knows, and the one function that changes it. Knows no terminal, no socket and no clock.

mod acting;
mod calendar;
mod covers;
mod gallery;
mod going;
mod lists;
mod mouse;
mod parts;
mod reading;
mod window;

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use jiff::tz::TimeZone;
use ratatui::layout::Rect;
use spindle_shared::id::{BatchId, JobId};
use spindle_shared::job::JobView;
use spindle_shared::snapshot::Snapshot;
use spindle_shared::text::escaped;
use spindle_shared::time::WallMs;
use spindle_shared::wire::request::{Request, Scope};
use spindle_shared::wire::response::{HouseView, Stats, WorkerView};

use crate::causes::Cause;
use crate::errand::Errand;
use crate::filter::Filter;
use crate::keys::{self, Place};
use crate::look::Look;
use crate::machine::Machine;
use crate::message::Message;
use crate::pace::Pace;
use crate::results::Results;

pub use lists::{course, file_name};
pub use parts::{Cover, Hit, Link, Read, Sort, Status, View};

/// A daemon that hasn't answered for this long is said to be silent. It is asked once a second.
const SILENCE: Duration = Duration::from_millis(1_800);
/// What came of an action is told for so long.
const READ: Duration = Duration::from_secs(20);

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
    /// The job whose first result is to be chosen as soon as it is here.
    result_of: Option<JobId>,
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
            result_of: None,
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
                self.results.value.read(path, text);
                self.want_pictures();
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

    pub fn place(&self) -> Place {
        match &self.cover {
            None if self.finding => Place::Find,
            None => Place::In(self.view),
            Some(Cover::Help { .. } | Cover::Job { .. } | Cover::Page { .. }) => Place::Page,
            Some(Cover::Zoom { .. }) => Place::Zoom,
            Some(Cover::Question { .. }) => Place::Question,
            Some(Cover::Archive { .. }) => Place::Line,
            Some(Cover::Form(form)) if form.line.is_some() => Place::Line,
            Some(Cover::Form(form)) if form.files.is_some() => Place::Files,
            Some(Cover::Form(form)) if form.plan.is_some() => Place::Plan,
            Some(Cover::Form(_)) => Place::Form,
        }
    }

    /// The search of the list that has the keyboard.
    pub fn filter(&mut self) -> &mut Filter {
        if self.view == View::Batch { &mut self.job_filter } else { &mut self.batch_filter }
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

    fn say(&mut self, text: String, bad: bool) {
        self.status = Some(Status { text, bad });
        self.said_at = self.now;
    }
}

#[cfg(test)]
pub mod tests;
