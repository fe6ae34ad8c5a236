//! What a gather job works on: the results of its batch's inputs, found in the store and in the artifact folder. Opens no file.

use std::sync::Arc;

use spindle_core::cache;
use spindle_core::scheduler::gather::result_is_gone;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{AddressHasher, BatchId, ContentHash, JobId};
use spindle_shared::job::{Detail, FileIdentity, Input, PathBytes};
use spindle_shared::stage::Stage;
use spindle_shared::url::Url;
use spindle_shared::wire::codec;
use spindle_shared::worker::{Gathered, InputFile, RESULTS_FILE};

use crate::artifacts::Artifacts;
use crate::spool::Spool;
use crate::store::{Reader, StoreError};
use crate::workers::ToOpen;

/// What came of a batch's inputs.
#[derive(Debug, Clone, PartialEq)]
pub struct Results {
    /// Of all inputs that completed, in input order.
    pub rows: Vec<Gathered>,
    /// The inputs of the rows, for stages that work on them again; empty where none does.
    originals: Vec<ToOpen>,
    /// The inputs that have no result, for stages that are told of them; empty where none is.
    lost: Vec<Gathered>,
}

/// The results of all inputs that completed, and a hash of what they are; or the first that is missing.
pub fn results(
    reader: &Reader,
    artifacts: &Artifacts,
    spool: Option<&Spool>,
    batch: BatchId,
) -> Result<(ContentHash, Arc<Results>), Failure> {
    let failed = |error: StoreError| {
        Failure::new(FailureKind::Internal, format!("failed to read the results of batch {batch}: {error}"))
    };
    let mut hasher = AddressHasher::default();
    let (mut rows, mut originals) = (Vec::new(), Vec::new());
    let (recipe, inputs) = reader.completed(batch).map_err(failed)?.ok_or_else(|| result_is_gone(1, batch))?;
    let rereads = recipe.gather.iter().any(Stage::rereads_inputs);
    for completed in inputs {
        let index = completed.index;
        let address = completed.artifact.ok_or_else(|| result_is_gone(index, batch))?;
        let artifact = reader.artifact(&address).map_err(failed)?;
        let artifact = artifact.filter(|artifact| artifacts.has(&address, artifact));
        let artifact = artifact.ok_or_else(|| result_is_gone(index, batch))?;
        if rereads {
            let job = JobId { batch, index };
            let stages = completed.stages.as_deref().unwrap_or(&recipe.map);
            match &completed.input {
                Input::File { path, identity } => {
                    let identity = still_the_same(reader, path, identity, (job, stages), address).map_err(failed)?;
                    originals.push(ToOpen::Original { path: path.clone(), identity });
                }
                Input::Url(url) => originals.push(fetched(reader, artifacts, job, url).map_err(failed)?),
                Input::Name(_) => {}
            }
        }
        let input = path_of(completed.input, spool);
        // Names are part of the result; where the files lie is not.
        let name = input.as_path().file_name().unwrap_or_default().as_encoded_bytes().to_vec();
        hasher.part(&index.to_le_bytes()).part(&name).part(&address.0);
        rows.push(Gathered { index, input, address, detail: completed.detail, files: artifact.files, lost: None });
    }
    let mut lost = Vec::new();
    if recipe.gather.iter().any(Stage::tells_lost) {
        for (index, input, failure) in reader.lost(batch).map_err(failed)? {
            let input = path_of(input, spool);
            hasher.part(&index.to_le_bytes()).part(failure.kind.name().as_bytes()).part(failure.message.as_bytes());
            let (address, detail) = (ContentHash([0; 32]), Detail::default());
            lost.push(Gathered { index, input, address, detail, files: Vec::new(), lost: Some(failure) });
        }
    }
    Ok((hasher.finish(), Arc::new(Results { rows, originals, lost })))
}

/// As its user knows it.
fn path_of(input: Input, spool: Option<&Spool>) -> PathBytes {
    match input {
        Input::File { path, .. } => spool.map_or_else(|| path.clone(), |spool| spool.shown(&path)),
        Input::Name(name) => PathBytes(name.into_bytes()),
        Input::Url(url) => PathBytes(url.file_name().into_bytes()),
    }
}

/// The file that an input's result was made of, as it stands now; or why it is that no more. Touched and unchanged it still is.
fn still_the_same(
    reader: &Reader,
    path: &PathBytes,
    submitted: &FileIdentity,
    (job, stages): (JobId, &[Stage]),
    address: ContentHash,
) -> Result<Result<FileIdentity, String>, StoreError> {
    let now = match std::fs::metadata(path.as_path()) {
        Ok(meta) => FileIdentity::of(&meta),
        // Whoever opens it will say what is wrong.
        Err(_) => return Ok(Ok(*submitted)),
    };
    let made_of_it =
        |content| cache::addresses(job, stages, content).into_iter().flatten().next_back() == Some(address);
    let same = now == *submitted || reader.content_of(&now)?.is_some_and(made_of_it);
    Ok(if same { Ok(now) } else { Err(format!("{path} has changed since it was worked on")) })
}

/// The file that was fetched for an input, while it is kept.
fn fetched(reader: &Reader, artifacts: &Artifacts, job: JobId, url: &Url) -> Result<ToOpen, StoreError> {
    let address = cache::fetched(job);
    let artifact = reader.artifact(&address)?.filter(|artifact| artifacts.has(&address, artifact));
    let path = artifact.and_then(|artifact| Some(artifacts.folder(&address).join(&artifact.files.first()?.name)));
    let gone = || format!("what was fetched from {url} is kept no more");
    let identity = path
        .as_ref()
        .ok_or_else(gone)
        .and_then(|path| std::fs::metadata(path).map(|meta| FileIdentity::of(&meta)).map_err(|_| gone()));
    Ok(ToOpen::Original {
        path: path.map_or_else(|| PathBytes(url.file_name().into_bytes()), PathBytes::from),
        identity,
    })
}

/// The inputs themselves, in the rows' order.
pub fn originals(results: &Results) -> (Vec<InputFile>, Vec<ToOpen>) {
    let named = results.originals.iter().map(|original| match original {
        ToOpen::Original { path, identity } => {
            InputFile::new(path.clone(), identity.as_ref().map_or(0, |identity| identity.bytes))
        }
        _ => InputFile::new(PathBytes::default(), 0),
    });
    (named.collect(), results.originals.clone())
}

/// What a run gets that reads such files of every result: the rows, then the files. `lost`: with rows for the inputs that have no result, too.
pub fn inputs(
    artifacts: &Artifacts,
    results: &Results,
    reads: fn(&str) -> bool,
    lost: bool,
) -> (Vec<InputFile>, Vec<ToOpen>) {
    let mut rows = results.rows.clone();
    if lost {
        rows.extend(results.lost.iter().cloned());
        rows.sort_by_key(|row| row.index);
    }
    let (mut inputs, mut open) = (Vec::new(), Vec::new());
    for row in &mut rows {
        row.files.retain(|file| reads(&file.name));
        let folder = artifacts.folder(&row.address);
        for file in &row.files {
            inputs.push(InputFile::new(PathBytes(file.name.clone().into_bytes()), file.bytes));
            open.push(ToOpen::Artifact { path: folder.join(&file.name).into() });
        }
    }
    let bytes = codec::encode(&rows);
    inputs.insert(0, InputFile::new(PathBytes(RESULTS_FILE.into()), bytes.len() as u64));
    open.insert(0, ToOpen::Bytes(bytes.into()));
    (inputs, open)
}
