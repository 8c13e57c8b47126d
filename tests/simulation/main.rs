//! A deterministic simulation of the whole engine: nodes that crash, pause and depose each other, a store that refuses,
//! loses and delays, and clients that give up and try again, all from one seed. The auditor looks at what came of it.
//!
//! - `cargo test -p engine --test simulation`: the short run, part of `cargo test`.
//! - `KOKORO_SIMULATION_SECONDS=3600 cargo test -p engine --release --test simulation -- --nocapture`: the long run.
//! - `KOKORO_SIMULATION_SEED=7 cargo test -p engine --test simulation -- --nocapture`: one seed, step by step.

#![expect(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::disallowed_methods,
    clippy::print_stdout,
    unreachable_pub,
    reason = "a test may panic, look at the clock to know when a long run is over, and tell how it went"
)]

mod auditor;
mod cast;
mod clients;
mod dice;
mod faults;
mod history;
mod limit;
mod line;
mod nemesis;
mod peers;
mod report;
mod session;
mod slot;
mod store;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use report::Report;
use session::{Size, run};

const SIZE: Size = Size { commands: 600, quiet: None, traced: false };
/// Seeds of the short run.
const SEEDS: u64 = 300;

#[test]
fn nothing_that_goes_wrong_breaks_a_promise() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("KOKORO_SIMULATION_SEED") {
        return look_closely(seed);
    }
    let first = number("KOKORO_SIMULATION_FIRST").unwrap_or(1);
    let seconds = number("KOKORO_SIMULATION_SECONDS").map(Duration::from_secs);
    let last = number("KOKORO_SIMULATION_SEEDS").unwrap_or(SEEDS) + first;
    let (next, begun) = (AtomicU64::new(first), Instant::now());
    let more = |seed| seconds.map_or(seed < last, |seconds| begun.elapsed() < seconds);
    let work = || {
        let mut report = Report::default();
        loop {
            let seed = next.fetch_add(1, Ordering::Relaxed);
            if !more(seed) {
                return report;
            }
            let outcome = run(seed, SIZE);
            report.add(seed, &outcome, auditor::audit(&outcome));
        }
    };
    let threads = std::thread::available_parallelism().map_or(2, usize::from);
    let report = std::thread::scope(|scope| {
        let workers: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        workers.into_iter().map(|worker| worker.join().unwrap()).reduce(Report::with).unwrap()
    });
    println!("{report}\n{:.0} s, seeds from {first}", begun.elapsed().as_secs_f64());
    if let Some((seed, violations)) = report.bad.first_key_value() {
        panic!(
            "of {:?} the first: {}\nLook closely: KOKORO_SIMULATION_SEED={seed}",
            report.bad.keys(),
            violations[0]
        );
    }
}

#[test]
fn a_seed_is_repeated_step_by_step() {
    let traced = Size { traced: true, ..SIZE };
    for seed in [3, 15, 77] {
        let (once, twice) = (run(seed, traced), run(seed, traced));
        assert!(once.trace.len() > 500, "{}", once.trace.len());
        assert_eq!(once.trace, twice.trace, "seed {seed}");
    }
}

/// Runs one seed and tells all that happened; if something is wrong, with as few commands and faults as still show it.
fn look_closely(seed: u64) {
    let violations = |size: Size| auditor::audit(&run(seed, size));
    let fails = |size: Size| !violations(size).is_empty();
    let mut size = SIZE;
    if fails(size) {
        while size.commands > 10 && fails(Size { commands: size.commands * 3 / 4, ..size }) {
            size.commands = size.commands * 3 / 4;
        }
        size.quiet = faults::FAMILIES.into_iter().find(|family| fails(Size { quiet: Some(*family), ..size }));
    }
    println!("{}", run(seed, Size { traced: true, ..size }).trace.join("\n"));
    let violations = violations(size);
    assert!(violations.is_empty(), "{size:?}: {}", violations.join("\n"));
}
