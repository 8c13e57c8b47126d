//! What this crate reads from anybody: properties that hold for every input. Only tests and fuzzers have this module.

use crate::{auth, handlers, json, services};

/// A name, texts that are good, and what must hold for every input.
pub type Target = (&'static str, &'static [&'static str], fn(&[u8]));

/// Every one.
pub const TARGETS: [Target; 6] = [
    ("wire-dates", &["2027-01-02", "2026-11-24", "2028-02-29", "YXNoYUB4LmNvbQ"], handlers::fuzz::dates),
    (
        "bodies-read",
        &[r#"{"name":"ada","n":7.0,"amount":1e400}"#, r#"{"n":[1,{"a":"\u0905"}]}"#, "[]", "7"],
        json::fuzz,
    ),
    ("tokens", &["eyJhbGciOiJIUzI1NiJ9.e30.AAAA", "ada@x.com", "a.b.c"], auth::fuzz::tokens),
    ("amounts", &["499.5", "19.99", "500000", "0.01", "1e2"], services::fuzz::amounts),
    (
        "events",
        &[
            "pay_29QQoUBi66xm2f",
            "plink_ExjpAUN3gVHrPJ",
            "kokoro_00000000000000000000000000000001",
            r#"{"event":"payment.captured","payload":{"payment":{"entity":{"id":"pay_1","status":"captured","amount":1,"currency":"INR","notes":{"kokoro_reference":"kokoro_00000000000000000000000000000001"}}}}}"#,
        ],
        services::fuzz::events,
    ),
    (
        "uploads",
        &[
            r#"{"email":"ada@x.com","files":[{"filename":"a.txt","content":"YQ==","metadata":{"k":"v"}}]}"#,
            r#"{"files":[{"filename":"a","content":"YQ"},{"content":"","filename":"b","x":[1]}],"email":"a"}"#,
        ],
        services::fuzz::uploads,
    ),
];

#[cfg(test)]
#[path = "../../tests/fuzz/inputs.rs"]
mod inputs;

#[cfg(test)]
#[test]
fn what_anybody_sends_is_read_or_refused() {
    inputs::run(&TARGETS);
}
