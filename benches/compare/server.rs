//! Programs that are measured: started, asked how much they use, stopped.

use std::fs::{self, File};
use std::io::{self, BufRead, BufReader};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

/// What tokens are signed with, everywhere here.
pub(crate) const SECRET: &str = "a secret of the benches that is longer than 32 bytes";
/// How long a program may take to stop.
const STOP_WITHIN: Duration = Duration::from_secs(30);
const LOOK_INTERVAL: Duration = Duration::from_millis(10);
/// A program is at rest when it has used less than a hundredth of a processor for so long; how long that may take.
const REST: Duration = Duration::from_secs(1);
const REST_WITHIN: Duration = Duration::from_secs(60);

/// A running program. Stopped when dropped.
pub(crate) struct Server {
    child: Child,
    /// Where it listens.
    pub(crate) url: String,
    /// What it says after that must have somewhere to go.
    _output: BufReader<ChildStdout>,
}

/// A program of the folder that this one is in.
pub(crate) fn program(name: &str) -> anyhow::Result<Command> {
    let folder = std::env::current_exe()?.parent().context("a program is in a folder")?.to_owned();
    let path = folder.join(name);
    ensure!(path.exists(), "{} is missing: build it first", path.display());
    let mut command = Command::new(path);
    command.env("KOKORO_JWT_SECRET", SECRET);
    Ok(command)
}

/// The product on its embedded stores in this folder, which limits nobody, as its peers do.
pub(crate) fn kokoro(name: &str, data: &Path) -> anyhow::Result<Command> {
    let mut command = program(name)?;
    command.env("KOKORO_LISTEN", "127.0.0.1:0").env("KOKORO_DATA_DIR", data);
    command.env("RATE_LIMIT_PER_MINUTE", "0").env("KOKORO_BOOKINGS_PER_DOCTOR_MAX", "0");
    command.env("RUST_LOG", "warn");
    Ok(command)
}

impl Server {
    /// Starts it and waits for the line that says where it listens. What it complains of goes to a file in `logs`.
    pub(crate) fn start(command: &mut Command, logs: &Path, name: &str) -> anyhow::Result<Self> {
        fs::create_dir_all(logs)?;
        let log = logs.join(format!("{name}.log"));
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = command.spawn()?;
        let mut output = BufReader::new(child.stdout.take().context("no output")?);
        let mut first = String::new();
        output.read_line(&mut first)?;
        let Some(at) = first.find("http://") else {
            let status = child.wait()?;
            bail!("{name} did not start ({status}): {}", fs::read_to_string(log)?.trim());
        };
        Ok(Self { child, url: first[at..].trim().to_owned(), _output: output })
    }

    /// Seconds of CPU that it has used: `utime` and `stime` of proc(5), in hundredths.
    pub(crate) fn cpu_seconds(&self) -> io::Result<f64> {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        let fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        Ok(fields.skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok()).sum::<f64>() / 100.0)
    }

    /// Waits until it is at rest: a store goes on merging what it was given after the last answer.
    pub(crate) fn come_to_rest(&self) -> anyhow::Result<()> {
        let (asked, mut used) = (Instant::now(), self.cpu_seconds()?);
        while asked.elapsed() < REST_WITHIN {
            std::thread::sleep(REST);
            let before = std::mem::replace(&mut used, self.cpu_seconds()?);
            if used - before <= REST.as_secs_f64() / 100.0 {
                return Ok(());
            }
        }
        bail!("a program does not come to rest")
    }

    /// Asks it to stop, and waits until it has.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let status = self.end()?;
        ensure!(status, "a program did not stop well");
        Ok(())
    }

    fn end(&mut self) -> anyhow::Result<bool> {
        if let Some(status) = self.child.try_wait()? {
            return Ok(status.success());
        }
        let pid = i32::try_from(self.child.id())?;
        kill_process(Pid::from_raw(pid).context("no process")?, Signal::TERM)?;
        let asked = Instant::now();
        while asked.elapsed() < STOP_WITHIN {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status.success());
            }
            std::thread::sleep(LOOK_INTERVAL);
        }
        self.child.kill()?;
        Ok(false)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself; whoever wants to know asks it to stop.
        let _ = self.end();
        let _ = self.child.wait();
    }
}
