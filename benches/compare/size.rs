//! What many doctors and many bookings cost: memory, throughput, starting.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, ensure};
use load::{Call, Mix, Run};
use tokio::time::{Instant, sleep};

use crate::bench::Bench;
use crate::result::{Figure, Goal, Part};
use crate::rounds::{Target, bookings, site, take_turns};
use crate::rules::Asked;
use crate::store::{Hours, add_bookings, add_doctors, dates, doctor, in_folder};

/// Doctors in memory.
const FEW: usize = 100;
const MANY: usize = 10_000;
/// Dates that are booked where there are many doctors.
const DATES: u64 = 2;

/// What is stored where starting is measured: 300,000 bookings.
const STORED_DOCTORS: usize = 500;
const STORED_DAYS: u64 = 15;
const STORED_SLOTS: usize = 8;
const STORED_SEATS: usize = 5;
/// Half hours that those doctors offer a day.
const OFFERED: usize = 16;
/// Doctors who are asked for after a start.
const ASKED: usize = 20;
const READY_WITHIN: Duration = Duration::from_secs(60);
const LOOK_INTERVAL: Duration = Duration::from_millis(2);

const MIB_MAX: f64 = 300.0;

/// What `cargo bench --profile dist --bench memory` says: bytes in one process, and the engine's throughput without HTTP and store.
pub(crate) fn memory(_: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("memory");
    let output = Command::new("cargo")
        .args(["bench", "--profile", "dist", "--quiet", "--bench", "memory"])
        .output()?;
    let text = String::from_utf8(output.stdout)?;
    ensure!(
        output.status.success(),
        "the memory bench has failed: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    let line = |begin: String| {
        let line = text.lines().find(|line| line.starts_with(&begin));
        line.with_context(|| format!("the memory bench says nothing of {begin:?}: {text}"))
    };
    let mib = number_before(line(format!("loaded: {MANY} doctors"))?, "MiB")?;
    let name = "memory of 10,000 active doctors of 100,000, 6 million bookings, beyond idle (MiB)";
    part.row(Figure::new(name, "MiB", vec![mib]), Goal::AtMost(MIB_MAX));
    let times = number_before(line(format!("{MANY} beside {FEW}"))?, "by the clock")?;
    let name = "throughput at 10,000 active doctors, of that at 100: the engine alone";
    part.row(Figure::new(name, "times", vec![times]), Goal::AtLeast(0.9));
    text.lines().for_each(|line| part.note(line));
    Ok(part)
}

/// Durable bookings and cancellations over many active doctors beside those over few, in two processes.
pub(crate) fn growth(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("growth");
    let many = MANY / bench.effort.smaller;
    let (of_few, of_many) = (bench.durable("few", many)?, bench.durable("many", many)?);
    let dates = dates(Bench::today(), DATES);
    bench.bring_into_memory(&of_few, FEW, &dates)?;
    bench.bring_into_memory(&of_many, many, &dates)?;
    let target = |name: String, server, doctors| {
        let site = load::Site { dates: dates.clone(), ..site("", doctors) };
        Target::at(name, server, site)
    };
    let mut targets = [
        target(format!("{FEW} doctors active of {many}"), &of_few, FEW)?,
        target(format!("{many} doctors active"), &of_many, many)?,
    ];
    let run = Run { mix: Mix { book: 1, cancel: 1, ..Mix::NONE }, ..bookings(bench.effort) };
    take_turns(&mut targets, bench.effort, &run)?;
    let of = [Call::Book, Call::Cancel];
    let [few_rates, many_rates] = targets.each_ref().map(|target| target.rates(&of));
    let name = format!("durable throughput at {many} active doctors, of that at {FEW}");
    part.row(Figure::times(name, &many_rates, &few_rates), Goal::AtLeast(0.9));
    targets.iter().for_each(|target| target.report(&of, &mut part));
    Ok(part)
}

/// How soon it is ready on a store with bookings, and how soon it answers for a doctor who is not in memory.
pub(crate) fn start(bench: &Bench) -> anyhow::Result<Part> {
    let mut part = Part::new("start");
    let dates = dates(Bench::today(), STORED_DAYS);
    let doctors = STORED_DOCTORS / bench.effort.smaller;
    let begun = Instant::now();
    let mut stored = 0;
    bench.block_on(in_folder(&bench.store("start"), async |dynamo| {
        add_doctors(&dynamo, doctors, Hours::Rows(OFFERED)).await?;
        stored = add_bookings(&dynamo, doctors, &dates, STORED_SLOTS, STORED_SEATS).await?;
        Ok(())
    }))?;
    part.note(format!("{stored} bookings were stored in {:.0} s.", begun.elapsed().as_secs_f64()));
    let (mut ready, mut first, mut longest, mut all) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for round in 0..bench.effort.rounds.max(3) {
        let begun = Instant::now();
        let kokoro = bench.on_store("start")?;
        let asked = Asked::new(&kokoro.url);
        bench.block_on(async {
            while !asked.is_ready().await {
                ensure!(begun.elapsed() < READY_WITHIN, "it does not become ready");
                sleep(LOOK_INTERVAL).await;
            }
            Ok(())
        })?;
        ready.push(begun.elapsed().as_secs_f64());
        let mut answers = Vec::new();
        for number in 0..ASKED.min(doctors) {
            let doctor = doctor((number * 23 + round * 7) % doctors);
            let date = dates[number % dates.len()];
            let begun = Instant::now();
            let shown = bench.block_on(asked.available(&doctor, date))?;
            answers.push(begun.elapsed().as_secs_f64() * 1e3);
            let slots = shown["slots"].as_array().map_or(0, Vec::len);
            ensure!(slots == OFFERED, "{slots} slots are shown");
        }
        first.extend(answers.first());
        longest.push(answers.iter().copied().fold(0.0, f64::max));
        all.extend(answers);
        kokoro.stop()?;
    }
    part.row(Figure::new(format!("start to ready on {stored} bookings (s)"), "s", ready), Goal::AtMost(1.0));
    let name = format!("first answer of a doctor not in memory, the longest of {ASKED} (ms)");
    part.row(Figure::new(name, "ms", longest), Goal::AtMost(20.0));
    part.figures.push(Figure::new("the first answer of all after a start", "ms", first));
    part.figures.push(Figure::new("first answers of doctors not in memory", "ms", all));
    Ok(part)
}

/// `2.5` of `1, 2.5 MiB`.
fn number_before(line: &str, unit: &str) -> anyhow::Result<f64> {
    let before = line.split(unit).next().and_then(|before| before.split_whitespace().last());
    let number = before.filter(|_| line.contains(unit)).and_then(|text| text.parse().ok());
    number.with_context(|| format!("no number of {unit} in {line:?}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_is_found_by_its_unit() {
        let line = "loaded: 10000 doctors, 6000000 bookings: 290.4 MiB beyond idle, 50 bytes a booking";
        assert!((number_before(line, "MiB").unwrap() - 290.4).abs() < 1e-9);
        assert!(number_before(line, "KiB").is_err());
    }
}
