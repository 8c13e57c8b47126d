//! What came of a run.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};

use crate::record::millis;
use crate::run::{Call, Pace};

/// What came of a run.
pub struct Measured {
    /// Name of the run.
    pub name: String,
    /// How often it called.
    pub pace: Pace,
    /// How long it was measured.
    pub duration: Duration,
    /// Answers of status 200 that came within that time.
    pub done: BTreeMap<Call, u64>,
    /// Latencies in microseconds of the calls that were due (open loop) or begun (closed loop) in that time, whatever the
    /// answer; a call that was lost counts with the time that it was waited for.
    pub latency: BTreeMap<Call, Histogram<u64>>,
    /// The answers to those calls.
    pub answers: BTreeMap<Call, BTreeMap<Answer, u64>>,
    /// The run, second by second.
    pub timeline: Vec<Second>,
    /// Calls that were due and never made, since all connections were taken until the end, or the server took none. They
    /// count in `latency` with the time that they had waited by then.
    pub unsent: u64,
    /// When, from the start of the warm-up on, a doctor first had no seat left, so that another call was made instead.
    pub ran_out: Option<Duration>,
}

/// How a call was answered.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answer {
    /// The status; none when no answer came: connection lost or time over.
    pub status: Option<u16>,
    /// The problem's `code`, if it had one.
    pub code: Option<String>,
}

/// A second of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Second {
    /// Which one, from the start of the measured time.
    pub second: u64,
    /// Answers of status 200.
    pub done: u64,
    /// All other ends.
    pub failed: u64,
    /// Latency of the calls that ended in it.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
}

/// What is written down of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Summary {
    /// Name of the run.
    pub name: String,
    /// Connections that it had.
    pub connections: usize,
    /// Measured seconds.
    pub seconds: f64,
    /// Calls a second that an open loop was to make.
    pub offered: Option<f64>,
    /// Answers of status 200 in a second.
    pub rate: f64,
    /// By call.
    pub calls: BTreeMap<Call, CallSummary>,
    /// Second by second.
    pub timeline: Vec<Second>,
    /// See [`Measured::unsent`].
    pub unsent: u64,
    /// See [`Measured::ran_out`], in seconds.
    pub ran_out: Option<f64>,
}

/// One call of a run.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct CallSummary {
    /// Answers of status 200 in a second.
    pub rate: f64,
    /// Latencies that were counted.
    pub count: u64,
    /// Of them.
    pub mean_ms: f64,
    /// Of them.
    pub p50_ms: f64,
    /// Of them.
    pub p90_ms: f64,
    /// Of them.
    pub p99_ms: f64,
    /// Of them.
    pub p999_ms: f64,
    /// Of them.
    pub max_ms: f64,
    /// Answers by kind, such as `200` or `409 slot_full`.
    pub answers: BTreeMap<String, u64>,
    /// The curve: shares of calls (0 to 1), and the milliseconds within which they were answered.
    pub percentiles: Vec<(f64, f64)>,
}

impl Measured {
    /// Answers of status 200 to this call in a second.
    pub fn rate(&self, call: Call) -> f64 {
        self.done.get(&call).copied().unwrap_or_default() as f64 / self.duration.as_secs_f64()
    }

    /// Milliseconds within which this share (such as 0.99) of these calls was answered; `None` when there were none.
    pub fn latency_ms(&self, call: Call, share: f64) -> Option<f64> {
        self.latency.get(&call).map(|latency| millis(latency.value_at_quantile(share)))
    }

    /// Ends of this call that were no success, and those that were never made.
    pub fn failed(&self, call: Call) -> u64 {
        let answers = self.answers.get(&call).into_iter().flatten();
        answers.filter(|(answer, _)| **answer != Answer::DONE).map(|(_, count)| count).sum()
    }

    /// What is written down of it.
    pub fn summary(&self) -> Summary {
        let call = |(call, latency): (&Call, &Histogram<u64>)| {
            let answers = self.answers.get(call).into_iter().flatten();
            let summary = CallSummary {
                rate: self.rate(*call),
                count: latency.len(),
                mean_ms: latency.mean() / 1_000.0,
                p50_ms: millis(latency.value_at_quantile(0.5)),
                p90_ms: millis(latency.value_at_quantile(0.9)),
                p99_ms: millis(latency.value_at_quantile(0.99)),
                p999_ms: millis(latency.value_at_quantile(0.999)),
                max_ms: millis(latency.max()),
                answers: answers.map(|(answer, count)| (answer.to_string(), *count)).collect(),
                percentiles: percentiles(latency),
            };
            (*call, summary)
        };
        Summary {
            name: self.name.clone(),
            connections: self.pace.connections(),
            seconds: self.duration.as_secs_f64(),
            offered: match self.pace {
                Pace::Open { rate, .. } => Some(rate),
                Pace::Closed { .. } => None,
            },
            rate: Call::ALL.iter().map(|call| self.rate(*call)).sum(),
            calls: self.latency.iter().map(call).collect(),
            timeline: self.timeline.clone(),
            unsent: self.unsent,
            ran_out: self.ran_out.map(|time| time.as_secs_f64()),
        }
    }
}

/// Twice as many points with each halving of what is left, so that the last ones are drawn as well as the first.
fn percentiles(latency: &Histogram<u64>) -> Vec<(f64, f64)> {
    let points = latency.iter_quantiles(5).map(|step| (step.quantile(), millis(step.value_iterated_to())));
    points.filter(|(share, _)| *share < 1.0).collect()
}

impl fmt::Display for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.status {
            None => f.write_str("no answer"),
            Some(status) => write!(f, "{status}"),
        }?;
        self.code.as_ref().map_or(Ok(()), |code| write!(f, " {code}"))
    }
}
