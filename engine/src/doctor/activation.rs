//! How an activation comes to know its calendar, learns that it was wrong, and ends.

use std::sync::Arc;

use actix::{ActorContext, AsyncContext, Context, WrapFuture, fut::ActorFutureExt};
use chrono::NaiveDate;
use tokio::time::Instant;

use super::actor::{Ask, DoctorActor, Phase};
use super::messages::{PassivationReason, ReloadReason};
use super::published::Published;
use crate::calendar::{Booking, Fact, Part, StoredPart};
use crate::directory::Shell;
use crate::error::EngineError;
use crate::ids::{DoctorId, EventId};
use crate::metrics;
use crate::shard::{FencingEpoch, RangeId};
use crate::store::{DateRows, LoadError};

/// Parts that one load takes in at most: sixteen dates and a week. What else is wanted is loaded next.
const PARTS_AT_ONCE: usize = 23;

/// What a load brought, and the epoch under which it was read.
struct Loaded {
    epoch: FencingEpoch,
    parts: Vec<StoredPart>,
}

/// Why a load brought nothing.
enum NotLoaded {
    /// The range is not ours.
    Fenced,
    /// The epoch changed meanwhile.
    Outdated,
    Store(LoadError),
}

impl DoctorActor {
    /// The calendar does not follow from what is stored: nothing of it is used again.
    pub(super) fn calendar_is_wrong(&mut self, reason: ReloadReason) {
        if self.epoch.take().is_some() {
            tracing::warn!(?reason, range = %self.range, "a doctor reloads");
            metrics::reloads(reason);
        }
        self.published.store(Arc::new(Published::default()));
    }

    /// Starts a load, after whatever of this doctor is in its lane. Meanwhile every ask joins the backlog.
    pub(super) fn load_when_settled(&mut self, ctx: &mut Context<Self>) {
        if self.epoch.is_some() && self.in_flight.is_empty() {
            self.load(ctx);
            return;
        }
        self.phase = Phase::AwaitingBarrier;
        let (committer, doctor, range) = (self.shell.committer.clone(), self.doctor.clone(), self.range);
        let settled = async move { committer.settled(doctor, range).await };
        ctx.spawn(settled.into_actor(self).map(|(), this, ctx| {
            this.phase = Phase::AwaitingOutcomes;
            this.after_settling(ctx);
        }));
    }

    /// Goes on after an event has settled, or the barrier has passed.
    pub(super) fn after_settling(&mut self, ctx: &mut Context<Self>) {
        match self.phase {
            Phase::Ready if self.epoch.is_none() => self.load_when_settled(ctx),
            Phase::Ready => self.work_off_backlog(ctx),
            Phase::AwaitingOutcomes if self.in_flight.is_empty() => self.load(ctx),
            Phase::AwaitingBarrier | Phase::AwaitingOutcomes | Phase::Loading => {}
        }
    }

    fn load(&mut self, ctx: &mut Context<Self>) {
        self.phase = Phase::Loading;
        self.again.append(&mut self.backlog);
        std::mem::swap(&mut self.again, &mut self.backlog);
        let now = self.shell.clock.now();
        if self.epoch.is_none() {
            self.calendar = self.shell.unloaded.clone();
        } else {
            self.calendar.forget_stale_dates(now);
        }
        let mut parts: Vec<Part> = Vec::new();
        for part in self.backlog.iter().flat_map(|ask| self.missing(ask, now)) {
            if parts.len() < PARTS_AT_ONCE && !parts.contains(&part) {
                parts.push(part);
            }
        }
        let begun = Instant::now();
        let fetched = fetch(Arc::clone(&self.shell), self.doctor.clone(), self.range, parts);
        ctx.spawn(fetched.into_actor(self).map(move |loaded, this, ctx| {
            this.phase = Phase::Ready;
            metrics::loaded(begun.elapsed(), loaded.is_ok());
            match loaded {
                Ok(loaded) if this.epoch.is_none_or(|epoch| epoch == loaded.epoch) => this.take_in(loaded),
                Ok(_) | Err(NotLoaded::Outdated) => this.calendar_is_wrong(ReloadReason::Fenced),
                Err(NotLoaded::Fenced) => this.give_up_backlog(&EngineError::NotHere),
                Err(NotLoaded::Store(error)) => {
                    tracing::warn!(%error, range = %this.range, "a doctor cannot be loaded");
                    this.give_up_backlog(&EngineError::Unavailable);
                }
            }
            this.work_off_backlog(ctx);
        }));
    }

    fn take_in(&mut self, Loaded { epoch, parts }: Loaded) {
        self.epoch = Some(epoch);
        for part in parts {
            match &part {
                StoredPart::Date(date, rows) => self.answer_own_success(*date, rows),
                StoredPart::Hours(..) => {}
            }
            self.calendar.load(part);
        }
        self.published.store(Arc::new(Published::all_of(&self.calendar, self.epoch)));
    }

    /// A booking whose commit went unanswered is in the store after all: its caller is told so.
    fn answer_own_success(&mut self, date: NaiveDate, rows: &DateRows) {
        let written = |id: EventId| {
            let seat = rows.seats.iter().find(|seat| seat.event == Some(id));
            seat.map(|seat| seat.booking.clone())
        };
        for ask in std::mem::take(&mut self.backlog) {
            let own: Option<Booking> = match &ask {
                Ask::Command(command) if ask.date() == Some(date) => command.lost.and_then(written),
                Ask::Command(_) | Ask::View(_) => None,
            };
            match (ask, own) {
                (Ask::Command(ask), Some(booking)) => self.committed(&Fact::Booked(booking), ask),
                (ask, _) => self.backlog.push_back(ask),
            }
        }
    }

    fn give_up_backlog(&mut self, error: &EngineError) {
        for ask in std::mem::take(&mut self.backlog) {
            ask.fail(error.clone());
        }
    }

    /// Answers what waited, in order; what must wait on joins the backlog again.
    fn work_off_backlog(&mut self, ctx: &mut Context<Self>) {
        let now = self.shell.clock.now();
        for ask in std::mem::take(&mut self.backlog) {
            self.answer(ask, now, ctx);
        }
        if let Some(reason) = self.passivating {
            self.passivate(reason, ctx);
        }
    }

    /// Ends the activation as soon as it is idle: nothing staged, nothing in flight, nobody waiting. An idle-time end
    /// is dropped when there is work; any other is remembered.
    pub(super) fn passivate(&mut self, reason: PassivationReason, ctx: &mut Context<Self>) {
        let idle = self.phase == Phase::Ready && self.in_flight.is_empty() && self.backlog.is_empty();
        match reason {
            PassivationReason::Idle if !idle => {}
            PassivationReason::Idle | PassivationReason::Fenced | PassivationReason::Shutdown if idle => {
                tracing::debug!(?reason, range = %self.range, "passivated");
                self.active.ends(reason);
                self.shell.forget(&self.doctor, &self.published);
                ctx.stop();
            }
            PassivationReason::Idle | PassivationReason::Fenced | PassivationReason::Shutdown => {
                self.passivating = Some(reason);
            }
        }
    }
}

/// Reads what is missing under the epoch in force.
async fn fetch(
    shell: Arc<Shell>,
    doctor: DoctorId,
    range: RangeId,
    parts: Vec<Part>,
) -> Result<Loaded, NotLoaded> {
    let epoch = shell.ownership.epoch(range).ok_or(NotLoaded::Fenced)?;
    shell.ownership.settled(range).await;
    let parts = shell.store.load(&doctor, &parts).await.map_err(NotLoaded::Store)?;
    match shell.ownership.epoch(range) {
        Some(in_force) if in_force == epoch => Ok(Loaded { epoch, parts }),
        Some(_) => Err(NotLoaded::Outdated),
        None => Err(NotLoaded::Fenced),
    }
}
