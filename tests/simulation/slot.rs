//! A slot, as the rules of API.md have it, for the checker.

use std::collections::BTreeMap;

use engine::Rejection;
use engine::limits::SEATS_PER_SLOT;
use todc_utils::specifications::Specification;

/// What happened to one slot, or was said of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    StartsWith(Vec<usize>),
    Booked {
        user: usize,
        key: Option<u32>,
    },
    Cancelled {
        user: usize,
    },
    Offered(bool),
    Refused {
        user: usize,
        key: Option<u32>,
        why: Rejection,
    },
    /// A booking under a key was answered as before.
    Repeated {
        user: usize,
        key: u32,
    },
    NotFound {
        user: usize,
    },
    Seen(Option<usize>),
    /// What the store holds in the end.
    Holds(Vec<usize>),
}

impl About {
    pub const fn is_event(&self) -> bool {
        matches!(self, Self::StartsWith(_) | Self::Booked { .. } | Self::Cancelled { .. } | Self::Offered(_))
    }
}

/// A slot, as the rules have it.
pub struct Slot;

/// What a slot is like.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct State {
    offered: bool,
    holders: BTreeMap<usize, Option<u32>>,
}

impl Specification for Slot {
    type State = State;
    type Operation = About;

    fn init() -> State {
        State { offered: false, holders: BTreeMap::new() }
    }

    fn apply(about: &About, state: &State) -> (bool, State) {
        let mut next = state.clone();
        let holds = |user: &usize| state.holders.contains_key(user);
        let repeats = |user: &usize, key: Option<u32>| key.is_some() && state.holders.get(user) == Some(&key);
        let full = state.holders.len() >= SEATS_PER_SLOT;
        let is_right = match about {
            About::StartsWith(users) => {
                next.holders = users.iter().map(|user| (*user, None)).collect();
                true
            }
            About::Booked { user, key } => {
                let is_right = state.offered && !holds(user) && !full;
                next.holders.insert(*user, *key);
                is_right
            }
            About::Cancelled { user } => next.holders.remove(user).is_some(),
            About::Offered(offered) => {
                next.offered = *offered;
                true
            }
            About::Refused { user, key, why } => match why {
                Rejection::AlreadyBooked => holds(user) && !repeats(user, *key),
                Rejection::SlotUnavailable => !holds(user) && !state.offered,
                Rejection::SlotFull => !holds(user) && state.offered && full,
                // Whether it was too many is for `limit.rs` to say: that is about all slots of a doctor.
                Rejection::TooManyBookings { .. } => !holds(user) && state.offered && !full,
                Rejection::DoctorNotFound
                | Rejection::OutsideWindow
                | Rejection::SlotInPast
                | Rejection::BookingNotFound => false,
            },
            About::Repeated { user, key } => repeats(user, Some(*key)),
            About::NotFound { user } => !holds(user),
            About::Seen(None) => !state.offered,
            About::Seen(Some(seats)) => state.offered && state.holders.len() == *seats,
            About::Holds(users) => state.holders.keys().eq(users),
        };
        (is_right, next)
    }
}
