//! How figures are told.

use std::fmt::Write as _;
use std::io::{Write as _, stderr};

use serde_json::{Value, json};

/// What is left of many measurements.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Spread {
    count: usize,
    pub(crate) min: f64,
    pub(crate) p50: f64,
    p90: f64,
    pub(crate) p99: f64,
    pub(crate) max: f64,
}

impl Spread {
    pub(crate) fn of(values: &[f64]) -> Self {
        let mut values = values.to_vec();
        values.sort_by(f64::total_cmp);
        // The nearest rank: a share of the values is no greater.
        let at = |share: f64| {
            let rank = (values.len() as f64 * share).ceil() as usize;
            values.get(rank.saturating_sub(1)).copied().unwrap_or_default()
        };
        Self { count: values.len(), min: at(0.0), p50: at(0.5), p90: at(0.9), p99: at(0.99), max: at(1.0) }
    }

    pub(crate) fn cells(&self) -> String {
        let Self { count, min, p50, p90, max, .. } = self;
        format!("{count} | {min:.0} | {p50:.0} | {p90:.0} | {max:.0}")
    }

    /// The median, and between what it lies.
    pub(crate) fn short(&self, digits: usize) -> String {
        let Self { min, p50, max, .. } = self;
        format!("{p50:.digits$} ({min:.digits$} to {max:.digits$})")
    }

    pub(crate) fn json(&self) -> Value {
        let Self { count, min, p50, p90, p99, max } = self;
        json!({"n": count, "min": min, "p50": p50, "p90": p90, "p99": p99, "max": max})
    }
}

/// One line that is written over and over, beside what is printed.
pub(crate) fn progress(text: &str) {
    let mut line = String::new();
    // Neither can fail in a way that matters: it is for whoever waits.
    let _ = write!(line, "\r{text:<100}");
    let _ = stderr().write_all(line.as_bytes());
}
