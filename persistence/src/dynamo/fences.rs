//! `engine::Fences` over DynamoDB: one item for each range, raised under a condition, read consistently.

use std::collections::HashMap;
use std::time::Duration;

use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::operation::update_item::UpdateItemError;
use aws_sdk_dynamodb::operation::update_item::builders::UpdateItemFluentBuilder;
use aws_sdk_dynamodb::types::KeysAndAttributes;
use engine::Fences;
use engine::limits::TAKEOVER_SETTLE;
use engine::shard::{FencingEpoch, RangeId, Ring};
use engine::store::{Claim, ClaimError, Fence, LoadError};
use futures::FutureExt;
use futures::future::BoxFuture;

use super::error::{Failure, load_error};
use super::items::{Item, fence_attributes, number, read_fence, text};
use super::{Dynamo, keys};

/// Requests that reading all fences may take: the store may answer a part and leave the rest to be asked for
/// again.
const READ_PARTS_MAX: usize = 8;
/// Keys in one `BatchGetItem` (API reference).
const BATCH_GET_MAX: usize = 100;

/// The fence items in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoFences {
    dynamo: Dynamo,
    ring: Ring,
}

impl DynamoFences {
    pub(super) const fn new(dynamo: Dynamo, ring: Ring) -> Self {
        Self { dynamo, ring }
    }

    fn claim_request(&self, claim: &Claim, epoch: FencingEpoch) -> UpdateItemFluentBuilder {
        let mut request = self
            .dynamo
            .strict
            .update_item()
            .table_name(&self.dynamo.tables.engine)
            .key(keys::PK, text(keys::fence_partition(claim.range)));
        let mut assignments = Vec::new();
        for (name, value) in fence_attributes(claim, epoch, self.ring) {
            assignments.push(format!("#{name} = :new_{name}"));
            request = request
                .expression_attribute_names(format!("#{name}"), name)
                .expression_attribute_values(format!(":new_{name}"), value);
        }
        let request = request.update_expression(format!("SET {}", assignments.join(", ")));
        match claim.from {
            None => request.condition_expression(keys::IS_ABSENT),
            Some(from) => request
                .condition_expression(keys::EPOCH_STANDS)
                .expression_attribute_values(keys::EPOCH_VALUE, number(from.get())),
        }
    }
}

impl Fences for DynamoFences {
    fn read(&self, ranges: &[RangeId]) -> BoxFuture<'static, Result<Vec<Fence>, LoadError>> {
        let (this, ranges) = (self.clone(), ranges.to_vec());
        async move {
            let mut items = Vec::with_capacity(ranges.len());
            for some in ranges.chunks(BATCH_GET_MAX) {
                items.extend(read_items(&this.dynamo, some).await?);
            }
            items.iter().map(|item| read_fence(item, this.ring).map_err(LoadError::Refused)).collect()
        }
        .boxed()
    }

    fn claim(&self, claim: &Claim) -> BoxFuture<'static, Result<FencingEpoch, ClaimError>> {
        let epoch = claim.from.map_or(FencingEpoch::INITIAL, FencingEpoch::next);
        let request = self.claim_request(claim, epoch);
        async move {
            match request.send().await {
                Ok(_) => Ok(epoch),
                Err(error) => match error.as_service_error() {
                    Some(UpdateItemError::ConditionalCheckFailedException(_)) => Err(ClaimError::Raised),
                    Some(_) | None => Err(Failure::of(&error).into_claim_error()),
                },
            }
        }
        .boxed()
    }

    /// None in this process: the embedded DynamoDB stores and shows transactions whole and in order, a claim among them.
    fn settle(&self) -> Duration {
        if self.dynamo.own.is_some() { Duration::ZERO } else { TAKEOVER_SETTLE }
    }
}

async fn read_items(dynamo: &Dynamo, ranges: &[RangeId]) -> Result<Vec<Item>, LoadError> {
    let table = &dynamo.tables.engine;
    let malformed = |error: BuildError| LoadError::Refused(error.to_string());
    let mut wanted = HashMap::from([(table.clone(), keys_of(ranges).map_err(malformed)?)]);
    let mut items = Vec::with_capacity(ranges.len());
    for _ in 0..READ_PARTS_MAX {
        let request = dynamo.patient.batch_get_item().set_request_items(Some(wanted));
        let answer = request.send().await.map_err(load_error)?;
        items.extend(answer.responses.unwrap_or_default().remove(table).unwrap_or_default());
        wanted = answer.unprocessed_keys.unwrap_or_default();
        if wanted.is_empty() {
            return Ok(items);
        }
    }
    Err(LoadError::Unavailable("the fences are answered only in part".to_owned()))
}

fn keys_of(ranges: &[RangeId]) -> Result<KeysAndAttributes, BuildError> {
    let key = |range: &RangeId| Item::from([(keys::PK.to_owned(), text(keys::fence_partition(*range)))]);
    KeysAndAttributes::builder()
        .set_keys(Some(ranges.iter().map(key).collect()))
        .consistent_read(true)
        .build()
}
