//! Which reason reaches whom, and that what is sent for a batch is what the SDK would send.

use aws_sdk_dynamodb::types::{
    AttributeValue, ConditionCheck, Delete, Put, ReturnValuesOnConditionCheckFailure, TransactWriteItem,
};
use chrono::{NaiveDate, Weekday};
use engine::calendar::{Booking, DateSpelling, Event, ScheduleRow, SpellingSet};
use engine::shard::{FencingEpoch, Ring};
use engine::store::BatchEvent;
use engine::{BookingStore, IdempotencyKey, RequestToken, SlotSpan, SlotStart, UserId};

use super::*;
use crate::dynamo::transaction::tests::Nowhere;

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
        assert_eq!(reason_of(&CancellationReason::builder().code(code).build()), Reason::Transient, "{code}");
    }
}

fn text(value: impl Into<String>) -> AttributeValue {
    AttributeValue::S(value.into())
}

fn number(digits: &str) -> AttributeValue {
    AttributeValue::N(digits.to_owned())
}

fn event(doctor: &str, id: u128, event: Event) -> BatchEvent {
    BatchEvent { doctor: DoctorId::parse(doctor).unwrap(), id: EventId::new(id), event: event.into() }
}

fn booking(user: &str, month: u32, day: u32, key: Option<&str>) -> Booking {
    Booking {
        user: UserId::parse(user).unwrap(),
        date: NaiveDate::from_ymd_opt(2026, month, day).unwrap(),
        start: SlotStart::parse("09:00").unwrap(),
        key: key.map(|key| IdempotencyKey::parse(key).unwrap()),
    }
}

/// Every kind of event, under two fences.
fn batch() -> Batch {
    let check = |index, epoch| FenceCheck {
        range: Ring::default().range(index).unwrap(),
        epoch: FencingEpoch::from_stored(epoch).unwrap(),
    };
    let spelled = booking("o'neil+\"q\"@x.com", 1, 2, None);
    let spellings = DateSpelling::of(spelled.date).map(SpellingSet::only);
    let spellings = spellings.fold(SpellingSet::default(), SpellingSet::union);
    let late = SlotSpan::parse("22:00", "00:00").unwrap();
    let rows = vec![
        ScheduleRow::plain(SlotSpan::parse("09:00", "09:30").unwrap(), true),
        ScheduleRow { span: late, available: false, old_midnight: true },
    ];
    Batch {
        token: RequestToken::new(9),
        checks: vec![check(7, 1), check(63, 12)],
        events: vec![
            event("dr@x.com", 7, Event::booked(booking("ada@x.com", 11, 30, None))),
            event(
                "डॉ@उदाहरण.भारत",
                u128::MAX,
                Event::booked(booking("अनु@उदाहरण.भारत", 11, 30, Some("k\"\\'"))),
            ),
            event("dr@x.com", 8, Event::cancelled(spelled, spellings)),
            event("dr@x.com", 9, Event::hours_set(Weekday::Mon, rows)),
        ],
    }
}

fn check(key: &str, epoch: &str) -> TransactWriteItem {
    let check = ConditionCheck::builder()
        .table_name("KokoroEngine")
        .key("PK", text(key))
        .condition_expression("epoch = :epoch")
        .expression_attribute_values(":epoch", number(epoch))
        .build();
    TransactWriteItem::builder().condition_check(check.unwrap()).build()
}

fn put(table: &str, condition: Option<&str>, item: &[(&str, AttributeValue)]) -> TransactWriteItem {
    let all_old = condition.map(|_| ReturnValuesOnConditionCheckFailure::AllOld);
    let put = Put::builder()
        .table_name(table)
        .set_item(Some(item.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()))
        .set_condition_expression(condition.map(str::to_owned))
        .set_return_values_on_condition_check_failure(all_old)
        .build();
    TransactWriteItem::builder().put(put.unwrap()).build()
}

fn delete(partition: &str, sort: &str) -> TransactWriteItem {
    let delete = Delete::builder()
        .table_name("DoctorBookingsTable")
        .key("PK", text(partition))
        .key("SK", text(sort))
        .condition_expression("attribute_exists(PK)")
        .build();
    TransactWriteItem::builder().delete(delete.unwrap()).build()
}

/// What [`batch`] is, as the SDK has it.
fn actions() -> Vec<TransactWriteItem> {
    let absent = Some("attribute_not_exists(PK)");
    // 2026-12-07T00:00:00Z.
    let kept_until = number("1796601600");
    let span = |sort: &str, is_available| {
        let available = AttributeValue::Bool(is_available);
        put(
            "DoctorAvailabilityTable",
            None,
            &[("PK", text("dr@x.com#Monday")), ("SK", text(sort)), ("available", available)],
        )
    };
    let cancelled = "09:00#o'neil+\"q\"@x.com";
    vec![
        check("range#07", "1"),
        check("range#63", "12"),
        put(
            "DoctorBookingsTable",
            absent,
            &[
                ("PK", text("dr@x.com#2026-11-30")),
                ("SK", text("09:00#ada@x.com")),
                ("doctor_id", text("dr@x.com")),
                ("date", text("2026-11-30")),
                ("start", text("09:00")),
                ("user_id", text("ada@x.com")),
                ("ttl", kept_until.clone()),
                ("event_id", text("00000000000000000000000000000007")),
            ],
        ),
        put(
            "DoctorBookingsTable",
            absent,
            &[
                ("PK", text("डॉ@उदाहरण.भारत#2026-11-30")),
                ("SK", text("09:00#अनु@उदाहरण.भारत")),
                ("doctor_id", text("डॉ@उदाहरण.भारत")),
                ("date", text("2026-11-30")),
                ("start", text("09:00")),
                ("user_id", text("अनु@उदाहरण.भारत")),
                ("ttl", kept_until),
                ("event_id", text("f".repeat(32))),
                ("idempotency_key", text("k\"\\'")),
            ],
        ),
        delete("dr@x.com#2026-01-02", cancelled),
        delete("dr@x.com#2026-01-2", cancelled),
        delete("dr@x.com#2026-1-02", cancelled),
        delete("dr@x.com#2026-1-2", cancelled),
        span("09:00-09:30", true),
        span("22:00-00:00", false),
    ]
}

#[tokio::test]
async fn what_is_sent_for_a_batch_is_what_the_sdk_would_send() {
    let nowhere = Nowhere::new();
    nowhere.dynamo.bookings().commit(&batch()).await.unwrap();
    let sent = nowhere.sent();
    assert_eq!(sent, [nowhere.sdk_sends(actions(), &RequestToken::new(9).to_string()).await]);
    let Shape { checks, events } = Plan::of(nowhere.dynamo.tables(), &batch()).shape;
    assert_eq!((checks, events), (2, vec![1, 1, 4, 2]));
}
