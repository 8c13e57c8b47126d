//! Patients who book and cancel at a steady rate, through whichever node takes calls, and what they were told.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use chrono::Days;
use engine::limits::SEATS_PER_SLOT;
use engine::{Chance, Clinic, Clock, SeededChance, SystemClock};
use reqwest::Client;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use crate::cluster::{Store, client};
use crate::support::token;

/// Bookings and cancellations that are begun in a second.
pub(crate) const CALLS_A_SECOND: u32 = 20;
/// Of ten calls, so many book: seats run out, so that some are refused.
const BOOKINGS_OF_TEN: usize = 7;

/// A user's seat in a slot.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Seat {
    pub(crate) doctor: String,
    pub(crate) user: String,
    pub(crate) date: String,
    pub(crate) start: String,
}

/// What the last answer about a seat makes certain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Known {
    Stands,
    Gone,
    /// The answer was lost, or said that nobody knows.
    Nothing,
}

/// How a call ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Told {
    Done,
    /// It is done already: an earlier attempt was stored.
    Already,
    /// The rules say no.
    Rejected,
    /// Not now, nothing was changed: to be tried again.
    Retry,
    /// Nobody knows: the request may be repeated, which will tell.
    Unknown,
    /// No answer.
    Lost,
    /// What no client could make sense of.
    Wrong(String),
}

/// Answers so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Answers {
    pub(crate) done: u64,
    pub(crate) rejected: u64,
    pub(crate) retry: u64,
    pub(crate) unknown: u64,
    pub(crate) lost: u64,
    pub(crate) wrong: u64,
}

/// All patients, and what they know of their seats.
pub(crate) struct Patients {
    http: Client,
    /// The nodes that take calls, as a load balancer knows them.
    doors: Mutex<Vec<String>>,
    seats: Mutex<BTreeMap<Seat, Known>>,
    /// Seats that may be given back.
    held: Mutex<Vec<Seat>>,
    answers: Mutex<Answers>,
    chance: SeededChance,
}

/// A steady load, until it is told to end.
pub(crate) struct Steady {
    stop: watch::Sender<bool>,
    running: tokio::task::JoinHandle<anyhow::Result<()>>,
}

impl Patients {
    pub(crate) fn new(doors: Vec<String>, seed: u64) -> anyhow::Result<Arc<Self>> {
        Ok(Arc::new(Self {
            http: client()?,
            doors: Mutex::new(doors),
            seats: Mutex::default(),
            held: Mutex::default(),
            answers: Mutex::default(),
            chance: SeededChance::new(seed),
        }))
    }

    /// Begins [`CALLS_A_SECOND`], however long each takes.
    pub(crate) fn start(self: &Arc<Self>, doctors: &Arc<Vec<String>>) -> Steady {
        let (stop, mut stopped) = watch::channel(false);
        let (patients, doctors) = (Arc::clone(self), Arc::clone(doctors));
        let running = tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / CALLS_A_SECOND);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            let mut calls = JoinSet::new();
            for turn in 0_u64.. {
                tokio::select! {
                    _ = stopped.wait_for(|stop| *stop) => break,
                    _ = ticks.tick() => {}
                }
                let (patients, doctors) = (Arc::clone(&patients), Arc::clone(&doctors));
                calls.spawn(async move { patients.call_once(&doctors, turn).await });
                while let Some(call) = calls.try_join_next() {
                    call??;
                }
            }
            while let Some(call) = calls.join_next().await {
                call??;
            }
            Ok(())
        });
        Steady { stop, running }
    }

    /// A random doctor, at ten tomorrow: five seats each, so that they run out.
    async fn call_once(&self, doctors: &[String], turn: u64) -> anyhow::Result<()> {
        let door = self.door();
        let held = if self.draw(10) < BOOKINGS_OF_TEN { None } else { self.take_held() };
        if let Some(seat) = held {
            let told = self.cancel(&door, &seat).await?;
            if told == Told::Retry {
                lock(&self.held).push(seat);
            }
            return Ok(());
        }
        let doctor = doctors[self.draw(doctors.len())].clone();
        let (user, start) = (format!("patient{turn}@example.com"), "10:00".to_owned());
        let seat = Seat { doctor, user, date: date_in(1), start };
        if self.book(&door, &seat).await? == Told::Done {
            lock(&self.held).push(seat);
        }
        Ok(())
    }

    /// Takes a seat, and takes note of the answer.
    pub(crate) async fn book(&self, door: &str, seat: &Seat) -> anyhow::Result<Told> {
        let told = self.call(door, "book", Some(seat), &seat.body()).await;
        self.note(seat, &told, Known::Stands)?;
        Ok(told)
    }

    async fn cancel(&self, door: &str, seat: &Seat) -> anyhow::Result<Told> {
        let told = self.call(door, "cancel", Some(seat), &seat.body()).await;
        ensure!(told != Told::Rejected, "a booking that was acknowledged is not found");
        self.note(seat, &told, Known::Gone)?;
        Ok(told)
    }

    /// What is free at a doctor's.
    pub(crate) async fn look(&self, door: &str, doctor: &str, date: &str) -> Told {
        self.call(door, "available", None, &json!({"doctor_id": doctor, "date": date})).await
    }

    async fn call(&self, door: &str, path: &str, seat: Option<&Seat>, body: &Value) -> Told {
        let mut request = self.http.post(format!("{door}/doctorBookings/{path}")).json(body);
        if let Some(seat) = seat {
            request = request.bearer_auth(token(&seat.user, "user"));
        }
        let told = match request.send().await {
            Err(_) => Told::Lost,
            Ok(answer) => {
                let status = answer.status().as_u16();
                answer.bytes().await.map_or(Told::Lost, |body| told(status, &body))
            }
        };
        lock(&self.answers).count(&told);
        told
    }

    fn note(&self, seat: &Seat, told: &Told, done: Known) -> anyhow::Result<()> {
        let mut seats = lock(&self.seats);
        match told {
            Told::Done | Told::Already => _ = seats.insert(seat.clone(), done),
            Told::Unknown | Told::Lost => _ = seats.insert(seat.clone(), Known::Nothing),
            // As it was before: a seat that was never had is gone.
            Told::Rejected | Told::Retry => _ = seats.entry(seat.clone()).or_insert(Known::Gone),
            Told::Wrong(answer) => anyhow::bail!("nobody can make sense of this answer: {answer}"),
        }
        Ok(())
    }

    fn take_held(&self) -> Option<Seat> {
        let mut held = lock(&self.held);
        let among = held.len();
        (among > 0).then(|| held.swap_remove(self.draw(among)))
    }

    /// One of so many, at random.
    pub(crate) fn draw(&self, among: usize) -> usize {
        usize::try_from(self.chance.bits() % among as u128).unwrap_or_default()
    }

    /// A pause of at most so long, at random.
    pub(crate) fn pause(&self, most: Duration) -> Duration {
        self.chance.jitter(most)
    }

    /// Any node that takes calls.
    pub(crate) fn door(&self) -> String {
        let doors = lock(&self.doors);
        doors[self.draw(doors.len())].clone()
    }

    pub(crate) fn open(&self, door: &str) {
        lock(&self.doors).push(door.to_owned());
    }

    pub(crate) fn close(&self, door: &str) {
        lock(&self.doors).retain(|other| other != door);
    }

    pub(crate) fn answers(&self) -> Answers {
        *lock(&self.answers)
    }

    /// Fails unless the store holds what was acknowledged, nothing that was cancelled or refused, and no slot above five.
    pub(crate) async fn check(&self, store: &Store) -> anyhow::Result<Checked> {
        let scan = store.dynamo.client().scan().table_name(&store.dynamo.tables().bookings);
        let mut pages = scan.consistent_read(true).into_paginator().items().send();
        let (mut stored, mut slots) = (std::collections::BTreeSet::new(), BTreeMap::<_, usize>::new());
        while let Some(row) = pages.next().await {
            let row = row?;
            let text = |name: &str| {
                let text = row.get(name).and_then(|value| value.as_s().ok());
                text.cloned().context("a booking without its attributes")
            };
            let seat = Seat {
                doctor: text("doctor_id")?,
                user: text("user_id")?,
                date: text("date")?,
                start: text("start")?,
            };
            let slot = (seat.doctor.clone(), seat.date.clone(), seat.start.clone());
            *slots.entry(slot).or_default() += 1;
            stored.insert(seat);
        }
        let seats = lock(&self.seats);
        let of = |known: Known| seats.iter().filter(move |(_, this)| **this == known).map(|(seat, _)| seat);
        let missing = of(Known::Stands).filter(|seat| !stored.contains(seat)).count();
        let back = of(Known::Gone).filter(|seat| stored.contains(seat)).count();
        let strange = stored.iter().filter(|seat| !seats.contains_key(seat)).count();
        let fullest = slots.into_values().max().unwrap_or_default();
        ensure!(missing == 0, "{missing} acknowledged bookings are not stored");
        ensure!(back == 0, "{back} bookings are stored that were refused or cancelled");
        ensure!(strange == 0, "{strange} bookings are stored that nobody asked for");
        ensure!(fullest <= SEATS_PER_SLOT, "a slot holds {fullest}");
        Ok(Checked { stands: of(Known::Stands).count(), unknown: of(Known::Nothing).count(), fullest })
    }
}

/// What was found in the store, all as it was acknowledged.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Checked {
    pub(crate) stands: usize,
    pub(crate) unknown: usize,
    pub(crate) fullest: usize,
}

impl Steady {
    /// Begins no more calls, and waits for those under way.
    pub(crate) async fn end(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        self.running.await?
    }
}

impl Seat {
    fn body(&self) -> Value {
        json!({"doctor_id": self.doctor, "date": self.date, "start": self.start})
    }
}

impl Answers {
    const fn count(&mut self, told: &Told) {
        match told {
            Told::Done | Told::Already => self.done += 1,
            Told::Rejected => self.rejected += 1,
            Told::Retry => self.retry += 1,
            Told::Unknown => self.unknown += 1,
            Told::Lost => self.lost += 1,
            Told::Wrong(_) => self.wrong += 1,
        }
    }

    /// Those since then.
    pub(crate) const fn since(self, before: Self) -> Self {
        Self {
            done: self.done - before.done,
            rejected: self.rejected - before.rejected,
            retry: self.retry - before.retry,
            unknown: self.unknown - before.unknown,
            lost: self.lost - before.lost,
            wrong: self.wrong - before.wrong,
        }
    }

    pub(crate) fn json(self) -> Value {
        let Self { done, rejected, retry, unknown, lost, wrong } = self;
        json!({"done": done, "rejected": rejected, "retry": retry, "unknown": unknown, "lost": lost, "wrong": wrong})
    }
}

impl fmt::Display for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { done, rejected, retry, unknown, lost, wrong } = self;
        write!(f, "{done} done, {rejected} refused by the rules, {retry} to be tried again, ")?;
        write!(f, "{unknown} of unknown outcome, {lost} without an answer, {wrong} wrong")
    }
}

fn told(status: u16, body: &[u8]) -> Told {
    if status == 200 {
        return Told::Done;
    }
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    match (status, answer["code"].as_str()) {
        (409, Some("already_booked")) => Told::Already,
        (409, Some("slot_full")) | (404, Some("booking_not_found")) => Told::Rejected,
        (503, Some("busy" | "unavailable" | "shutting_down")) => Told::Retry,
        (503, Some("outcome_unknown")) => Told::Unknown,
        (_, code) => Told::Wrong(format!("{status} {code:?}")),
    }
}

/// The clinic's date, `days` from today. Tomorrow and the 13 days after it stay in the window beyond midnight.
pub(crate) fn date_in(days: u64) -> String {
    let clinic = Clinic::compiled_in("Asia/Kolkata").expect("a zone that is compiled in");
    (clinic.today(SystemClock.now()) + Days::new(days)).to_string()
}

/// The start of a slot, by its number in the day.
pub(crate) fn start_of(slot: usize) -> String {
    format!("{:02}:{:02}", slot / 2, slot % 2 * 30)
}

fn lock<T>(shared: &Mutex<T>) -> MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}
