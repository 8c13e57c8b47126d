//! What reads of `available` have shown while patients booked and cancelled, and whether it was true.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::Mutex;

use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::harness::*;
use crate::load::{Asked, Ledger, Told};

const PATH: &str = "/doctorBookings/available";
/// Dates at which readers look: those that patients reach, from tomorrow on.
const DAYS: usize = 3;

/// One answer to the question what a doctor offers on a date.
#[derive(Debug, Clone)]
pub struct Read {
    /// Which of the nodes was asked.
    pub node: usize,
    pub doctor: String,
    /// As it stands in the key of a booking: doctor and date.
    day: String,
    pub asked: Instant,
    pub answered: Instant,
    /// Users in each slot; `None`: it was not answered for now.
    pub booked: Option<BTreeMap<String, usize>>,
}

/// All reads of a test.
#[derive(Default)]
pub struct Reads(Mutex<Vec<Read>>);

impl Reads {
    /// What a read sends.
    pub fn request(doctor: &str, date: &str) -> (&'static str, Value) {
        (PATH, json!({"doctor_id": doctor, "date": date}))
    }

    /// Reads a date, and takes note; gives how many are booked, if it was answered.
    pub async fn look(&self, nodes: &[Node], node: usize, doctor: &str, date: &str) -> Option<usize> {
        let (path, body) = Self::request(doctor, date);
        self.hear(node, doctor, date, nodes[node].post(path, None, &body)).await
    }

    /// Takes note of a read that is asked for in whatever way.
    pub async fn hear(
        &self,
        node: usize,
        doctor: &str,
        date: &str,
        answer: impl Future<Output = (u16, Value)>,
    ) -> Option<usize> {
        let asked = Instant::now();
        let (status, answer) = answer.await;
        let answered = Instant::now();
        let booked = match (status, answer["code"].as_str()) {
            (200, _) => Some(seats(&answer)),
            (503, Some("busy" | "unavailable")) => None,
            _ => panic!("node {node}: {status} {answer}"),
        };
        let sum = booked.as_ref().map(|booked| booked.values().sum());
        let (doctor, day) = (doctor.to_owned(), format!("{doctor}#{date}"));
        self.0.lock().unwrap().push(Read { node, doctor, day, asked, answered, booked });
        sum
    }

    /// Reads one date after another until it is over.
    pub async fn go_on(&self, nodes: &[Node], node: usize, doctors: &[String], over: watch::Receiver<bool>) {
        for turn in 0.. {
            if *over.borrow() {
                return;
            }
            let day = turn / doctors.len() % DAYS;
            self.look(nodes, node, &doctors[turn % doctors.len()], &date_in(1 + day as u64)).await;
        }
    }

    /// How many there are so far.
    pub fn count(&self) -> usize {
        self.0.lock().unwrap().len()
    }

    /// Those that this node was asked about these doctors.
    pub fn of(&self, node: usize, doctors: &[String]) -> Vec<Read> {
        let reads = self.0.lock().unwrap();
        reads.iter().filter(|read| read.node == node && doctors.contains(&read.doctor)).cloned().collect()
    }

    /// Asserts that each read showed what was acknowledged before it was asked, and nothing that nobody had asked for
    /// when it was answered. Nothing may be on its way any more.
    pub fn assert_true(&self, ledger: &Ledger) {
        let mut days = BTreeMap::<String, Day>::new();
        for asked in ledger.asked() {
            days.entry(asked.seat.0.clone()).or_default().take_in(asked);
        }
        let (reads, nobody) = (self.0.lock().unwrap(), Day::default());
        let (mut wrong, mut fresh) = (Vec::new(), 0);
        for read in reads.iter() {
            let Some(booked) = &read.booked else { continue };
            let day = days.get(&read.day).unwrap_or(&nobody);
            for (start, shown) in booked {
                let possible = day.possible(start, read);
                fresh += usize::from(*possible.start() > 0);
                if !possible.contains(shown) {
                    let took = read.answered - read.asked;
                    wrong.push(format!(
                        "node {} showed {shown} of {possible:?} at {start}, {took:?} after it was asked",
                        read.node
                    ));
                }
            }
        }
        let first = &wrong[..wrong.len().min(8)];
        assert!(wrong.is_empty(), "{} false answers in {} reads: {first:#?}", wrong.len(), reads.len());
        assert!(fresh > 20, "hardly a read could have been stale: {fresh} slots in {}", reads.len());
    }
}

/// How many are booked in each slot of an answer.
fn seats(answer: &Value) -> BTreeMap<String, usize> {
    let slots = answer["slots"].as_array().unwrap();
    assert_eq!(slots.len(), 48, "{answer}");
    let seats = slots.iter().map(|slot| {
        let booked = usize::try_from(slot["booked"].as_u64().unwrap()).unwrap();
        (slot["start"].as_str().unwrap().to_owned(), booked)
    });
    seats.collect()
}

/// What was asked about a doctor's date: by slot, and there by user.
#[derive(Default)]
struct Day(BTreeMap<String, BTreeMap<String, Vec<Asked>>>);

impl Day {
    fn take_in(&mut self, asked: Asked) {
        let (start, user) = asked.seat.1.split_once('#').unwrap();
        let users = self.0.entry(start.to_owned()).or_default();
        users.entry(user.to_owned()).or_default().push(asked);
    }

    /// How many a read may show in a slot: at least those whose booking was acknowledged before it was asked and whose
    /// cancellation was not on its way before it was answered; at most those whose booking was on its way before it
    /// was answered and whose cancellation was not acknowledged before it was asked.
    fn possible(&self, start: &str, read: &Read) -> RangeInclusive<usize> {
        let (mut least, mut most) = (0, 0);
        for asked in self.0.get(start).into_iter().flat_map(BTreeMap::values) {
            let done = |books: bool| {
                let mut done =
                    asked.iter().filter(move |asked| asked.books == books && asked.told == Told::Done);
                done.any(|asked| asked.to < read.asked)
            };
            let begun = |books: bool| {
                let mut begun = asked.iter().filter(move |asked| {
                    asked.books == books && matches!(asked.told, Told::Done | Told::Unknown)
                });
                begun.any(|asked| asked.from < read.answered)
            };
            least += usize::from(done(true) && !begun(false));
            most += usize::from(begun(true) && !done(false));
        }
        least..=most
    }
}
