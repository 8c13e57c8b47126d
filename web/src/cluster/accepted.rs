//! The seals of the calls that this node has accepted. A call is accepted once: whoever overhears one and sends it again is
//! refused, for as long as the call is fresh, and afterwards because it is not.
//!
//! A node that restarts has forgotten the seals that it accepted before. So it refuses calls that were made before its start.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Mutex, PoisonError};

use super::auth::{SKEW_SECONDS_MAX, Tag, is_fresh};

/// Seals that are remembered at once: 17,000 calls a second, in at most 40 MB.
const SEALS_MAX: usize = 1 << 20;

/// What becomes of a call whose seal is good.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Acceptance {
    /// Nobody has sent this call before.
    First,
    /// It was accepted before, or may have been: it is no longer fresh, or from before this node's start.
    Repeat,
    /// There is no room to remember it, so it must not be obeyed.
    Full,
}

/// Seals of accepted calls.
pub(super) struct Accepted {
    /// When this node started, in seconds since 1970.
    since: i64,
    seals_max: usize,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// By the second in which their calls were made.
    seals: BTreeMap<i64, HashSet<Tag>>,
    count: usize,
}

impl Accepted {
    /// Remembers nothing yet. `now` is in seconds since 1970.
    pub(super) fn since(now: i64) -> Self {
        Self { since: now, seals_max: SEALS_MAX, state: Mutex::default() }
    }

    /// Remembers the seal of a call that was made at `at`.
    pub(super) fn enter(&self, at: i64, seal: Tag, now: i64) -> Acceptance {
        // Its body may have taken long to come.
        if at < self.since || !is_fresh(at, now) {
            return Acceptance::Repeat;
        }
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.forget_before(now.saturating_sub(SKEW_SECONDS_MAX));
        if state.seals.get(&at).is_some_and(|seals| seals.contains(&seal)) {
            return Acceptance::Repeat;
        }
        if state.count >= self.seals_max {
            return Acceptance::Full;
        }
        state.seals.entry(at).or_default().insert(seal);
        state.count += 1;
        Acceptance::First
    }
}

impl State {
    fn forget_before(&mut self, second: i64) {
        while let Some(oldest) = self.seals.first_entry().filter(|oldest| *oldest.key() < second) {
            self.count -= oldest.remove().len();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: i64 = 1_764_000_000;

    fn tag(number: u128) -> Tag {
        Tag::of(&number.to_be_bytes())
    }

    #[test]
    fn call_is_accepted_once_for_as_long_as_it_is_fresh() {
        let accepted = Accepted::since(START);
        let at = START + 60;
        for now in [START, START + 60, START + 120] {
            let expected = if now == START { Acceptance::First } else { Acceptance::Repeat };
            assert_eq!(accepted.enter(at, tag(1), now), expected, "{now}");
            // Other calls push nothing out.
            assert_eq!(accepted.enter(now, tag(2), now), Acceptance::First);
        }
        assert_eq!(accepted.enter(at, tag(3), START + 121), Acceptance::Repeat, "no longer fresh");
        assert_eq!(accepted.enter(START + 121, tag(1), START + 121), Acceptance::First, "another second");
    }

    #[test]
    fn call_from_before_the_start_is_refused() {
        let accepted = Accepted::since(START);
        assert_eq!(accepted.enter(START - 1, tag(1), START), Acceptance::Repeat);
        assert_eq!(accepted.enter(START, tag(1), START), Acceptance::First);
    }

    #[test]
    fn full_memory_refuses_and_forgets_nothing_that_is_fresh() {
        let accepted = Accepted { seals_max: 2, ..Accepted::since(START) };
        assert_eq!(accepted.enter(START, tag(1), START), Acceptance::First);
        assert_eq!(accepted.enter(START + 30, tag(2), START + 30), Acceptance::First);
        assert_eq!(accepted.enter(START + 30, tag(3), START + 30), Acceptance::Full);
        assert_eq!(accepted.enter(START, tag(1), START + 60), Acceptance::Repeat);
        // The first is not fresh any more, which makes room.
        assert_eq!(accepted.enter(START + 61, tag(3), START + 61), Acceptance::First);
        assert_eq!(accepted.enter(START + 30, tag(2), START + 61), Acceptance::Repeat);
    }
}
