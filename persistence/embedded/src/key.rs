//! Keys of the storage: those of one partition sort as DynamoDB sorts them, and no part of one continues another's.
//!
//! `[slot][mark][partition][sort]` for an item; for a row of an index `[slot][mark][its partition][its sort]` and then the item's
//! partition and sort, so that the row names the item by itself. A table has a slot for its items and one for each index. The mark
//! is a hash of the partition: a tree that compares two keys need not look beyond their first four bytes.

use std::ops::Range;

use xxhash_rust::xxh3::xxh3_64;

use crate::number::ZERO;
use crate::table::Scalar;
use crate::value::{Value, decoded, number};

/// The slot that no table has: definitions lie there.
pub(crate) const META: u16 = 0;
/// Slots that are one byte; others are two.
const SHORT: u16 = 0xf0;
/// How many slots there may be. The first byte of none is 0xff, after which no key comes.
pub(crate) const SLOTS: u16 = 0xf00;
/// Bytes of a mark.
const MARK: usize = 3;

/// What every key of a slot begins with.
pub(crate) fn slot(slot: u16) -> Vec<u8> {
    let mut key = Vec::with_capacity(96);
    match (u8::try_from(slot), slot < SHORT) {
        (Ok(slot), true) => key.push(slot),
        _ => key.extend(((SHORT << 8) | (slot % SLOTS)).to_be_bytes()),
    }
    key
}

/// What every key of a partition begins with.
pub(crate) fn partition(of: u16, value: &Value<'_>) -> Vec<u8> {
    let mut key = slot(of);
    let at = key.len();
    key.extend([0; MARK]);
    push(value, &mut key);
    mark(at, &mut key);
    key
}

/// The key of which this is all after slot and mark, and this much the partition.
pub(crate) fn of_body(of: u16, body: &[u8], partition: usize) -> Vec<u8> {
    let mut key = slot(of);
    let at = key.len();
    key.extend([0; MARK]);
    key.extend(&body[..partition]);
    mark(at, &mut key);
    key.extend(&body[partition..]);
    key
}

fn mark(at: usize, key: &mut [u8]) {
    let hash = xxh3_64(&key[at + MARK..]).to_be_bytes();
    key[at..at + MARK].copy_from_slice(&hash[..MARK]);
}

/// All of a key after slot and mark.
pub(crate) fn body(key: &[u8]) -> &[u8] {
    let slot = if key.first().is_some_and(|first| u16::from(*first) < SHORT) { 1 } else { 2 };
    key.get(slot + MARK..).unwrap_or_default()
}

/// Appends a value that may be in a key: a text, a number or bytes.
pub(crate) fn push(value: &Value<'_>, key: &mut Vec<u8>) {
    push_open(value, key);
    if !matches!(value, Value::N(_)) {
        key.extend([0, 1]);
    }
}

/// The same without its end: what all texts begin with that begin so.
pub(crate) fn push_open(value: &Value<'_>, key: &mut Vec<u8>) {
    match value {
        Value::S(text) => push_escaped(text.as_bytes(), key),
        Value::B(text) => push_escaped(&decoded(text), key),
        Value::N(text) => number(text).encode(key),
        // Checked before: the schema knows no other types.
        _ => {}
    }
}

/// The end of a text is `00 01`, so a zero within one is `00 ff`.
fn push_escaped(bytes: &[u8], key: &mut Vec<u8>) {
    let mut parts = bytes.split(|byte| *byte == 0);
    if let Some(first) = parts.next() {
        key.extend(first);
    }
    for part in parts {
        key.extend([0, 0xff]);
        key.extend(part);
    }
}

/// The least key after all that begin so.
pub(crate) fn after(prefix: &[u8]) -> Vec<u8> {
    let end = prefix.iter().rposition(|byte| *byte != 0xff).map_or(0, |last| last + 1);
    let mut key = prefix[..end].to_vec();
    if let Some(last) = key.last_mut() {
        *last += 1;
    }
    key
}

/// All keys that begin so.
pub(crate) fn under(prefix: &[u8]) -> Range<Vec<u8>> {
    prefix.to_vec()..after(prefix)
}

/// Where the value ends that the bytes begin with.
pub(crate) fn end_of(kind: Scalar, bytes: &[u8]) -> Option<usize> {
    match (kind, bytes.first()?) {
        (Scalar::N, &ZERO) => Some(1),
        // The sign and the magnitude come first; the end is what no digit is.
        (Scalar::N, sign) => {
            let end = if *sign < ZERO { 0xff } else { 0 };
            bytes.iter().skip(3).position(|byte| *byte == end).map(|at| at + 4)
        }
        (Scalar::S | Scalar::B, _) => bytes.windows(2).position(|pair| pair == [0, 1]).map(|at| at + 2),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value<'_> {
        Value::S(text.into())
    }

    /// A key of one partition.
    fn key(parts: &[&str]) -> Vec<u8> {
        let mut key = partition(1, &text("p"));
        parts.iter().for_each(|part| push(&text(part), &mut key));
        key
    }

    #[test]
    fn a_key_is_taken_apart_and_put_together() {
        for number in [1, SHORT - 1, SHORT, SLOTS - 1] {
            let partition = partition(number, &text("p\0"));
            let mut whole = partition.clone();
            push(&text("sort"), &mut whole);
            let body = body(&whole);
            let end = end_of(Scalar::S, body).unwrap();
            assert_eq!(of_body(number, body, end), whole);
            assert!(under(&slot(number)).contains(&whole));
            assert!(!under(&slot(number + 1)).contains(&whole));
        }
    }

    #[test]
    fn keys_sort_by_their_parts() {
        let ascending = [
            key(&["", "b"]),
            key(&["\0", "a"]),
            key(&["\0\0", ""]),
            key(&["\0a", ""]),
            key(&["\u{1}", ""]),
            key(&["a", ""]),
            key(&["a", "\0"]),
            key(&["a", "b"]),
            key(&["a\0", "a"]),
            key(&["a\u{1}", "a"]),
            key(&["aa", ""]),
            key(&["ä", ""]),
        ];
        assert!(ascending.is_sorted_by(|one, other| one < other));
    }

    #[test]
    fn values_end_where_they_were_ended() {
        for (kind, value) in [
            (Scalar::S, Value::S("a\0\u{1}b".into())),
            (Scalar::S, Value::S("".into())),
            (Scalar::B, Value::B("AAEAAQ==".into())),
            (Scalar::N, Value::N("0".into())),
            (Scalar::N, Value::N("1000000".into())),
            (Scalar::N, Value::N("-0.0099".into())),
        ] {
            let mut bytes = Vec::new();
            push(&value, &mut bytes);
            let end = bytes.len();
            bytes.extend([0, 1, 0xff, 0]);
            assert_eq!(end_of(kind, &bytes), Some(end), "{value:?}");
        }
    }

    #[test]
    fn what_begins_so_lies_between_its_bounds() {
        let mut open = partition(1, &text("p"));
        push_open(&text("a"), &mut open);
        let range = under(&open);
        for text in ["a", "a\0", "a\u{ff}", "ab"] {
            assert!(range.contains(&key(&[text])), "{text:?}");
        }
        for text in ["", "b", "A", "`"] {
            assert!(!range.contains(&key(&[text])), "{text:?}");
        }
        assert_eq!(after(&[1, 0xff, 0xff]), [2]);
    }
}
