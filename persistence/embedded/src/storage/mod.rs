//! Where rows are kept: in a folder, or in memory.

mod file;
mod journal;
mod memory;
mod prefill;
mod smooth;
#[cfg(test)]
mod tests;

use std::ops::Range;

use foldhash::HashMap;

pub(crate) use file::File;
pub use file::OpenError;
pub(crate) use memory::Memory;

/// Bytes that are shared, not copied.
pub(crate) type Slice = fjall::Slice;
/// Rows to write, all or none; without a value, to delete.
pub(crate) type Rows = HashMap<Slice, Option<Slice>>;

/// The storage cannot be read or written; who writes it knows why.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Failed;

/// Sorted rows.
pub(crate) trait Storage: Send + Sync {
    /// One row as it is now.
    fn get(&self, key: &[u8]) -> Result<Option<Slice>, Failed>;

    /// Looks at the rows of one moment.
    fn view(&self, look: &mut dyn FnMut(&dyn View) -> Result<(), Failed>) -> Result<(), Failed>;

    /// Writes all of them, or none. They are seen, and they outlive a power cut, when this returns; when it fails they are
    /// not there, and the storage must be [recovered](Self::recover) before it goes on.
    fn write(&self, rows: &Rows) -> Result<(), Failed>;

    /// Tries to have the storage again.
    fn recover(&self) -> Result<(), Failed>;

    /// Lets go of it, for good.
    fn close(&self);
}

/// The rows of one moment.
pub(crate) trait View {
    fn get(&self, key: &[u8]) -> Result<Option<Slice>, Failed>;

    /// Rows in order, or in the opposite order.
    fn range<'v>(&'v self, keys: Range<Vec<u8>>, backwards: bool) -> Found<'v>;
}

/// Rows, one after another.
pub(crate) type Found<'v> = Box<dyn Iterator<Item = Result<(Slice, Slice), Failed>> + 'v>;
