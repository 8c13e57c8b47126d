//! Items as they travel: `{"PK":{"S":"dr@x.com"},"epoch":{"N":"7"}}`. Sorted, so that equal requests are equal bytes.

use std::cmp::Ordering;
use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Refusal;

/// An attribute's value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Value {
    S(String),
    N(String),
    #[serde(rename = "BOOL")]
    Bool(bool),
    #[serde(rename = "NULL")]
    Null(bool),
    L(Vec<Value>),
    M(Item),
}

/// A row, or a part of one.
pub(crate) type Item = BTreeMap<String, Value>;

/// A value that can be part of a key: those of one attribute sort as DynamoDB sorts them.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum KeyValue {
    Text(String),
    Number(f64),
}

impl Eq for KeyValue {}

impl PartialOrd for KeyValue {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for KeyValue {
    fn cmp(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => one.cmp(other),
            (Self::Number(one), Self::Number(other)) => one.total_cmp(other),
            (Self::Text(_), Self::Number(_)) => Ordering::Less,
            (Self::Number(_), Self::Text(_)) => Ordering::Greater,
        }
    }
}

impl Value {
    /// As part of a key.
    pub(crate) fn as_key(&self) -> Result<KeyValue, Refusal> {
        match self {
            Self::S(text) if !text.is_empty() => Ok(KeyValue::Text(text.clone())),
            Self::N(digits) => Ok(KeyValue::Number(number(digits)?)),
            _ => Err(Refusal::invalid("a key is a number, or a text that is not empty")),
        }
    }

    /// What `attribute_type` calls it.
    pub(crate) const fn type_name(&self) -> &'static str {
        match self {
            Self::S(_) => "S",
            Self::N(_) => "N",
            Self::Bool(_) => "BOOL",
            Self::Null(_) => "NULL",
            Self::L(_) => "L",
            Self::M(_) => "M",
        }
    }

    /// Whether both are one value; numbers count as numbers.
    pub(crate) fn equals(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::N(one), Self::N(other)) => {
                matches!((number(one), number(other)), (Ok(one), Ok(other)) if one == other)
            }
            (one, other) => one == other,
        }
    }

    /// Whether it comes before; values of two types do not compare.
    pub(crate) fn is_less_than(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::N(one), Self::N(other)) => {
                matches!((number(one), number(other)), (Ok(one), Ok(other)) if one < other)
            }
            (Self::S(one), Self::S(other)) => one < other,
            _ => false,
        }
    }

    /// Bytes, about, as DynamoDB counts them.
    fn size(&self) -> usize {
        match self {
            Self::S(text) | Self::N(text) => text.len(),
            Self::Bool(_) | Self::Null(_) => 1,
            Self::L(values) => 3 + values.iter().map(|value| 1 + value.size()).sum::<usize>(),
            Self::M(item) => 3 + size(item),
        }
    }
}

/// Bytes of an item, about, as DynamoDB counts them.
pub(crate) fn size(item: &Item) -> usize {
    item.iter().map(|(name, value)| name.len() + value.size()).sum()
}

fn number(digits: &str) -> Result<f64, Refusal> {
    digits.parse().map_err(|_| Refusal::invalid("a number that is none"))
}
