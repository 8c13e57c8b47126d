//! A read of `available`: look-up of the doctor, and of the date in what it has published.

use std::hint::black_box;
use std::sync::Arc;

use engine::runtime::{Engine, Parts, Placement};
use engine::shard::Ring;
use engine::{DoctorId, ManualClock, Membership, MemoryStore, Rules, SystemChance};
use futures::FutureExt;

use crate::Work;
use crate::calendar::{clinic, date, now};

const DOCTORS: usize = 1_000;

fn doctor(number: usize) -> DoctorId {
    DoctorId::parse(&format!("doctor{number}@clinic.example")).expect("an address")
}

pub(crate) fn available() -> Work {
    let system = actix::System::new();
    let store = MemoryStore::new();
    let engine = system.block_on(async {
        let engine = Engine::start(Parts {
            store: Arc::new(store.clone()),
            fences: Arc::new(store.clone()),
            clock: Arc::new(ManualClock::new(now())),
            chance: Arc::new(SystemChance),
            clinic: clinic(),
            rules: Rules::default(),
            ring: Ring::default(),
            membership: Membership::Solo,
            placement: Placement::threads(1),
        });
        let engine = engine.await.expect("the memory store lets us");
        for number in 0..DOCTORS {
            store.add_doctor(doctor(number));
            engine.router().view(&doctor(number), date()).await.expect("the doctor exists");
        }
        engine
    });
    let (router, date) = (engine.router(), date());
    let doctors: Vec<DoctorId> = (0..DOCTORS).map(doctor).collect();
    let mut turn = 0;
    Box::new(move || {
        // Whoever keeps the threads alive.
        black_box((&system, &engine));
        turn = (turn + 1) % DOCTORS;
        let view = router.view(&doctors[turn], date).now_or_never();
        view.expect("nothing to wait for").expect("the doctor exists");
    })
}
