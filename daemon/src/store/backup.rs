//! A copy of the queue as it stands at one moment, in a file of its own; the daemon goes on meanwhile. Knows tables, and no row in them.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use redb::{Key, ReadTransaction, ReadableTable, ReadableTableMetadata, TableDefinition, Value, WriteTransaction};

use super::{StoreError, file, tables, write};

/// What a copy holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copied {
    pub bytes: u64,
    pub batches: u64,
    pub jobs: u64,
}

/// Tells copies apart that are written at the same time.
static COPIES: AtomicU64 = AtomicU64::new(0);

/// Writes the copy beside its name, opens and checks it as a daemon would, and gives it its name: whole or not at all, and never in
/// another file's place.
pub(super) fn write_to(source: &ReadTransaction, path: &Path, room_bytes: u64) -> Result<Copied, StoreError> {
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    if fs::symlink_metadata(path).is_ok() {
        return Err(StoreError::Taken { path: path.to_owned() });
    }
    let part = part_of(path).ok_or_else(|| StoreError::Files {
        doing: "write a backup to",
        path: path.to_owned(),
        source: io::ErrorKind::InvalidFilename.into(),
    })?;
    file::check_room(folder, room_bytes)?;
    let copied = copy(source, &part).and_then(|copied| match file::rename_unless_taken(&part, path) {
        Ok(()) => file::sync_folder(folder).map(|()| copied),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Err(StoreError::Taken { path: path.to_owned() }),
        Err(source) => Err(file::files("name the backup", path)(source)),
    });
    if copied.is_err() {
        // Only what this call has made: the name was new.
        drop(fs::remove_file(&part));
    }
    copied
}

/// `.NAME.spindle-1234-1.part`
fn part_of(path: &Path) -> Option<PathBuf> {
    let mut name = OsString::from(".");
    name.push(path.file_name()?);
    name.push(format!(".spindle-{}-{}.part", std::process::id(), COPIES.fetch_add(1, Ordering::Relaxed)));
    Some(path.with_file_name(name))
}

fn copy(source: &ReadTransaction, part: &Path) -> Result<Copied, StoreError> {
    let made = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(part);
    let database = file::make_database(made.map_err(file::files("create the backup", part))?, part)?;
    let transaction = write::begin(&database)?;
    copy_tables(source, &transaction)?;
    let batches = transaction.open_table(tables::BATCHES)?.len()?;
    let jobs = transaction.open_table(tables::JOBS)?.len()?;
    transaction.commit()?;
    drop(database);
    // As a daemon opens it, with every checksum.
    drop(file::open_existing(part)?);
    let flushed = fs::File::open(part).and_then(|file| file.sync_all().and_then(|()| file.metadata()));
    let bytes = flushed.map_err(file::files("flush the backup", part))?.len();
    Ok(Copied { bytes, batches, jobs })
}

/// Every table there is; a test compares with what the store makes.
fn copy_tables(source: &ReadTransaction, target: &WriteTransaction) -> Result<(), StoreError> {
    copy_table(source, target, tables::META)?;
    copy_table(source, target, tables::BATCHES)?;
    copy_table(source, target, tables::STATUSES)?;
    copy_table(source, target, tables::UNFINISHED)?;
    copy_table(source, target, tables::JOBS)?;
    copy_table(source, target, tables::OPEN)?;
    copy_table(source, target, tables::ENDED)?;
    copy_table(source, target, tables::FAILED)?;
    copy_table(source, target, tables::KEYS)?;
    copy_table(source, target, tables::INPUTS)?;
    copy_table(source, target, tables::OUTPUTS)?;
    copy_table(source, target, tables::ARTIFACTS)?;
    copy_table(source, target, tables::SIZES)?;
    copy_table(source, target, tables::RATES)?;
    copy_table(source, target, tables::APIS)?;
    copy_table(source, target, tables::DELIVERIES)?;
    copy_table(source, target, tables::FOLDERS)?;
    copy_table(source, target, tables::FOLDER_FILES)?;
    copy_table(source, target, tables::FOLDER_SENDS)?;
    copy_table(source, target, tables::STORES)?;
    copy_table(source, target, tables::OBJECTS)?;
    copy_table(source, target, tables::PLACES)?;
    copy_table(source, target, tables::QUOTAS)
}

/// In the order of the keys, so that each insertion finds its page at hand.
fn copy_table<K: Key + 'static, V: Value + 'static>(
    source: &ReadTransaction,
    target: &WriteTransaction,
    table: TableDefinition<'_, K, V>,
) -> Result<(), StoreError> {
    let mut copy = target.open_table(table)?;
    for entry in source.open_table(table)?.iter()? {
        let (key, value) = entry?;
        copy.insert(key.value(), value.value())?;
    }
    Ok(())
}
