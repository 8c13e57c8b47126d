use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Weekday};
use futures::StreamExt;
use tokio::runtime::Builder;
use tokio::time::timeout;

use super::outcome::{Fate, Verdict, judge};
use super::{Committer, InLane, Outcome, Outcomes, Staged, Waiter, batch};
use crate::calendar::{Booking, Event, ScheduleRow, SlotStart};
use crate::chance::{Chance, SeededChance};
use crate::clock::{Clock, ManualClock};
use crate::ids::{DoctorId, EventId, RequestToken, UserId};
use crate::limits::{BATCH_ACTIONS_MAX, EVENT_ACTIONS_MAX};
use crate::runtime::Placement;
use crate::shard::{FencingEpoch, Node, Ownership, RangeId, Ring};
use crate::store::{BookingStore, MemoryStore, Reason, Reasons};

/// A booking by `user` in the doctor's slot number `slot`.
fn waiting(id: u128, doctor: &str, user: &str, slot: usize) -> InLane {
    let doctor = DoctorId::parse(&format!("{doctor}@clinic.example")).unwrap();
    let booking = Booking {
        user: UserId::parse(&format!("{user}@x.com")).unwrap(),
        date: "2026-11-24".parse().unwrap(),
        start: SlotStart::all().nth(slot).unwrap(),
        key: None,
    };
    let (range, epoch) = (Ring::default().range_of(&doctor), FencingEpoch::INITIAL);
    let staged =
        Staged { doctor, range, epoch, id: EventId::new(id), event: Arc::new(Event::booked(booking)) };
    let waiter = Waiter { event: staged.id, outcomes: None };
    InLane { staged, attempts: 0, alone: false, waiter }
}

fn ids<'a>(events: impl IntoIterator<Item = &'a InLane>) -> Vec<EventId> {
    events.into_iter().map(|event| event.staged.id).collect()
}

fn numbers(numbers: &[u128]) -> Vec<EventId> {
    numbers.iter().map(|number| EventId::new(*number)).collect()
}

#[test]
fn an_event_on_an_item_of_the_batch_waits_and_its_doctors_later_events_with_it() {
    let mut queue = VecDeque::from([
        waiting(1, "asha", "ada", 1),
        waiting(2, "asha", "ada", 1),
        waiting(3, "asha", "bob", 2),
        waiting(4, "ravi", "ada", 1),
    ]);
    assert_eq!(ids(&batch::pack(&mut queue)), numbers(&[1, 4]));
    assert_eq!(ids(&queue), numbers(&[2, 3]), "in the order in which they were staged");
    assert_eq!(ids(&batch::pack(&mut queue)), numbers(&[2, 3]));
}

#[test]
fn a_batch_has_room_for_its_events_and_one_check_for_each_range() {
    let mut queue: VecDeque<InLane> =
        (0..300_u32).map(|n| waiting(n.into(), &format!("doctor{}", n % 150), &format!("u{n}"), 3)).collect();
    while !queue.is_empty() {
        let packed = batch::pack(&mut queue);
        let request = batch::batch(&packed, RequestToken::new(1));
        let actions = request.checks.len() + request.events.len();
        assert!(!packed.is_empty() && actions <= BATCH_ACTIONS_MAX, "{actions}");
        assert!(actions == BATCH_ACTIONS_MAX || actions == BATCH_ACTIONS_MAX - 1 || queue.is_empty());
    }
}

#[test]
fn an_event_that_must_travel_alone_does() {
    let mut alone = waiting(2, "ravi", "ada", 1);
    alone.alone = true;
    let mut queue = VecDeque::from([waiting(1, "asha", "ada", 1), alone, waiting(3, "meera", "ada", 1)]);
    for id in [1, 2, 3] {
        assert_eq!(ids(&batch::pack(&mut queue)), numbers(&[id]));
    }
}

#[test]
fn who_rests_on_a_refused_event_falls_with_it_and_nobody_else() {
    let packed = [
        waiting(1, "asha", "ada", 1),
        waiting(2, "asha", "bob", 2),
        waiting(3, "asha", "eve", 3),
        waiting(4, "ravi", "ada", 1),
    ];
    let request = batch::batch(&packed, RequestToken::new(1));
    let ranges: Vec<RangeId> = packed.iter().map(|event| event.staged.range).collect();
    let failed = Reason::ConditionFailed { found: None };
    let reasons = |checks: Vec<Reason>, events: [Reason; 4]| Reasons { checks, events: events.into() };
    let fine = || vec![Reason::Innocent; request.checks.len()];
    let (again, tired) = (Fate::Again { transient: false }, Fate::Again { transient: true });

    let cancelled = reasons(fine(), [Reason::Innocent, failed, Reason::Innocent, Reason::Transient]);
    assert_eq!(
        judge(&request, &ranges, &cancelled, false),
        Verdict::Cancelled(vec![again, Fate::Refused, Fate::Withdrawn, tired])
    );
    // The same answer after a lost attempt says nothing about that attempt.
    let may_still_land = Verdict::MayStillLand { fenced: vec![false; 4] };
    assert_eq!(judge(&request, &ranges, &cancelled, true), may_still_land);

    let mut checks = fine();
    checks[0] = failed;
    let fenced = reasons(checks, [Reason::Innocent; 4]);
    assert_eq!(
        judge(&request, &ranges, &fenced, false),
        Verdict::Cancelled(vec![Fate::Fenced, Fate::Fenced, Fate::Fenced, again])
    );

    let own = Reason::ConditionFailed { found: Some(EventId::new(4)) };
    let ours = reasons(fine(), [failed, failed, failed, own]);
    assert_eq!(judge(&request, &ranges, &ours, true), Verdict::Committed);
}

/// Hours of more rows than a transaction has room for.
fn too_large() -> Event {
    let span = SlotStart::all().next().unwrap().span();
    Event::hours_set(Weekday::Mon, vec![ScheduleRow::plain(span, true); EVENT_ACTIONS_MAX + 1])
}

#[test]
fn event_that_no_batch_has_room_for_is_refused_and_its_lane_goes_on() {
    let runtime = || Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    actix::System::with_tokio_rt(runtime).block_on(async {
        let (memory, ring) = (MemoryStore::new(), Ring::default());
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::new(DateTime::UNIX_EPOCH));
        let chance: Arc<dyn Chance> = Arc::new(SeededChance::new(1));
        let ownership = Arc::new(Ownership::new(ring, Arc::clone(&clock), Duration::ZERO));
        let fences = Arc::new(memory.clone());
        let node = Arc::new(Node::new(String::new(), fences, ownership, clock, Arc::clone(&chance)));
        node.take_all().await.unwrap();
        let store: Arc<dyn BookingStore> = Arc::new(memory.clone());
        let committer = Committer::start(&store, &node, &chance, &Placement::here());

        let (outcomes, mut heard) = Outcomes::new();
        let mut large = waiting(1, "asha", "ada", 1).staged;
        large.event = Arc::new(too_large());
        let fits = Staged {
            doctor: DoctorId::parse("ravi@clinic.example").unwrap(),
            ..waiting(2, "asha", "ada", 1).staged
        };
        let fits = Staged { range: large.range, ..fits };
        for staged in [large, fits] {
            committer.reserve(staged.range).unwrap().stage(staged, &outcomes);
        }
        let mut ended = Vec::new();
        for _ in 0..2 {
            ended.push(timeout(Duration::from_secs(60), heard.next()).await.unwrap().unwrap());
        }
        assert_eq!(ended, [(EventId::new(1), Outcome::Refused), (EventId::new(2), Outcome::Committed)]);
        assert_eq!(memory.bookings().len(), 1);
    });
}
