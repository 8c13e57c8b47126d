//! What the engine asks of a store. The traits sit with their consumer; `persistence` implements them over DynamoDB,
//! and [`MemoryStore`] is the same contract in a page of code.

mod memory;

use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;

use crate::calendar::{Booking, Event, Part, SlotStart, SpellingSet, StoredPart};
use crate::ids::{DoctorId, EventId, NodeId, RequestToken};
use crate::limits::TAKEOVER_SETTLE;
use crate::shard::{FencingEpoch, RangeId};

pub use memory::MemoryStore;

/// Loads calendars and commits events.
pub trait BookingStore: Send + Sync + 'static {
    /// Whether `Doctors` holds a row of this identity (strongly consistent).
    fn doctor_exists(&self, doctor: &DoctorId) -> BoxFuture<'static, Result<bool, LoadError>>;

    /// Parts of a doctor's calendar, in the order asked for (strongly consistent): a date's bookings under every spelling
    /// of that date; a weekday's published rows, or those under the old platform's key where the plain key has none.
    fn load(
        &self,
        doctor: &DoctorId,
        parts: &[Part],
    ) -> BoxFuture<'static, Result<Vec<StoredPart>, LoadError>>;

    /// Writes the whole batch in one transaction, or nothing. The same batch may be committed again with its token;
    /// an implementation must not retry by itself, for that would hide an unknown outcome.
    fn commit(&self, batch: &Batch) -> BoxFuture<'static, Result<(), CommitError>>;
}

/// Claims ranges and reads who holds them.
pub trait Fences: Send + Sync + 'static {
    /// The fences of these ranges (strongly consistent); a range that nobody has ever owned has none.
    fn read(&self, ranges: &[RangeId]) -> BoxFuture<'static, Result<Vec<Fence>, LoadError>>;

    /// Raises a range's epoch to the one after `from` (`None`: no item yet) and makes the node its owner, on condition
    /// that nobody has raised it since.
    fn claim(&self, claim: &Claim) -> BoxFuture<'static, Result<FencingEpoch, ClaimError>>;

    /// How long after a claim was answered a load may miss a batch of the epoch before: [`TAKEOVER_SETTLE`], unless the
    /// store shows everything that it took before the claim as soon as it answers that.
    fn settle(&self) -> Duration {
        TAKEOVER_SETTLE
    }
}

/// The nodes of a cluster and their heartbeats: one item for each, which lives as long as the node's lease. Whoever finds
/// that one has stood still for a whole lease buries the node; from then on that identity never owns anything again.
pub trait Nodes: Send + Sync + 'static {
    /// Every heartbeat (strongly consistent).
    fn list(&self) -> BoxFuture<'static, Result<Vec<Heartbeat>, LoadError>>;

    /// Adds a node, on condition that nobody has its identity.
    fn join(&self, heartbeat: &Heartbeat) -> BoxFuture<'static, Result<(), BeatError>>;

    /// Renews a node's lease, on condition that it has not been buried, and that no later heartbeat is there already.
    fn beat(&self, heartbeat: &Heartbeat) -> BoxFuture<'static, Result<(), BeatError>>;

    /// Takes a node out, on condition that its heartbeat still stands at `count`.
    fn bury(&self, node: NodeId, count: u64) -> BoxFuture<'static, Result<(), BeatError>>;
}

/// What a node says of itself, again and again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heartbeat {
    /// Who.
    pub node: NodeId,
    /// Where other nodes reach it.
    pub address: String,
    /// Grows with each heartbeat.
    pub count: u64,
    /// It is about to stop, and hands over what it has.
    pub leaving: bool,
    /// What it owns, as far as it knows.
    pub owns: Vec<Holding>,
    /// How many doctors it has in memory.
    pub doctors: u64,
}

/// A range in the hands of its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Which.
    pub range: RangeId,
    /// Under which epoch.
    pub epoch: FencingEpoch,
    /// Since when, in seconds since 1970.
    pub since: i64,
}

/// One fence item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fence {
    /// The range that it guards.
    pub range: RangeId,
    /// Whose writes the store accepts.
    pub owner: NodeId,
    /// Where the owner can be reached; empty for a single node.
    pub address: String,
    /// Under which epoch.
    pub epoch: FencingEpoch,
}

/// A request to own a range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The range wanted.
    pub range: RangeId,
    /// Who wants it.
    pub node: NodeId,
    /// Where the node can be reached; empty for a single node.
    pub address: String,
    /// The epoch last seen; `None` when the range had no fence item.
    pub from: Option<FencingEpoch>,
}

/// What is written together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Makes a repeat of this very request recognisable to the store.
    pub token: RequestToken,
    /// The fences that must still stand, one for each range in the batch.
    pub checks: Vec<FenceCheck>,
    /// The events, no two of which touch the same item.
    pub events: Vec<BatchEvent>,
}

/// A condition of a batch: this range's fence still bears this epoch (checked in `persistence/.../transact.rs`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FenceCheck {
    /// The range.
    pub range: RangeId,
    /// The epoch under which every calendar of that range in the batch was loaded.
    pub epoch: FencingEpoch,
}

/// One event of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BatchEvent {
    /// Whose calendar.
    pub doctor: DoctorId,
    /// Stored with a booking.
    pub id: EventId,
    /// What happened.
    pub event: Arc<Event>,
}

/// A date's bookings as stored.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DateRows {
    /// Seats of users, in no particular order.
    pub seats: Vec<StoredSeat>,
    /// Slots in which a row holds a seat for somebody whose identity cannot be read.
    pub unreadable: Vec<SlotStart>,
}

/// One stored booking.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredSeat {
    /// The booking.
    pub booking: Booking,
    /// How its key spells the date.
    pub spellings: SpellingSet,
    /// The event that wrote it, unless the old platform did.
    pub event: Option<EventId>,
}

/// A read that gave nothing.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// Throttled, unreachable or too slow: may be asked again.
    #[error("the store does not answer, a retry is safe: {0}")]
    Unavailable(String),
    /// The store refuses the request itself, or answers what makes no sense.
    #[error("the store refuses to read: {0}")]
    Refused(String),
}

/// Why a batch was not, or not certainly, written.
#[derive(Debug, thiserror::Error)]
pub enum CommitError {
    /// Cancelled as a whole, with a reason for each action; nothing was written.
    #[error("transaction cancelled")]
    Cancelled(Reasons),
    /// Refused before any action was looked at, by throttling for one; nothing was written by this attempt.
    #[error("request refused, a retry is safe: {0}")]
    Aborted(String),
    /// The store calls the request malformed; nothing was written, and a repeat would not help.
    #[error("request malformed: {0}")]
    Malformed(String),
    /// Time ran out or the connection broke: it may have happened.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

/// Why a heartbeat was not, or not certainly, written.
#[derive(Debug, thiserror::Error)]
pub enum BeatError {
    /// The condition does not hold: the node is buried, or has moved on.
    #[error("the heartbeat has moved on")]
    Moved,
    /// It may have happened.
    #[error("the store does not answer: {0}")]
    Unknown(String),
}

/// The cancellation reasons of a batch, action by action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reasons {
    /// For each of [`Batch::checks`].
    pub checks: Vec<Reason>,
    /// For each of [`Batch::events`]: the worst of its actions.
    pub events: Vec<Reason>,
}

impl Reasons {
    /// Whether nothing but conflicts and throttles stood in the way.
    pub fn only_transient(&self) -> bool {
        self.checks
            .iter()
            .chain(&self.events)
            .all(|reason| matches!(reason, Reason::Innocent | Reason::Transient))
    }
}

/// Why one action stood in the way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It did not.
    Innocent,
    /// A conflict, a throttle: nobody's fault.
    Transient,
    /// Its condition failed. `found` is the event id of the item that was there, if one was and had one.
    ConditionFailed {
        /// The event id that the item in the way bears.
        found: Option<EventId>,
    },
    /// The action can never be written (too large, malformed).
    Invalid,
}

/// Why a range was not claimed.
#[derive(Debug, thiserror::Error)]
pub enum ClaimError {
    /// Somebody raised the epoch since it was read.
    #[error("the range has a newer owner")]
    Raised,
    /// A running transaction, a throttle: nothing was written.
    #[error("not now, a retry is safe: {0}")]
    Aborted(String),
    /// It may have happened: read the owner.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}
