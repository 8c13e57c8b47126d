//! What nodes, users, time and the store may do, one step at a time; every interleaving of these steps is checked.
//!
//! Kept small without cutting anything off: an epoch is only ever compared with the fence's, so all old ones are alike;
//! of a heartbeat counter only matters whether it has moved since somebody looked; time-outs and pauses are the freedom
//! of any step to come at any time, or never. So the number of takeovers, beats, ticks and lost requests has no bound.

mod recovery;
mod steps;

/// A way to get the protocol wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// The store applies a transaction whatever the fence says.
    FenceUnchecked,
    /// The calendar is loaded before the range is claimed.
    LoadedBeforeClaim,
    /// The first load does not wait until earlier transactions are seen.
    NotSettled,
    /// What was loaded under an earlier epoch is used under the next.
    CalendarKept,
    /// A lost request is not made impossible by raising the epoch.
    NotRaised,
    /// A refusal by the fence is believed although an earlier attempt was lost.
    LostForgotten,
    /// A lease counts from the answer to the renewal.
    LeaseFromAnswer,
    /// The lease's clock stands still while the machine is suspended.
    ClockSuspended,
    /// Memory answers without a lease.
    LeaseIgnored,
    /// A node is buried as soon as its heartbeat is first seen to stand.
    BuriedEarly,
    /// A buried node's beats are accepted.
    BuriedBeats,
    /// A heartbeat that stood still is reason enough to take the range: nobody is buried. Each renewal ends with a look at
    /// the fence instead, and gives no lease to a node that was deposed.
    NotBuried,
    /// Who is not in a list of the nodes is taken for buried, though the list is older than the look at the fence, and than
    /// the owner's name.
    ListTrusted,
    /// A node that was buried still believes an answer to its old name.
    NameUnchecked,
    /// A node that hears nothing of its handing over takes up work again without raising the epoch.
    GiftForgotten,
    /// A node does not look for ranges that it owns without having heard of it.
    NeverFound,
}

/// Users there can be; how many ask is up to [`Protocol`].
pub(crate) const USERS: usize = 3;

/// A number in DESIGN.md; here, whether it is the one that the fence item bears.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Epoch {
    Old,
    Current,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Op {
    Book,
    Cancel,
}

/// What a user knows from the last answer. A command under way leaves it as it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Told {
    Out,
    In,
    Unknown,
}

/// Puts or deletes the one item that this user can have in the slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Event {
    pub(crate) user: usize,
    pub(crate) op: Op,
}

/// A set of users.
pub(crate) type Seats = u8;

/// The transaction under way, which carries the first event of the queue. The attempt whose answer the node would hear
/// is always out there; once an attempt was `lost`, so is a copy of the same token that nobody listens to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Flight {
    pub(crate) epoch: Epoch,
    pub(crate) applied: bool,
    pub(crate) lost: bool,
}

/// A request to raise the epoch, and then its answer on the way back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) enum Claim {
    /// Under way, conditional on the epoch as this node saw it.
    Sent,
    /// The epoch is to be raised in favour of another node: [`State::gift`]. Nothing new is taken on meanwhile.
    Giving,
    /// The epoch has changed since.
    Hopeless,
    /// The fence item was written with this epoch.
    Granted(Epoch),
}

/// A beat under way, and then its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Renewal {
    /// Ticks since it was begun.
    age: u8,
    beaten: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Node<const N: usize> {
    /// The epoch under which it believes to own the range.
    pub(crate) epoch: Option<Epoch>,
    /// Ticks for which it may still answer from memory.
    pub(crate) lease: u8,
    renewal: Option<Renewal>,
    settling: bool,
    /// The calendar as published: what is known to be stored. With the queue on top, what is decided from.
    pub(crate) shown: Option<Seats>,
    pub(crate) queue: [Option<Event>; 2],
    pub(crate) flight: Option<Flight>,
    claim: Option<Claim>,
    /// Of each other node: the ticks since this one saw its counter change; `None`: it has changed again, unseen.
    still: [Option<u8>; N],
    /// Which others its last list of the nodes names, where that may be older than what it knows of the fence.
    pub(crate) listed: [bool; N],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct State<const N: usize> {
    /// The fence item's owner; its epoch is `Current`. `None`: nobody, or a name that nobody bears any more.
    pub(crate) owner: Option<usize>,
    /// Nodes whose heartbeat item is gone, and who have not noticed yet.
    pub(crate) buried: [bool; N],
    /// A handing over under way to this node.
    pub(crate) gift: Option<usize>,
    /// A claim under way in favour of a name that nobody bears any more.
    ghost: bool,
    pub(crate) stored: Seats,
    /// Accepted, and perhaps not yet seen by a query.
    lagging: Seats,
    /// Given-up requests of the current epoch that may still land; a bit for each user and operation.
    pub(crate) late: u8,
    pub(crate) told: [Told; USERS],
    pub(crate) nodes: [Node<N>; N],
    /// A transaction was applied under an epoch that was not the fence's.
    pub(crate) foul: bool,
}

/// One thing that can happen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Tick,
    /// A tick that this node's clock misses.
    TickUnseen(usize),
    Renew(usize),
    Beat(usize),
    /// The answer to the beat.
    Extend(usize),
    /// The first looks at the heartbeat of the second.
    Look(usize, usize),
    /// The first takes the second, whose heartbeat stands where it stood a lease ago, out of the cluster.
    Bury(usize, usize),
    /// A buried node notices, and takes another name.
    BeBornAgain(usize),
    /// A look at the fence, which tells a deposed node so.
    ReadFence(usize),
    /// A look at the fence, which tells a node that the range is its own.
    Find(usize),
    Claim(usize),
    Grant(usize),
    /// The answer to a claim.
    Adopt(usize),
    /// The claim can't be granted any more, or what it took is lost again.
    Disown(usize),
    /// The first hands the range over to the second.
    Give(usize, usize),
    LandGift,
    /// No answer to the handing over: the giver raises the epoch for itself.
    Retract(usize),
    LandGhost,
    /// A query that misses some of what is lagging.
    Load(usize, Seats),
    Ask(usize, Event),
    Send(usize),
    Apply(usize),
    Hear(usize),
    /// No answer: the identical request again.
    Repeat(usize),
    GiveUp(usize),
    /// A given-up request arrives.
    Land(Event),
}

/// What becomes of a command that a node is asked.
enum Decision {
    Stage,
    FromMemory(Told),
    Park,
}

/// The protocol, and how much of it is checked.
#[derive(Debug, Clone)]
pub(crate) struct Protocol<const N: usize> {
    /// Its length in ticks. Without leases anybody may take the range at any time, and memory answers nothing.
    pub(crate) lease: Option<u8>,
    /// Users who book; the first `cancelling` of them also cancel. All of them over and over.
    pub(crate) booking: usize,
    pub(crate) cancelling: usize,
    /// What the slot holds.
    pub(crate) seats: u32,
    /// Whether a renewal is three steps (begun, written, heard of) and others look when they like. Otherwise it is one, and
    /// seen at once: whoever begins earlier or hears later has a shorter right, and whoever looks later buries later.
    pub(crate) fine: bool,
    /// Whether requests to commit go unanswered.
    pub(crate) losses: bool,
    pub(crate) fault: Option<Fault>,
}

const fn bit(user: usize) -> Seats {
    1 << user
}

const fn late_bit(event: Event) -> u8 {
    1 << (2 * event.user + event.op as usize)
}

impl<const N: usize> Node<N> {
    fn head(&self) -> Option<Event> {
        self.queue[0]
    }

    /// A list of the nodes names the other, whose heartbeat stands where it stands.
    fn look(&mut self, other: usize) {
        self.still[other] = Some(0);
        self.listed[other] = true;
    }

    /// What is decided from: an event in flight counts.
    fn live(&self) -> Seats {
        let staged = self.queue.iter().flatten().fold(0, |bits, event| bits ^ bit(event.user));
        self.shown.unwrap_or(0) ^ staged
    }
}

impl<const N: usize> State<N> {
    pub(crate) fn new() -> Self {
        let node = Node {
            epoch: None,
            lease: 0,
            renewal: None,
            settling: false,
            shown: None,
            queue: [None; 2],
            flight: None,
            claim: None,
            still: [Some(0); N],
            listed: [true; N],
        };
        let told = [Told::Out; USERS];
        let buried = [false; N];
        Self {
            owner: None,
            buried,
            gift: None,
            ghost: false,
            stored: 0,
            lagging: 0,
            late: 0,
            told,
            nodes: [node; N],
            foul: false,
        }
    }

    pub(crate) fn has_stored(&self, user: usize) -> bool {
        self.stored & bit(user) != 0
    }

    /// Whether some node still owes this user an answer.
    pub(crate) fn is_pending(&self, user: usize) -> bool {
        self.nodes.iter().flat_map(|node| node.queue.iter().flatten()).any(|event| event.user == user)
    }

    /// The item's own condition: put only if absent, delete only if there.
    fn condition_holds(&self, event: Event) -> bool {
        self.has_stored(event.user) == (event.op == Op::Cancel)
    }

    fn write(&mut self, event: Event) {
        self.stored ^= bit(event.user);
        self.lagging |= bit(event.user);
    }
}

impl<const N: usize> Protocol<N> {
    pub(crate) fn has(&self, fault: Fault) -> bool {
        self.fault == Some(fault)
    }

    fn accepts(&self, state: &State<N>, epoch: Epoch, event: Event) -> bool {
        (epoch == Epoch::Current || self.has(Fault::FenceUnchecked)) && state.condition_holds(event)
    }

    /// Whether the node would answer from memory alone.
    pub(crate) fn answers(&self, node: &Node<N>) -> bool {
        let leased = self.lease.is_some() && (node.lease > 0 || self.has(Fault::LeaseIgnored));
        leased && node.epoch.is_some() && node.shown.is_some()
    }

    /// Whether this node has seen the other's heartbeat stand still for a whole lease.
    fn looks_dead(&self, node: &Node<N>, other: usize) -> bool {
        let patience = if self.has(Fault::BuriedEarly) { 0 } else { self.lease.unwrap_or(0) };
        node.still[other].is_some_and(|still| still >= patience)
    }

    fn may_take(&self, state: &State<N>, n: usize) -> bool {
        let Some(owner) = state.owner.filter(|_| self.lease.is_some()) else { return true };
        let dead = self.has(Fault::NotBuried) && self.looks_dead(&state.nodes[n], owner);
        state.buried[owner] || ((dead || !state.nodes[n].listed[owner]) && owner != n)
    }

    fn decide(&self, state: &State<N>, node: &Node<N>, event: Event) -> Decision {
        let live = node.live();
        let memory = match event.op {
            Op::Book if live & bit(event.user) != 0 => Told::In,
            Op::Book if live.count_ones() >= self.seats => Told::Out,
            Op::Cancel if live & bit(event.user) == 0 => Told::Out,
            Op::Book | Op::Cancel if node.queue[1].is_none() => return Decision::Stage,
            Op::Book | Op::Cancel => return Decision::Park,
        };
        // "Full" may rest on what is in flight. An answer that tells nothing new is no step.
        let settled = node.head().is_none() || memory == Told::In || event.op == Op::Cancel;
        if settled && self.answers(node) && state.told[event.user] != memory {
            Decision::FromMemory(memory)
        } else {
            Decision::Park
        }
    }

    /// Every step that any state could allow.
    pub(crate) fn candidates(&self) -> Vec<Step> {
        let events = |users: usize, op| (0..users).map(move |user| Event { user, op });
        let all: Vec<Event> =
            events(self.booking, Op::Book).chain(events(self.cancelling, Op::Cancel)).collect();
        let mut steps = vec![Step::Tick, Step::LandGift, Step::LandGhost];
        for n in 0..N {
            steps.extend([Step::TickUnseen(n), Step::Renew(n), Step::Beat(n), Step::Extend(n)]);
            steps.extend([Step::BeBornAgain(n), Step::ReadFence(n), Step::Find(n), Step::Claim(n)]);
            steps.extend([Step::Grant(n), Step::Adopt(n), Step::Disown(n), Step::Retract(n)]);
            for other in (0..N).filter(|other| *other != n) {
                steps.extend([Step::Look(n, other), Step::Bury(n, other), Step::Give(n, other)]);
            }
            steps.extend((0..1 << self.booking).map(|missed| Step::Load(n, missed)));
            steps.extend(all.iter().map(|event| Step::Ask(n, *event)));
            steps.extend([Step::Send(n), Step::Apply(n), Step::Hear(n), Step::Repeat(n), Step::GiveUp(n)]);
        }
        steps.extend(all.into_iter().map(Step::Land));
        steps
    }

    pub(crate) fn is_possible(&self, state: &State<N>, step: Step) -> bool {
        let leased = self.lease.is_some();
        let at = |n: usize| &state.nodes[n];
        match step {
            Step::Tick => true,
            Step::TickUnseen(_) => self.has(Fault::ClockSuspended),
            Step::Renew(n) => leased && self.fine && at(n).renewal.is_none_or(|renewal| renewal.age > 0),
            Step::Beat(n) => {
                let accepted = !state.buried[n] || self.has(Fault::BuriedBeats);
                accepted && leased && at(n).renewal.map_or(!self.fine, |renewal| !renewal.beaten)
            }
            Step::Extend(n) => at(n).renewal.is_some_and(|renewal| renewal.beaten),
            Step::Look(n, other) => leased && (at(n).still[other].is_none() || !at(n).listed[other]),
            Step::Bury(n, other) => {
                let wanted = leased && !state.buried[other] && !self.has(Fault::NotBuried);
                wanted && self.looks_dead(at(n), other)
            }
            Step::BeBornAgain(n) => state.buried[n],
            Step::ReadFence(n) => at(n).epoch.is_some() && state.owner != Some(n),
            Step::Find(n) => {
                let unknown = at(n).epoch.is_none() && at(n).claim.is_none() && !self.has(Fault::NeverFound);
                unknown && state.owner == Some(n) && !state.buried[n]
            }
            Step::Claim(n) => at(n).epoch.is_none() && at(n).claim.is_none() && self.may_take(state, n),
            Step::Grant(n) => at(n).claim == Some(Claim::Sent),
            Step::Adopt(n) => matches!(at(n).claim, Some(Claim::Granted(_))),
            Step::Disown(n) => matches!(at(n).claim, Some(Claim::Hopeless | Claim::Granted(Epoch::Old))),
            Step::Give(n, other) => {
                let idle = at(n).head().is_none() && at(n).claim.is_none() && state.gift.is_none();
                leased && idle && at(n).epoch.is_some() && !state.buried[other]
            }
            Step::LandGift => state.gift.is_some(),
            Step::Retract(n) => at(n).claim == Some(Claim::Giving),
            Step::LandGhost => state.ghost,
            step => self.may_happen_to_a_command(state, step),
        }
    }

    fn may_happen_to_a_command(&self, state: &State<N>, step: Step) -> bool {
        let at = |n: usize| &state.nodes[n];
        match step {
            // The barrier: nothing of this doctor is queued or under way.
            Step::Load(n, missed) => {
                let free = at(n).head().is_none() && at(n).claim.is_none() && !at(n).settling;
                free && at(n).epoch.is_some() && at(n).shown.is_none() && missed & !state.lagging == 0
            }
            Step::Ask(n, event) => {
                let told = state.told[event.user];
                let wanted = told != if event.op == Op::Book { Told::In } else { Told::Out };
                let ready = at(n).epoch.is_some() && at(n).shown.is_some() && !state.is_pending(event.user);
                wanted && ready && !matches!(self.decide(state, at(n), event), Decision::Park)
            }
            Step::Send(n) => {
                let owned = at(n).epoch.is_some() && at(n).shown.is_some();
                owned && at(n).head().is_some() && at(n).flight.is_none()
            }
            Step::Apply(n) => at(n)
                .flight
                .zip(at(n).head())
                .is_some_and(|(flight, event)| !flight.applied && self.accepts(state, flight.epoch, event)),
            Step::Hear(n) => at(n)
                .flight
                .zip(at(n).head())
                .is_some_and(|(flight, event)| flight.applied || !self.accepts(state, flight.epoch, event)),
            Step::Repeat(n) => at(n).flight.is_some_and(|flight| !flight.lost && self.losses),
            Step::GiveUp(n) => at(n).flight.is_some_and(|flight| flight.lost),
            Step::Land(event) => state.late & late_bit(event) != 0 && state.condition_holds(event),
            _ => false,
        }
    }
}
