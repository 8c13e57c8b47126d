//! What is asked next, and when: all chance of a run, from its seed.

use std::time::Duration;

use anyhow::Context;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use rand_distr::{Distribution, Exp, Zipf};
use tokio::time::Instant;

use crate::requests::Ask;
use crate::run::{Call, Draw, Mix, Run};
use crate::seats::Seats;

/// Draws calls.
pub(crate) struct Chance {
    rng: SmallRng,
    mix: Mix,
    weights: u32,
    doctor: Doctor,
    doctors: u32,
    dates: u32,
    users: u32,
}

/// Times at which calls are due, as independent clients come; they depend on nothing but the seed.
pub(crate) struct Arrivals {
    rng: SmallRng,
    gap: Exp<f64>,
    begin: Instant,
    /// The next one, in seconds from the beginning: adding up rounded times would change the rate.
    next: f64,
}

enum Doctor {
    Any,
    Zipf(Zipf<f64>),
    Hot(f64),
}

impl Chance {
    pub(crate) fn new(run: &Run, seed: u64, doctors: u32, dates: u32, users: u32) -> anyhow::Result<Self> {
        let doctor = match run.draw {
            Draw::Uniform => Doctor::Any,
            Draw::Zipf(exponent) => Doctor::Zipf(Zipf::new(f64::from(doctors), exponent)?),
            Draw::Hot(share) => Doctor::Hot(share),
        };
        let weights =
            Call::ALL.into_iter().try_fold(0_u32, |sum, call| sum.checked_add(run.mix.weight(call)));
        let weights = weights.context("the mix is too large")?;
        Ok(Self { rng: SmallRng::seed_from_u64(seed), mix: run.mix, weights, doctor, doctors, dates, users })
    }

    /// A call, by the weights of the mix.
    pub(crate) fn call(&mut self) -> Call {
        let mut left = self.rng.random_range(0..self.weights);
        for call in Call::ALL {
            match left.checked_sub(self.mix.weight(call)) {
                Some(less) => left = less,
                None => return call,
            }
        }
        Call::Available
    }

    /// What is asked next, and whether it is another call than was drawn since the doctor has no seat left.
    pub(crate) fn ask(&mut self, seats: &mut Seats) -> (Ask, bool) {
        let call = self.call();
        if call == Call::User {
            return (Ask::User(self.rng.random_range(0..self.users)), false);
        }
        let doctor = self.doctor();
        let look = |rng: &mut SmallRng| Ask::Available { doctor, date: rng.random_range(0..self.dates) };
        if call == Call::Available {
            return (look(&mut self.rng), false);
        }
        if call == Call::Cancel
            && let Some(seat) = seats.give_back(doctor)
        {
            return (Ask::Cancel(seat), false);
        }
        match (seats.take(doctor, &mut self.rng), call) {
            (Some(seat), _) => (Ask::Book(seat), false),
            (None, Call::Book) => match seats.give_back(doctor) {
                Some(seat) => (Ask::Cancel(seat), true),
                None => (look(&mut self.rng), true),
            },
            (None, _) => (look(&mut self.rng), true),
        }
    }

    fn doctor(&mut self) -> u32 {
        match &self.doctor {
            Doctor::Zipf(zipf) => (zipf.sample(&mut self.rng) as u32).clamp(1, self.doctors) - 1,
            Doctor::Hot(share) if self.rng.random_bool(*share) => 0,
            Doctor::Any | Doctor::Hot(_) => self.rng.random_range(0..self.doctors),
        }
    }
}

impl Arrivals {
    pub(crate) fn new(rate: f64, seed: u64, begin: Instant) -> anyhow::Result<Self> {
        let (mut rng, gap) = (SmallRng::seed_from_u64(seed), Exp::new(rate)?);
        let next = gap.sample(&mut rng);
        Ok(Self { rng, gap, begin, next })
    }

    /// The next one before `end`.
    pub(crate) fn next_before(&mut self, end: Instant) -> Option<Instant> {
        let due = self.begin + Duration::from_secs_f64(self.next);
        if due >= end {
            return None;
        }
        self.next += self.gap.sample(&mut self.rng);
        Some(due)
    }
}
