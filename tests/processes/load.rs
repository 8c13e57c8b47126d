//! Patients who book and cancel without a pause while something happens to a node, and what they were told.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Mutex;
use std::time::Duration;

use futures::future::join_all;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::harness::*;

/// Each with one request on its way.
pub const PATIENTS: usize = 24;
/// Seats that one of them holds at most: beyond that, the oldest is given back.
const HELD: usize = 6;
/// Days from tomorrow on, and the slots of each.
const DAYS: usize = 14;
const SLOTS: usize = 48;
/// What has not come to pass by then never will.
const PATIENCE: Duration = Duration::from_secs(300);

/// The keys under which a booking is stored.
pub type Seat = (String, String);

/// What the last answer about a seat makes certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Stands,
    Gone,
    /// The answer was lost, or said that nobody knows. Nothing is asked about such a seat any more: the request may
    /// still be on its way.
    Nothing,
}

/// How a request ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Told {
    Done,
    /// The rules say no.
    Rejected,
    /// Not now, and nothing was changed.
    Failed,
    Unknown,
}

/// A request about a seat: it was sent after `from`, and its answer was there before `to`.
#[derive(Debug, Clone)]
pub struct Asked {
    pub seat: Seat,
    /// Or cancels.
    pub books: bool,
    pub from: Instant,
    pub to: Instant,
    pub told: Told,
}

/// Answers so far.
#[derive(Debug, Clone, Copy, Default)]
pub struct Answers {
    pub booked: usize,
    pub cancelled: usize,
    pub rejected: usize,
    /// Said to have changed nothing.
    pub failed: usize,
    /// Lost, or said to be unknown.
    pub unknown: usize,
}

impl Answers {
    /// Those that told their callers to try again, or nothing at all.
    pub const fn bad(self) -> usize {
        self.failed + self.unknown
    }
}

/// What all patients of a test were told, whichever node they asked.
#[derive(Default)]
pub struct Ledger {
    seats: Mutex<BTreeMap<Seat, Known>>,
    asked: Mutex<Vec<Asked>>,
    answers: watch::Sender<Answers>,
}

impl Ledger {
    /// Keeps patients busy for as long as something takes. `name` is theirs, and nobody else's.
    pub async fn during<T>(
        &self,
        node: &Node,
        doctors: &[String],
        name: &str,
        happens: impl Future<Output = T>,
    ) -> T {
        let over = watch::Sender::new(false);
        let patients = join_all((0..PATIENTS).map(|n| {
            let over = over.subscribe();
            self.patient(node, doctors, format!("{name}{n}"), over)
        }));
        let happens = async {
            let outcome = tokio::time::timeout(PATIENCE, happens).await;
            over.send_replace(true);
            outcome.unwrap_or_else(|_| panic!("it does not come to pass, after {:?}", self.answers()))
        };
        futures::join!(patients, happens).1
    }

    /// All take the same way through the slots, so that each slot has more takers than seats.
    async fn patient(&self, node: &Node, doctors: &[String], name: String, over: watch::Receiver<bool>) {
        let mut held = VecDeque::new();
        for turn in 0.. {
            let (slot, day, round) = (turn % SLOTS, turn / SLOTS % DAYS, turn / SLOTS / DAYS);
            let seat = (
                doctors[turn % doctors.len()].clone(),
                format!("{name}.{round}@example.com"),
                date_in(1 + day as u64),
                format!("{:02}:{:02}", slot / 2, slot % 2 * 30),
            );
            if *over.borrow() {
                return;
            }
            if self.book(node, &seat.0, &seat.1, &seat.2, &seat.3).await == Told::Done {
                held.push_back(seat);
            }
            if held.len() > HELD
                && let Some(oldest) = held.pop_front()
                && self.cancel(node, &oldest.0, &oldest.1, &oldest.2, &oldest.3).await == Told::Failed
            {
                held.push_back(oldest);
            }
        }
    }

    /// Books one seat, and takes note.
    pub async fn books(&self, node: &Node, doctor: &str, user: &str, date: &str, start: &str) -> bool {
        self.book(node, doctor, user, date, start).await == Told::Done
    }

    async fn book(&self, node: &Node, doctor: &str, user: &str, date: &str, start: &str) -> Told {
        self.booking(keys(doctor, user, date, start), node.book(doctor, user, date, start)).await
    }

    /// Takes note of a booking that is asked for in whatever way.
    pub async fn booking(&self, seat: Seat, answer: impl Future<Output = (u16, Value)>) -> Told {
        let told = self.hear(seat, true, answer).await;
        self.answers.send_modify(|answers| answers.booked += usize::from(told == Told::Done));
        told
    }

    async fn cancel(&self, node: &Node, doctor: &str, user: &str, date: &str, start: &str) -> Told {
        let answer = node.cancel(doctor, user, date, start);
        let told = self.hear(keys(doctor, user, date, start), false, answer).await;
        assert_ne!(told, Told::Rejected, "a booking that was acknowledged is not found");
        self.answers.send_modify(|answers| answers.cancelled += usize::from(told == Told::Done));
        told
    }

    async fn hear(&self, seat: Seat, books: bool, answer: impl Future<Output = (u16, Value)>) -> Told {
        let from = Instant::now();
        let told = told(&answer.await);
        let asked = Asked { seat: seat.clone(), books, from, to: Instant::now(), told };
        self.asked.lock().unwrap().push(asked);
        self.note(seat, told, if books { Known::Stands } else { Known::Gone });
        told
    }

    fn note(&self, seat: Seat, told: Told, done: Known) {
        let mut seats = self.seats.lock().unwrap();
        match told {
            Told::Done => _ = seats.insert(seat, done),
            Told::Unknown => _ = seats.insert(seat, Known::Nothing),
            // As it was before: a seat that was never had is gone.
            Told::Rejected | Told::Failed => _ = seats.entry(seat).or_insert(Known::Gone),
        }
        self.answers.send_modify(|answers| match told {
            Told::Done => {}
            Told::Rejected => answers.rejected += 1,
            Told::Failed => answers.failed += 1,
            Told::Unknown => answers.unknown += 1,
        });
    }

    /// Every request that was answered, or whose answer was lost.
    pub fn asked(&self) -> Vec<Asked> {
        self.asked.lock().unwrap().clone()
    }

    /// The answers so far.
    pub fn answers(&self) -> Answers {
        *self.answers.borrow()
    }

    /// Waits until more has been answered.
    pub async fn until(&self, enough: impl Fn(Answers, Answers) -> bool) {
        let before = self.answers();
        self.answers.subscribe().wait_for(|now| enough(before, *now)).await.unwrap();
    }

    /// Waits until as many bookings more were acknowledged, and a few cancellations: the node serves under load.
    pub async fn goes_on(&self, bookings: usize) {
        self.until(|before, now| {
            now.booked >= before.booked + bookings && now.cancelled >= before.cancelled + bookings / 10
        })
        .await;
    }

    /// Waits until as many requests more ended badly.
    pub async fn suffers(&self, answers: usize) {
        self.until(|before, now| now.bad() >= before.bad() + answers).await;
    }

    /// Asserts that the store holds what was acknowledged, nothing that was refused or cancelled, and no slot above
    /// five.
    pub async fn assert_kept(&self, store: &Store) {
        let stored = store.bookings().await;
        assert_no_slot_above_five(&stored);
        let seats = self.seats.lock().unwrap();
        let wrong: Vec<_> = seats
            .iter()
            .filter(|(seat, known)| match known {
                Known::Stands => !stored.contains(seat),
                Known::Gone => stored.contains(seat),
                Known::Nothing => false,
            })
            .collect();
        assert!(wrong.is_empty(), "told otherwise than stored: {wrong:?}");
        let strange: Vec<_> = stored.iter().filter(|seat| !seats.contains_key(seat)).collect();
        assert!(strange.is_empty(), "nobody asked for it: {strange:?}");
    }
}

/// What an answer means for the seat that it is about.
fn told((status, answer): &(u16, Value)) -> Told {
    match (status, answer["code"].as_str()) {
        (200, _) => Told::Done,
        (409, Some("slot_full")) | (404, Some("booking_not_found")) => Told::Rejected,
        (503, Some("busy" | "unavailable" | "shutting_down")) => Told::Failed,
        (503, Some("outcome_unknown")) | (0, _) => Told::Unknown,
        _ => panic!("{status} {answer}"),
    }
}
