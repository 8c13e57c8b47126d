//! Group commit. Events of many doctors travel to the store together; each waiter learns how its own ended.
//!
//! Every range belongs to one lane, a lane has one transaction in flight, and whatever is staged meanwhile is the next
//! batch: alone, an event leaves at once; under load, batches grow by themselves. Knows no calendar rule and no table.

mod batch;
#[doc(hidden)]
pub mod bench;
mod lane;
mod outcome;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use tokio::sync::{mpsc, oneshot};

use crate::calendar::Event;
use crate::chance::Chance;
use crate::ids::{DoctorId, EventId};
use crate::limits::{LANE_CAPACITY, LANES};
use crate::runtime::Placement;
use crate::shard::{FencingEpoch, Node, RangeId};
use crate::store::BookingStore;

/// How a staged event ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Stored.
    Committed,
    /// Its own condition failed: nothing is stored, and the calendar that produced it was wrong.
    Refused,
    /// Not stored, because something that it may rest on was not, or because its calendar is of an old epoch. `lost`:
    /// an attempt went unanswered and may after all have been applied before the epoch was raised.
    Withdrawn {
        /// See above.
        lost: bool,
    },
    /// Not stored: conflicts and throttles used up its attempts.
    Aborted,
    /// May be stored.
    Unknown,
    /// Not stored: the range has another owner.
    Fenced,
}

/// An event on its way to the store.
#[derive(Debug)]
pub struct Staged {
    /// Whose calendar.
    pub doctor: DoctorId,
    /// The doctor's range.
    pub range: RangeId,
    /// The epoch under which that calendar was loaded.
    pub epoch: FencingEpoch,
    /// The event's identity.
    pub id: EventId,
    /// What happened.
    pub event: Arc<Event>,
}

/// What waits in a lane.
enum Waiting {
    Event(InLane),
    /// Answered when no event of this doctor, or of this range, is in the lane any more.
    Barrier(Barrier),
    /// Answered when the lane is empty, which then ends.
    Drain(oneshot::Sender<()>),
}

struct InLane {
    staged: Staged,
    attempts: u32,
    /// Must travel alone: the store called a batch with it malformed.
    alone: bool,
    waiter: Waiter,
}

/// How events of one doctor ended, as it becomes known. As many wait to be heard as the doctor has in flight.
pub type Heard = UnboundedReceiver<(EventId, Outcome)>;

/// Where outcomes of one doctor's events are told: one way for all of them, so that what is told together wakes once.
#[derive(Clone)]
pub struct Outcomes(UnboundedSender<(EventId, Outcome)>);

/// Who waits for the outcome of an event. Dropped without having been told one, since its lane has died, it says that
/// nobody knows.
struct Waiter {
    event: EventId,
    outcomes: Option<Outcomes>,
}

struct Barrier {
    of: Whose,
    passed: oneshot::Sender<()>,
}

/// Whose events a barrier waits for.
enum Whose {
    Doctor(DoctorId),
    Range(RangeId),
}

/// The way to the store.
#[derive(Clone)]
pub struct Committer {
    lanes: Arc<[mpsc::Sender<Waiting>]>,
}

/// A place in a lane, taken before a command is decided so that staging cannot fail.
pub struct Permit<'a>(mpsc::Permit<'a, Waiting>);

impl Committer {
    /// Starts the lanes where `placement` says.
    pub fn start(
        store: &Arc<dyn BookingStore>,
        node: &Arc<Node>,
        chance: &Arc<dyn Chance>,
        placement: &Placement,
    ) -> Self {
        let lanes = (0..LANES).map(|index| {
            let (sender, inbox) = mpsc::channel(LANE_CAPACITY);
            let lane = lane::Lane::new(inbox, Arc::clone(store), Arc::clone(node), Arc::clone(chance));
            placement.run_lane(index, lane.run());
            sender
        });
        Self { lanes: lanes.collect() }
    }

    /// A place for one event of this range; `None` when its lane is full.
    pub fn reserve(&self, range: RangeId) -> Option<Permit<'_>> {
        self.lane(range).try_reserve().ok().map(Permit)
    }

    /// Returns when no event of `doctor` that was staged before is queued or in flight. From then on its events are
    /// accepted again, should one have been refused.
    pub async fn settled(&self, doctor: DoctorId, range: RangeId) {
        self.pass(range, Whose::Doctor(doctor)).await;
    }

    /// Returns when no event of `range` that was staged before is queued or in flight.
    pub(crate) async fn range_settled(&self, range: RangeId) {
        self.pass(range, Whose::Range(range)).await;
    }

    async fn pass(&self, range: RangeId, of: Whose) {
        let (passed, wait) = oneshot::channel();
        if self.lane(range).send(Waiting::Barrier(Barrier { of, passed })).await.is_ok() {
            // An error means that the lane has ended: nothing is in flight either.
            let _ = wait.await;
        }
    }

    /// Commits what is staged, and ends the lanes.
    pub async fn drain(&self) {
        for lane in self.lanes.iter() {
            let (drained, wait) = oneshot::channel();
            if lane.send(Waiting::Drain(drained)).await.is_ok() {
                let _ = wait.await;
            }
        }
    }

    fn lane(&self, range: RangeId) -> &mpsc::Sender<Waiting> {
        &self.lanes[range.index() % self.lanes.len()]
    }
}

impl Permit<'_> {
    /// Hands the event over. How it ends is told to `outcomes`.
    pub fn stage(self, staged: Staged, outcomes: &Outcomes) {
        let waiter = Waiter { event: staged.id, outcomes: Some(outcomes.clone()) };
        self.0.send(Waiting::Event(InLane { staged, attempts: 0, alone: false, waiter }));
    }
}

impl Outcomes {
    /// A way, and its end.
    pub fn new() -> (Self, Heard) {
        let (outcomes, heard) = unbounded();
        (Self(outcomes), heard)
    }
}

impl Waiter {
    fn tell(&mut self, outcome: Outcome) {
        if let Some(Outcomes(outcomes)) = self.outcomes.take() {
            // Nobody listens when the activation has died; the store knows, and the next one loads.
            let _ = outcomes.unbounded_send((self.event, outcome));
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.tell(Outcome::Unknown);
    }
}
