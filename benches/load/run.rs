//! What is asked, how often and of whom, within bounds that no setting can leave.

use std::time::Duration;

use anyhow::ensure;
use serde::{Deserialize, Serialize};

/// How long a run may take, its warm-up included.
pub(crate) const TIME_MAX: Duration = Duration::from_secs(600);
/// How many calls a run may make.
pub(crate) const CALLS_MAX: u64 = 50_000_000;
/// How many connections a run may hold.
pub(crate) const CONNECTIONS_MAX: usize = 4_096;
/// How many calls a second may be asked for.
pub(crate) const RATE_MAX: f64 = 500_000.0;

/// A call of the REST contract.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Call {
    /// What a doctor offers on a date, asked without a token.
    Available,
    /// Take a seat.
    Book,
    /// Give back a seat that was taken, the oldest of that doctor first.
    Cancel,
    /// The bookings of a user.
    User,
}

/// One stretch of load.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// What tables and curves call it.
    pub name: String,
    /// What is asked.
    pub mix: Mix,
    /// How often.
    pub pace: Pace,
    /// Of which doctor.
    pub draw: Draw,
    /// How long it runs before it is measured.
    pub warm_up: Duration,
    /// How long it is measured.
    pub duration: Duration,
    /// Where chance starts from: the same seed draws the same calls.
    pub seed: u64,
}

/// How often each call is made, relative to the others.
///
/// A `book` at a doctor who has no seat left becomes a `cancel` there, a `cancel` where nothing is held a `book`, so no
/// mix comes to an end. [`Measured::ran_out`](crate::Measured::ran_out) says when that began.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mix {
    /// See [`Call::Available`].
    pub available: u32,
    /// See [`Call::Book`].
    pub book: u32,
    /// See [`Call::Cancel`].
    pub cancel: u32,
    /// See [`Call::User`].
    pub user: u32,
}

/// When the next call is made.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// At times fixed in advance, so many calls a second on average, as independent clients come (Poisson). At most
    /// `connections` are in flight; who is due when all are taken waits, and that counts.
    Open {
        /// Calls a second.
        rate: f64,
        /// Connections.
        connections: usize,
    },
    /// When the last one is answered, by each of so many clients.
    Closed {
        /// Clients, of one connection each.
        clients: usize,
    },
}

/// Which doctor a call is about.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Draw {
    /// Any, equally often.
    Uniform,
    /// The n-th as often as n to the power of minus this (1.0 is the classic).
    Zipf(f64),
    /// The first in this share of calls (1.0: always), else any.
    Hot(f64),
}

impl Call {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Available, Self::Book, Self::Cancel, Self::User];

    /// The last part of its path.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Available => "available",
            Self::Book => "book",
            Self::Cancel => "cancel",
            Self::User => "user",
        }
    }
}

impl Mix {
    /// No call at all, to name the others beside.
    pub const NONE: Self = Self { available: 0, book: 0, cancel: 0, user: 0 };

    /// The weight of a call.
    pub const fn weight(self, call: Call) -> u32 {
        match call {
            Call::Available => self.available,
            Call::Book => self.book,
            Call::Cancel => self.cancel,
            Call::User => self.user,
        }
    }
}

impl Pace {
    pub(crate) const fn connections(self) -> usize {
        match self {
            Self::Open { connections, .. } => connections,
            Self::Closed { clients } => clients,
        }
    }
}

impl Default for Run {
    /// Bookings by 64 clients for ten seconds, after two that are not measured.
    fn default() -> Self {
        Self {
            name: "book".to_owned(),
            mix: Mix { book: 1, ..Mix::NONE },
            pace: Pace::Closed { clients: 64 },
            draw: Draw::Uniform,
            warm_up: Duration::from_secs(2),
            duration: Duration::from_secs(10),
            seed: 1,
        }
    }
}

impl Run {
    /// Fails unless it makes sense and keeps the bounds of this file.
    pub(crate) fn validate(&self, threads: usize) -> anyhow::Result<()> {
        let time = self.warm_up + self.duration;
        ensure!(self.duration > Duration::ZERO, "a run that takes no time measures nothing");
        ensure!(time <= TIME_MAX, "a run may take {} s", TIME_MAX.as_secs());
        let weights = Call::ALL.map(|call| u64::from(self.mix.weight(call)));
        ensure!(weights.iter().sum::<u64>() > 0, "the mix has no call");
        let connections = self.pace.connections();
        ensure!(connections <= CONNECTIONS_MAX, "a run may hold {CONNECTIONS_MAX} connections");
        ensure!(connections >= threads, "each of the {threads} threads needs a connection");
        if let Pace::Open { rate, .. } = self.pace {
            ensure!(rate > 0.0 && rate <= RATE_MAX, "a rate is above 0 and at most {RATE_MAX}");
            ensure!(rate * time.as_secs_f64() <= CALLS_MAX as f64, "a run may make {CALLS_MAX} calls");
        }
        match self.draw {
            Draw::Uniform => {}
            Draw::Zipf(exponent) => ensure!((0.0..=10.0).contains(&exponent), "Zipf's exponent is 0 to 10"),
            Draw::Hot(share) => ensure!((0.0..=1.0).contains(&share), "a share is 0 to 1"),
        }
        Ok(())
    }
}
