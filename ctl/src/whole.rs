//! Files that are there whole or not at all: written beside, flushed, then named. Knows nothing of what is in them.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;
use spindle_shared::exit;
use spindle_shared::id::ContentHash;
use spindle_shared::output::FILE_NAME_BYTES_MAX;

use crate::fault::Fault;
use crate::output::human;

/// What to do where the name is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    Refuse,
    Replace,
}

/// Refuses a name that is taken, before any work is done for it.
pub fn check(path: &Path, taken: Taken) -> Result<(), Fault> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(failed(path, &error)),
        Ok(_) if taken == Taken::Refuse => Err(exists(path)),
        // A device or a link to somewhere is not to be replaced by a file.
        Ok(meta) if !meta.is_file() => Err(Fault::usage(format!("{} is no regular file", shown(path)))),
        Ok(_) => Ok(()),
    }
}

/// Gives the file its name when it is whole and on the disk.
pub fn write(path: &Path, bytes: &[u8], taken: Taken) -> Result<(), Fault> {
    write_with(path, taken, |mut file| {
        file.write_all(bytes)?;
        Ok(file)
    })
}

/// The same for what is written piece by piece.
pub fn write_with(path: &Path, taken: Taken, fill: impl FnOnce(File) -> io::Result<File>) -> Result<(), Fault> {
    check(path, taken)?;
    let part = beside(path).ok_or_else(|| Fault::usage(format!("`{}` names no file", shown(path))))?;
    let named = written(&part, fill).and_then(|()| match taken {
        Taken::Replace => fs::rename(&part, path),
        Taken::Refuse => rename_unless_taken(&part, path),
    });
    match named {
        Ok(()) => {
            // The name too; where a folder can't be flushed, the file is there all the same.
            drop(folder_of(path).and_then(|folder| File::open(folder).ok()).map(|folder| folder.sync_all()));
            Ok(())
        }
        Err(error) => {
            // Half a file helps nobody; that it can't be removed either is no news.
            drop(fs::remove_file(&part));
            Err(if error.kind() == io::ErrorKind::AlreadyExists { exists(path) } else { failed(path, &error) })
        }
    }
}

fn written(part: &Path, fill: impl FnOnce(File) -> io::Result<File>) -> io::Result<()> {
    // Of a process long dead that had our number.
    drop(fs::remove_file(part));
    fill(File::create_new(part)?)?.sync_all()
}

fn rename_unless_taken(from: &Path, to: &Path) -> io::Result<()> {
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        result => Ok(result?),
    }
}

fn folder_of(path: &Path) -> Option<&Path> {
    path.parent().map(|folder| if folder.as_os_str().is_empty() { Path::new(".") } else { folder })
}

/// `.NAME.spindle-1234.part`; of a name too long for that, its hash.
fn beside(path: &Path) -> Option<PathBuf> {
    let ending = format!(".spindle-{}.part", std::process::id());
    let own = path.file_name()?;
    let mut name = std::ffi::OsString::from(".");
    match 1 + own.len() + ending.len() <= FILE_NAME_BYTES_MAX {
        true => name.push(own),
        false => name.push(ContentHash::of(own.as_encoded_bytes()).to_string()),
    }
    name.push(ending);
    Some(path.with_file_name(name))
}

fn shown(path: &Path) -> String {
    human::escaped(&path.to_string_lossy())
}

fn failed(path: &Path, error: &io::Error) -> Fault {
    Fault::error(format!("failed to write {}: {error}", shown(path)))
}

fn exists(path: &Path) -> Fault {
    Fault::new(exit::USAGE, "exists", format!("{} is there already", shown(path)))
        .hint("name another file, or replace it with --force")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_stays_unless_it_is_to_be_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("r.md");
        write(&path, b"one", Taken::Refuse).unwrap();
        assert_eq!(write(&path, b"two", Taken::Refuse).unwrap_err().code, exit::USAGE);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        write(&path, b"two", Taken::Replace).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left beside it");
    }

    #[test]
    fn the_longest_name_is_written_too() {
        let folder = tempfile::tempdir().unwrap();
        for len in [200, 240, 255] {
            let path = folder.path().join("x".repeat(len));
            write(&path, b"one", Taken::Refuse).unwrap();
            assert_eq!(fs::read(&path).unwrap(), b"one");
        }
    }

    #[test]
    fn a_name_that_was_taken_meanwhile_is_not_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let (part, path) = (folder.path().join("part"), folder.path().join("r.md"));
        fs::write(&part, b"ours").unwrap();
        fs::write(&path, b"theirs").unwrap();
        assert_eq!(rename_unless_taken(&part, &path).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
    }

    #[test]
    fn links_and_folders_are_no_files_to_replace() {
        let folder = tempfile::tempdir().unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink("elsewhere", &link).unwrap();
        for path in [link.as_path(), folder.path()] {
            assert_eq!(write(path, b"x", Taken::Replace).unwrap_err().code, exit::USAGE);
        }
        assert_eq!(write(&folder.path().join("none/r.md"), b"x", Taken::Refuse).unwrap_err().code, exit::ERROR);
    }
}
