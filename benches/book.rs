//! A booking through directory, actor and committer over the in-memory store: everything but HTTP and the database.
//! One element is one command (a booking or its cancellation), answered.

use std::sync::Arc;
use std::time::Duration;

use chrono::Weekday;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use engine::runtime::{Engine, Parts, Placement};
use engine::shard::Ring;
use engine::{
    Clinic, Clock, Command, DoctorId, Membership, MemoryStore, Router, Rules, SlotStart, SystemChance,
    SystemClock, UserId,
};
use futures::future::join_all;
use tokio::time::Instant;

const DOCTORS: usize = 1_000;
const CLIENTS: usize = 256;
const WEEK: [Weekday; 7] =
    [Weekday::Mon, Weekday::Tue, Weekday::Wed, Weekday::Thu, Weekday::Fri, Weekday::Sat, Weekday::Sun];

fn clinic() -> Clinic {
    Clinic::compiled_in("Asia/Kolkata").expect("a zone that is compiled in")
}

fn doctor(number: usize) -> DoctorId {
    DoctorId::parse(&format!("doctor{number}@clinic.example")).expect("an address")
}

async fn start(store: &MemoryStore) -> Engine {
    Engine::start(Parts {
        store: Arc::new(store.clone()),
        fences: Arc::new(store.clone()),
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

/// One client books a seat and gives it back, over doctors of its own choice.
async fn client(doctors: Router, number: usize, rounds: u64) {
    let user = UserId::parse(&format!("patient{number}@example.com")).expect("an address");
    let start = SlotStart::all().nth(number % 48).expect("a slot");
    let date = clinic().today(SystemClock.now()) + chrono::Days::new(3);
    for round in 0..rounds {
        let turn = usize::try_from(round).unwrap_or(0);
        let doctor = doctor((number * 7 + turn * 13) % DOCTORS);
        let book = Command::Book { user: user.clone(), date, start, key: None };
        // The slot may be full: then nothing is there to be given back, and the refusal is the answer.
        if doctors.ask(&doctor, book).await.is_ok() {
            let cancel = Command::Cancel { user: user.clone(), date, start };
            doctors.ask(&doctor, cancel).await.expect("the seat is held");
        }
    }
}

fn book(c: &mut Criterion) {
    let system = actix::System::new();
    let store = MemoryStore::new();
    let doctors = system.block_on(async {
        let engine = start(&store).await;
        for number in 0..DOCTORS {
            store.add_doctor(doctor(number));
            for weekday in WEEK {
                let set = Command::SetSlots { weekday, offered: SlotStart::all().collect() };
                engine.router().ask(&doctor(number), set).await.expect("stored");
            }
        }
        engine.router()
    });

    let mut group = c.benchmark_group("book");
    group.measurement_time(Duration::from_secs(10)).sample_size(20);
    for clients in [1, CLIENTS] {
        group.throughput(Throughput::Elements(2 * u64::try_from(clients).unwrap_or(1)));
        group.bench_function(format!("{clients} clients, {DOCTORS} doctors, in memory"), |b| {
            b.iter_custom(|rounds| {
                system.block_on(async {
                    let started = Instant::now();
                    let all = (0..clients).map(|number| client(doctors.clone(), number, rounds));
                    join_all(all).await;
                    started.elapsed()
                })
            });
        });
    }
    group.finish();
}

criterion_group!(benches, book);
criterion_main!(benches);
