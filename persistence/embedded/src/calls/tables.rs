//! Tables and their times to live.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::json;

use super::{parse, rendered};
use crate::commit::Waiting;
use crate::database::Inner;
use crate::error::Refusal;
use crate::table::{Definition, Stored, Table};

/// Names in one answer.
const NAMES_MAX: usize = 100;

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Named {
    table_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct List {
    #[serde(default)]
    exclusive_start_table_name: Option<String>,
    #[serde(default)]
    limit: Option<usize>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct SetExpiry {
    table_name: String,
    time_to_live_specification: Specification,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Specification {
    attribute_name: String,
    enabled: bool,
}

pub(super) fn create(inner: &Inner, body: &[u8]) -> Result<Waiting<Bytes>, Refusal> {
    let definition: Definition = parse(body)?;
    let mut stored = Stored { slot: 0, created: inner.now(), definition, expiry: None };
    // Whether it can be a table, before it gets its slots.
    let slots = Table::new(stored.clone())?.slots();
    Ok(inner.commits.write(|pending| {
        let name = &stored.definition.table_name;
        if inner.tables.get(name).is_ok() {
            return Err(Refusal::TableExists(format!("Table already exists: {name}")));
        }
        stored.slot = inner.tables.slots(slots.end, pending)?;
        let table = inner.tables.set(Table::new(stored)?, pending)?;
        Ok(rendered(&json!({"TableDescription": table.describe()})))
    }))
}

pub(super) async fn delete(inner: &Inner, body: &[u8]) -> Result<Bytes, Refusal> {
    let Named { table_name } = parse(body)?;
    let deleted = inner.commits.write(|pending| {
        let removed = inner.tables.remove(&table_name, pending);
        removed.ok_or_else(|| no_table(&table_name))
    });
    let table = deleted.answer().await?;
    for slot in table.slots() {
        inner.delete_rows(slot).await?;
    }
    let mut description = table.describe();
    description["TableStatus"] = json!("DELETING");
    Ok(rendered(&json!({"TableDescription": description})))
}

pub(super) async fn describe(inner: &Inner, body: &[u8]) -> Result<Bytes, Refusal> {
    let Named { table_name } = parse(body)?;
    let table = inner.tables.get(&table_name).map_err(|_| no_table(&table_name));
    inner.barrier().await?;
    Ok(rendered(&json!({"Table": table?.describe()})))
}

pub(super) async fn list(inner: &Inner, body: &[u8]) -> Result<Bytes, Refusal> {
    let List { exclusive_start_table_name, limit } = parse(body)?;
    let limit = limit.unwrap_or(NAMES_MAX);
    if !(1..=NAMES_MAX).contains(&limit) {
        return Err(Refusal::invalid("The limit of a list of tables is from 1 to 100"));
    }
    let mut names = inner.tables.names();
    inner.barrier().await?;
    names.retain(|name| exclusive_start_table_name.as_ref().is_none_or(|start| name > start));
    let has_more = names.len() > limit;
    names.truncate(limit);
    let mut answer = json!({"TableNames": names});
    if has_more {
        answer["LastEvaluatedTableName"] = json!(names.last());
    }
    Ok(rendered(&answer))
}

pub(super) async fn set_expiry(inner: &Inner, body: &[u8]) -> Result<Bytes, Refusal> {
    let SetExpiry { table_name, time_to_live_specification } = parse(body)?;
    let Specification { attribute_name, enabled } = time_to_live_specification;
    let changed = inner.commits.write(|pending| {
        let table = inner.tables.get(&table_name).map_err(|_| no_table(&table_name))?;
        let current = table.stored.expiry.as_deref();
        match (current, enabled) {
            (Some(_), true) => return Err(Refusal::invalid("TimeToLive is already enabled")),
            (None, false) => return Err(Refusal::invalid("TimeToLive is already disabled")),
            (Some(current), false) if current != attribute_name => {
                return Err(Refusal::invalid("TimeToLive is active on a different AttributeName"));
            }
            _ => {}
        }
        let mut stored = table.stored.clone();
        stored.expiry = enabled.then(|| attribute_name.clone());
        inner.tables.set(Table::new(stored)?, pending)
    });
    changed.answer().await?;
    Ok(rendered(&json!({
        "TimeToLiveSpecification": {"AttributeName": attribute_name, "Enabled": enabled}
    })))
}

pub(super) async fn describe_expiry(inner: &Inner, body: &[u8]) -> Result<Bytes, Refusal> {
    let Named { table_name } = parse(body)?;
    let table = inner.tables.get(&table_name).map_err(|_| no_table(&table_name));
    inner.barrier().await?;
    let description = match &table?.stored.expiry {
        Some(name) => json!({"TimeToLiveStatus": "ENABLED", "AttributeName": name}),
        None => json!({"TimeToLiveStatus": "DISABLED"}),
    };
    Ok(rendered(&json!({"TimeToLiveDescription": description})))
}

fn no_table(name: &str) -> Refusal {
    Refusal::NoTable(format!("Requested resource not found: Table: {name} not found"))
}
