//! Housekeeping: what is too old to keep, found beside the conductor and given to it to remove. Removes nothing itself, and looks only where the
//! daemon alone writes.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use spindle_shared::id::{BatchId, ContentHash};
use spindle_shared::limits::SWEEP_MAX;
use spindle_shared::stage;

use crate::ages::{Ages, Now};
use crate::artifacts::Artifacts;
use crate::config;
use crate::store::{Reader, StoreError};

const HOUR_MS: u64 = 3_600_000;

/// How long things are kept.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// Artifacts that are quickly made again, exports, and what nobody has a record of.
    temporary_ms: u64,
    /// Transcripts and their like, and unfinished pieces of them.
    artifacts_ms: u64,
    /// Batches that have ended.
    records_ms: u64,
}

impl From<&config::Housekeeping> for Lifetimes {
    fn from(config: &config::Housekeeping) -> Self {
        Lifetimes {
            temporary_ms: config.temporary_hours * HOUR_MS,
            artifacts_ms: config.artifacts_days * 24 * HOUR_MS,
            records_ms: config.records_days * 24 * HOUR_MS,
        }
    }
}

/// What is too old, by one look.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Old {
    /// Artifacts, records and pieces that were looked at.
    pub scanned: u64,
    /// Bytes that go with each: of files of the artifact, and of an unfinished piece.
    pub addresses: HashMap<ContentHash, OldFiles>,
    /// Batches with the number of their jobs, oldest first.
    pub batches: Vec<(BatchId, u32)>,
    /// Too old, and wanted by a job that is not at its end.
    pub in_use: u64,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OldFiles {
    pub is_artifact: bool,
    pub artifact_bytes: u64,
    pub checkpoint_bytes: Option<u64>,
}

pub struct Housekeeping {
    artifacts: Artifacts,
    lifetimes: Mutex<Lifetimes>,
    ages: Ages,
}

impl Housekeeping {
    pub fn new(artifacts: Artifacts, lifetimes: Lifetimes, ages: Ages) -> Self {
        Housekeeping { artifacts, lifetimes: Mutex::new(lifetimes), ages }
    }

    /// From the next look on.
    pub fn keep(&self, lifetimes: Lifetimes) {
        *self.lifetimes.lock().unwrap_or_else(PoisonError::into_inner) = lifetimes;
    }

    fn lifetimes(&self) -> Lifetimes {
        *self.lifetimes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time by which things age.
    pub fn now(&self) -> Now {
        self.ages.look()
    }

    /// How long it is until what nobody has a record of is old.
    pub fn temporary_ms(&self) -> u64 {
        self.lifetimes().temporary_ms
    }

    /// Looks through records and folders. What a job that is not at its end may still use is not among the old.
    pub fn look(&self, reader: &Reader) -> Result<Old, StoreError> {
        self.look_at(reader, &self.now())
    }

    fn look_at(&self, reader: &Reader, now: &Now) -> Result<Old, StoreError> {
        let Lifetimes { temporary_ms, artifacts_ms, records_ms } = self.lifetimes();
        let is_old = |at: u64, lifetime: u64| now.age_ms(at) > lifetime;
        let mut old = Old::default();
        reader.each_artifact(|address, artifact| {
            old.scanned += 1;
            let kind = artifact.stage.as_str();
            let transient = stage::TRANSIENT.contains(&kind) || stage::EXPORTS.contains(&kind);
            let lifetime = if transient { temporary_ms } else { artifacts_ms };
            if is_old(artifact.created_at.0, lifetime) && old.addresses.len() < SWEEP_MAX {
                old.addresses.entry(address).or_default().is_artifact = true;
            }
        })?;
        for (address, at) in self.artifacts.stored() {
            if reader.artifact(&address)?.is_some() {
                continue;
            }
            old.scanned += 1;
            if is_old(at, temporary_ms) && old.addresses.len() < SWEEP_MAX {
                old.addresses.entry(address).or_default().is_artifact = true;
            }
        }
        for (address, at, bytes) in self.artifacts.checkpoints() {
            old.scanned += 1;
            if is_old(at, artifacts_ms) && old.addresses.len() < SWEEP_MAX {
                old.addresses.entry(address).or_default().checkpoint_bytes = Some(bytes);
            }
        }
        if !old.addresses.is_empty() {
            let found = old.addresses.len();
            reader.each_open_address(|address| {
                old.addresses.remove(&address);
            })?;
            old.in_use = (found - old.addresses.len()) as u64;
        }
        for (address, files) in &mut old.addresses {
            if files.is_artifact {
                files.artifact_bytes = self.artifacts.bytes(address);
            }
        }
        reader.each_ended_batch(|id, finished_at, jobs| {
            old.scanned += 1;
            if is_old(finished_at.0, records_ms) && old.batches.len() < SWEEP_MAX {
                old.batches.push((id, jobs));
            }
        })?;
        Ok(old)
    }

    /// Whether files lie at this address.
    pub fn is_there(&self, address: &ContentHash) -> bool {
        self.artifacts.is_there(address)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;
    use std::sync::Arc;
    use std::time::{SystemTime, UNIX_EPOCH};

    use spindle_core::change::{Change, StoredArtifact};
    use spindle_shared::job::Detail;
    use spindle_shared::time::WallMs;

    use super::*;
    use crate::ages::{FIRST_WALL_MS, Shown};
    use crate::store::{Store, tests::samples as store_samples};

    const NOW: u64 = FIRST_WALL_MS + 1_000 * 24 * HOUR_MS;
    const DAY: u64 = 24 * HOUR_MS;

    fn housekeeping(folder: &Path, lifetimes: Lifetimes) -> Housekeeping {
        Housekeeping::new(Artifacts::open(folder).unwrap(), lifetimes, Ages::open(folder))
    }

    fn lifetimes() -> Lifetimes {
        Lifetimes::from(&config::Housekeeping::default())
    }

    fn stored(number: u8, stage: &str, created_at: u64) -> Change {
        let artifact = StoredArtifact {
            stage: stage.to_owned(),
            files: Vec::new(),
            detail: Detail::default(),
            created_at: WallMs(created_at),
        };
        Change::ArtifactStored(ContentHash([number; 32]), artifact)
    }

    fn found(old: &Old) -> Vec<u8> {
        let mut numbers: Vec<u8> = old.addresses.keys().map(|address| address.0[0]).collect();
        numbers.sort_unstable();
        numbers
    }

    #[test]
    fn temporary_things_live_shorter_than_transcripts() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let changes = [
            stored(1, "decode", NOW - DAY),
            stored(2, "decode", NOW - DAY - 1),
            stored(3, "transcribe", NOW - 30 * DAY),
            stored(4, "transcribe", NOW - 30 * DAY - 1),
            // Clocks that were wrong: ahead, and before there was a Spindle.
            stored(5, "decode", NOW + 9 * DAY),
            stored(6, "decode", 55_000),
        ];
        store.commit(&changes).unwrap();
        let old = housekeeping(folder.path(), lifetimes()).look_at(&store.reader(), &Now::at(NOW)).unwrap();
        assert_eq!((found(&old), old.scanned), (vec![2, 4], 6));
        let longer = Lifetimes { artifacts_ms: 31 * DAY, ..lifetimes() };
        let old = housekeeping(folder.path(), longer).look_at(&store.reader(), &Now::at(NOW)).unwrap();
        assert_eq!(found(&old), [2]);
    }

    #[test]
    fn what_a_job_before_its_end_may_use_is_not_old() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let (mut changes, address) = store_samples::a_job_with_its_artifact(1, NOW - 40 * DAY);
        changes.push(stored(4, "transcribe", NOW - 40 * DAY));
        store.commit(&changes).unwrap();
        let housekeeping = housekeeping(folder.path(), lifetimes());
        let old = housekeeping.look_at(&store.reader(), &Now::at(NOW)).unwrap();
        assert_eq!((found(&old), old.in_use, old.batches.len()), (vec![4], 1, 0));

        store.commit(&store_samples::its_end(1, NOW - 31 * DAY)).unwrap();
        let old = housekeeping.look_at(&store.reader(), &Now::at(NOW)).unwrap();
        assert!(old.addresses.contains_key(&address), "{old:?}");
        assert_eq!(old.batches, [(BatchId(1), 1)]);
        let old = housekeeping.look_at(&store.reader(), &Now::at(NOW - 2 * DAY)).unwrap();
        assert_eq!(old.batches, [], "it has ended thirty days ago, and no longer");
    }

    #[test]
    fn results_that_are_still_to_be_gathered_are_not_old() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let mut changes = store_samples::a_gather_that_waits(1, ContentHash([3; 32]));
        changes.extend([stored(3, "subtitle", NOW - 40 * DAY), stored(4, "subtitle", NOW - 40 * DAY)]);
        store.commit(&changes).unwrap();
        let old = housekeeping(folder.path(), lifetimes()).look_at(&store.reader(), &Now::at(NOW)).unwrap();
        assert_eq!((found(&old), old.in_use), (vec![4], 1));
    }

    #[test]
    fn a_clock_that_is_set_makes_nothing_old_over_restarts_too_and_time_that_passes_does() {
        let folder = tempfile::tempdir().unwrap();
        let mut store = Store::open(folder.path()).unwrap();
        let clock = Arc::new(Mutex::new(Shown { boot: "1".to_owned(), wall_ms: NOW, up_ms: DAY }));
        let pass = |ms: u64| {
            let mut clock = clock.lock().unwrap();
            clock.wall_ms += ms;
            clock.up_ms += ms;
        };
        let set = |by_ms: i64| {
            let mut clock = clock.lock().unwrap();
            clock.wall_ms = clock.wall_ms.saturating_add_signed(by_ms);
        };
        let reader = store.reader();
        // A daemon each time.
        let look = || {
            let shown = Arc::clone(&clock);
            let ages = Ages::with(folder.path(), Box::new(move || shown.lock().unwrap().clone()));
            Housekeeping::new(Artifacts::open(folder.path()).unwrap(), lifetimes(), ages).look(&reader).unwrap()
        };
        let before = look();
        assert_eq!((before.scanned, found(&before)), (0, vec![]));

        let (mut changes, address) = store_samples::a_job_with_its_artifact(1, NOW);
        changes.extend(store_samples::its_end(1, NOW));
        changes.push(stored(4, "decode", NOW));
        store.commit(&changes).unwrap();
        let artifacts = Artifacts::open(folder.path()).unwrap();
        let dated = |path: &Path, at_ms: u64| {
            let at = UNIX_EPOCH + std::time::Duration::from_millis(at_ms);
            fs::File::open(path).unwrap().set_modified(at).unwrap();
        };
        let leftover = artifacts.folder(&ContentHash([7; 32]));
        fs::create_dir_all(&leftover).unwrap();
        dated(&leftover, NOW);
        for (number, at_ms) in [(8, NOW), (9, 55_000), (10, NOW + 9_000 * DAY)] {
            let piece = artifacts.checkpoint(&ContentHash([number; 32]));
            fs::write(&piece, "piece").unwrap();
            dated(&piece, at_ms);
        }
        let nothing = |why: &str| {
            let old = look();
            // Two artifacts, the leftover, three pieces, a batch.
            assert_eq!((found(&old), old.batches.len(), old.scanned), (vec![], 0, 7), "{why}");
        };
        let years = 10 * 365 * DAY as i64;
        nothing("all is new");
        set(years);
        nothing("the clock leaps ahead");
        nothing("… and the daemon starts anew");
        set(-2 * years);
        nothing("it is set back behind all");
        set(years + 300_000);
        nothing("… and right again, but for some minutes");
        pass(DAY - HOUR_MS);
        nothing("a day has not passed");
        pass(2 * HOUR_MS);
        let old = look();
        let mut expected = vec![address.0[0], 4, 7];
        expected.sort_unstable();
        assert_eq!((found(&old), old.batches.len()), (expected.clone(), 0), "what is temporary is a day old");
        pass(30 * DAY);
        let old = look();
        expected.push(8);
        expected.sort_unstable();
        let why = "all but what has no date, or one that has not been yet";
        assert_eq!((found(&old), old.batches.len()), (expected, 1), "{why}");
    }

    #[test]
    fn only_what_the_daemon_names_is_looked_at() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let housekeeping = housekeeping(folder.path(), lifetimes());
        let address = ContentHash([7; 32]);
        let ours = housekeeping.artifacts.folder(&address);
        fs::create_dir_all(&ours).unwrap();
        fs::write(ours.join("samples.f32"), [0; 100]).unwrap();
        let piece = ContentHash([8; 32]);
        fs::write(housekeeping.artifacts.checkpoint(&piece), [0; 10]).unwrap();
        let artifacts = folder.path().join("artifacts");
        let theirs = ["note.txt", "07/note", &format!("07/{}", "7".repeat(63)), &format!("08/{address}")];
        for name in theirs {
            let path = artifacts.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::create_dir_all(path).unwrap();
        }
        std::os::unix::fs::symlink(&ours, artifacts.join("07").join(ContentHash([0x70; 32]).to_string())).unwrap();
        fs::create_dir_all(folder.path().join("checkpoints").join(ContentHash([9; 32]).to_string())).unwrap();
        let later = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64;
        assert_eq!(found(&housekeeping.look_at(&store.reader(), &Now::at(later)).unwrap()), [0; 0], "too young");
        let old = housekeeping.look_at(&store.reader(), &Now::at(later + 31 * DAY)).unwrap();
        assert_eq!(found(&old), [7, 8]);
        let artifact = OldFiles { is_artifact: true, artifact_bytes: 100, checkpoint_bytes: None };
        assert_eq!(old.addresses[&address], artifact);
        assert_eq!(old.addresses[&piece].checkpoint_bytes, Some(10));
    }
}
