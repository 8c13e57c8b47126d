//! What the parts share: where things are put, and how each program is made ready.

use std::fs;
use std::future::Future;
use std::path::{Path, PathBuf};

use chrono::NaiveDate;
use engine::{Clinic, Clock, SystemClock};
use futures::{StreamExt, TryStreamExt, stream};
use persistence::Endpoint;
use tempfile::TempDir;
use tokio::runtime::{Builder, Runtime};

use crate::rounds::Effort;
use crate::rules::Asked;
use crate::server::{Server, kokoro, program};
use crate::store::{Hours, add_doctors, connect, doctor, in_folder};

/// Doctors, of whom all are booked alike.
pub(crate) const DOCTORS: usize = 1_000;
/// Calls at once while doctors are brought into memory.
const AT_ONCE: usize = 32;

/// Where the doctors are: the servers' default.
pub(crate) fn clinic() -> Clinic {
    Clinic::compiled_in("Asia/Kolkata").expect("a zone that is compiled in")
}

/// A run of this command.
pub(crate) struct Bench {
    pub(crate) effort: Effort,
    /// On the disk that the build is on: a store in memory would flush for nothing.
    folder: TempDir,
    logs: PathBuf,
    runtime: Runtime,
}

impl Bench {
    /// Keeps its stores, while it runs, and its logs in a folder.
    pub(crate) fn new(effort: Effort, folder: &Path) -> anyhow::Result<Self> {
        fs::create_dir_all(folder)?;
        Ok(Self {
            effort,
            folder: tempfile::tempdir_in(folder)?,
            logs: folder.join("logs"),
            runtime: Builder::new_current_thread().enable_all().build()?,
        })
    }

    /// A folder for a store.
    pub(crate) fn store(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn block_on<T>(&self, work: impl Future<Output = T>) -> T {
        self.runtime.block_on(work)
    }

    /// Today, where the doctors are.
    pub(crate) fn today() -> NaiveDate {
        clinic().today(SystemClock.now())
    }

    /// A program that answers with bytes that it was given.
    pub(crate) fn bare(&self) -> anyhow::Result<Server> {
        Server::start(program("peer")?.arg("bare"), &self.logs, "bare")
    }

    /// The product on its embedded store.
    pub(crate) fn durable(&self, name: &str, doctors: usize) -> anyhow::Result<Server> {
        let data = self.store(name);
        self.block_on(in_folder(&data, async |dynamo| add_doctors(&dynamo, doctors, Hours::Always).await))?;
        self.on_store(name)
    }

    /// The product on the embedded store of this name, as it is.
    pub(crate) fn on_store(&self, name: &str) -> anyhow::Result<Server> {
        Server::start(&mut kokoro("kokoro", &self.store(name))?, &self.logs, name)
    }

    /// The product with its engine on the store in memory. Accounts and files are still in an embedded store.
    pub(crate) fn in_memory(&self, name: &str) -> anyhow::Result<Server> {
        let mut command = kokoro("kokoro-memory", &self.store(name))?;
        Server::start(command.args(["--doctors", &DOCTORS.to_string()]), &self.logs, name)
    }

    /// A server that is shaped like `DynamoDB` and answers after so many milliseconds, and the product on it.
    pub(crate) fn on_dynamo_shaped(&self, delay_ms: u64) -> anyhow::Result<(Server, Server)> {
        let name = format!("dynamo-shaped-{delay_ms}");
        let delay = delay_ms.to_string();
        let shaped =
            Server::start(program("dynamo-shaped")?.args(["--delay-ms", &delay]), &self.logs, &name)?;
        self.block_on(async {
            add_doctors(&connect(Endpoint::At(shaped.url.clone())).await?, DOCTORS, Hours::Always).await
        })?;
        let name = format!("kokoro-on-{name}");
        let mut command = kokoro("kokoro", &self.store(&name))?;
        let product = Server::start(command.env("DYNAMODB_ENDPOINT", &shaped.url), &self.logs, &name)?;
        Ok((shaped, product))
    }

    /// Peer (a).
    pub(crate) fn postgres(&self) -> anyhow::Result<Server> {
        let mut command = program("peer")?;
        command
            .args(["postgres", "--doctors", &DOCTORS.to_string(), "--folder"])
            .arg(self.postgres_folder()?);
        Server::start(&mut command, &self.logs, "postgres")
    }

    /// Peer (b), which reaches the embedded store as the product does.
    pub(crate) fn conditional(&self) -> anyhow::Result<Server> {
        self.conditional_with("conditional", &[])
    }

    /// The same as any other program reaches it.
    pub(crate) fn conditional_over_socket(&self) -> anyhow::Result<Server> {
        self.conditional_with("conditional-over-socket", &["--over-socket"])
    }

    fn conditional_with(&self, name: &str, arguments: &[&str]) -> anyhow::Result<Server> {
        let mut command = program("peer")?;
        let data = tempfile::tempdir_in(self.folder.path())?.keep();
        command
            .args(["conditional", "--doctors", &DOCTORS.to_string(), "--folder"])
            .arg(data)
            .args(arguments);
        Server::start(&mut command, &self.logs, name)
    }

    /// A folder that another user may enter, who owns what is in it.
    fn postgres_folder(&self) -> anyhow::Result<PathBuf> {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir_in(self.folder.path())?.keep();
        for path in [self.folder.path(), &folder] {
            fs::set_permissions(path, fs::Permissions::from_mode(0o711))?;
        }
        let database = folder.join("database");
        fs::create_dir(&database)?;
        Ok(database)
    }

    /// Asks for every date of these doctors once, so that what is measured afterwards is not the loading.
    pub(crate) fn bring_into_memory(
        &self,
        server: &Server,
        doctors: usize,
        dates: &[NaiveDate],
    ) -> anyhow::Result<()> {
        let asked = Asked::new(&server.url);
        let all = (0..doctors).flat_map(|number| dates.iter().map(move |date| (doctor(number), *date)));
        let calls =
            stream::iter(all).map(async |(doctor, date)| asked.available(&doctor, date).await.map(drop));
        self.block_on(calls.buffer_unordered(AT_ONCE).try_collect::<()>())
    }
}
