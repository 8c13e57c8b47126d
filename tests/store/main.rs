//! The contract of the store, run on every store there is: the engine's reference in memory, the embedded DynamoDB
//! server, and the endpoint that `KOKORO_TEST_DYNAMODB_ENDPOINT` names. What only DynamoDB can show, the old
//! platform's rows among it, runs on the last two. Files run on the embedded S3, and on the endpoint that
//! `KOKORO_TEST_S3_ENDPOINT` names.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on says so and stops")]

mod accounts;
mod audit;
mod chats;
mod claims;
mod commits;
mod conditional_reads;
mod documents;
mod durability;
mod embedded;
mod embedded_s3;
mod files;
#[path = "../support/flushes.rs"]
mod flushes;
mod fresh_names;
mod harness;
mod listing;
mod locker;
mod nodes;
mod old_rows;
mod outcomes;
mod profiles;
mod proxy;
mod signatures;
mod tables;
mod takeover;
mod uploads;
