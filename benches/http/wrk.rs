//! Runs `wrk` with a script that makes every booking another one, and reads what it measured.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};

use crate::node::date_in;
use crate::support::token;
use crate::{Target, cpu_seconds};

/// Connections, each with one request in flight.
pub(crate) const CONNECTIONS: usize = 256;
/// wrk's threads.
const THREADS: usize = 2;
/// Patients.
const USERS: usize = 512;
/// Days on which is booked, from tomorrow on.
const DAYS: u64 = 14;
/// Bookings that a run may take from all that can be made: 1,000 doctors × 14 days × 48 slots × 5 seats.
const BOOKINGS_OF_A_RUN: usize = 800_000;

/// What is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Shape {
    /// A seat, of a handler that keeps none.
    Book,
    /// A seat that is stored before the answer: each is asked for once, and each answer's status is counted.
    DurableBook,
    /// What is free.
    Available,
}

/// The script, in its folder.
pub(crate) struct Script {
    file: PathBuf,
}

/// One run.
#[derive(Debug)]
pub(crate) struct Measured {
    requests: f64,
    seconds: f64,
    cpu_seconds: f64,
    pub(crate) successes: u64,
    pub(crate) p50_ms: f64,
    pub(crate) p99_ms: f64,
    failures: u64,
    statuses: String,
}

/// Says how to get `wrk` where it is missing.
pub(crate) fn look_for_it() -> anyhow::Result<()> {
    let found = Command::new("wrk").arg("--version").output();
    found.map(drop).context("this bench needs wrk: apt-get install -y wrk, or https://github.com/wg/wrk")
}

impl Script {
    /// Writes it, with tokens and dates.
    pub(crate) fn write(folder: &Path) -> anyhow::Result<Self> {
        let list = |members: Vec<String>| format!("{{\"{}\"}}", members.join("\",\""));
        let tokens = (0..USERS).map(|number| token(&format!("patient{number}@example.com"), "user"));
        let dates = (1..=DAYS).map(|days| date_in(days).to_string());
        let (tokens, dates) = (list(tokens.collect()), list(dates.collect()));
        let doctors = crate::DOCTORS;
        let head = format!("tokens, dates = {tokens}, {dates}\ndoctors, threads = {doctors}, {THREADS}\n");
        let file = folder.join("load.lua");
        fs::write(&file, head + include_str!("load.lua"))?;
        Ok(Self { file })
    }

    /// Loads a target. `round` chooses the part of all bookings that this run may make.
    pub(crate) fn run(&self, target: &Target<'_>, round: usize, seconds: u64) -> anyhow::Result<Measured> {
        let cpu_before = cpu_seconds(target.server);
        let mut command = Command::new("wrk");
        command.args(["--latency", "--timeout", "10s", "--threads", &THREADS.to_string()]);
        command.args(["--connections", &CONNECTIONS.to_string(), "--duration", &format!("{seconds}s")]);
        command.arg("--script").arg(&self.file).arg(&target.server.url).arg("--").arg(target.path);
        command.arg(match target.shape {
            Shape::Book => "book",
            Shape::DurableBook => "count",
            Shape::Available => "available",
        });
        let output = command.arg((round * BOOKINGS_OF_A_RUN).to_string()).output()?;
        let cpu_seconds = cpu_seconds(target.server) - cpu_before;
        let text = String::from_utf8_lossy(&output.stdout);
        ensure!(output.status.success(), "wrk failed: {text}{}", String::from_utf8_lossy(&output.stderr));
        let run = Measured::read(&text, cpu_seconds).with_context(|| format!("wrk says: {text}"))?;
        let all_but_few = run.successes as f64 >= 0.99 * run.requests && run.failures == 0;
        ensure!(all_but_few && run.requests > 0.0, "{}: too little succeeded: {run}", target.name);
        Ok(run)
    }
}

impl Measured {
    /// Reads the line that the script's `done` prints.
    fn read(text: &str, cpu_seconds: f64) -> Option<Self> {
        let line = text.lines().find_map(|line| line.strip_prefix("measured "))?;
        let (numbers, statuses) = line.split_once(" statuses")?;
        let numbers: Option<Vec<f64>> = numbers.split(' ').map(|number| number.parse().ok()).collect();
        let [requests, microseconds, refusals, failures, p50, p99] = numbers?.try_into().ok()?;
        Some(Self {
            requests,
            seconds: microseconds / 1e6,
            cpu_seconds,
            successes: (requests - refusals) as u64,
            p50_ms: p50 / 1e3,
            p99_ms: p99 / 1e3,
            failures: failures as u64,
            statuses: statuses.to_owned(),
        })
    }

    /// Requests answered in a second.
    pub(crate) fn rate(&self) -> f64 {
        self.requests / self.seconds
    }

    /// What the server's process computed for one, in microseconds.
    pub(crate) fn cpu_of_a_request(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.requests
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6.0}/s, {} of {} succeeded", self.rate(), self.successes, self.requests)?;
        write!(f, ", p50 {:.1} ms, p99 {:.1} ms", self.p50_ms, self.p99_ms)?;
        write!(f, ", server on {:.2} cores", self.cpu_seconds / self.seconds)?;
        if self.failures > 0 {
            write!(f, ", {} without an answer", self.failures)?;
        }
        if self.statuses.is_empty() { Ok(()) } else { write!(f, ", by status:{}", self.statuses) }
    }
}
