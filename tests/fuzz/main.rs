//! The real application, fed with what nobody should send and nobody should have stored. Every draw comes from a seed:
//! `KOKORO_SEED` gives another history, `KOKORO_FUZZ_CASES` a longer one, and a failure prints its input, which becomes a
//! named case in `corpus/`.

#![expect(clippy::unwrap_used, reason = "a test may panic")]

#[expect(unreachable_pub, reason = "it serves `tests/api` as well")]
#[path = "../api/external.rs"]
mod external;
#[path = "../store/fresh_names.rs"]
mod fresh_names;
#[expect(dead_code, unreachable_pub, reason = "it serves `tests/api` as well, which uses the rest")]
#[path = "../api/harness.rs"]
mod harness;
#[expect(dead_code, unreachable_pub, reason = "it serves `tests/api` as well, which uses the rest")]
#[path = "../api/ollama.rs"]
mod ollama;
#[expect(dead_code, unreachable_pub, reason = "it serves `tests/api` as well, which uses the rest")]
#[path = "../api/razorpay.rs"]
mod razorpay;

mod bodies;
mod chance;
mod damage;
mod damage_elsewhere;
mod heads;
mod identifiers;
mod inputs;
mod json;
mod log;
mod outcome;
mod routes;
mod rows;
