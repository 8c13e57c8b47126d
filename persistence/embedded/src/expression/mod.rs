//! Expressions: read once, kept by their text, and evaluated against rows. What is not understood is refused.

mod condition;
mod key_condition;
mod path;
mod projection;
mod reader;
mod update;

use std::sync::{Arc, PoisonError, RwLock};

use foldhash::HashMap;

pub(crate) use condition::{Condition, Filter};
pub(crate) use key_condition::{KeyCondition, SortCondition};
pub(crate) use projection::Projection;
pub(crate) use update::Update;

use crate::error::Refusal;
use crate::value::{Item, Names};
use reader::Reader;

/// Bytes of an expression.
const TEXT_MAX: usize = 4096;
/// Texts of each kind that are kept. The program has some dozens; beyond that they are forgotten and read again.
const KEPT_MAX: usize = 256;

/// An expression, and the placeholders in it.
#[derive(Debug)]
pub(crate) struct Parsed<T> {
    pub(crate) expression: T,
    names: Vec<Box<str>>,
    values: Vec<Box<str>>,
}

/// A kind of expression.
pub(crate) trait Expression: Sized {
    /// What DynamoDB calls it.
    const KIND: &str;

    /// Reads it, all of it.
    fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal>;
}

/// The expressions of one kind that were read already.
#[derive(Debug)]
pub(crate) struct Kept<T>(RwLock<HashMap<Box<str>, Arc<Parsed<T>>>>);

impl<T> Default for Kept<T> {
    fn default() -> Self {
        Self(RwLock::default())
    }
}

impl<T: Expression> Kept<T> {
    pub(crate) fn get(&self, text: &str) -> Result<Arc<Parsed<T>>, Refusal> {
        let kept = self.0.read().unwrap_or_else(PoisonError::into_inner).get(text).cloned();
        if let Some(kept) = kept {
            return Ok(kept);
        }
        let parsed = Arc::new(parse(text)?);
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= KEPT_MAX {
            all.clear();
        }
        all.insert(text.into(), Arc::clone(&parsed));
        Ok(parsed)
    }
}

fn parse<T: Expression>(text: &str) -> Result<Parsed<T>, Refusal> {
    let wrong = |problem: &str| Refusal::invalid(format!("Invalid {}: {problem}", T::KIND));
    if text.len() > TEXT_MAX {
        return Err(wrong("Expression size has exceeded the maximum allowed size;"));
    }
    if text.trim().is_empty() {
        return Err(wrong("The expression can not be empty;"));
    }
    let mut reader = Reader::new(text, T::KIND)?;
    let expression = T::read(&mut reader)?;
    reader.end()?;
    let (names, values) = reader.placeholders();
    Ok(Parsed { expression, names, values })
}

/// All expressions that a kind of request may bring, as far as they were read already.
#[derive(Debug, Default)]
pub(crate) struct Expressions {
    pub(crate) conditions: Kept<Condition>,
    pub(crate) filters: Kept<Filter>,
    pub(crate) updates: Kept<Update>,
    pub(crate) keys: Kept<KeyCondition>,
    pub(crate) projections: Kept<Projection>,
}

/// What the placeholders of a request stand for; `None` where it says nothing of them.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Given<'r, 'a> {
    pub(crate) names: Option<&'r Names<'a>>,
    pub(crate) values: Option<&'r Item<'a>>,
}

/// Which placeholders the expressions of a request use.
#[derive(Default)]
pub(crate) struct Used<'e> {
    names: Vec<&'e str>,
    values: Vec<&'e str>,
    any: bool,
}

impl<'e> Used<'e> {
    pub(crate) fn add<T: Expression>(
        &mut self,
        parsed: &'e Parsed<T>,
        given: Given<'_, '_>,
    ) -> Result<(), Refusal> {
        let wrong = |problem: String| Refusal::invalid(format!("Invalid {}: {problem}", T::KIND));
        for name in &parsed.names {
            if !given.names.is_some_and(|names| names.0.iter().any(|(own, _)| *own == **name)) {
                return Err(wrong(format!(
                    "An expression attribute name used in the document path is not defined; attribute name: {name}"
                )));
            }
        }
        for value in &parsed.values {
            if given.values.is_none_or(|values| values.get(value).is_none()) {
                return Err(wrong(format!(
                    "An expression attribute value used in expression is not defined; attribute value: {value}"
                )));
            }
        }
        self.names.extend(parsed.names.iter().map(|name| &**name));
        self.values.extend(parsed.values.iter().map(|value| &**value));
        self.any = true;
        Ok(())
    }

    /// Refuses what is given and not used.
    pub(crate) fn check(&self, given: Given<'_, '_>) -> Result<(), Refusal> {
        if let Some(names) = given.names {
            let unused = names.0.iter().map(|(name, _)| &**name).filter(|name| !self.names.contains(name));
            self.refuse("ExpressionAttributeNames", names.0.is_empty(), unused.collect())?;
        }
        if let Some(values) = given.values {
            let unused = values.0.iter().map(|(name, _)| &**name).filter(|name| !self.values.contains(name));
            self.refuse("ExpressionAttributeValues", values.0.is_empty(), unused.collect())?;
        }
        Ok(())
    }

    fn refuse(&self, what: &str, is_empty: bool, unused: Vec<&str>) -> Result<(), Refusal> {
        if !self.any {
            return Err(Refusal::invalid(format!("{what} can only be specified when using expressions")));
        }
        if is_empty {
            return Err(Refusal::invalid(format!("{what} must not be empty")));
        }
        if unused.is_empty() {
            return Ok(());
        }
        let unused = unused.join(", ");
        Err(Refusal::invalid(format!("Value provided in {what} unused in expressions: keys: {{{unused}}}")))
    }
}
