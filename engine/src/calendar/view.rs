//! What the public may see of a date: how many seats each offered slot has taken, and nothing that is not stored.

use chrono::{DateTime, NaiveDate, Utc};

use super::schedule::Clinic;
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

    /// One seat is free again.
    pub const fn remove(&mut self, start: SlotStart) {
        self.booked[start.index()] = self.booked[start.index()].saturating_sub(1);
    }

    /// Other slots are on offer.
    pub const fn offer(&mut self, offered: SlotSet) {
        self.offered = offered;
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
