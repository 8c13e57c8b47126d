//! The booking rules that a deployment chooses. The others are constants of [`crate::limits`].

use std::num::NonZeroU16;

use crate::limits::BOOKINGS_PER_DOCTOR;

/// What a deployment chooses about who may book.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Bookings to come that a user may hold with one doctor. `None` turns the rule off.
    pub bookings_per_doctor: Option<NonZeroU16>,
}

impl Default for Rules {
    fn default() -> Self {
        Self { bookings_per_doctor: Some(BOOKINGS_PER_DOCTOR) }
    }
}
