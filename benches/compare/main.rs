//! `compare`: measures the product beside its peers, side by side in one go, and writes the report.
//!
//! ```text
//! cargo run --profile dist -p benches --bin compare                 # everything, 20 minutes
//! cargo run --profile dist -p benches --bin compare quick           # everything, shorter and smaller: to see that it works
//! cargo run --profile dist -p benches --bin compare durable hot     # these parts
//! ```

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod bench;
mod latency;
mod report;
mod result;
mod rounds;
mod rules;
mod server;
mod size;
mod store;
mod throughput;

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use clap::{Parser, ValueEnum};
use engine::{Clock, SystemClock};
use tokio::time::Instant;

use bench::Bench;
use report::{Machine, Report};
use result::Part;
use rounds::Effort;
use rules::Asked;
use throughput::Durable;

/// Three rounds of eight seconds.
const WHOLE: Effort =
    Effort { rounds: 3, duration: Duration::from_secs(8), warm_up: Duration::from_millis(1_500), smaller: 1 };
/// Enough to see that it works; what it says is not worth much.
const QUICK: Effort =
    Effort { rounds: 1, duration: Duration::from_secs(2), warm_up: Duration::from_millis(500), smaller: 10 };

/// Measures the product beside its peers, and writes the report.
#[derive(Parser)]
struct Options {
    /// What is measured; nothing named is everything.
    what: Vec<What>,
    /// The folder of the report, and of the stores while they are measured.
    #[arg(long, default_value = "target/compare")]
    output: PathBuf,
    /// Take the programs as they are.
    #[arg(long)]
    no_build: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum What {
    /// Shorter and smaller.
    Quick,
    /// Whether all keep the same rules.
    Rules,
    /// `available` beside the bare handler.
    Available,
    /// `book` with the store in memory, beside the bare handler.
    MemoryBook,
    /// `book` on the DynamoDB-shaped server, beside the bare handler.
    DynamoShaped,
    /// Durable bookings, uniform, beside the peers.
    Durable,
    /// Durable bookings on one doctor, beside the peers.
    Hot,
    /// The p99 at half of the peak.
    HalfPeak,
    /// The p99 of `available` beside bookings.
    BesideBookings,
    /// Many active doctors beside few.
    Growth,
    /// Starting on a store with bookings.
    Start,
    /// The memory of active doctors.
    Memory,
}

impl What {
    fn measure(self, bench: &Bench) -> anyhow::Result<Part> {
        match self {
            Self::Quick => Ok(Part::new("quick")),
            Self::Rules => rules(bench),
            Self::Available => throughput::available(bench),
            Self::MemoryBook => throughput::in_memory(bench),
            Self::DynamoShaped => throughput::dynamo_shaped(bench),
            Self::Durable => throughput::durable(bench),
            Self::Hot => throughput::hot(bench),
            Self::HalfPeak => latency::half_peak(bench),
            Self::BesideBookings => latency::beside_bookings(bench),
            Self::Growth => size::growth(bench),
            Self::Start => size::start(bench),
            Self::Memory => size::memory(bench),
        }
    }
}

fn main() -> anyhow::Result<()> {
    let Options { what, output, no_build } = Options::parse();
    let effort = if what.contains(&What::Quick) { QUICK } else { WHOLE };
    let mut parts: Vec<What> = what.into_iter().filter(|what| *what != What::Quick).collect();
    if parts.is_empty() {
        parts = What::value_variants().iter().copied().filter(|what| *what != What::Quick).collect();
    }
    if !no_build {
        build()?;
    }
    web::http_client::install_cryptography();
    let begun = Instant::now();
    let mut report = Report {
        begun: SystemClock.now().format("%Y-%m-%d %H:%M UTC").to_string(),
        machine: Machine::this(),
        seconds: 0.0,
        parts: Vec::new(),
    };
    for what in parts {
        println!("{what:?}, after {:.0} s", begun.elapsed().as_secs_f64());
        let bench = Bench::new(effort, &output)?;
        let part = what.measure(&bench).with_context(|| format!("{what:?} could not be measured"))?;
        for row in &part.rows {
            println!("  {}: {} ({})", row.figure.name, row.figure.shown(), row.goal.shown());
        }
        report.parts.push(part);
        report.seconds = begun.elapsed().as_secs_f64();
        // After each part: what was measured is not lost when a later one fails.
        report.write(&output)?;
    }
    println!("\n{}", report.table());
    println!("curves and all figures: {}", output.join("report.html").display());
    Ok(())
}

/// The product as it is shipped, by itself: built together with others it would have their features too.
fn build() -> anyhow::Result<()> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().context("the benches are in a folder")?;
    for what in [["--bin", "kokoro"], ["-p", "benches"]] {
        let built = Command::new("cargo")
            .args(["build", "--profile", "dist"])
            .args(what)
            .current_dir(root)
            .status()?;
        ensure!(built.success(), "it cannot be built");
    }
    Ok(())
}

/// Whether the product and both peers keep the same rules.
fn rules(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("rules");
    let Durable { kokoro, postgres, conditional } = Durable::start(bench, "rules")?;
    for server in [&kokoro, &postgres, &conditional] {
        bench.block_on(Asked::new(&server.url).keeps_the_rules())?;
    }
    part.note("The product and both peers gave the same answers, and five of all who wanted one slot at once got it.");
    Ok(part)
}
