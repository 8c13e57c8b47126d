//! Who is let in, how often, how much at once, and how every answer is dressed.

use std::num::NonZeroU32;
use std::time::Duration;

use chrono::TimeDelta;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use web::config::{Config, LimitsConfig};

use crate::harness::{PASSWORD, Reply, TestApp, config};

/// Settings with a limit on requests.
fn limited(per_minute: u32) -> Config {
    Config { limits: LimitsConfig { per_minute: NonZeroU32::new(per_minute) }, ..config() }
}

/// Settings with a limit, and this machine for a trusted proxy.
fn behind_a_proxy(per_minute: u32) -> Config {
    let mut config = limited(per_minute);
    config.server.trusted_proxies = vec!["127.0.0.0/8".parse().unwrap()];
    config
}

/// Asks for something that does not exist, as a client of some address.
async fn look(app: &TestApp, client: &str) -> Reply {
    Reply::of(app.request(Method::POST, "/nowhere").header("X-Forwarded-For", client)).await
}

/// How many requests are let through before one is refused.
async fn let_through(app: &TestApp, client: &str) -> usize {
    for n in 0..1_000 {
        if look(app, client).await.status == 429 {
            return n;
        }
    }
    panic!("none of a thousand was refused")
}

#[actix_web::test]
async fn an_address_that_asks_too_often_is_told_when_to_come_back() {
    let app = TestApp::start_with(limited(30)).await;
    assert_eq!(let_through(&app, "9.9.9.9").await, 30);
    let reply = look(&app, "8.8.8.8").await;
    reply.assert_problem(429, "too_many_requests");
    let seconds: i64 = reply.header("retry-after").parse().unwrap();
    assert!((1..=3).contains(&seconds), "{seconds}");
    app.clock.advance(TimeDelta::seconds(seconds));
    look(&app, "9.9.9.9").await.assert_problem(404, "not_found");
    // Whoever watches the process is never shut out.
    let_through(&app, "9.9.9.9").await;
    for path in ["/healthz", "/readyz"] {
        assert_eq!(Reply::of(app.request(Method::GET, path)).await.status, 200);
    }
    app.stop().await;
}

#[actix_web::test]
async fn clients_of_a_trusted_proxy_are_told_apart() {
    let app = TestApp::start_with(behind_a_proxy(30)).await;
    assert_eq!(let_through(&app, "9.9.9.9").await, 30);
    assert_eq!(let_through(&app, "6.6.6.6, 8.8.8.8").await, 30);
    assert_eq!(
        look(&app, "1.2.3.4, 8.8.8.8").await.status,
        429,
        "what a client says of itself does not count"
    );
    assert_eq!(let_through(&app, "2001:db8::1").await, 30);
    assert_eq!(look(&app, "2001:db8::2").await.status, 429, "one network");
    assert_eq!(look(&app, "2001:db8:0:1::2").await.status, 404, "another");
    app.stop().await;
}

#[actix_web::test]
async fn too_many_requests_is_said_before_anything_else() {
    let app = TestApp::start_with(limited(30)).await;
    let_through(&app, "").await;
    for (method, path, content_type) in [
        (Method::POST, "/doctorBookings/book", "application/json"),
        (Method::POST, "/doctorBookings/book", "text/plain"),
        (Method::GET, "/doctorBookings/book", "text/plain"),
        (Method::POST, "/auth/loginUser", "application/json"),
        (Method::GET, "/nowhere", "text/plain"),
    ] {
        let request = app.request(method, path).header("Content-Type", content_type).body("{");
        Reply::of(request.bearer_auth("garbage")).await.assert_problem(429, "too_many_requests");
    }
    let long = app.request(Method::POST, "/auth/logout").header("X-Padding", "a".repeat(17_000));
    Reply::of(long).await.assert_problem(429, "too_many_requests");
    app.stop().await;
}

#[actix_web::test]
async fn an_account_has_one_allowance_wherever_it_calls_from() {
    let app = TestApp::start_with(behind_a_proxy(30)).await;
    let (ada, bob) = (app.user("ada").await, app.user("bob").await);
    let ask = async |token: &str, client: String| {
        let request = app.request(Method::POST, "/doctorBookings/user").json(&json!({}));
        Reply::of(request.bearer_auth(token).header("X-Forwarded-For", client)).await
    };
    for n in 0..30 {
        assert_eq!(ask(&ada.token, format!("10.0.0.{n}")).await.status, 422);
    }
    let refused = ask(&ada.token, "10.0.1.1".to_owned()).await;
    refused.assert_problem(429, "too_many_requests");
    assert!(!refused.header("retry-after").is_empty());
    // Before 415 and 400 as well.
    let unread = app.post_raw("/doctorBookings/user", Some(&ada.token), "text/plain", b"{".to_vec()).await;
    unread.assert_problem(429, "too_many_requests");
    assert_eq!(ask(&bob.token, "10.0.1.1".to_owned()).await.status, 422);
    app.stop().await;
}

#[actix_web::test]
async fn of_costly_calls_an_address_may_make_fewer() {
    let app = TestApp::start_with(limited(100)).await;
    let told =
        async |path: &str, body: Value| app.post_raw(path, None, "text/plain", body.to_string().into()).await;
    for (paths, allowed) in
        [(["/auth/signupUser", "/auth/doctor/signup"], 10), (["/auth/loginUser", "/auth/doctor/login"], 20)]
    {
        for n in 0..allowed {
            assert_eq!(told(paths[n % 2], json!({})).await.status, 415);
        }
        for path in paths {
            told(path, json!({})).await.assert_problem(429, "too_many_requests");
        }
    }
    assert_eq!(look(&app, "").await.status, 404, "the rest goes on");
    app.stop().await;
}

#[actix_web::test]
async fn a_crowd_behind_one_address_logs_in_at_once() {
    let app = TestApp::start().await;
    // As many at once as one account may have under way, and more together than an address may have failures.
    let mut crowd = Vec::new();
    for n in 0..11 {
        let user = app.user(&format!("n{n}")).await;
        crowd.extend(std::iter::repeat_n(user.email, 10));
    }
    let log_in = |email: String| {
        let app = &app;
        async move { app.post("/auth/loginUser", None, &json!({"email": email, "password": PASSWORD})).await.0 }
    };
    let statuses = join_all(crowd.into_iter().map(log_in)).await;
    assert_eq!(statuses, [200; 110]);
    app.stop().await;
}

#[actix_web::test]
async fn an_answer_that_does_not_come_is_given_up_as_unknown() {
    let mut config = config();
    config.server.body_timeout = Duration::from_secs(1);
    config.server.answer_timeout = Duration::ZERO;
    config.auth.failure_floor = Duration::from_secs(3600);
    let app = TestApp::start_with(config).await;
    let body = json!({"email": "nobody@example.com", "password": PASSWORD});
    let reply = Reply::of(app.request(Method::POST, "/auth/loginUser").json(&body)).await;
    reply.assert_problem(503, "outcome_unknown");
    app.stop().await;
}
