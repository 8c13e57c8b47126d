//! The DynamoDB of the default run: `dynoxide` on loopback, over SQLite, on threads of its own.
//!
//! **Durable.** SQLite's write-ahead log with `synchronous` at its default, FULL: the log is flushed to the
//! disk before a commit returns, and so before the server answers (`tests/store/durability.rs` watches the
//! flushes). Every thousand pages SQLite copies the log into the database, within the commit that crosses
//! that mark.
//!
//! **Not guarded.** The server checks that requests are signed but not by whom, and lets any web page read
//! its answers (`Access-Control-Allow-Origin: *`). What keeps others out is that they don't know where it is:
//! it listens on a random address of `127.0.0.0/8` where the system has them all, which no web page can
//! guess. A program on the same machine can look it up; whoever shares the machine with strangers should use
//! another DynamoDB. Where it is given an address, so that other nodes find it, strangers must not reach that.
//!
//! **Remembers every token.** The server keeps each request token for ten minutes, with a size for each action, and
//! looks through all of them at each transaction: about 40 ns and a few kilobytes for each. At a hundred transactions a
//! second that ends at 2.4 ms a transaction and some hundred megabytes; a clinic's load never notices.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::thread::JoinHandle;
use std::time::Duration;

use dynoxide::Database;
use engine::chance::{Chance, SystemChance};
use tokio::sync::watch;
use tokio::time::MissedTickBehavior;

use super::{EmbeddedError, Where, stopped};
use crate::data_folder::{Announced, DataFolder};

/// The database, in the data folder.
const DATABASE_FILE: &str = "dynamodb.sqlite";
/// What SQLite keeps beside it.
const COMPANIONS: [&str; 2] = ["dynamodb.sqlite-wal", "dynamodb.sqlite-shm"];
/// What a companion of a lost database is renamed to.
const ORPHANED: &str = "orphaned";
/// Threads that parse and answer, each with an event loop and connections of its own: the server blocks its thread
/// while the disk is busy, and a runtime of several threads may then leave new requests unread. The database itself
/// serves one request at a time.
const SERVER_THREADS: usize = 4;
/// How often items whose time has come are deleted.
const SWEEP_INTERVAL: Duration = Duration::from_secs(60);
/// How long running requests may take once the server is to stop.
const DRAIN: Duration = Duration::from_secs(5);

/// A running server. Dropping it stops it.
pub struct EmbeddedDynamo {
    address: SocketAddr,
    database: Database,
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
    /// Gone before the folder is anybody else's.
    announced: Option<Announced>,
    folder: Option<DataFolder>,
}

impl EmbeddedDynamo {
    /// What its address is called in the data folder.
    pub const NAME: &str = "dynamodb";

    /// Opens the database and serves it. Blocks while the file is opened, and recovered after a crash.
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

    /// Whether there is a database in the folder.
    pub fn is_in(folder: &Path) -> bool {
        folder.join(DATABASE_FILE).is_file()
    }

    fn serve(place: Where, address: Option<SocketAddr>) -> Result<Self, EmbeddedError> {
        let (database, folder) = match place {
            Where::Memory => (Database::memory().map_err(database_error)?, None),
            Where::File(folder) => (open(folder.path())?, Some(folder)),
        };
        let listener = address.map_or_else(listen, TcpListener::bind)?;
        listener.set_nonblocking(true)?;
        let (stop, stopping) = watch::channel(false);
        let address = listener.local_addr()?;
        // From here on a failure drops the server, which stops the threads that run already.
        let mut server = Self { address, database, stop, threads: Vec::new(), announced: None, folder };
        for number in 0..SERVER_THREADS {
            let listener = listener.try_clone()?;
            let (database, stopping) = (server.database.clone(), stopping.clone());
            server.spawn(format!("dynamo-{number}"), move || serve(listener, database, stopping))?;
        }
        if let Some(folder) = &server.folder {
            server.announced = Some(folder.announce(Self::NAME, &server.endpoint())?);
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

    /// The address to give to [`crate::Endpoint::At`].
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Deletes items whose time to live has passed and says how many; the server does so every minute by
    /// itself. Blocks; requests get their turn in between.
    pub fn sweep(&self) -> Result<usize, EmbeddedError> {
        self.database.sweep_ttl().map_err(database_error)
    }

    /// Stops accepting, lets running requests finish for a few seconds, and closes the file. Blocks
    /// meanwhile.
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
    }
}

/// Serves until told to stop, and then for [`DRAIN`] at most.
async fn serve(listener: TcpListener, database: Database, stopping: watch::Receiver<bool>) {
    let listener = match tokio::net::TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => return tracing::error!(%error, "the embedded DynamoDB cannot listen"),
    };
    let server = dynoxide::server::serve_with_shutdown(listener, database, stopped(stopping.clone()));
    let drained = async {
        stopped(stopping).await;
        tokio::time::sleep(DRAIN).await;
    };
    tokio::select! {
        outcome = server => if let Err(error) = outcome {
            tracing::error!(error, "the embedded DynamoDB stopped serving");
        },
        () = drained => tracing::warn!("the embedded DynamoDB stopped before every request was done"),
    }
}

/// Deletes what has expired, now and every minute, until told to stop. Blocks its thread meanwhile.
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
        match database.sweep_ttl() {
            Ok(0) => {}
            Ok(items) => tracing::info!(items, "expired items deleted"),
            Err(error) => tracing::warn!(%error, "expired items could not be deleted"),
        }
    }
}

/// Opens the database file, made readable by its owner alone; SQLite gives its companions the same rights.
fn open(folder: &Path) -> Result<Database, EmbeddedError> {
    let file = folder.join(DATABASE_FILE);
    if !file.exists() {
        set_orphans_aside(folder)?;
        let mut options = fs::File::options();
        options.create(true).truncate(false).write(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&file)?.sync_all()?;
        fs::File::open(folder)?.sync_all()?;
    }
    let path = file.to_str().ok_or_else(|| {
        EmbeddedError::Database("the path of the data folder is not valid UTF-8".to_owned())
    })?;
    Database::new(path).map_err(database_error)
}

/// The log of a database that is gone belongs to nothing, and makes a fresh one ten times slower.
fn set_orphans_aside(folder: &Path) -> io::Result<()> {
    for name in COMPANIONS {
        let companion = folder.join(name);
        if companion.exists() {
            tracing::warn!(file = name, "set aside: it belongs to a database that is gone");
            fs::rename(&companion, companion.with_added_extension(ORPHANED))?;
        }
    }
    Ok(())
}

/// A random loopback address where the system has the whole of `127.0.0.0/8`, else the usual one.
fn listen() -> io::Result<TcpListener> {
    let [a, b, c, ..] = SystemChance.bits().to_le_bytes();
    let hidden = Ipv4Addr::new(127, a.clamp(1, 254), b, c.clamp(1, 254));
    TcpListener::bind((hidden, 0)).or_else(|_| TcpListener::bind((Ipv4Addr::LOCALHOST, 0)))
}

#[expect(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn database_error(error: dynoxide::DynoxideError) -> EmbeddedError {
    EmbeddedError::Database(error.to_string())
}
