//! Progress as it happens: bars on a terminal, lines elsewhere, JSON events for scripts, and a file for monitors.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use spindle_shared::batch::{BatchState, BatchView};
use spindle_shared::event::{Event, Fact};
use spindle_shared::id::BatchId;
use spindle_shared::job::{JobState, JobView};
use spindle_shared::snapshot::Snapshot;

use crate::console::Console;
use crate::fault::Fault;
use crate::follow::Display;
use crate::output::human;
use crate::output::json::{BatchJson, EventJson};

/// A progress file changes no more often than this.
const PACE: Duration = Duration::from_millis(500);

/// Every event as a JSON object on its own line.
#[derive(Debug)]
pub struct EventLines {
    pub console: Console,
}

impl Display for EventLines {
    fn snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Fault> {
        self.console.document(&EventJson::snapshot(snapshot, human::now()))
    }

    fn event(&mut self, event: &Event, _snapshot: &Snapshot) -> Result<(), Fault> {
        self.console.document(&EventJson::new(event))
    }
}

/// Where lines and bars go: standard output where they are what was asked for, standard error beside other data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Out,
    Err,
}

/// A line for each change of a batch's state, each ended job, and each tenth of a batch.
#[derive(Debug)]
pub struct Lines {
    console: Console,
    stream: Stream,
    told: BTreeMap<BatchId, (BatchState, u32)>,
}

impl Lines {
    pub fn new(console: Console, stream: Stream) -> Self {
        Lines { console, stream, told: BTreeMap::new() }
    }

    fn line(&self, text: &str) -> Result<(), Fault> {
        match self.stream {
            Stream::Out => self.console.data(&format!("{text}\n")),
            Stream::Err => {
                self.console.talk(text);
                Ok(())
            }
        }
    }

    fn batch(&mut self, view: &BatchView) -> Result<(), Fault> {
        let now = (view.state, (view.progress * 10.0) as u32);
        if self.told.insert(view.id, now) != Some(now) {
            self.line(&batch_line(view))?;
        }
        Ok(())
    }
}

impl Display for Lines {
    fn snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Fault> {
        snapshot.batches.values().try_for_each(|view| self.batch(view))
    }

    fn event(&mut self, event: &Event, snapshot: &Snapshot) -> Result<(), Fault> {
        match &event.fact {
            Fact::Job(job) if job.state.is_terminal() => {
                let known = snapshot.jobs.get(&job.id).unwrap_or(job);
                self.line(&job_line(known))
            }
            Fact::Batch(_) | Fact::Progress { .. } => {
                let view = event.fact.batch().and_then(|id| snapshot.batches.get(&id));
                view.map_or(Ok(()), |view| self.batch(view))
            }
            Fact::Removed(batch) => self.line(&format!("batch {batch}: removed")),
            Fact::Paused(true) => self.line("the daemon is paused"),
            Fact::Paused(false) => self.line("the daemon goes on"),
            Fact::Alert(text) => self.line(&format!("alert: {}", human::escaped(text))),
            Fact::Job(_) | Fact::Lagged => Ok(()),
        }
    }
}

fn batch_line(view: &BatchView) -> String {
    let counts = &view.counts;
    let failed = if counts.failed > 0 { format!(", {} failed", counts.failed) } else { String::new() };
    let left = human::batch_eta(view).map(|eta| format!(", {} left", human::range(eta))).unwrap_or_default();
    format!(
        "batch {}: {}, {}, {} of {} ended{failed}{left}",
        view.id,
        view.state.name(),
        human::percent(view.progress),
        counts.ended(),
        counts.total()
    )
}

fn job_line(job: &JobView) -> String {
    let remark = human::job_remark(job);
    let remark = if remark.is_empty() { remark } else { format!(": {remark}") };
    format!("job {}: {} {}{remark}", job.id, human::job_input(job), job.state.name())
}

/// A bar for each open batch; failures stay above the bars.
pub struct Bars {
    all: MultiProgress,
    bars: BTreeMap<BatchId, ProgressBar>,
    due: Instant,
}

impl Bars {
    pub fn new(stream: Stream) -> Self {
        let target = match stream {
            Stream::Out => ProgressDrawTarget::stdout_with_hz(4),
            Stream::Err => ProgressDrawTarget::stderr_with_hz(4),
        };
        Bars { all: MultiProgress::with_draw_target(target), bars: BTreeMap::new(), due: Instant::now() }
    }

    fn batch(&mut self, view: &BatchView, ended_too: bool) {
        let known = self.bars.contains_key(&view.id);
        if !known && view.state.is_terminal() && !ended_too {
            return;
        }
        let bar = self.bars.entry(view.id).or_insert_with(|| {
            let style = ProgressStyle::with_template("{prefix} {bar:30} {msg}")
                .expect("the template is a constant and well formed")
                .progress_chars("█▉▊▋▌▍▎▏ ");
            self.all.add(ProgressBar::new(1_000).with_style(style))
        });
        let name = view.name.as_deref().map(|name| format!(" {}", human::escaped(name))).unwrap_or_default();
        bar.set_prefix(format!("{:>4}{name}", view.id));
        bar.set_position((f64::from(view.progress.clamp(0.0, 1.0)) * 1_000.0) as u64);
        bar.set_message(bar_message(view));
        if view.state.is_terminal() {
            bar.abandon();
        }
    }
}

fn bar_message(view: &BatchView) -> String {
    let counts = &view.counts;
    let mut parts = vec![human::percent(view.progress), format!("{}/{}", counts.ended(), counts.total())];
    if counts.failed > 0 {
        parts.push(format!("{} failed", counts.failed));
    }
    match (view.state, &view.stage) {
        (BatchState::Running, Some(stage)) => parts.push(human::escaped(stage)),
        (state, _) => parts.push(state.name().to_owned()),
    }
    let elapsed = human::elapsed_seconds(view.started_at, view.finished_at, human::now());
    parts.extend(elapsed.map(human::seconds));
    parts.extend(human::batch_eta(view).map(|eta| format!("{} left", human::range(eta))));
    parts.join(" · ")
}

impl Display for Bars {
    fn snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Fault> {
        let few = snapshot.batches.len() <= 1;
        for view in snapshot.batches.values() {
            self.batch(view, few);
        }
        Ok(())
    }

    fn event(&mut self, event: &Event, snapshot: &Snapshot) -> Result<(), Fault> {
        match &event.fact {
            Fact::Job(job) if job.state == JobState::Failed => {
                let known = snapshot.jobs.get(&job.id).unwrap_or(job);
                // Drawing has failed where the terminal is gone; the follower will hear of that by its own end.
                let _ = self.all.println(job_line(known));
            }
            Fact::Alert(text) => {
                let _ = self.all.println(format!("alert: {}", human::escaped(text)));
            }
            Fact::Removed(batch) => {
                if let Some(bar) = self.bars.remove(batch) {
                    bar.finish_and_clear();
                }
            }
            _ => {}
        }
        if let Some(view) = event.fact.batch().and_then(|id| snapshot.batches.get(&id)) {
            self.batch(view, false);
        }
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        Some(self.due)
    }

    /// Elapsed time goes on without events.
    fn tick(&mut self, snapshot: &Snapshot) -> Result<(), Fault> {
        self.due = Instant::now() + Duration::from_secs(1);
        for id in self.bars.keys().copied().collect::<Vec<_>>() {
            if let Some(view) = snapshot.batches.get(&id) {
                self.batch(view, false);
            }
        }
        Ok(())
    }
}

/// The batch as JSON in a file that is always whole: a new one takes the old one's place. The work doesn't depend on it: what can't be written
/// is told once and tried again at the next change.
#[derive(Debug)]
pub struct ProgressFile {
    console: Console,
    path: PathBuf,
    batch: BatchId,
    written: Option<Instant>,
    pending: bool,
    failed: bool,
}

impl ProgressFile {
    pub fn new(console: Console, path: &Path, batch: BatchId) -> Self {
        ProgressFile { console, path: path.to_owned(), batch, written: None, pending: false, failed: false }
    }

    fn changed(&mut self, snapshot: &Snapshot) {
        self.pending = true;
        if self.due().is_none_or(|due| due <= Instant::now()) {
            self.write_or_tell(snapshot);
        }
    }

    fn write_or_tell(&mut self, snapshot: &Snapshot) {
        match self.write(snapshot) {
            Ok(()) => self.failed = false,
            Err(fault) if !self.failed => {
                self.failed = true;
                self.console.talk(format_args!("{}; the work does not depend on it", fault.message));
            }
            Err(_) => {}
        }
    }

    fn write(&mut self, snapshot: &Snapshot) -> Result<(), Fault> {
        let Some(view) = snapshot.batches.get(&self.batch) else { return Ok(()) };
        self.written = Some(Instant::now());
        let mut text = serde_json::to_vec(&BatchJson::new(view, human::now()))
            .map_err(|error| Fault::error(format!("failed to write JSON: {error}")))?;
        text.push(b'\n');
        let mut beside = self.path.clone().into_os_string();
        beside.push(format!(".{}.part", std::process::id()));
        let written = std::fs::write(&beside, &text).and_then(|()| std::fs::rename(&beside, &self.path));
        if let Err(error) = written {
            // Half a file helps nobody; that it can't be removed either is no news.
            let _ = std::fs::remove_file(&beside);
            let path = human::escaped(&self.path.to_string_lossy());
            return Err(Fault::error(format!("failed to write the progress file {path}: {error}")));
        }
        self.pending = false;
        Ok(())
    }
}

impl Display for ProgressFile {
    fn snapshot(&mut self, snapshot: &Snapshot) -> Result<(), Fault> {
        self.changed(snapshot);
        Ok(())
    }

    fn event(&mut self, event: &Event, snapshot: &Snapshot) -> Result<(), Fault> {
        if event.fact.batch() == Some(self.batch) {
            self.changed(snapshot);
        }
        Ok(())
    }

    fn due(&self) -> Option<Instant> {
        self.written.filter(|_| self.pending).map(|written| written + PACE)
    }

    fn tick(&mut self, snapshot: &Snapshot) -> Result<(), Fault> {
        self.write_or_tell(snapshot);
        Ok(())
    }

    /// How it ended must stand there, whenever the last write was.
    fn finish(&mut self, snapshot: &Snapshot) -> Result<(), Fault> {
        if self.pending {
            self.failed = false;
            self.write_or_tell(snapshot);
        }
        Ok(())
    }
}
