//! What this process believes to own. A belief only: the store checks it on every write.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::range::{FencingEpoch, RangeId};
use crate::limits::{RANGES, STORE_SILENT_MAX, TAKEOVER_SETTLE};

/// Whether this process can book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// It can.
    Serving,
    /// The store has not answered for a while.
    StoreSilent,
    /// Another process has taken its ranges; it will never serve again.
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

/// The epochs under which this process owns its ranges.
#[derive(Debug)]
pub struct Ownership {
    /// Zero: not ours.
    epochs: Vec<AtomicU64>,
    /// When loads may begin after an epoch was raised.
    settled_at: Mutex<Vec<Option<Instant>>>,
    standing: watch::Sender<Standing>,
    born: Instant,
    /// When the store last vouched for us, in milliseconds since `born`.
    heard: AtomicU64,
}

impl Default for Ownership {
    fn default() -> Self {
        Self {
            epochs: (0..RANGES).map(|_| AtomicU64::new(0)).collect(),
            settled_at: Mutex::new(vec![None; RANGES.into()]),
            standing: watch::Sender::new(Standing::Serving),
            born: Instant::now(),
            heard: AtomicU64::new(0),
        }
    }
}

impl Ownership {
    /// The epoch under which the range is ours, if it is.
    pub fn epoch(&self, range: RangeId) -> Option<FencingEpoch> {
        FencingEpoch::from_stored(self.epochs[range.index()].load(Ordering::Acquire))
    }

    /// The range is ours under `epoch`. Loads wait when there was an epoch before it.
    pub(super) fn take(&self, range: RangeId, epoch: FencingEpoch) {
        let wait = (epoch > FencingEpoch::INITIAL).then(|| Instant::now() + TAKEOVER_SETTLE);
        self.settled_at.lock().unwrap_or_else(PoisonError::into_inner)[range.index()] = wait;
        self.epochs[range.index()].store(epoch.get(), Ordering::Release);
    }

    /// Somebody else owns a range. A single node that lost one has lost them all, and answers for none any more.
    pub(crate) fn lose(&self) {
        for epoch in &self.epochs {
            epoch.store(0, Ordering::Release);
        }
        self.declare(Standing::Deposed);
    }

    /// The fences were ours when this question was sent to the store.
    pub(super) fn heard(&self, asked: Instant) {
        let millis = asked.saturating_duration_since(self.born).as_millis();
        self.heard.fetch_max(u64::try_from(millis).unwrap_or(u64::MAX), Ordering::AcqRel);
    }

    /// Whether the store has vouched for us of late. What is answered from memory alone, without a commit that the
    /// store would refuse, is good only as long as it has: another process may have taken over since.
    pub(crate) fn is_vouched_for(&self) -> bool {
        let heard = self.born + Duration::from_millis(self.heard.load(Ordering::Acquire));
        heard.elapsed() < STORE_SILENT_MAX
    }

    /// Returns once transactions of an earlier epoch are certainly applied to what a `Query` reads.
    pub(crate) async fn settled(&self, range: RangeId) {
        let until = self.settled_at.lock().unwrap_or_else(PoisonError::into_inner)[range.index()];
        if let Some(until) = until {
            tokio::time::sleep_until(until).await;
        }
    }

    /// Follows whether this process can book.
    pub fn standing(&self) -> watch::Receiver<Standing> {
        self.standing.subscribe()
    }

    /// Changes the standing; being deposed or stopping is for ever.
    pub(crate) fn declare(&self, next: Standing) {
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
        });
    }
}
