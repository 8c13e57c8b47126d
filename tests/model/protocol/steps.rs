//! What each step does, once `is_possible` has said that it may happen.

use super::{
    Claim, Decision, Epoch, Fault, Flight, Node, Op, Protocol, Renewal, State, Step, Told, bit, late_bit,
};

impl<const N: usize> Protocol<N> {
    pub(crate) fn happen(&self, state: &mut State<N>, step: Step) {
        match step {
            Step::Tick => self.tick(state, None),
            Step::TickUnseen(n) => self.tick(state, Some(n)),
            Step::Renew(n) => state.nodes[n].renewal = Some(Renewal { age: 0, beaten: false }),
            Step::Beat(n) => self.beat(state, n),
            Step::Extend(n) => self.extend(state, n),
            Step::Look(n, other) => state.nodes[n].look(other),
            Step::Bury(_, other) => state.buried[other] = true,
            Step::BeBornAgain(n) => self.be_born_again(state, n),
            Step::ReadFence(n) => self.lose(&mut state.nodes[n]),
            Step::Find(n) => state.nodes[n].claim = Some(Claim::Granted(Epoch::Current)),
            Step::Claim(n) => {
                state.nodes[n].claim = Some(Claim::Sent);
                if self.has(Fault::LoadedBeforeClaim) {
                    state.nodes[n].shown = Some(state.stored);
                }
            }
            Step::Grant(n) => {
                raise(state, Some(n));
                state.nodes[n].claim = Some(Claim::Granted(Epoch::Current));
            }
            Step::Adopt(n) => self.adopt(&mut state.nodes[n]),
            Step::Disown(n) => {
                state.nodes[n].claim = None;
                if state.nodes[n].epoch.is_some() {
                    self.lose(&mut state.nodes[n]);
                }
            }
            Step::Give(n, other) => {
                let node = &mut state.nodes[n];
                node.shown = None;
                if node.epoch == Some(Epoch::Current) {
                    node.claim = Some(Claim::Giving);
                    state.gift = Some(other);
                } else {
                    node.claim = Some(Claim::Hopeless);
                }
            }
            Step::LandGift => raise(state, state.gift),
            Step::Retract(n) => {
                state.nodes[n].claim = (!self.has(Fault::GiftForgotten)).then_some(Claim::Sent);
            }
            Step::LandGhost => raise(state, None),
            Step::Load(n, missed) => state.nodes[n].shown = Some(state.stored ^ missed),
            Step::Ask(n, event) => match self.decide(state, &state.nodes[n], event) {
                Decision::Stage => {
                    let place = usize::from(state.nodes[n].head().is_some());
                    state.nodes[n].queue[place] = Some(event);
                }
                Decision::FromMemory(told) => state.told[event.user] = told,
                Decision::Park => {}
            },
            Step::Send(n) => {
                let epoch = state.nodes[n].epoch.unwrap_or(Epoch::Old);
                state.nodes[n].flight = Some(Flight { epoch, applied: false, lost: false });
            }
            Step::Apply(n) => apply(state, n),
            Step::Hear(n) => self.hear(state, n),
            Step::Repeat(n) => {
                if let Some(flight) = &mut state.nodes[n].flight {
                    flight.lost = true;
                }
            }
            Step::GiveUp(n) => self.give_up(state, n),
            Step::Land(event) => {
                state.late &= !late_bit(event);
                state.write(event);
            }
        }
    }

    /// Everybody's clock goes on; what was accepted before is seen by every query from now on.
    fn tick(&self, state: &mut State<N>, asleep: Option<usize>) {
        state.lagging = 0;
        let Some(length) = self.lease else {
            state.nodes.iter_mut().for_each(|node| node.settling = false);
            return;
        };
        for (n, node) in state.nodes.iter_mut().enumerate() {
            node.settling = false;
            for still in node.still.iter_mut().flatten() {
                *still = length.min(*still + 1);
            }
            if asleep == Some(n) {
                continue;
            }
            node.lease = node.lease.saturating_sub(1);
            // A renewal as old as a lease is worth nothing.
            node.renewal = node.renewal.and_then(|renewal| {
                let age = renewal.age + 1;
                let counts = age < length || self.has(Fault::LeaseFromAnswer);
                counts.then_some(Renewal { age: age.min(length), ..renewal })
            });
        }
    }

    fn beat(&self, state: &mut State<N>, n: usize) {
        state.nodes[n].renewal =
            Some(Renewal { beaten: true, age: state.nodes[n].renewal.map_or(0, |renewal| renewal.age) });
        for (_, other) in state.nodes.iter_mut().enumerate().filter(|(other, _)| *other != n) {
            other.still[n] = (!self.fine).then_some(0);
        }
        if !self.fine && !self.has(Fault::LeaseFromAnswer) {
            self.extend(state, n);
        }
    }

    fn extend(&self, state: &mut State<N>, n: usize) {
        let node = &mut state.nodes[n];
        let (Some(renewal), Some(length)) = (node.renewal.take(), self.lease) else { return };
        if self.has(Fault::NotBuried) && node.epoch.is_some() && state.owner != Some(n) {
            return self.lose(node);
        }
        let age = if self.has(Fault::LeaseFromAnswer) { 0 } else { renewal.age };
        node.lease = node.lease.max(length - age);
    }

    /// Nothing that was said to the old name counts any more.
    fn be_born_again(&self, state: &mut State<N>, n: usize) {
        let node = &mut state.nodes[n];
        self.lose(node);
        node.lease = 0;
        node.renewal = None;
        state.ghost |= node.claim == Some(Claim::Sent) || state.gift == Some(n);
        if !self.has(Fault::NameUnchecked) || !matches!(node.claim, Some(Claim::Granted(_))) {
            node.claim = None;
        }
        state.gift = state.gift.filter(|to| *to != n);
        state.owner = state.owner.filter(|owner| *owner != n);
        state.buried[n] = false;
        for other in &mut state.nodes {
            other.still[n] = (!self.fine).then_some(0);
            other.listed[n] = !self.has(Fault::ListTrusted);
        }
    }

    /// The answer to a claim, however late.
    fn adopt(&self, node: &mut Node<N>) {
        if let Some(Claim::Granted(epoch)) = node.claim.take() {
            node.epoch = Some(epoch);
        }
        node.settling = !self.has(Fault::NotSettled);
        if !self.has(Fault::CalendarKept) && !self.has(Fault::LoadedBeforeClaim) {
            node.shown = None;
        }
    }

    /// Somebody else owns the range. What was not sent is withdrawn; what is under way will be heard of.
    fn lose(&self, node: &mut Node<N>) {
        node.epoch = None;
        node.settling = false;
        if !self.has(Fault::CalendarKept) {
            node.shown = None;
        }
        node.queue[1] = None;
        if node.flight.is_none() {
            node.queue[0] = None;
        }
    }

    /// The answer to the latest attempt: stored, refused by the fence, or refused by the item's condition.
    fn hear(&self, state: &mut State<N>, n: usize) {
        let (Some(flight), Some(event)) = (state.nodes[n].flight, state.nodes[n].head()) else { return };
        if !flight.applied && flight.epoch == Epoch::Current && flight.lost {
            return self.give_up(state, n);
        }
        let node = &mut state.nodes[n];
        node.flight = None;
        node.queue = [node.queue[1], None];
        if flight.applied {
            state.told[event.user] = if event.op == Op::Book { Told::In } else { Told::Out };
            state.lagging &= !bit(event.user);
            node.shown = node.shown.map(|shown| shown ^ bit(event.user));
        } else if flight.epoch == Epoch::Old {
            if flight.lost && !self.has(Fault::LostForgotten) {
                state.told[event.user] = Told::Unknown;
            }
            // Not a newer epoch of ours, of which the store has said nothing.
            if node.epoch == Some(Epoch::Old) {
                self.lose(node);
            }
        } else {
            // The calendar was wrong: everything after it is withdrawn as well, and decided again after a reload.
            node.queue = [None; 2];
            node.shown = None;
        }
    }

    /// The user is told that nobody knows; the epoch is raised, and the calendar loaded again.
    fn give_up(&self, state: &mut State<N>, n: usize) {
        let (Some(flight), Some(event)) = (state.nodes[n].flight, state.nodes[n].head()) else { return };
        let node = &mut state.nodes[n];
        state.told[event.user] = Told::Unknown;
        if !flight.applied && flight.epoch == Epoch::Current {
            state.late |= late_bit(event);
        }
        node.flight = None;
        node.queue = [None; 2];
        node.shown = None;
        if node.epoch == Some(flight.epoch) && !self.has(Fault::NotRaised) {
            let sent = flight.epoch == Epoch::Current;
            node.claim = Some(if sent { Claim::Sent } else { Claim::Hopeless });
        }
    }
}

/// The fence item is written. Every copy of its epoch is an old one now, and what was sent under it can't land.
fn raise<const N: usize>(state: &mut State<N>, owner: Option<usize>) {
    state.owner = owner;
    state.gift = None;
    state.ghost = false;
    state.late = 0;
    for node in &mut state.nodes {
        node.epoch = node.epoch.map(|_| Epoch::Old);
        node.flight = node.flight.map(|flight| Flight { epoch: Epoch::Old, ..flight });
        node.claim = node.claim.map(|claim| match claim {
            Claim::Sent | Claim::Giving | Claim::Hopeless => Claim::Hopeless,
            Claim::Granted(_) => Claim::Granted(Epoch::Old),
        });
    }
}

fn apply<const N: usize>(state: &mut State<N>, n: usize) {
    let Some(event) = state.nodes[n].head() else { return };
    if let Some(flight) = &mut state.nodes[n].flight {
        flight.applied = true;
        state.foul |= flight.epoch != Epoch::Current;
    }
    state.write(event);
}
