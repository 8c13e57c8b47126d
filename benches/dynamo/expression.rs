//! The expressions that the product sends, and no others: conditions, updates, keys and projections. Each is evaluated
//! while it is read. What is not understood is refused, so that nothing is ever taken for granted.

use std::collections::BTreeMap;

use crate::error::Refusal;
use crate::value::{Item, Value};

/// What the placeholders of an expression stand for.
#[derive(Clone, Copy)]
pub(crate) struct Placeholders<'a> {
    pub(crate) names: &'a BTreeMap<String, String>,
    pub(crate) values: &'a Item,
}

/// The key of a query: the partition, and before which sort key, if anywhere.
pub(crate) struct KeyCondition<'a> {
    pub(crate) partition: (&'a str, &'a Value),
    pub(crate) before: Option<(&'a str, &'a Value)>,
}

/// Whether the condition holds for the item; one that is not there has no attributes.
pub(crate) fn holds(text: &str, with: Placeholders<'_>, item: Option<&Item>) -> Result<bool, Refusal> {
    let mut reader = Reader { rest: text, with };
    let nothing = Item::new();
    let holds = reader.any(item.unwrap_or(&nothing))?;
    reader.end()?;
    Ok(holds)
}

/// Does `SET` or `REMOVE` to an item.
pub(crate) fn update(text: &str, with: Placeholders<'_>, item: &mut Item) -> Result<(), Refusal> {
    let mut reader = Reader { rest: text, with };
    let before = item.clone();
    if reader.takes("REMOVE") {
        let path = reader.path()?;
        if let Some((last, parents)) = path.split_last()
            && let Some(parent) = parent(item, parents)
        {
            parent.remove(*last);
        }
        return reader.end();
    }
    reader.must("SET")?;
    loop {
        let path = reader.path()?;
        reader.must("=")?;
        let value = reader.assigned(&before)?;
        let (last, parents) = path.split_last().ok_or_else(|| Refusal::invalid("no path"))?;
        let parent = parent(item, parents).ok_or_else(|| Refusal::invalid("a path that leads nowhere"))?;
        parent.insert((*last).to_owned(), value);
        if !reader.takes(",") {
            return reader.end();
        }
    }
}

/// Reads `PK = :partition` and `PK = :partition AND SK < :before`.
pub(crate) fn key_condition<'a>(text: &'a str, with: Placeholders<'a>) -> Result<KeyCondition<'a>, Refusal> {
    let mut reader = Reader { rest: text, with };
    let hash = reader.name()?;
    reader.must("=")?;
    let partition = (hash, reader.value()?);
    let before = if reader.takes("AND") {
        let range = reader.name()?;
        reader.must("<")?;
        Some((range, reader.value()?))
    } else {
        None
    };
    reader.end()?;
    Ok(KeyCondition { partition, before })
}

/// The attributes that a projection asks for; none asked for is all.
pub(crate) fn project(
    text: Option<&str>,
    names: &BTreeMap<String, String>,
    item: &Item,
) -> Result<Item, Refusal> {
    let Some(text) = text else { return Ok(item.clone()) };
    let values = Item::new();
    let mut reader = Reader { rest: text, with: Placeholders { names, values: &values } };
    let mut projected = Item::new();
    loop {
        let name = reader.name()?;
        if let Some(value) = item.get(name) {
            projected.insert(name.to_owned(), value.clone());
        }
        if !reader.takes(",") {
            break;
        }
    }
    reader.end()?;
    Ok(projected)
}

struct Reader<'a> {
    rest: &'a str,
    with: Placeholders<'a>,
}

impl<'a> Reader<'a> {
    /// `a OR b`.
    fn any(&mut self, item: &Item) -> Result<bool, Refusal> {
        let mut holds = self.all(item)?;
        while self.takes("OR") {
            holds |= self.all(item)?;
        }
        Ok(holds)
    }

    /// `a AND b`.
    fn all(&mut self, item: &Item) -> Result<bool, Refusal> {
        let mut holds = self.one(item)?;
        while self.takes("AND") {
            holds &= self.one(item)?;
        }
        Ok(holds)
    }

    fn one(&mut self, item: &Item) -> Result<bool, Refusal> {
        if self.takes("NOT") {
            return Ok(!self.one(item)?);
        }
        if self.takes("(") {
            let holds = self.any(item)?;
            self.must(")")?;
            return Ok(holds);
        }
        for function in ["attribute_not_exists", "attribute_exists", "attribute_type", "contains"] {
            if self.takes(function) {
                self.must("(")?;
                let found = at(item, &self.path()?);
                let holds = match function {
                    "attribute_not_exists" => found.is_none(),
                    "attribute_exists" => found.is_some(),
                    _ => {
                        self.must(",")?;
                        let value = self.value()?;
                        found.is_some_and(|found| is_of_type(found, function, value))
                    }
                };
                self.must(")")?;
                return Ok(holds);
            }
        }
        self.comparison(item)
    }

    /// `a = :b`, `a < :b`, `a IN (:b, :c)`.
    fn comparison(&mut self, item: &Item) -> Result<bool, Refusal> {
        let found = at(item, &self.path()?);
        if self.takes("IN") {
            self.must("(")?;
            let mut holds = false;
            loop {
                let value = self.value()?;
                holds |= found.is_some_and(|found| found.equals(value));
                if !self.takes(",") {
                    break;
                }
            }
            self.must(")")?;
            return Ok(holds);
        }
        if self.takes("=") {
            let value = self.value()?;
            return Ok(found.is_some_and(|found| found.equals(value)));
        }
        self.must("<")?;
        let value = self.value()?;
        Ok(found.is_some_and(|found| found.is_less_than(value)))
    }

    /// `:a`, `list_append(a, :b)`, `if_not_exists(a, :b)`.
    fn assigned(&mut self, item: &Item) -> Result<Value, Refusal> {
        let appends = self.takes("list_append");
        if !appends && !self.takes("if_not_exists") {
            return self.value().cloned();
        }
        self.must("(")?;
        let found = at(item, &self.path()?);
        self.must(",")?;
        let value = self.value()?;
        self.must(")")?;
        match (appends, found, value) {
            (true, Some(Value::L(list)), Value::L(more)) => {
                Ok(Value::L(list.iter().chain(more).cloned().collect()))
            }
            (true, ..) => Err(Refusal::invalid("list_append takes two lists")),
            (false, found, value) => Ok(found.unwrap_or(value).clone()),
        }
    }

    /// The word at the front, if it is this one.
    fn takes(&mut self, word: &str) -> bool {
        match self.rest.trim_start().strip_prefix(word) {
            Some(rest) if !is_wordy(word) || !rest.starts_with(is_word) => {
                self.rest = rest;
                true
            }
            Some(_) | None => false,
        }
    }

    fn must(&mut self, word: &str) -> Result<(), Refusal> {
        if self.takes(word) { Ok(()) } else { Err(self.unknown()) }
    }

    fn end(&self) -> Result<(), Refusal> {
        if self.rest.trim().is_empty() { Ok(()) } else { Err(self.unknown()) }
    }

    fn unknown(&self) -> Refusal {
        Refusal::invalid(format!("this server does not know the expression from {:?} on", self.rest))
    }

    /// `a` or `#a`.
    fn name(&mut self) -> Result<&'a str, Refusal> {
        let rest = self.rest.trim_start();
        let sign = usize::from(rest.starts_with('#'));
        let end = rest[sign..].find(|c| !is_word(c)).map_or(rest.len(), |end| sign + end);
        let (name, rest) = rest.split_at(end);
        if name.len() == sign {
            return Err(self.unknown());
        }
        self.rest = rest;
        if sign == 0 {
            return Ok(name);
        }
        let meant = self.with.names.get(name);
        meant.map(String::as_str).ok_or_else(|| Refusal::invalid(format!("{name} stands for nothing")))
    }

    /// `a.b`.
    fn path(&mut self) -> Result<Vec<&'a str>, Refusal> {
        let mut path = vec![self.name()?];
        while self.takes(".") {
            path.push(self.name()?);
        }
        Ok(path)
    }

    /// `:a`.
    fn value(&mut self) -> Result<&'a Value, Refusal> {
        let rest = self.rest.trim_start();
        let Some(word) = rest.strip_prefix(':') else { return Err(self.unknown()) };
        let end = word.find(|c| !is_word(c)).map_or(rest.len(), |end| 1 + end);
        let (name, rest) = rest.split_at(end);
        self.rest = rest;
        let meant = self.with.values.get(name);
        meant.ok_or_else(|| Refusal::invalid(format!("{name} stands for nothing")))
    }
}

fn is_of_type(found: &Value, function: &str, value: &Value) -> bool {
    match (function, found, value) {
        ("attribute_type", found, Value::S(name)) => found.type_name() == name,
        ("contains", Value::L(list), value) => list.iter().any(|member| member.equals(value)),
        ("contains", Value::S(text), Value::S(part)) => text.contains(part),
        _ => false,
    }
}

fn at<'a>(item: &'a Item, path: &[&str]) -> Option<&'a Value> {
    let (first, rest) = path.split_first()?;
    rest.iter().try_fold(item.get(*first)?, |value, name| match value {
        Value::M(map) => map.get(*name),
        _ => None,
    })
}

fn parent<'a>(item: &'a mut Item, path: &[&str]) -> Option<&'a mut Item> {
    path.iter().try_fold(item, |item, name| match item.get_mut(*name)? {
        Value::M(map) => Some(map),
        _ => None,
    })
}

fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || c == '_'
}

fn is_wordy(word: &str) -> bool {
    word.starts_with(is_word)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn item(json: serde_json::Value) -> Item {
        serde_json::from_value(json).unwrap()
    }

    fn check(text: &str, row: Option<&Item>) -> Result<bool, Refusal> {
        let names = [("#list", "list"), ("#upload", "u1"), ("#at", "at"), ("#status", "status")];
        let names = names.map(|(name, meant)| (name.to_owned(), meant.to_owned())).into();
        let values = item(json!({
            ":epoch": {"N": "7"}, ":type": {"S": "L"}, ":name": {"S": "ada"}, ":paid": {"S": "paid"},
            ":open": {"S": "open"}
        }));
        holds(text, Placeholders { names: &names, values: &values }, row)
    }

    #[test]
    fn the_products_conditions_hold_for_what_they_should_and_for_nothing_else() {
        let row = item(json!({
            "PK": {"S": "range#07"}, "epoch": {"N": "7.0"}, "status": {"S": "open"},
            "list": {"L": [{"S": "ben"}]}, "u1": {"M": {"names": {"L": []}}}
        }));
        for (text, of_row, of_nothing) in [
            ("attribute_not_exists(PK)", false, true),
            ("attribute_exists(PK)", true, false),
            ("epoch = :epoch", true, false),
            ("attribute_exists(PK) AND epoch < :epoch", false, false),
            ("attribute_type(#list, :type) AND NOT contains(#list, :name)", true, false),
            (
                "attribute_exists(PK) AND (attribute_not_exists(#list) OR attribute_type(#list, :type))",
                true,
                false,
            ),
            ("attribute_not_exists(PK) OR #status IN (:paid, :open)", true, true),
            ("attribute_exists(#upload) AND attribute_not_exists(#upload.#at)", true, false),
            ("attribute_exists(#upload.#at)", false, false),
        ] {
            assert_eq!(check(text, Some(&row)), Ok(of_row), "{text}");
            assert_eq!(check(text, None), Ok(of_nothing), "{text}");
        }
    }

    #[test]
    fn what_is_not_known_is_refused() {
        for text in [
            "size(PK) < :epoch",
            "epoch > :epoch",
            "epoch = :other",
            "#other = :epoch",
            "epoch = :epoch AND",
            "epoch",
        ] {
            assert!(matches!(check(text, None), Err(Refusal::Invalid(_))), "{text}");
        }
    }

    #[test]
    fn an_update_sets_appends_and_removes() {
        let names = [("#list", "list"), ("#u", "u1"), ("#at", "at")];
        let names = names.map(|(name, meant)| (name.to_owned(), meant.to_owned())).into();
        let values = item(json!({":more": {"L": [{"S": "b"}]}, ":now": {"N": "1"}}));
        let with = Placeholders { names: &names, values: &values };
        let mut row = item(json!({"list": {"L": [{"S": "a"}]}, "u1": {"M": {}}, "old": {"N": "0"}}));
        for text in [
            "SET #list = list_append(#list, :more), old = if_not_exists(old, :now), new = if_not_exists(new, :now)",
            "SET #u.#at = :now",
            "REMOVE new",
        ] {
            update(text, with, &mut row).unwrap();
        }
        let expected = json!({
            "list": {"L": [{"S": "a"}, {"S": "b"}]}, "u1": {"M": {"at": {"N": "1"}}}, "old": {"N": "0"}
        });
        assert_eq!(row, item(expected));
        assert!(update("ADD old :now", with, &mut row).is_err());
    }
}
