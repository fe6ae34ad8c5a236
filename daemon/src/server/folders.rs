//! `folder`: watched folders added, listed and removed. The watching itself is [`crate::folders`]'.

use std::path::Component;
use std::sync::Arc;

use spindle_core::change::{Change, Folder};
use spindle_core::effect::Peer;
use spindle_shared::id::Owner;
use spindle_shared::job::PathBytes;
use spindle_shared::limits::{COMMAND_BYTES_MAX, COMMAND_WORDS_MAX, FOLDERS_MAX, PATH_BYTES_MAX};
use spindle_shared::wire::response::{Refusal, RefusalKind, Response};
use tokio::sync::oneshot;

use super::House;
use super::connection::Broken;
use super::read::on_store;
use crate::inbox::Message;

/// What a client wants watched.
pub struct Wanted {
    pub path: PathBytes,
    pub working: PathBytes,
    pub arguments: Vec<String>,
    pub extensions: Vec<String>,
    pub recursive: bool,
}

pub async fn list(house: &Arc<House>, peer: Peer) -> Result<Vec<Response>, Broken> {
    let rows = on_store(house, |house| {
        let folders = house.reader.folders()?.into_iter();
        folders.map(|folder| Ok((house.reader.folder_files(folder.id)?, folder))).collect::<Result<Vec<_>, _>>()
    })
    .await?;
    let own = rows.into_iter().filter(|(_, folder)| peer.admin || folder.owner == peer.owner);
    let views = own.map(|(taken, folder)| house.folders.view(folder, taken)).collect();
    Ok(vec![Response::Folders(views), Response::End])
}

pub async fn add(house: &Arc<House>, peer: Peer, wanted: Wanted) -> Result<Vec<Response>, Broken> {
    // It is read and submitted with the daemon's own rights.
    let refusal = peer.must_be_admin("have a folder watched").and_then(|()| check(&wanted)).err();
    if let Some(refusal) = refusal {
        return Ok(vec![Response::Refused(refusal)]);
    }
    // One at a time: numbers are given here.
    let _one = house.folder_lock.lock().await;
    let known = on_store(house, |house| Ok((house.reader.folders()?, house.reader.next_folder()?))).await?;
    let (known, id) = known;
    if known.len() >= FOLDERS_MAX {
        let message = format!("{FOLDERS_MAX} folders are watched, and that is the most");
        return Ok(vec![Response::Refused(Refusal::new(RefusalKind::Limit, message))]);
    }
    if let Some(same) = known.iter().find(|folder| folder.path == wanted.path) {
        let message = format!("{} is watched already, as folder {}", same.path, same.id);
        return Ok(vec![Response::Refused(
            Refusal::new(RefusalKind::Usage, message).hint("`spindlectl folder remove` ends that"),
        )]);
    }
    let Wanted { path, working, arguments, extensions, recursive } = wanted;
    // Whoever asks: it is the daemon's user that submits.
    let owner = Owner(house.users.keeper());
    let folder = Folder { id, path, working, owner, arguments, extensions, recursive };
    write(house, vec![Change::FolderAdded(Box::new(folder.clone()))]).await?;
    house.folders.changed();
    tracing::info!(folder = %folder.path, id, "a folder is watched");
    Ok(vec![Response::Folders(vec![house.folders.view(folder, 0)]), Response::End])
}

pub async fn remove(house: &Arc<House>, peer: Peer, ids: Vec<u64>) -> Result<Vec<Response>, Broken> {
    if let Err(refusal) = peer.must_be_admin("end the watching of a folder") {
        return Ok(vec![Response::Refused(refusal)]);
    }
    let known = on_store(house, |house| house.reader.folders()).await?;
    if let Some(unknown) = ids.iter().find(|id| known.iter().all(|folder| folder.id != **id)) {
        let message = format!("there is no watched folder {unknown}");
        return Ok(vec![Response::Refused(Refusal::new(RefusalKind::NotFound, message))]);
    }
    write(house, ids.into_iter().map(Change::FolderRemoved).collect()).await?;
    house.folders.changed();
    list(house, peer).await
}

/// Waits until it is durable.
async fn write(house: &Arc<House>, changes: Vec<Change>) -> Result<(), Broken> {
    let (reply, written) = oneshot::channel();
    house.inbox.send(Message::Write { changes, reply }).await?;
    written.await.map_err(|_| Broken::Stopping)
}

fn check(wanted: &Wanted) -> Result<(), Refusal> {
    let usage = |message: String| Err(Refusal::new(RefusalKind::Usage, message));
    let path = wanted.path.as_path();
    let odd = !path.is_absolute()
        || path.components().any(|part| part == Component::ParentDir)
        || wanted.path.0.contains(&0)
        || wanted.path.0.len() > PATH_BYTES_MAX;
    if odd {
        return usage(format!("`{}` is not the absolute path of a folder", wanted.path));
    }
    match std::fs::metadata(path) {
        Ok(meta) if meta.is_dir() => {}
        Ok(_) => return usage(format!("{} is no folder", wanted.path)),
        Err(error) => return usage(format!("{}: {error}", wanted.path)),
    }
    let bytes: usize = wanted.arguments.iter().map(String::len).sum();
    let words = wanted.arguments.len();
    if words == 0 || words > COMMAND_WORDS_MAX || bytes > COMMAND_BYTES_MAX || wanted.extensions.len() > 1_000 {
        return usage(format!("{words} words of options with {bytes} bytes are none, or more than a folder may have"));
    }
    if wanted.arguments.iter().any(|word| word.contains('\0')) || wanted.arguments[0].starts_with('-') {
        return usage("a recipe comes behind the folder".to_owned());
    }
    Ok(())
}
