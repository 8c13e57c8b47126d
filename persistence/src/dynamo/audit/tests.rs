//! What is a cursor, what `Debug` hides, and that what is sent is what the SDK would send.

use aws_sdk_dynamodb::types::{Put, TransactWriteItem};

use super::*;
use crate::dynamo::transaction::tests::Nowhere;

fn entry(subject: AuditSubject) -> AuditEntry {
    AuditEntry {
        owner: AuditParty::User(UserId::parse("अनु@उदाहरण.भारत").unwrap()),
        at: DateTime::UNIX_EPOCH,
        id: 1,
        actor: AuditParty::Doctor(DoctorId::parse("o\"neil@x.com").unwrap()),
        action: AuditAction::FileDeleted,
        outcome: AuditOutcome::Done,
        subject,
        request_id: 0xa1,
    }
}

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
    let subject = AuditSubject::File { filename: "x-ray".to_owned() };
    let entry = entry(subject);
    let row = AuditRow {
        at: String::new(),
        actor: entry.actor.address().to_owned(),
        actor_type: entry.actor.word().to_owned(),
        action: entry.action.as_str().to_owned(),
        outcome: entry.outcome.as_str().to_owned(),
        filename: Some("x-ray".to_owned()),
        doctor_id: Some("dr@x.com".to_owned()),
        date: None,
        start: None,
        request_id: String::new(),
    };
    let shown = format!("{entry:?} {:?} {:?} {row:?}", entry.owner, entry.subject);
    assert!(!shown.contains("अनु") && !shown.contains("neil"), "{shown}");
    assert!(!shown.contains("x-ray") && !shown.contains("dr@x.com"), "{shown}");
}

#[tokio::test]
async fn what_is_sent_for_entries_is_what_the_sdk_would_send() {
    let subjects = [
        (AuditSubject::All, vec![]),
        (
            AuditSubject::File { filename: "\"Röntgen\".png".to_owned() },
            vec![("filename", "\"Röntgen\".png")],
        ),
        (
            AuditSubject::Seat {
                doctor: DoctorId::parse("dr@x.com").unwrap(),
                date: NaiveDate::from_ymd_opt(2026, 11, 30).unwrap(),
                start: SlotStart::parse("09:00").unwrap(),
            },
            vec![("doctor_id", "dr@x.com"), ("date", "2026-11-30"), ("start", "09:00")],
        ),
    ];
    let (mut entries, mut puts) = (Vec::new(), Vec::new());
    for (subject, own) in subjects {
        entries.push(entry(subject));
        let attributes = [
            ("PK", "user#अनु@उदाहरण.भारत"),
            ("SK", "1970-01-01T00:00:00.000Z#00000000000000000000000000000001"),
            ("actor", "o\"neil@x.com"),
            ("actor_type", "doctor"),
            ("action", "file_deleted"),
            ("outcome", "done"),
            ("request_id", "000000000000000000000000000000a1"),
        ];
        let item = attributes.into_iter().chain(own).map(|(name, value)| (name.to_owned(), text(value)));
        let put = Put::builder().table_name("KokoroAudit").set_item(Some(item.collect()));
        let put = put.condition_expression("attribute_not_exists(PK)").build().unwrap();
        puts.push(TransactWriteItem::builder().put(put).build());
    }
    let nowhere = Nowhere::new();
    nowhere.dynamo.audit().append(&entries).await.unwrap();
    let sent = nowhere.sent();
    let token = sent[0]["ClientRequestToken"].as_str().unwrap();
    assert_eq!(sent, [nowhere.sdk_sends(puts, token).await]);
    let token_of = async |entries: &[AuditEntry]| {
        nowhere.dynamo.audit().append(entries).await.unwrap();
        nowhere.sent()[0]["ClientRequestToken"].as_str().unwrap().to_owned()
    };
    assert_eq!(token_of(&entries).await, token, "the same request");
    entries[0].id = 2;
    assert_ne!(token_of(&entries).await, token, "another one");
}
