//! What the public may see of a date: how many seats each offered slot has taken, and nothing that is not stored.

use chrono::{DateTime, NaiveDate, Utc};

use super::event::Change;
use super::schedule::{Clinic, DaySchedule};
use super::slot::{SLOTS_PER_DAY, SlotSet, SlotStart};
use crate::limits::SEATS_PER_SLOT;

/// One date's offered slots and taken seats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DayView {
    offered: SlotSet,
    booked: [u8; SLOTS_PER_DAY as usize],
}

/// One slot on offer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SlotView {
    /// The slot.
    pub start: SlotStart,
    /// Seats taken; the old platform sold more than there are.
    pub booked: usize,
    /// Whether a seat is left.
    pub available: bool,
}

impl DayView {
    /// A date with these slots on offer and no seat taken.
    pub const fn new(offered: SlotSet) -> Self {
        Self { offered, booked: [0; SLOTS_PER_DAY as usize] }
    }

    /// The slots on offer.
    pub const fn offered(&self) -> SlotSet {
        self.offered
    }

    /// The seats taken of one slot, on offer or not.
    pub const fn booked(&self, start: SlotStart) -> u8 {
        self.booked[start.index()]
    }

    /// One more seat is taken.
    pub const fn add(&mut self, start: SlotStart) {
        self.booked[start.index()] = self.booked[start.index()].saturating_add(1);
    }

    /// Makes a change true of which [`Change::concerns`] the date of this view.
    pub(crate) fn apply(&mut self, change: &Change) {
        match change {
            Change::SeatTaken(booking) => self.add(booking.start),
            Change::SeatFreed { booking, .. } => {
                let booked = &mut self.booked[booking.start.index()];
                *booked = booked.saturating_sub(1);
            }
            Change::HoursSet { rows, .. } => self.offered = DaySchedule::from_rows(rows.clone()).offered(),
        }
    }

    /// What is on offer on `date` and has not begun at `now`, in time order; nothing outside the booking window.
    pub fn slots(
        &self,
        clinic: &Clinic,
        date: NaiveDate,
        now: DateTime<Utc>,
    ) -> impl Iterator<Item = SlotView> {
        let shown = if clinic.in_window(date, now) { self.offered } else { SlotSet::EMPTY };
        let all_ahead = clinic.is_all_ahead(date, now);
        let is_ahead = move |start| clinic.starts_at(date, start).is_some_and(|begin| begin > now);
        shown.iter().filter(move |start| all_ahead || is_ahead(*start)).map(|start| {
            let booked = usize::from(self.booked[start.index()]);
            SlotView { start, booked, available: booked < SEATS_PER_SLOT }
        })
    }
}
