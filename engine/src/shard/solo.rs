//! A single node: it takes every range when it starts, whoever had it, and ends when another one takes over.

use std::sync::Arc;

use futures::stream::{self, StreamExt, TryStreamExt};

use super::node::{Node, epoch_of};
use super::ownership::Standing;
use super::range::{FencingEpoch, RangeId};
use crate::limits::{CLAIM_ATTEMPTS_MAX, CLAIMS_AT_ONCE, FENCE_WATCH_INTERVAL, STORE_SILENT_MAX};
use crate::store::{ClaimError, Fence, LoadError};

/// The ranges could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum TakeoverError {
    /// The fences, or the nodes of the cluster, cannot be read.
    #[error("the fences cannot be read: {0}")]
    Unreadable(#[from] LoadError),
    /// Every attempt to claim a range failed.
    #[error("range {0} could not be claimed in {CLAIM_ATTEMPTS_MAX} attempts; the last one said: {1}")]
    Unclaimable(RangeId, ClaimError),
    /// Another process that started at the same time was first.
    #[error("another process has taken over meanwhile")]
    Overtaken,
    /// Every attempt to join the cluster failed.
    #[error("the cluster could not be joined in {CLAIM_ATTEMPTS_MAX} attempts")]
    NotJoined,
}

impl Node {
    /// Takes every range, whoever had it. Fails when the store does not let us.
    pub(crate) async fn take_all(&self) -> Result<(), TakeoverError> {
        let asked = self.clock.uptime();
        let all: Vec<RangeId> = self.ownership.ring().ranges().collect();
        let found = self.read(&all).await?;
        let had_owners = found.len();
        // The first range decides between processes that start together: who holds it goes on, everybody else stops.
        let mut ranges = all.into_iter();
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
        self.ownership.vouch(asked, STORE_SILENT_MAX);
        tracing::info!(node = %self.id(), ranges.had_owners = had_owners, "took every range");
        Ok(())
    }

    async fn take(
        &self,
        range: RangeId,
        mut from: Option<FencingEpoch>,
    ) -> Result<FencingEpoch, TakeoverError> {
        let me = self.id();
        let first = self.ownership.ring().ranges().next();
        let mut attempt = 0;
        loop {
            let error = match self.claim(range, from, me, self.address()).await {
                Ok(epoch) => return Ok(epoch),
                Err(error) => error,
            };
            attempt += 1;
            if attempt >= CLAIM_ATTEMPTS_MAX {
                return Err(TakeoverError::Unclaimable(range, error));
            }
            self.pause(attempt).await;
            // Whatever the error: the fence says whether we made it, or from where to go on.
            let asked: Vec<RangeId> = first.into_iter().chain([range]).collect();
            if let Ok(fences) = self.read(&asked).await {
                let overtaken = |fence: &Fence| Some(fence.range) == first && fence.owner != me;
                if Some(range) != first && fences.iter().any(overtaken) {
                    return Err(TakeoverError::Overtaken);
                }
                match fences.iter().find(|fence| fence.range == range) {
                    Some(fence) if fence.owner == me => return Ok(fence.epoch),
                    Some(fence) => from = Some(fence.epoch),
                    None => from = None,
                }
            }
        }
    }

    /// Looks at the fences again and again, so that a deposed node learns it even when it has nothing to write.
    pub(crate) async fn watch(self: Arc<Self>) {
        let ranges: Vec<RangeId> = self.ownership.ring().ranges().collect();
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
            let asked = self.clock.uptime();
            match self.read(&ranges).await {
                Ok(fences) => match fences.iter().find(|fence| fence.owner != self.id()) {
                    Some(fence) => self.lost(fence.range),
                    None => {
                        self.ownership.vouch(asked, STORE_SILENT_MAX);
                        self.ownership.declare(Standing::Serving);
                    }
                },
                Err(error) if !self.ownership.is_vouched_for() => {
                    tracing::warn!(%error, "the store is silent");
                    self.ownership.declare(Standing::StoreSilent);
                }
                Err(_) => {}
            }
        }
    }
}
