//! The auditor, written from the rules of API.md and not from the calendar. It sees requests, answers, and the store.
//!
//! A slot is the object that is checked: the calls about it, and what the store held before and after, must have an
//! order, within the times at which each was under way, in which every answer is right (linearizability). A call whose
//! outcome is unknown may have happened or not.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use engine::calendar::{Booking, Event};
use engine::limits::{SEATS_PER_SLOT, STORE_SILENT_MAX};
use engine::shard::RangeId;
use engine::{DoctorId, Rejection};
use todc_utils::linearizability::WGLChecker;
use todc_utils::linearizability::history::{Action, History};
use todc_utils::specifications::Specification;
use tokio::time::Instant;

use crate::history::{Call, Place, Request, Told};
use crate::session::{DATES, DOCTORS, Outcome, SLOTS, USERS, date, doctor, slot, user, weekday_of};
use crate::store::Accepted;

/// How far clocks are apart at most.
const CLOCKS_APART: Duration = Duration::from_secs(2);

/// What is wrong, in words.
pub type Violation = String;

/// Checks a whole run.
pub fn audit(outcome: &Outcome) -> Vec<Violation> {
    let mut violations = committed_history(outcome);
    violations.extend(bookings_of_the_past(outcome));
    violations.extend(outcome.stuck.iter().map(|stuck| format!("stuck although all is calm: {stuck}")));
    for place in places() {
        let calls = calls_about(outcome, place);
        if !is_linearizable(outcome, place, &calls) {
            let lines: Vec<String> = calls.iter().map(|call| format!("    {call:?}")).collect();
            let (before, after) = (outcome.before.get(&place), outcome.after.get(&place));
            violations.push(format!(
                "{place:?} has no order in which every answer is right; before {before:?}, after {after:?}:\n{}",
                lines.join("\n")
            ));
        }
    }
    violations
}

/// No event raises a slot above five, none books twice, none cancels what is not there; and the store holds in the end
/// what its history says.
fn committed_history(outcome: &Outcome) -> Vec<Violation> {
    let mut seats: BTreeMap<Place, BTreeSet<usize>> =
        outcome.before.iter().map(|(place, users)| (*place, users.iter().copied().collect())).collect();
    let mut violations = Vec::new();
    for accepted in &outcome.accepted {
        let Accepted::Event(event) = accepted else { continue };
        match &event.event {
            Event::Booked(booking) => {
                let (place, user) = place_of(&event.doctor, booking);
                let held = seats.entry(place).or_default();
                if !held.insert(user) {
                    violations.push(format!("user {user} was booked twice into {place:?}"));
                }
                if held.len() > SEATS_PER_SLOT {
                    violations.push(format!("{place:?} was raised to {} users", held.len()));
                }
            }
            Event::Cancelled { booking, .. } => {
                let (place, user) = place_of(&event.doctor, booking);
                if !seats.entry(place).or_default().remove(&user) {
                    violations.push(format!("user {user} was cancelled from {place:?} without a seat"));
                }
            }
            Event::ScheduleSet { .. } => {}
        }
    }
    for place in places() {
        let history: Vec<usize> = seats.get(&place).into_iter().flatten().copied().collect();
        let mut stored = outcome.after.get(&place).cloned().unwrap_or_default();
        stored.sort_unstable();
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

fn place_of(of: &DoctorId, booking: &Booking) -> (Place, usize) {
    let number = |found: Option<usize>| found.expect("nobody asked for this");
    let place = Place {
        doctor: number((0..DOCTORS).find(|n| doctor(*n) == *of)),
        date: number((0..DATES.len()).find(|n| date(*n) == booking.date)),
        slot: number((0..SLOTS.len()).find(|n| slot(*n) == booking.start)),
    };
    (place, number((0..USERS).find(|n| user(*n) == booking.user)))
}

/// What one call says about one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
enum About {
    Booked {
        user: usize,
        key: Option<u32>,
    },
    MayBeBooked {
        user: usize,
        key: Option<u32>,
    },
    Refused {
        user: usize,
        key: Option<u32>,
        why: Rejection,
    },
    Cancelled {
        user: usize,
    },
    MayBeCancelled {
        user: usize,
    },
    NotFound {
        user: usize,
    },
    Offered(bool),
    MayBeOffered(bool),
    Seen(Option<usize>),
    /// The store at the beginning and at the end.
    Holds(Vec<usize>),
    StartsWith(Vec<usize>),
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

/// What a call says, if it says anything.
fn about(outcome: &Outcome, place: Place, call: &Call) -> Option<About> {
    let stale = may_be_stale(outcome, place, call);
    match (&call.request, &call.told) {
        // A success under a key may be a repeat, told from memory.
        (Request::Book { user, key: key @ Some(_), .. }, Told::Done) if stale => {
            Some(About::MayBeBooked { user: *user, key: *key })
        }
        (Request::Book { user, key, .. }, Told::Done) => Some(About::Booked { user: *user, key: *key }),
        (Request::Book { user, key, .. }, Told::Unknown) => {
            Some(About::MayBeBooked { user: *user, key: *key })
        }
        (Request::Cancel { user, .. }, Told::Done) => Some(About::Cancelled { user: *user }),
        (Request::Cancel { user, .. }, Told::Unknown) => Some(About::MayBeCancelled { user: *user }),
        (Request::SetSlots { offered, .. }, Told::Done) => Some(About::Offered(offered[place.slot])),
        (Request::SetSlots { offered, .. }, Told::Unknown) => Some(About::MayBeOffered(offered[place.slot])),
        (Request::UpdateSlot { available, .. }, Told::Done) => Some(About::Offered(*available)),
        (Request::UpdateSlot { available, .. }, Told::Unknown) => Some(About::MayBeOffered(*available)),
        (_, Told::Rejected(_) | Told::Seen(_)) if stale => None,
        (_, Told::Rejected(Rejection::SlotInPast | Rejection::OutsideWindow)) => None,
        (Request::Book { user, key, .. }, Told::Rejected(why)) => {
            Some(About::Refused { user: *user, key: *key, why: *why })
        }
        (Request::Cancel { user, .. }, Told::Rejected(Rejection::BookingNotFound)) => {
            Some(About::NotFound { user: *user })
        }
        (Request::Look { .. }, Told::Seen(seats)) => Some(About::Seen(seats[place.slot])),
        // It says that nothing was changed: then nothing is what it adds.
        (_, Told::NotDone) | (Request::Look { .. }, Told::Unknown) => None,
        (request, told) => panic!("{request:?} was told {told:?}"),
    }
}

/// Whether the answer may rest on the memory of a node that does not yet know that it is deposed. A single node has as
/// long as the store may stay silent to learn it; what it answers later must be right.
fn may_be_stale(outcome: &Outcome, place: Place, call: &Call) -> bool {
    let range = RangeId::of(&doctor(place.doctor));
    let mut owned = false;
    for accepted in &outcome.accepted {
        match accepted {
            Accepted::Claimed { node, range: claimed, .. } if *claimed == range && *node == call.node => {
                owned = true
            }
            Accepted::Claimed { at, range: claimed, .. } if *claimed == range && owned => {
                return *at <= call.decided && call.decided <= *at + STORE_SILENT_MAX;
            }
            Accepted::Claimed { .. } | Accepted::Event(_) => {}
        }
    }
    false
}

fn is_linearizable(outcome: &Outcome, place: Place, calls: &[Call]) -> bool {
    let before = outcome.before.get(&place).cloned().unwrap_or_default();
    let after = outcome.after.get(&place).cloned().unwrap_or_default();
    // Times are even, so that the ends have room around them; what is unknown may happen until the end.
    let end = 2 * calls.iter().map(|call| call.answered).max().unwrap_or(0) + 10;
    let mut spans = vec![(0, 1, About::StartsWith(before)), (end + 2, end + 3, About::Holds(after))];
    for call in calls {
        let Some(about) = about(outcome, place, call) else { continue };
        let unknown = matches!(
            about,
            About::MayBeBooked { .. } | About::MayBeCancelled { .. } | About::MayBeOffered(_)
        );
        let answered = if unknown { end } else { 2 * call.answered + 2 };
        spans.push((2 * call.asked + 2, answered, about));
    }
    let mut actions: Vec<(usize, usize, Action<About>)> = Vec::new();
    for (process, (from, to, about)) in spans.into_iter().enumerate() {
        actions.push((from, process, Action::Call(about.clone())));
        actions.push((to, process, Action::Response(about)));
    }
    actions.sort_by_key(|(at, process, _)| (*at, *process));
    let actions = actions.into_iter().map(|(_, process, action)| (process, action)).collect();
    WGLChecker::<Slot>::is_linearizable(History::from_actions(actions))
}

/// A slot, as the rules have it.
struct Slot;

/// One way in which things may be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Possible {
    offered: bool,
    holders: BTreeMap<usize, Option<u32>>,
}

impl Specification for Slot {
    /// Every way in which things may be: calls of unknown outcome leave more than one.
    type State = BTreeSet<Possible>;
    type Operation = About;

    fn init() -> Self::State {
        BTreeSet::from([Possible { offered: false, holders: BTreeMap::new() }])
    }

    fn apply(operation: &About, state: &Self::State) -> (bool, Self::State) {
        let next: Self::State = state.iter().flat_map(|possible| possible.after(operation)).collect();
        (!next.is_empty(), next)
    }
}

impl Possible {
    /// What may be the case after the call; nothing if its answer would be wrong.
    fn after(&self, about: &About) -> Vec<Self> {
        let right = |is: bool| if is { vec![self.clone()] } else { Vec::new() };
        let holds = |user: &usize| self.holders.contains_key(user);
        let repeats = |user: &usize, key: &Option<u32>| key.is_some() && self.holders.get(user) == Some(key);
        let full = self.holders.len() >= SEATS_PER_SLOT;
        match about {
            About::StartsWith(users) => {
                vec![Self { holders: users.iter().map(|user| (*user, None)).collect(), ..self.clone() }]
            }
            About::Holds(users) => right(self.holders.keys().eq(users)),
            About::Booked { user, key } if repeats(user, key) => right(true),
            About::Booked { user, key } => {
                if self.offered && !holds(user) && !full {
                    vec![self.with(*user, *key)]
                } else {
                    Vec::new()
                }
            }
            About::MayBeBooked { user, key } => {
                let mut ways = right(true);
                if self.offered && !holds(user) && !full {
                    ways.push(self.with(*user, *key));
                }
                ways
            }
            About::Refused { user, key, why } => right(match why {
                Rejection::AlreadyBooked => holds(user) && !repeats(user, key),
                Rejection::SlotUnavailable => !holds(user) && !self.offered,
                Rejection::SlotFull => !holds(user) && self.offered && full,
                Rejection::DoctorNotFound
                | Rejection::OutsideWindow
                | Rejection::SlotInPast
                | Rejection::BookingNotFound => false,
            }),
            About::Cancelled { user } => {
                if holds(user) {
                    vec![self.without(user)]
                } else {
                    Vec::new()
                }
            }
            About::MayBeCancelled { user } => {
                let mut ways = right(true);
                if holds(user) {
                    ways.push(self.without(user));
                }
                ways
            }
            About::NotFound { user } => right(!holds(user)),
            About::Offered(offered) => vec![Self { offered: *offered, ..self.clone() }],
            About::MayBeOffered(offered) => vec![self.clone(), Self { offered: *offered, ..self.clone() }],
            About::Seen(None) => right(!self.offered),
            About::Seen(Some(seats)) => right(self.offered && self.holders.len() == *seats),
        }
    }

    fn with(&self, user: usize, key: Option<u32>) -> Self {
        let mut next = self.clone();
        next.holders.insert(user, key);
        next
    }

    fn without(&self, user: &usize) -> Self {
        let mut next = self.clone();
        next.holders.remove(user);
        next
    }
}
