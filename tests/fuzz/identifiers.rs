//! What the engine and the stores read from anybody: whatever is taken for one is written as it was read.

use engine::calendar::DateSpelling;
use engine::{DoctorId, EventId, IdempotencyKey, NodeId, RequestToken, SlotSet, SlotSpan, SlotStart, UserId};
use persistence::{AuditCursor, FileName};

use crate::inputs::Target;

/// Every one.
pub(crate) const TARGETS: [Target; 4] = [
    ("ids", &["ada@x.com", "अनु@उदाहरण.भारत", "7f-~!", "000000000000000000000000000000fe"], ids),
    ("times", &["09:00", "23:30", "24:00", "00:00", "9999-12-31", "2027-01-02"], times),
    ("spans", &["09:00-09:30", "23:30-24:00", "23:30-00:00", "00:00-24:00"], spans),
    (
        "names",
        &["report.pdf", "रिपोर्ट 1.pdf", "2026-11-23T04:30:00.000Z#0123456789abcdef0123456789abcdef"],
        names,
    ),
];

fn ids(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    assert_eq!(DoctorId::parse(text).is_ok(), UserId::parse(text).is_ok());
    if let Ok(user) = UserId::parse(text) {
        assert_eq!(user.as_str(), text);
        // A key is taken apart at its separators, and a folder of files ends at a slash.
        assert!(!text.contains(['#', ' ', '\n', '\0']) && text.len() <= 254);
        assert!(!format!("{user:?}").contains(text));
        let lower = text.to_lowercase();
        assert!(lower.len() > 254 || UserId::parse(&lower).is_ok(), "sign-up stores it in lower case");
    }
    if let Ok(key) = IdempotencyKey::parse(text) {
        assert!(key.as_str() == text && text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_graphic()));
    }
    for (read, written) in [
        EventId::parse(text).map(|id| (EventId::parse(&id.to_string()) == Some(id), id.to_string())),
        NodeId::parse(text).map(|id| (NodeId::parse(&id.to_string()) == Some(id), id.to_string())),
        RequestToken::parse(text)
            .map(|id| (RequestToken::parse(&id.to_string()) == Some(id), id.to_string())),
    ]
    .into_iter()
    .flatten()
    {
        assert!(read && written == text.to_lowercase());
    }
}

fn times(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(start) = SlotStart::parse(text) {
        assert_eq!(start.to_string(), text);
        assert_eq!(SlotStart::all().nth(start.index()), Some(start));
        assert_eq!(SlotSet::from_iter([start]).iter().collect::<Vec<_>>(), [start]);
        assert_eq!(start.span().slots().collect::<Vec<_>>(), [start]);
    }
    if let Ok(date) = chrono::NaiveDate::parse_from_str(text, "%Y-%m-%d") {
        let spelled: Vec<String> = DateSpelling::of(date).map(|spelling| spelling.write(date)).collect();
        assert!([1, 2, 4].contains(&spelled.len()));
        for (n, one) in spelled.iter().enumerate() {
            assert_eq!(spelled.iter().position(|other| other == one), Some(n), "two rows of one key");
            assert_eq!(chrono::NaiveDate::parse_from_str(one, "%Y-%m-%d"), Ok(date));
        }
    }
}

fn spans(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let Some((start, end)) = text.split_once('-') else { return };
    let Ok(span) = SlotSpan::parse(start, end) else { return };
    let written = span.to_string();
    assert!(written == text || (end == "00:00" && written == format!("{start}-24:00")));
    let (start, end) = written.split_once('-').unwrap_or_default();
    assert_eq!(SlotSpan::parse(start, end), Ok(span));
    assert!(span.slots().count() >= 1 && span.overlaps(span));
    assert_eq!(span.is_one_slot(), span.slots().count() == 1);
}

fn names(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(name) = FileName::parse(text) {
        assert_eq!(name.as_str(), text);
        assert!(!text.contains(['/', '\\', '\r', '\n', '\0']) && !text.starts_with('.') && text.len() <= 255);
        assert!(!format!("{name:?}").contains(text) || "FileName(..)".contains(text));
    }
    if let Ok(cursor) = AuditCursor::parse(text) {
        assert_eq!(cursor.as_str(), text);
    }
}

#[cfg(test)]
#[test]
fn what_is_taken_for_an_identifier_is_written_as_it_was_read() {
    crate::inputs::run(&TARGETS);
}
