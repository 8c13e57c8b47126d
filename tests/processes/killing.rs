//! `kill -9` under load, again and again on the same data.

use std::collections::BTreeSet;

use serde_json::json;

use crate::harness::*;
use crate::load::Ledger;

const KILLS: usize = 12;
/// Bookings of the first life, which is the shortest.
const BOOKINGS_BEFORE_KILL: usize = 100;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_any_of_twelve_kills_is_there_after_the_last() {
    let (_folder, path) = folder();
    let ledger = Ledger::default();
    let mut doctors = Vec::new();
    for life in 0..KILLS {
        let mut node = Node::start(&Data::Folder(&path));
        if doctors.is_empty() {
            for name in ["asha", "ravi", "meera"] {
                doctors.push(node.doctor(name).await);
            }
        }
        let killed = async {
            ledger.goes_on(BOOKINGS_BEFORE_KILL + life * 7).await;
            node.signal("-KILL");
        };
        ledger.during(&node, &doctors, &format!("life{life}."), killed).await;
        node.kill();
    }

    // Through the door of a last life, and then in the store itself.
    let node = Node::start(&Data::Folder(&path));
    let mut listed = BTreeSet::new();
    for doctor in &doctors {
        let body = json!({"id": doctor, "type": "doctor", "days": 0});
        let (status, answer) =
            node.post("/doctorBookings/fetchBookings", Some(&doctor_token(doctor)), &body).await;
        assert_eq!(status, 200, "{answer}");
        for row in answer["bookings"].as_array().unwrap() {
            listed.insert((row["PK"].as_str().unwrap().to_owned(), row["SK"].as_str().unwrap().to_owned()));
        }
    }
    drop(node);
    let store = Store::left_in(&path).await;
    let stored = store.bookings().await;
    assert_eq!(listed, stored);
    ledger.assert_kept(&store).await;
    assert!(ledger.answers().unknown >= KILLS, "nothing was on its way");
}
