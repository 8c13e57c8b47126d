//! The contract of the store, run on every store there is: the engine's reference in memory, the embedded DynamoDB
//! server, and the endpoint that `KOKORO_TEST_DYNAMODB_ENDPOINT` names. What only DynamoDB can show, the old
//! platform's rows among it, runs on the last two.

#![expect(clippy::unwrap_used, clippy::print_stdout, reason = "a test that cannot go on says so and stops")]

mod accounts;
mod audit;
mod chats;
mod claims;
mod commits;
mod durability;
mod embedded;
mod harness;
mod listing;
mod old_rows;
mod outcomes;
mod proxy;
mod tables;
