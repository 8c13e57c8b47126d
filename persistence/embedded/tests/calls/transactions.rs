//! Transactions and their tokens.

use serde_json::{Value, json};

use crate::{Test, key};

/// Counts up the row, once for each time it is done.
fn counting(token: &str, by: &str) -> Value {
    json!({
        "ClientRequestToken": token,
        "TransactItems": [{"Update": {
            "TableName": "rows", "Key": key("p", "count"), "UpdateExpression": "ADD n :by",
            "ExpressionAttributeValues": {":by": {"N": by}}
        }}]
    })
}

fn count(test: &Test) -> Value {
    test.done("GetItem", json!({"TableName": "rows", "Key": key("p", "count")}))["Item"]["n"]["N"].clone()
}

fn put(sort: &str, condition: Option<&str>) -> Value {
    let mut put = json!({"TableName": "rows", "Item": key("p", sort)});
    if let Some(condition) = condition {
        put["ConditionExpression"] = json!(condition);
        put["ReturnValuesOnConditionCheckFailure"] = json!("ALL_OLD");
    }
    json!({"Put": put})
}

#[test]
fn a_request_with_the_same_token_is_done_once_for_ten_minutes() {
    let test = Test::start();
    test.table("rows");
    test.done("TransactWriteItems", counting("token", "1"));
    test.done("TransactWriteItems", counting("token", "1"));
    // The same, as another writer of JSON writes it.
    let again = r#"{"TransactItems": [ {"Update": {"UpdateExpression": "ADD n :by", "Key": {"SK": {"S": "count"},
        "PK": {"S": "p"}}, "ExpressionAttributeValues": {":by": {"N": "1.0"}}, "TableName": "rows"}} ],
        "ClientRequestToken": "token"}"#;
    assert_eq!(test.raw("TransactWriteItems", again.to_owned()).0, 200);
    assert_eq!(count(&test), "1");
    let told = test.refused("TransactWriteItems", counting("token", "2"));
    assert!(told.starts_with("IdempotentParameterMismatchException"), "{told}");
    test.done("TransactWriteItems", counting("other", "1"));
    assert_eq!(count(&test), "2");
    test.passes(601);
    test.done("TransactWriteItems", counting("token", "2"));
    assert_eq!(count(&test), "4");
}

#[test]
fn a_token_of_what_was_refused_stands_for_nothing() {
    let test = Test::start();
    test.table("rows");
    test.put("rows", key("p", "taken"));
    let body = json!({"ClientRequestToken": "token", "TransactItems": [put("taken", Some("attribute_not_exists(PK)"))]});
    assert!(test.refused("TransactWriteItems", body.clone()).starts_with("TransactionCanceledException"));
    test.done("DeleteItem", json!({"TableName": "rows", "Key": key("p", "taken")}));
    test.done("TransactWriteItems", body);
}

#[test]
fn a_cancelled_transaction_does_nothing_and_says_why_action_by_action() {
    let test = Test::start();
    test.table("rows");
    let mut taken = key("p", "taken");
    taken["by"] = json!({"S": "somebody"});
    test.put("rows", taken.clone());
    let absent = Some("attribute_not_exists(PK)");
    let update = json!({"Update": {
        "TableName": "rows", "Key": key("p", "other"), "UpdateExpression": "SET a = b"
    }});
    let body = json!({"TransactItems": [put("new", absent), put("taken", absent), update]});
    let (status, answer) = test.raw("TransactWriteItems", body.to_string());
    assert_eq!(status, 400);
    assert!(
        answer["Message"].as_str().unwrap().ends_with("[None, ConditionalCheckFailed, ValidationError]"),
        "{answer}"
    );
    let reasons = answer["CancellationReasons"].as_array().unwrap();
    assert_eq!(reasons[1]["Item"], taken);
    assert_eq!((reasons[0].get("Item"), reasons[2].get("Item")), (None, None));
    assert_eq!(test.found("Scan", json!({"TableName": "rows"})), ["taken"]);
}

#[test]
fn a_transaction_has_bounds() {
    let test = Test::start();
    test.table("rows");
    let puts = |count: usize| (0..count).map(|number| put(&number.to_string(), None)).collect::<Vec<_>>();
    for (items, why) in [
        (json!(puts(101)), "length between 1 and 100"),
        (json!([]), "length between 1 and 100"),
        (
            json!([put("a", None), put("b", None), {"Delete": {"TableName": "rows", "Key": key("p", "a")}}]),
            "multiple operations on one item",
        ),
        (json!([{"ConditionCheck": {"TableName": "rows", "Key": key("p", "a")}}]), "is missing"),
        (
            json!([{"Put": {"TableName": "rows", "Item": key("p", "a"), "ReturnValues": "ALL_OLD"}}]),
            "returns no values",
        ),
    ] {
        let told = test.refused("TransactWriteItems", json!({"TransactItems": items}));
        assert!(told.starts_with("ValidationException") && told.contains(why), "{told}");
    }
    let mut large = puts(11);
    for put in &mut large {
        put["Put"]["Item"]["a"] = json!({"S": "x".repeat(390 * 1024)});
    }
    assert!(test.refused("TransactWriteItems", json!({"TransactItems": large})).contains("4MB"));
    assert_eq!(test.found("Scan", json!({"TableName": "rows"})), [""; 0]);
    test.done("TransactWriteItems", json!({"TransactItems": puts(100)}));
    assert_eq!(test.found("Scan", json!({"TableName": "rows"})).len(), 100);
    let gets: Vec<Value> = ["7", "nobody"]
        .iter()
        .map(|sort| json!({"Get": {"TableName": "rows", "Key": key("p", sort)}}))
        .collect();
    let found = test.done("TransactGetItems", json!({"TransactItems": gets}));
    assert_eq!(found["Responses"], json!([{"Item": key("p", "7")}, {}]));
}
