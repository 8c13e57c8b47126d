//! The keys that a query asks for.

use std::cmp::Ordering;

use super::path::{Path, Scope};
use super::reader::Reader;
use super::{Expression, Given};
use crate::error::Refusal;
use crate::value::Value;

/// A partition, and what part of it.
#[derive(Debug)]
pub(crate) struct KeyCondition(Vec<(Path, Test)>);

#[derive(Debug)]
enum Test {
    Equal(Box<str>),
    Less(Box<str>),
    AtMost(Box<str>),
    More(Box<str>),
    AtLeast(Box<str>),
    Between(Box<str>, Box<str>),
    BeginsWith(Box<str>),
}

/// Which sort keys.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SortCondition<'s, 'a> {
    Equal(&'s Value<'a>),
    Less(&'s Value<'a>),
    AtMost(&'s Value<'a>),
    More(&'s Value<'a>),
    AtLeast(&'s Value<'a>),
    Between(&'s Value<'a>, &'s Value<'a>),
    BeginsWith(&'s Value<'a>),
}

impl Expression for KeyCondition {
    const KIND: &str = "KeyConditionExpression";

    fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let mut tests = Vec::new();
        all(reader, &mut tests)?;
        Ok(Self(tests))
    }
}

fn all(reader: &mut Reader<'_>, tests: &mut Vec<(Path, Test)>) -> Result<(), Refusal> {
    loop {
        if reader.takes("(") {
            reader.nested(|reader| all(reader, tests))?;
            reader.must(")")?;
        } else {
            tests.push(single(reader)?);
        }
        if !reader.takes_word("AND") {
            return Ok(());
        }
    }
}

fn single(reader: &mut Reader<'_>) -> Result<(Path, Test), Refusal> {
    if let Some(function) = reader.takes_function() {
        if &*function != "begins_with" {
            return Err(reader.wrong(&format!("Invalid function name; function: {function}")));
        }
        let path = reader.path()?;
        reader.must(",")?;
        let value = reader.value()?;
        reader.must(")")?;
        return Ok((path, Test::BeginsWith(value)));
    }
    let path = reader.path()?;
    if path.is_nested() {
        return Err(reader.wrong("KeyConditionExpressions cannot have conditions on nested attributes"));
    }
    if reader.takes_word("BETWEEN") {
        let low = reader.value()?;
        reader.must_word("AND")?;
        return Ok((path, Test::Between(low, reader.value()?)));
    }
    let Some(sign) = ["=", "<=", ">=", "<", ">"].into_iter().find(|sign| reader.takes(sign)) else {
        return Err(reader.unexpected());
    };
    let value = reader.value()?;
    let test = match sign {
        "=" => Test::Equal(value),
        "<=" => Test::AtMost(value),
        ">=" => Test::AtLeast(value),
        "<" => Test::Less(value),
        _ => Test::More(value),
    };
    Ok((path, test))
}

impl KeyCondition {
    /// The partition, and which sort keys, if it says so.
    pub(crate) fn resolve<'s, 'a>(
        &'s self,
        hash: &str,
        range: Option<&str>,
        given: Given<'s, 'a>,
    ) -> Result<(&'s Value<'a>, Option<SortCondition<'s, 'a>>), Refusal> {
        let scope = Scope(given);
        let (mut partition, mut sort) = (None, None);
        for (path, test) in &self.0 {
            let name = path.first(given).unwrap_or_default();
            let is_new = if name == hash {
                let Test::Equal(value) = test else {
                    return Err(Refusal::invalid("Query key condition not supported"));
                };
                partition.replace(scope.value(value)?).is_none()
            } else if Some(name) == range {
                sort.replace(test.resolve(scope)?).is_none()
            } else {
                let missed =
                    if self.0.len() > 1 || partition.is_some() { range.unwrap_or(name) } else { hash };
                return Err(Refusal::invalid(format!("Query condition missed key schema element: {missed}")));
            };
            if !is_new {
                return Err(Refusal::invalid(
                    "Invalid KeyConditionExpression: KeyConditionExpressions must only contain one condition per key",
                ));
            }
        }
        match partition {
            Some(partition) => Ok((partition, sort)),
            None => Err(Refusal::invalid(format!("Query condition missed key schema element: {hash}"))),
        }
    }
}

impl Test {
    fn resolve<'s, 'a>(&'s self, scope: Scope<'s, 'a>) -> Result<SortCondition<'s, 'a>, Refusal> {
        Ok(match self {
            Self::Equal(value) => SortCondition::Equal(scope.value(value)?),
            Self::Less(value) => SortCondition::Less(scope.value(value)?),
            Self::AtMost(value) => SortCondition::AtMost(scope.value(value)?),
            Self::More(value) => SortCondition::More(scope.value(value)?),
            Self::AtLeast(value) => SortCondition::AtLeast(scope.value(value)?),
            Self::BeginsWith(value) => {
                let value = scope.value(value)?;
                if matches!(value, Value::N(_)) {
                    return Err(Refusal::invalid(
                        "Invalid KeyConditionExpression: Incorrect operand type for operator or function; operator or function: begins_with, operand type: N",
                    ));
                }
                SortCondition::BeginsWith(value)
            }
            Self::Between(low, high) => {
                let (low, high) = (scope.value(low)?, scope.value(high)?);
                if low.compare(high) == Some(Ordering::Greater) {
                    return Err(Refusal::invalid(
                        "Invalid KeyConditionExpression: The BETWEEN operator requires upper bound to be greater than or equal to lower bound",
                    ));
                }
                SortCondition::Between(low, high)
            }
        })
    }
}

impl<'s, 'a> SortCondition<'s, 'a> {
    /// The values that it compares with.
    pub(crate) fn values(self) -> impl Iterator<Item = &'s Value<'a>> {
        let (one, other) = match self {
            Self::Equal(value)
            | Self::Less(value)
            | Self::AtMost(value)
            | Self::More(value)
            | Self::AtLeast(value)
            | Self::BeginsWith(value) => (value, None),
            Self::Between(low, high) => (low, Some(high)),
        };
        std::iter::once(one).chain(other)
    }
}
