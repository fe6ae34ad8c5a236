//! What a gather job works on: the results of its batch's inputs, found in the store and in the artifact folder. Opens no file.

use std::sync::Arc;

use spindle_core::scheduler::gather::result_is_gone;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::{AddressHasher, BatchId, ContentHash};
use spindle_shared::job::{Input, PathBytes};
use spindle_shared::wire::codec;
use spindle_shared::worker::{Gathered, InputFile, RESULTS_FILE};

use crate::artifacts::Artifacts;
use crate::store::{Reader, StoreError};
use crate::workers::ToOpen;

/// The results of all inputs that completed, in input order, and a hash of what they are; or the first that is missing.
pub fn results(
    reader: &Reader,
    artifacts: &Artifacts,
    batch: BatchId,
) -> Result<(ContentHash, Arc<Vec<Gathered>>), Failure> {
    let failed = |error: StoreError| {
        Failure::new(FailureKind::Internal, format!("failed to read the results of batch {batch}: {error}"))
    };
    let mut hasher = AddressHasher::default();
    let mut gathered = Vec::new();
    for completed in reader.completed(batch).map_err(failed)?.unwrap_or_default() {
        let index = completed.index;
        let address = completed.artifact.ok_or_else(|| result_is_gone(index, batch))?;
        let artifact = reader.artifact(&address).map_err(failed)?;
        let artifact = artifact.filter(|artifact| artifacts.has(&address, artifact));
        let artifact = artifact.ok_or_else(|| result_is_gone(index, batch))?;
        let input = match completed.input {
            Input::File { path, .. } => path,
            Input::Name(name) => PathBytes(name.into_bytes()),
        };
        // Names are part of the result; where the files lie is not.
        let name = input.as_path().file_name().unwrap_or_default().as_encoded_bytes().to_vec();
        hasher.part(&index.to_le_bytes()).part(&name).part(&address.0);
        gathered.push(Gathered { index, input, address, detail: completed.detail, files: artifact.files });
    }
    Ok((hasher.finish(), Arc::new(gathered)))
}

/// What a run gets that reads such files of every result: the rows, then the files.
pub fn inputs(artifacts: &Artifacts, gathered: &[Gathered], reads: fn(&str) -> bool) -> (Vec<InputFile>, Vec<ToOpen>) {
    let mut rows = gathered.to_vec();
    let (mut inputs, mut open) = (Vec::new(), Vec::new());
    for row in &mut rows {
        row.files.retain(|file| reads(&file.name));
        let folder = artifacts.folder(&row.address);
        for file in &row.files {
            inputs.push(InputFile { name: PathBytes(file.name.clone().into_bytes()), bytes: file.bytes });
            open.push(ToOpen::Artifact { path: folder.join(&file.name).into() });
        }
    }
    let bytes = codec::encode(&rows);
    inputs.insert(0, InputFile { name: PathBytes(RESULTS_FILE.into()), bytes: bytes.len() as u64 });
    open.insert(0, ToOpen::Bytes(bytes.into()));
    (inputs, open)
}
