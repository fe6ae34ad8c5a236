//! What the log of a batch is told of its runs and jobs. Decides nothing, and writes no file: the log has a thread of its own.

use spindle_core::change::EndedJob;
use spindle_shared::id::{JobId, RunId};
use spindle_shared::worker::Outcome;

use super::Conductor;

impl Conductor {
    pub(super) fn log_end(&mut self, run: RunId, outcome: &Outcome, worker: Option<spindle_shared::id::WorkerId>) {
        let Some(job) = self.logged.remove(&run) else { return };
        let worker = ("worker", worker.map_or(serde_json::Value::Null, |worker| worker.to_string().into()));
        match outcome {
            Outcome::Done(done) => {
                let notes = ("notes", done.detail.notes.clone().into());
                self.log.say(job, "done", &[worker, notes, ("peak_memory_bytes", done.peak_memory_bytes.into())]);
            }
            Outcome::Failed(failure) => {
                let (kind, message) = (failure.kind.name(), failure.message.as_str());
                self.log.say(job, "failed", &[worker, ("kind", kind.into()), ("message", message.into())]);
            }
            Outcome::Stopped => self.log.say(job, "stopped", &[worker]),
        }
    }

    pub(super) fn log_job_end(&self, job: JobId, ended: &EndedJob) {
        let mut fields = vec![("state", ended.state.name().into()), ("attempts", ended.attempts.into())];
        if let Some(failure) = &ended.failure {
            fields.push(("message", failure.to_string().into()));
        }
        if let Some(reason) = &ended.skipped_reason {
            fields.push(("message", reason.clone().into()));
        }
        let outputs: Vec<String> = ended.outputs.iter().map(|output| output.path.to_string()).collect();
        if !outputs.is_empty() {
            fields.push(("outputs", outputs.into()));
        }
        self.log.say(job, "ended", &fields);
    }
}
