//! Chores: what goes through the whole queue, one at a time, beside the conductor and never in its turn. Who may ask, `rights.rs` says.

use std::collections::HashMap;
use std::path::{Component, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use spindle_core::effect::{Answer, Command, Peer};
use spindle_shared::batch::BatchState;
use spindle_shared::id::{BatchId, ContentHash, Owner};
use spindle_shared::job::PathBytes;
use spindle_shared::limits::{PATH_BYTES_MAX, PURGE_MAX};
use spindle_shared::wire::response::{BackedUp, Collected, Refusal, RefusalKind, Response};
use tokio::sync::MutexGuard;
use tokio::time::Instant;

use super::House;
use super::connection::Broken;
use super::read::{self, on_store};
use crate::housekeeping::OldFiles;
use crate::spool::Standing;
use crate::store::StoreError;

/// Copies the queue into a new file. The daemon writes with its own rights, so whoever asks must have no fewer (`rights.rs`).
pub async fn back_up(house: &Arc<House>, path: PathBytes) -> Result<Vec<Response>, Broken> {
    let begun = check_path(&path).and_then(|()| begin(house));
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

/// Removes what is too old, at once.
pub async fn collect(house: &Arc<House>, dry_run: bool) -> Result<Vec<Response>, Broken> {
    let _chore = match begin(house) {
        Ok(chore) => chore,
        Err(refusal) => return Ok(vec![Response::Refused(refusal)]),
    };
    Ok(vec![Response::Collected(clean(house, dry_run).await?), Response::End])
}

/// Takes up what has changed in the configuration.
pub async fn reload(house: &Arc<House>) -> Result<Vec<Response>, Broken> {
    let reloaded = on_store(house, |house| Ok(house.reload.run())).await?;
    Ok(match reloaded {
        Ok(changes) => vec![Response::Reloaded(changes), Response::End],
        Err(wrong) => vec![Response::Refused(
            Refusal::new(RefusalKind::Usage, wrong.to_string())
                .hint("nothing was changed: the daemon goes on as it was"),
        )],
    })
}

/// So often it is looked whether somebody has set the clock.
const CLOCK_EVERY: Duration = Duration::from_secs(60);

/// Cleans for ever. The first time comes late, so that a machine that has just started has its clock right by then.
pub async fn clean_regularly(house: Arc<House>) {
    let mut changes = house.config.changes();
    let mut last = Instant::now();
    loop {
        let every = Duration::from_secs(house.config.get().housekeeping.every_minutes * 60);
        tokio::select! {
            () = tokio::time::sleep_until(last + every) => last = Instant::now(),
            () = tokio::time::sleep(CLOCK_EVERY) => {
                house.housekeeping.now();
                continue;
            }
            Ok(()) = changes.changed() => continue,
        }
        // Whoever is at it already does as much.
        let Ok(_chore) = house.chore.try_lock() else { continue };
        if clean(&house, false).await.is_err() {
            tracing::warn!("a cleaning was not finished; the next one goes on");
        }
    }
}

/// The conductor removes, a few at a time, and has the last word on what is in use.
async fn clean(house: &Arc<House>, dry_run: bool) -> Result<Collected, Broken> {
    house.housekeeping.keep((&house.config.get().housekeeping).into());
    let old = on_store(house, |house| house.housekeeping.look(&house.reader)).await?;
    let mut done = Collected { dry_run, scanned: old.scanned, in_use: old.in_use, ..Collected::default() };
    let addresses: Vec<(ContentHash, OldFiles)> = old.addresses.into_iter().collect();
    for some in addresses.chunks(PURGE_MAX) {
        if !dry_run {
            let asked = some.iter().map(|(address, _)| *address).collect();
            house.inbox.ask(CLEANER, Command::Purge(asked)).await?;
        }
        let some = some.to_vec();
        let counted = on_store(house, move |house| {
            let mut counted = Collected::default();
            for (address, files) in some {
                if dry_run || !house.housekeeping.is_there(&address) {
                    counted.artifacts += u64::from(files.is_artifact);
                    counted.artifact_bytes += files.artifact_bytes;
                    counted.checkpoints += u64::from(files.checkpoint_bytes.is_some());
                    counted.checkpoint_bytes += files.checkpoint_bytes.unwrap_or(0);
                } else if house.reader.artifact(&address)?.is_some() {
                    counted.in_use += 1;
                } else {
                    counted.failed += 1;
                }
            }
            Ok(counted)
        })
        .await?;
        done.artifacts += counted.artifacts;
        done.artifact_bytes += counted.artifact_bytes;
        done.checkpoints += counted.checkpoints;
        done.checkpoint_bytes += counted.checkpoint_bytes;
        done.in_use += counted.in_use;
        done.failed += counted.failed;
    }
    let spool = on_store(house, move |house| clean_spool(house, dry_run)).await?;
    (done.spooled, done.spool_bytes) = (spool.spooled, spool.spool_bytes);
    (done.scanned, done.failed) = (done.scanned + spool.scanned, done.failed + spool.failed);
    for (id, jobs) in old.batches {
        let folders = read::spool_folders(house, vec![id]).await?;
        // The owner is looked up again when it is removed; one that was retried meanwhile is refused.
        let removed = dry_run
            || matches!(
                house.inbox.ask(CLEANER, Command::Remove(vec![(id, None)])).await?,
                Answer::Frames(frames) if !matches!(frames.first(), Some(Response::Refused(_)))
            );
        if removed {
            if !dry_run {
                read::clear_spool(house, folders).await?;
            }
            done.batches += 1;
            done.jobs += u64::from(jobs);
        } else {
            done.in_use += 1;
        }
    }
    if !dry_run && done.artifacts + done.checkpoints + done.batches + done.spooled + done.failed > 0 {
        tracing::info!(
            artifacts = done.artifacts,
            checkpoints = done.checkpoints,
            bytes = done.artifact_bytes + done.checkpoint_bytes,
            batches = done.batches,
            spooled = done.spooled,
            failed = done.failed,
            "removed what was too old"
        );
    }
    Ok(done)
}

/// Removes what is old in the spool.
fn clean_spool(house: &House, dry_run: bool) -> Result<Collected, StoreError> {
    let mut done = Collected::default();
    let Some(spool) = &house.spool else { return Ok(done) };
    let mut batches: HashMap<PathBuf, BatchId> = HashMap::new();
    house.reader.each_key(|owner, key, id| {
        batches.insert(spool.folder(owner, key), id);
    })?;
    let old = spool.old(&house.housekeeping.now(), house.housekeeping.temporary_ms(), |folder| {
        done.scanned += 1;
        let Some(id) = batches.get(folder) else { return Ok::<_, StoreError>(Standing::Unknown) };
        let view = house.reader.batch(*id)?;
        Ok(match view.map(|view| (view.state, view.finished_at)) {
            None => Standing::Unknown,
            Some((state, Some(at))) if state.is_terminal() => {
                Standing::Ended { at: at.0, well: state == BatchState::Completed }
            }
            Some(_) => Standing::Open,
        })
    })?;
    for old in old {
        match dry_run || spool.remove(&old) {
            true => (done.spooled, done.spool_bytes) = (done.spooled + 1, done.spool_bytes + old.bytes),
            // Something comes into it by now, or it can't be removed.
            false => done.failed += u64::from(!spool.is_busy(&old.path)),
        }
    }
    if !dry_run {
        spool.count();
    }
    Ok(done)
}

/// The daemon itself.
const CLEANER: Peer = Peer { owner: Owner(0), admin: true };

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

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::atomic::AtomicUsize;

    use spindle_core::change::{Change, StoredArtifact};
    use spindle_shared::job::Detail;
    use spindle_shared::time::WallMs;
    use tokio::sync::mpsc;

    use super::*;
    use crate::ages::Ages;
    use crate::artifacts::Artifacts;
    use crate::config::Config;
    use crate::housekeeping::Housekeeping;
    use crate::inbox::{Inbox, Message};
    use crate::reload::Live;
    use crate::server::users::Users;
    use crate::store::{Store, tests::samples};

    const DAY: u64 = 86_400_000;

    fn house(folder: &std::path::Path, changes: &[Change]) -> (Arc<House>, Store, mpsc::Receiver<Message>) {
        let mut store = Store::open(folder).unwrap();
        store.commit(changes).unwrap();
        let (inbox, receiver) = Inbox::new();
        let config = Config::default();
        let lifetimes = (&config.housekeeping).into();
        let config = Arc::new(Live::new(config));
        let artifacts = Artifacts::open(folder).unwrap();
        let house = House {
            gpus: Default::default(),
            inbox,
            reader: store.reader(),
            model_dir: folder.to_owned(),
            state_dir: folder.to_owned(),
            reserve_bytes: 0,
            workers: Arc::new(Vec::new),
            log: Arc::default(),
            job_logs: crate::logs::jobs::open(&folder.join("logs"), |_| true).unwrap().1,
            runs_commands: false,
            folders: crate::folders::Folders::new().unwrap(),
            folder_lock: tokio::sync::Mutex::default(),
            firing: Arc::default(),
            users: Arc::new(Users::new(1_000, None)),
            spool: None,
            clients: AtomicUsize::new(0),
            housekeeping: Housekeeping::new(artifacts, lifetimes, Ages::open(folder)),
            chore: tokio::sync::Mutex::default(),
            reload: Arc::new(crate::reload::Reload::new(Arc::clone(&config), |_| Err("a test has no file".to_owned()))),
            config,
        };
        (Arc::new(house), store, receiver)
    }

    /// Two records that are too old, and artifacts for more than one command.
    fn old_things(now: u64) -> Vec<Change> {
        let mut changes = Vec::new();
        for id in [1, 2] {
            changes.extend(samples::a_job_with_its_artifact(id, now).0);
            changes.extend(samples::its_end(id, now - 31 * DAY));
        }
        for number in 0..=PURGE_MAX as u8 {
            let artifact = StoredArtifact {
                stage: "decode".to_owned(),
                files: Vec::new(),
                detail: Detail::default(),
                created_at: WallMs(now - 2 * DAY),
            };
            changes.push(Change::ArtifactStored(ContentHash([number; 32]), artifact));
        }
        changes
    }

    fn now() -> u64 {
        std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64
    }

    #[tokio::test]
    async fn the_conductor_is_asked_for_little_at_a_time_and_may_refuse() {
        let folder = tempfile::tempdir().unwrap();
        let (house, _store, mut receiver) = house(folder.path(), &old_things(now()));
        let conductor = tokio::spawn(async move {
            let mut asked = Vec::new();
            while let Some(Message::Command { peer, command, reply }) = receiver.recv().await {
                assert!(peer.admin);
                // Batch 2 was taken up again meanwhile.
                let answer = match &command {
                    Command::Remove(batches) if batches[0].0.0 == 2 => {
                        Response::Refused(Refusal::new(RefusalKind::WrongState, "not finished"))
                    }
                    _ => Response::End,
                };
                asked.push(command);
                drop(reply.send(Answer::Frames(vec![answer])));
            }
            asked
        });
        let done = clean(&house, false).await.unwrap();
        assert_eq!((done.artifacts, done.batches, done.jobs, done.in_use), (PURGE_MAX as u64 + 1, 1, 1, 1), "{done:?}");
        drop(house);
        let asked = conductor.await.unwrap();
        let sizes: Vec<_> = asked
            .iter()
            .map(|command| match command {
                Command::Purge(addresses) => addresses.len(),
                Command::Remove(batches) => batches.len() + 100,
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(sizes, [PURGE_MAX, 1, 101, 101]);
    }

    #[tokio::test]
    async fn what_stays_where_it_is_counts_as_failed_and_what_is_taken_up_again_as_in_use() {
        let folder = tempfile::tempdir().unwrap();
        let stored = |number: u8| {
            let artifact = StoredArtifact {
                stage: "decode".to_owned(),
                files: Vec::new(),
                detail: Detail::default(),
                created_at: WallMs(now() - 2 * DAY),
            };
            Change::ArtifactStored(ContentHash([number; 32]), artifact)
        };
        // 1 has no files; 2 can't be removed; 3 is wanted again before its turn has come.
        let (house, mut store, mut receiver) = house(folder.path(), &[stored(1), stored(2), stored(3)]);
        let artifacts = Artifacts::open(folder.path()).unwrap();
        for number in [2, 3] {
            fs::create_dir_all(artifacts.folder(&ContentHash([number; 32]))).unwrap();
        }
        let conductor = tokio::spawn(async move {
            while let Some(Message::Command { command, reply, .. }) = receiver.recv().await {
                let Command::Purge(addresses) = command else { panic!("{command:?}") };
                let gone = addresses.into_iter().filter(|address| address.0[0] != 3);
                store.commit(&gone.map(Change::ArtifactDropped).collect::<Vec<_>>()).unwrap();
                drop(reply.send(Answer::Frames(vec![Response::End])));
            }
            store
        });
        let done = clean(&house, false).await.unwrap();
        assert_eq!((done.scanned, done.artifacts, done.failed, done.in_use), (3, 1, 1, 1), "{done:?}");
        drop(house);
        drop(conductor.await.unwrap());
    }

    #[tokio::test]
    async fn a_dry_run_asks_nobody_and_chores_go_one_at_a_time() {
        let folder = tempfile::tempdir().unwrap();
        let (house, _store, mut receiver) = house(folder.path(), &old_things(now()));
        let frames = collect(&house, true).await.unwrap();
        let Some(Response::Collected(done)) = frames.first() else { panic!("{frames:?}") };
        assert_eq!((done.dry_run, done.artifacts, done.batches), (true, PURGE_MAX as u64 + 1, 2));
        assert!(receiver.try_recv().is_err());

        let path = PathBytes(folder.path().join("copy").into_os_string().into_encoded_bytes());
        let _chore = house.chore.lock().await;
        let refused = back_up(&house, path).await.unwrap();
        assert!(matches!(refused.first(), Some(Response::Refused(refusal)) if refusal.kind == RefusalKind::Limit));
    }

    #[test]
    fn a_path_must_mean_the_same_wherever_one_stands() {
        let long = format!("/{}", "x".repeat(PATH_BYTES_MAX));
        for path in ["copy", "./copy", "/", "/a/..", "/a/../b", "/a\0b", &long] {
            assert!(check_path(&PathBytes(path.as_bytes().to_vec())).is_err(), "{path}");
        }
        assert!(check_path(&PathBytes(b"/backups/queue.redb".to_vec())).is_ok());
    }
}
