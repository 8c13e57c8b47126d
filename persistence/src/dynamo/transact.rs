//! One batch as one `TransactWriteItems`, and the reasons of a cancelled one back to fences and events.
//!
//! The fence's condition is checked here; why the epoch grows is told in `engine/src/shard/range.rs`.

#[cfg(test)]
mod tests;

use aws_sdk_dynamodb::types::CancellationReason;
use engine::calendar::Change;
use engine::store::{Batch, FenceCheck, Reason, Reasons};
use engine::{DoctorId, EventId};

use super::items::{event_of, write_booking, write_schedule};
use super::keys;
use super::transaction::Transaction;
use crate::tables::TableNames;

/// A batch as actions, in the order in which the store reports their reasons: fences first, then events.
pub(super) struct Plan {
    /// What is sent.
    pub(super) transaction: Transaction,
    /// Whose actions they are.
    pub(super) shape: Shape,
}

/// Which actions of a transaction belong to which part of its batch.
pub(super) struct Shape {
    checks: usize,
    /// For each event, how many actions it became.
    events: Vec<usize>,
}

impl Plan {
    /// Translates a batch.
    pub(super) fn of(tables: &TableNames, batch: &Batch) -> Self {
        let mut transaction = Transaction::new(batch.checks.len() + batch.events.len());
        for check in &batch.checks {
            push_check(tables, *check, &mut transaction);
        }
        let mut events = Vec::with_capacity(batch.events.len());
        for event in &batch.events {
            let before = transaction.actions();
            for change in &event.event.changes {
                push_change(tables, &event.doctor, event.id, change, &mut transaction);
            }
            events.push(transaction.actions() - before);
        }
        Self { transaction, shape: Shape { checks: batch.checks.len(), events } }
    }
}

impl Shape {
    /// Gives each fence and event the worst reason of its actions; `None` when there are not as many reasons
    /// as actions.
    pub(super) fn attribute(&self, reasons: &[CancellationReason]) -> Option<Reasons> {
        let (checks, mut rest) = reasons.split_at_checked(self.checks)?;
        let mut events = Vec::with_capacity(self.events.len());
        for actions in &self.events {
            let (own, others) = rest.split_at_checked(*actions)?;
            events.push(own.iter().map(reason_of).max_by_key(severity).unwrap_or(Reason::Innocent));
            rest = others;
        }
        let all_told = rest.is_empty();
        all_told.then(|| Reasons { checks: checks.iter().map(reason_of).collect(), events })
    }
}

fn push_check(tables: &TableNames, check: FenceCheck, transaction: &mut Transaction) {
    transaction.check(&tables.engine, |action| {
        action.key(|key| key.text(keys::PK, keys::fence_partition(check.range)));
        action.condition(keys::EPOCH_STANDS);
        action.values(|values| values.number(keys::EPOCH_VALUE, check.epoch.get()));
    });
}

/// Writes a change as one action for each row, with its condition.
fn push_change(
    tables: &TableNames,
    doctor: &DoctorId,
    id: EventId,
    change: &Change,
    transaction: &mut Transaction,
) {
    match change {
        Change::SeatTaken(booking) => transaction.put(&tables.bookings, |put| {
            put.item(|row| write_booking(doctor, id, booking, row));
            put.condition(keys::IS_ABSENT);
            // So that our own earlier success can be told from it.
            put.returns_what_is_there();
        }),
        Change::SeatFreed { booking, spellings } => {
            for spelling in spellings.iter() {
                transaction.delete(&tables.bookings, |delete| {
                    delete.key(|key| {
                        key.text(keys::PK, keys::bookings_partition(doctor, booking.date, spelling));
                        key.text(keys::SK, keys::booking_sort(booking.start, &booking.user));
                    });
                    delete.condition(keys::IS_PRESENT);
                });
            }
        }
        Change::HoursSet { weekday, rows } => {
            let partition = keys::weekday_partition(doctor, *weekday);
            for row in rows {
                transaction.put(&tables.availability, |put| {
                    put.item(|item| write_schedule(&partition, *row, item));
                });
            }
        }
    }
}

/// Codes: API reference, `TransactWriteItems`, "`TransactionCanceledException`". One that is not listed there
/// is taken as nobody's fault: the others are sent again, a bounded number of times.
fn reason_of(reason: &CancellationReason) -> Reason {
    match reason.code() {
        None | Some("None") => Reason::Innocent,
        Some("ConditionalCheckFailed") => {
            Reason::ConditionFailed { found: reason.item.as_ref().and_then(event_of) }
        }
        Some("ValidationError" | "ItemCollectionSizeLimitExceeded") => Reason::Invalid,
        Some("TransactionConflict" | "ProvisionedThroughputExceeded" | "ThrottlingError") | Some(_) => {
            Reason::Transient
        }
    }
}

/// Which of two reasons of one event decides: what can never succeed, then what did not hold, then what may
/// pass.
const fn severity(reason: &Reason) -> u8 {
    match reason {
        Reason::Innocent => 0,
        Reason::Transient => 1,
        Reason::ConditionFailed { .. } => 2,
        Reason::Invalid => 3,
    }
}
