//! How an activation comes to know its calendar, learns that it was wrong, and ends.

use std::collections::BTreeSet;
use std::sync::Arc;

use actix::{ActorContext, AsyncContext, Context, WrapFuture, fut::ActorFutureExt};
use chrono::{NaiveDate, Weekday};
use futures::future::{try_join, try_join_all};
use tokio::time::Instant;

use super::actor::{Ask, DoctorActor, Phase};
use super::messages::{PassivationReason, ReloadReason};
use super::published::Published;
use crate::calendar::{Booking, Event, ScheduleRow};
use crate::directory::Shell;
use crate::error::EngineError;
use crate::ids::{DoctorId, EventId};
use crate::metrics;
use crate::shard::{FencingEpoch, RangeId};
use crate::store::{DateRows, LoadError};

/// Dates that one load takes in at most; what else is wanted is loaded next.
const DATES_AT_ONCE: usize = 16;

/// What a load brought, and the epoch under which it was read.
struct Loaded {
    epoch: FencingEpoch,
    dates: Vec<(NaiveDate, DateRows)>,
    weekdays: Vec<(Weekday, Vec<ScheduleRow>)>,
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
        let mut dates = BTreeSet::new();
        let mut weekdays: Vec<Weekday> = Vec::new();
        for ask in &self.backlog {
            let missing = self.missing(ask, now);
            if dates.len() < DATES_AT_ONCE {
                dates.extend(missing.date);
            }
            weekdays.extend(missing.weekday.filter(|weekday| !weekdays.contains(weekday)));
        }
        let begun = Instant::now();
        let fetched = fetch(Arc::clone(&self.shell), self.doctor.clone(), self.range, dates, weekdays);
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

    fn take_in(&mut self, Loaded { epoch, dates, weekdays }: Loaded) {
        self.epoch = Some(epoch);
        for (date, rows) in dates {
            self.answer_own_success(date, &rows);
            self.calendar.load_date(date, rows);
        }
        for (weekday, rows) in weekdays {
            self.calendar.load_weekday(weekday, rows);
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
                (Ask::Command(ask), Some(booking)) => self.committed(&Event::Booked(booking), ask),
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

/// Reads what is missing under the epoch in force, all of it in parallel.
async fn fetch(
    shell: Arc<Shell>,
    doctor: DoctorId,
    range: RangeId,
    dates: BTreeSet<NaiveDate>,
    weekdays: Vec<Weekday>,
) -> Result<Loaded, NotLoaded> {
    let epoch = shell.ownership.epoch(range).ok_or(NotLoaded::Fenced)?;
    shell.ownership.settled(range).await;
    let dates = try_join_all(dates.into_iter().map(|date| {
        let rows = shell.store.load_date(&doctor, date);
        async move { Ok((date, rows.await?)) }
    }));
    let weekdays = try_join_all(weekdays.into_iter().map(|weekday| {
        let rows = shell.store.load_weekday(&doctor, weekday);
        async move { Ok((weekday, rows.await?)) }
    }));
    let (dates, weekdays) = try_join(dates, weekdays).await.map_err(NotLoaded::Store)?;
    match shell.ownership.epoch(range) {
        Some(in_force) if in_force == epoch => Ok(Loaded { epoch, dates, weekdays }),
        Some(_) => Err(NotLoaded::Outdated),
        None => Err(NotLoaded::Fenced),
    }
}
