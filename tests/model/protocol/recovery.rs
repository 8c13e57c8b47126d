//! What becomes of any state when nothing goes wrong any more.

use super::{Event, Op, Protocol, State, Step, Told};

impl<const N: usize> Protocol<N> {
    /// Whether, when nothing goes wrong any more, the first user's next command is answered within a few leases. Somebody
    /// who does what can be done, in one order out of many, shows it.
    pub(crate) fn recovers(&self, mut state: State<N>) -> bool {
        for _ in 0..4 * self.lease.unwrap_or(1) + 4 {
            for n in 0..N {
                let awake = [Step::BeBornAgain(n), Step::Renew(n), Step::Beat(n), Step::Extend(n)];
                for step in awake {
                    self.try_step(&mut state, step);
                }
            }
            self.work_off(&mut state);
            if (0..N).any(|n| self.serves(state, n)) {
                return true;
            }
            self.happen(&mut state, Step::Tick);
        }
        false
    }

    fn serves(&self, mut state: State<N>, n: usize) -> bool {
        let told = state.told[0];
        let op = if told == Told::In { Op::Cancel } else { Op::Book };
        let asked = self.try_step(&mut state, Step::Ask(n, Event { user: 0, op }));
        self.work_off(&mut state);
        // "Full" tells nothing new to a user who has no seat, and is no step.
        let is_full = told == Told::Out && state.stored.count_ones() >= self.seats;
        let answered = state.told[0] == if state.has_stored(0) { Told::In } else { Told::Out };
        let new = asked && state.told[0] != told;
        answered && (new || is_full) && self.answers(&state.nodes[n])
    }

    /// Everything that is under way comes to its end.
    fn work_off(&self, state: &mut State<N>) {
        let next = |state: &mut State<N>| {
            (0..N).any(|n| {
                let looks = (0..N)
                    .filter(|other| *other != n)
                    .flat_map(|other| [Step::Look(n, other), Step::Bury(n, other)]);
                let range = [
                    Step::LandGift,
                    Step::Retract(n),
                    Step::Grant(n),
                    Step::Disown(n),
                    Step::Adopt(n),
                    Step::ReadFence(n),
                ];
                let work = [
                    Step::Find(n),
                    Step::Claim(n),
                    Step::Load(n, 0),
                    Step::Send(n),
                    Step::Apply(n),
                    Step::Hear(n),
                ];
                looks.chain(range).chain(work).any(|step| self.try_step(state, step))
            })
        };
        while next(state) {}
    }

    fn try_step(&self, state: &mut State<N>, step: Step) -> bool {
        let possible = self.is_possible(state, step);
        if possible {
            self.happen(state, step);
        }
        possible
    }
}
