//! The spool of a service for several users: what they send lies here until it is worked on, and what was made of it until it is fetched. Knows no
//! queue; the only place where a user's name for a file becomes one of the daemon's, and never one outside its own folder.
//!
//! `spool/UID/KEY/in/home/ann/talk.mp4` is what the user with this number sent as `/home/ann/talk.mp4` under a batch's key, `…/out/…` what its
//! jobs publish. So a user's names stand as they are in all that is told, with what is before them taken off ([`Spool::shown`]), and the rest of the daemon
//! works on files as it does elsewhere. Only the daemon and its workers write here: there are no links to be led astray by.

use std::borrow::Cow;
use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::fs::{CWD, FlockOperation, Mode, OFlags, RenameFlags, Timespec, Timestamps};
use spindle_core::effect::Peer;
use spindle_shared::id::{ContentHash, ContentHasher, Owner};
use spindle_shared::job::{FileIdentity, Input, JobView, PathBytes};
use spindle_shared::limits::{PATH_BYTES_MAX, PIECE_BYTES};
use spindle_shared::output::FILE_NAME_BYTES_MAX;
use spindle_shared::wire::request::Upload;
use spindle_shared::wire::response::{Refusal, RefusalKind, Response, SpoolView};

use crate::ages::Now;
use crate::config;
use crate::machine;

const SENT: &str = "in";
const MADE: &str = "out";
/// What has not arrived whole.
const PARTS: &str = "parts";
/// Of the hash of a batch's key, so many digits name its folder.
const KEY_DIGITS: usize = 32;

pub struct Spool {
    root: PathBuf,
    state_dir: PathBuf,
    /// Of the state folder's disk, so much stays free.
    reserve_bytes: u64,
    user_bytes_max: u64,
    input_bytes_max: u64,
    keep_ms: u64,
    ledger: Mutex<Ledger>,
}

/// What is known of what lies there without looking.
#[derive(Default)]
struct Ledger {
    /// What lies there or is on its way, by user: by the last look through the folders, and what has changed since.
    used: HashMap<u32, u64>,
    /// Folders that something is just being sent into: they are not old.
    busy: HashMap<PathBuf, usize>,
}

/// A batch whose folder may be removed, as far as its record says.
pub enum Standing {
    /// Nothing is known of it.
    Unknown,
    Open,
    /// When it ended, and whether all went well.
    Ended {
        at: u64,
        well: bool,
    },
}

impl Spool {
    pub fn open(state_dir: &Path, reserve_bytes: u64, config: &config::Spool) -> io::Result<Spool> {
        let root = state_dir.join("spool");
        fs::create_dir_all(&root)?;
        let spool = Spool {
            root,
            state_dir: state_dir.to_owned(),
            reserve_bytes,
            user_bytes_max: config.user_mib << 20,
            input_bytes_max: config.input_max_mib << 20,
            keep_ms: config.keep_days * 24 * 3_600_000,
            ledger: Mutex::default(),
        };
        spool.count();
        Ok(spool)
    }

    fn ledger(&self) -> MutexGuard<'_, Ledger> {
        self.ledger.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Where a batch's files are, of this owner and under this key.
    pub fn folder(&self, owner: Owner, key: &str) -> PathBuf {
        let name = ContentHash::of(key.as_bytes()).to_string();
        self.root.join(owner.0.to_string()).join(&name[..KEY_DIGITS])
    }

    /// Where a file lies that was sent under this name.
    pub fn sent(&self, owner: Owner, key: &str, path: &PathBytes) -> Result<PathBuf, Refusal> {
        below(&self.folder(owner, key).join(SENT), path)
    }

    /// Where a job publishes that is to publish into this folder of its user's.
    pub fn made(&self, owner: Owner, key: &str, folder: &PathBytes) -> Result<PathBuf, Refusal> {
        below(&self.folder(owner, key).join(MADE), folder)
    }

    /// The name that its user knows a file by; a path that is not in the spool stays as it is.
    pub fn shown(&self, path: &PathBytes) -> PathBytes {
        let Ok(own) = path.as_path().strip_prefix(&self.root) else { return path.clone() };
        let mut parts = own.components();
        let (Some(owner), Some(key), Some(Component::Normal(kind))) = (parts.next(), parts.next(), parts.next()) else {
            return path.clone();
        };
        let known = kind == SENT || kind == MADE;
        if !known || !is_owner(owner.as_os_str().as_bytes()) || !is_key(key.as_os_str().as_bytes()) {
            return path.clone();
        }
        let named = parts.map(|part| match part {
            Component::Normal(name) => unescaped(name),
            other => other.as_os_str(),
        });
        Path::new("/").join(named.collect::<PathBuf>()).into()
    }

    /// The same for every path of the spool in a text.
    pub fn shown_in(&self, text: &str) -> String {
        let root = format!("{}/", self.root.display());
        let mut pieces = text.split(root.as_str());
        let mut shown = pieces.next().unwrap_or_default().to_owned();
        for piece in pieces {
            let mut parts = piece.splitn(4, '/');
            let (owner, key, kind, rest) = (parts.next(), parts.next(), parts.next(), parts.next());
            match (owner, key, kind, rest) {
                (Some(owner), Some(key), Some(SENT | MADE), Some(rest))
                    if is_owner(owner.as_bytes()) && is_key(key.as_bytes()) =>
                {
                    shown.push('/');
                    shown.push_str(&rest.replace("/.../", "/../"));
                }
                _ => {
                    shown.push_str(&root);
                    shown.push_str(piece);
                }
            }
        }
        shown
    }

    /// A job as its user knows it.
    pub fn show_job(&self, view: &mut JobView) {
        if let Some(Input::File { path, .. }) = &mut view.input {
            *path = self.shown(path);
        }
        for output in &mut view.outputs {
            output.path = self.shown(&output.path);
        }
        if let Some(failure) = &mut view.failure {
            failure.message = self.shown_in(&failure.message);
        }
        if let Some(reason) = &mut view.skipped_reason {
            *reason = self.shown_in(reason);
        }
        for note in &mut view.detail.notes {
            *note = self.shown_in(note);
        }
    }

    /// An answer in its user's terms.
    pub fn show(&self, frame: &mut Response) {
        match frame {
            Response::Jobs(views) => views.iter_mut().for_each(|view| self.show_job(view)),
            Response::Snapshot(snapshot) => snapshot.jobs.values_mut().for_each(|view| self.show_job(view)),
            Response::Explained(explained) => explained.iter_mut().for_each(|told| told.why = self.shown_in(&told.why)),
            Response::Refused(refusal) => refusal.message = self.shown_in(&refusal.message),
            _ => {}
        }
    }

    pub fn view(&self, peer: Peer) -> SpoolView {
        let used_bytes = self.ledger().used.get(&peer.owner.0).copied().unwrap_or(0);
        SpoolView { used_bytes, user_bytes_max: self.user_bytes_max, input_bytes_max: self.input_bytes_max }
    }

    /// Makes ready for a file that is going to be sent; what is there of it already need not come again.
    pub fn receive(self: &Arc<Self>, owner: Owner, upload: &Upload) -> Result<Receiving, Refusal> {
        let target = self.sent(owner, &upload.key, &upload.path)?;
        if upload.bytes > self.input_bytes_max {
            let message = format!(
                "{} has {} MiB, more than spool.input_max_mib = {}",
                upload.path,
                upload.bytes >> 20,
                self.input_bytes_max >> 20
            );
            return Err(Refusal::new(RefusalKind::Limit, message));
        }
        let folder = self.folder(owner, &upload.key);
        let busy = Busy::enter(self, owner, &folder);
        if let Ok(meta) = fs::symlink_metadata(&target) {
            return self.again(upload, &meta, target, busy);
        }
        let parts = folder.join(PARTS);
        let part = parts.join(ContentHash::of(&upload.path.0).to_string());
        let made = fs::create_dir_all(&parts).and_then(|()| fs::create_dir_all(target.parent().unwrap_or(&folder)));
        made.map_err(|error| failed("make a folder for it", &error))?;
        // Something comes into it again: it is not old.
        let touched = File::open(&folder).and_then(|file| file.set_modified(std::time::SystemTime::now()));
        touched.map_err(|error| failed("open its folder", &error))?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&part, flags, Mode::from_raw_mode(0o600));
        let mut file: File = file.map_err(|error| failed("open it", &error.into()))?.into();
        rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Refusal::new(RefusalKind::WrongState, format!("{} is being sent already, under the same key", upload.path))
        })?;
        let mut hasher = ContentHasher::default();
        let known = fs::symlink_metadata(&part).map_or(0, |meta| meta.len());
        // Of a file that has become shorter nothing is kept.
        let mut have = if known > upload.bytes { 0 } else { known };
        have = (|| {
            file.seek(SeekFrom::Start(0))?;
            let read = io::copy(&mut Read::by_ref(&mut file).take(have), &mut hasher)?;
            file.set_len(read)?;
            file.seek(SeekFrom::Start(read))?;
            Ok(read)
        })()
        .map_err(|error| failed("read what is there of it", &error))?;
        let more = upload.bytes - have;
        self.take_room(owner, more)?;
        Ok(Receiving {
            spool: Arc::clone(self),
            owner,
            part,
            target,
            file: Some(file),
            have,
            bytes: upload.bytes,
            mtime_ns: upload.mtime_ns,
            hasher,
            counted: more,
            _busy: busy,
        })
    }

    /// A file that is there whole already: it may be sent again, and must be the same.
    fn again(&self, upload: &Upload, meta: &fs::Metadata, target: PathBuf, busy: Busy) -> Result<Receiving, Refusal> {
        let identity = FileIdentity::of(meta);
        if !meta.is_file() || (identity.bytes, identity.mtime_ns) != (upload.bytes, upload.mtime_ns) {
            let message = format!("another file was sent as {} under the same key", upload.path);
            return Err(Refusal::new(RefusalKind::Usage, message).hint("give the new batch a key of its own"));
        }
        let mut hasher = ContentHasher::default();
        File::open(&target)
            .and_then(|mut file| io::copy(&mut file, &mut hasher))
            .map_err(|error| failed("read what is there of it", &error))?;
        Ok(Receiving {
            spool: Arc::clone(&busy.spool),
            owner: busy.owner,
            part: PathBuf::new(),
            target,
            file: None,
            have: upload.bytes,
            bytes: upload.bytes,
            mtime_ns: upload.mtime_ns,
            hasher,
            counted: 0,
            _busy: busy,
        })
    }

    /// Counts so many bytes more for a user, if there is room for them.
    fn take_room(&self, owner: Owner, bytes: u64) -> Result<(), Refusal> {
        let mut ledger = self.ledger();
        let used = ledger.used.entry(owner.0).or_default();
        if used.saturating_add(bytes) > self.user_bytes_max {
            let message = format!(
                "what you have in the spool takes {} MiB, and {} more pass spool.user_mib = {}",
                *used >> 20,
                bytes.div_ceil(1 << 20),
                self.user_bytes_max >> 20
            );
            return Err(Refusal::new(RefusalKind::Limit, message)
                .hint("fetch what is done and `spindlectl remove` its batches: that clears what they take"));
        }
        let free = machine::free_bytes(&self.state_dir).unwrap_or(u64::MAX);
        if free < self.reserve_bytes.saturating_add(bytes) {
            let message = format!(
                "{} MiB are free on the disk of the spool, and {} must stay so",
                free >> 20,
                self.reserve_bytes >> 20
            );
            return Err(Refusal::new(RefusalKind::Limit, message).hint("try again once others have ended"));
        }
        *used += bytes;
        Ok(())
    }

    /// All that was sent is on the disk when this returns.
    pub fn flush(&self) -> io::Result<()> {
        let root = File::open(&self.root)?;
        Ok(rustix::fs::syncfs(&root)?)
    }

    /// What a job works on of what was sent; `None` = it was not sent whole.
    pub fn identity(&self, path: &Path) -> Option<FileIdentity> {
        let meta = fs::symlink_metadata(path).ok()?;
        (meta.is_file() && path.starts_with(&self.root)).then(|| FileIdentity::of(&meta))
    }

    /// An output of this owner's, to be sent; nothing else is ever opened.
    pub fn open_output(&self, owner: Owner, path: &Path) -> io::Result<(File, u64)> {
        if !path.starts_with(self.root.join(owner.0.to_string())) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let file: File = rustix::fs::open(path, flags, Mode::empty())?.into();
        let meta = file.metadata()?;
        if meta.is_file() { Ok((file, meta.len())) } else { Err(io::ErrorKind::InvalidInput.into()) }
    }

    /// Removes all that a batch has here.
    pub fn drop_batch(&self, owner: Owner, folder: &Path) {
        let bytes = tree_bytes(folder);
        if let Err(error) = fs::remove_dir_all(folder)
            && error.kind() != io::ErrorKind::NotFound
        {
            tracing::warn!(folder = %folder.display(), "failed to clear the spool: {error}");
            return;
        }
        let mut ledger = self.ledger();
        if let Some(used) = ledger.used.get_mut(&owner.0) {
            *used = used.saturating_sub(bytes);
        }
    }

    /// What is too old: folders with their bytes. Of a batch that ended well, what was sent goes at once: nothing will need it again.
    /// `standing` says how the batch of a folder stands.
    pub fn old<E>(
        &self,
        now: &Now,
        unknown_ms: u64,
        mut standing: impl FnMut(&Path) -> Result<Standing, E>,
    ) -> Result<Vec<OldFolder>, E> {
        let mut old = Vec::new();
        for (owner, folder) in self.folders() {
            if self.is_busy(&folder) {
                continue;
            }
            let changed = fs::metadata(&folder).map_or(u64::MAX, |meta| meta.mtime().max(0) as u64 * 1_000);
            let mut take = |path: PathBuf| {
                let bytes = tree_bytes(&path);
                old.push(OldFolder { owner, path, bytes });
            };
            match standing(&folder)? {
                Standing::Open => {}
                Standing::Unknown if now.age_ms(changed) > unknown_ms => take(folder),
                Standing::Unknown => {}
                Standing::Ended { at, .. } if now.age_ms(at) > self.keep_ms => take(folder),
                Standing::Ended { well: true, .. } => {
                    for kind in [SENT, PARTS] {
                        Some(folder.join(kind)).filter(|path| path.exists()).into_iter().for_each(&mut take);
                    }
                }
                Standing::Ended { .. } => {}
            }
        }
        Ok(old)
    }

    /// Removes what was found to be old, unless something is being sent there by now.
    pub fn remove(&self, old: &OldFolder) -> bool {
        let busy = self.is_busy(&old.path);
        if !busy {
            self.drop_batch(old.owner, &old.path);
        }
        !busy && !old.path.exists()
    }

    /// Whether something is just being sent there.
    pub fn is_busy(&self, path: &Path) -> bool {
        self.ledger().busy.keys().any(|folder| path.starts_with(folder))
    }

    /// Looks anew at what everybody has here.
    pub fn count(&self) {
        let mut used: HashMap<u32, u64> = HashMap::new();
        for (owner, folder) in self.folders() {
            *used.entry(owner.0).or_default() += tree_bytes(&folder);
        }
        self.ledger().used = used;
    }

    /// Folders of batches; what is not named as the daemon names it is not ours.
    fn folders(&self) -> Vec<(Owner, PathBuf)> {
        let mut folders = Vec::new();
        let users = fs::read_dir(&self.root).into_iter().flatten().flatten();
        for user in users.filter(|user| user.file_type().is_ok_and(|kind| kind.is_dir())) {
            let Some(owner) =
                user.file_name().to_str().filter(|name| is_owner(name.as_bytes())).and_then(|name| name.parse().ok())
            else {
                continue;
            };
            let batches = fs::read_dir(user.path()).into_iter().flatten().flatten();
            let ours = batches.filter(|batch| {
                is_key(batch.file_name().as_bytes()) && batch.file_type().is_ok_and(|kind| kind.is_dir())
            });
            folders.extend(ours.map(|batch| (Owner(owner), batch.path())));
        }
        folders
    }
}

/// Something in the spool that is too old.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OldFolder {
    pub owner: Owner,
    pub path: PathBuf,
    pub bytes: u64,
}

/// A folder that something is being sent into.
struct Busy {
    spool: Arc<Spool>,
    owner: Owner,
    folder: PathBuf,
}

impl Busy {
    fn enter(spool: &Arc<Spool>, owner: Owner, folder: &Path) -> Busy {
        *spool.ledger().busy.entry(folder.to_owned()).or_default() += 1;
        Busy { spool: Arc::clone(spool), owner, folder: folder.to_owned() }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let mut ledger = self.spool.ledger();
        if let Some(count) = ledger.busy.get_mut(&self.folder) {
            *count -= 1;
            if *count == 0 {
                ledger.busy.remove(&self.folder);
            }
        }
    }
}

/// A file on its way.
pub struct Receiving {
    spool: Arc<Spool>,
    owner: Owner,
    part: PathBuf,
    target: PathBuf,
    /// `None` = it is there whole already.
    file: Option<File>,
    have: u64,
    bytes: u64,
    mtime_ns: i128,
    hasher: ContentHasher,
    /// Bytes that were counted for it and have not come yet.
    counted: u64,
    _busy: Busy,
}

impl Receiving {
    pub fn have(&self) -> u64 {
        self.have
    }

    pub fn is_whole(&self) -> bool {
        self.have == self.bytes
    }

    /// The next piece: full ones and a last one, so that nobody holds a connection with a drip of bytes.
    pub fn take(&mut self, piece: &[u8]) -> Result<(), Refusal> {
        let left = self.bytes - self.have;
        if piece.len() as u64 != left.min(PIECE_BYTES as u64) || piece.is_empty() {
            return Err(Refusal::new(RefusalKind::Usage, "a piece of a file has another length than is left of it"));
        }
        let Some(file) = &mut self.file else {
            return Err(Refusal::new(RefusalKind::Usage, "the file is there already"));
        };
        file.write_all(piece).map_err(|error| failed("write it", &error))?;
        // To memory, never fails.
        let _ = self.hasher.write_all(piece);
        self.have += piece.len() as u64;
        self.counted = self.counted.saturating_sub(piece.len() as u64);
        Ok(())
    }

    /// Gives it its name, if what lies there is what was sent. Otherwise it has to come anew.
    pub fn finish(self, content: ContentHash) -> Result<(), Refusal> {
        if !self.is_whole() || self.hasher.finish() != content {
            if let Some(file) = &self.file {
                drop(file.set_len(0));
            }
            let message = "what arrived is not what was sent";
            return Err(Refusal::new(RefusalKind::WrongState, message).hint("send it again"));
        }
        let Some(file) = &self.file else { return Ok(()) };
        let nanos = 1_000_000_000;
        let modified = Timespec {
            tv_sec: self.mtime_ns.div_euclid(nanos).try_into().unwrap_or(0),
            tv_nsec: self.mtime_ns.rem_euclid(nanos) as _,
        };
        let times = Timestamps { last_access: modified, last_modification: modified };
        rustix::fs::futimens(file, &times).map_err(|error| failed("set its time", &error.into()))?;
        rustix::fs::renameat_with(CWD, &self.part, CWD, &self.target, RenameFlags::NOREPLACE)
            .map_err(|error| failed("give it its name", &error.into()))
    }
}

impl Drop for Receiving {
    fn drop(&mut self) {
        let mut ledger = self.spool.ledger();
        if let Some(used) = ledger.used.get_mut(&self.owner.0) {
            *used = used.saturating_sub(self.counted);
        }
    }
}

/// A user's absolute path below a folder of the daemon's, whatever it is; what no file system takes is refused. A step up is a step like others here, to
/// a folder whose name has a dot more: where it leads for its user, links decide that only the user's own programs can follow.
fn below(folder: &Path, path: &PathBytes) -> Result<PathBuf, Refusal> {
    let wrong = |why: &str| Err(Refusal::new(RefusalKind::Usage, format!("`{path}` {why}")));
    let named = path.as_path();
    if path.0.contains(&0) || !named.is_absolute() {
        return wrong("is not an absolute path");
    }
    let mut below = folder.to_owned();
    for part in named.components().skip(1) {
        match part {
            Component::Normal(name) if name.len() < FILE_NAME_BYTES_MAX => below.push(escaped(name)),
            Component::Normal(name) if name.len() == FILE_NAME_BYTES_MAX && !is_dots(name) => below.push(name),
            Component::Normal(_) => return wrong("has a name that is too long"),
            _ => below.push(escaped(OsStr::new(".."))),
        }
    }
    if below.as_os_str().len() + FILE_NAME_BYTES_MAX >= PATH_BYTES_MAX {
        return wrong("is too long for the spool");
    }
    Ok(below)
}

fn is_dots(name: &OsStr) -> bool {
    name.len() > 1 && name.as_bytes().iter().all(|byte| *byte == b'.')
}

/// Names of dots get one more, so that none of them means something.
fn escaped(name: &OsStr) -> Cow<'_, OsStr> {
    match is_dots(name) {
        true => Cow::Owned([name, OsStr::new(".")].into_iter().collect()),
        false => Cow::Borrowed(name),
    }
}

fn unescaped(name: &OsStr) -> &OsStr {
    match is_dots(name) && name.len() > 2 {
        true => OsStr::from_bytes(&name.as_bytes()[1..]),
        false => name,
    }
}

fn is_owner(name: &[u8]) -> bool {
    !name.is_empty() && name.len() <= 10 && name.iter().all(u8::is_ascii_digit)
}

fn is_key(name: &[u8]) -> bool {
    name.len() == KEY_DIGITS && name.iter().all(|digit| matches!(digit, b'0'..=b'9' | b'a'..=b'f'))
}

fn failed(doing: &str, error: &io::Error) -> Refusal {
    let full = matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded);
    let kind = if full { RefusalKind::Limit } else { RefusalKind::Internal };
    Refusal::new(kind, format!("the spool failed to {doing}: {error}"))
}

/// Of all files in a folder.
fn tree_bytes(folder: &Path) -> u64 {
    let mut bytes = 0;
    let mut open = vec![folder.to_owned()];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.file_type() {
                Ok(kind) if kind.is_dir() => open.push(entry.path()),
                Ok(_) => bytes += entry.metadata().map_or(0, |meta| meta.len()),
                Err(_) => {}
            }
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::os::unix::fs::symlink;

    use super::*;

    const ANN: Owner = Owner(60_001);
    const BOB: Owner = Owner(60_002);

    fn spool(folder: &Path, config: &config::Spool) -> Arc<Spool> {
        Arc::new(Spool::open(folder, 0, config).unwrap())
    }

    fn upload(path: &str, bytes: usize) -> Upload {
        Upload {
            key: "k".to_owned(),
            path: PathBytes(path.into()),
            bytes: bytes as u64,
            mtime_ns: 1_700_000_000_123_456_789,
        }
    }

    fn send(spool: &Arc<Spool>, owner: Owner, upload: &Upload, bytes: &[u8]) -> Result<u64, Refusal> {
        let mut receiving = spool.receive(owner, upload)?;
        let have = receiving.have();
        for piece in bytes[have as usize..].chunks(PIECE_BYTES) {
            receiving.take(piece)?;
        }
        receiving.finish(ContentHash::of(bytes)).map(|()| have)
    }

    #[test]
    fn a_file_arrives_whole_with_its_name_and_its_time_or_not_at_all() {
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(folder.path(), &config::Spool::default());
        let bytes = vec![7; PIECE_BYTES * 2 + 5];
        let named = upload("/home/ann/talk.mp4", bytes.len());
        let place = spool.sent(ANN, "k", &named.path).unwrap();
        // The client dies after the first piece.
        let mut receiving = spool.receive(ANN, &named).unwrap();
        receiving.take(&bytes[..PIECE_BYTES]).unwrap();
        assert!(spool.receive(ANN, &named).is_err(), "one at a time");
        drop(receiving);
        assert_eq!(spool.identity(&place), None, "no part is taken");
        assert_eq!(spool.view(Peer { owner: ANN, admin: false }).used_bytes, PIECE_BYTES as u64);

        assert_eq!(send(&spool, ANN, &named, &bytes), Ok(PIECE_BYTES as u64), "it goes on where it was");
        let identity = spool.identity(&place).unwrap();
        assert_eq!((identity.bytes, identity.mtime_ns), (bytes.len() as u64, named.mtime_ns));
        assert_eq!(fs::read(&place).unwrap(), bytes);
        assert_eq!(spool.shown(&place.clone().into()), named.path);
        assert_eq!(send(&spool, ANN, &named, &bytes), Ok(bytes.len() as u64), "there is nothing to send again");
        assert_eq!(spool.view(Peer { owner: ANN, admin: false }).used_bytes, bytes.len() as u64);

        let other = vec![8; bytes.len()];
        assert!(send(&spool, ANN, &named, &other).is_err(), "a file that is there is never another");
        assert!(send(&spool, ANN, &upload("/home/ann/talk.mp4", 3), b"abc").is_err());
        assert_eq!(fs::read(&place).unwrap(), bytes);
    }

    #[test]
    fn what_has_changed_meanwhile_comes_anew() {
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(folder.path(), &config::Spool::default());
        let named = upload("/a", PIECE_BYTES + 1);
        let mut receiving = spool.receive(ANN, &named).unwrap();
        receiving.take(&[1; PIECE_BYTES]).unwrap();
        drop(receiving);
        let now = vec![2; PIECE_BYTES + 1];
        assert!(send(&spool, ANN, &named, &now).is_err(), "its beginning is another's");
        assert_eq!(send(&spool, ANN, &named, &now), Ok(0));
        let empty = upload("/empty", 0);
        assert_eq!(send(&spool, ANN, &empty, b""), Ok(0));
        assert!(spool.identity(&spool.sent(ANN, "k", &empty.path).unwrap()).is_some());
    }

    #[test]
    fn pieces_of_another_length_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(folder.path(), &config::Spool::default());
        for piece in [0, 1, PIECE_BYTES - 1, PIECE_BYTES + 1] {
            let mut receiving = spool.receive(ANN, &upload("/a", PIECE_BYTES * 2)).unwrap();
            assert!(receiving.take(&vec![0; piece]).is_err(), "{piece}");
        }
    }

    #[test]
    fn no_name_leads_out_of_the_spool() {
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(folder.path(), &config::Spool::default());
        let long = format!("/{}", "x".repeat(FILE_NAME_BYTES_MAX + 1));
        let deep = "/x".repeat(PATH_BYTES_MAX / 2);
        let dots = format!("/{}", ".".repeat(FILE_NAME_BYTES_MAX));
        for path in ["", "a", "./a", "../a", "/a\0b", &long, &deep, &dots] {
            let path = PathBytes(path.into());
            assert!(spool.sent(ANN, "k", &path).is_err(), "{path}");
            assert!(spool.made(ANN, "k", &path).is_err(), "{path}");
        }
        for path in [
            "/etc/shadow",
            "/proc/self/fd/3",
            "/proc/1/root/etc/passwd",
            "/",
            "/..",
            "/../../etc/passwd",
            "/a/../../b",
            "/.../x",
            "/a/....",
            "/a/..b",
        ] {
            let path = PathBytes(path.into());
            let place = spool.sent(ANN, "k", &path).unwrap();
            assert!(place.starts_with(spool.folder(ANN, "k").join(SENT)), "{path}");
            assert!(place.components().all(|part| part != Component::ParentDir), "{}", place.display());
            assert_eq!(spool.shown(&place.into()), path);
        }
        // Keys are names of nothing.
        for key in ["..", "/etc", "", "a/../../b"] {
            assert!(spool.folder(ANN, key).starts_with(spool.root.join("60001")), "{key}");
        }
    }

    #[test]
    fn only_ones_own_outputs_are_opened_and_no_links() {
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(folder.path(), &config::Spool::default());
        let made = spool.made(ANN, "k", &PathBytes(b"/home/ann".to_vec())).unwrap();
        fs::create_dir_all(&made).unwrap();
        let (file, link) = (made.join("a.srt"), made.join("l.srt"));
        fs::write(&file, "one").unwrap();
        symlink("/etc/passwd", &link).unwrap();
        rustix::fs::mkfifoat(CWD, made.join("fifo"), Mode::from_raw_mode(0o600)).unwrap();
        assert_eq!(spool.open_output(ANN, &file).unwrap().1, 3);
        assert!(spool.open_output(BOB, &file).is_err());
        for path in [&link, &made, &made.join("fifo"), Path::new("/etc/passwd")] {
            assert!(spool.open_output(ANN, path).is_err(), "{}", path.display());
        }
    }

    #[test]
    fn a_user_has_a_quota_and_no_more_than_the_disk() {
        let folder = tempfile::tempdir().unwrap();
        let small = config::Spool { user_mib: 1, input_max_mib: 2, keep_days: 7 };
        let own = spool(folder.path(), &small);
        let most = upload("/a", 1 << 20);
        send(&own, ANN, &most, &vec![0; 1 << 20]).unwrap();
        let refused = send(&own, ANN, &upload("/b", 1), b"x").unwrap_err();
        assert_eq!(refused.kind, RefusalKind::Limit);
        send(&own, BOB, &upload("/b", 1), b"x").unwrap();
        assert_eq!(
            own.receive(BOB, &upload("/c", 3 << 20)).err().map(|refusal| refusal.kind),
            Some(RefusalKind::Limit)
        );
        // It is known after a restart, and free once it is removed.
        let own = spool(folder.path(), &small);
        assert!(send(&own, ANN, &upload("/b", 1), b"x").is_err());
        own.drop_batch(ANN, &own.folder(ANN, "k"));
        send(&own, ANN, &upload("/b", 1), b"x").unwrap();
        let full = Arc::new(Spool::open(folder.path(), u64::MAX, &config::Spool::default()).unwrap());
        assert_eq!(full.receive(BOB, &upload("/d", 1)).err().map(|refusal| refusal.kind), Some(RefusalKind::Limit));
    }

    #[test]
    fn what_is_shown_has_its_users_names() {
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(folder.path(), &config::Spool::default());
        let sent = spool.sent(ANN, "k", &PathBytes(b"/home/ann/a b.mp4".to_vec())).unwrap();
        let text = format!("{} is missing; see {}", sent.display(), sent.display());
        assert_eq!(spool.shown_in(&text), "/home/ann/a b.mp4 is missing; see /home/ann/a b.mp4");
        let odd = format!("{}/x and {}/60001/zz/in/a", spool.root.display(), spool.root.display());
        assert_eq!(spool.shown_in(&odd), odd);
        for other in ["/etc/passwd", "relative", &odd] {
            let path = PathBytes(other.into());
            assert_eq!(spool.shown(&path), path);
        }
    }

    #[test]
    fn only_what_is_old_and_ours_goes() {
        const DAY: u64 = 86_400_000;
        let folder = tempfile::tempdir().unwrap();
        let spool = spool(folder.path(), &config::Spool::default());
        let mut places = HashMap::new();
        for key in ["unknown", "open", "well", "badly", "long ago", "busy"] {
            let named = Upload { key: key.to_owned(), ..upload("/a", 3) };
            send(&spool, ANN, &named, b"abc").unwrap();
            let made = spool.made(ANN, key, &PathBytes(b"/o".to_vec())).unwrap();
            fs::create_dir_all(&made).unwrap();
            fs::write(made.join("a.srt"), "12345").unwrap();
            places.insert(spool.folder(ANN, key), key);
        }
        for theirs in ["note", "60001/note", "60001/0123", "someone/00000000000000000000000000000000"] {
            fs::create_dir_all(spool.root.join(theirs)).unwrap();
        }
        symlink(folder.path(), spool.root.join("60001").join("0".repeat(KEY_DIGITS))).unwrap();
        let _busy = Busy::enter(&spool, ANN, &spool.folder(ANN, "busy"));
        let today = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_millis() as u64;
        let look = |now: u64| {
            let mut found: Vec<(String, u64)> = spool
                .old(&Now::at(now), DAY, |folder| {
                    Ok::<_, Infallible>(match places[folder] {
                        "open" => Standing::Open,
                        "well" => Standing::Ended { at: now, well: true },
                        "badly" => Standing::Ended { at: now, well: false },
                        "long ago" => Standing::Ended { at: now - 8 * DAY, well: false },
                        _ => Standing::Unknown,
                    })
                })
                .unwrap()
                .into_iter()
                .map(|old| {
                    let (batch, rest) = places
                        .iter()
                        .find_map(|(folder, key)| Some((*key, old.path.strip_prefix(folder).ok()?)))
                        .unwrap();
                    (format!("{batch}/{}", rest.display()), old.bytes)
                })
                .collect();
            found.sort();
            found
        };
        let always =
            [("long ago/", 8), ("well/in", 3), ("well/parts", 0)].map(|(name, bytes)| (name.to_owned(), bytes));
        assert_eq!(look(today), always);
        let later = look(today + 2 * DAY);
        assert_eq!(later[1], ("unknown/".to_owned(), 8));
        assert_eq!(later.len(), 4, "{later:?}");
        let old = OldFolder { owner: ANN, path: spool.folder(ANN, "busy").join(SENT), bytes: 3 };
        assert!(!spool.remove(&old), "it is being sent");
        let old = OldFolder { owner: ANN, path: spool.folder(ANN, "long ago"), bytes: 8 };
        assert!(spool.remove(&old) && !old.path.exists());
    }
}
