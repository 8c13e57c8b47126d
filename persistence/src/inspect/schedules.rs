//! What doctors offer, by weekday.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::Weekday;
use engine::calendar::InvalidSlot;
use engine::{DoctorId, SlotSpan};

use super::{Finding, Missing, Session};
use crate::dynamo::items::{Item, text, text_of};
use crate::dynamo::{AccountKind, keys, request_failure};
use crate::scan::ScanError;

/// What a bug of the old platform put before a weekday.
const OLD_BUG: &str = "WeekDay.";
const WEEKDAYS: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

/// The rows of one weekday, as they go by.
#[derive(Default)]
struct Day {
    partition: String,
    spans: Vec<SlotSpan>,
    /// What to say of each of its rows' keys.
    key: Option<Finding>,
}

impl Session<'_> {
    pub(super) async fn schedules(&mut self, missing: &Missing) -> Result<(), ScanError> {
        let table = self.given.dynamo.tables().availability.clone();
        let Some(mut rows) = self.rows(&table, missing).await? else { return Ok(()) };
        let mut day = Day::default();
        while let Some(page) = self.page(&mut rows).await? {
            let doctors = page.iter().filter_map(|row| doctor_of(row)).filter(|doctor| is_id(doctor));
            self.known.ask(AccountKind::Doctor, doctors).await?;
            for row in &page {
                let partition = text_of(row, keys::PK).unwrap_or_default();
                if partition != day.partition {
                    self.end_weekday(&table, &day);
                    let key = self.key_finding(&table, partition).await?;
                    day = Day { partition: partition.to_owned(), spans: Vec::new(), key };
                }
                self.schedule_row(&table, row, &mut day);
            }
        }
        self.end_weekday(&table, &day);
        Ok(())
    }

    /// What is odd about a weekday's key.
    async fn key_finding(&self, table: &str, partition: &str) -> Result<Option<Finding>, ScanError> {
        let (doctor, weekday) = keys::split_bookings_partition(partition);
        let name = weekday.strip_prefix(OLD_BUG).unwrap_or(weekday);
        let known = WEEKDAYS.into_iter().find(|weekday| keys::weekday_name(*weekday) == name);
        let (Some(known), Ok(doctor)) = (known, DoctorId::parse(doctor)) else {
            return Ok(Some(Finding::ScheduleKeyUnreadable));
        };
        if name == weekday {
            return Ok(None);
        }
        self.given.pace.take(1).await;
        let query = self
            .dynamo
            .client()
            .query()
            .table_name(table)
            .key_condition_expression(keys::IN_PARTITION)
            .expression_attribute_values(keys::PARTITION_VALUE, text(keys::weekday_partition(&doctor, known)))
            .limit(1);
        let found = query.send().await.map_err(|error| ScanError::new(table, request_failure(&error)))?;
        let is_shadowed = found.count() > 0;
        Ok(Some(if is_shadowed { Finding::ScheduleKeyShadowed } else { Finding::ScheduleKeyOfOldBug }))
    }

    fn schedule_row(&mut self, table: &str, row: &Item, day: &mut Day) {
        let sort = text_of(row, keys::SK).unwrap_or_default();
        let key = format!("{} {sort}", day.partition);
        if let Some(finding) = day.key {
            self.note(finding, table, &key);
        }
        let is_of_nobody = doctor_of(row)
            .is_some_and(|doctor| is_id(doctor) && !self.known.is_known(AccountKind::Doctor, doctor));
        if is_of_nobody {
            self.note(Finding::ScheduleOfNobody, table, &key);
        }
        let span = sort.split_once('-').ok_or(InvalidSlot::NotATime);
        match span.and_then(|(start, end)| SlotSpan::parse(start, end).map(|span| (span, end))) {
            Ok((span, end)) => {
                if !span.is_one_slot() {
                    self.note(Finding::SpanLong, table, &key);
                }
                if end == keys::OLD_MIDNIGHT {
                    self.note(Finding::MidnightAsZero, table, &key);
                }
                day.spans.push(span);
            }
            Err(InvalidSlot::OffGrid) => self.note(Finding::SpanOffGrid, table, &key),
            Err(InvalidSlot::NotATime | InvalidSlot::Reversed) => {
                self.note(Finding::SpanUnreadable, table, &key);
            }
        }
        match row.get(keys::AVAILABLE) {
            None | Some(AttributeValue::Null(_) | AttributeValue::Bool(true)) => {}
            Some(AttributeValue::Bool(false)) => self.note(Finding::AvailabilityFalse, table, &key),
            Some(_) => self.note(Finding::AvailabilityUnreadable, table, &key),
        }
    }

    fn end_weekday(&mut self, table: &str, day: &Day) {
        let overlap = |(index, span): (usize, &SlotSpan)| {
            day.spans[index + 1..].iter().any(|other| span.overlaps(*other))
        };
        if day.spans.iter().enumerate().any(overlap) {
            self.note(Finding::SpansOverlap, table, &day.partition);
        }
    }
}

fn doctor_of(row: &Item) -> Option<&str> {
    text_of(row, keys::PK).map(|partition| keys::split_bookings_partition(partition).0)
}

fn is_id(doctor: &str) -> bool {
    DoctorId::parse(doctor).is_ok()
}
