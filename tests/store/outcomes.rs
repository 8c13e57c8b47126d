//! What a failure tells: certainly not, certainly, or perhaps.

use engine::shard::Ring;
use engine::store::{BookingStore, Claim, ClaimError, CommitError, Fences, LoadError};
use engine::{NodeId, RequestToken};
use persistence::{ConnectError, Dynamo, Endpoint, TableNames};
use tokio::net::{TcpListener, TcpSocket};

use crate::harness::{
    batch, booked, bookings_on, connect, date, doctor, each_dynamo, each_endpoint, each_lossy, own, seat,
    stored,
};

fn first_claim() -> Claim {
    Claim {
        range: Ring::default().range(1).unwrap(),
        node: NodeId::new(1),
        address: String::new(),
        from: None,
    }
}

#[tokio::test]
async fn an_answer_that_was_lost_leaves_the_outcome_unknown_and_the_same_request_settles_it() {
    each_lossy(async |dynamo, proxy| {
        let dr = doctor("dr@x.com");
        let fence = own(&dynamo.fences(Ring::default()), Ring::default().range_of(&dr)).await;
        let event = booked(&dr, &seat("ada@x.com", "09:00"));
        let request = batch(&[fence], vec![event.clone()]);

        proxy.lose_answers(1);
        let outcome = dynamo.bookings().commit(&request).await;
        assert!(matches!(outcome, Err(CommitError::Unknown(_))), "{outcome:?}");
        assert_eq!(proxy.lost(), 1, "a commit is sent once");
        dynamo.bookings().commit(&request).await.unwrap();
        let loaded = bookings_on(&dynamo.bookings(), &dr, date("2026-12-01")).await.unwrap();
        assert_eq!(loaded.seats, [stored(&event)]);

        // The token forgotten, the row still says whose it is.
        let outcome = dynamo.bookings().commit(&batch(&[fence], vec![event.clone()])).await;
        let Err(CommitError::Cancelled(reasons)) = outcome else { panic!("{outcome:?}") };
        assert_eq!(reasons.events, [engine::store::Reason::ConditionFailed { found: Some(event.id) }]);
    })
    .await;
}

#[tokio::test]
async fn a_claim_whose_answer_was_lost_is_unknown_and_the_fence_names_the_owner() {
    each_lossy(async |dynamo, proxy| {
        proxy.lose_answers(1);
        let outcome = dynamo.fences(Ring::default()).claim(&first_claim()).await;
        assert!(matches!(outcome, Err(ClaimError::Unknown(_))), "{outcome:?}");
        assert_eq!(
            dynamo.fences(Ring::default()).read(&[Ring::default().range(1).unwrap()]).await.unwrap()[0].owner,
            NodeId::new(1)
        );
    })
    .await;
}

#[tokio::test]
async fn a_read_whose_answer_was_lost_is_asked_again() {
    each_lossy(async |dynamo, proxy| {
        proxy.lose_answers(1);
        assert!(!dynamo.bookings().doctor_exists(&doctor("dr@x.com")).await.unwrap());
        assert_eq!(proxy.lost(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_connection_that_is_refused_certainly_changed_nothing() {
    // Bound, so that nobody else gets the port, but not listening.
    let deaf = TcpSocket::new_v4().unwrap();
    deaf.bind("127.0.0.1:0".parse().unwrap()).unwrap();
    let dynamo = connect(&Endpoint::At(format!("http://{}", deaf.local_addr().unwrap()))).await;
    let outcome = dynamo
        .bookings()
        .commit(&batch(&[], vec![booked(&doctor("dr@x.com"), &seat("a@x.com", "09:00"))]))
        .await;
    assert!(matches!(outcome, Err(CommitError::Aborted(_))), "{outcome:?}");
    let outcome = dynamo.fences(Ring::default()).claim(&first_claim()).await;
    assert!(matches!(outcome, Err(ClaimError::Aborted(_))), "{outcome:?}");
    let outcome = dynamo.bookings().doctor_exists(&doctor("dr@x.com")).await;
    assert!(matches!(outcome, Err(LoadError::Unavailable(_))), "{outcome:?}");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_never_answers_leaves_the_outcome_unknown_within_the_limit() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let dynamo = connect(&Endpoint::At(format!("http://{}", silent.local_addr().unwrap()))).await;
    let before = tokio::time::Instant::now();
    let outcome = dynamo
        .bookings()
        .commit(&batch(&[], vec![booked(&doctor("dr@x.com"), &seat("a@x.com", "09:00"))]))
        .await;
    assert!(matches!(outcome, Err(CommitError::Unknown(_))), "{outcome:?}");
    assert!(before.elapsed() <= engine::limits::COMMIT_ATTEMPT_TIMEOUT * 2);
    let outcome = dynamo.bookings().doctor_exists(&doctor("dr@x.com")).await;
    assert!(matches!(outcome, Err(LoadError::Unavailable(_))), "{outcome:?}");
}

#[tokio::test]
async fn a_table_that_is_not_there_certainly_changed_nothing() {
    each_endpoint(async |endpoint| {
        let dynamo = connect(endpoint).await;
        let outcome = dynamo.fences(Ring::default()).claim(&first_claim()).await;
        assert!(matches!(outcome, Err(ClaimError::Aborted(_))), "{outcome:?}");
        let outcome = bookings_on(&dynamo.bookings(), &doctor("dr@x.com"), date("2026-12-01")).await;
        assert!(matches!(outcome, Err(LoadError::Refused(_))), "{outcome:?}");
        let event = booked(&doctor("dr@x.com"), &seat("a@x.com", "09:00"));
        let outcome = dynamo.bookings().commit(&batch(&[], vec![event])).await;
        assert!(matches!(outcome, Err(CommitError::Aborted(_))), "{outcome:?}");
    })
    .await;
}

#[tokio::test]
async fn a_request_that_is_no_request_is_malformed() {
    each_dynamo(async |dynamo| {
        let mut nothing = batch(&[], Vec::new());
        nothing.token = RequestToken::new(7);
        let outcome = dynamo.bookings().commit(&nothing).await;
        assert!(matches!(outcome, Err(CommitError::Malformed(_))), "{outcome:?}");
    })
    .await;
}

#[tokio::test]
async fn an_endpoint_that_is_no_address_is_an_error_at_once() {
    for address in ["", "localhost:8000", "http://", "https:///x", "ftp://x", "http://a b"] {
        let outcome = Dynamo::connect(Endpoint::At(address.to_owned()), TableNames::default()).await;
        assert!(matches!(outcome, Err(ConnectError::NotAnAddress(_))), "{address:?}");
    }
}
