//! Tables, and what goes by and by.

use futures::executor::block_on;
use serde_json::json;

use crate::{Test, key};

fn expiring(test: &Test, table: &str, sort: &str, at: u64) {
    let mut item = key("p", sort);
    item["user"] = json!({"S": "ada"});
    item["ttl"] = json!({"N": at.to_string()});
    test.put(table, item);
}

fn enable(test: &Test, table: &str) {
    let wanted = json!({"AttributeName": "ttl", "Enabled": true});
    test.done("UpdateTimeToLive", json!({"TableName": table, "TimeToLiveSpecification": wanted}));
}

#[test]
fn what_has_expired_goes_with_all_that_names_it_and_nothing_else_does() {
    let test = Test::start();
    let now = test.now();
    for table in ["rows", "others"] {
        test.table(table);
        expiring(&test, table, "over", now - 1);
        expiring(&test, table, "odd", 1);
        expiring(&test, table, "now", now);
        test.put(table, key("p", "for ever"));
    }
    enable(&test, "rows");
    assert_eq!(block_on(test.database.sweep(usize::MAX)), Ok(1));
    assert_eq!(test.found("Scan", json!({"TableName": "rows"})), ["for ever", "now", "odd"]);
    assert_eq!(test.found("Scan", json!({"TableName": "rows", "IndexName": "by_user"})), ["now", "odd"]);
    assert_eq!(test.found("Scan", json!({"TableName": "others"})).len(), 4);
    test.passes(1);
    assert_eq!(block_on(test.database.sweep(usize::MAX)), Ok(1));
    assert_eq!(test.found("Scan", json!({"TableName": "rows"})), ["for ever", "odd"]);
}

#[test]
fn a_sweep_of_a_few_rows_goes_on_where_the_last_one_ended() {
    let test = Test::start();
    for table in ["rows", "others"] {
        test.table(table);
        enable(&test, table);
        for number in 0..50 {
            expiring(&test, table, &format!("{number:02}"), test.now() - 1 + number % 2);
        }
    }
    let swept: Vec<usize> = (0..8).map(|_| block_on(test.database.sweep(20)).unwrap()).collect();
    assert_eq!(swept.iter().sum::<usize>(), 50, "{swept:?}");
    assert!(swept[..4].iter().all(|swept| *swept == 10), "{swept:?}");
    for table in ["rows", "others"] {
        assert_eq!(test.found("Scan", json!({"TableName": table})).len(), 25);
    }
}

#[test]
fn a_deleted_table_is_gone_with_its_rows_and_one_of_its_name_starts_empty() {
    let test = Test::start();
    test.table("rows");
    for number in 0..250 {
        expiring(&test, "rows", &number.to_string(), 1);
    }
    test.table("others");
    test.put("others", key("p", "s"));
    test.done("DeleteTable", json!({"TableName": "rows"}));
    let told = test.refused("DescribeTable", json!({"TableName": "rows"}));
    assert!(told.starts_with("ResourceNotFoundException"), "{told}");
    assert_eq!(test.done("ListTables", json!({}))["TableNames"], json!(["others"]));
    test.table("rows");
    assert_eq!(test.found("Scan", json!({"TableName": "rows"})), [""; 0]);
    assert_eq!(test.found("Scan", json!({"TableName": "rows", "IndexName": "by_user"})), [""; 0]);
    assert_eq!(test.found("Scan", json!({"TableName": "others"})), ["s"]);
}

#[test]
fn tables_are_described_as_they_were_made_also_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("dynamodb");
    let test = Test::open(&folder);
    test.table("rows");
    enable(&test, "rows");
    expiring(&test, "rows", "over", test.now() - 1);
    let described = test.done("DescribeTable", json!({"TableName": "rows"}));
    let table = &described["Table"];
    assert_eq!(
        (table["TableStatus"].as_str(), table["CreationDateTime"].as_f64()),
        (Some("ACTIVE"), Some(1_795_824_000.0))
    );
    assert_eq!(table["GlobalSecondaryIndexes"][0]["IndexStatus"], "ACTIVE");
    assert_eq!(table["BillingModeSummary"]["BillingMode"], "PAY_PER_REQUEST");
    let told = test.refused(
        "CreateTable",
        json!({
            "TableName": "rows", "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}],
            "AttributeDefinitions": [{"AttributeName": "PK", "AttributeType": "S"}]
        }),
    );
    assert!(told.starts_with("ResourceInUseException"), "{told}");
    drop(test);

    let test = Test::open(&folder);
    assert_eq!(test.done("DescribeTable", json!({"TableName": "rows"})), described);
    let expiry = test.done("DescribeTimeToLive", json!({"TableName": "rows"}));
    assert_eq!(expiry["TimeToLiveDescription"]["AttributeName"], "ttl");
    assert_eq!(test.found("Scan", json!({"TableName": "rows"})), ["over"]);
    assert_eq!(block_on(test.database.sweep(usize::MAX)), Ok(1));
    test.done("DeleteTable", json!({"TableName": "rows"}));
    test.table("rows");
    assert_eq!(test.found("Scan", json!({"TableName": "rows"})), [""; 0]);
}

#[test]
fn a_closed_database_refuses_and_lets_go_of_its_folder() {
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path().join("dynamodb");
    let test = Test::open(&folder);
    test.table("rows");
    test.database.close();
    for (operation, body) in [
        ("PutItem", json!({"TableName": "rows", "Item": key("p", "s")})),
        ("GetItem", json!({"TableName": "rows", "Key": key("p", "s")})),
        ("Scan", json!({"TableName": "rows"})),
    ] {
        assert_eq!(test.raw(operation, body.to_string()).0, 500, "{operation}");
    }
    let again = Test::open(&folder);
    again.put("rows", key("p", "s"));
}
