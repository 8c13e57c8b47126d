//! `engine::BookingStore` over DynamoDB: loads with consistent queries, commits with one transaction.

use aws_sdk_dynamodb::config::http::HttpResponse;
use aws_sdk_dynamodb::error::SdkError;
use aws_sdk_dynamodb::operation::query::builders::QueryFluentBuilder;
use aws_sdk_dynamodb::operation::transact_write_items::TransactWriteItemsError;
use chrono::{NaiveDate, Weekday};
use engine::calendar::{DateSpelling, Part, ScheduleRow, StoredPart};
use engine::store::{Batch, CommitError, DateRows, LoadError, Reason};
use engine::{BookingStore, DoctorId};
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};

use super::error::{Failure, load_error};
use super::items::{read_booking, read_schedule, text};
use super::transact::{Plan, Shape};
use super::{Dynamo, all_rows, keys};

/// Bookings and schedules in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoBookings {
    dynamo: Dynamo,
}

impl DynamoBookings {
    pub(super) const fn new(dynamo: Dynamo) -> Self {
        Self { dynamo }
    }

    fn partition(&self, table: &str, partition: String) -> QueryFluentBuilder {
        partition_query(&self.dynamo, table, partition)
    }

    /// The bookings of a date, under each of its spellings.
    async fn date(&self, doctor: &DoctorId, date: NaiveDate) -> Result<DateRows, LoadError> {
        let table = &self.dynamo.tables.bookings;
        let of_spelling = DateSpelling::of(date).map(async |spelling| {
            let partition = keys::bookings_partition(doctor, date, spelling);
            Ok::<_, LoadError>((spelling, all_rows(self.partition(table, partition)).await?))
        });
        let mut rows = DateRows::default();
        for (spelling, items) in try_join_all(of_spelling).await? {
            for item in &items {
                read_booking(table, item, date, spelling, &mut rows);
            }
        }
        Ok(rows)
    }

    /// The published rows of a weekday; those under the old platform's key where the plain key has none.
    pub(crate) async fn hours(
        &self,
        doctor: &DoctorId,
        weekday: Weekday,
    ) -> Result<Vec<ScheduleRow>, LoadError> {
        let table = &self.dynamo.tables.availability;
        let mut items = all_rows(self.partition(table, keys::weekday_partition(doctor, weekday))).await?;
        if items.is_empty() {
            items = all_rows(self.partition(table, keys::old_weekday_partition(doctor, weekday))).await?;
        }
        Ok(items.iter().filter_map(|item| read_schedule(table, item)).collect())
    }
}

/// A strongly consistent query for all rows of a partition.
pub(super) fn partition_query(dynamo: &Dynamo, table: &str, partition: String) -> QueryFluentBuilder {
    dynamo
        .patient
        .query()
        .table_name(table)
        .consistent_read(true)
        .key_condition_expression(keys::IN_PARTITION)
        .expression_attribute_values(keys::PARTITION_VALUE, text(partition))
}

impl BookingStore for DynamoBookings {
    fn doctor_exists(&self, doctor: &DoctorId) -> BoxFuture<'static, Result<bool, LoadError>> {
        let request = self
            .dynamo
            .patient
            .get_item()
            .table_name(&self.dynamo.tables.doctors)
            .key(keys::EMAIL, text(doctor.as_str()))
            .projection_expression(keys::EMAIL)
            .consistent_read(true);
        async move { Ok(request.send().await.map_err(load_error)?.item.is_some()) }.boxed()
    }

    fn load(
        &self,
        doctor: &DoctorId,
        parts: &[Part],
    ) -> BoxFuture<'static, Result<Vec<StoredPart>, LoadError>> {
        let part = |part: &Part| {
            let (store, doctor, part) = (self.clone(), doctor.clone(), *part);
            async move {
                match part {
                    Part::Date(date) => Ok(StoredPart::Date(date, store.date(&doctor, date).await?)),
                    Part::Hours(weekday) => {
                        Ok(StoredPart::Hours(weekday, store.hours(&doctor, weekday).await?))
                    }
                }
            }
        };
        try_join_all(parts.iter().map(part)).boxed()
    }

    fn commit(&self, batch: &Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        let Plan { transaction, shape } = Plan::of(&self.dynamo.tables, batch);
        let (Dynamo { strict, own, .. }, token) = (self.dynamo.clone(), batch.token);
        async move {
            let sent = transaction.send(&strict, own.as_ref(), token);
            sent.await.map_err(|error| commit_error(&shape, &error))
        }
        .boxed()
    }
}

fn commit_error(shape: &Shape, error: &SdkError<TransactWriteItemsError, HttpResponse>) -> CommitError {
    let Some(TransactWriteItemsError::TransactionCanceledException(cancelled)) = error.as_service_error()
    else {
        return Failure::of(error).into_commit_error();
    };
    match shape.attribute(cancelled.cancellation_reasons()) {
        None => CommitError::Unknown("cancelled, with reasons that do not fit the actions".to_owned()),
        Some(reasons) => {
            let blamed = |reason: &Reason| *reason != Reason::Innocent;
            if reasons.checks.iter().chain(&reasons.events).any(blamed) {
                CommitError::Cancelled(reasons)
            } else {
                CommitError::Aborted("cancelled without a reason".to_owned())
            }
        }
    }
}
