//! Whether a server holds what it acknowledged, asked over its own API.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, ensure};
use serde::Deserialize;
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use crate::client::{Connection, Wire};
use crate::patients::{Patients, runtime};
use crate::requests::Ask;
use crate::seats::Seat;

/// How long one answer is waited for.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);
/// How often a user is asked about who does not see what it was told: an index may lag.
const ATTEMPTS: usize = 30;
const ATTEMPT_PAUSE: Duration = Duration::from_millis(100);

/// Whom is asked what is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Every patient, by `user`: every seat must be there that it was told it has, and no other.
    Users,
    /// Every slot, by `available`: it must have as many bookings as were acknowledged. For servers without `user`; nobody
    /// else may book there.
    Slots,
}

/// What a check found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Checked {
    /// Bookings that were acknowledged, and not cancelled since.
    pub acknowledged: u64,
    /// Seats of which nobody knows: an answer was lost, or said so.
    pub unknown: u64,
    /// Bookings that were found.
    pub stored: u64,
    /// Acknowledged, and not found.
    pub missing: u64,
    /// Found, and neither acknowledged nor unknown.
    pub strange: u64,
}

/// What is known of one user's seat, or how many of a slot's.
#[derive(Debug, Clone, Copy, Default)]
struct Known {
    held: u64,
    unknown: u64,
    stored: u64,
}

/// By whatever names them.
type Ledger<K> = BTreeMap<K, Known>;

impl Patients {
    /// Asks the server for all bookings and compares them with what it acknowledged; fails when they do not agree.
    pub fn check(&self, check: Check) -> anyhow::Result<Checked> {
        let checked = runtime()?.block_on(async {
            let mut line = Line { patients: self, connection: None };
            match check {
                Check::Users => self.check_users(&mut line).await,
                Check::Slots => self.check_slots(&mut line).await,
            }
        })?;
        ensure!(checked.missing == 0, "acknowledged bookings are not stored: {checked}");
        ensure!(checked.strange == 0, "bookings are stored that no patient here holds: {checked}");
        Ok(checked)
    }

    async fn check_users(&self, line: &mut Line<'_>) -> anyhow::Result<Checked> {
        let mut by_user: BTreeMap<u32, Ledger<Seat3>> = BTreeMap::new();
        for (seat, held) in self.known() {
            let known = by_user.entry(seat.user).or_default().entry(self.seat3(seat)).or_default();
            known.held += u64::from(held);
            known.unknown += u64::from(!held);
        }
        let mut checked = Checked::default();
        for user in 0..u32::try_from(self.site.users)? {
            let known = by_user.remove(&user).unwrap_or_default();
            let mut agreed = Checked::default();
            for _ in 0..ATTEMPTS {
                let mut ledger = known.clone();
                for seat in line.bookings_of(user).await? {
                    ledger.entry(seat).or_default().stored += 1;
                }
                agreed = Checked::of(ledger.values());
                if agreed.missing + agreed.strange == 0 {
                    break;
                }
                sleep(ATTEMPT_PAUSE).await;
            }
            checked.add(agreed);
        }
        Ok(checked)
    }

    async fn check_slots(&self, line: &mut Line<'_>) -> anyhow::Result<Checked> {
        let mut ledger: Ledger<Seat3> = BTreeMap::new();
        for (seat, held) in self.known() {
            let known = ledger.entry(self.seat3(seat)).or_default();
            known.held += u64::from(held);
            known.unknown += u64::from(!held);
        }
        let dates = 0_u32..u32::try_from(self.requests.dates().len())?;
        for (doctor, address) in self.site.doctors.iter().enumerate() {
            if !self.seats.iter().any(|seats| seats.touched(doctor)) {
                continue;
            }
            for (date, text) in dates.clone().zip(self.requests.dates()) {
                for slot in line.slots_of(u32::try_from(doctor)?, date).await? {
                    if slot.booked > 0 {
                        let slot_of = (address.clone(), text.clone(), slot.start);
                        ledger.entry(slot_of).or_default().stored = slot.booked;
                    }
                }
            }
        }
        Ok(Checked::of(ledger.values()))
    }

    /// All seats that are held (true), or of which nobody knows.
    fn known(&self) -> impl Iterator<Item = (Seat, bool)> {
        self.seats.iter().flat_map(|seats| {
            seats.held().map(|seat| (seat, true)).chain(seats.unknown().iter().map(|seat| (*seat, false)))
        })
    }

    fn seat3(&self, seat: Seat) -> Seat3 {
        let (date, start) = self.requests.when(seat);
        (self.site.doctors[seat.doctor as usize].clone(), date.to_owned(), start.to_owned())
    }
}

/// Doctor, date and start.
type Seat3 = (String, String, String);

#[derive(Deserialize)]
struct Bookings {
    bookings: Vec<Booking>,
}

#[derive(Deserialize)]
struct Booking {
    doctor_id: String,
    date: String,
    start: String,
}

#[derive(Deserialize)]
struct Slots {
    slots: Vec<Slot>,
}

#[derive(Deserialize)]
struct Slot {
    start: String,
    booked: u64,
}

/// A connection to ask on, opened again when the server closes it.
struct Line<'a> {
    patients: &'a Patients,
    connection: Option<Connection<TcpStream>>,
}

impl Line<'_> {
    async fn bookings_of(&mut self, user: u32) -> anyhow::Result<Vec<Seat3>> {
        let Bookings { bookings } = serde_json::from_slice(&self.ask(Ask::User(user)).await?)?;
        Ok(bookings.into_iter().map(|booking| (booking.doctor_id, booking.date, booking.start)).collect())
    }

    async fn slots_of(&mut self, doctor: u32, date: u32) -> anyhow::Result<Vec<Slot>> {
        let Slots { slots } = serde_json::from_slice(&self.ask(Ask::Available { doctor, date }).await?)?;
        Ok(slots)
    }

    async fn ask(&mut self, ask: Ask) -> anyhow::Result<Vec<u8>> {
        let (mut body, mut request) = (Vec::new(), Vec::new());
        self.patients.requests.write(ask, &mut body, &mut request);
        let mut connection = match self.connection.take() {
            Some(connection) => connection,
            None => Connection::new(self.patients.wire.connect().await?),
        };
        let asked = timeout(ANSWER_WITHIN, connection.call(&request)).await;
        let reply = asked.context("no answer to the check")??;
        ensure!(reply.status == 200, "the check was answered with {}", reply.answer());
        let (answer, last) = (reply.body.to_vec(), reply.last);
        if !last {
            self.connection = Some(connection);
        }
        Ok(answer)
    }
}

impl Checked {
    fn of<'a>(ledger: impl Iterator<Item = &'a Known>) -> Self {
        let mut checked = Self::default();
        for Known { held, unknown, stored } in ledger {
            checked.add(Self {
                acknowledged: *held,
                unknown: *unknown,
                stored: *stored,
                missing: held.saturating_sub(*stored),
                strange: stored.saturating_sub(held + unknown),
            });
        }
        checked
    }

    const fn add(&mut self, other: Self) {
        self.acknowledged += other.acknowledged;
        self.unknown += other.unknown;
        self.stored += other.stored;
        self.missing += other.missing;
        self.strange += other.strange;
    }
}

impl fmt::Display for Checked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { acknowledged, unknown, stored, missing, strange } = self;
        write!(f, "{acknowledged} bookings acknowledged, {unknown} of unknown outcome, {stored} stored; ")?;
        write!(f, "{missing} missing, {strange} strange")
    }
}
