//! The reference store behind lines that break. Everything that goes wrong is drawn from the seed, counted and traced.

use std::collections::{BTreeMap, HashSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use chrono::{NaiveDate, Weekday};
use engine::calendar::{Event, ScheduleRow};
use engine::limits::TAKEOVER_SETTLE;
use engine::shard::{FencingEpoch, RangeId};
use engine::store::{
    Batch, BatchEvent, BookingStore, Claim, ClaimError, CommitError, DateRows, Fence, Fences, LoadError,
    Reason, Reasons, StoredSeat,
};
use engine::{DoctorId, MemoryStore, RequestToken};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::dice::Dice;

/// The longest that a query may miss a transaction which the store has accepted: the design's one assumption.
const LAG_MAX: Duration = Duration::from_millis(200);
const _: () = assert!(LAG_MAX.as_millis() < TAKEOVER_SETTLE.as_millis());

/// What can go wrong between a node and the store.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Fault {
    Throttled,
    /// Everything is throttled for a while.
    ThrottledForLong,
    /// Every answer is lost for a while, and some requests land late.
    LostForLong,
    Conflict,
    LostBefore,
    LostAfter,
    LandsLate,
    Silence,
    ReadFailed,
    ReadLags,
    SlowAnswer,
    ClaimRefused,
    ClaimLostBefore,
    ClaimLostAfter,
    Crash,
    Takeover,
    Pause,
    GracefulStop,
    Passivation,
    /// The old platform writes a row beside us.
    ForeignWrite,
    ClientGaveUp,
    ClockSkew,
}

/// How often things go wrong, of a thousand requests.
#[derive(Debug, Clone, Copy)]
pub struct Weather {
    pub throttled: usize,
    pub conflict: usize,
    pub lost: usize,
    pub silence: usize,
    pub read_failed: usize,
    pub lag: usize,
    pub slow: usize,
    pub claim: usize,
}

/// Kinds of faults that can be left out to see which of them a failure needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Family {
    Store,
    Nemesis,
}

pub const FAMILIES: [Family; 2] = [Family::Store, Family::Nemesis];

impl Weather {
    pub const CALM: Self =
        Self { throttled: 0, conflict: 0, lost: 0, silence: 0, read_failed: 0, lag: 0, slow: 0, claim: 0 };

    pub fn draw(dice: &Dice) -> Self {
        let level = *dice.pick(&[0, 1, 3, 6, 10]);
        let some = |most: usize| level * dice.below(most + 1);
        Self {
            throttled: some(20),
            conflict: some(40),
            lost: some(25),
            silence: some(4),
            read_failed: some(15),
            lag: some(60),
            slow: some(30),
            claim: some(25),
        }
    }
}

/// Something that the store has accepted, in the order in which it did.
#[derive(Debug, Clone)]
pub enum Accepted {
    /// `at`: when, in the order of everything that clients saw.
    Event { at: usize, event: BatchEvent },
    /// A range has a new owner or a new epoch.
    Claimed { at: Instant, node: usize, range: RangeId },
}

/// A transaction that is accepted, and that queries do not show yet.
struct Unseen {
    until: Instant,
    doctor: DoctorId,
    event: Event,
    /// The rows of its weekday before it, for a schedule.
    before: Vec<ScheduleRow>,
}

struct Inner {
    accepted: Vec<Accepted>,
    tokens: HashSet<RequestToken>,
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
    dice: Dice,
}

/// How a node reaches the store and its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineState {
    Open,
    /// Nothing moves until it is open again: the process is paused, or cut off.
    Frozen,
    /// The process has died.
    Dead,
}

/// One node's way to the store.
#[derive(Clone)]
pub struct Line {
    world: World,
    state: Arc<Mutex<LineState>>,
    /// Wakes in the order in which they came; `watch` draws lots.
    changed: Arc<Notify>,
    name: usize,
}

impl World {
    pub fn new(dice: Dice, weather: Weather, traced: bool) -> Self {
        let inner = Inner {
            accepted: Vec::new(),
            tokens: HashSet::new(),
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

    pub fn line(&self, name: usize) -> Line {
        Line {
            world: self.clone(),
            state: Arc::new(Mutex::new(LineState::Open)),
            changed: Arc::default(),
            name,
        }
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

    fn is_losing(&self) -> bool {
        Instant::now() < self.inner().lost_until
    }

    fn is_throttled(&self) -> bool {
        Instant::now() < self.inner().throttled_until
    }

    fn weather(&self) -> Weather {
        self.inner().weather
    }

    /// Applies a request for the first time, or recognises it. Gives the time from which queries show all of it.
    async fn apply(&self, node: usize, batch: &Batch) -> (Result<(), CommitError>, Instant) {
        let before: Vec<Vec<ScheduleRow>> = {
            let mut before = Vec::new();
            for event in &batch.events {
                before.push(match &event.event {
                    Event::ScheduleSet { weekday, .. } => {
                        self.memory.load_weekday(&event.doctor, *weekday).await.unwrap()
                    }
                    Event::Booked(_) | Event::Cancelled { .. } => Vec::new(),
                });
            }
            before
        };
        let answer = self.memory.commit(batch).await;
        assert!(!matches!(answer, Err(CommitError::Malformed(_))), "malformed: {batch:?}");
        let now = Instant::now();
        let mut seen_from = now;
        if answer.is_ok() && self.inner().tokens.insert(batch.token) {
            for (event, before) in batch.events.iter().zip(before) {
                self.note(format_args!(
                    "store: node {node} wrote {:?} of {}",
                    event.event,
                    event.doctor.as_str()
                ));
                let at = self.next();
                self.inner().accepted.push(Accepted::Event { at, event: event.clone() });
                if self.dice.permille(self.weather().lag) {
                    self.count(Fault::ReadLags);
                    let until = now + self.dice.millis(1, LAG_MAX.as_millis() as u64);
                    seen_from = seen_from.max(until);
                    let BatchEvent { doctor, event, .. } = event.clone();
                    self.inner().unseen.push(Unseen { until, doctor, event, before });
                }
            }
        } else if let Err(error) = &answer {
            self.note(format_args!("store: node {node} was refused: {error:?}"));
        }
        (answer, seen_from)
    }

    /// A date as a query shows it now.
    async fn date_rows(&self, doctor: &DoctorId, date: NaiveDate) -> DateRows {
        let mut rows = self.memory.load_date(doctor, date).await.unwrap();
        let now = Instant::now();
        let mut inner = self.inner();
        inner.unseen.retain(|unseen| unseen.until > now);
        for unseen in inner.unseen.iter().rev().filter(|unseen| unseen.doctor == *doctor) {
            match &unseen.event {
                Event::Booked(booking) if booking.date == date => {
                    let is_it = |seat: &StoredSeat| {
                        seat.booking.user == booking.user && seat.booking.start == booking.start
                    };
                    rows.seats.retain(|seat| !is_it(seat));
                }
                Event::Cancelled { booking, spellings } if booking.date == date => {
                    let (booking, spellings) = (booking.clone(), *spellings);
                    rows.seats.push(StoredSeat { booking, spellings, event: None });
                }
                Event::Booked(_) | Event::Cancelled { .. } | Event::ScheduleSet { .. } => {}
            }
        }
        rows
    }

    async fn weekday_rows(&self, doctor: &DoctorId, weekday: Weekday) -> Vec<ScheduleRow> {
        let mut rows = self.memory.load_weekday(doctor, weekday).await.unwrap();
        let now = Instant::now();
        for unseen in self.inner().unseen.iter().rev().filter(|unseen| unseen.until > now) {
            match &unseen.event {
                Event::ScheduleSet { weekday: of, .. } if *of == weekday && unseen.doctor == *doctor => {
                    rows.clone_from(&unseen.before);
                }
                Event::Booked(_) | Event::Cancelled { .. } | Event::ScheduleSet { .. } => {}
            }
        }
        rows
    }
}

impl Line {
    pub fn set(&self, state: LineState) {
        self.world.note(format_args!("node {}: line {state:?}", self.name));
        *self.state.lock().unwrap() = state;
        self.changed.notify_waiters();
    }

    pub fn is_open(&self) -> bool {
        *self.state.lock().unwrap() == LineState::Open
    }

    pub fn is_dead(&self) -> bool {
        *self.state.lock().unwrap() == LineState::Dead
    }

    /// Goes on when the line is open; never, once the process has died.
    pub async fn pass(&self) {
        while !self.is_open() {
            self.changed.notified().await;
        }
    }

    /// The way of a request to the store, or of its answer back.
    async fn way(&self) {
        let slow = self.world.dice.permille(self.world.weather().slow);
        if slow {
            self.world.count(Fault::SlowAnswer);
        }
        sleep(if slow { self.world.dice.millis(50, 4_000) } else { self.world.dice.millis(1, 15) }).await;
        self.pass().await;
    }

    fn draw(&self, permille: usize, fault: Fault) -> bool {
        let hit = self.world.dice.permille(permille);
        if hit {
            self.world.count(fault);
        }
        hit
    }

    async fn read<T>(&self, read: impl Future<Output = T>) -> Result<T, LoadError> {
        self.way().await;
        if self.draw(self.world.weather().read_failed, Fault::ReadFailed) {
            return Err(LoadError::Unavailable("the simulation lost it".to_owned()));
        }
        let rows = read.await;
        self.way().await;
        Ok(rows)
    }

    async fn commit(self, batch: Batch) -> Result<(), CommitError> {
        let weather = self.world.weather();
        let lost = || Err(CommitError::Unknown("the simulation lost it".to_owned()));
        self.way().await;
        if self.world.is_throttled() || self.draw(weather.throttled, Fault::Throttled) {
            return Err(CommitError::Aborted("the simulation throttles".to_owned()));
        }
        if self.draw(weather.conflict, Fault::Conflict) {
            return Err(CommitError::Cancelled(self.conflict(&batch)));
        }
        if self.draw(weather.silence, Fault::Silence) {
            return std::future::pending().await;
        }
        let losing = self.world.is_losing();
        if self.draw(if losing { 500 } else { weather.lost }, Fault::LostBefore) {
            return lost();
        }
        if losing || self.draw(weather.lost, Fault::LandsLate) {
            let delay = self.world.dice.millis(1, *self.world.dice.pick(&[100, 2_000, 20_000]));
            let world = self.world.clone();
            let name = self.name;
            actix::spawn(async move {
                sleep(delay).await;
                let _ = world.apply(name, &batch).await;
            });
            return lost();
        }
        let (answer, seen_from) = self.world.apply(self.name, &batch).await;
        if self.draw(weather.lost, Fault::LostAfter) {
            return lost();
        }
        sleep_until(seen_from).await;
        self.way().await;
        answer
    }

    /// One or a few actions of a batch stand in somebody's way.
    fn conflict(&self, batch: &Batch) -> Reasons {
        let mut checks = vec![Reason::Innocent; batch.checks.len()];
        let mut events = vec![Reason::Innocent; batch.events.len()];
        for _ in 0..=self.world.dice.below(2) {
            let at = self.world.dice.below(checks.len() + events.len());
            match at.checked_sub(checks.len()) {
                Some(event) => events[event] = Reason::Transient,
                None => checks[at] = Reason::Transient,
            }
        }
        Reasons { checks, events }
    }

    async fn claim(self, claim: Claim) -> Result<FencingEpoch, ClaimError> {
        let weather = self.world.weather();
        self.way().await;
        if self.draw(weather.claim, Fault::ClaimRefused) {
            return Err(ClaimError::Aborted("the simulation refuses".to_owned()));
        }
        if self.draw(weather.claim, Fault::ClaimLostBefore) {
            return Err(ClaimError::Unknown("the simulation lost it".to_owned()));
        }
        let answer = self.world.memory.claim(&claim).await;
        if answer.is_ok() {
            let at = Instant::now();
            self.world.inner().accepted.push(Accepted::Claimed { at, node: self.name, range: claim.range });
        }
        if self.draw(weather.claim, Fault::ClaimLostAfter) {
            return Err(ClaimError::Unknown("the simulation lost it".to_owned()));
        }
        self.way().await;
        answer
    }
}

impl BookingStore for Line {
    fn doctor_exists(&self, doctor: &DoctorId) -> BoxFuture<'static, Result<bool, LoadError>> {
        let (this, doctor) = (self.clone(), doctor.clone());
        async move { this.read(this.world.memory.doctor_exists(&doctor)).await? }.boxed()
    }

    fn load_date(
        &self,
        doctor: &DoctorId,
        date: NaiveDate,
    ) -> BoxFuture<'static, Result<DateRows, LoadError>> {
        let (this, doctor) = (self.clone(), doctor.clone());
        async move { this.read(this.world.date_rows(&doctor, date)).await }.boxed()
    }

    fn load_weekday(
        &self,
        doctor: &DoctorId,
        weekday: Weekday,
    ) -> BoxFuture<'static, Result<Vec<ScheduleRow>, LoadError>> {
        let (this, doctor) = (self.clone(), doctor.clone());
        async move { this.read(this.world.weekday_rows(&doctor, weekday)).await }.boxed()
    }

    fn commit(&self, batch: &Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        Self::commit(self.clone(), batch.clone()).boxed()
    }
}

impl Fences for Line {
    fn read(&self) -> BoxFuture<'static, Result<Vec<Fence>, LoadError>> {
        let this = self.clone();
        async move { Self::read(&this, this.world.memory.read()).await? }.boxed()
    }

    fn claim(&self, claim: &Claim) -> BoxFuture<'static, Result<FencingEpoch, ClaimError>> {
        Self::claim(self.clone(), claim.clone()).boxed()
    }
}
