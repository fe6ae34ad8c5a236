//! `backup`: a copy of the queue in a file, while the daemon goes on.

use std::path::PathBuf;

use serde::Serialize;
use spindle_shared::exit;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::Response;

use crate::Context;
use crate::fault::Fault;
use crate::output::human;

/// Copies the queue into a new file, while the daemon goes on
///
/// The daemon writes it, with mode 0600, and gives it its name when it is whole and checked; a file that is there already is never replaced.
/// Transcripts are not part of it: they are made again where they are missing. To restore: stop the daemon, put the copy into the state folder
/// as `queue.redb`, start.
#[derive(Debug, clap::Args)]
pub struct Backup {
    /// The new file
    #[arg(value_name = "FILE")]
    file: PathBuf,
}

#[derive(Debug, Serialize)]
struct BackupJson {
    path: String,
    bytes: u64,
    batches: u64,
    jobs: u64,
}

impl Backup {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        // The daemon stands somewhere else.
        let path = plain(&self.file)?;
        let done = context
            .daemon
            .ask(&Request::Backup(path.into()))?
            .into_iter()
            .find_map(|response| if let Response::BackedUp(done) = response { Some(done) } else { None })
            .ok_or_else(|| Fault::unexpected("what became of the backup"))?;
        if context.console.json {
            let path = String::from_utf8_lossy(&done.path.0).into_owned();
            context.console.document(&BackupJson {
                path,
                bytes: done.bytes,
                batches: done.batches,
                jobs: done.jobs,
            })?;
        } else {
            context.console.talk(format_args!(
                "{} in {}: batches {}, jobs {}",
                human::bytes(done.bytes),
                done.path,
                done.batches,
                done.jobs
            ));
        }
        Ok(exit::DONE)
    }
}

/// Absolute, its folder without links and dots, so that daemon and person mean the same.
fn plain(file: &std::path::Path) -> Result<PathBuf, Fault> {
    let name = file
        .file_name()
        .ok_or_else(|| Fault::usage(format!("`{}` names no file", human::escaped(&file.to_string_lossy()))))?;
    let folder = match file.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => std::path::Path::new("."),
    };
    let folder = folder.canonicalize().map_err(|error| {
        let folder = human::escaped(&folder.to_string_lossy());
        Fault::usage(format!("there is no folder {folder} for the backup: {error}"))
    })?;
    Ok(folder.join(name))
}
