//! Paying: links, what becomes of them, and who is told.

use std::sync::Arc;

use aws_sdk_dynamodb::types::AttributeValue;
use reqwest::Method;
use serde_json::{Value, json};
use tokio::sync::Notify;
use web::config::{Config, PaymentsConfig};

use crate::harness::{Reply, TestApp, TestUser, config, told};
use crate::razorpay::{KEY_ID, KEY_SECRET, Mood, Razorpay};

pub const PATH: &str = "/process-payment";

pub fn config_of(payments: PaymentsConfig) -> Config {
    Config { payments, ..config() }
}

/// An application, its Razorpay, and somebody to pay.
pub async fn start() -> (TestApp, Razorpay, TestUser) {
    let razorpay = Razorpay::start().await;
    let app = TestApp::start_with(config_of(razorpay.config())).await;
    let ada = app.user("ada").await;
    (app, razorpay, ada)
}

/// The payments table: each row's attributes as text, NULL as `null`.
pub async fn rows(app: &TestApp) -> Vec<Value> {
    let table = &app.dynamo().tables().payments;
    let rows = app.dynamo().client().scan().table_name(table).send().await.unwrap();
    let value = |value: &AttributeValue| match value {
        AttributeValue::S(text) | AttributeValue::N(text) => json!(text),
        AttributeValue::Null(_) => Value::Null,
        other => panic!("{other:?}"),
    };
    let rows =
        rows.items().iter().map(|row| row.iter().map(|(name, of)| (name.clone(), value(of))).collect());
    let mut rows: Vec<Value> = rows.collect();
    rows.sort_by_key(|row| row["payment_id"].to_string());
    rows
}

pub async fn pay_raw(app: &TestApp, user: &TestUser, body: &str) -> Reply {
    app.post_raw(PATH, Some(&user.token), "application/json", body.as_bytes().to_vec()).await
}

pub async fn pay_with_key(app: &TestApp, user: &TestUser, amount: u32, key: &str) -> (u16, Value) {
    let request = app.request(Method::POST, PATH).bearer_auth(&user.token).header("Idempotency-Key", key);
    let reply = Reply::of(request.json(&json!({"amount": amount}))).await;
    (reply.status, reply.body)
}

/// Has a link made and returns its id.
pub async fn link(app: &TestApp, user: &TestUser) -> String {
    let (status, body) = app.as_user(user).post(PATH, json!({"amount": 500})).await;
    assert_eq!(status, 200, "{body}");
    body["payment_link_id"].as_str().unwrap().to_owned()
}

#[actix_web::test]
async fn rupees_reach_razorpay_and_the_table_exactly() {
    let (app, razorpay, ada) = start().await;
    for (n, (amount, paise, rupees)) in [
        ("19.99", 1_999, "19.99"),
        ("1", 100, "1"),
        ("1.0", 100, "1"),
        ("4.35", 435, "4.35"),
        ("1.10", 110, "1.1"),
        ("1E+2", 10_000, "100"),
        ("1e2", 10_000, "100"),
        ("100.000", 10_000, "100"),
        ("19990e-3", 1_999, "19.99"),
        ("0.00002E+05", 200, "2"),
        ("499999.99", 49_999_999, "499999.99"),
        ("500000", 50_000_000, "500000"),
    ]
    .into_iter()
    .enumerate()
    {
        let reply = pay_raw(&app, &ada, &format!("{{\"amount\": {amount}, \"platform\": \"web\"}}")).await;
        assert_eq!(reply.status, 200, "{amount}: {}", reply.body);
        assert_eq!(razorpay.links()[n]["amount"], paise, "{amount}");
        let rows = rows(&app).await;
        let row = rows.iter().find(|row| row["link_id"] == reply.body["payment_link_id"]).unwrap();
        assert_eq!(row["amount"], rupees, "{amount}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn what_is_no_amount_is_refused_before_anybody_is_asked() {
    let (app, razorpay, ada) = start().await;
    for amount in [
        "0",
        "0.0",
        "0.00",
        "-0",
        "-1",
        "-0.01",
        "1e-2",
        "0.50",
        "0.99",
        "99e-2",
        "1e6",
        "1e400",
        "1.005",
        "1.0001e0",
        "19.990000000000002",
        "500000.01",
        "123456789.99",
        "99999999999999999999999999",
        "0.1000000000000000055511151231257827",
        "\"5\"",
        "true",
        "[5]",
        "{}",
    ] {
        let reply = pay_raw(&app, &ada, &format!("{{\"amount\": {amount}}}")).await;
        reply.assert_problem(422, "invalid_amount");
        assert_eq!(reply.body["detail"], "Invalid amount", "{amount}");
    }
    for amount in ["NaN", "Infinity", "+1", "01", "1.", ".5"] {
        pay_raw(&app, &ada, &format!("{{\"amount\": {amount}}}")).await.assert_problem(400, "invalid_json");
    }
    assert!(razorpay.heard().is_empty() && rows(&app).await.is_empty());
    app.stop().await;
}

#[actix_web::test]
async fn a_call_asks_for_a_link_or_about_a_payment() {
    let (app, razorpay, ada) = start().await;
    for body in [
        json!({}),
        json!({"amount": null}),
        json!({"amount": null, "payment_id": null}),
        json!({"amount": 5, "payment_id": "order_00000000000001"}),
        json!({"payment_id": 7}),
        json!({"payment_id": ""}),
        json!({"payment_id": "order_00000000000001"}),
        json!({"payment_id": "pay_../../orders"}),
        json!({"payment_id": "pay_1?expand[]=card"}),
        json!({"payment_id": format!("plink_{}", "a".repeat(41))}),
        json!([]),
    ] {
        pay_raw(&app, &ada, &body.to_string()).await.assert_problem(422, "invalid_value");
    }
    assert_eq!(told(pay_with_key(&app, &ada, 5, "two words").await), (422, "invalid_value".to_owned()));
    pay_raw(&app, &ada, "{\"amount\": ").await.assert_problem(400, "invalid_json");
    let form = app.post_raw(PATH, Some(&ada.token), "text/plain", b"{\"amount\": 5}".to_vec()).await;
    form.assert_problem(415, "unsupported_media_type");
    assert_eq!(told(app.post(PATH, None, &json!({"amount": 5})).await), (401, "unauthenticated".to_owned()));
    assert!(razorpay.heard().is_empty());
    let absent = json!({"amount": 5, "payment_id": null});
    assert_eq!(app.as_user(&ada).post(PATH, absent).await.0, 200);
    app.stop().await;
}

#[actix_web::test]
async fn a_link_is_stored_before_razorpay_is_asked_and_again_when_it_is_made() {
    let (app, mut razorpay, ada) = start().await;
    let permission = Arc::new(Notify::new());
    razorpay.next(Mood::Held(permission.clone()));
    let call = async { app.as_user(&ada).post(PATH, json!({"amount": 19.99})).await };
    let meanwhile = async {
        razorpay.arrival().await;
        let before = rows(&app).await;
        permission.notify_one();
        before
    };
    let ((status, body), before) = tokio::join!(call, meanwhile);
    assert_eq!((status, &body["message"]), (200, &json!("Payment link created successfully")), "{body}");
    assert_eq!(body["payment_link"], "https://rzp.io/i/1");
    assert_eq!(body["payment_link_id"], "plink_00000000000001");

    let heard = &razorpay.heard()[0];
    assert_eq!((heard.method.as_str(), heard.target.as_str()), ("POST", "/v1/payment_links/"));
    assert!(heard.headers["content-type"].starts_with("application/json"));
    let reference = heard.body["reference_id"].as_str().unwrap();
    assert!(!format!("{heard:?}").contains("ada"), "nobody is named to Razorpay");
    assert_eq!(
        heard.body,
        json!({"amount": 1999, "currency": "INR", "accept_partial": false, "reference_id": reference,
               "description": "Kokoro", "notes": {"kokoro_reference": reference}})
    );

    let row = json!({
        "payment_id": reference, "order_id": null, "amount": "19.99", "currency": "INR", "status": "creating",
        "timestamp": "2026-11-23T04:30:00Z", "invoice_url": null, "payer": "user#ada@example.com",
    });
    assert_eq!(before, std::slice::from_ref(&row));
    let mut made = row;
    made["status"] = json!("created");
    made["link_id"] = json!("plink_00000000000001");
    made["link_url"] = json!("https://rzp.io/i/1");
    assert_eq!(rows(&app).await, [made]);
    app.stop().await;
}

#[actix_web::test]
async fn a_payment_is_asked_for_and_kept() {
    let (app, razorpay, ada) = start().await;
    let plink = link(&app, &ada).await;
    let payment = razorpay.pay(&plink, "captured");
    let pay = payment["id"].as_str().unwrap();
    razorpay.change(pay, "invoice_id", json!("inv_L0nS7JIyuX6Lyb"));
    let (status, body) = app.as_user(&ada).post(PATH, json!({"payment_id": pay})).await;
    let expected = json!({
        "message": "Payment processed", "order_id": payment["order_id"], "payment_id": pay, "status": "captured",
        "invoice_url": "https://rzp.io/i/inv_L0nS7JIyuX6Lyb",
    });
    assert_eq!((status, body), (200, expected));
    let reference = &razorpay.links()[0]["reference_id"];
    let stored = json!({
        "payment_id": pay, "order_id": payment["order_id"], "amount": "500", "currency": "INR", "status": "captured",
        "timestamp": "2026-11-23T04:30:00Z", "invoice_url": "https://rzp.io/i/inv_L0nS7JIyuX6Lyb",
        "reference": reference,
    });
    assert!(rows(&app).await.contains(&stored), "{:?}", rows(&app).await);

    let (status, body) = app.as_user(&ada).post(PATH, json!({"payment_id": plink})).await;
    let expected = json!({
        "message": "Payment processed", "order_id": payment["order_id"], "payment_id": plink, "status": "paid",
        "invoice_url": null,
    });
    assert_eq!((status, &body), (200, &expected));
    assert!(rows(&app).await.iter().any(|row| row["payment_id"] == *reference && row["status"] == "paid"));
    // An amount beside it asks for no other link.
    for amount in [json!(500), json!(0)] {
        let both = json!({"amount": amount, "payment_id": plink});
        assert_eq!(app.as_user(&ada).post(PATH, both).await, (200, expected.clone()));
    }
    assert_eq!(razorpay.links().len(), 1);
    app.stop().await;
}

#[actix_web::test]
async fn a_payment_without_notes_is_found_through_its_link() {
    let (app, razorpay, ada) = start().await;
    let plink = link(&app, &ada).await;
    let other = link(&app, &ada).await;
    razorpay.pay(&other, "captured");
    let payment = razorpay.pay(&plink, "captured");
    let pay = payment["id"].as_str().unwrap();
    razorpay.change(pay, "notes", json!([]));
    let (status, body) = app.as_user(&ada).post(PATH, json!({"payment_id": pay})).await;
    assert_eq!((status, &body["status"]), (200, &json!("captured")), "{body}");
    let stored = rows(&app).await.into_iter().find(|row| row["payment_id"] == pay).unwrap();
    assert_eq!(stored["reference"], razorpay.links()[0]["reference_id"]);
    app.stop().await;
}

#[actix_web::test]
async fn a_payment_is_not_taken_for_one_through_whatever_link_is_named_first() {
    let (app, razorpay, ada) = start().await;
    let plink = link(&app, &ada).await;
    let mut payment = razorpay.pay(&plink, "captured");
    payment["id"] = json!("pay_ofsomebodyelse");
    payment["notes"] = json!([]);
    // As if the filter were not known there.
    razorpay.next(Mood::Instead(200, payment.to_string()));
    razorpay.next(Mood::Instead(200, json!({"payment_links": razorpay.links()}).to_string()));
    let answer = app.as_user(&ada).post(PATH, json!({"payment_id": payment["id"]})).await;
    assert_eq!(told(answer), (404, "payment_not_found".to_owned()));
    app.stop().await;
}

#[actix_web::test]
async fn a_payment_of_another_amount_is_not_taken_for_one_through_the_link_in_its_notes() {
    let (app, razorpay, ada) = start().await;
    let made = pay_raw(&app, &ada, "{\"amount\": 19.90}").await;
    let pay = razorpay.pay(made.body["payment_link_id"].as_str().unwrap(), "captured");
    let pay = pay["id"].as_str().unwrap();
    let before = rows(&app).await;
    for (field, wrong, right) in
        [("amount", json!(199), json!(1990)), ("currency", json!("JPY"), json!("INR"))]
    {
        razorpay.change(pay, field, wrong);
        let answer = app.as_user(&ada).post(PATH, json!({"payment_id": pay})).await;
        assert_eq!(told(answer), (404, "payment_not_found".to_owned()), "{field}");
        razorpay.change(pay, field, right);
    }
    assert_eq!(rows(&app).await, before);
    assert_eq!(app.as_user(&ada).post(PATH, json!({"payment_id": pay})).await.0, 200);
    app.stop().await;
}

#[actix_web::test]
async fn only_the_payer_is_told_of_a_payment() {
    let (app, razorpay, ada) = start().await;
    let bob = app.user("bob").await;
    let asha = app.doctor_without_slots("asha").await;
    // A doctor and a user of one address are two accounts.
    let body = json!({"doctorname": "Ada", "email": ada.email, "password": "correct horse", "phoneNumber": "+91 98765"});
    assert_eq!(app.post("/auth/signupDoctor", None, &body).await.0, 200);
    let doctor_ada = app.log_in("/auth/loginDoctor", &ada.email).await;
    assert_eq!(doctor_ada.email, ada.email);

    let plink = link(&app, &ada).await;
    let pay = razorpay.pay(&plink, "captured")["id"].as_str().unwrap().to_owned();
    // Whether or not anything is kept under the id already.
    for round in 0..2 {
        for id in [&plink, &pay] {
            for stranger in [&bob, &asha, &doctor_ada] {
                let theirs = app.as_user(stranger).post(PATH, json!({"payment_id": id})).await;
                let nothing = format!("{}9", &id[..id.len() - 1]);
                let nobodys = app.as_user(stranger).post(PATH, json!({"payment_id": nothing})).await;
                assert_eq!(told(theirs.clone()), (404, "payment_not_found".to_owned()), "{round}");
                assert_eq!((theirs.0, &theirs.1["detail"]), (nobodys.0, &nobodys.1["detail"]));
            }
            assert_eq!(app.as_user(&ada).post(PATH, json!({"payment_id": id})).await.0, 200, "{round}");
        }
    }
    // Doctors pay as well.
    let own = link(&app, &doctor_ada).await;
    assert_eq!(app.as_user(&doctor_ada).post(PATH, json!({"payment_id": own})).await.0, 200);
    assert_eq!(app.as_user(&ada).post(PATH, json!({"payment_id": own})).await.0, 404);
    app.stop().await;
}

#[actix_web::test]
async fn a_payment_that_did_not_come_through_one_of_our_links_is_nobodys() {
    let (app, razorpay, ada) = start().await;
    let plink = link(&app, &ada).await;
    let pay = razorpay.pay(&plink, "captured")["id"].as_str().unwrap().to_owned();
    razorpay.change(&plink, "reference_id", json!("TS1989"));
    razorpay.change(&pay, "notes", json!({"kokoro_reference": "kokoro_00000000000000000000000000000000"}));
    // As the old platform keeps it.
    let text = |text: &str| AttributeValue::S(text.to_owned());
    let table = &app.dynamo().tables().payments;
    let put = app.dynamo().client().put_item().table_name(table).item("payment_id", text(&pay));
    let put = put.item("status", text("captured")).item("order_id", text("order_1"));
    let put = put.item("amount", AttributeValue::N("499.98".to_owned())).item("currency", text("INR"));
    let put = put.item("timestamp", text("2025-01-01")).item("invoice_url", AttributeValue::Null(true));
    put.send().await.unwrap();
    let before = rows(&app).await;
    for id in [&plink, &pay] {
        let answer = app.as_user(&ada).post(PATH, json!({"payment_id": id})).await;
        assert_eq!(told(answer), (404, "payment_not_found".to_owned()));
    }
    assert_eq!(rows(&app).await, before);
    app.stop().await;
}

#[actix_web::test]
async fn one_key_makes_one_link() {
    let (app, mut razorpay, ada) = start().await;
    let bob = app.user("bob").await;
    // The repeat overtakes the first request, which Razorpay then refuses.
    let permission = Arc::new(Notify::new());
    razorpay.next(Mood::Held(permission.clone()));
    let meanwhile = async {
        razorpay.arrival().await;
        let answer = pay_with_key(&app, &ada, 500, "k").await;
        permission.notify_one();
        answer
    };
    let (first, second) = tokio::join!(pay_with_key(&app, &ada, 500, "k"), meanwhile);
    assert_eq!((first.0, &first), (200, &second));
    let asked = razorpay.heard().iter().filter(|heard| heard.method == "POST").count();
    assert_eq!(asked, 2, "both have asked for it");
    assert_eq!(pay_with_key(&app, &ada, 500, "k").await, first);
    assert_eq!(razorpay.links().len(), 1);
    for other in [
        pay_with_key(&app, &ada, 500, "l").await,
        pay_with_key(&app, &ada, 501, "k").await,
        pay_with_key(&app, &bob, 500, "k").await,
    ] {
        assert_eq!(other.0, 200);
        assert_ne!(other.1, first.1);
    }
    assert_eq!(razorpay.links().len(), 4);
    app.stop().await;
}

#[actix_web::test]
async fn no_secret_is_seen_in_the_settings() {
    let config = Razorpay::start().await.config();
    let shown = format!("{config:?}");
    assert!(
        shown.contains(KEY_ID) && !shown.contains(KEY_SECRET) && !shown.contains("mustnotbeseen"),
        "{shown}"
    );
}
