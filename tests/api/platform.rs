//! A patient and a doctor on their way through the whole platform: every path and every alias, nothing between them and
//! the embedded servers but HTTP. What they called is held against the document, so that no path is left out.

mod steps;

use std::cell::RefCell;
use std::collections::BTreeSet;

use chrono::{Days, DurationRound, TimeDelta};
use engine::{Clinic, Clock, SystemClock};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use web::config::{AssistantConfig, Config};

use crate::harness::{PASSWORD, Reply, TestApp, config};
use crate::ollama::Ollama;
use crate::razorpay::Razorpay;
use steps::{book_and_cancel, chat, keep_a_file, pay, publish_a_profile, publish_slots, subscribe};

const ADA: &str = "ada@example.com";
const ASHA: &str = "asha@clinic.example";
/// The name of a patient's file.
const FILE: &str = "रक्त जाँच.pdf";

/// The application, and what has been called of it.
struct Walk {
    app: TestApp,
    /// Paths as the document writes them, each with the id of the request.
    called: RefCell<Vec<(&'static str, String)>>,
}

/// Somebody at a client: a browser that keeps the cookie, or a program that sends its token.
struct Person<'a> {
    walk: &'a Walk,
    client: Client,
    token: Option<String>,
}

impl Walk {
    /// The application goes by the machine's time, by which the embedded S3 judges links; from a whole minute on, so that
    /// no step comes to lie across the turn of an hour or a day.
    async fn start(ollama: &Ollama, razorpay: &Razorpay) -> Self {
        let assistant = AssistantConfig { api: Some(ollama.url.clone()), ..AssistantConfig::default() };
        let app = TestApp::start_with(Config { assistant, payments: razorpay.config(), ..config() }).await;
        app.clock.set(SystemClock.now().duration_trunc(TimeDelta::minutes(1)).unwrap());
        Self { app, called: RefCell::default() }
    }

    /// Somebody who has not logged in.
    fn visitor(&self) -> Person<'_> {
        let client = Client::builder().cookie_store(true).build().unwrap();
        Person { walk: self, client, token: None }
    }

    /// Takes note of a call that must have succeeded.
    fn note(&self, path: &'static str, reply: Reply) -> Reply {
        assert_eq!(reply.status, 200, "{path}: {}", reply.body);
        self.called.borrow_mut().push((path, reply.header("x-request-id").to_owned()));
        // No two entries of the trail have one time.
        self.app.clock.advance(TimeDelta::milliseconds(1));
        reply
    }

    /// The path that was called by a request.
    fn path_of(&self, request_id: &Value) -> &'static str {
        let called = self.called.borrow();
        called.iter().find(|(_, id)| request_id == id).map(|(path, _)| *path).unwrap()
    }
}

impl Person<'_> {
    /// Calls, with `accept` as the only content type that is welcome.
    async fn call(&self, method: Method, path: &'static str, body: Option<Value>, accept: &str) -> Reply {
        let url = format!("{}{path}", self.walk.app.url).replace("{user_id}", ADA);
        let mut request = self.client.request(method, url).header("Accept", accept);
        if let Some(body) = body {
            request = request.json(&body);
        }
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        self.walk.note(path, Reply::of(request).await)
    }

    async fn post(&self, path: &'static str, body: Value) -> Value {
        self.call(Method::POST, path, Some(body), "application/json").await.body
    }

    async fn get(&self, path: &'static str) -> Value {
        self.call(Method::GET, path, None, "*/*").await.body
    }

    /// Posts, and is answered exactly this.
    #[track_caller]
    fn hears(&self, path: &'static str, body: Value, answer: Value) -> impl Future<Output = ()> {
        let place = std::panic::Location::caller();
        async move { assert_eq!(self.post(path, body).await, answer, "{path} at {place}") }
    }
}

#[actix_web::test]
async fn a_patient_and_a_doctor_find_every_path_and_alias_as_the_contract_describes_it() {
    let (mut ollama, razorpay) = (Ollama::start().await, Razorpay::start().await);
    let walk = Walk::start(&ollama, &razorpay).await;
    sign_up(&walk).await;
    let (patient, doctor) = (("Ada", ADA), ("Dr. Asha Rao", ASHA));
    log_in(&walk, "/auth/loginUser", "user", patient).await;
    log_in(&walk, "/auth/loginDoctor", "doctor", doctor).await;
    let (ada, _) = log_in(&walk, "/auth/user/login", "user", patient).await;
    let (_, token) = log_in(&walk, "/auth/doctor/login", "doctor", doctor).await;
    let asha = Person { token: Some(token), ..walk.visitor() };
    publish_a_profile(&walk, &asha).await;
    subscribe(&ada).await;
    let kolkata = Clinic::compiled_in("Asia/Kolkata").unwrap();
    let date = kolkata.today(walk.app.clock.now()) + Days::new(2);
    publish_slots(&walk, &asha, date).await;
    book_and_cancel(&ada, &asha, date).await;
    keep_a_file(&ada).await;
    chat(&ada, &mut ollama).await;
    pay(&ada, &razorpay).await;
    read_the_trail(&ada, &date.to_string()).await;
    log_out(&ada).await;
    watch(&walk).await;
    let called: BTreeSet<String> = walk.called.borrow().iter().map(|(path, _)| (*path).to_owned()).collect();
    assert_all_paths(&walk.app, &called).await;
    walk.app.stop().await;
}

/// Shows that these are the paths in the document, all of them and no other.
pub async fn assert_all_paths(app: &TestApp, paths: &BTreeSet<String>) {
    let document = Reply::of(app.request(Method::GET, "/openapi.json")).await.body;
    let documented = document["paths"].as_object().unwrap().keys().cloned().collect();
    let strays: Vec<&String> = paths.symmetric_difference(&documented).collect();
    assert!(strays.is_empty(), "either not described or not called: {strays:?}");
}

async fn sign_up(walk: &Walk) {
    let visitor = walk.visitor();
    for (path, name, email) in
        [("/auth/signupUser", "Ada", ADA), ("/auth/user/signup", "బాబు", "bob@example.com")]
    {
        let body = json!({"username": name, "email": email, "password": PASSWORD, "phoneNumber": "+91 98765",
            "platform": "web"});
        let user = json!({"name": name, "email": email});
        visitor.hears(path, body, json!({"message": "User registered successfully", "user": user})).await;
    }
    for (path, name, email) in [
        ("/auth/signupDoctor", "Dr. Asha Rao", ASHA),
        ("/auth/doctor/signup", "Dr. Ben", "ben@clinic.example"),
    ] {
        let body = json!({"doctorname": name, "email": email, "password": PASSWORD, "phoneNumber": "98765-4321",
            "location": "Pune"});
        let message = "Doctor registered. Please complete profile setup.";
        let doctor = json!({"name": name, "email": email});
        visitor.hears(path, body, json!({"message": message, "doctor": doctor})).await;
    }
}

/// Logs in, and gives the browser with the cookie, and the token.
async fn log_in<'a>(
    walk: &'a Walk,
    path: &'static str,
    kind: &str,
    (name, email): (&str, &str),
) -> (Person<'a>, String) {
    let person = walk.visitor();
    let body = json!({"email": email, "password": PASSWORD});
    let reply = person.call(Method::POST, path, Some(body), "application/json").await;
    let token = reply.body["access_token"].as_str().unwrap().to_owned();
    let answer = json!({"access_token": token, "token_type": "bearer", "expires_in": 43_200,
        kind: {"name": name, "email": email}});
    assert_eq!(reply.body, answer, "{path}");
    let cookie = format!("kokoro_session={token}; HttpOnly; SameSite=Strict; Path=/; Max-Age=43200");
    assert_eq!(reply.header("set-cookie"), cookie);
    (person, token)
}

/// Each entry is of the request that it tells of.
async fn read_the_trail(ada: &Person<'_>, date: &str) {
    let trail = ada.post("/audit/mine", json!({})).await;
    assert_eq!(trail.get("next_cursor"), None);
    let (file, all) = (json!({"filename": FILE}), json!({}));
    let seat = json!({"doctor_id": ASHA, "date": date, "start": "10:00"});
    let expected = [
        ("/chat/history/{user_id}", "chat_read", ADA, "user", &all),
        ("/medilocker/fetch", "files_listed", ADA, "user", &all),
        ("/medilocker/delete", "file_deleted", ADA, "user", &file),
        ("/medilocker/download", "file_downloaded", ADA, "user", &file),
        ("/medilocker/fetch", "files_listed", ADA, "user", &all),
        ("/medilocker/upload", "file_uploaded", ADA, "user", &file),
        ("/doctorBookings/cancel", "booking_cancelled", ADA, "user", &seat),
        ("/doctorBookings/fetchBookings", "bookings_read", ASHA, "doctor", &all),
        ("/doctorBookings/user", "bookings_read", ADA, "user", &all),
        ("/doctorBookings/book", "booking_made", ADA, "user", &seat),
    ];
    let entries = trail["entries"].as_array().unwrap();
    assert_eq!(entries.len(), expected.len(), "{trail}");
    for (entry, (path, action, actor, actor_type, subject)) in entries.iter().zip(expected) {
        let (at, request_id) = (&entry["at"], &entry["request_id"]);
        let answer = json!({"at": at, "actor": actor, "actor_type": actor_type, "action": action,
            "outcome": "done", "subject": subject, "request_id": request_id});
        assert_eq!((entry, ada.walk.path_of(request_id)), (&answer, path));
    }
    assert!(entries.is_sorted_by_key(|entry| std::cmp::Reverse(entry["at"].as_str().unwrap())));
}

async fn log_out(ada: &Person<'_>) {
    let reply = ada.call(Method::POST, "/auth/logout", Some(json!({})), "application/json").await;
    assert_eq!(reply.body, json!({"message": "Logged out"}));
    assert!(reply.header("set-cookie").starts_with("kokoro_session=;"), "{:?}", reply.headers);
    let own = ada.client.post(format!("{}/doctorBookings/user", ada.walk.app.url));
    Reply::of(own.json(&json!({"user_id": ADA}))).await.assert_problem(401, "unauthenticated");
}

async fn watch(walk: &Walk) {
    let visitor = walk.visitor();
    assert_eq!(visitor.get("/healthz").await, json!({"status": "alive"}));
    assert_eq!(visitor.get("/readyz").await, json!({"status": "ready"}));
    assert_eq!(visitor.get("/openapi.json").await["openapi"], "3.1.0");
    // The way to the page leads to the page, which is the first of its files.
    assert!(visitor.get("/docs").await.as_str().unwrap().starts_with("<!"));
    walk.called.borrow_mut().push(("/docs/{file}", String::new()));
    let metrics = visitor.get("/metrics").await;
    let is_of_bookings =
        |line: &str| line.contains("route=\"/doctorBookings/book\",method=\"POST\",status=\"200\"");
    assert!(metrics.as_str().unwrap().lines().any(is_of_bookings), "{metrics}");
    assert_eq!(visitor.get("/cluster").await, json!({"solo": true, "nodes": []}));
    let drain = walk.app.request(Method::POST, "/cluster/drain").json(&json!({}));
    let refusal = Reply::of(drain).await;
    refusal.assert_problem(403, "forbidden");
    walk.called.borrow_mut().push(("/cluster/drain", refusal.header("x-request-id").to_owned()));
}
