//! Keys of the storage: they sort as DynamoDB sorts, and no part of one continues another's.
//!
//! `[table: 2][part: 1][partition][sort]` for an item; for a row of an index `[its partition][its sort]` and then the item's
//! partition and sort, so that the row names the item by itself.

use std::ops::Range;

use crate::number::ZERO;
use crate::table::Scalar;
use crate::value::{Value, decoded, number};

/// The part of a table that holds its items; indexes follow from 1 on.
pub(crate) const ITEMS: u8 = 0;
/// The number that no table has: definitions lie there.
pub(crate) const NO_TABLE: u16 = 0;

/// What every key of a part begins with.
pub(crate) fn prefix(table: u16, part: u8) -> Vec<u8> {
    let mut key = Vec::with_capacity(96);
    key.extend(table.to_be_bytes());
    key.push(part);
    key
}

/// How long [`prefix`] is.
pub(crate) const PREFIX: usize = 3;

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

    fn key(parts: &[&str]) -> Vec<u8> {
        let mut key = prefix(1, ITEMS);
        for part in parts {
            push(&Value::S((*part).into()), &mut key);
        }
        key
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
        let mut open = prefix(1, ITEMS);
        push_open(&Value::S("a".into()), &mut open);
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
