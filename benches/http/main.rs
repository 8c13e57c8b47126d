//! What a booking costs over HTTP: durable bookings and `available` of the real binary, beside a bare handler that only
//! parses the same request and answers with the same number of bytes, in one run with `wrk`. At the end the store is
//! opened: it must hold what was acknowledged.
//!
//! Every measurement has all cores, which it shares with `wrk`; the targets take turns, so that a machine that gets
//! slower does so for all. The data lies in the target folder: a store in memory would flush for nothing.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod bare;
mod node;
#[path = "../support/mod.rs"]
mod support;
mod wrk;

use std::path::Path;

use anyhow::{Context, ensure};
use tokio::time::Instant;

use support::Server;
use wrk::{CONNECTIONS, Measured, Script, Shape};

/// Doctors, each of whom offers every half hour.
const DOCTORS: usize = 1_000;
/// Measurements of each target, of which the median counts.
const ROUNDS: usize = 3;
/// How long one takes, in seconds.
const SECONDS: u64 = 10;
/// How long each target is warmed up, in seconds.
const WARM_UP_SECONDS: u64 = 2;
/// What is measured.
struct Target<'a> {
    name: &'static str,
    server: &'a Server,
    path: &'static str,
    shape: Shape,
    /// The bare handler of the same shape; the bare handlers have none.
    beside: Option<usize>,
}

fn main() -> anyhow::Result<()> {
    let mut arguments = std::env::args().skip(1);
    match arguments.next().as_deref() {
        Some(bare::ARGUMENT) => return bare::serve(Path::new(&arguments.next().context("no folder")?)),
        Some("--bench") => {}
        _ => {
            println!("This takes minutes: cargo bench --bench http");
            return Ok(());
        }
    }
    wrk::look_for_it()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let begun = Instant::now();
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR"))?;
    let data = folder.path().join("data");

    runtime.block_on(node::create_doctors(&data))?;
    let kokoro = node::start(&data)?;
    let examples = runtime.block_on(node::publish(&kokoro.url))?;
    let bare = bare::start(folder.path(), &examples)?;
    let script = Script::write(folder.path())?;
    println!("set up in {} s: {DOCTORS} doctors, 48 slots a day", begun.elapsed().as_secs());

    let target = |name, server, path, shape, beside| Target { name, server, path, shape, beside };
    let targets = [
        target("bare: book, token unread", &bare, "/book", Shape::Book, None),
        target("bare: book, token checked", &bare, "/book/checked", Shape::Book, None),
        target("kokoro: book, durable", &kokoro, "/doctorBookings/book", Shape::DurableBook, Some(1)),
        target("bare: available", &bare, "/available", Shape::Available, None),
        target("kokoro: available", &kokoro, "/doctorBookings/available", Shape::Available, Some(3)),
    ];
    let mut measured: Vec<Vec<Measured>> = targets.iter().map(|_| Vec::new()).collect();
    let mut acknowledged = node::EXAMPLE_BOOKINGS;
    for round in 0..=ROUNDS {
        for (target, runs) in targets.iter().zip(&mut measured) {
            // Round 0 is the warm-up.
            let run = script.run(target, round, if round == 0 { WARM_UP_SECONDS } else { SECONDS })?;
            println!("round {round}, {:<26} {run}", target.name);
            if target.shape == Shape::DurableBook {
                acknowledged += run.successes;
            }
            if round > 0 {
                runs.push(run);
            }
        }
    }

    println!("\n{CONNECTIONS} connections, {SECONDS} s, median of {ROUNDS} (lowest to highest)");
    print_table(&targets, &measured);
    kokoro.stop()?;
    let stored = runtime.block_on(node::stored_bookings(&data))?;
    // What each run had in flight when wrk hung up may be stored as well.
    let in_flight = (CONNECTIONS * (ROUNDS + 1)) as u64;
    println!(
        "\nbookings acknowledged: {acknowledged}, stored: {stored}; {} s in all",
        begun.elapsed().as_secs()
    );
    ensure!(stored >= acknowledged, "bookings were acknowledged and are not stored");
    ensure!(stored <= acknowledged + in_flight, "more bookings are stored than were asked for");
    Ok(())
}

fn print_table(targets: &[Target<'_>], measured: &[Vec<Measured>]) {
    println!("| target | requests/s | p50 ms | p99 ms | of bare | server's CPU µs/request |");
    println!("|---|---|---|---|---|---|");
    for (target, runs) in targets.iter().zip(measured) {
        let rate = median(runs, Measured::rate);
        let beside = target.beside.map_or_else(String::new, |bare| {
            format!("{:.1} %", 100.0 * rate / median(&measured[bare], Measured::rate))
        });
        let (lowest, highest) = runs
            .iter()
            .map(Measured::rate)
            .fold((f64::MAX, 0.0), |(low, high), rate| (f64::min(low, rate), f64::max(high, rate)));
        println!(
            "| {} | {rate:.0} ({lowest:.0} to {highest:.0}) | {:.1} | {:.1} | {beside} | {:.0} |",
            target.name,
            median(runs, |run| run.p50_ms),
            median(runs, |run| run.p99_ms),
            median(runs, Measured::cpu_of_a_request),
        );
    }
}

fn median(runs: &[Measured], of: impl Fn(&Measured) -> f64) -> f64 {
    let mut values: Vec<f64> = runs.iter().map(of).collect();
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// Seconds of CPU that a server has used so far: `utime` and `stime` of proc(5), in hundredths.
fn cpu_seconds(server: &Server) -> f64 {
    let stat = server.proc("stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
    fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0
}
