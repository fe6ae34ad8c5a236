//! Every table of the queue, and nothing else. A change here is a new schema number and a step in [`super::file`].

use redb::TableDefinition;

/// Raised when an older Spindle could not read or would spoil what this one writes.
///
/// 2: rows of [`OUTPUTS`] know the published file itself.
pub(super) const SCHEMA: u64 = 2;

/// [`META_SCHEMA`] and the other names below.
pub(super) const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");
pub(super) const META_SCHEMA: &str = "schema";
/// Of the last boot.
pub(super) const META_BOOT: &str = "boot";
/// Number of the next batch; numbers of removed batches are not given again.
pub(super) const META_NEXT_BATCH: &str = "next_batch";
/// 1 = the house is paused.
pub(super) const META_PAUSED: &str = "paused";

/// Number of the next notification; none is given again.
pub(super) const META_NEXT_DELIVERY: &str = "next_delivery";

/// Number of the next watched folder.
pub(super) const META_NEXT_FOLDER: &str = "next_folder";

pub(super) type BatchKey = u64;
/// Batch, index from 1.
pub(super) type JobKey = (u64, u32);
type Row = &'static [u8];

/// What a batch was submitted as; written once.
pub(super) const BATCHES: TableDefinition<'_, BatchKey, Row> = TableDefinition::new("batches");
/// How a batch stands; apart from its submission because it is written at every turn.
pub(super) const STATUSES: TableDefinition<'_, BatchKey, Row> = TableDefinition::new("statuses");
/// Batches that are not at their end, so that recovery looks at no other.
pub(super) const UNFINISHED: TableDefinition<'_, BatchKey, ()> = TableDefinition::new("unfinished");
/// What a job was submitted as; written once.
pub(super) const JOBS: TableDefinition<'_, JobKey, Row> = TableDefinition::new("jobs");
/// Jobs that are not at their end; an empty value = never started. Each job is either here or in [`ENDED`].
pub(super) const OPEN: TableDefinition<'_, JobKey, Row> = TableDefinition::new("open");
pub(super) const ENDED: TableDefinition<'_, JobKey, Row> = TableDefinition::new("ended");
/// The failed ones of [`ENDED`].
pub(super) const FAILED: TableDefinition<'_, JobKey, ()> = TableDefinition::new("failed");
/// Owner and idempotency key to batch.
pub(super) const KEYS: TableDefinition<'_, (u32, &str), BatchKey> = TableDefinition::new("keys");
/// Device and inode to the file's last known state and its content; one row per file however often it changes.
pub(super) const INPUTS: TableDefinition<'_, (u64, u64), Row> = TableDefinition::new("inputs");
/// Path to what was published there.
pub(super) const OUTPUTS: TableDefinition<'_, &[u8], Row> = TableDefinition::new("outputs");
/// Address to what lies in the artifact folder.
pub(super) const ARTIFACTS: TableDefinition<'_, &[u8; 32], Row> = TableDefinition::new("artifacts");
/// Batch to the KiB of each of its inputs; apart from its submission because lists don't read it.
pub(super) const SIZES: TableDefinition<'_, BatchKey, Row> = TableDefinition::new("sizes");
/// Kind of work and model to how fast it goes.
pub(super) const RATES: TableDefinition<'_, (&str, &str), Row> = TableDefinition::new("rates");
/// Name of a model API and number of its key to what of its limits is used up.
pub(super) const APIS: TableDefinition<'_, (&str, u32), Row> = TableDefinition::new("apis");
/// Owner to a day (days since 1970, UTC) and the media-seconds worked through in it.
pub(super) const QUOTAS: TableDefinition<'_, u32, (u64, f64)> = TableDefinition::new("quotas");
/// Bucket to what is known of it.
pub(super) const STORES: TableDefinition<'_, &str, Row> = TableDefinition::new("stores");
/// Place of an object that Spindle has put into a bucket to its bytes.
pub(super) const OBJECTS: TableDefinition<'_, &[u8], u64> = TableDefinition::new("objects");
/// Job to the bucket that its outputs go to, where it might have been any.
pub(super) const PLACES: TableDefinition<'_, JobKey, &str> = TableDefinition::new("places");
/// Number of a notification that is not delivered yet to what it is.
pub(super) const DELIVERIES: TableDefinition<'_, u64, Row> = TableDefinition::new("deliveries");
/// Watched folders.
pub(super) const FOLDERS: TableDefinition<'_, u64, Row> = TableDefinition::new("folders");
/// Watched folder and path to the file that was submitted from there.
pub(super) const FOLDER_FILES: TableDefinition<'_, (u64, &[u8]), Row> = TableDefinition::new("folder_files");
/// Watched folder to what is being submitted from it.
pub(super) const FOLDER_SENDS: TableDefinition<'_, u64, Row> = TableDefinition::new("folder_sends");
