//! Items to values and back. What cannot be read is reported without its key, for keys are e-mail addresses,
//! and left as it is.

use std::collections::HashMap;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{Days, NaiveDate, NaiveTime};
use engine::calendar::{Booking, DateSpelling, ScheduleRow, SpellingSet};
use engine::limits::BOOKING_KEPT_DAYS;
use engine::shard::{FencingEpoch, Ring};
use engine::store::{Claim, DateRows, Fence, StoredSeat};
use engine::{DoctorId, EventId, IdempotencyKey, NodeId, SlotSpan, SlotStart, UserId};

use super::keys;
use super::transaction::Attributes;

/// A row as the SDK has it.
pub(crate) type Item = HashMap<String, AttributeValue>;

pub(crate) fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

pub(crate) fn number(value: impl ToString) -> AttributeValue {
    AttributeValue::N(value.to_string())
}

/// The attribute, if it is a string.
pub(crate) fn text_of<'a>(item: &'a Item, name: &str) -> Option<&'a str> {
    item.get(name).and_then(|value| value.as_s().ok()).map(String::as_str)
}

/// The attribute, if it is a number of this type.
pub(crate) fn number_of<N: std::str::FromStr>(item: &Item, name: &str) -> Option<N> {
    item.get(name).and_then(|value| value.as_n().ok()).and_then(|digits| digits.parse().ok())
}

/// Says that a row cannot be read, and why, without saying whose it is.
pub(super) fn report(table: &str, problem: impl std::fmt::Display) {
    tracing::warn!(table, %problem, "a stored row cannot be read and is left alone");
}

/// Writes the row of a new booking.
pub(super) fn write_booking(
    doctor: &DoctorId,
    event: EventId,
    Booking { user, date, start, key }: &Booking,
    row: &mut Attributes<'_>,
) {
    row.text(keys::PK, keys::bookings_partition(doctor, *date, DateSpelling::PLAIN));
    row.text(keys::SK, keys::booking_sort(*start, user));
    row.text(keys::DOCTOR_ID, doctor.as_str());
    row.text(keys::DATE, DateSpelling::PLAIN.write(*date));
    row.text(keys::START, start);
    row.text(keys::USER_ID, user.as_str());
    row.number(keys::TTL, kept_until(*date));
    row.text(keys::EVENT_ID, event);
    if let Some(key) = key {
        row.text(keys::IDEMPOTENCY_KEY, key.as_str());
    }
}

/// 00:00 UTC of the date, and then some days: API.md, "Tables".
fn kept_until(date: NaiveDate) -> i64 {
    let last = date.checked_add_days(Days::new(BOOKING_KEPT_DAYS)).unwrap_or(NaiveDate::MAX);
    last.and_time(NaiveTime::MIN).and_utc().timestamp()
}

/// The event that wrote a booking, unless the old platform did.
pub(super) fn event_of(item: &Item) -> Option<EventId> {
    text_of(item, keys::EVENT_ID).and_then(EventId::parse)
}

/// Takes in one stored booking. Its key alone says who holds which slot: the other attributes may be missing.
pub(super) fn read_booking(
    table: &str,
    item: &Item,
    date: NaiveDate,
    spelling: DateSpelling,
    rows: &mut DateRows,
) {
    let (start, user) = keys::split_booking_sort(text_of(item, keys::SK).unwrap_or_default());
    let start = match SlotStart::parse(start) {
        Ok(start) => start,
        Err(problem) => return report(table, problem),
    };
    match UserId::parse(user) {
        Ok(user) => {
            let key = text_of(item, keys::IDEMPOTENCY_KEY).and_then(|key| IdempotencyKey::parse(key).ok());
            rows.seats.push(StoredSeat {
                booking: Booking { user, date, start, key },
                spellings: SpellingSet::only(spelling),
                event: event_of(item),
            });
        }
        Err(problem) => {
            report(table, format_args!("a seat is held by nobody who can be named: {problem}"));
            rows.unreadable.push(start);
        }
    }
}

/// Writes the row of one published span.
pub(super) fn write_schedule(partition: &str, span: ScheduleRow, row: &mut Attributes<'_>) {
    row.text(keys::PK, partition);
    row.text(keys::SK, keys::schedule_sort(span));
    row.truth(keys::AVAILABLE, span.available);
}

/// Reads one published span. `available` is true when it is absent or NULL.
pub(super) fn read_schedule(table: &str, item: &Item) -> Option<ScheduleRow> {
    let span = text_of(item, keys::SK).and_then(|sort| sort.split_once('-'));
    let Some((start, end)) = span else {
        report(table, "a span is HH:MM-HH:MM");
        return None;
    };
    let span = match SlotSpan::parse(start, end) {
        Ok(span) => span,
        Err(problem) => {
            report(table, problem);
            return None;
        }
    };
    let available = match item.get(keys::AVAILABLE) {
        None | Some(AttributeValue::Null(_)) => true,
        Some(AttributeValue::Bool(available)) => *available,
        Some(_) => {
            report(table, "availability is neither true nor false; taken as not available");
            false
        }
    };
    Some(ScheduleRow { span, available, old_midnight: end == keys::OLD_MIDNIGHT })
}

/// What a claim makes of a fence item, beside its key.
pub(super) fn fence_attributes(
    claim: &Claim,
    epoch: FencingEpoch,
    ring: Ring,
) -> [(&'static str, AttributeValue); 4] {
    [
        (keys::OWNER, text(claim.node.to_string())),
        (keys::ADDRESS, text(claim.address.clone())),
        (keys::EPOCH, number(epoch.get())),
        (keys::RANGES, number(ring.size())),
    ]
}

/// Reads a fence item; the error says what is wrong with it.
pub(super) fn read_fence(item: &Item, ring: Ring) -> Result<Fence, String> {
    let partition = text_of(item, keys::PK).unwrap_or_default();
    let ranges: u16 =
        number_of(item, keys::RANGES).ok_or_else(|| format!("{partition} has no number of ranges"))?;
    let here = ring.size();
    if ranges != here {
        return Err(format!(
            "the doctors are cut into {ranges} ranges there and into {here} here: one would have two owners"
        ));
    }
    let epoch = number_of(item, keys::EPOCH).and_then(FencingEpoch::from_stored);
    Ok(Fence {
        range: keys::parse_fence_partition(partition, ring)
            .ok_or_else(|| format!("{partition} is no range"))?,
        owner: text_of(item, keys::OWNER)
            .and_then(NodeId::parse)
            .ok_or_else(|| format!("{partition} has no owner"))?,
        address: text_of(item, keys::ADDRESS).unwrap_or_default().to_owned(),
        epoch: epoch.ok_or_else(|| format!("{partition} has no epoch"))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_booking_is_kept_for_a_week_after_its_date() {
        let date = NaiveDate::from_ymd_opt(2026, 11, 30).unwrap();
        // 2026-12-07T00:00:00Z.
        assert_eq!(kept_until(date), 1_796_601_600);
    }
}
