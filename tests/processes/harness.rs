//! Starts the binary, speaks HTTP to it, and looks into its tables.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::net::Ipv4Addr;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use chrono::Days;
use engine::{Chance, Clinic, Clock, SystemChance, SystemClock};
use persistence::{Dynamo, EmbeddedDynamo, Endpoint, TableNames, Where};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::timeout;

/// A state that a test waits for and that is not there by then never will be. Far longer than a busy machine takes.
pub const DEADLINE: Duration = Duration::from_secs(120);
pub const SECRET: &str = "a secret of the tests that is longer than 32 bytes";
/// How long a client keeps an idle connection: far shorter than the five seconds after which the admin address closes it.
const IDLE_TIMEOUT: Duration = Duration::from_secs(1);

/// A running `kokoro`. Killed when dropped.
pub struct Node {
    child: Child,
    pub url: String,
    /// Where those who run it look, if that is another address.
    admin_url: Option<String>,
    http: reqwest::Client,
    output: Option<BufReader<ChildStdout>>,
    /// What it has written to standard error so far.
    log: Arc<watch::Sender<String>>,
    /// Ends with the log.
    logging: Option<JoinHandle<()>>,
    _scratch: tempfile::TempDir,
}

/// Where a node keeps its data.
#[derive(Clone)]
pub enum Data<'a> {
    Folder(&'a Path),
    /// At an address, with the key of the server there.
    At(Endpoint),
}

impl Node {
    pub fn start(data: &Data<'_>) -> Self {
        Self::start_with(data, &[])
    }

    pub fn start_with(data: &Data<'_>, environment: &[(&str, &str)]) -> Self {
        Self::try_start(data, environment, &[]).unwrap_or_else(|log| panic!("it did not start: {log}"))
    }

    /// Starts it from a shell that has done something first.
    pub fn start_after(data: &Data<'_>, first: &str) -> Self {
        let mut shell = Command::new("/bin/sh");
        shell.args(["-c", &format!("{first}; exec \"$0\""), env!("CARGO_BIN_EXE_kokoro")]);
        Self::spawn(shell, data, &[], &[]).unwrap_or_else(|log| panic!("it did not start: {log}"))
    }

    /// Starts it, and gives what it wrote to standard error if it ends before it listens.
    pub fn try_start(
        data: &Data<'_>,
        environment: &[(&str, &str)],
        options: &[&str],
    ) -> Result<Self, String> {
        Self::spawn(Command::new(env!("CARGO_BIN_EXE_kokoro")), data, environment, options)
    }

    fn spawn(
        mut command: Command,
        data: &Data<'_>,
        environment: &[(&str, &str)],
        options: &[&str],
    ) -> Result<Self, String> {
        command.env_clear().args(options).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.env("KOKORO_LISTEN", "127.0.0.1:0").env("RATE_LIMIT_PER_MINUTE", "0");
        // A few patients keep many slots busy.
        command.env("KOKORO_BOOKINGS_PER_DOCTOR_MAX", "0");
        command.env("KOKORO_JWT_SECRET", SECRET).env("RUST_BACKTRACE", "0");
        // Files are embedded where only the tables are named: no two nodes may share a folder.
        let scratch = tempfile::tempdir().unwrap();
        command.env("KOKORO_DATA_DIR", scratch.path());
        match data {
            Data::Folder(folder) => command.env("KOKORO_DATA_DIR", folder),
            Data::At(endpoint) => {
                let (address, keys) = endpoint.address().zip(endpoint.keys()).unwrap();
                command.env("AWS_ACCESS_KEY_ID", &keys.id).env("AWS_SECRET_ACCESS_KEY", &keys.secret);
                command.env("DYNAMODB_ENDPOINT", address)
            }
        };
        let mut child = command.envs(environment.iter().copied()).spawn().unwrap();
        let log: Arc<watch::Sender<String>> = Arc::default();
        let errors = BufReader::new(child.stderr.take().unwrap());
        let kept = log.clone();
        let logging = std::thread::spawn(move || {
            for line in errors.lines().map_while(Result::ok) {
                kept.send_modify(|log| {
                    log.push_str(&line);
                    log.push('\n');
                });
            }
        });
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let mut first = String::new();
        killed_if_late(&child.id().to_string(), || output.read_line(&mut first)).unwrap();
        let Some(at) = first.find("http://") else {
            child.wait().unwrap();
            logging.join().unwrap();
            return Err(log.borrow().clone());
        };
        web::http_client::install_cryptography();
        // A connection that the node is just closing, because it was idle, would fail the next request.
        let http =
            reqwest::Client::builder().timeout(DEADLINE).pool_idle_timeout(IDLE_TIMEOUT).build().unwrap();
        let url = first[at..].trim().to_owned();
        let admin_url = environment.iter().any(|(name, _)| *name == "KOKORO_ADMIN_LISTEN").then(|| {
            let mut second = String::new();
            output.read_line(&mut second).unwrap();
            let at = second.find("http://").unwrap();
            second[at..].trim().trim_end_matches("/metrics").to_owned()
        });
        let (output, logging) = (Some(output), Some(logging));
        Ok(Self { child, url, admin_url, http, output, log, logging, _scratch: scratch })
    }

    /// The session to paste that `--demo` prints: what follows its announcement, up to the call that lists bookings.
    pub async fn session(&mut self) -> String {
        let (output, pid) = (self.output.take().unwrap(), self.pid());
        let read = move || {
            let mut session = String::new();
            let lines =
                output.lines().map_while(Result::ok).skip_while(|line| !line.starts_with("Paste this"));
            for line in lines.skip(1) {
                session.push_str(&line);
                session.push('\n');
                if line.contains("/doctorBookings/user") {
                    break;
                }
            }
            session
        };
        tokio::task::spawn_blocking(move || killed_if_late(&pid, read)).await.unwrap()
    }

    /// A call; status zero stands for no answer at all.
    pub async fn post(&self, path: &str, token: Option<&str>, body: &Value) -> (u16, Value) {
        self.post_with(path, token, body, &[]).await
    }

    pub async fn post_with(
        &self,
        path: &str,
        token: Option<&str>,
        body: &Value,
        headers: &[(&str, &str)],
    ) -> (u16, Value) {
        let mut request = self.http.post(format!("{}{path}", self.url)).json(body);
        if let Some(token) = token {
            request = request.bearer_auth(token);
        }
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        match request.send().await {
            Ok(answer) => {
                let status = answer.status().as_u16();
                match answer.json().await {
                    Ok(body) => (status, body),
                    Err(_) => (0, Value::Null),
                }
            }
            Err(_) => (0, Value::Null),
        }
    }

    pub async fn get(&self, path: &str) -> (u16, Value) {
        match self.http.get(format!("{}{path}", self.url)).send().await {
            Ok(answer) => (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null)),
            Err(_) => (0, Value::Null),
        }
    }

    pub async fn get_admin(&self, path: &str) -> (u16, Value) {
        match self.http.get(format!("{}{path}", self.admin_url.as_ref().unwrap())).send().await {
            Ok(answer) => (answer.status().as_u16(), answer.json().await.unwrap_or(Value::Null)),
            Err(_) => (0, Value::Null),
        }
    }

    pub async fn post_admin(&self, path: &str, headers: &[(&str, &str)]) -> u16 {
        let request = self.http.post(format!("{}{path}", self.admin_url.as_ref().unwrap())).body("{}");
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        request.send().await.map_or(0, |answer| answer.status().as_u16())
    }

    /// Signs a doctor up, who then offers every half hour of every day.
    pub async fn doctor(&self, name: &str) -> String {
        let email = format!("{name}@clinic.example");
        let body = json!({
            "doctorname": name, "email": email, "password": "correct horse", "phoneNumber": "12345",
        });
        let (status, answer) = self.post("/auth/signupDoctor", None, &body).await;
        assert_eq!(status, 200, "{answer}");
        for day in ["Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"] {
            let slots = json!([{"start": "00:00", "end": "24:00"}]);
            let body = json!({"doctor_id": email, "day": day, "slots": slots});
            let (status, answer) =
                self.post("/doctorsService/setSlots", Some(&doctor_token(&email)), &body).await;
            assert_eq!(status, 200, "{answer}");
        }
        email
    }

    pub async fn book(&self, doctor: &str, user: &str, date: &str, start: &str) -> (u16, Value) {
        let body = json!({"doctor_id": doctor, "date": date, "start": start});
        self.post("/doctorBookings/book", Some(&user_token(user)), &body).await
    }

    pub async fn cancel(&self, doctor: &str, user: &str, date: &str, start: &str) -> (u16, Value) {
        let body = json!({"doctor_id": doctor, "date": date, "start": start});
        self.post("/doctorBookings/cancel", Some(&user_token(user)), &body).await
    }

    /// Its address and port.
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// A request over a connection of its own.
    pub async fn get_afresh(&self, path: &str) -> Option<u16> {
        Some(reqwest::get(format!("{}{path}", self.url)).await.ok()?.status().as_u16())
    }

    /// Its process id.
    pub fn pid(&self) -> String {
        self.child.id().to_string()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal, such as `-TERM`.
    pub fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.pid()]).status().unwrap().success());
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        self.log.borrow().clone()
    }

    /// Waits until its log contains this text.
    pub async fn has_logged(&self, text: &str) {
        let mut log = self.log.subscribe();
        let logged = timeout(DEADLINE, log.wait_for(|log| log.contains(text))).await;
        assert!(logged.is_ok(), "its log does not contain {text:?} within {DEADLINE:?}");
    }

    /// Waits for its end, by force if it does not end by itself; gives its whole log.
    pub async fn ended(mut self) -> (ExitStatus, String) {
        let log = self.log.clone();
        let wait = move || {
            let pid = self.pid();
            let status = killed_if_late(&pid, || self.child.wait().unwrap());
            self.logging.take().unwrap().join().unwrap();
            status
        };
        let status = tokio::task::spawn_blocking(wait).await.unwrap();
        let log = log.borrow().clone();
        (status, log)
    }
}

/// Waits for a process in a way that blocks. One that it waits for longer than any deadline is killed, which ends the wait.
fn killed_if_late<T>(pid: &str, wait: impl FnOnce() -> T) -> T {
    let (over, is_over) = mpsc::channel::<()>();
    let pid = pid.to_owned();
    std::thread::spawn(move || {
        if is_over.recv_timeout(DEADLINE) == Err(mpsc::RecvTimeoutError::Timeout) {
            let _ = Command::new("kill").args(["-KILL", &pid]).status();
        }
    });
    let outcome = wait();
    drop(over);
    outcome
}

impl Drop for Node {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The DynamoDB-compatible server, hosted by the test.
pub struct Store {
    server: EmbeddedDynamo,
    dynamo: Dynamo,
}

impl Store {
    pub async fn in_memory() -> Self {
        Self::open(Where::Memory).await
    }

    /// Opens what a node has left in its data folder.
    pub async fn left_in(folder: &Path) -> Self {
        Self::open(Where::File(persistence::DataFolder::lock(folder).unwrap())).await
    }

    async fn open(place: Where) -> Self {
        let server = EmbeddedDynamo::start(place).unwrap();
        let dynamo = Dynamo::connect(server.endpoint(), TableNames::default()).await.unwrap();
        Self { server, dynamo }
    }

    pub fn endpoint(&self) -> Endpoint {
        self.server.endpoint()
    }

    pub fn address(&self) -> String {
        self.server.address()
    }

    pub const fn dynamo(&self) -> &Dynamo {
        &self.dynamo
    }

    /// Every stored booking as its two keys.
    pub async fn bookings(&self) -> BTreeSet<(String, String)> {
        let table = &self.dynamo.tables().bookings;
        let mut pages = self.dynamo.client().scan().table_name(table).into_paginator().items().send();
        let mut rows = BTreeSet::new();
        while let Some(row) = pages.next().await {
            let row = row.unwrap();
            let text = |name: &str| row[name].as_s().unwrap().clone();
            rows.insert((text("PK"), text("SK")));
        }
        rows
    }
}

/// The keys under which a booking is stored.
pub fn keys(doctor: &str, user: &str, date: &str, start: &str) -> (String, String) {
    (format!("{doctor}#{date}"), format!("{start}#{user}"))
}

/// Asserts that no slot holds more than five.
pub fn assert_no_slot_above_five(bookings: &BTreeSet<(String, String)>) {
    let mut slots = std::collections::BTreeMap::<(&str, &str), usize>::new();
    for (day, seat) in bookings {
        *slots.entry((day, seat.split('#').next().unwrap())).or_default() += 1;
    }
    let over: Vec<_> = slots.into_iter().filter(|(_, seats)| *seats > 5).collect();
    assert!(over.is_empty(), "oversold: {over:?}");
}

/// Tomorrow and the days after it, as a doctor in the default zone sees them.
pub fn date_in(days: u64) -> String {
    let today = Clinic::compiled_in("Asia/Kolkata").unwrap().today(SystemClock.now());
    (today + Days::new(days)).to_string()
}

pub fn user_token(email: &str) -> String {
    token(email, "user")
}

pub fn doctor_token(email: &str) -> String {
    token(email, "doctor")
}

/// A token as the platform issues them, without the price of a log-in.
fn token(email: &str, role: &str) -> String {
    let now = SystemClock.now().timestamp();
    let encode = |part: Value| BASE64_URL_SAFE_NO_PAD.encode(part.to_string());
    let head = encode(json!({"alg": "HS256", "typ": "JWT"}));
    let claims = encode(json!({"sub": email, "role": role, "iat": now, "exp": now + 3600}));
    let signed = format!("{head}.{claims}");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, SECRET.as_bytes());
    let signature = BASE64_URL_SAFE_NO_PAD.encode(ring::hmac::sign(&key, signed.as_bytes()));
    format!("{signed}.{signature}")
}

/// An address on which nobody listens. Its loopback address is random: a port of 127.0.0.1 could be taken by another
/// test's connection before it is used.
pub fn free_address() -> String {
    let [a, b, c, ..] = SystemChance.bits().to_le_bytes();
    let address = Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254));
    std::net::TcpListener::bind((address, 0)).unwrap().local_addr().unwrap().to_string()
}

/// A fresh folder that goes when it is dropped.
pub fn folder() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    (folder, path)
}
