//! The fencing and lease protocol as a model, of which every reachable state is visited.
//!
//! One range, one slot; two nodes, or three; users who book and cancel over and over, and repeat what went unanswered; a
//! store that accepts, refuses, loses answers, lets requests land late and shows a query less than it has accepted; clocks
//! that tick alike. `protocol.rs` says what may happen, `protocol/steps.rs` what it does. A fault is a way to get the
//! protocol wrong: for each there is a test that says what breaks, so that a model too coarse to see it would be noticed.
//!
//! A range changes hands in one of three ways only: its owner raises its own epoch, its owner hands it over, or its owner's
//! heartbeat item was taken out first ("buried"), on condition that its counter stood where it stood a lease ago; beats of
//! the buried are refused. So one item decides between a renewal and a burial, and a claim needs no more than the epoch.
//!
//! What the model does not have: batches of several events, whose neighbours a lost request could bring back (the tests of
//! the engine have them); rows that others write; requests that outlive their token; clocks of different speed (the margin
//! at a lease's end is for those). A node that crashes is one that pauses for ever, and the one that starts is another.
//! "Somebody answers" is shown for one order of steps from each state, which is what stateright can check: its own
//! `eventually` is not sound on paths with cycles.
//!
//! - `cargo test -p engine --test model -- --nocapture`: about ten seconds; tells how many states there are
//!   (255,356 that differ, at most 51 steps deep, besides those of the faults).
//! - `KOKORO_MODEL_BIG=1 cargo test -p engine --release --test model -- --nocapture`: more users, nodes and ticks:
//!   7.7 million states that differ, in two minutes.

mod protocol;

use protocol::{Fault, Node, Protocol, State, Step, Told, USERS};
use stateright::{Checker, HasDiscoveries, Model, Path, Property};

const OVERSOLD: &str = "no slot holds more than its seats";
const LOST: &str = "what was acknowledged is stored";
const APPEARED: &str = "what was refused does not appear later";
const FOUL: &str = "nothing is applied under an epoch that is not the fence's";
const STALE: &str = "memory answers nothing that is out of date";
const ALONE: &str = "one node at most answers from memory";
const RECOVERS: &str = "when faults end, somebody answers";
/// A pause or a late answer to a claim leads there: the range has been raised over a node that has not heard of it. It does
/// no harm. What that node writes bears an old epoch, which the store refuses (`FOUL`, `OVERSOLD`); and before anybody could
/// raise it the node was buried, which takes a heartbeat that stood still for a whole lease, counted from later than the node
/// counts its own: so that it answers nothing from memory any more (`ALONE`, `STALE`), and is somebody else, without a
/// lease for what it had, when it next succeeds in renewing.
const TWO: &str = "two nodes believe to own the range, and have loaded it";
const LATE: &str = "a booking of unknown outcome is there after all";

impl<const N: usize> Model for Protocol<N> {
    type State = State<N>;
    type Action = Step;

    fn init_states(&self) -> Vec<State<N>> {
        vec![State::new()]
    }

    fn actions(&self, state: &State<N>, steps: &mut Vec<Step>) {
        steps.extend(self.candidates().into_iter().filter(|step| self.is_possible(state, *step)));
    }

    fn next_state(&self, state: &State<N>, step: Step) -> Option<State<N>> {
        let mut next = *state;
        self.happen(&mut next, step);
        (next != *state).then_some(next)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        let mut properties = vec![
            Property::<Self>::always(OVERSOLD, |model, state| state.stored.count_ones() <= model.seats),
            Property::<Self>::always(LOST, |_, state| is_stored(state, Told::In, true)),
            Property::<Self>::always(APPEARED, |_, state| is_stored(state, Told::Out, false)),
            Property::<Self>::always(FOUL, |_, state| !state.foul),
            // Asked and answered at once, by every node that would answer now: any slower read sees no less.
            Property::<Self>::always(STALE, |model, state| {
                let mut readers = state.nodes.iter().filter(|node| model.answers(node));
                readers.all(|node| (0..USERS).all(|user| shows(node, state, user)))
            }),
            Property::<Self>::always(ALONE, |model, state| {
                state.nodes.iter().filter(|node| model.answers(node)).count() <= 1
            }),
            Property::<Self>::sometimes(TWO, |_, state| {
                state.nodes.iter().filter(|node| node.epoch.is_some() && node.shown.is_some()).count() > 1
            }),
        ];
        if self.losses {
            properties.push(Property::<Self>::sometimes(LATE, |_, state| {
                let unknown = |user| state.told[user] == Told::Unknown && !state.is_pending(user);
                (0..USERS).any(|user| unknown(user) && state.has_stored(user))
            }));
        }
        // Nodes that get other things wrong would depose each other without end.
        if self.lease.is_some() && matches!(self.fault, None | Some(Fault::NeverFound)) {
            properties.push(Property::always(RECOVERS, |model, state| model.recovers(*state)));
        }
        properties
    }
}

/// Whether everybody who was told so, and has asked nothing since, finds it so in the store.
fn is_stored<const N: usize>(state: &State<N>, told: Told, stored: bool) -> bool {
    let concerned = |user: &usize| state.told[*user] == told && !state.is_pending(*user);
    (0..USERS).filter(concerned).all(|user| state.has_stored(user) == stored)
}

/// Whether the node shows what this user has been told, if the user knows.
fn shows<const N: usize>(node: &Node<N>, state: &State<N>, user: usize) -> bool {
    let shown = node.shown.is_some_and(|shown| shown & (1 << user) != 0);
    match state.told[user] {
        _ if state.is_pending(user) => true,
        Told::In => shown,
        Told::Out => !shown,
        Told::Unknown => true,
    }
}

/// Anybody may take the range at any moment: what is written is safe whatever leases do.
const SOLO: Protocol<2> =
    Protocol { lease: None, booking: 2, cancelling: 2, seats: 1, fine: false, losses: true, fault: None };
const CLUSTER: Protocol<2> = Protocol { lease: Some(1), booking: 1, cancelling: 1, ..SOLO };

/// Visits every state, and tells how many there are.
fn holds<const N: usize>(protocol: &Protocol<N>) {
    let begun = tokio::time::Instant::now();
    let checker = protocol.clone().checker().spawn_bfs().join();
    let (all, unique, depth) = (checker.state_count(), checker.unique_state_count(), checker.max_depth());
    eprintln!("{protocol:?}: {all} states, {unique} unique, depth {depth}, {:?}", begun.elapsed());
    checker.assert_properties();
}

/// Looks until each of these is broken.
fn breaks<const N: usize>(protocol: &Protocol<N>, fault: Fault, expected: &[&'static str]) {
    let wanted = HasDiscoveries::AllOf(expected.iter().copied().collect());
    let checker =
        Protocol { fault: Some(fault), ..protocol.clone() }.checker().finish_when(wanted).spawn_bfs().join();
    for name in expected {
        let trace = checker.assert_any_discovery(name);
        eprintln!("{fault:?}, {} unique states: not \"{name}\"", checker.unique_state_count());
        eprintln!("  {:?}", Path::into_actions(trace));
    }
}

fn is_big() -> bool {
    std::env::var_os("KOKORO_MODEL_BIG").is_some()
}

#[test]
fn a_range_that_is_taken_at_any_moment_is_neither_oversold_nor_forgotten() {
    holds(&SOLO);
    if is_big() {
        holds(&Protocol { booking: 3, cancelling: 1, seats: 2, ..SOLO });
        holds(&Protocol::<3> {
            lease: None,
            booking: 2,
            cancelling: 1,
            seats: 1,
            fine: false,
            losses: true,
            fault: None,
        });
    }
}

#[test]
fn in_a_cluster_memory_is_never_out_of_date_and_somebody_answers_in_the_end() {
    holds(&CLUSTER);
    if is_big() {
        holds(&Protocol { lease: Some(2), ..CLUSTER });
        holds(&Protocol { booking: 2, ..CLUSTER });
        holds(&Protocol { fine: true, losses: false, ..CLUSTER });
        holds(&Protocol::<3> {
            lease: Some(1),
            booking: 1,
            cancelling: 1,
            seats: 1,
            fine: false,
            losses: false,
            fault: None,
        });
    }
}

#[test]
fn the_store_must_check_the_fence() {
    breaks(&SOLO, Fault::FenceUnchecked, &[FOUL, OVERSOLD, LOST, APPEARED]);
}

#[test]
fn the_claim_must_come_before_the_load() {
    breaks(&SOLO, Fault::LoadedBeforeClaim, &[OVERSOLD]);
}

#[test]
fn the_load_must_wait_until_what_was_accepted_is_seen() {
    breaks(&SOLO, Fault::NotSettled, &[OVERSOLD]);
}

#[test]
fn a_calendar_must_not_be_used_under_a_later_epoch() {
    breaks(&SOLO, Fault::CalendarKept, &[OVERSOLD]);
}

#[test]
fn a_lost_request_must_be_fenced_off() {
    breaks(&SOLO, Fault::NotRaised, &[OVERSOLD, LOST, APPEARED]);
}

/// No fault after all: had the lost attempt been applied, the store would know the token and not look at the fence. The
/// engine answers "unknown" here, which is more careful than it would have to be within the life of a token.
#[test]
fn what_the_fence_refuses_was_not_applied_by_an_earlier_attempt_either() {
    holds(&Protocol { cancelling: 1, fault: Some(Fault::LostForgotten), ..SOLO });
}

#[test]
fn a_lease_must_count_from_before_its_renewal_was_sent() {
    breaks(&CLUSTER, Fault::LeaseFromAnswer, &[STALE, ALONE]);
}

#[test]
fn a_lease_must_go_on_while_the_machine_is_suspended() {
    breaks(&CLUSTER, Fault::ClockSuspended, &[STALE, ALONE]);
}

#[test]
fn memory_must_not_answer_without_a_lease() {
    breaks(&CLUSTER, Fault::LeaseIgnored, &[STALE, ALONE]);
}

/// Nearly a whole lease breaks nothing here, since settling takes a tick as well; that is no reason to rely on it.
#[test]
fn a_node_must_not_be_buried_before_a_whole_lease() {
    breaks(&Protocol { lease: Some(2), ..CLUSTER }, Fault::BuriedEarly, &[STALE, ALONE]);
}

#[test]
fn a_buried_node_must_not_renew() {
    breaks(&CLUSTER, Fault::BuriedBeats, &[STALE, ALONE]);
}

/// A claim lands late: its owner came back to life after the look, and renewed before the claim. A condition on the
/// heartbeat must decide between the two, be it the burial's or the claim's.
#[test]
fn a_look_at_the_heartbeat_must_not_be_enough_to_take_a_range() {
    breaks(&Protocol { lease: Some(2), ..CLUSTER }, Fault::NotBuried, &[STALE, ALONE]);
}

/// A node joins before it owns anything. So a list that does not name an owner tells that it is gone if it was asked for
/// after the fence was read, and nothing if before.
#[test]
fn a_list_older_than_the_fence_must_not_tell_who_is_gone() {
    breaks(&CLUSTER, Fault::ListTrusted, &[STALE, ALONE]);
}

/// The node-wide lease vouches for a range that was taken away again before the answer to its claim was looked at.
#[test]
fn an_answer_to_an_old_name_must_not_count() {
    breaks(&CLUSTER, Fault::NameUnchecked, &[STALE, ALONE]);
}

#[test]
fn a_handing_over_that_was_lost_must_be_fenced_off() {
    breaks(&CLUSTER, Fault::GiftForgotten, &[STALE, ALONE]);
}

/// It lives and renews, so nobody buries it; and it does not know that the range is its own.
#[test]
fn a_node_must_look_for_ranges_of_its_own() {
    breaks(&CLUSTER, Fault::NeverFound, &[RECOVERS]);
}
