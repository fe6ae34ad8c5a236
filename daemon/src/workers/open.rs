//! Opens the files of a run: regular ones only, and the user's only as submitted. May wait for a slow disk; never reads content.

use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use rustix::fs::{MemfdFlags, Mode, OFlags};
use spindle_shared::catalogue::newest_voice_model;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::job::{FileIdentity, PathBytes};
use spindle_shared::limits::DESCRIPTORS_PER_MESSAGE_MAX;
use spindle_shared::provider::KeySource;
use spindle_shared::stage::Stage;
use spindle_shared::worker::Assignment;

use super::order::ToOpen;

/// Why a run doesn't start.
#[derive(Debug, PartialEq, Eq)]
pub enum Refused {
    Failed(Failure),
    /// It is another file, or another state of it, than was submitted.
    Changed(FileIdentity),
}

/// What a run gets for each of its files, and why that is nothing.
pub type Opened = (OwnedFd, Option<String>);

pub fn open_all(files: &[ToOpen]) -> Result<Vec<Opened>, Refused> {
    files.iter().map(open_one).collect()
}

/// The files that a stage names and that are there, and what lies beside them and belongs to them. What can't be opened is left out:
/// the worker, which will miss it, tells so in the words of its stage.
pub fn open_named(assignment: &Assignment) -> Vec<(PathBytes, OwnedFd)> {
    let stage = &assignment.stage;
    let mut paths: Vec<PathBytes> = Vec::new();
    for path in stage.named_files() {
        let beside = beside(stage, path.as_path());
        paths.extend(std::iter::once(path.clone()).chain(beside.into_iter().map(PathBytes::from)));
    }
    // A key in a file, for whoever asks a model API.
    if let Some(KeySource::File(path)) = assignment.call.as_ref().and_then(|call| call.key.as_ref()) {
        paths.push(path.clone());
    }
    paths.dedup();
    // With room left in the packet for the first of the inputs.
    paths.truncate(DESCRIPTORS_PER_MESSAGE_MAX - 1);
    paths.into_iter().filter_map(|path| open_regular(&path).ok().map(|(file, _)| (path, file))).collect()
}

/// A picture model's description, and the detector beside a model of speech: the newest by name.
fn beside(stage: &Stage, path: &Path) -> Option<PathBuf> {
    match stage {
        Stage::Transcribe(transcribe) if transcribe.vad => newest_voice_model(path.parent()?),
        Stage::Image(_) => Some(path.with_extension("toml")),
        _ => None,
    }
}

fn open_one(file: &ToOpen) -> Result<Opened, Refused> {
    let there = |file| (file, None);
    match file {
        ToOpen::Original { path, identity } => match original(path, identity) {
            Ok(opened) => Ok(there(opened)),
            Err(why) => bytes_in_memory(&[]).map(|empty| (empty, Some(why))),
        },
        ToOpen::Input { path, identity } => {
            let (opened, found) = open_regular(path).map_err(|e| Refused::Failed(input_failure(path, &e)))?;
            if found == *identity { Ok(there(opened)) } else { Err(Refused::Changed(found)) }
        }
        ToOpen::Bytes(bytes) => bytes_in_memory(bytes).map(there),
        ToOpen::Artifact { path } => match open_regular(path) {
            Ok((opened, _)) => Ok(there(opened)),
            Err(e) => {
                let what = match &e {
                    OpenError::NotRegular => "it is not a regular file".to_owned(),
                    OpenError::System(e) => e.to_string(),
                };
                let message = format!("failed to open the stored result {path}: {what}");
                Err(Refused::Failed(Failure::new(FailureKind::Internal, message)))
            }
        },
    }
}

/// A file that was worked on before, or what has become of it.
fn original(path: &PathBytes, identity: &Result<FileIdentity, String>) -> Result<OwnedFd, String> {
    let identity = identity.as_ref().map_err(Clone::clone)?;
    let (opened, found) = open_regular(path).map_err(|e| input_failure(path, &e).message)?;
    if found == *identity { Ok(opened) } else { Err(format!("{path} has changed since it was worked on")) }
}

fn bytes_in_memory(bytes: &[u8]) -> Result<OwnedFd, Refused> {
    in_memory(bytes).map_err(|e| {
        let message = format!("failed to hand {} bytes over: {e}", bytes.len());
        Refused::Failed(Failure::new(FailureKind::Internal, message))
    })
}

/// A file that is in no folder, with these bytes.
fn in_memory(bytes: &[u8]) -> io::Result<OwnedFd> {
    let file = File::from(rustix::fs::memfd_create("spindle", MemfdFlags::CLOEXEC)?);
    file.write_all_at(bytes, 0)?;
    Ok(file.into())
}

enum OpenError {
    NotRegular,
    System(io::Error),
}

/// Looks before it opens: opening a FIFO or a device does something to whoever is at its other end.
fn open_regular(path: &PathBytes) -> Result<(OwnedFd, FileIdentity), OpenError> {
    let system = |e: rustix::io::Errno| OpenError::System(e.into());
    let place = rustix::fs::open(path.as_path(), OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).map_err(system)?;
    let place = File::from(place);
    if !place.metadata().map_err(OpenError::System)?.is_file() {
        return Err(OpenError::NotRegular);
    }
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC | OFlags::NOCTTY;
    let same = format!("/proc/self/fd/{}", place.as_raw_fd());
    let opened = File::from(rustix::fs::open(same, flags, Mode::empty()).map_err(system)?);
    let meta = opened.metadata().map_err(OpenError::System)?;
    if !meta.is_file() {
        return Err(OpenError::NotRegular);
    }
    Ok((OwnedFd::from(opened), FileIdentity::of(&meta)))
}

fn input_failure(path: &PathBytes, error: &OpenError) -> Failure {
    let error = match error {
        OpenError::NotRegular => return Failure::new(FailureKind::Input, format!("{path} is not a regular file")),
        OpenError::System(error) => error,
    };
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => {
            Failure::new(FailureKind::Input, format!("{path} is missing"))
                .advise("put the file back and retry the job, or submit it from where it is now")
        }
        io::ErrorKind::PermissionDenied => {
            Failure::new(FailureKind::Permission, format!("{path} may not be read: {error}"))
        }
        _ if is_shortage(error) => Failure::new(FailureKind::Internal, format!("failed to open {path}: {error}")),
        _ => Failure::new(FailureKind::Input, format!("failed to open {path}: {error}")),
    }
}

/// Our own want of descriptors or memory is not the input's fault.
fn is_shortage(error: &io::Error) -> bool {
    use rustix::io::Errno;
    Errno::from_io_error(error).is_some_and(|e| matches!(e, Errno::MFILE | Errno::NFILE | Errno::NOMEM))
}
