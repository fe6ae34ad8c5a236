//! Keys that have something done: to what they are, what is asked of the daemon, and what came of it.

use jiff::Timestamp;
use spindle_shared::batch::{BatchState, BatchView, Priority};
use spindle_shared::id::{BatchId, Target};
use spindle_shared::job::{JobView, PathBytes};
use spindle_shared::text::escaped;
use spindle_shared::wire::request::{Request, Selection};
use spindle_shared::wire::response::{Acted, Explanation, Response};

use super::{Cover, Link, Model, Sort, View};
use crate::causes::{self, Row};
use crate::errand::{COPY_BYTES_MAX, Errand};
use crate::feed::JOBS_WINDOW;
use crate::form::Form;
use crate::keys::Action;
use crate::look::{Language, Look};
use crate::results::{QUALITIES, Results};

/// Actions under way at once; a key held down must not flood the daemon.
pub(super) const ACTIONS_MAX: usize = 8;
/// Rows that PgUp and PgDn go.
pub(super) const PAGE: usize = 10;
/// Targets that are named one by one.
pub(super) const NAMED_MAX: usize = 4;

impl Model {
    pub(super) fn act(&mut self, action: Action) -> Option<Request> {
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
            Action::Results => {
                self.result_of = self.job.filter(|_| self.view == View::Batch);
                self.go(View::Results);
                self.land_on_result();
            }
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
            Action::Left | Action::Right | Action::ChangeBack => {}
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

    /// What actions are about: what is marked, else what is chosen.
    pub(super) fn targets(&mut self) -> Option<Vec<Target>> {
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

    pub(super) fn whole_batches(&mut self) -> Option<(Selection, Vec<&BatchView>)> {
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

    pub(super) fn prioritize(&mut self, sooner: bool) -> Option<Request> {
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

    pub(super) fn start(&mut self, request: Request) -> Option<Request> {
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

    pub(super) fn acted(&mut self, request: &Request, result: Result<Vec<Response>, String>) {
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

    pub(super) fn explained(&mut self, target: Target, responses: Vec<Response>) {
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

    pub(super) fn copy(&mut self) {
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
    pub(super) fn failed_job(&mut self) -> Option<&JobView> {
        match self.failure_row() {
            Some(Row::Cause(cause)) => self.failures.value[cause].jobs.first(),
            Some(Row::Job(cause, job)) => self.failures.value[cause].jobs.get(job),
            None => {
                self.say(self.look.t("no failures").to_owned(), false);
                None
            }
        }
    }

    pub(super) fn failed_jobs(&mut self, all: bool) -> Option<Vec<Target>> {
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
}

pub(super) fn pause_or_resume(what: Selection, paused: bool) -> Request {
    if paused { Request::Resume(what) } else { Request::Pause { what, now: false } }
}

/// What is under way, for people.
pub(super) fn named(request: &Request, look: Look) -> String {
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

/// What an action did, for people.
pub(super) fn told(request: &Request, acted: &[Acted], look: Look) -> String {
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
