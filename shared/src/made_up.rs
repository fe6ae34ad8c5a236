//! A made-up house for tests and measurements, whose makers change what matters to them. No program of ours knows it: it is a feature that only
//! tests ask for.

use crate::batch::{BatchState, BatchView, Counts, Priority};
use crate::id::{BatchId, JobId, Owner};
use crate::job::{Detail, FileIdentity, Input, JobState, JobView, PathBytes};
use crate::snapshot::Snapshot;
use crate::time::WallMs;
use crate::wire::response::{HouseView, WorkDone};

/// It has not been told by anybody how far it is.
pub fn batch(id: u64, state: BatchState, counts: Counts) -> BatchView {
    BatchView {
        id: BatchId(id),
        name: None,
        recipe: "subtitles".to_owned(),
        owner: Owner(1000),
        state,
        priority: Priority::NORMAL,
        parallel: 2,
        created_at: WallMs(0),
        started_at: None,
        finished_at: state.is_terminal().then_some(WallMs(9)),
        counts,
        gather: None,
        progress: 0.0,
        stage: None,
        eta: None,
        tags: Vec::new(),
    }
}

/// Without its input, as events tell it of a large batch.
pub fn job(batch: u64, index: u32, state: JobState) -> JobView {
    JobView {
        id: JobId { batch: BatchId(batch), index },
        input: None,
        state,
        stage: "transcribe".to_owned(),
        progress: 0.0,
        attempts: 1,
        worker: None,
        created_at: WallMs(0),
        started_at: None,
        finished_at: None,
        timings: Vec::new(),
        failure: None,
        skipped_reason: None,
        outputs: Vec::new(),
        detail: Detail::default(),
        peak_memory_bytes: None,
    }
}

/// A file of one byte.
pub fn file(path: impl Into<Vec<u8>>) -> Input {
    let identity = FileIdentity { dev: 1, inode: 1, bytes: 1, mtime_ns: 0, ctime_ns: 0 };
    Input::File { path: PathBytes(path.into()), identity }
}

/// It lives, and has done nothing yet.
pub fn house() -> HouseView {
    HouseView {
        version: "0.1.0".to_owned(),
        pid: 1,
        started_at: WallMs(0),
        paused: false,
        draining: false,
        batches_open: 1,
        counts: Counts::default(),
        lanes: vec![("cpu".to_owned(), 2, 2)],
        memory_mib: (300, 18_000),
        closed: Vec::new(),
        alerts: Vec::new(),
        done: WorkDone::default(),
        eta: None,
        state_dir: PathBytes::default(),
        model_dir: PathBytes::default(),
        devices: Vec::new(),
        no_device: None,
    }
}

/// What a watcher knows who was told of these.
pub fn snapshot(
    seq: u64,
    batches: impl IntoIterator<Item = BatchView>,
    jobs: impl IntoIterator<Item = JobView>,
) -> Snapshot {
    Snapshot {
        seq,
        batches: batches.into_iter().map(|batch| (batch.id, batch)).collect(),
        jobs: jobs.into_iter().map(|job| (job.id, job)).collect(),
        ..Snapshot::default()
    }
}
