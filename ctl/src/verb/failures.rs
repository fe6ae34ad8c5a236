//! `failures`: failed jobs grouped by cause, the most frequent first.

use serde::Serialize;
use spindle_shared::exit;
use spindle_shared::job::JobView;
use spindle_shared::wire::request::Request;

use crate::Context;
use crate::daemon::jobs_of;
use crate::fault::Fault;
use crate::output::causes::{Cause, Causes};
use crate::output::human;

/// Groups failed jobs by cause, the most frequent first
#[derive(Debug, clap::Args)]
pub struct Failures {
    /// Look at so many failed jobs, from the newest batch on
    #[arg(long, value_name = "N", default_value_t = 10_000, value_parser = clap::value_parser!(u32).range(1..))]
    limit: u32,
}

/// Failures of one kind whose messages differ only in names and numbers.
#[derive(Debug, PartialEq, Serialize)]
struct Group {
    kind: &'static str,
    count: usize,
    /// Of the newest batch's first.
    message: String,
    advice: String,
    example: String,
    example_input: Option<String>,
    jobs: Vec<String>,
}

/// Ids named for a group.
const NAMED_MAX: usize = 20;

impl Failures {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let groups = grouped(&jobs_of(context.daemon.ask(&Request::Failures { limit: self.limit })?));
        if groups.is_empty() && !context.console.json {
            context.console.talk("no failed jobs");
            return Ok(exit::DONE);
        }
        context.console.either(|| &groups, || groups.iter().map(text).collect())?;
        Ok(exit::DONE)
    }
}

fn grouped(jobs: &[JobView]) -> Vec<Group> {
    let mut causes = Causes::new(NAMED_MAX, usize::MAX);
    jobs.iter().for_each(|job| causes.add(job));
    causes.sorted().into_iter().filter_map(group).collect()
}

fn group(cause: Cause) -> Option<Group> {
    let Cause { kind, count, message, advice, jobs } = cause;
    let first = jobs.first()?;
    Some(Group {
        kind: kind.name(),
        count,
        message,
        advice,
        example: first.id.to_string(),
        example_input: first.input.as_ref().map(ToString::to_string),
        jobs: jobs.iter().map(|job| job.id.to_string()).collect(),
    })
}

fn text(group: &Group) -> String {
    let others = if group.count > group.jobs.len() { " …" } else { "" };
    let input = group.example_input.as_ref().map(|input| format!(" ({input})")).unwrap_or_default();
    format!(
        "{} × {}: {}\n  what to do: {}\n  for example {}{input}; jobs {}{others}\n",
        group.count,
        group.kind,
        human::escaped(&group.message),
        human::escaped(&group.advice),
        group.example,
        group.jobs.join(" ")
    )
}

#[cfg(test)]
mod tests {
    use spindle_shared::failure::{Failure, FailureKind};
    use spindle_shared::job::JobState;
    use spindle_shared::made_up;

    use super::*;

    fn failed(index: u32, path: &str, kind: FailureKind, message: &str) -> JobView {
        JobView {
            input: Some(made_up::file(path)),
            failure: Some(Failure::new(kind, message)),
            ..made_up::job(1, index, JobState::Failed)
        }
    }

    #[test]
    fn messages_that_differ_in_names_and_numbers_are_one_cause() {
        let groups = grouped(&[
            failed(1, "/v/a.mp4", FailureKind::Input, "a.mp4 is empty"),
            failed(2, "/v/b.mp4", FailureKind::Input, "/v/b.mp4 ends after 3.5 s of 10"),
            failed(3, "/v/c.mp4", FailureKind::Input, "/v/c.mp4 ends after 12 s of 40"),
            failed(4, "/v/d.mp4", FailureKind::Timeout, "/v/d.mp4 ends after 12 s of 40"),
        ]);
        let told: Vec<_> = groups.iter().map(|group| (group.count, group.kind, group.example.as_str())).collect();
        assert_eq!(told, [(2, "input", "1/2"), (1, "input", "1/1"), (1, "timeout", "1/4")]);
        assert_eq!(groups[0].jobs, ["1/2", "1/3"]);
    }
}
