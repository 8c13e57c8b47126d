//! What goes into headers, for every text.

use percent_encoding::percent_decode_str;

use super::metadata::{decode, encode};
use crate::s3::link;

pub(crate) fn metadata(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let pairs = text.split('\n').filter_map(|line| line.split_once('='));
    let metadata = pairs.map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let Some(stored) = encode(&metadata, "7") else { return };
    for (name, value) in &stored {
        assert!(name.bytes().all(|byte| byte.is_ascii_graphic() && !byte.is_ascii_uppercase()), "{name:?}");
        assert!(value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{value:?}");
        assert_eq!(value.trim(), value);
    }
    assert_eq!(decode(stored), metadata);
}

pub(crate) fn attachments(bytes: &[u8]) {
    let Ok(name) = std::str::from_utf8(bytes) else { return };
    let header = link::attachment(name);
    assert!(header.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()), "{header:?}");
    assert_eq!(header.matches('"').count(), 2, "{header}");
    let exact = header.rsplit_once("UTF-8''").map_or("", |(_, exact)| exact);
    assert!(!exact.contains([';', ' ', '"', '\'']), "{header}");
    assert_eq!(percent_decode_str(exact).decode_utf8().ok().as_deref(), Some(name));
}
