//! Watched folders: what is dropped there is submitted once it has stopped growing, by `spindlectl submit` with the folder's own options, so that
//! names, limits and refusals are those of any submission. A thread of its own; what it knows for good stands in the queue.
//!
//! Nothing is submitted twice and nothing is lost: before a submission its files and its key are written down, and after it that they are done.
//! Whether one that was under way at a crash arrived, its key tells.

use std::collections::BTreeMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustix::event::{EventfdFlags, PollFd, PollFlags};
use rustix::fs::inotify;
use spindle_core::change::{Change, Folder};
use spindle_shared::exit;
use spindle_shared::id::AddressHasher;
use spindle_shared::job::{FileIdentity, PathBytes};
use spindle_shared::limits::{FOLDER_BATCH_FILES_MAX, FOLDER_DEPTH_MAX, FOLDER_FILES_MAX};
use spindle_shared::wire::response::FolderView;

use crate::inbox::{Inbox, Message};
use crate::reload::Live;
use crate::store::Reader;

/// Between two looks while files are growing, or much happens.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// After a submission that was refused; doubles up to an hour.
const FIRST_WAIT: Duration = Duration::from_secs(10);
const LONGEST_WAIT: Duration = Duration::from_secs(3_600);

/// How a folder stands.
#[derive(Debug, Clone, Default)]
struct Standing {
    /// Empty = well.
    trouble: String,
    waiting: u32,
}

/// For sessions: what there is, and that something has changed.
pub struct Folders {
    standings: Mutex<BTreeMap<u64, Standing>>,
    wake: OwnedFd,
}

impl Folders {
    pub fn new() -> std::io::Result<Arc<Self>> {
        let wake = rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Arc::new(Folders { standings: Mutex::default(), wake }))
    }

    /// The list of folders is another now.
    pub fn changed(&self) {
        // A counter that is full wakes as well.
        let _ = rustix::io::write(&self.wake, &1_u64.to_ne_bytes());
    }

    pub fn view(&self, folder: Folder, taken: u64) -> FolderView {
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let standing = standings.get(&folder.id).cloned().unwrap_or_default();
        FolderView {
            id: folder.id,
            path: folder.path,
            owner: folder.owner,
            arguments: folder.arguments,
            recursive: folder.recursive,
            trouble: Some(standing.trouble).filter(|trouble| !trouble.is_empty()),
            waiting: standing.waiting,
            taken,
        }
    }

    /// Folders that can't be watched just now, and why.
    pub fn troubles(&self) -> Vec<(u64, String)> {
        let standings = self.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let unwell = standings.iter().filter(|(_, standing)| !standing.trouble.is_empty());
        unwell.map(|(id, standing)| (*id, standing.trouble.clone())).collect()
    }
}

/// What the thread works with.
pub struct Watch {
    pub folders: Arc<Folders>,
    pub reader: Reader,
    pub inbox: Inbox,
    pub live: Arc<Live>,
    pub socket: PathBuf,
}

/// A file that is not submitted yet, as it was seen last, and since when it has been so.
struct Growing {
    identity: FileIdentity,
    since: Instant,
}

#[derive(Default)]
struct Seen {
    growing: BTreeMap<PathBuf, Growing>,
    not_before: Option<Instant>,
    wait: Duration,
}

/// Why the thread ends: the conductor has.
struct Over;

impl Watch {
    pub fn start(self) -> std::io::Result<()> {
        std::thread::Builder::new().name("folders".to_owned()).spawn(move || drop(self.run())).map(drop)
    }

    fn run(self) -> Result<(), Over> {
        let ears = inotify::init(inotify::CreateFlags::CLOEXEC | inotify::CreateFlags::NONBLOCK).ok();
        let mut seen: BTreeMap<u64, Seen> = BTreeMap::new();
        loop {
            let folders = self.reader.folders().unwrap_or_default();
            let ids: Vec<u64> = folders.iter().map(|folder| folder.id).collect();
            seen.retain(|id, _| ids.contains(id));
            self.folders.standings.lock().unwrap_or_else(PoisonError::into_inner).retain(|id, _| ids.contains(id));
            let mut next: Option<Duration> = None;
            for folder in &folders {
                if let Some(ears) = &ears {
                    let events =
                        inotify::WatchFlags::CLOSE_WRITE | inotify::WatchFlags::MOVED_TO | inotify::WatchFlags::CREATE;
                    // The same folder again is the same watch; one that is gone is looked for by the clock.
                    let _ = inotify::add_watch(ears, folder.path.as_path(), events);
                }
                let look = self.look(folder, seen.entry(folder.id).or_default())?;
                next = next.into_iter().chain(look).min();
            }
            self.wait(ears.as_ref(), folders.is_empty(), next);
        }
    }

    /// Until something happens, or it is time to look again.
    fn wait(&self, ears: Option<&OwnedFd>, none: bool, next: Option<Duration>) {
        let rescan = Duration::from_secs(self.live.get().folders.rescan_seconds);
        let busy = next.is_some_and(|time| time <= LOOK_EVERY);
        let time = (!none).then(|| next.map_or(rescan, |time| time.min(rescan)));
        let time = time.and_then(|time| rustix::event::Timespec::try_from(time).ok());
        let mut heard = vec![PollFd::new(&self.folders.wake, PollFlags::IN)];
        heard.extend(ears.filter(|_| !busy).map(|ears| PollFd::new(ears, PollFlags::IN)));
        let _ = rustix::event::poll(&mut heard, time.as_ref());
        let mut buffer = [0; 4_096];
        let _ = rustix::io::read(&self.folders.wake, &mut buffer);
        if let Some(ears) = ears {
            // What has happened the look itself finds out.
            while rustix::io::read(ears, &mut buffer).is_ok_and(|length| length > 0) {}
        }
    }

    /// Looks through one folder. Gives when it is to be looked at again, if not by the clock or by what is heard of it.
    fn look(&self, folder: &Folder, seen: &mut Seen) -> Result<Option<Duration>, Over> {
        self.settle(folder)?;
        let mut found = Vec::new();
        if let Err(error) = list(folder.path.as_path(), folder, 0, &mut found) {
            self.stand(folder, Some(format!("{error}; it is taken up again when that is over")), 0);
            seen.growing.clear();
            return Ok(None);
        }
        let crowded = (found.len() >= FOLDER_FILES_MAX).then(|| {
            format!(
                "there are more than {FOLDER_FILES_MAX} recordings, and the others aren't seen: move away what is done"
            )
        });
        let now = Instant::now();
        let mut growing = BTreeMap::new();
        for (path, identity) in found {
            let bytes = PathBytes::from(path.as_path());
            // What Spindle has made is no input; what was taken is not taken again until it is another file.
            let known = self.reader.published(&bytes).map_or(true, |published| published.is_some())
                || self.reader.folder_file(folder.id, &bytes).map_or(true, |taken| taken == Some(identity));
            if known {
                continue;
            }
            let since = match seen.growing.get(&path) {
                Some(before) if before.identity == identity => before.since,
                _ => now,
            };
            growing.insert(path, Growing { identity, since });
        }
        seen.growing = growing;
        let stable = Duration::from_secs(self.live.get().folders.stable_seconds);
        // No more than a submission may have: what is over goes next.
        let most = self.live.get().limits.max_inputs.map_or(FOLDER_BATCH_FILES_MAX, |most| most as usize);
        let most = most.min(FOLDER_BATCH_FILES_MAX);
        let ready: Vec<(PathBuf, FileIdentity)> = seen
            .growing
            .iter()
            .filter(|(_, file)| now.duration_since(file.since) >= stable && file.identity.bytes > 0)
            .map(|(path, file)| (path.clone(), file.identity))
            .take(most)
            .collect();
        // One that is still being copied waits for nobody, and nobody for it; but what comes together goes together. What has long been empty comes
        // with nothing.
        let stirs = seen.growing.values().any(|file| now.duration_since(file.since) < stable);
        let all_still = !stirs || ready.len() == most;
        if ready.is_empty() {
            // What was refused is gone, or another now.
            (seen.not_before, seen.wait) = (None, Duration::ZERO);
        }
        let oldest = ready.iter().filter_map(|(path, _)| seen.growing.get(path)).map(|file| file.since).min();
        let patient = oldest.is_some_and(|since| now.duration_since(since) >= stable * 3);
        let may = seen.not_before.is_none_or(|at| now >= at);
        if !ready.is_empty() && may && (all_still || patient) {
            match self.submit(folder, &ready)? {
                Ok(()) => {
                    for (path, _) in &ready {
                        seen.growing.remove(path);
                    }
                    (seen.not_before, seen.wait) = (None, Duration::ZERO);
                    self.stand(folder, crowded, seen.growing.len());
                }
                Err(why) => {
                    seen.wait = (seen.wait * 2).clamp(FIRST_WAIT, LONGEST_WAIT);
                    seen.not_before = Some(now + seen.wait);
                    self.stand(folder, Some(why), seen.growing.len());
                }
            }
        } else if seen.not_before.is_none() {
            self.stand(folder, crowded, seen.growing.len());
        }
        let waits = seen.growing.values().any(|file| file.identity.bytes > 0);
        Ok(match seen.not_before.filter(|_| waits) {
            _ if stirs => Some(LOOK_EVERY),
            Some(at) => Some(at.saturating_duration_since(Instant::now()).max(LOOK_EVERY)),
            None => waits.then_some(LOOK_EVERY),
        })
    }

    fn stand(&self, folder: &Folder, trouble: Option<String>, waiting: usize) {
        let standing =
            Standing { trouble: trouble.unwrap_or_default(), waiting: u32::try_from(waiting).unwrap_or(u32::MAX) };
        let mut standings = self.folders.standings.lock().unwrap_or_else(PoisonError::into_inner);
        let before = standings.insert(folder.id, standing.clone()).unwrap_or_default();
        drop(standings);
        if before.trouble != standing.trouble {
            match standing.trouble.is_empty() {
                true => tracing::info!(folder = %folder.path, "the watched folder is well again"),
                false => tracing::warn!(folder = %folder.path, "the watched folder is not well: {}", standing.trouble),
            }
        }
    }

    /// A submission that was under way when the daemon died, or whose answer was lost: whether it arrived, its key tells.
    fn settle(&self, folder: &Folder) -> Result<(), Over> {
        let Ok(Some((key, _))) = self.reader.folder_sending(folder.id) else { return Ok(()) };
        let Ok(arrived) = self.reader.batch_of_key(folder.owner, &key) else { return Ok(()) };
        let sent = Change::FolderSent { folder: folder.id, taken: arrived.is_some() };
        self.write(vec![sent])
    }

    /// `Err` = it was refused, and why.
    fn submit(&self, folder: &Folder, files: &[(PathBuf, FileIdentity)]) -> Result<Result<(), String>, Over> {
        let mut hasher = AddressHasher::default();
        let mut rows = Vec::new();
        for (path, identity) in files {
            let path = PathBytes::from(path.as_path());
            hasher.part(&path.0).part(format!("{identity:?}").as_bytes());
            rows.push((path, *identity));
        }
        let key = format!("folder-{}-{}", folder.id, &hasher.finish().to_string()[..24]);
        self.write(vec![Change::FolderSends { folder: folder.id, key: key.clone(), files: rows }])?;
        let said = self.send(folder, &key, files);
        // Even where the program says no: it may have been cut off behind the daemon's answer.
        let arrived = self.reader.batch_of_key(folder.owner, &key).ok().flatten();
        self.write(vec![Change::FolderSent { folder: folder.id, taken: arrived.is_some() }])?;
        match arrived {
            Some(batch) => {
                tracing::info!(folder = %folder.path, files = files.len(), %batch, "files of a watched folder were submitted");
                Ok(Ok(()))
            }
            None => Ok(Err(said.err().unwrap_or_else(|| "it was submitted, and no batch is there".to_owned()))),
        }
    }

    fn send(&self, folder: &Folder, key: &str, files: &[(PathBuf, FileIdentity)]) -> Result<(), String> {
        let mut command = Command::new(program()?);
        command.arg("--socket").arg(&self.socket).args(["--quiet", "submit"]).args(&folder.arguments);
        command.args(["--key", key, "--tag", &format!("folder={}", folder.id)]);
        if !folder.arguments.iter().any(|argument| argument == "--force" || argument == "--skip-existing") {
            command.arg("--skip-existing");
        }
        command.arg("--").args(files.iter().map(|(path, _)| path));
        let working = folder.working.as_path();
        command.current_dir(if working.is_dir() { working } else { Path::new("/") });
        command.stdin(Stdio::null()).stdout(Stdio::null());
        let output = command.output().map_err(|error| format!("failed to start spindlectl: {error}"))?;
        match output.status.code() {
            Some(code) if code == i32::from(exit::DONE) => Ok(()),
            _ => Err(String::from_utf8_lossy(&output.stderr).trim().chars().take(500).collect()),
        }
    }

    /// Waits until it is durable.
    fn write(&self, changes: Vec<Change>) -> Result<(), Over> {
        let (reply, written) = tokio::sync::oneshot::channel();
        self.inbox.send_blocking(Message::Write { changes, reply }).map_err(|_| Over)?;
        written.blocking_recv().map_err(|_| Over)
    }
}

/// spindlectl of this very installation: it lies beside the daemon.
fn program() -> Result<PathBuf, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let beside = own.with_file_name("spindlectl");
    match beside.is_file() {
        true => Ok(beside),
        false => Err(format!("there is no spindlectl beside {}", own.display())),
    }
}

/// Regular files that a submission from this folder would take; hidden ones, and those that are on their way, are none.
fn list(path: &Path, folder: &Folder, depth: usize, found: &mut Vec<(PathBuf, FileIdentity)>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(path)? {
        let entry = entry?;
        let name = entry.file_name();
        if name.as_encoded_bytes().starts_with(b".") || found.len() >= FOLDER_FILES_MAX {
            continue;
        }
        // Links are not followed: they lead elsewhere.
        let Ok(meta) = entry.metadata() else { continue };
        let path = entry.path();
        if meta.is_dir() && folder.recursive && depth < FOLDER_DEPTH_MAX {
            // What can't be read below is nobody's reason to stop.
            drop(list(&path, folder, depth + 1, found));
        } else if meta.is_file() {
            let ending = path.extension().and_then(|ending| ending.to_str()).map(str::to_ascii_lowercase);
            if ending.is_some_and(|ending| folder.extensions.contains(&ending)) {
                found.push((path, FileIdentity::of(&meta)));
            }
        }
    }
    Ok(())
}
