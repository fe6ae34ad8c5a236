//! Following batches to their end: one watch, one fold, whatever shows it. Outlives a restart of the daemon; cancels nothing.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use spindle_shared::batch::{BatchState, BatchView};
use spindle_shared::client::{ClientError, Heard, Watch};
use spindle_shared::event::{Event, Fact};
use spindle_shared::exit;
use spindle_shared::id::{BatchId, JobId, Target};
use spindle_shared::job::{JobState, JobView};
use spindle_shared::snapshot::Snapshot;
use spindle_shared::wire::request::Scope;
use spindle_shared::wire::response::RefusalKind;

use crate::Context;
use crate::fault::Fault;

/// A daemon that went away is waited for this long: time for an upgrade, too short to hide that it is gone for good.
const RETURN_WITHIN: Duration = Duration::from_secs(60);
const RETURN_ASKED_EVERY: Duration = Duration::from_millis(500);

/// Something that shows what is followed.
pub trait Display {
    fn snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Fault>;
    /// `snapshot` has the event in it already.
    fn event(&mut self, event: &Event, snapshot: &Snapshot) -> Result<(), Fault>;
    /// When [`Display::tick`] is wanted, if no event comes before.
    fn due(&self) -> Option<Instant> {
        None
    }
    fn tick(&mut self, _snapshot: &Snapshot) -> Result<(), Fault> {
        Ok(())
    }
    /// Nothing more comes.
    fn finish(&mut self, _snapshot: &Snapshot) -> Result<(), Fault> {
        Ok(())
    }
}

/// What is followed, and how long.
#[derive(Debug, Clone, Default)]
pub struct Course {
    /// Empty = the whole house, for ever.
    pub targets: Vec<Target>,
    pub deadline: Option<Instant>,
    /// Stop at the first failed job.
    pub fail_fast: bool,
    /// Jobs of each batch that the display wants in its snapshot.
    pub jobs: u32,
}

/// How following came to its end.
#[derive(Debug, Clone, PartialEq)]
pub enum Ending {
    /// Everything named is at its end.
    Ended(Outcome),
    TimedOut,
    /// This job failed, and that was enough.
    FailedFast(JobId),
}

/// How the things followed ended.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Outcome {
    pub batches: Vec<BatchView>,
    pub jobs: Vec<JobView>,
}

impl Outcome {
    /// 4 only if all failed, else 3, else 8, else 0.
    pub fn exit_code(&self) -> u8 {
        let codes = self.batches.iter().map(batch_code).chain(self.jobs.iter().map(|job| job_code(job.state)));
        let codes: Vec<u8> = codes.collect();
        let any = |code| codes.contains(&code);
        match () {
            () if !codes.is_empty() && codes.iter().all(|code| *code == exit::ALL_FAILED) => exit::ALL_FAILED,
            () if any(exit::ALL_FAILED) || any(exit::SOME_FAILED) => exit::SOME_FAILED,
            () if any(exit::CANCELLED) => exit::CANCELLED,
            () => exit::DONE,
        }
    }
}

/// What an ended batch means to a script.
pub fn batch_code(view: &BatchView) -> u8 {
    match view.state {
        BatchState::Failed => exit::ALL_FAILED,
        BatchState::Cancelled => exit::CANCELLED,
        // Partial for its cancelled jobs alone: nothing failed.
        BatchState::Partial if view.counts.failed == 0 => exit::CANCELLED,
        BatchState::Partial => exit::SOME_FAILED,
        BatchState::Completed => exit::DONE,
        BatchState::Pending | BatchState::Running | BatchState::Paused | BatchState::Cancelling => exit::NOT_FINISHED,
    }
}

/// What an ended job means to a script.
pub fn job_code(state: JobState) -> u8 {
    match state {
        JobState::Completed | JobState::Skipped => exit::DONE,
        JobState::Failed => exit::ALL_FAILED,
        JobState::Cancelled => exit::CANCELLED,
        JobState::Pending | JobState::Running | JobState::Retrying => exit::NOT_FINISHED,
    }
}

/// Follows until everything named has ended, or the deadline, or the first failure where that is enough.
pub fn follow(context: &Context, course: &Course, displays: &mut [Box<dyn Display + '_>]) -> Result<Ending, Fault> {
    let mut following = Following { context, course, snapshot: Snapshot::default(), jobs: BTreeMap::new() };
    let ending = following.run(displays);
    for display in displays.iter_mut() {
        display.finish(&following.snapshot)?;
    }
    ending
}

struct Following<'a> {
    context: &'a Context,
    course: &'a Course,
    snapshot: Snapshot,
    /// The jobs named, as last heard.
    jobs: BTreeMap<JobId, JobView>,
}

impl Following<'_> {
    fn run(&mut self, displays: &mut [Box<dyn Display + '_>]) -> Result<Ending, Fault> {
        let mut watch = match self.begin(displays) {
            // It was there, and went before it had answered.
            Err(fault) if fault.kind == "broken" || fault.kind == RefusalKind::Stopping.name() => {
                match self.again(displays)? {
                    Some(watch) => watch,
                    None => return Ok(Ending::TimedOut),
                }
            }
            begun => begun?,
        };
        loop {
            if let Some(ending) = self.ending() {
                return Ok(ending);
            }
            let due = displays.iter().filter_map(|display| display.due()).chain(self.course.deadline).min();
            match watch.hear(due) {
                Ok(Heard::Quiet) => {
                    for display in displays.iter_mut() {
                        if display.due().is_some_and(|due| due <= Instant::now()) {
                            display.tick(&self.snapshot)?;
                        }
                    }
                }
                Ok(Heard::Batches(batches)) => {
                    self.snapshot.batches.extend(batches.into_iter().map(|batch| (batch.id, batch)));
                    self.shown(displays)?;
                }
                Ok(Heard::Jobs(jobs)) => {
                    self.snapshot.jobs.extend(jobs.into_iter().map(|job| (job.id, job)));
                    self.shown(displays)?;
                }
                Ok(Heard::Event(event)) => {
                    self.snapshot.apply(&event);
                    for display in displays.iter_mut() {
                        display.event(&event, &self.snapshot)?;
                    }
                    if let Some(ending) = self.taken(&event)? {
                        return Ok(ending);
                    }
                    if event.fact == Fact::Lagged {
                        watch = self.begin(displays)?;
                    }
                }
                Ok(Heard::Other(_) | Heard::Snapshot(_)) | Err(ClientError::Broken(_)) => match self.again(displays)? {
                    Some(new) => watch = new,
                    None => return Ok(Ending::TimedOut),
                },
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Watches from the start: the daemon's snapshot, and what it lacks of the things named.
    fn begin(&mut self, displays: &mut [Box<dyn Display + '_>]) -> Result<Watch, Fault> {
        let scope = match self.batch_ids() {
            ids if ids.is_empty() => Scope::House,
            ids => Scope::Batches(ids),
        };
        let mut watch = self.context.daemon.connect()?.watch(scope, self.course.jobs)?;
        self.snapshot = match watch.hear(None)? {
            Heard::Snapshot(snapshot) => *snapshot,
            _ => return Err(Fault::unexpected("a snapshot")),
        };
        // Batches that ended long ago may be history to the watch; asking for them says also which don't exist.
        let missing: Vec<BatchId> =
            self.batch_ids().into_iter().filter(|id| !self.snapshot.batches.contains_key(id)).collect();
        if !missing.is_empty() {
            for view in self.context.daemon.batches(&missing)? {
                self.snapshot.batches.insert(view.id, view);
            }
        }
        for target in &self.course.targets {
            if let Target::Job(id) = target {
                self.jobs.insert(*id, self.context.daemon.job(*id)?);
            }
        }
        self.shown(displays)?;
        Ok(watch)
    }

    /// The daemon is gone: waits for it to come back. `None` where the deadline comes first.
    fn again(&mut self, displays: &mut [Box<dyn Display + '_>]) -> Result<Option<Watch>, Fault> {
        self.context.console.talk("the daemon is gone; waiting for it to come back");
        let give_up = Instant::now() + RETURN_WITHIN;
        loop {
            match self.begin(displays) {
                Ok(watch) => return Ok(Some(watch)),
                Err(fault) if fault.code != exit::UNREACHABLE && fault.kind != RefusalKind::Stopping.name() => {
                    return Err(fault);
                }
                Err(fault) if Instant::now() >= give_up => return Err(fault),
                Err(_) => {}
            }
            if self.course.deadline.is_some_and(|deadline| deadline <= Instant::now()) {
                return Ok(None);
            }
            std::thread::sleep(RETURN_ASKED_EVERY);
        }
    }

    fn shown(&self, displays: &mut [Box<dyn Display + '_>]) -> Result<(), Fault> {
        displays.iter_mut().try_for_each(|display| display.snapshot(&self.snapshot))
    }

    /// What an event means for the things named, beside its place in the snapshot.
    fn taken(&mut self, event: &Event) -> Result<Option<Ending>, Fault> {
        match &event.fact {
            Fact::Removed(batch) if self.course.targets.iter().any(|target| target.batch() == *batch) => {
                Err(Fault::not_found(format!("batch {batch} was removed")))
            }
            Fact::Job(job) => {
                if let Some(known) = self.jobs.get_mut(&job.id) {
                    let input = job.input.clone().or_else(|| known.input.clone());
                    *known = JobView { input, ..JobView::clone(job) };
                }
                let failed = self.course.fail_fast && job.state == JobState::Failed && self.covers(job.id);
                Ok(failed.then_some(Ending::FailedFast(job.id)))
            }
            _ => Ok(None),
        }
    }

    fn covers(&self, job: JobId) -> bool {
        self.course.targets.iter().any(|target| match target {
            Target::Batch(batch) => *batch == job.batch,
            Target::Job(named) => *named == job,
        })
    }

    fn ending(&self) -> Option<Ending> {
        if self.course.fail_fast {
            // Failed before we came.
            for target in &self.course.targets {
                let failed = match target {
                    Target::Batch(batch) => {
                        let counts = self.snapshot.batches.get(batch).map(|view| view.counts)?;
                        (counts.failed > 0).then_some(JobId { batch: *batch, index: 0 })
                    }
                    Target::Job(id) => self.jobs.get(id).filter(|job| job.state == JobState::Failed).map(|job| job.id),
                };
                if let Some(job) = failed.filter(|_| !self.all_ended()) {
                    return Some(Ending::FailedFast(job));
                }
            }
        }
        if !self.course.targets.is_empty() && self.all_ended() {
            return Some(Ending::Ended(self.outcome()));
        }
        let out_of_time = self.course.deadline.is_some_and(|deadline| deadline <= Instant::now());
        out_of_time.then_some(Ending::TimedOut)
    }

    fn all_ended(&self) -> bool {
        self.course.targets.iter().all(|target| match target {
            Target::Batch(batch) => self.snapshot.batches.get(batch).is_some_and(|view| view.state.is_terminal()),
            Target::Job(job) => self.jobs.get(job).is_some_and(|view| view.state.is_terminal()),
        })
    }

    fn outcome(&self) -> Outcome {
        let mut outcome = Outcome::default();
        for target in &self.course.targets {
            match target {
                Target::Batch(batch) => outcome.batches.extend(self.snapshot.batches.get(batch).cloned()),
                Target::Job(job) => outcome.jobs.extend(self.jobs.get(job).cloned()),
            }
        }
        outcome
    }

    fn batch_ids(&self) -> Vec<BatchId> {
        let ids: std::collections::BTreeSet<BatchId> =
            self.course.targets.iter().map(|target| target.batch()).collect();
        ids.into_iter().collect()
    }
}

/// From here on ^C lets go and leaves with 130: the work belongs to the daemon and goes on.
pub fn detach_on_interrupt(context: &Context, message: String) -> Result<(), Fault> {
    let console = context.console;
    let mut signals = signal_hook::iterator::Signals::new([signal_hook::consts::SIGINT])
        .map_err(|error| Fault::error(format!("failed to listen for ^C: {error}")))?;
    std::thread::spawn(move || {
        if signals.forever().next().is_some() {
            if console.json {
                console.report(&Fault::new(exit::INTERRUPTED, "interrupted", message));
            } else {
                console.talk(format_args!("\n{message}"));
            }
            // The main thread waits in a read; nothing of ours is left half done by leaving from here.
            std::process::exit(i32::from(exit::INTERRUPTED));
        }
    });
    Ok(())
}
