//! All tables, and what is done to them.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::Duration;

use serde::Deserialize;
use tokio::time::Instant;

use crate::error::{Reason, Refusal};
use crate::expression::{Placeholders, holds, update};
use crate::table::{Key, Table};
use crate::value::Item;

/// How long a token is known.
const TOKEN_LIFE: Duration = Duration::from_secs(600);
/// Actions of one transaction.
const ACTIONS_MAX: usize = 100;

/// A put, update, deletion or check, alone or in a transaction.
#[derive(Debug, Default, Hash, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields, default)]
pub(crate) struct Write {
    table_name: String,
    item: Item,
    key: Item,
    condition_expression: Option<String>,
    update_expression: Option<String>,
    expression_attribute_names: BTreeMap<String, String>,
    expression_attribute_values: Item,
    return_values_on_condition_check_failure: Option<String>,
    pub(crate) return_values: Option<String>,
}

/// An action of a transaction.
#[derive(Debug, Hash, Deserialize)]
pub(crate) enum Action {
    Put(Write),
    Update(Write),
    Delete(Write),
    ConditionCheck(Write),
}

/// A transaction.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Transaction {
    transact_items: Vec<Action>,
    client_request_token: Option<String>,
}

/// What an action that may be done will do.
enum Change {
    Put(Key, Item),
    Delete(Key),
    Nothing,
}

/// All tables.
#[derive(Default)]
pub(crate) struct Store {
    pub(crate) tables: HashMap<String, Table>,
    /// What each token stood for.
    tokens: HashMap<String, u64>,
    /// When each was used.
    aging: VecDeque<(Instant, String)>,
}

impl Store {
    pub(crate) fn table(&self, name: &str) -> Result<&Table, Refusal> {
        self.tables.get(name).ok_or(Refusal::NoTable)
    }

    /// Does one action; what an update makes of the item is the answer.
    pub(crate) fn write(&mut self, mut action: Action) -> Result<Option<Item>, Refusal> {
        let change = self.plan(&mut action)?;
        let new = match &change {
            Change::Put(_, item) if action.write().return_values.as_deref() == Some("ALL_NEW") => {
                Some(item.clone())
            }
            Change::Put(..) | Change::Delete(_) | Change::Nothing => None,
        };
        self.change(&action.write().table_name, change)?;
        Ok(new)
    }

    /// Does all or nothing, and nothing more when the token stood for the same before. `conflict` is asked whether
    /// another transaction is in the way, and of which action.
    pub(crate) fn transact(
        &mut self,
        Transaction { mut transact_items, client_request_token }: Transaction,
        conflict: impl FnOnce(usize) -> Option<usize>,
    ) -> Result<(), Refusal> {
        self.forget_old_tokens();
        let meant = meaning(&transact_items);
        if let Some(known) = client_request_token.as_ref().and_then(|token| self.tokens.get(token)) {
            return if *known == meant { Ok(()) } else { Err(Refusal::OtherRequest) };
        }
        self.check_actions(&transact_items)?;
        if let Some(action) = conflict(transact_items.len()) {
            let mut reasons = vec![Reason::None; transact_items.len()];
            reasons[action] = Reason::Conflict;
            return Err(Refusal::Cancelled(reasons));
        }
        let (mut changes, mut reasons) = (Vec::new(), Vec::new());
        for action in &mut transact_items {
            match self.plan(action) {
                Ok(change) => {
                    changes.push(change);
                    reasons.push(Reason::None);
                }
                Err(Refusal::ConditionFailed(found)) => reasons.push(Reason::ConditionFailed(found)),
                Err(other) => return Err(other),
            }
        }
        if changes.len() < transact_items.len() {
            return Err(Refusal::Cancelled(reasons));
        }
        for (action, change) in transact_items.iter().zip(changes) {
            self.change(&action.write().table_name, change)?;
        }
        if let Some(token) = client_request_token {
            self.aging.push_back((Instant::now(), token.clone()));
            self.tokens.insert(token, meant);
        }
        Ok(())
    }

    /// No more actions than a transaction may have, and no two of them on one item.
    fn check_actions(&self, actions: &[Action]) -> Result<(), Refusal> {
        if actions.is_empty() || actions.len() > ACTIONS_MAX {
            return Err(Refusal::invalid("a transaction has 1 to 100 actions"));
        }
        let mut seen = HashSet::new();
        for action in actions {
            let Write { table_name, item, key, .. } = action.write();
            let place = if matches!(action, Action::Put(_)) { item } else { key };
            let mut hasher = DefaultHasher::new();
            table_name.hash(&mut hasher);
            let schema = self.table(table_name)?.schema(None)?;
            place.get(&schema.hash).hash(&mut hasher);
            schema.range.as_ref().and_then(|range| place.get(range)).hash(&mut hasher);
            // 64 bits of a hash: two items in one transaction will not share them.
            if !seen.insert(hasher.finish()) {
                return Err(Refusal::invalid(
                    "Transaction request cannot include multiple operations on one item",
                ));
            }
        }
        Ok(())
    }

    /// What an action would do, if its condition holds. Takes the item of a put.
    fn plan(&self, action: &mut Action) -> Result<Change, Refusal> {
        let is_put = matches!(action, Action::Put(_));
        let write = action.write();
        let table = self.table(&write.table_name)?;
        let key = table.key_of(if is_put { &write.item } else { &write.key })?;
        let found = table.get(&key);
        let condition = write.condition_expression.as_deref();
        let holds = condition.map_or(Ok(true), |text| holds(text, write.placeholders(), found))?;
        if !holds {
            let wanted = write.return_values_on_condition_check_failure.as_deref() == Some("ALL_OLD");
            return Err(Refusal::ConditionFailed(found.filter(|_| wanted).cloned()));
        }
        match action {
            Action::Put(write) => {
                table.check(&write.item)?;
                Ok(Change::Put(key, std::mem::take(&mut write.item)))
            }
            Action::Update(write) => {
                let mut item = found.unwrap_or(&write.key).clone();
                let text = write.update_expression.as_deref();
                let text = text.ok_or_else(|| Refusal::invalid("an update of nothing"))?;
                update(text, write.placeholders(), &mut item)?;
                table.check(&item)?;
                Ok(Change::Put(key, item))
            }
            Action::Delete(_) => Ok(Change::Delete(key)),
            Action::ConditionCheck(_) => Ok(Change::Nothing),
        }
    }

    fn change(&mut self, table: &str, change: Change) -> Result<(), Refusal> {
        let table = self.tables.get_mut(table).ok_or(Refusal::NoTable)?;
        match change {
            Change::Put(key, item) => table.put(key, item),
            Change::Delete(key) => table.delete(&key),
            Change::Nothing => {}
        }
        Ok(())
    }

    fn forget_old_tokens(&mut self) {
        while let Some((_, token)) = self.aging.pop_front_if(|(used, _)| used.elapsed() > TOKEN_LIFE) {
            self.tokens.remove(&token);
        }
    }
}

impl Action {
    fn write(&self) -> &Write {
        match self {
            Self::Put(write) | Self::Update(write) | Self::Delete(write) | Self::ConditionCheck(write) => {
                write
            }
        }
    }
}

impl Write {
    fn placeholders(&self) -> Placeholders<'_> {
        Placeholders { names: &self.expression_attribute_names, values: &self.expression_attribute_values }
    }
}

fn meaning(actions: &[Action]) -> u64 {
    let mut hasher = DefaultHasher::new();
    actions.hash(&mut hasher);
    hasher.finish()
}
