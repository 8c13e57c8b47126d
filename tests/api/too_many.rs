//! The limit on a patient's bookings to come with one doctor.

use serde_json::Value;
use web::config::Config;

use crate::harness::{TestApp, TestUser, config, told};

const MONDAY: &str = "2026-11-23";
const TUESDAY: &str = "2026-11-24";
const WEDNESDAY: &str = "2026-11-25";
const STARTS: [&str; 6] = ["10:00", "10:30", "11:00", "11:30", "12:00", "12:30"];

/// Books ten slots, the first of which begins in half an hour.
async fn book_ten(app: &TestApp, user: &TestUser, doctor: &TestUser) {
    let seats = [(MONDAY, &STARTS[1..2]), (TUESDAY, &STARTS[..]), (WEDNESDAY, &STARTS[..3])];
    for (date, starts) in seats {
        for start in starts {
            assert_eq!(app.as_user(user).book(doctor, date, start).await.0, 200, "{date} {start}");
        }
    }
}

fn is_too_many((status, body): (u16, Value)) -> bool {
    let detail = "You already have 10 bookings to come with this doctor. Please cancel one of them first";
    (status, &body["code"]) == (409, &"too_many_bookings".into()) && body["detail"] == detail
}

#[actix_web::test]
async fn eleventh_booking_to_come_with_one_doctor_is_refused_until_one_is_cancelled() {
    let app = TestApp::start().await;
    let (ada, ben) = (app.user("ada").await, app.user("ben").await);
    let (asha, ravi) = (app.doctor("asha").await, app.doctor("ravi").await);
    book_ten(&app, &ada, &asha).await;
    let user = app.as_user(&ada);
    assert!(is_too_many(user.book(&asha, WEDNESDAY, "12:30").await));
    assert_eq!(user.book(&ravi, WEDNESDAY, "12:30").await.0, 200, "another doctor");
    assert_eq!(app.as_user(&ben).book(&asha, WEDNESDAY, "12:30").await.0, 200, "another patient");
    assert_eq!(user.cancel(&asha, TUESDAY, "10:00").await.0, 200);
    assert_eq!(user.book(&asha, WEDNESDAY, "12:30").await.0, 200);
    assert!(is_too_many(user.book(&asha, TUESDAY, "10:00").await));
    app.stop().await;
}

#[actix_web::test]
async fn booking_whose_slot_has_begun_frees_its_place() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    book_ten(&app, &ada, &asha).await;
    let user = app.as_user(&ada);
    app.clock.set("2026-11-23T04:59:59Z".parse().unwrap());
    assert!(is_too_many(user.book(&asha, WEDNESDAY, "12:30").await));
    app.clock.set("2026-11-23T05:00:00Z".parse().unwrap());
    assert_eq!(user.book(&asha, WEDNESDAY, "12:30").await.0, 200);
    assert!(is_too_many(user.book(&asha, WEDNESDAY, "12:00").await));
    app.stop().await;
}

#[actix_web::test]
async fn patient_at_the_limit_hears_of_other_rules_first_and_may_repeat() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let user = app.as_user(&ada);
    let first = user.book_with_key(&asha, WEDNESDAY, "12:00", "k-1").await;
    assert_eq!(first.0, 200);
    assert_eq!(user.cancel(&asha, WEDNESDAY, "12:00").await.0, 200);
    book_ten(&app, &ada, &asha).await;
    assert!(is_too_many(user.book_with_key(&asha, WEDNESDAY, "12:00", "k-1").await), "it stands no longer");
    assert_eq!(user.cancel(&asha, TUESDAY, "10:00").await.0, 200);
    assert_eq!(user.book_with_key(&asha, WEDNESDAY, "12:00", "k-1").await, first);
    assert_eq!(user.book_with_key(&asha, WEDNESDAY, "12:00", "k-1").await, first, "a repeat at the limit");
    for n in 0..5 {
        let other = app.user(&format!("other{n}")).await;
        assert_eq!(app.as_user(&other).book(&asha, WEDNESDAY, "12:30").await.0, 200);
    }
    for (start, code) in [("12:00", "already_booked"), ("12:30", "slot_full"), ("20:00", "slot_unavailable")]
    {
        assert_eq!(told(user.book(&asha, WEDNESDAY, start).await), (409, code.to_owned()));
    }
    assert!(is_too_many(user.book(&asha, WEDNESDAY, "11:30").await));
    app.stop().await;
}

#[actix_web::test]
async fn deployment_may_turn_the_limit_off() {
    let rules = engine::Rules { bookings_per_doctor: None };
    let app = TestApp::start_with(Config { rules, ..config() }).await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    book_ten(&app, &ada, &asha).await;
    assert_eq!(app.as_user(&ada).book(&asha, WEDNESDAY, "12:30").await.0, 200);
    app.stop().await;
}
