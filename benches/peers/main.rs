//! What the product is compared with: programs that serve the same booking calls with the same rules, as a good engineer
//! would write them without it. `peer bare`, `peer postgres` and `peer conditional` listen on a free port, which the first
//! line of output names, and need `KOKORO_JWT_SECRET`.

#![expect(clippy::print_stdout, reason = "it says where it listens")]

mod bare;
mod conditional;
mod contract;
mod postgres;
mod token;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::available_parallelism;

use actix_web::web::{Data, ServiceConfig};
use actix_web::{App, HttpServer};
use anyhow::Context;
use clap::{Parser, Subcommand};
use mimalloc::MiMalloc;

use contract::{Doctors, routes};
use token::Tokens;

/// As in the product.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

#[derive(Parser)]
#[command(name = "peer", about = "A program that the product is compared with")]
struct Options {
    /// Where it listens.
    #[arg(long, default_value = "127.0.0.1:0", global = true)]
    listen: String,
    #[command(subcommand)]
    peer: Peer,
}

#[derive(Subcommand)]
enum Peer {
    /// Answers with bytes that were made at the start.
    Bare,
    /// A row-locking transaction a booking, in a PostgreSQL that is started for it.
    Postgres {
        /// A folder for the database: empty, or not there.
        #[arg(long)]
        folder: PathBuf,
        /// Connections of all workers together.
        #[arg(long, default_value_t = 64)]
        connections: u32,
        /// Further settings of the database, as in `commit_delay=100`.
        #[arg(long = "set")]
        settings: Vec<String>,
        #[command(flatten)]
        doctors: Doctors,
    },
    /// A conditional `TransactWriteItems` a booking, in the product's embedded DynamoDB.
    Conditional {
        /// A folder for the database.
        #[arg(long)]
        folder: PathBuf,
        /// Reach it as any program reaches a DynamoDB; without this, within the process, as the product does.
        #[arg(long)]
        over_socket: bool,
        #[command(flatten)]
        doctors: Doctors,
    },
}

fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt().with_env_filter("error,peer=warn").with_writer(std::io::stderr).init();
    let Options { listen, peer } = Options::parse();
    // As in the product. PostgreSQL would inherit it, and is no faster with it.
    if !matches!(peer, Peer::Postgres { .. }) {
        web::scheduler::take_turns();
    }
    actix_web::rt::System::new().block_on(async {
        match peer {
            Peer::Bare => {
                let answers = Data::new(bare::Answers::make()?);
                serve(&listen, move |_, config| {
                    bare::routes(config.app_data(answers.clone()));
                })
                .await
            }
            Peer::Postgres { folder, connections, settings, doctors } => {
                let database = Arc::new(postgres::Database::start(&folder, doctors, &settings).await?);
                let each = connections.div_ceil(u32::try_from(workers())?);
                // A pool for each worker: a connection that wakes another thread costs more than it does.
                let serving = Arc::clone(&database);
                serve(&listen, move |_, config| {
                    config.app_data(Data::new(serving.connect(each)));
                    routes::<postgres::Bookings>(config);
                })
                .await
            }
            Peer::Conditional { folder, over_socket, doctors } => {
                let database = conditional::Database::start(&folder, over_socket, doctors).await?;
                let clients = database.connect(workers()).await?;
                serve(&listen, move |worker, config| {
                    config.app_data(clients[worker % clients.len()].clone());
                    routes::<conditional::Bookings>(config);
                })
                .await
            }
        }
    })
}

fn workers() -> usize {
    available_parallelism().map_or(2, usize::from)
}

/// Serves until a signal comes. `configure` is told which worker it is for.
async fn serve(
    listen: &str,
    configure: impl Fn(usize, &mut ServiceConfig) + Clone + Send + 'static,
) -> anyhow::Result<()> {
    let tokens = Data::new(Tokens::from_env()?);
    let started = Arc::new(AtomicUsize::new(0));
    let server = HttpServer::new(move || {
        let worker = started.fetch_add(1, Ordering::Relaxed);
        App::new().app_data(tokens.clone()).configure(|config| configure(worker, config))
    });
    let server = server.workers(workers()).bind(listen)?;
    let address = server.addrs().first().copied().context("it listens nowhere")?;
    println!("listening on http://{address}");
    Ok(server.run().await?)
}
