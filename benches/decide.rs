//! The core alone: what it costs to decide on a full calendar, and to make an event true.

use std::hint::black_box;

use chrono::{DateTime, Days, TimeZone, Utc, Weekday};
use chrono_tz::Tz;
use criterion::{BatchSize, Criterion, criterion_group, criterion_main};
use engine::calendar::{Booking, Calendar, Decision};
use engine::limits::{BOOKING_WINDOW_DAYS, SEATS_PER_SLOT};
use engine::store::{DateRows, StoredSeat};
use engine::{Clinic, Command, SlotStart, UserId};

const WEEK: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

fn user(number: usize) -> UserId {
    UserId::parse(&format!("patient{number}@example.com")).expect("an address")
}

/// Every half hour of every day of the window is offered, and all of them hold `taken` users.
fn calendar(now: DateTime<Utc>, taken: usize) -> Calendar {
    let clinic = Clinic::new(Tz::Asia__Kolkata);
    let mut calendar = Calendar::unloaded(clinic);
    for weekday in WEEK {
        let rows =
            SlotStart::all().map(|slot| engine::calendar::ScheduleRow::plain(slot.span(), true)).collect();
        calendar.load_weekday(weekday, rows);
    }
    for day in 0..=BOOKING_WINDOW_DAYS {
        let date = clinic.today(now) + Days::new(day);
        let seats = SlotStart::all().flat_map(|start| {
            (0..taken).map(move |n| StoredSeat {
                booking: Booking { user: user(n), date, start, key: None },
                spellings: engine::calendar::SpellingSet::only(engine::calendar::DateSpelling::PLAIN),
                event: None,
            })
        });
        calendar.load_date(date, DateRows { seats: seats.collect(), unreadable: Vec::new() });
    }
    calendar
}

fn decide(c: &mut Criterion) {
    let now = Utc.with_ymd_and_hms(2026, 11, 23, 4, 30, 0).single().expect("a time");
    let date = Clinic::new(Tz::Asia__Kolkata).today(now) + Days::new(7);
    let start = SlotStart::parse("15:00").expect("a slot");
    let book = |number| Command::Book { user: user(number), date, start, key: None };

    let full = calendar(now, SEATS_PER_SLOT);
    let command = book(99);
    c.bench_function("decide/slot_full on a full calendar", |b| {
        b.iter(|| black_box(full.decide(black_box(&command), now)));
    });

    let nearly_full = calendar(now, SEATS_PER_SLOT - 1);
    c.bench_function("decide/record on a nearly full calendar", |b| {
        b.iter(|| black_box(nearly_full.decide(black_box(&command), now)));
    });

    let Ok(Decision::Record(event)) = nearly_full.decide(&command, now) else {
        unreachable!("there is a seat left")
    };
    c.bench_function("apply/booked", |b| {
        b.iter_batched_ref(
            || nearly_full.clone(),
            |calendar| calendar.apply(black_box(&event)),
            BatchSize::LargeInput,
        );
    });
}

criterion_group!(benches, decide);
criterion_main!(benches);
