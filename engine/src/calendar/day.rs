//! One date's seats, kept small: nearly all of a doctor's memory is made of them.

use std::fmt;
use std::ops::Range;

use super::command::Booking;
use super::dates::SpellingSet;
use super::slot::SlotStart;
use crate::ids::{EMAIL_BYTES_MAX, IDEMPOTENCY_KEY_MAX, IdempotencyKey, UserId};
use crate::store::{DateRows, StoredSeat};

/// A date's seats, ordered by slot, then by arrival. What users and keys are called stands in one text, seat after seat:
/// texts of their own would take more memory for where each is than for what it says.
#[derive(Clone, Default)]
pub(super) struct Day {
    seats: Vec<Seat>,
    texts: String,
}

/// A seat, and how much of the text is its own: the user, then the key.
#[derive(Clone, Copy)]
struct Seat {
    start: SlotStart,
    spellings: SpellingSet,
    /// Zero: somebody whose identity cannot be read holds it.
    user_bytes: u8,
    /// Zero: there is no key.
    key_bytes: u8,
}

const _: () = assert!(EMAIL_BYTES_MAX <= u8::MAX as usize);
const _: () = assert!(IDEMPOTENCY_KEY_MAX <= u8::MAX as usize);

/// For how many seats more there is room once a date must grow. For twice as many, as vectors do by themselves, would
/// leave half of all memory empty.
const GROWTH: usize = 8;

/// What is known of a user's seat.
pub(super) struct Held<'a> {
    pub(super) key: Option<&'a str>,
    pub(super) spellings: SpellingSet,
}

impl Day {
    /// A date as stored.
    pub(super) fn load(mut rows: DateRows) -> Self {
        rows.seats.sort_by_key(|seat| seat.booking.start);
        let bytes =
            rows.seats.iter().map(|seat| texts_of(&seat.booking)).map(|(user, key)| user.len() + key.len());
        let mut day = Self {
            seats: Vec::with_capacity(rows.seats.len() + rows.unreadable.len()),
            texts: String::with_capacity(bytes.sum()),
        };
        for StoredSeat { booking, spellings, event: _ } in &rows.seats {
            day.take_in(booking, *spellings);
        }
        for start in rows.unreadable {
            let seat = Seat { start, spellings: SpellingSet::default(), user_bytes: 0, key_bytes: 0 };
            day.seats.insert(day.slot(start).end, seat);
        }
        day
    }

    /// Takes in a seat; a second row of the same user in the same slot is another spelling of the same seat.
    pub(super) fn take_in(&mut self, booking: &Booking, spellings: SpellingSet) {
        if let Some((index, _)) = self.find(&booking.user, booking.start) {
            let held = &mut self.seats[index];
            held.spellings = held.spellings.union(spellings);
            return;
        }
        let index = self.slot(booking.start).end;
        let at = self.text_before(index);
        let (user, key) = texts_of(booking);
        if self.seats.len() == self.seats.capacity() {
            self.seats.reserve_exact(GROWTH);
        }
        if self.texts.capacity() - self.texts.len() < user.len() + key.len() {
            self.texts.reserve_exact((user.len() + key.len()) * GROWTH);
        }
        self.texts.insert_str(at, key);
        self.texts.insert_str(at, user);
        #[expect(clippy::cast_possible_truncation, reason = "checked where the identifiers are parsed")]
        let (user_bytes, key_bytes) = (user.len() as u8, key.len() as u8);
        self.seats.insert(index, Seat { start: booking.start, spellings, user_bytes, key_bytes });
    }

    /// Frees the user's seat in a slot, if there is one.
    pub(super) fn remove(&mut self, user: &UserId, start: SlotStart) {
        if let Some((index, at)) = self.find(user, start) {
            let seat = self.seats.remove(index);
            self.texts.drain(at..at + seat.bytes());
        }
    }

    /// The user's seat in a slot.
    pub(super) fn held_by(&self, user: &UserId, start: SlotStart) -> Option<Held<'_>> {
        let (index, at) = self.find(user, start)?;
        let seat = self.seats[index];
        let key = &self.texts[at..at + seat.bytes()][seat.user_bytes.into()..];
        Some(Held { key: (!key.is_empty()).then_some(key), spellings: seat.spellings })
    }

    /// Seats taken in a slot, those of unreadable rows included.
    pub(super) fn taken(&self, start: SlotStart) -> usize {
        self.slot(start).len()
    }

    /// The slot of each seat.
    pub(super) fn starts(&self) -> impl Iterator<Item = SlotStart> {
        self.seats.iter().map(|seat| seat.start)
    }

    /// The slots in which the user holds a seat.
    pub(super) fn starts_of(&self, user: &UserId) -> impl Iterator<Item = SlotStart> {
        let (user, mut at) = (user.as_str().as_bytes(), 0);
        self.seats.iter().filter_map(move |seat| {
            let text = at..at + usize::from(seat.user_bytes);
            at += seat.bytes();
            // Lengths are compared first: most differ, and then the text is not read.
            (text.len() == user.len() && self.texts.as_bytes()[text] == *user).then_some(seat.start)
        })
    }

    /// The index of the user's seat in a slot, and where its text begins.
    fn find(&self, user: &UserId, start: SlotStart) -> Option<(usize, usize)> {
        let (slot, user) = (self.slot(start), user.as_str().as_bytes());
        let mut at = self.text_before(slot.start);
        for index in slot {
            let seat = self.seats[index];
            if self.texts.as_bytes()[at..at + usize::from(seat.user_bytes)] == *user {
                return Some((index, at));
            }
            at += seat.bytes();
        }
        None
    }

    fn slot(&self, start: SlotStart) -> Range<usize> {
        let from = self.seats.partition_point(|seat| seat.start < start);
        let after = self.seats[from..].iter().take_while(|seat| seat.start == start).count();
        from..from + after
    }

    /// How much text the seats before this one have, counted from the nearer end.
    fn text_before(&self, index: usize) -> usize {
        let (before, after) = self.seats.split_at(index);
        if before.len() < after.len() { bytes_of(before) } else { self.texts.len() - bytes_of(after) }
    }
}

/// Shows no address.
impl fmt::Debug for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Day").field("seats", &self.seats.len()).finish_non_exhaustive()
    }
}

impl Seat {
    fn bytes(self) -> usize {
        usize::from(self.user_bytes) + usize::from(self.key_bytes)
    }
}

/// The text of all these seats. In numbers as large as a seat the compiler adds several at once.
fn bytes_of(seats: &[Seat]) -> usize {
    let bytes = |seat: &Seat| u32::from(seat.user_bytes) + u32::from(seat.key_bytes);
    seats.iter().map(bytes).sum::<u32>() as usize
}

/// What of a booking is text.
fn texts_of(booking: &Booking) -> (&str, &str) {
    (booking.user.as_str(), booking.key.as_ref().map_or("", IdempotencyKey::as_str))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::calendar::DateSpelling;

    const PLAIN: SpellingSet = SpellingSet::only(DateSpelling::PLAIN);

    fn booking(name: &str, slot: usize, key: Option<&str>) -> Booking {
        Booking {
            user: UserId::parse(&format!("{name}@x.com")).unwrap(),
            date: "2026-11-24".parse().unwrap(),
            start: SlotStart::all().nth(slot).unwrap(),
            key: key.map(|key| IdempotencyKey::parse(key).unwrap()),
        }
    }

    /// Slots in no order, addresses and keys of any length up to the longest.
    fn bookings() -> Vec<Booking> {
        let key = "k".repeat(IDEMPOTENCY_KEY_MAX);
        let keys = [None, Some("k"), Some(&key[..])];
        (0..200)
            .map(|n| booking(&"a".repeat(1 + n * 37 % (EMAIL_BYTES_MAX - 6)), n * 7 % 48, keys[n % 3]))
            .collect()
    }

    #[test]
    fn every_seat_is_found_with_its_own_key_until_it_is_free() {
        let (mut day, mut held) = (Day::default(), Vec::new());
        for booking in bookings() {
            day.take_in(&booking, PLAIN);
            held.push(booking);
        }
        while let Some(gone) = held.pop() {
            day.remove(&gone.user, gone.start);
            assert!(day.held_by(&gone.user, gone.start).is_none());
            for booking in &held {
                let seat = day.held_by(&booking.user, booking.start).unwrap();
                assert_eq!(seat.key, booking.key.as_ref().map(IdempotencyKey::as_str));
            }
        }
        assert_eq!((day.seats.len(), day.texts.as_str()), (0, ""));
    }

    #[test]
    fn a_date_has_room_for_what_it_holds_and_a_few_seats_more() {
        let stored = |booking| StoredSeat { booking, spellings: PLAIN, event: None };
        let seats: Vec<StoredSeat> = bookings().into_iter().map(stored).collect();
        let unreadable = SlotStart::all().take(3).collect();
        let mut day = Day::load(DateRows { seats, unreadable });
        assert_eq!(day.seats.len(), 203);
        assert_eq!((day.seats.capacity(), day.texts.capacity()), (day.seats.len(), day.texts.len()));
        for n in 0..GROWTH {
            day.take_in(&booking(&format!("late{n}"), 20, None), PLAIN);
            assert!(day.seats.capacity() <= 203 + GROWTH);
        }
        assert!(day.texts.capacity() - day.texts.len() < GROWTH * "late0@x.com".len());
    }

    #[test]
    fn nobody_who_can_be_named_holds_the_seat_of_an_unreadable_row() {
        let start = SlotStart::all().next().unwrap();
        let mut day = Day::load(DateRows { seats: Vec::new(), unreadable: vec![start, start] });
        day.remove(&booking("ada", 0, None).user, start);
        assert_eq!(day.taken(start), 2);
    }

    #[test]
    fn debug_output_shows_no_address() {
        let mut day = Day::default();
        day.take_in(&booking("ada", 0, Some("k1")), PLAIN);
        assert_eq!(format!("{day:?}"), "Day { seats: 1, .. }");
    }
}
