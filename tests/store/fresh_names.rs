//! Names of tables and buckets that no other test uses, for stores that several tests share. The API tests include this file.

use engine::chance::{Chance, SystemChance};
use persistence::{BucketNames, TableNames};

/// A prefix that was not drawn before.
fn prefix() -> String {
    format!("test-{:08x}", SystemChance.bits() >> 96)
}

/// Table names that no other test uses.
pub(crate) fn tables() -> TableNames {
    let prefix = prefix();
    let name = |name: String| format!("{prefix}-{name}");
    let TableNames { users, doctors, availability, bookings, chat_history, payments, engine, nodes, audit } =
        TableNames::default();
    TableNames {
        users: name(users),
        doctors: name(doctors),
        availability: name(availability),
        bookings: name(bookings),
        chat_history: name(chat_history),
        payments: name(payments),
        engine: name(engine),
        nodes: name(nodes),
        audit: name(audit),
    }
}

/// Bucket names that no other test uses.
pub(crate) fn buckets() -> BucketNames {
    let prefix = prefix();
    let BucketNames { medilocker, documents } = BucketNames::default();
    BucketNames { medilocker: format!("{prefix}-{medilocker}"), documents: format!("{prefix}-{documents}") }
}
