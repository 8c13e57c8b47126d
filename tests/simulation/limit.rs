//! The limit on a user's bookings to come with one doctor, as the auditor sees it.
//!
//! A refusal must be true: at some moment of the call, the store held as many bookings of that user. A booking must leave
//! no more than the limit on the dates that its calendar certainly had in memory. A calendar may have more of them, but a
//! date that is asked for again tells that everything before was forgotten.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::Rejection;
use engine::calendar::Change;
use tokio::time::Instant;

use crate::auditor::{CLOCKS_APART, Violation, may_be_stale};
use crate::cast::{DATES, SHARED_DOCTOR, SLOTS, date, doctor, seat_of, slot};
use crate::history::{Call, Place, Request, Told};
use crate::session::Outcome;
use crate::store::{Accepted, Load};

/// By then, everything that was decided before is answered.
const ANSWERED_WITHIN: Duration = Duration::from_secs(30);

/// A booking or a cancellation that the store accepted.
struct SeatChange {
    at: usize,
    time: Instant,
    node: usize,
    place: Place,
    user: usize,
    is_booking: bool,
}

/// What each user holds with each doctor.
type Held = BTreeMap<(usize, usize), BTreeSet<Place>>;

/// Checks all bookings, and all refusals for the limit.
pub fn check(outcome: &Outcome) -> Vec<Violation> {
    let changes = changes(outcome);
    let mut violations = Vec::new();
    if let Some(limit) = outcome.limit {
        violations.extend(bookings_beyond(outcome, &changes, limit));
    }
    let refused = outcome.calls.iter().filter_map(|call| match (&call.request, &call.told) {
        (Request::Book { place, user, .. }, Told::Rejected(Rejection::TooManyBookings { limit })) => {
            Some((call, *place, *user, usize::from(*limit)))
        }
        _ => None,
    });
    for (call, place, user, limit) in refused {
        let foreign = place.doctor == SHARED_DOCTOR || may_be_stale(outcome, place, call);
        let is_true = || held_during(outcome, &changes, call, place.doctor, user) >= limit;
        if outcome.limit != Some(limit) || !(foreign || is_true()) {
            violations.push(format!("user {user} never held {limit} bookings: {call:?}"));
        }
    }
    violations
}

fn changes(outcome: &Outcome) -> Vec<SeatChange> {
    let accepted = outcome.accepted.iter().filter_map(|accepted| match accepted {
        Accepted::Event { at, time, node, event } => Some((at, time, node, event)),
        Accepted::Claimed { .. } => None,
    });
    let changes = accepted.flat_map(|(at, time, node, event)| {
        let seats = event.event.changes.iter().filter_map(|change| match change {
            Change::SeatTaken(booking) => Some((booking, true)),
            Change::SeatFreed { booking, .. } => Some((booking, false)),
            Change::HoursSet { .. } => None,
        });
        seats.map(|(booking, is_booking)| {
            let (place, user) = seat_of(&event.doctor, booking);
            SeatChange { at: *at, time: *time, node: *node, place, user, is_booking }
        })
    });
    changes.filter(|change| change.place.doctor != SHARED_DOCTOR).collect()
}

fn held_before(outcome: &Outcome) -> Held {
    let mut held = Held::new();
    for (place, users) in &outcome.before {
        for user in users {
            held.entry((place.doctor, *user)).or_default().insert(*place);
        }
    }
    held
}

fn apply(held: &mut BTreeSet<Place>, change: &SeatChange) {
    if change.is_booking {
        held.insert(change.place);
    } else {
        held.remove(&change.place);
    }
}

/// When the slot begins, by the true clock.
fn begins(outcome: &Outcome, place: Place) -> Instant {
    let minutes = slot(place.slot).minutes() - slot(0).minutes();
    let days = u32::try_from(DATES[place.date]).unwrap();
    outcome.begun + Duration::from_secs(60) * minutes + Duration::from_secs(86_400) * days
}

/// The most bookings that may count as to come which the user held with the doctor at one moment of the call.
fn held_during(outcome: &Outcome, changes: &[SeatChange], call: &Call, doctor: usize, user: usize) -> usize {
    let mut held = held_before(outcome).remove(&(doctor, user)).unwrap_or_default();
    let may_count = |place: &&Place| begins(outcome, **place) + ANSWERED_WITHIN > call.decided;
    let of_user = changes.iter().filter(|change| (change.place.doctor, change.user) == (doctor, user));
    let mut most = 0;
    for change in of_user.take_while(|change| change.at < call.answered) {
        if change.at > call.asked {
            most = most.max(held.iter().filter(may_count).count());
        }
        apply(&mut held, change);
    }
    most.max(held.iter().filter(may_count).count())
}

/// Bookings that left a user with more than the limit on dates that were certainly loaded.
fn bookings_beyond(outcome: &Outcome, changes: &[SeatChange], limit: usize) -> Vec<Violation> {
    let (mut held, mut loads, mut loaded) =
        (held_before(outcome), outcome.loads.iter().peekable(), Loaded::default());
    let mut violations = Vec::new();
    for change in changes {
        while let Some(load) = loads.next_if(|load| load.at < change.at) {
            loaded.hear(load);
        }
        let SeatChange { place, user, .. } = *change;
        let held = held.entry((place.doctor, user)).or_default();
        apply(held, change);
        let counts = |other: &&Place| {
            // To come by whichever clock.
            begins(outcome, **other) > change.time + CLOCKS_APART
                && loaded.has(change.node, place, other.date)
        };
        let count = held.iter().filter(counts).count();
        if change.is_booking && count > limit {
            violations.push(format!("user {user} was given {count} bookings, the last {place:?}: {held:?}"));
        }
    }
    violations
}

/// When each date was last asked for, by node and doctor.
#[derive(Default)]
struct Loaded(BTreeMap<(usize, usize), BTreeMap<usize, usize>>);

impl Loaded {
    fn hear(&mut self, load: &Load) {
        let of = (0..crate::cast::DOCTORS).find(|number| doctor(*number) == load.doctor).unwrap();
        let dates = self.0.entry((load.node, of)).or_default();
        match load.date {
            Some(on) => {
                let number = (0..DATES.len()).find(|number| date(*number) == on).unwrap();
                dates.insert(number, load.at);
            }
            None => dates.clear(),
        }
    }

    /// Whether the calendar that decided about a place had that date as well. Nothing is in flight when a load begins. So
    /// all that was asked for since the place's own date is there, unless a load failed.
    fn has(&self, node: usize, place: Place, other: usize) -> bool {
        let asked = |date| self.0.get(&(node, place.doctor)).and_then(|dates| dates.get(&date));
        other == place.date
            || matches!((asked(place.date), asked(other)), (Some(own), Some(other)) if other > own)
    }
}

const _: () = assert!(SLOTS.len() * DATES.len() > 3, "users reach every limit that is drawn");
