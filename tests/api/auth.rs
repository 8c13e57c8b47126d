//! Signing up, logging in and out.

use std::time::Duration;

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use futures::future::join_all;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop, prop_oneof, proptest};
use reqwest::Method;
use reqwest::header::HeaderValue;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::harness::{PASSWORD, Reply, TestApp, config, told};

fn newcomer(name_field: &str, email: &str) -> Value {
    json!({name_field: "Ada", "email": email, "password": PASSWORD, "phoneNumber": "98765", "platform": "web"})
}

fn credentials(email: &str, password: &str) -> Value {
    json!({"email": email, "password": password})
}

/// A row of `Users` as the old platform wrote it.
async fn old_account(app: &TestApp, email: &str, password: &str) {
    let hash = bcrypt::hash(password, 4).unwrap();
    let put = app.dynamo().client().put_item().table_name(&app.dynamo().tables().users);
    let put = [("email", email), ("username", "Old Ada"), ("password", &hash), ("phoneNumber", "1234")]
        .iter()
        .fold(put, |put, (name, value)| put.item(*name, AttributeValue::S((*value).to_owned())));
    put.item("location", AttributeValue::Null(true)).send().await.unwrap();
}

async fn stored_hash(app: &TestApp, email: &str) -> String {
    let get = app.dynamo().client().get_item().table_name(&app.dynamo().tables().users);
    let row = get.key("email", AttributeValue::S(email.to_owned())).send().await.unwrap().item.unwrap();
    row["password"].as_s().unwrap().clone()
}

#[actix_web::test]
async fn a_newcomer_is_welcomed_as_the_contract_says_under_either_path() {
    let app = TestApp::start().await;
    for (n, path) in ["/auth/signupUser", "/auth/user/signup"].into_iter().enumerate() {
        let email = format!("ada{n}@example.com");
        let (status, body) = app.post(path, None, &newcomer("username", &email)).await;
        let user = json!({"name": "Ada", "email": email});
        assert_eq!((status, body), (200, json!({"message": "User registered successfully", "user": user})));
    }
    for (n, path) in ["/auth/signupDoctor", "/auth/doctor/signup"].into_iter().enumerate() {
        let email = format!("ada{n}@example.com");
        let (status, body) = app.post(path, None, &newcomer("doctorname", &email)).await;
        let doctor = json!({"name": "Ada", "email": email});
        let message = "Doctor registered. Please complete profile setup.";
        assert_eq!((status, body), (200, json!({"message": message, "doctor": doctor})));
    }
    assert!(stored_hash(&app, "ada0@example.com").await.starts_with("$argon2id$"));
    app.stop().await;
}

#[actix_web::test]
async fn a_taken_address_is_refused_in_either_spelling() {
    let app = TestApp::start().await;
    app.user("ada").await;
    old_account(&app, "Old@Example.com", "pw").await;
    for email in ["ada@example.com", "ADA@example.com", "Old@Example.com"] {
        let (status, body) = app.post("/auth/signupUser", None, &newcomer("username", email)).await;
        assert_eq!(
            (status, &body["code"], &body["detail"]),
            (409, &json!("email_taken"), &json!("Email already exists"))
        );
    }
    app.doctor_without_slots("asha").await;
    let body = newcomer("doctorname", "Asha@clinic.example");
    let (status, body) = app.post("/auth/signupDoctor", None, &body).await;
    assert_eq!((status, &body["detail"]), (409, &json!("Email already registered")));
    app.stop().await;
}

#[actix_web::test]
async fn of_fifty_who_sign_up_for_one_address_at_once_one_wins() {
    let app = TestApp::start().await;
    for (path, name_field) in [("/auth/signupUser", "username"), ("/auth/signupDoctor", "doctorname")] {
        let race = (0..50).map(|n| {
            let mut body = newcomer(name_field, "ada@example.com");
            body["password"] = json!(format!("password-{n}"));
            let app = &app;
            async move { app.post(path, None, &body).await.0 }
        });
        let mut statuses = join_all(race).await;
        statuses.sort_unstable();
        assert_eq!((statuses[0], &statuses[1..]), (200, &[409; 49][..]), "{path}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn whoever_logs_in_gets_a_token_and_a_cookie_that_say_the_same() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    for (path, email, person) in [
        ("/auth/loginUser", &ada.email, "user"),
        ("/auth/user/login", &ada.email, "user"),
        ("/auth/loginDoctor", &asha.email, "doctor"),
        ("/auth/doctor/login", &asha.email, "doctor"),
    ] {
        let request = app.request(Method::POST, path).json(&credentials(email, PASSWORD));
        let reply = Reply::of(request).await;
        assert_eq!(reply.status, 200, "{}", reply.body);
        assert_eq!(
            (&reply.body["token_type"], &reply.body["expires_in"]),
            (&json!("bearer"), &json!(43_200))
        );
        assert_eq!(reply.body[person]["email"].as_str(), Some(email.as_str()));
        let token = reply.body["access_token"].as_str().unwrap();
        let cookie = format!("kokoro_session={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200");
        assert_eq!(reply.header("set-cookie"), cookie);
    }
    app.stop().await;
}

#[actix_web::test]
async fn the_cookie_alone_carries_a_session_until_logging_out_clears_it() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let browser = reqwest::Client::builder().cookie_store(true).build().unwrap();
    let post = |path: &str, body: Value| Reply::of(browser.post(format!("{}{path}", app.url)).json(&body));
    let mine = json!({"user_id": ada.email});
    assert_eq!(post("/doctorBookings/user", mine.clone()).await.status, 401);
    assert_eq!(post("/auth/loginUser", credentials(&ada.email, PASSWORD)).await.status, 200);
    assert_eq!(post("/doctorBookings/user", mine.clone()).await.status, 200);
    let reply = post("/auth/logout", json!({})).await;
    assert_eq!((reply.status, &reply.body), (200, &json!({"message": "Logged out"})));
    assert_eq!(post("/doctorBookings/user", mine).await.status, 401);
    app.stop().await;
}

#[actix_web::test]
async fn logging_out_needs_neither_a_session_nor_a_body() {
    let app = TestApp::start().await;
    for content_type in ["application/json", "text/plain"] {
        assert_eq!(app.post_raw("/auth/logout", Some("garbage"), content_type, Vec::new()).await.status, 200);
    }
    app.post_raw("/auth/logout", None, "application/json", b"{".to_vec())
        .await
        .assert_problem(400, "invalid_json");
    app.stop().await;
}

#[actix_web::test]
async fn a_bearer_wins_over_the_cookie_even_a_bad_one() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let ask = |bearer: Option<&str>, cookie: &str| {
        let request = app.request(Method::POST, "/doctorBookings/user").json(&json!({"user_id": ada.email}));
        let request = request.header("Cookie", format!("other=1; kokoro_session={cookie}"));
        match bearer {
            Some(authorization) => Reply::of(request.header("Authorization", authorization)),
            None => Reply::of(request),
        }
    };
    let good = format!("Bearer {}", ada.token);
    assert_eq!(ask(None, &ada.token).await.status, 200);
    assert_eq!(ask(Some(&good), "garbage").await.status, 200);
    assert_eq!(ask(Some(&good.replace("Bearer", "bearer")), &bob.token).await.status, 200);
    assert_eq!(ask(Some(&format!("Bearer {}", bob.token)), &ada.token).await.status, 403);
    ask(Some("Bearer garbage"), &ada.token).await.assert_problem(401, "unauthenticated");
    ask(Some("Bearer"), &ada.token).await.assert_problem(401, "unauthenticated");
    assert_eq!(ask(Some("Basic Zm9vOmJhcg=="), &ada.token).await.status, 200, "a proxy's own affair");
    app.stop().await;
}

#[actix_web::test]
async fn a_damaged_or_foreign_cookie_never_hides_the_session() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor_without_slots("asha").await);
    let good = format!("kokoro_session={}", ada.token).into_bytes();
    let asks = async |headers: &[Vec<u8>]| {
        let mut request =
            app.request(Method::POST, "/doctorBookings/user").json(&json!({"user_id": ada.email}));
        for header in headers {
            request = request.header("Cookie", HeaderValue::from_bytes(header).unwrap());
        }
        Reply::of(request).await.status
    };
    let with = |before: &[u8], after: &[u8]| [before, &good, after].concat();
    let expired = format!("kokoro_session={}; ", &ada.token[..ada.token.len() - 2]);
    for header in [
        with(b"city=M\xfcnchen; ", b""),
        with(b"", b"; city=M\xfcnchen"),
        with(b"=;;; a; =b; \xff\xfe=\xff;", b";;"),
        with(b"kokoro_session=garbage; ", b""),
        with(b"kokoro_session=; ", b"; kokoro_session="),
        with(b"kokoro_session=\xff; ", b""),
        with(b"kokoro_session; ", b""),
        with(expired.as_bytes(), b""),
        with(b"quoted=\"a;b\"; ", b""),
        with(b"\t", b"\t"),
        with(b"a=1;", b";b=2"),
    ] {
        assert_eq!(asks(std::slice::from_ref(&header)).await, 200, "{}", header.escape_ascii());
    }
    assert_eq!(
        asks(&[b"a=\xff".to_vec(), good.clone()]).await,
        200,
        "two headers, as HTTP/2 proxies send them"
    );
    assert_eq!(asks(&[b"kokoro_session=garbage".to_vec(), good.clone()]).await, 200);
    let doctors = format!("kokoro_session={}; ", asha.token);
    assert_eq!(asks(&[with(doctors.as_bytes(), b"")]).await, 403, "the first valid one counts");
    assert_eq!(asks(&[with(b"", format!("; {doctors}").as_bytes())]).await, 200);
    for header in [&b"kokoro_session=garbage"[..], b"xkokoro_session=1", b"Kokoro_Session=1", b"\xff"] {
        assert_eq!(asks(&[header.to_vec()]).await, 401, "{}", header.escape_ascii());
    }
    let other_name = [b"x".as_slice(), &good].concat();
    assert_eq!(asks(&[other_name]).await, 401);
    app.stop().await;
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4, ..ProptestConfig::default() })]

    /// A header's value is any byte but the control characters, tab excepted.
    #[test]
    fn cookies_of_any_bytes_leave_the_session_alone(
        headers in prop::collection::vec((cookie_bytes(), cookie_bytes()), 64),
    ) {
        actix_web::rt::System::new().block_on(async {
            let app = TestApp::start().await;
            let ada = app.user("ada").await;
            for (before, after) in headers {
                let cookie = [&before, format!(";kokoro_session={};", ada.token).as_bytes(), &after].concat();
                let request = app.request(Method::POST, "/doctorBookings/user").json(&json!({"user_id": ada.email}));
                let reply = Reply::of(request.header("Cookie", HeaderValue::from_bytes(&cookie).unwrap())).await;
                assert_eq!(reply.status, 200, "{}", cookie.escape_ascii());
            }
            app.stop().await;
        });
    }
}

fn cookie_bytes() -> impl Strategy<Value = Vec<u8>> {
    let byte = prop_oneof![Just(b'\t'), Just(b';'), Just(b'='), Just(b'"'), 0x20_u8..0x7f, 0x80_u8..=0xff];
    prop::collection::vec(byte, 0..40)
}

#[actix_web::test]
async fn addresses_and_names_with_invisible_characters_are_refused() {
    let app = TestApp::start().await;
    for (path, field) in [("/auth/signupUser", "username"), ("/auth/signupDoctor", "doctorname")] {
        for hidden in ["\u{200b}", "\u{ad}", "\u{202e}", "\u{2066}", "\u{200d}"] {
            let body = newcomer(field, &format!("a{hidden}da@example.com"));
            let (status, body) = app.post(path, None, &body).await;
            assert_eq!((status, body["detail"].as_str().unwrap().contains("'email'")), (422, true), "{body}");
            let mut body = newcomer(field, "ada@example.com");
            body[field] = json!(format!("A{hidden}da"));
            let (status, body) = app.post(path, None, &body).await;
            assert_eq!((status, body["detail"].as_str().unwrap().contains(field)), (422, true), "{body}");
        }
        let mut body = newcomer(field, "ada@example.com");
        body[field] = json!("\u{3000}\u{2800}");
        assert_eq!(app.post(path, None, &body).await.0, 422);
        body[field] = json!("क्\u{200d}ष 👩\u{200d}⚕\u{fe0f}");
        assert_eq!(app.post(path, None, &body).await.0, 200);
    }
    app.stop().await;
}

#[actix_web::test]
async fn the_cookie_is_secure_when_a_trusted_proxy_serves_over_tls() {
    let mut config = config();
    config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    let (app, open) = (TestApp::start_with(config).await, TestApp::start().await);
    for (app, is_secure) in [(&app, true), (&open, false)] {
        let ada = app.user("ada").await;
        let request = app.request(Method::POST, "/auth/loginUser").json(&credentials(&ada.email, PASSWORD));
        let reply = Reply::of(request.header("X-Forwarded-Proto", "https")).await;
        assert_eq!(reply.header("set-cookie").contains("Secure"), is_secure, "{:?}", reply.headers);
    }
    app.stop().await;
    open.stop().await;
}

#[actix_web::test]
async fn a_token_lives_for_twelve_hours() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    app.clock.advance(TimeDelta::hours(12) - TimeDelta::seconds(1));
    assert_eq!(app.as_user(&ada).bookings().await.0, 200);
    app.clock.advance(TimeDelta::seconds(1));
    assert_eq!(told(app.as_user(&ada).bookings().await), (401, "unauthenticated".to_owned()));
    app.stop().await;
}

#[actix_web::test]
async fn an_account_of_the_old_platform_gets_in_and_its_hash_is_renewed_once() {
    let app = TestApp::start().await;
    // Shorter than any new password may be, and an address in mixed case.
    old_account(&app, "Old@Example.com", "pw").await;
    let log_in = |email: &'static str, password: &'static str| {
        let app = &app;
        async move { app.post("/auth/loginUser", None, &credentials(email, password)).await }
    };
    assert_eq!(told(log_in("Old@Example.com", "pW").await), (401, "invalid_credentials".to_owned()));
    assert!(stored_hash(&app, "Old@Example.com").await.starts_with("$2b$"));
    let (status, body) = log_in("Old@Example.com", "pw").await;
    assert_eq!((status, &body["user"]), (200, &json!({"name": "Old Ada", "email": "Old@Example.com"})));
    let renewed = stored_hash(&app, "Old@Example.com").await;
    assert!(renewed.starts_with("$argon2id$"), "{renewed}");
    assert_eq!(log_in("Old@Example.com", "pw").await.0, 200);
    assert_eq!(stored_hash(&app, "Old@Example.com").await, renewed);
    assert_eq!(log_in("Old@Example.com", "pW").await.0, 401);
    app.stop().await;
}

#[actix_web::test]
async fn an_address_is_looked_up_as_sent_then_lower_cased_and_the_stored_spelling_is_the_identity() {
    let app = TestApp::start().await;
    app.user("ada").await;
    let (status, body) = app.post("/auth/loginUser", None, &credentials("ADA@Example.com", PASSWORD)).await;
    assert_eq!((status, &body["user"]["email"]), (200, &json!("ada@example.com")));
    old_account(&app, "Old@Example.com", "pw").await;
    assert_eq!(app.post("/auth/loginUser", None, &credentials("old@example.com", "pw")).await.0, 401);
    app.stop().await;
}

#[actix_web::test]
async fn an_unknown_address_and_a_wrong_password_get_the_same_answer_at_the_same_time() {
    let mut config = config();
    config.auth.failure_floor = Duration::from_millis(150);
    let app = TestApp::start_with(config).await;
    let ada = app.user("ada").await;
    let mut bodies = Vec::new();
    for (email, password) in [
        (ada.email.as_str(), "wrong horse"),
        ("nobody@example.com", "wrong horse"),
        (ada.email.as_str(), ""),
        (ada.email.as_str(), &"x".repeat(30_000)),
    ] {
        let begun = Instant::now();
        let (status, mut body) = app.post("/auth/loginUser", None, &credentials(email, password)).await;
        assert_eq!(status, 401);
        assert!(begun.elapsed() >= Duration::from_millis(150), "answered after {:?}", begun.elapsed());
        body.as_object_mut().unwrap().remove("request_id");
        bodies.push(body);
    }
    assert!(bodies.windows(2).all(|pair| pair[0] == pair[1]), "{bodies:?}");
    app.stop().await;
}

#[actix_web::test]
async fn guesses_at_an_account_are_slowed_and_nobody_else_is() {
    let app = TestApp::start().await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    // At once, so that all are under way before the first has failed.
    let guess = credentials("ADA@example.com", "guess");
    let guesses = (0..30).map(|_| app.post("/auth/loginUser", None, &guess));
    let (refused, failed): (Vec<_>, Vec<_>) =
        join_all(guesses).await.into_iter().partition(|(status, _)| *status == 429);
    assert_eq!((failed.len(), refused.len()), (10, 20));
    let request = app.request(Method::POST, "/auth/loginUser").json(&credentials(&ada.email, PASSWORD));
    let reply = Reply::of(request).await;
    reply.assert_problem(429, "too_many_attempts");
    assert_eq!(reply.header("retry-after"), "301");
    app.log_in("/auth/loginUser", &bob.email).await;
    app.clock.advance(TimeDelta::seconds(301));
    app.log_in("/auth/loginUser", &ada.email).await;
    app.stop().await;
}

#[actix_web::test]
async fn with_the_rate_limit_off_nobody_is_slowed() {
    let mut config = config();
    config.auth.throttle = None;
    let app = TestApp::start_with(config).await;
    let ada = app.user("ada").await;
    for _ in 0..15 {
        assert_eq!(app.post("/auth/loginUser", None, &credentials(&ada.email, "guess")).await.0, 401);
    }
    app.log_in("/auth/loginUser", &ada.email).await;
    app.stop().await;
}

#[actix_web::test]
async fn more_passwords_than_can_be_hashed_are_refused_early() {
    let mut config = config();
    config.auth.passwords.pending_max = 1;
    config.auth.passwords.memory_kib = 64 * 1024;
    config.auth.throttle = None;
    let app = TestApp::start_with(config).await;
    let ada = app.user("ada").await;
    let crowd = (0..40).map(|_| {
        let request = app.request(Method::POST, "/auth/loginUser").json(&credentials(&ada.email, PASSWORD));
        Reply::of(request)
    });
    let replies = join_all(crowd).await;
    let refused: Vec<&Reply> = replies.iter().filter(|reply| reply.status != 200).collect();
    assert!((1..40).contains(&refused.len()), "{} of 40", refused.len());
    for reply in refused {
        reply.assert_problem(503, "busy");
        assert_eq!(reply.header("retry-after"), "1");
    }
    app.log_in("/auth/loginUser", &ada.email).await;
    app.stop().await;
}
