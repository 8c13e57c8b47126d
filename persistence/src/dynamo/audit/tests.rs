//! What is a cursor, and what `Debug` hides.

use super::*;

#[test]
fn only_a_key_of_ours_is_a_cursor() {
    let id = "0".repeat(32);
    assert!(AuditCursor::parse(&format!("2026-11-23T04:30:00.000Z#{id}")).is_ok());
    for text in [
        "",
        "#",
        "2026-11-23T04:30:00.000Z",
        &format!("2026-11-23T04:30:00Z#{id}"),
        &format!("2026-13-23T04:30:00.000Z#{id}"),
        &format!("2026-11-23T04:30:00.000+00:00#{id}"),
        &format!("2026-11-23T04:30:00.000Z#{id}0"),
        "2026-11-23T04:30:00.000Z#é000000000000000000000000000000",
    ] {
        assert_eq!(AuditCursor::parse(text), Err(AuditCursorError), "{text}");
    }
}

#[test]
fn nothing_personal_is_shown_to_whoever_debugs() {
    let party = AuditParty { kind: AccountKind::User, email: "ada@x.com".to_owned() };
    let entry = AuditEntry {
        owner: party.clone(),
        at: DateTime::UNIX_EPOCH,
        id: 1,
        actor: party,
        action: AuditAction::FileDeleted,
        outcome: AuditOutcome::Done,
        subject: AuditSubject::File { filename: "x-ray".to_owned() },
        request_id: String::new(),
    };
    let shown = format!("{entry:?} {:?} {:?} {:?}", entry.owner, entry.subject, read(&item(&entry)));
    assert!(!shown.contains("ada") && !shown.contains("x-ray"), "{shown}");
}
