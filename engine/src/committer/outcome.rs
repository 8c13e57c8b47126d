//! A cancelled transaction: whose fault, and who pays.

use crate::shard::RangeId;
use crate::store::{Batch, Reason, Reasons};

/// What a cancelled request means for the batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Verdict {
    /// An earlier attempt of this very request was applied.
    Committed,
    /// Nothing was written, and nothing of it is under way any more: each event has its own fate.
    Cancelled(Vec<Fate>),
    /// This attempt wrote nothing, but an earlier one went unanswered and may still land: the epochs must be raised
    /// before anybody can say. Events whose range has another owner by now are marked, and can only be unknown.
    MayStillLand {
        /// For each event, whether its range's fence failed.
        fenced: Vec<bool>,
    },
}

/// What a cancelled batch means for one event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Fate {
    /// Its range has another owner.
    Fenced,
    /// Its own condition failed, or it can never be written.
    Refused,
    /// An earlier event of its doctor was refused, and it may rest on that.
    Withdrawn,
    /// Nobody's fault; sent again. `transient`: it was itself in a conflict or throttled, and that counts.
    Again {
        /// See above.
        transient: bool,
    },
}

/// Reads the reasons, action by action. `lost`: an earlier attempt of the same request went unanswered.
pub(super) fn judge(batch: &Batch, ranges: &[RangeId], reasons: &Reasons, lost: bool) -> Verdict {
    if is_our_own_success(batch, reasons) {
        return Verdict::Committed;
    }
    let fence_failed = |range: RangeId| {
        let mut checks = batch.checks.iter().zip(&reasons.checks);
        checks.any(|(check, reason)| check.range == range && is_a_fault(*reason))
    };
    let fenced: Vec<bool> = ranges.iter().map(|range| fence_failed(*range)).collect();
    if lost {
        return Verdict::MayStillLand { fenced };
    }
    let mut fates: Vec<Fate> = Vec::with_capacity(batch.events.len());
    for (index, event) in batch.events.iter().enumerate() {
        let earlier_refused = batch.events[..index].iter().zip(&fates).any(|(earlier, fate)| {
            earlier.doctor == event.doctor && matches!(fate, Fate::Refused | Fate::Withdrawn)
        });
        let reason = reasons.events[index];
        fates.push(if fenced[index] {
            Fate::Fenced
        } else if earlier_refused {
            Fate::Withdrawn
        } else if is_a_fault(reason) {
            Fate::Refused
        } else {
            Fate::Again { transient: reason == Reason::Transient }
        });
    }
    Verdict::Cancelled(fates)
}

const fn is_a_fault(reason: Reason) -> bool {
    match reason {
        Reason::ConditionFailed { .. } | Reason::Invalid => true,
        Reason::Innocent | Reason::Transient => false,
    }
}

/// A put that finds its own event id was written by an earlier attempt, and a transaction is written as a whole. A
/// delete leaves no such trace: its repeat may have found a row gone that somebody else took.
fn is_our_own_success(batch: &Batch, reasons: &Reasons) -> bool {
    batch.events.iter().zip(&reasons.events).any(|(event, reason)| match reason {
        Reason::ConditionFailed { found } => *found == Some(event.id),
        Reason::Innocent | Reason::Transient | Reason::Invalid => false,
    })
}
