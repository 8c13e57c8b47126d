//! How rows are found: every key, attribute name and condition of our tables, each written once.

use chrono::{NaiveDate, Weekday};
use engine::calendar::{DateSpelling, ScheduleRow};
use engine::shard::{RangeId, Ring};
use engine::{DoctorId, SlotStart, UserId};

pub(crate) const PK: &str = "PK";
pub(crate) const SK: &str = "SK";
pub(crate) const EMAIL: &str = "email";
pub(crate) const USER_ID: &str = "user_id";
pub(crate) const TTL: &str = "ttl";
pub(crate) const TIMESTAMP: &str = "timestamp";
pub(crate) const PAYMENT_ID: &str = "payment_id";

pub(crate) const DOCTOR_ID: &str = "doctor_id";
pub(crate) const DATE: &str = "date";
pub(crate) const START: &str = "start";
pub(super) const EVENT_ID: &str = "event_id";
pub(super) const IDEMPOTENCY_KEY: &str = "idempotency_key";
pub(crate) const AVAILABLE: &str = "available";
pub(super) const OWNER: &str = "owner";
pub(super) const ADDRESS: &str = "address";
pub(super) const EPOCH: &str = "epoch";
pub(super) const RANGES: &str = "ranges";
pub(super) const BEAT: &str = "beat";
pub(super) const LEAVING: &str = "leaving";
pub(super) const OWNS: &str = "owns";
pub(super) const DOCTORS: &str = "doctors";

/// The index that finds a user's bookings.
pub(crate) const USER_BOOKINGS_INDEX: &str = "GSI_UserBookings";

/// The row must not be there yet.
pub(super) const IS_ABSENT: &str = "attribute_not_exists(PK)";
/// The row must be there.
pub(super) const IS_PRESENT: &str = "attribute_exists(PK)";
/// The fence must still bear the epoch [`EPOCH_VALUE`]: `engine::shard::FencingEpoch` says why.
pub(super) const EPOCH_STANDS: &str = "epoch = :epoch";
/// The placeholder of [`EPOCH_STANDS`].
pub(super) const EPOCH_VALUE: &str = ":epoch";
/// The node must not have been buried, and no later heartbeat of it be there already.
pub(super) const BEAT_IS_LATER: &str = "attribute_exists(PK) AND beat < :beat";
/// The node's heartbeat must still stand there.
pub(super) const BEAT_STANDS: &str = "beat = :beat";
/// The placeholder of [`BEAT_IS_LATER`] and [`BEAT_STANDS`].
pub(super) const BEAT_VALUE: &str = ":beat";
/// All rows of one partition; its placeholder is [`PARTITION_VALUE`].
pub(crate) const IN_PARTITION: &str = "PK = :partition";
/// All rows of one user in [`USER_BOOKINGS_INDEX`]; its placeholder is [`PARTITION_VALUE`].
pub(super) const OF_USER: &str = "user_id = :partition";
/// The placeholder of [`IN_PARTITION`] and [`OF_USER`].
pub(crate) const PARTITION_VALUE: &str = ":partition";

/// Between the parts of a key. No identifier may hold it.
const SEPARATOR: char = '#';

/// `doctor#2026-11-30`, in the spelling asked for.
pub(crate) fn bookings_partition(doctor: &DoctorId, date: NaiveDate, spelling: DateSpelling) -> String {
    format!("{}{SEPARATOR}{}", doctor.as_str(), spelling.write(date))
}

/// `09:00#user`.
pub(super) fn booking_sort(start: SlotStart, user: &UserId) -> String {
    format!("{start}{SEPARATOR}{}", user.as_str())
}

/// Splits the sort key of a booking into start and user; a key without a separator is all start.
pub(crate) fn split_booking_sort(sort: &str) -> (&str, &str) {
    sort.split_once(SEPARATOR).unwrap_or((sort, ""))
}

/// Splits the partition key of a booking into doctor and date; a key without a separator is all doctor.
pub(crate) fn split_bookings_partition(partition: &str) -> (&str, &str) {
    partition.split_once(SEPARATOR).unwrap_or((partition, ""))
}

/// Reads a date in any of its spellings.
pub(crate) fn parse_date(text: &str) -> Option<NaiveDate> {
    let mut parts = text.split('-');
    let (year, month, day) = (parts.next()?, parts.next()?, parts.next()?);
    let digits = |part: &str| part.bytes().all(|byte| byte.is_ascii_digit());
    let shaped = year.len() == 4 && [month, day].iter().all(|part| (1..=2).contains(&part.len()));
    if parts.next().is_some() || !shaped || ![year, month, day].into_iter().all(digits) {
        return None;
    }
    NaiveDate::from_ymd_opt(year.parse().ok()?, month.parse().ok()?, day.parse().ok()?)
}

/// `doctor#Monday`.
pub(crate) fn weekday_partition(doctor: &DoctorId, weekday: Weekday) -> String {
    format!("{}{SEPARATOR}{}", doctor.as_str(), weekday_name(weekday))
}

/// `doctor#WeekDay.Monday`: what a bug of the old platform wrote.
pub(super) fn old_weekday_partition(doctor: &DoctorId, weekday: Weekday) -> String {
    format!("{}{SEPARATOR}WeekDay.{}", doctor.as_str(), weekday_name(weekday))
}

/// How a row of the old platform may spell midnight as an end; we write `24:00`.
pub(crate) const OLD_MIDNIGHT: &str = "00:00";

/// `09:00-09:30`.
pub(super) fn schedule_sort(ScheduleRow { span, old_midnight, .. }: ScheduleRow) -> String {
    if old_midnight { format!("{}-{OLD_MIDNIGHT}", span.start()) } else { span.to_string() }
}

/// `range#07`. Not `RangeId`'s `Display`: stored keys must outlive a change of what logs show.
pub(super) fn fence_partition(range: RangeId) -> String {
    format!("range{SEPARATOR}{:02}", range.index())
}

/// What the attribute of an upload is called, before its id.
pub(crate) const UPLOAD_PREFIX: &str = "upload_";

/// `upload#owner`: the journal of an owner's uploads.
pub(super) fn uploads_partition(owner: &str) -> String {
    format!("upload{SEPARATOR}{owner}")
}

/// The range that a fence item is about.
pub(super) fn parse_fence_partition(partition: &str, ring: Ring) -> Option<RangeId> {
    let (kind, index) = partition.split_once(SEPARATOR)?;
    let range = ring.range(index.parse().ok()?)?;
    (kind == "range" && fence_partition(range) == partition).then_some(range)
}

pub(crate) const fn weekday_name(weekday: Weekday) -> &'static str {
    match weekday {
        Weekday::Mon => "Monday",
        Weekday::Tue => "Tuesday",
        Weekday::Wed => "Wednesday",
        Weekday::Thu => "Thursday",
        Weekday::Fri => "Friday",
        Weekday::Sat => "Saturday",
        Weekday::Sun => "Sunday",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_spelled_as_the_tables_have_them() {
        let doctor = DoctorId::parse("dr@x.com").unwrap();
        let user = UserId::parse("अनु@उदाहरण.भारत").unwrap();
        let date = NaiveDate::from_ymd_opt(2026, 12, 1).unwrap();
        let slot = SlotStart::parse("09:00").unwrap();
        let partitions: Vec<String> =
            DateSpelling::of(date).map(|spelling| bookings_partition(&doctor, date, spelling)).collect();
        assert_eq!(partitions, ["dr@x.com#2026-12-01", "dr@x.com#2026-12-1"]);
        assert_eq!(booking_sort(slot, &user), "09:00#अनु@उदाहरण.भारत");
        assert_eq!(weekday_partition(&doctor, Weekday::Mon), "dr@x.com#Monday");
        assert_eq!(old_weekday_partition(&doctor, Weekday::Sun), "dr@x.com#WeekDay.Sunday");
        assert_eq!(schedule_sort(ScheduleRow::plain(slot.span(), true)), "09:00-09:30");
        let late = engine::SlotSpan::parse("22:00", "00:00").unwrap();
        let old = ScheduleRow { span: late, available: true, old_midnight: true };
        assert_eq!(schedule_sort(old), "22:00-00:00");
        assert_eq!(schedule_sort(ScheduleRow::plain(late, true)), "22:00-24:00");
    }

    #[test]
    fn a_fence_key_names_its_range_and_nothing_else_does() {
        let ring = Ring::default();
        for range in ring.ranges() {
            assert_eq!(parse_fence_partition(&fence_partition(range), ring), Some(range));
        }
        for text in ["range#7", "range#64", "range#-1", "range#+7", "node#07", "range", ""] {
            assert_eq!(parse_fence_partition(text, ring), None, "{text:?}");
        }
    }

    #[test]
    fn a_date_is_read_in_every_spelling_and_from_nothing_else() {
        let date = NaiveDate::from_ymd_opt(2027, 1, 2);
        for text in ["2027-01-02", "2027-1-02", "2027-01-2", "2027-1-2"] {
            assert_eq!(parse_date(text), date, "{text:?}");
        }
        for text in
            ["", "2027", "2027-1", "27-1-2", "2027-13-01", "2027-02-30", "2027-1-2-3", "2027-+1-2", "2027--2"]
        {
            assert_eq!(parse_date(text), None, "{text:?}");
        }
    }

    #[test]
    fn a_booking_key_comes_apart_at_its_first_separator() {
        assert_eq!(split_booking_sort("09:00#a@x.com"), ("09:00", "a@x.com"));
        assert_eq!(split_booking_sort("09:00#a#b@x.com"), ("09:00", "a#b@x.com"));
        assert_eq!(split_booking_sort("09:00"), ("09:00", ""));
        assert_eq!(split_bookings_partition("dr@x.com#2026-12-1"), ("dr@x.com", "2026-12-1"));
    }
}
