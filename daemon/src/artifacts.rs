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
    /// Makes the folders, and empties the scratch of runs that a dead daemon left behind. What can't be removed is in nobody's way: no run has its
    /// name again.
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
            let left = left?;
            if left.file_name().to_str().is_some_and(is_run) && left.file_type()?.is_dir() {
                ignore_missing(fs::remove_dir_all(left.path()), "what a run has left in the scratch folder");
            }
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
        // Behind a link lies what may be another daemon's.
        let parents = parents.filter(|parent| parent.file_type().is_ok_and(|kind| kind.is_dir()));
        let folders = parents.flat_map(|parent| fs::read_dir(parent.path()).into_iter().flatten().flatten());
        let artifacts = self.clone();
        folders.filter_map(move |entry| {
            let address: ContentHash = entry.file_name().to_str()?.parse().ok()?;
            let meta = fs::symlink_metadata(entry.path()).ok().filter(fs::Metadata::is_dir)?;
            (artifacts.folder(&address) == entry.path()).then(|| (address, changed_at(&meta)))
        })
    }

    /// Unfinished pieces, with the time they were last changed and their bytes. Those of a run that died before its checkpoint was there are alone.
    pub fn checkpoints(&self) -> impl Iterator<Item = (ContentHash, u64, u64)> {
        fs::read_dir(&self.checkpoints).into_iter().flatten().flatten().filter_map(move |entry| {
            let name = entry.file_name();
            let meta = fs::symlink_metadata(entry.path()).ok()?;
            let (address, is_ours) = match name.to_str()?.strip_suffix(PIECES_ENDING) {
                None => (name.to_str()?, meta.is_file()),
                Some(address) => (address, meta.is_dir() && !entry.path().with_file_name(address).exists()),
            };
            let address: ContentHash = address.parse().ok().filter(|_| is_ours)?;
            let pieces = fs::read_dir(pieces_of(&self.checkpoint(&address))).into_iter().flatten().flatten();
            let pieces: u64 = pieces.filter_map(|piece| piece.metadata().ok()).map(|meta| meta.len()).sum();
            let rows = if meta.is_file() { meta.len() } else { 0 };
            Some((address, changed_at(&meta), rows + pieces))
        })
    }

    /// Whether anything lies at this address.
    pub fn is_there(&self, address: &ContentHash) -> bool {
        let checkpoint = self.checkpoint(address);
        [self.folder(address), pieces_of(&checkpoint), checkpoint].iter().any(|path| fs::symlink_metadata(path).is_ok())
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

/// Whether a folder is named as a run's scratch is.
fn is_run(name: &str) -> bool {
    let is_number = |text: &str| text.parse::<u64>().is_ok_and(|number| number.to_string() == text);
    name.split_once('-').is_some_and(|(boot, counter)| is_number(boot) && is_number(counter))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn of_the_scratch_folder_only_what_runs_left_is_emptied() {
        let folder = tempfile::tempdir().unwrap();
        let scratch = folder.path().join("scratch");
        let elsewhere = folder.path().join("elsewhere");
        for name in ["1-1", "12-3456", "1-1-1", "01-1", "a-1", "notes"] {
            fs::create_dir_all(scratch.join(name)).unwrap();
            fs::write(scratch.join(name).join("file"), "text").unwrap();
        }
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("theirs"), "text").unwrap();
        symlink(&elsewhere, scratch.join("7-7")).unwrap();
        symlink(&elsewhere, scratch.join("1-1").join("link")).unwrap();
        // A file keeps nobody from starting.
        fs::write(scratch.join("note.txt"), "mine").unwrap();
        fs::write(scratch.join("8-8"), "mine").unwrap();
        Artifacts::open(folder.path()).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(&scratch).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        left.sort();
        assert_eq!(left, ["01-1", "1-1-1", "7-7", "8-8", "a-1", "note.txt", "notes"]);
        assert!(elsewhere.join("theirs").exists());
    }

    #[test]
    fn no_link_leads_to_what_is_not_ours() {
        let folder = tempfile::tempdir().unwrap();
        let artifacts = Artifacts::open(folder.path()).unwrap();
        let (name, other) = ("ab".repeat(32), "cd".repeat(32));
        let elsewhere = folder.path().join("elsewhere");
        fs::create_dir_all(elsewhere.join(&other)).unwrap();
        fs::create_dir_all(artifacts.artifacts.join("ab").join(&name)).unwrap();
        symlink(&elsewhere, artifacts.artifacts.join("cd")).unwrap();
        let found: Vec<String> = artifacts.stored().map(|(address, _)| address.to_string()).collect();
        assert_eq!(found, std::slice::from_ref(&name));

        // What lies in an artifact's place or in its folder, and leads away, goes itself.
        let address: ContentHash = name.parse().unwrap();
        fs::write(elsewhere.join("theirs"), "text").unwrap();
        symlink(&elsewhere, artifacts.folder(&address).join("link")).unwrap();
        symlink(&elsewhere, pieces_of(&artifacts.checkpoint(&address))).unwrap();
        symlink(elsewhere.join("theirs"), artifacts.checkpoint(&address)).unwrap();
        assert_eq!(artifacts.checkpoints().count(), 0);
        assert!(artifacts.is_there(&address));
        artifacts.drop_artifact(&address);
        artifacts.drop_checkpoint(&address);
        assert!(!artifacts.is_there(&address) && elsewhere.join("theirs").exists());

        // Pieces without a checkpoint.
        let pieces = pieces_of(&artifacts.checkpoint(&address));
        fs::create_dir(&pieces).unwrap();
        fs::write(pieces.join("0001"), [0; 50]).unwrap();
        let found: Vec<_> = artifacts.checkpoints().map(|(address, _, bytes)| (address, bytes)).collect();
        assert_eq!(found, [(address, 50)]);
        fs::write(artifacts.checkpoint(&address), [0; 7]).unwrap();
        let found: Vec<_> = artifacts.checkpoints().map(|(address, _, bytes)| (address, bytes)).collect();
        assert_eq!(found, [(address, 57)], "once");
        artifacts.drop_checkpoint(&address);
        assert!(!artifacts.is_there(&address));
    }
}
