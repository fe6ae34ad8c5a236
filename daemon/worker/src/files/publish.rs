//! Files under their final names, whole or not at all, and never over somebody else's. Knows no artifact, no language, no queue.
//!
//! Every file is first written as `.NAME.spindle-TAG.part` beside its target, flushed and read back; only when all of a job's
//! files stand there are they renamed, without replacing. Where something of ours or something forced is replaced, the two names
//! are exchanged in one step, so that what was there can be looked at once more, and put back, before it goes.
//!
//! A published file may be read by whom the folder may be read by: its mode is 0600 plus the read bits that the folder gives to
//! group and others. Folders made on the way take their mode from the folder they are made in. The daemon's umask of 077 is for
//! its own files.

use std::ffi::{OsStr, OsString};
use std::fs::{File, Permissions};
use std::io::{self, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, RenameFlags};
use rustix::io::Errno;
use spindle_shared::failure::{Failure, FailureKind};
use spindle_shared::id::ContentHash;
use spindle_shared::job::{FileIdentity, PathBytes};
use spindle_shared::output::FILE_NAME_BYTES_MAX;

use crate::context::{Halt, disk_failure};
use crate::files::hash::{Hashed, ReadError, hash_pieces};

/// One file to publish.
pub struct Item<'a> {
    /// Its final name in the folder.
    pub name: PathBytes,
    pub source: &'a File,
    pub bytes: u64,
    /// What must be true of the content beyond its being the source's, asked of the finished part.
    pub check: fn(&File) -> Result<(), String>,
}

/// What may be replaced.
pub struct Rules<'a> {
    /// Whatever has the name.
    pub force: bool,
    /// Files with these paths, while their content is still this.
    pub replaceable: &'a [(PathBytes, ContentHash)],
}

/// Publishes all items into `directory`, or none. `tag` tells this job's parts from others'. `tick` hears of bytes written and read
/// back, twice the sum of the items in all, and may stop the work until the first rename. Gives each file's content, and its identity where
/// it is sure to be that content's.
pub fn publish(
    directory: &Path,
    items: &[Item<'_>],
    tag: &str,
    rules: &Rules<'_>,
    tick: &mut dyn FnMut(u64) -> Result<(), Halt>,
) -> Result<Vec<(ContentHash, Option<FileIdentity>)>, Halt> {
    make_folder(directory)?;
    let folder = Folder::open(directory)?;
    for item in items {
        folder.remove(&part_name(&item.name, tag))?;
    }
    let mut parts = Vec::with_capacity(items.len());
    for item in items {
        parts.push(Part::write(&folder, item, tag, tick)?);
    }
    let mut standings = Vec::with_capacity(items.len());
    for part in &parts {
        standings.push(folder.standing(part, rules, tick)?);
    }
    tick(0)?;
    let mut placed: Vec<Placed> = Vec::with_capacity(parts.len());
    for (part, standing) in parts.iter().zip(standings) {
        match folder.place(part, standing) {
            Ok(done) => placed.push(done),
            Err(failure) => {
                for (part, done) in parts.iter().zip(placed).rev() {
                    folder.undo(part, done);
                }
                return Err(failure.into());
            }
        }
    }
    let published =
        parts.iter().zip(&placed).map(|(part, placed)| (part.hashed.content, part.identity(placed))).collect();
    // What was exchanged out lies under the parts' names; dropping the parts removes it.
    drop(parts);
    folder.flush()?;
    Ok(published)
}

/// `.NAME.spindle-TAG.part`; a name too long for that is cut and keeps apart from its neighbours by a hash.
fn part_name(name: &PathBytes, tag: &str) -> OsString {
    let ending = format!(".spindle-{tag}.part");
    let room = FILE_NAME_BYTES_MAX.saturating_sub(1 + ending.len());
    let mut part = OsString::from(".");
    if name.0.len() <= room {
        part.push(OsStr::from_bytes(&name.0));
    } else {
        let hash = format!("~{}", &ContentHash::of(&name.0).to_string()[..16]);
        let mut head = room.saturating_sub(hash.len());
        while head > 0 && name.0[head] & 0b1100_0000 == 0b1000_0000 {
            head -= 1;
        }
        part.push(OsStr::from_bytes(&name.0[..head]));
        part.push(hash);
    }
    part.push(ending);
    part
}

/// Makes the folder and what is missing above it.
fn make_folder(directory: &Path) -> Result<(), Failure> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.exists()).collect();
    let Some(parent) = missing.last().and_then(|path| path.parent()) else { return Ok(()) };
    let inherited = parent.metadata().map_err(|error| folder_failure(&error, parent))?.mode();
    for path in missing.into_iter().rev() {
        let failed = |error: io::Error| folder_failure(&error, path);
        match std::fs::DirBuilder::new().mode(0o700).create(path) {
            Ok(()) => {
                std::fs::set_permissions(path, Permissions::from_mode(0o700 | inherited & 0o055)).map_err(failed)?;
                if let Some(parent) = path.parent() {
                    Folder::open(parent)?.flush()?;
                }
            }
            // Another job makes the same folder at the same time.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && path.is_dir() => {}
            Err(error) => return Err(failed(error)),
        }
    }
    Ok(())
}

fn folder_failure(error: &io::Error, path: &Path) -> Failure {
    match error.kind() {
        io::ErrorKind::NotADirectory | io::ErrorKind::AlreadyExists => Failure::new(
            FailureKind::Exists,
            format!("failed to write into {}: there is a file where the folder should be", shown(path)),
        )
        .advise("move that file, or choose another folder with -o"),
        _ => disk_failure(error, path),
    }
}

fn shown(path: &Path) -> String {
    PathBytes::from(path).to_string()
}

/// The folder of the targets, held open: all names are looked up in it even if somebody moves it.
struct Folder {
    file: File,
    path: PathBuf,
}

/// How the target's name stands before the renaming.
enum Standing {
    Free,
    /// It has the part's bytes already.
    Same(FileIdentity),
    /// It may go, as long as it is still this file in this state.
    Replaceable(FileIdentity),
    Forced,
}

/// What the renaming did.
enum Placed {
    /// Nothing had the name.
    New,
    /// What had the name now has the part's.
    Exchanged,
    /// Nothing to undo: the bytes were there, in this file.
    Found(FileIdentity),
    /// Nothing to undo: the file system can't exchange.
    Settled,
}

impl Folder {
    fn open(path: &Path) -> Result<Self, Failure> {
        let file = rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
            .map_err(|error| folder_failure(&error.into(), path))?;
        Ok(Folder { file: file.into(), path: path.to_owned() })
    }

    fn flush(&self) -> Result<(), Failure> {
        match rustix::fs::fsync(&self.file) {
            // Some network file systems flush names by themselves and folders not at all.
            Ok(()) | Err(Errno::INVAL | Errno::OPNOTSUPP | Errno::NOSYS) => Ok(()),
            Err(error) => Err(disk_failure(&error.into(), &self.path)),
        }
    }

    fn failure(&self, error: impl Into<io::Error>, name: &OsStr) -> Failure {
        disk_failure(&error.into(), &self.path.join(name))
    }

    /// Removes the name if it is there.
    fn remove(&self, name: &OsStr) -> Result<(), Failure> {
        match rustix::fs::unlinkat(&self.file, name, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => Ok(()),
            Err(error) => Err(self.failure(error, name)),
        }
    }

    /// What has the name, itself and not what it points to; `None` where nothing has.
    fn look(&self, name: &OsStr) -> Result<Option<Found>, Failure> {
        // A symbolic link can't be opened this way and a FIFO doesn't block; neither is ever ours.
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match rustix::fs::openat(&self.file, name, flags, Mode::empty()) {
            Ok(descriptor) => {
                let file = File::from(descriptor);
                let meta = file.metadata().map_err(|error| self.failure(error, name))?;
                if meta.is_dir() {
                    return Ok(Some(Found::Folder));
                }
                Ok(Some(if meta.is_file() { Found::File(file, FileIdentity::of(&meta)) } else { Found::Other }))
            }
            Err(Errno::NOENT) => Ok(None),
            // It is there and can't be read (a link, a socket, no permission): then it isn't known to be ours either.
            Err(Errno::LOOP | Errno::NXIO | Errno::ACCESS | Errno::PERM) => Ok(Some(Found::Other)),
            Err(error) => Err(self.failure(error, name)),
        }
    }

    fn standing(
        &self,
        part: &Part<'_>,
        rules: &Rules<'_>,
        tick: &mut dyn FnMut(u64) -> Result<(), Halt>,
    ) -> Result<Standing, Halt> {
        let path = self.path.join(part.target);
        let recorded = rules.replaceable.iter().find(|(known, _)| known.as_path() == path).map(|(_, content)| *content);
        match self.look(part.target)? {
            None => Ok(Standing::Free),
            Some(Found::Folder) => Err(Failure::new(FailureKind::Exists, format!("{} is a folder", shown(&path)))
                .advise("move the folder, or choose another place with -o")
                .into()),
            Some(Found::File(file, identity)) => {
                let may_be_same = identity.bytes == part.hashed.bytes;
                let content = if may_be_same || recorded.is_some() {
                    let hashed = hash_pieces(&file, identity.bytes, |_| tick(0))
                        .map_err(|error| halted(error, |error| self.failure(error, part.target)))?;
                    Some(hashed.content)
                } else {
                    None
                };
                if content == Some(part.hashed.content) {
                    Ok(Standing::Same(identity))
                } else if rules.force {
                    Ok(Standing::Forced)
                } else if recorded.is_some() && content == recorded {
                    Ok(Standing::Replaceable(identity))
                } else {
                    Err(self.taken(part.target, recorded.is_some()).into())
                }
            }
            Some(Found::Other) if rules.force => Ok(Standing::Forced),
            Some(Found::Other) => Err(self.taken(part.target, false).into()),
        }
    }

    fn taken(&self, name: &OsStr, edited: bool) -> Failure {
        let path = self.path.join(name);
        let what = if edited { "has been edited since it was published" } else { "exists already" };
        Failure::new(FailureKind::Exists, format!("{} {what}", shown(&path)))
    }

    /// Gives the part its final name.
    fn place(&self, part: &Part<'_>, standing: Standing) -> Result<Placed, Failure> {
        match standing {
            Standing::Same(identity) => Ok(Placed::Found(identity)),
            Standing::Free => self.name_new(part).map(|()| Placed::New),
            Standing::Forced => self.exchange(part),
            Standing::Replaceable(identity) => {
                let placed = self.exchange(part)?;
                let still_ours = match (&placed, self.look(&part.name)) {
                    // Its ctime has changed by the exchange itself.
                    (Placed::Exchanged, Ok(Some(Found::File(_, now)))) => {
                        FileIdentity { ctime_ns: 0, ..now } == FileIdentity { ctime_ns: 0, ..identity }
                    }
                    (Placed::Exchanged, _) => false,
                    _ => true,
                };
                if still_ours {
                    return Ok(placed);
                }
                self.undo(part, placed);
                Err(self.taken(part.target, true))
            }
        }
    }

    fn name_new(&self, part: &Part<'_>) -> Result<(), Failure> {
        let failed = |error: Errno| match error {
            Errno::EXIST => self.taken(part.target, false),
            error => self.failure(error, part.target),
        };
        match rustix::fs::renameat_with(&self.file, &part.name, &self.file, part.target, RenameFlags::NOREPLACE) {
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            done => return done.map_err(failed),
        }
        match rustix::fs::linkat(&self.file, &part.name, &self.file, part.target, AtFlags::empty()) {
            // Dropping the part removes its own name.
            Ok(()) => Ok(()),
            // A file system without hard links either: it was free a moment ago, and there is no better way to ask.
            Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP | Errno::MLINK) => match self.look(part.target)? {
                None => self.rename(part).map_err(failed),
                Some(_) => Err(self.taken(part.target, false)),
            },
            Err(error) => Err(failed(error)),
        }
    }

    fn exchange(&self, part: &Part<'_>) -> Result<Placed, Failure> {
        let failed = |error| self.failure(error, part.target);
        match rustix::fs::renameat_with(&self.file, &part.name, &self.file, part.target, RenameFlags::EXCHANGE) {
            Ok(()) => match self.look(&part.name) {
                Ok(Some(Found::Folder)) => {
                    self.undo(part, Placed::Exchanged);
                    Err(self.taken(part.target, false))
                }
                _ => Ok(Placed::Exchanged),
            },
            // It has been removed since it was looked at.
            Err(Errno::NOENT) => self.name_new(part).map(|()| Placed::New),
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
                self.rename(part).map(|()| Placed::Settled).map_err(failed)
            }
            Err(error) => Err(failed(error)),
        }
    }

    fn rename(&self, part: &Part<'_>) -> Result<(), Errno> {
        rustix::fs::renameat(&self.file, &part.name, &self.file, part.target)
    }

    /// Takes a rename back. What can't be taken back stays: whole files, and the next try finds their bytes there.
    fn undo(&self, part: &Part<'_>, placed: Placed) {
        match placed {
            Placed::Settled | Placed::Found(_) => {}
            Placed::Exchanged => {
                let flags = RenameFlags::EXCHANGE;
                if rustix::fs::renameat_with(&self.file, &part.name, &self.file, part.target, flags).is_err() {
                    // The part's name now holds somebody's file: it must outlive us, under whatever name.
                    part.keep.set(true);
                }
            }
            Placed::New => {
                let ours = part.file.metadata().map(|meta| (meta.dev(), meta.ino()));
                if let (Ok(Some(Found::File(_, now))), Ok(ours)) = (self.look(part.target), ours)
                    && (now.dev, now.inode) == ours
                {
                    let _ = rustix::fs::unlinkat(&self.file, part.target, AtFlags::empty());
                }
            }
        }
    }
}

enum Found {
    File(File, FileIdentity),
    Folder,
    /// A link, a device, something unreadable.
    Other,
}

/// A whole, flushed, verified file under its passing name, which goes when this is dropped.
struct Part<'a> {
    folder: &'a Folder,
    name: OsString,
    target: &'a OsStr,
    file: File,
    hashed: Hashed,
    /// As it stood when its content was read back.
    verified: Option<FileIdentity>,
    keep: std::cell::Cell<bool>,
}

impl<'a> Part<'a> {
    /// Of the file that has the final name now; `None` where it has been changed since it was read back.
    fn identity(&self, placed: &Placed) -> Option<FileIdentity> {
        if let Placed::Found(identity) = placed {
            return Some(*identity);
        }
        let now = FileIdentity::of(&self.file.metadata().ok()?);
        // The renaming itself is a change of the file's status.
        let verified = FileIdentity { ctime_ns: now.ctime_ns, ..self.verified? };
        (now == verified).then_some(now)
    }

    fn write(
        folder: &'a Folder,
        item: &'a Item<'_>,
        tag: &str,
        tick: &mut dyn FnMut(u64) -> Result<(), Halt>,
    ) -> Result<Self, Halt> {
        let name = part_name(&item.name, tag);
        let failed = |error: io::Error| folder.failure(error, &name);
        tick(0)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let descriptor =
            rustix::fs::openat(&folder.file, &name, flags, Mode::from_raw_mode(0o600)).map_err(|e| failed(e.into()))?;
        let mut part = Part {
            folder,
            target: OsStr::from_bytes(&item.name.0),
            file: descriptor.into(),
            hashed: Hashed { content: ContentHash([0; 32]), bytes: 0 },
            verified: None,
            keep: std::cell::Cell::new(false),
            name: name.clone(),
        };
        part.hashed = copy(item, &part.file, tick).map_err(|error| match error {
            CopyError::Read(error) => {
                let message = format!("failed to read the artifact of {}: {error}", item.name);
                Failure::new(FailureKind::Internal, message).into()
            }
            CopyError::Write(error) => failed(error).into(),
            CopyError::Halted(halt) => halt,
        })?;
        if part.hashed.bytes != item.bytes {
            return Err(Failure::new(
                FailureKind::Internal,
                format!(
                    "the artifact of {} has {} bytes where {} were expected",
                    item.name, part.hashed.bytes, item.bytes
                ),
            )
            .into());
        }
        let readers = folder.file.metadata().map_err(failed)?.mode() & 0o044;
        match rustix::fs::fchmod(&part.file, Mode::from_raw_mode(0o600 | readers)) {
            // File systems without permissions have none to set.
            Ok(()) | Err(Errno::PERM | Errno::NOSYS | Errno::OPNOTSUPP) => {}
            Err(error) => return Err(failed(error.into()).into()),
        }
        part.file.sync_all().map_err(failed)?;
        part.verified = Some(FileIdentity::of(&part.file.metadata().map_err(failed)?));
        let again = hash_pieces(&part.file, part.hashed.bytes, |piece| tick(piece.len() as u64))
            .map_err(|error| halted(error, failed))?;
        if again != part.hashed {
            return Err(Failure::new(
                FailureKind::Internal,
                format!("{} reads back differently from what was written", shown(&folder.path.join(&name))),
            )
            .advise("check this disk, then `spindlectl retry` the job")
            .into());
        }
        part.file.seek(SeekFrom::Start(0)).map_err(failed)?;
        (item.check)(&part.file).map_err(|what| {
            Failure::new(FailureKind::Internal, format!("the artifact of {} is not as it should be: {what}", item.name))
        })?;
        Ok(part)
    }
}

impl Drop for Part<'_> {
    fn drop(&mut self) {
        if !self.keep.get() {
            // Renamed or never made: then there is nothing to remove. A leftover is removed by the job's next run.
            let _ = rustix::fs::unlinkat(&self.folder.file, &self.name, AtFlags::empty());
        }
    }
}

enum CopyError {
    Read(io::Error),
    Write(io::Error),
    Halted(Halt),
}

/// Shares the blocks where the file system can, copies them otherwise; the hash is of the source as it was read here.
fn copy(item: &Item<'_>, to: &File, tick: &mut dyn FnMut(u64) -> Result<(), Halt>) -> Result<Hashed, CopyError> {
    let shared = rustix::fs::ioctl_ficlone(to, item.source).is_ok();
    let mut at = 0;
    let mut failed = None;
    let read = hash_pieces(item.source, item.bytes, |piece| {
        if !shared && let Err(error) = to.write_all_at(piece, at) {
            failed = Some(error);
            return Err(Halt::Stopped);
        }
        at += piece.len() as u64;
        tick(piece.len() as u64)
    });
    match (failed, read) {
        (Some(error), _) => Err(CopyError::Write(error)),
        (None, Ok(hashed)) => Ok(hashed),
        (None, Err(ReadError::Io(error))) => Err(CopyError::Read(error)),
        (None, Err(ReadError::Halted(halt))) => Err(CopyError::Halted(halt)),
    }
}

fn halted(error: ReadError, failure: impl FnOnce(io::Error) -> Failure) -> Halt {
    match error {
        ReadError::Io(error) => failure(error).into(),
        ReadError::Halted(halt) => halt,
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    struct Desk {
        root: tempfile::TempDir,
    }

    impl Desk {
        fn new() -> Self {
            Desk { root: tempfile::tempdir().unwrap() }
        }

        fn folder(&self) -> PathBuf {
            self.root.path().join("out")
        }

        fn there(self, name: &str, content: &str) -> Self {
            fs::create_dir_all(self.folder()).unwrap();
            fs::write(self.folder().join(name), content).unwrap();
            self
        }

        fn publish(&self, files: &[(&str, &str)], rules: &Rules<'_>) -> Result<Vec<ContentHash>, Halt> {
            let placed = self.publish_ticking(files, rules, &mut |_| Ok(()))?;
            Ok(placed.into_iter().map(|(content, _)| content).collect())
        }

        fn publish_ticking(
            &self,
            files: &[(&str, &str)],
            rules: &Rules<'_>,
            tick: &mut dyn FnMut(u64) -> Result<(), Halt>,
        ) -> Result<Vec<(ContentHash, Option<FileIdentity>)>, Halt> {
            let sources: Vec<File> = files
                .iter()
                .map(|(_, content)| {
                    let source = tempfile::tempfile_in(self.root.path()).unwrap();
                    source.write_all_at(content.as_bytes(), 0).unwrap();
                    source
                })
                .collect();
            let items: Vec<Item<'_>> = files
                .iter()
                .zip(&sources)
                .map(|((name, content), source)| Item {
                    name: PathBytes(name.as_bytes().to_vec()),
                    source,
                    bytes: content.len() as u64,
                    check: |_| Ok(()),
                })
                .collect();
            publish(&self.folder(), &items, "b1j1", rules, tick)
        }

        /// Every name in the folder with its content, hidden ones too.
        fn lies(&self) -> Vec<(String, String)> {
            let mut lies: Vec<_> = fs::read_dir(self.folder())
                .unwrap()
                .map(|entry| {
                    let entry = entry.unwrap();
                    (entry.file_name().into_string().unwrap(), fs::read_to_string(entry.path()).unwrap_or_default())
                })
                .collect();
            lies.sort();
            lies
        }
    }

    const KEEP: Rules<'_> = Rules { force: false, replaceable: &[] };
    const FORCE: Rules<'_> = Rules { force: true, replaceable: &[] };

    fn lie<const N: usize>(files: [(&str, &str); N]) -> Vec<(String, String)> {
        files.map(|(name, content)| (name.to_owned(), content.to_owned())).to_vec()
    }

    fn refusal<T>(outcome: Result<T, Halt>) -> Failure {
        match outcome {
            Err(Halt::Failed(failure)) => failure,
            _ => panic!("not refused"),
        }
    }

    #[test]
    fn files_appear_whole_in_a_folder_made_for_them() {
        let desk = Desk::new();
        let hashes = desk.publish(&[("a.srt", "one"), ("a.vtt", "")], &KEEP).unwrap();
        assert_eq!(hashes, [ContentHash::of(b"one"), ContentHash::of(b"")]);
        assert_eq!(desk.lies(), lie([("a.srt", "one"), ("a.vtt", "")]));
    }

    #[test]
    fn who_may_read_the_folder_may_read_the_file() {
        for (folder, file) in [(0o755, 0o644), (0o700, 0o600), (0o750, 0o640), (0o777, 0o644)] {
            let desk = Desk::new().there("x", "");
            fs::set_permissions(desk.folder(), Permissions::from_mode(folder)).unwrap();
            desk.publish(&[("a.srt", "one")], &KEEP).unwrap();
            assert_eq!(desk.folder().join("a.srt").metadata().unwrap().mode() & 0o7777, file);
            // And a folder made below it has its mode, as far as reading goes.
            make_folder(&desk.folder().join("new/er")).unwrap();
            let made = desk.folder().join("new/er").metadata().unwrap().mode() & 0o7777;
            assert_eq!(made, folder & 0o755, "{folder:o}");
        }
    }

    #[test]
    fn a_file_with_other_content_is_never_replaced_unasked() {
        let desk = Desk::new().there("a.vtt", "theirs");
        let failure = refusal(desk.publish(&[("a.srt", "one"), ("a.vtt", "two")], &KEEP));
        assert_eq!(failure.kind, FailureKind::Exists);
        assert_eq!(failure.message, format!("{} exists already", desk.folder().join("a.vtt").display()));
        // All or none: the other one isn't there either, and no part is left.
        assert_eq!(desk.lies(), lie([("a.vtt", "theirs")]));
    }

    #[test]
    fn a_target_with_the_same_bytes_counts_as_published() {
        let desk = Desk::new().there("a.srt", "one");
        let before = desk.folder().join("a.srt").metadata().unwrap().ino();
        let hashes = desk.publish(&[("a.srt", "one")], &KEEP).unwrap();
        assert_eq!(hashes, [ContentHash::of(b"one")]);
        assert_eq!(desk.lies(), lie([("a.srt", "one")]));
        assert_eq!(desk.folder().join("a.srt").metadata().unwrap().ino(), before);
    }

    #[test]
    fn a_published_file_is_known_as_it_stands_however_it_got_its_name() {
        let desk = Desk::new().there("same", "one").there("forced", "theirs");
        let files = [("new", "one"), ("same", "one"), ("forced", "one")];
        let placed = desk.publish_ticking(&files, &FORCE, &mut |_| Ok(())).unwrap();
        for ((name, _), (_, identity)) in files.iter().zip(placed) {
            let now = FileIdentity::of(&desk.folder().join(name).metadata().unwrap());
            assert_eq!(identity, Some(now), "{name}");
        }
    }

    #[test]
    fn force_replaces_files_and_links_but_no_folder() {
        let desk = Desk::new().there("a.srt", "theirs").there("elsewhere", "untouched");
        std::os::unix::fs::symlink("elsewhere", desk.folder().join("a.vtt")).unwrap();
        desk.publish(&[("a.srt", "one"), ("a.vtt", "two")], &FORCE).unwrap();
        assert_eq!(desk.lies(), lie([("a.srt", "one"), ("a.vtt", "two"), ("elsewhere", "untouched")]));

        let desk = Desk::new();
        fs::create_dir_all(desk.folder().join("a.srt")).unwrap();
        assert_eq!(refusal(desk.publish(&[("a.srt", "one")], &FORCE)).kind, FailureKind::Exists);
        assert_eq!(desk.lies(), lie([("a.srt", "")]));
    }

    #[test]
    fn a_link_is_taken_for_somebodys_even_if_its_target_has_the_bytes() {
        let desk = Desk::new().there("elsewhere", "one");
        std::os::unix::fs::symlink("elsewhere", desk.folder().join("a.srt")).unwrap();
        assert_eq!(refusal(desk.publish(&[("a.srt", "one")], &KEEP)).kind, FailureKind::Exists);
    }

    #[test]
    fn what_was_published_is_replaced_until_somebody_edits_it() {
        let desk = Desk::new().there("a.srt", "as published");
        let replaceable = [(PathBytes::from(desk.folder().join("a.srt")), ContentHash::of(b"as published"))];
        let rules = Rules { force: false, replaceable: &replaceable };
        desk.publish(&[("a.srt", "anew")], &rules).unwrap();
        assert_eq!(desk.lies(), lie([("a.srt", "anew")]));

        fs::write(desk.folder().join("a.srt"), "edited").unwrap();
        let failure = refusal(desk.publish(&[("a.srt", "once more")], &rules));
        assert_eq!(failure.kind, FailureKind::Exists);
        assert!(failure.message.contains("edited since"), "{failure}");
        assert_eq!(desk.lies(), lie([("a.srt", "edited")]));
    }

    #[test]
    fn an_edit_between_the_look_and_the_rename_survives() {
        let desk = Desk::new().there("a.srt", "as published");
        let replaceable = [(PathBytes::from(desk.folder().join("a.srt")), ContentHash::of(b"as published"))];
        let rules = Rules { force: false, replaceable: &replaceable };
        let target = desk.folder().join("a.srt");
        let mut zeros = 0;
        // The last tick comes after every target was looked at: start of the part, reading of the target, then this one.
        let outcome = desk.publish_ticking(&[("a.srt", "anew")], &rules, &mut |bytes| {
            zeros += usize::from(bytes == 0);
            if zeros == 3 {
                fs::write(&target, "edited in between").unwrap();
            }
            Ok(())
        });
        assert_eq!(zeros, 3);
        assert_eq!(refusal(outcome).kind, FailureKind::Exists);
        assert_eq!(desk.lies(), lie([("a.srt", "edited in between")]));
    }

    #[test]
    fn a_name_taken_in_between_takes_the_other_renames_back() {
        let desk = Desk::new().there("a.json", "as published");
        let replaceable = [(PathBytes::from(desk.folder().join("a.json")), ContentHash::of(b"as published"))];
        let rules = Rules { force: false, replaceable: &replaceable };
        let target = desk.folder().join("a.vtt");
        let mut zeros = 0;
        let files = [("a.srt", "one"), ("a.json", "anew"), ("a.vtt", "two")];
        let outcome = desk.publish_ticking(&files, &rules, &mut |bytes| {
            zeros += usize::from(bytes == 0);
            if zeros == 5 {
                fs::write(&target, "theirs").unwrap();
            }
            Ok(())
        });
        assert_eq!(refusal(outcome).kind, FailureKind::Exists);
        assert_eq!(desk.lies(), lie([("a.json", "as published"), ("a.vtt", "theirs")]));
    }

    #[test]
    fn a_killed_runs_leftover_goes_and_others_stay() {
        let desk = Desk::new().there(".a.srt.spindle-b1j1.part", "half").there(".a.srt.spindle-b1j2.part", "another's");
        desk.publish(&[("a.srt", "one")], &KEEP).unwrap();
        assert_eq!(desk.lies(), lie([(".a.srt.spindle-b1j2.part", "another's"), ("a.srt", "one")]));
    }

    #[test]
    fn a_wish_to_stop_leaves_nothing_whenever_it_comes() {
        for stop_at in 0..20 {
            let desk = Desk::new();
            let mut ticks = 0;
            let outcome = desk.publish_ticking(&[("a.srt", "one"), ("a.vtt", "two")], &KEEP, &mut |_| {
                ticks += 1;
                if ticks > stop_at { Err(Halt::Stopped) } else { Ok(()) }
            });
            match outcome {
                Ok(_) => {
                    assert!(stop_at >= 5, "it stopped too seldom: {stop_at}");
                    return;
                }
                Err(Halt::Stopped) => assert_eq!(desk.lies(), [], "stopped at {stop_at}"),
                Err(Halt::Failed(failure)) => panic!("{failure}"),
            }
        }
        panic!("it never came to its end");
    }

    #[test]
    fn names_of_every_length_have_a_part_of_their_own() {
        let long = |ending: &str| format!("{}{ending}", "é".repeat((255 - ending.len()) / 2));
        let desk = Desk::new();
        let (srt, vtt) = (long(".de.srt"), long(".de.vtt"));
        desk.publish(&[(&srt, "one"), (&vtt, "two")], &KEEP).unwrap();
        assert_eq!(desk.lies(), lie([(srt.as_str(), "one"), (vtt.as_str(), "two")]));
        for len in 1..=255 {
            let name = PathBytes(vec![b'x'; len]);
            let part = part_name(&name, "4611686018427387904-1000000");
            assert!(part.len() <= 255 && part.as_bytes().starts_with(b".x"), "{len}");
        }
    }

    #[test]
    fn a_file_in_the_folders_place_is_told() {
        let desk = Desk::new();
        fs::write(desk.folder(), "a file").unwrap();
        let failure = refusal(desk.publish(&[("a.srt", "one")], &KEEP));
        assert_eq!(failure.kind, FailureKind::Exists);
        assert!(failure.message.contains("a file where the folder should be"), "{failure}");
        let below = desk.folder().join("deeper");
        assert_eq!(make_folder(&below).unwrap_err().kind, FailureKind::Exists);
    }

    #[test]
    fn a_folder_that_may_not_be_written_is_told() {
        if rustix::process::geteuid().is_root() {
            eprintln!("skipped: root may write everywhere");
            return;
        }
        let desk = Desk::new().there("x", "");
        fs::set_permissions(desk.folder(), Permissions::from_mode(0o555)).unwrap();
        assert_eq!(refusal(desk.publish(&[("a.srt", "one")], &KEEP)).kind, FailureKind::Permission);
    }

    #[test]
    fn a_full_disk_asks_for_room() {
        let full = io::Error::from(io::ErrorKind::StorageFull);
        assert!(folder_failure(&full, Path::new("/o")).advice.contains("make room"));
        let read_only = io::Error::from(io::ErrorKind::ReadOnlyFilesystem);
        assert_eq!(folder_failure(&read_only, Path::new("/o")).kind, FailureKind::Permission);
    }

    #[test]
    fn an_artifact_that_is_not_what_it_should_be_is_not_published() {
        let desk = Desk::new().there("x", "");
        let source = tempfile::tempfile().unwrap();
        source.write_all_at(b"one", 0).unwrap();
        let item = |bytes, check| Item { name: PathBytes(b"a.srt".to_vec()), source: &source, bytes, check };
        for item in [item(2, |_| Ok(())), item(4, |_| Ok(())), item(3, |_| Err("it is not".to_owned()))] {
            let outcome = publish(&desk.folder(), &[item], "t", &KEEP, &mut |_| Ok(()));
            assert_eq!(refusal(outcome).kind, FailureKind::Internal);
            assert_eq!(desk.lies(), lie([("x", "")]));
        }
    }
}
