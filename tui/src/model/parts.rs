//! What the model is made of beside itself: views, orders, what may lie over a view. Knows no message and no key.

use std::time::{Duration, Instant};

use spindle_shared::id::BatchId;
use spindle_shared::job::JobView;
use spindle_shared::wire::request::Request;

use crate::form::Form;
use crate::keys::Action;

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

    pub(super) fn step(self, by: usize) -> View {
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
    pub(super) const ORDER: [Sort; 6] =
        [Sort::Course, Sort::Newest, Sort::Name, Sort::Recipe, Sort::Progress, Sort::Failed];

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
    pub(super) asked: Option<Instant>,
    pub(super) open: usize,
}

impl<T: Default> Default for Read<T> {
    fn default() -> Self {
        Read { value: T::default(), at: None, asked: None, open: 0 }
    }
}

impl<T> Read<T> {
    /// Whether it is time to ask, so many questions at once; from here on it is asked.
    pub(super) fn is_due(&mut self, now: Instant, every: Duration, questions: usize) -> bool {
        let due = self.open == 0 && self.asked.is_none_or(|asked| now.saturating_duration_since(asked) >= every);
        if due {
            self.asked = Some(now);
            self.open = questions;
        }
        due
    }

    pub(super) fn told(&mut self, now: Option<Instant>) {
        self.open = self.open.saturating_sub(1);
        self.at = now;
    }

    /// Asked for anew at once.
    pub(super) fn stale(&mut self) {
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
