//! Lists of stored bookings, new and old.

use aws_sdk_dynamodb::types::AttributeValue;
use engine::calendar::Booking;
use engine::shard::Ring;
use engine::store::{BookingStore, LoadError};
use persistence::{BookingRow, Dynamo, LISTED_DATES_MAX};

use crate::harness::{batch, booked, date, doctor, each_dynamo, own, put, s, seat, user};

async fn put_row(dynamo: &Dynamo, date: &str, start: &str, user: &str) {
    let row = [
        ("PK", s(format!("dr@x.com#{date}"))),
        ("SK", s(format!("{start}#{user}"))),
        ("doctor_id", s("dr@x.com")),
        ("date", s(date)),
        ("start", s(start)),
        ("user_id", s(user)),
    ];
    put(dynamo, &dynamo.tables().bookings, row).await;
}

fn times(rows: &[BookingRow]) -> Vec<String> {
    rows.iter().map(|row| format!("{} {}", row.date, row.start)).collect()
}

#[tokio::test]
async fn a_users_bookings_are_listed_by_date_and_start_from_a_day_on() {
    each_dynamo(async |dynamo| {
        for (day, start) in [
            ("2026-12-1", "10:00"),
            ("2026-12-01", "09:30"),
            ("2026-11-30", "23:30"),
            ("2027-1-2", "00:00"),
            ("2026-11-22", "09:00"),
            ("2026-12-01", "09:10"),
            ("someday", "09:00"),
        ] {
            put_row(dynamo, day, start, "ada@x.com").await;
            put_row(dynamo, day, start, "bob@x.com").await;
        }
        let rows = dynamo.user_bookings().of_user(&user("ada@x.com"), date("2026-11-23")).await.unwrap();
        let expected =
            ["2026-11-30 23:30", "2026-12-01 09:10", "2026-12-01 09:30", "2026-12-1 10:00", "2027-1-2 00:00"];
        assert_eq!(times(&rows), expected);
        assert!(rows.iter().all(|row| row.user_id == "ada@x.com" && row.ttl.is_none()));
        let none = dynamo.user_bookings().of_user(&user("eve@x.com"), date("2026-11-23")).await.unwrap();
        assert_eq!(none, []);
    })
    .await;
}

#[tokio::test]
async fn a_committed_booking_is_listed_whole() {
    each_dynamo(async |dynamo| {
        let dr = doctor("dr@x.com");
        let fence = own(&dynamo.fences(Ring::default()), Ring::default().range_of(&dr)).await;
        let booking = Booking { date: date("2026-11-30"), ..seat("ada@x.com", "09:00") };
        dynamo.bookings().commit(&batch(&[fence], vec![booked(&dr, &booking)])).await.unwrap();
        let expected = BookingRow {
            pk: "dr@x.com#2026-11-30".to_owned(),
            sk: "09:00#ada@x.com".to_owned(),
            doctor_id: "dr@x.com".to_owned(),
            date: "2026-11-30".to_owned(),
            start: "09:00".to_owned(),
            user_id: "ada@x.com".to_owned(),
            ttl: Some(1_796_601_600),
            day: date("2026-11-30"),
        };
        let lists = dynamo.user_bookings();
        // The index may lag behind.
        let mut of_user = Vec::new();
        for _ in 0..1000 {
            of_user = lists.of_user(&user("ada@x.com"), booking.date).await.unwrap();
            if !of_user.is_empty() {
                break;
            }
        }
        assert_eq!(of_user, std::slice::from_ref(&expected));
        assert_eq!(lists.of_doctor(&dr, booking.date, booking.date).await.unwrap(), [expected]);
    })
    .await;
}

#[tokio::test]
async fn a_doctors_bookings_are_listed_under_every_spelling_of_every_date() {
    each_dynamo(async |dynamo| {
        for (day, start, name) in [
            ("2026-11-30", "09:00", "ada@x.com"),
            ("2026-12-1", "10:00", "ada@x.com"),
            ("2026-12-01", "09:10", "not an address"),
            ("2027-1-02", "00:00", "bob@x.com"),
            ("2027-1-3", "00:00", "bob@x.com"),
        ] {
            put_row(dynamo, day, start, name).await;
        }
        let lists = dynamo.user_bookings();
        let rows =
            lists.of_doctor(&doctor("dr@x.com"), date("2026-12-01"), date("2027-01-02")).await.unwrap();
        assert_eq!(times(&rows), ["2026-12-01 09:10", "2026-12-1 10:00", "2027-1-02 00:00"]);
        assert_eq!(rows[0].user_id, "not an address");
        let backwards = lists.of_doctor(&doctor("dr@x.com"), date("2027-01-02"), date("2026-12-01")).await;
        assert_eq!(backwards.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn what_a_row_lacks_is_taken_from_its_key() {
    each_dynamo(async |dynamo| {
        let row = [
            ("PK", s("dr@x.com#2026-12-1")),
            ("SK", s("9am#a b@x.com")),
            ("start", AttributeValue::Null(true)),
            ("ttl", s("soon")),
        ];
        put(dynamo, &dynamo.tables().bookings, row).await;
        let day = date("2026-12-01");
        let rows = dynamo.user_bookings().of_doctor(&doctor("dr@x.com"), day, day).await.unwrap();
        let expected = BookingRow {
            pk: "dr@x.com#2026-12-1".to_owned(),
            sk: "9am#a b@x.com".to_owned(),
            doctor_id: "dr@x.com".to_owned(),
            date: "2026-12-1".to_owned(),
            start: "9am".to_owned(),
            user_id: "a b@x.com".to_owned(),
            ttl: None,
            day,
        };
        assert_eq!(rows, [expected]);
    })
    .await;
}

#[tokio::test]
async fn a_list_of_too_many_dates_is_refused() {
    each_dynamo(async |dynamo| {
        let from = date("2026-01-01");
        let to = from + chrono::Days::new(u64::try_from(LISTED_DATES_MAX).unwrap());
        let outcome = dynamo.user_bookings().of_doctor(&doctor("dr@x.com"), from, to).await;
        assert!(matches!(outcome, Err(LoadError::Refused(_))), "{outcome:?}");
    })
    .await;
}

#[tokio::test]
async fn a_user_with_several_pages_of_bookings_sees_them_all() {
    each_dynamo(async |dynamo| {
        let ballast = "x".repeat(300_000);
        for hour in 10..15 {
            let start = format!("{hour}:00");
            let row = [
                ("PK", s("dr@x.com#2026-11-30")),
                ("SK", s(format!("{start}#ada@x.com"))),
                ("user_id", s("ada@x.com")),
                ("note", s(ballast.as_str())),
            ];
            put(dynamo, &dynamo.tables().bookings, row).await;
        }
        let rows = dynamo.user_bookings().of_user(&user("ada@x.com"), date("2026-11-30")).await.unwrap();
        assert_eq!(
            rows.iter().map(|row| row.start.as_str()).collect::<Vec<_>>(),
            ["10:00", "11:00", "12:00", "13:00", "14:00"]
        );
    })
    .await;
}
