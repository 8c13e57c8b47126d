//! A PostgreSQL of its own: started in a folder of its own with settings that keep every promise, stopped at the end.

use std::fs;
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, geteuid, kill_process};

/// Where Debian's packages put the programs, beneath a folder for each version.
const DEBIAN: &str = "/usr/lib/postgresql";
/// `nobody` and `nogroup` of Debian: `PostgreSQL` refuses to run as root.
const NOBODY: u32 = 65_534;
/// Who the database's only user is.
pub(super) const ROLE: &str = "peer";

/// What a careful engineer sets on a small machine. A commit returns when it is on the disk, and a torn page is mended
/// (`fsync`, `synchronous_commit`, `full_page_writes`: all on).
const SETTINGS: [&str; 13] = [
    "listen_addresses=",
    "fsync=on",
    "synchronous_commit=on",
    "full_page_writes=on",
    "shared_buffers=512MB",
    "wal_buffers=16MB",
    "wal_level=minimal",
    "max_wal_senders=0",
    "max_wal_size=8GB",
    "checkpoint_timeout=15min",
    "max_connections=200",
    "jit=off",
    "log_min_messages=error",
];

/// A running server. Stopped when dropped.
pub(super) struct Server {
    child: Child,
    /// Where its socket is.
    pub(super) sockets: PathBuf,
}

impl Server {
    /// Makes a new database in `folder` and serves it; `more` settings come after the usual ones.
    pub(super) fn start(folder: &Path, more: &[String]) -> anyhow::Result<Self> {
        let programs = programs()?;
        fs::create_dir_all(folder)?;
        let folder = folder.canonicalize()?;
        ensure!(
            fs::read_dir(&folder)?.next().is_none(),
            "{} is not empty: a new database is made there",
            folder.display()
        );
        if geteuid().is_root() {
            chown(&folder, Some(NOBODY), Some(NOBODY))?;
        }
        let data = folder.join("data");
        let made = bound(&programs.join("initdb"))
            .args(["--auth=trust", "--encoding=UTF8", "--locale=C", "--username", ROLE, "--pgdata"])
            .arg(&data)
            .stdout(Stdio::null())
            .status()
            .context("initdb cannot be run")?;
        ensure!(
            made.success(),
            "initdb has failed: can everybody enter the folders above {}?",
            folder.display()
        );
        let mut command = bound(&programs.join("postgres"));
        command.arg("-D").arg(&data).arg("-k").arg(&folder);
        for setting in SETTINGS.into_iter().chain(more.iter().map(String::as_str)) {
            command.args(["-c", setting]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).spawn()?;
        Ok(Self { child, sockets: folder })
    }

    /// Fails when it has ended.
    pub(super) fn check(&mut self) -> anyhow::Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("PostgreSQL has ended: {status}"),
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
            // The fast way: transactions are broken off, what is committed stays.
            let _ = kill_process(pid, Signal::INT);
            let _ = self.child.wait();
        }
    }
}

/// A program that ends with this one, and is not root.
fn bound(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "INT"]);
    if geteuid().is_root() {
        command.args([format!("--reuid={NOBODY}"), format!("--regid={NOBODY}")]).arg("--clear-groups");
    }
    command.arg(program).current_dir("/");
    command
}

/// The folder of `initdb` and `postgres`, of the newest version there is.
fn programs() -> anyhow::Result<PathBuf> {
    let versions = fs::read_dir(DEBIAN).into_iter().flatten().flatten();
    let numbered = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        Some((version, entry.path().join("bin")))
    });
    let on_path = std::env::var_os("PATH").unwrap_or_default();
    let on_path = std::env::split_paths(&on_path).map(|folder| (0, folder));
    let mut found: Vec<_> = numbered.chain(on_path).filter(|(_, bin)| bin.join("initdb").exists()).collect();
    found.sort();
    let (_, newest) = found.pop().context("PostgreSQL is not installed: apt-get install postgresql")?;
    Ok(newest)
}
