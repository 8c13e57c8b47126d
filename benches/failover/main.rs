//! What a cluster costs and how soon it heals, with real nodes, a steady load and the embedded store in one run:
//!
//! - `failover`: how long after a kill -9 each of the dead node's doctors is served again;
//! - `moves`: how long a doctor is without an answer when a node joins or leaves in good order;
//! - `forwarding`: what it costs to ask the node that does not own the doctor;
//! - `leases`: what an idle cluster asks of DynamoDB.
//!
//! Nodes, store and clients share the cores of one machine, and its loopback: a dead process refuses connections at once
//! there, which a dead machine does not. Whatever the store holds in the end must be what callers were told.
//!
//! `cargo bench --profile dist --bench failover -- 3 failover moves` chooses parts, and how often a node is killed. Set
//! `KOKORO_BENCH_JSON` to a file to have the figures as JSON as well.

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

mod cluster;
mod forwarding;
mod kills;
mod leases;
mod load;
mod moves;
mod report;
#[path = "../support/mod.rs"]
mod support;

use engine::{Chance, SystemChance};
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use kills::{Failover, TIMINGS};

const KILLS: usize = 30;
const PARTS: [&str; 4] = ["failover", "moves", "forwarding", "leases"];
/// Joins and leaves, unless fewer kills are asked for.
const MOVES: usize = 5;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if !arguments.iter().any(|argument| argument == "--bench") {
        println!("This takes a quarter of an hour: cargo bench --profile dist --bench failover");
        return Ok(());
    }
    web::http_client::install_cryptography();
    let kills = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(KILLS);
    let named = |part: &str| arguments.iter().any(|argument| argument == part);
    let all = !PARTS.iter().any(|part| named(part));
    let wanted = |part: &str| all || named(part);
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(run(kills, wanted))
}

async fn run(kills: usize, wanted: impl Fn(&str) -> bool) -> anyhow::Result<()> {
    let (begun, mut figures, mut verdict) = (Instant::now(), Map::new(), Ok(()));
    let seed = || u64::try_from(SystemChance.bits() >> 64).unwrap_or_default();
    say_load()?;
    if wanted("failover") {
        let mut measured = Vec::new();
        for timing in &TIMINGS {
            measured.push(kills::measure(timing, kills, seed()).await?);
        }
        Failover::print_heading();
        measured.iter().for_each(Failover::print);
        measured.iter().for_each(Failover::print_answers);
        figures.insert("failover".to_owned(), measured.iter().map(Failover::json).collect());
        say_load()?;
    }
    if wanted("moves") {
        let measured = moves::measure(kills.min(MOVES), seed()).await?;
        measured.print();
        verdict = measured.judge();
        figures.insert("moves".to_owned(), measured.json());
        say_load()?;
    }
    if wanted("forwarding") {
        let measured = forwarding::measure().await?;
        measured.print();
        figures.insert("forwarding".to_owned(), measured.json());
        say_load()?;
    }
    if wanted("leases") {
        let measured = leases::measure().await?;
        measured.print();
        figures.insert("leases".to_owned(), measured.json());
        say_load()?;
    }
    if let Some(file) = std::env::var_os("KOKORO_BENCH_JSON") {
        figures.insert("seconds".to_owned(), json!(begun.elapsed().as_secs()));
        std::fs::write(file, Value::Object(figures).to_string())?;
    }
    println!("\n{} s in all", begun.elapsed().as_secs());
    verdict
}

/// What else the machine does, this bench included.
fn say_load() -> std::io::Result<()> {
    let cores = std::thread::available_parallelism()?;
    println!("\nload average on {cores} cores: {}", std::fs::read_to_string("/proc/loadavg")?.trim());
    Ok(())
}
