//! Which parts of a row are shown.

use super::path::{Known, Path, Scope};
use super::reader::Reader;
use super::{Expression, Given};
use crate::error::Refusal;
use crate::value::{Item, Value};

/// The paths that are asked for.
#[derive(Debug)]
pub(crate) struct Projection(Vec<Path>);

impl Expression for Projection {
    const KIND: &str = "ProjectionExpression";

    fn read(reader: &mut Reader<'_>) -> Result<Self, Refusal> {
        let mut paths = vec![reader.path()?];
        while reader.takes(",") {
            paths.push(reader.path()?);
        }
        Ok(Self(paths))
    }
}

impl Projection {
    /// These paths.
    pub(crate) fn of_paths<'p>(paths: impl Iterator<Item = &'p Path>) -> Self {
        Self(paths.cloned().collect())
    }

    /// Refuses paths of which one holds the other.
    pub(crate) fn check(&self, given: Given<'_, '_>) -> Result<(), Refusal> {
        let paths: Vec<Vec<Known<'_>>> =
            self.0.iter().map(|path| path.known(Scope(given)).collect()).collect();
        for (at, one) in paths.iter().enumerate() {
            if paths[at + 1..].iter().any(|other| one.starts_with(other) || other.starts_with(one)) {
                return Err(Refusal::invalid(
                    "Invalid ProjectionExpression: Two document paths overlap with each other; must remove or rewrite one of these paths;",
                ));
            }
        }
        Ok(())
    }

    /// What is shown of the row.
    pub(crate) fn of<'v>(&self, item: &Item<'v>, given: Given<'_, '_>) -> Item<'v> {
        let mut paths: Vec<Vec<Known<'_>>> =
            self.0.iter().map(|path| path.known(Scope(given)).collect()).collect();
        paths.sort();
        let paths: Vec<&[Known<'_>]> = paths.iter().map(Vec::as_slice).collect();
        attributes(item, &paths)
    }
}

/// Paths that begin alike lie together.
fn groups<'p, 's>(paths: &'p [&'p [Known<'s>]]) -> impl Iterator<Item = (Known<'s>, Vec<&'p [Known<'s>]>)> {
    paths.chunk_by(|one, other| one.first() == other.first()).filter_map(|group| {
        let first = group.first()?.first()?;
        Some((*first, group.iter().map(|path| &path[1..]).collect()))
    })
}

fn attributes<'v>(item: &Item<'v>, paths: &[&[Known<'_>]]) -> Item<'v> {
    let mut shown = Item::default();
    for (step, rest) in groups(paths) {
        let Known::Name(name) = step else { continue };
        if let Some(value) = item.get(name).and_then(|value| part(value, &rest)) {
            shown.set(name.to_owned().into(), value);
        }
    }
    shown
}

fn part<'v>(value: &Value<'v>, paths: &[&[Known<'_>]]) -> Option<Value<'v>> {
    if paths.iter().any(|path| path.is_empty()) {
        return Some(value.clone());
    }
    match value {
        Value::M(map) => {
            let shown = attributes(map, paths);
            (!shown.0.is_empty()).then_some(Value::M(shown))
        }
        Value::L(list) => {
            let shown = groups(paths).filter_map(|(step, rest)| match step {
                Known::Index(index) => part(list.get(index)?, &rest),
                Known::Name(_) => None,
            });
            let shown: Vec<Value<'v>> = shown.collect();
            (!shown.is_empty()).then_some(Value::L(shown))
        }
        _ => None,
    }
}
