//! The program: reads its settings, says where it listens, serves until it is told to stop.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "here the program talks to a person")]

use std::ffi::OsString;
use std::net::TcpListener;
use std::process::ExitCode;

use anyhow::Context;
use mimalloc::MiMalloc;
use web::config::{Config, Environment, Options};
use web::local_cluster::{LocalCluster, end_with};
use web::startup::{Application, Ended, StopSignals, Surroundings, was_overtaken};
use web::{commands, supervisor};

#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

const FAILED: u8 = 1;
/// A supervisor must not restart a process that ended with this: another one has taken over its tables.
const DEPOSED: u8 = 3;
/// `EX_CONFIG` of sysexits.h.
const MISCONFIGURED: u8 = 78;

fn main() -> ExitCode {
    web::scheduler::take_turns();
    let env = Environment::of_process();
    let options = Options::read(std::env::args_os().skip(1), &env).unwrap_or_else(|error| error.exit());
    if let Some(parent) = options.child_of
        && let Err(error) = end_with(parent)
    {
        eprintln!("kokoro: cannot be tied to the process that started it: {error}");
        return FAILED.into();
    }
    for name in Options::unknown_variables(&env) {
        eprintln!("{name} is set, but kokoro has no such setting: see --help");
    }
    let (filter, format) = (options.log_filter().to_owned(), options.log_format());
    if let Some(tool) = options.tool.clone() {
        return match web::telemetry::install(&filter, format) {
            Ok(()) => commands::run(tool, options),
            Err(error) => misunderstood(&error),
        };
    }
    let (nodes, variables) = (options.nodes, options.as_variables().to_owned());
    let config = match options.into_config() {
        Ok(config) => config,
        Err(error) => {
            eprintln!("{error}");
            return MISCONFIGURED.into();
        }
    };
    let socket = match supervisor::socket(&config.server) {
        Ok(socket) => socket,
        Err(error) => {
            eprintln!("kokoro: {error}");
            return MISCONFIGURED.into();
        }
    };
    if let Err(error) = web::telemetry::install(&filter, format) {
        return misunderstood(&error);
    }
    let system = actix_web::rt::System::new();
    let ended = match (nodes, socket) {
        (None, socket) => system.block_on(run(config, socket)),
        (Some(nodes), None) => system.block_on(run_nodes(config, nodes, variables)),
        (Some(_), Some(_)) => {
            eprintln!("kokoro: --nodes listens by itself: systemctl mask --now kokoro.socket");
            return MISCONFIGURED.into();
        }
    };
    match ended {
        Ok(Ended::Stopped) => ExitCode::SUCCESS,
        Ok(Ended::Deposed) => deposed(),
        Err(error) if was_overtaken(&error) => deposed(),
        Err(error) => {
            eprintln!("kokoro: {error:#}");
            FAILED.into()
        }
    }
}

fn misunderstood(error: &impl std::fmt::Display) -> ExitCode {
    eprintln!("RUST_LOG cannot be understood: {error}");
    MISCONFIGURED.into()
}

async fn run_nodes(config: Config, nodes: u8, variables: Vec<(String, OsString)>) -> anyhow::Result<Ended> {
    let signals = StopSignals::listen()?;
    let cluster = LocalCluster::start(&config, variables).context("cannot start")?;
    println!("kokoro starts {nodes} nodes on http://{}", cluster.address());
    cluster.run(nodes, signals.received(), |line| println!("{line}")).await?;
    Ok(Ended::Stopped)
}

fn deposed() -> ExitCode {
    eprintln!("Another process has taken over these tables. Do not restart this one.");
    DEPOSED.into()
}

async fn run(config: Config, socket: Option<TcpListener>) -> anyhow::Result<Ended> {
    // Before anything else: a signal during the start is a request to stop as well.
    let signals = StopSignals::listen()?;
    let application = Application::build_on(socket, config, Surroundings::of_this_machine());
    let application = application.await.context("cannot start")?;
    println!("kokoro listens on {}", application.url());
    if let Some(url) = application.admin_url() {
        println!("metrics are at {url}/metrics");
    }
    println!("{}", application.first_steps());
    application.run_until_stopped(signals.received()).await
}
