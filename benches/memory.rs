//! How much memory 100,000 registered doctors take of whom 1,000 are active, each with 16 slots a day, 15 days, and half
//! of the seats taken. Prints the growth of this process's resident memory; the store makes its rows up and keeps none.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::sync::Arc;

use chrono::{Days, NaiveDate, Weekday};
use chrono_tz::Tz;
use engine::calendar::{Booking, DateSpelling, ScheduleRow, SpellingSet};
use engine::runtime::{Engine, Parts, Placement};
use engine::shard::Ring;
use engine::store::{Batch, BookingStore, CommitError, DateRows, LoadError, StoredSeat};
use engine::{
    Clinic, Clock, DoctorId, Membership, MemoryStore, SlotStart, SystemChance, SystemClock, UserId,
};
use futures::FutureExt;
use futures::future::{BoxFuture, ready};

const REGISTERED: usize = 100_000;
const SLOTS: usize = 16;
const DAYS: u64 = 15;

/// Every doctor of the first [`REGISTERED`] exists, and half of all seats are taken.
struct MadeUp;

fn slots() -> impl Iterator<Item = SlotStart> {
    SlotStart::all().skip(18).take(SLOTS)
}

impl BookingStore for MadeUp {
    fn doctor_exists(&self, doctor: &DoctorId) -> BoxFuture<'static, Result<bool, LoadError>> {
        let number = doctor.as_str().trim_start_matches("doctor").split('@').next().map(str::parse::<usize>);
        ready(Ok(matches!(number, Some(Ok(number)) if number < REGISTERED))).boxed()
    }

    fn load_date(
        &self,
        doctor: &DoctorId,
        date: NaiveDate,
    ) -> BoxFuture<'static, Result<DateRows, LoadError>> {
        let seats = slots().enumerate().flat_map(|(index, start)| {
            // Two and three in turn: half of five.
            (0..2 + index % 2).map(move |n| (start, n))
        });
        let seats = seats.map(|(start, n)| StoredSeat {
            booking: Booking {
                user: UserId::parse(&format!("patient{n}.{date}.{}@example.com", doctor.as_str().len()))
                    .expect("an address"),
                date,
                start,
                key: None,
            },
            spellings: SpellingSet::only(DateSpelling::PLAIN),
            event: None,
        });
        ready(Ok(DateRows { seats: seats.collect(), unreadable: Vec::new() })).boxed()
    }

    fn load_weekday(
        &self,
        _: &DoctorId,
        _: Weekday,
    ) -> BoxFuture<'static, Result<Vec<ScheduleRow>, LoadError>> {
        let rows = slots().map(|slot| ScheduleRow::plain(slot.span(), true));
        ready(Ok(rows.collect())).boxed()
    }

    fn commit(&self, _: &Batch) -> BoxFuture<'static, Result<(), CommitError>> {
        ready(Ok(())).boxed()
    }
}

/// Resident memory of this process in KiB (`VmRSS` of proc(5)).
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok()).unwrap_or(0)
}

fn main() {
    actix::System::new().block_on(async {
        let engine = Engine::start(Parts {
            store: Arc::new(MadeUp),
            fences: Arc::new(MemoryStore::new()),
            clock: Arc::new(SystemClock),
            chance: Arc::new(SystemChance),
            clinic: Clinic::new(Tz::Asia__Kolkata),
            ring: Ring::default(),
            membership: Membership::Solo,
            placement: Placement::threads(1, 1),
        })
        .await
        .expect("the memory store lets us");
        let today = Clinic::new(Tz::Asia__Kolkata).today(SystemClock.now());
        let doctors = engine.router();
        let idle = resident();
        println!("registered doctors: {REGISTERED}, in memory: 0, resident: {idle} KiB");
        let mut activated = 0;
        for active in [100, 1_000, 10_000] {
            for number in activated..active {
                let doctor = DoctorId::parse(&format!("doctor{number}@clinic.example")).expect("an address");
                for day in 1..=DAYS {
                    doctors.view(&doctor, today + Days::new(day)).await.expect("the doctor exists");
                }
            }
            activated = active;
            let grown = resident().saturating_sub(idle);
            let seats = active * SLOTS * usize::try_from(DAYS).unwrap_or(0) * 5 / 2;
            println!(
                "active: {active:>6}, bookings: {seats:>8}, grown by {grown:>7} KiB, {} bytes a booking",
                grown * 1024 / u64::try_from(seats).unwrap_or(1)
            );
        }
        engine.stop().await;
    });
}
