//! What clients asked and what they were told: all that the auditor may know beside the store.

use engine::{EngineError, Rejection};
use tokio::time::Instant;

/// Doctors, users, dates and slots are numbers here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Place {
    pub doctor: usize,
    pub date: usize,
    pub slot: usize,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Request {
    Book {
        place: Place,
        user: usize,
        key: Option<u32>,
    },
    Cancel {
        place: Place,
        user: usize,
    },
    /// For a weekday, which of the slots are offered.
    SetSlots {
        doctor: usize,
        weekday: usize,
        offered: Vec<bool>,
    },
    UpdateSlot {
        doctor: usize,
        weekday: usize,
        slot: usize,
        available: bool,
    },
    Look {
        doctor: usize,
        date: usize,
    },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Told {
    Done,
    Rejected(Rejection),
    /// "Nothing was changed."
    NotDone,
    /// "It may have happened", or the client did not wait.
    Unknown,
    /// Seats taken in each slot; `None` for a slot that is not shown.
    Seen(Vec<Option<usize>>),
}

/// One call. Times are places in the order of everything that clients saw.
#[derive(Debug, Clone)]
pub struct Call {
    pub node: usize,
    pub request: Request,
    pub told: Told,
    pub asked: usize,
    pub answered: usize,
    /// When the node had its answer.
    pub decided: Instant,
}

impl Told {
    pub fn of(error: EngineError) -> Self {
        match error {
            EngineError::Rejected(rejection) => Self::Rejected(rejection),
            EngineError::Busy | EngineError::NotHere | EngineError::Unavailable => Self::NotDone,
            EngineError::OutcomeUnknown => Self::Unknown,
        }
    }
}
