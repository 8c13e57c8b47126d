//! One batch as one `TransactWriteItems`, and the reasons of a cancelled one back to fences and events.
//!
//! The fence's condition is checked here; why the epoch grows is told in `engine/src/shard/range.rs`.

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    CancellationReason, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use engine::DoctorId;
use engine::calendar::{Booking, Event, ScheduleRow, SpellingSet};
use engine::store::{Batch, BatchEvent, FenceCheck, Reason, Reasons};

use super::items::{Item, booking_item, event_of, number, schedule_item, text};
use super::keys;
use crate::tables::TableNames;

/// A batch as actions, in the order in which the store reports their reasons: fences first, then events.
pub(super) struct Plan {
    /// What is sent.
    pub(super) actions: Vec<TransactWriteItem>,
    /// Whose they are.
    pub(super) shape: Shape,
}

/// Which actions of a transaction belong to which part of its batch.
pub(super) struct Shape {
    checks: usize,
    /// For each event, how many actions it became.
    events: Vec<usize>,
}

impl Plan {
    /// Translates a batch. Fails only when an action lacks what the SDK requires.
    pub(super) fn of(tables: &TableNames, batch: &Batch) -> Result<Self, BuildError> {
        let mut actions = Vec::with_capacity(batch.checks.len() + batch.events.len());
        for check in &batch.checks {
            actions.push(fence_check(tables, *check)?);
        }
        let mut events = Vec::with_capacity(batch.events.len());
        for event in &batch.events {
            let before = actions.len();
            push_event(tables, event, &mut actions)?;
            events.push(actions.len() - before);
        }
        Ok(Self { actions, shape: Shape { checks: batch.checks.len(), events } })
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

fn fence_check(tables: &TableNames, check: FenceCheck) -> Result<TransactWriteItem, BuildError> {
    let check = ConditionCheck::builder()
        .table_name(&tables.engine)
        .key(keys::PK, text(keys::fence_partition(check.range)))
        .condition_expression(keys::EPOCH_STANDS)
        .expression_attribute_values(keys::EPOCH_VALUE, number(check.epoch.get()))
        .build()?;
    Ok(TransactWriteItem::builder().condition_check(check).build())
}

fn push_event(
    tables: &TableNames,
    BatchEvent { doctor, id, event }: &BatchEvent,
    actions: &mut Vec<TransactWriteItem>,
) -> Result<(), BuildError> {
    match event {
        Event::Booked(booking) => {
            let put = put_booking(tables, booking_item(doctor, *id, booking))?;
            actions.push(TransactWriteItem::builder().put(put).build());
        }
        Event::Cancelled { booking, spellings } => {
            for delete in delete_bookings(tables, doctor, booking, *spellings) {
                actions.push(TransactWriteItem::builder().delete(delete?).build());
            }
        }
        Event::ScheduleSet { weekday, rows } => {
            let partition = keys::weekday_partition(doctor, *weekday);
            for row in rows {
                let put = put_schedule(tables, partition.clone(), *row)?;
                actions.push(TransactWriteItem::builder().put(put).build());
            }
        }
    }
    Ok(())
}

/// The item that is in the way comes back with the failure, so that our own earlier success can be told from
/// it.
fn put_booking(tables: &TableNames, item: Item) -> Result<Put, BuildError> {
    Put::builder()
        .table_name(&tables.bookings)
        .set_item(Some(item))
        .condition_expression(keys::IS_ABSENT)
        .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld)
        .build()
}

fn delete_bookings(
    tables: &TableNames,
    doctor: &DoctorId,
    booking: &Booking,
    spellings: SpellingSet,
) -> impl Iterator<Item = Result<Delete, BuildError>> {
    spellings.iter().map(move |spelling| {
        Delete::builder()
            .table_name(&tables.bookings)
            .key(keys::PK, text(keys::bookings_partition(doctor, booking.date, spelling)))
            .key(keys::SK, text(keys::booking_sort(booking.start, &booking.user)))
            .condition_expression(keys::IS_PRESENT)
            .build()
    })
}

fn put_schedule(tables: &TableNames, partition: String, row: ScheduleRow) -> Result<Put, BuildError> {
    Put::builder().table_name(&tables.availability).set_item(Some(schedule_item(partition, row))).build()
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

#[cfg(test)]
mod tests {
    use super::*;

    fn reasons(codes: &[&str]) -> Vec<CancellationReason> {
        codes.iter().map(|code| CancellationReason::builder().code(*code).build()).collect()
    }

    #[test]
    fn each_reason_reaches_its_fence_or_event_and_the_worst_one_counts() {
        let shape = Shape { checks: 2, events: vec![1, 3, 2] };
        let codes = [
            "None",
            "ConditionalCheckFailed",
            "TransactionConflict",
            "None",
            "ConditionalCheckFailed",
            "ThrottlingError",
            "ValidationError",
            "ConditionalCheckFailed",
        ];
        let failed = Reason::ConditionFailed { found: None };
        assert_eq!(
            shape.attribute(&reasons(&codes)),
            Some(Reasons {
                checks: vec![Reason::Innocent, failed],
                events: vec![Reason::Transient, failed, Reason::Invalid],
            })
        );
    }

    #[test]
    fn a_list_of_another_length_says_nothing() {
        let shape = Shape { checks: 1, events: vec![1, 2] };
        for count in [0, 1, 3, 5] {
            assert_eq!(shape.attribute(&reasons(&vec!["None"; count])), None, "{count} reasons");
        }
    }

    #[test]
    fn an_unheard_of_reason_is_nobodys_fault() {
        for code in ["ProvisionedThroughputExceeded", "RequestLimitExceeded", "Unheard-of"] {
            assert_eq!(
                reason_of(&CancellationReason::builder().code(code).build()),
                Reason::Transient,
                "{code}"
            );
        }
    }
}
