//! A node of a cluster that stands still, or is cut off from its store or from the others, while patients book, cancel
//! and look at the others and at it. What anybody was told stays true, and it is one of the others again afterwards.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use engine::DoctorId;
use engine::shard::Ring;
use futures::future::{FutureExt, LocalBoxFuture, join_all};
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;

use crate::cluster_harness::{Cluster, LASTING};
use crate::eventually::eventually;
use crate::harness::*;
use crate::load::{Ledger, Told};
use crate::proxy::{Proxy, message};
use crate::reads::Reads;

const DOCTORS: usize = 24;
/// Readers at each node.
const READERS: usize = 2;
/// The node that something happens to; the others are well.
const SICK: usize = 2;
/// A lease that ends soon. It may lapse on a machine that has much else to do.
const SOON: [(&str, &str); 2] = [("KOKORO_HEARTBEAT_MS", "300"), ("KOKORO_LEASE_MS", "1500")];
/// One in so many requests of those that the fault does not concern may fail: connections between nodes have 300 ms to be
/// made, which may be too little on a machine that has much else to do.
const RARELY: usize = 10;
/// How often a scene is prepared again because the sick node had lost its lease before anything happened to it.
const PREPARATIONS_MAX: usize = 10;
/// The day after those that patients book: what is read there was put there by the test.
const MARKED_DAY: u64 = 15;

/// Three nodes, and what everybody was told.
struct Scene {
    cluster: Cluster,
    doctors: Vec<String>,
    ledger: Ledger,
    reads: Reads,
}

/// What the sick node owns, and under which identity.
#[derive(Debug, PartialEq, Eq)]
struct Share {
    id: String,
    ranges: BTreeSet<u64>,
    /// The doctors in these ranges.
    theirs: Vec<String>,
    others: Vec<String>,
}

/// Whose patients are where: a node, the doctors that they ask for, and their name.
type Patients<'a> = (usize, &'a [String], &'a str);

/// The same doctors in another order, so that not all patients want the same seats.
fn rotated(doctors: &[String]) -> Vec<String> {
    let (first, last) = doctors.split_at(doctors.len() / 2);
    [last, first].concat()
}

impl Scene {
    async fn of(mut cluster: Cluster, sick: Node) -> Self {
        cluster.nodes.push(sick);
        cluster.settled().await;
        let doctors = cluster.doctors(DOCTORS).await;
        Self { cluster, doctors, ledger: Ledger::default(), reads: Reads::default() }
    }

    fn node(&self, node: usize) -> &Node {
        &self.cluster.nodes[node]
    }

    /// Has patients book and cancel at some nodes, and readers look at all, while something happens.
    async fn busy<'a, T: 'a>(
        &'a self,
        patients: &'a [Patients<'a>],
        happens: impl Future<Output = T> + 'a,
    ) -> T {
        let over = watch::Sender::new(false);
        let readers = (0..self.cluster.nodes.len()).flat_map(|node| (0..READERS).map(move |_| node));
        let readers = join_all(readers.map(|node| {
            let over = over.subscribe();
            self.reads.go_on(&self.cluster.nodes, node, &self.doctors, over)
        }));
        let mut happens: LocalBoxFuture<'a, T> = happens.boxed_local();
        for (node, doctors, name) in patients {
            happens = self.ledger.during(self.node(*node), doctors, name, happens).boxed_local();
        }
        let happens = happens.inspect(|_| _ = over.send_replace(true));
        futures::join!(readers, happens).1
    }

    /// What the sick node owns as it says itself. Nothing, if it has just lost its lease.
    async fn share(&self) -> Share {
        let view = self.node(SICK).cluster().await;
        let sick = view["nodes"].as_array().unwrap().iter().find(|node| node["id"] == view["me"]);
        let ranges = sick.and_then(|sick| sick["ranges"].as_array()).into_iter().flatten();
        let ranges: BTreeSet<u64> = ranges.map(|held| held["range"].as_u64().unwrap()).collect();
        let is_sick = |doctor: &String| {
            let range = Ring::default().range_of(&DoctorId::parse(doctor).unwrap());
            ranges.contains(&(range.index() as u64))
        };
        let (theirs, others) = self.doctors.iter().cloned().partition(is_sick);
        Share { id: view["me"].as_str().unwrap().to_owned(), ranges, theirs, others }
    }

    /// Waits until the sick node has a share of the doctors, and gives it.
    async fn even_share(&self) -> Share {
        self.cluster.settled().await;
        let mut share = self.share().await;
        let is_even = async || {
            share = self.share().await;
            share.theirs.len() > 2 && share.others.len() > 2
        };
        eventually(DEADLINE, "the sick node owns some doctors, and not all", is_even).await;
        share
    }

    /// Books one seat more on each doctor's marked day, however often it takes; gives when each was acknowledged.
    async fn mark(&self, node: usize, doctors: &[String], name: &str) -> BTreeMap<String, Instant> {
        let marked = doctors.iter().map(|doctor| async move {
            let mut attempts = 0..;
            let is_marked = async || self.marks(node, doctor, name, attempts.next().unwrap()).await;
            eventually(DEADLINE, format_args!("node {node} books a seat of each doctor: {name}"), is_marked)
                .await;
            (doctor.clone(), Instant::now())
        });
        join_all(marked).await.into_iter().collect()
    }

    /// One attempt: another user's each time, because an earlier one may yet be stored.
    async fn marks(&self, node: usize, doctor: &str, name: &str, attempt: usize) -> bool {
        let user = format!("{name}.{attempt}@example.com");
        let start = format!("{:02}:{:02}", attempt / 2 % 24, attempt % 2 * 30);
        self.ledger.books(self.node(node), doctor, &user, &date_in(MARKED_DAY), &start).await
    }

    /// Waits until the others do not see the node of this identity any more.
    async fn until_gone(&self, id: &str) {
        for node in &self.cluster.nodes[..SICK] {
            let is_gone = async || {
                node.cluster().await["nodes"].as_array().unwrap().iter().all(|node| node["id"] != id)
            };
            eventually(DEADLINE, "the others see the sick node no more", is_gone).await;
        }
    }

    /// Waits until the sick node has its share again under another identity, and asserts that it serves.
    async fn until_back(&self, was: &str) {
        self.cluster.settled().await;
        assert_ne!(self.node(SICK).me().await, was, "an identity has two lives");
        self.mark(SICK, &self.doctors, "back").await;
    }

    /// Asserts that what was told is true, and gives a summary of it.
    async fn assert_true(&self) -> String {
        self.cluster.settled().await;
        let lapses = |node: &Node| node.log().matches("was buried by another node").count();
        let lapses: Vec<usize> = self.cluster.nodes.iter().map(lapses).collect();
        self.reads.assert_true(&self.ledger);
        self.ledger.assert_kept(&self.cluster.store).await;
        format!("{:?}, looked {} times, buried: {lapses:?}", self.ledger.answers(), self.reads.count())
    }
}

impl Scene {
    /// Waits until the sick node has in its memory what is booked with these doctors.
    async fn loaded(&self, doctors: &[String]) {
        let date = date_in(MARKED_DAY);
        for doctor in doctors {
            let look = async || self.reads.look(&self.cluster.nodes, SICK, doctor, &date).await.is_some();
            eventually(DEADLINE, "the sick node shows what is booked", look).await;
        }
    }

    /// Has the sick node stand still while it knows what is booked with its doctors. Gives what it owns, and a line to it
    /// for a read and another for a booking, of each of them.
    async fn stop_the_sick_node(&self) -> (Share, Vec<(Line, Line)>) {
        let sick = self.node(SICK);
        for preparation in 0..PREPARATIONS_MAX {
            let share = self.even_share().await;
            self.mark(0, &share.theirs, &format!("before.{preparation}")).await;
            self.loaded(&share.theirs).await;
            let mut lines = Vec::new();
            for doctor in &share.theirs {
                let (mut reads, mut books) = (Line::to(sick).await, Line::to(sick).await);
                // A connection that has not been used yet is closed after a while.
                for line in [&mut reads, &mut books] {
                    let (path, body) = Reads::request(doctor, &date_in(MARKED_DAY));
                    line.send(path, None, &body).await;
                    line.answer().await;
                }
                lines.push((reads, books));
            }
            // What it lost meanwhile is not in its memory any more.
            if self.share().await == share {
                sick.signal("-STOP");
                return (share, lines);
            }
        }
        panic!("{PREPARATIONS_MAX} times the sick node did not keep its share until it could be stopped");
    }

    /// Cuts the sick node off from its store while it knows what is booked with its doctors. Gives what it owns, and when
    /// that was.
    async fn cut_the_sick_node_off(&self, store: &Proxy) -> (Share, Instant) {
        for preparation in 0..PREPARATIONS_MAX {
            let share = self.even_share().await;
            self.mark(0, &share.theirs, &format!("before.{preparation}")).await;
            self.loaded(&share.theirs).await;
            store.silence();
            let cut = Instant::now();
            // Without its store it learns of no other share: what it says now, it owned when it was cut off.
            if self.share().await == share {
                return (share, cut);
            }
            store.mend();
        }
        panic!("{PREPARATIONS_MAX} times the sick node did not keep its share until it could be cut off");
    }
}

/// A connection on which requests can be left for a node that stands still.
struct Line(TcpStream);

impl Line {
    async fn to(node: &Node) -> Self {
        Self(TcpStream::connect(node.address()).await.unwrap())
    }

    /// Returns when the kernel has taken all of it: the node finds it there.
    async fn send(&mut self, path: &str, token: Option<&str>, body: &Value) {
        let body = body.to_string();
        let token = token.map(|token| format!("authorization: Bearer {token}\r\n")).unwrap_or_default();
        let request = format!(
            "POST {path} HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n{token}content-length: {}\r\n\r\n{body}",
            body.len()
        );
        self.0.write_all(request.as_bytes()).await.unwrap();
    }

    async fn answer(&mut self) -> (u16, Value) {
        let Some(answer) = message(&mut self.0).await else { return (0, Value::Null) };
        let status = answer.head.split(' ').nth(1).unwrap().parse().unwrap();
        (status, serde_json::from_slice(answer.body()).unwrap())
    }
}

impl Scene {
    /// Leaves a read and a booking for each of these doctors on lines to the sick node, counts what it leaves, and gives
    /// what is answered.
    async fn leave(
        &self,
        lines: &mut [(Line, Line)],
        doctors: &[String],
        left: &watch::Sender<usize>,
    ) -> Vec<(Option<usize>, Told)> {
        let date = date_in(MARKED_DAY);
        let all = lines.iter_mut().zip(doctors).map(async |((reads, books), doctor)| {
            let read = self.reads.hear(SICK, doctor, &date, async {
                let (path, body) = Reads::request(doctor, &date);
                reads.send(path, None, &body).await;
                left.send_modify(|left| *left += 1);
                reads.answer().await
            });
            let (user, start) = ("queued@example.com", "23:30");
            let book = self.ledger.booking(keys(doctor, user, &date, start), async {
                let body = json!({"doctor_id": doctor, "date": date, "start": start});
                books.send("/doctorBookings/book", Some(&user_token(user)), &body).await;
                left.send_modify(|left| *left += 1);
                books.answer().await
            });
            futures::join!(read, book)
        });
        join_all(all).await
    }
}

/// A scene whose sick node reaches its store through a proxy.
async fn with_a_far_store() -> (Scene, Proxy) {
    let cluster = Cluster::start(2, &SOON).await;
    let proxy = Proxy::before(&cluster.store.address()).await;
    let far = Data::At(cluster.store.endpoint().moved_to(proxy.endpoint.clone()));
    let sick = Node::in_cluster(&far, &SOON).await;
    (Scene::of(cluster, sick).await, proxy)
}

/// What the sick node does first when it wakes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Wakes {
    /// Whatever comes first: it can find out at once what it has missed.
    Connected,
    /// Answers: it cannot find out.
    Alone,
}

/// Has the sick node stand still until its doctors are others', and wake with requests waiting for it.
async fn stands_still(wakes: Wakes) -> String {
    let (scene, store) = with_a_far_store().await;
    let (sick, all, rotated) = (scene.node(SICK), &scene.doctors[..], rotated(&scene.doctors));
    let answers = scene
        .busy(&[(0, all, "u"), (1, &rotated, "v")], async {
            scene.ledger.goes_on(50).await;
            let (Share { id, theirs, .. }, mut lines) = scene.stop_the_sick_node().await;
            if wakes == Wakes::Alone {
                store.silence();
            }
            scene.until_gone(&id).await;
            scene.ledger.goes_on(50).await;
            scene.mark(1, &theirs, "meanwhile").await;
            let left = watch::Sender::new(0);
            let mut seen = left.subscribe();
            let wake = async {
                seen.wait_for(|left| *left == 2 * theirs.len()).await.unwrap();
                sick.signal("-CONT");
            };
            let (answers, ()) = futures::join!(scene.leave(&mut lines, &theirs, &left), wake);
            if wakes == Wakes::Alone {
                assert_eq!(answers, vec![(None, Told::Failed); theirs.len()], "it relies on what it knew");
                store.mend();
            }
            scene.until_back(&id).await;
            answers
        })
        .await;
    let summary = scene.assert_true().await;
    format!("{summary}, its first answers: {answers:?}")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stood_still_longer_than_its_lease_tells_nothing_old_and_joins_anew() {
    println!("{}", stands_still(Wakes::Connected).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_stood_still_and_wakes_without_its_store_tells_nothing_at_all() {
    println!("{}", stands_still(Wakes::Alone).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_without_its_store_falls_silent_before_another_answers_in_its_place() {
    let (scene, proxy) = with_a_far_store().await;
    let (sick, all, rotated) = (scene.node(SICK), &scene.doctors[..], rotated(&scene.doctors));
    let date = date_in(MARKED_DAY);
    scene
        .busy(&[(0, all, "u"), (1, &rotated, "v")], async {
            scene.ledger.goes_on(50).await;
            let (Share { id, theirs, .. }, cut) = scene.cut_the_sick_node_off(&proxy).await;
            // What is acknowledged from here on was stored by another owner.
            let (is_mended, looks) = (watch::Sender::new(false), watch::Sender::new(0));
            let over = is_mended.subscribe();
            let looking = join_all(theirs.iter().map(async |doctor| {
                while !*over.borrow() {
                    scene.reads.look(&scene.cluster.nodes, SICK, doctor, &date).await;
                    looks.send_modify(|looks| *looks += 1);
                }
            }));
            let others_serve = async {
                let marked = scene.mark(0, &theirs, "meanwhile").await;
                scene.until_gone(&id).await;
                scene.ledger.goes_on(50).await;
                // One look at each doctor may have begun before. One that is more has not.
                let enough = *looks.borrow() + theirs.len() + 1;
                looks.subscribe().wait_for(|looks| *looks >= enough).await.unwrap();
                let knows = async || sick.get("/readyz").await.0 == 503;
                eventually(DEADLINE, "the sick node knows that it is cut off", knows).await;
                let mended = Instant::now();
                proxy.mend();
                is_mended.send_replace(true);
                (marked, mended)
            };
            let (_, (marked, mended)) = futures::join!(looking, others_serve);
            let first = marked.values().min().unwrap().duration_since(cut);
            let slowest = marked.values().max().unwrap().duration_since(cut);
            let mut asked = scene.reads.of(SICK, &theirs);
            let longest = asked.iter().map(|read| read.answered - read.asked).max().unwrap();
            asked.retain(|read| read.answered < mended);
            let told = asked.iter().filter(|read| read.booked.is_some());
            let last = told.map(|read| read.answered).max().unwrap().duration_since(cut);
            println!("cut off, it answered for {last:?}; others in its place from {first:?} to {slowest:?}");
            println!("the longest wait of a read of its own doctors was {longest:?}");
            asked.retain(|read| read.asked > marked[&read.doctor]);
            assert!(!asked.is_empty(), "it was not asked");
            let told = asked.iter().filter(|read| read.booked.is_some()).count();
            assert_eq!(told, 0, "answers of a node in whose place another one answered");
            scene.until_back(&id).await;
        })
        .await;
    println!("{}", scene.assert_true().await);
}

/// A scene whose sick node is reached by the others through a proxy, and by clients directly.
async fn behind_a_wire() -> (Scene, Proxy) {
    let cluster = Cluster::start(2, &LASTING).await;
    let listen = free_address();
    let proxy = Proxy::before(&listen).await;
    let address = proxy.endpoint.trim_start_matches("http://").to_owned();
    let ways = [("KOKORO_NODE_ADDRESS", address.as_str()), ("KOKORO_NODE_LISTEN", &listen)];
    let sick = cluster.node(&[&LASTING[..], &ways].concat()).await;
    (Scene::of(cluster, sick).await, proxy)
}

impl Scene {
    /// Asks the others for each of these doctors, once, and waits for all answers; gives how many were booked.
    async fn ask_others(&self, doctors: &[String], name: &str, start: &str) -> usize {
        let asks = doctors.iter().flat_map(|doctor| (0..SICK).map(move |node| (doctor, node)));
        let asks = asks.map(async |(doctor, node)| {
            let (user, date) = (format!("{name}{node}@example.com"), date_in(MARKED_DAY));
            let book = self.ledger.books(self.node(node), doctor, &user, &date, start);
            let look = self.reads.look(&self.cluster.nodes, node, doctor, &date);
            let (booked, _) = futures::join!(book, look);
            usize::from(booked)
        });
        join_all(asks).await.into_iter().sum()
    }

    /// Waits until the others book with each of these doctors, once. Each attempt takes an hour of the day.
    async fn others_can_ask(&self, doctors: &[String], mut hours: Range<u32>) {
        let can_ask = async || {
            let hour = hours.next().expect("the others ask in vain, hour after hour");
            let booked = self.ask_others(doctors, &format!("others{hour}."), &format!("{hour:02}:00")).await;
            booked == 2 * doctors.len()
        };
        eventually(DEADLINE, "the others book with each doctor of the sick node", can_ask).await;
    }

    /// Cuts the way to the sick node and opens it again, under load.
    async fn loses_its_peers(&self, cut: impl Fn(), mend: impl Fn()) -> String {
        let Share { id, theirs, others, .. } = self.even_share().await;
        let rotated = rotated(&self.doctors);
        self.busy(&[(0, &others, "u"), (1, &others, "v"), (SICK, &rotated, "w")], async {
            self.others_can_ask(&theirs, 2..12).await;
            cut();
            let told = self.ledger.answers();
            let direct = async {
                self.ledger.goes_on(100).await;
                self.mark(SICK, &theirs, "direct").await;
            };
            let (booked, ()) = futures::join!(self.ask_others(&theirs, "meanwhile", "13:00"), direct);
            assert_eq!(booked, 0, "booked through a wire that is cut");
            let now = self.ledger.answers();
            let bad = now.bad() - told.bad() - 2 * theirs.len();
            assert!(bad * RARELY <= now.booked - told.booked, "others paid for it: {told:?}, {now:?}");
            mend();
            self.others_can_ask(&theirs, 14..24).await;
        })
        .await;
        let told = self.ledger.answers();
        self.busy(&[(0, &self.doctors, "x"), (1, &rotated, "y")], self.ledger.goes_on(200)).await;
        let now = self.ledger.answers();
        let bad = now.bad() - told.bad();
        assert!(bad * RARELY <= now.booked - told.booked, "all is not well: {told:?}, {now:?}");
        assert_eq!(self.node(SICK).me().await, id, "its lease was never in question");
        self.assert_true().await
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_hears_nothing_from_the_others_serves_those_who_ask_it() {
    let (scene, proxy) = behind_a_wire().await;
    println!("{}", scene.loses_its_peers(|| proxy.silence(), || proxy.mend()).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_the_others_cannot_connect_to_serves_those_who_ask_it() {
    let (scene, proxy) = behind_a_wire().await;
    println!("{}", scene.loses_its_peers(|| proxy.cut(), || proxy.mend()).await);
}
