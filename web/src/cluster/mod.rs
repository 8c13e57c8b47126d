//! The way from node to node: the engine's [`engine::Peers`] over HTTP. A node that is asked answers itself or says that the
//! doctor is not here; it never asks a third one.
//!
//! What is certain stays certain on this way: a call that was never sent, or that the other node refused unread, is
//! [`engine::EngineError::NotHere`], after which another node may be asked; one that may have been read and whose answer
//! is missing or makes no sense may have happened.

mod accepted;
mod auth;
mod client;
mod server;
mod wire;

pub(crate) use client::HttpPeers;
pub(crate) use server::{Door, NodeServer};

/// A command to decide and store.
const ASK: &str = "/node/ask";
/// A date to look at.
const VIEW: &str = "/node/view";
/// The longest body of a call and of an answer, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// When a call was made, in seconds since 1970.
const AT: &str = "x-kokoro-at";
/// How long its caller waits, in milliseconds.
const WITHIN: &str = "x-kokoro-within-ms";
/// A random number, in hexadecimal digits, which no two calls share.
const NONCE: &str = "x-kokoro-nonce";
/// The seal of a call or of an answer.
const SEAL: &str = "x-kokoro-seal";
