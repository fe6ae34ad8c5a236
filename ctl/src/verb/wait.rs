//! `wait`: quietly, until everything named is at its end.

use std::time::{Duration, Instant};

use spindle_shared::exit;

use crate::Context;
use crate::fault::Fault;
use crate::follow::{Course, Ending, Outcome, detach_on_interrupt, follow};
use crate::named;
use crate::output::human;

/// Waits until all are at their end; ^C lets go and cancels nothing
#[derive(Debug, clap::Args)]
pub struct Wait {
    /// Batches (`12`, `5-8`) or jobs (`12/3`)
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Give up after this time (`90`, `5m`, `1h30m`) with exit code 124; the work goes on
    #[arg(long, value_name = "DUR", value_parser = named::duration_ms)]
    timeout: Option<u64>,
    /// Return with exit code 3 as soon as one job has failed
    #[arg(long)]
    fail_fast: bool,
}

impl Wait {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let targets = named::targets(&self.ids)?;
        if targets.is_empty() {
            return Err(Fault::usage("no batch or job is named"));
        }
        detach_on_interrupt(context, "let go; the work goes on".to_owned())?;
        let deadline = self.timeout.and_then(|ms| Instant::now().checked_add(Duration::from_millis(ms)));
        let course = Course { targets, deadline, fail_fast: self.fail_fast, jobs: 0 };
        conclude(context, follow(context, &course, &mut [])?)
    }
}

/// Talks about an ending and gives its exit code.
pub fn conclude(context: &Context, ending: Ending) -> Result<u8, Fault> {
    match ending {
        Ending::Ended(outcome) => {
            tell(context, &outcome);
            Ok(outcome.exit_code())
        }
        Ending::TimedOut => Err(Fault::new(
            exit::WAIT_TIMEOUT,
            "wait_timeout",
            "the time ran out before all had ended; the work goes on",
        )),
        Ending::FailedFast(job) => {
            let job = if job.index == 0 { format!("a job of batch {}", job.batch) } else { format!("job {job}") };
            Err(Fault::new(exit::SOME_FAILED, "failed", format!("{job} failed; the others go on")))
        }
    }
}

fn tell(context: &Context, outcome: &Outcome) {
    if context.console.json {
        return;
    }
    for batch in &outcome.batches {
        let counts = &batch.counts;
        let others = [(counts.skipped, "skipped"), (counts.failed, "failed"), (counts.cancelled, "cancelled")]
            .into_iter()
            .filter(|(number, _)| *number > 0)
            .map(|(number, name)| format!(", {number} {name}"))
            .collect::<String>();
        let time = human::elapsed_seconds(batch.started_at, batch.finished_at, human::now())
            .map(|time| format!(" in {}", human::seconds(time)))
            .unwrap_or_default();
        context.console.talk(format_args!(
            "batch {}: {}{time}: {} of {} completed{others}",
            batch.id,
            batch.state.name(),
            counts.completed,
            counts.total()
        ));
    }
    for job in &outcome.jobs {
        let remark = human::job_remark(job);
        let remark = if remark.is_empty() { remark } else { format!(": {remark}") };
        context.console.talk(format_args!("job {}: {}{remark}", job.id, job.state.name()));
    }
}
