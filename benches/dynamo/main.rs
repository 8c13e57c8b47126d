//! A server that speaks as DynamoDB does, to measure what one node can do by itself: it keeps items in memory, checks the
//! conditions that the product sends, answers after a set delay, and can throttle and conflict at set rates. It stores
//! nothing, and signatures are not looked at. What it does not know it refuses (`ValidationException`).
//!
//! `dynamo-shaped --delay-ms 5`, and then `DYNAMODB_ENDPOINT=` the address that its first line names.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

mod calls;
mod error;
mod expression;
mod store;
mod table;
mod value;

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use actix_web::web::{self, Bytes, Data, PayloadConfig};
use actix_web::{App, HttpRequest, HttpResponse, HttpServer};
use anyhow::{Context, ensure};
use clap::Parser;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

use error::Refusal;
use store::Store;

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
    /// Milliseconds that each answer waits.
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
    inside: Mutex<Inside>,
    delay: Duration,
    throttle: f64,
    conflict: f64,
}

struct Inside {
    store: Store,
    chance: SmallRng,
}

fn main() -> anyhow::Result<()> {
    let Options { listen, delay_ms, throttle, conflict, seed } = Options::parse();
    let is_share = |share: &f64| (0.0..=1.0).contains(share);
    ensure!(is_share(&throttle) && is_share(&conflict), "a share is from 0 to 1");
    let inside = Inside { store: Store::default(), chance: SmallRng::seed_from_u64(seed) };
    let server = Data::new(Server {
        inside: Mutex::new(inside),
        delay: Duration::from_millis(delay_ms),
        throttle,
        conflict,
    });
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
    let target = request.headers().get("x-amz-target").and_then(|target| target.to_str().ok());
    let outcome = match target.and_then(|target| target.strip_prefix(TARGET)) {
        Some(operation) => server.act(operation, &body),
        None => Err(Refusal::invalid("no operation is named")),
    };
    if !server.delay.is_zero() {
        tokio::time::sleep(server.delay).await;
    }
    match outcome {
        Ok(answer) => HttpResponse::Ok().content_type(CONTENT_TYPE).body(answer.to_string()),
        Err(refusal) => {
            HttpResponse::BadRequest().content_type(CONTENT_TYPE).body(refusal.body().to_string())
        }
    }
}

impl Server {
    fn act(&self, operation: &str, body: &[u8]) -> Result<serde_json::Value, Refusal> {
        // Whoever panicked did so before or after a change, not within one.
        let mut inside = self.inside.lock().unwrap_or_else(PoisonError::into_inner);
        let Inside { store, chance } = &mut *inside;
        // Tables are made and looked at without fail.
        if !operation.contains("Table") && chance.random_bool(self.throttle) {
            return Err(Refusal::Throttled);
        }
        let conflict = |actions: usize| {
            (actions > 0 && chance.random_bool(self.conflict)).then(|| chance.random_range(0..actions))
        };
        calls::answer(store, operation, body, conflict)
    }
}
