//! One change of one item: what a request says, prepared as far as it can be without the item, and then what it does to it.

use std::sync::Arc;

use serde::Deserialize;
use serde_json::Value as Json;
use xxhash_rust::xxh3::Xxh3;

use super::{Unmeasured, given, text};
use crate::commit::Pending;
use crate::database::Inner;
use crate::error::Refusal;
use crate::expression::{Condition, Given, Parsed, Projection, Update, Used};
use crate::storage::Slice;
use crate::table::Table;
use crate::value::{Borrowed, Item, Names};

/// What requests to change one item say, whichever they are.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(super) struct Request<'a> {
    #[serde(borrow)]
    pub(super) table_name: Borrowed<'a>,
    #[serde(borrow, default)]
    item: Option<Item<'a>>,
    #[serde(borrow, default)]
    key: Option<Item<'a>>,
    #[serde(borrow, default)]
    condition_expression: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    update_expression: Option<Borrowed<'a>>,
    #[serde(borrow, default)]
    expression_attribute_names: Option<Names<'a>>,
    #[serde(borrow, default)]
    expression_attribute_values: Option<Item<'a>>,
    #[serde(default)]
    return_values_on_condition_check_failure: OnFailure,
    #[serde(default)]
    pub(super) return_values: Option<Returned>,
    #[serde(default, rename = "ReturnConsumedCapacity")]
    _capacity: Unmeasured,
    #[serde(default, rename = "ReturnItemCollectionMetrics")]
    _metrics: Unmeasured,
}

/// What comes back with a condition's failure.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
enum OnFailure {
    #[default]
    None,
    AllOld,
}

/// What comes back of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(super) enum Returned {
    None,
    AllOld,
    UpdatedOld,
    AllNew,
    UpdatedNew,
}

/// Which change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Put,
    Update,
    Delete,
    Check,
}

/// A change that is ready to be made.
pub(super) struct Action<'r, 'a> {
    pub(super) table: Arc<Table>,
    /// The item's row.
    pub(super) row: Slice,
    kind: Kind,
    request: &'r Request<'a>,
    given: Given<'r, 'a>,
    condition: Option<Arc<Parsed<Condition>>>,
    update: Option<Arc<Parsed<Update>>>,
    /// Of a put: the new row, and those beside it.
    value: Option<Slice>,
    companions: Vec<Slice>,
    /// Bytes that it brings, as DynamoDB counts them; of an update, of its key alone.
    pub(super) size: usize,
}

/// What a change does.
#[derive(Default)]
pub(super) struct Effect {
    rows: Vec<(Slice, Option<Slice>)>,
    old: Option<Slice>,
    new: Option<Slice>,
}

/// Why a change is not made.
pub(super) enum Obstacle {
    /// Its condition does not hold; what was found, where that was asked for.
    Condition(Option<Json>),
    /// It cannot be made to the item that there is.
    Item(String),
    /// The request as a whole cannot be done.
    Request(Refusal),
}

impl From<Refusal> for Obstacle {
    fn from(refusal: Refusal) -> Self {
        Self::Request(refusal)
    }
}

impl<'a> Request<'a> {
    /// Reads the request as far as that needs no item.
    pub(super) fn prepare<'r>(&'r self, inner: &Inner, kind: Kind) -> Result<Action<'r, 'a>, Refusal> {
        let table = inner.tables.get(&self.table_name.0)?;
        self.check_fields(kind)?;
        let given = given(&self.expression_attribute_names, &self.expression_attribute_values);
        let condition = text(&self.condition_expression).map(|text| inner.expressions.conditions.get(text));
        let update = text(&self.update_expression).map(|text| inner.expressions.updates.get(text));
        let (condition, update) = (condition.transpose()?, update.transpose()?);
        let mut used = Used::default();
        if let Some(condition) = &condition {
            used.add(condition, given)?;
            condition.expression.check(given, "ConditionExpression")?;
        }
        if let Some(update) = &update {
            used.add(update, given)?;
        }
        used.check(given)?;
        if let Some(update) = &update {
            update.expression.check(given)?;
            let mut targets = update.expression.targets().filter_map(|path| path.first(given));
            if let Some(name) = targets.find(|target| table.schema.names().any(|name| name == *target)) {
                return Err(Refusal::invalid(format!(
                    "One or more parameter values were invalid: Cannot update attribute {name}. This attribute is part of the key"
                )));
            }
        }
        let (mut value, mut companions) = (None, Vec::new());
        let (row, size) = match (&self.item, &self.key) {
            (Some(item), _) => {
                let row = table.key_of_item(item)?;
                let size = table.check(item, "Item size has exceeded the maximum allowed size")?;
                value = Some(item.bytes().into());
                if table.has_companions() {
                    companions = table.companions(item, &row).into_iter().map(Slice::from).collect();
                }
                (row, size)
            }
            (None, Some(key)) => (table.key_of(key)?, key.size()),
            (None, None) => return Err(Refusal::invalid("The request has neither an item nor a key")),
        };
        let row = row.into();
        Ok(Action { table, row, kind, request: self, given, condition, update, value, companions, size })
    }

    /// Refuses what does not belong to this kind of request.
    fn check_fields(&self, kind: Kind) -> Result<(), Refusal> {
        let fits = match kind {
            Kind::Put => self.item.is_some() && self.key.is_none() && self.update_expression.is_none(),
            Kind::Update => self.item.is_none() && self.key.is_some(),
            Kind::Delete | Kind::Check => {
                self.item.is_none() && self.key.is_some() && self.update_expression.is_none()
            }
        };
        let returns = match self.return_values {
            None | Some(Returned::None) => true,
            Some(Returned::AllOld) => kind != Kind::Check,
            Some(Returned::UpdatedOld | Returned::AllNew | Returned::UpdatedNew) => kind == Kind::Update,
        };
        if !returns {
            return Err(Refusal::invalid("Return values set to invalid value"));
        }
        if !fits {
            return Err(Refusal::invalid(format!("The request is no {kind:?}, or not a whole one")));
        }
        if kind == Kind::Check && self.condition_expression.is_none() {
            return Err(Refusal::invalid("The ConditionExpression of a ConditionCheck is missing"));
        }
        Ok(())
    }
}

impl<'a> Action<'_, 'a> {
    /// What it does to the item as it is.
    pub(super) fn plan(&self, pending: &mut Pending<'_>) -> Result<Effect, Obstacle> {
        let needs_item = self.condition.is_some()
            || self.kind != Kind::Put
            || self.table.has_companions()
            || self.request.return_values == Some(Returned::AllOld);
        let old = match self.kind {
            Kind::Check => pending.get_familiar(&self.row)?,
            _ if needs_item => pending.get(&self.row)?,
            _ => None,
        };
        let needs_attributes = (self.condition.is_some() && old.is_some())
            || self.kind == Kind::Update
            || self.table.has_companions();
        let old_item = match &old {
            Some(bytes) if needs_attributes => Item::stored(bytes)?,
            Some(_) | None => Item::default(),
        };
        if let Some(condition) = &self.condition
            && !condition.expression.holds(&old_item, self.given)?
        {
            let wanted = self.request.return_values_on_condition_check_failure == OnFailure::AllOld;
            let found = old.filter(|_| wanted).and_then(|bytes| serde_json::from_slice(&bytes).ok());
            return Err(Obstacle::Condition(found));
        }
        let mut effect = Effect::default();
        if self.kind == Kind::Check {
            return Ok(effect);
        }
        if self.table.has_companions() && old.is_some() {
            let gone = self.table.companions(&old_item, &self.row).into_iter();
            effect.rows.extend(gone.map(|row| (row.into(), None)));
        }
        let added = |effect: &mut Effect, companions: &[Slice], value: &Slice| {
            // What stays is not deleted first.
            effect.rows.retain(|(row, _)| !companions.contains(row));
            effect.rows.extend(companions.iter().map(|row| (row.clone(), Some(Slice::from([])))));
            effect.rows.push((self.row.clone(), Some(value.clone())));
            effect.new = Some(value.clone());
        };
        match (self.kind, &self.value) {
            (Kind::Put, Some(value)) => added(&mut effect, &self.companions, value),
            (Kind::Update, _) => {
                let (value, companions) = self.updated(&old_item, old.is_some())?;
                added(&mut effect, &companions, &value);
            }
            (Kind::Delete, _) if old.is_some() => effect.rows.push((self.row.clone(), None)),
            (Kind::Put | Kind::Delete | Kind::Check, _) => {}
        }
        effect.old = old;
        Ok(effect)
    }

    /// The row that an update makes, and those beside it.
    fn updated(&self, old: &Item<'a>, is_there: bool) -> Result<(Slice, Vec<Slice>), Obstacle> {
        let key = self.request.key.clone().unwrap_or_default();
        let base = if is_there { old.clone() } else { key };
        let item = match &self.update {
            Some(update) => update.expression.apply(&base, self.given).map_err(unfit)?,
            None => base,
        };
        item.check_depth().map_err(unfit)?;
        self.table
            .check(&item, "Item size to update has exceeded the maximum allowed size")
            .map_err(unfit)?;
        let companions = if self.table.has_companions() {
            self.table.companions(&item, &self.row).into_iter().map(Slice::from).collect()
        } else {
            Vec::new()
        };
        Ok((item.bytes().into(), companions))
    }

    /// What is returned of it.
    pub(super) fn returned(&self, effect: &Effect) -> Result<Option<Vec<u8>>, Refusal> {
        let whole = |row: &Option<Slice>| row.as_ref().map(|bytes| bytes.to_vec());
        let part = |row: &Option<Slice>| {
            let (Some(bytes), Some(update)) = (row, &self.update) else { return Ok(None) };
            let item = Item::stored(bytes)?;
            let shown = Projection::of_paths(update.expression.targets()).of(&item, self.given);
            Ok::<_, Refusal>((!shown.0.is_empty()).then(|| shown.bytes()))
        };
        match self.request.return_values {
            None | Some(Returned::None) => Ok(None),
            Some(Returned::AllOld) => Ok(whole(&effect.old)),
            Some(Returned::AllNew) => Ok(whole(&effect.new)),
            Some(Returned::UpdatedOld) => part(&effect.old),
            Some(Returned::UpdatedNew) => part(&effect.new),
        }
    }

    /// Adds everything that makes it this action.
    pub(super) fn describe(&self, sum: &mut Xxh3) {
        let Request { key, condition_expression, update_expression, .. } = self.request;
        sum.update(&[self.kind as u8, self.request.return_values_on_condition_check_failure as u8]);
        let mut part = |bytes: &[u8]| {
            sum.update(&bytes.len().to_le_bytes());
            sum.update(bytes);
        };
        part(self.table.name().as_bytes());
        part(self.value.as_deref().unwrap_or_default());
        part(&key.as_ref().map(Item::bytes).unwrap_or_default());
        part(text(condition_expression).unwrap_or_default().as_bytes());
        part(text(update_expression).unwrap_or_default().as_bytes());
        part(&self.given.values.map(Item::bytes).unwrap_or_default());
        for (name, meant) in self.given.names.into_iter().flat_map(|names| &names.0) {
            part(name.as_bytes());
            part(meant.as_bytes());
        }
    }
}

impl Effect {
    /// Makes it so.
    pub(super) fn apply(self, pending: &mut Pending<'_>) {
        for (row, value) in self.rows {
            pending.set(row, value);
        }
    }
}

/// What is wrong with the item is not wrong with the request.
fn unfit(refusal: Refusal) -> Obstacle {
    match refusal {
        Refusal::Invalid(text) => Obstacle::Item(text),
        other => Obstacle::Request(other),
    }
}
