//! The auditor, written from the rules of API.md and not from the calendar. It sees requests, answers, and the store.
//!
//! A slot is the object that is checked: what the store accepted about it, what clients were told, and what it held before
//! and after must have an order, within the times at which each was under way, in which all of it is right
//! (linearizability).

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::Datelike;
use engine::DoctorId;
use engine::Rejection;
use engine::calendar::Change;
use engine::limits::{SEATS_PER_SLOT, STORE_SILENT_MAX};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;
use tokio::time::Instant;

use crate::cast::{DATES, DOCTORS, SHARED_DOCTOR, SLOTS, date, doctor, seat_of, slot, weekday_of};
use crate::history::{Call, Place, Request, Told};
use crate::limit;
use crate::session::{DRIFT_MAX, Outcome, ring};
use crate::slot::{About, Slot};
use crate::store::Accepted;

/// How far clocks are apart at most.
pub const CLOCKS_APART: Duration = Duration::from_secs(2);

/// How much about one slot is searched for an order without being given one: the search may be exponential.
const SEARCHED_MAX: usize = 40;

/// What is wrong, in words.
pub type Violation = String;

/// Checks a whole run.
pub fn audit(outcome: &Outcome) -> Vec<Violation> {
    let mut violations = committed_history(outcome);
    violations.extend(bookings_of_the_past(outcome));
    violations.extend(limit::check(outcome));
    violations.extend(outcome.stuck.iter().map(|stuck| format!("stuck although all is calm: {stuck}")));
    violations.extend(places().filter_map(|place| check_slot(outcome, place).err()));
    violations
}

/// No event raises a slot above five, none books twice, none cancels what is not there; and the store holds in the end
/// what its history says.
fn committed_history(outcome: &Outcome) -> Vec<Violation> {
    let mut seats: BTreeMap<Place, BTreeSet<usize>> =
        outcome.before.iter().map(|(place, users)| (*place, users.iter().copied().collect())).collect();
    let mut violations = Vec::new();
    for accepted in &outcome.accepted {
        let Accepted::Event { event, .. } = accepted else { continue };
        if event.doctor == doctor(SHARED_DOCTOR) {
            continue;
        }
        for change in &event.event.changes {
            match change {
                Change::SeatTaken(booking) => {
                    let (place, user) = seat_of(&event.doctor, booking);
                    let held = seats.entry(place).or_default();
                    if !held.insert(user) {
                        violations.push(format!("user {user} was booked twice into {place:?}"));
                    }
                    if held.len() > SEATS_PER_SLOT {
                        violations.push(format!("{place:?} was raised to {} users", held.len()));
                    }
                }
                Change::SeatFreed { booking, .. } => {
                    let (place, user) = seat_of(&event.doctor, booking);
                    if !seats.entry(place).or_default().remove(&user) {
                        violations.push(format!("user {user} was cancelled from {place:?} without a seat"));
                    }
                }
                Change::HoursSet { .. } => {}
            }
        }
    }
    for place in places().filter(|place| place.doctor != SHARED_DOCTOR) {
        let history: Vec<usize> = seats.get(&place).into_iter().flatten().copied().collect();
        let stored = outcome.after.get(&place).cloned().unwrap_or_default();
        if history != stored {
            violations.push(format!("{place:?} holds {stored:?}, and its history says {history:?}"));
        }
    }
    violations
}

/// Nothing is booked or cancelled once its slot has begun, whoever's clock it is.
fn bookings_of_the_past(outcome: &Outcome) -> Vec<Violation> {
    let late = |at: Instant| at > outcome.begun + CLOCKS_APART;
    let first = |place: &Place| place.date == 0 && place.slot == 0;
    let done = outcome.calls.iter().filter(|call| call.told == Told::Done);
    done.filter(|call| match &call.request {
        // A booking may be a repeat, which is answered for as long as it stands.
        Request::Book { place, key: None, .. } | Request::Cancel { place, .. } => {
            // Long enough for whatever was decided before.
            first(place) && late(call.decided) && call.decided > outcome.begun + Duration::from_secs(30)
        }
        Request::Book { .. }
        | Request::SetSlots { .. }
        | Request::UpdateSlot { .. }
        | Request::Look { .. } => false,
    })
    .map(|call| format!("done after its slot had begun: {call:?}"))
    .collect()
}

fn places() -> impl Iterator<Item = Place> {
    let of = |doctor| {
        (0..DATES.len()).flat_map(move |date| (0..SLOTS.len()).map(move |slot| Place { doctor, date, slot }))
    };
    (0..DOCTORS).flat_map(of)
}

/// Something about a slot, and within which times it took effect.
#[derive(Debug)]
struct Span {
    from: usize,
    to: usize,
    about: About,
}

fn calls_about(outcome: &Outcome, place: Place) -> Vec<Call> {
    let concerns = |call: &&Call| match &call.request {
        Request::Book { place: at, .. } | Request::Cancel { place: at, .. } => *at == place,
        Request::SetSlots { doctor, weekday, .. } => {
            *doctor == place.doctor && *weekday == weekday_of(place.date)
        }
        Request::UpdateSlot { doctor, weekday, slot, .. } => {
            *doctor == place.doctor && *weekday == weekday_of(place.date) && *slot == place.slot
        }
        Request::Look { doctor, date } => *doctor == place.doctor && *date == place.date,
    };
    outcome.calls.iter().filter(concerns).cloned().collect()
}

/// What the store accepted about a slot, in its order; each may take effect for others until somebody is told of it.
fn accepted_about(outcome: &Outcome, place: Place) -> Vec<Span> {
    let about = |of: &DoctorId, change: &Change| match change {
        Change::SeatTaken(booking) => {
            let (at, user) = seat_of(of, booking);
            let key = booking.key.as_ref().map(|key| key.as_str()[1..].parse().unwrap());
            (at == place).then_some(About::Booked { user, key })
        }
        Change::SeatFreed { booking, .. } => {
            let (at, user) = seat_of(of, booking);
            (at == place).then_some(About::Cancelled { user })
        }
        Change::HoursSet { weekday, rows } => {
            let row = rows.iter().find(|row| row.span == slot(place.slot).span());
            let meant = *of == doctor(place.doctor) && *weekday == date(place.date).weekday();
            meant.then(|| About::Offered(row.is_some_and(|row| row.available)))
        }
    };
    let accepted = outcome.accepted.iter().filter_map(|accepted| match accepted {
        Accepted::Event { at, event, .. } => Some((at, event)),
        Accepted::Claimed { .. } => None,
    });
    let about = accepted.flat_map(|(at, event)| {
        let about = event.event.changes.iter().filter_map(|change| about(&event.doctor, change));
        about.map(|about| Span { from: *at, to: usize::MAX, about }).collect::<Vec<_>>()
    });
    about.collect()
}

/// What a call claims to have done to a slot.
fn done(place: Place, call: &Call) -> Option<About> {
    match &call.request {
        Request::Book { user, key, .. } => Some(About::Booked { user: *user, key: *key }),
        Request::Cancel { user, .. } => Some(About::Cancelled { user: *user }),
        Request::SetSlots { offered, .. } => Some(About::Offered(offered[place.slot])),
        Request::UpdateSlot { available, .. } => Some(About::Offered(*available)),
        Request::Look { .. } => None,
    }
}

/// What an answer that changes nothing says, if it says anything.
fn said(place: Place, call: &Call) -> Option<About> {
    match (&call.request, &call.told) {
        (_, Told::Rejected(Rejection::SlotInPast | Rejection::OutsideWindow)) => None,
        (Request::Book { user, key, .. }, Told::Rejected(why)) => {
            Some(About::Refused { user: *user, key: *key, why: *why })
        }
        (Request::Cancel { user, .. }, Told::Rejected(Rejection::BookingNotFound)) => {
            Some(About::NotFound { user: *user })
        }
        (Request::Look { .. }, Told::Seen(seats)) => Some(About::Seen(seats[place.slot])),
        (_, Told::NotDone | Told::Unknown | Told::Done) => None,
        (request, told) => panic!("{request:?} was told {told:?}"),
    }
}

/// Puts together what the store accepted and what was said. Every success must have been accepted while its call was
/// under way, each by itself; every event must have been asked for by somebody who was not told that nothing happened.
fn spans_about(outcome: &Outcome, place: Place, calls: &[Call]) -> Result<Vec<Span>, Violation> {
    let mut events = accepted_about(outcome, place);
    let mut spans = Vec::new();
    let mut by_answer: Vec<&Call> = calls.iter().collect();
    by_answer.sort_by_key(|call| call.answered);
    for call in by_answer {
        let stale = may_be_stale(outcome, place, call);
        if call.told == Told::Done
            && let Some(about) = done(place, call)
        {
            let within = |event: &&mut Span| {
                event.to == usize::MAX
                    && (call.asked..call.answered).contains(&event.from)
                    && event.about == about
            };
            if let Some(event) = events.iter_mut().find(within) {
                event.to = call.answered;
            } else if let About::Booked { user, key: Some(key) } = about {
                // A repeat is told from memory.
                if !stale {
                    spans.push(Span {
                        from: call.asked,
                        to: call.answered,
                        about: About::Repeated { user, key },
                    });
                }
            } else if place.doctor != SHARED_DOCTOR || !matches!(about, About::Cancelled { .. }) {
                // At the shared doctor, the old platform may have taken the row that a lost attempt was to take.
                return Err(format!("acknowledged, and never accepted by the store: {call:?}"));
            }
        } else if let Some(about) = said(place, call)
            && !stale
        {
            spans.push(Span { from: call.asked, to: call.answered, about });
        }
    }
    for event in events.iter().filter(|event| event.to == usize::MAX) {
        // Where the old platform takes a booking away, the call that made it may make it again; where it writes the same one
        // over it, the call that made it takes it for another's. Then the limit may be what refuses it.
        let again = |call: &Call| {
            let overwritten = matches!(
                call.told,
                Told::Done | Told::Rejected(Rejection::AlreadyBooked | Rejection::TooManyBookings { .. })
            );
            place.doctor == SHARED_DOCTOR && overwritten
        };
        let caused = |call: &&Call| {
            (call.told == Told::Unknown || again(call))
                && call.asked < event.from
                && done(place, call).as_ref() == Some(&event.about)
        };
        // A schedule is written for all of its weekday's slots: whose word a slot then follows is not told apart.
        if !matches!(event.about, About::Offered(_)) && !calls.iter().any(|call| caused(&call)) {
            return Err(format!(
                "{:?} of {place:?} was accepted, and nobody who may have asked for it",
                event.about
            ));
        }
    }
    spans.extend(events);
    Ok(spans)
}

/// Whether the answer may rest on the memory of a node that does not yet know that it is deposed. A single node has as
/// long as the store may stay silent to learn it; what it answers later must be right.
pub fn may_be_stale(outcome: &Outcome, place: Place, call: &Call) -> bool {
    let range = ring().range_of(&doctor(place.doctor));
    // In a cluster, an owner's lease has ended before another one answers.
    if outcome.is_cluster {
        return false;
    }
    let mut owned = false;
    for accepted in &outcome.accepted {
        match accepted {
            Accepted::Claimed { node, range: claimed, .. } if *claimed == range && *node == call.node => {
                owned = true
            }
            Accepted::Claimed { at, range: claimed, .. } if *claimed == range && owned => {
                return *at <= call.decided
                    && call.decided <= *at + as_the_slowest_clock_has_it(STORE_SILENT_MAX);
            }
            Accepted::Claimed { .. } | Accepted::Event { .. } => {}
        }
    }
    false
}

fn as_the_slowest_clock_has_it(time: Duration) -> Duration {
    time.mul_f64(1.0 / (1.0 - f64::from(DRIFT_MAX) / 1000.0))
}

/// Whether what happened and was said has an order in which all of it is right.
fn check_slot(outcome: &Outcome, place: Place) -> Result<(), Violation> {
    let calls = calls_about(outcome, place);
    let mut spans = spans_about(outcome, place, &calls)?;
    if place.doctor == SHARED_DOCTOR {
        return Ok(());
    }
    let stored = |rows: &BTreeMap<Place, Vec<usize>>| rows.get(&place).cloned().unwrap_or_default();
    let end = spans.iter().map(|span| span.from.max(if span.to == usize::MAX { 0 } else { span.to })).max();
    let end = end.unwrap_or(0) + 1;
    spans.iter_mut().for_each(|span| span.to = span.to.min(end));
    spans.insert(0, Span { from: 0, to: 0, about: About::StartsWith(stored(&outcome.before)) });
    spans.push(Span { from: end + 1, to: end + 1, about: About::Holds(stored(&outcome.after)) });
    let told = |wrong: &str| {
        let lines: Vec<String> = spans.iter().map(|span| format!("    {span:?}")).collect();
        format!("{place:?}: {wrong}; all of it:\n{}", lines.join("\n"))
    };
    in_the_order_of_the_store(&spans).map_err(|wrong| told(&wrong))?;
    if spans.len() > SEARCHED_MAX || is_linearizable(&spans) {
        Ok(())
    } else {
        Err(told("no order is right"))
    }
}

/// The store's own order of what it accepted is given. Each answer must be right at a point of that order which is not
/// before anything that somebody had been told of, and not after what was accepted when it was given.
fn in_the_order_of_the_store(spans: &[Span]) -> Result<(), String> {
    let (mut events, mut answers): (Vec<&Span>, Vec<&Span>) =
        spans.iter().partition(|span| span.about.is_event());
    events.sort_by_key(|event| event.from);
    answers.sort_by_key(|answer| answer.from);
    let mut states = vec![Slot::init()];
    for event in &events {
        let (is_right, next) = Slot::apply(&event.about, &states[states.len() - 1]);
        if !is_right {
            return Err(format!("{event:?} breaks a rule"));
        }
        states.push(next);
    }
    let mut placed: Vec<(usize, usize)> = Vec::new();
    for answer in answers {
        let told_of = events.iter().rposition(|event| event.to < answer.from).map_or(0, |last| last + 1);
        let seen =
            placed.iter().filter(|(to, _)| *to < answer.from).map(|(_, point)| *point).max().unwrap_or(0);
        let known = events.partition_point(|event| event.from <= answer.to);
        let point = (told_of.max(seen)..=known).find(|point| Slot::apply(&answer.about, &states[*point]).0);
        placed.push((answer.to, point.ok_or_else(|| format!("{answer:?} was never right"))?));
    }
    Ok(())
}

/// Searches for an order without being given one: a checker that others have written.
fn is_linearizable(spans: &[Span]) -> bool {
    let mut actions: Vec<((usize, bool), usize, Action<About>)> = Vec::new();
    for (process, Span { from, to, about }) in spans.iter().enumerate() {
        actions.push(((*from, false), process, Action::Call(about.clone())));
        actions.push(((*to, true), process, Action::Response(about.clone())));
    }
    actions.sort_by_key(|(at, process, _)| (*at, *process));
    let actions = actions.into_iter().map(|(_, process, action)| (process, action)).collect();
    WGLChecker::<Slot>::is_linearizable(History::from_actions(actions))
}
