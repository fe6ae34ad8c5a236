//! Files at the end of a run or a job: what is kept, and what goes. What the end means the scheduler has decided.

use std::path::Path;

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{AddressHasher, ContentHash, JobId, RunId};
use spindle_shared::job::JobSpec;
use spindle_shared::worker::Outcome;

use super::Conductor;

/// What a run leaves.
#[derive(Debug, Default)]
pub(super) struct Leaves {
    pub(super) address: Option<ContentHash>,
    pub(super) scratch: bool,
    /// Where it notes what is uploaded.
    pub(super) uploads: Option<ContentHash>,
    /// The bucket that it brings so many bytes to.
    pub(super) bringing: Option<(String, u64)>,
}

impl Conductor {
    /// A finished run's files get their address before anybody counts on them.
    pub(super) fn keep_files(&mut self, run: RunId, outcome: Outcome) -> Outcome {
        let current = self.scheduler.is_current(run);
        let Leaves { address, scratch, uploads, bringing: _ } = self.runs.remove(&run).unwrap_or_default();
        if let (Outcome::Done(_), Some(uploads)) = (&outcome, uploads) {
            self.artifacts.drop_checkpoint(&uploads);
        }
        let kept = match (&outcome, address) {
            (Outcome::Done(_), Some(address)) if current => self.artifacts.keep(run, &address),
            _ => Ok(()),
        };
        if scratch {
            self.artifacts.drop_scratch(run);
        }
        match kept {
            Ok(()) => outcome,
            Err(error) => Outcome::Failed(disk_failure(&error, "keep the result of a stage", self.house.as_path())),
        }
    }

    pub(super) fn end_run(&mut self, run: RunId) {
        if self.runs.remove(&run).is_some_and(|leaves| leaves.scratch) {
            self.artifacts.drop_scratch(run);
        }
    }

    /// What a cancelled job left beside its outputs goes. In a thread of its own: the folder may be anywhere.
    pub(super) fn drop_parts(&self, job: JobId, spec: &JobSpec) {
        let suffix = format!(".spindle-{}.part", self.part_tag(job));
        let folder = spec.output.directory.as_path().to_owned();
        self.runtime.spawn_blocking(move || {
            for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
                if entry.file_name().as_encoded_bytes().ends_with(suffix.as_bytes())
                    && let Err(error) = std::fs::remove_file(entry.path())
                {
                    tracing::warn!("failed to remove a partial file: {error}");
                }
            }
        });
    }

    pub(super) fn part_tag(&self, job: JobId) -> String {
        let mut hasher = AddressHasher::default();
        hasher.part(&self.house.0).part(&job.batch.0.to_le_bytes()).part(&job.index.to_le_bytes());
        hasher.finish().to_string()[..8].to_owned()
    }
}

/// An error on the daemon's own files; a full disk is waited for.
pub(super) fn disk_failure(error: &std::io::Error, doing: &str, state_dir: &Path) -> Failure {
    use std::os::unix::fs::MetadataExt;
    let full = matches!(error.kind(), std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded);
    let kind = if full { FailureKind::DiskFull } else { FailureKind::Internal };
    let device = std::fs::metadata(state_dir).ok().map(|meta| meta.dev());
    Failure::new(kind, format!("failed to {doing}: {error}")).on_device(device.filter(|_| full))
}
