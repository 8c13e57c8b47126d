//! One node's way to the store: everything on it may be slow, lost, late, or refused.

use std::sync::{Arc, Mutex};

use engine::calendar::{Part, StoredPart};
use engine::shard::{FencingEpoch, RangeId};
use engine::store::{
    Batch, BeatError, BookingStore, Claim, ClaimError, CommitError, Fence, Fences, Heartbeat, LoadError,
    Nodes, Reason, Reasons,
};
use engine::{DoctorId, NodeId};
use futures::FutureExt;
use futures::future::{BoxFuture, try_join_all};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};

use crate::cast::{SHARED_DOCTOR, doctor};
use crate::faults::Fault;
use crate::store::World;

/// How a node reaches the store and its clients.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LineState {
    Open,
    /// Nothing moves until it is open again: the process is paused.
    Frozen,
    /// Clients and other nodes are reached, the store is not.
    CutFromStore,
    /// Clients and the store are reached, other nodes are not.
    CutFromPeers,
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

impl Line {
    pub fn new(world: World, name: usize) -> Self {
        Self { world, state: Arc::new(Mutex::new(LineState::Open)), changed: Arc::default(), name }
    }

    pub fn set(&self, state: LineState) {
        self.world.note(format_args!("node {}: line {state:?}", self.name));
        *self.state.lock().unwrap() = state;
        self.changed.notify_waiters();
    }

    fn state(&self) -> LineState {
        *self.state.lock().unwrap()
    }

    pub fn is_open(&self) -> bool {
        self.state() == LineState::Open
    }

    pub fn is_dead(&self) -> bool {
        self.state() == LineState::Dead
    }

    pub fn is_cut_from_store(&self) -> bool {
        self.state() == LineState::CutFromStore
    }

    pub fn is_cut_from_peers(&self) -> bool {
        self.state() == LineState::CutFromPeers
    }

    pub fn reaches_clients(&self) -> bool {
        !matches!(self.state(), LineState::Frozen | LineState::Dead)
    }

    /// Goes on when the process runs; never, once it has died.
    pub async fn pass(&self) {
        while !self.reaches_clients() {
            self.changed.notified().await;
        }
    }

    /// Goes on when the store is reached as well.
    async fn pass_to_store(&self) {
        while !matches!(self.state(), LineState::Open | LineState::CutFromPeers) {
            self.changed.notified().await;
        }
    }

    /// The way of a request to the store, or of its answer back.
    async fn way(&self) {
        let weather = self.world.weather();
        if weather.instant {
            return self.pass_to_store().await;
        }
        let slow = self.world.dice.permille(weather.slow);
        if slow {
            self.world.count(Fault::SlowAnswer);
        }
        sleep(if slow { self.world.dice.millis(50, 4_000) } else { self.world.dice.millis(1, 15) }).await;
        self.pass_to_store().await;
    }

    fn draw(&self, permille: usize, fault: Fault) -> bool {
        let hit = self.world.dice.permille(permille);
        if hit {
            self.world.count(fault);
        }
        hit
    }

    /// Loads something of a doctor.
    async fn load<T>(&self, doctor: &DoctorId, read: impl Future<Output = T>) -> Result<T, LoadError> {
        let loaded = self.read(read).await;
        if loaded.is_err() {
            self.world.load(self.name, doctor, None);
        }
        loaded
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
        if self.draw(weather.silence, Fault::Malformed) {
            return Err(CommitError::Malformed("the simulation says so".to_owned()));
        }
        if self.draw(weather.silence, Fault::Silence) {
            return std::future::pending().await;
        }
        if let Some(end) = self.world.lost_until() {
            self.lose_until(end, batch);
            return lost();
        }
        if self.draw(weather.lost, Fault::LostBefore) {
            return lost();
        }
        if self.world.dice.permille(weather.lost) {
            let delay = self.world.dice.millis(1, *self.world.dice.pick(&[100, 2_000, 20_000]));
            self.land_late(batch, Instant::now() + delay);
            return lost();
        }
        let (answer, seen_from) = self.world.apply(self.name, &batch, false).await;
        if self.draw(weather.lost, Fault::LostAfter) {
            return lost();
        }
        sleep_until(seen_from).await;
        self.way().await;
        answer
    }

    /// While all answers are lost, all attempts of one request share its fate: it lands at once, when its sender has
    /// long given up, or never.
    fn lose_until(&self, end: Instant, batch: Batch) {
        self.world.count(Fault::LostBefore);
        let dice = &self.world.dice;
        if self.world.is_first_lost(&batch) {
            match dice.below(10) {
                0..3 => {}
                3..5 => self.land_late(batch, Instant::now() + dice.millis(1, 500)),
                _ => self.land_late(batch, end + dice.millis(0, 8_000)),
            }
        }
    }

    /// The request is applied later, if it still can be. Until then the old platform may hold a seat that it asks for.
    fn land_late(&self, batch: Batch, at: Instant) {
        self.world.count(Fault::LandsLate);
        let held = self.world.dice.permille(500).then(|| self.world.hold_a_seat(&batch)).flatten();
        let world = self.world.clone();
        let number = world.put_under_way(self.name, batch);
        actix::spawn(async move {
            sleep_until(at).await;
            if let Some(booking) = held {
                world.memory.remove_booking(&doctor(SHARED_DOCTOR), &booking);
            }
            if let Some((name, batch)) = world.arrives(number) {
                let _ = world.apply(name, &batch, false).await;
            }
        });
    }

    /// A heartbeat is lost, or lands late, like any other request.
    async fn beat_with(
        self,
        apply: impl Future<Output = Result<(), BeatError>> + Send + 'static,
    ) -> Result<(), BeatError> {
        let weather = self.world.weather();
        let lost = || Err(BeatError::Unknown("the simulation lost it".to_owned()));
        self.way().await;
        if self.draw(weather.claim, Fault::ClaimLostBefore) {
            return lost();
        }
        if self.draw(weather.claim, Fault::LandsLate) {
            let delay = self.world.dice.millis(1, *self.world.dice.pick(&[100, 2_000, 20_000]));
            actix::spawn(async move {
                sleep(delay).await;
                let _ = apply.await;
            });
            return lost();
        }
        let answer = apply.await;
        if self.draw(weather.claim, Fault::ClaimLostAfter) {
            return lost();
        }
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
        // The worst moment: what is under way arrives just before the epoch is raised, and is not seen at once.
        if self.world.dice.permille(500)
            && let Some((name, batch)) = self.world.arrives_for(claim.range)
        {
            let _ = self.world.apply(name, &batch, true).await;
        }
        let answer = self.world.memory.claim(&claim).await;
        if answer.is_ok() {
            self.world.claimed(self.name, claim.range);
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

    fn load(
        &self,
        doctor: &DoctorId,
        parts: &[Part],
    ) -> BoxFuture<'static, Result<Vec<StoredPart>, LoadError>> {
        let (this, doctor, parts) = (self.clone(), doctor.clone(), parts.to_vec());
        for part in &parts {
            match part {
                Part::Date(date) => this.world.load(this.name, &doctor, Some(*date)),
                Part::Hours(_) => {}
            }
        }
        // Each part is a query of its own, which may fail or lag by itself.
        async move {
            let load = async |part| this.load(&doctor, this.world.part(&doctor, part)).await;
            try_join_all(parts.into_iter().map(load)).await
        }
        .boxed()
    }

    fn commit(&self, batch: &Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        Self::commit(self.clone(), batch.clone()).boxed()
    }
}

impl Nodes for Line {
    fn list(&self) -> BoxFuture<'static, Result<Vec<Heartbeat>, LoadError>> {
        let this = self.clone();
        async move { Self::read(&this, this.world.memory.list()).await? }.boxed()
    }

    fn join(&self, heartbeat: &Heartbeat) -> BoxFuture<'static, Result<(), BeatError>> {
        let (store, heartbeat) = (self.world.memory.clone(), heartbeat.clone());
        self.clone().beat_with(async move { store.join(&heartbeat).await }).boxed()
    }

    fn beat(&self, heartbeat: &Heartbeat) -> BoxFuture<'static, Result<(), BeatError>> {
        let (store, heartbeat) = (self.world.memory.clone(), heartbeat.clone());
        self.clone().beat_with(async move { store.beat(&heartbeat).await }).boxed()
    }

    fn bury(&self, node: NodeId, count: u64) -> BoxFuture<'static, Result<(), BeatError>> {
        let store = self.world.memory.clone();
        self.clone().beat_with(async move { store.bury(node, count).await }).boxed()
    }
}

impl Fences for Line {
    fn read(&self, ranges: &[RangeId]) -> BoxFuture<'static, Result<Vec<Fence>, LoadError>> {
        let (this, ranges) = (self.clone(), ranges.to_vec());
        async move { Self::read(&this, this.world.memory.read(&ranges)).await? }.boxed()
    }

    fn claim(&self, claim: &Claim) -> BoxFuture<'static, Result<FencingEpoch, ClaimError>> {
        Self::claim(self.clone(), claim.clone()).boxed()
    }
}
