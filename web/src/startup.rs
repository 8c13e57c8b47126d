//! Puts the parts together, and takes them apart in reverse order: no new connections, requests answered, events
//! committed, store stopped.

use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::dev::{Server, ServerHandle};
use actix_web::web::Data;
use anyhow::Context;
use engine::shard::Ring;
use engine::{
    Chance, Clock, Directory, Engine, Membership, Parts, Placement, Standing, SystemChance, SystemClock,
};
use futures::future::select_all;
use persistence::{
    AccountKind, DataFolder, Dynamo, EmbeddedDynamo, EmbeddedS3, Endpoint, S3, Where, fresh_secret,
};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Semaphore;

use crate::auth::Tokens;
use crate::config::{Config, FilesConfig, Place, Secret};
use crate::http_client;
use crate::limits::Limits;
use crate::metrics::Collector;
use crate::server::Listeners;
use crate::services::{
    Accounts, Assistant, Audit, DOCTOR_LISTS_AT_ONCE, Payments, Profiles, Uploads, fill_with_examples,
    has_examples,
};
use crate::state::AppState;

/// Threads of the committer's lanes: two to four were fastest on the embedded store.
const LANE_THREADS: usize = 2;
/// The file of the made-up signing secret, in the data folder.
const TOKEN_SECRET: &str = "jwt-secret";

/// What the program takes from the machine; tests give their own.
pub struct Surroundings {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random bits.
    pub chance: Arc<dyn Chance>,
    /// The engine's threads.
    pub placement: Placement,
}

impl Surroundings {
    /// The machine's own. Needs a running actix system.
    pub fn of_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            clock: Arc::new(SystemClock),
            chance: Arc::new(SystemChance),
            placement: Placement::threads((cores / 2).clamp(1, 2), LANE_THREADS),
        }
    }
}

/// The whole program, bound to its address and ready to serve.
pub struct Application {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    servers: Vec<Server>,
    state: Data<AppState>,
    engine: Engine,
    dynamo: Dynamo,
    embedded: Embedded,
    examples: Option<String>,
}

/// The servers that the program brings along.
struct Embedded {
    dynamo: Option<EmbeddedDynamo>,
    s3: Option<EmbeddedS3>,
}

impl Embedded {
    /// Blocks until what runs is done.
    fn stop(self) {
        if let Some(s3) = self.s3 {
            s3.stop();
        }
        if let Some(dynamo) = self.dynamo {
            dynamo.stop();
        }
    }
}

/// The signals that ask the program to stop.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
}

impl StopSignals {
    /// Catches them from here on.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    /// Returns when one has come.
    pub async fn received(mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}

/// Whether a program could not start because another one took over the same tables at the same time.
pub fn was_overtaken(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        cause.downcast_ref().is_some_and(|cause| matches!(cause, engine::shard::TakeoverError::Overtaken))
    })
}

/// Why a program that ran has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ended {
    /// It was asked to, and left nothing undone.
    Stopped,
    /// Another process has taken over its tables.
    Deposed,
}

impl Application {
    /// Takes the address, then starts the store and the engine. Connections wait until [`Self::run_until_stopped`]
    /// serves them. The address comes first, since starting the engine deposes whoever has these tables: a process
    /// that could not listen must not do that.
    pub async fn build(config: Config, surroundings: Surroundings) -> anyhow::Result<Self> {
        let Surroundings { clock, chance, placement } = surroundings;
        http_client::install_cryptography();
        let listeners = Listeners::bind(&config.server)?;
        let mut folders = Folders::default();
        let store = folders.find(&config.store.place)?;
        let secret = match config.auth.secret.clone() {
            Some(secret) => secret,
            None => made_secret(store.as_ref())?,
        };
        let (embedded_dynamo, endpoint) = dynamo_server(&config.store.place, store)?;
        let (embedded_s3, s3_endpoint) = s3_server(&config.files, folders.find(&config.files.place)?)?;
        let embedded = Embedded { dynamo: embedded_dynamo, s3: embedded_s3 };
        let dynamo = Dynamo::connect(endpoint, config.store.tables.clone()).await?;
        dynamo.create_missing_tables().await.context("the tables cannot be looked up or created")?;
        let FilesConfig { public_endpoint, buckets, .. } = config.files.clone();
        let s3 = S3::connect(s3_endpoint, public_endpoint, buckets).await?;
        s3.create_missing_buckets().await.context("the buckets cannot be looked up or created")?;
        if config.demo {
            refuse_examples_among_accounts(&dynamo).await?;
        }
        let engine = Engine::start(Parts {
            store: Arc::new(dynamo.bookings()),
            fences: Arc::new(dynamo.fences(Ring::default())),
            clock: Arc::clone(&clock),
            chance: Arc::clone(&chance),
            clinic: config.clinic,
            ring: Ring::default(),
            membership: Membership::Solo,
            placement,
        });
        let engine = engine.await.context("the tables cannot be taken over")?;
        let collector = Collector::of_this_process()?;
        actix_web::rt::spawn(collector.clone().sum_up());
        let state = Data::new(AppState {
            collector,
            server: config.server.clone(),
            cors: config.cors.clone(),
            limits: Limits::new(config.limits, Arc::clone(&clock)),
            accounts: Accounts::new(dynamo.accounts(), &config.auth, Arc::clone(&clock))?,
            assistant: Assistant::new(&config.assistant, dynamo.chats(), Arc::clone(&clock))
                .context("the assistant's server cannot be called")?,
            audit: Audit::start(dynamo.audit(), Arc::clone(&clock), Arc::clone(&chance)),
            payments: Payments::new(dynamo.payments(), &config.payments, Arc::clone(&chance))
                .context("Razorpay cannot be called")?,
            profiles: Profiles::new(
                dynamo.profiles(),
                s3.documents(),
                Arc::clone(&clock),
                Arc::clone(&chance),
            ),
            clock,
            clinic: config.clinic,
            tokens: Tokens::new(&secret),
            router: engine.router(),
            user_bookings: dynamo.user_bookings(),
            locker: s3.locker(&dynamo),
            doctor_lists: Semaphore::new(DOCTOR_LISTS_AT_ONCE),
            uploads: Uploads::new(config.files.spool).context("no folder to spool uploads to")?,
            standing: engine.standing(),
            stopping: AtomicBool::new(false),
        });
        let (address, admin_address) = (listeners.address()?, listeners.admin_address()?);
        let servers = listeners.serve(&config.cors, &state, &Data::from(chance))?;
        let mut application =
            Self { address, admin_address, servers, state, engine, dynamo, embedded, examples: None };
        if config.demo {
            let examples = fill_with_examples(&application.state, &application.url()).await;
            application.examples = Some(examples.context("the examples cannot be put into the store")?);
        }
        Ok(application)
    }

    /// Where it listens.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where a program on this machine finds it.
    pub fn url(&self) -> String {
        let scheme = if self.state.server.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}", from_here(self.address))
    }

    /// Where a program on this machine finds what is for those who run it, if that is another address.
    pub fn admin_url(&self) -> Option<String> {
        self.admin_address.map(|address| format!("http://{}", from_here(address)))
    }

    /// What to try first: with `--demo` a session to paste into a shell.
    pub fn first_steps(&self) -> String {
        let url = self.url();
        self.examples.clone().unwrap_or_else(|| {
            format!(
                "Is it ready: curl {url}/readyz\n\
                 To see it at work, start it with --demo: that adds doctors, slots and users to an empty store, and \
                 prints a session to try.\nAll settings: --help. Stop it with Ctrl-C or SIGTERM."
            )
        })
    }

    /// The tables, for tests that look into them.
    pub const fn dynamo(&self) -> &Dynamo {
        &self.dynamo
    }

    /// The live doctors, for tests that count them.
    pub fn directory(&self) -> Directory {
        self.engine.router().directory().clone()
    }

    /// Serves until `stop` is done or another process takes over. Whatever has begun by then is stored and answered.
    pub async fn run_until_stopped(self, stop: impl Future<Output = ()>) -> anyhow::Result<Ended> {
        let Self { servers, state, engine, embedded, .. } = self;
        let handles: Vec<ServerHandle> = servers.iter().map(Server::handle).collect();
        let mut serving = select_all(servers.into_iter().map(actix_web::rt::spawn));
        let mut standing = engine.standing();
        let ended = tokio::select! {
            () = stop => Ended::Stopped,
            deposed = standing.wait_for(|standing| *standing == Standing::Deposed) => {
                drop(deposed.context("the engine has ended by itself")?);
                Ended::Deposed
            }
            (outcome, ..) = &mut serving => {
                outcome.context("the server has died")?.context("the server has failed")?;
                anyhow::bail!("the server has ended by itself");
            }
        };
        match ended {
            Ended::Stopped => tracing::info!("stopping: no new work, finishing what has begun"),
            Ended::Deposed => {
                tracing::error!(
                    "another process has taken over these tables: this one refuses to book and is about to stop"
                );
                tokio::time::sleep(state.server.deposed_notice).await;
            }
        }
        let drained = tokio::time::timeout(state.server.stop_timeout, drain(&state, &handles, engine)).await;
        tokio::task::spawn_blocking(|| embedded.stop()).await.context("the embedded store has died")?;
        drained.context("what was in flight did not finish in time")?;
        tracing::info!("stopped");
        Ok(ended)
    }
}

/// An address as a program on this machine can call it.
fn from_here(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    address
}

async fn drain(state: &AppState, handles: &[ServerHandle], engine: Engine) {
    engine.announce_stop();
    state.stopping.store(true, Ordering::Release);
    // Requests already on their way hear why, instead of a closed connection.
    tokio::time::sleep(state.server.stop_notice).await;
    for handle in handles {
        handle.stop(true).await;
    }
    engine.stop().await;
    state.audit.flush().await;
}

/// The data folders that this program has locked: the embedded servers share one.
#[derive(Default)]
struct Folders(Vec<DataFolder>);

impl Folders {
    /// Where an embedded server keeps its data; `None` when the place is not embedded.
    fn find(&mut self, place: &Place) -> anyhow::Result<Option<Where>> {
        let path = match place {
            Place::Folder(path) => path,
            Place::Memory => return Ok(Some(Where::Memory)),
            Place::Named { .. } => return Ok(None),
        };
        let locked = self.0.iter().find(|folder| folder.path() == path).cloned();
        let folder = match locked {
            Some(folder) => folder,
            None => {
                let folder = DataFolder::lock(path)?;
                self.0.push(folder.clone());
                folder
            }
        };
        Ok(Some(Where::File(folder)))
    }
}

fn dynamo_server(
    place: &Place,
    embedded: Option<Where>,
) -> anyhow::Result<(Option<EmbeddedDynamo>, Endpoint)> {
    let Some(embedded) = embedded else { return Ok((None, named_endpoint(place))) };
    let server = EmbeddedDynamo::start(embedded)?;
    let endpoint = Endpoint::At(server.endpoint());
    Ok((Some(server), endpoint))
}

fn s3_server(
    config: &FilesConfig,
    embedded: Option<Where>,
) -> anyhow::Result<(Option<EmbeddedS3>, Endpoint)> {
    let Some(embedded) = embedded else { return Ok((None, named_endpoint(&config.place))) };
    let server = EmbeddedS3::start(embedded, config.embedded_listen)?;
    let endpoint = server.endpoint();
    Ok((Some(server), endpoint))
}

fn named_endpoint(place: &Place) -> Endpoint {
    match place {
        Place::Named { endpoint: Some(url) } => Endpoint::At(url.clone()),
        Place::Named { endpoint: None } | Place::Folder(_) | Place::Memory => Endpoint::Aws,
    }
}

/// The examples have passwords that everybody knows: they are for a store that holds nothing else.
async fn refuse_examples_among_accounts(dynamo: &Dynamo) -> anyhow::Result<()> {
    let accounts = dynamo.accounts();
    for kind in [AccountKind::User, AccountKind::Doctor] {
        let any = accounts.any(kind).await.context("the store cannot be looked into")?;
        if any && !has_examples(&accounts).await? {
            anyhow::bail!(
                "--demo fills an empty store only, and this one has accounts: leave the option out"
            );
        }
    }
    Ok(())
}

fn made_secret(store: Option<&Where>) -> anyhow::Result<Secret> {
    let secret = match store {
        Some(Where::File(folder)) => folder.secret(TOKEN_SECRET)?,
        Some(Where::Memory) | None => fresh_secret(),
    };
    Secret::new(secret.into_bytes()).context("a made-up secret is too short")
}
