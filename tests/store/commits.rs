//! Commits: all or nothing, whose fault it was, and what a repeat is told.

use chrono::Weekday;
use engine::IdempotencyKey;
use engine::calendar::{Booking, DateSpelling, Event, ScheduleRow, SlotSpan, SpellingSet};
use engine::limits::EVENT_ACTIONS_MAX;
use engine::shard::Ring;
use engine::store::{CommitError, Reason, Reasons};

use crate::harness::{
    batch, booked, cancelled, date, doctor, each_store, event, hours, seat, slot, stale, stored, user,
};

const FAILED: Reason = Reason::ConditionFailed { found: None };

fn reasons(outcome: Result<(), CommitError>) -> Reasons {
    match outcome {
        Err(CommitError::Cancelled(reasons)) => reasons,
        other => panic!("cancelled was expected, not {other:?}"),
    }
}

fn row(start: &str, end: &str, available: bool) -> ScheduleRow {
    ScheduleRow::plain(SlotSpan::parse(start, end).unwrap(), available)
}

#[tokio::test]
async fn a_booking_is_loaded_back_as_it_was_committed_until_it_is_cancelled() {
    each_store(async |store| {
        let dr = doctor("dr@x.com");
        let fence = store.own(&dr).await;
        let keyed = Booking { key: IdempotencyKey::parse("7f-~!").ok(), ..seat("ada@x.com", "09:00") };
        let other_day = Booking { date: date("2026-12-10"), ..seat("ada@x.com", "23:30") };
        let (first, second) = (booked(&dr, &keyed), booked(&dr, &seat("bob@x.com", "09:00")));
        let third = booked(&dr, &other_day);
        let all = vec![first.clone(), second.clone(), third.clone()];
        store.bookings.commit(&batch(&[fence], all)).await.unwrap();
        assert_eq!(store.seats(&dr, keyed.date).await, [stored(&first), stored(&second)]);
        assert_eq!(store.seats(&dr, other_day.date).await, [stored(&third)]);

        store.bookings.commit(&batch(&[fence], vec![cancelled(&dr, &keyed)])).await.unwrap();
        assert_eq!(store.seats(&dr, keyed.date).await, [stored(&second)]);
        assert_eq!(store.seats(&dr, date("2026-12-02")).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_schedule_is_loaded_back_and_a_later_one_changes_the_rows_that_it_names() {
    each_store(async |store| {
        let dr = doctor("dr@x.com");
        let fence = store.own(&dr).await;
        let set = |rows: &[ScheduleRow]| event(&dr, Event::hours_set(Weekday::Mon, rows.to_vec()));
        let rows = [row("09:00", "09:30", true), row("09:30", "10:00", true), row("23:30", "24:00", false)];
        store.bookings.commit(&batch(&[fence], vec![set(&rows)])).await.unwrap();
        store.bookings.commit(&batch(&[fence], vec![set(&[row("09:30", "10:00", false)])])).await.unwrap();
        let mut loaded = hours(&*store.bookings, &dr, Weekday::Mon).await.unwrap();
        loaded.sort_by_key(|row| row.span);
        assert_eq!(loaded, [rows[0], row("09:30", "10:00", false), rows[2]]);
        assert_eq!(hours(&*store.bookings, &dr, Weekday::Tue).await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn a_stale_fence_refuses_the_whole_batch_and_is_named() {
    each_store(async |store| {
        let (dr, other) = (doctor("a@x.com"), doctor("b@x.com"));
        let (fence, others) = (store.own(&dr).await, store.own(&other).await);
        assert_ne!(fence.range, others.range);
        let events =
            || vec![booked(&dr, &seat("ada@x.com", "09:00")), booked(&other, &seat("ada@x.com", "09:00"))];

        let outcome = store.bookings.commit(&batch(&[fence, stale(others)], events())).await;
        let expected = Reasons { checks: vec![Reason::Innocent, FAILED], events: vec![Reason::Innocent; 2] };
        assert_eq!(reasons(outcome), expected);
        assert_eq!(store.seats(&dr, date("2026-12-01")).await, []);
        assert_eq!(store.seats(&other, date("2026-12-01")).await, []);

        store.bookings.commit(&batch(&[fence, others], events())).await.unwrap();
        assert_eq!(store.seats(&dr, date("2026-12-01")).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_fence_that_nobody_ever_raised_refuses_too() {
    each_store(async |store| {
        let (dr, other) = (doctor("a@x.com"), doctor("b@x.com"));
        let fence = store.own(&dr).await;
        let unowned = engine::store::FenceCheck { range: Ring::default().range_of(&other), ..fence };
        let events = vec![booked(&other, &seat("ada@x.com", "09:00"))];
        let outcome = store.bookings.commit(&batch(&[unowned], events)).await;
        assert_eq!(reasons(outcome), Reasons { checks: vec![FAILED], events: vec![Reason::Innocent] });
    })
    .await;
}

#[tokio::test]
async fn the_one_event_of_ninety_whose_condition_fails_is_named_and_nothing_is_written() {
    each_store(async |store| {
        let dr = doctor("dr@x.com");
        let fence = store.own(&dr).await;
        let taken = booked(&dr, &seat("user41@x.com", "09:00"));
        store.bookings.commit(&batch(&[fence], vec![taken.clone()])).await.unwrap();

        let events: Vec<_> =
            (0..90).map(|n| booked(&dr, &seat(&format!("user{n}@x.com"), "09:00"))).collect();
        let outcome = store.bookings.commit(&batch(&[fence], events)).await;
        let mut expected = vec![Reason::Innocent; 90];
        expected[41] = Reason::ConditionFailed { found: Some(taken.id) };
        assert_eq!(reasons(outcome), Reasons { checks: vec![Reason::Innocent], events: expected });
        assert_eq!(store.seats(&dr, date("2026-12-01")).await, [stored(&taken)]);
    })
    .await;
}

#[tokio::test]
async fn a_repeat_with_its_token_succeeds_and_writes_nothing_more() {
    each_store(async |store| {
        let dr = doctor("dr@x.com");
        let fence = store.own(&dr).await;
        let (booking, other) = (seat("ada@x.com", "09:00"), seat("bob@x.com", "09:00"));
        let first = batch(&[fence], vec![booked(&dr, &booking)]);
        store.bookings.commit(&first).await.unwrap();
        store.bookings.commit(&batch(&[fence], vec![booked(&dr, &other)])).await.unwrap();
        store.bookings.commit(&first).await.unwrap();
        assert_eq!(store.seats(&dr, booking.date).await.len(), 2);

        let cancel = batch(&[fence], vec![cancelled(&dr, &booking)]);
        store.bookings.commit(&cancel).await.unwrap();
        store.bookings.commit(&cancel).await.unwrap();
        assert_eq!(store.seats(&dr, booking.date).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_repeat_whose_token_is_forgotten_finds_its_own_event() {
    each_store(async |store| {
        let dr = doctor("dr@x.com");
        let fence = store.own(&dr).await;
        let own = booked(&dr, &seat("ada@x.com", "09:00"));
        store.bookings.commit(&batch(&[fence], vec![own.clone()])).await.unwrap();
        let outcome = store.bookings.commit(&batch(&[fence], vec![own.clone()])).await;
        assert_eq!(reasons(outcome).events, [Reason::ConditionFailed { found: Some(own.id) }]);
    })
    .await;
}

#[tokio::test]
async fn a_token_that_stood_for_another_request_leaves_the_outcome_unknown() {
    each_store(async |store| {
        let dr = doctor("dr@x.com");
        let fence = store.own(&dr).await;
        let first = batch(&[fence], vec![booked(&dr, &seat("ada@x.com", "09:00"))]);
        let mut second = batch(&[fence], vec![booked(&dr, &seat("bob@x.com", "09:00"))]);
        second.token = first.token;
        store.bookings.commit(&first).await.unwrap();
        let outcome = store.bookings.commit(&second).await;
        assert!(matches!(outcome, Err(CommitError::Unknown(_))), "{outcome:?}");
    })
    .await;
}

#[tokio::test]
async fn what_is_not_there_cannot_be_cancelled() {
    each_store(async |store| {
        let dr = doctor("dr@x.com");
        let fence = store.own(&dr).await;
        let events =
            vec![booked(&dr, &seat("ada@x.com", "09:00")), cancelled(&dr, &seat("bob@x.com", "09:00"))];
        let outcome = store.bookings.commit(&batch(&[fence], events)).await;
        assert_eq!(reasons(outcome).events, [Reason::Innocent, FAILED]);
        assert_eq!(store.seats(&dr, date("2026-12-01")).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_seat_under_two_spellings_of_its_date_is_cancelled_under_both_or_not_at_all() {
    each_store(async |store| {
        let dr = doctor("dr@x.com");
        let fence = store.own(&dr).await;
        let booking = seat("ada@x.com", "09:00");
        let spellings: Vec<DateSpelling> = DateSpelling::of(booking.date).collect();
        assert_eq!(spellings.len(), 2);
        let set = |spellings: &[DateSpelling]| {
            let sets = spellings.iter().map(|spelling| SpellingSet::only(*spelling));
            sets.fold(SpellingSet::default(), SpellingSet::union)
        };
        let cancel = |spellings| event(&dr, Event::cancelled(booking.clone(), spellings));

        store.add_old_booking(&dr, booking.clone(), spellings[1]).await;
        let both = cancel(set(&spellings));
        let outcome = store.bookings.commit(&batch(&[fence], vec![both.clone()])).await;
        assert_eq!(reasons(outcome).events, [FAILED]);
        let seats = store.seats(&dr, booking.date).await;
        assert_eq!(seats.iter().map(|seat| seat.spellings).collect::<Vec<_>>(), [set(&spellings[1..])]);

        store.add_old_booking(&dr, booking.clone(), spellings[0]).await;
        assert_eq!(store.seats(&dr, booking.date).await.len(), 2);
        store.bookings.commit(&batch(&[fence], vec![both])).await.unwrap();
        assert_eq!(store.seats(&dr, booking.date).await, []);
    })
    .await;
}

#[tokio::test]
async fn two_actions_on_one_item_are_malformed() {
    each_store(async |store| {
        let dr = doctor("dr@x.com");
        let fence = store.own(&dr).await;
        let booking = seat("ada@x.com", "09:00");
        let events = vec![booked(&dr, &booking), cancelled(&dr, &booking)];
        let outcome = store.bookings.commit(&batch(&[fence], events)).await;
        assert!(matches!(outcome, Err(CommitError::Malformed(_))), "{outcome:?}");
    })
    .await;
}

#[tokio::test]
async fn a_batch_may_be_as_large_as_a_transaction() {
    each_store(async |store| {
        let dr = doctor("dr@x.com");
        let fence = store.own(&dr).await;
        let long_name = "ü".repeat(100);
        let events = (0..EVENT_ACTIONS_MAX)
            .map(|n| booked(&dr, &seat(&format!("{n}{long_name}@x.com"), "09:00")))
            .collect();
        store.bookings.commit(&batch(&[fence], events)).await.unwrap();
        assert_eq!(store.seats(&dr, date("2026-12-01")).await.len(), EVENT_ACTIONS_MAX);
    })
    .await;
}

#[tokio::test]
async fn a_doctor_exists_once_there_is_a_row_of_exactly_that_spelling() {
    each_store(async |store| {
        store.add_doctor(&doctor("dr@x.com")).await;
        assert!(store.bookings.doctor_exists(&doctor("dr@x.com")).await.unwrap());
        assert!(!store.bookings.doctor_exists(&doctor("Dr@x.com")).await.unwrap());
        assert!(!store.bookings.doctor_exists(&doctor("other@x.com")).await.unwrap());
    })
    .await;
}

#[tokio::test]
async fn addresses_of_every_script_are_kept_as_they_are() {
    each_store(async |store| {
        let dr = doctor("डॉक्टर+a.b'c@उदाहरण.भारत");
        let fence = store.own(&dr).await;
        let names = [
            "ఆదిత్య@x.com",
            "அனு@x.com",
            "мария@пример.рф",
            "𝒂𝒅𝒂\"%_:;,|/\\@x.com",
            "o'brien=1&2?@x.com",
            "王@例子.中国",
        ];
        let mut events: Vec<_> = names.iter().map(|name| booked(&dr, &seat(name, "09:00"))).collect();
        store.bookings.commit(&batch(&[fence], events.clone())).await.unwrap();
        events.sort_by_key(|event| stored(event).booking.user);
        assert_eq!(store.seats(&dr, date("2026-12-01")).await, events.iter().map(stored).collect::<Vec<_>>());

        for name in names {
            let booking = Booking { user: user(name), start: slot("09:00"), ..seat("ada@x.com", "09:00") };
            store.bookings.commit(&batch(&[fence], vec![cancelled(&dr, &booking)])).await.unwrap();
        }
        assert_eq!(store.seats(&dr, date("2026-12-01")).await, []);
    })
    .await;
}
