//! A DynamoDB of one's own: the calls of its wire protocol (JSON 1.0) that a program makes, over an LSM tree in a folder
//! ([`Database::open`]) or over memory ([`Database::memory`]).
//!
//! It knows requests and their answers, as bytes, and no sockets, signatures or clocks: whoever embeds it brings those. What it
//! does not know it refuses, so that nothing is ever taken for granted.
//!
//! - `calls`: a request's way from its bytes to its answer's.
//! - `commit`: writes, one at a time, and their way to the disk together.
//! - `storage`: sorted rows in a folder or in memory.
//! - `table`, `key`, `value`, `number`, `expression`: DynamoDB's data.
//!
//! **Tokens** of transactions are known for ten minutes, at most 65,536 of them, and not beyond a restart: whoever repeats a
//! request after one meets the conditions of its own first attempt.

mod calls;
mod commit;
mod database;
mod error;
#[cfg(test)]
#[path = "../../../tests/support/eventually.rs"]
mod eventually;
mod expression;
mod key;
mod number;
mod storage;
mod sweep;
mod table;
mod tables;
mod value;

pub use database::{Answer, Clock, Database};
pub use error::{Reason, Refusal};
pub use storage::OpenError;
pub use value::write_text;
