//! `DoctorBookingsTable`.

#![expect(clippy::too_many_lines, reason = "a table, whose entries are read one by one")]

use chrono::NaiveDate;
use serde_json::json;

use super::left::Left;
use super::{ADA, ASHA, Trap, World, step};
use crate::harness::*;
use crate::old_platform::{account, book, march};
use crate::stores::*;

const TABLE: &str = "DoctorBookingsTable";

fn soon() -> String {
    date_in(3)
}

fn of_soon(doctor: &str) -> String {
    format!("{doctor}#{}", soon())
}

/// A date without its leading zeros.
fn bare(date: NaiveDate) -> String {
    date.format("%Y-%-m-%-d").to_string()
}

/// The next date that has a zero to leave out, if it can be booked yet.
fn bookable_with_a_zero() -> Option<NaiveDate> {
    let dates = (1..15).map(|days| date_in(days).parse::<NaiveDate>().unwrap());
    dates.into_iter().find(|date| bare(*date) != date.to_string())
}

async fn cancels(world: &World, doctor: &str, user: &str, date: &str, start: &str) -> (u16, String) {
    let (status, answer) = world.node.cancel(doctor, user, date, start).await;
    (status, answer["code"].as_str().unwrap_or_default().to_owned())
}

fn nobody_is_left(left: &Left) {
    assert!(left.sorts(TABLE, &of_soon(ASHA)).is_empty());
}

pub fn traps() -> Vec<Trap> {
    [rows(), dates(), strangers()].into_iter().flatten().collect()
}

fn rows() -> Vec<Trap> {
    vec![
        Trap {
            place: TABLE,
            says: "`PK`, `SK`, `doctor_id`, `date`, `start`, `user_id`, and in some versions `ttl`",
            put: step(async |store: &Opened| {
                book(store, ASHA, &soon(), "09:00", ADA, "").await;
                book(store, ASHA, &soon(), "09:30", ADA, "ttl").await;
            }),
            counted: vec![("booking_without_ttl", 1)],
            served: step(async |world: &World| {
                let both = ["09:00", "09:30"].map(|start| (soon(), start.to_owned()));
                assert_eq!(world.bookings(ADA).await, both);
                assert_eq!(world.books(ASHA, ADA, "09:30").await, (409, "already_booked".to_owned()));
                for start in ["09:00", "09:30"] {
                    assert_eq!(cancels(world, ASHA, ADA, &soon(), start).await.0, 200);
                }
                assert_eq!(world.books(ASHA, ADA, "09:30").await.0, 200);
            }),
            left: |left| {
                assert_eq!(left.sorts(TABLE, &of_soon(ASHA)), [format!("09:30#{ADA}")]);
                assert!(left.row(TABLE, &format!("{} 09:30#{ADA}", of_soon(ASHA)))["ttl"].is_n());
            },
        },
        Trap {
            place: TABLE,
            says: "a row without `doctor_id`, `date`, `start` or `user_id` breaks it",
            put: step(async |store: &Opened| {
                for (n, without) in ["doctor_id", "date", "start", "user_id"].into_iter().enumerate() {
                    let user = format!("u{n}@x.com");
                    account(store, "Users", &user, &[]).await;
                    book(store, ASHA, &soon(), "09:00", &user, without).await;
                }
            }),
            counted: vec![("booking_lacks_fields", 4)],
            served: step(async |world: &World| {
                assert_eq!(world.slots(ASHA, &soon()).await[0], ("09:00".to_owned(), 4, true));
                for n in 0..4 {
                    assert_eq!(cancels(world, ASHA, &format!("u{n}@x.com"), &soon(), "09:00").await.0, 200);
                }
            }),
            left: nobody_is_left,
        },
        Trap {
            place: TABLE,
            says: "more than five a slot",
            put: step(async |store: &Opened| {
                for n in 0..6 {
                    account(store, "Users", &format!("u{n}@x.com"), &[]).await;
                    book(store, ASHA, &soon(), "09:00", &format!("u{n}@x.com"), "").await;
                }
            }),
            counted: vec![("slot_above_five", 1)],
            served: step(async |world: &World| {
                assert_eq!(world.slots(ASHA, &soon()).await[0], ("09:00".to_owned(), 6, false));
                for (leaving, then) in [("u0@x.com", 409), ("u1@x.com", 200)] {
                    assert_eq!(world.books(ASHA, ADA, "09:00").await, (409, "slot_full".to_owned()));
                    assert_eq!(cancels(world, ASHA, leaving, &soon(), "09:00").await.0, 200);
                    assert_eq!(world.books(ASHA, ADA, "09:00").await.0, then);
                }
                assert_eq!(world.slots(ASHA, &soon()).await[0], ("09:00".to_owned(), 5, false));
            }),
            left: |left| assert_eq!(left.sorts(TABLE, &of_soon(ASHA)).len(), 5),
        },
        Trap {
            place: TABLE,
            says: "starts off the grid",
            put: step(async |store: &Opened| book(store, ASHA, &soon(), "09:10", ADA, "").await),
            counted: vec![("booking_off_grid", 1)],
            served: step(async |world: &World| {
                assert_eq!(world.slots(ASHA, &soon()).await[0], ("09:00".to_owned(), 0, true));
                assert_eq!(world.bookings(ADA).await, [(soon(), "09:10".to_owned())]);
                assert_eq!(cancels(world, ASHA, ADA, &soon(), "09:10").await.0, 422);
                assert_eq!(world.books(ASHA, ADA, "09:00").await.0, 200);
            }),
            left: |left| {
                let seats = ["09:00", "09:10"].map(|start| format!("{start}#{ADA}"));
                assert_eq!(left.sorts(TABLE, &of_soon(ASHA)), seats);
            },
        },
    ]
}

fn dates() -> Vec<Trap> {
    vec![
        Trap {
            place: TABLE,
            says: "dates without leading zeros (`2026-12-1`, another key for the same day)",
            put: step(async |store: &Opened| {
                book(store, ASHA, &bare(march()), "09:00", ADA, "").await;
                book(store, ASHA, &march().to_string(), "09:30", ADA, "").await;
            }),
            counted: vec![("date_spelled_oddly", 1), ("booking_far_ahead", 2)],
            served: step(async |world: &World| {
                let (plain, bare) = (march().to_string(), bare(march()));
                assert_eq!(
                    world.bookings(ADA).await,
                    [(bare, "09:00".to_owned()), (plain.clone(), "09:30".to_owned())]
                );
                assert_eq!(cancels(world, ASHA, ADA, &plain, "09:00").await.0, 200);
                assert_eq!(cancels(world, ASHA, ADA, &plain, "09:00").await.0, 404);
            }),
            left: |left| {
                assert!(left.sorts(TABLE, &format!("{ASHA}#{}", bare(march()))).is_empty());
                assert_eq!(left.sorts(TABLE, &format!("{ASHA}#{}", march())).len(), 1);
            },
        },
        Trap {
            place: TABLE,
            says: "dates without leading zeros, of a day that can be booked",
            put: step(async |store: &Opened| {
                let Some(date) = bookable_with_a_zero() else { return };
                for n in 0..5 {
                    account(store, "Users", &format!("u{n}@x.com"), &[]).await;
                    book(store, ASHA, &bare(date), "09:00", &format!("u{n}@x.com"), "").await;
                }
            }),
            counted: bookable_with_a_zero().map(|_| ("date_spelled_oddly", 5)).into_iter().collect(),
            served: step(async |world: &World| {
                // From the tenth of a month on there may be no such day within the window.
                let Some(date) = bookable_with_a_zero().map(|date| date.to_string()) else { return };
                assert_eq!(world.slots(ASHA, &date).await[0], ("09:00".to_owned(), 5, false));
                for status in [409, 200] {
                    assert_eq!(world.node.book(ASHA, ADA, &date, "09:00").await.0, status);
                    cancels(world, ASHA, "u0@x.com", &date, "09:00").await;
                }
            }),
            left: |left| {
                let Some(date) = bookable_with_a_zero() else { return };
                assert_eq!(left.sorts(TABLE, &format!("{ASHA}#{}", bare(date))).len(), 4);
                assert_eq!(left.sorts(TABLE, &format!("{ASHA}#{date}")), [format!("09:00#{ADA}")]);
            },
        },
        Trap {
            place: TABLE,
            says: "dates far ahead",
            put: step(async |store: &Opened| book(store, ASHA, &march().to_string(), "09:00", ADA, "").await),
            counted: vec![("booking_far_ahead", 1)],
            served: step(async |world: &World| {
                assert_eq!(world.bookings(ADA).await, [(march().to_string(), "09:00".to_owned())]);
                assert_eq!(cancels(world, ASHA, ADA, &march().to_string(), "09:00").await.0, 200);
                assert!(world.bookings(ADA).await.is_empty());
            }),
            left: |left| assert!(left.sorts(TABLE, &format!("{ASHA}#{}", march())).is_empty()),
        },
        Trap {
            place: TABLE,
            says: "no `ttl`",
            put: step(async |store: &Opened| book(store, ASHA, &soon(), "09:00", ADA, "ttl").await),
            counted: vec![("booking_without_ttl", 1)],
            served: step(async |world: &World| {
                let answer = world.user(ADA, "/doctorBookings/user", json!({"user_id": ADA})).await;
                let date: NaiveDate = soon().parse().unwrap();
                let week = (date + chrono::Days::new(7)).and_hms_opt(0, 0, 0).unwrap().and_utc().timestamp();
                assert_eq!(answer["bookings"][0]["ttl"], week);
            }),
            left: |left| {
                let row = left.row(TABLE, &format!("{} 09:00#{ADA}", of_soon(ASHA)));
                assert!(!row.contains_key("ttl"), "what nobody changes is left as it is");
            },
        },
    ]
}

fn strangers() -> Vec<Trap> {
    vec![
        Trap {
            place: TABLE,
            says: "doctors that do not exist",
            put: step(async |store: &Opened| book(store, "gone@x.com", &soon(), "09:00", ADA, "").await),
            counted: vec![("booking_of_no_doctor", 1)],
            served: step(async |world: &World| {
                assert_eq!(world.bookings(ADA).await, [(soon(), "09:00".to_owned())]);
                let refusal = cancels(world, "gone@x.com", ADA, &soon(), "09:00").await;
                assert_eq!(refusal, (404, "doctor_not_found".to_owned()));
            }),
            left: |left| assert_eq!(left.sorts(TABLE, &of_soon("gone@x.com")).len(), 1),
        },
        Trap {
            place: TABLE,
            says: "users that do not exist",
            put: step(async |store: &Opened| book(store, ASHA, &soon(), "09:00", "gone@x.com", "").await),
            counted: vec![("booking_of_no_user", 1)],
            served: step(async |world: &World| {
                assert_eq!(world.slots(ASHA, &soon()).await[0], ("09:00".to_owned(), 1, true));
                let body =
                    json!({"doctor_id": ASHA, "date": soon(), "start": "09:00", "user_id": "gone@x.com"});
                world.doctor(ASHA, "/doctorBookings/cancel", body).await;
            }),
            left: nobody_is_left,
        },
        Trap {
            place: TABLE,
            says: "slots that do not exist",
            put: step(async |store: &Opened| book(store, ASHA, &soon(), "18:00", ADA, "").await),
            counted: vec![("booking_without_slot", 1)],
            served: step(async |world: &World| {
                assert_eq!(world.starts(ASHA, &soon()).await, ["09:00", "09:30"]);
                assert_eq!(world.bookings(ADA).await, [(soon(), "18:00".to_owned())]);
                assert_eq!(cancels(world, ASHA, ADA, &soon(), "18:00").await.0, 200);
                assert_eq!(world.books(ASHA, ADA, "18:00").await, (409, "slot_unavailable".to_owned()));
            }),
            left: nobody_is_left,
        },
    ]
}
