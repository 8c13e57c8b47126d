//! SIGTERM under load: no new work, everything in flight committed and answered, then exit 0.

use std::collections::BTreeSet;

use futures::future::join_all;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::harness::*;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_told_to_stop_answers_what_it_began_and_loses_nothing() {
    let (_folder, path) = folder();
    let node = Node::start(&Data::Folder(&path));
    let doctor = node.doctor("asha").await;
    let answers = watch::Sender::new(0);
    let clients = join_all((0..64).map(|n| {
        let (node, doctor, answers) = (&node, &doctor, &answers);
        async move {
            let user = format!("patient{n}@example.com");
            let mut seats = Vec::new();
            for turn in 0.. {
                let (date, start) =
                    (date_in(1 + turn / 48 % 14), format!("{:02}:{:02}", turn % 48 / 2, turn % 2 * 30));
                match node.book(doctor, &user, &date, &start).await {
                    (200, _) => seats.push(keys(doctor, &user, &date, &start)),
                    (409, _) => {}
                    // Refused because it is stopping, or no longer listening.
                    (503, answer) => {
                        assert_eq!(answer["code"], "shutting_down", "{answer}");
                        return seats;
                    }
                    (0, _) => return seats,
                    (status, answer) => panic!("{status} {answer}"),
                }
                answers.send_modify(|answers| *answers += 1);
            }
            seats
        }
    }));
    let stopper = async {
        let mut answers = answers.subscribe();
        let enough = timeout(DEADLINE, answers.wait_for(|answers| *answers >= 300)).await;
        drop(enough.expect("the node does not answer").unwrap());
        // Without a certificate to look at, it means nothing.
        node.signal("-HUP");
        node.signal("-TERM");
    };
    let (seats, ()) = futures::join!(clients, stopper);
    let (status, log) = node.ended().await;
    assert_eq!(status.code(), Some(0), "{log}");
    let acknowledged: BTreeSet<_> = seats.into_iter().flatten().collect();
    // What was answered is what is stored: nothing was lost, and nothing was done that was not answered.
    assert_eq!(Store::left_in(&path).await.bookings().await, acknowledged);
}
