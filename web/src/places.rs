//! Places for what is scarce: memory, threads, connections to another service. A bounded number of callers hold a place
//! at once, and one account and one network can hold only a share of them. Callers that wait are served by network in
//! turn, so that a crowd from one network never delays a caller from another by more than one place.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::error::ApiError;
use crate::metrics::{self, PlaceRefused};
use crate::peer::{Block, Network};

/// How many may hold and wait for a place.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Names the places in metrics.
    pub(crate) name: &'static str,
    /// Places in all.
    pub(crate) at_once: usize,
    /// Places of one network; wider blocks of IPv6 may hold a multiple.
    pub(crate) of_network: usize,
    /// Callers that may wait in all. Past it, the network with most of them loses its last one.
    pub(crate) waiting_max: usize,
    /// How long a caller waits before it is refused as busy.
    pub(crate) wait: Duration,
    /// When all places are taken, the slowest holder that has had its place for this long gives it up.
    pub(crate) evicted_after: Option<Duration>,
}

/// The share of a network where it has no other: no network holds more than a quarter.
pub(crate) const fn quarter_of(places: usize) -> usize {
    places.div_ceil(4)
}

/// Places of one kind. `K` is the account that holds one.
pub(crate) struct Places<K: Clone + PartialEq>(Arc<Shared<K>>);

/// One place; free again when dropped.
pub(crate) struct Place<K: Clone + PartialEq> {
    held: Held<K>,
    places: Arc<Shared<K>>,
}

/// How far the holder of a place has come. Holders that read a body report it, so that the slowest one is known.
#[derive(Debug, Clone)]
pub(crate) struct Progress(Arc<Reported>);

#[derive(Debug)]
struct Reported {
    since: Instant,
    bytes: AtomicU64,
    evicted: Notify,
}

struct Shared<K: Clone + PartialEq> {
    bounds: Bounds,
    state: Mutex<State<K>>,
}

struct State<K: Clone + PartialEq> {
    held: Vec<Held<K>>,
    waiting: VecDeque<Waiting<K>>,
    /// The turn that is being served.
    turn: u64,
}

#[derive(Clone)]
struct Held<K> {
    account: K,
    network: Network,
    progress: Progress,
    is_evicted: bool,
}

struct Waiting<K: Clone + PartialEq> {
    account: K,
    network: Network,
    /// When its network's turn comes, counted in turns: each caller of one network is one turn after the last.
    turn: u64,
    sender: oneshot::Sender<Place<K>>,
}

impl<K: Clone + PartialEq> Places<K> {
    /// Places that are all free.
    pub(crate) fn new(bounds: Bounds) -> Self {
        metrics::places_opened(bounds.name);
        let state = State { held: Vec::new(), waiting: VecDeque::new(), turn: 0 };
        Self(Arc::new(Shared { bounds, state: Mutex::new(state) }))
    }

    /// Takes a place for an account that holds and awaits less than `share` of them. Waits for its turn, or refuses as
    /// busy.
    pub(crate) async fn take(
        &self,
        account: K,
        share: usize,
        network: Network,
    ) -> Result<Place<K>, ApiError> {
        let refused = |why| {
            metrics::place_refused(self.0.bounds.name, why);
            ApiError::Busy
        };
        let receiver = {
            let mut state = self.0.lock();
            if state.of_account(&account) >= share {
                return Err(refused(PlaceRefused::AccountsShare));
            }
            let receiver = state.enqueue(account, network);
            let unwanted = Shared::serve(&self.0, &mut state);
            state.trim(&self.0.bounds, network);
            drop(state);
            drop(unwanted);
            receiver
        };
        match tokio::time::timeout(self.0.bounds.wait, receiver).await {
            Ok(Ok(place)) => Ok(place),
            Ok(Err(_)) => Err(refused(PlaceRefused::Full)),
            Err(_) => Err(refused(PlaceRefused::Late)),
        }
    }
}

impl<K: Clone + PartialEq> Shared<K> {
    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives free places to those whose turn it is. Returns the places of callers that have gone, which are to be dropped
    /// after the lock is.
    fn serve(places: &Arc<Self>, state: &mut State<K>) -> Vec<Place<K>> {
        let mut unwanted = Vec::new();
        while let Some(next) = state.next(&places.bounds) {
            let Waiting { account, network, turn, sender } = next;
            state.turn = turn;
            let held = Held { account, network, progress: Progress::new(), is_evicted: false };
            state.held.push(held.clone());
            unwanted.extend(sender.send(Place { held, places: Arc::clone(places) }).err());
        }
        places.evict(state);
        unwanted
    }

    /// Asks the slowest holder to give up its place, if all are taken and somebody waits who may have it.
    fn evict(&self, state: &mut State<K>) {
        let Some(grace) = self.bounds.evicted_after else { return };
        let is_wanted = || state.waiting.iter().any(|waiting| state.may_hold(waiting, &self.bounds));
        if state.held.len() < self.bounds.at_once
            || state.held.iter().any(|held| held.is_evicted)
            || !is_wanted()
        {
            return;
        }
        let now = Instant::now();
        let old = state.held.iter_mut().filter(|held| now - held.progress.0.since >= grace);
        if let Some(slowest) = old.min_by_key(|held| held.progress.bytes_a_second(now)) {
            slowest.is_evicted = true;
            slowest.progress.0.evicted.notify_one();
            metrics::place_refused(self.bounds.name, PlaceRefused::Evicted);
        }
    }
}

impl<K: Clone + PartialEq> State<K> {
    fn of_account(&self, account: &K) -> usize {
        let held = self.held.iter().filter(|held| held.account == *account).count();
        let waiting = self.waiting.iter().filter(|waiting| waiting.account == *account);
        held + waiting.filter(|waiting| !waiting.sender.is_closed()).count()
    }

    fn enqueue(&mut self, account: K, network: Network) -> oneshot::Receiver<Place<K>> {
        let own = self.waiting.iter().filter(|waiting| waiting.network.widest() == network.widest());
        let turn = own.map(|waiting| waiting.turn + 1).max().unwrap_or(self.turn).max(self.turn);
        let (sender, receiver) = oneshot::channel();
        self.waiting.push_back(Waiting { account, network, turn, sender });
        receiver
    }

    /// Takes one caller out of a queue that is too long: the last one of the largest crowd, which is the newcomer's if
    /// it is as large as any other.
    fn trim(&mut self, bounds: &Bounds, newcomer: Network) {
        self.waiting.retain(|waiting| !waiting.sender.is_closed());
        if self.waiting.len() <= bounds.waiting_max {
            return;
        }
        let mut crowds: HashMap<Block, usize> = HashMap::new();
        for waiting in &self.waiting {
            *crowds.entry(waiting.network.widest()).or_default() += 1;
        }
        let largest = crowds.into_iter().max_by_key(|(block, callers)| (*callers, newcomer.is_in(*block)));
        let last = largest.and_then(|(crowd, _)| {
            self.waiting.iter().rposition(|waiting| waiting.network.widest() == crowd)
        });
        if let Some(last) = last {
            self.waiting.remove(last);
        }
    }

    /// The caller whose turn it is, if there is a place for it.
    fn next(&mut self, bounds: &Bounds) -> Option<Waiting<K>> {
        if self.held.len() >= bounds.at_once {
            return None;
        }
        let waiting = self.waiting.iter().enumerate();
        let fitting = waiting.filter(|(_, waiting)| self.may_hold(waiting, bounds));
        let (next, _) = fitting.min_by_key(|(_, waiting)| waiting.turn)?;
        self.waiting.remove(next)
    }

    /// Whether the caller's network holds less than its share.
    fn may_hold(&self, waiting: &Waiting<K>, bounds: &Bounds) -> bool {
        waiting.network.blocks().all(|(block, growth)| {
            let held = self.held.iter().filter(|held| held.network.is_in(block));
            held.count() < bounds.of_network * growth
        })
    }
}

impl<K: Clone + PartialEq> Drop for Place<K> {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        state.held.retain(|held| !Arc::ptr_eq(&held.progress.0, &self.held.progress.0));
        let unwanted = Shared::serve(&self.places, &mut state);
        drop(state);
        drop(unwanted);
    }
}

impl<K: Clone + PartialEq> Place<K> {
    /// Where the holder reports how far it has come.
    pub(crate) fn progress(&self) -> Progress {
        self.held.progress.clone()
    }
}

impl Progress {
    fn new() -> Self {
        Self(Arc::new(Reported { since: Instant::now(), bytes: AtomicU64::new(0), evicted: Notify::new() }))
    }

    /// So many bytes more have been read.
    pub(crate) fn add(&self, bytes: usize) {
        self.0.bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Returns when the holder has to give up its place for another caller.
    pub(crate) async fn evicted(&self) {
        self.0.evicted.notified().await;
    }

    fn bytes_a_second(&self, now: Instant) -> u64 {
        let milliseconds = (now - self.0.since).as_millis().max(1);
        u64::try_from(u128::from(self.0.bytes.load(Ordering::Relaxed)) * 1000 / milliseconds)
            .unwrap_or(u64::MAX)
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use futures::future::join_all;
    use futures::{FutureExt, poll};

    use super::*;

    const BOUNDS: Bounds = Bounds {
        name: "test",
        at_once: 4,
        of_network: 1,
        waiting_max: 6,
        wait: Duration::from_secs(2),
        evicted_after: None,
    };

    fn network(n: u8) -> Network {
        Network::of(IpAddr::from([10, 0, 0, n]))
    }

    fn is_busy<K: Clone + PartialEq>(outcome: &Result<Place<K>, ApiError>) -> bool {
        matches!(outcome, Err(ApiError::Busy))
    }

    #[tokio::test(start_paused = true)]
    async fn one_network_holds_a_quarter_whatever_accounts_it_has() {
        let places = Places::new(Bounds { at_once: 8, of_network: quarter_of(8), ..BOUNDS });
        let _own =
            (places.take(1, 8, network(1)).await.unwrap(), places.take(2, 8, network(1)).await.unwrap());
        assert!(is_busy(&places.take(3, 8, network(1)).await));
        let others = join_all((2..5).flat_map(|n| [n, n]).map(|n| places.take(n, 8, network(n)))).await;
        assert!(others.iter().all(Result::is_ok));
        assert!(is_busy(&places.take(9, 8, network(9)).await), "all are taken");
        drop(others);
        assert!(places.take(9, 8, network(9)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn one_account_holds_its_share_wherever_it_calls_from() {
        let places = Places::new(BOUNDS);
        let own = places.take("ada", 1, network(1)).await.unwrap();
        assert!(is_busy(&places.take("ada", 1, network(2)).await));
        assert!(places.take("bob", 1, network(2)).await.is_ok());
        drop(own);
        assert!(places.take("ada", 1, network(2)).await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn networks_are_served_in_turn() {
        let places = Places::new(Bounds { at_once: 1, waiting_max: 100, ..BOUNDS });
        let first = places.take(0, 99, network(1)).await.unwrap();
        let mut crowd: Vec<_> = (0..10).map(|_| Box::pin(places.take(0, 99, network(1)))).collect();
        for waiting in &mut crowd {
            assert!(poll!(waiting).is_pending());
        }
        let mut late = Box::pin(places.take(1, 99, network(2)));
        assert!(poll!(&mut late).is_pending());
        drop(first);
        // At most one caller of the crowd comes before.
        let before = crowd.iter_mut().filter_map(|waiting| waiting.now_or_never()).count();
        assert!(before <= 1);
        assert!(late.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_full_queue_loses_the_last_caller_of_its_largest_crowd() {
        let places = Places::new(Bounds { at_once: 1, waiting_max: 5, ..BOUNDS });
        let held = places.take(0, 99, network(1)).await.unwrap();
        let mut crowd: Vec<_> = (0..5).map(|_| Box::pin(places.take(0, 99, network(1)))).collect();
        for waiting in &mut crowd {
            assert!(poll!(waiting).is_pending());
        }
        let refused = places.take(0, 99, network(1)).now_or_never();
        assert!(refused.is_some_and(|refused| is_busy(&refused)), "the crowd itself gets no further");
        let mut other = Box::pin(places.take(1, 99, network(2)));
        assert!(poll!(&mut other).is_pending());
        let displaced = crowd.pop().unwrap().now_or_never();
        assert!(displaced.is_some_and(|displaced| is_busy(&displaced)), "its last caller makes room");
        drop(held);
        let served = crowd.remove(0).await;
        assert!(served.is_ok());
        drop(served);
        assert!(other.await.is_ok(), "the other network comes second");
    }

    #[tokio::test(start_paused = true)]
    async fn callers_that_give_up_leave_no_trace() {
        let places = Places::new(BOUNDS);
        let held = places.take("ada", 1, network(1)).await.unwrap();
        for _ in 0..100 {
            assert!(is_busy(&places.take("bob", 1, network(1)).await), "late");
            let mut waiting = Box::pin(places.take("bob", 1, network(1)));
            assert!(poll!(&mut waiting).is_pending());
        }
        drop(held);
        assert!(places.take("bob", 1, network(1)).await.is_ok());
        assert!(places.0.lock().held.is_empty() && places.0.lock().waiting.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn when_places_run_out_the_slowest_holder_makes_room() {
        let places = Places::new(Bounds { evicted_after: Some(Duration::from_secs(5)), ..BOUNDS });
        let held = join_all((1..5).map(|n| places.take(n, 1, network(n)))).await;
        let held: Vec<_> = held.into_iter().map(Result::unwrap).collect();
        for (place, bytes) in held.iter().zip([5000, 10, 7000, 9000]) {
            place.progress().add(bytes);
        }
        assert!(is_busy(&places.take(9, 1, network(9)).await), "nobody is old enough");
        tokio::time::advance(Duration::from_secs(5)).await;
        let mut newcomer = Box::pin(places.take(9, 1, network(9)));
        assert!(poll!(&mut newcomer).is_pending());
        let evicted: Vec<_> = held.iter().map(|place| place.progress().evicted().now_or_never()).collect();
        assert_eq!(evicted, [None, Some(()), None, None]);
        drop(held.into_iter().nth(1));
        assert!(newcomer.await.is_ok());
    }

    #[tokio::test(start_paused = true)]
    async fn a_network_at_its_share_evicts_nobody() {
        let places = Places::new(Bounds { evicted_after: Some(Duration::ZERO), ..BOUNDS });
        let held = join_all((1..5).map(|n| places.take(n, 1, network(n)))).await;
        assert!(is_busy(&places.take(9, 1, network(1)).await));
        let evicted = held.iter().flatten().filter_map(|place| place.progress().evicted().now_or_never());
        assert_eq!(evicted.count(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn the_blocks_of_ipv6_have_growing_shares() {
        let places = Places::new(Bounds { at_once: 16, of_network: quarter_of(16), ..BOUNDS });
        // Networks of 64 bits: of one home, of other homes of one site, and of another site.
        let of = |site: u128, home: u128, link: u128| {
            Network::of(IpAddr::from(
                (0x2001_0db8 << 96 | site << 80 | home << 72 | link << 64).to_be_bytes(),
            ))
        };
        let mut held = Vec::new();
        for (network, expected) in
            [(of(1, 1, 1), 4), (of(1, 1, 2), 4), (of(1, 1, 3), 0), (of(1, 2, 1), 4), (of(1, 3, 1), 4)]
        {
            let taken = join_all((0..5).map(|_| places.take(0, 99, network))).await;
            let taken: Vec<_> = taken.into_iter().flatten().collect();
            assert_eq!(taken.len(), expected, "{network:?}");
            held.extend(taken);
        }
    }
}
