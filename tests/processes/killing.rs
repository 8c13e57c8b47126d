//! `kill -9` under load, again and again on the same data.

use std::collections::BTreeSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use serde_json::json;

use crate::harness::*;

const KILLS: usize = 12;
const CLIENTS: usize = 32;
/// Answers after which the process is killed, with as many requests under way as there are clients.
const ANSWERS_BEFORE_KILL: usize = 150;

/// What callers were told, over all lives of the process.
#[derive(Default)]
struct Told {
    /// Booked, and not asked to be cancelled since.
    stands: BTreeSet<(String, String)>,
    /// Cancelled, and not asked to be booked since.
    gone: BTreeSet<(String, String)>,
}

impl Told {
    /// From here on, either may be true.
    fn asked(&mut self, seat: &(String, String)) {
        self.stands.remove(seat);
        self.gone.remove(seat);
    }
}

/// One client's requests: its own user, seats in a few hot slots, some of which it gives back.
async fn client(
    node: &Node,
    doctors: &[String],
    life: usize,
    number: usize,
    told: &Mutex<Told>,
    answers: &AtomicUsize,
) {
    let user = format!("patient{number}.{life}@example.com");
    for turn in 0.. {
        let doctor = &doctors[(number + turn) % doctors.len()];
        // A dozen clients at once on each slot, on days that other lives use as well.
        let (day, slot) = ((life + turn / 48) % 14, (turn + number / 12) % 48);
        let (date, start) = (date_in(1 + day as u64), format!("{:02}:{:02}", slot / 2, slot % 2 * 30));
        let seat = keys(doctor, &user, &date, &start);
        told.lock().unwrap().asked(&seat);
        match node.book(doctor, &user, &date, &start).await {
            (200, _) => _ = told.lock().unwrap().stands.insert(seat.clone()),
            (409, answer) => assert_eq!(answer["code"], "slot_full"),
            _ => return,
        }
        answers.fetch_add(1, Ordering::Relaxed);
        if turn % 3 == 0 {
            told.lock().unwrap().asked(&seat);
            match node.cancel(doctor, &user, &date, &start).await {
                (200 | 404, _) => _ = told.lock().unwrap().gone.insert(seat),
                _ => return,
            }
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_any_of_twelve_kills_is_there_after_the_last() {
    let (_folder, path) = folder();
    let told = Mutex::new(Told::default());
    let mut doctors = Vec::new();
    for life in 0..KILLS {
        let mut node = Node::start(&Data::Folder(&path));
        if doctors.is_empty() {
            for name in ["asha", "ravi", "meera"] {
                doctors.push(node.doctor(name).await);
            }
        }
        let (answers, enough) = (AtomicUsize::new(0), ANSWERS_BEFORE_KILL + life * 7);
        {
            let clients = join_all((0..CLIENTS).map(|n| client(&node, &doctors, life, n, &told, &answers)));
            let killer = async {
                while answers.load(Ordering::Relaxed) < enough {
                    tokio::task::yield_now().await;
                }
                let killed = std::process::Command::new("kill").args(["-KILL", &node.pid()]).status();
                assert!(killed.unwrap().success());
            };
            futures::join!(clients, killer);
        }
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
    let told = told.into_inner().unwrap();
    assert_eq!(listed, stored);
    assert_no_slot_above_five(&stored);
    let lost: Vec<_> = told.stands.difference(&stored).collect();
    assert!(lost.is_empty(), "acknowledged and lost: {lost:?}");
    let undead: Vec<_> = told.gone.intersection(&stored).collect();
    assert!(undead.is_empty(), "cancelled and still there: {undead:?}");
    assert!(told.stands.len() > KILLS * ANSWERS_BEFORE_KILL / 3 && told.gone.len() > KILLS * 10);
}
