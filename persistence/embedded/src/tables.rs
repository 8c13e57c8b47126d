//! All tables: in memory, as they are stored, and their way there and back.

use std::sync::{Arc, PoisonError, RwLock};

use foldhash::{HashMap, HashMapExt};

use crate::commit::Pending;
use crate::error::Refusal;
use crate::key::{self, META};
use crate::storage::{Failed, Slice, Storage};
use crate::table::{Stored, Table};

/// Where definitions lie, by their names.
const DEFINITIONS: u8 = 0;
/// Where the next free slot is told. None is used twice.
const NEXT: u8 = 1;
/// Where the slots are told of tables that are deleted, and whose rows are not yet.
const DELETED: u8 = 2;

/// Tables by their names. Changed only under the lock of [`crate::commit`].
#[derive(Debug, Default)]
pub(crate) struct Tables(RwLock<HashMap<String, Arc<Table>>>);

impl Tables {
    /// Reads all of them from the storage.
    pub(crate) fn load(&self, storage: &dyn Storage) -> Result<(), Failed> {
        let mut loaded = HashMap::new();
        storage.view(&mut |view| {
            for row in view.range(key::under(&meta(DEFINITIONS)), false) {
                let (_, value) = row?;
                let stored: Option<Stored> = serde_json::from_slice(&value).ok();
                let Some(table) = stored.and_then(|stored| Table::new(stored).ok()) else {
                    tracing::error!("the definition of a table cannot be read");
                    return Err(Failed);
                };
                loaded.insert(table.name().to_owned(), Arc::new(table));
            }
            Ok(())
        })?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }

    pub(crate) fn get(&self, name: &str) -> Result<Arc<Table>, Refusal> {
        let found = self.0.read().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        found.ok_or_else(|| Refusal::NoTable("Requested resource not found".to_owned()))
    }

    /// Whether the table is still the one that it was.
    pub(crate) fn has(&self, table: &Arc<Table>) -> bool {
        let tables = self.0.read().unwrap_or_else(PoisonError::into_inner);
        tables.get(table.name()).is_some_and(|current| Arc::ptr_eq(current, table))
    }

    /// Their names, in order.
    pub(crate) fn names(&self) -> Vec<String> {
        let tables = self.0.read().unwrap_or_else(PoisonError::into_inner);
        let mut names: Vec<String> = tables.keys().cloned().collect();
        names.sort();
        names
    }

    pub(crate) fn all(&self) -> Vec<Arc<Table>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).values().cloned().collect()
    }

    /// Slots for a new table.
    pub(crate) fn slots(&self, count: u16, pending: &mut Pending<'_>) -> Result<u16, Refusal> {
        let row = meta(NEXT);
        let told = pending.get(&row)?.and_then(|bytes| bytes.as_ref().try_into().ok());
        let first = told.map_or(key::META + 1, u16::from_be_bytes);
        let next = first + count;
        if next > key::SLOTS {
            return Err(Refusal::invalid("this store has had too many tables"));
        }
        pending.set(row, Some(Slice::from(next.to_be_bytes())));
        Ok(first)
    }

    /// Stores a new table, or another definition of one.
    pub(crate) fn set(&self, table: Table, pending: &mut Pending<'_>) -> Result<Arc<Table>, Refusal> {
        let bytes = serde_json::to_vec(&table.stored)?;
        pending.set(definition_row(table.name()), Some(bytes.into()));
        let table = Arc::new(table);
        let mut tables = self.0.write().unwrap_or_else(PoisonError::into_inner);
        tables.insert(table.name().to_owned(), Arc::clone(&table));
        Ok(table)
    }

    /// Deletes a table; its rows are to follow.
    pub(crate) fn remove(&self, name: &str, pending: &mut Pending<'_>) -> Option<Arc<Table>> {
        let removed = self.0.write().unwrap_or_else(PoisonError::into_inner).remove(name)?;
        pending.set(definition_row(name), None);
        for slot in removed.slots() {
            pending.set(deleted_row(slot), Some(Slice::from([])));
        }
        Some(removed)
    }
}

fn meta(kind: u8) -> Vec<u8> {
    let mut row = key::slot(META);
    row.push(kind);
    row
}

fn definition_row(name: &str) -> Vec<u8> {
    let mut row = meta(DEFINITIONS);
    row.extend(name.as_bytes());
    row
}

/// Says that rows may be left in the slot of a deleted table.
pub(crate) fn deleted_row(slot: u16) -> Vec<u8> {
    let mut row = meta(DELETED);
    row.extend(slot.to_be_bytes());
    row
}

/// The slots of deleted tables in which rows may be left.
pub(crate) fn deleted(storage: &dyn Storage) -> Result<Vec<u16>, Failed> {
    let prefix = meta(DELETED);
    let mut deleted = Vec::new();
    storage.view(&mut |view| {
        for row in view.range(key::under(&prefix), false) {
            let (row, _) = row?;
            deleted.extend(row[prefix.len()..].try_into().ok().map(u16::from_be_bytes));
        }
        Ok(())
    })?;
    Ok(deleted)
}
