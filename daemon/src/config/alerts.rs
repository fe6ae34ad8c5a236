//! `[alerts]`: when a person should look. Looks at nothing itself.

use serde::{Deserialize, Serialize};
use spindle_core::alert::Thresholds;

/// When a person should look. An alert fires when its rule has held for its time, and is over when it holds no more.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AlertRules {
    /// More failures than this, of the jobs that ended in five minutes.
    pub failures_percent: u64,
    /// …where there were so many jobs at least.
    pub failures_jobs: u64,
    pub failures_seconds: u64,
    /// Work to do, and no worker process.
    pub no_workers_seconds: u64,
    /// More jobs than this wait.
    pub queue_jobs: u64,
    pub queue_seconds: u64,
    /// The queue can't be read or written.
    pub store_seconds: u64,
    /// Work waits for something outside that is out of order.
    pub out_of_order_seconds: u64,
}

impl Default for AlertRules {
    fn default() -> Self {
        AlertRules {
            failures_percent: 10,
            failures_jobs: 10,
            failures_seconds: 300,
            no_workers_seconds: 60,
            queue_jobs: 100,
            queue_seconds: 600,
            store_seconds: 60,
            out_of_order_seconds: 300,
        }
    }
}

impl AlertRules {
    pub fn thresholds(&self) -> Thresholds {
        let small = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        Thresholds {
            failures: self.failures_percent as f64 / 100.0,
            failures_jobs: small(self.failures_jobs),
            failures_ms: self.failures_seconds * 1_000,
            no_workers_ms: self.no_workers_seconds * 1_000,
            queue: small(self.queue_jobs),
            queue_ms: self.queue_seconds * 1_000,
            store_ms: self.store_seconds * 1_000,
            out_of_order_ms: self.out_of_order_seconds * 1_000,
        }
    }
}
