//! Why an ask gave no answer.

use crate::calendar::Rejection;

/// What [`crate::Directory`] answers instead of what was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// The rules say no, and that rests on nothing that is not stored.
    #[error("{0}")]
    Rejected(Rejection),
    /// A queue is full; nothing happened, a retry is safe.
    #[error("too busy, a retry is safe")]
    Busy,
    /// The store does not answer, this node does not own the doctor, or it is stopping; nothing happened, a retry is safe.
    #[error("not available, a retry is safe")]
    Unavailable,
    /// The store fell silent in the middle of a commit: it may have happened, and asking again tells.
    #[error("outcome unknown, it may have happened; the request may be repeated")]
    OutcomeUnknown,
}

impl From<Rejection> for EngineError {
    fn from(rejection: Rejection) -> Self {
        Self::Rejected(rejection)
    }
}
