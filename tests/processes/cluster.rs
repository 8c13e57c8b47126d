//! Nodes that share the doctors among them, as processes of their own.

use std::collections::BTreeSet;

use futures::future::join_all;
use persistence::{AccessKeys, Endpoint};
use serde_json::{Value, json};

use crate::cluster_harness::{Cluster, LASTING, is_balanced};
use crate::eventually::eventually;
use crate::harness::*;
use crate::load::Ledger;

const DOCTORS: usize = 40;

/// Asks until the answer is another one than "not now": a lease may lapse on a machine that has much else to do.
async fn answered(ask: impl AsyncFn() -> (u16, Value)) -> (u16, Value) {
    let mut answer = (0, Value::Null);
    let is_answered = async || {
        answer = ask().await;
        answer.0 != 503
    };
    eventually(DEADLINE, "a doctor is served", is_answered).await;
    answer
}

/// How many seats each doctor has taken at ten, as this node says.
async fn seats_at_ten(node: &Node, doctors: &[String], date: &str) -> Vec<u64> {
    let looks = doctors.iter().map(|doctor| async move {
        let body = json!({"doctor_id": doctor, "date": date});
        let look = async || node.post("/doctorBookings/available", None, &body).await;
        let (status, answer) = answered(look).await;
        assert_eq!(status, 200, "{answer}");
        let slots = answer["slots"].as_array().unwrap();
        slots.iter().find(|slot| slot["start"] == "10:00").unwrap()["booked"].as_u64().unwrap()
    });
    join_all(looks).await
}

/// Has one user book all doctors at ten, through one node.
async fn book_all(node: &Node, doctors: &[String], user: &str, date: &str) -> Vec<(u16, Value)> {
    let books = doctors.iter().map(|doctor| answered(async || node.book(doctor, user, date, "10:00").await));
    join_all(books).await
}

/// The user has the seat, by this answer or by that to an earlier attempt whose outcome was unknown.
fn has_booked((status, answer): &(u16, Value)) -> bool {
    *status == 200 || *status == 409 && answer["code"] == "already_booked"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn any_node_serves_every_doctor_also_those_of_a_node_that_was_killed() {
    let mut cluster = Cluster::start(3, &[]).await;
    let (doctors, date) = (cluster.doctors(DOCTORS).await, date_in(1));
    let mut acknowledged = BTreeSet::new();
    for user in ["ada@example.com", "bob@example.com", "eve@example.com"] {
        for (doctor, answer) in doctors.iter().zip(book_all(&cluster.nodes[0], &doctors, user, &date).await) {
            assert!(has_booked(&answer), "{answer:?}");
            acknowledged.insert(keys(doctor, user, &date, "10:00"));
        }
    }
    for node in &cluster.nodes {
        assert_eq!(seats_at_ten(node, &doctors, &date).await, [3; DOCTORS]);
    }
    assert_both_nodes_name_the_request(&cluster, &doctors, &date).await;

    let mut killed = cluster.nodes.pop().unwrap();
    killed.kill();
    // Until each is somebody's again: refused for now, never wrongly.
    let begun = tokio::time::Instant::now();
    for (doctor, answer) in
        doctors.iter().zip(book_all(&cluster.nodes[0], &doctors, "late@example.com", &date).await)
    {
        assert!(has_booked(&answer), "{answer:?}");
        acknowledged.insert(keys(doctor, "late@example.com", &date, "10:00"));
    }
    println!("after a kill, every doctor is served within {:?}", begun.elapsed());
    cluster.settled().await;
    for node in &cluster.nodes {
        assert_eq!(seats_at_ten(node, &doctors, &date).await, [4; DOCTORS]);
    }
    assert_eq!(cluster.store.bookings().await, acknowledged);
}

/// A refusal names its request: the owner's log must know it, too.
async fn assert_both_nodes_name_the_request(cluster: &Cluster, doctors: &[String], date: &str) {
    let mut ids = Vec::new();
    for (status, refusal) in book_all(&cluster.nodes[0], doctors, "ada@example.com", date).await {
        assert_eq!((status, &refusal["code"]), (409, &json!("already_booked")));
        ids.push(refusal["request_id"].as_str().unwrap().to_owned());
    }
    for id in &ids {
        cluster.nodes[0].has_logged(id).await;
    }
    let mut forwarded = 0;
    // A log is read behind the node's back.
    let are_forwarded = async || {
        let logs: Vec<String> = cluster.nodes[1..].iter().map(Node::log).collect();
        forwarded = ids.iter().filter(|id| logs.iter().any(|log| log.contains(*id))).count();
        forwarded >= DOCTORS / 3
    };
    eventually(DEADLINE, "a third of the refusals is in the log of another node", are_forwarded).await;
    assert!(forwarded < DOCTORS, "all were asked elsewhere");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nodes_that_join_drain_and_stop_under_load_cost_nobody_an_answer() {
    let mut cluster = Cluster::start(2, &LASTING).await;
    let (doctors, ledger) = (cluster.doctors(DOCTORS).await, Ledger::default());
    // Within the notice it is asked whether it is ready, and for fifty bookings.
    let third = cluster.node(&[&LASTING[..], &[("KOKORO_STOP_NOTICE_MS", "12000")]].concat()).await;
    let leaving = third.me().await;
    let drained = cluster.nodes[1].me().await;
    let (status, log) = ledger
        .during(&cluster.nodes[0], &doctors, "u", async {
            ledger.goes_on(50).await;
            let is_even = async || is_balanced(&cluster.nodes[0].cluster().await, 3);
            eventually(DEADLINE, "the third node has its share", is_even).await;
            // It is told on the address for those who run it, and on no other.
            assert_eq!(cluster.nodes[1].post("/cluster/drain", None, &json!({})).await.0, 404);
            let json = ("Content-Type", "application/json");
            for (status, header) in [
                (403, ("Origin", "https://elsewhere.example")),
                (403, ("Sec-Fetch-Site", "cross-site")),
                (421, ("Host", "elsewhere.example")),
            ] {
                assert_eq!(cluster.nodes[1].post_admin("/cluster/drain", &[json, header]).await, status);
            }
            let form = [("Content-Type", "text/plain")];
            assert_eq!(cluster.nodes[1].post_admin("/cluster/drain", &form).await, 415);
            assert_eq!(cluster.nodes[1].drain().await, 202);
            let is_drained = async || owned_by(&cluster.nodes[0].cluster().await, &drained) == 0;
            eventually(DEADLINE, "the drained node owns nothing", is_drained).await;
            ledger.goes_on(50).await;
            assert_eq!(cluster.nodes[1].get("/readyz").await.0, 200, "it still serves, through the others");
            ledger.during(&cluster.nodes[1], &doctors, "v", ledger.goes_on(50)).await;
            third.signal("-TERM");
            let has_left = async || owned_by(&cluster.nodes[0].cluster().await, &leaving) == 0;
            eventually(DEADLINE, "the node that stops owns nothing", has_left).await;
            // Whoever has not yet noticed that it stops is answered by way of the others.
            assert_eq!(third.get("/readyz").await.0, 503);
            ledger.during(&third, &doctors, "w", ledger.goes_on(50)).await;
            let ended = third.ended().await;
            ledger.goes_on(50).await;
            ended
        })
        .await;
    assert_eq!(status.code(), Some(0), "{log}");
    // On a machine that has much else to do, a doctor on the move may be waited for in vain: that is no loss, and rare.
    let answers = ledger.answers();
    assert!(answers.unknown == 0 && answers.failed * 100 <= answers.booked, "{answers:?}");
    // Who has gone is no longer there as of the next heartbeat.
    let is_gone = async || cluster.nodes[0].cluster().await["nodes"].as_array().unwrap().len() == 2;
    eventually(DEADLINE, "the node that has stopped is not seen any more", is_gone).await;
    let view = cluster.nodes[0].cluster().await;
    assert_eq!(owned_by(&view, &cluster.nodes[0].me().await), 64, "{view}");
    cluster.nodes.clear();
    ledger.assert_kept(&cluster.store).await;
}

fn owned_by(view: &Value, node: &str) -> usize {
    let nodes = view["nodes"].as_array().unwrap().iter().filter(|of| of["id"] == node);
    nodes.map(|of| of["ranges"].as_array().unwrap().len()).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_node_may_bring_the_store_of_all() {
    let (_folder, path) = folder();
    let listen = free_address();
    let serves = [&LASTING[..], &[("KOKORO_DYNAMODB_LISTEN", &listen)]].concat();
    let host = Node::in_cluster(&Data::Folder(&path), &serves).await;
    let at = |secret: String| {
        let keys = AccessKeys { id: "kokoro".to_owned(), secret };
        Data::At(Endpoint::With { address: format!("http://{listen}"), keys })
    };
    let stranger = at("0".repeat(64));
    let refused = tokio::task::spawn_blocking(move || Node::try_start(&stranger, &[], &[]).err());
    assert!(refused.await.unwrap().is_some(), "a process that does not know the key has started");
    // As an operator tells it.
    let data = at(std::fs::read_to_string(path.join("store-secret")).unwrap());
    let guest = Node::in_cluster(&data, &LASTING).await;
    let is_even = async || is_balanced(&guest.cluster().await, 2);
    eventually(DEADLINE, "the guest has its share", is_even).await;
    let doctor = guest.doctor("asha").await;
    for (node, user) in [(&host, "ada@example.com"), (&guest, "bob@example.com")] {
        let (status, answer) = node.book(&doctor, user, &date_in(1), "10:00").await;
        assert_eq!(status, 200, "{answer}");
    }
    for node in [&host, &guest] {
        assert_eq!(seats_at_ten(node, std::slice::from_ref(&doctor), &date_in(1)).await, [2]);
    }
    guest.signal("-TERM");
    let (status, log) = guest.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    host.signal("-TERM");
    let (status, log) = host.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    assert_eq!(Store::left_in(&path).await.bookings().await.len(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_of_another_cut_is_refused_and_a_single_one_shows_that_it_is_alone() {
    let cluster = Cluster::start(1, &LASTING).await;
    let data = Data::At(cluster.store.endpoint());
    let settings = [&Node::OF_A_CLUSTER[..], &[("KOKORO_RANGES", "128")]].concat();
    let refused =
        tokio::task::spawn_blocking(move || Node::try_start(&data, &settings, &[]).err()).await.unwrap();
    let log = refused.unwrap();
    assert!(log.contains("64 ranges there and into 128 here"), "{log}");
    assert_eq!(cluster.nodes[0].get("/readyz").await.0, 200);

    let (_folder, path) = folder();
    let alone = Node::start(&Data::Folder(&path));
    assert_eq!(alone.get("/cluster").await, (200, json!({"solo": true, "nodes": []})));
    let (status, refusal) = alone.post("/cluster/drain", None, &json!({})).await;
    assert_eq!((status, &refusal["code"]), (403, &json!("forbidden")));
}
