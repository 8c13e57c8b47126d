//! How long answers take: at half of the peak, and beside bookings.

use std::thread;

use anyhow::anyhow;
use load::{Call, Mix, Pace, Run};

use crate::bench::{Bench, DOCTORS, clinic};
use crate::result::{Figure, Goal, Part};
use crate::rounds::{CLIENTS, Target, bookings};

/// Looks a second at what is free, while others book.
const LOOKS: f64 = 1_000.0;
/// Connections for them.
const LOOKERS: usize = 64;

/// The p99 of `book` at half of its own peak, beside PostgreSQL at half of its own; and as many bookings as that is. Each round
/// has its own peaks: a shared machine has minutes in which it does half as much.
pub(crate) fn half_peak(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("half-peak");
    let dates = load::dates_from_tomorrow(&clinic());
    let (kokoro, postgres) = (bench.durable("half-peak", DOCTORS)?, bench.postgres()?);
    bench.bring_into_memory(&kokoro, DOCTORS, &dates)?;
    let target = |name: &str, server| Target::new(name, server, "", DOCTORS);
    let mut targets = [target("kokoro", &kokoro)?, target("(a) PostgreSQL", &postgres)?];
    let mut as_many = target("kokoro, as many as (a)", &kokoro)?;
    let run = bookings(bench.effort);
    for target in &mut targets {
        target.warm_up(bench.effort, &run)?;
    }
    let mut peaks = [Vec::new(), Vec::new()];
    for round in 1..=bench.effort.rounds {
        println!("  round {round} of {}", bench.effort.rounds);
        let run = Run { seed: round as u64, ..run.clone() };
        let mut halves = [0.0; 2];
        for ((target, peaks), half) in targets.iter_mut().zip(&mut peaks).zip(&mut halves) {
            let peak = target.drive_aside(&run)?.rate(Call::Book);
            peaks.push(peak);
            *half = peak / 2.0;
        }
        let at = |rate| Run { pace: Pace::Open { rate, connections: CLIENTS }, ..run.clone() };
        for (target, half) in targets.iter_mut().zip(halves) {
            target.drive(&at(half))?;
        }
        // Other patients, who would ask for the same seats if they drew the same.
        as_many.drive(&Run { seed: 100 + round as u64, ..at(halves[1]) })?;
    }
    for (target, peaks) in targets.iter().zip(peaks) {
        part.figures.push(Figure::new(format!("{}: peak", target.name), "a second", peaks));
        target.report(&[Call::Book], &mut part);
    }
    let [own, postgres] = targets.each_ref().map(|target| target.latencies(Call::Book, 0.99));
    let times =
        Figure::times("p99 of book at half of its peak, of peer (a)'s at half of its own", &own, &postgres);
    part.row(times, Goal::AtMost(1.0));
    let name = "p99 of book, of peer (a)'s at half of its peak, as many bookings a second";
    part.figures.push(Figure::times(name, &as_many.latencies(Call::Book, 0.99), &postgres));
    as_many.report(&[Call::Book], &mut part);
    Ok(part)
}

/// The p99 of `available` while bookings run at their peak, beside its p99 alone.
pub(crate) fn beside_bookings(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("beside-bookings");
    let kokoro = bench.durable("beside-bookings", DOCTORS)?;
    let dates = load::dates_from_tomorrow(&clinic());
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
            let booked = scope.spawn(|| booking.drive(&book));
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
