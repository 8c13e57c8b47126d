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
    /// This node does not own the doctor; nothing happened, another one may be asked.
    #[error("not here, another node owns the doctor")]
    NotHere,
    /// The store does not answer, nobody owns the doctor, or this node is stopping; nothing happened, a retry is safe.
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

impl EngineError {
    /// The same where there is no other node to ask.
    pub(crate) fn of_all(self) -> Self {
        match self {
            Self::NotHere => Self::Unavailable,
            Self::Rejected(_) | Self::Busy | Self::Unavailable | Self::OutcomeUnknown => self,
        }
    }
}
