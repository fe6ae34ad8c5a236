//! Recovery: what is unfinished, read back at a daemon's start. Knows nothing of what has ended.

use redb::{Database, ReadTransaction, ReadableDatabase, ReadableTable};
use spindle_core::api::Used;
use spindle_core::change::{Recovered, RecoveredBatch};
use spindle_core::outbox::Delivery;
use spindle_core::rates::{Rate, RateKey};
use spindle_shared::batch::state_of;
use spindle_shared::id::{BatchId, Owner};

use super::{StoreError, rows, tables, write};

pub(super) fn load(database: &Database) -> Result<Recovered, StoreError> {
    let boot = count_boot(database)?;
    let transaction = database.begin_read()?;
    let meta = transaction.open_table(tables::META)?;
    let number = |name| meta.get(name).map(|value| value.map(|value| value.value()));
    let next_batch = number(tables::META_NEXT_BATCH)?.unwrap_or(1);
    let paused = number(tables::META_PAUSED)? == Some(1);

    let mut batches = Vec::new();
    for entry in transaction.open_table(tables::UNFINISHED)?.iter()? {
        batches.extend(batch(&transaction, entry?.0.value())?);
    }
    let rates = rates(&transaction)?;
    let spent = spent(&transaction)?;
    let apis = apis(&transaction)?;
    let deliveries = deliveries(&transaction)?;
    let next_delivery = number(tables::META_NEXT_DELIVERY)?.unwrap_or(0);
    Ok(Recovered { boot, next_batch, paused, batches, rates, spent, apis, deliveries, next_delivery })
}

pub(super) fn spent(transaction: &ReadTransaction) -> Result<Vec<(Owner, u64, f64)>, StoreError> {
    let table = transaction.open_table(tables::QUOTAS)?;
    let rows = table.iter()?.map(|entry| {
        let (owner, spent) = entry?;
        let (day, seconds) = spent.value();
        Ok((Owner(owner.value()), day, seconds))
    });
    rows.collect()
}

fn deliveries(transaction: &ReadTransaction) -> Result<Vec<Delivery>, StoreError> {
    let table = transaction.open_table(tables::DELIVERIES)?;
    let rows = table.iter()?.map(|entry| {
        let (id, row) = entry?;
        rows::read_delivery(id.value(), row.value())
    });
    rows.collect()
}

fn apis(transaction: &ReadTransaction) -> Result<Vec<(String, u32, Used)>, StoreError> {
    let table = transaction.open_table(tables::APIS)?;
    let rows = table.iter()?.map(|entry| {
        let (key, row) = entry?;
        let (name, number) = key.value();
        Ok((name.to_owned(), number, rows::read_api(row.value())?))
    });
    rows.collect()
}

pub(super) fn rates(transaction: &ReadTransaction) -> Result<Vec<(RateKey, Rate)>, StoreError> {
    let table = transaction.open_table(tables::RATES)?;
    let rows = table.iter()?.map(|entry| {
        let (key, row) = entry?;
        let (kind, model) = key.value();
        Ok((RateKey { kind: kind.to_owned(), model: model.to_owned() }, rows::read_rate(row.value())?))
    });
    rows.collect()
}

/// One batch with what is open of it; `None` = there is no such batch.
pub(super) fn batch(transaction: &ReadTransaction, id: u64) -> Result<Option<RecoveredBatch>, StoreError> {
    let missing = |table| StoreError::Row { table, reason: format!("batch {id} has none") };
    let rows_of_batches = transaction.open_table(tables::BATCHES)?;
    let Some(row) = rows_of_batches.get(id)? else { return Ok(None) };
    let stored = rows::read_batch(row.value())?;
    let statuses = transaction.open_table(tables::STATUSES)?;
    let status = rows::read_status(statuses.get(id)?.ok_or_else(|| missing("statuses"))?.value())?;
    // Room for what the counts say and no more: there may be a million.
    let expected = (status.counts.total() - status.counts.ended()).min(stored.total);
    let mut open = Vec::with_capacity(expected as usize);
    for entry in transaction.open_table(tables::OPEN)?.range((id, 0)..=(id, u32::MAX))? {
        let (key, row) = entry?;
        open.push((key.value().1, rows::read_open(row.value())?));
    }
    let after = stored.spec.terms.after.iter().map(|after| {
        let status = statuses.get(after.batch.0)?.map(|row| rows::read_status(row.value())).transpose()?;
        let end = status.filter(|status| status.finished_at.is_some());
        Ok((after.batch, end.map(|status| state_of(&status.counts, status.gather, status.paused, status.cancelling))))
    });
    let after = after.collect::<Result<_, StoreError>>()?;
    let sizes = transaction.open_table(tables::SIZES)?;
    let sizes = sizes.get(id)?.map(|row| rows::read_sizes(row.value())).transpose()?;
    Ok(Some(RecoveredBatch {
        id: BatchId(id),
        owner: stored.owner,
        spec: stored.spec,
        created_at: stored.created_at,
        status,
        total: stored.total,
        open,
        sizes: sizes.unwrap_or_default(),
        after,
    }))
}

/// Durable before anything is started under this number. Tables that an earlier Spindle did not have are there afterwards.
fn count_boot(database: &Database) -> Result<u64, StoreError> {
    let transaction = write::begin(database)?;
    write::create_tables(&transaction)?;
    let boot = {
        let mut meta = transaction.open_table(tables::META)?;
        let last = meta.get(tables::META_BOOT)?.map_or(0, |value| value.value());
        meta.insert(tables::META_BOOT, last + 1)?;
        last + 1
    };
    transaction.commit()?;
    Ok(boot)
}
