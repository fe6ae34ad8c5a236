//! `report`: a finished batch's figures and failures as a document to keep, in Markdown or JSON.

use std::path::{Path, PathBuf};

use spindle_shared::exit;
use spindle_shared::id::{JobId, Target};

use crate::Context;
use crate::fault::Fault;
use crate::output::human;
use crate::output::report::BatchReport;
use crate::whole::{self, Taken};

/// Reports on a batch that has ended: counts, times, memory, and failures by cause with what to do
///
/// Markdown, or JSON with --json or into a file named *.json. Exits 0 when the report is there, whatever it says; 10 where the batch has
/// not ended yet.
#[derive(Debug, clap::Args)]
pub struct Report {
    /// The batch (`12`)
    #[arg(value_name = "ID")]
    id: String,
    /// Write it into this file, which is there whole or not at all; otherwise to standard output
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    /// Replace the file if it is there already
    #[arg(long, requires = "output")]
    force: bool,
}

impl Report {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let id =
            match self.id.parse().map_err(|error: spindle_shared::id::BadTarget| Fault::usage(error.to_string()))? {
                Target::Batch(id) => id,
                Target::Job(job) => {
                    return Err(Fault::usage(format!("a report is of a batch, not of the job {job}"))
                        .hint(format!("`spindlectl report {}`, or `spindlectl result {job}`", job.batch)));
                }
            };
        let taken = if self.force { Taken::Replace } else { Taken::Refuse };
        if let Some(path) = &self.output {
            whole::check(path, taken)?;
        }
        let batch = context.daemon.batch(id)?;
        super::result::check_finished(&batch)?;
        let mut report = BatchReport::new(&batch);
        context.daemon.each_job(id, |job| report.add(job))?;
        report.gather = batch.gather.map(|_| context.daemon.job(JobId::gather(id))).transpose()?;
        let Some(path) = &self.output else {
            match context.console.json {
                true => context.console.document(&report.json())?,
                false => context.console.data(&report.markdown())?,
            }
            return Ok(exit::DONE);
        };
        let bytes = if context.console.json || is_json(path) {
            let mut text = serde_json::to_vec_pretty(&report.json())
                .map_err(|error| Fault::error(format!("failed to write JSON: {error}")))?;
            text.push(b'\n');
            text
        } else {
            report.markdown().into_bytes()
        };
        whole::write(path, &bytes, taken)?;
        context
            .console
            .talk(format_args!("the report on batch {id} is in {}", human::escaped(&path.to_string_lossy())));
        Ok(exit::DONE)
    }
}

fn is_json(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension.eq_ignore_ascii_case("json"))
}
