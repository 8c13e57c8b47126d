//! A second process on the same tables, while the first is under load.

use std::collections::BTreeSet;
use std::sync::Mutex;

use futures::future::join_all;
use serde_json::Value;
use tokio::time::timeout;

use crate::eventually::eventually;
use crate::harness::*;

async fn race(
    node: &Node,
    doctor: &str,
    name: &str,
    acknowledged: &Mutex<BTreeSet<(String, String)>>,
) -> Vec<u16> {
    let clients = (0..60).map(|n| async move {
        let user = format!("{name}{n}@example.com");
        let mut statuses = Vec::new();
        for half_hour in 0..40 {
            let start = format!("{:02}:{:02}", half_hour / 2, half_hour % 2 * 30);
            let (status, answer) = node.book(doctor, &user, &date_in(3), &start).await;
            match status {
                200 => {
                    acknowledged.lock().unwrap().insert(keys(doctor, &user, &date_in(3), &start));
                }
                // The second, where the same users race again.
                409 => assert!(["slot_full", "already_booked"].contains(&answer["code"].as_str().unwrap())),
                0 | 503 => {
                    statuses.push(status);
                    break;
                }
                _ => panic!("{status} {answer}"),
            }
            statuses.push(status);
        }
        statuses
    });
    join_all(clients).await.into_iter().flatten().collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_process_takes_over_and_the_first_says_so_and_stops() {
    let store = Store::in_memory().await;
    let first = Node::start(&Data::At(store.endpoint()));
    let doctor = first.doctor("asha").await;
    let acknowledged = Mutex::new(BTreeSet::new());
    let (enough, under_load) = tokio::sync::oneshot::channel();
    let after = async {
        under_load.await.unwrap();
        // The address is known before the ranges are taken: the race goes on through both.
        let endpoint = store.endpoint();
        let second = tokio::task::spawn_blocking(move || Node::start(&Data::At(endpoint))).await.unwrap();
        let statuses = race(&second, &doctor, "late", &acknowledged).await;
        (second, statuses)
    };
    let before = async {
        let (status, _) = first.book(&doctor, "early@example.com", &date_in(2), "10:00").await;
        assert_eq!(status, 200);
        enough.send(()).unwrap();
        let mut statuses = Vec::new();
        // Until the store has refused it.
        while !statuses.contains(&503) {
            statuses = race(&first, &doctor, "early", &acknowledged).await;
        }
    };
    // Asked all the while: the first process goes on for two seconds only after it has noticed.
    let notices = async {
        let mut answer = (0, Value::Null);
        let is_deposed = async || {
            answer = first.get("/readyz").await;
            answer.1["detail"].as_str().is_some_and(|detail| detail.contains("taken over"))
        };
        eventually(DEADLINE, "the first process says that it is deposed", is_deposed).await;
        answer.0
    };
    let all = async { futures::join!(after, before, notices) };
    let ((second, statuses), (), ready) = timeout(DEADLINE, all).await.expect("nobody is deposed");
    assert!(statuses.iter().all(|status| matches!(status, 200 | 409)), "{statuses:?}");
    assert_eq!(ready, 503);
    let (status, log) = first.ended().await;
    assert_eq!(status.code(), Some(3), "{log}");
    assert!(log.contains("another process has taken over"), "{log}");
    assert_eq!(second.get("/readyz").await.0, 200);

    let stored = store.bookings().await;
    assert_no_slot_above_five(&stored);
    let acknowledged = acknowledged.into_inner().unwrap();
    let lost: Vec<_> = acknowledged.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    // Every slot was raced for by sixty users of the second process.
    assert_eq!(stored.len(), 40 * 5 + 1);
}
