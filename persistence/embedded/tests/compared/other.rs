//! `dynoxide`, in memory, and what is compared of both answers.

use dynoxide::errors::DynoxideError;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

pub(super) struct Other(dynoxide::Database);

impl Other {
    pub(super) fn new() -> Self {
        Self(dynoxide::Database::memory().unwrap())
    }

    /// Whether it was done, and the answer.
    pub(super) fn call(&self, operation: &str, body: &Value) -> (bool, Value) {
        let database = &self.0;
        match operation {
            "CreateTable" => answered(body, |request| database.create_table(request)),
            "PutItem" => answered(body, |request| database.put_item(request)),
            "UpdateItem" => answered(body, |request| database.update_item(request)),
            "DeleteItem" => answered(body, |request| database.delete_item(request)),
            "GetItem" => answered(body, |request| database.get_item(request)),
            "BatchGetItem" => answered(body, |request| database.batch_get_item(request)),
            "TransactWriteItems" => answered(body, |request| database.transact_write_items(request)),
            "Query" => answered(body, |request| database.query(request)),
            "Scan" => answered(body, |request| database.scan(request)),
            other => panic!("{other}"),
        }
    }
}

fn answered<Q: DeserializeOwned, A: Serialize>(
    body: &Value,
    call: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> (bool, Value) {
    let request = match serde_json::from_slice(body.to_string().as_bytes()) {
        Ok(request) => request,
        Err(error) => {
            return (false, json!({"__type": "#ValidationException", "message": error.to_string()}));
        }
    };
    match call(request) {
        Ok(answer) => (true, serde_json::to_value(answer).unwrap()),
        Err(error) => (false, serde_json::from_str(&error.to_json()).unwrap()),
    }
}

/// What must be alike: of a refusal its name, the reasons, and what was found; of an answer all that was asked for.
pub(super) fn comparable(operation: &str, (is_done, answer): &(bool, Value)) -> Value {
    let mut shown = if *is_done {
        match operation {
            "CreateTable" => json!("made"),
            "GetItem" => json!({"Item": answer.get("Item")}),
            "BatchGetItem" => json!(answer["Responses"]),
            "TransactWriteItems" => json!("done"),
            _ => json!({"Attributes": answer.get("Attributes")}),
        }
    } else {
        let name = answer["__type"].as_str().unwrap_or_default().rsplit('#').next().unwrap_or_default();
        let reasons: Vec<Value> =
            answer["CancellationReasons"].as_array().into_iter().flatten().map(reason).collect();
        json!({"refused": name, "reasons": reasons, "Item": answer.get("Item")})
    };
    if let (Some(tables), "BatchGetItem") = (shown.as_object_mut(), operation) {
        for items in tables.values_mut().filter_map(Value::as_array_mut) {
            items.iter_mut().for_each(normalize);
            items.sort_by_key(Value::to_string);
        }
    }
    normalize(&mut shown);
    shown
}

fn reason(reason: &Value) -> Value {
    json!({"Code": reason["Code"], "Item": reason.get("Item")})
}

/// Sets have no order.
pub(super) fn normalize(value: &mut Value) {
    match value {
        Value::Object(members) => {
            for (name, member) in members.iter_mut() {
                match member {
                    Value::Array(set) if matches!(name.as_str(), "SS" | "NS" | "BS") => {
                        set.sort_by_key(Value::to_string);
                    }
                    other => normalize(other),
                }
            }
        }
        Value::Array(members) => members.iter_mut().for_each(normalize),
        _ => {}
    }
}

/// Where the two are known to differ.
///
/// - Ours refuses a transaction as a whole when an expression of it can never be right; `dynoxide` looks at its token and conditions
///   first, and then says so of the action. Neither does anything.
/// - An update that makes an item returns nothing as the item before; `dynoxide` returns the key.
/// - Of a list of which a member was updated ours returns that member; `dynoxide` the whole list.
pub(super) fn is_known(operation: &str, body: &Value, ours: &Value, theirs: &Value) -> bool {
    let returns = body["ReturnValues"].as_str().unwrap_or_default();
    let text = body["UpdateExpression"].as_str().unwrap_or_default();
    let refused = |answer: &Value, name: &str| answer["refused"] == name;
    match operation {
        "TransactWriteItems" => {
            let others = ["TransactionCanceledException", "IdempotentParameterMismatchException"];
            refused(ours, "ValidationException") && others.iter().any(|name| refused(theirs, name))
        }
        "UpdateItem" if returns == "ALL_OLD" => {
            ours["Attributes"].is_null() && theirs["Attributes"] == body["Key"]
        }
        "UpdateItem" if returns.starts_with("UPDATED") && text.contains('[') => {
            theirs.get("refused").is_none()
        }
        _ => false,
    }
}
