//! `a.#b[3]`: where something is in a row.

use super::Given;
use crate::error::Refusal;
use crate::value::{Item, Value};

/// The way to a part of a row.
#[derive(Debug, Clone)]
pub(crate) struct Path(pub(super) Vec<Step>);

#[derive(Debug, Clone)]
pub(super) enum Step {
    /// An attribute, or a map's.
    Name(Box<str>),
    /// One whose name the request gives.
    Placeholder(Box<str>),
    /// A list's member.
    Index(usize),
}

/// A step whose name is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Known<'s> {
    Name(&'s str),
    Index(usize),
}

/// What placeholders stand for. That all are given was checked when the request was read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Scope<'s, 'a>(pub(crate) Given<'s, 'a>);

impl<'s, 'a> Scope<'s, 'a> {
    pub(super) fn name(self, placeholder: &'s str) -> &'s str {
        let names = self.0.names.into_iter().flat_map(|names| &names.0);
        let mut meant = names.filter(|(own, _)| own == placeholder).map(|(_, meant)| &**meant);
        meant.next().unwrap_or(placeholder)
    }

    pub(super) fn value(self, placeholder: &str) -> Result<&'s Value<'a>, Refusal> {
        let value = self.0.values.and_then(|values| values.get(placeholder));
        value.ok_or_else(|| {
            Refusal::invalid(format!("An expression attribute value is not defined: {placeholder}"))
        })
    }
}

impl Path {
    pub(super) fn known<'s>(&'s self, scope: Scope<'s, '_>) -> impl Iterator<Item = Known<'s>> {
        self.0.iter().map(move |step| match step {
            Step::Name(name) => Known::Name(name),
            Step::Placeholder(placeholder) => Known::Name(scope.name(placeholder)),
            Step::Index(index) => Known::Index(*index),
        })
    }

    /// What is there.
    pub(super) fn find<'i, 'v>(&self, item: &'i Item<'v>, scope: Scope<'_, '_>) -> Option<&'i Value<'v>> {
        let mut steps = self.known(scope);
        let Some(Known::Name(first)) = steps.next() else { return None };
        steps.try_fold(item.get(first)?, |value, step| match (value, step) {
            (Value::M(map), Known::Name(name)) => map.get(name),
            (Value::L(list), Known::Index(index)) => list.get(index),
            _ => None,
        })
    }

    /// The attribute that it begins with.
    pub(crate) fn first<'s>(&'s self, given: Given<'s, '_>) -> Option<&'s str> {
        match self.known(Scope(given)).next() {
            Some(Known::Name(name)) => Some(name),
            Some(Known::Index(_)) | None => None,
        }
    }

    pub(super) const fn is_nested(&self) -> bool {
        self.0.len() > 1
    }
}
