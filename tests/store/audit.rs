//! The audit trail: nothing is lost, nothing is told twice, nobody sees another's.

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use engine::{DoctorId, SlotStart, UserId};
use persistence::{
    AuditAction, AuditEntry, AuditOutcome, AuditPage, AuditParty, AuditRow, AuditSubject, Dynamo,
};

use crate::harness::{each_dynamo, each_lossy, fresh};

fn user(email: &str) -> AuditParty {
    AuditParty::User(UserId::parse(email).unwrap())
}

fn doctor(email: &str) -> AuditParty {
    AuditParty::Doctor(DoctorId::parse(email).unwrap())
}

fn ada() -> AuditParty {
    user("ada@x.com")
}

fn at(second: i64) -> DateTime<Utc> {
    DateTime::UNIX_EPOCH + TimeDelta::seconds(second)
}

fn entry(owner: AuditParty, second: i64, subject: AuditSubject) -> AuditEntry {
    AuditEntry {
        owner,
        at: at(second),
        id: fresh(),
        actor: doctor("dr@x.com"),
        action: AuditAction::FileDownloaded,
        outcome: AuditOutcome::Done,
        subject,
        request_id: 0xa1,
    }
}

fn file(n: i64) -> AuditSubject {
    AuditSubject::File { filename: named(n) }
}

fn named(n: i64) -> String {
    format!("{n}.pdf")
}

async fn all(dynamo: &Dynamo, owner: &AuditParty) -> Vec<AuditRow> {
    dynamo.audit().page(owner, None, 1000).await.unwrap().rows
}

#[tokio::test]
async fn entries_come_back_newest_first_and_page_by_page() {
    each_dynamo(async |dynamo| {
        let entries: Vec<_> = (0..7).map(|n| entry(ada(), n, file(n))).collect();
        dynamo.audit().append(&entries).await.unwrap();
        let (mut cursor, mut seen) = (None, Vec::new());
        for (size, more) in [(3, true), (3, true), (1, false)] {
            let AuditPage { rows, next } = dynamo.audit().page(&ada(), cursor.as_ref(), 3).await.unwrap();
            assert_eq!((rows.len(), next.is_some()), (size, more));
            seen.extend(rows.into_iter().map(|row| (row.at, row.filename)));
            cursor = next;
        }
        let expected = (0..7).rev().map(|n| (format!("1970-01-01T00:00:0{n}.000Z"), Some(named(n))));
        assert_eq!(seen, expected.collect::<Vec<_>>());
    })
    .await;
}

#[tokio::test]
async fn long_entries_hide_no_older_ones() {
    each_dynamo(async |dynamo| {
        let long = AuditSubject::File { filename: "x".repeat(60_000) };
        for n in 0..40 {
            dynamo.audit().append(&[entry(ada(), n, long.clone())]).await.unwrap();
        }
        let (mut cursor, mut seen) = (None, 0);
        loop {
            let AuditPage { rows, next } = dynamo.audit().page(&ada(), cursor.as_ref(), 200).await.unwrap();
            seen += rows.len();
            let Some(next) = next else { break };
            cursor = Some(next);
        }
        assert_eq!(seen, 40);
    })
    .await;
}

#[tokio::test]
async fn a_doctor_and_a_user_of_one_address_have_each_its_own_entries() {
    each_dynamo(async |dynamo| {
        let twin = doctor("ada@x.com");
        dynamo.audit().append(&[entry(ada(), 1, AuditSubject::All)]).await.unwrap();
        dynamo.audit().append(&[entry(twin.clone(), 2, file(2))]).await.unwrap();
        let files =
            async |owner| all(dynamo, &owner).await.into_iter().map(|row| row.filename).collect::<Vec<_>>();
        assert_eq!(files(ada()).await, [None]);
        assert_eq!(files(twin).await, [Some(named(2))]);
        assert_eq!(files(user("ada@x.co")).await, []);
    })
    .await;
}

#[tokio::test]
async fn a_hundred_entries_are_written_all_or_none_and_hold_all_that_was_said() {
    each_dynamo(async |dynamo| {
        let seat = AuditSubject::Seat {
            doctor: DoctorId::parse("dr@x.com").unwrap(),
            date: NaiveDate::from_ymd_opt(2026, 11, 30).unwrap(),
            start: SlotStart::parse("10:00").unwrap(),
        };
        let mut entries: Vec<_> = (0..100).map(|n| entry(ada(), n, seat.clone())).collect();
        dynamo.audit().append(&entries).await.unwrap();
        let rows = all(dynamo, &ada()).await;
        assert_eq!(rows.len(), 100);
        let row = AuditRow {
            at: "1970-01-01T00:01:39.000Z".to_owned(),
            actor: "dr@x.com".to_owned(),
            actor_type: "doctor".to_owned(),
            action: "file_downloaded".to_owned(),
            outcome: "done".to_owned(),
            filename: None,
            doctor_id: Some("dr@x.com".to_owned()),
            date: Some("2026-11-30".to_owned()),
            start: Some("10:00".to_owned()),
            request_id: "000000000000000000000000000000a1".to_owned(),
        };
        assert!(rows[0] == row);

        entries.iter_mut().for_each(|entry| entry.id = fresh());
        entries.push(entry(ada(), 100, AuditSubject::All));
        assert!(dynamo.audit().append(&entries).await.is_err(), "one more than a transaction holds");
        assert_eq!(all(dynamo, &ada()).await.len(), 100);
    })
    .await;
}

#[tokio::test]
async fn entries_whose_answer_was_lost_are_written_once_however_often_they_are_repeated() {
    each_lossy(async |dynamo, proxy| {
        let entries = [entry(ada(), 1, file(1)), entry(ada(), 2, file(2))];
        proxy.lose_answers(1);
        dynamo.audit().append(&entries).await.unwrap();
        assert_eq!(proxy.lost(), 1);
        dynamo.audit().append(&entries).await.unwrap();
        assert_eq!(all(dynamo, &ada()).await.len(), 2);
    })
    .await;
}

#[tokio::test]
async fn an_entry_that_is_there_is_not_written_over() {
    each_dynamo(async |dynamo| {
        let first = entry(ada(), 1, file(1));
        dynamo.audit().append(std::slice::from_ref(&first)).await.unwrap();
        let other = AuditEntry { subject: file(2), ..first };
        let alone = dynamo.audit().append(std::slice::from_ref(&other)).await;
        assert!(alone.is_err(), "it is the same request, and says something else");
        // Beside another it is another request, which finds it there and writes nothing.
        dynamo.audit().append(&[other, entry(ada(), 2, file(3))]).await.unwrap();
        let rows = all(dynamo, &ada()).await;
        assert_eq!((rows.len(), rows[0].filename.as_deref()), (1, Some("1.pdf")));
    })
    .await;
}
