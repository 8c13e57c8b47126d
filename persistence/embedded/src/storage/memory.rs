//! Rows in memory.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{PoisonError, RwLock};

use super::{Failed, Found, Rows, Slice, Storage, View};

#[derive(Debug, Default)]
pub(crate) struct Memory(RwLock<BTreeMap<Slice, Slice>>);

impl Storage for Memory {
    fn get(&self, key: &[u8]) -> Result<Option<Slice>, Failed> {
        Ok(self.0.read().unwrap_or_else(PoisonError::into_inner).get(key).cloned())
    }

    fn view(&self, look: &mut dyn FnMut(&dyn View) -> Result<(), Failed>) -> Result<(), Failed> {
        look(&*self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn write(&self, rows: &Rows) -> Result<(), Failed> {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for (key, value) in rows {
            match value {
                Some(value) => all.insert(key.clone(), value.clone()),
                None => all.remove(key),
            };
        }
        Ok(())
    }

    fn recover(&self) -> Result<(), Failed> {
        Ok(())
    }

    fn close(&self) {}
}

impl View for BTreeMap<Slice, Slice> {
    fn get(&self, key: &[u8]) -> Result<Option<Slice>, Failed> {
        Ok(BTreeMap::get(self, key).cloned())
    }

    fn range<'v>(&'v self, keys: Range<Vec<u8>>, backwards: bool) -> Found<'v> {
        if keys.is_empty() {
            return Box::new(std::iter::empty());
        }
        let found = BTreeMap::range::<[u8], _>(
            self,
            (std::ops::Bound::Included(&*keys.start), std::ops::Bound::Excluded(&*keys.end)),
        );
        let found = found.map(|(key, value)| Ok((key.clone(), value.clone())));
        if backwards { Box::new(found.rev()) } else { Box::new(found) }
    }
}
