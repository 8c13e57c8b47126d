//! What is still to come of the epoch before, once a claim is answered.

use std::task::Poll;
use std::time::Duration;

use engine::NodeId;
use engine::limits::TAKEOVER_SETTLE;
use engine::shard::Ring;
use engine::store::{BookingStore, Claim, CommitError, FenceCheck, Fences};
use futures::poll;
use persistence::{DataFolder, Dynamo, EmbeddedDynamo, Endpoint, Where};
use tokio::sync::watch;
use tokio::time::timeout;

use crate::fresh_names;
use crate::harness::{batch, booked, bookings_on, connect, date, doctor, fresh, own, seat, stored};

const ROUNDS: usize = 20;
const COMMITS: usize = 40;
/// A store that has not answered by then never will.
const DEADLINE: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_this_process_an_answered_claim_has_nothing_to_come_and_all_before_it_is_seen() {
    let folder = tempfile::tempdir().unwrap();
    let server = EmbeddedDynamo::start(Where::File(DataFolder::lock(folder.path()).unwrap())).unwrap();
    let dynamo = Dynamo::connect(Endpoint::Own(server.own_process()), fresh_names::tables()).await.unwrap();
    dynamo.create_missing_tables().await.unwrap();
    let (dr, fences) = (doctor("dr@x.com"), dynamo.fences(Ring::default()));
    assert_eq!(fences.settle(), Duration::ZERO);

    let mut fence = own(&fences, Ring::default().range_of(&dr)).await;
    let (mut in_time, mut late) = (0, 0);
    for round in 0..ROUNDS {
        let node = NodeId::new(fresh());
        let claim = Claim { range: fence.range, node, address: String::new(), from: Some(fence.epoch) };
        let mut claiming = fences.claim(&claim);
        // The first claim is sent before all commits, each of the others when so many have been answered.
        let early = if round == 0 { poll!(&mut claiming) } else { Poll::Pending };
        let answered = watch::Sender::new(0);
        let commits: Vec<_> = (0..COMMITS)
            .map(|number| {
                let event = booked(&dr, &seat(&format!("user{round}-{number}@x.com"), "09:00"));
                let (bookings, request) = (dynamo.bookings(), batch(&[fence], vec![event.clone()]));
                let answered = answered.clone();
                tokio::spawn(async move {
                    let outcome = bookings.commit(&request).await;
                    answered.send_modify(|answered| *answered += 1);
                    (event, outcome)
                })
            })
            .collect();
        let mut answered = answered.subscribe();
        drop(timeout(DEADLINE, answered.wait_for(|answered| *answered >= round)).await.unwrap().unwrap());
        let epoch = match early {
            Poll::Ready(epoch) => epoch,
            Poll::Pending => claiming.await,
        };
        let epoch = epoch.unwrap();
        let seen = bookings_on(&dynamo.bookings(), &dr, date("2026-12-01")).await.unwrap().seats;
        for commit in commits {
            let (event, outcome) = commit.await.unwrap();
            match outcome {
                Ok(()) => {
                    assert!(seen.contains(&stored(&event)), "round {round}: it came after the claim");
                    in_time += 1;
                }
                Err(CommitError::Cancelled(_)) => late += 1,
                Err(error) => panic!("{error}"),
            }
        }
        fence = FenceCheck { epoch, ..fence };
    }
    assert!(in_time > 0 && late > 0, "{in_time} were in time, {late} too late: no race");
    server.stop();
}

#[tokio::test]
async fn elsewhere_it_takes_the_time_that_the_design_assumes() {
    let server = EmbeddedDynamo::start(Where::Memory).unwrap();
    let dynamo = connect(&server.endpoint()).await;
    assert_eq!(dynamo.fences(Ring::default()).settle(), TAKEOVER_SETTLE);
}
