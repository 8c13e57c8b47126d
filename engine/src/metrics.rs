//! What the engine counts and measures: every name and its meaning, and one function for each thing that happens. Who
//! collects it is the program's business; without a collector it costs next to nothing. At most two are touched for a
//! booking, the others once for a batch, a load or an activation. A histogram is in seconds if its name says so, and
//! counts otherwise.

use std::sync::OnceLock;
use std::time::Duration;

use metrics::{
    Counter, Histogram, counter, describe_counter, describe_gauge, describe_histogram, gauge, histogram,
};

use crate::calendar::Rejection;
use crate::committer::Outcome;
use crate::doctor::{Answer, PassivationReason, ReloadReason};
use crate::error::EngineError;
use crate::limits::MAILBOX_CAPACITY;
use crate::store::{Batch, CommitError};

const DOCTORS_ACTIVE: &str = "kokoro_doctors_active";
const MAILBOX_DEPTH: &str = "kokoro_mailbox_depth";
const COMMANDS: &str = "kokoro_commands_total";
const COMMIT_EVENTS: &str = "kokoro_commit_events";
const COMMIT_ACTIONS: &str = "kokoro_commit_actions";
const COMMIT_SECONDS: &str = "kokoro_commit_seconds";
const LANE_DEPTH: &str = "kokoro_lane_depth";
const EVENTS: &str = "kokoro_events_total";
const LOAD_SECONDS: &str = "kokoro_load_seconds";
const RELOADS: &str = "kokoro_reloads_total";
const PASSIVATIONS: &str = "kokoro_passivations_total";
const EPOCHS_RAISED: &str = "kokoro_epochs_raised_total";
const CLUSTER_NODES: &str = "kokoro_cluster_nodes";
const RANGES_OWNED: &str = "kokoro_ranges_owned";
const BURIALS: &str = "kokoro_burials_total";
const FORWARDED: &str = "kokoro_forwarded_total";

/// How the store answers a request to commit.
const COMMITTED: &str = "committed";
const CANCELLED: &str = "cancelled";
const ABORTED: &str = "aborted";
const MALFORMED: &str = "malformed";
const UNKNOWN: &str = "unknown";
const TIMED_OUT: &str = "timed_out";

/// Who was found dead.
const ANOTHER: &str = "another";
const THIS_NODE: &str = "this_node";

/// Says what each name means, to whoever collects.
pub fn describe() {
    describe_gauge!(DOCTORS_ACTIVE, "Doctors in memory");
    describe_histogram!(MAILBOX_DEPTH, "Messages before a command in its doctor's mailbox when it came");
    describe_counter!(
        COMMANDS,
        "Commands by their answer: booked, cancelled, schedule_set, a rule that refused, busy, not_here, unavailable or \
         outcome_unknown"
    );
    describe_histogram!(COMMIT_EVENTS, "Events in one request to the store");
    describe_histogram!(COMMIT_ACTIONS, "Actions in one request to the store, the checks of fences included");
    describe_histogram!(
        COMMIT_SECONDS,
        "Requests to the store to commit, by its answer: committed, cancelled, aborted, malformed, unknown or timed_out"
    );
    describe_histogram!(LANE_DEPTH, "Events in a lane when it packs a batch");
    describe_counter!(
        EVENTS,
        "Staged events by how they ended: committed, refused, withdrawn, aborted, unknown or fenced"
    );
    describe_histogram!(LOAD_SECONDS, "Loads of a doctor from the store, by whether it was loaded");
    describe_counter!(RELOADS, "Calendars given up, by why: commit_refused, commit_unknown or fenced");
    describe_counter!(PASSIVATIONS, "Activations ended, by why: idle, fenced, shutdown or died");
    describe_counter!(EPOCHS_RAISED, "Epochs raised because the outcome of a commit stayed unknown");
    describe_gauge!(CLUSTER_NODES, "Nodes of the cluster that this one sees, itself included");
    describe_gauge!(RANGES_OWNED, "Ranges of doctors that this node owns");
    describe_counter!(BURIALS, "Nodes that were found dead, by who was: another, or this node itself");
    describe_counter!(FORWARDED, "Requests passed on to the node that owns the doctor");
    start_at_zero();
}

/// Gives each rare counter its first sample. Prometheus sees no growth in a series that begins with 1, so an alert would
/// miss the first event.
fn start_at_zero() {
    for answer in ANSWERS {
        counter!(COMMANDS, "answer" => answer).increment(0);
    }
    let lost = Outcome::Withdrawn { lost: true };
    for outcome in
        [Outcome::Committed, Outcome::Refused, lost, Outcome::Aborted, Outcome::Unknown, Outcome::Fenced]
    {
        ended_like(outcome).increment(0);
    }
    for reason in [ReloadReason::CommitRefused, ReloadReason::CommitUnknown, ReloadReason::Fenced] {
        reloads_for(reason).increment(0);
    }
    let ends = [PassivationReason::Idle, PassivationReason::Fenced, PassivationReason::Shutdown];
    for ends in ends.map(Some).into_iter().chain([None]) {
        passivations_for(ends).increment(0);
    }
    for answer in [COMMITTED, CANCELLED, ABORTED, MALFORMED, UNKNOWN, TIMED_OUT] {
        let _registered = commit_seconds(answer);
    }
    for who in [ANOTHER, THIS_NODE] {
        counter!(BURIALS, "who" => who).increment(0);
    }
    for name in [EPOCHS_RAISED, FORWARDED] {
        counter!(name).increment(0);
    }
}

/// A doctor in memory, for as long as this lives.
pub(crate) struct Active {
    ends: Option<PassivationReason>,
}

impl Active {
    pub(crate) fn begin() -> Self {
        gauge!(DOCTORS_ACTIVE).increment(1.0);
        Self { ends: None }
    }

    /// Why it is about to end; without a word, it has died.
    pub(crate) const fn ends(&mut self, reason: PassivationReason) {
        self.ends = Some(reason);
    }
}

impl Drop for Active {
    fn drop(&mut self) {
        gauge!(DOCTORS_ACTIVE).decrement(1.0);
        passivations_for(self.ends).increment(1);
    }
}

fn passivations_for(ends: Option<PassivationReason>) -> Counter {
    let reason = match ends {
        Some(PassivationReason::Idle) => "idle",
        Some(PassivationReason::Fenced) => "fenced",
        Some(PassivationReason::Shutdown) => "shutdown",
        None => "died",
    };
    counter!(PASSIVATIONS, "reason" => reason)
}

/// What a command can be answered with, the usual first.
const ANSWERS: [&str; 16] = [
    "booked",
    "cancelled",
    "slot_full",
    "already_booked",
    "slot_unavailable",
    "too_many_bookings",
    "slot_in_past",
    "outside_booking_window",
    "booking_not_found",
    "doctor_not_found",
    "booked_before",
    "schedule_set",
    "busy",
    "not_here",
    "unavailable",
    "outcome_unknown",
];

/// The collector's counters of what is asked: to look them up for each command takes longer than to count.
#[derive(Default)]
pub(crate) struct Asked {
    mailbox_depth: OnceLock<Histogram>,
    answers: [OnceLock<Counter>; ANSWERS.len()],
}

impl Asked {
    /// A message found this many places free in its doctor's mailbox.
    pub(crate) fn delivered(&self, places_free: usize) {
        let depth = self.mailbox_depth.get_or_init(|| histogram!(MAILBOX_DEPTH));
        depth.record(count(MAILBOX_CAPACITY.saturating_sub(places_free)));
    }

    /// A command was answered.
    pub(crate) fn answered(&self, answer: Result<&Answer, &EngineError>) {
        let answer = match answer {
            Ok(Answer::Booked(_)) => "booked",
            Ok(Answer::BookedBefore(_)) => "booked_before",
            Ok(Answer::Cancelled) => "cancelled",
            Ok(Answer::ScheduleSet) => "schedule_set",
            Err(EngineError::Rejected(rejection)) => rule(*rejection),
            Err(EngineError::Busy) => "busy",
            Err(EngineError::NotHere) => "not_here",
            Err(EngineError::Unavailable) => "unavailable",
            Err(EngineError::OutcomeUnknown) => "outcome_unknown",
        };
        for (name, counter) in ANSWERS.iter().zip(&self.answers).filter(|(name, _)| **name == answer) {
            counter.get_or_init(|| counter!(COMMANDS, "answer" => *name)).increment(1);
        }
    }
}

const fn rule(rejection: Rejection) -> &'static str {
    match rejection {
        Rejection::SlotFull => "slot_full",
        Rejection::AlreadyBooked => "already_booked",
        Rejection::SlotUnavailable => "slot_unavailable",
        Rejection::TooManyBookings { .. } => "too_many_bookings",
        Rejection::SlotInPast => "slot_in_past",
        Rejection::OutsideWindow => "outside_booking_window",
        Rejection::BookingNotFound => "booking_not_found",
        Rejection::DoctorNotFound => "doctor_not_found",
    }
}

/// The collector's measures of what a lane does: what comes with each batch is looked up once, as [`Asked`] has it.
#[derive(Default)]
pub(crate) struct Batches {
    depth: OnceLock<Histogram>,
    events: OnceLock<Histogram>,
    actions: OnceLock<Histogram>,
    seconds: OnceLock<Histogram>,
    committed: OnceLock<Counter>,
}

impl Batches {
    /// The lane holds this many events and is about to pack some of them.
    pub(crate) fn packing(&self, depth: usize) {
        self.depth.get_or_init(|| histogram!(LANE_DEPTH)).record(count(depth));
    }

    /// A batch of this many actions was sent to the store, which took this long; `None`: it did not answer in time.
    pub(crate) fn sent(
        &self,
        batch: &Batch,
        actions: usize,
        took: Duration,
        answer: Option<&Result<(), CommitError>>,
    ) {
        self.events.get_or_init(|| histogram!(COMMIT_EVENTS)).record(count(batch.events.len()));
        self.actions.get_or_init(|| histogram!(COMMIT_ACTIONS)).record(count(actions));
        match answer {
            Some(Ok(())) => self.seconds.get_or_init(|| commit_seconds(COMMITTED)).record(took),
            Some(Err(CommitError::Cancelled(_))) => commit_seconds(CANCELLED).record(took),
            Some(Err(CommitError::Aborted(_))) => commit_seconds(ABORTED).record(took),
            Some(Err(CommitError::Malformed(_))) => commit_seconds(MALFORMED).record(took),
            Some(Err(CommitError::Unknown(_))) => commit_seconds(UNKNOWN).record(took),
            None => commit_seconds(TIMED_OUT).record(took),
        }
    }

    /// This many events are stored.
    pub(crate) fn committed(&self, events: usize) {
        let committed = self.committed.get_or_init(|| ended_like(Outcome::Committed));
        committed.increment(events as u64);
    }
}

fn commit_seconds(answer: &'static str) -> Histogram {
    histogram!(COMMIT_SECONDS, "answer" => answer)
}

/// An event ended like this.
pub(crate) fn ended(outcome: Outcome) {
    ended_like(outcome).increment(1);
}

fn ended_like(outcome: Outcome) -> Counter {
    let outcome = match outcome {
        Outcome::Committed => "committed",
        Outcome::Refused => "refused",
        Outcome::Withdrawn { .. } => "withdrawn",
        Outcome::Aborted => "aborted",
        Outcome::Unknown => "unknown",
        Outcome::Fenced => "fenced",
    };
    counter!(EVENTS, "outcome" => outcome)
}

/// A load took this long.
pub(crate) fn loaded(took: Duration, is_loaded: bool) {
    let loaded = if is_loaded { "yes" } else { "no" };
    histogram!(LOAD_SECONDS, "loaded" => loaded).record(took);
}

/// A doctor's calendar is given up.
pub(crate) fn reloads(reason: ReloadReason) {
    reloads_for(reason).increment(1);
}

fn reloads_for(reason: ReloadReason) -> Counter {
    let reason = match reason {
        ReloadReason::CommitRefused => "commit_refused",
        ReloadReason::CommitUnknown => "commit_unknown",
        ReloadReason::Fenced => "fenced",
    };
    counter!(RELOADS, "reason" => reason)
}

/// The epoch of a range was raised after an unknown outcome.
pub(crate) fn epoch_raised() {
    counter!(EPOCHS_RAISED).increment(1);
}

/// How the cluster looks.
pub(crate) fn cluster(nodes: usize, ranges_owned: usize) {
    gauge!(CLUSTER_NODES).set(count(nodes));
    gauge!(RANGES_OWNED).set(count(ranges_owned));
}

/// Another node was found dead.
pub(crate) fn burials() {
    counter!(BURIALS, "who" => ANOTHER).increment(1);
}

/// This node was found dead by another one.
pub(crate) fn buried() {
    counter!(BURIALS, "who" => THIS_NODE).increment(1);
}

/// A request goes to another node.
pub(crate) fn forwarded() {
    counter!(FORWARDED).increment(1);
}

#[expect(clippy::cast_precision_loss, reason = "no queue is longer than 2^52")]
const fn count(number: usize) -> f64 {
    number as f64
}
