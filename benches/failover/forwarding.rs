//! What it costs to ask a node that does not own the doctor, beside asking the one that does.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, ensure};
use futures::future::try_join_all;
use reqwest::Client;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cluster::{Cluster, Store, client, doctors};
use crate::load::{date_in, start_of};
use crate::report::{Spread, progress};
use crate::support::token;

const DOCTORS: usize = 200;
/// Each with one request in flight.
const CLIENTS: usize = 32;
/// Measurements of each, of which the median counts.
const ROUNDS: usize = 3;
const LASTS: Duration = Duration::from_secs(10);
const WARM_UP: Duration = Duration::from_secs(2);
/// What counts a request that is passed on.
const FORWARDED: &str = "kokoro_forwarded_total";
/// Days on which is booked, from tomorrow on.
const DAYS: usize = 14;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A seat, and at once its cancellation.
    Seats,
    /// What is free.
    Looks,
}

/// One run.
struct Run {
    rate: f64,
    p50: f64,
    p99: f64,
    /// What both nodes computed for a request, in microseconds.
    cpu: f64,
}

/// Runs at the owner, and at the other node.
struct Pair {
    shape: Shape,
    owner: Vec<Run>,
    other: Vec<Run>,
}

/// What was measured.
pub(crate) struct Forwarding {
    pairs: [Pair; 2],
}

/// A doctor, with its owner and the other node.
struct Routed {
    doctor: String,
    owner: String,
    other: String,
}

pub(crate) async fn measure() -> anyhow::Result<Forwarding> {
    let store = Store::start().await?;
    let endpoint = store.endpoint();
    let cluster = Cluster::start(store, endpoint, 2, doctors(DOCTORS), &[]).await?;
    let routed = Arc::new(routed(&cluster).await?);
    let mut pairs =
        [Shape::Seats, Shape::Looks].map(|shape| Pair { shape, owner: Vec::new(), other: Vec::new() });
    for pair in &mut pairs {
        for round in 0..=ROUNDS {
            progress(&format!("forwarding, {:?}: round {round} of {ROUNDS}", pair.shape));
            // In turns, now the one first and now the other: a store that gets slower does so for both.
            for at_owner in [round % 2 == 0, round % 2 != 0] {
                let lasts = if round == 0 { WARM_UP } else { LASTS };
                let run = run(&cluster, &routed, pair.shape, at_owner, lasts).await?;
                // Round 0 is the warm-up.
                if round > 0 {
                    if at_owner { pair.owner.push(run) } else { pair.other.push(run) }
                }
            }
        }
    }
    Ok(Forwarding { pairs })
}

/// The doctors, those of either node in turn.
async fn routed(cluster: &Cluster) -> anyhow::Result<Vec<Routed>> {
    let [first, second] = &cluster.nodes[..] else { anyhow::bail!("not two nodes") };
    let (urls, mut routed) = ((first.server.url.clone(), second.server.url.clone()), Vec::new());
    let (ours, theirs) = (cluster.doctors_of(first).await?, cluster.doctors_of(second).await?);
    for (one, two) in ours.into_iter().zip(theirs) {
        routed.push(Routed { doctor: one, owner: urls.0.clone(), other: urls.1.clone() });
        routed.push(Routed { doctor: two, owner: urls.1.clone(), other: urls.0.clone() });
    }
    ensure!(routed.len() > DOCTORS / 2, "one node owns nearly all doctors");
    Ok(routed)
}

async fn run(
    cluster: &Cluster,
    routed: &Arc<Vec<Routed>>,
    shape: Shape,
    at_owner: bool,
    lasts: Duration,
) -> anyhow::Result<Run> {
    let before = Counted::of(cluster).await?;
    let (http, begun) = (client()?, Instant::now());
    let clients = (0..CLIENTS).map(|number| {
        let (http, routed) = (http.clone(), Arc::clone(routed));
        tokio::spawn(async move { ask(number, &http, &routed, shape, at_owner, begun + lasts).await })
    });
    let mut times = Vec::new();
    for taken in try_join_all(clients).await? {
        times.extend(taken?);
    }
    let (seconds, after) = (begun.elapsed().as_secs_f64(), Counted::of(cluster).await?);
    let (requests, forwarded) = (times.len() as f64, after.forwarded - before.forwarded);
    let expected = if at_owner { 0.0 } else { requests };
    ensure!((forwarded - expected).abs() <= requests / 100.0, "{forwarded} of {requests} were passed on");
    let spread = Spread::of(&times);
    let cpu = (after.cpu - before.cpu) * 1e6 / requests;
    Ok(Run { rate: requests / seconds, p50: spread.p50, p99: spread.p99, cpu })
}

/// Asks one after the other until then; gives how long each took, in milliseconds. Anything but a success fails.
async fn ask(
    number: usize,
    http: &Client,
    routed: &[Routed],
    shape: Shape,
    at_owner: bool,
    until: Instant,
) -> anyhow::Result<Vec<f64>> {
    let token = token(&format!("client{number}@example.com"), "user");
    let paths: &[&str] = if shape == Shape::Seats { &["book", "cancel"] } else { &["available"] };
    let dates: Vec<String> = (1..=DAYS as u64).map(date_in).collect();
    let mut times = Vec::new();
    // A slot that nobody else takes.
    let start = start_of(number);
    for turn in 0_usize.. {
        if Instant::now() >= until {
            break;
        }
        let to = &routed[(turn * 7 + number) % routed.len()];
        let (door, date) = (if at_owner { &to.owner } else { &to.other }, &dates[turn % DAYS]);
        let body = match shape {
            Shape::Seats => json!({"doctor_id": to.doctor, "date": date, "start": start}),
            Shape::Looks => json!({"doctor_id": to.doctor, "date": date}),
        };
        for path in paths {
            let begun = Instant::now();
            let request = http.post(format!("{door}/doctorBookings/{path}")).bearer_auth(&token).json(&body);
            let answer = request.send().await?;
            let (status, body) = (answer.status(), answer.bytes().await?);
            times.push(begun.elapsed().as_secs_f64() * 1000.0);
            ensure!(status.is_success(), "{path}: {status} {}", String::from_utf8_lossy(&body));
        }
    }
    Ok(times)
}

/// What the nodes have counted so far.
struct Counted {
    forwarded: f64,
    /// Seconds.
    cpu: f64,
}

impl Counted {
    async fn of(cluster: &Cluster) -> anyhow::Result<Self> {
        let mut counted = Self { forwarded: 0.0, cpu: 0.0 };
        for node in &cluster.nodes {
            counted.forwarded += cluster.counter(node, FORWARDED).await?;
            counted.cpu += cpu_seconds(&node.server.proc("stat")?).context("no times of the process")?;
        }
        Ok(counted)
    }
}

/// `utime` and `stime` of proc(5), in hundredths.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let fields: Vec<&str> = stat.rsplit(')').next()?.split_whitespace().collect();
    Some((fields.get(11)?.parse::<f64>().ok()? + fields.get(12)?.parse::<f64>().ok()?) / 100.0)
}

impl Pair {
    const fn name(&self) -> &'static str {
        match self.shape {
            Shape::Seats => "book and cancel",
            Shape::Looks => "available",
        }
    }

    /// The other node's figure for the owner's, of each round.
    fn ratios(&self, of: impl Fn(&Run) -> f64) -> Spread {
        let ratio = |(owner, other): (&Run, &Run)| of(other) / of(owner);
        Spread::of(&self.owner.iter().zip(&self.other).map(ratio).collect::<Vec<_>>())
    }
}

fn spread(runs: &[Run], of: impl Fn(&Run) -> f64) -> Spread {
    Spread::of(&runs.iter().map(of).collect::<Vec<_>>())
}

/// What is told of runs: its name, its decimals, and how it is had.
type Figure = (&'static str, usize, fn(&Run) -> f64);

const FIGURES: [Figure; 4] = [
    ("requests/s", 0, |run| run.rate),
    ("p50 ms", 2, |run| run.p50),
    ("p99 ms", 2, |run| run.p99),
    ("CPU of both nodes, µs a request", 0, |run| run.cpu),
];

impl Forwarding {
    pub(crate) fn print(&self) {
        println!("\n## 2 nodes, {CLIENTS} clients in a closed loop, {} s, {ROUNDS} rounds", LASTS.as_secs());
        println!("Median (lowest to highest); the ratios are of runs that followed each other.");
        println!(
            "| asked | figure | at the owner | at the other node | other for owner |\n|---|---|---|---|---|"
        );
        for pair in &self.pairs {
            for (figure, digits, of) in FIGURES {
                println!(
                    "| {} | {figure} | {} | {} | {} |",
                    pair.name(),
                    spread(&pair.owner, of).short(digits),
                    spread(&pair.other, of).short(digits),
                    pair.ratios(of).short(2),
                );
            }
        }
    }

    pub(crate) fn json(&self) -> Value {
        let figures = self.pairs.iter().flat_map(|pair| {
            FIGURES.map(|(figure, _, of)| {
                json!({
                    "asked": pair.name(), "figure": figure, "owner": spread(&pair.owner, of).json(),
                    "other": spread(&pair.other, of).json(), "ratio": pair.ratios(of).json(),
                })
            })
        });
        json!(figures.collect::<Vec<_>>())
    }
}
