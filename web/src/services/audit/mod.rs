//! The audit trail: who read, changed or deleted whose records. Where an answer gives access to medical files or a chat,
//! its entry is written first ([`Audit::record`]): no entry, no access. For a change, a place for the entry is taken
//! before anything is done, so that it cannot fail afterwards; what has begun goes on when its client hangs up
//! ([`Audit::see_through`]), and where it ends without a word all the same, its entry says that nobody knows. Bookings
//! must stay fast, so theirs wait in memory and are written together a moment later ([`Audit::on_record`]); a change to
//! a file is answered when its entry is written ([`Audit::change`]). What a killed process loses is what waited at that
//! moment; a stop writes it all.

mod readings;
mod seen_through;
#[cfg(test)]
mod tests;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use chrono::NaiveDate;
use engine::{Answer, Chance, Clock, DoctorId, EngineError, SlotStart, UserId};
use futures::{StreamExt, stream};
use persistence::{
    AUDIT_ENTRIES_AT_ONCE, AuditAction, AuditCursor, AuditEntry, AuditError, AuditOutcome, AuditPage,
    AuditParty, AuditSubject, AuditTrail,
};
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::auth::Caller;
use crate::error::ApiError;
use crate::metrics;
use crate::telemetry::RequestId;
use readings::Readings;
use seen_through::SeenThrough;

/// Entries that wait to be written: a few megabytes.
const QUEUE_CAPACITY: usize = 8192;
/// The longest that a request waits for a place in the queue.
const PLACE_WITHIN: Duration = Duration::from_secs(2);
/// The pause between two writes, in which entries gather: nobody waits for them.
const GATHER: Duration = Duration::from_millis(20);
/// Requests to the store at once: 60,000 entries a second where one takes 13 ms. With two, a quarter of that was all that a node
/// could book on such a store.
const WRITES_AT_ONCE: usize = 8;
/// How long entries are tried to be written before they are given up, loudly.
const WRITE_WITHIN: Duration = Duration::from_secs(20);
/// The longest pause after a failed write; the first is a hundredth of it.
const WRITE_BACKOFF_MAX: Duration = Duration::from_secs(2);
/// The longest that a reader of the trail waits for what is still on its way there.
const FLUSH_WITHIN: Duration = Duration::from_secs(2);

/// The way to the audit trail. The queue behind it is emptied by a task of its own.
pub(crate) struct Audit {
    trail: AuditTrail,
    clock: Arc<dyn Clock>,
    chance: Arc<dyn Chance>,
    queue: mpsc::Sender<Waiting>,
    readings: Arc<Readings>,
}

/// Who acts, and in which request.
#[derive(Debug, Clone)]
pub(crate) struct Actor {
    party: AuditParty,
    request_id: u128,
}

/// What is done to whose record.
#[derive(Debug, Clone)]
pub(crate) struct Deed {
    pub(crate) owner: AuditParty,
    pub(crate) action: AuditAction,
    pub(crate) subject: AuditSubject,
}

/// Entries with places in the queue, waiting for what they are about to happen. Dropped, they say that nobody knows.
struct Expected<'a> {
    entries: Vec<AuditEntry>,
    places: mpsc::PermitIterator<'a, Waiting>,
}

enum Waiting {
    Entry(AuditEntry),
    /// Answered when all that was queued before is written, or given up.
    Flush(oneshot::Sender<()>),
}

/// Empties the queue.
struct Writer {
    /// `None`: what is queued is dropped.
    trail: Option<AuditTrail>,
    chance: Arc<dyn Chance>,
    readings: Arc<Readings>,
}

impl Audit {
    /// A trail with an empty queue, and the task that empties it. Unless `kept`, what is queued is dropped there.
    pub(crate) fn start(
        trail: AuditTrail,
        kept: bool,
        clock: Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
    ) -> Self {
        let (audit, inbox) = Self::new(trail.clone(), clock, Arc::clone(&chance));
        let writer = Writer { trail: kept.then_some(trail), chance, readings: Arc::clone(&audit.readings) };
        actix_web::rt::spawn(async move { writer.write_behind(inbox).await });
        audit
    }

    fn new(
        trail: AuditTrail,
        clock: Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
    ) -> (Self, mpsc::Receiver<Waiting>) {
        let (queue, inbox) = mpsc::channel(QUEUE_CAPACITY);
        (Self { trail, clock, chance, queue, readings: Arc::default() }, inbox)
    }

    /// Writes entries at once, at most [`AUDIT_ENTRIES_AT_ONCE`] and all or none.
    pub(crate) async fn record(
        &self,
        by: &Actor,
        deeds: impl IntoIterator<Item = Deed>,
    ) -> Result<(), ApiError> {
        let entries: Vec<_> = deeds.into_iter().map(|deed| self.entry(by, deed)).collect();
        Ok(self.trail.append(&entries).await?)
    }

    /// Does something that goes on record to its end, also when the client hangs up meanwhile: nobody can hide in that way
    /// how it ended, nor leave an entry about what would have been refused.
    pub(crate) fn see_through<T: 'static>(
        deed: impl Future<Output = Result<T, ApiError>> + 'static,
    ) -> impl Future<Output = Result<T, ApiError>> {
        SeenThrough::new(deed)
    }

    /// Has a seat taken or given back by `asked`, and queues the entry about it.
    pub(crate) async fn on_record(
        &self,
        by: &Actor,
        deed: Deed,
        asked: impl AsyncFnOnce() -> Result<(DoctorId, Answer), EngineError>,
    ) -> Result<(DoctorId, Answer), ApiError> {
        let mut expected = self.expect(by, [deed]).await?;
        let answer = asked().await;
        match &answer {
            Ok((_, Answer::BookedBefore(_))) => expected.did_not_happen(),
            Ok((doctor, Answer::Booked(_) | Answer::Cancelled | Answer::ScheduleSet)) => {
                expected.spell(doctor);
                expected.happened();
            }
            Err(EngineError::OutcomeUnknown) => drop(expected),
            Err(
                EngineError::Rejected(_)
                | EngineError::Busy
                | EngineError::NotHere
                | EngineError::Unavailable,
            ) => {
                expected.did_not_happen();
            }
        }
        Ok(answer?)
    }

    /// Has files changed by `change`, and returns when the entries about it are written.
    pub(crate) async fn change<T>(
        &self,
        by: &Actor,
        deeds: impl IntoIterator<Item = Deed>,
        change: impl Future<Output = Result<T, ApiError>>,
    ) -> Result<T, ApiError> {
        let expected = self.expect(by, deeds).await?;
        let changed = change.await;
        match &changed {
            Ok(_) => expected.happened(),
            Err(ApiError::File(_) | ApiError::InvalidValue(_)) => {
                expected.did_not_happen();
                return changed;
            }
            // The store may have done it, or a part of it.
            Err(_) => drop(expected),
        }
        let written = tokio::time::timeout(FLUSH_WITHIN, self.flush()).await;
        written.map_err(|_| ApiError::OutcomeUnknown)?;
        changed
    }

    /// Takes a place for each entry; refused as busy when they do not get free.
    async fn expect(
        &self,
        by: &Actor,
        deeds: impl IntoIterator<Item = Deed>,
    ) -> Result<Expected<'_>, ApiError> {
        let entries: Vec<_> = deeds.into_iter().map(|deed| self.entry(by, deed)).collect();
        let places = match self.queue.try_reserve_many(entries.len()) {
            Ok(places) => places,
            Err(_) => {
                let places = tokio::time::timeout(PLACE_WITHIN, self.queue.reserve_many(entries.len())).await;
                places.map_err(|_| ApiError::Busy)?.map_err(ApiError::internal)?
            }
        };
        Ok(Expected { entries, places })
    }

    /// Queues an entry for each of these owners, to whose bookings an answer is about to give access. Those whose entry
    /// of this hour is there already get no second one.
    pub(crate) async fn bookings_read(
        &self,
        by: &Actor,
        owners: impl IntoIterator<Item = AuditParty>,
    ) -> Result<(), ApiError> {
        let (now, deadline) = (self.clock.now(), Instant::now() + PLACE_WITHIN);
        for owner in owners {
            if self.readings.is_known(&by.party, &owner, now) {
                continue;
            }
            let place = tokio::time::timeout_at(deadline, self.queue.reserve()).await;
            let place = place.map_err(|_| ApiError::Busy)?.map_err(ApiError::internal)?;
            self.readings.remember(&by.party, &owner, now);
            let deed = Deed { owner, action: AuditAction::BookingsRead, subject: AuditSubject::All };
            place.send(Waiting::Entry(self.entry(by, deed)));
        }
        Ok(())
    }

    /// What was done to the records of this account, newest first, with all that this node has answered before.
    pub(crate) async fn about(
        &self,
        owner: &Caller,
        before: Option<&AuditCursor>,
        limit: usize,
    ) -> Result<AuditPage, ApiError> {
        let flushed = tokio::time::timeout(FLUSH_WITHIN, self.flush()).await;
        flushed.map_err(|_| ApiError::Unavailable)?;
        Ok(self.trail.page(&owner.into(), before, limit).await?)
    }

    /// Returns when all that was queued before is written.
    pub(crate) async fn flush(&self) {
        let (done, flushed) = oneshot::channel();
        if self.queue.send(Waiting::Flush(done)).await.is_ok() {
            // An error means that the task has ended: nothing is left that could be waited for.
            let _ = flushed.await;
        }
    }

    fn entry(&self, by: &Actor, Deed { owner, action, subject }: Deed) -> AuditEntry {
        AuditEntry {
            owner,
            at: self.clock.now(),
            id: self.chance.bits(),
            actor: by.party.clone(),
            action,
            outcome: AuditOutcome::Done,
            subject,
            request_id: by.request_id,
        }
    }
}

impl Actor {
    /// The caller, in this request.
    pub(crate) fn new(caller: &Caller, request_id: RequestId) -> Self {
        Self { party: caller.into(), request_id: request_id.bits() }
    }
}

impl Deed {
    /// About a patient's seat.
    pub(crate) fn seat(
        action: AuditAction,
        user: &UserId,
        doctor: &DoctorId,
        date: NaiveDate,
        start: SlotStart,
    ) -> Self {
        let subject = AuditSubject::Seat { doctor: doctor.clone(), date, start };
        Self { owner: AuditParty::User(user.clone()), action, subject }
    }

    /// About all that the caller owns of a kind.
    pub(crate) fn own(action: AuditAction, caller: &Caller) -> Self {
        Self { owner: caller.into(), action, subject: AuditSubject::All }
    }

    /// About a file of the caller's.
    pub(crate) fn own_file(action: AuditAction, caller: &Caller, filename: &str) -> Self {
        Self { owner: caller.into(), action, subject: AuditSubject::File { filename: filename.to_owned() } }
    }
}

impl Expected<'_> {
    /// The doctor was found under this spelling.
    fn spell(&mut self, found: &DoctorId) {
        for entry in &mut self.entries {
            if let AuditSubject::Seat { doctor, .. } = &mut entry.subject {
                doctor.clone_from(found);
            }
        }
    }

    /// It was done.
    fn happened(mut self) {
        self.send();
    }

    /// It was not done: there is nothing to tell.
    fn did_not_happen(mut self) {
        self.entries.clear();
    }

    fn send(&mut self) {
        for (entry, place) in self.entries.drain(..).zip(&mut self.places) {
            place.send(Waiting::Entry(entry));
        }
    }
}

impl Drop for Expected<'_> {
    fn drop(&mut self) {
        self.entries.iter_mut().for_each(|entry| entry.outcome = AuditOutcome::Unknown);
        self.send();
    }
}

impl Writer {
    /// Writes what is queued until nobody can queue anything any more.
    async fn write_behind(&self, mut inbox: mpsc::Receiver<Waiting>) {
        let mut taken = Vec::new();
        while inbox.recv_many(&mut taken, QUEUE_CAPACITY).await > 0 {
            let (mut entries, mut flushes) = (Vec::new(), Vec::new());
            for waiting in taken.drain(..) {
                match waiting {
                    Waiting::Entry(entry) => entries.push(entry),
                    Waiting::Flush(done) => flushes.push(done),
                }
            }
            if !entries.is_empty() {
                metrics::audit_waited(entries.len());
            }
            let write = |entries| self.write(entries, Instant::now());
            let chunks = stream::iter(entries.chunks(AUDIT_ENTRIES_AT_ONCE));
            chunks.for_each_concurrent(WRITES_AT_ONCE, write).await;
            for done in flushes {
                // Whoever waited may have gone.
                let _ = done.send(());
            }
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Writes these entries at once, or one by one where they are refused together: one that the store does not take
    /// must not keep out the others.
    async fn write(&self, entries: &[AuditEntry], begun: Instant) {
        let Some(trail) = &self.trail else { return };
        let mut ceiling = WRITE_BACKOFF_MAX / 100;
        while let Err(error) = trail.append(entries).await {
            if matches!(error, AuditError::Refused(_)) && entries.len() > 1 {
                let write = |entry| Box::pin(self.write(entry, begun));
                return stream::iter(entries.chunks(1)).for_each_concurrent(WRITES_AT_ONCE, write).await;
            }
            if begun.elapsed() >= WRITE_WITHIN {
                tracing::error!(%error, audit.entries = entries.len(), "entries of the audit trail are lost");
                metrics::audit_ended(entries.len(), false);
                self.readings.forget();
                return;
            }
            tracing::warn!(%error, audit.entries = entries.len(), "the audit trail is tried again");
            tokio::time::sleep(self.chance.jitter(ceiling)).await;
            ceiling = (ceiling * 2).min(WRITE_BACKOFF_MAX);
        }
        metrics::audit_ended(entries.len(), true);
    }
}

impl From<&Caller> for AuditParty {
    fn from(caller: &Caller) -> Self {
        match caller {
            Caller::User(user) => Self::User(user.clone()),
            Caller::Doctor(doctor) => Self::Doctor(doctor.clone()),
        }
    }
}

impl From<AuditError> for ApiError {
    fn from(error: AuditError) -> Self {
        match error {
            AuditError::Unavailable(_) => Self::Unavailable,
            AuditError::Refused(_) => Self::internal(error),
        }
    }
}
