//! Rows in memory.

use std::collections::BTreeSet;
use std::ops::{Bound, Range};
use std::sync::{PoisonError, RwLock};

use foldhash::HashMap;

use super::{Failed, Found, Rows, Slice, Storage, View};

#[derive(Default)]
pub(crate) struct Memory(RwLock<Sorted>);

/// Rows, and their keys in order. A row is found by its hash: to compare a key with one of each level of a tree is to wait for memory
/// twenty times when there are a million.
#[derive(Default)]
struct Sorted {
    rows: HashMap<Slice, Slice>,
    keys: BTreeSet<Slice>,
}

impl Storage for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Slice>, Failed> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).get(key)
    }

    fn view(&self, look: &mut dyn FnMut(&dyn View) -> Result<(), Failed>) -> Result<(), Failed> {
        look(&*self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, rows: &Rows) -> Result<(), Failed> {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in rows {
            match value {
                Some(value) => all.insert(key, value),
                None => all.remove(key),
            }
        }
        Ok(())
    }

    fn recover(&self) -> Result<(), Failed> {
        Ok(())
    }

    fn close(&self) {}
}

impl Sorted {
    fn insert(&mut self, key: &Slice, value: &Slice) {
        if self.rows.insert(key.clone(), value.clone()).is_none() {
            self.keys.insert(key.clone());
        }
    }

    fn remove(&mut self, key: &Slice) {
        if self.rows.remove(key).is_some() {
            self.keys.remove(key);
        }
    }
}

impl View for Sorted {
    fn get(&self, key: &[u8]) -> Result<Option<Slice>, Failed> {
        Ok(self.rows.get(key).cloned())
    }

    fn range<'v>(&'v self, keys: Range<Vec<u8>>, backwards: bool) -> Found<'v> {
        if keys.is_empty() {
            return Box::new(std::iter::empty());
        }
        let found = self.keys.range::<[u8], _>((Bound::Included(&*keys.start), Bound::Excluded(&*keys.end)));
        let found = found.filter_map(|key| self.rows.get(key).map(|row| Ok((key.clone(), row.clone()))));
        if backwards { Box::new(found.rev()) } else { Box::new(found) }
    }
}
