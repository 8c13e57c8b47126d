//! What is refused.

use serde_json::{Value, json};

use crate::{Test, key};

/// A put of an item with this attribute beside its key.
fn with(value: Value) -> Value {
    let mut item = key("p", "s");
    item["a"] = value;
    json!({"TableName": "rows", "Item": item})
}

#[test]
fn values_that_dynamodb_does_not_store_are_refused() {
    let test = Test::start();
    test.table("rows");
    for (value, why) in [
        (json!({"N": "x"}), "cannot be converted to a numeric value"),
        (json!({"N": "1".repeat(39)}), "more than 38 significant digits"),
        (json!({"N": "1e126"}), "overflow"),
        (json!({"N": "1e-131"}), "underflow"),
        (json!({"SS": []}), "may not be empty"),
        (json!({"SS": ["a", "a"]}), "duplicates"),
        (json!({"NS": ["1", "1.0"]}), "duplicates"),
        (json!({"NULL": false}), "must have the value of true"),
        (json!({}), "is empty, must contain exactly one"),
        (json!({"S": "a", "N": "1"}), "more than one datatypes"),
        (json!({"B": "not base64"}), "Base64"),
        ((0..33).fold(json!({"S": "deep"}), |value, _| json!({"L": [value]})), "Nesting Levels"),
        (json!({"S": "x".repeat(400 * 1024)}), "Item size has exceeded"),
    ] {
        let told = test.refused("PutItem", with(value));
        assert!(told.starts_with("ValidationException") && told.contains(why), "{told}");
    }
    assert!(test.refused("PutItem", with(json!({"S": 1}))).starts_with("SerializationException"));
    for value in [json!({"N": "1".repeat(38)}), json!({"S": ""}), json!({"S": "x".repeat(400 * 1024 - 7)})] {
        test.done("PutItem", with(value));
    }
}

#[test]
fn keys_have_bounds() {
    let test = Test::start();
    test.table("rows");
    for (partition, sort, why) in [
        ("", "s", "empty string value. Key: PK"),
        ("p", "", "empty string value. Key: SK"),
        (&*"p".repeat(2049), "s", "2048"),
        ("p", &*"s".repeat(1025), "1024"),
    ] {
        for (operation, name) in [("PutItem", "Item"), ("GetItem", "Key"), ("UpdateItem", "Key")] {
            let told = test.refused(operation, json!({"TableName": "rows", name: key(partition, sort)}));
            assert!(told.starts_with("ValidationException") && told.contains(why), "{operation}: {told}");
        }
    }
    // A zero takes two bytes of a stored key, and one of the bound.
    for (partition, sort) in [("p".repeat(2048), "s".repeat(1024)), ("\0".repeat(2048), "\0".repeat(1024))] {
        test.put("rows", key(&partition, &sort));
        let found = test.done("GetItem", json!({"TableName": "rows", "Key": key(&partition, &sort)}));
        assert_eq!(found["Item"], key(&partition, &sort));
    }
    let told = test.refused("PutItem", json!({"TableName": "rows", "Item": {"PK": {"S": "p"}}}));
    assert!(told.contains("Missing the key SK in the item"), "{told}");
    let told = test.refused("GetItem", json!({"TableName": "rows", "Key": {"PK": {"S": "p"}}}));
    assert!(told.contains("does not match the schema"), "{told}");
    let mut item = key("p", "s");
    item["user"] = json!({"N": "1"});
    let told = test.refused("PutItem", json!({"TableName": "rows", "Item": item}));
    assert!(told.contains("Index Key user Expected: S Actual: N"), "{told}");
    item["user"] = json!({"S": ""});
    assert!(test.refused("PutItem", json!({"TableName": "rows", "Item": item})).contains("IndexKey: user"));
}

#[test]
fn expressions_that_can_never_be_right_are_refused_whatever_the_row_is() {
    let test = Test::start();
    test.table("rows");
    let values = json!({":a": {"S": "a"}, ":n": {"N": "1"}, ":b": {"S": "b"}, ":null": {"NULL": true}});
    for (condition, used, why) in [
        ("", &[][..], "can not be empty"),
        ("a", &[], "Syntax error"),
        ("a = :a AND", &[":a"], "Syntax error"),
        ("a = :missing", &[], "value used in expression is not defined"),
        ("#a = :a", &[":a"], "name used in the document path is not defined"),
        ("a = :a", &[":a", ":b"], "unused in expressions: keys: {:b}"),
        ("status = :a", &[":a"], "reserved keyword: status"),
        ("unheard_of(a)", &[], "Invalid function name"),
        ("a <= :null", &[":null"], "Incorrect operand type"),
        ("attribute_exists(a) OR a BETWEEN :b AND :a", &[":a", ":b"], "upper bound"),
        ("a BETWEEN :a AND :n", &[":a", ":n"], "same data type"),
        ("begins_with(a, :n)", &[":n"], "Incorrect operand type"),
        ("attribute_type(a, :a)", &[":a"], "Invalid attribute type"),
        ("contains(a, a)", &[], "must be distinct"),
    ] {
        let mut body = json!({"TableName": "rows", "Item": key("p", "s"), "ConditionExpression": condition});
        for name in used {
            body["ExpressionAttributeValues"][*name] = values[*name].clone();
        }
        let told = test.refused("PutItem", body);
        assert!(told.starts_with("ValidationException") && told.contains(why), "{condition}: {told}");
    }
    let deep = format!("{}a = a{}", "(".repeat(400), ")".repeat(400));
    let body = |text: &str| json!({"TableName": "rows", "Item": key("p", "s"), "ConditionExpression": text});
    assert!(test.refused("PutItem", body(&deep)).contains("too many operators"));
    assert!(test.refused("PutItem", body(&"a".repeat(4097))).contains("size has exceeded"));
    for (update, why) in [
        ("SET PK = :a", "part of the key"),
        ("SET a = :a, a.b = :a", "overlap"),
        ("ADD a :a", "Incorrect operand type"),
        ("SET a = :a SET b = :a", "can only be used once"),
        ("SET a = b + :a", "Incorrect operand type"),
    ] {
        let values = json!({":a": {"S": "a"}});
        let told = test.refused(
            "UpdateItem",
            json!({
                "TableName": "rows", "Key": key("p", "s"), "UpdateExpression": update,
                "ExpressionAttributeValues": values
            }),
        );
        assert!(told.starts_with("ValidationException") && told.contains(why), "{update}: {told}");
    }
}

#[test]
fn what_is_not_known_is_refused_and_never_ignored() {
    let test = Test::start();
    test.table("rows");
    assert!(test.refused("BatchWriteItem", json!({})).starts_with("UnknownOperationException"));
    for (operation, body) in [
        ("PutItem", json!({"TableName": "rows", "Item": key("p", "s"), "Expected": {}})),
        ("PutItem", json!({"TableName": "rows", "Item": key("p", "s"), "Key": key("p", "s")})),
        ("PutItem", json!({"TableName": "rows", "Item": key("p", "s"), "ReturnValues": "ALL_NEW"})),
        ("PutItem", json!({"TableName": "rows", "Item": key("p", "s"), "ReturnConsumedCapacity": "TOTAL"})),
        ("DeleteItem", json!({"TableName": "rows", "Key": key("p", "s"), "UpdateExpression": "REMOVE a"})),
        ("Query", json!({"TableName": "rows", "KeyConditions": {}})),
        ("Query", json!({"TableName": "rows"})),
        ("Scan", json!({"TableName": "rows", "ScanIndexForward": false})),
        ("Scan", json!({"TableName": "rows", "Limit": 0})),
        ("Scan", json!({"TableName": "rows", "Segment": 2, "TotalSegments": 2})),
        ("Scan", json!({"TableName": "rows", "IndexName": "by_user", "ConsistentRead": true})),
        ("Scan", json!({"TableName": "rows", "IndexName": "by_nobody"})),
        ("CreateTable", json!({"TableName": "other", "LocalSecondaryIndexes": []})),
    ] {
        let told = test.refused(operation, body);
        assert!(
            told.starts_with("ValidationException") || told.starts_with("SerializationException"),
            "{told}"
        );
    }
    assert_eq!(test.raw("PutItem", "{".to_owned()).0, 400);
    let long = json!({"TableName": "rows", "Item": {"PK": {"S": "x".repeat(17 * 1024 * 1024)}}});
    assert!(test.refused("PutItem", long).contains("too long"));
    let told = test.refused("GetItem", json!({"TableName": "nobody", "Key": key("p", "s")}));
    assert!(told.starts_with("ResourceNotFoundException"), "{told}");
    assert_eq!(test.found("Scan", json!({"TableName": "rows"})), [""; 0]);
}

#[test]
fn keys_of_indexes_have_bounds_too() {
    let test = Test::start();
    test.done(
        "CreateTable",
        json!({
            "TableName": "indexed", "BillingMode": "PAY_PER_REQUEST",
            "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}],
            "AttributeDefinitions": [
                {"AttributeName": "PK", "AttributeType": "S"}, {"AttributeName": "a", "AttributeType": "S"},
                {"AttributeName": "b", "AttributeType": "B"},
            ],
            "GlobalSecondaryIndexes": [{
                "IndexName": "by_a", "Projection": {"ProjectionType": "ALL"},
                "KeySchema": [{"AttributeName": "a", "KeyType": "HASH"}, {"AttributeName": "b", "KeyType": "RANGE"}],
            }],
        }),
    );
    let item = |hash: usize, range: usize| {
        json!({"TableName": "indexed", "Item": {
            "PK": {"S": "p"}, "a": {"S": "x".repeat(hash)}, "b": {"B": "AAAA".repeat(range)},
        }})
    };
    for (hash, range, why) in [(70_000, 1, "2048"), (2049, 1, "2048"), (1, 342, "1024")] {
        let told = test.refused("PutItem", item(hash, range));
        assert!(told.starts_with("ValidationException") && told.contains(why), "{told}");
    }
    test.done("PutItem", item(2048, 341));
}

#[test]
fn an_update_makes_nothing_that_could_not_be_read() {
    let test = Test::start();
    test.table("rows");
    let deep = (0..31).fold(json!({"S": "deep"}), |value, _| json!({"M": {"k": value}}));
    test.done("PutItem", with(deep));
    let deeper = |value| {
        json!({
            "TableName": "rows", "Key": key("p", "s"), "UpdateExpression": "SET a.k = :deeper",
            "ExpressionAttributeValues": {":deeper": value},
        })
    };
    let told =
        test.refused("UpdateItem", deeper((0..32).fold(json!({"S": ""}), |value, _| json!({"L": [value]}))));
    assert!(told.starts_with("ValidationException") && told.contains("Nesting Levels"), "{told}");
    test.done("UpdateItem", deeper(json!({"S": "flat"})));
}
