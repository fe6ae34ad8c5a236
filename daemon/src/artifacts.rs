//! The artifact folder: results by their address, checkpoints by the address of what they will become, scratch by run.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use spindle_core::change::StoredArtifact;
use spindle_shared::id::{ContentHash, RunId};
use spindle_shared::worker::PIECES_ENDING;

/// Paths under the state folder. Only the conductor writes here, but for a run inside its own scratch.
#[derive(Debug, Clone)]
pub struct Artifacts {
    artifacts: PathBuf,
    scratch: PathBuf,
    checkpoints: PathBuf,
}

impl Artifacts {
    /// Makes the folders, and empties the scratch of runs that a dead daemon left behind.
    pub fn open(state_dir: &Path) -> io::Result<Self> {
        let artifacts = Artifacts {
            artifacts: state_dir.join("artifacts"),
            scratch: state_dir.join("scratch"),
            checkpoints: state_dir.join("checkpoints"),
        };
        for dir in [&artifacts.artifacts, &artifacts.scratch, &artifacts.checkpoints] {
            fs::create_dir_all(dir)?;
        }
        for left in fs::read_dir(&artifacts.scratch)? {
            fs::remove_dir_all(left?.path())?;
        }
        Ok(artifacts)
    }

    pub fn folder(&self, address: &ContentHash) -> PathBuf {
        let name = address.to_string();
        self.artifacts.join(&name[..2]).join(name)
    }

    pub fn checkpoint(&self, address: &ContentHash) -> PathBuf {
        self.checkpoints.join(address.to_string())
    }

    pub fn scratch(&self, run: RunId) -> PathBuf {
        self.scratch.join(run.to_string())
    }

    pub fn make_scratch(&self, run: RunId) -> io::Result<PathBuf> {
        let dir = self.scratch(run);
        fs::create_dir(&dir)?;
        Ok(dir)
    }

    /// What lies at an address of its own, with the time it was last changed. What is not named as the daemon names it is not ours.
    pub fn stored(&self) -> impl Iterator<Item = (ContentHash, u64)> {
        let parents = fs::read_dir(&self.artifacts).into_iter().flatten().flatten();
        let folders = parents.flat_map(|parent| fs::read_dir(parent.path()).into_iter().flatten().flatten());
        let artifacts = self.clone();
        folders.filter_map(move |entry| {
            let address: ContentHash = entry.file_name().to_str()?.parse().ok()?;
            let meta = fs::symlink_metadata(entry.path()).ok().filter(fs::Metadata::is_dir)?;
            (artifacts.folder(&address) == entry.path()).then(|| (address, changed_at(&meta)))
        })
    }

    /// Unfinished pieces, with the time they were last changed and their bytes.
    pub fn checkpoints(&self) -> impl Iterator<Item = (ContentHash, u64, u64)> {
        fs::read_dir(&self.checkpoints).into_iter().flatten().flatten().filter_map(|entry| {
            let address: ContentHash = entry.file_name().to_str()?.parse().ok()?;
            let meta = fs::symlink_metadata(entry.path()).ok().filter(fs::Metadata::is_file)?;
            let pieces = fs::read_dir(pieces_of(&entry.path())).into_iter().flatten().flatten();
            let pieces: u64 = pieces.filter_map(|piece| piece.metadata().ok()).map(|meta| meta.len()).sum();
            Some((address, changed_at(&meta), meta.len() + pieces))
        })
    }

    /// Of the files at an address.
    pub fn bytes(&self, address: &ContentHash) -> u64 {
        let files = fs::read_dir(self.folder(address)).into_iter().flatten().flatten();
        files.filter_map(|file| file.metadata().ok()).map(|meta| meta.len()).sum()
    }

    /// Gives a run's files their address. What is there already is as good.
    pub fn keep(&self, run: RunId, address: &ContentHash) -> io::Result<()> {
        let folder = self.folder(address);
        if let Some(parent) = folder.parent() {
            fs::create_dir_all(parent)?;
        }
        if folder.exists() {
            // Whole or not, it is not known any more, or it would have been used.
            fs::remove_dir_all(&folder)?;
        }
        fs::rename(self.scratch(run), &folder)?;
        self.drop_checkpoint(address);
        Ok(())
    }

    /// Whether the files are all there with their sizes.
    pub fn has(&self, address: &ContentHash, artifact: &StoredArtifact) -> bool {
        let folder = self.folder(address);
        artifact
            .files
            .iter()
            .all(|file| fs::metadata(folder.join(&file.name)).is_ok_and(|meta| meta.len() == file.bytes))
    }

    pub fn drop_scratch(&self, run: RunId) {
        ignore_missing(fs::remove_dir_all(self.scratch(run)), "the scratch folder");
    }

    pub fn drop_artifact(&self, address: &ContentHash) {
        ignore_missing(fs::remove_dir_all(self.folder(address)), "an artifact");
    }

    pub fn drop_checkpoint(&self, address: &ContentHash) {
        let path = self.checkpoint(address);
        // First what it speaks of: a checkpoint without its pieces is done again, pieces without a checkpoint would stay.
        ignore_missing(fs::remove_dir_all(pieces_of(&path)), "a checkpoint's pieces");
        ignore_missing(fs::remove_file(path), "a checkpoint");
    }
}

/// Where a checkpoint's large pieces lie.
fn pieces_of(checkpoint: &Path) -> PathBuf {
    let mut folder = checkpoint.as_os_str().to_owned();
    folder.push(PIECES_ENDING);
    folder.into()
}

/// Milliseconds since the epoch.
fn changed_at(meta: &fs::Metadata) -> u64 {
    let since = meta.modified().ok().and_then(|at| at.duration_since(std::time::UNIX_EPOCH).ok());
    since.map_or(0, |since| since.as_millis() as u64)
}

fn ignore_missing(result: io::Result<()>, what: &str) {
    match result {
        Err(error) if error.kind() != io::ErrorKind::NotFound => tracing::warn!("failed to remove {what}: {error}"),
        _ => {}
    }
}
