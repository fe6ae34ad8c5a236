//! Start: a run as its worker needs it, with all that it may open. Opens nothing itself, and chooses no worker.

use std::sync::Arc;

use spindle_core::cache;
use spindle_core::effect::{Input, Start};
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{ContentHash, JobId};
use spindle_shared::job::{Detail, Input as JobInput, PathBytes};
use spindle_shared::object_store;
use spindle_shared::output;
use spindle_shared::stage::Stage;
use spindle_shared::stage::fetch::Fetch;
use spindle_shared::stage::publish::Publish;
use spindle_shared::stage::upload::Upload;
use spindle_shared::worker::{Assignment, InputFile, Outcome};

use super::endings::disk_failure;
use super::{Conductor, Leaves};
use crate::gather;
use crate::workers::{StartOrder, ToOpen};

impl Conductor {
    /// Hands a run to the supervisor. `Some` = it could not even be prepared.
    pub(super) fn start(&mut self, start: Start) -> Option<Input> {
        let Start {
            run,
            job,
            mut stage,
            lane,
            address,
            feed,
            identity,
            detail,
            alone,
            slots,
            memory_mib: _,
            timeout_ms,
            key,
        } = start;
        self.log.say(
            job,
            "started",
            &[("run", run.to_string().into()), ("stage", stage.name().into()), ("slots", slots.into())],
        );
        self.logged.insert(run, job);
        let internal = |message: String| {
            Some(Input::Ended { run, outcome: Outcome::Failed(Failure::new(FailureKind::Internal, message)) })
        };
        let Some(spec) = self.spec(job) else { return internal("the job's record can't be read".to_owned()) };
        let (mut inputs, mut open) = (Vec::new(), Vec::new());
        match (&feed, &spec.input) {
            (Some((address, files)), _) => {
                let folder = self.artifacts.folder(address);
                for file in files {
                    inputs.push(InputFile::new(PathBytes(file.name.clone().into_bytes()), file.bytes));
                    open.push(ToOpen::Artifact { path: folder.join(&file.name).into() });
                }
            }
            (None, JobInput::File { path, identity: submitted }) => {
                let identity = identity.unwrap_or(*submitted);
                inputs.push(InputFile::new(self.shown(path), identity.bytes));
                open.push(ToOpen::Input { path: path.clone(), identity });
            }
            // Whoever fetches it is told where from; there is nothing to open.
            (None, JobInput::Url(url)) if matches!(stage, Stage::Fetch(_)) => {
                inputs.push(InputFile::new(PathBytes(url.as_str().as_bytes().to_vec()), 0));
                open.push(ToOpen::Bytes(Arc::from([])));
                let store = url.in_store().and_then(|(bucket, _)| self.stores.of(bucket)).cloned();
                stage = Stage::Fetch(Fetch { store, ..self.fetching.clone() });
            }
            (None, JobInput::Url(url)) => return internal(format!("{url} was not fetched")),
            (None, JobInput::Name(_)) => {
                if let Some(reads) = stage.gathers() {
                    let Some(gathered) = self.gathered.get(&job) else {
                        return internal("what is to be gathered was not looked up".to_owned());
                    };
                    (inputs, open) = gather::inputs(&self.artifacts, gathered, reads, stage.tells_lost());
                }
            }
        }
        if let Some((before, _)) = &feed
            && stage.rereads_inputs()
            && !job.is_gather()
        {
            match &spec.input {
                JobInput::File { path, identity: submitted } => {
                    let identity = identity.unwrap_or(*submitted);
                    inputs.push(InputFile::new(self.shown(path), identity.bytes));
                    open.push(ToOpen::Input { path: path.clone(), identity });
                }
                // Where it was just fetched it came along.
                JobInput::Url(_) if *before == cache::fetched(job) => {}
                JobInput::Url(url) => {
                    let fetched = cache::fetched(job);
                    let found = self.reader.artifact(&fetched).ok().flatten();
                    let Some(files) =
                        found.filter(|found| self.artifacts.has(&fetched, found)).map(|found| found.files)
                    else {
                        return internal(format!("{url} is not there any more"));
                    };
                    let folder = self.artifacts.folder(&fetched);
                    for file in files {
                        inputs.push(InputFile::new(PathBytes(file.name.clone().into_bytes()), file.bytes));
                        open.push(ToOpen::Artifact { path: folder.join(&file.name).into() });
                    }
                }
                JobInput::Name(_) => {}
            }
        }
        if stage.rereads_inputs() && job.is_gather() {
            let Some(results) = self.gathered.get(&job) else {
                return internal("what is to be gathered was not looked up".to_owned());
            };
            let (more_inputs, more_open) = gather::originals(results);
            inputs.extend(more_inputs.into_iter().map(|input| InputFile { name: self.shown(&input.name), ..input }));
            open.extend(more_open);
        }
        let mut replaceable = spec.replace.clone();
        if job.is_gather()
            && let Stage::Publish(publish) | Stage::Upload(Upload { publish, .. }) = &stage
        {
            replaceable.extend(self.own_outputs(job, publish, &detail, &inputs));
        }
        if let (Stage::Check(check), JobInput::Name(name)) = (&mut stage, &spec.input) {
            check.store = self.stores.named(name).cloned();
            if check.store.is_none() {
                return internal(format!("there is no store `{name}` any more"));
            }
        }
        let mut bringing = None;
        if let Stage::Upload(upload) = &mut stage {
            let bucket = object_store::folder(&spec.output.directory.0).map(|(bucket, _)| bucket);
            upload.store = bucket.and_then(|bucket| self.stores.of(bucket)).cloned();
            bringing = bucket.map(|bucket| (bucket.to_owned(), inputs.iter().map(|input| input.bytes).sum()));
        }
        // What leaves no artifact needs no folder for it.
        let scratch = stage.facts().artifact.then(|| self.artifacts.make_scratch(run)).transpose();
        let scratch = match scratch {
            Ok(scratch) => scratch,
            Err(error) => {
                let failure = disk_failure(&error, "make the run's scratch folder", self.house.as_path());
                return Some(Input::Ended { run, outcome: Outcome::Failed(failure) });
            }
        };
        // What is uploaded goes on where it was broken off, too.
        let uploads = matches!(stage, Stage::Upload(_)).then(|| cache::uploaded(job));
        self.runs.insert(run, Leaves { address, scratch: scratch.is_some(), uploads, bringing });
        let (role, model) = match &stage {
            Stage::Transcribe(transcribe) => (stage.facts().role, Some(transcribe.model.path.clone())),
            _ => (stage.facts().role, None),
        };
        let call = stage.api().zip(key).and_then(|((named, _), key)| {
            let provider = self.providers.iter().find(|provider| provider.name == named.name)?;
            Some(Box::new(provider.call(key, &stage)))
        });
        let assignment = Assignment {
            run,
            inputs,
            more_inputs: 0,
            named: Vec::new(),
            scratch: scratch.map(PathBytes::from).unwrap_or_default(),
            checkpoint: address.or(uploads).map(|address| self.artifacts.checkpoint(&address).into()),
            output: spec.output.clone(),
            part_tag: self.part_tag(job),
            detail,
            replaceable,
            threads: slots,
            call,
            stage,
        };
        self.supervisor.start(StartOrder { assignment, open, role, model, device: lane.gpu(), alone, timeout_ms });
        None
    }

    /// An input's name as its user knows it, which results may speak of.
    fn shown(&self, path: &PathBytes) -> PathBytes {
        self.spool.as_ref().map_or_else(|| path.clone(), |spool| spool.shown(path))
    }

    /// What this very job has published under the names it is about to publish: the gather of a batch may be done again.
    fn own_outputs(
        &mut self,
        job: JobId,
        stage: &Publish,
        detail: &Detail,
        inputs: &[InputFile],
    ) -> Vec<(PathBytes, ContentHash)> {
        let Some(spec) = self.spec(job) else { return Vec::new() };
        let names = inputs.iter().map(|input| input.name.as_path());
        let names = output::published_as(&spec.output, stage, detail.language.as_deref(), names).unwrap_or_default();
        let known = names.into_iter().filter_map(|(path, _)| {
            let known = self.reader.published(&path).ok().flatten().filter(|known| known.job == job)?;
            Some((path, known.content))
        });
        known.collect()
    }
}
