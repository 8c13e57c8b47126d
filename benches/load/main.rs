//! `load`: puts a server on this machine under load, says how it fared, and checks that what it acknowledged is there.
//!
//! ```text
//! KOKORO_JWT_SECRET=... load --url http://127.0.0.1:8080 --set-up --mix available=8,book=1,cancel=1 --rate 1000,2000,4000
//! ```

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use clap::{Parser, ValueEnum};
use engine::Clinic;
use load::{Check, Draw, Mix, Pace, Patients, Run, Site};

/// What tokens are signed with. Never an option: the command line is for all to see.
const SECRET: &str = "KOKORO_JWT_SECRET";

/// Puts a server on this machine under load, and checks that what it acknowledged is there. The secret of its tokens is
/// taken from the variable `KOKORO_JWT_SECRET`.
#[derive(Parser)]
struct Options {
    /// Where it listens: a loopback address.
    #[arg(long, default_value = "http://127.0.0.1:8080")]
    url: String,
    /// Doctors: doctor0@clinic.example and so on.
    #[arg(long, default_value_t = 100)]
    doctors: usize,
    /// Sign the doctors up first, and let them offer every half hour; the server's RATE_LIMIT_PER_MINUTE must be 0.
    #[arg(long)]
    set_up: bool,
    /// Patients, of a token each. They book many seats each: the server's KOKORO_BOOKINGS_PER_DOCTOR_MAX must be 0.
    #[arg(long, default_value_t = 500)]
    users: usize,
    /// The clinic's time zone.
    #[arg(long, env = "CLINIC_TIME_ZONE", default_value = "Asia/Kolkata", value_parser = clinic)]
    zone: Clinic,
    /// How often each call is made, relative to the others: available, book, cancel, user.
    #[arg(long, default_value = "available=8,book=1,cancel=1", value_parser = mix)]
    mix: Mix,
    /// Which doctor: uniform, zipf, zipf=1.2, hot (always the first), hot=0.5 (the first in half of the calls).
    #[arg(long, default_value = "uniform", value_parser = draw)]
    draw: Draw,
    /// Calls a second (open loop), one run for each of several; none: as many as get answered (closed loop).
    #[arg(long, value_delimiter = ',')]
    rate: Vec<f64>,
    /// Connections, each with one call in flight: the clients of a closed loop.
    #[arg(long, default_value_t = 64)]
    connections: usize,
    /// Threads that make the calls.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Seconds that are not measured.
    #[arg(long, default_value_t = 2.0)]
    warm_up: f64,
    /// Seconds that are.
    #[arg(long, default_value_t = 10.0)]
    seconds: f64,
    /// Where chance starts from.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// What is asked in the end, to find what was acknowledged.
    #[arg(long, value_enum, default_value_t = Asked::Users)]
    check: Asked,
    /// The folder of report.html and report.json.
    #[arg(long, default_value = "target/load")]
    output: PathBuf,
}

#[derive(Clone, Copy, ValueEnum)]
enum Asked {
    /// Every patient for its bookings.
    Users,
    /// Every slot for how many it has.
    Slots,
    /// Nothing: the server keeps none.
    None,
}

fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let secret = std::env::var(SECRET).with_context(|| format!("{SECRET} is not set"))?;
    let site = Site {
        url: options.url.clone(),
        secret: secret.into_bytes(),
        doctors: (0..options.doctors).map(|number| format!("doctor{number}@clinic.example")).collect(),
        dates: load::dates_from_tomorrow(&options.zone),
        starts: load::every_half_hour(),
        users: options.users,
        threads: options.threads,
    };
    if options.set_up {
        load::set_up(&site)?;
    }
    let mut patients = Patients::new(site)?;
    let mut runs = Vec::new();
    for run in options.runs()? {
        runs.push(patients.drive(&run)?.summary());
    }
    print!("{}", load::table(&runs));
    let page = load::report::write(&options.output, "Load", &runs)?;
    println!("curves: {}", page.display());
    let check = match options.check {
        Asked::Users => Check::Users,
        Asked::Slots => Check::Slots,
        Asked::None => return Ok(()),
    };
    println!("{}", patients.check(check)?);
    Ok(())
}

impl Options {
    fn runs(&self) -> anyhow::Result<Vec<Run>> {
        let run = Run {
            name: format!("{} clients", self.connections),
            mix: self.mix,
            pace: Pace::Closed { clients: self.connections },
            draw: self.draw,
            warm_up: Duration::try_from_secs_f64(self.warm_up)?,
            duration: Duration::try_from_secs_f64(self.seconds)?,
            seed: self.seed,
        };
        if self.rate.is_empty() {
            return Ok(vec![run]);
        }
        let open = |rate: &f64| Run {
            name: format!("{rate} a second"),
            pace: Pace::Open { rate: *rate, connections: self.connections },
            ..run.clone()
        };
        Ok(self.rate.iter().map(open).collect())
    }
}

fn clinic(zone: &str) -> anyhow::Result<Clinic> {
    Clinic::compiled_in(zone).context("an IANA time zone such as Asia/Kolkata is needed")
}

fn mix(text: &str) -> anyhow::Result<Mix> {
    let mut mix = Mix::NONE;
    for part in text.split(',') {
        let (call, weight) = part.split_once('=').unwrap_or((part, "1"));
        let weight = weight.parse()?;
        match call {
            "available" => mix.available = weight,
            "book" => mix.book = weight,
            "cancel" => mix.cancel = weight,
            "user" => mix.user = weight,
            _ => bail!("there is no call {call}"),
        }
    }
    ensure!(mix != Mix::NONE, "the mix has no call");
    Ok(mix)
}

fn draw(text: &str) -> anyhow::Result<Draw> {
    let (kind, number) = text.split_once('=').unwrap_or((text, "1"));
    match kind {
        "uniform" => Ok(Draw::Uniform),
        "zipf" => Ok(Draw::Zipf(number.parse()?)),
        "hot" => Ok(Draw::Hot(number.parse()?)),
        _ => bail!("there is no draw {kind}"),
    }
}
