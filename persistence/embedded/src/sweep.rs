//! What is deleted by and by: items that have expired, and the rows of tables that are gone. A little at a time, with requests in
//! between.
//!
//! Nothing is kept in the order of expiry: that would be a row more to write for each booking, and nobody minds when an item goes
//! some minutes late (DynamoDB itself takes days). A sweep looks through tables, as far as it is told to, and the next goes on
//! from there.

use std::sync::{Arc, PoisonError};

use crate::database::Inner;
use crate::error::Refusal;
use crate::key;
use crate::storage::Slice;
use crate::table::Table;
use crate::tables::{deleted, deleted_row};
use crate::value::Item;

/// Rows that are deleted under one hold of the lock, which is less than a millisecond.
const STEP: usize = 100;
/// Rows that are looked at in one go, without a lock.
const LOOK: usize = 1000;
/// Items that expired longer ago than this are left alone, as in DynamoDB: somebody may have meant another unit of time.
const FIVE_YEARS: u64 = 5 * 365 * 24 * 60 * 60;

/// Where the next sweep goes on: after this row of the table in this slot.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(crate) struct Cursor {
    slot: u16,
    row: Vec<u8>,
}

impl Inner {
    /// Looks at so many rows at most, and says how many of them have expired.
    pub(crate) async fn sweep(&self, rows: usize) -> Result<usize, Refusal> {
        for slot in deleted(self.commits.storage())? {
            self.delete_rows(slot).await?;
        }
        let now = self.now() / 1000;
        let mut tables = self.tables.all();
        tables.retain(|table| table.stored.expiry.is_some());
        tables.sort_by_key(|table| table.slot());
        let mut cursor = self.swept.lock().unwrap_or_else(PoisonError::into_inner).clone();
        // The table in which the last sweep ended comes first and, as far as it was not looked at then, last.
        let first = tables.iter().position(|table| table.slot() >= cursor.slot).unwrap_or_default();
        tables.rotate_left(first);
        if !cursor.row.is_empty() {
            tables.extend(tables.first().cloned());
        }
        let (mut left, mut expired) = (rows, 0);
        for table in tables {
            if cursor.slot != table.slot() {
                cursor = Cursor { slot: table.slot(), row: Vec::new() };
            }
            let (looked, gone) = self.sweep_table(&table, &mut cursor, left, now).await?;
            left -= looked;
            expired += gone;
            if left == 0 {
                break;
            }
            cursor = Cursor::default();
        }
        *self.swept.lock().unwrap_or_else(PoisonError::into_inner) = cursor;
        Ok(expired)
    }

    /// Looks at so many rows of a table at most; how many there were, and how many of them had expired.
    async fn sweep_table(
        &self,
        table: &Arc<Table>,
        cursor: &mut Cursor,
        rows: usize,
        now: u64,
    ) -> Result<(usize, usize), Refusal> {
        let prefix = key::slot(table.slot());
        let until = key::after(&prefix);
        let is_over = |item: &Item<'_>| {
            table.expires(item).is_some_and(|at| at < now && at > now.saturating_sub(FIVE_YEARS))
        };
        let (mut looked, mut expired) = (0, 0);
        while looked < rows {
            let mut start = if cursor.row.is_empty() { prefix.clone() } else { cursor.row.clone() };
            // The least key after it.
            start.push(0);
            let found = self.some(&start, &until, LOOK.min(rows - looked))?;
            let Some((last, _)) = found.last() else { break };
            cursor.row = last.to_vec();
            looked += found.len();
            let mut over = Vec::new();
            for (row, value) in found {
                match Item::stored(&value) {
                    Ok(item) if is_over(&item) => over.push(row),
                    Ok(_) => {}
                    // It stays, and those behind it have their turn.
                    Err(_) => {
                        tracing::warn!("a stored item cannot be read, and is not looked at for its expiry")
                    }
                }
            }
            for over in over.chunks(STEP) {
                let deleted = self.commits.write(|pending| {
                    let mut deleted = Vec::new();
                    let mut count = 0;
                    for row in over.iter().filter(|_| self.tables.has(table)) {
                        let Some(value) = pending.get(row)? else { continue };
                        let item = Item::stored(&value)?;
                        // It may be another one by now.
                        if is_over(&item) {
                            deleted.extend(table.companions(&item, row).into_iter().map(Slice::from));
                            deleted.push(row.clone());
                            count += 1;
                        }
                    }
                    for row in deleted {
                        pending.set(row, None);
                    }
                    Ok(count)
                });
                expired += deleted.answer().await?;
            }
        }
        Ok((looked, expired))
    }

    /// Deletes the rows in the slot of a table that is gone, and then that there may be any.
    pub(crate) async fn delete_rows(&self, slot: u16) -> Result<(), Refusal> {
        // What was under way when the table went is on the disk after this.
        self.barrier().await?;
        let prefix = key::slot(slot);
        loop {
            let rows = self.some(&prefix, &key::after(&prefix), STEP)?;
            let is_done = rows.is_empty();
            let deleted = self.commits.write(|pending| {
                for (row, _) in rows {
                    pending.set(row, None);
                }
                if is_done {
                    pending.set(deleted_row(slot), None);
                }
                Ok(())
            });
            deleted.answer().await?;
            if is_done {
                return Ok(());
            }
        }
    }

    /// Waits until everything is on the disk that was decided before.
    pub(crate) async fn barrier(&self) -> Result<(), Refusal> {
        self.commits.write(|_| Ok(())).answer().await
    }

    /// The first rows from `from` on and before `until`.
    fn some(&self, from: &[u8], until: &[u8], count: usize) -> Result<Vec<(Slice, Slice)>, Refusal> {
        let mut some = Vec::new();
        self.commits.storage().view(&mut |view| {
            some = view.range(from.to_vec()..until.to_vec(), false).take(count).collect::<Result<_, _>>()?;
            Ok(())
        })?;
        Ok(some)
    }
}
