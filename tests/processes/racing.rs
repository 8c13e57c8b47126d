//! The main job: a hundred patients race for each slot, over real HTTP.

use std::collections::BTreeSet;

use futures::future::join_all;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hundred_users_on_each_of_fifty_slots_leave_exactly_five_in_each() {
    let store = Store::in_memory().await;
    let node = Node::start(&Data::At(store.endpoint()));
    let mut slots = Vec::new();
    for name in ["asha", "ravi", "meera", "farid", "lena"] {
        let doctor = node.doctor(name).await;
        for (days, start) in (1..=5).flat_map(|days| [(days, "10:00"), (days, "23:30")]) {
            slots.push((doctor.clone(), date_in(days), start));
        }
    }
    assert_eq!(slots.len(), 50);
    let users: Vec<String> = (0..100).map(|n| format!("patient{n}@example.com")).collect();
    let mut acknowledged = BTreeSet::new();
    // Ten slots at once, a hundred users on each.
    for slots in slots.chunks(10) {
        let asks = slots.iter().flat_map(|(doctor, date, start)| {
            users.iter().map(|user| async {
                let (status, answer) = node.book(doctor, user, date, start).await;
                (keys(doctor, user, date, start), status, answer)
            })
        });
        for (keys, status, answer) in join_all(asks).await {
            match status {
                200 => assert!(acknowledged.insert(keys)),
                409 => assert_eq!(answer["code"], "slot_full"),
                _ => panic!("{status} {answer}"),
            }
        }
    }
    assert_eq!(acknowledged.len(), 250);
    assert_no_slot_above_five(&acknowledged);
    assert_eq!(store.bookings().await, acknowledged);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn book_cancel_and_book_again_of_few_seats_by_many_never_ends_in_an_error() {
    let store = Store::in_memory().await;
    let node = Node::start(&Data::At(store.endpoint()));
    let doctor = node.doctor("asha").await;
    let date = date_in(2);
    let lives = (0..40).map(|n| {
        let (node, doctor, date) = (&node, &doctor, &date);
        async move {
            let user = format!("patient{n}@example.com");
            let mut held = false;
            for _ in 0..8 {
                let (booked, answer) = node.book(doctor, &user, date, "10:00").await;
                assert!(matches!(booked, 200 | 409), "{booked} {answer}");
                let (cancelled, answer) = node.cancel(doctor, &user, date, "10:00").await;
                assert!(matches!(cancelled, 200 | 404), "{cancelled} {answer}");
                assert_eq!(cancelled == 200, booked == 200, "{answer}");
                held = node.book(doctor, &user, date, "10:00").await.0 == 200;
                if held && n % 2 == 0 {
                    held = node.cancel(doctor, &user, date, "10:00").await.0 != 200;
                }
                if held {
                    break;
                }
            }
            held.then(|| keys(doctor, &user, date, "10:00"))
        }
    });
    let held: BTreeSet<_> = join_all(lives).await.into_iter().flatten().collect();
    assert_no_slot_above_five(&held);
    assert_eq!(store.bookings().await, held);
}
