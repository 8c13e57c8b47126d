//! The DynamoDB of the default run: the crate `embedded` over a folder, on loopback for other processes, and without a socket for
//! this one ([`OwnProcess`]).
//!
//! **Durable.** No answer before what it rests on is flushed to the disk (`tests/store/durability.rs` watches the flushes);
//! all that came meanwhile is flushed together.
//!
//! **Guarded.** The server verifies the signature of every call ([`super::signature`]) against a key that is kept in the data
//! folder, readable by its owner alone. A process of another user on the same machine can connect, and learns nothing. The
//! server refuses requests of web pages, and those that name another host than this machine. The settings allow a loopback
//! address only, because nothing is encrypted.

use std::convert::Infallible;
use std::fs;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use embedded::{Database, OpenError, Refusal};
use engine::{Clock, SystemClock};
use hyper::service::service_fn;
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::own_process::OwnProcess;
use super::signature::Verifier;
use super::{EmbeddedError, Where, dynamo_http, http, stopped};
use crate::aws::{AccessKeys, Endpoint};
use crate::data_folder::{Announced, DataFolder};

/// The database, in the data folder.
const FOLDER: &str = "dynamodb";
/// The database of versions before this one.
const OLD_FILE: &str = "dynamodb.sqlite";
/// Threads that parse and answer, each with an event loop and connections of its own.
const SERVER_THREADS: usize = 2;
/// How often items whose time has come are looked for.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// Rows that are looked at each time, which takes a twentieth of a second of one processor: a million in twenty minutes.
const SWEEP_ROWS: usize = 50_000;

/// A running server. Dropping it stops it.
pub struct EmbeddedDynamo {
    address: SocketAddr,
    keys: AccessKeys,
    database: Database,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    /// Gone before the folder is anybody else's.
    announced: Option<Announced>,
    folder: Option<DataFolder>,
}

impl EmbeddedDynamo {
    /// What its address is called in the data folder.
    const NAME: &str = "dynamodb";

    /// Opens the database and serves it. Blocks while the folder is opened, and recovered after a crash.
    pub fn start(place: Where) -> Result<Self, EmbeddedError> {
        Self::start_at(place, None)
    }

    /// The same at a given address, where other nodes of a cluster find it.
    pub fn start_at(place: Where, address: Option<SocketAddr>) -> Result<Self, EmbeddedError> {
        let server = Self::serve(place, address)?;
        server.sweeping()
    }

    /// The same for those who only look: items whose time has come stay.
    pub fn start_unswept(place: Where) -> Result<Self, EmbeddedError> {
        Self::serve(place, None)
    }

    /// Whether there is a database in the folder, of this version or of one before.
    pub fn is_in(folder: &Path) -> bool {
        Database::is_in(&folder.join(FOLDER)) || is_old(folder)
    }

    fn serve(place: Where, address: Option<SocketAddr>) -> Result<Self, EmbeddedError> {
        let keys = AccessKeys::of(&place)?;
        let clock: embedded::Clock =
            Arc::new(|| u64::try_from(SystemClock.now().timestamp_millis()).unwrap_or_default());
        let (database, folder) = match place {
            Where::Memory => (Database::memory(clock), None),
            Where::File(folder) => (open(folder.path(), clock)?, Some(folder)),
        };
        let listener = address.map_or_else(http::listen_hidden, TcpListener::bind)?;
        listener.set_nonblocking(true)?;
        let (stop, stopping) = watch::channel(false);
        let address = listener.local_addr()?;
        // From here on a failure drops the server, which stops the threads that run already.
        let mut server = Self { address, keys, database, stop, threads: Vec::new(), announced: None, folder };
        let verifier = Arc::new(Verifier::new(server.keys.clone()));
        for number in 0..SERVER_THREADS {
            let listener = listener.try_clone()?;
            let (database, stopping) = (server.database.clone(), stopping.clone());
            let verifier = Arc::clone(&verifier);
            let service = service_fn(move |request| {
                let (database, verifier) = (database.clone(), Arc::clone(&verifier));
                async move { Ok::<_, Infallible>(dynamo_http::answer(&database, &verifier, request).await) }
            });
            server.spawn(format!("dynamo-{number}"), move || {
                http::serve("embedded DynamoDB", (listener, http::everybody()), service, stopping)
            })?;
        }
        if let Some(folder) = &server.folder {
            server.announced = Some(folder.announce(Self::NAME, &server.address())?);
        }
        Ok(server)
    }

    fn sweeping(mut self) -> Result<Self, EmbeddedError> {
        let (database, stopping) = (self.database.clone(), self.stop.subscribe());
        self.spawn("dynamo-sweep".to_owned(), move || sweep_regularly(database, stopping))?;
        Ok(self)
    }

    fn spawn<F>(&mut self, name: String, work: impl FnOnce() -> F + Send + 'static) -> io::Result<()>
    where
        F: Future<Output = ()>,
    {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name(name).spawn(move || runtime.block_on(work()))?;
        self.threads.push(thread);
        Ok(())
    }

    /// Returns where a process that does not have the folder reaches the server of the one that has. `None`: no server runs.
    pub fn running_in(folder: &Path) -> Result<Option<Endpoint>, EmbeddedError> {
        let Some(address) = DataFolder::address(folder, Self::NAME)? else { return Ok(None) };
        Ok(Some(Endpoint::With { address, keys: AccessKeys::kept_in(folder)? }))
    }

    /// Returns where, and with which key, a process of this machine reaches it.
    pub fn endpoint(&self) -> Endpoint {
        Endpoint::With { address: self.address(), keys: self.keys.clone() }
    }

    /// Returns its URL, such as `http://127.0.0.1:8000`.
    pub fn address(&self) -> String {
        format!("http://{}", self.address)
    }

    /// The way for this process, for [`crate::Endpoint::Own`].
    pub fn own_process(&self) -> OwnProcess {
        OwnProcess::new(self.database.clone())
    }

    /// Deletes all items whose time to live has passed and says how many; the server does so by and by. Blocks; requests get
    /// their turn in between.
    pub fn sweep(&self) -> Result<usize, EmbeddedError> {
        futures::executor::block_on(self.database.sweep(usize::MAX)).map_err(broken)
    }

    /// Stops accepting, lets running requests finish for a few seconds, and closes the folder. Blocks meanwhile.
    pub fn stop(self) {
        drop(self);
    }
}

impl Drop for EmbeddedDynamo {
    fn drop(&mut self) {
        self.announced = None;
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread of the embedded DynamoDB died");
            }
        }
        self.database.close();
    }
}

/// Deletes what has expired, now and every minute, until told to stop.
async fn sweep_regularly(database: Database, stopping: watch::Receiver<bool>) {
    let mut ticks = tokio::time::interval(SWEEP_INTERVAL);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = stopped(stopping);
    tokio::pin!(stopped);
    loop {
        tokio::select! {
            () = &mut stopped => return,
            _ = ticks.tick() => {}
        }
        let swept = tokio::select! {
            () = &mut stopped => return,
            swept = database.sweep(SWEEP_ROWS) => swept,
        };
        match swept {
            Ok(0) => {}
            Ok(items) => tracing::info!(items, "expired items deleted"),
            Err(_) => tracing::warn!("expired items could not be deleted"),
        }
    }
}

fn open(folder: &Path, clock: embedded::Clock) -> Result<Database, EmbeddedError> {
    if is_old(folder) {
        return Err(EmbeddedError::Old { file: folder.join(OLD_FILE) });
    }
    Database::open(&folder.join(FOLDER), clock).map_err(|error| match error {
        OpenError::System(error) => EmbeddedError::System(error),
        damaged @ OpenError::Damaged(_) => EmbeddedError::Database(damaged.to_string()),
    })
}

/// Whether only a version before this one has stored something there. Whoever has taken that over may keep the file.
fn is_old(folder: &Path) -> bool {
    let has_file = fs::metadata(folder.join(OLD_FILE)).is_ok_and(|file| file.len() > 0);
    has_file && !Database::is_in(&folder.join(FOLDER))
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn broken(refusal: Refusal) -> EmbeddedError {
    let body = refusal.body();
    EmbeddedError::Database(body["message"].as_str().unwrap_or_default().to_owned())
}
