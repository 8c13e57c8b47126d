//! Who may do what: every route, every kind of caller.

use std::collections::BTreeSet;

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};
use web::config::{AssistantConfig, Config};

use crate::chat::{VISITOR, with};
use crate::harness::{PASSWORD, Reply, TestApp, TestUser, told};
use crate::ollama::Ollama;
use crate::payments::link;
use crate::platform::assert_all_paths;
use crate::razorpay::{Razorpay, WEBHOOK_SECRET, signature};

/// What a caller may expect: to be listened to, 401, 403, or to hear that there is no such payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Heard,
    Unknown,
    Forbidden,
    Hidden,
}

use Expected::{Forbidden, Heard, Hidden, Unknown};

/// The calls are about ada and asha; others try to make them too.
struct Cast {
    ada: TestUser,
    bob: TestUser,
    asha: TestUser,
    ben: TestUser,
    expired: TestUser,
    /// What ada has been asked to pay.
    plink: String,
}

impl Cast {
    async fn gather(app: &TestApp) -> Self {
        let ada = app.user("ada").await;
        let expired = ada.clone();
        app.clock.advance(TimeDelta::hours(12));
        let ada = app.log_in("/auth/loginUser", &ada.email).await;
        Self {
            plink: link(app, &ada).await,
            ada,
            bob: app.user("bob").await,
            asha: app.doctor("asha").await,
            ben: app.doctor("ben").await,
            expired,
        }
    }

    /// none, expired, garbage, user, other user, doctor, other doctor
    fn tokens(&self) -> [Option<&str>; 7] {
        let Self { ada, bob, asha, ben, expired, plink: _ } = self;
        [
            None,
            Some(&expired.token),
            Some("garbage"),
            Some(&ada.token),
            Some(&bob.token),
            Some(&asha.token),
            Some(&ben.token),
        ]
    }
}

const ANYBODY: [Expected; 7] = [Heard; 7];
/// For whoever signs what it says, whatever token it has.
const SIGNATORY: [Expected; 7] = [Unknown; 7];
/// Not on the address that the public reaches.
const NOBODY: [Expected; 7] = [Forbidden; 7];
const THAT_USER: [Expected; 7] = [Unknown, Unknown, Unknown, Heard, Forbidden, Forbidden, Forbidden];
const THAT_DOCTOR: [Expected; 7] = [Unknown, Unknown, Unknown, Forbidden, Forbidden, Heard, Forbidden];
const WITH_ACCOUNT: [Expected; 7] = [Unknown, Unknown, Unknown, Heard, Heard, Heard, Heard];
const THAT_PAYER: [Expected; 7] = [Unknown, Unknown, Unknown, Heard, Hidden, Hidden, Hidden];
/// Without a token one is a visitor, whoever one says one is.
const THAT_USER_OR_VISITOR: [Expected; 7] = [Heard, Unknown, Unknown, Heard, Forbidden, Forbidden, Forbidden];
const THAT_DOCTOR_OR_VISITOR: [Expected; 7] =
    [Heard, Unknown, Unknown, Forbidden, Forbidden, Heard, Forbidden];
const EITHER: [Expected; 7] = [Unknown, Unknown, Unknown, Heard, Forbidden, Heard, Forbidden];

type Row = (&'static str, Value, [Expected; 7]);

fn of_accounts(Cast { ada, asha, .. }: &Cast) -> Vec<Row> {
    let newcomer = json!({"username": "N", "doctorname": "N", "email": "n@example.com", "password": PASSWORD,
        "phoneNumber": "12345"});
    let user = json!({"email": ada.email, "password": PASSWORD});
    let doctor = json!({"email": asha.email, "password": PASSWORD});
    vec![
        ("/auth/signupUser", newcomer.clone(), ANYBODY),
        ("/auth/user/signup", newcomer.clone(), ANYBODY),
        ("/auth/signupDoctor", newcomer.clone(), ANYBODY),
        ("/auth/doctor/signup", newcomer, ANYBODY),
        ("/auth/loginUser", user.clone(), ANYBODY),
        ("/auth/user/login", user, ANYBODY),
        ("/auth/loginDoctor", doctor.clone(), ANYBODY),
        ("/auth/doctor/login", doctor, ANYBODY),
        ("/auth/logout", json!({}), ANYBODY),
        ("/audit/mine", json!({}), WITH_ACCOUNT),
    ]
}

fn of_doctors_and_seats(Cast { ada, asha, .. }: &Cast) -> Vec<Row> {
    let seat = json!({"doctor_id": asha.email, "user_id": ada.email, "date": "2026-11-24", "start": "10:00"});
    let slot = json!({"start": "10:00", "end": "10:30"});
    vec![
        ("/doctorsService/completeProfile", json!({"email": asha.email, "fees": 500}), THAT_DOCTOR),
        ("/doctorsService/updateProfile", json!({"email": asha.email}), THAT_DOCTOR),
        ("/doctorsService/fetchDoctors", json!({}), ANYBODY),
        (
            "/doctorsService/subscribe",
            json!({"user_email": ada.email, "doctor_email": asha.email}),
            THAT_USER,
        ),
        (
            "/doctorsService/setSlots",
            json!({"doctor_id": asha.email, "day": "Monday", "slots": [slot]}),
            THAT_DOCTOR,
        ),
        (
            "/doctorsService/updateSlot",
            json!({"doctor_id": asha.email, "day": "Monday", "slot": slot}),
            THAT_DOCTOR,
        ),
        ("/doctorBookings/book", seat.clone(), THAT_USER),
        ("/doctorBookings/available", json!({"doctor_id": asha.email, "date": "2026-11-24"}), ANYBODY),
        ("/doctorBookings/user", json!({"user_id": ada.email}), THAT_USER),
        ("/doctorBookings/fetchBookings", json!({"id": ada.email, "type": "user", "days": 7}), THAT_USER),
        (
            "/doctorBookings/fetchBookings",
            json!({"id": asha.email, "type": "doctor", "days": 7}),
            THAT_DOCTOR,
        ),
        ("/doctorBookings/cancel", seat, EITHER),
    ]
}

fn of_files_chats_and_payments(Cast { ada, asha, plink, .. }: &Cast) -> Vec<Row> {
    let file = json!({"filename": "a.txt", "content": "YQ==", "metadata": {}});
    let one_file = json!({"email": ada.email, "filename": "a.txt"});
    vec![
        ("/medilocker/upload", json!({"email": ada.email, "files": [file]}), THAT_USER),
        ("/medilocker/fetch", json!({"email": ada.email}), THAT_USER),
        ("/medilocker/download", one_file.clone(), THAT_USER),
        ("/medilocker/delete", one_file, THAT_USER),
        ("/chat", json!({"user_id": ada.email, "message": "?"}), THAT_USER_OR_VISITOR),
        ("/chat", json!({"user_id": asha.email, "message": "?"}), THAT_DOCTOR_OR_VISITOR),
        ("/chat", json!({"user_id": VISITOR, "message": "?"}), ANYBODY),
        ("/process-payment", json!({"amount": 500}), WITH_ACCOUNT),
        ("/process-payment", json!({"payment_id": plink}), THAT_PAYER),
        (WEBHOOK, json!({"event": "payment.captured"}), SIGNATORY),
        ("/cluster/drain", json!({}), NOBODY),
    ]
}

const WEBHOOK: &str = "/payment/webhook";

/// What is only read; the address in a path is ada's.
const READ: [(&str, [Expected; 7]); 8] = [
    ("/chat/history/{user_id}", THAT_USER),
    ("/healthz", ANYBODY),
    ("/readyz", ANYBODY),
    ("/metrics", ANYBODY),
    ("/cluster", ANYBODY),
    ("/openapi.json", ANYBODY),
    ("/docs", ANYBODY),
    ("/docs/{file}", ANYBODY),
];

/// What an answer says about whether the caller may ask.
fn heard(Reply { status, body, .. }: &Reply) -> Option<Expected> {
    match status {
        401 => Some(Unknown),
        403 => Some(Forbidden),
        404 if body["code"] == "payment_not_found" => Some(Hidden),
        200 | 404 | 409 => Some(Heard),
        _ => None,
    }
}

/// An application whose assistant and payments work.
async fn whole_platform() -> TestApp {
    let (mut ollama, razorpay) = (Ollama::start().await, Razorpay::start().await);
    let config = Config { payments: razorpay.config(), ..with(&ollama, AssistantConfig::default()) };
    actix_web::rt::spawn(async move {
        loop {
            let mut call = ollama.call_if_any().await;
            call.begin().await;
            call.say("ok").await;
            call.done().await;
        }
    });
    TestApp::start_with(config).await
}

#[actix_web::test]
async fn every_route_listens_to_whom_it_may_and_to_nobody_else() {
    let app = whole_platform().await;
    let cast = Cast::gather(&app).await;
    let mut asked = BTreeSet::new();
    let tables = [of_accounts(&cast), of_doctors_and_seats(&cast), of_files_chats_and_payments(&cast)];
    let posted = tables.into_iter().flatten().map(|(path, body, expected)| (path, Some(body), expected));
    for (path, body, expected) in posted.chain(READ.map(|(path, expected)| (path, None, expected))) {
        asked.insert(path.to_owned());
        let url = path.replace("{user_id}", &cast.ada.email).replace("{file}", "");
        for (n, (token, expected)) in cast.tokens().into_iter().zip(expected).enumerate() {
            let request = match &body {
                Some(body) => app.request(Method::POST, &url).json(body),
                None => app.request(Method::GET, &url),
            };
            let reply = Reply::of(match token {
                Some(token) => request.bearer_auth(token),
                None => request,
            })
            .await;
            assert_eq!(heard(&reply), Some(expected), "{path} as caller {n}: {}", reply.body);
        }
    }
    assert_all_paths(&app, &asked).await;
    app.stop().await;
}

#[actix_web::test]
async fn a_signature_is_heard_whoever_brings_it() {
    let app = whole_platform().await;
    let event = json!({"event": "payment.captured"}).to_string();
    let signed = signature(WEBHOOK_SECRET, event.as_bytes());
    for token in Cast::gather(&app).await.tokens() {
        let request = app.request(Method::POST, WEBHOOK).header("Content-Type", "application/json");
        let request = request.header("X-Razorpay-Signature", &signed).body(event.clone());
        let request = request.bearer_auth(token.unwrap_or_default());
        assert_eq!(Reply::of(request).await.status, 200);
    }
    app.stop().await;
}

#[actix_web::test]
async fn who_may_not_is_told_so_before_anything_is_wrong_with_what_it_says() {
    let app = whole_platform().await;
    let cast = Cast::gather(&app).await;
    let (bob, ben) = (app.as_user(&cast.bob), app.as_user(&cast.ben));
    let forbidden = (403, "forbidden".to_owned());
    let about =
        |field: &str, who: &TestUser| json!({field: who.email, "date": "2026-13-45", "day": 7, "start": []});
    assert_eq!(told(bob.post("/doctorBookings/book", about("user_id", &cast.ada)).await), forbidden);
    assert_eq!(told(bob.post("/doctorBookings/cancel", about("user_id", &cast.ada)).await), forbidden);
    assert_eq!(told(bob.post("/doctorBookings/user", about("user_id", &cast.ada)).await), forbidden);
    assert_eq!(told(bob.post("/doctorBookings/fetchBookings", about("id", &cast.ada)).await), forbidden);
    assert_eq!(told(ben.post("/doctorBookings/cancel", about("doctor_id", &cast.asha)).await), forbidden);
    assert_eq!(told(ben.post("/doctorsService/setSlots", about("doctor_id", &cast.asha)).await), forbidden);
    assert_eq!(told(ben.post("/doctorsService/updateSlot", about("doctor_id", &cast.asha)).await), forbidden);
    for path in ["/doctorsService/completeProfile", "/doctorsService/updateProfile"] {
        let wrong = json!({"email": cast.asha.email, "fees": "much"});
        assert_eq!(told(ben.post(path, wrong).await), forbidden, "{path}");
    }
    let wrong = json!({"user_email": cast.ada.email, "doctor_email": 7});
    assert_eq!(told(bob.post("/doctorsService/subscribe", wrong).await), forbidden);
    for call in ["upload", "fetch", "download", "delete"] {
        let wrong = json!({"email": cast.ada.email, "filename": "../x", "files": 7});
        assert_eq!(told(bob.post(&format!("/medilocker/{call}"), wrong).await), forbidden, "{call}");
    }
    let wrong = json!({"user_id": cast.ada.email, "message": " ", "language": "fr"});
    assert_eq!(told(bob.post("/chat", wrong).await), forbidden);
    assert_eq!(told(bob.post("/doctorsService/setSlots", json!({})).await), forbidden, "a user");
    assert_eq!(told(ben.post("/doctorBookings/book", json!({})).await), forbidden, "a doctor");
    app.stop().await;
}

#[actix_web::test]
async fn what_is_no_json_is_told_so_only_to_those_who_are_known() {
    let app = TestApp::start().await;
    let (bob, asha) = (app.user("bob").await, app.doctor_without_slots("asha").await);
    for (path, caller) in [
        ("/doctorBookings/book", &bob),
        ("/doctorsService/setSlots", &bob),
        // A patient's body is not looked at.
        ("/doctorsService/completeProfile", &asha),
        ("/doctorsService/subscribe", &bob),
        ("/medilocker/upload", &bob),
        ("/medilocker/fetch", &bob),
        ("/process-payment", &bob),
        ("/audit/mine", &bob),
    ] {
        let post = |token, content_type| app.post_raw(path, token, content_type, b"{".to_vec());
        post(None, "text/plain").await.assert_problem(401, "unauthenticated");
        post(Some(caller.token.as_str()), "text/plain").await.assert_problem(415, "unsupported_media_type");
        post(Some(caller.token.as_str()), "application/json").await.assert_problem(400, "invalid_json");
    }
    app.stop().await;
}

#[actix_web::test]
async fn a_user_with_a_doctors_address_is_no_doctor() {
    let app = TestApp::start().await;
    let asha = app.doctor("asha").await;
    let body = json!({"username": "Asha", "email": asha.email, "password": PASSWORD, "phoneNumber": "12345"});
    assert_eq!(app.post("/auth/signupUser", None, &body).await.0, 200);
    let twin = app.log_in("/auth/loginUser", &asha.email).await;
    let twin = app.as_user(&twin);
    let forbidden = (403, "forbidden".to_owned());
    assert_eq!(told(twin.set_slots("Monday", &[]).await), forbidden);
    assert_eq!(told(twin.fetch_bookings("doctor", 7).await), forbidden);
    assert_eq!(twin.fetch_bookings("user", 7).await.0, 200);
    app.stop().await;
}

#[actix_web::test]
async fn a_caller_may_spell_its_own_address_in_any_case_that_leads_to_it() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let body = json!({"user_id": "ADA@example.com", "doctor_id": "Asha@Clinic.example", "date": "2026-11-24",
        "start": "10:00"});
    let (status, answer) = app.as_user(&ada).post("/doctorBookings/book", body.clone()).await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(answer["booking"]["PK"], "asha@clinic.example#2026-11-24");
    assert_eq!(answer["booking"]["SK"], "10:00#ada@example.com");
    assert_eq!(app.as_user(&asha).post("/doctorBookings/cancel", body).await.0, 200);
    app.stop().await;
}
