//! The queue's file: found, made, checked, locked. Knows its name, its folder and its schema number, and no row.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::time::Instant;

use redb::backends::FileBackend;
use redb::{Builder, Database, DatabaseError, ReadableDatabase, StorageError, TableError};

use super::tentative::Tentative;
use super::{StoreError, compact, error, tables, write};
use crate::telemetry::Disk;

const NAME: &str = "queue.redb";
/// Pages kept in memory; redb's own default is 1 GiB.
const CACHE_BYTES: usize = 16 << 20;
/// Kept free on the queue's disk, so that a commit is refused whole before it can fail half-way.
const RESERVE_BYTES: u64 = 4 << 20;

pub(super) fn open(state_dir: &Path) -> Result<Database, StoreError> {
    make_folder(state_dir)?;
    let path = state_dir.join(NAME);
    let database = match fs::metadata(&path) {
        Ok(_) => compacted(open_existing(&path)?, &path)?,
        Err(source) if source.kind() == io::ErrorKind::NotFound => create(state_dir, &path)?,
        Err(source) => return Err(files("look at", &path)(source)),
    };
    remove_leftovers(state_dir);
    Ok(database)
}

/// Whether the disk has room for as many bytes more.
pub(super) fn check_room(state_dir: &Path, bytes: u64) -> Result<(), StoreError> {
    // Where the file system doesn't say, the write itself will.
    let Ok(disk) = rustix::fs::statvfs(state_dir) else { return Ok(()) };
    if disk.f_bavail.saturating_mul(disk.f_frsize) < RESERVE_BYTES.saturating_add(bytes) {
        Err(StoreError::Full)
    } else {
        Ok(())
    }
}

/// The same queue, in a smaller file if most of it was free.
fn compacted(mut database: Database, path: &Path) -> Result<Database, StoreError> {
    let size = || fs::metadata(path).map(|meta| meta.len()).map_err(files("look at", path));
    let (before, began) = (size()?, Instant::now());
    // Counting pages reads the whole file; counting rows reads next to nothing.
    if !compact::is_worth_it(before, compact::least_bytes(&database)?)
        || !compact::is_worth_it(before, compact::used_bytes(&database)?)
    {
        return Ok(database);
    }
    tracing::info!(bytes = before, "most of the queue's file is free: making it smaller");
    if !compact::run(&mut database) {
        drop(database);
        return open_existing(path);
    }
    tracing::info!(
        bytes_before = before,
        bytes = size()?,
        ms = began.elapsed().as_millis() as u64,
        "the queue was compacted"
    );
    Ok(database)
}

/// Unknown where the file system doesn't say.
pub(super) fn disk(state_dir: &Path) -> Disk {
    let free = rustix::fs::statvfs(state_dir).map(|disk| disk.f_bavail.saturating_mul(disk.f_frsize));
    Disk { queue_bytes: fs::metadata(state_dir.join(NAME)).map(|meta| meta.len()).ok(), free_bytes: free.ok() }
}

pub(super) fn files<'p>(doing: &'static str, path: &'p Path) -> impl FnOnce(io::Error) -> StoreError + use<'p> {
    move |source| match error::is_full(&source) {
        true => StoreError::Full,
        false => StoreError::Files { doing, path: path.to_owned(), source },
    }
}

fn make_folder(state_dir: &Path) -> Result<(), StoreError> {
    if state_dir.is_dir() {
        return Ok(());
    }
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(state_dir)
        .map_err(files("make the state folder", state_dir))?;
    match state_dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => Ok(()),
    }
}

/// A new name in a folder is durable only with the folder.
pub(super) fn sync_folder(folder: &Path) -> Result<(), StoreError> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(files("flush the folder", folder))
}

/// A new queue gets its name when it is whole. A second daemon that does the same at the same time finds the name taken.
fn create(state_dir: &Path, path: &Path) -> Result<Database, StoreError> {
    refuse_if_lost(state_dir)?;
    let fresh = state_dir.join(format!(".{NAME}.{}.new", std::process::id()));
    // Of a process long dead that had our number.
    let _ = fs::remove_file(&fresh);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&fresh)
        .map_err(files("create the queue", &fresh))?;
    let database = make_database(file, &fresh)?;
    let transaction = write::begin(&database)?;
    write::create_tables(&transaction)?;
    transaction.open_table(tables::META)?.insert(tables::META_SCHEMA, tables::SCHEMA)?;
    transaction.commit()?;
    match rename_unless_taken(&fresh, path) {
        Ok(()) => {
            sync_folder(state_dir)?;
            Ok(database)
        }
        Err(_) if path.exists() => {
            drop(database);
            let _ = fs::remove_file(&fresh);
            open_existing(path)
        }
        Err(source) => Err(files("name the queue", path)(source)),
    }
}

pub(super) fn rename_unless_taken(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Not every file system can.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => {
            fs::hard_link(from, to)?;
            fs::remove_file(from)
        }
        result => Ok(result?),
    }
}

/// A state folder with something in it had a queue once, and losing it silently is the worst that can happen. What a daemon
/// leaves that died before its first queue (lock files, empty folders) is nothing.
fn refuse_if_lost(state_dir: &Path) -> Result<(), StoreError> {
    let entries = fs::read_dir(state_dir).map_err(files("read the state folder", state_dir))?;
    for entry in entries {
        let entry = entry.map_err(files("read the state folder", state_dir))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let harmless = name == "lost+found"
            || is_leftover(&name)
            || match entry.metadata() {
                Ok(meta) if meta.is_dir() => fs::read_dir(entry.path()).is_ok_and(|mut inside| inside.next().is_none()),
                Ok(meta) => meta.is_file() && name.ends_with(".lock"),
                Err(_) => false,
            };
        if !harmless {
            return Err(StoreError::Missing {
                folder: state_dir.to_owned(),
                found: spindle_shared::text::escaped(&name),
            });
        }
    }
    Ok(())
}

/// `.queue.redb.1234.new`
fn is_leftover(name: &str) -> bool {
    name.strip_prefix(&format!(".{NAME}."))
        .and_then(|rest| rest.strip_suffix(".new"))
        .is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
}

/// With the queue's lock in hand: whoever still makes a new one has lost, and will find out.
fn remove_leftovers(state_dir: &Path) {
    for entry in fs::read_dir(state_dir).into_iter().flatten().flatten() {
        if is_leftover(&entry.file_name().to_string_lossy())
            && let Err(source) = fs::remove_file(entry.path())
        {
            tracing::warn!(path = %entry.path().display(), %source, "failed to remove a queue that was never finished");
        }
    }
}

pub(super) fn open_existing(path: &Path) -> Result<Database, StoreError> {
    let damaged = |reason: &str| StoreError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    // Asked before opening, because opening a FIFO waits for its other end.
    if !fs::metadata(path).map_err(files("look at", path))?.is_file() {
        return Err(damaged("it is no regular file"));
    }
    let file = OpenOptions::new().read(true).write(true).open(path).map_err(files("open the queue", path))?;
    if file.metadata().map_err(files("look at", path))?.len() == 0 {
        return Err(damaged("it is empty"));
    }
    let backend = Tentative::new(file_backend(file).map_err(|error| told(error, path))?);
    let for_redb = backend.clone();
    // A damaged file can run redb into its own assertions; that is a refusal too, not the daemon's crash.
    let database = std::panic::catch_unwind(AssertUnwindSafe(|| {
        let database = builder().create_with_backend(for_redb).map_err(|error| told(error, path))?;
        let schema = check_schema(&database, path)?;
        Ok((database, schema))
    }))
    .unwrap_or_else(|_| Err(damaged("its pages contradict each other")))?;
    backend.release().map_err(files("write to the queue", path))?;
    let (database, schema) = database;
    if schema < tables::SCHEMA {
        raise_schema(&database)?;
    }
    Ok(database)
}

/// A new database in an empty file of ours.
pub(super) fn make_database(file: File, path: &Path) -> Result<Database, StoreError> {
    file_backend(file).and_then(|backend| builder().create_with_backend(backend)).map_err(|error| told(error, path))
}

fn file_backend(file: File) -> Result<FileBackend, DatabaseError> {
    FileBackend::new(file)
}

fn builder() -> Builder {
    let mut builder = Builder::new();
    builder.set_cache_size(CACHE_BYTES);
    // Reads the whole file and every checksum in it: a queue that has rotted is found at the start, not in the night.
    builder.set_check_integrity_on_open(true);
    // Told of every check, after a clean end too.
    builder.set_repair_callback(|session| tracing::debug!(done = session.progress(), "checking the queue"));
    builder
}

/// The number that the queue was last written under.
fn check_schema(database: &Database, path: &Path) -> Result<u64, StoreError> {
    let foreign = || StoreError::Damaged { path: path.to_owned(), reason: "it is a database, but no queue".to_owned() };
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(tables::META).map_err(|error| match error {
        TableError::Storage(error) => StoreError::from(error),
        _ => foreign(),
    })?;
    let found = meta.get(tables::META_SCHEMA)?.ok_or_else(foreign)?.value();
    if found > tables::SCHEMA {
        return Err(StoreError::Newer { path: path.to_owned(), found, known: tables::SCHEMA });
    }
    Ok(found)
}

/// From here on older Spindles refuse the queue. Its rows keep their versions until they are written anew.
fn raise_schema(database: &Database) -> Result<(), StoreError> {
    let transaction = database.begin_write()?;
    transaction.open_table(tables::META)?.insert(tables::META_SCHEMA, tables::SCHEMA)?;
    transaction.commit()?;
    Ok(())
}

/// What redb says on opening, in words for people.
fn told(error: DatabaseError, path: &Path) -> StoreError {
    let damaged = |reason: String| StoreError::Damaged { path: path.to_owned(), reason };
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            StoreError::Locked { path: path.to_owned(), pid: lock_holder(path) }
        }
        DatabaseError::Storage(StorageError::Io(source)) => match source.kind() {
            io::ErrorKind::InvalidData => damaged("it does not begin like a queue".to_owned()),
            io::ErrorKind::UnexpectedEof => damaged("it is cut off".to_owned()),
            _ => files("read the queue", path)(source),
        },
        DatabaseError::Storage(StorageError::Corrupted(reason)) => damaged(reason),
        other => damaged(other.to_string()),
    }
}

/// The process that holds a lock on this file, as far as the kernel tells.
fn lock_holder(path: &Path) -> Option<u32> {
    let meta = fs::metadata(path).ok()?;
    let (major, minor) = (rustix::fs::major(meta.dev()), rustix::fs::minor(meta.dev()));
    let file = format!("{major:02x}:{minor:02x}:{}", meta.ino());
    // `1: FLOCK  ADVISORY  WRITE 1234 fe:01:5678 0 EOF`
    fs::read_to_string("/proc/locks").ok()?.lines().find_map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let at = words.iter().position(|word| *word == file)?;
        words.get(at.checked_sub(1)?)?.parse::<u32>().ok()
    })
}
