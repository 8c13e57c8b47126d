//! An application of its own for each test, and callers that speak to it as people would.

use std::sync::Arc;
use std::time::Duration;

use actix_web::rt::task::JoinHandle;
use chrono::{DateTime, Utc};
use engine::{Clock, Directory, ManualClock, Placement, Rules, SystemChance};
use persistence::{BucketNames, Dynamo, TableNames};
use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use web::config::{
    AssistantConfig, AuthConfig, ClinicConfig, ClusterConfig, Config, CorsConfig, FilesConfig, LimitsConfig,
    PasswordConfig, PaymentsConfig, Place, ServerConfig, StoreConfig, ThrottleConfig,
};
use web::startup::{Application, Ended, EngineStore, Surroundings};

use crate::external::ExternalStores;

/// 10:00 on a Monday, in Kolkata.
pub const MONDAY_AT_TEN: &str = "2026-11-23T04:30:00Z";
/// A state that a test waits for and that is not there by then never will be. Far longer than a busy machine takes.
pub const DEADLINE: Duration = Duration::from_secs(60);
/// The password of everybody.
pub const PASSWORD: &str = "correct horse";

/// A running application.
pub struct TestApp {
    pub url: String,
    pub admin_url: Option<String>,
    pub clock: Arc<ManualClock>,
    pub client: reqwest::Client,
    /// The buckets of this application alone, if another S3 is in use.
    pub buckets: BucketNames,
    address: String,
    dynamo: Dynamo,
    directory: Directory,
    external: ExternalStores,
    stop: oneshot::Sender<()>,
    running: JoinHandle<anyhow::Result<Ended>>,
}

/// Somebody with an account and a token.
#[derive(Clone)]
pub struct TestUser {
    pub email: String,
    pub token: String,
}

/// What came back.
#[derive(Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: HeaderMap,
    pub body: Value,
}

/// The settings of a test: everything real but the cost of passwords.
pub fn config() -> Config {
    Config {
        server: ServerConfig {
            listen: ([127, 0, 0, 1], 0).into(),
            workers: 1,
            refuse_for: Duration::from_millis(10),
            ..ServerConfig::default()
        },
        limits: LimitsConfig { per_minute: None },
        auth: AuthConfig {
            secret: None,
            passwords: PasswordConfig { memory_kib: 8, passes: 1, workers: 1, ..PasswordConfig::default() },
            throttle: Some(ThrottleConfig::default()),
            failure_floor: Duration::ZERO,
        },
        store: StoreConfig { place: Place::Memory, embedded_listen: None, tables: TableNames::default() },
        cluster: ClusterConfig::default(),
        files: FilesConfig {
            place: Place::Memory,
            spool: std::env::temp_dir(),
            embedded_listen: None,
            public_endpoint: None,
            buckets: BucketNames::default(),
        },
        assistant: AssistantConfig::default(),
        payments: PaymentsConfig::default(),
        cors: CorsConfig::default(),
        clinic: compiled_in("Asia/Kolkata"),
        rules: Rules::default(),
        demo: false,
    }
}

/// A zone of the compiled-in data, so that a test does not depend on the machine's.
pub fn compiled_in(zone: &str) -> ClinicConfig {
    ClinicConfig::compiled_in(zone, "this is a test".to_owned()).unwrap()
}

/// Why an application with these settings does not start.
pub async fn refusal_to_start(config: Config) -> String {
    let error = build(config, &clock()).await.err();
    format!("{:#}", error.expect("it has started"))
}

fn clock() -> Arc<ManualClock> {
    let now: DateTime<Utc> = MONDAY_AT_TEN.parse().unwrap();
    Arc::new(ManualClock::new(now))
}

async fn build(config: Config, clock: &Arc<ManualClock>) -> anyhow::Result<Application> {
    let surroundings = Surroundings {
        clock: clock.clone(),
        chance: Arc::new(SystemChance),
        placement: Placement::here(),
        store: EngineStore::Configured,
    };
    Box::pin(Application::build(config, surroundings)).await
}

impl TestApp {
    /// Starts an application on a free port and empty tables.
    pub async fn start() -> Self {
        Self::start_with(config()).await
    }

    /// The same with other settings.
    pub async fn start_with(mut config: Config) -> Self {
        let external = ExternalStores::lay_over(&mut config);
        let buckets = config.files.buckets.clone();
        let clock = clock();
        let application = build(config, &clock).await.unwrap();
        let (stop, stopped) = oneshot::channel();
        Self {
            url: application.url(),
            admin_url: application.admin_url(),
            clock,
            client: reqwest::Client::new(),
            buckets,
            address: application.address().to_string(),
            dynamo: application.dynamo().clone(),
            directory: application.directory(),
            external,
            stop,
            running: actix_web::rt::spawn(application.run_until_stopped(async {
                let _ = stopped.await;
            })),
        }
    }

    /// The tables, to look into or to write rows as the old platform did.
    pub const fn dynamo(&self) -> &Dynamo {
        &self.dynamo
    }

    /// What the clock shows, in seconds since 1970.
    pub fn clock_seconds(&self) -> i64 {
        self.clock.now().timestamp()
    }

    /// How many doctors are in memory.
    pub fn active_doctors(&self) -> usize {
        self.directory.active()
    }

    /// Stops it as a signal would; fails when something was left undone.
    pub async fn stop(self) {
        self.stop.send(()).unwrap();
        assert_eq!(self.running.await.unwrap().unwrap(), Ended::Stopped);
        self.external.remove_all(&self.dynamo).await;
    }

    /// A patient called `name`, signed up and logged in.
    pub async fn user(&self, name: &str) -> TestUser {
        let email = format!("{name}@example.com");
        let body =
            json!({"username": name, "email": email, "password": PASSWORD, "phoneNumber": "+91 98765"});
        assert_eq!(self.post("/auth/signupUser", None, &body).await.0, 200);
        self.log_in("/auth/loginUser", &email).await
    }

    /// A doctor called `name`, signed up, logged in, and free from 10:00 to 13:00 on every day.
    pub async fn doctor(&self, name: &str) -> TestUser {
        let doctor = self.doctor_without_slots(name).await;
        for day in ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] {
            let set = self.as_user(&doctor).set_slots(day, &[("10:00", "13:00")]).await;
            assert_eq!(set.0, 200, "{}", set.1);
        }
        doctor
    }

    /// A doctor who has published nothing.
    pub async fn doctor_without_slots(&self, name: &str) -> TestUser {
        let email = format!("{name}@clinic.example");
        let body =
            json!({"doctorname": name, "email": email, "password": PASSWORD, "phoneNumber": "+91 98765"});
        assert_eq!(self.post("/auth/signupDoctor", None, &body).await.0, 200);
        self.log_in("/auth/loginDoctor", &email).await
    }

    /// Somebody who has an account, with a fresh token and the stored spelling of the address.
    pub async fn log_in(&self, path: &str, email: &str) -> TestUser {
        let body = json!({"email": email, "password": PASSWORD});
        let (status, body) = self.post(path, None, &body).await;
        assert_eq!(status, 200, "{body}");
        let person = if path.contains("octor") { &body["doctor"] } else { &body["user"] };
        TestUser {
            email: person["email"].as_str().unwrap().to_owned(),
            token: body["access_token"].as_str().unwrap().to_owned(),
        }
    }

    /// A request that is still to be filled in.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.url))
    }

    /// Sends JSON, with a bearer token if there is one.
    pub async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
        let request = self.request(Method::POST, path).json(body);
        let request = match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        let reply = Reply::of(request).await;
        (reply.status, reply.body)
    }

    /// Sends a body as it is, with its content type.
    pub async fn post_raw(
        &self,
        path: &str,
        token: Option<&str>,
        content_type: &str,
        body: Vec<u8>,
    ) -> Reply {
        let request = self.request(Method::POST, path).header("Content-Type", content_type).body(body);
        Reply::of(match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        })
        .await
    }

    /// Sends bytes over a connection of its own and reads what comes back until the server has nothing more to say.
    /// The writing ends early when the server hangs up.
    pub async fn speak(&self, bytes: &[u8]) -> String {
        let (mut reader, mut writer) = TcpStream::connect(&self.address).await.unwrap().into_split();
        let writing = async {
            let _ = writer.write_all(bytes).await;
        };
        let reading = async {
            let mut answer = Vec::new();
            let mut buffer = [0; 4096];
            while let Ok(read @ 1..) = reader.read(&mut buffer).await {
                answer.extend_from_slice(&buffer[..read]);
                // The end of a problem's body: the connection may well stay open.
                if answer.ends_with(b"}") {
                    break;
                }
            }
            String::from_utf8_lossy(&answer).into_owned()
        };
        tokio::pin!(writing);
        tokio::pin!(reading);
        tokio::select! {
            answer = &mut reading => answer,
            () = &mut writing => reading.await,
        }
    }

    /// Speaks with somebody's token.
    pub const fn as_user<'a>(&'a self, user: &'a TestUser) -> As<'a> {
        As { app: self, user }
    }

    /// What a doctor offers on a date.
    pub async fn available(&self, doctor: &TestUser, date: &str) -> (u16, Value) {
        self.post("/doctorBookings/available", None, &json!({"doctor_id": doctor.email, "date": date})).await
    }
}

/// The calls of somebody with a token.
pub struct As<'a> {
    app: &'a TestApp,
    user: &'a TestUser,
}

impl As<'_> {
    /// Any call.
    pub async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        self.app.post(path, Some(&self.user.token), &body).await
    }

    pub async fn book(&self, doctor: &TestUser, date: &str, start: &str) -> (u16, Value) {
        self.post("/doctorBookings/book", json!({"doctor_id": doctor.email, "date": date, "start": start}))
            .await
    }

    pub async fn book_with_key(&self, doctor: &TestUser, date: &str, start: &str, key: &str) -> (u16, Value) {
        let body = json!({"doctor_id": doctor.email, "date": date, "start": start});
        let request = self.app.request(Method::POST, "/doctorBookings/book").json(&body);
        let reply = Reply::of(request.bearer_auth(&self.user.token).header("Idempotency-Key", key)).await;
        (reply.status, reply.body)
    }

    pub async fn cancel(&self, doctor: &TestUser, date: &str, start: &str) -> (u16, Value) {
        self.post("/doctorBookings/cancel", json!({"doctor_id": doctor.email, "date": date, "start": start}))
            .await
    }

    pub async fn bookings(&self) -> (u16, Value) {
        self.post("/doctorBookings/user", json!({"user_id": self.user.email})).await
    }

    pub async fn fetch_bookings(&self, kind: &str, days: u32) -> (u16, Value) {
        let body = json!({"id": self.user.email, "type": kind, "days": days});
        self.post("/doctorBookings/fetchBookings", body).await
    }

    pub async fn set_slots(&self, day: &str, slots: &[(&str, &str)]) -> (u16, Value) {
        let slots: Vec<Value> =
            slots.iter().map(|(start, end)| json!({"start": start, "end": end})).collect();
        let body = json!({"doctor_id": self.user.email, "day": day, "slots": slots});
        self.post("/doctorsService/setSlots", body).await
    }

    pub async fn update_slot(&self, day: &str, (start, end): (&str, &str), available: bool) -> (u16, Value) {
        let slot = json!({"start": start, "end": end});
        let body = json!({"doctor_id": self.user.email, "day": day, "slot": slot, "available": available});
        self.post("/doctorsService/updateSlot", body).await
    }
}

impl Reply {
    /// Sends the request and takes in the answer.
    pub async fn of(request: RequestBuilder) -> Self {
        let response = request.send().await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.text().await.unwrap();
        let body = serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self { status, headers, body }
    }

    /// A header's text; empty when it is not there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap())
    }

    /// Checks that it is a whole problem with this status and code.
    #[track_caller]
    pub fn assert_problem(&self, status: u16, code: &str) {
        let told = (self.status, self.body["code"].as_str());
        assert_eq!(told, (status, Some(code)), "{}", self.body);
        assert_eq!(self.header("content-type"), "application/problem+json");
        assert_eq!(self.body["status"], status);
        assert_eq!(self.body["request_id"].as_str(), Some(self.header("x-request-id")));
        for field in ["type", "title", "detail"] {
            assert!(self.body[field].as_str().is_some_and(|text| !text.is_empty()), "{field}: {}", self.body);
        }
    }
}

/// The part of an answer that tests look at: its status and the code of its problem, if it is one.
pub fn told((status, body): (u16, Value)) -> (u16, String) {
    (status, body["code"].as_str().unwrap_or_default().to_owned())
}
