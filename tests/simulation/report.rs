//! What many runs came to.

use std::collections::BTreeMap;
use std::fmt;

use engine::Rejection;
use engine::calendar::Fact;

use crate::auditor::Violation;
use crate::faults::Fault;
use crate::history::Told;
use crate::session::Outcome;
use crate::store::Accepted;

#[derive(Default)]
pub struct Report {
    seeds: u64,
    calls: u64,
    told: BTreeMap<&'static str, u64>,
    events: BTreeMap<&'static str, u64>,
    faults: BTreeMap<Fault, u64>,
    pub bad: BTreeMap<u64, Vec<Violation>>,
}

impl Report {
    pub fn add(&mut self, seed: u64, outcome: &Outcome, violations: Vec<Violation>) {
        self.seeds += 1;
        self.calls += outcome.calls.len() as u64;
        for call in &outcome.calls {
            let name = match &call.told {
                Told::Done => "done",
                Told::Rejected(Rejection::TooManyBookings { .. }) => "refused for the limit",
                Told::Rejected(_) => "refused by the rules",
                Told::NotDone => "not done",
                Told::Unknown => "unknown",
                Told::Seen(_) => "seen",
            };
            *self.told.entry(name).or_default() += 1;
        }
        for accepted in &outcome.accepted {
            let name = match accepted {
                Accepted::Event { event, .. } => match event.event.fact {
                    Fact::Booked(_) => "bookings",
                    Fact::Cancelled(_) => "cancellations",
                    Fact::HoursSet => "schedules",
                },
                Accepted::Claimed { .. } => "claims of ranges",
            };
            *self.events.entry(name).or_default() += 1;
        }
        for (fault, count) in &outcome.counts {
            *self.faults.entry(*fault).or_default() += count;
        }
        if !violations.is_empty() {
            self.bad.insert(seed, violations);
        }
    }

    pub fn with(mut self, other: Self) -> Self {
        self.seeds += other.seeds;
        self.calls += other.calls;
        other.told.into_iter().for_each(|(name, count)| *self.told.entry(name).or_default() += count);
        other.events.into_iter().for_each(|(name, count)| *self.events.entry(name).or_default() += count);
        other.faults.into_iter().for_each(|(fault, count)| *self.faults.entry(fault).or_default() += count);
        self.bad.extend(other.bad);
        self
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let faults: u64 = self.faults.values().sum();
        writeln!(
            f,
            "{} seeds, {} calls, {faults} faults, {} violations",
            self.seeds,
            self.calls,
            self.bad.len()
        )?;
        writeln!(f, "answers: {:?}", self.told)?;
        writeln!(f, "accepted by the store: {:?}", self.events)?;
        write!(f, "faults: {:?}", self.faults)
    }
}
