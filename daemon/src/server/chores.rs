//! Chores: what goes through the whole queue, one at a time, beside the conductor and never in its turn. Only the daemon's user and root may ask.

use std::path::Component;
use std::sync::Arc;

use spindle_core::effect::Peer;
use spindle_shared::job::PathBytes;
use spindle_shared::limits::PATH_BYTES_MAX;
use spindle_shared::wire::response::{BackedUp, Refusal, RefusalKind, Response};
use tokio::sync::MutexGuard;

use super::House;
use super::connection::Broken;
use super::read::on_store;
use crate::store::StoreError;

/// Copies the queue into a new file. The daemon writes with its own rights, so whoever asks must have no fewer.
pub async fn back_up(house: &Arc<House>, peer: Peer, path: PathBytes) -> Result<Vec<Response>, Broken> {
    let begun = admin_only(peer, "copy the queue").and_then(|()| check_path(&path)).and_then(|()| begin(house));
    let _chore = match begun {
        Ok(chore) => chore,
        Err(refusal) => return Ok(vec![Response::Refused(refusal)]),
    };
    let target = path.clone();
    let copied = on_store(house, move |house| Ok(house.reader.back_up(target.as_path()))).await?;
    Ok(match copied {
        Ok(copied) => {
            tracing::info!(path = %path, bytes = copied.bytes, batches = copied.batches, "the queue was backed up");
            let done = BackedUp { path, bytes: copied.bytes, batches: copied.batches, jobs: copied.jobs };
            vec![Response::BackedUp(done), Response::End]
        }
        Err(error) => {
            tracing::warn!(path = %path, "the queue was not backed up: {error}");
            vec![Response::Refused(refusal_of(&error))]
        }
    })
}

fn refusal_of(error: &StoreError) -> Refusal {
    match error {
        StoreError::Taken { .. } => Refusal::new(RefusalKind::Usage, error.to_string()),
        StoreError::Full => {
            Refusal::new(RefusalKind::Limit, "there is no room for a backup on that disk; nothing was left there")
        }
        other => Refusal::new(RefusalKind::Internal, format!("failed to back up the queue: {other}")),
    }
}

/// Nothing that depends on where the daemon stands.
fn check_path(path: &PathBytes) -> Result<(), Refusal> {
    let absolute = path.as_path();
    let odd = !absolute.is_absolute()
        || absolute.file_name().is_none()
        || absolute.components().any(|part| part == Component::ParentDir)
        || path.0.contains(&0)
        || path.0.len() > PATH_BYTES_MAX;
    match odd {
        true => Err(Refusal::new(RefusalKind::Usage, format!("`{path}` is not the absolute path of a file"))),
        false => Ok(()),
    }
}

fn begin(house: &House) -> Result<MutexGuard<'_, ()>, Refusal> {
    house.chore.try_lock().map_err(|_| {
        Refusal::new(RefusalKind::Limit, "a backup or a cleaning is under way; only one goes on at a time")
    })
}

fn admin_only(peer: Peer, what: &str) -> Result<(), Refusal> {
    match peer.admin {
        true => Ok(()),
        false => Err(Refusal::new(RefusalKind::NotPermitted, format!("only the daemon's user and root may {what}"))),
    }
}
