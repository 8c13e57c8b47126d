//! A row as a line of text: DynamoDB's own JSON, in which every value names its type, so that nothing is lost. One row
//! has one text, whatever order its attributes came in: texts can be compared, and summed.

use aws_sdk_dynamodb::primitives::Blob;
use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Map, Value, json};

use crate::dynamo::items::Item;

/// The text is no row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("is no row in DynamoDB's JSON")]
pub(super) struct NotARow;

/// The one text of a row. `None` for a value of a type that is not known yet.
pub(super) fn to_line(row: &Item) -> Option<String> {
    let mut value = Value::Object(object(row)?);
    value.sort_all_objects();
    Some(value.to_string())
}

/// A row from its text.
pub(super) fn from_line(line: &str) -> Result<Item, NotARow> {
    match serde_json::from_str(line) {
        Ok(Value::Object(members)) => item(members),
        Ok(_) | Err(_) => Err(NotARow),
    }
}

fn object(item: &Item) -> Option<Map<String, Value>> {
    item.iter().map(|(name, value)| Some((name.clone(), to_json(value)?))).collect()
}

fn to_json(value: &AttributeValue) -> Option<Value> {
    let bytes = |bytes: &Blob| BASE64_STANDARD.encode(bytes);
    // A set has no order.
    let sorted = |mut members: Vec<String>| {
        members.sort_unstable();
        members
    };
    Some(match value {
        AttributeValue::S(text) => json!({"S": text}),
        AttributeValue::N(digits) => json!({"N": digits}),
        AttributeValue::B(blob) => json!({"B": bytes(blob)}),
        AttributeValue::Bool(truth) => json!({"BOOL": truth}),
        AttributeValue::Null(_) => json!({"NULL": true}),
        AttributeValue::Ss(texts) => json!({"SS": sorted(texts.clone())}),
        AttributeValue::Ns(digits) => json!({"NS": sorted(digits.clone())}),
        AttributeValue::Bs(blobs) => json!({"BS": sorted(blobs.iter().map(bytes).collect())}),
        AttributeValue::L(members) => {
            json!({"L": members.iter().map(to_json).collect::<Option<Vec<_>>>()?})
        }
        AttributeValue::M(members) => json!({"M": object(members)?}),
        // `AttributeValue` is non-exhaustive.
        _ => return None,
    })
}

fn item(members: Map<String, Value>) -> Result<Item, NotARow> {
    members.into_iter().map(|(name, value)| Ok((name, from_json(value)?))).collect()
}

fn from_json(value: Value) -> Result<AttributeValue, NotARow> {
    let Value::Object(typed) = value else { return Err(NotARow) };
    let mut typed = typed.into_iter();
    let (Some((kind, value)), None) = (typed.next(), typed.next()) else { return Err(NotARow) };
    let blob = |text: String| BASE64_STANDARD.decode(text).map(Blob::new).map_err(|_| NotARow);
    Ok(match (kind.as_str(), value) {
        ("S", Value::String(text)) => AttributeValue::S(text),
        ("N", Value::String(digits)) => AttributeValue::N(digits),
        ("B", Value::String(bytes)) => AttributeValue::B(blob(bytes)?),
        ("BOOL", Value::Bool(truth)) => AttributeValue::Bool(truth),
        ("NULL", Value::Bool(true)) => AttributeValue::Null(true),
        ("SS", Value::Array(texts)) => AttributeValue::Ss(strings(texts)?),
        ("NS", Value::Array(digits)) => AttributeValue::Ns(strings(digits)?),
        ("BS", Value::Array(blobs)) => {
            AttributeValue::Bs(strings(blobs)?.into_iter().map(blob).collect::<Result<_, _>>()?)
        }
        ("L", Value::Array(members)) => {
            AttributeValue::L(members.into_iter().map(from_json).collect::<Result<_, _>>()?)
        }
        ("M", Value::Object(members)) => AttributeValue::M(item(members)?),
        _ => return Err(NotARow),
    })
}

fn strings(values: Vec<Value>) -> Result<Vec<String>, NotARow> {
    let text = |value| if let Value::String(text) = value { Ok(text) } else { Err(NotARow) };
    values.into_iter().map(text).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(value: AttributeValue) -> Item {
        Item::from([("a".to_owned(), value)])
    }

    #[test]
    fn every_type_comes_back_as_it_was() {
        let s = |text: &str| AttributeValue::S(text.to_owned());
        for (value, text) in [
            (s("अनु\n\"\0"), r#"{"S":"अनु\n\"\u0000"}"#),
            (s(""), r#"{"S":""}"#),
            (AttributeValue::N("1E-130".to_owned()), r#"{"N":"1E-130"}"#),
            (
                AttributeValue::N("12345678901234567890123456789012345678".to_owned()),
                "{\"N\":\"12345678901234567890123456789012345678\"}",
            ),
            (AttributeValue::B(Blob::new([0, 255])), r#"{"B":"AP8="}"#),
            (AttributeValue::Bool(false), r#"{"BOOL":false}"#),
            (AttributeValue::Null(true), r#"{"NULL":true}"#),
            (AttributeValue::Bs(vec![Blob::new([1]), Blob::new([2])]), r#"{"BS":["AQ==","Ag=="]}"#),
            (
                AttributeValue::L(vec![s("b"), s("a"), AttributeValue::L(Vec::new())]),
                r#"{"L":[{"S":"b"},{"S":"a"},{"L":[]}]}"#,
            ),
            (AttributeValue::M(row(AttributeValue::M(Item::new()))), r#"{"M":{"a":{"M":{}}}}"#),
        ] {
            let line = to_line(&row(value.clone())).unwrap();
            assert_eq!(line, format!("{{\"a\":{text}}}"));
            assert_eq!(from_line(&line).unwrap(), row(value));
        }
    }

    #[test]
    fn one_row_has_one_text() {
        let set = |members: [&str; 2]| row(AttributeValue::Ss(members.map(str::to_owned).to_vec()));
        assert_eq!(to_line(&set(["a", "b"])), to_line(&set(["b", "a"])));
        let names = ["z", "a", "m", "b"].map(|name| (name.to_owned(), AttributeValue::Null(true)));
        assert_eq!(
            to_line(&names.into()).unwrap(),
            r#"{"a":{"NULL":true},"b":{"NULL":true},"m":{"NULL":true},"z":{"NULL":true}}"#
        );
    }

    #[test]
    fn what_is_no_row_is_refused() {
        for text in [
            "",
            "[]",
            "7",
            r#"{"a":7}"#,
            r#"{"a":{}}"#,
            r#"{"a":{"N":7}}"#,
            r#"{"a":{"S":"x","N":"1"}}"#,
            r#"{"a":{"NULL":false}}"#,
            r#"{"a":{"B":"?"}}"#,
            r#"{"a":{"SS":[7]}}"#,
            r#"{"a":{"X":"x"}}"#,
            r#"{"a":{"M":{"b":1}}}"#,
        ] {
            assert_eq!(from_line(text), Err(NotARow), "{text}");
        }
    }
}
