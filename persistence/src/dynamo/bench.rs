//! The translation of a batch, for a bench to measure by itself.

use engine::store::Batch;

use super::transact::Plan;
use crate::tables::TableNames;

/// How many actions the batch becomes.
pub fn actions(tables: &TableNames, batch: &Batch) -> usize {
    Plan::of(tables, batch).transaction.actions()
}
