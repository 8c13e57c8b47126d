//! A file's metadata as S3 keeps it. S3 takes lower-case ASCII names and ASCII values. What is that already is stored as
//! it is, as the old platform does; anything else goes, whole, into one value that only we read.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};

/// Names the upload that an object belongs to.
pub(super) const UPLOAD: &str = "kokoro-upload";
/// When the object was stored first, in seconds since 1970: S3 itself dates a copy by its copying.
const UPLOADED_AT: &str = "kokoro-uploaded-at";
/// Holds metadata that S3 could not keep as it is.
const ENCODED: &str = "kokoro-metadata";
/// What our own names begin with.
const OURS: &str = "kokoro-";
/// What S3 keeps of an object's metadata, names and values together (user guide, "Working with object metadata").
const BYTES_MAX: usize = 2048;

/// The metadata of an object of this upload; `None` when it is more than S3 keeps.
pub(super) fn encode(metadata: &BTreeMap<String, String>, upload: &str) -> Option<HashMap<String, String>> {
    let mut stored: HashMap<String, String> = if metadata.iter().all(|(name, value)| is_plain(name, value)) {
        metadata.clone().into_iter().collect()
    } else {
        let json = serde_json::to_vec(metadata).ok()?;
        HashMap::from([(ENCODED.to_owned(), URL_SAFE_NO_PAD.encode(json))])
    };
    stored.insert(UPLOAD.to_owned(), upload.to_owned());
    has_room(&stored).then_some(stored)
}

/// Whether S3 keeps so much.
fn has_room(stored: &HashMap<String, String>) -> bool {
    stored.iter().map(|(name, value)| name.len() + value.len()).sum::<usize>() <= BYTES_MAX
}

/// When a copy says that its object was stored first.
pub(crate) fn uploaded_at(stored: &HashMap<String, String>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(stored.get(UPLOADED_AT)?.parse().ok()?, 0)
}

/// The metadata of a copy of an object that was stored first at `at`, and has these. Where S3 has no room for it, the
/// copy is as old as its copying.
pub(crate) fn dated(mut stored: HashMap<String, String>, at: DateTime<Utc>) -> HashMap<String, String> {
    stored.insert(UPLOADED_AT.to_owned(), at.timestamp().to_string());
    if has_room(&stored) { stored } else { undated(stored) }
}

/// The metadata without that.
pub(crate) fn undated(mut stored: HashMap<String, String>) -> HashMap<String, String> {
    stored.remove(UPLOADED_AT);
    stored
}

/// The metadata as it was uploaded; the stored pairs where somebody else wrote them.
pub(super) fn decode(stored: HashMap<String, String>) -> BTreeMap<String, String> {
    let encoded =
        stored.get(ENCODED).and_then(|text| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok());
    let is_ours = |name: &str| [UPLOAD, UPLOADED_AT, ENCODED].contains(&name);
    encoded.unwrap_or_else(|| stored.into_iter().filter(|(name, _)| !is_ours(name)).collect())
}

/// Whether S3, and what lies between, gives the pair back as it was.
fn is_plain(name: &str, value: &str) -> bool {
    let in_name = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"-_.".contains(&byte);
    let in_value = |byte: u8| byte == b' ' || byte.is_ascii_graphic();
    !name.is_empty()
        && name.bytes().all(in_name)
        && !name.starts_with(OURS)
        && !value.is_empty()
        && value.bytes().all(in_value)
        && value.trim() == value
        // A signature takes a run of spaces for one, and an encoded word may be taken for what it encodes.
        && !value.contains("  ")
        && !value.contains("=?")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn plain_pairs_are_stored_as_the_old_platform_does() {
        let stored = encode(&map(&[("doctor", "Dr. Rao"), ("kind", "x-ray")]), "7").unwrap();
        let expected = [("doctor", "Dr. Rao"), ("kind", "x-ray"), (UPLOAD, "7")];
        assert_eq!(stored, expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());
    }

    #[test]
    fn everything_comes_back_as_it_was() {
        for pairs in [
            &[][..],
            &[("doctor", "Dr. Rao")],
            &[("Doctor", "case"), ("doctor", "another")],
            &[("रोग", "हृदय")],
            &[("empty", "")],
            &[("", "no name")],
            &[("spaces", " a  b ")],
            &[("lines", "a\r\nb\u{0}")],
            &[("word", "=?UTF-8?B?YQ==?=")],
            &[(UPLOAD, "forged"), ("a", "b")],
            &[(ENCODED, "forged")],
        ] {
            let metadata = map(pairs);
            assert_eq!(decode(encode(&metadata, "7").unwrap()), metadata, "{pairs:?}");
        }
    }

    #[test]
    fn what_somebody_else_wrote_is_read_as_it_is() {
        let stored =
            HashMap::from([(ENCODED.to_owned(), "nonsense".to_owned()), ("a".to_owned(), "b".to_owned())]);
        assert_eq!(decode(stored), map(&[("a", "b")]));
    }

    #[test]
    fn more_than_s3_keeps_is_refused() {
        let of = |length: usize| encode(&map(&[("a", &"x".repeat(length))]), "7");
        let room = BYTES_MAX - "a".len() - UPLOAD.len() - "7".len();
        assert!(of(room).is_some() && of(room + 1).is_none());
    }

    #[test]
    fn a_copy_says_when_its_object_was_stored_and_nobody_else_sees_that() {
        let at = DateTime::from_timestamp(1_764_000_000, 0).unwrap();
        let stored = encode(&map(&[("a", "b")]), "7").unwrap();
        let copy = dated(stored.clone(), at);
        assert_eq!(uploaded_at(&copy), Some(at));
        assert_eq!((decode(copy.clone()), undated(copy)), (map(&[("a", "b")]), stored));
        let full = HashMap::from([("a".to_owned(), "x".repeat(BYTES_MAX - 1))]);
        assert_eq!(dated(full.clone(), at), full);
    }
}
