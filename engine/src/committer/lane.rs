//! One lane: a queue of events, one transaction in flight, and what becomes of each event.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::outcome::{Fate, Verdict, judge};
use super::{Barrier, InLane, Outcome, Waiting, Whose, batch};
use crate::chance::Chance;
use crate::ids::{DoctorId, RequestToken};
use crate::limits::{
    COMMIT_ATTEMPT_TIMEOUT, COMMIT_ATTEMPTS_MAX, COMMIT_BACKOFF_MAX, EVENT_ACTIONS_MAX, LANE_CAPACITY,
    UNKNOWN_RESOLVED_WITHIN,
};
use crate::metrics;
use crate::shard::{Node, Raised, RangeId};
use crate::store::{Batch, BookingStore, CommitError};

/// How a request ended, over all its attempts.
enum Ended {
    Judged(Verdict),
    /// Refused before any action was looked at.
    Aborted,
    Malformed,
    /// Nothing but silence, until time ran out.
    Silence,
}

pub(super) struct Lane {
    inbox: mpsc::Receiver<Waiting>,
    store: Arc<dyn BookingStore>,
    node: Arc<Node>,
    chance: Arc<dyn Chance>,
    queue: VecDeque<InLane>,
    barriers: Vec<Barrier>,
    /// Doctors of whom an event was not stored: what they staged after it is withdrawn, until their barrier passes.
    blocked: HashSet<DoctorId>,
    drained: Option<oneshot::Sender<()>>,
    batches: metrics::Batches,
}

impl Lane {
    pub(super) fn new(
        inbox: mpsc::Receiver<Waiting>,
        store: Arc<dyn BookingStore>,
        node: Arc<Node>,
        chance: Arc<dyn Chance>,
    ) -> Self {
        let (queue, barriers, blocked) = (VecDeque::new(), Vec::new(), HashSet::new());
        let batches = metrics::Batches::default();
        Self { inbox, store, node, chance, queue, barriers, blocked, drained: None, batches }
    }

    pub(super) async fn run(mut self) {
        while self.listen().await {
            self.withdraw_stale();
            if !self.queue.is_empty() {
                self.batches.packing(self.queue.len());
            }
            let packed = batch::pack(&mut self.queue);
            if !packed.is_empty() {
                self.commit(packed).await;
            }
            self.pass_barriers();
        }
    }

    /// Takes in what has arrived, waiting only when there is nothing to do. `false`: the lane is to end.
    async fn listen(&mut self) -> bool {
        if self.queue.is_empty() {
            if let Some(drained) = self.drained.take() {
                // Nobody listens any more if the process is in a hurry.
                let _ = drained.send(());
                return false;
            }
            match self.inbox.recv().await {
                Some(waiting) => self.take_in(waiting),
                None => return false,
            }
        }
        while self.queue.len() < LANE_CAPACITY {
            let Ok(waiting) = self.inbox.try_recv() else { break };
            self.take_in(waiting);
        }
        true
    }

    fn take_in(&mut self, waiting: Waiting) {
        match waiting {
            Waiting::Event(event) if self.blocked.contains(&event.staged.doctor) => {
                event.end(Outcome::Withdrawn { lost: false });
            }
            // No batch has room for it: a defect of ours, of which only its own caller hears.
            Waiting::Event(event) if event.staged.event.actions() > EVENT_ACTIONS_MAX => {
                tracing::error!(actions = event.staged.event.actions(), "an event is too large to be stored");
                self.block(&event.staged.doctor);
                event.end(Outcome::Refused);
            }
            Waiting::Event(event) => self.queue.push_back(event),
            Waiting::Barrier(barrier) => self.barriers.push(barrier),
            Waiting::Drain(drained) => self.drained = Some(drained),
        }
    }

    /// Lets those go on of whom nothing is left in the lane.
    fn pass_barriers(&mut self) {
        let mut waiting = Vec::new();
        for barrier in std::mem::take(&mut self.barriers) {
            let is_left = self.queue.iter().any(|InLane { staged, .. }| match &barrier.of {
                Whose::Doctor(doctor) => staged.doctor == *doctor,
                Whose::Range(range) => staged.range == *range,
            });
            if is_left {
                waiting.push(barrier);
                continue;
            }
            if let Whose::Doctor(doctor) = &barrier.of {
                self.blocked.remove(doctor);
            }
            let _ = barrier.passed.send(());
        }
        self.barriers = waiting;
    }

    /// Withdraws events whose calendar was loaded under another epoch than the one in force.
    fn withdraw_stale(&mut self) {
        let ownership = Arc::clone(self.node.ownership());
        let in_force = |event: &InLane| ownership.epoch(event.staged.range) == Some(event.staged.epoch);
        if self.queue.iter().all(in_force) {
            return;
        }
        for event in std::mem::take(&mut self.queue) {
            if in_force(&event) {
                self.queue.push_back(event);
            } else {
                self.blocked.insert(event.staged.doctor.clone());
                event.end(Outcome::Withdrawn { lost: false });
            }
        }
    }

    /// Withdraws what this doctor has staged, and will stage until its barrier passes.
    fn block(&mut self, doctor: &DoctorId) {
        if self.blocked.insert(doctor.clone()) {
            for event in std::mem::take(&mut self.queue) {
                if event.staged.doctor == *doctor {
                    event.end(Outcome::Withdrawn { lost: false });
                } else {
                    self.queue.push_back(event);
                }
            }
        }
    }

    async fn commit(&mut self, packed: Vec<InLane>) {
        let ranges: Vec<RangeId> = packed.iter().map(|event| event.staged.range).collect();
        let batch = batch::batch(&packed, RequestToken::new(self.chance.bits()));
        match self.send(&batch, &ranges).await {
            Ended::Judged(Verdict::Committed) => {
                self.batches.committed(packed.len());
                packed.into_iter().for_each(|event| event.tell(Outcome::Committed));
            }
            Ended::Judged(Verdict::Cancelled(fates)) => self.share_out(packed, &fates).await,
            Ended::Judged(Verdict::MayStillLand { fenced }) => {
                self.raise(&batch, packed, |index, ours| match (fenced[index], ours) {
                    (false, Raised::Ours) => Outcome::Withdrawn { lost: true },
                    (true, _) | (false, Raised::Lost) => Outcome::Unknown,
                })
                .await;
            }
            Ended::Silence => {
                tracing::error!(batch.events = packed.len(), "the outcome of a commit stays unknown");
                self.raise(&batch, packed, |_, _| Outcome::Unknown).await;
            }
            Ended::Aborted => {
                let fates = vec![Fate::Again { transient: true }; packed.len()];
                self.share_out(packed, &fates).await;
            }
            Ended::Malformed => self.isolate(packed),
        }
    }

    /// Sends the identical request until its outcome is known, or until time runs out.
    async fn send(&self, batch: &Batch, ranges: &[RangeId]) -> Ended {
        let mut lost_since: Option<Instant> = None;
        let mut attempt = 0;
        loop {
            let begun = Instant::now();
            let answer = tokio::time::timeout(COMMIT_ATTEMPT_TIMEOUT, self.store.commit(batch)).await;
            self.batches.sent(batch, batch::actions_of(batch), begun.elapsed(), answer.as_ref().ok());
            tracing::debug!(
                batch.events = batch.events.len(),
                batch.ranges = batch.checks.len(),
                duration_ms = begun.elapsed().as_secs_f64() * 1000.0,
                "asked the store to commit"
            );
            let lost = lost_since.is_some();
            match answer {
                Ok(Ok(())) => return Ended::Judged(Verdict::Committed),
                // A conflict or throttle tells nothing about an attempt that was lost.
                Ok(Err(CommitError::Cancelled(reasons))) if !(lost && reasons.only_transient()) => {
                    return Ended::Judged(judge(batch, ranges, &reasons, lost));
                }
                Ok(Err(CommitError::Aborted(reason))) if !lost => {
                    tracing::debug!(%reason, "commit refused for now");
                    return Ended::Aborted;
                }
                Ok(Err(CommitError::Malformed(reason))) if !lost => {
                    tracing::error!(%reason, batch.events = batch.events.len(), "malformed commit");
                    return Ended::Malformed;
                }
                Ok(Err(CommitError::Cancelled(_) | CommitError::Aborted(_) | CommitError::Malformed(_))) => {}
                Ok(Err(CommitError::Unknown(reason))) => {
                    tracing::warn!(%reason, "a commit went unanswered");
                    lost_since.get_or_insert_with(Instant::now);
                }
                Err(_elapsed) => {
                    tracing::warn!("a commit timed out");
                    // The silence began when the attempt did.
                    lost_since.get_or_insert_with(|| Instant::now() - COMMIT_ATTEMPT_TIMEOUT);
                }
            }
            if lost_since.is_some_and(|since| since.elapsed() >= UNKNOWN_RESOLVED_WITHIN) {
                return Ended::Silence;
            }
            attempt += 1;
            self.pause(attempt).await;
        }
    }

    /// Raises the epoch of every range of the batch, so that a lost request is either applied or impossible; then tells
    /// everybody. Waiters of an outcome that stays unknown whatever happens need not wait for the raise.
    async fn raise(
        &mut self,
        batch: &Batch,
        packed: Vec<InLane>,
        outcome: impl Fn(usize, Raised) -> Outcome,
    ) {
        let mut undecided = Vec::new();
        for (index, event) in packed.into_iter().enumerate() {
            self.block(&event.staged.doctor);
            if outcome(index, Raised::Ours) == outcome(index, Raised::Lost) {
                event.end(outcome(index, Raised::Ours));
            } else {
                undecided.push((index, event));
            }
        }
        let mut raised = Vec::new();
        for range in batch::ranges(batch) {
            raised.push((range, self.node.raise(range).await));
        }
        for (index, event) in undecided {
            let ours = raised.iter().find(|(range, _)| *range == event.staged.range);
            event.end(outcome(index, ours.map_or(Raised::Lost, |(_, ours)| *ours)));
        }
    }

    /// Tells the guilty and those who rest on them; everybody else goes back to the front of the queue, in order.
    async fn share_out(&mut self, packed: Vec<InLane>, fates: &[Fate]) {
        let mut again = Vec::new();
        let mut tired = 0;
        for (mut event, fate) in packed.into_iter().zip(fates) {
            let blocked = self.blocked.contains(&event.staged.doctor);
            match fate {
                Fate::Fenced => {
                    self.node.lost(event.staged.range);
                    self.block(&event.staged.doctor);
                    event.end(Outcome::Fenced);
                }
                Fate::Refused => {
                    self.block(&event.staged.doctor);
                    event.end(Outcome::Refused);
                }
                Fate::Withdrawn => event.end(Outcome::Withdrawn { lost: false }),
                // An earlier event of this doctor has just given up.
                Fate::Again { .. } if blocked => event.end(Outcome::Withdrawn { lost: false }),
                Fate::Again { transient } => {
                    event.attempts += u32::from(*transient);
                    if event.attempts >= COMMIT_ATTEMPTS_MAX {
                        self.block(&event.staged.doctor);
                        event.end(Outcome::Aborted);
                    } else {
                        tired = tired.max(event.attempts);
                        again.push(event);
                    }
                }
            }
        }
        for event in again.into_iter().rev() {
            self.queue.push_front(event);
        }
        if tired > 0 {
            self.pause(tired).await;
        }
    }

    /// The store calls the request malformed, which is a defect of ours: each event travels alone from now on, so that
    /// only the one that is at fault pays.
    fn isolate(&mut self, packed: Vec<InLane>) {
        let single = packed.len() == 1;
        for mut event in packed.into_iter().rev() {
            if single {
                self.block(&event.staged.doctor);
                event.end(Outcome::Refused);
            } else {
                event.alone = true;
                self.queue.push_front(event);
            }
        }
    }

    async fn pause(&self, attempt: u32) {
        let ceiling = (COMMIT_BACKOFF_MAX / 100).saturating_mul(1 << attempt.min(8)).min(COMMIT_BACKOFF_MAX);
        tokio::time::sleep(self.chance.jitter(ceiling).max(Duration::from_millis(1))).await;
    }
}

impl InLane {
    /// Counts the outcome and tells the waiter.
    fn end(self, outcome: Outcome) {
        metrics::ended(outcome);
        self.tell(outcome);
    }

    fn tell(mut self, outcome: Outcome) {
        self.waiter.tell(outcome);
    }
}
