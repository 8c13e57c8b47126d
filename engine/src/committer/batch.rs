//! Packing: which of the waiting events travel together.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use super::InLane;
use crate::calendar::Item;
use crate::ids::{DoctorId, RequestToken};
use crate::limits::BATCH_ACTIONS_MAX;
use crate::shard::RangeId;
use crate::store::{Batch, BatchEvent, FenceCheck};

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
        let cost = staged.event.actions() + usize::from(!ranges.contains(&staged.range));
        if cost > room || (next.alone && !packed.is_empty()) {
            queue.push_front(next);
            break;
        }
        let own = staged.event.changes.iter().map(|change| (staged.doctor.clone(), change.item()));
        let own: Vec<(DoctorId, Item)> = own.collect();
        if waiting.contains(&staged.doctor) || own.iter().any(|item| items.contains(item)) {
            waiting.insert(staged.doctor.clone());
            left.push_back(next);
            continue;
        }
        room -= cost;
        items.extend(own);
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
        event: Arc::clone(&staged.event),
    });
    Batch { token, checks, events: events.collect() }
}

/// How many actions a batch is.
pub(super) fn actions_of(batch: &Batch) -> usize {
    batch.checks.len() + batch.events.iter().map(|event| event.event.actions()).sum::<usize>()
}

/// The ranges of a batch.
pub(super) fn ranges(batch: &Batch) -> impl Iterator<Item = RangeId> {
    batch.checks.iter().map(|check| check.range)
}
