//! A table in memory, with its indexes.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;

use serde::{Deserialize, Serialize};
use serde_json::Value as Json;

use crate::error::Refusal;
use crate::value::{Item, KeyValue, size};

/// Bytes that one page of an answer holds, about.
const PAGE_BYTES: usize = 1024 * 1024;
/// Bytes that an item may have.
const ITEM_BYTES_MAX: usize = 400 * 1024;

/// An item's place in its table.
pub(crate) type Key = (KeyValue, Option<KeyValue>);

/// What `CreateTable` says of a table, and `DescribeTable` repeats.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Definition {
    pub(crate) table_name: String,
    pub(crate) key_schema: Vec<KeyElement>,
    pub(crate) attribute_definitions: Json,
    #[serde(default)]
    pub(crate) global_secondary_indexes: Vec<IndexDefinition>,
    #[serde(skip_serializing)]
    #[expect(dead_code, reason = "all tables are alike to it")]
    billing_mode: Json,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct KeyElement {
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
pub(crate) struct IndexDefinition {
    index_name: String,
    key_schema: Vec<KeyElement>,
    projection: Json,
    /// Only in answers.
    #[serde(default = "active")]
    index_status: String,
}

/// The names of a key's attributes.
#[derive(Debug, Clone)]
pub(crate) struct Schema {
    pub(crate) hash: String,
    pub(crate) range: Option<String>,
}

pub(crate) struct Table {
    pub(crate) definition: Definition,
    /// Epoch seconds.
    pub(crate) created: f64,
    /// The attribute of the time to live, if it has one. Nothing is ever deleted for it.
    pub(crate) time_to_live: Option<String>,
    schema: Schema,
    items: BTreeMap<Key, Item>,
    indexes: Vec<Index>,
}

struct Index {
    name: String,
    schema: Schema,
    /// Its key, and then the item's.
    places: BTreeSet<(Key, Key)>,
}

/// Which part of a table an answer shows.
pub(crate) struct Part<'a> {
    pub(crate) index: Option<&'a str>,
    /// One partition; all of them for a scan.
    pub(crate) partition: Option<KeyValue>,
    /// Only what sorts before this.
    pub(crate) before: Option<KeyValue>,
    pub(crate) backwards: bool,
    pub(crate) limit: usize,
    /// The key that the last answer ended with.
    pub(crate) after: Option<&'a Item>,
}

/// Some items, and the key of the last one when there are more.
pub(crate) struct Page<'a> {
    pub(crate) items: Vec<&'a Item>,
    pub(crate) last: Option<Item>,
}

impl Table {
    pub(crate) fn new(definition: Definition, created: f64) -> Result<Self, Refusal> {
        let schema = Schema::of(&definition.key_schema)?;
        let index = |index: &IndexDefinition| {
            let schema = Schema::of(&index.key_schema)?;
            Ok(Index { name: index.index_name.clone(), schema, places: BTreeSet::new() })
        };
        let indexes: Result<_, Refusal> = definition.global_secondary_indexes.iter().map(index).collect();
        let (items, time_to_live) = (BTreeMap::new(), None);
        Ok(Self { schema, items, indexes: indexes?, definition, created, time_to_live })
    }

    pub(crate) fn schema(&self, index: Option<&str>) -> Result<&Schema, Refusal> {
        match index {
            None => Ok(&self.schema),
            Some(_) => Ok(&self.index(index)?.schema),
        }
    }

    /// The place of an item that has these attributes.
    pub(crate) fn key_of(&self, item: &Item) -> Result<Key, Refusal> {
        let key = self.schema.key_of(item)?;
        key.ok_or_else(|| Refusal::invalid("an item without its key"))
    }

    pub(crate) fn get(&self, key: &Key) -> Option<&Item> {
        self.items.get(key)
    }

    /// Whether the table may hold it.
    pub(crate) fn check(&self, item: &Item) -> Result<(), Refusal> {
        if size(item) > ITEM_BYTES_MAX {
            return Err(Refusal::invalid("Item size has exceeded the maximum allowed size"));
        }
        self.key_of(item)?;
        self.indexes.iter().try_for_each(|index| index.schema.key_of(item).map(drop))
    }

    pub(crate) fn put(&mut self, key: Key, item: Item) {
        self.delete(&key);
        for index in &mut self.indexes {
            if let Ok(Some(place)) = index.schema.key_of(&item) {
                index.places.insert((place, key.clone()));
            }
        }
        self.items.insert(key, item);
    }

    pub(crate) fn delete(&mut self, key: &Key) {
        let Some(old) = self.items.remove(key) else { return };
        for index in &mut self.indexes {
            if let Ok(Some(place)) = index.schema.key_of(&old) {
                index.places.remove(&(place, key.clone()));
            }
        }
    }

    /// A page of items, in the order of their keys.
    pub(crate) fn page(&self, part: &Part<'_>) -> Result<Page<'_>, Refusal> {
        let schema = self.schema(part.index)?;
        let fits = |place: &Key| {
            part.partition.as_ref().is_none_or(|partition| place.0 == *partition)
                && part.before.as_ref().is_none_or(|before| place.1.as_ref().is_some_and(|at| at < before))
        };
        let after = match part.after {
            None => None,
            Some(item) => {
                let place = schema.key_of(item)?.ok_or_else(|| Refusal::invalid("a start that is no key"))?;
                Some((place, self.key_of(item)?))
            }
        };
        let found = match part.index {
            None => self.own(part, after.map(|(place, _)| place)),
            Some(_) => self.index(part.index)?.found(part, after),
        };
        let (mut items, mut bytes, mut last): (Vec<&Item>, _, _) = (Vec::new(), 0, None);
        for (place, key) in found {
            if part.partition.as_ref().is_some_and(|partition| place.0 != *partition) {
                break;
            }
            if !fits(place) {
                continue;
            }
            if items.len() >= part.limit || bytes >= PAGE_BYTES {
                last = items.last().map(|item| self.start_of(schema, item));
                break;
            }
            if let Some(item) = self.items.get(key) {
                bytes += size(item);
                items.push(item);
            }
        }
        Ok(Page { items, last })
    }

    /// Places in the table from where the answer begins, in the order that was asked for.
    fn own<'a>(
        &'a self,
        part: &Part<'_>,
        after: Option<Key>,
    ) -> Box<dyn Iterator<Item = (&'a Key, &'a Key)> + 'a> {
        let bounds =
            bounds(part, after, (KeyValue::Text(String::new()), None), |partition| (partition, None));
        let found = self.items.range(bounds).map(|(key, _)| (key, key));
        if part.backwards { Box::new(found.rev()) } else { Box::new(found) }
    }

    fn index(&self, name: Option<&str>) -> Result<&Index, Refusal> {
        let found = self.indexes.iter().find(|index| Some(index.name.as_str()) == name);
        found.ok_or_else(|| Refusal::invalid("no such index"))
    }

    /// The key to go on from.
    fn start_of(&self, schema: &Schema, item: &Item) -> Item {
        let names =
            [Some(&self.schema.hash), self.schema.range.as_ref(), Some(&schema.hash), schema.range.as_ref()];
        let values =
            names.into_iter().flatten().filter_map(|name| Some((name.clone(), item.get(name)?.clone())));
        values.collect()
    }
}

impl Index {
    fn found<'a>(
        &'a self,
        part: &Part<'_>,
        after: Option<(Key, Key)>,
    ) -> Box<dyn Iterator<Item = (&'a Key, &'a Key)> + 'a> {
        let least = || (KeyValue::Text(String::new()), None);
        let bounds = bounds(part, after, (least(), least()), |partition| ((partition, None), least()));
        let found = self.places.range(bounds).map(|(place, key)| (place, key));
        if part.backwards { Box::new(found.rev()) } else { Box::new(found) }
    }
}

/// From where to where a partition, or everything, is looked through. Backwards it begins at the end of the partition,
/// which is where the next text begins.
fn bounds<K>(
    part: &Part<'_>,
    after: Option<K>,
    least: K,
    first_of: impl Fn(KeyValue) -> K,
) -> (Bound<K>, Bound<K>) {
    let low = part.partition.clone().map_or(least, &first_of);
    let high = match part.partition.clone() {
        Some(KeyValue::Text(text)) => Bound::Excluded(first_of(KeyValue::Text(format!("{text}\0")))),
        Some(KeyValue::Number(_)) | None => Bound::Unbounded,
    };
    match after {
        None => (Bound::Included(low), high),
        Some(after) if part.backwards => (Bound::Included(low), Bound::Excluded(after)),
        Some(after) => (Bound::Excluded(after), high),
    }
}

impl Schema {
    fn of(elements: &[KeyElement]) -> Result<Self, Refusal> {
        let named = |kind| {
            let element = elements.iter().find(|element| element.key_type == kind);
            element.map(|element| element.attribute_name.clone())
        };
        let hash = named(KeyType::Hash).ok_or_else(|| Refusal::invalid("a key without a partition"))?;
        Ok(Self { hash, range: named(KeyType::Range) })
    }

    /// The place of an item; `None` when it lacks an attribute of the key.
    fn key_of(&self, item: &Item) -> Result<Option<Key>, Refusal> {
        let Some(hash) = item.get(&self.hash) else { return Ok(None) };
        let range = match &self.range {
            None => None,
            Some(name) => match item.get(name) {
                None => return Ok(None),
                Some(range) => Some(range.as_key()?),
            },
        };
        Ok(Some((hash.as_key()?, range)))
    }
}

fn active() -> String {
    "ACTIVE".to_owned()
}
