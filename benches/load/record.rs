//! What one thread writes down while it runs.

use std::collections::BTreeMap;
use std::time::Duration;

use hdrhistogram::{CreationError, Histogram};
use tokio::time::Instant;

use crate::measured::{Answer, Measured, Second};
use crate::run::{Call, Run};

/// The longest latency that is told apart, in microseconds; a longer one counts as this.
const LATENCY_MAX: u64 = 120_000_000;
/// Digits that are kept of a latency, and of one in a second's own histogram.
const DIGITS: u8 = 3;
const DIGITS_OF_A_SECOND: u8 = 2;

/// When a run begins, is measured from, and ends.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Window {
    pub(crate) begin: Instant,
    pub(crate) from: Instant,
    pub(crate) end: Instant,
}

/// What one thread has measured.
pub(crate) struct Record {
    window: Window,
    latency: [Histogram<u64>; 4],
    answers: [BTreeMap<Answer, u64>; 4],
    /// Answers of status 200 that came within the measured time.
    done: [u64; 4],
    seconds: Vec<RawSecond>,
    unsent: u64,
    ran_out: Option<Duration>,
}

struct RawSecond {
    done: u64,
    failed: u64,
    latency: Histogram<u64>,
}

impl Window {
    pub(crate) fn new(begin: Instant, warm_up: Duration, duration: Duration) -> Self {
        let from = begin + warm_up;
        Self { begin, from, end: from + duration }
    }

    fn contains(&self, instant: Instant) -> bool {
        (self.from..self.end).contains(&instant)
    }
}

impl Record {
    pub(crate) fn new(window: Window) -> Result<Self, CreationError> {
        let latency = || Histogram::new_with_bounds(1, LATENCY_MAX, DIGITS);
        let second = |_| {
            let latency = Histogram::new_with_bounds(1, LATENCY_MAX, DIGITS_OF_A_SECOND)?;
            Ok(RawSecond { done: 0, failed: 0, latency })
        };
        let seconds = (window.end - window.from).as_secs_f64().ceil() as u64;
        Ok(Self {
            window,
            latency: [latency()?, latency()?, latency()?, latency()?],
            answers: Default::default(),
            done: [0; 4],
            seconds: (0..seconds).map(second).collect::<Result<_, _>>()?,
            unsent: 0,
            ran_out: None,
        })
    }

    /// A call that was due at `due` has ended `now`.
    pub(crate) fn ended(&mut self, call: Call, answer: Answer, due: Instant, now: Instant) {
        let latency = micros(now.saturating_duration_since(due));
        let done = answer == Answer::DONE;
        if self.window.contains(now) {
            self.done[call as usize] += u64::from(done);
            let second = now.saturating_duration_since(self.window.from).as_secs();
            if let Some(second) = self.seconds.get_mut(second as usize) {
                second.done += u64::from(done);
                second.failed += u64::from(!done);
                second.latency.saturating_record(latency);
            }
        }
        if self.window.contains(due) {
            self.latency[call as usize].saturating_record(latency);
            *self.answers[call as usize].entry(answer).or_default() += 1;
        }
    }

    /// A call that was due was never made: it would have waited until the end at the least.
    pub(crate) fn unsent(&mut self, call: Call, due: Instant) {
        if self.window.contains(due) {
            self.unsent += 1;
            self.latency[call as usize].saturating_record(micros(self.window.end - due));
        }
    }

    /// A doctor has no seat left.
    pub(crate) fn ran_out(&mut self, now: Instant) {
        self.ran_out.get_or_insert(now.saturating_duration_since(self.window.begin));
    }

    /// Takes up what another thread of the same run has measured.
    pub(crate) fn add(&mut self, other: &Self) -> anyhow::Result<()> {
        for call in Call::ALL.map(|call| call as usize) {
            self.latency[call].add(&other.latency[call])?;
            self.done[call] += other.done[call];
            for (answer, count) in &other.answers[call] {
                *self.answers[call].entry(answer.clone()).or_default() += count;
            }
        }
        for (second, other) in self.seconds.iter_mut().zip(&other.seconds) {
            second.done += other.done;
            second.failed += other.failed;
            second.latency.add(&other.latency)?;
        }
        self.unsent += other.unsent;
        self.ran_out = [self.ran_out, other.ran_out].into_iter().flatten().min();
        Ok(())
    }

    pub(crate) fn into_measured(self, run: &Run) -> Measured {
        let second = |(number, raw): (u64, RawSecond)| Second {
            second: number,
            done: raw.done,
            failed: raw.failed,
            p50_ms: millis(raw.latency.value_at_quantile(0.5)),
            p99_ms: millis(raw.latency.value_at_quantile(0.99)),
        };
        Measured {
            name: run.name.clone(),
            pace: run.pace,
            duration: run.duration,
            done: Call::ALL.into_iter().zip(self.done).collect(),
            latency: Call::ALL
                .into_iter()
                .zip(self.latency)
                .filter(|(_, latency)| !latency.is_empty())
                .collect(),
            answers: Call::ALL
                .into_iter()
                .zip(self.answers)
                .filter(|(_, answers)| !answers.is_empty())
                .collect(),
            timeline: (0..).zip(self.seconds).map(second).collect(),
            unsent: self.unsent,
            ran_out: self.ran_out,
        }
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// Milliseconds of so many microseconds.
pub(crate) fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}
