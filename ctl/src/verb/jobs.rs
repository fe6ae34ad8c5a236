//! `jobs`: a batch's jobs, in input order.

use spindle_shared::exit;
use spindle_shared::job::JobState;

use crate::Context;
use crate::fault::Fault;
use crate::named;
use crate::output::human;
use crate::output::json::JobJson;

/// Lists a batch's jobs, in input order
#[derive(Debug, clap::Args)]
pub struct Jobs {
    /// The batch
    #[arg(value_name = "ID", required = true)]
    ids: Vec<String>,
    /// Only jobs in this state; may be given several times
    #[arg(long, value_name = "STATE", value_parser = named::job_state, value_delimiter = ',')]
    state: Vec<JobState>,
}

impl Jobs {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let mut jobs = Vec::new();
        for batch in named::batches(&self.ids)? {
            jobs.extend(context.daemon.jobs(batch, self.state.clone())?);
        }
        if jobs.is_empty() && !context.console.json {
            context.console.talk("no such jobs");
            return Ok(exit::DONE);
        }
        context.console.either(
            || jobs.iter().map(JobJson::from).collect::<Vec<_>>(),
            || human::job_table(&jobs, human::now(), context.console.colour),
        )?;
        Ok(exit::DONE)
    }
}
