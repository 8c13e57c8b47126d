//! `DoctorAvailabilityTable`.

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::json;

use super::left::{no, null, yes};
use super::{ADA, ASHA, Trap, World, step, weekday};
use crate::harness::*;
use crate::old_platform::{account, offer};
use crate::stores::*;

const TABLE: &str = "DoctorAvailabilityTable";
/// A doctor who has no slots but the trap's.
const DOC: &str = "doc@x.com";

fn plain() -> String {
    format!("{DOC}#{}", weekday())
}

fn of_the_bug() -> String {
    format!("{DOC}#WeekDay.{}", weekday())
}

/// The doctor, with these slots under one key.
async fn doctor_with(store: &Opened, partition: &str, spans: &[(&str, Option<AttributeValue>)]) {
    account(store, "Doctors", DOC, &[("onboarded", Some(no()))]).await;
    for (span, available) in spans {
        offer(store, partition, span, available.clone()).await;
    }
}

async fn update(world: &World, start: &str, end: &str, available: bool) {
    let slot = json!({"start": start, "end": end});
    let body = json!({"doctor_id": DOC, "day": weekday(), "slot": slot, "available": available});
    world.doctor(DOC, "/doctorsService/updateSlot", body).await;
}

/// Publishes one slot more where nothing readable is.
async fn publish(world: &World, start: &str, end: &str) {
    let body = json!({"doctor_id": DOC, "day": weekday(), "slots": [{"start": start, "end": end}]});
    world.doctor(DOC, "/doctorsService/setSlots", body).await;
}

/// Times that are none: they offer nothing, stand in nobody's way, and are left as they are.
fn times(says: &'static str, span: &'static str, finding: &'static str) -> Trap {
    Trap {
        place: TABLE,
        says,
        put: step(async move |store: &Opened| doctor_with(store, &plain(), &[(span, None)]).await),
        counted: vec![(finding, 1)],
        served: step(async |world: &World| {
            assert!(world.starts(DOC, &date_in(3)).await.is_empty());
            publish(world, "09:00", "09:30").await;
            assert_eq!(world.starts(DOC, &date_in(3)).await, ["09:00"]);
            assert_eq!(world.books(DOC, ADA, "09:00").await.0, 200);
        }),
        left: |left| {
            let mut sorts = left.sorts(TABLE, &plain());
            sorts.retain(|sort| *sort != "09:00-09:30");
            let [span] = sorts.as_slice() else { panic!("{sorts:?}") };
            let row = left.row(TABLE, &format!("{} {span}", plain()));
            assert_eq!(row.len(), 2, "{row:?}");
        },
    }
}

pub fn traps() -> Vec<Trap> {
    [keys(), available(), spans()].into_iter().flatten().collect()
}

fn keys() -> Vec<Trap> {
    vec![
        Trap {
            place: TABLE,
            says: "`PK` `doctor@x.com#Monday`; `SK` `09:00-09:30`",
            put: step(async |_: &Opened| {}),
            counted: vec![],
            served: step(async |world: &World| {
                assert_eq!(world.starts(ASHA, &date_in(3)).await, ["09:00", "09:30"]);
                let slot = json!({"start": "09:30", "end": "10:00"});
                let body = json!({"doctor_id": ASHA, "day": weekday(), "slot": slot, "available": false});
                world.doctor(ASHA, "/doctorsService/updateSlot", body).await;
                assert_eq!(world.starts(ASHA, &date_in(3)).await, ["09:00"]);
            }),
            left: |left| {
                let key = format!("{ASHA}#{} 09:30-10:00", weekday());
                assert_eq!(left.row(TABLE, &key)["available"], no());
            },
        },
        Trap {
            place: TABLE,
            says: "or, from a bug, `doctor@x.com#WeekDay.Monday`",
            put: step(async |store: &Opened| {
                doctor_with(store, &of_the_bug(), &[("09:00-09:30", None), ("10:00-10:30", Some(yes()))])
                    .await;
            }),
            counted: vec![("schedule_key_of_old_bug", 2)],
            served: step(async |world: &World| {
                assert_eq!(world.starts(DOC, &date_in(3)).await, ["09:00", "10:00"]);
                update(world, "09:00", "09:30", false).await;
                assert_eq!(world.starts(DOC, &date_in(3)).await, ["10:00"], "the other is not lost");
                assert_eq!(world.books(DOC, ADA, "10:00").await.0, 200);
            }),
            left: |left| {
                assert_eq!(left.sorts(TABLE, &of_the_bug()), ["09:00-09:30", "10:00-10:30"]);
                let under_plain = ["09:00-09:30", "10:00-10:30"]
                    .map(|span| left.row(TABLE, &format!("{} {span}", plain()))["available"].clone());
                assert_eq!(under_plain, [no(), yes()]);
            },
        },
    ]
}

fn available() -> Vec<Trap> {
    vec![
        Trap {
            place: TABLE,
            says: "`available` BOOL, NULL or absent",
            put: step(async |store: &Opened| {
                let spans =
                    [("09:00-09:30", Some(yes())), ("09:30-10:00", Some(null())), ("10:00-10:30", None)];
                doctor_with(store, &plain(), &spans).await;
            }),
            counted: vec![],
            served: step(async |world: &World| {
                for start in ["09:00", "09:30", "10:00"] {
                    assert_eq!(world.books(DOC, ADA, start).await.0, 200, "{start}");
                }
                update(world, "10:00", "10:30", false).await;
                assert_eq!(world.starts(DOC, &date_in(3)).await, ["09:00", "09:30"]);
            }),
            left: |left| assert_eq!(left.row(TABLE, &format!("{} 10:00-10:30", plain()))["available"], no()),
        },
        Trap {
            place: TABLE,
            says: "false may mean \"was booked once\"",
            put: step(async |store: &Opened| {
                doctor_with(store, &plain(), &[("09:00-09:30", Some(no()))]).await
            }),
            counted: vec![("availability_false", 1)],
            served: step(async |world: &World| {
                assert!(world.starts(DOC, &date_in(3)).await.is_empty());
                assert_eq!(world.books(DOC, ADA, "09:00").await, (409, "slot_unavailable".to_owned()));
                update(world, "09:00", "09:30", true).await;
                assert_eq!(world.books(DOC, ADA, "09:00").await.0, 200);
            }),
            left: |left| {
                let row = left.row(TABLE, &format!("{} 09:00-09:30", plain()));
                assert_eq!(row["available"], yes(), "a booking closes no slot");
            },
        },
    ]
}

fn spans() -> Vec<Trap> {
    let unreadable = "span_unreadable";
    vec![
        times("times were never checked: `25:99`", "25:99-26:00", unreadable),
        times("times were never checked: empty", "-", unreadable),
        times("times were never checked: reversed", "10:00-09:30", unreadable),
        times("times were never checked: with more than one `-`", "09:00-09:30-10:00", unreadable),
        times("times were never checked: off the grid", "11:15-11:45", "span_off_grid"),
        Trap {
            place: TABLE,
            says: "times were never checked: overlapping",
            put: step(async |store: &Opened| {
                doctor_with(store, &plain(), &[("12:00-14:00", None), ("13:00-13:30", None)]).await;
            }),
            counted: vec![("span_long", 1), ("spans_overlap", 1)],
            served: step(async |world: &World| {
                let offered = ["12:00", "12:30", "13:00", "13:30"];
                assert_eq!(world.starts(DOC, &date_in(3)).await, offered);
                update(world, "12:30", "13:00", false).await;
                assert_eq!(world.starts(DOC, &date_in(3)).await, ["12:00", "13:00", "13:30"]);
                assert_eq!(world.books(DOC, ADA, "13:30").await.0, 200);
            }),
            left: |left| assert_eq!(left.row(TABLE, &format!("{} 12:30-13:00", plain()))["available"], no()),
        },
    ]
}
