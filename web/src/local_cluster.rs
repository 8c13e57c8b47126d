//! Several nodes on one machine, to develop with and to try: `kokoro --nodes 3`. This process keeps the store, each node is
//! a process of its own, and all of them listen on one address, over which the kernel spreads the connections. A node that
//! dies is started again.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use futures::future::join_all;
use persistence::{DataFolder, EmbeddedDynamo, EmbeddedS3, Endpoint, Where, fresh_secret};
use rustix::process::{Pid, Signal, getppid, kill_process, set_parent_process_death_signal};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, watch};

use crate::config::{Config, Place};
use crate::startup::{TOKEN_SECRET, admission};
use crate::supervisor;

/// How many nodes one machine is good for.
pub const NODES_MAX: u8 = 16;
/// How long a node that died stays away.
const RESTART_AFTER: Duration = Duration::from_secs(1);
/// What a node needs to stop, and then some.
const STOP_WITHIN: Duration = Duration::from_secs(45);
/// What a node prints once it serves.
const SERVES: &str = "kokoro listens on";
/// What it prints next.
const METRICS: &str = "metrics are at";

/// The store of a cluster of processes, and what each of them is told.
pub struct LocalCluster {
    dynamo: EmbeddedDynamo,
    s3: EmbeddedS3,
    address: SocketAddr,
    /// Settings of the command line.
    variables: Vec<(String, OsString)>,
    /// What wins over them and over the environment.
    env: Vec<(&'static str, String)>,
    is_demo: bool,
    /// Keeps the address while nodes come and go.
    _reserved: tokio::net::TcpSocket,
}

impl LocalCluster {
    /// Takes the address and starts the store. The nodes get `variables` beside the environment of this process.
    ///
    /// # Errors
    /// When the settings name a store, or when something cannot be started.
    pub fn start(config: &Config, variables: Vec<(String, OsString)>) -> anyhow::Result<Self> {
        let (Place::Folder(folder), true) = (&config.store.place, config.files.place.is_embedded()) else {
            anyhow::bail!("--nodes brings its own store along: the settings must not name one");
        };
        let reserved = reserve(config.server.listen)?;
        let folder = DataFolder::lock(folder)?;
        let secret = folder.secret(TOKEN_SECRET)?;
        let dynamo = EmbeddedDynamo::start_at(Where::File(folder.clone()), config.store.embedded_listen)?;
        let admission = admission(&config.server.trusted_proxies);
        let s3 = EmbeddedS3::start_sharing(Where::File(folder), config.files.embedded_listen, admission)?;
        let links_at = config.files.public_endpoint.clone().unwrap_or_else(|| s3.public_address());
        let Endpoint::With { address: s3_address, keys } = s3.endpoint() else {
            anyhow::bail!("the embedded S3 has no keys");
        };
        let address = reserved.local_addr()?;
        let env = vec![
            ("DYNAMODB_ENDPOINT", dynamo.address()),
            ("S3_ENDPOINT", s3_address),
            ("S3_PUBLIC_ENDPOINT", links_at),
            ("AWS_REGION", "us-east-1".to_owned()),
            // Both servers have the key of the data folder.
            ("AWS_ACCESS_KEY_ID", keys.id),
            ("AWS_SECRET_ACCESS_KEY", keys.secret),
            ("KOKORO_JWT_SECRET", secret),
            ("KOKORO_CLUSTER_SECRET", fresh_secret()),
            ("KOKORO_NODE_ADDRESS", "127.0.0.1:0".to_owned()),
            ("KOKORO_LISTEN", address.to_string()),
            ("KOKORO_SHARE_PORT", "true".to_owned()),
            ("KOKORO_ADMIN_LISTEN", "127.0.0.1:0".to_owned()),
            // Theirs is this process's.
            ("KOKORO_DYNAMODB_LISTEN", String::new()),
            ("KOKORO_S3_LISTEN", String::new()),
        ];
        Ok(Self { dynamo, s3, address, variables, env, is_demo: config.demo, _reserved: reserved })
    }

    /// Where all nodes listen.
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Runs so many nodes until `stop` is done, and passes on what they print.
    ///
    /// # Errors
    /// When a node cannot be started at all.
    pub async fn run(
        self,
        nodes: u8,
        stop: impl Future<Output = ()>,
        print: impl Fn(String),
    ) -> anyhow::Result<()> {
        let (stopping, _) = watch::channel(false);
        let (lines, mut printed) = mpsc::channel(64);
        let mut running = Vec::new();
        for number in 1..=nodes {
            let supervised = supervise(self.command(number), number, stopping.subscribe(), lines.clone());
            running.push(actix_web::rt::spawn(supervised));
            // The examples are for the first, and the others want to find them; and who comes first takes all there is.
            while let Some(line) = printed.recv().await {
                let serves = line.contains(SERVES);
                print(line);
                if serves {
                    break;
                }
            }
        }
        supervisor::tell_ready();
        let pass_on = async {
            while let Some(line) = printed.recv().await {
                print(line);
            }
        };
        tokio::select! {
            () = stop => {}
            () = pass_on => {}
        }
        supervisor::tell_stopping();
        stopping.send_replace(true);
        drop(printed);
        for node in join_all(running).await {
            node.context("the supervisor of a node has died")??;
        }
        let Self { s3, dynamo, .. } = self;
        let stopped = tokio::task::spawn_blocking(|| {
            s3.stop();
            dynamo.stop();
        });
        stopped.await.context("the embedded store has died")
    }

    fn command(&self, number: u8) -> anyhow::Result<Command> {
        let mut command = Command::new(std::env::current_exe().context("where is this program")?);
        command
            .args(["--child-of", &std::process::id().to_string()])
            .envs(self.variables.iter().map(|(name, value)| (name, value)))
            .envs(self.env.iter().map(|(name, value)| (*name, value.as_str())))
            .env("KOKORO_DEMO", (self.is_demo && number == 1).to_string())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .kill_on_drop(true);
        Ok(command)
    }
}

/// Ends this process as soon as `parent` does, which started it: the store is the parent's, and whoever kills that one alone
/// should not have to look for the others.
///
/// # Errors
/// When the parent is gone already, or the system does not offer it.
pub fn end_with(parent: u32) -> std::io::Result<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let is_there = getppid().is_some_and(|process| process.as_raw_nonzero().get().unsigned_abs() == parent);
    if is_there { Ok(()) } else { Err(std::io::Error::other("it has ended")) }
}

/// An address that several processes can listen on.
fn reserve(address: SocketAddr) -> anyhow::Result<tokio::net::TcpSocket> {
    let socket =
        if address.is_ipv4() { tokio::net::TcpSocket::new_v4()? } else { tokio::net::TcpSocket::new_v6()? };
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address).with_context(|| format!("cannot listen on {address}"))?;
    Ok(socket)
}

/// Starts a node, and starts it again when it dies, until all is to stop.
async fn supervise(
    command: anyhow::Result<Command>,
    number: u8,
    mut stopping: watch::Receiver<bool>,
    lines: mpsc::Sender<String>,
) -> anyhow::Result<()> {
    let mut command = command?;
    loop {
        let mut child = command.spawn().context("a node cannot be started")?;
        let process = child.id().unwrap_or_default();
        // Nobody reads them any more when all is to stop.
        let _ = lines.send(format!("node {number}: process {process}")).await;
        let output = child.stdout.take();
        let pass_on = async {
            if let Some(output) = output {
                let mut output = BufReader::new(output).lines();
                while let Ok(Some(line)) = output.next_line().await {
                    // What to try first is the same for all.
                    let line = match number {
                        _ if line.starts_with(SERVES) || line.starts_with(METRICS) => {
                            format!("node {number}: {line}")
                        }
                        1 => line,
                        _ => continue,
                    };
                    let _ = lines.send(line).await;
                }
            }
            std::future::pending::<()>().await;
        };
        let status = tokio::select! {
            status = child.wait() => status?,
            () = pass_on => return Ok(()),
            _ = stopping.wait_for(|stopping| *stopping) => return end(child).await,
        };
        let _ = lines.send(format!("node {number}: has ended, {status}")).await;
        tokio::select! {
            () = tokio::time::sleep(RESTART_AFTER) => {}
            _ = stopping.wait_for(|stopping| *stopping) => return Ok(()),
        }
    }
}

/// Asks a node to stop, and ends it if it does not.
async fn end(mut child: Child) -> anyhow::Result<()> {
    let process = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    if let Some(process) = process {
        // It may have ended this moment.
        let _ = kill_process(process, Signal::TERM);
    }
    if tokio::time::timeout(STOP_WITHIN, child.wait()).await.is_err() {
        child.kill().await?;
    }
    Ok(())
}
