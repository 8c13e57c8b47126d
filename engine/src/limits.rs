//! Every bound of the engine, named, with the relations between them checked at compile time.

use std::num::NonZeroU16;
use std::time::Duration;

use crate::calendar::SLOTS_PER_DAY;

/// Users in one slot.
pub const SEATS_PER_SLOT: usize = 5;
/// How many days ahead of today a booking may lie.
pub const BOOKING_WINDOW_DAYS: u64 = 15;
/// Bookings to come that a user may hold with one doctor, unless a deployment chooses otherwise.
pub const BOOKINGS_PER_DOCTOR: NonZeroU16 = NonZeroU16::new(10).expect("it is not zero");
/// The most that a deployment may choose: every slot of the booking window.
pub const BOOKINGS_PER_DOCTOR_MAX: u16 = 768;
/// How many days a booking's row outlives its date: the table's time to live.
pub const BOOKING_KEPT_DAYS: u64 = 7;

/// Messages that wait in one doctor's mailbox; one more is refused as busy.
pub const MAILBOX_CAPACITY: usize = 512;
/// Commands of one doctor that are parked, or staged and not yet settled.
pub const DOCTOR_PENDING_MAX: usize = 1024;
/// Doctors in memory at once.
pub const ACTIVATIONS_MAX: usize = 50_000;
/// Look-ups of doctors not yet in memory that may run at once.
pub const ACTIVATING_MAX: usize = 256;
/// How long a doctor stays in memory after its last message.
pub const IDLE_BEFORE_PASSIVATION: Duration = Duration::from_secs(300);
/// The same when memory is nearly full of doctors.
pub const IDLE_UNDER_PRESSURE: Duration = Duration::from_secs(5);
/// How often idle doctors are looked for.
pub const IDLE_CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// The longest that an ask may take, from the handler to its answer.
pub const ASK_DEADLINE: Duration = Duration::from_secs(15);
/// How often a command is decided again after a commit that did not happen.
pub const DECIDE_ATTEMPTS_MAX: u32 = 4;

/// The committer's queues, each with one transaction in flight.
pub const LANES: usize = 4;
/// Events that wait in one lane; one more is refused as busy.
pub const LANE_CAPACITY: usize = 4096;
/// Actions in one transaction (DynamoDB developer guide, "Transactions: how it works").
pub const BATCH_ACTIONS_MAX: usize = 100;
/// Bytes in one transaction (the same page).
pub const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The largest item that an event writes: two addresses, each at most three times, and what is small.
pub const ITEM_BYTES_MAX: usize = 2 * 1024;
/// Actions of one event: one less than a batch, which also checks the range's fence. The committer refuses a larger one.
pub const EVENT_ACTIONS_MAX: usize = BATCH_ACTIONS_MAX - 1;
/// Transactions that an event may be part of before a conflict or throttle becomes its caller's problem.
pub const COMMIT_ATTEMPTS_MAX: u32 = 12;
/// The longest pause after a conflict or throttle; the first is a hundredth of it.
pub const COMMIT_BACKOFF_MAX: Duration = Duration::from_millis(400);
/// The longest that one attempt to commit may take before its outcome counts as unknown.
pub const COMMIT_ATTEMPT_TIMEOUT: Duration = Duration::from_secs(3);
/// How long an unknown outcome is asked for again with the same token.
pub const UNKNOWN_RESOLVED_WITHIN: Duration = Duration::from_secs(6);
/// How long DynamoDB knows a request token (developer guide, "Idempotency").
pub const REQUEST_TOKEN_LIFE: Duration = Duration::from_secs(600);

/// Points on the ring of doctors.
pub const RING_POINTS: u32 = 65_536;
/// Contiguous parts of the ring, each with a fence item, unless a deployment chooses otherwise.
pub const RANGES: u16 = 64;
/// The most that a deployment may choose.
pub const RANGES_MAX: u16 = 4096;
/// How long a first load waits after an epoch was raised, so that no transaction of the old epoch is still being
/// applied to items that a `Query` reads, unless the store knows better ([`crate::Fences::settle`]). The design's one
/// assumption about timing; see ARCHITECTURE.md.
pub const TAKEOVER_SETTLE: Duration = Duration::from_millis(250);
/// Fence items that are claimed at once.
pub const CLAIMS_AT_ONCE: usize = 16;
/// Attempts to claim one range: running transactions conflict with a claim.
pub const CLAIM_ATTEMPTS_MAX: u32 = 40;
/// The longest pause between two attempts to claim.
pub const CLAIM_BACKOFF_MAX: Duration = Duration::from_millis(250);
/// How often a node looks whether its ranges are still its own.
pub const FENCE_WATCH_INTERVAL: Duration = Duration::from_secs(1);
/// How long the store may stay silent before the node says that it can't book, and answers nothing from memory.
pub const STORE_SILENT_MAX: Duration = Duration::from_secs(5);
/// How often a node of a cluster renews its lease.
pub const HEARTBEAT: Duration = Duration::from_secs(1);
/// How long a node's heartbeat must stand still before its ranges are taken.
pub const LEASE: Duration = Duration::from_secs(3);
/// What part of a lease its owner does not rely on: clocks may run that much slower than others.
pub const LEASE_MARGIN: u32 = 10;
/// How long an ask waits for a doctor's range to have an owner before it is refused.
pub const ROUTE_WAIT: Duration = Duration::from_secs(2);
/// How long a node that was asked for a doctor may still answer once the doctor's range has another owner.
pub const ROUTE_GRACE: Duration = Duration::from_secs(1);
/// How long a node that leaves tries to hand over its ranges.
pub const LEAVE_WITHIN: Duration = Duration::from_secs(7);

/// Answers of the last [`RECENT_KEPT`] that are laid over the eventually consistent index of a user's bookings.
pub const RECENT_MAX: usize = 65_536;
/// How long an answer is remembered.
pub const RECENT_KEPT: Duration = Duration::from_secs(60);

const _: () = assert!(BOOKINGS_PER_DOCTOR.get() <= BOOKINGS_PER_DOCTOR_MAX);
const _: () = assert!(BOOKINGS_PER_DOCTOR_MAX as u64 == (BOOKING_WINDOW_DAYS + 1) * SLOTS_PER_DAY as u64);
const _: () = assert!(BATCH_ACTIONS_MAX * ITEM_BYTES_MAX <= BATCH_BYTES_MAX);
const _: () = assert!(EVENT_ACTIONS_MAX < BATCH_ACTIONS_MAX);
const _: () = assert!(UNKNOWN_RESOLVED_WITHIN.as_secs() * 10 <= REQUEST_TOKEN_LIFE.as_secs());
const _: () = assert!(COMMIT_ATTEMPT_TIMEOUT.as_millis() < UNKNOWN_RESOLVED_WITHIN.as_millis());
const _: () = assert!(UNKNOWN_RESOLVED_WITHIN.as_millis() < ASK_DEADLINE.as_millis());
const _: () = assert!(RING_POINTS.is_multiple_of(RANGES as u32));
const _: () = assert!(LANES <= RANGES as usize && RANGES <= RANGES_MAX);
const _: () = assert!(HEARTBEAT.as_millis() * 2 <= LEASE.as_millis());
const _: () = assert!(ROUTE_WAIT.as_millis() < ASK_DEADLINE.as_millis());
