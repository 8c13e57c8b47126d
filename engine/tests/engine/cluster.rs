//! Several nodes over one store, on paused time: who owns what, who is asked, and what a caller notices when that changes.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{NaiveDate, Weekday};
use engine::runtime::{Engine, Parts, Placement};
use engine::shard::{FencingEpoch, Ring};
use engine::store::{Fences, Nodes};
use engine::{
    Answer, Clinic, Command, DayView, DoctorId, EngineError, ManualClock, Membership, Peers, Router, Rules,
    SeededChance, Timing,
};
use futures::FutureExt;
use futures::future::{BoxFuture, join_all};
use tokio::time::{Instant, sleep, timeout};

use crate::harness::*;

const DAY: &str = "2026-11-24";

/// Who is reached under which address.
#[derive(Clone, Default)]
struct Book(Arc<Mutex<BTreeMap<String, Router>>>);

impl Book {
    fn find(&self, address: &str) -> Option<Router> {
        self.0.lock().unwrap().get(address).cloned()
    }
}

impl Peers for Book {
    fn ask(
        &self,
        address: &str,
        doctor: &DoctorId,
        command: &Command,
        within: Duration,
    ) -> BoxFuture<'static, Result<Answer, EngineError>> {
        let (peer, doctor, command) = (self.find(address), doctor.clone(), command.clone());
        async move { peer.ok_or(EngineError::NotHere)?.ask_here(&doctor, command, within).await }.boxed()
    }

    fn view(
        &self,
        address: &str,
        doctor: &DoctorId,
        date: NaiveDate,
        within: Duration,
    ) -> BoxFuture<'static, Result<DayView, EngineError>> {
        let (peer, doctor) = (self.find(address), doctor.clone());
        async move { peer.ok_or(EngineError::NotHere)?.view_here(&doctor, date, within).await }.boxed()
    }
}

struct Cluster {
    store: FaultyStore,
    book: Book,
}

/// One node, and its line to the store.
struct Node {
    engine: Engine,
    line: FaultyStore,
}

impl Node {
    fn router(&self) -> Router {
        self.engine.router()
    }
}

impl Cluster {
    fn new() -> Self {
        Self { store: FaultyStore::new(), book: Book::default() }
    }

    async fn join(&self, name: &str) -> Node {
        self.join_by(name, self.store.other_line()).await
    }

    async fn join_by(&self, name: &str, line: FaultyStore) -> Node {
        let parts = Parts {
            store: Arc::new(line.clone()),
            fences: Arc::new(line.clone()),
            clock: Arc::new(ManualClock::new(monday_morning())),
            chance: Arc::new(SeededChance::new(name.len() as u64 + u64::from(name.as_bytes()[0]))),
            clinic: Clinic::compiled_in("Asia/Kolkata").unwrap(),
            rules: Rules::default(),
            ring: Ring::default(),
            membership: Membership::Cluster {
                address: name.to_owned(),
                nodes: Arc::new(line.clone()),
                peers: Arc::new(self.book.clone()),
                timing: Timing::default(),
            },
            placement: Placement::here(),
        };
        let engine = Engine::start(parts).await.unwrap();
        self.book.0.lock().unwrap().insert(name.to_owned(), engine.router());
        Node { engine, line }
    }

    /// Nobody reaches it any more, and it does not reach the store.
    fn cut_off(&self, name: &str, node: &Node) {
        node.line.cut();
        self.book.0.lock().unwrap().remove(name);
    }

    /// How many ranges each node says that it owns.
    async fn owned(&self) -> Vec<usize> {
        let mut owned: Vec<usize> =
            self.store.memory.list().await.unwrap().iter().map(|node| node.owns.len()).collect();
        owned.sort_unstable();
        owned
    }

    async fn until_owned(&self, wanted: &[usize]) {
        let begun = Instant::now();
        while self.owned().await != wanted {
            assert!(begun.elapsed() < Duration::from_secs(10), "{:?}", self.owned().await);
            sleep(Duration::from_millis(10)).await;
        }
    }

    /// Doctors of every range that offer a slot.
    async fn doctors(&self, through: &Router) -> Vec<DoctorId> {
        let doctors: Vec<DoctorId> = (0..100).map(|number| doctor(&format!("doctor{number}"))).collect();
        for doctor in &doctors {
            self.store.memory.add_doctor(doctor.clone());
            let command =
                Command::SetSlots { weekday: Weekday::Tue, offered: [slot("10:30")].into_iter().collect() };
            through.ask(doctor, command).await.unwrap();
        }
        doctors
    }
}

async fn book_all(through: &Router, doctors: &[DoctorId], name: &str) -> Vec<Result<Answer, EngineError>> {
    join_all(doctors.iter().map(|doctor| through.ask(doctor, book(name, DAY, "10:30")))).await
}

#[test]
fn nodes_share_the_doctors_fairly_and_each_answers_for_all() {
    on_paused_time(async {
        let cluster = Cluster::new();
        let first = cluster.join("a").await;
        cluster.until_owned(&[64]).await;
        let doctors = cluster.doctors(&first.router()).await;
        let second = cluster.join("b").await;
        cluster.until_owned(&[32, 32]).await;
        let _third = cluster.join("c").await;
        cluster.until_owned(&[21, 21, 22]).await;
        for (name, node) in [("ada", &first), ("bob", &second)] {
            assert!(book_all(&node.router(), &doctors, name).await.iter().all(Result::is_ok));
        }
        // Those of other nodes are passivated in time.
        sleep(Duration::from_secs(6)).await;
        let active = first.router().directory().active();
        assert!(active < 60, "{active} doctors of 100 live here");
    });
}

#[test]
fn a_node_that_leaves_hands_over_and_no_request_fails() {
    on_paused_time(async {
        let cluster = Cluster::new();
        let (first, second) = (cluster.join("a").await, cluster.join("b").await);
        cluster.until_owned(&[32, 32]).await;
        let doctors = cluster.doctors(&first.router()).await;
        let (router, leaving) = (first.router(), second.router());
        let mut longest = Duration::ZERO;
        let mut stop = std::pin::pin!(second.engine.stop());
        let mut left = false;
        for round in 0..12 {
            let begun = Instant::now();
            let name = format!("user{round}");
            let through = if round % 2 == 0 || left { &router } else { &leaving };
            let mut asked = std::pin::pin!(book_all(through, &doctors, &name));
            let answers = loop {
                tokio::select! {
                    biased;
                    answers = &mut asked => break answers,
                    () = &mut stop, if !left => left = true,
                }
            };
            let full = |error: &EngineError| matches!(error, EngineError::Rejected(_));
            let failed: Vec<_> = answers.iter().filter_map(|answer| answer.as_ref().err()).collect();
            assert!(failed.iter().all(|error| full(error)) && (round > 4 || failed.is_empty()), "{failed:?}");
            longest = longest.max(begun.elapsed());
        }
        if !left {
            stop.await;
        }
        cluster.until_owned(&[64]).await;
        assert!(longest < Duration::from_millis(1500), "{longest:?}");
    });
}

#[test]
fn a_dead_nodes_doctors_are_served_by_another_one_as_soon_as_its_lease_is_over() {
    on_paused_time(async {
        let cluster = Cluster::new();
        let first = cluster.join("a").await;
        cluster.until_owned(&[64]).await;
        let doctors = cluster.doctors(&first.router()).await;
        let dead = cluster.join("b").await;
        cluster.until_owned(&[32, 32]).await;
        cluster.cut_off("b", &dead);
        let begun = Instant::now();
        let mut waiting = doctors.clone();
        while !waiting.is_empty() {
            assert!(begun.elapsed() < Duration::from_secs(60), "{waiting:?} are served by nobody");
            let answers = book_all(&first.router(), &waiting, "ada").await;
            waiting = waiting
                .iter()
                .zip(answers)
                .filter(|(_, answer)| answer.is_err())
                .map(|(d, _)| d.clone())
                .collect();
        }
        let took = begun.elapsed();
        assert!((Duration::from_secs(2)..Duration::from_millis(4500)).contains(&took), "{took:?}");
        // The one that was cut off answers nothing any more, from memory neither.
        for doctor in &doctors {
            let seen = dead.router().directory().view(doctor, date(DAY)).await;
            assert!(seen.is_err(), "{seen:?}");
        }
    });
}

#[test]
fn a_command_passed_on_to_a_node_that_has_just_handed_over_is_answered_by_the_next_one_at_once() {
    on_paused_time(async {
        let cluster = Cluster::new();
        let (first, second) = (cluster.join("a").await, cluster.join("b").await);
        cluster.until_owned(&[32, 32]).await;
        let doctors = cluster.doctors(&first.router()).await;
        // While ranges go to the third, its doctors are asked through those who do not yet know.
        let third = cluster.join("c").await;
        for (round, doctor) in doctors.iter().enumerate() {
            let begun = Instant::now();
            let name = format!("user{round}");
            let through = if round % 2 == 0 { &first } else { &second };
            let answer = through.router().ask(doctor, book(&name, DAY, "10:30")).await;
            assert!(
                answer.is_ok() && begun.elapsed() < Duration::from_secs(1),
                "{answer:?}, {:?}",
                begun.elapsed()
            );
        }
        cluster.until_owned(&[21, 21, 22]).await;
        drop(third);
    });
}

/// Renewals are answered late: the owner counts its lease from before it sent them, the others from after they saw them.
#[test]
fn who_is_cut_off_stops_answering_before_anybody_else_begins() {
    on_paused_time(async {
        let cluster = Cluster::new();
        let first = cluster.join("a").await;
        cluster.until_owned(&[64]).await;
        let doctors = cluster.doctors(&first.router()).await;
        first.line.delay_beats(Duration::from_millis(900));
        let _second = cluster.join("b").await;
        cluster.until_owned(&[32, 32]).await;
        sleep(Duration::from_secs(7)).await;
        let mut own = Vec::new();
        for doctor in doctors {
            if first.router().directory().view(&doctor, date(DAY)).await.is_ok() {
                own.push(doctor);
            }
        }
        first.line.cut();
        let (mut last_answer, mut first_claim) = (Instant::now(), None);
        let cut = Instant::now();
        while first_claim.is_none() {
            assert!(cut.elapsed() < Duration::from_secs(60), "the node that was cut off is not buried");
            sleep(Duration::from_millis(5)).await;
            if first.router().directory().view(&own[0], date(DAY)).await.is_ok() {
                last_answer = Instant::now();
            }
            // It is buried before anything is claimed.
            let is_buried = cluster.store.memory.list().await.unwrap().len() == 1;
            first_claim = is_buried.then(Instant::now);
        }
        assert!(
            first_claim.unwrap() > last_answer + Duration::from_millis(250),
            "{last_answer:?}, {first_claim:?}"
        );
    });
}

#[test]
fn who_has_no_lease_any_more_refuses_at_once_though_a_load_is_still_waited_for() {
    on_paused_time(async {
        let cluster = Cluster::new();
        let node = cluster.join("a").await;
        let doctor = &cluster.doctors(&node.router()).await[0];
        node.line.delay_loads(Duration::from_secs(15));
        node.line.cut();
        let directory = node.router().directory().clone();
        let mut waits = std::pin::pin!(directory.view(doctor, date(DAY)));
        assert!(timeout(Duration::from_secs(4), &mut waits).await.is_err(), "it was not loaded before");
        let refused = timeout(Duration::from_millis(100), directory.view(doctor, date(DAY))).await;
        assert!(matches!(refused, Ok(Err(EngineError::Unavailable))), "{refused:?}");
    });
}

/// Found by the simulation: the list had been made before the owner joined, and the fence was read after it had taken the range.
#[test]
fn nothing_is_taken_from_a_node_that_joined_after_the_list_was_made() {
    on_paused_time(async {
        let cluster = Cluster::new();
        let slow = cluster.store.other_line();
        slow.delay_lists(Duration::from_millis(900));
        let _first = cluster.join_by("a", slow).await;
        // So that it has asked before the second joins.
        sleep(Duration::from_millis(10)).await;
        let _second = cluster.join("b").await;
        cluster.until_owned(&[32, 32]).await;
        let all: Vec<_> = Ring::default().ranges().collect();
        let fences = cluster.store.memory.read(&all).await.unwrap();
        assert!(
            fences.len() == 64 && fences.iter().all(|fence| fence.epoch == FencingEpoch::INITIAL),
            "{fences:?}"
        );
    });
}
