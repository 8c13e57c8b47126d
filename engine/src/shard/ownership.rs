//! What this process believes to own. A belief only: the store checks it on every write.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::range::{FencingEpoch, RangeId, Ring};
use crate::clock::Clock;
use crate::store::Holding;

/// Whether this process can book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can.
    Serving,
    /// The store has not answered for a while.
    StoreSilent,
    /// Another process has taken the ranges of this single node; it will never serve again.
    Deposed,
    /// It is asked to stop, and finishes what it has begun.
    Stopping,
}

impl Standing {
    /// Whether this process will never take on work again.
    pub const fn is_over(self) -> bool {
        match self {
            Self::Deposed | Self::Stopping => true,
            Self::Serving | Self::StoreSilent => false,
        }
    }
}

/// The epochs under which this process owns its ranges, and for how long it may rely on that.
pub struct Ownership {
    ring: Ring,
    clock: Arc<dyn Clock>,
    /// How long loads wait after an epoch was raised ([`crate::Fences::settle`]).
    settle: Duration,
    ranges: Vec<Owned>,
    standing: watch::Sender<Standing>,
    /// What is answered from memory alone, without a commit that the store would refuse, is good until then: in
    /// nanoseconds of [`Clock::uptime`].
    lease_ends: AtomicU64,
    changed: Notify,
}

#[derive(Default)]
struct Owned {
    /// Zero: not ours.
    epoch: AtomicU64,
    /// Takes on nothing new: it is being handed over, or has been.
    closed: AtomicBool,
    /// Since when it is ours, in seconds since 1970.
    since: AtomicI64,
    /// When loads may begin after the epoch was raised.
    settled_at: Mutex<Option<Instant>>,
}

impl Ownership {
    /// Nothing is owned yet.
    pub fn new(ring: Ring, clock: Arc<dyn Clock>, settle: Duration) -> Self {
        Self {
            ring,
            clock,
            settle,
            ranges: ring.ranges().map(|_| Owned::default()).collect(),
            standing: watch::Sender::new(Standing::Serving),
            lease_ends: AtomicU64::new(0),
            changed: Notify::new(),
        }
    }

    /// How doctors are spread over ranges.
    pub(crate) const fn ring(&self) -> Ring {
        self.ring
    }

    /// The epoch under which the range is ours, if it is.
    pub fn epoch(&self, range: RangeId) -> Option<FencingEpoch> {
        FencingEpoch::from_stored(self.ranges[range.index()].epoch.load(Ordering::Acquire))
    }

    /// The same for new work: a range that is being handed over takes on none.
    pub(crate) fn open(&self, range: RangeId) -> Option<FencingEpoch> {
        if self.is_closed(range) { None } else { self.epoch(range) }
    }

    /// Whether this node has handed the range over, or is about to: it is not to be waited for here.
    pub(crate) fn is_closed(&self, range: RangeId) -> bool {
        self.ranges[range.index()].closed.load(Ordering::Acquire)
    }

    /// Every range that is ours, in ring order.
    pub(crate) fn holdings(&self) -> Vec<Holding> {
        let holding = |range: RangeId| {
            let since = self.ranges[range.index()].since.load(Ordering::Relaxed);
            Some(Holding { range, epoch: self.epoch(range)?, since })
        };
        self.ring.ranges().filter_map(holding).collect()
    }

    /// The range is ours under `epoch`. Loads wait when there was an epoch before it.
    pub(crate) fn take(&self, range: RangeId, epoch: FencingEpoch) {
        let owned = &self.ranges[range.index()];
        let wait = (epoch > FencingEpoch::INITIAL).then(|| Instant::now() + self.settle);
        *owned.settled_at.lock().unwrap_or_else(PoisonError::into_inner) = wait;
        owned.since.store(self.clock.now().timestamp(), Ordering::Relaxed);
        owned.closed.store(false, Ordering::Release);
        owned.epoch.store(epoch.get(), Ordering::Release);
        self.changed.notify_waiters();
    }

    /// The range that was ours under `from` is ours under `epoch`; `false` when it was lost meanwhile.
    pub(crate) fn raise(&self, range: RangeId, from: FencingEpoch, epoch: FencingEpoch) -> bool {
        let owned = &self.ranges[range.index()];
        let mut settled_at = owned.settled_at.lock().unwrap_or_else(PoisonError::into_inner);
        let raised =
            owned.epoch.compare_exchange(from.get(), epoch.get(), Ordering::AcqRel, Ordering::Acquire);
        if raised.is_ok() {
            *settled_at = Some(Instant::now() + self.settle);
        }
        raised.is_ok()
    }

    /// Takes on no new work of this range.
    pub(crate) fn close(&self, range: RangeId) {
        self.ranges[range.index()].closed.store(true, Ordering::Release);
    }

    /// Takes on work again: the range was not handed over after all.
    pub(crate) fn reopen(&self, range: RangeId) {
        self.ranges[range.index()].closed.store(false, Ordering::Release);
    }

    /// Somebody else owns the range.
    pub(crate) fn lose(&self, range: RangeId) {
        self.ranges[range.index()].epoch.store(0, Ordering::Release);
        self.changed.notify_waiters();
    }

    /// Nothing is ours any more.
    pub(crate) fn lose_all(&self) {
        self.lease_ends.store(0, Ordering::Release);
        self.ring.ranges().for_each(|range| self.lose(range));
    }

    /// The ranges were ours when this question was sent to the store, at `asked` of [`Clock::uptime`]: for `length` after
    /// that, nobody else answers for them.
    pub(crate) fn vouch(&self, asked: Duration, length: Duration) {
        self.lease_ends.fetch_max(nanos(asked + length), Ordering::AcqRel);
    }

    /// Whether what is answered from memory alone is good: another process may have taken over since the store vouched
    /// for us.
    pub(crate) fn is_vouched_for(&self) -> bool {
        nanos(self.clock.uptime()) < self.lease_ends.load(Ordering::Acquire)
    }

    /// Returns once transactions of an earlier epoch are certainly applied to what a `Query` reads.
    pub(crate) async fn settled(&self, range: RangeId) {
        let until = *self.ranges[range.index()].settled_at.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Wakes when ranges come or go, here or among others, in the order of waiting.
    pub(crate) const fn changed(&self) -> &Notify {
        &self.changed
    }

    /// Follows whether this process can book.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Changes the standing, and says whether that was a change; being deposed or stopping is for ever.
    pub(crate) fn declare(&self, next: Standing) -> bool {
        self.standing.send_if_modified(|standing| {
            let possible = match (*standing, next) {
                (Standing::Deposed, _) | (Standing::Stopping, Standing::Serving | Standing::StoreSilent) => {
                    false
                }
                (before, after) => before != after,
            };
            if possible {
                *standing = next;
            }
            possible
        })
    }
}

fn nanos(uptime: Duration) -> u64 {
    u64::try_from(uptime.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::SystemClock;

    #[tokio::test(start_paused = true)]
    async fn loads_wait_for_what_the_store_may_still_apply_and_for_nothing_where_nobody_was_before() {
        let (first, second) = (FencingEpoch::INITIAL, FencingEpoch::INITIAL.next());
        let range = Ring::default().range(0).unwrap();
        for (epoch, settle, wait) in [(first, 250, 0), (second, 250, 250), (second, 0, 0)] {
            let (clock, settle) = (Arc::new(SystemClock), Duration::from_millis(settle));
            let ownership = Ownership::new(Ring::default(), clock, settle);
            ownership.take(range, epoch);
            let begun = Instant::now();
            ownership.settled(range).await;
            assert_eq!(begun.elapsed(), Duration::from_millis(wait), "{epoch:?}, {settle:?}");
        }
    }
}
