//! What this crate reads from stores and writes for them: properties that hold for every text. Only tests and fuzzers
//! have this module.

use crate::{dynamo, s3};

/// A name, texts that are good, and what must hold for every input.
pub type Target = (&'static str, &'static [&'static str], fn(&[u8]));

/// Every one.
pub const TARGETS: [Target; 6] = [
    ("booking-keys", &["10:00#ada@x.com", "asha@x.com#2026-12-1", "10:00", "#"], dynamo::fuzz::booking_keys),
    ("dates", &["2027-01-02", "2027-1-2", "2026-12-1", "0000-01-01"], dynamo::fuzz::dates),
    ("other-keys", &["range#07", "range#63", "09:00-09:30", "23:30-00:00"], dynamo::fuzz::other_keys),
    (
        "messages",
        &["hi", "{\"role\":\"user\",\"text\":\"hi\"}", "\"hi\"", "120", "{\"text\":7}"],
        dynamo::fuzz::messages,
    ),
    (
        "metadata",
        &["kind=x-ray", "a=b\nc=d", "kokoro-upload=1", "A=é", "word==?UTF-8?B?YQ==?="],
        s3::fuzz::metadata,
    ),
    ("attachments", &["report.pdf", "रिपोर्ट \"1\"\r\nX: y;.pdf", "100% + 1.pdf"], s3::fuzz::attachments),
];

#[cfg(test)]
#[path = "../../tests/fuzz/inputs.rs"]
mod inputs;

#[cfg(test)]
#[test]
fn what_is_read_from_a_store_is_written_as_it_was_read() {
    inputs::run(&TARGETS);
}
