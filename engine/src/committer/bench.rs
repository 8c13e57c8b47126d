//! Packing, for a bench to measure by itself.

use std::collections::VecDeque;

use super::{InLane, Staged, Waiter, batch};
use crate::ids::RequestToken;
use crate::store::Batch;

/// What waits in a lane.
pub struct Queue(VecDeque<InLane>);

impl Queue {
    /// These wait, the first one longest.
    pub fn of(staged: impl IntoIterator<Item = Staged>) -> Self {
        let waiting = staged.into_iter();
        let waiter = |staged: &Staged| Waiter { event: staged.id, outcomes: None };
        let in_lane = |staged| InLane { waiter: waiter(&staged), staged, attempts: 0, alone: false };
        Self(waiting.map(in_lane).collect())
    }

    /// The batch that would be sent next. Its events wait on.
    pub fn first_batch(&mut self, token: RequestToken) -> Batch {
        let packed = batch::pack(&mut self.0);
        let batch = batch::batch(&packed, token);
        packed.into_iter().rev().for_each(|event| self.0.push_front(event));
        batch
    }
}
