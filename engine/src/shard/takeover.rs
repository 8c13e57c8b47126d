//! Taking ranges: raising their epochs at the store, at start and when a commit's outcome stays unknown, and noticing
//! when somebody else did.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, StreamExt, TryStreamExt};
use tokio::time::Instant;

use super::ownership::{Ownership, Standing};
use super::range::{FencingEpoch, RangeId};
use crate::chance::Chance;
use crate::ids::NodeId;
use crate::limits::{
    CLAIM_ATTEMPTS_MAX, CLAIM_BACKOFF_MAX, CLAIMS_AT_ONCE, COMMIT_ATTEMPT_TIMEOUT, FENCE_WATCH_INTERVAL,
};
use crate::metrics;
use crate::store::{Claim, ClaimError, Fence, Fences, LoadError};

/// The ranges could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// The fences cannot be read.
    #[error("the fences cannot be read: {0}")]
    Unreadable(#[from] LoadError),
    /// Every attempt to claim a range failed.
    #[error("range {0} could not be claimed in {CLAIM_ATTEMPTS_MAX} attempts; the last one said: {1}")]
    Unclaimable(RangeId, ClaimError),
    /// Another process that started at the same time was first.
    #[error("another process has taken over meanwhile")]
    Overtaken,
}

/// This process as an owner of ranges: a single node, which takes them all.
pub struct Node {
    id: NodeId,
    fences: Arc<dyn Fences>,
    ownership: Arc<Ownership>,
    chance: Arc<dyn Chance>,
}

/// How a raise of our own range ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Raised {
    /// It is ours under a new epoch.
    Ours,
    /// It is somebody else's.
    Lost,
}

impl Node {
    /// A node with a fresh identity that owns nothing yet.
    pub fn new(fences: Arc<dyn Fences>, ownership: Arc<Ownership>, chance: Arc<dyn Chance>) -> Self {
        Self { id: NodeId::new(chance.bits()), fences, ownership, chance }
    }

    /// What the node believes to own.
    pub(crate) const fn ownership(&self) -> &Arc<Ownership> {
        &self.ownership
    }

    /// Takes every range, whoever had it. Fails when the store does not let us.
    pub(crate) async fn take_all(&self) -> Result<(), TakeoverError> {
        let asked = Instant::now();
        let found = self.read().await?;
        let had_owners = found.len();
        // The first range decides between processes that start together: who holds it goes on, everybody else stops.
        let mut ranges = RangeId::all();
        if let Some(first) = ranges.next() {
            self.ownership.take(first, self.take(first, epoch_of(&found, first)).await?);
        }
        stream::iter(ranges)
            .map(|range| {
                let from = epoch_of(&found, range);
                async move {
                    let epoch = self.take(range, from).await?;
                    self.ownership.take(range, epoch);
                    Ok::<_, TakeoverError>(())
                }
            })
            .buffer_unordered(CLAIMS_AT_ONCE)
            .try_collect::<Vec<()>>()
            .await?;
        self.ownership.heard(asked);
        tracing::info!(node = %self.id, ranges.had_owners = had_owners, "took every range");
        Ok(())
    }

    async fn take(
        &self,
        range: RangeId,
        mut from: Option<FencingEpoch>,
    ) -> Result<FencingEpoch, TakeoverError> {
        let mut attempt = 0;
        loop {
            let error = match self.claim(range, from).await {
                Ok(epoch) => return Ok(epoch),
                Err(error) => error,
            };
            attempt += 1;
            if attempt >= CLAIM_ATTEMPTS_MAX {
                return Err(TakeoverError::Unclaimable(range, error));
            }
            self.pause(attempt).await;
            // Whatever the error: the fence says whether we made it, or from where to go on.
            if let Ok(fences) = self.read().await {
                let first = RangeId::all().next();
                let overtaken = |fence: &Fence| Some(fence.range) == first && fence.owner != self.id;
                if Some(range) != first && fences.iter().any(overtaken) {
                    return Err(TakeoverError::Overtaken);
                }
                match fences.iter().find(|fence| fence.range == range) {
                    Some(fence) if fence.owner == self.id => return Ok(fence.epoch),
                    Some(fence) => from = Some(fence.epoch),
                    None => from = None,
                }
            }
        }
    }

    /// Raises the epoch of a range of ours once, so that a request of the present epoch that got lost is from then on
    /// either applied or impossible. Goes on until the store says how it ended: until then, nobody knows.
    pub(crate) async fn raise(&self, range: RangeId) -> Raised {
        let Some(from) = self.ownership.epoch(range) else { return Raised::Lost };
        let mut attempt = 0;
        loop {
            if let Ok(epoch) = self.claim(range, Some(from)).await {
                return self.raised(range, epoch);
            }
            attempt += 1;
            self.pause(attempt).await;
            let Ok(fences) = self.read().await else { continue };
            match fences.iter().find(|fence| fence.range == range) {
                Some(fence) if fence.owner != self.id => {
                    self.ownership.lose();
                    return Raised::Lost;
                }
                Some(fence) if fence.epoch > from => return self.raised(range, fence.epoch),
                Some(_) | None => {}
            }
        }
    }

    fn raised(&self, range: RangeId, epoch: FencingEpoch) -> Raised {
        tracing::warn!(range = %range, lease.epoch = %epoch, "raised the epoch after an unknown outcome");
        metrics::epoch_raised();
        self.ownership.take(range, epoch);
        Raised::Ours
    }

    /// Looks at the fences again and again, so that a deposed node learns it even when it has nothing to write.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut standing = self.ownership.standing();
        loop {
            tokio::select! {
                // In this order, not in one drawn by lot: a simulation can be repeated.
                biased;
                () = tokio::time::sleep(FENCE_WATCH_INTERVAL) => {}
                over = standing.wait_for(|standing| standing.is_over()) => {
                    drop(over);
                    return;
                }
            }
            let asked = Instant::now();
            match self.read().await {
                Ok(fences) if fences.iter().any(|fence| fence.owner != self.id) => self.ownership.lose(),
                Ok(_) => {
                    self.ownership.heard(asked);
                    self.ownership.declare(Standing::Serving);
                }
                Err(error) if !self.ownership.is_vouched_for() => {
                    tracing::warn!(%error, "the store is silent");
                    self.ownership.declare(Standing::StoreSilent);
                }
                Err(_) => {}
            }
        }
    }

    async fn claim(&self, range: RangeId, from: Option<FencingEpoch>) -> Result<FencingEpoch, ClaimError> {
        let claim = Claim { range, node: self.id, address: String::new(), from };
        tokio::time::timeout(COMMIT_ATTEMPT_TIMEOUT, self.fences.claim(&claim))
            .await
            .unwrap_or_else(|_| Err(ClaimError::Unknown("timed out".to_owned())))
    }

    async fn read(&self) -> Result<Vec<Fence>, LoadError> {
        tokio::time::timeout(COMMIT_ATTEMPT_TIMEOUT, self.fences.read())
            .await
            .unwrap_or_else(|_| Err(LoadError::Unavailable("timed out".to_owned())))
    }

    async fn pause(&self, attempt: u32) {
        let ceiling = Duration::from_millis(10).saturating_mul(attempt).min(CLAIM_BACKOFF_MAX);
        tokio::time::sleep(self.chance.jitter(ceiling)).await;
    }
}

fn epoch_of(fences: &[Fence], range: RangeId) -> Option<FencingEpoch> {
    fences.iter().find(|fence| fence.range == range).map(|fence| fence.epoch)
}
