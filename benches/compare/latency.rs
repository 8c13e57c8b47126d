//! How long answers take: at half of the peak, and beside bookings.

use std::thread;

use anyhow::anyhow;
use load::{Call, Mix, Pace, Run};

use crate::bench::{Bench, DOCTORS};
use crate::result::{Figure, Goal, Part};
use crate::rounds::{CLIENTS, Target, bookings, take_turns};

/// Looks a second at what is free, while others book.
const LOOKS: f64 = 1_000.0;
/// Connections for them.
const LOOKERS: usize = 64;

/// The p99 of `book` at half of its own peak, beside PostgreSQL at half of its own; and as many bookings as that is.
pub(crate) fn half_peak(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("half-peak");
    let dates = load::dates_from_tomorrow(chrono_tz::Tz::Asia__Kolkata);
    let (kokoro, postgres) = (bench.durable("half-peak", DOCTORS)?, bench.postgres()?);
    bench.bring_into_memory(&kokoro, DOCTORS, &dates)?;
    let mut targets = [
        Target::new("kokoro", &kokoro, "", DOCTORS)?,
        Target::new("(a) PostgreSQL", &postgres, "", DOCTORS)?,
    ];
    let run = bookings(bench.effort);
    take_turns(&mut targets, bench.effort, &run)?;
    let mut p99 = Vec::new();
    let halves = targets.each_ref().map(|target| {
        let peak = Figure::new(format!("{}: peak", target.name), "a second", target.rates(&[Call::Book]));
        let half = peak.median() / 2.0;
        part.figures.push(peak);
        half
    });
    let peaks = targets.each_ref().map(Target::turns);
    let mut as_many = Target::new("kokoro, as many as (a)", &kokoro, "", DOCTORS)?;
    for round in 1..=bench.effort.rounds {
        println!("  half of the peak, round {round} of {}", bench.effort.rounds);
        for (target, half) in targets.iter_mut().zip(halves) {
            let pace = Pace::Open { rate: half, connections: CLIENTS };
            target.drive(&Run { pace, seed: 100 + round as u64, ..run.clone() })?;
        }
        let pace = Pace::Open { rate: halves[1], connections: CLIENTS };
        as_many.drive(&Run { pace, seed: 200 + round as u64, ..run.clone() })?;
    }
    for (target, peaks) in targets.iter_mut().zip(peaks) {
        target.forget(peaks);
        p99.push(target.latencies(Call::Book, 0.99));
        target.report(&[Call::Book], &mut part);
    }
    let times =
        Figure::times("p99 of book at half of its peak, of peer (a)'s at half of its own", &p99[0], &p99[1]);
    part.row(times, Goal::AtMost(1.0));
    let name = "p99 of book, of peer (a)'s at half of its peak, as many bookings a second";
    part.figures.push(Figure::times(name, &as_many.latencies(Call::Book, 0.99), &p99[1]));
    as_many.report(&[Call::Book], &mut part);
    Ok(part)
}

/// The p99 of `available` while bookings run at their peak, beside its p99 alone.
pub(crate) fn beside_bookings(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("beside-bookings");
    let kokoro = bench.durable("beside-bookings", DOCTORS)?;
    let dates = load::dates_from_tomorrow(chrono_tz::Tz::Asia__Kolkata);
    bench.bring_into_memory(&kokoro, DOCTORS, &dates)?;
    let mut alone = Target::new("available alone", &kokoro, "", DOCTORS)?;
    let mut beside = Target::new("available beside bookings", &kokoro, "", DOCTORS)?;
    let mut booking = Target::new("bookings", &kokoro, "", DOCTORS)?;
    let book = bookings(bench.effort);
    let look = Run {
        mix: Mix { available: 1, ..Mix::NONE },
        pace: Pace::Open { rate: LOOKS, connections: LOOKERS },
        ..book.clone()
    };
    for round in 1..=bench.effort.rounds {
        println!("  round {round} of {}", bench.effort.rounds);
        let (look, book) =
            (Run { seed: round as u64, ..look.clone() }, Run { seed: round as u64, ..book.clone() });
        alone.drive(&look)?;
        thread::scope(|scope| {
            let booked = scope.spawn(|| booking.drive(&book).map(drop));
            beside.drive(&look)?;
            booked.join().map_err(|_| anyhow!("the bookers have died"))?
        })?;
    }
    let of = |target: &Target<'_>| target.latencies(Call::Available, 0.99);
    let name =
        format!("p99 of available ({LOOKS:.0} a second) while bookings run at their peak, of its p99 alone");
    part.row(Figure::times(name, &of(&beside), &of(&alone)), Goal::AtMost(5.0));
    alone.report(&[Call::Available], &mut part);
    beside.report(&[Call::Available], &mut part);
    booking.report(&[Call::Book], &mut part);
    Ok(part)
}
