//! Both secrets of a cluster are replaced, node by node, while everybody stays logged in.

use std::collections::BTreeSet;

use futures::future::join_all;
use serde_json::json;

use crate::cluster_harness::{Cluster, LASTING};
use crate::harness::*;

const DOCTORS: usize = 12;
const NEW_TOKENS: &str = "another secret of the tests that is as long";
const OLD_SEALS: &str = Node::OF_A_CLUSTER[1].1;
const NEW_SEALS: &str = "another secret of the cluster that is as long";

/// Starts a node that is told these secrets, each as the settings write it.
async fn node(cluster: &Cluster, (tokens, seals): &(String, String)) -> Node {
    let settings = [("KOKORO_JWT_SECRET", tokens.as_str()), ("KOKORO_CLUSTER_SECRET", seals.as_str())];
    cluster.node(&[&LASTING[..], &settings].concat()).await
}

async fn log_in(node: &Node) -> String {
    let body = json!({"email": "ada@x.com", "password": "correct horse"});
    let (status, answer) = node.post("/auth/loginUser", None, &body).await;
    assert_eq!(status, 200, "{answer}");
    answer["access_token"].as_str().unwrap().to_owned()
}

/// How a call of Ada's own is answered.
async fn status(node: &Node, token: &str) -> u16 {
    node.post("/doctorBookings/user", Some(token), &json!({"user_id": "ada@x.com"})).await.0
}

/// Each node has a seat of every doctor taken and given back, half of them by way of the other, for one who has logged in
/// at the other.
async fn understand_each_other(cluster: &Cluster, doctors: &[String], early: &str) {
    let tokens = join_all(cluster.nodes.iter().map(log_in)).await;
    for (n, node) in cluster.nodes.iter().enumerate() {
        let elsewhere = &tokens[1 - n];
        let calls = doctors.iter().map(|doctor| async move {
            let body = json!({"doctor_id": doctor, "date": date_in(1), "start": "10:00"});
            for path in ["/doctorBookings/book", "/doctorBookings/cancel"] {
                let (status, answer) = node.post(path, Some(elsewhere), &body).await;
                assert_eq!(status, 200, "{answer}");
            }
        });
        join_all(calls).await;
        assert_eq!(status(node, early).await, 200);
        let log = node.log();
        assert!(!log.contains("does not know our seal"), "{log}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_secrets_are_replaced_node_by_node_and_nobody_notices() {
    let both = |first: &str, second: &str| format!("{first},{second}");
    let steps = [
        (SECRET.to_owned(), OLD_SEALS.to_owned()),
        (both(SECRET, NEW_TOKENS), both(OLD_SEALS, NEW_SEALS)),
        (both(NEW_TOKENS, SECRET), both(NEW_SEALS, OLD_SEALS)),
    ];
    let mut cluster = Cluster::start(2, &LASTING).await;
    let doctors = cluster.doctors(DOCTORS).await;
    let body =
        json!({"username": "Ada", "email": "ada@x.com", "password": "correct horse", "phoneNumber": "12345"});
    assert_eq!(cluster.nodes[0].post("/auth/signupUser", None, &body).await.0, 200);
    let early = log_in(&cluster.nodes[0]).await;
    understand_each_other(&cluster, &doctors, &early).await;
    for step in &steps[1..] {
        // Once one node is told, and again once both are.
        for _ in 0..2 {
            let leaving = cluster.nodes.remove(0);
            let new = node(&cluster, step).await;
            cluster.nodes.push(new);
            leaving.signal("-TERM");
            assert_eq!(leaving.ended().await.0.code(), Some(0));
            cluster.settled().await;
            understand_each_other(&cluster, &doctors, &early).await;
        }
    }
    let late = log_in(&cluster.nodes[0]).await;
    cluster.nodes.remove(0).signal("-TERM");
    let last = node(&cluster, &(NEW_TOKENS.to_owned(), NEW_SEALS.to_owned())).await;
    cluster.nodes.push(last);
    cluster.settled().await;
    assert_eq!([status(&cluster.nodes[1], &early).await, status(&cluster.nodes[1], &late).await], [401, 200]);
    assert_eq!(cluster.store.bookings().await, BTreeSet::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_told_the_new_secret_at_once_is_not_heard_and_says_why() {
    let mut cluster = Cluster::start(1, &LASTING).await;
    let doctors = cluster.doctors(DOCTORS).await;
    let hasty = (SECRET.to_owned(), format!("{NEW_SEALS},{OLD_SEALS}"));
    let hasty = node(&cluster, &hasty).await;
    cluster.nodes.push(hasty);
    cluster.settled().await;
    let hasty = &cluster.nodes[1];
    let book = async |doctor: &String| hasty.book(doctor, "ada@x.com", &date_in(1), "10:00").await.0;
    let mut booked = BTreeSet::new();
    for doctor in &doctors {
        booked.insert(book(doctor).await);
    }
    // Its own doctors, and those of the other: of those certainly nothing happened.
    assert_eq!(booked, BTreeSet::from([200, 503]));
    hasty.has_logged("another node does not know our seal").await;
}
