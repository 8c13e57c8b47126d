//! What `kokoro check` says, of whom it says nothing, and that it changes nothing.

use std::collections::BTreeMap;
use std::path::Path;

use aws_sdk_dynamodb::types::AttributeValue;
use serde_json::{Value, json};

use crate::harness::*;
use crate::old_platform::{self, FOUND};
use crate::stores::*;

/// Each kind that a report names, how often, and how often of the past.
fn found(report: &Value) -> BTreeMap<&str, (u64, u64)> {
    let findings = report["findings"].as_array().unwrap().iter();
    findings
        .map(|finding| {
            let count = |name: &str| finding[name].as_u64().unwrap();
            (finding["finding"].as_str().unwrap(), (count("count"), count("past")))
        })
        .collect()
}

fn expected() -> BTreeMap<&'static str, (u64, u64)> {
    FOUND.iter().map(|(name, count, past)| (*name, (*count, *past))).collect()
}

fn severity<'a>(report: &'a Value, name: &str) -> &'a str {
    let findings = report["findings"].as_array().unwrap();
    findings.iter().find(|finding| finding["finding"] == name).unwrap()["severity"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_trap_of_the_old_platform_is_found_and_nothing_is_changed() {
    let (scratch, data) = folder();
    let store = Opened::at(&data).await;
    old_platform::fill(&store).await;
    drop(store);
    let before = export(&data, &scratch.path().join("before"));
    let (report, status) = check(&data);
    assert_eq!(found(&report), expected());
    assert_eq!((status, report["severity"].as_str()), (20, Some("attention")));
    assert_eq!(severity(&report, "slot_above_five"), "attention");
    assert_eq!(severity(&report, "date_spelled_oddly"), "harmless");
    let read = report["read"].as_array().unwrap();
    assert!(read.contains(&json!({"part": "DoctorBookingsTable", "read": 31})), "{read:?}");
    assert!(read.contains(&json!({"part": "kokoro-medilocker", "read": 5})), "{read:?}");
    assert_eq!(export(&data, &scratch.path().join("after")), before);

    // A rate of a few rows a second is kept, and changes nothing of the answer.
    let slowly = run(&data, &["check", "--json", "--rate", "100"]);
    assert_eq!(serde_json::from_slice::<Value>(&slowly.stdout).unwrap(), report);

    // The same of the store of a running program, which has made its own tables.
    let node = Node::start(&Data::Folder(&data));
    let (report, status) = check(&data);
    let mut expected = expected();
    expected.remove("own_table_missing");
    assert_eq!((found(&report), status), (expected, 20));
    served_and_continued(&node).await;
}

/// What the engine does with all that.
async fn served_and_continued(node: &Node) {
    let soon = date_in(3);
    let (status, day) =
        node.post("/doctorBookings/available", None, &json!({"doctor_id": "dr@x.com", "date": soon})).await;
    assert_eq!(status, 200);
    let nine = day["slots"].as_array().unwrap().iter().find(|slot| slot["start"] == "09:00").unwrap();
    assert_eq!((nine["booked"].as_u64(), nine["available"].as_bool()), (Some(6), Some(false)), "{day}");
    for (left, status) in [("u0@x.com", 409), ("u1@x.com", 200)] {
        assert_eq!(node.cancel("dr@x.com", left, &soon, "09:00").await.0, 200);
        assert_eq!(node.book("dr@x.com", "u6@x.com", &soon, "09:00").await.0, status);
    }
    let march = old_platform::march().to_string();
    assert_eq!(node.cancel("dr@x.com", "u3@x.com", &march, "09:00").await.0, 200);
    assert_eq!(node.cancel("dr@x.com", "u3@x.com", &march, "09:00").await.0, 404);
    let (status, files) =
        node.post("/medilocker/fetch", Some(&user_token("u0@x.com")), &json!({"email": "u0@x.com"})).await;
    let names: Vec<_> = files["files"].as_array().unwrap().iter().map(|file| &file["filename"]).collect();
    assert_eq!(status, 200);
    assert_eq!(names, ["", "a/../b", "report.pdf"]);
    let delete = json!({"email": "u0@x.com", "filename": "a/../b"});
    assert_eq!(node.post("/medilocker/delete", Some(&user_token("u0@x.com")), &delete).await.0, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_shown_on_demand_and_never_else() {
    let (_scratch, data) = folder();
    let store = Opened::at(&data).await;
    old_platform::fill(&store).await;
    drop(store);
    for options in [&["check"][..], &["check", "--json"]] {
        let output = run(&data, options);
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(!said.contains("x.com") && !said.contains("report.pdf"), "{said}");
    }
    let text = String::from_utf8(run(&data, &["check", "--show"]).stdout).unwrap();
    let soon = date_in(3);
    for line in [
        format!("booking_off_grid: DoctorBookingsTable: dr@x.com#{soon} 09:10#u0@x.com"),
        format!("slot_above_five: DoctorBookingsTable: dr@x.com#{soon} 09:00"),
        "password_missing: Users: no-hash@x.com".to_owned(),
        "file_name_odd: kokoro-medilocker: u0@x.com/a/../b".to_owned(),
    ] {
        assert!(text.lines().any(|shown| shown == line), "{line} is not in {text}");
    }
    let shown = text.lines().filter(|line| line.contains(": ")).count() as u64;
    assert!(shown >= FOUND.iter().map(|(_, count, _)| count).sum(), "{text}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exit_status_is_the_gravest_finding() {
    let (_scratch, data) = folder();
    let node = Node::start(&Data::Folder(&data));
    let doctor = node.doctor("asha").await;
    let patient =
        json!({"username": "Ada", "email": "ada@x.com", "password": "correct horse", "phoneNumber": "12345"});
    assert_eq!(node.post("/auth/signupUser", None, &patient).await.0, 200);
    assert_eq!(node.book(&doctor, "ada@x.com", &date_in(2), "10:00").await.0, 200);
    let upload =
        json!({"email": "ada@x.com", "files": [{"filename": "a", "content": "YQ==", "metadata": {}}]});
    assert_eq!(node.post("/medilocker/upload", Some(&user_token("ada@x.com")), &upload).await.0, 200);
    let output = run(&data, &["check"]);
    let said = String::from_utf8(output.stdout).unwrap();
    assert_eq!((output.status.code(), said.lines().last()), (Some(0), Some("Nothing odd.")), "{said}");

    // Withdrawn, which is all that a booking in it needs to be odd.
    let slot = json!({"doctor_id": doctor, "day": "Monday", "slot": {"start": "10:00", "end": "10:30"}, "available": false});
    assert_eq!(node.post("/doctorsService/updateSlot", Some(&doctor_token(&doctor)), &slot).await.0, 200);
    assert_eq!(check(&data).1, 10);

    node.signal("-TERM");
    node.ended().await;
    let store = Opened::at(&data).await;
    let names = AttributeValue::L(vec![s("b")]);
    let entry = AttributeValue::M([("names".to_owned(), names)].into());
    store.put("KokoroEngine", &[("PK", s("upload#ada@x.com")), ("version", n(2)), ("upload_7", entry)]).await;
    drop(store);
    let (report, status) = check(&data);
    assert_eq!((found(&report).get("upload_unfinished"), status), (Some(&(1, 0)), 10), "{report}");
    let store = Opened::at(&data).await;
    store.put("KokoroEngine", &[("PK", s("upload#ada@x.com")), ("upload_7", s("?"))]).await;
    store.put("Users", &[("email", s("eve@x.com")), ("username", s("Eve"))]).await;
    drop(store);
    let (report, status) = check(&data);
    let grave: Vec<_> = ["upload_unreadable", "password_missing"].map(|name| found(&report)[name]).into();
    assert_eq!((grave, status), (vec![(1, 0), (1, 0)], 20));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_stops_reading_ends_it_without_a_word() {
    let (_scratch, data) = folder();
    let store = Opened::at(&data).await;
    old_platform::fill(&store).await;
    drop(store);
    for arguments in [&["check", "--show"][..], &["check"], &["check", "--json"]] {
        // As `head` leaves it.
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let output = tool(&data, arguments).stdout(writer).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!((output.status.code(), said.as_str()), (Some(1), ""), "{arguments:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_empty_value_counts_as_unset() {
    let (_scratch, data) = folder();
    drop(Opened::at(&data).await);
    let mut command = tool(&data, &["check"]);
    for name in ["AWS_REGION", "AWS_DEFAULT_REGION", "AWS_PROFILE", "DYNAMODB_ENDPOINT", "S3_ENDPOINT"] {
        command.env(name, "");
    }
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn where_there_is_no_store_none_is_made() {
    let (scratch, data) = folder();
    assert!(refused(&data, &["check"]).contains("no folder"));
    assert!(!data.exists());
    std::fs::create_dir(&data).unwrap();
    assert!(refused(&data, &["check"]).contains("no store"));
    assert!(refused(&data, &["export", scratch.path().join("x").to_str().unwrap()]).contains("no store"));
    let made: Vec<_> = std::fs::read_dir(&data).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(made, ["lock"]);
    assert_eq!(run(Path::new("."), &["check", "--json", "--show"]).status.code(), Some(2));
    assert_eq!(run(Path::new("."), &["--demo", "check"]).status.code(), Some(2));
}
