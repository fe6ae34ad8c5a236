//! A snapshot of what a watcher sees, and the one fold that keeps it true: used by the dashboard, by `watch` and by tests alike.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::batch::BatchView;
use crate::event::{Event, Fact};
use crate::id::{BatchId, JobId};
use crate::job::JobView;

/// What a watcher knows. Starts from the daemon's snapshot; every event is applied in order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Snapshot {
    /// Of the last event contained.
    pub seq: u64,
    pub paused: bool,
    pub batches: BTreeMap<BatchId, BatchView>,
    /// The jobs of the watched window; empty when the house is watched.
    pub jobs: BTreeMap<JobId, JobView>,
    /// The last alerts, oldest first.
    pub alerts: Vec<String>,
}

/// Alerts that a watcher keeps.
pub const ALERTS_MAX: usize = 100;

impl Snapshot {
    /// Takes one event in; an event that is contained already changes nothing.
    pub fn apply(&mut self, event: &Event) {
        if event.seq <= self.seq {
            return;
        }
        self.seq = event.seq;
        match &event.fact {
            Fact::Batch(view) => {
                let mut view = (**view).clone();
                if let Some(known) = self.batches.get(&view.id)
                    && !view.state.is_terminal()
                    && known.finished_at.is_none()
                {
                    view.progress = view.progress.max(known.progress);
                }
                self.batches.insert(view.id, view);
            }
            Fact::Job(view) => {
                let mut view = (**view).clone();
                if let Some(known) = self.jobs.get(&view.id) {
                    view.input = view.input.or_else(|| known.input.clone());
                }
                self.jobs.insert(view.id, view);
            }
            Fact::Progress { job, stage, done, batch_done } => {
                if let Some(known) = self.jobs.get_mut(job) {
                    known.progress = known.progress.max(*done);
                    known.stage.clone_from(stage);
                }
                if let Some(batch) = self.batches.get_mut(&job.batch) {
                    batch.progress = batch.progress.max(*batch_done);
                }
            }
            Fact::Removed(batch) => {
                self.batches.remove(batch);
                self.jobs.retain(|id, _| id.batch != *batch);
            }
            Fact::Paused(paused) => self.paused = *paused,
            Fact::Alert(text) => {
                self.alerts.push(text.clone());
                let surplus = self.alerts.len().saturating_sub(ALERTS_MAX);
                self.alerts.drain(..surplus);
            }
            Fact::Lagged => {}
        }
    }
}
