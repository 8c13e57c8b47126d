//! A server that speaks as DynamoDB does, to measure what one node can do by itself: the embedded database in memory, which answers
//! after a set delay, and can throttle and conflict at set rates. What it stores goes with it, and signatures are not looked at.
//!
//! `dynamo-shaped --delay-ms 5`, and then `DYNAMODB_ENDPOINT=` the address that its first line names.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

use actix_web::http::StatusCode;
use actix_web::web::{self, Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use anyhow::{Context, ensure};
use clap::Parser;
use embedded::{Answer, Database, Reason, Refusal};
use engine::{Clock, SystemClock};
use mimalloc::MiMalloc;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::sync::oneshot;
use tokio::time::Instant;

// As those that are measured on it.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// The largest request, in bytes: DynamoDB's transactions have four megabytes, and JSON makes more of them.
const REQUEST_BYTES_MAX: usize = 16 * 1024 * 1024;
/// What every operation's name comes after.
const TARGET: &str = "DynamoDB_20120810.";
const CONTENT_TYPE: &str = "application/x-amz-json-1.0";

#[derive(Parser)]
#[command(name = "dynamo-shaped", about = "Speaks as DynamoDB does, from memory, as slowly as it is told to")]
struct Options {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:0")]
    listen: String,
    /// Milliseconds after which each request is answered, counted from when it has come.
    #[arg(long, default_value_t = 0)]
    delay_ms: u64,
    /// The share of requests that are throttled.
    #[arg(long, default_value_t = 0.0)]
    throttle: f64,
    /// The share of transactions that conflict with another one.
    #[arg(long, default_value_t = 0.0)]
    conflict: f64,
    /// Where chance starts from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

struct Server {
    database: Database,
    chance: Mutex<SmallRng>,
    delay: Option<Delay>,
    throttle: f64,
    conflict: f64,
}

/// Has requests wait, each on its connection, of which there is a bounded number. Not by the runtime's clock, whose
/// milliseconds are rounded up twice: 5 of them were 6 to 7.
struct Delay {
    delay: Duration,
    waiting: mpsc::Sender<(Instant, oneshot::Sender<()>)>,
}

/// How many actions a transaction has.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Actions {
    transact_items: Vec<IgnoredAny>,
}

fn main() -> anyhow::Result<()> {
    let Options { listen, delay_ms, throttle, conflict, seed } = Options::parse();
    let is_share = |share: &f64| (0.0..=1.0).contains(share);
    ensure!(is_share(&throttle) && is_share(&conflict), "a share is from 0 to 1");
    let clock = Arc::new(|| u64::try_from(SystemClock.now().timestamp_millis()).unwrap_or_default());
    let server = Data::new(Server {
        database: Database::memory(clock),
        chance: Mutex::new(SmallRng::seed_from_u64(seed)),
        delay: (delay_ms > 0).then(|| Delay::new(Duration::from_millis(delay_ms))).transpose()?,
        throttle,
        conflict,
    });
    // It stands for a machine of its own, and pushes nobody aside. The thread of the delay is there already: it is punctual.
    ::web::scheduler::take_turns();
    actix_web::rt::System::new().block_on(async move {
        let http = HttpServer::new(move || {
            App::new()
                .app_data(server.clone())
                .app_data(PayloadConfig::new(REQUEST_BYTES_MAX))
                .default_service(web::to(answer))
        });
        // One thread: it never waits, and the rest of the machine is for who is measured.
        let http = http.workers(1).bind(listen)?;
        let address = http.addrs().first().copied().context("it listens nowhere")?;
        println!("listening on http://{address}");
        Ok(http.run().await?)
    })
}

async fn answer(server: Data<Server>, request: HttpRequest, body: Bytes) -> HttpResponse {
    let come = Instant::now();
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    let answer = match target.and_then(|target| target.strip_prefix(TARGET)) {
        Some(operation) => match server.obstacle(operation, &body) {
            Some(refusal) => Answer::from(&refusal),
            None => server.database.call(operation, body).await,
        },
        None => Answer::from(&Refusal::UnknownOperation),
    };
    if let Some(delay) = &server.delay {
        delay.since(come).await;
    }
    let status = StatusCode::from_u16(answer.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    HttpResponse::build(status).content_type(CONTENT_TYPE).body(answer.body)
}

impl Delay {
    fn new(delay: Duration) -> std::io::Result<Self> {
        let (waiting, queue) = mpsc::channel::<(Instant, oneshot::Sender<()>)>();
        // All wait equally long, so the first to come is the first to go.
        thread::Builder::new().name("delay".to_owned()).spawn(move || {
            for (until, over) in queue {
                thread::sleep(until.saturating_duration_since(Instant::now()));
                // Whoever waited may have hung up.
                let _ = over.send(());
            }
        })?;
        Ok(Self { delay, waiting })
    }

    /// Returns when a request that came then is to be answered.
    async fn since(&self, come: Instant) {
        let (over, wait) = oneshot::channel();
        if self.waiting.send((come + self.delay, over)).is_ok() {
            // Nobody tells only if the thread has died, with the process.
            let _ = wait.await;
        }
    }
}

impl Server {
    /// What is drawn to be in a request's way.
    fn obstacle(&self, operation: &str, body: &[u8]) -> Option<Refusal> {
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        // Tables are made and looked at without fail.
        if !operation.contains("Table") && chance.random_bool(self.throttle) {
            return Some(Refusal::Throttled);
        }
        if operation != "TransactWriteItems" || !chance.random_bool(self.conflict) {
            return None;
        }
        let actions = serde_json::from_slice::<Actions>(body).ok()?.transact_items.len();
        let mut reasons = vec![Reason::None; actions];
        *reasons.get_mut(chance.random_range(0..actions.max(1)))? = Reason::Conflict;
        Some(Refusal::Cancelled(reasons))
    }
}
