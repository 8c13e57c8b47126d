//! The reference store: the contract of [`BookingStore`] and [`Fences`] in memory. It is the readable specification,
//! and what tests and benches run on.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use chrono::{NaiveDate, Weekday};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};

use super::{
    Batch, BatchEvent, BeatError, BookingStore, Claim, ClaimError, CommitError, DateRows, Fence, FenceCheck,
    Fences, Heartbeat, LoadError, Nodes, Reason, Reasons, StoredSeat,
};
use crate::calendar::{Booking, Change, DateSpelling, Part, ScheduleRow, SlotStart, SpellingSet, StoredPart};
use crate::ids::{DoctorId, EventId, NodeId, RequestToken, UserId};
use crate::shard::{FencingEpoch, RangeId};

/// A store in memory; clones share it.
#[derive(Clone, Default)]
pub struct MemoryStore {
    tables: Arc<Mutex<Tables>>,
}

#[derive(Default)]
struct Tables {
    doctors: HashSet<DoctorId>,
    seats: BTreeMap<DoctorId, BTreeMap<SeatKey, StoredSeat>>,
    schedules: BTreeMap<(DoctorId, u8), Vec<ScheduleRow>>,
    fences: BTreeMap<RangeId, Fence>,
    nodes: BTreeMap<NodeId, Heartbeat>,
    requests: HashMap<RequestToken, Batch>,
    /// The tokens, oldest first.
    tokens: VecDeque<RequestToken>,
}

/// How many requests are recognised when they are repeated; DynamoDB knows them for ten minutes.
const REQUESTS_KNOWN: usize = 10_000;

/// Of a doctor's seats: date, slot, user, and how the key spells the date.
type SeatKey = (NaiveDate, SlotStart, UserId, DateSpelling);

fn seat_key(booking: &Booking, spelling: DateSpelling) -> SeatKey {
    let Booking { user, date, start, .. } = booking;
    (*date, *start, user.clone(), spelling)
}

fn schedule_key(doctor: &DoctorId, weekday: Weekday) -> (DoctorId, u8) {
    #[expect(clippy::cast_possible_truncation, reason = "a week has seven days")]
    (doctor.clone(), weekday.num_days_from_monday() as u8)
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a doctor.
    pub fn add_doctor(&self, doctor: DoctorId) {
        self.tables().doctors.insert(doctor);
    }

    /// Puts a row as another program would: without a fence, an event id or a condition.
    pub fn add_booking(&self, doctor: &DoctorId, booking: Booking, spelling: DateSpelling) {
        let key = seat_key(&booking, spelling);
        let seat = StoredSeat { booking, spellings: SpellingSet::only(spelling), event: None };
        self.tables().seats.entry(doctor.clone()).or_default().insert(key, seat);
    }

    /// Takes a row away as another program would.
    pub fn remove_booking(&self, doctor: &DoctorId, booking: &Booking) {
        self.tables().remove(doctor, &seat_key(booking, DateSpelling::PLAIN));
    }

    /// Every booking of every doctor, in key order.
    pub fn bookings(&self) -> Vec<(DoctorId, Booking)> {
        let tables = self.tables();
        let of_doctor = |(doctor, seats): (&DoctorId, &BTreeMap<SeatKey, StoredSeat>)| {
            seats.values().map(|seat| (doctor.clone(), seat.booking.clone())).collect::<Vec<_>>()
        };
        tables.seats.iter().flat_map(of_doctor).collect()
    }

    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl BookingStore for MemoryStore {
    fn doctor_exists(&self, doctor: &DoctorId) -> BoxFuture<'static, Result<bool, LoadError>> {
        ready(Ok(self.tables().doctors.contains(doctor))).boxed()
    }

    fn load(
        &self,
        doctor: &DoctorId,
        parts: &[Part],
    ) -> BoxFuture<'static, Result<Vec<StoredPart>, LoadError>> {
        let tables = self.tables();
        ready(Ok(parts.iter().map(|part| tables.load(doctor, *part)).collect())).boxed()
    }

    fn commit(&self, batch: &Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        ready(self.tables().commit(batch)).boxed()
    }
}

impl Tables {
    fn load(&self, doctor: &DoctorId, part: Part) -> StoredPart {
        match part {
            Part::Date(date) => {
                let of_date = self.seats.get(doctor).into_iter().flatten().filter(|(key, _)| key.0 == date);
                let seats = of_date.map(|(_, seat)| seat.clone()).collect();
                StoredPart::Date(date, DateRows { seats, unreadable: Vec::new() })
            }
            Part::Hours(weekday) => {
                let rows = self.schedules.get(&schedule_key(doctor, weekday)).cloned();
                StoredPart::Hours(weekday, rows.unwrap_or_default())
            }
        }
    }

    fn commit(&mut self, batch: &Batch) -> Result<(), CommitError> {
        if let Some(earlier) = self.requests.get(&batch.token) {
            return if earlier == batch {
                Ok(())
            } else {
                Err(CommitError::Unknown("the token was used for another request".to_owned()))
            };
        }
        let items_of = |BatchEvent { doctor, event, .. }: &BatchEvent| {
            event.changes.iter().map(|change| (doctor.clone(), change.item())).collect::<Vec<_>>()
        };
        let mut items = HashSet::new();
        if !batch.events.iter().flat_map(items_of).all(|item| items.insert(item)) {
            return Err(CommitError::Malformed("two actions on one item".to_owned()));
        }
        let failed = |found| Reason::ConditionFailed { found };
        let check = |check: &FenceCheck| match self.fences.get(&check.range) {
            Some(fence) if fence.epoch == check.epoch => Reason::Innocent,
            Some(_) | None => failed(None),
        };
        let event = |BatchEvent { doctor, event, .. }: &BatchEvent| match event
            .changes
            .iter()
            .try_for_each(|change| self.condition(doctor, change))
        {
            Ok(()) => Reason::Innocent,
            Err(in_the_way) => failed(in_the_way),
        };
        let reasons = Reasons {
            checks: batch.checks.iter().map(check).collect(),
            events: batch.events.iter().map(event).collect(),
        };
        if reasons.checks.iter().chain(&reasons.events).any(|reason| *reason != Reason::Innocent) {
            return Err(CommitError::Cancelled(reasons));
        }
        for BatchEvent { doctor, id, event } in &batch.events {
            event.changes.iter().for_each(|change| self.write(doctor, *id, change));
        }
        self.requests.insert(batch.token, batch.clone());
        self.tokens.push_back(batch.token);
        if self.tokens.len() > REQUESTS_KNOWN
            && let Some(oldest) = self.tokens.pop_front()
        {
            self.requests.remove(&oldest);
        }
        Ok(())
    }

    fn seat(&self, doctor: &DoctorId, key: &SeatKey) -> Option<&StoredSeat> {
        self.seats.get(doctor)?.get(key)
    }

    fn remove(&mut self, doctor: &DoctorId, key: &SeatKey) {
        if let Some(seats) = self.seats.get_mut(doctor) {
            seats.remove(key);
        }
    }

    /// A seat that is taken must not be there yet, one that is freed must be; the error is the event id of what is in
    /// the way.
    fn condition(&self, doctor: &DoctorId, change: &Change) -> Result<(), Option<EventId>> {
        match change {
            Change::SeatTaken(booking) => match self.seat(doctor, &seat_key(booking, DateSpelling::PLAIN)) {
                Some(seat) => Err(seat.event),
                None => Ok(()),
            },
            Change::SeatFreed { booking, spellings } => {
                let held = |spelling| self.seat(doctor, &seat_key(booking, spelling)).is_some();
                if spellings.iter().all(held) { Ok(()) } else { Err(None) }
            }
            Change::HoursSet { .. } => Ok(()),
        }
    }

    fn write(&mut self, doctor: &DoctorId, id: EventId, change: &Change) {
        match change {
            Change::SeatTaken(booking) => {
                let spellings = SpellingSet::only(DateSpelling::PLAIN);
                let seat = StoredSeat { booking: booking.clone(), spellings, event: Some(id) };
                let seats = self.seats.entry(doctor.clone()).or_default();
                seats.insert(seat_key(booking, DateSpelling::PLAIN), seat);
            }
            Change::SeatFreed { booking, spellings } => {
                for spelling in spellings.iter() {
                    self.remove(doctor, &seat_key(booking, spelling));
                }
            }
            Change::HoursSet { weekday, rows } => {
                let stored = self.schedules.entry(schedule_key(doctor, *weekday)).or_default();
                let same_key =
                    |a: &ScheduleRow, b: &ScheduleRow| (a.span, a.old_midnight) == (b.span, b.old_midnight);
                stored.retain(|row| !rows.iter().any(|new| same_key(new, row)));
                stored.extend(rows);
            }
        }
    }
}

impl Fences for MemoryStore {
    fn read(&self, ranges: &[RangeId]) -> BoxFuture<'static, Result<Vec<Fence>, LoadError>> {
        let tables = self.tables();
        let found = ranges.iter().filter_map(|range| tables.fences.get(range).cloned()).collect();
        ready(Ok(found)).boxed()
    }

    fn claim(&self, claim: &Claim) -> BoxFuture<'static, Result<FencingEpoch, ClaimError>> {
        let mut tables = self.tables();
        let present = tables.fences.get(&claim.range).map(|fence| fence.epoch);
        if present != claim.from {
            return ready(Err(ClaimError::Raised)).boxed();
        }
        let epoch = claim.from.map_or(FencingEpoch::INITIAL, FencingEpoch::next);
        let Claim { range, node: owner, address, .. } = claim.clone();
        tables.fences.insert(range, Fence { range, owner, address, epoch });
        ready(Ok(epoch)).boxed()
    }
}

impl Nodes for MemoryStore {
    fn list(&self) -> BoxFuture<'static, Result<Vec<Heartbeat>, LoadError>> {
        ready(Ok(self.tables().nodes.values().cloned().collect())).boxed()
    }

    fn join(&self, heartbeat: &Heartbeat) -> BoxFuture<'static, Result<(), BeatError>> {
        let mut tables = self.tables();
        let is_new = !tables.nodes.contains_key(&heartbeat.node);
        if is_new {
            tables.nodes.insert(heartbeat.node, heartbeat.clone());
        }
        ready(if is_new { Ok(()) } else { Err(BeatError::Moved) }).boxed()
    }

    fn beat(&self, heartbeat: &Heartbeat) -> BoxFuture<'static, Result<(), BeatError>> {
        let mut tables = self.tables();
        let stored = tables.nodes.get_mut(&heartbeat.node).filter(|stored| stored.count < heartbeat.count);
        let stored = stored.map(|stored| stored.clone_from(heartbeat));
        ready(stored.ok_or(BeatError::Moved)).boxed()
    }

    fn bury(&self, node: NodeId, count: u64) -> BoxFuture<'static, Result<(), BeatError>> {
        let mut tables = self.tables();
        let stands = tables.nodes.get(&node).is_some_and(|stored| stored.count == count);
        if stands {
            tables.nodes.remove(&node);
        }
        ready(if stands { Ok(()) } else { Err(BeatError::Moved) }).boxed()
    }
}
