//! `engine::Nodes` over DynamoDB: one item for each node of the cluster, which lives as long as its lease. Few and small,
//! so that all of them are read in one scan.

use aws_sdk_dynamodb::operation::delete_item::DeleteItemError;
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use engine::shard::{FencingEpoch, RangeId, Ring};
use engine::store::{BeatError, Heartbeat, Holding, LoadError};
use engine::{NodeId, Nodes};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::error::{Failure, load_error};
use super::items::{Item, number, number_of, text, text_of};
use super::{Dynamo, PAGES_MAX, keys};

/// The heartbeat items in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoNodes {
    dynamo: Dynamo,
    ring: Ring,
}

impl DynamoNodes {
    pub(super) const fn new(dynamo: Dynamo, ring: Ring) -> Self {
        Self { dynamo, ring }
    }

    async fn put(self, heartbeat: Heartbeat, condition: &'static str) -> Result<(), BeatError> {
        let mut request = self
            .dynamo
            .strict
            .put_item()
            .table_name(&self.dynamo.tables.nodes)
            .set_item(Some(item(&heartbeat)))
            .condition_expression(condition);
        if condition.contains(keys::BEAT_VALUE) {
            request = request.expression_attribute_values(keys::BEAT_VALUE, number(heartbeat.count));
        }
        match request.send().await {
            Ok(_) => Ok(()),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(_)) => Err(BeatError::Moved),
                Some(_) | None => Err(Failure::of(&error).into_beat_error()),
            },
        }
    }

    async fn scan(self) -> Result<Vec<Heartbeat>, LoadError> {
        let scan = self.dynamo.patient.scan().table_name(&self.dynamo.tables.nodes).consistent_read(true);
        let mut nodes = Vec::new();
        let mut from = None;
        for _ in 0..PAGES_MAX {
            let page = scan.clone().set_exclusive_start_key(from).send().await.map_err(load_error)?;
            for item in page.items.unwrap_or_default() {
                nodes.push(read(&item, self.ring).map_err(LoadError::Refused)?);
            }
            match page.last_evaluated_key {
                Some(key) if !key.is_empty() => from = Some(key),
                Some(_) | None => {
                    nodes.sort_unstable_by_key(|heartbeat: &Heartbeat| heartbeat.node);
                    return Ok(nodes);
                }
            }
        }
        Err(LoadError::Refused(format!("more than {PAGES_MAX} pages of nodes")))
    }
}

impl Nodes for DynamoNodes {
    fn list(&self) -> BoxFuture<'static, Result<Vec<Heartbeat>, LoadError>> {
        self.clone().scan().boxed()
    }

    fn join(&self, heartbeat: &Heartbeat) -> BoxFuture<'static, Result<(), BeatError>> {
        self.clone().put(heartbeat.clone(), keys::IS_ABSENT).boxed()
    }

    fn beat(&self, heartbeat: &Heartbeat) -> BoxFuture<'static, Result<(), BeatError>> {
        self.clone().put(heartbeat.clone(), keys::BEAT_IS_LATER).boxed()
    }

    fn bury(&self, node: NodeId, count: u64) -> BoxFuture<'static, Result<(), BeatError>> {
        let request = self
            .dynamo
            .strict
            .delete_item()
            .table_name(&self.dynamo.tables.nodes)
            .key(keys::PK, text(node.to_string()))
            .condition_expression(keys::BEAT_STANDS)
            .expression_attribute_values(keys::BEAT_VALUE, number(count));
        async move {
            match request.send().await {
                Ok(_) => Ok(()),
                Err(error) => match error.as_service_error() {
                    Some(DeleteItemError::ConditionalCheckFailedException(_)) => Err(BeatError::Moved),
                    Some(_) | None => Err(Failure::of(&error).into_beat_error()),
                },
            }
        }
        .boxed()
    }
}

fn item(heartbeat: &Heartbeat) -> Item {
    let Heartbeat { node, address, count, leaving, owns, doctors } = heartbeat;
    let owns: Vec<String> = owns.iter().map(write_holding).collect();
    Item::from(
        [
            (keys::PK, text(node.to_string())),
            (keys::ADDRESS, text(address.clone())),
            (keys::BEAT, number(*count)),
            (keys::LEAVING, AttributeValue::Bool(*leaving)),
            (keys::OWNS, text(owns.join(" "))),
            (keys::DOCTORS, number(*doctors)),
        ]
        .map(|(name, value)| (name.to_owned(), value)),
    )
}

/// Reads a heartbeat item; the error says what is wrong with it.
fn read(item: &Item, ring: Ring) -> Result<Heartbeat, String> {
    let node = text_of(item, keys::PK).and_then(NodeId::parse).ok_or("a node without an identity")?;
    let wrong = |what: &str| format!("node {node}: {what}");
    let owns = text_of(item, keys::OWNS).unwrap_or_default().split_ascii_whitespace();
    let owns: Option<Vec<Holding>> = owns.map(|text| read_holding(text, ring)).collect();
    Ok(Heartbeat {
        node,
        address: text_of(item, keys::ADDRESS).unwrap_or_default().to_owned(),
        count: number_of(item, keys::BEAT).ok_or_else(|| wrong("no count"))?,
        leaving: matches!(item.get(keys::LEAVING), Some(AttributeValue::Bool(true))),
        owns: owns.ok_or_else(|| wrong("what it owns cannot be read"))?,
        doctors: number_of(item, keys::DOCTORS).unwrap_or_default(),
    })
}

/// `7:12:1764000000`: range, epoch, since when.
fn write_holding(Holding { range, epoch, since }: &Holding) -> String {
    format!("{}:{}:{since}", range.index(), epoch.get())
}

fn read_holding(text: &str, ring: Ring) -> Option<Holding> {
    let mut parts = text.split(':');
    let range: RangeId = ring.range(parts.next()?.parse().ok()?)?;
    let epoch = FencingEpoch::from_stored(parts.next()?.parse().ok()?)?;
    let since = parts.next()?.parse().ok()?;
    parts.next().is_none().then_some(Holding { range, epoch, since })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_heartbeat_is_read_as_it_was_written() {
        let ring = Ring::default();
        let epoch = FencingEpoch::from_stored(12).unwrap();
        let owns = ring.ranges().step_by(7).map(|range| Holding { range, epoch, since: 1_764_000_000 });
        let heartbeat = Heartbeat {
            node: NodeId::new(7),
            address: "http://10.0.0.7:9080".to_owned(),
            count: 41,
            leaving: true,
            owns: owns.collect(),
            doctors: 3,
        };
        assert_eq!(read(&item(&heartbeat), ring), Ok(heartbeat.clone()));
        let nothing = Heartbeat { owns: Vec::new(), ..heartbeat };
        assert_eq!(read(&item(&nothing), ring), Ok(nothing));
        for text in ["", "7", "7:0:1", "64:1:1", "7:1", "7:1:1:1", "x:1:1"] {
            assert_eq!(read_holding(text, ring), None, "{text:?}");
        }
    }
}
