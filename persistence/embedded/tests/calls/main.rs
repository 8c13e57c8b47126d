//! What the database answers, call by call: limits, tokens, pages, times to live. What two implementations agree on is in
//! `tests/compared`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

mod limits;
mod lists;
mod tables;
mod transactions;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use embedded::Database;
use serde_json::{Value, json};

/// A database, and what time it is there.
struct Test {
    database: Database,
    seconds: Arc<AtomicU64>,
}

impl Test {
    fn start() -> Self {
        Self::with(Database::memory)
    }

    fn open(folder: &Path) -> Self {
        Self::with(|clock| Database::open(folder, clock).unwrap())
    }

    fn with(make: impl FnOnce(embedded::Clock) -> Database) -> Self {
        let seconds = Arc::new(AtomicU64::new(1_795_824_000));
        let now = Arc::clone(&seconds);
        Self { database: make(Arc::new(move || now.load(Ordering::Relaxed) * 1000)), seconds }
    }

    fn passes(&self, seconds: u64) {
        self.seconds.fetch_add(seconds, Ordering::Relaxed);
    }

    fn now(&self) -> u64 {
        self.seconds.load(Ordering::Relaxed)
    }

    fn raw(&self, operation: &str, body: String) -> (u16, Value) {
        let answer = futures::executor::block_on(self.database.call(operation, body.into()));
        (answer.status, serde_json::from_slice(&answer.body).unwrap())
    }

    /// What it answers to what it does.
    fn done(&self, operation: &str, body: Value) -> Value {
        let (status, answer) = self.raw(operation, body.to_string());
        assert_eq!(status, 200, "{operation} {body}: {answer}");
        answer
    }

    /// What it is called, and why, when it is not done.
    fn refused(&self, operation: &str, body: Value) -> String {
        let (status, answer) = self.raw(operation, body.to_string());
        assert_eq!(status, 400, "{operation} {body}: {answer}");
        let name = answer["__type"].as_str().unwrap().rsplit('#').next().unwrap().to_owned();
        let text =
            answer.get("message").or(answer.get("Message")).and_then(Value::as_str).unwrap_or_default();
        format!("{name}: {text}")
    }

    /// A table with `PK` and `SK`, and an index by `user`.
    fn table(&self, name: &str) {
        let text = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
        let key = |hash: &str| json!([{"AttributeName": hash, "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}]);
        self.done(
            "CreateTable",
            json!({
                "TableName": name, "KeySchema": key("PK"), "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [text("PK"), text("SK"), text("user")],
                "GlobalSecondaryIndexes": [{
                    "IndexName": "by_user", "KeySchema": key("user"), "Projection": {"ProjectionType": "ALL"}
                }]
            }),
        );
    }

    fn put(&self, table: &str, item: Value) {
        self.done("PutItem", json!({"TableName": table, "Item": item}));
    }

    /// The sort keys that a query or scan finds, page after page.
    fn found(&self, operation: &str, mut body: Value) -> Vec<String> {
        let mut found = Vec::new();
        loop {
            let answer = self.done(operation, body.clone());
            let sort = |item: &Value| item["SK"]["S"].as_str().unwrap().to_owned();
            found.extend(answer["Items"].as_array().unwrap().iter().map(sort));
            match answer.get("LastEvaluatedKey") {
                Some(last) => body["ExclusiveStartKey"] = last.clone(),
                None => return found,
            }
        }
    }
}

fn key(partition: &str, sort: &str) -> Value {
    json!({"PK": {"S": partition}, "SK": {"S": sort}})
}
