//! Tables: what they are called, how their keys look, and which rows an item makes beside its own.

use std::ops::Range;

use serde::{Deserialize, Serialize};
use serde_json::{Value as Json, json};

use crate::error::Refusal;
use crate::key;
use crate::value::{Item, Value};

/// Indexes of one table, as in DynamoDB.
const INDEXES_MAX: usize = 20;
/// Bytes of a partition key, and of a sort key.
const HASH_MAX: usize = 2048;
const RANGE_MAX: usize = 1024;
/// Bytes of an item.
pub(crate) const ITEM_MAX: usize = 400 * 1024;

/// What `CreateTable` says of a table, and `DescribeTable` repeats.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Definition {
    pub(crate) table_name: String,
    key_schema: Vec<KeyElement>,
    attribute_definitions: Vec<AttributeDefinition>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    global_secondary_indexes: Vec<IndexDefinition>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    billing_mode: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provisioned_throughput: Option<Json>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct KeyElement {
    attribute_name: String,
    key_type: KeyType,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
enum KeyType {
    Hash,
    Range,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct AttributeDefinition {
    attribute_name: String,
    attribute_type: Scalar,
}

/// What a key may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Scalar {
    S,
    N,
    B,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct IndexDefinition {
    index_name: String,
    key_schema: Vec<KeyElement>,
    projection: Projected,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    provisioned_throughput: Option<Json>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Projected {
    projection_type: ProjectionType,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    non_key_attributes: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum ProjectionType {
    All,
    KeysOnly,
    Include,
}

/// A table as it is stored.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Stored {
    /// The slot of its items; those of its indexes follow.
    pub(crate) slot: u16,
    /// Milliseconds since 1970.
    pub(crate) created: u64,
    pub(crate) definition: Definition,
    /// The attribute that says when an item expires.
    pub(crate) expiry: Option<String>,
}

/// A table.
#[derive(Debug)]
pub(crate) struct Table {
    pub(crate) stored: Stored,
    pub(crate) schema: Schema,
    pub(crate) indexes: Vec<Index>,
}

/// An index; its rows name items.
#[derive(Debug)]
pub(crate) struct Index {
    pub(crate) slot: u16,
    pub(crate) schema: Schema,
    /// What it shows of an item; `None` is all.
    pub(crate) shows: Option<Vec<String>>,
    name: String,
}

/// The attributes of a key.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    pub(crate) hash: Attribute,
    pub(crate) range: Option<Attribute>,
}

#[derive(Debug, Clone)]
pub(crate) struct Attribute {
    pub(crate) name: String,
    pub(crate) kind: Scalar,
}

impl Table {
    pub(crate) fn new(stored: Stored) -> Result<Self, Refusal> {
        let definition = &stored.definition;
        check_name("tableName", &definition.table_name)?;
        let schema = Schema::of(&definition.key_schema, &definition.attribute_definitions)?;
        if definition.global_secondary_indexes.len() > INDEXES_MAX {
            return Err(Refusal::invalid(
                "One or more parameter values were invalid: GlobalSecondaryIndex count exceeds the per-table limit of 20",
            ));
        }
        let mut indexes: Vec<Index> = Vec::new();
        for index in &definition.global_secondary_indexes {
            check_name("indexName", &index.index_name)?;
            if indexes.iter().any(|other| other.name == index.index_name) {
                return Err(Refusal::invalid(format!(
                    "One or more parameter values were invalid: Duplicate index name: {}",
                    index.index_name
                )));
            }
            let own = Schema::of(&index.key_schema, &definition.attribute_definitions)?;
            let keys = || own.names().chain(schema.names()).map(str::to_owned);
            let shows = match index.projection.projection_type {
                ProjectionType::All => None,
                ProjectionType::KeysOnly => Some(keys().collect()),
                ProjectionType::Include => {
                    Some(keys().chain(index.projection.non_key_attributes.iter().cloned()).collect())
                }
            };
            let slot = stored.slot + u16::try_from(indexes.len() + 1).unwrap_or_default();
            indexes.push(Index { slot, schema: own, shows, name: index.index_name.clone() });
        }
        let is_used = |attribute: &AttributeDefinition| {
            let name = attribute.attribute_name.as_str();
            let mut schemas = std::iter::once(&schema).chain(indexes.iter().map(|index| &index.schema));
            schemas.any(|schema| schema.names().any(|own| own == name))
        };
        if !definition.attribute_definitions.iter().all(is_used) {
            return Err(Refusal::invalid(
                "One or more parameter values were invalid: Number of attributes in KeySchema does not exactly match number of attributes defined in AttributeDefinitions",
            ));
        }
        Ok(Self { stored, schema, indexes })
    }

    pub(crate) const fn slot(&self) -> u16 {
        self.stored.slot
    }

    /// Its slots, and those of its indexes.
    pub(crate) fn slots(&self) -> Range<u16> {
        self.slot()..self.slot() + u16::try_from(self.indexes.len() + 1).unwrap_or(1)
    }

    pub(crate) fn name(&self) -> &str {
        &self.stored.definition.table_name
    }

    /// What `DescribeTable` says.
    pub(crate) fn describe(&self) -> Json {
        let mut description = json!(self.stored.definition);
        let created = self.stored.created;
        #[expect(clippy::cast_precision_loss, reason = "milliseconds of this age are exact")]
        let created = created as f64 / 1000.0;
        description["TableStatus"] = json!("ACTIVE");
        description["CreationDateTime"] = json!(created);
        description["TableArn"] = json!(format!("arn:aws:dynamodb:local:000000000000:table/{}", self.name()));
        if let Some(members) = description.as_object_mut() {
            let mode = members.remove("BillingMode").unwrap_or_else(|| json!("PROVISIONED"));
            members.insert("BillingModeSummary".to_owned(), json!({"BillingMode": mode}));
        }
        if let Some(indexes) = description["GlobalSecondaryIndexes"].as_array_mut() {
            indexes.iter_mut().for_each(|index| index["IndexStatus"] = json!("ACTIVE"));
        }
        description
    }

    pub(crate) fn index(&self, name: &str) -> Result<&Index, Refusal> {
        let found = self.indexes.iter().find(|index| index.name == name);
        found.ok_or_else(|| Refusal::invalid(format!("The table does not have the specified index: {name}")))
    }

    /// The key of the row of an item that is to be stored.
    pub(crate) fn key_of_item(&self, item: &Item<'_>) -> Result<Vec<u8>, Refusal> {
        let invalid = |problem: String| {
            Err(Refusal::invalid(format!("One or more parameter values were invalid: {problem}")))
        };
        let mut key = Vec::new();
        for attribute in self.schema.attributes() {
            let Attribute { name, kind } = attribute;
            match item.get(name) {
                None => return invalid(format!("Missing the key {name} in the item")),
                Some(value) if !kind.is(value) => {
                    return invalid(format!(
                        "Type mismatch for key {name} expected: {kind:?} actual: {}",
                        value.type_name()
                    ));
                }
                Some(value) => attribute.push(self.slot(), value, &mut key)?,
            }
        }
        self.schema.check_lengths(&key)?;
        Ok(key)
    }

    /// The key of the row of the item that has these attributes, and no others.
    pub(crate) fn key_of(&self, attributes: &Item<'_>) -> Result<Vec<u8>, Refusal> {
        let mismatch = || Refusal::invalid("The provided key element does not match the schema");
        if attributes.0.len() != self.schema.names().count() {
            return Err(mismatch());
        }
        let mut key = Vec::new();
        for attribute in self.schema.attributes() {
            let value = attributes.get(&attribute.name).filter(|value| attribute.kind.is(value));
            attribute.push(self.slot(), value.ok_or_else(mismatch)?, &mut key)?;
        }
        self.schema.check_lengths(&key)?;
        Ok(key)
    }

    /// Whether an item may be stored, as far as its size and the keys of indexes go; its size.
    pub(crate) fn check(&self, item: &Item<'_>, too_large: &str) -> Result<usize, Refusal> {
        let size = item.size();
        if size > ITEM_MAX {
            return Err(Refusal::invalid(too_large));
        }
        for index in &self.indexes {
            for (Attribute { name, kind }, max) in index.schema.attributes().zip([HASH_MAX, RANGE_MAX]) {
                let Some(value) = item.get(name) else { continue };
                if value.key_bytes() > max {
                    return Err(Refusal::invalid(format!(
                        "One or more parameter values were invalid: Size of index key {name} has exceeded the maximum size limit of {max} bytes, IndexName: {}",
                        index.name
                    )));
                }
                if !kind.is(value) {
                    return Err(Refusal::invalid(format!(
                        "One or more parameter values were invalid: Type mismatch for Index Key {name} Expected: {kind:?} Actual: {} IndexName: {}",
                        value.type_name(),
                        index.name
                    )));
                }
                if value.is_empty() {
                    return Err(Refusal::invalid(format!(
                        "One or more parameter values are not valid. A value specified for a secondary index key is not supported. The AttributeValue for a key attribute cannot contain an empty string value. IndexName: {}, IndexKey: {name}",
                        index.name
                    )));
                }
            }
        }
        Ok(size)
    }

    /// Whether an item has rows beside its own.
    pub(crate) fn has_companions(&self) -> bool {
        !self.indexes.is_empty()
    }

    /// The rows beside the item's own, which only have keys.
    pub(crate) fn companions(&self, item: &Item<'_>, own: &[u8]) -> Vec<Vec<u8>> {
        let own = key::body(own);
        let rows = self.indexes.iter().filter_map(|index| {
            let value =
                |attribute: &Attribute| item.get(&attribute.name).filter(|value| attribute.kind.is(value));
            let mut key = key::partition(index.slot, value(&index.schema.hash)?);
            if let Some(range) = &index.schema.range {
                key::push(value(range)?, &mut key);
            }
            key.extend(own);
            Some(key)
        });
        rows.collect()
    }

    /// When the item expires, in seconds since 1970.
    pub(crate) fn expires(&self, item: &Item<'_>) -> Option<u64> {
        match item.get(self.stored.expiry.as_ref()?)? {
            Value::N(text) => crate::value::number(text).seconds(),
            _ => None,
        }
    }

    /// The row of the item that a row of an index names.
    pub(crate) fn item_of(&self, index: &Index, row: &[u8]) -> Option<Vec<u8>> {
        let mut rest = key::body(row);
        for attribute in index.schema.attributes() {
            rest = rest.get(key::end_of(attribute.kind, rest)?..)?;
        }
        Some(key::of_body(self.slot(), rest, key::end_of(self.schema.hash.kind, rest)?))
    }
}

impl Schema {
    fn of(elements: &[KeyElement], definitions: &[AttributeDefinition]) -> Result<Self, Refusal> {
        let attribute = |element: &KeyElement| {
            let name = &element.attribute_name;
            let defined = definitions.iter().find(|definition| definition.attribute_name == *name);
            let kind = defined.map(|definition| definition.attribute_type).ok_or_else(|| {
                Refusal::invalid(format!(
                    "One or more parameter values were invalid: Some index key attributes are not defined in AttributeDefinitions. Keys: [{name}]"
                ))
            });
            Ok::<_, Refusal>(Attribute { name: name.clone(), kind: kind? })
        };
        match elements {
            [hash] if hash.key_type == KeyType::Hash => Ok(Self { hash: attribute(hash)?, range: None }),
            [hash, range]
                if (hash.key_type, range.key_type) == (KeyType::Hash, KeyType::Range)
                    && hash.attribute_name != range.attribute_name =>
            {
                Ok(Self { hash: attribute(hash)?, range: Some(attribute(range)?) })
            }
            _ => Err(Refusal::invalid("Invalid KeySchema: a HASH element, then at most one RANGE element")),
        }
    }

    pub(crate) fn attributes(&self) -> impl Iterator<Item = &Attribute> {
        std::iter::once(&self.hash).chain(&self.range)
    }

    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.attributes().map(|attribute| attribute.name.as_str())
    }

    /// Only where the whole key is longer than the lesser bound are its parts looked at.
    fn check_lengths(&self, key: &[u8]) -> Result<(), Refusal> {
        if key.len() <= RANGE_MAX {
            return Ok(());
        }
        let mut rest = key::body(key);
        for (attribute, max, text) in [
            (Some(&self.hash), HASH_MAX, "Size of hashkey has exceeded the maximum size limit of2048 bytes"),
            (
                self.range.as_ref(),
                RANGE_MAX,
                "Aggregated size of all range keys has exceeded the size limit of 1024 bytes",
            ),
        ] {
            let Some(end) = attribute.and_then(|attribute| key::end_of(attribute.kind, rest)) else {
                continue;
            };
            let zeros = rest[..end].windows(2).filter(|pair| *pair == [0, 0xff]).count();
            if attribute.is_some_and(|attribute| attribute.kind != Scalar::N) && end - 2 - zeros > max {
                return Err(Refusal::invalid(format!("One or more parameter values were invalid: {text}")));
            }
            rest = &rest[end..];
        }
        Ok(())
    }
}

impl Attribute {
    /// Appends a value to a key, or begins one of the slot with it.
    pub(crate) fn push(&self, slot: u16, value: &Value<'_>, key: &mut Vec<u8>) -> Result<(), Refusal> {
        if value.is_empty() {
            let what = if self.kind == Scalar::B { "binary" } else { "string" };
            return Err(Refusal::invalid(format!(
                "One or more parameter values are not valid. The AttributeValue for a key attribute cannot contain an empty {what} value. Key: {}",
                self.name
            )));
        }
        if key.is_empty() {
            *key = key::partition(slot, value);
        } else {
            key::push(value, key);
        }
        Ok(())
    }
}

impl Scalar {
    pub(crate) const fn is(self, value: &Value<'_>) -> bool {
        matches!((self, value), (Self::S, Value::S(_)) | (Self::N, Value::N(_)) | (Self::B, Value::B(_)))
    }
}

fn check_name(what: &str, name: &str) -> Result<(), Refusal> {
    let is_good = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '-' | '.');
    if (3..=255).contains(&name.len()) && name.chars().all(is_good) {
        return Ok(());
    }
    Err(Refusal::invalid(format!(
        "1 validation error detected: Value '{name}' at '{what}' failed to satisfy constraint: Member must satisfy regular expression pattern: [a-zA-Z0-9_.-]+, of 3 to 255 characters"
    )))
}
