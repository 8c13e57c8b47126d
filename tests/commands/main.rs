//! `kokoro check`, `export` and `import`: the real binary over real embedded stores.

#![expect(clippy::unwrap_used, unreachable_pub, reason = "a test may panic, and nobody links it")]

#[path = "../support/flushes.rs"]
#[expect(dead_code, reason = "the tests of durability need the rest")]
mod flushes;
#[path = "../processes/harness.rs"]
#[expect(dead_code, reason = "the other tests of processes need the rest")]
mod harness;
mod old_platform;
#[path = "../api/ollama.rs"]
#[expect(dead_code, reason = "the tests of chats need the rest")]
mod ollama;
#[path = "../api/razorpay.rs"]
#[expect(dead_code, reason = "the tests of payments need the rest")]
mod razorpay;
mod recorder;
mod stores;
#[path = "../template/yaml.rs"]
mod yaml;

mod check;
mod interrupted;
mod moving;
mod refused;
mod rights;
mod transfer;
mod traps;
