//! The audit trail, as those see it whose records it is about.

use chrono::TimeDelta;
use engine::UserId;
use persistence::{AuditParty, Dynamo, EmbeddedDynamo, TableNames, Where};
use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use web::config::{Config, Place, Secret, StoreConfig};

use crate::eventually::eventually;
use crate::harness::{DEADLINE, Reply, TestApp, TestUser, config, told};

const TUESDAY: &str = "2026-11-24";

async fn trail(app: &TestApp, owner: &TestUser) -> Vec<Value> {
    let (status, body) = app.as_user(owner).post("/audit/mine", json!({})).await;
    assert_eq!(status, 200, "{body}");
    assert_eq!(body.get("next_cursor"), None);
    body["entries"].as_array().unwrap().clone()
}

fn actions(entries: &[Value]) -> Vec<String> {
    let text = |entry: &Value, field: &str| entry[field].as_str().unwrap().to_owned();
    entries.iter().map(|entry| format!("{} {}", text(entry, "actor"), text(entry, "action"))).collect()
}

#[actix_web::test]
async fn a_patient_sees_who_took_gave_back_and_looked_at_its_seats() {
    let app = TestApp::start().await;
    let (ada, bob, asha) = (app.user("ada").await, app.user("bob").await, app.doctor("asha").await);
    let tick = || app.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(app.as_user(&ada).book(&asha, TUESDAY, "10:00").await.0, 200);
    tick();
    assert_eq!(app.as_user(&ada).book(&asha, TUESDAY, "10:30").await.0, 200);
    tick();
    assert_eq!(app.as_user(&ada).cancel(&asha, TUESDAY, "10:00").await.0, 200);
    tick();
    assert_eq!(app.as_user(&ada).bookings().await.0, 200);
    tick();
    assert_eq!(app.as_user(&asha).fetch_bookings("doctor", 7).await.0, 200);
    tick();
    let body = json!({"doctor_id": asha.email, "user_id": ada.email, "date": TUESDAY, "start": "10:30"});
    assert_eq!(app.as_user(&asha).post("/doctorBookings/cancel", body).await.0, 200);

    let entries = trail(&app, &ada).await;
    assert_eq!(
        actions(&entries),
        [
            "asha@clinic.example booking_cancelled",
            "asha@clinic.example bookings_read",
            "ada@example.com bookings_read",
            "ada@example.com booking_cancelled",
            "ada@example.com booking_made",
            "ada@example.com booking_made",
        ]
    );
    let mut last = entries[0].clone();
    let request_id = last.as_object_mut().unwrap().remove("request_id").unwrap();
    assert_eq!(request_id.as_str().map(str::len), Some(32));
    assert_eq!(
        last,
        json!({
            "at": "2026-11-23T04:30:00.005Z", "actor": asha.email, "actor_type": "doctor",
            "action": "booking_cancelled", "outcome": "done",
            "subject": {"doctor_id": asha.email, "date": TUESDAY, "start": "10:30"},
        })
    );
    assert_eq!(entries[1]["subject"], json!({}));
    assert_eq!(trail(&app, &bob).await, Vec::<Value>::new(), "another patient");
    assert_eq!(trail(&app, &asha).await, Vec::<Value>::new(), "a booking is its patient's record");
    app.stop().await;
}

#[actix_web::test]
async fn a_user_and_a_doctor_of_one_address_do_not_see_each_others_trail() {
    let app = TestApp::start().await;
    let asha = app.doctor("asha").await;
    let body = json!({"username": "Asha", "email": asha.email, "password": crate::harness::PASSWORD,
        "phoneNumber": "12345"});
    assert_eq!(app.post("/auth/signupUser", None, &body).await.0, 200);
    let twin = app.log_in("/auth/loginUser", &asha.email).await;
    assert_eq!(app.as_user(&twin).book(&asha, TUESDAY, "10:00").await.0, 200);
    assert_eq!(actions(&trail(&app, &twin).await), ["asha@clinic.example booking_made"]);
    assert_eq!(trail(&app, &asha).await, Vec::<Value>::new());
    app.stop().await;
}

#[actix_web::test]
async fn a_repeat_under_an_idempotency_key_leaves_no_second_entry() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let user = app.as_user(&ada);
    let first = user.book_with_key(&asha, TUESDAY, "10:00", "k").await;
    assert_eq!(first.0, 200);
    for _ in 0..2 {
        app.clock.advance(TimeDelta::milliseconds(1));
        assert_eq!(user.book_with_key(&asha, TUESDAY, "10:00", "k").await, first);
    }
    assert_eq!(actions(&trail(&app, &ada).await), ["ada@example.com booking_made"]);
    // After a cancellation the same key books anew.
    app.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(user.cancel(&asha, TUESDAY, "10:00").await.0, 200);
    app.clock.advance(TimeDelta::milliseconds(1));
    assert_eq!(user.book_with_key(&asha, TUESDAY, "10:00", "k").await, first);
    let all =
        ["booking_made", "booking_cancelled", "booking_made"].map(|did| format!("ada@example.com {did}"));
    assert_eq!(actions(&trail(&app, &ada).await), all);
    app.stop().await;
}

#[actix_web::test]
async fn what_was_refused_leaves_no_entry() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let user = app.as_user(&ada);
    assert_eq!(told(user.book(&asha, TUESDAY, "09:00").await), (409, "slot_unavailable".to_owned()));
    assert_eq!(told(user.cancel(&asha, TUESDAY, "10:00").await), (404, "booking_not_found".to_owned()));
    assert_eq!(told(user.fetch_bookings("doctor", 7).await), (403, "forbidden".to_owned()));
    assert_eq!(trail(&app, &ada).await, Vec::<Value>::new());
    app.stop().await;
}

/// Sends a call and hangs up.
async fn hang_up(app: &TestApp, caller: &TestUser, path: &str, body: &Value) {
    let body = body.to_string();
    let request = format!(
        "POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nAuthorization: Bearer {}\r\n\
         Content-Length: {}\r\n\r\n{body}",
        caller.token,
        body.len()
    );
    let mut connection = TcpStream::connect(app.url.trim_start_matches("http://")).await.unwrap();
    connection.write_all(request.as_bytes()).await.unwrap();
}

#[actix_web::test]
async fn a_doctor_that_hangs_up_cannot_write_into_the_trail_of_a_patient() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    for n in 0..20 {
        // One that nobody has asked before is asked the longest.
        let doctor = app.doctor(&format!("doctor{n}")).await;
        let seat =
            json!({"doctor_id": doctor.email, "user_id": ada.email, "date": TUESDAY, "start": "10:00"});
        hang_up(&app, &doctor, "/doctorBookings/cancel", &seat).await;
        let refused = app.as_user(&doctor).post("/doctorBookings/cancel", seat).await;
        assert_eq!(told(refused), (404, "booking_not_found".to_owned()));
    }
    assert_eq!(trail(&app, &ada).await, Vec::<Value>::new());
    app.stop().await;
}

#[actix_web::test]
async fn a_patient_that_hangs_up_hides_no_deletion() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let user = app.as_user(&ada);
    for n in 0..20 {
        let name = format!("{n}.png");
        assert_eq!(user.post("/medilocker/upload", upload(&ada, &[&name])).await.0, 200);
        let file = json!({"email": ada.email, "filename": name});
        hang_up(&app, &ada, "/medilocker/delete", &file).await;
        // Whichever of the two is first.
        assert!([200, 404].contains(&user.post("/medilocker/delete", file).await.0));
    }
    let mut deleted = Vec::new();
    let all_are_deleted = async || {
        deleted = trail(&app, &ada).await;
        deleted.retain(|entry| entry["action"] == "file_deleted");
        deleted.len() == 20
    };
    eventually(DEADLINE, "each deletion is in the trail", all_are_deleted).await;
    for entry in deleted {
        assert_eq!(entry["outcome"], "done", "{entry}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn a_client_that_asks_again_and_again_leaves_one_entry_an_hour_for_each_patient() {
    let app = TestApp::start().await;
    let (ada, bob, asha) = (app.user("ada").await, app.user("bob").await, app.doctor("asha").await);
    for user in [&ada, &bob] {
        for start in ["10:00", "10:30"] {
            assert_eq!(app.as_user(user).book(&asha, TUESDAY, start).await.0, 200);
        }
    }
    let reads = async |owner: &TestUser| {
        let entries = trail(&app, owner).await;
        entries.iter().filter(|entry| entry["action"] == "bookings_read").count()
    };
    for _ in 0..5 {
        assert_eq!(app.as_user(&asha).fetch_bookings("doctor", 7).await.0, 200);
        assert_eq!(app.as_user(&ada).bookings().await.0, 200);
    }
    assert_eq!((reads(&ada).await, reads(&bob).await), (2, 1), "the doctor, and ada herself");
    app.clock.advance(TimeDelta::hours(1));
    assert_eq!(app.as_user(&asha).fetch_bookings("doctor", 7).await.0, 200);
    assert_eq!((reads(&ada).await, reads(&bob).await), (3, 2));
    app.stop().await;
}

fn upload(user: &TestUser, names: &[&str]) -> Value {
    let file = |name: &&str| json!({"filename": name, "content": "aGVsbG8=", "metadata": {}});
    json!({"email": user.email, "files": names.iter().map(file).collect::<Vec<_>>()})
}

#[actix_web::test]
async fn an_owner_of_files_and_chats_sees_who_touched_them() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let user = app.as_user(&ada);
    let file = json!({"email": ada.email, "filename": "scan.png"});
    let gone = json!({"email": ada.email, "filename": "gone.png"});
    for (path, body, status) in [
        ("/medilocker/upload", upload(&ada, &["scan.png", "note.txt"]), 200),
        ("/medilocker/upload", upload(&ada, &["new.txt", "scan.png"]), 409),
        ("/medilocker/fetch", json!({"email": ada.email}), 200),
        ("/medilocker/download", file.clone(), 200),
        ("/medilocker/download", gone.clone(), 404),
        ("/medilocker/delete", file, 200),
        ("/medilocker/delete", gone, 404),
    ] {
        app.clock.advance(TimeDelta::milliseconds(1));
        assert_eq!(user.post(path, body).await.0, status, "{path}");
    }
    app.clock.advance(TimeDelta::milliseconds(1));
    let history = app.request(Method::GET, &format!("/chat/history/{}", ada.email)).bearer_auth(&ada.token);
    assert_eq!(Reply::of(history).await.status, 200);

    let entries = trail(&app, &ada).await;
    let mut told: Vec<_> = entries.iter().map(|entry| (&entry["action"], &entry["subject"])).collect();
    // The two files of one upload have one time.
    told[4..].sort_by_key(|(_, subject)| subject.to_string());
    let scan = json!({"filename": "scan.png"});
    let note = json!({"filename": "note.txt"});
    assert_eq!(
        told,
        [
            (&json!("chat_read"), &json!({})),
            (&json!("file_deleted"), &scan),
            (&json!("file_downloaded"), &scan),
            (&json!("files_listed"), &json!({})),
            (&json!("file_uploaded"), &note),
            (&json!("file_uploaded"), &scan),
        ]
    );
    app.stop().await;
}

#[actix_web::test]
async fn without_an_entry_there_is_no_access_and_what_was_changed_is_told_as_soon_as_it_can_be() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let user = app.as_user(&ada);
    assert_eq!(user.post("/medilocker/upload", upload(&ada, &["scan.png"])).await.0, 200);
    let table = &app.dynamo().tables().audit;
    app.dynamo().client().delete_table().table_name(table).send().await.unwrap();
    let file = json!({"email": ada.email, "filename": "scan.png"});
    for (path, body) in
        [("/medilocker/fetch", json!({"email": ada.email})), ("/medilocker/download", file.clone())]
    {
        let (status, body) = user.post(path, body).await;
        assert_eq!((status, body["code"].as_str()), (500, Some("internal")), "{path}: {body}");
        assert!(!body.to_string().contains("scan"), "{body}");
    }
    assert_eq!(told(user.post("/medilocker/delete", file).await), (503, "outcome_unknown".to_owned()));

    app.dynamo().create_missing_tables().await.unwrap();
    let deleted = async { actions(&trail(&app, &ada).await) };
    assert_eq!(deleted.await, ["ada@example.com file_deleted"]);
    app.stop().await;
}

#[actix_web::test]
async fn a_long_trail_is_read_page_by_page() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    for start in ["10:00", "10:30", "11:00", "11:30", "12:00"] {
        app.clock.advance(TimeDelta::milliseconds(1));
        assert_eq!(app.as_user(&ada).book(&asha, TUESDAY, start).await.0, 200);
    }
    let (mut body, mut starts) = (json!({"limit": 2}), Vec::new());
    loop {
        let (status, page) = app.as_user(&ada).post("/audit/mine", body).await;
        assert_eq!(status, 200, "{page}");
        let entries = page["entries"].as_array().unwrap();
        assert!((1..=2).contains(&entries.len()));
        starts.extend(entries.iter().map(|entry| entry["subject"]["start"].as_str().unwrap().to_owned()));
        let Some(cursor) = page.get("next_cursor") else { break };
        body = json!({"limit": 2, "cursor": cursor});
    }
    assert_eq!(starts, ["12:00", "11:30", "11:00", "10:30", "10:00"]);
    app.stop().await;
}

#[actix_web::test]
async fn a_page_is_refused_in_the_order_of_all_refusals() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let user = app.as_user(&ada);
    for body in [
        json!([]),
        json!({"limit": 0}),
        json!({"limit": 201}),
        json!({"limit": 1.5}),
        json!({"limit": "5"}),
        json!({"limit": -1}),
        json!({"limit": 18_446_744_073_709_551_616_f64}),
        json!({"cursor": ""}),
        json!({"cursor": 7}),
        json!({"cursor": "2026-11-23T04:30:00.000Z#"}),
        json!({"cursor": "user#bob@example.com"}),
    ] {
        assert_eq!(
            told(user.post("/audit/mine", body.clone()).await),
            (422, "invalid_value".to_owned()),
            "{body}"
        );
    }
    assert_eq!(user.post("/audit/mine", json!({"limit": 200, "cursor": null})).await.0, 200);
    let post = |token, content_type| app.post_raw("/audit/mine", token, content_type, b"{".to_vec());
    post(None, "text/plain").await.assert_problem(401, "unauthenticated");
    post(Some(ada.token.as_str()), "text/plain").await.assert_problem(415, "unsupported_media_type");
    post(Some(ada.token.as_str()), "application/json").await.assert_problem(400, "invalid_json");
    app.stop().await;
}

#[actix_web::test]
async fn a_program_that_stops_leaves_every_entry_written() {
    let server = EmbeddedDynamo::start(Where::Memory).unwrap();
    let mut settings: Config = config();
    settings.auth.secret = Secret::new(vec![7; 32]).map(Into::into);
    let place = Place::Named(server.endpoint());
    settings.store = StoreConfig { place, ..settings.store };
    let app = TestApp::start_with(settings).await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let starts = ["10:00", "10:30", "11:00", "11:30", "12:00", "12:30"];
    for start in starts {
        assert_eq!(app.as_user(&ada).book(&asha, TUESDAY, start).await.0, 200);
    }
    app.stop().await;
    let store = Dynamo::connect(server.endpoint(), TableNames::default()).await.unwrap();
    let ada = AuditParty::User(UserId::parse(&ada.email).unwrap());
    assert_eq!(store.audit().page(&ada, None, 200).await.unwrap().rows.len(), starts.len());
    server.stop();
}
