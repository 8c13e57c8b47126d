//! Stored rows, taken as the program has written them, and what may have become of them.

use std::collections::HashMap;

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use persistence::Dynamo;

use crate::chance::Dice;
use crate::json::CANARY;

pub(crate) type Row = HashMap<String, AttributeValue>;

/// Texts that stand where something else should.
const TEXTS: [&str; 16] = [
    "",
    " ",
    "#",
    "-",
    "10:00",
    "10:00-10:30",
    "25:99#kanarie@example.com",
    "10:00#",
    "2026-11-24",
    "kanarie@example.com",
    "\u{0}",
    "\u{feff}\u{202e}kanarie",
    "null",
    "{\"text\":7}",
    "[[[[",
    "$argon2id$v=19$m=8,t=1,p=1$kanarie$",
];

pub(crate) fn text(text: impl Into<String>) -> AttributeValue {
    AttributeValue::S(text.into())
}

/// The text of an attribute; nothing when it is none.
pub(crate) fn text_of<'a>(row: &'a Row, name: &str) -> &'a str {
    row.get(name).and_then(|value| value.as_s().ok()).map_or("", String::as_str)
}

/// Every row of a table.
pub(crate) async fn all(dynamo: &Dynamo, table: &str) -> Vec<Row> {
    let page = dynamo.client().scan().table_name(table).consistent_read(true).send().await.unwrap();
    page.items.unwrap_or_default()
}

/// Puts a row as it is; false when no DynamoDB would take it, so that it cannot be there.
pub(crate) async fn put(dynamo: &Dynamo, table: &str, row: Row) -> bool {
    dynamo.client().put_item().table_name(table).set_item(Some(row)).send().await.is_ok()
}

/// The row under the key that this one has.
pub(crate) async fn get(dynamo: &Dynamo, table: &str, keys: &[&str], row: &Row) -> Option<Row> {
    let key = keys.iter().map(|name| ((*name).to_owned(), row[*name].clone())).collect();
    let request = dynamo.client().get_item().table_name(table).set_key(Some(key)).consistent_read(true);
    request.send().await.unwrap().item
}

/// The same row with some of its attributes replaced.
pub(crate) fn with<const N: usize>(row: &Row, changes: [(&str, &str); N]) -> Row {
    let mut row = row.clone();
    row.extend(changes.map(|(name, value)| (name.to_owned(), text(value))));
    row
}

/// Takes away, replaces or adds attributes that are no keys.
pub(crate) fn damage(row: &mut Row, keys: &[&str], dice: &Dice) {
    let mut names: Vec<String> = row.keys().filter(|name| !keys.contains(&name.as_str())).cloned().collect();
    names.sort_unstable();
    names.push(CANARY.to_owned());
    for _ in 0..=dice.below(3) {
        let name = dice.pick(&names);
        if dice.percent(25) {
            row.remove(name);
        } else {
            row.insert(name.clone(), odd(dice));
        }
    }
}

/// A value of any type.
fn odd(dice: &Dice) -> AttributeValue {
    let word = || text(*dice.pick(&TEXTS));
    match dice.below(13) {
        0 => AttributeValue::Null(true),
        1 => AttributeValue::Bool(dice.percent(50)),
        2 => AttributeValue::N((*dice.pick(&["0", "-1", "1.5", "1e100", "-9e125", "1e-130"])).to_owned()),
        3 => AttributeValue::N("9".repeat(38)),
        4 => AttributeValue::B(Blob::new(*b"\xff\x00kanarie")),
        5 => AttributeValue::L(vec![word(), AttributeValue::Null(true), word()]),
        6 => AttributeValue::M(Row::from([("text".to_owned(), word()), ("names".to_owned(), word())])),
        7 => AttributeValue::Ss(vec![CANARY.to_owned(), "b".to_owned()]),
        8 => AttributeValue::Ns(vec!["1".to_owned(), "2".to_owned()]),
        9 => text(CANARY.repeat(30_000)),
        10 => AttributeValue::L(Vec::new()),
        _ => word(),
    }
}

/// A text with a character too many, too few or of another kind.
pub(crate) fn bent(key: &str, dice: &Dice) -> String {
    let mut characters: Vec<char> = key.chars().collect();
    let at = dice.below(characters.len().max(1));
    match dice.below(6) {
        0 => characters.truncate(at),
        1 => characters.insert(at, *dice.pick(&['#', '-', ' ', '0', '\u{0}', '٠', '@', '\n'])),
        2 => drop(characters.remove(at)),
        3 => characters[at] = *dice.pick(&['#', '9', ':', 'k', '\u{301}', '@', ' ']),
        4 => return (*dice.pick(&TEXTS)).to_owned(),
        _ => characters.extend(CANARY.chars().cycle().take(900)),
    }
    characters.into_iter().collect()
}
