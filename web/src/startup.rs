//! Puts the parts together, and takes them apart in reverse order: no new connections, requests answered, events
//! committed, store stopped.

mod stores;

use std::convert::Infallible;
use std::future::{Future, pending};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use actix_web::dev::{Server, ServerHandle};
use actix_web::web::Data;
use anyhow::Context;
use engine::limits::LANES;
use engine::{
    BookingStore, Chance, Clock, Directory, Engine, Fences, Membership, Parts, Placement, Standing,
    SystemChance, SystemClock,
};

use futures::future::select_all;
use persistence::{AccountKind, Dynamo};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, watch};

use crate::auth::{Devices, Tokens};
use crate::cluster::{Door, HttpPeers, NodeServer};
use crate::config::{Config, NodeConfig};
use crate::handlers::LOCKER_LISTS;
use crate::http_client;
use crate::limits::Limits;
use crate::metrics::Collector;
use crate::outgoing::Unread;
use crate::places::Places;
use crate::server::Listeners;
use crate::services::{
    Accounts, Assistant, Audit, DOCTOR_LISTS, Pages, Payments, Profiles, Uploads, fill_with_examples,
    has_examples,
};
use crate::state::AppState;
use crate::supervisor;
use stores::{Embedded, Stores};
pub(crate) use stores::{TOKEN_SECRET, admission};

/// What the program takes from the machine; tests give their own.
pub struct Surroundings {
    /// Time.
    pub clock: Arc<dyn Clock>,
    /// Random bits.
    pub chance: Arc<dyn Chance>,
    /// The engine's threads.
    pub placement: Placement,
    /// What the engine books in.
    pub store: EngineStore,
}

/// What the engine books in.
pub enum EngineStore {
    /// The tables that the settings name.
    Configured,
    /// These instead, for one node alone. Everything else is in the tables all the same.
    Given {
        /// Loads and commits.
        bookings: Arc<dyn BookingStore>,
        /// Says who owns what.
        fences: Arc<dyn Fences>,
        /// Whether the audit trail is written; what is not is dropped at the end of its queue.
        audited: bool,
    },
}

impl Surroundings {
    /// The machine's own. Needs a running actix system.
    pub fn of_this_machine() -> Self {
        let cores = std::thread::available_parallelism().map_or(2, usize::from);
        Self {
            clock: Arc::new(SystemClock),
            chance: Arc::new(SystemChance),
            placement: Placement::threads(cores.clamp(2, LANES)),
            store: EngineStore::Configured,
        }
    }
}

/// The whole program, bound to its address and ready to serve.
pub struct Application {
    address: SocketAddr,
    admin_address: Option<SocketAddr>,
    servers: Vec<Server>,
    socket_outlives_us: bool,
    node_server: Option<NodeServer>,
    state: Data<AppState>,
    engine: Engine,
    dynamo: Dynamo,
    embedded: Embedded,
    examples: Option<String>,
}

/// The signals that ask the program to stop.
pub struct StopSignals {
    terminate: Signal,
    interrupt: Signal,
    /// Asks for nothing but a look at the certificate. Caught, it does not end a program that has none.
    _hangup: Signal,
}

impl StopSignals {
    /// Catches them from here on.
    pub fn listen() -> std::io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            _hangup: signal(SignalKind::hangup())?,
        })
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
        Self::build_on(None, config, surroundings).await
    }

    /// The same on a socket that listens already and outlives this process, so that its successor gets it.
    pub async fn build_on(
        socket: Option<TcpListener>,
        config: Config,
        surroundings: Surroundings,
    ) -> anyhow::Result<Self> {
        let Surroundings { clock, chance, placement, store } = surroundings;
        http_client::install_cryptography();
        config.clinic.log();
        let mut listeners = Listeners::bind(socket, &config.server, config.cluster.node.as_ref())?;
        let Stores { dynamo, s3, secret, embedded } = Stores::open(&config).await?;
        if config.demo {
            refuse_examples_among_accounts(&dynamo).await?;
        }
        let node = config.cluster.node.clone().zip(listeners.take_node());
        let audited = !matches!(store, EngineStore::Given { audited: false, .. });
        let given = Surroundings { clock: Arc::clone(&clock), chance: Arc::clone(&chance), placement, store };
        let (engine, node_server) = start_engine(&config, &dynamo, node, given).await?;
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
            audit: Audit::start(dynamo.audit(), audited, Arc::clone(&clock), Arc::clone(&chance)),
            payments: Payments::new(dynamo.payments(), &config.payments, Arc::clone(&chance))
                .context("Razorpay cannot be called")?,
            profiles: Profiles::new(
                dynamo.profiles(),
                s3.documents(),
                Arc::clone(&clock),
                Arc::clone(&chance),
            ),
            doctor_pages: Pages::new(),
            clock,
            clinic: config.clinic.wall_clock,
            tokens: Tokens::new(&secret),
            devices: Devices::new(&secret),
            router: engine.router(),
            user_bookings: dynamo.user_bookings(),
            locker: s3.locker(&dynamo),
            doctor_lists: Places::new(DOCTOR_LISTS),
            locker_lists: Places::new(LOCKER_LISTS),
            uploads: Uploads::new(config.files.spool).context("no folder to spool uploads to")?,
            unread: Unread::default(),
            standing: engine.standing(),
            taking_leave: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            drain: Notify::new(),
        });
        let (address, admin_address) = (listeners.address()?, listeners.admin_address()?);
        let socket_outlives_us = listeners.outlives_us();
        let servers = listeners.serve(&config.cors, &state, &Data::from(chance))?;
        let mut application = Self {
            address,
            admin_address,
            servers,
            socket_outlives_us,
            node_server,
            state,
            engine,
            dynamo,
            embedded,
            examples: None,
        };
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
        let Self { servers, socket_outlives_us, mut node_server, state, engine, embedded, .. } = self;
        let handles: Vec<ServerHandle> = servers.iter().map(Server::handle).collect();
        let mut serving = select_all(servers.into_iter().map(actix_web::rt::spawn));
        actix_web::rt::spawn(say_when_ready(engine.standing()));
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
            outcome = ended(node_server.as_mut()) => {
                outcome.context("the server for other nodes has failed")?;
                anyhow::bail!("the server for other nodes has ended by itself");
            }
            never = hand_over_when_told(&state, &engine) => match never {},
        };
        supervisor::tell_stopping();
        match ended {
            Ended::Stopped => tracing::info!("stopping: no new work, finishing what has begun"),
            Ended::Deposed => {
                tracing::error!(
                    "another process has taken over these tables: this one refuses to book and is about to stop"
                );
                tokio::time::sleep(state.server.deposed_notice).await;
            }
        }
        let within = state.server.stop_notice + state.server.stop_timeout;
        let keeps_socket = socket_outlives_us && ended == Ended::Stopped;
        let drained = drain(&state, &handles, keeps_socket, node_server, engine);
        let drained = tokio::time::timeout(within, drained).await;
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

/// The engine, and in a cluster the server for other nodes, which ask as soon as they see this one.
async fn start_engine(
    config: &Config,
    dynamo: &Dynamo,
    node: Option<(NodeConfig, TcpListener)>,
    Surroundings { clock, chance, placement, store }: Surroundings,
) -> anyhow::Result<(Engine, Option<NodeServer>)> {
    let ring = config.cluster.ring;
    let node = match node {
        Some((node, listener)) => {
            let address = node.address.clone().bound(listener.local_addr()?).to_string();
            Some((address, node, listener))
        }
        None => None,
    };
    let membership = match &node {
        None => Membership::Solo,
        Some((address, node, _)) => {
            let peers = HttpPeers::new(&node.secret, Arc::clone(&clock), Arc::clone(&chance));
            Membership::Cluster {
                address: address.clone(),
                nodes: Arc::new(dynamo.nodes(ring)),
                peers: Arc::new(peers.context("other nodes cannot be called")?),
                timing: node.timing,
            }
        }
    };
    let (store, fences): (Arc<dyn BookingStore>, Arc<dyn Fences>) = match store {
        EngineStore::Configured => (Arc::new(dynamo.bookings()), Arc::new(dynamo.fences(ring))),
        EngineStore::Given { bookings, fences, .. } => {
            anyhow::ensure!(node.is_none(), "a store that is given is for one node alone");
            (bookings, fences)
        }
    };
    let engine = Engine::start(Parts {
        store,
        fences,
        clock: Arc::clone(&clock),
        chance: Arc::clone(&chance),
        clinic: config.clinic.wall_clock.clone(),
        rules: config.rules,
        ring,
        membership,
        placement,
    });
    let engine = engine.await.context("the tables cannot be taken over")?;
    let Some((address, node, listener)) = node else { return Ok((engine, None)) };
    if config.files.place.is_embedded() && !config.store.place.is_embedded() {
        tracing::warn!("files are kept by this node alone: the others do not find them (S3_ENDPOINT)");
    }
    let door = Door::new(&node.secret, address, engine.router(), clock);
    let server = NodeServer::start(listener, door, chance, &config.server);
    Ok((engine, Some(server.context("other nodes cannot be answered")?)))
}

/// Returns when the server for other nodes has ended, if there is one.
async fn ended(server: Option<&mut NodeServer>) -> anyhow::Result<()> {
    match server {
        Some(server) => server.ended().await,
        None => pending().await,
    }
}

/// Hands every range over when somebody asks for it. The process goes on, as one that owns nothing.
async fn hand_over_when_told(state: &AppState, engine: &Engine) -> Infallible {
    state.drain.notified().await;
    tracing::info!("draining: hands its doctors over, and takes none again");
    engine.hand_over().await;
    pending().await
}

/// Tells whoever started this process that it answers, as `/readyz` does.
async fn say_when_ready(mut standing: watch::Receiver<Standing>) {
    if standing.wait_for(|standing| *standing == Standing::Serving).await.is_ok() {
        supervisor::tell_ready();
    }
}

async fn drain(
    state: &AppState,
    handles: &[ServerHandle],
    keeps_socket: bool,
    node_server: Option<NodeServer>,
    engine: Engine,
) {
    engine.announce_stop();
    // Whoever watches sends no more; what comes is answered as ever, here and soon elsewhere.
    engine.hand_over().await;
    tokio::time::sleep(state.server.stop_notice).await;
    state.taking_leave.store(true, Ordering::Release);
    if let (true, Some(public)) = (keeps_socket, handles.first()) {
        // Whoever connects waits for the next process. Who is connected has one more answer of this one, and then connects.
        public.pause().await;
        tokio::time::sleep(state.server.refuse_for).await;
        state.stopping.store(true, Ordering::Release);
    } else {
        state.stopping.store(true, Ordering::Release);
        // Requests already on their way hear why, instead of a closed connection.
        tokio::time::sleep(state.server.refuse_for).await;
    }
    for handle in handles {
        handle.stop(true).await;
    }
    if let Some(server) = node_server {
        server.stop().await;
    }
    engine.stop().await;
    state.audit.flush().await;
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
