//! The public list of doctors: what is in it, how it is searched, and that it is read once for all.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::TimeDelta;
use futures::future::join_all;
use reqwest::Method;
use serde_json::{Value, json};
use web::config::Place;

use crate::eventually::eventually;
use crate::harness::{DEADLINE, Reply, TestApp, config, told};
use crate::profiles::{FETCH, complete, fetch, one, put, s, subscribe};
use crate::wire::Wire;

fn emails(doctors: &[Value]) -> Vec<&str> {
    doctors.iter().map(|doctor| doctor["email"].as_str().unwrap()).collect()
}

#[actix_web::test]
async fn what_the_public_sees_of_a_doctor_is_this_and_nothing_else() {
    let app = TestApp::start().await;
    let secret = |name: &str| s(&format!("SECRET {name}"));
    let everything = [
        ("email", s("asha@x.com")),
        ("doctorname", s("Dr. Asha Rao")),
        ("password", secret("password")),
        ("phoneNumber", secret("phone")),
        ("location", s("Pune")),
        ("emailVerified", AttributeValue::Bool(true)),
        ("phoneVerified", AttributeValue::Bool(true)),
        ("onboarded", AttributeValue::Bool(true)),
        ("description", s("Hearts.")),
        ("specialization", s("Cardiology")),
        ("experience", s("12 years")),
        ("fees", AttributeValue::N("500".to_owned())),
        ("timings", s("10 to 4")),
        ("licenseNumber", secret("licence")),
        ("registrationId", secret("registration")),
        ("affiliation", s("City Hospital")),
        ("degreeCertificate", secret("certificate")),
        ("govtIdProof", secret("identity")),
        ("profilePhoto", s("https://elsewhere.example/SECRET.png")),
        ("signup_id", secret("sign-up")),
        ("added_later", secret("news")),
        ("subscribers", AttributeValue::L(vec![secret("ada@x.com"), secret("bob@x.com")])),
    ];
    put(&app, &everything).await;
    put(&app, &[("email", s("ben@x.com")), ("location", AttributeValue::Null(true))]).await;

    let reply = Reply::of(app.request(Method::POST, FETCH).json(&json!({}))).await;
    assert_eq!(reply.status, 200);
    assert!(!reply.body.to_string().contains("SECRET"), "{}", reply.body);
    let known = json!({
        "email": "asha@x.com", "doctorname": "Dr. Asha Rao", "location": "Pune",
        "specialization": "Cardiology", "experience": "12 years", "fees": 500, "timings": "10 to 4",
        "affiliation": "City Hospital", "description": "Hearts.", "onboarded": true, "subscriberCount": 2,
        "profilePhoto": null, "subscribers": [null, null],
    });
    let unknown = json!({
        "email": "ben@x.com", "doctorname": null, "location": null, "specialization": null,
        "experience": null, "fees": null, "timings": null, "affiliation": null, "description": null,
        "onboarded": false, "subscriberCount": 0, "profilePhoto": null, "subscribers": [],
    });
    assert_eq!(reply.body, json!({"doctors": [known, unknown]}));
    app.stop().await;
}

#[actix_web::test]
async fn a_page_that_a_client_has_already_is_not_sent_again() {
    let app = TestApp::start().await;
    put(&app, &[("email", s("asha@x.com"))]).await;
    let ask = |body: Value, tag: Option<&str>| {
        let request = app.request(Method::POST, FETCH).json(&body);
        Reply::of(match tag {
            Some(tag) => request.header("If-None-Match", tag),
            None => request,
        })
    };
    let first = ask(json!({}), None).await;
    let tag = first.header("etag").to_owned();
    assert!(first.status == 200 && tag.starts_with('"') && tag.len() > 10, "{tag}");
    for known in [tag.clone(), format!("W/{tag}"), format!("\"other\", {tag}"), "*".to_owned()] {
        let again = ask(json!({}), Some(&known)).await;
        assert_eq!((again.status, again.header("etag"), again.body.as_str()), (304, tag.as_str(), Some("")));
    }
    for unknown in ["\"other\"", "nonsense", &tag[1..]] {
        assert_eq!(ask(json!({}), Some(unknown)).await.body, first.body, "{unknown}");
    }
    let other = ask(json!({"search": "nobody"}), Some(&tag)).await;
    assert!(other.status == 200 && other.header("etag") != tag);
    // A doctor who joins changes the page at once.
    app.doctor_without_slots("ben").await;
    let changed = ask(json!({}), Some(&tag)).await;
    assert_eq!((changed.status, changed.body["doctors"].as_array().unwrap().len()), (200, 2));
    app.stop().await;
}

#[actix_web::test]
async fn pages_neither_skip_nor_repeat() {
    let app = TestApp::start().await;
    for n in 0..7 {
        put(&app, &[("email", s(&format!("dr{n}@x.com")))]).await;
    }
    let (mut seen, mut cursor) = (Vec::new(), None);
    loop {
        let body = json!({"limit": 3, "cursor": cursor});
        let (status, page) = app.post(FETCH, None, &body).await;
        assert_eq!(status, 200, "{page}");
        seen.extend(emails(page["doctors"].as_array().unwrap()).into_iter().map(str::to_owned));
        match page["next_cursor"].as_str() {
            Some(next) => cursor = Some(next.to_owned()),
            None => break,
        }
    }
    assert_eq!(seen, (0..7).map(|n| format!("dr{n}@x.com")).collect::<Vec<_>>());
    let (_, whole) = app.post(FETCH, None, &json!({"limit": 7})).await;
    assert_eq!(whole.get("next_cursor"), None, "there is nothing more");

    let cursor = cursor.unwrap();
    let tampered = format!("{}{}", &cursor[1..], &cursor[..1]);
    for body in [
        json!({"cursor": tampered}),
        json!({"cursor": 7}),
        json!({"limit": 0}),
        json!({"limit": 1_001}),
        json!({"limit": 1.5}),
        json!({"limit": "3"}),
        json!({"search": "x".repeat(201)}),
        json!([]),
    ] {
        assert_eq!(told(app.post(FETCH, None, &body).await), (422, "invalid_value".to_owned()), "{body}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn doctors_are_found_in_any_case_and_script() {
    let app = TestApp::start().await;
    for (email, name, specialization, location, affiliation) in [
        ("a@x.com", "Dr. Asha Rao", "Cardiology", "Pune", "City Hospital"),
        ("b@x.com", "डॉ. आशा", " cardiology ", "Überlingen", "Apollo"),
        ("c@x.com", "李医生", "Dermatology", "PUNE", "Apollo"),
    ] {
        let row = [
            ("email", s(email)),
            ("doctorname", s(name)),
            ("specialization", s(specialization)),
            ("location", s(location)),
            ("affiliation", s(affiliation)),
            ("description", s("hidden words")),
        ];
        put(&app, &row).await;
    }
    for (body, expected) in [
        (json!({"specialization": "CARDIOLOGY"}), &["a@x.com", "b@x.com"][..]),
        (json!({"specialization": " Cardio"}), &[]),
        (json!({"specialization": " "}), &["a@x.com", "b@x.com", "c@x.com"]),
        (json!({"search": "pune"}), &["a@x.com", "c@x.com"]),
        (json!({"search": " ASHA "}), &["a@x.com"]),
        (json!({"search": "आशा"}), &["b@x.com"]),
        (json!({"search": "医"}), &["c@x.com"]),
        (json!({"search": "ÜBER"}), &["b@x.com"]),
        (json!({"search": "apollo", "specialization": "dermatology"}), &["c@x.com"]),
        (json!({"search": "hidden"}), &[]),
        (
            json!({"search": null, "limit": null, "specialization": null, "cursor": null}),
            &["a@x.com", "b@x.com", "c@x.com"],
        ),
    ] {
        assert_eq!(emails(&fetch(&app, body.clone()).await), expected, "{body}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn the_old_client_sends_nothing_at_all() {
    let app = TestApp::start().await;
    put(&app, &[("email", s("a@x.com"))]).await;
    for content_type in ["application/json", "text/plain"] {
        let reply = app.post_raw(FETCH, None, content_type, Vec::new()).await;
        assert_eq!((reply.status, reply.body["doctors"].as_array().map(Vec::len)), (200, Some(1)));
    }
    app.stop().await;
}

#[actix_web::test]
async fn a_hundred_visitors_at_once_cost_one_scan() {
    let wire = Wire::to_fresh_store().await;
    let mut settings = config();
    settings.store.place = Place::Named(wire.endpoint.clone());
    let app = TestApp::start_with(settings).await;
    put(&app, &[("email", s("a@x.com"))]).await;
    let before = wire.scans();
    let visit = || async { assert_eq!(fetch(&app, json!({})).await.len(), 1) };
    join_all((0..100).map(|_| visit())).await;
    assert_eq!(wire.scans(), before + 1);

    // Somebody else adds a doctor: seen when the list has aged.
    put(&app, &[("email", s("b@x.com"))]).await;
    visit().await;
    app.clock.advance(TimeDelta::seconds(16));
    let doctors = join_all((0..100).map(|_| fetch(&app, json!({})))).await;
    assert!(doctors.iter().all(|doctors| doctors.len() == 2));
    assert_eq!(wire.scans(), before + 2);

    // An ageing list is shown while the next one is read.
    put(&app, &[("email", s("c@x.com"))]).await;
    app.clock.advance(TimeDelta::seconds(6));
    assert_eq!(fetch(&app, json!({})).await.len(), 2);
    let is_read = async || fetch(&app, json!({})).await.len() == 3;
    eventually(DEADLINE, "the next list is shown", is_read).await;
    assert_eq!(wire.scans(), before + 3);
    app.stop().await;
}

#[actix_web::test]
async fn a_list_outlives_its_store_by_a_minute() {
    let wire = Wire::to_fresh_store().await;
    let mut settings = config();
    settings.store.place = Place::Named(wire.endpoint.clone());
    let app = TestApp::start_with(settings).await;
    put(&app, &[("email", s("a@x.com"))]).await;
    assert_eq!(fetch(&app, json!({})).await.len(), 1);
    wire.cut(true);
    app.clock.advance(TimeDelta::seconds(59));
    let doctors = join_all((0..20).map(|_| fetch(&app, json!({})))).await;
    assert!(doctors.iter().all(|doctors| doctors.len() == 1));
    app.clock.advance(TimeDelta::seconds(2));
    assert_eq!(told(app.post(FETCH, None, &json!({})).await), (503, "unavailable".to_owned()));
    wire.cut(false);
    assert_eq!(fetch(&app, json!({})).await.len(), 1);
    app.stop().await;
}

#[actix_web::test]
async fn a_list_outlives_a_change_that_cannot_be_looked_at() {
    let wire = Wire::to_fresh_store().await;
    let mut settings = config();
    settings.store.place = Place::Named(wire.endpoint.clone());
    let app = TestApp::start_with(settings).await;
    let asha = app.doctor_without_slots("asha").await;
    assert_eq!(fetch(&app, json!({})).await.len(), 1);
    wire.cut(true);
    assert_eq!(complete(&app, &asha, json!({"fees": 7})).await.0, 503);
    assert_eq!(fetch(&app, json!({})).await.len(), 1);
    wire.cut(false);
    let scans = wire.scans();
    fetch(&app, json!({})).await;
    assert!(wire.scans() > scans, "what may have changed is read anew");
    app.stop().await;
}

#[actix_web::test]
async fn a_change_is_shown_in_the_very_next_call() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor_without_slots("asha").await);
    for fees in 1..=20 {
        assert_eq!(complete(&app, &asha, json!({"fees": fees})).await.0, 200);
        assert_eq!(one(&app, &asha).await["fees"], fees);
        // At times the next list is being read meanwhile.
        app.clock.advance(TimeDelta::seconds(3));
    }
    assert_eq!(subscribe(&app, &ada, &asha).await.0, 200);
    let shown = one(&app, &asha).await;
    assert_eq!((&shown["subscriberCount"], &shown["subscribers"]), (&json!(1), &json!([null])));
    let ben = app.doctor_without_slots("ben").await;
    assert_eq!(one(&app, &ben).await["email"], ben.email.as_str());
    app.stop().await;
}
