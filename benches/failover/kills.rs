//! A node is killed: how long until each of its doctors is served again, through another node.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use futures::future::try_join_all;
use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};

use crate::cluster::{Cluster, LOOK, PATIENCE, Store, doctors};
use crate::load::{Answers, Checked, Patients, Seat, Told, date_in, start_of};
use crate::report::{Spread, progress};

const NODES: usize = 3;
const DOCTORS: usize = 200;
/// Slots of a day: every kill has one of its own, which the load leaves alone.
const SLOTS: usize = 48;

/// How soon a dead node is noticed.
pub(crate) struct Timing {
    pub(crate) name: &'static str,
    pub(crate) heartbeat: Duration,
    pub(crate) settings: &'static [(&'static str, &'static str)],
}

pub(crate) const TIMINGS: [Timing; 2] = [
    Timing {
        name: "default: heartbeat 1 s, lease 3 s",
        heartbeat: Duration::from_secs(1),
        settings: &[("KOKORO_HEARTBEAT_MS", "1000"), ("KOKORO_LEASE_MS", "3000")],
    },
    Timing {
        name: "tuned: heartbeat 250 ms, lease 1 s",
        heartbeat: Duration::from_millis(250),
        settings: &[("KOKORO_HEARTBEAT_MS", "250"), ("KOKORO_LEASE_MS", "1000")],
    },
];

/// What was measured at one timing, in milliseconds after each kill.
pub(crate) struct Failover {
    name: &'static str,
    /// Until the last of the dead node's doctors could be looked at.
    looked: Vec<f64>,
    /// Until the last of them had taken a booking.
    booked: Vec<f64>,
    /// The same for each doctor by itself.
    each: Vec<f64>,
    /// From the start of a new node until the doctors are shared evenly.
    shared: Vec<f64>,
    answers: Answers,
    checked: Checked,
}

/// Kills a random node so many times.
pub(crate) async fn measure(timing: &Timing, kills: usize, seed: u64) -> anyhow::Result<Failover> {
    let store = Store::start().await?;
    let endpoint = store.endpoint();
    let mut cluster = Cluster::start(store, endpoint, NODES, doctors(DOCTORS), timing.settings).await?;
    let doors = cluster.nodes.iter().map(|node| node.server.url.clone()).collect();
    let patients = Patients::new(doors, seed)?;
    let load = patients.start(&cluster.doctors);
    let (mut looked, mut booked, mut each, mut shared) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for kill in 0..kills {
        // At any phase of the heartbeats.
        sleep(timing.heartbeat + patients.pause(timing.heartbeat)).await;
        let served = kill_one(&mut cluster, &patients, kill).await?;
        looked.push(last(&served, |times| times.0)?);
        booked.push(last(&served, |times| times.1)?);
        each.extend(served.iter().map(|times| ms(times.1)));
        let begun = Instant::now();
        let node = cluster.node().await?;
        patients.open(&node.server.url);
        cluster.nodes.push(node);
        cluster.settled().await?;
        shared.push(ms(begun.elapsed()));
        let served = booked.last().copied().unwrap_or_default();
        progress(&format!("{}: kill {} of {kills}: {served:.0} ms", timing.name, kill + 1));
    }
    load.end().await?;
    let checked = patients.check(&cluster.store).await?;
    let answers = patients.answers();
    Ok(Failover { name: timing.name, looked, booked, each, shared, answers, checked })
}

/// Kills one; gives how long after that each of its doctors could be looked at, and had taken a booking.
async fn kill_one(
    cluster: &mut Cluster,
    patients: &Arc<Patients>,
    kill: usize,
) -> anyhow::Result<Vec<(Duration, Duration)>> {
    let victim = cluster.nodes.swap_remove(patients.draw(NODES));
    let its = cluster.doctors_of(&victim).await?;
    ensure!(its.len() > DOCTORS / 10, "a node has {} doctors only", its.len());
    let door = victim.server.url.clone();
    // Dropping it is `kill -9`. Patients go on calling it until it is dead.
    let killed = Instant::now();
    spawn_blocking(move || drop(victim)).await?;
    patients.close(&door);
    let (date, start) = (date_in(2 + (kill / SLOTS) as u64), start_of(kill % SLOTS));
    let served = its.into_iter().enumerate().map(|(n, doctor)| {
        let door = &cluster.nodes[n % cluster.nodes.len()].server.url;
        let user = format!("prober{n}@example.com");
        let seat = Seat { doctor, user, date: date.clone(), start: start.clone() };
        async move { served(patients, door, &seat, killed).await }
    });
    try_join_all(served).await
}

/// Asks, one call at a time and the next one [`LOOK`] after its answer, until the doctor can be looked at and then until it
/// has taken a booking. A call waits at the node for a while for the doctor to be somebody's again.
async fn served(
    patients: &Patients,
    door: &str,
    seat: &Seat,
    killed: Instant,
) -> anyhow::Result<(Duration, Duration)> {
    let until = async |is_look: bool| {
        loop {
            let told = if is_look {
                patients.look(door, &seat.doctor, &seat.date).await
            } else {
                patients.book(door, seat).await?
            };
            match told {
                Told::Done | Told::Already => return Ok(killed.elapsed()),
                Told::Retry | Told::Unknown => sleep(LOOK).await,
                Told::Rejected | Told::Lost | Told::Wrong(_) => bail!("a survivor answers with {told:?}"),
            }
            ensure!(killed.elapsed() < PATIENCE, "a doctor of a dead node is not served again");
        }
    };
    let looked = until(true).await?;
    Ok((looked, until(false).await?))
}

fn last(
    served: &[(Duration, Duration)],
    of: impl Fn(&(Duration, Duration)) -> Duration,
) -> anyhow::Result<f64> {
    Ok(ms(served.iter().map(of).max().context("the dead node had no doctors")?))
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl Failover {
    pub(crate) fn print_heading() {
        println!("\n## A node of {NODES} is killed (kill -9), {DOCTORS} doctors, milliseconds");
        println!("| timing, and what is timed | n | min | p50 | p90 | max |\n|---|---|---|---|---|---|");
    }

    pub(crate) fn print(&self) {
        for (what, times) in self.rows() {
            println!("| {}: {what} | {} |", self.name, Spread::of(times).cells());
        }
    }

    pub(crate) fn print_answers(&self) {
        let Checked { stands, unknown, fullest } = self.checked;
        println!("{}: {}", self.name, self.answers);
        println!(
            "{}: stored as acknowledged: {stands} bookings; {unknown} seats of unknown outcome; fullest slot: {fullest}",
            self.name
        );
    }

    fn rows(&self) -> [(&'static str, &[f64]); 4] {
        [
            ("kill to all its doctors looked at again", &self.looked),
            ("kill to all its doctors booked again", &self.booked),
            ("kill to a doctor of its booked again, each doctor", &self.each),
            ("start of a new node to even shares", &self.shared),
        ]
    }

    pub(crate) fn json(&self) -> Value {
        let rows = self.rows().map(|(what, times)| json!({"what": what, "ms": Spread::of(times).json()}));
        let Checked { stands, unknown, fullest } = self.checked;
        json!({
            "timing": self.name, "rows": rows, "booked_again_ms": self.booked, "answers": self.answers.json(),
            "stored": {"bookings": stands, "unknown": unknown, "fullest_slot": fullest},
        })
    }
}
