//! Failed jobs by cause: one kind, and messages that differ in names and numbers only. Knows no daemon and no screen.

use std::collections::HashMap;
use std::fmt::Write;

use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::JobView;

#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    pub kind: FailureKind,
    pub shape: String,
    /// Of the first job.
    pub failure: Failure,
    pub jobs: Vec<JobView>,
    /// Its jobs are shown.
    pub open: bool,
}

/// The most frequent first.
pub fn grouped(jobs: Vec<JobView>) -> Vec<Cause> {
    let mut causes: Vec<Cause> = Vec::new();
    let mut known: HashMap<(FailureKind, String), usize> = HashMap::new();
    for job in jobs {
        let Some(failure) = job.failure.clone() else { continue };
        let input = job.input.as_ref().map(ToString::to_string);
        let shape = failure.shape(input.as_deref());
        let at = *known.entry((failure.kind, shape.clone())).or_insert_with(|| {
            causes.push(Cause { kind: failure.kind, shape, failure, jobs: Vec::new(), open: false });
            causes.len() - 1
        });
        causes[at].jobs.push(job);
    }
    causes.sort_by_key(|cause| std::cmp::Reverse(cause.jobs.len()));
    causes
}

/// A row of the list: a cause, or below it one of its jobs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Row {
    Cause(usize),
    Job(usize, usize),
}

pub fn rows(causes: &[Cause]) -> Vec<Row> {
    let mut rows = Vec::new();
    for (at, cause) in causes.iter().enumerate() {
        rows.push(Row::Cause(at));
        if cause.open {
            rows.extend((0..cause.jobs.len()).map(|job| Row::Job(at, job)));
        }
    }
    rows
}

/// For a bug report or a colleague.
pub fn report(causes: &[Cause], build: &str) -> String {
    let mut text = format!("Spindle {build}: failed jobs by cause\n");
    for cause in causes {
        // Writing to a String can't fail.
        let _ = write!(
            text,
            "\n{} x {}: {}\n  what to do: {}\n",
            cause.jobs.len(),
            cause.kind,
            cause.failure.message,
            cause.failure.advice
        );
        for job in cause.jobs.iter().take(NAMED_MAX) {
            let input = job.input.as_ref().map(ToString::to_string).unwrap_or_default();
            let _ = writeln!(text, "  {} at {}, tries {}: {input}", job.id, job.stage, job.attempts);
        }
        if cause.jobs.len() > NAMED_MAX {
            let _ = writeln!(text, "  … and {} more", cause.jobs.len() - NAMED_MAX);
        }
    }
    text
}

/// Jobs of a cause that a report names.
const NAMED_MAX: usize = 50;

#[cfg(test)]
mod tests {
    use spindle_shared::job::JobState;

    use super::*;
    use crate::model::tests::job;

    fn failed(index: u32, name: &str, message: &str) -> JobView {
        let failure = Failure::new(FailureKind::Input, message.replace("{}", &format!("/media/recordings/{name}")));
        JobView { failure: Some(failure), ..job(12, index, JobState::Failed, name) }
    }

    #[test]
    fn what_is_alike_has_one_cause_and_a_report_tells_all() {
        let jobs = vec![
            failed(1, "a.mp4", "{} is empty"),
            failed(2, "b.mp4", "{}: no sound"),
            failed(3, "c.mp4", "{}: no sound"),
        ];
        let mut causes = grouped(jobs);
        assert_eq!(causes.iter().map(|cause| cause.jobs.len()).collect::<Vec<_>>(), [2, 1]);
        assert_eq!(rows(&causes), [Row::Cause(0), Row::Cause(1)]);
        causes[0].open = true;
        assert_eq!(rows(&causes), [Row::Cause(0), Row::Job(0, 0), Row::Job(0, 1), Row::Cause(1)]);
        let report = report(&causes, "0.1.0");
        for text in ["2 x input: ", "12/2 at transcribe", "/media/recordings/c.mp4", "what to do: ", "is empty"] {
            assert!(report.contains(text), "{text} in {report}");
        }
    }
}
