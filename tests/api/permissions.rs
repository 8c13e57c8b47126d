//! Who may do what: every route, every kind of caller.

use chrono::TimeDelta;
use reqwest::Method;
use serde_json::{Value, json};

use crate::harness::{PASSWORD, Reply, TestApp, TestUser, told};

/// What a caller may expect: to be listened to, 401 or 403.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    Heard,
    Unknown,
    Forbidden,
}

use Expected::{Forbidden, Heard, Unknown};

/// The calls are about these two; others try to make them too.
struct Cast {
    ada: TestUser,
    bob: TestUser,
    asha: TestUser,
    ben: TestUser,
    expired: TestUser,
}

impl Cast {
    async fn gather(app: &TestApp) -> Self {
        let ada = app.user("ada").await;
        let expired = ada.clone();
        app.clock.advance(TimeDelta::hours(12));
        Self {
            ada: app.log_in("/auth/loginUser", &ada.email).await,
            bob: app.user("bob").await,
            asha: app.doctor("asha").await,
            ben: app.doctor("ben").await,
            expired,
        }
    }

    /// none, expired, garbage, user, other user, doctor, other doctor
    fn tokens(&self) -> [Option<&str>; 7] {
        let Self { ada, bob, asha, ben, expired } = self;
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
const THAT_USER: [Expected; 7] = [Unknown, Unknown, Unknown, Heard, Forbidden, Forbidden, Forbidden];
const THAT_DOCTOR: [Expected; 7] = [Unknown, Unknown, Unknown, Forbidden, Forbidden, Heard, Forbidden];
const WITH_ACCOUNT: [Expected; 7] = [Unknown, Unknown, Unknown, Heard, Heard, Heard, Heard];
const EITHER: [Expected; 7] = [Unknown, Unknown, Unknown, Heard, Forbidden, Heard, Forbidden];

fn routes(Cast { ada, asha, .. }: &Cast) -> Vec<(&'static str, Value, [Expected; 7])> {
    let seat = json!({"doctor_id": asha.email, "user_id": ada.email, "date": "2026-11-24", "start": "10:00"});
    let slot = json!({"start": "10:00", "end": "10:30"});
    let file = json!({"filename": "a.txt", "content": "YQ==", "metadata": {}});
    let one_file = json!({"email": ada.email, "filename": "a.txt"});
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
        ("/medilocker/upload", json!({"email": ada.email, "files": [file]}), THAT_USER),
        ("/medilocker/fetch", json!({"email": ada.email}), THAT_USER),
        ("/medilocker/download", one_file.clone(), THAT_USER),
        ("/medilocker/delete", one_file, THAT_USER),
        ("/audit/mine", json!({}), WITH_ACCOUNT),
    ]
}

#[actix_web::test]
async fn every_route_listens_to_whom_it_may_and_to_nobody_else() {
    let app = TestApp::start().await;
    let cast = Cast::gather(&app).await;
    for (path, body, expected) in routes(&cast) {
        for (n, (token, expected)) in cast.tokens().into_iter().zip(expected).enumerate() {
            let (status, answer) = app.post(path, token, &body).await;
            let heard = match status {
                401 => Unknown,
                403 => Forbidden,
                200 | 404 | 409 => Heard,
                _ => panic!("{path} as caller {n}: {answer}"),
            };
            assert_eq!(heard, expected, "{path} as caller {n}: {answer}");
        }
    }
    for path in ["/healthz", "/readyz"] {
        for token in cast.tokens() {
            let request = app.request(Method::GET, path).bearer_auth(token.unwrap_or_default());
            assert_eq!(Reply::of(request).await.status, 200, "{path}");
        }
    }
    app.stop().await;
}

#[actix_web::test]
async fn who_may_not_is_told_so_before_anything_is_wrong_with_what_it_says() {
    let app = TestApp::start().await;
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
    assert_eq!(told(bob.post("/doctorsService/setSlots", json!({})).await), forbidden, "a user");
    assert_eq!(told(ben.post("/doctorBookings/book", json!({})).await), forbidden, "a doctor");
    app.stop().await;
}

#[actix_web::test]
async fn what_is_no_json_is_told_so_only_to_those_who_are_known() {
    let app = TestApp::start().await;
    let bob = app.user("bob").await;
    for path in ["/doctorBookings/book", "/doctorsService/setSlots"] {
        let post = |token, content_type| app.post_raw(path, token, content_type, b"{".to_vec());
        post(None, "text/plain").await.assert_problem(401, "unauthenticated");
        post(Some(bob.token.as_str()), "text/plain").await.assert_problem(415, "unsupported_media_type");
        post(Some(bob.token.as_str()), "application/json").await.assert_problem(400, "invalid_json");
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
