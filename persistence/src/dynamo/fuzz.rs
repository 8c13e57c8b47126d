//! Keys and items, for every text that may stand in them.

use aws_sdk_dynamodb::types::AttributeValue;
use engine::calendar::{DateSpelling, ScheduleRow};
use engine::shard::Ring;
use engine::store::DateRows;
use engine::{DoctorId, SlotStart, UserId};

use super::items::{Item, read_booking, read_schedule, text};
use super::{chats, keys};

pub(crate) fn booking_keys(bytes: &[u8]) {
    let Ok(key) = std::str::from_utf8(bytes) else { return };
    let (start, user) = keys::split_booking_sort(key);
    if let (Ok(start), Ok(user)) = (SlotStart::parse(start), UserId::parse(user)) {
        assert_eq!(keys::booking_sort(start, &user), key);
    }
    let (doctor, date) = keys::split_bookings_partition(key);
    if let (Ok(doctor), Some(date)) = (DoctorId::parse(doctor), keys::parse_date(date)) {
        let mut spelled =
            DateSpelling::of(date).map(|spelling| keys::bookings_partition(&doctor, date, spelling));
        assert!(spelled.any(|partition| partition == key), "a row that no look-up finds");
    }
    // A row holds one seat, for somebody or for nobody who can be named, or is left alone.
    let item = Item::from([(keys::SK.to_owned(), text(key)), (keys::IDEMPOTENCY_KEY.to_owned(), text(key))]);
    let mut rows = DateRows::default();
    read_booking("table", &item, chrono::NaiveDate::MIN, DateSpelling::PLAIN, &mut rows);
    let seats = (rows.seats.len(), rows.unreadable.len());
    match SlotStart::parse(start) {
        Ok(_) => assert_eq!(seats, if UserId::parse(user).is_ok() { (1, 0) } else { (0, 1) }),
        Err(_) => assert_eq!(seats, (0, 0)),
    }
}

pub(crate) fn dates(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some(date) = keys::parse_date(text) else { return };
    let spelled: Vec<String> = DateSpelling::of(date).map(|spelling| spelling.write(date)).collect();
    assert_eq!(spelled.iter().filter(|spelled| *spelled == text).count(), 1);
    assert!(spelled.iter().all(|spelled| keys::parse_date(spelled) == Some(date)));
}

pub(crate) fn other_keys(bytes: &[u8]) {
    let Ok(key) = std::str::from_utf8(bytes) else { return };
    if let Some(range) = keys::parse_fence_partition(key, Ring::default()) {
        assert_eq!(keys::fence_partition(range), key);
    }
    let item =
        |available| Item::from([(keys::SK.to_owned(), text(key)), (keys::AVAILABLE.to_owned(), available)]);
    if let Some(row) = read_schedule("table", &item(AttributeValue::Bool(true))) {
        // What replaces a row must have its key, or both would count.
        let written = keys::schedule_sort(row);
        assert_eq!(written, key);
        let other = read_schedule("table", &item(text(key)));
        assert_eq!(other, Some(ScheduleRow { available: false, ..row }));
    }
}

pub(crate) fn messages(bytes: &[u8]) {
    let Ok(words) = std::str::from_utf8(bytes) else { return };
    assert_eq!(chats::words_of(&chats::message("user", words)).as_deref(), Some(words));
    // What somebody else wrote is read or left out, and never more than it was.
    assert!(chats::words_of(&text(words)).is_none_or(|read| read.len() <= words.len()));
}
