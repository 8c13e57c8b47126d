//! Prints how far each zone's wall clock is from UTC, as the product's settings and `Clinic` see it: `.ci/zones` compares
//! that with Python's. Not a test by itself, since the other implementation has to be installed first.
//!
//! `zones <folder> <first date> <days>` reads names of zones from standard input and their files from the folder; with
//! `compiled-in` as the folder, it takes the compiled-in data. For each zone it prints the offset in seconds of the first
//! half-hour slot, and of each slot whose offset is not that of the slot before:
//!
//! ```text
//! Europe/Berlin 2027-03-27 00:00 3600
//! Europe/Berlin 2027-03-28 02:00 skipped
//! Europe/Berlin 2027-03-28 03:00 7200
//! ```

#![expect(clippy::print_stdout, reason = "its output is what it is for")]

use std::io::BufRead;

use anyhow::{Context, ensure};
use chrono::{NaiveDate, NaiveTime, TimeDelta};
use engine::{Clinic, SlotStart};
use web::config::{ClinicConfig, Config, Environment, ZoneSource};

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, first, days] = &arguments[..] else {
        anyhow::bail!("a folder, a date and a number of days")
    };
    let (first, days) = (first.parse()?, days.parse()?);
    println!("# compiled in {}", Clinic::compiled_in_version());
    for zone in std::io::stdin().lock().lines() {
        let zone = zone?;
        let clinic = if folder == "compiled-in" { Clinic::compiled_in(&zone) } else { read(&zone, folder)? };
        match clinic {
            Some(clinic) => print_offsets(&zone, &clinic, first, days).context(zone)?,
            None => println!("{zone} is no zone"),
        }
    }
    Ok(())
}

/// The zone as the product reads it. `None` if the product refuses its name.
fn read(zone: &str, folder: &str) -> anyhow::Result<Option<Clinic>> {
    let env = Environment::of(&[("CLINIC_TIME_ZONE", zone), ("TZDIR", folder)]);
    let Ok(config) = Config::from_env(&env) else { return Ok(None) };
    let ClinicConfig { wall_clock, source } = config.clinic;
    ensure!(matches!(source, ZoneSource::Folder { .. }), "{zone} comes from {source}");
    Ok(Some(wall_clock))
}

fn print_offsets(zone: &str, clinic: &Clinic, first: NaiveDate, days: usize) -> anyhow::Result<()> {
    let mut before = None;
    for date in first.iter_days().take(days) {
        for slot in SlotStart::all() {
            let offset = offset(clinic, date, slot)?;
            if before != Some(offset) {
                let offset = offset.map_or("skipped".to_owned(), |offset| offset.num_seconds().to_string());
                println!("{zone} {date} {slot} {offset}");
            }
            before = Some(offset);
        }
    }
    Ok(())
}

/// How far the wall clock is ahead of UTC when the slot begins; `None` for a slot that it skips.
fn offset(clinic: &Clinic, date: NaiveDate, slot: SlotStart) -> anyhow::Result<Option<TimeDelta>> {
    let Some(start) = clinic.starts_at(date, slot) else { return Ok(None) };
    ensure!(clinic.today(start) == date, "{date} {slot} begins on {}", clinic.today(start));
    let time = NaiveTime::from_num_seconds_from_midnight_opt(slot.minutes() * 60, 0).context("a time")?;
    Ok(Some(date.and_time(time) - start.naive_utc()))
}
