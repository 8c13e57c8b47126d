//! The reference store behind lines that break. Everything that goes wrong is drawn from the seed, counted and traced.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{NaiveDate, Weekday};
use engine::calendar::{Booking, Change, DateSpelling, Part, ScheduleRow, StoredPart};
use engine::limits::TAKEOVER_SETTLE;
use engine::shard::RangeId;
use engine::store::{Batch, BatchEvent, BookingStore, CommitError, DateRows, StoredSeat};
use engine::{DoctorId, MemoryStore, RequestToken};
use tokio::time::Instant;

use crate::cast::{SHARED_DOCTOR, doctor};
use crate::dice::Dice;
use crate::faults::{Fault, Weather};

/// The longest that a query may miss a transaction which the store has accepted: the design's one assumption.
const LAG_MAX: Duration = Duration::from_millis(200);
const _: () = assert!(LAG_MAX.as_millis() < TAKEOVER_SETTLE.as_millis());

/// Something that the store has accepted, in the order in which it did.
#[derive(Debug, Clone)]
pub enum Accepted {
    /// `at`: when, in the order of everything that clients saw.
    Event { at: usize, time: Instant, node: usize, event: BatchEvent },
    /// A range has a new owner or a new epoch.
    Claimed { at: Instant, node: usize, range: RangeId },
}

/// A node asked for a date of a doctor, or failed to load anything of that doctor.
#[derive(Debug, Clone)]
pub struct Load {
    /// When, in the order of everything that clients saw.
    pub at: usize,
    pub node: usize,
    pub doctor: DoctorId,
    /// `None`: a load failed, and nothing that was asked for with it is known.
    pub date: Option<NaiveDate>,
}

/// A change that is accepted, and that queries do not show yet.
struct Unseen {
    until: Instant,
    doctor: DoctorId,
    change: Change,
    /// The rows of its weekday before it, for hours.
    before: Vec<ScheduleRow>,
}

struct Inner {
    accepted: Vec<Accepted>,
    loads: Vec<Load>,
    /// Requests that were applied, and from when queries show all of each.
    tokens: HashMap<RequestToken, Instant>,
    /// Requests that are yet to arrive, by number.
    under_way: BTreeMap<usize, (usize, Batch)>,
    /// Requests of which an attempt was lost while all were.
    lost: HashSet<RequestToken>,
    unseen: Vec<Unseen>,
    counts: BTreeMap<Fault, u64>,
    trace: Option<Vec<String>>,
    begun: Instant,
    weather: Weather,
    throttled_until: Instant,
    lost_until: Instant,
    order: usize,
}

/// The store and its log; clones share them.
#[derive(Clone)]
pub struct World {
    pub memory: MemoryStore,
    inner: Arc<Mutex<Inner>>,
    pub dice: Dice,
}

impl World {
    pub fn new(dice: Dice, weather: Weather, traced: bool) -> Self {
        let inner = Inner {
            accepted: Vec::new(),
            loads: Vec::new(),
            tokens: HashMap::new(),
            under_way: BTreeMap::new(),
            lost: HashSet::new(),
            unseen: Vec::new(),
            counts: BTreeMap::new(),
            trace: traced.then(Vec::new),
            begun: Instant::now(),
            weather,
            throttled_until: Instant::now(),
            lost_until: Instant::now(),
            order: 0,
        };
        Self { memory: MemoryStore::new(), inner: Arc::new(Mutex::new(inner)), dice }
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap()
    }

    pub fn count(&self, fault: Fault) {
        *self.inner().counts.entry(fault).or_default() += 1;
        self.note(format_args!("{fault:?}"));
    }

    pub fn note(&self, what: fmt::Arguments<'_>) {
        let mut inner = self.inner();
        let at = inner.begun.elapsed().as_millis();
        if let Some(trace) = &mut inner.trace {
            trace.push(format!("{at:>8} ms  {what}"));
        }
    }

    /// The next place in the order of everything that is asked, told and accepted.
    pub fn next(&self) -> usize {
        let mut inner = self.inner();
        inner.order += 1;
        inner.order
    }

    pub fn counts(&self) -> BTreeMap<Fault, u64> {
        self.inner().counts.clone()
    }

    pub fn accepted(&self) -> Vec<Accepted> {
        self.inner().accepted.clone()
    }

    pub fn loads(&self) -> Vec<Load> {
        self.inner().loads.clone()
    }

    /// A node loads a date, or has failed to load something.
    pub fn load(&self, node: usize, doctor: &DoctorId, date: Option<NaiveDate>) {
        let at = self.next();
        self.inner().loads.push(Load { at, node, doctor: doctor.clone(), date });
    }

    pub fn trace(&self) -> Vec<String> {
        self.inner().trace.clone().unwrap_or_default()
    }

    /// No more faults: what is under way ends.
    pub fn heal(&self) {
        let (mut inner, now) = (self.inner(), Instant::now());
        (inner.weather, inner.throttled_until, inner.lost_until) = (Weather::CALM, now, now);
    }

    /// Accepts no transaction for a while.
    pub fn throttle(&self, length: Duration) {
        self.count(Fault::ThrottledForLong);
        self.inner().throttled_until = Instant::now() + length;
    }

    /// Loses every answer to a commit for a while.
    pub fn lose(&self, length: Duration) {
        self.count(Fault::LostForLong);
        self.inner().lost_until = Instant::now() + length;
    }

    /// Until when every answer is lost, if it is.
    pub fn lost_until(&self) -> Option<Instant> {
        let until = self.inner().lost_until;
        (Instant::now() < until).then_some(until)
    }

    /// Whether no attempt of this request was lost before while all were.
    pub fn is_first_lost(&self, batch: &Batch) -> bool {
        self.inner().lost.insert(batch.token)
    }

    /// The old platform takes a seat that the batch asks for.
    pub fn hold_a_seat(&self, batch: &Batch) -> Option<Booking> {
        let of_shared = batch.events.iter().filter(|event| event.doctor == doctor(SHARED_DOCTOR));
        let booked = of_shared.flat_map(|event| &event.event.changes).find_map(|change| match change {
            Change::SeatTaken(booking) => Some(booking),
            Change::SeatFreed { .. } | Change::HoursSet { .. } => None,
        })?;
        self.count(Fault::ForeignWrite);
        let booking = Booking { key: None, ..booked.clone() };
        self.memory.add_booking(&doctor(SHARED_DOCTOR), booking.clone(), DateSpelling::PLAIN);
        Some(booking)
    }

    pub fn claimed(&self, node: usize, range: RangeId) {
        let at = Instant::now();
        self.inner().accepted.push(Accepted::Claimed { at, node, range });
    }

    pub fn is_throttled(&self) -> bool {
        Instant::now() < self.inner().throttled_until
    }

    pub fn weather(&self) -> Weather {
        self.inner().weather
    }

    /// A node's request arrives later.
    pub fn put_under_way(&self, node: usize, batch: Batch) -> usize {
        let number = self.next();
        self.inner().under_way.insert(number, (node, batch));
        number
    }

    /// It arrives now, if it has not yet.
    pub fn arrives(&self, number: usize) -> Option<(usize, Batch)> {
        self.inner().under_way.remove(&number)
    }

    /// Something for this range arrives now.
    pub fn arrives_for(&self, range: RangeId) -> Option<(usize, Batch)> {
        let mut inner = self.inner();
        let concerns = |batch: &Batch| batch.checks.iter().any(|check| check.range == range);
        let number = *inner.under_way.iter().find(|(_, (_, batch))| concerns(batch))?.0;
        inner.under_way.remove(&number)
    }

    /// Applies a request for the first time, or recognises it. Gives the time from which queries show all of it.
    pub async fn apply(
        &self,
        node: usize,
        batch: &Batch,
        unseen: bool,
    ) -> (Result<(), CommitError>, Instant) {
        let mut unseen_later = Vec::new();
        for event in &batch.events {
            let mut changes = Vec::new();
            for change in &event.event.changes {
                let before = match change {
                    Change::HoursSet { weekday, .. } => self.stored_hours(&event.doctor, *weekday).await,
                    Change::SeatTaken(_) | Change::SeatFreed { .. } => Vec::new(),
                };
                changes.push((change.clone(), before));
            }
            unseen_later.push(changes);
        }
        let answer = self.memory.commit(batch).await;
        assert!(!matches!(answer, Err(CommitError::Malformed(_))), "malformed: {batch:?}");
        let now = Instant::now();
        // A repeat is answered when the first is through.
        let earlier = self.inner().tokens.get(&batch.token).copied();
        let mut seen_from = earlier.unwrap_or(now);
        if answer.is_ok() && earlier.is_none() {
            for (event, changes) in batch.events.iter().zip(unseen_later) {
                self.note(format_args!(
                    "store: node {node} wrote {:?} of {}",
                    event.event,
                    event.doctor.as_str()
                ));
                let at = self.next();
                self.inner().accepted.push(Accepted::Event { at, time: now, node, event: event.clone() });
                if unseen || self.dice.permille(self.weather().lag) {
                    self.count(Fault::ReadLags);
                    let most = LAG_MAX.as_millis() as u64;
                    let until = now + self.dice.millis(if unseen { most / 2 } else { 1 }, most);
                    seen_from = seen_from.max(until);
                    let doctor = &event.doctor;
                    self.inner().unseen.extend(changes.into_iter().map(|(change, before)| Unseen {
                        until,
                        doctor: doctor.clone(),
                        change,
                        before,
                    }));
                }
            }
            self.inner().tokens.insert(batch.token, seen_from);
        } else if let Err(error) = &answer {
            self.note(format_args!("store: node {node} was refused: {error:?}"));
        }
        (answer, seen_from)
    }

    /// A part as a query shows it now.
    pub async fn part(&self, doctor: &DoctorId, part: Part) -> StoredPart {
        match part {
            Part::Date(date) => StoredPart::Date(date, self.date_rows(doctor, date).await),
            Part::Hours(weekday) => StoredPart::Hours(weekday, self.weekday_rows(doctor, weekday).await),
        }
    }

    async fn stored_date(&self, doctor: &DoctorId, date: NaiveDate) -> DateRows {
        let parts = self.memory.load(doctor, &[Part::Date(date)]).await.unwrap();
        let rows = parts.into_iter().find_map(|part| match part {
            StoredPart::Date(_, rows) => Some(rows),
            StoredPart::Hours(..) => None,
        });
        rows.unwrap()
    }

    async fn stored_hours(&self, doctor: &DoctorId, weekday: Weekday) -> Vec<ScheduleRow> {
        let parts = self.memory.load(doctor, &[Part::Hours(weekday)]).await.unwrap();
        let rows = parts.into_iter().find_map(|part| match part {
            StoredPart::Hours(_, rows) => Some(rows),
            StoredPart::Date(..) => None,
        });
        rows.unwrap()
    }

    async fn date_rows(&self, doctor: &DoctorId, date: NaiveDate) -> DateRows {
        let mut rows = self.stored_date(doctor, date).await;
        let now = Instant::now();
        let mut inner = self.inner();
        inner.unseen.retain(|unseen| unseen.until > now);
        for unseen in inner.unseen.iter().rev().filter(|unseen| unseen.doctor == *doctor) {
            match &unseen.change {
                Change::SeatTaken(booking) if booking.date == date => {
                    let is_it = |seat: &StoredSeat| {
                        seat.booking.user == booking.user && seat.booking.start == booking.start
                    };
                    rows.seats.retain(|seat| !is_it(seat));
                }
                Change::SeatFreed { booking, spellings } if booking.date == date => {
                    let (booking, spellings) = (booking.clone(), *spellings);
                    rows.seats.push(StoredSeat { booking, spellings, event: None });
                }
                Change::SeatTaken(_) | Change::SeatFreed { .. } | Change::HoursSet { .. } => {}
            }
        }
        rows
    }

    async fn weekday_rows(&self, doctor: &DoctorId, weekday: Weekday) -> Vec<ScheduleRow> {
        let mut rows = self.stored_hours(doctor, weekday).await;
        let now = Instant::now();
        for unseen in self.inner().unseen.iter().rev().filter(|unseen| unseen.until > now) {
            match &unseen.change {
                Change::HoursSet { weekday: of, .. } if *of == weekday && unseen.doctor == *doctor => {
                    rows.clone_from(&unseen.before);
                }
                Change::SeatTaken(_) | Change::SeatFreed { .. } | Change::HoursSet { .. } => {}
            }
        }
        rows
    }
}
