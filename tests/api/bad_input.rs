//! Whatever is sent, the answer is a clear refusal, and nothing is stored.

use serde_json::{Value, json};

use crate::harness::{PASSWORD, Reply, TestApp, TestUser, told};

/// Every call that takes a body, with one that would do.
fn calls(ada: &TestUser, asha: &TestUser) -> Vec<(&'static str, Option<String>, Value)> {
    let (user, doctor) = (Some(ada.token.clone()), Some(asha.token.clone()));
    let slot = json!({"start": "10:00", "end": "10:30"});
    let file = json!({"filename": "a.txt", "content": "YQ=="});
    let seat = json!({"doctor_id": asha.email, "date": "2026-11-24", "start": "10:00"});
    let newcomer = |name: &str| json!({name: "New", "email": "new@example.com", "password": PASSWORD, "phoneNumber": "12345"});
    vec![
        ("/auth/signupUser", None, newcomer("username")),
        ("/auth/signupDoctor", None, newcomer("doctorname")),
        ("/auth/loginUser", None, json!({"email": ada.email, "password": PASSWORD})),
        ("/auth/loginDoctor", None, json!({"email": asha.email, "password": PASSWORD})),
        (
            "/doctorsService/setSlots",
            doctor.clone(),
            json!({"doctor_id": asha.email, "day": "Friday", "slots": [slot]}),
        ),
        (
            "/doctorsService/updateSlot",
            doctor,
            json!({"doctor_id": asha.email, "day": "Friday", "slot": slot}),
        ),
        ("/doctorBookings/book", user.clone(), seat.clone()),
        ("/doctorBookings/cancel", user.clone(), seat),
        ("/doctorBookings/available", None, json!({"doctor_id": asha.email, "date": "2026-11-24"})),
        ("/doctorBookings/user", user.clone(), json!({"user_id": ada.email})),
        ("/doctorBookings/fetchBookings", user.clone(), json!({"id": ada.email, "type": "user", "days": 7})),
        ("/medilocker/upload", user.clone(), json!({"email": ada.email, "files": [file]})),
        ("/medilocker/fetch", user.clone(), json!({"email": ada.email})),
        ("/medilocker/download", user.clone(), json!({"email": ada.email, "filename": "a.txt"})),
        ("/medilocker/delete", user, json!({"email": ada.email, "filename": "a.txt"})),
    ]
}

/// How many rows each table holds.
async fn rows(app: &TestApp) -> Vec<i32> {
    let mut counts = Vec::new();
    let tables = app.dynamo().tables();
    for table in [&tables.users, &tables.doctors, &tables.availability, &tables.bookings] {
        counts.push(app.dynamo().client().scan().table_name(table).send().await.unwrap().count());
    }
    counts
}

async fn send(app: &TestApp, path: &str, token: Option<&str>, body: &Value) -> Reply {
    app.post_raw(path, token, "application/json", body.to_string().into_bytes()).await
}

#[actix_web::test]
async fn a_compressed_body_is_refused_by_every_call() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor_without_slots("asha").await);
    let before = rows(&app).await;
    for (path, token, body) in calls(&ada, &asha) {
        let ask = |codings: &'static [&'static str]| {
            let request = app.request(reqwest::Method::POST, path).json(&body);
            let request =
                codings.iter().fold(request, |request, coding| request.header("Content-Encoding", *coding));
            Reply::of(match &token {
                Some(token) => request.bearer_auth(token),
                None => request,
            })
        };
        for codings in
            [&["gzip"][..], &["br"], &["identity, gzip"], &["identity", "deflate"], &["x-unknown"], &[""]]
        {
            let reply = ask(codings).await;
            reply.assert_problem(415, "unsupported_content_encoding");
            assert_eq!(reply.header("accept-encoding"), "identity", "{path}");
        }
        if token.is_some() {
            let anonymous =
                app.request(reqwest::Method::POST, path).json(&body).header("Content-Encoding", "gzip");
            Reply::of(anonymous).await.assert_problem(401, "unauthenticated");
        }
    }
    assert_eq!(rows(&app).await, before);
    let list = app.request(reqwest::Method::POST, "/doctorsService/fetchDoctors");
    assert_eq!(Reply::of(list.header("Content-Encoding", "Identity")).await.status, 200);
    app.stop().await;
}

#[actix_web::test]
async fn a_byte_order_mark_before_a_body_is_skipped_by_every_call() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let mark = "\u{feff}".as_bytes();
    for (path, token, body) in calls(&ada, &asha) {
        let send = async |mark: &[u8]| {
            let bytes = [mark, body.to_string().as_bytes()].concat();
            app.post_raw(path, token.as_deref(), "application/json", bytes).await
        };
        send(&[mark, mark].concat()).await.assert_problem(400, "invalid_json");
        send(&mark[..2]).await.assert_problem(400, "invalid_json");
        let reply = send(mark).await;
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
    }
    let reply = app.post_raw("/doctorsService/fetchDoctors", None, "application/json", mark.to_vec()).await;
    assert_eq!(reply.status, 200);
    app.stop().await;
}

#[actix_web::test]
async fn a_malformed_body_is_refused_by_every_call() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor_without_slots("asha").await);
    let before = rows(&app).await;
    let deep = format!("{{\"email\":{}{}}}", "[".repeat(20_000), "]".repeat(20_000));
    let bodies: [&[u8]; 8] = [
        b"",
        b"{",
        b"{\"email\":}",
        b"nonsense",
        b"{}{}",
        b"{\"email\":\"\xff\xfe\"}",
        b"\0",
        deep.as_bytes(),
    ];
    for (path, token, _) in calls(&ada, &asha) {
        for body in bodies {
            let reply = app.post_raw(path, token.as_deref(), "application/json", body.to_vec()).await;
            reply.assert_problem(400, "invalid_json");
        }
        for content_type in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data", ""] {
            let reply = app.post_raw(path, token.as_deref(), content_type, b"{}".to_vec()).await;
            reply.assert_problem(415, "unsupported_media_type");
        }
        for body in [json!([]), json!(null), json!("text"), json!(7)] {
            send(&app, path, token.as_deref(), &body).await.assert_problem(422, "invalid_value");
        }
    }
    assert_eq!(rows(&app).await, before);
    app.stop().await;
}

#[actix_web::test]
async fn a_missing_field_or_one_of_the_wrong_type_is_refused_by_name() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor_without_slots("asha").await);
    let before = rows(&app).await;
    for (path, token, good) in calls(&ada, &asha) {
        let fields: Vec<String> = good.as_object().unwrap().keys().cloned().collect();
        for field in fields {
            let mut without = good.clone();
            without.as_object_mut().unwrap().remove(&field);
            let mut bad = vec![without];
            for value in [json!(7.5), json!({"a": "canary"}), json!([["canary"]]), json!(true), json!(null)] {
                let mut wrong = good.clone();
                wrong[&field] = value;
                bad.push(wrong);
            }
            for body in bad {
                let reply = send(&app, path, token.as_deref(), &body).await;
                reply.assert_problem(422, "invalid_value");
                let detail = reply.body["detail"].as_str().unwrap();
                assert!(
                    detail.contains(&format!("'{field}")) && !detail.contains("canary"),
                    "{path}: {detail}"
                );
            }
        }
    }
    assert_eq!(rows(&app).await, before);
    app.stop().await;
}

#[actix_web::test]
async fn what_could_break_out_of_a_key_is_refused_wherever_an_address_stands() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor_without_slots("asha").await);
    let before = rows(&app).await;
    let long = format!("{}@example.com", "a".repeat(255));
    let addresses = [
        "",
        "a",
        "a@",
        "@b",
        "a#b@c.d",
        "asha@clinic.example#2026-11-24",
        "a b@c.d",
        "a\n@c.d",
        "a@c\0.d",
        "a@b@c",
        &long,
    ];
    for (path, token, good) in calls(&ada, &asha) {
        for field in ["email", "doctor_id"].into_iter().filter(|field| good.get(*field).is_some()) {
            for address in addresses {
                let mut body = good.clone();
                body[field] = json!(address);
                let reply = send(&app, path, token.as_deref(), &body).await;
                // Somebody else's, if the call is about the caller.
                let is_about_caller = path.contains("doctorsService") || path.contains("medilocker");
                let (status, code) =
                    if is_about_caller { (403, "forbidden") } else { (422, "invalid_value") };
                reply.assert_problem(status, code);
            }
        }
    }
    let seat = |user: &str| json!({"doctor_id": asha.email, "user_id": user, "date": "2026-11-24", "start": "10:00"});
    for address in addresses {
        let reply = send(&app, "/doctorBookings/cancel", Some(&asha.token), &seat(address)).await;
        reply.assert_problem(422, "invalid_value");
    }
    assert_eq!(rows(&app).await, before);
    app.stop().await;
}

#[actix_web::test]
async fn a_date_time_day_or_number_that_is_none_is_refused() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let before = rows(&app).await;
    let (user, doctor) = (app.as_user(&ada), app.as_user(&asha));
    let refused = (422, "invalid_value".to_owned());
    for date in ["2026-13-45", "2026-02-29", "2026-11-4", "24-11-2026", "2026-11-24T10:00", "", "tomorrow"] {
        assert_eq!(told(user.book(&asha, date, "10:00").await), refused, "{date}");
        assert_eq!(told(user.cancel(&asha, date, "10:00").await), refused, "{date}");
        assert_eq!(told(app.available(&asha, date).await), refused, "{date}");
    }
    for time in ["25:99", "10:10", "24:00", "9:00", "10:00:00", "", "10", "-1:00", "１０:００"] {
        assert_eq!(told(user.book(&asha, "2026-11-24", time).await), refused, "{time}");
        assert_eq!(told(user.cancel(&asha, "2026-11-24", time).await), refused, "{time}");
        assert_eq!(told(doctor.update_slot("Monday", (time, "23:30"), true).await), refused, "{time}");
    }
    for span in
        [("10:00", "09:00"), ("10:00", "10:00"), ("10:00", "10:45"), ("10:00", "24:30"), ("10:15", "10:45")]
    {
        assert_eq!(told(doctor.set_slots("Monday", &[span]).await), refused, "{span:?}");
    }
    let overlapping = [("10:00", "11:00"), ("10:30", "11:00")];
    assert_eq!(told(doctor.set_slots("Monday", &overlapping).await), refused);
    assert_eq!(told(doctor.set_slots("Monday", &[("10:00", "10:30"); 49]).await), refused);
    for day in ["monday", "Mon", "", "Monday ", "WeekDay.Monday", "Montag"] {
        assert_eq!(told(doctor.set_slots(day, &[]).await), refused, "{day}");
    }
    for days in [json!(-1), json!(366), json!(7.5), json!("7"), json!(1e300)] {
        let body = json!({"id": ada.email, "type": "user", "days": days});
        assert_eq!(told(user.post("/doctorBookings/fetchBookings", body).await), refused, "{days}");
    }
    let body = json!({"id": ada.email, "type": "both", "days": 7});
    assert_eq!(told(user.post("/doctorBookings/fetchBookings", body).await), refused);
    let long = "k".repeat(65);
    for key in ["", "a b", "\u{e9}", &long] {
        assert_eq!(told(user.book_with_key(&asha, "2026-11-24", "10:00", key).await), refused, "{key}");
    }
    assert_eq!(rows(&app).await, before);
    app.stop().await;
}

#[actix_web::test]
async fn a_sign_up_keeps_no_control_characters_and_names_are_welcome_in_every_script() {
    let app = TestApp::start().await;
    let sign_up = |n: usize, changes: Value| {
        let mut body = json!({"username": "Ada", "doctorname": "Ada", "email": format!("n{n}@example.com"),
            "password": PASSWORD, "phoneNumber": "+91 98-765", "location": "Pune"});
        body.as_object_mut().unwrap().extend(changes.as_object().unwrap().clone());
        let app = &app;
        async move { told(app.post("/auth/signupUser", None, &body).await) }
    };
    let refused = (422, "invalid_value".to_owned());
    for (n, changes) in [
        json!({"username": "Ada\u{0}"}),
        json!({"username": "Ada\u{1b}[31m"}),
        json!({"username": "  "}),
        json!({"username": "x".repeat(101)}),
        json!({"location": "Pune\n"}),
        json!({"location": "x".repeat(201)}),
        json!({"phoneNumber": "123"}),
        json!({"phoneNumber": "call me"}),
        json!({"phoneNumber": "1".repeat(21)}),
        json!({"password": "short"}),
        json!({"password": "x".repeat(129)}),
        json!({"email": "Dummy_User@gmail.com"}),
    ]
    .into_iter()
    .enumerate()
    {
        assert_eq!(sign_up(n, changes.clone()).await, refused, "{changes}");
    }
    assert_eq!(rows(&app).await, [0, 0, 0, 0]);
    let names = ["अनुष्का", "李小龙", "Ólafur Þór", "محمد", "தமிழ்", "Zoë 👩‍⚕️", "O'Neil; DROP TABLE--"];
    for (n, name) in names.into_iter().enumerate() {
        assert_eq!(sign_up(n, json!({"username": name})).await.0, 200, "{name}");
    }
    assert_eq!(sign_up(90, json!({"email": "अनु@उदाहरण.भारत", "password": "पासवर्ड१२३"})).await.0, 200);
    app.stop().await;
}

#[actix_web::test]
async fn a_body_of_fifty_megabytes_is_refused_unread() {
    const WHOLE: usize = 50 * 1024 * 1024;
    let app = TestApp::start().await;
    for path in ["/auth/signupUser", "/doctorBookings/available", "/auth/logout"] {
        let head = format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n");
        // It announces itself: the answer comes before the first byte of it.
        let answer = app.speak(format!("{head}Content-Length: {WHOLE}\r\n\r\n").as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
        // It streams.
        let mut streamed = format!("{head}Transfer-Encoding: chunked\r\n\r\n").into_bytes();
        for _ in 0..WHOLE / 0x10_0000 {
            streamed.extend_from_slice(b"100000\r\n");
            streamed.resize(streamed.len() + 0x10_0000, b' ');
            streamed.extend_from_slice(b"\r\n");
        }
        let answer = app.speak(&streamed).await;
        assert!(answer.starts_with("HTTP/1.1 413 ") && answer.contains("body_too_large"), "{answer}");
    }
    // As an ordinary client sees it.
    let reply = app.post_raw("/auth/signupUser", None, "application/json", vec![b' '; WHOLE]).await;
    reply.assert_problem(413, "body_too_large");
    assert_eq!(rows(&app).await, [0, 0, 0, 0]);
    app.stop().await;
}

#[actix_web::test]
async fn a_head_of_a_hundred_kilobytes_is_refused() {
    let app = TestApp::start().await;
    for bytes in [17_000, 100_000, 500_000] {
        let padding = "a".repeat(bytes);
        let head = format!("GET /readyz HTTP/1.1\r\nHost: x\r\nX-Padding: {padding}\r\n\r\n");
        let answer = app.speak(head.as_bytes()).await;
        assert!(answer.starts_with("HTTP/1.1 431 "), "{bytes}: {answer}");
        let answer = app.speak(format!("GET /readyz?{padding} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).await;
        let status = answer.get(9..12).unwrap_or_default();
        assert!(["400", "414", "431"].contains(&status), "{bytes}: {answer}");
    }
    let many: String = (0..2_000).map(|n| format!("X-{n}: a\r\n")).collect();
    let answer = app.speak(format!("GET /readyz HTTP/1.1\r\nHost: x\r\n{many}\r\n").as_bytes()).await;
    assert!(answer.starts_with("HTTP/1.1 431 "), "{answer}");
    app.stop().await;
}

#[actix_web::test]
async fn a_path_or_method_that_does_not_exist_is_a_problem_as_well() {
    let app = TestApp::start().await;
    for path in
        ["/", "/auth", "/auth/signupUser/", "/doctorBookings/book/x", "/%00", "/../etc/passwd", "/healthz/x"]
    {
        Reply::of(app.client.post(format!("{}{path}", app.url))).await.assert_problem(404, "not_found");
    }
    let get = Reply::of(app.client.get(format!("{}/doctorBookings/book", app.url))).await;
    get.assert_problem(405, "method_not_allowed");
    assert_eq!(get.header("allow"), "POST");
    Reply::of(app.client.post(format!("{}/healthz", app.url)))
        .await
        .assert_problem(405, "method_not_allowed");
    app.stop().await;
}

#[actix_web::test]
async fn a_thousand_made_up_doctors_leave_nothing_in_memory() {
    let app = TestApp::start().await;
    let (ada, asha) = (app.user("ada").await, app.doctor("asha").await);
    let before = rows(&app).await;
    let user = app.as_user(&ada);
    let not_found = (404, "doctor_not_found".to_owned());
    for n in 0..1_000 {
        let invented = TestUser { email: format!("Doctor{n}@nowhere.example"), token: String::new() };
        let answer = match n % 3 {
            0 => user.book(&invented, "2026-11-24", "10:00").await,
            1 => user.cancel(&invented, "2026-11-24", "10:00").await,
            _ => app.available(&invented, if n % 2 == 0 { "2026-11-24" } else { "2027-11-24" }).await,
        };
        assert_eq!(told(answer), not_found, "{n}");
    }
    assert_eq!(app.active_doctors(), 1);
    assert_eq!(user.book(&asha, "2026-11-24", "10:00").await.0, 200);
    assert_eq!(rows(&app).await, [before[0], before[1], before[2], before[3] + 1]);
    app.stop().await;
}
