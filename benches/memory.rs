//! What active doctors cost: of 100,000 registered ones 100, 1,000 and 10,000 are in memory, each with 16 slots a day, 15
//! days, and half of the seats taken by a million users. First memory: how far this process has grown beyond the idle
//! engine. Then speed: bookings and cancellations of 10,000 active doctors beside those of 100, by turns in one run.
//!
//! The store makes its rows up when they are loaded and keeps none, so that what grows is the engine.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::sync::Arc;

use chrono::{Days, NaiveDate};
use engine::calendar::{Booking, DateSpelling, Part, ScheduleRow, SpellingSet, StoredPart};
use engine::runtime::{Engine, Parts, Placement};
use engine::shard::Ring;
use engine::store::{Batch, BookingStore, CommitError, DateRows, LoadError, StoredSeat};
use engine::{
    Clinic, Clock, Command, DoctorId, IdempotencyKey, Membership, MemoryStore, Router, Rules, SlotStart,
    SystemChance, SystemClock, UserId,
};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all, ready};
use tokio::time::Instant;

const REGISTERED: usize = 100_000;
const USERS: usize = 1_000_000;
const SLOTS: usize = 16;
const DAYS: usize = 15;
/// Seats taken of a pair of slots: two and three, half of five each.
const PAIR: usize = 5;
const SEATS_A_DAY: usize = SLOTS / 2 * PAIR;
/// One booking in so many came with an idempotency key, of the length of a UUID.
const KEYED: usize = 10;

const FEW: usize = 100;
const MANY: usize = 10_000;
const CLIENTS: usize = 256;
/// Bookings of each client in a turn, each given back.
const BOOKINGS: usize = 100;
const TURNS: usize = 15;

/// Every doctor of the first [`REGISTERED`] exists.
struct MadeUp;

fn clinic() -> Clinic {
    Clinic::compiled_in("Asia/Kolkata").expect("a zone that is compiled in")
}

fn date(day: usize) -> NaiveDate {
    clinic().today(SystemClock.now()) + Days::new(1 + u64::try_from(day).unwrap_or(0))
}

fn slots() -> impl Iterator<Item = SlotStart> {
    SlotStart::all().skip(18).take(SLOTS)
}

fn doctor(number: usize) -> DoctorId {
    DoctorId::parse(&format!("doctor{number}@clinic.example")).expect("an address")
}

fn number_of(doctor: &DoctorId) -> Option<usize> {
    doctor.as_str().strip_prefix("doctor")?.split('@').next()?.parse().ok()
}

/// One of a million, for every million seats in a row once each, in no order.
fn user(seat: usize) -> UserId {
    const NAMES: [&str; 8] = ["ada", "bob", "chandra", "devi", "esha", "farid", "gauri", "hari"];
    let number = seat * 611_953 % USERS;
    UserId::parse(&format!("{}{number}@example.com", NAMES[number % NAMES.len()])).expect("an address")
}

/// The seats taken on a date, counted from the first one of all doctors.
fn taken(doctor: usize, date: NaiveDate) -> impl Iterator<Item = Booking> {
    let day = usize::try_from(chrono::Datelike::num_days_from_ce(&date)).unwrap_or(0) % DAYS;
    let first = (doctor * DAYS + day) * SEATS_A_DAY;
    let starts = slots().enumerate().flat_map(|(slot, start)| vec![start; 2 + slot % 2]);
    starts.enumerate().map(move |(n, start)| {
        let seat = first + n;
        let key = seat
            .is_multiple_of(KEYED)
            .then(|| IdempotencyKey::parse(&format!("{seat:036x}")).expect("a key"));
        Booking { user: user(seat), date, start, key }
    })
}

impl BookingStore for MadeUp {
    fn doctor_exists(&self, doctor: &DoctorId) -> BoxFuture<'static, Result<bool, LoadError>> {
        ready(Ok(number_of(doctor).is_some_and(|number| number < REGISTERED))).boxed()
    }

    fn load(
        &self,
        doctor: &DoctorId,
        parts: &[Part],
    ) -> BoxFuture<'static, Result<Vec<StoredPart>, LoadError>> {
        let part = |part: &Part| match *part {
            Part::Date(date) => {
                let bookings = number_of(doctor).into_iter().flat_map(|number| taken(number, date));
                let spellings = SpellingSet::only(DateSpelling::PLAIN);
                let seats = bookings.map(|booking| StoredSeat { booking, spellings, event: None });
                StoredPart::Date(date, DateRows { seats: seats.collect(), unreadable: Vec::new() })
            }
            Part::Hours(weekday) => {
                let rows = slots().map(|slot| ScheduleRow::plain(slot.span(), true));
                StoredPart::Hours(weekday, rows.collect())
            }
        };
        ready(Ok(parts.iter().map(part).collect())).boxed()
    }

    fn commit(&self, _: &Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        ready(Ok(())).boxed()
    }
}

async fn start() -> Engine {
    Engine::start(Parts {
        store: Arc::new(MadeUp),
        fences: Arc::new(MemoryStore::new()),
        clock: Arc::new(SystemClock),
        chance: Arc::new(SystemChance),
        clinic: clinic(),
        rules: Rules::default(),
        ring: Ring::default(),
        membership: Membership::Solo,
        placement: Placement::threads(1),
    })
    .await
    .expect("the memory store lets us")
}

/// Resident memory of this process in KiB (`VmRSS` of proc(5)).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

/// Brings every date of these doctors into memory, as whoever looks at them would.
async fn activate(doctors: &Router, numbers: std::ops::Range<usize>) {
    for number in numbers {
        let doctor = doctor(number);
        for day in 0..DAYS {
            doctors.view(&doctor, date(day)).await.expect("the doctor exists");
        }
    }
}

fn report(what: &str, active: usize, bookings: usize, idle: u64) {
    let grown = resident().saturating_sub(idle);
    let each = grown * 1024 / u64::try_from(bookings).unwrap_or(1);
    println!(
        "{what}: {active} doctors, {bookings} bookings: {:.1} MiB beyond idle, {each} bytes a booking",
        grown as f64 / 1024.0
    );
}

/// Fills memory step by step, and says after each how much it took.
async fn measure_memory(engine: &Engine) {
    let doctors = engine.router();
    let idle = resident();
    println!("{REGISTERED} doctors registered, none in memory: {:.1} MiB", idle as f64 / 1024.0);
    let mut activated = 0;
    for active in [FEW, MANY / 10, MANY] {
        activate(&doctors, activated..active).await;
        activated = active;
        report("loaded", active, active * DAYS * SEATS_A_DAY, idle);
    }
    let names: usize = (0..USERS).map(|seat| user(seat).as_str().len()).sum();
    println!("a user is called by {:.1} bytes", names as f64 / USERS as f64);

    // Whatever is exact when it is loaded must grow for the first booking after that.
    for numbers in (0..MANY).collect::<Vec<_>>().chunks(CLIENTS) {
        join_all(numbers.iter().map(|number| one_more_each_day(&doctors, *number))).await;
    }
    report("and one more booked each day", MANY, MANY * DAYS * (SEATS_A_DAY + 1), idle);
}

async fn one_more_each_day(doctors: &Router, number: usize) {
    for day in 0..DAYS {
        // Two users in turn: one may not hold so many bookings with one doctor.
        let name = ["late", "slow"][day % 2];
        let user = UserId::parse(&format!("{name}{number}@example.com")).expect("an address");
        let start = slots().nth(day).expect("more slots than days");
        let book = Command::Book { user, date: date(day), start, key: None };
        doctors.ask(&doctor(number), book).await.expect("there is a seat");
    }
}

/// One client books seats and gives them back, over doctors and dates of its own choice. Returns how many commands were
/// answered.
async fn client(doctors: Router, active: usize, number: usize) -> usize {
    let user = UserId::parse(&format!("client{number}@example.com")).expect("an address");
    let mut answered = 0;
    for turn in 0..BOOKINGS {
        let choice = (number * BOOKINGS + turn) * 7_919;
        let (doctor, date) = (doctor(choice % active), date(choice % DAYS));
        let start = slots().nth(choice % SLOTS).expect("a slot");
        let book = Command::Book { user: user.clone(), date, start, key: None };
        answered += 1;
        // The slot may be full: then the refusal is the answer.
        if doctors.ask(&doctor, book).await.is_ok() {
            let cancel = Command::Cancel { user: user.clone(), date, start };
            doctors.ask(&doctor, cancel).await.expect("the seat is held");
            answered += 1;
        }
    }
    answered
}

/// What this process has used of the processors, in seconds (`utime` and `stime` of proc(5)).
fn processor_time() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let ticks = after_name.split_whitespace().skip(11).take(2).filter_map(|field| field.parse::<f64>().ok());
    ticks.sum::<f64>() / 100.0
}

/// Commands answered in a second, and in a second of processor time, which other programs disturb less.
async fn throughput(engine: &Engine, active: usize) -> (f64, f64) {
    let (started, used) = (Instant::now(), processor_time());
    let answered = join_all((0..CLIENTS).map(|number| client(engine.router(), active, number))).await;
    let answered = answered.iter().sum::<usize>() as f64;
    (answered / started.elapsed().as_secs_f64(), answered / (processor_time() - used))
}

fn median(mut of: Vec<f64>) -> f64 {
    of.sort_unstable_by(f64::total_cmp);
    of[of.len() / 2]
}

/// Commands a second, and a second of processor time: with few and with many doctors in memory.
type Turn = ((f64, f64), (f64, f64));

async fn measure_growth(many: &Engine) {
    let few = start().await;
    activate(&few.router(), 0..FEW).await;
    let mut turns = Vec::new();
    for _ in 0..TURNS {
        turns.push((throughput(&few, FEW).await, throughput(many, MANY).await));
    }
    let of = |figure: fn(&Turn) -> f64| median(turns.iter().map(figure).collect());
    println!(
        "{FEW} active: {:.0} commands/s, {:.1} µs of processor time each",
        of(|(few, _)| few.0),
        1e6 / of(|(few, _)| few.1)
    );
    println!(
        "{MANY} active: {:.0} commands/s, {:.1} µs of processor time each",
        of(|(_, many)| many.0),
        1e6 / of(|(_, many)| many.1)
    );
    println!(
        "{MANY} beside {FEW}, median of {TURNS} turns: {:.2} by the clock, {:.2} by processor time",
        of(|(few, many)| many.0 / few.0),
        of(|(few, many)| many.1 / few.1)
    );
    few.stop().await;
}

fn main() {
    actix::System::new().block_on(async {
        let engine = start().await;
        measure_memory(&engine).await;
        measure_growth(&engine).await;
        engine.stop().await;
    });
}
