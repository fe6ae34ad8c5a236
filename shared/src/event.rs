//! Events: facts that are durable already, in the order they happened.

use serde::{Deserialize, Serialize};

use crate::batch::BatchView;
use crate::id::{BatchId, JobId};
use crate::job::JobView;
use crate::time::WallMs;

/// One fact with its place in the order; numbers rise by one per event of the house, scopes see some of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Event {
    pub seq: u64,
    pub time: WallMs,
    pub fact: Fact,
}

/// What happened. An object comes whole, as it is now; so a fact applied twice changes nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Fact {
    Batch(Box<BatchView>),
    Job(Box<JobView>),
    /// A running job's share done, 0–1, and its batch's; may be left out when a watcher is slow.
    Progress {
        job: JobId,
        stage: String,
        done: f32,
        batch_done: f32,
    },
    Removed(BatchId),
    /// The whole house paused or resumed.
    Paused(bool),
    /// Something a person should look at.
    Alert(String),
    /// This watcher was too slow and was cut; ask again.
    Lagged,
}

impl Fact {
    /// The batch it is about; `None` = the house.
    pub fn batch(&self) -> Option<BatchId> {
        match self {
            Fact::Batch(view) => Some(view.id),
            Fact::Job(view) => Some(view.id.batch),
            Fact::Progress { job, .. } => Some(job.batch),
            Fact::Removed(batch) => Some(*batch),
            Fact::Paused(_) | Fact::Alert(_) | Fact::Lagged => None,
        }
    }
}
