//! The actor: decides, stages, and answers when the outcome is known.

use std::collections::VecDeque;
use std::sync::Arc;

use actix::{Actor, AsyncContext, Context, Handler, StreamHandler};
use arc_swap::ArcSwap;
use chrono::{DateTime, NaiveDate, Utc};
use tracing::Span;

use super::messages::{Answer, Execute, Passivate, PassivationReason, ReloadReason, Reply, View};
use super::published::Published;
use crate::calendar::{Booking, Calendar, Command, DayView, Decision, Event, Fact, Part, Rejection};
use crate::committer::{Heard, Outcome, Outcomes, Staged};
use crate::directory::Shell;
use crate::error::EngineError;
use crate::ids::{DoctorId, EventId};
use crate::limits::{DECIDE_ATTEMPTS_MAX, DOCTOR_PENDING_MAX};
use crate::metrics;
use crate::recent::RecentAnswer;
use crate::shard::{FencingEpoch, RangeId};

/// One doctor's live activation.
pub(crate) struct DoctorActor {
    pub(super) doctor: DoctorId,
    pub(super) range: RangeId,
    pub(super) shell: Arc<Shell>,
    pub(super) published: Arc<ArcSwap<Published>>,
    /// The state as it will be once everything in flight is stored.
    pub(super) calendar: Calendar,
    /// The epoch under which the calendar was loaded; `None` before the first load.
    pub(super) epoch: Option<FencingEpoch>,
    pub(super) phase: Phase,
    /// Staged and not yet settled, oldest first.
    pub(super) in_flight: VecDeque<InFlight>,
    /// Where the committer tells how they end, and where that is heard until this actor runs.
    outcomes: Outcomes,
    heard: Option<Heard>,
    /// What waits for a load, or for an event in flight to settle.
    pub(super) backlog: VecDeque<Ask>,
    /// Commands whose events were not stored, to be decided again after the reload, before the backlog.
    pub(super) again: VecDeque<Ask>,
    pub(super) passivating: Option<PassivationReason>,
    pub(super) active: metrics::Active,
}

/// Whether the calendar may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    Ready,
    /// Waits until everything of this doctor has left its lane.
    AwaitingBarrier,
    /// The barrier has passed; waits for the news of events in flight, which are on their way.
    AwaitingOutcomes,
    Loading,
}

/// An event on its way to the store, and who waits for it.
pub(super) struct InFlight {
    id: EventId,
    event: Arc<Event>,
    ask: CommandAsk,
    /// Known, and not yet acted upon: outcomes are taken in the order in which events were staged.
    outcome: Option<Outcome>,
}

/// What somebody waits for.
pub(super) enum Ask {
    Command(CommandAsk),
    View(ViewAsk),
}

pub(super) struct ViewAsk {
    pub(super) date: NaiveDate,
    reply: Reply<DayView>,
}

pub(super) struct CommandAsk {
    pub(super) command: Command,
    pub(super) reply: Reply<Answer>,
    pub(super) span: Span,
    /// How often it was decided and then not stored.
    pub(super) attempts: u32,
    /// An earlier event of this command may have been stored after all.
    pub(super) lost: Option<EventId>,
}

impl DoctorActor {
    pub(crate) fn new(
        doctor: DoctorId,
        range: RangeId,
        shell: Arc<Shell>,
        published: Arc<ArcSwap<Published>>,
    ) -> Self {
        let (outcomes, heard) = Outcomes::new();
        Self {
            doctor,
            range,
            calendar: shell.unloaded.clone(),
            shell,
            published,
            epoch: None,
            phase: Phase::Ready,
            in_flight: VecDeque::new(),
            outcomes,
            heard: Some(heard),
            backlog: VecDeque::new(),
            again: VecDeque::new(),
            passivating: None,
            active: metrics::Active::begin(),
        }
    }

    fn admit(&mut self, ask: Ask, ctx: &mut Context<Self>) {
        if self.in_flight.len() + self.backlog.len() + self.again.len() >= DOCTOR_PENDING_MAX {
            ask.fail(EngineError::Busy);
        } else {
            let now = self.shell.clock.now();
            self.answer(ask, now, ctx);
        }
    }

    /// Answers, stages, or parks. No `.await` from here to `stage`.
    pub(super) fn answer(&mut self, ask: Ask, now: DateTime<Utc>, ctx: &mut Context<Self>) {
        if ask.is_abandoned() {
            return;
        }
        // Before anything is waited for: a load from a store that is silent takes long to fail.
        let in_force = self.shell.ownership.open(self.range);
        if in_force.is_none() {
            ask.fail(EngineError::NotHere);
            self.passivate(PassivationReason::Fenced, ctx);
            return;
        }
        if !self.shell.ownership.is_vouched_for() {
            ask.fail(EngineError::Unavailable);
            return;
        }
        if self.phase != Phase::Ready {
            self.backlog.push_back(ask);
            return;
        }
        if self.epoch != in_force || !self.missing(&ask, now).is_empty() {
            if self.epoch.is_some() && self.epoch != in_force {
                self.calendar_is_wrong(ReloadReason::Fenced);
            }
            self.backlog.push_back(ask);
            self.load_when_settled(ctx);
            return;
        }
        match ask {
            Ask::View(view) => self.show(view),
            Ask::Command(ask) => self.execute(ask, now),
        }
    }

    pub(super) fn missing(&self, ask: &Ask, now: DateTime<Utc>) -> Vec<Part> {
        match ask {
            Ask::Command(ask) => self.calendar.missing(&ask.command, now),
            Ask::View(view) => self.calendar.missing_for(view.date),
        }
    }

    fn show(&self, ViewAsk { date, reply }: ViewAsk) {
        let view: Option<DayView> = self.published.load().view(date, self.epoch);
        reply.send(view.ok_or(EngineError::Unavailable));
    }

    fn execute(&mut self, ask: CommandAsk, now: DateTime<Utc>) {
        let Some(permit) = self.shell.committer.reserve(self.range) else {
            ask.fail(EngineError::Busy);
            return;
        };
        let verdict = self.calendar.verdict(&ask.command, now);
        let mut in_flight = self.in_flight.iter().flat_map(|staged| &staged.event.changes);
        if in_flight.any(|change| verdict.rests_on(change)) {
            self.backlog.push_back(Ask::Command(ask));
            return;
        }
        match (verdict.decision, self.epoch) {
            (Ok(Decision::Repeat(booking)), _) => ask.reply.send(Ok(Answer::BookedBefore(booking))),
            // It was there when this command was first decided, and now it is gone: by our own lost attempt.
            (Err(Rejection::BookingNotFound), _) if ask.lost.is_some() => match ask.command.clone() {
                Command::Cancel { user, date, start } => {
                    let booking = Booking { user, date, start, key: None };
                    self.committed(&Fact::Cancelled(booking), ask);
                }
                Command::Book { .. } | Command::SetSlots { .. } | Command::UpdateSlot { .. } => {
                    ask.fail(EngineError::OutcomeUnknown);
                }
            },
            // Refused by the time alone, which says nothing about what the lost attempt did.
            (Err(Rejection::SlotInPast | Rejection::OutsideWindow), _) if ask.lost.is_some() => {
                ask.reply.send(Err(EngineError::OutcomeUnknown));
            }
            (Err(rejection), _) => ask.reply.send(Err(rejection.into())),
            (Ok(Decision::Record(_)), None) => ask.fail(EngineError::Unavailable),
            (Ok(Decision::Record(event)), Some(epoch)) => {
                self.calendar.apply(&event);
                let event = Arc::new(event);
                let id = EventId::new(self.shell.chance.bits());
                let (doctor, range) = (self.doctor.clone(), self.range);
                permit.stage(Staged { doctor, range, epoch, id, event: Arc::clone(&event) }, &self.outcomes);
                let mut ask = ask;
                ask.reply.mark_staged();
                self.in_flight.push_back(InFlight { id, event, ask, outcome: None });
            }
        }
    }

    /// An event's outcome is known. The lane settles a doctor's events in order, but may tell how they ended in
    /// another: each waits for those before it.
    fn settle(&mut self, id: EventId, outcome: Outcome, ctx: &mut Context<Self>) {
        if let Some(staged) = self.in_flight.iter_mut().find(|staged| staged.id == id) {
            staged.outcome = Some(outcome);
        }
        while let Some(settled) = self.in_flight.pop_front_if(|staged| staged.outcome.is_some()) {
            self.act_upon(settled);
        }
        if self.in_flight.is_empty() {
            // Room that lies waiting takes memory of each doctor; new room is in a cache, that of long ago in none.
            self.in_flight = VecDeque::new();
        }
        self.after_settling(ctx);
    }

    /// Whoever waited for the event is answered, or decided again.
    fn act_upon(&mut self, InFlight { id, event, mut ask, outcome }: InFlight) {
        match outcome.unwrap_or(Outcome::Unknown) {
            Outcome::Committed => {
                self.published.load().publish(&event);
                self.committed(&event.fact, ask);
            }
            Outcome::Withdrawn { lost: true } => {
                ask.lost = Some(id);
                self.decide_again(ask);
                self.calendar_is_wrong(ReloadReason::CommitUnknown);
            }
            Outcome::Refused | Outcome::Withdrawn { lost: false } => {
                self.decide_again(ask);
                self.calendar_is_wrong(ReloadReason::CommitRefused);
            }
            Outcome::Aborted => {
                ask.fail(EngineError::Unavailable);
                self.calendar_is_wrong(ReloadReason::CommitRefused);
            }
            Outcome::Unknown => {
                ask.reply.send(Err(EngineError::OutcomeUnknown));
                self.calendar_is_wrong(ReloadReason::CommitUnknown);
            }
            Outcome::Fenced => {
                ask.fail(EngineError::NotHere);
                self.calendar_is_wrong(ReloadReason::Fenced);
            }
        }
    }

    fn decide_again(&mut self, mut ask: CommandAsk) {
        ask.attempts += 1;
        if ask.lost.is_none() {
            ask.reply.mark_not_stored();
        }
        if ask.attempts < DECIDE_ATTEMPTS_MAX {
            self.again.push_back(Ask::Command(ask));
        } else {
            ask.fail(EngineError::Unavailable);
        }
    }

    /// An event is stored: its waiter is told, and reads of this node know it.
    pub(super) fn committed(&self, fact: &Fact, ask: CommandAsk) {
        let _entered = ask.span.enter();
        let (answer, seat) = match fact {
            Fact::Booked(booking) => (Answer::Booked(booking.clone()), Some((booking, true))),
            Fact::Cancelled(booking) => (Answer::Cancelled, Some((booking, false))),
            Fact::HoursSet => (Answer::ScheduleSet, None),
        };
        if let Some((booking, booked)) = seat {
            let (doctor, date, start) = (self.doctor.clone(), booking.date, booking.start);
            let answer = RecentAnswer { doctor, date, start, booked };
            self.shell.recent.remember(&booking.user, answer, self.shell.clock.now());
        }
        ask.reply.send(Ok(answer));
    }
}

impl CommandAsk {
    /// Ends without a decision. An earlier attempt that went unanswered may have happened all the same.
    fn fail(self, error: EngineError) {
        let error = if self.lost.is_some() { EngineError::OutcomeUnknown } else { error };
        self.reply.send(Err(error));
    }
}

impl Ask {
    pub(super) fn fail(self, error: EngineError) {
        match self {
            Self::Command(ask) => ask.fail(error),
            Self::View(view) => view.reply.send(Err(error)),
        }
    }

    /// Whether the answer would reach nobody; a command that may have been stored is always looked after.
    fn is_abandoned(&self) -> bool {
        match self {
            Self::Command(ask) => ask.lost.is_none() && ask.reply.is_abandoned(),
            Self::View(view) => view.reply.is_abandoned(),
        }
    }

    pub(super) fn date(&self) -> Option<NaiveDate> {
        match self {
            Self::Command(ask) => match &ask.command {
                Command::Book { date, .. } | Command::Cancel { date, .. } => Some(*date),
                Command::SetSlots { .. } | Command::UpdateSlot { .. } => None,
            },
            Self::View(view) => Some(view.date),
        }
    }
}

impl Actor for DoctorActor {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        if let Some(heard) = self.heard.take() {
            ctx.add_stream(heard);
        }
    }
}

impl StreamHandler<(EventId, Outcome)> for DoctorActor {
    fn handle(&mut self, (id, outcome): (EventId, Outcome), ctx: &mut Self::Context) {
        self.settle(id, outcome, ctx);
    }

    /// Does not come: the actor has the other end itself.
    fn finished(&mut self, _: &mut Self::Context) {}
}

impl Handler<Execute> for DoctorActor {
    type Result = ();

    fn handle(&mut self, Execute { command, reply, span, place }: Execute, ctx: &mut Self::Context) {
        drop(place);
        let ask = CommandAsk { command, reply, span, attempts: 0, lost: None };
        self.admit(Ask::Command(ask), ctx);
    }
}

impl Handler<View> for DoctorActor {
    type Result = ();

    fn handle(&mut self, View { date, reply, place }: View, ctx: &mut Self::Context) {
        drop(place);
        self.admit(Ask::View(ViewAsk { date, reply }), ctx);
    }
}

impl Handler<Passivate> for DoctorActor {
    type Result = ();

    fn handle(&mut self, Passivate { reason }: Passivate, ctx: &mut Self::Context) {
        self.passivate(reason, ctx);
    }
}
