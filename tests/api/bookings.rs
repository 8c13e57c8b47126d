//! Seats, from a doctor's published hours to a user's list.

use aws_sdk_dynamodb::types::AttributeValue;
use chrono::{DateTime, Utc};
use futures::future::join_all;
use serde_json::{Value, json};
use web::config::Config;

use crate::harness::{TestApp, TestUser, compiled_in, config, told};

const TUESDAY: &str = "2026-11-24";

fn starts(body: &Value) -> Vec<&str> {
    let slots = body["slots"].as_array().unwrap();
    slots.iter().map(|slot| slot["start"].as_str().unwrap()).collect()
}

fn seats(body: &Value) -> Vec<String> {
    let bookings = body["bookings"].as_array().unwrap();
    let text = |booking: &Value, field: &str| booking[field].as_str().unwrap().to_owned();
    bookings.iter().map(|booking| format!("{} {}", text(booking, "date"), text(booking, "start"))).collect()
}

/// A row as the old platform wrote it.
async fn old_booking(app: &TestApp, doctor: &TestUser, date: &str, start: &str, user: &TestUser) {
    let (doctor, user) = (&doctor.email, &user.email);
    let row = [
        ("PK", format!("{doctor}#{date}")),
        ("SK", format!("{start}#{user}")),
        ("doctor_id", doctor.clone()),
        ("date", date.to_owned()),
        ("start", start.to_owned()),
        ("user_id", user.clone()),
    ];
    let put = app.dynamo().client().put_item().table_name(&app.dynamo().tables().bookings);
    let put = row.into_iter().fold(put, |put, (name, value)| put.item(name, AttributeValue::S(value)));
    put.send().await.unwrap();
}

#[actix_web::test]
async fn a_seat_is_booked_shown_cancelled_and_booked_again() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let user = app.as_user(&ada);
    let booking = json!({
        "PK": "asha@clinic.example#2026-11-24", "SK": "10:00#ada@example.com", "doctor_id": asha.email,
        "date": TUESDAY, "start": "10:00", "user_id": ada.email, "ttl": 1_796_083_200,
    });
    for _ in 0..2 {
        let booked = user.book(&asha, TUESDAY, "10:00").await;
        assert_eq!(booked, (200, json!({"message": "Slot booked", "booking": booking})));
        assert_eq!(user.bookings().await, (200, json!({"bookings": [booking]})));
        assert_eq!(told(user.book(&asha, TUESDAY, "10:00").await), (409, "already_booked".to_owned()));
        let (_, body) = app.available(&asha, TUESDAY).await;
        assert_eq!(
            body["slots"][0],
            json!({"start": "10:00", "end": "10:30", "booked": 1, "available": true})
        );
        assert_eq!(
            user.cancel(&asha, TUESDAY, "10:00").await,
            (200, json!({"message": "Booking cancelled"}))
        );
        assert_eq!(user.bookings().await, (200, json!({"bookings": []})));
        assert_eq!(told(user.cancel(&asha, TUESDAY, "10:00").await), (404, "booking_not_found".to_owned()));
    }
    app.stop().await;
}

#[actix_web::test]
async fn of_twelve_users_at_once_five_get_the_slot() {
    let app = TestApp::start().await;
    let asha = app.doctor("asha").await;
    let mut users = Vec::new();
    for n in 0..12 {
        users.push(app.user(&format!("user{n}")).await);
    }
    let race = users.iter().map(|user| {
        let (app, asha) = (&app, &asha);
        async move { app.as_user(user).book(asha, TUESDAY, "11:00").await }
    });
    let answers = join_all(race).await;
    assert_eq!(answers.iter().filter(|(status, _)| *status == 200).count(), 5);
    let refused = answers.iter().filter(|(status, _)| *status != 200);
    assert!(
        refused.clone().all(|(status, body)| *status == 409 && body["detail"] == "Slot full"),
        "{answers:?}"
    );
    let (_, body) = app.available(&asha, TUESDAY).await;
    assert_eq!(body["slots"][2], json!({"start": "11:00", "end": "11:30", "booked": 5, "available": false}));
    app.stop().await;
}

#[actix_web::test]
async fn a_refusal_says_which_rule_it_rests_on() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let user = app.as_user(&ada);
    for (date, start, status, code) in [
        (TUESDAY, "09:30", 409, "slot_unavailable"),
        ("2026-12-08", "10:00", 200, ""),
        ("2026-12-09", "10:00", 422, "outside_booking_window"),
        ("2026-11-22", "10:00", 422, "outside_booking_window"),
        ("2026-11-23", "10:00", 422, "slot_in_past"),
        ("2026-11-23", "10:30", 200, ""),
    ] {
        assert_eq!(told(user.book(&asha, date, start).await), (status, code.to_owned()), "{date} {start}");
    }
    assert_eq!(told(user.cancel(&asha, "2026-11-23", "10:00").await), (422, "slot_in_past".to_owned()));
    app.stop().await;
}

#[actix_web::test]
async fn what_has_begun_or_lies_outside_the_window_is_not_on_offer() {
    let app = TestApp::start().await;
    let asha = app.doctor("asha").await;
    let (_, today) = app.available(&asha, "2026-11-23").await;
    assert_eq!(starts(&today), ["10:30", "11:00", "11:30", "12:00", "12:30"]);
    for date in ["2026-11-22", "2026-12-09", "1999-01-01", "9999-12-31"] {
        assert_eq!(app.available(&asha, date).await, (200, json!({"slots": []})), "{date}");
    }
    app.stop().await;
}

#[actix_web::test]
async fn a_weekday_is_replaced_as_a_whole_and_a_slot_by_itself() {
    let app = TestApp::start().await;
    let asha = app.doctor_without_slots("asha").await;
    let doctor = app.as_user(&asha);
    let set = doctor.set_slots("Tuesday", &[("23:30", "00:00"), ("09:00", "10:00")]).await;
    assert_eq!(set, (200, json!({"message": "Availability for Tuesday set successfully."})));
    let (_, body) = app.available(&asha, TUESDAY).await;
    assert_eq!(starts(&body), ["09:00", "09:30", "23:30"]);
    assert_eq!(body["slots"][2]["end"], "24:00");
    let disabled = doctor.update_slot("Tuesday", ("09:00", "09:30"), false).await;
    assert_eq!(disabled, (200, json!({"message": "Slot disabled successfully"})));
    assert_eq!(starts(&app.available(&asha, TUESDAY).await.1), ["09:30", "23:30"]);
    let body = json!({"doctor_id": asha.email, "day": "Tuesday", "slot": {"start": "15:00", "end": "15:30"}});
    let enabled = doctor.post("/doctorsService/updateSlot", body).await;
    assert_eq!(enabled, (200, json!({"message": "Slot enabled successfully"})));
    assert_eq!(starts(&app.available(&asha, TUESDAY).await.1), ["09:30", "15:00", "23:30"]);
    assert_eq!(doctor.set_slots("Tuesday", &[]).await.0, 200);
    assert_eq!(starts(&app.available(&asha, TUESDAY).await.1), Vec::<&str>::new());
    app.stop().await;
}

#[actix_web::test]
async fn a_repeat_with_its_key_answers_as_the_first_did() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let user = app.as_user(&ada);
    let first = user.book_with_key(&asha, TUESDAY, "10:00", "k-1").await;
    assert_eq!(first.0, 200);
    assert_eq!(user.book_with_key(&asha, TUESDAY, "10:00", "k-1").await, first);
    let refused = (409, "already_booked".to_owned());
    assert_eq!(told(user.book_with_key(&asha, TUESDAY, "10:00", "k-2").await), refused);
    assert_eq!(told(user.book(&asha, TUESDAY, "10:00").await), refused);
    app.stop().await;
}

#[actix_web::test]
async fn a_doctor_cancels_for_a_user_whom_it_names() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let doctor = app.as_user(&asha);
    assert_eq!(app.as_user(&ada).book(&asha, TUESDAY, "10:00").await.0, 200);
    assert_eq!(told(doctor.cancel(&asha, TUESDAY, "10:00").await), (422, "invalid_value".to_owned()));
    let seat =
        |user: &str| json!({"doctor_id": asha.email, "date": TUESDAY, "start": "10:00", "user_id": user});
    let unknown = doctor.post("/doctorBookings/cancel", seat("nobody@example.com")).await;
    assert_eq!(told(unknown), (404, "booking_not_found".to_owned()));
    assert_eq!(doctor.post("/doctorBookings/cancel", seat("ADA@example.com")).await.0, 200);
    assert_eq!(app.as_user(&ada).bookings().await, (200, json!({"bookings": []})));
    app.stop().await;
}

#[actix_web::test]
async fn lists_reach_back_as_far_as_asked_and_hold_the_old_platforms_rows() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    for date in ["2026-11-10", "2026-11-15", "2026-11-16", "2026-12-1"] {
        old_booking(&app, &asha, date, "09:00", &ada).await;
    }
    let user = app.as_user(&ada);
    assert_eq!(user.book(&asha, TUESDAY, "10:00").await.0, 200);
    let week = ["2026-11-16 09:00", "2026-11-24 10:00", "2026-12-1 09:00"];
    assert_eq!(seats(&user.bookings().await.1), week);
    assert_eq!(seats(&user.fetch_bookings("user", 7).await.1), week);
    assert_eq!(seats(&app.as_user(&asha).fetch_bookings("doctor", 7).await.1), week);
    assert_eq!(seats(&user.fetch_bookings("user", 0).await.1), week[1..]);
    let all = ["2026-11-10 09:00", "2026-11-15 09:00", week[0], week[1], week[2]];
    assert_eq!(seats(&user.fetch_bookings("user", 365).await.1), all);
    assert_eq!(seats(&app.as_user(&asha).fetch_bookings("doctor", 365).await.1), all);
    let (_, body) = user.fetch_bookings("user", 365).await;
    assert_eq!(body["bookings"][4]["PK"], "asha@clinic.example#2026-12-1");
    let midnight_of_the_eighth: DateTime<Utc> = "2026-12-08T00:00:00Z".parse().unwrap();
    assert_eq!(body["bookings"][4]["ttl"], midnight_of_the_eighth.timestamp());
    app.stop().await;
}

#[actix_web::test]
async fn pages_of_allowed_origins_may_call_and_others_may_not() {
    let mut config = crate::harness::config();
    config.cors.allowed_origins = vec!["https://clinic.example".to_owned()];
    let app = TestApp::start_with(config).await;
    for (origin, allowed) in
        [("https://clinic.example", Some("https://clinic.example")), ("https://evil.example", None)]
    {
        let ask = |method: reqwest::Method| {
            let request = app.request(method, "/doctorBookings/book").header("Origin", origin);
            let request = request.header("Access-Control-Request-Method", "POST");
            request.header("Access-Control-Request-Headers", "content-type,idempotency-key").send()
        };
        let preflight = ask(reqwest::Method::OPTIONS).await.unwrap();
        let refusal = ask(reqwest::Method::POST).await.unwrap();
        for response in [preflight, refusal] {
            let headers = response.headers();
            let header = |name: &str| headers.get(name).map(|value| value.to_str().unwrap().to_owned());
            assert_eq!(header("access-control-allow-origin").as_deref(), allowed, "{response:?}");
            if allowed.is_some() {
                assert_eq!(header("access-control-allow-credentials").as_deref(), Some("true"));
            }
        }
    }
    app.stop().await;
}

#[actix_web::test]
async fn a_clinic_in_a_zone_with_daylight_saving_keeps_its_own_wall_clock() {
    let berlin = Config { clinic: compiled_in("Europe/Berlin"), ..config() };
    let app = TestApp::start_with(berlin).await;
    // An hour before Sunday in Berlin; that night its clocks go from 02:00 to 03:00.
    app.clock.set("2027-03-27T22:00:00Z".parse().unwrap());
    let asha = app.doctor_without_slots("asha").await;
    for day in ["Saturday", "Sunday", "Monday"] {
        assert_eq!(app.as_user(&asha).set_slots(day, &[("01:30", "04:00")]).await.0, 200);
    }
    let ada = app.user("ada").await;
    let (_, sunday) = app.available(&asha, "2027-03-28").await;
    assert_eq!(starts(&sunday), ["01:30", "03:00", "03:30"]);
    let skipped = app.as_user(&ada).book(&asha, "2027-03-28", "02:30").await;
    assert_eq!(told(skipped), (409, "slot_unavailable".to_owned()));
    assert_eq!(app.as_user(&ada).book(&asha, "2027-03-28", "03:00").await.0, 200);
    // 03:00 in Berlin is 01:00 UTC from that night on.
    app.clock.set("2027-03-28T00:59:59Z".parse().unwrap());
    assert_eq!(app.as_user(&ada).cancel(&asha, "2027-03-28", "03:00").await.0, 200);
    app.clock.set("2027-03-28T01:00:00Z".parse().unwrap());
    let begun = app.as_user(&ada).book(&asha, "2027-03-28", "03:00").await;
    assert_eq!(told(begun), (422, "slot_in_past".to_owned()));
    let (_, monday) = app.available(&asha, "2027-03-29").await;
    assert_eq!(starts(&monday), ["01:30", "02:00", "02:30", "03:00", "03:30"]);
    app.stop().await;
}
