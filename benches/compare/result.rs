//! What was measured, and what it is held against.

use load::Summary;
use serde::Serialize;

/// A value that was measured several times.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Figure {
    pub(crate) name: String,
    pub(crate) unit: &'static str,
    pub(crate) rounds: Vec<f64>,
}

/// What a figure should be.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// A figure that has a goal.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Row {
    pub(crate) figure: Figure,
    pub(crate) goal: Goal,
}

/// What came of one part.
#[derive(Debug, Default, Serialize)]
pub(crate) struct Part {
    pub(crate) name: &'static str,
    pub(crate) rows: Vec<Row>,
    pub(crate) figures: Vec<Figure>,
    /// What a reader must know.
    pub(crate) notes: Vec<String>,
    /// One run of each target: the median one.
    pub(crate) runs: Vec<Summary>,
}

impl Figure {
    pub(crate) fn new(name: impl Into<String>, unit: &'static str, rounds: Vec<f64>) -> Self {
        Self { name: name.into(), unit, rounds }
    }

    /// Round by round, how many times another one it is.
    pub(crate) fn times(name: impl Into<String>, one: &[f64], other: &[f64]) -> Self {
        Self::new(name, "times", one.iter().zip(other).map(|(one, other)| one / other).collect())
    }

    /// The one in the middle; of two, the lower one.
    pub(crate) fn median(&self) -> f64 {
        self.sorted().get((self.rounds.len().max(1) - 1) / 2).copied().unwrap_or(f64::NAN)
    }

    /// Median, and lowest to highest.
    pub(crate) fn shown(&self) -> String {
        let sorted = self.sorted();
        match (sorted.first(), sorted.last()) {
            (Some(low), Some(high)) if sorted.len() > 1 => {
                format!("{} ({} to {})", short(self.median()), short(*low), short(*high))
            }
            _ => short(self.median()),
        }
    }

    fn sorted(&self) -> Vec<f64> {
        let mut sorted = self.rounds.clone();
        sorted.sort_by(f64::total_cmp);
        sorted
    }
}

impl Goal {
    pub(crate) fn shown(self) -> String {
        match self {
            Self::AtLeast(value) => format!("at least {}", short(value)),
            Self::AtMost(value) => format!("at most {}", short(value)),
        }
    }
}

impl Row {
    pub(crate) fn is_met(&self) -> bool {
        match self.goal {
            Goal::AtLeast(value) => self.figure.median() >= value,
            Goal::AtMost(value) => self.figure.median() <= value,
        }
    }
}

impl Part {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, ..Self::default() }
    }

    pub(crate) fn row(&mut self, figure: Figure, goal: Goal) {
        self.rows.push(Row { figure, goal });
    }

    pub(crate) fn note(&mut self, note: impl Into<String>) {
        self.notes.push(note.into());
    }
}

/// Three digits that count.
pub(crate) fn short(value: f64) -> String {
    match value.abs() {
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.1 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_what_is_held_against_the_goal() {
        let figure = Figure::times("a", &[9.0, 1.0, 4.0], &[3.0, 1.0, 2.0]);
        assert_eq!(figure.shown(), "2.00 (1.00 to 3.00)");
        assert!(Row { figure: figure.clone(), goal: Goal::AtLeast(2.0) }.is_met());
        assert!(!Row { figure: figure.clone(), goal: Goal::AtMost(1.9) }.is_met());
        let never = Figure::new("a", "ms", Vec::new());
        assert!(!Row { figure: never, goal: Goal::AtMost(1.0) }.is_met());
    }
}
