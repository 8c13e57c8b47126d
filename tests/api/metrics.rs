//! What is counted. All tests of a process share one collector: each looks at how much a number has grown, and at
//! series that nobody else touches.

use std::num::NonZeroU32;

use chrono::TimeDelta;
use futures::future::join;
use reqwest::Method;
use serde_json::json;
use web::config::{AssistantConfig, Config, LimitsConfig};

use crate::harness::{Reply, TestApp, config, told};
use crate::ollama::Ollama;
use crate::razorpay::Razorpay;

/// Every sample, as its line says it.
struct Samples(String);

impl Samples {
    async fn of(app: &TestApp) -> Self {
        let reply = Reply::of(app.request(Method::GET, "/metrics")).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.header("content-type"), "text/plain; version=0.0.4; charset=utf-8");
        Self(reply.body.as_str().unwrap().to_owned())
    }

    /// The value of the series that has this name and these labels; none is zero.
    fn value(&self, name: &str, labels: &[(&str, &str)]) -> f64 {
        let is_meant = |line: &&str| {
            let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']));
            rest.is_some_and(|rest| {
                labels.iter().all(|(key, value)| rest.contains(&format!("{key}=\"{value}\"")))
            })
        };
        let series: Vec<&str> = self.0.lines().filter(is_meant).collect();
        series.iter().map(|line| line.rsplit_once(' ').unwrap().1.parse::<f64>().unwrap()).sum()
    }

    fn grown(&self, before: &Self, name: &str, labels: &[(&str, &str)]) -> f64 {
        self.value(name, labels) - before.value(name, labels)
    }
}

#[actix_web::test]
async fn a_booking_is_counted_on_each_hop() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let before = Samples::of(&app).await;
    assert_eq!(app.as_user(&ada).book(&asha, "2026-11-24", "10:00").await.0, 200);
    let refused = app.as_user(&ada).book(&asha, "2026-11-24", "10:00").await;
    assert_eq!(told(refused), (409, "already_booked".to_owned()));
    assert_eq!(app.as_user(&ada).post("/audit/mine", json!({})).await.0, 200);
    let after = Samples::of(&app).await;
    let route = ("route", "/doctorBookings/book");
    for (name, labels) in [
        ("kokoro_http_requests_total", &[route, ("method", "POST"), ("status", "200")][..]),
        ("kokoro_http_requests_total", &[route, ("status", "409")]),
        ("kokoro_http_request_seconds_count", &[route]),
        ("kokoro_problems_total", &[route, ("code", "already_booked")]),
        ("kokoro_commands_total", &[("answer", "booked")]),
        ("kokoro_commands_total", &[("answer", "already_booked")]),
        ("kokoro_events_total", &[("outcome", "committed")]),
        ("kokoro_commit_events_sum", &[]),
        ("kokoro_commit_seconds_count", &[("answer", "committed")]),
        ("kokoro_mailbox_depth_count", &[]),
        ("kokoro_lane_depth_count", &[]),
        ("kokoro_load_seconds_count", &[("loaded", "yes")]),
        ("kokoro_audit_entries_total", &[("ended", "written")]),
    ] {
        assert!(after.grown(&before, name, labels) >= 1.0, "{name} {labels:?}\n{}", after.0);
    }
    // The booking, and the check of its range's fence.
    assert!(after.grown(&before, "kokoro_commit_actions_sum", &[]) >= 2.0);
    assert!(after.value("kokoro_doctors_active", &[]) >= 1.0);
    app.stop().await;
}

#[actix_web::test]
async fn log_ins_and_their_passwords_are_counted_by_how_they_ended() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    let before = Samples::of(&app).await;
    let body = json!({"email": ada.email, "password": "a wrong one"});
    assert_eq!(app.post("/auth/loginUser", None, &body).await.0, 401);
    app.log_in("/auth/loginUser", &ada.email).await;
    let after = Samples::of(&app).await;
    for ended in ["right", "wrong"] {
        assert!(after.grown(&before, "kokoro_log_ins_total", &[("ended", ended)]) >= 1.0, "{ended}");
    }
    assert!(after.grown(&before, "kokoro_password_wait_seconds_count", &[]) >= 2.0);
    assert!(after.grown(&before, "kokoro_password_hash_seconds_count", &[]) >= 2.0);
    app.stop().await;
}

#[actix_web::test]
async fn an_answer_of_the_assistant_is_counted_and_its_first_word_timed() {
    let mut ollama = Ollama::start().await;
    let assistant = AssistantConfig { api: Some(ollama.url.clone()), ..AssistantConfig::default() };
    let app = TestApp::start_with(Config { assistant, ..config() }).await;
    let ada = app.user("ada").await;
    let before = Samples::of(&app).await;
    let question = json!({"user_id": ada.email, "message": "How do I stay well?"});
    let user = app.as_user(&ada);
    let (answer, _) = join(user.post("/chat", question), ollama.answer(&["Walk", " every day."])).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    let after = Samples::of(&app).await;
    assert!(after.grown(&before, "kokoro_chat_answers_total", &[("ended", "whole")]) >= 1.0);
    assert!(after.grown(&before, "kokoro_chat_first_word_seconds_count", &[]) >= 1.0);
    let thinking = async {
        let mut call = ollama.call().await;
        call.begin().await;
        call.end("length").await
    };
    let (answer, _) = join(user.post("/chat", json!({"message": "?"})), thinking).await;
    assert_eq!(answer.0, 200, "{}", answer.1);
    let last = Samples::of(&app).await;
    assert!(last.grown(&after, "kokoro_chat_answers_total", &[("ended", "truncated")]) >= 1.0);
    app.stop().await;
}

#[actix_web::test]
async fn a_payment_is_counted_by_how_far_it_has_come() {
    let razorpay = Razorpay::start().await;
    let app = TestApp::start_with(Config { payments: razorpay.config(), ..config() }).await;
    let ada = app.user("ada").await;
    let before = Samples::of(&app).await;
    assert_eq!(app.as_user(&ada).post("/process-payment", json!({"amount": 500})).await.0, 200);
    let after = Samples::of(&app).await;
    for status in ["creating", "created"] {
        assert!(after.grown(&before, "kokoro_payments_total", &[("status", status)]) >= 1.0, "{status}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn a_request_too_many_is_counted_under_its_route_and_code() {
    let limits = LimitsConfig { per_minute: NonZeroU32::new(20) };
    let app = TestApp::start_with(Config { limits, ..config() }).await;
    let path = "/doctorBookings/available";
    let before = Samples::of(&app).await;
    let body = json!({"doctor_id": "nobody@clinic.example", "date": "2026-11-24"});
    for _ in 0..20 {
        app.post(path, None, &body).await;
    }
    assert_eq!(app.post(path, None, &body).await.0, 429);
    app.clock.advance(TimeDelta::minutes(1));
    let after = Samples::of(&app).await;
    let labels = [("route", path), ("code", "too_many_requests")];
    assert!(after.grown(&before, "kokoro_problems_total", &labels) >= 1.0);
    app.stop().await;
}

#[actix_web::test]
async fn no_label_and_no_name_says_what_a_client_has_sent() {
    let app = TestApp::start().await;
    let ada = app.user("ada").await;
    for path in ["/of/somebody@example.com", "/doctorBookings/somebody@example.com?of=somebody"] {
        assert_eq!(Reply::of(app.request(Method::POST, path)).await.status, 404, "{path}");
    }
    let method = Method::from_bytes(b"SOMEBODY").unwrap();
    assert_eq!(Reply::of(app.request(method, "/doctorBookings/book")).await.status, 405);
    let samples = Samples::of(&app).await;
    assert!(!samples.0.contains("example.com") && !samples.0.to_lowercase().contains("somebody"));
    assert!(!samples.0.contains(&ada.token));
    assert!(samples.value("kokoro_http_requests_total", &[("route", "none"), ("status", "404")]) >= 2.0);
    assert!(samples.value("kokoro_http_requests_total", &[("method", "other"), ("status", "405")]) >= 1.0);
    app.stop().await;
}

#[actix_web::test]
async fn every_metric_says_what_it_means() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    assert_eq!(app.as_user(&ada).book(&asha, "2026-11-24", "10:00").await.0, 200);
    assert_eq!(app.as_user(&ada).bookings().await.0, 200);
    let samples = Samples::of(&app).await.0;
    let names = |mark: &str| -> Vec<String> {
        let lines = samples.lines().filter_map(|line| line.strip_prefix(mark));
        let mut names: Vec<String> = lines.map(|line| line.split(' ').next().unwrap().to_owned()).collect();
        names.sort_unstable();
        names
    };
    let typed = names("# TYPE ");
    assert!(typed.len() >= 15, "{typed:?}");
    assert_eq!(names("# HELP "), typed);
    assert!(typed.iter().all(|name| name.starts_with("kokoro_")), "{typed:?}");
    app.stop().await;
}
