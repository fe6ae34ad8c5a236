//! `gc`: removes what is too old at once, or tells what would go.

use serde::Serialize;
use spindle_shared::exit;
use spindle_shared::wire::request::Request;
use spindle_shared::wire::response::{Collected, Response};

use crate::Context;
use crate::fault::Fault;
use crate::output::human;

/// Removes what is too old: artifacts, leftovers and records of batches; published files stay
///
/// The daemon does it by itself every half hour; how long things are kept stands in its configuration, under `housekeeping`. What a job that is
/// not at its end may still use stays.
#[derive(Debug, clap::Args)]
pub struct Gc {
    /// Tell what would go, and remove nothing
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Serialize)]
struct CollectedJson {
    dry_run: bool,
    scanned: u64,
    /// Artifacts, unfinished pieces and batches.
    deleted: u64,
    failed: u64,
    in_use: u64,
    bytes: u64,
    artifacts: u64,
    artifact_bytes: u64,
    checkpoints: u64,
    checkpoint_bytes: u64,
    batches: u64,
    jobs: u64,
    /// Folders of the spool.
    spooled: u64,
    spool_bytes: u64,
}

impl Gc {
    pub fn run(self, context: &Context) -> Result<u8, Fault> {
        let done = context
            .daemon
            .ask(&Request::Collect { dry_run: self.dry_run })?
            .into_iter()
            .find_map(|response| if let Response::Collected(done) = response { Some(done) } else { None })
            .ok_or_else(|| Fault::unexpected("what became of the cleaning"))?;
        context.console.either(|| document(&done), || text(&done))?;
        Ok(if done.failed > 0 { exit::ERROR } else { exit::DONE })
    }
}

fn document(done: &Collected) -> CollectedJson {
    let Collected { dry_run, scanned, artifacts, artifact_bytes, checkpoints, checkpoint_bytes, .. } = *done;
    let Collected { batches, jobs, in_use, failed, spooled, spool_bytes, .. } = *done;
    CollectedJson {
        dry_run,
        scanned,
        deleted: artifacts + checkpoints + batches + spooled,
        failed,
        in_use,
        bytes: artifact_bytes + checkpoint_bytes + spool_bytes,
        artifacts,
        artifact_bytes,
        checkpoints,
        checkpoint_bytes,
        batches,
        jobs,
        spooled,
        spool_bytes,
    }
}

fn text(done: &Collected) -> String {
    let verb = if done.dry_run { "would remove" } else { "removed" };
    let mut rows = vec![
        ("looked at", format!("{} artifacts, unfinished pieces and batches", done.scanned)),
        (verb, format!("{} artifacts, {}", done.artifacts, human::bytes(done.artifact_bytes))),
        ("", format!("{} unfinished pieces, {}", done.checkpoints, human::bytes(done.checkpoint_bytes))),
        ("", format!("{} records of batches, with {} jobs", done.batches, done.jobs)),
    ];
    if done.spooled > 0 {
        rows.push(("", format!("{} folders of the spool, {}", done.spooled, human::bytes(done.spool_bytes))));
    }
    if done.in_use > 0 {
        rows.push(("kept", format!("{}, which are in use", done.in_use)));
    }
    if done.failed > 0 {
        rows.push(("failed", format!("{}: the daemon's log says why", done.failed)));
    }
    human::block(&rows)
}
