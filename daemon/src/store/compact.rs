//! The queue's file made as small as what is in it, where that is worth it. Knows pages, and no table. Happens at the start only, when nobody
//! reads yet: redb moves pages with nobody looking, each step a commit of its own, so that a cut of the power leaves the same queue.

use std::panic::AssertUnwindSafe;

use redb::{Database, ReadableDatabase, ReadableTableMetadata};

use super::{StoreError, tables, write};

/// Below this there is nothing to win.
const FILE_BYTES_MIN: u64 = 32 << 20;

/// Whether the larger part of the file is free.
pub(super) fn is_worth_it(file_bytes: u64, used_bytes: u64) -> bool {
    file_bytes >= FILE_BYTES_MIN && used_bytes < file_bytes / 2
}

/// What the rows of the large tables take at the very least.
pub(super) fn least_bytes(database: &Database) -> Result<u64, StoreError> {
    let transaction = database.begin_read()?;
    let jobs = transaction.open_table(tables::JOBS)?.len()?.saturating_mul(64);
    let open = transaction.open_table(tables::OPEN)?.len()?.saturating_mul(12);
    let ended = transaction.open_table(tables::ENDED)?.len()?.saturating_mul(40);
    Ok(jobs.saturating_add(open).saturating_add(ended))
}

/// Bytes of the file's pages that hold something.
pub(super) fn used_bytes(database: &Database) -> Result<u64, StoreError> {
    let transaction = write::begin(database)?;
    let stats = transaction.stats()?;
    transaction.abort()?;
    Ok(stats.allocated_pages().saturating_mul(stats.page_size() as u64))
}

/// Gives whether it went well. After anything else the database is not to be used any more, and opens anew as it was.
pub(super) fn run(database: &mut Database) -> bool {
    let result = std::panic::catch_unwind(AssertUnwindSafe(|| database.compact()));
    match result {
        Ok(Ok(_)) => true,
        Ok(Err(error)) => {
            tracing::warn!("the queue was not compacted: {error}");
            false
        }
        Err(_) => {
            tracing::warn!("the queue was not compacted: its pages could not be moved");
            false
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_large_file_that_is_mostly_free_is_worth_it() {
        for (file, used, worth) in [
            (FILE_BYTES_MIN - 1, 0, false),
            (FILE_BYTES_MIN, FILE_BYTES_MIN / 2, false),
            (FILE_BYTES_MIN, FILE_BYTES_MIN / 2 - 1, true),
            (10 * FILE_BYTES_MIN, FILE_BYTES_MIN, true),
        ] {
            assert_eq!(is_worth_it(file, used), worth, "{used} of {file}");
        }
    }
}
