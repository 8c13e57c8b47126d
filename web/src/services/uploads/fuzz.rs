//! The reader of uploads against one that takes in everything at once.

use std::collections::BTreeSet;
use std::os::unix::fs::FileExt;

use base64::Engine;
use serde::de::IgnoredAny;
use serde_json::Value;

use super::document;
use crate::error::ApiError;
use crate::services::documents::BASE64;

pub(crate) fn uploads(bytes: &[u8]) {
    let whole: Result<Value, _> = serde_json::from_slice(bytes);
    let is_shaped =
        std::str::from_utf8(bytes).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    let document = match document::read(bytes, &std::env::temp_dir()) {
        Ok(document) => document,
        Err(ApiError::InvalidJson) => return assert!(whole.is_err(), "JSON is told to be none"),
        // Too large, which takes no JSON to say.
        Err(_) => return,
    };
    assert!(is_shaped, "what is no JSON is taken for it");
    let Ok(whole) = whole else { return };
    assert_eq!(document.raw_email(), whole.get("email").and_then(Value::as_str));
    let Ok(files) = document.files() else { return };
    let stored = whole["files"].as_array().map_or(&[][..], Vec::as_slice);
    assert_eq!(files.len(), stored.len());
    let names: BTreeSet<&str> = files.iter().map(|file| file.name.as_str()).collect();
    assert!((1..=20).contains(&files.len()) && names.len() == files.len());
    for (file, stored) in files.iter().zip(stored) {
        assert_eq!(Some(file.name.as_str()), stored["filename"].as_str());
        let expected = stored["content"].as_str().and_then(|content| BASE64.decode(content).ok());
        let mut content = vec![0; usize::try_from(file.size).unwrap_or_default()];
        assert!(file.content.read_exact_at(&mut content, 0).is_ok());
        assert_eq!(Some(content), expected);
        let metadata = stored.get("metadata").and_then(Value::as_object);
        assert_eq!(file.metadata.len(), metadata.map_or(0, serde_json::Map::len));
        for (name, value) in &file.metadata {
            assert_eq!(metadata.and_then(|pairs| pairs.get(name)?.as_str()), Some(value.as_str()));
        }
    }
}
