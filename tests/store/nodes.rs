//! Heartbeats: who joins, who goes on, who is buried, and that nobody comes back from that.

use std::sync::Arc;

use engine::NodeId;
use engine::shard::{FencingEpoch, Ring};
use engine::store::{BeatError, Heartbeat, Holding, LoadError};
use futures::{StreamExt, stream};

use crate::harness::{each_dynamo, each_store, put, s};

fn node(number: u128) -> NodeId {
    NodeId::new(number)
}

/// A heartbeat of a node that owns a few ranges.
fn heartbeat(number: u128, count: u64) -> Heartbeat {
    let epoch = FencingEpoch::from_stored(count + 1).unwrap();
    let owns =
        Ring::default().ranges().step_by(9).map(|range| Holding { range, epoch, since: 1_764_000_000 });
    Heartbeat {
        node: node(number),
        address: format!("10.0.0.{number}:7000"),
        count,
        leaving: count.is_multiple_of(2),
        owns: owns.collect(),
        doctors: count * 7,
    }
}

fn is_moved(outcome: &Result<(), BeatError>) -> bool {
    matches!(outcome, Err(BeatError::Moved))
}

#[tokio::test]
async fn a_node_is_listed_as_it_last_spoke_of_itself() {
    each_store(async |store| {
        assert_eq!(store.nodes.list().await.unwrap(), []);
        let lonely = Heartbeat { owns: Vec::new(), doctors: 0, ..heartbeat(7, 1) };
        store.nodes.join(&lonely).await.unwrap();
        assert_eq!(store.nodes.list().await.unwrap(), [lonely]);
        for count in [2, 3, 9] {
            store.nodes.beat(&heartbeat(7, count)).await.unwrap();
            assert_eq!(store.nodes.list().await.unwrap(), [heartbeat(7, count)]);
        }
    })
    .await;
}

#[tokio::test]
async fn the_list_is_complete_and_in_order() {
    each_store(async |store| {
        // In no order, and more than the megabyte that one page holds.
        let numbers = (0..400_u128).map(|n| n * 7_919 % 400 + 1);
        let all = Heartbeat { owns: every_range(), ..heartbeat(1, 1) };
        let joins = numbers.map(|number| {
            let (nodes, all) = (Arc::clone(&store.nodes), all.clone());
            async move { nodes.join(&Heartbeat { node: node(number), ..all }).await }
        });
        // So few at once that none waits for the others until it times out.
        let joined: Vec<_> = stream::iter(joins).buffer_unordered(10).collect().await;
        assert!(joined.iter().all(Result::is_ok), "{joined:?}");
        let listed = store.nodes.list().await.unwrap();
        assert!(listed.iter().map(|heartbeat| heartbeat.node).eq((1..=400).map(node)));
        assert!(listed.iter().all(|heartbeat| heartbeat.owns == all.owns));
    })
    .await;
}

/// What one node that owns everything says.
fn every_range() -> Vec<Holding> {
    let epoch = FencingEpoch::from_stored(u64::MAX).unwrap();
    Ring::default().ranges().map(|range| Holding { range, epoch, since: i64::MAX }).collect()
}

#[tokio::test]
async fn an_identity_joins_once() {
    each_store(async |store| {
        store.nodes.join(&heartbeat(7, 1)).await.unwrap();
        for count in [1, 2] {
            assert!(is_moved(&store.nodes.join(&heartbeat(7, count)).await), "{count}");
        }
        assert_eq!(store.nodes.list().await.unwrap(), [heartbeat(7, 1)]);
    })
    .await;
}

#[tokio::test]
async fn a_heartbeat_that_comes_late_changes_nothing() {
    each_store(async |store| {
        store.nodes.join(&heartbeat(7, 1)).await.unwrap();
        store.nodes.beat(&heartbeat(7, 5)).await.unwrap();
        // The same once more is a repeat whose first outcome was lost: it was stored, and is not again.
        for late in [5, 4, 1, 0] {
            assert!(is_moved(&store.nodes.beat(&heartbeat(7, late)).await), "{late}");
        }
        assert_eq!(store.nodes.list().await.unwrap(), [heartbeat(7, 5)]);
        store.nodes.beat(&heartbeat(7, 6)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn only_a_node_that_stands_still_is_buried() {
    each_store(async |store| {
        store.nodes.join(&heartbeat(7, 1)).await.unwrap();
        store.nodes.join(&heartbeat(8, 1)).await.unwrap();
        store.nodes.beat(&heartbeat(7, 2)).await.unwrap();
        for count in [1, 3, 0] {
            assert!(is_moved(&store.nodes.bury(node(7), count).await), "{count}");
        }
        store.nodes.bury(node(7), 2).await.unwrap();
        assert_eq!(store.nodes.list().await.unwrap(), [heartbeat(8, 1)]);
    })
    .await;
}

#[tokio::test]
async fn a_node_that_was_buried_does_not_beat_again_and_is_buried_once() {
    each_store(async |store| {
        store.nodes.join(&heartbeat(7, 1)).await.unwrap();
        store.nodes.bury(node(7), 1).await.unwrap();
        for count in [1, 2, 99] {
            assert!(is_moved(&store.nodes.beat(&heartbeat(7, count)).await), "{count}");
        }
        assert!(is_moved(&store.nodes.bury(node(7), 1).await));
        assert!(is_moved(&store.nodes.bury(node(9), 1).await), "there never was one");
        assert!(is_moved(&store.nodes.beat(&heartbeat(9, 1)).await), "it never joined");
        assert_eq!(store.nodes.list().await.unwrap(), []);
    })
    .await;
}

#[tokio::test]
async fn of_a_last_heartbeat_and_a_burial_exactly_one_happens() {
    each_store(async |store| {
        for number in 1..=20 {
            store.nodes.join(&heartbeat(number, 1)).await.unwrap();
            let next = heartbeat(number, 2);
            let (beaten, buried) = futures::join!(store.nodes.beat(&next), store.nodes.bury(node(number), 1));
            assert!(beaten.is_ok() != buried.is_ok(), "{beaten:?} {buried:?}");
            let listed = store.nodes.list().await.unwrap();
            assert_eq!(listed.iter().any(|heartbeat| heartbeat.node == node(number)), beaten.is_ok());
        }
    })
    .await;
}

#[tokio::test]
async fn a_heartbeat_that_cannot_be_read_is_an_error_and_not_an_absent_node() {
    each_dynamo(async |dynamo| {
        put(dynamo, &dynamo.tables().nodes, [("PK", s("somebody")), ("count", s("many"))]).await;
        let listed = engine::Nodes::list(&dynamo.nodes(Ring::default())).await;
        assert!(matches!(listed, Err(LoadError::Refused(_))), "{listed:?}");
    })
    .await;
}
