//! Out of a store that is in use, into another: the same answers from both.

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::harness::*;
use crate::old_platform;
use crate::stores::*;

const PATIENTS: usize = 6;

fn patient(number: usize) -> String {
    format!("patient{number}@example.com")
}

/// Doctors, patients, bookings, files, subscriptions: through the API, as they come to be.
async fn live(node: &Node) -> Vec<String> {
    let mut doctors = Vec::new();
    for name in ["asha", "vikram", "meera"] {
        let doctor = node.doctor(name).await;
        let photo = json!({"filename": "ich bin's.png", "base64_content": BASE64_STANDARD.encode(PNG)});
        let profile = json!({"email": doctor, "fees": 500, "timings": "9 to 5", "profilePhoto": photo});
        let (status, answer) =
            node.post("/doctorsService/completeProfile", Some(&doctor_token(&doctor)), &profile).await;
        assert_eq!(status, 200, "{answer}");
        doctors.push(doctor);
    }
    for number in 0..PATIENTS {
        let email = patient(number);
        let signup =
            json!({"username": "P", "email": email, "password": "correct horse", "phoneNumber": "12345"});
        assert_eq!(node.post("/auth/signupUser", None, &signup).await.0, 200);
        for (index, doctor) in doctors.iter().enumerate() {
            for day in 1..4 {
                let body = json!({"doctor_id": doctor, "date": date_in(day), "start": "10:00"});
                let key = format!("key-{index}-{day}");
                let headers = [("Idempotency-Key", key.as_str())];
                let (status, _) =
                    node.post_with("/doctorBookings/book", Some(&user_token(&email)), &body, &headers).await;
                assert_eq!(status, if number < 5 { 200 } else { 409 });
            }
        }
        let files = json!([
            {"filename": "रिपोर्ट 1.pdf", "content": BASE64_STANDARD.encode(vec![number as u8; 3000]), "metadata": {"kind": "x-ray"}},
            {"filename": "b.txt", "content": "", "metadata": {"रोग": "हृदय"}},
        ]);
        let upload = json!({"email": email, "files": files});
        assert_eq!(node.post("/medilocker/upload", Some(&user_token(&email)), &upload).await.0, 200);
        let subscribe = json!({"user_email": email, "doctor_email": doctors[number % 3]});
        let (status, _) = node.post("/doctorsService/subscribe", Some(&user_token(&email)), &subscribe).await;
        assert_eq!(status, 200);
    }
    assert_eq!(node.cancel(&doctors[0], &patient(0), &date_in(1), "10:00").await.0, 200);
    doctors
}

const PNG: &[u8] = b"\x89PNG\r\n\x1a\n and so on";

/// Every reading call that there is, and what it answers; what differs from store to store left out.
async fn answers(node: &Node, doctors: &[String]) -> Vec<Value> {
    let mut answers = Vec::new();
    let mut ask = async |path: &str, token: Option<&str>, body: Value| {
        let (status, answer) = node.post(path, token, &body).await;
        answers.push(json!([path, body, status, answer]));
        answer
    };
    for doctor in doctors {
        let token = doctor_token(doctor);
        // Not today, whose slots begin while this runs.
        for day in 1..6 {
            ask("/doctorBookings/available", None, json!({"doctor_id": doctor, "date": date_in(day)})).await;
        }
        ask(
            "/doctorBookings/fetchBookings",
            Some(&token),
            json!({"id": doctor, "type": "doctor", "days": 30}),
        )
        .await;
    }
    let mut links = Vec::new();
    for number in 0..PATIENTS {
        let (email, token) = (patient(number), user_token(&patient(number)));
        ask("/doctorBookings/user", Some(&token), json!({"user_id": email})).await;
        ask("/doctorBookings/fetchBookings", Some(&token), json!({"id": email, "type": "user", "days": 30}))
            .await;
        let files = ask("/medilocker/fetch", Some(&token), json!({"email": email})).await;
        assert_eq!(files["files"].as_array().unwrap().len(), 2, "{files}");
        ask(
            "/doctorsService/subscribe",
            Some(&token),
            json!({"user_email": email, "doctor_email": doctors[number % 3]}),
        )
        .await;
        let login = ask("/auth/loginUser", None, json!({"email": email, "password": "correct horse"})).await;
        assert_eq!(login["user"]["email"], email);
        for file in ["रिपोर्ट 1.pdf", "b.txt"] {
            let body = json!({"email": email, "filename": file});
            links
                .push(node.post("/medilocker/download", Some(&token), &body).await.1["download_url"].clone());
        }
    }
    let listed = ask("/doctorsService/fetchDoctors", None, json!({})).await;
    links.extend(listed["doctors"].as_array().unwrap().iter().map(|doctor| doctor["profilePhoto"].clone()));
    for link in links {
        let file = reqwest::get(link.as_str().unwrap()).await.unwrap();
        let kind = format!("{:?}", file.headers().get("content-type"));
        let name = format!("{:?}", file.headers().get("content-disposition"));
        answers.push(json!([file.status().as_u16(), kind, name, file.bytes().await.unwrap().to_vec()]));
    }
    for answer in &mut answers {
        without_what_differs(answer);
    }
    answers
}

/// Tokens and signed links are fresh with every call.
fn without_what_differs(answer: &mut Value) {
    match answer {
        Value::Object(members) => {
            for name in ["access_token", "profilePhoto", "request_id"] {
                members.remove(name);
            }
            members.values_mut().for_each(without_what_differs);
        }
        Value::Array(members) => members.iter_mut().for_each(without_what_differs),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

async fn get(node: &Node, path: &str, token: &str) -> (u16, Value) {
    let request = reqwest::Client::new().get(format!("{}{path}", node.url)).bearer_auth(token);
    let answer = request.send().await.unwrap();
    (answer.status().as_u16(), answer.json().await.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_node_is_exported_and_a_fresh_one_gives_the_same_answers() {
    let (scratch, data) = folder();
    // Without their servers, chats and payments come to be as rows.
    let store = Opened::at(&data).await;
    let said = |role: &str| s(&format!(r#"{{"role":"{role}","text":"hello"}}"#));
    let chat = [
        ("email", s(&patient(0))),
        ("timestamp", n(1_700_000_000)),
        ("user_message", said("user")),
        ("bot_message", said("bot")),
        ("truncated", AttributeValue::Bool(true)),
    ];
    store.put("ChatHistory", &chat).await;
    let payment = [("payment_id", s("pay_1")), ("amount", n("499.99")), ("status", s("captured"))];
    store.put("PaymentsTable", &payment).await;
    drop(store);

    let node = Node::start(&Data::Folder(&data));
    let doctors = live(&node).await;
    let before = answers(&node, &doctors).await;
    let history = format!("/chat/history/{}", patient(0));
    let chats = get(&node, &history, &user_token(&patient(0))).await;
    let [chat] = chats.1["messages"].as_array().unwrap().as_slice() else { panic!("{chats:?}") };
    assert_eq!(chat["truncated"], json!(true));
    let exported = scratch.path().join("export");
    let sums = export(&data, &exported);
    assert!(sums.iter().any(|line| line.starts_with("bookings 44 ")), "{sums:?}");
    assert!(sums.iter().any(|line| line.starts_with("medilocker 12 ")), "{sums:?}");
    assert_eq!(answers(&node, &doctors).await, before);

    let fresh = scratch.path().join("fresh");
    assert_eq!(import(&fresh, &exported), sums);
    let other = Node::start(&Data::Folder(&fresh));
    assert_eq!(answers(&other, &doctors).await, before);
    assert_eq!(get(&other, &history, &user_token(&patient(0))).await, chats);
    // A key that booked there is known here; a slot that was full there is full here.
    let body = json!({"doctor_id": doctors[1], "date": date_in(1), "start": "10:00"});
    let again = [("Idempotency-Key", "key-1-1")];
    let token = user_token(&patient(1));
    assert_eq!(other.post_with("/doctorBookings/book", Some(&token), &body, &again).await.0, 200);
    assert_eq!(other.book(&doctors[1], &patient(5), &date_in(1), "10:00").await.0, 409);
    assert_eq!(other.book(&doctors[0], &patient(5), &date_in(1), "10:00").await.0, 200);
    let (report, status) = check(&fresh);
    let findings: Vec<_> =
        report["findings"].as_array().unwrap().iter().map(|found| &found["finding"]).collect();
    assert_eq!(findings, ["payment_of_nobody"], "{report}");
    assert_eq!(status, 10);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_oddity_of_the_old_platform_survives_the_journey() {
    let (scratch, data) = folder();
    let store = Opened::at(&data).await;
    old_platform::fill(&store).await;
    let odd: Vec<u8> = (0..=255).collect();
    let name = "kokoro-medilocker";
    store.put_file(name, "u1@x.com/every byte", &odd, &[("a", "b"), ("kokoro-metadata", "?")]).await;
    store.put_file(name, "u1@x.com/ +%20&é\u{10ffff}\u{1}", b"", &[]).await;
    drop(store);
    let first = scratch.path().join("first");
    let sums = export(&data, &first);
    let there = scratch.path().join("there");
    assert_eq!(import(&there, &first), sums);
    assert_eq!(export(&there, &scratch.path().join("second")), sums);
    // Also the times of the files, which no sum has.
    let times = |folder: &str| {
        let lines =
            std::fs::read_to_string(scratch.path().join(folder).join("files/medilocker.jsonl")).unwrap();
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap();
        lines.lines().map(line).collect::<Vec<_>>()
    };
    assert_eq!(times("first"), times("second"));
    let (mut here, mut moved) = (check(&data).0, check(&there).0);
    for report in [&mut here, &mut moved] {
        // An import makes the engine's tables, and turns the time to live on.
        let findings = report["findings"].as_array_mut().unwrap();
        findings.retain(|finding| {
            !["own_table_missing", "time_to_live_off"].contains(&finding["finding"].as_str().unwrap())
        });
        report["read"].as_array_mut().unwrap().retain(|part| part["part"] != "KokoroEngine");
    }
    assert_eq!(here, moved);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_upload_under_way_is_left_out_whole() {
    let (scratch, data) = folder();
    let store = Opened::at(&data).await;
    let bucket = "kokoro-medilocker";
    for (key, upload) in [("a", "1"), ("b", "7"), ("c", "7"), ("d", "8")] {
        let key = format!("ada@x.com/{key}");
        store.put_file(bucket, &key, b"x", &[("kokoro-upload", upload)]).await;
    }
    let names = AttributeValue::L(vec![s("b"), s("c")]);
    let entry = AttributeValue::M([("names".to_owned(), names)].into());
    store.put("KokoroEngine", &[("PK", s("upload#ada@x.com")), ("version", n(3)), ("upload_7", entry)]).await;
    drop(store);
    let exported = scratch.path().join("export");
    let said = done(&data, &["export", exported.to_str().unwrap()]);
    let line = said.lines().find(|line| line.contains("medilocker")).unwrap();
    assert!(line.ends_with("2 left out"), "{said}");
    let there = scratch.path().join("there");
    import(&there, &exported);
    let node = Node::start(&Data::Folder(&there));
    let (_, files) =
        node.post("/medilocker/fetch", Some(&user_token("ada@x.com")), &json!({"email": "ada@x.com"})).await;
    let names: Vec<_> = files["files"].as_array().unwrap().iter().map(|file| &file["filename"]).collect();
    assert_eq!(names, ["a", "d"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_left_behind_is_said_on_either_side() {
    let (scratch, data) = folder();
    let store = Opened::at(&data).await;
    old_platform::fill(&store).await;
    drop(store);
    let (to, there) = (scratch.path().join("export"), scratch.path().join("there"));
    for said in
        [done(&data, &["export", to.to_str().unwrap()]), done(&there, &["import", to.to_str().unwrap()])]
    {
        let line = said.lines().find(|line| line.starts_with("Not moved")).unwrap();
        for name in ["secrets", "earlier versions of files", "AuthTokensTable"] {
            assert!(line.contains(name), "{line}");
        }
    }
    for entry in std::fs::read_dir(to.join("tables")).unwrap() {
        assert!(!std::fs::read_to_string(entry.unwrap().path()).unwrap().contains(old_platform::AUTH_TOKEN));
    }
}
