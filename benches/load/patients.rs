//! All patients of one server: who they are, what they hold there, and the load that they make.

use std::io;
use std::sync::atomic::Ordering;
use std::sync::{Barrier, OnceLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, anyhow};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::{Builder, Runtime};

use crate::client::Loopback;
use crate::measured::Measured;
use crate::record::Record;
use crate::requests::Requests;
use crate::run::{Pace, Run};
use crate::seats::{Seats, Share};
use crate::site::Site;
use crate::worker::{Progress, Together, work};

/// How often the progress line is drawn.
const PROGRESS_EVERY: Duration = Duration::from_millis(100);

/// The patients of a server. They remember over all runs which seats they hold there.
pub struct Patients {
    pub(crate) site: Site,
    pub(crate) wire: Loopback,
    pub(crate) requests: Requests,
    /// One for each thread.
    pub(crate) seats: Vec<Seats>,
}

impl Patients {
    /// Patients who hold nothing yet, with their tokens.
    pub fn new(site: Site) -> anyhow::Result<Self> {
        site.validate()?;
        let (address, _) = site.address()?;
        let requests = Requests::new(&site)?;
        let seats = seats(&site, &requests)?;
        Ok(Self { wire: Loopback(address), seats, requests, site })
    }

    /// Has them hold nothing again: the server has kept no seat.
    pub fn forget_seats(&mut self) -> anyhow::Result<()> {
        self.seats = seats(&self.site, &self.requests)?;
        Ok(())
    }

    /// Makes the calls of a run, with a progress line where somebody may see it.
    pub fn drive(&mut self, run: &Run) -> anyhow::Result<Measured> {
        let threads = self.seats.len();
        run.validate(threads)?;
        let together = Together {
            run,
            requests: &self.requests,
            doctors: u32::try_from(self.site.doctors.len())?,
            users: u32::try_from(self.site.users)?,
            threads,
            ready: Barrier::new(threads),
            begin: OnceLock::new(),
            progress: Progress::default(),
        };
        let runtimes: Vec<Runtime> = (0..threads).map(|_| runtime()).collect::<io::Result<_>>()?;
        let records = thread::scope(|scope| {
            let (together, wire) = (&together, &self.wire);
            let work = |((nth, seats), runtime): (_, Runtime)| {
                scope.spawn(move || {
                    share_the_processors(run.pace);
                    runtime.block_on(work(together, nth, seats, wire))
                })
            };
            let threads: Vec<_> = self.seats.iter_mut().enumerate().zip(runtimes).map(work).collect();
            show(run, &together.progress, || threads.iter().all(|thread| thread.is_finished()))?;
            let join = |thread: thread::ScopedJoinHandle<'_, _>| {
                thread.join().map_err(|_| anyhow!("a thread has died"))?
            };
            threads.into_iter().map(join).collect::<anyhow::Result<Vec<Record>>>()
        })?;
        let mut records = records.into_iter();
        let mut all = records.next().context("no thread ran")?;
        records.try_for_each(|record| all.add(&record))?;
        Ok(all.into_measured(run))
    }
}

/// All seats of a site, shared out among its threads.
fn seats(site: &Site, requests: &Requests) -> anyhow::Result<Vec<Seats>> {
    let (slots, users) = (u32::try_from(requests.slots())?, u32::try_from(site.users)?);
    let of = u32::try_from(site.threads)?;
    Ok((0..of).map(|nth| Seats::new(Share { nth, of }, site.doctors.len(), slots, users)).collect())
}

/// What one thread runs on.
pub(crate) fn runtime() -> io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// Keeps clients, who in truth have machines of their own, from pushing the server aside in the middle of its work for each
/// answer: a server whose answers take longer would pay that more often. Calls that are due at a time are made then.
fn share_the_processors(pace: Pace) {
    match pace {
        Pace::Closed { .. } => web::scheduler::take_turns(),
        Pace::Open { .. } => {}
    }
}

/// Draws the progress line until the run is over. Where the standard error is no terminal, nothing is drawn.
fn show(run: &Run, progress: &Progress, over: impl Fn() -> bool) -> anyhow::Result<()> {
    let time = run.warm_up + run.duration;
    let bar = ProgressBar::new(u64::try_from(time.as_millis())?);
    bar.set_style(ProgressStyle::with_template("{prefix} [{bar:30}] {elapsed}/{msg}")?);
    bar.set_prefix(run.name.clone());
    let (mut before, every) = (0, PROGRESS_EVERY.as_secs_f64());
    while !over() {
        thread::sleep(PROGRESS_EVERY);
        let (done, failed) = (progress.done.load(Ordering::Relaxed), progress.failed.load(Ordering::Relaxed));
        let rate = (done - before) as f64 / every;
        before = done;
        bar.set_position(u64::try_from(bar.elapsed().as_millis())?);
        bar.set_message(format!("{} s, {rate:.0} a second, {failed} failed", time.as_secs()));
    }
    bar.finish_and_clear();
    Ok(())
}

#[cfg(test)]
#[cfg(target_os = "linux")]
mod tests {
    use std::fs;

    use super::*;

    /// `SCHED_BATCH`, as proc(5) shows a policy.
    const BATCH: &str = "3";

    /// How the system schedules the calling thread: the 41st field of `stat`, whose second, in parentheses, may hold anything.
    fn policy() -> String {
        let stat = fs::read_to_string("/proc/thread-self/stat").unwrap();
        let (_, fields) = stat.rsplit_once(')').unwrap();
        fields.split_whitespace().nth(41 - 3).unwrap().to_owned()
    }

    fn policy_at(pace: Pace) -> String {
        let client = move || {
            share_the_processors(pace);
            policy()
        };
        thread::spawn(client).join().unwrap()
    }

    #[test]
    fn clients_of_a_closed_loop_wait_for_their_turn_and_those_of_an_open_one_are_as_they_were() {
        assert_eq!(policy_at(Pace::Closed { clients: 1 }), BATCH);
        assert_eq!(policy_at(Pace::Open { rate: 1.0, connections: 1 }), policy());
    }
}
