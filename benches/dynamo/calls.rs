//! The calls of DynamoDB's wire protocol that the product makes, and no others.

use std::collections::{BTreeMap, HashMap};

use engine::{Clock, SystemClock};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::{Value as Json, json};

use crate::error::Refusal;
use crate::expression::{Placeholders, key_condition, project};
use crate::store::{Action, Store, Transaction, Write};
use crate::table::{Definition, Part, Table};
use crate::value::{Item, Value};

/// Keys of one `BatchGetItem`.
const BATCH_GET_MAX: usize = 100;

/// A `GetItem`, `Query` or `Scan`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
struct Read {
    table_name: String,
    key: Item,
    index_name: Option<String>,
    key_condition_expression: Option<String>,
    projection_expression: Option<String>,
    expression_attribute_names: BTreeMap<String, String>,
    expression_attribute_values: Item,
    scan_index_forward: Option<bool>,
    limit: Option<usize>,
    exclusive_start_key: Option<Item>,
    select: Option<String>,
    /// All reads here are consistent.
    #[serde(rename = "ConsistentRead")]
    _consistent_read: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct BatchGet {
    request_items: HashMap<String, Keys>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Keys {
    keys: Vec<Item>,
    #[serde(default, rename = "ConsistentRead")]
    _consistent_read: bool,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    table_name: String,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct TimeToLive {
    table_name: String,
    time_to_live_specification: Specification,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Specification {
    attribute_name: String,
    enabled: bool,
}

/// Does one call. `conflict` draws whether a transaction of so many actions meets another one, and at which action.
pub(crate) fn answer(
    store: &mut Store,
    operation: &str,
    body: &[u8],
    conflict: impl FnOnce(usize) -> Option<usize>,
) -> Result<Json, Refusal> {
    match operation {
        "TransactWriteItems" => {
            store.transact(parse::<Transaction>(body)?, conflict)?;
            Ok(json!({}))
        }
        "PutItem" => write(store, Action::Put(parse::<Write>(body)?)),
        "UpdateItem" => write(store, Action::Update(parse::<Write>(body)?)),
        "DeleteItem" => write(store, Action::Delete(parse::<Write>(body)?)),
        "GetItem" => get(store, &parse(body)?),
        "BatchGetItem" => batch_get(store, parse(body)?),
        "Query" | "Scan" => list(store, operation == "Query", &parse(body)?),
        "CreateTable" => create(store, parse(body)?),
        "DeleteTable" => {
            let Named { table_name } = parse(body)?;
            let table = store.tables.remove(&table_name).ok_or(Refusal::NoTable)?;
            Ok(json!({"TableDescription": describe(&table)}))
        }
        "DescribeTable" => {
            let Named { table_name } = parse(body)?;
            Ok(json!({"Table": describe(store.table(&table_name)?)}))
        }
        "UpdateTimeToLive" => set_time_to_live(store, &parse(body)?),
        "DescribeTimeToLive" => {
            let Named { table_name } = parse(body)?;
            let description = match &store.table(&table_name)?.time_to_live {
                Some(name) => json!({"TimeToLiveStatus": "ENABLED", "AttributeName": name}),
                None => json!({"TimeToLiveStatus": "DISABLED"}),
            };
            Ok(json!({"TimeToLiveDescription": description}))
        }
        other => Err(Refusal::invalid(format!("this server does not know {other}"))),
    }
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, Refusal> {
    serde_json::from_slice(body)
        .map_err(|error| Refusal::invalid(format!("this server does not know such a request: {error}")))
}

fn write(store: &mut Store, action: Action) -> Result<Json, Refusal> {
    Ok(store.write(action)?.map_or_else(|| json!({}), |item| json!({"Attributes": item})))
}

fn get(store: &Store, read: &Read) -> Result<Json, Refusal> {
    let table = store.table(&read.table_name)?;
    let found = table.get(&table.key_of(&read.key)?);
    Ok(match found {
        Some(item) => json!({"Item": read.shown(item)?}),
        None => json!({}),
    })
}

fn batch_get(store: &Store, BatchGet { request_items }: BatchGet) -> Result<Json, Refusal> {
    if request_items.values().map(|wanted| wanted.keys.len()).sum::<usize>() > BATCH_GET_MAX {
        return Err(Refusal::invalid("too many keys"));
    }
    let mut responses = HashMap::new();
    for (name, Keys { keys, .. }) in &request_items {
        let table = store.table(name)?;
        let mut items = Vec::new();
        for key in keys {
            items.extend(table.get(&table.key_of(key)?));
        }
        responses.insert(name, items);
    }
    Ok(json!({"Responses": responses, "UnprocessedKeys": {}}))
}

fn list(store: &Store, is_query: bool, read: &Read) -> Result<Json, Refusal> {
    let table = store.table(&read.table_name)?;
    let index = read.index_name.as_deref();
    let (mut partition, mut before) = (None, None);
    if is_query {
        let text = read.key_condition_expression.as_deref().unwrap_or_default();
        let condition = key_condition(text, read.placeholders())?;
        let schema = table.schema(index)?;
        let range = condition.before.map(|(name, _)| name);
        if condition.partition.0 != schema.hash
            || range.is_some_and(|name| Some(name) != schema.range.as_deref())
        {
            return Err(Refusal::invalid("Query condition missed key schema element"));
        }
        partition = Some(condition.partition.1.as_key()?);
        before = condition.before.map(|(_, value)| value.as_key()).transpose()?;
    }
    let page = table.page(&Part {
        index,
        partition,
        before,
        backwards: read.scan_index_forward == Some(false),
        limit: read.limit.unwrap_or(usize::MAX),
        after: read.exclusive_start_key.as_ref(),
    })?;
    let mut answer = json!({"Count": page.items.len(), "ScannedCount": page.items.len()});
    if read.select.as_deref() != Some("COUNT") {
        let shown: Result<Vec<Item>, Refusal> = page.items.into_iter().map(|item| read.shown(item)).collect();
        answer["Items"] = json!(shown?);
    }
    if let Some(last) = page.last {
        answer["LastEvaluatedKey"] = json!(last);
    }
    Ok(answer)
}

impl Read {
    fn placeholders(&self) -> Placeholders<'_> {
        Placeholders { names: &self.expression_attribute_names, values: &self.expression_attribute_values }
    }

    fn shown(&self, item: &Item) -> Result<BTreeMap<String, Value>, Refusal> {
        project(self.projection_expression.as_deref(), &self.expression_attribute_names, item)
    }
}

fn create(store: &mut Store, definition: Definition) -> Result<Json, Refusal> {
    let name = definition.table_name.clone();
    if store.tables.contains_key(&name) {
        return Err(Refusal::TableExists);
    }
    let created = SystemClock.now().timestamp_millis() as f64 / 1000.0;
    let table = Table::new(definition, created)?;
    let description = describe(&table);
    store.tables.insert(name, table);
    Ok(json!({"TableDescription": description}))
}

fn describe(table: &Table) -> Json {
    let mut description = json!(table.definition);
    description["TableStatus"] = json!("ACTIVE");
    description["CreationDateTime"] = json!(table.created);
    description["BillingModeSummary"] = json!({"BillingMode": "PAY_PER_REQUEST"});
    description
}

fn set_time_to_live(store: &mut Store, wanted: &TimeToLive) -> Result<Json, Refusal> {
    let table = store.tables.get_mut(&wanted.table_name).ok_or(Refusal::NoTable)?;
    let Specification { attribute_name, enabled } = &wanted.time_to_live_specification;
    table.time_to_live = enabled.then(|| attribute_name.clone());
    Ok(json!({"TimeToLiveSpecification": {"AttributeName": attribute_name, "Enabled": enabled}}))
}
