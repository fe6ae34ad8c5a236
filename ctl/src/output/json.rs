//! The JSON that scripts hold on to: names and shapes are an interface, and apart from the wire's own types. Unknown is null.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use spindle_shared::batch::{BatchView, Counts};
use spindle_shared::event::{Event, Fact};
use spindle_shared::id::{JobId, Target};
use spindle_shared::job::{Figure, Input, JobState, JobView, PathBytes};
use spindle_shared::snapshot::Snapshot;
use spindle_shared::time::WallMs;
use spindle_shared::wire::response::{
    Acted, AlertView, ClosedView, DeviceView, Explanation, Health, HouseView, ModelView, PlannedJob, Submitted,
    WorkerView,
};

use crate::output::human;

/// A path as text, and its bytes where the text isn't all of it.
fn path_text(path: &PathBytes) -> (String, Option<String>) {
    match std::str::from_utf8(&path.0) {
        Ok(text) => (text.to_owned(), None),
        Err(_) => (String::from_utf8_lossy(&path.0).into_owned(), Some(STANDARD.encode(&path.0))),
    }
}

pub fn input_text(input: &Input) -> (String, Option<String>) {
    match input {
        Input::File { path, .. } => path_text(path),
        Input::Name(name) => (name.clone(), None),
        Input::Url(url) => (url.to_string(), None),
    }
}

/// A share without the digits that a short float makes up.
pub fn share(value: f32) -> f64 {
    (f64::from(value.clamp(0.0, 1.0)) * 10_000.0).round() / 10_000.0
}

/// Key and value in their own order.
#[derive(Debug)]
pub struct Pairs<V>(Vec<(String, V)>);

impl<V: Serialize> Serialize for Pairs<V> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (key, value) in &self.0 {
            map.serialize_entry(key, value)?;
        }
        map.end()
    }
}

#[derive(Debug, Serialize)]
pub struct SubmitJson {
    pub batch_id: u64,
    pub name: Option<String>,
    pub recipe: String,
    pub state: &'static str,
    pub total: u32,
    pub estimated_seconds: Option<f64>,
    pub priority: u8,
    pub parallel: u32,
    pub skipped: u32,
    pub created_at: String,
    pub repeated: bool,
    pub tags: Pairs<String>,
}

impl From<&Submitted> for SubmitJson {
    fn from(submitted: &Submitted) -> Self {
        let batch = &submitted.batch;
        SubmitJson {
            batch_id: batch.id.0,
            name: batch.name.clone(),
            recipe: batch.recipe.clone(),
            state: batch.state.name(),
            total: batch.counts.total(),
            estimated_seconds: submitted.estimated_seconds,
            priority: batch.priority.0,
            parallel: batch.parallel,
            skipped: batch.counts.skipped,
            created_at: human::time(batch.created_at),
            repeated: submitted.repeated,
            tags: Pairs(batch.tags.clone()),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct BatchJson {
    pub batch_id: u64,
    pub name: Option<String>,
    pub recipe: String,
    pub owner: String,
    pub owner_id: u32,
    pub state: &'static str,
    pub priority: u8,
    pub parallel: u32,
    pub created_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub total: u32,
    pub completed: u32,
    pub failed: u32,
    pub skipped: u32,
    pub cancelled: u32,
    pub running: u32,
    pub pending: u32,
    pub retrying: u32,
    pub progress: f64,
    pub stage: Option<String>,
    pub elapsed_seconds: Option<f64>,
    pub eta_seconds: Option<f64>,
    pub eta_low_seconds: Option<f64>,
    pub eta_high_seconds: Option<f64>,
    /// The gather job's state; null where the recipe gathers nothing.
    pub gather_state: Option<&'static str>,
    pub tags: Pairs<String>,
}

impl BatchJson {
    pub fn new(view: &BatchView, now: WallMs) -> Self {
        let Counts { pending, running, retrying, completed, skipped, failed, cancelled } = view.counts;
        BatchJson {
            batch_id: view.id.0,
            name: view.name.clone(),
            recipe: view.recipe.clone(),
            owner: crate::named::user_name(view.owner.0),
            owner_id: view.owner.0,
            state: view.state.name(),
            priority: view.priority.0,
            parallel: view.parallel,
            created_at: human::time(view.created_at),
            started_at: view.started_at.map(human::time),
            finished_at: view.finished_at.map(human::time),
            total: view.counts.total(),
            completed,
            failed,
            skipped,
            cancelled,
            running,
            pending,
            retrying,
            progress: share(view.progress),
            stage: view.stage.clone(),
            elapsed_seconds: human::elapsed_seconds(view.started_at, view.finished_at, now),
            eta_seconds: view.eta.map(|eta| eta.seconds),
            eta_low_seconds: view.eta.map(|eta| eta.low),
            eta_high_seconds: view.eta.map(|eta| eta.high),
            gather_state: view.gather.map(|state| state.name()),
            tags: Pairs(view.tags.clone()),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct FailureJson {
    pub kind: &'static str,
    pub message: String,
    pub advice: String,
    pub attempts: u32,
}

#[derive(Debug, Serialize)]
pub struct OutputJson {
    pub path: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub path_bytes: Option<String>,
    pub kind: String,
    pub bytes: u64,
}

#[derive(Debug, Serialize)]
pub struct DetailJson {
    pub media_seconds: Option<f64>,
    pub language: Option<String>,
    pub language_probability: Option<f64>,
    pub cues: Option<u32>,
    pub words: Option<u32>,
    pub notes: Vec<String>,
    /// What the recipe's own stages measured.
    #[serde(flatten)]
    pub figures: Pairs<FigureJson>,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum FigureJson {
    Number(f64),
    Whole(i64),
    Text(String),
    Flag(bool),
}

impl From<&Figure> for FigureJson {
    fn from(figure: &Figure) -> Self {
        match figure {
            // A double holds whole numbers up to here, and people don't count frames in decimals.
            Figure::Number(number) if number.fract() == 0.0 && number.abs() < 9e15 => FigureJson::Whole(*number as i64),
            Figure::Number(number) => FigureJson::Number(*number),
            Figure::Text(text) => FigureJson::Text(text.clone()),
            Figure::Flag(flag) => FigureJson::Flag(*flag),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct JobJson {
    pub job_id: String,
    pub batch_id: u64,
    /// Of the input, from 1; of the gather job, null.
    pub index: Option<u32>,
    pub input: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_bytes: Option<String>,
    pub state: &'static str,
    pub stage: String,
    pub progress: f64,
    pub attempts: u32,
    pub worker: Option<String>,
    pub created_at: String,
    pub started_at: Option<String>,
    pub finished_at: Option<String>,
    pub timings: Pairs<f64>,
    pub failure: Option<FailureJson>,
    pub skipped_reason: Option<String>,
    pub outputs: Vec<OutputJson>,
    pub detail: DetailJson,
    pub peak_memory_bytes: Option<u64>,
}

impl From<&JobView> for JobJson {
    fn from(job: &JobView) -> Self {
        let (input, input_bytes) = job.input.as_ref().map(input_text).unzip();
        let outputs = job.outputs.iter().map(|output| {
            let (path, path_bytes) = path_text(&output.path);
            OutputJson { path, path_bytes, kind: output.kind.clone(), bytes: output.bytes }
        });
        let detail = &job.detail;
        JobJson {
            job_id: job.id.to_string(),
            batch_id: job.id.batch.0,
            index: (!job.id.is_gather()).then_some(job.id.index),
            input,
            input_bytes: input_bytes.flatten(),
            state: job.state.name(),
            stage: job.stage.clone(),
            progress: share(job.progress),
            attempts: job.attempts,
            worker: job.worker.clone(),
            created_at: human::time(job.created_at),
            started_at: job.started_at.map(human::time),
            finished_at: job.finished_at.map(human::time),
            timings: Pairs(job.timings.clone()),
            failure: job.failure.as_ref().map(|failure| FailureJson {
                kind: failure.kind.name(),
                message: failure.message.clone(),
                advice: failure.advice.clone(),
                attempts: job.attempts,
            }),
            skipped_reason: job.skipped_reason.clone(),
            outputs: outputs.collect(),
            detail: DetailJson {
                media_seconds: detail.media_seconds,
                language: detail.language.clone(),
                language_probability: detail.language_probability,
                cues: detail.cues,
                words: detail.words,
                notes: detail.notes.clone(),
                figures: Pairs(detail.figures.iter().map(|(name, figure)| (name.clone(), figure.into())).collect()),
            },
            peak_memory_bytes: job.peak_memory_bytes,
        }
    }
}

/// Figures over a batch's jobs; what no stage reports is null.
#[derive(Debug, PartialEq, Serialize)]
pub struct SummaryJson {
    /// Of completed jobs, from first start to end.
    pub mean_seconds: Option<f64>,
    pub fastest: Option<f64>,
    pub slowest: Option<f64>,
    pub fastest_job: Option<String>,
    pub slowest_job: Option<String>,
    /// Completed jobs per second of the batch's time.
    pub throughput: Option<f64>,
    /// Seconds of media per second of the batch's time.
    pub media_throughput: Option<f64>,
    pub media_seconds: Option<f64>,
    pub peak_memory_bytes: Option<u64>,
    pub api_calls: Option<u64>,
    pub tokens: Option<u64>,
    pub cost: Option<f64>,
}

/// What a summary is made of, taken in job by job: a batch of any size costs no more memory than one of its jobs.
#[derive(Debug, Default)]
pub struct Figures {
    /// Completed jobs, and the seconds they took.
    timed: u32,
    seconds: f64,
    fastest: Option<(f64, JobId)>,
    slowest: Option<(f64, JobId)>,
    media_seconds: Option<f64>,
    peak_memory_bytes: Option<u64>,
    api_calls: Option<f64>,
    tokens: Option<f64>,
    cost: Option<f64>,
}

impl Figures {
    pub fn of(jobs: &[JobView]) -> Self {
        let mut figures = Figures::default();
        jobs.iter().for_each(|job| figures.add(job));
        figures
    }

    pub fn add(&mut self, job: &JobView) {
        self.peak_memory_bytes = self.peak_memory_bytes.max(job.peak_memory_bytes);
        for (sum, name) in [(&mut self.api_calls, "api_calls"), (&mut self.tokens, "tokens"), (&mut self.cost, "cost")]
        {
            if let Some(more) = job.detail.number(name) {
                *sum = Some(sum.unwrap_or(0.0) + more);
            }
        }
        if job.state != JobState::Completed {
            return;
        }
        let Some(finished) = job.finished_at else { return };
        let Some(time) = human::elapsed_seconds(job.started_at, Some(finished), finished) else { return };
        self.timed += 1;
        self.seconds += time;
        if self.fastest.is_none_or(|(known, _)| time < known) {
            self.fastest = Some((time, job.id));
        }
        if self.slowest.is_none_or(|(known, _)| time > known) {
            self.slowest = Some((time, job.id));
        }
        if let Some(media) = job.detail.media_seconds {
            self.media_seconds = Some(self.media_seconds.unwrap_or(0.0) + media);
        }
    }

    pub fn summary(&self, batch: &BatchView) -> SummaryJson {
        let elapsed = batch.finished_at.and_then(|end| human::elapsed_seconds(batch.started_at, Some(end), end));
        let per_second = |amount: f64| elapsed.filter(|elapsed| *elapsed > 0.0).map(|elapsed| amount / elapsed);
        let timed = (self.timed > 0).then_some(f64::from(self.timed));
        SummaryJson {
            mean_seconds: timed.map(|timed| self.seconds / timed),
            fastest: self.fastest.map(|(time, _)| time),
            slowest: self.slowest.map(|(time, _)| time),
            fastest_job: self.fastest.map(|(_, job)| job.to_string()),
            slowest_job: self.slowest.map(|(_, job)| job.to_string()),
            throughput: timed.and_then(per_second),
            media_throughput: self.media_seconds.and_then(per_second),
            media_seconds: self.media_seconds,
            peak_memory_bytes: self.peak_memory_bytes,
            api_calls: self.api_calls.map(|calls| calls as u64),
            tokens: self.tokens.map(|tokens| tokens as u64),
            cost: self.cost,
        }
    }
}

#[derive(Debug, Serialize)]
pub struct ResultJson {
    #[serde(flatten)]
    pub batch: BatchJson,
    pub jobs: Vec<JobJson>,
    /// The gather job, where the recipe has one.
    pub gather: Option<GatherJson>,
    pub summary: SummaryJson,
}

#[derive(Debug, Serialize)]
pub struct GatherJson {
    #[serde(flatten)]
    pub job: JobJson,
    /// From the submission to the end of the batch.
    pub total_seconds: Option<f64>,
    /// What the recipe tells of what it made, from the description that it published: of highlights the analyses (`videos`), `clip_plan`,
    /// `final`, `tokens_used`, `tokens_saved_share`. Nothing where that file is gone.
    #[serde(flatten)]
    pub description: serde_json::Map<String, serde_json::Value>,
}

#[derive(Debug, Serialize)]
pub struct EventJson {
    pub seq: u64,
    pub time: String,
    pub kind: &'static str,
    #[serde(flatten)]
    pub object: ObjectJson,
}

/// The changed object, under its own name.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ObjectJson {
    Snapshot { paused: bool, batches: Vec<BatchJson>, jobs: Vec<JobJson>, alerts: Vec<String> },
    Batch(Box<BatchJson>),
    Job(Box<JobJson>),
    Progress { job_id: String, batch_id: u64, stage: String, progress: f64, batch_progress: f64 },
    Removed { batch_id: u64 },
    Paused(bool),
    Alert { message: String },
    Lagged(bool),
}

impl EventJson {
    pub fn snapshot(snapshot: &Snapshot, now: WallMs) -> Self {
        EventJson {
            seq: snapshot.seq,
            time: human::time(now),
            kind: "snapshot",
            object: ObjectJson::Snapshot {
                paused: snapshot.paused,
                batches: snapshot.batches.values().map(|batch| BatchJson::new(batch, now)).collect(),
                jobs: snapshot.jobs.values().map(JobJson::from).collect(),
                alerts: snapshot.alerts.clone(),
            },
        }
    }

    pub fn new(event: &Event) -> Self {
        let (kind, object) = match &event.fact {
            Fact::Batch(batch) => ("batch", ObjectJson::Batch(Box::new(BatchJson::new(batch, event.time)))),
            Fact::Job(job) => {
                let failed = job.state == JobState::Failed;
                (if failed { "failure" } else { "job" }, ObjectJson::Job(Box::new(job.as_ref().into())))
            }
            Fact::Progress { job, stage, done, batch_done } => (
                "progress",
                ObjectJson::Progress {
                    job_id: job.to_string(),
                    batch_id: job.batch.0,
                    stage: stage.clone(),
                    progress: share(*done),
                    batch_progress: share(*batch_done),
                },
            ),
            Fact::Removed(batch) => ("removed", ObjectJson::Removed { batch_id: batch.0 }),
            Fact::Paused(paused) => ("paused", ObjectJson::Paused(*paused)),
            Fact::Alert(message) => ("alert", ObjectJson::Alert { message: message.clone() }),
            Fact::Lagged => ("lagged", ObjectJson::Lagged(true)),
        };
        EventJson { seq: event.seq, time: human::time(event.time), kind, object }
    }
}

#[derive(Debug, Serialize)]
pub struct PlannedJson {
    pub index: u32,
    pub input: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub input_bytes: Option<String>,
    pub outputs: Vec<String>,
    pub skipped_reason: Option<String>,
    pub estimated_seconds: Option<f64>,
    /// Of Spindle's own disk, while the job is at work.
    pub estimated_bytes: Option<u64>,
}

impl From<&PlannedJob> for PlannedJson {
    fn from(planned: &PlannedJob) -> Self {
        let (input, input_bytes) = input_text(&planned.input);
        PlannedJson {
            index: planned.index,
            input,
            input_bytes,
            outputs: planned.outputs.iter().map(|path| path_text(path).0).collect(),
            skipped_reason: planned.skipped_reason.clone(),
            estimated_seconds: planned.estimated_seconds,
            estimated_bytes: planned.estimated_bytes.map(|bytes| bytes as u64),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct PlanJson {
    pub dry_run: bool,
    pub recipe: String,
    pub total: usize,
    pub skipped: usize,
    pub estimated_seconds: Option<f64>,
    /// The most of Spindle's own disk at one time.
    pub estimated_bytes: Option<u64>,
    pub jobs: Vec<PlannedJson>,
}

#[derive(Debug, Serialize)]
pub struct TargetJson {
    pub id: String,
    pub batch_id: u64,
    pub job_id: Option<String>,
}

impl From<Target> for TargetJson {
    fn from(target: Target) -> Self {
        let job_id = match target {
            Target::Batch(_) => None,
            Target::Job(job) => Some(job.to_string()),
        };
        TargetJson { id: target.to_string(), batch_id: target.batch().0, job_id }
    }
}

#[derive(Debug, Serialize)]
pub struct ActedJson {
    #[serde(flatten)]
    pub target: TargetJson,
    pub what: String,
}

impl From<&Acted> for ActedJson {
    fn from(acted: &Acted) -> Self {
        ActedJson { target: acted.target.into(), what: acted.what.clone() }
    }
}

#[derive(Debug, Serialize)]
pub struct ExplanationJson {
    #[serde(flatten)]
    pub target: TargetJson,
    pub state: String,
    pub why: String,
    pub advice: Option<String>,
}

impl From<&Explanation> for ExplanationJson {
    fn from(explanation: &Explanation) -> Self {
        ExplanationJson {
            target: explanation.target.into(),
            state: explanation.state.clone(),
            why: explanation.why.clone(),
            advice: explanation.advice.clone(),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct CheckJson {
    pub name: String,
    pub healthy: bool,
    pub message: String,
}

#[derive(Debug, Serialize)]
pub struct HealthJson {
    pub healthy: bool,
    pub version: String,
    pub checks: Vec<CheckJson>,
}

impl From<&Health> for HealthJson {
    fn from(health: &Health) -> Self {
        let check = |(name, healthy, message): &(String, bool, String)| CheckJson {
            name: name.clone(),
            healthy: *healthy,
            message: message.clone(),
        };
        HealthJson {
            healthy: health.healthy,
            version: health.version.clone(),
            checks: health.checks.iter().map(check).collect(),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct LaneJson {
    pub lane: String,
    pub used: u32,
    pub slots: u32,
}

pub fn lanes(house: &HouseView) -> Vec<LaneJson> {
    let lane = |(name, used, slots): &(String, u32, u32)| LaneJson { lane: name.clone(), used: *used, slots: *slots };
    // The slots of memory are MiB.
    let memory = |lane: String, (used, slots): (u32, u32)| LaneJson { lane, used, slots };
    let cards = house.devices.iter();
    let cards = cards.map(|card| memory(format!("{} memory", card.lane), (card.used_mib, card.memory_mib)));
    house.lanes.iter().map(lane).chain([memory("memory".to_owned(), house.memory_mib)]).chain(cards).collect()
}

/// A graphics card.
#[derive(Debug, Serialize)]
pub struct DeviceJson {
    pub lane: String,
    pub name: String,
    pub api: String,
    /// What it can do, by the names of roles.
    pub roles: Vec<String>,
    pub used_mib: u32,
    pub memory_mib: u32,
    /// Why it is left alone for a while.
    pub closed: Option<String>,
}

impl From<&DeviceView> for DeviceJson {
    fn from(view: &DeviceView) -> Self {
        let DeviceView { lane, name, api, roles, used_mib, memory_mib, closed } = view.clone();
        DeviceJson { lane, name, api, roles, used_mib, memory_mib, closed }
    }
}

/// Something outside that is out of order, so that work which needs it waits.
#[derive(Debug, Serialize)]
pub struct ClosedJson {
    pub what: String,
    pub why: String,
    pub advice: String,
    pub parked: u32,
    /// Until one job tries; null = one is trying, or it is looked at all the time.
    pub tries_in_seconds: Option<f64>,
}

fn closed(view: &ClosedView) -> ClosedJson {
    let ClosedView { what, why, advice, parked, tries_in_ms } = view;
    ClosedJson {
        what: what.clone(),
        why: why.clone(),
        advice: advice.clone(),
        parked: *parked,
        tries_in_seconds: tries_in_ms.map(|ms| ms as f64 / 1_000.0),
    }
}

#[derive(Debug, Serialize)]
pub struct CountsJson {
    pub pending: u32,
    pub running: u32,
    pub retrying: u32,
    pub completed: u32,
    pub skipped: u32,
    pub failed: u32,
    pub cancelled: u32,
}

/// A rule that holds just now.
#[derive(Debug, Serialize)]
pub struct AlertJson {
    pub rule: String,
    pub since: String,
    pub message: String,
}

impl From<&AlertView> for AlertJson {
    fn from(view: &AlertView) -> Self {
        AlertJson { rule: view.rule.clone(), since: human::time(view.since), message: view.text.clone() }
    }
}

#[derive(Debug, Serialize)]
pub struct HouseJson {
    pub version: String,
    pub pid: u32,
    pub socket: Option<String>,
    pub started_at: String,
    pub uptime_seconds: f64,
    pub paused: bool,
    pub draining: bool,
    pub batches_open: u32,
    pub jobs: CountsJson,
    pub lanes: Vec<LaneJson>,
    pub closed: Vec<ClosedJson>,
    pub alerts: Vec<AlertJson>,
    /// Since the daemon began; only ever rises.
    pub jobs_done: u64,
    pub media_seconds_done: f64,
    /// Until all open batches are through.
    pub eta_seconds: Option<f64>,
    pub eta_low_seconds: Option<f64>,
    pub eta_high_seconds: Option<f64>,
    pub state_dir: String,
    pub model_dir: String,
    pub devices: Vec<DeviceJson>,
    /// Why there is no graphics card although one was asked for.
    pub no_device: Option<String>,
}

impl HouseJson {
    pub fn new(house: &HouseView, socket: Option<&std::path::Path>, now: WallMs) -> Self {
        let Counts { pending, running, retrying, completed, skipped, failed, cancelled } = house.counts;
        HouseJson {
            version: house.version.clone(),
            pid: house.pid,
            socket: socket.map(|path| path.to_string_lossy().into_owned()),
            started_at: human::time(house.started_at),
            uptime_seconds: now.0.saturating_sub(house.started_at.0) as f64 / 1_000.0,
            paused: house.paused,
            draining: house.draining,
            batches_open: house.batches_open,
            jobs: CountsJson { pending, running, retrying, completed, skipped, failed, cancelled },
            lanes: lanes(house),
            closed: house.closed.iter().map(closed).collect(),
            alerts: house.alerts.iter().map(AlertJson::from).collect(),
            jobs_done: house.done.jobs,
            media_seconds_done: house.done.media_seconds,
            eta_seconds: house.eta.map(|eta| eta.seconds),
            eta_low_seconds: house.eta.map(|eta| eta.low),
            eta_high_seconds: house.eta.map(|eta| eta.high),
            state_dir: path_text(&house.state_dir).0,
            model_dir: path_text(&house.model_dir).0,
            devices: house.devices.iter().map(DeviceJson::from).collect(),
            no_device: house.no_device.clone(),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct ModelJson {
    pub name: String,
    pub installed: bool,
    pub path: Option<String>,
    pub bytes: u64,
    pub sha256: Option<String>,
    pub english_only: bool,
    pub about: String,
    pub purpose: String,
    pub licence: Option<String>,
}

impl From<&ModelView> for ModelJson {
    fn from(model: &ModelView) -> Self {
        ModelJson {
            name: model.name.clone(),
            installed: model.path.is_some(),
            path: model.path.as_ref().map(|path| path_text(path).0),
            bytes: model.bytes,
            sha256: model.sha256.clone(),
            english_only: model.english_only,
            about: model.about.clone(),
            purpose: model.purpose.clone(),
            licence: model.licence.clone(),
        }
    }
}

#[derive(Debug, Serialize)]
pub struct WorkerJson {
    pub worker: String,
    pub role: String,
    pub pid: u32,
    pub model: Option<String>,
    pub runs: Vec<String>,
    pub runs_done: u64,
    pub resident_bytes: u64,
    /// The graphics card that it works on.
    pub device: Option<String>,
}

impl From<&WorkerView> for WorkerJson {
    fn from(worker: &WorkerView) -> Self {
        WorkerJson {
            worker: worker.id.clone(),
            role: worker.role.clone(),
            pid: worker.pid,
            model: worker.model.clone(),
            runs: worker.runs.iter().map(ToString::to_string).collect(),
            runs_done: worker.runs_done,
            resident_bytes: worker.resident_bytes,
            device: worker.device.clone(),
        }
    }
}
