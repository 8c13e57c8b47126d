//! Reads of items by their keys.

use std::collections::HashMap;
use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;

use super::{Unmeasured, given, parse, text};
use crate::database::Inner;
use crate::error::Refusal;
use crate::expression::{Given, Parsed, Projection, Used};
use crate::value::{Borrowed, Item, Names, write_text};

/// Keys of one batch, and of one transaction.
const KEYS_MAX: usize = 100;
/// Bytes of the answer to one batch, about; what is left is asked for again.
const ANSWER_MAX: usize = 16 * 1024 * 1024;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Get<'a> {
    #[serde(borrow)]
    table_name: Borrowed<'a>,
    #[serde(borrow)]
    key: Item<'a>,
    #[serde(borrow, default)]
    projection_expression: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    expression_attribute_names: Option<Names<'a>>,
    /// All reads here are consistent.
    #[serde(default, rename = "ConsistentRead")]
    _consistent_read: bool,
    #[serde(default, rename = "ReturnConsumedCapacity")]
    _capacity: Unmeasured,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Batch<'a> {
    #[serde(borrow)]
    request_items: HashMap<String, Keys<'a>>,
    #[serde(default, rename = "ReturnConsumedCapacity")]
    _capacity: Unmeasured,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Keys<'a> {
    #[serde(borrow)]
    keys: Vec<Item<'a>>,
    #[serde(borrow, default)]
    projection_expression: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    expression_attribute_names: Option<Names<'a>>,
    #[serde(default, rename = "ConsistentRead")]
    _consistent_read: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Transaction<'a> {
    #[serde(borrow)]
    transact_items: Vec<One<'a>>,
    #[serde(default, rename = "ReturnConsumedCapacity")]
    _capacity: Unmeasured,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct One<'a> {
    #[serde(borrow)]
    get: Get<'a>,
}

/// Which part of an item is shown.
pub(super) struct Shown<'r, 'a> {
    projection: Option<Arc<Parsed<Projection>>>,
    given: Given<'r, 'a>,
}

impl<'r, 'a> Shown<'r, 'a> {
    pub(super) fn of(inner: &Inner, projection: Option<&str>, given: Given<'r, 'a>) -> Result<Self, Refusal> {
        let projection = projection.map(|text| inner.expressions.projections.get(text)).transpose()?;
        Ok(Self { projection, given })
    }

    /// Notes which placeholders it uses, and refuses what makes no sense.
    pub(super) fn check<'s>(&'s self, used: &mut Used<'s>) -> Result<(), Refusal> {
        let Some(projection) = &self.projection else { return Ok(()) };
        used.add(projection, self.given)?;
        projection.expression.check(self.given)
    }

    pub(super) const fn is_part(&self) -> bool {
        self.projection.is_some()
    }

    /// Writes what is shown of a stored item.
    pub(super) fn write(&self, stored: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        match &self.projection {
            None => out.extend(stored),
            Some(projection) => projection.expression.of(&Item::stored(stored)?, self.given).write(out),
        }
        Ok(())
    }
}

pub(super) fn one(inner: &Inner, body: &[u8]) -> Result<Bytes, Refusal> {
    let get: Get<'_> = parse(body)?;
    let row = inner.tables.get(&get.table_name.0)?.key_of(&get.key)?;
    let given = given(&get.expression_attribute_names, &None);
    let shown = checked(inner, text(&get.projection_expression), given)?;
    let mut answer = b"{".to_vec();
    if let Some(stored) = inner.commits.storage().get(&row)? {
        answer.extend(b"\"Item\":");
        shown.write(&stored, &mut answer)?;
    }
    answer.push(b'}');
    Ok(answer.into())
}

pub(super) fn batch(inner: &Inner, body: &[u8]) -> Result<Bytes, Refusal> {
    let Batch { request_items, .. } = parse(body)?;
    let count: usize = request_items.values().map(|wanted| wanted.keys.len()).sum();
    if count == 0 || count > KEYS_MAX || request_items.values().any(|wanted| wanted.keys.is_empty()) {
        return Err(Refusal::invalid("Too many items requested for the BatchGetItem call, or none"));
    }
    let (mut answer, mut unprocessed) = (b"{\"Responses\":{".to_vec(), Vec::new());
    for (number, (name, wanted)) in request_items.iter().enumerate() {
        let table = inner.tables.get(name)?;
        let given = given(&wanted.expression_attribute_names, &None);
        let shown = checked(inner, text(&wanted.projection_expression), given)?;
        let rows: Result<Vec<Vec<u8>>, Refusal> = wanted.keys.iter().map(|key| table.key_of(key)).collect();
        let rows = rows?;
        let mut distinct: Vec<&Vec<u8>> = rows.iter().collect();
        distinct.sort();
        if distinct.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(Refusal::invalid("Provided list of item keys contains duplicates"));
        }
        if number > 0 {
            answer.push(b',');
        }
        write_text(name, &mut answer);
        answer.extend(b":[");
        let (mut found, mut left) = (0, Vec::new());
        for (key, row) in wanted.keys.iter().zip(&rows) {
            if answer.len() > ANSWER_MAX {
                left.push(key);
                continue;
            }
            if let Some(stored) = inner.commits.storage().get(row)? {
                if found > 0 {
                    answer.push(b',');
                }
                found += 1;
                shown.write(&stored, &mut answer)?;
            }
        }
        answer.push(b']');
        if !left.is_empty() {
            unprocessed.push((name, wanted, left));
        }
    }
    answer.extend(b"},\"UnprocessedKeys\":{");
    for (number, (name, wanted, keys)) in unprocessed.into_iter().enumerate() {
        if number > 0 {
            answer.push(b',');
        }
        write_unprocessed(name, wanted, &keys, &mut answer);
    }
    answer.extend(b"}}");
    Ok(answer.into())
}

fn write_unprocessed(name: &str, wanted: &Keys<'_>, keys: &[&Item<'_>], out: &mut Vec<u8>) {
    write_text(name, out);
    out.extend(b":{\"Keys\":[");
    for (number, key) in keys.iter().enumerate() {
        if number > 0 {
            out.push(b',');
        }
        key.write(out);
    }
    out.push(b']');
    if let Some(projection) = text(&wanted.projection_expression) {
        out.extend(b",\"ProjectionExpression\":");
        write_text(projection, out);
    }
    if let Some(names) = &wanted.expression_attribute_names {
        out.extend(b",\"ExpressionAttributeNames\":{");
        for (number, (placeholder, meant)) in names.0.iter().enumerate() {
            if number > 0 {
                out.push(b',');
            }
            write_text(placeholder, out);
            out.push(b':');
            write_text(meant, out);
        }
        out.push(b'}');
    }
    out.push(b'}');
}

pub(super) fn transaction(inner: &Inner, body: &[u8]) -> Result<Bytes, Refusal> {
    let Transaction { transact_items, .. } = parse(body)?;
    if !(1..=KEYS_MAX).contains(&transact_items.len()) {
        return Err(Refusal::invalid("A transaction reads from 1 to 100 items"));
    }
    let mut wanted = Vec::with_capacity(transact_items.len());
    for One { get } in &transact_items {
        let row = inner.tables.get(&get.table_name.0)?.key_of(&get.key)?;
        let given = given(&get.expression_attribute_names, &None);
        wanted.push((row, checked(inner, text(&get.projection_expression), given)?));
    }
    let mut found = Vec::with_capacity(wanted.len());
    inner.commits.storage().view(&mut |view| {
        found.clear();
        for (row, _) in &wanted {
            found.push(view.get(row)?);
        }
        Ok(())
    })?;
    let mut answer = b"{\"Responses\":[".to_vec();
    for (number, ((_, shown), stored)) in wanted.iter().zip(found).enumerate() {
        answer.extend(if number > 0 { b",{".as_slice() } else { b"{" });
        if let Some(stored) = stored {
            answer.extend(b"\"Item\":");
            shown.write(&stored, &mut answer)?;
        }
        answer.push(b'}');
    }
    answer.extend(b"]}");
    Ok(answer.into())
}

fn checked<'r, 'a>(
    inner: &Inner,
    projection: Option<&str>,
    given: Given<'r, 'a>,
) -> Result<Shown<'r, 'a>, Refusal> {
    let shown = Shown::of(inner, projection, given)?;
    let mut used = Used::default();
    shown.check(&mut used)?;
    used.check(given)?;
    Ok(shown)
}
