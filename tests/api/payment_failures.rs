//! Paying when something is wrong with Razorpay, or with the way to it.

use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use web::config::PaymentsConfig;

use crate::harness::{TestApp, told};
use crate::payments::{PATH, config_of, link, pay_raw, pay_with_key, rows, start};
use crate::razorpay::{Mood, Razorpay, refusal};

/// How long Razorpay is waited for. Where it answers, it does so far sooner, also on a busy machine.
const SOON: Duration = Duration::from_secs(3);

#[actix_web::test]
async fn a_lost_answer_is_made_good_by_a_repeat_with_the_same_key() {
    let razorpay = Razorpay::start().await;
    let payments = PaymentsConfig { timeout: SOON, ..razorpay.config() };
    let app = TestApp::start_with(config_of(payments)).await;
    let ada = app.user("ada").await;
    for (n, mood) in [Mood::Silent, Mood::CutShort].into_iter().enumerate() {
        let key = format!("key{n}");
        razorpay.next(mood);
        let lost = told(pay_with_key(&app, &ada, 500, &key).await);
        assert!(
            [(504, "payment_too_slow".to_owned()), (502, "payment_failed".to_owned())].contains(&lost),
            "{lost:?}"
        );
        assert_eq!(razorpay.links().len(), n + 1, "Razorpay has made it");
        let (status, body) = pay_with_key(&app, &ada, 500, &key).await;
        assert_eq!((status, &body["payment_link_id"]), (200, &razorpay.links()[n]["id"]), "{body}");
        assert_eq!(razorpay.links().len(), n + 1, "and makes no second one");
    }
    assert!(rows(&app).await.iter().all(|row| row["status"] == "created"));
    app.stop().await;
}

#[actix_web::test]
async fn whatever_razorpay_does_the_caller_hears_what_to_make_of_it() {
    let razorpay = Razorpay::start().await;
    let payments = PaymentsConfig { timeout: SOON, ..razorpay.config() };
    let app = TestApp::start_with(config_of(payments)).await;
    let ada = app.user("ada").await;
    let plink = link(&app, &ada).await;
    let link = razorpay.links()[0].to_string();
    let instead = |status, body: &str| Mood::Instead(status, body.to_owned());
    let refused = refusal("amount exceeds maximum amount allowed").to_string();
    type Case<'a> = (&'a dyn Fn() -> Mood, u16, &'a str);
    let cases: [Case; 12] = [
        (&|| instead(403, &refused), 502, "payment_refused"),
        (&|| instead(401, &refused), 502, "payment_refused"),
        (&|| instead(429, &refused), 503, "payment_unavailable"),
        (&|| instead(500, &refused), 502, "payment_failed"),
        (&|| instead(503, "<html>canary</html>"), 502, "payment_failed"),
        (&|| instead(302, ""), 502, "payment_failed"),
        (&|| instead(200, "<html>canary</html>"), 502, "payment_failed"),
        (&|| instead(200, "{\"canary\":1}"), 502, "payment_failed"),
        (&|| instead(200, &format!("\"{}\"", "canary".repeat(100_000))), 502, "payment_failed"),
        (&|| Mood::CutShort, 502, "payment_failed"),
        (&|| Mood::Silent, 504, "payment_too_slow"),
        (&|| Mood::Stalled, 504, "payment_too_slow"),
    ];
    for (mood, status, code) in cases {
        for body in [json!({"amount": 5}), json!({"payment_id": plink})] {
            razorpay.next(mood());
            let reply = pay_raw(&app, &ada, &body.to_string()).await;
            reply.assert_problem(status, code);
            let said = reply.body.to_string();
            assert!(!said.contains("canary") && said.contains("Nobody was charged"), "{said}");
        }
    }
    // Somebody would be asked to pay something else, or on some other page.
    for (honest, false_) in [
        ("\"amount\":50000", "\"amount\":50001"),
        ("\"currency\":\"INR\"", "\"currency\":\"USD\""),
        ("\"reference_id\":\"kokoro_", "\"reference_id\":\"kokora_"),
        ("\"id\":\"plink_", "\"id\":\"plink/"),
        ("\"short_url\":\"https://", "\"short_url\":\"javascript:"),
        ("\"status\":\"created\"", "\"status\":\"unheard-of\""),
    ] {
        assert!(link.contains(honest), "{link}");
        razorpay.next(Mood::Saying(link.replace(honest, false_)));
        pay_raw(&app, &ada, "{\"amount\": 500}").await.assert_problem(502, "payment_failed");
    }
    app.stop().await;
}

#[actix_web::test]
async fn a_refused_link_is_kept_as_refused() {
    let (app, razorpay, ada) = start().await;
    razorpay.next(Mood::Instead(400, refusal("amount exceeds maximum amount allowed").to_string()));
    pay_raw(&app, &ada, "{\"amount\": 500}").await.assert_problem(502, "payment_refused");
    let rows = rows(&app).await;
    assert_eq!((rows.len(), &rows[0]["status"]), (1, &json!("refused")));
    assert!(!rows[0].to_string().contains("canary"));
    app.stop().await;
}

#[actix_web::test]
async fn a_razorpay_that_cannot_be_reached_is_a_503() {
    let (app, razorpay, ada) = start().await;
    let plink = link(&app, &ada).await;
    app.stop().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}/", listener.local_addr().unwrap());
    drop(listener);
    let app = TestApp::start_with(config_of(PaymentsConfig { api, ..razorpay.config() })).await;
    let ada = app.user("ada").await;
    for body in [json!({"amount": 5}), json!({"payment_id": plink})] {
        pay_raw(&app, &ada, &body.to_string()).await.assert_problem(503, "payment_unavailable");
    }
    app.stop().await;
}

#[actix_web::test]
async fn more_callers_than_there_are_places_are_told_that_it_is_busy() {
    let mut razorpay = Razorpay::start().await;
    let payments = PaymentsConfig { requests_at_once: 1, ..razorpay.config() };
    let app = TestApp::start_with(config_of(payments)).await;
    let ada = app.user("ada").await;
    let permission = Arc::new(Notify::new());
    razorpay.next(Mood::Held(permission.clone()));
    let call = async { app.as_user(&ada).post(PATH, json!({"amount": 5})).await.0 };
    let meanwhile = async {
        razorpay.arrival().await;
        pay_raw(&app, &ada, "{\"amount\": 5}").await.assert_problem(503, "busy");
        permission.notify_one();
    };
    assert_eq!(tokio::join!(call, meanwhile).0, 200);
    assert_eq!(app.as_user(&ada).post(PATH, json!({"amount": 5})).await.0, 200);
    app.stop().await;
}

#[actix_web::test]
async fn without_keys_nobody_can_pay_and_everything_else_works() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    for body in ["{\"amount\": 5}", "{\"payment_id\": \"pay_00000000000001\"}"] {
        pay_raw(&app, &ada, body).await.assert_problem(503, "payments_not_configured");
    }
    pay_raw(&app, &ada, "{\"amount\": -5}").await.assert_problem(422, "invalid_amount");
    let event = app.post_raw("/payment/webhook", None, "application/json", b"{}".to_vec()).await;
    event.assert_problem(503, "payments_not_configured");
    assert!(rows(&app).await.is_empty());
    assert_eq!(app.as_user(&ada).book(&asha, "2026-11-24", "10:00").await.0, 200);
    app.stop().await;
}
