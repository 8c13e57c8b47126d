//! A node of a cluster: renews its lease, buries the dead, takes what has no owner, and hands over what is too much.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures::future::join_all;
use tokio::sync::{Notify, watch};

use super::plan::{self, Candidate};
use super::routes::{Peer, Routes};
use super::{ClusterView, NodeView, Timing};
use crate::committer::Committer;
use crate::directory::Directory;
use crate::ids::NodeId;
use crate::limits::{CLAIM_ATTEMPTS_MAX, CLAIMS_AT_ONCE, LEASE_MARGIN, LEAVE_WITHIN};
use crate::metrics;
use crate::shard::{FencingEpoch, Node, Raised, RangeId, Standing, TakeoverError};
use crate::store::{BeatError, Fence, Heartbeat, LoadError, Nodes};

/// This node's part in the cluster.
pub(crate) struct Member {
    node: Arc<Node>,
    nodes: Arc<dyn Nodes>,
    timing: Timing,
    committer: Committer,
    directory: Directory,
    pub(super) routes: Routes,
    /// The last heartbeat sent.
    count: AtomicU64,
    leaving: AtomicBool,
    /// It has tried to leave, and nobody took what it had.
    gave_up: AtomicBool,
    /// Whether the others could take what this node has.
    has_heirs: AtomicBool,
    beat: Notify,
    ended: watch::Sender<bool>,
    view: ArcSwap<ClusterView>,
}

/// When each node's heartbeat was first seen to stand where it stands.
#[derive(Default)]
struct Seen(BTreeMap<NodeId, (u64, Duration)>);

impl Member {
    pub(crate) fn new(
        node: Arc<Node>,
        nodes: Arc<dyn Nodes>,
        timing: Timing,
        committer: Committer,
        directory: Directory,
    ) -> Self {
        let view = ClusterView { me: node.id(), nodes: Vec::new() };
        Self {
            routes: Routes::new(node.ownership().ring()),
            node,
            nodes,
            timing,
            committer,
            directory,
            count: AtomicU64::new(0),
            leaving: AtomicBool::new(false),
            gave_up: AtomicBool::new(false),
            has_heirs: AtomicBool::new(true),
            beat: Notify::new(),
            ended: watch::Sender::new(false),
            view: ArcSwap::from_pointee(view),
        }
    }

    /// Becomes one of the nodes. All fences are read once, which fails when the doctors are cut into other ranges there.
    ///
    /// # Errors
    /// When the store does not answer.
    pub(crate) async fn join(&self) -> Result<(), TakeoverError> {
        self.node.read(&self.node.ownership().ring().ranges().collect::<Vec<_>>()).await?;
        for attempt in 1..=CLAIM_ATTEMPTS_MAX {
            if self.try_to_join().await {
                return Ok(());
            }
            self.node.pause(attempt).await;
        }
        Err(TakeoverError::NotJoined)
    }

    /// An attempt whose outcome is unknown leaves a heartbeat that nobody renews: the next one has another name.
    async fn try_to_join(&self) -> bool {
        self.node.be_born_again();
        let asked = self.node.clock().uptime();
        let joined = self.in_time(self.nodes.join(&self.heartbeat())).await;
        if let Some(Ok(())) = joined {
            self.vouch(asked);
            tracing::info!(node = %self.node.id(), "joined the cluster");
        }
        matches!(joined, Some(Ok(())))
    }

    fn vouch(&self, asked: Duration) {
        self.node.ownership().vouch(asked, self.timing.lease - self.timing.lease / LEASE_MARGIN);
        self.node.ownership().declare(Standing::Serving);
    }

    fn heartbeat(&self) -> Heartbeat {
        Heartbeat {
            node: self.node.id(),
            address: self.node.address().to_owned(),
            count: self.count.fetch_add(1, Ordering::AcqRel) + 1,
            leaving: self.leaving.load(Ordering::Acquire),
            owns: self.node.ownership().holdings(),
            doctors: self.directory.active() as u64,
        }
    }

    /// Renews the lease until this node has left.
    pub(crate) async fn renew(self: Arc<Self>) {
        let mut pause = self.timing.heartbeat;
        while self.waits(pause, self.beat.notified()).await {
            let asked = self.node.clock().uptime();
            let answer = self.in_time(self.nodes.beat(&self.heartbeat())).await;
            pause = match answer {
                Some(Ok(())) => {
                    self.vouch(asked);
                    (asked + self.timing.heartbeat).saturating_sub(self.node.clock().uptime())
                }
                Some(Err(BeatError::Moved)) => {
                    tracing::warn!(node = %self.node.id(), "was buried by another node, and joins anew");
                    metrics::buried();
                    if !self.try_to_join().await {
                        self.node.be_born_again();
                    }
                    self.node.look_now();
                    self.timing.heartbeat / 4
                }
                Some(Err(BeatError::Unknown(_))) | None => {
                    let ownership = self.node.ownership();
                    if !ownership.is_vouched_for() && ownership.declare(Standing::StoreSilent) {
                        tracing::warn!("the store is silent");
                    }
                    self.timing.heartbeat / 4
                }
            };
        }
    }

    /// Looks at the cluster, and does what is to be done, until this node has left.
    pub(crate) async fn watch(self: Arc<Self>) {
        let mut seen = Seen::default();
        let mut checked = Duration::ZERO;
        loop {
            let most = self.timing.heartbeat / 2;
            let pause = match self.look(&mut seen, &mut checked).await {
                Ok(expiry) => expiry.map_or(most, |expiry| expiry.min(most)),
                Err(error) => {
                    tracing::debug!(%error, "cannot look at the cluster");
                    most
                }
            };
            // However many want it looked at.
            let least = self.timing.heartbeat / 20;
            if !self.waits(least, std::future::pending()).await {
                return;
            }
            if !self.waits(pause.saturating_sub(least), self.node.is_to_look()).await {
                return;
            }
        }
    }

    /// Waits for the one or the other; `false` once this node has left.
    async fn waits(&self, pause: Duration, woken: impl Future<Output = ()>) -> bool {
        let mut ended = self.ended.subscribe();
        tokio::select! {
            // In this order, not in one drawn by lot: a simulation can be repeated.
            biased;
            _ = ended.wait_for(|ended| *ended) => false,
            () = woken => true,
            () = tokio::time::sleep(pause) => true,
        }
    }

    async fn in_time<T>(&self, question: impl Future<Output = T>) -> Option<T> {
        tokio::time::timeout(self.timing.heartbeat, question).await.ok()
    }

    async fn list(&self) -> Result<Vec<Heartbeat>, LoadError> {
        let unanswered = || LoadError::Unavailable("the nodes are not listed in time".to_owned());
        self.in_time(self.nodes.list()).await.ok_or_else(unanswered)?
    }

    /// One look: gives in how long the next node is due to be buried, should it not stir.
    async fn look(&self, seen: &mut Seen, checked: &mut Duration) -> Result<Option<Duration>, LoadError> {
        let me = self.node.id();
        let asked = self.node.clock().uptime();
        let mut listed = self.list().await?;
        let now = self.node.clock().uptime();
        seen.observe(&listed, now);
        for (dead, count) in seen.dead(me, asked, self.timing.lease) {
            if let Some(Ok(())) = self.in_time(self.nodes.bury(dead, count)).await {
                tracing::warn!(node = %dead, "buried a node that stood still for a whole lease");
                metrics::burials();
                listed.retain(|heartbeat| heartbeat.node != dead);
            }
        }
        self.show(me, &listed, seen, now);
        let others: Vec<Heartbeat> = listed.into_iter().filter(|heartbeat| heartbeat.node != me).collect();
        if self.routes.update(&others) {
            self.node.ownership().changed().notify_waiters();
        }
        let is_due = asked.saturating_sub(*checked) >= self.timing.heartbeat;
        let orphans = self.settle_with_fences(me, &others, is_due).await?;
        if is_due {
            *checked = asked;
        }
        self.move_ranges(me, &others, &orphans).await;
        Ok(seen.next_expiry(me, self.timing.lease, self.node.clock().uptime()))
    }

    /// Takes in what the fences say, of ranges that nobody claims to own and, from time to time, of our own. Gives those
    /// whose owner is no more.
    async fn settle_with_fences(
        &self,
        me: NodeId,
        others: &[Heartbeat],
        with_ours: bool,
    ) -> Result<Vec<(RangeId, Option<FencingEpoch>)>, LoadError> {
        let ownership = self.node.ownership();
        let is_listed =
            |range: RangeId| others.iter().flat_map(|other| &other.owns).any(|held| held.range == range);
        let ours: Vec<RangeId> = ownership.holdings().iter().map(|held| held.range).collect();
        let unlisted = ownership.ring().ranges().filter(|range| !ours.contains(range) && !is_listed(*range));
        let unlisted: Vec<RangeId> = unlisted.collect();
        let asked: Vec<RangeId> = if with_ours { [&ours[..], &unlisted].concat() } else { unlisted.clone() };
        let fences = if asked.is_empty() { Vec::new() } else { self.node.read(&asked).await? };
        let fence = |range: RangeId| fences.iter().find(|fence: &&Fence| fence.range == range);
        for range in ours {
            if fence(range).is_some_and(|fence| fence.owner != me) && self.node.id() == me {
                self.node.lost(range);
            }
        }
        let (mut orphans, mut strangers) = (Vec::new(), Vec::new());
        for range in unlisted {
            match fence(range) {
                None => orphans.push((range, None)),
                Some(fence) if fence.owner == me => {
                    self.node.take_as(me, range, fence.epoch);
                    self.beat.notify_one();
                }
                Some(fence) if others.iter().any(|other| other.node == fence.owner) => {}
                Some(fence) => strangers.push(fence),
            }
        }
        // A node joins before it owns anything, so its owner is no more if a list does not name it that was asked for after
        // the fence was read. The list at hand may be older than the node.
        if !strangers.is_empty() {
            let listed = self.list().await?;
            let is_no_more = |fence: &&Fence| listed.iter().all(|node| node.node != fence.owner);
            orphans.extend(
                strangers.into_iter().filter(is_no_more).map(|fence| (fence.range, Some(fence.epoch))),
            );
        }
        Ok(orphans)
    }

    /// Takes and hands over what is this node's to take and hand over.
    async fn move_ranges(
        &self,
        me: NodeId,
        others: &[Heartbeat],
        orphans: &[(RangeId, Option<FencingEpoch>)],
    ) {
        let leaving = self.leaving.load(Ordering::Acquire);
        let ownership = self.node.ownership();
        let owns = ownership.holdings().iter().map(|held| held.range).collect();
        let mut candidates = vec![Candidate { node: me, leaving, owns }];
        candidates.extend(others.iter().map(|other| Candidate {
            node: other.node,
            leaving: other.leaving,
            owns: other.owns.iter().map(|held| held.range).collect(),
        }));
        self.has_heirs.store(others.iter().any(|other| !other.leaving), Ordering::Release);
        let ranges: Vec<RangeId> = orphans.iter().map(|(range, _)| *range).collect();
        let moves = plan::moves(me, &candidates, &ranges, ownership.ring().size().into());
        let from = |range: RangeId| orphans.iter().find(|(orphan, _)| *orphan == range)?.1;
        let mut takes: Vec<_> = moves.take.iter().map(|range| self.take(me, *range, from(*range))).collect();
        while !takes.is_empty() {
            join_all(takes.drain(..CLAIMS_AT_ONCE.min(takes.len()))).await;
        }
        let gives = moves.give.iter().filter_map(|(range, to)| {
            let to = others.iter().find(|other| other.node == *to)?;
            Some(self.hand_over(*range, Peer { node: to.node, address: Arc::from(to.address.as_str()) }))
        });
        join_all(gives).await;
        if moves != plan::Moves::default() {
            self.beat.notify_one();
        }
    }

    async fn take(&self, me: NodeId, range: RangeId, from: Option<FencingEpoch>) {
        // If it fails, or is not known to have succeeded, the next look tells.
        if let Ok(epoch) = self.node.claim(range, from, me, self.node.address()).await {
            self.node.take_as(me, range, epoch);
            tracing::info!(range = %range, lease.epoch = %epoch, "took a range");
        }
    }

    /// Stores what is under way, and makes `to` the owner. From the close on, nobody is answered here.
    async fn hand_over(&self, range: RangeId, to: Peer) {
        let ownership = self.node.ownership();
        ownership.close(range);
        self.committer.range_settled(range).await;
        let Some(from) = ownership.epoch(range) else { return };
        match self.node.claim(range, Some(from), to.node, &to.address).await {
            Ok(epoch) => {
                tracing::info!(range = %range, lease.epoch = %epoch, to = %to.node, "handed a range over");
                self.routes.set(range, to);
                self.node.lost(range);
            }
            // It may yet happen: our own raise makes it impossible, or shows that it did.
            Err(_) => match self.node.raise(range).await {
                Raised::Ours => ownership.reopen(range),
                Raised::Lost => {}
            },
        }
    }

    /// Hands over everything, if there is somebody to take it. Meanwhile this node answers as ever. What nobody has taken in
    /// time is not waited for again: it is taken when the lease has ended.
    pub(crate) async fn hand_over_all(&self) {
        if self.gave_up.load(Ordering::Acquire) {
            return;
        }
        self.leaving.store(true, Ordering::Release);
        self.beat.notify_one();
        let all = async {
            let mut changed = std::pin::pin!(self.node.ownership().changed().notified());
            loop {
                changed.as_mut().enable();
                if self.node.ownership().holdings().is_empty() || !self.has_heirs.load(Ordering::Acquire) {
                    return;
                }
                self.node.look_now();
                let _ = tokio::time::timeout(self.timing.heartbeat, changed.as_mut()).await;
                changed.set(self.node.ownership().changed().notified());
            }
        };
        if tokio::time::timeout(LEAVE_WITHIN, all).await.is_err() {
            self.gave_up.store(true, Ordering::Release);
            tracing::warn!("leaves with ranges that nobody has taken over");
        }
    }

    /// Owns nothing any more, and is no node any more.
    pub(crate) async fn depart(&self) {
        self.ended.send_replace(true);
        self.node.ownership().lose_all();
        let count = self.count.load(Ordering::Acquire);
        if let Some(Err(error)) = self.in_time(self.nodes.bury(self.node.id(), count)).await {
            tracing::info!(%error, "its heartbeat stays until it is found to stand still");
        }
    }

    pub(super) fn node(&self) -> &Node {
        &self.node
    }

    /// The cluster as last seen.
    pub(super) fn view(&self) -> Arc<ClusterView> {
        self.view.load_full()
    }

    fn show(&self, me: NodeId, listed: &[Heartbeat], seen: &Seen, now: Duration) {
        let silent_for = |node| seen.0.get(&node).map_or(Duration::ZERO, |(_, at)| now.saturating_sub(*at));
        let nodes = listed.iter().map(|heartbeat| NodeView {
            silent_for: silent_for(heartbeat.node),
            heartbeat: heartbeat.clone(),
        });
        self.view.store(Arc::new(ClusterView { me, nodes: nodes.collect() }));
        metrics::cluster(listed.len(), self.node.ownership().holdings().len());
    }
}

impl Seen {
    /// What the list shows, which was answered at `now`: a node may have moved on at any time before.
    fn observe(&mut self, listed: &[Heartbeat], now: Duration) {
        self.0.retain(|node, _| listed.iter().any(|heartbeat| heartbeat.node == *node));
        for heartbeat in listed {
            let (count, at) = self.0.entry(heartbeat.node).or_insert((heartbeat.count, now));
            if *count != heartbeat.count {
                (*count, *at) = (heartbeat.count, now);
            }
        }
    }

    /// Who was still seen to stand, in a list asked for at `asked`, a whole lease after it was first seen there.
    fn dead(&self, me: NodeId, asked: Duration, lease: Duration) -> Vec<(NodeId, u64)> {
        let stood = |at: Duration| asked.checked_sub(at).is_some_and(|stood| stood >= lease);
        let dead = self.0.iter().filter(|(node, (_, at))| **node != me && stood(*at));
        dead.map(|(node, (count, _))| (*node, *count)).collect()
    }

    fn next_expiry(&self, me: NodeId, lease: Duration, now: Duration) -> Option<Duration> {
        let others = self.0.iter().filter(|(node, _)| **node != me);
        others.map(|(_, (_, at))| (*at + lease).saturating_sub(now)).min()
    }
}
