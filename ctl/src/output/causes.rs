//! Failures by their cause: one kind, and messages that differ only in names and numbers. Prints nothing.

use std::collections::HashMap;

use spindle_shared::failure::FailureKind;
use spindle_shared::id::JobId;
use spindle_shared::job::{Input, JobView};
use spindle_shared::limits::CAUSES_MAX;

/// Failures that have one cause.
#[derive(Debug)]
pub struct Cause {
    pub kind: FailureKind,
    pub count: usize,
    /// The first one's.
    pub message: String,
    pub advice: String,
    /// The first of them.
    pub jobs: Vec<FailedJob>,
}

#[derive(Debug)]
pub struct FailedJob {
    pub id: JobId,
    pub input: Option<Input>,
    pub stage: String,
    pub attempts: u32,
    pub message: String,
}

/// Causes, in the order they were met; jobs are taken in one by one.
#[derive(Debug)]
pub struct Causes {
    causes: Vec<Cause>,
    known: HashMap<(FailureKind, String), usize>,
    /// Jobs named with each cause, and with all of them.
    named_max: usize,
    room: usize,
}

impl Causes {
    pub fn new(named_max: usize, named_in_all_max: usize) -> Self {
        Causes { causes: Vec::new(), known: HashMap::new(), named_max, room: named_in_all_max }
    }

    pub fn add(&mut self, job: &JobView) {
        let Some(failure) = &job.failure else { return };
        let input = job.input.as_ref().map(ToString::to_string);
        let mut key = (failure.kind, failure.shape(input.as_deref()));
        if self.causes.len() >= CAUSES_MAX && !self.known.contains_key(&key) {
            // The rest of a kind goes together.
            key.1.clear();
        }
        let at = *self.known.entry(key).or_insert_with(|| {
            self.causes.push(Cause {
                kind: failure.kind,
                count: 0,
                message: failure.message.clone(),
                advice: failure.advice.clone(),
                jobs: Vec::new(),
            });
            self.causes.len() - 1
        });
        let cause = &mut self.causes[at];
        cause.count += 1;
        if cause.jobs.len() < self.named_max && self.room > 0 {
            self.room -= 1;
            cause.jobs.push(FailedJob {
                id: job.id,
                input: job.input.clone(),
                stage: job.stage.clone(),
                attempts: job.attempts,
                message: failure.message.clone(),
            });
        }
    }

    /// The most frequent first.
    pub fn sorted(mut self) -> Vec<Cause> {
        self.causes.sort_by_key(|cause| std::cmp::Reverse(cause.count));
        self.causes
    }
}
