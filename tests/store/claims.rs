//! Claims: of many at once exactly one wins, and everybody else's writes are refused from then on.

use std::sync::Arc;

use engine::NodeId;
use engine::limits::RANGES;
use engine::shard::{FencingEpoch, RangeId, Ring};
use engine::store::{Claim, ClaimError, CommitError, Fence, FenceCheck, LoadError, Reason};
use futures::future::join_all;

use crate::harness::{batch, booked, doctor, each_dynamo, each_store, own, put, s, seat};

const NODES: u128 = 16;

fn claim(range: RangeId, node: u128, from: Option<FencingEpoch>) -> Claim {
    Claim { range, node: NodeId::new(node), address: format!("10.0.0.{node}:80"), from }
}

#[tokio::test]
async fn of_many_claims_from_the_same_epoch_exactly_one_wins() {
    each_store(async |store| {
        let range = Ring::default().range(7).unwrap();
        let mut seen = None;
        for round in 1..=3 {
            let contenders = (1..=NODES).map(|node| {
                let fences = Arc::clone(&store.fences);
                async move { (node, fences.claim(&claim(range, node, seen)).await) }
            });
            let mut winners = Vec::new();
            for (node, outcome) in join_all(contenders).await {
                match outcome {
                    Ok(epoch) => winners.push((node, epoch)),
                    Err(ClaimError::Raised | ClaimError::Aborted(_)) => {}
                    Err(ClaimError::Unknown(text)) => panic!("{text}"),
                }
            }
            let [(node, epoch)] = winners[..] else { panic!("{} winners", winners.len()) };
            assert_eq!(epoch.get(), round);
            let owner =
                Fence { range, owner: NodeId::new(node), address: format!("10.0.0.{node}:80"), epoch };
            assert_eq!(
                store.fences.read(&Ring::default().ranges().collect::<Vec<_>>()).await.unwrap(),
                [owner]
            );
            seen = Some(epoch);
        }
    })
    .await;
}

#[tokio::test]
async fn a_claim_from_an_epoch_that_is_not_there_is_raised() {
    each_store(async |store| {
        let range = Ring::default().range(0).unwrap();
        let from_nothing = store.fences.claim(&claim(range, 1, Some(FencingEpoch::INITIAL))).await;
        assert!(matches!(from_nothing, Err(ClaimError::Raised)), "{from_nothing:?}");
        store.fences.claim(&claim(range, 1, None)).await.unwrap();
        let again = store.fences.claim(&claim(range, 1, None)).await;
        assert!(matches!(again, Err(ClaimError::Raised)), "{again:?}");
    })
    .await;
}

#[tokio::test]
async fn a_deposed_owner_can_no_longer_commit() {
    each_store(async |store| {
        let dr = doctor("dr@x.com");
        let old = store.own(&dr).await;
        let epoch = store.fences.claim(&claim(old.range, 2, Some(old.epoch))).await.unwrap();
        let events = || vec![booked(&dr, &seat("ada@x.com", "09:00"))];
        match store.bookings.commit(&batch(&[old], events())).await {
            Err(CommitError::Cancelled(reasons)) => {
                assert_eq!(reasons.checks, [Reason::ConditionFailed { found: None }]);
            }
            other => panic!("{other:?}"),
        }
        store.bookings.commit(&batch(&[FenceCheck { epoch, ..old }], events())).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn every_range_can_be_owned_and_all_are_read_at_once() {
    each_store(async |store| {
        assert_eq!(store.fences.read(&Ring::default().ranges().collect::<Vec<_>>()).await.unwrap(), []);
        join_all(Ring::default().ranges().map(|range| own(&*store.fences, range))).await;
        let mut ranges: Vec<_> = store
            .fences
            .read(&Ring::default().ranges().collect::<Vec<_>>())
            .await
            .unwrap()
            .iter()
            .map(|fence| fence.range)
            .collect();
        ranges.sort_unstable();
        assert_eq!(ranges, Ring::default().ranges().collect::<Vec<_>>());
        assert_eq!(ranges.len(), usize::from(RANGES));
    })
    .await;
}

#[tokio::test]
async fn fences_of_a_deployment_with_other_ranges_are_refused() {
    each_dynamo(async |dynamo| {
        own(&dynamo.fences(Ring::default()), Ring::default().range(3).unwrap()).await;
        let request = dynamo.client().update_item().table_name(&dynamo.tables().engine);
        let request = request.key("PK", s("range#03")).update_expression("SET ranges = :ranges");
        let ranges = aws_sdk_dynamodb::types::AttributeValue::N("128".to_owned());
        request.expression_attribute_values(":ranges", ranges).send().await.unwrap();
        match engine::Fences::read(
            &dynamo.fences(Ring::default()),
            &Ring::default().ranges().collect::<Vec<_>>(),
        )
        .await
        {
            Err(LoadError::Refused(text)) => {
                assert!(text.contains("128 ranges there and into 64 here"), "{text}")
            }
            other => panic!("{other:?}"),
        }
    })
    .await;
}

#[tokio::test]
async fn a_fence_that_cannot_be_read_is_an_error_and_not_an_absent_owner() {
    each_dynamo(async |dynamo| {
        put(dynamo, &dynamo.tables().engine, [("PK", s("range#03")), ("owner", s("somebody"))]).await;
        let read = engine::Fences::read(
            &dynamo.fences(Ring::default()),
            &Ring::default().ranges().collect::<Vec<_>>(),
        )
        .await;
        assert!(matches!(read, Err(LoadError::Refused(_))), "{read:?}");
    })
    .await;
}
