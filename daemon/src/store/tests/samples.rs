//! Batches and jobs for tests. Fixed values, no randomness.

use spindle_core::cache;
use spindle_core::change::{BatchStatus, Change, EndedJob, NewBatch, OpenJob, PublishedFile, StoredArtifact};
use spindle_core::rates::{Rate, RateKey};
use spindle_shared::batch::{BatchSpec, Counts, OnExisting, Priority};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{BatchId, ContentHash, JobId, Owner};
use spindle_shared::job::{Detail, FileIdentity, Input, JobSpec, JobState, Output, OutputPlan, PathBytes};
use spindle_shared::recipe::Recipe;
use spindle_shared::stage::Stage;
use spindle_shared::stage::decode::Decode;
use spindle_shared::stage::publish::Publish;
use spindle_shared::stage::subtitle::Subtitle;
use spindle_shared::stage::transcribe::Transcribe;
use spindle_shared::time::WallMs;
use spindle_shared::worker::ArtifactFile;

pub(super) fn path(text: &str) -> PathBytes {
    PathBytes(text.as_bytes().to_vec())
}

pub(super) fn identity(number: u64) -> FileIdentity {
    FileIdentity {
        dev: 65_025,
        inode: number,
        bytes: 1_000_000 + number,
        mtime_ns: 1_760_000_000_123_456_789,
        ctime_ns: 1_760_000_000_223_456_789,
    }
}

pub(super) fn job(number: u64) -> JobSpec {
    JobSpec {
        input: Input::File { path: path(&format!("/media/talks/talk {number}.mp4")), identity: identity(number) },
        output: OutputPlan { directory: path("/media/talks"), stem: path(&format!("talk {number}")) },
        stages: None,
        skip: None,
        replace: Vec::new(),
    }
}

pub(super) fn recipe() -> Recipe {
    Recipe::subtitles(Decode::default(), Transcribe::default(), Subtitle::default(), Publish::default())
}

pub(super) fn spec(key: Option<&str>) -> BatchSpec {
    BatchSpec {
        recipe: recipe(),
        name: Some("lectures".to_owned()),
        tags: vec![("term".to_owned(), "autumn".to_owned())],
        priority: Priority::NORMAL,
        parallel: 3,
        retries: Some(2),
        timeout: None,
        key: key.map(str::to_owned),
        on_existing: OnExisting::Skip,
        terms: Default::default(),
        gather_to: None,
    }
}

/// As the batch stands right after its submission.
pub(super) fn fresh_status(jobs: &[JobSpec]) -> BatchStatus {
    let skipped = jobs.iter().filter(|job| job.skip.is_some()).count() as u32;
    let counts = Counts { pending: jobs.len() as u32 - skipped, skipped, ..Counts::default() };
    BatchStatus {
        cost: 0.0,
        gather: None,
        priority: Priority::NORMAL,
        paused: false,
        cancelling: false,
        started_at: None,
        finished_at: counts.all_ended().then_some(WallMs(1_000)),
        counts,
    }
}

pub(super) fn batch(id: u64, key: Option<&str>, jobs: Vec<JobSpec>) -> NewBatch {
    NewBatch {
        gather: None,
        id: BatchId(id),
        owner: Owner(1000),
        spec: spec(key),
        created_at: WallMs(1_000 * id),
        status: fresh_status(&jobs),
        sizes: jobs.iter().map(|job| (job.input.bytes() / 1_024) as u32).collect(),
        jobs: jobs.into(),
    }
}

pub(super) fn open_job() -> OpenJob {
    OpenJob {
        attempts: 2,
        deaths: 1,
        ready_at: Some(WallMs(90_000)),
        started_at: Some(WallMs(50_000)),
        failure: Some(Failure::new(FailureKind::Crash, "the worker died under talk 2.mp4")),
        alone: true,
        progress: 0.25,
        timings: vec![("identify".to_owned(), 0.5), ("decode".to_owned(), 3.25)],
        detail: Detail { media_seconds: Some(61.5), notes: vec!["no default track".to_owned()], ..Detail::default() },
    }
}

pub(crate) fn ended_job(state: JobState) -> EndedJob {
    let failed = state == JobState::Failed;
    EndedJob {
        artifact: None,
        state,
        stage: if failed { "transcribe" } else { "publish" }.to_owned(),
        attempts: 1,
        progress: if failed { 0.5 } else { 1.0 },
        started_at: Some(WallMs(50_000)),
        finished_at: WallMs(60_000),
        timings: vec![("decode".to_owned(), 3.25), ("transcribe".to_owned(), 20.0)],
        failure: failed.then(|| Failure::new(FailureKind::OutOfMemory, "talk 3.mp4 needs more memory than there is")),
        skipped_reason: (state == JobState::Skipped).then(|| "talk.srt is there already".to_owned()),
        outputs: match state {
            JobState::Completed => {
                vec![Output { path: path("/media/talks/talk 1.en.srt"), kind: "srt".to_owned(), bytes: 4_321 }]
            }
            _ => Vec::new(),
        },
        detail: Detail {
            media_seconds: Some(61.5),
            language: Some("en".to_owned()),
            language_probability: Some(0.97),
            cues: Some(12),
            words: Some(140),
            notes: Vec::new(),
            figures: Vec::new(),
        },
        peak_memory_bytes: 412 << 20,
    }
}

pub(super) fn artifact(number: u64) -> StoredArtifact {
    StoredArtifact {
        stage: "transcribe".to_owned(),
        files: vec![ArtifactFile {
            name: "transcript.json".to_owned(),
            bytes: number,
            content: ContentHash::of(&number.to_le_bytes()),
        }],
        detail: Detail { cues: Some(3), ..Detail::default() },
        created_at: WallMs(55_000),
    }
}

pub(super) fn published(job: JobId) -> PublishedFile {
    PublishedFile {
        content: ContentHash::of(b"1\n00:00:00,000"),
        identity: Some(identity(2)),
        input: Some(identity(1)),
        parameters: ContentHash::of(b"subtitles"),
        job,
        published_at: WallMs(60_000),
    }
}

pub(super) fn rate(number: u64) -> (RateKey, Rate) {
    let key = RateKey { kind: "transcribe".to_owned(), model: format!("model {number}") };
    let n = number as f64;
    let rate = Rate {
        count: number,
        runs: n + 0.5,
        x: 370.0 * n,
        y: 371.5 * n,
        w: 0.0026,
        wx: 0.039,
        wy: 0.079,
        wxx: 1.89,
        wxy: 3.8,
        judged: 2.0,
        scatter: 0.25,
        learned_at: WallMs(55_000),
    };
    (key, rate)
}

/// A batch of one job whose input is known, with its first artifact; and where that lies.
pub(crate) fn a_job_with_its_artifact(id: u64, created_at: u64) -> (Vec<Change>, ContentHash) {
    let content = ContentHash::of(b"talk");
    let address = cache::addresses(JobId { batch: BatchId(1), index: 1 }, &recipe().map, content)
        .into_iter()
        .flatten()
        .next()
        .expect("decode has one");
    let artifact = StoredArtifact { stage: "decode".to_owned(), created_at: WallMs(created_at), ..artifact(1) };
    let changes = vec![
        Change::BatchAdded(Box::new(batch(id, None, vec![job(1)]))),
        Change::InputKnown(identity(1), content),
        Change::ArtifactStored(address, artifact),
    ];
    (changes, address)
}

/// The end of that job and its batch.
pub(crate) fn its_end(id: u64, at: u64) -> Vec<Change> {
    let job = JobId { batch: BatchId(id), index: 1 };
    let counts = Counts { completed: 1, ..Counts::default() };
    let status = BatchStatus { finished_at: Some(WallMs(at)), counts, ..fresh_status(&[]) };
    vec![Change::JobEnded(job, Box::new(ended_job(JobState::Completed))), Change::BatchChanged(BatchId(id), status)]
}

/// A batch whose only input has ended with a result at this address, and whose gather waits to read it.
pub(crate) fn a_gather_that_waits(id: u64, result: ContentHash) -> Vec<Change> {
    let mut batch = batch(id, None, vec![job(1)]);
    batch.spec.recipe.gather = vec![Stage::Publish(Publish::default())];
    batch.gather = Some(JobSpec {
        input: Input::Name("gather".to_owned()),
        stages: Some(batch.spec.recipe.gather.clone()),
        ..job(1)
    });
    batch.status.gather = Some(JobState::Pending);
    let ended = EndedJob { artifact: Some(result), ..ended_job(JobState::Completed) };
    let job = JobId { batch: BatchId(id), index: 1 };
    vec![Change::BatchAdded(Box::new(batch)), Change::JobEnded(job, Box::new(ended))]
}
