//! An engine whose store breaks on command.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, NaiveDate, TimeZone, Utc, Weekday};
use engine::calendar::{Booking, DateSpelling, Part, StoredPart};
use engine::runtime::{Engine, Parts, Placement};
use engine::shard::{FencingEpoch, RangeId, Ring, TakeoverError};
use engine::store::{
    Batch, BeatError, BookingStore, Claim, ClaimError, CommitError, Fence, Fences, Heartbeat, LoadError,
    Nodes, Reason, Reasons,
};
use engine::{
    Answer, Clinic, Command, DoctorId, EngineError, IdempotencyKey, ManualClock, Membership, MemoryStore,
    NodeId, RequestToken, Router, Rules, SeededChance, SlotStart, UserId,
};
use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Semaphore;

/// What the store does to the next commit instead of doing it well.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Refuses before looking at it.
    Throttle,
    /// Cancels it for a conflict on its first event.
    Conflict,
    /// Loses the request.
    LoseBefore,
    /// Does it, and loses the answer.
    LoseAfter,
    /// Does it, loses the answer, and forgets the token, as a store that was restarted.
    LoseAfterAndForget,
    /// Blames the first event, which is not at fault, while a lost attempt of the same request lands.
    LandAndRefuse,
    /// Never answers, and does nothing.
    Hang,
    /// Loses it for now, and does it after ten seconds: later than anybody waits.
    LandLate,
}

/// The reference store behind a line that breaks. Clones share it.
#[derive(Clone)]
pub struct FaultyStore {
    pub memory: MemoryStore,
    faults: Arc<Mutex<VecDeque<Fault>>>,
    batches: Arc<Mutex<Vec<Batch>>>,
    gate: Arc<Semaphore>,
    silent: Arc<std::sync::atomic::AtomicBool>,
    beats_take: Arc<Mutex<Duration>>,
    lists_take: Arc<Mutex<Duration>>,
    loads_take: Arc<Mutex<Duration>>,
}

const OPEN: usize = 1_000_000;

impl FaultyStore {
    pub fn new() -> Self {
        Self {
            memory: MemoryStore::new(),
            faults: Arc::default(),
            batches: Arc::default(),
            gate: Arc::new(Semaphore::new(OPEN)),
            silent: Arc::default(),
            beats_take: Arc::default(),
            lists_take: Arc::default(),
            loads_take: Arc::new(Mutex::new(Duration::from_millis(1))),
        }
    }

    pub fn next_commits(&self, faults: impl IntoIterator<Item = Fault>) {
        self.faults.lock().unwrap().extend(faults);
    }

    /// No more faults.
    pub fn heal(&self) {
        self.faults.lock().unwrap().clear();
    }

    /// The same tables over a line of its own, which can be cut by itself.
    pub fn other_line(&self) -> Self {
        Self { memory: self.memory.clone(), ..Self::new() }
    }

    /// Cuts the line: fences can be neither read nor claimed.
    pub fn cut(&self) {
        self.silent.store(true, std::sync::atomic::Ordering::SeqCst);
    }

    /// Heartbeats are written at once, and answered late.
    pub fn delay_beats(&self, by: Duration) {
        *self.beats_take.lock().unwrap() = by;
    }

    /// Lists of nodes show how it was when they were asked for, and are answered late.
    pub fn delay_lists(&self, by: Duration) {
        *self.lists_take.lock().unwrap() = by;
    }

    /// How long it takes to load a date.
    pub fn delay_loads(&self, by: Duration) {
        *self.loads_take.lock().unwrap() = by;
    }

    fn is_silent(&self) -> bool {
        self.silent.load(std::sync::atomic::Ordering::SeqCst)
    }

    /// Lets no commit through until `release`.
    pub fn hold(&self) {
        self.gate.forget_permits(OPEN);
    }

    pub fn release(&self) {
        self.gate.add_permits(OPEN);
    }

    pub fn batches(&self) -> Vec<Batch> {
        self.batches.lock().unwrap().clone()
    }

    pub fn forget_batches(&self) {
        self.batches.lock().unwrap().clear();
    }

    pub fn holders(&self, doctor: &DoctorId, on: &str, at: &str) -> Vec<String> {
        let rows = self.memory.bookings();
        let of_slot = rows
            .iter()
            .filter(|(of, booking)| of == doctor && booking.date == date(on) && booking.start == slot(at));
        of_slot.map(|(_, booking)| booking.user.as_str().replace("@x.com", "")).collect()
    }
}

impl BookingStore for FaultyStore {
    fn doctor_exists(&self, doctor: &DoctorId) -> BoxFuture<'static, Result<bool, LoadError>> {
        self.memory.doctor_exists(doctor)
    }

    fn load(
        &self,
        doctor: &DoctorId,
        parts: &[Part],
    ) -> BoxFuture<'static, Result<Vec<StoredPart>, LoadError>> {
        let (memory, doctor, parts) = (self.memory.clone(), doctor.clone(), parts.to_vec());
        let dates = parts.iter().any(|part| matches!(part, Part::Date(_)));
        let takes = if dates { *self.loads_take.lock().unwrap() } else { Duration::ZERO };
        async move {
            tokio::time::sleep(takes).await;
            memory.load(&doctor, &parts).await
        }
        .boxed()
    }

    fn commit(&self, batch: &Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        let (this, batch) = (self.clone(), batch.clone());
        async move {
            drop(this.gate.acquire().await.unwrap());
            this.batches.lock().unwrap().push(batch.clone());
            tokio::time::sleep(Duration::from_millis(5)).await;
            let fault = this.faults.lock().unwrap().pop_front();
            let lost = || Err(CommitError::Unknown("the test lost it".to_owned()));
            match fault {
                None => {
                    let answer = this.memory.commit(&batch).await;
                    assert!(!matches!(answer, Err(CommitError::Malformed(_))), "malformed: {batch:?}");
                    answer
                }
                Some(Fault::Throttle) => Err(CommitError::Aborted("the test throttles".to_owned())),
                Some(Fault::Conflict) => {
                    let mut events = vec![Reason::Innocent; batch.events.len()];
                    events[0] = Reason::Transient;
                    let checks = vec![Reason::Innocent; batch.checks.len()];
                    Err(CommitError::Cancelled(Reasons { checks, events }))
                }
                Some(Fault::LoseBefore) => lost(),
                Some(Fault::LoseAfter) => {
                    this.memory.commit(&batch).await.unwrap();
                    lost()
                }
                Some(Fault::LoseAfterAndForget) => {
                    let forgotten = Batch { token: RequestToken::new(u128::MAX), ..batch.clone() };
                    this.memory.commit(&forgotten).await.unwrap();
                    lost()
                }
                Some(Fault::LandAndRefuse) => {
                    this.memory.commit(&batch).await.unwrap();
                    let mut events = vec![Reason::Innocent; batch.events.len()];
                    events[0] = Reason::ConditionFailed { found: None };
                    let checks = vec![Reason::Innocent; batch.checks.len()];
                    Err(CommitError::Cancelled(Reasons { checks, events }))
                }
                Some(Fault::Hang) => std::future::pending().await,
                Some(Fault::LandLate) => {
                    actix::spawn(async move {
                        tokio::time::sleep(Duration::from_secs(10)).await;
                        let _ = this.memory.commit(&batch).await;
                    });
                    lost()
                }
            }
        }
        .boxed()
    }
}

impl Fences for FaultyStore {
    fn read(&self, ranges: &[RangeId]) -> BoxFuture<'static, Result<Vec<Fence>, LoadError>> {
        if self.is_silent() {
            return std::future::ready(Err(LoadError::Unavailable("silent".to_owned()))).boxed();
        }
        self.memory.read(ranges)
    }

    fn claim(&self, claim: &Claim) -> BoxFuture<'static, Result<FencingEpoch, ClaimError>> {
        let (memory, claim, silent) = (self.memory.clone(), claim.clone(), self.is_silent());
        async move {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if silent {
                Err(ClaimError::Unknown("the test lost it".to_owned()))
            } else {
                memory.claim(&claim).await
            }
        }
        .boxed()
    }
}

impl Nodes for FaultyStore {
    fn list(&self) -> BoxFuture<'static, Result<Vec<Heartbeat>, LoadError>> {
        if self.is_silent() {
            return std::future::pending().boxed();
        }
        let (listed, takes) = (self.memory.list(), *self.lists_take.lock().unwrap());
        async move {
            let answer = listed.await;
            tokio::time::sleep(takes).await;
            answer
        }
        .boxed()
    }

    fn join(&self, heartbeat: &Heartbeat) -> BoxFuture<'static, Result<(), BeatError>> {
        self.memory.join(heartbeat)
    }

    fn beat(&self, heartbeat: &Heartbeat) -> BoxFuture<'static, Result<(), BeatError>> {
        if self.is_silent() {
            return std::future::pending().boxed();
        }
        let (written, takes) = (self.memory.beat(heartbeat), *self.beats_take.lock().unwrap());
        async move {
            let answer = written.await;
            tokio::time::sleep(takes).await;
            answer
        }
        .boxed()
    }

    fn bury(&self, node: NodeId, count: u64) -> BoxFuture<'static, Result<(), BeatError>> {
        self.memory.bury(node, count)
    }
}

/// A running engine, its store and its clock.
pub struct TestEngine {
    pub engine: Engine,
    pub doctors: Router,
    pub store: FaultyStore,
    pub clock: Arc<ManualClock>,
}

impl TestEngine {
    pub async fn start() -> Self {
        Self::on(FaultyStore::new(), 1).await
    }

    pub async fn on(store: FaultyStore, seed: u64) -> Self {
        Self::try_on(store, seed).await.unwrap()
    }

    pub async fn try_on(store: FaultyStore, seed: u64) -> Result<Self, TakeoverError> {
        let clock = Arc::new(ManualClock::new(monday_morning()));
        let engine = Engine::start(Parts {
            store: Arc::new(store.clone()),
            fences: Arc::new(store.clone()),
            clock: clock.clone(),
            chance: Arc::new(SeededChance::new(seed)),
            clinic: Clinic::compiled_in("Asia/Kolkata").unwrap(),
            rules: Rules::default(),
            ring: Ring::default(),
            membership: Membership::Solo,
            placement: Placement::here(),
        });
        let engine = engine.await?;
        Ok(Self { doctors: engine.router(), engine, store, clock })
    }

    /// A registered doctor who offers 10:30 and 11:00 every day.
    pub async fn doctor(&self, name: &str) -> DoctorId {
        let doctor = doctor(name);
        self.store.memory.add_doctor(doctor.clone());
        for weekday in
            [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun]
        {
            let offered = ["10:30", "11:00"].map(slot).into_iter().collect();
            self.doctors.ask(&doctor, Command::SetSlots { weekday, offered }).await.unwrap();
        }
        doctor
    }

    pub async fn book(
        &self,
        doctor: &DoctorId,
        name: &str,
        on: &str,
        at: &str,
    ) -> Result<Answer, EngineError> {
        self.doctors.ask(doctor, book(name, on, at)).await
    }

    pub async fn cancel(
        &self,
        doctor: &DoctorId,
        name: &str,
        on: &str,
        at: &str,
    ) -> Result<Answer, EngineError> {
        let command = Command::Cancel { user: user(name), date: date(on), start: slot(at) };
        self.doctors.ask(doctor, command).await
    }

    /// Seats taken as the public sees them.
    pub async fn booked(&self, doctor: &DoctorId, on: &str, at: &str) -> usize {
        use engine::Clock;
        let view = self.doctors.view(doctor, date(on)).await.unwrap();
        let clinic = Clinic::compiled_in("Asia/Kolkata").unwrap();
        let mut slots = view.slots(&clinic, date(on), self.clock.now());
        slots.find(|seen| seen.start == slot(at)).unwrap().booked
    }
}

/// Runs a test in an actix system of its own, on paused time.
pub fn on_paused_time<F: Future<Output = ()>>(test: F) {
    let runtime =
        || tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    actix::System::with_tokio_rt(runtime).block_on(test);
}

pub fn monday_morning() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, 4, 30, 0).unwrap()
}

pub fn doctor(name: &str) -> DoctorId {
    DoctorId::parse(&format!("{name}@clinic.example")).unwrap()
}

pub fn user(name: &str) -> UserId {
    UserId::parse(&format!("{name}@x.com")).unwrap()
}

pub fn slot(text: &str) -> SlotStart {
    SlotStart::parse(text).unwrap()
}

pub fn date(text: &str) -> NaiveDate {
    text.parse().unwrap()
}

pub fn book(name: &str, on: &str, at: &str) -> Command {
    Command::Book { user: user(name), date: date(on), start: slot(at), key: None }
}

pub fn book_with_key(name: &str, on: &str, at: &str, key: &str) -> Command {
    let key = Some(IdempotencyKey::parse(key).unwrap());
    Command::Book { user: user(name), date: date(on), start: slot(at), key }
}

/// A row that another program writes.
pub fn foreign(store: &FaultyStore, doctor: &DoctorId, name: &str, on: &str, at: &str) {
    let booking = Booking { user: user(name), date: date(on), start: slot(at), key: None };
    store.memory.add_booking(doctor, booking, DateSpelling::PLAIN);
}

/// Takes a row away as another program would.
pub fn vanish(store: &FaultyStore, doctor: &DoctorId, name: &str, on: &str, at: &str) {
    let booking = Booking { user: user(name), date: date(on), start: slot(at), key: None };
    store.memory.remove_booking(doctor, &booking);
}
