//! Doctors' profiles: who changes them, whom documents are shown to, and who subscribes.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use chrono::TimeDelta;
use engine::{Clock, SystemClock};
use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use web::config::Place;

use crate::eventually::eventually;
use crate::harness::{DEADLINE, PASSWORD, TestApp, TestUser, config, told};

const COMPLETE: &str = "/doctorsService/completeProfile";
pub const FETCH: &str = "/doctorsService/fetchDoctors";
const SUBSCRIBE: &str = "/doctorsService/subscribe";

/// A whole picture of one pixel.
const PNG: &str =
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNkYPhfDwAChwGA60e6kgAAAABJRU5ErkJggg==";
const PDF: &[u8] = b"%PDF-1.4\n1 0 obj\n<<>>\nendobj\ntrailer\n<<>>\n%%EOF\n";

pub async fn complete(app: &TestApp, doctor: &TestUser, mut changes: Value) -> (u16, Value) {
    changes["email"] = json!(doctor.email);
    app.as_user(doctor).post(COMPLETE, changes).await
}

pub async fn subscribe(app: &TestApp, user: &TestUser, doctor: &TestUser) -> (u16, Value) {
    let body = json!({"user_email": user.email, "doctor_email": doctor.email});
    app.as_user(user).post(SUBSCRIBE, body).await
}

pub async fn fetch(app: &TestApp, body: Value) -> Vec<Value> {
    let (status, body) = app.post(FETCH, None, &body).await;
    assert_eq!(status, 200, "{body}");
    body["doctors"].as_array().unwrap().clone()
}

pub async fn one(app: &TestApp, doctor: &TestUser) -> Value {
    let doctors = fetch(app, json!({})).await;
    doctors.into_iter().find(|shown| shown["email"] == doctor.email.as_str()).unwrap()
}

pub fn s(text: &str) -> AttributeValue {
    AttributeValue::S(text.to_owned())
}

/// Puts a doctor's row as somebody else would.
pub async fn put(app: &TestApp, row: &[(&str, AttributeValue)]) {
    let item: HashMap<_, _> = row.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect();
    let table = &app.dynamo().tables().doctors;
    app.dynamo().client().put_item().table_name(table).set_item(Some(item)).send().await.unwrap();
}

async fn row(app: &TestApp, doctor: &TestUser) -> HashMap<String, AttributeValue> {
    let table = &app.dynamo().tables().doctors;
    let request = app.dynamo().client().get_item().table_name(table).key("email", s(&doctor.email));
    request.consistent_read(true).send().await.unwrap().item.unwrap()
}

#[actix_web::test]
async fn a_completed_profile_is_shown_at_once_and_keeps_what_was_not_sent() {
    let app = TestApp::start().await;
    let asha = app.doctor_without_slots("asha").await;
    assert_eq!(one(&app, &asha).await["onboarded"], false, "a new doctor is listed at once");
    let first = json!({"specialization": "Cardiology", "experience": 12, "fees": 0, "description": "Two\nlines",
        "licenseNumber": "L-1", "registrationId": "R-1", "timings": "", "platform": "web"});
    let (status, body) = complete(&app, &asha, first).await;
    assert_eq!((status, body), (200, json!({"message": "Doctor profile updated successfully."})));
    let second = json!({"affiliation": "City Hospital", "fees": null, "profilePhoto": null});
    let body = app.as_user(&asha).post("/doctorsService/updateProfile", with_email(&asha, second)).await;
    assert_eq!(body.0, 200, "{}", body.1);
    let shown = one(&app, &asha).await;
    for (field, value) in [
        ("onboarded", json!(true)),
        ("specialization", json!("Cardiology")),
        ("experience", json!("12")),
        ("fees", json!(0)),
        ("description", json!("Two\nlines")),
        ("timings", json!("")),
        ("affiliation", json!("City Hospital")),
    ] {
        assert_eq!(shown[field], value, "{field}");
    }
    assert_eq!(row(&app, &asha).await["licenseNumber"], s("L-1"));
    app.stop().await;
}

fn with_email(doctor: &TestUser, mut body: Value) -> Value {
    body["email"] = json!(doctor.email);
    body
}

#[actix_web::test]
async fn a_profile_that_cannot_be_kept_is_refused_and_nothing_changes() {
    let app = TestApp::start().await;
    let asha = app.doctor_without_slots("asha").await;
    let before = row(&app, &asha).await;
    let document = |name: &str, content: &str| json!({"filename": name, "base64_content": content});
    let pdf = BASE64_STANDARD.encode(PDF);
    let invalid = |changes: Value| (changes, 422, "invalid_value");
    for (changes, status, code) in [
        invalid(json!({"fees": -1})),
        invalid(json!({"fees": 1.5})),
        invalid(json!({"fees": "500"})),
        invalid(json!({"fees": 1_000_001})),
        invalid(json!({"fees": 1e30})),
        invalid(json!({"experience": 101})),
        invalid(json!({"experience": []})),
        invalid(json!({"description": "x".repeat(2_001)})),
        invalid(json!({"description": "a\u{0}"})),
        invalid(json!({"specialization": "x".repeat(201)})),
        invalid(json!({"specialization": "two\nlines"})),
        invalid(json!({"profilePhoto": "photo.png"})),
        invalid(json!({"profilePhoto": {"filename": "me.png"}})),
        invalid(json!({"profilePhoto": document("../me.png", PNG)})),
        invalid(json!({"profilePhoto": document("", PNG)})),
        invalid(json!({"profilePhoto": document("me.png", "no base64!")})),
        (json!({"profilePhoto": document("me.png", &pdf)}), 422, "unsupported_document"),
        (json!({"govtIdProof": document("id.pdf", "aGVsbG8=")}), 422, "unsupported_document"),
        (json!({"profilePhoto": document("me.png", &"A".repeat(7_000_000))}), 413, "document_too_large"),
    ] {
        assert_eq!(told(complete(&app, &asha, changes).await), (status, code.to_owned()));
    }
    let huge = json!({"profilePhoto": document("me.png", &"A".repeat(22 * 1024 * 1024))});
    assert_eq!(told(complete(&app, &asha, huge).await), (413, "body_too_large".to_owned()));
    assert_eq!(row(&app, &asha).await, before);
    app.stop().await;
}

/// A body with documents, of which only the beginning is sent.
fn beginning(sender: &TestUser) -> String {
    format!(
        "POST {COMPLETE} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\n\
         Content-Length: 20000000\r\n\r\n{{\"email\":",
        sender.token
    )
}

#[actix_web::test]
async fn a_patients_body_is_not_read_and_a_silent_doctors_not_for_long() {
    let mut config = config();
    config.server.body_timeout = Duration::from_millis(300);
    let app = TestApp::start_with(config).await;
    let (ada, asha) = (app.user("ada").await, app.doctor_without_slots("asha").await);
    for (sender, status) in [(&ada, 403), (&asha, 408)] {
        let answer = app.speak(beginning(sender).as_bytes()).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn a_doctor_has_one_place_for_a_large_body() {
    let app = TestApp::start().await;
    let (asha, ben) = (app.doctor_without_slots("asha").await, app.doctor_without_slots("ben").await);
    let large = json!({"fees": 1, "x": "x".repeat(100_000)});
    let mut connection = None;
    let has_the_place = async || {
        let mut stream = TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
        stream.write_all(beginning(&asha).as_bytes()).await.unwrap();
        connection = Some(stream);
        // Whichever of the two came first has the place.
        complete(&app, &asha, large.clone()).await.0 == 503
    };
    eventually(DEADLINE, "the body that is not sent to its end has the place", has_the_place).await;
    assert_eq!(complete(&app, &ben, large.clone()).await.0, 200);
    assert_eq!(complete(&app, &asha, json!({"fees": 1})).await.0, 200, "a small one needs none");
    drop(connection);
    let has_the_place = async || complete(&app, &asha, large.clone()).await.0 == 200;
    eventually(DEADLINE, "the place is given back", has_the_place).await;
    app.stop().await;
}

#[actix_web::test]
async fn what_a_profile_does_not_ask_for_is_passed_over() {
    let app = TestApp::start().await;
    let (asha, ben) = (app.doctor_without_slots("asha").await, app.doctor_without_slots("ben").await);
    // To take this in would end in a refusal of its depth.
    let deep = format!("{}{}", "[".repeat(1_000), "]".repeat(1_000));
    let (own, other) = (&*asha.email, &*ben.email);
    for (body, status, code) in [
        (format!(r#"{{"x":{deep},"email":"{own}","fees":7.0,"experience":12.0}}"#), 200, ""),
        (format!(r#"{{"email":"{own}","experience":{deep}}}"#), 422, "invalid_value"),
        (
            format!(r#"{{"email":"{own}","profilePhoto":{{"filename":"a","x":{deep}}}}}"#),
            422,
            "invalid_value",
        ),
        (format!(r#"{{"fees":"x","email":"{other}"}}"#), 403, "forbidden"),
        (format!(r#"{{"email":"{other}"}}x"#), 400, "invalid_json"),
        (format!(r#"{{"email":"{own}","x":[}}"#), 400, "invalid_json"),
        (format!(r#"{{"email":"{own}","email":"{other}"}}"#), 422, "invalid_value"),
        (format!(r#"["{own}"]"#), 422, "invalid_value"),
        ("[}".to_owned(), 400, "invalid_json"),
    ] {
        let reply = app.post_raw(COMPLETE, Some(&asha.token), "application/json", body.into_bytes()).await;
        assert_eq!((reply.status, reply.body["code"].as_str().unwrap_or_default()), (status, code));
    }
    let shown = one(&app, &asha).await;
    assert_eq!((&shown["fees"], &shown["experience"]), (&json!(7), &json!("12")));
    app.stop().await;
}

#[actix_web::test]
async fn a_photo_is_for_everybody_and_an_identity_for_nobody() {
    let app = TestApp::start().await;
    // The store of files goes by the real time.
    app.clock.set(SystemClock.now());
    let asha = app.doctor_without_slots("asha").await;
    let (png, pdf) = (BASE64_STANDARD.decode(PNG).unwrap(), BASE64_STANDARD.encode(PDF));
    let documents = json!({
        "profilePhoto": {"filename": "मेरा फोटो.jpg", "base64_content": format!("data:image/jpeg;base64,{PNG}")},
        "govtIdProof": {"filename": "id.pdf", "base64_content": pdf},
        "degreeCertificate": {"filename": "degree", "base64_content": pdf},
    });
    let (status, body) = complete(&app, &asha, documents).await;
    assert_eq!(status, 200, "{body}");
    let row = row(&app, &asha).await;
    let bucket = &app.buckets.documents;
    let folder = format!("https://{bucket}.s3.amazonaws.com/doctors/asha@clinic.example");
    assert_eq!(row["govtIdProof"], s(&format!("{folder}/govtIdProof/id.pdf")));
    assert_eq!(row["degreeCertificate"], s(&format!("{folder}/degreeCertificate/degree")));

    let shown = one(&app, &asha).await;
    assert!(!shown.to_string().contains("govtIdProof"), "{shown}");
    let url = shown["profilePhoto"].as_str().unwrap();
    let photo = app.client.get(url).send().await.unwrap();
    assert_eq!(photo.headers()["content-type"], "image/png", "its bytes say so, whatever its name");
    assert_eq!(photo.bytes().await.unwrap(), png);

    let bare = url.split('?').next().unwrap();
    assert_eq!(app.client.get(bare).send().await.unwrap().status(), 403, "unsigned");
    let (before, _) = url.split_once("/profilePhoto/").unwrap();
    let signature = url.split_once('?').unwrap().1;
    for identity in
        [format!("{before}/govtIdProof/id.pdf"), format!("{before}/govtIdProof/id.pdf?{signature}")]
    {
        assert_eq!(app.client.get(identity).send().await.unwrap().status(), 403);
    }
    // A row that names another document as its photo shows none.
    put(&app, &[("email", s("ben@x.com")), ("profilePhoto", row["govtIdProof"].clone())]).await;
    app.clock.advance(TimeDelta::minutes(1));
    let doctors = fetch(&app, json!({"search": ""})).await;
    assert_eq!(doctors[1]["email"], "ben@x.com");
    assert_eq!(doctors[1]["profilePhoto"], Value::Null);
    app.stop().await;
}

#[actix_web::test]
async fn a_new_photo_of_the_same_name_takes_the_place_of_the_old_one() {
    let app = TestApp::start().await;
    app.clock.set(SystemClock.now());
    let asha = app.doctor_without_slots("asha").await;
    let old = BASE64_STANDARD.decode(PNG).unwrap();
    let new = [&old[..], b"\0"].concat();
    let mut urls = Vec::new();
    for bytes in [&old, &new] {
        let photo = json!({"filename": "me.png", "base64_content": BASE64_STANDARD.encode(bytes)});
        assert_eq!(complete(&app, &asha, json!({"profilePhoto": photo})).await.0, 200);
        let url = one(&app, &asha).await["profilePhoto"].as_str().unwrap().to_owned();
        assert_eq!(app.client.get(&url).send().await.unwrap().bytes().await.unwrap(), *bytes);
        urls.push(url);
    }
    assert_eq!(app.client.get(&urls[0]).send().await.unwrap().status(), 404, "the old link leads nowhere");
    app.stop().await;
}

#[actix_web::test]
async fn documents_that_are_superseded_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let mut config = config();
    config.files.place = Place::Folder(folder.path().to_owned());
    let app = TestApp::start_with(config).await;
    let asha = app.doctor_without_slots("asha").await;
    let pdf = json!({"filename": "id.pdf", "base64_content": BASE64_STANDARD.encode(PDF)});
    let photo = json!({"filename": "me.png", "base64_content": PNG});
    let objects = || {
        let owners = std::fs::read_dir(folder.path().join("s3/objects/kokoro-doctor-documents")).unwrap();
        owners.flat_map(|owner| std::fs::read_dir(owner.unwrap().path()).unwrap()).count()
    };
    let all = json!({"govtIdProof": pdf, "degreeCertificate": pdf, "profilePhoto": photo});
    for (sent, expected) in [(&all, 3), (&json!({"govtIdProof": pdf}), 3), (&all, 3), (&json!({}), 3)] {
        assert_eq!(complete(&app, &asha, sent.clone()).await.0, 200);
        assert_eq!(objects(), expected);
    }
    app.stop().await;
}

#[actix_web::test]
async fn of_fifty_subscriptions_at_once_one_is_made_and_all_hear_of_it() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor_without_slots("asha").await);
    let answers = join_all((0..50).map(|_| subscribe(&app, &ada, &asha))).await;
    assert!(answers.iter().all(|(status, _)| *status == 200), "{answers:?}");
    let messages: Vec<_> = answers.iter().map(|(_, body)| body["message"].as_str().unwrap()).collect();
    let new = "User ada@example.com successfully subscribed to Doctor asha@clinic.example";
    assert_eq!(messages.iter().filter(|message| **message == new).count(), 1);
    let kinds: BTreeSet<_> = messages.into_iter().collect();
    assert_eq!(kinds, BTreeSet::from([new, "User is already subscribed to this doctor."]));
    let row = row(&app, &asha).await;
    assert_eq!(row["subscribers"], AttributeValue::L(vec![s("ada@example.com")]));
    app.stop().await;
}

#[actix_web::test]
async fn who_subscribes_is_a_patient_and_to_whom_a_doctor() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor_without_slots("asha").await);
    let subscribe = |doctor: &str| json!({"user_email": "Ada@Example.com", "doctor_email": doctor});
    let as_ada = app.as_user(&ada);
    let missing = as_ada.post(SUBSCRIBE, subscribe("nobody@x.com")).await;
    assert_eq!(missing.1["detail"], "Doctor not found");
    assert_eq!(told(missing), (404, "doctor_not_found".to_owned()));
    assert_eq!(told(as_ada.post(SUBSCRIBE, subscribe("nobody")).await).0, 422);
    let (status, body) = as_ada.post(SUBSCRIBE, subscribe("Asha@Clinic.example")).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body["message"], "User ada@example.com successfully subscribed to Doctor asha@clinic.example");

    // A patient of a doctor's address is no doctor.
    let twin = json!({"username": "A", "email": asha.email, "password": PASSWORD, "phoneNumber": "12345"});
    assert_eq!(app.post("/auth/signupUser", None, &twin).await.0, 200);
    let twin = app.log_in("/auth/loginUser", &asha.email).await;
    assert_eq!(told(complete(&app, &twin, json!({"fees": 1})).await), (403, "forbidden".to_owned()));
    app.stop().await;
}

#[actix_web::test]
async fn a_list_without_room_refuses_clearly() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let name = s("somebody.with.a.long.address@somewhere.example.com");
    let full = AttributeValue::L(vec![name; 6_000]);
    put(&app, &[("email", s("dr@x.com")), ("subscribers", full)]).await;
    let popular = TestUser { email: "dr@x.com".to_owned(), token: String::new() };
    assert_eq!(told(subscribe(&app, &ada, &popular).await), (409, "subscribers_full".to_owned()));
    let shown = one(&app, &popular).await;
    assert_eq!(
        (shown["subscriberCount"].as_u64(), shown["subscribers"].as_array().map(Vec::len)),
        (Some(6_000), Some(1_000))
    );
    app.stop().await;
}
