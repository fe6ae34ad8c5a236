//! Lookups: what the store and the disk answer the scheduler. What may be slow is looked at in a thread of its own.

use std::path::Path;
use std::sync::Arc;

use spindle_core::effect::{FoundInput, Input, LookupOutputs};
use spindle_shared::id::{JobId, RunId};
use spindle_shared::job::{FileIdentity, Input as JobInput, JobSpec, Output, PathBytes};
use spindle_shared::output;
use spindle_shared::stage::publish::Publish;
use spindle_shared::worker::{ArtifactFile, Published};

use super::Conductor;
use crate::gather;
use crate::inbox::Message;

impl Conductor {
    pub(super) fn spec(&mut self, job: JobId) -> Option<Arc<JobSpec>> {
        if let Some(spec) = self.specs.get(&job) {
            return Some(Arc::clone(spec));
        }
        let spec = match self.reader.job_spec(job) {
            Ok(spec) => Arc::new(self.as_placed(job, spec?)),
            Err(error) => {
                tracing::error!(%job, "failed to read a job: {error}");
                return None;
            }
        };
        self.specs.insert(job, Arc::clone(&spec));
        Some(spec)
    }

    pub(super) fn look_up_input(&mut self, job: JobId, identity: Option<spindle_shared::job::FileIdentity>) -> Input {
        let mut found = FoundInput { is_file: false, bytes: 0, content: None, stages: None };
        if let Some(spec) = self.spec(job) {
            found.stages.clone_from(&spec.stages);
            if let JobInput::File { identity: submitted, .. } = &spec.input {
                let identity = identity.unwrap_or(*submitted);
                found.is_file = true;
                found.bytes = identity.bytes;
                found.content = self.reader.content_of(&identity).ok().flatten();
            }
        }
        Input::InputFound { job, found }
    }

    /// Whether a job's outputs are there as published. Where the records say no, that is the answer; else the files are looked at, in a
    /// thread of its own: their folder may be anywhere.
    pub(super) fn look_for_outputs(&mut self, asked: LookupOutputs) -> Option<Input> {
        let LookupOutputs { look, job, stage, language, files } = asked;
        let Some(recorded) = self.recorded(job, &stage, language.as_deref(), &files) else {
            return Some(Input::OutputsFound { look, job, outputs: None });
        };
        let inbox = self.own_inbox.clone();
        self.runtime.spawn_blocking(move || {
            let unchanged = recorded.iter().all(|published| is_still(&published.output.path, published.identity));
            let outputs = unchanged.then_some(recorded);
            // The conductor has ended when nobody takes this.
            drop(inbox.send_blocking(Message::OutputsFound { look, job, outputs }));
        });
        None
    }

    /// Finds what has come of the inputs of a batch, in a thread of its own: there may be many.
    pub(super) fn look_for_results(&self, look: RunId, job: JobId) {
        let (reader, artifacts, inbox) = (self.reader.clone(), self.artifacts.clone(), self.own_inbox.clone());
        let spool = self.spool.clone();
        self.runtime.spawn_blocking(move || {
            let results = gather::results(&reader, &artifacts, spool.as_deref(), job.batch);
            // The conductor has ended when nobody takes this.
            drop(inbox.send_blocking(Message::ResultsFound { look, job, results }));
        });
    }

    /// What the records say of these files' final names; `None` where one of them has another content, or none that is known.
    fn recorded(
        &mut self,
        job: JobId,
        stage: &Publish,
        language: Option<&str>,
        files: &[ArtifactFile],
    ) -> Option<Vec<Published>> {
        let spec = self.spec(job)?;
        let names = files.iter().map(|file| Path::new(&file.name));
        let names = output::published_as(&spec.output, stage, language, names)?;
        let recorded = names.into_iter().zip(files).map(|((path, kind), file)| {
            let known = self.reader.published(&path).ok()??;
            known.identity.filter(|_| known.content == file.content)?;
            let output = Output { path, kind: kind.to_owned(), bytes: file.bytes };
            Some(Published { output, content: file.content, identity: known.identity })
        });
        recorded.collect()
    }
}

/// Whether the file that has this name, and not what a link leads to, is still this one.
fn is_still(path: &PathBytes, identity: Option<FileIdentity>) -> bool {
    let now = std::fs::symlink_metadata(path.as_path()).ok().filter(std::fs::Metadata::is_file);
    now.is_some_and(|meta| Some(FileIdentity::of(&meta)) == identity)
}
