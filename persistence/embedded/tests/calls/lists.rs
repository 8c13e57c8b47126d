//! Queries and scans: pages, segments, indexes.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use crate::{Test, key};

fn fill(test: &Test, count: usize, bytes: usize) {
    test.table("rows");
    for number in 0..count {
        let mut item = key(&format!("p{}", number % 3), &format!("{number:04}"));
        item["user"] = json!({"S": format!("user{}", number % 2)});
        item["text"] = json!({"S": "x".repeat(bytes)});
        test.put("rows", item);
    }
}

#[test]
fn a_page_is_a_megabyte_and_the_next_goes_on_after_it() {
    let test = Test::start();
    fill(&test, 30, 100_000);
    let page = test.done("Scan", json!({"TableName": "rows"}));
    assert_eq!(page["Count"], 11);
    assert!(page.get("LastEvaluatedKey").is_some());
    let all: BTreeSet<String> = test.found("Scan", json!({"TableName": "rows"})).into_iter().collect();
    assert_eq!(all.len(), 30);
    let counted = test.done("Scan", json!({"TableName": "rows", "Select": "COUNT"}));
    assert_eq!((counted["Count"].clone(), counted.get("Items")), (json!(11), None));
    let query = json!({
        "TableName": "rows", "IndexName": "by_user", "KeyConditionExpression": "#u = :u", "ScanIndexForward": false,
        "ExpressionAttributeNames": {"#u": "user"}, "ExpressionAttributeValues": {":u": {"S": "user1"}}
    });
    let found = test.found("Query", query);
    assert!(found.is_sorted_by(|one, other| one > other));
    assert_eq!((found.len(), found[0].as_str()), (15, "0029"));
}

#[test]
fn the_segments_of_a_scan_are_all_of_it_once_and_no_partition_is_in_two() {
    let test = Test::start();
    fill(&test, 60, 10);
    let mut all = Vec::new();
    for segment in 0..4 {
        let found = test
            .found("Scan", json!({"TableName": "rows", "Segment": segment, "TotalSegments": 4, "Limit": 7}));
        let partitions: BTreeSet<u32> = found.iter().map(|sort| sort.parse::<u32>().unwrap() % 3).collect();
        assert_eq!(found.len(), partitions.len() * 20);
        all.extend(found);
    }
    all.sort();
    assert_eq!(all, (0..60).map(|number| format!("{number:04}")).collect::<Vec<_>>());
}

#[test]
fn a_start_that_is_no_key_or_elsewhere_is_refused() {
    let test = Test::start();
    fill(&test, 3, 10);
    let query = |start: Value| {
        json!({
            "TableName": "rows", "KeyConditionExpression": "PK = :p", "ExclusiveStartKey": start,
            "ExpressionAttributeValues": {":p": {"S": "p0"}}
        })
    };
    let mut longer = key("p0", "0000");
    longer["user"] = json!({"S": "user0"});
    for (start, why) in [
        (json!({"PK": {"S": "p0"}}), "starting key is invalid"),
        (json!({"PK": {"S": "p0"}, "SK": {"N": "1"}}), "starting key is invalid"),
        (longer, "starting key is invalid"),
        (key("p1", "0001"), "outside query boundaries"),
    ] {
        let told = test.refused("Query", query(start));
        assert!(told.contains(why), "{told}");
    }
    assert_eq!(test.found("Query", query(key("p0", "0000"))), [""; 0]);
    assert_eq!(test.found("Query", query(key("p0", "000"))), ["0000"]);
}

#[test]
fn an_index_follows_its_items() {
    let test = Test::start();
    test.table("rows");
    let of =
        |user: &str| {
            test.found("Query", json!({
            "TableName": "rows", "IndexName": "by_user", "KeyConditionExpression": "#u = :u",
            "ExpressionAttributeNames": {"#u": "user"}, "ExpressionAttributeValues": {":u": {"S": user}}
        }))
        };
    let mut item = key("p", "s");
    item["user"] = json!({"S": "ada"});
    test.put("rows", item);
    assert_eq!((of("ada").len(), of("ben").len()), (1, 0));
    let update = |text: &str, values: Value| {
        let mut body = json!({
            "TableName": "rows", "Key": key("p", "s"), "UpdateExpression": text,
            "ExpressionAttributeNames": {"#u": "user"}
        });
        if !values.is_null() {
            body["ExpressionAttributeValues"] = values;
        }
        test.done("UpdateItem", body)
    };
    update("SET #u = :u", json!({":u": {"S": "ben"}}));
    assert_eq!((of("ada").len(), of("ben").len()), (0, 1));
    update("REMOVE #u", Value::Null);
    assert_eq!((of("ada").len(), of("ben").len()), (0, 0));
    update("SET #u = :u", json!({":u": {"S": "ada"}}));
    test.done("DeleteItem", json!({"TableName": "rows", "Key": key("p", "s")}));
    assert_eq!(of("ada").len(), 0);
}
