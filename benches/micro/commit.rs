//! What becomes of a queue of bookings of many doctors: the next batch, and the batch as a transaction.

use std::hint::black_box;
use std::sync::Arc;

use engine::calendar::{Booking, Event};
use engine::committer::Staged;
use engine::committer::bench::Queue;
use engine::shard::{FencingEpoch, Ring};
use engine::{DoctorId, EventId, RequestToken, SlotStart};
use persistence::TableNames;
use persistence::bench::actions;

use crate::Work;
use crate::calendar::{date, user};

/// More than a batch has room for.
const WAITING: u32 = 256;

fn queue() -> Queue {
    Queue::of((0..WAITING).map(|number| {
        let doctor = DoctorId::parse(&format!("doctor{number}@clinic.example")).expect("an address");
        let start = SlotStart::all().nth(number as usize % 48).expect("a slot");
        let booking = Booking { user: user(number as usize), date: date(), start, key: None };
        let (range, epoch) = (Ring::default().range_of(&doctor), FencingEpoch::INITIAL);
        Staged {
            doctor,
            range,
            epoch,
            id: EventId::new(number.into()),
            event: Arc::new(Event::booked(booking)),
        }
    }))
}

pub(crate) fn pack() -> Work {
    let mut queue = queue();
    Box::new(move || {
        black_box(queue.first_batch(RequestToken::new(1)));
    })
}

pub(crate) fn plan() -> Work {
    let batch = queue().first_batch(RequestToken::new(1));
    let tables = TableNames::default();
    assert!(actions(&tables, &batch) > 0);
    Box::new(move || {
        black_box(actions(&tables, black_box(&batch)));
    })
}
