//! What a booking costs in the store: transactions as the program sends them, in a folder, each flushed to the disk; by the clock
//! and in CPU time of the whole process, with one caller and with four. Beside them the same in `dynoxide`, over SQLite.
//!
//! `cargo bench -p embedded`, or `cargo bench -p embedded -- alone "100 actions"` without `dynoxide` and the others.

#![expect(clippy::print_stdout, reason = "it is what a bench is for")]
#![expect(clippy::unwrap_used, reason = "a bench that fails has nothing to clean up")]
#![expect(clippy::disallowed_methods, reason = "it measures time")]

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use embedded::Database;
use rustix::time::{ClockId, clock_gettime};
use serde_json::{Value, json};

/// Transactions of each caller.
const TRANSACTIONS: usize = 400;
/// Those that warm up.
const WARM_UP: usize = 40;

fn main() {
    println!("{:<32} {:>12} {:>14} {:>14}", "", "actions/s", "us by clock", "us of CPU");
    // Cargo adds one of its own.
    let wanted: Vec<String> =
        std::env::args().skip(1).filter(|argument| !argument.starts_with('-')).collect();
    let is_wanted = |name: &str| wanted.iter().all(|word| name.contains(word.as_str()) || word == "alone");
    for (name, actions) in [("100 actions", 100), ("10 actions", 10), ("1 action", 1)] {
        if !is_wanted(name) {
            continue;
        }
        for callers in [1, 4] {
            let folder = tempfile::tempdir().unwrap();
            let database =
                Database::open(&folder.path().join("dynamodb"), Arc::new(|| 1_700_000_000_000)).unwrap();
            run(&format!("embedded, {name}, {callers} callers"), actions, callers, &|operation, body| {
                let answer = block_on(database.call(operation, body.clone()));
                assert_eq!(answer.status, 200, "{:?}", answer.body);
            });
            drop(database);
            if std::env::args().all(|argument| argument != "alone") {
                dynoxide(&folder.path().join("dynamodb.sqlite"), name, actions, callers);
            }
        }
    }
}

fn dynoxide(file: &Path, name: &str, actions: usize, callers: usize) {
    let database = dynoxide::Database::new(file.to_str().unwrap()).unwrap();
    run(
        &format!("dynoxide, {name}, {callers} callers"),
        actions,
        callers,
        &|operation, body| match operation {
            "CreateTable" => drop(database.create_table(serde_json::from_slice(body).unwrap()).unwrap()),
            "UpdateTimeToLive" => {
                drop(database.update_time_to_live(serde_json::from_slice(body).unwrap()).unwrap());
            }
            _ => drop(database.transact_write_items(serde_json::from_slice(body).unwrap()).unwrap()),
        },
    );
}

fn run(name: &str, actions: usize, callers: usize, call: &(dyn Fn(&str, &Bytes) + Sync)) {
    for (operation, body) in tables() {
        call(operation, &body.to_string().into());
    }
    // Made before the clock runs.
    let bodies = |caller: usize, count: usize| -> Vec<Bytes> {
        (0..count).map(|number| transaction(caller, number, actions).to_string().into()).collect()
    };
    let transact = |body: &Bytes| call("TransactWriteItems", body);
    bodies(0, WARM_UP).iter().for_each(&transact);
    let all: Vec<Vec<Bytes>> = (1..=callers).map(|caller| bodies(caller, TRANSACTIONS)).collect();
    let (began, spent) = (Instant::now(), cpu());
    std::thread::scope(|scope| {
        for bodies in &all {
            let caller = std::thread::Builder::new().name("caller".to_owned());
            caller.spawn_scoped(scope, || bodies.iter().for_each(transact)).unwrap();
        }
    });
    let count = u32::try_from(callers * TRANSACTIONS).unwrap();
    let spent = cpu() - spent;
    let all = f64::from(count) * f64::from(u32::try_from(actions).unwrap());
    let each = |time: Duration| time.as_secs_f64() * 1e6 / all;
    println!(
        "{name:<32} {:>12.0} {:>14.2} {:>14.2}",
        all / began.elapsed().as_secs_f64(),
        each(began.elapsed()),
        each(spent)
    );
}

fn tables() -> [(&'static str, Value); 4] {
    let key = json!([
        {"AttributeName": "PK", "KeyType": "HASH"}, {"AttributeName": "SK", "KeyType": "RANGE"}
    ]);
    let text = |name: &str| json!({"AttributeName": name, "AttributeType": "S"});
    [
        (
            "CreateTable",
            json!({
                "TableName": "DoctorBookingsTable", "KeySchema": key, "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [text("PK"), text("SK"), text("user_id")],
                "GlobalSecondaryIndexes": [{
                    "IndexName": "GSI_UserBookings", "Projection": {"ProjectionType": "ALL"},
                    "KeySchema": [
                        {"AttributeName": "user_id", "KeyType": "HASH"},
                        {"AttributeName": "SK", "KeyType": "RANGE"}
                    ]
                }]
            }),
        ),
        (
            "UpdateTimeToLive",
            json!({
                "TableName": "DoctorBookingsTable",
                "TimeToLiveSpecification": {"AttributeName": "ttl", "Enabled": true}
            }),
        ),
        (
            "CreateTable",
            json!({
                "TableName": "KokoroAudit", "KeySchema": key, "BillingMode": "PAY_PER_REQUEST",
                "AttributeDefinitions": [text("PK"), text("SK")]
            }),
        ),
        (
            "CreateTable",
            json!({
                "TableName": "KokoroEngine", "BillingMode": "PAY_PER_REQUEST",
                "KeySchema": [{"AttributeName": "PK", "KeyType": "HASH"}],
                "AttributeDefinitions": [text("PK")]
            }),
        ),
    ]
}

/// Half of the actions are bookings, half are their entries in the audit trail.
fn transaction(caller: usize, number: usize, actions: usize) -> Value {
    let items: Vec<Value> = (0..actions)
        .map(|action| {
            let seat = (caller * TRANSACTIONS + number) * actions + action;
            let (doctor, user) = (seat * 7919 % 1000, seat * 104_729 % 100_000);
            let (doctor, user) = (format!("dr{doctor:04}@clinic.example"), format!("user{user:06}@mail.example"));
            let day = format!("2026-11-{:02}", 1 + seat % 28);
            let event = format!("{seat:032x}");
            let item = if action % 2 == 0 {
                json!({
                    "PK": {"S": format!("{doctor}#{day}")}, "SK": {"S": format!("09:00#{user}#{seat}")},
                    "doctor_id": {"S": doctor}, "date": {"S": day}, "start": {"S": "09:00"},
                    "user_id": {"S": user}, "ttl": {"N": "1795824000"}, "event_id": {"S": event}
                })
            } else {
                json!({
                    "PK": {"S": format!("user#{user}")}, "SK": {"S": format!("2026-11-24T00:04:56.{seat:09}#{event}")},
                    "action": {"S": "booking_made"}, "actor": {"S": format!("user#{user}")},
                    "subject": {"S": format!("{doctor} {day} 09:00")}, "outcome": {"S": "done"},
                    "request_id": {"S": event}
                })
            };
            let table = if action % 2 == 0 { "DoctorBookingsTable" } else { "KokoroAudit" };
            json!({"Put": {
                "TableName": table, "Item": item, "ConditionExpression": "attribute_not_exists(PK)",
                "ReturnValuesOnConditionCheckFailure": "ALL_OLD"
            }})
        })
        .collect();
    json!({"TransactItems": items, "ClientRequestToken": format!("{caller}-{number}")})
}

fn cpu() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap())
}

/// Waits on this thread; the answer comes from the one that writes.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    futures::executor::block_on(future)
}
