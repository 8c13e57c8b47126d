//! Transactions: all of their actions, or none.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use xxhash_rust::xxh3::{Xxh3, xxh3_128};

use super::action::{Action, Kind, Obstacle, Request};
use super::{NOTHING, Unmeasured, parse};
use crate::commit::{Pending, Waiting};
use crate::database::Inner;
use crate::error::{Reason, Refusal};
use crate::value::Borrowed;

/// Actions of one transaction.
const ACTIONS_MAX: usize = 100;
/// Bytes of all of its items.
const BYTES_MAX: usize = 4 * 1024 * 1024;
/// Characters of a token.
const TOKEN_MAX: usize = 36;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Transaction<'a> {
    #[serde(borrow)]
    transact_items: Vec<One<'a>>,
    #[serde(borrow, default)]
    client_request_token: Option<Borrowed<'a>>,
    #[serde(default, rename = "ReturnConsumedCapacity")]
    _capacity: Unmeasured,
    #[serde(default, rename = "ReturnItemCollectionMetrics")]
    _metrics: Unmeasured,
}

#[derive(Deserialize)]
enum One<'a> {
    #[serde(borrow)]
    Put(Request<'a>),
    #[serde(borrow)]
    Update(Request<'a>),
    #[serde(borrow)]
    Delete(Request<'a>),
    #[serde(borrow)]
    ConditionCheck(Request<'a>),
}

/// A token, and what it stands for.
#[derive(Clone, Copy)]
struct Token {
    token: u128,
    meaning: u128,
}

pub(super) fn write(inner: &Inner, body: &[u8]) -> Result<Waiting<Bytes>, Refusal> {
    let transaction: Transaction<'_> = parse(body)?;
    let count = transaction.transact_items.len();
    if !(1..=ACTIONS_MAX).contains(&count) {
        return Err(Refusal::invalid(format!(
            "1 validation error detected: Value at 'transactItems' failed to satisfy constraint: Member must have length between 1 and 100, inclusive; it has {count}"
        )));
    }
    loop {
        let mut actions = Vec::with_capacity(count);
        for one in &transaction.transact_items {
            actions.push(one.prepare(inner)?);
        }
        check_distinct(&actions)?;
        let size: usize = actions.iter().map(|action| action.size).sum();
        if size > BYTES_MAX {
            return Err(Refusal::invalid("Collection size of all items in a transaction cannot exceed 4MB"));
        }
        let token = transaction.client_request_token.as_ref().map(|token| Token::of(&token.0, &actions));
        let token = token.transpose()?;
        let mut is_stale = false;
        let written = inner.commits.write(|pending| {
            let mut tables = actions.chunk_by(|one, next| Arc::ptr_eq(&one.table, &next.table));
            if tables.any(|of_one| !inner.tables.has(&of_one[0].table)) {
                is_stale = true;
                return Ok(NOTHING);
            }
            all(&actions, token, inner.now(), pending)
        });
        if !is_stale {
            return Ok(written);
        }
    }
}

impl<'a> One<'a> {
    fn prepare<'r>(&'r self, inner: &Inner) -> Result<Action<'r, 'a>, Refusal> {
        let (request, kind) = match self {
            Self::Put(request) => (request, Kind::Put),
            Self::Update(request) => (request, Kind::Update),
            Self::Delete(request) => (request, Kind::Delete),
            Self::ConditionCheck(request) => (request, Kind::Check),
        };
        if request.return_values.is_some() {
            return Err(Refusal::invalid("A transaction returns no values"));
        }
        request.prepare(inner, kind)
    }
}

impl Token {
    fn of(text: &str, actions: &[Action<'_, '_>]) -> Result<Self, Refusal> {
        if !(1..=TOKEN_MAX).contains(&text.len()) {
            return Err(Refusal::invalid(
                "1 validation error detected: Value at 'clientRequestToken' failed to satisfy constraint: Member must have length between 1 and 36, inclusive",
            ));
        }
        let mut meaning = Xxh3::default();
        actions.iter().for_each(|action| action.describe(&mut meaning));
        Ok(Self { token: xxh3_128(text.as_bytes()), meaning: meaning.digest128() })
    }
}

fn check_distinct(actions: &[Action<'_, '_>]) -> Result<(), Refusal> {
    let mut rows: Vec<&[u8]> = actions.iter().map(|action| &*action.row).collect();
    rows.sort_unstable();
    if rows.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(Refusal::invalid("Transaction request cannot include multiple operations on one item"));
    }
    Ok(())
}

fn all(
    actions: &[Action<'_, '_>],
    token: Option<Token>,
    now: u64,
    pending: &mut Pending<'_>,
) -> Result<Bytes, Refusal> {
    if let Some(Token { token, meaning }) = token
        && let Some(known) = pending.token(token, now)
    {
        return if known == meaning { Ok(NOTHING) } else { Err(Refusal::OtherRequest) };
    }
    let (mut effects, mut reasons) = (Vec::with_capacity(actions.len()), Vec::new());
    for (number, action) in actions.iter().enumerate() {
        let reason = match action.plan(pending) {
            Ok(effect) => {
                effects.push(effect);
                continue;
            }
            Err(Obstacle::Condition(found)) => Reason::ConditionFailed(found),
            Err(Obstacle::Item(text)) => Reason::Invalid(text),
            Err(Obstacle::Request(refusal)) => return Err(refusal),
        };
        reasons.resize(number, Reason::None);
        reasons.push(reason);
    }
    if !reasons.is_empty() {
        reasons.resize(actions.len(), Reason::None);
        return Err(Refusal::Cancelled(reasons));
    }
    for effect in effects {
        effect.apply(pending);
    }
    if let Some(Token { token, meaning }) = token {
        pending.remember(token, meaning, now);
    }
    Ok(NOTHING)
}
