//! What the program asks of AWS, read from the source of `persistence`, and what the role of a node may do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use persistence::TableNames;
use serde_json::Value;

use super::{resources, template, texts};

/// Where a request goes.
#[derive(Clone, Copy)]
enum To {
    Tables(&'static [&'static str]),
    /// The index of a user's bookings.
    Index,
    /// Both the bucket and what is in it count as the bucket's.
    Bucket(&'static str),
    /// Nowhere by itself: what is in it is listed where it is built.
    Transaction,
    /// No node does it on AWS: tables and buckets are there already, and there are no examples.
    NotThere,
}

use To::{Bucket, Index, NotThere, Tables, Transaction};

const ALL: To = Tables(&[
    "users",
    "doctors",
    "availability",
    "bookings",
    "chat_history",
    "payments",
    "engine",
    "nodes",
    "audit",
]);
const ACCOUNTS: To = Tables(&["users", "doctors"]);

/// Every request that `persistence` makes: file, operation or action of a transaction, and what it goes to.
const REQUESTS: &[(&str, &str, To)] = &[
    ("dynamo/accounts.rs", "get_item", ACCOUNTS),
    ("dynamo/accounts.rs", "put_item", ACCOUNTS),
    ("dynamo/accounts.rs", "scan", NotThere),
    ("dynamo/accounts.rs", "update_item", ACCOUNTS),
    ("dynamo/audit.rs", "Put", Tables(&["audit"])),
    ("dynamo/audit.rs", "query", Tables(&["audit"])),
    ("dynamo/bookings.rs", "get_item", Tables(&["doctors"])),
    ("dynamo/bookings.rs", "query", Tables(&["availability", "bookings"])),
    ("dynamo/transaction.rs", "transact_write_items", Transaction),
    ("dynamo/chats.rs", "put_item", Tables(&["chat_history"])),
    ("dynamo/chats.rs", "query", Tables(&["chat_history"])),
    ("dynamo/fences.rs", "batch_get_item", Tables(&["engine"])),
    ("dynamo/fences.rs", "update_item", Tables(&["engine"])),
    ("dynamo/nodes.rs", "delete_item", Tables(&["nodes"])),
    ("dynamo/nodes.rs", "put_item", Tables(&["nodes"])),
    ("dynamo/nodes.rs", "scan", Tables(&["nodes"])),
    ("dynamo/payments.rs", "get_item", Tables(&["payments"])),
    ("dynamo/payments.rs", "update_item", Tables(&["payments"])),
    ("dynamo/profiles.rs", "get_item", Tables(&["doctors"])),
    ("dynamo/profiles.rs", "scan", Tables(&["doctors"])),
    ("dynamo/profiles.rs", "update_item", Tables(&["doctors"])),
    ("dynamo/subscriptions.rs", "Update", ACCOUNTS),
    ("dynamo/subscriptions.rs", "get_item", ACCOUNTS),
    ("dynamo/subscriptions.rs", "transact_write_items", Transaction),
    ("dynamo/transact.rs", "ConditionCheck", Tables(&["engine"])),
    ("dynamo/transact.rs", "Delete", Tables(&["bookings"])),
    ("dynamo/transact.rs", "Put", Tables(&["availability", "bookings"])),
    ("dynamo/uploads.rs", "get_item", Tables(&["engine"])),
    ("dynamo/uploads.rs", "update_item", Tables(&["engine"])),
    ("dynamo/user_bookings.rs", "query", Index),
    ("s3/buckets.rs", "create_bucket", NotThere),
    ("s3/buckets.rs", "head_bucket", Bucket("Medilocker")),
    ("s3/buckets.rs", "head_bucket", Bucket("Documents")),
    ("s3/buckets.rs", "put_public_access_block", NotThere),
    ("s3/documents.rs", "delete_object", Bucket("Documents")),
    ("s3/documents.rs", "get_object", Bucket("Documents")),
    ("s3/documents.rs", "put_object", Bucket("Documents")),
    ("s3/locker/mod.rs", "delete_object", Bucket("Medilocker")),
    ("s3/locker/mod.rs", "get_object", Bucket("Medilocker")),
    ("s3/locker/mod.rs", "head_object", Bucket("Medilocker")),
    ("s3/locker/mod.rs", "list_objects_v2", Bucket("Medilocker")),
    ("s3/locker/upload.rs", "put_object", Bucket("Medilocker")),
    ("tables.rs", "create_table", NotThere),
    ("tables.rs", "describe_table", ALL),
    ("tables.rs", "describe_time_to_live", Tables(&["bookings"])),
    ("tables.rs", "update_time_to_live", NotThere),
];

/// What serves the operators' commands, which run with rights of their own: `tests/commands/rights.rs`.
const OPERATORS: [&str; 3] = ["inspect/", "scan.rs", "transfer/"];

/// The right that a request takes (Service Authorization Reference, DynamoDB and S3). A transaction takes those of its
/// actions; a look at an object is a read of it, and one at a bucket a list.
fn right(operation: &str) -> &str {
    match operation {
        "batch_get_item" => "dynamodb:BatchGetItem",
        "ConditionCheck" => "dynamodb:ConditionCheckItem",
        "delete_item" | "Delete" => "dynamodb:DeleteItem",
        "describe_table" => "dynamodb:DescribeTable",
        "describe_time_to_live" => "dynamodb:DescribeTimeToLive",
        "get_item" => "dynamodb:GetItem",
        "put_item" | "Put" => "dynamodb:PutItem",
        "query" => "dynamodb:Query",
        "scan" => "dynamodb:Scan",
        "update_item" | "Update" => "dynamodb:UpdateItem",
        "head_bucket" | "list_objects_v2" => "s3:ListBucket",
        "get_object" | "head_object" => "s3:GetObject",
        "put_object" => "s3:PutObject",
        "delete_object" => "s3:DeleteObject",
        other => panic!("which right does {other} take?"),
    }
}

/// Rust files below a folder, with their text.
pub(crate) fn files(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(folder);
    let (mut folders, mut files) = (vec![root.clone()], Vec::new());
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                files.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    files
}

fn identifier(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// Each request in the source, with the table that is named beside it, if one is.
fn requests_in(text: &str) -> Vec<(String, Option<String>)> {
    let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
    let code: String = code.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
    let code: String = code.split_whitespace().collect();
    let mut found = Vec::new();
    for client in ["patient.", "strict.", "client.", "client().", "presigner."] {
        for (at, _) in code.match_indices(client) {
            let rest = &code[at + client.len()..];
            let operation = identifier(rest);
            let is_request = rest[operation.len()..].starts_with("()")
                && !["build", "clone", "config"].contains(&operation);
            if is_request && !code[..at].ends_with(|c: char| c.is_ascii_alphanumeric() || c == '_') {
                found.push((operation.to_owned(), table_beside(rest)));
            }
        }
    }
    for action in ["Put", "Delete", "Update", "ConditionCheck"] {
        for (at, _) in code.match_indices(&format!("{action}::builder()")) {
            if !code[..at].ends_with(|c: char| c.is_ascii_alphanumeric()) {
                found.push((action.to_owned(), table_beside(&code[at..])));
            }
        }
    }
    // What `dynamo/transaction.rs` writes.
    for (call, action) in [("put", "Put"), ("delete", "Delete"), ("check", "ConditionCheck")] {
        for rest in code.split(&format!("transaction.{call}(")).skip(1) {
            let (_, table) = rest.split_once("tables.").unwrap();
            found.push((action.to_owned(), Some(identifier(table).to_owned())));
        }
    }
    found
}

/// The field of `TableNames` in the `table_name(..)` that comes before the statement ends.
fn table_beside(rest: &str) -> Option<String> {
    let statement = rest.split(';').next()?;
    let (_, argument) = statement.split_once(".table_name(")?;
    let (_, field) = argument.split(')').next()?.split_once("tables.")?;
    Some(identifier(field).to_owned())
}

#[test]
fn every_request_of_the_program_is_listed_here() {
    let mut found = BTreeSet::new();
    for (file, text) in files("persistence/src") {
        if file.starts_with("embedded/") || file.ends_with("fuzz.rs") || file.ends_with("tests.rs") {
            continue;
        }
        if OPERATORS.iter().any(|own| file.starts_with(own)) {
            continue;
        }
        let is_apart =
            ["scan", "inspect", "transfer"].iter().all(|it| !text.contains(&format!("crate::{it}::")));
        assert!(is_apart, "{file} makes an operator's requests as a node");
        for (operation, table) in requests_in(&text) {
            if let Some(table) = table {
                let is_listed = REQUESTS.iter().any(|(name, listed, to)| {
                    let goes_there = match to {
                        Tables(tables) => tables.contains(&table.as_str()),
                        Index => table == "bookings",
                        Bucket(_) | Transaction | NotThere => false,
                    };
                    *name == file && *listed == operation && goes_there
                });
                assert!(is_listed, "{file}: {operation} of {table}");
            }
            found.insert((file.clone(), operation));
        }
    }
    let listed: BTreeSet<(String, String)> =
        REQUESTS.iter().map(|(file, operation, _)| ((*file).to_owned(), (*operation).to_owned())).collect();
    assert_eq!(found, listed);
}

fn table(field: &str) -> String {
    let names = TableNames::default();
    match field {
        "users" => names.users,
        "doctors" => names.doctors,
        "availability" => names.availability,
        "bookings" => names.bookings,
        "chat_history" => names.chat_history,
        "payments" => names.payments,
        "engine" => names.engine,
        "nodes" => names.nodes,
        "audit" => names.audit,
        other => panic!("{other} is no table"),
    }
}

/// For each resource, as the end of its ARN, the rights that the program uses.
fn used() -> BTreeMap<String, BTreeSet<String>> {
    let mut used: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut add = |resource: String, operation: &str| {
        used.entry(resource).or_default().insert(right(operation).to_owned());
    };
    for (_, operation, to) in REQUESTS {
        match to {
            Tables(tables) => {
                tables.iter().for_each(|field| add(format!("table/{}", table(field)), operation));
            }
            Index => add(format!("table/{}/index/GSI_UserBookings", table("bookings")), operation),
            Bucket(bucket) if right(operation) == "s3:ListBucket" => {
                add(format!("${{{bucket}BucketName}}"), operation)
            }
            Bucket(bucket) => add(format!("${{{bucket}BucketName}}/*"), operation),
            Transaction | NotThere => {}
        }
    }
    used
}

fn granted(role: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let mut granted: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for policy in role["Properties"]["Policies"].as_array().unwrap() {
        for statement in policy["PolicyDocument"]["Statement"].as_array().unwrap() {
            assert_eq!(statement["Effect"], "Allow");
            let resources = match &statement["Resource"] {
                Value::Array(list) => list.clone(),
                one => vec![one.clone()],
            };
            for resource in resources {
                let arn = resource["!Sub"].as_str().unwrap();
                let (_, name) = arn.rsplit_once(':').unwrap();
                granted.entry(name.to_owned()).or_default().extend(texts(&statement["Action"]));
            }
        }
    }
    granted
}

#[test]
fn a_node_may_do_what_the_program_does_no_less_and_no_more() {
    let template = template();
    let roles = resources(&template, "AWS::IAM::Role");
    let (_, role) = roles.iter().find(|(name, _)| *name == "NodeRole").unwrap();
    assert_eq!(granted(role), used());
}

#[test]
fn nobody_may_change_or_delete_an_entry_of_the_audit_trail() {
    let template = template();
    let roles = resources(&template, "AWS::IAM::Role");
    let (_, role) = roles.iter().find(|(name, _)| *name == "NodeRole").unwrap();
    let audit = &granted(role)[&format!("table/{}", table("audit"))];
    assert!(!audit.iter().any(|right| right.contains("Update") || right.contains("Delete")), "{audit:?}");
}
