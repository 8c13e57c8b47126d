//! A node joins, and another one leaves in good order: how long a doctor is without an answer, and what callers are told.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::cluster::{Cluster, LOOK, Store, client, doctor_of_each_range};
use crate::load::{Answers, Checked, Patients, Told, date_in};
use crate::report::{Spread, progress};

/// Nodes that stay.
const NODES: usize = 2;
/// How long is gone on measuring once the cluster has come to rest, and how long it is left alone.
const REST: Duration = Duration::from_secs(1);
/// How long is measured while nothing happens.
const QUIET: Duration = Duration::from_secs(5);

/// What was measured, by what happened.
pub(crate) struct Moves {
    events: [Events; 3],
    checked: Checked,
}

struct Events {
    name: &'static str,
    /// The longest that any doctor was without an answer, in milliseconds, each time.
    longest: Vec<f64>,
    /// The longest of each doctor, each time.
    each: Vec<f64>,
    /// How long it took until all nodes saw even shares.
    lasted: Vec<f64>,
    answers: Vec<Answers>,
}

/// Somebody who asks for each doctor over and over.
struct Watch {
    gaps: Arc<Vec<Mutex<Gap>>>,
    stop: watch::Sender<bool>,
    running: Vec<JoinHandle<()>>,
}

/// When a doctor's last answer came, and the longest time between two so far.
struct Gap {
    last: Instant,
    longest: Duration,
}

/// So many joins, and as many leaves.
pub(crate) async fn measure(times: usize, seed: u64) -> anyhow::Result<Moves> {
    let store = Store::start().await?;
    let endpoint = store.endpoint();
    let mut cluster = Cluster::start(store, endpoint, NODES, doctor_of_each_range(), &[]).await?;
    let doors = cluster.nodes.iter().map(|node| node.server.url.clone()).collect();
    let patients = Patients::new(doors, seed)?;
    let load = patients.start(&cluster.doctors);
    let watch = Watch::start(&patients, &cluster.doctors);
    let mut events = ["nothing", "a node joins", "a node leaves"].map(Events::new);
    for time in 0..times {
        progress(&format!("joins and leaves: {} of {times}", time + 1));
        sleep(REST).await;
        for (number, events) in events.iter_mut().enumerate() {
            let (before, begun) = (patients.answers(), Instant::now());
            watch.forget();
            match number {
                0 => sleep(QUIET).await,
                1 => join(&mut cluster, &patients).await?,
                _ => leave(&mut cluster, &patients).await?,
            }
            events.lasted.push(ms(begun.elapsed()));
            sleep(REST).await;
            events.take(&watch.gaps(), patients.answers().since(before));
        }
    }
    watch.end().await?;
    load.end().await?;
    let checked = patients.check(&cluster.store).await?;
    Ok(Moves { events, checked })
}

async fn join(cluster: &mut Cluster, patients: &Patients) -> anyhow::Result<()> {
    let node = cluster.node().await?;
    patients.open(&node.server.url);
    cluster.nodes.push(node);
    cluster.settled().await
}

/// Any of them. Calls go to it until it says that it is not ready, as with a load balancer.
async fn leave(cluster: &mut Cluster, patients: &Patients) -> anyhow::Result<()> {
    let leaving = cluster.nodes.swap_remove(patients.draw(cluster.nodes.len()));
    let (door, http) = (leaving.server.url.clone(), client()?);
    let left = spawn_blocking(move || leaving.server.stop());
    let ready = format!("{door}/readyz");
    while http.get(&ready).send().await.is_ok_and(|answer| answer.status().is_success()) {
        sleep(LOOK).await;
    }
    patients.close(&door);
    left.await??;
    cluster.settled().await
}

impl Watch {
    /// Asks for each doctor every [`LOOK`], through any node, and never twice at once.
    fn start(patients: &Arc<Patients>, doctors: &Arc<Vec<String>>) -> Self {
        let now = Instant::now();
        let gap = |_: &String| Mutex::new(Gap { last: now, longest: Duration::ZERO });
        let gaps: Arc<Vec<Mutex<Gap>>> = Arc::new(doctors.iter().map(gap).collect());
        let (stop, stopped) = watch::channel(false);
        let running = doctors.iter().cloned().enumerate().map(|(n, doctor)| {
            let (patients, gaps, stopped) = (Arc::clone(patients), Arc::clone(&gaps), stopped.clone());
            tokio::spawn(async move {
                let (mut ticks, date) = (interval(LOOK), date_in(1));
                ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
                while !*stopped.borrow() {
                    ticks.tick().await;
                    if patients.look(&patients.door(), &doctor, &date).await == Told::Done {
                        gaps[n].lock().unwrap_or_else(PoisonError::into_inner).answered();
                    }
                }
            })
        });
        Self { running: running.collect(), gaps, stop }
    }

    fn forget(&self) {
        for gap in &*self.gaps {
            gap.lock().unwrap_or_else(PoisonError::into_inner).longest = Duration::ZERO;
        }
    }

    /// The longest of each doctor, in milliseconds; also that which still goes on.
    fn gaps(&self) -> Vec<f64> {
        let longest = |gap: &Mutex<Gap>| {
            let gap = gap.lock().unwrap_or_else(PoisonError::into_inner);
            ms(gap.longest.max(gap.last.elapsed()))
        };
        self.gaps.iter().map(longest).collect()
    }

    async fn end(self) -> anyhow::Result<()> {
        self.stop.send_replace(true);
        for watching in self.running {
            watching.await?;
        }
        Ok(())
    }
}

impl Gap {
    fn answered(&mut self) {
        let now = Instant::now();
        self.longest = self.longest.max(now - self.last);
        self.last = now;
    }
}

impl Events {
    const fn new(name: &'static str) -> Self {
        Self { name, longest: Vec::new(), each: Vec::new(), lasted: Vec::new(), answers: Vec::new() }
    }

    fn take(&mut self, gaps: &[f64], answers: Answers) {
        self.longest.push(gaps.iter().copied().fold(0.0, f64::max));
        self.each.extend(gaps);
        self.answers.push(answers);
    }

    fn sum(&self, of: impl Fn(&Answers) -> u64) -> u64 {
        self.answers.iter().map(of).sum()
    }

    /// Answers after which a caller cannot simply try again.
    fn bad(&self) -> u64 {
        self.sum(|answers| answers.unknown + answers.lost + answers.wrong)
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

impl Moves {
    pub(crate) fn print(&self) {
        println!("\n## A node joins {NODES}, one of the then {} leaves (SIGTERM), milliseconds", NODES + 1);
        println!("A doctor of each of the 64 ranges is asked every {} ms.", LOOK.as_millis());
        println!(
            "| event | times | until even shares | longest gap of any doctor: min | p50 | max | \
             longest gap of a doctor: p50 | p99 | calls | to be tried again | otherwise failed |"
        );
        println!("|---|---|---|---|---|---|---|---|---|---|---|");
        for events in &self.events {
            let (longest, each) = (Spread::of(&events.longest), Spread::of(&events.each));
            let calls = events.sum(|answers| answers.done + answers.rejected);
            println!(
                "| {} | {} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {:.0} | {calls} | {} | {} |",
                events.name,
                events.longest.len(),
                Spread::of(&events.lasted).p50,
                longest.min,
                longest.p50,
                longest.max,
                each.p50,
                each.p99,
                events.sum(|answers| answers.retry),
                events.bad(),
            );
        }
        let Checked { stands, unknown, fullest } = self.checked;
        println!(
            "stored as acknowledged: {stands} bookings; {unknown} of unknown outcome; fullest slot: {fullest}"
        );
    }

    /// Fails when somebody was told what does not simply allow another try.
    pub(crate) fn judge(&self) -> anyhow::Result<()> {
        for events in &self.events {
            let sum = |of: fn(&Answers) -> u64| events.sum(of);
            ensure!(
                events.bad() == 0,
                "{}: {} of unknown outcome, {} without an answer, {} wrong",
                events.name,
                sum(|answers| answers.unknown),
                sum(|answers| answers.lost),
                sum(|answers| answers.wrong)
            );
        }
        Ok(())
    }

    pub(crate) fn json(&self) -> Value {
        let events = self.events.iter().map(|events| {
            json!({
                "event": events.name,
                "longest_gap_ms": Spread::of(&events.longest).json(),
                "longest_gap_of_each_doctor_ms": Spread::of(&events.each).json(),
                "until_even_shares_ms": Spread::of(&events.lasted).json(),
                "answers": events.answers.iter().map(|answers| answers.json()).collect::<Vec<_>>(),
            })
        });
        json!(events.collect::<Vec<_>>())
    }
}
