//! Where live activations are found, started and ended. Knows whom a command is for, and not what it means.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, Message};
use arc_swap::ArcSwap;
use chrono::NaiveDate;
use dashmap::DashMap;
use foldhash::fast::RandomState;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tracing::Span;

use crate::calendar::{Calendar, Clinic, Command, DayView, Rejection, SlotSet};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::committer::Committer;
use crate::doctor::{
    Answer, DoctorActor, Execute, Passivate, PassivationReason, Published, Reply, Undone, View,
};
use crate::error::EngineError;
use crate::ids::{DoctorId, UserId};
use crate::limits::{
    ACTIVATING_MAX, ACTIVATIONS_MAX, ASK_DEADLINE, DECIDE_ATTEMPTS_MAX, IDLE_BEFORE_PASSIVATION,
    IDLE_UNDER_PRESSURE, MAILBOX_CAPACITY,
};
use crate::metrics;
use crate::recent::{RecentAnswer, RecentAnswers};
use crate::runtime::Placement;
use crate::shard::{Ownership, RangeId, Ring};
use crate::store::BookingStore;

/// Milliseconds after which the use of an activation is noted again.
const USED_NOTED_EVERY: u64 = 500;

/// What every activation is given.
pub(crate) struct Shell {
    pub(crate) store: Arc<dyn BookingStore>,
    pub(crate) committer: Committer,
    pub(crate) ownership: Arc<Ownership>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) chance: Arc<dyn Chance>,
    pub(crate) clinic: Clinic,
    /// A calendar of this clinic, to refuse commands by their date alone and to clone for each doctor.
    pub(crate) unloaded: Calendar,
    pub(crate) recent: RecentAnswers,
    pub(crate) activations: Activations,
}

/// The live activations. Only this file looks into it.
#[derive(Default)]
pub(crate) struct Activations(DashMap<DoctorId, Arc<Activation>, RandomState>);

/// Finds or starts a doctor's activation, and asks it. Clones share one directory.
#[derive(Clone)]
pub struct Directory {
    shell: Arc<Shell>,
    placement: Arc<Placement>,
    activating: Arc<Semaphore>,
    stopping: Arc<AtomicBool>,
    asked: Arc<metrics::Asked>,
    born: Instant,
}

struct Activation {
    addr: Addr<DoctorActor>,
    range: RangeId,
    published: Arc<ArcSwap<Published>>,
    /// Places in its mailbox.
    places: Arc<Semaphore>,
    /// Milliseconds since the directory was made, or a little less.
    last_used: AtomicU64,
}

impl Activations {
    /// The wanted ones, in an order that no hash map chooses, so that a simulation can be repeated.
    fn in_order(&self, is_wanted: impl Fn(&Activation) -> bool) -> Vec<Arc<Activation>> {
        let wanted = self.0.iter().filter(|entry| is_wanted(entry.value()));
        let mut wanted: Vec<_> =
            wanted.map(|entry| (entry.key().clone(), Arc::clone(entry.value()))).collect();
        wanted.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        wanted.into_iter().map(|(_, activation)| activation).collect()
    }
}

impl Activation {
    fn end_when_idle(&self) {
        // One that is too busy to listen is not idle.
        let _ = self.addr.try_send(Passivate { reason: PassivationReason::Idle });
    }
}

impl Shell {
    /// Takes an ended activation out, unless another one has taken its place.
    pub(crate) fn forget(&self, doctor: &DoctorId, published: &Arc<ArcSwap<Published>>) {
        self.activations.0.remove_if(doctor, |_, activation| Arc::ptr_eq(&activation.published, published));
    }
}

impl Directory {
    pub(crate) fn new(shell: Shell, placement: Arc<Placement>) -> Self {
        Self {
            shell: Arc::new(shell),
            placement,
            activating: Arc::new(Semaphore::new(ACTIVATING_MAX)),
            stopping: Arc::default(),
            asked: Arc::default(),
            born: Instant::now(),
        }
    }

    /// Has a command decided and stored by its doctor.
    ///
    /// # Errors
    /// As [`EngineError`] says. Past [`ASK_DEADLINE`] nobody knows whether it happened.
    pub async fn ask(&self, doctor: &DoctorId, command: Command) -> Result<Answer, EngineError> {
        let answer = self.decided(doctor, command).await;
        self.asked.answered(answer.as_ref());
        answer
    }

    async fn decided(&self, doctor: &DoctorId, command: Command) -> Result<Answer, EngineError> {
        // What its date alone refuses troubles no doctor and no store.
        self.shell.unloaded.refused_unseen(&command, self.shell.clock.now())?;
        let execute =
            |reply, place| Execute { command: command.clone(), reply, span: Span::current(), place };
        let answer = self.deliver(doctor, execute);
        tokio::time::timeout(ASK_DEADLINE, answer).await.unwrap_or(Err(EngineError::OutcomeUnknown))
    }

    /// What the public may see of a date: from the published snapshot when there is one, else by asking the doctor.
    /// Outside the booking window nothing is offered.
    ///
    /// # Errors
    /// [`Rejection::DoctorNotFound`], or that the doctor cannot be asked.
    pub async fn view(&self, doctor: &DoctorId, date: NaiveDate) -> Result<DayView, EngineError> {
        if !self.shell.clinic.in_window(date, self.shell.clock.now()) {
            return match self.existing(doctor) {
                Some(_) => Ok(DayView::new(SlotSet::EMPTY)),
                None => self.check_exists(doctor).await.map(|()| DayView::new(SlotSet::EMPTY)),
            };
        }
        if let Some(view) = self.published(doctor, date) {
            return Ok(view);
        }
        let view = self.deliver(doctor, |reply, place| View { date, reply, place });
        tokio::time::timeout(ASK_DEADLINE, view).await.unwrap_or(Err(EngineError::Unavailable))
    }

    /// What was answered to this user within the last minute, oldest first.
    pub fn recent(&self, user: &UserId) -> Vec<RecentAnswer> {
        self.shell.recent.of(user, self.shell.clock.now())
    }

    pub(crate) fn ring(&self) -> Ring {
        self.shell.ownership.ring()
    }

    /// Another node has answered this command: reads of this one know it.
    pub(crate) fn remember(&self, doctor: &DoctorId, command: &Command, answer: &Answer) {
        let (user, date, start, booked) = match (command, answer) {
            (Command::Book { user, .. }, Answer::Booked(booking) | Answer::BookedBefore(booking)) => {
                (user, booking.date, booking.start, true)
            }
            (Command::Cancel { user, date, start }, Answer::Cancelled) => (user, *date, *start, false),
            (Command::Book { .. } | Command::Cancel { .. }, _)
            | (Command::SetSlots { .. } | Command::UpdateSlot { .. }, _) => return,
        };
        let answer = RecentAnswer { doctor: doctor.clone(), date, start, booked };
        self.shell.recent.remember(user, answer, self.shell.clock.now());
    }

    /// How many doctors are in memory.
    pub fn active(&self) -> usize {
        self.shell.activations.0.len()
    }

    /// Sends a message and waits for its reply. Asks another activation when this one certainly did nothing.
    async fn deliver<M, T>(
        &self,
        doctor: &DoctorId,
        message: impl Fn(Reply<T>, OwnedSemaphorePermit) -> M,
    ) -> Result<T, EngineError>
    where
        M: Message<Result = ()> + Send + 'static,
        DoctorActor: Handler<M>,
        <DoctorActor as Actor>::Context: ToEnvelope<DoctorActor, M>,
    {
        for _ in 0..DECIDE_ATTEMPTS_MAX {
            let activation = self.activation(doctor).await?;
            self.asked.delivered(activation.places.available_permits());
            // Its places are counted here, and not by actix, which gives each clone of an address one of its own.
            let place = Arc::clone(&activation.places).try_acquire_owned().map_err(|_| EngineError::Busy)?;
            let (reply, answer) = Reply::new();
            // One that has ended drops the message, and the reply that is dropped says that it was not delivered.
            #[expect(clippy::disallowed_methods, reason = "a place in the mailbox is taken above")]
            activation.addr.do_send(message(reply, place));
            match answer.await.unwrap_or(Err(Undone::Failed(EngineError::OutcomeUnknown))) {
                Ok(answer) => return Ok(answer),
                Err(Undone::NotDelivered) => self.shell.forget(doctor, &activation.published),
                Err(Undone::Failed(error)) => return Err(error),
            }
        }
        Err(EngineError::Unavailable)
    }

    /// The published snapshot of a date, if what is answered from memory is good.
    fn published(&self, doctor: &DoctorId, date: NaiveDate) -> Option<DayView> {
        let activation = self.shell.activations.0.get(doctor)?;
        self.is_used(&activation);
        if !self.shell.ownership.is_vouched_for() {
            return None;
        }
        let in_force = self.shell.ownership.open(activation.range);
        activation.published.load().view(date, in_force)
    }

    fn existing(&self, doctor: &DoctorId) -> Option<Arc<Activation>> {
        let activation = Arc::clone(self.shell.activations.0.get(doctor)?.value());
        self.is_used(&activation);
        Some(activation)
    }

    /// To write what others read costs all of them: it is done once in a while.
    fn is_used(&self, activation: &Activation) {
        let now = self.millis();
        if activation.last_used.load(Ordering::Relaxed) + USED_NOTED_EVERY < now {
            activation.last_used.store(now, Ordering::Relaxed);
        }
    }

    /// The live activation, started if there is none: but nothing is started, or remembered, for a doctor who is not in
    /// `Doctors`.
    async fn activation(&self, doctor: &DoctorId) -> Result<Arc<Activation>, EngineError> {
        if let Some(activation) = self.existing(doctor) {
            return Ok(activation);
        }
        let range = self.ring().range_of(doctor);
        if self.stopping.load(Ordering::Acquire) {
            return Err(EngineError::Unavailable);
        }
        if self.shell.ownership.open(range).is_none() {
            return Err(EngineError::NotHere);
        }
        if self.active() >= ACTIVATIONS_MAX {
            return Err(EngineError::Busy);
        }
        self.check_exists(doctor).await?;
        let activation = self.shell.activations.0.entry(doctor.clone());
        let activation = activation.or_insert_with(|| Arc::new(self.start(doctor.clone(), range)));
        Ok(Arc::clone(activation.value()))
    }

    async fn check_exists(&self, doctor: &DoctorId) -> Result<(), EngineError> {
        let _permit = self.activating.try_acquire().map_err(|_| EngineError::Busy)?;
        match self.shell.store.doctor_exists(doctor).await {
            Ok(true) => Ok(()),
            Ok(false) => Err(Rejection::DoctorNotFound.into()),
            Err(error) => {
                tracing::warn!(%error, "a doctor cannot be looked up");
                Err(EngineError::Unavailable)
            }
        }
    }

    fn start(&self, doctor: DoctorId, range: RangeId) -> Activation {
        let published: Arc<ArcSwap<Published>> = Arc::default();
        let actor = DoctorActor::new(doctor, range, Arc::clone(&self.shell), Arc::clone(&published));
        let addr = DoctorActor::start_in_arbiter(self.placement.actor_arbiter(range), |_| actor);
        let places = Arc::new(Semaphore::new(MAILBOX_CAPACITY));
        Activation { addr, range, published, places, last_used: AtomicU64::new(self.millis()) }
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.born.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// Asks every activation that nobody has used for a while to end, and those of other nodes' doctors; sooner when
    /// memory is nearly full of doctors.
    pub(crate) fn passivate_idle(&self) {
        let pressed = self.active() > ACTIVATIONS_MAX / 4 * 3;
        let idle = if pressed { IDLE_UNDER_PRESSURE } else { IDLE_BEFORE_PASSIVATION };
        let oldest = self.millis().saturating_sub(u64::try_from(idle.as_millis()).unwrap_or(u64::MAX));
        let is_idle = |activation: &Activation| {
            activation.last_used.load(Ordering::Relaxed) < oldest
                || self.shell.ownership.epoch(activation.range).is_none()
        };
        for activation in self.shell.activations.in_order(is_idle) {
            activation.end_when_idle();
        }
    }

    /// Asks this doctor's activation, if there is one, to end unless it has work.
    pub fn passivate(&self, doctor: &DoctorId) {
        if let Some(activation) = self.shell.activations.0.get(doctor) {
            activation.end_when_idle();
        }
    }

    /// Starts no activation any more, and ends those that there are, each when what it has staged is settled.
    pub(crate) async fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        for activation in self.shell.activations.in_order(|_| true) {
            // One that has ended already needs no telling.
            let _ = activation.addr.send(Passivate { reason: PassivationReason::Shutdown }).await;
        }
    }
}
