//! This process as an owner of ranges: how it raises their epochs at the store. Who does so, and when, is the business of
//! `solo.rs` and `cluster.rs`.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;

use super::ownership::{Ownership, Standing};
use super::range::{FencingEpoch, RangeId};
use crate::chance::Chance;
use crate::clock::Clock;
use crate::ids::NodeId;
use crate::limits::{CLAIM_BACKOFF_MAX, COMMIT_ATTEMPT_TIMEOUT};
use crate::metrics;
use crate::store::{Claim, ClaimError, Fence, Fences, LoadError};

/// This process, as the store knows it.
pub struct Node {
    /// In a cluster, a node that was buried takes a new one.
    id: Mutex<NodeId>,
    /// Where other nodes reach it; empty for a single node.
    address: String,
    pub(super) fences: Arc<dyn Fences>,
    pub(super) ownership: Arc<Ownership>,
    pub(super) clock: Arc<dyn Clock>,
    pub(super) chance: Arc<dyn Chance>,
    look: Notify,
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
    pub(crate) fn new(
        address: String,
        fences: Arc<dyn Fences>,
        ownership: Arc<Ownership>,
        clock: Arc<dyn Clock>,
        chance: Arc<dyn Chance>,
    ) -> Self {
        let id = Mutex::new(NodeId::new(chance.bits()));
        Self { id, address, fences, ownership, clock, chance, look: Notify::new() }
    }

    /// What the node believes to own.
    pub(crate) const fn ownership(&self) -> &Arc<Ownership> {
        &self.ownership
    }

    pub(crate) fn id(&self) -> NodeId {
        *self.id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.clock
    }

    pub(crate) fn address(&self) -> &str {
        &self.address
    }

    /// From here on it is somebody else, who owns nothing.
    pub(crate) fn be_born_again(&self) {
        let mut id = self.id.lock().unwrap_or_else(PoisonError::into_inner);
        *id = NodeId::new(self.chance.bits());
        self.ownership.lose_all();
    }

    /// The store says that `me` owns the range; that counts only as long as this node is still known by that name.
    pub(crate) fn take_as(&self, me: NodeId, range: RangeId, epoch: FencingEpoch) {
        let id = self.id.lock().unwrap_or_else(PoisonError::into_inner);
        if *id == me {
            self.ownership.take(range, epoch);
        }
    }

    /// The store says that the range has another owner. A single node that lost one has lost them all.
    pub(crate) fn lost(&self, range: RangeId) {
        if self.address.is_empty() {
            self.ownership.lose_all();
            self.ownership.declare(Standing::Deposed);
        } else {
            self.ownership.lose(range);
            self.look_now();
        }
    }

    /// Has the cluster looked at without delay.
    pub(crate) fn look_now(&self) {
        self.look.notify_one();
    }

    /// Returns when somebody wants the cluster looked at.
    pub(crate) async fn is_to_look(&self) {
        self.look.notified().await;
    }

    /// Raises the epoch of a range of ours once, so that a request of the present epoch that got lost is from then on
    /// either applied or impossible. Goes on until the store says how it ended: until then, nobody knows.
    pub(crate) async fn raise(&self, range: RangeId) -> Raised {
        let Some(from) = self.ownership.epoch(range) else { return Raised::Lost };
        let mut attempt = 0;
        // Lost meanwhile: whoever took it has raised the epoch.
        while self.ownership.epoch(range) == Some(from) {
            let me = self.id();
            if let Ok(epoch) = self.claim(range, Some(from), me, &self.address).await {
                return self.raised(range, from, epoch);
            }
            attempt += 1;
            self.pause(attempt).await;
            let Ok(fences) = self.read(&[range]).await else { continue };
            match fences.first() {
                Some(fence) if fence.owner != me => {
                    self.lost(range);
                    return Raised::Lost;
                }
                Some(fence) if fence.epoch > from => return self.raised(range, from, fence.epoch),
                Some(_) | None => {}
            }
        }
        Raised::Lost
    }

    fn raised(&self, range: RangeId, from: FencingEpoch, epoch: FencingEpoch) -> Raised {
        if !self.ownership.raise(range, from, epoch) {
            return Raised::Lost;
        }
        tracing::warn!(range = %range, lease.epoch = %epoch, "raised the epoch after an unknown outcome");
        metrics::epoch_raised();
        Raised::Ours
    }

    /// Makes `to` the owner of the range, unless its epoch has been raised since `from`.
    pub(crate) async fn claim(
        &self,
        range: RangeId,
        from: Option<FencingEpoch>,
        to: NodeId,
        address: &str,
    ) -> Result<FencingEpoch, ClaimError> {
        let claim = Claim { range, node: to, address: address.to_owned(), from };
        tokio::time::timeout(COMMIT_ATTEMPT_TIMEOUT, self.fences.claim(&claim))
            .await
            .unwrap_or_else(|_| Err(ClaimError::Unknown("timed out".to_owned())))
    }

    pub(crate) async fn read(&self, ranges: &[RangeId]) -> Result<Vec<Fence>, LoadError> {
        tokio::time::timeout(COMMIT_ATTEMPT_TIMEOUT, self.fences.read(ranges))
            .await
            .unwrap_or_else(|_| Err(LoadError::Unavailable("timed out".to_owned())))
    }

    /// Waits a little, longer with each attempt.
    pub(crate) async fn pause(&self, attempt: u32) {
        let ceiling = Duration::from_millis(10).saturating_mul(attempt).min(CLAIM_BACKOFF_MAX);
        tokio::time::sleep(self.chance.jitter(ceiling)).await;
    }
}

pub(crate) fn epoch_of(fences: &[Fence], range: RangeId) -> Option<FencingEpoch> {
    fences.iter().find(|fence| fence.range == range).map(|fence| fence.epoch)
}
