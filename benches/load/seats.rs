//! What one thread's patients know of their seats: which are free, which they hold, and of which nobody knows.
//!
//! A doctor's seats are numbered. A thread has every n-th of them for itself, and the users of a slot's five seats are of
//! five kinds, so no two calls ever want one seat, and no user two seats of a slot: whatever is refused, the server
//! refused it without need.

use std::collections::VecDeque;

use engine::limits::SEATS_PER_SLOT;
use rand::RngExt;

use crate::client::Outcome;

/// How far apart in the calendar two bookings in a row are. A prime above any number of seats, so that it visits them all.
const STEP: u64 = 1_000_003;

/// A user's seat at a doctor's, by their numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Seat {
    pub(crate) doctor: u32,
    pub(crate) number: u32,
    pub(crate) user: u32,
}

/// The seats that belong to one thread, at all doctors.
pub(crate) struct Seats {
    share: Share,
    /// Slots of a doctor, on all dates.
    slots: u32,
    users: u32,
    doctors: Vec<AtDoctor>,
    unknown: Vec<Seat>,
}

/// Every `of`-th seat, from the `nth` on.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Share {
    pub(crate) nth: u32,
    pub(crate) of: u32,
}

#[derive(Clone, Default)]
struct AtDoctor {
    /// How many seats were taken for the first time.
    begun: u32,
    /// Given back, the longest ago first.
    freed: VecDeque<u32>,
    /// Seats and users, the oldest first.
    held: VecDeque<(u32, u32)>,
}

impl Seats {
    pub(crate) fn new(share: Share, doctors: usize, slots: u32, users: u32) -> Self {
        Self { share, slots, users, doctors: vec![AtDoctor::default(); doctors], unknown: Vec::new() }
    }

    /// A seat that nobody has and a user for it; `None` when the doctor has none left.
    pub(crate) fn take(&mut self, doctor: u32, rng: &mut impl RngExt) -> Option<Seat> {
        let number = self.fresh(doctor).or_else(|| self.at(doctor).freed.pop_front())?;
        let kinds = SEATS_PER_SLOT as u32;
        let user = rng.random_range(0..self.users / kinds) * kinds + number / self.slots;
        Some(Seat { doctor, number, user })
    }

    /// The seat that is held longest there.
    pub(crate) fn give_back(&mut self, doctor: u32) -> Option<Seat> {
        let (number, user) = self.at(doctor).held.pop_front()?;
        Some(Seat { doctor, number, user })
    }

    /// Takes note of how a booking ended.
    pub(crate) fn booked(&mut self, seat: Seat, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.at(seat.doctor).held.push_back((seat.number, seat.user)),
            Outcome::NotNow => self.at(seat.doctor).freed.push_back(seat.number),
            // Whoever has it, it is not to be had.
            Outcome::Refused => {}
            Outcome::Unknown => self.unknown.push(seat),
        }
    }

    /// Takes note of how a cancellation ended. One that is refused leaves the seat held, which the check will ask about.
    pub(crate) fn cancelled(&mut self, seat: Seat, outcome: Outcome) {
        match outcome {
            Outcome::Done => self.at(seat.doctor).freed.push_back(seat.number),
            Outcome::NotNow | Outcome::Refused => {
                self.at(seat.doctor).held.push_back((seat.number, seat.user))
            }
            Outcome::Unknown => self.unknown.push(seat),
        }
    }

    /// All that the patients were told they have.
    pub(crate) fn held(&self) -> impl Iterator<Item = Seat> {
        (0_u32..)
            .zip(&self.doctors)
            .flat_map(|(doctor, at)| at.held.iter().map(move |&(number, user)| Seat { doctor, number, user }))
    }

    /// Those of which nobody knows.
    pub(crate) fn unknown(&self) -> &[Seat] {
        &self.unknown
    }

    /// Whether a seat there was ever asked for.
    pub(crate) fn touched(&self, doctor: usize) -> bool {
        self.doctors[doctor].begun > 0
    }

    fn fresh(&mut self, doctor: u32) -> Option<u32> {
        let seats = u64::from(self.slots) * SEATS_PER_SLOT as u64;
        let Share { nth, of } = self.share;
        let at = self.at(doctor);
        let turn = u64::from(nth) + u64::from(at.begun) * u64::from(of);
        if turn >= seats {
            return None;
        }
        at.begun += 1;
        u32::try_from(turn * STEP % seats).ok()
    }

    fn at(&mut self, doctor: u32) -> &mut AtDoctor {
        &mut self.doctors[doctor as usize]
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use rand::SeedableRng;
    use rand::rngs::SmallRng;

    use super::*;

    #[test]
    fn threads_take_every_seat_once_and_no_user_has_two_in_a_slot() {
        let (slots, mut rng) = (14 * 48, SmallRng::seed_from_u64(1));
        let (mut numbers, mut users_of_slots) = (BTreeSet::new(), BTreeSet::new());
        for nth in 0..3 {
            let mut seats = Seats::new(Share { nth, of: 3 }, 1, slots, 13);
            while let Some(seat) = seats.take(0, &mut rng) {
                assert!(numbers.insert(seat.number));
                assert!(users_of_slots.insert((seat.number % slots, seat.user)));
                seats.booked(seat, Outcome::Done);
            }
        }
        assert_eq!(numbers.len(), 14 * 48 * SEATS_PER_SLOT);
    }

    #[test]
    fn a_seat_comes_back_unless_nobody_knows_whose_it_is() {
        let mut rng = SmallRng::seed_from_u64(1);
        let mut seats = Seats::new(Share { nth: 0, of: 1 }, 1, 1, 5);
        let taken: Vec<Seat> = std::iter::from_fn(|| seats.take(0, &mut rng)).collect();
        let outcomes = [Outcome::Done, Outcome::Done, Outcome::NotNow, Outcome::Refused, Outcome::Unknown];
        for (seat, outcome) in taken.iter().zip(outcomes) {
            seats.booked(*seat, outcome);
        }
        assert_eq!(seats.take(0, &mut rng).map(|seat| seat.number), Some(taken[2].number));
        assert_eq!(seats.take(0, &mut rng), None);
        assert_eq!(seats.held().collect::<Vec<_>>(), taken[..2]);
        assert_eq!(seats.unknown(), &taken[4..]);

        let back = seats.give_back(0).unwrap();
        assert_eq!(back, taken[0]);
        seats.cancelled(back, Outcome::Done);
        assert_eq!(seats.take(0, &mut rng).map(|seat| seat.number), Some(back.number));
        // The server says that it knows of no such booking: the patient has not forgotten it.
        let back = seats.give_back(0).unwrap();
        seats.cancelled(back, Outcome::Refused);
        assert_eq!(seats.held().collect::<Vec<_>>(), [taken[1]]);
    }
}
