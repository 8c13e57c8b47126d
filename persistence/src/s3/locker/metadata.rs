//! A file's metadata as S3 keeps it. S3 takes lower-case ASCII names and ASCII values. What is that already is stored as
//! it is, as the old platform does; anything else goes, whole, into one value that only we read.

use std::collections::{BTreeMap, HashMap};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

/// Names the upload that an object belongs to.
pub(super) const UPLOAD: &str = "kokoro-upload";
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
    let bytes: usize = stored.iter().map(|(name, value)| name.len() + value.len()).sum();
    (bytes <= BYTES_MAX).then_some(stored)
}

/// The metadata as it was uploaded; the stored pairs where somebody else wrote them.
pub(super) fn decode(stored: HashMap<String, String>) -> BTreeMap<String, String> {
    let encoded =
        stored.get(ENCODED).and_then(|text| serde_json::from_slice(&URL_SAFE_NO_PAD.decode(text).ok()?).ok());
    encoded
        .unwrap_or_else(|| stored.into_iter().filter(|(name, _)| name != UPLOAD && name != ENCODED).collect())
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
}
