//! Who is asked for which range, as last seen. May be wrong: whoever is asked knows better, and says so.

use std::sync::Arc;

use arc_swap::ArcSwap;

use crate::ids::NodeId;
use crate::shard::{FencingEpoch, RangeId, Ring};
use crate::store::Heartbeat;

/// A node that can be asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) address: Arc<str>,
}

pub(super) struct Routes {
    owners: ArcSwap<Vec<Option<Peer>>>,
}

impl Routes {
    pub(super) fn new(ring: Ring) -> Self {
        Self { owners: ArcSwap::from_pointee(vec![None; ring.size().into()]) }
    }

    pub(super) fn owner(&self, range: RangeId) -> Option<Peer> {
        self.owners.load()[range.index()].clone()
    }

    /// The range was handed over.
    pub(super) fn set(&self, range: RangeId, owner: Peer) {
        let mut owners = Vec::clone(&self.owners.load());
        owners[range.index()] = Some(owner);
        self.owners.store(Arc::new(owners));
    }

    /// Takes what the others say that they own; where two say so, the later epoch counts. A range of which nobody says
    /// anything is on its way from its last owner to the next, who will be named by the one or the other.
    /// Gives whether anything has changed.
    pub(super) fn update(&self, others: &[Heartbeat]) -> bool {
        let before = self.owners.load();
        let is_there = |owner: &Peer| others.iter().any(|other| other.node == owner.node);
        let mut owners: Vec<Option<(FencingEpoch, Peer)>> = vec![None; before.len()];
        for other in others {
            let peer = Peer { node: other.node, address: Arc::from(other.address.as_str()) };
            for held in &other.owns {
                let Some(slot) = owners.get_mut(held.range.index()) else { continue };
                if slot.as_ref().is_none_or(|(epoch, _)| *epoch < held.epoch) {
                    *slot = Some((held.epoch, peer.clone()));
                }
            }
        }
        let listed = owners.into_iter().map(|owner| owner.map(|(_, peer)| peer)).zip(before.iter());
        let next = listed.map(|(now, last)| now.or_else(|| last.clone().filter(is_there)));
        let next: Vec<Option<Peer>> = next.collect();
        let changed = next != **before;
        self.owners.store(Arc::new(next));
        changed
    }
}
