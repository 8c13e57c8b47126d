//! Rows as the old platform left them (OLD_PLATFORM.md), written as they are, then loaded.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::Weekday;
use engine::IdempotencyKey;
use engine::calendar::{DateSpelling, ScheduleRow, SlotSpan};
use engine::store::StoredSeat;
use persistence::Dynamo;

use crate::harness::{bookings_on, date, doctor, each_dynamo, hours, put, s, slot};

async fn put_slot(dynamo: &Dynamo, partition: &str, span: &str, available: Option<AttributeValue>) {
    let table = &dynamo.tables().availability;
    match available {
        Some(available) => {
            put(dynamo, table, [("PK", s(partition)), ("SK", s(span)), ("available", available)]).await;
        }
        None => put(dynamo, table, [("PK", s(partition)), ("SK", s(span))]).await,
    }
}

async fn put_booking(dynamo: &Dynamo, partition: &str, sort: &str) {
    put(dynamo, &dynamo.tables().bookings, [("PK", s(partition)), ("SK", s(sort))]).await;
}

async fn offered(dynamo: &Dynamo, weekday: Weekday) -> Vec<(String, bool)> {
    let mut rows = hours(&dynamo.bookings(), &doctor("dr@x.com"), weekday).await.unwrap();
    rows.sort_by_key(|row| row.span);
    rows.iter().map(|ScheduleRow { span, available, .. }| (SlotSpan::to_string(span), *available)).collect()
}

fn rows<const N: usize>(rows: [(&str, bool); N]) -> Vec<(String, bool)> {
    rows.map(|(span, available)| (span.to_owned(), available)).to_vec()
}

#[tokio::test]
async fn availability_is_true_when_absent_or_null_and_false_only_when_it_says_so() {
    each_dynamo(async |dynamo| {
        for (span, available) in [
            ("09:00-09:30", None),
            ("09:30-10:00", Some(AttributeValue::Null(true))),
            ("10:00-10:30", Some(AttributeValue::Bool(true))),
            ("10:30-11:00", Some(AttributeValue::Bool(false))),
            ("11:00-11:30", Some(s("true"))),
            ("11:30-12:00", Some(AttributeValue::N("1".to_owned()))),
        ] {
            put_slot(dynamo, "dr@x.com#Monday", span, available).await;
        }
        let expected = rows([
            ("09:00-09:30", true),
            ("09:30-10:00", true),
            ("10:00-10:30", true),
            ("10:30-11:00", false),
            ("11:00-11:30", false),
            ("11:30-12:00", false),
        ]);
        assert_eq!(offered(dynamo, Weekday::Mon).await, expected);
    })
    .await;
}

#[tokio::test]
async fn spans_that_are_no_spans_are_left_out_and_long_or_overlapping_ones_are_not() {
    each_dynamo(async |dynamo| {
        for span in [
            "25:99-26:00",
            "-",
            "09:00",
            "09:00-",
            "-09:30",
            "10:00-09:30",
            "10:00-10:00",
            "09:15-09:45",
            "09:00-09:30-10:00",
            "9:00-9:30",
            "۰۹:۰۰-۰۹:۳۰",
            "09:00 - 09:30",
            "morning",
        ] {
            put_slot(dynamo, "dr@x.com#Monday", span, None).await;
        }
        assert_eq!(offered(dynamo, Weekday::Mon).await, []);
        for span in ["09:00-12:00", "11:00-13:00", "23:30-00:00", "00:00-24:00"] {
            put_slot(dynamo, "dr@x.com#Monday", span, None).await;
        }
        let expected = rows([
            ("00:00-24:00", true),
            ("09:00-12:00", true),
            ("11:00-13:00", true),
            ("23:30-24:00", true),
        ]);
        assert_eq!(offered(dynamo, Weekday::Mon).await, expected);
    })
    .await;
}

#[tokio::test]
async fn the_misspelled_weekday_counts_only_where_the_plain_one_has_no_rows() {
    each_dynamo(async |dynamo| {
        put_slot(dynamo, "dr@x.com#WeekDay.Monday", "09:00-09:30", None).await;
        put_slot(dynamo, "dr@x.com#WeekDay.Tuesday", "09:00-09:30", None).await;
        put_slot(dynamo, "dr@x.com#Tuesday", "10:00-10:30", None).await;
        put_slot(dynamo, "dr@x.com#WeekDay.Wednesday", "09:00-09:30", None).await;
        put_slot(dynamo, "dr@x.com#Wednesday", "25:99-26:00", None).await;
        assert_eq!(offered(dynamo, Weekday::Mon).await, rows([("09:00-09:30", true)]));
        assert_eq!(offered(dynamo, Weekday::Tue).await, rows([("10:00-10:30", true)]));
        assert_eq!(offered(dynamo, Weekday::Wed).await, []);
        assert_eq!(offered(dynamo, Weekday::Sun).await, []);
    })
    .await;
}

#[tokio::test]
async fn bookings_under_every_spelling_of_a_date_are_seats_of_that_date() {
    each_dynamo(async |dynamo| {
        for (spelled, name) in [
            ("2027-01-02", "a"),
            ("2027-01-2", "b"),
            ("2027-1-02", "c"),
            ("2027-1-2", "d"),
            ("2027-1-2", "a"),
        ] {
            put_booking(dynamo, &format!("dr@x.com#{spelled}"), &format!("09:00#{name}@x.com")).await;
        }
        for another in ["2027-01-20", "2027-1-20", "2027-12-02", "2027-01", "2026-1-2"] {
            put_booking(dynamo, &format!("dr@x.com#{another}"), "09:00#z@x.com").await;
        }
        let day = date("2027-01-02");
        let loaded = bookings_on(&dynamo.bookings(), &doctor("dr@x.com"), day).await.unwrap();
        let mut seats: Vec<String> = loaded.seats.iter().map(|seat| describe(seat, day)).collect();
        seats.sort_unstable();
        assert_eq!(
            seats,
            [
                "09:00 a@x.com 2027-01-02",
                "09:00 a@x.com 2027-1-2",
                "09:00 b@x.com 2027-01-2",
                "09:00 c@x.com 2027-1-02",
                "09:00 d@x.com 2027-1-2",
            ]
        );
    })
    .await;
}

fn describe(seat: &StoredSeat, day: chrono::NaiveDate) -> String {
    let spelled: Vec<String> =
        seat.spellings.iter().map(|spelling: DateSpelling| spelling.write(day)).collect();
    format!("{} {} {}", seat.booking.start, seat.booking.user.as_str(), spelled.join(" "))
}

#[tokio::test]
async fn a_seat_is_known_by_its_key_alone_and_none_is_lost_for_being_too_many() {
    each_dynamo(async |dynamo| {
        for n in 0..9 {
            put_booking(dynamo, "dr@x.com#2026-11-30", &format!("09:00#user{n}@x.com")).await;
        }
        let loaded = bookings_on(&dynamo.bookings(), &doctor("dr@x.com"), date("2026-11-30")).await.unwrap();
        assert_eq!(loaded.seats.len(), 9);
        assert!(loaded.seats.iter().all(|seat| seat.event.is_none() && seat.booking.key.is_none()));
    })
    .await;
}

#[tokio::test]
async fn a_seat_whose_holder_cannot_be_named_is_taken_all_the_same() {
    each_dynamo(async |dynamo| {
        for sort in ["09:00#not an address", "09:00#", "09:00", "10:30#a@b@c", "09:30#ada@x.com"] {
            put_booking(dynamo, "dr@x.com#2026-11-30", sort).await;
        }
        let mut loaded =
            bookings_on(&dynamo.bookings(), &doctor("dr@x.com"), date("2026-11-30")).await.unwrap();
        loaded.unreadable.sort_unstable();
        assert_eq!(loaded.unreadable, [slot("09:00"), slot("09:00"), slot("09:00"), slot("10:30")]);
        assert_eq!(loaded.seats.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_booking_that_starts_off_the_grid_is_left_out() {
    each_dynamo(async |dynamo| {
        for sort in
            ["09:10#ada@x.com", "25:99#ada@x.com", "24:00#ada@x.com", "9:00#ada@x.com", "#ada@x.com", "x"]
        {
            put_booking(dynamo, "dr@x.com#2026-11-30", sort).await;
        }
        let loaded = bookings_on(&dynamo.bookings(), &doctor("dr@x.com"), date("2026-11-30")).await.unwrap();
        assert_eq!(loaded, engine::store::DateRows::default());
    })
    .await;
}

#[tokio::test]
async fn attributes_of_another_type_do_not_hide_a_seat() {
    each_dynamo(async |dynamo| {
        let row = [
            ("PK", s("dr@x.com#2026-11-30")),
            ("SK", s("09:00#ada@x.com")),
            ("user_id", s("somebody else")),
            ("date", AttributeValue::N("7".to_owned())),
            ("start", AttributeValue::Null(true)),
            ("ttl", s("never")),
            ("event_id", AttributeValue::Bool(true)),
            ("idempotency_key", s("not a key")),
        ];
        put(dynamo, &dynamo.tables().bookings, row).await;
        let good =
            [("PK", s("dr@x.com#2026-11-30")), ("SK", s("09:30#ada@x.com")), ("idempotency_key", s("k1"))];
        put(dynamo, &dynamo.tables().bookings, good).await;
        let loaded = bookings_on(&dynamo.bookings(), &doctor("dr@x.com"), date("2026-11-30")).await.unwrap();
        let keys: Vec<_> = loaded.seats.iter().map(|seat| (seat.booking.key.clone(), seat.event)).collect();
        assert_eq!(keys, [(None, None), (IdempotencyKey::parse("k1").ok(), None)]);
    })
    .await;
}

#[tokio::test]
async fn a_day_of_several_pages_is_loaded_whole() {
    each_dynamo(async |dynamo| {
        // A page is a megabyte (API reference, `Query`): four rows of 300 kB are two pages.
        let ballast = "x".repeat(300_000);
        for n in 0..4 {
            let sort = format!("09:00#user{n}@x.com");
            let row = [("PK", s("dr@x.com#2026-11-30")), ("SK", s(sort)), ("note", s(ballast.as_str()))];
            put(dynamo, &dynamo.tables().bookings, row).await;
        }
        let loaded = bookings_on(&dynamo.bookings(), &doctor("dr@x.com"), date("2026-11-30")).await.unwrap();
        assert_eq!(loaded.seats.len(), 4);
    })
    .await;
}
