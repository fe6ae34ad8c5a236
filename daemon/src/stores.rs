//! The object stores of the configuration as the conductor uses them: where the next output goes, and what is counted of each. Asks no store.
//!
//! What is counted is what Spindle has put there, each object as it was put there last. To ask a store what it holds takes a request for every
//! thousand objects, and most keys may not; so what others write or remove isn't seen, nor parts of uploads that nobody finished.

use std::collections::BTreeMap;
use std::sync::Arc;

use spindle_core::change::{Change, EndedJob, Stored};
use spindle_core::stores::{Balance, Candidate, Known, choose};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::{Figure, JobState};
use spindle_shared::object_store::{self, ANY, ObjectStore, SENT_BYTES, SENT_SECONDS};

pub struct Stores {
    all: Arc<[ObjectStore]>,
    balance: Balance,
    /// By bucket.
    known: BTreeMap<String, Known>,
    /// Had the turn last.
    last: Option<String>,
}

impl Stores {
    pub fn new(all: Arc<[ObjectStore]>, balance: Balance, known: BTreeMap<String, Known>) -> Stores {
        Stores { all, balance, known, last: None }
    }

    pub fn configure(&mut self, all: Arc<[ObjectStore]>, balance: Balance) {
        (self.all, self.balance) = (all, balance);
    }

    /// Something was put there.
    pub fn count(&mut self, known: BTreeMap<String, Known>) {
        self.known = known;
    }

    pub fn named(&self, name: &str) -> Option<&ObjectStore> {
        self.all.iter().find(|store| store.name == name)
    }

    pub fn of(&self, bucket: &str) -> Option<&ObjectStore> {
        self.all.iter().find(|store| store.bucket == bucket)
    }

    /// The bucket for an output of so many bytes: the one that is wanted, or any. `on_its_way`: what runs are just bringing there.
    pub fn choose(&mut self, wanted: &str, bytes: u64, on_its_way: &BTreeMap<&str, u64>) -> Result<String, Failure> {
        let candidates: Vec<Candidate<'_>> = self
            .all
            .iter()
            .filter(|store| wanted == ANY || store.bucket == wanted)
            .map(|store| {
                let bucket = store.bucket.as_str();
                let there = self.known.get(bucket).map_or(0, |known| known.bytes);
                let taken = there.saturating_add(on_its_way.get(bucket).copied().unwrap_or(0));
                Candidate { bucket, quota: store.quota_bytes, taken }
            })
            .collect();
        let chosen = choose(&candidates, bytes, self.balance, self.last.as_deref()).map(str::to_owned);
        if wanted == ANY {
            self.last = chosen.clone().or(self.last.take());
        }
        chosen.ok_or_else(|| full(&candidates, wanted, bytes))
    }
}

fn full(candidates: &[Candidate<'_>], wanted: &str, bytes: u64) -> Failure {
    let mib = |bytes: u64| format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20));
    let shown = spindle_shared::text::escaped;
    let Some(roomiest) = candidates.iter().max_by_key(|one| one.room()) else {
        let message = match wanted {
            ANY => "the configuration has no store any more".to_owned(),
            bucket => format!("the configuration has no store with the bucket `{}` any more", shown(bucket)),
        };
        return Failure::new(FailureKind::Internal, message)
            .advise("whoever runs spindled adds it as a [stores.NAME]; then `spindlectl retry`");
    };
    let (bucket, left) = (shown(roomiest.bucket), mib(roomiest.room()));
    let message = match wanted {
        ANY => format!(
            "none of {} stores has room for an output of {}: the most is left in the bucket {bucket}, {left} of its quota",
            candidates.len(),
            mib(bytes)
        ),
        _ => format!("the bucket {bucket} has no room for an output of {}: {left} of its quota are left", mib(bytes)),
    };
    Failure::new(FailureKind::Quota, message).advise(
        "raise quota_mib of the store in the configuration (where objects were removed from the bucket, by as much: Spindle counts what it has put there), or name another store with -o; then `spindlectl retry`",
    )
}

/// What these changes mean for the stores; written with them.
pub fn counted(changes: &[Change]) -> Vec<Change> {
    let ended = changes.iter().filter_map(|change| match change {
        Change::JobEnded(_, ended) if ended.state == JobState::Completed => stored_by(ended),
        _ => None,
    });
    ended.map(|stored| Change::Stored(Box::new(stored))).collect()
}

fn stored_by(ended: &EndedJob) -> Option<Stored> {
    let in_store = |output: &spindle_shared::job::Output| object_store::folder(&output.path.0).is_some();
    let objects: Vec<_> = ended.outputs.iter().filter(|output| in_store(output)).collect();
    let bucket = match objects.first() {
        Some(output) => object_store::folder(&output.path.0).map(|(bucket, _)| bucket.to_owned())?,
        // Whoever tries a store out leaves nothing there, and learns how fast it is.
        None => ended.detail.figures.iter().find_map(|(name, figure)| match figure {
            Figure::Text(bucket) if name == "bucket" => Some(bucket.clone()),
            _ => None,
        })?,
    };
    let number = |name| ended.detail.number(name).unwrap_or(0.0);
    Some(Stored {
        bucket,
        objects: objects.into_iter().map(|output| (output.path.clone(), output.bytes)).collect(),
        sent: (number(SENT_BYTES), number(SENT_SECONDS)),
        at: ended.finished_at,
    })
}
