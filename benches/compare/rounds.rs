//! Targets that take turns, round by round, so that a machine that gets slower does so for all.

use std::time::Duration;

use anyhow::Context;
use load::{Call, Check, Draw, Measured, Mix, Pace, Patients, Run, Site};

use crate::bench::clinic;
use crate::result::{Figure, Part};
use crate::server::{SECRET, Server};
use crate::store::doctor;

/// Clients of a closed loop, of a connection each.
pub(crate) const CLIENTS: usize = 256;
/// Patients.
const USERS: usize = 512;
/// Threads that make the calls.
const LOAD_THREADS: usize = 2;

/// How thoroughly it is measured.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Effort {
    /// Measurements of each target, of which the median counts.
    pub(crate) rounds: usize,
    /// How long one takes.
    pub(crate) duration: Duration,
    /// How long it runs before that.
    pub(crate) warm_up: Duration,
    /// Sizes of stores are divided by this.
    pub(crate) smaller: usize,
}

/// A program under load, and who makes it.
pub(crate) struct Target<'a> {
    pub(crate) name: String,
    server: &'a Server,
    patients: Patients,
    keeps_seats: bool,
    runs: Vec<Ran>,
}

/// One run of one target.
struct Ran {
    measured: Measured,
    /// What the program used meanwhile, its warm-up included, in microseconds for each call that was done.
    cpu: f64,
}

/// A site at a path on some server, with so many doctors, all of whom offer every half hour.
pub(crate) fn site(prefix: &str, doctors: usize) -> Site {
    Site {
        url: prefix.to_owned(),
        secret: SECRET.as_bytes().to_vec(),
        doctors: (0..doctors).map(doctor).collect(),
        dates: load::dates_from_tomorrow(&clinic()),
        starts: load::every_half_hour(),
        users: USERS,
        threads: LOAD_THREADS,
    }
}

/// As many bookings as get answered.
pub(crate) fn bookings(effort: Effort) -> Run {
    Run {
        mix: Mix { book: 1, ..Mix::NONE },
        pace: Pace::Closed { clients: CLIENTS },
        draw: Draw::Uniform,
        warm_up: effort.warm_up,
        duration: effort.duration,
        ..Run::default()
    }
}

impl<'a> Target<'a> {
    /// A target at `prefix` of a server.
    pub(crate) fn new(
        name: impl Into<String>,
        server: &'a Server,
        prefix: &str,
        doctors: usize,
    ) -> anyhow::Result<Self> {
        Self::at(name, server, site(prefix, doctors))
    }

    /// A target at a site, whose address is a path on the server.
    pub(crate) fn at(name: impl Into<String>, server: &'a Server, site: Site) -> anyhow::Result<Self> {
        let url = format!("{}{}", server.url, site.url);
        let patients = Patients::new(Site { url, ..site })?;
        Ok(Self { name: name.into(), server, patients, keeps_seats: true, runs: Vec::new() })
    }

    /// The same of a server that keeps no seat, so that each run has all of them: there are too few for several runs of one
    /// that is so fast.
    pub(crate) const fn keeping_none(mut self) -> Self {
        self.keeps_seats = false;
        self
    }

    /// Runs once.
    pub(crate) fn drive(&mut self, run: &Run) -> anyhow::Result<()> {
        let ran = self.ran(run)?;
        self.runs.push(ran);
        Ok(())
    }

    /// Runs once, and does not count it as one of its runs.
    pub(crate) fn drive_aside(&mut self, run: &Run) -> anyhow::Result<Measured> {
        Ok(self.ran(run)?.measured)
    }

    /// Runs for a short while, which does not count.
    pub(crate) fn warm_up(&mut self, effort: Effort, run: &Run) -> anyhow::Result<()> {
        let duration = effort.warm_up.max(Duration::from_secs(1));
        self.drive_aside(&Run { duration, ..run.clone() }).map(drop)
    }

    /// Runs, and waits until the program is at rest: what it has still to do must not be the next one's loss.
    fn ran(&mut self, run: &Run) -> anyhow::Result<Ran> {
        if !self.keeps_seats {
            self.patients.forget_seats()?;
        }
        let before = self.server.cpu_seconds()?;
        let run = Run { name: self.name.clone(), ..run.clone() };
        let measured = self.patients.drive(&run)?;
        let used = self.server.cpu_seconds()? - before;
        self.server.come_to_rest()?;
        let share = run.duration.as_secs_f64() / (run.duration + run.warm_up).as_secs_f64();
        let done = measured.done.values().sum::<u64>();
        println!("    {:<34} {:>9.0} a second", self.name, done as f64 / run.duration.as_secs_f64());
        Ok(Ran { measured, cpu: used * share * 1e6 / done as f64 })
    }

    /// Whether all that was acknowledged is there.
    pub(crate) fn check(&self, check: Check, part: &mut Part) -> anyhow::Result<()> {
        let checked = self.patients.check(check).with_context(|| self.name.clone())?;
        part.note(format!("{}: {checked}.", self.name));
        Ok(())
    }

    /// Successful calls of these kinds in a second, run by run.
    pub(crate) fn rates(&self, calls: &[Call]) -> Vec<f64> {
        let rate = |ran: &Ran| calls.iter().map(|call| ran.measured.rate(*call)).sum();
        self.runs.iter().map(rate).collect()
    }

    /// Milliseconds within which this share of these calls was answered, run by run.
    pub(crate) fn latencies(&self, call: Call, share: f64) -> Vec<f64> {
        self.runs.iter().map(|ran| ran.measured.latency_ms(call, share).unwrap_or(f64::NAN)).collect()
    }

    /// Adds what is known of it to a part: rates, processor time, and the run in the middle.
    pub(crate) fn report(&self, calls: &[Call], part: &mut Part) {
        let rates = self.rates(calls);
        let figure = Figure::new(format!("{}: done", self.name), "a second", rates.clone());
        let middle = figure.median();
        part.figures.push(figure);
        let cpu = self.runs.iter().map(|ran| ran.cpu).collect();
        part.figures.push(Figure::new(format!("{}: processor", self.name), "µs a call", cpu));
        for call in calls {
            let p99 = self.latencies(*call, 0.99);
            part.figures.push(Figure::new(format!("{}: p99 of {}", self.name, call.name()), "ms", p99));
        }
        let run = self.runs.iter().zip(&rates).find(|(_, rate)| rate.total_cmp(&middle).is_eq());
        part.runs.extend(run.map(|(ran, _)| ran.measured.summary()));
        let short = self.runs.iter().filter(|ran| ran.measured.ran_out.is_some()).count();
        if short > 0 {
            let all = self.runs.len();
            part.note(format!("{}: seats ran out in {short} of {all} runs, and were given back.", self.name));
        }
        let failed: u64 =
            self.runs.iter().flat_map(|ran| Call::ALL.map(|call| ran.measured.failed(call))).sum();
        if failed > 0 {
            part.note(format!("{}: {failed} calls were not answered with success.", self.name));
        }
    }
}

/// Lets all targets run in turn, round by round, after one round that is not counted.
pub(crate) fn take_turns(targets: &mut [Target<'_>], effort: Effort, run: &Run) -> anyhow::Result<()> {
    for target in targets.iter_mut() {
        target.warm_up(effort, run)?;
    }
    for round in 1..=effort.rounds {
        println!("  round {round} of {}", effort.rounds);
        for target in targets.iter_mut() {
            target.drive(&Run { seed: round as u64, ..run.clone() })?;
        }
    }
    Ok(())
}
