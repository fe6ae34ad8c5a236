//! `result`: what came of a batch or a job that has ended.

use std::io::Read;

use spindle_shared::batch::BatchView;
use spindle_shared::exit;
use spindle_shared::id::{BatchId, JobId, Target};
use spindle_shared::job::JobView;
use spindle_shared::limits::ANALYSIS_BYTES_MAX as DESCRIPTION_BYTES_MAX;
use spindle_shared::recipe::HIGHLIGHTS;

use crate::Context;
use crate::fault::Fault;
use crate::follow::{batch_code, job_code};
use crate::output::human;
use crate::output::json::{BatchJson, Figures, GatherJson, JobJson, ResultJson};

/// Shows the result of a batch or a job that has ended; exits 10 where it hasn't
#[derive(Debug, clap::Args)]
pub struct ResultOf {
    /// The batch (`12`) or the job (`12/3`)
    #[arg(value_name = "ID")]
    id: String,
}

impl ResultOf {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        match self.id.parse().map_err(|error: spindle_shared::id::BadTarget| Fault::usage(error.to_string()))? {
            Target::Batch(id) => of_batch(context, id),
            Target::Job(id) => of_job(context, id),
        }
    }
}

fn of_batch(context: &Context, id: BatchId) -> Result<u8, Fault> {
    let batch = context.daemon.batch(id)?;
    check_finished(&batch)?;
    let jobs = context.daemon.jobs(id, Vec::new())?;
    let gather = batch.gather.map(|_| context.daemon.job(JobId::gather(id))).transpose()?;
    context
        .console
        .either(|| result_json(&batch, &jobs, gather.as_ref()), || text(context, &batch, &jobs, gather.as_ref()))?;
    Ok(batch_code(&batch))
}

/// Only what has ended has a result.
pub fn check_finished(batch: &BatchView) -> Result<(), Fault> {
    if batch.state.is_terminal() {
        return Ok(());
    }
    let (id, counts) = (batch.id, &batch.counts);
    let message = format!(
        "batch {id} is not finished: {}, {} of {} jobs have ended",
        batch.state.name(),
        counts.ended(),
        counts.total()
    );
    Err(not_finished(message)
        .hint(format!("`spindlectl wait {id}`; ended jobs have results: `spindlectl result {id}/1`")))
}

fn of_job(context: &Context, id: JobId) -> Result<u8, Fault> {
    let job = context.daemon.job(id)?;
    if !job.state.is_terminal() {
        let message = format!("job {id} is not finished: {}, at {}", job.state.name(), human::escaped(&job.stage));
        return Err(not_finished(message).hint(format!("`spindlectl wait {id}`")));
    }
    context.console.either(|| JobJson::from(&job), || human::job_text(&job, human::now()))?;
    Ok(job_code(job.state))
}

fn not_finished(message: String) -> Fault {
    Fault::new(exit::NOT_FINISHED, "not_finished", message)
}

/// Of all jobs; what the gather has asked is paid for like any other.
fn figures(jobs: &[JobView], gather: Option<&JobView>) -> Figures {
    let mut figures = Figures::of(jobs);
    gather.into_iter().for_each(|gather| figures.add_asked(gather));
    figures
}

pub fn result_json(batch: &BatchView, jobs: &[JobView], gather: Option<&JobView>) -> ResultJson {
    ResultJson {
        batch: BatchJson::new(batch, human::now()),
        jobs: jobs.iter().map(JobJson::from).collect(),
        gather: gather.map(|job| gather_json(batch, job)),
        summary: figures(jobs, gather).summary(batch),
    }
}

/// The gather job, and what its recipe published of itself as JSON.
fn gather_json(batch: &BatchView, job: &JobView) -> GatherJson {
    let json = JobJson::from(job);
    let described = batch.recipe == HIGHLIGHTS;
    let description = job.outputs.iter().find(|output| described && output.kind == "json");
    let description = description.and_then(|output| {
        let file = std::fs::File::open(output.path.as_path()).ok()?;
        let mut bytes = Vec::new();
        file.take(DESCRIPTION_BYTES_MAX).read_to_end(&mut bytes).ok()?;
        serde_json::from_slice(&bytes).ok()
    });
    let total_ms = batch.finished_at.map(|end| end.0.saturating_sub(batch.created_at.0));
    GatherJson {
        job: json,
        total_seconds: total_ms.map(|ms| ms as f64 / 1_000.0),
        description: description.unwrap_or_default(),
    }
}

fn text(context: &Context, batch: &BatchView, jobs: &[JobView], gather: Option<&JobView>) -> String {
    let now = human::now();
    let summary = figures(jobs, gather).summary(batch);
    let mut rows = human::batch_rows(batch, now);
    if let (Some(mean), Some(fastest), Some(slowest)) = (summary.mean_seconds, summary.fastest, summary.slowest) {
        let [mean, fastest, slowest] = [mean, fastest, slowest].map(human::seconds);
        rows.push(("per job", format!("{mean} on average, {fastest} to {slowest}")));
    }
    if let Some(speed) = summary.media_throughput {
        rows.push(("speed", format!("{speed:.1} × real time")));
    }
    if let Some(bytes) = summary.peak_memory_bytes {
        rows.push(("memory", format!("{} at most in one worker", human::bytes(bytes))));
    }
    let jobs: Vec<JobView> = jobs.iter().chain(gather).cloned().collect();
    format!("{}\n{}", human::block(&rows), human::job_table(&jobs, now, context.console.colour))
}
