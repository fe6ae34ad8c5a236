//! What a value on disk is: a version byte, then the row's own type. Converts from and to the core's types; opens no table.
//!
//! Rows have history: a type here never changes once released; its successor is `…V2` beside it, and `read_…` tells them apart.
//! `BatchSpec` and `Stage` are embedded as the wire has them. The day one of them changes, its old shape moves
//! here as part of the V1 row; the golden queue in the tests fails until that is done.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use spindle_core::api::Used;
use spindle_core::change::{BatchStatus, EndedJob, Folder, NewBatch, OpenJob, PublishedFile, StoredArtifact};
use spindle_core::outbox::Delivery;
use spindle_core::rates::Rate;
use spindle_core::stores::Known;
use spindle_shared::batch::{After, BatchSpec, Counts, Halt, HaltAt, OnExisting, Priority, Terms, TimeLimit};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, ContentHash, JobId, Owner};
use spindle_shared::job::{Detail, Figure, FileIdentity, Input, JobSpec, JobState, Output, OutputPlan, PathBytes};
use spindle_shared::notify::Notify;
use spindle_shared::recipe::Recipe;
use spindle_shared::stage::Stage;
use spindle_shared::time::WallMs;
use spindle_shared::url::Url;
use spindle_shared::wire::codec;
use spindle_shared::worker::ArtifactFile;

use super::StoreError;

const ROW_BYTES_MAX: usize = 16 << 20;

/// A batch without its jobs and without what changes.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct StoredBatch {
    pub owner: Owner,
    pub created_at: WallMs,
    pub total: u32,
    pub spec: BatchSpec,
}

#[derive(Serialize, Deserialize)]
struct BatchRowV1 {
    owner: u32,
    created_at: u64,
    total: u32,
    recipe: RecipeRowV1,
    name: Option<String>,
    tags: Vec<(String, String)>,
    priority: Priority,
    parallel: u32,
    retries: Option<u32>,
    timeout_ms: Option<u64>,
    key: Option<String>,
    on_existing: OnExisting,
}

/// Of recipes that gather nothing.
#[derive(Serialize, Deserialize)]
struct RecipeRowV1 {
    name: String,
    map: Vec<Stage>,
}

/// As version 1, the terms, and what is gathered.
#[derive(Serialize, Deserialize)]
struct BatchRowV2 {
    first: BatchRowV1,
    /// Number, and whether any end does.
    after: Vec<(u64, bool)>,
    at: Option<u64>,
    /// Whether now, jobs, percent.
    halt: Option<(bool, Option<u32>, Option<u8>)>,
    gather: Vec<Stage>,
    /// Folder and stem.
    gather_to: Option<(Vec<u8>, Vec<u8>)>,
    timeout_media: Option<f64>,
    auto_priority: bool,
}

/// As version 2, of a batch whose model APIs may cost so much.
#[derive(Serialize, Deserialize)]
struct BatchRowV3 {
    second: BatchRowV2,
    max_cost: f64,
}

/// As version 2, of a batch that tells somebody of its end; `max_cost` as in version 3.
#[derive(Serialize, Deserialize)]
struct BatchRowV4 {
    second: BatchRowV2,
    max_cost: Option<f64>,
    notify: Vec<NotifyRowV1>,
}

/// A command's words, or an address alone; and where what signs it is.
#[derive(Serialize, Deserialize)]
struct NotifyRowV1 {
    is_address: bool,
    words: Vec<String>,
    secret: Option<String>,
}

impl From<&Notify> for NotifyRowV1 {
    fn from(notify: &Notify) -> Self {
        match notify {
            Notify::Command(words) => NotifyRowV1 { is_address: false, words: words.clone(), secret: None },
            Notify::Webhook { url, secret } => {
                NotifyRowV1 { is_address: true, words: vec![url.clone()], secret: secret.clone() }
            }
        }
    }
}

impl From<NotifyRowV1> for Notify {
    fn from(row: NotifyRowV1) -> Self {
        match row.is_address {
            true => Notify::Webhook { url: row.words.into_iter().next().unwrap_or_default(), secret: row.secret },
            false => Notify::Command(row.words),
        }
    }
}

#[derive(Serialize, Deserialize)]
struct FolderRowV1 {
    path: Vec<u8>,
    working: Vec<u8>,
    owner: u32,
    arguments: Vec<String>,
    extensions: Vec<String>,
    recursive: bool,
}

#[derive(Serialize, Deserialize)]
struct SendingRowV1 {
    key: String,
    files: Vec<(Vec<u8>, IdentityRowV1)>,
}

pub(super) fn write_folder(folder: &Folder) -> Vec<u8> {
    let Folder { id: _, path, working, owner, arguments, extensions, recursive } = folder.clone();
    let (path, working, owner) = (path.0, working.0, owner.0);
    versioned(1, &FolderRowV1 { path, working, owner, arguments, extensions, recursive })
}

pub(super) fn read_folder(id: u64, bytes: &[u8]) -> Result<Folder, StoreError> {
    let FolderRowV1 { path, working, owner, arguments, extensions, recursive } = read_v1("folders", bytes)?;
    let (path, working, owner) = (PathBytes(path), PathBytes(working), Owner(owner));
    Ok(Folder { id, path, working, owner, arguments, extensions, recursive })
}

pub(super) fn write_folder_file(identity: &FileIdentity) -> Vec<u8> {
    versioned(1, &IdentityRowV1::from(identity))
}

pub(super) fn read_folder_file(bytes: &[u8]) -> Result<FileIdentity, StoreError> {
    read_v1::<IdentityRowV1>("folder_files", bytes).map(FileIdentity::from)
}

pub(super) fn write_sending(key: &str, files: &[(PathBytes, FileIdentity)]) -> Vec<u8> {
    let files = files.iter().map(|(path, identity)| (path.0.clone(), identity.into())).collect();
    versioned(1, &SendingRowV1 { key: key.to_owned(), files })
}

/// The key, and the files.
pub(super) fn read_sending(bytes: &[u8]) -> Result<(String, Vec<(PathBytes, FileIdentity)>), StoreError> {
    let SendingRowV1 { key, files } = read_v1("folder_sends", bytes)?;
    Ok((key, files.into_iter().map(|(path, identity)| (PathBytes(path), identity.into())).collect()))
}

#[derive(Serialize, Deserialize)]
struct DeliveryRowV1 {
    batch: Option<u64>,
    target: NotifyRowV1,
    event: String,
    body: String,
    created_at: u64,
    tries: u32,
    next_at: u64,
}

pub(super) fn write_delivery(delivery: &Delivery) -> Vec<u8> {
    let Delivery { id: _, batch, target, event, body, created_at, tries, next_at } = delivery;
    let row = DeliveryRowV1 {
        batch: batch.map(|batch| batch.0),
        target: target.into(),
        event: event.clone(),
        body: body.clone(),
        created_at: created_at.0,
        tries: *tries,
        next_at: next_at.0,
    };
    versioned(1, &row)
}

pub(super) fn read_delivery(id: u64, bytes: &[u8]) -> Result<Delivery, StoreError> {
    let DeliveryRowV1 { batch, target, event, body, created_at, tries, next_at } = read_v1("deliveries", bytes)?;
    let (batch, target) = (batch.map(BatchId), target.into());
    Ok(Delivery { id, batch, target, event, body, created_at: WallMs(created_at), tries, next_at: WallMs(next_at) })
}

pub(super) fn write_batch(batch: &NewBatch, total: u32) -> Vec<u8> {
    let BatchSpec { recipe, name, tags, priority, parallel, retries, timeout, key, on_existing, terms, gather_to } =
        batch.spec.clone();
    let (timeout_ms, timeout_media) = match timeout {
        Some(TimeLimit::TimesMedia(times)) => (None, Some(times)),
        Some(TimeLimit::Milliseconds(ms)) => (Some(ms), None),
        None => (None, None),
    };
    let Recipe { name: recipe_name, map, gather } = recipe;
    let recipe = RecipeRowV1 { name: recipe_name, map };
    let (owner, created_at) = (batch.owner.0, batch.created_at.0);
    let first = BatchRowV1 {
        owner,
        created_at,
        total,
        recipe,
        name,
        tags,
        priority,
        parallel,
        retries,
        timeout_ms,
        key,
        on_existing,
    };
    if terms == Terms::default() && gather.is_empty() && gather_to.is_none() && timeout_media.is_none() {
        return versioned(1, &first);
    }
    let max_cost = terms.max_cost;
    let halt = terms.halt.map(|Halt { now, failed }| match failed {
        HaltAt::Jobs(jobs) => (now, Some(jobs), None),
        HaltAt::Percent(percent) => (now, None, Some(percent)),
    });
    let after = terms.after.iter().map(|after| (after.batch.0, after.any_end)).collect();
    let gather_to = gather_to.map(|to| (to.directory.0, to.stem.0));
    let (at, auto_priority) = (terms.at.map(|at| at.0), terms.auto_priority);
    let second = BatchRowV2 { first, after, at, halt, gather, gather_to, timeout_media, auto_priority };
    if !terms.notify.is_empty() {
        let notify = terms.notify.iter().map(NotifyRowV1::from).collect();
        return versioned(4, &BatchRowV4 { second, max_cost, notify });
    }
    match max_cost {
        None => versioned(2, &second),
        Some(max_cost) => versioned(3, &BatchRowV3 { second, max_cost }),
    }
}

pub(super) fn read_batch(bytes: &[u8]) -> Result<StoredBatch, StoreError> {
    let (first, terms, gather, gather_to, timeout_media) = match bytes.split_first() {
        Some((version @ (2..=4), row)) => {
            let wrong = |error: codec::CodecError| unreadable("batches", error.to_string());
            let (second, max_cost, notify) = match version {
                2 => (codec::decode(row, ROW_BYTES_MAX).map_err(wrong)?, None, Vec::new()),
                3 => {
                    let BatchRowV3 { second, max_cost } = codec::decode(row, ROW_BYTES_MAX).map_err(wrong)?;
                    (second, Some(max_cost), Vec::new())
                }
                _ => {
                    let BatchRowV4 { second, max_cost, notify } = codec::decode(row, ROW_BYTES_MAX).map_err(wrong)?;
                    (second, max_cost, notify)
                }
            };
            let notify = notify.into_iter().map(Notify::from).collect();
            let BatchRowV2 { first, after, at, halt, gather, gather_to, timeout_media, auto_priority } = second;
            let halt = halt.and_then(|(now, jobs, percent)| {
                let failed = jobs.map(HaltAt::Jobs).or(percent.map(HaltAt::Percent))?;
                Some(Halt { now, failed })
            });
            let after = after.into_iter().map(|(batch, any_end)| After { batch: BatchId(batch), any_end }).collect();
            let gather_to = gather_to
                .map(|(directory, stem)| OutputPlan { directory: PathBytes(directory), stem: PathBytes(stem) });
            let terms = Terms { after, at: at.map(WallMs), halt, auto_priority, max_cost, notify };
            (first, terms, gather, gather_to, timeout_media)
        }
        _ => (read_v1("batches", bytes)?, Terms::default(), Vec::new(), None, None),
    };
    let BatchRowV1 { owner, created_at, total, recipe, name, tags, priority, parallel, .. } = first;
    let BatchRowV1 { retries, timeout_ms, key, on_existing, .. } = first;
    let recipe = Recipe { name: recipe.name, map: recipe.map, gather };
    let timeout = timeout_ms.map(TimeLimit::Milliseconds).or(timeout_media.map(TimeLimit::TimesMedia));
    let spec =
        BatchSpec { recipe, name, tags, priority, parallel, retries, timeout, key, on_existing, terms, gather_to };
    Ok(StoredBatch { owner: Owner(owner), created_at: WallMs(created_at), total, spec })
}

#[derive(Serialize, Deserialize)]
struct StatusRowV1 {
    priority: u8,
    paused: bool,
    cancelling: bool,
    started_at: Option<u64>,
    finished_at: Option<u64>,
    pending: u32,
    running: u32,
    retrying: u32,
    completed: u32,
    skipped: u32,
    failed: u32,
    cancelled: u32,
}

/// Of a batch that gathers.
#[derive(Serialize, Deserialize)]
struct StatusRowV2 {
    first: StatusRowV1,
    /// How the gather job ended; 0 = it has not.
    gather: u8,
}

/// Of a batch whose model APIs have cost something; `gather`: 255 = it gathers nothing.
#[derive(Serialize, Deserialize)]
struct StatusRowV3 {
    second: StatusRowV2,
    cost: f64,
}

/// Stands for no gather at all.
const NO_GATHER: u8 = 255;

pub(super) fn write_status(status: &BatchStatus) -> Vec<u8> {
    let BatchStatus { priority, paused, cancelling, started_at, finished_at, counts, gather, cost } = *status;
    let Counts { pending, running, retrying, completed, skipped, failed, cancelled } = counts;
    let row = StatusRowV1 {
        priority: priority.0,
        paused,
        cancelling,
        started_at: started_at.map(|time| time.0),
        finished_at: finished_at.map(|time| time.0),
        pending,
        running,
        retrying,
        completed,
        skipped,
        failed,
        cancelled,
    };
    match gather {
        gather if cost > 0.0 => {
            let gather = gather.map_or(NO_GATHER, |state| terminal_code(state).unwrap_or(0));
            versioned(3, &StatusRowV3 { second: StatusRowV2 { first: row, gather }, cost })
        }
        None => versioned(1, &row),
        Some(state) => versioned(2, &StatusRowV2 { first: row, gather: terminal_code(state).unwrap_or(0) }),
    }
}

pub(super) fn read_status(bytes: &[u8]) -> Result<BatchStatus, StoreError> {
    let (row, gather, cost) = match bytes.split_first() {
        Some((version @ (2 | 3), row)) => {
            let wrong = |error: codec::CodecError| unreadable("statuses", error.to_string());
            let (row, cost) = if *version == 2 {
                (codec::decode::<StatusRowV2>(row, ROW_BYTES_MAX).map_err(wrong)?, 0.0)
            } else {
                let StatusRowV3 { second, cost } = codec::decode(row, ROW_BYTES_MAX).map_err(wrong)?;
                (second, cost)
            };
            let gather = match row.gather {
                NO_GATHER => None,
                0 => Some(JobState::Pending),
                code => Some(terminal_state(code, "statuses")?),
            };
            (row.first, gather, cost)
        }
        _ => (read_v1("statuses", bytes)?, None, 0.0),
    };
    let StatusRowV1 { pending, running, retrying, completed, skipped, failed, cancelled, .. } = row;
    Ok(BatchStatus {
        priority: Priority(row.priority),
        paused: row.paused,
        cancelling: row.cancelling,
        started_at: row.started_at.map(WallMs),
        finished_at: row.finished_at.map(WallMs),
        counts: Counts { pending, running, retrying, completed, skipped, failed, cancelled },
        gather,
        cost,
    })
}

/// There may be a million of these: what follows from the input's path is left out.
#[derive(Serialize, Deserialize)]
struct JobRowV1 {
    input: InputRowV1,
    /// `None` = the input's own folder.
    directory: Option<Vec<u8>>,
    /// `None` = the input's own stem.
    stem: Option<Vec<u8>>,
    stages: Option<Vec<Stage>>,
    skip: Option<String>,
    replace: Vec<(Vec<u8>, [u8; 32])>,
}

#[derive(Serialize, Deserialize)]
enum InputRowV1 {
    File { path: Vec<u8>, identity: IdentityRowV1 },
    Name(String),
    Url(String),
}

#[derive(Serialize, Deserialize)]
struct IdentityRowV1 {
    dev: u64,
    inode: u64,
    bytes: u64,
    mtime_ns: i128,
    ctime_ns: i128,
}

pub(super) fn write_job(spec: &JobSpec) -> Vec<u8> {
    let own = own_output(&spec.input);
    let unless_own = |path: &PathBytes, own: Option<&[u8]>| (own != Some(&path.0)).then(|| path.0.clone());
    let row = JobRowV1 {
        input: match &spec.input {
            Input::File { path, identity } => {
                InputRowV1::File { path: path.0.clone(), identity: IdentityRowV1::from(identity) }
            }
            Input::Name(name) => InputRowV1::Name(name.clone()),
            Input::Url(url) => InputRowV1::Url(url.as_str().to_owned()),
        },
        directory: unless_own(&spec.output.directory, own.map(|(directory, _)| directory)),
        stem: unless_own(&spec.output.stem, own.map(|(_, stem)| stem)),
        stages: spec.stages.clone(),
        skip: spec.skip.clone(),
        replace: spec.replace.iter().map(|(path, content)| (path.0.clone(), content.0)).collect(),
    };
    versioned(1, &row)
}

pub(super) fn read_job(bytes: &[u8]) -> Result<JobSpec, StoreError> {
    let row: JobRowV1 = read_v1("jobs", bytes)?;
    let input = match row.input {
        InputRowV1::File { path, identity } => Input::File { path: PathBytes(path), identity: identity.into() },
        InputRowV1::Name(name) => Input::Name(name),
        InputRowV1::Url(url) => Input::Url(Url::stored(url)),
    };
    let (own_directory, own_stem) = own_output(&input).unwrap_or((&[], &[]));
    let output = OutputPlan {
        directory: PathBytes(row.directory.unwrap_or_else(|| own_directory.to_vec())),
        stem: PathBytes(row.stem.unwrap_or_else(|| own_stem.to_vec())),
    };
    let replace = row.replace.into_iter().map(|(path, content)| (PathBytes(path), ContentHash(content))).collect();
    Ok(JobSpec { input, output, stages: row.stages, skip: row.skip, replace })
}

/// Folder and stem of an input's path, as plain bytes: what is left out of a row must come back exactly.
fn own_output(input: &Input) -> Option<(&[u8], &[u8])> {
    let Input::File { path, .. } = input else { return None };
    let slash = path.0.iter().rposition(|byte| *byte == b'/')?;
    let (directory, name) = (&path.0[..slash], &path.0[slash + 1..]);
    let stem = match name.iter().rposition(|byte| *byte == b'.') {
        Some(dot) if dot > 0 => &name[..dot],
        _ => name,
    };
    Some((directory, stem))
}

impl From<&FileIdentity> for IdentityRowV1 {
    fn from(identity: &FileIdentity) -> Self {
        let FileIdentity { dev, inode, bytes, mtime_ns, ctime_ns } = *identity;
        IdentityRowV1 { dev, inode, bytes, mtime_ns, ctime_ns }
    }
}

impl From<IdentityRowV1> for FileIdentity {
    fn from(row: IdentityRowV1) -> Self {
        let IdentityRowV1 { dev, inode, bytes, mtime_ns, ctime_ns } = row;
        FileIdentity { dev, inode, bytes, mtime_ns, ctime_ns }
    }
}

#[derive(Serialize, Deserialize)]
struct OpenRowV1 {
    attempts: u32,
    deaths: u32,
    ready_at: Option<u64>,
    started_at: Option<u64>,
    failure: Option<FailureRowV1>,
    alone: bool,
    progress: f32,
    timings: Vec<(String, f64)>,
    detail: DetailRowV1,
}

/// As version 1, and what the stages measured.
#[derive(Serialize, Deserialize)]
struct OpenRowV2 {
    first: OpenRowV1,
    figures: Vec<(String, FigureRowV1)>,
}

/// What is known of an input, but for its figures.
#[derive(Serialize, Deserialize)]
struct DetailRowV1 {
    media_seconds: Option<f64>,
    language: Option<String>,
    language_probability: Option<f64>,
    cues: Option<u32>,
    words: Option<u32>,
    notes: Vec<String>,
}

#[derive(Serialize, Deserialize)]
enum FigureRowV1 {
    Number(f64),
    Text(String),
    Flag(bool),
}

fn detail_rows(detail: &Detail) -> (DetailRowV1, Vec<(String, FigureRowV1)>) {
    let Detail { media_seconds, language, language_probability, cues, words, notes, figures } = detail.clone();
    let figures = figures.into_iter().map(|(name, figure)| {
        let figure = match figure {
            Figure::Number(number) => FigureRowV1::Number(number),
            Figure::Text(text) => FigureRowV1::Text(text),
            Figure::Flag(flag) => FigureRowV1::Flag(flag),
        };
        (name, figure)
    });
    (DetailRowV1 { media_seconds, language, language_probability, cues, words, notes }, figures.collect())
}

fn detail_of(row: DetailRowV1, figures: Vec<(String, FigureRowV1)>) -> Detail {
    let DetailRowV1 { media_seconds, language, language_probability, cues, words, notes } = row;
    let figures = figures.into_iter().map(|(name, figure)| {
        let figure = match figure {
            FigureRowV1::Number(number) => Figure::Number(number),
            FigureRowV1::Text(text) => Figure::Text(text),
            FigureRowV1::Flag(flag) => Figure::Flag(flag),
        };
        (name, figure)
    });
    Detail { media_seconds, language, language_probability, cues, words, notes, figures: figures.collect() }
}

/// Empty for a job that never started.
pub(super) fn write_open(job: &OpenJob) -> Vec<u8> {
    if *job == OpenJob::default() {
        return Vec::new();
    }
    let OpenJob { attempts, deaths, ready_at, started_at, failure, alone, progress, timings, detail } = job;
    let (detail, figures) = detail_rows(detail);
    let row = OpenRowV1 {
        attempts: *attempts,
        deaths: *deaths,
        ready_at: ready_at.map(|time| time.0),
        started_at: started_at.map(|time| time.0),
        failure: failure.as_ref().map(FailureRowV1::from),
        alone: *alone,
        progress: *progress,
        timings: timings.clone(),
        detail,
    };
    if figures.is_empty() { versioned(1, &row) } else { versioned(2, &OpenRowV2 { first: row, figures }) }
}

pub(super) fn read_open(bytes: &[u8]) -> Result<Option<Box<OpenJob>>, StoreError> {
    if bytes.is_empty() {
        return Ok(None);
    }
    let (row, figures): (OpenRowV1, _) = match bytes.split_first() {
        Some((2, row)) => {
            let row: OpenRowV2 =
                codec::decode(row, ROW_BYTES_MAX).map_err(|error| unreadable("open", error.to_string()))?;
            (row.first, row.figures)
        }
        _ => (read_v1("open", bytes)?, Vec::new()),
    };
    Ok(Some(Box::new(OpenJob {
        attempts: row.attempts,
        deaths: row.deaths,
        ready_at: row.ready_at.map(WallMs),
        started_at: row.started_at.map(WallMs),
        failure: row.failure.map(|failure| failure.read("open")).transpose()?,
        alone: row.alone,
        progress: row.progress,
        timings: row.timings,
        detail: detail_of(row.detail, figures),
    })))
}

#[derive(Serialize, Deserialize)]
struct EndedRowV1 {
    state: u8,
    stage: String,
    attempts: u32,
    progress: f32,
    started_at: Option<u64>,
    finished_at: u64,
    timings: Vec<(String, f64)>,
    failure: Option<FailureRowV1>,
    skipped_reason: Option<String>,
    outputs: Vec<OutputRowV1>,
    detail: DetailRowV1,
    peak_memory_bytes: u64,
}

/// Of a job whose result is to be gathered.
#[derive(Serialize, Deserialize)]
struct EndedRowV2 {
    first: EndedRowV1,
    artifact: [u8; 32],
}

/// As version 1, its artifact where it is to be gathered, and what the stages measured.
#[derive(Serialize, Deserialize)]
struct EndedRowV3 {
    first: EndedRowV1,
    artifact: Option<[u8; 32]>,
    figures: Vec<(String, FigureRowV1)>,
}

#[derive(Serialize, Deserialize)]
struct OutputRowV1 {
    path: Vec<u8>,
    kind: String,
    bytes: u64,
}

/// `None` where the job has not ended at all.
pub(super) fn write_ended(job: &EndedJob) -> Option<Vec<u8>> {
    let (detail, figures) = detail_rows(&job.detail);
    let row = EndedRowV1 {
        state: terminal_code(job.state)?,
        stage: job.stage.clone(),
        attempts: job.attempts,
        progress: job.progress,
        started_at: job.started_at.map(|time| time.0),
        finished_at: job.finished_at.0,
        timings: job.timings.clone(),
        failure: job.failure.as_ref().map(FailureRowV1::from),
        skipped_reason: job.skipped_reason.clone(),
        outputs: job
            .outputs
            .iter()
            .map(|Output { path, kind, bytes }| OutputRowV1 { path: path.0.clone(), kind: kind.clone(), bytes: *bytes })
            .collect(),
        detail,
        peak_memory_bytes: job.peak_memory_bytes,
    };
    Some(match job.artifact {
        artifact if !figures.is_empty() => {
            versioned(3, &EndedRowV3 { first: row, artifact: artifact.map(|artifact| artifact.0), figures })
        }
        None => versioned(1, &row),
        Some(artifact) => versioned(2, &EndedRowV2 { first: row, artifact: artifact.0 }),
    })
}

pub(super) fn read_ended(bytes: &[u8]) -> Result<EndedJob, StoreError> {
    let (row, artifact, figures) = match bytes.split_first() {
        Some((2, row)) => {
            let row: EndedRowV2 =
                codec::decode(row, ROW_BYTES_MAX).map_err(|error| unreadable("ended", error.to_string()))?;
            (row.first, Some(ContentHash(row.artifact)), Vec::new())
        }
        Some((3, row)) => {
            let row: EndedRowV3 =
                codec::decode(row, ROW_BYTES_MAX).map_err(|error| unreadable("ended", error.to_string()))?;
            (row.first, row.artifact.map(ContentHash), row.figures)
        }
        _ => (read_v1("ended", bytes)?, None, Vec::new()),
    };
    let state = terminal_state(row.state, "ended")?;
    Ok(EndedJob {
        state,
        stage: row.stage,
        attempts: row.attempts,
        progress: row.progress,
        started_at: row.started_at.map(WallMs),
        finished_at: WallMs(row.finished_at),
        timings: row.timings,
        failure: row.failure.map(|failure| failure.read("ended")).transpose()?,
        skipped_reason: row.skipped_reason,
        outputs: row
            .outputs
            .into_iter()
            .map(|OutputRowV1 { path, kind, bytes }| Output { path: PathBytes(path), kind, bytes })
            .collect(),
        detail: detail_of(row.detail, figures),
        peak_memory_bytes: row.peak_memory_bytes,
        artifact,
    })
}

fn terminal_state(code: u8, table: &'static str) -> Result<JobState, StoreError> {
    let mut states = JobState::ALL.into_iter();
    let unknown = || unreadable(table, format!("no state has the number {code}"));
    states.find(|state| terminal_code(*state) == Some(code)).ok_or_else(unknown)
}

/// Numbers on disk; never given to another state.
fn terminal_code(state: JobState) -> Option<u8> {
    match state {
        JobState::Completed => Some(1),
        JobState::Skipped => Some(2),
        JobState::Failed => Some(3),
        JobState::Cancelled => Some(4),
        JobState::Pending | JobState::Running | JobState::Retrying => None,
    }
}

#[derive(Serialize, Deserialize)]
struct FailureRowV1 {
    kind: u8,
    message: String,
    advice: String,
}

impl From<&Failure> for FailureRowV1 {
    fn from(failure: &Failure) -> Self {
        // When it will be tried again is written with the job.
        let Failure { kind, message, advice, retry_after_ms: _, device: _ } = failure;
        FailureRowV1 { kind: failure_code(*kind), message: message.clone(), advice: advice.clone() }
    }
}

impl FailureRowV1 {
    fn read(self, table: &'static str) -> Result<Failure, StoreError> {
        let kind = FailureKind::ALL
            .into_iter()
            .find(|kind| failure_code(*kind) == self.kind)
            .ok_or_else(|| unreadable(table, format!("no kind of failure has the number {}", self.kind)))?;
        Ok(Failure { kind, message: self.message, advice: self.advice, retry_after_ms: None, device: None })
    }
}

/// Numbers on disk; never given to another kind.
fn failure_code(kind: FailureKind) -> u8 {
    match kind {
        FailureKind::Network => 1,
        FailureKind::RateLimited => 2,
        FailureKind::Quota => 3,
        FailureKind::Server => 4,
        FailureKind::Auth => 5,
        FailureKind::Input => 6,
        FailureKind::Exists => 7,
        FailureKind::Permission => 8,
        FailureKind::OutOfMemory => 9,
        FailureKind::Timeout => 10,
        FailureKind::Crash => 11,
        FailureKind::Poison => 12,
        FailureKind::ModelMissing => 13,
        FailureKind::Cancelled => 14,
        FailureKind::Internal => 15,
        FailureKind::DiskFull => 16,
    }
}

/// The content of a file in one state.
#[derive(Serialize, Deserialize)]
struct KnownInputRowV1 {
    bytes: u64,
    mtime_ns: i128,
    ctime_ns: i128,
    content: [u8; 32],
}

pub(super) fn write_input(identity: &FileIdentity, content: ContentHash) -> Vec<u8> {
    let FileIdentity { bytes, mtime_ns, ctime_ns, .. } = *identity;
    versioned(1, &KnownInputRowV1 { bytes, mtime_ns, ctime_ns, content: content.0 })
}

/// The content, if the file is still in the state it was read in.
pub(super) fn read_input(bytes: &[u8], identity: &FileIdentity) -> Result<Option<ContentHash>, StoreError> {
    let row: KnownInputRowV1 = read_v1("inputs", bytes)?;
    let same = row.bytes == identity.bytes && row.mtime_ns == identity.mtime_ns && row.ctime_ns == identity.ctime_ns;
    Ok(same.then_some(ContentHash(row.content)))
}

#[derive(Serialize, Deserialize)]
struct ArtifactRowV1 {
    stage: String,
    /// Name, bytes, content.
    files: Vec<(String, u64, [u8; 32])>,
    detail: DetailRowV1,
    created_at: u64,
}

/// As version 1, and what its stage measured.
#[derive(Serialize, Deserialize)]
struct ArtifactRowV2 {
    first: ArtifactRowV1,
    figures: Vec<(String, FigureRowV1)>,
}

pub(super) fn write_artifact(artifact: &StoredArtifact) -> Vec<u8> {
    let StoredArtifact { stage, files, detail, created_at } = artifact;
    let (detail, figures) = detail_rows(detail);
    let row = ArtifactRowV1 {
        stage: stage.clone(),
        files: files.iter().map(|ArtifactFile { name, bytes, content }| (name.clone(), *bytes, content.0)).collect(),
        detail,
        created_at: created_at.0,
    };
    if figures.is_empty() { versioned(1, &row) } else { versioned(2, &ArtifactRowV2 { first: row, figures }) }
}

pub(super) fn read_artifact(bytes: &[u8]) -> Result<StoredArtifact, StoreError> {
    let (row, figures): (ArtifactRowV1, _) = match bytes.split_first() {
        Some((2, row)) => {
            let row: ArtifactRowV2 =
                codec::decode(row, ROW_BYTES_MAX).map_err(|error| unreadable("artifacts", error.to_string()))?;
            (row.first, row.figures)
        }
        _ => (read_v1("artifacts", bytes)?, Vec::new()),
    };
    Ok(StoredArtifact {
        stage: row.stage,
        files: row
            .files
            .into_iter()
            .map(|(name, bytes, content)| ArtifactFile { name, bytes, content: ContentHash(content) })
            .collect(),
        detail: detail_of(row.detail, figures),
        created_at: WallMs(row.created_at),
    })
}

#[derive(Serialize, Deserialize)]
struct PublishedRowV1 {
    content: [u8; 32],
    input: Option<IdentityRowV1>,
    parameters: [u8; 32],
    batch: u64,
    index: u32,
    published_at: u64,
}

/// As version 1, and the published file itself.
#[derive(Serialize, Deserialize)]
struct PublishedRowV2 {
    content: [u8; 32],
    identity: Option<IdentityRowV1>,
    input: Option<IdentityRowV1>,
    parameters: [u8; 32],
    batch: u64,
    index: u32,
    published_at: u64,
}

pub(super) fn write_published(file: &PublishedFile) -> Vec<u8> {
    let PublishedFile { content, identity, input, parameters, job, published_at } = file;
    let row = PublishedRowV2 {
        content: content.0,
        identity: identity.as_ref().map(IdentityRowV1::from),
        input: input.as_ref().map(IdentityRowV1::from),
        parameters: parameters.0,
        batch: job.batch.0,
        index: job.index,
        published_at: published_at.0,
    };
    versioned(2, &row)
}

pub(super) fn read_published(bytes: &[u8]) -> Result<PublishedFile, StoreError> {
    let row = match bytes.split_first() {
        Some((2, row)) => {
            codec::decode(row, ROW_BYTES_MAX).map_err(|error| unreadable("outputs", error.to_string()))?
        }
        _ => {
            let PublishedRowV1 { content, input, parameters, batch, index, published_at } = read_v1("outputs", bytes)?;
            PublishedRowV2 { content, identity: None, input, parameters, batch, index, published_at }
        }
    };
    Ok(PublishedFile {
        content: ContentHash(row.content),
        identity: row.identity.map(FileIdentity::from),
        input: row.input.map(FileIdentity::from),
        parameters: ContentHash(row.parameters),
        job: JobId { batch: BatchId(row.batch), index: row.index },
        published_at: WallMs(row.published_at),
    })
}

#[derive(Serialize, Deserialize)]
struct SizesRowV1(Vec<u32>);

pub(super) fn write_sizes(sizes: &[u32]) -> Vec<u8> {
    versioned(1, sizes)
}

pub(super) fn read_sizes(bytes: &[u8]) -> Result<Vec<u32>, StoreError> {
    read_v1("sizes", bytes).map(|SizesRowV1(sizes)| sizes)
}

#[derive(Serialize, Deserialize)]
struct RateRowV1 {
    count: u64,
    runs: f64,
    x: f64,
    y: f64,
    w: f64,
    wx: f64,
    wy: f64,
    wxx: f64,
    wxy: f64,
    judged: f64,
    scatter: f64,
    learned_at: u64,
}

pub(super) fn write_rate(rate: &Rate) -> Vec<u8> {
    let Rate { count, runs, x, y, w, wx, wy, wxx, wxy, judged, scatter, learned_at } = *rate;
    let learned_at = learned_at.0;
    versioned(1, &RateRowV1 { count, runs, x, y, w, wx, wy, wxx, wxy, judged, scatter, learned_at })
}

pub(super) fn read_rate(bytes: &[u8]) -> Result<Rate, StoreError> {
    let row: RateRowV1 = read_v1("rates", bytes)?;
    let RateRowV1 { count, runs, x, y, w, wx, wy, wxx, wxy, judged, scatter, learned_at } = row;
    Ok(Rate { count, runs, x, y, w, wx, wy, wxx, wxy, judged, scatter, learned_at: WallMs(learned_at) })
}

#[derive(Serialize, Deserialize)]
struct ApiRowV1 {
    day: u64,
    calls: u32,
    /// When calls of the last minute went out, and the tokens of each.
    recent: Vec<(u64, u64)>,
}

pub(super) fn write_api(used: &Used) -> Vec<u8> {
    let Used { day, calls, recent } = used;
    let recent = recent.iter().map(|(at, tokens)| (at.0, *tokens)).collect();
    versioned(1, &ApiRowV1 { day: *day, calls: *calls, recent })
}

pub(super) fn read_api(bytes: &[u8]) -> Result<Used, StoreError> {
    let ApiRowV1 { day, calls, recent } = read_v1("apis", bytes)?;
    Ok(Used { day, calls, recent: recent.into_iter().map(|(at, tokens)| (WallMs(at), tokens)).collect() })
}

#[derive(Serialize, Deserialize)]
struct StoreRowV1 {
    bytes: u64,
    sent_bytes: f64,
    sent_seconds: f64,
    sent_at: u64,
}

pub(super) fn write_store(known: &Known) -> Vec<u8> {
    let Known { bytes, sent_bytes, sent_seconds, sent_at } = *known;
    versioned(1, &StoreRowV1 { bytes, sent_bytes, sent_seconds, sent_at: sent_at.0 })
}

pub(super) fn read_store(bytes: &[u8]) -> Result<Known, StoreError> {
    let StoreRowV1 { bytes, sent_bytes, sent_seconds, sent_at } = read_v1("stores", bytes)?;
    Ok(Known { bytes, sent_bytes, sent_seconds, sent_at: WallMs(sent_at) })
}

fn versioned<R: Serialize + ?Sized>(version: u8, row: &R) -> Vec<u8> {
    let mut bytes = codec::encode(row);
    bytes.insert(0, version);
    bytes
}

fn read_v1<R: DeserializeOwned>(table: &'static str, bytes: &[u8]) -> Result<R, StoreError> {
    match bytes.split_first() {
        Some((1, row)) => codec::decode(row, ROW_BYTES_MAX).map_err(|error| unreadable(table, error.to_string())),
        Some((version, _)) => Err(unreadable(table, format!("it has version {version}, this Spindle knows 1"))),
        None => Err(unreadable(table, "it is empty".to_owned())),
    }
}

fn unreadable(table: &'static str, reason: String) -> StoreError {
    StoreError::Row { table, reason }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_come_back_and_rows_without_them_stay_as_they_were() {
        let mut detail = Detail { media_seconds: Some(2.5), notes: vec!["one".to_owned()], ..Detail::default() };
        let artifact = |detail: &Detail| StoredArtifact {
            stage: "compress".to_owned(),
            files: Vec::new(),
            detail: detail.clone(),
            created_at: WallMs(1),
        };
        let open = |detail: &Detail| OpenJob { attempts: 1, detail: detail.clone(), ..OpenJob::default() };
        let ended = |detail: &Detail, gathered: bool| EndedJob {
            detail: detail.clone(),
            artifact: gathered.then_some(ContentHash([7; 32])),
            ..super::super::tests::samples::ended_job(JobState::Completed)
        };
        for figures in 0..3 {
            let rows = [write_artifact(&artifact(&detail)), write_open(&open(&detail))];
            assert!(rows.iter().all(|row| row[0] == if figures == 0 { 1 } else { 2 }));
            assert_eq!(read_artifact(&rows[0]).unwrap(), artifact(&detail));
            assert_eq!(read_open(&rows[1]).unwrap().as_deref(), Some(&open(&detail)));
            for gathered in [false, true] {
                let row = write_ended(&ended(&detail, gathered)).unwrap();
                assert_eq!(row[0], if figures > 0 { 3 } else { 1 + u8::from(gathered) });
                assert_eq!(read_ended(&row).unwrap(), ended(&detail, gathered));
            }
            detail.figure("profile", "balanced");
            detail.figure("removed_share", 0.25 * f64::from(figures));
            detail.figure("published", true);
        }
    }
}
