//! Packing: which of the waiting events travel together.

use std::collections::{HashSet, VecDeque};

use chrono::{NaiveDate, Weekday};

use super::InLane;
use crate::calendar::{Event, SlotStart};
use crate::ids::{DoctorId, RequestToken, UserId};
use crate::limits::BATCH_ACTIONS_MAX;
use crate::shard::RangeId;
use crate::store::{Batch, BatchEvent, FenceCheck};

/// What an event writes to. The store refuses a request in which two actions name one item.
#[derive(PartialEq, Eq, Hash)]
enum Item {
    Seat(DoctorId, NaiveDate, SlotStart, UserId),
    Schedule(DoctorId, Weekday),
}

impl Item {
    fn of(doctor: &DoctorId, event: &Event) -> Self {
        match event {
            Event::Booked(booking) | Event::Cancelled { booking, .. } => {
                Self::Seat(doctor.clone(), booking.date, booking.start, booking.user.clone())
            }
            Event::ScheduleSet { weekday, .. } => Self::Schedule(doctor.clone(), *weekday),
        }
    }
}

/// How many actions an event is.
fn actions(event: &Event) -> usize {
    match event {
        Event::Booked(_) => 1,
        Event::Cancelled { spellings, .. } => spellings.len(),
        Event::ScheduleSet { rows, .. } => rows.len(),
    }
}

/// Takes from the queue, oldest first, what fits into one transaction. An event that touches an item already in it
/// waits for the next one, and that doctor's later events with it, so that each doctor's events keep their order.
pub(super) fn pack(queue: &mut VecDeque<InLane>) -> Vec<InLane> {
    let mut packed = Vec::new();
    let mut left = VecDeque::new();
    let mut room = BATCH_ACTIONS_MAX;
    let mut items = HashSet::new();
    let mut ranges = HashSet::new();
    let mut waiting = HashSet::new();
    while let Some(next) = queue.pop_front() {
        let staged = &next.staged;
        let cost = actions(&staged.event) + usize::from(!ranges.contains(&staged.range));
        if cost > room || (next.alone && !packed.is_empty()) {
            queue.push_front(next);
            break;
        }
        let item = Item::of(&staged.doctor, &staged.event);
        if waiting.contains(&staged.doctor) || items.contains(&item) {
            waiting.insert(staged.doctor.clone());
            left.push_back(next);
            continue;
        }
        room -= cost;
        items.insert(item);
        ranges.insert(staged.range);
        let alone = next.alone;
        packed.push(next);
        if alone {
            break;
        }
    }
    while let Some(event) = left.pop_back() {
        queue.push_front(event);
    }
    packed
}

/// The packed events as the store takes them: one fence check for each range, in the order of first appearance.
pub(super) fn batch(packed: &[InLane], token: RequestToken) -> Batch {
    let mut checks: Vec<FenceCheck> = Vec::new();
    for InLane { staged, .. } in packed {
        match checks.iter().find(|check| check.range == staged.range) {
            Some(check) => debug_assert_eq!(check.epoch, staged.epoch, "one range, two epochs"),
            None => checks.push(FenceCheck { range: staged.range, epoch: staged.epoch }),
        }
    }
    let events = packed.iter().map(|InLane { staged, .. }| BatchEvent {
        doctor: staged.doctor.clone(),
        id: staged.id,
        event: staged.event.clone(),
    });
    Batch { token, checks, events: events.collect() }
}

/// How many actions a batch is.
pub(super) fn actions_of(batch: &Batch) -> usize {
    batch.checks.len() + batch.events.iter().map(|event| actions(&event.event)).sum::<usize>()
}

/// The ranges of a batch.
pub(super) fn ranges(batch: &Batch) -> impl Iterator<Item = RangeId> {
    batch.checks.iter().map(|check| check.range)
}
