//! What Razorpay tells by itself: forged, repeated, late and out of order.

use persistence::{EmbeddedDynamo, Where};
use reqwest::Method;
use serde_json::{Value, json};
use web::config::{AuthConfig, Config, Place, Secret, StoreConfig};

use crate::harness::{Reply, TestApp, TestUser, config};
use crate::payments::{link, rows};
use crate::razorpay::{KEY_SECRET, Razorpay, WEBHOOK_SECRET, signature};

const PATH: &str = "/payment/webhook";

/// A link that somebody has been sent, and the application.
async fn start() -> (TestApp, Razorpay, TestUser, String) {
    let razorpay = Razorpay::start().await;
    let app = TestApp::start_with(Config { payments: razorpay.config(), ..config() }).await;
    let ada = app.user("ada").await;
    let plink = link(&app, &ada).await;
    (app, razorpay, ada, plink)
}

async fn send(app: &TestApp, body: &[u8], signature: Option<&str>) -> Reply {
    let request =
        app.request(Method::POST, PATH).header("Content-Type", "application/json").body(body.to_vec());
    let request = request.header("x-razorpay-event-id", "ZZZZZZZZZZZZZZ");
    Reply::of(match signature {
        Some(signature) => request.header("X-Razorpay-Signature", signature),
        None => request,
    })
    .await
}

async fn tell(app: &TestApp, event: &Value) {
    let body = event.to_string();
    let reply = send(app, body.as_bytes(), Some(&signature(WEBHOOK_SECRET, body.as_bytes()))).await;
    assert_eq!((reply.status, &reply.body), (200, &json!({"message": "Event received"})), "{event}");
}

/// What is kept of one link or payment.
async fn status(app: &TestApp, key: &str) -> Value {
    let row = rows(app).await.into_iter().find(|row| row["payment_id"] == key || row["link_id"] == key);
    row.map_or(Value::Null, |row| row["status"].clone())
}

fn id(payment: &Value) -> &str {
    payment["id"].as_str().unwrap()
}

/// Every order of `len` things.
fn orders(len: usize) -> Vec<Vec<usize>> {
    if len == 0 {
        return vec![Vec::new()];
    }
    let shorter = orders(len - 1).into_iter();
    shorter
        .flat_map(|order| {
            (0..len).map(move |at| {
                let mut order = order.clone();
                order.insert(at, len - 1);
                order
            })
        })
        .collect()
}

#[actix_web::test]
async fn an_event_is_kept_and_the_payer_can_ask_for_it() {
    let (app, razorpay, ada, plink) = start().await;
    let payment = razorpay.pay(&plink, "captured");
    tell(&app, &razorpay.event("payment_link.paid", &[&plink, id(&payment)])).await;
    let reference = razorpay.links()[0]["reference_id"].clone();
    let expected = [
        json!({
            "payment_id": reference, "order_id": payment["order_id"], "amount": "500", "currency": "INR",
            "status": "paid", "timestamp": "2026-11-23T04:30:00Z", "invoice_url": null, "link_id": plink,
            "link_url": "https://rzp.io/i/1", "payer": "user#ada@example.com",
        }),
        json!({
            "payment_id": payment["id"], "order_id": payment["order_id"], "amount": "500", "currency": "INR",
            "status": "captured", "timestamp": "2026-11-23T04:30:00Z", "invoice_url": null, "reference": reference,
        }),
    ];
    assert_eq!(rows(&app).await, expected);
    let (status, body) =
        app.as_user(&ada).post("/process-payment", json!({"payment_id": payment["id"]})).await;
    assert_eq!((status, &body["status"]), (200, &json!("captured")));
    app.stop().await;
}

#[actix_web::test]
async fn what_razorpay_has_not_signed_changes_nothing() {
    let (app, razorpay, _, plink) = start().await;
    let payment = razorpay.pay(&plink, "captured");
    let before = rows(&app).await;
    let body = razorpay.event("payment_link.paid", &[&plink, id(&payment)]).to_string();
    let good = signature(WEBHOOK_SECRET, body.as_bytes());
    let (with_space, other) = (body.replacen(':', ": ", 1), body.replacen("50000", "50001", 1));
    assert_ne!(body, other);
    let with_key = signature(KEY_SECRET, body.as_bytes());
    let with_nothing = signature("", body.as_bytes());
    let other_digit = if good.starts_with('0') { '1' } else { '0' };
    let (longer, spaced) = (format!("{good}00"), format!(" {other_digit}{} ", good[1..].to_uppercase()));
    for (body, signature) in [
        (&body, None),
        (&body, Some("")),
        (&body, Some("sha256")),
        (&body, Some(&good[..62])),
        (&body, Some(&longer)),
        (&body, Some(&spaced)),
        (&body, Some(&with_key)),
        (&body, Some(&with_nothing)),
        (&with_space, Some(good.as_str())),
        (&other, Some(&good)),
        (&"not json".to_owned(), Some(&good)),
        (&String::new(), Some(&good)),
    ] {
        send(&app, body.as_bytes(), signature).await.assert_problem(401, "bad_signature");
    }
    assert_eq!(rows(&app).await, before);
    // An API key's owner is no Razorpay, and a logged-in user is none either.
    let ada = app.log_in("/auth/loginUser", "ada@example.com").await;
    let reply = app.post_raw(PATH, Some(&ada.token), "application/json", body.into_bytes()).await;
    reply.assert_problem(401, "bad_signature");
    assert_eq!(rows(&app).await, before);
    app.stop().await;
}

#[actix_web::test]
async fn the_secret_that_is_being_replaced_still_counts() {
    let (app, razorpay, _, plink) = start().await;
    let body = razorpay.event("payment_link.cancelled", &[&plink]);
    let body = body.to_string().replace("\"created\"", "\"cancelled\"").into_bytes();
    assert_eq!(send(&app, &body, Some(&signature("the one before", &body))).await.status, 200);
    assert_eq!(status(&app, &plink).await, "cancelled");
    app.stop().await;
}

#[actix_web::test]
async fn a_refund_is_kept_in_every_order_of_its_events() {
    for order in orders(3) {
        let (app, razorpay, ada, plink) = start().await;
        let payment = razorpay.pay(&plink, "captured");
        let captured = razorpay.event("payment.captured", &[id(&payment)]);
        razorpay.change(id(&payment), "status", json!("refunded"));
        let refund = |name: &str| {
            let mut event = razorpay.event(name, &[id(&payment)]);
            event["payload"]["refund"] = json!({"entity": {
                "id": "rfnd_FS8SPmwMPCDVhP", "entity": "refund", "amount": payment["amount"], "currency": "INR",
                "payment_id": payment["id"], "receipt": null, "status": name.replace("refund.", ""), "notes": [],
            }});
            event
        };
        let events = [captured, refund("refund.created"), refund("refund.processed")];
        for event in order.iter().map(|n| &events[*n]) {
            tell(&app, event).await;
            tell(&app, event).await;
        }
        assert_eq!(status(&app, id(&payment)).await, "refunded", "{order:?}");
        let (_, body) =
            app.as_user(&ada).post("/process-payment", json!({"payment_id": payment["id"]})).await;
        assert_eq!(body["status"], "refunded");
        app.stop().await;
    }
    // A refund that failed leaves the payment as it was.
    let (app, razorpay, _, plink) = start().await;
    let payment = razorpay.pay(&plink, "captured");
    tell(&app, &razorpay.event("refund.failed", &[id(&payment)])).await;
    assert_eq!(status(&app, id(&payment)).await, "captured");
    app.stop().await;
}

#[actix_web::test]
async fn in_every_order_and_twice_a_paid_link_ends_as_paid() {
    for order in orders(4) {
        let (app, razorpay, _, plink) = start().await;
        let authorized = razorpay.pay(&plink, "authorized");
        let pay = id(&authorized).to_owned();
        let early = razorpay.event("payment.authorized", &[&pay]);
        razorpay.change(&pay, "status", json!("captured"));
        razorpay.change(&plink, "status", json!("paid"));
        let mut paid = razorpay.event("order.paid", &[&plink, &pay]);
        paid["payload"].as_object_mut().unwrap().remove("payment_link");
        let events = [
            early,
            razorpay.event("payment.captured", &[&pay]),
            paid,
            razorpay.event("payment_link.paid", &[&plink, &pay]),
        ];
        let told = |n: &usize| &events[*n];
        for event in order.iter().map(told) {
            tell(&app, event).await;
        }
        let after = rows(&app).await;
        assert_eq!(
            (status(&app, &plink).await, status(&app, &pay).await),
            (json!("paid"), json!("captured"))
        );
        // A day later, all again.
        app.clock.advance(chrono::TimeDelta::days(1));
        for event in order.iter().rev().map(told) {
            tell(&app, event).await;
        }
        assert_eq!(rows(&app).await, after, "{order:?}");
        app.stop().await;
    }
}

#[actix_web::test]
async fn no_state_moves_backwards() {
    let (app, razorpay, ada, plink) = start().await;
    let reference = razorpay.links()[0]["reference_id"].as_str().unwrap().to_owned();
    let link_says = |event: &str, word: &str| {
        razorpay.change(&plink, "status", json!(word));
        razorpay.event(event, &[&plink])
    };
    let partially = link_says("payment_link.partially_paid", "partially_paid");
    let expired = link_says("payment_link.expired", "expired");
    let cancelled = link_says("payment_link.cancelled", "cancelled");
    let paid = link_says("payment_link.paid", "paid");
    for (event, expected) in [
        (&partially, "partially_paid"),
        (&expired, "expired"),
        (&partially, "expired"),
        (&cancelled, "expired"),
        (&paid, "paid"),
        (&expired, "paid"),
        (&cancelled, "paid"),
        (&partially, "paid"),
    ] {
        tell(&app, event).await;
        assert_eq!(status(&app, &reference).await, expected, "{event}");
    }
    let pay = id(&razorpay.pay(&plink, "created")).to_owned();
    let payment_says = |event: &str, word: &str| {
        razorpay.change(&pay, "status", json!(word));
        razorpay.event(event, &[&pay])
    };
    let failed = payment_says("payment.failed", "failed");
    let authorized = payment_says("payment.authorized", "authorized");
    let captured = payment_says("payment.captured", "captured");
    for (event, expected) in [
        (&failed, "failed"),
        (&authorized, "authorized"),
        (&failed, "authorized"),
        (&captured, "captured"),
        (&authorized, "captured"),
        (&failed, "captured"),
    ] {
        tell(&app, event).await;
        assert_eq!(status(&app, &pay).await, expected, "{event}");
    }
    // What Razorpay answers may be older than what it has told: the caller hears the later of the two.
    for (id, stale, stands) in [(&pay, "authorized", "captured"), (&plink, "created", "paid")] {
        razorpay.change(id, "status", json!(stale));
        let (status_, body) = app.as_user(&ada).post("/process-payment", json!({"payment_id": id})).await;
        assert_eq!((status_, &body["status"]), (200, &json!(stands)));
        assert_eq!(status(&app, id).await, stands);
    }
    app.stop().await;
}

#[actix_web::test]
async fn what_is_not_ours_or_not_known_is_received_and_changes_nothing() {
    let (app, razorpay, _, plink) = start().await;
    let payment = razorpay.pay(&plink, "captured");
    let before = rows(&app).await;
    let event = razorpay.event("payment_link.paid", &[&plink, id(&payment)]);
    let with = |change: &dyn Fn(&mut Value)| {
        let mut event = event.clone();
        change(&mut event);
        event
    };
    let reference = razorpay.links()[0]["reference_id"].as_str().unwrap().to_owned();
    let renamed = |name: &str| serde_json::from_str(&event.to_string().replace(&reference, name)).unwrap();
    for event in [
        renamed("TS1989"),
        renamed("kokoro_00000000000000000000000000000000"),
        renamed("dr@x.com#2026-11-30"),
        with(&|event| event["event"] = json!("subscription.charged")),
        with(&|event| event["payload"] = json!({})),
        with(&|event| event["payload"] = json!(null)),
        with(&|event| event["payload"] = json!([1])),
        with(&|event| drop(event.as_object_mut().unwrap().remove("payload"))),
        json!({"event": "payment_link.paid", "payload": {"payment_link": {"entity": {"id": 7}}}}),
        with(&|event| {
            event["payload"]["payment"]["entity"]["id"] = json!(reference);
            event["payload"].as_object_mut().unwrap().remove("payment_link");
        }),
        // Its notes name our link, and anybody may write those.
        with(&|event| {
            event["payload"]["payment"]["entity"]["amount"] = json!(100);
            event["payload"]["payment_link"]["entity"]["reference_id"] = json!("TS1989");
        }),
        with(&|event| {
            event["payload"]["payment"]["entity"]["currency"] = json!("JPY");
            event["payload"]["payment_link"]["entity"]["reference_id"] = json!(null);
        }),
    ] {
        tell(&app, &event).await;
        assert_eq!(rows(&app).await, before, "{event}");
    }
    // One part that cannot be read does not hide the other.
    tell(&app, &with(&|event| event["payload"]["payment"]["entity"]["status"] = json!("unheard-of"))).await;
    assert_eq!((status(&app, &plink).await, rows(&app).await.len()), (json!("paid"), 1));
    app.stop().await;
}

#[actix_web::test]
async fn a_signed_body_must_still_be_an_event_and_of_a_bearable_size() {
    let (app, ..) = start().await;
    for body in ["", "not json", "[]", "7", "{}"] {
        let reply = send(&app, body.as_bytes(), Some(&signature(WEBHOOK_SECRET, body.as_bytes()))).await;
        reply.assert_problem(400, "invalid_json");
    }
    let long = format!("{{\"event\":\"{}\"}}", "x".repeat(256 * 1024));
    let reply = send(&app, long.as_bytes(), Some(&signature(WEBHOOK_SECRET, long.as_bytes()))).await;
    reply.assert_problem(413, "body_too_large");
    // Larger than what other calls take.
    let large = format!("{{\"event\":\"{}\"}}", "x".repeat(200 * 1024));
    let reply = send(&app, large.as_bytes(), Some(&signature(WEBHOOK_SECRET, large.as_bytes()))).await;
    assert_eq!(reply.status, 200);
    let reply = Reply::of(app.request(Method::GET, PATH)).await;
    reply.assert_problem(405, "method_not_allowed");
    app.stop().await;
}

#[actix_web::test]
async fn an_event_that_cannot_be_kept_is_refused_so_that_it_comes_again() {
    let razorpay = Razorpay::start().await;
    let embedded = EmbeddedDynamo::start(Where::Memory).unwrap();
    let store = StoreConfig { place: Place::Named(embedded.endpoint()), ..config().store };
    let auth = AuthConfig { secret: Secret::new(vec![7; 32]).map(Into::into), ..config().auth };
    let app = TestApp::start_with(Config { payments: razorpay.config(), store, auth, ..config() }).await;
    let ada = app.user("ada").await;
    let plink = link(&app, &ada).await;
    tokio::task::spawn_blocking(|| embedded.stop()).await.unwrap();
    let body = razorpay.event("payment_link.paid", &[&plink]).to_string().into_bytes();
    let reply = send(&app, &body, Some(&signature(WEBHOOK_SECRET, &body))).await;
    assert_eq!(reply.status, 503, "{}", reply.body);
}
